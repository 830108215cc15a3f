"""Do the spec's examples hold? Each is a test of a premise, decided for every completion of what it gives.

`covers` fails at a completion that the rule does not speak of, `ignores` at one that it does; either is shown. For a
rule near data the rule speaks of what is near some row, and for one over rows of data the completions are its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from rewarden.spec_lang.clauses import negate
from rewarden.spec_lang.examples import Example
from rewarden.spec_lang.formulas import conjunction, disjunction
from rewarden.spec_lang.obligation import TRUE, Const, Formula, Obligation, Var, Variable
from rewarden.spec_lang.sanity.joint import Columns, Placed, in_hull, in_some_box, row_boxes, same, substituted
from rewarden.spec_lang.sanity.round_numbers import rounded
from rewarden.spec_lang.sanity.z3 import Oracle
from rewarden.spec_lang.term_walk import mentions_rewards

ROWS = 256
"""A rule over more rows than this leaves its examples undecided."""


@dataclass(frozen=True, slots=True)
class ExampleResult:
    """`holds`, or `fails` with a completion where one is known exactly, or `impossible` where no record is like that,
    or `undecided`."""

    example: Example
    status: Literal["holds", "fails", "impossible", "undecided"]
    completion: tuple[Fraction, ...] | None = None


def example_result(example: Example, obligation: Obligation, oracle: Oracle, rlimit: int) -> ExampleResult:
    """Decides one example of the rule whose obligation this is."""
    if obligation.instances is not None and len(obligation.instances.anchors) > ROWS:
        return ExampleResult(example, "undecided")
    own: Columns = tuple(map(Var, range(len(obligation.variables))))
    given = conjunction(same(Var(index), Const(value)) for index, value in example.values)
    possible = conjunction([_possible(obligation, own), given])
    spoken = _spoken_of(obligation, own)
    variables = in_hull(obligation) if obligation.over_rows else obligation.variables
    wrong = conjunction([possible, negate(spoken) if example.kind == "covers" else spoken])
    answer = oracle.ask(variables, wrong, rlimit)
    if answer.status == "sat":
        return ExampleResult(example, "fails", _shown(variables, wrong, answer.point))
    if answer.status == "unknown":
        return ExampleResult(example, "undecided")
    match oracle.ask(variables, possible, rlimit).status:
        case "unsat":
            return ExampleResult(example, "impossible")
        case "sat":
            return ExampleResult(example, "holds")
    return ExampleResult(example, "undecided")


def _possible(obligation: Obligation, own: Columns) -> Formula:
    """What a completion is: any record of the domain, or a row of the data that the rule is over."""
    domain = conjunction([obligation.structure, obligation.assume])
    return conjunction([domain, _in_rows(obligation, own)]) if obligation.over_rows else domain


def _in_rows(obligation: Obligation, columns: Columns) -> Formula:
    instances = obligation.instances
    assert instances is not None
    return in_some_box(Placed(obligation, columns, TRUE), row_boxes(obligation, range(len(instances.anchors))))


def _spoken_of(obligation: Obligation, own: Columns) -> Formula:
    """Whether the rule speaks of the record: the premise, and for a rule near data some row whose box it is in."""
    instances = obligation.instances
    if instances is None or obligation.over_rows:
        return obligation.premise
    anchored = dict(_anchor_columns(obligation))
    parts = []
    for row, box in enumerate(row_boxes(obligation, range(len(instances.anchors)))):
        values = {i: Fraction(float(instances.anchors[row, c])) for i, c in anchored.items()}
        columns = tuple(Const(values[i]) if i in values else term for i, term in enumerate(own))
        near = in_some_box(Placed(obligation, columns, TRUE), [box])
        parts.append(conjunction([near, substituted(obligation.premise, columns)]))
    return disjunction(parts)


def _anchor_columns(obligation: Obligation) -> Sequence[tuple[int, int]]:
    """(variable, column) of the record `anchor(x)`, which is the row itself; there is none in most rules."""
    assert obligation.instances is not None
    anchors = {i for view in obligation.records if view.name.startswith("anchor(") for i in view.variables}
    return [(index, column) for index, column in obligation.instances.fixed if index in anchors]


def _shown(
    variables: Sequence[Variable], wrong: Formula, point: tuple[Fraction, ...] | None
) -> tuple[Fraction, ...] | None:
    if point is None or mentions_rewards(wrong):
        return point
    return rounded(variables, wrong, point)
