"""How many random cases a test draws: a part of them every day, all where somebody looks for new ones.

The part is the beginning of the whole: without `REWARDEN_NEW_CASES` the same cases come in the same order.
"""

from __future__ import annotations

import os

ALL = bool(os.environ.get("REWARDEN_NEW_CASES"))
FEW = 10


def part_of(full: int) -> int:
    """Of `full` cases a third, and no fewer than ten where there are so many."""
    return full if ALL else max(full // 3, min(full, FEW))
