"""The fenced blocks of a documentation page, and what they ask of a test.

```rwd page          a whole spec: the vocabulary of the fragments after it
```rwd alone         a whole spec by itself
```rwd file v.rwd    the same, and a file that others use
```rwd               a fragment, checked after the page's spec
```rwd wrong U02     a fragment that is refused with this code
```csv logs.csv      a data file
```python rewards    defines a torch module for each reward that verdicts are about

A rule's first line may end in `# proved`, `# violated`, `# vacuous` or `# unknown`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w+)(?: ([^\n]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VERDICT = re.compile(r"^(?:must|should) (\w+):\s*# (proved|violated|vacuous|unknown)\b", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    language: str
    words: str
    text: str
    line: int

    def verdicts(self) -> dict[str, str]:
        return dict(_VERDICT.findall(self.text))


@dataclass(frozen=True)
class Example:
    """A spec to check: the page's vocabulary (or nothing) and a block."""

    name: str
    vocabulary: str
    block: Block

    @property
    def text(self) -> str:
        return f"{self.vocabulary}\n{self.block.text}" if self.vocabulary else self.block.text


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    return [
        Block(found[1], found[2] or "", found[3], text.count("\n", 0, found.start()) + 1)
        for found in _FENCE.finditer(text)
    ]


def examples(page: Path) -> Iterator[Example]:
    vocabulary = ""
    for block in blocks(page):
        if block.language != "rwd":
            continue
        name = f"{page.stem}:{block.line}"
        if block.words in ("page", "alone") or block.words.startswith("file "):
            yield Example(name, "", block)
            vocabulary = block.text if block.words == "page" else vocabulary
        else:
            yield Example(name, vocabulary, block)


def write_data(page: Path, folder: Path) -> None:
    for block in blocks(page):
        if block.language in ("csv", "jsonl"):
            (folder / block.words).write_text(block.text)


def modules(page: Path) -> dict[str, object]:
    """What the page's `python rewards` blocks define."""
    found: dict[str, object] = {}
    for block in blocks(page):
        if (block.language, block.words) == ("python", "rewards"):
            exec(compile(block.text, f"{page.name}:{block.line}", "exec"), found)
    return found
