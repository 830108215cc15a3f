"""What a learner is: data and options in, an artifact out.

No policy and no environment takes part. A learner may call three things that it does not know: `Progress`, told how
far it has come; `Penalty`, an extra loss on the reward being learned (the expert's rules, wired in by the
application); and nothing else. This module imports no torch: command lines and configs read the options from here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact, DataSource, RewardRecord
from rewarden.spec_lang.errors import UsageError

if TYPE_CHECKING:
    from torch import Generator, Tensor


class Progress(Protocol):
    """Told after every epoch; must not raise to stop a run, since a stopped run leaves no artifact."""

    def __call__(self, stage: str, done: int, total: int, note: str) -> None: ...


class Penalty(Protocol):
    """A differentiable extra loss on the reward as it stands.

    `reward` maps encoded rows [n, width] in problem units to rewards [n]; `generator` is the run's only source of
    randomness, so that a penalty that samples keeps the run reproducible. Returns a scalar.
    """

    def __call__(self, reward: Callable[[Tensor], Tensor], generator: Generator) -> Tensor: ...


def silent(stage: str, done: int, total: int, note: str) -> None:
    """The progress of those who do not want to know."""


# ── data ───────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True, eq=False)
class Demonstrations:
    """Recorded good behaviour: encoded rows [row, width] in problem units."""

    record: RewardRecord
    rows: NDArray[np.float64]
    sources: tuple[DataSource, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """Recorded preferences: encoded segments [pair, 2, step, width]; index 0 of the second axis was preferred."""

    record: RewardRecord
    segments: NDArray[np.float64]
    sources: tuple[DataSource, ...] = ()


# ── options ────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class AutoencoderOptions:
    """The mixture of autoencoders. Quantiles are of the training rows' errors."""

    experts: int = 4
    hidden: int = 10
    code: int = 3
    error: str = "l1"
    epochs: int = 60
    warm_up: int = 15  # epochs on k-means cells, before the experts choose their rows themselves
    batch: int = 256
    learning_rate: float = 0.01
    weight_decay: float = 0.01
    full_quantile: float = 0.1  # errors up to here score 1
    zero_quantile: float = 0.98  # errors from here on score 0
    held_out: float = 0.15
    penalty_weight: float = 1.0

    def __post_init__(self) -> None:
        _positive(self, "experts", "hidden", "code", "epochs", "batch", "learning_rate")
        _not_negative(self, "warm_up", "weight_decay", "penalty_weight")
        _share(self, "held_out")
        if self.error not in ("l1", "linf"):
            raise _bad(f"error = {self.error!r} is not a reconstruction error", 'write "l1" or "linf"')
        if not 0.0 <= self.full_quantile < self.zero_quantile <= 1.0:
            raise _bad("the quantiles are not in order", "keep 0 <= full_quantile < zero_quantile <= 1")


@dataclass(frozen=True, slots=True)
class PreferenceOptions:
    """Bradley-Terry on sums of rewards over segments, with a ReLU network."""

    hidden: int = 32
    layers: int = 2
    epochs: int = 80
    patience: int = 12  # epochs without a better validation loss
    batch: int = 256
    learning_rate: float = 0.005
    weight_decay: float = 0.01
    smoothness: float = 0.003  # weight of the path norm, which bounds the slope in any direction
    prune: float = 0.002  # units that carry less of the path norm than this are replaced by their mean
    label_noise: float = 0.02  # share of answers taken to be slips of the hand
    validation: float = 0.1
    held_out: float = 0.15
    penalty_weight: float = 1.0

    def __post_init__(self) -> None:
        _positive(self, "hidden", "layers", "epochs", "patience", "batch", "learning_rate")
        _not_negative(self, "weight_decay", "smoothness", "penalty_weight", "label_noise", "prune")
        _share(self, "held_out")
        _share(self, "validation")
        if self.held_out + self.validation > 0.8:
            raise _bad("held_out and validation leave too little to learn from", "keep their sum at 0.8 or less")
        if self.prune > 0.1:
            raise _bad("prune above 0.1 would remove units that matter", "keep it at 0.1 or less; 0 keeps every unit")
        if self.label_noise >= 0.5:
            raise _bad("label_noise of a half or more says that answers carry nothing", "keep it below 0.5")


D_contra = TypeVar("D_contra", contravariant=True)
O_contra = TypeVar("O_contra", contravariant=True)


class Learner(Protocol[D_contra, O_contra]):
    """Learns an artifact. Same data, options, seed and machine: the same bytes (`training.deterministic`)."""

    @property
    def name(self) -> str: ...

    def fit(
        self,
        data: D_contra,
        options: O_contra,
        *,
        seed: int,
        progress: Progress = silent,
        penalty: Penalty | None = None,
    ) -> Artifact: ...


def options_text(options: AutoencoderOptions | PreferenceOptions) -> dict[str, str]:
    """Options as a manifest holds them: text, so that no number is rounded in passing."""
    return {field.name: str(getattr(options, field.name)) for field in fields(options)}


def _bad(message: str, help: str) -> UsageError:
    return UsageError("G12", message, help=help)


def _positive(options: object, *names: str) -> None:
    for name in names:
        if not getattr(options, name) > 0:
            raise _bad(f"{name} = {getattr(options, name)} is not positive", f"give {name} a value above 0")


def _not_negative(options: object, *names: str) -> None:
    for name in names:
        if not getattr(options, name) >= 0:
            raise _bad(f"{name} = {getattr(options, name)} is negative", f"give {name} a value of 0 or more")


def _share(options: object, name: str) -> None:
    if not 0.0 < getattr(options, name) < 1.0:
        raise _bad(f"{name} = {getattr(options, name)} is not a share", f"give {name} a value between 0 and 1")
