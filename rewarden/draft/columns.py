"""One column's values to the type that its feature would have.

The types are those under which the reader of tables (`rewarden.spec_lang.tables`) accepts every value, so that a draft
passes `rewarden check` on the data it was drawn from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.draft.field import REVIEW, shown
from rewarden.draft.naming import usable
from rewarden.draft.ranges import range_notes, widened, widened_int
from rewarden.spec_lang import limits

MOST_CASES = 16  # distinct words up to which a text column is taken for an enum
_LARGEST_INT = 2.0**53
_TOO_LARGE = "it has whole numbers beyond 2^53, which have no exact binary64 value; rescale it"
_LARGEST = 3.0e38  # what a reward reads is binary32
_BOOLEAN = frozenset({"true", "True", "TRUE", "false", "False", "FALSE", "1", "0"})
_WHOLE = re.compile(r"[+-]?\d+")

Column = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Typed:
    """A type without its unit; `size` is above 1 for a vector, `domain` is the text after kind and unit."""

    kind: str
    domain: str = ""
    size: int = 1
    notes: tuple[str, ...] = ()
    obstacle: str | None = None

    def text(self, unit: str | None = None) -> str:
        """As declared: `real ^ 8 [m] in 0 .. 5`."""
        size = f" ^ {self.size}" if self.size > 1 else ""
        words = [self.kind + size, f"[{unit}]" if unit and self.kind in ("real", "int") else "", self.domain]
        return " ".join(word for word in words if word)


@dataclass(frozen=True, slots=True)
class Untyped:
    """A column that can be no feature, and why."""

    reason: str


def typed(parts: Sequence[Column]) -> Typed | Untyped:
    """The type that fits every value of these columns (several: the same feature of a pair's two records)."""
    if any(part.dtype == object for part in parts):
        return _of_objects([item for part in parts for item in part.tolist()])
    if len({part.shape[1:] for part in parts}) > 1 or len({part.dtype.kind == "b" for part in parts}) > 1:
        return Untyped("it is not the same in all records of a row")
    whole = np.concatenate(parts)
    match whole.ndim:
        case 1:
            return _of_bools(whole.tolist()) if whole.dtype.kind == "b" else _of_numbers(whole)
        case 2:
            return _of_vectors(whole)
        case _:
            return Untyped(f"each row is an array of shape {list(whole.shape[1:])}: a feature is a number or a vector")


# ── numbers and vectors ────────────────────────────────────────────────────────────────────────
def _of_bools(truths: Sequence[object]) -> Typed:
    seen = {str(bool(truth)).lower() for truth in truths}
    return Typed("bool", notes=(f"{REVIEW}: always {seen.pop()} in the data",) if len(seen) == 1 else ())


def _of_numbers(values: Column, missing: int = 0) -> Typed | Untyped:
    """Numbers as stored, one a row; NaN and infinities count as missing."""
    numbers = values.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    missing += len(numbers) - len(finite)
    whole = values.dtype.kind in "iu"
    if (reason := _unfit(finite, whole)) is not None:
        return Untyped(reason)
    if whole and set(np.unique(finite)) == {0.0, 1.0}:
        note = f"{REVIEW}: only 0 and 1 seen; a count would be `int in 0 .. 1`"
        return Typed("bool", notes=(note,), obstacle=_gaps(missing))
    notes = range_notes(finite)
    if whole and len(finite) > 2 and len(np.unique(finite)) == len(finite):
        notes = (*notes, f"{REVIEW}: another value in every row: an index rather than a feature?")
    return Typed("int" if whole else "real", _interval(finite, whole), notes=notes, obstacle=_gaps(missing))


def _of_vectors(values: Column, missing: int = 0) -> Typed | Untyped:
    """Rows of equal length, numeric [n, size]."""
    size = values.shape[1]
    if values.dtype.kind == "b":
        return Untyped("it holds vectors of true and false; store 0 and 1")
    if size < 2:
        return Untyped(f"it holds vectors of {size}; store plain numbers, one a row")
    if size > limits.VECTOR_SIZE:
        return Untyped(f"it holds vectors of {size}; the language has at most {limits.VECTOR_SIZE}")
    numbers = values.astype(np.float64)
    complete = np.isfinite(numbers)
    finite, whole = numbers[complete], values.dtype.kind in "iu"
    if (reason := _unfit(finite, whole)) is not None:
        return Untyped(reason)
    gaps = _gaps(missing + int((~complete.all(axis=1)).sum()))
    return Typed("int" if whole else "real", _interval(finite, whole), size, range_notes(finite), gaps)


def _unfit(finite: NDArray[np.float64], whole: bool) -> str | None:
    """Why these numbers can be no feature."""
    if not len(finite):
        return "it holds no value at all"
    if np.abs(finite).max() > _LARGEST:
        return "it has values beyond binary32, which rewards read; rescale it"
    if whole and np.abs(finite).max() > _LARGEST_INT:
        return _TOO_LARGE
    return None


def _gaps(rows: int) -> str | None:
    if rows == 0:
        return None
    return f"{rows} rows have no finite value: fill it in or drop them" if rows > 1 else "drop the row without a value"


def _interval(finite: NDArray[np.float64], whole: bool) -> str:
    ends = (widened_int if whole else widened)(float(finite.min()), float(finite.max()))
    return "in {} .. {}".format(*ends)


# ── text, lists and mixtures ───────────────────────────────────────────────────────────────────
def _of_objects(items: Sequence[object]) -> Typed | Untyped:
    present = [item for item in items if not (item is None or item == "")]
    missing = len(items) - len(present)
    if not present:
        return Untyped("it holds no value at all")
    if all(isinstance(item, list | tuple) for item in present):
        return _of_lists(present, missing)
    if any(isinstance(item, int) and abs(item) > _LARGEST_INT for item in present):
        return Untyped(_TOO_LARGE)
    numbers = [number for item in present if (number := _number(item)) is not None]
    if len(numbers) == len(present):
        return _of_numbers(_stored(numbers), missing)
    if all(_is_truth(item) for item in present):
        return replace(
            _of_bools([item in (True, "true", "True", "TRUE", "1") for item in present]), obstacle=_gaps(missing)
        )
    if all(isinstance(item, str) and _number(item) is None for item in present):
        return _of_words({str(item) for item in present}, missing)
    kinds = {
        _kind(item): row for row, item in reversed(list(enumerate(items, start=1))) if not (item is None or item == "")
    }
    if len(kinds) == 1:
        return Untyped(f"it holds {next(iter(kinds))} values: neither numbers, nor true and false, nor words")
    places = " and ".join(f"{kind} (row {row})" for kind, row in sorted(kinds.items(), key=lambda pair: pair[1])[:3])
    return Untyped(f"it mixes {places}")


def _of_lists(rows: Sequence[Any], missing: int) -> Typed | Untyped:
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        return Untyped(f"its lists differ in length, from {min(lengths)} to {max(lengths)}")
    numbers = [[_number(item) for item in row] for row in rows]
    if any(number is None for row in numbers for number in row):
        return Untyped("its lists hold something else than numbers")
    flat = _stored([number for row in numbers for number in row if number is not None])
    return _of_vectors(flat.reshape(len(rows), -1), missing) if len(flat) else Untyped("its lists are empty")


def _of_words(words: set[str], missing: int) -> Typed | Untyped:
    if len(words) > MOST_CASES:
        return Untyped(f"it holds {len(words)} different texts: not a few words")
    if len(words) == 1:
        return Untyped(f"it always holds {shown(words.pop())!r}: an enum has at least two cases")
    if odd := sorted(word for word in words if not usable(word)):
        more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
        return Untyped(f"a case is a plain word, and {shown(odd[0])!r}{more} is not; rename the values")
    return Typed("enum", "{" + ", ".join(sorted(words)) + "}", obstacle=_gaps(missing))


def _is_truth(item: object) -> bool:
    """Would the reader of tables take it for true or false?"""
    match item:
        case str():
            return item in _BOOLEAN
        case int() | float():
            return item in (0, 1)
    return False


def _number(item: object) -> int | float | None:
    """The number that the reader of tables would take it for."""
    match item:
        case bool():
            return None
        case int() | float():
            return item
        case Decimal():
            return float(item)
        case str() if _WHOLE.fullmatch(item):
            return int(item) if len(item) < 400 else None
        case str() if "_" not in item:
            try:
                return float(item)
            except ValueError:
                return None
    return None


def _stored(numbers: Sequence[int | float]) -> Column:
    """As a typed column would hold them: int64 where all are whole and fit, else binary64."""
    if all(isinstance(n, int) and abs(n) < 2**63 for n in numbers):
        return np.array(numbers, dtype=np.int64)
    return np.array([_float(n) for n in numbers], dtype=np.float64)


def _float(number: int | float) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf")


def _kind(item: object) -> str:
    match item:
        case bool():
            return "true or false"
        case int() | float() | Decimal():
            return "numbers"
        case str():
            return "text" if _number(item) is None else "numbers"
        case list() | tuple():
            return "lists"
    return type(item).__name__
