"""A rule about loops or traces, step by step: what it says of each record, of each move, and what each step adds.

The unrolled obligation is taken apart by the records that its parts read. What reads one record is a fact about that
record; what reads two that follow each other is a fact about that move; the sum in the conclusion falls apart likewise.
Facts that read more are left out: a proof from fewer facts is a proof.

A loop has no first record, so its obligation looks the same from everywhere. That of three records says it all: on a
loop of any length each record has one before it and one after it, so what the three-record loop says of a record, or
of a record and the next, holds at each step of every loop, one record that follows itself included. The sum over a
loop of n records is the sum over its steps of what one step of the three-record loop adds. That all three steps of it
say the same is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from rewarden.spec_lang.clauses import negate
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.forms import Form, form_of
from rewarden.spec_lang.obligation import (
    FALSE,
    TRUE,
    And,
    Atom,
    Call,
    Const,
    Formula,
    Ite,
    Max,
    Min,
    Obligation,
    Or,
    Product,
    Quotient,
    Sqrt,
    Term,
    Var,
)
from rewarden.spec_lang.obligation import Sum as TermSum
from rewarden.spec_lang.term_walk import variables_of

LOOP = 3  # records of the loop that is read
UNROLLED = 4  # records of traces that are left to the claims of their lengths
CLAIMED = 12  # and of the longest of which there is a claim

Parts = tuple[tuple[Term, Fraction], ...]


@dataclass(frozen=True, slots=True)
class Adds:
    """What a step adds to the sum: constant + Σ coefficient · leaf, over columns 0 … d−1 of its record and d … 2d−1 of
    the next."""

    parts: Parts = ()
    constant: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True)
class Step:
    """One record (columns 0 … d−1), the move to the next (d … 2d−1), and what the two add to the sum."""

    record: tuple[Formula, ...] = ()
    move: tuple[Formula, ...] = ()
    adds: Adds = Adds()


@dataclass(frozen=True, slots=True)
class Chain:
    """The ways to break one conjunct of a conclusion: `steps` in order whose facts all hold and whose sum is above 0
    (or, `weak`, at least 0). Without a sum the facts alone break it."""

    steps: tuple[Step, ...]
    weak: bool
    impossible: bool = False  # some fact reads no record and is false
    partial: bool = False  # some fact is left out, since it reads records that are far apart, or none


@dataclass(frozen=True, slots=True)
class Sum:
    """One conjunct of a rule about loops: `margin` is what a step leaves of the rule; its sum has to be above 0, if
    `strict`, or at least 0, round each loop at all of whose steps `cases` hold."""

    cases: tuple[Formula, ...]
    margin: Term
    strict: bool


def loop_sums(obligation: Obligation) -> tuple[tuple[Formula, ...], tuple[Sum, ...]]:
    """A rule about loops, whole: the facts of each step, over the columns of its two records, and its conjuncts.

    `obligation` is that of the loop of three records. Unsupported X14 where a step does not say all of the rule.
    """
    (plain,) = _chains(replace(obligation, conclusion=FALSE), closed=True)
    chains = _chains(obligation, closed=True)
    if any(chain.partial for chain in (plain, *chains)):
        raise Unsupported("X14", f"{obligation.rule.name}: its premise speaks of more than one step at a time")
    loop_step(obligation)  # all steps are alike
    width = len(obligation.records[0].variables)
    facts = _facts_of(plain, width)
    sums = []
    for chain in chains:
        adds = chain.steps[0].adds
        parts = [Product(Const(-c), t) for t, c in adds.parts]
        margin = TermSum((*parts, Const(-adds.constant)))
        cases = tuple(fact for fact in _facts_of(chain, width) if fact not in facts)
        sums.append(Sum(cases, margin, chain.weak))
    return facts, tuple(sums)


def _facts_of(chain: Chain, width: int) -> tuple[Formula, ...]:
    """Of a step of a loop: its record's, the next record's, and its move's."""
    first = chain.steps[0]
    there = [_renamed_formula(fact, {k: width + k for k in range(width)}) for fact in first.record]
    return (*first.record, *there, *first.move, *((FALSE,) if chain.impossible else ()))


def loop_step(obligation: Obligation) -> tuple[tuple[Step, bool], ...]:
    """What every step of a loop says, once for each conjunct of the conclusion, and whether a sum of 0 breaks it.

    `obligation` is that of the loop of three records. Unsupported X14 where its steps are not alike.
    """
    chains = _chains(obligation, closed=True)
    if not chains:  # the sum is the same number for all rewards and loops, and allowed: nothing adds anything
        chains = (replace(_chains(replace(obligation, conclusion=FALSE), closed=True)[0], weak=False),)
    found = []
    for chain in chains:
        first = chain.steps[0]
        if any(_content(step) != _content(first) for step in chain.steps[1:]):
            raise Unsupported("X14", f"{obligation.rule.name}: the steps of a loop are not alike")
        facts = (*first.record, *((FALSE,) if chain.impossible else ()))
        found.append((Step(facts, first.move, first.adds), chain.weak))
    return tuple(found)


def trace_chains(obligation: Obligation) -> tuple[Chain, ...]:
    """The ways to break a rule about traces of one length. Unsupported X14 where its conclusion reads records that are
    far apart in one term, or has such parts side by side."""
    return _chains(obligation, closed=False)


def _content(step: Step) -> tuple[object, ...]:
    return (frozenset(step.record), frozenset(step.move), frozenset(step.adds.parts), step.adds.constant)


# ── taking apart ───────────────────────────────────────────────────────────────────────────────
@dataclass(slots=True)
class _Open:
    """A chain in the making (mutable)."""

    record: list[list[Formula]]
    move: list[list[Formula]]
    parts: list[dict[Term, Fraction]]
    constants: list[Fraction]
    impossible: bool = False
    partial: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """Where the variables of an unrolled obligation belong."""

    records: tuple[tuple[int, ...], ...]
    closed: bool
    owner: Mapping[int, int]

    @property
    def count(self) -> int:
        return len(self.records)

    def of(self, what: Term | Formula) -> tuple[int, bool] | None:
        """The step that it belongs to, and whether to its move; None if it reads no record, or records far apart."""
        records = sorted({self.owner[v] for v in variables_of(what)})
        match records:
            case [one]:
                return one, False
            case [a, b] if b == a + 1:
                return a, True
            case [0, b] if self.closed and b == self.count - 1:
                return b, True
        return None

    def columns(self, step: int) -> dict[int, int]:
        """Variable → column, of the records that the step reads."""
        after = self.records[(step + 1) % self.count] if self.closed or step + 1 < self.count else ()
        return {v: k for k, v in enumerate((*self.records[step], *after))}


def _places(obligation: Obligation, closed: bool) -> _Places:
    owner = {v: r for r, view in enumerate(obligation.records) for v in view.variables}
    return _Places(tuple(view.variables for view in obligation.records), closed, owner)


def _chains(obligation: Obligation, closed: bool) -> tuple[Chain, ...]:
    places = _places(obligation, closed)
    shared = _Open(
        [[] for _ in range(places.count)],
        [[] for _ in range(places.count)],
        [{} for _ in range(places.count)],
        [Fraction(0)] * places.count,
    )
    for fact in _conjuncts((obligation.structure, obligation.assume, obligation.premise)):
        _add_fact(shared, places, fact)
    goals = list(_conjuncts((obligation.conclusion,)))
    return tuple(_chain(shared, places, goal, obligation) for goal in goals)


def _conjuncts(formulas: Iterable[Formula]) -> Iterator[Formula]:
    for formula in formulas:
        if isinstance(formula, And):
            yield from _conjuncts(formula.parts)
        else:
            yield formula


def _add_fact(open_: _Open, places: _Places, fact: Formula) -> None:
    if fact == FALSE:
        open_.impossible = True
    place = places.of(fact)
    if place is None:
        open_.partial |= fact not in (FALSE, TRUE)
    else:
        step, moves = place
        (open_.move if moves else open_.record)[step].append(_renamed_formula(fact, places.columns(step)))


def _chain(shared: _Open, places: _Places, goal: Formula, obligation: Obligation) -> Chain:
    """The goal is broken: what of it is about one place becomes facts there, the one sum left is the chain's."""
    own = _Open(
        [list(some) for some in shared.record],
        [list(some) for some in shared.move],
        [{} for _ in range(places.count)],
        [Fraction(0)] * places.count,
        shared.impossible,
        shared.partial,
    )
    total: Atom | None = None
    for part in [goal] if not isinstance(goal, Or) else list(goal.parts):
        if isinstance(part, Atom) and (places.of(part) is None or not isinstance(goal, Or)):
            if total is not None:
                raise _unlike(obligation)
            total = part
        elif part != FALSE and places.of(part) is None:
            raise _unlike(obligation)
        else:
            for fact in _conjuncts((negate(part),)):
                _add_fact(own, places, fact)
    if total is not None:
        _add_sum(own, places, total, obligation)
    steps = zip(own.record, own.move, own.parts, own.constants, strict=True)
    return Chain(
        tuple(
            Step(tuple(dict.fromkeys(r)), tuple(dict.fromkeys(m)), Adds(tuple((t, c) for t, c in p.items() if c), k))
            for r, m, p, k in steps
        ),
        weak=total is None or total.strict,
        impossible=own.impossible,
        partial=own.partial,
    )


def _add_sum(own: _Open, places: _Places, total: Atom, obligation: Obligation) -> None:
    """`total` is a margin: the sum that breaks it is minus that."""
    form: Form = form_of(total.term)
    for leaf, coefficient in form.parts.items():
        place = places.of(leaf)
        if place is not None:
            step = place[0]
            _add(own.parts[step], _renamed(leaf, places.columns(step)), -coefficient)
        elif variables_of(leaf):
            raise _unlike(obligation)
        else:  # a data constant: shared out evenly among the steps of a loop, paid once by a trace
            for step in range(places.count if places.closed else 1):
                _add(own.parts[step], leaf, -coefficient / (places.count if places.closed else 1))
    for step in range(places.count if places.closed else 1):
        own.constants[step] -= form.constant / (places.count if places.closed else 1)


def _add(parts: dict[Term, Fraction], leaf: Term, coefficient: Fraction) -> None:
    parts[leaf] = parts.get(leaf, Fraction(0)) + coefficient


def _unlike(obligation: Obligation) -> Unsupported:
    message = "its conclusion is not one sum of what single steps add"
    return Unsupported("X14", f"{obligation.rule.name}: {message}")


# ── renaming ───────────────────────────────────────────────────────────────────────────────────
def _renamed_formula(formula: Formula, columns: Mapping[int, int]) -> Formula:
    match formula:
        case And(parts):
            return And(tuple(_renamed_formula(part, columns) for part in parts))
        case Or(parts):
            return Or(tuple(_renamed_formula(part, columns) for part in parts))
        case Atom(term, strict, origin):
            return Atom(_renamed(term, columns), strict, origin)


def _renamed(term: Term, columns: Mapping[int, int]) -> Term:
    match term:
        case Var(index):
            return Var(columns[index])
        case TermSum(terms):
            return TermSum(tuple(_renamed(t, columns) for t in terms))
        case Min(terms):
            return Min(tuple(_renamed(t, columns) for t in terms))
        case Max(terms):
            return Max(tuple(_renamed(t, columns) for t in terms))
        case Call(reward, terms):
            return Call(reward, tuple(_renamed(t, columns) for t in terms))
        case Product(left, right):
            return Product(_renamed(left, columns), _renamed(right, columns))
        case Quotient(left, right):
            return Quotient(_renamed(left, columns), _renamed(right, columns))
        case Sqrt(inner):
            return Sqrt(_renamed(inner, columns))
        case Ite(condition, then, otherwise):
            return Ite(_renamed_formula(condition, columns), _renamed(then, columns), _renamed(otherwise, columns))
        case _:
            return term
