"""A min/max patch as a value, taken off an artifact and put on another one.

Over the stored rows, exactly: ĝ(x) = maxᵢ(rowᵢ·x − offsetᵢ). The patch may act only where ĝ < 1 (the gate is at 1 − δ,
and as deployed ĝ rounds by less than δ); where ĝ <= 0 it is flat at its level, exactly and as deployed (`editor/ring`).

Fix and locality are the patch's own and go with it. Continuity needs a slope that fits the reward below: put on another
reward, the slope is raised where that reward reaches higher, and kept where it does not, so that nothing changes
without need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.editor.patch import Box, ExtremumBound, needed_slope
from rewarden.editor.ring import TINY, UNIT
from rewarden.reward.artifact import Artifact
from rewarden.reward.graph import Patch
from rewarden.reward.tables import index_of

PARTS = ("rows", "offsets", "level", "slope", "delta", "gate")


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """`rows` float32 [k, width], `offsets` float32 [k], or [boxes, k] of a patch near data; the numbers are exact."""

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

    @property
    def boxes(self) -> int:
        return 1 if self.offsets.ndim == 1 else len(self.offsets)

    def part(self, box: int) -> Stored:
        """One box of a patch near data, as a patch."""
        return replace(self, offsets=np.atleast_2d(self.offsets)[box])

    def exact_rows(self) -> list[tuple[list[Fraction], Fraction]]:
        """(coefficients, offset) of each row; of a patch near data, the offset of the box that reaches furthest."""
        furthest = np.atleast_2d(self.offsets).max(axis=0)
        return [
            ([Fraction(float(a)) for a in row], Fraction(float(b))) for row, b in zip(self.rows, furthest, strict=True)
        ]

    def ringed(self, box: Box) -> bool:
        """Whether its numbers are as `editor/ring.py` makes them, which this file's first lines rest on: δ is at least
        what rows lose to rounding in the box, and the gate is at 1 − δ at most. A stranger's need not be so."""
        n = len(box)
        gamma = (n + 2) * UNIT / (1 - (n + 2) * UNIT)
        far = [max(abs(lo), abs(hi)) for lo, hi in box]
        offsets = np.abs(np.atleast_2d(self.offsets)).max(axis=0)
        sizes = [
            sum((abs(Fraction(float(a))) * most for a, most in zip(row, far, strict=True) if a), Fraction(float(b)))
            for row, b in zip(self.rows, offsets, strict=True)
        ]
        lost = gamma * max(sizes) + (n + 2) * TINY
        return lost <= self.delta < self.gate <= 1 - self.delta

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
    whole = tuple((column.lo, column.hi) for column in artifact.columns)
    reach, slope = patch.reach(whole), patch.slope
    if patch.offsets.ndim == 2:
        most = _most_near(artifact, patch, whole)
        return pushed(
            artifact, replace(patch, slope=max(slope, needed_slope(patch.level, most, patch.delta, patch.sign)))
        )
    if reach is not None:
        slope = max(slope, needed_slope(patch.level, extremum(artifact, reach, patch.sign), patch.delta, patch.sign))
    return pushed(artifact, replace(patch, slope=slope))


def relaid(
    child: Artifact, patches: Sequence[Stored], extremum: ExtremumBound, around: Sequence[Box], *, lowered: bool = False
) -> Artifact:
    """`child` with the patches of the reward that it was made of, from which it differs in these boxes alone (without
    any, anywhere); `lowered`: it is nowhere higher. A slope was made for what the reward reached, so that it is looked
    at anew only where the child may reach further: all other patches stay as they are, and with them the bits of the
    reward in their rims."""
    whole = tuple((column.lo, column.hi) for column in child.columns)
    for patch in patches:
        reach = patch.reach(whole)
        apart = reach is None or (around and not any(_meet(reach, box) for box in around))
        kept = (apart and patch.ringed(whole)) or (lowered and patch.kind == "ceiling")
        child = pushed(child, patch) if kept else with_patch(child, patch, extremum)
    return child


def _meet(one: Box, other: Box) -> bool:
    return all(lo <= high and low <= hi for (lo, hi), (low, high) in zip(one, other, strict=True))


def _most_near(artifact: Artifact, patch: Stored, whole: Box) -> Fraction:
    """What sign·r is at most where a patch near data may act."""
    from rewarden.verifier.extremum import certified_extremum_over  # it loads torch

    there = pushed(artifact, patch)
    index = index_of(there, len(there.patches) - 1)
    lo, hi = (np.tile([float(pair[side]) for pair in whole], (index.boxes, 1)) for side in (0, 1))
    lo[:, index.columns] = np.maximum(lo[:, index.columns], index.low)
    hi[:, index.columns] = np.minimum(hi[:, index.columns], index.high)
    kept = (lo <= hi).all(axis=1)
    if not kept.any():
        return patch.sign * patch.level
    return certified_extremum_over(
        artifact, np.nextafter(lo[kept], -np.inf), np.nextafter(hi[kept], np.inf), patch.sign
    )


def rebuilt(base: Artifact, patches: Sequence[Stored]) -> Artifact:
    """The artifact without its patches, and with these as they are."""
    return pushed(base.with_patches(()), *patches)


def pushed(artifact: Artifact, *patches: Stored) -> Artifact:
    """The artifact with the patches on top, as they are. The edit is the caller's to name."""
    tensors, found = dict(artifact.tensors), list(artifact.patches)

    def one(value: Fraction) -> NDArray[np.float32]:
        return np.array([float(value)], np.float32)

    for patch in patches:
        number = len(found)
        while any(f"patch{number}.{part}" in tensors for part in PARTS):
            number += 1
        names = {part: f"patch{number}.{part}" for part in PARTS}
        tensors |= {
            names["rows"]: patch.rows,
            names["offsets"]: patch.offsets,
            names["level"]: one(patch.level),
            names["slope"]: one(patch.slope),
            names["delta"]: one(patch.delta),
            names["gate"]: one(patch.gate),
        }
        found.append(Patch(kind=patch.kind, rule=patch.rule, **names))
    return replace(artifact, tensors=tensors, patches=tuple(found))
