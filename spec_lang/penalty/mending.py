"""Where the gradient of a violation vanishes: which output to move, and which way.

A violation can be flat at a point that some reward could mend: an `if` on rewards whose condition does not hold there,
(if R(s) > 0 then Q(s) else 0) >= 1; a product whose factors are 0; two parts of a conjunction that pull apart with the
same force. One walk over the conclusion finds, for every term, an output whose growth or decline raises it, and one
that lowers it; for every formula, one that mends it and one that breaks it:

    R(s)             itself
    sum              a part of it
    product a·b      a, in the direction of b's sign, or b, in that of a's; or one of them past 0, and then the other
    max              raised by any part, lowered by the largest; min the other way round
    if c             the branch that holds; or c is broken, or mended, where the other branch is worth more or can be
    and              mended by a broken part, where the features leave every part a chance; broken by any part
    or               mended by any part; broken by one that holds

Of several ways the nearest is taken, so that each ends at one output alone: nothing can cancel. Each node is met once.
There is no way where no output takes part (0·R(s) >= 1), which is where no reward can mend anything either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rewarden.spec_lang.obligation import (
    And,
    Atom,
    Call,
    Formula,
    Ite,
    Max,
    Min,
    Or,
    Product,
    Quotient,
    Sqrt,
    Sum,
    Term,
)
from rewarden.spec_lang.penalty.reading import STRICT_MARGIN, Reading


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """Per point, [n]: the number of the output to move, +1 or −1, and about how far until it tells (inf: no way)."""

    far: Tensor
    output: Tensor
    sign: Tensor

    @property
    def there(self) -> Tensor:
        return torch.isfinite(self.far)

    def where(self, mask: Tensor, further: Tensor | float = 0.0) -> Way:
        """Only there, and so much further off."""
        return replace(self, far=torch.where(mask, self.far + further, torch.inf))


@dataclass(frozen=True, slots=True, eq=False)
class _Value:
    value: Tensor
    up: Way
    down: Way


@dataclass(frozen=True, slots=True, eq=False)
class _Truth:
    """`hopeless`: false by the features alone."""

    broken: Tensor
    hopeless: Tensor
    mend: Way
    spoil: Way


class Mending:
    """One walk at the points of `reading`, which has the outputs of all calls already; `outputs` numbers them."""

    def __init__(self, reading: Reading, outputs: Sequence[Call]) -> None:
        self.reading = reading
        self.numbers = {call: k for k, call in enumerate(outputs)}
        zero = reading.points.new_zeros(len(reading.points))
        self.nowhere = Way(zero + torch.inf, zero.long(), zero)
        self.never = torch.zeros_like(zero, dtype=torch.bool)

    def way(self, conclusion: Formula) -> Way:
        """How to mend the conclusion where it is broken."""
        return self._formula(conclusion, self.reading.margin).mend

    # ── formulas ───────────────────────────────────────────────────────────────────────────────
    def _formula(self, formula: Formula, margin: float) -> _Truth:
        match formula:
            case Atom():
                return self._atom(formula, margin)
            case And(parts):
                return self._both([self._formula(part, margin) for part in parts])
            case Or(parts):
                return self._either([self._formula(part, margin) for part in parts])

    def _atom(self, atom: Atom, margin: float) -> _Truth:
        found = self._term(atom.term)
        broken = self.reading.hinge(atom, found.value, margin)
        fixed = self.reading.fixed_truth(atom)
        hopeless = self.never if fixed is None else ~fixed
        holding = found.value.clamp(min=0.0) + STRICT_MARGIN
        return _Truth(broken, hopeless, found.up.where(broken > 0, broken), found.down.where(broken <= 0, holding))

    def _both(self, parts: list[_Truth]) -> _Truth:
        broken, hopeless = torch.zeros_like(self.nowhere.far), self.never
        for part in parts:
            broken, hopeless = broken + part.broken, hopeless | part.hopeless
        mend = self._nearest([part.mend for part in parts]).where(~hopeless)
        return _Truth(broken, hopeless, mend, self._nearest([part.spoil for part in parts]))

    def _either(self, parts: list[_Truth]) -> _Truth:
        if not parts:
            return _Truth(torch.ones_like(self.nowhere.far), ~self.never, self.nowhere, self.nowhere)
        broken = torch.stack([part.broken for part in parts]).min(0).values
        hopeless = torch.stack([part.hopeless for part in parts]).all(0)
        mend = self._nearest([part.mend for part in parts]).where(broken > 0)
        return _Truth(broken, hopeless, mend, self._nearest([part.spoil for part in parts]))

    # ── terms ──────────────────────────────────────────────────────────────────────────────────
    def _term(self, term: Term) -> _Value:
        match term:
            case Call():
                return self._call(term)
            case Sum(terms) if terms:
                parts = [self._term(t) for t in terms]
                total = torch.stack([part.value for part in parts]).sum(0)
                return _Value(total, self._nearest([p.up for p in parts]), self._nearest([p.down for p in parts]))
            case Product(left, right):
                return self._product(self._term(left), self._term(right))
            case Quotient(left, right):
                return self._quotient(self._term(left), self._term(right).value)
            case Max(terms):
                return self._largest([self._term(t) for t in terms])
            case Min(terms):
                return _turned(self._largest([_turned(self._term(t)) for t in terms]))
            case Ite():
                return self._choice(term)
            case Sqrt(inner):
                found = self._term(inner)
                return replace(found, value=found.value.clamp(min=0.0).sqrt())
            case _:
                return _Value(self.reading.term(term).detach(), self.nowhere, self.nowhere)

    def _call(self, call: Call) -> _Value:
        here = torch.zeros_like(self.nowhere.far)
        which = torch.full_like(self.nowhere.output, self.numbers[call])
        up = Way(here, which, torch.ones_like(here))
        return _Value(self.reading.term(call).detach(), up, replace(up, sign=-up.sign))

    def _product(self, a: _Value, b: _Value) -> _Value:
        value = self.reading.product(a.value, b.value)
        up: list[Way] = []
        down: list[Way] = []
        for one, other in ((a, b), (b, a)):
            up += [one.up.where(other.value > 0), one.down.where(other.value < 0)]
            down += [one.down.where(other.value > 0), one.up.where(other.value < 0)]
            # Else first the one factor past 0, that then the other may tell.
            size = one.value.abs()
            up += [one.up.where((one.value <= 0) & other.up.there, size + other.up.far)]
            up += [one.down.where((one.value >= 0) & other.down.there, size + other.down.far)]
            down += [one.up.where((one.value <= 0) & other.down.there, size + other.down.far)]
            down += [one.down.where((one.value >= 0) & other.up.there, size + other.up.far)]
        return _Value(value, self._nearest(up), self._nearest(down))

    def _quotient(self, a: _Value, divisor: Tensor) -> _Value:
        value = a.value / torch.where(divisor == 0, torch.ones_like(divisor), divisor)
        up = self._nearest([a.up.where(divisor > 0), a.down.where(divisor < 0)])
        return _Value(value, up, self._nearest([a.down.where(divisor > 0), a.up.where(divisor < 0)]))

    def _largest(self, parts: list[_Value]) -> _Value:
        values = torch.stack([part.value for part in parts])
        top, at = values.max(0)
        up = self._nearest([part.up.where(~self.never, top - part.value) for part in parts])
        return _Value(top, up, self._nearest([part.down.where(at == k) for k, part in enumerate(parts)]))

    def _choice(self, term: Ite) -> _Value:
        condition = self._formula(term.condition, 0.0)
        holds = condition.broken <= 0
        then, otherwise = self._term(term.then), self._term(term.otherwise)
        flip = self._nearest([condition.spoil.where(holds), condition.mend.where(~holds)])
        value = torch.where(holds, then.value, otherwise.value)
        other = torch.where(holds, otherwise.value, then.value)
        ways = []
        for mine, theirs, more in (
            (then.up, otherwise.up, other - value),
            (then.down, otherwise.down, value - other),
        ):
            here = self._nearest([mine.where(holds), theirs.where(~holds)])
            there = self._nearest([theirs.where(holds), mine.where(~holds)])
            after = torch.where(more > 0, torch.zeros_like(more), there.far - more)
            ways.append(self._nearest([here, flip.where((more > 0) | there.there, after)]))
        return _Value(value, ways[0], ways[1])

    def _nearest(self, ways: list[Way]) -> Way:
        if len(ways) < 2:
            return ways[0] if ways else self.nowhere
        far, at = torch.stack([way.far for way in ways]).min(0)
        output = torch.stack([way.output for way in ways]).gather(0, at[None])[0]
        return Way(far, output, torch.stack([way.sign for way in ways]).gather(0, at[None])[0])


def _turned(found: _Value) -> _Value:
    """Of the negative."""
    return _Value(-found.value, found.down, found.up)
