"""A conclusion as alternatives: a disjunction of conjunctions in which `min`, `max` and `if` of rewards are gone.

c·max(a, b) + t >= 0 with c > 0 holds iff it holds with a or with b in the maximum's place, with c < 0 iff it holds with
both; min is the dual; (if q then a else b) holds iff q and a's hold, or not q and b's. What speaks of features alone is
left whole: it is true or false at a point, and no reward changes that.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from rewarden.spec_lang.forms import Form, TooLarge, form_of
from rewarden.spec_lang.formulas import atom, negate
from rewarden.spec_lang.obligation import (
    FALSE,
    TRUE,
    And,
    Atom,
    Call,
    Formula,
    Ite,
    Max,
    Min,
    Obligation,
    Or,
    Term,
)
from rewarden.spec_lang.term_walk import mentions

Parts = tuple[Formula, ...]

MOST = 32  # alternatives, and parts of one; a conclusion beyond is read from the tree as a whole
EFFORT = 2000  # formulas looked at on the way: many choices may come to few alternatives, or to none
DEPTH = 150  # of them inside each other


def alternatives(obligation: Obligation) -> list[Parts]:
    """The conclusion holds iff all parts of one of these do; itself as the only part where there are too many."""
    bits = frozenset(k for k, v in enumerate(obligation.variables) if v.discrete and v.lo == 0 and v.hi == 1)
    try:
        return [tuple(dict.fromkeys(parts)) for parts in _Split(bits).alternatives(obligation.conclusion)]
    except TooLarge:
        return [(obligation.conclusion,)]


@dataclass(slots=True)
class _Split:
    """Mutable: it counts what it looks at."""

    bits: frozenset[int]  # the 0/1 variables
    left: int = EFFORT
    depth: int = 0

    def alternatives(self, formula: Formula) -> list[Parts]:
        """Raises TooLarge."""
        self.left -= 1
        if self.left < 0 or self.depth >= DEPTH:
            raise TooLarge("too many alternatives")
        self.depth += 1
        try:
            return self._alternatives(formula)
        finally:
            self.depth -= 1

    def _alternatives(self, formula: Formula) -> list[Parts]:
        if formula == TRUE:
            return [()]
        if formula == FALSE:
            return []
        if not mentions(formula, Call):
            return [(formula,)]
        match formula:
            case Or(parts):
                return _limited([d for part in parts for d in self.alternatives(part)])
            case And(parts):
                found: list[Parts] = [()]
                for part in parts:
                    found = _limited([a + b for a in found for b in self.alternatives(part)])
                return found
            case Atom():
                return self._of_atom(formula)

    def _of_atom(self, part: Atom) -> list[Parts]:
        form = form_of(part.term)
        for term, c in form.parts.items():
            if not isinstance(term, (Min, Max, Ite)) or not mentions(term, Call):
                continue
            rest = Form(form.constant, {t: d for t, d in form.parts.items() if t != term})

            def placed(inner: Term, rest: Form = rest, c: Fraction = c) -> Formula:
                return atom(rest + form_of(inner).scaled(c), part.strict, part.origin)

            if isinstance(term, Ite):
                then = And((term.condition, placed(term.then)))
                otherwise = And((negate(term.condition, self.bits), placed(term.otherwise)))
                return self.alternatives(Or((then, otherwise)))
            options = tuple(placed(t) for t in term.terms)
            return self.alternatives(Or(options) if isinstance(term, Max) == (c > 0) else And(options))
        plain = atom(form, part.strict, part.origin)
        return [(plain,)] if isinstance(plain, Atom) else self.alternatives(plain)


def _limited(found: list[Parts]) -> list[Parts]:
    if len(found) > MOST or any(len(parts) > MOST for parts in found):
        raise TooLarge("too many alternatives")
    return found
