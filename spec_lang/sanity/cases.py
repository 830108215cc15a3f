"""One rule in question, and other rules placed at its records: what redundancy is decided from.

The others are taken at the rule's own records, in every order, and at the records that its calls are made of. A row of
data stands for itself as a symbol in the hull of all rows, so that two rules about the same data are compared row by
row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice, product

from rewarden.spec_lang.clauses import negate
from rewarden.spec_lang.evaluate import truth, value
from rewarden.spec_lang.formulas import conjunction, disjunction
from rewarden.spec_lang.obligation import TRUE, Call, Formula, Obligation, Term, Var, Variable
from rewarden.spec_lang.sampling.points import without_calls
from rewarden.spec_lang.sanity.demands import parted
from rewarden.spec_lang.sanity.joint import (
    Columns,
    Placed,
    applies,
    around,
    in_hull,
    numbers,
    placed,
    said,
    substituted,
)
from rewarden.spec_lang.term_walk import nodes

PLACEMENTS = 9
"""Ways in which one rule is placed at another's records."""

Signature = Mapping[str, tuple[tuple[str, int], ...]]
"""Reward → (record type, columns) of each of its records."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One obligation of the rule in question, over `joint` variables: its own, and those of a row of data. `records`
    are (type, columns); `point` is one at which the rule applies."""

    rule: Obligation
    joint: tuple[Variable, ...]
    anchor: Columns
    records: tuple[tuple[str, Columns], ...]
    point: tuple[Fraction, ...] | None

    @property
    def data(self) -> str | None:
        return None if self.rule.instances is None else self.rule.instances.data

    def wrong(self) -> Formula:
        """It applies, and its conclusion fails."""
        own = Placed(self.rule, tuple(map(Var, range(len(self.rule.variables)))), TRUE)
        near = around(own, self.anchor) if self.anchor else TRUE
        return conjunction([applies(own, self.joint, near), negate(self.rule.conclusion)])

    def wrong_there(self) -> Formula:
        """The same at the point, where only what it says of rewards is open."""
        assert self.point is not None
        about_rewards = parted(self.rule.premise)[1]
        return substituted(conjunction([*about_rewards, negate(self.rule.conclusion)]), numbers(self.point))


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """Another rule at records of the case; `values` of its variables at the case's point, where it then applies as far
    as features tell."""

    rule: str
    at: Placed
    values: tuple[Fraction, ...] | None

    def says(self, case: Case) -> Formula:
        over_data = self.at.obligation.instances is not None
        return said(self.at, case.joint, around(self.at, case.anchor) if over_data else TRUE)

    def says_there(self) -> Formula:
        assert self.values is not None
        rule = self.at.obligation
        escapes = [negate(part) for part in parted(rule.premise)[1]]
        return substituted(disjunction([*escapes, rule.conclusion]), numbers(self.values))


def case_of(obligation: Obligation, point: tuple[Fraction, ...] | None, signature: Signature) -> Case:
    joint = in_hull(obligation)
    rows = () if obligation.instances is None else _row(obligation, joint)
    anchor = tuple(Var(len(joint) + k) for k in range(len(rows)))
    return Case(obligation, (*joint, *rows), anchor, tuple(_records(obligation, signature)), point)


def _row(obligation: Obligation, joint: Sequence[Variable]) -> tuple[Variable, ...]:
    """A variable for each column of the row, in the hull of all rows."""
    instances = obligation.instances
    assert instances is not None
    model = {c: joint[i] for i, c in instances.fixed} | {c: joint[i] for i, c, _ in instances.centred}
    least, most = instances.anchors.min(axis=0), instances.anchors.max(axis=0)
    return tuple(
        replace(model[c], record="row", lo=Fraction(float(least[c])), hi=Fraction(float(most[c])))
        for c in range(instances.anchors.shape[1])
    )


def _records(obligation: Obligation, signature: Signature) -> Iterator[tuple[str, Columns]]:
    """(type, columns) of its records, and of those that its rewards are applied to, each once."""
    found: dict[tuple[str, Columns], None] = {}
    for view in obligation.records:
        found[view.type_name, tuple(map(Var, view.variables))] = None
    for formula in (obligation.premise, obligation.conclusion):
        for node in nodes(formula):
            if isinstance(node, Call):
                start = 0
                for type_name, width in signature[node.reward]:
                    found[type_name, node.arguments[start : start + width]] = None
                    start += width
    yield from found


def placements(case: Case, rule: str, obligation: Obligation) -> Iterator[Use]:
    """The other rule's obligation at the case's records, in the ways in which it could apply there."""
    over_data = obligation.instances is not None
    if obligation.instances is not None and obligation.instances.data != case.data:
        return
    for records in islice(product(*_choices(case, obligation)), PLACEMENTS):
        at = placed(obligation, records)
        if at is None:
            continue
        values = None if over_data or case.point is None else _values_there(case.point, at)
        if values is not None or over_data or case.point is None:
            yield Use(rule, at, values)


def in_step(case: Case, rule: str, obligation: Obligation) -> Iterator[Use]:
    """The other rule at the case's own records in their order, where it is about as many of the same types."""
    own = case.rule.records
    if obligation.instances is not None or [v.type_name for v in obligation.records] != [v.type_name for v in own]:
        return
    at = placed(obligation, [tuple(map(Var, view.variables)) for view in own])
    if at is not None:
        yield Use(rule, at, None)


def _choices(case: Case, obligation: Obligation) -> list[list[Sequence[Term]]]:
    """For each record of the other rule those of the case that it can stand for; an anchor is the row itself."""
    choices: list[list[Sequence[Term]]] = []
    columns = {} if obligation.instances is None else dict(obligation.instances.fixed)
    for view in obligation.records:
        if view.name.startswith("anchor("):
            choices.append([[case.anchor[columns[index]] for index in view.variables]])
        else:
            choices.append([own for type_name, own in case.records if type_name == view.type_name])
    return choices


def _values_there(point: tuple[Fraction, ...], at: Placed) -> tuple[Fraction, ...] | None:
    """The other rule's variables at the case's point; None if it does not apply there, as far as features tell: then it
    is of no use there, and so of none at all."""
    if not truth(at.equal, point):
        return None
    values = tuple(value(column, point) for column in at.columns)
    return values if truth(without_calls(at.obligation.premise), values) else None
