"""Certificate kernel: the trees that prove a claim.

A proof is one tree per goal and box. Cuts, signs and cases split, with nothing lost: the two sides of a cut cover the
box, a pre-activation is ≥ 0 or ≤ 0, the atoms of a clause are all the ways in which it can be true. A leaf ends a
branch with computed bounds. The kernel walks every tree and computes every bound again. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from rewarden.certificate.kernel_bounds import SLOPES, Bounds, Box, Side, Terms
from rewarden.certificate.kernel_claim import Atom, Claim, Clause
from rewarden.certificate.kernel_json import Refused, array, integer, rational, read, refuse, within
from rewarden.certificate.kernel_program import INPUT, Affine, Program

MAX_OPEN = 10_000  # branches waiting, and cases above a leaf: far more than a search ever makes
MAX_SIGNS = 1_000  # above a leaf: each branch that waits holds its own
MAX_NODES = 1 << 23
WAYS = (0, False), (1, False), (1, True), (2, True)  # to bound a leaf, as `Bounds` has them: effort, exact


# ── trees ──────────────────────────────────────────────────────────────────────────────────────
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
    low: Bound = tuple(ends[0] for ends in claim.boxes[box])
    high: Bound = tuple(ends[1] for ends in claim.boxes[box])
    for clause in claim.clauses:
        if len(clause) == 1:
            low, high = _narrowed(low, high, clause[0], claim.discrete)
    branches = [Leaf(goal, box, claim.goals[goal], low, high, (), (), [])]
    for node in array(value, "a tree", MAX_NODES):
        if not branches:
            refuse("a tree has nodes left over")
        at = branches.pop()
        low, high = at.low, at.high
        match node:
            case ["cut", variable, cut]:
                parts = halves(claim, low, high, variable, cut)
                branches += [at._replace(low=low, high=high) for low, high in reversed(parts)]
            case ["case", clause]:
                k = integer(clause, 0, len(claim.clauses) - 1, "a case's clause")
                if not claim.clauses[k]:
                    refuse("a case on a clause without atoms")
                for i, atom in reversed(list(enumerate(claim.clauses[k]))):
                    ends = _narrowed(low, high, atom, claim.discrete)
                    branches.append(at._replace(low=ends[0], high=ends[1], cases=(*at.cases, (k, i))))
            case ["sign", layer, neuron]:
                branches += [at._replace(signs=(*at.signs, (layer, neuron, side))) for side in (1, 0)]  # z ≥ 0 first
            case ["leaf", *body]:
                yield at._replace(body=body)
            case _:
                refuse("a node must be a cut, a sign, a case or a leaf")
        if len(branches) > MAX_OPEN or len(at.cases) > MAX_OPEN or len(at.signs) > MAX_SIGNS:
            refuse("a tree is too deep")
    if branches:
        refuse("a tree ends before it is whole")


def halves(claim: Claim, low: Bound, high: Bound, variable: object, at: object) -> tuple[tuple[Bound, Bound], ...]:
    """The two parts of a box that is cut: no point lies between them, and each is smaller than the whole."""
    k, cut = integer(variable, 0, len(low) - 1, "a cut variable"), rational(at, "a cut")
    whole = claim.discrete[k]
    left, right = (Fraction(math.floor(cut)), Fraction(math.floor(cut) + 1)) if whole else (cut, cut)
    if not (low[k] <= left < high[k] and (whole or low[k] < cut)):
        refuse("a cut lies outside its box")
    return (low, (*high[:k], left, *high[k + 1 :])), ((*low[:k], right, *low[k + 1 :]), high)


def _narrowed(low: Bound, high: Bound, fact: Atom, discrete: Sequence[bool]) -> tuple[Bound, Bound]:
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


# ── leaves ─────────────────────────────────────────────────────────────────────────────────────
class Plan(NamedTuple):
    """What a leaf says is to be done, read and found to be in order."""

    program: Program
    facts: Terms  # −Σ λ·fact ≤ 0 where the facts hold and the goal fails, < 0 if one is strict
    strict: bool
    slopes: dict[tuple[int, int], int]
    moves: list[Callable[[Any], bool | None]]


def plan(claim: Claim, program: Program, leaf: Leaf) -> Plan | None:
    """None where the facts leave no point of the leaf's box."""
    for layer, neuron, _ in leaf.signs:
        _neuron(program, layer, neuron)
    if leaf.body[4:] == [1] and type(leaf.body[4]) is int:
        program = _twins(claim, program)
    elif len(leaf.body) != 4:
        refuse("a leaf has four parts, or five, the last one being 1")
    if any(low > high for low, high in zip(leaf.low, leaf.high, strict=True)):
        return None
    number, multipliers, slopes, steps = leaf.body[:4]
    goal = leaf.atoms
    which = integer(number, -1, len(goal) - 1, "a goal's atom")
    facts, strict = _facts(claim, program, leaf, multipliers)
    if which >= 0:  # where the goal fails, −atom ≥ 0, or > 0 where the atom is not strict
        facts, strict = [(goal[which].form, Fraction(-1)), *facts], strict or not goal[which].strict
    chosen = dict(_slope(program, entry) for entry in array(slopes, "slopes"))
    moves = [_step(claim, program, leaf, entry) for entry in array(steps, "steps")]
    return Plan(program, facts, strict, chosen, moves)


def check_leaf(
    claim: Claim,
    program: Program,
    leaf: Leaf,
    bounding: Callable[..., Any] = Bounds,
    ways: Sequence[tuple[int, ...]] = WAYS,
) -> None:
    """Refused unless the leaf's bound, computed here, settles its goal wherever in its box its facts hold."""
    todo = plan(claim, program, leaf)
    if todo is None:
        return
    for way in ways[1 if todo.moves else 0 :]:  # the quick ones are enough for nearly every leaf; all are sound
        bounds = bounding(todo.program, Box(leaf.low, leaf.high), todo.slopes, frozenset(leaf.signs), *way)
        if any(move(bounds) for move in todo.moves):
            return  # two bounds have crossed: there is no such point
        value = bounds.least(todo.facts)
        if value > 0 or (value == 0 and todo.strict):
            return
    refuse(f"goal {leaf.goal}: a leaf's bound does not settle it")


def check_leaves(claim: Claim, program: Program, found: Iterable[Leaf]) -> None:
    for leaf in found:
        check_leaf(claim, program, leaf)


def _step(claim: Claim, program: Program, leaf: Leaf, entry: object) -> Callable[[Bounds], bool | None]:
    """What a leaf does after another: bound all layers again, tighten a bound, or choose a line. True: no point."""
    match entry:
        case ["again"]:
            return lambda bounds: bounds.again()
        case [layer, neuron, side, used]:
            at, end = _neuron(program, layer, neuron, INPUT), integer(side, 0, 1, "a side")
            facts, _ = _facts(claim, program, leaf, used)
            return lambda bounds: bounds.step(*at, end, facts)
        case _:
            where, slope = _slope(program, entry)
            return lambda bounds: bounds.choose(*where, slope)


def _slope(program: Program, entry: object) -> tuple[tuple[int, int], int]:
    if not isinstance(entry, list) or len(entry) != 3:
        refuse("a slope must be a list of 3 entries")
    at = _neuron(program, entry[0], entry[1])
    return at, integer(entry[2], 0, SLOPES if program.layers[at[0]].pair is None else 8, "a slope")


def _twins(claim: Claim, program: Program) -> Program:
    """The program in its other form, made once."""
    from rewarden.certificate.kernel_twins import with_twins

    if not program.twins:
        forms = [atom.form for clause in (*claim.goals, *claim.clauses) for atom in clause]
        program.twins.append(with_twins(program, forms) or refuse("a leaf reads twins, and the claim has none"))
    return program.twins[0]


def _facts(claim: Claim, program: Program, leaf: Leaf, value: object) -> tuple[Terms, bool]:
    """Facts, weighted, and whether one of them is strict. All are true where the leaf speaks: atoms of clauses with one
    atom, or chosen by a case above it; [−1, atom]: an atom of its goal, which fails; [layer, neuron, side]: a bound."""
    terms: list[tuple[Affine | Side, Fraction]] = []
    strict = False
    for entry in array(value, "multipliers"):
        match entry:
            case [layer, neuron, side, weight]:
                terms.append(((*_neuron(program, layer, neuron), integer(side, 0, 1, "a side")), _weight(weight)))
            case [clause, atom, weight]:
                k = integer(clause, -1, len(claim.clauses) - 1, "a fact's clause")
                atoms = leaf.atoms if k < 0 else claim.clauses[k]
                i = integer(atom, 0, len(atoms) - 1, "a fact's atom")
                if k >= 0 and len(atoms) != 1 and (k, i) not in leaf.cases:
                    refuse("a leaf uses an atom that no case above it has chosen")
                terms.append((atoms[i].form, -_weight(weight) if k < 0 else _weight(weight)))
                strict = strict or atoms[i].strict == (k >= 0)
            case _:
                refuse("a multiplier must name an atom or a neuron's bound, and its weight")
    return terms, strict


def _weight(value: object) -> Fraction:
    m, e = read(value, (within(1, 1 << 256), within(-4096, 4096)), "a weight")
    return Fraction(m << max(e, 0), 1 << max(-e, 0))


def _neuron(program: Program, layer: object, neuron: object, first: int = 0) -> tuple[int, int]:
    k = integer(layer, first, len(program.layers) - 1, "a layer")
    return k, integer(neuron, 0, program.width(k) - 1, "a neuron")
