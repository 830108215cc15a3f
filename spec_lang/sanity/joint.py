"""Several rules at once: obligations placed at common records, as formulas over one list of variables.

A rule holds for all records, so it may be applied to any: `placed` writes a rule about `a` and `b` at other records, by
putting their columns (terms over the joint variables) in the place of its own. `applies` says when the rule speaks of
these records at all, and `said` what it then says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from rewarden.spec_lang import forms
from rewarden.spec_lang.boxes import boxes_of
from rewarden.spec_lang.claim import Box
from rewarden.spec_lang.clauses import negate
from rewarden.spec_lang.forms import form_of
from rewarden.spec_lang.formulas import atom, conjunction, disjunction
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
    Statistic,
    Sum,
    Term,
    Var,
    Variable,
)
from rewarden.spec_lang.sanity.narrowed import declared

Columns = tuple[Term, ...]
"""A term over the joint variables for each of a rule's variables."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A rule at given records; `equal` says that the columns which its records share agree."""

    obligation: Obligation
    columns: Columns
    equal: Formula


def placed(obligation: Obligation, records: Sequence[Sequence[Term]]) -> Placed | None:
    """The rule at `records`, a list of columns for each of its own; None where it needs two numbers equal that differ.

    Records of the rule that are not given (the anchor of a near rule) keep nothing: give them too.
    """
    columns: dict[int, Term] = {}
    equal: list[Formula] = []
    for view, record in zip(obligation.records, records, strict=True):
        for index, term in zip(view.variables, record, strict=True):
            other = columns.setdefault(index, term)
            if other != term:
                equal.append(same(other, term))
    agreed = conjunction(equal)
    if agreed == FALSE:
        return None
    return Placed(obligation, tuple(columns[index] for index in range(len(obligation.variables))), agreed)


def same(left: Term, right: Term) -> Formula:
    """left = right."""
    difference = form_of(left) - form_of(right)
    return conjunction([atom(difference, False, None), atom(-difference, False, None)])


def applies(at: Placed, joint: Sequence[Variable], near: Formula = TRUE) -> Formula:
    """Where the rule speaks of these records: columns that it shares agree, ranges, structure, assumptions, premise,
    and `near` for what a rule over data asks of its rows."""
    rule = at.obligation
    read = [substituted(part, at.columns) for part in (rule.structure, rule.assume, rule.premise)]
    return conjunction([at.equal, _in_range(at, joint), near, *read])


def said(at: Placed, joint: Sequence[Variable], near: Formula = TRUE) -> Formula:
    """What the rule says of these records."""
    return disjunction([negate(applies(at, joint, near)), substituted(at.obligation.conclusion, at.columns)])


def _in_range(at: Placed, joint: Sequence[Variable]) -> Formula:
    """The rule's ranges, where those of the joint variables do not say as much already. What equals a row's value is
    in range whatever the limit's rounding to binary64 makes of it (`in_hull`)."""
    instances = at.obligation.instances
    fixed = set() if instances is None else {index for index, _ in instances.fixed}
    sides = []
    for index, (variable, column) in enumerate(zip(at.obligation.variables, at.columns, strict=True)):
        if index in fixed:
            continue
        own = joint[column.index] if isinstance(column, Var) else None
        if own is None or own.lo < variable.lo or own.hi > variable.hi:
            sides.append(between(column, variable.lo, variable.hi))
    return conjunction(sides)


def between(column: Term, lo: Fraction, hi: Fraction) -> Formula:
    form = form_of(column)
    return conjunction([atom(form.shifted(-lo), False, None), atom((-form).shifted(hi), False, None)])


# ── rules over data ────────────────────────────────────────────────────────────────────────────
def row_boxes(obligation: Obligation, rows: Sequence[int]) -> tuple[Box, ...]:
    """The boxes of some of the rows; DataError as in boxes.py."""
    assert obligation.instances is not None
    chosen = replace(obligation.instances, anchors=obligation.instances.anchors[list(rows)])
    return tuple(boxes_of(replace(obligation, instances=chosen)))


def in_some_box(at: Placed, boxes: Sequence[Box]) -> Formula:
    """The records lie in one of these boxes."""
    return disjunction(
        conjunction(between(column, lo, hi) for column, (lo, hi) in zip(at.columns, box, strict=True)) for box in boxes
    )


def around(at: Placed, anchor: Columns) -> Formula:
    """The records lie around a row whose columns are these terms."""
    instances = at.obligation.instances
    assert instances is not None
    parts = [same(at.columns[variable], anchor[column]) for variable, column in instances.fixed]
    for variable, column, radius in instances.centred:
        gap = form_of(at.columns[variable]) - form_of(anchor[column])
        parts += [atom(gap.shifted(radius), False, None), atom((-gap).shifted(radius), False, None)]
    return conjunction(parts)


def in_hull(obligation: Obligation) -> tuple[Variable, ...]:
    """Its variables with the hull of the rows' boxes for ranges. What equals a row's value may lie outside its own
    range by the rounding of the limit to binary64 (tables.py)."""
    hull = declared(obligation.variables, obligation.instances)
    return tuple(replace(v, lo=lo, hi=hi) for v, (lo, hi) in zip(obligation.variables, hull, strict=True))


# ── substitution ───────────────────────────────────────────────────────────────────────────────
def substituted(formula: Formula, columns: Columns) -> Formula:
    """The formula with `columns[i]` for variable i; comparisons of numbers are decided."""
    if all(isinstance(column, Var) for column in columns):
        return _renamed_formula(formula, columns)
    return _put_formula(formula, columns)


def _put_formula(formula: Formula, columns: Columns) -> Formula:
    match formula:
        case And(parts):
            return conjunction(_put_formula(part, columns) for part in parts)
        case Or(parts):
            return disjunction(_put_formula(part, columns) for part in parts)
        case Atom(term, strict, origin):
            return atom(form_of(put(term, columns)), strict, origin)


def put(term: Term, columns: Columns) -> Term:
    """The term with `columns[i]` for variable i; constants fold."""
    match term:
        case Const() | Statistic():
            return term
        case Var(index):
            return columns[index]
        case Call(reward, arguments):
            return Call(reward, tuple(_argument(t, columns) for t in arguments))
        case Sum(terms):
            return forms.combine((form_of(put(t, columns)), forms.ONE) for t in terms).term()
        case Product(left, right):
            return forms.product(form_of(put(left, columns)), form_of(put(right, columns))).term()
        case Quotient(left, right):
            return forms.quotient(form_of(put(left, columns)), form_of(put(right, columns))).term()
        case Min(terms):
            return forms.extremum(Min, [form_of(put(t, columns)) for t in terms]).term()
        case Max(terms):
            return forms.extremum(Max, [form_of(put(t, columns)) for t in terms]).term()
        case Sqrt(inner):
            return forms.square_root(form_of(put(inner, columns))).term()
        case Ite(condition, then, otherwise):
            chosen = _put_formula(condition, columns)
            if chosen in (TRUE, FALSE):
                return put(then if chosen == TRUE else otherwise, columns)
            return Ite(chosen, put(then, columns), put(otherwise, columns))


def _argument(term: Term, columns: Columns) -> Term:
    """Nearly always a column and its number, which is what it is."""
    placed = put(term, columns)
    return placed if isinstance(placed, Const | Var) else form_of(placed).term()


def _renamed_formula(formula: Formula, columns: Columns) -> Formula:
    """The same where variables become variables: nothing can fold, so the shape stays, which is much faster."""
    match formula:
        case And(parts):
            return And(tuple(_renamed_formula(part, columns) for part in parts))
        case Or(parts):
            return Or(tuple(_renamed_formula(part, columns) for part in parts))
        case Atom(term, strict, origin):
            return Atom(_renamed(term, columns), strict, origin)


def _renamed(term: Term, columns: Columns) -> Term:
    match term:
        case Const() | Statistic():
            return term
        case Var(index):
            return columns[index]
        case Product(left, right):
            return Product(_renamed(left, columns), _renamed(right, columns))
        case Sum(terms):
            return Sum(tuple(_renamed(t, columns) for t in terms))
        case Call(reward, arguments):
            return Call(reward, tuple(_renamed(t, columns) for t in arguments))
        case Quotient(left, right):
            return Quotient(_renamed(left, columns), _renamed(right, columns))
        case Min(terms):
            return Min(tuple(_renamed(t, columns) for t in terms))
        case Max(terms):
            return Max(tuple(_renamed(t, columns) for t in terms))
        case Sqrt(inner):
            return Sqrt(_renamed(inner, columns))
        case Ite(condition, then, otherwise):
            chosen = _renamed_formula(condition, columns)
            return Ite(chosen, _renamed(then, columns), _renamed(otherwise, columns))


def numbers(values: Sequence[Fraction]) -> Columns:
    """The columns that put numbers for the variables."""
    return tuple(Const(value) for value in values)
