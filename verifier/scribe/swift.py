"""Leaves by compiled code (`compiled`), as lists of the proof, for programs that cells know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.verifier.cells.bounds import Cell, new_cell, sum_error
from rewarden.verifier.cells.network import WIDTH, Aim, Array, Layout, Whole, aim, layout
from rewarden.verifier.facts import FactId
from rewarden.verifier.fusion import block_term, layer_bias
from rewarden.verifier.program import INPUT, Program
from rewarden.verifier.scribe.branch_bounds import Own, Scratch, new_scratch
from rewarden.verifier.scribe.compiled import SUM, Found, attempt, new_found
from rewarden.verifier.scribe.leaves import MANY, STEPS, Answer, Leaf, dyadic, negative, single_facts

ROWS = 2_048  # atoms of a claim, at most
Held = tuple[int, int, int]  # layer, neuron; 0: z >= 0, 1: z <= 0
Names = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Swift:
    """A program in arrays; `layers[q]` is the layer that has become node q, `rows` the number of each atom's row:
    (goal, −1, atom), or (−1, clause, atom)."""

    at: Layout
    own: Own
    aim: Aim
    cell: Cell
    scratch: Scratch
    error: float
    layers: tuple[int, ...]
    rows: Mapping[tuple[int, int, int], int]
    atoms: tuple[int, ...]  # of each goal
    facts: tuple[FactId, ...]  # that hold everywhere
    names: dict[tuple[int, tuple[FactId, ...]], tuple[Names, Whole]]  # of subjects that have occurred, and their rows

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
        own = _own(at)
        return Swift(
            at, own, aimed, new_cell(at.net), new_scratch(at.net, own), sum_error(at.net), tuple(layers), rows,
            tuple(map(len, claim.goals)), single_facts(claim), {},
        )  # fmt: skip

    def attempt(
        self,
        ends: Array,
        signs: Sequence[Sequence[Held]],
        subjects: Sequence[Sequence[tuple[int, tuple[FactId, ...]]]],
        efforts: Sequence[int],
    ) -> list[Answer]:
        """Of each branch, what is found of each of its subjects: a goal, and the atoms of disjunctions that are taken
        as true. `efforts`: of each subject, steps of ascent."""
        net, count = self.at.net, len(ends)
        inputs = int(net.graph[0, WIDTH])
        held = np.zeros((count, *net.bias.shape), np.int8)
        for b, branch in enumerate(signs):
            for layer, neuron, side in branch:
                held[b, self.at.node[layer], neuron] = 1 + side  # as Cell.held
        own = [self._named(subject) for some in subjects for subject in some]
        named = np.zeros((len(own), max((len(rows) for _, rows in own), default=0)), np.int64)
        for t, (_, rows) in enumerate(own):
            named[t, : len(rows)] = rows
        counts = np.array([len(rows) for _, rows in own], np.int64)
        first = np.cumsum([0, *map(len, subjects)]).astype(np.int64)
        found = new_found(len(own), net, named.shape[1], inputs)
        steps = np.array(efforts if inputs < MANY else [STEPS] * len(own), np.int64)
        low, high = np.ascontiguousarray(ends[:, :, 0]), np.ascontiguousarray(ends[:, :, 1])
        attempt(self.at.net, self.own, self.aim, self.cell, self.scratch, low, high, held, first, named, counts, steps,
                self.error, found)  # fmt: skip
        above = [[[q, i, 1, []] for q, i, side in sorted(some) if not side] for some in signs]
        steps_of = [above[b] for b, some in enumerate(subjects) for _ in some]
        return self._answers([names for names, _ in own], steps_of, found)

    def _named(self, subject: tuple[int, tuple[FactId, ...]]) -> tuple[Names, Whole]:
        """The atoms of a subject, and their rows."""
        known = self.names.get(subject)
        if known is None:
            goal, chosen = subject
            names = (*self.facts, *chosen, *((-1, a) for a in range(self.atoms[goal])))
            rows = np.array([self.rows[goal if c < 0 else -1, c, a] for c, a in names], np.int64)
            known = self.names[subject] = names, rows
        return known

    def _answers(self, names: Sequence[Names], steps: Sequence[Sequence[object]], found: Found) -> list[Answer]:
        """`steps`: of each subject those that its leaf begins with, which bound neurons that are held from above."""
        status, anchors = found.status.tolist(), found.row.tolist()
        ties, lines = self._lines(found.ties), self._lines(found.slopes)
        multiples = _grouped(found.multiples, found.multiples != 0.0)
        weights = found.weights.tolist()
        unstable, flat = found.unstable.tolist(), found.flat.tolist()
        costly = [(self.layers[q], i) if q else None for q, i in found.costly.tolist()]
        answers = []
        for t, own in enumerate(names):
            leaf: Leaf | None = None
            match status[t]:
                case 1 | 2:
                    sums = status[t] == SUM
                    leaf = self._leaf(
                        own, anchors[t], weights[t] if sums else (), multiples[t], ties[t], lines[t], steps[t]
                    )
                case 3:
                    # z − l >= 0, or u − z >= 0, or their sum: and it is not.
                    ((q, i, how),) = multiples[t]
                    sides = (0, 1) if how == 2.0 else (0,) if how > 0.0 else (1,)
                    leaf = [
                        "leaf",
                        -1,
                        [[self.layers[q], i, side, [1, 0]] for side in sides],
                        list(ties[t]),
                        [*steps[t]],
                    ]
            answers.append(Answer(leaf, costly[t], unstable[t], found.slope[t], flat[t]))
        return answers

    def _leaf(
        self,
        names: Names,
        anchor: int,
        weights: Sequence[float],
        multiples: Sequence[tuple[int, int, float]],
        ties: Sequence[object],
        lines: Sequence[object],
        steps: Sequence[object],
    ) -> Leaf:
        """A sum of rows; of `anchor` alone where there are no weights."""
        clause, atom = names[anchor]
        used: list[object] = []
        for row, weight in enumerate(weights):
            if weight > 0 and (row != anchor or clause >= 0):
                used.append([*names[row], dyadic(weight)])
        if not weights and clause >= 0:
            used.append([clause, atom, [1, 0]])
        for q, i, value in multiples:
            used.append([self.layers[q], i, 0 if value > 0 else 1, dyadic(abs(value))])
        # Lines for the sum alone. The kernel bounds a layer when something reads it first: so something has to, before
        # they are chosen.
        more = [[self.layers[-1], 0, 0, []], *lines] if lines else []
        return ["leaf", atom if clause < 0 else -1, used, list(ties), [*steps, *more]]

    def _lines(self, slopes: NDArray[np.int16]) -> list[list[object]]:
        """Of each subject."""
        return [[[self.layers[q], i, k] for q, i, k in some] for some in _grouped(slopes, slopes >= 0)]


def _grouped(values: NDArray[Any], chosen: NDArray[np.bool_]) -> list[list[tuple[int, int, Any]]]:
    """Of each subject, node, neuron and value of those that are chosen."""
    found: list[list[tuple[int, int, Any]]] = [[] for _ in range(len(values))]
    places = np.nonzero(chosen)
    for t, q, i, value in zip(*(p.tolist() for p in places), values[places].tolist(), strict=True):
        found[t].append((q, i, value))
    return found


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
        padded[: weight.shape[1], :size] = weight.T
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
