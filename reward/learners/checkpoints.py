"""Checkpoints: where a training stood, so that a killed one goes on and ends in the same bytes.

A folder of two files: `state-EPOCH.safetensors` (parameters, moments, best parameters so far, the generator, whatever
a penalty keeps) and `checkpoint.json`, which names it by digest, beside the identity of the run. Each is written whole
beside its place, synced and renamed, the JSON last: whenever the machine stops, one whole checkpoint is there or none.
Nothing is pickled. What is damaged, or of another run, counts as none: a checkpoint only ever saves time.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewarden.spec_lang.canonical import canonical_json, digest_of
from rewarden.spec_lang.errors import ArtifactError

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "rewarden-checkpoint 3"  # 3: stages begin where the ones before ended
HEAD = "checkpoint.json"


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """After `epoch` epochs. Numbers are held as hexadecimal floats, so that none is rounded."""

    identity: str
    epoch: int
    numbers: Mapping[str, float]
    tensors: Mapping[str, Tensor]


@dataclass(slots=True, eq=False)
class Checkpoints:
    """The checkpoints of one run in a folder of their own; at most one every `seconds`, which changes no result.

    Mutable: it remembers when it last wrote.
    """

    folder: Path
    seconds: float = 5.0
    _last: float = field(default_factory=time.monotonic)

    def at(self, name: str) -> Checkpoints:
        """Those of a part of the run."""
        return Checkpoints(self.folder / name, self.seconds)

    def due(self) -> bool:
        return time.monotonic() - self._last >= self.seconds

    def save(self, checkpoint: Checkpoint) -> None:
        """Raises ArtifactError A24 where it cannot be written; the one before stays as it is."""
        from safetensors.torch import save

        data = save({name: tensor.detach().contiguous() for name, tensor in sorted(checkpoint.tensors.items())})
        state = f"state-{checkpoint.epoch}.safetensors"
        head = {
            "format": FORMAT,
            "identity": checkpoint.identity,
            "epoch": checkpoint.epoch,
            "numbers": {name: float(value).hex() for name, value in checkpoint.numbers.items()},
            "state": state,
            "digest": digest_of(data),
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(self.folder / state, data)
            _write(self.folder / HEAD, canonical_json(head))
            for file in self.folder.glob("state-*.safetensors"):
                if file.name != state:
                    file.unlink()
        except OSError as error:
            raise ArtifactError(
                "A24",
                f"{self.folder}: the checkpoint after epoch {checkpoint.epoch} cannot be written: "
                f"{error.strerror or error}",
                help="make room and run the same command again: it goes on from the last checkpoint",
            ) from error
        self._last = time.monotonic()

    def last(self) -> Checkpoint | None:
        """Whatever is there, of whichever run."""
        return self._load(None)

    def load(self, identity: str) -> Checkpoint | None:
        """The checkpoint of that run, or None."""
        return self._load(identity)

    def holds(self, identity: str) -> bool:
        """Whether the checkpoint of that run is there, whole."""
        return self._read(identity) is not None

    def _load(self, identity: str | None) -> Checkpoint | None:
        from safetensors import SafetensorError
        from safetensors.torch import load

        found = self._read(identity)
        if found is None:
            return None
        head, data = found
        try:
            numbers = {key: float.fromhex(text) for key, text in head["numbers"].items()}
            return Checkpoint(str(head["identity"]), int(head["epoch"]), numbers, load(data))
        except (ValueError, KeyError, TypeError, AttributeError, SafetensorError):
            return None

    def _read(self, identity: str | None) -> tuple[dict[str, Any], bytes] | None:
        """What says what is there, and the bytes that it names by digest."""
        try:
            head = json.loads((self.folder / HEAD).read_bytes())
            if head["format"] != FORMAT or (identity is not None and head["identity"] != identity):
                return None
            name = Path(str(head["state"])).name  # never out of the folder
            data = (self.folder / name).read_bytes()
            return (head, data) if digest_of(data) == head["digest"] else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def copied(self, other: Checkpoints, identity: str) -> bool:
        """Whether the other folder has the checkpoint of that run, which is here then, too; nothing else is copied."""
        try:
            head = (other.folder / HEAD).read_bytes()
            found = json.loads(head)
            if found["identity"] != identity:
                return False
            name = Path(str(found["state"])).name  # never out of the folder
            self.folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(other.folder / name, self.folder / name)
            (self.folder / HEAD).write_bytes(head)
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return True

    def clear(self) -> None:
        """The run is over, and its result is where it belongs."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    handle, part = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        Path(part).unlink(missing_ok=True)
