"""ReLU networks as learners train them: initialised, held monotone where asked, pruned, rounded, written as a graph.

**Monotone by construction** (after Runje & Shankaranarayana, ICML 2023, with ReLU alone). Every hidden unit is convex
(+relu(w·x + b)), concave (−relu(−w·x − b)) or free. A convex or concave unit rises with everything of a direction that
it reads, and reads free units as it likes; a free unit reads nothing that has a direction. Signs are folded into the
weights, so that the network stays affine maps and ReLUs: weight W[i, j] between a unit of sign s_i and one of sign s_j
has the sign s_i·s_j or is 0. Sums and compositions of convex and concave units are neither, so the reward is not
merely convex. Steps of the optimiser are projected back onto these signs; pruning and rounding keep them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from rewarden.reward.assembly import Assembled, Assembly
from rewarden.reward.learners.descent import Group
from rewarden.reward.learners.options import Directions
from rewarden.reward.normaliser import Normaliser
from rewarden.reward.training import dyadic, tensor64
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.features import RecordType

FREE = 0.0
CENTRE = 256  # rows by which a reward that is identified up to a shift is centred while it is trained


@dataclass(frozen=True, slots=True)
class Network:
    """Weights [out, in] and biases [out]; ReLU between layers."""

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    def __call__(self, z: Tensor) -> Tensor:
        """Rewards [...] of normalised rows [..., width]."""
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            z = torch.relu(torch.nn.functional.linear(z, weight, bias))
        return torch.nn.functional.linear(z, self.weights[-1], self.biases[-1]).squeeze(-1)

    def path_norm(self) -> Tensor:
        """Σ over paths of the product of |weights|: at least the L1 norm of the gradient, everywhere."""
        paths = self.weights[0].abs().sum(dim=1)
        for weight in self.weights[1:]:
            paths = weight.abs() @ paths
        return paths.sum()

    def to(self, dtype: torch.dtype) -> Network:
        """A copy to train, or not, in another precision."""
        trained = self.weights[0].requires_grad
        copies = [
            [t.detach().to(dtype).clone().requires_grad_(trained) for t in ts] for ts in (self.weights, self.biases)
        ]
        return Network(tuple(copies[0]), tuple(copies[1]))

    def groups(self, decay: float) -> tuple[Group, ...]:
        return Group(self.weights, decay), Group(self.biases, 0.0)


@dataclass(frozen=True, slots=True)
class Signs:
    """The least and the greatest value of each weight: 0, an infinity, or both 0 for a connection that may not be."""

    bounds: tuple[tuple[Tensor, Tensor], ...]

    def project(self, network: Network) -> None:
        with torch.no_grad():
            for weight, (least, greatest) in zip(network.weights, self.bounds, strict=True):
                torch.clamp(weight, least.to(weight.dtype), greatest.to(weight.dtype), out=weight)


def column_signs(directions: Directions, record_type: RecordType) -> Tensor:
    """+1, −1 or 0 (no direction) per encoded column. Raises UsageError G12 for features that have no order."""
    signs = torch.zeros(record_type.width, dtype=torch.float64)
    names = [feature.name for feature in record_type.features]
    for name, way in directions:
        if name not in names:
            raise UsageError("G12", f"monotone: there is no feature {name!r}", help=f"there are: {', '.join(names)}")
        feature = record_type.feature(name)
        if feature.kind == "enum":
            raise UsageError("G12", f"monotone: the cases of {name} have no order", help="name numbers or bools")
        start = record_type.offset(name)
        signs[start : start + feature.width] = 1.0 if way == "up" else -1.0
    return signs


def monotone_signs(columns: Tensor, hidden: int, layers: int) -> Signs | None:
    """The signs of a network with `layers` hidden layers; None where no column has a direction."""
    if not bool(columns.any()):
        return None
    kinds = [1.0, -1.0] if bool((columns != FREE).all()) else [1.0, -1.0, FREE]
    unit = torch.tensor([kinds[k % len(kinds)] for k in range(hidden)], dtype=torch.float64)
    levels = [columns, *[unit] * layers, torch.ones(1, dtype=torch.float64)]
    return Signs(tuple(_between(into, out) for into, out in pairwise(levels)))


def _between(into: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    sign = out.unsqueeze(1) * into.unsqueeze(0)
    infinity = torch.full_like(sign, float("inf"))
    forbidden = (out == FREE).unsqueeze(1) & (into != FREE).unsqueeze(0)
    least = torch.where((sign > 0) | forbidden, 0.0, -infinity)
    greatest = torch.where((sign < 0) | forbidden, 0.0, infinity)
    return least, greatest


def initial(width: int, hidden: int, layers: int, generator: torch.Generator, signs: Signs | None = None) -> Network:
    """Gaussian weights; where signs are given, reflected to the side that is allowed."""
    weights: list[Tensor] = []
    biases: list[Tensor] = []
    for into, out in pairwise([width, *[hidden] * layers, 1]):
        noise = torch.randn((out, into), generator=generator, dtype=torch.float64) * (1.0 / into) ** 0.5
        if signs is not None:
            least, greatest = signs.bounds[len(weights)]
            noise = torch.where((noise < least) | (noise > greatest), -noise, noise).clamp(least, greatest)
        weights.append(noise.requires_grad_())
        biases.append(torch.zeros(out, dtype=torch.float64).requires_grad_())
    return Network(tuple(weights), tuple(biases))


def pruned(network: Network, z: Tensor, share: float) -> Network:
    """The network without units that carry less than `share` of the path norm, last hidden layer first.

    Each is replaced by its value at the mean of the rows z [..., width]. On recorded driving 27 of 32 units go.
    """
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
    return Network(tuple(weights), tuple(biases))


def rounded(network: Network) -> Network:
    """Weights and biases with short mantissas."""
    return Network(*(tuple(tensor64(dyadic(t)) for t in ts) for ts in (network.weights, network.biases)))


def centred(network: Network, z: Tensor) -> Network:
    """Rounded, and shifted such that the rows z [..., width] have mean 0."""
    exact = rounded(network)
    mean = exact(z).mean()
    last = tensor64(dyadic(network.biases[-1] - mean))
    return Network(exact.weights, (*exact.biases[:-1], last))


def written(network: Network, build: Assembly, node: int) -> int:
    """The network on top of a node of normalised columns."""
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        node = build.relu(node) if layer else node
        node = build.affine(node, weight.detach().numpy().astype(np.float32), bias.detach().numpy().astype(np.float32))
    return node


def graph(network: Network, normaliser: Normaliser) -> Assembled:
    build = Assembly(len(normaliser.scale))
    return build.finish(written(network, build, build.scale(build.INPUT, normaliser.scale, normaliser.shift)))


def in_units(network: Network, normaliser: Normaliser, z: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """The network as a function of encoded rows in problem units, in the caller's precision: what a penalty asks.

    With z [..., width], the reward is shifted such that (a sample of) these rows have mean 0, as it will be saved: else
    a rule about the reward's height would be met by a shift, which is then undone.
    """
    scale, shift = tensor64(normaliser.scale), tensor64(normaliser.shift)
    precision = network.weights[0].dtype
    about = None if z is None else z.reshape(-1, z.shape[-1])[:: max(1, z[..., 0].numel() // CENTRE)]

    def reward(rows: Tensor) -> Tensor:
        found = network((rows.to(torch.float64) * scale + shift).to(precision))
        return (found if about is None else found - network(about).mean()).to(rows.dtype)

    return reward


def units_text(network: Network) -> str:
    return ", ".join(str(len(bias)) for bias in network.biases[:-1])
