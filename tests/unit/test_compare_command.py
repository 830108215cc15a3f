"""`rewarden check OLD NEW --compare`: exit status, text for a reviewer, JSON that fits its schema."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from rewarden.cli import run
from rewarden.commands.compare import run_compare
from rewarden.spec_lang.errors import UsageError
from tests.reference.language_page import WAREHOUSE

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schemas" / "compare.schema.json"
SAFER = WAREHOUSE.replace("s.speed > v_safe\n", "s.speed >= v_safe\n")
WEAKER = WAREHOUSE.replace("R(a) >= R(b) - eps", "R(a) >= R(b) - 2 * eps")


@pytest.fixture
def specs(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "old.rwd").write_text(WAREHOUSE, encoding="utf-8")
    (tmp_path / "new.rwd").write_text(WEAKER, encoding="utf-8")
    return tmp_path / "old.rwd", tmp_path / "new.rwd"


def test_a_weaker_rule_fails(specs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(specs[0]), str(specs[1]), "--compare"]) == 1
    text = capsys.readouterr().out
    assert text.startswith("old.rwd → new.rwd: 1 weaker, 4 equal\n\nWEAKER: NEW accepts rewards that OLD refuses\n")
    assert "  must slow_near_people  old.rwd:24:1 → new.rwd:24:1\n    Near a person, going faster never pays.\n" in text
    assert "    OLD refuses, NEW accepts:\n      a = {" in text
    assert "      b = a with {speed = " in text
    assert "; elsewhere R = 0\n" in text
    assert "  S20: must slow_near_people is weaker\n" in text
    assert all(len(line) <= 120 for line in text.split("\n"))


def test_a_stronger_rule_passes(specs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(specs[1]), str(specs[0]), "--compare"]) == 0
    assert "STRONGER: NEW refuses rewards that OLD accepts" in capsys.readouterr().out


def test_quiet_says_nothing_where_nothing_is_wrong(
    specs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", str(specs[1]), str(specs[0]), "--compare", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert run(["check", str(specs[0]), str(specs[1]), "--compare", "--quiet"]) == 1
    assert "WEAKER" in capsys.readouterr().out


def test_an_undecided_must_fails(tmp_path: Path, specs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    head = WAREHOUSE + "relation move(a: Step, b: Step) = a.speed <= b.speed + 1 [m/s]\n"
    old, new = tmp_path / "a.rwd", tmp_path / "b.rwd"
    for path, most in ((old, 1), (new, 2)):  # traces of so many steps are compared by what their rules say
        path.write_text(head + f"must steady: trace t: Step of 70 steps via move expect sum(R(t)) <= {most}\n")
    assert run_compare(old, new, {}, None, False) == 1
    assert "UNDECIDED" in capsys.readouterr().out


def test_parameters_go_where_they_are_declared(tmp_path: Path, specs: tuple[Path, Path]) -> None:
    old, new = specs
    renamed = tmp_path / "renamed.rwd"
    renamed.write_text(WAREHOUSE.replace("eps", "tolerance"), encoding="utf-8")
    assert run_compare(old, renamed, {"tolerance": "0.02"}, None, True) == 1
    assert run_compare(old, renamed, ["eps=0.02", "tolerance = 0.01"], None, True) == 0
    with pytest.raises(UsageError) as refused:
        run_compare(old, new, {"epsilon": "1"}, None, True)
    assert refused.value.code == "G65"


def test_errors_are_errors(tmp_path: Path, specs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(specs[0]), str(tmp_path / "none.rwd"), "--compare"]) == 2
    assert "G20" in capsys.readouterr().err
    broken = tmp_path / "broken.rwd"
    broken.write_text(WAREHOUSE.replace("a.speed <= b.speed", "a.sped <= b.speed"), encoding="utf-8")
    assert run(["check", str(specs[0]), str(broken), "--compare"]) == 2
    assert "did you mean speed?" in capsys.readouterr().err


EVERYTHING = (
    WEAKER.replace("in 0 .. 2.5", "in 0 .. 3")
    .replace("param  v_safe: real [m/s] = 0.5 [m/s]", "param  v_safe: real [m/s] = 1 [m/s]")
    .replace("  ignores s = {clearance = 2 [m]}\n", "")
    .replace("must edit_is_local", "must edits_stay_local")
    .replace("data/logs.parquet", "data/newer.parquet")
    .replace("weight 0.5", "weight 2")
    + "must fresh: forall s: Step expect R(s) <= 7\n"
)


@pytest.mark.parametrize("new", [WAREHOUSE, WEAKER, SAFER, EVERYTHING])
def test_json_fits_its_schema(tmp_path: Path, specs: tuple[Path, Path], new: str) -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    specs[1].write_text(new, encoding="utf-8")
    status = run(
        ["check", str(specs[0]), str(specs[1]), "--compare", "--json", str(tmp_path / "found.json"), "--quiet"]
    )
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    jsonschema.validate(found, schema)
    assert found["safe"] is (status == 0)
    assert sorted(rule["name"] for rule in found["rules"] if rule["new"]) == sorted(
        line.split(" ")[1].rstrip(":\n") for line in new.split("\n") if line.startswith(("must ", "should "))
    )


def test_json_tells_all(tmp_path: Path, specs: tuple[Path, Path]) -> None:
    specs[1].write_text(EVERYTHING, encoding="utf-8")
    run(["check", str(specs[0]), str(specs[1]), "--compare", "--json", str(tmp_path / "found.json"), "--quiet"])
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    rules = {rule["name"]: rule for rule in found["rules"]}
    assert rules["fresh"]["change"] == "added"
    assert rules["edits_stay_local"]["old"]["name"] == "edit_is_local"
    assert rules["aisle_is_irrelevant"]["notes"] == ["weight: 0.5, now 2"]
    slow = rules["slow_near_people"]
    assert (slow["change"], slow["by"], slow["old"]["id"]) == ("disjoint", "z3", "SR-017")
    refusals = {shown["refused_by"]: shown for shown in slow["situations"]}
    assert refusals["new"]["excluded"]
    assert refusals["old"]["units"]["a"]["speed"] == "m/s"
    assert {p["name"]: (p["old"], p["new"]) for p in found["params"]} == {"v_safe": ("0.5 [m/s]", "1 [m/s]")}
    assert {f["code"] for f in found["findings"]} >= {"S22", "S25", "S27", "S28", "S29"}


def test_the_same_comparison_is_the_same_bytes(tmp_path: Path, specs: tuple[Path, Path]) -> None:
    texts = []
    for name in ("one.json", "two.json"):
        run_compare(*specs, {}, tmp_path / name, True)
        texts.append((tmp_path / name).read_bytes())
    assert texts[0] == texts[1]


def test_a_share_is_told_by_its_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = """spec small v1
features S { x: real in 0 .. 2 }
reward R(s: S)
data p: (better: S, worse: S) from "p.csv"
"""
    (tmp_path / "p.csv").write_text("better.x,worse.x\n0.5,1\n1,1.5\n0.25,0.5\n")
    rule = "must most: forall q in p expect share(R(q.better) > R(q.worse)) >= {}\n"
    (tmp_path / "old.rwd").write_text(head + rule.format(0.6))
    (tmp_path / "new.rwd").write_text(head + rule.format(0.4))
    both = ["check", str(tmp_path / "old.rwd"), str(tmp_path / "new.rwd"), "--compare"]
    assert run(both) == 0
    assert "    of 3 rows OLD asks for at least 2, NEW for at least 2\n" in capsys.readouterr().out
    (tmp_path / "new.rwd").write_text(head + rule.format(0.3))
    assert run(both) == 1
    text = capsys.readouterr().out
    assert "    OLD refuses, NEW accepts, where 1 of 3 rows of p satisfy it:\n      row 1: R(q.better) = " in text
    assert text.count(": satisfied\n") == 1
    assert text.count(": not satisfied\n") == 2
    assert run([*both, "--json", "-"]) == 1
    found = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, json.loads(SCHEMA.read_text(encoding="utf-8")))
    (shown,) = found["rules"][0]["situations"]
    assert (shown["counted"]["data"], shown["counted"]["satisfied"], shown["counted"]["left_open"]) == ("p", 1, False)
    for row in shown["counted"]["rows"]:
        better, worse = (reward["value"] for reward in row["rewards"])
        assert row["satisfied"] == (better > worse)
