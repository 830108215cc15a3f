"""The tree of splits that an engine has walked, a few bytes for each cell: what a proof is written from later.

Events in the order in which a depth first walk comes to the cells: one that is settled, or how one was cut. Nothing
rests on a trail: it is advice where to split (`scribe`), and whatever is written is bounded anew.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.verifier.program import Program

SETTLED, CUT, SIGN, EACH = 0, 1, 2, 3  # kind; EACH: a cell for each alternative that is left
MOST = 2**18  # events: a tree that is larger is not kept, since the kernel would be busy for days
EVENT = np.dtype([("kind", "<i1"), ("what", "<u8"), ("which", "<i4"), ("at", "<f8")])
Events = NDArray[np.void]


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """`events[b]`: of box b of the claim. `what` is the variable of a cut, the layer of a sign (of the program), or the
    alternatives (`alternatives`), a bit for each; `which` the neuron; `at` where a variable is cut. The lower part
    comes first, the side z <= 0, and the last alternative."""

    events: tuple[Events, ...]

    @property
    def cells(self) -> int:
        return sum(len(box) for box in self.events)


@dataclass(frozen=True, slots=True)
class Cut:
    variable: int
    at: Fraction


@dataclass(frozen=True, slots=True)
class Sign:
    layer: int
    neuron: int


class Guide:
    """The trail of one box as a tree; nodes are numbers of events, the root is 0."""

    def __init__(self, events: Events) -> None:
        self.events = events
        self.children: list[tuple[int, ...]] = [()] * len(events)
        waiting: list[tuple[int, int]] = []  # parents that lack children, and how many
        grown: dict[int, list[int]] = {}
        for node, event in enumerate(events):
            if waiting:
                parent, lacking = waiting.pop()
                grown[parent].append(node)
                if lacking > 1:
                    waiting.append((parent, lacking - 1))
                else:
                    self.children[parent] = tuple(grown.pop(parent))
            arity = arity_of(event)
            if arity:
                waiting.append((node, arity))
                grown[node] = []
        assert not waiting, "a trail ends where its tree does"

    def split(self, node: int) -> Cut | Sign | None:
        """How the cell was cut; None if it was settled."""
        event = self.events[node]
        match int(event["kind"]):
            case 1:
                return Cut(int(event["what"]), Fraction(float(event["at"])))
            case 2:
                return Sign(int(event["what"]), int(event["which"]))
        return None

    def about(self, node: int | None, alternative: int) -> int | None:
        """The cell below `node` that is about this alternative alone; None where it had been settled by then."""
        while node is not None and int(self.events[node]["kind"]) == EACH:
            kept = int(self.events[node]["what"])
            if not kept >> alternative & 1:
                return None
            node = self.children[node][(kept >> (alternative + 1)).bit_count()]
        return node


def arity_of(event: Events) -> int:
    kind = int(event["kind"])
    return int(event["what"]).bit_count() if kind == EACH else 0 if kind == SETTLED else 2


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
