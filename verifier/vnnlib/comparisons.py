"""Exact atoms as the comparisons of a query, and what their writing changes.

An atom's coefficients are scaled until all are finite decimals and are written exactly; only its constant may have to
be rounded, outward, which weakens the atom. `closed` writes strict atoms as non-strict ones, which weakens them at
equality. Both are counted, so that a query says what it lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm

from rewarden.spec_lang.claim import Affine, AffineAtom, Clause
from rewarden.spec_lang.errors import Unsupported
from rewarden.verifier.vnnlib.functionals import Functional, functional_of, is_sum
from rewarden.verifier.vnnlib.numerals import exact_decimal, outward

MAX_DIGITS = 400  # of a coefficient
OPPOSITE = {">=": "<=", ">": "<"}


@dataclass(slots=True)
class Comparisons:
    """Mutable: writes atoms and counts what it closed and rounded. `variable` and `call` name the unknowns,
    `functionals` the outputs that compute a sum."""

    variable: Callable[[int], str]
    call: Callable[[int], str]
    closed: bool
    functionals: Mapping[Functional, str] = field(default_factory=dict)
    closings: int = 0
    roundings: int = 0

    def bounds(self, name: str, lo: Fraction, hi: Fraction) -> list[str]:
        return [f"(>= {name} {self._constant(lo, '>=')})", f"(<= {name} {self._constant(hi, '<=')})"]

    def atom(self, atom: AffineAtom) -> str:
        """`(>= (+ (* 2.0 X_0) Y_0) 1.5)`."""
        relation = ">" if atom.strict and not self.closed else ">="
        self.closings += atom.strict and self.closed
        terms = self._computed(atom.affine) or self._terms(atom.affine)
        if len(terms) == 1:
            ((name, coefficient),) = terms
            operator = relation if coefficient > 0 else OPPOSITE[relation]
            return f"({operator} {name} {self._constant(-atom.affine.constant / coefficient, operator)})"
        scale = Fraction(_scale(c for _, c in terms))
        if all(c < 0 for _, c in terms):
            scale, relation = -scale, OPPOSITE[relation]
        terms = [(name, scale * c) for name, c in terms]
        constant = -scale * atom.affine.constant
        if constant == 0 and len(terms) == 2 and terms[0][1] == -terms[1][1]:
            left, right = (terms[0][0], terms[1][0]) if terms[0][1] > 0 else (terms[1][0], terms[0][0])
            return f"({relation} {left} {right})"
        return f"({relation} {_sum(terms)} {self._constant(constant, relation)})"

    def clause(self, clause: Clause) -> str:
        """One of its atoms."""
        if len(clause) == 1:
            return self.atom(clause[0])
        return f"(or {' '.join(f'(and {self.atom(atom)})' for atom in clause)})"

    def tie(self, name: str, row: Affine) -> str:
        """name == row, exactly."""
        scale = Fraction(_scale((row.constant, *(c for _, c in row.variables))))
        left, right = _sum([(name, scale)]), _sum([(self.variable(i), scale * c) for i, c in row.variables])
        if row.constant:
            right = f"(+ {right} {_exact(scale * row.constant)})"
        return f"(== {left} {right})"

    def _computed(self, affine: Affine) -> list[tuple[str, Fraction]]:
        """A sum that is some output, as that output times its scale; nothing for others."""
        made = functional_of(affine) if self.functionals and is_sum(affine) else None
        name = None if made is None else self.functionals.get(made[0])
        return [] if made is None or name is None else [(name, made[1])]

    def _terms(self, affine: Affine) -> list[tuple[str, Fraction]]:
        assert affine.variables or affine.calls, "what is constant has been simplified away"
        calls = [(self.call(k), c) for k, c in affine.calls]
        return calls + [(self.variable(i), c) for i, c in affine.variables]

    def _constant(self, value: Fraction, operator: str) -> str:
        text, exact = outward(value, "below" if operator.startswith(">") else "above")
        self.roundings += not exact
        return text


def _sum(terms: Sequence[tuple[str, Fraction]]) -> str:
    parts = [name if c == 1 else f"(* {_exact(c)} {name})" for name, c in terms]
    return parts[0] if len(parts) == 1 else f"(+ {' '.join(parts)})"


def _scale(numbers: Iterable[Fraction]) -> int:
    """The least whole factor that makes all of them finite decimals."""
    return lcm(*(_without(_without(number.denominator, 2), 5) for number in numbers))


def _without(number: int, prime: int) -> int:
    while number % prime == 0:
        number //= prime
    return number


def _exact(value: Fraction) -> str:
    text = exact_decimal(value) if abs(value) < Fraction(10) ** MAX_DIGITS else None
    if text is None or len(text) > MAX_DIGITS:
        raise Unsupported("X31", "a coefficient of the rule takes too many digits to write", help="use rounder numbers")
    return text
