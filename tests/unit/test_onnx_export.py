"""Exported networks are the artifacts: over the rationals the same function, in operators that other verifiers read."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import onnx
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.exact import evaluate
from rewarden.reward.graph import Graph, Input, ReduceMax, ReduceMin
from rewarden.reward.onnx_export import to_onnx
from rewarden.reward.onnx_import import from_onnx
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.features import Feature, RecordType
from tests.reference.exact_onnx import exact_onnx
from tests.reference.how_many import part_of
from tests.reference.random_graphs import ALL_OPS, MIXED, TWO_REALS, random_artifact, random_mlp, seeds

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
PLAIN = {"Gemm", "MatMul", "Add", "Sub", "Relu"}


def exactly(model: onnx.ModelProto, x: list[Fraction]) -> Fraction:
    (result,) = exact_onnx(model, x)
    return result


def rational_rows(rng: np.random.Generator, artifact: Artifact, count: int) -> list[list[Fraction]]:
    """Points in and around the domain, with ends and odd denominators."""
    found = []
    for _ in range(count):
        row = []
        for column in artifact.columns:
            share = Fraction(int(rng.integers(-2, 11)), int(rng.choice([1, 3, 7, 8])))
            row.append(column.lo + (column.hi - column.lo) * share)
        found.append(row)
    return found


def drawn(seed: int, patches: int = 0) -> tuple[np.random.Generator, Artifact]:
    rng = np.random.default_rng(seed)
    return rng, random_artifact(rng, MIXED, size=int(rng.integers(1, 9)), patches=patches)


@settings(max_examples=part_of(60), deadline=None, phases=PHASES)
@given(seed=seeds)
def test_the_network_is_the_artifact_at_every_rational(seed: int) -> None:
    rng, artifact = drawn(seed, patches=seed % 3)
    model = onnx.load_from_string(to_onnx(artifact))
    for x in rational_rows(rng, artifact, 6):
        assert exactly(model, x) == evaluate(artifact, x)


@settings(max_examples=part_of(40), deadline=None, phases=PHASES)
@given(seed=seeds)
def test_our_importer_reads_back_the_same_function(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    rng, artifact = drawn(seed)
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    path.write_bytes(to_onnx(artifact))
    again = from_onnx(path, [(r.param, r.type) for r in artifact.records])
    for x in rational_rows(rng, artifact, 6):
        assert evaluate(again, x) == evaluate(artifact, x)


@settings(max_examples=part_of(30), deadline=None, phases=PHASES)
@given(seed=seeds)
def test_states_of_patches_are_the_artifact_where_the_patches_are_in_them(seed: int) -> None:
    rng, artifact = drawn(seed, patches=1 + seed % 2)
    models = {
        states: onnx.load_from_string(to_onnx(artifact, states))
        for states in product(("open", "flat", "sloped"), repeat=len(artifact.patches))
    }
    assert all({node.op_type for node in model.graph.node} <= PLAIN for model in models.values())
    for x in rational_rows(rng, artifact, 8):
        states = tuple(state_at(artifact, number, x) for number in range(len(artifact.patches)))
        assert exactly(models[states], x) == evaluate(artifact, x)


def state_at(artifact: Artifact, number: int, x: list[Fraction]) -> str:
    patch = artifact.patches[number]
    rows, offsets = artifact.tensors[patch.rows].tolist(), artifact.tensors[patch.offsets].tolist()
    largest = max(
        sum((Fraction(w) * v for w, v in zip(row, x, strict=True)), -Fraction(offset))
        for row, offset in zip(rows, offsets, strict=True)
    )
    if largest >= Fraction(float(artifact.tensors[patch.gate][0])):
        return "open"
    return "flat" if largest <= Fraction(float(artifact.tensors[patch.delta][0])) else "sloped"


@settings(max_examples=part_of(25), deadline=None, phases=PHASES)
@given(seed=seeds)
def test_executed_it_differs_by_rounding_alone(seed: int) -> None:
    rng, artifact = drawn(seed)
    session = ReferenceEvaluator(onnx.load_from_string(to_onnx(artifact)))
    rows = np.array([[float(v) for v in x] for x in rational_rows(rng, artifact, 8)], np.float32)
    ours = forward(artifact, rows)
    theirs = np.array([session.run(None, {"X": row[None]})[0][0, 0] for row in rows])
    assert np.all(np.abs(ours - theirs) <= 1e-3 * (1 + np.abs(ours).max()))


@pytest.mark.parametrize("op", ALL_OPS)
def test_every_op_is_written_with_the_plain_operators(op: str) -> None:
    rng = np.random.default_rng(ALL_OPS.index(op))
    artifact = random_artifact(rng, TWO_REALS, size=6, ops=(op, "affine"))
    model = onnx.load_from_string(to_onnx(artifact))
    assert {node.op_type for node in model.graph.node} <= PLAIN
    assert model.opset_import[0].version == 13


def test_weights_are_stored_as_they_are_and_once() -> None:
    artifact = random_mlp(np.random.default_rng(5), TWO_REALS, (7, 5))
    model = onnx.load_from_string(to_onnx(artifact))
    stored = [numpy_helper.to_array(t) for t in model.graph.initializer]
    scale = artifact.graph.nodes[1].scale
    for name, tensor in artifact.tensors.items():
        expected = np.diag(tensor) if name == scale else tensor
        assert sum(t.shape == expected.shape and t.tobytes() == expected.tobytes() for t in stored) == 1
    assert [node.op_type for node in model.graph.node] == ["Gemm", "Gemm", "Relu", "Gemm", "Relu", "Gemm"]
    assert artifact.digest in model.doc_string


def test_the_same_artifact_gives_the_same_bytes() -> None:
    _, artifact = drawn(11, patches=2)
    assert to_onnx(artifact) == to_onnx(replace(artifact))
    assert to_onnx(artifact) != to_onnx(artifact, ("open", "open"))


def test_a_reward_that_is_its_input() -> None:
    record = RecordType("P", (Feature("x", "real", Fraction(0), Fraction(1)),))
    artifact = Artifact((RewardRecord("s", record),), Graph((Input(),), 0), {}, "exact")
    model = onnx.load_from_string(to_onnx(artifact))
    assert exactly(model, [Fraction(2, 3)]) == Fraction(2, 3)


def test_what_would_be_too_large_is_refused_before_it_is_made() -> None:
    record = RecordType("Wide", (Feature("e", "real", Fraction(0), Fraction(1), None, (), 20_000),))
    artifact = Artifact((RewardRecord("s", record),), Graph((Input(), ReduceMax(0)), 1), {}, "exact")
    with pytest.raises(Unsupported, match="X30"):
        to_onnx(artifact)


@given(values=st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=9), smallest=st.booleans())
def test_the_extreme_of_any_number_of_columns(values: list[float], smallest: bool) -> None:
    record = RecordType("V", (Feature("e", "real", Fraction(-4), Fraction(4), None, (), len(values)),))
    node = ReduceMin(0) if smallest else ReduceMax(0)
    artifact = Artifact((RewardRecord("s", record),), Graph((Input(), node), 1), {}, "exact")
    model = onnx.load_from_string(to_onnx(artifact))
    x = [Fraction(v) for v in values]
    assert exactly(model, x) == (min(x) if smallest else max(x))
