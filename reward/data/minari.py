"""Minari datasets: a folder `data` with `metadata.json` and the episodes, as HDF5 or as Arrow (or Parquet) files.

In Arrow each episode is a folder of its own, and its last row holds the last observation beside padding. What the
metadata say of the number of episodes and steps has to be so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.data.recordings import Recording, canonical, joined
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.table_files import MAX_BYTES, oversize

Array = NDArray[Any]
MAIN, METADATA = "main_data.hdf5", "metadata.json"
PARTS = ("observations", "actions", "rewards", "terminations", "truncations")
SUFFIXES = (".arrow", ".feather", ".parquet")


def minari_folder(path: Path) -> Path | None:
    """The folder `data` of a dataset, given itself or its parent; None if there is none."""
    for folder in (path, path / "data"):
        if (folder / METADATA).is_file() and ((folder / MAIN).is_file() or (folder / "0").is_dir()):
            return folder
    return None


def minari_recording(folder: Path) -> tuple[Recording, list[Path]]:
    """The recording and the files that it was read from. D02, D30, and what `hdf5_recording` raises."""
    try:
        metadata = json.loads((folder / METADATA).read_text("utf-8"))
        assert isinstance(metadata, dict)
    except (OSError, ValueError, AssertionError):
        raise DataError("D02", f"cannot read {folder.parent.name}: {METADATA} is not that of a dataset") from None
    if (folder / MAIN).is_file():
        from rewarden.reward.data.hdf5 import hdf5_recording

        recording, files = hdf5_recording(folder / MAIN), [folder / MAIN]
    else:
        files = _files(folder)
        recording = joined(folder, _episodes(folder, files))
    for key, found in (("total_episodes", len(recording.lengths)), ("total_steps", int(recording.lengths.sum()))):
        if key in metadata and metadata[key] != found:
            raise DataError(
                "D30",
                f"the dataset says it has {key.replace('_', ' ')} {metadata[key]}, and has {found}",
                help="is it complete? combine or download it again",
            )
    return recording, [folder / METADATA, *files]


def _files(folder: Path) -> list[Path]:
    numbers = sorted(int(item.name) for item in folder.iterdir() if item.is_dir() and item.name.isdigit())
    found = []
    for expected, number in enumerate(numbers):
        if number != expected:
            raise DataError("D30", f"the dataset has no episode {expected}, but has episode {number}")
        parts = sorted(f for f in (folder / str(number)).iterdir() if f.suffix in SUFFIXES and not f.is_symlink())
        if len(parts) != 1:
            raise DataError("D30", f"episode {number} of the dataset is {len(parts)} files, not one")
        found += parts
    if sum(file.stat().st_size for file in found) > MAX_BYTES:
        raise oversize(folder)
    return found


def _episodes(folder: Path, files: list[Path]) -> Iterator[dict[str, Array]]:
    import pyarrow as pa
    import pyarrow.feather
    import pyarrow.parquet

    for number, file in enumerate(files):
        try:
            reader = pyarrow.parquet if file.suffix == ".parquet" else pyarrow.feather
            table = reader.read_table(file, memory_map=False)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(
                "D02", f"cannot read episode {number} of {folder.parent.name}: {str(error)[:200]}"
            ) from None
        found: dict[str, Array] = {}
        for name in PARTS:
            if name in table.column_names:
                found |= _columns(folder, number, name, table.column(name).combine_chunks())
        states = canonical(PARTS[0])
        yield {
            name: values if canonical(name).partition(".")[0] == states else values[:-1]
            for name, values in found.items()
        }


def _columns(folder: Path, number: int, name: str, column: Any) -> dict[str, Array]:  # noqa: ANN401 - pyarrow is untyped
    import pyarrow as pa

    if pa.types.is_struct(column.type):
        found: dict[str, Array] = {}
        for index in range(column.type.num_fields):
            inner = column.type.field(index).name
            found |= _columns(folder, number, f"{name}.{inner}", column.field(index))
        return found
    if pa.types.is_fixed_size_list(column.type):
        flat = column.flatten()
        return {name: np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(len(column), -1)}
    values = np.asarray(column.to_numpy(zero_copy_only=False))
    if values.dtype.kind not in "fiub":
        raise DataError(
            "D04",
            f"episode {number} of {folder.parent.name}: {name} holds {column.type}, not numbers",
            help="text and images are no features: record what can be read off them",
        )
    return {name: values}
