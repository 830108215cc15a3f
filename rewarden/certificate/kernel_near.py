"""Certificate kernel: patches near data ("Near data" in docs/formats.md).

A table is one patch on thousands of boxes: m patches with all in common but the offsets. Over a box of a claim few of
them act, and which is decided here, exactly:

- a patch of which some row is at or above the gate at every point of the box changes nothing there (`r' = r` where G
  is at or above the gate), so it is left out;
- of the others, a row that is at most delta at every point, delta being below the gate, is left out: it opens no gate,
  and max(0, G − delta) is the same without it. One row stays, so that there is a G.

What is left are ordinary patches, one after the other in the order of the table.

Where a proof says `beyond`, a patch, of a table or not, is left out, too, if some clause of the claim opens it: if for
each of its atoms, which speak of variables alone, some row is at or above the gate wherever in the box the atom holds.
At every point that satisfies the premise such a patch changes nothing; of other points a claim says nothing, and that
they are others is told without any call. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

from rewarden.certificate.kernel_artifact import Node, Reward, Tensor
from rewarden.certificate.kernel_claim import Atom, Claim, Clause
from rewarden.certificate.kernel_json import refuse, used
from rewarden.certificate.kernel_ops import scalar_of
from rewarden.certificate.kernel_patches import patched
from rewarden.certificate.kernel_program import Affine, Calls, Program, matrix_of
from rewarden.certificate.kernel_proof import narrowed
from rewarden.certificate.kernel_shapes import read

MAX_WORK = 1 << 32  # entries of tables of patches, each time that a program is made; and what premises are held against
ENTRY, OFFSET = 128, 8  # what a product of fractions, and a comparison of an offset, count for
Box = Sequence[tuple[Fraction, Fraction]]  # the ends of each variable
Edges = list[tuple[int, int]]  # of rows: offsets, over their bottom, up to which an atom opens them


class Premise(NamedTuple):
    """What a claim says of its variables alone, and which of them are whole numbers; `near`: of a claim about what is
    in no box of a table's rows, these (`kernel_table.Rows`)."""

    clauses: tuple[Clause, ...]
    discrete: tuple[bool, ...]
    near: Any = None


class Row(NamedTuple):
    """(constant + Σ entries·variables) / bottom."""

    constant: int
    entries: dict[int, int]
    bottom: int


@dataclass(eq=False)
class Near(Program):
    """A program for each box. All begin with the layers of this one, the networks before the patches; the last program
    that was made is kept."""

    calls: Calls = ()
    premise: Premise | None = None  # of a proof about rewards without the patches that it opens
    last: tuple[Box, Program] | None = None
    work: int = 0
    rows: dict[object, list[Row]] = field(default_factory=dict)  # rows of tables, over the variables

    def over(self, box: Box) -> Program:
        used.add("kernel_near")
        if self.last is None or self.last[0] != box:
            tables = [patch for reward, _ in self.calls for patch in reward.patches if is_table(patch)]
            self.spend(sum(len(table.tensors[1].values) for table in tables))
            program = Program(self.variables, [*self.layers], [], {**self.pieces}, self.weights)
            for reward, arguments in self.calls:
                program.call(reward._replace(patches=tuple(self.patches(reward, arguments, box))), arguments)
            self.last = box, program
        return self.last[1]

    def spend(self, work: int) -> None:
        self.work += work
        if self.work > MAX_WORK:
            refuse("there are too many boxes, or too long a premise, for so large a table of patches")

    def patches(self, reward: Reward, arguments: tuple[Affine, ...], box: Box) -> Iterator[Node]:
        """Those of a reward that may act in a box, as ordinary ones."""
        for patch in reward.patches:
            if not is_table(patch) and self.premise is None:
                yield patch
                continue
            key = arguments, patch.tensors[0], patch.tensors[1].shape[-1]
            if key not in self.rows:
                self.rows[key] = composed(patch, arguments)
            yield from _acting(patch, self.rows[key], box, self.spend, self.premise)


def beyond(
    claim: Claim, evidence: object, head: Mapping[str, object], part: Mapping[str, object]
) -> tuple[Claim, Any, Callable[[int, Calls], Program]]:
    """A claim, its proof that says `beyond`, and what makes the program that this is about."""
    found = read(evidence, {**head, **part, "beyond": True}, "a proof")
    return claim, found, partial(programs, premise=premise_of(claim))


def premise_of(claim: Claim) -> Premise:
    """What a claim says of its variables alone, of one with one box."""
    if claim.loops is not None or len(claim.boxes) != 1:
        refuse("a proof about rewards without the patches that the premise opens is of a claim with one box")
    plain = tuple(clause for clause in claim.clauses if not any(atom.form.calls for atom in clause))
    return Premise(plain, claim.discrete, claim.near)


def programs(variables: int, calls: Calls, premise: Premise | None = None) -> Near:
    used.add("kernel_near")
    near = Near(variables, calls=calls, premise=premise)
    for reward, arguments in calls:
        layer, point = near.network(reward, arguments)
        for patch in reward.patches:
            if is_table(patch) or premise is not None:
                return near
            layer = near.once(patched, patch, layer, point)
    return near


def is_table(patch: Node) -> bool:
    return len(patch.tensors[1].shape) == 2


def composed(table: Node, arguments: Sequence[Affine]) -> list[Row]:
    """The rows of a table, over the variables."""
    rows, offsets, *_ = table.tensors
    shared = math.lcm(*(a.bottom for a in arguments))
    found = []
    for row in matrix_of(rows, offsets.shape[-1], len(arguments)):
        constant, entries = 0, dict[int, int]()
        for column, weight in row.items():
            if weight:
                scale = weight * (shared // arguments[column].bottom)
                constant += scale * arguments[column].constant
                for k, x in arguments[column].variables:
                    entries[k] = entries.get(k, 0) + scale * x
        found.append(Row(constant, entries, shared * rows.bottom))
    return found


def _acting(
    table: Node, forms: Sequence[Row], box: Box, spend: Callable[[int], None], premise: Premise | None = None
) -> Iterator[Node]:
    """The patches of a table that may act in a box, from its rows over the variables; or a patch, if it may."""
    rows, offsets, level, slope, *scalars = table.tensors
    delta, gate = (Fraction(*scalar_of(tensor)) for tensor in scalars)
    ends = [extent(form, box) for form in forms]
    n, k = rows.shape[1], offsets.shape[-1]
    left: Iterable[int] = range(len(offsets.values) // k)
    if premise is not None and premise.clauses:
        whole = [(i, math.floor((least - gate) * offsets.bottom)) for i, (least, _) in enumerate(ends)]
        left = _unopened(list(left), offsets, [whole], spend)
        lows, readers = [least for least, _ in ends], dict[int, list[int]]()
        for i, form in enumerate(forms):
            for variable in form.entries:
                readers.setdefault(variable, []).append(i)
        for clause in premise.clauses if left else ():
            edges = _edges(forms, readers, lows, clause, (gate, offsets.bottom), box, premise.discrete, spend)
            left = _unopened(left, offsets, edges, spend)
    if premise is not None and premise.near is not None:
        left = premise.near.closed(list(left), forms, offsets, gate, spend)
    if not is_table(table):
        yield from [table] * len(list(left))
        return
    for i, (least, _) in enumerate(ends):
        edge = math.floor((least - gate) * offsets.bottom)  # offset ≤ edge: row i is at or above the gate all over
        left = [j for j in left if offsets.values[j * k + i] > edge]
    for j in left:
        mine = [Fraction(x, offsets.bottom) for x in offsets.values[j * k : j * k + k]]
        kept = [i for i, (_, most) in enumerate(ends) if delta >= gate or most - mine[i] > delta] or [0]
        some = _part(rows, [i * n + c for i in kept for c in range(n)], len(kept), n)
        yield Node(table.op, (), (some, _part(offsets, [j * k + i for i in kept], len(kept)), level, slope, *scalars))


def _unopened(left: list[int], offsets: Tensor, atoms: Sequence[Edges], spend: Callable[[int], None]) -> list[int]:
    """The patches that a clause does not open."""
    values, k, some = offsets.values, offsets.shape[-1], left
    for edges in atoms:
        spend(OFFSET * len(some) * (1 + len(edges)))
        some = [j for j in some if any(values[j * k + i] <= edge for i, edge in edges)]
    gone = set(some)
    return [j for j in left if j not in gone]


def _edges(
    forms: Sequence[Row],
    readers: Mapping[int, Sequence[int]],
    everywhere: Sequence[Fraction],
    clause: Clause,
    gate: tuple[Fraction, int],
    box: Box,
    discrete: Sequence[bool],
    spend: Callable[[int], None],
) -> list[Edges]:
    """For each atom of a clause that holds somewhere in the box the rows that it raises from what they are
    `everywhere`, with an edge each, as offsets are written. `readers`: the rows that read a variable."""
    found = []
    low, high = tuple(lo for lo, _ in box), tuple(hi for _, hi in box)
    for atom in clause:
        lows, highs = narrowed(low, high, atom, discrete)
        read = {k for k, _ in atom.form.variables}
        if any(lows[k] > highs[k] for k in read):  # the box itself is not empty, and no other end has moved
            continue
        spend(len(box))
        edges, cell = [], list(zip(lows, highs, strict=True))
        for i in sorted({i for k in read for i in readers.get(k, ())}):
            form = forms[i]
            spend(ENTRY * len(read) * (len(form.entries) + len(read)))
            least = _where(form, atom, cell)
            if least > everywhere[i]:
                edges.append((i, math.floor((least - gate[0]) * gate[1])))
        found.append(edges)
    return found


def _where(form: Row, atom: Atom, box: Box) -> Fraction:
    """A lower bound of a form where an atom holds: its least value in the box, or that of it less a multiple of the
    atom, which is not negative there."""
    found = extent(form, box)[0]
    for k, c in atom.form.variables if len(atom.form.variables) > 1 else ():
        x = form.entries.get(k, 0)
        if x * c > 0:  # form − (x·atom.bottom / (c·form.bottom))·atom, times |c|·form.bottom
            size, other = abs(c), abs(x)
            less = {j: w * size for j, w in form.entries.items()}
            for j, w in atom.form.variables:
                less[j] = less.get(j, 0) - other * w
            constant = form.constant * size - other * atom.form.constant
            found = max(found, extent(Row(constant, less, form.bottom * size), box)[0])
    return found


def extent(form: Row, box: Box) -> tuple[Fraction, Fraction]:
    """The least and the greatest value of a form over variables, in a box."""
    least = sum((c * box[k][c < 0] for k, c in form.entries.items()), Fraction(form.constant))
    most = sum((c * box[k][c > 0] for k, c in form.entries.items()), Fraction(form.constant))
    return least / form.bottom, most / form.bottom


def _part(tensor: Tensor, at: Sequence[int], *shape: int) -> Tensor:
    """Some of a tensor's entries, as a tensor."""
    values = [tensor.values[i] for i in at]
    shared = math.gcd(tensor.bottom, *values)
    return Tensor(shape, tuple(x // shared for x in values), tensor.bottom // shared)
