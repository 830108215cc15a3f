"""Directions: as one number grows and nothing else changes, the reward never falls, or never rises.

Looked for on consecutive counterfactual values of the feature, at data rows and at points of the domain. A direction
that holds for most of them is suggested as it is, with its figures; one that holds in a part of the domain only is
suggested for that part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarden.suggest.candidate import Candidate
from rewarden.suggest.conditions import Condition, Parts, parts_of_itself
from rewarden.suggest.scene import Rows, Subject
from rewarden.suggest.sweep import Sweep

MOSTLY = 0.9  # share of pairs from which a direction is worth an expert's look
LOOSE = 0.25  # of the spread: a direction that is loosened further says nothing
IN_PART = 0.98  # share within a part of the domain
GAIN = 0.03  # by which a part must do better than the whole
LEAST_PAIRS = 20  # on which the reward moves, for their share to count
SUPPORT = 0.1  # share of the pairs that a part must hold
_ROUNDING = 1e-12  # of the reward's size: what float64 may make of a tie


@dataclass(frozen=True, slots=True, eq=False)
class _Steps:
    """Consecutive alternatives, [row, step]: where the reward rises, where it falls, and whether both ends are
    possible. The first `recorded` rows are data. Where a reward is flat it has every direction, and none: flat steps
    count for neither."""

    up: NDArray[np.bool_]
    down: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    recorded: int

    def share(self, sign: int) -> float:
        """Of the steps on which the reward moves, those that go in a direction: the lower of the shares among data and
        among points of the domain."""
        return float(self.shares(sign, np.ones((1, len(self.valid)), np.bool_))[0])

    def shares(self, sign: int, parts: NDArray[np.bool_]) -> Rows:
        """The same in each of some parts of the rows, bool [part, row]."""
        along = self.up if sign > 0 else self.down
        lowest = np.full(len(parts), np.inf)
        for half in (slice(None, self.recorded), slice(self.recorded, None)):
            weights = parts[:, half].astype(np.float64)
            moving = weights @ (self.up | self.down)[half].sum(axis=1)
            held = weights @ along[half].sum(axis=1)
            enough = moving >= LEAST_PAIRS
            lowest = np.where(enough, np.minimum(lowest, held / np.maximum(moving, 1)), lowest)
        return np.where(np.isfinite(lowest), lowest, 0.0)

    def sizes(self, parts: NDArray[np.bool_]) -> Rows:
        """The share of the possible steps that lies in each part."""
        sizes: Rows = parts.astype(np.float64) @ self.valid.sum(axis=1) / max(1, int(self.valid.sum()))
        return sizes

    def only(self, steps: NDArray[np.bool_]) -> _Steps:
        """Some of the steps, bool [step]."""
        return _Steps(self.up & steps, self.down & steps, self.valid & steps, self.recorded)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A direction, and the part of the domain in which it holds: a condition and its steps, [row, step]."""

    sign: int
    share: float
    inside: NDArray[np.bool_]
    condition: Condition | None = None


def monotone(subject: Subject, sweep: Sweep, parts: Parts) -> Candidate | None:
    """The direction of a number or a bool; None where there is none worth an expert's time."""
    feature = sweep.feature
    if feature.is_vector or feature.kind == "enum" or len(sweep.alternatives) < 2:
        return None
    tie = _ROUNDING * max(1.0, float(np.abs(sweep.scores).max()))
    change, valid = np.diff(sweep.scores, axis=1), sweep.valid[:, 1:] & sweep.valid[:, :-1]
    steps = _Steps((change > tie) & valid, (change < -tie) & valid, valid, subject.recorded)
    share, sign = max((steps.share(sign), sign) for sign in (1, -1))
    if share >= MOSTLY:
        return _candidate(subject, sweep, _Found(sign, share, valid))
    found = _best_part(sweep, steps, parts, share)
    return None if found is None else _candidate(subject, sweep, found)


def _best_part(sweep: Sweep, steps: _Steps, parts: Parts, share: float) -> _Found | None:
    """The largest part of the domain in which a direction does hold."""
    wanted = max(IN_PART, share + GAIN)
    found: list[tuple[float, _Found]] = []
    for sign in (1, -1):
        shares, sizes = steps.shares(sign, parts.holds), steps.sizes(parts.holds)
        for k in np.flatnonzero((shares >= wanted) & (sizes >= SUPPORT)):
            condition = parts.conditions[k]
            if condition.feature != sweep.feature.name:
                inside = steps.valid & parts.holds[k][:, None]
                found.append((float(sizes[k]), _Found(sign, float(shares[k]), inside, condition)))
    itself = parts_of_itself(sweep)
    for condition, holds in zip(itself.conditions, itself.holds, strict=True):
        some = steps.only(holds)
        size = int(some.valid.sum()) / max(1, int(steps.valid.sum()))
        part_share, sign = max((some.share(sign), sign) for sign in (1, -1))
        if size >= SUPPORT and part_share >= wanted:
            found.append((size, _Found(sign, part_share, some.valid, condition)))
    return max(found, key=lambda entry: entry[0])[1] if found else None


def _candidate(subject: Subject, sweep: Sweep, found: _Found) -> Candidate:
    feature, reward, part = sweep.feature, subject.reward, found.condition
    a, b = subject.scene.fresh("a", "b")
    given = f"not {a}.{feature.name} and {b}.{feature.name}"
    if feature.kind != "bool":
        given = f"{a}.{feature.name} <= {b}.{feature.name}"
    rises = found.sign > 0
    name, where = f"{subject.prefix}{'rises' if rises else 'falls'}_with_{feature.name}", ""
    if part is not None:
        given, where = f"{given} and {part.text.format(a=a, b=b)}", f" where {part.words}"
        name += f"_where_{part.feature}" if part.feature != feature.name else "_in_part"
    change = f"when {feature.name} comes true" if feature.kind == "bool" else f"as {feature.name} grows"
    expect = f"{reward}({a}) {'<=' if rises else '>='} {reward}({b})"
    return Candidate(
        kind="monotone",
        name=name,
        title=f"{reward} never {'falls' if rises else 'rises'} {change}{where}.",
        quantifier=f"forall {a}, {b}: {subject.record.name} varying {feature.name}",
        given=given,
        expect=expect,
        strength=_strength(subject, sweep, found),
        names=(a, b),
        rows=_pairs(subject, sweep, found),
        looked_at=f"pairs of rows of {subject.where()} that differ in {feature.name} alone",
        slack=f"{expect} {'+' if rises else '-'} {{}}",
        slack_worth=LOOSE * subject.spread,
    )


def _strength(subject: Subject, sweep: Sweep, found: _Found) -> float:
    """How well it holds, times how much the feature matters; half for a part of the domain."""
    effect = min(1.0, float(sweep.movement().mean()) / subject.spread)
    return found.share**4 * effect * (1.0 if found.condition is None else 0.5)


def _pairs(subject: Subject, sweep: Sweep, found: _Found) -> NDArray[np.float64] | None:
    """Consecutive counterfactuals at the data rows, as pairs [n, 2, width]."""
    row, step = np.nonzero(found.inside[: subject.recorded])
    if not len(row):
        return None
    return np.stack([sweep.moved(subject, row, step), sweep.moved(subject, row, step + 1)], axis=1)
