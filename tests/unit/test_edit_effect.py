"""What an edit may change, as a theorem: exact shares of unions of boxes, a bound of every change, what data saw."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import rewarden as rw
from rewarden.editor.effect import effect
from rewarden.editor.mend import EditReport, bound_for
from rewarden.editor.patch import PatchOptions, apply_patch
from rewarden.editor.volume import where_patches_act
from rewarden.reward.deployed import forward
from rewarden.verifier.extremum import certified_extremum
from tests.reference.random_graphs import MIXED, random_mlp, random_rows, seeds
from tests.unit.test_mend import OPTIONS, reward, spec_of
from tests.unit.test_tables import with_table


def rule(name: str, given_: str, expect: str) -> str:
    return f"must {name}:\n  forall s: S\n  given {given_}\n  expect {expect}\n"


@settings(max_examples=12, deadline=None)
@given(seed=seeds)
def test_shares_of_overlapping_boxes_of_numbers_and_cases(seed: int) -> None:
    rng = np.random.default_rng(seed)
    artifact = with_table(random_mlp(rng, MIXED, (3,)), rng, int(rng.integers(1, 8)))
    share = where_patches_act(artifact, [0])
    rows = random_rows(rng, MIXED, 4000)
    uniform = np.random.default_rng(seed + 1).random(rows.shape)
    for j, column in enumerate(artifact.columns):  # uniform over reals and over whole numbers
        lo, hi = float(column.lo), float(column.hi)
        whole = np.floor(lo + uniform[:, j] * (hi - lo + 1)) if column.discrete else lo + uniform[:, j] * (hi - lo)
        rows[:, j] = np.clip(whole, lo, hi)
    cases = [j for j, c in enumerate(artifact.columns) if c.name.startswith("zone")]
    rows[:, cases] = np.eye(len(cases))[rng.integers(len(cases), size=len(rows))]
    patch, t = artifact.patches[0], artifact.tensors
    g = ((rows @ t[patch.rows].T.astype(float))[:, None] - t[patch.offsets][None]).max(axis=2).min(axis=1)
    found = float((g < float(t[patch.gate][0])).mean())
    assert share.exact
    assert abs(found - float(share.most)) <= 4.5 * np.sqrt(max(found * (1 - found), 1e-3) / len(rows))


def test_an_exact_union(tmp_path: Path) -> None:
    """Two squares of 1 m² that overlap in a quarter, with rims of half a metre, of 10 m × 10 m and one of two bits."""
    rules = rule("a", "s.on and 2 [m] <= s.x <= 3 [m] and 2 [m] <= s.y <= 3 [m]", "R(s) <= 1") + rule(
        "b", "s.on and 2.5 [m] <= s.x <= 3.5 [m] and 2.5 [m] <= s.y <= 3.5 [m]", "R(s) <= 2"
    )
    spec, child = spec_of(rules, tmp_path), reward()
    for name in "ab":
        child, _ = apply_patch(child, bound_for(spec, {"R": child}, name, PatchOptions()), certified_extremum)
    share = where_patches_act(child, [0, 1])
    assert share.exact
    assert abs(share.most - Fraction(4 + 4 - Fraction(9, 4)) / 200) < Fraction(1, 10**4)


@pytest.mark.parametrize("order", [["low", "high", "deep"], ["high", "deep", "low"]])
def test_no_record_moves_by_more_than_is_stated(order: list[str], tmp_path: Path) -> None:
    rules = (
        rule("low", "s.x >= 5 [m]", "R(s) <= 4")
        + rule("deep", "s.x >= 8 [m] and s.y >= 4 [m]", "R(s) <= 1")
        + rule("high", "s.x <= 4 [m] and s.on", "R(s) >= 6")
    )
    spec, parent = spec_of(rules, tmp_path), reward()
    child, edits = parent, []
    for name in order:
        child, facts = apply_patch(child, bound_for(spec, {"R": child}, name, PatchOptions()), certified_extremum)
        edits.append(EditReport(name, "R", facts))
    found = effect(spec, parent, child, edits)
    rng = np.random.default_rng(0)
    rows = np.stack([rng.uniform(0, 10, 50_000), rng.uniform(0, 10, 50_000), rng.integers(0, 2, 50_000)], 1)
    rows = rows.astype(np.float32)
    change = np.abs(forward(child, rows).astype(float) - forward(parent, rows).astype(float))
    assert found.most is not None
    assert found.acts is not None
    assert found.attained <= float(found.most)
    assert change.max() <= float(found.most) <= 1.2 * change.max()
    assert (change != 0).mean() <= float(found.acts.most) + 0.01
    assert found.over == "rows of rows"
    assert found.drift.rows == 4


def test_an_order_that_turned_is_shown(tmp_path: Path) -> None:
    spec = spec_of(rule("r", "s.x >= 8 [m]", "R(s) <= 1"), tmp_path)
    parent = reward()
    child, facts = apply_patch(parent, bound_for(spec, {"R": parent}, "r", PatchOptions()), certified_extremum)
    found = effect(spec, parent, child, [EditReport("r", "R", facts)])
    assert found.example is not None
    assert found.flips
    assert found.ranks
    assert found.pairs == 6
    (a, b), (c, d) = found.example.before, found.example.after
    assert (a - b) * (c - d) < 0
    assert "can change which behaviour" in found.statement["behaviour"]
    assert found.epic is not None
    assert 0 < found.epic < 1
    told = found.to_json()
    assert Fraction(told["most"]) == found.most
    assert told["acts"]["exact"] is True


def test_weights_that_moved_are_not_called_local(tmp_path: Path) -> None:
    spec = spec_of(rule("r", "s.x >= 8 [m]", "R(s) <= 1"), tmp_path)
    parent = reward()
    moved = replace(parent, tensors={**parent.tensors, "b.b": np.array([0.5], np.float32)})
    found = effect(spec, parent, moved, [])
    assert found.acts is None
    assert found.most is None
    assert "weights moved" in found.statement["outside"]
    assert found.flips == 0
    assert found.epic is not None
    assert found.epic < 1e-3
    assert rw.patch(spec, verify_options=OPTIONS, R=parent).artifact is not None
