"""Truth of formulas over smooth rewards, by enclosures, is that of a rational so near that no formula here can tell."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings

from rewarden.reward.balls import interval
from rewarden.spec_lang.analysis import analyse
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.evaluate import Enclosed, screen, truth, truth_of_rows
from rewarden.spec_lang.obligation import Atom, Call, Const, Product, Sum, Var
from rewarden.spec_lang.source import Source
from rewarden.spec_lang.spec import Spec
from rewarden.verifier.pointwise import Bound, whole_premise
from tests.reference.how_many import part_of
from tests.reference.random_graphs import SMOOTH_OPS, TWO_REALS, random_artifact, seeds

TAME = tuple(op for op in SMOOTH_OPS if op != "exp")  # towers of exponentials are out of reach
SPEC = """spec enclosed v1
features Point {
  x : real in -1 .. 1
  y : real in 0 .. 2
}
reward R(s: Point)
reward S(s: Point)
must product:
  forall s: Point
  given s.x <= s.y
  expect R(s) * S(s) <= R(s) + 1
must quotient:
  forall s: Point
  expect R(s) / (2 + s.y) <= max(s.x, min(S(s), R(s)))
must choice:
  forall a, b: Point
  given R(a) >= R(b) or S(a) < 0
  expect (if R(a) > S(b) then R(a) else -S(b)) >= S(a) - R(b)
must square:
  forall s: Point
  expect max(s.x * s.x, s.y) <= 1 + |R(s)| - 0.1 * S(s)
"""


@cache
def enclosed_spec() -> Spec:
    return analyse(Source("enclosed.rwd", SPEC)).require_spec()


@given(seeds)
@settings(max_examples=part_of(40), deadline=None)
def test_truth_by_enclosure_is_truth(seed):
    spec = enclosed_spec()
    rng = np.random.default_rng(seed)
    artifacts = {name: random_artifact(rng, TWO_REALS, TAME, size=5) for name in "RS"}
    bound = Bound(artifacts, {}, spec.features)

    def near(reward, arguments):
        return sum(interval(artifacts[reward], arguments, 2000), Fraction(0)) / 2

    for rule in ("product", "quotient", "choice", "square"):
        obligation = spec.obligation(rule)
        width = len(obligation.variables)
        rows = np.array([[float(v.lo), float(v.hi)] for v in obligation.variables])
        points = rows[:, 0] + rng.random((6, width)) * (rows[:, 1] - rows[:, 0])
        for formula in (whole_premise(obligation), obligation.conclusion):
            wanted = [truth(formula, [Fraction(float(x)) for x in point], near) for point in points]
            screened = screen(formula, points, None, bound.enclosures)
            assert all(s == 0 or (s > 0) == w for s, w in zip(screened, wanted, strict=True))
            try:
                found = bound.holds(formula, points).tolist()
                plain = truth_of_rows(formula, points, bound.call).tolist()  # without the screen in float64
            except Unsupported:  # a tie
                continue
            assert found == plain == wanted


def test_what_is_equal_is_not_decided():
    call = Call("R", (Var(0), Var(1)))
    same = Sum((call, Product(Const(Fraction(-1)), call)))

    def about(reward, arguments):
        return Enclosed(lambda bits: (Fraction(0), Fraction(1, 1 << bits)))

    with pytest.raises(Unsupported) as caught:
        truth(Atom(same, False), (Fraction(0), Fraction(0)), about)
    assert caught.value.code == "X07"
    assert truth(Atom(Sum((call, Const(Fraction(1)))), True), (Fraction(0), Fraction(0)), about)
    assert not truth(Atom(Sum((call, Const(Fraction(-1)))), True), (Fraction(0), Fraction(0)), about)
