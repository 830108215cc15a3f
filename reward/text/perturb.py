"""Other texts that say the same: what a reward of texts should not care about.

- a pleasantry more, at the end
- a sentence twice: the first, and the last
- paraphrases, where the user lists them: JSON lines of {"text": …, "paraphrases": [ … ]}

None of them makes a text better, and none is made by the reward's own gradient: what is found is a text that somebody
could write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.tables import open_source

PLEASANTRIES = (
    "I hope this helps!",
    "Thank you for asking.",
    "Let me know if you have any other questions.",
    "Have a great day!",
)
SENTENCE = re.compile(r"[^.!?…]*[.!?…]+[\"'”’)]*\s*|[^.!?…]+$")


@dataclass(frozen=True, slots=True)
class Perturbed:
    """Another text, and how it was made of the one in row `row` (counted from 0)."""

    text: str
    how: str
    row: int


@dataclass(frozen=True, slots=True)
class Perturbations:
    """What is tried on every text."""

    pleasantries: tuple[str, ...] = PLEASANTRIES
    duplicates: bool = True
    paraphrases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, texts: Sequence[str]) -> list[Perturbed]:
        """All of them, in the order of the rows; a text that comes out as it was is left out."""
        found = []
        for row, text in enumerate(texts):
            made = [Perturbed(f"{text.rstrip()} {extra}", f"“{extra}” appended", row) for extra in self.pleasantries]
            if self.duplicates:
                made += [Perturbed(twice, how, row) for twice, how in doubled(text)]
            made += [Perturbed(other, "paraphrased", row) for other in self.paraphrases.get(text.strip(), ())]
            found += [one for one in made if one.text != text]
        return found


def sentences(text: str) -> list[str]:
    return [part for part in SENTENCE.findall(text) if part.strip()]


def doubled(text: str) -> list[tuple[str, str]]:
    """The text with its first, and with its last sentence twice in a row."""
    parts = sentences(text)
    if not parts:
        return []
    first = "".join([parts[0].rstrip() + " ", *parts])
    if len(parts) == 1:
        return [(first, "its sentence said twice")]
    last = text.rstrip() + " " + parts[-1].strip()
    return [(first, "its first sentence said twice"), (last, "its last sentence said twice")]


def read_paraphrases(path: Path) -> dict[str, tuple[str, ...]]:
    """Text → paraphrases. Raises D31 with the row that is no text with a list of texts."""
    file = open_source(path).file
    for name in ("text", "paraphrases"):
        if name not in file.names:
            raise DataError(
                "D03", f"{path.name} has no column {name}", help='write rows {"text": "…", "paraphrases": ["…"]}'
            )
    texts, others = file.read("text"), file.read("paraphrases")
    found: dict[str, tuple[str, ...]] = {}
    for row in range(file.rows):
        given = others[row].tolist() if hasattr(others[row], "tolist") else others[row]
        sound = isinstance(given, list) and all(isinstance(item, str) and item.strip() for item in given)
        if not isinstance(texts[row], str) or not sound:
            raise DataError("D31", f"row {row + 1} of {path.name} is no text with a list of paraphrases")
        key = texts[row].strip()
        found[key] = (*found.get(key, ()), *given)
    return found
