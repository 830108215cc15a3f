"""Float bounds are below everything exact, whatever the numbers; where those are tame, close to the exact reference."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.verifier.backsub import Engine, Functionals
from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.exact_bounds import ExactBounds, Leaf
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.facts import Facts, strengthen
from rewarden.verifier.fusion import functional_rows
from rewarden.verifier.program import INPUT, Block, Layer, Program
from rewarden.verifier.rounding import outward
from tests.reference.random_programs import atom, claim_over, form, points_of, random_program

seeds = st.integers(0, 2**32 - 1)


def float_bounds(program: Program, functionals, slopes=None):
    box = program.claim.boxes[0]
    lo, hi = (torch.from_numpy(side)[None, :] for side in outward(box))
    engine = Engine(program)
    return engine.bound(Boxes(lo, hi), Functionals.of(functional_rows(program, functionals)), None, slopes)


def two_functionals(rng: np.random.Generator, program: Program):
    n = len(program.claim.variables)
    mixed = {j: Fraction(int(rng.integers(-3, 4)), 3) for j in range(n)}
    return [form(calls={0: 1}), form(Fraction(1, 7), mixed, {0: Fraction(-2, 3)})]


@settings(max_examples=120, deadline=None)
@given(seeds, st.booleans())
def test_float_bounds_are_below_exact_values(seed, harsh):
    rng = np.random.default_rng(seed)
    program = random_program(rng, harsh=harsh)
    functionals = two_functionals(rng, program)
    final = float_bounds(program, functionals)
    exact = ExactProgram(program)
    for point in points_of(rng, program.claim.boxes[0], 12):
        evaluation = exact.evaluate(point)
        for functional, bound in zip(functionals, final.bound.tolist(), strict=True):
            assert bound == -float("inf") or Fraction(bound) <= evaluation.margin(functional)


def test_coefficients_that_cancel_pay_for_what_was_rounded_away():
    """Neurons that are never off, with weights 2^20, 2^-20, …: of Σ c·w = ±2^40 ± … ∓ 2^-20 binary64 keeps nothing of
    the small ones, in whichever order it adds. What is left has no size to pay for that: the products have."""
    for small in sorted(set(permutations((1, 1, -1, -1, 0)))):
        inner = np.array([[2.0**20 if side else 2.0**-20] for side in small])
        outer = np.array([[2.0**20 * side if side else -1.0 for side in small]])
        layers = (
            Layer("relu", (Block(INPUT, inner),), np.zeros(5)),
            Layer("linear", (Block(0, outer),), np.zeros(1)),
        )
        for lo, hi in ((1, 2), (3, 5)):
            box = ((Fraction(lo), Fraction(hi)),)
            program = Program(claim_over((box,), ((atom(calls={0: 1}),),)), layers, (1,))
            for functional in (form(calls={0: 1}), form(calls={0: -1})):
                (bound,) = float_bounds(program, [functional]).bound.tolist()
                for end in (lo, hi):
                    assert Fraction(bound) <= ExactProgram(program).evaluate((Fraction(end),)).margin(functional)


@settings(max_examples=60, deadline=None)
@given(seeds, st.booleans())
def test_intermediate_bounds_contain_exact_pre_activations(seed, harsh):
    rng = np.random.default_rng(seed)
    program = random_program(rng, harsh=harsh)
    sweep = float_bounds(program, [form(calls={0: 1})]).sweep
    exact = ExactProgram(program)
    for point in points_of(rng, program.claim.boxes[0], 6):
        for k, values in enumerate(exact.layers(point)):
            for j, value in enumerate(values.fractions()):
                least, most = float(sweep.least[k][0, j]), float(sweep.most[k][0, j])
                assert least == -float("inf") or Fraction(least) <= value
                assert most == float("inf") or value <= Fraction(most)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_float_bounds_match_the_exact_reference(seed):
    rng = np.random.default_rng(seed)
    program = random_program(rng)
    functionals = two_functionals(rng, program)
    final = float_bounds(program, functionals)
    reference = ExactBounds(program, program.claim.boxes[0], Leaf(0))
    ties = any(
        bool(((final.sweep.lo[k] + final.sweep.hi[k]).abs() <= 1e-9 * gap).any()) for k, gap in final.sweep.gap.items()
    )
    exact = ExactProgram(program)
    corners = [exact.evaluate(point) for point in points_of(rng, program.claim.boxes[0], 8)]
    for functional, bound, slack in zip(functionals, final.bound.tolist(), final.slack.tolist(), strict=True):
        expected = reference.lower(functional)
        assert all(expected <= evaluation.margin(functional) for evaluation in corners)
        scale = 1.0 + abs(float(expected)) + float(final.sweep.mass.max())
        assert ties or abs(float(expected) - bound) <= 1e-9 * scale + slack


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_chosen_slopes_stay_sound(seed):
    rng = np.random.default_rng(seed)
    program = random_program(rng)
    slopes = {
        k: torch.tensor(rng.integers(0, 257, size=(1, layer.width)) / 256.0)
        for k, layer in enumerate(program.layers)
        if layer.kind != "linear"
    }
    bound = float(float_bounds(program, [form(calls={0: 1})], slopes).bound[0])
    leaf = Leaf(0, (), tuple((k, j, int(256 * s)) for k, row in slopes.items() for j, s in enumerate(row[0].tolist())))
    expected = ExactBounds(program, program.claim.boxes[0], leaf).lower(form(calls={0: 1}))
    exact = ExactProgram(program)
    for point in points_of(rng, program.claim.boxes[0], 8):
        value = exact.evaluate(point).calls[0]
        assert Fraction(bound) <= value
        assert expected <= value


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_facts_bound_only_where_they_hold(seed):
    rng = np.random.default_rng(seed)
    program = random_program(rng)
    box = program.claim.boxes[0]
    n = len(box)
    fact = form(Fraction(int(rng.integers(-4, 5)), 3), {j: int(rng.integers(-2, 3)) for j in range(n)})
    facts = Facts.of([(0, 0)], [fact], n)
    lo, hi = (torch.from_numpy(side)[None, :] for side in outward(box))
    final = Engine(program).bound(Boxes(lo, hi), Functionals.of(functional_rows(program, [form(calls={0: 1})])))
    _, _, bound = strengthen(final.rows, Boxes(lo, hi), facts)
    assert float(bound[0]) >= float(final.bound[0]) - 1e-6 * (1 + abs(float(final.bound[0])))
    exact = ExactProgram(program)
    for point in points_of(rng, box, 12):
        evaluation = exact.evaluate(point)
        if evaluation.margin(fact) >= 0:
            assert Fraction(float(bound[0])) <= evaluation.calls[0]
