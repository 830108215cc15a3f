"""Certificate kernel: proofs in pieces, about rewards of which few patches act at a time ("Pieces" in docs/formats.md).

Cuts split the boxes of the claim into pieces, with nothing lost, and there are trees for each piece. Over a piece a
reward is what it is without the patches of which some row is at or above the gate at every point of the piece: these
change nothing there (`r' = r`).

Where a piece says so, patches that the proof names are left out, too: such that every goal that is true without them is
true with them. Each patch is monotone in what it wraps, since `min(r, c)` and `max(r, c)` are. So

- a ceiling lowers the reward, all that lies above it included, and a floor raises it: an atom that reads the reward
  with weights that gain by this alone stays true;
- of an atom `w·R + c ≥ 0` (or `> 0`) that speaks of one call and of nothing else, a patch the other way is harmless
  if the atom is true of its level: for w > 0 the atom says `R ≥ b` (or `> b`). A ceiling `min(r, l + s·M)` with s ≥ 0,
  and so M ≥ 0, leaves what of r is below its level l as it is. If l ≥ b (`> b`), it leaves min(r, b) (which side of b
  r is on) as it is, and so do all patches above, of which min(·, c) and max(·, c) tell it by it alone. Floors likewise;
- a goal with such an atom, in which no other call of the reward is read, stays true whatever its other atoms say:
  where the atom is false without the patch, R < l (R < b ≤ l, or R ≤ b < l), and since the patch leaves min(R, l) as
  it is, R is what it was. Where the atom is true, it stays true.

No clause of the premise reads such a reward; what it says of others is the same with and without. Patches are left out
one after the other, so this is true of all of them together. Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

from rewarden.certificate.kernel_artifact import Node
from rewarden.certificate.kernel_claim import Atom, Claim, Clause
from rewarden.certificate.kernel_json import refuse, used
from rewarden.certificate.kernel_near import ENTRY, Near, Premise, Row, composed, extent, premise_of
from rewarden.certificate.kernel_ops import scalar_of
from rewarden.certificate.kernel_program import Calls, Program
from rewarden.certificate.kernel_proof import halves, narrowed
from rewarden.certificate.kernel_shapes import array, one_of, rational, read, within

MAX_HELD = 1 << 21  # sides of all cells; and patches that act in pieces, each time that they do
COMPOSED = 1 << 8  # what an entry of a patch's rows, over the variables, counts for; it is kept, too
MAX_WAITING = 1_000  # cells that wait for their turn, each with the patches that act above it
Box = tuple[tuple[Fraction, Fraction], ...]
Left = Mapping[tuple[str, int], object]  # patches, by the name and the number in the stack of their reward


class Cell(NamedTuple):
    """A node of the cuts: `variable` is that which is cut, None of a piece, and `easy` whether patches are left out."""

    box: Box
    variable: int | None = None
    easy: bool = False


class Held(NamedTuple):
    """A patch that may act, and where each of its rows is at the gate."""

    number: int
    patch: Node
    rows: list[tuple[Row, Fraction]]
    entries: int  # of the rows


@dataclass(eq=False)
class Pieced(Program):
    """A program for each piece; the last one that was made is kept. All begin with these layers."""

    calls: Calls = ()
    acting: Mapping[str, tuple[tuple[Node, ...], ...]] | None = None  # by the piece, of each call
    last: tuple[object, Program] | None = None

    def over(self, box: Sequence[tuple[Fraction, Fraction]]) -> Program:
        assert self.acting is not None
        if self.last is None or self.last[0] != box:
            program = Program(self.variables, [*self.layers], [], {**self.pieces}, self.weights)
            for (reward, arguments), patches in zip(self.calls, self.acting[_key(box)], strict=True):
                program.call(reward._replace(patches=patches), arguments)
            self.last = box, program
        return self.last[1]


def pieces(
    claim: Claim, evidence: object, head: Mapping[str, object], part: Mapping[str, object]
) -> list[tuple[Claim, Any, Callable[[int, Calls], Program]]]:
    """A claim as one of its witness, without goals, and one of all its pieces; what the proof says of each, and what
    makes its program."""
    used.update(("kernel_pieces", "kernel_near"))
    if claim.loops is not None or claim.cases:
        refuse("a proof in pieces is of a claim with boxes, not about loops or traces of several lengths")
    patch = (one_of(*claim.rewards), within(0, MAX_HELD))
    cuts = {"without": [patch], "cut": (array,) * len(claim.boxes)}
    less = {"beyond": True} if isinstance(evidence, dict) and "beyond" in evidence else {}
    found = read(evidence, {**head, **part, "pieces": cuts, **less}, "a proof in pieces")
    premise = premise_of(claim) if less else None
    shown = {"box": within(0, len(claim.boxes) - 1), "point": (rational,) * len(claim.names)}
    number, x = read(found["witness"], shown, "a witness").values()
    for value, (low, high) in zip(x, claim.boxes[number], strict=True):
        if not low <= value <= high:
            refuse("the witness lies outside its box")
    nodes = sum(len(array(tree, "the cuts of a box")) for tree in found["pieces"]["cut"])
    if nodes * max(1, len(claim.names)) > MAX_HELD:
        refuse("the cuts of all boxes are too many")
    cells = [list(_cells(claim, n, tree)) for n, tree in enumerate(found["pieces"]["cut"])]
    there, said = tuple((value, value) for value in x), {"box": 0, "point": found["witness"]["point"]}
    alone: list[list[Cell]] = [[] for _ in cells]
    alone[number] = [Cell(there)]
    boxes = tuple(cell.box for own in cells for cell in own if cell.variable is None)
    left = dict.fromkeys(found["pieces"]["without"])
    point, whole = replace(claim, goals=(), boxes=(there,)), replace(claim, boxes=boxes)
    at = replace(claim, boxes=(there,) * len(cells))
    return [
        (point, {"witness": said, "goals": []}, partial(_made, at, premise, alone, {})),
        (whole, {"witness": None, "goals": found["goals"]}, partial(_made, claim, premise, cells, left)),
    ]


def _cells(claim: Claim, number: int, value: object) -> Iterator[Cell]:
    """The cuts of one of the claim's boxes, in preorder. The first cell is the box less what facts exclude."""
    low, high = (tuple(ends[side] for ends in claim.boxes[number]) for side in (0, 1))
    for clause in claim.clauses:
        if len(clause) == 1:
            less = narrowed(low, high, clause[0], claim.discrete)
            low, high = less if all(a <= b for a, b in zip(*less, strict=True)) else (low, high)
    waiting = [(low, high)]
    for node in array(value, "the cuts of a box"):
        low, high = waiting.pop() if waiting else refuse("there are cuts left over")
        match node:
            case ["cut", variable, at]:
                waiting += reversed(halves(claim, low, high, variable, at))
                yield Cell(tuple(zip(low, high, strict=True)), variable)
            case ["piece", 0 | 1 as easy] if type(easy) is int:
                yield Cell(tuple(zip(low, high, strict=True)), None, easy == 1)
            case _:
                refuse("a box is cut, or a piece")
        if len(waiting) > MAX_WAITING:
            refuse("the cuts are too deep")
    if waiting:
        refuse("there are pieces missing")


def _made(
    claim: Claim, premise: Premise | None, cells: Sequence[Sequence[Cell]], left: Left, variables: int, calls: Calls
) -> Pieced:
    """The programs of the pieces. The network of the first call comes first in each of them."""
    for name, number in left:
        _harmless(claim, name, number, {own: reward for (own, _), (reward, _) in zip(claim.calls, calls, strict=True)})
    near = Near(variables, calls=calls, premise=premise)
    acting: dict[str, tuple[tuple[Node, ...], ...]] = {}
    total = 0
    for number, own in enumerate(cells):
        skip = left if all(cell.easy for cell in own if cell.variable is None) else {}
        waiting = [_held(near, claim, claim.boxes[number], skip)] if own else []
        for cell in own:
            held = [_closed(some, cell.box) for some in waiting.pop()]
            near.spend(ENTRY * (1 + sum(h.entries for mine in held for h in mine)))
            if cell.variable is not None:
                waiting += [held, held]
                continue
            some = zip(claim.calls, held, strict=True)
            out: Left = left if cell.easy else {}
            stays = tuple(tuple(h.patch for h in mine if (name, h.number) not in out) for (name, _), mine in some)
            total += 1 + sum(map(len, stays))
            if (piece := _key(cell.box)) in acting or total > MAX_HELD:
                refuse("two pieces are one and the same, or too many patches act in all of them")
            acting[piece] = stays
    made = Pieced(variables, calls=calls, acting=acting)
    for call in calls[:1]:
        made.network(*call)
    return made


def _held(near: Near, claim: Claim, box: Box, skip: Left) -> list[list[Held]]:
    """Of each call what may act in a box of the claim: of patches near data those that do so there, and none that the
    premise opens, where the proof says so. What is left out of every piece, of thousands of patches perhaps, is not
    looked at."""
    found = []
    made: dict[object, list[Row]] = {}  # rows over the variables; patches often have the same
    for (reward, arguments), (name, _) in zip(near.calls, claim.calls, strict=True):
        mine = []
        for number, stacked in enumerate(reward.patches):
            if (name, number) in skip:
                continue
            for patch in near.patches(reward._replace(patches=(stacked,)), arguments, box):
                offsets, gate = patch.tensors[1], Fraction(*scalar_of(patch.tensors[5]))
                edges = [Fraction(x, offsets.bottom) + gate for x in offsets.values]
                key = arguments, patch.tensors[0]
                if key not in made:
                    made[key] = composed(patch, arguments)
                    near.spend(COMPOSED * sum(1 + len(row.entries) for row in made[key]))
                rows = made[key]
                entries = sum(1 + len(row.entries) for row in rows)
                mine.append(Held(number, patch, list(zip(rows, edges, strict=True)), entries))
        found.append(mine)
    return found


def _key(box: Sequence[tuple[Fraction, Fraction]]) -> str:
    """A piece's name. Hashes of numbers can be made to be alike, so that looking them up takes ever longer."""
    return " ".join(f"{low} {high}" for low, high in box)


def _closed(held: Sequence[Held], box: Box) -> list[Held]:
    """Without the patches that are open all over the box."""
    return [h for h in held if all(extent(row, box)[0] < edge for row, edge in h.rows)]


# ── patches that harm no goal ──────────────────────────────────────────────────────────────────
def _harmless(claim: Claim, name: str, number: int, rewards: Mapping[str, Any]) -> None:
    """Refused unless each goal that is true without the patch is true with it."""
    reads = {k for k, (own, _) in enumerate(claim.calls) if own == name}
    if not reads or number >= len(rewards[name].patches):
        refuse("a proof in pieces leaves out a patch that is not there")
    if any(k in reads for clause in claim.clauses for atom in clause for k, _ in atom.form.calls):
        refuse(f"a patch of {name} is left out, of which the premise speaks")
    patch = rewards[name].patches[number]
    if not all(_kept(goal, patch, reads) for goal in claim.goals):
        refuse(f"patch {number} of {name} is left out, which may be what breaks the claim")


def _kept(goal: Clause, patch: Node, reads: set[int]) -> bool:
    """Does a goal that is true without the patch stay true with it?"""
    if all(_gains(atom, patch, reads) for atom in goal):
        return True
    one = len({k for atom in goal for k, _ in atom.form.calls if k in reads}) == 1
    return one and any(_bounded(atom, patch, reads) for atom in goal)


def _gains(atom: Atom, patch: Node, reads: set[int]) -> bool:
    weights = [x for k, x in atom.form.calls if k in reads]
    return all(x * _way(patch) > 0 for x in weights) or _bounded(atom, patch, reads)


def _way(patch: Node) -> int:
    """In which it moves the reward."""
    return -1 if patch.op == "ceiling" else 1


def _bounded(atom: Atom, patch: Node, reads: set[int]) -> bool:
    """Does an atom bound the reward, and nothing else, on the side to which the patch moves it, and keep the patch's
    level within?"""
    weights = [x for k, x in atom.form.calls if k in reads]
    if not weights or len(atom.form.calls) > 1 or atom.form.variables or weights[0] * _way(patch) > 0:
        return False
    level, slope = (Fraction(*scalar_of(tensor)) for tensor in patch.tensors[2:4])
    room = weights[0] * level + atom.form.constant
    return slope >= 0 and (room > 0 or (room == 0 and not atom.strict))
