"""float32 semantics: a claim's program as binary32 executes it, any order of summation, fused or not, flushing or not.

The layers are those of the exact program, read with executed values: v̂ₖ = act(W·v̂ + b + η), where |η| is at most
what `Rounding` says of the layer. So an op has the rounding of the op that is executed, not of the layers that it
expands to: max, min, clip, abs and relu pick one of their operands and round nothing, though the layers that stand for
them subtract.

What an execution may do to one op, with u = 2^-24 (Higham, Accuracy and Stability, 2.2 and 3.1):

- a sum of n products and a bias goes through at most n additions and one product per term: γ_{n+1}·(|W||v̂| + |b|),
  n the weights of the row that are not 0. Powers of two multiply, and a first term is added to 0, without rounding;
- a sum or product of two numbers is off by u·|result|;
- an operand or result below the normal range (2^-126) may be taken for 0, or be rounded to a multiple of 2^-149: at
  most 2^-126 for each, times the weight where a product reads it. TINY is twice that, and sums take it times 1 + γ;
- a call's argument that is no binary32 number goes to one of its two neighbours: 2u·|argument|.

Every piece of every call is executed on its own: two calls, or two equal nodes of a graph, may sum in different orders,
so nothing is shared here but a node that is read twice. A call of the same reward at the same arguments is one value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.reward import graph as g
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.boxes import RowBoxes, down, hull, up
from rewarden.spec_lang.claim import Affine, Claim
from rewarden.spec_lang.errors import Unsupported
from rewarden.verifier.inline import Emitter, inline_calls
from rewarden.verifier.program import Executed, Layer, Program, Rounding

Array = NDArray[np.float64]
U = 2.0**-24  # unit roundoff of binary32
TINY = 2.0**-125  # twice the smallest normal number
NORMAL = 2.0**-126
SMALLEST = 2.0**-149  # of the numbers that are not 0
LARGEST = float(np.finfo(np.float32).max)
WHOLE = 2**24  # integers up to here are binary32 numbers
CLOSE = 2.0**-40  # relative: ends that are the same lie that close, however they are rounded
SLACK = 1.0 + 2.0**-30  # for the roundings of these few numbers themselves


def compile_executed(
    claim: Claim, artifacts: Mapping[str, Artifact], constants: Mapping[int, Fraction] | None = None
) -> Program:
    """The program of `claim` under float32 semantics; see `Executed` for `constants`.

    Raises as `compile_program`, and Unsupported (X12) for an op whose rounding is not known.
    """
    emitter = _ExecutedEmitter(claim, constants or {})
    outputs = inline_calls(emitter, claim, artifacts)
    executed = Executed(tuple(emitter.roundings), dict(artifacts), dict(constants or {}))
    return Program(claim, tuple(emitter.layers), outputs, executed)


class _ExecutedEmitter(Emitter):
    """Mutable: notes the rounding of each layer, and shares nothing."""

    def __init__(self, claim: Claim, constants: Mapping[int, Fraction]) -> None:
        Emitter.__init__(self, len(claim.variables))
        self.exact_columns = _exact_columns(claim, constants)
        self.roundings: list[Rounding | None] = []

    def read_over(self, rows: tuple[Affine, ...], lo: Array, hi: Array) -> tuple[Array, Array]:
        """An argument that is no binary32 number goes to one of its two neighbours."""
        off = np.array([0.0 if self.exact_columns(row) else 1.0 for row in rows])
        reach = off * (2.0 * U * SLACK * np.maximum(np.abs(lo), np.abs(hi)) + TINY)
        return lo - reach * SLACK, hi + reach * SLACK

    def arguments(self, rows: tuple[Affine, ...]) -> int:
        last = self._fresh(lambda: Emitter.arguments(self, rows))
        exact = np.array([self.exact_columns(row) for row in rows], dtype=np.bool_)
        off = np.where(exact, 0.0, 1.0)
        if not exact.all():
            self.roundings[last] = Rounding(np.zeros(len(rows)), 2.0 * U * SLACK * off, 0.0, TINY * off)
        elif len(rows) == 1:  # it may be the reward itself, or what a patch compares, and flushed as such
            self.roundings[last] = self._picks(last, 1)
        return last

    def node(self, node: g.Node, tensors: Mapping[str, NDArray[np.float32]], sources: tuple[int, ...]) -> int:
        first = len(self.layers)
        last = self._fresh(lambda: Emitter.node(self, node, tensors, sources))
        match node:
            case g.Scale() | g.AffineMap():
                self.roundings[last] = _sums(self.layers[last])
            case g.LeakyRelu():
                self.roundings[last] = self._picks(last, 3, once=U * SLACK, operands=TINY)
            case g.Add() | g.Sub():
                self.roundings[last] = self._picks(last, 3, once=U * SLACK)
            case g.Relu() | g.Abs():  # flushed on the way in, so that what comes out is never negative
                for layer in range(first, len(self.layers)):
                    if self.layers[layer].kind == "relu":
                        self.roundings[layer] = self._picks(layer, 2)
            case g.Minimum() | g.Maximum() | g.ReduceMin() | g.ReduceMax():
                self.roundings[last] = self._picks(last, 2)
            case g.Clip():  # likewise on the way in, unless an end of the range is itself flushed
                self.roundings[first] = self._picks(first, 2)
                if any(0 < abs(float(tensors[name][0])) < NORMAL for name in (node.lo, node.hi)):
                    self.roundings[last] = self._picks(last, 2)
            case g.Concat():  # it copies; but where it is the reward, that may be flushed
                self.roundings[last] = self._picks(last, 1)
            case _:
                raise Unsupported("X12", _unknown(node), help="ask for real semantics, where its enclosures are proved")
        return last

    def patch(self, patch: g.Patch, tensors: Mapping[str, NDArray[np.float32]], reward: int, point: int) -> int:
        first = len(self.layers)
        last = self._fresh(lambda: Emitter.patch(self, patch, tensors, reward, point))
        rows, over, gated = first, first + 1, last - 1
        assert self.layers[gated].kind == "gated"
        compared = _sums(self.layers[rows])
        self.roundings[rows] = Rounding(compared.many, compared.once, compared.operands, compared.loss + TINY)
        self.roundings[over] = self._picks(over, 3, once=U * SLACK)  # G − delta
        # level ± slope·M. The reward is only compared with it, and takes one of both: what flushing makes of the reward
        # is paid for where it comes from, which leaves room for it (it is read nowhere else).
        ramp = _sums(self.layers[gated], skipped=reward)
        level = abs(float(tensors[patch.level][0]))
        self.roundings[gated] = replace(ramp, loss=ramp.loss + 2 * TINY, quiet=level == 0 or level >= NORMAL)
        return last

    def _fresh(self, emit: Callable[[], int]) -> int:
        """What `emit` emits, always anew."""
        self.memo.clear()
        last = emit()
        self.roundings += [None] * (len(self.layers) - len(self.roundings))
        return last

    def _picks(self, layer: int, flushes: int, once: float = 0.0, operands: float = 0.0) -> Rounding:
        """An op that adds or multiplies once at most, with so many numbers that may be flushed."""
        rows = self.layers[layer].rows
        return Rounding(np.zeros(rows), np.full(rows, once), operands, np.full(rows, flushes * TINY))


def _sums(layer: Layer, skipped: int | None = None) -> Rounding:
    """Of a layer whose rows are sums of products."""
    weights = np.concatenate([np.abs(b.weight) for b in layer.blocks if b.source != skipped], axis=1)
    terms = np.count_nonzero(weights, axis=1)
    additions = np.maximum(terms - (layer.bias == 0), 0)
    mantissas = np.frexp(weights)[0]
    multiplied = (~np.isin(mantissas, (0.0, 0.5))).any(axis=1)  # a power of two is multiplied by without rounding
    # Relative to all of z, then. Larger weights are not of this kind: 2a − 2b may be 0 where 2a is beyond all numbers.
    single = (additions == 1) & ~multiplied & (weights <= 1).all(axis=1) & (skipped is None)
    # Of what a reward is compared with z says little: a patch's ceiling overflows by itself.
    roundings = np.where(single, 0, np.maximum(additions + multiplied, skipped is not None)) * U
    if (roundings > 0.25).any():
        raise Unsupported("X12", "a sum of more than four million terms has no useful bound in binary32")
    many = roundings / (1.0 - roundings) * SLACK
    loss = TINY * (weights.sum(axis=1) + 2.0 * terms + 2.0) * (1.0 + many) * SLACK
    return Rounding(many, np.where(single, U * SLACK, 0.0), TINY * (1.0 + float(many.max())), loss, skipped)


def _unknown(node: g.Node) -> str:
    """Neither torch nor ONNX promise how accurate such a function is, and libraries compute it in different ways."""
    if isinstance(node, g.Smooth):
        return f"no library promises how far its {node.function} is off in binary32"
    return f"how far {type(node).__name__} is off in binary32 is not known here"


# ── arguments ──────────────────────────────────────────────────────────────────────────────────
def _exact_columns(claim: Claim, constants: Mapping[int, Fraction]) -> Callable[[Affine], bool]:
    """Whether an argument is a binary32 number at every point of the claim's domain.

    A variable is one by definition, unless it is fixed to a number that is none (a row of the data), or a constant's.
    """
    if isinstance(claim.boxes, RowBoxes):
        fixed_off = _fixed_by_rows(claim.boxes)
    else:
        fixed_off = {i for box in claim.boxes for i, (lo, hi) in enumerate(box) if lo == hi and not is_binary32(lo)}
    fixed_off |= set(constants)
    largest = [max(abs(lo), abs(hi)) for lo, hi in hull(claim.boxes)]

    def exact(row: Affine) -> bool:
        if not row.variables:
            return is_binary32(row.constant)
        if row.constant == 0 and len(row.variables) == 1 and row.variables[0][1] == 1:
            return row.variables[0][0] not in fixed_off
        whole = row.constant.denominator == 1 and all(
            claim.variables[i].discrete and c.denominator == 1 for i, c in row.variables
        )
        return whole and abs(row.constant) + sum(abs(c) * largest[i] for i, c in row.variables) <= WHOLE

    return exact


def _fixed_by_rows(boxes: RowBoxes) -> set[int]:
    """The variables that some box may fix to a number that is no binary32 number; there may be more of them, since ends
    are compared as floats that lie around them."""
    found: set[int] = set()
    lo, hi = boxes.outward
    single = hi - lo <= CLOSE * np.maximum(np.abs(lo), np.abs(hi)) + TINY
    for i in np.flatnonzero(single.any(axis=0)).tolist():
        rows = single[:, i]
        least, most = boxes.ranges[i]
        values = boxes.centres(i)
        if values is None:
            off = not is_binary32(least)
        elif boxes.whole(i):  # whole numbers, rounded towards each other
            off = bool((np.maximum(np.abs(lo[rows, i]), np.abs(hi[rows, i])) > WHOLE).any())
        else:
            own = values[rows]
            edges = bool(((own <= up(least)) | (own >= down(most))).any())
            off = bool((own.astype(np.float32) != own).any())
            off = off or (edges and not (is_binary32(least) and is_binary32(most)))
        if off:
            found.add(i)
    return found


def is_binary32(value: Fraction) -> bool:
    with np.errstate(over="ignore"):
        nearest = np.float32(_float64(value))
    return bool(np.isfinite(nearest)) and Fraction(float(nearest)) == value


def neighbours(value: Fraction) -> tuple[np.float32, np.float32]:
    """The largest binary32 number that is not above `value`, and the smallest that is not below; maybe infinite."""
    with np.errstate(over="ignore"):
        near = np.clip(np.float32(_float64(value)), -np.float32(LARGEST), np.float32(LARGEST))
        exact = Fraction(float(near))
        below = near if exact <= value else np.nextafter(near, np.float32(-np.inf))
        above = near if exact >= value else np.nextafter(near, np.float32(np.inf))
    return below, above


def _float64(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
