"""The loops that anybody would write in torch, to hold the learners' throughput against: `torch.nn.Sequential`,
`torch.optim.AdamW`, batches by a permutation, a validation loss after each epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rewarden.reward.learners.options import AutoencoderOptions, EnergyOptions

KEPT, HELD = 0.75, 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """`precision` is the learners' word for it."""

    epochs: int
    hidden: int
    batch: int
    precision: str

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64 if self.precision == "double" else torch.float32


def standardised(values: np.ndarray, axes: tuple[int, ...], plan: Plan) -> Tensor:
    spread = np.maximum(values.std(axes), 1e-6)
    return torch.from_numpy((values - values.mean(axes)) / spread).to(plan.dtype)


def pairs(segments: np.ndarray, plan: Plan) -> float:
    """Pairs [pair, 2, step, width] per second of CPU time, by Bradley-Terry on sums."""
    module = _network(segments.shape[-1], plan)

    def loss(batch: Tensor) -> Tensor:
        sums = module(batch).squeeze(-1).sum(dim=2)
        return nn.functional.softplus(sums[:, 1] - sums[:, 0]).mean()

    z = standardised(segments, (0, 1, 2), plan)
    return _trained(module.parameters(), (z,), loss, plan)


def labels(rows: np.ndarray, judged: np.ndarray, plan: Plan) -> float:
    """Rows [row, width] per second of CPU time, by least squares."""
    module = _network(rows.shape[1], plan)
    z, wanted = standardised(rows, (0,), plan), standardised(judged, (0,), plan)
    return _trained(
        module.parameters(), (z, wanted), lambda x, y: nn.functional.mse_loss(module(x).squeeze(-1), y), plan
    )


def energy(rows: np.ndarray, plan: Plan) -> float:
    """Rows per second, against made-up ones: half of them uniform, half with columns of different rows."""
    count, width = EnergyOptions().contrasts, rows.shape[1]
    module, z = _network(width, plan), standardised(rows, (0,), plan)
    least, most, kept = z.amin(0), z.amax(0), z[: int(KEPT * len(z))]

    def loss(batch: Tensor) -> Tensor:
        wanted = len(batch) * count
        uniform = least + torch.rand(wanted // 2, width, dtype=plan.dtype) * (most - least)
        picked = torch.randint(len(kept), (wanted - len(uniform), width))
        made = torch.cat([uniform, kept.gather(0, picked)])[torch.randperm(wanted)]
        logits = torch.cat([module(batch), module(made.reshape(len(batch), count, width)).squeeze(-1)], dim=1)
        return nn.functional.cross_entropy(logits, torch.zeros(len(batch), dtype=torch.long))

    return _trained(module.parameters(), (z,), loss, plan)


def autoencoders(rows: np.ndarray, plan: Plan) -> float:
    """Rows per second; each is reconstructed by all experts, and the best one counts."""
    width, options = rows.shape[1], AutoencoderOptions()

    def expert() -> nn.Module:
        return nn.Sequential(
            nn.Linear(width, plan.hidden), nn.ReLU(), nn.Linear(plan.hidden, options.code),
            nn.Linear(options.code, plan.hidden), nn.ReLU(), nn.Linear(plan.hidden, width),
        )  # fmt: skip

    experts = nn.ModuleList(expert() for _ in range(options.experts)).to(plan.dtype)

    def loss(batch: Tensor) -> Tensor:
        return torch.stack([(batch - one(batch)).abs().sum(dim=1) for one in experts], dim=1).amin(dim=1).mean()

    return _trained(experts.parameters(), (standardised(rows, (0,), plan),), loss, plan)


def _network(width: int, plan: Plan) -> nn.Module:
    return nn.Sequential(
        nn.Linear(width, plan.hidden), nn.ReLU(), nn.Linear(plan.hidden, plan.hidden), nn.ReLU(),
        nn.Linear(plan.hidden, 1),
    ).to(plan.dtype)  # fmt: skip


def _trained(
    parameters: Iterable[nn.Parameter], data: tuple[Tensor, ...], loss_of: Callable[..., Tensor], plan: Plan
) -> float:
    """Items per second of CPU time, over the epochs after the first."""
    torch.manual_seed(1)
    optimiser = torch.optim.AdamW(parameters, lr=0.005)
    count = len(data[0])
    cut, end = int(KEPT * count), int((KEPT + HELD) * count)
    start = 0.0
    for epoch in range(plan.epochs):
        if epoch == 1:
            start = time.process_time()
        for items in torch.split(torch.randperm(cut), plan.batch):
            optimiser.zero_grad()
            loss = loss_of(*(column[:cut][items] for column in data))
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        with torch.no_grad():
            loss_of(*(column[cut:end] for column in data))
    return cut * (plan.epochs - 1) / (time.process_time() - start)
