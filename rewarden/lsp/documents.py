"""The texts that are open in the editor, each with its latest reading.

Mutable: this is what the server remembers. A text that uses other files is read anew when any open text has changed,
since the files that it uses are taken from the editor where they are open there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rewarden.lsp.names import occurrences
from rewarden.lsp.reading import Reading, read
from rewarden.spec_lang.uses import read_file


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """One open text, as the editor has it. `path` is None where it is in no file."""

    text: str
    path: Path | None
    version: int | None = None

    @property
    def name(self) -> str:
        return "untitled" if self.path is None else self.path.name


@dataclass(slots=True)
class Documents:
    """By URI."""

    texts: dict[str, Text] = field(default_factory=dict)
    readings: dict[str, tuple[Text, int, Reading]] = field(default_factory=dict)
    changes: int = 0

    def put(self, uri: str, text: Text) -> None:
        self.texts[uri] = text
        self.changes += 1

    def remove(self, uri: str) -> None:
        self.texts.pop(uri, None)
        self.readings.pop(uri, None)
        self.changes += 1

    def latest(self, uri: str) -> Reading | None:
        """The last reading, which may be of an older text."""
        found = self.readings.get(uri)
        return None if found is None else found[2]

    def current(self, uri: str) -> Reading | None:
        """The reading of the text as it is now, if there is one."""
        found = self.readings.get(uri)
        if found is None or found[0] is not self.texts.get(uri):
            return None
        stale = found[1] != self.changes and any(True for _ in found[2].uses())
        return None if stale else found[2]

    def read(self, uri: str) -> Reading | None:
        """Read the text as it is now; None where it is not open (any more)."""
        text, changes, known = self.texts.get(uri), self.changes, self.current(uri)
        if text is None or known is not None:
            return known
        reading = read(text.text, text.name, path=text.path, load=self.load, before=self.latest(uri))
        occurrences(reading)  # kept for the questions that follow: better now than while somebody waits
        if self.texts.get(uri) is text:
            self.readings[uri] = text, changes, reading
        return reading

    def using_others(self) -> tuple[str, ...]:
        """The open texts that use other files."""
        return tuple(uri for uri, (_, _, reading) in list(self.readings.items()) if any(True for _ in reading.uses()))

    def load(self, path: Path) -> bytes:
        """A used file, from the editor where it is open there; UsageError G20."""
        for text in list(self.texts.values()):
            if text.path is not None and text.path.resolve() == path:
                return text.text.encode("utf-8", errors="replace")
        return read_file(path)
