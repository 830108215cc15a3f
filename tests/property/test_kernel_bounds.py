"""What the kernel says of a layer over a box holds at every point of the box, to the last digit.

Values come from the prover's exact evaluator, ranges and lines from the kernel. Corners are tried: bounds are tight
there.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.certificate.kernel_bounds import GRID, Bounds, Box, Functional
from rewarden.certificate.kernel_program import INPUT
from rewarden.certificate.kernel_proof import read_claim
from rewarden.certificate.kernel_twins import with_twins
from rewarden.spec_lang.claim_json import claim_object
from rewarden.verifier.differences import with_differences
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.inline import compile_program
from tests.differential.test_kernel_vs_program import dense, dense_prover, kernel_program, two_call_claim
from tests.reference.random_graphs import TWO_REALS, random_artifact, random_mlp, seeds
from tests.soundness.test_differences import slowly, two_calls


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@given(seeds, st.booleans(), st.booleans(), st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_ranges_and_lines_hold_at_every_point(folder: Path, seed: int, plain: bool, thorough: bool, cuts: int) -> None:
    rng = np.random.default_rng(seed)
    artifact = (
        random_mlp(rng, TWO_REALS, (4, 3), patches=1) if plain else random_artifact(rng, TWO_REALS, size=4, patches=2)
    )
    claim = two_call_claim(rng, {"R": artifact}, True)
    program = kernel_program(claim, {"R": artifact}, folder)
    low, high = ([pair[side] for pair in claim.boxes[0]] for side in (0, 1))
    for _ in range(cuts):
        k = int(rng.integers(3))
        (low if rng.random() < 0.5 else high)[k] = (low[k] + high[k]) / 2
    slopes = {
        (k, i): int(rng.integers(0, 257))
        for k, layer in enumerate(program.layers)
        for i in range(len(layer.bias))
        if rng.random() < 0.3
    }
    bounds = Bounds(program, Box(low, high), slopes, {}, 1 + thorough)
    bounds.advance(len(program.layers))
    exact = ExactProgram(compile_program(claim, {"R": artifact}))
    inner = [[lo + (hi - lo) * Fraction(int(t), 32) for lo, hi, t in zip(low, high, row, strict=True)]
             for row in rng.integers(0, 33, size=(6, 3))]  # fmt: skip
    for x in [*map(list, product(*zip(low, high, strict=True))), *inner]:
        values = {INPUT: x, **{k: list(v.fractions()) for k, v in enumerate(exact.layers(x))}}
        for index, layer in enumerate(program.layers):
            below, above = bounds.ranges[index]
            for y, lo, hi in zip(values[index], below, above, strict=True):
                assert lo <= y * 2**GRID <= hi
            lines = bounds.lines[index]
            if lines is None:
                continue
            scale = lines.one
            for i, y in enumerate(values[index]):
                z = Fraction(layer.bias[i])
                for block in layer.blocks:
                    z += sum((w * values[block.source][j] for j, w in block.rows[i].items()), Fraction(0))
                z /= layer.bottom
                assert lines.lower[i] * z <= y * scale
                assert y * scale <= lines.upper[i] * z + Fraction(lines.shift[i], 2**GRID)


@given(seeds, st.booleans(), st.booleans(), st.integers(0, 30))
@settings(max_examples=80, deadline=None)
def test_twins_are_differences_and_any_lines_hold_them(
    folder: Path, seed: int, other: bool, thorough: bool, narrow: int
) -> None:
    """The kernel's twins are the prover's, and with any choice of lines its bounds hold at every point."""
    rng, claim, rewards = two_calls(seed, other=other)
    plain, prover = kernel_program(claim, rewards, folder), with_differences(compile_program(claim, rewards))
    forms = [atom.form for goal in read_claim(claim_object(claim)).goals for atom in goal]
    program = with_twins(plain, forms)
    assert (program is None) == (prover is None)
    if program is None or prover is None:
        return
    assert tuple(program.outputs) == prover.outputs
    assert [layer.pair for layer in program.layers] == [layer.pair for layer in prover.layers]
    for layer, expected in zip(program.layers, prover.layers, strict=True):
        mine, theirs = dense(layer), dense_prover(expected)
        assert mine[1] == theirs[1]
        assert [b for b in mine[0] if any(map(any, b[1]))] == [b for b in theirs[0] if any(map(any, b[1]))]
    low, high = ([pair[side] for pair in claim.boxes[0]] for side in (0, 1))
    for k in range(len(low)):  # a narrow box, anywhere
        width = (high[k] - low[k]) / 2**narrow
        low[k] += (high[k] - low[k] - width) * Fraction(int(rng.integers(0, 33)), 32)
        high[k] = low[k] + width
    choices = {
        (k, i): int(rng.integers(9))
        for k, layer in enumerate(program.layers)
        for i in range(len(layer.bias))
        if layer.pair is not None and rng.random() < 0.5
    }
    bounds = Bounds(program, Box(low, high), choices, {}, 1 + thorough)
    bounds.advance(len(program.layers))
    target = Functional()
    target.add(program, program.form(forms[0]), Fraction(1))
    value = bounds.lower_bound(target)
    for row in rng.integers(0, 33, size=(8, len(low))):
        x = tuple(lo + (hi - lo) * Fraction(int(t), 32) for lo, hi, t in zip(low, high, row, strict=True))
        outputs = slowly(prover, x)
        for index in range(len(program.layers)):
            below, above = bounds.ranges[index]
            for y, lo, hi in zip(outputs[index], below, above, strict=True):
                assert lo <= y * 2**GRID <= hi
        calls = [outputs[k][0] for k in prover.outputs]
        exact = claim.goals[0][0].affine
        total = exact.constant + sum(c * x[j] for j, c in exact.variables) + sum(c * calls[j] for j, c in exact.calls)
        assert value <= total
