"""The findings of one load: collected, never raised one by one, so that a spec's errors are all reported at once."""

from __future__ import annotations

from rewarden.spec_lang import limits
from rewarden.spec_lang.errors import Diagnostic, Label
from rewarden.spec_lang.source import Span


class Findings:
    """Mutable. A finding at the same place with the same code and message counts once."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, int, str], Diagnostic] = {}

    def add(
        self,
        code: str,
        message: str,
        where: Span | tuple[Label, ...],
        *,
        related: str | None = None,
        help: str | None = None,
    ) -> None:
        labels = (Label(where),) if isinstance(where, Span) else where
        key = (code, labels[0].span.source.name, labels[0].span.start, message)
        self._found.setdefault(key, Diagnostic(code, message, labels, related, help))

    def __len__(self) -> int:
        return len(self._found)

    def only(self, codes: tuple[str, ...]) -> bool:
        """Nothing but findings of these codes, or nothing at all."""
        return all(d.code in codes for d in self._found.values())

    def sorted(self) -> tuple[Diagnostic, ...]:
        """Everything found, file by file as first met, in source order."""
        files = {d.labels[0].span.source.name: k for k, d in reversed(list(enumerate(self._found.values())))}

        def place(d: Diagnostic) -> tuple[int, int]:
            span = d.labels[0].span
            return files[span.source.name], span.start

        return tuple(sorted(self._found.values(), key=place)[: limits.FINDINGS])
