"""Data constants of smooth rewards: no rationals, but intervals as narrow as need be.

In a claim each stands as a variable of its own, anywhere in its interval (`executed_constants.with_constants`): so a
rule is proved for every value that the constant may have, on the side that is worst for each atom, and equal constants
stay equal. A witness is judged the other way round: what is true of it has to be true for all those values.

Ends are rounded outward to multiples of 2^-64, far wider than the enclosures they come from: so whoever computes them
anew finds the same two numbers, and the same claim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

from rewarden.reward.artifact import Artifact
from rewarden.reward.statistics import statistic
from rewarden.spec_lang import Spec
from rewarden.spec_lang.claim import Claim, ClaimConstant
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.evaluate import Enclosed, statistic_text
from rewarden.spec_lang.obligation import Obligation, Statistic
from rewarden.verifier.bind import bind_obligation, check_reward, data_constants, statistics_of
from rewarden.verifier.executed_constants import with_constants
from rewarden.verifier.executed_rows import ExecutedConstant

GRID = 1 << 64
NARROW = Fraction(1, 1 << 60)  # an interval that is wider is of enclosures in binary64, which differ between machines


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


def bind_enclosed(
    spec: Spec, obligation: Obligation, rewards: Mapping[str, Artifact]
) -> tuple[Claim, dict[int, Fraction]]:
    """The claim of an obligation, and which of its variables are data constants, with a value of each.

    Such a variable is in no record. The claim is about the rewards of its constants, too, and lists both ends of each.
    Raises as `bind`.
    """
    found = enclosed_constants(spec, obligation, rewards)
    if not found:
        return bind_obligation(spec, obligation, rewards), {}
    named, values = with_constants(obligation, found)
    claim = bind_obligation(spec, named, rewards)
    about = {**dict(claim.rewards), **{s.reward: rewards[s.reward].digest for s in found}}
    ends = [
        ClaimConstant(f"{side} of {statistic_text(s)}", spec.rows(s.data).digest, value)
        for s, c in found.items()
        for side, value in (("lower end", c.lo), ("upper end", c.hi))
    ]
    return replace(claim, rewards=tuple(sorted(about.items())), constants=(*claim.constants, *ends)), values


def certifiable(claim: Claim, values: Mapping[int, Fraction]) -> bool:
    """Would the same claim be made on another machine?"""
    return all(hi - lo <= NARROW for lo, hi in (claim.boxes[0][k] for k in values))


def bind_alike(spec: Spec, obligation: Obligation, rewards: Mapping[str, Artifact]) -> Claim:
    """The claim, if it is certifiable. Raises as `bind`; Unsupported X24 where its constants are known too coarsely."""
    claim, values = bind_enclosed(spec, obligation, rewards)
    if not certifiable(claim, values):
        raise Unsupported("X24", f"{claim.rule}: {COARSE}", help="a constant of fewer rows has a claim")
    return claim


COARSE = "a mean of a smooth reward over so many rows is not known closely enough for a claim"


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

        lo, hi = enclosed_statistic(artifact, rows, constant.kind, constant.level)
        return Fraction(floor(lo * GRID), GRID), Fraction(ceil(hi * GRID), GRID)
    exact = statistic(artifact, rows, constant.kind, constant.level)
    return exact, exact
