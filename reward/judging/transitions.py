"""Steps from one record to the next: what distances between rewards are measured over.

A reward may read a state (one record), a state and an action, or a state, an action and the next state:

- one record: its features are the state, but for those that are named as actions;
- several: the first is the state, the last one of the same type the next state, those between are the action.

Steps are recorded (consecutive steps of segments, or of episodes in a table), or made up: two independent rows of the
data, or two independent draws from the declared ranges. Only recorded ones say what the world does, so DARD needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.agreement import random_rows
from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.learners.interface import Array
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.table_files import open_columns
from rewarden.spec_lang.tables import read_table

EPISODES, TIMES = ("episode", "trajectory", "pair"), ("step", "frame", "time")


@dataclass(frozen=True, slots=True, eq=False)
class Roles:
    """How a reward's encoded columns are read. `acts` marks the state's columns that are actions; `between` is the
    width of action records, `nexts` whether a next state is read."""

    kind: RecordType
    acts: NDArray[np.bool_]
    between: tuple[RecordType, ...]
    nexts: bool

    @property
    def action_width(self) -> int:
        return int(self.acts.sum()) + sum(kind.width for kind in self.between)

    @property
    def state_only(self) -> bool:
        return not self.nexts and not self.action_width


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """`before`, `after` [step, width]: encoded state records; `extra` [step, between]: action records; `recorded`:
    whether somebody saw them happen. `source` says where they come from."""

    before: Array
    after: Array
    extra: Array
    recorded: bool
    source: str

    def __len__(self) -> int:
        return len(self.before)

    def actions(self, roles: Roles) -> Array:
        return np.concatenate([self.before[:, roles.acts], self.extra], axis=1)


def roles_of(artifact: Artifact, actions: Sequence[str] = ()) -> Roles:
    """Raises UsageError G35 for names that are no features of the state."""
    types = [record.type for record in artifact.records]
    kind = types[0]
    known = [feature.name for feature in kind.features]
    for name in actions:
        if name not in known:
            raise UsageError("G35", f"{name} is no feature of {kind.name}", help=f"there are: {', '.join(known)}")
    if len(actions) == len(known):
        raise UsageError("G35", "every feature is called an action: nothing is left to be the state")
    acts = np.array([column.feature in actions for column in kind.columns()])
    nexts = len(types) > 1 and types[-1].features == kind.features
    return Roles(kind, acts, tuple(types[1:-1] if nexts else types[1:]), nexts)


def values(artifact: Artifact, roles: Roles, state: Array, action: Array, after: Array) -> Array:
    """Deployed rewards [n] of states (whose own action columns are overwritten), actions and next states."""
    first = state.copy()
    own = int(roles.acts.sum())
    first[:, roles.acts] = action[:, :own]
    parts = [first, action[:, own:], *([after] if roles.nexts else [])]
    return forward(artifact, np.ascontiguousarray(np.concatenate(parts, axis=1), np.float32)).astype(np.float64)


# ── where steps come from ──────────────────────────────────────────────────────────────────────
def drawn_steps(roles: Roles, count: int, seed: int) -> Steps:
    """Both states and the action uniform over the declared ranges, independent."""
    before, after = (random_rows([roles.kind], count, seed * 2 + k).astype(np.float64) for k in range(2))
    extra = (
        random_rows(roles.between, count, seed * 2 + 7).astype(np.float64) if roles.between else np.zeros((count, 0))
    )
    return Steps(before, after, extra, False, f"{count} steps drawn uniformly from the declared ranges")


def row_steps(rows: Array, count: int, seed: int) -> Steps:
    """From one row of the data to another, drawn independently."""
    rng = np.random.default_rng(seed)
    before, after = rows[rng.integers(0, len(rows), count)], rows[rng.integers(0, len(rows), count)]
    what = f"{count} steps between independent draws of {len(rows)} rows"
    return Steps(before, after, np.zeros((count, 0)), False, what)


def segment_steps(segments: Array) -> Steps | None:
    """Consecutive steps of segments [answer, place, step, width]; None where they have one step only."""
    if segments.shape[2] < 2:
        return None
    width = segments.shape[3]
    before, after = segments[:, :, :-1].reshape(-1, width), segments[:, :, 1:].reshape(-1, width)
    both = np.unique(np.concatenate([before, after], axis=1), axis=0)
    return Steps(
        both[:, :width], both[:, width:], np.zeros((len(both), 0)), True,
        f"{len(both)} different steps within the recorded segments",
    )  # fmt: skip


def episode_steps(path: Path, kind: RecordType) -> Steps | None:
    """Consecutive rows of episodes in a table with a column `episode` (or `trajectory`) and one `step` (`frame`,
    `time`); None where it has no such columns. Steps count as consecutive where their numbers are as far apart as the
    least distance within any episode."""
    file = open_columns(path)
    episode = next((name for name in EPISODES if name in file.names), None)
    time = next((name for name in TIMES if name in file.names), None)
    if episode is None or time is None or f"better.{kind.features[0].name}" in file.names:
        return None
    rows = read_table(path, kind).values
    _, group = np.unique(np.array([str(item) for item in file.read(episode)]), return_inverse=True)
    when = np.asarray(file.read(time), np.float64)
    order = np.lexsort((when, group.reshape(-1)))
    same = np.diff(group.reshape(-1)[order]) == 0
    gaps = np.diff(when[order])
    if not (same & (gaps > 0)).any():
        return None
    follows = np.flatnonzero(same & (gaps > 0) & (gaps <= gaps[same & (gaps > 0)].min() * (1 + 1e-9)))
    before, after = rows[order[follows]], rows[order[follows + 1]]
    return Steps(before, after, np.zeros((len(before), 0)), True, f"{len(before)} recorded steps of {path.name}")
