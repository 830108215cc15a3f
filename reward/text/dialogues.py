"""Rows of texts: what was asked, and what was answered.

    chosen, rejected              HH-RLHF: whole dialogues of turns that begin with Human: and Assistant:
    [prompt,] chosen, rejected    TRL: the prompt on its own, or as the beginning that both share
    prompt, completion · text     one text a row, also with a `label`
    any of them as messages       [{"role": "user", "content": "…"}, …], the last one being the answer

Raises D31 with the number of every row (20 at most) in which a text is missing, empty or no text. An
answer to a prompt may be empty: people were shown such answers, and preferred some of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.table_files import ColumnFile
from rewarden.spec_lang.tables import MAX_ERRORS, Source

ASSISTANT = "\n\nAssistant:"
PAIR, SINGLES = ("chosen", "rejected"), ("completion", "text", "messages")
_SHORT = 40


@dataclass(frozen=True, slots=True)
class Dialogue:
    """`prompt` is all that comes before the last answer."""

    prompt: str
    reply: str

    @property
    def whole(self) -> str:
        return self.prompt + self.reply


def is_pairs(names: Sequence[str]) -> bool:
    return set(PAIR) <= set(names)


def is_texts(names: Sequence[str]) -> bool:
    """Does it hold texts at all?"""
    return is_pairs(names) or any(name in names for name in SINGLES)


def read_pairs(source: Source) -> tuple[list[Dialogue], list[Dialogue]]:
    """The better and the worse dialogue of each row."""
    file = source.file
    chosen, rejected = (file.read(name) for name in PAIR)
    prompts = file.read("prompt") if "prompt" in file.names else None
    first: list[Dialogue] = []
    second: list[Dialogue] = []

    def one(row: int) -> None:
        if prompts is not None:
            prompt = _text(prompts[row], "prompt")
            first.append(_answer(prompt, chosen[row], "chosen"))
            second.append(_answer(prompt, rejected[row], "rejected"))
            return
        better, worse = _dialogue(chosen[row], "chosen"), _dialogue(rejected[row], "rejected")
        if not better.prompt and not worse.prompt and isinstance(chosen[row], str):
            shared = _shared(better.reply, worse.reply)
            better = Dialogue(shared, better.reply[len(shared) :])
            worse = Dialogue(shared, worse.reply[len(shared) :])
        first.append(_said(better, "chosen"))
        second.append(_said(worse, "rejected"))

    _each(source, file.rows, one)
    return first, second


def read_texts(source: Source) -> list[Dialogue]:
    """The dialogue of each row."""
    file = source.file
    name = next((n for n in SINGLES if n in file.names), None)
    if name is None:
        raise _no_texts(source)
    values = file.read(name)
    prompts = file.read("prompt") if "prompt" in file.names else None
    found: list[Dialogue] = []

    def one(row: int) -> None:
        if prompts is None:
            found.append(_said(_dialogue(values[row], name), name))
        else:
            found.append(_answer(_text(prompts[row], "prompt"), values[row], name))

    _each(source, file.rows, one)
    return found


def _no_texts(source: Source) -> DataError:
    names = source.file.names
    if not source.file.rows:
        return DataError("D08", f"{source.path.name} has no rows", help="there is nothing to read")
    for name in (*PAIR, *SINGLES):
        if close := get_close_matches(name, names, n=1, cutoff=0.75):
            return DataError("D03", f"{source.path.name} has no column {name}", help=f"did you mean {close[0]}?")
    known = "name them chosen and rejected, text, messages, or prompt and completion; it has " + ", ".join(names[:12])
    return DataError("D03", f"{source.path.name} has no texts", help=known)


def answers(prompts: Sequence[object] | None, completions: Sequence[object]) -> list[Dialogue]:
    """Completions as they come from a trainer. D31 with the number of one that is no text, D13 for uneven lengths."""
    if prompts is not None and len(prompts) != len(completions):
        raise DataError("D13", f"{len(prompts)} prompts and {len(completions)} completions", help="one for each")
    found = []
    for number, completion in enumerate(completions, start=1):
        try:
            prompt = "" if prompts is None else _text(prompts[number - 1], "the prompt")
            found.append(_answer(prompt, completion, "the completion", allow_empty=True))
        except _UnreadableError as error:
            raise DataError("D31", f"completion {number}: {error}") from None
    return found


def _each(source: Source, rows: int, one: Callable[[int], None]) -> None:
    errors = []
    for row in range(rows):
        try:
            one(row)
        except _UnreadableError as error:
            message = f"row {row + 1} of {source.path.name}: {error}"
            errors.append(DataError("D31", message, help="correct the row, or leave it out"))
            if len(errors) == MAX_ERRORS:
                break
    if errors:
        raise DataError.of(errors)
    if not rows:
        raise DataError("D08", f"{source.path.name} has no rows", help="there is nothing to read")


class _UnreadableError(Exception):
    """What is wrong with a value, without its row."""


def _dialogue(value: object, name: str) -> Dialogue:
    """A whole dialogue: text of turns, plain text (then all of it is the reply), or messages."""
    if isinstance(value, str):
        before, mark, reply = value.rpartition(ASSISTANT)
        return Dialogue(before + mark, reply.strip()) if mark else Dialogue("", value)
    messages = _messages(value, name)
    return Dialogue(_rendered(messages[:-1]), messages[-1][1].strip())


def _answer(prompt: str, value: object, name: str, *, allow_empty: bool = False) -> Dialogue:
    """An answer to a prompt that stands on its own."""
    if isinstance(value, str):
        found = Dialogue(prompt, value)
    else:
        messages = _messages(value, name)
        found = Dialogue(prompt + _rendered(messages[:-1]), messages[-1][1].strip())
    return _unicode(found, name) if allow_empty else _said(found, name)


def _said(dialogue: Dialogue, name: str) -> Dialogue:
    if not dialogue.whole.strip():  # an empty answer to a prompt is one: HH-RLHF has some
        raise _UnreadableError(f"{name} is empty")
    return _unicode(dialogue, name)


def _unicode(dialogue: Dialogue, name: str) -> Dialogue:
    """JSON can write half a character; no tokenizer and no file takes one."""
    try:
        dialogue.whole.encode("utf-8")
    except UnicodeEncodeError:
        raise _UnreadableError(f"{name} holds half a character, which is no Unicode") from None
    return dialogue


def _text(value: object, name: str) -> str:
    return value if isinstance(value, str) else _rendered(_messages(value, name))


def _rendered(messages: Sequence[tuple[str, str]]) -> str:
    return "".join(f"\n\n{role}: {content}" for role, content in messages)


def _messages(value: object, name: str) -> list[tuple[str, str]]:
    """(role, content) of each message; objects are dicts, or lists of pairs as JSON lines have them."""
    if value is None:
        raise _UnreadableError(f"{name} is missing")
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, list):
        raise _UnreadableError(f"{name} is {str(value)[:_SHORT]!r}, neither text nor messages")
    if not value:
        raise _UnreadableError(f"{name} is empty")
    found = []
    for number, item in enumerate(value, start=1):
        message = _fields(item)
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str) or not isinstance(content, str):
            raise _UnreadableError(f"message {number} of {name} lacks a role or a content that is text")
        found.append((role, content))
    return found


def _fields(item: Any) -> dict[str, object]:  # noqa: ANN401 - whatever the file holds
    if isinstance(item, dict):
        return item
    try:
        return {str(key): part for key, part in item}
    except (TypeError, ValueError):
        return {}


def _shared(one: str, other: str) -> str:
    """The beginning that two texts share, up to a whole word, if both go on after it."""
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    if length == min(len(one), len(other)):
        return ""
    while length and not one[length - 1].isspace():
        length -= 1
    shared = one[:length]
    return shared if one[length:].strip() and other[length:].strip() else ""


def labels_of(file: ColumnFile) -> Any:  # noqa: ANN401 - a column
    """The labels, with true and false (TRL's unpaired preferences) as 1 and 0."""
    values = file.read("label")
    if values.dtype == bool:
        return values.astype("f8")
    if values.dtype == object and all(isinstance(value, bool) for value in values):
        return values.astype("f8")
    return values
