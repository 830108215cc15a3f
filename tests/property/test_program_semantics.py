"""Three readings of a program agree: exactly with the artifact's own evaluation, and in float64 to rounding."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from hypothesis import given, settings

from rewarden.verifier.exact_program import ExactProgram, box_of
from rewarden.verifier.float_program import FALSE, Atoms, FloatProgram, atoms_of
from rewarden.verifier.inline import compile_program
from rewarden.verifier.snap import candidates, one_hot_groups
from tests.reference.random_claims import call_values, random_claim, random_point, truth
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact, random_mlp, seeds


def some_claim(seed: int):
    rng = np.random.default_rng(seed)
    record_type = MIXED if rng.random() < 0.5 else TWO_REALS
    rewards = {
        "R": random_artifact(rng, record_type, patches=int(rng.integers(0, 3))),
        "Base": random_mlp(rng, record_type),
    }
    return rng, random_claim(rng, record_type, rewards), rewards


@settings(max_examples=50, deadline=None)
@given(seeds)
def test_exact_program_has_the_truth_of_the_claim(seed):
    rng, claim, rewards = some_claim(seed)
    exact = ExactProgram(compile_program(claim, rewards))
    for _ in range(3):
        point = random_point(rng, claim)
        evaluation = exact.evaluate(point)
        assert evaluation.calls == call_values(claim, rewards, point)
        assert (evaluation.premise_holds(claim), not evaluation.failing_goals(claim)) == truth(claim, rewards, point)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_float_program_is_close(seed):
    rng, claim, rewards = some_claim(seed)
    program = compile_program(claim, rewards)
    points = [random_point(rng, claim) for _ in range(4)]
    x = torch.tensor([[float(v) for v in p] for p in points], dtype=torch.float64)
    approximate = FloatProgram(program).calls(x)
    goals = atoms_of(claim, claim.goals)
    margins = goals.margins(x, approximate)
    exact = ExactProgram(program)
    for k, point in enumerate(points):
        evaluation = exact.evaluate(point)
        rows = [point[i] for call in claim.calls for i, _ in call.arguments[0].variables]
        scale = 1.0 + max(abs(float(v)) for v in (*evaluation.calls, *rows, Fraction(0)))
        np.testing.assert_allclose(approximate[k], [float(v) for v in evaluation.calls], atol=1e-9 * scale, rtol=1e-9)
        expected = [float(evaluation.margin(a.affine)) for goal in claim.goals for a in goal]
        np.testing.assert_allclose(margins[k], expected, atol=1e-8 * scale, rtol=1e-8)


def test_the_best_atom_of_each_clause_has_the_gradient():
    atoms = Atoms(torch.zeros(5), torch.zeros(5, 0), torch.zeros(5, 0), (0, 2, 2, 5))
    margins = torch.tensor([[1.0, 2.0, -1.0, 4.0, 3.0], [5.0, 0.0, 7.0, 7.0, 6.0]], requires_grad=True)
    best = atoms.best(margins)
    assert best.tolist() == [[2.0, FALSE, 4.0], [5.0, FALSE, 7.0]]
    (gradient,) = torch.autograd.grad((best * torch.tensor([1.0, 10.0, 100.0])).sum(), margins)
    assert gradient.tolist() == [[0.0, 1.0, 0.0, 100.0, 0.0], [1.0, 0.0, 50.0, 50.0, 0.0]]


@settings(max_examples=80, deadline=None)
@given(seeds)
def test_snapped_points_are_in_their_box_and_encode_a_record(seed):
    rng, claim, _ = some_claim(seed)
    box = claim.boxes[0]
    guess = [float(lo) + float(hi - lo) * rng.uniform(-0.01, 1.01) for lo, hi in box]
    points = list(candidates(claim, box, guess))
    assert points
    for point in points:
        assert box_of(claim, point) == 0
        assert all(sum(point[i] for i in group) == 1 for group in one_hot_groups(claim))
    for value, variable, (lo, hi) in zip(points[0], claim.variables, box, strict=True):
        if not variable.discrete and hi - lo > Fraction(1, 1000):
            assert Fraction(float(np.float32(float(value)))) == value
