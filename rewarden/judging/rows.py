"""What a reward is judged by: a file, what its columns say that it is, and its records by name and text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.judging.baselines import Quantity
from rewarden.reward.learners.interface import Array, Comparisons, Demonstrations, Judgements
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.table_files import ColumnFile
from rewarden.spec_lang.tables import Source

Data = Comparisons | Demonstrations | Judgements
TEXT = "text"


def read_data(
    artifact: Artifact, path: Path, columns: Mapping[str, str] | None = None, encoder: Path | None = None
) -> tuple[Source, Data]:
    """The data, as what their columns say they are. A reward of several records is not judged by tables.

    `columns`: which column a feature is; `encoder`: the folder of a text encoder, for rows of texts. Raises DataError,
    UsageError G42.
    """
    from rewarden.reward.data.opening import open_data
    from rewarden.reward.segments import READERS

    if len(artifact.records) != 1:
        raise UsageError(
            "G42",
            f"{path.name}: a reward of {len(artifact.records)} records is not judged by tables",
            help="drop --data",
        )
    (record,) = artifact.records
    source = open_data(path, record.type, columns)
    if encoder is not None or _are_texts(source.file, record.type):
        source = _encoded(source, artifact, encoder)
    data = READERS[_kind(source.file.names, record.type)](source, record.type, record.param)
    assert isinstance(data, Comparisons | Demonstrations | Judgements)
    return source, data


def _kind(names: Sequence[str], record_type: RecordType) -> str:
    pairs = any(name.startswith(f"better.{f.name}") for f in record_type.features for name in names)
    if {"ranking", "place"} <= set(names):
        return "rankings"
    if pairs:
        return "preferences" if {"pair", "step"} <= set(names) else "statements"
    return "labels" if "label" in names and record_type.features[0].name != "label" else "demonstrations"


def _are_texts(file: ColumnFile, record_type: RecordType) -> bool:
    """Rows of texts, and no column of any feature."""
    from rewarden.reward.text.dialogues import is_texts

    known = {name.removeprefix("better.").partition("[")[0] for name in file.names}
    return is_texts(file.names) and not known & {feature.name for feature in record_type.features}


def _encoded(source: Source, artifact: Artifact, encoder: Path | None) -> Source:
    from rewarden.text.use import as_features

    if encoder is None:
        raise UsageError(
            "G42",
            f"{source.path.name} holds texts, and the reward reads vectors of them",
            help="name the encoder that it was learned with: --encoder DIR",
        )
    return as_features(source, artifact, encoder)


# ── records ────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Every record of the data without missing values [row, column], and where each is in the data. `texts`: what each
    is the vector of, by side and row of the file, where that is known."""

    rows: Array
    places: NDArray[np.intp]
    shape: tuple[int, ...]
    texts: tuple[NDArray[np.object_], ...] = field(default=())

    def name(self, number: int) -> str:
        """`row 3`, or where in which answer; counted from 1."""
        place = int(self.places[number])
        if len(self.shape) == 1:
            return f"row {place + 1}"
        answer, side, step = (int(k) for k in np.unravel_index(place, self.shape))
        which = ("the better" if side == 0 else "the worse") if self.shape[1] == 2 else f"place {side + 1}"
        return f"answer {answer + 1}, {which}" + (f", step {step + 1}" if self.shape[2] > 1 else "")

    def text(self, number: int) -> str | None:
        if not self.texts:
            return None
        answer, side = np.unravel_index(int(self.places[number]), (*self.shape, 1)[:2])
        found = self.texts[int(side)][int(answer)]
        return found if isinstance(found, str) else None


def records_of(source: Source, data: Data) -> Records:
    if isinstance(data, Comparisons):
        rows, shape = data.segments.reshape(-1, data.segments.shape[-1]), data.segments.shape[:3]
        there = np.ones(shape, np.bool_)
        if data.places is not None:  # shorter rankings are filled up
            there &= np.arange(shape[1])[None, :, None] < data.places[:, None, None]
        known = there.reshape(-1)
    else:
        rows, shape, known = data.rows, (len(data.rows),), np.ones(len(data.rows), np.bool_)
    whole = np.flatnonzero(known & ~np.isnan(rows).any(axis=1))
    return Records(rows[whole], whole, shape, _texts(source.file, shape))


def _texts(file: ColumnFile, shape: tuple[int, ...]) -> tuple[NDArray[np.object_], ...]:
    """Of rows that are texts, and of pairs of them in the order of their numbers."""
    if len(shape) == 1:
        return (file.read(TEXT),) if TEXT in file.names else ()
    sides = tuple(f"{side}.{TEXT}" for side in ("better", "worse"))
    if shape[1:] != (2, 1) or not set(sides) <= set(file.names) or file.rows != shape[0]:
        return ()
    order = np.arange(file.rows)
    if "pair" in file.names:
        order = np.argsort(np.asarray(file.read("pair"), np.float64), kind="stable")
    return tuple(file.read(side)[order] for side in sides)


# ── trivial rules ──────────────────────────────────────────────────────────────────────────────
def named_quantities(source: Source, data: Data, names: Sequence[str]) -> list[Quantity]:
    """Quantities of answers from columns `better.NAME` and `worse.NAME` of the file: numbers, or lengths of texts. The
    length is one without being named where the answers are texts: the rule that no reward of texts may lose to."""
    file = source.file
    pairs = isinstance(data, Comparisons) and data.segments.shape[1] == 2
    if names and not pairs:
        raise UsageError("G42", "a column can be a rule for pairs alone", help="drop --baseline")
    wanted = [(name, name) for name in names]
    if pairs and {f"better.{TEXT}", f"worse.{TEXT}"} <= set(file.names) and TEXT not in names:
        wanted.append((TEXT, "length"))
    if not wanted:
        return []
    assert isinstance(data, Comparisons)
    groups: NDArray[np.intp] = np.arange(file.rows)
    if {"pair", "step"} <= set(file.names):
        groups = np.unique(np.asarray(file.read("pair"), np.float64), return_inverse=True)[1].reshape(-1)
    found = []
    for name, shown in wanted:
        sides: list[Array] = []
        for side in ("better", "worse"):
            column = f"{side}.{name}"
            if column not in file.names:
                raise UsageError("G42", f"{source.path.name} has no column {column}", help="name one that it has")
            values = [float(len(v)) if isinstance(v, str) else float(v) for v in file.read(column).tolist()]
            sides.append(np.bincount(groups, values, len(data.segments)).astype(np.float64))
        found.append(Quantity(shown, sides[0] - sides[1]))
    return found
