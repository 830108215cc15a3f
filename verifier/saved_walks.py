"""Searches over cells and over signs of neurons as arrays and JSON, and back: `saved_search` for the other engines.

What comes back is of the right shapes and types, and speaks of boxes and rows that there are. That what is settled was
settled rightly is not looked into again. A search that has grown beyond `LARGEST` is not saved: it is asked again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewarden.verifier.cells.engine import Cells
from rewarden.verifier.saved_search import Arrays, Snapshot, StateError, require, whole_numbers
from rewarden.verifier.trail import EVENT
from rewarden.verifier.wide.bounds import Known
from rewarden.verifier.wide.split import Signs, _Cases, _Hard

LARGEST = 2**26  # bytes


# ── signs of neurons ───────────────────────────────────────────────────────────────────────────
def signs_out(signs: Signs) -> Snapshot | None:
    """Of a search that is between two batches; None if it is too large."""
    batches = [batch for hard in signs.hard for batch in hard.waiting or ()]
    parts = [_tensors(batch) for batch in batches]
    names = list(parts[0]) if parts else []
    arrays: Arrays = {name: torch.cat([part[name] for part in parts]).numpy() for name in names}
    if sum(array.nbytes for array in arrays.values()) > LARGEST:
        return None
    told = {
        "course": [signs.spent, signs.begun, signs.end],
        "looked": signs.looked,
        "failed": sorted(signs.failed),
        "turns": [signs.allowance, signs.turns],
        "hard": [
            [hard.box, hard.turn, None if hard.waiting is None else [int(b.row.numel()) for b in hard.waiting]]
            for hard in signs.hard
        ],
    }
    return Snapshot(told, arrays)


def signs_in(signs: Signs, saved: Snapshot) -> None:
    """Puts a fresh search of the same boxes where the saved one was. StateError."""
    told, arrays = saved.told, saved.arrays
    try:
        spent, begun, end = told["course"]
        require(whole_numbers(spent, begun, *([] if end is None else [end])) and begun <= spent, "a course is none")
        require(whole_numbers(told["looked"]) and told["looked"] <= len(signs.fresh), "boxes that there are not")
        require(whole_numbers(*told["failed"], *told["turns"]), "a count is none")
        require(all(box < signs.count for box in told["failed"]), "boxes that there are not")
        cases, start = _cases_in(signs, arrays), 0
        hard: deque[_Hard] = deque()
        for box, turn, sizes in told["hard"]:
            require(whole_numbers(box, turn, *(sizes or ())) and box < signs.count, "a box is none")
            waiting = None
            if sizes is not None:
                waiting = []
                for size in sizes:
                    require(cases is not None and 0 < size <= len(cases.row) - start, "cases are missing")
                    assert cases is not None
                    waiting.append(cases.take(torch.arange(start, start + size)))
                    start += size
            hard.append(_Hard(box, waiting, turn))
        require(start == (0 if cases is None else len(cases.row)), "cases are left over")
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise error if isinstance(error, StateError) else StateError(f"{type(error).__name__}: {error}") from error
    signs.spent, signs.begun, signs.end, signs.looked = spent, begun, end, told["looked"]
    signs.failed, signs.hard = set(told["failed"]), hard
    signs.allowance, signs.turns = told["turns"]


def _tensors(cases: _Cases) -> dict[str, torch.Tensor]:
    """By name; lists of them by number."""
    found = {"box": cases.box, "row": cases.row, "bound": cases.bound}
    lists = {"signs": cases.signs, "slopes": cases.slopes, "multipliers": cases.multipliers}
    for field in fields(Known):
        value = getattr(cases.known, field.name)
        if isinstance(value, list):
            lists[f"known.{field.name}"] = value
        else:
            found[f"known.{field.name}"] = value
    return found | {f"{name}.{k}": value for name, values in lists.items() for k, value in enumerate(values)}


def _cases_in(signs: Signs, arrays: Mapping[str, NDArray[Any]]) -> _Cases | None:
    if not arrays:
        return None
    count = len(arrays["row"])
    widths = [signs.network.inputs, *(node.width for node in signs.network.nodes)]
    empty = [0, *widths[1:]]  # of what belongs to neurons alone

    def one(name: str, width: int | None, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        tensor = torch.from_numpy(arrays[name].copy())
        shape = (count,) if width is None else (count, width)
        require(tensor.dtype == dtype and tensor.shape == shape, f"{name} has another shape")
        return tensor

    def several(name: str, wide: list[int], dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
        return [one(f"{name}.{k}", width, dtype) for k, width in enumerate(wide)]

    known = Known(
        one("known.middle", widths[0]), one("known.radius", widths[0]), several("known.lo", widths),
        several("known.hi", widths), several("known.size", widths), several("known.noise", widths),
        one("known.mass", None),
    )  # fmt: skip
    cases = _Cases(
        one("box", None, torch.int64), one("row", None, torch.int64), one("bound", None), known,
        several("signs", empty, torch.int8), several("slopes", empty), several("multipliers", empty),
    )  # fmt: skip
    limits = ((cases.box, signs.count), (cases.row, signs.rows.width))
    require(all(bool(((which >= 0) & (which < limit)).all()) for which, limit in limits), "a case of no box or row")
    require(all(bool((part.abs() <= 1).all()) for part in cases.signs), "a sign is none")
    require(all(bool((part >= 0).all()) for part in cases.multipliers), "a multiplier is none")
    return cases


# ── cells ──────────────────────────────────────────────────────────────────────────────────────
def cells_out(cells: Cells) -> Snapshot | None:
    """Of a walk that is between two slices; None if it is too large."""
    walker = cells.walker
    pile = int(walker.waiting.pile[0]) if cells.busy else 0
    arrays: Arrays = {f"waiting.{name}": getattr(walker.waiting, name)[:pile].copy() for name in _piled(cells)}
    arrays |= {f"tally.{name}": getattr(walker.tally, name).copy() for name in walker.tally._fields}
    arrays |= {"whole": walker.whole.copy(), "found": walker.found.copy()}
    trails = [np.concatenate([np.zeros(0, EVENT), *box]) for box in cells.trails]
    arrays["trail"] = np.concatenate([np.zeros(0, EVENT), *trails])
    if sum(array.nbytes for array in arrays.values()) > LARGEST:
        return None
    told = {
        "course": [cells.boxes, cells.begun, cells.end],
        "left": len(cells.left),
        "settled": float(cells.settled).hex(),
        "flags": [bool(cells.busy), bool(cells.open), bool(walker.recorded)],
        "events": int(cells.events),
        "trails": [len(box) for box in trails],
        "alarms": walker.alarms,
    }
    return Snapshot(told, arrays)


def cells_in(cells: Cells, saved: Snapshot) -> None:
    """Puts a fresh walk over the same boxes where the saved one was. StateError."""
    told, arrays, walker = saved.told, saved.arrays, cells.walker
    try:
        boxes, begun, end = told["course"]
        busy, is_open, recorded = (flag is True for flag in told["flags"])
        counts = (boxes, begun, *([] if end is None else [end]), told["left"], told["events"], told["alarms"])
        require(whole_numbers(*counts, *told["trails"]) and told["left"] + busy <= len(cells.left), "a count is none")
        waiting = {name: arrays[f"waiting.{name}"] for name in _piled(cells)}
        pile = len(waiting["lo"])
        for name, array in waiting.items():
            room = getattr(walker.waiting, name)
            require(array.dtype == room.dtype and array.shape == (pile, *room.shape[1:]), "a pile has another shape")
            require(pile <= len(room) and (pile == 0 or busy), "a pile is too high")
        tally = {name: arrays[f"tally.{name}"] for name in walker.tally._fields}
        plain = {"whole": walker.whole, "found": walker.found}
        for name, room in [*plain.items(), *((name, getattr(walker.tally, name)) for name in tally)]:
            array = tally[name] if name in tally else arrays[name]
            require(array.dtype == room.dtype and array.shape == room.shape, "a count has another shape")
        most = walker.waiting.C.shape[1]
        require(bool(((waiting["rows"] >= 0) & (waiting["rows"] <= most)).all()), "rows that there are not")
        held = waiting["held"]
        require(bool(((held >= 0) & (held <= waiting["node"].shape[1])).all()), "signs that there are not")
        graph, wide = walker.net.bias.shape
        for name, limit in (("node", graph), ("neuron", wide), ("side", 3)):
            require(bool(((waiting[name] >= 0) & (waiting[name] < limit)).all()), "a neuron that there is not")
        trail = arrays["trail"]
        require(trail.dtype == EVENT and trail.shape == (sum(told["trails"]),), "a trail is none")
        settled = float.fromhex(told["settled"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise error if isinstance(error, StateError) else StateError(f"{type(error).__name__}: {error}") from error
    cells.boxes, cells.begun, cells.end, cells.settled = boxes, begun, end, settled
    cells.left = cells.left[: told["left"]]
    cells.busy, cells.open, walker.recorded, cells.events = busy, is_open, recorded, told["events"]
    ends = np.cumsum(told["trails"])[:-1]
    cells.trails = [[part.copy()] for part in np.split(trail, ends)] if told["trails"] else []
    for name, array in waiting.items():
        getattr(walker.waiting, name)[:pile] = array
    walker.waiting.pile[0] = pile
    for name, array in tally.items():
        getattr(walker.tally, name)[:] = array
    walker.whole, walker.alarms = arrays["whole"].copy(), told["alarms"]
    walker.found[:] = arrays["found"]


def _piled(cells: Cells) -> list[str]:
    return [name for name in cells.walker.waiting._fields if name != "pile"]
