"""Formulas in conjunctive normal form over affine atoms, exactly.

Pieces (linear_form.py) are expanded one at a time by equivalences that hold for `> 0` and `>= 0` alike:

    c·max(tᵢ) + rest ⋈ 0       ⟺  some  c·tᵢ + rest ⋈ 0  if c > 0,  all of them  if c < 0   (min: the other way round)
    c·ite(φ, t, e) + rest ⋈ 0  ⟺  (¬φ or c·t + rest ⋈ 0) and (φ or c·e + rest ⋈ 0)

The first holds because max is attained and c·max(tᵢ) is the largest (c < 0: the smallest) of c·tᵢ; the second because
exactly one of φ, ¬φ is true at a point.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from rewarden.spec_lang.claim import Affine, AffineAtom, Clause
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.linear_form import Gathering, Linear, total
from rewarden.spec_lang.obligation import And, Atom, Const, Formula, Ite, Max, Or, Product

MAX_CLAUSES = 4096
MAX_ATOMS = 65536  # over all clauses of a formula

Cnf = list[tuple[int, ...]]  # clauses of atom numbers; [] is true, [()] is false


def negate(formula: Formula) -> Formula:
    """The formula that is true exactly where this one is false."""
    match formula:
        case And(parts):
            return Or(tuple(negate(part) for part in parts))
        case Or(parts):
            return And(tuple(negate(part) for part in parts))
        case Atom(term, strict, origin):
            return Atom(Product(Const(Fraction(-1)), term), not strict, origin)


def atoms_at_most(formula: Formula, gathering: Gathering) -> int:
    """How many atoms the formula has when its alternatives are multiplied out, counted without doing it; equal ones
    count each. A sum of k minima has 2^k and more. Unsupported as linear_form says."""
    match formula:
        case And(parts) | Or(parts):
            return sum(atoms_at_most(part, gathering) for part in parts)
        case Atom(term):
            return _atoms_at_most(gathering.linear(term), gathering)


def _atoms_at_most(linear: Linear, gathering: Gathering) -> int:
    count = 1
    for piece in linear.pieces:
        terms = (piece.then, piece.otherwise) if isinstance(piece, Ite) else piece.terms
        each = sum(_atoms_at_most(gathering.linear(term), gathering) for term in terms)
        count *= each + (atoms_at_most(piece.condition, gathering) if isinstance(piece, Ite) else 0)
    return count


class Normaliser:
    """Mutable while one claim is made: the numbered atoms met so far."""

    def __init__(self, gathering: Gathering) -> None:
        self.atoms: list[AffineAtom] = []
        self._gathering = gathering
        self._numbers: dict[AffineAtom, int] = {}
        self._opposites: dict[int, int] = {}

    def cnf(self, formula: Formula) -> Cnf:
        """Equivalent clauses in source order. Unsupported X03 where there are too many, and as linear_form says."""
        match formula:
            case And(parts):
                return self.conjunction(self.cnf(part) for part in parts)
            case Or(parts):
                return self.disjunction(self.cnf(part) for part in parts)
            case Atom(term, strict, origin):
                outer, self._gathering.origin = self._gathering.origin, origin or self._gathering.origin
                linear = self._gathering.linear(term)
                # A sum of 30 minima would make 2^30 before any is counted below: minutes, deaf to a time limit.
                if _atoms_at_most(linear, self._gathering) > MAX_ATOMS:
                    raise self._too_large(f"{MAX_ATOMS} atoms")
                clauses = self._expand(linear, strict)
                self._gathering.origin = outer or self._gathering.origin
                return clauses

    def conjunction(self, parts: Iterable[Cnf]) -> Cnf:
        clauses: dict[tuple[int, ...], None] = {}
        for part in parts:
            clauses.update(dict.fromkeys(part))
        return self._bounded(list(clauses))

    def disjunction(self, parts: Iterable[Cnf]) -> Cnf:
        result: Cnf = [()]
        for part in parts:
            if len(result) * len(part) > MAX_CLAUSES:
                raise self._too_large()
            unions = (self._union(left, right) for left in result for right in part)
            result = self._bounded(list(dict.fromkeys(clause for clause in unions if clause is not None)))
        return result

    def _union(self, left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...] | None:
        """The atoms of both, each once; None if an atom stands beside its negation, which is always true."""
        clause = tuple(dict.fromkeys(left + right))
        members = set(clause)
        return None if any(self._opposite(atom) in members for atom in clause) else clause

    def _bounded(self, clauses: Cnf) -> Cnf:
        if () in clauses:
            return [()]  # a false clause makes the rest immaterial
        if len(clauses) > MAX_CLAUSES or sum(map(len, clauses)) > MAX_ATOMS:
            raise self._too_large()
        return clauses

    def _too_large(self, what: str = f"{MAX_CLAUSES} clauses") -> Unsupported:
        return self._gathering.unsupported(
            "X03",
            f"needs more than {what} when its alternatives are multiplied out",
            "split the rule: fewer `or`, min, max, |…| and if inside one another",
        )

    def _expand(self, linear: Linear, strict: bool) -> Cnf:
        """`linear ⋈ 0` as clauses, by the equivalences at the top of this file."""
        if not linear.pieces:
            if linear.is_constant:
                return [] if (linear.constant > 0 or (linear.constant == 0 and not strict)) else [()]
            return [(self._number(AffineAtom(linear.affine(), strict)),)]
        piece, factor = next(iter(linear.pieces.items()))
        rest = linear.without(piece)
        terms = (piece.then, piece.otherwise) if isinstance(piece, Ite) else piece.terms
        expanded = [
            self._expand(total((rest, Fraction(1)), (self._gathering.linear(term), factor)), strict) for term in terms
        ]
        if isinstance(piece, Ite):
            then = self.disjunction([self.cnf(negate(piece.condition)), expanded[0]])
            otherwise = self.disjunction([self.cnf(piece.condition), expanded[1]])
            return self.conjunction([then, otherwise])
        some = (factor > 0) == isinstance(piece, Max)
        return self.disjunction(expanded) if some else self.conjunction(expanded)

    def _number(self, atom: AffineAtom) -> int:
        number = self._numbers.setdefault(atom, len(self.atoms))
        if number == len(self.atoms):
            self.atoms.append(atom)
        return number

    def _opposite(self, atom: int) -> int:
        if atom not in self._opposites:
            affine = self.atoms[atom].affine
            negated = Affine(-affine.constant, _negated(affine.variables), _negated(affine.calls))
            other = self._number(AffineAtom(negated, not self.atoms[atom].strict))
            self._opposites[atom], self._opposites[other] = other, atom
        return self._opposites[atom]

    def order_of_calls(self, *groups: Cnf) -> dict[int, int]:
        """Call → its number by first use in the clauses; calls that cancelled out or fell away have none."""
        order: dict[int, int] = {}
        for group in groups:
            for clause in group:
                for atom in clause:
                    for call, _ in self.atoms[atom].affine.calls:
                        order.setdefault(call, len(order))
        return order

    def clauses(self, cnf: Cnf, order: Mapping[int, int]) -> tuple[Clause, ...]:
        """The clauses as a claim holds them, calls renumbered."""
        return tuple(tuple(_renumbered(self.atoms[atom], order) for atom in clause) for clause in cnf)


def _negated(terms: tuple[tuple[int, Fraction], ...]) -> tuple[tuple[int, Fraction], ...]:
    return tuple((index, -coefficient) for index, coefficient in terms)


def _renumbered(atom: AffineAtom, order: Mapping[int, int]) -> AffineAtom:
    calls = tuple(sorted((order[call], coefficient) for call, coefficient in atom.affine.calls))
    return AffineAtom(Affine(atom.affine.constant, atom.affine.variables, calls), atom.strict)
