"""Exact truth of one formula at many rows, again and again: `truth_of_rows`, compiled.

Search and training judge the same premise at thousands of points per second. Most of its atoms are affine in a few
variables, so:

    one variable    c·x + k >= 0 is x >= −k/c: a comparison with the least binary64 that satisfies it. Exact.
    several         one matrix product for all atoms, with its error bounded: n products, summed in any order, and their
                    rounded coefficients err by at most about (n + 2)·2⁻⁵³·Σ|aᵢxᵢ|; more than twice that is allowed
    others          screened one by one, square roots squared and quotients multiplied out

Where the bounds leave a row open, the atoms that they leave open are asked of the exact evaluator.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.evaluate import screen, truth_of_rows
from rewarden.spec_lang.forms import Form, TooLarge, form_of, product
from rewarden.spec_lang.formulas import atom, split
from rewarden.spec_lang.obligation import And, Atom, Formula, Or, Quotient, Sqrt, Term, Var

Rows = NDArray[np.float64]
Mask = NDArray[np.bool_]

_TINY = 2.0**-1000  # pays for underflow
_CELLS = 2**22  # of a matrix, at most; beyond it atoms are screened one by one
_CASES = 64  # atoms that min, max and if may make
_HUGE = Fraction(2**400)


@dataclass(frozen=True, slots=True)
class _Leaf:
    """An atom, by its place among all verdicts."""

    place: int


@dataclass(frozen=True, slots=True)
class _Node:
    parts: tuple[_Leaf | _Node, ...]
    every: bool  # a conjunction, else a disjunction


class RowTruth:
    """Callable: float64 [n, variables] → bool [n]. Formulas over features only."""

    def __init__(self, formula: Formula, width: int) -> None:
        with suppress(TooLarge):
            formula = split(formula, frozenset(), _CASES)  # |x| <= 1 is two atoms of one variable
        formula = _plain(formula)
        forms = {part: form_of(part.term) for part in _atoms(formula)}
        singles = [part for part, form in forms.items() if _is_affine(form) and len(form.parts) == 1]
        several = [part for part, form in forms.items() if _is_affine(form) and len(form.parts) > 1]
        if len(several) * width > _CELLS:
            several = []
        ordered = [*singles, *several]
        known = set(ordered)
        self.others = [part for part in forms if part not in known]
        self.parts = [*ordered, *self.others]
        limits = [_limits(forms[part], part.strict) for part in singles]
        self.columns = np.array([column for column, _, _ in limits], dtype=np.int64)
        self.lo = np.array([lo for _, lo, _ in limits])
        self.hi = np.array([hi for _, _, hi in limits])
        self.matrix = np.zeros((width, len(several)))
        self.constant = np.array([float(forms[part].constant) for part in several])
        for k, part in enumerate(several):
            for term, c in forms[part].parts.items():
                assert isinstance(term, Var)
                self.matrix[term.index, k] = float(c)
        most = max((len(forms[part].parts) for part in several), default=0)
        self.error = (most + 4) * 2.0**-52
        self.size = np.abs(self.matrix)
        self.tree = _numbered(formula, {part: k for k, part in enumerate(self.parts)})

    def __call__(self, rows: Rows) -> Mask:
        verdicts = self._verdicts(rows)
        decided = _combined(self.tree, verdicts, len(rows))
        undecided = decided == 0
        if undecided.any():
            for part, verdict in zip(self.parts, verdicts, strict=True):
                asked = np.flatnonzero(undecided & (verdict == 0))
                if len(asked):
                    verdict[asked] = np.where(truth_of_rows(part, rows[asked]), np.int8(1), np.int8(-1))
            decided = _combined(self.tree, verdicts, len(rows))
        result: Mask = decided > 0
        return result

    def _verdicts(self, rows: Rows) -> list[NDArray[np.int8]]:
        """Per atom and row: 1 true, −1 false, 0 open."""
        values = rows.T[self.columns]
        inside = (values >= self.lo[:, None]) & (values <= self.hi[:, None])
        found = list(np.where(inside, np.int8(1), np.int8(-1)))
        if self.matrix.shape[1]:
            with np.errstate(all="ignore"):
                middle = (rows @ self.matrix + self.constant).T
                error = ((np.abs(rows) @ self.size + np.abs(self.constant)) * self.error + _TINY).T
            found += list((middle > error).astype(np.int8) - (middle < -error).astype(np.int8))
        return found + [screen(part, rows) for part in self.others]


def _plain(formula: Formula) -> Formula:
    """The same without what float bounds know nothing of: √S <= d is d >= 0 and S <= d², √S >= d is d <= 0 or S >= d²,
    and N/D >= d is N >= d·D or N <= d·D by the sign of D. (Two roots in one atom are left.)"""
    match formula:
        case And(parts):
            return And(tuple(_plain(part) for part in parts))
        case Or(parts):
            return Or(tuple(_plain(part) for part in parts))
        case Atom(term, strict, origin):
            form = form_of(term)
            leaves = {kind: [t for t in form.parts if isinstance(t, kind)] for kind in (Quotient, Sqrt)}
            for quotient in leaves[Quotient]:
                assert isinstance(quotient, Quotient)
                above, below = form_of(quotient.left), form_of(quotient.right)
                whole = product(_without(form, quotient), below) + above.scaled(form.parts[quotient])
                ways = [
                    And((atom(d, True, origin), atom(w, strict, origin))) for d, w in ((below, whole), (-below, -whole))
                ]
                return _plain(Or(tuple(ways)))
            if len(leaves[Sqrt]) != 1:
                return formula
            (root,) = leaves[Sqrt]
            assert isinstance(root, Sqrt)
            c = form.parts[root]
            rest = _without(form, root).scaled(1 / abs(c))
            gap = form_of(root.term) - product(rest, rest)  # S − d²
            if c < 0:
                return _plain(And((atom(rest, strict, origin), atom(-gap, strict, origin))))
            return _plain(Or((atom(rest, strict, origin), atom(gap, strict, origin))))


def _without(form: Form, leaf: Term) -> Form:
    return Form(form.constant, {t: c for t, c in form.parts.items() if t != leaf})


def _atoms(formula: Formula) -> list[Atom]:
    """In order, each once."""
    found: dict[Atom, None] = {}
    stack = [formula]
    while stack:
        match stack.pop():
            case And(parts) | Or(parts):
                stack.extend(reversed(parts))
            case Atom() as part:
                found[part] = None
    return list(found)


def _is_affine(form: Form) -> bool:
    sizes = [abs(c) for c in (form.constant, *form.parts.values()) if c]
    return all(isinstance(term, Var) for term in form.parts) and all(1 / _HUGE < size < _HUGE for size in sizes)


def _limits(form: Form, strict: bool) -> tuple[int, float, float]:
    """(variable, lo, hi): the atom holds for a binary64 x iff lo <= x <= hi."""
    ((term, c),) = form.parts.items()
    assert isinstance(term, Var)
    edge = -form.constant / c
    if c > 0:
        return term.index, _first(edge, strict), np.inf
    return term.index, -np.inf, -_first(-edge, strict)


def _first(edge: Fraction, strict: bool) -> float:
    """The least binary64 that is >= edge, or > edge."""
    nearest = float(edge)
    short = Fraction(nearest) <= edge if strict else Fraction(nearest) < edge
    return float(np.nextafter(nearest, np.inf)) if short else nearest


def _numbered(formula: Formula, places: dict[Atom, int]) -> _Leaf | _Node:
    match formula:
        case And(parts):
            return _Node(tuple(_numbered(part, places) for part in parts), every=True)
        case Or(parts):
            return _Node(tuple(_numbered(part, places) for part in parts), every=False)
        case Atom():
            return _Leaf(places[formula])


def _combined(tree: _Leaf | _Node, verdicts: list[NDArray[np.int8]], n: int) -> NDArray[np.int8]:
    """Three-valued and, or: the least, the greatest."""
    match tree:
        case _Leaf(place):
            return verdicts[place]
        case _Node(parts, every):
            result = np.full(n, 1 if every else -1, np.int8)
            for part in parts:
                inner = _combined(part, verdicts, n)
                result = np.minimum(result, inner) if every else np.maximum(result, inner)
            return result
