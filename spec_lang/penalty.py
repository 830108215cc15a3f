"""The penalty reading: how much a rule is broken at given points, as a differentiable torch term.

Per point the penalty is 0 where the premise fails (decided exactly, never relaxed) or the conclusion holds, and > 0
otherwise. Atoms are hinges; `and` adds them up, or takes a log-sum-exp that is 0 iff all parts are; `or` takes the part
that is least broken.

    atom t >= 0:  0 where t >= 0, else −t             atom t > 0:  0 where t > 0, else −t + STRICT_MARGIN

The margin makes t = 0 count against a strict atom. Ties in min and max send the gradient to one argument only: torch's
`maximum(t, -t)` splits it evenly, which at t = 0 cancels, so that |R(a) - R(b)| >= c would have no way to grow.
For a conjunction that can hold at all the sum of hinges has a non-zero gradient wherever it is violated, since it is
convex in the rewards' outputs and its least value is 0. Contradictory conjuncts can cancel; no reward can satisfy them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from rewarden.spec_lang.errors import BindingError
from rewarden.spec_lang.evaluate import statistic_text, truth_of_rows
from rewarden.spec_lang.obligation import (
    And,
    Atom,
    Call,
    Const,
    Formula,
    Ite,
    Max,
    Min,
    Obligation,
    Or,
    Product,
    Quotient,
    Sqrt,
    Statistic,
    Sum,
    Term,
    Var,
)
from rewarden.spec_lang.sampling import mentions_rewards, sample_rows

RewardFunction = Callable[[Tensor], Tensor]
STRICT_MARGIN = 2.0**-20

_SMALL = 20.0  # beyond this many temperatures exp is shifted, below it expm1 keeps tiny violations from vanishing


def penalty(
    obligation: Obligation,
    rewards: Mapping[str, RewardFunction],
    points: Tensor,
    temperature: float | None = None,
    statistics: Mapping[Statistic, Fraction | float | Tensor] | None = None,
) -> Tensor:
    """Violation per point, [n], in the units of the rule; the rule's `weight` is left to the caller.

    `points` is [n, variables] in problem units, inside the domain (`sample_points`); each reward maps encoded columns
    [m, width] to [m] or [m, 1]. With a temperature, `and` is a log-sum-exp at it instead of a sum. Data constants are
    detached. Raises BindingError B22 for a missing reward, B21 for a missing data constant, B23 for outputs of the
    wrong shape or not finite.
    """
    if temperature is not None and not temperature > 0:
        raise ValueError("the temperature must be positive")
    counting = premise_holds(obligation, rewards, points, statistics)
    reading = _Reading(rewards, points[counting], statistics or {}, temperature)
    violation = reading.violation(obligation.conclusion)
    # Rewards are not asked about other points at all: a NaN there would poison the gradient through any mask.
    return violation.new_zeros(len(points)).index_put((counting,), violation)


def premise_holds(
    obligation: Obligation,
    rewards: Mapping[str, RewardFunction],
    points: Tensor,
    statistics: Mapping[Statistic, Fraction | float | Tensor] | None = None,
) -> Tensor:
    """Which points count: indices (int64 [k], ascending) where structure, assumptions and premise hold.

    Over features the decision is exact, on the points as the rationals that they are. A premise that mentions a reward
    is decided by the floats that the reward returns.
    """
    premise = And((obligation.structure, obligation.assume, obligation.premise))
    if not mentions_rewards(premise):
        rows = points.detach().to("cpu", torch.float64).numpy()
        return torch.from_numpy(np.flatnonzero(truth_of_rows(premise, rows))).to(points.device)
    with torch.no_grad():
        return _Reading(rewards, points.detach(), statistics or {}, None).truth(premise).nonzero().reshape(-1)


def sample_points(obligation: Obligation, n: int, seed: int) -> Tensor:
    """Up to n points (float64 [found, variables]) to train or search on; see sampling.py."""
    return torch.from_numpy(sample_rows(obligation, n, seed))


class _Reading:
    """One evaluation; equal calls are made once (the cache is the only mutable part)."""

    def __init__(
        self,
        rewards: Mapping[str, RewardFunction],
        points: Tensor,
        statistics: Mapping[Statistic, Fraction | float | Tensor],
        temperature: float | None,
    ) -> None:
        self.rewards, self.points, self.statistics, self.temperature = rewards, points, statistics, temperature
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
                margin = self.term(term).detach()
                return margin > 0 if strict else margin >= 0

    def violation(self, formula: Formula) -> Tensor:
        """[n], 0 exactly where the formula holds."""
        match formula:
            case And(parts) if parts:
                violations = torch.stack([self.violation(part) for part in parts])
                return violations.sum(0) if self.temperature is None else soft_sum(violations, self.temperature)
            case Or(parts) if parts:
                return torch.stack([self.violation(part) for part in parts]).min(0).values
            case And():
                return self.points.new_zeros(len(self.points))
            case Or():
                return self.points.new_ones(len(self.points))  # false: broken, and nothing can be done about it
            case Atom(term, strict):
                margin = self.term(term)
                holds = margin > 0 if strict else margin >= 0
                broken = STRICT_MARGIN - margin if strict else -margin
                return torch.where(holds, torch.zeros_like(margin), broken)

    # ── terms ──
    def term(self, term: Term) -> Tensor:
        """[n]"""
        match term:
            case Const(constant):
                return self.points.new_full((len(self.points),), float(constant))
            case Var(index):
                return self.points[:, index]
            case Sum(terms):
                return torch.stack([self.term(t) for t in terms]).sum(0) if terms else self.term(Const(Fraction(0)))
            case Product(left, right):
                return self.term(left) * self.term(right)
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
                return self._constant(term)

    def _call(self, call: Call) -> Tensor:
        if call not in self.outputs:
            if call.reward not in self.rewards:
                raise BindingError("B22", f"no function is given for the reward {call.reward}", help="pass one by name")
            arguments = torch.stack([self.term(t) for t in call.arguments], dim=1)
            output = self.rewards[call.reward](arguments)
            if output.shape not in ((len(arguments),), (len(arguments), 1)):
                raise BindingError(
                    "B23",
                    f"{call.reward} returned shape {tuple(output.shape)} for {len(arguments)} records",
                    help="a reward returns one number per record",
                )
            output = output.reshape(-1).to(self.points.dtype)
            if not bool(torch.isfinite(output.detach()).all()):
                raise BindingError(
                    "B23", f"{call.reward} returned a number that is not finite", help="the training has diverged"
                )
            self.outputs[call] = output
        return self.outputs[call]

    def _constant(self, statistic: Statistic) -> Tensor:
        if statistic not in self.statistics:
            raise BindingError("B21", f"{statistic_text(statistic)} has no value", help="compute it first")
        known = self.statistics[statistic]
        value = float(known.detach()) if isinstance(known, Tensor) else float(known)
        return self.points.new_full((len(self.points),), value)

    def _full(self, value: bool) -> Tensor:
        return torch.full((len(self.points),), value, dtype=torch.bool, device=self.points.device)


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
