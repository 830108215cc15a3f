"""How far a conclusion fails at a witness, as it is written.

A claim's goals are clauses, and clauses leave out atoms that are never true: of `max(R(s), 0) > 0` only `R(s) > 0` is
left. So the margin of a goal's best atom can be further from 0 than the conclusion is. The obligation has it all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction

from rewarden.reward.artifact import Artifact
from rewarden.reward.exact import evaluate
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.evaluate import Point, margin
from rewarden.spec_lang.obligation import Obligation, Statistic
from rewarden.verifier.witness import Witness


def measured(
    witness: Witness | None,
    obligation: Obligation,
    artifacts: Mapping[str, Artifact],
    statistics: Callable[[], Mapping[Statistic, Fraction]],
) -> Witness | None:
    """The witness of a violation over the reals with its shortfall; as it is where that is no rational number."""
    if witness is None or witness.goal is None:
        return witness

    def call(reward: str, arguments: tuple[Fraction, ...]) -> Fraction:
        return evaluate(artifacts[reward], arguments)

    try:
        found = margin(obligation.conclusion, Point(witness.point, call, statistics().__getitem__))
    except Unsupported:
        return witness
    return replace(witness, shortfall=-found)
