"""A reward from judgements of single records: a number each, or a grade.

- `scalar`: least squares on the labels, which are standardised for training and put back into their own unit in the
  last layer. The reward is in the labels' unit: identified exactly.
- `ordinal`: grades 0, 1, 2, … whose distances mean nothing (McCullagh 1980, proportional odds). With thresholds
  θ_0 < θ_1 < …, learned along, P(grade <= k) = σ(θ_k − r). A shift of r is a shift of all thresholds: identified up to
  a shift, and shifted such that judged records have mean 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.reward.artifact import Artifact, Learner
from rewarden.reward.figures import share_text
from rewarden.reward.learners.descent import Group
from rewarden.reward.learners.interface import Judgements, Rules, Run
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
    rounded,
    units_text,
)
from rewarden.reward.learners.options import LabelOptions, options_text
from rewarden.reward.learners.source import Source, dealt
from rewarden.reward.learners.stage import normaliser_of
from rewarden.reward.normaliser import Normaliser
from rewarden.reward.training import WEIGHT_BITS, deterministic, dyadic, precise, tensor64
from rewarden.spec_lang.errors import DataError

FEWEST_ROWS = 20
MOST_GRADES = 100
BINARY32_BITS = 24  # of its mantissa


class Labels:
    """The learner `labels`."""

    name = "labels"

    def fit(self, data: Judgements, options: LabelOptions, run: Run = Run()) -> Artifact:  # noqa: B008 (frozen)
        """Learn from encoded rows [row, width] and their labels. Raises DataError: D04 (a grade that is no whole
        number), D05, D20 (too few), D22 (all labels alike); UsageError G12 (`monotone`); ArtifactError A18, A24."""
        signs = monotone_signs(column_signs(options.monotone, data.record.type), options.hidden, options.layers)
        identity = identity_of(self.name, options, data, run)
        with deterministic(run.seed) as generator:
            units = _Units.of(data, options)
            shares = (options.validation, options.held_out)
            found = dealt(run, data, shares, generator, lambda some: (some.rows, _checked(some, options)))
            data, (kept, validated, tested) = found.data, found.parts
            normaliser = normaliser_of(run, data.rows[kept.numpy()], data.record.type)

            def read(some: Judgements) -> _Judged:
                return units.judged(some, normaliser)

            judged, dtype = read(data), precise(options.precision)
            scale = _scale(judged[kept], options, dtype)
            network = initial(data.record.type.width, options.hidden, options.layers, generator, signs).to(dtype)
            training, held = judged[kept].to(dtype), judged[validated].to(dtype)
            source = found.source(training, lambda some: read(some).to(dtype))
            model = _Model(network, scale, signs, source, training, held, options, normaliser, data)
            trained = train(model, Schedule.of(self.name, options), run, generator, identity)
            with torch.no_grad():
                final = model.final()
                record = _record(final, model, judged[tested], found.counts, trained) | found.notes
        if isinstance(run.penalty, Rules):
            record |= run.penalty.record()
        return _artifact(final, model, Learner(self.name, options_text(options), run.seed, record))


# ── data ───────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """Normalised rows z [row, width], labels [row] (grades as whole numbers from 0), weights [row] of mean 1."""

    z: Tensor
    labels: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.z)

    def to(self, dtype: torch.dtype) -> _Judged:
        return _Judged(self.z.to(dtype), self.labels.to(dtype), self.weights.to(dtype))

    def __getitem__(self, items: Tensor) -> _Judged:
        return _Judged(self.z[items], self.labels[items], self.weights[items])


def _checked(data: Judgements, options: LabelOptions) -> dict[str, str]:
    if len(data.rows) < FEWEST_ROWS:
        raise DataError(
            "D20",
            f"too few judged rows to learn from: {len(data.rows)}",
            help=f"give at least {FEWEST_ROWS} rows; a few thousand make a useful reward",
        )
    broken = np.flatnonzero(~(np.isfinite(data.rows).all(axis=1) & np.isfinite(data.labels)))
    if len(broken):
        raise DataError("D05", f"row {broken[0] + 1} holds a value that is not a number", help="fill it in or drop it")
    if (data.labels == data.labels[0]).all():
        raise DataError("D22", f"all labels are {data.labels[0]:g}: there is nothing to learn", help="give others too")
    if (data.rows == data.rows[0]).all():
        raise DataError("D22", "all judged rows are equal: there is nothing to learn", help="judge different records")
    if options.kind == "ordinal":
        odd = np.flatnonzero(data.labels != np.floor(data.labels))
        if len(odd):
            raise DataError(
                "D04",
                f"row {odd[0] + 1}: the label {data.labels[odd[0]]:g} is no grade",
                help='grades are whole numbers; for numbers write kind = "scalar"',
            )
        if len(np.unique(data.labels)) > MOST_GRADES:
            raise DataError(
                "D04", f"more than {MOST_GRADES} different grades", help='for numbers write kind = "scalar"'
            )
    return _repeats(data)


def _repeats(data: Judgements) -> dict[str, str]:
    _, group, counts = np.unique(data.rows, axis=0, return_inverse=True, return_counts=True)
    if len(counts) == len(data.rows):
        return {}
    least, most = np.full(len(counts), np.inf), np.full(len(counts), -np.inf)
    np.minimum.at(least, group.reshape(-1), data.labels)
    np.maximum.at(most, group.reshape(-1), data.labels)
    found = {"rows judged before": str(len(data.rows) - len(counts))}
    if (least < most).any():
        found["records with judgements that differ"] = str(int((least < most).sum()))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
    """What labels and weights of all rows have in common: the grades, in order, and the mean weight."""

    grades: NDArray[np.float64] | None
    weight: float

    @classmethod
    def of(cls, data: Judgements, options: LabelOptions) -> _Units:
        grades = np.unique(data.labels) if options.kind == "ordinal" else None
        return cls(grades, 1.0 if data.weights is None else float(data.weights.mean()))

    def judged(self, data: Judgements, normaliser: Normaliser) -> _Judged:
        labels = data.labels if self.grades is None else np.searchsorted(self.grades, data.labels).astype(np.float64)
        weights = np.ones(len(labels)) if data.weights is None else data.weights / self.weight
        return _Judged(tensor64(normaliser(data.rows)), tensor64(labels), tensor64(weights))


# ── training ───────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class _Scale:
    """How rewards are read as labels: label = mean + spread · r, or thresholds [grade − 1]: the first, then the logs of
    the steps between them."""

    mean: float = 0.0
    spread: float = 1.0
    steps: Tensor | None = None

    def thresholds(self) -> Tensor:
        assert self.steps is not None
        return torch.cat([self.steps[:1], self.steps[:1] + torch.cumsum(self.steps[1:].exp(), dim=0)])


def _scale(judged: _Judged, options: LabelOptions, dtype: torch.dtype) -> _Scale:
    if options.kind == "scalar":
        spread = float(judged.labels.std(unbiased=False))
        return _Scale(float(judged.labels.mean()), spread if spread > 0 else 1.0)
    grades = int(judged.labels.max()) + 1
    shares = torch.bincount(judged.labels.long(), minlength=grades).to(torch.float64).cumsum(0)[:-1] / len(judged)
    start = torch.logit(shares.clamp(0.01, 0.99))
    gaps = (start[1:] - start[:-1]).clamp(min=0.05).log()
    return _Scale(steps=torch.cat([start[:1], gaps]).to(dtype).requires_grad_())


@dataclass(frozen=True, slots=True)
class _Model:
    network: Network
    scale: _Scale
    signs: Signs | None
    source: Source[_Judged]
    judged: _Judged  # those that are trained on, or a sample of them
    held: _Judged
    options: LabelOptions
    normaliser: Normaliser
    data: Judgements

    @property
    def groups(self) -> tuple[Group, ...]:
        extra = [] if self.scale.steps is None else [Group([self.scale.steps], 0.0)]
        return (*self.network.groups(self.options.weight_decay), *extra)

    def loss(self, batch: _Judged, epoch: int) -> Tensor:
        return _loss(self, batch) + self.options.smoothness * self.network.path_norm()

    def validation(self) -> float:
        return float(_loss(self, self.held))

    def project(self) -> None:
        if self.signs is not None:
            self.signs.project(self.network)

    def reward(self, epoch: int) -> Function:
        centred_at = self.judged.z if self.options.kind == "ordinal" else None
        inner = in_units(self.network, self.normaliser, centred_at)
        return lambda rows: inner(rows) * self.scale.spread + self.scale.mean

    def final(self) -> Network:
        """In the labels' own unit."""
        z = self.judged.z.to(torch.float64)
        small = pruned(self.network.to(torch.float64), z, self.options.prune)
        if self.options.kind == "ordinal":
            return centred(small, z)
        weights = (*small.weights[:-1], small.weights[-1] * self.scale.spread)
        found = rounded(Network(weights, (*small.biases[:-1], small.biases[-1] * self.scale.spread)))
        return Network(found.weights, (*found.biases[:-1], self._level(small.biases[-1])))

    def _level(self, bias: Tensor) -> Tensor:
        """The last bias in the labels' unit. Labels may be far from 0 and close together: the grid is as fine, beside
        their spread, as that of the weights, as far as binary32 has it."""
        level = bias * self.scale.spread + self.scale.mean
        beyond = math.frexp(float(level.abs().max()))[1] - math.frexp(self.scale.spread)[1]
        return tensor64(dyadic(level, min(WEIGHT_BITS + max(0, beyond), BINARY32_BITS)))

    def snapshot(self) -> Artifact:
        with torch.no_grad():
            return _artifact(self.final(), self, None)


def _loss(model: _Model, judged: _Judged) -> Tensor:
    rewards = model.network(judged.z)
    if model.options.kind == "scalar":
        found = (rewards - (judged.labels - model.scale.mean) / model.scale.spread) ** 2
    else:
        found = _of_grades(model.scale, rewards, judged.labels)
    return (found * judged.weights).mean()


def _of_grades(scale: _Scale, rewards: Tensor, labels: Tensor) -> Tensor:
    """−log of the probability of each row's own grade, σ(u) − σ(l) = σ(u) · σ(−l) · (1 − e^{l−u}) with u and l the
    thresholds above and below it, less the reward: a form that cancels nowhere, and has a gradient wherever a reward
    is far from its grade. The last factor is of the grade alone."""
    thresholds, grade = scale.thresholds(), labels.long()
    end = torch.full((1,), float("inf"), dtype=thresholds.dtype)
    below, above = torch.cat([-end, thresholds]), torch.cat([thresholds, end])
    gaps = torch.log1p(-torch.exp(thresholds[:-1] - thresholds[1:]))
    none = torch.zeros(1, dtype=thresholds.dtype)
    softplus = torch.nn.functional.softplus
    beyond = softplus(rewards - above[grade]) + softplus(below[grade] - rewards)
    return beyond - torch.cat([none, gaps, none])[grade]


# ── what came of it ────────────────────────────────────────────────────────────────────────────
def _artifact(network: Network, model: _Model, learner: Learner | None) -> Artifact:
    assembled = graph(network, model.normaliser)
    kind = "exact" if model.options.kind == "scalar" else "shift"
    data = model.data
    return Artifact((data.record,), assembled.graph, assembled.tensors, kind, learner=learner, data=data.sources)  # type: ignore[arg-type]


def _record(
    network: Network, model: _Model, held: _Judged, counts: tuple[int, ...], trained: Trained
) -> dict[str, str]:
    kept, validated, tested = counts
    rewards = network(held.z)
    second = torch.arange(len(held))
    first = torch.roll(second, 1)  # each row against the one before: every row twice, and no row with itself
    told = held.labels[first] != held.labels[second]
    agreed = (rewards[first] - rewards[second]) * torch.sign(held.labels[first] - held.labels[second]) > 0
    found = {
        "epochs": str(trained.epochs),
        "rows": f"{kept} training, {validated} validation, {tested} held out",
        "validation loss": f"{trained.loss:.4f}",
    }
    if bool(told.any()):
        found["order of labels, held out"] = share_text(int(agreed.sum()), int(told.sum()))
    if model.options.kind == "scalar":
        error, plain = (rewards - held.labels) ** 2, (held.labels - model.scale.mean) ** 2
        found["root mean squared error, held out"] = f"{float(error.mean().sqrt()):.4g}"
        found["the same, of the mean label"] = f"{float(plain.mean().sqrt()):.4g}"
    return found | {
        "path norm": f"{float(network.path_norm()):.3f}",
        "hidden units": units_text(network),
        **({"monotone by construction": options_text(model.options)["monotone"]} if model.options.monotone else {}),
    }
