"""What stands between two tokens of a spec: `#` comments, `---` titles and blank lines.

The grammar's lexer skips all of this, so that the text from the end of one token to the start of the next holds nothing
else (but for a comma that the one format leaves out, which counts as code). Where a comment stands is its place between
two tokens, and whether it begins its line: both survive formatting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MARK = re.compile(r"#[^\n]*|(?<![^\n])---[^\n]*|\n|,")


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment or a title, without the white space around it."""

    text: str
    title: bool = False
    trailing: bool = False  # stands behind code
    continues: bool = False  # begins its line, right below a trailing comment and in the same column
    indented: bool = False  # begins its line, but not at its start
    blank: bool = False  # a blank line stands above
    column: int | None = None  # 0-based; None where tabs blur it
    code: str = ""  # of its line, without white space


@dataclass(frozen=True, slots=True)
class Between:
    """What stands between two tokens; `blank`: a blank line stands above the second."""

    comments: tuple[Comment, ...] = ()
    blank: bool = False


NOTHING = Between()


def between(text: str, start: int, end: int) -> Between:
    """What stands in `text[start:end]`, which begins right behind a token or at the start of the text."""
    comments: list[Comment] = []
    newlines = 0
    behind_code = start > 0
    for match in _MARK.finditer(text, start, end):
        if match[0] == "\n":
            newlines += 1
            behind_code = False
        elif match[0] == ",":
            newlines = 0
            behind_code = True
        else:
            above = comments[-1] if comments and newlines == 1 else None
            comments.append(_comment(text, match.start(), match[0], behind_code, above, newlines > 1))
            newlines = 0
    return Between(tuple(comments), newlines > 1)


def title(text: str) -> Comment:
    """The `---` line with this text."""
    text = text.strip()
    return Comment(f"---{text}" if text.startswith("-") else f"--- {text}".rstrip(), title=True)


def _comment(text: str, start: int, mark: str, trailing: bool, above: Comment | None, blank: bool) -> Comment:
    if mark.startswith("---"):
        made = title(mark[3:])
        return Comment(made.text, title=True, blank=blank)
    line = text[text.rfind("\n", 0, start) + 1 : start]
    column = None if "\t" in line else len(line)
    below = above is not None and (above.trailing or above.continues) and column is not None
    return Comment(
        text=mark.rstrip(),
        trailing=trailing,
        continues=not trailing and below and above is not None and above.column == column,
        indented=not trailing and line != "",
        blank=blank,
        column=column,
        code=squeezed(line),
    )


def squeezed(line: str) -> str:
    """The line without its white space."""
    return "".join(line.split())
