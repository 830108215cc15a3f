"""Random obligations, points and simple rewards, for comparing the readings of one structure.

All coefficients and coordinates are dyadic with few bits (`exact=True` lifts that), so that float64 computes the small
sums and products here without rounding and even a float reading must agree to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from rewarden.spec_lang.obligation import (
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
    RecordView,
    RuleInfo,
    Statistic,
    Sum,
    Term,
    Var,
    Variable,
)
from rewarden.spec_lang.source import Source, Span

SPAN = Span(Source("random.rwd", "expect"), 0, 6, 1, 1)
MEDIAN = Statistic("quantile", "R", "logs", Fraction(1, 2))
STATISTICS = {MEDIAN: Fraction(3, 4)}
DIGESTS = {"R": "sha256:aa", "Q": "sha256:bb", "logs": "sha256:cc"}

VARIABLES = (
    Variable("a", "speed", False, Fraction(-2), Fraction(2), "m/s"),
    Variable("a", "gap", False, Fraction(-2), Fraction(2), "m"),
    Variable("a", "count", True, Fraction(-2), Fraction(2)),
    Variable("b", "speed", False, Fraction(-2), Fraction(2), "m/s"),
)
RECORDS = (RecordView("a", "Step", (0, 1, 2)), RecordView("b", "Step", (3, 1, 2)))


def reward_value(name: str, arguments: Sequence[Any], larger: Callable[[Any, Any], Any] = max) -> Any:
    """Two fixed piecewise-affine rewards of three columns, in whatever arithmetic the arguments bring."""
    x, y, z = arguments
    if name == "R":
        return larger(2 * x - y, z - 1) - x
    return larger(y, -y) + larger(x, z)


def exact_reward(name: str, arguments: tuple[Fraction, ...]) -> Fraction:
    return Fraction(reward_value(name, arguments))


def exact_statistic(statistic: Statistic) -> Fraction:
    return STATISTICS[statistic]


def numbers(exact: bool) -> st.SearchStrategy[Fraction]:
    if exact:
        return st.fractions(-3, 3, max_denominator=7)
    return st.integers(-12, 12).map(lambda k: Fraction(k, 4))


@st.composite
def affine_terms(draw: st.DrawFn, exact: bool = True) -> Term:
    parts: list[Term] = [Const(draw(numbers(exact)))]
    for _ in range(draw(st.integers(0, 2))):
        parts.append(Product(Const(draw(numbers(exact))), Var(draw(st.integers(0, len(VARIABLES) - 1)))))
    return Sum(tuple(parts))


@st.composite
def calls(draw: st.DrawFn, exact: bool = True) -> Term:
    record = draw(st.sampled_from(RECORDS))
    arguments: list[Term] = [Var(index) for index in record.variables]
    if draw(st.booleans()):
        arguments[draw(st.integers(0, 2))] = draw(affine_terms(exact))
    return Call(draw(st.sampled_from(["R", "Q"])), tuple(arguments))


def terms(exact: bool = True, *, with_calls: bool = True) -> st.SearchStrategy[Term]:
    leaves: list[st.SearchStrategy[Term]] = [
        affine_terms(exact),
        st.integers(0, len(VARIABLES) - 1).map(Var),
        st.just(MEDIAN) if with_calls else numbers(exact).map(Const),
    ]
    if with_calls:
        leaves.append(calls(exact))
    scale = st.builds(lambda c, t: Product(Const(c), t), numbers(exact), st.deferred(lambda: tree))

    def several(children: st.SearchStrategy[Term]) -> st.SearchStrategy[tuple[Term, ...]]:
        return st.lists(children, min_size=1, max_size=3).map(tuple)

    def grow(children: st.SearchStrategy[Term]) -> st.SearchStrategy[Term]:
        condition = st.builds(Atom, children, st.booleans())
        return st.one_of(
            several(children).map(Sum),
            several(children).map(Min),
            several(children).map(Max),
            st.builds(lambda c, t: Product(Const(c), t), numbers(exact), children),
            st.builds(Ite, condition, children, children),
        )

    tree: st.SearchStrategy[Term] = st.recursive(st.one_of(leaves), grow, max_leaves=4)
    return st.one_of(tree, scale)


def formulas(exact: bool = True, *, with_calls: bool = True, max_leaves: int = 4) -> st.SearchStrategy[Formula]:
    atoms = st.builds(Atom, terms(exact, with_calls=with_calls), st.booleans())

    def grow(children: st.SearchStrategy[Formula]) -> st.SearchStrategy[Formula]:
        several = st.lists(children, max_size=3).map(tuple)
        return st.one_of(several.map(And), several.map(Or))

    return st.recursive(atoms, grow, max_leaves=max_leaves)


def points(exact: bool = True) -> st.SearchStrategy[tuple[Fraction, ...]]:
    """Values inside the ranges; small grids, so that atoms are often met with equality."""
    real = st.integers(-8, 8).map(lambda k: Fraction(k, 4))
    if exact:
        real = st.one_of(real, st.fractions(-2, 2, max_denominator=5))
    whole = st.integers(-2, 2).map(Fraction)
    return st.tuples(*(whole if variable.discrete else real for variable in VARIABLES))


def obligation_of(
    premise: Formula = TRUE,
    conclusion: Formula = TRUE,
    *,
    assume: Formula = TRUE,
    structure: Formula = TRUE,
    variables: tuple[Variable, ...] = VARIABLES,
    records: tuple[RecordView, ...] = RECORDS,
) -> Obligation:
    info = RuleInfo("random_rule", "must", "A random rule.", SPAN)
    return Obligation(info, variables, records, structure, assume, premise, conclusion)
