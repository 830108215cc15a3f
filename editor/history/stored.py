"""A min/max patch as a value, taken off an artifact and put on another one.

Over the stored rows, exactly: ĝ(x) = maxᵢ(rowᵢ·x − offsetᵢ). The patch may act only where ĝ < 1 (the gate is at 1 − δ,
and as deployed ĝ rounds by less than δ); where ĝ <= 0 it is flat at its level, exactly and as deployed (`editor/ring`).

Fix and locality are the patch's own and go with it. Continuity needs a slope that fits the reward below: put on another
reward, the slope is raised where that reward reaches higher, and kept where it does not, so that nothing changes
without need.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.editor.patch import Box, ExtremumBound, needed_slope
from rewarden.reward.artifact import Artifact
from rewarden.reward.graph import Patch

PARTS = ("rows", "offsets", "level", "slope", "delta", "gate")


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """`rows` float32 [k, width], `offsets` float32 [k]; the numbers are exact."""

    rule: str
    kind: str
    rows: NDArray[np.float32]
    offsets: NDArray[np.float32]
    level: Fraction
    slope: Fraction
    delta: Fraction
    gate: Fraction

    @property
    def sign(self) -> int:
        """1 for a ceiling; a floor is a ceiling of the negated reward."""
        return 1 if self.kind == "ceiling" else -1

    def same(self, other: Stored) -> bool:
        return (
            (self.rule, self.kind, self.level, self.slope, self.delta, self.gate)
            == (other.rule, other.kind, other.level, other.slope, other.delta, other.gate)
            and np.array_equal(self.rows, other.rows)
            and np.array_equal(self.offsets, other.offsets)
        )

    def exact_rows(self) -> list[tuple[list[Fraction], Fraction]]:
        """(coefficients, offset) of each row."""
        return [
            ([Fraction(float(a)) for a in row], Fraction(float(b)))
            for row, b in zip(self.rows, self.offsets, strict=True)
        ]

    def reach(self, box: Box) -> Box | None:
        """The part of a box in which the patch may act: rows of one column cut it. None where nothing is left."""
        found = list(box)
        for row, offset in self.exact_rows():
            used = [j for j, a in enumerate(row) if a]
            if len(used) != 1:
                continue
            j, edge = used[0], (1 + offset) / row[used[0]]
            lo, hi = found[j]
            found[j] = (lo, min(hi, edge)) if row[j] > 0 else (max(lo, edge), hi)
            if found[j][0] > found[j][1]:
                return None
        return tuple(found)


def stored(artifact: Artifact, patch: Patch) -> Stored:
    def number(name: str) -> Fraction:
        return Fraction(float(artifact.tensors[name][0]))

    return Stored(
        patch.rule, patch.kind, artifact.tensors[patch.rows], artifact.tensors[patch.offsets],
        number(patch.level), number(patch.slope), number(patch.delta), number(patch.gate),
    )  # fmt: skip


def all_stored(artifact: Artifact) -> tuple[Stored, ...]:
    return tuple(stored(artifact, patch) for patch in artifact.patches)


def with_patch(artifact: Artifact, patch: Stored, extremum: ExtremumBound) -> Artifact:
    """The artifact with the patch on top, its slope raised if it must be. The edit is the caller's to name."""
    reach = patch.reach(tuple((column.lo, column.hi) for column in artifact.columns))
    slope = patch.slope
    if reach is not None:
        slope = max(slope, needed_slope(patch.level, extremum(artifact, reach, patch.sign), patch.delta, patch.sign))
    return _pushed(artifact, replace(patch, slope=slope))


def rebuilt(base: Artifact, patches: tuple[Stored, ...]) -> Artifact:
    """The artifact without its patches, and with these as they are."""
    bare = base.with_patches(())
    for patch in patches:
        bare = _pushed(bare, patch)
    return bare


def _pushed(artifact: Artifact, patch: Stored) -> Artifact:
    taken, number = set(artifact.tensors), len(artifact.patches)
    while any(f"patch{number}.{part}" in taken for part in PARTS):
        number += 1
    names = {part: f"patch{number}.{part}" for part in PARTS}

    def one(value: Fraction) -> NDArray[np.float32]:
        return np.array([float(value)], np.float32)

    tensors = {
        names["rows"]: patch.rows,
        names["offsets"]: patch.offsets,
        names["level"]: one(patch.level),
        names["slope"]: one(patch.slope),
        names["delta"]: one(patch.delta),
        names["gate"]: one(patch.gate),
    }
    added = Patch(kind=patch.kind, rule=patch.rule, **names)
    return replace(artifact, tensors={**artifact.tensors, **tensors}, patches=(*artifact.patches, added))
