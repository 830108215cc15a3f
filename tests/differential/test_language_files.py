"""What a spec takes from elsewhere: used files, parameters from outside, units, examples — read a second way."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rewarden.spec_lang import SpecError, load_spec, parse_spec, syntax
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.parser import parse
from rewarden.spec_lang.sanity.examples import example_result
from rewarden.spec_lang.sanity.z3 import Oracle
from rewarden.spec_lang.source import Source
from rewarden.spec_lang.spec import Spec
from rewarden.spec_lang.units import unit
from tests.reference import evaluate_units
from tests.reference.evaluate import EMPTY, Case, Evaluator
from tests.reference.evaluate_agreement import agree, reward
from tests.reference.evaluate_tree import declared, expanded
from tests.reference.evaluate_values import Irrational, Typed, encode
from tests.reference.evaluate_values import Path as Steps
from tests.reference.how_many import part_of
from tests.reference.random_rules import LITERALS, PARAMS, rule, vocabulary
from tests.reference.random_specs import HEADER, records

EXAMPLES = settings(max_examples=part_of(60), deadline=None, suppress_health_check=list(HealthCheck))


def statistic(kind: str, name: str, data: str, level: Fraction | None) -> Fraction:
    """A number for each data constant, by what the name ends in: prefixes of used files take no part."""
    return Fraction(len(kind) + len(data.rpartition(".")[2]), 8) + (level or 0)


def files_of(folder: Path):
    """Reads used files for the reference expansion."""

    def read(user: str, path: str) -> tuple[str, syntax.SpecFile]:
        found = (Path(user).parent / path).resolve()
        return str(found), parse(Source(found.name, found.read_text("utf-8")))

    return read


def both_readings(main: Path) -> tuple[Spec, Evaluator]:
    """The spec as loaded, and an evaluator of the tree that the reference wrote out on its own."""
    spec = load_spec(main)
    tree = parse(Source(main.name, main.read_text("utf-8")))
    whole = expanded(tree, str(main.resolve()), files_of(main.parent))
    return spec, Evaluator(declared(whole), short_reward, statistic)


def short_reward(name: str, columns) -> Fraction:
    return reward(name.rpartition(".")[2], columns)


# ── use ────────────────────────────────────────────────────────────────────────────────────────
DECLARED = re.compile(
    r"\b(Step|Act|R|Base|Q|M|W|logs|acts|pairs|moves|eps|k|v0|d0|strict|warm|side|away|aside|move|[fg][0-9])\b"
)


@st.composite
def used_specs(draw: st.DrawFn) -> tuple[str, str, str]:
    """A random vocabulary, and a rule that uses it from another file."""
    words, text = vocabulary(draw)
    kind = draw(st.sampled_from(("records", "varying", "trace", "cycle")))
    return kind, text, DECLARED.sub(r"v.\1", rule(draw, words, kind, "rule"))


@EXAMPLES
@given(st.data(), used_specs())
def test_rules_about_a_used_vocabulary(data: st.DataObject, files: tuple[str, str, str]) -> None:
    kind, vocabulary_text, rule_text = files
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vocabulary.rwd").write_text(f"spec vocabulary v1\n{vocabulary_text}", encoding="utf-8")
        main = Path(folder) / "main.rwd"
        main.write_text(f'spec main v1\nuse "vocabulary.rwd" as v\n{rule_text}', encoding="utf-8")
        try:
            spec, evaluator = both_readings(main)
        except SpecError as error:
            assume({d.code for d in error.diagnostics} != {"L05"})
            raise
    obligation = spec.unrolled("rule", 2) if kind in ("cycle",) else spec.obligations_of("rule")[-1]
    for _ in range(3):
        drawn = {r.name: data.draw(records(spec.features[r.type_name])) for r in obligation.records}
        if kind in ("trace", "cycle"):
            point = {"t": Steps(tuple(drawn.values()), closed=kind == "cycle")}
        else:
            point = drawn
            if kind == "varying":
                free = {v.name for v in evaluator.rules["rule"].quantifier.varying}
                kept = {f: x for f, x in drawn["a"].values.items() if f not in free}
                point["b"] = type(drawn["b"])(drawn["b"].type, {**drawn["b"].values, **kept})
        with suppress(Irrational):
            agree(evaluator, "rule", obligation, point)


SHARED = """spec shared v1
features Step { speed: real [m/s] in 0 .. 9 zone: enum {dock, eps} calm: bool }
param eps: real = 1 / 4
param top: real [m/s] = 5 [m/s]
region risky(s: Step) = s.speed > top and s.zone == eps
"""
LEFT = """spec left v1
use "shared.rwd" as b
reward R(s: b.Step)
data logs: b.Step from "logs.csv"
let over(s: b.Step) = (if b.risky(s) then s.speed - b.top else b.eps * 1 [m/s])
relation move(a, z: b.Step) = a.speed <= z.speed + b.eps * 4 [m/s]
must ignored:
  forall s: b.Step
  expect R(s) <= 0
"""
RIGHT = """spec right v1
use "../shared.rwd" as common
assume s: common.Step = s.calm implies not common.risky(s)
let twice(s: common.Step) = 2 * s.speed
"""
MAIN = """spec main v1
use "left.rwd" as l
use "deep/right.rwd" as r
param top: real [m/s] = 1 [m/s]
region risky(s: l.b.Step) = s.speed > top + r.common.top / 100
must a:
  forall s: l.b.Step, z: r.common.Step
  given l.b.risky(s) or risky(z with {zone = eps, speed = r.common.top})
  expect l.R(s) >= quantile(l.R(l.logs), l.b.eps) - r.twice(s) / 1 [m/s] + l.over(z) / 2 [m/s]
must b:
  trace t: r.common.Step of 3 steps via l.move
  given always (t.zone != eps or l.b.risky(t))
  expect sum(l.R(t) discount l.b.eps) <= sum(l.over(t)) * 1 [s/m] + r.common.eps
"""


@pytest.fixture
def diamond(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    for name, text in (("shared", SHARED), ("left", LEFT), ("deep/right", RIGHT), ("main", MAIN)):
        (tmp_path / f"{name}.rwd").write_text(text, encoding="utf-8")
    return tmp_path / "main.rwd"


@settings(max_examples=part_of(40), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_two_files_that_use_a_third_speak_of_the_same_records(diamond: Path, data: st.DataObject) -> None:
    spec, evaluator = both_readings(diamond)
    assert set(spec.features) == set(evaluator.declared.records) == {"l.b.Step"}
    assert [r.name for r in spec.rules] == list(evaluator.rules) == ["a", "b"]
    step = spec.features["l.b.Step"]
    agree(evaluator, "a", spec.obligation("a"), {n: data.draw(records(step)) for n in "sz"})
    agree(evaluator, "b", spec.obligation("b"), {"t": Steps(tuple(data.draw(records(step)) for _ in range(3)))})


# ── declarations ───────────────────────────────────────────────────────────────────────────────
@settings(max_examples=part_of(40), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_declarations_and_parameters(data: st.DataObject) -> None:
    """Record types, and the values of parameters in coherent SI, as the tree alone has them."""
    _, text = vocabulary(data.draw)
    spec = parse_spec(f"spec s v1\n{text}")
    evaluator = Evaluator(declared(spec.tree), reward)
    assert spec.features == evaluator.declared.records
    assert {n: tuple(t for _, t in r.params) for n, r in spec.rewards.items()} == evaluator.declared.rewards
    assert {n: d.members for n, d in spec.data.items()} == evaluator.declared.data
    check_params(spec, evaluator)


def check_params(spec: Spec, evaluator: Evaluator) -> None:
    assert set(spec.params) == set(evaluator.declared.params)
    for name, p in spec.params.items():
        value = evaluator.name(name, EMPTY)
        if p.kind == "enum":
            expected: object = Case(p.value)
        else:
            expected = p.value == 1 if p.kind == "bool" else evaluate_units.scale(p.unit).to_si(p.value)
        assert value == expected


OUTSIDE = [
    ({"v0": 7}, {"v0": Fraction(7)}),
    ({"v0": "36 [km/h]", "eps": 0.02}, {"v0": Fraction(10), "eps": Fraction(1, 50)}),
    ({"strict": True, "k": "2 + 2"}, {"strict": True, "k": Fraction(4)}),
    ({"warm": "50 [degF]"}, {"warm": Fraction(10)}),
    ({"warm": "300 [K]"}, None),
    ({"side": "right"}, {"side": "right"}),
    ({"side": " left ", "away": "middle"}, {"side": "left", "away": "middle"}),
    ({"warm": "-5.5 [degC]", "d0": Fraction(1, 3)}, {"warm": Fraction(-11, 2), "d0": Fraction(1, 3)}),
]


@pytest.mark.parametrize("given_, meant", OUTSIDE)
def test_parameters_set_from_outside(given_: dict, meant: dict | None) -> None:
    """They are in the declared unit unless they say another; what depends on them follows."""
    text = f"spec s v1\n{PARAMS}param far: real [m] = d0 * k + 2 [s] * v0\n"
    if meant is None:
        with pytest.raises(SpecError) as refused:
            parse_spec(text, params=given_)
        assert refused.value.code == "U04"
        return
    spec = parse_spec(text, params=given_)
    check_params(spec, Evaluator(declared(spec.tree, meant), reward))


COMPOUND = ["km/h", "kg*m/s^2", "m/s^2", "1/s", "N*m", "kg/(m*s^2)", "cm^3", "(km/h)^2", "m^-1"]


@pytest.mark.parametrize("text", [*evaluate_units.TABLE, *COMPOUND])
def test_units_have_the_factors_of_the_table(text: str) -> None:
    found = unit(text)
    expected = evaluate_units.scale(text)
    assert (found.factor, found.offset) == (expected.factor, expected.offset)


# ── examples ───────────────────────────────────────────────────────────────────────────────────
EXAMPLE_RULES = """
must pair:
  forall s, t: Step varying speed, lane
  given risky(s) and s.speed <= t.speed
  expect R(s) >= R(t)
must mixed:
  forall s: Step, a: Action
  given a.brake or |a.push| < 1 [m/s]
  expect score(s, a) >= 0
must close:
  forall x: Step near logs within 5 % in l1
  given x.temp > 10 [degC]
  expect R(x) >= R(anchor(x)) - eps
"""
VALUES = {
    "dist": ("0", "3 [m]", "200 [cm]"),
    "speed": ("0", "50 [km/h]", "-1 [m/s]", "v + 1 [m/s]"),
    "temp": ("20 [degC]", "-3.5 [degC]"),
    "slope": ("0", "-1", "5 %", "eps"),
    "lanes": ("1", "2 + 2"),
    "wet": ("true", "strict", "not strict", "eps < 1"),
    "lane": ("left", "right"),
    "push": ("0", "-v", "1 [m/s]"),
    "brake": ("true", "false"),
}


@st.composite
def examples(draw: st.DrawFn) -> tuple[str, str, dict[str, dict[str, str]]]:
    rule_name, of = draw(
        st.sampled_from([("pair", {"s": 0, "t": 0}), ("mixed", {"s": 0, "a": 1}), ("close", {"x": 0})])
    )
    bindings: dict[str, dict[str, str]] = {}
    for name in draw(st.lists(st.sampled_from(sorted(of)), min_size=1, unique=True)):
        features = ("push", "brake") if of[name] else ("dist", "speed", "temp", "slope", "lanes", "wet", "lane")
        chosen = draw(st.lists(st.sampled_from(features), min_size=1, max_size=4, unique=True))
        bindings[name] = {f: draw(st.sampled_from(VALUES[f])) for f in chosen}
    return rule_name, draw(st.sampled_from(("covers", "ignores"))), bindings


@settings(max_examples=part_of(80), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), examples())
def test_examples_fix_what_they_say_and_nothing_else(
    data: st.DataObject, case: tuple[str, str, dict[str, dict[str, str]]]
) -> None:
    """A record that fits the example's words has its values at the obligation's variables, and the other way round."""
    rule_name, kind, bindings = case
    words = ", ".join(f"{n} = {{{', '.join(f'{f} = {v}' for f, v in b.items())}}}" for n, b in bindings.items())
    text = f"{HEADER}{EXAMPLE_RULES}example of {rule_name}:\n  {kind} {words}\n"
    evaluator = Evaluator(declared(parse(Source("t", text))), reward)
    shared = (set(bindings.get("s", ())) & set(bindings.get("t", ()))) - {"speed", "lane"}
    if any(len({updated(evaluator, "Step", f, bindings[n][f]) for n in "st"}) > 1 for f in shared):
        with pytest.raises(SpecError) as refused:  # the two are equal in the features that do not vary
            parse_spec(text)
        assert {d.code for d in refused.value.diagnostics} == {"T21"}
        return
    spec = parse_spec(text)
    (example,) = spec.examples
    assert (example.rule, example.kind) == (rule_name, kind)
    obligation = spec.lowered[rule_name].obligation
    expected: dict[int, Fraction] = {}
    for view in obligation.records:
        record = spec.features[view.type_name]
        for f in record.features:
            if f.name in bindings.get(view.name, {}):
                value = updated(evaluator, view.type_name, f.name, bindings[view.name][f.name])
                start = record.offset(f.name)
                columns = [Fraction(int(c == value)) for c in f.cases] if f.cases else [Fraction(value)]
                expected |= dict(zip(view.variables[start : start + f.width], columns, strict=True))
    assert dict(example.values) == expected


@settings(max_examples=part_of(50), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), examples().filter(lambda case: case[0] != "close"))
def test_what_is_said_of_examples_is_true_of_completions(
    data: st.DataObject, case: tuple[str, str, dict[str, dict[str, str]]]
) -> None:
    """Of an example that holds, no completion says otherwise; of one that fails, the completion shown does."""
    rule_name, kind, bindings = case
    words = ", ".join(f"{n} = {{{', '.join(f'{f} = {v}' for f, v in b.items())}}}" for n, b in bindings.items())
    assumed = "assume s: Step = s.wet implies s.slope < 0.9\nassume a: Action = not (a.brake and a.push > 0 [m/s])\n"
    try:
        spec = parse_spec(f"{HEADER}{assumed}{EXAMPLE_RULES}example of {rule_name}:\n  {kind} {words}\n")
    except SpecError:
        return  # two values for one feature: see above
    evaluator = Evaluator(declared(spec.tree), reward, statistic)
    obligation, (example,) = spec.obligation(rule_name), spec.examples
    result = example_result(example, obligation, Oracle(2_000_000), 2_000_000)
    assert result.status != "undecided"

    def judged(values: Sequence[Fraction]) -> tuple[bool, bool]:
        """Whether such a record can occur, and whether the rule speaks of it, by the tree alone."""
        views = {v.name: (spec.features[v.type_name], v.variables) for v in obligation.records}
        point = {n: decoded(record, [values[i] for i in variables]) for n, (record, variables) in views.items()}
        return evaluator.assumed(point), evaluator.premise(rule_name, point)

    for _ in range(5):
        point = {v.name: data.draw(records(spec.features[v.type_name])) for v in obligation.records}
        values = [Fraction(0)] * len(obligation.variables)
        for view in reversed(obligation.records):
            for index, value in zip(view.variables, encode(point[view.name]), strict=True):
                values[index] = value
        for index, value in example.values:
            values[index] = value
        occurs, spoken = judged(values)
        assert not (occurs and result.status == "impossible")
        if occurs and result.status == "holds":
            assert spoken == (kind == "covers")
    if result.status == "fails" and result.completion is not None:
        assert all(result.completion[index] == value for index, value in example.values)
        assert judged(result.completion) == (True, kind == "ignores")


def decoded(record: RecordType, columns: Sequence[Fraction]) -> Typed:
    found: dict[str, object] = {}
    for f in record.features:
        part = columns[record.offset(f.name) : record.offset(f.name) + f.width]
        if f.cases:
            found[f.name] = f.cases[part.index(1)]
        else:
            found[f.name] = part[0] == 1 if f.kind == "bool" else tuple(part) if f.is_vector else part[0]
    return Typed(record, found)


def updated(evaluator: Evaluator, type_name: str, feature: str, value: str):
    """What `record with {feature = value}` makes of the feature, in problem units."""
    tree = parse(Source("t", f"spec s v1 must r: forall s: T expect R(s with {{{feature} = {value}}}) > 0"))
    (rule_,) = tree.items
    record = evaluator.declared.records[type_name]
    blank = {f.name: f.cases[0] if f.cases else f.lo for f in record.features}
    changed = evaluator.with_updates(rule_.expect.first.arguments[0], EMPTY.with_record("s", Typed(record, blank)))
    return changed.values[feature]


def test_every_literal_of_the_generator_reads() -> None:
    for quantity, texts in LITERALS.items():
        for text in texts:
            kind = f"real [{quantity}]" if quantity not in ("", "angle") else "real"
            if quantity == "angle":
                kind = "real [deg]"
            spec = parse_spec(f"spec s v1\n{PARAMS}param x: {kind} = {text}\n")
            check_params(spec, Evaluator(declared(spec.tree), reward))
