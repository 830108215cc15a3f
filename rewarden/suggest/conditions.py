"""Parts of a domain in which a rule may hold that does not hold everywhere: a bool, a case, one side of a threshold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.features import Feature
from rewarden.suggest.friendly import literal, step_above, step_below
from rewarden.suggest.scene import Rows, Subject
from rewarden.suggest.sweep import Sweep


@dataclass(frozen=True, slots=True)
class Condition:
    """An atom: `text` with {a} and {b} for the records of a pair, `words` without."""

    feature: str
    text: str
    words: str


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Conditions and where they hold, bool [condition, place]: places are base rows, or the steps of a sweep."""

    conditions: tuple[Condition, ...]
    holds: NDArray[np.bool_]


def parts_of(subject: Subject) -> Parts:
    """Conditions of one atom on what both records of a pair share, at the base rows."""
    found: list[Condition] = []
    holds: list[NDArray[np.bool_]] = []
    for feature in subject.record.features:
        if feature.is_vector:
            continue
        for negated, text, where in _atoms(feature, subject.base[:, subject.record.offset(feature.name) :]):
            found.append(Condition(feature.name, f"{negated}{{a}}.{text}", f"{negated}{text}"))
            holds.append(where)
    return Parts(tuple(found), np.array(holds, dtype=np.bool_).reshape(len(found), len(subject.base)))


def _atoms(feature: Feature, columns: Rows) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """`not ` or nothing, an atom without its record, and the rows at which it holds."""
    name = feature.name
    match feature.kind:
        case "bool":
            yield "", name, columns[:, 0] == 1
            yield "not ", name, columns[:, 0] == 0
        case "enum":
            for number, case in enumerate(feature.cases):
                yield "", f"{name} == {case}", columns[:, number] == 1
        case _:
            width = float(feature.hi - feature.lo)
            for at in np.quantile(columns[:, 0], (0.25, 0.5, 0.75)).tolist():
                low, high = step_below(at, width), step_above(at, width)
                yield "", f"{name} <= {literal(low, feature.unit)}", columns[:, 0] <= float(low)
                yield "", f"{name} >= {literal(high, feature.unit)}", columns[:, 0] >= float(high)


def parts_of_itself(sweep: Sweep) -> Parts:
    """Conditions on the feature that is swept, at the steps between its alternatives: up to one of them, or from it."""
    feature, steps = sweep.feature, len(sweep.alternatives) - 1
    found: list[Condition] = []
    holds: list[NDArray[np.bool_]] = []
    width, name = float(feature.hi - feature.lo), feature.name
    for k in range(1, steps if feature.kind in ("real", "int") else 1):
        at = float(sweep.alternatives[k, 0])
        low, high = (literal(end(at, width), feature.unit) for end in (step_below, step_above))
        found.append(Condition(name, f"{{b}}.{name} <= {low}", f"{name} <= {low}"))
        found.append(Condition(name, f"{{a}}.{name} >= {high}", f"{name} >= {high}"))
        holds += [np.arange(steps) < k, np.arange(steps) >= k]
    return Parts(tuple(found), np.array(holds, dtype=np.bool_).reshape(len(found), steps))
