"""Texts that are not specs: mutations, shuffles and soups of the language's words, and what must come of them.

Drawn with `random.Random` from a seed, many to a seed: a fuzz of thousands of cases has no time for more, and a case
that fails is shown as text.
"""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from rewarden.spec_lang import SpecError, syntax
from rewarden.spec_lang.analysis import analyse
from rewarden.spec_lang.codes import EXPLANATIONS
from rewarden.spec_lang.parser import decode, keywords, parse
from rewarden.spec_lang.printer import print_spec
from rewarden.spec_lang.source import Source
from tests.reference.random_specs import HEADER

EVERYTHING = """spec all v1
features T { x: real [m] in 0 .. 9 n: int in 0 .. 3 b: bool z: enum {p, q} v: real ^ 2 in -1 .. 1 }
features A { u: real in -1 .. 1 }
assume s: T = s.b implies s.x <= 5 [m]
reward R(s: T)
reward M(a: T, u: A, z: T)
data d: T from "d.csv"
data e: (one: T, act: A, two: T) from "e.parquet"
param eps: real = 0.1
param far: real [m] = 2 * 4 [m]
let gap(s: T) = (if s.b then s.x else far - s.x)
region risky(s: T) = s.b and (s.x > 3 [m] or s.z == q) and |s.v[0]| < 0.5
relation move(a, c: T) = a.x <= c.x + 1 [m]
--- First.
must one:
  forall a, c: T varying x, z given risky(a) and gap(a) <= gap(c) expect R(a) >= R(c) - eps weight 2 id "A" because "B"
should two:
  forall s: T near d within {x = 1 [m], v = 5 %} in l2 given not beyond(risky(s), 5 %)
  expect |R(s) - R(anchor(s))| <= eps
must three:
  forall p in e given p.one.b expect share(M(p) > quantile(R(d), 0.5)) >= 0.6 confidence 99 %
must four:
  trace t: T of 3 steps via move given always risky(t) expect sum(R(t) discount 0.9) <= R(last(t)) + max(R(d))
must five:
  cycle t: T via move given always (t.x > 0) expect sum(R(t)) <= 0
must six:
  forall s: T given s.x <= 8 [m] expect R(s with {x = s.x + 1 [m], b = not s.b}) <= l2(s.v) / 2 + dot(s.v, s.v)
example of one:
  covers a = {b = true, x = 4 [m], v = 0}
  ignores c = {z = p}
""".replace(", v = 0", "")
SHORT = (
    """spec s v1 features T { x: real [m/s] in 0 .. 9 } reward R(t: T) data d: T from "d.csv"
must a: forall t: T near d within 1 [m/s] in l1 expect R(t) <= quantile(R(d), 5 %)""",
    """spec s v1 features T { n: int in 0 .. 3 b: bool z: enum {p, q} } reward R(a, c: T) param k: int = 2
region g(t: T) = t.b or t.n > k
must a: forall a, c: T varying n given g(a) implies a.z == c.z expect R(a, c) > 0""",
    """spec s v1 features T { x: real in 0 .. 1 } reward R(t: T) relation m(a, c: T) = a.x < c.x
must a: trace t: T within 2 steps via m expect sum(R(t) discount 0.5) <= 1
should b: cycle t: T via m expect sum(R(t)) <= 0""",
    """spec s v1 features T { v: real ^ 3 [cm] in -2 .. 2 } reward R(t: T) data d: (a: T, c: T) from "d.csv"
param e: real = 1e-3
must a: forall p in d given l1(p.a.v) < 1 [cm] expect share(R(p.a) - R(p.c) >= e) > 1 / 2 confidence 0.9""",
    """spec s v1 features T { k: real [degC] in -9 .. 9 } reward R(t: T)
must a: forall t: T given beyond(t.k > 0 [degC], 5 %)
  expect R(t with {k = 1 [degC]}) >= (if t.k < 2 [degC] then 1 else R(t))
example of a: covers t = {k = -3 [degC]}""",
)
VALID = (*SHORT, *SHORT, HEADER, EVERYTHING)
MARKS = "s t a R x T g m d ( ) ( ) { } | [ ] . .. , : = == != <= >= < > + - * / % ^ ' \\ --- # // ; & ! ~ $ @ ` ?"
NUMERALS = "1 0 0.5 2e3 1e999 1e99999 -0 7777 [m] [m/s] [degC] [dB] [deg] [zz] [((m] [m^99999] []"
FUNCTIONS = "l1 l2 linf dot min max mean quantile beyond anchor sum first last share"
STRANGE = ('"a"', "\n", "\n--- x\n", "\x00", "\ufeff", "é", "≤", "𝟙", "٣", "\u202e")
WORDS = (*MARKS.split(), *NUMERALS.split(), *FUNCTIONS.split(), *STRANGE)
TOKEN = re.compile(r"[<>=!]=|\.\.|\n|[A-Za-z_]\w*|\d+(?:\.\d+)?|\[[^\]]*\]|\"[^\"]*\"|#.*|---.*|\S")
OPERATORS = ("<", "<=", ">", ">=", "==", "!=", "+", "-", "*", "/", "and", "or", "implies")
OPERANDS = (
    "0",
    "1",
    "0.5",
    "7",
    "s.x",
    "R(s)",
    "t.v",
    "(1/3)",
    "1 [m]",
    "s",
    "t",
    "eps",
    "l2(t.v)",
    "p",
    "5 %",
    "true",
)
UNIT_NAMES = "m s km kg deg degC dB % pi ° Ω µm m2 kilo m milli Å delta_degC c inf nan e E5 _ Xx"
UNIT_PIECES = (*UNIT_NAMES.split(), *["1", "2", "99999", "*", "/", "^", "**", "(", ")", "-", ".."], " ", "x" * 30)
UNITS = ("[m]", "", "[deg]", "[rad]", "[degC]", "[dB]", "[m/s]", "[%]", "[1]", "[K]")


def survives(raw: bytes, base: Path | None = None) -> frozenset[str]:
    """Loading gives a spec, or diagnostics that are explained and can be rendered; returns their codes."""
    try:
        found = analyse(decode(raw, "fuzz.rwd"), base=base)
    except SpecError as error:  # not text at all
        diagnostics = error.diagnostics
    else:
        diagnostics = found.diagnostics
        assert (found.spec is None) == bool(diagnostics), raw
    assert all(d.code in EXPLANATIONS and d.message for d in diagnostics), raw
    if diagnostics:
        assert len(SpecError(diagnostics).render()) < 2_000_000, raw
    return frozenset(d.code for d in diagnostics)


def mutated(rng: Random) -> str:
    """A valid spec with a few pieces cut, doubled, swapped, replaced or written over."""
    text = rng.choice(VALID)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(text) + 1)
        to = min(len(text), at + rng.randrange(14))
        other = rng.randrange(len(text) + 1)
        match rng.randrange(6):
            case 0:
                text = text[:at] + text[to:]
            case 1:
                text = text[:to] + text[at:]
            case 2:
                text = text[:at] + rng.choice(_words()) + text[to:]
            case 3:
                text = text[:at] + text[other : other + 20] + text[to:]
            case 4:
                text = (
                    text[:at]
                    + chr(rng.choice((rng.randrange(128), rng.randrange(0x3000), rng.randrange(0x11000))))
                    + text[at:]
                )
            case _:
                lines = text.split("\n")
                lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
                text = "\n".join(lines)
    return text


def shuffled(rng: Random) -> str:
    """A valid spec in which a few words stand for others of their kind: most still parse, few make sense."""
    tokens = TOKEN.findall(rng.choice(VALID))
    words = sorted({t for t in tokens if t[0].isalpha()})
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(tokens))
        token = tokens[at]
        if token in OPERATORS:
            tokens[at] = rng.choice(OPERATORS)
        elif token[:1].isdigit():
            tokens[at] = rng.choice(OPERANDS)
        elif token.startswith("["):
            tokens[at] = rng.choice(UNITS)
        elif token[:1].isalpha():
            tokens[at] = rng.choice(words)
    return " ".join(tokens).replace("\n ", "\n")


def transplanted(rng: Random) -> str:
    """A valid spec in which a few parts of its tree stand in the place of others: it parses, and its types clash."""
    tree, parts = rng.choice(_trees())
    for _ in range(rng.randint(1, 3)):
        chosen = rng.choice(parts)
        fitting = [p for p in parts if _kind(p) == _kind(chosen)]
        tree = _replaced(tree, chosen, rng.choice(fitting))
    return print_spec(tree)


@lru_cache(maxsize=1)
def _trees() -> list[tuple[syntax.SpecFile, list[Any]]]:
    """Every valid spec with all of its expressions, quantifiers, declarations and parameters."""
    found = [parse(Source("valid", text)) for text in (*SHORT, HEADER, EVERYTHING)]
    return [(tree, [p for p in _parts(tree) if p is not tree]) for tree in found]


def _parts(node: Any) -> list[Any]:
    if isinstance(node, tuple):
        return [p for x in node for p in _parts(x)]
    if not is_dataclass(node) or type(node).__module__ != syntax.__name__:
        return []
    return [node, *(p for f in fields(node) if f.compare for p in _parts(getattr(node, f.name)))]


def _kind(part: Any) -> object:
    if isinstance(part, syntax.Name):  # some places take nothing but a name
        return syntax.Name
    unions = (syntax.Expr, syntax.Item, syntax.Quantifier)
    return next((u for u in unions if isinstance(part, u)), type(part))


def _replaced(node: Any, old: Any, new: Any) -> Any:
    if node is old:
        return new
    if isinstance(node, tuple):
        return tuple(_replaced(x, old, new) for x in node)
    if not is_dataclass(node) or type(node).__module__ != syntax.__name__:
        return node
    changed = {f.name: _replaced(getattr(node, f.name), old, new) for f in fields(node) if f.compare}
    return replace(node, **changed)


def soup(rng: Random) -> str:
    """Words of the language in any order, after a beginning that gives them a chance."""
    start = rng.choice(("", "spec s v1 ", "spec s v1 must a: forall t: T expect ", "spec s v1 features T { x: "))
    return start + " ".join(rng.choice(_words()) for _ in range(rng.randrange(40)))


def unit_text(rng: Random) -> str:
    """What stands between the brackets of a unit."""
    return "".join(rng.choice(UNIT_PIECES) for _ in range(rng.randrange(9)))


def _words() -> tuple[str, ...]:
    return (*WORDS, *sorted(keywords()))
