"""Networks that are exported to be run return what `score` returns: to the last bit, or within what they state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings

from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.graph import Minimum
from rewarden.reward.learners.splice import Splice
from rewarden.reward.onnx_deployed import deployed_onnx, onnxruntime_scores
from rewarden.reward.onnx_import import from_onnx
from rewarden.spec_lang.errors import Unsupported
from tests.reference.random_graphs import ALL_OPS, MIXED, SMOOTH_OPS, TWO_REALS, random_artifact, random_mlp, seeds


def rows_of(artifact: Artifact, rng: np.random.Generator, count: int = 257) -> np.ndarray:
    """In the domain, whole numbers and ends among them."""
    rows = np.stack([rng.uniform(float(c.lo), float(c.hi), count) for c in artifact.columns], axis=1)
    rows[: count // 4] = np.round(rows[: count // 4])
    return rows.astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_piecewise_linear_rewards_and_patches_come_out_to_the_last_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    artifact = random_artifact(rng, MIXED, size=int(rng.integers(1, 9)), patches=seed % 3)
    rows = rows_of(artifact, rng)
    exported = deployed_onnx(artifact)
    assert exported.exact
    assert np.array_equal(
        onnxruntime_scores(exported.model, rows).view(np.uint32), forward(artifact, rows).view(np.uint32)
    )


@settings(max_examples=12, deadline=None)
@given(seed=seeds)
def test_matrix_products_stay_within_what_is_stated(seed: int) -> None:
    rng = np.random.default_rng(seed)
    artifact = random_artifact(rng, MIXED, size=int(rng.integers(1, 9)), patches=seed % 3)
    exported = deployed_onnx(artifact, "gemm")
    if exported.most is None:
        return
    rows = rows_of(artifact, rng)
    apart = np.abs(onnxruntime_scores(exported.model, rows).astype(np.float64) - forward(artifact, rows))
    assert apart.max() <= exported.most
    assert f"{exported.most:.3g}" in exported.deviation


@pytest.mark.parametrize("op", ALL_OPS)
def test_every_op_alone(op: str) -> None:
    rng = np.random.default_rng(ALL_OPS.index(op))
    artifact = random_artifact(rng, TWO_REALS, size=5, ops=(op, "affine"))
    rows = rows_of(artifact, rng)
    assert np.array_equal(onnxruntime_scores(deployed_onnx(artifact).model, rows), forward(artifact, rows))


@pytest.mark.parametrize("op", SMOOTH_OPS)
def test_smooth_rewards_state_that_nothing_bounds_them(op: str) -> None:
    rng = np.random.default_rng(7)
    artifact = random_artifact(rng, TWO_REALS, size=4, ops=(op, "affine"))
    exported = deployed_onnx(artifact)
    if not artifact.smooth:
        return
    assert not exported.exact
    assert exported.most is None
    assert "may differ in the last bits" in exported.deviation
    rows = rows_of(artifact, rng)
    ours = forward(artifact, rows)
    finite = np.isfinite(ours)
    theirs = onnxruntime_scores(exported.model, rows)
    assert np.all(np.abs(ours - theirs)[finite] <= 1e-4 * (1 + np.abs(ours[finite]).max(initial=0.0)))


def test_ensembles_and_any_number_of_rows() -> None:
    splice = Splice()
    one, two = (random_mlp(np.random.default_rng(k), TWO_REALS, (7,)) for k in (1, 2))
    outputs = [splice.graft(a.graph, a.tensors, name) for a, name in ((one, "a."), (two, "b."))]
    made = splice.finish(splice.push(Minimum(*outputs)))
    artifact = Artifact(one.records, made.graph, made.tensors, "exact")
    model = deployed_onnx(artifact).model
    for count in (1, 2, 300):
        rows = rows_of(artifact, np.random.default_rng(0), count)
        assert onnxruntime_scores(model, rows).shape == (count,)
        assert np.array_equal(onnxruntime_scores(model, rows), forward(artifact, rows))


def test_the_model_says_what_it_is_and_is_the_same_each_time() -> None:
    artifact = random_mlp(np.random.default_rng(1), TWO_REALS, (7,))
    exported = deployed_onnx(artifact)
    said = {entry.key: entry.value for entry in onnx.load_from_string(exported.model).metadata_props}
    assert said == {"rewarden.artifact": artifact.digest, "rewarden.deviation": exported.deviation}
    assert deployed_onnx(artifact).model == exported.model


def test_sums_that_are_too_long_to_write_out_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewarden.reward.onnx_deployed.MOST_COLUMNS", 4)
    artifact = random_mlp(np.random.default_rng(1), TWO_REALS, (7,))
    with pytest.raises(Unsupported, match="X30"):
        deployed_onnx(artifact)
    assert deployed_onnx(artifact, "gemm").model


def test_what_was_exported_to_be_run_is_not_imported_again(tmp_path: Path) -> None:
    artifact = random_mlp(np.random.default_rng(1), MIXED)
    (tmp_path / "a.onnx").write_bytes(deployed_onnx(artifact, "bits").model)
    with pytest.raises(Unsupported) as caught:
        from_onnx(tmp_path / "a.onnx", [("s", MIXED)])
    assert caught.value.help == "this file was exported to be run: use the artifact it was made of"
