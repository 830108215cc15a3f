"""Two records of one reward that move together, read off a rule's claim: R(a) >= R(b) + m.

a and b differ in the columns V alone, and the premise, or the rule's own update, says in which of them the worse record
b is the larger one, and in which the smaller. m > 0 needs a column in which they differ by a known amount: two records
that may be the same have the same reward. Where b may be are polytopes of the rule's region; `both` are these with
rows moved outwards by as much as a may lie beyond, so that both records of every pair are in one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from rewarden.editor.patch import Box, closed_box
from rewarden.editor.region import Polytope, Row, polytopes_of
from rewarden.spec_lang.claim import Affine, AffineAtom, Claim
from rewarden.spec_lang.errors import EditError
from rewarden.verifier.narrowing import narrowed, single_atoms
from rewarden.verifier.snap import one_hot_groups


@dataclass(frozen=True, slots=True)
class Coupled:
    """`signs`: by column, 1 where the worse record's is the larger. `shifts`: by how much, signed, in the columns where
    the rule says so. `polytopes`: where the worse record may be, none for everywhere; `box` holds both records, and so
    does the union of `both`, none for everywhere. `slack` is −m; `strict`: R(a) has to be above, not at R(b) + m."""

    signs: dict[int, int]
    shifts: dict[int, Fraction]
    polytopes: tuple[Polytope, ...]
    both: tuple[Polytope, ...]
    box: Box
    slack: Fraction
    strict: bool


def coupled(claim: Claim, rule: str, target: str, ring: Fraction) -> Coupled:
    """Raises EditError E13 for rules of another form, and as `polytopes_of`."""
    goal = claim.goals[0][0] if len(claim.goals) == 1 and len(claim.goals[0]) == 1 else None
    if goal is None or len(goal.affine.calls) != 2 or goal.affine.variables or claim.instances is not None:
        raise other_form(rule)
    if {call.reward for call in claim.calls} != {target} or len(claim.boxes) != 1:
        raise other_form(rule)
    (i, x), (j, y) = goal.affine.calls
    if x + y != 0:
        raise other_form(rule)
    better, worse = (i, j) if x > 0 else (j, i)
    here, there = claim.calls[worse].arguments, claim.calls[better].arguments
    box = claim.boxes[0]
    cell = narrowed(box, single_atoms(claim.clauses), [v.discrete for v in claim.variables]) or box
    cell = _one_each(claim, cell)
    signs = dict(_signs(here, there, claim, cell, rule))
    if not signs:
        raise other_form(rule)
    shifts = {j: here[j].constant - there[j].constant for j in signs if here[j].variables == there[j].variables}
    for j in signs.keys() - shifts.keys():
        (b_lo, b_hi), (a_lo, a_hi) = (cell[side[j].variables[0][0]] for side in (here, there))
        if b_lo == b_hi and a_lo == a_hi:
            shifts[j] = b_lo - a_lo
    if goal.affine.constant < 0 and not any(shifts.values()):
        raise other_form(rule)
    places = {a.variables[0][0]: (column, a.constant) for column, a in enumerate(here)}
    own = tuple(box[a.variables[0][0]] for a in here)
    discrete = [claim.variables[a.variables[0][0]].discrete for a in here]
    clauses = [
        tuple(_as_columns(atom, places) for atom in clause)
        for clause in claim.clauses
        if all(v in places for atom in clause for v, _ in atom.affine.variables)
        and not any(atom.affine.calls for atom in clause)
    ]
    polytopes = polytopes_of(clauses, own, discrete, ring, rule)
    if not all(polytope.rows for polytope in polytopes):
        polytopes = ()
    reach = tuple(_moved(cell[a.variables[0][0]], a.constant) for a in there)
    both = tuple(_with_the_better(p, signs, shifts, reach) for p in polytopes)
    if not all(polytope.rows for polytope in both):
        both = ()
    holding = _holding(own, polytopes, here, there, claim, signs)
    return Coupled(signs, shifts, polytopes, both, holding, goal.affine.constant / abs(x), goal.strict)


def _one_each(claim: Claim, cell: Box) -> Box:
    """The cell, where of an enum's columns just one is 1."""
    found = list(cell)
    for group in one_hot_groups(claim):
        certain = [k for k in group if found[k][0] >= 1]
        able = [k for k in group if found[k][1] >= 1]
        for k in group:
            if certain and k not in certain:
                found[k] = (Fraction(0), Fraction(0))
            elif len(able) == 1 and k in able:
                found[k] = (Fraction(1), Fraction(1))
    return tuple(found)


def _moved(side: tuple[Fraction, Fraction], by: Fraction) -> tuple[Fraction, Fraction]:
    return side[0] + by, side[1] + by


def _signs(
    here: tuple[Affine, ...], there: tuple[Affine, ...], claim: Claim, cell: Box, rule: str
) -> Iterator[tuple[int, int]]:
    """The columns in which the records differ, and in which direction."""
    known = {
        tuple(sorted((v, c / abs(c)) for v, c in atom.affine.variables if c))  # minutes have factors of 60
        for clause in claim.clauses if len(clause) == 1
        for atom in clause
        if not atom.affine.calls and atom.affine.constant <= 0 and not sum(c for _, c in atom.affine.variables)
    }  # fmt: skip
    for column, (b, a) in enumerate(zip(here, there, strict=True)):
        if any(len(side.variables) != 1 or side.variables[0][1] != 1 or side.calls for side in (a, b)):
            raise other_form(rule)
        u, v = b.variables[0][0], a.variables[0][0]
        if u == v:
            if b.constant != a.constant:
                yield column, 1 if b.constant > a.constant else -1
            continue
        if a.constant != b.constant:
            raise other_form(rule)
        if cell[u] == cell[v] and cell[u][0] == cell[u][1]:
            continue  # the premise says what it is, of both
        ways = [s for s in (1, -1) if tuple(sorted(((u, Fraction(s)), (v, Fraction(-s))))) in known]
        ways += [s for s, low, high in ((1, u, v), (-1, v, u)) if cell[low][0] >= cell[high][1]]
        if not ways:
            raise EditError(
                "E13",
                f"nothing in the premise of {rule} says which of its records is the larger one in column {column}",
                help="compare them there (a.x <= b.x), or use --method tuning",
            )
        yield column, ways[0]


def _as_columns(atom: AffineAtom, places: dict[int, tuple[int, Fraction]]) -> AffineAtom:
    """The atom over the columns of the worse record, where it is over the claim's variables."""
    constant, moved = atom.affine.constant, []
    for variable, coefficient in atom.affine.variables:
        column, shift = places[variable]
        moved.append((column, coefficient))
        constant -= coefficient * shift
    return AffineAtom(Affine(constant, tuple(sorted(moved)), ()), atom.strict)


def _with_the_better(polytope: Polytope, signs: dict[int, int], shifts: dict[int, Fraction], reach: Box) -> Polytope:
    """The polytope with rows moved outwards until the better record is inside as well, and without those that say
    nothing any more. `reach`: where the better record's columns may be."""
    rows = []
    for row in polytope.rows:
        most = sum((c * reach[j][1 if c > 0 else 0] for j, c in enumerate(row.coefficients) if c), Fraction(0))
        further = Fraction(0)
        for j, c in enumerate(row.coefficients):
            if c and j in shifts:
                further -= c * shifts[j]
            elif c and j in signs and c * signs[j] < 0:
                further += abs(c) * (max(reach[j][1], polytope.box[j][1]) - min(reach[j][0], polytope.box[j][0]))
        offset = max(row.offset, min(row.offset + further, most))
        whole = sum((c * polytope.box[j][1 if c > 0 else 0] for j, c in enumerate(row.coefficients) if c), Fraction(0))
        if whole > offset:
            rows.append(Row(row.coefficients, offset))
    return replace(polytope, rows=tuple(rows))


def _holding(
    box: Box,
    polytopes: tuple[Polytope, ...],
    here: tuple[Affine, ...],
    there: tuple[Affine, ...],
    claim: Claim,
    signs: dict[int, int],
) -> Box:
    """A box that holds both records: the worse one's, and in the columns in which they differ what the other adds."""
    if polytopes:
        parts = [closed_box(inside(p)) for p in polytopes]
        box = tuple((min(p[j][0] for p in parts), max(p[j][1] for p in parts)) for j in range(len(box)))
    found = []
    for column, (lo, hi) in enumerate(box):
        a, b = there[column], here[column]
        if column in signs and a.variables[0][0] == b.variables[0][0]:
            shift = a.constant - b.constant
            lo, hi = min(lo, lo + shift), max(hi, hi + shift)
        elif column in signs:
            lo, hi = claim.boxes[0][a.variables[0][0]]
        found.append((lo, hi))
    return tuple(found)


def inside(polytope: Polytope) -> Polytope:
    """Rows moved inwards by a ring's width: what `closed_box` holds of it is the region itself."""
    return replace(polytope, rows=tuple(replace(row, offset=row.offset - 1) for row in polytope.rows))


def other_form(rule: str) -> EditError:
    return EditError(
        "E13", f"rule {rule} does not compare one reward at two records that move together", help="use --method tuning"
    )
