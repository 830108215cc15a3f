"""Canonical JSON, exact rationals as text, and digests: how Rewarden writes anything that is hashed.

UTF-8, keys sorted, separators `,` and `:`, no floating-point numbers, no duplicate keys. A rational is `"p/q"` in
lowest terms with q > 0, or `"p"` where q = 1. The same value has one text, so a digest of the text names the value.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction

Json = None | bool | int | str | Sequence["Json"] | Mapping[str, "Json"]

_RATIONAL = re.compile(r"(0|-?[1-9][0-9]*)(?:/([1-9][0-9]*))?")
MAX_DIGITS = 4000  # Python refuses to convert longer integers by default; no honest number of ours comes near


def canonical_json(value: object) -> bytes:
    """The one text of `value` (dict, list, tuple, str, int, bool, None).

    Raises TypeError for anything else, floats above all, and for keys that are not text.
    """
    _refuse_inexact(value)
    return _written(value)


def _written(value: object) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def parse_canonical(data: bytes) -> object:
    """The value of a canonical text. ValueError if the bytes are not canonical JSON, to the last byte."""
    value: object = json.loads(data.decode("utf-8"), parse_float=_no_float, parse_constant=_no_float)
    # Writing it again catches white space, key order, duplicate keys and alternative escapes all at once. That it holds
    # nothing inexact has been seen to above: what was read without a float has none.
    if _written(value) != data:
        raise ValueError("the JSON text is not in canonical form")
    return value


def floats_as_text(value: object) -> object:
    """The value (dicts, lists, tuples and what is in them) with each float as its shortest text: canonical JSON has
    none, and no reader rounds a text in passing."""
    if isinstance(value, Mapping):
        return {key: floats_as_text(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [floats_as_text(item) for item in value]
    return repr(value) if isinstance(value, float) else value


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def rational_text(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{value.numerator}/{value.denominator}"


def parse_rational(text: object) -> Fraction:
    """The rational that `text` writes. ValueError unless `rational_text` would write it just so."""
    if not isinstance(text, str) or len(text) > 2 * MAX_DIGITS:
        raise ValueError(f"not a rational: {str(text)[:60]!r}")
    found = _RATIONAL.fullmatch(text)
    if found is None:
        raise ValueError(f"not a rational: {text[:60]!r}")
    value = Fraction(int(found[1]), int(found[2] or 1))
    if rational_text(value) != text:
        raise ValueError(f"not in lowest terms: {text[:60]!r}")
    return value


def _refuse_inexact(value: object) -> None:
    match value:
        case None | bool() | int() | str():
            return
        case list() | tuple():
            for part in value:
                _refuse_inexact(part)
        case dict():
            for key, part in value.items():
                if not isinstance(key, str):
                    raise TypeError(f"a key of canonical JSON is text, not {type(key).__name__}")
                _refuse_inexact(part)
        case _:
            raise TypeError(f"canonical JSON cannot hold a {type(value).__name__}")


def _no_float(text: str) -> object:
    raise ValueError(f"canonical JSON holds no floating-point numbers: {text}")
