"""What is said of a box holds at its points: random claims, random points, exact evaluation; shares add up to 1."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.spec_lang.claim import Box, Claim
from rewarden.verifier.coverage.parts import STATUSES, Coverage
from rewarden.verifier.coverage.search import cover
from rewarden.verifier.inline import compile_program
from rewarden.verifier.regions import Frame, Region, Side
from tests.reference.random_claims import random_claim, random_point, truth
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact, random_mlp

seeds = st.integers(0, 2**32 - 1)


def inside(sides: tuple[Side | int, ...], here: tuple[Side | int, ...], frame: Frame) -> bool:
    """Is a point, given by its sides, strictly inside a box where that is possible?"""
    for side, at, dimension in zip(sides, here, frame.dimensions, strict=True):
        if isinstance(side, int):
            assert isinstance(at, int)
            if side & at != at:
                return False
        else:
            x = at[0]
            whole = dimension.kind == "int" or side[0] == side[1]
            if not (side[0] <= x < side[1] or x == side[0] == side[1] if whole else side[0] < x < side[1]):
                return False
    return True


def parts_of(region: Region, instance: int, here: tuple[Side | int, ...]) -> int:
    boxes = (region.sides(k) for k in range(len(region)) if region.instance[k] == instance)
    return sum(inside(sides, here, region.frame) for sides in boxes)


def in_box(point: tuple[Fraction, ...], box: Box) -> bool:
    return all(lo <= x <= hi for x, (lo, hi) in zip(point, box, strict=True))


def spread(rng: np.random.Generator, claim: Claim, point: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    """The point with most of its reals moved off the grid that cuts lie on."""
    box = next(b for b in claim.boxes if in_box(point, b))
    return tuple(
        x if v.discrete or rng.random() < 0.2 else lo + (hi - lo) * Fraction(int(rng.integers(0, 10**6)), 10**6 - 1)
        for x, v, (lo, hi) in zip(point, claim.variables, box, strict=True)
    )


def contradictions(claim: Claim, artifacts, coverage: Coverage, rng: np.random.Generator, points: int) -> list[str]:
    frame, found = coverage.parts["proved"].frame, []
    for _ in range(points):
        point = spread(rng, claim, random_point(rng, claim))
        premise, goal = truth(claim, artifacts, point)
        here = frame.sides(tuple((x, x) for x in point))
        boxes = [
            i for i, box in enumerate(claim.boxes) if all(lo <= x <= hi for x, (lo, hi) in zip(point, box, strict=True))
        ]
        if len(boxes) != 1 or any(side == 0 for side in here):
            continue
        where = {status: parts_of(coverage.parts[status], boxes[0], here) for status in STATUSES}
        if sum(where.values()) > 1:
            found.append(f"{point} is in several parts: {where}")
        if where["proved"] and premise and not goal:
            found.append(f"proved, and violated at {point}")
        if where["violated"] and not (premise and not goal):
            found.append(f"violated, and not so at {point}")
        if where["outside"] and premise:
            found.append(f"outside, and the premise holds at {point}")
    return found


@settings(max_examples=40)
@given(seeds)
def test_points_never_contradict_the_box_that_they_are_in(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = MIXED if rng.random() < 0.6 else TWO_REALS
    make = random_artifact if rng.random() < 0.5 else random_mlp
    artifact = make(rng, kind, patches=int(rng.integers(0, 2)))
    artifacts = {"R": artifact}
    claim = random_claim(rng, kind, artifacts)
    frame = Frame.of(claim, {kind.name: kind} if rng.random() < 0.7 else None)
    program = compile_program(claim, artifacts)
    before = None
    for budget in (1, 40, 300):
        coverage = cover(program, frame, budget, lambda: False)
        assert coverage is not None
        assert sum(coverage.shares.values()) == 1
        for slices in coverage.slices.values():
            assert all(sum(one.shares.values()) == 1 for one in slices)
        assert coverage.premise[0] <= coverage.premise[1]
        assert not contradictions(claim, artifacts, coverage, rng, 40)
        if before is not None:
            assert coverage.shares["violated"] >= before["violated"]
            assert coverage.shares["outside"] >= before["outside"]
            assert coverage.shares["unsettled"] <= before["unsettled"]
        before = coverage.shares


def test_the_same_budget_gives_the_same_parts() -> None:
    rng = np.random.default_rng(7)
    artifacts = {"R": random_mlp(rng, MIXED)}
    claim = random_claim(rng, MIXED, artifacts)
    program, frame = compile_program(claim, artifacts), Frame.of(claim, {MIXED.name: MIXED})
    first, second = (cover(program, frame, 200, lambda: False) for _ in range(2))
    assert first.to_json() == second.to_json()


@pytest.mark.parametrize("stop_after", [0, 1])
def test_a_stop_leaves_the_rest_unsettled(stop_after: int) -> None:
    rng = np.random.default_rng(3)
    artifacts = {"R": random_mlp(rng, MIXED)}
    claim = random_claim(rng, MIXED, artifacts)
    asked = iter([False] * stop_after + [True] * 10)
    coverage = cover(compile_program(claim, artifacts), Frame.of(claim), 10_000, lambda: next(asked))
    assert sum(coverage.shares.values()) == Fraction(1)
