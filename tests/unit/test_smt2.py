"""SMT-LIB scripts: what stands in them, and when there is none; and Z3 terms as a user's program takes them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import z3

from rewarden.cli import run
from rewarden.commands.compare import run_smt2
from rewarden.spec_lang import load_spec, parse_spec
from rewarden.spec_lang.errors import Unsupported, UsageError
from rewarden.spec_lang.smt2.script import BOXES, smt2
from rewarden.spec_lang.z3_terms import z3_reading
from tests.reference.language_page import WAREHOUSE

HEAD = """spec small v1
features Step {
  speed: real [m/s] in 0 .. 2.5
  gap: real [cm] in 0 .. 500
  floors: int in 0 .. 9
  busy: bool
  zone: enum {aisle, dock}
}
reward R(s: Step)
reward Pair(s: Step, next: Step)
data logs: Step from "logs.csv"
relation move(a: Step, b: Step) = |a.speed - b.speed| <= 0.5 [m/s]
"""
ROW = "1.5,20,3,true,dock\n"


def answers(script: str) -> list[str]:
    context = z3.Context()  # held: Z3 does not
    return str(z3.Z3_eval_smtlib2_string(context.ref(), script)).split()


def script_of(rule: str, folder: Path | None = None, rows: int = 2) -> str:
    if folder is not None:
        (folder / "logs.csv").write_text("speed,gap,floors,busy,zone\n" + ROW * rows, encoding="utf-8")
    return smt2(parse_spec(HEAD + rule, "small.rwd", base=folder), "rule")


def logic(script: str) -> str:
    return next(line for line in script.split("\n") if line.startswith("(set-logic"))


def test_not_near_data_is_a_premise_of_one_alternative_a_row(tmp_path: Path) -> None:
    rule = "must rule: forall s: Step not near logs within {{speed = 0.5 [m/s], gap = 100 %, floors = {}}} {}".format
    narrow = "given s.busy and s.zone == dock and 1 [m/s] <= s.speed <= 2 [m/s] and s.floors <= {} expect R(s) <= 3"
    script = script_of(rule(3, narrow.format(6)), tmp_path)  # two equal rows are one alternative
    assert script.count("(> (to_real |s.floors|) 6.0)") == 1
    assert answers(script) == ["unsat", "unsat"]  # what is left of the row's box is in it
    assert answers(script_of(rule(3, narrow.format(7)), tmp_path)) == ["sat", "sat"]


# ── what stands in a script ────────────────────────────────────────────────────────────────────
def test_a_script_tells_its_reader_what_it_asks() -> None:
    script = script_of('--- Slow near people.\nmust rule: forall s: Step given s.gap < 1 [m] expect R(s) <= 3 id "A-1"')
    assert script.startswith("; must rule: Slow near people.\n; from small.rwd:14:1 of the spec small, sha256:")
    assert ";   must rule: forall s: Step given s.gap < 1 [m] expect R(s) <= 3 id" in script
    assert "unsat: the premise never holds" in script
    assert "; columns of R: s.speed, s.gap, s.floors, s.busy, s.zone=aisle, s.zone=dock" in script
    assert "(declare-const |s.speed| Real) ; [m/s]" in script
    assert "(assert (<= 0.0 |s.speed| (/ 5.0 2.0)))" in script
    assert "(assert (<= 0.0 (to_real |s.floors|) 9.0))" in script
    assert "(assert (or (= |s.busy| 0.0) (= |s.busy| 1.0)))" in script
    assert "(assert (> 1.0 (* (/ 1.0 100.0) |s.gap|)))" in script
    assert "(assert (not (>= 3.0 |R(s)|)))" in script
    assert script.count("(check-sat)") == 2
    assert answers(script) == ["sat", "sat"]
    assert all(line.isascii() or line.startswith(";") for line in script.split("\n"))


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("forall s: Step given s.gap > 0 expect R(s) <= 3", "QF_UFLIRA"),
        ("forall s: Step given s.gap * s.speed > 1 [m^2/s] expect R(s) <= 3", "QF_UFNIRA"),
        ("forall s: Step given s.speed > 3 [m/s] expect s.busy", "QF_LIRA"),
    ],
)
def test_the_logic_fits(rule: str, wanted: str) -> None:
    assert logic(script_of(f"must rule: {rule}")) == f"(set-logic {wanted})"


def test_without_whole_numbers_the_logic_has_none() -> None:
    spec = parse_spec(WAREHOUSE, "warehouse.rwd")
    assert {logic(smt2(spec, rule.name)) for rule in spec.rules} == {"(set-logic QF_UFLRA)"}


def test_vacuous_and_valid_rules_are_unsat() -> None:
    assert answers(script_of("must rule: forall s: Step given s.speed > 3 [m/s] expect R(s) <= 3")) == [
        "unsat",
        "unsat",
    ]
    assert answers(script_of("must rule: forall s: Step expect R(s) <= R(s) + s.speed / 1 [m/s]")) == ["unsat", "sat"]


def test_names_that_solvers_know_are_no_trouble() -> None:
    spec = parse_spec(
        "spec odd v1\nfeatures seq { len: real in 0 .. 1 unit: bool at: int in 0 .. 3 }\n"
        "features fp { abs: real in 1 .. 2 add: real ^ 2 in 0 .. 1 }\n"
        "reward select(str: seq)\nreward bvadd(re: fp, str: seq)\nreward ite(re: fp)\n"
        "must one: forall str: seq given str.len < 0.5 and str.at != 2 expect select(str) >= 0\n"
        "must two: forall re: fp, str: seq given linf(re.add) <= 0.5 expect |bvadd(re, str)| <= max(re.abs, str.len)\n"
        "must three: forall set: fp expect (if set.abs > 1.5 then ite(set) else 1) >= min(set.abs, 0.3)\n"
    )
    for rule in spec.rules:
        assert answers(smt2(spec, rule.name)) == ["sat", "sat"]


def test_data_constants_are_free_and_said_to_be(tmp_path: Path) -> None:
    script = script_of("must rule: forall s: Step expect R(s) <= quantile(R(logs), 0.05)", tmp_path)
    assert "; quantile(R(logs), 1/20) is a data constant" in script
    assert "(declare-const |quantile(R(logs), 1/20)| Real)" in script


def test_a_what_if_gets_a_record_of_its_own() -> None:
    rule = "must rule: forall s: Step given s.gap >= 1 [m] expect R(s with {gap = s.gap - 50 [cm]}) >= R(s)"
    script = script_of(rule)
    assert "(define-fun |R(s)| () Real" in script
    assert "(define-fun |R(record 1)| () Real" in script
    assert "|R(record 1)| |R(s)|" in script


# ── data, traces, loops ────────────────────────────────────────────────────────────────────────
NEAR = "must rule: forall s: Step near logs within {speed = 0.1 [m/s], gap = 5 %} expect R(s) <= 3"


def test_each_row_is_a_box(tmp_path: Path) -> None:
    script = script_of(NEAR, tmp_path)
    assert "; near a row of logs" in script
    assert script.count("(<= (/ 7.0 5.0) |s.speed| (/ 8.0 5.0))") == 2
    assert script.count("(= (to_real |s.floors|) 3.0)") == 2
    assert answers(script) == ["sat", "sat"]


def test_beyond_a_limit_the_rows_are_counted_and_left_out(tmp_path: Path) -> None:
    script = script_of(NEAR, tmp_path, BOXES + 1)
    assert f"; The data logs has {BOXES + 1} rows, too many" in script
    assert "near a row of logs" not in script


def test_a_ball_around_each_row(tmp_path: Path) -> None:
    rule = NEAR.replace("gap = 5 %}", "gap = 5 %} in l1").replace("R(s) <= 3", "|R(s) - R(anchor(s))| <= 1")
    script = script_of(rule, tmp_path)
    assert "|R(anchor(s))|" in script
    assert answers(script) == ["sat", "sat"]


def test_a_rule_over_rows_has_no_freedom_but_the_reward(tmp_path: Path) -> None:
    assert answers(script_of("must rule: forall p in logs expect R(p) <= R(p)", tmp_path)) == ["unsat", "sat"]
    assert (
        answers(script_of("must rule: forall p in logs given p.gap > 1 [m] expect R(p) <= 0", tmp_path))
        == ["unsat"] * 2
    )


def test_each_length_of_a_trace_is_a_case() -> None:
    script = script_of("must rule: trace t: Step within 2 steps via move expect sum(R(t)) <= 1")
    assert "; There are 2 cases, each with both questions." in script
    assert "; ── 2 steps ──" in script
    assert answers(script) == ["sat"] * 4


def test_loops_up_to_three() -> None:
    script = script_of("must rule: cycle t: Step via move expect sum(Pair(t)) <= 0")
    assert "; Only loops of 1 to 3 records are asked about." in script
    assert answers(script) == ["sat"] * 6


def test_a_share_has_no_script(tmp_path: Path) -> None:
    with pytest.raises(Unsupported) as refused:
        script_of("must rule: forall p in logs expect share(R(p) > 0) >= 0.5", tmp_path)
    assert refused.value.code == "X09"


# ── files ──────────────────────────────────────────────────────────────────────────────────────
def test_files_are_written_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = parse_spec(WAREHOUSE, "warehouse.rwd")
    out = tmp_path / "smt"
    assert run_smt2(spec, out, None) == 0
    assert sorted(p.name for p in out.iterdir()) == sorted(f"{rule.name}.smt2" for rule in spec.rules)
    assert (out / "braking_pays.smt2").read_text(encoding="utf-8") == smt2(spec, "braking_pays")
    assert run_smt2(spec, out, ["braking_pays"]) == 0  # the same text is no conflict
    (out / "braking_pays.smt2").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        run_smt2(spec, out, None)
    assert refused.value.code == "G66"
    assert (out / "braking_pays.smt2").read_text(encoding="utf-8") == "mine"
    assert capsys.readouterr().out.count(".smt2\n") == len(spec.rules) + 1


def test_nothing_is_written_where_one_file_is_in_the_way(tmp_path: Path) -> None:
    spec = parse_spec(WAREHOUSE, "warehouse.rwd")
    (tmp_path / f"{spec.rules[-1].name}.smt2").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError):
        run_smt2(spec, tmp_path, None)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_rule_without_a_script_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "logs.csv").write_text("speed,gap,floors,busy,zone\n" + ROW, encoding="utf-8")
    text = HEAD + "must a: forall p in logs expect share(R(p) > 0) >= 0.5\nmust b: forall s: Step expect R(s) > 0\n"
    (tmp_path / "s.rwd").write_text(text, encoding="utf-8")
    spec = load_spec(tmp_path / "s.rwd")
    assert run_smt2(spec, tmp_path / "all", None) == 0
    assert [p.name for p in (tmp_path / "all").iterdir()] == ["b.smt2"]
    assert "X09" in capsys.readouterr().err
    assert run_smt2(spec, tmp_path / "one", ["a"]) == 2
    assert not (tmp_path / "one").exists()


def test_a_rule_whose_data_is_not_at_hand_does_not_stop_the_others(tmp_path: Path) -> None:
    text = HEAD + NEAR.replace("must rule", "must a") + "\nmust b: forall s: Step expect R(s) > 0\n"
    (tmp_path / "s.rwd").write_text(text, encoding="utf-8")
    assert run_smt2(load_spec(tmp_path / "s.rwd"), tmp_path / "out", None) == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["b.smt2"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "w.rwd").write_text(WAREHOUSE, encoding="utf-8")
    assert run(["check", str(tmp_path / "w.rwd"), "--smt2", str(tmp_path / "out"), "--rule", "edit_is_local"]) == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["edit_is_local.smt2"]
    assert "edit_is_local.smt2" in capsys.readouterr().out


# ── terms for a program ────────────────────────────────────────────────────────────────────────
def test_a_program_asks_z3_itself() -> None:
    spec = parse_spec(WAREHOUSE, "warehouse.rwd")
    reading = z3_reading(spec, "slow_near_people")
    solver = z3.Solver(ctx=reading.context)
    solver.add(reading.domain, reading.premise, z3.Not(reading.conclusion))
    solver.add(reading.terms["a.speed"] >= 1, reading.terms["b.payload"] == 7)
    assert solver.check() == z3.sat
    records = reading.named(solver.model())
    assert records is not None
    assert records["a"]["payload"] == records["b"]["payload"] == 7  # they vary in speed only
    assert 1 <= records["a"]["speed"] <= records["b"]["speed"]
    assert records["a"]["human_near"] is True
    solver.add(reading.reward("R", reading.record("a")) == reading.reward("R", reading.record("b")))
    assert solver.check() == z3.unsat


def test_a_reading_in_the_main_context_joins_other_terms() -> None:
    spec = parse_spec(WAREHOUSE, "warehouse.rwd")
    reading = z3_reading(spec, "braking_pays", context=z3.main_ctx())
    limit = z3.Real("limit")
    solver = z3.Solver()
    solver.add(reading.domain, reading.premise, reading.terms["s.speed"] <= limit, limit < 1)
    assert solver.check() == z3.unsat


def test_a_reading_of_one_length() -> None:
    spec = parse_spec(HEAD + "must rule: trace t: Step within 3 steps via move expect sum(R(t)) <= 1")
    reading = z3_reading(spec, "rule", length=2)
    assert "t[1].speed" in reading.terms
    with pytest.raises(Unsupported):
        z3_reading(spec, "rule")


def test_rows_are_part_of_the_domain(tmp_path: Path) -> None:
    (tmp_path / "logs.csv").write_text("speed,gap,floors,busy,zone\n" + ROW, encoding="utf-8")
    reading = z3_reading(parse_spec(HEAD + NEAR, base=tmp_path), "rule")
    solver = z3.Solver(ctx=reading.context)
    solver.add(reading.domain)
    assert solver.check() == z3.sat
    values = reading.values(solver.model())
    assert values is not None
    assert Fraction(7, 5) <= values[0] <= Fraction(8, 5)
    solver.add(reading.terms["s.speed"] < 1)
    assert solver.check() == z3.unsat
