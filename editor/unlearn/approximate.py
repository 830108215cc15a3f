"""The approximate road, for rewards that were learned in no special way. It guarantees nothing.

One step of influence (Koh & Liang, ICML 2017): removing rows M from a minimiser of the mean loss over n rows moves it,
to first order, by H⁻¹·Σ_{i∈M} ∇ℓ_i / n, with H the Hessian of the loss, damped; the step is halved until the rows that
stay are no worse off. Then the rows that the step has moved most are gone over once more, with small steps: what they
lost was theirs, not the forgotten rows'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.editor.unlearn.differentiable import evaluate, trainable
from rewarden.editor.unlearn.request import Parted, machine_said
from rewarden.reward.artifact import Artifact, Edit
from rewarden.reward.learners.answers import answers_of, each, noise_of
from rewarden.reward.learners.interface import Comparisons, Judgements
from rewarden.reward.learners.shards import Data, contents, taken
from rewarden.reward.training import deterministic, tensor64
from rewarden.spec_lang.errors import EditError

MOST_ROWS = 4096  # of those that stay, for the Hessian
CONJUGATE_STEPS = 40
DAMPING = 0.01  # of the curvature along the gradient
MOST_HALVINGS = 12
WORSE = 1.02  # the mean loss of what stays may rise to this share of itself before fine-tuning
TUNED = 0.25  # share of the rows that stay which are gone over again
PASSES, BATCH, PACE = 4, 256, 1e-4

Losses = Callable[[list[Tensor]], Tensor]


@dataclass(frozen=True, slots=True)
class Approximate:
    """The child; mean losses of forgotten and staying rows before and after."""

    artifact: Artifact
    forgotten: tuple[float, float]
    staying: tuple[float, float]


def forget(artifact: Artifact, data: Data, parted: Parted) -> Approximate:
    """Raises EditError E23 where it is not known what the reward was trained to do."""
    gone, kept = taken(data, parted.gone), taken(data, parted.kept)
    with deterministic(0) as generator:
        names = trainable(artifact.graph)
        start = [tensor64(artifact.tensors[name]) for name in names]
        fixed = {name: tensor64(value) for name, value in artifact.tensors.items()}

        def losses(rows: Data) -> Losses:
            return _losses(artifact, rows, names, fixed)

        sample = taken(kept, _spread(kept, MOST_ROWS))
        of_gone, of_sample = losses(gone), losses(sample)
        step = _influence(start, of_gone, of_sample, len(parted.gone) / len(parted.kept))
        share, before = 1.0, float(of_sample(start).mean())
        for _ in range(MOST_HALVINGS):
            if float(of_sample(_moved(start, step, share)).mean()) <= WORSE * before + 1e-9:
                break
            share /= 2
        else:
            share = 0.0
        moved = _moved(start, step, share)
        moved = _tuned(moved, kept, losses, _ranked(losses(kept), start, step), generator)
        tensors = {name: value.detach().numpy().astype(np.float32) for name, value in zip(names, moved, strict=True)}
        final = [tensor64(tensors[name]) for name in names]
        told = (float(of_gone(start).mean()), float(of_gone(final).mean()))
        stays = (before, float(of_sample(final).mean()))
    said = {
        **machine_said("approximate", parted),
        "rows": f"{len(parted.gone)} forgotten, {len(parted.kept)} left",
        "guarantee": "none: influence and fine-tuning only make the rows count for less; what they left may be found",
        "mean loss of the rows that stay": f"{stays[0]:.4f} before, {stays[1]:.4f} after",
    }  # nothing that is computed from the forgotten rows: the manifest goes wherever the reward goes
    return Approximate(artifact.child(Edit("unlearn", "", said), tensors=tensors), told, stays)


def _losses(artifact: Artifact, data: Data, names: list[str], fixed: dict[str, Tensor]) -> Losses:
    """The loss of each row, as a function of the trainable tensors."""
    if isinstance(data, Comparisons):
        answers = answers_of(data, tensor64(data.segments))
        noise = noise_of(answers, 0.02, 0)
        shape = data.segments.shape[:3]
        rows = answers.z.reshape(-1, data.record.type.width)

        def of_answers(parameters: list[Tensor]) -> Tensor:
            rewards = evaluate(artifact.graph, {**fixed, **dict(zip(names, parameters, strict=True))}, rows)
            return each(rewards.reshape(shape).sum(dim=2), answers, noise)

        return of_answers
    if isinstance(data, Judgements) and artifact.identified == "exact":
        points, labels = tensor64(data.rows), tensor64(data.labels)
        spread = max(float(labels.std(unbiased=False)), 1e-12)

        def of_labels(parameters: list[Tensor]) -> Tensor:
            rewards = evaluate(artifact.graph, {**fixed, **dict(zip(names, parameters, strict=True))}, points)
            return ((rewards - labels) / spread) ** 2

        return of_labels
    raise EditError(
        "E23",
        "rows of this kind cannot be forgotten approximately: it is for preferences, rankings and scalar labels",
        help="learn in shards ([learner.shards]), to forget exactly",
    )


def _influence(start: list[Tensor], of_gone: Losses, of_sample: Losses, ratio: float) -> list[Tensor]:
    """(H + damping)⁻¹·ratio·∇(mean loss of the forgotten rows), by conjugate gradients."""
    at = [p.clone().requires_grad_() for p in start]
    target = [ratio * part for part in torch.autograd.grad(of_gone(at).mean(), at)]
    slopes = torch.autograd.grad(of_sample(at).mean(), at, create_graph=True)

    def curvature(v: list[Tensor]) -> list[Tensor]:
        found = torch.autograd.grad(slopes, at, grad_outputs=v, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(p) if part is None else part for p, part in zip(at, found, strict=True)]

    size = float(_dot(target, target))
    if size == 0.0:
        return [torch.zeros_like(p) for p in start]
    damping = max(DAMPING * abs(float(_dot(target, curvature(target)))) / size, 1e-6)
    x = [torch.zeros_like(p) for p in start]
    residual = [part.clone() for part in target]
    direction, left = [part.clone() for part in residual], size
    for _ in range(CONJUGATE_STEPS):
        pushed = [h + damping * d for h, d in zip(curvature(direction), direction, strict=True)]
        bend = float(_dot(direction, pushed))
        if bend <= 0.0:  # beyond this the quadratic model is none
            break
        length = left / bend
        x = _moved(x, direction, length)
        residual = _moved(residual, pushed, -length)
        new = float(_dot(residual, residual))
        if new <= 1e-10 * size:
            break
        direction, left = _moved(residual, direction, new / left), new
    return x


def _ranked(of_kept: Losses, start: list[Tensor], step: list[Tensor]) -> Tensor:
    """The rows that stay, those first whose loss changes fastest along the step."""
    size = float(_dot(step, step)) ** 0.5
    if size == 0.0:
        return torch.empty(0, dtype=torch.int64)
    nudge = 1e-4 / size
    with torch.no_grad():
        change = (of_kept(_moved(start, step, nudge)) - of_kept(_moved(start, step, -nudge))).abs()
    return change.argsort(descending=True, stable=True)[: max(1, round(TUNED * len(change)))]


def _tuned(
    moved: list[Tensor], kept: Data, losses: Callable[[Data], Losses], chosen: Tensor, generator: torch.Generator
) -> list[Tensor]:
    if not len(chosen):
        return moved
    parameters = [p.clone().requires_grad_() for p in moved]
    optimiser = torch.optim.Adam(parameters, lr=PACE)
    for _ in range(PASSES):
        order = chosen[torch.randperm(len(chosen), generator=generator)]
        for begin in range(0, len(order), BATCH):
            found = losses(taken(kept, order[begin : begin + BATCH].numpy()))(parameters).mean()
            optimiser.zero_grad()
            found.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return [p.detach() for p in parameters]


def _spread(data: Data, most: int) -> NDArray[np.int64]:
    """At most so many rows, chosen by their content."""
    order = np.argsort(np.array([int.from_bytes(c[:7], "big") for c in contents(data)], np.int64), kind="stable")
    return np.sort(order[:most])


def _moved(at: list[Tensor], step: list[Tensor], share: float) -> list[Tensor]:
    return [p + share * s for p, s in zip(at, step, strict=True)]


def _dot(a: list[Tensor], b: list[Tensor]) -> Tensor:
    return torch.stack([(x * y).sum() for x, y in zip(a, b, strict=True)]).sum()
