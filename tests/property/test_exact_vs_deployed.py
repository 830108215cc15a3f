"""The readings of one artifact agree: exact = by the book, enclosure ∋ exact, |deployed − exact| ≤ its bound."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.enclosure import enclose
from rewarden.reward.exact import evaluate, evaluate_row
from rewarden.reward.graph import AffineMap, Clip, Graph, Input, LeakyRelu, Patch, Relu, Scale
from rewarden.reward.rounding import deployed_error
from rewarden.spec_lang.features import Feature, RecordType
from tests.reference.how_many import part_of
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact, random_mlp, random_rows, seeds
from tests.reference.slow_reward import slow_evaluate


def drawn(seed: int, size: int = 8, patches: int = 3) -> tuple[Artifact, np.random.Generator]:
    """An artifact over the mixed record, and the generator to go on with."""
    rng = np.random.default_rng(seed)
    return random_artifact(rng, MIXED, size=int(rng.integers(0, size)), patches=int(rng.integers(0, patches))), rng


@given(seeds)
@settings(max_examples=part_of(200), deadline=None)
def test_exact_is_by_the_book(seed):
    artifact, rng = drawn(seed)
    for row in random_rows(rng, MIXED, 3):
        x = [Fraction(float(v)).limit_denominator(int(rng.integers(1, 1000))) for v in row]
        assert evaluate(artifact, x) == slow_evaluate(artifact, x)


@given(seeds)
@settings(max_examples=part_of(250), deadline=None)
def test_enclosures_hold_the_exact_value(seed):
    artifact, rng = drawn(seed)
    x = random_rows(rng, MIXED, 12)
    x[:3] *= 2.0 ** rng.integers(-40, 30, size=(3, 1))  # the domain does not matter here
    lo, hi = enclose(artifact, x)
    for row, least, most in zip(x, lo, hi, strict=True):
        assert Fraction(float(least)) <= evaluate_row(artifact, row) <= Fraction(float(most))
    tight = hi[3:] - lo[3:]
    assert (tight <= 1e-9).all() or artifact.patches  # a point in the gate's own rounding is honestly wide


@given(seeds)
@settings(max_examples=part_of(250), deadline=None)
def test_deployed_stays_within_its_bound(seed):
    artifact, rng = drawn(seed)
    x = random_rows(rng, MIXED, 8).astype(np.float32)
    deployed = forward(artifact, x)
    exact = [evaluate_row(artifact, row) for row in x]
    bound = deployed_error(artifact, x.min(axis=0).astype(float), x.max(axis=0).astype(float))
    for row, value, truth in zip(x.astype(float), deployed, exact, strict=True):
        apart = abs(Fraction(float(value)) - truth)
        assert apart <= deployed_error(artifact, row, row) <= bound * (1 + 1e-9)


@given(seeds)
@settings(max_examples=part_of(120), deadline=None)
def test_any_order_of_summation_stays_within_the_bound(seed):
    """The same network under BLAS, and with its hidden neurons shuffled."""
    rng = np.random.default_rng(seed)
    artifact = random_mlp(rng, MIXED, (12, 12))
    x = random_rows(rng, MIXED, 16).astype(np.float32)
    bound = deployed_error(artifact, x.min(axis=0).astype(float), x.max(axis=0).astype(float))
    exact = np.array([float(evaluate_row(artifact, row)) for row in x])
    v = x
    for node in artifact.graph.nodes[1:]:
        match node:
            case Scale():
                v = v * artifact.tensors[node.scale] + artifact.tensors[node.shift]
            case AffineMap():
                order = rng.permutation(v.shape[1])
                v = v[:, order] @ artifact.tensors[node.weight][:, order].T + artifact.tensors[node.bias]
            case Relu():
                v = np.maximum(v, np.float32(0))
    assert v.dtype == np.float32
    assert (np.abs(v[:, 0].astype(float) - exact) <= bound + 1e-14).all()


@given(seeds, st.integers(1, 40))
@settings(max_examples=part_of(120), deadline=None)
def test_a_row_does_not_depend_on_its_batch(seed, count):
    artifact, rng = drawn(seed)
    x = random_rows(rng, MIXED, count).astype(np.float32)
    together = forward(artifact, x)
    alone = np.concatenate([forward(artifact, x[i : i + 1]) for i in range(count)])
    order = rng.permutation(count)
    assert together.tobytes() == alone.tobytes()
    assert forward(artifact, x[order]).tobytes() == together[order].tobytes()
    assert forward(artifact, np.asfortranarray(x)[::-1]).tobytes() == together[::-1].tobytes()


def test_a_row_does_not_depend_on_its_chunk():
    rng = np.random.default_rng(5)
    artifact = random_mlp(rng, TWO_REALS, (64, 33))
    x = random_rows(rng, TWO_REALS, 2500).astype(np.float32)
    together = forward(artifact, x)
    for start in (0, 1, 1023, 1024, 2047, 2499):
        assert forward(artifact, x[start : start + 7]).tobytes() == together[start : start + 7].tobytes()


@given(seeds)
@settings(max_examples=part_of(120), deadline=None)
def test_a_patch_changes_nothing_beyond_its_gate_bit_for_bit(seed):
    rng = np.random.default_rng(seed)
    patched = random_mlp(rng, TWO_REALS, (8, 8), patches=1)
    kept = {k: v for k, v in patched.tensors.items() if k not in _names(patched.patches[0])}
    base = replace(patched, patches=(), tensors=kept)
    x = random_rows(rng, TWO_REALS, 60).astype(np.float32)
    rows, offsets, gate = (patched.tensors[n] for n in (*_names(patched.patches[0])[:2], patched.patches[0].gate))
    far = np.array([(rows.astype(float) @ r - offsets).max() for r in x.astype(float)])
    beyond = far > float(gate[0]) + 1e-3
    assert forward(patched, x)[beyond].tobytes() == forward(base, x)[beyond].tobytes()
    for row in x[beyond][:5]:
        assert evaluate_row(patched, row) == evaluate_row(base, row)


def _names(patch: Patch) -> tuple[str, ...]:
    return (patch.rows, patch.offsets, patch.level, patch.slope, patch.delta, patch.gate)


def f32(values):
    return np.asarray(values, dtype=np.float32)


UNIT = RecordType("U", (Feature("x", "real", Fraction(-1), Fraction(1)),))


def single(*nodes, patches=(), **tensors):
    """An artifact of one real column in −1 .. 1."""
    made = {k: f32(v) for k, v in tensors.items()}
    return Artifact((RewardRecord("s", UNIT),), Graph((Input(), *nodes), len(nodes)), made, "exact", patches=patches)


def test_what_overflows_is_not_enclosed_by_anything_finite():
    nodes = [Scale(i, "s", "t") for i in range(40)] + [Clip(40, "lo", "hi")]
    artifact = single(*nodes, s=[3e38], t=[1e38], lo=[0], hi=[1])
    lo, hi = enclose(artifact, np.array([[-0.5], [0.5], [-1.0]]))
    for row, least, most in zip(([-0.5], [0.5], [-1.0]), lo, hi, strict=True):
        exact = evaluate_row(artifact, np.array(row))
        assert least == -np.inf or Fraction(least) <= exact
        assert most == np.inf or exact <= Fraction(most)
    assert deployed_error(artifact, np.array([-1.0]), np.array([1.0])) == np.inf
    assert forward(artifact, np.array([[np.nan]], dtype=np.float32)).shape == (1,)


def test_subnormal_weights_stay_within_the_bound():
    artifact = single(AffineMap(0, "w", "b"), w=[[1e-45]], b=[1e-45])
    x = np.array([[0.75]], dtype=np.float32)
    apart = abs(Fraction(float(forward(artifact, x)[0])) - evaluate_row(artifact, x[0]))
    assert 0 < apart <= deployed_error(artifact, np.array([0.75]), np.array([0.75]))


def test_a_clipped_reward_is_known_exactly_without_exact_arithmetic():
    artifact = single(Scale(0, "s", "t"), Clip(1, "lo", "hi"), s=[10.0], t=[0.1], lo=[0.0], hi=[1.0])
    lo, hi = enclose(artifact, np.array([[-0.7], [0.9], [0.03]]))
    assert (lo == hi).tolist() == [True, True, False]
    assert lo[:2].tolist() == [0.0, 1.0]


def test_a_patch_right_at_its_gate():
    """x = 0.5 puts G exactly on the gate: exact and deployed read it as outside, the enclosure holds the value."""
    patch = Patch("ceiling", "rows", "off", "level", "slope", "delta", "gate", "r")
    tensors = {"s": [1], "t": [5], "rows": [[2]], "off": [0], "level": [-1], "slope": [0], "delta": [0], "gate": [1]}
    artifact = single(Scale(0, "s", "t"), patches=(patch,), **tensors)
    x = np.array([[0.5], [0.4999999]], dtype=np.float32)
    assert [evaluate_row(artifact, row) for row in x] == [Fraction(11, 2), Fraction(-1)]
    assert forward(artifact, x).tolist() == [5.5, -1.0]
    lo, hi = enclose(artifact, x.astype(float))
    assert lo[0] <= 5.5 <= hi[0]
    assert lo[1] <= -1 <= hi[1] < -0.99
    # the two arithmetics may disagree about the gate, so the bound near it covers the whole drop ...
    assert deployed_error(artifact, np.array([0.5]), np.array([0.5])) >= 6.5
    # ... and is small away from it, or where a better bound on the reward before the patch is known
    assert deployed_error(artifact, np.array([0.6]), np.array([1.0])) < 1e-5
    known = deployed_error(artifact, np.array([0.5]), np.array([0.5]), exact_bounds=[(-2.0, -1.0)])
    assert known < 1e-5


PAIR = RecordType("P", tuple(Feature(n, "real", Fraction(-1), Fraction(1)) for n in "xy"))
HAIR = np.array([[1.0, 2.0**-60], [1.0, -(2.0**-60)]])  # x + y rounds to 1 in float64, and is not 1


def test_a_relu_that_float64_takes_for_dead():
    """x + y − 1 rounds to 0 and is 2^-60: once multiplied by 2^70, that is 1024."""
    tensors = {"w": f32([[1, 1]]), "b": f32([-1]), "v": f32([[2.0**70]]), "c": f32([0])}
    graph = Graph((Input(), AffineMap(0, "w", "b"), Relu(1), AffineMap(2, "v", "c")), 3)
    artifact = Artifact((RewardRecord("s", PAIR),), graph, tensors, "exact")
    lo, hi = enclose(artifact, HAIR)
    assert [evaluate_row(artifact, row) for row in HAIR] == [1024, 0]
    assert lo[0] <= 1024 <= hi[0]
    assert lo[1] <= 0 <= hi[1]


@pytest.mark.parametrize("kind", ["ceiling", "floor"])
def test_a_gate_that_float64_takes_for_reached(kind):
    """G rounds to the gate, 1, and is just below or above it: one row is inside, one is not, float64 cannot tell."""
    patch = Patch(kind, "rows", "off", "level", "zero", "zero", "one", "r")
    level = -3 if kind == "ceiling" else 3
    tensors = {"rows": f32([[1, 1]]), "off": f32([0]), "level": f32([level]), "zero": f32([0]), "one": f32([1])}
    tensors |= {"w": f32([[0, 0]]), "b": f32([0])}
    graph = Graph((Input(), AffineMap(0, "w", "b")), 1)
    artifact = Artifact((RewardRecord("s", PAIR),), graph, tensors, "exact", patches=(patch,))
    lo, hi = enclose(artifact, HAIR)
    assert [evaluate_row(artifact, row) for row in HAIR] == [0, level]
    for least, most in zip(lo, hi, strict=True):
        assert least <= min(0, level) <= max(0, level) <= most


def test_the_product_of_a_leaky_relu_rounds():
    artifact = single(LeakyRelu(0, "slope"), slope=[1 / 3])
    x = np.linspace(-1, -0.5, 33, dtype=np.float32)[:, None]
    for row, value in zip(x, forward(artifact, x), strict=True):
        at = row.astype(float)
        apart = abs(Fraction(float(value)) - evaluate_row(artifact, row))
        assert apart <= deployed_error(artifact, at, at) < 1e-7


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_shapes_are_checked(shape):
    artifact = single(Relu(0))
    with pytest.raises(ValueError):
        forward(artifact, np.zeros(shape, dtype=np.float32))
    with pytest.raises(ValueError):
        enclose(artifact, np.zeros(shape))
    with pytest.raises(ValueError):
        evaluate(artifact, [Fraction(0)] * 3)
