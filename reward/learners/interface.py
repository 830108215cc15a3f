"""What a learner is: data and options in, an artifact out.

No policy and no environment takes part. A learner may call things that it does not know: `Progress`, told how far it
has come; `Penalty`, an extra loss on the reward being learned (the expert's rules); `Reach`, a certified bound of what
a reward can do. The application wires them in. This module imports no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact, DataSource, RewardRecord
from rewarden.reward.scratch import released

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from rewarden.reward.learners.checkpoints import Checkpoints
    from rewarden.reward.learners.stage import Stage

Array = NDArray[np.float64]


class Progress(Protocol):
    """Told after every epoch; must not raise to stop a run, since a stopped run leaves no artifact."""

    def __call__(self, stage: str, done: int, total: int, note: str) -> None: ...


class Penalty(Protocol):
    """A differentiable extra loss on the reward as it stands.

    `reward` maps encoded rows [n, width] in problem units to rewards [n]; `generator` is the run's only source of
    randomness, so that a penalty that samples keeps the run reproducible. Returns a scalar.
    """

    def __call__(self, reward: Callable[[Tensor], Tensor], generator: Generator) -> Tensor: ...


@runtime_checkable
class Rules(Protocol):
    """A penalty that learns along: told of each epoch, it may look for witnesses in the reward as it would be saved.

    `identity` names it in checkpoints; `state` is all that changes in it, so that a run goes on where it was killed.
    """

    @property
    def identity(self) -> str: ...

    def __call__(self, reward: Callable[[Tensor], Tensor], generator: Generator) -> Tensor: ...

    def after(self, epoch: int, snapshot: Callable[[], Artifact]) -> None: ...

    def state(self) -> dict[str, Tensor]: ...

    def restore(self, state: Mapping[str, Tensor]) -> None: ...

    def record(self) -> Mapping[str, str]: ...


class Reach(Protocol):
    """Certified bounds: the reward of every record in the declared domain lies between the two numbers."""

    def __call__(self, artifact: Artifact) -> tuple[Fraction, Fraction]: ...


def silent(stage: str, done: int, total: int, note: str) -> None:
    """The progress of those who do not want to know."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a learner is given beside data and options. Without checkpoints, a killed run starts over. With a `stage`
    it goes on from one that has seen less (`shards`)."""

    seed: int = 0
    progress: Progress = silent
    penalty: Penalty | None = None
    checkpoints: Checkpoints | None = None
    reach: Reach | None = None
    stage: Stage | None = None


# ── data ───────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True, eq=False)
class Demonstrations:
    """Recorded good behaviour: encoded rows [row, width] in problem units, in any order; NaN where a value is missing.

    They need no labels, and no actions: a record type may describe states only, or have features that no row observes.
    `ids` say whose row it is: what is forgotten together (`shards`).
    """

    record: RewardRecord
    rows: Array
    sources: tuple[DataSource, ...] = ()
    ids: NDArray[np.str_] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """Answers: encoded segments [answer, place, step, width], the best first; two places are a pair, more a ranking.

    `places` says how many of a ranking's places count (all, if left out), `ties` which pairs were said to be equal,
    `weights` how much an answer counts, `annotators` who gave it, as an index into `names`, `ids` whose answer it is.
    """

    record: RewardRecord
    segments: Array
    sources: tuple[DataSource, ...] = ()
    places: NDArray[np.int64] | None = None
    ties: NDArray[np.bool_] | None = None
    weights: Array | None = None
    annotators: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()
    ids: NDArray[np.str_] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Judgements:
    """Judged records: encoded rows [row, width] and a label for each; `weights` and `ids` as in `Comparisons`."""

    record: RewardRecord
    rows: Array
    labels: Array
    sources: tuple[DataSource, ...] = ()
    weights: Array | None = None
    ids: NDArray[np.str_] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Revision:
    """An artifact of one record, and answers that it does not give yet."""

    artifact: Artifact
    answers: Comparisons


D_contra = TypeVar("D_contra", contravariant=True)
O_contra = TypeVar("O_contra", contravariant=True)


class Learner(Protocol[D_contra, O_contra]):
    """Learns an artifact. Same data, options, seed and machine: the same bytes (`training.deterministic`), whether or
    not the run was killed on the way and went on from its checkpoint."""

    @property
    def name(self) -> str: ...

    def fit(self, data: D_contra, options: O_contra, run: Run = ...) -> Artifact: ...


def digest_of_data(data: object) -> str:
    """SHA-256 over all arrays of a kind of data: what a checkpoint is tied to."""
    digest = hashlib.sha256()
    for name, value in _parts(data):
        digest.update(f"{name} {value.dtype} {value.shape}\n".encode())
        flat = value.reshape(-1)
        for start in range(0, flat.size, 1 << 20):  # no second copy of a large table
            digest.update(flat[start : start + (1 << 20)].tobytes())
            released(value)
    return "sha256:" + digest.hexdigest()


def _parts(data: object) -> Sequence[tuple[str, NDArray[np.generic]]]:
    if isinstance(data, Revision):
        named = np.frombuffer(data.artifact.digest.encode(), np.uint8)
        return [("artifact", named), *_parts(data.answers)]
    found = [(field.name, getattr(data, field.name)) for field in fields(data)]  # type: ignore[arg-type]
    return [(name, value) for name, value in found if isinstance(value, np.ndarray)]
