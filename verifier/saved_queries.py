"""Searches for violations, trees of linear programs and queries to z3 as arrays and JSON, and back (`saved_search`).

A search is saved between its rounds, z3's queries between two of them, and a tree of linear programs wherever its model
is made anew: what HiGHS knows from earlier nodes cannot be saved, so all runs forget it at the same nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewarden.verifier.saved_search import Arrays, Snapshot, StateError, require, whole_numbers

if TYPE_CHECKING:
    from rewarden.verifier.falsify import Course
    from rewarden.verifier.lp.region import Region
    from rewarden.verifier.lp.tree import Mark, TreeState

BITS = 128  # of the numbers that a generator's state is made of
WRONG = (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError)


def state_error(error: Exception) -> StateError:
    return error if isinstance(error, StateError) else StateError(f"{type(error).__name__}: {error}")


# ── the search for violations ──────────────────────────────────────────────────────────────────
def course_out(course: Course) -> Snapshot | None:
    """None before the first round has ended."""
    if course.random is None:
        return None
    assert course.spread_premise is not None
    assert course.spread_goals is not None
    arrays = {"premise": course.spread_premise.numpy().copy(), "goals": course.spread_goals.numpy().copy()}
    return Snapshot({"course": [course.rounds, course.points], "random": course.random}, arrays)


def course_in(saved: Snapshot, premise: int, goals: int) -> Course:
    """`premise`, `goals`: how many atoms there are. StateError."""
    from rewarden.verifier.falsify import Course

    try:
        rounds, points = saved.told["course"]
        require(whole_numbers(rounds, points), "a count is none")
        random = _generator(saved.told["random"])
        spreads = [saved.arrays[name] for name in ("premise", "goals")]
        for spread, count in zip(spreads, (premise, goals), strict=True):
            require(spread.dtype == np.float64 and spread.shape == (count,), "a spread is none")
            require(bool((spread > 0).all()), "a spread is none")
    except WRONG as error:
        raise state_error(error) from error
    return Course(rounds, points, random, *(torch.from_numpy(spread.copy()) for spread in spreads))


def _generator(told: Mapping[str, Any]) -> dict[str, Any]:
    """The state of numpy's default generator."""
    inner = {name: told["state"][name] for name in ("state", "inc")}
    rest = {name: told[name] for name in ("has_uint32", "uinteger")}
    numbers = (*inner.values(), *rest.values())
    require(told["bit_generator"] == "PCG64", "the generator is another")
    require(all(type(n) is int and 0 <= n < 2**BITS for n in numbers), "the generator's state is none")
    require(rest["has_uint32"] in (0, 1) and rest["uinteger"] < 2**32 and inner["inc"] % 2 == 1, "its state is none")
    return {"bit_generator": "PCG64", "state": inner, **rest}


# ── linear programs ────────────────────────────────────────────────────────────────────────────
def mark_out(mark: Mark) -> Snapshot:
    arrays: Arrays = {}
    told: dict[str, Any] = {
        "left": list(mark.left),
        "open": list(mark.open),
        "wholes": mark.wholes,
        "spent": mark.spent,
        "tree": None,
    }
    tree = mark.tree
    if tree is not None:
        nodes = [one.node for one in tree.waiting]
        told["tree"] = {
            "counts": [tree.nodes, tree.lps, tree.exact, tree.looks],
            "settled": float(tree.settled).hex(),
            "stuck": tree.stuck,
            "decided": [sorted(node.decided) for node in nodes],
            "cuts": [None if one.cut is None else [*one.cut[:2], float(one.cut[2]).hex()] for one in tree.waiting],
        }
        for name in ("phase", "on", "lo", "hi"):
            arrays[name] = np.array([getattr(node, name) for node in nodes])
        arrays["share"] = np.array([node.share for node in nodes], dtype=np.float64)
        arrays["gain"], arrays["count"] = tree.gain.copy(), tree.count.copy()
    return Snapshot(told, arrays)


def mark_in(saved: Snapshot, parts: int, wholes: int) -> tuple[Mark, Mapping[str, Any] | None]:
    """How far a run over so many parts and wholes was, and what there is of its tree (`tree_in`). StateError."""
    from rewarden.verifier.lp.tree import Mark

    told = saved.told
    try:
        left, open_ = told["left"], told["open"]
        require(whole_numbers(*left, *open_, told["wholes"], told["spent"]), "a count is none")
        require(len({*left, *open_}) == len(left) + len(open_), "a part is twice")
        require(all(k < parts for k in (*left, *open_)) and told["wholes"] <= wholes, "a part that there is not")
        require(told["tree"] is None or bool(left), "a tree of no part")
        return Mark(tuple(left), tuple(open_), told["wholes"], told["spent"], None), told["tree"]
    except WRONG as error:
        raise state_error(error) from error


def tree_in(saved: Snapshot, told: Mapping[str, Any], region: Region) -> TreeState:
    """The state of the tree of a region. StateError."""
    from rewarden.verifier.lp.region import OFF, SHUT, Node
    from rewarden.verifier.lp.tree import TreeState, Waiting

    frame, arrays = region.frame, saved.arrays
    try:
        nodes, lps, exact, looks = told["counts"]
        require(whole_numbers(nodes, lps, exact, looks), "a count is none")
        count = len(arrays["share"])
        phase, on, lo, hi, share = (arrays[name] for name in ("phase", "on", "lo", "hi", "share"))
        inputs, rows = len(region.cell), len(frame.strict)
        shapes: list[tuple[NDArray[Any], type, tuple[int, ...]]] = [
            (phase, np.int8, (count, frame.neurons)), (on, np.bool_, (count, rows)),
            (lo, np.float64, (count, inputs)), (hi, np.float64, (count, inputs)), (share, np.float64, (count,)),
            (arrays["gain"], np.float64, (2, frame.neurons)), (arrays["count"], np.float64, (2, frame.neurons)),
        ]  # fmt: skip
        for array, dtype, shape in shapes:
            require(array.dtype == dtype and array.shape == shape, "a tree has another shape")
        require(bool(((phase >= OFF) & (phase <= SHUT)).all()), "a sign is none")
        require(bool(np.isfinite(lo).all() and np.isfinite(hi).all() and (share >= 0).all()), "a node is none")
        decided, cuts = told["decided"], told["cuts"]
        require(len(decided) == len(cuts) == count and type(told["stuck"]) is bool, "a node is none")
        require(all(whole_numbers(*some) and max(some, default=-1) < len(region.cases) for some in decided), "a case")
        made = [
            Node(phase[k].copy(), on[k].copy(), lo[k].copy(), hi[k].copy(), frozenset(decided[k]), float(share[k]))
            for k in range(count)
        ]
        waiting = tuple(Waiting(node, _cut(cut, frame.neurons)) for node, cut in zip(made, cuts, strict=True))
        settled = float.fromhex(told["settled"])
        gain, times = arrays["gain"].copy(), arrays["count"].copy()
        return TreeState(nodes, lps, exact, looks, settled, told["stuck"], waiting, gain, times)
    except WRONG as error:
        raise state_error(error) from error


def _cut(told: Sequence[Any] | None, neurons: int) -> tuple[int, int, float] | None:
    if told is None:
        return None
    neuron, side, before = told
    require(whole_numbers(neuron, side) and neuron < neurons and side < 2, "a cut is none")
    return neuron, side, float.fromhex(before)


# ── z3 ─────────────────────────────────────────────────────────────────────────────────────────
def queries_out(left: Sequence[int], asked: int, still: Sequence[int], rlimit: int) -> Snapshot:
    """Of the parts numbered `left`, `asked` are through, and the places of those of them that are open are `still`."""
    return Snapshot({"left": list(left), "asked": asked, "still": list(still), "rlimit": rlimit}, {})


def queries_in(saved: Snapshot, parts: int) -> tuple[list[int], int, list[int], int]:
    """StateError."""
    try:
        left, asked, still, rlimit = (saved.told[name] for name in ("left", "asked", "still", "rlimit"))
        require(whole_numbers(asked, rlimit, *left, *still) and asked <= len(left), "a count is none")
        require(list(left) == sorted(set(left)) and all(k < parts for k in left), "a part that there is not")
        require(list(still) == sorted(set(still)) and all(k < asked for k in still), "a part that there is not")
    except WRONG as error:
        raise state_error(error) from error
    return list(left), asked, list(still), rlimit
