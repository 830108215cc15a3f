"""Gymnasium spaces to a draft, by what they look like: Gymnasium itself is imported only to make an environment.

`gym:CartPole-v1` is an environment by its registered name; `package.module:name` is a space, or an environment with
`observation_space` and `action_space`, that a module of the user's holds. Both run the code that they name.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from math import ceil, floor, isfinite
from pathlib import Path
from typing import Any

import numpy as np

from rewarden.draft.columns import MOST_CASES
from rewarden.draft.field import REVIEW, Draft, DraftField, DraftRecord, shown
from rewarden.draft.naming import tamed
from rewarden.draft.ranges import widened
from rewarden.spec_lang import limits
from rewarden.spec_lang.errors import UsageError

_PLACE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.-]*(/[\w.-]+)*")
_UNBOUNDED = 1e30  # binary32's largest number stands for "no bound" in older environments
_PLACEHOLDER = 10.0
_MOST_NAMED = 64  # elements with ranges of their own up to which each becomes a feature
_SHORT = 7  # characters up to which a bound is written as it is


def is_space(text: str) -> bool:
    """Does the text name a space rather than a file?"""
    return bool(_PLACE.fullmatch(text)) and not Path(text).exists()


def from_space(text: str) -> Draft:
    """UsageError G85 (no such environment, module or attribute), G86 (no Gymnasium), G87 (nothing like a space)."""
    place, _, name = text.partition(":")
    thing = _environment(name) if place == "gym" else _attribute(place, name)
    if hasattr(thing, "observation_space"):
        parts = [("obs", thing.observation_space), ("action", getattr(thing, "action_space", None))]
    else:
        parts = [("obs", thing)]
    fields: list[DraftField] = []
    remarks: list[str] = []
    for prefix, space in parts:
        for field in _fields(prefix, space, remarks):
            unique = tamed(field.name, (f.name for f in fields), prefix)
            fields.append(DraftField(unique, field.kind, field.notes))
    if not fields:
        raise UsageError(
            "G87", f"{shown(text)}: nothing in it can be a feature", help="; ".join(remarks) or "name a space"
        )
    return Draft(shown(text), (DraftRecord("Step", tuple(fields)),), remarks=tuple(remarks))


# ── finding it ─────────────────────────────────────────────────────────────────────────────────
def _environment(name: str) -> Any:  # noqa: ANN401 (an environment of any kind)
    try:
        import gymnasium
    except ImportError:
        raise UsageError(
            "G86", "gym:… needs Gymnasium, which is not installed", help="pip install 'rewarden[gym]'"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice about versions of environments is not about the spec
            environment = gymnasium.make(name)
            environment.close()
    except Exception as error:  # an environment is a stranger's code
        raise UsageError("G85", f"gym:{shown(name)} cannot be made: {_reason(error)}") from error
    return environment


def _attribute(place: str, name: str) -> Any:  # noqa: ANN401
    """`package.module:name`, looked for where Python would, and in the working folder first."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found: Any = import_module(place)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:  # whatever the module does when it is imported
        help = "write gym:ENVIRONMENT, or package.module:space"
        raise UsageError("G85", f"{shown(place)}:{shown(name)} cannot be read: {_reason(error)}", help=help) from error
    finally:
        if here in sys.path:
            sys.path.remove(here)
    return found


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return shown(lines[0]) if lines else type(error).__name__


# ── what it looks like ─────────────────────────────────────────────────────────────────────────
def _fields(name: str, space: Any, remarks: list[str]) -> Iterator[DraftField]:  # noqa: ANN401
    """The features of a space under a name; what cannot be one is remarked on."""
    kinds = {kind.__name__ for kind in type(space).__mro__}
    if "Dict" in kinds:
        for key, part in space.spaces.items():
            yield from _fields(f"{name}_{key}", part, remarks)
    elif "Tuple" in kinds:
        for number, part in enumerate(space.spaces):
            yield from _fields(f"{name}_{number}", part, remarks)
    elif "Box" in kinds:
        whole = np.dtype(space.dtype).kind in "iub"
        yield from _box(name, np.asarray(space.low), np.asarray(space.high), whole, remarks)
    elif "MultiBinary" in kinds:
        shape = tuple(np.atleast_1d(space.n))
        yield from _box(name, np.zeros(shape), np.ones(shape), True, remarks)
    elif "MultiDiscrete" in kinds:
        start = np.asarray(getattr(space, "start", np.zeros_like(space.nvec)))
        yield from _box(name, start, start + np.asarray(space.nvec) - 1, True, remarks)
    elif "Discrete" in kinds:
        first, count = int(getattr(space, "start", 0)), int(space.n)
        note = f"{REVIEW}: {count} numbered choices; an enum that names them says more"
        notes = (note,) if count <= MOST_CASES else ()
        yield DraftField(name, f"int in {first} .. {first + max(1, count - 1)}", notes)
    else:
        what = "no space" if space is None else f"a {type(space).__name__}"
        remarks.append(f"left out: {shown(name)}: {what}, which has no fixed number of columns")


def _box(name: str, low: Any, high: Any, whole: bool, remarks: list[str]) -> Iterator[DraftField]:  # noqa: ANN401
    """One number, a vector where all elements have the same range, else an element each, in row-major order."""
    lo, hi = low.reshape(-1), high.reshape(-1)
    kind = "int" if whole else "real"
    same = bool((lo == lo[0]).all() and (hi == hi[0]).all()) if lo.size else False
    if lo.size == 0:
        remarks.append(f"left out: {shown(name)}: a Box without elements")
    elif lo.size == 1 or (same and lo.size <= limits.VECTOR_SIZE):
        ends, notes = _ends(lo[0], hi[0], whole)
        size = f" ^ {lo.size}" if lo.size > 1 else ""
        shape = (f"shape {list(low.shape)}, row by row",) if low.ndim > 1 else ()
        yield DraftField(name, f"{kind}{size} in {ends}", (*notes, *shape))
    elif lo.size <= _MOST_NAMED:
        for number, (least, most) in enumerate(zip(lo, hi, strict=True)):
            ends, notes = _ends(least, most, whole)
            yield DraftField(f"{name}_{number}", f"{kind} in {ends}", notes)
    else:
        remarks.append(
            f"left out: {shown(name)}: {lo.size} numbers of shape {list(low.shape)}: a spec speaks of features that a "
            "person can name; give it an encoder's output"
        )


def _ends(low: Any, high: Any, whole: bool) -> tuple[str, tuple[str, ...]]:  # noqa: ANN401 (numpy scalars)
    """The range as text; a missing bound is a placeholder, marked."""
    lo, hi = float(low), float(high)
    bounded = [isfinite(end) and abs(end) < _UNBOUNDED for end in (lo, hi)]
    if all(bounded):
        return (_whole(lo, hi) if whole else _outward(low, high)), ()
    if bounded[0]:
        hi = max(_PLACEHOLDER, lo + _PLACEHOLDER)
    elif bounded[1]:
        lo = min(-_PLACEHOLDER, hi - _PLACEHOLDER)
    else:
        lo, hi = -_PLACEHOLDER, _PLACEHOLDER
    return (_whole(lo, hi) if whole else _outward(lo, hi)), (f"{REVIEW}: unbounded in the space",)


def _whole(lo: float, hi: float) -> str:
    return f"{floor(lo)} .. {max(ceil(hi), floor(lo) + 1)}"


def _outward(low: Any, high: Any) -> str:  # noqa: ANN401
    """The bounds as they are written in their own precision where that is short, else short decimals outside of them.

    Rows are held against a range in the precision that they are stored in, so 4.8 contains binary32's 4.8.
    """
    texts = [np.format_float_positional(end, unique=True, trim="-") for end in (low, high)]
    if float(low) < float(high) and all(len(text) <= _SHORT for text in texts):
        return f"{texts[0]} .. {texts[1]}"
    return "{} .. {}".format(*widened(float(low), float(high)))
