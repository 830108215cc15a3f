"""What rules over records say of data constants: a bound at enough rows of a table bounds its order statistics.

If R(s) > c holds at all rows of `logs`, it holds at the row that attains quantile(R(logs), 0.5), so that this constant
is above c: `R(s) > quantile(R(logs), 0.5)` near the logs themselves can never be. The rows at which a rule applies are
counted exactly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil

import numpy as np

from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.spec_lang.forms import combine, constant, form_of, leaf
from rewarden.spec_lang.formulas import atom
from rewarden.spec_lang.obligation import FALSE, TRUE, Call, Const, Obligation, Statistic, Var
from rewarden.spec_lang.sampling.points import inward
from rewarden.spec_lang.sanity.demands import Demand, Literal, OverRows
from rewarden.spec_lang.spec import Spec


def derived(spec: Spec, demands: Sequence[Demand]) -> Iterator[Demand]:
    """Demands on the data constants that these demands mention; from each demand on one record whose bound is the same
    everywhere."""
    values = dict.fromkeys(value for d in demands for literal in d.literals for value, _ in literal.values)
    constants: dict[tuple[str, str], list[Statistic]] = defaultdict(list)
    for value in values:
        if isinstance(value, Statistic):
            constants[value.reward, value.data].append(value)
    for demand in demands:
        found = _bound(demand)
        if found is None:
            continue
        literal, call = found
        for (reward, data), statistics in constants.items():
            counted = _rows(spec, demand, data) if reward == call.reward else None
            if counted is not None:
                lower = dict(literal.values)[call] > 0
                bounded = [s for s in statistics if _enough(s, lower=lower, counted=counted)]
                yield from (d for s in bounded for d in _about(demand.obligation, literal, call, s))


def _bound(demand: Demand) -> tuple[Literal, Call] | None:
    """A bound on the reward of the rule's one record, as it is."""
    rule = demand.obligation
    if len(demand.literals) != 1 or len(rule.records) != 1:
        return None
    (literal,) = demand.literals
    calls = [value for value, _ in literal.values if isinstance(value, Call)]
    if len(calls) != 1 or calls[0].arguments != tuple(map(Var, rule.records[0].variables)):
        return None
    return (literal, calls[0]) if isinstance(literal.rest, Const) else None


def _rows(spec: Spec, demand: Demand, data: str) -> tuple[int, int] | None:
    """(rows of the table at which the demand is made, rows in all); None where it is about other records."""
    rule = demand.obligation
    (view,) = rule.records
    if rule.instances is not None and rule.instances.data != data:
        return None
    name, _, member = (data, "", "") if data in spec.data else data.rpartition(".")
    if dict(spec.data[name].members).get(member) != view.type_name:
        return None
    rows = spec.rows(data).values
    points = np.empty((len(rows), len(rule.variables)))
    inside = np.ones(len(rows), dtype=np.bool_)
    for column, index in enumerate(view.variables):
        variable = rule.variables[index]
        points[:, index] = rows[:, column]
        inside &= (rows[:, column] >= inward(variable.lo, up=True)) & (rows[:, column] <= inward(variable.hi, up=False))
    return int((truth_of_rows(demand.guard, points) & inside).sum()), len(rows)


def _enough(statistic: Statistic, *, lower: bool, counted: tuple[int, int]) -> bool:
    """Does a lower (or upper) bound at that many of the rows bound the constant? A k-th smallest value is at least c
    if fewer than k values may lie below c, and at most c if k of them lie at or below c."""
    made, rows = counted
    match statistic.kind:
        case "mean":
            return made == rows
        case "min":
            rank = 1
        case "max":
            rank = rows
        case "quantile":
            assert statistic.level is not None
            rank = max(1, ceil(statistic.level * rows))
    return rows - made < rank if lower else made >= rank


def _about(rule: Obligation, literal: Literal, call: Call, statistic: Statistic) -> Iterator[Demand]:
    """The literal with the constant in the place of the call; nothing where that is true anyway."""
    form = combine((leaf(statistic if value == call else value), c) for value, c in literal.values)
    form = form + form_of(literal.rest)
    follows = atom(form, literal.strict, literal.origin)
    if follows == TRUE:
        return
    values = tuple((value, c) for value, c in form.parts.items() if isinstance(value, Call | Statistic))
    told = Literal(values, constant(form.constant).term(), literal.strict, literal.origin)
    nothing = replace(rule, variables=(), records=(), structure=TRUE, assume=TRUE, premise=TRUE, conclusion=follows)
    over = OverRows(statistic.data, literal, follows)
    yield Demand(replace(nothing, instances=None), TRUE, () if follows == FALSE else (told,), (), over)
