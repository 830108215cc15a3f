"""The search for violations as deployed: records of binary32 numbers, scored by the deployed pass itself.

What rounding alone breaks is no slope to climb: a float64 search sees a network on which the rule holds. So points are
scored as they are executed, the best few are moved at random (by a last place, by a little, by a lot), and what scores
higher stays. Deterministic for the generator it is given.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.verifier.deployed_program import DeployedProgram
from rewarden.verifier.float_program import Atoms
from rewarden.verifier.starts import Array, Domain, whole

KEPT = 128  # points that are moved
MOVES = 24  # of each
STEPS = (2.0**-23, 2.0**-20, 2.0**-12, 0.01, 0.2)  # of a value, or of its range: how far a move goes


class DeployedSearch:
    """Points of one claim's domain, as deployed. `premise` and `goals` are the claim's atoms; None: no goals."""

    def __init__(self, program: DeployedProgram, domain: Domain, premise: Atoms, goals: Atoms | None) -> None:
        self.program, self.domain = program, domain
        self.premise, self.goals = premise, goals
        self.constants = {i: float(value) for i, value in program.executed.constants.items()}

    def best(
        self, x: Array, box: NDArray[np.int64], allowance: int, rng: np.random.Generator
    ) -> tuple[Array, NDArray[np.int64], Tensor, int]:
        """The best points near x, their boxes and scores, best first, and how many were evaluated.

        A score of 0 or more: the premise is true and a goal false, as far as binary64 can tell.
        """
        lo, hi = self.domain.lo[box], self.domain.hi[box]
        x = self._encoded(x[:allowance], lo[:allowance], hi[:allowance])
        score = self._scores(x)
        spent = len(x)
        order = np.argsort(-score, kind="stable")[:KEPT]
        x, box, score = x[order], box[order], score[order]
        lo, hi = lo[order], hi[order]
        for _ in range(MOVES):
            if spent + len(x) > allowance or not len(x):
                break
            trial = self._encoded(self._moved(x, lo, hi, rng), lo, hi)
            gained = self._scores(trial)
            spent += len(x)
            better = gained > score
            x, score = np.where(better[:, None], trial, x), np.where(better, gained, score)
        order = np.argsort(-score, kind="stable")
        return x[order], box[order], torch.from_numpy(score[order]), spent

    def _moved(self, x: Array, lo: Array, hi: Array, rng: np.random.Generator) -> Array:
        """Each point with some of its values moved."""
        step = rng.choice(STEPS, (len(x), 1)) * np.maximum(hi - lo, np.abs(x) * rng.integers(0, 2, (len(x), 1)))
        chosen = rng.random(x.shape) < rng.choice([1.0 / max(1, x.shape[1]), 0.5, 1.0], (len(x), 1))
        return whole(self.domain, np.clip(x + chosen * step * rng.uniform(-1.0, 1.0, x.shape), lo, hi), lo, hi)

    def _encoded(self, x: Array, lo: Array, hi: Array) -> Array:
        """With binary32 numbers, inside the box where there are any."""
        with np.errstate(over="ignore"):
            near = x.astype(np.float32)
        near = np.where(near < lo, np.nextafter(near, np.float32(np.inf)), near)
        near = np.where(near > hi, np.nextafter(near, np.float32(-np.inf)), near)
        encoded = np.where(lo == hi, lo, near.astype(np.float64))
        for i, value in self.constants.items():
            encoded[:, i] = value
        return encoded

    def _scores(self, x: Array) -> Array:
        points, calls = torch.from_numpy(x), torch.from_numpy(self.program.calls(x))
        kept = self.premise.best(self.premise.margins(points, calls))
        least = kept.amin(dim=1) if kept.shape[1] else torch.zeros(len(x), dtype=torch.float64)
        false = least if self.goals is None else -self.goals.best(self.goals.margins(points, calls)).amin(dim=1)
        score = torch.where(least < 0, -1e18 + least.clamp_min(-1e17), false)
        # A reward that is not finite anywhere in the premise ends every search.
        finite = torch.isfinite(calls).all(dim=1)
        scored: Array = torch.where(finite, torch.nan_to_num(score, nan=-1e18), 1e18).numpy()
        return scored
