"""A fine-grained step: new preferences change an existing artifact, as little as they need to.

What is learned is the change a alone (`change`). With Δ the difference of the sums over the preferred segment and the
other, R the artifact and E the mean over the declared domain and the answers' records:

    loss = −log σ( Δ_R + Δ_a ) + anchor · E[a²]

This is DPO (Rafailov et al. 2023) with the artifact in the place of the reference policy: there the reward that a
policy stands for is β·log π/π_ref, and a KL term holds the policy; here the reward is R + a, and a square holds the
change. Answers that the artifact gives already hardly push. The change has a bound by construction and a certified one
(`Reach`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rewarden.reward.artifact import Artifact, Edit, Learner
from rewarden.reward.figures import share_text
from rewarden.reward.learners import answers as said
from rewarden.reward.learners.answers import Answers
from rewarden.reward.learners.change import Change, deployed, require_one_record, scores
from rewarden.reward.learners.descent import Group
from rewarden.reward.learners.interface import Array, Comparisons, Revision, Rules, Run
from rewarden.reward.learners.loop import Function, Schedule, Trained, identity_of, train
from rewarden.reward.learners.networks import Network, pruned, rounded, units_text
from rewarden.reward.learners.options import UpdateOptions, options_text
from rewarden.reward.learners.source import Source, dealt
from rewarden.reward.training import deterministic, precise, tensor64


class Update:
    """The learner `update`."""

    name = "update"

    def fit(self, data: Revision, options: UpdateOptions, run: Run = Run()) -> Artifact:  # noqa: B008 (frozen)
        """The changed artifact, a child of the one given. Raises DataError (D05, D20, D22), ArtifactError A13 (several
        records), A18, A24, BindingError B02."""
        require_one_record(data.artifact, data.answers.record)
        identity = identity_of(self.name, options, data, run)
        with deterministic(run.seed) as generator:
            tied = said.has_ties(data.answers)
            found = dealt(run, data.answers, (options.validation, options.held_out), generator, said.checked)
            kept, validated, tested = found.parts
            change = Change.begin(data.artifact, options.hidden, options.most, generator)

            def read(some: Comparisons) -> _Asked:
                answers = said.answers_of(some, change.normalised(tensor64(some.segments)), tied)
                return _Asked(answers, scores(data.artifact, some.segments).sum(dim=2))

            asked, dtype = read(found.data), precise(options.precision)
            training = asked[kept].to(dtype)
            source = found.source(training, lambda some: read(some).to(dtype))
            model = _Model(change.to(dtype), source, training, asked[validated].to(dtype), options)
            trained = train(model, Schedule.of(self.name, options), run, generator, identity)
            with torch.no_grad():
                final = model.final()
                told = _Told(asked[tested].answers, found.data.segments[tested.numpy()])
                record = _record(final, model, told, found.counts, trained) | found.notes
        if isinstance(run.penalty, Rules):
            record |= run.penalty.record()
        learner = Learner(self.name, options_text(options), run.seed, record)
        edit = Edit("update", "new preferences", {"learner": self.name, **record})
        return change.child(final, run, edit, learner, data.answers.sources)


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """Answers, and the artifact's own sums before [answer, place]."""

    answers: Answers
    before: Tensor

    def __len__(self) -> int:
        return len(self.before)

    def to(self, dtype: torch.dtype) -> _Asked:
        return _Asked(self.answers.to(dtype), self.before.to(dtype))

    def __getitem__(self, items: Tensor) -> _Asked:
        return _Asked(self.answers[items], self.before[items])


@dataclass(frozen=True, slots=True)
class _Model:
    change: Change
    source: Source[_Asked]
    asked: _Asked  # what is learned from, or a sample of it
    held: _Asked
    options: UpdateOptions

    @property
    def groups(self) -> tuple[Group, ...]:
        return self.change.network.groups(self.options.weight_decay)

    def loss(self, batch: _Asked, epoch: int) -> Tensor:
        o = self.options
        told = _told(self.change, batch, o)
        anchor = self.change.anchor(batch.answers.z)
        return told + o.anchor * anchor + o.smoothness * self.change.network.path_norm()

    def validation(self) -> float:
        anchor = self.change.anchor(self.held.answers.z)
        return float(_told(self.change, self.held, self.options) + self.options.anchor * anchor)

    def project(self) -> None:
        """Nothing to hold: the change is clipped."""

    def reward(self, epoch: int) -> Function:
        return self.change.changed

    def final(self) -> Network:
        z = self.asked.answers.z.to(torch.float64)
        return rounded(pruned(self.change.network.to(torch.float64), z, self.options.prune))

    def snapshot(self) -> Artifact:
        with torch.no_grad():
            return _deployed(self.change, self.final())


def _told(change: Change, asked: _Asked, options: UpdateOptions) -> Tensor:
    sums = asked.before + change(asked.answers.z).sum(dim=2)
    return said.loss(sums, asked.answers, said.noise_of(asked.answers, options.label_noise, 0))


def _deployed(change: Change, network: Network) -> Artifact:
    assembled, _ = change.applied(network)
    edit = Edit("update", "new preferences", {})
    return change.artifact.child(edit, graph=assembled.graph, tensors=assembled.tensors)


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """Answers that are held out, and their segments in problem units [answer, place, step, width]."""

    answers: Answers
    segments: Array


def _record(
    network: Network, model: _Model, tested: _Told, counts: tuple[int, ...], trained: Trained
) -> dict[str, str]:
    """Accuracies are those of what is deployed, before and after: patches and all."""
    kept, validated, held = counts
    artifacts = model.change.artifact, _deployed(model.change, network)
    (old, count), (new, _) = (
        said.right(deployed(artifact, tested.segments).sum(dim=2), tested.answers) for artifact in artifacts
    )
    return {
        "epochs": str(trained.epochs),
        "answers": f"{kept} training, {validated} validation, {held} held out",
        "validation loss": f"{trained.loss:.4f}",
        **({"accuracy, held out, before": share_text(old, count)} if count else {}),
        **({"accuracy, held out": share_text(new, count)} if count else {}),
        "change over the domain": model.change.typical(network),
        "hidden units": units_text(network),
        **({"patches kept on top": str(len(model.change.artifact.patches))} if model.change.artifact.patches else {}),
    }
