"""Candidate rules about rewards whose structure is known: the right ones, with the right figures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rewarden import api
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import AffineMap, Graph, Input
from rewarden.spec_lang import Spec, load_spec, parse_spec
from rewarden.spec_lang.errors import BindingError, UsageError
from rewarden.suggest.drafting import Suggested, suggest
from rewarden.suggest.text import Suggestion
from tests.reference.suggesting import FEATURES, linear, network, project

WEIGHTS = {"up": 1.0, "down": -2.0, "flag": -3.0, "kind=green": 4.0}


def by_name(found: Suggested) -> dict[str, Suggestion]:
    return {rule.candidate.name: rule for rule in found.rules}


def parsed(found: Suggested, spec: Spec) -> Spec:
    return parse_spec(found.text, base=spec.base)


@pytest.fixture(scope="module")
def of_linear(tmp_path_factory: pytest.TempPathFactory) -> tuple[Spec, Artifact, Suggested]:
    spec = project(tmp_path_factory.mktemp("linear"))
    artifact = linear(spec, WEIGHTS)
    return spec, artifact, suggest(spec, {"R": artifact})


def test_directions_of_a_linear_reward(of_linear: tuple[Spec, Artifact, Suggested]) -> None:
    rules = by_name(of_linear[2])
    expected = {
        "rises_with_up": ("a.up <= b.up", "R(a) <= R(b)"),
        "falls_with_down": ("a.down <= b.down", "R(a) >= R(b)"),
    }
    for name, (given, expect) in expected.items():
        assert (rules[name].candidate.given, rules[name].candidate.expect) == (given, expect)
    assert rules["falls_with_flag"].candidate.given == "not a.flag and b.flag"
    for name in (*expected, "falls_with_flag"):
        assert rules[name].on_rows.everywhere
        assert rules[name].on_points.everywhere
        assert rules[name].verdict == "proved"


def test_a_feature_that_is_not_read_is_irrelevant(of_linear: tuple[Spec, Artifact, Suggested]) -> None:
    rules = by_name(of_linear[2])
    assert {name for name in rules if "ignores" in name} == {"ignores_idle"}
    assert "moved R by 0 at most" in rules["ignores_idle"].candidate.remarks[0]
    assert rules["ignores_idle"].verdict == "proved"


def test_bounds_are_certified(of_linear: tuple[Spec, Artifact, Suggested]) -> None:
    rule = by_name(of_linear[2])["bounded"]
    found = re.fullmatch(r"(\S+) <= R\(s\) <= (\S+)", rule.candidate.expect)
    assert found is not None
    low, high = map(float, found.groups())
    assert -12 <= low <= -11
    assert 14 <= high <= 15
    assert rule.verdict == "proved"


def test_what_is_called_proved_is_proved_in_the_written_file(of_linear: tuple[Spec, Artifact, Suggested]) -> None:
    spec, artifact, found = of_linear
    claimed = [name for name, rule in by_name(found).items() if rule.verdict == "proved"]
    result = api.verify(parsed(found, spec), rules=claimed, R=artifact)
    assert [str(rule.verdict) for rule in result] == ["proved"] * len(claimed)
    assert len(claimed) >= 5


def test_every_suggestion_is_a_should_with_figures_above_it(of_linear: tuple[Spec, Artifact, Suggested]) -> None:
    spec, _, found = of_linear
    rules = parsed(found, spec).rules
    assert [rule.name for rule in rules] == list(by_name(found))
    assert {rule.severity for rule in rules} == {"should"}
    for block in found.text.split("\n\n"):
        if "\nshould " in block:
            assert block.startswith("# ")
            assert re.search(r"holds on \d+ of \d+ \(", block)
            assert re.search(r"proved|violated|verifier", block)


def test_a_run_is_repeated_to_the_byte(of_linear: tuple[Spec, Artifact, Suggested]) -> None:
    spec, artifact, found = of_linear
    assert suggest(spec, {"R": artifact}).text == found.text


# ── conditions ─────────────────────────────────────────────────────────────────────────────────
def test_a_direction_that_holds_for_a_case_only(tmp_path: Path) -> None:
    spec = project(tmp_path)
    # with the flag up, without it −up
    reward = network(spec, [({"up": 1, "flag": 20}, -20), ({"up": 1, "flag": -20}, 0)], [1, -1])
    rules = by_name(suggest(spec, {"R": reward}))
    (rule,) = [rule for name, rule in rules.items() if "with_up" in name]
    assert rule.candidate.name in ("rises_with_up_where_flag", "falls_with_up_where_flag")
    assert rule.candidate.given in ("a.up <= b.up and a.flag", "a.up <= b.up and not a.flag")
    assert rule.on_points.everywhere
    assert rule.verdict == "proved"


def test_a_direction_that_turns_is_suggested_up_to_the_turn(tmp_path: Path) -> None:
    spec = project(tmp_path)
    reward = network(spec, [({"up": 1}, 0), ({"up": 1}, -7)], [1, -3])  # rises to 7, then falls twice as fast
    rule = by_name(suggest(spec, {"R": reward}))["rises_with_up_in_part"]
    assert rule.candidate.given == "a.up <= b.up and b.up <= 6.2 [m]"
    assert rule.verdict == "proved"


def test_a_direction_with_exceptions_is_told_with_its_share_and_its_slack(tmp_path: Path) -> None:
    spec = project(tmp_path)
    reward = network(spec, [({"up": 1}, 0), ({"up": 1}, -9.5)], [1, -1.5])  # falls by 0.25 on the last half metre
    found = suggest(spec, {"R": reward})
    rule = by_name(found)["rises_with_up"]
    assert rule.on_rows.everywhere  # every step of the sweep is longer than that
    assert 0 < rule.on_points.held < rule.on_points.count
    assert rule.verdict == "violated"
    block = next(block for block in found.text.split("\n\n") if "rises_with_up" in block)
    assert f"holds on {rule.on_points.held} of {rule.on_points.count}" in block
    slack = re.search(r"loosened, it holds there: expect R\(a\) <= R\(b\) \+ (\S+)", block)
    assert slack is not None
    assert 0 < float(slack[1]) <= 0.26


def test_what_no_engine_decides_is_said(tmp_path: Path) -> None:
    spec = project(tmp_path, more="assume s: Step = s.idle * s.idle <= 1", rows=60)
    found = suggest(spec, {"R": linear(spec, WEIGHTS)})
    assert {rule.verdict for rule in found.rules} == {"no engine"}
    assert "no engine for this rule" in found.text


# ── caps ───────────────────────────────────────────────────────────────────────────────────────
def test_incidents_are_capped_where_they_lie(of_linear: tuple[Spec, Artifact, Suggested]) -> None:
    spec, artifact, found = of_linear
    rules = by_name(found)
    near = rules["capped_near_crashes"].candidate
    assert near.quantifier == "forall x: Step near crashes within 1 %"
    assert re.fullmatch(r"R\(x\) <= quantile\(R\(logs\), 0\.\d+\)", near.expect)
    region = rules["capped_where_down"].candidate
    assert region.given is not None
    threshold = float(region.given.removeprefix("s.down >= ").removesuffix(" [m/s]"))
    assert 3.0 <= threshold <= 3.5
    scores = artifact.score(spec.table("crashes"))
    level = float(near.expect.rpartition(" ")[2].rstrip(")"))
    cap = np.sort(artifact.score(spec.table("logs")))[int(np.ceil(level * 400)) - 1]
    assert rules["capped_near_crashes"].on_rows.held == int((scores <= cap).sum())
    assert rules["capped_near_crashes"].on_rows.count == len(scores)


def test_without_other_data_the_incidents_compare_with_themselves(tmp_path: Path) -> None:
    spec = project(tmp_path)
    found = suggest(spec, {"R": linear(spec, WEIGHTS)}, data=("crashes",))
    assert by_name(found)["capped_near_crashes"].candidate.expect == "R(x) <= quantile(R(crashes), 0.9)"


def test_incidents_can_be_named(tmp_path: Path) -> None:
    spec = project(tmp_path)
    found = suggest(spec, {"R": linear(spec, WEIGHTS)}, incidents=("logs",))
    assert "capped_near_logs" in by_name(found)
    assert "capped_near_crashes" not in by_name(found)


# ── several rewards, other records, odd names ──────────────────────────────────────────────────
def test_two_rewards_share_the_list(tmp_path: Path) -> None:
    spec = project(tmp_path, more="reward D(s: Step)\nreward Same(s: Step)")
    one, other = linear(spec, {"up": 1.0}), linear(spec, {"down": -1.0})
    found = suggest(spec, {"R": one, "D": other, "Same": one})
    names = list(by_name(found))
    assert "R_rises_with_up" in names
    assert "D_falls_with_down" in names
    assert not any(name.startswith("Same") for name in names)
    assert any("Same is the same artifact as R" in note for note in found.notes)
    assert len(names) <= 12


def test_names_that_are_taken_are_not_used_again(tmp_path: Path) -> None:
    taken = "param a: real = 1\nparam s: real = 1\nparam x: real = 1\n"
    taken += "should rises_with_up:\n  forall q: Step\n  expect R(q) <= 99"
    spec = project(tmp_path, more=taken)
    found = suggest(spec, {"R": linear(spec, WEIGHTS)})
    assert "rises_with_up_2" in by_name(found)
    assert "a_.up <= b.up" in found.text
    assert parsed(found, spec).params["a"].value == 1


def test_a_reward_of_several_records_gets_bounds(tmp_path: Path) -> None:
    text = "spec moves v1\nfeatures S { x: real in 0 .. 2 }\nfeatures A { u: real in -1 .. 1 }\nreward R(s: S, a: A)\n"
    (tmp_path / "moves.rwd").write_text(text)
    spec = load_spec(tmp_path / "moves.rwd")
    records = (RewardRecord("s", spec.features["S"]), RewardRecord("a", spec.features["A"]))
    tensors = {"w": np.array([[1.0, 3.0]], np.float32), "b": np.zeros(1, np.float32)}
    artifact = Artifact(records, Graph((Input(), AffineMap(0, "w", "b")), 1), tensors, "exact")
    rules = by_name(suggest(spec, {"R": artifact}))
    assert list(rules) == ["bounded"]
    assert rules["bounded"].candidate.quantifier == "forall s1: S, s2: A"
    assert rules["bounded"].verdict == "proved"


def test_a_reward_known_up_to_a_shift_is_compared_with_itself(tmp_path: Path) -> None:
    spec = project(tmp_path)
    found = suggest(spec, {"R": linear(spec, WEIGHTS, "shift")})
    rule = by_name(found)["not_far_above_logs"]
    assert rule.candidate.expect.startswith("R(s) <= max(R(logs)) + ")
    assert rule.verdict == "proved"
    assert all(not s.warnings for s in found.rules)


def test_assumptions_of_the_spec_are_kept_and_obeyed(tmp_path: Path) -> None:
    spec = project(tmp_path, more="assume s: Step = s.up + 2 [s] * s.down <= 18 [m]")
    found = suggest(spec, {"R": linear(spec, WEIGHTS)})
    assert "assume s: Step = s.up + 2 [s] * s.down <= 18 [m]" in found.text.splitlines()
    assert by_name(found)["rises_with_up"].verdict == "proved"


def test_a_constant_reward_has_bounds_and_nothing_else(tmp_path: Path) -> None:
    spec = project(tmp_path)
    found = suggest(spec, {"R": linear(spec, {})})
    assert list(by_name(found)) == ["bounded"]


def test_many_idle_features_share_a_rule(tmp_path: Path) -> None:
    names = [f"f{k}" for k in range(60)]
    generator = np.random.default_rng(1)
    pq.write_table(pa.table({name: generator.uniform(-1, 1, 120) for name in names}), tmp_path / "logs.parquet")
    features = "\n".join(f"  {name} : real in -1 .. 1" for name in names)
    text = f'spec wide v1\nfeatures Step {{\n{features}\n}}\nreward R(s: Step)\ndata logs: Step from "logs.parquet"\n'
    (tmp_path / "wide.rwd").write_text(text)
    spec = load_spec(tmp_path / "wide.rwd")
    found = suggest(spec, {"R": linear(spec, {"f3": 1.0, "f50": -1.0})})
    rules = by_name(found)
    assert {"rises_with_f3", "falls_with_f50", "ignores_58_features"} <= set(rules)
    assert rules["ignores_58_features"].verdict == "proved"
    assert found.assumptions == ()  # the columns have nothing to do with each other


@pytest.mark.parametrize("rows", [1, 2])
def test_next_to_no_data(tmp_path: Path, rows: int) -> None:
    spec = project(tmp_path, rows=rows)
    found = suggest(spec, {"R": linear(spec, WEIGHTS)})
    assert "rises_with_up" in by_name(found)


def test_without_data_the_domain_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "bare.rwd").write_text(f"spec bare v1\n{FEATURES}\nreward R(s: Step)\n")
    spec = load_spec(tmp_path / "bare.rwd")
    found = suggest(spec, {"R": linear(spec, WEIGHTS)})
    assert {"rises_with_up", "ignores_idle", "bounded"} <= set(by_name(found))
    assert all(rule.on_rows.count == 0 for rule in found.rules)


def test_what_cannot_be_asked(tmp_path: Path) -> None:
    spec = project(tmp_path)
    reward = linear(spec, WEIGHTS)
    with pytest.raises(UsageError, match="G22"):
        suggest(spec, {"R": reward}, data=("nothing",))
    with pytest.raises(UsageError, match="G22"):
        suggest(spec, {"R": reward}, incidents=("nothing",))
    with pytest.raises(BindingError, match="B33"):
        suggest(spec, {"Q": reward})
    (tmp_path / "bare.rwd").write_text(f"spec bare v1\n{FEATURES}\nreward R(s: Step)\n")
    with pytest.raises(UsageError, match="G88"):
        suggest(load_spec(tmp_path / "bare.rwd"), {})
