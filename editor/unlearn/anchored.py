"""What else was made from forgotten rows: data that rules are anchored to, and the patches of those rules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.learners.interface import Comparisons
from rewarden.reward.learners.shards import Data
from rewarden.reward.tables import index_of, is_table
from rewarden.spec_lang.spec import Spec

DIGEST = re.compile("sha256:[0-9a-f]{64}")
BLOCK = 4096  # records that are looked at together


@dataclass(frozen=True, slots=True)
class Anchored:
    """A data set of the spec that holds forgotten records, the rules that read it, and those of them that the reward
    was edited for: by patches, or by other edits."""

    data: str
    rows: int
    rules: tuple[str, ...]
    patches: tuple[str, ...]


def anchored(spec: Spec, artifact: Artifact, gone: Data, edited: Sequence[str] = ()) -> tuple[Anchored, ...]:
    """Rows are compared by value, in binary32, as rewards read them: a record of a forgotten row that stands in a
    spec's data counts, whoever's it is. `edited`: rules that edits of the artifact's line were made for.

    Raises DataError where the spec's data cannot be read.
    """
    records = _records(gone)
    width = records.shape[1]
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
            made_for = dict.fromkeys([*(p.rule for p in artifact.patches), *edited])
            patches = tuple(rule for rule in made_for if rule in rules)
            found.append(Anchored(name, rows, rules, patches))
    return tuple(found)


def levels_of_other_data(spec: Spec, line: Iterable[Artifact]) -> tuple[str, ...]:
    """Rules whose edits took a level from data that are not the spec's any more: whether these held forgotten rows can
    no longer be told. An edit's statement names its data by digest."""
    there = {spec.rows(name).digest for name in spec.data}
    found = []
    for artifact in line:
        for name, text in ({} if artifact.edit is None else artifact.edit.statement).items():
            rule, _, what = name.rpartition(".")
            if what == "anchor" and not there.issuperset(DIGEST.findall(text)):
                found.append(rule or ("" if artifact.edit is None else artifact.edit.rule))
    return tuple(dict.fromkeys(found))


def made_at(artifact: Artifact, gone: Data) -> tuple[str, ...]:
    """The rules of patches near data of which a box holds a forgotten record, whatever the spec's data are by now: the
    box's middle is the row that it was made for."""
    records = _plain(_records(gone)).astype(np.float64)
    found = []
    for number, patch in enumerate(artifact.patches):
        if not is_table(patch, artifact.tensors) or artifact.width != records.shape[1]:
            continue
        rows, offsets = (artifact.tensors[name].astype(np.float64) for name in (patch.rows, patch.offsets))
        delta = float(artifact.tensors[patch.delta][0])
        index = index_of(artifact, number)
        for start in range(0, len(records), BLOCK):
            some = records[start : start + BLOCK]
            record, box = index.pairs(some)
            if ((some @ rows.T)[record] - offsets[box] <= delta).all(axis=1).any():
                found.append(patch.rule)
                break
    return tuple(dict.fromkeys(found))


def _records(gone: Data) -> NDArray[np.float64]:
    """Those that are known as a whole."""
    width = gone.record.type.width
    records = gone.segments.reshape(-1, width) if isinstance(gone, Comparisons) else gone.rows
    return np.unique(records[np.isfinite(records).all(axis=1)], axis=0)


def _plain(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.ascontiguousarray(values + 0.0, np.float32)  # -0.0 is 0.0


def _columns(data: Data) -> list[str]:
    return [column.name for column in data.record.type.columns()]
