"""Certificate kernel: leaves of several goals over one cell, one after the other, whose bounds are made once.

What holds of the layers over a box hangs on the program, the box, the signs and the slopes of a leaf, and on how much
effort is made; on its goal and its facts only where it takes steps, and such a leaf has bounds of its own. A bound of
a functional adds layers that are not known yet, and changes nothing of those that are. So the bounds of one leaf are
those of the next one, if all these are the same. Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from rewarden.certificate.kernel_claim import Claim
from rewarden.certificate.kernel_json import used
from rewarden.certificate.kernel_program import Affine, Program
from rewarden.certificate.kernel_proof import MAX_HELD, Check, Leaf, Plan, bounds_of, check_leaf, check_leaves

AHEAD = 1 << 13  # leaves among which those over one cell are looked for


class Sharing:
    """`check_leaves` with bounds that are kept for the next leaf (mutable)."""

    def __init__(self, bounding: Callable[[Plan, int], Any] = bounds_of) -> None:
        self.bounding = bounding
        self.cell: object = None
        self.kept: dict[int, Any] = {}  # by effort

    def __call__(self, claim: Claim, program: Program, found: Sequence[Leaf]) -> None:
        for leaf in found:
            check_leaf(claim, program, leaf, self.bounds)

    def bounds(self, todo: Plan, effort: int) -> Any:  # noqa: ANN401 - whatever bounds the tier makes
        if todo.moves:
            return self.bounding(todo, effort)
        box, plain = todo.box, all(isinstance(fact, Affine) for fact, _ in todo.facts)
        cell = todo.program, box.low, box.high, box.bottom, todo.signs, todo.slopes, plain
        if cell != self.cell:  # programs are compared as themselves
            self.cell, self.kept = cell, {}
        if effort not in self.kept:
            self.kept[effort] = self.bounding(todo, effort)
        return self.kept[effort]


def alike(found: Iterator[Leaf], run: tuple[int, Check]) -> tuple[Iterator[Leaf], tuple[int, Check]]:
    """All leaves, in an order in which those over one cell follow each other, as far as is seen; in how many processes
    they are checked, and how."""
    used.add("kernel_alike")
    return _ordered(found), (run[0], sharing(run[1]))


def sharing(how: Check) -> Check:
    """With bounds that are kept, of tiers that check one leaf after the other."""
    bounding = bounds_of if how is check_leaves else getattr(how, "bounding", None)
    return how if bounding is None else Sharing(bounding)


def _ahead(found: Iterator[Leaf]) -> list[Leaf]:
    """The next leaves, so many that what they hold is bounded."""
    some, room = list[Leaf](), MAX_HELD
    for leaf in islice(found, AHEAD):
        some.append(leaf)
        room -= 2 * len(leaf.low) + len(leaf.cases) + len(leaf.signs)
        if room < 0:
            break
    return some


def _ordered(found: Iterator[Leaf]) -> Iterator[Leaf]:
    while some := _ahead(found):
        cells: dict[int, list[Leaf]] = {}
        for leaf in some:
            ends = tuple(x.numerator for x in (*leaf.low, *leaf.high))  # quick to hash, and nearly always enough
            cells.setdefault(hash((ends, leaf.signs)), []).append(leaf)
        for leaves in cells.values():
            yield from leaves
