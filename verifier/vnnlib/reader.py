"""The brackets and words of a query file, with their places, in bounded memory and without recursion.

Both versions of VNN-LIB are read by this. There is a parser for version 2 on PyPI (`vnnlib` 1.0.2, C++), and it was
tried: it knows nothing of version 1, ends the process with a segmentation fault on deep nesting, gives constants as
binary64, takes any word for an element type, writes warnings on its own, and comes as wheels alone. So what is written
here is one small strict reader, and the tests hold it (and every exported query) against that parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rewarden.spec_lang.errors import UsageError

MAX_BYTES = 1 << 23
MAX_TOKENS = 1 << 20
NESTING = 120  # of brackets: readers of one form may then recurse
MAX_WORD = 400

_TOKEN = re.compile(
    r"""(?P<blank>[ \t\r\n]+|;[^\n]*) | (?P<word>"[^"\n]*" | [^\s()\[\],;"]+) | (?P<mark>[()\[\],])""", re.X
)


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    at: int  # offset in the text


@dataclass(frozen=True, slots=True)
class Group:
    """What stands between `(` and `)`, or (kind "[") between `[` and `]`, commas left out."""

    kind: str
    items: tuple[Node, ...]
    at: int


Node = Word | Group


@dataclass(frozen=True, slots=True)
class QuerySource:
    """A query's text under the name that messages give it."""

    name: str
    text: str

    def error(self, message: str, at: int, *, help: str | None = None) -> UsageError:
        """UsageError G80 with the place in the text."""
        line = self.text.count("\n", 0, at) + 1
        column = at - self.text.rfind("\n", 0, at)
        return UsageError("G80", f"{self.name}:{line}:{column}: {message}", help=help)


def read_file(path: Path, most: int) -> bytes:
    """A file's content, and one byte more than `most` of what is too long. UsageError G80 where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
        raise UsageError("G80", f"{path} cannot be read: {reason}") from None


def decoded(raw: bytes, name: str) -> QuerySource:
    """The text of a file's bytes. UsageError G80 where it is too long or no text."""
    if len(raw) > MAX_BYTES:
        raise UsageError("G80", f"{name} has more than {MAX_BYTES} bytes", help="split the query")
    try:
        return QuerySource(name, raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UsageError(
            "G80", f"{name} is no text: byte {error.start} is not UTF-8", help="name a .vnnlib file"
        ) from None


def forms(source: QuerySource) -> Iterator[Group]:
    """The forms of a file, `(…)` one after the other. UsageError G80 at the first thing that is none."""
    open_groups: list[tuple[str, int, list[Node]]] = []
    for token in words(source):
        match token.text:
            case "(" | "[":
                if len(open_groups) >= NESTING:
                    raise source.error(
                        f"brackets nest deeper than {NESTING}", token.at, help="flatten sums and disjunctions"
                    )
                open_groups.append((token.text, token.at, []))
            case ")" | "]":
                if not open_groups or (open_groups[-1][0] == "(") != (token.text == ")"):
                    raise source.error(f"{token.text} closes nothing", token.at)
                kind, at, items = open_groups.pop()
                group = Group(kind, tuple(items), at)
                if open_groups:
                    open_groups[-1][2].append(group)
                else:
                    yield group
            case ",":
                if not open_groups or open_groups[-1][0] != "[":
                    raise source.error("a comma stands between indices only", token.at)
            case _:
                if not open_groups:
                    raise source.error(f"expected (, found {shown(token.text)}", token.at)
                open_groups[-1][2].append(token)
    if open_groups:
        raise source.error("this bracket is never closed", open_groups[-1][1], help="is the file cut off?")


def words(source: QuerySource) -> Iterator[Word]:
    """Words and brackets one by one; UsageError G80 for what is neither, and for too many."""
    at, count = 0, 0
    while at < len(source.text):
        found = _TOKEN.match(source.text, at)
        if found is None:
            raise source.error(f"unexpected {shown(source.text[at])}", at)
        if found.lastgroup != "blank":
            count += 1
            if count > MAX_TOKENS:
                raise source.error(f"more than {MAX_TOKENS} words and brackets", at, help="split the query")
            if len(found[0]) > MAX_WORD:
                raise source.error(f"a word of more than {MAX_WORD} characters", at)
            yield Word(found[0], at)
        at = found.end()


def shown(text: str) -> str:
    """Some text of a file, fit for a message."""
    return ascii(text if len(text) <= 40 else text[:40] + "…")
