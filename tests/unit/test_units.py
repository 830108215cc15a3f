"""Units: exact factors, and what is refused rather than rounded."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarden.spec_lang.units import (
    UnitError,
    dimension_name,
    dimension_unit,
    multiply,
    same_but_for_angle,
    unit,
    unit_or_plain,
)


@pytest.mark.parametrize(
    ("text", "factor", "dimension"),
    [
        ("m", 1, "length"),
        ("km/h", Fraction(5, 18), "velocity"),
        ("m/s^2", 1, "acceleration"),
        ("m/s**2", 1, "acceleration"),
        ("m*s^-2", 1, "acceleration"),
        ("1/s", 1, "frequency"),
        ("kg*m/s^2", 1, "force"),
        ("N", 1, "force"),
        ("kN", 1000, "force"),
        ("m/(s*kg)", 1, "m/(kg*s)"),
        ("mm", Fraction(1, 1000), "length"),
        ("inch", Fraction(254, 10000), "length"),
        ("mile", Fraction(1609344, 1000), "length"),
        ("min", 60, "time"),
        ("h", 3600, "time"),
        ("g", Fraction(1, 1000), "mass"),
        ("rad", 1, "angle"),
        ("deg", 1, "angle"),
        ("turn", 360, "angle"),
        ("rpm", 6, "angular velocity"),
        ("%", Fraction(1, 100), "a plain number"),
        ("kWh", 3_600_000, "energy"),
        ("µm", Fraction(1, 10**6), "length"),
    ],
)
def test_factors_are_exact(text: str, factor: Fraction | int, dimension: str) -> None:
    found = unit(text)
    assert (found.factor, dimension_name(found.dimension)) == (factor, dimension)
    assert isinstance(found.factor, Fraction)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("dB", "U05"),
        ("dBm", "U05"),
        ("Np", "U05"),
        ("parsnip", "U01"),
        ("m/", "U06"),
        ("(m", "U06"),
        ("m)", "U06"),
        ("", "U06"),
        ("2*m", "U06"),
        ("m^99", "U06"),
        ("m^0", "U06"),
        ("m^x", "U06"),
        ("m s", "U06"),
        ("degC/s", "U04"),
        ("circular_mil", "U03"),
        ("pi", "U03"),
        ("__import__", "U01"),
    ],
)
def test_refusals(text: str, code: str) -> None:
    with pytest.raises(UnitError) as caught:
        unit(text)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("text", "help"),
    [
        ("metr", "did you mean metre?"),
        ("m/secnd", "did you mean second?"),
        ("Kg", "did you mean kg?"),
        ("hz", "did you mean hertz?"),
        ("EUR", "a number without a unit"),
        ("kilodegC", "a number without a unit"),
    ],
)
def test_an_unknown_unit_is_told_what_was_meant(text: str, help: str) -> None:
    with pytest.raises(UnitError) as caught:
        unit(text)
    assert (caught.value.code, (caught.value.help or "").endswith(help)) == ("U01", True)


def test_offset_units_are_affine() -> None:
    celsius, fahrenheit = unit("degC"), unit("degF")
    assert [u.affine for u in (celsius, fahrenheit, unit("K"))] == [True, True, False]
    assert celsius.to_si(Fraction(0)) == Fraction(27315, 100)
    assert fahrenheit.to_si(Fraction(32)) == celsius.to_si(Fraction(0))
    assert celsius.to_si(Fraction(-40)) == fahrenheit.to_si(Fraction(-40))


def test_degrees_and_radians_have_no_exact_factor() -> None:
    degrees, radians = unit("deg/s").dimension, unit("rad/s").dimension
    assert degrees != radians
    assert same_but_for_angle(degrees, radians)
    assert not same_but_for_angle(degrees, unit("1/s").dimension)
    assert unit("arcmin").dimension == unit("deg").dimension


@given(st.sampled_from(["m", "km/h", "degC", "degF", "kg", "%", "deg"]), st.fractions(max_denominator=1000))
def test_conversion_is_undone_exactly(text: str, value: Fraction) -> None:
    assert unit(text).from_si(unit(text).to_si(value)) == value


names = st.sampled_from(["m", "s", "kg", "km", "h", "rad", "deg", "A", "K"])


@given(names, names, st.integers(1, 4))
def test_products_of_units(a: str, b: str, power: int) -> None:
    product, quotient = unit(f"{a}*{b}^{power}"), unit(f"{a}/{b}^{power}")
    assert product.factor * quotient.factor == unit(a).factor ** 2
    assert multiply(product.dimension, quotient.dimension) == multiply(unit(a).dimension, unit(a).dimension)
    assert unit(dimension_unit(product.dimension)).dimension == product.dimension


@given(st.text(max_size=30))
def test_any_text_is_a_unit_or_refused(text: str) -> None:
    try:
        found = unit(text).factor
    except UnitError as error:
        found = error.code
    assert found in {"U01", "U03", "U04", "U05", "U06"} if isinstance(found, str) else found > 0


def test_no_unit_is_a_plain_number() -> None:
    assert unit_or_plain(None).dimension == ()
