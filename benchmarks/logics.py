"""Two published ways to make a loss of a logical rule, as baselines for the penalty: DL2's and a fuzzy logic.

Both translate the whole rule, premise → conclusion, into one number per point, so the premise is part of what the loss
trades off. They are read here from the same obligations and get as many points.

DL2 (Fischer et al., ICML 2019, table 1 and section 3): a loss >= 0 that is 0 iff the formula holds.

    t >= 0   max(−t, 0)          t > 0   max(−t, 0) + ξ·[t = 0]           a ∧ b   a + b          a ∨ b   a · b
    ¬ is pushed into the atoms, a → b is ¬a ∨ b

Fuzzy: the product t-norm with Reichenbach's implication, 1 − a + a·b, which van Krieken et al. (AIJ 2022) find to be
among the best for learning; a truth in 0 … 1, trained towards 1. An atom is the sigmoid of its margin over `width`, a
twentieth of what it can reach, or of `REWARD_WIDTH` where it speaks of a reward.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from rewarden.spec_lang.obligation import TRUE, And, Atom, Formula, Obligation, Or
from rewarden.spec_lang.penalty.reading import Reading
from rewarden.spec_lang.penalty.share import opposite
from rewarden.spec_lang.sampling.moves import float_value
from rewarden.spec_lang.sampling.points import Sampler
from rewarden.spec_lang.term_walk import mentions_rewards

XI = 1.0  # DL2's constant for a strict comparison that is met with equality
REWARD_WIDTH = 0.05  # of atoms about rewards: a tenth of the standard deviation of the driving reward
Logic = Callable[[Obligation, Reading], Tensor]


def premise_of(obligation: Obligation) -> Formula:
    """What the logics relax: everything but the one-hot structure of the encoding, which sampling keeps."""
    return And((obligation.assume, obligation.premise))


# ── DL2 ────────────────────────────────────────────────────────────────────────────────────────
def dl2(obligation: Obligation, reading: Reading) -> Tensor:
    """[n]: the loss of ¬premise ∨ conclusion."""
    return _dl2(Or((opposite(premise_of(obligation)), obligation.conclusion)), reading)


def _dl2(formula: Formula, reading: Reading) -> Tensor:
    match formula:
        case And(parts):
            return sum((_dl2(part, reading) for part in parts), reading.points.new_zeros(len(reading.points)))
        case Or(parts):
            product = reading.points.new_ones(len(reading.points))
            for part in parts:
                product = product * _dl2(part, reading)
            return product
        case Atom(term, strict):
            margin = reading.term(term)
            broken = torch.relu(-margin)
            return broken + XI * (margin == 0) if strict else broken


# ── fuzzy ──────────────────────────────────────────────────────────────────────────────────────
class Fuzzy:
    """Callable logic; `widths` are measured once per obligation on points of its boxes."""

    def __init__(self) -> None:
        self.widths: dict[int, Mapping[Atom, float]] = {}

    def __call__(self, obligation: Obligation, reading: Reading) -> Tensor:
        """[n]: 1 − truth of the rule."""
        if id(obligation) not in self.widths:
            self.widths[id(obligation)] = _widths(obligation)
        widths = self.widths[id(obligation)]
        premise = _fuzzy(premise_of(obligation), reading, widths)
        conclusion = _fuzzy(obligation.conclusion, reading, widths)
        return premise * (1.0 - conclusion)


def _fuzzy(formula: Formula, reading: Reading, widths: Mapping[Atom, float]) -> Tensor:
    one = reading.points.new_ones(len(reading.points))
    match formula:
        case And(parts):
            for part in parts:
                one = one * _fuzzy(part, reading, widths)
            return one
        case Or(parts):
            for part in parts:
                one = one * (1.0 - _fuzzy(part, reading, widths))
            return 1.0 - one
        case Atom(term):
            return torch.sigmoid(reading.term(term) / widths[formula])


def _widths(obligation: Obligation) -> dict[Atom, float]:
    rows = anywhere(obligation).draw(512, np.random.default_rng(0)).rows
    found = {}
    stack: list[Formula] = [premise_of(obligation), obligation.conclusion]
    while stack:
        match stack.pop():
            case And(parts) | Or(parts):
                stack.extend(parts)
            case Atom(term) as atom:
                spread = 0.0 if mentions_rewards(term) else float(np.ptp(float_value(term, rows))) / 20
                found[atom] = REWARD_WIDTH if mentions_rewards(term) else max(spread, 1e-6)
    return found


def anywhere(obligation: Obligation) -> Sampler:
    """Points of the whole domain, whatever the rule's premise and assumptions say."""
    return Sampler(replace(obligation, premise=TRUE, assume=TRUE), single=True)
