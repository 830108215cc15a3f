"""What a rule about loops asks of their sums, and when two sums differ by the same on every loop.

Where one's g is λ times the other's plus a constant c, with λ > 0, on loops of one, two and three records, the sums
over n moves differ by n·c for every n (`CYCLE_LENGTHS`), and the sign of c decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rewarden.spec_lang.compare.align import Aligned
from rewarden.spec_lang.forms import ZERO, Form, form_of
from rewarden.spec_lang.formulas import atom, conjunction
from rewarden.spec_lang.obligation import And, Atom, Formula, Or

CYCLE_LENGTHS = (1, 2, 3)
"""Rules about loops that say the same of loops of one to three records are equal. Their relation is read off two
records, so it is the same. What their sums differ by, d(a, b) for each move, adds up to 0 on all such loops. So d(a, a)
is 0, d(a, b) = -d(b, a) and d(a, b) + d(b, c) = d(a, c), whence d(a, b) = f(b) - f(a) for some f: 0 on every loop."""


@dataclass(frozen=True, slots=True, eq=False)
class LoopRule:
    """A rule about loops: its obligations at CYCLE_LENGTHS, and about one move (`moves`) where that could be read."""

    parts: tuple[Aligned, ...]
    move: Aligned | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A sum over a loop is above 0 if `strict`, else at least 0: the sums for each of some obligations."""

    sums: tuple[Form, ...]
    strict: bool

    def formula(self) -> Formula:
        """Of the first obligation."""
        return atom(self.sums[0], self.strict, None)


Case = tuple[Comparison, ...]


def cases_of(parts: Sequence[Aligned]) -> tuple[Case, ...]:
    """What the conclusion is made of: one case of one comparison, or of two where it says `==`; two cases where it
    says `!=`. None where the obligations are not all alike, as where a sum is a constant."""
    every: list[list[tuple[Form, bool]]] = []
    kinds = set()
    for part in parts:
        several = isinstance(part.conclusion, And | Or)
        atoms = part.conclusion.parts if isinstance(part.conclusion, And | Or) else (part.conclusion,)
        kinds.add(type(part.conclusion))
        every.append([(form_of(a.term), a.strict) for a in atoms if isinstance(a, Atom)])
        if len(every[-1]) < len(atoms) or len(every[-1]) != (2 if several else 1) or len(kinds) > 1:
            return ()
    found = tuple(Comparison(tuple(form for form, _ in one), one[0][1]) for one in zip(*every, strict=True))
    return tuple((one,) for one in found) if kinds == {Or} else (found,)


def formula_of(case: Case) -> Formula:
    """All comparisons of the first obligation."""
    return conjunction(comparison.formula() for comparison in case)


@dataclass(frozen=True, slots=True)
class Gap:
    """The weak rule's sum over n moves is `scale` times the strong one's plus n times `shift`."""

    scale: Fraction
    shift: Fraction


def gap_between(asked: Comparison, wanted: Comparison) -> Gap | None:
    """For comparisons at CYCLE_LENGTHS; None where they differ by more than constants."""
    found: set[tuple[Fraction, Fraction]] = set()
    for length, a, b in zip(CYCLE_LENGTHS, asked.sums, wanted.sums, strict=True):
        leaf = next(iter(a.parts))
        scale = b.parts.get(leaf, ZERO) / a.parts[leaf]
        rest = b - a.scaled(scale)
        if not scale or not rest.is_constant:
            return None
        found.add((scale, rest.constant / length))
    return Gap(*found.pop()) if len(found) == 1 else None


def gap_suffices(asked: Comparison, wanted: Comparison) -> bool:
    """Do loops that meet the one comparison meet the other, by what their sums differ by?"""
    gap = gap_between(asked, wanted)
    if gap is None or gap.scale < 0:
        return False
    return gap.shift > 0 or (gap.shift == 0 and (asked.strict or not wanted.strict))
