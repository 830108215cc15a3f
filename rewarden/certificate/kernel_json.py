"""Certificate kernel, part 1: untrusted bytes, as values.

JSON has no duplicate key, no floating-point number and no NaN, and canonical form where the format asks for it: there
are no two readings of one file. Whatever else is found raises `Refused` with a sentence. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
from typing import NoReturn

TAKES = (b"[", 96), (b"{", 128), (b":", 160), (b",", 72)  # bytes of memory that come with each, at most
MAX_TAKEN = 1 << 30
used: set[str] = set()  # files of the kernel on which the verdict that is being found rests: neighbours add themselves


class Refused(Exception):
    """What was given proves nothing; the message says why."""


def refuse(why: str) -> NoReturn:
    raise Refused(why)


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def canonical(value: object) -> bytes:
    """The one way to write a value of the formats."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        refuse(f"no canonical form: {error}")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else refuse("a key appears twice in one object")


def _decimal(text: str) -> NoReturn:
    refuse(f"{text[:40]!r} is not an integer; other numbers are written as strings")


def parse(data: bytes, *, canonical_form: bool = True) -> object:
    """The value of strict JSON. Python's decoder stops at its own recursion limit and at 4300 digits."""
    if len(data) * (3 if data.isascii() else 12) + sum(data.count(mark) * size for mark, size in TAKES) > MAX_TAKEN:
        refuse("JSON of so many values would take too much memory")
    try:
        value = json.loads(data.decode(), parse_float=_decimal, parse_constant=_decimal, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        refuse(f"not JSON: {error}")
    return value if not canonical_form or canonical(value) == data else refuse("not in canonical form")
