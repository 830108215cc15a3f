"""What the kernel says of a layer over a box holds at every point of the box, to the last digit.

Values come from the prover's exact evaluator, ranges and lines from the kernel. Corners are tried: bounds are tight
there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import product
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.certificate import kernel_bounds, kernel_lanes
from rewarden.certificate.kernel_bounds import ALL, OPEN, TOGETHER, Bounds, Box, Functional
from rewarden.certificate.kernel_claim import read_claim
from rewarden.certificate.kernel_lanes import Lanes
from rewarden.certificate.kernel_program import GRID, INPUT
from rewarden.certificate.kernel_twins import Twin, with_twins
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import AffineMap, Graph, Input, Relu
from rewarden.spec_lang.claim_json import claim_object
from rewarden.verifier.differences import with_differences
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.inline import compile_program
from tests.differential.test_kernel_vs_program import dense, dense_prover, kernel_program, two_call_claim
from tests.reference.how_many import part_of
from tests.reference.random_graphs import TWO_REALS, random_artifact, random_mlp, seeds
from tests.soundness.test_differences import slowly, two_calls


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


DIGITS = st.sampled_from([1, 3, 8, 48, None])  # of coefficients in lanes; None: no lanes


@contextmanager
def lanes_of(digits: int | None) -> Iterator[None]:
    """Neurons are bounded in lanes, few as they are, with coefficients that are cut off after so many digits."""
    few = mock.patch.object(kernel_bounds, "MIN_LANES", 1 if digits else 1 << 20)
    with few, mock.patch.object(kernel_lanes, "DIGITS", digits or 48):
        yield


@given(st.lists(st.integers(-(2**60), 2**60), min_size=1, max_size=9), st.integers(0, 30), st.integers(0, 80))
def test_lanes_are_numbers_side_by_side(numbers: list[int], spare: int, by: int) -> None:
    lanes = Lanes(len(numbers), 62 + spare)
    packed = sum(x << (k * lanes.width) for k, x in enumerate(numbers))
    assert lanes.each(packed) == numbers
    assert lanes.each(lanes.positive(packed)) == [max(x, 0) for x in numbers]
    assert lanes.each(lanes.shifted(packed, -by)) == [x >> by for x in numbers]
    assert lanes.each(lanes.shifted(packed, min(by, spare))) == [x << min(by, spare) for x in numbers]
    assert lanes.bits([0, packed, -packed]) == max(abs(x).bit_length() for x in numbers)


@given(
    st.lists(st.tuples(st.lists(st.integers(-(2**40), 2**40), min_size=6, max_size=6), st.integers(40, 90)), min_size=1,
             max_size=4), st.integers(0, 90),
)  # fmt: skip
def test_rows_in_lanes_are_added_and_lose_no_more_than_is_said(parts: list[tuple[list[int], int]], room: int) -> None:
    """Three lanes of two columns: the sum is below the true one, by less than one unit for each row that was cut."""
    lanes = Lanes(3, 96)
    rows = [([sum(x << (k * lanes.width) for k, x in enumerate(n[c::2])) for c in (0, 1)], 1 << d) for n, d in parts]
    row, bottom, rounded = lanes.merged(rows, room)
    for c in (0, 1):
        for k, found in enumerate(lanes.each(row[c])):
            true = sum(Fraction(n[2 * k + c], 1 << d) for n, d in parts)
            assert 0 <= true - Fraction(found, bottom) <= Fraction(rounded, bottom)
            assert abs(found) <= 1 << (lanes.width - 1 - room)


@given(seeds, st.booleans(), st.booleans(), st.integers(0, 4), DIGITS)
@settings(max_examples=part_of(100), deadline=None)
def test_ranges_and_lines_hold_at_every_point(
    folder: Path, seed: int, plain: bool, thorough: bool, cuts: int, digits: int | None
) -> None:
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
    bounds = Bounds(program, Box(low, high), slopes, ALL if thorough else TOGETHER)
    with lanes_of(digits):
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
                assert y * scale <= lines.upper[i] * z + Fraction(lines.shift[i] * scale, 2**GRID)


@given(seeds, st.booleans(), st.booleans(), st.integers(0, 30), DIGITS)
@settings(max_examples=part_of(100), deadline=None)
def test_twins_are_differences_and_any_lines_hold_them(
    folder: Path, seed: int, other: bool, thorough: bool, narrow: int, digits: int | None
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
    mine, theirs = ([getattr(layer, "pair", None) for layer in one.layers] for one in (program, prover))
    assert mine == theirs
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
        if isinstance(layer, Twin) and rng.random() < 0.5
    }
    bounds = Bounds(program, Box(low, high), choices, ALL if thorough else TOGETHER)
    with lanes_of(digits):
        bounds.advance(len(program.layers))
    target = Functional()
    bounds.add_fact(target, forms[0], Fraction(1))
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


@pytest.mark.parametrize(("scale", "packs"), [(1.0, True), (2.0**120, False)])
def test_what_lanes_cannot_hold_is_bounded_alone(
    folder: Path, scale: float, packs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Coefficients with too many digits before the point: then the bounds are the exact ones."""
    rng = np.random.default_rng(3)
    tensors = {}
    for k, (m, n) in enumerate([(12, 2), (12, 12), (1, 12)]):
        weights = rng.normal(size=(m, n))
        tensors[f"w{k}"] = (np.sign(weights) * scale if k == 1 and scale > 1.0 else weights).astype(np.float32)
        tensors[f"b{k}"] = (rng.normal(size=m) * (k != 1)).astype(np.float32)
    maps = [AffineMap(2 * k, f"w{k}", f"b{k}") for k in range(3)]
    graph = Graph((Input(), maps[0], Relu(1), maps[1], Relu(3), maps[2]), 5)
    rewards = {"R": Artifact((RewardRecord("s", TWO_REALS),), graph, tensors, "exact")}
    program = kernel_program(two_call_claim(rng, rewards, True), rewards, folder)
    alone: list[int] = []
    side = Bounds.side
    monkeypatch.setattr(Bounds, "side", lambda self, *a: alone.append(a[1]) or side(self, *a))
    box = Box([Fraction(-1)] * 3, [Fraction(1)] * 3)
    quick, exact = (Bounds(program, box, {}, effort) for effort in (TOGETHER, OPEN))
    quick.advance(len(program.layers))
    assert bool(alone) != packs
    exact.advance(len(program.layers))
    for (low, high), (least, most) in zip(quick.inner.values(), exact.inner.values(), strict=True):
        for a, b, c, d in zip(low, high, least, most, strict=True):
            assert abs(a - c) + abs(b - d) <= (2**26 if packs else 0), "2**-38 at most"
