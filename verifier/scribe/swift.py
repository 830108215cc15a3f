"""Leaves by compiled code (`compiled`), as lists of the proof, for programs that cells know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rewarden.verifier.cells.bounds import Cell, new_cell, sum_error
from rewarden.verifier.cells.network import WIDTH, Aim, Array, Layout, aim, layout
from rewarden.verifier.fusion import block_term, layer_bias
from rewarden.verifier.program import INPUT, Program
from rewarden.verifier.scribe.compiled import CROSSED, OPEN, ROW, Found, Own, attempt, new_found
from rewarden.verifier.scribe.leaves import FEW_STEPS, MANY, STEPS, Answer, Leaf, dyadic, negative

ROWS = 2_048  # atoms of a claim, at most
Held = tuple[int, int, int]  # layer, neuron; 0: z >= 0, 1: z <= 0


@dataclass(frozen=True, slots=True, eq=False)
class Swift:
    """A program in arrays; `layers[q]` is the layer that has become node q, `rows` the number of each atom's row:
    (goal, −1, atom), or (−1, clause, atom)."""

    at: Layout
    own: Own
    aim: Aim
    cell: Cell
    error: float
    layers: tuple[int, ...]
    rows: Mapping[tuple[int, int, int], int]
    atoms: tuple[int, ...]  # of each goal

    @staticmethod
    def of(program: Program) -> Swift | None:
        """None where cells have nothing to say."""
        claim = program.claim
        goals = {(g, -1, a): atom.affine for g, goal in enumerate(claim.goals) for a, atom in enumerate(goal)}
        facts = {
            (-1, c, a): negative(atom.affine) for c, some in enumerate(claim.clauses) for a, atom in enumerate(some)
        }
        every = {**goals, **facts}
        if not 0 < len(every) <= ROWS:
            return None
        at = layout(program)
        aimed = None if at is None else aim(at, [(affine,) for affine in every.values()])
        if at is None or aimed is None:
            return None
        layers = [INPUT] * len(at.node)
        for layer, node in at.node.items():
            layers[node] = layer
        rows = {name: k for k, name in enumerate(every)}
        return Swift(
            at, _own(at), aimed, new_cell(at.net), sum_error(at.net), tuple(layers), rows,
            tuple(map(len, claim.goals)),
        )  # fmt: skip

    def attempt(
        self,
        boxes: Sequence[Sequence[tuple[float, float]]],
        signs: Sequence[Sequence[Held]],
        subjects: Sequence[Sequence[tuple[int, Sequence[tuple[int, int]]]]],
    ) -> list[Answer]:
        """Of each branch, what is found of each of its subjects: a goal, and the atoms that are taken as true."""
        net, count = self.at.net, len(boxes)
        inputs = int(net.graph[0, WIDTH])
        ends = np.array(boxes, dtype=np.float64).reshape(count, inputs, 2)
        held = np.zeros((count, *net.bias.shape), np.int8)
        for b, branch in enumerate(signs):
            for layer, neuron, side in branch:
                held[b, self.at.node[layer], neuron] = 1 + side  # as Cell.held
        every = [subject for some in subjects for subject in some]
        names = [(*facts, *((-1, a) for a in range(self.atoms[goal]))) for goal, facts in every]
        named = np.zeros((len(every), max(map(len, names), default=0)), np.int64)
        for t, ((goal, _), own) in enumerate(zip(every, names, strict=True)):
            named[t, : len(own)] = [self.rows[goal if c < 0 else -1, c, a] for c, a in own]
        counts = np.array([len(own) for own in names], np.int64)
        first = np.cumsum([0, *map(len, subjects)]).astype(np.int64)
        found = new_found(len(every), net, named.shape[1], inputs)
        few = inputs < MANY
        low, high = np.ascontiguousarray(ends[:, :, 0]), np.ascontiguousarray(ends[:, :, 1])
        attempt(self.at.net, self.own, self.aim, self.cell, low, high, held, first, named, counts,
                FEW_STEPS if few else STEPS, self.error, found)  # fmt: skip
        leaves = [self._leaf(own, found, t) for t, own in enumerate(names)]
        unstable, flat = found.unstable.tolist(), found.flat.tolist()
        costly = [(self.layers[q], i) if q else None for q, i in found.costly.tolist()]
        return [Answer(*one) for one in zip(leaves, costly, unstable, found.slope, flat, strict=True)]

    def _leaf(self, names: Sequence[tuple[int, int]], found: Found, t: int) -> Leaf | None:
        status = int(found.status[t])
        if status == OPEN:
            return None
        ties = self._lines(found.ties[t])
        if status == CROSSED:
            # (z − l) + (u − z) >= 0, and u < l.
            (q, i), *_ = np.argwhere(found.multiples[t]).tolist()
            return ["leaf", -1, [[self.layers[q], i, side, [1, 0]] for side in (0, 1)], ties, []]
        anchor = int(found.row[t])
        clause, atom = names[anchor]
        number = atom if clause < 0 else -1
        if status == ROW:
            return ["leaf", number, [] if clause < 0 else [[clause, atom, [1, 0]]], ties, []]
        used: list[object] = []
        for row, weight in enumerate(found.weights[t].tolist()):
            if weight > 0 and (row != anchor or clause >= 0):
                used.append([*names[row], dyadic(weight)])
        used += self._multiples(found.multiples[t])
        lines = self._lines(found.slopes[t])
        if lines:
            # These lines are for the sum alone. The kernel bounds a layer when something reads it first: so something
            # has to, before they are chosen.
            lines.insert(0, [self.layers[-1], 0, 0, []])
        return ["leaf", number, used, ties, lines]

    def _lines(self, slopes: np.ndarray) -> list[object]:
        return [[self.layers[q], i, int(slopes[q, i])] for q, i in np.argwhere(slopes >= 0).tolist()]

    def _multiples(self, multiples: np.ndarray) -> list[object]:
        return [
            [self.layers[q], i, 0 if multiples[q, i] > 0 else 1, dyadic(abs(float(multiples[q, i])))]
            for q, i in np.argwhere(multiples).tolist()
        ]


def _own(at: Layout) -> Own:
    layers = at.program.layers
    blocks = [block_term(block).weight for layer in layers for block in layer.blocks]
    source = [block.source + 1 for layer in layers for block in layer.blocks]
    wide = max([1, *(max(weight.shape) for weight in blocks)])
    matrix: list[int] = []
    dense: list[Array] = []
    diagonal = np.zeros((max(1, len(blocks)), wide))
    for e, weight in enumerate(blocks):
        size = len(weight)
        if weight.shape == (size, size) and not (weight - np.diag(np.diag(weight))).any():
            diagonal[e, :size] = np.diag(weight)
            matrix.append(-1)
            continue
        matrix.append(len(dense))
        padded = np.zeros((wide, wide))
        padded[:size, : weight.shape[1]] = weight
        dense.append(padded)
    bias = np.zeros((max(1, len(layers)), wide))
    for k, layer in enumerate(layers):
        bias[k, : layer.rows] = layer_bias(layer)[0]
    first = np.cumsum([0, *(len(layer.blocks) for layer in layers)])
    return Own(
        np.array([at.node.get(k, 0) for k in range(len(layers))], np.int64),
        np.array([layer.width for layer in layers], np.int64),
        first.astype(np.int64),
        np.array(source, np.int64),
        np.array(matrix, np.int64),
        np.stack(dense) if dense else np.zeros((1, wide, wide)),
        diagonal,
        bias,
    )
