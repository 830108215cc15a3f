"""Twins hold exactly what one call has more than the other, their lines hold the difference, bounds are below it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.claim import Affine, ClaimCall
from rewarden.verifier.backsub import Engine, Functionals
from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.differences import difference_extent, difference_lines, narrowed_difference, with_differences
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.fusion import expand_linear, functional_rows
from rewarden.verifier.inline import compile_program
from rewarden.verifier.program import INPUT, Program
from rewarden.verifier.rounding import outward
from tests.reference.how_many import part_of
from tests.reference.random_claims import atom, plain_claim
from tests.reference.random_graphs import TWO_REALS, random_artifact, random_mlp
from tests.reference.random_programs import form

seeds = st.integers(0, 2**32 - 1)
ends = st.floats(-8, 8, allow_nan=False)


def slowly(program: Program, point) -> list[list[Fraction]]:
    """Every layer's outputs in rational arithmetic, twins included."""
    outputs: list[list[Fraction]] = []
    inputs: list[list[Fraction]] = []
    for layer in program.layers:
        z = []
        for j in range(layer.rows):
            row: dict[int, dict[int, Fraction]] = {}
            total = expand_linear(layer, {j: Fraction(1)}, row)
            for source, columns in row.items():
                values = point if source == INPUT else outputs[source]
                total += sum((c * values[i] for i, c in columns.items()), Fraction(0))
            z.append(total)
        inputs.append(z)
        if layer.kind == "twin":
            a, b = layer.pair
            assert z == [x - y for x, y in zip(inputs[a], inputs[b], strict=True)]
            outputs.append([max(x, 0) - max(y, 0) for x, y in zip(inputs[a], inputs[b], strict=True)])
        else:
            outputs.append([max(x, Fraction(0)) for x in z] if layer.kind == "relu" else z)
    return outputs


def nudged(rng, artifact: Artifact) -> Artifact:
    """The same graph with slightly other weights."""
    moved = {k: (v + rng.normal(size=v.shape) * 0.01).astype(np.float32) for k, v in artifact.tensors.items()}
    return replace(artifact, tensors=moved)


def two_calls(seed: int, *, other: bool):
    """A claim R(x) − R'(x + shift) >= 0 over two reals, R' being R or a neighbour of it."""
    rng = np.random.default_rng(seed)
    first = random_mlp(rng, TWO_REALS, (int(rng.integers(1, 6)), int(rng.integers(1, 5))))
    if rng.random() < 0.3:
        first = random_artifact(rng, TWO_REALS, size=int(rng.integers(1, 5)))
    rewards = {"R": first, "Base": nudged(rng, first) if other else first}
    shift = (Fraction(int(rng.integers(-3, 4)), int(rng.choice([1, 3, 64]))), Fraction(0))
    claim = plain_claim(TWO_REALS, rewards, goals=[(atom(0, {}, {0: 1, 1: -1}),)])
    moved = tuple(Affine(a.constant + s, a.variables) for a, s in zip(claim.calls[0].arguments, shift, strict=True))
    calls = (ClaimCall("R", claim.calls[0].arguments), ClaimCall("Base", moved))
    return rng, replace(claim, calls=calls, rewards=tuple((k, v.digest) for k, v in sorted(rewards.items()))), rewards


@settings(max_examples=part_of(120), deadline=None)
@given(seeds, st.booleans())
def test_the_second_call_is_the_first_less_its_twin(seed, other):
    rng, claim, rewards = two_calls(seed, other=other)
    program = compile_program(claim, rewards)
    twins = with_differences(program)
    assume(twins is not None)
    assert twins.layers[: len(program.layers)] == program.layers
    exact = ExactProgram(program)
    engine = Engine(twins)
    affines = [
        form(0, {}, {0: 1, 1: -1}),
        form(0, {}, {0: -1, 1: 1}),
        form(Fraction(1, 7), {0: 1}, {0: 2, 1: Fraction(-1, 3)}),
    ]
    lo, hi = outward(claim.boxes[0])
    middle, share = lo + rng.random(2) * (hi - lo), float(rng.choice([1.0, 0.1, 1e-4, 0.0]))
    low, high = np.maximum(lo, middle - share * (hi - lo)), np.minimum(hi, middle + share * (hi - lo))
    rows = Functionals.of(functional_rows(twins, affines))
    with torch.no_grad():
        bound = engine.bound(Boxes(torch.tensor(low)[None], torch.tensor(high)[None]), rows).bound.tolist()
    for _ in range(6):
        point = tuple(Fraction(float(a)) + (Fraction(float(b)) - Fraction(float(a))) * Fraction(int(rng.integers(9)), 8)
                      for a, b in zip(low, high, strict=True))  # fmt: skip
        outputs = slowly(twins, point)
        calls = exact.evaluate(point)
        assert [outputs[k][0] for k in twins.outputs] == [outputs[k][0] for k in program.outputs]
        for value, affine in zip(bound, affines, strict=True):
            assert not np.isfinite(value) or Fraction(value) <= calls.margin(affine)


@settings(max_examples=part_of(400), deadline=None)
@given(st.lists(ends, min_size=6, max_size=6), st.lists(st.integers(0, 8), min_size=2, max_size=2))
def test_lines_hold_the_difference(values, at):
    a_lo, a_hi = sorted(values[:2])
    b_lo, b_hi = sorted(values[2:4])
    za, zb = (Fraction(lo) + (Fraction(hi) - Fraction(lo)) * Fraction(t, 8)
              for (lo, hi), t in zip(((a_lo, a_hi), (b_lo, b_hi)), at, strict=True))  # fmt: skip
    exact = za - zb
    d_lo, d_hi = min(float(exact) - abs(values[4]), float(exact)), float(exact) + abs(values[5])
    d_lo, d_hi = np.nextafter(d_lo, -np.inf), np.nextafter(d_hi, np.inf)
    a, b, d = (tuple(torch.tensor([[x]], dtype=torch.float64) for x in side)
               for side in ((a_lo, a_hi), (b_lo, b_hi), (d_lo, d_hi)))  # fmt: skip
    d = narrowed_difference(d, a, b)
    value = max(za, Fraction(0)) - max(zb, Fraction(0))
    assert Fraction(float(d[0])) <= exact <= Fraction(float(d[1]))
    lines = difference_lines(d, a, b)
    lower, upper, below, above = (Fraction(float(t)) for t in (lines.lower, lines.upper, lines.below, lines.above))
    assert lower * exact + below <= value <= upper * exact + above
    least, most = difference_extent(d, a, b)
    assert Fraction(float(least)) <= value <= Fraction(float(most))


def test_a_difference_is_much_tighter_than_two_networks():
    """What it is for: over the whole domain, a small step of one feature moves the reward by little."""
    rng = np.random.default_rng(3)
    reward = random_mlp(rng, TWO_REALS, (16, 16))
    claim = plain_claim(TWO_REALS, {"R": reward}, goals=[(atom(0, {}, {0: 1, 1: -1}),)])
    step = tuple(Affine(a.constant + Fraction(1, 1000), a.variables) for a in claim.calls[0].arguments)
    claim = replace(claim, calls=(claim.calls[0], ClaimCall("R", step)))
    program = compile_program(claim, {"R": reward})
    twins = with_differences(program)
    assert twins is not None
    lo, hi = outward(claim.boxes[0])
    boxes = Boxes(torch.tensor(lo)[None], torch.tensor(hi)[None])
    bounds = []
    for one in (program, twins):
        rows = Functionals.of(functional_rows(one, [form(0, {}, {0: 1, 1: -1})]))
        with torch.no_grad():
            bounds.append(float(Engine(one).bound(boxes, rows).bound[0]))
    assert bounds[0] < 20 * bounds[1] < 0
