"""Trajectories of `imitation`, in the forms that its versions have written.

- npz of flat arrays: `obs` (one more per trajectory than steps), `acts`, `infos`, `rews`, `terminal` (one per
  trajectory) and `indices`, at which all but `obs` are cut. `infos` is pickled there, and so are observations that are
  dicts: such parts are never read.
- Rows, one per trajectory: `obs` and `acts` as lists, `terminal`, `rews`; `infos` as text of jsonpickle, which is code
  as much as a pickle is and is not read either. In Parquet, JSON lines, or a folder that `datasets` has saved.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.data.recordings import Recording, by_ends, canonical, joined, require_returns, split
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.table_files import MAX_BYTES, ColumnFile, npz_arrays, oversize

Array = NDArray[Any]
STATISTICS = ("r", "l", "t")  # Gymnasium's RecordEpisodeStatistics: return, length and seconds of each episode
PICKLED = "its infos are pickled (jsonpickle), and nothing is ever unpickled"


def is_npz_recording(names: Sequence[str]) -> bool:
    known = {canonical(name) for name in names}
    return "obs" in known and bool(known & {"acts", "rews", "done", "truncated", "indices", "l"})


def npz_recording(path: Path) -> Recording:
    """`imitation`'s npz, or flat arrays as a recorder of Gymnasium episodes keeps them."""
    readers, arrays, refused = npz_arrays(path), {}, {}
    for name, read in readers.items():
        try:
            arrays[name] = read()
        except DataError as error:
            if error.code != "D10":
                raise
            refused[canonical(name)] = error
    if "obs" in refused:
        raise refused["obs"]
    return flat_recording(path, arrays, refused)


def flat_recording(path: Path, arrays: dict[str, Array], refused: Mapping[str, DataError]) -> Recording:
    """Arrays [step, …] of all episodes end to end, and what says where an episode ends."""
    if not any(canonical(name).startswith("obs") for name in arrays):
        raise DataError("D02", f"{path.name} holds no observations", help=f"it holds {', '.join(arrays) or 'nothing'}")
    indices = arrays.pop("indices", None)
    terminal = arrays.pop("terminal", None)
    statistics = {name: arrays.pop(name) for name in STATISTICS if name in arrays}
    steps = {name: a for name, a in arrays.items() if a.ndim}
    total = len(next((a for n, a in steps.items() if canonical(n) in ("acts", "rews", "done")), arrays_first(steps)))
    if indices is not None:
        lengths = np.diff(np.concatenate([[0], _whole(path, "indices", indices), [total]])).astype(np.int64)
    elif "l" in statistics:
        lengths = _whole(path, "l", statistics["l"])
    else:
        lengths = by_ends(steps)
    if not len(lengths) or lengths.min() < 0:
        raise DataError("D30", f"{path.name}: the episodes do not begin in order", help="record it again")
    if lengths.max() > total:
        number = int(lengths.argmax())
        raise DataError("D30", f"{path.name}: episode {number + 1} is said to have {lengths[number]} steps of {total}")
    if terminal is not None and terminal.shape not in ((len(lengths),), (total,)):
        raise DataError(
            "D30",
            f"{path.name} says of {terminal.size} episodes whether they ended, and has {len(lengths)}",
            help="one `terminal` for each",
        )
    episodes = split(path, _known(steps, total, len(lengths)), lengths)
    if terminal is not None and terminal.shape == (len(lengths),):
        for episode, length, ended in zip(episodes, lengths, terminal, strict=True):
            episode["done"] = _ending(int(length), bool(ended))
    if "r" in statistics and "rews" in {canonical(name) for name in steps}:
        if statistics["r"].shape != (len(lengths),):
            raise DataError("D30", f"{path.name} has {statistics['r'].size} returns of {len(lengths)} episodes")
        rews = next(a for name, a in steps.items() if canonical(name) == "rews")
        require_returns(path, statistics["r"], rews, lengths)
    return joined(path, episodes, refused)


def arrays_first(arrays: Mapping[str, Array]) -> Array:
    return next(iter(arrays.values()))


def _known(arrays: Mapping[str, Array], total: int, episodes: int) -> dict[str, Array]:
    """What has one row per step (observations: or one more per episode), and all that a recording is known to have."""
    from rewarden.reward.data.recordings import KNOWN

    return {
        name: values
        for name, values in arrays.items()
        if canonical(name).partition(".")[0] in KNOWN or len(values) in (total, total + episodes)
    }


def _whole(path: Path, name: str, values: Array) -> NDArray[np.int64]:
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise DataError("D30", f"{path.name}: {name} are not whole numbers, one for each episode")
    return values.astype(np.int64)


def _ending(length: int, ended: bool) -> Array:
    done = np.zeros(length, np.bool_)
    done[-1:] = ended
    return done


# ── one row per trajectory ─────────────────────────────────────────────────────────────────────
def is_rows(file: ColumnFile) -> bool:
    """Columns `obs` and `acts` whose values are whole trajectories."""
    if not {"obs", "acts"} <= set(file.names) or not file.rows:
        return False
    first = file.read("obs")[0]
    return "terminal" in file.names or (isinstance(first, list) and bool(first) and isinstance(first[0], list))


def rows_recording(path: Path, file: ColumnFile) -> Recording:
    """Raises D30 for a row whose parts are no arrays, with its number."""
    columns = {name: file.read(name) for name in file.names if name != "infos"}

    def episodes() -> Iterator[dict[str, Array]]:
        for row in range(file.rows):
            found = {}
            for name in columns:
                value = columns[name][row]
                if name == "terminal":
                    continue
                if isinstance(value, list | np.ndarray):
                    found[name] = _array(path, row, name, value)
            acts = found.get("acts")
            if acts is None:
                raise _row_error(path, row, "acts", "is missing")
            if "terminal" in columns:
                ended = columns["terminal"][row]
                if not isinstance(ended, bool | np.bool_):
                    raise _row_error(path, row, "terminal", f"is {str(ended)[:40]}, neither true nor false")
                found["done"] = _ending(len(acts), bool(ended))
            yield found

    return joined(path, episodes(), _infos(path, file.names))


def _infos(path: Path, names: Sequence[str]) -> dict[str, DataError]:
    if "infos" not in names:
        return {}
    help = "write what is needed of the infos as columns of numbers of their own"
    return {"infos": DataError("D10", f"{path.name}: {PICKLED}", help=help)}


def _array(path: Path, row: int, name: str, value: object) -> Array:
    try:
        array = np.asarray(value)
    except ValueError:
        raise _row_error(path, row, name, "is uneven: its steps differ in length") from None
    if array.dtype.kind not in "fiub":
        raise _row_error(path, row, name, "holds what is no number")
    return array


def _row_error(path: Path, row: int, name: str, what: str) -> DataError:
    return DataError("D30", f"row {row + 1} of {path.name}: {name} {what}", help="a row is a trajectory of numbers")


# ── a folder that `datasets` has saved ─────────────────────────────────────────────────────────
def is_saved_dataset(folder: Path) -> bool:
    return (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()


def dataset_columns(folder: Path) -> tuple[ColumnFile, list[Path]]:
    """The columns of a Hugging Face dataset on disk, and its files. D02 for what is no such folder."""
    import pyarrow as pa

    try:
        state = json.loads((folder / "state.json").read_text("utf-8"))
        names = [item["filename"] for item in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError("D02", f"cannot read {folder.name}: state.json is not that of a dataset") from None
    if state.get("_indices_data_files"):
        raise DataError(
            "D02", f"{folder.name} keeps its rows in an order of its own", help="flatten_indices() before it is saved"
        )
    files = [folder / str(name) for name in names]
    for file in files:
        if file.parent != folder or file.is_symlink() or not file.is_file():
            raise DataError("D01", f"{folder.name} has no file {file.name} of its own, which state.json names")
    if sum(file.stat().st_size for file in files) > MAX_BYTES:
        raise oversize(folder)
    try:
        tables = []
        for file in files:
            with pa.OSFile(str(file)) as source, pa.ipc.open_stream(source) as stream:
                tables.append(stream.read_all())
        table = pa.concat_tables(tables)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError("D02", f"cannot read {folder.name}: {str(error)[:200]}", help="is it complete?") from None

    def read(name: str) -> Array:
        values = np.empty(table.num_rows, dtype=object)
        values[:] = table.column(name).to_pylist()
        return values

    return ColumnFile(tuple(table.column_names), table.num_rows, read), files
