"""What became of a rule: one test a kind of change, each with the situation that shows it."""

from __future__ import annotations

from fractions import Fraction

import pytest

from rewarden.spec_lang import parse_spec
from rewarden.spec_lang.compare.model import Comparison, RuleChange
from rewarden.spec_lang.compare.specs import compare_specs
from rewarden.spec_lang.compare.z3 import Budget
from tests.reference.language_page import HELPFUL, WAREHOUSE

HEAD = """spec small v1
features Step {
  speed: real [m/s] in 0 .. 10
  gap: real [m] in 0 .. 50
  wet: bool
  lane: enum {left, right}
  n: int in 0 .. 5
}
reward R(s: Step)
reward Base(s: Step)
relation move(a: Step, b: Step) = |a.speed - b.speed| <= 1 [m/s]
"""


def compared(old: str, new: str, old_head: str = HEAD, new_head: str = HEAD) -> Comparison:
    return compare_specs(parse_spec(old_head + old, "old.rwd"), parse_spec(new_head + new, "new.rwd"))


def one(old: str, new: str, new_head: str = HEAD) -> RuleChange:
    (change,) = compared(f"must rule: {old}", f"must rule: {new}", new_head=new_head).rules
    return change


# ── weaker, stronger, equal, disjoint ──────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("forall s: Step expect R(s) <= 1", "forall s: Step expect R(s) <= 2", "weaker"),
        ("forall s: Step expect R(s) < 1", "forall s: Step expect R(s) <= 1", "weaker"),
        ("forall s: Step given s.speed < 5 [m/s] expect R(s) < 1", "forall s: Step expect R(s) < 1", "stronger"),
        ("forall s: Step given s.n > 2 expect R(s) < 1", "forall s: Step given s.n >= 3 expect R(s) < 1", "equal"),
        ("forall s: Step expect R(s) <= 1", "forall s: Step expect Base(s) <= 1", "disjoint"),
        ("forall s: Step expect R(s) == Base(s)", "forall s: Step expect |R(s) - Base(s)| <= 0.1", "weaker"),
        ("forall s: Step given R(s) > 0 expect Base(s) > 0", "forall s: Step expect R(s) <= 0 or Base(s) > 0", "equal"),
        ("forall s: Step expect R(s) >= s.speed / 1 [m/s]", "forall s: Step expect R(s) >= 0", "weaker"),
        ("forall s: Step expect R(s) >= 0", "forall s: Step expect R(s) >= s.speed / 1 [m/s]", "stronger"),
        (
            "forall s: Step expect R(s) == (if s.wet then s.speed / 1 [m/s] else s.gap / 1 [m])",
            "forall s: Step given s.wet expect R(s) == s.speed / 1 [m/s]",
            "weaker",
        ),
        (
            "forall s: Step expect R(s) <= s.speed * s.speed / 1 [m^2/s^2]",
            "forall s: Step expect R(s) <= s.speed * s.speed / 2 [m^2/s^2]",
            "stronger",
        ),
    ],
)
def test_rules_about_one_record(old: str, new: str, expected: str) -> None:
    assert one(old, new).change == expected


MONOTONE = "forall a, b: Step varying speed given a.speed <= b.speed expect R(a) >= R(b)"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (MONOTONE, "forall b, a: Step varying speed given b.speed <= a.speed expect R(b) >= R(a)", "equal"),
        (MONOTONE, "forall a, b: Step varying speed given b.speed <= a.speed expect R(b) >= R(a)", "equal"),
        (MONOTONE, MONOTONE.replace("varying speed", "varying speed, gap"), "stronger"),
        (MONOTONE, MONOTONE.replace("<=", "<"), "equal"),  # at equal speed both are the same record
        (MONOTONE, MONOTONE.replace(">= R(b)", "> R(b)"), "stronger"),
        (MONOTONE, MONOTONE.replace(">= R(b)", ">= R(b) - 1"), "weaker"),
        (MONOTONE, MONOTONE.replace("<=", ">="), "disjoint"),
        (
            "forall a, b: Step expect |R(a) - R(b)| <= |a.speed - b.speed| / 1 [m/s]",
            "forall a, b: Step expect |R(a) - R(b)| <= 2 * |a.speed - b.speed| / 1 [m/s]",
            "weaker",
        ),
        (
            MONOTONE,
            "forall s: Step given s.speed >= 1 [m/s] expect R(s with {speed = s.speed - 0.5 [m/s]}) >= R(s)",
            "weaker",
        ),
        (
            "forall s: Step given s.speed >= 1 [m/s] expect R(s with {speed = s.speed - 0.5 [m/s]}) >= R(s)",
            "forall s: Step given s.speed >= 1 [m/s] expect R(s with {speed = s.speed - 0.25 [m/s]}) >= R(s)",
            "disjoint",
        ),
        ("forall a, b: Step expect R(a) == R(b)", "forall s: Step expect R(s) == R(s with {wet = true})", "weaker"),
    ],
)
def test_rules_about_two_records(old: str, new: str, expected: str) -> None:
    """Among them some that differ at single records only on the face of it: swapping the records, or taking one twice,
    shows that no reward tells them apart."""
    assert one(old, new).change == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("within 2", "within 3", "stronger"),
        ("of 2", "of 2", "equal"),
        ("within 3", "of 3", "equal"),  # who rests for three steps has a third each
    ],
)
def test_traces(old: str, new: str, expected: str) -> None:
    text = "trace t: Step {} steps via move expect sum(R(t)) <= 1"
    change = one(text.format(old), text.format(new))
    assert change.change == expected
    assert all(shown.case.endswith("steps") for shown in change.situations)


def test_long_traces_do_not_speak_for_short_ones() -> None:
    text = "trace t: Step {} steps via move expect sum(R(t)) >= 1"
    change = one(text.format("within 2"), text.format("of 2"))
    assert change.change == "weaker"
    assert [shown.case for shown in change.situations] == ["1 step"]


def test_rewards_of_records_that_may_stay_do_not_depend_on_the_moves() -> None:
    text = "cycle t: Step via move expect sum(R(t)) <= 0"
    assert one(text, text).change == "equal"
    assert one(text, text, HEAD.replace("<= 1 [m/s]", "<= 2 [m/s]")).change == "equal"


LOOPS = """
relation flip(a: Step, b: Step) = a.wet != b.wet
relation up(a: Step, b: Step) = b.speed >= a.speed + 1 [m/s]
reward M(a: Step, b: Step)
let pay(s: Step) = R(s) + 1
let twice(s: Step) = 2 * R(s) + s.speed / 1 [m/s]
let gain(a: Step, b: Step) = M(a, b) - (b.gap - a.gap) / 1 [m]
let dear(a: Step, b: Step) = gain(a, b) - 1
"""
OTHER_LOOPS = """
relation far(a: Step, b: Step) = |a.speed - b.speed| <= 2 [m/s]
relation level(a: Step, b: Step) = a.gap == b.gap
relation falling(a: Step, b: Step) = b.gap <= a.gap
let less(a: Step, b: Step) = M(a, b) - a.speed / 1 [m/s]
"""


@pytest.mark.parametrize(
    ("old", "new", "expected", "case"),
    [
        ("move expect sum(R(t)) <= 0", "move expect sum(R(t)) < 0", "stronger", "1 step"),
        ("move expect sum(R(t)) < 0", "move expect sum(pay(t)) <= 0", "stronger", "1 step"),
        ("flip expect sum(pay(t)) < 0", "flip expect sum(R(t)) < 0", "weaker", "2 steps"),  # no record follows itself
        ("flip expect sum(twice(t)) < 0", "flip expect sum(twice(t)) <= 0", "weaker", "2 steps"),
        ("move expect sum(M(t)) <= 0", "move expect sum(gain(t)) < 0", "stronger", "1 step"),
        ("move expect sum(M(t)) >= 0", "move expect sum(dear(t)) > 0", "stronger", "1 step"),
        (
            "move given always R(t) > 0 expect sum(M(t)) <= 0",
            "move given always R(t) > 0 expect sum(M(t)) < 0",
            "stronger",
            "1 step",
        ),
        ("move expect sum(M(t)) <= 0", "move expect sum(gain(t)) <= 0", "equal", ""),  # a potential: 0 on every loop
        ("move expect sum(2 * M(t)) <= 0", "move expect 0 >= sum(M(t))", "equal", ""),
        ("up expect sum(R(t)) <= 0", "up expect sum(R(t)) < 0", "equal", ""),  # there is no loop at all
        ("move expect sum(R(t)) == 0", "move expect sum(R(t)) <= 0", "weaker", "1 step"),
        ("move given always t.wet expect sum(R(t)) <= 0", "move expect sum(R(t)) < 0", "stronger", "1 step"),
    ],
)
def test_loops_that_sum_the_same_but_for_a_constant(old: str, new: str, expected: str, case: str) -> None:
    head = HEAD + LOOPS
    rule = "must rule: cycle t: Step via {}".format
    (change,) = compared(rule(old), rule(new), head, head).rules
    assert change.change == expected
    assert [shown.case for shown in change.situations] == [case] * bool(case)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("move expect sum(M(t)) <= 0", "far expect sum(M(t)) <= 0", "stronger"),
        ("move given always t.wet expect sum(M(t)) <= 0", "move expect sum(M(t)) <= 0", "stronger"),
        (
            "move given always t.n > 2 expect sum(R(t)) <= 0",
            "move given always t.n < 2 expect sum(R(t)) <= 0",
            "disjoint",
        ),
        ("flip expect sum(R(t)) <= 0", "move expect sum(R(t)) <= 0", "stronger"),  # a record that may rest
        ("flip expect sum(R(t)) < 0", "flip expect sum(R(t)) != 0", "weaker"),
        ("move expect sum(M(t)) != 0", "move expect sum(M(t)) <= 0", "disjoint"),
        ("level expect sum(M(t)) <= 0", "falling expect sum(M(t)) <= 0", "equal"),  # what falls does not come back
        ("move expect sum(M(t)) <= 0", "move expect sum(less(t)) <= 0", "weaker"),
    ],
)
def test_other_loops(old: str, new: str, expected: str) -> None:
    """A relation, a premise or `!=` that changed, and sums of which one is larger move by move."""
    head = HEAD + LOOPS + OTHER_LOOPS
    rule = "must rule: cycle t: Step via {}".format
    (change,) = compared(rule(old), rule(new), head, head).rules
    assert change.change == expected
    assert [s.refused_by for s in change.situations] == {
        "stronger": ["new"],
        "weaker": ["old"],
        "disjoint": ["old", "new"],
        "equal": [],
    }[expected]
    assert all("potential" not in e.reward for shown in change.situations for e in shown.elsewhere)


GRAPH = """spec graph v1
features S { c: enum {p, q, r} }
reward R(s: S)
reward M(a: S, b: S)
relation any(a: S, b: S) = a.c == a.c
relation round(a: S, b: S) = (a.c == p and b.c == q) or (a.c == q and b.c == r) or (a.c == r and b.c == p)
relation to_p(a: S, b: S) = a.c != p and b.c == p
let turned(a: S, b: S) = M(a, b) - M(b, a)
let gain(a: S, b: S) = R(b) - R(a)
"""


@pytest.mark.parametrize(
    ("old", "new", "expected", "case"),
    [
        ("any expect sum(turned(t)) <= 0", "any expect sum(turned(t)) >= 0", "equal", ""),  # walked the other way
        ("any expect sum(gain(t)) <= 0", "to_p expect sum(M(t)) < 0", "equal", ""),  # 0 on every loop, and no loop
        ("round expect sum(turned(t)) <= 0", "round expect sum(turned(t)) >= 0", "disjoint", "3 steps"),
        ("round expect sum(M(t)) != 0", "round expect sum(M(t)) <= 0", "disjoint", "3 steps"),
        ("any expect sum(M(t)) < 0", "any expect sum(M(t)) != 0", "weaker", "1 step"),
        (
            "any given always R(t) >= 0 expect sum(M(t)) <= 0",
            "round given always R(t) > 0 expect sum(M(t)) <= 0",
            "weaker",
            "1 step",
        ),
    ],
)
def test_loops_over_few_states_are_decided(old: str, new: str, expected: str, case: str) -> None:
    (change,) = compared(*map("must rule: cycle t: S via {}".format, (old, new)), GRAPH, GRAPH).rules
    assert change.change == expected
    assert {shown.case for shown in change.situations} == {case} - {""}


def test_what_cancels_in_loops_of_two_is_seen_in_loops_of_three() -> None:
    head = HEAD + "reward M(a: Step, b: Step)\n"
    plain = "must rule: cycle t: Step via move expect sum(M(t)) <= 0"
    twisted = plain.replace("sum(M(t))", "sum(twist(t))")
    area = "let twist(a: Step, b: Step) = M(a, b) + (a.gap * b.speed - b.gap * a.speed) / 1 [m^2/s]\n"
    old, new = (parse_spec(head + area + rule) for rule in (plain, twisted))
    (change,) = compare_specs(old, new, Budget(rlimit=100_000, points=1, rounds=2)).rules
    assert change.change == "undecided"


def test_a_rule_that_no_reward_satisfies_entails_all_others() -> None:
    impossible = "forall a, b: Step varying speed given a.gap > 40 [m] expect R(a) > R(b)"
    change = one(impossible, "forall s: Step given s.gap < 10 [m] expect Base(s) <= 1")
    assert change.change == "weaker"
    assert "no reward satisfies the rule of OLD" in change.reason


def test_a_small_budget_decides_nothing_but_stays_sound() -> None:
    old = parse_spec(HEAD + f"must rule: {MONOTONE}")
    new = parse_spec(
        HEAD + "must rule: forall a, b: Step varying speed given a.speed + b.speed > 2 * a.speed expect R(a) >= R(b)"
    )
    (change,) = compare_specs(old, new, Budget(rlimit=10)).rules
    assert (change.change, change.situations) == ("undecided", ())
    assert change.reason
    (change,) = compare_specs(old, new).rules
    assert change.change == "equal"


# ── situations ─────────────────────────────────────────────────────────────────────────────────
def test_a_situation_names_records_and_rewards() -> None:
    (shown,) = one(
        "forall s: Step given s.speed < 5 [m/s] expect R(s) <= 1",
        "forall s: Step given s.speed <= 5 [m/s] expect R(s) <= 1",
    ).situations
    assert shown.refused_by == "new"
    assert shown.records["s"]["speed"] == 5
    assert shown.records["s"]["lane"] in ("left", "right")
    assert isinstance(shown.records["s"]["wet"], bool)
    assert shown.units["s"]["speed"] == "m/s"
    assert [r.call for r in shown.rewards] == ["R(s)"]
    assert shown.rewards[0].value > 1
    assert [(e.reward, e.constant) for e in shown.elsewhere] == [("R", Fraction(0))]
    assert not shown.excluded


def test_a_what_if_is_told_as_one() -> None:
    what_if = "s with {{speed = s.speed - 0.5 [m/s], wet = false}}"
    rule = f"forall s: Step given s.speed >= 1 [m/s] expect R({what_if}) >= R(s) - {{}}"
    (shown,) = one(rule.format(1), rule.format(2)).situations
    calls = {r.call: r.value for r in shown.rewards}
    (what_if,) = (call for call in calls if "with" in call)
    assert "speed = " in what_if
    assert "[m/s]" in what_if
    assert 1 < calls["R(s)"] - calls[what_if] <= 2


def test_slopes_are_told_where_no_constant_reward_will_do() -> None:
    (shown,) = one(
        "forall s: Step expect R(s) >= s.speed / 1 [m/s]", "forall s: Step expect R(s) >= 2 * s.speed / 1 [m/s]"
    ).situations
    (elsewhere,) = shown.elsewhere
    assert dict(elsewhere.slopes).keys() <= {"speed"}
    assert shown.world is not None
    record = tuple(Fraction(x) for x in (10, 0, 0, 1, 0, 0))
    assert shown.world.call("R", record) >= 10


# ── the domain ─────────────────────────────────────────────────────────────────────────────────
RULE = "must rule: forall s: Step given s.gap < 3 [m] and s.speed > 2 [m/s] expect R(s) <= 1\n"


def test_units_and_order_do_not_matter() -> None:
    new_head = HEAD.replace(
        "  speed: real [m/s] in 0 .. 10\n  gap: real [m] in 0 .. 50\n",
        "  gap: real [cm] in 0 .. 5000\n  speed: real [km/h] in 0 .. 36\n",
    ).replace("lane: enum {left, right}", "lane: enum {right, left}")
    found = compared(RULE + "must other: " + MONOTONE, RULE + "must other: " + MONOTONE, new_head=new_head)
    assert [(c.change, c.by) for c in found.rules] == [("equal", "text")] * 2
    (domain,) = found.domains
    assert (domain.widened, domain.narrowed) == ("refuted", "refuted")
    assert "gap: real [m] in 0 .. 50, now real [cm] in 0 .. 5000" in domain.messages
    assert found.safe


def test_offset_units_are_converted() -> None:
    def head(unit: str, lo: str, hi: str) -> str:
        return f"spec t v1\nfeatures T {{ t: real [{unit}] in {lo} .. {hi} }}\nreward R(x: T)\n"

    rule = "must rule: forall x: T given x.t > 20 [degC] expect R(x) <= 0"
    found = compared(rule, rule, head("degC", "0", "50"), head("K", "273.15", "323.15"))
    assert [c.change for c in found.rules] == ["equal"]
    found = compared(rule, rule.replace("20 [degC]", "300 [K]"), head("degC", "0", "50"), head("K", "273.15", "323.15"))
    (change,) = found.rules
    assert change.change == "weaker"
    (shown,) = change.situations
    assert shown.units["x"]["t"] == "degC"  # OLD refuses, in its own unit
    assert 20 < shown.records["x"]["t"] <= Fraction("26.85")


def test_a_wider_range_makes_rules_stronger_and_says_why() -> None:
    found = compared(RULE, RULE, new_head=HEAD.replace("speed: real [m/s] in 0 .. 10", "speed: real [m/s] in 0 .. 12"))
    (change,) = found.rules
    (shown,) = change.situations
    assert change.change == "stronger"
    assert (shown.excluded, shown.only_excluded) == (("s",), True)
    assert shown.records["s"]["speed"] > 10
    (domain,) = found.domains
    assert (domain.widened, domain.narrowed) == ("proved", "refuted")
    assert domain.only_new is not None
    assert domain.only_new["speed"] > 10
    assert [f.code for f in found.findings] == ["S25"]
    assert found.safe


def test_an_assumption_makes_rules_weaker() -> None:
    assume = "assume s: Step = s.wet implies s.speed <= 4 [m/s]\n"
    found = compared(RULE, assume + RULE)
    (change,) = found.rules
    assert change.change == "weaker"
    assert change.situations[0].records["s"]["wet"] is True
    assert {f.code for f in found.findings} == {"S20", "S26"}
    assert "new: assume s: Step" in found.declarations[0]
    assert not found.safe


def test_a_case_more_is_a_wider_domain() -> None:
    found = compared(RULE, RULE, new_head=HEAD.replace("{left, right}", "{left, middle, right}"))
    (change,) = found.rules
    assert change.change == "stronger"
    assert change.situations[0].records["s"]["lane"] == "middle"
    assert found.domains[0].messages == ("lane: enum {left, right}, now enum {left, middle, right}",)


def test_a_feature_more_leaves_rules_equal() -> None:
    head = HEAD.replace("n: int in 0 .. 5", "n: int in 0 .. 5\n  load: real [kg] in 0 .. 60")
    assert [c.change for c in compared(RULE, RULE, new_head=head).rules] == ["equal"]
    assert [c.change for c in compared(RULE, RULE, old_head=head).rules] == ["equal"]
    varying = f"must rule: {MONOTONE}"
    assert [c.change for c in compared(varying, varying, new_head=head).rules] == ["equal"]
    narrower = RULE.replace("s.gap <", "s.load < 5 [kg] and s.gap <")
    (change,) = compared(RULE, narrower, new_head=head).rules
    assert change.change == "weaker"
    assert change.situations[0].records["s"]["load"] >= 5


def test_another_kind_of_feature_cannot_be_compared() -> None:
    rule = "must rule: forall s: Step given s.gap < 3 [m] expect R(s) <= 1"
    found = compared(rule, rule, new_head=HEAD.replace("wet: bool", "wet: real in 0 .. 1"))
    (change,) = found.rules
    assert (change.change, change.reason) == ("undecided", "wet was bool, and is real")
    assert not found.safe


def test_whole_numbers_are_not_all_numbers() -> None:
    rule = "must rule: forall s: Step given s.n > 2 expect R(s) <= 1"
    (change,) = compared(rule, rule, new_head=HEAD.replace("n: int", "n: real")).rules
    assert change.change == "stronger"
    assert Fraction(change.situations[0].records["s"]["n"]).denominator > 1


# ── names ──────────────────────────────────────────────────────────────────────────────────────
def test_a_new_name_for_the_same_meaning() -> None:
    old = "must before: forall s: Step given s.n > 2 expect R(s) < 1"
    found = compared(old, "must after: forall x: Step given x.n >= 3 expect R(x) < 1")
    (change,) = found.rules
    assert (change.name, change.change, change.renamed) == ("after", "equal", True)
    assert found.safe


def test_a_rule_that_kept_its_id_or_title_is_followed() -> None:
    old = '--- Slow.\nmust a: forall s: Step expect R(s) < 1\nmust b: forall s: Step expect Base(s) < 1 id "B"\n'
    new = '--- Slow.\nmust c: forall s: Step expect R(s) < 2\nmust d: forall s: Step expect Base(s) < 2 id "B"\n'
    found = compared(old, new)
    assert [(c.name, c.old.name if c.old else "", c.change) for c in found.rules] == [
        ("c", "a", "weaker"),
        ("d", "b", "weaker"),
    ]


def test_rules_that_came_and_went() -> None:
    found = compared("must a: forall s: Step expect R(s) < 1", "must b: forall s: Step expect R(s) > Base(s)")
    assert [(c.name, c.change) for c in found.rules] == [("a", "removed"), ("b", "added")]
    assert [f.code for f in found.findings] == ["S21"]
    assert not found.safe


def test_a_should_that_goes_is_told_but_harmless() -> None:
    found = compared("should a: forall s: Step expect R(s) < 1", "")
    assert [c.change for c in found.rules] == ["removed"]
    assert found.safe


def test_a_must_that_only_warns_is_not_safe() -> None:
    found = compared("must a: forall s: Step expect R(s) < 1", "should a: forall s: Step expect R(s) < 1 weight 2")
    (change,) = found.rules
    assert change.change == "equal"
    assert change.notes == ("severity: must, now should", "weight: 1, now 2")
    assert [f.code for f in found.findings] == ["S24"]
    assert not found.safe
    assert compared("should a: forall s: Step expect R(s) < 1", "must a: forall s: Step expect R(s) < 1").safe


# ── the rest of a spec ─────────────────────────────────────────────────────────────────────────
def test_a_parameter_moves_the_rules_that_mention_it() -> None:
    new = WAREHOUSE.replace("param  eps: real = 0.01", "param  eps: real = 0.02")
    found = compare_specs(parse_spec(WAREHOUSE), parse_spec(new))
    assert [(p.name, p.old, p.new, set(p.moved)) for p in found.params] == [
        ("eps", "0.01", "0.02", {"slow_near_people", "aisle_is_irrelevant"})
    ]
    assert {c.name for c in found.rules if c.change == "weaker"} == {"slow_near_people", "aisle_is_irrelevant"}


def test_a_parameter_from_outside_is_a_change_too() -> None:
    found = compare_specs(parse_spec(WAREHOUSE), parse_spec(WAREHOUSE, params={"v_safe": "1 [m/s]"}))
    assert [(p.name, p.old, p.new) for p in found.params] == [("v_safe", "0.5 [m/s]", "1 [m/s]")]


def test_examples_are_compared() -> None:
    line = "  ignores s = {clearance = 2 [m]}\n"
    found = compare_specs(parse_spec(WAREHOUSE), parse_spec(WAREHOUSE.replace(line, "")))
    assert [(e.rule, e.side, e.text) for e in found.examples] == [
        ("no_speed_bonus", "old", "ignores s = {clearance = 2 [m]}")
    ]
    assert "S29" in {f.code for f in found.findings}


def test_definitions_are_shown() -> None:
    found = compare_specs(parse_spec(WAREHOUSE), parse_spec(WAREHOUSE.replace("< 1.0 [m]", "< 2.0 [m]")))
    (text,) = found.declarations
    assert text.startswith("was: region risky")
    assert found.rule("edit_is_local").change == "weaker"  # beyond a larger region lies less
    assert found.rule("slow_near_people").change == "stronger"


@pytest.mark.parametrize("text", [WAREHOUSE, HELPFUL])
def test_a_spec_is_equal_to_itself_whether_its_data_is_at_hand_or_not(text: str) -> None:
    found = compare_specs(parse_spec(text), parse_spec(text))
    assert {c.change for c in found.rules} == {"equal"}
    assert (found.domains, found.params, found.examples, found.declarations, found.safe) == ((), (), (), (), True)


def test_what_protects_less_comes_first() -> None:
    rule = "must {}: forall s: Step expect R(s) < {}\n".format
    old = rule("a", 1) + rule("b", 1) + rule("c", 1)
    new = rule("a", 1) + rule("c", 2) + rule("d", "Base(s)")
    assert [(c.change, c.name) for c in compared(old, new).rules] == [
        ("removed", "b"),
        ("weaker", "c"),
        ("added", "d"),
        ("equal", "a"),
    ]


def test_states_without_a_way_back_make_no_loop() -> None:
    head = "spec s v1\nfeatures S { c: enum {p, q, r}  x: real in 0 .. 1 }\nreward R(s: S)\n"
    relation = "relation move(a: S, b: S) = {}\n".format
    loop = "must r: cycle t: S via move expect sum(R(t)) {} 0\n".format
    onward = relation("(a.c == p and b.c == q) or (a.c == q and b.c == r)")
    around = relation("(a.c == p and b.c == q) or (a.c == q and b.c == r) or (a.c == r and b.c == p)")

    def change(old: str, new: str) -> str:
        (found,) = compare_specs(parse_spec(head + old), parse_spec(head + new)).rules
        return found.change

    assert change(onward + loop("<="), onward + loop("<")) == "equal"
    assert change(around + loop("<="), around + loop("<")) == "stronger"
    assert change(around + loop("<="), onward + loop("<")) in ("weaker", "weaker_or_equal")
