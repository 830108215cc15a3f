"""How far apart two rewards are, whatever policies they would make: EPIC and DARD.

Both shape each reward canonically, so that rewards which differ by potential shaping γΦ(s′) − Φ(s) become equal, and
then take Pearson's distance √((1 − ρ)/2) over steps (s, a, s′), which a positive factor or a shift does not change. It
is 0 for rewards that are equal in this sense, 1 for opposite ones, about 0.71 for unrelated ones.

EPIC (Gleave et al., Quantifying Differences in Reward Functions, ICLR 2021, definitions 4.1 to 4.6), A and S′
independent of each other and of the step:

    C(R)(s, a, s′) = R(s, a, s′) + E[ γR(s′, A, S′) − R(s, A, S′) − γR(S, A, S′) ]

DARD (Wulfe et al., Dynamics-Aware Comparison of Learned Reward Functions, ICLR 2022, definition 1), A independent,
S′ ~ T(s, A) and S″ ~ T(s′, A), so that rewards are only asked about steps that can happen:

    C(R)(s, a, s′) = R(s, a, s′) + E[ γR(s′, A, S″) − R(s, A, S′) − γR(S′, A, S″) ]

What is sampled, exactly. Steps (s, a, s′): all that are given, or `count` of them without replacement. EPIC's
expectations: means over one sample of `canonical` pairs (A, S′), A among the steps' actions and S′ among their next
states, drawn independently, the same for every step and both rewards; the last expectation is a constant, which the
correlation does not see, and is left out. DARD's: means over `canonical_dard` triples of its own for each step,
more where steps are few: `TRIPLES` in all. T is what followed one of the `NEIGHBOURS` recorded steps nearest to (s, A)
by Gower's distance: its change is added to s and clipped to the ranges; discrete features are taken over. So DARD is
under that model of the recorded world.
For a reward of the state alone E[γR(s′) − R(s)] cancels R(s): C(R) = γR(s′) + a constant (EPIC).

The interval is a bootstrap's: 95 % of the distances from `bootstraps` resamples of steps and, for EPIC, of the
canonical pairs, all with replacement. It counts steps as independent: it is too short for those that follow each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.judging.transitions import Roles, Steps, values
from rewarden.reward.learners.interface import Array
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.features import RecordType

NEIGHBOURS = 8
POOL = 4096  # recorded steps that neighbours are looked for among
CELLS = 2**22
TRIPLES = 2**13  # of DARD, over all steps


@dataclass(frozen=True, slots=True, kw_only=True)
class DistanceOptions:
    discount: float = 0.99
    count: int = 2048  # steps
    canonical: int = 256  # pairs (A, S′) of EPIC
    canonical_dard: int = 16  # triples for each step, at the least
    bootstraps: int = 400
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.discount <= 1.0:
            raise UsageError("G12", f"a discount of {self.discount} makes no sense", help="give one above 0, up to 1")


@dataclass(frozen=True, slots=True)
class Distance:
    """A distance with its interval, and over what it was measured."""

    name: str
    value: float
    low: float
    high: float
    steps: int
    canonical: int
    source: str

    def to_json(self) -> dict[str, Any]:
        return {
            "distance": self.value,
            "bootstrap_95": [self.low, self.high],
            "steps": self.steps,
            "canonical": self.canonical,
            "over": self.source,
        }

    def text(self) -> str:
        return f"{self.name} {self.value:.4f} (95 %, bootstrap: {self.low:.4f} to {self.high:.4f})"


def epic(one: Artifact, other: Artifact, roles: Roles, steps: Steps, options: DistanceOptions) -> Distance:
    """EPIC's distance. Raises UsageError G35 for rewards of other records, or a reward that is constant there."""
    require_alike(one, other)
    rng = np.random.default_rng(options.seed)
    steps = _some(steps, options.count, rng)
    drawn = 1 if roles.state_only else options.canonical
    actions = steps.actions(roles)[rng.integers(0, len(steps), drawn)]
    nexts = steps.after[rng.integers(0, len(steps), drawn)]
    shaped = [_epic_parts(artifact, roles, steps, actions, nexts, options.discount) for artifact in (one, other)]
    means = [base + spread.mean(axis=1) for base, spread in shaped]
    found = _pearson(*means)
    resampled = []
    for _ in range(options.bootstraps):
        rows = rng.integers(0, len(steps), len(steps))
        counts = np.bincount(rng.integers(0, drawn, drawn), minlength=drawn) / drawn
        again = [(base + spread @ counts)[rows] for base, spread in shaped]
        resampled.append(_pearson(*again, strict=False))
    return _distance("EPIC", found, resampled, len(steps), 0 if roles.state_only else drawn, steps.source)


def dard(one: Artifact, other: Artifact, roles: Roles, steps: Steps, options: DistanceOptions) -> Distance:
    """DARD's distance, under the nearest-neighbour model of the recorded steps. Raises UsageError G35 as `epic`, and
    where the steps were not recorded."""
    require_alike(one, other)
    if not steps.recorded:
        raise UsageError("G35", "DARD needs recorded steps", help="name a table with episode and step, or segments")
    rng = np.random.default_rng(options.seed)
    world = _World(roles, _some(steps, POOL, rng))
    steps = _some(steps, options.count, rng)
    count = len(steps)
    drawn = max(options.canonical_dard, TRIPLES // count)
    actions = steps.actions(roles)[rng.integers(0, count, count * drawn)]
    before, after = steps.before.repeat(drawn, axis=0), steps.after.repeat(drawn, axis=0)
    first, second = world.follow(before, actions, rng), world.follow(after, actions, rng)
    shaped = []
    for artifact in (one, other):
        g = options.discount
        if roles.state_only:
            here = g * values(artifact, roles, steps.after, steps.actions(roles), steps.after)
            spread = -g * values(artifact, roles, first, actions, second)
        else:
            here = values(artifact, roles, steps.before, steps.actions(roles), steps.after)
            spread = (
                g * values(artifact, roles, after, actions, second)
                - values(artifact, roles, before, actions, first)
                - g * values(artifact, roles, first, actions, second)
            )
        shaped.append(here + spread.reshape(count, drawn).mean(axis=1))
    found = _pearson(*shaped)
    picks = (rng.integers(0, count, count) for _ in range(options.bootstraps))
    resampled = [_pearson(*(c[rows] for c in shaped), strict=False) for rows in picks]
    return _distance(
        "DARD", found, resampled, count, drawn, f"{steps.source}; what follows from {NEIGHBOURS} neighbours"
    )


def require_alike(one: Artifact, other: Artifact) -> None:
    """UsageError G35 unless both read the same records."""
    if [record.type.features for record in one.records] != [record.type.features for record in other.records]:
        raise UsageError(
            "G35", "the two rewards read different records", help="compare rewards with the same features, ranges too"
        )


# ── canonical shaping ──────────────────────────────────────────────────────────────────────────
def _epic_parts(
    artifact: Artifact, roles: Roles, steps: Steps, actions: Array, nexts: Array, discount: float
) -> tuple[Array, Array]:
    """What does not depend on the canonical sample [step], and what does [step, pair]."""
    if roles.state_only:
        after = values(artifact, roles, steps.after, steps.actions(roles), steps.after)
        return discount * after, np.zeros((len(after), 1))
    here = values(artifact, roles, steps.before, steps.actions(roles), steps.after)
    spread = np.empty((len(steps), len(actions)))
    size = max(1, CELLS // max(1, len(actions) * steps.before.shape[1]))
    for start in range(0, len(steps), size):
        part = slice(start, start + size)
        rows = len(steps.before[part])
        a, n = np.tile(actions, (rows, 1)), np.tile(nexts, (rows, 1))
        late, early = (
            values(artifact, roles, states[part].repeat(len(actions), axis=0), a, n)
            for states in (steps.after, steps.before)
        )
        spread[part] = (discount * late - early).reshape(rows, len(actions))
    return here, spread


class _World:
    """T: what follows a state and an action, by what followed the nearest recorded ones."""

    def __init__(self, roles: Roles, steps: Steps) -> None:
        self.steps, self.roles = steps, roles
        kinds = (roles.kind, *roles.between)
        self.weights = np.concatenate([_weights(kind) for kind in kinds])
        self.known = np.concatenate([steps.before, steps.extra], axis=1) * self.weights

    def follow(self, states: Array, actions: Array, rng: np.random.Generator) -> Array:
        """Next states [n, width]."""
        own = int(self.roles.acts.sum())
        asked = states.copy()
        asked[:, self.roles.acts] = actions[:, :own]
        asked = np.concatenate([asked, actions[:, own:]], axis=1) * self.weights
        near = min(NEIGHBOURS, len(self.known))
        chosen = np.empty(len(states), np.intp)
        pick = rng.integers(0, near, len(states))
        size = max(1, CELLS // self.known.size)
        for start in range(0, len(states), size):
            part = slice(start, start + size)
            apart = np.abs(asked[part, None, :] - self.known[None, :, :]).sum(axis=2)
            nearest = np.argpartition(apart, near - 1, axis=1)[:, :near]
            nearest = np.sort(nearest, axis=1)  # an order that does not depend on how the partition went
            chosen[part] = nearest[np.arange(len(nearest)), pick[part]]
        moved = states + self.steps.after[chosen] - self.steps.before[chosen]
        discrete, lo, hi = _columns(self.roles.kind)
        return np.where(discrete, self.steps.after[chosen], np.clip(moved, lo, hi))


def _weights(kind: RecordType) -> Array:
    """What a difference of 1 in a column counts: the mean over the features of their differences relative to the range,
    a case counting 1 (two columns differ)."""
    found = []
    for feature in kind.features:
        span = float(feature.hi - feature.lo)
        one = 0.5 if feature.kind == "enum" else (1.0 / span if span > 0 else 0.0) / feature.width
        found += [one] * feature.width
    return np.array(found)


def _columns(kind: RecordType) -> tuple[NDArray[np.bool_], Array, Array]:
    columns = kind.columns()
    lo, hi = (np.array([float(getattr(c, end)) for c in columns]) for end in ("lo", "hi"))
    return np.array([c.discrete for c in columns]), lo, hi


# ── figures ────────────────────────────────────────────────────────────────────────────────────
def _pearson(x: Array, y: Array, *, strict: bool = True) -> float:
    """√((1 − ρ)/2), as half the distance of the two standardised vectors: exactly 0 for equal ones."""
    units = []
    for v in (x, y):
        centred = v - v.mean()
        norm = float(np.sqrt((centred**2).sum()))
        if not norm > 1e-12 * max(1.0, float(np.abs(v).max())) * np.sqrt(len(v)):
            if strict:
                raise UsageError(
                    "G35",
                    "a reward is constant over these steps, up to potential shaping: it has no distance from anything",
                    help="measure over other steps",
                )
            return float("nan")
        units.append(centred / norm)
    return min(1.0, 0.5 * float(np.sqrt(((units[0] - units[1]) ** 2).sum())))


def _distance(name: str, found: float, resampled: list[float], steps: int, canonical: int, source: str) -> Distance:
    whole = np.array(resampled)
    whole = whole[~np.isnan(whole)]
    low, high = (float(q) for q in np.quantile(whole, (0.025, 0.975))) if len(whole) else (0.0, 1.0)
    return Distance(name, found, min(low, found), max(high, found), steps, canonical, source)


def _some(steps: Steps, count: int, rng: np.random.Generator) -> Steps:
    if len(steps) <= count:
        return steps
    rows = np.sort(rng.permutation(len(steps))[:count])
    return Steps(steps.before[rows], steps.after[rows], steps.extra[rows], steps.recorded, steps.source)
