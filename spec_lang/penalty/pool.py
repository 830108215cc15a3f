"""The points of one obligation: those drawn for it, half of them searched, and those that somebody added.

Mutable, and all of it is state: the points themselves. What is drawn next depends on the generator that the caller
brings, so the same calls with the same seeds give the same points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from rewarden.spec_lang.obligation import Obligation
from rewarden.spec_lang.penalty.program import Prepared, compile_penalty, prepare
from rewarden.spec_lang.penalty.search import climb
from rewarden.spec_lang.penalty.share import wanted
from rewarden.spec_lang.penalty.violation import Mode
from rewarden.spec_lang.sampling.points import Drawn, Sampler, joined
from rewarden.spec_lang.sampling.row_truth import Mask, Rows
from rewarden.spec_lang.term_walk import mentions_rewards

SEARCHED = 2  # one point in so many is searched


class Pool:
    """`moody`: the premise speaks of rewards, so that which points count changes with them."""

    def __init__(self, obligation: Obligation, *, single: bool, device: torch.device) -> None:
        self.obligation, self.share = obligation, obligation.share
        if self.share is not None:
            obligation = replace(obligation, conclusion=wanted(self.share, obligation.conclusion))
        self.program = compile_penalty(obligation, device)
        self.sampler = Sampler(obligation, single=single)
        self.moody = mentions_rewards(obligation.premise)
        self.fresh = self.searched = joined([], self.sampler.width)
        self.added: Rows = np.zeros((0, self.sampler.width))
        self._prepared: Prepared | None = None

    def draw(self, n: int, steps: int, mode: Mode, generator: np.random.Generator) -> None:
        """Other points: half as they come, half the worst among as many and those of the last search, after `steps` of
        ascent. Of a rule over the rows of data: other rows."""
        self._prepared = None
        found = self.sampler.draw(n, generator)
        if not steps or self.obligation.over_rows:
            self.fresh = found
            return
        plain = len(found) - len(found) // SEARCHED
        start = joined([found[slice(plain, None)], self.searched], self.sampler.width)
        self.fresh = found[slice(plain)]
        self.searched = (
            climb(self.sampler, self.program, start, n // SEARCHED, steps, mode, generator) if len(start) else start
        )

    def add(self, points: Rows, capacity: int) -> int:
        """Keeps the points that count, the latest `capacity` of all that were added; how many of these count."""
        good = points[self.counting(points)]
        self.added, self._prepared = np.concatenate([self.added, good])[-capacity:], None
        return len(good)

    def counting(self, points: Rows) -> Mask:
        """Which points are in the domain and satisfy the premise, as far as it is about features."""
        found = self.sampler.inside(points)
        found[found] = self.sampler.covered(points[found])
        found[found] = self.sampler.holds(points[found])
        return found

    def points(self) -> Rows:
        return np.concatenate([self.fresh.rows, self.searched.rows, self.added])

    def prepared(self) -> Prepared:
        """The program at all of the pool's points."""
        if self._prepared is None:
            self._prepared = self.at(self.points())
        return self._prepared

    def at(self, points: Rows) -> Prepared:
        with torch.no_grad():
            return prepare(self.program, torch.from_numpy(points).to(self.program.member.device))

    # ── state ──
    def state(self) -> dict[str, Tensor]:
        """The points, as tensors to be saved."""
        fresh, searched = (torch.from_numpy(np.stack(_arrays(part))) for part in (self.fresh, self.searched))
        return {"fresh": fresh, "searched": searched, "added": torch.from_numpy(self.added.copy())}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """The points of a pool of the same obligation; ValueError where they are not."""
        shapes = {"fresh": 3, "searched": 3, "added": 2}
        if any(state[key].ndim != n or state[key].shape[-1] != self.sampler.width for key, n in shapes.items()):
            raise ValueError(f"the saved points are not those of {self.obligation.rule.name}")
        self.fresh, self.searched = (Drawn(*state[key].cpu().double().numpy()) for key in ("fresh", "searched"))
        self.added, self._prepared = state["added"].cpu().double().numpy(), None


def _arrays(part: Drawn) -> list[Rows]:
    return [part.rows, part.lo, part.hi, part.centre]
