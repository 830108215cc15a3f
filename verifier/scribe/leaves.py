"""Leaves of proofs, found for many branches at once.

At the points of a branch at which its facts hold and the goal fails, goal atoms and negated facts are at most 0. So a
leaf is a sum of those rows with weights >= 0 whose lower bound is positive; multiples of neurons that are held to a
sign, and slopes below unstable ones, are free as well. Tries, each for what the one before has left: rows alone over
intervals; rows alone over back-substituted bounds; the same where rows have narrowed the box, twice (steps of the
proof); a sum of rows, whose weights a small linear program suggests, with slopes and multiples from gradient ascent,
as in Beta-CROWN (Wang et al., NeurIPS 2021), rounded to short numbers before its bound is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.spec_lang.claim import Affine, Claim
from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.facts import FactId, best_multiplier
from rewarden.verifier.scribe.mirror import DOUBT, Bounded, Known, Mirror, Rows

STEPS, FEW_STEPS = 24, 6  # of gradient ascent; where variables can be cut instead
MANY = 24  # variables from which on cutting them gets nowhere
NARROWINGS = 3  # of the boxes by rows
WORTH = 0.03  # share of a variable's width that a step has to take off
RATE, DECAY = 0.2, 0.93
BITS = 9  # of a weight
SLOPES = 256
PLAIN = ((1, 1), (2, 2), (3, 4), (BITS, SLOPES))  # bits of weights, and parts of slopes, that equality is tried with
Leaf = list[object]


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A goal under chosen atoms: its rows, and for each the goal's atom or the fact that it is."""

    rows: Rows
    names: tuple[tuple[int, int], ...]  # (−1, atom) for atoms of the goal, else (clause, atom)

    @staticmethod
    def of(mirror: Mirror, claim: Claim, goal: int, chosen: Sequence[FactId]) -> Subject:
        facts = (*single_facts(claim), *chosen)
        affines = [atom.affine for atom in claim.goals[goal]]
        affines += [negative(claim.clauses[c][a].affine) for c, a in facts]
        names = (*((-1, a) for a in range(len(claim.goals[goal]))), *facts)
        return Subject(mirror.rows(affines), names)


def single_facts(claim: Claim) -> tuple[FactId, ...]:
    """Those that hold wherever the premise does."""
    return tuple((c, 0) for c, clause in enumerate(claim.clauses) if len(clause) == 1)


@dataclass(slots=True, eq=False)
class Tried:
    """[leaf]: what was found, or None; and of those that are left, which neuron costs most (layer, neuron), how many
    are unstable, and how steep the best row is along each variable. `close`: leaves that hold but for rounding, or
    fail by it."""

    leaves: list[Leaf | None]
    costly: list[tuple[int, int] | None]
    unstable: Tensor
    slope: Tensor
    exact: bool = False  # some point of a branch has next to no margin: no bound in floats can settle that
    close: dict[int, list[Leaf]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Of one branch what `Tried` says of many; `flat`: some point of it has next to no margin."""

    leaf: Leaf | None
    costly: tuple[int, int] | None
    unstable: int
    slope: NDArray[np.float64]
    flat: bool
    close: Sequence[Leaf] = ()


def attempt(
    mirror: Mirror,
    subject: Subject,
    lo: Tensor,
    hi: Tensor,
    signs: Mapping[int, Tensor],
    *,
    exactly: bool = False,
) -> Tried:
    """A leaf for each branch, where one is found. `exactly`: `close` ones are wanted, too, which is why no steps are
    among their means."""
    count = lo.shape[0]
    tried = Tried([None] * count, [None] * count, torch.zeros(count, dtype=torch.int64), torch.zeros_like(lo))
    now = _Now(mirror, subject, torch.arange(count), mirror.known(lo, hi, signs, deep=False))
    now.finish(tried)
    if now.size:
        now.known = mirror.known(now.known.lo, now.known.hi, now.known.signs, deep=True)
        now.finish(tried)
    for _ in range(NARROWINGS if not exactly and lo.shape[1] < MANY else 0):
        if not now.size or not now.narrow(tried):
            break
        now.finish(tried)
    if now.size:
        ascent = _Ascent(now)
        ascent.run(STEPS if exactly or not ascent.few else FEW_STEPS)
        with torch.no_grad():
            for rounding in PLAIN if exactly else ():
                _plainly(now, tried, ascent, rounding)
            _write(now, tried, ascent)
    return tried


class _Now:
    """Branches that are still open (mutable): which, what is known of them, and the steps that it took."""

    def __init__(self, mirror: Mirror, subject: Subject, index: Tensor, known: Known) -> None:
        self.mirror, self.subject, self.index, self.known = mirror, subject, index, known
        self.steps: list[list[object]] = [[] for _ in range(self.size)]
        self.ties: list[list[object]] | None = None  # of the first bounds, once there have been others
        self.parts = mirror.lower(known, subject.rows)

    @property
    def size(self) -> int:
        return int(self.index.numel())

    def keep(self, left: Tensor) -> None:
        self.index, self.known, self.parts = self.index[left], self.known.take(left), self.parts.take(left)
        self.steps = [self.steps[i] for i in left.tolist()]
        self.ties = None if self.ties is None else [self.ties[i] for i in left.tolist()]

    def tied(self, at: int) -> list[object]:
        return _ties(self.mirror, self.known, at) if self.ties is None else self.ties[at]

    def finish(self, tried: Tried) -> None:
        """Leaves of one row each, where some row is positive."""
        self.parts = self.mirror.lower(self.known, self.subject.rows)
        enough = self.parts.bound > self.parts.slack
        for i in enough.any(-1).nonzero()[:, 0].tolist():
            clause, atom = self.subject.names[int(enough[i].to(torch.int8).argmax())]
            weights: list[object] = [] if clause < 0 else [[clause, atom, [1, 0]]]
            tried.leaves[int(self.index[i])] = ["leaf", max(-1, atom if clause < 0 else -1), weights, self.tied(i),
                                                self.steps[i]]  # fmt: skip
        self.keep((~enough.any(-1)).nonzero()[:, 0])

    def narrow(self, tried: Tried) -> bool:
        """Sides of the boxes that rows cut off: −x >= −x + μ·row, as a step. False where next to nothing is cut off."""
        lo, hi = self.known.lo.clone(), self.known.hi.clone()
        slope, constant = self.parts.slope, self.parts.constant
        slack = self.parts.slack
        taken: list[list[object]] = [[] for _ in range(self.size)]
        empty = torch.zeros(self.size, dtype=torch.bool)
        for k in range(lo.shape[1]):
            for side in (0, 1):
                # Lower bounds of ±x_k are those of ±x_k + μ·row.
                sign = -1.0 if side else 1.0
                coefficient = slope[:, :, k] * sign
                scale = short(torch.where(coefficient < 0, -1.0 / coefficient, 0.0).nan_to_num(0.0, 0.0, 0.0))
                row = slope * scale[:, :, None]
                row[:, :, k] += sign
                positive = row.clamp(min=0.0)
                least = (positive * lo[:, None] + (row - positive) * hi[:, None]).sum(-1) + scale * constant
                least = torch.where(scale > 0, least - 2.0 * scale * slack, -torch.inf)
                best, which = least.max(-1)
                end = lo[:, k] if side == 0 else -hi[:, k]
                width = hi[:, k] - lo[:, k]
                worth = (best > end + WORTH * width) & (width > 0) & torch.isfinite(best) & ~empty
                for i in worth.nonzero()[:, 0].tolist():
                    j = int(which[i])
                    taken[i].append([-1, k, side, [[*self.subject.names[j], dyadic(float(scale[i, j]))]]])
                if side == 0:
                    lo[:, k] = torch.where(worth, torch.minimum(best, hi[:, k]), lo[:, k])
                else:
                    hi[:, k] = torch.where(worth, torch.maximum(-best, lo[:, k]), hi[:, k])
                crossed = worth & (best > (hi[:, k] if side == 0 else -lo[:, k]) + 1e-9 * (width + end.abs()))
                for i in crossed.nonzero()[:, 0].tolist():
                    steps = [*self._begun(i), *taken[i]]
                    tried.leaves[int(self.index[i])] = ["leaf", -1, [], self.tied(i), steps]
                empty |= crossed
        moved = torch.tensor([bool(t) for t in taken])
        if self.ties is None:
            self.ties = [_ties(self.mirror, self.known, i) for i in range(self.size)]
        self.steps = [[*self._begun(i), *more, ["again"]] if more else self.steps[i] for i, more in enumerate(taken)]
        before = self.known
        self.known = self.mirror.known(lo, hi, before.signs, deep=True, before=before)
        self.keep((~empty).nonzero()[:, 0])
        return bool(moved.any())

    def _begun(self, at: int) -> list[object]:
        """The steps of a leaf, to which others are added. All layers have to be bounded over the whole branch first, as
        they are here: bounds over a part of it have other lines, and need not be better ones."""
        return self.steps[at] or [[self.mirror.last, 0, 0, []]]


def _ties(mirror: Mirror, known: Known, at: int) -> list[object]:
    """Slopes of neurons whose default hangs on rounding."""
    found: list[object] = []
    for k in mirror.relus:
        slopes = mirror.ties(known, k)[at]
        for i in (~slopes.isnan()).nonzero()[:, 0].tolist():
            found.append([k, i, round(SLOPES * float(slopes[i]))])
    return found


# ── ascent ─────────────────────────────────────────────────────────────────────────────────────
class _Ascent:
    """Weights of rows, slopes below neurons and multiples of held ones, for each branch (mutable)."""

    def __init__(self, now: _Now) -> None:
        self.now, self.known = now, now.known
        known, parts = now.known, now.parts
        count, total = parts.bound.shape
        self.few = known.lo.shape[1] < MANY
        self.scale = DOUBT / parts.slack  # of a row: about 1 over its size
        best = (parts.bound * self.scale).argmax(-1)
        weights = torch.zeros(count, total, dtype=torch.float64).scatter_(1, best[:, None], 1.0)
        if total > 1:
            weights = _suggested(parts, known, self.scale) if self.few else 0.8 * weights + 0.2 / total
        start = now.mirror.lower(known, now.subject.rows, weights=weights * self.scale).coefficients
        self.typical = {  # size of a multiple, [branch]
            k: start[k].abs().amax(-1)[:, 0].clamp(min=1e-12).expand(count) for k in known.signs if k in start
        }
        self.shares = weights.clone().requires_grad_()
        self.slopes = {k: known.lower[k].clone().requires_grad_() for k in now.mirror.relus}
        self.held = {k: torch.zeros_like(known.lower[k]).requires_grad_() for k in self.typical}

    def weights(self) -> Tensor:
        return self.shares / self.shares.sum(-1, keepdim=True) * self.scale

    def lines(self) -> dict[int, Tensor]:
        return {k: torch.where(self.known.unstable(k), s, self.known.lower[k]) for k, s in self.slopes.items()}

    def multiples(self) -> dict[int, Tensor]:
        """Signed, of those neurons that are held."""
        return {k: h * self.typical[k][:, None] * self.known.signs[k] for k, h in self.held.items()}

    def run(self, steps: int) -> None:
        """The best of each branch is kept."""
        now, parameters = self.now, [self.shares, *self.slopes.values(), *self.held.values()]
        kept = [p.detach().clone() for p in parameters]
        best = torch.full((now.size,), -torch.inf, dtype=torch.float64)
        optimiser = _Adam(parameters)
        for step in range(steps):
            with torch.enable_grad():
                found = now.mirror.lower(self.known, now.subject.rows, self.lines(), self.multiples(), self.weights())
                bound = (found.bound - 4.0 * found.slack)[:, 0]
            with torch.no_grad():
                better = bound > best
                best = torch.where(better, bound, best)
                for old, new in zip(kept, parameters, strict=True):
                    old[better] = new.detach()[better]
            if step == steps - 1 or bool((best > 0).all()):
                break
            optimiser.step(bound, RATE * DECAY**step)
            self._clamp()
        with torch.no_grad():
            for old, new in zip(kept, parameters, strict=True):
                new.copy_(old)

    def _clamp(self) -> None:
        with torch.no_grad():
            self.shares.clamp_(min=0.0)
            self.shares[self.shares.sum(-1) <= 0] = 1.0
            for slope in self.slopes.values():
                slope.clamp_(0.0, 1.0)
            for multiple in self.held.values():
                multiple.clamp_(min=0.0)


def _suggested(parts: Bounded, known: Known, scale: Tensor) -> Tensor:
    """Weights of the (scaled) rows with which they exclude most of the box, one row after the other (`facts`)."""
    slope, constant = parts.slope * scale[:, :, None], parts.constant * scale
    boxes = Boxes(known.lo, known.hi)
    count, total = constant.shape
    anchor = (parts.bound * scale).argmax(-1)
    weights = torch.zeros(count, total, dtype=torch.float64).scatter_(1, anchor[:, None], 1.0)
    summed = slope.gather(1, anchor[:, None, None].expand(-1, 1, slope.shape[2]))[:, 0]
    for _ in range(2):
        for j in range(total):
            free = anchor != j
            base = summed - weights[:, j : j + 1] * slope[:, j]
            best = best_multiplier(base, -slope[:, j], -constant[:, j], boxes)
            weights[:, j] = torch.where(free, best, weights[:, j])
            summed = torch.where(free[:, None], base + best[:, None] * slope[:, j], summed)
    return weights / weights.sum(-1, keepdim=True)


class _Adam:
    """Kingma and Ba, 2015 (mutable). torch's own takes seconds to import."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters, self.steps = parameters, 0
        self.mean = [torch.zeros_like(p) for p in parameters]
        self.square = [torch.zeros_like(p) for p in parameters]

    def step(self, bound: Tensor, rate: float) -> None:
        with torch.enable_grad():
            loss = -bound.clamp(max=1e-3).sum()
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        self.steps += 1
        with torch.no_grad():
            for p, g, mean, square in zip(self.parameters, gradients, self.mean, self.square, strict=True):
                if g is None:
                    continue
                mean.mul_(0.9).add_(0.1 * g)
                square.mul_(0.999).add_(0.001 * g * g)
                p -= rate * (mean / (1 - 0.9**self.steps)) / ((square / (1 - 0.999**self.steps)).sqrt() + 1e-12)


@dataclass(frozen=True, slots=True, eq=False)
class _Sum:
    """Of each branch a sum of rows, in short numbers; `anchor` is the row of weight 1."""

    anchor: Tensor
    weights: Tensor
    slopes: dict[int, Tensor]
    taken: dict[int, Tensor]
    found: Bounded

    @staticmethod
    def of(now: _Now, ascent: _Ascent, bits: int, grid: int) -> _Sum:
        known, weights = now.known, ascent.weights()
        anchor = (weights / ascent.scale).argmax(-1)
        norm = 1.0 / weights.gather(1, anchor[:, None])
        weights = short(weights * norm, bits)
        slopes = {
            k: torch.where(known.unstable(k) & known.surely(k), (s * grid).round() / grid, known.lower[k])
            for k, s in ascent.lines().items()
        }
        taken = {k: short((m * norm).abs(), bits) * m.sign() for k, m in ascent.multiples().items()}
        return _Sum(anchor, weights, slopes, taken, now.mirror.lower(known, now.subject.rows, slopes, taken, weights))


def _plainly(now: _Now, tried: Tried, ascent: _Ascent, rounding: tuple[int, int]) -> None:
    """Equality holds at numbers that are plain, if at any that can be guessed: 1, 2, 3/4."""
    sums = _Sum.of(now, ascent, *rounding)
    for i in (sums.found.bound >= -sums.found.slack)[:, 0].nonzero()[:, 0].tolist():
        tried.close.setdefault(int(now.index[i]), []).append(_leaf(now, i, sums))


def _write(now: _Now, tried: Tried, ascent: _Ascent) -> None:
    """The rounded sum, bounded once more: what is positive is a leaf, of the rest it is said what is loose."""
    mirror, subject, known, index = now.mirror, now.subject, now.known, now.index
    sums = _Sum.of(now, ascent, BITS, SLOPES)
    found = sums.found
    enough = (found.bound > found.slack)[:, 0]
    for i in enough.nonzero()[:, 0].tolist():
        tried.leaves[int(index[i])] = _leaf(now, i, sums)
    left = (~enough).nonzero()[:, 0]
    if not left.numel():
        return
    costs = []
    for k in mirror.relus:
        c = found.coefficients.get(k)
        width = known.gap[k].shape[1]
        if c is None:
            costs.append(torch.zeros(left.numel(), width, dtype=torch.float64))
            continue
        c = c.expand(len(enough), 1, width)[left, 0]
        costs.append((c.clamp(max=0.0).abs() + 0.4 * c.clamp(min=0.0)) * known.intercept[k][left])
    cost = torch.cat(costs, -1) if costs else torch.zeros(left.numel(), 1, dtype=torch.float64)
    names = [(k, i) for k in mirror.relus for i in range(known.gap[k].shape[1])]
    top, at = cost.max(-1)
    for n, i in enumerate(left.tolist()):
        tried.costly[int(index[i])] = names[int(at[n])] if top[n] > 0 else None
    slope = found.slope[left, 0]
    points = torch.where(slope > 0, known.lo[left], known.hi[left])
    tried.exact |= bool((mirror.values(points, subject.rows) <= now.parts.slack[left]).all(-1).any())
    where = index[left]
    tried.unstable[where] = sum(
        (known.unstable(k)[left].sum(-1) for k in mirror.relus), torch.zeros(left.numel(), dtype=torch.int64)
    )
    tried.slope[where] = slope


def _leaf(now: _Now, at: int, sums: _Sum) -> Leaf:
    mirror, subject, known = now.mirror, now.subject, now.known
    anchor, weights, slopes, taken, found = int(sums.anchor[at]), sums.weights, sums.slopes, sums.taken, sums.found
    clause, atom = subject.names[anchor]
    goal_atom = atom if clause < 0 else -1
    used: list[object] = []
    for row in (weights[at] > 0).nonzero()[:, 0].tolist():
        if row != anchor or clause >= 0:
            used.append([*subject.names[row], dyadic(float(weights[at, row]))])
    for k, multiple in taken.items():
        for i in (multiple[at] != 0).nonzero()[:, 0].tolist():
            value = float(multiple[at, i])
            used.append([k, i, 0 if value > 0 else 1, dyadic(abs(value))])
    steps, lines = list(now.steps[at]), list[object]()
    for k in mirror.relus:
        c = found.coefficients.get(k)
        if c is None:
            continue
        matters = known.unstable(k)[at] & (c.expand(len(weights), 1, -1)[at, 0] > 0)
        for i in (matters & (slopes[k][at] != known.lower[k][at])).nonzero()[:, 0].tolist():
            lines.append([k, i, round(SLOPES * float(slopes[k][at, i]))])
    if lines and not steps:
        # These lines are for the sum alone. The kernel bounds a layer when something reads it first: so something has
        # to, before they are chosen.
        steps.append([mirror.last, 0, 0, []])
    return ["leaf", goal_atom, used, now.tied(at), [*steps, *lines]]


def short(values: Tensor, bits: int = BITS) -> Tensor:
    """Rounded to so many significant bits; what is next to nothing becomes 0."""
    mantissa, exponent = torch.frexp(values)
    rounded = torch.ldexp((mantissa * 2**bits).round(), exponent - bits)
    return torch.where(values > 1e-9, rounded, torch.zeros_like(values))


def dyadic(value: float) -> list[int]:
    number, bottom = value.as_integer_ratio()
    down = bottom.bit_length() - 1
    up = (number & -number).bit_length() - 1
    return [number >> up, up - down]


def negative(affine: Affine) -> Affine:
    return Affine(
        -affine.constant,
        tuple((j, -value) for j, value in affine.variables),
        tuple((j, -value) for j, value in affine.calls),
    )
