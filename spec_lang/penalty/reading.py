"""Terms and formulas read from the tree, at many points at once, as torch numbers.

The plain way, one small tensor operation per node: for premises that speak of rewards, for the features' part of a
margin, and for the few conclusions that `penalty_program` has no faster form for.

    atom t >= 0:  0 where t >= margin, else margin − t
    atom t > 0:   0 where t > 0, else STRICT_MARGIN − t        (margin 0; with another it is read as t >= 0)

The strict margin makes t = 0 count. `and` adds violations up, or takes a log-sum-exp that is 0 iff all are; `or` takes
the part that is least broken, of those that the features do not make false. Ties in min and max send the gradient to
one argument only: torch's `maximum(t, -t)` splits it evenly, which at t = 0 cancels, so that |R(a) - R(b)| >= c would
have no way to grow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import cast

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from rewarden.spec_lang.errors import BindingError
from rewarden.spec_lang.evaluate import statistic_text
from rewarden.spec_lang.obligation import (
    And,
    Atom,
    Call,
    Const,
    Formula,
    Ite,
    Max,
    Min,
    Or,
    Product,
    Quotient,
    Sqrt,
    Statistic,
    Sum,
    Term,
    Var,
)

RewardFunction = Callable[[Tensor], Tensor]
Ask = Callable[[str, Tensor], Tensor]  # reward, encoded rows [n, width] → float64 [n]
StatisticValues = Mapping[Statistic, Fraction | float | Tensor]

STRICT_MARGIN = 2.0**-20
LARGEST = 2.0**200  # an output beyond it has diverged; products and sums of smaller ones do not overflow

_SATURATED = 2.0**500  # a product beyond it stays there: the next one, and its gradient, are still finite
_STEEPEST = 2.0**120  # fits binary32, in which most rewards compute

_SMALL = 20.0  # beyond this many temperatures exp is shifted, below it expm1 keeps tiny violations from vanishing


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of atoms before rewards are asked, by identity, since equal atoms may stand elsewhere: where those
    about features alone hold, bool [n]; and which are half of an equality, which has no inside for a margin."""

    fixed: Mapping[int, tuple[Atom, Tensor]] = field(default_factory=dict)
    exempt: Mapping[int, Atom] = field(default_factory=dict)

    def truth(self, atom: Atom) -> Tensor | None:
        found = self.fixed.get(id(atom))
        return found[1] if found is not None and found[0] is atom else None

    def is_exempt(self, atom: Atom) -> bool:
        return self.exempt.get(id(atom)) is atom

    def at(self, rows: Tensor) -> Known:
        """At some of the points, int64 [k]."""
        return Known({key: (atom, truth[rows]) for key, (atom, truth) in self.fixed.items()}, self.exempt)


NOTHING = Known()


class Reading:
    """One evaluation at `points` (float64 [n, variables]); equal calls are made once (the cache is the only mutable
    part)."""

    def __init__(
        self,
        points: Tensor,
        ask: Ask,
        statistics: StatisticValues,
        temperature: float | None = None,
        margin: float = 0.0,
        known: Known = NOTHING,
    ) -> None:
        self.points, self.ask, self.statistics = points, ask, statistics
        self.temperature, self.margin, self.known = temperature, margin, known
        self.outputs: dict[Call, Tensor] = {}

    # ── formulas ──
    def truth(self, formula: Formula) -> Tensor:
        """bool [n]; no gradient."""
        match formula:
            case And(parts):
                return torch.stack([self.truth(p) for p in parts]).all(0) if parts else self._full(True)
            case Or(parts):
                return torch.stack([self.truth(p) for p in parts]).any(0) if parts else self._full(False)
            case Atom(term, strict):
                fixed = self.fixed_truth(formula)
                if fixed is not None:
                    return fixed
                margin = self.term(term).detach()
                return margin > 0 if strict else margin >= 0

    def violation(self, formula: Formula) -> Tensor:
        """[n], 0 exactly where the formula holds."""
        return self._violation(formula)[0]

    def _violation(self, formula: Formula) -> tuple[Tensor, Tensor]:
        """Beside it, where the features alone make the formula false: nothing can be done about that."""
        match formula:
            case And(parts) if parts:
                found = [self._violation(part) for part in parts]
                violations = torch.stack([broken for broken, _ in found])
                total = violations.sum(0) if self.temperature is None else soft_sum(violations, self.temperature)
                return total, torch.stack([dead for _, dead in found]).any(0)
            case Or(parts) if parts:
                found = [self._violation(part) for part in parts]
                lost = torch.stack([dead for _, dead in found])
                dead = lost.all(0)
                violations = torch.stack([broken for broken, _ in found])
                return violations.masked_fill(lost & ~dead, torch.inf).min(0).values, dead
            case And():
                return self.points.new_zeros(len(self.points)), self._full(False)
            case Or():
                return self.points.new_ones(len(self.points)), self._full(True)
            case Atom(term):
                fixed = self.fixed_truth(formula)
                dead = self._full(False) if fixed is None else ~fixed
                return self.hinge(formula, self.term(term), self.margin), dead

    def hinge(self, atom: Atom, value: Tensor, margin: float) -> Tensor:
        """How far an atom whose term has that value, [n], is from being met."""
        fixed = self.fixed_truth(atom)
        if fixed is not None:  # no reward takes part, so that there is no inside either
            return torch.where(fixed, torch.zeros_like(value), (-value).clamp(min=STRICT_MARGIN))
        margin = 0.0 if self.known.is_exempt(atom) else margin
        if atom.strict and margin == 0:
            return torch.where(value > 0, torch.zeros_like(value), STRICT_MARGIN - value)
        return torch.relu(margin - value)

    def fixed_truth(self, atom: Atom) -> Tensor | None:
        return self.known.truth(atom)

    # ── terms ──
    def term(self, term: Term) -> Tensor:
        """[n]"""
        match term:
            case Const(constant):
                return self.points.new_full((len(self.points),), as_float(constant))
            case Var(index):
                return self.points[:, index]
            case Sum(terms):
                return torch.stack([self.term(t) for t in terms]).sum(0) if terms else self.term(Const(Fraction(0)))
            case Product(left, right):
                if isinstance(left, Const) or isinstance(right, Const):
                    return self.term(left) * self.term(right)
                return self.product(self.term(left), self.term(right))
            case Quotient(left, right):
                below = self.term(right)
                return self.term(left) / torch.where(below == 0, torch.ones_like(below), below)
            case Min(terms):
                return torch.stack([self.term(t) for t in terms]).min(0).values
            case Max(terms):
                return torch.stack([self.term(t) for t in terms]).max(0).values
            case Ite(condition, then, otherwise):
                return torch.where(self.truth(condition), self.term(then), self.term(otherwise))
            case Sqrt(inner):
                return safe_sqrt(self.term(inner))
            case Call():
                return self._call(term)
            case Statistic():
                return self.points.new_full((len(self.points),), constant_of(term, self.statistics))

    @staticmethod
    def product(left: Tensor, right: Tensor) -> Tensor:
        """Of two numbers that may both come from rewards: neither it nor its gradient leaves the finite numbers."""
        return bounded(left * right)

    def arguments(self, call: Call) -> Tensor:
        """[n, width]"""
        indices = [t.index for t in call.arguments if isinstance(t, Var)]
        if len(indices) == len(call.arguments):
            return self.points[:, indices]
        return torch.stack([self.term(t) for t in call.arguments], dim=1)

    def _call(self, call: Call) -> Tensor:
        if call not in self.outputs:
            self.outputs[call] = self.ask(call.reward, self.arguments(call))
        return self.outputs[call]

    def _full(self, value: bool) -> Tensor:
        return torch.full((len(self.points),), value, dtype=torch.bool, device=self.points.device)


def asking(rewards: Mapping[str, RewardFunction], dtype: torch.dtype) -> Ask:
    """Rewards as they are given, rows handed to them in `dtype`. BindingError B22 for one that is not there."""

    def ask(reward: str, rows: Tensor) -> Tensor:
        if reward not in rewards:
            raise BindingError("B22", f"no function is given for the reward {reward}", help="pass one by name")
        return checked(rewards[reward](rows.to(dtype)), reward, len(rows))

    return ask


def checked(output: Tensor, reward: str, records: int) -> Tensor:
    """A reward's output as float64 [records]. BindingError B23 unless it is one usable number per record."""
    if output.shape not in ((records,), (records, 1)):
        raise BindingError(
            "B23",
            f"{reward} returned shape {tuple(output.shape)} for {records} records",
            help="a reward returns one number per record",
        )
    output = output.reshape(-1).to(torch.float64)
    if records and not bool(output.detach().abs().amax() <= LARGEST):  # not true of NaN either
        raise BindingError(
            "B23", f"{reward} returned a number that is not finite", help="has the training of the reward diverged?"
        )
    return output


def constant_of(statistic: Statistic, statistics: StatisticValues) -> float:
    """BindingError B21 for a data constant without a value."""
    if statistic not in statistics:
        raise BindingError("B21", f"{statistic_text(statistic)} has no value", help="compute it first")
    known = statistics[statistic]
    return float(known.detach()) if isinstance(known, Tensor) else float(known)


def as_float(number: Fraction) -> float:
    """The nearest binary64 that further arithmetic can bear."""
    limit = 2**200
    return float(min(max(number, Fraction(-limit)), Fraction(limit)))


class _Bounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        return x.clamp(-_SATURATED, _SATURATED)

    @staticmethod
    def backward(ctx: FunctionCtx, *slopes: Tensor) -> Tensor:
        return slopes[0].clamp(-_STEEPEST, _STEEPEST)


def bounded(x: Tensor) -> Tensor:
    """x, with a size and a gradient that further arithmetic can bear."""
    return cast(Tensor, _Bounded.apply(x))  # type: ignore[no-untyped-call]


def soft_sum(violations: Tensor, temperature: float) -> Tensor:
    """T·log(mean exp(v/T)) over dim 0: a smooth maximum that is 0 iff every v >= 0 is 0, at any scale of v.

    Written as T·log1p(mean expm1(v/T)) while v/T is small, since exp would round tiny violations away, and shifted by
    the largest v where exp would overflow. Both branches are kept finite, so that neither sends NaN into the gradient.
    """
    scaled = violations / temperature
    top = scaled.detach().amax(0)
    small = torch.log1p(torch.expm1(scaled.clamp(max=_SMALL)).mean(0))
    shifted = top + torch.log(torch.exp((scaled - top).clamp(min=-_SMALL * 4)).mean(0))
    return temperature * torch.where(top < _SMALL, small, shifted)


def safe_sqrt(square: Tensor) -> Tensor:
    """√x with gradient 0 instead of infinity at 0."""
    positive = square > 0
    return torch.where(positive, torch.sqrt(torch.where(positive, square, torch.ones_like(square))), 0.0)
