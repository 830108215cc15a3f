"""The min/max patch: hold a reward at or below a level on a region, and leave it alone beyond a ring.

With the ring's rows ĝ, δ and gate of `ring.py`, for a ceiling (a floor is its mirror image):

    r'(x) = r(x)                                        where ĝ(x) >= gate,
            min(r(x), level + slope·max(0, ĝ(x) − δ))   elsewhere.

Fix: on the region ĝ <= δ, so r' <= level, and the level is at most the rule's constant (less, for a strict rule);
adding slope·0 does not round, so the same holds in binary32. Locality: where g >= 1 the gate is open and r' is r, the
same bits. Continuity: with U a certified bound of r over the box where the gate may be closed and E a bound on the
rounding of r as deployed, the slope is such that the ceiling is at least U + E from ĝ = 1 − 2δ on, while the gate opens
at 1 − δ: there min returns r already. Points of the region that already satisfied the rule keep their reward, since min
returns r.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from rewarden.editor.near import Near, ring_near
from rewarden.editor.preconditions import require_region, require_room
from rewarden.editor.region import Bound, Polytope
from rewarden.editor.ring import binary32_above, binary32_below, binary32_strictly_below, ring_of
from rewarden.reward.artifact import Artifact, Edit
from rewarden.reward.graph import Patch

Box = tuple[tuple[Fraction, Fraction], ...]
# (artifact, box, sign) -> a number that sign·r is certified to stay at or below over the box
ExtremumBound = Callable[[Artifact, Box, int], Fraction]


@dataclass(frozen=True, slots=True)
class PatchOptions:
    """`ring`: width of the ring as a share of each feature's range."""

    ring: Fraction = Fraction(1, 20)


@dataclass(frozen=True, slots=True)
class PatchFacts:
    """What one applied patch is made of, for reports: numbers in reward units unless said otherwise."""

    rule: str
    kind: str
    level: Fraction
    extremum: Fraction  # U + E: what the reward could reach where the gate is closed
    slope: Fraction  # per ring width
    delta: Fraction  # in ring widths
    boxes: int = 1  # of a patch near data: how many it lies on


def apply_patch(artifact: Artifact, bound: Bound, extremum: ExtremumBound) -> tuple[Artifact, tuple[PatchFacts, ...]]:
    """A child of `artifact` with one patch per polytope of the bound's region, or one on all boxes around data;
    `artifact` itself is not touched. Every method that lays patches lays them here, so that what no patch can do is
    refused here: EditError E06 or E12 for a region that is empty or everything, E09 or E11 where rounding or the reward
    leave none, E34 or E35 where an earlier patch leaves no room for this one."""
    require_region(artifact, bound)
    tensors = dict(artifact.tensors)
    patches = list(artifact.patches)
    facts = []
    regions: tuple[Polytope | Near, ...] = (*bound.polytopes, *bound.near)
    for region in regions:
        patch, made, fact = _one_patch(artifact, bound, region, _free(tensors, len(patches)), extremum)
        patches.append(patch)
        tensors.update(made)
        facts.append(fact)
    edit = Edit("patch", bound.rule, _statement(bound, facts))
    child = replace(artifact, tensors=tensors, patches=tuple(patches), parent=artifact.digest, edit=edit)
    require_room(child, len(facts))
    return child, tuple(facts)


def closed_box(polytope: Polytope) -> Box:
    """A box that holds every point where the patch's gate may be closed: rows of one column cut the declared range at
    the ring's outer edge (exact g <= 1)."""
    box = list(polytope.box)
    for row in polytope.rows:
        used = [j for j, c in enumerate(row.coefficients) if c != 0]
        if len(used) != 1:
            continue
        j = used[0]
        edge = (1 + row.offset) / row.coefficients[j]
        lo, hi = box[j]
        box[j] = (lo, max(lo, min(hi, edge))) if row.coefficients[j] > 0 else (min(hi, max(lo, edge)), hi)
    return tuple(box)


def _one_patch(
    artifact: Artifact, bound: Bound, region: Polytope | Near, number: int, extremum: ExtremumBound
) -> tuple[Patch, dict[str, np.ndarray], PatchFacts]:
    ring = ring_near(region, bound.rule) if isinstance(region, Near) else ring_of(region)
    sign = 1 if bound.kind == "ceiling" else -1
    # For a floor everything is mirrored: -r is held at or below -level.
    level = sign * (binary32_below if not bound.strict else binary32_strictly_below)(sign * bound.level)
    if isinstance(region, Near):
        from rewarden.verifier.extremum import certified_extremum_over  # it loads torch

        reach, boxes = certified_extremum_over(artifact, *region.reach(), sign), len(region.lo)
    else:
        reach, boxes = extremum(artifact, closed_box(region), sign), 1
    slope = needed_slope(level, reach, ring.delta, sign)
    prefix = f"patch{number}"
    names = {key: f"{prefix}.{key}" for key in ("rows", "offsets", "level", "slope", "delta", "gate")}
    tensors = {
        names["rows"]: ring.rows,
        names["offsets"]: ring.offsets,
        names["level"]: np.array([float(level)], dtype=np.float32),
        names["slope"]: np.array([float(slope)], dtype=np.float32),
        names["delta"]: np.array([float(ring.delta)], dtype=np.float32),
        names["gate"]: np.array([float(ring.gate)], dtype=np.float32),
    }
    patch = Patch(kind=bound.kind, rule=bound.rule, **names)
    return patch, tensors, PatchFacts(bound.rule, bound.kind, level, sign * reach, slope, ring.delta, boxes)


def _free(tensors: Mapping[str, object], number: int) -> int:
    """The first number, from `number` on, by which no patch's tensors are called yet."""
    while any(name.startswith(f"patch{number}.") for name in tensors):
        number += 1
    return number


def needed_slope(level: Fraction, reach: Fraction, delta: Fraction, sign: int) -> Fraction:
    """The least slope that takes the level to `reach`, which sign·reward does not exceed, before the gate opens.

    One part in 2^20 more pays for the rounding of level + slope·(…) as deployed.
    """
    rise = max(Fraction(0), reach - sign * level) * (1 + Fraction(1, 2**20)) + Fraction(1, 2**20)
    return binary32_above(rise / (1 - 3 * delta))


def _statement(bound: Bound, facts: list[PatchFacts]) -> dict[str, str]:
    relation = "at most" if bound.kind == "ceiling" else "at least"
    level = facts[0].level
    anchor = {"anchor": bound.anchor} if bound.anchor else {}
    return {
        **anchor,
        "fix": f"{bound.reward} is {relation} {float(level)!r} wherever the premise of {bound.rule} holds, "
        "over the reals and as deployed in binary32",
        "locality": "beyond the ring (some atom of the region fails by the ring's width, or a discrete one fails) the "
        "reward is that of the parent, bit for bit",
        "continuity": "the patched reward is continuous wherever the parent is",
    }
