"""What else was made from forgotten rows: data that rules are anchored to, and the patches of those rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.learners.interface import Comparisons
from rewarden.reward.learners.shards import Data
from rewarden.spec_lang.spec import Spec


@dataclass(frozen=True, slots=True)
class Anchored:
    """A data set of the spec that holds forgotten records, the rules that read it, and the patches made for them."""

    data: str
    rows: int
    rules: tuple[str, ...]
    patches: tuple[str, ...]


def anchored(spec: Spec, artifact: Artifact, gone: Data) -> tuple[Anchored, ...]:
    """Rows are compared by value: a record of a forgotten row that stands in a spec's data counts, whoever's it is.

    Raises DataError where the spec's data cannot be read.
    """
    width = gone.record.type.width
    records = gone.segments.reshape(-1, width) if isinstance(gone, Comparisons) else gone.rows
    forgotten = {row.tobytes() for row in _plain(records)}
    found = []
    for name, declared in spec.data.items():
        rows = 0
        values = spec.rows(name).values
        place = 0
        hit = np.zeros(len(values), np.bool_)
        for _, kind in declared.members:
            size = spec.features[kind].width
            if size == width and [c.name for c in spec.features[kind].columns()] == _columns(gone):
                hit |= np.array([row.tobytes() in forgotten for row in _plain(values[:, place : place + size])])
            place += size
        rows = int(hit.sum())
        if rows:
            rules = tuple(rule.name for rule in spec.rules if name in rule.data)
            patches = tuple(dict.fromkeys(p.rule for p in artifact.patches if p.rule in rules))
            found.append(Anchored(name, rows, rules, patches))
    return tuple(found)


def _plain(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ascontiguousarray(values + 0.0, np.float64)  # -0.0 is 0.0


def _columns(data: Data) -> list[str]:
    return [column.name for column in data.record.type.columns()]
