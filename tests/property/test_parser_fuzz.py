"""The front end against anything: no crash, only diagnostics; and AST → text → AST for random trees."""

from __future__ import annotations

import re
import sys
from fractions import Fraction

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewarden.spec_lang import SpecError, limits, parse_spec
from rewarden.spec_lang.codes import EXPLANATIONS
from rewarden.spec_lang.parser import decode, keywords, parse
from rewarden.spec_lang.printer import print_spec
from rewarden.spec_lang.source import Source, Span
from rewarden.spec_lang.syntax import (
    Abs,
    Apply,
    Arithmetic,
    AssumeDecl,
    Compare,
    Connective,
    DataSymbol,
    Definition,
    Expr,
    FeaturesDecl,
    Field,
    FieldDecl,
    Forall,
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
    Truth,
    Update,
    With,
)
from tests.reference.language_page import HELPFUL, WAREHOUSE
from tests.reference.random_specs import HEADER, truths

SETTINGS = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
VALID = [
    WAREHOUSE,
    HELPFUL,
    HEADER + "--- Title.\nmust a:\n  forall s, t: Step varying speed\n  given risky(s) expect R(s) > 0\n",
]
CHECKED = [
    WAREHOUSE[: WAREHOUSE.index("example of")],
    HEADER
    + """must a: forall s: Step
  given s.speed >= 5 [m/s] and s.lanes < 4 and s.dist <= 30 [m] and beyond(risky(s), 5 %)
  expect R(s with {speed = s.speed - 5 [m/s], lanes = s.lanes + 1, temp = 0 [degC], wet = not s.wet}) > 1 / s.lanes
must b: forall s: Step near logs within {dist = 1 [m], speed = 5 %} in l2
  expect |R(s) - R(anchor(s))| <= quantile(R(logs), 0.5) + l2(s.e - anchor(s).e) / 1 [m]
""",
]
NOWHERE = Span(Source("generated", ""), 0, 0, 1, 1)


def outcome(raw: bytes) -> SpecError | None:
    try:
        parse_spec(decode(raw, "fuzz.rwd").text, "fuzz.rwd")
    except SpecError as error:
        return error
    return None


def loads_or_explains(raw: bytes) -> None:
    """Loading gives a spec, or diagnostics that can be rendered; nothing else happens."""
    error = outcome(raw)
    if error is not None:
        assert all(d.code in EXPLANATIONS for d in error.diagnostics)
        assert len(error.render()) < 2_000_000


@SETTINGS
@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_any_bytes(raw: bytes) -> None:
    loads_or_explains(raw)


PIECES = st.sampled_from(
    [
        *sorted(keywords()),
        "s",
        "R",
        "x",
        "(",
        ")",
        "{",
        "}",
        "|",
        "[",
        "]",
        "[m]",
        ".",
        "..",
        ",",
        ":",
        "=",
        "==",
        "<=",
        "+",
        "-",
        "*",
        "/",
        "%",
        "^",
        "1",
        "0.5",
        "1e9",
        '"a"',
        "\n",
        "---",
        "#",
        "a",
        "l2",
        "dot",
        "beyond",
        "anchor",
        "1e400",
    ]
)


@SETTINGS
@given(st.lists(PIECES, max_size=60))
def test_any_words(pieces: list[str]) -> None:
    loads_or_explains(("spec s v1\n" + " ".join(pieces)).encode())


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A valid spec with a few pieces cut, doubled, swapped or replaced."""
    text = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        to = min(len(text), at + draw(st.integers(0, 12)))
        match draw(st.integers(0, 3)):
            case 0:
                text = text[:at] + text[to:]
            case 1:
                text = text[:to] + text[at:]
            case 2:
                text = text[:at] + draw(PIECES) + text[to:]
            case _:
                other = draw(st.integers(0, len(text)))
                text = text[:at] + text[other : other + 20] + text[to:]
    return text.encode()


@SETTINGS
@given(mutations())
def test_mutated_specs(raw: bytes) -> None:
    loads_or_explains(raw)


TOKEN = re.compile(r"[<>=!]=|\.\.|\n|[A-Za-z_]\w*|\d+(?:\.\d+)?|\[[^\]]*\]|\"[^\"]*\"|#.*|---.*|\S")
OPERATORS = ["<", "<=", ">", ">=", "==", "!=", "+", "-", "*", "/", "and", "or"]
OPERANDS = ["0", "1", "0.5", "7", "s.speed", "R(s)", "s.e", "s.wet", "(1/3)", "1 [m]", "s", "eps", "l2(s.e)", "s.temp"]
UNITS = ["[m]", "", "[deg]", "[rad]", "[degC]", "[dB]", "[m/s]", "[%]"]


def test_the_specs_that_are_shuffled_make_sense() -> None:
    assert [outcome(text.encode()) for text in CHECKED] == [None, None]


@st.composite
def shuffled(draw: st.DrawFn) -> bytes:
    """A valid spec in which a few words stand for others of their kind: most still parse, few make sense."""
    tokens = TOKEN.findall(draw(st.sampled_from(VALID + CHECKED)))
    words = sorted({t for t in tokens if t[0].isalpha()})
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(tokens) - 1))
        token = tokens[at]
        if token in OPERATORS:
            tokens[at] = draw(st.sampled_from(OPERATORS))
        elif token[:1].isdigit():
            tokens[at] = draw(st.sampled_from(OPERANDS))
        elif token.startswith("["):
            tokens[at] = draw(st.sampled_from(UNITS))
        elif token[:1].isalpha():
            tokens[at] = draw(st.sampled_from(words))
    return " ".join(tokens).replace("\n ", "\n").encode()


@SETTINGS
@given(shuffled())
def test_specs_that_make_no_sense(raw: bytes) -> None:
    loads_or_explains(raw)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(truths(3))
def test_random_rules_round_trip(text: str) -> None:
    tree = parse(Source("t", f"{HEADER}must a: forall s, t: Step expect {text}"))
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
    loads_or_explains("\n".join(lines).encode())
    loads_or_explains("\n".join(lines).replace("f40", "f99").encode())


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
leaves = plain | st.builds(Truth, st.booleans(), st.just(NOWHERE)) | st.builds(Name, names, st.just(NOWHERE))
PATHS = (Name, Field, Index, Apply, With, Truth, If)


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
        st.builds(Apply, names, _several(inner, 0), here, here),
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
parameters = st.builds(Param, names, names, HERE, HERE)
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
quantifiers = st.builds(
    Forall,
    st.lists(parameters, min_size=1, max_size=3).map(tuple),
    st.lists(st.builds(Name, names, HERE), max_size=2).map(tuple),
    HERE,
) | st.builds(Near, parameters, st.builds(Name, names, HERE), radii, st.sampled_from(["linf", "l1", "l2"]), HERE)
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
groups = st.lists(parameters, min_size=1, max_size=3).map(tuple)
items = st.one_of(
    st.builds(FeaturesDecl, names, st.lists(fields, max_size=3).map(tuple), HERE, HERE),
    st.builds(AssumeDecl, parameters, expressions, HERE),
    st.builds(RewardSymbol, names, groups, HERE, HERE),
    st.builds(
        DataSymbol,
        names,
        st.tuples(st.tuples(st.just(""), names)) | st.lists(st.tuples(names, names), min_size=1, max_size=3).map(tuple),
        quoted,
        HERE,
        HERE,
    ),
    st.builds(
        ParamDecl,
        names,
        st.sampled_from(["real", "int", "bool"]),
        st.none() | st.just("m/s"),
        expressions,
        HERE,
        HERE,
    ),
    st.builds(Definition, st.sampled_from(["let", "region", "relation"]), names, groups, expressions, HERE, HERE),
    rules,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.builds(SpecFile, names, st.lists(items, max_size=5).map(tuple), HERE))
def test_every_tree_round_trips(tree: SpecFile) -> None:
    text = print_spec(tree)
    again = parse(Source("generated.rwd", text))
    assert again == tree, text
    assert print_spec(again) == text
