"""Certificate kernel, part 5: a program with twins ("Twins" in docs/formats.md): R(b) read as R(a) less a difference.

A twin's pre-activation is d = z_A − z_B of two relu layers, its output v = max(z_A, 0) − max(z_B, 0). Twins are added
to what a program already computes, and a call's output changes only its form, so any bound of either form is one of the
call. Lines for v (each holds at every point where the bounds of z_A, z_B and d that it uses do):

- chord: v ≤ max(0, d) and v ≥ min(0, d) for every z_B; a line above the one, or below the other, at both ends of d;
- on: v ≤ max(z_A, 0) − z_B = d + max(−z_A, 0) ≤ d + max(−l_A, 0), and v ≥ z_A − max(z_B, 0) ≥ d − max(−l_B, 0);
- off: v ≤ max(z_A, 0) ≤ max(u_A, 0), and v ≥ −max(z_B, 0) ≥ −max(u_B, 0).

Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rewarden.certificate.kernel_program import INPUT, Affine, Builder, Program, Rows

CHORD, ON, OFF = 0, 1, 2
Range = tuple[int, int]


def with_twins(program: Program, forms: Sequence[Affine]) -> Program | None:
    """None where no two calls that some form subtracts from each other run through relus of equal widths."""
    for first, second in _subtracted(forms):
        pairs = _pairs(program, program.outputs[first], program.outputs[second])
        if program.outputs[second] in pairs and any(program.layers[b].kind == "relu" for b in pairs):
            return _extended(program, pairs, program.outputs[second])
    return None


def _subtracted(forms: Sequence[Affine]) -> Iterator[tuple[int, int]]:
    for form in forms:
        for i, (a, x) in enumerate(form.calls):
            for b, y in form.calls[i + 1 :]:
                if (x > 0) != (y > 0):
                    yield a, b


def _pairs(program: Program, first: int, second: int) -> dict[int, int]:
    """Layer of the second call → the one of the first that it is compared with, from the outputs down."""
    found: dict[int, int] = {}
    agenda = [(first, second)]
    while agenda:
        a, b = agenda.pop()
        if a == b or b in found or INPUT in (a, b):
            continue
        one, other = program.layers[a], program.layers[b]
        if one.kind != other.kind or one.kind not in ("linear", "relu") or len(one.bias) != len(other.bias):
            continue
        found[b] = a
        if len(one.blocks) == len(other.blocks):
            agenda += [(x.source, y.source) for x, y in zip(one.blocks, other.blocks, strict=True)]
    return {b: a for b, a in found.items() if a not in found}


def _extended(program: Program, pairs: dict[int, int], output: int) -> Program:
    """The program, then a twin for each layer of the second call, then its output once more."""
    copy = Program(program.variables, list(program.layers), list(program.outputs), set(program.gates))
    builder = Builder(copy)
    at: dict[int, int] = {}
    for b in sorted(pairs):
        a = pairs[b]
        one, other = program.layers[a], program.layers[b]
        parts: list[tuple[int, Rows, int]] = [(block.source, block.rows, one.bottom) for block in one.blocks]
        for block in other.blocks:
            minus = [{j: -w for j, w in row.items()} for row in block.rows]
            paired = at.get(block.source)
            parts.append((block.source if paired is None else pairs[block.source], minus, other.bottom))
            if paired is not None:
                parts.append((paired, block.rows, other.bottom))
        common = math.lcm(one.bottom, other.bottom)
        bias = [
            x * (common // one.bottom) - y * (common // other.bottom) for x, y in zip(one.bias, other.bias, strict=True)
        ]
        relu = one.kind == "relu"
        at[b] = builder.emit("twin" if relu else "linear", parts, bias, common, pair=(a, b) if relu else None)
    last = builder.emit("linear", [(pairs[output], [{0: 1}], 1), (at[output], [{0: -1}], 1)])
    copy.outputs[:] = [last if layer == output else layer for layer in copy.outputs]
    return copy


# ── bounds ─────────────────────────────────────────────────────────────────────────────────────
def is_open(a: Range, b: Range) -> bool:
    """Neither both on nor both off."""
    return not ((a[0] >= 0 and b[0] >= 0) or (a[1] <= 0 and b[1] <= 0))


def extent(d: Range, a: Range, b: Range) -> Range:
    """Bounds of v."""
    most = min(max(d[1], 0), d[1] + max(-a[0], 0), max(a[1], 0) - max(b[0], 0))
    least = max(min(d[0], 0), d[0] - max(-b[0], 0), max(a[0], 0) - max(b[1], 0))
    return least, most


def choice(d: Range, a: Range, b: Range) -> int:
    """The lines taken where a proof names none, 3·lower + upper: those that are best in the middle of d."""
    if a[0] >= 0 and b[0] >= 0:
        return 3 * ON + ON
    if a[1] <= 0 and b[1] <= 0:
        return 3 * OFF + OFF
    low, high = d
    both = low + high  # twice the middle
    upper = _least(both if low >= 0 else max(high, 0), both + 2 * max(-a[0], 0), 2 * max(a[1], 0))
    lower = _least(-both if high <= 0 else max(-low, 0), -both + 2 * max(-b[0], 0), 2 * max(b[1], 0))
    return 3 * lower + upper


def _least(chord: int, on: int, off: int) -> int:
    if chord <= on and chord <= off:
        return CHORD
    return ON if on <= off else OFF


def line(d: Range, a: Range, chosen: int, slope_bits: int) -> tuple[int, int]:
    """(s, t): v ≤ (s·d + t) / 2**slope_bits, given the bounds of z_A. For a line below v, exchange the two calls."""
    one = 1 << slope_bits
    low, high = d
    if chosen == ON:
        return one, max(-a[0], 0) << slope_bits
    if chosen == OFF:
        return 0, max(a[1], 0) << slope_bits
    if low >= 0:
        return one, 0
    if high <= 0:
        return 0, 0
    slope = (high << slope_bits) // (high - low)
    return slope, high * (one - slope)
