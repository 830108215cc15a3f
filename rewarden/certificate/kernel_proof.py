"""Certificate kernel, part 7: the trees that prove a claim, and their leaves.

A proof is one tree per goal and box. A cut splits a box with nothing lost: its two sides cover it. A leaf ends a branch
with a computed bound. The kernel walks every tree and computes every bound again. What rules with a premise need more
(signs, cases, steps) is in `kernel_steps`; leaves that read two calls as one in `kernel_twins`. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import groupby
from typing import Any, NamedTuple

from rewarden.certificate.kernel_bounds import ALL, NONE, OPEN, ROUGHLY, TOGETHER, Bounds, Box, Facts, Side
from rewarden.certificate.kernel_claim import Atom, Claim, Clause
from rewarden.certificate.kernel_json import Refused, refuse
from rewarden.certificate.kernel_program import Affine, Program
from rewarden.certificate.kernel_shapes import anything, array, rational, read, within

MAX_OPEN, MAX_HELD = 10_000, 1 << 25  # branches that wait, or cases above a leaf: more than a search makes; what waits
WAYS, LARGE, MAX_NODES = (NONE, OPEN, ALL), 200, 1 << 23  # to bound a leaf; weights from which on rough ways come first


Bound = tuple[Fraction, ...]


class Leaf(NamedTuple):
    """A leaf as the proof states it, and the branch that leads to it: box, cases (clause, chosen atom), signs."""

    goal: int
    box: int  # of the claim
    atoms: Clause  # of the goal
    low: Bound
    high: Bound
    cases: tuple[tuple[int, int], ...]
    signs: tuple[Side, ...]
    body: list[Any]


Check = Callable[[Claim, Program, Sequence[Leaf]], None]  # refuses one of the leaves, or none


def leaves(claim: Claim, trees: object) -> Iterator[Leaf]:
    """All leaves of a proof: for every goal, for every box, one tree."""
    shape = ((array,) * len(claim.boxes),) * len(claim.goals)
    for goal, per_box in enumerate(read(trees, shape, "the trees (one list per goal, one tree per box)")):
        for box, tree in enumerate(per_box):
            try:
                yield from walk(claim, goal, box, tree)
            except Refused as error:
                raise Refused(f"goal {goal}, box {box}: {error}") from None


def walk(claim: Claim, goal: int, box: int, value: object) -> Iterator[Leaf]:
    """The leaves of one tree with the box, cases and signs of each; refused unless the tree is whole."""
    low, high = (tuple(ends[side] for ends in claim.boxes[box]) for side in (0, 1))
    for clause in claim.clauses:
        if len(clause) == 1:
            low, high = narrowed(low, high, clause[0], claim.discrete)
    branches = [Leaf(goal, box, claim.goals[goal], low, high, (), (), [])]
    for node in array(value, "a tree", MAX_NODES):
        at = branches.pop() if branches else refuse("a tree has nodes left over")
        match node:
            case ["leaf", *body]:
                yield at._replace(body=body)
            case ["cut", variable, cut]:
                parts = halves(claim, at.low, at.high, variable, cut)
                branches += [at._replace(low=low, high=high) for low, high in reversed(parts)]
            case _:
                from rewarden.certificate.kernel_steps import branches_of

                branches += reversed(branches_of(claim, at, node))
        if len(branches) > MAX_OPEN or len(branches) * (len(at.low) + len(at.cases) + len(at.signs)) > MAX_HELD:
            refuse("a tree is too deep")
    if branches:
        refuse("a tree ends before it is whole")


def halves(claim: Claim, low: Bound, high: Bound, variable: object, at: object) -> tuple[tuple[Bound, Bound], ...]:
    """The two parts of a box that is cut: no point lies between them, and each is smaller than the whole."""
    k, cut = within(0, len(low) - 1)(variable, "a cut variable"), rational(at, "a cut")
    whole = claim.discrete[k]
    left, right = (Fraction(math.floor(cut)), Fraction(math.floor(cut) + 1)) if whole else (cut, cut)
    if not (low[k] <= left < high[k] and (whole or low[k] < cut)):
        refuse("a cut lies outside its box")
    return (low, (*high[:k], left, *high[k + 1 :])), ((*low[:k], right, *low[k + 1 :]), high)


def narrowed(low: Bound, high: Bound, fact: Atom, discrete: Sequence[bool]) -> tuple[Bound, Bound]:
    """A box less what a fact of one variable excludes: every point of it at which the fact is true is still inside.

    c·x + d ≥ 0 is x ≥ −d/c where c > 0 and x ≤ −d/c where c < 0; a strict fact is taken as that too, except that a
    whole number beyond an edge is at least one step beyond it.
    """
    if fact.form.calls or len(fact.form.variables) != 1:
        return low, high
    ((k, slope),) = fact.form.variables
    edge = Fraction(-fact.form.constant, slope)  # both are over the same positive denominator
    beyond = discrete[k] and fact.strict and edge.denominator == 1
    if slope > 0:
        edge = Fraction(math.ceil(edge) + beyond) if discrete[k] else edge
        return (*low[:k], max(low[k], edge), *low[k + 1 :]), high
    edge = Fraction(math.floor(edge) - beyond) if discrete[k] else edge
    return low, (*high[:k], min(high[k], edge), *high[k + 1 :])


class Plan(NamedTuple):
    """What a leaf says is to be done, read and found to be in order."""

    program: Program
    box: Box
    signs: tuple[Side, ...]
    facts: Facts  # −Σ λ·fact ≤ 0 where the facts hold and the goal fails, < 0 if one is strict
    strict: bool
    slopes: dict[tuple[int, int], int]
    moves: list[Callable[[Any], bool | None]]  # steps of bounds: True if there is no such point


def plan(claim: Claim, program: Program, leaf: Leaf) -> Plan | None:
    """None where the facts leave no point of the leaf's box."""
    for layer, neuron, _ in leaf.signs:
        neuron_of(program, layer, neuron)
    if leaf.body[4:] == [1] and type(leaf.body[4]) is int:
        from rewarden.certificate.kernel_twins import twins

        program = twins(claim, program)
    elif len(leaf.body) != 4:
        refuse("a leaf has four parts, or five, the last one being 1")
    if any(low > high for low, high in zip(leaf.low, leaf.high, strict=True)):
        return None
    which, multipliers, slopes, steps = leaf.body[:4]
    within(-1, len(leaf.atoms) - 1)(which, "a goal's atom")
    used = [*array(multipliers, "multipliers"), *([] if which < 0 else [[-1, which, [1, 0]]])]
    facts, strict = facts_of(claim, program, leaf, used)
    chosen = dict(slope_of(program, entry) for entry in array(slopes, "slopes"))
    moves = []
    if array(steps, "steps"):
        from rewarden.certificate.kernel_steps import moves_of

        moves = moves_of(claim, program, leaf, steps)
    return Plan(program, Box(leaf.low, leaf.high), leaf.signs, facts, strict, chosen, moves)


def bounds_of(todo: Plan, effort: int) -> Bounds:
    if effort in (ROUGHLY, TOGETHER):
        from rewarden.certificate.kernel_lanes import RoughBounds

        return RoughBounds(todo.program, todo.box, todo.slopes, effort, todo.signs)
    if todo.signs or todo.moves or not all(isinstance(fact, Affine) for fact, _ in todo.facts):
        from rewarden.certificate.kernel_steps import Stepping

        return Stepping(todo.program, todo.box, todo.slopes, effort, todo.signs)
    return Bounds(todo.program, todo.box, todo.slopes, effort)


def check_leaf(
    claim: Claim, program: Program, leaf: Leaf, bounding: Callable[..., Any] = bounds_of, ways: Sequence[int] = ()
) -> None:
    """Refused unless the leaf's bound, computed here, settles its goal wherever in its box its facts hold."""
    todo = plan(claim, program, leaf)
    if todo is None:
        return
    if not ways and todo.program.weights >= LARGE:
        from rewarden.certificate.kernel_lanes import rough_ways

        ways = rough_ways(todo.program)
    for way in ways or WAYS:
        if todo.moves and way in (NONE, ROUGHLY):
            continue
        bounds = bounding(todo, way)
        if any(move(bounds) for move in todo.moves):
            return  # two bounds have crossed: there is no such point
        value = bounds.least(todo.facts)
        if value > 0 or (value == 0 and todo.strict):
            return
    refuse(f"goal {leaf.goal}: a leaf's bound does not settle it")


def check_leaves(claim: Claim, program: Program, found: Iterable[Leaf]) -> None:
    for leaf in found:
        check_leaf(claim, program, leaf)


def check_some(how: Check, claim: Claim, program: Program, chunk: Sequence[Leaf]) -> int:
    """How many leaves there are; refused unless each holds. `how`: `check_leaves`, or another tier's."""
    for over_box, some in groupby(chunk, key=lambda leaf: program.over(claim.boxes[leaf.box])):
        how(claim, over_box, list(some))
    return len(chunk)


def facts_of(claim: Claim, program: Program, leaf: Leaf, entries: Sequence[Any]) -> tuple[Facts, bool]:
    """Facts, weighted, and whether one of them is strict. All are true where the leaf speaks: atoms of clauses with one
    atom, or chosen by a case above it; [−1, atom]: an atom of its goal, which fails, so that −atom ≥ 0, and > 0 where
    the atom is not strict; and bounds of neurons."""
    terms: list[tuple[Affine | Side, Fraction]] = []
    strict = False
    for entry in entries:
        match entry:
            case [clause, atom, weight]:
                k = within(-1, len(claim.clauses) - 1)(clause, "a fact's clause")
                atoms = leaf.atoms if k < 0 else claim.clauses[k]
                i = within(0, len(atoms) - 1)(atom, "a fact's atom")
                if k >= 0 and len(atoms) != 1 and (k, i) not in leaf.cases:
                    refuse("a leaf uses an atom that no case above it has chosen")
                terms.append((atoms[i].form, -weight_of(weight) if k < 0 else weight_of(weight)))
                strict = strict or atoms[i].strict == (k >= 0)
            case _:
                from rewarden.certificate.kernel_steps import bound_of

                terms.append(bound_of(program, entry))
    return terms, strict


def weight_of(value: object) -> Fraction:
    m, e = read(value, (within(1, 1 << 256), within(-4096, 4096)), "a weight")
    return Fraction(m << max(e, 0), 1 << max(-e, 0))


def slope_of(program: Program, entry: object) -> tuple[tuple[int, int], int]:
    layer, neuron, slope = read(entry, (anything,) * 3, "a slope")
    at = neuron_of(program, layer, neuron)
    return at, within(0, program.layers[at[0]].choices)(slope, "a slope")


def neuron_of(program: Program, layer: object, neuron: object, first: int = 0) -> tuple[int, int]:
    k = within(first, len(program.layers) - 1)(layer, "a layer")
    return k, within(0, program.width(k) - 1)(neuron, "a neuron")
