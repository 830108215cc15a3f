"""The findings of one load: collected, never raised one by one, so that a spec's errors are all reported at once."""

from __future__ import annotations

from rewarden.spec_lang import limits
from rewarden.spec_lang.errors import Diagnostic, Label, SpecError
from rewarden.spec_lang.source import Span


class Findings:
    """Mutable. A finding at the same place with the same code and message counts once."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int, str], Diagnostic] = {}

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
        key = (code, labels[0].span.start, message)
        self._found.setdefault(key, Diagnostic(code, message, labels, related, help))

    def __len__(self) -> int:
        return len(self._found)

    def raise_any(self) -> None:
        """SpecError with everything found, in source order; nothing if there is nothing."""
        if self._found:
            found = sorted(self._found.values(), key=lambda d: d.labels[0].span.start)
            raise SpecError(tuple(found[: limits.FINDINGS]))
