"""The neurons engine: its bounds are below everything exact at points of the boxes, whatever the free parameters are,
and what it proves has no violation."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rewarden.verifier.exact_program import ExactProgram, box_of
from rewarden.verifier.inline import compile_program
from rewarden.verifier.program import INPUT, Block, Layer, Program
from rewarden.verifier.rounding import outward
from rewarden.verifier.wide import bounds
from rewarden.verifier.wide.network import network_of, rows_of
from rewarden.verifier.wide.split import Signs
from tests.reference.random_claims import random_claim, random_point
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact
from tests.reference.random_programs import atom as plain_atom
from tests.reference.random_programs import claim_over, form, points_of, random_program
from tests.soundness.test_cells import exact_pre_activations

seeds = st.integers(0, 2**32 - 1)
FUNCTIONALS = [form(calls={0: 1}), form(Fraction(1, 7), {0: Fraction(2, 3)}, {0: Fraction(-2, 3)})]


def known_of(program: Program, network, *, deep: bool):
    lo, hi = outward(program.claim.boxes[0])
    known = bounds.known_by_intervals(network, torch.from_numpy(lo)[None], torch.from_numpy(hi)[None])
    return bounds.sharpened(network, known) if deep else known


def check_neurons(network, known, values) -> None:
    for k, layer in enumerate(network.layers, start=1):
        for j, z in enumerate(values[layer]):
            lo, hi = float(known.lo[k][0, j]), float(known.hi[k][0, j])
            assert not np.isfinite(lo) or Fraction(lo) <= z
            assert not np.isfinite(hi) or z <= Fraction(hi)


def random_lines(rng, known, values, network) -> bounds.Lines:
    """Any slopes, and neurons held to the sign that they have at the point, with any multipliers. Changes `known`."""
    held: list = [None]
    for k, layer in enumerate(network.layers, start=1):
        signs, width = np.zeros(len(values[layer])), len(values[layer])
        for j, z in enumerate(values[layer]):
            if rng.random() < 0.4:
                signs[j] = 1.0 if z > 0 or (z == 0 and rng.random() < 0.5) else -1.0
                side = known.lo if signs[j] > 0 else known.hi
                side[k][0, j] = max(side[k][0, j], 0.0) if signs[j] > 0 else min(side[k][0, j], 0.0)
        scale = float(rng.choice([0.0, 1e-3, 1.0, 1e3]))
        held.append(torch.from_numpy(signs * rng.random(width) * scale)[None])
    default = bounds.default_lines(known)
    lower = [torch.zeros(0)]
    for k in range(1, len(known.lo)):
        unstable = (known.lo[k] < 0) & (known.hi[k] > 0)
        lower.append(torch.where(unstable, torch.from_numpy(rng.random(known.lo[k].shape)), default.lower[k]))
    return bounds.Lines(lower, default.upper, default.intercept, held)


def check_rows(rng, program: Program, functionals, point, *, deep: bool) -> None:
    network = network_of(program)
    assume(network is not None)
    exact = ExactProgram(program)
    values, evaluation = exact_pre_activations(program, exact, point), exact.evaluate(point)
    known = known_of(program, network, deep=deep)
    check_neurons(network, known, values)
    rows = rows_of(program, network, functionals)
    lines = bounds.default_lines(known)
    for free in (False, True):
        if free:
            lines = random_lines(rng, known, values, network)
        found = bounds.lower_rows(network, known, lines, bounds.all_rows(known, rows)).bound[0]
        for k, functional in enumerate(functionals):
            alone = bounds.lower_rows(network, known, lines, bounds.one_row(known, rows, torch.tensor([k]))).bound
            for bound in (float(found[k]), float(alone[0, 0])):
                assert not np.isfinite(bound) or Fraction(bound) <= evaluation.margin(functional)


@settings(max_examples=150, deadline=None)
@given(seeds, st.booleans(), st.booleans())
def test_bounds_are_below_what_they_bound(seed, harsh, deep):
    rng = np.random.default_rng(seed)
    program = random_program(rng, harsh=harsh)
    for point in points_of(rng, program.claim.boxes[0], 4):
        check_rows(rng, program, FUNCTIONALS, point, deep=deep)


@settings(max_examples=100, deadline=None)
@given(seeds)
def test_a_large_weight_beside_many_small_ones(seed):
    """Skip connections with weights near 1 and near 2^-53, and wide layers: every sum that is formed is charged."""
    rng = np.random.default_rng(seed)
    layers: list[Layer] = []
    width = {INPUT: int(rng.integers(1, 4))}

    def block(source: int, rows: int) -> Block:
        near_one = rng.choice([1.0, -1.0, 0.99, 1 + 2**-20, -1 - 2**-20], size=(rows, width[source]))
        return Block(source, near_one * float(rng.choice([1.0, 1.0, 2.0**-53, 2.0**-54, 2.0**-30])))

    for k in range(int(rng.integers(2, 4))):
        rows = int(rng.choice([1, 2, 8, 40]))
        sources = sorted({k - 1, INPUT, int(rng.integers(-1, k)) if k else INPUT})
        layers.append(Layer("relu", tuple(block(s, rows) for s in sources), rng.choice([0.0, -1.0, 1.0], size=rows)))
        width[k] = rows
    layers.append(Layer("linear", tuple(block(s, 1) for s in range(-1, len(layers))), np.zeros(1)))
    lo = Fraction(int(rng.integers(-1, 2)))
    box = ((lo, lo + 1),) * width[INPUT]
    program = Program(claim_over((box,), ((plain_atom(0, None, {0: 1}),),)), tuple(layers), (len(layers) - 1,))
    functionals = [form(0, {0: 1}, {0: 1}), form(0, None, {0: -1})]
    for _ in range(3):
        check_rows(rng, program, functionals, tuple(lo + int(rng.integers(2)) for _ in box), deep=True)


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from(["mixed", "reals"]))
def test_what_it_proves_has_no_violation(seed, kind):
    rng = np.random.default_rng(seed)
    record_type = MIXED if kind == "mixed" else TWO_REALS
    rewards = {"R": random_artifact(rng, record_type, size=int(rng.integers(1, 5)))}
    claim = random_claim(rng, record_type, rewards)
    program = compile_program(claim, rewards)
    signs = Signs.of(program)
    assume(signs is not None)
    exact = ExactProgram(program)

    def violates(point) -> bool:
        evaluation = exact.evaluate(point)
        return (
            box_of(claim, point) is not None
            and evaluation.premise_holds(claim)
            and bool(evaluation.failing_goals(claim))
        )

    outcome = signs.run(200, violates, lambda share, boxes: None, lambda: False)
    assert 0.0 <= outcome.settled <= 1.0
    assert (outcome.status == "proved") == (not outcome.open and outcome.point is None)
    for _ in range(40):
        point = random_point(rng, claim)
        evaluation = exact.evaluate(point)
        if outcome.status == "proved" and evaluation.premise_holds(claim):
            assert not evaluation.failing_goals(claim)


def test_it_goes_on_where_it_stopped():
    """In steps of a few boxes, the search ends as in one go."""
    rng = np.random.default_rng(5)
    rewards = {"R": random_artifact(rng, TWO_REALS, size=5)}
    claim = random_claim(rng, TWO_REALS, rewards)
    whole, stepped = (Signs.of(compile_program(claim, rewards)) for _ in range(2))
    assert whole is not None
    assert stepped is not None

    def run(signs, budget):
        return signs.run(budget, lambda point: True, lambda share, boxes: None, lambda: False)

    once = run(whole, 400)
    spent, found = 0, None
    while spent < 400 and (found is None or found.status == "unknown"):
        found = run(stepped, 7)
        if found.boxes == 0:
            break
        spent += found.boxes
    assert (found.status, found.open, found.point) == (once.status, once.open, once.point)
