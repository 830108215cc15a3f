"""The table of methods side by side, as text, as JSON and as a page."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from fractions import Fraction
from itertools import zip_longest
from typing import TYPE_CHECKING

from rewarden.output import number
from rewarden.reward.figures import at_most_text

if TYPE_CHECKING:
    from rewarden.editor.compare import Compared, Moved

HEAD = (
    "method", "rules that hold now", "changed", "most", "on data", "flips, ranks", "Lipschitz", "time", "guarantee"
)  # fmt: skip
MEANING = (
    "changed: share of the records sampled from the domain (certified: in no more of it). most: the largest change of "
    "a record that was met with (certified: of any record). on data: rows that moved, and by how much in the mean over "
    "all of them. flips, ranks: pairs of these rows that turned their order, rows whose rank changed. Lipschitz: how "
    "much the rims of patches rise at most over the whole range of a column (the steepest). –: nothing is told."
)
WIDTHS = {"rules that hold now": (16, 34), "guarantee": (36, 60)}  # columns that are wrapped: least, most
GAP = 2


def rows_of(found: Sequence[Compared]) -> list[tuple[str, ...]]:
    """A row for each method, and one for each further reward that it edits."""
    rows = []
    for one in found:
        several = len(one.moved) > 1
        for number_, moved in enumerate(one.moved):
            first = number_ == 0
            name = one.method if first else ""
            rules = _rules(one) if first else ""
            told = _cells(moved)
            own = f"{moved.reward}: " if several else ""
            rows.append(
                (name, rules, own + told[0], *told[1:], _time(one) if first else "", one.guarantee if first else "")
            )
        if not one.moved:
            why = one.open or f"not here: {one.declined}"
            rows.append((one.method, "–", *["–"] * 5, _time(one), why))
    return rows


def _rules(one: Compared) -> str:
    told = ", ".join(f"{rule} (new)" if rule in one.proved else rule for rule in one.holds) or "none"
    told += f"; broken: {', '.join(one.broken)}" if one.broken else ""
    told += f"; not mended: {', '.join(one.unmended)}" if one.unmended else ""
    return told + (f"; {one.open}" if one.open else "")


def _cells(moved: Moved) -> tuple[str, ...]:
    domain = moved.domain
    share = f"{domain.changed / max(domain.rows, 1):.2%}"
    most = number(moved.attained)
    return (
        share if moved.acts is None else f"{share} ({_at_most_percent(moved.acts)})",
        most if moved.most is None else f"{most} ({at_most_text(Fraction(moved.most))})",
        f"{moved.moved} of {moved.rows}, {number(moved.mean)}",
        f"{moved.flips} of {moved.pairs}, {moved.ranks}",
        "–" if moved.rise is None else f"{number(moved.rise)} ({moved.along})",
    )


def _at_most_percent(share: str) -> str:
    """Hundredths of a percent, rounded up."""
    return f"{-(-Fraction(share) * 10_000 // 1) / 10_000:.2%}"


def _time(one: Compared) -> str:
    return f"{one.seconds:.1f} s"


def table_lines(found: Sequence[Compared], width: int | None = None) -> list[str]:
    """The table as text: as wide as its numbers need, and at least the terminal's width if it can use it."""
    rows = [HEAD, *rows_of(found)]
    sizes = [max(len(row[k]) for row in rows) for k in range(len(HEAD))]
    room = (width or shutil.get_terminal_size((160, 40)).columns) - GAP * (len(HEAD) - 1)
    room -= sum(size for name, size in zip(HEAD, sizes, strict=True) if name not in WIDTHS)
    for k, name in enumerate(HEAD):
        if name in WIDTHS:
            least, most = WIDTHS[name]
            sizes[k] = min(sizes[k], max(least, min(most, room if name == "guarantee" else room // 2)))
            room -= sizes[k]
    lines = []
    for number_, row in enumerate(rows):
        cells = [textwrap.wrap(cell, size) or [""] for cell, size in zip(row, sizes, strict=True)]
        for parts in zip_longest(*cells, fillvalue=""):
            told = (part.ljust(size) for part, size in zip(parts, sizes, strict=True))
            lines.append((" " * GAP).join(told).rstrip())
        if number_ == 0:
            lines.append((" " * GAP).join("─" * size for size in sizes))
    meaning, *others = _notes(found)
    return [*lines, "", *textwrap.wrap(meaning, max(60, sum(sizes) + GAP * (len(sizes) - 1))), *others]


def _notes(found: Sequence[Compared]) -> list[str]:
    """What stands below the table; what its columns mean first."""
    unmended = dict.fromkeys(f"{one.method}: {r}: {why}" for one in found for r, why in (one.unmended or {}).items())
    over = dict.fromkeys(f"data of {m.reward}: {m.rows} {m.over}" for one in found for m in one.moved)
    return [MEANING, *over, *(f"not mended by {line}" for line in unmended)]


def page(title: str, found: Sequence[Compared]) -> str:
    """The same as a page."""
    from importlib.resources import files

    from rewarden.report.markup import Html, table, tag

    style = files("rewarden.report").joinpath("style.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", title),
        tag("style", Html(style)),
    )
    rows = [(tag("code", row[0]), *row[1:-2], row[-2].replace(" ", "\u00a0"), row[-1]) for row in rows_of(found)]
    body = tag(
        "main",
        tag("header", tag("p", "Rewarden report", cls="eyebrow"), tag("h1", title), cls="masthead"),
        tag("p", "Each method by itself on the same failing rules; nothing was written.", cls="lead"),
        tag("div", table(HEAD, rows, "values"), cls="wide"),
        *(tag("p", line, cls="fine") for line in _notes(found)),
    )
    return "<!doctype html>\n" + tag("html", head, tag("body", body), lang="en") + "\n"
