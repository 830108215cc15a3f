"""What a corrected reward reaches, from what the reward before the correction reaches.

An envelope holds a copy of the network for each of its levels. Bounded as it stands, each copy is bounded by itself and
what they have in common is lost: it takes seconds, and the bound is far off. But R' of `editor/envelope.py` lies
between R(x) and h(x), and h(x) between two values of R on the line through x along which the rule moves records. So

    sign·R' over a box  <=  sign·R over the box in which the columns that the rule moves have all of its range, too,

and over a box beyond the rim R' is R. A slope takes between 0 and `amount` off the reward. As deployed, h is a sum of
as many terms as it has levels, m_0 and halves of what lies between 0 and D_k: the D_k add up to no more than twice the
largest |R|, and each of a few dozen roundings is one part in 2^24 of such a sum, so one part in 2^16 of the largest |R|
covers them. Minima and maxima do not round, and h − room <= h <= h + room holds after rounding.

A patch on top that raises the reward gives max(R'(x), what is at most its level), and one that lowers it nothing above
R'(x). So with patches the bound is the larger of that for R' and of the levels of those that raise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from rewarden.editor.built_in import Between, Less, beneath, corrections
from rewarden.editor.history.stored import all_stored
from rewarden.editor.patch import Box, ExtremumBound
from rewarden.reward.artifact import Artifact

TINY = Fraction(1, 2**100)  # an underflow


def understood(known: ExtremumBound) -> ExtremumBound:
    """The same bound, but of what is built into a network (`built_in.py`) by what is beneath it: of an artifact that
    was edited at some other time, which nothing but its nodes tells."""

    def bound(artifact: Artifact, box: Box, sign: int) -> Fraction:
        found = list(corrections(artifact))
        if not any(isinstance(part, Between) for part, _ in found):
            return known(artifact, box, sign)  # slopes cost a few nodes, and are known best with the network
        node = found[-1][1]
        most = known(beneath(artifact, node), box, sign) if node >= 0 else None
        for part, _ in reversed(found):
            if isinstance(part, Less):
                assert most is not None, "an amount is taken off something"
                most += (part.cap if sign < 0 else 0) + (abs(most) + part.cap) / 2**20 + TINY
            else:
                end = part.most if sign > 0 else -part.least
                most = end if most is None or part.alone else max(most, end)
        assert most is not None, "something has been found"
        raising = [p for p in all_stored(artifact) if p.sign != sign and p.reach(box) is not None]
        return max([most, *(sign * patch.level for patch in raising)])

    return bound


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """An ExtremumBound of `child`, whatever its patches, by that of `parent`, both without patches; of all others as
    `known`. They differ only in the box `around`. `moves`: of the columns along which values of the parent may be read,
    where. `amount`: by how much at most the child is below such values."""

    known: ExtremumBound
    child: Artifact
    parent: Artifact
    around: Box
    moves: Mapping[int, tuple[Fraction, Fraction]]
    amount: Fraction = Fraction(0)

    def __call__(self, artifact: Artifact, box: Box, sign: int) -> Fraction:
        if not self.knows(artifact):
            return self.known(artifact, box, sign)
        raising = [p for p in all_stored(artifact) if p.sign != sign and p.reach(box) is not None]
        return max([self._bare(box, sign), *(sign * patch.level for patch in raising)])

    def knows(self, artifact: Artifact) -> bool:
        return artifact.graph == self.child.graph and all(
            name in artifact.tensors and np.array_equal(artifact.tensors[name], value)
            for name, value in self.child.tensors.items()
        )

    def _bare(self, box: Box, sign: int) -> Fraction:
        if any(lo > high or hi < low for (lo, hi), (low, high) in zip(box, self.around, strict=True)):
            return self.known(self.parent, box, sign)
        wider = list(box)
        for j, (low, high) in self.moves.items():
            room = max(abs(low), abs(high)) / 2**20  # what moving a record to a level may round away
            wider[j] = (min(box[j][0], low) - room, max(box[j][1], high) + room)
        most, least = (self.known(self.parent, tuple(wider), s) for s in (sign, -sign))
        lower = self.amount if sign < 0 else Fraction(0)
        return most + lower + (abs(most) + abs(least) + self.amount) / 2**16 + TINY
