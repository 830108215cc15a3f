"""Certificate kernel, part 2: values in exactly the shapes that the formats give. Standard library only."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from rewarden.certificate.kernel_json import refuse

MAX_ENTRIES = 1 << 20  # of one list
MAX_DIGITS = 2000  # of one rational; a product of two subnormal doubles has 650
_RATIONAL = re.compile(r"(-?(?:0|[1-9][0-9]*))(?:/([1-9][0-9]*))?", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


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
        if type(value) is not int or not low <= value <= high:
            refuse(f"{what} must be an integer in {low} … {high}")
        return value

    return integer


def one_of(*texts: str) -> Callable[[object, str], str]:
    def member(value: object, what: str) -> str:
        return str(value) if value in texts else refuse(f"{what} must be one of {', '.join(texts)}")

    return member


def boolean(value: object, what: str) -> bool:
    return value if isinstance(value, bool) else refuse(f"{what} must be true or false")


def text(value: object, what: str) -> str:
    """Printable text: what is shown to a reader cannot move the cursor, change direction or start a line."""
    good = isinstance(value, str) and len(value) <= 10_000 and value.isprintable()
    return str(value) if good else refuse(f"{what} must be printable text")


def maybe(shape: object) -> Callable[[object, str], Any]:
    return lambda value, what: None if value is None else read(value, shape, what)


def digest_text(value: object, what: str) -> str:
    good = isinstance(value, str) and _DIGEST.fullmatch(value)
    return str(value) if good else refuse(f"{what} must be a sha256 digest")


def rational(value: object, what: str) -> Fraction:
    """`"p"` or `"p/q"`, in lowest terms, q > 1: one way to write each number."""
    match = _RATIONAL.fullmatch(value) if isinstance(value, str) and len(value) <= 2 * MAX_DIGITS else None
    if match is None or match[0] == "-0":
        refuse(f"{what} must be a rational, as a string such as 3/4")
    top, bottom = int(match[1]), int(match[2] or "1")
    if match[2] is not None and (bottom == 1 or math.gcd(top, bottom) != 1):
        refuse(f"{what} is not in lowest terms")
    return Fraction(top, bottom)
