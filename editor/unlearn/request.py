"""Which rows are to be forgotten, and the ledger of those that were.

A row is named by its id, or by its content where the table has no ids. The ledger holds neither: each entry is
HMAC-SHA-256 under a random salt. Whoever has the ledger and guesses a row can tell whether it is in it; nobody can read
a row off it. It is kept because the data file may still hold the rows: without it, the next training would learn them.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import DataSource
from rewarden.reward.learners.interface import Comparisons
from rewarden.reward.learners.shards import Data, contents, keys, length, taken
from rewarden.spec_lang.canonical import canonical_json, parse_canonical
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.tables import canonical_table_digest

FORMAT = "rewarden-forgotten"
KEPT_OUT = "ids or rows in the ledger"


@dataclass(frozen=True, slots=True)
class Ledger:
    """Who was forgotten. `requests` are (rows asked for, rows found) per request, oldest first."""

    salt: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    entries: frozenset[str] = frozenset()
    requests: tuple[tuple[int, int], ...] = ()

    def entry(self, key: bytes) -> str:
        return hmac.digest(self.salt, key, "sha256").hex()

    def holds(self, key: bytes) -> bool:
        return bool(self.entries) and self.entry(key) in self.entries

    def with_request(self, forgotten: Sequence[bytes], asked: int, found: int) -> Ledger:
        entries = self.entries | {self.entry(key) for key in forgotten}
        return replace(self, entries=entries, requests=(*self.requests, (asked, found)))

    def bytes(self) -> bytes:
        return canonical_json(
            {
                "format": FORMAT,
                "format_version": 1,
                "salt": self.salt.hex(),
                "forgotten": sorted(self.entries),
                "requests": [list(request) for request in self.requests],
            }
        )


def read_ledger(path: Path) -> Ledger:
    """A fresh one where there is none. Raises EditError E21 for what is no ledger."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Ledger()
    except OSError as error:
        raise EditError("E21", f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        found = parse_canonical(data)
        assert isinstance(found, dict)
        assert (found["format"], found["format_version"]) == (FORMAT, 1)
        entries = [str(bytes.fromhex(entry).hex()) for entry in found["forgotten"]]
        requests = tuple((int(asked), int(hit)) for asked, hit in found["requests"])
        return Ledger(bytes.fromhex(found["salt"]), frozenset(entries), requests)
    except (ValueError, TypeError, KeyError, AssertionError, RecursionError):
        raise EditError(
            "E21",
            f"{path} is no ledger of what was forgotten",
            help="restore it: without it, rows that were forgotten may be learned again",
        ) from None


def require_stays_out(ledger: Ledger, data: Data, artifact: str, file: str) -> None:
    """Raises EditError E38 where the data hold rows of the ledger, from which the artifact is about to be changed."""
    known = sum(map(ledger.holds, keys(data)))
    if known:
        raise EditError(
            "E38",
            f"{artifact} was made to forget {known} of the rows of {file}: they would be learned again",
            help="take them out of the file",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Parted:
    """Rows by index: those that stay, those asked for now, and how many the ledger already keeps out. Of the ids or
    rows asked for, so many, `missing` are neither there nor in the ledger."""

    kept: NDArray[np.int64]
    gone: NDArray[np.int64]
    before: int
    asked: int
    missing: int
    ledger: Ledger


def part(data: Data, wanted: Sequence[bytes], ledger: Ledger) -> Parted:
    """Raises EditError E22 where nothing is left, or nothing was found and nothing forgotten before."""
    asked = frozenset(wanted)
    named = keys(data)
    kept, gone, before = [], [], 0
    for row, key in enumerate(named):
        if ledger.holds(key):
            before += 1
        elif key in asked:
            gone.append(row)
        else:
            kept.append(row)
    if not kept:
        raise EditError("E22", "every row is to be forgotten: nothing would be left", help="delete the artifact")
    if not gone:
        raise EditError(
            "E22",
            f"none of the {len(asked)} ids or rows to forget is among the {length(data)} rows of the data"
            + (f"; {before} rows were forgotten before" if before else ""),
            help="name rows by the column id, or give them as they stand in the data, which must still hold them",
        )
    there = {named[row] for row in gone}
    missing = sum(not ledger.holds(key) for key in asked - there)
    found = ledger.with_request(sorted(there), len(asked), len(gone))
    return Parted(np.array(kept, np.int64), np.array(gone, np.int64), before, len(asked), missing, found)


def machine_said(road: str, parted: Parted) -> dict[str, str]:
    """What a manifest says of a request for programs to read: certificates claim the same, text for text."""
    return {
        "road": road,
        "forgotten": str(len(parted.gone)),
        "left": str(len(parted.kept)),
        KEPT_OUT: str(len(parted.ledger.entries)),
    }


def left(data: Data, parted: Parted) -> Data:
    """The rows that stay, and sources that name them alone: against a digest of the whole, whoever has all other rows
    could test what he guesses of a forgotten one."""
    rest = taken(data, parted.kept)
    members = [rest.segments[:, 0], rest.segments[:, 1]] if _sided(rest) else [_records(rest)]
    kind, sources = rest.record.type, []
    for source, values in zip(rest.sources, members, strict=False):
        digest = canonical_table_digest(kind, values.reshape(-1, kind.width))
        sources.append(DataSource(source.name, digest, digest, values.size // kind.width))
    return replace(rest, sources=tuple(sources))


def twins(data: Data, parted: Parted) -> int:
    """How many rows stay that say the same as a forgotten one, under another id."""
    if data.ids is None:
        return 0
    said = contents(replace(data, ids=None))
    gone = {said[row] for row in parted.gone.tolist()}
    return sum(said[row] in gone for row in parted.kept.tolist())


def _sided(data: Data) -> TypeGuard[Comparisons]:
    """Pairs come of two tables, side by side."""
    return isinstance(data, Comparisons) and len(data.sources) == 2


def _records(data: Data) -> NDArray[np.float64]:
    if not isinstance(data, Comparisons):
        return data.rows
    if data.places is None:
        return data.segments
    return data.segments[np.arange(data.segments.shape[1])[None, :] < data.places[:, None]]
