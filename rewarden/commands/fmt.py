"""`rewarden fmt`: the one format."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from rewarden import exits

_STDIN = Path("-")


def fmt(
    specs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="SPEC...", help="Spec files, or - for stdin; by default those of rewarden.toml."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 where a file would change.")
    ] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Write nothing; print what would change.")] = False,
) -> int:
    """Rewrite specs in the one format. Comments stay where they are, and the meaning what it is."""
    from rewarden.binding import all_specs
    from rewarden.output import emit, note
    from rewarden.spec_lang.errors import RewardenError

    statuses = []
    for path in all_specs(specs or ()):
        try:
            found = _formatted(path)
            if diff:
                emit(_diff_lines(found))
            if not check and not diff:
                _write(found)
        except RewardenError as error:
            note(error.render())
            statuses.append(exits.UNUSABLE)
            continue
        if found.changes and not diff and (check or path != _STDIN):
            emit([f"would format {found.name}" if check else f"formatted {found.name}"])
        statuses.append(exits.VIOLATED if check and found.changes else exits.PROVED)
    return exits.worst(statuses)


@dataclass(frozen=True, slots=True)
class _Formatted:
    """A file before and after."""

    path: Path
    name: str
    before: bytes
    after: bytes

    @property
    def changes(self) -> bool:
        return self.before != self.after


def _formatted(path: Path) -> _Formatted:
    """SpecError for what does not parse; UsageError G20 for what cannot be read."""
    from rewarden.spec_lang import limits
    from rewarden.spec_lang.format.formatter import format_text
    from rewarden.spec_lang.parser import decode
    from rewarden.spec_lang.uses import read_file

    stdin = path == _STDIN
    name = "<stdin>" if stdin else str(path)
    before = sys.stdin.buffer.read(limits.TEXT_BYTES + 1) if stdin else read_file(path)
    after = format_text(decode(before, name).text, name).encode("utf-8")
    return _Formatted(path, name, before, after)


def _write(found: _Formatted) -> None:
    """Stdin's text to stdout; a file that changes in its place, with the permissions it had. UsageError G06."""
    from rewarden.atomic import write_bytes
    from rewarden.spec_lang.errors import UsageError

    if found.path == _STDIN:
        sys.stdout.flush()
        sys.stdout.buffer.write(found.after)
        sys.stdout.flush()
    elif found.changes:
        target = found.path.resolve()  # what a link leads to, never the link
        if not os.access(target, os.W_OK):
            raise UsageError("G06", f"cannot write {found.name}: it is write-protected")
        mode = target.stat().st_mode & 0o7777
        write_bytes(target, found.after)
        target.chmod(mode)


def _diff_lines(found: _Formatted) -> Iterator[str]:
    """A unified diff, which `patch` can apply; on a terminal without control characters."""
    from difflib import unified_diff

    from rewarden.spec_lang.diagnostics import printable

    before, after = (_lines(raw.decode("utf-8")) for raw in (found.before, found.after))
    for line in unified_diff(before, after, found.name, f"{found.name} (formatted)", lineterm=""):
        for part in line.split("\n"):
            yield printable(part) if sys.stdout.isatty() else part


def _lines(text: str) -> list[str]:
    *lines, last = text.split("\n")
    return [*lines, f"{last}\n\\ No newline at end of file"] if last else lines
