"""Affine forms, exactly: scaled, summed, moved, negated, with variables written out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from rewarden.spec_lang.claim import Affine, AffineAtom

Rows = Mapping[int, Affine]  # variable → the form that it is


def plus(form: Affine, constant: Fraction) -> Affine:
    """form + constant."""
    return Affine(form.constant + constant, form.variables, form.calls)


def summed(forms: Sequence[Affine]) -> Affine:
    """The sum of some forms."""
    variables: dict[int, Fraction] = {}
    calls: dict[int, Fraction] = {}
    for form in forms:
        for total, terms in ((variables, form.variables), (calls, form.calls)):
            for index, coefficient in terms:
                total[index] = total.get(index, Fraction(0)) + coefficient
    return Affine(sum((form.constant for form in forms), Fraction(0)), _terms(variables), _terms(calls))


def _terms(total: Mapping[int, Fraction]) -> tuple[tuple[int, Fraction], ...]:
    return tuple((index, c) for index, c in sorted(total.items()) if c)


def scaled(form: Affine, factor: Fraction | int) -> Affine:
    """factor·form; the factor is not 0, or the form has no terms."""
    return Affine(
        factor * form.constant,
        tuple((i, factor * c) for i, c in form.variables),
        tuple((k, factor * c) for k, c in form.calls),
    )


def substituted(form: Affine, rows: Rows) -> Affine:
    """The form with these variables written out."""
    if not any(i in rows for i, _ in form.variables):
        return form
    parts = [scaled(rows[i], c) if i in rows else Affine(Fraction(0), ((i, c),)) for i, c in form.variables]
    return summed([Affine(form.constant, (), form.calls), *parts])


def negated(atom: AffineAtom) -> AffineAtom:
    """True exactly where the atom is false."""
    return AffineAtom(scaled(atom.affine, -1), not atom.strict)
