"""Bad input, 10,000 times: never a traceback, only diagnostics that are explained.

What takes long or much memory is in test_spec_fuzz_worst.py; data and used files are in test_spec_fuzz_files.py.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewarden.spec_lang.units import UnitError, unit
from tests.reference import random_texts
from tests.reference.random_texts import EVERYTHING, SHORT, survives

BATCH = 25
BATCHES = {"raw": 100, "soup": 70, "mutated": 100, "shuffled": 60, "transplanted": 60, "units": 30}
DRAWN = {
    "soup": random_texts.soup,
    "mutated": random_texts.mutated,
    "shuffled": random_texts.shuffled,
    "transplanted": random_texts.transplanted,
}
RELAXED = list(HealthCheck)


def test_there_are_ten_thousand_cases() -> None:
    assert BATCH * sum(BATCHES.values()) >= 10_000


def test_what_is_mutated_is_valid_to_begin_with() -> None:
    assert [survives(text.encode()) for text in (*SHORT, EVERYTHING)] == [frozenset()] * (len(SHORT) + 1)


@settings(max_examples=BATCHES["raw"], deadline=None, suppress_health_check=RELAXED)
@given(st.lists(st.binary(max_size=60) | st.text(max_size=40).map(str.encode), min_size=BATCH, max_size=BATCH))
def test_raw_bytes(cases: list[bytes]) -> None:
    for raw in cases:
        survives(raw)
        survives(b"spec s v1 " + raw)


@pytest.mark.parametrize("kind", sorted(DRAWN))
def test_texts(kind: str) -> None:
    draw: Callable[[Random], str] = DRAWN[kind]

    @settings(max_examples=BATCHES[kind], deadline=None, suppress_health_check=RELAXED)
    @given(st.integers(0, 2**40))
    def check(seed: int) -> None:
        rng = Random(seed)
        for _ in range(BATCH):
            survives(draw(rng).encode("utf-8", "surrogatepass"))

    check()


@settings(max_examples=BATCHES["units"], deadline=None, suppress_health_check=RELAXED)
@given(st.integers(0, 2**40))
def test_unit_nonsense(seed: int) -> None:
    """A unit has an exact factor, or is refused."""
    rng = Random(seed)
    for _ in range(BATCH):
        text = random_texts.unit_text(rng)
        with suppress(UnitError):
            assert unit(text).factor > 0, text
    written = random_texts.unit_text(rng)
    survives(f"spec s v1 features T {{ x: real [{written}] in 0 .. 1 }} param p: real [m] = 1 [{written}]".encode())
