"""A path that a user names → columns, with a digest of what was read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from rewarden.reward.data.mapping import mapped, require_names
from rewarden.reward.data.recordings import Recording, canonical
from rewarden.spec_lang.canonical import canonical_json, digest_of
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.table_files import ColumnFile, format_of, npz_arrays, open_columns
from rewarden.spec_lang.tables import Source, file_digest

HDF5 = (".hdf5", ".h5", ".hdf")
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")


def open_data(path: Path, record_type: RecordType, columns: Mapping[str, str] | None = None) -> Source:
    """A table, a recording or a dataset on disk; `columns` says which column a feature is (`mapping`).

    Raises DataError D01, D02, D03, D08, D10 to D13, D30 and UsageError G12, G96.
    """
    columns = columns or {}
    require_names(columns, record_type)
    used = [columns.get(feature.name, feature.name) for feature in record_type.features]
    used += [column for name, column in columns.items() if name not in {f.name for f in record_type.features}]
    return mapped(_source(path, used), columns, record_type)


def _source(path: Path, used: list[str]) -> Source:
    if path.is_dir():
        return _folder(path, used)
    if path.suffix.lower() in PICKLES:
        raise DataError(
            "D10",
            f"{path.name} is a pickle, which would run whatever code it holds",
            help="where you trust it, load it there and save arrays: numpy.savez(file, obs=…, acts=…), or Parquet",
        )
    if path.suffix.lower() in HDF5 and path.is_file():
        from rewarden.reward.data.hdf5 import hdf5_recording

        return _of(path, hdf5_recording(path), used, file_digest(path))
    from rewarden.reward.data.trajectories import is_npz_recording, is_rows, npz_recording, rows_recording

    if format_of(path) == ".npz" and path.is_file() and is_npz_recording(tuple(npz_arrays(path))):
        return _of(path, npz_recording(path), used, file_digest(path))
    file = open_columns(path)
    if is_rows(file):
        return _of(path, rows_recording(path, file), used, file_digest(path))
    return Source(path, file, file_digest(path))


def _folder(path: Path, used: list[str]) -> Source:
    from rewarden.reward.data.minari import minari_folder, minari_recording
    from rewarden.reward.data.trajectories import dataset_columns, is_rows, is_saved_dataset, rows_recording

    minari = minari_folder(path)
    if minari is not None:
        recording, files = minari_recording(minari)
        return _of(path, recording, used, files_digest(files, minari))
    if is_saved_dataset(path):
        file, files = dataset_columns(path)
        digest = files_digest(files, path)
        return _of(path, rows_recording(path, file), used, digest) if is_rows(file) else Source(path, file, digest)
    raise DataError(
        "D02",
        f"the folder {path.name} is no dataset that is known",
        help="Minari's (data/metadata.json) and those that Hugging Face's datasets save (state.json) are",
    )


def _of(path: Path, recording: Recording, used: list[str], digest: str) -> Source:
    file = recording.columns([canonical(name) for name in used])
    asked = {name.partition("[")[0] for name in used}
    other = {name: canonical(name) for name in asked if name not in file.names and canonical(name) in file.names}

    def read(name: str) -> object:
        return file.read(other.get(name, name))

    names = (*file.names, *other)
    return Source(path, ColumnFile(names, file.rows, read, file.place), digest)  # type: ignore[arg-type]


def files_digest(files: Iterable[Path], base: Path) -> str:
    """SHA-256 of the canonical JSON that maps each file's place below `base` to its own digest."""
    return digest_of(canonical_json({file.relative_to(base).as_posix(): file_digest(file) for file in files}))
