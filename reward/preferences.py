"""A reward from preferences between recorded segments: Bradley-Terry with a ReLU network.

With Δ the sum of rewards over the preferred segment minus that over the other, the answer has probability

    (1 − 2ε)·σ(Δ) + ε                       ε = `label_noise`: slips of the hand, whatever the difference

(Bradley & Terry 1952; segments after Christiano et al. 2017; ε bounds what one wrong answer can cost). Only differences
enter, so the reward is identified up to a shift; it is shifted such that recorded steps have mean 0.

Three things keep it provable. The path norm Σ|W₃||W₂||W₁| bounds the slope in every direction and is penalised
(`smoothness`): a reward without needless slopes has tight bounds. The penalty, an L1 norm along paths, leaves most
units with next to nothing to say; those are replaced by their mean (`prune`: on recorded driving, 27 of 32 units of the
second layer). And weights have short mantissas (`training.dyadic`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from rewarden.reward.artifact import Artifact, Learner
from rewarden.reward.assembly import Assembled, Assembly
from rewarden.reward.figures import share_text
from rewarden.reward.learner import Comparisons, Penalty, PreferenceOptions, Progress, options_text, silent
from rewarden.reward.normaliser import Normaliser, fit_normaliser
from rewarden.reward.training import batches, deterministic, dyadic, settle, split, tensor64
from rewarden.spec_lang.errors import ArtifactError, DataError

FEWEST_PAIRS = 20


@dataclass(frozen=True, slots=True)
class _Network:
    """Weights [out, in] and biases [out]; ReLU between layers."""

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    def __call__(self, z: Tensor) -> Tensor:
        """Rewards [...] of normalised rows [..., width]."""
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            z = torch.relu(z @ weight.T + bias)
        return (z @ self.weights[-1].T + self.biases[-1]).squeeze(-1)

    def path_norm(self) -> Tensor:
        """Σ over paths of the product of |weights|: at least the L1 norm of the gradient, everywhere."""
        paths = self.weights[0].abs()
        for weight in self.weights[1:]:
            paths = weight.abs() @ paths
        return paths.sum()

    def copy(self) -> _Network:
        return _Network(*(tuple(t.detach().clone() for t in ts) for ts in (self.weights, self.biases)))


class Preferences:
    """The learner `preferences`."""

    name = "preferences"

    def fit(
        self,
        data: Comparisons,
        options: PreferenceOptions,
        *,
        seed: int,
        progress: Progress = silent,
        penalty: Penalty | None = None,
    ) -> Artifact:
        """Learn from segments [pair, 2, step, width], the preferred one first. Raises DataError (D20) on too few,
        ArtifactError (A18) where training diverges."""
        pairs = len(data.segments)
        if pairs < FEWEST_PAIRS:
            raise DataError(
                "D20",
                f"{pairs} compared pairs are too few to learn from",
                help=f"give at least {FEWEST_PAIRS} pairs; a few thousand make a useful reward",
            )
        with deterministic(seed) as generator:
            kept, validated, tested = split(pairs, (options.validation, options.held_out), generator)
            rows = data.segments[kept.numpy()].reshape(-1, data.record.type.width)
            normaliser = fit_normaliser(rows, data.record.type)
            z = tensor64(normaliser(data.segments))
            run = _Run(z[kept], z[validated], options, normaliser, generator, progress, penalty)
            network, epochs, loss = run.train()
            with torch.no_grad():
                network = _rounded(_pruned(network, z[kept], options.prune), z[kept])
                right = int((_margins(network, z[tested]) > 0).sum())
                right_seen = int((_margins(network, z[kept]) > 0).sum())
                slope = float(network.path_norm())
        record = {
            "epochs": str(epochs),
            "pairs": f"{len(kept)} training, {len(validated)} validation, {len(tested)} held out",
            "validation loss": f"{loss:.4f}",
            "accuracy, training": share_text(right_seen, len(kept)),
            "accuracy, held out": share_text(right, len(tested)),
            "path norm": f"{slope:.3f}",
            "hidden units": ", ".join(str(len(bias)) for bias in network.biases[:-1]),
        }
        assembled = _graph(network, normaliser)
        return Artifact(
            records=(data.record,),
            graph=assembled.graph,
            tensors=assembled.tensors,
            identified="shift",
            learner=Learner(self.name, options_text(options), seed, record),
            data=data.sources,
        )


@dataclass(frozen=True, slots=True)
class _Run:
    z: Tensor  # [pair, 2, step, width], normalised
    validation: Tensor
    options: PreferenceOptions
    normaliser: Normaliser
    generator: torch.Generator
    progress: Progress
    penalty: Penalty | None

    def train(self) -> tuple[_Network, int, float]:
        """The network at its best validation loss, the number of epochs run, and that loss."""
        o = self.options
        network = _initial(self.z.shape[-1], o, self.generator)
        groups = [
            {"params": list(network.weights), "weight_decay": o.weight_decay},
            {"params": list(network.biases), "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW(groups, lr=o.learning_rate)
        reward = self._reward(network)
        best, best_loss, best_epoch, epoch = network.copy(), float("inf"), 0, 0
        for epoch in range(1, o.epochs + 1):
            for group in optimiser.param_groups:
                group["lr"] = o.learning_rate * (1.0 - (epoch - 1) / o.epochs)
            for pairs in batches(torch.arange(len(self.z)), o.batch, self.generator):
                loss = _loss(network, self.z[pairs], o.label_noise) + o.smoothness * network.path_norm()
                if self.penalty is not None:
                    loss = loss + o.penalty_weight * self.penalty(reward, self.generator)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            settle(optimiser)
            with torch.no_grad():
                validation = float(_loss(network, self.validation, o.label_noise))
            self.progress("preferences", epoch, o.epochs, f"validation loss {validation:.4f}")
            if validation < best_loss:
                best, best_loss, best_epoch = network.copy(), validation, epoch
            elif epoch - best_epoch >= o.patience:
                break
        if best_epoch == 0:
            raise ArtifactError(
                "A18", "the training has diverged: no epoch had a finite loss", help="lower learning_rate"
            )
        return best, epoch, best_loss

    def _reward(self, network: _Network) -> Callable[[Tensor], Tensor]:
        """The reward as it stands, on rows in problem units, for a penalty."""
        scale, shift = tensor64(self.normaliser.scale), tensor64(self.normaliser.shift)

        def reward(rows: Tensor) -> Tensor:
            return network(rows.to(torch.float64) * scale + shift).to(rows.dtype)

        return reward


def _initial(width: int, options: PreferenceOptions, generator: torch.Generator) -> _Network:
    sizes = [width, *[options.hidden] * options.layers, 1]
    weights, biases = [], []
    for into, out in pairwise(sizes):
        noise = torch.randn((out, into), generator=generator, dtype=torch.float64)
        weights.append((noise * (1.0 / into) ** 0.5).requires_grad_())
        biases.append(torch.zeros(out, dtype=torch.float64).requires_grad_())
    return _Network(tuple(weights), tuple(biases))


def _margins(network: _Network, z: Tensor) -> Tensor:
    """Sum of rewards over the preferred segment minus that over the other [pair]."""
    sums = network(z).sum(dim=2)
    return sums[:, 0] - sums[:, 1]


def _loss(network: _Network, z: Tensor, label_noise: float) -> Tensor:
    margins = _margins(network, z)
    if label_noise == 0.0:
        return torch.nn.functional.softplus(-margins).mean()  # −log σ, without its overflow
    return -torch.log((1.0 - 2.0 * label_noise) * torch.sigmoid(margins) + label_noise).mean()


def _pruned(network: _Network, z: Tensor, share: float) -> _Network:
    """The network without units that carry less than `share` of the path norm, last hidden layer first."""
    weights, biases = list(network.weights), list(network.biases)
    for layer in reversed(range(len(weights) - 1)):
        into = torch.ones(weights[0].shape[1], dtype=torch.float64)
        for weight in weights[: layer + 1]:
            into = weight.abs() @ into
        out = torch.ones(1, dtype=torch.float64)
        for weight in reversed(weights[layer + 1 :]):
            out = out @ weight.abs()
        carried = into * out
        kept = carried >= share * carried.sum()
        if not bool(kept.any()):
            continue
        mean = z.reshape(-1, z.shape[-1])
        for weight, bias in zip(weights[: layer + 1], biases[: layer + 1], strict=True):
            mean = torch.relu(mean @ weight.T + bias)
        mean = mean.mean(dim=0)
        biases[layer + 1] = biases[layer + 1] + weights[layer + 1][:, ~kept] @ mean[~kept]
        weights[layer + 1] = weights[layer + 1][:, kept]
        weights[layer], biases[layer] = weights[layer][kept], biases[layer][kept]
    return _Network(tuple(weights), tuple(biases))


def _rounded(network: _Network, z: Tensor) -> _Network:
    """Weights with short mantissas, shifted so that recorded steps have mean 0."""
    weights = tuple(tensor64(dyadic(t)) for t in network.weights)
    biases = tuple(tensor64(dyadic(t)) for t in network.biases)
    mean = _Network(weights, biases)(z).mean()
    return _Network(weights, (*biases[:-1], tensor64(dyadic(biases[-1] - mean))))


def _graph(network: _Network, normaliser: Normaliser) -> Assembled:
    build = Assembly(len(normaliser.scale))
    node = build.scale(build.INPUT, normaliser.scale, normaliser.shift)
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        node = build.relu(node) if layer else node
        node = build.affine(node, weight.numpy().astype(np.float32), bias.numpy().astype(np.float32))
    return build.finish(node)
