"""A certified bound of what a reward can reach over a box.

Best-first input splitting: the box whose bound is worst is halved along the axis on which its bound leans most, until
the bound is within a small share of a value that is really reached, or a fixed number of boxes has been bounded. The
answer is a bound at every moment; more boxes only tighten it. Work is counted in boxes, so the answer does not depend
on time.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from math import isfinite

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.reward.artifact import Artifact
from rewarden.reward.rounding import deployed_error
from rewarden.reward.tables import has_tables, is_table
from rewarden.spec_lang.claim import Affine, Box, Claim, ClaimCall, ClaimVariable
from rewarden.spec_lang.errors import EditError, Unsupported
from rewarden.verifier.backsub import Engine, Functionals
from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.branch import products
from rewarden.verifier.executed import compile_executed
from rewarden.verifier.float_program import FloatProgram
from rewarden.verifier.fusion import functional_rows
from rewarden.verifier.inline import compile_program
from rewarden.verifier.program import Program
from rewarden.verifier.rounding import outward
from rewarden.verifier.torch_settings import plain_torch
from rewarden.verifier.wide.greatest import back_substituted, deciding
from rewarden.verifier.wide.network import Network, network_of, rows_of

Array = NDArray[np.float64]
BATCH = 256
MOST_BOXES = 512
PRODUCTS = 2**28  # multiplications: about a second
MANY = 64  # boxes from which on those that decide are told from the others
WIDE = 24  # columns from which on halving boxes gets nowhere
Bounding = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # boxes lo, hi: upper bounds, and axes to halve them along
SMALL = 2**13  # weights of a layer
ENOUGH = 0.02  # stop when the bound exceeds a reached value by this share of its spread over the first boxes


def certified_extremum(artifact: Artifact, box: Box, sign: int) -> Fraction:
    """A number that sign·r(x) does not exceed for any x in the box (encoded columns), exactly or as deployed.

    `sign` is 1 for a ceiling's U and -1 for a floor's. Discrete columns count as intervals, which only loosens it.
    Patches that can only lower sign·r are left out: they are monotone in the reward they wrap, so without them the
    bound stands, and it is free of what the naive rounding analysis makes of a gate. Raises EditError E11 where no
    finite bound is found.
    """
    lowering = "ceiling" if sign > 0 else "floor"
    artifact = _without(artifact, lowering)
    if has_tables(artifact):  # they raise sign·r to their level at most, and raise nothing above it
        levels = [
            sign * Fraction(float(artifact.tensors[p.level][0]))
            for p in artifact.patches
            if is_table(p, artifact.tensors)
        ]
        rest = tuple(p for p in artifact.patches if not is_table(p, artifact.tensors))
        return max(certified_extremum(artifact.with_patches(rest), box, sign), *levels)
    with torch.no_grad(), plain_torch(_threads(artifact)):
        lo, hi = outward(box)
        bound = _search(artifact, lo[None, :], hi[None, :], sign)
    if not isfinite(bound):
        raise EditError("E11", "the reward has no finite certified bound near the region", help="check its weights")
    return Fraction(bound) + abs(Fraction(bound)) / 2**50  # pays for the one rounding of the sum above


def certified_extremum_over(artifact: Artifact, lo: Array, hi: Array, sign: int) -> Fraction:
    """As `certified_extremum`, over all of the boxes lo[k], hi[k] (float64 [box, width]) at once."""
    lowering = "ceiling" if sign > 0 else "floor"
    artifact = _without(artifact, lowering)
    levels = [sign * Fraction(float(artifact.tensors[p.level][0])) for p in artifact.patches]
    bare = artifact.with_patches(())  # patches that raise sign·r raise it to their level at most
    with torch.no_grad(), plain_torch(_threads(bare)):
        bound = _search(bare, lo, hi, sign)
    if not isfinite(bound):
        raise EditError("E11", "the reward has no finite certified bound near the region", help="check its weights")
    return max([Fraction(bound) + abs(Fraction(bound)) / 2**50, *levels])


def _threads(artifact: Artifact) -> int | None:
    """One, for what is small: threads that wait for each other thousands of times take far longer than the work."""
    return 1 if max((tensor.size for tensor in artifact.tensors.values()), default=0) <= SMALL else None


def _without(artifact: Artifact, kind: str) -> Artifact:
    """The artifact without its patches of that kind."""
    return artifact.with_patches(tuple(patch for patch in artifact.patches if patch.kind != kind))


def _search(artifact: Artifact, lows: Array, highs: Array, sign: int) -> float:
    columns = [f"x{j}" for j in range(artifact.width)]
    variables = tuple(ClaimVariable(name, None, False) for name in columns)
    identity = tuple(Affine(Fraction(0), ((j, Fraction(1)),)) for j in range(artifact.width))
    box = tuple((Fraction(a), Fraction(b)) for a, b in zip(lows.min(0).tolist(), highs.max(0).tolist(), strict=True))
    claim = Claim("", "must", variables, (), (("r", ""),), (ClaimCall("r", identity),), (), (), (box,))
    program, error = _as_executed(claim, artifact, lows, highs)
    target = Affine(Fraction(0), (), ((0, Fraction(-sign)),))
    lo, hi = torch.from_numpy(lows), torch.from_numpy(highs)
    network = network_of(program) if len(lo) >= MANY else None
    if network is not None:
        row = rows_of(program, network, [target])
        bounded: Bounding = partial(back_substituted, network, row)
        cost, (bound, axis) = _products(network), deciding(network, row, lo, hi)
    else:
        engine = Engine(program)
        bounded = partial(_bound, engine, Functionals.of(functional_rows(engine.program, [target])))
        cost, (bound, axis) = products(engine), _in_batches(bounded, lo, hi)
    values = FloatProgram(program)  # decides where the search stops, never what it answers
    reached, boxes = -float("inf"), 1
    start = float(bound.max())
    most = min(MOST_BOXES, PRODUCTS // cost) if artifact.width < WIDE else 0
    while boxes < most:
        worst = bound.argsort(descending=True)[:BATCH]
        reached = max(reached, float((sign * values.calls((lo[worst] + hi[worst]) / 2)).max()))
        top = float(bound[worst[0]])
        if not top - reached > ENOUGH * max(start - reached, 0.0) or not bool((hi > lo)[worst[0]].any()):
            break
        halves = _halve(lo[worst], hi[worst], axis[worst])
        new_bound, new_axis = bounded(*halves)
        # a half cannot exceed its parent, whatever its own bound says
        new_bound = torch.minimum(new_bound, bound[worst].repeat(2))
        keep = torch.ones(bound.shape[0], dtype=torch.bool)
        keep[worst] = False
        lo, hi = torch.cat((lo[keep], halves[0])), torch.cat((hi[keep], halves[1]))
        bound, axis = torch.cat((bound[keep], new_bound)), torch.cat((axis[keep], new_axis))
        boxes += 2 * int(worst.numel())
    return float(bound.max()) + error


def _as_executed(claim: Claim, artifact: Artifact, lows: Array, highs: Array) -> tuple[Program, float]:
    """The reward as binary32 executes it, whose bounds hold of its exact values too. A smooth reward has no such form:
    its exact one, and how far the deployed pass may be off, which is a far coarser bound."""
    try:
        return compile_executed(claim, {"r": artifact}), 0.0
    except Unsupported:
        return compile_program(claim, {"r": artifact}), deployed_error(artifact, lows.min(axis=0), highs.max(axis=0))


def _products(network: Network) -> int:
    """As `branch.products`, of dense layers."""
    weights = total = 1
    for node in network.nodes:
        weights += sum(m.weight.numel() for m in node.maps)
        total += node.width * weights
    return total


def _in_batches(bounded: Bounding, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    parts = [bounded(a, b) for a, b in zip(torch.split(lo, BATCH), torch.split(hi, BATCH), strict=True)]
    return torch.cat([b for b, _ in parts]), torch.cat([a for _, a in parts])


def _bound(engine: Engine, target: Functionals, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    """Upper bounds of sign·r per box, and the axis with the largest slope × width."""
    final = engine.bound(Boxes(lo, hi), target)
    return -final.bound, (final.rows.slope.abs() * (hi - lo)).argmax(-1)


def _halve(lo: Tensor, hi: Tensor, axis: Tensor) -> tuple[Tensor, Tensor]:
    """Both halves of every box; they share the cut, so nothing between them is lost."""
    rows = torch.arange(lo.shape[0])
    middle = (lo[rows, axis] + hi[rows, axis]) / 2
    left_hi, right_lo = hi.clone(), lo.clone()
    left_hi[rows, axis] = middle
    right_lo[rows, axis] = middle
    return torch.cat((lo, right_lo)), torch.cat((left_hi, hi))
