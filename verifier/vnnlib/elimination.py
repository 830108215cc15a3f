"""Inputs that equalities tie to others are written out.

Two applications of a network, in VNN-LIB 2, have inputs of their own, and what they share is said with `==`. Bounds
over a box do not see that; written out, the tied inputs are affine forms of the others, which a claim's calls may have
as arguments. Gauss's elimination, exactly: each row is a variable as a form over those that stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from rewarden.spec_lang.claim import Affine, AffineAtom
from rewarden.verifier.vnnlib.forms import Rows, scaled, substituted

MOST = 2048  # equalities that are looked at, since each is put into all rows so far
LONGEST = 64  # terms of a row, and
MAX_BITS = 512  # of their numbers: an equality that would make a longer row stays a condition


def eliminate(atoms: Sequence[AffineAtom]) -> tuple[Rows, list[AffineAtom]] | None:
    """Rows for the variables that pairs `form >= 0`, `-form >= 0` determine, and the other atoms with these rows
    written out; None where the equalities contradict each other. Forms over variables only."""
    forms = {atom.affine for atom in atoms if not atom.strict}
    equal = [form for form in dict.fromkeys(a.affine for a in atoms if not a.strict) if scaled(form, -1) in forms]
    rows: dict[int, Affine] = {}
    done: set[Affine] = set()
    for form in equal[:MOST]:
        if form in done:
            continue
        done |= {form, scaled(form, -1)}
        left = substituted(form, rows)
        if not left.variables:
            if left.constant != 0:
                return None
            continue
        variable, coefficient = max(left.variables, key=lambda term: (abs(term[1]) == 1, term[0]))
        row = substituted(scaled(left, Fraction(-1) / coefficient), {variable: Affine(Fraction(0))})
        written = {other: substituted(known, {variable: row}) for other, known in rows.items()}
        if not all(map(_is_short, (row, *written.values()))):
            done -= {form, scaled(form, -1)}
            continue
        rows = {**written, variable: row}
    rest = [AffineAtom(substituted(a.affine, rows), a.strict) for a in atoms if a.strict or a.affine not in done]
    return rows, rest


def _is_short(row: Affine) -> bool:
    numbers = (row.constant, *(c for _, c in row.variables))
    return len(numbers) <= LONGEST and all(
        max(n.numerator.bit_length(), n.denominator.bit_length()) <= MAX_BITS for n in numbers
    )
