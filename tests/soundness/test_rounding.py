"""Networks built so that binary64 says something else than the rationals: none of them gets a false proof."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.verifier.backsub import Engine, Functionals
from rewarden.verifier.box_minimum import AffineRows, Boxes, box_minimum
from rewarden.verifier.branch import prove
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.fusion import functional_rows
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.program import INPUT, Block, Layer, Program
from rewarden.verifier.rounding import outward, product, round_down, round_up, with_error
from tests.reference.random_programs import atom, claim_over, form

UNIT_BOX = ((Fraction(0), Fraction(1)),)


def bound_of(program: Program) -> float:
    lo, hi = (torch.from_numpy(side)[None, :] for side in outward(program.claim.boxes[0]))
    rows = functional_rows(program, [form(calls={0: 1})])
    return float(Engine(program).bound(Boxes(lo, hi), Functionals.of(rows)).bound[0])


def program_of(*layers: Layer, goal=None, box=UNIT_BOX) -> Program:
    goals = ((goal or atom(calls={0: 1}),),)
    return Program(claim_over((box,), goals), layers, (len(layers) - 1,))


def linear(source: int, weight, bias) -> Layer:
    return Layer("linear", (Block(source, np.array(weight, dtype=float)),), np.array(bias, dtype=float))


def relu(source: int, width: int) -> Layer:
    return Layer("relu", (Block(source, np.eye(width)),), np.zeros(width))


def never_proved(program: Program) -> None:
    outcome = prove(program, program.claim, VerifyOptions(budget=200))
    assert outcome.status != "proved"


def test_large_terms_that_cancel_hide_nothing():
    # r = relu(x + 1e16) - relu(x + 1e16 - 1) is 1; in floats the sums lose the x and the 1.
    program = program_of(
        linear(INPUT, [[1], [1]], [1e16, 1e16 - 2]), relu(0, 2), linear(1, [[1, -1]], [-3]), goal=atom(calls={0: 1})
    )
    assert ExactProgram(program).evaluate((Fraction(1, 2),)).calls[0] == -1
    assert bound_of(program) <= -1
    never_proved(program)


def test_a_backdoor_in_the_rounding_is_not_overlooked():
    # Zombori et al. (ICLR 2021): a large constant absorbs the trigger in floats, so the float network looks constant.
    big = 2.0**54
    layers = (
        linear(INPUT, [[1.0]], [big]),  # x + 2^54: the x is rounded away
        relu(0, 1),
        linear(1, [[-1.0]], [big]),  # −x exactly, 0 in floats
        linear(2, [[1.0]], [0.25]),  # 1/4 − x, which is negative for x > 1/4
    )
    program = program_of(*layers)
    assert bound_of(program) <= -0.75
    assert ExactProgram(program).evaluate((Fraction(1),)).calls[0] < 0
    never_proved(program)


@pytest.mark.parametrize("scale", [1e30, 1e150, 1e300, 5e-324, 1e-310, 1e-200])
def test_extreme_weights_never_prove_what_is_false(scale):
    program = program_of(
        linear(INPUT, [[scale], [-scale]], [0.0, scale]), relu(0, 2), linear(1, [[scale, scale]], [0.0]),
        goal=atom(calls={0: -1}, strict=True),
    )  # fmt: skip
    assert max(ExactProgram(program).evaluate((x,)).calls[0] for x in (Fraction(0), Fraction(1))) > 0
    never_proved(program)


def test_overflow_is_not_a_proof():
    huge = 1e308
    program = program_of(linear(INPUT, [[huge], [huge]], [huge, huge]), relu(0, 2), linear(1, [[huge, -huge]], [0]))
    assert bound_of(program) == -np.inf
    never_proved(program)


def test_weights_that_round_to_zero_count():
    # 7^-400 is below every positive float: the claim is false by just that.
    tiny = Fraction(1, 7**400)
    block = Block(INPUT, np.zeros((1, 1)), {(0, 0): -tiny})
    program = program_of(Layer("linear", (block,), np.zeros(1)))
    assert bound_of(program) < 0
    never_proved(program)


@pytest.mark.parametrize("tiny", [Fraction(1, 2**1000), Fraction(1, 2**1060), Fraction(1, 7**400)])
@pytest.mark.parametrize("width", [Fraction(1, 2**60), Fraction(1, 2**500)])
def test_what_an_error_times_a_small_number_loses_counts(tiny, width):
    """On a box so narrow that the error of a weight times the size of what it stands on is 0 in binary64."""
    box = ((Fraction(0), width),)
    goals = (atom(variables={0: -tiny}), atom(calls={0: -tiny}))  # of x and of R(x) = x, above 0 but at a corner
    for goal in goals:
        never_proved(program_of(linear(INPUT, [[1.0]], [0.0]), goal=goal, box=box))
    read = Layer("relu", (Block(INPUT, np.zeros((1, 1)), {(0, 0): tiny}),), np.zeros(1))
    never_proved(program_of(read, goal=atom(calls={0: -1}), box=box))
    handed_on = Layer("linear", (Block(INPUT, np.zeros((1, 1)), {(0, 0): tiny}),), np.zeros(1))
    never_proved(program_of(handed_on, relu(0, 1), goal=atom(calls={0: -1}), box=box))


def test_rational_thresholds_are_not_rounded():
    # x <= 1 on the box; the goal asks for 1/3 + 2/3 − 10^-40 >= x.
    threshold = Fraction(1, 3) + Fraction(2, 3) - Fraction(1, 10**40)
    program = program_of(linear(INPUT, [[1.0]], [0.0]), goal=atom(threshold, calls={0: -1}))
    never_proved(program)
    fair = program_of(linear(INPUT, [[1.0]], [0.0]), goal=atom(1, calls={0: -1}))
    assert prove(fair, fair.claim, VerifyOptions(budget=10)).status == "proved"


def test_boxes_that_floats_cannot_hold_are_rounded_outwards():
    box = ((Fraction(1, 10), Fraction(3, 10)),)
    (lo,), (hi,) = outward(box[0:1])
    assert Fraction(lo) <= Fraction(1, 10)
    assert Fraction(hi) >= Fraction(3, 10)
    program = program_of(linear(INPUT, [[1.0]], [0.0]), goal=atom(Fraction(-1, 10), calls={0: 1}), box=box)
    assert prove(program, program.claim, VerifyOptions(budget=10)).status == "proved"
    strict = program_of(linear(INPUT, [[1.0]], [0.0]), goal=atom(Fraction(-1, 10), calls={0: 1}, strict=True), box=box)
    assert prove(strict, strict.claim, VerifyOptions(budget=60)).status == "violated"


@given(st.fractions())
def test_directed_rounding(value):
    assert Fraction(round_down(value)) <= value <= Fraction(round_up(value))
    nearest, error = with_error(value)
    assert abs(Fraction(nearest) - value) <= Fraction(error)


finite = st.floats(-1e6, 1e6, allow_subnormal=True)


@settings(max_examples=80, deadline=None)
@given(st.lists(finite, min_size=4, max_size=4), st.lists(finite, min_size=4, max_size=4))
def test_products_of_matrices_are_within_their_error(left, right):
    a, b = np.array(left).reshape(2, 2), np.array(right).reshape(2, 2)
    value, error = product(a, None, b, np.zeros((2, 2)))
    for i in range(2):
        for j in range(2):
            exact = sum(Fraction(a[i, k]) * Fraction(b[k, j]) for k in range(2))
            assert abs(exact - Fraction(value[i, j])) <= Fraction(error[i, j])


@pytest.mark.parametrize("left, right", [((0.0, 2.0**-1000), (2.0**-100, 0.0)), ((2.0**-500, 0.0), (1.0, 2.0**-1000))])
def test_products_of_errors_too_small_for_floats_are_not_nothing(left, right):
    """A number and its error, on both sides; a row or a column that selects is exact, but not what is unknown of it."""
    (a, a_error), (b, b_error) = ([np.array([[x]]) for x in side] for side in (left, right))
    value, error = product(a, a_error, b, b_error)
    most = (Fraction(a[0, 0]) + Fraction(a_error[0, 0])) * (Fraction(b[0, 0]) + Fraction(b_error[0, 0]))
    assert most - Fraction(value[0, 0]) <= Fraction(error[0, 0])


def test_selecting_rows_is_exact():
    value, error = product(np.array([[0.0, -1.0]]), None, np.array([[0.1], [0.3]]), np.zeros((2, 1)))
    assert (value[0, 0], error[0, 0]) == (-0.3, 0.0)


@settings(max_examples=80, deadline=None)
@given(st.lists(finite, min_size=3, max_size=3), st.lists(finite, min_size=6, max_size=6), finite)
def test_box_minimum_is_below_the_exact_minimum(slope, ends, constant):
    lo, hi = np.minimum(ends[:3], ends[3:]), np.maximum(ends[:3], ends[3:])
    zero = torch.zeros(1, dtype=torch.float64)
    rows = AffineRows(torch.tensor([slope], dtype=torch.float64), zero + constant, zero, zero)
    bound = float(box_minimum(rows, Boxes(torch.from_numpy(lo)[None], torch.from_numpy(hi)[None]))[0])
    exact = Fraction(constant) + sum(
        min(Fraction(s) * Fraction(a), Fraction(s) * Fraction(b)) for s, a, b in zip(slope, lo, hi, strict=True)
    )
    assert Fraction(bound) <= exact


def test_non_finite_rows_bound_nothing():
    one = torch.ones(1, dtype=torch.float64)
    for bad in (np.inf, -np.inf, np.nan):
        rows = AffineRows(one[None] * bad, one, one * 0, one * 0)
        assert float(box_minimum(rows, Boxes(-one[None], one[None]))[0]) == -np.inf
