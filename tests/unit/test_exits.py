"""Exit statuses and their order."""

from __future__ import annotations

from itertools import permutations

from rewarden import exits


def test_the_numbers_are_those_of_the_design() -> None:
    found = (exits.PROVED, exits.VIOLATED, exits.UNUSABLE, exits.INCONCLUSIVE, exits.REJECTED, exits.INTERNAL)
    assert found == (0, 1, 2, 3, 4, 5)
    assert exits.INTERRUPTED == 130


def test_the_worst_is_reported_whatever_the_order() -> None:
    order = (5, 2, 4, 1, 3, 0)
    for start in range(len(order)):
        for some in permutations(order[start : start + 3]):
            assert exits.worst(some) == order[start]
    assert exits.worst(()) == 0
