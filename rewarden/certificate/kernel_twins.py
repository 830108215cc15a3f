"""Certificate kernel: a program with twins ("Twins" in docs/formats.md): R(b) read as R(a) less a difference.

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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from weakref import WeakKeyDictionary

from rewarden.certificate.kernel_claim import Claim
from rewarden.certificate.kernel_json import refuse, used
from rewarden.certificate.kernel_program import (
    INPUT,
    ONE,
    Affine,
    Ends,
    Known,
    Layer,
    Line,
    Lines,
    Program,
    Rows,
    Values,
    gathered,
)

CHORD, ON, OFF = 0, 1, 2
Range = tuple[int, int]
_made: WeakKeyDictionary[Program, Program] = WeakKeyDictionary()  # of the claim's programs, with twins


@dataclass(frozen=True, eq=False)
class Twin(Layer):
    """z is d; `pair`: the layers whose outputs it subtracts."""

    pair: tuple[int, int]
    kind = "twin"
    choices = 8  # 3·(line below) + (line above)

    def output(self, z: list[int], values: Values) -> list[int]:
        refuse("points are judged without twins")

    def copies(self, k: int, known: Known) -> tuple[Range, Range]:
        """The bounds of z_A and of z_B of one neuron."""
        (low_a, high_a), (low_b, high_b) = (known.inner[layer] for layer in self.pair)
        return (low_a[k], high_a[k]), (low_b[k], high_b[k])

    def narrowed(self, ends: Ends, known: Known) -> Ends:
        each = [self.copies(k, known) for k in range(len(self.bias))]
        low = [max(x, a[0] - b[1]) for x, (a, b) in zip(ends[0], each, strict=True)]
        return low, [min(x, a[1] - b[0]) for x, (a, b) in zip(ends[1], each, strict=True)]

    def is_open(self, low: int, high: int, k: int, known: Known) -> bool:
        """Neither both copies on nor both off."""
        a, b = self.copies(k, known)
        return not ((a[0] >= 0 and b[0] >= 0) or (a[1] <= 0 and b[1] <= 0))

    def lines(self, ends: Ends, chosen: Sequence[int | None], known: Known) -> tuple[Ends, Lines | None]:
        each = enumerate(zip(zip(*ends, strict=True), chosen, strict=True))
        return gathered([_lines(d, *self.copies(k, known), named) for k, (d, named) in each])


def _lines(d: Range, a: Range, b: Range, chosen: int | None) -> Line:
    below, above = divmod(choice(d, a, b) if chosen is None else chosen, 3)
    (lower, drop), (upper, shift) = line((-d[1], -d[0]), b, below, ONE), line(d, a, above, ONE)
    return (*extent(d, a, b), lower, -(-drop // ONE), upper, -(-shift // ONE))


def twins(claim: Claim, program: Program) -> Program:
    """A claim's program with twins, made once."""
    used.add("kernel_twins")
    if program not in _made:
        forms = [atom.form for clause in (*claim.goals, *claim.clauses) for atom in clause]
        _made[program] = with_twins(program, forms) or refuse("a leaf reads twins, and the claim has none")
    return _made[program]


def with_twins(program: Program, forms: Iterable[Affine]) -> Program | None:
    """None where no two calls that some form subtracts from each other run through relus of equal widths."""
    for form in forms:
        for i, (one, x) in enumerate(form.calls):
            for other, y in form.calls[i + 1 :]:
                first, second = program.outputs[one], program.outputs[other]
                pairs = _pairs(program, first, second) if (x > 0) != (y > 0) else {}
                if second in pairs and any(program.layers[b].kind == "relu" for b in pairs):
                    return _extended(program, pairs, second)
    return None


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
    copy = Program(program.variables, list(program.layers), list(program.outputs))
    at: dict[int, int] = {}  # layer of the second call → its twin
    for b, a in sorted(pairs.items()):
        one, other = program.layers[a], program.layers[b]
        parts: list[tuple[int, Rows, int]] = [(block.source, block.rows, one.bottom) for block in one.blocks]
        for source, rows, _ in other.blocks:  # z_b, less: a source s with a twin t is read as (its partner) − t
            minus = [{j: -w for j, w in row.items()} for row in rows]
            parts.append((pairs[source] if source in at else source, minus, other.bottom))
            parts += [(at[source], rows, other.bottom)] if source in at else []
        bottom = math.lcm(one.bottom, other.bottom)
        x, y = bottom // one.bottom, bottom // other.bottom
        bias = [p * x - q * y for p, q in zip(one.bias, other.bias, strict=True)]
        at[b] = copy.emit(parts, bias, bottom, partial(Twin, pair=(a, b)) if one.kind == "relu" else Layer)
    last = copy.emit([(pairs[output], [{0: 1}], 1), (at[output], [{0: -1}], 1)])
    copy.outputs[:] = [last if layer == output else layer for layer in copy.outputs]
    return copy


# ── bounds: d, a, b are the ranges of d, z_A and z_B ────────────────────────────────────────────
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

    def best(low: int, high: int, z: Range) -> int:  # twice the height of each line above v, in the middle
        chord = low + high if low >= 0 else max(high, 0)
        heights = (chord, low + high + 2 * max(-z[0], 0), 2 * max(z[1], 0))
        return heights.index(min(heights))

    return 3 * best(-d[1], -d[0], b) + best(*d, a)


def line(d: Range, a: Range, chosen: int, one: int) -> tuple[int, int]:
    """(s, t): v ≤ (s·d + t) / one. For a line below v, exchange the two calls."""
    low, high = d
    if chosen == ON:
        return one, max(-a[0], 0) * one
    if chosen == OFF:
        return 0, max(a[1], 0) * one
    slope = one if low >= 0 else 0 if high <= 0 else high * one // (high - low)
    return slope, max(high, 0) * (one - slope)
