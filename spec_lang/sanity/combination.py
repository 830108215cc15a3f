"""Demands applied together at records that they share: do they contradict each other somewhere?

The question is put without rewards. A *refutation* picks one literal of each demand with a positive multiplier, such
that the values of rewards cancel in the sum once the links are made (Farkas); what is left reads features only, and
where it is not positive the literals cannot hold together. A demand with several literals needs a refutation for each
choice. The answer is a point: records at which every guard holds and every refutation works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from rewarden.spec_lang.claim import Box
from rewarden.spec_lang.evaluate import truth_of_rows, value
from rewarden.spec_lang.forms import combine, form_of
from rewarden.spec_lang.formulas import atom, conjunction
from rewarden.spec_lang.obligation import TRUE, Call, Formula, Obligation, Term, Var, Variable
from rewarden.spec_lang.sanity.demands import Demand, Literal
from rewarden.spec_lang.sanity.edges import Edge
from rewarden.spec_lang.sanity.joint import Columns, Placed, between, in_some_box, put, row_boxes, same, substituted
from rewarden.spec_lang.term_walk import mentions_rewards

ROWS = 12
"""Rows of data around which a rule near them is looked at; a clash elsewhere is not found."""

Refutation = tuple[tuple[int, Literal, Fraction], ...]  # (demand, its literal, multiplier)


@dataclass(frozen=True, slots=True)
class Link:
    """Call `left` of demand number `first` and `right` of number `second` are at the same record."""

    first: int
    left: Call
    second: int
    right: Call


@dataclass(frozen=True, slots=True)
class Combination:
    """Demands in the order in which they are placed; links speak of demands placed no later than `second`."""

    demands: tuple[Demand, ...]
    links: tuple[Link, ...]
    refutations: tuple[Refutation, ...]

    @property
    def rules(self) -> frozenset[str]:
        return frozenset(demand.rule for demand in self.demands)


@dataclass(frozen=True, slots=True)
class Question:
    """The combination over joint variables; `columns` places each demand's rule."""

    variables: tuple[Variable, ...]
    columns: tuple[Columns, ...]
    formula: Formula


def of_cycle(edges: Sequence[Edge]) -> Combination:
    """The demands of a cycle of edges, each placed on its own."""
    refutation = tuple((k, edge.literal, edge.scale) for k, edge in enumerate(edges))
    return Combination(tuple(edge.demand for edge in edges), chain(list(enumerate(edges))), (refutation,))


def chain(cycle: Sequence[tuple[int, Edge]]) -> tuple[Link, ...]:
    """The links between consecutive edges, the last and the first included, given the numbers of their demands. What
    links zeros or data constants needs no record."""
    links = []
    for (k, edge), (after, following) in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
        if isinstance(edge.head, Call) and isinstance(following.tail, Call):
            here, there = (k, edge.head), (after, following.tail)
            links.append(Link(*here, *there) if k <= after else Link(*there, *here))
    return tuple(links)


def question(combination: Combination, near: Mapping[Obligation, Sequence[Box]]) -> Question:
    """The combination as one formula over fresh variables; `near` has boxes for the rules over data. TooLarge if it
    grows out of bounds."""
    placing = _Placing(near)
    for k, demand in enumerate(combination.demands):
        placing.add(demand, [link for link in combination.links if link.second == k])
    parts = [*placing.parts, *(_works(refutation, placing.columns) for refutation in combination.refutations)]
    return Question(tuple(placing.variables), tuple(placing.columns), conjunction(parts))


def _works(refutation: Refutation, columns: Sequence[Columns]) -> Formula:
    """Σ multiplier·rest < 0, or <= 0 where a literal is strict: then the sum of the literals is impossible."""
    total = combine((form_of(put(literal.rest, columns[k])), by) for k, literal, by in refutation)
    strict = any(literal.strict for _, literal, _ in refutation)
    return atom(-total, not strict, None)


class _Placing:
    """Mutable while demands are placed one after the other."""

    def __init__(self, near: Mapping[Obligation, Sequence[Box]]) -> None:
        self.near = near
        self.variables: list[Variable] = []
        self.columns: list[Columns] = []
        self.parts: list[Formula] = []

    def add(self, demand: Demand, links: Sequence[Link]) -> None:
        rule = demand.obligation
        own: dict[int, Term] = {}
        for link in links:
            if link.first < link.second:
                there = [put(term, self.columns[link.first]) for term in link.left.arguments]
                for term, target in zip(link.right.arguments, there, strict=True):
                    if isinstance(term, Var):
                        own.setdefault(term.index, target)
        prefix = f"{len(self.columns)}:"
        for index, variable in enumerate(rule.variables):
            if index not in own:
                own[index] = Var(len(self.variables))
                self.variables.append(replace(variable, record=prefix + variable.record))
        columns = tuple(own[index] for index in range(len(rule.variables)))
        self.columns.append(columns)
        for link in links:
            left = [put(term, self.columns[link.first]) for term in link.left.arguments]
            right = [put(term, columns) for term in link.right.arguments]
            self.parts += [same(a, b) for a, b in zip(left, right, strict=True) if a != b]
        self.parts.append(substituted(demand.guard, columns))
        self.parts.append(self._domain(rule, columns))

    def _domain(self, rule: Obligation, columns: Columns) -> Formula:
        """Ranges, where the joint variable's own does not say so; some row of data, where the rule is about rows."""
        sides = []
        for variable, column in zip(rule.variables, columns, strict=True):
            given = self.variables[column.index] if isinstance(column, Var) else None
            if given is None or given.lo < variable.lo or given.hi > variable.hi:
                sides.append(between(column, variable.lo, variable.hi))
        if rule.instances is not None:
            sides.append(in_some_box(Placed(rule, columns, TRUE), self.near[rule]))
        return conjunction(sides)


def some_boxes(rule: Obligation) -> tuple[Box, ...]:
    """Boxes of some rows of a rule over data: first of those at which its premise holds."""
    instances = rule.instances
    assert instances is not None
    count = len(instances.anchors)
    points = np.zeros((count, len(rule.variables)))
    for index, column in [(i, c) for i, c, _ in instances.centred] + list(instances.fixed):
        points[:, index] = instances.anchors[:, column]
    wanted = conjunction([part for part in (rule.structure, rule.assume, rule.premise) if not mentions_rewards(part)])
    holds = truth_of_rows(wanted, points)
    return row_boxes(rule, [*np.flatnonzero(holds).tolist(), *np.flatnonzero(~holds).tolist()][:ROWS])


def values_at(columns: Columns, point: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """The values of a rule's variables at a point of the joint variables; Unsupported if one is irrational."""
    return tuple(value(column, point) for column in columns)
