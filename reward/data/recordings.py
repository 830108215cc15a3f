"""Recorded episodes as columns.

An episode of T steps has T actions, rewards and ends, and T + 1 observations (or T, where the last one was not kept).
Names are those of `imitation`, whatever the file calls them:

    obs, obs.<key>             what was observed (before the step)
    acts, acts.<key>           what was done
    next_obs, next_obs.<key>   what was observed after it
    rews, done, truncated      reward, end by the world, end by the clock
    episode, step              counted from 0
    return                     the episode's sum of rewards, as it was recorded or else as it adds up

A row is a step. Where only observations are asked for, it is an observation instead, so that the last one counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.table_files import MAX_CELLS, ColumnFile, oversize

Array = NDArray[Any]
Arrays = Mapping[str, Array]

ALIASES = {
    "observations": "obs",
    "observation": "obs",
    "actions": "acts",
    "action": "acts",
    "next_observations": "next_obs",
    "rewards": "rews",
    "reward": "rews",
    "terminations": "done",
    "terminals": "done",
    "terminated": "done",
    "dones": "done",
    "truncations": "truncated",
    "timeouts": "truncated",
}
KNOWN = ("obs", "acts", "next_obs", "rews", "done", "truncated")
SUMS_DIFFER = (
    1e-3  # of a return and of the rewards that it is said to be the sum of, relative: float32 sums of long ones
)


def canonical(name: str) -> str:
    """`observations.position` → `obs.position`."""
    first, dot, rest = name.partition(".")
    return ALIASES.get(first, first) + dot + rest


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Episodes, end to end. `states`: one row per observation; `steps`: one per step; `lengths`: steps per episode.

    `with_last`: each episode has one observation more than steps. `refused`: columns that are there and not read, each
    with the error that says why.
    """

    path: Path
    states: Mapping[str, Array]
    steps: Mapping[str, Array]
    lengths: NDArray[np.int64]
    with_last: bool
    refused: Mapping[str, DataError]

    def columns(self, used: Collection[str]) -> ColumnFile:
        """One row per step; per observation where nothing else is `used`."""
        heads = {name.partition("[")[0] for name in used}
        if self.with_last and heads and heads <= {*self.states, "episode", "step"}:
            return self._file(self.states, self.lengths + 1)
        steps = dict(self.steps)
        for name, values in self.states.items():
            steps[name] = values[self._kept(first=True)] if self.with_last else values
            if self.with_last:
                steps.setdefault("next_" + name, values[self._kept(first=False)])
        return self._file(steps, self.lengths)

    def _kept(self, *, first: bool) -> NDArray[np.bool_]:
        """The observations before a step, or those after one."""
        kept = np.ones(int(self.lengths.sum()) + len(self.lengths), np.bool_)
        ends = np.cumsum(self.lengths + 1)
        kept[ends - 1 if first else ends - 1 - self.lengths] = False
        return kept

    def _file(self, arrays: Mapping[str, Array], lengths: NDArray[np.int64]) -> ColumnFile:
        starts = np.cumsum(lengths) - lengths
        rows = int(lengths.sum())
        episode = np.repeat(np.arange(len(lengths)), lengths)
        index = {"episode": episode, "step": np.arange(rows) - starts[episode]}
        found = {**index, **arrays}

        def read(name: str) -> Array:
            if name in self.refused:
                raise self.refused[name]
            return found[name]

        def place(row: int) -> str:
            return f"episode {int(episode[row]) + 1}, step {int(index['step'][row]) + 1}"

        return ColumnFile((*found, *self.refused), rows, read, place)


def joined(path: Path, episodes: Iterable[Arrays], refused: Mapping[str, DataError] | None = None) -> Recording:
    """Episodes of one file, checked against each other. D30 where their parts do not fit together, D08 without any."""
    parts = [_checked(path, number, arrays) for number, arrays in enumerate(episodes, start=1)]
    if not parts:
        raise DataError("D08", f"the recording {path.name} has no episodes", help="is it the file that was meant?")
    first = parts[0]
    for number, part in enumerate(parts, start=1):
        if part.keys() != first.keys():
            apart = ", ".join(sorted(part.keys() ^ first.keys()))
            raise _unfit(path, number, f"has other parts than episode 1: {apart}")
    lengths = np.array([_steps(part) for part in parts], np.int64)
    states = [name for name in first if _is_state(name)]
    extra = {len(part[states[0]]) - n for part, n in zip(parts, lengths, strict=True)} if states else {0}
    if len(extra) > 1:
        raise _unfit(path, 1, "keeps its last observation, and another episode does not")
    whole = {name: _concatenated(path, name, [part[name] for part in parts]) for name in first}
    return Recording(
        path,
        {name: values for name, values in whole.items() if name in states},
        {**_returns(whole, lengths), **{name: values for name, values in whole.items() if name not in states}},
        lengths,
        extra == {1},
        refused or {},
    )


def _is_state(name: str) -> bool:
    return name == "obs" or name.startswith("obs.")


def _steps(arrays: Arrays) -> int:
    for name, values in arrays.items():
        if not _is_state(name):
            return len(values)
    return len(next(iter(arrays.values())))


def _checked(path: Path, number: int, arrays: Arrays) -> dict[str, Array]:
    """By canonical names, every array of as many rows as there are steps (observations: or one more)."""
    found = {canonical(name): np.asarray(values) for name, values in arrays.items()}
    if not found:
        raise _unfit(path, number, "is empty")
    for name, values in found.items():
        if values.ndim == 0:
            raise _unfit(path, number, f"has one {name} for all its steps, not one for each")
    steps = _steps(found)
    if not any(map(_is_state, found)) and steps == 0:
        raise _unfit(path, number, "has neither observations nor steps")
    for name, values in found.items():
        if len(values) != steps and not (_is_state(name) and len(values) == steps + 1):
            raise _unfit(path, number, f"has {len(values)} {name} and {steps} steps")
    return found


def _concatenated(path: Path, name: str, parts: Sequence[Array]) -> Array:
    """One array [row] or [row, cell]; what has more dimensions is laid out in one, the last index first."""
    shapes = {part.shape[1:] for part in parts if len(part)}
    if len(shapes) > 1:
        odd = next(k for k, part in enumerate(parts, start=1) if len(part) and part.shape[1:] != parts[0].shape[1:])
        raise _unfit(path, odd, f"has {name} of another shape than episode 1")
    shape = next(iter(shapes), ())
    whole = np.concatenate([part.reshape(len(part), *shape) for part in parts])
    if whole.size > MAX_CELLS:
        raise oversize(path)
    return whole.reshape(len(whole), -1) if whole.ndim > 2 else whole


def _returns(whole: Arrays, lengths: NDArray[np.int64]) -> dict[str, Array]:
    if "rews" not in whole or whole["rews"].ndim != 1 or whole["rews"].dtype.kind not in "fiu":
        return {}
    totals = [float(part.sum()) for part in np.split(whole["rews"].astype(np.float64), np.cumsum(lengths)[:-1])]
    return {"return": np.repeat(totals, lengths)}


def split(path: Path, arrays: Arrays, lengths: NDArray[np.int64]) -> list[dict[str, Array]]:
    """Flat arrays [step, …] cut into episodes; observations may have one row more each. D30 if they do not fit."""
    total = int(lengths.sum())
    cut: dict[str, list[Array]] = {}
    for name, values in arrays.items():
        long = _is_state(canonical(name)) and len(values) == total + len(lengths)
        if len(values) != total and not long:
            raise DataError(
                "D30",
                f"{path.name}: {name} has {len(values)} rows, but the episodes have {total} steps",
                help="save whole episodes: as many actions and rewards as steps, and one observation more at most",
            )
        cut[name] = np.split(values, np.cumsum(lengths + int(long))[:-1])
    return [{name: parts[k] for name, parts in cut.items()} for k in range(len(lengths))]


def by_ends(arrays: Arrays) -> NDArray[np.int64]:
    """Lengths of episodes: said (`l`, as Gymnasium's RecordEpisodeStatistics calls them), or read off their ends."""
    named = {canonical(name): values for name, values in arrays.items()}
    steps = len(next((v for n, v in named.items() if not _is_state(n)), next(iter(named.values()))))
    ends = np.zeros(steps, np.bool_)
    for name in ("done", "truncated"):
        if name in named and len(named[name]) == steps:
            ends |= named[name].astype(np.bool_)
    marks = np.flatnonzero(ends) + 1
    if not len(marks) or marks[-1] != steps:
        marks = np.append(marks, steps)  # an episode that was cut off in recording
    return np.diff(marks, prepend=0).astype(np.int64)


def require_returns(path: Path, said: Array, rews: Array, lengths: NDArray[np.int64]) -> None:
    """Returns that were recorded are the sums of the rewards. D30 where they are not."""
    totals = [float(part.sum()) for part in np.split(rews.astype(np.float64), np.cumsum(lengths)[:-1])]
    for number, (r, total) in enumerate(zip(np.asarray(said, np.float64).tolist(), totals, strict=True), start=1):
        if not abs(r - total) <= SUMS_DIFFER * max(1.0, abs(total)):
            raise _unfit(path, number, f"is said to return {r:.6g}, and its rewards add up to {total:.6g}")


def _unfit(path: Path, number: int, what: str) -> DataError:
    return DataError("D30", f"episode {number} of {path.name} {what}", help="record it again, or leave the episode out")
