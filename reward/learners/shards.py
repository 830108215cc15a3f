"""Learning in shards, so that rows can be forgotten exactly and cheaply (SISA: Bourtoule et al., IEEE S&P 2021).

Each row belongs to one shard and one slice of it, by a hash of its id (of its content, where it has none): whatever
other rows there are, it is always in the same place. A shard is a reward of its own. It is learned in stages: the first
from its first slice, each further one from all slices so far, starting where the one before ended. The reward is the
mean of the shards.

Forgetting is learning again without the rows. A stage is named by all that it depends on (`Plan.identity`): member,
options, seed, torch, and the content of every row of its slices in the order in which it is seen. Stages whose name is
known are taken from the store; only those that saw a forgotten row, and the later ones of the same shard, are trained.
So the result is equal, byte for byte, to that of a run which never saw the rows, as far as the same code on the same
kind of machine gives the same bytes twice (`training.deterministic`).

What is needed for that: places, order, held-out rows and normalisers depend on no row of another shard; and within a
shard, nothing of a stage depends on a later slice (`stage`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.reward.artifact import Artifact
from rewarden.reward.artifact import Learner as Learned
from rewarden.reward.learners.checkpoints import Checkpoint, Checkpoints
from rewarden.reward.learners.ensemble import MAX_SEED, combined, identified
from rewarden.reward.learners.interface import Comparisons, Demonstrations, Judgements, Learner, Run
from rewarden.reward.learners.options import ShardOptions, options_text
from rewarden.reward.learners.stage import Stage
from rewarden.reward.normaliser import fit_normaliser
from rewarden.spec_lang.canonical import canonical_json, digest_of
from rewarden.spec_lang.errors import DataError, UsageError

Data = Comparisons | Judgements | Demonstrations
D = TypeVar("D", bound=Data)
SLICED = ("preferences", "labels", "energy")  # learners that can start where another run ended
BLOCK = 4096  # rows whose bytes are held at once
_sha256 = hashlib.sha256
KEPT = 1.0  # seconds between two checkpoints within a stage


# ── rows ───────────────────────────────────────────────────────────────────────────────────────
def contents(data: Data) -> list[bytes]:
    """SHA-256 of each row: its numbers, and whose it is; nothing that depends on other rows."""
    found = []
    for start in range(0, length(data), BLOCK):
        rows = slice(start, start + BLOCK)
        pieces = [_pieces(data, name, array[rows], rows) for name, array in _rowwise(data) if name != "places"]
        whole = pieces[0] if len(pieces) == 1 else [b"".join(row) for row in zip(*pieces, strict=True)]
        found += [_sha256(row).digest() for row in whole]
    return found


def _pieces(data: Data, name: str, values: NDArray[Any], rows: slice) -> list[bytes]:
    """What each of these rows has in one of its arrays."""
    if values.dtype.kind == "U":
        return [str(text).encode() + b"\0" for text in values]
    places = None
    if isinstance(data, Comparisons):
        if name == "annotators":  # by name: who is the second depends on who else answered
            return [data.names[k].encode() + b"\0" for k in values]
        places = data.places if name == "segments" else None
    block, size = (values + 0).astype("<f8").tobytes(), 8 * int(np.prod(values.shape[1:]))  # -0.0 is 0.0
    found = [block[k : k + size] for k in range(0, len(block), size)]
    if places is not None:  # beyond them are fillers, as many as the longest ranking asks for
        each = size // values.shape[1]
        found = [row[: each * count] for row, count in zip(found, places[rows].tolist(), strict=True)]
    return found


def keys(data: Data) -> list[bytes]:
    """What a row is placed by, and forgotten by: its id, or its content where it has none."""
    if data.ids is None:
        return contents(data)
    return [_sha256(b"id\0" + name.encode()).digest() for name in data.ids.tolist()]


def length(data: Data) -> int:
    return len(data.segments) if isinstance(data, Comparisons) else len(data.rows)


def taken(data: D, rows: NDArray[np.int64]) -> D:
    """The data of these rows alone, in this order, as if there had never been others: rankings are as long as the
    longest of these, and annotators those who gave these answers. Sources still name the whole."""
    changed: dict[str, Any] = {name: array[rows] for name, array in _rowwise(data)}
    if isinstance(data, Comparisons):
        if data.places is not None:
            places = changed["places"]
            changed["segments"] = changed["segments"][:, : places.max(initial=2)]
            changed["places"] = None if (places == places.max(initial=2)).all() else places
        if data.annotators is not None:
            there, changed["annotators"] = np.unique(changed["annotators"], return_inverse=True)
            changed["names"] = tuple(data.names[k] for k in there)
    return replace(data, **changed)


def _rowwise(data: Data) -> Iterator[tuple[str, NDArray[Any]]]:
    """What holds one entry per row."""
    for field in fields(data):
        value = getattr(data, field.name)
        if isinstance(value, np.ndarray):
            yield field.name, value


# ── learning ───────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Shards:
    """The learner that learns `options.shards` times from parts of the data. `fit` takes the options of the member."""

    member: Learner[Any, Any]
    options: ShardOptions

    @property
    def name(self) -> str:
        return f"shards of {self.member.name}"

    def fit(self, data: object, options: object, run: Run = Run()) -> Artifact:  # noqa: B008 (frozen)
        """`run.checkpoints` is the store of stages: those that are there already are not trained again. Raises what the
        member raises; UsageError G12 for what cannot be learned in shards; DataError D20 for too few rows."""
        if not isinstance(data, Comparisons | Demonstrations | Judgements):
            raise UsageError("G12", f"there are no {self.name}: it changes an artifact", help="drop the shards")
        self._require_slices(options)
        if run.penalty is not None:
            raise UsageError(
                "G12", "shards take no constraints: a rule can be anchored to rows that are to be forgotten",
                help="learn in shards, then patch",
            )  # fmt: skip
        if run.checkpoints is None:
            with TemporaryDirectory() as folder:
                return self.fit(data, options, replace(run, checkpoints=Checkpoints(Path(folder))))
        return self.follow(self.plan(data, options, run), data, options, run)

    def plan(self, data: Data, options: object, run: Run) -> Plan:
        """Which rows are where, and what each stage is named. DataError D20 for too few rows."""
        return Plan.of(data, self, options, run)

    def follow(self, plan: Plan, data: Data, options: object, run: Run) -> Artifact:
        """`fit` for those who have planned it, and have a store."""
        members = [self._shard(plan, data, options, run, shard) for shard in range(self.options.shards)]
        first, together = members[0], combined(members, "mean")
        record = {f"shard {k + 1}, {name}": said for k, m in enumerate(members) for name, said in _said(m).items()}
        learner = Learned(self.name, options_text(self.options) | options_text(options), run.seed, record)
        kind = identified(members, "mean")
        return Artifact(first.records, together.graph, together.tensors, kind, learner=learner, data=data.sources)

    def _require_slices(self, options: object) -> None:
        ordinal = getattr(options, "kind", "") == "ordinal"  # its thresholds are as many as the grades so far
        if self.options.slices > 1 and (self.member.name not in SLICED or ordinal):
            what = "ordinal labels" if ordinal else f"the learner {self.member.name!r}"
            raise UsageError("G12", f"{what} cannot go on from slice to slice", help="set slices = 1")

    def _shard(self, plan: Plan, data: Data, options: object, run: Run, shard: int) -> Artifact:
        assert run.checkpoints is not None
        slices, stage, found = self.options.slices, None, None
        seeded = replace(run, seed=(run.seed * 1_000_003 + shard) % MAX_SEED)
        for number in range(slices):
            name = plan.identities[plan.place(shard, number)]
            store = run.checkpoints.at(plan.place(shard, number))
            found = store.load(name)
            if found is None:
                found = self._stage(plan, data, options, replace(seeded, checkpoints=store, stage=stage), shard, number)
                store.save(found)
            run.progress(f"shard {shard + 1}", number + 1, slices, "")
            stage = plan.stage(found, name)
        assert found is not None
        return _artifact_in(found)

    def _stage(self, plan: Plan, data: Data, options: Any, run: Run, shard: int, number: int) -> Checkpoint:  # noqa: ANN401
        """Train one stage; what the store keeps of it."""
        assert run.checkpoints is not None
        identity = plan.identities[plan.place(shard, number)]
        part = taken(data, plan.rows(shard, number))
        stage = run.stage
        if self.options.slices > 1:
            # epochs that cost as much in sum as one run over all slices (Bourtoule et al., section IV-C)
            options = replace(options, epochs=-(-2 * options.epochs // (self.options.slices + 1)))
            if stage is None:
                rows = part.segments.reshape(-1, data.record.type.width) if isinstance(part, Comparisons) else part.rows
                stage = Stage(fit_normaliser(rows, data.record.type), None, identity)
            stage = replace(stage, identity=identity)
        within = Checkpoints(run.checkpoints.folder / "training", KEPT)
        artifact = self.member.fit(part, options, replace(run, checkpoints=within, stage=stage))
        artifact = replace(artifact, data=())  # a stage is kept when others' rows are not
        tensors: dict[str, Tensor] = {f"artifact.{name}": _tensor(value) for name, value in artifact.tensors.items()}
        tensors["manifest"] = torch.frombuffer(bytearray(artifact.manifest_bytes), dtype=torch.uint8)
        if stage is not None:
            tensors |= {f"parameter.{k}": p for k, p in enumerate(_ended_with(within))}
            tensors |= {"scale": _tensor(stage.normaliser.scale), "shift": _tensor(stage.normaliser.shift)}
        within.clear()
        return Checkpoint(identity, number + 1, {}, tensors)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Which rows are where, and what each stage is named. `order` [row]: shard by shard, slice by slice, by hash;
    `ends[shard][slice]`: where a slice ends in it."""

    order: NDArray[np.int64]
    ends: NDArray[np.int64]
    identities: dict[str, str]

    @classmethod
    def of(cls, data: Data, learner: Shards, options: object, run: Run) -> Plan:
        shards, slices = learner.options.shards, learner.options.slices
        held = contents(data)
        content = _numbers(held)
        named = content if data.ids is None else _numbers(keys(data))
        shard = (named[:, 0] % shards).astype(np.int64)
        piece = (named[:, 1] % slices).astype(np.int64)
        place = shard * slices + piece
        order = _ordered(place, content)
        counts = np.bincount(place, minlength=shards * slices)
        ends = counts.cumsum().reshape(shards, slices)
        if not counts.all():
            raise DataError(
                "D20",
                f"{len(held)} rows are too few for {shards} shards of {slices} slices: one is empty",
                help="make fewer shards and slices under [learner.shards]",
            )
        common = {
            "learner": learner.name, "options": options_text(learner.options) | options_text(options),
            "seed": run.seed, "record": digest_of(repr(data.record).encode()), "torch": torch.__version__,
        }  # fmt: skip
        identities: dict[str, str] = {}
        rows = content[order].astype(">u8")  # the digests again, as they are
        for s in range(shards):
            before = digest_of(canonical_json({**common, "shard": s}))
            for t in range(slices):
                start = 0 if s == t == 0 else ends.flat[s * slices + t - 1]
                before = digest_of(before.encode() + rows[start : ends[s, t]].tobytes())
                identities[cls.place(s, t)] = before
        return cls(order, ends, identities)

    @staticmethod
    def place(shard: int, number: int) -> str:
        return f"shard-{shard + 1}/slice-{number + 1}"

    def missing(self, store: Checkpoints) -> int:
        """How many stages are not in the store."""
        return sum(not store.at(place).holds(name) for place, name in self.identities.items())

    def carried(self, target: Checkpoints, sources: Sequence[Checkpoints]) -> None:
        """Put into an empty store what others have of these stages, and nothing else."""
        for place, name in self.identities.items():
            any(target.at(place).copied(source.at(place), name) for source in sources)

    def rows(self, shard: int, number: int) -> NDArray[np.int64]:
        """Those that a stage sees: of the shard's slices so far."""
        start = 0 if shard == 0 else self.ends[shard - 1, -1]
        return self.order[start : self.ends[shard, number]]

    @staticmethod
    def stage(found: Checkpoint, identity: str) -> Stage | None:
        """Where the next stage begins."""
        from rewarden.reward.normaliser import Normaliser

        if "scale" not in found.tensors:
            return None
        count = sum(name.startswith("parameter.") for name in found.tensors)
        normaliser = Normaliser(found.tensors["scale"].numpy(), found.tensors["shift"].numpy())
        return Stage(normaliser, tuple(found.tensors[f"parameter.{k}"] for k in range(count)), identity)


def _ordered(place: NDArray[np.int64], content: NDArray[np.uint64]) -> NDArray[np.int64]:
    """By place, and by content within it, row after row where these are equal."""
    first = content[:, 0]
    order = np.argsort(first)
    small = place[order].astype(np.min_scalar_type(int(place.max(initial=0))))  # few bits are sorted by counting
    order = order[np.argsort(small, kind="stable")]
    sorted_ = first[order]
    if (sorted_[1:] == sorted_[:-1]).any():  # equal rows, or unequal ones whose digests begin alike
        order = np.lexsort((*reversed(content.T), place))
    return order.astype(np.int64)


def _numbers(digests: Sequence[bytes]) -> NDArray[np.uint64]:
    """[row, 4] of SHA-256 digests, in whose order they are."""
    return np.frombuffer(b"".join(digests), ">u8").reshape(len(digests), 4).astype(np.uint64)


def _tensor(value: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.array(value, np.float32))


def _ended_with(within: Checkpoints) -> Sequence[Tensor]:
    """The parameters of the best epoch, from the last checkpoint of a run that has ended."""
    last = within.last()
    assert last is not None, "a run that has ended has left its checkpoint"
    count = sum(name.startswith("best.") for name in last.tensors)
    return [last.tensors[f"best.{k}"] for k in range(count)]


def _artifact_in(found: Checkpoint) -> Artifact:
    from rewarden.reward.manifest import artifact_from_manifest, parse_manifest

    prefix = "artifact."
    tensors = {k.removeprefix(prefix): v.numpy() for k, v in found.tensors.items() if k.startswith(prefix)}
    return artifact_from_manifest(parse_manifest(bytes(found.tensors["manifest"].numpy().tobytes())), tensors)


def _said(member: Artifact) -> dict[str, str]:
    return {} if member.learner is None else dict(member.learner.record)
