"""How far a compiled conclusion is from true at its points, from the outputs of the rewards there.

A point's violation is that of its least broken alternative; an alternative adds up its hinges (penalty_reading.py).

Why the gradient does not vanish at a violated point. An alternative whose features are false there cannot be mended
by any reward, and is left out. The hinges of an alternative that are > 0 belong to atoms t₁ … tₖ that are not met; if
the gradient of their sum with respect to the outputs is 0, then Σtᵢ is a constant, and atoms of which it is the sum
cannot all be met: Farkas' proof that no outputs satisfy this alternative. It is left out too, unless nothing else is
left. With a temperature the tᵢ have positive weights, and the same holds. Atoms that are not affine in the outputs
(`others`) take part with the gradient that they have: 0·R(s) >= 1 has none. What remains are such atoms where there is
one alternative alone, and rules that no reward can satisfy.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rewarden.spec_lang.obligation import Call
from rewarden.spec_lang.penalty.program import Prepared
from rewarden.spec_lang.penalty.reading import STRICT_MARGIN, Ask, Reading, StatisticValues, constant_of, soft_sum

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
    program = prepared.program
    if not program.needs:
        return prepared.points.new_ones(len(prepared.points))  # false: broken, and nothing can be done about it
    hinges = _hinges(prepared, margins(prepared, outputs, mode), mode)
    dead = false_alternatives(prepared, mode)
    if len(program.needs) == 1:
        total = _total(hinges, mode.temperature)
        return total if dead is None else total + dead[0]
    if mode.temperature is None:
        totals = program.member @ hinges
    else:
        totals = torch.stack([_total(hinges[row > 0], mode.temperature) for row in program.member])
    lost = _contradictory(prepared, hinges.detach(), totals.detach(), mode)
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


def _hinges(prepared: Prepared, found: Tensor, mode: Mode) -> Tensor:
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
    if not program.others:
        return hinges
    reading = Reading(prepared.points, mode.ask, mode.statistics, mode.temperature, mode.margin)
    return torch.cat([hinges, torch.stack([reading.violation(f) for f in program.others])])


def _total(hinges: Tensor, temperature: float | None) -> Tensor:
    return hinges.sum(0) if temperature is None or not len(hinges) else soft_sum(hinges, temperature)


def _contradictory(prepared: Prepared, hinges: Tensor, totals: Tensor, mode: Mode) -> Tensor:
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
    for call, found in _slopes(prepared, mode).items() if (members @ broken > 0).any() else ():
        pull, size = (members @ (broken * part) for part in (found, found.abs()))
        if call in program.calls:
            slope[:, program.calls.index(call)] += pull
            scale[:, program.calls.index(call)] += size
        else:
            slope, scale = torch.cat([slope, pull[:, None]], 1), torch.cat([scale, size[:, None]], 1)
    return (slope.abs() <= _FLAT * scale).all(1) & (totals > 0)


def _slopes(prepared: Prepared, mode: Mode) -> dict[Call, Tensor]:
    """By call: how the margins of atoms that are not affine grow with its output, float64 [other, n], where broken."""
    others, points = prepared.program.others, prepared.points.detach()
    slopes: dict[Call, Tensor] = {}

    def ask(reward: str, rows: Tensor) -> Tensor:
        return mode.ask(reward, rows).detach().requires_grad_()

    for row, formula in enumerate(others):
        reading = Reading(points, ask, mode.statistics, mode.temperature, mode.margin)
        with torch.enable_grad():
            total = reading.violation(formula).sum()
        leaves = list(reading.outputs.values()) if total.requires_grad else []
        found = torch.autograd.grad(total, leaves, allow_unused=True) if leaves else ()
        for call, slope in zip(reading.outputs, found, strict=False):
            if slope is not None:
                slopes.setdefault(call, points.new_zeros((len(others), len(points))))[row] -= slope
    return slopes
