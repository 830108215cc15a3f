"""`bound` in rational arithmetic, for nodes that binary64 misses by a hair: rules that hold with nothing to spare.

The multipliers are rounded to short fractions first, λ to a few decimal places and each d to a share of its c, so that
what cancels in the rule cancels here: the difference of a reward and its clipped self is 0, not 1e-17.
"""

from __future__ import annotations

from fractions import Fraction
from math import isfinite

from rewarden.verifier.fusion import SparseRow
from rewarden.verifier.lp.bound import CLOSE, Multipliers
from rewarden.verifier.lp.region import EITHER, LOOSE, ON, SHUT, ExactRow, Node, Region
from rewarden.verifier.program import INPUT

SHORT = 1 << 12  # denominators of multipliers, at most, once the largest is 1
SHARES = 256
ZERO = Fraction(0)


def refutes(region: Region, node: Node, multipliers: Multipliers) -> bool:
    """Do the multipliers, rounded, show that the node holds no violation? A sum of exactly 0 does with a strict row."""
    frame = region.frame
    largest = max((float(m) for m, on in zip(multipliers.top, node.on, strict=True) if on), default=0.0)
    if not (isfinite(largest) and largest > 0):
        return False
    row: SparseRow = {}
    constant, strict = ZERO, False
    for i, exact in enumerate(frame.exact_top):
        if not node.on[i]:
            continue
        factor = Fraction(max(0.0, float(multipliers.top[i])) / largest).limit_denominator(SHORT)
        if factor:
            constant += _add(row, exact, factor)
            strict |= bool(frame.strict[i])
    for k in reversed(frame.layers):
        constant += _through(region, node, multipliers, k, row, 1.0 / largest)
    for j, c in row.pop(INPUT, {}).items():
        constant += min(c * end for end in _ends(region, node, j))
    assert not any(row.values()), "a neuron is read by an earlier one"
    return constant > 0 or (constant == 0 and strict)


def _add(row: SparseRow, exact: ExactRow, factor: Fraction) -> Fraction:
    """row += factor·exact without its constant, whose share is returned."""
    for source, columns in exact[0].items():
        target = row.setdefault(source, {})
        for j, value in columns.items():
            target[j] = target.get(j, ZERO) + factor * value
    return factor * exact[1]


def _through(region: Region, node: Node, multipliers: Multipliers, k: int, row: SparseRow, scale: float) -> Fraction:
    """Coefficients on the outputs of layer k become coefficients on its sources; returns the constant."""
    frame = region.frame
    constant = ZERO
    coefficients = row.pop(k, {})
    start = frame.first[k]
    for j in range(frame.program.layers[k].width):
        c, n = coefficients.get(j, ZERO), start + j
        lo, hi = Fraction(float(region.lo[n])), Fraction(float(region.hi[n]))
        d = _chosen(c, float(multipliers.on_z[n]) * scale, lo, hi)
        if not (c or d):
            continue
        constant += min(c * y - d * z for z, y in _corners(int(node.phase[n]), lo, hi))
        if d:
            constant += _add(row, frame.exact_neuron(k, j), d)
    return constant


def _chosen(c: Fraction, hint: float, lo: Fraction, hi: Fraction) -> Fraction:
    """`bound.chosen`, as a short fraction or a short share of c."""
    if not isfinite(hint):
        return ZERO
    bend = c * hi / (hi - lo) if c < 0 and lo < 0 < hi else c
    given = Fraction(hint)
    near = Fraction(CLOSE) * (abs(c) + abs(given))
    if abs(given) <= near:
        return ZERO
    if abs(given - bend) <= near:
        return bend
    return c * (given / c).limit_denominator(SHARES) if c and 0 < given / c < 1 else given.limit_denominator(SHORT)


def _corners(phase: int, lo: Fraction, hi: Fraction) -> list[tuple[Fraction, Fraction]]:
    """Of what (z, y) may be: see `bound`."""
    corners = [(ZERO, ZERO)]
    if phase != ON:
        corners.append((lo, ZERO))
    if phase in (LOOSE, SHUT):
        corners.append((hi, ZERO))
    if phase in (ON, EITHER, LOOSE):
        corners.append((hi, hi))
    return corners


def _ends(region: Region, node: Node, j: int) -> tuple[Fraction, Fraction]:
    if region.frame.program.claim.variables[j].discrete:
        return Fraction(float(node.lo[j])), Fraction(float(node.hi[j]))
    return region.cell[j]
