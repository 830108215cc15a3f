"""Random specs over the whole grammar: what they are lowered to has the truth that the syntax tree has, exactly.

Every quantifier has its own test; points are drawn where the two could differ: at data rows, at the rims of balls, on
traces that stay where they are.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rewarden.spec_lang import SpecError, parse_spec, syntax
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.spec import Spec
from tests.reference import evaluate, evaluate_data, evaluate_near
from tests.reference.evaluate import Evaluator
from tests.reference.evaluate_agreement import agree, agree_near, assignment, named, reward, write_rows
from tests.reference.evaluate_tree import declared
from tests.reference.evaluate_values import Irrational, Row, Typed
from tests.reference.how_many import part_of
from tests.reference.random_rules import Draw, rule, vocabulary
from tests.reference.random_specs import records, values

EXAMPLES = settings(max_examples=part_of(120), deadline=None, suppress_health_check=list(HealthCheck))
POINTS = 4


@st.composite
def specs(draw: st.DrawFn, kind: str) -> str:
    words, text = vocabulary(draw)
    return f"spec random v1\n{text}{rule(draw, words, kind, 'rule')}"


def parsed(text: str, base: Path | None = None) -> Spec:
    """The spec; the few whose regions have too many polytopes are no case."""
    try:
        return parse_spec(text, base=base)
    except SpecError as error:
        if {d.code for d in error.diagnostics} != {"L05"}:
            raise
    assume(False)
    raise AssertionError


# ── points ─────────────────────────────────────────────────────────────────────────────────────
def binary(draw: Draw, f: Feature) -> object:
    """A value that a data file can hold exactly."""
    if f.kind in ("bool", "enum", "int") and f.size == 1:
        return draw(values(f))
    one = st.integers(0, 8).map(lambda k: f.lo + (f.hi - f.lo) * Fraction(k, 8))
    return tuple(draw(one) for _ in range(f.size)) if f.is_vector else draw(one)


def row(draw: Draw, spec: Spec, data: str) -> Row:
    members = {m: spec.features[t] for m, t in spec.data[data].members}
    return Row({m: Typed(t, {f.name: binary(draw, f) for f in t.features}) for m, t in members.items()})


def tables(draw: Draw, spec: Spec) -> dict[str, list[Row]]:
    return {d: [row(draw, spec, d) for _ in range(draw(st.integers(1, 4)))] for d in spec.data}


def around(draw: Draw, near: syntax.Near, evaluator: Evaluator, anchor: Typed) -> Typed:
    """A record about as far from the row as the radius says, or anywhere."""
    changed = dict(anchor.values)
    for f in anchor.type.features:
        radius = evaluate_near.radius(evaluator, near, f)
        if radius is None or f.kind not in ("real", "int"):
            if draw(st.integers(0, 5)) == 0:
                changed[f.name] = draw(values(f))
            continue
        steps = [draw(st.sampled_from((-4, -2, -1, 0, 0, 1, 3, 4, 5))) for _ in range(f.size)]
        old = changed[f.name] if f.is_vector else (changed[f.name],)
        moved = tuple(x + radius * Fraction(k, 4) for x, k in zip(old, steps, strict=True))
        if f.kind == "int":
            moved = tuple(Fraction(round(x)) for x in moved)
        changed[f.name] = moved if f.is_vector else moved[0]
    return Typed(anchor.type, changed)


def path(draw: Draw, step: RecordType, length: int, closed: bool = False) -> evaluate.Path:
    """Records of which some are followed by themselves."""
    found = [draw(records(step))]
    while len(found) < length:
        again = draw(st.integers(0, 3)) == 0
        found.append(found[-1] if again else draw(records(step)))
    return evaluate.Path(tuple(found), closed)


def statistic(kind: str, name: str, data: str, level: Fraction | None) -> Fraction:
    """Any number will do where the data are not read."""
    return Fraction(len(kind) + len(data) - len(name), 8) + (level or 0)


# ── the quantifiers ────────────────────────────────────────────────────────────────────────────
@EXAMPLES
@given(st.data(), specs("records") | specs("varying"))
def test_records(data: st.DataObject, text: str) -> None:
    spec = parsed(text)
    evaluator = Evaluator(declared(spec.tree), reward, statistic)
    (obligation,) = spec.obligations_of("rule")
    quantifier = evaluator.rules["rule"].quantifier
    assert isinstance(quantifier, syntax.Forall)
    for _ in range(POINTS):
        point = {p.name: data.draw(records(spec.features[p.type_name])) for p in quantifier.params}
        if quantifier.varying:
            free = {v.name for v in quantifier.varying}
            kept = {k: v for k, v in point["a"].values.items() if k not in free}
            point["b"] = Typed(point["b"].type, {**point["b"].values, **kept})
        with suppress(Irrational):  # a root defeats the evaluator at a few points
            agree(evaluator, "rule", obligation, point)


@EXAMPLES
@given(st.data(), specs("trace"))
def test_traces(data: st.DataObject, text: str) -> None:
    spec = parsed(text)
    evaluator = Evaluator(declared(spec.tree), reward, statistic)
    quantifier = evaluator.rules["rule"].quantifier
    assert isinstance(quantifier, syntax.Trace)
    steps = int(evaluator.value(quantifier.steps, {}))
    obligations = spec.obligations_of("rule")
    lengths = [steps] if quantifier.exact else list(range(1, steps + 1))
    assert len(obligations) == len(lengths)
    for length, obligation in zip(lengths, obligations, strict=True):
        assert [r.name for r in obligation.records] == [f"t[{i}]" for i in range(length)]
        for _ in range(2):
            point = {"t": path(data.draw, spec.features["Step"], length)}
            with suppress(Irrational):  # a root defeats the evaluator at a few points
                agree(evaluator, "rule", obligation, point)


@EXAMPLES
@given(st.data(), specs("cycle"), st.integers(1, 3))
def test_cycles(data: st.DataObject, text: str, length: int) -> None:
    spec = parsed(text)
    evaluator = Evaluator(declared(spec.tree), reward, statistic)
    obligation = spec.unrolled("rule", length)
    for _ in range(POINTS):
        point = {"t": path(data.draw, spec.features["Step"], length, closed=True)}
        with suppress(Irrational):  # a root defeats the evaluator at a few points
            agree(evaluator, "rule", obligation, point)


# ── rules about data ───────────────────────────────────────────────────────────────────────────
def with_data(text: str, draw: Draw) -> tuple[Spec, Evaluator] | None:
    """The spec, its tables drawn and read; None where a row breaks an assumption, which the reader must have seen."""
    with tempfile.TemporaryDirectory() as folder:
        spec = parsed(text, Path(folder))
        rows = tables(draw, spec)
        for name, found in rows.items():
            write_rows(Path(folder), name, found)
        evaluator = Evaluator(declared(spec.tree), reward, rows=rows)
        for name, found in rows.items():
            try:
                occur = all(evaluator.assumed({"p": r}) for r in found)
            except Irrational:
                return None
            if not occur:
                with pytest.raises(DataError) as refused:
                    spec.rows(name)
                assert refused.value.code == "D14"
                return None
            spec.rows(name)
    return spec, evaluator


@EXAMPLES
@given(st.data(), specs("near"))
def test_near(data: st.DataObject, text: str) -> None:
    found = with_data(text, data.draw)
    if found is None:
        return
    spec, evaluator = found
    (obligation,) = spec.obligations_of("rule")
    near = evaluator.rules["rule"].quantifier
    assert isinstance(near, syntax.Near)
    for k, r in enumerate(evaluate_data.rows_of(evaluator, near.data.name)):
        anchor = r.members[""]
        evaluator.anchors = {"x": anchor}
        for _ in range(2):
            here = around(data.draw, near, evaluator, anchor)
            with suppress(Irrational):  # a root defeats the evaluator at a few points
                agree_near(evaluator, "rule", obligation, here, anchor, k)


@EXAMPLES
@given(st.data(), specs("away"))
def test_not_near(data: st.DataObject, text: str) -> None:
    found = with_data(text, data.draw)
    if found is None:
        return
    spec, evaluator = found
    (obligation,) = spec.obligations_of("rule")
    near = evaluator.rules["rule"].quantifier
    assert isinstance(near, syntax.Near)
    assert near.away
    assert obligation.instances is None
    for r in evaluate_data.rows_of(evaluator, near.data.name):
        for _ in range(2):
            here = around(data.draw, near, evaluator, r.members[""])
            if evaluate_near.in_range(here):
                with suppress(Irrational):  # a root defeats the evaluator at a few points
                    agree(evaluator, "rule", obligation, {"x": here})


@EXAMPLES
@given(st.data(), specs("rows") | specs("share"))
def test_rows_and_shares(data: st.DataObject, text: str) -> None:
    found = with_data(text, data.draw)
    if found is None:
        return
    spec, evaluator = found
    (obligation,) = spec.obligations_of("rule")
    r = evaluator.rules["rule"]
    assert isinstance(r.quantifier, syntax.ForallRows)
    name, rows = r.quantifier.name, evaluate_data.rows_of(evaluator, r.quantifier.data.name)
    assert obligation.instances is not None
    assert not obligation.instances.centred
    assert len(obligation.instances.anchors) == len(rows)
    columns = dict(obligation.instances.fixed)
    assert sorted(columns) == list(range(len(obligation.variables)))
    for anchor, point in zip(obligation.instances.anchors, rows, strict=True):
        fixed = [Fraction(float(anchor[columns[i]])) for i in range(len(columns))]
        assert fixed == assignment(obligation, named({name: point}, {}))
        with suppress(Irrational):  # a root defeats the evaluator at a few points
            agree(evaluator, "rule", obligation, {name: point})
    shared = evaluate_data.shared(r.expect)
    if shared is None:
        assert obligation.share is None
        return
    _, op, level = shared
    assert obligation.share is not None
    assert (obligation.share.op, obligation.share.level) == (op, evaluator.value(level, {}))
    confidence = None if r.confidence is None else evaluator.value(r.confidence, {})
    assert obligation.share.confidence == confidence
