"""Patched rewards obey fix, locality and continuity: at random and at adversarial points, exactly and bit for bit."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.editor.patch import apply_patch, closed_box
from rewarden.editor.region import Bound, Polytope, bound_of, premise_only
from rewarden.editor.ring import binary32_above, binary32_below, ring_of
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.exact import evaluate
from rewarden.reward.graph import AffineMap, Graph, Input, Relu
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.spec import parse_spec
from rewarden.verifier.bind import bind_obligation
from rewarden.verifier.extremum import certified_extremum
from tests.reference.how_many import part_of

STEP = RecordType(
    "Step",
    (
        Feature("speed", "real", Fraction(0), Fraction(40), "m/s"),
        Feature("gap", "real", Fraction(0), Fraction(100), "m"),
        Feature("close", "bool", Fraction(0), Fraction(1)),
        Feature("lane", "enum", Fraction(0), Fraction(1), None, ("left", "right")),
    ),
)
SPEC = """spec patched v1
features Step {{
  speed : real [m/s] in 0 .. 40
  gap   : real [m] in 0 .. 100
  close : bool
  lane  : enum {{left, right}}
}}
reward R(s: Step)
must capped:
  forall s: Step
  given {premise}
  expect R(s) {relation} {level}
"""
PREMISES = (
    "s.gap <= 10 [m]",
    "s.gap <= 1.3 [s] * s.speed and s.speed >= 7 [m/s]",
    "s.close and s.gap < 0.7 [s] * s.speed",
    "s.lane == left and not s.close and s.gap + 0.1 [s] * s.speed <= 33 [m]",
    "(s.gap <= 5 [m] or s.speed >= 39 [m/s]) and s.close",
    "s.close",
)


def network(seed: int, width: int = 8) -> Artifact:
    """A random two-layer ReLU reward over STEP."""
    rng = np.random.default_rng(seed)
    n = STEP.width
    scale = np.array([0.05, 0.02, 1, 1, 1])
    tensors = {
        "a.w": (rng.normal(size=(width, n)) * scale).astype(np.float32),
        "a.b": rng.normal(size=width).astype(np.float32),
        "b.w": rng.normal(size=(width, width)).astype(np.float32),
        "b.b": rng.normal(size=width).astype(np.float32),
        "c.w": rng.normal(size=(1, width)).astype(np.float32),
        "c.b": rng.normal(size=1).astype(np.float32),
    }
    graph = Graph(
        (Input(), AffineMap(0, "a.w", "a.b"), Relu(1), AffineMap(2, "b.w", "b.b"), Relu(3), AffineMap(4, "c.w", "c.b")),
        5,
    )
    return Artifact((RewardRecord("s", STEP),), graph, tensors, "exact")


def bound(premise: str, level: str, relation: str = "<=") -> Bound:
    spec = parse_spec(SPEC.format(premise=premise, level=level, relation=relation))
    obligation = premise_only(spec.obligation("capped"))
    return bound_of(obligation, bind_obligation(spec, obligation, {"R": network(0)}), Fraction(1, 20))


def points(seed: int, polytopes: tuple[Polytope, ...], n: int = 300) -> np.ndarray:
    """Random binary32 points, half of them moved onto or next to a side of a polytope, or of its ring."""
    rng = np.random.default_rng(seed)
    x = np.stack([rng.uniform(0, 40, n), rng.uniform(0, 100, n), rng.integers(0, 2, n)], axis=1)
    left = rng.integers(0, 2, n)
    x = np.column_stack([x, left, 1 - left]).astype(np.float32)
    for i in range(0, n, 2):
        polytope = polytopes[i % len(polytopes)]
        row = polytope.rows[int(rng.integers(len(polytope.rows)))]
        j = int(rng.integers(2))
        if row.coefficients[j] == 0:
            continue
        edge = Fraction(int(rng.choice([0, 0, 1, 1])))
        rest = sum(
            c * Fraction(float(v)) for k, (c, v) in enumerate(zip(row.coefficients, x[i], strict=True)) if k != j
        )
        target = np.float32((row.offset + edge - rest) / row.coefficients[j])
        for _ in range(int(rng.integers(3))):
            target = np.nextafter(target, np.float32(rng.choice([-np.inf, np.inf])))
        lo, hi = polytope.box[j]
        if lo <= Fraction(float(target)) <= hi:
            x[i, j] = target
    return x


def g(polytope: Polytope, point: list[Fraction]) -> Fraction:
    """The exact, unrounded distance function of a polytope, in ring widths."""
    return max(sum((c * v for c, v in zip(r.coefficients, point, strict=True)), -r.offset) for r in polytope.rows)


@pytest.mark.parametrize("premise", PREMISES)
@pytest.mark.parametrize("relation", ["<=", ">="])
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_fix_and_locality(premise: str, relation: str, seed: int) -> None:
    base = network(seed)
    x = points(seed, bound(premise, "0").polytopes)
    level = float(np.median(forward(base, x)))
    edit = bound(premise, f"({level:.6f})", relation)
    child, _ = apply_patch(base, edit, certified_extremum)
    before, after = forward(base, x), forward(child, x)
    sign = 1 if relation == "<=" else -1
    for i, row in enumerate(x):
        point = [Fraction(float(v)) for v in row]
        distance = [g(p, point) for p in edit.polytopes]
        exact_before, exact_after = evaluate(base, point), evaluate(child, point)
        if min(distance) <= 0:
            assert sign * exact_after <= sign * edit.level
            assert sign * Fraction(float(after[i])) <= sign * edit.level
        if min(distance) >= 1:
            assert exact_after == exact_before
            assert after[i].tobytes() == before[i].tobytes()
        if sign * exact_before <= sign * edit.level - abs(edit.level) / 2**22:
            assert exact_after == exact_before


@settings(max_examples=part_of(20), deadline=None)
@given(seed=st.integers(0, 2**32 - 1), premise=st.sampled_from(PREMISES))
def test_continuity_at_the_gate(seed: int, premise: str) -> None:
    """Where the stored rows are between 1 − 2δ and 1 the certified ceiling is above the reward: both sides agree."""
    base = network(seed)
    edit = bound(premise, "(0 - 1)")
    child, facts = apply_patch(base, edit, certified_extremum)
    for polytope, fact in zip(edit.polytopes, facts, strict=True):
        ring = ring_of(polytope)
        assert fact.level + fact.slope * (1 - 3 * ring.delta) >= fact.extremum
        for row in points(seed, (polytope,), 200):
            point = [Fraction(float(v)) for v in row]
            if g(polytope, point) <= 1:
                assert all(lo <= v <= hi for v, (lo, hi) in zip(point, closed_box(polytope), strict=True))
                assert evaluate(base, point) <= fact.extremum
    assert child.parent == base.digest


@given(st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=10**9))
def test_directed_rounding(value: Fraction) -> None:
    below, above = binary32_below(value), binary32_above(value)
    assert below <= value <= above
    assert above - below <= abs(value) / 2**22 + Fraction(1, 2**148)


def test_a_ring_that_rounding_would_eat_is_refused() -> None:
    polytope = bound("s.gap <= 10 [m]", "0").polytopes[0]
    thin = replace(polytope.rows[0], coefficients=tuple(c * 10**6 for c in polytope.rows[0].coefficients))
    with pytest.raises(EditError, match="eat the ring"):
        ring_of(replace(polytope, rows=(thin,)))
