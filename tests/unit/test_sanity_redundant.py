"""Rules that follow from others, and rules that ask nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewarden.spec_lang import parse_spec
from rewarden.spec_lang.sanity.checks import check_spec
from tests.reference.sanity_specs import of, sanity

FOLLOWS = {
    "a wider cap": (
        """
must a: forall s: Step given s.busy expect R(s) <= 0
must b: forall s: Step given s.busy and s.gap < 1 [m] expect R(s) <= 0.5
""",
        [("b", "a")],
    ),
    "the later of two that say the same": (
        """
must a: forall s: Step given s.busy expect R(s) <= 0
must b: forall s: Step given s.busy expect R(s) <= 0
""",
        [("b", "a")],
    ),
    "two together": (
        """
must a: forall s: Step given s.busy expect R(s) <= 0
must b: forall s: Step given not s.busy and s.speed > 1 [m/s] expect R(s) <= 0
must c: forall s: Step given s.speed > 2 [m/s] expect R(s) <= 0.5
""",
        [("c", "a", "b")],
    ),
    "a smaller ball around the same rows": (
        """
must a: forall s: Step near logs within 2 % expect R(s) <= quantile(R(logs), 0.5)
must b: forall s: Step near logs within 1 % expect R(s) <= quantile(R(logs), 0.7)
""",
        [("b", "a")],
    ),
    "around rows, from everywhere": (
        """
must a: forall s: Step given s.gap <= 35 [m] expect R(s) <= 0
must b: forall s: Step near logs within 5 % expect R(s) <= 0
""",
        [("b", "a")],
    ),
    "a pair with the members swapped": (
        """
must a: forall a, b: Step varying speed expect |R(a) - R(b)| <= 0.5
should b: forall a, b: Step varying speed given a.speed < b.speed expect R(a) >= R(b) - 1
""",
        [("b", "a")],
    ),
    "a what-if, from a pair": (
        """
must a: forall a, b: Step varying speed given a.speed <= b.speed expect R(a) >= R(b)
should b: forall s: Step given s.speed >= 1 [m/s] expect R(s with {speed = s.speed - 1 [m/s]}) >= R(s)
""",
        [("b", "a")],
    ),
    "by way of another reward": (
        """
must a: forall s: Step expect R(s) == Base(s)
must b: forall s: Step expect Base(s) <= 1
must c: forall s: Step given s.busy expect R(s) <= 2
""",
        [("c", "a", "b")],
    ),
    "the rows of the data itself": (
        """
must a: forall s: Step near logs within 1 % expect R(s) <= 1
should b: forall p in logs expect R(p) <= 1
""",
        [("b", "a")],
    ),
    "a chain of three": (
        """
must a: forall s: Step expect R(s) <= 0
must b: forall s: Step expect R(s) <= 1
must c: forall s: Step expect R(s) <= 2
""",
        [("b", "a"), ("c", "a")],
    ),
}

ALONE = {
    "a must from a should": """
should a: forall s: Step expect R(s) <= 0
must b: forall s: Step given s.busy expect R(s) <= 0.5
""",
    "a region that sticks out": """
must a: forall s: Step given s.speed >= 1 [m/s] expect R(s) <= 0
must b: forall s: Step given s.speed > 0.99 [m/s] and s.busy expect R(s) <= 0
""",
    "a lower cap": """
must a: forall s: Step given s.busy expect R(s) <= 0
must b: forall s: Step given s.busy and s.gap < 1 [m] expect R(s) <= -0.5
""",
    "strict and not": """
must a: forall s: Step expect R(s) <= 0
must b: forall s: Step given s.busy expect R(s) < 0
""",
    "a larger ball": """
must a: forall s: Step near logs within 1 % expect R(s) <= 0
must b: forall s: Step near logs within 1.1 % given s.busy expect R(s) <= 0
""",
    "other rows": """
must a: forall p in pairs expect R(p.better) <= 0
must b: forall p in pairs expect R(p.worse) <= 0
""",
    "a higher quantile": """
must a: forall s: Step expect R(s) <= quantile(R(logs), 0.5)
must b: forall s: Step given s.busy expect R(s) <= quantile(R(logs), 0.4)
""",
}


@pytest.mark.parametrize("name", FOLLOWS)
def test_it_is_told_from_which_rules_one_follows(tmp_path: Path, name: str) -> None:
    rules, expected = FOLLOWS[name]
    found = of(sanity(tmp_path, rules), "S05", "S15", "S16")
    assert [finding.rules for finding in found] == expected
    assert {(f.diagnostic.code, f.diagnostic.severity) for f in found} == {("S05", "warning")}


@pytest.mark.parametrize("name", ALONE)
def test_what_does_not_follow_is_not_said_to(tmp_path: Path, name: str) -> None:
    assert not of(sanity(tmp_path, ALONE[name]), "S05", "S15", "S16")


def test_where_the_others_are_is_said(tmp_path: Path) -> None:
    (found,) = of(sanity(tmp_path, FOLLOWS["two together"][0]), "S05")
    assert found.diagnostic.message == "c follows from a and b"
    assert found.diagnostic.related is not None
    assert found.diagnostic.related.endswith("together they ask at least as much wherever c applies")
    assert found.diagnostic.labels[0].span.text == "c"


@pytest.mark.parametrize(
    "expect",
    [
        "R(s) <= R(s) + 1",
        "s.speed <= 3 [m/s]",
        "quantile(R(logs), 0.1) <= quantile(R(logs), 0.2)",
        "R(s) <= 0 or R(s) > -1",
    ],
)
def test_a_rule_that_asks_nothing_is_told(tmp_path: Path, expect: str) -> None:
    (found,) = of(sanity(tmp_path, f"should a: forall s: Step given s.busy expect {expect}\n"), "S05", "S15")
    assert found.diagnostic.code == "S15"


def test_a_vacuous_rule_is_not_said_to_follow(tmp_path: Path) -> None:
    rules = """
must a: forall s: Step expect R(s) <= 0
must b: forall s: Step given s.speed > 3 [m/s] expect R(s) <= 0
"""
    found = sanity(tmp_path, rules)
    assert [f.rules for f in of(found, "S01", "S05", "S15")] == [("b",)]


def test_rules_that_clash_imply_nothing(tmp_path: Path) -> None:
    rules = """
must a: forall s: Step expect R(s) <= 0
must b: forall s: Step expect R(s) >= 1
must c: forall s: Step given s.busy expect Base(s) <= 0
should d: forall s: Step given s.busy and s.gap < 1 [m] expect Base(s) <= 0.5
"""
    found = sanity(tmp_path, rules)
    assert [f.rules for f in of(found, "S03")] == [("a", "b")]
    assert [f.rules for f in of(found, "S05", "S15")] == [("d", "c")]


@pytest.mark.parametrize("severity", ["must", "should"])
def test_what_no_reward_satisfies_implies_nothing(tmp_path: Path, severity: str) -> None:
    square = f"{severity} a: forall s: Step expect R(s) * R(s) {{}}\nshould b: forall s: Step expect R(s) <= 5\n"
    assert not of(sanity(tmp_path, square.format("< 0")), "S05")
    (found,) = of(sanity(tmp_path, square.format("<= 4")), "S05")
    assert found.rules == ("b", "a")


def test_a_row_at_a_rounded_limit_is_spoken_of(tmp_path: Path) -> None:
    """0.1 as binary64 is above 0.1, and yet such a row is in range: a rule about it asks something."""
    (tmp_path / "d.csv").write_text("x\n0.1\n")
    text = """spec s v1
features S { x: real in 0.1 .. 0.1 }
reward R(s: S)
data d: S from "d.csv"
must a: forall s in d expect R(s) <= 1
must b: forall s in d expect R(s) <= 2
must c: forall s: S expect R(s) <= 2
"""
    found = check_spec(parse_spec(text, base=tmp_path))
    assert not of(found, "S15")
    assert [f.rules for f in of(found, "S05")] == [("b", "a")]
