"""The tree of splits that an engine has walked, a few bytes for each cell: what a proof is written from later.

Events in the order in which a depth first walk comes to the cells: one that is settled, or how one was cut. Nothing
rests on a trail: it is advice where to split (`scribe`), and whatever is written is bounded anew.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.verifier.program import Program

SETTLED, CUT, SIGN, EACH = 0, 1, 2, 3  # kind; EACH: a cell for each alternative that is left
MOST = 2**18  # events: a tree that is larger is not kept, since the kernel would be busy for days
EVENT = np.dtype([("kind", "<i1"), ("what", "<u8"), ("which", "<i4"), ("at", "<f8"), ("open", "<u8")])
Events = NDArray[np.void]


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """`events[b]`: of box b of the claim. `what` is the variable of a cut, the layer of a sign (of the program), or the
    alternatives (`alternatives`), a bit for each; `which` the neuron; `at` where a variable is cut, and `open` the
    alternatives that were not settled by then (0: nothing is known of that). The lower part comes first, the side
    z <= 0, and the last alternative."""

    events: tuple[Events, ...]

    @property
    def cells(self) -> int:
        return sum(len(box) for box in self.events)


@dataclass(frozen=True, slots=True)
class Cut:
    variable: int
    at: float


@dataclass(frozen=True, slots=True)
class Sign:
    layer: int
    neuron: int


class Guide:
    """The trail of one box as a tree; nodes are numbers of events, the root is 0. `settled[n]`: how many settled cells
    there are below node n, itself included."""

    def __init__(self, events: Events) -> None:
        self.kind: list[int] = events["kind"].tolist()
        self.what: list[int] = events["what"].tolist()
        self.which: list[int] = events["which"].tolist()
        self.at: list[float] = events["at"].tolist()
        self.open: list[int] = events["open"].tolist()
        self.children: list[tuple[int, ...]] = [()] * len(events)
        waiting: list[tuple[int, int]] = []  # parents that lack children, and how many
        grown: dict[int, list[int]] = {}
        for node, kind in enumerate(self.kind):
            if waiting:
                parent, lacking = waiting.pop()
                grown[parent].append(node)
                if lacking > 1:
                    waiting.append((parent, lacking - 1))
                else:
                    self.children[parent] = tuple(grown.pop(parent))
            if kind != SETTLED:
                waiting.append((node, self.what[node].bit_count() if kind == EACH else 2))
                grown[node] = []
        assert not waiting, "a trail ends where its tree does"
        self.settled = [1] * len(events)
        for node in range(len(events) - 1, -1, -1):
            below = self.children[node]
            if below:
                self.settled[node] = sum(self.settled[child] for child in below)

    def split(self, node: int) -> Cut | Sign | None:
        """How the cell was cut; None if it was settled."""
        match self.kind[node]:
            case 1:
                return Cut(self.what[node], self.at[node])
            case 2:
                return Sign(self.what[node], self.which[node])
        return None

    def about(self, node: int | None, alternative: int) -> int | None:
        """The cell below `node` that is about this alternative alone; None where it had been settled by then."""
        while node is not None:
            if self.kind[node] == EACH:
                kept = self.what[node]
                if not kept >> alternative & 1:
                    return None
                node = self.children[node][(kept >> (alternative + 1)).bit_count()]
            elif self.kind[node] == CUT and self.open[node] and not self.open[node] >> alternative & 1:
                return None
            else:
                return node
        return node


# ── as JSON ────────────────────────────────────────────────────────────────────────────────────
def trail_out(trail: Trail) -> dict[str, Any]:
    data = zlib.compress(b"".join(box.tobytes() for box in trail.events), 9)
    return {"boxes": [len(box) for box in trail.events], "events": base64.b85encode(data).decode("ascii")}


def trail_in(told: Mapping[str, Any], program: Program) -> Trail:
    """ValueError for what is no trail of this program."""
    counts = [int(count) for count in told["boxes"]]
    if len(counts) != len(program.claim.boxes) or min(counts, default=1) < 1 or sum(counts) > MOST:
        raise ValueError("a trail of other boxes")
    size = sum(counts) * EVENT.itemsize
    try:
        data = zlib.decompressobj().decompress(base64.b85decode(told["events"]), size + 1)
    except zlib.error as error:
        raise ValueError(f"a trail that is damaged: {error}") from error
    if len(data) != size:
        raise ValueError("a trail of another length")
    ends = np.cumsum(counts)[:-1]
    events = np.split(np.frombuffer(data, EVENT), ends)
    for box in events:
        _require_tree(box, program)
    return Trail(tuple(events))


def _require_tree(events: Events, program: Program) -> None:
    kind, what, which = events["kind"], events["what"], events["which"]
    widths = np.array([layer.width for layer in program.layers] or [0])
    known = (
        (kind == SETTLED)
        | ((kind == CUT) & (what < len(program.claim.variables)) & np.isfinite(events["at"]))
        | ((kind == SIGN) & (what < len(program.layers)) & (which >= 0))
        | ((kind == EACH) & (what > 0))
    )
    signs = kind == SIGN
    if not known.all() or (which[signs] >= widths[what[signs].astype(np.int64)]).any():
        raise ValueError("a trail with splits of something else")
    grown = np.where(kind == SETTLED, 0, 2)
    grown[kind == EACH] = [mask.bit_count() for mask in what[kind == EACH].tolist()]
    open_after = 1 + np.cumsum(grown - 1)
    if open_after[-1] != 0 or (open_after[:-1] <= 0).any():
        raise ValueError("a trail that is no tree")


def renumbered(trail: Trail, layers: NDArray[np.int64]) -> Trail:
    """The trail of a program whose layer k is layer layers[k] of another one, as that one's."""
    boxes = []
    for events in trail.events:
        told = events.copy()
        signs = told["kind"] == SIGN
        told["what"][signs] = layers[told["what"][signs].astype(np.int64)]
        boxes.append(told)
    return Trail(tuple(boxes))


# ── in memory ──────────────────────────────────────────────────────────────────────────────────
def trail_of(parts: Sequence[Sequence[Events]]) -> Trail | None:
    """None where there are too many events."""
    if sum(len(some) for box in parts for some in box) > MOST:
        return None
    return Trail(tuple(np.concatenate([np.zeros(0, EVENT), *box]) for box in parts))
