"""AST → text → AST for random trees, and what random trees mean: a spec, or diagnostics; the limits met exactly."""

from __future__ import annotations

import sys
from fractions import Fraction

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewarden.spec_lang import SpecError, limits, parse_spec
from rewarden.spec_lang.parser import decode, keywords, parse
from rewarden.spec_lang.printer import print_spec
from rewarden.spec_lang.source import Source, Span
from rewarden.spec_lang.syntax import (
    Abs,
    Apply,
    Arithmetic,
    AssumeDecl,
    Binding,
    Compare,
    Connective,
    Cycle,
    DataSymbol,
    Definition,
    Discounted,
    ExampleCase,
    ExampleDecl,
    Expr,
    FeaturesDecl,
    Field,
    FieldDecl,
    Forall,
    ForallRows,
    If,
    Implies,
    Index,
    Name,
    Near,
    Negate,
    Not,
    Number,
    Param,
    ParamDecl,
    RewardSymbol,
    RuleDecl,
    SpecFile,
    Temporal,
    Trace,
    Truth,
    Update,
    UseDecl,
    With,
)
from tests.reference.how_many import part_of
from tests.reference.random_rules import QUANTIFIERS, rule, vocabulary
from tests.reference.random_specs import HEADER, truths
from tests.reference.random_texts import survives

NOWHERE = Span(Source("generated", ""), 0, 0, 1, 1)


def outcome(raw: bytes) -> SpecError | None:
    try:
        parse_spec(decode(raw, "fuzz.rwd").text, "fuzz.rwd")
    except SpecError as error:
        return error
    return None


@settings(max_examples=part_of(30), deadline=None, suppress_health_check=list(HealthCheck))
@given(truths(3))
def test_random_rules_round_trip(text: str) -> None:
    tree = parse(Source("t", f"{HEADER}must a: forall s, t: Step expect {text}"))
    assert parse(Source("t", print_spec(tree))) == tree


@settings(max_examples=part_of(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), st.sampled_from(QUANTIFIERS))
def test_random_specs_round_trip(data: st.DataObject, kind: str) -> None:
    words, text = vocabulary(data.draw)
    tree = parse(Source("t", f"spec random v1\n{text}{rule(data.draw, words, kind, 'rule')}"))
    assert parse(Source("t", print_spec(tree))) == tree


def test_definitions_cannot_explode() -> None:
    """Each definition doubles the last: 2^60 terms, refused after a bounded amount of work."""
    lines = ["spec s v1", "features T { x: real in 0 .. 1 }", "let f0(t: T) = max(t.x, 0.5)"]
    lines += [f"let f{k}(t: T) = max(f{k - 1}(t), f{k - 1}(t) * t.x)" for k in range(1, 60)]
    lines += ["must a: forall t: T expect f59(t) >= 0"]
    error = outcome("\n".join(lines).encode())
    assert error is not None
    assert error.code == "L05"


def test_numbers_cannot_explode() -> None:
    product = " * ".join(["1e400"] * 2000)
    error = outcome(f"spec s v1 param p: real = {product}".encode())
    assert error is not None
    assert error.code == "L05"


def test_the_deepest_allowed_spec_needs_no_deep_stack() -> None:
    """Nested definitions at the depth limit load well inside the default recursion limit."""
    deep = "(" * (limits.NESTING - 3) + "t.x" + " + 1)" * (limits.NESTING - 3)
    lines = ["spec s v1", "features T { x: real in 0 .. 1 }", f"let f0(t: T) = {deep}"]
    lines += [f"let f{k}(t: T) = |f{k - 1}(t)|" for k in range(1, 100)]
    lines += ["must a: forall t: T expect f40(t) >= 0"]
    assert sys.getrecursionlimit() >= 1000
    survives("\n".join(lines).encode())
    survives("\n".join(lines).replace("f40", "f99").encode())


# ── random trees ───────────────────────────────────────────────────────────────────────────────
names = st.text("abcxyz_", min_size=1, max_size=4).filter(lambda n: n not in keywords())
quoted = st.text(st.characters(codec="utf-8", exclude_characters="\n\r", exclude_categories=["Cs", "Cc"]), max_size=8)
literals = st.builds(
    lambda digits, places: digits / Fraction(10) ** places, st.integers(0, 10**12), st.integers(-40, 40)
)
plain = st.builds(
    lambda v, u, p: Number(v, None if p else u, p, NOWHERE),
    literals,
    st.none() | st.sampled_from(["m", "m/s"]),
    st.booleans(),
)
qualified = st.lists(names, min_size=1, max_size=3).map(".".join)
leaves = plain | st.builds(Truth, st.booleans(), st.just(NOWHERE)) | st.builds(Name, names, st.just(NOWHERE))


def _several(inner: st.SearchStrategy[Expr], least: int) -> st.SearchStrategy[tuple[Expr, ...]]:
    return st.lists(inner, min_size=least, max_size=3).map(tuple)


def _updates(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[tuple[Update, ...]]:
    return st.lists(st.builds(Update, names, inner, st.just(NOWHERE)), min_size=1, max_size=2).map(tuple)


def _rest(ops: str, inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[tuple[tuple[str, Expr], ...]]:
    return st.lists(st.tuples(st.sampled_from(ops.split()), inner), min_size=1, max_size=3).map(tuple)


def _grow(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    here = st.just(NOWHERE)
    return st.one_of(
        st.builds(Field, inner, names, here, here),
        st.builds(Index, inner, st.integers(0, 99), here),
        st.builds(Apply, qualified, _several(inner | st.builds(Discounted, inner, inner, here), 0), here, here),
        st.builds(With, inner, _updates(inner), here),
        st.builds(Abs, inner, here),
        st.builds(Negate, inner, here),
        st.builds(Not, inner, here),
        st.builds(Temporal, st.sampled_from(["always", "eventually"]), inner, here),
        st.builds(Arithmetic, inner, _rest("+ -", inner) | _rest("* /", inner), here),
        st.builds(Compare, inner, _rest("< <= > >= == !=", inner), here),
        st.builds(Connective, st.sampled_from(["and", "or"]), _several(inner, 2).filter(lambda p: len(p) > 1), here),
        st.builds(Implies, inner, inner, here),
        st.builds(If, inner, inner, inner, here),
    )


expressions: st.SearchStrategy[Expr] = st.recursive(leaves, _grow, max_leaves=12)
HERE = st.just(NOWHERE)
parameters = st.builds(Param, names, qualified, HERE, HERE)
places = st.builds(Name, qualified, HERE)
fields = st.builds(
    lambda name, kind, size, unit, ends, cases: FieldDecl(
        name=name,
        kind=kind,
        size=size if kind in ("real", "int") else None,
        unit=unit if kind in ("real", "int") else None,
        range=ends if kind in ("real", "int") else None,
        cases=tuple(cases) if kind == "enum" else (),
        span=NOWHERE,
        name_span=NOWHERE,
    ),
    names,
    st.sampled_from(["real", "int", "bool", "enum"]),
    st.none() | st.integers(2, 500),
    st.none() | st.sampled_from(["m", "km/h"]),
    st.none() | st.tuples(literals.map(lambda v: -v) | literals, literals),
    st.lists(names, min_size=1, max_size=3),
)
radii = expressions | _updates(expressions)
quantifiers = st.one_of(
    st.builds(
        Forall,
        st.lists(parameters, min_size=1, max_size=3).map(tuple),
        st.lists(st.builds(Name, names, HERE), max_size=2).map(tuple),
        HERE,
    ),
    st.builds(Near, parameters, places, radii, st.sampled_from(["linf", "l1", "l2"]), HERE),
    st.builds(Near, parameters, places, radii, st.just("linf"), HERE, st.just(True)),
    st.builds(ForallRows, names, places, HERE, HERE),
    st.builds(Trace, parameters, st.booleans(), expressions, st.none() | places, HERE),
    st.builds(Cycle, parameters, places, HERE),
)
titles = st.just("") | st.text("abc -.", min_size=1).map(lambda t: " ".join(t.split())).filter(bool)
rules = st.builds(
    RuleDecl,
    st.sampled_from(["must", "should"]),
    names,
    titles,
    quantifiers,
    st.none() | expressions,
    expressions,
    st.none() | expressions,
    st.none() | expressions,
    st.none() | quoted,
    st.none() | quoted,
    HERE,
    HERE,
)
bindings = st.builds(Binding, names, _updates(expressions), HERE)
cases = st.builds(
    ExampleCase, st.sampled_from(["covers", "ignores"]), st.lists(bindings, min_size=1, max_size=2).map(tuple), HERE
)
groups = st.lists(parameters, min_size=1, max_size=3).map(tuple)
items = st.one_of(
    st.builds(FeaturesDecl, names, st.lists(fields, max_size=3).map(tuple), HERE, HERE),
    st.builds(AssumeDecl, parameters, expressions, HERE),
    st.builds(RewardSymbol, names, groups, HERE, HERE),
    st.builds(
        DataSymbol,
        names,
        st.tuples(st.tuples(st.just(""), qualified))
        | st.lists(st.tuples(names, qualified), min_size=1, max_size=3).map(tuple),
        quoted,
        HERE,
        HERE,
    ),
    st.builds(
        lambda name, kind, unit, value, cases: ParamDecl(
            name=name,
            kind=kind,
            unit=unit if kind in ("real", "int") else None,
            value=value,
            span=NOWHERE,
            name_span=NOWHERE,
            cases=tuple(cases) if kind == "enum" else (),
        ),
        names,
        st.sampled_from(["real", "int", "bool", "enum"]),
        st.none() | st.just("m/s"),
        expressions,
        st.lists(names, min_size=1, max_size=3),
    ),
    st.builds(Definition, st.sampled_from(["let", "region", "relation"]), names, groups, expressions, HERE, HERE),
    st.builds(UseDecl, quoted, names, HERE, HERE),
    st.builds(ExampleDecl, names, st.lists(cases, min_size=1, max_size=3).map(tuple), HERE, HERE),
    rules,
)


@settings(max_examples=part_of(150), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.builds(SpecFile, names, st.lists(items, max_size=5).map(tuple), HERE))
def test_every_tree_round_trips(tree: SpecFile) -> None:
    text = print_spec(tree)
    again = parse(Source("generated.rwd", text))
    assert again == tree, text
    assert print_spec(again) == text
    survives(text.encode())
