"""The texts of a spec's data: the column `text` beside the features, and `prompt` where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rewarden.reward.text.dialogues import Dialogue
from rewarden.spec_lang import Spec
from rewarden.spec_lang.table_files import open_columns
from rewarden.text.tables import MadeOf, made_of

TEXT, PROMPT = "text", "prompt"


@dataclass(frozen=True, slots=True)
class TextRows:
    """The texts of one member of one data declaration; `rows` hold None where a row has no text."""

    data: str
    member: str
    type_name: str
    rows: tuple[Dialogue | None, ...]
    made: MadeOf | None


@dataclass(slots=True)
class Texts:
    """A spec's data as texts, each file read once. Mutable: it remembers what it has read."""

    spec: Spec
    known: dict[tuple[str, str], TextRows | None] = field(default_factory=dict)

    def of(self, data: str, member: str = "") -> TextRows | None:
        """None where the data has no texts."""
        if (data, member) not in self.known:
            self.known[data, member] = self._read(data, member)
        return self.known[data, member]

    def about(self, type_name: str) -> Iterator[TextRows]:
        """All data of records of that type that have texts."""
        if self.spec.base is None:
            return
        for name, declaration in self.spec.data.items():
            for member, kind in declaration.members:
                if kind == type_name and (found := self.of(name, member)) is not None:
                    yield found

    def text(self, data: str, member: str | None, row: int) -> str | None:
        """The text of a row, counted from 1."""
        found = self.of(data, member or "")
        dialogue = None if found is None else found.rows[row - 1]
        return None if dialogue is None else dialogue.reply

    def _read(self, data: str, member: str) -> TextRows | None:
        path: Path = self.spec._data_path(self.spec.data[data])
        file = open_columns(path)
        prefix = f"{member}." if member else ""
        if prefix + TEXT not in file.names:
            return None
        replies = file.read(prefix + TEXT)
        prompts = file.read(prefix + PROMPT) if prefix + PROMPT in file.names else [""] * file.rows
        rows = tuple(
            Dialogue(prompt if isinstance(prompt, str) else "", reply) if isinstance(reply, str) else None
            for prompt, reply in zip(prompts, replies, strict=True)
        )
        if not any(rows):
            return None
        kind = dict(self.spec.data[data].members)[member]
        return TextRows(data, member, kind, rows, made_of(path))
