"""A search between two batches as arrays and JSON, and back: what a killed run goes on from.

Everything is exact: boxes are float64 as they are, multipliers are rationals in text, shares are floats in hexadecimal.
What comes back has to be whole in structure: every node of a tree in its place, every open node in the frontier just
once. That what is settled was settled rightly is not looked into again (docs/soundness.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.branch import BranchAndBound, Course, GoalSearch
from rewarden.verifier.exact_bounds import Leaf, Multipliers
from rewarden.verifier.frontier import Batch, Frontier
from rewarden.verifier.proof_tree import CASE, CUT, LEAF, NODE, OPEN, ProofTree

Arrays = dict[str, NDArray[Any]]


class StateError(ValueError):
    """A saved state that is not whole."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """`arrays` by name, and what fits into JSON."""

    told: dict[str, Any]
    arrays: Arrays


def snapshot(search: BranchAndBound) -> Snapshot:
    """Of a search that is between two batches."""
    arrays: Arrays = {}
    course = search.course
    told = {
        "course": None if course is None else [course.start, list(course.waiting), course.end],
        "goals": [_goal(one, f"g{number}", arrays) for number, one in enumerate(search.searches)],
    }
    return Snapshot(told, arrays)


def restore(search: BranchAndBound, saved: Snapshot) -> None:
    """Puts a fresh search of the same program where the saved one was. StateError."""
    try:
        goals = saved.told["goals"]
        require(len(goals) == len(search.searches), "another number of goals")
        for number, (one, told) in enumerate(zip(search.searches, goals, strict=True)):
            _restore_goal(one, told, f"g{number}", saved.arrays)
        course = saved.told["course"]
        search.course = None if course is None else Course(course[0], tuple(course[1]), course[2])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise error if isinstance(error, StateError) else StateError(f"{type(error).__name__}: {error}") from error


# ── one goal ───────────────────────────────────────────────────────────────────────────────────
def _goal(search: GoalSearch, name: str, arrays: Arrays) -> dict[str, Any]:
    nodes, leaves = search.tree.state()
    arrays[f"{name}.nodes"] = nodes
    known = {id(context): chosen for chosen, context in search.contexts.items()}
    queues = [(known[key], batches) for key, batches in search.frontier.queues()]
    stuck = [(batch.context.chosen, [batch]) for batch in search.stuck]
    batches = [batch for _, queue in (*queues, *stuck) for batch in queue]
    width = len(search.claim.variables)
    empty = np.zeros((0, width))
    arrays[f"{name}.lo"] = np.concatenate([empty, *(b.boxes.lo.numpy() for b in batches)])
    arrays[f"{name}.hi"] = np.concatenate([empty, *(b.boxes.hi.numpy() for b in batches)])
    arrays[f"{name}.node"] = np.concatenate([np.zeros(0, np.int64), *(b.node.numpy() for b in batches)])
    arrays[f"{name}.share"] = np.concatenate([np.zeros(0), *(b.share.numpy() for b in batches)])
    arrays[f"{name}.bound"] = np.concatenate([np.zeros(0), *(b.bound.numpy() for b in batches)])
    return {
        "boxes": search.boxes,
        "settled": float(search.settled).hex(),
        "exact_budget": search.exact_budget,
        "leaves": [[node, *_leaf_out(leaf)] for node, leaf in leaves.items()],
        "contexts": [list(map(list, chosen)) for chosen in search.contexts],
        "queues": [[list(map(list, chosen)), [b.size for b in queue]] for chosen, queue in queues],
        "stuck": [[list(map(list, chosen)), [b.size for b in queue]] for chosen, queue in stuck],
    }


def _restore_goal(search: GoalSearch, told: Mapping[str, Any], name: str, arrays: Arrays) -> None:
    nodes = arrays[f"{name}.nodes"]
    lo, hi, node, share, bound = (arrays[f"{name}.{part}"] for part in ("lo", "hi", "node", "share", "bound"))
    width, count = len(search.claim.variables), len(node)
    require(nodes.dtype == NODE and nodes.ndim == 1, "the tree is no tree")
    floats = all(part.dtype == np.float64 for part in (lo, hi, share, bound))
    require(floats and node.dtype == np.int64, "the frontier is none")
    shaped = lo.shape == hi.shape == (count, width) and share.shape == bound.shape == (count,)
    require(shaped, "the frontier has no shape")
    require(bool(np.isfinite(lo).all() and np.isfinite(hi).all() and (lo <= hi).all()), "a box is none")
    require(bool((share >= 0).all() and (share <= 1).all()), "a share is none")
    require(not bool(np.isnan(bound).any()), "a bound is none")
    require_tree(nodes, search.tree)
    require(bool((np.sort(node) == np.flatnonzero(nodes["kind"] == OPEN)).all()), "open nodes are not the frontier's")
    leaves = {int(one[0]): _leaf_in(one) for one in told["leaves"]}
    closed = all(0 <= at < len(nodes) and nodes["kind"][at] == LEAF for at in leaves)
    require(closed, "a leaf is none")
    search.tree.put_state(nodes.copy(), leaves)
    for chosen in told["contexts"]:
        search.context(_chosen(chosen, search))
    start = 0

    def batch(chosen: Any, size: int) -> Batch:  # noqa: ANN401 - JSON
        nonlocal start
        require(isinstance(size, int) and 0 < size <= count - start, "a batch has no size")
        part = slice(start, start + size)
        start += size
        boxes = Boxes(torch.from_numpy(lo[part].copy()), torch.from_numpy(hi[part].copy()))
        context = search.context(_chosen(chosen, search))
        nodes, shares, bounds = (torch.from_numpy(values[part].copy()) for values in (node, share, bound))
        return Batch(context, boxes, nodes, shares, bounds)

    frontier = Frontier(width)
    for chosen, sizes in told["queues"]:
        frontier.reserve(search.context(_chosen(chosen, search)))
        for size in sizes:
            frontier.push(batch(chosen, size))
    search.stuck = [batch(chosen, sizes[0]) for chosen, sizes in told["stuck"]]
    require(start == count, "boxes are left over")
    search.frontier = frontier
    require(isinstance(told["boxes"], int) and isinstance(told["exact_budget"], int), "a count is none")
    search.boxes, search.exact_budget = told["boxes"], told["exact_budget"]
    search.settled = float.fromhex(told["settled"])
    whole = search.settled + float(share.sum())
    require(abs(whole - 1.0) < 1e-6 or not len(search.claim.boxes), "settled and open shares do not make a whole")


def require_tree(nodes: NDArray[Any], fresh: ProofTree) -> None:
    """Nodes that are a forest over the claim's boxes: children follow their parents, in order, and fill the array."""
    roots = len(fresh.roots)
    kind, what, child, parent = nodes["kind"], nodes["what"], nodes["child"], nodes["parent"]
    size = len(nodes)
    require(size >= roots and bool((parent[:roots] == -1).all()), "roots are missing")
    require(bool(np.isin(kind, (OPEN, CUT, CASE, LEAF)).all()), "a node of no kind")
    inner = np.flatnonzero((kind == CUT) | (kind == CASE))
    limit = np.where(kind[inner] == CUT, len(fresh.discrete), len(fresh.atoms))
    require(bool(((what[inner] >= 0) & (what[inner] < limit)).all()), "a node of no variable or clause")
    atoms = np.array([*fresh.atoms, 0])
    counts = np.where(kind[inner] == CUT, 2, atoms[np.where(kind[inner] == CUT, 0, what[inner])] if len(inner) else 0)
    order = np.argsort(child[inner], kind="stable")
    starts, lengths, owners = child[inner][order], counts[order], inner[order]
    keep = lengths > 0
    expected = roots + np.concatenate(([0], np.cumsum(lengths)[:-1])) if len(lengths) else np.zeros(0, np.int64)
    require(bool((starts[keep] == expected[keep]).all()), "children are not in their places")
    require(roots + int(lengths.sum()) == size, "nodes are left over")
    require(bool((parent[roots:] == np.repeat(owners, lengths)).all()), "a child of another parent")
    require(bool((parent[roots:] < np.arange(roots, size)).all()), "a child before its parent")
    require(bool(np.isfinite(nodes["cut"][kind == CUT]).all()), "a cut is none")


def _chosen(told: Any, search: GoalSearch) -> tuple[tuple[int, int], ...]:  # noqa: ANN401 - JSON
    chosen = tuple((int(c), int(a)) for c, a in told)
    clauses = search.claim.clauses
    require(all(0 <= c < len(clauses) and 0 <= a < len(clauses[c]) for c, a in chosen), "an atom that is none")
    return chosen


# ── leaves ─────────────────────────────────────────────────────────────────────────────────────
def _leaf_out(leaf: Leaf) -> list[Any]:
    tight = [[layer, neuron, side, _out(ms)] for layer, neuron, side, ms in leaf.tight]
    return [leaf.goal_atom, _out(leaf.multipliers), [list(s) for s in leaf.slopes], tight, leaf.form]


def _out(multipliers: Multipliers) -> list[list[Any]]:
    return [[c, a, str(factor)] for c, a, factor in multipliers]


def _leaf_in(told: list[Any]) -> Leaf:
    _, goal_atom, multipliers, slopes, tight, form = told
    return Leaf(
        int(goal_atom),
        _in(multipliers),
        tuple((int(k), int(n), int(s)) for k, n, s in slopes),
        tuple((int(k), int(n), int(side), _in(ms)) for k, n, side, ms in tight),
        int(form),
    )


def _in(multipliers: list[list[Any]]) -> Multipliers:
    return tuple((int(c), int(a), Fraction(factor)) for c, a, factor in multipliers)


def require(condition: bool, why: str) -> None:
    if not condition:
        raise StateError(why)


def whole_numbers(*values: object) -> bool:
    """Are they counts?"""
    return all(isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62 for value in values)
