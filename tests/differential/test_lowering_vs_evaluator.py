"""The lowering against the slow evaluator of the syntax tree: equal truth, exactly, at random records."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rewarden.spec_lang import SpecError, parse_spec
from rewarden.spec_lang.evaluate import truth
from rewarden.spec_lang.obligation import Statistic
from rewarden.spec_lang.spec import Spec
from tests.reference.evaluate import Evaluator, Irrational, Typed
from tests.reference.how_many import part_of
from tests.reference.random_specs import HEADER, assignment, records, truths

RELAXED = settings(max_examples=part_of(60), deadline=None, suppress_health_check=list(HealthCheck))


def reward(name: str, columns: tuple[Fraction, ...] | list[Fraction]) -> Fraction:
    """An arbitrary exact function of the encoded columns, with ties."""
    total = sum((i % 5 - 2) * x for i, x in enumerate(columns))
    return Fraction(round(total), 4) + (1 if name == "Q" else 0)


def statistic(kind: str, name: str, data: str, level: Fraction | None) -> Fraction:
    return Fraction(len(kind) + len(data), 8) + (level or 0)


def at(s: Statistic) -> Fraction:
    return statistic(s.kind, s.reward, s.data, s.level)


def agree(spec: Spec, rule: str, points: dict[str, Typed], anchors: dict[str, Typed] | None = None) -> None:
    """Premise, conclusion and assumption have equal truth in both readings."""
    evaluator = Evaluator(spec, reward, statistic, anchors or {})
    obligation = spec.lowered[rule].obligation
    named = {**points, **{f"anchor({k})": v for k, v in (anchors or {}).items()}}
    variables = assignment(obligation, named)

    def holds(formula: object) -> bool:
        return truth(formula, variables, reward, at)  # type: ignore[arg-type]

    try:
        expected = (evaluator.assumed(points), evaluator.premise(rule, points), evaluator.conclusion(rule, points))
    except Irrational:
        assume(False)
    assert holds(obligation.structure)
    assert (holds(obligation.assume), holds(obligation.premise), holds(obligation.conclusion)) == expected


@RELAXED
@given(st.data(), truths(2), truths(2))
def test_random_expressions(data: st.DataObject, premise: str, conclusion: str) -> None:
    text = f"{HEADER}\nmust rule:\n  forall s, t: Step\n  given {premise}\n  expect {conclusion}\n"
    spec = parse_spec(text)
    step = spec.features["Step"]
    for _ in range(4):
        agree(spec, "rule", {"s": data.draw(records(step)), "t": data.draw(records(step))})


RULES = """
assume s: Step = s.lane == right implies s.speed <= 20 [m/s]
assume a: Action = not (a.brake and a.push > 0 [m/s])

must what_if:
  forall s: Step
  given s.speed >= 20 [km/h] and s.lanes < 4 and s.dist + 1 [m] <= 30 [m]
  expect R(s with {speed = s.speed - 5 [m/s], lanes = s.lanes + 1, dist = s.dist + 100 [cm]}) > R(s)

must swaps:
  forall s: Step
  expect R(s with {wet = not s.wet, lane = middle, e = -s.e}) <= R(s with {lane = s.lane, wet = s.slope > 0})
must read_back:
  forall s: Step
  expect gap(s with {dist = 3 [m]}) <= 3 [m] - s.speed * 1 [s] and risky(s with {wet = s.slope < 0, lane = left})
must chains:
  forall s: Step
  given 0 <= s.slope < 0.5 != eps
  expect -1 <= s.slope <= s.slope < 1
must warm:
  forall s: Step
  given s.temp >= 32 [degF]
  expect R(s with {temp = 0 [degC]}) != R(s) or s.temp == 0 [degC]
must mixed:
  forall s: Step, a: Action
  given a.brake or |a.push| < 1 [m/s]
  expect score(s, a) >= Q(s, a) - eps
must vectors:
  forall s: Step
  expect dot(s.e, s.e) <= 0.0004 [m^2] and l2(s.e) <= 3 [cm] and max(s.e) >= min(s.e) and linf(2 * s.e / 4) < 1 [cm]
must ratio:
  forall s: Step
  expect s.dist / (s.lanes + 1) <= 10 [m] and s.speed / (s.temp_free_speed) < 1
must far:
  forall s: Step
  given beyond(risky(s) and (|s.slope| <= 0.5 or s.dist < 3 [m]), 5 %)
  expect R(s) == Q(s, anyone)
"""
RULES = RULES.replace(" and s.speed / (s.temp_free_speed) < 1", "").replace("Q(s, anyone)", "R(s) + 0")


@pytest.fixture(scope="module")
def fixed() -> Spec:
    return parse_spec(HEADER + RULES)


NAMES = ["what_if", "swaps", "read_back", "chains", "warm", "mixed", "vectors", "ratio"]


@pytest.mark.parametrize("rule", NAMES)
@settings(max_examples=part_of(40), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_each_form(fixed: Spec, rule: str, data: st.DataObject) -> None:
    records_of = dict(next(r for r in fixed.rules if r.name == rule).records)
    agree(fixed, rule, {n: data.draw(records(fixed.features[t])) for n, t in records_of.items()})


@RELAXED
@given(st.data())
def test_absolute_values_in_a_region_split_into_polytopes(data: st.DataObject) -> None:
    """|x| <= c is -c <= x <= c, in `beyond` too."""
    rule = "must {}:\n  forall s: Step\n  given beyond(risky(s) and ({}), 5 %)\n  expect true\n"
    written = rule.format("a", "-0.5 <= s.slope and s.slope <= 0.5 or s.dist < 3 [m]")
    spec = parse_spec(HEADER + rule.format("b", "|s.slope| <= 0.5 or s.dist < 3 [m]") + written)
    point = {"s": data.draw(records(spec.features["Step"]))}
    agree(spec, "a", point)
    one, other = (spec.lowered[n].obligation for n in "ab")
    assert truth(one.premise, assignment(one, point)) == truth(other.premise, assignment(other, point))


@RELAXED
@given(st.data())
def test_varying_shares_all_other_features(data: st.DataObject) -> None:
    spec = parse_spec(
        HEADER + "assume s: Step = s.wet implies s.slope < 0.9\n"
        "must rule:\n  forall a, b: Step varying speed, lane\n  given risky(a) and a.speed <= b.speed\n"
        "  expect R(a) >= R(b) - eps and a.dist == b.dist\n"
    )
    step = spec.features["Step"]
    a, other = data.draw(records(step)), data.draw(records(step))
    b = Typed(step, {**a.values, "speed": other.values["speed"], "lane": other.values["lane"]})
    agree(spec, "rule", {"a": a, "b": b})
    names = [v.name for v in spec.lowered["rule"].obligation.variables]
    assert [n for n in names if n.startswith("b.")] == ["b.speed", "b.lane=left", "b.lane=middle", "b.lane=right"]


NEAR = [
    ("Emb", "2 [cm] in l2"),
    ("Emb", "20 [mm] in l1"),
    ("Emb", "10 % in l2"),
    ("Mix", "5 % in l1"),
    ("Mix", "{dist = 1 [m], n = 2} in l1"),
    ("Mix", "{speed = 20 %} in l2"),
]


@pytest.mark.parametrize("kind, radius", NEAR)
@settings(max_examples=part_of(25), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_balls_around_data(kind: str, radius: str, data: st.DataObject) -> None:
    spec = parse_spec(
        "spec s v1 features Emb { e: real ^ 2 [cm] in -3 .. 3 }"
        " features Mix { dist: real [m] in 0 .. 4 speed: real [m/s] in 0 .. 2 n: int in 0 .. 9 }"
        f' reward R(x: {kind}) data d: {kind} from "d.csv"'
        f" must rule: forall x: {kind} near d within {radius} given R(x) > 0 expect |R(x) - R(anchor(x))| <= 0.5"
    )
    record = spec.features[kind]
    agree(spec, "rule", {"x": data.draw(records(record))}, {"x": data.draw(records(record))})


def test_beyond_implies_the_complement() -> None:
    spec = parse_spec(
        HEADER + "must far:\n  forall s: Step\n  given beyond(risky(s) or odd(s), 5 %)\n"
        "  expect not (risky(s) or odd(s))\n"
    )
    assert spec.rules[0].name == "far"


@RELAXED
@given(st.data(), truths(1).filter(lambda t: "R(" not in t and "l1" not in t))
def test_beyond_is_disjoint_from_its_region(data: st.DataObject, region: str) -> None:
    text = f"{HEADER}\nmust far:\n  forall s, t: Step\n  given beyond({region}, 5 %)\n  expect not ({region})\n"
    try:
        spec = parse_spec(text)
    except SpecError as error:
        refused = error  # a product of features in the region
    else:
        refused = None
    if refused is not None:
        assert {d.code for d in refused.diagnostics} <= {"L03", "L05"}
        return
    obligation = spec.lowered["far"].obligation
    step = spec.features["Step"]
    point = assignment(obligation, {"s": data.draw(records(step)), "t": data.draw(records(step))})
    if truth(obligation.premise, point):
        assert truth(obligation.conclusion, point)


@pytest.mark.parametrize("region", ["s.lanes > 2", "s.lanes >= 3", "not (s.lanes <= 2)", "s.lanes + s.lanes > 5 - 1"])
@pytest.mark.parametrize("lanes", [1, 2, 3, 4])
def test_beyond_takes_atoms_over_ints_as_discrete(region: str, lanes: int) -> None:
    """However the region is written, its complement among the whole numbers is beyond it: an int has no rim."""
    spec = parse_spec(f"{HEADER}\nmust far:\n  forall s: Step\n  given beyond({region}, 40 %)\n  expect R(s) == 0\n")
    step = spec.features["Step"]
    first = {
        f.name: False if f.kind == "bool" else f.cases[0] if f.cases else (f.lo,) * f.size if f.is_vector else f.lo
        for f in step.features
    }
    point = {"s": Typed(step, {**first, "lanes": Fraction(lanes)})}
    agree(spec, "far", point)
    obligation = spec.obligation("far")
    assert truth(obligation.premise, assignment(obligation, point)) == (lanes <= 2)
