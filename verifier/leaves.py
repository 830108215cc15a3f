"""Which boxes of a batch are settled, and with what: the leaves of proofs.

A float bound is rigorous, so a positive one is a proof. It also has to convince a checker that recomputes the leaf in
exact arithmetic with its own l and u, whose lines differ by rounding: so it must exceed its slack, which is 0 where no
unstable neuron is involved; and a neuron whose default lower slope hangs on that rounding (u = −l) gets it written
down. Where floats miss 0 only by rounding, the exact reference decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

import torch
from torch import Tensor

from rewarden.verifier.ascent import Climb, improved_slopes, near
from rewarden.verifier.backsub import Engine, FinalBounds, Sweep
from rewarden.verifier.box_minimum import AffineRows, Boxes
from rewarden.verifier.context import Context
from rewarden.verifier.exact_bounds import Leaf, Multipliers, combination, leaf_holds
from rewarden.verifier.facts import FactId, Facts, strengthen
from rewarden.verifier.frontier import Batch
from rewarden.verifier.proof_tree import ProofTree
from rewarden.verifier.rounding import gamma
from rewarden.verifier.sensitivity import steepness

_Entry = TypeVar("_Entry", tuple[int, int, int], tuple[int, int, int, Multipliers])
TIE = 1e-6  # u and −l closer than this share of u − l: the default slope is recorded
DOUBT = 2.0**-44  # relative: what rounding may have moved the last sum by, generously; besides γ_n
NOISE = 2.0**-50  # narrower neurons are all rounding; their slopes are not worth a word


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """Per box: whether it is settled. Per box that is not, `index` [open]: a lower bound of the goal, the slope of the
    best atom's, and how steep that atom may be, both [open, variable].

    The goal is the largest of its atoms. What bounds it from below in a box does so in every part of the box, and a
    part, whose relaxations are others, may be bounded worse by itself: then the box's bound is kept. No leaf rests on
    that, since a bound that closes a box leaves no parts of it to close; so no proof speaks of it.
    """

    settled: Tensor
    index: Tensor
    bound: Tensor
    slope: Tensor
    steepness: Tensor
    exact_budget: int


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """Bounds [box, functional] of one way to look at a batch, with the multipliers [box, functional, fact] if any."""

    index: Tensor  # the boxes of the batch
    bound: Tensor
    slack: Tensor
    doubt: Tensor  # more than what rounding took off the bound
    rows: AffineRows
    weak: Tensor
    multipliers: Tensor | None


def settle(engine: Engine, goal: int, batch: Batch, tree: ProofTree, exact_budget: int) -> Settled:
    """Bounds a batch and closes the nodes of the boxes that the bounds settle."""
    context = batch.context
    final = engine.bound(batch.boxes, context.functionals, context.useful)
    trial = _plain(context, final, batch.size)
    settled = torch.zeros(batch.size, dtype=torch.bool)
    settled |= _close(batch, tree, trial, final.sweep)
    rest = (~settled).nonzero()[:, 0]
    if rest.numel() and context.useful.count:
        trial = _with_facts(batch, trial, rest)
        settled |= _close(batch, tree, trial, final.sweep)
    settled |= _with_slopes(engine, batch, tree, final, trial, settled)
    for row, k in (_missed_by_rounding(trial) & ~settled[trial.index][:, None]).nonzero().tolist():
        box = int(trial.index[row])
        leaf = _leaf(context, trial, final.sweep, (row, k))
        plain = not combination(engine.program.claim, goal, leaf.goal_atom, leaf.multipliers).calls
        if settled[box] or not (plain or exact_budget > 0):
            continue
        exact_budget -= not plain
        node = int(batch.node[box])
        facts = frozenset((*context.facts.ids, *((c, a) for c, a, _ in leaf.multipliers)))
        cell = tree.place(node).box
        if cell is None or leaf_holds(engine.program, goal, cell, leaf, facts):
            tree.close_with(node, leaf)
            settled[box] = True
    bound, slope, best = _best(context, trial)
    left = (~settled[trial.index]).nonzero()[:, 0]
    index = trial.index[left]
    steep = steepness(engine, final.sweep, context.functionals, best[left], index)
    return Settled(settled, index, torch.maximum(bound[left], batch.bound[index]), slope[left], steep, exact_budget)


def _with_slopes(
    engine: Engine, batch: Batch, tree: ProofTree, final: FinalBounds, trial: _Trial, settled: Tensor
) -> Tensor:
    """Boxes [box of the batch] that better slopes settle, of those that miss little."""
    context, done = batch.context, torch.zeros(batch.size, dtype=torch.bool)
    bound, slope, best = _best(context, trial)
    open_ = (~settled[trial.index]).nonzero()[:, 0]
    at = open_[near(bound[open_], slope[open_], batch.boxes.take(trial.index[open_]))]
    if not at.numel():
        return done
    count = context.functionals.count
    climb = Climb(trial.index[at], best[at], trial.rows.take(at * count + best[at]))
    slopes = improved_slopes(engine, final, context.functionals, climb)
    if not slopes:
        return done
    reached = torch.stack([(~torch.isnan(values)).any(-1) for values in slopes.values()]).any(0).nonzero()[:, 0]
    if not reached.numel():
        return done
    index = climb.index[reached]
    chosen = {k: values[reached] for k, values in slopes.items()}
    part = batch.take(index)
    again = engine.bound(part.boxes, context.functionals, context.useful, chosen)
    trial = _plain(context, again, part.size)
    closed = _close(part, tree, trial, again.sweep, chosen)
    rest = (~closed).nonzero()[:, 0]
    if rest.numel() and context.useful.count:
        closed |= _close(part, tree, _with_facts(part, trial, rest), again.sweep, chosen)
    done[index[closed]] = True
    return done


def _plain(context: Context, final: FinalBounds, size: int) -> _Trial:
    shape = (size, context.functionals.count)
    box = torch.arange(size).repeat_interleave(context.functionals.count)
    return _Trial(
        torch.arange(size),
        final.bound.view(shape),
        final.slack.view(shape),
        _doubt(final.rows, final.sweep.boxes.take(box)).view(shape),
        final.rows,
        context.weak.expand(shape),
        None,
    )


def _doubt(rows: AffineRows, boxes: Boxes) -> Tensor:
    size = (rows.slope.abs() * boxes.magnitude).sum(-1) + rows.constant.abs()
    share = DOUBT + 2.0 * gamma(rows.slope.shape[-1])
    return 4.0 * (rows.error + rows.loss) + share * size + 2.0**-900


def _with_facts(batch: Batch, plain: _Trial, rest: Tensor) -> _Trial:
    """The same functionals on the boxes `rest`, each with the best multipliers found."""
    context = batch.context
    count = context.functionals.count
    row = (rest[:, None] * count + torch.arange(count)).reshape(-1)
    boxes = batch.boxes.take(rest.repeat_interleave(count))
    multipliers, rows, bound = strengthen(plain.rows.take(row), boxes, context.useful)
    shape = (rest.numel(), count)
    strict = ((multipliers > 0) & context.useful_strict).any(-1).view(shape)
    return _Trial(
        rest,
        bound.view(shape),
        plain.slack[rest],
        _doubt(rows, boxes).view(shape),
        rows,
        plain.weak[rest] | strict,
        multipliers.view(*shape, -1),
    )


def _best(context: Context, trial: _Trial) -> tuple[Tensor, Tensor, Tensor]:
    """The best bound of a goal atom on each box of the trial, its slope, and which functional it is of."""
    shown = torch.where(context.goal_rows, trial.bound, -torch.inf)
    best = shown.argmax(-1)
    slope = trial.rows.slope.view(*trial.bound.shape, -1)
    return shown.amax(-1), slope[torch.arange(best.numel()), best], best


def _close(
    batch: Batch, tree: ProofTree, trial: _Trial, sweep: Sweep, chosen: dict[int, Tensor] | None = None
) -> Tensor:
    """Closes what the trial settles; [box of the batch] whether it did. `chosen`: slopes that it was made with."""
    enough = (trial.bound > trial.slack) & (trial.bound > 0)
    enough |= (trial.bound >= 0) & (trial.slack == 0) & trial.weak
    enough &= ~_contradictory(sweep, trial.index)[:, None] | torch.tensor(
        [atom < 0 for atom in batch.context.goal_atoms]
    )
    done = torch.zeros(batch.size, dtype=torch.bool)
    rows = enough.any(-1).nonzero()[:, 0]
    if not rows.numel():
        return done
    boxes, which = trial.index[rows], enough[rows].to(torch.int8).argmax(-1)
    done[boxes] = True
    context = batch.context
    ties = _ties(sweep, boxes, chosen)
    tight = _tight_entries(context.useful, sweep, set(boxes.tolist()))
    plain: list[tuple[int, int]] = []
    for row, box, k in zip(rows.tolist(), boxes.tolist(), which.tolist(), strict=True):
        node, used = int(batch.node[box]), context.used[k]
        if trial.multipliers is not None:
            used = _merged(used, context.useful, trial.multipliers[row, k].tolist())
        slopes = _of_form(sweep, context.form(k), ties.get(box, ()))
        entries = _of_form(sweep, context.form(k), tight.get(box, ()))
        if used or slopes or entries or context.form(k):
            tree.close_with(node, Leaf(context.goal_atoms[k], used, slopes, entries, context.form(k)))
        else:
            plain.append((node, context.goal_atoms[k]))
    if plain:
        nodes, atoms = torch.tensor(plain).unbind(-1)
        tree.close(nodes.numpy(), atoms.numpy())
    return done


def _contradictory(sweep: Sweep, boxes: Tensor) -> Tensor:
    """Boxes on which facts made bounds cross: no point of the facts is in them, and a checker may take other lines."""
    crossed = torch.zeros(boxes.numel(), dtype=torch.bool)
    if sweep.tight:
        for k, lo in sweep.lo.items():
            crossed |= (lo[boxes] > sweep.hi[k][boxes]).any(-1)
    return crossed


def _merged(used: Multipliers, facts: Facts, multipliers: list[float]) -> Multipliers:
    total: dict[FactId, Fraction] = {(c, a): factor for c, a, factor in used}
    for fact, value in zip(facts.ids, multipliers, strict=True):
        if value > 0:
            total[fact] = total.get(fact, Fraction(0)) + Fraction(value)
    return tuple((c, a, total[c, a]) for c, a in sorted(total))


def _ties(
    sweep: Sweep, boxes: Tensor, chosen: dict[int, Tensor] | None = None
) -> dict[int, list[tuple[int, int, int]]]:
    """Slopes to write down: neurons of these boxes whose default lower slope hangs on rounding, or is not taken."""
    found: dict[int, list[tuple[int, int, int]]] = {}
    for k, lines in sweep.twins.items():
        for row, neuron in lines.tie[boxes].nonzero().tolist():
            which = int(lines.choice[boxes[row], neuron])
            found.setdefault(int(boxes[row]), []).append((k, neuron, which))
    for k, gap in sweep.gap.items():
        if k in sweep.twins:
            continue
        lo, hi, width = sweep.lo[k][boxes], sweep.hi[k][boxes], gap[boxes]
        tie = (lo + hi).abs() <= TIE * width
        if chosen is not None and k in chosen:
            tie |= (chosen[k][boxes] != (hi > -lo).to(hi.dtype)) & ~torch.isnan(chosen[k][boxes])
        tie &= width > NOISE
        for row, neuron in tie.nonzero().tolist():
            lower = float(sweep.steps[k][boxes[row], neuron])
            found.setdefault(int(boxes[row]), []).append((k, neuron, round(256 * lower)))
    return found


def _of_form(sweep: Sweep, form: int, entries: Sequence[_Entry]) -> tuple[_Entry, ...]:
    """Twins are known to leaves of the form that reads them alone."""
    return tuple(entry for entry in entries if form or entry[0] not in sweep.twins)


def _tight_entries(facts: Facts, sweep: Sweep, boxes: set[int]) -> dict[int, list[tuple[int, int, int, Multipliers]]]:
    found: dict[int, list[tuple[int, int, int, Multipliers]]] = {}
    for entries in sweep.tight:
        rows = zip(entries.box.tolist(), entries.neuron.tolist(), entries.multipliers.tolist(), strict=True)
        for box, neuron, multipliers in rows:
            if box in boxes:
                used = _merged((), facts, multipliers)
                found.setdefault(box, []).append((entries.layer, neuron, entries.side, used))
    return found


# ── leaves that floats miss by rounding ────────────────────────────────────────────────────────
def _missed_by_rounding(trial: _Trial) -> Tensor:
    """Functionals that may be exactly 0 where 0 is enough, or positive within their slack; [box of the trial, k]."""
    return trial.weak & (trial.bound + trial.doubt >= 0) & (trial.bound <= trial.slack)


def _leaf(context: Context, trial: _Trial, sweep: Sweep, at: tuple[int, int]) -> Leaf:
    """The leaf that functional k proves on row `at[0]` of the trial, if it proves anything."""
    row, k = at
    box = int(trial.index[row])
    used = context.used[k]
    if trial.multipliers is not None:
        used = _merged(used, context.useful, trial.multipliers[row, k].tolist())
    ties = _ties(sweep, trial.index[row : row + 1]).get(box, [])
    tight = _tight_entries(context.useful, sweep, {box}).get(box, [])
    form = context.form(k)
    return Leaf(context.goal_atoms[k], used, _of_form(sweep, form, ties), _of_form(sweep, form, tight), form)
