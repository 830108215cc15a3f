"""Certificate kernel, part 1: reading untrusted bytes.

Everything the kernel reads passes through here: regular files of bounded size (no link is followed inside a bundle),
JSON with no duplicate key, no floating-point number and no NaN, in canonical form where the format asks for it, and in
exactly the shape that a table of shapes gives. Whatever else is found raises `Refused` with a sentence. Standard
library only.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

MAX_FILE = 1 << 27  # bytes of any one file, after decompression
MAX_ENTRIES = 1 << 20  # of one list
MAX_DIGITS = 2000  # of one rational; a product of two subnormal doubles has 650
_RATIONAL = re.compile(r"(-?(?:0|[1-9][0-9]*))(?:/([1-9][0-9]*))?", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


class Refused(Exception):
    """What was given proves nothing; the message says why."""


def refuse(why: str) -> NoReturn:
    raise Refused(why)


# ── bytes ──────────────────────────────────────────────────────────────────────────────────────
def read_regular(path: Path, limit: int = MAX_FILE) -> bytes:
    """The bytes of a regular file; a link, a device or a file over the limit is refused. OSError if it is not there."""
    flags = [getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")]  # absent on some systems
    if path.is_symlink():
        refuse(f"{path.name} is a link")
    with os.fdopen(os.open(path, os.O_RDONLY | sum(flags)), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            refuse(f"{path.name} is not a regular file")
        data = file.read(limit + 1)
    return data if len(data) <= limit else refuse(f"{path.name} is larger than {limit} bytes")


def gunzip(data: bytes, limit: int = MAX_FILE) -> bytes:
    """One gzip member, no more than `limit` bytes long when unpacked."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        out = unpacker.decompress(data, limit + 1)
    except zlib.error as error:
        refuse(f"damaged gzip data ({error})")
    if len(out) > limit:
        refuse(f"unpacks to more than {limit} bytes")
    return out if unpacker.eof and not unpacker.unused_data else refuse("gzip data is cut short or goes on")


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


def _no_float(text: str) -> NoReturn:
    refuse(f"{text[:40]!r} is not an integer; other numbers are written as strings")


def parse(data: bytes, *, canonical_form: bool = True) -> object:
    """The value of strict JSON. Python's decoder stops at its own recursion limit and at 4300 digits."""
    try:
        value: object = json.loads(
            data.decode(), parse_float=_no_float, parse_constant=_no_float, object_pairs_hook=_unique
        )
    except (ValueError, RecursionError) as error:
        refuse(f"not JSON: {error}")
    return value if not canonical_form or canonical(value) == data else refuse("not in canonical form")


# ── shapes ─────────────────────────────────────────────────────────────────────────────────────
def read(value: object, shape: object, what: str) -> Any:  # noqa: ANN401 - the shape says what
    """What a value says, if it has that shape; `what` names it in a refusal. A shape is

    - a function of value and name, which reads it;
    - a dict: an object with exactly these keys, read as a dict;
    - a list of one shape: a list of any number of such values; a tuple: a list of exactly these: both read as tuples;
    - anything else: exactly this value.

    Calls itself as deep as the shape goes, whatever the value.
    """
    if callable(shape):
        return shape(value, what)
    if isinstance(shape, dict):
        if not isinstance(value, dict) or value.keys() != shape.keys():
            refuse(f"{what} must have exactly the fields {', '.join(shape)}")
        return {key: read(value[key], inner, f"{what}: {key}") for key, inner in shape.items()}
    if isinstance(shape, list):
        return tuple(read(entry, shape[0], what) for entry in array(value, what))
    if isinstance(shape, tuple):
        if not isinstance(value, list) or len(value) != len(shape):
            refuse(f"{what} must be a list of {len(shape)} entries")
        return tuple(read(entry, inner, what) for entry, inner in zip(value, shape, strict=True))
    return value if type(value) is type(shape) and value == shape else refuse(f"{what} must be {shape!r}")


def anything(value: object, _: str) -> object:
    return value


def array(value: object, what: str, limit: int = MAX_ENTRIES) -> list[Any]:
    """A list, its entries as they are."""
    if not isinstance(value, list) or len(value) > limit:
        refuse(f"{what} must be a list of at most {limit} entries")
    return value


def within(low: int, high: int) -> Callable[[object, str], int]:
    """An integer in low … high; `true` is an int to Python but not to us."""

    def integer(value: object, what: str) -> int:
        if type(value) is int and low <= value <= high:
            return value
        refuse(f"{what} must be an integer in {low} … {high}")

    return integer


def integer(value: object, low: int, high: int, what: str) -> int:
    return within(low, high)(value, what)


def one_of(*texts: str) -> Callable[[object, str], str]:
    def member(value: object, what: str) -> str:
        return str(value) if value in texts else refuse(f"{what} must be one of {', '.join(texts)}")

    return member


def boolean(value: object, what: str) -> bool:
    return value if isinstance(value, bool) else refuse(f"{what} must be true or false")


def text(value: object, what: str) -> str:
    """Printable text: what is shown to a reader cannot move the cursor, change direction or start a line."""
    if isinstance(value, str) and len(value) <= 10_000 and value.isprintable():
        return value
    refuse(f"{what} must be printable text")


def text_or_null(value: object, what: str) -> str | None:
    return None if value is None else text(value, what)


def is_digest(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def digest_text(value: object, what: str) -> str:
    return value if is_digest(value) else refuse(f"{what} must be a sha256 digest")


def rational(value: object, what: str) -> Fraction:
    """`"p"` or `"p/q"`, in lowest terms, q > 1: one way to write each number."""
    match = _RATIONAL.fullmatch(value) if isinstance(value, str) and len(value) <= 2 * MAX_DIGITS else None
    if match is None or match[0] == "-0":
        refuse(f"{what} must be a rational, as a string such as 3/4")
    top, bottom = int(match[1]), int(match[2] or "1")
    if match[2] is not None and (bottom == 1 or math.gcd(top, bottom) != 1):
        refuse(f"{what} is not in lowest terms")
    return Fraction(top, bottom)
