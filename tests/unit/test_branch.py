"""Branch and bound by example: what it proves, what it must not, and the shape of what it returns."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from rewarden.verifier.branch import prove
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.program import INPUT, Block, Layer, Program
from tests.reference.random_programs import atom, claim_over

SQUARE = ((Fraction(-1), Fraction(1)), (Fraction(-1), Fraction(1)))


def linear(source: int, weight, bias) -> Layer:
    return Layer("linear", (Block(source, np.array(weight, dtype=float)),), np.array(bias, dtype=float))


def relu(source: int, width: int) -> Layer:
    return Layer("relu", (Block(source, np.eye(width)),), np.zeros(width))


def sum_of(*weights: float, box=SQUARE, **claim) -> Program:
    """r(x) = Σ weights·x."""
    return Program(claim_over((box,), **claim), (linear(INPUT, [list(weights)], [0.0]),), (0,))


def absolute(box=SQUARE, **claim) -> Program:
    """r(x, y) = |x| + |y|."""
    layers = (
        linear(INPUT, [[1, 0], [-1, 0], [0, 1], [0, -1]], [0, 0, 0, 0]),
        relu(0, 4),
        linear(1, [[1, 1, 1, 1]], [0]),
    )
    return Program(claim_over((box,), **claim), layers, (2,))


def outcome_of(program: Program, budget: int = 2000, **options):
    return prove(program, program.claim, VerifyOptions(budget=budget, **options))


def test_proves_what_needs_splitting():
    outcome = outcome_of(absolute(goals=((atom(Fraction(-1, 8), {}, {0: 1}), atom(Fraction(1, 2), {0: 1})),)))
    assert outcome.status == "proved"
    outcome = outcome_of(absolute(goals=((atom(Fraction(201, 100), {}, {0: -1}),),)))
    assert (outcome.status, outcome.settled) == ("proved", 1.0)
    assert outcome.proof is not None
    assert set(outcome.proof) == {"format", "format_version", "claim", "witness", "goals"}


def test_finds_violations_at_corners():
    outcome = outcome_of(absolute(goals=((atom(Fraction(19, 10), {}, {0: -1}),),)))
    assert outcome.status == "violated"
    assert sum(abs(x) for x in outcome.points[0]) > Fraction(19, 10)
    assert outcome.proof is None


def test_margin_of_exactly_zero_tells_strict_from_not():
    assert outcome_of(absolute(goals=((atom(2, {}, {0: -1}),),))).status == "proved"
    strict = outcome_of(absolute(goals=((atom(2, {}, {0: -1}, strict=True),),)))
    assert strict.status == "violated"
    assert all(abs(x) == 1 for x in strict.points[0])


def test_a_strict_premise_proves_a_strict_conclusion_with_the_same_threshold():
    premise = ((atom(Fraction(-1, 3), {0: 1}, strict=True),),)
    goal = ((atom(Fraction(-1, 3), {}, {0: 1}, strict=True),),)
    assert outcome_of(sum_of(1, 0, clauses=premise, goals=goal)).status == "proved"
    weaker = ((atom(Fraction(-1, 3), {0: 1}),),)
    assert outcome_of(sum_of(1, 0, clauses=weaker, goals=goal), budget=200).status != "proved"


def test_premises_over_several_variables_are_used():
    ordered = ((atom(0, {0: -1, 1: 1}),),)  # x <= y
    rising = ((atom(0, {}, {0: 1}),),)  # y − x >= 0
    assert outcome_of(sum_of(-1, 1, clauses=ordered, goals=rising)).status == "proved"
    assert outcome_of(sum_of(-1, 1, goals=rising)).status == "violated"


def test_premises_about_rewards_are_used():
    program = sum_of(1, 1, clauses=((atom(Fraction(-1, 2), {}, {0: 1}),),), goals=((atom(0, {}, {0: 1}),),))
    assert outcome_of(program).status == "proved"


def test_factors_between_premise_and_goal_may_be_beyond_binary64():
    """1e-200·r >= 0 shows that 1e200·r >= 0, and the one is 1e400 times the other."""
    premise, goal = (atom(Fraction(0), {}, {0: Fraction(10) ** size}) for size in (-200, 200))
    outcome = outcome_of(sum_of(1.0, -1.0, clauses=((premise,),), goals=((goal,),)), budget=10)
    assert outcome.status in ("proved", "unknown")


def test_a_premise_that_excludes_everything_proves_anything():
    program = sum_of(1, 1, clauses=((atom(-3, {0: 1, 1: 1}),),), goals=((atom(-9, {}, {0: 1}),),))
    assert outcome_of(program).status == "proved"


def test_without_goals_or_premise():
    assert outcome_of(sum_of(1, 1, goals=())).status == "proved"
    assert outcome_of(sum_of(1, 1, goals=((),))).status != "proved"


def test_discrete_variables_are_split_between_integers():
    # r = x + y with x in {0, 1}: |x − 1/2| >= 1/2 is true of integers only.
    box = ((Fraction(0), Fraction(1)), (Fraction(0), Fraction(1)))
    goal = ((atom(Fraction(-1), {0: 1}), atom(0, {0: -1})),)  # x >= 1 or x <= 0
    assert outcome_of(sum_of(1, 1, box=box, goals=goal, discrete=(0,))).status == "proved"
    assert outcome_of(sum_of(1, 1, box=box, goals=goal), budget=300).status != "proved"


def test_one_hot_sums_exclude_what_they_should():
    box = ((Fraction(0), Fraction(1)),) * 3
    one_hot = ((atom(-1, {0: 1, 1: 1, 2: 1}),), (atom(1, {0: -1, 1: -1, 2: -1}),))
    program = sum_of(1, 2, 4, box=box, clauses=one_hot, goals=((atom(-1, {}, {0: 1}),),), discrete=(0, 1, 2))
    assert outcome_of(program).status == "proved"
    program = sum_of(1, 2, 4, box=box, clauses=one_hot, goals=((atom(-2, {}, {0: 1}),),), discrete=(0, 1, 2))
    assert outcome_of(program).points == ((1, 0, 0),)


def test_clauses_with_several_atoms_become_cases():
    # x + y >= 1/2 or x − y >= 1/2, so x + |y| >= 1/2.
    clause = ((atom(Fraction(-1, 2), {0: 1, 1: 1}), atom(Fraction(-1, 2), {0: 1, 1: -1})),)
    layers = (linear(INPUT, [[0, 1], [0, -1]], [0, 0]), relu(0, 2), Layer(
        "linear", (Block(INPUT, np.array([[1.0, 0.0]])), Block(1, np.ones((1, 2)))), np.zeros(1)
    ))  # fmt: skip
    goal = ((atom(Fraction(-1, 2), {}, {0: 1}),),)
    program = Program(claim_over((SQUARE,), goal, clause), layers, (2,))
    outcome = outcome_of(program)
    assert outcome.status == "proved"
    assert outcome.proof is not None
    assert ["case", 0] in outcome.proof["goals"][0][0]


def test_what_is_unsettled_is_reported():
    # r >= x + 1/3·y − 1/100 is true, and needs more than 5 boxes: both lower lines have slope 0 at first.
    program = absolute(goals=((atom(Fraction(1, 100), {0: -1, 1: Fraction(-1, 3)}, {0: 1}),),))
    outcome = outcome_of(program, budget=5)
    assert (outcome.status, outcome.boxes) == ("unknown", 5)
    assert 0 < outcome.settled < 1
    assert outcome.frontier
    volume = sum((x[1] - x[0]) * (y[1] - y[0]) for x, y in (part.box for part in outcome.frontier))
    assert float(volume / 4) == pytest.approx(1 - outcome.settled)
    assert outcome_of(program).status == "proved"


def test_stop_and_progress():
    program = absolute(goals=((atom(Fraction(2000001, 1000000), {0: Fraction(1, 3)}, {0: -1}),),))
    seen = []
    stopped = prove(program, program.claim, VerifyOptions(), seen.append, lambda: True)
    assert (stopped.status, stopped.boxes, seen) == ("unknown", 0, [])
    assert len(stopped.frontier) == 1
    prove(program, program.claim, VerifyOptions(budget=100), seen.append)
    assert [p.work for p in seen] == sorted(p.work for p in seen)
    assert all(0 <= p.settled <= 1 and p.phase == "bounds" for p in seen)


def test_same_inputs_same_outcome():
    program = absolute(goals=((atom(Fraction(201, 100), {}, {0: -1}),),))
    first, second = outcome_of(program), outcome_of(program)
    assert (first.proof, first.boxes) == (second.proof, second.boxes)
    assert outcome_of(program, batch_size=1).status == "proved"


def test_instance_boxes_are_all_settled():
    boxes = tuple(((Fraction(k), Fraction(k) + Fraction(1, 3)), (Fraction(0), Fraction(0))) for k in range(5))
    claim = claim_over(boxes, ((atom(Fraction(1, 10), {}, {0: 1}),),))
    outcome = outcome_of(Program(claim, (linear(INPUT, [[1, 1]], [0]),), (0,)))
    assert outcome.status == "proved"
    assert outcome.proof is not None
    assert [len(tree) for tree in outcome.proof["goals"][0]] == [1] * 5


def test_patched_rewards_cancel_inside_their_region_and_out_of_their_ring():
    # r = 3|x|, patched to at most 1 where x <= 1/4: the gate opens at x − 1/4 >= 1/2.
    def patched(goals, clauses) -> Program:
        layers = (
            linear(INPUT, [[3], [-3]], [0, 0]),
            relu(0, 2),
            linear(1, [[1, 1]], [0]),
            linear(INPUT, [[1]], [-0.25]),
            Layer("gated", (Block(2, np.eye(1)),), np.array([-1.0]), gate_layer=3, gate=0.5, tight=False),
            Layer("linear", (Block(2, np.eye(1)), Block(4, -np.eye(1))), np.zeros(1)),
        )
        box = ((Fraction(-1), Fraction(1)),)
        return Program(claim_over((box,), goals, clauses, calls=2), layers, (5, 2))

    inside = ((atom(Fraction(1, 4), {0: -1}),),)
    outcome = outcome_of(patched(((atom(1, {}, {0: -1}),),), inside))
    assert outcome.status == "proved"
    beyond = ((atom(Fraction(-4, 5), {0: 1}),),)
    same = ((atom(0, {}, {0: 1, 1: -1}),), (atom(0, {}, {0: -1, 1: 1}),))
    outcome = outcome_of(patched(same, beyond))
    assert (outcome.status, outcome.boxes <= 4) == ("proved", True)
    assert outcome_of(patched(same, ())).status == "violated"


def test_a_program_of_another_claim_is_refused():
    one, other = sum_of(1, 1, goals=()), sum_of(1, 1, goals=((atom(1),),))
    with pytest.raises(ValueError, match="another claim"):
        prove(one, other.claim, VerifyOptions())
