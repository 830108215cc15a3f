"""Stacks of patches: what is found by cells of bits is what going through the whole stack comes to, bit for bit."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings

from rewarden.reward import deployed, stacks
from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.stacks import Stack, parts
from tests.reference.random_graphs import MIXED, TWO_REALS, random_mlp, random_rows, seeds
from tests.unit.test_tables import one_by_one, with_table


def plainly(artifact: Artifact, x: np.ndarray) -> np.ndarray:
    """Every patch at every record, in order."""
    with patch.object(deployed, "parts", lambda whole: range(len(whole.patches))):
        return forward(artifact, x)


def stacked(rng: np.random.Generator) -> Artifact:
    """Ceilings and floors of several shapes in turn; every other time with a table among them."""
    kind = MIXED if rng.random() < 0.5 else TWO_REALS
    found = random_mlp(rng, kind, (5,))
    for number in range(4):
        found = with_table(found, rng, int(rng.choice([2, 30, 70])), slanted=number % 2 == 1)
    found = one_by_one(found)
    if rng.random() < 0.5:
        found = with_table(found, rng, 20)
        for _ in range(6):
            found = with_table(found, rng, 1)
    return found


def on_the_edges(artifact: Artifact, rng: np.random.Generator) -> np.ndarray:
    """Records at random, many of them with one column on an edge of a patch, or one number beside it."""
    rows = random_rows(rng, [record.type for record in artifact.records], 400).astype(np.float32)
    for stack in parts(artifact):
        for cells in stack.cells if isinstance(stack, Stack) else ():
            some = rng.integers(len(rows), size=100)
            edges = rng.choice(cells.edges, 100).astype(np.float32)
            toward = rng.choice([-np.inf, np.inf], 100).astype(np.float32)
            rows[some, cells.column] = np.where(rng.random(100) < 0.4, edges, np.nextafter(edges, toward))
    return rows


@pytest.mark.parametrize("room", [stacks.MOST_BYTES, 200])
@settings(max_examples=6, deadline=None)
@given(seed=seeds)
def test_a_stack_has_the_bits_of_its_patches(room: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    artifact = stacked(rng)
    with patch.object(stacks, "MOST_BYTES", room):
        found = [part for part in parts.__wrapped__(artifact) if isinstance(part, Stack)]
        assert found
        assert sum(len(stack.sign) for stack in found) <= len(artifact.patches)
        rows = on_the_edges(artifact, rng)
        with patch.object(deployed, "parts", parts.__wrapped__):
            whole, alone = forward(artifact, rows), np.concatenate([forward(artifact, row[None]) for row in rows[:20]])
    assert whole.tobytes() == plainly(artifact, rows).tobytes()
    assert alone.tobytes() == whole[:20].tobytes()


def test_columns_without_room_are_compared_one_by_one() -> None:
    artifact = stacked(np.random.default_rng(3))
    with patch.object(stacks, "MOST_BYTES", 0):
        (stack, *_) = (part for part in parts.__wrapped__(artifact) if isinstance(part, Stack))
    assert not stack.cells
    assert len(stack.rest)


def test_what_is_no_number_meets_every_patch() -> None:
    artifact = stacked(np.random.default_rng(4))
    rows = random_rows(np.random.default_rng(1), [r.type for r in artifact.records], 6).astype(np.float32)
    rows[2, 0], rows[4, 0] = np.nan, np.inf
    assert np.array_equal(forward(artifact, rows), plainly(artifact, rows), equal_nan=True)


def test_few_patches_need_no_stack() -> None:
    artifact = with_table(random_mlp(np.random.default_rng(0), MIXED, (4,)), np.random.default_rng(1), 4)
    assert parts(one_by_one(artifact)) == (0, 1, 2, 3)
