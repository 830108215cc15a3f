"""Patches on many boxes: what an index finds is what the obvious evaluation comes to, whoever evaluates."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import rewarden as rw
from rewarden.reward import tables
from rewarden.reward.artifact import Artifact
from rewarden.reward.balls import within
from rewarden.reward.deployed import forward
from rewarden.reward.enclosure import enclose
from rewarden.reward.exact import evaluate_row
from rewarden.reward.graph import Patch
from rewarden.reward.onnx_deployed import deployed_onnx, onnxruntime_scores
from rewarden.reward.rounding import deployed_error
from rewarden.reward.tables import TableIndex, flat_rows, index_of, restricted
from rewarden.spec_lang.errors import ArtifactError, Unsupported
from rewarden.verifier.caps import sups
from tests.reference.how_many import part_of
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact, random_mlp, random_rows, seeds
from tests.reference.slow_reward import slow_evaluate


def with_table(artifact: Artifact, rng: np.random.Generator, boxes: int, *, slanted: bool = False) -> Artifact:
    """A table on boxes around random records; some columns are left free, and one row may read them all."""
    columns = artifact.columns
    spans = np.array([float(c.hi - c.lo) or 1.0 for c in columns])
    centres = random_rows(rng, [r.type for r in artifact.records], boxes)
    used = np.flatnonzero(rng.random(len(columns)) < 0.8)
    used = used if len(used) else np.array([0])
    weight, offsets = [], []
    for j in used:
        for sign in (1, -1):
            row = np.zeros(len(columns))
            row[j] = sign * 4 / spans[j]
            weight.append(row)
            offsets.append(sign * centres[:, j] * 4 / spans[j] + rng.uniform(0, 1, boxes))
    if slanted:
        weight.append(rng.normal(size=len(columns)) / spans)
        offsets.append(centres @ weight[-1] + 0.5)
    number = len(artifact.patches)
    names = {part: f"table{number}.{part}" for part in ("rows", "offsets", "level", "slope", "delta", "gate")}
    values = {
        "rows": weight, "offsets": np.stack(offsets, axis=1), "level": [rng.normal() * 0.3],
        "slope": [rng.exponential(2.0)], "delta": [2.0**-18], "gate": [1 - 2.0**-18],
    }  # fmt: skip
    tensors = {names[part]: np.array(value, np.float32) for part, value in values.items()}
    patch = Patch(kind=str(rng.choice(["ceiling", "floor"])), rule="near", **names)
    return replace(artifact, tensors={**artifact.tensors, **tensors}, patches=(*artifact.patches, patch))


def one_by_one(artifact: Artifact) -> Artifact:
    """The same with a patch for every box of every table: what a table means."""
    patches, tensors = [], dict(artifact.tensors)
    for patch in artifact.patches:
        offsets = tensors[patch.offsets]
        for k, own in enumerate(offsets if offsets.ndim == 2 else ()):
            tensors[f"{patch.offsets}.{k}"] = own
            patches.append(replace(patch, offsets=f"{patch.offsets}.{k}"))
        if offsets.ndim == 2:
            del tensors[patch.offsets]
        else:
            patches.append(patch)
    return replace(artifact, patches=tuple(patches), tensors=tensors)


@settings(max_examples=part_of(25), deadline=None)
@given(seed=seeds)
def test_a_table_is_its_boxes_one_after_the_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    artifact = with_table(random_mlp(rng, MIXED, (5,), patches=seed % 2), rng, int(rng.integers(1, 40)))
    rows = random_rows(rng, MIXED, 200).astype(np.float32)
    assert np.array_equal(forward(artifact, rows).view(np.uint32), forward(one_by_one(artifact), rows).view(np.uint32))
    lo, hi = enclose(artifact, rows[:20].astype(np.float64))
    for k, row in enumerate(rows[:20]):
        exact = evaluate_row(artifact, row)
        assert exact == slow_evaluate(artifact, [Fraction(float(v)) for v in row])
        assert Fraction(float(lo[k])) <= exact <= Fraction(float(hi[k]))
        ball = within(artifact, [Fraction(float(v)) for v in row], 200)
        assert ball is not None
        assert ball[0] <= exact <= ball[1]


@settings(max_examples=part_of(60), deadline=None)
@given(seed=seeds)
def test_masks_leave_no_box_out(seed: int) -> None:
    """Of boxes open on some sides, equal ones and points; at records anywhere, on their ends, and far away."""
    rng = np.random.default_rng(seed)
    boxes, used, width = int(rng.integers(1, 200)), int(rng.integers(1, 30)), 40
    middle = rng.normal(size=(boxes, used)) * rng.choice([1e-6, 1.0, 1e6], used)
    reach = np.abs(rng.normal(size=(boxes, used))) * rng.choice([0.0, 0.1, 3.0]) * np.abs(middle).max()
    low, high = middle - reach, middle + reach
    low[rng.random(low.shape) < 0.1], high[rng.random(high.shape) < 0.1] = -np.inf, np.inf
    columns = rng.permutation(width)[:used]
    index = TableIndex(columns, low, high, np.full(used, -1))
    x = rng.normal(size=(60, width)) * rng.choice([1e-6, 1.0, 1e6])
    x[:20, columns] = middle[rng.integers(boxes, size=20)]
    ends = np.where(rng.random((20, used)) < 0.5, low[rng.integers(boxes)], high[rng.integers(boxes)])
    x[20:40, columns] = np.where(np.isfinite(ends), ends, 1e30)
    wanted = ((x[:, None, columns] >= low) & (x[:, None, columns] <= high)).all(axis=2).nonzero()
    for masks, pairs, at_once in ((tables.MASKS, tables.PAIRS, tables.AT_ONCE), (1, 7, 0)):
        with pytest.MonkeyPatch.context() as patching:
            patching.setattr(tables, "MASKS", masks)
            patching.setattr(tables, "PAIRS", pairs)
            patching.setattr(tables, "AT_ONCE", at_once)
            tables.masks_of.cache_clear()
            record, box = index.pairs(x)
        order = np.lexsort((box, record))
        assert np.array_equal(record, wanted[0])
        assert np.array_equal(box[order], wanted[1])


def test_one_record_has_the_bits_that_it_has_among_others() -> None:
    rng = np.random.default_rng(3)
    artifact = with_table(random_mlp(rng, MIXED, (40, 17)), rng, 100)
    rows = random_rows(rng, MIXED, 60).astype(np.float32)
    rows[0] = np.nan
    alone = np.concatenate([forward(artifact, rows[k : k + 1]) for k in range(len(rows))])
    assert np.array_equal(alone[1:].view(np.uint32), forward(artifact, rows)[1:].view(np.uint32))
    assert np.isnan(alone[0])


@settings(max_examples=part_of(30), deadline=None)
@given(seed=seeds)
def test_rows_that_are_called_flat_are_flat(seed: int) -> None:
    rng = np.random.default_rng(seed)
    artifact = with_table(random_mlp(rng, TWO_REALS, (3,)), rng, 12, slanted=True)
    patch = artifact.patches[0]
    ends = np.sort(random_rows(rng, TWO_REALS, 24).reshape(12, 2, 2), axis=1)
    lo, hi = ends[:, 0], ends[:, 0] + (ends[:, 1] - ends[:, 0]) * rng.choice([0.0, 0.05, 0.5])
    flat = flat_rows(artifact, patch, np.arange(12), lo, hi)
    weight, offsets = (artifact.tensors[name].astype(np.float64) for name in (patch.rows, patch.offsets))
    corners = np.stack([np.where(np.array(c, bool), hi, lo) for c in ((0, 0), (0, 1), (1, 0), (1, 1))])
    most = (corners @ weight.T - offsets).max(axis=0)
    delta = float(artifact.tensors[patch.delta][0])
    assert (most[flat] <= delta).all()
    assert flat[most <= delta - 1e-3].all()


@settings(max_examples=part_of(15), deadline=None)
@given(seed=seeds)
def test_with_a_row_of_several_columns_too(seed: int) -> None:
    rng = np.random.default_rng(seed)
    artifact = with_table(random_mlp(rng, TWO_REALS, (4,)), rng, 30, slanted=True)
    rows = random_rows(rng, TWO_REALS, 60).astype(np.float32)
    far = deployed_error(artifact, *(np.array([float(e) for e in ends]) for ends in zip(*((c.lo, c.hi) for c in artifact.columns), strict=True)))  # fmt: skip # noqa: E501
    for row, deployed in zip(rows, forward(artifact, rows), strict=True):
        exact = evaluate_row(artifact, row)
        assert exact == slow_evaluate(artifact, [Fraction(float(v)) for v in row])
        assert abs(exact - Fraction(float(deployed))) <= Fraction(far)


@settings(max_examples=part_of(15), deadline=None)
@given(seed=seeds)
def test_over_a_box_it_is_a_few_ordinary_patches(seed: int) -> None:
    rng = np.random.default_rng(seed)
    artifact = with_table(random_mlp(rng, TWO_REALS, (4,), patches=1), rng, 60, slanted=seed % 3 == 0)
    ends = np.sort(random_rows(rng, TWO_REALS, 2), axis=0)
    lo, hi = ends[0], ends[0] + (ends[1] - ends[0]) * rng.choice([0.02, 0.3, 1.0])
    there = restricted(artifact, lo, hi)
    assert all(there.tensors[p.offsets].ndim == 1 for p in there.patches)
    rows = (lo + (hi - lo) * rng.random((40, 2))).astype(np.float32)
    rows = np.clip(rows, np.nextafter(lo.astype(np.float32), np.inf), np.nextafter(hi.astype(np.float32), -np.inf))
    inside = ((rows >= lo) & (rows <= hi)).all(axis=1)
    for row in rows[inside]:
        assert evaluate_row(there, row) == evaluate_row(artifact, row)
    below, above = (sups(artifact, lo[None], hi[None], sign)[0] for sign in (-1, 1))
    values = forward(artifact, rows[inside])
    assert (values <= above).all()
    assert (-values <= below).all()


@settings(max_examples=6, deadline=None)
@given(seed=seeds)
def test_onnx_gives_the_same_bits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    artifact = with_table(random_artifact(rng, MIXED, size=3), rng, 20, slanted=seed % 2 == 0)
    rows = random_rows(rng, MIXED, 100).astype(np.float32)
    assert np.array_equal(onnxruntime_scores(deployed_onnx(artifact).model, rows), forward(artifact, rows))


def test_boxes_that_are_open_on_one_side_have_an_index() -> None:
    """Their middle was taken for the largest number there is, and the spread of those overflowed."""
    rng = np.random.default_rng(0)
    artifact = with_table(random_mlp(rng, TWO_REALS, (4,)), rng, 20)
    rows = artifact.tensors["table0.rows"].copy()
    rows[np.argmax(rows[:, 0] > 0)] = 0.0
    index = index_of(replace(artifact, tensors={**artifact.tensors, "table0.rows": rows}), 0)
    assert np.isinf(index.low).any() or np.isinf(index.high).any()
    assert len(index.meeting(np.full(2, -1e9), np.full(2, 1e9))) == 20


def test_the_index_leaves_few_boxes_of_many() -> None:
    rng = np.random.default_rng(0)
    artifact = with_table(random_mlp(rng, TWO_REALS, (4,)), rng, 2000)
    spread = replace(artifact, tensors={**artifact.tensors, "table0.rows": artifact.tensors["table0.rows"] * 30,
                                        "table0.offsets": artifact.tensors["table0.offsets"] * 30})  # fmt: skip
    rows = random_rows(rng, TWO_REALS, 100)
    records, boxes = index_of(spread, 0).pairs(rows)
    assert len(records) < 100 * 2000 / 5
    offsets, weight = spread.tensors["table0.offsets"].astype(float), spread.tensors["table0.rows"].astype(float)
    acts = ((rows @ weight.T)[:, None, :] - offsets[None]).max(axis=2) < 1
    found = np.zeros_like(acts)
    found[records, boxes] = True
    assert not (acts & ~found).any()


def test_malformed_tables_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    good = with_table(random_mlp(rng, TWO_REALS, (4,)), rng, 3)
    wrong = [np.zeros((0, 4)), np.zeros((3, 3)), np.zeros((2, 3, 4))]
    for offsets in wrong:
        with pytest.raises(ArtifactError):
            replace(good, tensors={**good.tensors, "table0.offsets": offsets.astype(np.float32)})


def test_what_knows_no_tables_says_so() -> None:
    rng = np.random.default_rng(2)
    artifact = with_table(random_mlp(rng, TWO_REALS, (4,)), rng, 1000)
    whole = tuple(np.array([float(e) for e in ends]) for ends in zip(*((c.lo, c.hi) for c in artifact.columns), strict=True))  # fmt: skip # noqa: E501
    with pytest.raises(Unsupported, match="boxes of patches near data"):
        restricted(artifact, *whole)
    from rewarden.reward.onnx_export import to_onnx

    with pytest.raises(Unsupported, match="near data"):
        to_onnx(artifact)


def test_it_is_kept_in_a_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    artifact = with_table(random_mlp(rng, TWO_REALS, (4,)), rng, 7)
    rw.save_reward(artifact, tmp_path / "r")
    again = rw.load_reward(tmp_path / "r")
    assert again.digest == artifact.digest
    rows = random_rows(rng, TWO_REALS, 50).astype(np.float32)
    assert np.array_equal(forward(again, rows), forward(artifact, rows))
