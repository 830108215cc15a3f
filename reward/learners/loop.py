"""The training loop that all learners share: batches, penalty, early stopping, checkpoints.

A learner brings a `Model`: parameters, a loss on some items, a loss on held-out ones. The loop brings the rest, and
with it what holds for every learner: a run is a function of data, options, seed and penalty. State is exactly what a
checkpoint holds: parameters, moments, the best parameters, the generator and what the penalty keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from math import isfinite
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from rewarden.reward.artifact import Artifact
from rewarden.reward.learners.checkpoints import Checkpoint
from rewarden.reward.learners.descent import Descent, Group
from rewarden.reward.learners.interface import Rules, Run, digest_of_data
from rewarden.reward.learners.options import options_text
from rewarden.reward.learners.source import Source
from rewarden.spec_lang.canonical import canonical_json, digest_of
from rewarden.spec_lang.errors import ArtifactError

Function = Callable[[Tensor], Tensor]


B = TypeVar("B", bound=Sized)


class Model(Protocol[B]):
    """What is trained. Parameters are changed in place."""

    @property
    def groups(self) -> Sequence[Group]: ...

    @property
    def source(self) -> Source[B]: ...

    def loss(self, batch: B, epoch: int) -> Tensor:
        """Of some training items; epochs count from 1."""

    def validation(self) -> float:
        """The loss that decides which epoch was best; 0 where nothing is held out for that."""

    def project(self) -> None:
        """Back into the set that parameters are bound to, after a step."""

    def reward(self, epoch: int) -> Function | None:
        """The reward as it stands, on rows in problem units, for a penalty; None in epochs that have none."""

    def snapshot(self) -> Artifact:
        """The reward as it would be saved now."""


class Trainable(Protocol):
    """Options of a learner that the loop trains."""

    @property
    def epochs(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def patience(self) -> int: ...
    @property
    def penalty_weight(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """`patience` epochs without a better validation loss end a run without penalty; 0 runs all. The learning rate falls
    linearly."""

    stage: str
    epochs: int
    batch: int
    learning_rate: float
    patience: int
    penalty_weight: float

    @classmethod
    def of(cls, stage: str, options: Trainable) -> Schedule:
        o = options
        return cls(stage, o.epochs, o.batch, o.learning_rate, o.patience, o.penalty_weight)


@dataclass(slots=True, eq=False)
class _State:
    """Mutable: where the run stands."""

    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    best: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of it; the model holds the parameters of the best epoch."""

    epochs: int
    best_epoch: int
    loss: float


def identity_of(name: str, options: object, data: object, run: Run) -> str:
    """What a checkpoint belongs to: another learner, option, seed, table, penalty or torch is another run."""
    return digest_of(
        canonical_json(
            {
                "learner": name,
                "options": options_text(options),
                "seed": run.seed,
                "data": digest_of_data(data),
                "penalty": _identity(run.penalty),
                "torch": torch.__version__,
                **({} if run.stage is None else {"stage": run.stage.identity}),
            }
        )
    )


def _identity(penalty: object) -> str:
    if penalty is None:
        return ""
    if isinstance(penalty, Rules):
        return penalty.identity
    return str(getattr(penalty, "__qualname__", type(penalty).__qualname__))


def train(model: Model[B], plan: Schedule, run: Run, generator: torch.Generator, identity: str) -> Trained:
    """Trains in place. With a penalty all epochs are run and the last counts: held-out data alone would choose the
    epoch that obeyed the rules least, and the penalty's own points change.

    Raises ArtifactError A18 where no epoch has a finite loss, A24 for a disk that is full.
    """
    descent = Descent(model.groups)
    stops = plan.patience > 0 and run.penalty is None
    state = _resumed(descent, run, generator, identity)
    while state.epoch < plan.epochs and not (stops and _over(state, plan)):
        state.epoch += 1
        seen = _epoch(model, plan, run, generator, descent, state.epoch)
        with torch.no_grad():
            loss = model.validation() if plan.patience else seen
        run.progress(
            plan.stage, state.epoch, plan.epochs, f"{'validation loss' if plan.patience else 'loss'} {loss:.4f}"
        )
        if loss < state.best_loss or (not stops and isfinite(loss)):
            state.best_loss, state.best_epoch = loss, state.epoch
            state.best = [p.detach().clone() for p in descent.parameters]
        if isinstance(run.penalty, Rules):
            run.penalty.after(state.epoch, model.snapshot)
        if run.checkpoints is not None and (
            run.checkpoints.due() or state.epoch == plan.epochs or (stops and _over(state, plan))
        ):
            run.checkpoints.save(_checkpoint(descent, run, generator, identity, state))
    if state.best_epoch == 0:
        raise ArtifactError("A18", "the training has diverged: no epoch had a finite loss", help="lower learning_rate")
    with torch.no_grad():
        for parameter, best in zip(descent.parameters, state.best, strict=True):
            parameter.copy_(best)
    return Trained(state.epoch, state.best_epoch, state.best_loss)


def _over(state: _State, plan: Schedule) -> bool:
    return state.epoch - state.best_epoch >= plan.patience


def _epoch(
    model: Model[B], plan: Schedule, run: Run, generator: torch.Generator, descent: Descent, epoch: int
) -> float:
    """One pass; the mean loss on what it saw."""
    rate = plan.learning_rate * (1.0 - (epoch - 1) / plan.epochs)
    reward = model.reward(epoch) if run.penalty is not None else None
    total = torch.zeros((), dtype=torch.float64)
    for batch in model.source.batches(plan.batch, generator):
        loss = model.loss(batch, epoch)
        total += loss.detach() * len(batch)
        if reward is not None and run.penalty is not None:
            loss = loss + plan.penalty_weight * run.penalty(reward, generator)
        descent.zero()
        loss.backward()  # type: ignore[no-untyped-call]
        descent.step(rate)
        model.project()
    descent.settle()
    return float(total) / len(model.source)


# ── checkpoints ────────────────────────────────────────────────────────────────────────────────
def _checkpoint(descent: Descent, run: Run, generator: torch.Generator, identity: str, state: _State) -> Checkpoint:
    tensors = {"generator": generator.get_state()}
    tensors |= {f"now.{name}": value for name, value in descent.state().items()}
    tensors |= {f"best.{k}": value for k, value in enumerate(state.best)}
    if isinstance(run.penalty, Rules):
        tensors |= {f"penalty.{name}": value for name, value in run.penalty.state().items()}
    numbers = {"best_epoch": float(state.best_epoch), "best_loss": state.best_loss, "steps": float(descent.steps)}
    return Checkpoint(identity, state.epoch, numbers, tensors)


@torch.no_grad()
def _begin(descent: Descent, run: Run) -> None:
    """Of a stage: where the one before ended."""
    if run.stage is not None and run.stage.parameters is not None and run.stage.fits(descent.parameters):
        for parameter, ended in zip(descent.parameters, run.stage.parameters, strict=True):
            parameter.copy_(ended)


def _resumed(descent: Descent, run: Run, generator: torch.Generator, identity: str) -> _State:
    """The state of the last checkpoint, put in place; else a fresh one."""
    found = None if run.checkpoints is None else run.checkpoints.load(identity)
    if found is None:
        _begin(descent, run)
        return _State()
    tensors = found.tensors
    descent.restore(below(tensors, "now."), int(found.numbers["steps"]))
    generator.set_state(tensors["generator"])
    if isinstance(run.penalty, Rules):
        run.penalty.restore(below(tensors, "penalty."))
    best = [tensors[f"best.{k}"].clone() for k in range(len(descent.parameters)) if f"best.{k}" in tensors]
    return _State(found.epoch, int(found.numbers["best_epoch"]), found.numbers["best_loss"], best)


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
