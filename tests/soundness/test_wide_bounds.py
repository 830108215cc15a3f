"""The neurons engine: its bounds are below everything exact at points of the boxes, whatever the free parameters are,
and what it proves has no violation."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rewarden.verifier.exact_program import ExactProgram, box_of
from rewarden.verifier.inline import compile_program
from rewarden.verifier.program import INPUT, Block, Layer, Program
from rewarden.verifier.rounding import outward
from rewarden.verifier.wide import bounds, formats, sharpen
from rewarden.verifier.wide import network as network_module
from rewarden.verifier.wide.network import Network, Node, network_of, rows_of
from rewarden.verifier.wide.split import Signs
from tests.reference.how_many import part_of
from tests.reference.random_claims import random_claim, random_point
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact
from tests.reference.random_programs import atom as plain_atom
from tests.reference.random_programs import claim_over, form, points_of, random_program
from tests.reference.wide_bounds import back_substituted
from tests.soundness.test_cells import exact_pre_activations

seeds = st.integers(0, 2**32 - 1)
products_in = st.sampled_from([formats.SINGLE, formats.DOUBLE])
FUNCTIONALS = [form(calls={0: 1}), form(Fraction(1, 7), {0: Fraction(2, 3)}, {0: Fraction(-2, 3)})]


def known_of(program: Program, network, *, deep: formats.Format | None):
    lo, hi = outward(program.claim.boxes[0])
    known = bounds.known_by_intervals(network, torch.from_numpy(lo)[None], torch.from_numpy(hi)[None])
    return sharpen.sharpened(network, known, deep) if deep is not None else known


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


def check_rows(rng, program: Program, functionals, point, *, deep: formats.Format | None) -> None:
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


@settings(max_examples=part_of(150), deadline=None)
@given(seeds, st.booleans(), st.none() | products_in)
def test_bounds_are_below_what_they_bound(seed, harsh, deep):
    rng = np.random.default_rng(seed)
    program = random_program(rng, harsh=harsh)
    for point in points_of(rng, program.claim.boxes[0], 4):
        check_rows(rng, program, FUNCTIONALS, point, deep=deep)


@settings(max_examples=part_of(100), deadline=None)
@given(seeds, products_in)
def test_a_large_weight_beside_many_small_ones(seed, deep):
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
        check_rows(rng, program, functionals, tuple(lo + int(rng.integers(2)) for _ in box), deep=deep)


def head_of(rng, widths: list[int], boxes: int, radius: float):
    """A random head, dense with skip connections, and boxes whose middles are far larger than their radii."""
    nodes = []
    for k in range(1, len(widths)):
        sources = [k - 1, 0] if k == 3 else [k - 1]
        scale = [np.sqrt(2 / widths[s]) for s in sources]
        maps = tuple(
            network_module._map(s, torch.from_numpy(rng.normal(size=(widths[k], widths[s])) * scale[i]), None)
            for i, s in enumerate(sources)
        )
        nodes.append(Node(maps, torch.from_numpy(rng.normal(size=widths[k]) * 0.1), torch.zeros(widths[k]).double()))
    middle = torch.from_numpy(rng.normal(size=(boxes, widths[0])))
    return Network(widths[0], tuple(nodes), tuple(range(len(nodes)))), middle - radius, middle + radius


@pytest.mark.parametrize(("widths", "radius"), [([40, 80, 30, 20], 0.01), ([40, 80, 30, 20], 0.3), ([6, 3, 70], 0.5)])
def test_binary32_costs_next_to_nothing(widths, radius):
    """The neurons' bounds by both formats, held against rows back-substituted one node after the other in binary64."""
    network, lo, hi = head_of(np.random.default_rng(len(widths)), widths, 5, radius)
    plain = bounds.known_by_intervals(network, lo, hi)
    slow, single, double = (plain.take(torch.arange(5)) for _ in range(3))
    back_substituted(network, slow)
    sharpen.sharpened(network, single, formats.SINGLE)
    sharpen.sharpened(network, double, formats.DOUBLE)
    narrower = 0
    for k in range(1, len(widths)):
        loose = (plain.lo[k] < 0) & (plain.hi[k] > 0)
        wide, known = plain.hi[k] - plain.lo[k], slow.hi[k] - slow.lo[k]
        narrower += int((known < 0.9 * wide)[loose].sum())
        for found, slack in ((single, 1e-3), (double, 1e-9)):
            assert ((found.hi[k] - found.lo[k])[loose] <= (1 + slack) * known[loose]).all()
            assert (found.lo[k] <= slow.hi[k] + slack).all()
            assert (slow.lo[k] <= found.hi[k] + slack).all()
    assert narrower


@settings(max_examples=8, deadline=None)
@given(seeds, products_in)
def test_sums_that_cancel_are_charged(seed, products):
    """Neurons that are on everywhere, so that bounds are attained at corners, in sums that nearly cancel: what remains
    is the rounding of the product."""
    rng = np.random.default_rng(seed)
    half, rows = 40, 6
    first = rng.normal(size=(half, 2))
    first = np.concatenate((first, first * (1.0 + 1e-6 * rng.normal(size=(half, 1)))))
    second = rng.normal(size=(rows, half))
    second = np.concatenate((second, -second * (1.0 + 1e-6 * rng.normal(size=(rows, half)))), axis=1)
    bias, centre = np.full(2 * half, 16.0), -second.sum(1) * 16.0

    def node(source: int, weight, offset) -> Node:
        maps = (network_module._map(source, torch.from_numpy(weight), None),)
        return Node(maps, torch.from_numpy(offset), torch.zeros(len(offset)).double())

    network = Network(2, (node(0, first, bias), node(1, second, centre)), (0, 1))
    ones = torch.ones(1, 2, dtype=torch.float64)
    known = sharpen.sharpened(network, bounds.known_by_intervals(network, -ones, ones), products)
    assert (known.lo[1] > 0).all()
    exact = [[Fraction(float(w)) for w in row] for row in first]
    for x in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        z = [row[0] * x[0] + row[1] * x[1] + 16 for row in exact]
        for j in range(rows):
            value = sum((Fraction(float(c)) * v for c, v in zip(second[j], z, strict=True)), Fraction(float(centre[j])))
            assert Fraction(float(known.lo[2][0, j])) <= value <= Fraction(float(known.hi[2][0, j]))


def test_products_that_are_not_of_binary32_are_noticed(monkeypatch):
    assert formats.exact_products()
    odd = torch.Tensor.__matmul__

    def rounded(a, b):
        return odd(a.bfloat16().float(), b.bfloat16().float()) if a.dtype == torch.float32 else odd(a, b)

    monkeypatch.setattr(torch.Tensor, "__matmul__", rounded)
    assert not formats.exact_products()
    network, _, _ = head_of(np.random.default_rng(0), [4, 80, 3], 1, 0.1)
    assert formats.format_of(network) is formats.DOUBLE
    monkeypatch.undo()
    assert formats.format_of(network) is formats.SINGLE


@settings(max_examples=part_of(60), deadline=None)
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
