"""Certificate kernel: claims about loops, and the potentials that prove them ("Loops" in docs/formats.md).

A loop is a sequence of records x₁ … xₙ, n ≥ 1, with xₙ₊₁ = x₁; its steps are the pairs (xᵢ, xᵢ₊₁). The claim: where
every step satisfies the clauses there are numbers `rise`, one for each step, that add up to 0 and with which the goals
hold at every step; for each sum by itself. (With the one goal `rise − R(a, b) ≥ 0`: the sum of R round it is ≤ 0.)

Its proof names for each sum cells that cover the records, and for each cell u an affine potential φ_u. For all cells
u, v it shows that each step from u to v that satisfies the clauses satisfies the goals with rise = φ_v(b) − φ_u(a).
Given a loop, choose for each of its records one cell that holds it: those rises add up to 0, since each potential is
added once and taken off once. Pairs of cells are told apart by a tree over pairs of nodes of the tree of cells, so that
many which no step joins are refuted at once: where a pair of nodes is no pair of cells with potentials its goals count
as false, and its leaves can only show that the clauses hold nowhere. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import reduce
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from rewarden.certificate.kernel_claim import Atom, Claim, Clause, holds, value_of
from rewarden.certificate.kernel_json import refuse, used
from rewarden.certificate.kernel_program import Program, affine_of, evaluate
from rewarden.certificate.kernel_proof import Bound, Leaf, halves, walk
from rewarden.certificate.kernel_shapes import array, rational, read, within

MAX_RECORDS = 1 << 12  # of a loop that is shown
MAX_SUMS = 100
SHAPE: dict[str, Any] = {"loops": [within(0, 10_000)]}  # of such a claim, in addition
MAX_ENDS = 1 << 20  # of the boxes of all cells
Potential = tuple[Fraction, tuple[Fraction, ...]]  # constant, and a slope for each column


class Node(NamedTuple):
    """Of the tree of cells: a box of records, and the two that it is cut into, or its potential."""

    low: Bound
    high: Bound
    parts: tuple[int, int] | None = None
    potential: Potential | None = None


def width(claim: Claim) -> int:
    """Columns of a record. Refused unless the variables are two records of one kind, then the rise."""
    d = len(claim.names) // 2
    rise = 2 * d
    if len(claim.names) != rise + 1 or d < 1 or len(claim.boxes) != 1:
        refuse("a claim about loops has one box of two records and a rise")
    box, discrete = claim.boxes[0], claim.discrete
    if [v for _, v in claim.records] != [tuple(range(d)), tuple(range(d, rise))]:
        refuse("the variables of a claim about loops are those of its records, in order, and a rise")
    if (box[:d], discrete[:d]) != (box[d:rise], discrete[d:rise]) or any(box[rise]) or discrete[rise]:
        refuse("both records of a claim about loops are of one kind, and its rise is 0 in the box")
    forms = [a for _, arguments in claim.calls for a in arguments]
    forms += [atom.form for clause in claim.clauses for atom in clause]
    if any(k == rise for form in forms for k, _ in form.variables):
        refuse("only goals of a claim about loops speak of the rise")
    for goals in sums_of(claim):
        if len({atom.strict for goal in goals for atom in goal if rises(atom, rise)}) > 1:
            refuse("the goals of a sum are all strict, or none is")
    return d


def sums_of(claim: Claim) -> list[tuple[Clause, ...]]:
    """The goals of each sum."""
    ends = [0, *accumulate(claim.loops or ())]
    if ends[-1] != len(claim.goals) or len(ends) > MAX_SUMS:
        refuse(f"each goal of a claim about loops belongs to one of its sums, of which there are fewer than {MAX_SUMS}")
    return [claim.goals[start:end] for start, end in pairwise(ends)]


def rises(atom: Atom, rise: int) -> bool:
    """Does it speak of the rise? Then with coefficient 1."""
    found = dict(atom.form.variables).get(rise, 0)
    return found != 0 and (found == atom.form.bottom or refuse("the rise has coefficient 1"))


# ── a loop, exactly ────────────────────────────────────────────────────────────────────────────
def replay_loop(claim: Claim, program: Program, value: object) -> tuple[bool, bool]:
    """A loop of records: (every step satisfies every clause, the claim is true of it). Refused if one is outside."""
    used.add("kernel_loops")
    d, sums = width(claim), sums_of(claim)
    records = [read(entry, (rational,) * d, "a record") for entry in array(value, "a loop", MAX_RECORDS)]
    for k, (low, high) in enumerate(claim.boxes[0][:d]):
        if any(not low <= x[k] <= high or (claim.discrete[k] and x[k].denominator != 1) for x in records):
            refuse("a record of the loop lies outside its box")
    able, program = bool(records), program.over(claim.boxes[0])
    rooms: list[list[Fraction | bool]] = [[] for _ in sums]
    for here, there in zip(records, [*records[1:], *records[:1]], strict=True):
        x = (*here, *there, Fraction(0))
        outputs = evaluate(program, x)
        able = able and all(any(holds(atom, x, outputs) for atom in clause) for clause in claim.clauses)
        for goals, room in zip(sums, rooms, strict=True):
            room.append(_room(goals, 2 * d, x, outputs))
    strict = [any(atom.strict for goal in goals for atom in goal if rises(atom, 2 * d)) for goals in sums]
    return able, all(map(_true, rooms, strict))


def _room(goals: Sequence[Clause], rise: int, x: Sequence[Fraction], outputs: Sequence[Fraction]) -> Fraction | bool:
    """What the rise of a step can fall by, from 0, until one of the goals fails: True if by any amount, False if one of
    them fails whatever the rise is."""
    least: Fraction | bool = True
    for goal in goals:
        if any(holds(atom, x, outputs) for atom in goal if not rises(atom, rise)):
            continue
        found = [value_of(atom.form, x, outputs) for atom in goal if rises(atom, rise)]
        if not found:
            return False
        most = reduce(lambda a, b: a if a + b * Fraction(-1) > 0 else b, found)  # values of smooth rewards are enclosed
        least = most if least is True or least + most * Fraction(-1) > 0 else least
    return least


def _true(rooms: Sequence[Fraction | bool], strict: bool) -> bool:
    """Are there rises that add up to 0 and leave room at every step?"""
    if any(room is False or room is True for room in rooms):
        return not any(room is False for room in rooms)
    return sum(rooms) > 0 or (sum(rooms) == 0 and not strict)


# ── potentials ─────────────────────────────────────────────────────────────────────────────────
def loop_leaves(claim: Claim, value: object) -> Iterator[Leaf]:
    """All leaves of a proof about loops: for each sum, of the trees of all pairs of cells."""
    used.add("kernel_loops")
    d, sums = width(claim), sums_of(claim)
    shape = ({"cells": array, "pairs": array},) * len(sums)
    for goals, proof in zip(sums, read(value, shape, "the sums"), strict=True):
        nodes = _cells(claim, d, proof["cells"])
        waiting = [(0, 0)]
        for pair in proof["pairs"]:
            u, v = waiting.pop() if waiting else refuse("there are pairs left over")
            if pair in ("from", "to"):
                parts = nodes[u if pair == "from" else v].parts or refuse("a cell is not cut any further")
                waiting += [(k, v) if pair == "from" else (u, k) for k in reversed(parts)]
            else:
                yield from _pair(claim, goals, (nodes[u], nodes[v]), pair)
        if waiting:
            refuse("there are pairs missing")


def _cells(claim: Claim, d: int, value: object) -> list[Node]:
    """The tree of cells, from its nodes in preorder. Together the cells hold every record of the box."""
    box = claim.boxes[0][:d]
    nodes = [Node(tuple(low for low, _ in box), tuple(high for _, high in box))]
    waiting = [0]
    for entry in array(value, "cells", MAX_ENDS // d):
        at = waiting.pop() if waiting else refuse("there are cells left over")
        low, high, *_ = nodes[at]
        match entry:
            case ["cut", column, place]:
                nodes[at] = Node(low, high, parts=(len(nodes), len(nodes) + 1))
                waiting += [len(nodes) + 1, len(nodes)]
                nodes += [Node(*part) for part in halves(claim, low, high, column, place)]
            case ["cell", constant, slopes]:
                potential = read([constant, slopes], (rational, (rational,) * d), "a potential")
                nodes[at] = Node(low, high, potential=potential)
            case ["none"]:
                pass
            case _:
                refuse("a cell must be a cut, a cell with a potential, or none")
    if waiting:
        refuse("there are cells missing")
    return nodes


def _pair(claim: Claim, goals: Sequence[Clause], ends: tuple[Node, Node], value: object) -> Iterator[Leaf]:
    """The leaves about steps from one node of the tree of cells to another."""
    here, there = ends
    box = tuple(zip((*here.low, *there.low, Fraction(0)), (*here.high, *there.high, Fraction(0)), strict=True))
    about: tuple[Clause, ...] = ((),) if goals else ()  # where there is to be no such step
    if here.potential is not None and there.potential is not None:
        about = tuple(tuple(_risen(atom, here.potential, there.potential) for atom in goal) for goal in goals)
    narrow = replace(claim, boxes=(box,), goals=about)
    for goal, tree in enumerate(read(value, (array,) * len(about), "the trees of a pair (one per goal)")):
        yield from walk(narrow, goal, 0, tree)


def _risen(atom: Atom, here: Potential, there: Potential) -> Atom:
    """The atom with φ_v(b) − φ_u(a) in place of the rise."""
    form, d = atom.form, len(here[1])
    if not rises(atom, 2 * d):
        return atom
    slopes = [*(-x for x in here[1]), *there[1], Fraction(-1)]  # the last: less the rise
    for k, x in form.variables:
        slopes[k] += Fraction(x, form.bottom)
    constant = Fraction(form.constant, form.bottom) + there[0] - here[0]
    calls = {k: Fraction(x, form.bottom) for k, x in form.calls}
    return Atom(affine_of(constant, {k: x for k, x in enumerate(slopes) if x}, calls), atom.strict)
