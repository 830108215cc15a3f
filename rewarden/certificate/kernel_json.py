"""Certificate kernel, part 1: reading untrusted bytes.

Everything the kernel reads passes through here: regular files of bounded size (no symlink is followed inside a
bundle), JSON with no duplicate key, no floating-point number and no NaN, canonical form where the format asks for it,
objects with exactly the fields they should have, integers that are not booleans, rationals in lowest terms. Whatever
else is found raises `Refused` with a sentence. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
import zlib
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

MAX_FILE = 1 << 27  # bytes of any one file, after decompression
MAX_DIGITS = 2000  # of one rational; a product of two subnormal doubles has 650
_RATIONAL = re.compile(r"(-?(?:0|[1-9][0-9]*))(?:/([1-9][0-9]*))?", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


class Refused(Exception):
    """What was given proves nothing; the message says why."""


def refuse(why: str) -> NoReturn:
    raise Refused(why)


def read_regular(path: Path, limit: int = MAX_FILE) -> bytes:
    """The bytes of a regular file; a link, a device or a file over the limit is refused. OSError if it is not there."""
    flags = [getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")]  # absent on some systems
    if path.is_symlink():
        refuse(f"{path.name} is a link")
    handle = os.open(path, os.O_RDONLY | sum(flags))
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            refuse(f"{path.name} is not a regular file")
        data = file.read(limit + 1)
    if len(data) > limit:
        refuse(f"{path.name} is larger than {limit} bytes")
    return data


def gunzip(data: bytes, limit: int = MAX_FILE) -> bytes:
    """One gzip member, no more than `limit` bytes long when unpacked."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        out = unpacker.decompress(data, limit + 1)
    except zlib.error as error:
        refuse(f"damaged gzip data ({error})")
    if len(out) > limit:
        refuse(f"unpacks to more than {limit} bytes")
    if not unpacker.eof or unpacker.unused_data:
        refuse("gzip data is cut short or followed by something else")
    return out


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def canonical(value: object) -> bytes:
    """The one way to write a value of the formats."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (UnicodeEncodeError, ValueError, RecursionError) as error:
        refuse(f"no canonical form: {error}")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        refuse("a key appears twice in one object")
    return found


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
    if canonical_form and canonical(value) != data:
        refuse("not in canonical form")
    return value


# ── shapes of values ───────────────────────────────────────────────────────────────────────────
def fields(value: object, keys: str, what: str) -> list[object]:
    """The values of an object that has exactly these keys, in that order."""
    wanted = keys.split()
    if not isinstance(value, dict) or set(value) != set(wanted):
        refuse(f"{what} must have exactly the fields {', '.join(wanted)}")
    return [value[key] for key in wanted]


def array(value: object, what: str, limit: int = 1 << 20) -> list[object]:
    if not isinstance(value, list) or len(value) > limit:
        refuse(f"{what} must be a list of at most {limit} entries")
    return value


def items(value: object, count: int, what: str) -> list[object]:
    """A list of exactly `count` entries."""
    if not isinstance(value, list) or len(value) != count:
        refuse(f"{what} must be a list of {count} entries")
    return value


def integer(value: object, low: int, high: int, what: str) -> int:
    """An integer in low … high; `true` is an int to Python but not to us."""
    if type(value) is not int or not low <= value <= high:
        refuse(f"{what} must be an integer in {low} … {high}")
    return value


def boolean(value: object, what: str) -> bool:
    if type(value) is not bool:
        refuse(f"{what} must be true or false")
    return value


def text(value: object, what: str) -> str:
    """Printable text: what is shown to a reader cannot move the cursor, change direction or start a line."""
    if not isinstance(value, str) or len(value) > 10_000 or not value.isprintable():
        refuse(f"{what} must be printable text")
    return value


def digest_text(value: object, what: str) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        refuse(f"{what} must be a sha256 digest")
    return value


def rational(value: object, what: str) -> Fraction:
    """`"p"` or `"p/q"`, in lowest terms, q > 1: one way to write each number."""
    if not isinstance(value, str) or len(value) > 2 * MAX_DIGITS:
        refuse(f"{what} must be a rational, as a string")
    match = _RATIONAL.fullmatch(value)
    if match is None or value == "-0":
        refuse(f"{what} must be a rational such as 3/4, not {value[:40]!r}")
    top, bottom = int(match[1]), int(match[2] or "1")
    if match[2] is not None and (bottom == 1 or math.gcd(top, bottom) != 1):
        refuse(f"{what} is not in lowest terms: {value[:40]!r}")
    return Fraction(top, bottom)
