"""Random specs and random points of their rules, for tests of the front end."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import strategies as st

from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.obligation import Obligation
from tests.reference.evaluate import Typed, encode

HEADER = """spec random v1

features Step {
  dist: real [m] in 0 .. 40
  speed: real [km/h] in -10 .. 90
  temp: real [degC] in -20 .. 60
  slope: real in -1 .. 1
  lanes: int in 1 .. 4
  wet: bool
  lane: enum {left, middle, right}
  e: real ^ 3 [cm] in -2 .. 2
}

features Action { push: real [m/s] in -5 .. 5 brake: bool }

reward R(s: Step)
reward Q(s: Step, a: Action)
data logs: Step from "logs.csv"
param v: real [m/s] = 5 [m/s]
param eps: real = 1 / 8
param strict: bool = true
let gap(s: Step) = s.dist - 2 * s.speed * 1 [s]
let score(s: Step, a: Action) = (if a.brake then Q(s, a) else R(s) + 1)
region risky(s: Step) = (s.wet or s.lane == left) and s.speed > v
region odd(s: Step) = not (s.lanes >= 2 implies s.slope < 0.5) or s.temp == 10 [degC]
"""

NUMBERS = {
    "plain": ["0", "1", "0.5", "s.slope", "t.slope", "s.lanes", "R(s)", "R(t)", "eps", "5 %", "quantile(R(logs), 0.1)"],
    "length": ["0", "1 [m]", "50 [cm]", "s.dist", "t.dist", "s.e[0]", "t.e[2]", "gap(t)", "linf(s.e)", "l1(s.e - t.e)"],
    "speed": ["0", "v", "10 [km/h]", "s.speed", "t.speed", "-t.speed"],
}
TRUTHS = [
    "s.wet",
    "t.wet",
    "risky(s)",
    "odd(t)",
    "strict",
    "s.lane == left",
    "t.lane != middle",
    "s.lane == t.lane",
    "s.wet == t.wet",
    "s.temp > 20 [degC]",
    "s.temp <= t.temp",
    "290 [K] < s.temp",
    "s.e == t.e",
    "s.e != t.e",
    "beyond(risky(s), 5 %)",
    "beyond(odd(t), 0.1)",
    "true",
]


@st.composite
def numbers(draw: st.DrawFn, kind: str, depth: int) -> str:
    if depth == 0:
        return draw(st.sampled_from(NUMBERS[kind]))
    a = draw(numbers(kind, depth - 1))
    b = draw(numbers(kind, depth - 1))
    scale = draw(st.sampled_from(["2", "0.1", "s.slope", "(-3)", "eps"]))
    forms = [
        a,
        f"({a} + {b})",
        f"({a} - {b} - {a})",
        f"|{a}|",
        f"-({a})",
        f"min({a}, {b})",
        f"max({a}, {b}, 0)",
        f"{scale} * ({a})",
        f"({a}) / 3",
        f"(if {draw(truths(depth - 1))} then {a} else {b})",
    ]
    return draw(st.sampled_from(forms))


@st.composite
def truths(draw: st.DrawFn, depth: int) -> str:
    if depth == 0:
        return draw(st.sampled_from(TRUTHS))
    p, q = draw(truths(depth - 1)), draw(truths(depth - 1))
    kind = draw(st.sampled_from(sorted(NUMBERS)))
    a, b, c = (draw(numbers(kind, depth - 1)) for _ in range(3))
    op = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    forms = [
        p,
        f"not ({p})",
        f"({p} and {q})",
        f"({p} or {q} or {p})",
        f"({p} implies {q})",
        f"({p}) == ({q})",
        f"{a} {draw(op)} {b}",
        f"{a} {draw(op)} {b} {draw(op)} {c}",
        f"(if {p} then {q} else not ({q}))",
    ]
    return draw(st.sampled_from(forms))


@st.composite
def values(draw: st.DrawFn, f: Feature) -> object:
    """A value of the feature, with a liking for ends, middles and round numbers."""
    if f.kind == "bool":
        return draw(st.booleans())
    if f.kind == "enum":
        return draw(st.sampled_from(f.cases))
    if f.kind == "int":
        return Fraction(draw(st.integers(int(f.lo), int(f.hi))))
    one = st.sampled_from([f.lo, f.hi, (f.lo + f.hi) / 2, f.lo + (f.hi - f.lo) / 8, f.lo + (f.hi - f.lo) * 5 / 8])
    other = st.integers(0, 30).map(lambda k: f.lo + (f.hi - f.lo) * Fraction(k, 30))
    if f.is_vector:
        return tuple(draw(one) for _ in range(f.size))
    return draw(one | other)


@st.composite
def records(draw: st.DrawFn, record: RecordType) -> Typed:
    return Typed(record, {f.name: draw(values(f)) for f in record.features})


def assignment(obligation: Obligation, points: dict[str, Typed]) -> list[Fraction]:
    """The obligation's variables at the named records (`anchor(x)` included)."""
    found: dict[int, Fraction] = {}
    for view in obligation.records:
        for index, value in zip(view.variables, encode(points[view.name]), strict=True):
            assert found.setdefault(index, value) == value, "shared variables have one value"
    return [found[i] for i in range(len(obligation.variables))]
