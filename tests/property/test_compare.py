"""Comparison is sound: a proved entailment is never contradicted by a reward, and a situation is what it says it is.

Random pairs of rules; the judge is the slow evaluator of syntax trees (tests/reference/evaluate.py), which shares no
code with lowering or with the comparison.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import product

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from rewarden.spec_lang import Spec, parse_spec
from rewarden.spec_lang.compare.model import RuleChange, Situation
from rewarden.spec_lang.compare.specs import compare_specs
from tests.reference import random_specs
from tests.reference.evaluate import Evaluator, Typed
from tests.reference.how_many import part_of

HEADER = """spec small v1
features S { x: real in 0 .. 3  w: bool  c: enum {p, q}  k: int in 0 .. 1 }
assume s: S = s.c == q implies s.x <= 2
reward R(s: S)
reward Q(s: S)
"""
XS = [Fraction(n, 2) for n in range(7)]
GRID = [{"x": x, "w": w, "c": c, "k": Fraction(k)} for x, w, c, k in product(XS, (False, True), ("p", "q"), (0, 1))]
OPS = st.sampled_from(["<", "<=", ">", ">=", "=="])
CONSTANTS = st.sampled_from(["0", "0.5", "1", "2"])


# ── random rules ───────────────────────────────────────────────────────────────────────────────
@st.composite
def conditions(draw: st.DrawFn, names: tuple[str, ...]) -> str:
    def one() -> str:
        s = draw(st.sampled_from(names))
        choice = draw(st.integers(0, 5))
        if choice == 5 and len(names) == 2:
            return f"{names[0]}.x {draw(OPS)} {names[1]}.x"
        return [
            f"{s}.x {draw(OPS)} {draw(CONSTANTS)}",
            f"{s}.w",
            f"{s}.c == {draw(st.sampled_from(['p', 'q']))}",
            f"{s}.k == 1",
            f"(R({s}) {draw(OPS)} 0 or {s}.w)",
            f"not ({s}.x < 1 and {s}.w)",
        ][choice]

    parts = [one() for _ in range(draw(st.integers(0, 2)))]
    return f"given {draw(st.sampled_from([' and ', ' or '])).join(parts)}" if parts else ""


@st.composite
def about_one(draw: st.DrawFn) -> str:
    conclusions = [
        f"R(s) {draw(OPS)} {draw(CONSTANTS)}",
        f"R(s) {draw(OPS)} s.x",
        f"R(s) {draw(OPS)} Q(s) + {draw(CONSTANTS)}",
        f"|R(s) - Q(s)| <= {draw(CONSTANTS)}",
        f"R(s) >= 0 or Q(s) {draw(OPS)} {draw(CONSTANTS)}",
        f"R(s with {{x = s.x / 2}}) >= R(s) - {draw(CONSTANTS)}",
        f"R(s with {{w = false}}) {draw(OPS)} R(s)",
        f"{draw(CONSTANTS)} <= R(s) <= 1 + s.x",
    ]
    return f"forall s: S {draw(conditions(('s',)))} expect {draw(st.sampled_from(conclusions))}"


@st.composite
def about_two(draw: st.DrawFn) -> str:
    varying = draw(st.sampled_from(["", "varying x", "varying x, w", "varying c"]))
    conclusions = [
        f"R(a) {draw(OPS)} R(b) + {draw(CONSTANTS)}",
        f"|R(a) - R(b)| <= {draw(CONSTANTS)}",
        "R(a) - R(b) <= |a.x - b.x|",
        f"R(a) >= R(b) or Q(a) {draw(OPS)} Q(b)",
    ]
    a, b = draw(st.sampled_from([("a", "b"), ("b", "a")]))
    return f"forall {a}, {b}: S {varying} {draw(conditions(('a', 'b')))} expect {draw(st.sampled_from(conclusions))}"


rules = st.one_of(about_one(), about_two())


@st.composite
def pairs(draw: st.DrawFn) -> tuple[str, str]:
    """Two rules, mostly alike: then one place of the text differs."""
    first = draw(rules)
    if draw(st.integers(0, 3)) == 0:
        return first, draw(rules)
    changes = [
        ("<=", "<"),
        (">=", ">"),
        (" 0", " 1"),
        ("0.5", "1"),
        ("1", "2"),
        ("and", "or"),
        ("varying x", "varying x, k"),
    ]
    old, new = draw(st.sampled_from([c for c in changes if c[0] in first] or [("expect", "expect")]))
    changed = first.replace(old, new, 1) if draw(st.booleans()) else new.join(first.rsplit(old, 1))
    return (first, changed) if draw(st.booleans()) else (changed, first)


def spec_of(rule: str, severity: str = "must") -> Spec:
    return parse_spec(f"{HEADER}{severity} rule: {rule}\n", "small.rwd")


# ── the judge ──────────────────────────────────────────────────────────────────────────────────
Reward = Callable[[str, list[Fraction]], Fraction]


def failures(spec: Spec, reward: Reward, records: list[dict[str, object]], limit: int = 10**9) -> int:
    """How many assignments of these records to the rule's variables violate it, up to a limit."""
    evaluator = Evaluator(spec, reward)
    rule = evaluator.rules["rule"]
    names = [p.name for p in rule.quantifier.params]
    varying = {v.name for v in rule.quantifier.varying}
    kind = spec.features["S"]
    found = 0
    for choice in product(records, repeat=len(names)):
        if varying and any(choice[0][f] != r[f] for r in choice for f in r if f not in varying):
            continue
        point = {name: Typed(kind, values) for name, values in zip(names, choice, strict=True)}
        if not evaluator.assumed(point) or not evaluator.premise("rule", point):
            continue
        if not evaluator.conclusion("rule", point):
            found += 1
            if found >= limit:
                break
    return found


def table(seed: int, values: int) -> Reward:
    """A reward that takes few values, so that comparisons are often met with equality."""
    known: dict[tuple[object, ...], Fraction] = {}
    generator = random.Random(seed)

    def reward(name: str, columns: list[Fraction]) -> Fraction:
        key = (name, *columns)
        if key not in known:
            known[key] = Fraction(generator.randrange(values), 2)
        return known[key]

    return reward


def plain(seed: int) -> Reward:
    """A simple reward: satisfies more rules than a random table does."""
    generator = random.Random(seed)
    slope, constant = (
        {n: generator.choice([-1, 0, 0, 1]) for n in "RQ"},
        {n: generator.choice([-1, 0, 1]) for n in "RQ"},
    )
    return lambda name, columns: Fraction(constant[name]) + slope[name] * columns[0]


def check_entailments(change: RuleChange, old: Spec, new: Spec, rewards: list[Reward]) -> None:
    """Whatever reward satisfies the one on the grid satisfies the other there (`with` stays on a grid of its own)."""
    if "no reward satisfies" in change.reason:
        return  # what contradicts itself may do so off the grid
    coarse = [r for r in GRID if r["k"] == 0 and r["x"].denominator == 1 and r["x"] != 3]
    halves = [dict(r, x=r["x"] / n) for r in coarse for n in (1, 2, 4)]
    records = list({tuple(r.items()): r for r in halves}.values())
    for reward in rewards:
        fails = {"old": failures(old, reward, records, 1), "new": failures(new, reward, coarse, 1)}
        if change.old_implies_new == "proved" and fails["new"]:
            assert fails["old"], "a reward satisfies OLD and not NEW"
        fails = {"old": failures(old, reward, coarse, 1), "new": failures(new, reward, records, 1)}
        if change.new_implies_old == "proved" and fails["old"]:
            assert fails["new"], "a reward satisfies NEW and not OLD"


def check_situation(shown: Situation, specs: Mapping[str, Spec], seed: int) -> None:
    refusing = specs[shown.refused_by]
    accepting = specs["old" if shown.refused_by == "new" else "new"]

    def reward(name: str, columns: list[Fraction]) -> Fraction:
        assert shown.world is not None
        return shown.world.call(name, tuple(columns))

    here = [{k: Fraction(v) if k in ("x", "k") else v for k, v in r.items()} for r in shown.records.values()]
    assert failures(refusing, reward, here) > 0
    generator = random.Random(seed)
    near = [dict(r, x=x) for r in here for x in (*XS, r["x"] / 2, r["x"] * 2) if 0 <= x <= 3]
    near += [dict(r, w=not r["w"]) for r in here]
    anywhere = generator.sample(GRID, 12)
    records = here + (near if len(here) == 1 else generator.sample(near, min(10, len(near)))) + anywhere
    assert failures(accepting, reward, records) == 0
    for told in shown.rewards:
        name, _, argument = told.call.partition("(")
        if argument[:-1] in shown.records:
            record = here[list(shown.records).index(argument[:-1])]
            columns = [record["x"], Fraction(record["w"]), Fraction(record["c"] == "p"), Fraction(record["c"] == "q")]
            assert reward(name, [*columns, record["k"]]) == told.value


@settings(max_examples=part_of(80), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pair=pairs(), seed=st.integers(0, 10**6))
def test_what_is_said_about_two_rules_is_so(pair: tuple[str, str], seed: int) -> None:
    old, new = spec_of(pair[0]), spec_of(pair[1])
    (change,) = compare_specs(old, new).rules
    event(change.change)
    for shown in change.situations:
        check_situation(shown, {"old": old, "new": new}, seed)
    if "proved" in (change.old_implies_new, change.new_implies_old):
        check_entailments(change, old, new, [table(seed, 2), table(seed + 1, 3), plain(seed), plain(seed + 1)])


@settings(max_examples=part_of(25), deadline=None)
@given(rule=rules)
def test_a_rule_is_equal_to_itself(rule: str) -> None:
    (change,) = compare_specs(spec_of(rule), spec_of(rule)).rules
    assert (change.change, change.by) == ("equal", "text")


@settings(max_examples=part_of(25), deadline=None)
@given(pair=pairs())
def test_the_other_way_round_is_the_mirror_image(pair: tuple[str, str]) -> None:
    old, new = spec_of(pair[0]), spec_of(pair[1])
    (there,), (back,) = compare_specs(old, new).rules, compare_specs(new, old).rules
    proved = (there.old_implies_new == "proved", there.new_implies_old == "proved")
    assert proved == (back.new_implies_old == "proved", back.old_implies_new == "proved")


@settings(max_examples=10, deadline=None)
@given(pair=pairs())
def test_the_same_question_gets_the_same_answer(pair: tuple[str, str]) -> None:
    old, new = spec_of(pair[0]), spec_of(pair[1])
    assert compare_specs(old, new) == compare_specs(old, new)


# ── the same domain, declared otherwise ────────────────────────────────────────────────────────
FEATURES = [
    ("  dist: real [m] in 0 .. 40\n", "  dist: real [cm] in 0 .. 4000\n"),
    ("  speed: real [km/h] in -10 .. 90\n", "  speed: real [km/h] in -10 .. 90\n"),
    ("  temp: real [degC] in -20 .. 60\n", "  temp: real [K] in 253.15 .. 333.15\n"),
    ("  slope: real in -1 .. 1\n", "  slope: real in -1 .. 1\n"),
    ("  lanes: int in 1 .. 4\n", "  lanes: int in 1 .. 4\n"),
    ("  wet: bool\n", "  wet: bool\n"),
    ("  lane: enum {left, middle, right}\n", "  lane: enum {right, left, middle}\n"),
    ("  e: real ^ 3 [cm] in -2 .. 2\n", "  e: real ^ 3 [mm] in -20 .. 20\n"),
]


@settings(max_examples=part_of(60), deadline=None)
@given(
    premise=random_specs.truths(1),
    conclusion=random_specs.truths(1),
    order=st.permutations(range(len(FEATURES))),
    converted=st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_other_units_and_another_order_change_nothing(
    premise: str, conclusion: str, order: list[int], converted: list[bool]
) -> None:
    before = "".join(old for old, _ in FEATURES)
    after = "".join(FEATURES[k][converted[k]] for k in order)
    assert before in random_specs.HEADER
    rule = f"\nmust rule: forall s, t: Step given {premise} expect {conclusion}\n"
    old, new = (parse_spec(head + rule) for head in (random_specs.HEADER, random_specs.HEADER.replace(before, after)))
    found = compare_specs(old, new)
    (change,) = found.rules
    event(change.by)
    assert change.change == "equal"
    assert all((d.widened, d.narrowed) == ("refuted", "refuted") for d in found.domains)
