"""The float64 tier: the kernel's leaves bounded in binary64 with numpy, every rounding accounted for.

What is read, walked and replayed stays the kernel's, in exact arithmetic; only `Bounds` and `Stepping` are done again,
for many leaves at once: `tier_float64_bounds` says what is true of the numbers, `tier_float64_program` what they are
read from. Here leaves of one program are put together, and their steps are taken in turn. Goals of one claim often end
in the same cell: what holds there of the layers is then found once (bounds depend on the box, the signs and the slopes
of a leaf; on its goal only by its steps). A leaf that is not settled here is checked by the kernel in exact integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rewarden.certificate.kernel_bounds import Facts
from rewarden.certificate.kernel_claim import Claim
from rewarden.certificate.kernel_json import Refused
from rewarden.certificate.kernel_program import Affine, Program
from rewarden.certificate.kernel_proof import WAYS, Leaf, Plan, check_leaf, check_leaves, plan
from rewarden.certificate.tier_float64_bounds import FloatBounds

NAME = "float64 with rigorous error terms (numpy), and exact integers where those leave a leaf open"
TOGETHER = 256  # leaves that are bounded at once, at least; more where they share cells
TRIED = 8  # of which half must be settled by bounds of no effort, before these are tried on the others
MAX_NUMBERS = 1 << 20  # of one kind, over all leaves and neurons


class Move(NamedTuple):
    """A step of a leaf, and how many layers must be known for it."""

    ready: int
    step: tuple[int, int, int, Facts] | None = None
    choice: tuple[int, int, int] | None = None  # neither: all layers again


class _Taken:
    """What a leaf's moves ask of bounds, taken down one after the other (mutable)."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.moves: list[Move] = []

    def again(self) -> None:
        self.moves.append(Move(len(self.program.layers)))

    def step(self, layer: int, neuron: int, side: int, facts: Facts) -> None:
        ready = [layer + 1]
        for fact, _ in facts:
            ready += [self.program.outputs[k] + 1 for k, _ in fact.calls] if isinstance(fact, Affine) else [fact[0] + 1]
        self.moves.append(Move(max(ready), (layer, neuron, side, facts)))

    def choose(self, layer: int, neuron: int, slope: int) -> None:
        self.moves.append(Move(0, choice=(layer, neuron, slope)))


Cell = tuple[object, ...]  # what bounds depend on; a leaf with steps is by itself
Planned = tuple[Leaf, Plan, list[Move], Cell]


def check_leaves_float64(claim: Claim, program: Program, found: Sequence[Leaf]) -> None:
    """The kernel's `check_leaves`, first in binary64, many leaves at a time in each form of the program."""
    if any(layer.kind in ("smooth", "product") for layer in program.layers):  # their lines are in integers alone
        check_leaves(claim, program, found)
        return
    together: dict[int, list[Planned]] = {}
    for number, leaf in enumerate(found):
        todo = plan(claim, program, leaf)
        if todo is not None:
            taken, box = _Taken(todo.program), todo.box
            for move in todo.moves:
                move(taken)
            shared = box.bottom, *box.low, *box.high, todo.signs, *sorted(todo.slopes.items())
            cell = (number,) if todo.moves else shared
            together.setdefault(id(todo.program), []).append((leaf, todo, taken.moves, cell))
    with np.errstate(all="ignore"):
        for leaves in together.values():
            if len(leaves) == 1 and not leaves[0][2] and _by_intervals(claim, program, leaves[0][0]):
                continue
            for some in _parts(leaves):
                for leaf in _open(some):
                    check_leaf(claim, program, leaf)


check_leaves_float64.chunk = 4 * TOGETHER  # type: ignore[attr-defined]  # leaves that `check` hands over at a time


def _parts(leaves: list[Planned]) -> Iterator[list[Planned]]:
    """Leaves over so many cells that their numbers fit; `check` hands over those of one cell one after the other."""
    layers = leaves[0][1].program.layers
    size = max(1, min(TOGETHER, MAX_NUMBERS // sum(len(layer.bias) for layer in layers)))
    some: list[Planned] = []
    cells: set[Cell] = set()
    for each in leaves:
        if len(cells) == size and each[3] not in cells:
            yield some
            some, cells = [], set()
        some.append(each)
        cells.add(each[3])
    yield some


def _by_intervals(claim: Claim, program: Program, leaf: Leaf) -> bool:
    """Whether intervals in integers settle a leaf: of one alone (a box near data has a program of its own) they are
    quicker than arrays, and levels are often met exactly."""
    try:
        check_leaf(claim, program, leaf, ways=WAYS[:1])
    except Refused:
        return False
    return True


def _open(leaves: list[Planned]) -> list[Leaf]:
    """Those that binary64 leaves open, whatever the effort."""
    moving, still = [each for each in leaves if each[2]], [each for each in leaves if not each[2]]
    some, rest = still[:TRIED], still[TRIED:]
    left = _unsettled(some, 0)
    if len(left) <= len(some) // 2:
        rest = _unsettled(rest, 0)
    left += rest + moving  # steps need bounds of all layers anyway
    for effort in (1, 2, 3):
        left = _unsettled(left, effort)
    return [leaf for leaf, *_ in left]


def _unsettled(leaves: list[Planned], effort: int) -> list[Planned]:
    """Those that bounds of this effort leave open."""
    if not leaves:
        return []
    cells: dict[Cell, int] = {}
    at = np.array([cells.setdefault(cell, len(cells)) for *_, cell in leaves])
    some = [leaves[k] for k in np.unique(at, return_index=True)[1]]
    facts, strict = ([each.facts for _, each, *_ in leaves], [each.strict for _, each, *_ in leaves])
    boxes, slopes, signs = zip(*((each.box, each.slopes, each.signs) for _, each, *_ in some), strict=True)
    named = {move.step[0] for *_, moves, _ in some for move in moves if move.step}
    try:
        bounds = FloatBounds(some[0][1].program, boxes, slopes, signs, effort, named)
        take(bounds, [moves for *_, moves, _ in some])
        values = bounds.least_of(facts, at)
    except (Refused, OverflowError):
        return leaves
    settled = bounds.empty[at] | (values > 0) | ((values == 0) & strict)
    return [each for each, done in zip(leaves, settled.tolist(), strict=True) if not done]


def take(bounds: FloatBounds, moves: Sequence[Sequence[Move]]) -> None:
    """The moves of all leaves, each leaf's in its order.

    A layer is bounded when every leaf that has moves left asks for it, so no sooner than the kernel would: a step may
    be about a layer below those that profit from it.
    """
    at = [0] * len(moves)
    while True:
        live = bounds.live
        left = [leaf for leaf, some in enumerate(moves) if live[leaf] and at[leaf] < len(some)]
        if not left:
            return
        bounds.advance(min(moves[leaf][at[leaf]].ready for leaf in left))
        choices, steps, waiting = [], [], []
        for leaf in left:
            some = moves[leaf]
            while at[leaf] < len(some) and (choice := some[at[leaf]].choice) is not None:
                choices.append((leaf, *choice))
                at[leaf] += 1
            if at[leaf] < len(some) and (step := some[at[leaf]].step) is None:
                waiting.append(leaf)
            elif at[leaf] < len(some) and step is not None and some[at[leaf]].ready <= bounds.known:
                steps.append((leaf, *step))
                at[leaf] += 1
        if choices:
            bounds.choose(choices)
        if steps:
            bounds.steps(steps)
        elif len(waiting) == len(left):
            taking = np.zeros(bounds.leaves, dtype=bool)
            taking[waiting] = True
            bounds.again(taking)
            for leaf in waiting:
                at[leaf] += 1
