"""Can a rule's premise hold at all, and if not, why not?

A rule that speaks of nothing is true of every reward, which its author did not mean. The answer is exact: a point, or
Z3's proof that there is none, and then the fewest clauses (ranges, assumptions, conjuncts of the premise) that clash.
A rule over data is tried at its rows first, then around each; the hull of all rows' boxes often refutes it at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.obligation import TRUE, And, Formula, Instances, Obligation, Var
from rewarden.spec_lang.sampling.points import inward, sample_rows
from rewarden.spec_lang.sanity.conditions import Condition, written_as
from rewarden.spec_lang.sanity.demands import region_of
from rewarden.spec_lang.sanity.joint import Placed, between, in_hull, in_some_box, row_boxes
from rewarden.spec_lang.sanity.narrowed import floats
from rewarden.spec_lang.sanity.places import line, listed, quoted
from rewarden.spec_lang.sanity.z3 import Oracle, is_linear
from rewarden.spec_lang.sentence import number_text
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.term_walk import mentions_rewards, variables_of

ROWS_AT_ONCE = 16
"""Boxes of rows in one question."""

PremiseStatus = Literal["satisfiable", "vacuous", "undecided"]


@dataclass(frozen=True, slots=True)
class Clause:
    """One of the clauses that clash: what it is, in words, and where it was written."""

    kind: Literal["range", "case", "assumption", "premise", "data"]
    words: str
    span: Span | None


@dataclass(frozen=True, slots=True)
class Premise:
    """`point` where there is an exactly checked one. `core` where it is vacuous: no clause can be left out."""

    status: PremiseStatus
    point: tuple[Fraction, ...] | None = None
    core: tuple[Clause, ...] = ()


def premise_of(obligation: Obligation, oracle: Oracle, rlimit: int) -> Premise:
    """Whether any record satisfies domain and premise."""
    wanted = _wanted(obligation)
    if obligation.instances is None:
        point = None if is_linear(wanted) else _sampled(obligation)
        if point is not None:
            return Premise("satisfiable", point)
        answer = oracle.ask(obligation.variables, wanted, rlimit)
        return Premise(_status(answer.status), answer.point)
    row = _row_that_holds(obligation, wanted)
    if row is not None:
        return Premise("satisfiable", row)
    if oracle.ask(in_hull(obligation), wanted, rlimit).status == "unsat":
        return Premise("vacuous")
    return _around_rows(obligation, obligation.instances, wanted, oracle, rlimit)


def _sampled(obligation: Obligation) -> tuple[Fraction, ...] | None:
    """A point found by search, which for products of features is often quicker than Z3; every one is exactly true."""
    if mentions_rewards(obligation.premise):
        return None
    rows = sample_rows(obligation, 1, 0)
    return tuple(Fraction(float(x)) for x in rows[0]) if len(rows) else None


def _around_rows(obligation: Obligation, instances: Instances, wanted: Formula, oracle: Oracle, rlimit: int) -> Premise:
    at = Placed(obligation, tuple(map(Var, range(len(obligation.variables)))), TRUE)
    variables = in_hull(obligation)
    rows = _rows_that_meet(obligation, instances)
    decided = True
    while rows:
        some, rows = rows[:ROWS_AT_ONCE], rows[ROWS_AT_ONCE:]
        near = in_some_box(at, row_boxes(obligation, some))
        answer = oracle.ask(variables, And((near, wanted)), rlimit)
        if answer.status == "sat":
            return Premise("satisfiable", answer.point)
        decided = decided and answer.status == "unsat"
    return Premise("vacuous" if decided else "undecided")


def _rows_that_meet(obligation: Obligation, instances: Instances) -> list[int]:
    """The rows whose box has a point in common with the box around all points of the premise."""
    region = region_of(obligation)
    if region is None:
        return []
    sides = floats(region)
    meets = np.ones(len(instances.anchors), dtype=np.bool_)
    for index, column, radius in [*instances.centred, *((i, c, Fraction(0)) for i, c in instances.fixed)]:
        reach = floats([(radius, radius)])[0, 1]  # a little more than exact, as the sides are
        anchor = instances.anchors[:, column]
        meets &= (anchor - reach <= sides[index, 1]) & (sides[index, 0] <= anchor + reach)
    rows: list[int] = np.flatnonzero(meets).tolist()
    return rows


def _status(status: str) -> PremiseStatus:
    return "satisfiable" if status == "sat" else "vacuous" if status == "unsat" else "undecided"


def _wanted(obligation: Obligation) -> Formula:
    return And((obligation.structure, obligation.assume, obligation.premise))


def _row_that_holds(obligation: Obligation, wanted: Formula) -> tuple[Fraction, ...] | None:
    """A row of the data, taken as the record itself, at which the premise is exactly true."""
    instances = obligation.instances
    if instances is None or len(instances.anchors) == 0 or mentions_rewards(wanted):
        return None
    points = np.zeros((len(instances.anchors), len(obligation.variables)))
    held = np.ones(len(points), dtype=np.bool_)
    for index, column in [(i, c) for i, c, _ in instances.centred] + list(instances.fixed):
        points[:, index] = instances.anchors[:, column]
    for index, _, _ in instances.centred:
        variable = obligation.variables[index]
        held &= (points[:, index] >= inward(variable.lo, up=True)) & (points[:, index] <= inward(variable.hi, up=False))
    rows = np.flatnonzero(held)
    true = rows[truth_of_rows(wanted, points[rows])]
    return tuple(Fraction(float(x)) for x in points[true[0]]) if len(true) else None


# ── why not ────────────────────────────────────────────────────────────────────────────────────
def clashing_clauses(
    obligation: Obligation,
    types: dict[str, RecordType],
    places: tuple[dict[tuple[str, str], Span], Sequence[Condition]],
    oracle: Oracle,
    rlimit: int,
) -> tuple[Clause, ...]:
    """The fewest clauses of a vacuous premise that exclude each other; none where Z3 gives up on this question, or
    where it takes the single rows of data to see.

    `places` is where each (record type, feature) was declared, and the conditions as they were written.
    """
    spans, conditions = places
    written = tuple(_written(obligation, conditions))
    parts = [*written, *_domain(obligation, types, spans)]
    if not all(is_linear(formula) for formula, _ in parts):
        return _within_ranges(obligation, written, oracle, rlimit)
    core = oracle.core(obligation.variables, [formula for formula, _ in parts], rlimit)
    if core is None:
        return ()
    found = {(clause.kind, clause.words): clause for clause in (parts[k][1] for k in core)}
    order = ("premise", "assumption", "range", "case", "data")
    return tuple(sorted(found.values(), key=lambda clause: order.index(clause.kind)))


def _within_ranges(
    obligation: Obligation, parts: Sequence[tuple[Formula, Clause]], oracle: Oracle, rlimit: int
) -> tuple[Clause, ...]:
    """The same with all ranges kept: without bounds on its variables Z3 can take for ever over products."""
    structure = _conjuncts(obligation.structure)
    kept = [formula for formula, _ in parts]
    if oracle.ask(obligation.variables, And((*kept, *structure)), rlimit).status != "unsat":
        return ()
    for formula in tuple(kept):
        fewer = [other for other in kept if other is not formula]
        if oracle.ask(obligation.variables, And((*fewer, *structure)), rlimit).status == "unsat":
            kept = fewer
    found = {c.words: c for formula, c in parts if any(formula is other for other in kept)}
    return (*found.values(), Clause("range", "the ranges of what it reads", None))


def _written(obligation: Obligation, conditions: Sequence[Condition]) -> Iterator[tuple[Formula, Clause]]:
    for conjunct in _conjuncts(obligation.premise):
        yield conjunct, _quoted("premise", written_as(conjunct, obligation, conditions))
    for conjunct in _conjuncts(obligation.assume):
        yield conjunct, _quoted("assumption", written_as(conjunct, obligation, conditions))


def _domain(
    obligation: Obligation, types: dict[str, RecordType], spans: dict[tuple[str, str], Span]
) -> Iterator[tuple[Formula, Clause]]:
    equal_to_row: set[int] = set()
    if obligation.instances is not None:
        equal_to_row = {index for index, _ in obligation.instances.fixed}
        hull = [between(Var(index), v.lo, v.hi) for index, v in enumerate(in_hull(obligation))]
        near = "" if obligation.over_rows else "what is near "
        yield And(tuple(hull)), Clause("data", f"{near}the rows of {obligation.instances.data}", None)
    for view in obligation.records:
        record = types[view.type_name]
        start = 0
        for feature in record.features:
            own = set(view.variables[start : start + feature.width])
            start += feature.width
            parts = [
                between(Var(i), obligation.variables[i].lo, obligation.variables[i].hi) for i in own - equal_to_row
            ]
            parts += [part for part in _conjuncts(obligation.structure) if own & variables_of(part)]
            yield And(tuple(parts)), _declared(feature, spans.get((view.type_name, feature.name)))


def _conjuncts(formula: Formula) -> Sequence[Formula]:
    return formula.parts if isinstance(formula, And) else (formula,)


def _quoted(kind: Literal["premise", "assumption"], span: Span | None) -> Clause:
    if span is None:
        return Clause(kind, "a condition that is false whatever the record", None)
    return Clause(kind, quoted(span), span)


def _declared(feature: Feature, span: Span | None) -> Clause:
    match feature.kind:
        case "bool":
            return Clause("case", f"{feature.name} is true or false", span)
        case "enum":
            return Clause("case", f"{feature.name} has one of its cases", span)
    unit = f" [{feature.unit}]" if feature.unit else ""
    kind = "whole numbers" if feature.kind == "int" else "range"
    limits = f"{number_text(feature.lo)} .. {number_text(feature.hi)}{unit}"
    return Clause("range", f"the {kind} {limits} of {feature.name}", span)


def why(core: Sequence[Clause], home: Span) -> str:
    """The clash in a sentence (without its full stop): "`s.speed > 3 [m/s]` contradicts the range …"."""
    if not core:
        return "it contradicts its ranges and assumptions"
    others = [clause for clause in core if clause.kind != "case"]  # that a thing has one case goes without saying
    words = [_with_line(clause, home) for clause in (others if len(others) > 1 else core)]
    if len(words) == 1:
        return f"{words[0]} is never true"
    if len(words) == 2:
        return f"{words[0]} contradicts {words[1]}"
    return f"{listed(words)} exclude each other"


def _with_line(clause: Clause, home: Span) -> str:
    match clause.kind:
        case "range" | "case" if clause.span is not None:
            return f"{clause.words} declared at {line(clause.span, home)}"
        case "assumption" if clause.span is not None:
            return f"the assumption {clause.words} at {line(clause.span, home)}"
        case _:
            return clause.words
