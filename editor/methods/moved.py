"""How far an edit of weights moves the reward: at most so much anywhere in the declared ranges, proved."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.agreement import random_rows
from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.spec_lang.claim import Affine, AffineAtom, Claim, ClaimCall, ClaimVariable
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.options import VerifyOptions

SAMPLED = 20_000
# of the largest sampled change, until one is proved to be a bound; with less to spare proofs become long
STEPS = (Fraction(11, 10), Fraction(5, 4), Fraction(2), Fraction(4), Fraction(16), Fraction(64))
BUDGET = 4_000


def moved(new: Artifact, old: Artifact) -> str:
    """In words: what was sampled, and what is proved of all records (an enum's columns taken as any numbers)."""
    change = sampled_change(new, old)
    limit = proved_limit(new, old, float(change.max()))
    proved = (
        "no bound of it was proved" if limit is None else f"nowhere by more than {_at_least(limit)!r}, as is proved"
    )
    return (
        f"none: over {SAMPLED} sampled records the reward moved by {change.mean():.4g} in the mean, {change.max():.4g} "
        f"at most; over the domain {proved}"
    )


def sampled_change(new: Artifact, old: Artifact) -> NDArray[np.float64]:
    """|new − old| at sampled records, as deployed."""
    rows = random_rows([record.type for record in old.records], SAMPLED, 1)
    change: NDArray[np.float64] = np.abs(forward(new, rows).astype(np.float64) - forward(old, rows).astype(np.float64))
    return change


def _at_least(limit: Fraction) -> float:
    near = float(limit)
    return near if Fraction(near) >= limit else math.nextafter(near, math.inf)


def proved_limit(new: Artifact, old: Artifact, largest: float) -> Fraction | None:
    """A number that |new − old| is proved not to exceed, a small multiple of `largest`; None where none is proved."""
    variables = tuple(ClaimVariable(column.name, None, column.discrete) for column in old.columns)
    identity = tuple(Affine(Fraction(0), ((j, Fraction(1)),)) for j in range(old.width))
    box = tuple((column.lo, column.hi) for column in old.columns)
    rewards = {"New": new, "Old": old}
    for step in STEPS:
        limit = step * Fraction(max(largest, 1e-9))
        goals = tuple(
            (AffineAtom(Affine(limit, (), ((0, Fraction(s)), (1, Fraction(-s)))), strict=False),) for s in (1, -1)
        )
        claim = Claim(
            "moved", "must", variables, (), tuple((name, a.digest) for name, a in rewards.items()),
            (ClaimCall("New", identity), ClaimCall("Old", identity)), (), goals, (box,),
        )  # fmt: skip
        if verify_claim(claim, rewards, VerifyOptions(budget=BUDGET, falsify_budget=1_000)).verdict == "proved":
            return limit
    return None
