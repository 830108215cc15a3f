"""The points of all rules of a penalty: their own, or what a caller wants looked at instead.

Mutable: the pools, and how often they were drawn and used. What is drawn depends on the seed, how often it was drawn
before and the rule's place alone, so that a run can be repeated, and continued from a saved state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rewarden.spec_lang.diagnostics import did_you_mean
from rewarden.spec_lang.errors import BindingError
from rewarden.spec_lang.obligation import Obligation
from rewarden.spec_lang.penalty.points import (
    Points,
    arrays_of,
    combined,
    require_rows,
    takes_rows_of,
)
from rewarden.spec_lang.penalty.pool import Pool
from rewarden.spec_lang.penalty.program import Prepared
from rewarden.spec_lang.penalty.reading import Reading
from rewarden.spec_lang.penalty.rewards import Bound
from rewarden.spec_lang.penalty.violation import Mode
from rewarden.spec_lang.spec import Rule, Spec

LOOPS = (1, 2, 3)  # lengths of the cycles that are looked at
FEWEST = 8  # points of each length of a trace, at least


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """An obligation at points that count; `stands_for`: how many rows of the data they stand for."""

    pool: Pool
    prepared: Prepared
    stands_for: int


class Pools:
    """By rule, and in a rule by obligation: one, or one for each length of a trace or cycle."""

    def __init__(self, spec: Spec, rules: Sequence[Rule], bound: Bound, seed: int) -> None:
        self.spec, self.seed = spec, seed
        self.pools = {
            rule.name: tuple(
                Pool(obligation, single=bound.single, device=bound.device) for obligation in obligations(spec, rule)
            )
            for rule in rules
        }
        self.draws = self.uses = 0

    def all(self) -> list[Pool]:
        return [pool for pools in self.pools.values() for pool in pools]

    def of(self, rule: str) -> tuple[Pool, ...]:
        """BindingError B25 for a rule that is not penalised."""
        if rule not in self.pools:
            raise BindingError("B25", f"{rule} is not one of the rules penalised", help=did_you_mean(rule, self.pools))
        return self.pools[rule]

    # ── drawing ──
    def due(self, renew: int) -> bool:
        """Are other points to be drawn: there are none yet, or these were used `renew` times?"""
        return self.draws == 0 or 0 < renew <= self.uses

    def sample(self, n: int, steps: int, mode: Mode) -> None:
        """n other points per rule, searched with `steps` of ascent."""
        self.draws, self.uses = self.draws + 1, 0
        for k, pools in enumerate(self.pools.values()):
            each = max(n // len(pools), min(n, FEWEST))
            for j, pool in enumerate(pools):
                pool.draw(each, steps, mode, np.random.default_rng([self.seed, self.draws, k, j]))

    def add(self, rule: str, points: Points, capacity: int) -> int:
        """How many of the points count, and are kept."""
        pools = self.of(rule)
        if pools[0].share is not None:
            help = "its points are the rows of the data"
            raise BindingError("B25", f"{rule} is about a share of rows, not about single points", help=help)
        found = arrays_of([pool.obligation for pool in pools], self.spec.features, points)
        return sum(pools[k].add(rows, capacity) for k, rows in found.items())

    # ── looking ──
    def own(self, mode: Mode) -> list[Looked]:
        """Every obligation at its own points."""
        self.uses += 1
        return [self._own(pool, mode) for pool in self.all()]

    def keep_some(self) -> bool:
        """Are there rules that keep to their own points beside a batch of rows?"""
        kinds = {takes_rows_of(pool.obligation) for pool in self.all()}
        return None in kinds or len(kinds) > 1

    def at_rows(self, batch: Tensor, limit: int, calls: int, mode: Mode) -> list[Looked]:
        """Rules about records at the rows of a batch and at most `limit` of their pairs, the others at their own."""
        rows = batch.detach().cpu().to(torch.float64).numpy()
        kinds = {id(pool): takes_rows_of(pool.obligation) for pool in self.all()}
        kind = require_rows(rows, [self.spec.features[k] for k in dict.fromkeys(kinds.values()) if k is not None])
        self.uses += 1
        found = []
        for k, pool in enumerate(self.all()):
            if kinds[id(pool)] != kind.name:
                found.append(self._own(pool, mode))
                continue
            points = combined(pool.obligation, rows, np.random.default_rng([self.seed, calls, k]))
            good = np.flatnonzero(pool.counting(points))
            if len(pool.obligation.records) > 1:
                good = np.random.default_rng([self.seed, calls, k, 1]).permutation(good)[:limit]
            found.append(_looked(pool, pool.at(points[good]), mode))
        return found

    def at_points(self, where: Mapping[str, Points], mode: Mode) -> list[Looked]:
        """The obligations that points are given of, at those of them that count."""
        found = []
        for rule, points in where.items():
            pools = self.of(rule)
            for k, rows in arrays_of([pool.obligation for pool in pools], self.spec.features, points).items():
                found.append(_looked(pools[k], pools[k].at(rows[pools[k].counting(rows)]), mode))
        return found

    def _own(self, pool: Pool, mode: Mode) -> Looked:
        found = _looked(pool, pool.prepared(), mode)
        if pool.share is None or not len(pool.fresh):
            return found
        # The rows drawn stand for all that satisfy the premise, as far as it is about features.
        all_rows = round(found.stands_for * len(pool.sampler.valid_rows()) / len(pool.fresh))
        return Looked(pool, found.prepared, all_rows)

    # ── state ──
    def state(self) -> dict[str, Tensor]:
        found = {"draws": torch.tensor(self.draws), "uses": torch.tensor(self.uses)}
        for name, pool in self._named():
            found |= {f"{name}.{key}": value for key, value in pool.state().items()}
        return found

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """ValueError for the state of other rules."""
        other = set(state) ^ set(self.state())
        if other:
            raise ValueError(f"the saved state is of other rules: {', '.join(sorted(other)[:3])}")
        for name, pool in self._named():
            pool.restore({key: state[f"{name}.{key}"] for key in pool.state()})
        self.draws, self.uses = int(state["draws"]), int(state["uses"])

    def _named(self) -> list[tuple[str, Pool]]:
        return [(f"{rule}.{k}", pool) for rule, pools in self.pools.items() for k, pool in enumerate(pools)]


def obligations(spec: Spec, rule: Rule) -> tuple[Obligation, ...]:
    """All that a rule asks; of a rule about loops, those of the lengths that are looked at."""
    if rule.kind == "cycle":
        return tuple(spec.unrolled(rule.name, length) for length in LOOPS)
    return spec.obligations_of(rule.name)


def _looked(pool: Pool, at: Prepared, mode: Mode) -> Looked:
    """Without the points where a premise that speaks of rewards fails."""
    if pool.moody:
        with torch.no_grad():
            good = Reading(at.points, mode.ask, mode.statistics).truth(pool.obligation.premise).nonzero().reshape(-1)
        at = Prepared(
            program=at.program,
            points=at.points[good],
            arguments=tuple(rows[good] for rows in at.arguments),
            rests=at.rests[:, good],
            features=tuple(None if truth is None else truth[good] for truth in at.features),
            known=at.known.at(good),
            alike=None if at.alike is None else at.alike[:, good],
        )
    return Looked(pool, at, len(at.points))
