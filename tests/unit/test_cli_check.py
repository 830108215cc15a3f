"""`rewarden check`: what it prints, its exit statuses, its JSON; and `rewarden explain`."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from rewarden.cli import run
from rewarden.codes import explanations
from tests.reference.sanity_specs import HEAD, write_data

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs" / "schemas" / "check.schema.json").read_text())

FINE = """
must calm:
  forall s: Step
  given close(s) and s.lifts <= 3
  expect R(s) <= quantile(R(logs), 0.5) + eps
must kept: forall s: Step expect R(s) == Base(s)
should ordered: forall p in pairs expect R(p.better) >= R(p.worse)
must unpaid: cycle t: Step via move expect sum(R(t)) <= 0
example of calm:
  covers s = {busy = true, gap = 0.4 [m], lifts = 0}
"""
VACUOUS = "must never: forall s: Step given s.speed > 3 [m/s] expect R(s) <= 1\n"
CLASH = """
must a: forall s: Step given close(s) expect R(s) <= 0
must b: forall s: Step given s.zone == dock expect R(s) >= 1
"""
WARNED = "must a: forall s: Step given close(s) expect R(s) <= 0\n"


def spec(folder: Path, rules: str, name: str = "depot.rwd") -> str:
    write_data(folder)
    (folder / name).write_text(HEAD + rules)
    return str(folder / name)


def outcome(folder: Path, *arguments: str) -> dict:
    """The JSON of a check, which has to fit the schema."""
    file = folder / "check.json"
    run(["check", *arguments, "--json", str(file)])
    found = json.loads(file.read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    return found


@pytest.mark.parametrize(
    "rules, status",
    [(FINE, 0), (WARNED, 0), (VACUOUS, 1), (CLASH, 1), ("must a: forall s: Step expect R(s) <= 1 [m]\n", 2)],
)
def test_exit_statuses(tmp_path: Path, rules: str, status: int) -> None:
    assert run(["check", spec(tmp_path, rules)]) == status
    assert run(["check", spec(tmp_path, rules), "--quiet"]) == status


def test_the_worst_of_several_specs_counts(tmp_path: Path) -> None:
    one, other = spec(tmp_path, FINE, "one.rwd"), spec(tmp_path, VACUOUS, "other.rwd")
    assert run(["check", one, other]) == 1
    assert run(["check", one, str(tmp_path / "missing.rwd"), other]) == 2


def test_a_spec_in_order_is_told_in_a_line_for_each_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", spec(tmp_path, FINE)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    head, *rest = out.splitlines()
    assert head.endswith("depot.rwd: 4 rules (3 must), 1 example: nothing to object to")
    assert [" ".join(line.split()) for line in rest] == [
        "must calm box bounds, z3",
        "must kept box bounds, z3",
        "should ordered data rows",
        "must unpaid trace loops",
        "data logs: 4 rows, every one in range",
        "data pairs: 2 rows, every one in range",
        "the must rules do not clash: R = 0, Base = 0 everywhere satisfies all of them",
    ]


def test_the_expression_that_makes_a_rule_linear_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["check", spec(tmp_path, "must a: forall s, t: Step given s.gap <= t.gap expect R(s) <= R(t) + 3\n")])
    assert "must  a  linear  bounds, z3  by `s.gap <= t.gap`" in capsys.readouterr().out


def test_quiet_says_nothing_of_a_spec_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["check", spec(tmp_path, FINE), "--quiet"])
    assert capsys.readouterr() == ("", "")
    run(["check", spec(tmp_path, VACUOUS), "--quiet"])
    out = capsys.readouterr().out
    assert "error[S01]: nothing satisfies the premise of never" in out
    assert out.splitlines()[-1].endswith("1 rule (1 must): 1 error and 7 warnings")


def test_findings_are_results_and_errors_are_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["check", spec(tmp_path, CLASH)])
    out, err = capsys.readouterr()
    assert err == ""
    assert "error[S03]: no reward can satisfy a and b together" in out
    assert "--> depot.rwd:" in out
    run(["check", spec(tmp_path, "must a: forall s: Step expect R(s) <= speed\n")])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error[N01]")


def test_paths_of_a_configuration_are_shown_as_one_would_type_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rules").mkdir()
    spec(tmp_path / "rules", FINE)
    (tmp_path / "rewarden.toml").write_text('specs = ["rules/depot.rwd"]\n')
    monkeypatch.chdir(tmp_path)
    assert run(["check"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("rules/depot.rwd: ")
    assert str(tmp_path) not in out
    assert outcome(tmp_path)["specs"][0]["spec"] == "rules/depot.rwd"


def test_params_and_allowed_folders_reach_the_spec(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "own").mkdir()
    words = "spec words v1\nfeatures S { x: real in 0 .. 1 y: bool }\nparam top: real = 0.5\nreward R(s: S)\n"
    (tmp_path / "shared" / "words.rwd").write_text(words)
    text = 'spec own v1\nuse "../shared/words.rwd" as w\nparam limit: real = 0.5\n'
    own = tmp_path / "own" / "own.rwd"
    own.write_text(text + "must a: forall s: w.S given s.x > limit and s.y expect w.R(s) <= w.top\n")
    assert run(["check", str(own)]) == 2
    assert run(["check", str(own), "--allow-path", str(tmp_path / "shared")]) == 0
    assert run(["check", str(own), "--allow-path", str(tmp_path / "shared"), "--param", "limit=1"]) == 1


# ── JSON ───────────────────────────────────────────────────────────────────────────────────────
def test_the_json_of_a_clash(tmp_path: Path) -> None:
    (one,) = outcome(tmp_path, spec(tmp_path, CLASH))["specs"]
    assert one["status"] == 1
    assert one["must_rules"] == {"clash": "yes", "satisfied_by": None}
    (clash,) = [finding for finding in one["findings"] if finding["code"] == "S03"]
    assert clash["rules"] == ["a", "b"]
    assert [(place["file"], place["says"]) for place in clash["places"]] == [
        ("depot.rwd", "asks R(s) <= 0"),
        ("depot.rwd", "asks R(s) >= 1"),
    ]
    (record,) = clash["records"]
    assert record["values"] == {"gap": 0.0, "speed": 0.0, "lifts": 0, "busy": True, "zone": "dock"}
    assert record["exact"] == {"gap": "0", "speed": "0", "lifts": "0", "busy": True, "zone": "dock"}


def test_the_json_of_a_spec_in_order(tmp_path: Path) -> None:
    (one,) = outcome(tmp_path, spec(tmp_path, FINE))["specs"]
    assert one["findings"] == []
    by = {"values": {"R": "0", "Base": "0"}, "raised": True, "steps": []}
    assert one["must_rules"] == {"clash": "no", "satisfied_by": by}
    assert one["data"] == [{"name": "logs", "rows": 4}, {"name": "pairs", "rows": 2}]
    unpaid = one["rules"][3]
    assert (unpaid["kind"], unpaid["class"], unpaid["engines"]) == ("cycle", "trace", ["loops"])
    assert unpaid["because"] == "cycle t: Step via move"
    assert unpaid["no_engine"] is None
    assert one["rules"][0]["identified"] == {"shift": True, "factor": False}


@pytest.mark.parametrize(
    "rules, code",
    [("must a: forall s: Step expect R(s) <= speed\n", "N01"), ("must a: forall s: Step near lost", "P01")],
)
def test_the_json_of_a_spec_that_cannot_be_used(tmp_path: Path, rules: str, code: str) -> None:
    (one,) = outcome(tmp_path, spec(tmp_path, rules))["specs"]
    assert (one["status"], one["digest"], one["rules"]) == (2, None, [])
    assert one["findings"][0]["code"] == code
    assert one["findings"][0]["places"][0]["file"] == "depot.rwd"


def test_the_json_of_data_that_cannot_be_used(tmp_path: Path) -> None:
    path = spec(tmp_path, FINE)
    (tmp_path / "logs.csv").write_text("gap,speed,lifts,busy,zone\n99,1,0,true,aisle\n")
    (one,) = outcome(tmp_path, path)["specs"]
    assert one["status"] == 2
    assert [finding["code"] for finding in one["findings"]] == ["D06"]


def test_all_that_is_wrong_with_the_data_is_said_at_once_at_its_declaration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = spec(tmp_path, FINE)
    (tmp_path / "logs.csv").write_text("gap,speed,lifts,busy,zone\n99,1,0,true,attic\n")
    (tmp_path / "pairs.csv").unlink()
    (one,) = outcome(tmp_path, path)["specs"]
    assert [finding["code"] for finding in one["findings"]] == ["D06", "D07", "D01"]
    lines = [finding["places"][0]["line"] for finding in one["findings"]]
    text = (HEAD + FINE).split("\n")
    assert [text[line - 1].split(":")[0].split() for line in lines] == [
        ["data", "logs"],
        ["data", "logs"],
        ["data", "pairs"],
    ]
    assert capsys.readouterr().err.count("^^^^") >= 3


def test_the_json_is_the_same_every_time(tmp_path: Path) -> None:
    path = spec(tmp_path, CLASH + VACUOUS)
    outcome(tmp_path, path)
    first = (tmp_path / "check.json").read_bytes()
    outcome(tmp_path, path)
    assert (tmp_path / "check.json").read_bytes() == first


def test_a_dash_is_standard_output_and_nothing_else_is_written_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = spec(tmp_path, CLASH)
    assert run(["check", path, "no.rwd", "--json", "-"]) == 2
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert [one["status"] for one in found["specs"]] == [1, 2]
    assert "no.rwd" in told.err
    assert not Path("-").exists()


@pytest.mark.parametrize("command", ["verify", "falsify"])
def test_a_dash_is_refused_where_the_result_is_told_in_words(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "no.rwd", "--json", "-"]) == 2
    assert "name a file, as in --json result.json" in " ".join(capsys.readouterr().err.split())
    assert not Path("-").exists()


# ── usage ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "arguments, code",
    [
        (["--json", "no/such/folder/check.json"], "G61"),
        (["--compare"], "G62"),
        (["--rule", "calm"], "G63"),
        (["--identified", "roughly"], "G64"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, arguments: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", spec(tmp_path, FINE), *arguments]) == 2
    assert f"error[{code}]" in capsys.readouterr().err
    assert not Path("no").exists()


def test_how_far_rewards_are_known_is_a_matter_of_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = spec(tmp_path, WARNED)
    run(["check", path])
    assert "S12" not in capsys.readouterr().out
    assert run(["check", path, "--identified", "shift"]) == 0
    assert "warning[S12]: a constant added to R could change whether a holds" in capsys.readouterr().out


def test_two_specs_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = spec(tmp_path, "must a: forall s: Step expect R(s) <= 0\n", "old.rwd")
    new = spec(tmp_path, "must a: forall s: Step expect R(s) <= 1\n", "new.rwd")
    assert run(["check", old, old, "--compare"]) == 0
    assert run(["check", old, new, "--compare"]) == 1
    assert "a" in capsys.readouterr().out


def test_rules_are_written_as_smt_lib(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = spec(tmp_path, FINE)
    assert run(["check", path, "--smt2", str(tmp_path / "out"), "--rule", "calm"]) == 0
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["calm.smt2"]
    assert run(["check", path, path, "--smt2", str(tmp_path / "out")]) == 2
    assert "error[G63]" in capsys.readouterr().err


# ── explain ────────────────────────────────────────────────────────────────────────────────────
def test_all_codes_are_listed_by_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("  ")]
    assert sorted(listed) == sorted(explanations())
    assert len(listed) == len(set(listed))
    assert "S: the spec as a whole" in lines
    assert not any(line.endswith(": others") for line in lines)
