"""Points at which to look: uniform in an obligation's boxes, with discrete parts right and the premise exactly true.

Random points seldom satisfy a narrow premise, so those that fail are moved: points near a data row towards it, single
variables to where a failing atom holds, the records of a pair or a trace towards each other, and at last all towards
points that were found. Whatever the moving does, a point is kept only if the exact evaluator says that structure,
assumptions and premise hold there. This is search, not proof: it may find too few points, or none.

A rule over the rows of data has those rows for points, each at most once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.formulas import conjunction
from rewarden.spec_lang.obligation import TRUE, And, Atom, Formula, Obligation, Or
from rewarden.spec_lang.sampling.boxes import box_of, narrow
from rewarden.spec_lang.sampling.boxes import inward as inward
from rewarden.spec_lang.sampling.moves import Moves, Plan, towards
from rewarden.spec_lang.sampling.row_truth import Mask, Rows
from rewarden.spec_lang.term_walk import mentions_rewards as mentions_rewards
from rewarden.spec_lang.term_walk import variables_of as variables_of

_ROUNDS = 12  # batches drawn before giving up on n points
_FEWEST = 32  # points of a batch
_NUDGES = 8  # per batch; equalities settle in two or three
_HALVINGS = 12  # of the way to a place that is hoped to be good
_CHUNK = 4096  # data rows judged at once


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Points [n, variables], the box of each, and its data row where there is one (what the row does not say is as in
    the point)."""

    rows: Rows
    lo: Rows
    hi: Rows
    centre: Rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: Mask | slice | NDArray[np.int64]) -> Drawn:
        return Drawn(self.rows[which], self.lo[which], self.hi[which], self.centre[which])


def joined(parts: list[Drawn], width: int) -> Drawn:
    """All of them, in order."""
    empty = np.zeros((0, width))
    names = ("rows", "lo", "hi", "centre")
    return Drawn(*(np.concatenate([empty, *(getattr(part, name) for part in parts)]) for name in names))


def sample_rows(obligation: Obligation, n: int, seed: int) -> Rows:
    """Up to n points (float64 [found, variables], found <= n), inside the boxes and the premise.

    Parts of the premise that mention rewards cannot be judged here and are left out: the caller checks those.
    """
    return Sampler(obligation).draw(n, np.random.default_rng(seed)).rows


class Sampler:
    """Draws points of one obligation, with a generator that the caller brings.

    `single`: what may be chosen freely is chosen among binary32 numbers, so that a reward that computes in them is
    asked about the very point that was judged.
    """

    def __init__(self, obligation: Obligation, *, single: bool = False) -> None:
        self.obligation, self.single, self.width = obligation, single, len(obligation.variables)
        self.box = box_of(obligation)
        self.movable: Mask = np.ones(self.width, dtype=np.bool_)
        if obligation.instances is not None:
            self.movable[[variable for variable, _ in obligation.instances.fixed]] = False
        self.wanted = conjunction([obligation.structure, obligation.assume, without_calls(obligation.premise)])
        self.plan = Plan.of(self.wanted, self.width)
        self.stages = [(Plan.of(f, self.width), own) for f, own in _stages(self.wanted, obligation, self.movable)]
        self.links = _links(obligation, self.movable)
        self._valid: NDArray[np.int64] | None = None

    def holds(self, rows: Rows) -> Mask:
        """Exactly, what of structure, assumptions and premise is about features."""
        return self.plan.truth(rows)

    def inside(self, rows: Rows) -> Mask:
        """Is each point in the variables' ranges, and whole where it is discrete?"""
        whole = (rows == np.floor(rows)) | ~self.box.discrete
        found: Mask = ((rows >= self.box.lo) & (rows <= self.box.hi) & whole).all(axis=1)
        return found

    def covered(self, rows: Rows) -> Mask:
        """Of a rule about data: is each point near some row, or some row? All points of any other rule."""
        instances = self.obligation.instances
        found = np.full(len(rows), instances is None)
        for start in range(0, 0 if instances is None else len(instances.anchors), _CHUNK):
            assert instances is not None
            anchors = instances.anchors[start : start + _CHUNK]
            lo, hi = np.tile(self.box.lo, (len(anchors), 1)), np.tile(self.box.hi, (len(anchors), 1))
            narrow(instances, anchors, lo, hi, self.box.discrete)
            for k in np.flatnonzero(~found):
                found[k] = bool(((lo <= rows[k]) & (rows[k] <= hi)).all(axis=1).any())
        return found

    def draw(self, n: int, generator: np.random.Generator, stop: Callable[[], bool] = lambda: False) -> Drawn:
        """Up to n points where the premise holds, as far as it is about features; those that do when `stop` says so."""
        if self.obligation.over_rows:
            return self._data_rows(generator.permutation(self.valid_rows())[:n])
        found: list[Drawn] = []
        count = 0
        for _ in range(_ROUNDS):
            if count >= n or stop():
                break
            batch = self.uniform(max(n - count, _FEWEST), generator)
            good = batch[self._moved(batch, generator, found, stop)]
            found.append(good)
            count += len(good)
        return joined(found, self.width)[slice(n)]

    def uniform(self, n: int, generator: np.random.Generator) -> Drawn:
        """n points of the boxes, whether the premise holds there or not."""
        lo, hi = np.tile(self.box.lo, (n, 1)), np.tile(self.box.hi, (n, 1))
        instances = self.obligation.instances
        anchors: Rows | None = None
        if instances is not None and len(instances.anchors):
            anchors = instances.anchors[generator.integers(len(instances.anchors), size=n)]
            narrow(instances, anchors, lo, hi, self.box.discrete)
        rows = lo + generator.random(lo.shape) * (hi - lo)
        whole = np.floor(lo + generator.random(lo.shape) * (hi - lo + 1))
        rows = np.where(self.box.discrete, whole, rows)
        for group in self.box.groups:
            free = lo[:, group[0]] != hi[:, group[0]]  # near data it is the row's case
            rows[np.ix_(free, list(group))] = np.eye(len(group))[generator.integers(len(group), size=int(free.sum()))]
        self.settle(rows, lo, hi)
        centre = rows.copy()
        if instances is not None and anchors is not None:
            for variable, column, _ in instances.centred:
                centre[:, variable] = anchors[:, column]
        return Drawn(rows, lo, hi, centre)

    def settle(self, rows: Rows, lo: Rows, hi: Rows) -> None:
        """Into the boxes, and onto binary32 numbers where those are wanted (in place)."""
        np.clip(rows, lo, hi, out=rows)
        if self.single:
            rounded = rows.astype(np.float32)
            over, under = rounded > hi, rounded < lo
            rounded[over] = np.nextafter(rounded[over], np.float32(-np.inf))
            rounded[under] = np.nextafter(rounded[under], np.float32(np.inf))
            np.copyto(rows, rounded, where=self.movable & (rounded >= lo) & (rounded <= hi))

    def mend(self, batch: Drawn, which: Mask, generator: np.random.Generator) -> Mask:
        """Nudges the points `which` once (in place); bool [n], which of those hold now."""
        rows = batch.rows[which]
        stages = self.stages if len(self.stages) > 1 and generator.random() < 0.5 else [(self.plan, self.movable)]
        for plan, movable in stages:
            rows = Moves(self.box, movable, generator).nudged(plan, rows)
        return self._placed(batch, which, rows)

    def pull(
        self, batch: Drawn, which: Mask, targets: Rows, generator: np.random.Generator, halvings: int = _HALVINGS
    ) -> Mask:
        """Draws the points `which` towards targets until they hold (in place; those that never do stay where they
        are); bool [n], which hold now."""
        held = np.zeros(len(batch), dtype=np.bool_)
        failing = np.flatnonzero(which)
        for halving in range(halvings):
            if not len(failing):
                break
            share = 2.0**-halving * (0.5 + 0.5 * generator.random(len(failing)))
            rows = towards(batch.rows[failing], targets[failing], share, self.box.discrete)
            self.settle(rows, batch.lo[failing], batch.hi[failing])
            good = self.holds(rows)
            batch.rows[failing[good]] = rows[good]
            held[failing[good]] = True
            failing = failing[~good]
        return held

    def valid_rows(self) -> NDArray[np.int64]:
        """Of a rule over the rows of data: those that satisfy the premise, as far as it is about features."""
        if self._valid is None:
            instances = self.obligation.instances
            count = 0 if instances is None else len(instances.anchors)
            good = [
                start + np.flatnonzero(self.holds(self._data_rows(np.arange(start, min(start + _CHUNK, count))).rows))
                for start in range(0, count, _CHUNK)
            ]
            self._valid = np.concatenate([np.zeros(0, dtype=np.int64), *good])
        return self._valid

    def _data_rows(self, which: NDArray[np.int64]) -> Drawn:
        instances = self.obligation.instances
        assert instances is not None
        rows = np.zeros((len(which), self.width))
        rows[:, [v for v, _ in instances.fixed]] = instances.anchors[which][:, [c for _, c in instances.fixed]]
        return Drawn(rows, rows, rows, rows)

    def _moved(
        self, batch: Drawn, generator: np.random.Generator, found: list[Drawn], stop: Callable[[], bool]
    ) -> Mask:
        """Moves what fails (in place); which points hold at last."""
        holds = self.holds(batch.rows)
        near = self.obligation.instances is not None
        if near and not holds.all():
            holds |= self.pull(batch, ~holds, batch.centre, generator)
        for attempt in range(_NUDGES):
            if holds.all() or stop():
                return holds
            if attempt % 2 and self.links:
                self._approach(batch, ~holds, generator)
            holds |= self.mend(batch, ~holds, generator)
        good = joined(found, self.width).rows
        if len(good) and not near and not holds.all():
            holds |= self.pull(batch, ~holds, good[generator.integers(len(good), size=len(batch))], generator)
        return holds

    def _approach(self, batch: Drawn, which: Mask, generator: np.random.Generator) -> None:
        """Records towards the ones before them, some all the way and some a little (in place)."""
        rows = batch.rows[which]
        share: Rows = np.exp2(-generator.integers(0, 10, size=len(rows)).astype(np.float64))
        alike = (generator.random(len(rows)) < 0.5)[:, None]  # in their discrete parts
        for before, after in self.links:
            discrete = self.box.discrete[after] & alike
            kept = np.where(self.box.discrete[after], rows[:, after], 0.0)
            moved = towards(rows[:, after], rows[:, before], share, self.box.discrete[after])
            rows[:, after] = np.where(self.box.discrete[after] & ~discrete, kept, moved)
        self._placed(batch, which, rows)

    def _placed(self, batch: Drawn, which: Mask, rows: Rows) -> Mask:
        """Puts rows in the place of the points `which`; which of those hold."""
        self.settle(rows, batch.lo[which], batch.hi[which])
        batch.rows[which] = rows
        held = np.zeros(len(batch), dtype=np.bool_)
        held[which] = self.holds(rows)
        return held


def _stages(wanted: Formula, obligation: Obligation, movable: Mask) -> list[tuple[Formula, Mask]]:
    """Record by record: what is about it and those before it, and the variables that are its own. A trace is mended
    step by step, so that mending the third does not break the first two."""
    seen: set[int] = set()
    owners: list[set[int]] = []
    for view in obligation.records:
        own = {v for v in view.variables if v not in seen and movable[v]}
        seen |= set(view.variables)
        owners.append(own)
    if sum(map(bool, owners)) < 2:
        return []
    stage_of = {v: k for k, own in enumerate(owners) for v in own}
    parts: list[list[Formula]] = [[] for _ in owners]
    for part in _conjuncts(wanted):
        parts[max((stage_of.get(v, 0) for v in variables_of(part)), default=0)].append(part)
    masks = [np.isin(np.arange(len(movable)), sorted(own)) for own in owners]
    return [(And(tuple(some)), mask) for some, mask in zip(parts, masks, strict=True) if some and mask.any()]


def _links(obligation: Obligation, movable: Mask) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Per record after the first of its type: the variables of the one before it and its own, column by column."""
    found = []
    last: dict[str, tuple[int, ...]] = {}
    for view in obligation.records:
        if view.type_name in last:
            pairs = [(a, b) for a, b in zip(last[view.type_name], view.variables, strict=True) if a != b and movable[b]]
            if pairs:
                found.append((np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])))
        last[view.type_name] = view.variables
    return found


def _conjuncts(formula: Formula) -> list[Formula]:
    return [c for part in formula.parts for c in _conjuncts(part)] if isinstance(formula, And) else [formula]


def without_calls(formula: Formula) -> Formula:
    """The formula with every atom that mentions a reward or a data constant taken for true."""
    match formula:
        case And(parts):
            return And(tuple(without_calls(part) for part in parts))
        case Or(parts):
            return Or(tuple(without_calls(part) for part in parts))
        case Atom(term):
            return TRUE if mentions_rewards(term) else formula
