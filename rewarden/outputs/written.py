"""All the forms that were asked for, of one outcome. None of them changes an exit status."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rewarden.atomic import write_bytes, write_text
from rewarden.ci.outcome import Outcome
from rewarden.output import emit
from rewarden.outputs.places import from_root
from rewarden.spec_lang.errors import UsageError


@dataclass(frozen=True, slots=True)
class Forms:
    """Where each form goes. `github`: None asks the environment, as GitHub's runner sets it."""

    sarif: Path | None = None
    junit: Path | None = None
    github: bool | None = None

    @property
    def annotated(self) -> bool:
        return os.environ.get("GITHUB_ACTIONS") == "true" if self.github is None else self.github

    @property
    def any(self) -> bool:
        return self.annotated or self.sarif is not None or self.junit is not None

    def require_folders(self) -> None:
        """UsageError G61, before the work and not after it."""
        for file in (self.sarif, self.junit):
            if file is not None and not file.parent.is_dir():
                raise UsageError(
                    "G61", f"there is no folder {file.parent} to write {file.name} to", help="make it first"
                )


def write_forms(outcome: Outcome, forms: Forms) -> None:
    """Files, annotations on stdout, the job's summary."""
    outcome = from_root(outcome)
    if forms.sarif is not None:
        from rewarden.outputs import sarif

        write_text(forms.sarif, sarif.text_of(outcome))
    if forms.junit is not None:
        from rewarden.outputs import junit

        write_bytes(forms.junit, junit.bytes_of(outcome))
    if forms.annotated:
        from rewarden.outputs import github

        emit(github.commands(outcome))
        _append_summary(github.job_summary(outcome))


@contextmanager
def errors_written(forms: Forms, path: Path | None) -> Iterator[None]:
    """An error of the block is written in every form that was asked for, and raised again."""
    try:
        yield
    except Exception as error:
        if forms.any:
            from rewarden.ci.run import outcome_of_error

            write_forms(outcome_of_error(error, path), forms)
        raise


def say(lines: Iterable[str], forms: Forms) -> None:
    """Print lines, where nothing in them is taken for a command."""
    if forms.annotated:
        from rewarden.outputs.github import guarded

        lines = guarded(lines)
    emit(lines)


def _append_summary(text: str) -> None:
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    if not place:
        return
    try:
        with open(place, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError("G06", f"cannot write the job's summary: {error.strerror}") from error
