"""Formulas in negation normal form: how they are built, negated, and split into polytopes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from rewarden.spec_lang.forms import ONE, Form, TooLarge, form_of, variable
from rewarden.spec_lang.obligation import FALSE, TRUE, And, Atom, Formula, Ite, Max, Min, Or, Term, Var
from rewarden.spec_lang.source import Span


def atom(form: Form, strict: bool, origin: Span | None) -> Formula:
    """`form > 0` or `form >= 0`; a constant decides at once."""
    if form.is_constant:
        return TRUE if form.constant > 0 or (form.constant == 0 and not strict) else FALSE
    return Atom(form.term(), strict, origin)


def literal(index: int, positive: bool, origin: Span | None) -> Formula:
    """A 0/1 variable is 1 (`v - 1 >= 0`) or is 0 (`-v >= 0`)."""
    form = variable(index).shifted(-ONE) if positive else -variable(index)
    return atom(form, False, origin)


def conjunction(parts: Iterable[Formula]) -> Formula:
    kept: list[Formula] = []
    for part in parts:
        if isinstance(part, And):
            kept.extend(part.parts)
        elif part == FALSE:
            return FALSE
        else:
            kept.append(part)
    return kept[0] if len(kept) == 1 else And(tuple(kept))


def disjunction(parts: Iterable[Formula]) -> Formula:
    kept: list[Formula] = []
    for part in parts:
        if isinstance(part, Or):
            kept.extend(part.parts)
        elif part == TRUE:
            return TRUE
        else:
            kept.append(part)
    return kept[0] if len(kept) == 1 else Or(tuple(kept))


def negate(formula: Formula, bits: frozenset[int]) -> Formula:
    """The negation, pushed into the atoms: not (t >= 0) is -t > 0.

    `bits` are the 0/1 variables. A literal over one is negated to the opposite literal: over {0, 1},
    not (v - 1 >= 0) says v = 0, which is -v >= 0.
    """
    match formula:
        case And(parts=parts):
            return disjunction(negate(p, bits) for p in parts)
        case Or(parts=parts):
            return conjunction(negate(p, bits) for p in parts)
        case Atom(term=term, strict=strict, origin=origin):
            found = as_literal(formula, bits)
            if found is not None:
                return literal(found[0], not found[1], origin)
            return atom(-form_of(term), not strict, origin)


def as_literal(formula: Formula, bits: frozenset[int]) -> tuple[int, bool] | None:
    """(variable, whether it must be 1) of an atom that `literal` made."""
    if not isinstance(formula, Atom) or formula.strict:
        return None
    form = form_of(formula.term)
    match list(form.parts.items()):
        case [(Var(index=index), c)] if index in bits:
            if c == 1 and form.constant == -1:
                return index, True
            if c == -1 and form.constant == 0:
                return index, False
    return None


# ── piecewise-linear atoms and polytopes ───────────────────────────────────────────────────────
def split(formula: Formula, bits: frozenset[int], limit: int) -> Formula:
    """An equivalent formula whose atoms have no Min, Max or Ite at the top of their sums; TooLarge.

    c·max(a, b) + t >= 0 with c > 0 holds iff it holds with a or with b in the maximum's place, with c < 0 iff
    it holds with both; min is the dual; (if q then a else b) holds iff q and a's, or not q and b's. Within an atom the
    choices between cases come before those of all cases, so that the polytopes are the same however it is written.
    """
    budget = [limit]

    def visit(part: Formula) -> Formula:
        match part:
            case And(parts=parts):
                return conjunction([visit(p) for p in parts])
            case Or(parts=parts):
                return disjunction([visit(p) for p in parts])
            case Atom():
                return split_atom(part)

    def split_atom(part: Atom) -> Formula:
        budget[0] -= 1
        if budget[0] < 0:
            raise TooLarge("too many cases")
        form = form_of(part.term)
        pieces = [(t, c) for t, c in form.parts.items() if isinstance(t, (Min, Max, Ite))]
        pieces.sort(key=lambda piece: not (isinstance(piece[0], Ite) or isinstance(piece[0], Max) == (piece[1] > 0)))
        for term, c in pieces:
            rest = Form(form.constant, {t: d for t, d in form.parts.items() if t != term})

            def placed(inner: Term, rest: Form = rest, c: Fraction = c) -> Formula:
                return visit(atom(rest + form_of(inner).scaled(c), part.strict, part.origin))

            if isinstance(term, Ite):
                holds, fails = visit(term.condition), visit(negate(term.condition, bits))
                return disjunction(
                    [conjunction([holds, placed(term.then)]), conjunction([fails, placed(term.otherwise)])]
                )
            options = [placed(t) for t in term.terms]
            return disjunction(options) if isinstance(term, Max) == (c > 0) else conjunction(options)
        return part

    return visit(formula)


def polytopes(formula: Formula, limit: int) -> list[tuple[Atom, ...]]:
    """The disjuncts of the disjunctive normal form, each a conjunction of atoms; TooLarge beyond `limit`."""
    match formula:
        case Atom():
            return [(formula,)]
        case Or(parts=parts):
            found = [p for part in parts for p in polytopes(part, limit)]
        case And(parts=parts):
            found = [()]
            for part in parts:
                found = [a + b for a in found for b in _within(polytopes(part, limit), limit, len(found))]
    return list(_within(found, limit, 1))


def _within(found: Sequence[tuple[Atom, ...]], limit: int, times: int) -> Sequence[tuple[Atom, ...]]:
    if len(found) * times > limit:
        raise TooLarge(f"the region has more than {limit} polytopes")
    return found
