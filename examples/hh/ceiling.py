"""One edit: the head never pays more than a ceiling, and is left alone, bit for bit, wherever it pays less.

    H'(x) = min( H(x), ceiling ),   ceiling = the largest binary32 number <= quantile(H(refusals), 0.90)

Afterwards the quantile is the ceiling itself: a tenth of the refusals were worth at least as much before.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from rewarden.reward.artifact import Artifact, Edit
from rewarden.reward.graph import AffineMap, Minimum
from rewarden.reward.learners.splice import Splice


def below(value: Fraction) -> np.float32:
    """The largest binary32 number that is not greater."""
    found = np.float32(float(value))
    return found if Fraction(float(found)) <= value else np.nextafter(found, np.float32(-np.inf))


def with_ceiling(reward: Artifact, ceiling: np.float32, rule: str) -> Artifact:
    """The edited reward, a child of the one given."""
    splice = Splice()
    before = splice.graft(reward.graph, reward.tensors, "")
    splice.tensors["ceiling.none"] = np.zeros((1, reward.width), np.float32)
    splice.tensors["ceiling.level"] = np.array([ceiling], np.float32)
    level = splice.push(AffineMap(0, "ceiling.none", "ceiling.level"))
    output = splice.push(Minimum(before, level))
    edit = Edit("ceiling", rule, {"outside": "the reward wherever it is at most the ceiling, bit for bit"})
    assembled = splice.finish(output)
    return reward.child(edit, graph=assembled.graph, tensors=assembled.tensors)
