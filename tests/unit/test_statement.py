"""What an edit of several parts says is so of all of them together."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import rewarden as rw
from rewarden.editor.history.chain import Chain
from rewarden.editor.history.revert import revert
from rewarden.editor.history.stored import all_stored, rebuilt
from rewarden.editor.statement import LATER, RIMS, of_several, with_rims
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.graph import AffineMap, Graph, Input
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.spec import parse_spec
from rewarden.verifier.extremum import certified_extremum
from rewarden.verifier.options import VerifyOptions
from tests.reference.random_graphs import random_mlp

OPTIONS = VerifyOptions(budget=300, falsify_budget=300)
KIND = RecordType("S", tuple(Feature(name, "real", Fraction(0), Fraction(10)) for name in "xy"))
HEAD = "spec m v1\nfeatures S {\n  x : real in 0 .. 10\n  y : real in 0 .. 10\n}\nreward R(s: S)\n"
LOW = "must low:\n  forall s: S\n  given s.y <= 3\n  expect R(s) <= 15\n"
HIGH = "must high:\n  forall s: S\n  given s.y >= 7\n  expect R(s) <= 16\n"
FALLS = "must falls:\n  forall a, b: S varying x\n  given a.x <= b.x and a.y <= 3\n  expect R(a) >= R(b)\n"


def reward() -> Artifact:
    """x + y + 5."""
    tensors = {"w": np.ones((1, 2), np.float32), "b": np.array([5], np.float32)}
    return Artifact((RewardRecord("s", KIND),), Graph((Input(), AffineMap(0, "w", "b")), 1), tensors, "exact")


@pytest.mark.parametrize(
    ("rules", "method"),
    [(LOW + HIGH, "region"), (LOW + HIGH, "violated"), (FALLS + HIGH, "auto")],
)
def test_beyond_the_rim_of_one_part_another_may_act(rules: str, method: str) -> None:
    parent = reward()
    result = rw.patch(parse_spec(HEAD + rules), verify_options=OPTIONS, method=method, R=parent)
    assert result.artifact is not None
    assert not result.unmended
    rows = np.random.default_rng(0).uniform(0, 10, (4000, 2)).astype(np.float32)
    moved = forward(parent, rows) != forward(result.artifact, rows)
    for side in (rows[:, 1] > 3.6, rows[:, 1] < 6.4):  # beyond the rim of the one, and of the other
        assert moved[side].any()
    assert result.artifact.edit is not None
    said = result.artifact.edit.statement
    assert [key for key in said if key.endswith("locality")] == ["locality"]
    assert all(rule.rule in said["locality"] for rule in result.after.rules)
    beyond = (rows[:, 1] > 3.6) & (rows[:, 1] < 6.4)
    assert not moved[beyond].any()


def test_what_an_earlier_part_has_fixed_a_later_one_may_move() -> None:
    said = {"a.fix": "R is low", "a.locality": "beyond a's ring …", "b.fix": "R is high", "b.locality": "beyond b's …"}
    found = of_several(said, ["a", "b"])
    assert found["a.fix"] == "R is low" + LATER
    assert found["b.fix"] == "R is high"
    assert "a, b" in found["locality"]
    again = of_several({f"patch: {key}": text for key, text in found.items()} | {"slope: c.fix": "R falls"}, "abc")
    assert again["patch: a.fix"] == "R is low" + LATER
    assert again["patch: b.fix"] == "R is high" + LATER
    assert [key for key in again if "locality" in key] == ["locality"]
    alone = {"fix": "R is low", "locality": "beyond the ring …"}
    assert of_several(alone, ["a"]) == alone
    everywhere = of_several(said | {"b.locality": "none: the rule speaks of all records"}, ["a", "b"])
    assert everywhere["locality"].startswith("none")


@pytest.mark.parametrize(("method", "relation"), [("slope", "<="), ("envelope", ">=")])
def test_a_correction_leaves_the_rims_of_earlier_patches_as_they_are_or_says_so(method: str, relation: str) -> None:
    """Beneath a patch elsewhere the reward is what it was: no reason for another slope, by whatever a bound is off."""
    parent = replace(random_mlp(np.random.default_rng(2), KIND, (4, 4)), records=(RewardRecord("s", KIND),))
    rows = np.random.default_rng(0).uniform(0, 10, (20_000, 2)).astype(np.float32)
    level = np.quantile(forward(parent, rows[rows[:, 1] >= 8]), 0.3 if relation == "<=" else 0.7)
    cap = f"must cap:\n  forall s: S\n  given s.y >= 8\n  expect R(s) {relation} {level:.6f}\n"
    patched = rw.patch(parse_spec(HEAD + cap), verify_options=OPTIONS, R=parent).artifact
    assert patched is not None
    result = rw.patch(parse_spec(HEAD + FALLS), verify_options=OPTIONS, method=method, R=patched)
    child = result.artifact
    assert child is not None
    assert child.edit is not None
    assert all_stored(child)[0].same(all_stored(patched)[0])
    assert not child.edit.statement["falls.locality"].endswith(RIMS)
    beyond = rows[:, 1] >= 3.51
    old, new = (forward(artifact, rows[beyond]).view(np.uint32) for artifact in (patched, child))
    assert np.array_equal(old, new)
    steeper = replace(all_stored(patched)[0], slope=all_stored(patched)[0].slope * 2)
    said = with_rims({"falls.locality": "beyond", "fix": "fixed"}, rebuilt(child, [steeper]), patched)
    assert said == {"falls.locality": "beyond" + RIMS, "fix": "fixed"}


def test_what_was_proved_beside_a_patch_is_not_promised_of_another_reward_below() -> None:
    """`wide` is laid where `low` had not made it true; without `low` it fails there."""
    parent = reward()
    wide = LOW.replace("low", "wide").replace("<= 15", "<= 16").replace("s.y <= 3", "s.y <= 6")
    line = [parent]
    for rules, method in ((LOW, "region"), (wide, "violated")):
        found = rw.patch(parse_spec(HEAD + rules), verify_options=OPTIONS, method=method, R=line[-1]).artifact
        assert found is not None
        line.append(found)
    assert line[-1].edit is not None
    assert "was proved of the reward" in line[-1].edit.statement["wide.elsewhere"]
    done = revert(Chain.of(line[::-1]), 1, certified_extremum).artifact
    assert done.edit is not None
    assert rw.verify(parse_spec(HEAD + wide), OPTIONS, R=done)["wide"].verdict == "violated"
    assert "wide.fix" in done.edit.statement
    assert not [text for text in done.edit.statement.values() if "it was proved" in text or "was proved of" in text]
