"""A reward from preferences between recorded segments, from pairs to rankings, with a ReLU network.

`answers` says how likely each answer is. Only differences enter, so the reward is identified up to a shift; it is
shifted such that recorded steps have mean 0.

Three things keep it provable. The path norm Σ|W₃||W₂||W₁| bounds the slope in every direction and is penalised
(`smoothness`): a reward without needless slopes has tight bounds. The penalty, an L1 norm along paths, leaves most
units with next to nothing to say; those are replaced by their mean (`prune`). And weights have short mantissas
(`training.dyadic`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rewarden.reward.artifact import Artifact, Learner
from rewarden.reward.figures import share_text
from rewarden.reward.learners import answers as said
from rewarden.reward.learners.answers import Answers, Noise
from rewarden.reward.learners.descent import Group
from rewarden.reward.learners.interface import Array, Comparisons, Rules, Run
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
from rewarden.reward.learners.options import PreferenceOptions, options_text
from rewarden.reward.learners.source import Source, dealt
from rewarden.reward.learners.stage import normaliser_of
from rewarden.reward.normaliser import Normaliser
from rewarden.reward.training import deterministic, precise, tensor64
from rewarden.spec_lang.errors import DataError


class Preferences:
    """The learner `preferences`."""

    name = "preferences"

    def fit(self, data: Comparisons, options: PreferenceOptions, run: Run = Run()) -> Artifact:  # noqa: B008 (frozen)
        """Learn from segments, the preferred one first. Raises DataError (D05, D20, D22), UsageError G12 (`monotone`),
        ArtifactError (A18) where training diverges, A24 where a checkpoint cannot be written."""
        signs = monotone_signs(column_signs(options.monotone, data.record.type), options.hidden, options.layers)
        identity = identity_of(self.name, options, data, run)
        with deterministic(run.seed) as generator:
            tied = said.has_ties(data)
            found = dealt(run, data, (options.validation, options.held_out), generator, _checked)
            data, (kept, validated, tested) = found.data, found.parts
            rows = data.segments[kept.numpy()].reshape(-1, data.record.type.width)
            normaliser = normaliser_of(run, rows, data.record.type)

            def read(some: Comparisons) -> Answers:
                return said.answers_of(some, tensor64(normaliser(some.segments)), tied)

            answers = read(data)
            names = len(data.names) if options.annotators == "apart" else 0
            noise = said.noise_of(answers, options.label_noise, names)
            dtype = precise(options.precision)
            network = initial(data.record.type.width, options.hidden, options.layers, generator, signs).to(dtype)
            training, held = answers[kept].to(dtype), answers[validated].to(dtype)
            source = found.source(training, lambda some: read(some).to(dtype))
            model = _Model(network, noise, signs, source, training, held, options, normaliser, data)
            trained = train(model, Schedule.of(self.name, options), run, generator, identity)
            with torch.no_grad():
                final = model.final()
                record = _record(final, model, answers[tested], found.counts, trained) | _learned(noise, data)
                record |= found.notes
        if isinstance(run.penalty, Rules):
            record |= run.penalty.record()
        return _artifact(final, model, Learner(self.name, options_text(options), run.seed, record))


def _checked(data: Comparisons) -> tuple[Array, dict[str, str]]:
    """As `answers.checked`; and some pair is no tie, or there is nothing that a reward could tell apart."""
    if data.ties is not None and bool(data.ties.all()):
        raise DataError(
            "D22", "all compared pairs are ties: there is nothing to learn", help="give pairs of which one is better"
        )
    return said.checked(data)


@dataclass(frozen=True, slots=True)
class _Model:
    """What the loop trains."""

    network: Network
    noise: Noise
    signs: Signs | None
    source: Source[Answers]
    answers: Answers  # those that are trained on, or a sample of them
    held: Answers
    options: PreferenceOptions
    normaliser: Normaliser
    data: Comparisons

    @property
    def groups(self) -> tuple[Group, ...]:
        extra = self.noise.parameters()
        return (*self.network.groups(self.options.weight_decay), *([Group(extra, 0.0)] if extra else []))

    def loss(self, batch: Answers, epoch: int) -> Tensor:
        return _loss(self, batch) + self.options.smoothness * self.network.path_norm()

    def validation(self) -> float:
        return float(_loss(self, self.held))

    def project(self) -> None:
        if self.signs is not None:
            self.signs.project(self.network)

    def reward(self, epoch: int) -> Function:
        return in_units(self.network, self.normaliser, self.answers.z)

    def final(self) -> Network:
        z = self.answers.z.to(torch.float64)
        return centred(pruned(self.network.to(torch.float64), z, self.options.prune), z)

    def snapshot(self) -> Artifact:
        with torch.no_grad():
            return _artifact(self.final(), self, None)


def _sums(network: Network, z: Tensor) -> Tensor:
    """Sums of rewards over segments [answer, place]."""
    return network(z).sum(dim=2)


def _loss(model: _Model, answers: Answers) -> Tensor:
    return said.loss(_sums(model.network, answers.z), answers, model.noise)


def _artifact(network: Network, model: _Model, learner: Learner | None) -> Artifact:
    assembled = graph(network, model.normaliser)
    return Artifact(
        records=(model.data.record,),
        graph=assembled.graph,
        tensors=assembled.tensors,
        identified="shift",
        learner=learner,
        data=model.data.sources,
    )


def _record(
    network: Network, model: _Model, tested: Answers, counts: tuple[int, ...], trained: Trained
) -> dict[str, str]:
    what = "pairs" if model.answers.z.shape[1] == 2 else "rankings"
    kept, validated, held = counts
    return {
        "epochs": str(trained.epochs),
        what: f"{kept} training, {validated} validation, {held} held out",
        "validation loss": f"{trained.loss:.4f}",
        "accuracy, training": _accuracy(network, model.answers.to(torch.float64)),
        "accuracy, held out": _accuracy(network, tested),
        "path norm": f"{float(network.path_norm()):.3f}",
        "hidden units": units_text(network),
        **({"monotone by construction": options_text(model.options)["monotone"]} if model.options.monotone else {}),
    }


def _accuracy(network: Network, answers: Answers) -> str:
    agreed, count = said.right(_sums(network, answers.z), answers)
    if answers.z.shape[1] == 2:
        return share_text(agreed, count)
    return f"{agreed / max(count, 1):.4f} of {count} pairs within {len(answers)} rankings"


def _learned(noise: Noise, data: Comparisons) -> dict[str, str]:
    """The figures of what was learned beside the reward."""
    found = {}
    if noise.tie is not None:
        found["ties, Davidson's nu"] = f"{float(noise.tie.exp()):.4f}"
    if noise.apart is not None:
        for name, share in zip(data.names, noise.each().tolist(), strict=True):
            found[f"share of slips, {name}"] = f"{share:.4f}"
    return found
