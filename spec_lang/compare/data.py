"""The data of two specs: which sets hold the same rows, whatever the order of their columns.

Rules and data constants over the same rows are about the same thing; the others are not, and never compare as equal.
Data that cannot be read has no rows to compare: rules that need it stay undecided, the others do not suffer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.compare.frame import SIDES, Frame, Place, Side, Unmatched, partners
from rewarden.spec_lang.errors import RewardenError

Matrix = NDArray[np.float64]
Status = Literal["same", "changed", "added", "removed", "unread"]


@dataclass(frozen=True, slots=True)
class DataChange:
    """What became of one data set. `status` is about the rows: the same file elsewhere is the same."""

    name: str
    status: Status
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class CommonData:
    """The common name of each data set by (side, own name), and its rows in frame columns by common name."""

    names: Mapping[tuple[Side, str], str]
    matrices: Mapping[str, Matrix]  # of `logs`, of the pairs `prefs` side by side, and of `prefs.better`
    changes: tuple[DataChange, ...]
    unread: Mapping[tuple[Side, str], str] = field(default_factory=dict)  # why there are no rows

    def side(self, side: Side) -> dict[str, str]:
        return {name: common for (where, name), common in self.names.items() if where == side}


def common_data(frame: Frame) -> CommonData:
    """Reads every data set of both specs, once."""
    work = _Matching(frame)
    for name in frame.old.data:
        work.match(name)
    work.rest()
    matrices: dict[str, Matrix] = {}
    for own, members in work.read.items():
        matrices[work.names[own]] = _beside(members)
        matrices |= {f"{work.names[own]}.{member}": matrix for member, matrix in members.items() if member}
    return CommonData(work.names, matrices, tuple(work.changes), work.unread)


class _Matching:
    """Mutable: what was read, which names are common, and what became of each data set."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.pairs = partners(frame.old.data, frame.new.data)
        self.read: dict[tuple[Side, str], dict[str, Matrix]] = {}
        self.unread: dict[tuple[Side, str], str] = {}
        self.names: dict[tuple[Side, str], str] = {}
        self.changes: list[DataChange] = []
        for side in SIDES:
            for name in frame.spec(side).data:
                try:
                    self.read[side, name] = _members(frame, side, name)
                except RewardenError as error:
                    self.unread[side, name] = f"{error.code}: {error.message}"
                except Unmatched as error:
                    self.unread[side, name] = str(error)

    def match(self, name: str) -> None:
        """One data set of OLD: its common name, and what became of it."""
        self.names["old", name] = name
        partner = self._partner(name)
        if partner is None:
            self._tell(name, "removed", f"declared at {self.frame.old.data[name].span}")
            return
        before, after = self.read.get(("old", name)), self.read.get(("new", partner))
        alike = _one_file(self.frame, name, partner) or _equal(before, after)  # of one file no row need be known
        self.names["new", partner] = name if alike else f"{partner} of new"
        if alike and partner != name:
            self._tell(name, "same", f"now called {partner}")
        elif alike and self.frame.old.data[name].path != self.frame.new.data[name].path:
            self._tell(name, "same", f"the same rows, now in {self.frame.new.data[name].path}")
        elif before is None or after is None:
            failed = {"old": self.unread.get(("old", name)), "new": self.unread.get(("new", partner))}
            if not alike:
                self._tell(name, "unread", "; ".join(f"{side}: {why}" for side, why in failed.items() if why))
        elif not alike:
            self._tell(name, "changed", _difference(before, after))

    def rest(self) -> None:
        """The data sets that only NEW has."""
        for name, data in self.frame.new.data.items():
            if ("new", name) not in self.names:
                self.names["new", name] = f"{name} of new" if name in self.frame.old.data else name
                self._tell(name, "added", f"declared at {data.span}")

    def _tell(self, name: str, status: Status, message: str) -> None:
        self.changes.append(DataChange(name, status, message))

    def _partner(self, name: str) -> str | None:
        """NEW's data of that name, or else a new name for the same rows."""
        if name in self.pairs:
            return self.pairs[name]
        fresh = [n for n in self.frame.new.data if n not in self.pairs.values() and ("new", n) not in self.names]
        alike = [n for n in fresh if _equal(self.read.get(("old", name)), self.read.get(("new", n)))]
        return alike[0] if alike else None


def _members(frame: Frame, side: Side, name: str) -> dict[str, Matrix]:
    """Per member the rows in frame columns, where a unit changed converted. Unmatched if that is not exact."""
    spec = frame.spec(side)
    found: dict[str, Matrix] = {}
    for member, kind in spec.data[name].members:
        common = frame.type_of(side, kind)
        rows = spec.table(name, member).require_rows().values
        matrix = np.zeros((len(rows), len(common.columns())))
        for column, place in enumerate(common.places(side)):
            if not place.same_unit:
                matrix[:, place.column] = _converted(rows[:, column], place, spec.features[kind].columns()[column].name)
                continue
            matrix[:, place.column] = rows[:, column]
        found[member] = matrix
    return found


def _converted(numbers: NDArray[np.float64], place: Place, column: str) -> NDArray[np.float64]:
    """In the frame's unit; Unmatched where binary64 does not hold them exactly."""
    exact = [place.to_frame(Fraction(float(x))) for x in numbers]
    found = np.array([float(x) for x in exact])
    if any(Fraction(x) != y for x, y in zip(found.tolist(), exact, strict=True)):
        raise Unmatched(f"its column {column} is in another unit now, and its rows there are others by rounding")
    return found


def _one_file(frame: Frame, name: str, partner: str) -> bool:
    """Do both specs read one and the same file, in one and the same way?"""
    before, after = frame.old.data[name], frame.new.data[partner]
    if frame.old.base is None or frame.new.base is None:
        same_file = frame.old.base is frame.new.base and before.path == after.path
    else:
        same_file = (frame.old.base / before.path).resolve() == (frame.new.base / after.path).resolve()
    if not same_file or [m for m, _ in before.members] != [m for m, _ in after.members]:
        return False
    for (_, a), (_, b) in zip(before.members, after.members, strict=True):
        kind = frame.types.get(("old", a))
        if kind is None or kind != frame.types.get(("new", b)) or not kind.same_units:
            return False
    return True


def _equal(a: dict[str, Matrix] | None, b: dict[str, Matrix] | None) -> bool:
    """The same rows, each as often; their order means nothing to any rule."""
    if a is None or b is None or list(a) != list(b):
        return False
    if all(np.array_equal(a[member], b[member]) for member in a):
        return True
    return sorted(rows_of(_beside(a))) == sorted(rows_of(_beside(b)))


def _beside(members: dict[str, Matrix]) -> Matrix:
    return np.concatenate(list(members.values()), axis=1)


def _difference(before: dict[str, Matrix], after: dict[str, Matrix]) -> str:
    """`1000 rows before, 1009 now: 3 are gone, 12 are new`."""
    if list(before) != list(after):
        return "its members are others now"
    a, b = rows_of(_beside(before)), rows_of(_beside(after))
    gone, come = len(set(a) - set(b)), len(set(b) - set(a))
    if not gone and not come:
        return f"{len(a)} rows before, {len(b)} now: the same ones, in other numbers"
    return f"{len(a)} rows before, {len(b)} now: {gone} are gone, {come} are new"


def rows_of(matrix: Matrix) -> list[bytes]:
    """Each row as a value that can be compared (no negative zeros, so equal numbers are equal bytes)."""
    whole = np.ascontiguousarray(matrix + 0.0)
    return [row.tobytes() for row in whole]
