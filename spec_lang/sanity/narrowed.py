"""A box around all points of a formula: declared ranges, tightened by what its comparisons say of single variables.

Interval arithmetic in exact rationals, so the box is never too small; it may be much too large. An `or` gives the hull
of its cases. This is the cheap look before anything is put to Z3: two regions whose boxes do not meet have no record
in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.bounds import interval
from rewarden.spec_lang.forms import form_of
from rewarden.spec_lang.obligation import And, Atom, Formula, Instances, Or, Term, Var, Variable

Ranges = tuple[tuple[Fraction, Fraction], ...]

ROUNDS = 2
"""A second round carries what the first found from one comparison to another; more rounds gain little."""


def declared(variables: Sequence[Variable], instances: Instances | None = None) -> Ranges:
    """The variables' ranges, cut to the hull of the rows' boxes where there are instances."""
    ranges = [(v.lo, v.hi) for v in variables]
    if instances is not None and len(instances.anchors):
        least, most = instances.anchors.min(axis=0), instances.anchors.max(axis=0)
        for variable, column, radius in instances.centred:
            lo, hi = ranges[variable]
            ranges[variable] = (max(lo, _exact(least[column]) - radius), min(hi, _exact(most[column]) + radius))
        for variable, column in instances.fixed:
            ranges[variable] = (_exact(least[column]), _exact(most[column]))
    return tuple(ranges)


def _exact(value: np.float64) -> Fraction:
    return Fraction(float(value))


def narrowed(ranges: Ranges, formula: Formula, variables: Sequence[Variable]) -> Ranges | None:
    """A box that contains every point of `ranges` where the formula holds; None if there is none."""
    box = ranges
    for _ in range(ROUNDS):
        found = _visit(box, formula, variables)
        if found is None or found == box:
            return found
        box = found
    return box


def _visit(box: Ranges, formula: Formula, variables: Sequence[Variable]) -> Ranges | None:
    match formula:
        case And(parts):
            for part in parts:
                inner = _visit(box, part, variables)
                if inner is None:
                    return None
                box = inner
            return box
        case Or(parts):
            cases = [case for part in parts if (case := _visit(box, part, variables)) is not None]
            return _hull(cases) if cases else None
        case Atom(term, strict):
            return _atom(box, term, strict, variables)


def _hull(cases: Sequence[Ranges]) -> Ranges:
    """Sides that no case has narrowed are one object still, and passed on: a long trace has hundreds of them."""
    if len(cases) == 1:
        return cases[0]
    return tuple(side[0] if all(s is side[0] for s in side) else _around(side) for side in zip(*cases, strict=True))


def _around(side: Sequence[tuple[Fraction, Fraction]]) -> tuple[Fraction, Fraction]:
    return min(lo for lo, _ in side), max(hi for _, hi in side)


def _atom(box: Ranges, term: Term, strict: bool, variables: Sequence[Variable]) -> Ranges | None:
    """`Σ c·v + rest >= 0`: each v is at least (or at most) what the largest value of all the others leaves."""
    form = form_of(term)
    most = form.constant
    highs: dict[int, Fraction] = {}
    for leaf, c in form.parts.items():
        lo, hi = box[leaf.index] if isinstance(leaf, Var) else interval(leaf, lambda index: box[index])
        high = hi if c > 0 else lo
        if high is None:
            return box  # a reward, or a data constant: could be anything
        most += c * high
        if isinstance(leaf, Var):
            highs[leaf.index] = c * high
    if most < 0 or (most == 0 and strict):
        return None
    sides = list(box)
    for leaf, c in form.parts.items():
        if not isinstance(leaf, Var):
            continue
        limit = (highs[leaf.index] - most) / c
        lo, hi = sides[leaf.index]
        lo, hi = (max(lo, limit), hi) if c > 0 else (lo, min(hi, limit))
        if variables[leaf.index].discrete:
            lo, hi = Fraction(ceil(lo)), Fraction(floor(hi))
        if lo > hi:
            return None
        sides[leaf.index] = (lo, hi)
    return tuple(sides)


def floats(ranges: Sequence[tuple[Fraction | None, Fraction | None]]) -> NDArray[np.float64]:
    """[side, 2] in float64, a little wider than exact; an open side, or one too large for a float, is infinite."""
    sides = [(-np.inf if lo is None else _float(lo), np.inf if hi is None else _float(hi)) for lo, hi in ranges]
    array = np.array(sides, dtype=np.float64).reshape(-1, 2)
    slack = np.where(np.isfinite(array), 1e-9 * (1.0 + np.abs(array)), 0.0)
    widened: NDArray[np.float64] = array + slack * np.array([-1.0, 1.0])
    return widened


def _float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
