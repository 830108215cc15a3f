"""A file of texts → a Parquet table of features, which a spec can name as data.

Beside the features it keeps `text` (the reply) and `prompt`, and in its metadata which encoder made it and which
feature is which part: what is needed to encode a changed text just so.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from rewarden.progress import Progress, silent
from rewarden.reward.data.opening import open_data
from rewarden.reward.text.dialogues import Dialogue, is_pairs, labels_of, read_pairs, read_texts
from rewarden.reward.text.embedding import features_of
from rewarden.reward.text.encoder import TextEncoder
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.tables import Source, read_table

METADATA = b"rewarden.text"
KEPT = ("label", "weight", "annotator", "id", "tie")


@dataclass(frozen=True, slots=True)
class MadeOf:
    """How a table was made: the encoder's digest and what it keeps of long texts, and feature → part of the text."""

    encoder: str
    keep: str
    views: Mapping[str, str]


def encoded_table(
    path: Path, record_type: RecordType, views: Mapping[str, str], encoder: TextEncoder, keep: str
) -> Any:  # noqa: ANN401 - pyarrow is untyped
    """The table. Raises what reading, encoding and `read_table` raise: a vector out of its range is refused."""
    import pyarrow as pa

    source = open_data(path, record_type)
    columns: dict[str, Any] = {}
    if is_pairs(source.file.names):
        better, worse = read_pairs(source)
        columns |= {"pair": np.arange(1, source.file.rows + 1), "step": np.ones(source.file.rows, np.int64)}
        columns |= _columns("better.", better, record_type, views, encoder)
        columns |= _columns("worse.", worse, record_type, views, encoder)
        prefixes = ["better.", "worse."]
    else:
        columns |= _columns("", read_texts(source), record_type, views, encoder)
        prefixes = [""]
    for name in KEPT:
        if name in source.file.names:
            columns[name] = labels_of(source.file) if name == "label" else source.file.read(name)
    checked = Source(path, _file(columns, source.file.rows), source.bytes_digest)
    viewed = RecordType(record_type.name, tuple(f for f in record_type.features if f.name in views))
    for prefix in prefixes:
        read_table(checked, viewed, prefix=prefix)
    made = {"encoder": encoder.digest, "keep": keep, "views": dict(sorted(views.items()))}
    table = pa.table({name: _arrow(values) for name, values in columns.items()})
    return table.replace_schema_metadata({METADATA: json.dumps(made, sort_keys=True).encode()})


def _columns(
    prefix: str, dialogues: list[Dialogue], record_type: RecordType, views: Mapping[str, str], encoder: TextEncoder
) -> dict[str, Any]:
    found: dict[str, Any] = dict(features_of(dialogues, record_type, views, encoder))
    texts = {"text": [d.reply for d in dialogues], "prompt": [d.prompt for d in dialogues]}
    return {prefix + name: values for name, values in (found | texts).items()}


def _file(columns: Mapping[str, Any], rows: int) -> Any:  # noqa: ANN401
    from rewarden.spec_lang.table_files import ColumnFile

    return ColumnFile(tuple(columns), rows, lambda name: np.asarray(columns[name]))


def _arrow(values: Any) -> Any:  # noqa: ANN401
    import pyarrow as pa

    if isinstance(values, np.ndarray) and values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    return pa.array(values.tolist() if isinstance(values, np.ndarray) and values.dtype == object else values)


def made_of(path: Path) -> MadeOf | None:
    """How a table was made; None for one that says nothing of it."""
    if path.suffix.lower() not in (".parquet", ".pq"):
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = json.loads((pq.read_schema(path).metadata or {})[METADATA])
        return MadeOf(content["encoder"], content["keep"], dict(content["views"]))
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError):
        return None


def views_given(texts: Sequence[str], option: str = "--view") -> dict[str, str]:
    """`NAME=PART` by name. Raises G97."""
    views = {}
    for text in texts:
        name, equals, part = text.partition("=")
        if not equals or not name or not part:
            raise UsageError("G97", f"{option} {text}: expected NAME=VALUE", help="for example --view e=reply")
        views[name] = part
    return views


def encode_file(
    texts: Path,
    out: Path,
    folder: Path,
    features: tuple[Path, str | None],
    views: Mapping[str, str],
    keep: str,
    progress: Progress = silent,
) -> list[str]:
    """Write the table; what was done, in lines. `features`: a spec, and the record type where it declares several."""
    import pyarrow.parquet as pq

    from rewarden.atomic import require_free, write_bytes
    from rewarden.learning import record_type_of
    from rewarden.reward.text.cache import Cached
    from rewarden.reward.text.embedding import views_of
    from rewarden.reward.text.encoder import load_encoder
    from rewarden.spec_lang import load_spec
    from rewarden.text.cache import vectors_folder

    require_free(out)
    record_type = record_type_of(load_spec(features[0]), features[1], features[0])
    loaded = load_encoder(folder, cast(Literal["start", "end"], keep))
    encoder = Cached(loaded, vectors_folder(), progress)
    table = encoded_table(texts, record_type, views_of(record_type, views), encoder, keep)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    write_bytes(out, buffer.getvalue())
    cut = f", {loaded.cut} of them cut at their {'start' if keep == 'end' else 'end'}" if loaded.cut else ""
    return [
        f"wrote {out}: {table.num_rows} rows, {encoder.made} texts encoded{cut}, {encoder.kept} known before",
        f"encoder {loaded.digest}, {loaded.runtime}",
    ]
