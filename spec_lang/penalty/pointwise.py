"""The penalty reading: how much a rule is broken at given points, as a differentiable torch term.

Per point the penalty is 0 where the premise fails (decided exactly, never relaxed) or the conclusion holds, and > 0
otherwise; wherever it is > 0, and some reward could do better, its gradient with respect to the rewards' outputs is
not 0 (penalty_violation.py says why). This is one obligation at points in hand; `penalties` is a whole spec with
points of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.spec_lang.obligation import And, Formula, Obligation
from rewarden.spec_lang.penalty.program import compile_penalty, prepare
from rewarden.spec_lang.penalty.reading import STRICT_MARGIN as STRICT_MARGIN
from rewarden.spec_lang.penalty.reading import Reading, RewardFunction, StatisticValues, asking
from rewarden.spec_lang.penalty.violation import Mode, violation
from rewarden.spec_lang.sampling.points import mentions_rewards, sample_rows


def penalty(
    obligation: Obligation,
    rewards: Mapping[str, RewardFunction],
    points: Tensor,
    temperature: float | None = None,
    statistics: StatisticValues | None = None,
    margin: float = 0.0,
) -> Tensor:
    """Violation per point, [n], in the units of the rule; the rule's `weight` is left to the caller.

    `points` is [n, variables] in problem units, inside the domain (`sample_points`); each reward maps encoded columns
    [m, width], of the points' dtype, to [m] or [m, 1]. With a temperature, `and` is a log-sum-exp at it instead of a
    sum; with a margin, atoms about rewards count as met from there on. Data constants are detached. Raises
    BindingError B22 for a missing reward, B21 for a missing data constant, B23 for outputs of the wrong shape or not
    finite.
    """
    require_positive(temperature)
    known = statistics or {}
    counting = premise_holds(obligation, rewards, points, known)
    # Rewards are not asked about other points at all: a NaN there would poison the gradient through any mask.
    prepared = prepare(compile_penalty(obligation, points.device), points[counting].to(torch.float64))
    ask = asking(rewards, points.dtype)
    outputs = [ask(call.reward, rows) for call, rows in zip(prepared.program.calls, prepared.arguments, strict=True)]
    stacked = torch.stack(outputs) if outputs else prepared.points.new_zeros((0, len(counting)))
    found = violation(prepared, stacked, Mode(ask, known, temperature, margin)).to(points.dtype)
    return found.new_zeros(len(points)).index_put((counting,), found)


def premise_holds(
    obligation: Obligation,
    rewards: Mapping[str, RewardFunction],
    points: Tensor,
    statistics: StatisticValues | None = None,
) -> Tensor:
    """Which points count: indices (int64 [k], ascending) where structure, assumptions and premise hold.

    Over features the decision is exact, on the points as the rationals that they are. A premise that mentions a reward
    is decided by the floats that the reward returns.
    """
    premise = what_counts(obligation)
    if not mentions_rewards(premise):
        rows = points.detach().to("cpu", torch.float64).numpy()
        return torch.from_numpy(np.flatnonzero(truth_of_rows(premise, rows))).to(points.device)
    with torch.no_grad():
        ask = asking(rewards, points.dtype)
        return Reading(points.detach().to(torch.float64), ask, statistics or {}).truth(premise).nonzero().reshape(-1)


def what_counts(obligation: Obligation) -> Formula:
    """What a point of the domain has to satisfy for the rule to say something about it."""
    return And((obligation.structure, obligation.assume, obligation.premise))


def sample_points(obligation: Obligation, n: int, seed: int) -> Tensor:
    """Up to n points (float64 [found, variables]) to train or search on; see sampling.py."""
    return torch.from_numpy(sample_rows(obligation, n, seed))


def require_positive(temperature: float | None) -> None:
    if temperature is not None and not temperature > 0:
        raise ValueError("the temperature must be positive")
