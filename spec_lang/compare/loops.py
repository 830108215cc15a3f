"""Rules about loops of every length: does the one entail the other, and if not, which loop and rewards part them?

Both ask that Σ g over the moves of a loop is above 0 (or at least 0), for the loops that their relation, premise and
assumptions allow. `loop_proofs` shows that the one follows from the other, `loop_rewards` finds a loop and rewards
that show that it does not. Of few records `loop_graph` decides it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rewarden.spec_lang.compare.align import Aligned
from rewarden.spec_lang.compare.data import Matrix
from rewarden.spec_lang.compare.frame import Frame, Side
from rewarden.spec_lang.compare.loop_graph import decided
from rewarden.spec_lang.compare.loop_proofs import follows
from rewarden.spec_lang.compare.loop_rewards import parted
from rewarden.spec_lang.compare.loop_sums import LoopRule
from rewarden.spec_lang.compare.model import Entailment
from rewarden.spec_lang.compare.separate import Separation
from rewarden.spec_lang.compare.z3 import Budget


@dataclass(frozen=True, slots=True, eq=False)
class Loops:
    """Does the one rule entail the other? If not, rewards and a loop that show it."""

    status: Entailment
    separation: Separation | None = None


def loop_entails(
    frame: Frame,
    data: Mapping[str, Matrix],
    domains: Mapping[Side, Mapping[str, Aligned]],
    budget: Budget,
    rules: tuple[LoopRule, LoopRule],
) -> Loops:
    """Does the first rule entail the second?"""
    strong, weak = rules
    if follows(frame, data, budget, strong, weak):
        return Loops("proved")
    by_states = decided(frame, data, budget, strong, weak)
    if by_states == "proved":
        return Loops("proved")
    separation = parted(frame, data, domains[strong.parts[0].side], budget, strong, weak) or by_states
    return Loops("unknown") if separation is None else Loops("refuted", separation)
