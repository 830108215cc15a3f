"""Methods of mending: each does what it says of itself, `auto` picks, `compare` tells them apart."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import rewarden as rw
from rewarden.cli import run as cli
from rewarden.editor.methods.choose import METHODS
from rewarden.editor.methods.threshold import separated
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.graph import AffineMap, Graph, Input, Relu
from rewarden.reward.store import load_artifact, save_artifact
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.spec import parse_spec
from rewarden.verifier.bind import bind_obligation
from rewarden.verifier.options import VerifyOptions

STEP = RecordType(
    "Step",
    (
        Feature("speed", "real", Fraction(0), Fraction(4), "m/s"),
        Feature("gap", "real", Fraction(0), Fraction(10), "m"),
        Feature("close", "bool", Fraction(0), Fraction(1)),
        Feature("lanes", "int", Fraction(1), Fraction(4)),
    ),
)
HEAD = """spec s v1
features Step { speed: real [m/s] in 0 .. 4  gap: real [m] in 0 .. 10  close: bool  lanes: int in 1 .. 4 }
reward R(s: Step)
"""
CAPPED = HEAD + "must capped:\n  forall s: Step\n  given s.gap <= 4 [m]\n  expect R(s) <= 0.5\n"
APART = HEAD + (
    "must safe_pays:\n  forall a, b: Step\n  given a.gap >= 8 [m] and b.gap <= 2 [m] and b.close\n"
    "  expect R(a) >= R(b) + 0.25\n"
)
RISES = HEAD + "must gap_pays:\n  forall a, b: Step varying gap\n  given a.gap >= b.gap\n  expect R(a) >= R(b) - 0.01\n"
QUICK = VerifyOptions(budget=20_000, falsify_budget=4_000)


def network(seed: int = 1, width: int = 6) -> Artifact:
    rng = np.random.default_rng(seed)
    tensors = {
        "a.w": (rng.normal(size=(width, 4)) * np.array([0.4, 0.15, 0.5, 0.3])).astype(np.float32),
        "a.b": (rng.normal(size=width) * 0.5).astype(np.float32),
        "c.w": rng.normal(size=(1, width)).astype(np.float32),
        "c.b": np.zeros(1, np.float32),
    }
    graph = Graph((Input(), AffineMap(0, "a.w", "a.b"), Relu(1), AffineMap(2, "c.w", "c.b")), 3)
    return Artifact((RewardRecord("s", STEP),), graph, tensors, "exact")


def rows(count: int = 4000, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    parts = [rng.uniform(0, 4, count), rng.uniform(0, 10, count), rng.integers(0, 2, count), rng.integers(1, 5, count)]
    return np.stack(parts, axis=1).astype(np.float32)


def mended(text: str, method: str, artifact: Artifact):
    return rw.patch(parse_spec(text), method=method, verify_options=QUICK, R=artifact)


@pytest.mark.parametrize(
    ("text", "method"),
    [(CAPPED, "region"), (CAPPED, "violated"), (APART, "threshold"), (CAPPED, "last-layer"), (RISES, "tuning")],
)
def test_a_method_mends_what_it_is_for(text: str, method: str) -> None:
    artifact = network()
    result = mended(text, method, artifact)
    rule = result.before.rules[0].rule
    assert result.before[rule].verdict == "violated"
    assert result.after[rule].verdict == "proved"
    assert result.artifact is not None
    assert result.artifact.parent == artifact.digest
    assert result.broken == ()
    assert not result.unmended
    assert f"{rule}.fix" in result.artifact.edit.statement or "fix" in result.artifact.edit.statement


def test_a_patch_where_the_rule_fails_has_a_smaller_rim() -> None:
    artifact, x = network(), rows(20_000)
    before = forward(artifact, x)
    whole, part = (forward(mended(CAPPED, m, artifact).artifact, x) for m in ("region", "violated"))
    inside = x[:, 1] <= 4
    fine = inside & (before <= 0.5)
    assert before[fine].tobytes() == whole[fine].tobytes() == part[fine].tobytes()
    assert (whole[inside] <= 0.5).all()
    assert (part[inside] <= 0.5).all()
    rim = ~inside
    assert ((part != before) & rim).sum() <= ((whole != before) & rim).sum()
    beyond = x[:, 1] >= 4.5
    assert before[beyond].tobytes() == part[beyond].tobytes()


@pytest.mark.parametrize("seed", range(4))
def test_a_threshold_separates_two_regions_and_touches_nothing_else(seed: int) -> None:
    artifact, x = network(seed), rows(6000, seed)
    result = mended(APART, "threshold", artifact)
    if result.artifact is None:  # this network was fine
        assert result.before["safe_pays"].verdict == "proved"
        return
    values, old = forward(result.artifact, x), forward(artifact, x)
    better, worse = x[:, 1] >= 8, (x[:, 1] <= 2) & (x[:, 2] == 1)
    assert values[better].min() >= np.float64(values[worse].max()) + 0.25
    beyond = (x[:, 1] <= 7.5) & ((x[:, 1] >= 2.5) | (x[:, 2] == 0))
    assert values[beyond].tobytes() == old[beyond].tobytes()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("forall a, b: Step\n  given a.gap >= b.gap\n  expect R(a) >= R(b)", "coupled"),
        ("forall a, b: Step varying gap\n  expect R(a) >= R(b)", "coupled"),
        ("forall a, b: Step\n  expect R(a) + R(b) >= 0", "does not say"),
        ("forall s: Step\n  expect R(s) >= 0", "does not say"),
    ],
)
def test_rules_of_another_form_have_no_threshold(rule: str, message: str) -> None:
    spec = parse_spec(HEAD + f"must other:\n  {rule}\n")
    claim = bind_obligation(spec, spec.obligation("other"), {"R": network()})
    with pytest.raises(EditError, match=message):
        separated(claim, "other", "R", Fraction(1, 20))


def test_auto_takes_what_is_local_and_says_what_it_leaves() -> None:
    artifact = network()
    assert len(mended(CAPPED, "auto", artifact).artifact.patches) == 1
    assert len(mended(APART, "auto", artifact).artifact.patches) == 2
    left = mended(RISES, "auto", artifact)
    assert left.artifact is None
    assert "relates several rewards or records" in left.unmended["gap_pays"]
    both = mended(CAPPED + APART.removeprefix(HEAD).replace("a.gap >= 8", "a.gap >= 9"), "auto", artifact)
    assert [r.verdict for r in both.after.rules] == ["proved", "proved"]
    assert len(both.artifact.patches) == 3


def test_patches_stay_on_top_of_tuned_weights() -> None:
    capped = mended(CAPPED, "region", network()).artifact
    result = mended(RISES, "tuning", capped)
    assert len(result.artifact.patches) == 1
    assert result.after["gap_pays"].verdict == "proved"


def test_an_unknown_method_and_a_rule_that_does_not_fit_are_refused() -> None:
    with pytest.raises(EditError) as caught:
        mended(CAPPED, "wishing", network())
    assert caught.value.code == "E15"
    with pytest.raises(EditError) as caught:
        mended(RISES, "region", network())
    assert caught.value.code == "E02"


def test_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_artifact(network(), tmp_path / "r")
    (tmp_path / "s.rwd").write_text(CAPPED)
    arguments = ["patch", str(tmp_path / "s.rwd"), "--reward", str(tmp_path / "r"), "-q"]
    assert cli([*arguments, "--compare", "--json", str(tmp_path / "c.json")]) == 0
    told = {m["method"]: m for m in json.loads((tmp_path / "c.json").read_text())["methods"]}
    assert set(told) == set(METHODS)
    assert told["threshold"]["declined"]
    assert told["region"]["proved"] == told["violated"]["proved"] == ["capped"]
    assert told["violated"]["drift"]["changed"] <= told["region"]["drift"]["changed"]
    assert "not here" in capsys.readouterr().out
    assert cli(arguments) == 2  # no folder
    assert cli([*arguments, "--method", "violated", "-o", str(tmp_path / "out")]) == 0
    child = load_artifact(tmp_path / "out")
    assert child.parent == load_artifact(tmp_path / "r").digest
    assert replace(child, parent=None).patches
