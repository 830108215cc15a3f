"""The steps under the sanity checks are equivalences, or err on the stated side: demands, boxes, substitution."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rewarden.spec_lang.evaluate import truth, value
from rewarden.spec_lang.obligation import Call, Const, Formula, Obligation, Statistic, Term, Var
from rewarden.spec_lang.sanity.demands import Demand, demands_of, region_of
from rewarden.spec_lang.sanity.edges import edges_of
from rewarden.spec_lang.sanity.joint import numbers, put, substituted
from rewarden.spec_lang.sanity.narrowed import declared, narrowed
from rewarden.spec_lang.sanity.round_numbers import rounded
from tests.reference.how_many import part_of
from tests.reference.random_obligations import (
    RECORDS,
    VARIABLES,
    affine_terms,
    exact_reward,
    exact_statistic,
    formulas,
    obligation_of,
    points,
)


def holds(formula: Formula, values: tuple[Fraction, ...]) -> bool:
    return truth(formula, values, exact_reward, exact_statistic)


def worth(found: Call | Statistic, values: tuple[Fraction, ...]) -> Fraction:
    return value(found, values, exact_reward, exact_statistic)


def met(demand: Demand, values: tuple[Fraction, ...]) -> bool:
    if not truth(demand.guard, values):
        return True
    sums = [
        (sum((c * worth(v, values) for v, c in literal.values), value(literal.rest, values)), literal.strict)
        for literal in demand.literals
    ]
    return any(total > 0 or (total == 0 and not strict) for total, strict in sums)


@settings(max_examples=part_of(200), deadline=None)
@given(premise=formulas(), conclusion=formulas(), where=st.lists(points(), min_size=1, max_size=4))
def test_demands_say_what_the_rule_says(premise: Formula, conclusion: Formula, where: list) -> None:
    obligation = obligation_of(premise, conclusion)
    demands = demands_of(obligation, region_of(obligation))
    assume(demands is not None)
    for values in where:
        assert all(met(d, values) for d in demands) == (not holds(premise, values) or holds(conclusion, values))


@settings(max_examples=part_of(200), deadline=None)
@given(formula=formulas(with_calls=False), where=st.lists(points(), min_size=1, max_size=6))
def test_a_box_contains_every_point_of_its_formula(formula: Formula, where: list) -> None:
    box = narrowed(declared(VARIABLES), formula, VARIABLES)
    for values in where:
        if truth(formula, values):
            assert box is not None
            assert all(lo <= x <= hi for (lo, hi), x in zip(box, values, strict=True))


@settings(max_examples=part_of(200), deadline=None)
@given(premise=formulas(with_calls=False), conclusion=formulas(), values=points())
def test_edges_are_never_narrower_than_their_demand(premise: Formula, conclusion: Formula, values: tuple) -> None:
    """At every point of the guard the records lie in the edge's boxes, and the gain is at most what the edge says."""
    obligation = obligation_of(premise, conclusion)
    for demand in demands_of(obligation, region_of(obligation)) or ():
        if truth(demand.guard, values):
            assert demand.box is not None
            for edge in edges_of(demand):
                gain = -value(edge.literal.rest, values) * edge.scale
                assert edge.most is None or gain <= edge.most
                for end, box in ((edge.tail, edge.tail_box), (edge.head, edge.head_box)):
                    if isinstance(end, Call):
                        columns = [float(value(a, values)) for a in end.arguments]
                        assert all(lo <= x <= hi for (lo, hi), x in zip(box, columns, strict=True))
                if isinstance(edge.tail, Call) and isinstance(edge.head, Call):
                    pairs = zip(edge.head.arguments, edge.tail.arguments, strict=True)
                    moved = [float(value(a, values) - value(b, values)) for a, b in pairs]
                    assert all(lo <= x <= hi for (lo, hi), x in zip(edge.step, moved, strict=True))


@settings(max_examples=part_of(200), deadline=None)
@given(
    formula=formulas(with_calls=False),
    columns=st.lists(affine_terms() | st.integers(0, 3).map(Var), min_size=4, max_size=4),
    values=points(),
)
def test_substitution_is_evaluation(formula: Formula, columns: list[Term], values: tuple) -> None:
    inner = tuple(value(column, values) for column in columns)
    assert truth(substituted(formula, tuple(columns)), values) == truth(formula, inner)
    assert truth(substituted(formula, numbers(inner)), ()) == truth(formula, inner)


@settings(max_examples=part_of(100), deadline=None)
@given(formula=formulas(), values=points())
def test_numbers_put_into_calls_are_their_arguments(formula: Formula, values: tuple) -> None:
    ground = substituted(formula, numbers(values))
    assert holds(ground, ()) == holds(formula, values)
    for view in RECORDS:
        call = put(Call("R", tuple(map(Var, view.variables))), numbers(values))
        assert call == Call("R", tuple(Const(values[index]) for index in view.variables))


@settings(max_examples=part_of(100), deadline=None)
@given(formula=formulas(with_calls=False), values=points())
def test_rounding_stays_on_the_formula_and_is_rounder(formula: Formula, values: tuple) -> None:
    assume(truth(formula, values))
    found = rounded(VARIABLES, formula, values)
    assert truth(formula, found)
    assert all(v.lo <= x <= v.hi for v, x in zip(VARIABLES, found, strict=True))
    assert all(x.denominator <= 1000 or x == before for x, before in zip(found, values, strict=True))
    assert all(x == before for v, x, before in zip(VARIABLES, found, values, strict=True) if v.discrete)


def test_a_share_of_rows_has_no_demands() -> None:
    from dataclasses import replace

    from rewarden.spec_lang.obligation import Share

    plain: Obligation = obligation_of()
    assert demands_of(replace(plain, share=Share(">=", Fraction(1, 2), None)), region_of(plain)) is None
