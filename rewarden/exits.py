"""Exit statuses, fixed by the design: scripts and CI rely on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

PROVED: Final = 0  # every `must` rule proved, or nothing to object to
VIOLATED: Final = 1  # a `must` rule violated or vacuous, or findings
UNUSABLE: Final = 2  # usage, spec, data, artifact or binding error, or no rule selected
INCONCLUSIVE: Final = 3  # a `must` rule is neither proved nor violated
REJECTED: Final = 4  # a certificate was not accepted
INTERNAL: Final = 5  # a bug in Rewarden
INTERRUPTED: Final = 130  # Ctrl-C
TERMINATED: Final = 143  # SIGTERM

_WORST_FIRST = (INTERRUPTED, TERMINATED, INTERNAL, UNUSABLE, REJECTED, VIOLATED, INCONCLUSIVE, PROVED)


def worst(statuses: Iterable[int]) -> int:
    """The status to report where several apply (0 for none)."""
    return min(statuses, key=_WORST_FIRST.index, default=PROVED)
