"""What a draft is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rewarden.spec_lang.diagnostics import printable

REVIEW = "REVIEW"
_SHOWN = 60  # characters of a stranger's name or value


@dataclass(frozen=True, slots=True)
class DraftField:
    """One feature as it would be declared; `obstacle` says what to change first where it cannot be used yet."""

    name: str
    kind: str  # "real [m/s] in 0 .. 40"
    notes: tuple[str, ...] = ()
    obstacle: str | None = None


@dataclass(frozen=True, slots=True)
class DraftRecord:
    name: str
    fields: tuple[DraftField, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """Record types, the reward's records as (parameter, type), and where rows and artifact are, if there are any.

    `members` are the record names of a row, ("",) for single records; `identified` is that of the artifact.
    """

    origin: str
    records: tuple[DraftRecord, ...]
    params: tuple[tuple[str, str], ...] = (("s", "Step"),)
    members: tuple[str, ...] = ("",)
    table: Path | None = None
    artifact: Path | None = None
    identified: str = "exact"
    remarks: tuple[str, ...] = ()


def shown(text: object) -> str:
    """A stranger's text as a comment or a message may hold it: one line, no control characters, not long."""
    clean = printable(str(text))
    return clean if len(clean) <= _SHOWN else clean[: _SHOWN - 1] + "…"


def record_lines(record: DraftRecord) -> list[str]:
    """The `features` declaration. A field with an obstacle is a comment that names it."""
    width = max(len(f.name) for f in record.fields)
    lines = [f"features {record.name} {{"]
    for field in record.fields:
        text = f"{field.name.ljust(width)} : {field.kind}"
        notes = field.notes if field.obstacle is None else (f"{field.obstacle}, then uncomment", *field.notes)
        comment = f"  # {'; '.join(notes)}" if notes else ""
        lines.append(f"  {text}{comment}" if field.obstacle is None else f"  # {text}{comment}")
    return [*lines, "}"]
