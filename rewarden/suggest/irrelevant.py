"""Features that a reward hardly reads: changing them and nothing else moves it by little, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.numerals import decimal
from rewarden.suggest.candidate import Candidate
from rewarden.suggest.friendly import above, share_text, short
from rewarden.suggest.scene import Subject
from rewarden.suggest.sweep import Sweep

LITTLE = 0.05  # of the reward's spread: the most that an irrelevant feature moves it
_SEPARATELY = 3  # irrelevant features up to which each gets a rule of its own
_MARGIN = 1.25  # what was seen is not the most that there is


def is_irrelevant(subject: Subject, sweep: Sweep) -> bool:
    """Does the feature move the reward by little, wherever it could be changed?"""
    return bool((sweep.valid.sum(axis=1) > 1).any()) and float(sweep.movement().max()) <= LITTLE * subject.spread


def irrelevant(subject: Subject, sweeps: Sequence[Sweep]) -> list[Candidate]:
    """A rule for each of a few features; one rule for all of many, since their effects may add up."""
    if not sweeps or subject.spread <= 0:
        return []
    if len(sweeps) <= _SEPARATELY:
        return [_candidate(subject, [sweep]) for sweep in sweeps]
    return [_candidate(subject, sweeps)]


def _candidate(subject: Subject, sweeps: Sequence[Sweep]) -> Candidate:
    a, b = subject.scene.fresh("a", "b")
    moved = sum(float(sweep.movement().max()) for sweep in sweeps)
    bound = _bound(subject, moved)
    free = int(np.logical_or.reduce([s.valid.sum(axis=1) > 1 for s in sweeps]).sum())
    stuck = f"; the assumptions let it change at {free} of {len(subject.base)} places looked at"
    features = [sweep.feature.name for sweep in sweeps]
    label = features[0] if len(features) == 1 else f"{len(features)}_features"
    shown = features[0] if len(features) == 1 else f"{', '.join(features[:3])} and {len(features) - 3} more"
    return Candidate(
        kind="irrelevant",
        name=f"{subject.prefix}ignores_{label}",
        title=f"{subject.reward} hardly depends on {shown}.",
        quantifier=f"forall {a}, {b}: {subject.record.name} varying {', '.join(features)}",
        given=None,
        expect=f"|{subject.reward}({a}) - {subject.reward}({b})| <= {decimal(bound)}",
        strength=1.0 - min(1.0, moved / subject.spread),
        names=(a, b),
        rows=_pairs(subject, sweeps),
        looked_at=f"pairs of rows of {subject.where()} that differ in {shown} alone",
        remarks=(
            f"changing {shown} moved {subject.reward} by {short(moved)} at most; {subject.reward} spreads over "
            f"{short(subject.spread)} ({share_text(round(1000 * moved / subject.spread), 1000)} of it)"
            + (stuck if free < len(subject.base) else ""),
        ),
    )


def _bound(subject: Subject, moved: float) -> Fraction:
    """A little more than was seen, and something where nothing was: a bound of 0 could not be proved."""
    return above(max(moved * _MARGIN, subject.spread / 1000))


def _pairs(subject: Subject, sweeps: Sequence[Sweep]) -> NDArray[np.float64] | None:
    """At each data row with several valid alternatives, those at which the reward is least and greatest."""
    pairs = []
    for sweep in sweeps:
        some = np.flatnonzero(sweep.valid[: subject.recorded].sum(axis=1) > 1)
        low = np.where(sweep.valid, sweep.scores, np.inf)[some].argmin(axis=1)
        high = np.where(sweep.valid, sweep.scores, -np.inf)[some].argmax(axis=1)
        pairs.append(np.stack([sweep.moved(subject, some, low), sweep.moved(subject, some, high)], axis=1))
    return np.concatenate(pairs) if sum(map(len, pairs)) else None
