"""Better lower slopes for boxes that are nearly settled: a few steps of gradient ascent, as a hint.

Any slope in [0, 1] below an unstable relu gives a valid bound (Xu et al., Fast and Complete, ICLR 2021). What is
improved is the bound of one functional for each box, with the bounds of neurons as they are; the slopes are then
rounded to multiples of 2^-8, which a proof can hold, and the box is bounded anew with them, neurons and all. So what
happens here proves nothing and need not be exact. Only where the bound that ascent reaches is positive is that done.

It pays where little is missing: `near` compares what is missing with how much the bound moves over the box.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rewarden.verifier.backsub import Engine, FinalBounds, Functionals, Sweep
from rewarden.verifier.box_minimum import AffineRows, Boxes, box_minimum

TRIED, STEPS = 1, 6  # steps for all, and more for those of which these let one hope
HOPE = 3.0  # what is missing yet, as multiple of what the first steps brought
RATE, DECAY = 0.3, 0.85
NEAR = 0.2
FEW, PART = 32, 8  # boxes of a batch that are tried, at most: a few, or a part
SURE = 1e-6  # of a neuron's width
NOTCHES = 256.0  # slopes of leaves are integers over this


@dataclass(frozen=True, slots=True, eq=False)
class Climb:
    """What is to be improved: functional `row[i]` on box `index[i]` of the batch, less facts that are already
    subtracted from `rows`. All [i]."""

    index: Tensor
    row: Tensor
    rows: AffineRows


def near(bound: Tensor, slope: Tensor, boxes: Boxes) -> Tensor:
    """Boxes that miss little: at most a share of how much their lower bound moves over the box. The nearest, in order:
    a part of a batch alone, since where no slopes help this should not cost much."""
    share = -bound / (slope.abs() * (boxes.hi - boxes.lo)).sum(-1).clamp(min=2.0**-1000)
    order = share.argsort(stable=True)[: max(FEW, bound.numel() // PART)]
    return order[share[order] <= NEAR]


def improved_slopes(engine: Engine, final: FinalBounds, functionals: Functionals, climb: Climb) -> dict[int, Tensor]:
    """By relu layer, [i, neuron]: multiples of 1/256, NaN where a neuron is stable; and where ascent does not get the
    box's bound above 0, NaN throughout."""
    found: dict[int, Tensor] = {}
    first = _Ascent.of(engine, final, functionals, climb)
    if not first.slopes:
        return found
    bounds = first.run(TRIED)
    done, gained = bounds[-1] > 0, bounds[-1] - bounds[0]
    hopeful = (done | (-bounds[-1] <= HOPE * gained)).nonzero()[:, 0]
    if not hopeful.numel():
        return found
    second = first.take(hopeful)
    reached = second.run(STEPS)[-1] > 0
    for k, slopes in second.best.items():
        found[k] = torch.full_like(first.slopes[k], torch.nan)
        kept = torch.where(second.unstable[k] & reached[:, None], slopes, torch.nan)
        found[k][hopeful] = torch.round(NOTCHES * kept) / NOTCHES
    return found


@dataclass(slots=True, eq=False)
class _Ascent:
    """Boxes at work (mutable): part of a sweep, a functional for each box and what facts take off it, slopes by layer.

    `best`: those of the highest bound so far.
    """

    engine: Engine
    part: Sweep
    functionals: Functionals
    row: Tensor
    less: tuple[Tensor, Tensor]
    unstable: dict[int, Tensor]
    slopes: dict[int, Tensor]
    best: dict[int, Tensor]

    @staticmethod
    def of(engine: Engine, final: FinalBounds, functionals: Functionals, climb: Climb) -> _Ascent:
        part = _part(final.sweep, climb.index)
        plain = final.rows.take(climb.index * functionals.count + climb.row)
        less = (climb.rows.slope - plain.slope, climb.rows.constant - plain.constant)
        unstable = {
            k: _open(final.sweep, k, climb.index)
            for k in part.gap
            if k not in part.twins and engine.layers[k].kind == "relu"
        }
        unstable = {k: here for k, here in unstable.items() if bool(here.any())}
        slopes = {k: part.steps[k][:, : engine.layers[k].width].clone() for k in unstable}
        return _Ascent(engine, part, functionals, climb.row, less, unstable, slopes, dict(slopes))

    def take(self, index: Tensor) -> _Ascent:
        best = {k: v[index].clone() for k, v in self.best.items()}
        unstable = {k: v[index] for k, v in self.unstable.items()}
        less = (self.less[0][index], self.less[1][index])
        part = _part(self.part, index)
        return _Ascent(self.engine, part, self.functionals, self.row[index], less, unstable, best, dict(best))

    def run(self, steps: int) -> list[Tensor]:
        """The bound at the start, and the highest after each step."""
        highest: list[Tensor] = []
        free = [self.slopes[k].requires_grad_() for k in self.slopes]
        optimiser = torch.optim.Adam(free, lr=RATE)
        for step in range(steps + 1):
            with torch.enable_grad():
                bound = self._bound()
                loss = -bound.clamp(min=-1e6).sum()
            now = bound.detach()
            better = now > highest[-1] if highest else torch.ones_like(now, dtype=torch.bool)
            highest.append(torch.where(better, now, highest[-1]) if highest else now)
            for k, slopes in self.slopes.items():
                self.best[k] = torch.where(better[:, None], slopes.detach(), self.best[k].detach())
            if step == steps or bool((highest[-1] > 0).all()) or not bound.requires_grad:
                break
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.param_groups[0]["lr"] = RATE * DECAY**step
            optimiser.step()
            for slopes in free:
                slopes.nan_to_num_(0.0).clamp_(0.0, 1.0)
        return highest

    def _bound(self) -> Tensor:
        steps = dict(self.part.steps)
        for k, slopes in self.slopes.items():
            old = steps[k]
            width = slopes.shape[1]
            lower = torch.where(self.unstable[k], slopes, old[:, :width])
            steps[k] = torch.cat((lower, old[:, width:]), -1)
        rows = self.engine.back_substituted(replace(self.part, steps=steps), self.functionals, self.row)
        slope, constant = rows.slope + self.less[0], rows.constant + self.less[1]
        return box_minimum(AffineRows(slope, constant, rows.error, rows.loss), self.part.boxes)


def _open(sweep: Sweep, k: int, index: Tensor) -> Tensor:
    """Neurons with a choice of slope, surely: of one that is stable but for rounding a checker may find that it is, and
    then it takes no slope but the default one."""
    lo, hi = sweep.lo[k][index], sweep.hi[k][index]
    return torch.minimum(hi, -lo) > SURE * sweep.gap[k][index]


def _part(sweep: Sweep, index: Tensor) -> Sweep:
    """What back-substitution of functionals reads of a sweep, for some of its boxes."""

    def taken(values: dict[int, Tensor]) -> dict[int, Tensor]:
        return {k: v.index_select(0, index) for k, v in values.items()}

    return Sweep(
        sweep.boxes.take(index), size=taken(sweep.size), steps=taken(sweep.steps), gap=taken(sweep.gap),
        mass=sweep.mass.index_select(0, index), twins=sweep.twins, rounded=taken(sweep.rounded),
    )  # fmt: skip
