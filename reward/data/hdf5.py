"""HDF5 recordings: flat arrays of all episodes end to end, or a group `episode_<n>` for each. h5py is an extra.

A file may point at other files (links, virtual and external storage). None of that is followed: what is read is what
the file itself holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.data.recordings import Recording, canonical, joined
from rewarden.reward.data.trajectories import flat_recording
from rewarden.spec_lang.errors import DataError, UsageError
from rewarden.spec_lang.table_files import MAX_BYTES, MAX_CELLS, oversize

Array = NDArray[Any]
EPISODE = re.compile(r"episode_(\d+)")
PARTS = ("obs", "acts", "next_obs", "rews", "done", "truncated")


def hdf5_recording(path: Path) -> Recording:
    """D02 where it is no such file, D30 where its parts do not fit together; G96 without h5py."""
    h5py = _h5py()
    if path.stat().st_size > MAX_BYTES:
        raise oversize(path)
    try:
        with h5py.File(path, "r") as file:
            groups = sorted(
                (int(match[1]), name) for name in file if (match := EPISODE.fullmatch(name)) and _own(file, name)
            )
            if groups:
                _require_consecutive(path, [number for number, _ in groups])
                return joined(path, list(_episodes(path, file, [name for _, name in groups])))
            arrays = dict(_arrays(path, file, "", all_names=True))
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise DataError("D02", f"cannot read {path.name}: {str(error)[:200]}", help="is it HDF5, and whole?") from None
    return flat_recording(path, arrays, {})


def _h5py() -> Any:  # noqa: ANN401 - an optional package without types
    try:
        import h5py
    except ImportError:
        raise UsageError(
            "G96", "HDF5 recordings need the package h5py", help="pip install 'rewarden[recordings]'"
        ) from None
    return h5py


def _require_consecutive(path: Path, numbers: list[int]) -> None:
    for expected, number in enumerate(numbers):
        if number != expected:
            raise DataError("D30", f"{path.name} has no episode_{expected}, but has episode_{number}")


def _episodes(path: Path, file: Any, names: list[str]) -> Iterator[dict[str, Array]]:  # noqa: ANN401
    cells = 0
    for name in names:
        arrays = dict(_arrays(path, file[name], ""))
        cells += sum(values.size for values in arrays.values())
        if cells > MAX_CELLS:
            raise oversize(path)
        yield arrays


def _arrays(path: Path, group: Any, prefix: str, *, all_names: bool = False) -> Iterator[tuple[str, Array]]:  # noqa: ANN401
    """Numbers of the group; those of groups within it by dotted names. Infos are left alone."""
    for name in group:
        dotted = f"{prefix}{name}"
        if not _own(group, name) or not (all_names or canonical(dotted).partition(".")[0] in PARTS):
            continue
        item = group[name]
        if hasattr(item, "keys"):
            if canonical(dotted).partition(".")[0] in PARTS:
                yield from _arrays(path, item, f"{dotted}.")
            continue
        if item.is_virtual or item.external:
            raise DataError("D02", f"{path.name}: {dotted} is kept in another file", help="copy it into this one")
        if item.dtype.kind not in "fiub" or item.dtype.itemsize > 8:
            if all_names and canonical(dotted) not in PARTS:
                continue
            raise DataError(
                "D04",
                f"{path.name}: {dotted} holds {item.dtype}, not numbers",
                help="text and images are no features: record what can be read off them",
            )
        if item.size > MAX_CELLS:
            raise oversize(path)
        yield dotted, np.asarray(item[()])


def _own(group: Any, name: str) -> bool:  # noqa: ANN401
    """Is it in the file itself, not a link to somewhere?"""
    import h5py

    return isinstance(group.get(name, getlink=True), h5py.HardLink)
