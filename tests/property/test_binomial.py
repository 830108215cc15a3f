"""Binomial tails against their definition, and the enclosures that large samples rest on."""

from __future__ import annotations

from fractions import Fraction
from math import comb, prod

from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.spec_lang.binomial import _choose, _enclosed, compare_upper_tail

PARTS = st.fractions(0, 1, max_denominator=60)


def tail(n: int, k: int, p: Fraction) -> Fraction:
    return sum((comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1)), Fraction(0))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 80), st.data(), PARTS, st.fractions(Fraction(1, 100), Fraction(99, 100), max_denominator=100))
def test_the_comparison_is_that_of_the_sum(n: int, data: st.DataObject, p: Fraction, alpha: Fraction) -> None:
    k = data.draw(st.integers(0, n))
    exact = tail(n, k, p)
    assert compare_upper_tail(n, k, p, alpha) == (exact > alpha) - (exact < alpha)
    if 0 < exact < 1:
        assert compare_upper_tail(n, k, p, exact) == 0


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 300),
    st.data(),
    st.fractions(Fraction(1, 200), Fraction(199, 200), max_denominator=200),
    st.sampled_from([8, 64, 128]),
)
def test_enclosures_enclose_and_are_tight(n: int, data: st.DataObject, p: Fraction, bits: int) -> None:
    k = data.draw(st.integers(1, n))
    lo, hi = _enclosed(n, k, p, bits)
    assert lo <= tail(n, k, p) * 2**bits <= hi
    assert hi - lo <= 2


def test_large_samples_are_compared_by_enclosure() -> None:
    n, p = 20_000, Fraction(3, 5)
    # By Hoeffding P(X >= n(p + t)) <= exp(-2nt²): 2e-4 at t = 0.0146; and the tail from the mean is about a half.
    assert compare_upper_tail(n, 12_292, p, Fraction(1, 4000)) == -1
    assert compare_upper_tail(n, 12_000, p, Fraction(45, 100)) == 1
    assert compare_upper_tail(n, 12_000, p, Fraction(55, 100)) == -1


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3000), st.data())
def test_a_binomial_coefficient_is_the_product_of_its_factors(n: int, data: st.DataObject) -> None:
    i = data.draw(st.integers(0, n))
    assert prod(base**power for base, power in _choose(n, i)) == comb(n, i)


def test_a_million_trials_are_compared_as_by_the_whole_coefficient() -> None:
    n, p = 1_000_000, Fraction(3, 5)
    # P(X >= 600_806) is 0.0500534 and P(X >= 600_807) 0.0498430 (computed with C(n, i) written out).
    assert compare_upper_tail(n, 600_806, p, Fraction(1, 20)) == 1
    assert compare_upper_tail(n, 600_807, p, Fraction(1, 20)) == -1


def test_the_median_of_a_fair_coin_is_exact() -> None:
    assert compare_upper_tail(999_999, 500_000, Fraction(1, 2), Fraction(1, 2)) == 0
    assert compare_upper_tail(999_999, 500_000, Fraction(1, 2), Fraction(49, 100)) == 1
