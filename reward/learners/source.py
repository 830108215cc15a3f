"""Where a training's batches come from: from memory, or from disk a window at a time.

Data beyond `streamed.FEW_ROWS` rows and `FEW_CELLS` numbers are not held in memory. A training sees all of them: blocks
are read in a random order, a few of them at a time are a window, and batches are drawn from a window in a random
order. Everything else (the normaliser, quantiles, centres, figures) is of a sample of `SAMPLE` training rows, and at
most `MOST_HELD` rows are validated and tested on: that is as good as all of them, and memory does not grow with the
rows (by a bit for each). Which part a row is in is a matter of its content and the seed: equal rows are in one part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.reward.learners.interface import Array, Comparisons, Demonstrations, Judgements, Run
from rewarden.reward.learners.stage import parts_of
from rewarden.reward.scratch import released
from rewarden.reward.streamed import FEW_CELLS, FEW_ROWS
from rewarden.reward.training import batches
from rewarden.spec_lang.errors import DataError

SAMPLE, MOST_HELD = 1 << 16, 1 << 15
AT_ONCE = 1 << 10  # rows picked out before their pages are let go: each may be on a page of its own
BLOCK_CELLS, WINDOW = 1 << 17, 8  # numbers in a block, blocks in a window


class Items(Protocol):
    """Something per item, such as a tensor."""

    def __len__(self) -> int: ...
    def __getitem__(self, items: Tensor, /) -> Self: ...


T = TypeVar("T", bound=Items)
T_co = TypeVar("T_co", covariant=True)
D = TypeVar("D", bound=Demonstrations | Comparisons | Judgements)


class Source(Protocol[T_co]):
    """Training items, each once an epoch."""

    def __len__(self) -> int: ...
    def batches(self, size: int, generator: torch.Generator) -> Iterator[T_co]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Held(Generic[T]):
    """Those that lie in memory."""

    items: T

    def __len__(self) -> int:
        return len(self.items)

    def batches(self, size: int, generator: torch.Generator) -> Iterator[T]:
        for chosen in batches(torch.arange(len(self.items)), size, generator):
            yield self.items[chosen]


@dataclass(frozen=True, slots=True, eq=False)
class Streamed(Generic[D, T]):
    """Those that are read. `training` holds a bit for each row of `data`; `read` makes items of rows."""

    data: D
    training: NDArray[np.uint8]
    count: int
    read: Callable[[D], T]

    def __len__(self) -> int:
        return self.count

    def batches(self, size: int, generator: torch.Generator) -> Iterator[T]:
        total, step = rows_of(self.data), block_rows(self.data)
        order = torch.randperm(-(-total // step), generator=generator).numpy()
        for first in range(0, len(order), WINDOW):
            rows = np.concatenate([_block(total, step, k) for k in order[first : first + WINDOW].tolist()])
            rows = rows[(self.training[rows >> 3] >> (7 - (rows & 7)).astype(np.uint8)) & 1 == 1]
            if len(rows):
                yield from Held(self.read(chosen(self.data, rows))).batches(size, generator)


@dataclass(frozen=True, slots=True, eq=False)
class Dealt(Generic[D]):
    """`data` in memory, and which of its rows are for training, validation and testing; `stream` holds the bits of the
    training rows of `whole`, where `data` has only a sample of them."""

    data: D
    parts: tuple[Tensor, ...]
    counts: tuple[int, ...]
    notes: dict[str, str]
    whole: D | None = None
    stream: NDArray[np.uint8] | None = None

    def source(self, kept: T, read: Callable[[D], T]) -> Source[T]:
        if self.whole is None or self.stream is None:
            return Held(kept)
        return Streamed(self.whole, self.stream, self.counts[0], read)


Checked = tuple[Array, dict[str, str]]
Split = Callable[[Array, tuple[float, ...], torch.Generator], tuple[Tensor, ...]]


def dealt(
    run: Run,
    data: D,
    shares: tuple[float, ...],
    generator: torch.Generator,
    check: Callable[[D], Checked],
    split: Split | None = None,
) -> Dealt[D]:
    """What is learned from and what is held out; `shares` are of validation (or not) and testing.

    `check` refuses data that say nothing; it returns a key [n, …] that is equal for equal rows, and notes for the
    record. Raises DataError: D05 (a number that is infinite, or missing, by its row), D20, and what `check` raises.
    """
    if not is_large(data) or run.stage is not None:
        key, notes = check(data)
        parts = parts_of(run, key, shares, generator) if split is None else split(key, shares, generator)  # type: ignore[arg-type]
        return Dealt(data, parts, tuple(len(part) for part in parts), notes)
    roles = _roles(data, shares, run.seed)
    places, training = roles.dealt()
    small = chosen(data, np.concatenate(places))
    _, notes = check(small)
    ends = np.cumsum([0, *map(len, places)]).tolist()
    parts = tuple(torch.arange(start, stop) for start, stop in pairwise(ends))
    counts = (roles.training, *(len(place) for place in places[1:]))
    said = {"calibrated on": f"{len(places[0])} of the {roles.training} training rows, by a hash of their content"}
    return Dealt(small, parts, counts, said | {f"{k}, of those": v for k, v in notes.items()}, data, training)


def tested(data: Demonstrations | Comparisons | Judgements, shares: tuple[float, ...], seed: int) -> NDArray[np.int64]:
    """The rows of large data that `dealt` gives for testing. Raises DataError D05, D20."""
    return _roles(data, shares, seed).dealt()[0][-1]


def is_large(data: Demonstrations | Comparisons | Judgements) -> bool:
    return rows_of(data) > FEW_ROWS and _array(data).size > FEW_CELLS


def rows_of(data: Demonstrations | Comparisons | Judgements) -> int:
    return len(_array(data))


def block_rows(data: Demonstrations | Comparisons | Judgements) -> int:
    """A whole number of bytes of bits."""
    return max(1024, BLOCK_CELLS * len(_array(data)) // _array(data).size // 8 * 8)


def chosen(data: D, rows: NDArray[np.int64]) -> D:
    """These rows, in memory; what they mean (rankings' length, annotators' names) stays that of all of them."""
    changed: dict[str, Any] = {}
    for field in fields(data):
        value = getattr(data, field.name)
        if isinstance(value, np.ndarray):
            changed[field.name] = found = np.empty((len(rows), *value.shape[1:]), value.dtype)
            for start in range(0, len(rows), AT_ONCE):
                found[start : start + AT_ONCE] = value[rows[start : start + AT_ONCE]]
                released(value)
    return replace(data, **changed)


def _array(data: Demonstrations | Comparisons | Judgements) -> Array:
    return data.segments if isinstance(data, Comparisons) else data.rows


def _block(total: int, step: int, number: int) -> NDArray[np.int64]:
    return np.arange(number * step, min(total, (number + 1) * step))


def _blocks(data: Demonstrations | Comparisons | Judgements) -> Iterator[NDArray[np.int64]]:
    total, step = rows_of(data), block_rows(data)
    for number in range(-(-total // step)):
        yield _block(total, step, number)


# ── which part a row is in ─────────────────────────────────────────────────────────────────────
def _roles(data: Demonstrations | Comparisons | Judgements, shares: tuple[float, ...], seed: int) -> _Roles:
    count = rows_of(data)
    roles = _dealt_out(data, _Roles(count, shares, seed, MOST_HELD, SAMPLE))
    if not roles.whole:  # few different rows, often: a small share of them may be none
        roles = _dealt_out(data, _Roles(count, shares, seed, count, count))
    return roles


def _dealt_out(data: Demonstrations | Comparisons | Judgements, roles: _Roles) -> _Roles:
    for rows in _blocks(data):
        roles.add(rows, _keys(chosen(data, rows), int(rows[0])))
    return roles


class _Roles:
    """Mutable: rows dealt out by a hash of their content; about `most` of them to a part that is held out, and about
    `sampled` training rows to the sample."""

    def __init__(self, rows: int, shares: tuple[float, ...], seed: int, most: int, sampled: int) -> None:
        held = [min(share, most / rows) for share in reversed(shares)]
        self._edges = np.cumsum(held)  # below the first: tested; below the second: validated; else trained on
        self._seed = seed
        self._sampled = sampled / (rows * (1.0 - float(self._edges[-1])))
        self._places: list[list[NDArray[np.int64]]] = [[] for _ in range(1 + len(shares))]
        self._bits: list[NDArray[np.uint8]] = []
        self.training = 0

    def add(self, rows: NDArray[np.int64], keys: Array) -> None:
        found = hashed(keys, self._seed)
        role = np.searchsorted(self._edges, _share(found), side="right")
        trained = role == len(self._edges)
        self._bits.append(np.packbits(trained))
        self.training += int(trained.sum())
        self._place(0, rows[trained & (_share(_mixed(found)) < self._sampled)], 2 * SAMPLE)
        for k in range(len(self._edges)):
            self._place(-1 - k, rows[role == k], 2 * MOST_HELD)

    def _place(self, part: int, rows: NDArray[np.int64], most: int) -> None:
        """Where rows repeat themselves, a part may be more than its share."""
        self._places[part].append(rows[: max(0, most - sum(map(len, self._places[part])))])

    @property
    def whole(self) -> bool:
        """No part is empty."""
        return all(sum(map(len, part)) for part in self._places)

    def dealt(self) -> tuple[list[NDArray[np.int64]], NDArray[np.uint8]]:
        """Rows of the sample, of each other part, and the training rows' bits."""
        places = [np.concatenate(part) for part in self._places]
        if not self.whole:
            raise DataError(
                "D20",
                "too few of the rows are different to learn from some and to hold others out",
                help="the data repeat themselves: give others",
            )
        return places, np.concatenate(self._bits)


def _keys(data: Demonstrations | Comparisons | Judgements, first: int) -> Array:
    """Equal for equal rows, and for answers to the same question. DataError D05, by its row in the whole."""
    values = _array(data).reshape(rows_of(data), -1)
    if isinstance(data, Demonstrations):
        broken = np.isinf(values).any(axis=1)
        values = np.nan_to_num(values, nan=-1e300)
    else:
        broken = ~np.isfinite(values).all(axis=1)
        if isinstance(data, Judgements):
            broken |= ~np.isfinite(data.labels)
    if broken.any():
        row = first + int(np.flatnonzero(broken)[0]) + 1
        raise DataError("D05", f"row {row} holds a value that is not a number", help="fill it in or drop it")
    if isinstance(data, Comparisons):
        from rewarden.reward.learners.answers import asked

        return asked(values.reshape(*data.segments.shape[:2], -1), data.places)[0]
    return values


def hashed(keys: Array, seed: int) -> NDArray[np.uint64]:
    """64 bits for each row [n, k], the same for the same numbers (splitmix64, Steele et al. 2014)."""
    bits = np.ascontiguousarray(keys + 0.0).view(np.uint64)
    found = np.full(len(bits), seed, np.uint64)
    for k in range(bits.shape[1]):
        found = _mixed(found ^ bits[:, k])
    return found


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _share(bits: NDArray[np.uint64]) -> Array:
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
