"""Calls of rewards bounded one by one: for claims about long traces, whose calls read different records.

Bounded together, the calls of n records cost n² times what one does, in time and in memory. Apart they cost n times
that, and a sum of them is bounded as closely, since what one call reads says nothing of another. What gets lost is what
an atom over features and rewards at once has in common.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from rewarden.spec_lang.claim import Affine, Box, Claim, ClaimCall, ClaimVariable
from rewarden.verifier.backsub import Engine, Functionals
from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.fusion import functional_rows
from rewarden.verifier.program import Program
from rewarden.verifier.rounding import INFLATE, TINY, gamma, with_error

Array = NDArray[np.float64]
CHUNK = 2048  # boxes bounded at once


@dataclass(frozen=True, slots=True)
class _Kind:
    """Calls that are one another's, with other variables: bounded by the same program."""

    call: ClaimCall
    variables: tuple[ClaimVariable, ...]
    boxes: tuple[Box, ...]


class Apart:
    """The atoms of a claim that call rewards, from bounds of each call."""

    def __init__(self, claim: Claim, compiled: Callable[[Claim], Program], affines: Sequence[Affine]) -> None:
        self.read = np.zeros(len(claim.variables), dtype=np.bool_)
        self.calls = len(claim.calls)
        kinds: dict[_Kind, list[tuple[int, list[int]]]] = {}
        for number, call in enumerate(claim.calls):
            columns = sorted({i for row in call.arguments for i, _ in row.variables})
            self.read[columns] = True
            kinds.setdefault(_kind(claim, call, columns), []).append((number, columns))
        self.kinds = [(*_prepared(claim, kind, compiled), places) for kind, places in kinds.items()]
        shape = (len(affines), len(claim.variables) + self.calls)
        self.slope, self.slope_error = np.zeros(shape), np.zeros(shape)
        self.constant, self.constant_error = np.zeros(len(affines)), np.zeros(len(affines))
        for i, affine in enumerate(affines):
            self.constant[i], self.constant_error[i] = with_error(affine.constant)
            calls = [(len(claim.variables) + c, value) for c, value in affine.calls]
            for j, value in (*affine.variables, *calls):
                self.slope[i, j], self.slope_error[i, j] = with_error(value)

    def bounds(self, boxes: Boxes) -> tuple[Array, Array]:
        """Least and most of each atom [box, atom]; not a number, or infinite, where nothing is known."""
        lo, hi = boxes.lo.numpy(), boxes.hi.numpy()
        least, most = np.zeros((len(lo), self.calls)), np.zeros((len(lo), self.calls))
        for engine, functionals, places in self.kinds:
            numbers = [number for number, _ in places]
            low = np.stack([lo[:, columns] for _, columns in places])
            high = np.stack([hi[:, columns] for _, columns in places])
            shape = (low.shape[0] * low.shape[1], low.shape[2])  # a call of numbers alone reads no column
            both = _bounded(engine, functionals, low.reshape(shape), high.reshape(shape))
            least[:, numbers] = both[:, 0].reshape(len(places), len(lo)).T
            most[:, numbers] = -both[:, 1].reshape(len(places), len(lo)).T
        return self._added(np.hstack((lo, least)), np.hstack((hi, most)))

    def _added(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        up, down = self.slope.clip(min=0.0), self.slope.clip(max=0.0)
        with np.errstate(invalid="ignore", over="ignore"):
            size = np.maximum(np.abs(lo), np.abs(hi))
            lost = gamma(2 * self.slope.shape[1] + 2) * (size @ np.abs(self.slope).T + np.abs(self.constant))
            lost = (lost + size @ self.slope_error.T + self.constant_error) * INFLATE + TINY
            least, most = lo @ up.T + hi @ down.T + self.constant, hi @ up.T + lo @ down.T + self.constant
            return least - lost, most + lost  # which rounds once more: gamma has operations to spare


def _kind(claim: Claim, call: ClaimCall, columns: Sequence[int]) -> _Kind:
    place = {v: k for k, v in enumerate(columns)}
    rows = (Affine(row.constant, tuple((place[i], value) for i, value in row.variables)) for row in call.arguments)
    variables = (claim.variables[i] for i in columns)
    return _Kind(
        ClaimCall(call.reward, tuple(rows)),
        tuple(ClaimVariable(f"x{k}", None, variable.discrete) for k, variable in enumerate(variables)),
        tuple(tuple(box[i] for i in columns) for box in claim.boxes),
    )


def _prepared(claim: Claim, kind: _Kind, compiled: Callable[[Claim], Program]) -> tuple[Engine, Functionals]:
    used = tuple(pair for pair in claim.rewards if pair[0] == kind.call.reward)
    program = compiled(Claim("", "must", kind.variables, (), used, (kind.call,), (), (), kind.boxes))
    value, negative = (Affine(Fraction(0), (), ((0, Fraction(sign)),)) for sign in (1, -1))
    return Engine(program), Functionals.of(functional_rows(program, [value, negative]))


def _bounded(engine: Engine, functionals: Functionals, lo: Array, hi: Array) -> Array:
    """Lower bounds of a call and of its negative, on every box."""
    found = []
    for start in range(0, len(lo), CHUNK):
        some = slice(start, start + CHUNK)
        boxes = Boxes(torch.from_numpy(lo[some]), torch.from_numpy(hi[some]))
        found.append(engine.bound(boxes, functionals).bound.view(-1, 2).numpy())
    return np.concatenate(found)
