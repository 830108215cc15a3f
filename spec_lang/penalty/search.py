"""Where a rule is broken most: gradient ascent over points, kept inside the domain and exactly inside the premise.

The objective is how far the conclusion is from true, also where it holds, so that points which satisfy it climb
towards those that do not. After every step a point is put back into its box, and if it left the premise it is nudged,
or drawn towards its data row; if that does not help it goes back towards where it came from, until it holds. Discrete
variables stay. No point is lost: at worst one stays where it was.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rewarden.spec_lang.obligation import Atom
from rewarden.spec_lang.penalty.program import PenaltyProgram, Prepared, prepare
from rewarden.spec_lang.penalty.violation import Mode, false_alternatives, margins, reading_of
from rewarden.spec_lang.sampling.points import Drawn, Sampler
from rewarden.spec_lang.sampling.row_truth import Rows

_FIRST, _LAST = 0.15, 0.01  # steps, as a share of the box
_BACK = 3  # halvings of a step that leaves the premise, before it is taken back
_OUT = 1e300


def climb(
    sampler: Sampler,
    program: PenaltyProgram,
    start: Drawn,
    keep: int,
    steps: int,
    mode: Mode,
    generator: np.random.Generator,
) -> Drawn:
    """The `keep` worst of `start`, each moved to the worst point that it met in `steps` of ascent."""
    score, slope = _slope(program, start.rows, mode)
    order = np.argsort(-score, kind="stable")[:keep]
    here, best_score, slope = start[order], score[order], slope[order]
    best = here.rows.copy()
    width = (here.hi - here.lo) * (sampler.movable & ~sampler.box.discrete)
    by_sign = (np.arange(len(here)) % 2 == 0)[:, None]
    for size in np.geomspace(_FIRST, _LAST, steps):
        scaled = slope * width
        unit = scaled / np.maximum(np.abs(scaled).max(axis=1, keepdims=True), 1e-300)
        before = here.rows.copy()
        here.rows[:] += np.where(by_sign, np.sign(scaled), unit) * width * size
        sampler.settle(here.rows, here.lo, here.hi)
        holds = sampler.holds(here.rows)
        if not holds.all():
            if sampler.obligation.instances is not None:
                holds |= sampler.pull(here, ~holds, here.centre, generator)
            else:
                holds |= sampler.mend(here, ~holds, generator)
            holds |= sampler.pull(here, ~holds, before, generator, _BACK)
            here.rows[~holds] = before[~holds]
        score, slope = _slope(program, here.rows, mode)
        better = score > best_score
        best[better], best_score = here.rows[better], np.maximum(score, best_score)
    return Drawn(best, here.lo, here.hi, here.centre)


def _slope(program: PenaltyProgram, rows: Rows, mode: Mode) -> tuple[Rows, Rows]:
    """How false the conclusion is at points, [n], and its gradient with respect to them, [n, variables]."""
    device = program.member.device
    with torch.inference_mode(False), torch.enable_grad():
        points = torch.from_numpy(rows).to(device).requires_grad_()
        prepared = prepare(program, points)
        outputs = [mode.ask(c.reward, x) for c, x in zip(program.calls, prepared.arguments, strict=True)]
        stacked = torch.stack(outputs) if outputs else points.new_zeros((0, len(points)))
        score = falseness(prepared, stacked, mode)
        slope = torch.zeros_like(points)
        if score.requires_grad:
            (slope,) = torch.autograd.grad(score.sum(), points, allow_unused=True, materialize_grads=True)
    return score.detach().cpu().numpy(), torch.nan_to_num(slope.detach()).cpu().numpy()


def falseness(prepared: Prepared, outputs: Tensor, mode: Mode) -> Tensor:
    """[n], > 0 where the conclusion is false and about <= 0 where it is true: the margin of the least broken
    alternative's most broken part, negated."""
    program = prepared.program
    scores = -margins(prepared, outputs, mode)
    if program.others:
        reading = reading_of(prepared, outputs, Mode(mode.ask, mode.statistics))
        more = [-reading.term(f.term) if isinstance(f, Atom) else reading.violation(f) for f in program.others]
        scores = torch.cat([scores, torch.stack(more)])
    worst = [
        scores[row > 0].max(0).values if bool(row.any()) else scores.new_full((len(prepared.points),), -_OUT)
        for row in program.member
    ]
    if not worst:
        return prepared.points.new_ones(len(prepared.points))
    found = torch.stack(worst)
    dead = false_alternatives(prepared, mode)
    if dead is not None:
        found = found.masked_fill(dead, _OUT)
    return found.min(0).values
