"""Random small specs whose rules often contradict or imply each other, or speak of nothing.

Numbers are halves, so that rewards in quarters are enough to satisfy what can be satisfied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import product

from hypothesis import strategies as st

from rewarden.spec_lang import syntax
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.spec import Spec
from tests.reference.evaluate import Evaluator, Row, Typed

HEADER = """spec small v1
features S { x: real in 0 .. 4  n: int in 0 .. 2  on: bool }
assume s: S = s.on implies s.x <= 3
reward R(s: S)
reward Q(s: S)
data d: S from "d.csv"
"""

DATA = "x,n,on\n0,0,false\n1.5,1,true\n4,2,false\n"

HALVES = [f"{k / 2:g}" for k in range(-3, 4)]
SPOTS = [f"{k / 2:g}" for k in range(-1, 10)]


@st.composite
def conditions(draw: st.DrawFn, names: Sequence[str]) -> str:
    s = draw(st.sampled_from(names))
    spot = draw(st.sampled_from(SPOTS))
    forms = [f"{s}.x <= {spot}", f"{s}.x > {spot}", f"{s}.n == 1", f"{s}.on", f"not {s}.on", f"{s}.n + {s}.x <= {spot}"]
    if len(names) == 2:
        a, b = names
        forms += [f"{a}.x <= {b}.x", f"{a}.x < {b}.x", f"{a}.x + 0.5 <= {b}.x", f"{a}.n != {b}.n"] * 2
    kind = draw(st.sampled_from(["one", "one", "or", "implies"]))
    first = draw(st.sampled_from(forms))
    second = draw(st.sampled_from(forms))
    return {"one": first, "or": f"({first} or {second})", "implies": f"({first} implies {second})"}[kind]


@st.composite
def conclusions(draw: st.DrawFn, names: Sequence[str], data: bool) -> str:
    r = draw(st.sampled_from(["R", "R", "R", "R", "Q"]))
    s = draw(st.sampled_from(names))
    c = draw(st.sampled_from(HALVES))
    op = draw(st.sampled_from(["<=", ">=", "<=", ">=", "<", ">", "=="]))
    forms = [
        f"{r}({s}) {op} {c}",
        f"{r}({s}) {op} {c}",
        f"{r}({s}) {op} {s}.n - 1",
        f"|{r}({s})| <= 1",
        f"{r}({s}) >= 1 or {r}({s}) <= {c}",
        f"({s}.on implies {r}({s}) {op} {c})",
        f"R({s}) {op} Q({s}) + {c}",
        f"2 * {r}({s}) {op} Q({s}) + 1",
        f"{r}({s}) * Q({s}) {op} {c}",
        f"{s}.x <= 3.5",
    ]
    if len(names) == 2:
        a, b = names
        forms += [f"{r}({a}) {op} {r}({b}) + {c}", f"{r}({a}) {op} {r}({b})", f"|{r}({a}) - {r}({b})| <= 0.5"] * 3
    else:
        forms += [f"{r}({s} with {{n = 1}}) {op} {r}({s}) + {c}", f"{r}({s} with {{on = false}}) {op} {r}({s})"]
    if data:
        level = draw(st.sampled_from(["0", "0.4", "0.5", "1"]))
        forms += [f"R({s}) {op} quantile(R(d), {level})", f"R({s}) {op} mean(R(d)) + {c}"] * 3
    return draw(st.sampled_from(forms))


@st.composite
def rules(draw: st.DrawFn, name: str, data: bool) -> str:
    kind = draw(st.sampled_from(["one", "one", "two", "varying"] + (["near", "away"] if data else [])))
    names = ["a", "b"] if kind in ("two", "varying") else ["s"]
    quantifier = {
        "one": "forall s: S",
        "two": "forall a, b: S",
        "varying": "forall a, b: S varying x",
        "near": "forall s: S near d within {x = 0.5, n = 0}",
        "away": "forall s: S not near d within {x = 0.5, n = 0}",
    }[kind]
    parts = draw(st.lists(conditions(names), max_size=draw(st.sampled_from([0, 1, 1, 2]))))
    if draw(st.integers(0, 7)) == 0:
        parts.append(f"R({names[0]}) >= 0")
    given = f"\n  given {' and '.join(parts)}" if parts else ""
    severity = draw(st.sampled_from(["must", "must", "must", "must", "should"]))
    return f"{severity} {name}:\n  {quantifier}{given}\n  expect {draw(conclusions(names, data))}\n"


@st.composite
def texts(draw: st.DrawFn, data: bool = False, most: int = 6) -> str:
    count = draw(st.integers(1, most))
    return HEADER + "".join(draw(rules(f"r{k}", data)) for k in range(count))


# ── what the slow evaluator says ───────────────────────────────────────────────────────────────
def rows(record: RecordType) -> list[Row]:
    """The rows of DATA."""
    lines = [line.split(",") for line in DATA.split()[1:]]
    return [Row({"": Typed(record, {"x": Fraction(x), "n": Fraction(n), "on": on == "true"})}) for x, n, on in lines]


def grid(record: RecordType) -> list[Typed]:
    """Records at all halves of x that can occur."""
    found = []
    for x, n, on in product(range(9), range(3), (False, True)):
        if not (on and x > 6):
            found.append(Typed(record, {"x": Fraction(x, 2), "n": Fraction(n), "on": on}))
    return found


def placements(spec: Spec, rule: str, records: Sequence[Typed]) -> Iterator[dict[str, Typed]]:
    """All ways to name some of the records in the rule that it speaks of, its premise aside."""
    names = [name for name, _ in spec.rule(rule).records]
    written = next(item for item in spec.tree.items if isinstance(item, syntax.RuleDecl) and item.name == rule)
    varying = isinstance(written.quantifier, syntax.Forall) and bool(written.quantifier.varying)
    near = isinstance(written.quantifier, syntax.Near)
    away = isinstance(written.quantifier, syntax.Near) and written.quantifier.away
    known = [next(iter(row.members.values())) for row in rows(spec.features["S"])]
    for chosen in product(records, repeat=len(names)):
        if varying and any(_discrete(r) != _discrete(chosen[0]) for r in chosen):
            continue
        if near and away == any(
            _discrete(r) == _discrete(chosen[0]) and _gap(r, chosen[0]) <= Fraction(1, 2) for r in known
        ):
            continue
        yield dict(zip(names, chosen, strict=True))


def _discrete(record: Typed) -> tuple[object, object]:
    return record.values["n"], record.values["on"]


def _gap(a: Typed, b: Typed) -> Fraction:
    return abs(a.values["x"] - b.values["x"])


Point = tuple[str, tuple[Fraction, ...]]
Check = Callable[[Evaluator], bool]


def some_reward(spec: Spec, checks: Sequence[Check], values: Sequence[Fraction]) -> dict[Point, Fraction] | None:
    """Values of the rewards, out of `values`, at all records that the checks look at, for which all of them hold.

    A value is chosen when it is first asked for, and every choice is tried: None means that there is no such reward.
    """
    table: dict[Point, Fraction] = {}
    evaluator = Evaluator(spec, lambda name, columns: table[name, tuple(columns)], rows={"d": rows(spec.features["S"])})

    def search() -> bool:
        for check in checks:
            try:
                if not check(evaluator):
                    return False
            except KeyError as missing:
                (point,) = missing.args
                for value in values:
                    table[point] = value
                    if search():
                        return True
                del table[point]
                return False
        return True

    return table if search() else None


def holds(rule: str, records: Mapping[str, Typed]) -> Check:
    """The rule at these records."""
    return lambda e: not (e.assumed(records) and e.premise(rule, records)) or e.conclusion(rule, records)


def fails(rule: str, records: Mapping[str, Typed]) -> Check:
    return lambda e: e.assumed(records) and e.premise(rule, records) and not e.conclusion(rule, records)


def handed_over(spec: Spec, rule: str, records: Mapping[str, Typed]) -> list[Typed]:
    """The records, and those that the rule makes of them to hand to a reward."""
    record = spec.features["S"]
    found = list(records.values())

    def reward(_: str, columns: list[Fraction]) -> Fraction:
        x, n, on = columns
        made = Typed(record, {"x": x, "n": n, "on": on == 1})
        if made not in found:
            found.append(made)
        return Fraction(0)

    evaluator = Evaluator(spec, reward, lambda *_: Fraction(0))
    evaluator.premise(rule, records)
    evaluator.conclusion(rule, records)
    return found
