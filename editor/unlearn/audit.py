"""What an outsider can still tell: the gap to an oracle that never saw the rows, and an attack on membership.

An audit is a test, which a road that does nothing has to fail (`faults`). The exact road fails it unless the oracle has
the same tensors. The approximate one fails it unless it came closer to the oracle. An oracle of a head has other noise,
so that being near it says nothing; but the gradients of a head's loss before and after are the same noise twice, up to
what the budget was charged, and that is looked at. Any road fails it whose forgotten rows are found by the attack.

The attack is LiRA (Carlini et al., IEEE S&P 2022): shadow rewards are learned from random halves of the data; for each
row, what the shadows that saw it and those that did not say about it makes two normal distributions; the score of the
audited reward is the log-ratio of the two. It is made per row, on the forgotten rows against rows that nobody learned
from, and told as the share of forgotten rows found where few strangers are taken for them. An average over all rows
would say less than it seems to. Whether that is more than chance is told by shuffling who was forgotten and who is a
stranger: if the reward never saw either, any such order is as likely as any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import comb

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.agreement import random_rows
from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.learners.interface import Comparisons, Demonstrations
from rewarden.reward.learners.shards import Data, length, taken
from rewarden.spec_lang.errors import DataError, EditError

Array = NDArray[np.float64]
Fit = Callable[[Data, int], Artifact]  # data and seed
FALSE_ALARMS = 0.05
CHANCE = 0.01  # what the shuffles must reach for rows to count as found
SHUFFLES = 10_000
DRAWN = 4096  # records of the domain, that demonstrations are held against


@dataclass(frozen=True, slots=True)
class Gap:
    """Rewards against the oracle's, on the data with the forgotten rows: how far they differ (largest and mean, in
    reward units), once means are taken off where the reward is known up to a shift; `equal`: the same tensors, byte for
    byte."""

    equal: bool
    largest: float
    mean: float


@dataclass(frozen=True, slots=True)
class Attack:
    """`auc` 0.5 is a coin. `found`: the share of forgotten rows told at a share of false alarms of at most 5 %.
    `chance`: how often a reward that never saw the rows would give that `auc` or more; `least`: the smallest that it
    can be with so few rows."""

    rows: int
    strangers: int
    shadows: int
    auc: float
    found: float
    chance: float
    least: float

    @property
    def succeeds(self) -> bool:
        return self.chance <= CHANCE


@dataclass(frozen=True, slots=True)
class Audit:
    """`gap` of the child, `gap_before` of the artifact. `retained`: share of the rows that stay which the reward gets
    right, before and after: pairs and rankings that are in order (ties aside), labels in order with the next one of
    another size, demonstrations worth more than a record drawn from the domain; None where the data ask no question.
    No attacks without rows that nobody learned from. `faults`: in which ways the test has failed; `notes`: what it
    could not tell."""

    gap: Gap
    gap_before: Gap
    before: Attack | None
    after: Attack | None
    retained: tuple[float, float] | None
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def gap(one: Artifact, oracle: Artifact, data: Data) -> Gap:
    rewards, others = (_rewards(artifact, data) for artifact in (one, oracle))
    apart = rewards - others
    if oracle.identified != "exact":
        apart = apart - apart.mean()
    apart = np.abs(apart)
    return Gap(one.tensors_bytes == oracle.tensors_bytes, float(apart.max()), float(apart.mean()))


def faults(road: str, gaps: tuple[Gap, Gap], after: Attack | None, residue: tuple[float, float] | None) -> list[str]:
    """`gaps` of the artifact and of the child; `residue` of a head (`learners/head.py`): what is left of the gradient,
    and what the budget was charged for it; None where it was learned anew."""
    before, now = gaps
    found = []
    if road == "exact" and not now.equal:
        found.append("the oracle that never saw the rows has other tensors")
    if road == "approximate" and not now.equal and not now.mean < before.mean:
        found.append(
            f"it is no closer to an oracle that never saw the rows: {now.mean:.6g} off, {before.mean:.6g} before"
        )
    if residue is not None and not residue[0] <= residue[1]:
        found.append(f"a gradient of {residue[0]:.6g} is left of the rows, the budget was charged for {residue[1]:.6g}")
    if after is not None and after.succeeds:
        found.append(f"the attack still finds the forgotten rows: AUC {after.auc:.3f}, by chance {after.chance:.2g}")
    return found


def notes(before: Attack | None) -> list[str]:
    """Where an attack shows nothing."""
    if before is None:
        return ["membership was not attacked: give rows that nobody learned from with --strangers"]
    if before.least > CHANCE:
        return [
            f"{before.rows} forgotten rows and {before.strangers} strangers are too few: whatever the attack finds may "
            "be chance"
        ]
    if not before.succeeds:
        return ["the attack does not find the rows before they are forgotten: that it does not after shows nothing"]
    return []


def retained(before: Artifact, after: Artifact, kept: Data) -> tuple[float, float] | None:
    found = [_right(artifact, kept) for artifact in (before, after)]
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def attack(artifact: Artifact, gone: Data, strangers: Data, scores: tuple[Array, NDArray[np.bool_]]) -> Attack:
    """`scores` [shadow, row] and whether each shadow saw each row, over the rows of `gone` and then `strangers`."""
    said, seen = scores
    target = np.concatenate([score(artifact, gone), score(artifact, strangers)])
    ratio = np.array([_ratio(target[k], said[seen[:, k], k], said[~seen[:, k], k]) for k in range(len(target))])
    inside, outside = ratio[: length(gone)], ratio[length(gone) :]
    above = (inside[:, None] > outside[None, :]).mean() + 0.5 * (inside[:, None] == outside[None, :]).mean()
    limit = np.sort(outside)[::-1][int(FALSE_ALARMS * len(outside))]
    sizes = (len(inside), len(outside))
    least = 1 / comb(sum(sizes), sizes[0])
    return Attack(*sizes, len(said), float(above), float((inside > limit).mean()), _chance(ratio, len(inside)), least)


def _chance(ratio: Array, count: int) -> float:
    """How often the first `count` have such ranks, or greater ones, if they are any of all rows."""
    order = np.sort(ratio)
    ranks = np.searchsorted(order, ratio, side="left") + np.searchsorted(order, ratio, side="right")
    generator, reached = np.random.default_rng(0), 0
    for _ in range(SHUFFLES):
        reached += int(generator.permutation(ranks)[:count].sum() >= ranks[:count].sum())
    return (1 + reached) / (1 + SHUFFLES)


def shadows(
    fit: Fit, kept: Data, gone: Data, strangers: Data, count: int, progress: Callable[[int], None]
) -> tuple[Array, NDArray[np.bool_]]:
    """Scores of shadow rewards, each learned from a random half of all rows, and which rows each of them saw. EditError
    E25 where half of the rows are too few to learn from."""
    from rewarden.editor.unlearn.joined import joined

    every = joined([gone, strangers, kept])
    targets = length(gone) + length(strangers)
    generator = np.random.default_rng(0)
    said, seen = np.zeros((count, targets)), np.zeros((count, targets), np.bool_)
    half = np.zeros((count, targets), np.bool_)
    for row in range(targets):  # each target is seen by exactly half of the shadows
        half[generator.permutation(count)[: count // 2], row] = True
    probes = taken(every, np.arange(targets))
    for k in range(count):
        others = targets + np.flatnonzero(generator.random(length(kept)) < 0.5)
        rows = np.concatenate([np.flatnonzero(half[k]), others])
        try:
            shadow = fit(taken(every, rows.astype(np.int64)), k + 1)
        except DataError as error:
            raise EditError(
                "E25",
                f"a shadow for the attack cannot be learned from a random half of the rows: {error.message}",
                help="leave --strangers out: --audit alone compares with an oracle",
            ) from None
        said[k], seen[k] = score(shadow, probes), half[k]
        progress(k + 1)
    return said, seen


def score(artifact: Artifact, data: Data) -> Array:
    """How well each row is known: a pair's (or a ranking's least) margin, a demonstration's reward, minus the squared
    error of a label."""
    rewards = _rewards(artifact, data)
    if isinstance(data, Comparisons):
        sums = rewards.reshape(data.segments.shape[:3]).sum(axis=2)
        margins = sums[:, :-1] - sums[:, 1:]
        if data.places is not None:
            margins[np.arange(margins.shape[1])[None, :] >= (data.places - 1)[:, None]] = np.inf
        return np.asarray(margins.min(axis=1))
    if isinstance(data, Demonstrations):
        return rewards
    return np.asarray(-((rewards - data.labels) ** 2))


def _right(artifact: Artifact, data: Data) -> float | None:
    if isinstance(data, Comparisons):
        asked = np.ones(len(data.segments), np.bool_) if data.ties is None else ~data.ties
        return float((score(artifact, data)[asked] > 0).mean()) if asked.any() else None
    if isinstance(data, Demonstrations):
        drawn = random_rows([data.record.type], DRAWN, 0).astype(np.float64)
        whole = data.rows[np.isfinite(data.rows).all(axis=1)]
        if not len(whole):
            return None
        shown, others = (_rewards(artifact, replace(data, rows=rows)) for rows in (whole, drawn))
        return float(np.searchsorted(np.sort(others), shown).mean()) / DRAWN
    order = np.random.default_rng(0).permutation(len(data.rows))  # a table may be sorted
    apart, moved = np.diff(data.labels[order]), np.diff(_rewards(artifact, data)[order])
    return float((apart * moved > 0)[apart != 0].mean()) if (apart != 0).any() else None


def _rewards(artifact: Artifact, data: Data) -> Array:
    rows = data.segments.reshape(-1, data.record.type.width) if isinstance(data, Comparisons) else data.rows
    return forward(artifact, np.nan_to_num(rows).astype(np.float32)).astype(np.float64)


def _ratio(value: float, inside: Array, outside: Array) -> float:
    """ln N(value; inside) − ln N(value; outside), with a floor on the spreads."""
    floor = 1e-6 + 0.05 * float(np.concatenate([inside, outside]).std())
    found = 0.0
    for sign, sample in ((1.0, inside), (-1.0, outside)):
        spread = max(float(sample.std()), floor)
        found += sign * (-0.5 * ((value - float(sample.mean())) / spread) ** 2 - float(np.log(spread)))
    return found
