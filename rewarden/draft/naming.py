"""Names that the language accepts, and the units that names suggest."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from rewarden.spec_lang.units import UnitError, unit

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BRACKETED = re.compile(r"\s*[(\[]([^()\[\]]{1,20})[)\]]\s*$")
_LONGEST = 64

# What the last part of a name commonly stands for. Single letters other than m and s mean too many things.
_SUFFIXES = {
    "m": "m", "km": "km", "cm": "cm", "mm": "mm", "meters": "m", "metres": "m", "ft": "ft", "mi": "mi",
    "s": "s", "sec": "s", "secs": "s", "seconds": "s", "ms": "ms", "min": "min", "hours": "h", "hrs": "h",
    "mps": "m/s", "kmh": "km/h", "kph": "km/h", "mph": "mi/h", "mps2": "m/s^2", "mpss": "m/s^2",
    "kg": "kg", "tonnes": "t", "deg": "deg", "rad": "rad", "degps": "deg/s", "radps": "rad/s",
    "hz": "Hz", "khz": "kHz", "nm": "N*m", "kw": "kW", "kwh": "kW*h", "volt": "V", "volts": "V", "amps": "A",
    "celsius": "degC", "degc": "degC", "kelvin": "K", "pct": "%", "percent": "%", "kpa": "kPa", "bar": "bar",
}  # fmt: skip


_COUNTERS = {
    "id", "idx", "index", "row", "frame", "episode", "step", "timestep", "timestamp", "pair", "seed", "track", "run",
}  # fmt: skip


def counts(name: str) -> bool:
    """Does the name say that the column numbers rows, runs or things rather than measures anything?"""
    return name.lower().rpartition("_")[2] in _COUNTERS


def usable(name: str) -> bool:
    """Can a spec name a feature so?"""
    from rewarden.spec_lang.parser import keywords

    return bool(NAME.fullmatch(name)) and name not in keywords()


def tamed(name: str, taken: Iterable[str], fallback: str) -> str:
    """The nearest name that a spec can use and that is not taken: `clearance (m)` → `clearance_m`, `near` → `near_`."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    word = re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_")[:_LONGEST] or fallback
    if word[0].isdigit():
        word = f"x{word}"
    if not usable(word):
        word += "_"
    known, found, count = set(taken), word, 2
    while found in known:
        found, count = f"{word}_{count}", count + 1
    return found


def suggested_unit(name: str) -> str | None:
    """The unit that a name ends in, as in `speed_mps` or `speed [km/h]`; None where there is none."""
    bracketed = _BRACKETED.search(name)
    if bracketed is not None:
        return _known(bracketed.group(1).strip().replace("²", "^2").replace("³", "^3"))
    head, _, tail = name.rpartition("_")
    return _SUFFIXES.get(tail.lower()) if head else None


def _known(text: str) -> str | None:
    try:
        found = unit(text)
    except UnitError:
        return None
    return text if found.dimension or text == "%" else None
