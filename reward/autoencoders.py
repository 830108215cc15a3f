"""A reward from demonstrations alone: the verifiable mixture of autoencoders.

Each expert is a small ReLU autoencoder that reconstructs the demonstrations it is responsible for. A situation is worth
as much as the best expert can reconstruct it:

    error(s)  = min over experts k of ‖z − decode_k(clip(encode_k(z), −1, 1))‖      z the normalised s, L1 or L∞
    reward(s) = clip((hi − error(s)) / (hi − lo), 0, 1)                             lo, hi quantiles of training errors

After Malomgré & Simoens (arXiv 2602.14844), whose reward is exp of a mean squared error under soft routing. Every
change keeps the order of situations similar and makes the whole piecewise linear, hence provable: an absolute error in
place of a squared one, hard routing as a minimum, a ramp in place of exp (both fall with the error).

The clip of the code is ours. An autoencoder extrapolates along its own manifold, and would pay for situations far from
all demonstrations that happen to lie on it; with codes held to where the demonstrations' were, the reconstructions
fill a bounded set, so that far situations have large errors, and provably so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.reward.artifact import Artifact, Learner
from rewarden.reward.assembly import Assembled, Assembly
from rewarden.reward.figures import auc
from rewarden.reward.learner import AutoencoderOptions, Demonstrations, Penalty, Progress, options_text, silent
from rewarden.reward.normaliser import Normaliser, fit_normaliser
from rewarden.reward.training import batches, deterministic, dyadic, quantile, settle, split, tensor64
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.features import RecordType

FEWEST_ROWS = 20
CODE_ROOM = 1.05  # how far beyond the demonstrations' codes the clip lets a code go
LLOYD_ROUNDS = 25
Array32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Layers:
    """All experts at once. Weights [expert, out, in], biases [expert, out]: encode, code, decode, rebuild."""

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    def code(self, z: Tensor) -> Tensor:
        """Codes [expert, row, code] of normalised rows [row, width]."""
        return _affine(torch.relu(_affine(z, self, 0)), self, 1)

    def rebuild(self, code: Tensor) -> Tensor:
        return _affine(torch.relu(_affine(code, self, 2)), self, 3)

    def parameters(self) -> list[Tensor]:
        return [*self.weights, *self.biases]


@dataclass(frozen=True, slots=True)
class _Expert:
    """One expert as it is exported, codes normalised to −1 … 1."""

    weights: tuple[Array32, ...]
    biases: tuple[Array32, ...]


@dataclass(frozen=True, slots=True)
class _Ramp:
    """score = clip(offset − slope·error, 0, 1)."""

    slope: float
    offset: float


class Autoencoders:
    """The learner `autoencoders`."""

    name = "autoencoders"

    def fit(
        self,
        data: Demonstrations,
        options: AutoencoderOptions,
        *,
        seed: int,
        progress: Progress = silent,
        penalty: Penalty | None = None,
    ) -> Artifact:
        """Learn from encoded rows [row, width]. Raises DataError (D20) on fewer than 20 rows."""
        if len(data.rows) < FEWEST_ROWS:
            raise DataError(
                "D20",
                f"{len(data.rows)} demonstrations are too few to learn from",
                help=f"give at least {FEWEST_ROWS} rows; a few thousand make a useful reward",
            )
        with deterministic(seed) as generator:
            kept, tested = split(len(data.rows), (options.held_out,), generator)
            normaliser = fit_normaliser(data.rows[kept.numpy()], data.record.type)
            z = tensor64(normaliser(data.rows))
            run = _Run(z[kept], options, normaliser, generator, progress, penalty)
            layers = run.train()
            with torch.no_grad():
                experts = _export(layers, z[kept], options)
                errors = _exported_errors(experts, z, options.error)
                ramp = _calibrate(errors[kept], options)
                shuffled = _shuffled(z[tested], data.record.type, generator)
                fake = _score(_exported_errors(experts, shuffled, options.error), ramp)
                real = _score(errors[tested], ramp)
        record = {
            "epochs": str(options.epochs),
            "experts": str(len(experts)),
            "training rows": str(len(kept)),
            "held-out rows": str(len(tested)),
            "mean error, training": f"{float(errors[kept].mean()):.4f}",
            "mean error, held out": f"{float(errors[tested].mean()):.4f}",
            "mean reward, held out": f"{float(real.mean()):.4f}",
            "AUC, held out against features shuffled": f"{auc(real.numpy(), fake.numpy()):.4f}",
        }
        assembled = _graph(experts, normaliser, ramp, options.error)
        return Artifact(
            records=(data.record,),
            graph=assembled.graph,
            tensors=assembled.tensors,
            identified="exact",
            learner=Learner(self.name, options_text(options), seed, record),
            data=data.sources,
        )


# ── training ───────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class _Run:
    z: Tensor
    options: AutoencoderOptions
    normaliser: Normaliser
    generator: torch.Generator
    progress: Progress
    penalty: Penalty | None

    def train(self) -> _Layers:
        """Hard EM: first every expert on its k-means cell, then on the rows that it reconstructs best."""
        o = self.options
        layers = _initial(self.z.shape[1], o, self.generator)
        cells = _kmeans(self.z, o.experts, self.generator)
        optimiser = torch.optim.AdamW(layers.parameters(), lr=o.learning_rate, weight_decay=o.weight_decay)
        for epoch in range(o.epochs):
            for group in optimiser.param_groups:
                group["lr"] = o.learning_rate * (1.0 - epoch / o.epochs)
            reward = self._reward(layers) if self.penalty is not None and epoch >= o.warm_up else None
            total = 0.0
            for rows in batches(torch.arange(len(self.z)), o.batch, self.generator):
                errors = _errors(layers, self.z[rows], o.error)
                if epoch < o.warm_up:
                    loss = errors.gather(1, cells[rows].unsqueeze(1)).mean()
                else:
                    loss = errors.min(dim=1).values.mean()
                total += float(loss.detach()) * len(rows)
                if reward is not None and self.penalty is not None:
                    loss = loss + o.penalty_weight * self.penalty(reward, self.generator)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            settle(optimiser)
            self.progress("autoencoders", epoch + 1, o.epochs, f"error {total / len(self.z):.3f}")
        return layers

    def _reward(self, layers: _Layers) -> Callable[[Tensor], Tensor]:
        """The reward as it stands, for a penalty: this epoch's ramp, not clipped.

        The clip would kill the gradient where the reward is 1, and that is where a rule is violated most; below a
        threshold under 1, and above one over 0, the clipped and the unclipped ramp agree.
        """
        with torch.no_grad():
            ramp = _calibrate(_errors(layers, self.z, self.options.error).min(dim=1).values, self.options)
        scale, shift = tensor64(self.normaliser.scale), tensor64(self.normaliser.shift)

        def reward(rows: Tensor) -> Tensor:
            error = _errors(layers, rows.to(torch.float64) * scale + shift, self.options.error).min(dim=1).values
            return (ramp.offset - ramp.slope * error).to(rows.dtype)

        return reward


def _initial(width: int, options: AutoencoderOptions, generator: torch.Generator) -> _Layers:
    sizes = [
        (options.hidden, width),
        (options.code, options.hidden),
        (options.hidden, options.code),
        (width, options.hidden),
    ]
    weights, biases = [], []
    for out, into in sizes:
        noise = torch.randn((options.experts, out, into), generator=generator, dtype=torch.float64)
        weights.append((noise * (2.0 / into) ** 0.5).requires_grad_())
        biases.append(torch.zeros((options.experts, out), dtype=torch.float64).requires_grad_())
    return _Layers(tuple(weights), tuple(biases))


def _affine(x: Tensor, layers: _Layers, layer: int) -> Tensor:
    return x @ layers.weights[layer].transpose(1, 2) + layers.biases[layer].unsqueeze(1)


def _errors(layers: _Layers, z: Tensor, kind: str) -> Tensor:
    """Reconstruction errors [row, expert]."""
    return _norm(z - layers.rebuild(layers.code(z)), kind).transpose(0, 1)


def _norm(residual: Tensor, kind: str) -> Tensor:
    return residual.abs().sum(dim=-1) if kind == "l1" else residual.abs().amax(dim=-1)


def _kmeans(z: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Cells [row] of a k-means partition: k-means++ seeds, then Lloyd's rounds."""
    centres = z[torch.randint(len(z), (1,), generator=generator)]
    while len(centres) < count:
        nearest = _squared(z, centres).min(dim=1).values + 1e-12
        centres = torch.cat([centres, z[torch.multinomial(nearest, 1, generator=generator)]])
    for _ in range(LLOYD_ROUNDS):
        cells = _squared(z, centres).argmin(dim=1)
        members = torch.nn.functional.one_hot(cells, count).to(z.dtype)
        sizes = members.sum(dim=0).unsqueeze(1)
        centres = torch.where(sizes > 0, members.T @ z / sizes.clamp(min=1.0), centres)
    return _squared(z, centres).argmin(dim=1)


def _squared(z: Tensor, centres: Tensor) -> Tensor:
    return ((z.unsqueeze(1) - centres.unsqueeze(0)) ** 2).sum(dim=2)


# ── export ─────────────────────────────────────────────────────────────────────────────────────
def _export(layers: _Layers, z: Tensor, options: AutoencoderOptions) -> tuple[_Expert, ...]:
    """The experts that win at least one row, codes normalised to −1 … 1 over those rows, weights rounded."""
    winners = _errors(layers, z, options.error).argmin(dim=1)
    codes = layers.code(z)
    experts = []
    for k in range(options.experts):
        mine = codes[k, winners == k]
        if len(mine) == 0:
            continue
        lo, hi = mine.amin(dim=0), mine.amax(dim=0)
        centre, half = (lo + hi) / 2, (hi - lo) / 2 * CODE_ROOM
        half = torch.where(half > 0, half, torch.ones_like(half))
        w, b = [t[k] for t in layers.weights], [t[k] for t in layers.biases]
        weights = (w[0], w[1] / half.unsqueeze(1), w[2] * half, w[3])
        biases = (b[0], (b[1] - centre) / half, b[2] + w[2] @ centre, b[3])
        experts.append(_Expert(tuple(dyadic(x) for x in weights), tuple(dyadic(x) for x in biases)))
    return tuple(experts)


def _exported_errors(experts: tuple[_Expert, ...], z: Tensor, kind: str) -> Tensor:
    """Errors [row] of the exported experts, least over experts."""
    best = []
    for expert in experts:
        w, b = [tensor64(x) for x in expert.weights], [tensor64(x) for x in expert.biases]
        code = (torch.relu(z @ w[0].T + b[0]) @ w[1].T + b[1]).clamp(-1.0, 1.0)
        best.append(_norm(z - (torch.relu(code @ w[2].T + b[2]) @ w[3].T + b[3]), kind))
    return torch.stack(best).amin(dim=0)


def _calibrate(errors: Tensor, options: AutoencoderOptions) -> _Ramp:
    lo, hi = quantile(errors, options.full_quantile), quantile(errors, options.zero_quantile)
    slope = float(dyadic(1.0 / max(hi - lo, 1e-6)))
    return _Ramp(slope, float(dyadic(hi * slope)))


def _score(errors: Tensor, ramp: _Ramp) -> Tensor:
    return (ramp.offset - ramp.slope * errors).clamp(0.0, 1.0)


def _graph(experts: tuple[_Expert, ...], normaliser: Normaliser, ramp: _Ramp, kind: str) -> Assembled:
    build = Assembly(len(normaliser.scale))
    z = build.scale(build.INPUT, normaliser.scale, normaliser.shift)
    errors = []
    for expert in experts:
        code = build.affine(build.relu(build.affine(z, expert.weights[0], expert.biases[0])), *_at(expert, 1))
        held = build.clip(code, -1.0, 1.0)
        rebuilt = build.affine(build.relu(build.affine(held, *_at(expert, 2))), *_at(expert, 3))
        residual = build.absolute(build.sub(z, rebuilt))
        errors.append(build.total(residual) if kind == "l1" else build.reduce_max(residual))
    least = build.reduce_min(build.concat(errors)) if len(errors) > 1 else errors[0]
    slope, offset = np.array([[-ramp.slope]], np.float32), np.array([ramp.offset], np.float32)
    return build.finish(build.clip(build.affine(least, slope, offset), 0.0, 1.0))


def _at(expert: _Expert, layer: int) -> tuple[Array32, Array32]:
    return expert.weights[layer], expert.biases[layer]


def _shuffled(z: Tensor, record_type: RecordType, generator: torch.Generator) -> Tensor:
    """Rows whose features come from different rows: right one by one, wrong together."""
    parts, start = [], 0
    for feature in record_type.features:
        parts.append(z[torch.randperm(len(z), generator=generator), start : start + feature.width])
        start += feature.width
    return torch.cat(parts, dim=1)
