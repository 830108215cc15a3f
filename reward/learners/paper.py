"""The mixture of autoencoders as Malomgré & Simoens have it (arXiv 2602.14844), to compare with `autoencoders`.

    error(s)  = Σ_k gate_k(z) · mean square of (z − AE_k(z)),   gate = softmax(G z + g),   z the normalised s
    reward(s) = clip( exp(−steepness · (error(s) − l_min) / (l_max − l_min)), 0, 1 )

l_min is the least training error, l_max a quantile. Autoencoders, gate and reward are trained and calibrated as there;
they are smooth, so that the verifier bounds them by lines around curves, which is slower and looser than a piecewise
linear reward. The graph has no division: softmax_k = e^(l_k − L), L the log of the sum, which is a chain of softplus.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rewarden.reward.artifact import Artifact, Learner
from rewarden.reward.assembly import Assembled, Assembly
from rewarden.reward.figures import auc
from rewarden.reward.graph import Exp, Softplus, Square
from rewarden.reward.learners.autoencoders import Layers, initial_layers
from rewarden.reward.learners.descent import Group
from rewarden.reward.learners.energy import require_whole
from rewarden.reward.learners.interface import Demonstrations, Rules, Run
from rewarden.reward.learners.loop import Function, Schedule, Trained, identity_of, train
from rewarden.reward.learners.options import PaperOptions, options_text
from rewarden.reward.learners.sampling import Mixed
from rewarden.reward.learners.source import Source, dealt
from rewarden.reward.normaliser import Normaliser, fit_normaliser
from rewarden.reward.training import deterministic, dyadic, quantile, tensor64


class Paper:
    """The learner `paper`."""

    name = "paper"

    def fit(self, data: Demonstrations, options: PaperOptions, run: Run = Run()) -> Artifact:  # noqa: B008 (frozen)
        """Learn from encoded rows [row, width]. Raises DataError D20, D05; ArtifactError A18, A24."""
        identity = identity_of(self.name, options, data, run)
        with deterministic(run.seed) as generator:
            found = dealt(run, data, (options.validation, options.held_out), generator, require_whole)
            data, (kept, validated, tested) = found.data, found.parts
            normaliser = fit_normaliser(data.rows[kept.numpy()], data.record.type)
            z = tensor64(normaliser(data.rows))
            mixture = _Mixture.begin(z.shape[1], options, generator)
            source = found.source(z[kept], lambda some: tensor64(normaliser(some.rows)))
            model = _Model(mixture, source, z[kept], z[validated], options, normaliser, data)
            trained = train(model, Schedule.of(self.name, options), run, generator, identity)
            with torch.no_grad():
                final, ramp = model.final()
                record = _record(final, ramp, model, z[tested], found.counts, trained, generator) | found.notes
        if isinstance(run.penalty, Rules):
            record |= run.penalty.record()
        return _artifact(final, ramp, model, Learner(self.name, options_text(options), run.seed, record))


@dataclass(frozen=True, slots=True)
class _Mixture:
    layers: Layers
    gate: Tensor  # [expert, width]
    offset: Tensor  # [expert]

    @classmethod
    def begin(cls, width: int, options: PaperOptions, generator: torch.Generator) -> _Mixture:
        layers = initial_layers(width, options, generator)
        noise = torch.randn((options.experts, width), generator=generator, dtype=torch.float64)
        offset = torch.zeros(options.experts, dtype=torch.float64)
        return cls(layers, noise.requires_grad_(), offset.requires_grad_())

    def parameters(self) -> list[Tensor]:
        return [*self.layers.parameters(), self.gate, self.offset]

    def errors(self, z: Tensor) -> Tensor:
        """[row]."""
        each = ((z - self.layers.rebuild(self.layers.code(z))) ** 2).mean(dim=-1).transpose(0, 1)
        return (torch.softmax(z @ self.gate.T + self.offset, dim=1) * each).sum(dim=1)

    def rounded(self) -> _Mixture:
        layers = Layers(*(tuple(_round(t) for t in ts) for ts in (self.layers.weights, self.layers.biases)))
        return _Mixture(layers, _round(self.gate), _round(self.offset))


@dataclass(frozen=True, slots=True)
class _Ramp:
    """reward = clip(exp(offset − slope · error), 0, 1)."""

    slope: float
    offset: float

    def __call__(self, errors: Tensor) -> Tensor:
        return torch.exp(self.offset - self.slope * errors).clamp(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class _Model:
    mixture: _Mixture
    source: Source[Tensor]
    z: Tensor  # of what is trained on, or of a sample of it
    held: Tensor
    options: PaperOptions
    normaliser: Normaliser
    data: Demonstrations

    @property
    def groups(self) -> tuple[Group, ...]:
        return (Group(self.mixture.parameters(), self.options.weight_decay),)

    def loss(self, batch: Tensor, epoch: int) -> Tensor:
        return self.mixture.errors(batch).mean()

    def validation(self) -> float:
        return float(self.mixture.errors(self.held).mean())

    def project(self) -> None:
        """Nothing to hold."""

    def reward(self, epoch: int) -> Function:
        """Not clipped, as for `autoencoders`."""
        with torch.no_grad():
            ramp = _calibrated(self.mixture.errors(self.z), self.options)
        scale, shift = tensor64(self.normaliser.scale), tensor64(self.normaliser.shift)

        def reward(rows: Tensor) -> Tensor:
            errors = self.mixture.errors(rows.to(torch.float64) * scale + shift)
            return torch.exp(ramp.offset - ramp.slope * errors).to(rows.dtype)

        return reward

    def final(self) -> tuple[_Mixture, _Ramp]:
        mixture = self.mixture.rounded()
        return mixture, _calibrated(mixture.errors(self.z), self.options)

    def snapshot(self) -> Artifact:
        with torch.no_grad():
            return _artifact(*self.final(), self, None)


def _round(values: Tensor) -> Tensor:
    return tensor64(dyadic(values))


def _calibrated(errors: Tensor, options: PaperOptions) -> _Ramp:
    least, most = quantile(errors, 0.0), quantile(errors, options.zero_quantile)
    slope = float(dyadic(options.steepness / max(most - least, 1e-6)))
    return _Ramp(slope, float(dyadic(least * slope)))


# ── what came of it ────────────────────────────────────────────────────────────────────────────
def _artifact(mixture: _Mixture, ramp: _Ramp, model: _Model, learner: Learner | None) -> Artifact:
    assembled, data = _graph(mixture, ramp, model.normaliser), model.data
    return Artifact((data.record,), assembled.graph, assembled.tensors, "exact", learner=learner, data=data.sources)


def _graph(mixture: _Mixture, ramp: _Ramp, normaliser: Normaliser) -> Assembled:
    width, count = len(normaliser.scale), len(mixture.offset)
    build = Assembly(width)
    z = build.scale(build.INPUT, normaliser.scale, normaliser.shift)
    errors = []
    for k in range(count):
        node = z
        for layer, (weight, bias) in enumerate(zip(mixture.layers.weights, mixture.layers.biases, strict=True)):
            node = build.affine(build.relu(node) if layer in (1, 3) else node, dyadic(weight[k]), dyadic(bias[k]))
        square = build.smooth(Square, build.sub(z, node))
        mean = np.full((1, width), 1 / width, np.float32)
        errors.append(build.affine(square, mean, np.zeros(1, np.float32)))
    logits = build.affine(z, dyadic(mixture.gate), dyadic(mixture.offset))
    log = build.columns(logits, 0, 1)
    for k in range(1, count):
        log = build.add(log, build.smooth(Softplus, build.sub(build.columns(logits, k, k + 1), log)))
    every = build.affine(log, np.ones((count, 1), np.float32), np.zeros(count, np.float32))
    gate = build.smooth(Exp, build.sub(logits, every))
    error = build.total(build.product(gate, build.concat(errors)))
    exponent = build.affine(error, np.array([[-ramp.slope]], np.float32), np.array([ramp.offset], np.float32))
    return build.finish(build.clip(build.smooth(Exp, exponent), 0.0, 1.0))


def _record(
    mixture: _Mixture,
    ramp: _Ramp,
    model: _Model,
    z: Tensor,
    counts: tuple[int, ...],
    trained: Trained,
    generator: torch.Generator,
) -> dict[str, str]:
    kept, validated, held = counts
    made = Mixed.of(z, model.data.record.type).draw(len(z), generator)
    real, fake = (ramp(mixture.errors(rows)) for rows in (z, made))
    return {
        "epochs": str(trained.epochs),
        "rows": f"{kept} training, {validated} validation, {held} held out",
        "mean error, training": f"{float(mixture.errors(model.z).mean()):.4f}",
        "mean error, held out": f"{float(mixture.errors(z).mean()):.4f}",
        "mean reward, held out": f"{float(real.mean()):.4f}",
        "AUC, held out against features shuffled": f"{auc(real.numpy(), fake.numpy()):.4f}",
    }
