"""Random specs over the whole grammar, well-typed by construction and small: units, vectors, enums, ints, definitions,
relations, several rewards of several records, every quantifier.

The text is drawn piece by piece. A `Scope` says which records stand where an expression is drawn, and what the place
allows: rewards, data constants, products of two variables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]


@dataclass(frozen=True)
class Sort:
    """A feature that a random record type may have. `quantity` is what it measures ("" for a plain number)."""

    name: str
    text: str
    quantity: str = ""
    kind: str = "real"
    size: int = 1
    cases: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()  # literals in its range


SORTS = (
    Sort("dist", "real [m] in 0 .. 40", "m", inside=("0", "3 [m]", "250 [cm]")),
    Sort("gap", "real [ft] in -3 .. 3", "m", inside=("0", "0.25 [m]")),
    Sort("speed", "real [km/h] in -10 .. 90", "m/s", inside=("0", "v0", "-1 [m/s]")),
    Sort("temp", "real [degC] in -20 .. 60", "temperature", inside=("0 [degC]", "-5 [degC]")),
    Sort("slope", "real in -1 .. 1", inside=("0", "5 %", "-1")),
    Sort("grade", "real [%] in 0 .. 50", inside=("0", "20 [%]", "0.125")),
    Sort("turn", "real [deg] in -180 .. 180", "angle", inside=("0", "90 [deg]")),
    Sort("lanes", "int in 1 .. 4", kind="int", inside=("1", "4")),
    Sort("boxes", "int [kg] in 0 .. 3", "kg", kind="int", inside=("0", "2 [kg]")),
    Sort("wet", "bool", kind="bool"),
    Sort("lane", "enum {left, middle, right}", kind="enum", cases=("left", "middle", "right")),
    Sort("e", "real ^ 3 [cm] in -2 .. 2", "m", size=3),
    Sort("u", "real ^ 2 in -1 .. 1", size=2),
)
LITERALS = {
    "": ("0", "1", "0.5", "(1 / 3)", "5 %", "eps", "k"),
    "m": ("0", "1 [m]", "50 [cm]", "d0", "2 [ft]"),
    "m/s": ("0", "v0", "10 [km/h]", "-2 [m/s]"),
    "angle": ("0", "90 [deg]"),
    "kg": ("0", "2 [kg]", "500 [g]"),
}
PARAMS = """param eps: real = 1 / 8
param k: int = 3
param v0: real [m/s] = 5 [m/s]
param d0: real [m] = min(3 [m], 40 [cm] + 2 * 20 [cm])
param strict: bool = not (k < 3)
param warm: real [degC] = 20 [degC]
param side: enum {left, middle, right} = middle
param away: enum {left, middle, right} = side
param aside: bool = side != left == away
"""
TRUTHS = ("strict", "aside", "side == left", "left != side == away", "away == side")


@dataclass(frozen=True)
class Function:
    name: str
    takes: tuple[str, ...]
    quantity: str | None = None  # None for predicates
    rewards: bool = False
    linear: bool = False  # fit for `beyond`
    local: bool = False  # speaks of `beyond` itself, so that its records stay as they are


@dataclass(frozen=True)
class Vocabulary:
    types: dict[str, tuple[Sort, ...]]
    rewards: tuple[Function, ...]
    data: dict[str, tuple[tuple[str, str], ...]]
    functions: tuple[Function, ...] = ()
    relations: tuple[Function, ...] = ()


@dataclass(frozen=True)
class Scope:
    words: Vocabulary
    records: tuple[tuple[str, str], ...]  # expressions and their types
    rewards: bool = True
    constants: bool = True  # data constants
    linear: bool = False  # as `beyond` needs it
    moves: str = ""  # the name of a trace whose moves are summed
    path: str = ""  # the name of a trace
    eventually: bool = False
    row: tuple[str, ...] = ()  # the record types of a row p of several members

    def of_type(self, name: str) -> list[str]:
        return [text for text, kind in self.records if kind == name]


def pick(draw: Draw, options: Sequence[Any]) -> Any:
    return draw(st.sampled_from(options))


# ── declarations ───────────────────────────────────────────────────────────────────────────────
def vocabulary(draw: Draw) -> tuple[Vocabulary, str]:
    """What a spec declares, and its text."""
    types = {}
    for name, least in (("Step", 2), ("Act", 1)):
        types[name] = tuple(draw(st.lists(st.sampled_from(SORTS), min_size=least, max_size=4, unique=True)))
    rewards = (
        Function("R", ("Step",), ""),
        Function("Base", ("Step",), ""),
        Function("Q", ("Step", "Act"), ""),
        Function("M", ("Step", "Step"), ""),
        Function("W", ("Step", "Act", "Step"), ""),
    )
    data = {
        "logs": (("", "Step"),),
        "acts": (("", "Act"),),
        "pairs": (("better", "Step"), ("worse", "Step")),
        "moves": (("before", "Step"), ("act", "Act"), ("after", "Step")),
    }
    lines = [
        f"features {t} {{\n" + "".join(f"  {s.name}: {s.text}\n" for s in sorts) + "}" for t, sorts in types.items()
    ]
    for r in rewards:
        lines.append(f"reward {r.name}({', '.join(f'x{i}: {t}' for i, t in enumerate(r.takes))})")
    for name, members in data.items():
        of = members[0][1] if len(members) == 1 else f"({', '.join(f'{m}: {t}' for m, t in members)})"
        lines.append(f'data {name}: {of} from "{name}.jsonl"')
    words = Vocabulary(types, rewards, data)
    lines.append(PARAMS)
    for i in range(draw(st.integers(0, 3))):
        words, line = definition(draw, words, i)
        lines.append(line)
    inside = Scope(words, (("a", "Step"), ("b", "Step")), rewards=False, constants=False)
    body = truth(draw, inside, 1)
    lines.append(f"relation move(a, b: Step) = {body}")
    move = Function("move", ("Step", "Step"), local=speaks_of_beyond(words, body))
    if draw(st.booleans()):
        of = pick(draw, ("Step", "Act"))
        inside = replace(inside, records=(("s", of),))
        lines.append(f"assume s: {of} = {truth(draw, inside, 1)}")
    return replace(words, relations=(move,)), "\n".join(lines) + "\n"


def definition(draw: Draw, words: Vocabulary, i: int) -> tuple[Vocabulary, str]:
    takes = pick(draw, (("Step",), ("Step", "Step"), ("Step", "Act")))
    params = [(f"q{j}", t) for j, t in enumerate(takes)]
    rewards, linear = pick(draw, ((True, False), (False, False), (False, True)))
    scope = Scope(words, tuple(params), rewards=rewards, constants=rewards, linear=linear)
    if draw(st.booleans()):
        quantity = pick(draw, ("", "m", "m/s"))
        kind, body = "let", number(draw, quantity, scope, 1)
        made = Function(f"f{i}", takes, quantity, rewards, linear, speaks_of_beyond(words, body))
    else:
        kind, body = "region", truth(draw, scope, 1)
        made = Function(f"g{i}", takes, None, rewards, linear, speaks_of_beyond(words, body))
    signature = ", ".join(f"{n}: {t}" for n, t in params)
    return replace(words, functions=(*words.functions, made)), f"{kind} {made.name}({signature}) = {body}"


def speaks_of_beyond(words: Vocabulary, body: str) -> bool:
    return "beyond" in body or any(f.local and f"{f.name}(" in body for f in words.functions)


# ── numbers ────────────────────────────────────────────────────────────────────────────────────
def number(draw: Draw, quantity: str, scope: Scope, depth: int) -> str:
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return leaf(draw, quantity, scope)

    def sub() -> str:
        return number(draw, quantity, scope, depth - 1)

    def product() -> str:
        if scope.linear:
            return f"{pick(draw, ('2', '0.5', 'eps', '(-3)'))} * ({sub()})"
        return f"({number(draw, '', scope, depth - 1)}) * ({sub()})"

    forms: list[Callable[[], str]] = [
        lambda: f"({sub()} + {sub()})",
        lambda: f"({sub()} - {sub()} - {sub()})",
        lambda: f"|{sub()}|",
        lambda: f"-({sub()})",
        lambda: f"min({sub()}, {sub()})",
        lambda: f"max({sub()}, {sub()}, {leaf(draw, quantity, scope)})",
        product,
        lambda: f"({sub()}) / {pick(draw, ('3', 'k', '(-0.5)'))}",
        lambda: f"(if {truth(draw, scope, depth - 1)} then {sub()} else {sub()})",
    ]
    if not scope.linear:
        forms.append(lambda: f"({sub()}) / max({bounded(draw, scope)}, 0.25)")
        if quantity == "m/s":
            forms.append(lambda: f"({number(draw, 'm', scope, depth - 1)}) / (2 [s])")
        if quantity == "m":
            forms.append(lambda: f"{number(draw, 'm/s', scope, depth - 1)} * 1 [min]")
    if scope.path:
        forms.append(lambda: summed(draw, quantity, scope))
    return pick(draw, forms)()


def leaf(draw: Draw, quantity: str, scope: Scope) -> str:
    options: list[Callable[[], str]] = [lambda: pick(draw, LITERALS[quantity])]
    features = [lambda r=r: r for r in scalars(scope, quantity)]
    if features:
        options += [lambda: pick(draw, features)()] * 3
    vectors = [v for size in (2, 3) for v in arrays(scope, quantity, size)]
    if vectors:
        options.append(lambda: f"{pick(draw, ('linf', 'l1', 'max', 'min'))}({pick(draw, vectors)})")
    for f in scope.words.functions:
        if f.quantity == quantity and callable_in(scope, f) and (f.linear or not scope.linear):
            options.append(lambda f=f: applied(draw, f, scope))
    if quantity == "" and scope.rewards:
        for f in scope.words.rewards:
            if scope.row and f.takes == scope.row:
                options += [lambda f=f: f"{f.name}(p)"] * 2
            if scope.moves and f.takes == ("Step", "Step"):
                options += [lambda f=f: f"{f.name}({scope.moves})"] * 3
            if callable_in(scope, f):
                options += [lambda f=f: applied(draw, f, scope)] * 2
        if scope.constants:
            options.append(lambda: constant(draw, scope.words))
    if scope.path:
        options.append(lambda: summed(draw, quantity, scope))
    return pick(draw, options)()


def scalars(scope: Scope, quantity: str) -> list[str]:
    found = []
    for record, of in scope.records:
        for s in scope.words.types[of]:
            if s.quantity == quantity and s.kind in ("real", "int"):
                found += [f"{record}.{s.name}"] if s.size == 1 else [f"{record}.{s.name}[{k}]" for k in range(s.size)]
    return found


def arrays(scope: Scope, quantity: str, size: int) -> list[str]:
    return [
        f"{record}.{s.name}"
        for record, of in scope.records
        for s in scope.words.types[of]
        if s.quantity == quantity and s.size == size
    ]


def bounded(draw: Draw, scope: Scope) -> str:
    """A plain number without rewards, for divisors."""
    return pick(draw, [*scalars(scope, ""), "eps", "2"])


def constant(draw: Draw, words: Vocabulary) -> str:
    """A data constant: of every reward over every data set that it fits."""
    rows = {d: tuple(t for _, t in members) for d, members in words.data.items()}
    rows |= {f"{d}.{m}": (t,) for d, members in words.data.items() for m, t in members if m}
    fitting = [(r.name, d) for r in words.rewards for d, takes in rows.items() if r.takes == takes]
    reward, data = pick(draw, fitting)
    kind = pick(draw, ("quantile", "mean", "min", "max"))
    level = f", {pick(draw, ('0', '0.05', '50 %', '2 / 3', '1'))}" if kind == "quantile" else ""
    return f"{kind}({reward}({data}){level})"


def callable_in(scope: Scope, f: Function) -> bool:
    needs_rewards = f.rewards or f in scope.words.rewards
    return (scope.rewards or not needs_rewards) and all(scope.of_type(t) for t in f.takes)


def applied(draw: Draw, f: Function, scope: Scope) -> str:
    given = [pick(draw, scope.of_type(t)) if f.local else record(draw, t, scope) for t in f.takes]
    return f"{f.name}({', '.join(given)})"


def summed(draw: Draw, quantity: str, scope: Scope) -> str:
    discount = f" discount {pick(draw, ('0.5', '(1 - eps)', '1'))}" if draw(st.booleans()) else ""
    return f"sum({step(draw, quantity, scope)}{discount})"


def step(draw: Draw, quantity: str, scope: Scope) -> str:
    """What is summed, over the records or over the moves of a trace."""
    t = scope.path
    if quantity == "" and draw(st.booleans()):
        moves = Scope(scope.words, ends(scope), constants=False, moves=t)
        return f"M({t})" if draw(st.booleans()) else f"({number(draw, '', moves, 1)} + M({t}))"
    inner = Scope(scope.words, (*ends(scope), (t, "Step")), constants=False)
    body = number(draw, quantity, inner, 1)
    return body if mentions(body, t) else f"(if R({t}) > 0 then {body} else {leaf(draw, quantity, inner)})"


def ends(scope: Scope) -> tuple[tuple[str, str], ...]:
    return tuple((text, kind) for text, kind in scope.records if "(" in text)


def mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<!first\()(?<!last\()\b{name}\b", text) is not None


# ── records ────────────────────────────────────────────────────────────────────────────────────
def record(draw: Draw, of: str, scope: Scope) -> str:
    plain = pick(draw, scope.of_type(of))
    if draw(st.integers(0, 3)):
        return plain
    sorts = scope.words.types[of]
    chosen = draw(st.lists(st.sampled_from(sorts), min_size=1, max_size=2, unique=True))
    return f"{plain} with {{{', '.join(f'{s.name} = {update(draw, s, of, scope)}' for s in chosen)}}}"


def update(draw: Draw, s: Sort, of: str, scope: Scope) -> str:
    """A value that is in range whatever the premise."""
    same = [f"{r}.{s.name}" for r in scope.of_type(of)]
    if s.kind == "bool":
        return truth(draw, replace(scope, path=""), 0)
    if s.kind == "enum":
        return pick(draw, [*same, *s.cases, "side", "away"])
    if s.size > 1:
        return pick(draw, [*same, *(f"-{v}" for v in same), *(f"0.5 * {v}" for v in same)])
    if s.name == "lanes":
        return pick(draw, [*same, *s.inside, *(f"min(4, {v} + 1)" for v in same), *(f"5 - {v}" for v in same)])
    if s.quantity == "m" and s.name == "dist":
        clamped = (
            f"min(40 [m], max(0, {number(draw, 'm', replace(scope, rewards=False, constants=False, path=''), 0)}))"
        )
        return pick(draw, [*same, *s.inside, clamped])
    return pick(draw, [*same, *s.inside])


# ── predicates ─────────────────────────────────────────────────────────────────────────────────
def truth(draw: Draw, scope: Scope, depth: int) -> str:
    if depth == 0:
        return pick(draw, atoms(draw, scope))()

    def sub() -> str:
        return truth(draw, scope, depth - 1)

    def comparison() -> str:
        quantity = pick(draw, [q for q in LITERALS if q in ("", "m") or scalars(scope, q)])
        count = draw(st.integers(2, 3))
        ops = [pick(draw, ("<", "<=", ">", ">=", "==", "!=")) for _ in range(count - 1)]
        parts = [number(draw, quantity, scope, depth - 1) for _ in range(count)]
        return " ".join([parts[0], *(f"{o} {p}" for o, p in zip(ops, parts[1:], strict=True))])

    forms: list[Callable[[], str]] = [
        sub,
        comparison,
        comparison,
        comparison,
        lambda: f"not ({sub()})",
        lambda: f"({sub()} and {sub()})",
        lambda: f"({sub()} or {sub()} or {sub()})",
        lambda: f"({sub()} implies {sub()})",
        lambda: f"({sub()}) {pick(draw, ('==', '!='))} ({sub()})",
        lambda: f"(if {sub()} then {sub()} else {sub()})",
    ]
    if scope.path:
        forms += [lambda: temporal(draw, scope)] * 3
    return pick(draw, forms)()


def atoms(draw: Draw, scope: Scope) -> list[Callable[[], str]]:
    """The simplest predicates of a scope."""
    quantity = pick(draw, [q for q in LITERALS if q in ("", "m") or scalars(scope, q)])
    op = pick(draw, ("<", "<=", ">", ">=", "==", "!="))

    def comparison() -> str:
        return f"{leaf(draw, quantity, scope)} {op} {leaf(draw, quantity, scope)}"

    found: list[Callable[[], str]] = [comparison, lambda: pick(draw, TRUTHS), comparison, comparison]
    same = "==" if op in ("<", "<=", "==") else "!="
    for r, of in scope.records:
        others = scope.of_type(of)
        for s in scope.words.types[of]:
            name = f"{r}.{s.name}"
            if s.kind == "bool":
                found += [
                    lambda name=name: name,
                    lambda name=name, o=others, s=s: f"{name} {same} {pick(draw, o)}.{s.name}",
                ]
            elif s.kind == "enum":
                found.append(lambda name=name, s=s: f"{name} {same} {pick(draw, (*s.cases, 'side', 'away'))}")
                found.append(
                    lambda name=name, s=s: f"side {same} {name} {pick(draw, ('==', '!='))} {pick(draw, s.cases)}"
                )
                found.append(lambda name=name, s=s, o=others: f"{name} {same} {pick(draw, o)}.{s.name}")
            elif s.quantity == "temperature":
                readings = ("20 [degC]", "warm", "300 [K]", "32 [degF]", *(f"{o}.{s.name}" for o in others))
                found.append(lambda name=name, c=readings: f"{name} {op} {pick(draw, c)}")
            elif s.size > 1:
                found.append(lambda name=name, s=s, o=others: f"{name} {same} {pick(draw, o)}.{s.name}")
                if not scope.linear:
                    found.append(lambda name=name: f"dot({name}, {name}) {op} l2(2 * {name}) * l1({name})")
    for f in scope.words.functions:
        if f.quantity is None and callable_in(scope, f) and (f.linear or not scope.linear):
            found.append(lambda f=f: applied(draw, f, scope))
    for relation in scope.words.relations:
        if callable_in(scope, relation) and not scope.linear and not scope.path:
            found.append(lambda f=relation: applied(draw, f, scope))
    if scope.records and not scope.linear and not scope.path:
        found.append(lambda: beyond(draw, scope))
    if scope.path:
        found += [lambda: temporal(draw, scope)] * 4
    return found


def beyond(draw: Draw, scope: Scope) -> str:
    inner = replace(scope, rewards=False, constants=False, linear=True)
    return f"beyond({truth(draw, inner, 1)}, {pick(draw, ('5 %', '0.1', 'eps', '1'))})"


def temporal(draw: Draw, scope: Scope) -> str:
    word = pick(draw, ("always", "eventually") if scope.eventually else ("always",))
    if draw(st.integers(0, 3)) == 0:
        moves = Scope(scope.words, ends(scope), constants=False, moves=scope.path)
        return f"{word} (move({scope.path}) or M({scope.path}) >= {number(draw, '', moves, 1)})"
    inner = Scope(scope.words, (*ends(scope), (scope.path, "Step")), constants=False)
    return f"{word} ({truth(draw, inner, 1)})"


# ── rules ──────────────────────────────────────────────────────────────────────────────────────
QUANTIFIERS = ("records", "varying", "near", "away", "rows", "share", "trace", "cycle")


def rule(draw: Draw, words: Vocabulary, kind: str, name: str, depth: int = 2) -> str:
    """A rule of that kind."""
    match kind:
        case "records":
            taken = draw(st.lists(st.sampled_from(("Step", "Act")), min_size=1, max_size=3))
            records = [(f"s{i}", t) for i, t in enumerate(taken)]
            quantifier = "forall " + ", ".join(f"{n}: {t}" for n, t in records)
            scope = Scope(words, tuple(records))
        case "varying":
            free = draw(st.lists(st.sampled_from(words.types["Step"]), min_size=1, max_size=2, unique=True))
            quantifier = f"forall a, b: Step varying {', '.join(s.name for s in free)}"
            scope = Scope(words, (("a", "Step"), ("b", "Step")))
        case "near":
            rows = pick(draw, ("logs", "pairs.worse"))
            quantifier = f"forall x: Step near {rows} within {radius(draw, words.types['Step'])}"
            scope = Scope(words, (("x", "Step"), ("anchor(x)", "Step")))
        case "away":
            rows, around = pick(draw, ("logs", "pairs.worse")), radius(draw, words.types["Step"])
            quantifier = f"forall x: Step not near {rows} within {around.partition(' in l')[0]}"
            scope = Scope(words, (("x", "Step"),))
        case "rows" | "share":
            data = pick(draw, sorted(words.data))
            quantifier = f"forall p in {data}"
            members = words.data[data]
            if len(members) > 1 and draw(st.integers(0, 3)) == 0:
                member, of = pick(draw, members)
                quantifier += f".{member}"
                members = (("", of),)
            several = tuple(t for _, t in members) if len(members) > 1 else ()
            scope = Scope(words, tuple((f"p.{m}" if m else "p", t) for m, t in members), row=several)
        case "trace":
            exact = draw(st.booleans())
            via = " via move" if draw(st.booleans()) else ""
            steps = pick(draw, ("1", "2", "3", "k"))
            quantifier = f"trace t: Step {'of' if exact else 'within'} {steps} steps{via}"
            scope = Scope(words, (("first(t)", "Step"), ("last(t)", "Step")), path="t", eventually=exact)
        case _:
            quantifier = "cycle t: Step via move"
            scope = Scope(words, (), path="t")
    given, expect = formulas(draw, kind, scope, depth)
    severity = pick(draw, ("must", "should"))
    return f"{severity} {name}:\n  {quantifier}\n{f'  given {given}' + chr(10) if given else ''}  expect {expect}\n"


def formulas(draw: Draw, kind: str, scope: Scope, depth: int) -> tuple[str, str]:
    if kind == "cycle":
        inner = Scope(scope.words, (("t", "Step"),), constants=False)
        parts = [f"always ({truth(draw, inner, 1)})" for _ in range(draw(st.integers(0, 2)))]
        given = " and ".join(parts)
        op, total = pick(draw, ("<", "<=", ">", ">=", "==", "!=")), f"sum({step(draw, '', scope)})"
        return given, pick(draw, (f"{total} {op} 0", f"0 {op} {total}"))
    given = truth(draw, scope, depth - 1) if draw(st.booleans()) else ""
    if kind == "share":
        level = pick(draw, ("0.5", "1 / 3", "0", "1", "eps"))
        confidence = pick(draw, ("", " confidence 0.9", " confidence 99 %", " confidence 1 / 2"))
        return given, f"share({truth(draw, scope, 1)}) {pick(draw, ('<', '<=', '>', '>='))} {level}{confidence}"
    return given, truth(draw, scope, depth)


def radius(draw: Draw, sorts: Sequence[Sort]) -> str:
    norm = pick(draw, ("", " in linf", " in l1", " in l2"))
    reals = [s for s in sorts if s.kind == "real"]
    units = {s.quantity for s in reals}
    forms = ["5 %", "100 %", "0 %"]
    if len(units) == 1:
        sizes = {"": "0.25", "m": "1 [m]", "m/s": "3 [m/s]", "temperature": "5 [K]", "angle": "30 [deg]"}
        forms += [sizes[next(iter(units))]] * 2
    numbers = [s for s in sorts if s.kind in ("real", "int")]
    if numbers:
        chosen = draw(st.lists(st.sampled_from(numbers), min_size=1, max_size=2, unique=True))
        own = {"": "0.5", "m": "40 [cm]", "m/s": "2 [m/s]", "temperature": "2 [K]", "angle": "1 [deg]", "kg": "1 [kg]"}
        parts = [f"{s.name} = {pick(draw, ('10 %', '1' if s.name == 'lanes' else own[s.quantity]))}" for s in chosen]
        forms += [f"{{{', '.join(parts)}}}"] * 3
    return pick(draw, forms) + norm
