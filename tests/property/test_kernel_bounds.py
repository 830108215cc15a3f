"""What the kernel says of a layer over a box holds at every point of the box, to the last digit.

Values come from the prover's exact evaluator, ranges and lines from the kernel. Corners are tried: bounds are tight
there.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AbstractContextManager
from fractions import Fraction
from itertools import product
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rewarden.certificate import kernel_lanes
from rewarden.certificate import kernel_program as kernel
from rewarden.certificate.kernel_bounds import ALL, NONE, OPEN, ROUGHLY, TOGETHER, Bounds, Box, Functional
from rewarden.certificate.kernel_claim import read_claim
from rewarden.certificate.kernel_lanes import Functionals, Lanes, RoughBounds
from rewarden.certificate.kernel_program import GRID, INPUT, Program
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


DIGITS = st.sampled_from([1, 3, 8, kernel_lanes.COEFFICIENT, None])  # of coefficients in lanes; None: no lanes


def cut_off(digits: int | None) -> AbstractContextManager[object]:
    return mock.patch.object(kernel_lanes, "COEFFICIENT", digits or kernel_lanes.COEFFICIENT)


def bounds_in(
    program: Program, box: Box, slopes: dict[tuple[int, int], int], effort: int, digits: int | None
) -> Bounds:
    """In lanes, where digits are given."""
    if digits is None:
        return Bounds(program, box, slopes, effort)
    return RoughBounds(program, box, slopes, TOGETHER if effort == ALL else ROUGHLY, ())


ENDS = 1 << (kernel_lanes.WIDTH - 3)  # what a lane holds


@given(st.lists(st.integers(-ENDS, ENDS) | st.sampled_from([-ENDS, 0, ENDS]), min_size=1, max_size=9),
       st.integers(0, 80))  # fmt: skip
def test_lanes_are_numbers_side_by_side(numbers: list[int], by: int) -> None:
    lanes = Lanes(len(numbers))
    packed = sum(x << (k * kernel_lanes.WIDTH) for k, x in enumerate(numbers))
    assert lanes.packed(numbers) == packed
    assert lanes.each(packed) == numbers
    assert lanes.each(lanes.positive(packed)) == [max(x, 0) for x in numbers]
    assert [lanes.each(x) for x in lanes.cut([packed, 0], by)] == [[x >> by for x in numbers], [0] * len(numbers)]
    bits = lanes.bits([0, packed, -packed])
    assert all(abs(x) <= 1 << bits for x in numbers)
    assert bits <= max(abs(x).bit_length() for x in numbers)


@given(
    st.lists(st.tuples(st.lists(st.integers(-(2**40), 2**40), min_size=6, max_size=6), st.integers(40, 90)), min_size=1,
             max_size=4), st.integers(8, kernel_lanes.COEFFICIENT),
)  # fmt: skip
def test_rows_in_lanes_are_added_and_lose_no_more_than_is_said(parts: list[tuple[list[int], int]], fit: int) -> None:
    """Three lanes of two columns: the sum is below the true one, by less than one unit for each row that was cut."""
    lanes = Lanes(3)
    rows = [([lanes.packed(n[c::2]) for c in (0, 1)], d, False) for n, d in parts]
    with cut_off(fit):
        row, digits, rounded = lanes.fitted(rows)
    for c in (0, 1):
        for k, found in enumerate(lanes.each(row[c])):
            true = sum(Fraction(n[2 * k + c], 1 << d) for n, d in parts)
            assert 0 <= true - Fraction(found, 1 << digits) <= Fraction(rounded, 1 << digits)
            assert abs(found) <= 1 << fit


small, large = st.integers(-(2**42), 2**42), st.integers(-(2**80), 2**80)


@given(st.lists(st.tuples(small, large, small, large, large, large), min_size=1, max_size=5),
       st.sampled_from([1, 3, 1 << 8, 1 << 40]))  # fmt: skip
def test_lines_that_are_cut_lie_beyond_the_lines(neurons: list[tuple[int, ...]], one: int) -> None:
    lower, drop, upper, shift, *ends = map(list, zip(*neurons, strict=True))
    low, high = list(map(min, *ends)), list(map(max, *ends))
    try:
        cut = kernel_lanes._coarse(kernel.Lines(lower, drop, upper, shift, one), low, high)
    except OverflowError:
        assume(False)
    for k, (a, d, b, t, *_) in enumerate(neurons):
        for z in (low[k], high[k]):
            below = Fraction(cut.lower[k] * z, 1 << (cut.digits + GRID)) - Fraction(cut.drop[k], 1 << cut.grid)
            above = Fraction(cut.upper[k] * z, 1 << (cut.digits + GRID)) + Fraction(cut.shift[k], 1 << cut.grid)
            assert below <= Fraction(a * z - d * one, one << GRID)
            assert above >= Fraction(b * z + t * one, one << GRID)
    for numbers in (cut.lower, cut.upper, [sum(map(abs, cut.drop)) + sum(map(abs, cut.shift))]):
        assert max(map(abs, numbers)) <= 1 << kernel_lanes.ROOM


def hostile_layers(rng: random.Random) -> tuple[Program, list[tuple[Fraction, Fraction]]]:
    """Layers with weights of every size, over denominators of every kind, that read each other and the variables."""
    program, sizes = Program(3), [3]
    for _ in range(rng.randint(1, 4)):
        rows, kind = rng.randint(1, 7), rng.choice([kernel.Layer, kernel.Relu, kernel.Relu])
        over = rng.choice([1, 3, 1 << 10, 10**12, 1 << 60])
        size = max(1, rng.choice([over // 1000, over, 3 * over, 3 * over, over << 6]))

        def entries(columns: int, size: int = size, few: float = rng.random()) -> dict[int, int]:
            return {j: rng.randint(-size, size) for j in range(columns) if rng.random() > few}

        sources = {INPUT: 3} | ({len(sizes) - 2: sizes[-1]} if len(sizes) > 1 else {})
        if len(sizes) > 1 and rng.random() < 0.7:
            del sources[INPUT]
        parts = [(source, [entries(n) for _ in range(rows)], over) for source, n in sources.items()]
        program.emit(parts, [rng.randint(-size, size) for _ in range(rows)], rng.choice([1, over, 7]), kind)
        sizes.append(rows)
    ends = [sorted(Fraction(rng.randint(-50, 50), rng.choice([1, 7, 16])) for _ in (0, 1)) for _ in range(3)]
    return program, [(low, high) for low, high in ends]


@pytest.mark.parametrize("digits", [8, kernel_lanes.COEFFICIENT])
def test_in_lanes_bounds_hold_whatever_the_sizes_of_weights(digits: int) -> None:
    """Weights of 41 bits beside those of one, thirds, rows without weights: bounds are true at corners and inside, and
    with all digits they are hardly worse than those of exact rows."""
    worse, in_lanes = [], 0
    for seed in range(part_of(400)):
        rng = random.Random(seed)
        program, ends = hostile_layers(rng)
        box = Box([low for low, _ in ends], [high for _, high in ends])
        with (
            cut_off(digits),
            mock.patch.object(Functionals, "over_box", autospec=True, side_effect=Functionals.over_box) as seen,
        ):
            rough = RoughBounds(program, box, {}, rng.choice([ROUGHLY, TOGETHER]), ())
            rough.advance(len(program.layers))
            forms = [Functional() for _ in range(3)]
            for form in forms:
                index = rng.randrange(len(program.layers))
                row = [rng.randint(-9, 9) for _ in range(program.width(index))]
                form.add_row(index, row, rng.choice([1, 3]))
                form.add_row(INPUT, [rng.randint(-9, 9) for _ in range(3)], 7)
            said = [(dict(form.rows), rough.lower_bound(form)) for form in forms]
            in_lanes += seen.call_count
        points = [
            *product(*ends),
            *([low + (high - low) * Fraction(rng.randint(0, 8), 8) for low, high in ends] for _ in range(9)),
        ]
        for point in points:
            values = forward_of(program, point)
            for index, (low, high) in rough.ranges.items():
                for x, lo, hi in zip(values[index], low, high, strict=True):
                    assert lo <= x * 2**GRID <= hi
            for rows, bound in said:
                true = sum(
                    (
                        Fraction(sum(c * x for c, x in zip(row, values[k], strict=True)), over)
                        for k, (row, over) in rows.items()
                    ),
                    Fraction(0),
                )
                assert bound <= true
        exact = Bounds(program, box, {}, OPEN if rough.effort == TOGETHER else NONE)
        exact.advance(len(program.layers))
        for index, (low, high) in exact.ranges.items():
            largest = max(map(abs, (*low, *high)))
            worse += [(a - b) / largest for a, b in zip(low, rough.ranges[index][0], strict=True) if largest]
    assert in_lanes > 200
    assert digits == 8 or sorted(worse)[-len(worse) // 50] < 1e-4, "all but one in fifty"


def forward_of(program: Program, point: Sequence[Fraction]) -> dict[int, list[Fraction]]:
    values = {INPUT: list(point)}
    for index, layer in enumerate(program.layers):
        z = [Fraction(b) for b in layer.bias]
        for block in layer.blocks:
            for i, row in enumerate(block.rows):
                z[i] += sum((w * values[block.source][j] for j, w in row.items()), Fraction(0))
        values[index] = [max(x, Fraction(0)) / layer.bottom if layer.kind == "relu" else x / layer.bottom for x in z]
    return values


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
    bounds = bounds_in(program, Box(low, high), slopes, ALL if thorough else OPEN, digits)
    with cut_off(digits):
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
    bounds = bounds_in(program, Box(low, high), choices, ALL if thorough else OPEN, digits)
    with cut_off(digits):
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
    """Coefficients with too many digits before the point."""
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
    quick, exact = RoughBounds(program, box, {}, TOGETHER, ()), Bounds(program, box, {}, OPEN)
    quick.advance(len(program.layers))
    assert bool(alone) != packs
    exact.advance(len(program.layers))
    for (low, high), (least, most) in zip(quick.inner.values(), exact.inner.values(), strict=True):
        largest = max(map(abs, (*least, *most)))
        for a, b, c, d in zip(low, high, least, most, strict=True):
            assert abs(a - c) + abs(b - d) <= largest / 2**18
