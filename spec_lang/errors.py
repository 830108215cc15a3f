"""Every exception that Rewarden raises on purpose.

RewardenError                 a code, what was wrong, how to mend it
├── SpecError                 one or more diagnostics with spans      (P, N, T, U, L codes; exit 2)
├── DataError                 a table that lies about its columns     (D codes; exit 2)
├── ArtifactError             a reward artifact that cannot be used   (A codes; exit 2)
├── BindingError              a reward that does not fit its symbol   (B codes; exit 2)
├── Unsupported               no engine, or no form, for this         (X codes; verdict unknown, or exit 2)
├── EditError                 an edit that cannot be made             (E codes; exit 2)
├── CertificateError          a certificate that is not accepted      (C codes; exit 4)
└── UsageError                a command or config that makes no sense (G codes; exit 2)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rewarden.spec_lang.source import Span


class RewardenError(Exception):
    """Base of all; `code` is stable, `help` says the way out."""

    def __init__(self, code: str, message: str, *, help: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.help = help

    def render(self) -> str:
        """The message as the terminal shows it, without colour."""
        text = f"error[{self.code}]: {self.message}"
        return text if self.help is None else f"{text}\n   = help: {self.help}"

    def __str__(self) -> str:
        return self.render()


class DataError(RewardenError):
    """A data file that is missing, malformed, or breaks its declaration; `more` is what else is wrong with the data."""

    def __init__(self, code: str, message: str, *, help: str | None = None, more: tuple[DataError, ...] = ()) -> None:
        super().__init__(code, message, help=help)
        self.more = more

    @classmethod
    def of(cls, errors: Sequence[DataError]) -> DataError:
        """All of them (at least one) as one error."""
        first, *rest = (single for error in errors for single in error.each())
        return cls(first.code, first.message, help=first.help, more=tuple(rest))

    def each(self) -> tuple[DataError, ...]:
        return (DataError(self.code, self.message, help=self.help), *self.more)

    def render(self) -> str:
        return "\n".join([super().render(), *(error.render() for error in self.more)])


class ArtifactError(RewardenError):
    """A reward artifact that is malformed, tampered with, or unsafe to load."""


class BindingError(RewardenError):
    """A reward whose schema does not match the symbol it is bound to."""


class Unsupported(RewardenError):
    """Something well-formed that no engine (or no form) handles yet."""


class EditError(RewardenError):
    """An edit that cannot be made, with the reason."""


class CertificateError(RewardenError):
    """A certificate that is not accepted, with the reason."""


class UsageError(RewardenError):
    """A command line or configuration that makes no sense."""


@dataclass(frozen=True, slots=True)
class Label:
    """A span to underline and what to say under it."""

    span: Span
    text: str = ""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding about a spec. The first label is the place; `related` and `help` are whole sentences."""

    code: str
    message: str
    labels: tuple[Label, ...]
    related: str | None = None
    help: str | None = None
    severity: str = "error"  # or "warning"


class SpecError(RewardenError):
    """All that is wrong with a spec, at once."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        first = diagnostics[0]
        super().__init__(first.code, first.message, help=first.help)
        self.diagnostics = diagnostics

    def render(self) -> str:
        from rewarden.spec_lang.diagnostics import render

        return "\n\n".join(render(d) for d in self.diagnostics)
