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

from rewarden.certificate.kernel_bounds import GRID, ONE, Bounds, Box
from rewarden.certificate.kernel_program import INPUT
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.inline import compile_program
from tests.differential.test_kernel_vs_program import kernel_program, two_call_claim
from tests.reference.random_graphs import TWO_REALS, random_artifact, random_mlp, seeds


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
    bounds = Bounds(program, Box(low, high), slopes, {}, thorough)
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
            scale = 1 if lines.plain else ONE
            for i, y in enumerate(values[index]):
                z = Fraction(layer.bias[i])
                for block in layer.blocks:
                    z += sum((w * values[block.source][j] for j, w in block.rows[i].items()), Fraction(0))
                z /= layer.bottom
                assert lines.lower[i] * z <= y * scale
                assert y * scale <= lines.upper[i] * z + Fraction(lines.shift[i], 2**GRID)
