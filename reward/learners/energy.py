"""A reward from demonstrations by contrast: high where they are, low where made-up records are.

A ReLU network r tells each demonstration x from K made-up records y_k (InfoNCE: van den Oord et al. 2018, after Gutmann
& Hyvärinen 2010):

    loss = −log( e^{r(x)} / (e^{r(x)} + Σ_k e^{r(y_k)}) )

whose optimum is r = log(p / q) + a constant, p the density of the demonstrations and q that of the made-up records:
half of them uniform over the declared domain, half with features that come from different demonstrations. So r is an
energy with its sign turned, identified up to a shift; demonstrations have mean 0. Unlike the mixture of autoencoders it
ranks situations beyond all demonstrations too; but there it extrapolates, as any network does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rewarden.reward.artifact import Artifact, Learner
from rewarden.reward.figures import auc
from rewarden.reward.learners.descent import Group
from rewarden.reward.learners.interface import Array, Demonstrations, Rules, Run
from rewarden.reward.learners.loop import Function, Schedule, Trained, identity_of, train
from rewarden.reward.learners.networks import (
    Network,
    Signs,
    centred,
    column_signs,
    graph,
    in_units,
    initial,
    monotone_signs,
    pruned,
    units_text,
)
from rewarden.reward.learners.options import EnergyOptions, options_text
from rewarden.reward.learners.sampling import Mixed, Uniform
from rewarden.reward.learners.source import Source, dealt
from rewarden.reward.learners.stage import normaliser_of
from rewarden.reward.normaliser import Normaliser
from rewarden.reward.training import deterministic, precise, tensor64
from rewarden.spec_lang.errors import DataError

FEWEST_ROWS = 20


class Energy:
    """The learner `energy`."""

    name = "energy"

    def fit(self, data: Demonstrations, options: EnergyOptions, run: Run = Run()) -> Artifact:  # noqa: B008 (frozen)
        """Learn from encoded rows [row, width]. Raises DataError D20 (too few), D05 (missing values), UsageError G12
        (`monotone`), ArtifactError A18, A24."""
        kind = data.record.type
        signs = monotone_signs(column_signs(options.monotone, kind), options.hidden, options.layers)
        identity = identity_of(self.name, options, data, run)
        with deterministic(run.seed) as generator:
            found = dealt(run, data, (options.validation, options.held_out), generator, require_whole)
            data, (kept, validated, tested) = found.data, found.parts
            normaliser = normaliser_of(run, data.rows[kept.numpy()], kind)
            dtype = precise(options.precision)

            def read(some: Demonstrations) -> Tensor:
                return tensor64(normaliser(some.rows)).to(dtype)

            z = tensor64(normaliser(data.rows))
            training = z[kept].to(dtype)
            contrast = _Contrast.of(training, normaliser, data, options.contrasts, generator)
            network = initial(kind.width, options.hidden, options.layers, generator, signs).to(dtype)
            held = z[validated].to(dtype), contrast.draw(len(validated))
            model = _Model(network, signs, found.source(training, read), training, held, contrast, options)
            trained = train(model, Schedule.of(self.name, options), run, generator, identity)
            with torch.no_grad():
                final = model.final()
                record = _record(final, model, z[tested], found.counts, trained) | found.notes
        if isinstance(run.penalty, Rules):
            record |= run.penalty.record()
        return _artifact(final, contrast, Learner(self.name, options_text(options), run.seed, record))


def require_whole(data: Demonstrations) -> tuple[Array, dict[str, str]]:
    """Enough rows, and no value missing; the rows themselves, and nothing to note. Raises DataError D20, D05."""
    if len(data.rows) < FEWEST_ROWS:
        raise DataError(
            "D20",
            f"too few demonstrations to learn from: {len(data.rows)}",
            help=f"give at least {FEWEST_ROWS} rows; a few thousand make a useful reward",
        )
    broken = np.flatnonzero(~np.isfinite(data.rows).all(axis=1))
    if len(broken):
        raise DataError(
            "D05",
            f"row {broken[0] + 1} of the demonstrations misses a value"
            + (f", and so do {len(broken) - 1} more" if len(broken) > 1 else ""),
            help='fill it in, drop the rows, or learn with "autoencoders", which takes incomplete rows',
        )
    return data.rows, {}


@dataclass(frozen=True, slots=True, eq=False)
class _Contrast:
    """Made-up records, normalised: half of them uniform, half with features of different demonstrations."""

    uniform: Uniform
    mixed: Mixed
    scale: Tensor
    shift: Tensor
    normaliser: Normaliser
    data: Demonstrations
    count: int
    generator: torch.Generator

    @classmethod
    def of(
        cls, z: Tensor, normaliser: Normaliser, data: Demonstrations, count: int, generator: torch.Generator
    ) -> _Contrast:
        """In the precision of the normalised demonstrations z [row, width]."""
        kind = data.record.type
        scale, shift = (tensor64(values).to(z.dtype) for values in (normaliser.scale, normaliser.shift))
        uniform, mixed = Uniform.of(kind, z.dtype), Mixed.of(z, kind)
        return cls(uniform, mixed, scale, shift, normaliser, data, count, generator)

    def draw(self, rows: int) -> Tensor:
        """[contrast, row, width]: half of each row's contrasts are of the one kind, half of the other."""
        wanted = rows * self.count
        half = wanted // 2
        anywhere = torch.addcmul(self.shift, self.uniform.draw(half, self.generator), self.scale)
        made = torch.cat([anywhere, self.mixed.draw(wanted - half, self.generator)])
        return made.reshape(self.count, rows, -1)


@dataclass(frozen=True, slots=True)
class _Model:
    network: Network
    signs: Signs | None
    source: Source[Tensor]
    z: Tensor  # of what is trained on, or of a sample of it
    held: tuple[Tensor, Tensor]
    contrast: _Contrast
    options: EnergyOptions

    @property
    def groups(self) -> tuple[Group, ...]:
        return self.network.groups(self.options.weight_decay)

    def loss(self, batch: Tensor, epoch: int) -> Tensor:
        told = _told(self.network, batch, self.contrast.draw(len(batch)))
        return told + self.options.smoothness * self.network.path_norm()

    def validation(self) -> float:
        return float(_told(self.network, *self.held))

    def project(self) -> None:
        if self.signs is not None:
            self.signs.project(self.network)

    def reward(self, epoch: int) -> Function:
        return in_units(self.network, self.contrast.normaliser, self.z)

    def final(self) -> Network:
        z = self.z.to(torch.float64)
        return centred(pruned(self.network.to(torch.float64), z, self.options.prune), z)

    def snapshot(self) -> Artifact:
        with torch.no_grad():
            return _artifact(self.final(), self.contrast, None)


def _told(network: Network, z: Tensor, made: Tensor) -> Tensor:
    """The contrastive loss of demonstrations [row, width] against [contrast, row, width]."""
    logits = network(torch.cat([z.unsqueeze(0), made]))
    return (torch.logsumexp(logits, dim=0) - logits[0]).mean()


def _artifact(network: Network, contrast: _Contrast, learner: Learner | None) -> Artifact:
    assembled = graph(network, contrast.normaliser)
    data = contrast.data
    return Artifact((data.record,), assembled.graph, assembled.tensors, "shift", learner=learner, data=data.sources)


def _record(network: Network, model: _Model, z: Tensor, counts: tuple[int, ...], trained: Trained) -> dict[str, str]:
    kept, validated, held = counts
    made = model.contrast.draw(len(z)).reshape(-1, z.shape[1]).to(torch.float64)
    return {
        "epochs": str(trained.epochs),
        "rows": f"{kept} training, {validated} validation, {held} held out",
        "validation loss": f"{trained.loss:.4f}",
        "AUC, held out against made-up records": f"{auc(network(z).numpy(), network(made).numpy()):.4f}",
        "path norm": f"{float(network.path_norm()):.3f}",
        "hidden units": units_text(network),
        **({"monotone by construction": options_text(model.options)["monotone"]} if model.options.monotone else {}),
    }
