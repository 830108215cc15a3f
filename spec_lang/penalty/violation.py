"""How far a compiled conclusion is from true at its points, from the outputs of the rewards there.

A point's violation is that of its least broken alternative; an alternative adds up its hinges (penalty_reading.py).

Why the gradient does not vanish at a violated point. An alternative whose features are false there cannot be mended
by any reward, and is left out. The hinges of an alternative that are > 0 belong to atoms t₁ … tₖ that are not met; if
the gradient of their sum with respect to the outputs is 0, then Σtᵢ is a constant, and atoms of which it is the sum
cannot all be met: Farkas' proof that no outputs satisfy this alternative. It is left out too, unless nothing else is
left. With a temperature the tᵢ have positive weights, and the same holds. Calls on one record have one output, so that
R(a) > R(b) is such an alternative at a = b.

Conclusions that have no such form (`others`: products of rewards, more alternatives than are written out) take part
with the gradient that they have. Where the whole has none, the way to mend it that `mending.py` finds is added, as a
term of value 0: the penalty says how far the conclusion is from true, its gradient which output to move. What remains
without a gradient are rules that no reward can satisfy there, such as two calls on one record that cancel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rewarden.spec_lang.obligation import Call
from rewarden.spec_lang.penalty.mending import Mending
from rewarden.spec_lang.penalty.program import Prepared
from rewarden.spec_lang.penalty.reading import (
    STRICT_MARGIN,
    Ask,
    Reading,
    StatisticValues,
    bounded,
    constant_of,
    soft_sum,
)

_FLAT = 1e-12  # a gradient this small beside its summands is 0: coefficients are rounded to binary64


@dataclass(frozen=True, slots=True)
class Mode:
    """How a conclusion is read; `ask` answers the calls that could not be made beforehand."""

    ask: Ask
    statistics: StatisticValues
    temperature: float | None = None
    margin: float = 0.0


def violation(prepared: Prepared, outputs: Tensor, mode: Mode) -> Tensor:
    """float64 [n]: 0 exactly where the conclusion holds with the margin, by the numbers that the rewards return.

    `outputs` is float64 [call, n], in the order of the program's calls.
    """
    if not prepared.program.needs:
        return prepared.points.new_ones(len(prepared.points))  # false: broken, and nothing can be done about it
    if not prepared.program.others:
        return _least_broken(prepared, outputs, mode, None)
    outputs = bounded(outputs)
    reading = reading_of(prepared, outputs, mode)
    total = _least_broken(prepared, outputs, mode, reading)
    return total if not torch.is_grad_enabled() else _with_a_way(prepared, outputs, reading, total)


def reading_of(prepared: Prepared, outputs: Tensor, mode: Mode) -> Reading:
    """Of what is read from the tree, with the outputs that are there."""
    reading = Reading(prepared.points, mode.ask, mode.statistics, mode.temperature, mode.margin, prepared.known)
    reading.outputs.update(zip(prepared.program.calls, outputs, strict=True))
    return reading


def _with_a_way(prepared: Prepared, outputs: Tensor, reading: Reading, total: Tensor) -> Tensor:
    """The violation with a gradient where it is flat and there is a way to mend it; its value is as it was."""
    calls = [*prepared.program.calls, *(call for call in reading.outputs if call not in prepared.program.calls)]
    inner = [reading.outputs[call] for call in calls[len(outputs) :]]  # called with what a reward says
    moving = [part for part in (outputs, *inner) if part.requires_grad]
    if not moving or not len(total):
        return total
    steep = torch.zeros_like(total, dtype=torch.bool)
    if total.requires_grad:
        for slope in torch.autograd.grad(total.sum(), moving, retain_graph=True, allow_unused=True):
            if slope is not None:
                steep |= (slope.abs() > _FLAT).reshape(-1, len(total)).any(0)
    flat = ((total.detach() > 0) & ~steep).nonzero().reshape(-1)
    if not len(flat):
        return total
    at = Reading(
        prepared.points.detach()[flat], reading.ask, reading.statistics, None, reading.margin, reading.known.at(flat)
    )
    at.outputs.update((call, reading.outputs[call].detach()[flat]) for call in calls)
    way = Mending(at, calls).way(prepared.program.conclusion)
    there = way.there.nonzero().reshape(-1)
    chosen = torch.cat([outputs, *(part[None] for part in inner)])[way.output[there], flat[there]]
    return total.index_add(0, flat[there], way.sign[there] * (chosen.detach() - chosen))


def _least_broken(prepared: Prepared, outputs: Tensor, mode: Mode, reading: Reading | None) -> Tensor:
    program = prepared.program
    hinges = _hinges(prepared, margins(prepared, outputs, mode), mode, reading)
    dead = false_alternatives(prepared, mode)
    if len(program.needs) == 1:
        total = _total(hinges, mode.temperature)
        return total if dead is None else total + dead[0]
    if mode.temperature is None:
        totals = program.member @ hinges
    else:
        totals = torch.stack([_total(hinges[row > 0], mode.temperature) for row in program.member])
    lost = _contradictory(prepared, outputs.detach(), hinges.detach(), totals.detach(), mode)
    if dead is None:
        return totals.masked_fill(lost & ~lost.all(0), torch.inf).min(0).values
    hopeless = dead.all(0)
    lost = lost | dead
    lost = torch.where(lost.all(0), dead & ~hopeless, lost)
    return totals.masked_fill(lost, torch.inf).min(0).values + hopeless


def margins(prepared: Prepared, outputs: Tensor, mode: Mode) -> Tensor:
    """Of the affine atoms [atom, n]."""
    affine, rests = prepared.program.affine, prepared.rests
    if prepared.program.constants:
        values = [constant_of(s, mode.statistics) for s in prepared.program.constants]
        rests = rests + (affine.constants @ rests.new_tensor(values))[:, None]
    return torch.addmm(rests, affine.outputs, outputs) if len(outputs) else rests


def false_alternatives(prepared: Prepared, mode: Mode) -> Tensor | None:
    """bool [alternative, n]: where the features alone make it false; None where no feature takes part."""
    program = prepared.program
    if not program.features:
        return None
    reading = Reading(prepared.points, mode.ask, mode.statistics)
    truths = [
        reading.truth(formula) if known is None else known
        for formula, known in zip(program.features, prepared.features, strict=True)
    ]
    dead = torch.zeros(len(program.needs), len(prepared.points), dtype=torch.bool, device=prepared.points.device)
    for row, wanted in zip(dead, program.needs, strict=True):
        for k in wanted:
            row |= ~truths[k]
    return dead


def _hinges(prepared: Prepared, found: Tensor, mode: Mode, reading: Reading | None) -> Tensor:
    """[affine and others, n]"""
    program, affine = prepared.program, prepared.program.affine
    if mode.margin:
        hinges = torch.relu(torch.where(affine.exempt, 0.0, mode.margin).to(found)[:, None] - found)
    elif affine.any_strict:
        holds = torch.where(affine.strict[:, None], found > 0, found >= 0)
        slack = torch.where(affine.strict, STRICT_MARGIN, 0.0).to(found)
        hinges = torch.where(holds, torch.zeros_like(found), slack[:, None] - found)
    else:
        hinges = torch.relu(-found)
    if reading is None:
        return hinges
    return torch.cat([hinges, torch.stack([reading.violation(f) for f in program.others])])


def _total(hinges: Tensor, temperature: float | None) -> Tensor:
    return hinges.sum(0) if temperature is None or not len(hinges) else soft_sum(hinges, temperature)


def _contradictory(prepared: Prepared, outputs: Tensor, hinges: Tensor, totals: Tensor, mode: Mode) -> Tensor:
    """bool [alternative, n]: where a broken alternative has gradient 0, so that no outputs satisfy it (see above)."""
    program = prepared.program
    count, calls = len(program.affine.rests), len(program.calls)
    weights = (hinges > 0).to(hinges)
    if mode.temperature is not None and len(hinges):
        weights = weights * torch.exp(((hinges - hinges.amax(0)) / mode.temperature).clamp(min=-80.0))
    shape = (len(program.needs), calls, hinges.shape[1])
    pulls = program.member[:, :count, None] * program.affine.outputs  # [alternative, atom, call]
    pulls = pulls.transpose(1, 2).reshape(shape[0] * calls, count)
    slope, scale = (pulls @ weights[:count]).view(shape), (pulls.abs() @ weights[:count]).view(shape)
    members, broken = program.member[:, count:], weights[count:]
    for call, found in _slopes(prepared, outputs, mode).items() if (members @ broken > 0).any() else ():
        pull, size = (members @ (broken * part) for part in (found, found.abs()))
        if call in program.calls:
            slope[:, program.calls.index(call)] += pull
            scale[:, program.calls.index(call)] += size
        else:
            slope, scale = torch.cat([slope, pull[:, None]], 1), torch.cat([scale, size[:, None]], 1)
    if prepared.alike is not None:
        slope, scale = _by_record(slope, prepared.alike), _by_record(scale, prepared.alike)
    return (slope.abs() <= _FLAT * scale).all(1) & (totals > 0)


def _by_record(pulls: Tensor, alike: Tensor) -> Tensor:
    """[alternative, call, n] with the pulls at one record added up: those calls have one output."""
    found = pulls.clone()
    own = found[:, : len(alike)].zero_()
    own.scatter_add_(1, alike.expand_as(own), pulls[:, : len(alike)])
    return found


def _slopes(prepared: Prepared, outputs: Tensor, mode: Mode) -> dict[Call, Tensor]:
    """By call: how the margins of atoms that are not affine grow with its output, float64 [other, n], where broken."""
    others, points = prepared.program.others, prepared.points.detach()
    slopes: dict[Call, Tensor] = {}

    def ask(reward: str, rows: Tensor) -> Tensor:
        return mode.ask(reward, rows).detach().requires_grad_()

    for row, formula in enumerate(others):
        reading = Reading(points, ask, mode.statistics, mode.temperature, mode.margin, prepared.known)
        with torch.enable_grad():
            reading.outputs.update(
                (call, output.clone().requires_grad_())
                for call, output in zip(prepared.program.calls, outputs, strict=True)
            )
            total = reading.violation(formula).sum()
        leaves = list(reading.outputs.values()) if total.requires_grad else []
        found = torch.autograd.grad(total, leaves, allow_unused=True) if leaves else ()
        for call, slope in zip(reading.outputs, found, strict=False):
            if slope is not None:
                slopes.setdefault(call, points.new_zeros((len(others), len(points))))[row] -= slope
    return slopes
