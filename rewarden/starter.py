"""A starter project: features read off a table or a network, for a person to review.

Ranges are what the data show, widened outward to round numbers: a declared range is a promise about what can occur, and
only the domain's expert can make it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from math import floor, isfinite, log10, prod
from pathlib import Path
from typing import TYPE_CHECKING

from rewarden.atomic import write_text
from rewarden.config import FILE
from rewarden.spec_lang.errors import ArtifactError, DataError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

MOST_CASES = 16  # distinct words up to which a text column is taken for an enum
TABLES = (".parquet", ".csv", ".jsonl")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_PREFIXES = ("better.", "worse.")  # a table of pairs: both sides have the same features


@dataclass(frozen=True, slots=True)
class Draft:
    """Declarations of features, and columns that were passed over, with the reason."""

    lines: tuple[str, ...]
    passed_over: tuple[str, ...] = ()


def write_starter(folder: Path, source: Path | None) -> tuple[Path, ...]:
    """Write the project; UsageError G05 where one of its files exists, G40 for a source of no known kind."""
    name = _spec_name(source, folder)
    spec, config = folder / f"{name}.rwd", folder / FILE
    for file in (spec, config):
        if file.exists():
            raise UsageError("G05", f"{file} exists already", help="rewarden init never overwrites: move it first")
    draft = Draft(("  x : real in -1 .. 1",)) if source is None else _draft(source)
    table = source if source is not None and source.suffix in TABLES and not _is_pairs(source) else None
    write_text(spec, _spec_text(name, draft, source, _relative(table, folder)))
    write_text(config, f'specs = ["{name}.rwd"]\n\n[rewards]\nR = "reward"\n')
    return config, spec


def _draft(source: Path) -> Draft:
    if source.suffix == ".onnx":
        return _from_network(source)
    if source.suffix in TABLES:
        return _from_table(_read(source))
    raise UsageError("G40", f"{source}: neither a network nor a table", help=f"--from takes .onnx, {', '.join(TABLES)}")


# ── tables ─────────────────────────────────────────────────────────────────────────────────────
def _read(path: Path) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv, json, parquet

    readers = {".parquet": parquet.read_table, ".csv": csv.read_csv, ".jsonl": json.read_json}
    try:
        table = readers[path.suffix](path)
    except (OSError, pa.ArrowException) as error:
        raise DataError("D02", f"{path}: cannot be read: {error}") from error
    if table.num_rows == 0:
        raise DataError("D08", f"{path} has no rows", help="ranges are read off the data: give some")
    return table


def _is_pairs(path: Path) -> bool:
    return any(name.startswith(_PREFIXES) for name in _read(path).column_names)


def _from_table(table: pa.Table) -> Draft:
    from rewarden.spec_lang.parser import keywords

    columns: dict[str, list[pa.ChunkedArray]] = {}
    for name in table.column_names:
        plain = next((name.removeprefix(p) for p in _PREFIXES if name.startswith(p)), name)
        columns.setdefault(plain, []).append(table.column(name))
    found, passed = [], []
    for name, parts in columns.items():
        if not _NAME.fullmatch(name) or name in keywords():
            passed.append(f"{name}: not a name that a spec can use; rename the column")
            continue
        kind = _kind(parts)
        if kind is None:
            passed.append(f"{name}: neither numbers, nor true and false, nor a few words")
        else:
            found.append((name, kind))
    if not found:
        raise DataError("D18", "no column can be a feature", help="a feature is a number, a bool or one of a few words")
    width = max(len(name) for name, _ in found)
    return Draft(tuple(f"  {name.ljust(width)} : {kind}" for name, kind in found), tuple(passed))


def _kind(parts: Iterable[pa.ChunkedArray]) -> str | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    from rewarden.spec_lang.parser import keywords

    parts = list(parts)
    kind = parts[0].type
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        words = sorted({str(value) for part in parts for value in pc.unique(part).to_pylist() if value is not None})
        few = 0 < len(words) <= MOST_CASES and all(_NAME.fullmatch(word) and word not in keywords() for word in words)
        return "enum {" + ", ".join(words) + "}" if few else None
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    ends = [pc.min_max(part).as_py() for part in parts]
    lows, highs = [e["min"] for e in ends], [e["max"] for e in ends]
    if any(v is None or not isfinite(v) for v in (*lows, *highs)):
        return None
    lo, hi = widened(float(min(lows)), float(max(highs)))
    return f"{'int' if pa.types.is_integer(kind) else 'real'} in {lo} .. {hi}"


def widened(lo: float, hi: float) -> tuple[str, str]:
    """Decimal numbers outside of lo and hi, rounded outward to two significant digits of their distance."""
    width = hi - lo or abs(hi) or 1.0
    unit = Decimal(1).scaleb(max(floor(log10(width)) - 1, -300))
    with localcontext() as context:
        context.prec = 700  # every binary64 number is exact in it
        low = (Decimal(lo) / unit).to_integral_value(ROUND_FLOOR)
        high = (Decimal(hi) / unit).to_integral_value(ROUND_CEILING)
        return f"{low * unit:f}", f"{max(high, low + 1) * unit:f}"


# ── networks ───────────────────────────────────────────────────────────────────────────────────
def _from_network(path: Path) -> Draft:
    count = _input_width(path)
    width = len(f"x{count - 1}")
    return Draft(tuple(f"  {f'x{k}'.ljust(width)} : real in -1 .. 1" for k in range(count)))


def _input_width(path: Path) -> int:
    """Columns of the network's inputs, batch axis aside."""
    import onnx

    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except Exception as error:  # protobuf's own errors share no base class
        raise ArtifactError("A30", f"{path}: not an ONNX file", help="name a network exported to ONNX") from error
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value.type.tensor_type.shape.dim for value in graph.input if value.name not in weights]
    return sum(prod(d.dim_value for d in (dims[1:] if len(dims) > 1 else dims)) for dims in inputs)


# ── text ───────────────────────────────────────────────────────────────────────────────────────
def _spec_name(source: Path | None, folder: Path) -> str:
    raw = source.stem if source is not None else folder.resolve().name
    name = re.sub(r"[^A-Za-z0-9_]+", "_", raw).strip("_").lower()
    return name if _NAME.fullmatch(name) else "rules"


def _relative(table: Path | None, folder: Path) -> str | None:
    """The table as the spec names it: specs read data from their own folder only."""
    if table is None:
        return None
    try:
        return table.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return None


def _spec_text(name: str, draft: Draft, source: Path | None, data: str | None) -> str:
    origin = f"as {source.name} has them" if source is not None else "yours to write"
    lines = [
        f"spec {name} v1",
        "",
        f"# To review: the features are {origin}. A range is a promise about what can occur; units are",
        "# worth adding: `real [m/s] in 0 .. 40`.",
        "features Step {",
        *draft.lines,
        "}",
        *(f"# left out: {reason}" for reason in draft.passed_over),
        "",
        "reward R(s: Step)",
    ]
    if data is not None:
        lines += [f'data rows: Step from "{data}"']
        rule = ["--- Nothing is worth more than the best that was recorded.", "should no_better_than_seen:"]
        rule += ["  forall s: Step", "  expect R(s) <= max(R(rows))"]
    else:
        rule = ["--- The reward stays within bounds.", "should bounded:", "  forall s: Step", "  expect |R(s)| <= 10"]
    return "\n".join([*lines, "", *rule, ""])
