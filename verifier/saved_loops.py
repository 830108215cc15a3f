"""A graph of cells between two rounds as arrays and JSON, and back (`saved_search`), for rules about loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewarden.verifier.box_minimum import AffineRows
from rewarden.verifier.loops.abstraction import Abstraction, Dropped, Mark, Settled
from rewarden.verifier.loops.bounds import Planes
from rewarden.verifier.loops.partition import Cells
from rewarden.verifier.loops.potentials import Graph
from rewarden.verifier.saved_queries import WRONG, state_error
from rewarden.verifier.saved_search import Arrays, Snapshot, require, whole_numbers

LARGEST = 2**26  # bytes: what is larger is not saved
OWN = ("slope", "constant", "error", "loss")


def mark_out(mark: Mark) -> Snapshot | None:
    """None if it is too large."""
    arrays: Arrays = {}
    _cells_out(arrays, "cells", [mark.cells])
    arrays["tilt"], arrays["label"] = mark.tilt, mark.label
    _moves_out(arrays, "moves", [mark.graph], [mark.weight])
    if mark.own is not None:
        arrays |= {f"own.{name}": getattr(mark.own.rows, name).numpy() for name in OWN}
    _cells_out(arrays, "parts", [part.cells for part in mark.parts])
    arrays["parts.tilt"] = np.concatenate([np.zeros((0, mark.tilt.shape[1])), *(part.tilt for part in mark.parts)])
    _moves_out(arrays, "parts.moves", [part.graph for part in mark.parts], [part.weight for part in mark.parts])
    _cells_out(arrays, "dropped", [one.cells for one in mark.dropped])
    told = {
        "counts": [mark.moves, mark.rounds],
        "place": [list(place) for place in mark.place],
        "parts": [
            {"potential": [str(p) for p in part.potential], "scale": str(part.scale), "place": [*map(list, part.place)]}
            for part in mark.parts
        ],
        "dropped": [{"place": [*map(list, one.place)], "empty": one.empty} for one in mark.dropped],
    }
    if sum(array.nbytes for array in arrays.values()) > LARGEST:
        return None
    return Snapshot(told, arrays)


def mark_in(graph: Abstraction, saved: Snapshot) -> None:
    """Puts a fresh graph of the same cells where the saved one was. StateError."""
    try:
        mark = _mark(graph, saved.told, saved.arrays)
    except WRONG as error:
        raise state_error(error) from error
    graph.put(mark)


def _mark(graph: Abstraction, told: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Mark:
    first = graph.cells
    width = first.lo.shape[1]
    require(whole_numbers(*told["counts"]), "a count is none")
    (cells,) = _cells_in(arrays, "cells", first)
    count = len(cells)
    label, tilt = arrays["label"], arrays["tilt"]
    require(label.dtype == np.int64 and label.shape == (count,), "a component is none")
    require(tilt.dtype == np.float64 and tilt.shape == (count, width), "a slope is none")
    ((moves, weight),) = _moves_in(arrays, "moves", [count])
    fresh = np.isnan(tilt).any(axis=1)
    require(bool(np.isnan(weight[fresh[moves.source] | fresh[moves.target]]).all()), "a weight without slopes")
    parts, dropped = _cells_in(arrays, "parts", first), _cells_in(arrays, "dropped", first)
    require(len(parts) == len(told["parts"]) and len(dropped) == len(told["dropped"]), "a part has no cells")
    inside = _moves_in(arrays, "parts.moves", [len(part) for part in parts])
    tilts = arrays["parts.tilt"]
    require(tilts.dtype == np.float64 and tilts.shape == (sum(map(len, parts)), width), "a slope is none")
    require(bool(np.isfinite(tilts).all()), "a slope is none")
    starts = np.cumsum([0, *map(len, parts)])
    settled = []
    for k, (one, part, (graph_of, weights)) in enumerate(zip(told["parts"], parts, inside, strict=True)):
        potential = tuple(int(p) for p in one["potential"])
        require(len(potential) == len(part), "a potential is none")
        own = tilts[starts[k] : starts[k + 1]].copy()
        place = _place(one["place"], len(part))
        scale = Fraction(one["scale"])
        require(scale > 0, "a potential is none")
        settled.append(Settled(part, own, potential, scale, place, graph_of, weights))
    gone = [
        Dropped(part, _place(one["place"], len(part)), one["empty"] is True)
        for one, part in zip(told["dropped"], dropped, strict=True)
    ]
    rows = len(graph.bounds.rows)
    planes = None
    if "own.slope" in arrays:
        shapes = {"slope": (count * rows, 2 * width)} | dict.fromkeys(OWN[1:], (count * rows,))
        for name in OWN:
            array = arrays[f"own.{name}"]
            require(array.dtype == np.float64 and array.shape == shapes[name], "a plane is none")
        planes = Planes(AffineRows(*(torch.from_numpy(arrays[f"own.{name}"].copy()) for name in OWN)))
    moved, rounds = told["counts"]
    place = _place(told["place"], count)
    return Mark(
        cells, tilt.copy(), place, planes, moves, weight, label.copy(), moved, rounds, tuple(settled), tuple(gone)
    )


def _place(told: Sequence[Sequence[int]], count: int) -> tuple[tuple[int, ...], ...]:
    require(len(told) == count and all(whole_numbers(*one) for one in told), "a place is none")
    return tuple(tuple(one) for one in told)


# ── several cells, and moves between them ──────────────────────────────────────────────────────
def _cells_out(arrays: Arrays, name: str, cells: Sequence[Cells]) -> None:
    width = cells[0].lo.shape[1] if cells else 0
    empty = np.zeros((0, width))
    arrays[f"{name}.count"] = np.array([len(one) for one in cells], dtype=np.int64)
    arrays[f"{name}.lo"] = np.concatenate([empty, *(one.lo for one in cells)])
    arrays[f"{name}.hi"] = np.concatenate([empty, *(one.hi for one in cells)])
    arrays[f"{name}.share"] = np.concatenate([np.zeros(0), *(one.share for one in cells)])


def _cells_in(arrays: Mapping[str, NDArray[Any]], name: str, like: Cells) -> list[Cells]:
    counts, lo, hi, share = (arrays[f"{name}.{part}"] for part in ("count", "lo", "hi", "share"))
    require(counts.dtype == np.int64 and counts.ndim == 1 and bool((counts >= 0).all()), "a count is none")
    total = int(counts.sum())
    shaped = lo.shape == hi.shape == (total, like.lo.shape[1]) or (total == 0 and not len(counts))
    require(shaped and share.shape == (total,), "cells have another shape")
    require(all(part.dtype == np.float64 for part in (lo, hi, share)), "cells are of another type")
    require(bool(np.isfinite(lo).all() and np.isfinite(hi).all() and (lo <= hi).all()), "a cell is none")
    inside = total == 0 or bool((lo >= like.lo.min(axis=0)).all() and (hi <= like.hi.max(axis=0)).all())
    require(inside, "a cell is none")
    require(bool(((share >= 0) & (share <= 1)).all()), "a share is none")
    ends = np.cumsum([0, *counts.tolist()])
    return [
        Cells(lo[a:b].copy(), hi[a:b].copy(), share[a:b].copy(), like.discrete, like.range) for a, b in pairwise(ends)
    ]


def _moves_out(arrays: Arrays, name: str, graphs: Sequence[Graph], weights: Sequence[NDArray[np.float64]]) -> None:
    arrays[f"{name}.count"] = np.array([len(graph.source) for graph in graphs], dtype=np.int64)
    for end in ("source", "target"):
        arrays[f"{name}.{end}"] = np.concatenate([np.zeros(0, np.int64), *(getattr(graph, end) for graph in graphs)])
    arrays[f"{name}.weight"] = np.concatenate([np.zeros(0), *weights])


def _moves_in(
    arrays: Mapping[str, NDArray[Any]], name: str, cells: Sequence[int]
) -> list[tuple[Graph, NDArray[np.float64]]]:
    counts, source, target, weight = (arrays[f"{name}.{part}"] for part in ("count", "source", "target", "weight"))
    require(counts.dtype == source.dtype == target.dtype == np.int64 and weight.dtype == np.float64, "a move is none")
    require(counts.shape == (len(cells),) and bool((counts >= 0).all()), "a count is none")
    total = int(counts.sum())
    require(source.shape == target.shape == weight.shape == (total,), "moves have another shape")
    found = []
    for (a, b), count in zip(pairwise(np.cumsum([0, *counts.tolist()])), cells, strict=True):
        ends = (source[a:b].copy(), target[a:b].copy())
        require(all(bool(((end >= 0) & (end < count)).all()) for end in ends), "a move to no cell")
        found.append((Graph(count, *ends), weight[a:b].copy()))
    return found
