"""A stack of patches as a plain network: the network below learns to give what the patched reward gives.

No guarantee comes with it: what is baked is verified again, and is written only if the rules still hold (`rewarden
bake`). The network keeps its shape: only weights and biases change, from where they were. It learns on points drawn
anew at every step, from the whole domain and from where each patch may act, to be the patched reward, and to stay on
the right side of each patch's level, with a margin, inside its region.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.editor.history.stored import Stored, all_stored
from rewarden.editor.pace import paced
from rewarden.editor.unlearn.differentiable import evaluate, trainable
from rewarden.reward.artifact import Artifact, Edit
from rewarden.reward.deployed import forward
from rewarden.reward.learners.sampling import uniform
from rewarden.reward.training import deterministic, tensor64
from rewarden.spec_lang.errors import EditError

Rows = NDArray[np.float32]

POINTS = 1024  # of the domain at each step, and as many from where patches may act
CHECKED = 20_000
MARGIN = 0.02  # of the reward's spread, by which levels are kept
HINGE = 10.0  # weight of levels against the rest


@dataclass(frozen=True, slots=True)
class BakeOptions:
    steps: int = 2000
    learning_rate: float = 0.01  # of a weight's size, at first
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Baked:
    """`largest` and `mean`: absolute differences from the patched reward on sampled points, reward units; `beneath`:
    the mean difference of the network that the patches lie on, before it learned anything."""

    artifact: Artifact
    largest: float
    mean: float
    beneath: float


def bake(
    artifact: Artifact,
    options: BakeOptions = BakeOptions(),
    progress: Callable[[int, int], None] | None = None,
) -> Baked:
    """Raises EditError E31 where there is no patch to bake, E23 for networks that cannot be differentiated."""
    patches = all_stored(artifact)
    if not patches:
        raise EditError("E31", "the reward has no patches: there is nothing to bake")
    if any(patch.boxes > 1 for patch in patches):
        raise EditError("E31", "a patch near data cannot be baked", help="revert it, bake, and patch again")
    plain = artifact.with_patches(())
    with deterministic(options.seed) as generator:
        names = trainable(artifact.graph)
        fixed = {name: tensor64(value) for name, value in plain.tensors.items()}
        parameters = [fixed[name].clone().requires_grad_() for name in names]
        spread = max(float(forward(artifact, _domain(artifact, CHECKED, generator)).std()), 1e-6)
        optimiser, schedule = paced(parameters, options.learning_rate, options.steps)
        for step in range(options.steps):
            rows = np.concatenate([_domain(artifact, POINTS, generator), _near(artifact, patches, generator)])
            wanted = tensor64(forward(artifact, rows))
            found = evaluate(artifact.graph, {**fixed, **dict(zip(names, parameters, strict=True))}, tensor64(rows))
            loss = (((found - wanted) / spread) ** 2).mean() + HINGE * _beyond(found / spread, rows, patches, spread)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            if progress is not None:
                progress(step + 1, options.steps)
        tensors = {
            name: value.detach().numpy().astype(np.float32) for name, value in zip(names, parameters, strict=True)
        }
        rules = ", ".join(dict.fromkeys(patch.rule for patch in patches))
        said = {"guarantee": "none by itself: a network learned from the patched reward, to be verified like any other"}
        changed = plain.child(Edit("bake", rules, said), tensors=tensors)
        baked = replace(changed, parent=artifact.digest)
        rows = _domain(artifact, CHECKED, generator)
        wished = forward(artifact, rows).astype(np.float64)
        apart, beneath = (np.abs(forward(one, rows).astype(np.float64) - wished) for one in (baked, plain))
    return Baked(baked, float(apart.max()), float(apart.mean()), float(beneath.mean()))


def _domain(artifact: Artifact, count: int, generator: torch.Generator) -> Rows:
    parts = [uniform(record.type, count, generator) for record in artifact.records]
    return torch.cat(parts, dim=1).numpy().astype(np.float32)


def _near(artifact: Artifact, patches: tuple[Stored, ...], generator: torch.Generator) -> Rows:
    """Points of the domain, moved into the boxes in which patches may act; discrete columns are rounded."""
    box = tuple((column.lo, column.hi) for column in artifact.columns)
    each = max(64, POINTS // len(patches))
    whole = np.array([column.discrete for column in artifact.columns])
    found = []
    for patch in patches:
        reach = patch.reach(box)
        if reach is None:
            continue
        rows = _domain(artifact, each, generator).astype(np.float64)
        low, high = (np.array([float(side[k]) for side in reach]) for k in (0, 1))
        full_low, full_high = (np.array([float(side[k]) for side in box]) for k in (0, 1))
        width = np.where(full_high > full_low, full_high - full_low, 1.0)
        moved = low + (rows - full_low) / width * (high - low)
        found.append(np.where(whole, np.clip(np.rint(moved), np.ceil(low), np.floor(high)), moved))
    return np.concatenate(found).astype(np.float32) if found else np.zeros((0, len(box)), np.float32)


def _beyond(found: Tensor, rows: Rows, patches: tuple[Stored, ...], spread: float) -> Tensor:
    """The mean square by which levels are missed inside regions."""
    total = torch.zeros((), dtype=torch.float64)
    for patch in patches:
        inside = ((rows.astype(np.float64) @ patch.rows.T.astype(np.float64)) - patch.offsets <= 0).all(axis=1)
        if inside.any():
            level = float(patch.level) / spread
            over = patch.sign * (found[torch.from_numpy(inside)] - level) + MARGIN
            total = total + torch.relu(over).square().mean()
    return total
