"""Facts of one variable narrow a box exactly, and no point at which they hold is lost."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarden.certificate import kernel_proof
from rewarden.certificate.kernel_claim import Atom
from rewarden.certificate.kernel_program import affine_of
from rewarden.spec_lang.claim import Affine, AffineAtom
from rewarden.verifier.narrowing import narrowed

SIXTHS = [Fraction(k, 6) for k in range(-12, 13)]
BOX = ((Fraction(-1), Fraction(2)), (Fraction(-2), Fraction(2)))
facts = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(SIXTHS).filter(bool), st.sampled_from(SIXTHS), st.booleans()),
    max_size=4,
)


def atom(variable: int, slope: Fraction, constant: Fraction, strict: bool) -> AffineAtom:
    return AffineAtom(Affine(constant, ((variable, slope),)), strict)


def holds(fact: AffineAtom, point: tuple[Fraction, ...]) -> bool:
    margin = fact.affine.constant + sum(c * point[j] for j, c in fact.affine.variables)
    return margin > 0 if fact.strict else margin >= 0


@given(facts, st.booleans())
def test_no_point_is_lost_and_edges_are_exact(entries: list, whole: bool) -> None:
    chosen = [atom(*entry) for entry in entries]
    discrete = (whole, False)
    cell = narrowed(BOX, chosen, discrete)
    grid = [Fraction(k, 12) for k in range(-24, 25)]
    inside = [
        p
        for p in product([x for x in grid if -1 <= x <= 2 and not (whole and x.denominator > 1)], grid)
        if all(holds(fact, p) for fact in chosen)
    ]
    if cell is None:
        assert not inside
        return
    assert all(lo <= x <= hi for p in inside for x, (lo, hi) in zip(p, cell, strict=True))
    for fact in chosen:  # what is left touches where the fact is true, or just stops being so
        middle = tuple((lo + hi) / 2 for lo, hi in cell)
        if all(lo < hi for lo, hi in cell) and not whole:
            assert holds(fact, middle)


@given(facts, st.booleans())
def test_the_kernel_narrows_in_the_same_way(entries: list, whole: bool) -> None:
    chosen = [atom(*entry) for entry in entries]
    low, high = tuple(lo for lo, _ in BOX), tuple(hi for _, hi in BOX)
    for fact in chosen:
        form = affine_of(fact.affine.constant, dict(fact.affine.variables), {})
        low, high = kernel_proof.narrowed(low, high, Atom(form, fact.strict), (whole, False))
    cell = narrowed(BOX, chosen, (whole, False))
    if cell is None:
        assert any(a > b for a, b in zip(low, high, strict=True))
    else:
        assert tuple(zip(low, high, strict=True)) == cell


@pytest.mark.parametrize("strict, least", [(False, 1), (True, 2)])
def test_whole_numbers_step_over_a_strict_edge(strict: bool, least: int) -> None:
    cell = narrowed(((Fraction(0), Fraction(5)),), [atom(0, Fraction(2), Fraction(-2), strict)], (True,))
    assert cell == ((least, 5),)
