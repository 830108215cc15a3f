"""The findings of one load: collected, never raised one by one, so that a spec's errors are all reported at once."""

from __future__ import annotations

from rewarden.spec_lang import limits
from rewarden.spec_lang.errors import Diagnostic, Label
from rewarden.spec_lang.source import Span


class Enough(Exception):
    """There are as many findings as are ever shown: looking on is of no use to anyone."""


class Findings:
    """Mutable. A finding at the same place with the same code and message counts once."""

    def __init__(self, limit: int | None = limits.FINDINGS) -> None:
        """`limit`: how many are enough (Enough is raised); None: there is no end."""
        self._limit = limit
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
        if self._limit is not None and len(self._found) >= self._limit:
            raise Enough

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
