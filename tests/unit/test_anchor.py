"""A patch's level moves with the reward, or the edit says that it does not and what it stands for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import rewarden as rw
from rewarden.editor.patch import PatchOptions
from rewarden.reward.artifact import Artifact
from tests.unit.test_mend import OPTIONS, reward, spec_of

SHIFT = 3.0
ANCHORED = "must r:\n  forall s: S\n  given s.x >= 5 [m]\n  expect R(s) <= quantile(R(rows), 0.5) + 0.25\n"
LEAST = "must r:\n  forall s: S\n  given s.x >= 5 [m]\n  expect R(s) <= min(R(rows)) + 1\n"
NEAR = "must r:\n  forall s: S near rows within 5 %\n  expect R(s) <= quantile(R(rows), 0.5)\n"
PAIR = "must r:\n  forall a, b: S\n  given a.x <= 2 [m] and b.x >= 8 [m]\n  expect R(a) >= R(b) + 0.5\n"
BETWEEN = "must r:\n  forall s: S\n  given s.x >= 5 [m]\n  expect R(s) <= Q(s)\n"


def shifted(artifact: Artifact) -> Artifact:
    return replace(artifact, tensors={**artifact.tensors, "b.b": artifact.tensors["b.b"] + np.float32(SHIFT)})


@pytest.mark.parametrize(
    ("rules", "method"),
    [
        (ANCHORED, "region"),
        (ANCHORED, "violated"),
        (LEAST, "region"),
        (NEAR, "region"),
        (PAIR, "threshold"),
        (BETWEEN, "levels"),
    ],
)
def test_the_edit_of_a_shifted_reward_is_the_edit_shifted(rules: str, method: str, tmp_path: Path) -> None:
    spec, base = spec_of(rules, tmp_path), reward()
    assert base.identified == "shift"
    other = {"Q": reward(-1.0)} if "Q(" in rules else {}
    moved = {name: shifted(artifact) for name, artifact in other.items()}
    one = rw.patch(spec, PatchOptions(), method=method, verify_options=OPTIONS, R=base, **other)
    two = rw.patch(spec, PatchOptions(), method=method, verify_options=OPTIONS, R=shifted(base), **moved)
    assert one.artifacts.keys() == two.artifacts.keys() != set()
    assert not one.unmended
    for name, a in one.artifacts.items():
        b = two.artifacts[name]
        assert a.edit is not None
        assert any("moves with" in text for key, text in a.edit.statement.items() if key.endswith("anchor"))
        assert len(a.patches) == len(b.patches) > 0
        for p, q in zip(a.patches, b.patches, strict=True):
            assert (p.kind, p.rule) == (q.kind, q.rule)
            for part in ("rows", "offsets", "delta", "gate"):
                np.testing.assert_array_equal(a.tensors[getattr(p, part)], b.tensors[getattr(q, part)])
            assert b.tensors[q.level][0] == pytest.approx(a.tensors[p.level][0] + SHIFT, abs=1e-5)
            assert b.tensors[q.slope][0] == pytest.approx(a.tensors[p.slope][0], rel=1e-4, abs=1e-4)


def test_the_data_constant_is_recorded_with_its_data(tmp_path: Path) -> None:
    spec = spec_of(ANCHORED, tmp_path)
    result = rw.patch(spec, PatchOptions(), verify_options=OPTIONS, R=reward())
    assert result.artifact is not None
    assert result.artifact.edit is not None
    said = result.artifact.edit.statement["r.anchor"]
    assert said.startswith("2.25 follows from quantile(R(rows), 1/2) = 2 (4 rows of rows, sha256:")
    assert spec.rows("rows").digest in said


def test_a_number_on_a_reward_known_up_to_a_shift_says_what_it_stands_for(tmp_path: Path) -> None:
    rules = "must r:\n  forall s: S\n  given s.x >= 5 [m]\n  expect R(s) <= 2.5\n"
    result = rw.patch(spec_of(rules, tmp_path), PatchOptions(), verify_options=OPTIONS, R=reward())
    assert result.artifact is not None
    assert result.artifact.edit is not None
    said = result.artifact.edit.statement["r.anchor"]
    assert "known only up to an added constant" in said
    assert "2 of 4 rows of rows" in said
    assert "quantile(R(rows), 2/4) moves with the reward" in said
    exact = rw.patch(
        spec_of(rules, tmp_path), PatchOptions(), verify_options=OPTIONS, R=replace(reward(), identified="exact")
    )
    assert exact.artifact is not None
    assert exact.artifact.edit is not None
    assert "r.anchor" not in exact.artifact.edit.statement
