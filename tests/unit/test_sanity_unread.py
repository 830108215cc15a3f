"""What stands in a spec and does nothing; which class a rule is in, and which engines decide it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewarden.spec_lang import load_spec, parse_spec
from rewarden.spec_lang.sanity.checks import check_spec
from tests.reference.sanity_specs import of, sanity


def unread(folder: Path, rules: str) -> list[str]:
    return [finding.diagnostic.message for finding in of(sanity(folder, rules), "S06")]


@pytest.mark.parametrize(
    "rule, expected",
    [
        # the assumption reads zone and speed
        ("must a: forall s: Step given s.busy expect R(s) <= 0", ["no rule reads gap and lifts of Step"]),
        ("must a: forall a, b: Step varying gap, lifts expect R(a) <= R(b)", ["no rule reads busy of Step"]),
        ("must a: forall s: Step given close(s) expect R(s with {lifts = 1}) <= R(s)", []),
        ("must a: forall s: Step near logs within 1 % expect R(s) <= 0", []),
        ("must a: forall s: Step given close(s) expect R(s) <= s.lifts", []),
        ("must a: cycle t: Step via move expect sum(R(t)) <= 0", ["no rule reads lifts and busy of Step"]),
    ],
)
def test_features_that_no_rule_reads(tmp_path: Path, rule: str, expected: list[str]) -> None:
    assert unread(tmp_path, rule) == expected


def test_records_that_are_taken_as_wholes_are_not_unread() -> None:
    text = "spec h v1\nfeatures E { e: real ^ 4 in -1 .. 1 }\nreward H(x: E)\nmust a: forall x: E expect H(x) <= 1\n"
    assert not of(check_spec(parse_spec(text)), "S06")


def test_declarations_that_nothing_uses(tmp_path: Path) -> None:
    found = of(sanity(tmp_path, "must a: forall s: Step near logs within 1 % expect R(s) <= 0\n"), "S07")
    assert [f.diagnostic.message for f in found] == [
        "nothing uses reward Base",
        "nothing uses data pairs",
        "nothing uses param eps",
        "nothing uses region close",
        "nothing uses relation move",
    ]
    rules = """
must a: forall s: Step given close(s) expect R(s) <= Base(s) + eps
must b: cycle t: Step via move expect sum(R(t)) <= 0
must c: forall p in pairs expect R(p.better) >= R(p.worse)
must d: forall s: Step expect R(s) <= quantile(R(logs), 0.5)
"""
    assert not of(sanity(tmp_path, rules), "S07")


def test_a_vocabulary_is_there_for_others(tmp_path: Path) -> None:
    vocabulary = "spec words v1\nfeatures S { x: real in 0 .. 1 }\nparam eps: real = 0.1\nreward R(s: S)\n"
    (tmp_path / "words.rwd").write_text(vocabulary)
    assert not check_spec(load_spec(tmp_path / "words.rwd")).findings
    user = 'spec user v1\nuse "words.rwd" as w\n{more}must a: forall s: {type} expect {reward}(s) <= {eps}\n'
    (tmp_path / "user.rwd").write_text(user.format(more="", type="w.S", reward="w.R", eps="w.eps"))
    assert not check_spec(load_spec(tmp_path / "user.rwd")).findings
    own = "features T { x: real in 0 .. 1 }\nreward Q(s: T)\n"
    (tmp_path / "other.rwd").write_text(user.format(more=own, type="T", reward="Q", eps="0"))
    (unused,) = check_spec(load_spec(tmp_path / "other.rwd")).findings
    assert unused.diagnostic.message == "nothing uses what w declares"


def test_each_alias_of_a_file_is_used_where_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "words.rwd").write_text(
        "spec words v1\nfeatures S { x: real in 0 .. 1 }\nregion low(s: S) = s.x < 0.5\n"
    )
    text = 'spec user v1\nuse "words.rwd" as w\nuse "words.rwd" as again\nreward R(s: w.S)\n'
    (tmp_path / "both.rwd").write_text(text + "must a: forall s: w.S given again.low(s) expect R(s) <= 0\n")
    assert not check_spec(load_spec(tmp_path / "both.rwd")).findings
    (tmp_path / "one.rwd").write_text(text + "must a: forall s: w.S given w.low(s) expect R(s) <= 0\n")
    (unused,) = check_spec(load_spec(tmp_path / "one.rwd")).findings
    assert unused.diagnostic.message == "nothing uses what again declares"


def test_a_place_in_another_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "words.rwd").write_text("spec words v1\nfeatures S { x: real in 0 .. 1 y: bool }\nreward R(s: S)\n")
    (tmp_path / "user.rwd").write_text(
        'spec user v1\nuse "words.rwd" as w\nmust a: forall s: w.S given s.x > 2 expect w.R(s) <= 0\n'
    )
    (vacuous,) = of(check_spec(load_spec(tmp_path / "user.rwd")), "S01")
    assert vacuous.diagnostic.message.endswith("`s.x > 2` contradicts the range 0 .. 1 of x declared at words.rwd:2")
    assert {label.span.source.name for label in vacuous.diagnostic.labels} == {"user.rwd"}


@pytest.mark.parametrize(
    "rule, kind, engines, because",
    [
        ("must a: forall s: Step given s.busy expect R(s) <= 0", "box", ("bounds", "z3"), ""),
        (
            "must a: forall a, b: Step varying speed given a.speed <= b.speed expect R(a) >= R(b)",
            "linear",
            ("bounds", "z3"),
            "a.speed <= b.speed",
        ),
        (
            "must a: forall s: Step given s.speed * s.gap > 1 [m^2/s] expect R(s) <= 0",
            "polynomial",
            (),
            "s.speed * s.gap > 1 [m^2/s]",
        ),
        ("must a: forall p in logs expect R(p) <= 0", "data", ("rows",), "forall p in logs"),
        (
            "must a: forall p in pairs expect share(R(p.better) > R(p.worse)) >= 0.5",
            "data",
            ("rows",),
            "forall p in pairs",
        ),
        ("must a: cycle t: Step via move expect sum(R(t)) <= 0", "trace", ("loops",), "cycle t: Step via move"),
        (
            "must a: trace t: Step of 2 steps expect sum(R(t)) <= 0",
            "trace",
            ("bounds", "z3"),
            "trace t: Step of 2 steps",
        ),
    ],
)
def test_rules_are_classed_and_told_their_engines(
    tmp_path: Path, rule: str, kind: str, engines: tuple[str, ...], because: str
) -> None:
    (facts,) = sanity(tmp_path, rule).rules
    assert (facts.rule_class, facts.engines.names) == (kind, engines)
    assert facts.because == because
    assert bool(facts.engines.reason) == (not engines)


@pytest.mark.parametrize(
    "expect, shift, factor",
    [
        ("R(s) <= 0", True, False),
        ("R(s) <= 1", True, True),
        ("R(s) <= quantile(R(logs), 0.5)", False, False),
        ("R(s) <= Base(s)", False, False),
        ("R(s) <= Base(s) + eps", False, True),
    ],
)
def test_what_a_shift_or_a_factor_could_flip(tmp_path: Path, expect: str, shift: bool, factor: bool) -> None:
    rule = f"must a: forall s: Step given close(s) expect {expect}\n"
    plain = sanity(tmp_path, rule)
    assert not of(plain, "S12", "S13")
    assert (plain.rules[0].flipped_by_shift, plain.rules[0].flipped_by_factor) == (shift, factor)
    assert bool(of(sanity(tmp_path, rule, identified="shift"), "S12")) == shift
    assert not of(sanity(tmp_path, rule, identified="shift"), "S13")
    assert bool(of(sanity(tmp_path, rule, identified="affine"), "S13")) == factor
