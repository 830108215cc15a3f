"""The driving scene that the measurements share: the packaged spec and data, with both rewards learned from them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import rewarden as rw
from rewarden.demo import learned
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.spec import Spec


@dataclass(frozen=True, slots=True)
class Scene:
    folder: Path
    spec: Spec
    rewards: Mapping[str, Artifact]  # R, D and Base


@contextmanager
def driving() -> Iterator[Scene]:
    """A temporary folder with the spec and its data, and the learned rewards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rewards = learned(folder)
        yield Scene(folder, rw.load_spec(folder / "driving.rwd"), rewards)
