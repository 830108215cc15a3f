"""How steep the rims of patches are: a Lipschitz constant for each column, of what a patch puts in the reward's place.

A patch's level rises across its rim by `slope` for each ring width, and a row's coefficient says how many ring widths a
unit of a column is. So along column j the level moves by at most slope·maxᵢ |âᵢⱼ| a unit, exactly, of the numbers as
stored; the patched reward is a minimum or maximum of it and the parent, and no steeper than the steeper of the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.reward.figures import at_most_text
from rewarden.reward.widen import widened

MOST_TOLD = 8  # amounts, in words; all are in the JSON


@dataclass(frozen=True, slots=True)
class Steepness:
    """Of one patch: reward units per unit of each column that its region reads; `unit` by column."""

    rule: str
    kind: str
    level: Fraction
    slope: Fraction
    lipschitz: Mapping[str, Fraction]
    units: Mapping[str, str | None]

    @property
    def words(self) -> str:
        """Columns that are equally steep together, the steepest first."""
        alike: dict[tuple[Fraction, str], list[str]] = {}
        for name, most in self.lipschitz.items():
            alike.setdefault((most, self.units[name] or "unit"), []).append(name)
        steepest = sorted(alike.items(), key=lambda entry: -entry[0][0])
        told = [f"{at_most_text(most)} a {unit} of {_listed(names)}" for (most, unit), names in steepest[:MOST_TOLD]]
        more = sum(len(names) for _, names in steepest[MOST_TOLD:])
        told += [f"less in {more} more"] if more else []
        return f"the rim of {self.rule}'s {self.kind} rises by at most " + ", ".join(told)

    def to_json(self) -> dict[str, object]:
        return {
            "rule": self.rule,
            "kind": self.kind,
            "level": repr(float(self.level)),
            "slope": repr(float(self.slope)),
            "lipschitz": {name: str(most) for name, most in self.lipschitz.items()},
        }


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{names[0]} … {names[-1]} ({len(names)} columns)"


def steepness(artifact: Artifact, first: int = 0) -> tuple[Steepness, ...]:
    """Of the artifact's patches from number `first` on. The boxes of a patch near data share their rows."""
    units = [
        feature.unit for record in artifact.records for feature in record.type.features for _ in range(feature.width)
    ]
    columns = artifact.columns
    found = []
    for patch in artifact.patches[first:]:
        slope = Fraction(float(artifact.tensors[patch.slope][0]))
        most = np.abs(widened(artifact.tensors[patch.rows])).max(axis=0)
        read = [j for j, value in enumerate(most.tolist()) if value]
        found.append(
            Steepness(
                patch.rule,
                patch.kind,
                Fraction(float(artifact.tensors[patch.level][0])),
                slope,
                {columns[j].name: slope * Fraction(float(most[j])) for j in read},
                {columns[j].name: units[j] for j in read},
            )
        )
    return tuple(found)
