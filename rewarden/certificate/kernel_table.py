"""Certificate kernel: claims about what is near the rows of a table, or near none ("Near rows" in docs/formats.md).

Boxes around thousands of rows are too much to write out. Such a claim names the table by its digest, and for each
variable how far a box reaches from its row: a radius, or null, where a point has the row's value. Either the boxes of
the claim are these, cut by the one that is written (a box is made when it is asked for); or the claim is about the one
that is written, and its premise says besides that a point is in none of these: for each row some variable is further
from it than the radius.

Where a proof says `beyond` (`kernel_near`), that opens patches, too. Take a patch and one row of the table. A point of
the premise is not in the row's box, so in some variable it is beyond one of its ends. If, for every variable and both
ends, either no point of the claim's box is beyond, or some row of the patch that reads this variable alone is at or
above the gate wherever beyond (it rises that way, so at the end itself; of a whole number, at the next one), then the
gate is open at the point, and the patch changes nothing. One such row of the table is enough; which, is searched by one
variable, in which few rows are close enough. All comparisons are of integers. Standard library only.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewarden.certificate.kernel_claim import Atom, Claim, Pair, read_plain
from rewarden.certificate.kernel_files import read_file, table_name
from rewarden.certificate.kernel_json import canonical, digest, refuse, used
from rewarden.certificate.kernel_rows import MAX_ROWS, rows_of
from rewarden.certificate.kernel_sentence import number
from rewarden.certificate.kernel_shapes import boolean, digest_text, maybe, rational, read, within

if TYPE_CHECKING:
    from rewarden.certificate.kernel_artifact import Tensor
    from rewarden.certificate.kernel_near import Row

MAX_NUMBERS = 1 << 23  # of the table that are read
COMPARED, SORTED = 32, 16  # what a comparison of an offset with a row counts for, and a number of the table, sorted
Box = Sequence[Pair]
Edge = tuple[int, int, int, int]  # a row of a patch, and c, w, k: it is at or above the gate where c·x ≥ w·offset + k
Place = tuple[int, bool]  # a variable, and whether it is the upper end of boxes


def read_near(value: dict[str, Any]) -> Claim:
    """A claim with `near`."""
    plain = read_plain({key: part for key, part in value.items() if key != "near"})
    if plain.loops is not None or plain.rows is not None or len(plain.boxes) != 1:
        refuse("a claim about what is near rows has one box, and is not about loops or the rows themselves")
    n = len(plain.names)
    shape = {
        "inside": boolean, "table": digest_text, "count": within(1, MAX_ROWS),
        "columns": (within(0, MAX_ROWS),) * n, "radii": (maybe(rational),) * n,
    }  # fmt: skip
    near = read(value["near"], shape, "near")
    if any(radius is not None and radius < 0 for radius in near["radii"]):
        refuse("a radius is less than 0")
    if near["count"] * n > MAX_NUMBERS:
        refuse("the table has too many numbers for this kernel")
    return replace(plain, digest=digest(canonical(value)), near=near)


def tabled(claim: Claim, tables: Path) -> Claim:
    """The claim with the rows that it names: as its boxes, or as what its premise says of points."""
    used.add("kernel_table")
    used.add("kernel_rows")
    said, columns = claim.near, claim.near["columns"]
    found = rows_of(read_file(tables / table_name(said["table"])), said["table"], said["count"])
    values = array("d")
    for row in found:
        if max(columns, default=0) >= len(row) or not all(map(math.isfinite, row)):
            refuse("the table has too few columns, or holds a number that is not finite")
        values.extend([row[c] for c in columns])
    rows = Rows(values, said["count"], tuple(said["radii"]), claim.discrete, claim.boxes[0])
    return replace(claim, boxes=Around(rows), near=None) if said["inside"] else replace(claim, near=rows)


@dataclass(frozen=True, eq=False)
class Rows:
    """`values`: row by row, a number for each variable; `box`: the one that the claim has written."""

    values: array[float]
    count: int
    radii: tuple[Fraction | None, ...]
    discrete: tuple[bool, ...]
    box: Box

    def end(self, row: int, place: Place) -> tuple[int, int]:
        """An end of a row's box, over a denominator."""
        top, bottom = self.values[row * len(self.radii) + place[0]].as_integer_ratio()
        over, under = (self.radii[place[0]] or Fraction(0)).as_integer_ratio()
        return top * under + (over if place[1] else -over) * bottom, bottom * under

    def holds(self, x: Sequence[Fraction]) -> bool:
        """Is a point in the box of no row?"""
        return not any(all(self._within(row, k, value) for k, value in enumerate(x)) for row in range(self.count))

    def _within(self, row: int, k: int, value: Fraction) -> bool:
        top, bottom = value.as_integer_ratio()
        (low, under), (high, over) = self.end(row, (k, False)), self.end(row, (k, True))
        return low * bottom <= top * under and top * over <= high * bottom

    def around(self, row: int) -> Iterator[Pair]:
        """The ends of a row's box, cut by the one that is written where there is a radius; whole ones of a whole
        number."""
        for k, (radius, whole, (least, most)) in enumerate(zip(self.radii, self.discrete, self.box, strict=True)):
            low, high = Fraction(*self.end(row, (k, False))), Fraction(*self.end(row, (k, True)))
            low, high = (low, high) if radius is None else (max(least, low), min(most, high))
            low, high = (Fraction(math.ceil(low)), Fraction(math.floor(high))) if whole else (low, high)
            yield (low, high) if low <= high else refuse("a box is empty")

    def closed(
        self, left: Sequence[int], forms: Sequence[Row], offsets: Tensor, gate: Fraction, spend: Callable[[int], None]
    ) -> list[int]:
        """The patches that no row opens."""
        spend(SORTED * len(self.values))
        covers = Covers(self, offsets.values, offsets.shape[-1], _edges(forms, offsets.bottom, gate))
        found, each = [], len(self.radii) + len(forms)
        for patch in left:
            rows = covers.candidates(patch)
            spend(COMPARED * (1 + len(rows)) * each)
            found += [] if any(covers.opened(patch, row) for row in rows) else [patch]
        return found


@dataclass(frozen=True)
class Around(Sequence[tuple[Pair, ...]]):
    """The boxes of the rows."""

    rows: Rows

    def __len__(self) -> int:
        return self.rows.count

    def __getitem__(self, row: Any) -> Any:  # noqa: ANN401 - as of a sequence; no part of it is asked for
        return tuple(self.rows.around(range(self.rows.count)[row]))


def _edges(forms: Sequence[Row], bottom: int, gate: Fraction) -> dict[Place, list[Edge]]:
    """The rows of a patch that read one variable, by that and by the way in which they rise."""
    found: dict[Place, list[Edge]] = {}
    for i, form in enumerate(forms):
        read = [(k, c) for k, c in form.entries.items() if c]
        if len(read) == 1:  # (constant + c·x) / form.bottom ≥ offset / bottom + gate
            ((k, c),) = read
            scale = bottom * gate.denominator
            rest = gate.numerator * bottom * form.bottom - form.constant * scale
            found.setdefault((k, c > 0), []).append((i, c * scale, form.bottom * gate.denominator, rest))
    return found


@dataclass(eq=False)
class Covers:
    """Which boxes of rows hold all of where a patch of a table may act."""

    rows: Rows
    offsets: Sequence[int]
    width: int
    edges: dict[Place, list[Edge]]

    def __post_init__(self) -> None:
        """The variable that tells rows apart best, of those that the patch reads both ways; and rows, sorted by it."""
        n, values = len(self.rows.radii), self.rows.values
        both = [k for k in range(n) if (k, False) in self.edges and (k, True) in self.edges]
        self.pivot = max(both, key=lambda k: len(set(values[k::n])), default=None)
        self.order = list(range(self.rows.count))
        if self.pivot is not None:
            self.order.sort(key=values[self.pivot :: n].__getitem__)

    def candidates(self, patch: int) -> list[int]:
        """The rows that are not too low, nor too high, in that variable."""
        if (k := self.pivot) is None:
            return self.order
        low = bisect_left(self.order, True, key=lambda row: self.is_open(patch, row, (k, True)))
        high = bisect_left(self.order, True, key=lambda row: not self.is_open(patch, row, (k, False)))
        return self.order[low:high]

    def opened(self, patch: int, row: int) -> bool:
        """Is the patch open wherever a point of the claim's box is beyond an end of this row's box?"""
        each = ((k, up) for k in range(len(self.rows.radii)) for up in (False, True))
        return all(self.is_open(patch, row, place) for place in each)

    def is_open(self, patch: int, row: int, place: Place) -> bool:
        """The same, of one end."""
        (k, up), (top, bottom) = place, self.rows.end(row, place)
        limit, at = self.rows.box[k][up], self.width * patch
        if self.rows.discrete[k]:
            top, bottom = (top // bottom + 1, 1) if up else (-(-top // bottom) - 1, 1)
            nothing = top > limit if up else top < limit
        else:
            past = top * limit.denominator - limit.numerator * bottom
            nothing = past >= 0 if up else past <= 0
        edges = self.edges.get(place, ())
        return nothing or any(c * top >= (w * self.offsets[at + i] + rest) * bottom for i, c, w, rest in edges)


def outside(claim: Claim, clauses: Sequence[Sequence[Atom]]) -> str:
    """Clauses that each say that a point is outside of a box, in words; and how far the boxes reach from their middles,
    where all do as far."""
    boxes: list[dict[Place, Fraction]] = [{} for _ in clauses]
    for clause, box in zip(clauses, boxes, strict=True):
        for atom in clause:
            ((k, slope),) = atom.form.variables
            end = Fraction(atom.form.constant, abs(slope))  # x ≥ −end, or x ≤ end: of two the one that says more
            box[k, slope > 0] = max(end, box.get((k, slope > 0), end))
    columns, told = sorted({k for box in boxes for k, _ in box}), []
    for k in columns:
        widths = {-box[k, True] - box[k, False] for box in boxes if (k, True) in box and (k, False) in box}
        all_ = (min(box[k][0] for box in claim.boxes), max(box[k][1] for box in claim.boxes)) if claim.boxes else None
        width = widths.pop() if len(widths) == 1 else None
        if width is not None and all(_fits(box.get((k, False)), box.get((k, True)), width, all_) for box in boxes):
            told.append(f"{number(width / 2)} in {claim.names[k]}")
    radii = f", each with the radius {', '.join(told)}" * bool(told)
    names = ", ".join(claim.names[k] for k in columns)
    return f"({names}) is in none of the {len(clauses)} boxes that claims.json lists{radii}"


def _fits(low: Fraction | None, minus_high: Fraction | None, width: Fraction, all_: Pair | None) -> bool:
    """Is a box so wide? A side may be missing beyond which there is nothing of the claim's own boxes."""
    if low is not None and minus_high is not None:
        return True
    if all_ is None:
        return False
    start = low if low is not None else all_[0] if minus_high is None else -minus_high - width
    return start + width >= all_[1] if minus_high is None else start <= all_[0]
