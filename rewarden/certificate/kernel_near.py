"""Certificate kernel: patches near data ("Near data" in docs/formats.md).

A table is one patch on thousands of boxes: m patches with all in common but the offsets. Over a box of a claim few of
them act, and which is decided here, exactly:

- a patch of which some row is at or above the gate at every point of the box changes nothing there (`r' = r` where G
  is at or above the gate), so it is left out;
- of the others, a row that is at most delta at every point, delta being below the gate, is left out: it opens no gate,
  and max(0, G − delta) is the same without it. One row stays, so that there is a G.

What is left are ordinary patches, one after the other in the order of the table. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

from rewarden.certificate.kernel_artifact import Node, Tensor
from rewarden.certificate.kernel_program import INPUT, Affine, Ends, Form, matrix_of, scalar_of


def composed(table: Node, arguments: Sequence[Affine]) -> list[Form]:
    """The rows of a table, over the variables."""
    rows, offsets, *_ = table.tensors
    shared = math.lcm(*(a.bottom for a in arguments))
    found = []
    for row in matrix_of(rows, offsets.shape[1], len(arguments)):
        constant, entries = 0, dict[int, int]()
        for column, weight in row.items():
            if weight:
                scale = weight * (shared // arguments[column].bottom)
                constant += scale * arguments[column].constant
                for k, x in arguments[column].variables:
                    entries[k] = entries.get(k, 0) + scale * x
        found.append(Form(constant, [(INPUT, entries)], shared * rows.bottom))
    return found


def acting(table: Node, forms: Sequence[Form], box: Ends) -> Iterator[Node]:
    """The patches of a table that may act in a box, from its rows over the variables."""
    rows, offsets, level, slope, *scalars = table.tensors
    delta, gate = (Fraction(*scalar_of(tensor)) for tensor in scalars)
    ends = [_extent(form, box) for form in forms]
    (m, k), n = offsets.shape, rows.shape[1]
    left: Iterable[int] = range(m)
    for i, (least, _) in enumerate(ends):
        edge = math.floor((least - gate) * offsets.bottom)  # offset ≤ edge: row i is at or above the gate all over
        left = [j for j in left if offsets.values[j * k + i] > edge]
    for j in left:
        mine = [Fraction(x, offsets.bottom) for x in offsets.values[j * k : j * k + k]]
        kept = [i for i, (_, most) in enumerate(ends) if delta >= gate or most - mine[i] > delta] or [0]
        some = _part(rows, [i * n + c for i in kept for c in range(n)], len(kept), n)
        yield Node(table.op, (), (some, _part(offsets, [j * k + i for i in kept], len(kept)), level, slope, *scalars))


def _extent(form: Form, box: Ends) -> tuple[Fraction, Fraction]:
    """The least and the greatest value of a form over variables, in a box."""
    ((_, entries),) = form.parts
    least = sum((c * box[k][c < 0] for k, c in entries.items()), Fraction(form.constant))
    most = sum((c * box[k][c > 0] for k, c in entries.items()), Fraction(form.constant))
    return least / form.bottom, most / form.bottom


def _part(tensor: Tensor, at: Sequence[int], *shape: int) -> Tensor:
    """Some of a tensor's entries, as a tensor."""
    values = [tensor.values[i] for i in at]
    shared = math.gcd(tensor.bottom, *values)
    return Tensor(shape, tuple(x // shared for x in values), tensor.bottom // shared)
