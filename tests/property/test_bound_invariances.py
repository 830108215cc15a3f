"""What must not matter to bounds: the order of neurons and of inputs, powers of two between layers, threads, runs. And
a part of a box is bounded no worse than the box, by intervals and by the lines of the whole."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.verifier.backsub import Engine, Functionals
from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.branch import prove
from rewarden.verifier.fusion import functional_rows
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.program import INPUT, Block, Layer, Program
from rewarden.verifier.torch_settings import plain_torch
from rewarden.verifier.wide import bounds, formats, sharpen
from rewarden.verifier.wide.network import network_of, rows_of
from rewarden.verifier.wide.split import Signs
from tests.reference.random_claims import random_claim
from tests.reference.random_graphs import TWO_REALS, random_artifact
from tests.reference.random_programs import atom, claim_over, form

seeds = st.integers(0, 2**32 - 1)
CLOSE = 1e-9
BOTH = [form(calls={0: 1}), form(calls={0: -1})]


def layered(rng: np.random.Generator, inputs: int = 3, widths: tuple[int, ...] = (5, 4)) -> Program:
    layers, below = [], inputs
    for k, width in enumerate((*widths, 1)):
        weight, bias = rng.normal(size=(width, below)), rng.normal(size=width)
        kind = "relu" if k < len(widths) else "linear"
        layers.append(Layer(kind, (Block(k - 1 if k else INPUT, weight),), bias))
        below = width
    lo = [Fraction(int(rng.integers(-8, 8)), 8) for _ in range(inputs)]
    box = tuple((x, x + Fraction(int(rng.integers(0, 9)), 8)) for x in lo)
    return Program(claim_over((box,), ((atom(0, {}, {0: 1}),),)), tuple(layers), (len(layers) - 1,))


def changed(program: Program, at: int, rows, columns) -> Program:
    """Layer `at` with other rows, and what reads it with other columns."""
    layers = list(program.layers)
    block = layers[at].blocks[0]
    layers[at] = replace(
        layers[at], blocks=(Block(block.source, rows(block.weight)),), bias=rows(layers[at].bias[:, None])[:, 0]
    )
    after = layers[at + 1].blocks[0]
    layers[at + 1] = replace(layers[at + 1], blocks=(Block(after.source, columns(after.weight)),))
    return replace(program, layers=tuple(layers))


def both_bounds(program: Program, products: formats.Format = formats.DOUBLE) -> torch.Tensor:
    """Lower and upper bounds by both engines that back-substitute."""
    box = program.claim.boxes[0]
    lo, hi = (torch.tensor([[float(side[i]) for side in box]], dtype=torch.float64) for i in (0, 1))
    functionals = Functionals.of(functional_rows(program, BOTH))
    flat = Engine(program).bound(Boxes(lo, hi), functionals).bound
    network = network_of(program)
    assert network is not None
    known = sharpen.sharpened(network, bounds.known_by_intervals(network, lo, hi), products)
    rows = bounds.all_rows(known, rows_of(program, network, BOTH))
    return torch.cat((flat, bounds.lower_rows(network, known, bounds.default_lines(known), rows).bound[0]))


def assert_close(a: torch.Tensor, b: torch.Tensor) -> None:
    assert (a - b).abs().max() <= CLOSE * (1.0 + a.abs().max())


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_the_order_of_neurons_and_inputs(seed):
    rng = np.random.default_rng(seed)
    program = layered(rng)
    before = both_bounds(program)
    for at in (0, 1):
        order = rng.permutation(program.layers[at].width)
        assert_close(before, both_bounds(changed(program, at, lambda w, o=order: w[o], lambda w, o=order: w[:, o])))
    order = rng.permutation(3)
    first = program.layers[0]
    moved = replace(first, blocks=(Block(INPUT, first.blocks[0].weight[:, order]),))
    box = tuple(program.claim.boxes[0][k] for k in order)
    claim = claim_over((box,), program.claim.goals)
    assert_close(before, both_bounds(replace(program, claim=claim, layers=(moved, *program.layers[1:]))))


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_powers_of_two_between_layers_and_before_the_output(seed):
    """A chord's slope is rounded to 2^-40, so the bounds agree but for that; the whole reward scales exactly."""
    rng = np.random.default_rng(seed)
    program = layered(rng)
    before = both_bounds(program)
    for at in (0, 1):
        scale = 2.0 ** rng.integers(-8, 9, size=program.layers[at].width)
        assert_close(
            before, both_bounds(changed(program, at, lambda w, s=scale: w * s[:, None], lambda w, s=scale: w / s))
        )
    last = program.layers[-1]
    power = 2.0 ** int(rng.integers(-8, 9))
    scaled = replace(
        last, blocks=(Block(last.blocks[0].source, power * last.blocks[0].weight),), bias=power * last.bias
    )
    assert_close(before, both_bounds(replace(program, layers=(*program.layers[:-1], scaled))) / power)


@pytest.mark.parametrize("power", [-10, 7])
def test_scaling_a_reward_and_its_threshold_changes_no_verdict(power):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        program = layered(rng)
        level = Fraction(int(rng.integers(-64, 64)), 8)
        found = []
        for scale in (Fraction(1), Fraction(2) ** power):
            last = program.layers[-1]
            block = Block(last.blocks[0].source, float(scale) * last.blocks[0].weight)
            layers = (*program.layers[:-1], replace(last, blocks=(block,), bias=float(scale) * last.bias))
            claim = claim_over(program.claim.boxes, ((atom(-scale * level, {}, {0: 1}),),))
            outcome = prove(Program(claim, layers, program.outputs), claim, VerifyOptions(budget=300))
            found.append((outcome.status, outcome.boxes, outcome.points))
        assert found[0] == found[1]


def halves(rng: np.random.Generator, lo: torch.Tensor, hi: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Parts of a box after a few cuts at random."""
    parts = []
    for _ in range(4):
        a, b = lo.clone(), hi.clone()
        for _ in range(3):
            j = int(rng.integers(lo.shape[1]))
            cut = a[0, j] + float(rng.random()) * (b[0, j] - a[0, j])
            (a if rng.random() < 0.5 else b)[0, j] = cut
        parts.append((a, b))
    return parts


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_parts_of_a_box_by_intervals_and_by_the_lines_of_the_whole(seed):
    rng = np.random.default_rng(seed)
    program = layered(rng)
    network = network_of(program)
    assert network is not None
    rows = rows_of(program, network, BOTH)
    lo, hi = (torch.tensor([[float(s[i]) for s in program.claim.boxes[0]]], dtype=torch.float64) for i in (0, 1))
    whole = bounds.known_by_intervals(network, lo, hi)
    whole = sharpen.sharpened(network, whole)
    lines = bounds.default_lines(whole)
    bound = bounds.lower_rows(network, whole, lines, bounds.all_rows(whole, rows)).bound
    plain = bounds.known_by_intervals(network, lo, hi)
    for a, b in halves(rng, lo, hi):
        part = bounds.known_by_intervals(network, a, b)
        for k in range(1, 3):
            slack = CLOSE * (1.0 + plain.hi[k].abs().max() + plain.lo[k].abs().max())
            assert (part.lo[k] >= plain.lo[k] - slack).all()
            assert (part.hi[k] <= plain.hi[k] + slack).all()
        again = bounds.lower_rows(network, part, lines, bounds.all_rows(part, rows)).bound
        assert (again >= bound - CLOSE * (1.0 + bound.abs())).all()


def test_threads_and_runs_change_nothing():
    """Verdicts, boxes, points and proofs of both engines on one thread and on two, and again."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        rewards = {"R": random_artifact(rng, TWO_REALS, size=5)}
        claim = random_claim(rng, TWO_REALS, rewards)
        found = []
        for threads in (1, 2, 1):
            with plain_torch(threads):
                program = compile_program(claim, rewards)
                outcome = prove(program, claim, VerifyOptions(budget=200))
                signs = Signs.of(program)
                told = None
                if signs is not None:
                    told = signs.run(100, lambda point: True, lambda share, boxes: None, lambda: False)
                    told = (told.status, told.boxes, told.open, told.point)
                found.append((outcome.status, outcome.boxes, outcome.points, outcome.proof, told))
        assert found[0] == found[1] == found[2]
