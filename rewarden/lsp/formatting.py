"""The one layout, as the least edit of whole lines that leads to it."""

from __future__ import annotations

from rewarden.spec_lang.errors import SpecError


def formatting(text: str) -> tuple[int, int, str] | None:
    """(start, end, what to put there); None where the text has that layout, or none because it does not parse."""
    from rewarden.spec_lang.format.formatter import format_text

    try:
        new = format_text(text)
    except SpecError:
        return None
    if new == text:
        return None
    old_lines, new_lines = text.splitlines(keepends=True), new.splitlines(keepends=True)
    most = min(len(old_lines), len(new_lines))
    head = next((k for k in range(most) if old_lines[k] != new_lines[k]), most)
    tail = next((k for k in range(most - head) if old_lines[-1 - k] != new_lines[-1 - k]), most - head)
    start = sum(map(len, old_lines[:head]))
    end = len(text) - sum(map(len, old_lines[len(old_lines) - tail :]))
    return start, end, "".join(new_lines[head : len(new_lines) - tail])
