"""What a step adds, as the largest of a few alternatives: each the smallest of affine rows, where its guard holds.

    c·max(tᵢ) + rest = maxᵢ (c·tᵢ + rest)            c > 0; the smallest of them where c < 0 (min: the other way round)
    c·(if φ then t else e) + rest = c·t + rest where φ holds, else c·e + rest
    min(maxᵢ aᵢ, maxⱼ bⱼ) = maxᵢⱼ min(aᵢ, bⱼ)

are equalities, so at each point the sum is the largest alternative among those whose guard holds there. The mean of
rows is never below the smallest of them, so it is one more row: of −|x − y| = min(y − x, x − y) it is 0 everywhere,
where each of the two is bounded by the width of a cell only.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from rewarden.spec_lang.clauses import negate
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.linear_form import Gathering, Linear, total
from rewarden.spec_lang.obligation import Formula, Ite, Max
from rewarden.verifier.loops.local import Adds

MOST = 64  # alternatives of one step
ONE = Fraction(1)


@dataclass(frozen=True, slots=True, eq=False)
class Alternative:
    """The smallest of `rows`, where all of `guard` holds."""

    guard: tuple[Formula, ...]
    rows: tuple[Linear, ...]


def alternatives(adds: Adds, gathering: Gathering) -> tuple[Alternative, ...]:
    """At least one. Unsupported X03 where there are too many, and as linear_form says."""
    parts = [(gathering.linear(leaf), coefficient) for leaf, coefficient in adds.parts]
    return tuple(map(_with_mean, _expanded(total(*parts, (Linear(adds.constant), ONE)), gathering)))


def _with_mean(one: Alternative) -> Alternative:
    if len(one.rows) == 1:
        return one
    share = Fraction(1, len(one.rows))
    return Alternative(one.guard, (*one.rows, total(*((row, share) for row in one.rows))))


def _expanded(linear: Linear, gathering: Gathering) -> tuple[Alternative, ...]:
    if not linear.pieces:
        return (Alternative((), (linear,)),)
    piece, factor = next(iter(linear.pieces.items()))
    rest = linear.without(piece)
    terms = (piece.then, piece.otherwise) if isinstance(piece, Ite) else piece.terms
    each = [_expanded(total((rest, ONE), (gathering.linear(term), factor)), gathering) for term in terms]
    if isinstance(piece, Ite):
        conditions = (piece.condition, negate(piece.condition))
        cases = zip(conditions, each, strict=True)
        found = [Alternative((*a.guard, condition), a.rows) for condition, some in cases for a in some]
    elif (factor > 0) == isinstance(piece, Max):
        found = [a for some in each for a in some]
    else:
        found = list(each[0])
        for some in each[1:]:
            _bounded(len(found) * len(some))
            found = [Alternative((*a.guard, *b.guard), (*a.rows, *b.rows)) for a in found for b in some]
    _bounded(len(found))
    return tuple(found)


def _bounded(count: int) -> None:
    if count > MOST:
        help = "fewer min, max, |…| and if inside the sum"
        raise Unsupported("X03", f"what a step adds has more than {MOST} alternatives", help=help)
