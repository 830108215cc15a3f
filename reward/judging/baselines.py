"""What a reward must beat to be worth anything: rules that need no learning.

A trivial rule looks at one quantity of the two segments (a feature, summed over the steps; a length; how far a record
is from the average) and prefers the larger, or the smaller. Which quantity and which direction is chosen on one half of
the answers and judged on the other, both ways round: so no answer is judged by a rule that was chosen with it. Equal
quantities are decided by a coin.

The comparison is paired: among the answers on which exactly one of the two is right, the reward's share has an exact
interval (McNemar's test 1947, in Clopper and Pearson's form). The reward *beats* the rule where that interval lies
above a half.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.judging.intervals import Share
from rewarden.reward.judging.pairs import Bools, decided
from rewarden.reward.learners.interface import Array, Comparisons

MOST_COLUMNS = 64  # of an embedding no single column is a rule that anybody would think of


@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """Differences [answer] of a quantity, the preferred segment's less the other's."""

    name: str
    differences: Array


@dataclass(frozen=True, slots=True)
class Contest:
    """A reward against a trivial rule, on the same answers. `only_reward`: of the answers that one of them alone gets
    right, those that the reward does."""

    rule: str
    rule_accuracy: Share
    reward_accuracy: Share
    only_reward: Share

    @property
    def verdict(self) -> str:
        """`beats`, `loses` or `undecided`."""
        lo, hi = self.only_reward.exact
        return "beats" if lo > 0.5 else "loses" if hi < 0.5 else "undecided"

    def sentence(self) -> str:
        rule, reward = f"{100 * self.rule_accuracy.value:.1f} %", f"{100 * self.reward_accuracy.value:.1f} %"
        against = f"{self.rule} ({rule} right)"
        match self.verdict:
            case "beats":
                return f"The reward ({reward}) beats {against}."
            case "loses":
                return f"The reward ({reward}) is WORSE than {against}: it does not beat a rule that needs no learning."
            case _:
                return (
                    f"The reward ({reward}) DOES NOT BEAT {against}: on these answers they cannot be told apart."
                )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "verdict": self.verdict,
            "sentence": self.sentence(),
            "rule_accuracy": self.rule_accuracy.to_json(),
            "reward_accuracy": self.reward_accuracy.to_json(),
            "right_where_only_one_is": self.only_reward.to_json(),
        }


def feature_quantities(data: Comparisons) -> list[Quantity]:
    """Every column that varies, summed over the steps; none of records with more than `MOST_COLUMNS`."""
    columns = data.record.type.columns()
    if len(columns) > MOST_COLUMNS:
        return []
    sums = data.segments.sum(axis=2)
    differences = sums[:, 0] - sums[:, 1]
    return [
        Quantity(column.name, differences[:, k]) for k, column in enumerate(columns) if (differences[:, k] != 0).any()
    ]


def contest(right: Bools, quantities: list[Quantity], name: str, seed: int = 0) -> Contest | None:
    """The reward (right or wrong on each answer) against the best of some quantities; None where there is none or
    where there are fewer than four answers."""
    if not quantities or len(right) < 4:
        return None
    order = np.random.default_rng(seed).permutation(len(right))
    predicted = np.empty(len(right), np.bool_)
    for mine, other in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        _, signed = _best(quantities, other)
        predicted[mine] = decided(signed)[mine]
    named, _ = _best(quantities, order)
    what = named if len(quantities) == 1 else f"{name}: {named}"
    alone, other_alone = right & ~predicted, predicted & ~right
    return Contest(
        what,
        Share(int(predicted.sum()), len(predicted)),
        Share(int(right.sum()), len(right)),
        Share(int(alone.sum()), int(alone.sum() + other_alone.sum())),
    )


def _best(quantities: list[Quantity], rows: NDArray[np.intp]) -> tuple[str, Array]:
    """The quantity and direction that are right most often on those rows, and its differences with that sign."""
    best: tuple[float, str, Array] | None = None
    for quantity in quantities:
        d = quantity.differences
        for sign, word in ((1.0, "more"), (-1.0, "less")):
            score = float(((sign * d[rows] > 0) + 0.5 * (d[rows] == 0)).mean())
            if best is None or score > best[0]:
                best = (score, f"“{word} {quantity.name} is better”", sign * d)
    assert best is not None
    return best[1], best[2]
