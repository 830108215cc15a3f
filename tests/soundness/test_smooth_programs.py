"""Random graphs with smooth nodes and products: every reading contains the enclosed value, every verdict fits it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.reward.artifact import Artifact
from rewarden.reward.balls import within
from rewarden.reward.deployed import forward
from rewarden.reward.enclosure import enclose
from rewarden.reward.rounding import deployed_error
from rewarden.spec_lang.claim import Affine, AffineAtom, Box, Claim, ClaimCall, ClaimVariable
from rewarden.verifier.backsub import Engine, Functionals
from rewarden.verifier.ball_program import BallProgram
from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.float_program import FloatProgram
from rewarden.verifier.fusion import functional_rows
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.rounding import outward
from rewarden.verifier.verdict import Verdict
from tests.reference.how_many import part_of
from tests.reference.random_graphs import MIXED, SMOOTH_OPS, TWO_REALS, random_artifact, random_rows, seeds

BITS = 160
ONE = Affine(Fraction(0), (), ((0, Fraction(1)),))
MINUS = Affine(Fraction(0), (), ((0, Fraction(-1)),))


def drawn(seed: int, kind=TWO_REALS, patches: int = 2) -> tuple[Artifact, np.random.Generator]:
    """A smooth artifact, and the generator to go on with."""
    rng = np.random.default_rng(seed)
    while True:
        size, patched = int(rng.integers(1, 9)), int(rng.integers(0, patches))
        artifact = random_artifact(rng, kind, SMOOTH_OPS, size=size, patches=patched)
        if artifact.smooth:
            return artifact, rng


def claim_about(artifact: Artifact, box: Box, goal: tuple[AffineAtom, ...] = ()) -> Claim:
    columns = range(artifact.width)
    variables = tuple(ClaimVariable(f"x{j}", None, False) for j in columns)
    arguments = tuple(Affine(Fraction(0), ((j, Fraction(1)),)) for j in columns)
    calls = (ClaimCall("r", arguments),)
    goals = (goal,) if goal else ()
    return Claim("rule", "must", variables, (), (("r", artifact.digest),), calls, (), goals, (box,))


def random_box(rng: np.random.Generator, artifact: Artifact) -> Box:
    sides = []
    for column in artifact.columns:
        centre = float(column.lo) + rng.random() * float(column.hi - column.lo)
        half = rng.choice([0.0, 10.0 ** rng.uniform(-9, 0.3)])
        sides.append((Fraction(centre - half), Fraction(centre + half)))
    return tuple(sides)


def points_of(rng: np.random.Generator, box: Box, count: int) -> list[tuple[Fraction, ...]]:
    shares = np.where(rng.random((count, len(box))) < 0.4, rng.integers(0, 2, (count, len(box))), 0)
    shares = np.where(rng.random((count, len(box))) < 0.5, shares, rng.random((count, len(box))))
    return [tuple(lo + (hi - lo) * Fraction(float(s)) for s, (lo, hi) in zip(row, box, strict=True)) for row in shares]


@settings(max_examples=part_of(150), deadline=None)
@given(seeds)
def test_bounds_of_every_layer_contain_the_enclosed_values(seed):
    artifact, rng = drawn(seed)
    box = random_box(rng, artifact)
    program = compile_program(claim_about(artifact, box), {"r": artifact})
    assert program.curved
    lo, hi = (torch.from_numpy(side)[None, :] for side in outward(box))
    with torch.no_grad():
        final = Engine(program).bound(Boxes(lo, hi), Functionals.of(functional_rows(program, [ONE, MINUS])))
    least, most = float(final.bound[0]), -float(final.bound[1])
    balls = BallProgram(program)
    for point in points_of(rng, box, 6):
        layers = balls.layers(point, BITS)
        for k, values in enumerate(layers):
            for j, found in enumerate(values):
                low, high = float(final.sweep.least[k][0, j]), float(final.sweep.most[k][0, j])
                assert found is None or low == -np.inf or Fraction(low) <= found[1]
                assert found is None or high == np.inf or Fraction(high) >= found[0]
        found = layers[program.outputs[0]][0]
        whole = within(artifact, point, BITS)
        assert found is not None
        assert whole is not None
        assert max(found[0], whole[0]) <= min(found[1], whole[1]), "graph and program are one function"
        assert least == -np.inf or Fraction(least) <= found[1]
        assert most == np.inf or Fraction(most) >= found[0]


@settings(max_examples=part_of(120), deadline=None)
@given(seeds)
def test_enclosures_and_the_deployed_pass_contain_the_enclosed_values(seed):
    artifact, rng = drawn(seed, MIXED, patches=3)
    rows = random_rows(rng, MIXED, 5).astype(np.float32)
    x = rows.astype(np.float64)
    lo, hi = enclose(artifact, x)
    deployed = forward(artifact, rows)
    for row, least, most, value in zip(x, lo, hi, deployed, strict=True):
        found = within(artifact, [Fraction(float(v)) for v in row], BITS)
        assert found is not None
        assert least == -np.inf or Fraction(float(least)) <= found[1]
        assert most == np.inf or Fraction(float(most)) >= found[0]
        error = deployed_error(artifact, row, row)
        if np.isfinite(error):
            assert found[0] - Fraction(error) <= Fraction(float(value)) <= found[1] + Fraction(error)


@settings(max_examples=part_of(60), deadline=None)
@given(seeds, st.integers(2, 9))
def test_a_row_does_not_depend_on_its_batch(seed, count):
    artifact, rng = drawn(seed, MIXED)
    x = random_rows(rng, MIXED, count).astype(np.float32)
    alone = np.concatenate([forward(artifact, x[i : i + 1]) for i in range(count)])
    assert forward(artifact, x).tobytes() == alone.tobytes()
    assert forward(artifact, np.asfortranarray(x)[::-1]).tobytes() == alone[::-1].tobytes()


@settings(max_examples=part_of(60), deadline=None)
@given(seeds)
def test_searches_look_at_nearly_the_same_function(seed):
    artifact, rng = drawn(seed, patches=1)
    box = tuple((c.lo, c.hi) for c in artifact.columns)
    program = compile_program(claim_about(artifact, box), {"r": artifact})
    for point in points_of(rng, box, 4):
        x = torch.tensor([[float(v) for v in point]], dtype=torch.float64)
        seen = float(FloatProgram(program).calls(x)[0, 0])
        found = within(artifact, [Fraction(float(v)) for v in x[0]], BITS)
        assert found is not None
        assert abs(seen - float(found[0])) <= 1e-9 * (1 + abs(seen)) or abs(seen) > 1e6


@settings(max_examples=part_of(40), deadline=None)
@given(seeds)
def test_verdicts_do_not_contradict_enclosed_values(seed):
    """Ceilings and floors close to values that the reward takes."""
    artifact, rng = drawn(seed, patches=2)
    box = random_box(rng, artifact)
    points = points_of(rng, box, 12)
    values = [within(artifact, point, BITS) for point in points]
    known = sorted(v[0] for v in values if v is not None)
    edge = float(rng.choice([float(known[0]), float(known[-1])]))
    level = Fraction(edge + rng.normal() * 10.0 ** rng.uniform(-12, 0))
    ceiling, strict = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
    shape = replace(MINUS if ceiling else ONE, constant=level if ceiling else -level)
    claim = claim_about(artifact, box, (AffineAtom(shape, strict),))
    options = VerifyOptions(budget=400, falsify_budget=600, z3_rlimit=1000)
    result = verify_claim(claim, {"r": artifact}, options)
    assert result.claim is claim or result.verdict is Verdict.VIOLATED  # None where a checker could not tell
    if result.verdict is Verdict.PROVED:
        for found in values:
            assert found is not None
            assert found[0] <= level if ceiling else found[1] >= level
    if result.verdict is Verdict.VIOLATED:
        witness = result.witness
        assert witness is not None
        found = within(artifact, witness.point, 4 * BITS)
        assert found is not None
        assert found[1] >= level if ceiling else found[0] <= level
        assert all(lo <= x <= hi for x, (lo, hi) in zip(witness.point, box, strict=True))


@settings(max_examples=part_of(40), deadline=None)
@given(seeds)
def test_nothing_is_said_of_a_comparison_that_enclosures_leave_open(seed):
    """R(x) > R(x) with the second side written as a constant: what is not decided is neither true nor false."""
    artifact, rng = drawn(seed, patches=1)
    box = tuple((c.lo, c.hi) for c in artifact.columns)
    (point,) = points_of(rng, box, 1)
    found = within(artifact, point, 4096)
    assert found is not None
    level = (found[0] + found[1]) / 2
    for strict in (False, True):
        shape = replace(ONE, constant=-level)
        claim = claim_about(artifact, box, (AffineAtom(shape, strict),))
        evaluation = ExactProgram(compile_program(claim, {"r": artifact})).evaluate(point)
        (atom,) = claim.goals[0]
        assert not (evaluation.holds(atom) and evaluation.fails(atom))
        if found[0] < found[1]:
            assert not evaluation.holds(atom)
            assert not evaluation.fails(atom)
            assert not evaluation.decided(claim)
            assert evaluation.failing_goals(claim) == ()


def test_cutting_inputs_converges():
    """Halving both inputs leaves about a quarter of the gap between bounds and values."""
    gaps = []
    rng = np.random.default_rng(11)
    for function in ("tanh", "gelu", "silu", "sigmoid", "softplus", "product", "square"):
        artifact = random_artifact(rng, TWO_REALS, ("affine", function, "affine", function), size=6)
        for width in (2.0**-3, 2.0**-5, 2.0**-7):
            box = ((Fraction(1, 4), Fraction(1, 4) + Fraction(width)), (Fraction(1), Fraction(1) + Fraction(width)))
            program = compile_program(claim_about(artifact, box), {"r": artifact})
            lo, hi = (torch.from_numpy(side)[None, :] for side in outward(box))
            with torch.no_grad():
                final = Engine(program).bound(Boxes(lo, hi), Functionals.of(functional_rows(program, [ONE, MINUS])))
            corner = FloatProgram(program).calls(torch.cat((lo, hi, torch.stack((lo[:, 0], hi[:, 1]), 1))))[:, 0]
            slopes = final.rows.slope.abs().sum(1).max()
            gaps.append(float(-final.bound.sum()) - float(corner.max() - corner.min()))
            assert gaps[-1] <= float(slopes) * width * 2 + 40 * width**2 * max(1.0, float(slopes))
