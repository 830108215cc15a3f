"""Caps near incidents: what resembles a recorded incident is worth no more than an ordinary moment."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np

from rewarden.spec_lang.numerals import decimal
from rewarden.suggest.candidate import Candidate
from rewarden.suggest.scene import DataRows, Rows, Subject, score

LEVELS = (Fraction(1, 20), Fraction(1, 10), Fraction(1, 4), Fraction(1, 2))  # quantiles of ordinary data, as a cap
MEDIAN = Fraction(1, 2)
OWN = Fraction(9, 10)  # the quantile of the incidents themselves, where there is nothing else to compare with
ENOUGH = 0.95  # of the rows must be under a cap for it to be the tightest that is suggested
NEAR = 1  # percent of each range


def near_incidents(subject: Subject) -> list[Candidate]:
    """A cap around each data set of incidents: the tightest level of ordinary data that most of its rows are under."""
    if not any(feature.kind in ("real", "int") for feature in subject.record.features):
        return []
    return [_near(subject, data) for data in subject.rows if data.incident and data.single]


def _near(subject: Subject, data: DataRows) -> Candidate:
    (x,) = subject.scene.fresh("x")
    scores = score(subject.artifact, data.values)
    cap = cap_of(subject, data, scores)
    return Candidate(
        kind="cap",
        name=f"{subject.prefix}capped_near_{data.name.replace('.', '_')}",
        title=f"Whatever resembles {data.name} is worth no more than {cap.words}.",
        quantifier=f"forall {x}: {subject.record.name} near {data.name} within {NEAR} %",
        given=None,
        expect=f"{subject.reward}({x}) <= {cap.text}",
        strength=1.0,
        looked_at=f"rows of {data.name}",
    )


@dataclass(frozen=True, slots=True)
class Cap:
    """A level that a rule compares with: a data constant, so that no shift or scaling of the reward changes it."""

    value: float
    text: str
    words: str


def _cap(subject: Subject, data: DataRows, level: Fraction) -> Cap:
    scores = np.sort(score(subject.artifact, data.values))
    rank = max(1, ceil(level * len(scores)))
    words = "the median" if level == MEDIAN else f"the {decimal(level * 100)} % quantile"
    text = f"quantile({subject.reward}({data.name}), {decimal(level)})"
    return Cap(float(scores[rank - 1]), text, f"{words} of {data.name}")


def cap_of(subject: Subject, incidents: DataRows, scores: Rows) -> Cap:
    """The tightest cap that `ENOUGH` of the scores are under, and the median where none is: what is above an ordinary
    moment is what an expert should see."""
    if not subject.references:
        return _cap(subject, incidents, OWN)
    caps = [_cap(subject, subject.references[0], level) for level in LEVELS]
    return next((cap for cap in caps if np.mean(scores <= cap.value) >= ENOUGH), caps[-1])
