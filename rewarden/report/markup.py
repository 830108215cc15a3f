"""HTML as text: everything from outside is escaped here, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


class Html(str):
    """Text that is HTML already; every other text is escaped when it is put into a page."""

    __slots__ = ()


def text(value: object) -> Html:
    """Escaped, unless it is HTML already."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def tag(name: str, *children: object, **attributes: str) -> Html:
    """An element; `cls` stands for class, and an underscore in an attribute for a hyphen."""
    given = "".join(
        f' {("class" if key == "cls" else key.replace("_", "-"))}="{escape(value)}"'
        for key, value in attributes.items()
    )
    return Html(f"<{name}{given}>{''.join(text(c) for c in children)}</{name}>")


def join(parts: Iterable[object], between: str = "") -> Html:
    """One after the other."""
    return Html(between.join(text(p) for p in parts))


def table(head: Sequence[object], rows: Iterable[Sequence[object]], cls: str) -> Html:
    """A table; a first row of headings where `head` is given, else each row is headed by its first cell."""

    def cells(row: Sequence[object]) -> list[Html]:
        return [tag("td", x) if head or k else tag("td", x, role="rowheader") for k, x in enumerate(row)]

    body = join(tag("tr", *cells(row)) for row in rows)
    heading = tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head))) if head else Html("")
    return tag("table", heading, tag("tbody", body), cls=cls)
