"""Mending: what is patched, what is refused and why, and data constants that move with the edit."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import rewarden as rw
from rewarden.editor.mend import Mender, patched_in_rounds
from rewarden.editor.region import bound_of, premise_only
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.exact import evaluate
from rewarden.reward.graph import AffineMap, Graph, Input, Relu
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.spec import parse_spec
from rewarden.verifier.bind import bind_obligation
from rewarden.verifier.extremum import certified_extremum
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.verdict import Reason, RuleResult, Verdict, VerificationResult

HEAD = """spec mend v1
features S {
  x  : real [m] in 0 .. 10
  y  : real [m] in 0 .. 10
  on : bool
}
reward R(s: S)
reward Q(s: S)
data rows: S from "rows.csv"
"""
TYPE = RecordType(
    "S",
    (
        Feature("x", "real", Fraction(0), Fraction(10), "m"),
        Feature("y", "real", Fraction(0), Fraction(10), "m"),
        Feature("on", "bool", Fraction(0), Fraction(1)),
    ),
)
OPTIONS = VerifyOptions(budget=3000, falsify_budget=4000)


def reward(bias: float = 0.0) -> Artifact:
    """x + relu(y − 5) + bias."""
    tensors = {
        "a.w": np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32),
        "a.b": np.array([0, -5], dtype=np.float32),
        "b.w": np.array([[1, 1]], dtype=np.float32),
        "b.b": np.array([bias], dtype=np.float32),
    }
    graph = Graph((Input(), AffineMap(0, "a.w", "a.b"), Relu(1), AffineMap(2, "b.w", "b.b")), 3)
    return Artifact((RewardRecord("s", TYPE),), graph, tensors, "shift")


def spec_of(rules: str, folder: Path, rows: str = "1,1,0\n2,2,0\n3,3,1\n9,9,1\n") -> rw.Spec:  # type: ignore[name-defined]
    (folder / "rows.csv").write_text("x,y,on\n" + rows)
    return parse_spec(HEAD + rules, "mend.rwd", base=folder)


REFUSED = {
    "E02": "must r:\n  forall a, b: S varying x\n  given a.x <= b.x\n  expect R(b) <= R(a)\n",
    "E03": "must r:\n  forall s: S\n  expect R(s) <= s.x / 1 [m]\n",
    "E04": "must r:\n  forall s: S\n  given s.x >= 5 [m]\n  expect R(s with {x = s.x - 1 [m]}) <= 0\n",
    "E12": "must r:\n  forall s: S\n  expect R(s) <= 1\n",
    "E07": "must r:\n  forall s: S\n  given R(s) >= 1\n  expect R(s) <= 0\n",
}


@pytest.mark.parametrize("code", REFUSED)
def test_rules_of_another_shape_are_refused_with_the_reason(code: str, tmp_path: Path) -> None:
    spec = spec_of(REFUSED[code], tmp_path)
    obligation = premise_only(spec.obligation("r"))
    with pytest.raises(EditError) as refusal:
        bound_of(obligation, bind_obligation(spec, obligation, {"R": reward()}), Fraction(1, 20))
    assert refusal.value.code == code
    result = rw.patch(spec, verify_options=OPTIONS, R=reward())
    assert result.artifact is None
    told = refusal.value.message + (f" ({refusal.value.help})" if refusal.value.help else "")
    if code == "E02":  # of records that move together, everywhere: `auto` knows better than a region's reason
        told = result.unmended["r"]
        assert "--method envelope or --method slope" in told
    assert result.unmended == {"r": told}


def test_too_many_polytopes_are_refused(tmp_path: Path) -> None:
    premise = " and ".join(f"(s.x <= {k} [m] or s.y >= {k} [m])" for k in range(1, 8))
    spec = spec_of(f"must r:\n  forall s: S\n  given {premise}\n  expect R(s) <= 1\n", tmp_path)
    obligation = premise_only(spec.obligation("r"))
    with pytest.raises(EditError, match="polytopes"):
        bound_of(obligation, bind_obligation(spec, obligation, {"R": reward()}), Fraction(1, 20))


def test_failing_rules_about_two_rewards_are_not_mixed(tmp_path: Path) -> None:
    rule = "must {0}:\n  forall s: S\n  given s.x >= 5 [m]\n  expect {1}(s) <= 1\n"
    spec = spec_of(rule.format("a", "R") + rule.format("b", "Q"), tmp_path)
    with pytest.raises(EditError) as refusal:
        rw.patch(spec, verify_options=OPTIONS, R=reward(), Q=reward())
    assert refusal.value.code == "E10"
    assert rw.patch(spec, rules=["a"], verify_options=OPTIONS, R=reward(), Q=reward()).reward == "R"


def test_a_should_is_patched_only_when_named(tmp_path: Path) -> None:
    spec = spec_of("should r:\n  forall s: S\n  given s.on\n  expect R(s) <= 3\n", tmp_path)
    assert rw.patch(spec, verify_options=OPTIONS, R=reward()).artifact is None
    assert rw.patch(spec, rules=["r"], verify_options=OPTIONS, R=reward()).after["r"].verdict == "proved"


@pytest.mark.parametrize("share", ["0.25", "0.5", "0.75", "1"])
def test_a_quantile_that_lands_on_the_level_is_still_proved(tmp_path: Path, share: str) -> None:
    """Rows of the data lie in the region: the edit moves them to its level, and the quantile with them."""
    spec = spec_of(
        f"must r:\n  forall s: S\n  given s.x >= 1 [m]\n  expect R(s) <= quantile(R(rows), {share})\n", tmp_path
    )
    result = rw.patch(spec, verify_options=OPTIONS, R=reward())
    assert result.before["r"].verdict == "violated"
    assert result.after["r"].verdict == "proved", result.after["r"].reason
    assert not result.unmended


def test_two_rules_whose_levels_feed_on_each_other(tmp_path: Path) -> None:
    rules = """must low:
  forall s: S
  given s.x >= 2 [m]
  expect R(s) <= quantile(R(rows), 0.25)
must high:
  forall s: S
  given s.y >= 2 [m]
  expect R(s) <= quantile(R(rows), 0.75)
must floor:
  forall s: S
  given s.on and s.x <= 1 [m]
  expect R(s) >= 0.5
"""
    spec = spec_of(rules, tmp_path)
    result = rw.patch(spec, verify_options=OPTIONS, R=reward())
    assert {r.rule: str(r.verdict) for r in result.after.rules} == dict.fromkeys(("low", "high", "floor"), "proved")
    assert result.artifact is not None
    assert result.artifact.parent == reward().digest


def test_a_patch_that_breaks_a_proved_rule_says_so(tmp_path: Path) -> None:
    rules = """must capped:
  forall s: S
  given s.x >= 5 [m]
  expect R(s) <= 1
must generous:
  forall s: S
  given s.x >= 6 [m]
  expect R(s) >= 2
"""
    result = rw.patch(spec_of(rules, tmp_path), verify_options=OPTIONS, R=reward())
    assert result.broken == ("generous",)
    assert result.after["capped"].verdict == "proved"
    (clash,) = result.clashes
    assert "capped asks for at most 1, generous for at least 2" in clash


RINGS = """must cap:
  forall s: S
  given s.x >= 5 [m]
  expect R(s) <= 4
must lift:
  forall s: S
  given s.x <= {edge} [m]
  expect R(s) >= 4.5
"""


@pytest.mark.parametrize("edge", ["4.9", "1"])
def test_the_statement_of_several_patches_claims_no_more_than_is_true(edge: str, tmp_path: Path) -> None:
    """A floor's ring may reach into an earlier ceiling's region; and beyond one rule's ring the other's patch acts."""
    parent = reward()
    child = rw.patch(spec_of(RINGS.format(edge=edge), tmp_path), verify_options=OPTIONS, R=parent).artifact
    assert child is not None
    assert child.edit is not None
    said = child.edit.statement
    rows = [[Fraction(k, 16), y, Fraction(0)] for k in range(161) for y in (Fraction(0), Fraction(10))]
    after = {(x, y): evaluate(child, [x, y, on]) for x, y, on in rows}
    if any(value > 4 for (x, _), value in after.items() if x >= 5):
        assert "cap.fix" not in said
    if any(value < Fraction(9, 2) for (x, _), value in after.items() if x <= Fraction(edge)):
        assert "lift.fix" not in said
    assert "cap.locality" not in said, "the floor of `lift` acts beyond the ring of `cap`"
    assert "lift.locality" not in said
    assert "cap, lift" in said["locality"] or "lift, cap" in said["locality"]
    far = [r for r in rows if Fraction(edge) + Fraction(1, 2) <= r[0] <= Fraction(9, 2)]
    assert all(after[r[0], r[1]] == evaluate(parent, r) for r in far)


def test_a_rule_whose_verification_was_stopped_gets_no_other_round(tmp_path: Path) -> None:
    spec = spec_of("must r:\n  forall s: S\n  given s.x >= 8 [m]\n  expect R(s) <= 1\n", tmp_path)
    asked: list[object] = []

    def verify(rewards: object, rules: object) -> VerificationResult:
        asked.append(rules)
        return VerificationResult(
            (RuleResult(rule="r", severity="must", verdict=Verdict.UNKNOWN, reason=Reason.STOPPED),)
        )

    mender = Mender(verify=verify, extremum=certified_extremum)
    child, reports, after = patched_in_rounds(spec, {"R": reward()}, "R", ["r"], mender)
    assert (len(child.patches), len(reports), asked) == (1, 1, [["r"]])
    assert after["r"].reason == Reason.STOPPED
