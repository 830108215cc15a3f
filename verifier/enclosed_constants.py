"""Data constants of smooth rewards: no rationals, but intervals as narrow as need be.

In a claim each stands as a variable of its own, anywhere in its interval (`executed_constants.with_constants`): so a
rule is proved for every value that the constant may have, on the side that is worst for each atom, and equal constants
stay equal. A witness is judged the other way round: what is true of it has to be true for all those values.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from rewarden.reward.artifact import Artifact
from rewarden.reward.statistics import statistic
from rewarden.spec_lang import Spec
from rewarden.spec_lang.evaluate import Enclosed
from rewarden.spec_lang.obligation import Obligation, Statistic
from rewarden.verifier.bind import check_reward, data_constants, statistics_of
from rewarden.verifier.executed_rows import ExecutedConstant


def enclosed_constants(
    spec: Spec, obligation: Obligation, rewards: Mapping[str, Artifact]
) -> dict[Statistic, ExecutedConstant]:
    """All data constants of the obligation, if one of them is of a smooth reward; else none. Raises as `bind`."""
    found = data_constants(obligation)
    for constant in found:
        check_reward(spec, constant.reward, rewards)
    if not any(rewards[constant.reward].smooth for constant in found):
        return {}
    intervals = {constant: _interval(spec, constant, rewards[constant.reward]) for constant in found}
    return {constant: ExecutedConstant((lo + hi) / 2, lo, hi) for constant, (lo, hi) in intervals.items()}


def constants_of(
    spec: Spec, obligation: Obligation, rewards: Mapping[str, Artifact]
) -> Mapping[Statistic, Fraction | Enclosed]:
    """The data constants, exactly or in an interval."""
    found = enclosed_constants(spec, obligation, rewards)
    if not found:
        return statistics_of(spec, obligation, rewards)
    return {s: c.lo if c.lo == c.hi else _fixed(c) for s, c in found.items()}


def _fixed(constant: ExecutedConstant) -> Enclosed:
    return Enclosed(lambda _: (constant.lo, constant.hi))


def _interval(spec: Spec, constant: Statistic, artifact: Artifact) -> tuple[Fraction, Fraction]:
    rows = spec.rows(constant.data).values
    if artifact.smooth:
        from rewarden.reward.enclosed_statistics import enclosed_statistic  # needs python-flint

        return enclosed_statistic(artifact, rows, constant.kind, constant.level)
    exact = statistic(artifact, rows, constant.kind, constant.level)
    return exact, exact
