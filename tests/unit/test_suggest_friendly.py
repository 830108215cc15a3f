"""Round numbers that stay on their side."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.spec_lang import parse_spec
from rewarden.spec_lang.numerals import decimal
from rewarden.suggest.friendly import above, below, literal, nearest, share_text, step_above, step_below

numbers = st.floats(-1e9, 1e9)


@given(numbers)
def test_two_digits_on_either_side(value: float) -> None:
    exact = Fraction(value)
    assert below(value) <= exact <= above(value)
    for rounded in (below(value), above(value), nearest(value)):
        assert abs(rounded - exact) <= abs(exact) / 10
        assert len(decimal(abs(rounded)).replace(".", "").strip("0").partition("e")[0]) <= 2


@given(numbers, st.floats(1e-6, 1e9))
def test_steps_of_a_range_on_either_side(value: float, width: float) -> None:
    low, high = step_below(value, width), step_above(value, width)
    assert low <= Fraction(value) <= high
    assert high - low <= Fraction(width) / 99


@settings(deadline=None)  # the first unit that is read loads all of them
@given(numbers)
def test_a_literal_is_read_back_exactly(value: float) -> None:
    text = f"spec t v1\nfeatures T {{ x: real [m] in -1e10 .. 1e10 }}\nparam p: real [m] = {literal(above(value), 'm')}"
    assert parse_spec(text).params["p"].value == above(value)


@pytest.mark.parametrize(
    "part, whole, text",
    [(0, 5, "0 %"), (1999, 2000, "99.9 %"), (9999, 10000, "99.9 %"), (5, 5, "100 %"), (1, 3, "33.3 %")],
)
def test_a_share_is_all_of_it_only_if_it_is(part: int, whole: int, text: str) -> None:
    assert share_text(part, whole) == text
