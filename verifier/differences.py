"""Two calls of a network as one call and a difference.

R(a) − R(b), bounded as two networks, loses what the two have in common: of every relu that may be on or off, both
copies pay for. Instead each layer of the second call gets a twin that holds, exactly, what the first call's layer has
more than it:

    linear:  z_A − z_B = (W_A − W_B)·v_A + W_B·δ + (b_A − b_B),     δ = v_A − v_B of the layers below,
    relu:    δ = relu(z_A) − relu(z_B), bounded by lines in d = z_A − z_B (`difference_lines`),

and R(b) is read as R(a) − δ. Where a and b differ little, so does δ, however wide the box is (Paulsen et al., ReluDiff,
ICSE 2020, bound two networks on one input so; lines for δ: Wang et al., Interleaving Twin-Network Encoding, DATE 2022).
The twins come after the layers of the program, which stay as they are: what is known of both copies alone is used for
the lines, and a functional is bounded both ways.

Lines. Over all z_B, relu(z_B + d) − relu(z_B) lies between min(0, d) and max(0, d). A chord above the convex max(0, d)
and one below the concave min(0, d) are the lines of relu(d) and −relu(−d). They are better where a copy is on, nearly:
relu(z_A) − relu(z_B) <= relu(z_A) − z_B <= d + max(−l_A, 0), and >= d − max(−l_B, 0) likewise; or off: it is at most
max(u_A, 0) and at least −max(u_B, 0). Of the three above, and of the three below, the one that is best in the middle of
d is taken. (With both on, that is d; with both off, 0.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from rewarden.spec_lang.claim import Claim
from rewarden.verifier.fusion import layer_bias
from rewarden.verifier.program import INPUT, Block, Layer, Program
from rewarden.verifier.relaxation import relu_lines
from rewarden.verifier.rounding import TINY, UNIT, Array


def with_differences(program: Program) -> Program | None:
    """The program with twins, its output of the second of two calls read as a difference; None where no two calls that
    are subtracted from each other run through relus of equal widths."""
    if program.executed is not None:
        return None
    for first, second in _subtracted(program.claim):
        twins = _pairs(program, program.outputs[first], program.outputs[second])
        if program.outputs[second] in twins and any(program.layers[b].kind == "relu" for b in twins):
            return _extended(program, twins, second)
    return None


def _subtracted(claim: Claim) -> list[tuple[int, int]]:
    """Pairs of calls with coefficients of opposite sign in one atom, in order of appearance."""
    found: dict[tuple[int, int], None] = {}
    for clause in (*claim.goals, *claim.clauses):
        for atom in clause:
            calls = atom.affine.calls
            for i, (a, x) in enumerate(calls):
                for b, y in calls[i + 1 :]:
                    if (x > 0) != (y > 0):
                        found[a, b] = None
    return list(found)


def _pairs(program: Program, first: int, second: int) -> dict[int, int]:
    """Layer of the second call → the layer of the first that it is compared with, down from their outputs."""
    found: dict[int, int] = {}
    stack = [(first, second)]
    while stack:
        a, b = stack.pop()
        if a == b or b in found or INPUT in (a, b):
            continue
        one, other = program.layers[a], program.layers[b]
        if one.kind != other.kind or one.rows != other.rows or one.kind not in ("linear", "relu"):
            continue
        found[b] = a
        if len(one.blocks) == len(other.blocks):
            stack += [(x.source, y.source) for x, y in zip(one.blocks, other.blocks, strict=True)]
    # A layer compared with one that is itself a second copy would need that one's twin first.
    return {b: a for b, a in found.items() if a not in found}


def _extended(program: Program, twins: dict[int, int], second: int) -> Program:
    layers = list(program.layers)
    at: dict[int, int] = {}  # second copy → its twin
    for b in sorted(twins):
        a = twins[b]
        kind = "relu" if program.layers[b].kind == "relu" else "linear"
        blocks, bias, exact = _difference(program, twins, at, a, b)
        pair = (a, b) if kind == "relu" else None
        layers.append(Layer("twin" if pair else "linear", blocks, bias, exact, tight=pair is not None, pair=pair))
        at[b] = len(layers) - 1
    output = program.outputs[second]
    width = program.layers[output].width
    eye = np.eye(width)
    layers.append(Layer("linear", (Block(twins[output], eye), Block(at[output], -eye)), np.zeros(width)))
    outputs = tuple(len(layers) - 1 if layer == output else layer for layer in program.outputs)
    return replace(program, layers=tuple(layers), outputs=outputs)


class _Weights:
    """Σ of blocks on one source (mutable): floats, and rationals where floats are not exact."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.weight = np.zeros(shape)
        self.exact: dict[tuple[int, int], Fraction] = {}

    def add(self, block: Block, sign: int) -> None:
        old, new = self.weight, sign * block.weight
        self.weight, inexact = _sum(old, new)
        theirs = block.exact or {}
        doubtful = {(int(i), int(j)) for i, j in zip(*np.nonzero(inexact), strict=True)}
        for position in doubtful | set(theirs) | set(self.exact):
            before = self.exact.get(position, Fraction(float(old[position])))
            added = theirs.get(position, Fraction(float(block.weight[position])))
            total = before + sign * added
            self.exact[position] = total
            self.weight[position] = float(total)

    def block(self, source: int) -> Block | None:
        if not self.weight.any() and not any(self.exact.values()):
            return None
        return Block(source, self.weight, self.exact or None)


def _sum(a: Array, b: Array) -> tuple[Array, Array]:
    """a + b, and where it is rounded (Knuth's two-sum)."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back) != 0


def _difference(
    program: Program, twins: dict[int, int], at: dict[int, int], a: int, b: int
) -> tuple[tuple[Block, ...], Array, tuple[Fraction, ...] | None]:
    """z_A − z_B over the first copy's layers and the twins, exactly."""
    one, other = program.layers[a], program.layers[b]
    sums: dict[int, _Weights] = {}

    def add(source: int, block: Block, sign: int) -> None:
        shape = (block.weight.shape[0], block.weight.shape[1])
        sums.setdefault(source, _Weights(shape)).add(block, sign)

    for block in one.blocks:
        add(block.source, block, 1)
    for block in other.blocks:
        twin = at.get(block.source)
        add(block.source if twin is None else twins[block.source], block, -1)
        if twin is not None:
            add(twin, block, 1)
    blocks = tuple(found for source, weights in sums.items() if (found := weights.block(source)) is not None)
    if not blocks:  # equal rows on equal sources: a layer of zeros still has to read something
        source = one.blocks[0].source
        blocks = (Block(source, np.zeros_like(one.blocks[0].weight)),)
    return blocks, *_bias(one, other)


def _bias(one: Layer, other: Layer) -> tuple[Array, tuple[Fraction, ...] | None]:
    bias, inexact = _sum(layer_bias(one)[0], -layer_bias(other)[0])
    if one.exact_bias is None and other.exact_bias is None and not inexact.any():
        return bias, None
    left, right = (layer.exact_bias or tuple(Fraction(float(x)) for x in layer.bias) for layer in (one, other))
    exact = tuple(x - y for x, y in zip(left, right, strict=True))
    return np.array([float(x) for x in exact]), exact


# ── bounds ─────────────────────────────────────────────────────────────────────────────────────
Side = tuple[Tensor, Tensor]  # lower and upper bounds of pre-activations, [box, neuron]


def narrowed_difference(d: Side, a: Side, b: Side) -> Side:
    """Bounds of z_A − z_B, at least as good as those of the copies alone."""
    below, above = _minus(a[0], b[1]), -_minus(b[0], a[1])
    return torch.fmax(d[0], below), torch.fmin(d[1], above)


def _minus(x: Tensor, y: Tensor) -> Tensor:
    """x − y, rounded down; subnormal results may be flushed."""
    found = x - y
    return found - 2.0 * UNIT * found.abs() - torch.where(x == y, 0.0, TINY).to(found.dtype)


def matters(a: Side, b: Side) -> Tensor:
    """Where a difference has to be known well: unless both copies are on or both off, it is not d and not 0."""
    both_on, both_off = (a[0] >= 0) & (b[0] >= 0), (a[1] <= 0) & (b[1] <= 0)
    return ~(both_on | both_off)


CHORD, ON, OFF = 0, 1, 2
TIE = 1e-6  # relative: lines as good as each other but for this are written down, since a checker may round otherwise


@dataclass(frozen=True, slots=True, eq=False)
class TwinLines:
    """All [box, neuron]: lower·d + below <= relu(z_A) − relu(z_B) <= upper·d + above; which lines these are,
    3·lower + upper; whether another choice is about as good; how far rounding may move them, times its size."""

    lower: Tensor
    upper: Tensor
    below: Tensor
    above: Tensor
    choice: Tensor
    tie: Tensor
    gap: Tensor


def difference_lines(d: Side, a: Side, b: Side) -> TwinLines:
    """The lines that are best in the middle of d (docs/formats.md, "Twins")."""
    middle = d[0] + d[1]  # twice the middle
    on, off = (a[0] >= 0) & (b[0] >= 0), (a[1] <= 0) & (b[1] <= 0)
    upper, above, high, close_above = _upper(d, a, middle, on, off)
    lower, below, low, close_below = _upper((-d[1], -d[0]), b, -middle, on, off)
    open_ = ~(on | off)
    gap = torch.where(open_, d[1] - d[0], 0.0)
    return TwinLines(lower, upper, -below, above, 3 * low + high, (close_above | close_below) & open_, gap)


def _upper(d: Side, a: Side, middle: Tensor, on: Tensor, off: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Slope, intercept, which line, and whether that is close."""
    chord = relu_lines(*d)
    excess, most = (-a[0]).clamp(min=0.0), a[1].clamp(min=0.0)
    zero, one = torch.zeros_like(excess), torch.ones_like(excess)
    values = torch.stack((torch.where(d[0] >= 0, middle, d[1].clamp(min=0.0)), middle + 2.0 * excess, 2.0 * most))
    best = values.argmin(0)  # the first of equals
    ordered = values.sort(0).values
    close = ordered[1] - ordered[0] <= TIE * (ordered[0].abs() + d[0].abs() + d[1].abs())
    best = torch.where(on, ON, torch.where(off, OFF, best))
    slope = torch.where(best == ON, one, torch.where(best == OFF, zero, chord.upper))
    intercept = torch.where(best == ON, excess, torch.where(best == OFF, most, chord.intercept))
    return slope, intercept, best, close


def difference_extent(d: Side, a: Side, b: Side) -> Side:
    """Bounds of relu(z_A) − relu(z_B)."""
    (a_lo, a_hi), (b_lo, b_hi) = ((side[0].clamp(min=0.0), side[1].clamp(min=0.0)) for side in (a, b))
    least = torch.fmax(d[0].clamp(max=0.0), _minus(d[0], (-b[0]).clamp(min=0.0)))
    most = torch.fmin(d[1].clamp(min=0.0), -_minus(-d[1], (-a[0]).clamp(min=0.0)))
    return torch.fmax(least, _minus(a_lo, b_hi)), torch.fmin(most, -_minus(b_lo, a_hi))
