"""Rows of code with their comments, and the columns in which trailing comments stand.

Trailing comments of adjacent rows stand in one column, and so do those of one table. Where the author has put them
in one column already, and the code has not outgrown it, that column is kept, as blank lines and parentheses are; else
it is two spaces behind the longest row. Either way the comments of the result stand in one column that is kept, so that
formatting a second time changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from rewarden.spec_lang.format.comments import Comment, squeezed

WIDTH = 100
"""Columns of a line; code that cannot be broken, and comments, may be longer."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line: code, or a comment of its own, with what trails it."""

    code: str
    comment: str = ""
    column: int | None = None  # of the comment, where the author put it behind this very code
    table: int = 0  # rows with the same number other than 0 are one table


def trailing(comments: Sequence[Comment]) -> int:
    """How many of the comments trail the code before them: the first, and those that continue it below."""
    if not comments or not comments[0].trailing:
        return 0
    return next((k for k, comment in enumerate(comments) if k > 0 and not comment.continues), len(comments))


def attach(rows: list[Row], comments: Sequence[Comment]) -> None:
    """Puts trailing comments behind the last row."""
    for comment in comments[:1]:
        column = comment.column if comment.code == squeezed(rows[-1].code) else None
        rows[-1] = replace(rows[-1], comment=comment.text, column=column)
    rows.extend(Row("", comment.text, comment.column) for comment in comments[1:])


def own_lines(comments: Iterable[Comment], indent: int, *, blanks: bool) -> Iterator[Row]:
    """Comments as lines of their own; a title begins its line."""
    for comment in comments:
        if blanks and comment.blank:
            yield Row("")
        yield Row(comment.text if comment.title else " " * indent + comment.text)


def text_of(rows: Sequence[Row]) -> str:
    """The finished text, its trailing comments aligned."""
    columns = [0] * len(rows)
    for places in _aligned(rows):
        column = _column(rows, places)
        for place in places:
            columns[place] = column
    lines = (f"{row.code.ljust(at)}{row.comment}".rstrip() for row, at in zip(rows, columns, strict=True))
    return "\n".join(lines) + "\n"


def _aligned(rows: Sequence[Row]) -> Iterator[list[int]]:
    """The rows whose comments stand in one column: each table, and each run of adjacent rows outside of tables."""
    tables: dict[int, list[int]] = {}
    run: list[int] = []
    for place, row in enumerate(rows):
        if row.table:
            tables.setdefault(row.table, []).append(place)
        if row.comment and not row.table:
            run.append(place)
        elif run:
            yield run
            run = []
    if run:
        yield run
    yield from (places for places in tables.values() if any(rows[place].comment for place in places))


def _column(rows: Sequence[Row], places: Sequence[int]) -> int:
    commented = [place for place in places if rows[place].comment]
    longest = max(len(rows[place].comment) for place in commented)
    least = 2 + max(len(rows[place].code) for place in commented)
    clear = 2 + max(len(rows[place].code) for place in places)  # of rows without a comment, too
    kept = {rows[place].column for place in commented}
    column = clear if clear + longest <= WIDTH else least
    if len(kept) == 1 and (one := kept.pop()) is not None and one >= least:
        column = one
    # A comment below, on a line of its own, must not look like one that continues these.
    below = (rows[place + 1].code for place in commented if place + 1 < len(rows))
    if any(code.lstrip().startswith("#") and len(code) - len(code.lstrip()) == column for code in below):
        column += 1
    return column
