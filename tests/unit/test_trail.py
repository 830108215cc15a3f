"""Trails: what they keep of a walk over cells, and that a proof which follows one is the smaller for it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest

from rewarden.spec_lang.claim import Affine, AffineAtom
from rewarden.verifier.cells.engine import SLICE, Cells
from rewarden.verifier.inline import compile_program
from rewarden.verifier.program import Program
from rewarden.verifier.scribe.leaves import FEW_STEPS
from rewarden.verifier.scribe.mirror import Mirror
from rewarden.verifier.scribe.writer import Writer
from rewarden.verifier.trail import (
    CUT,
    EACH,
    EVENT,
    SETTLED,
    SIGN,
    Cut,
    Guide,
    Sign,
    Trail,
    trail_in,
    trail_of,
    trail_out,
)
from tests.reference.certificates import network
from tests.reference.random_claims import atom, plain_claim
from tests.reference.random_graphs import TWO_REALS
from tests.reference.tiny_networks import least_value

SEEDS = (1, 3, 4, 15, 18, 20)


@cache
def walked(seed: int, spare: Fraction = Fraction(1, 1000)) -> tuple[Program, Trail]:
    """A rule that holds by little, and that also says something which is plainly so; as cells have settled it."""
    rewards = {"R": network(seed, 2, (4, 3))}
    plain = plain_claim(TWO_REALS, rewards, goals=[(atom(0, {}, {0: 1}),)])
    least = least_value(plain, rewards, 0)
    assert least is not None

    def above(level: Fraction) -> tuple[AffineAtom, ...]:
        return (AffineAtom(Affine(-level, (), ((0, Fraction(1)),)), False),)

    claim = plain_claim(TWO_REALS, rewards, goals=[above(least - spare), above(least - 2 * spare)])
    program = compile_program(claim, rewards)
    found = outcome(program)
    assert found.status == "proved"
    assert found.trail is not None
    return program, found.trail


def outcome(program: Program, *, recorded: bool = True) -> Any:
    cells = Cells.of(program, recorded=recorded)
    assert cells is not None
    return cells.run(4000, lambda point: False, lambda share, boxes: None, lambda: False)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_trail_has_an_event_for_each_cell(seed: int) -> None:
    program, trail = walked(seed)
    assert trail.cells == outcome(program).boxes
    assert outcome(program, recorded=False).trail is None


@pytest.mark.parametrize("seed", SEEDS)
def test_parts_come_in_their_order(seed: int) -> None:
    """Below a cut every other cut of that variable lies in the part it is said to be in, and no neuron is split
    twice."""
    program, trail = walked(seed)
    guide = Guide(trail.events[0])
    waiting = [(0, program.claim.boxes[0], frozenset[tuple[int, int]]())]
    while waiting:
        node, box, signs = waiting.pop()
        match guide.split(node):
            case Cut(k, at):
                lo, hi = box[k]
                assert lo < at < hi
                middle = Fraction(at)
                parts = [(*box[:k], ends, *box[k + 1 :]) for ends in ((lo, middle), (middle, hi))]
                waiting += [(n, part, signs) for n, part in zip(guide.children[node], parts, strict=True)]
            case Sign(layer, neuron):
                assert program.layers[layer].kind == "relu"
                assert (layer, neuron) not in signs
                waiting += [(n, box, signs | {(layer, neuron)}) for n in guide.children[node]]
            case None:
                waiting += [(n, box, signs) for n in guide.children[node]]


def test_the_side_below_zero_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """R = relu(x) · (something bent) is 0 where x <= 0: settled there at once, and split again elsewhere. (Where every
    branch is tried, and no harder where the trail ends: a trail that is wrong costs more tries then.)"""
    monkeypatch.setattr("rewarden.verifier.scribe.writer.TRIALS", 10**6)
    monkeypatch.setattr("rewarden.verifier.scribe.writer.THOROUGH", FEW_STEPS)
    kinds = [int(e["kind"]) for seed in SEEDS for e in walked(seed)[1].events[0]]
    assert kinds.count(SIGN) > 5, "the claims above are split at neurons"
    ordered = swapped = 0
    for seed in SEEDS:
        program, trail = walked(seed)
        ordered += spent(program, trail)
        swapped += spent(program, Trail(tuple(turned(events) for events in trail.events)))
    assert ordered <= swapped


def turned(events: np.ndarray) -> np.ndarray:
    """With the two sides of every sign exchanged."""
    guide, found, stack = Guide(events), [], [0]
    while stack:
        node = stack.pop()
        found.append(events[node])
        below = guide.children[node]
        stack += below if int(events[node]["kind"]) == SIGN else below[::-1]
    return np.array(found, EVENT)


def spent(program: Program, trail: Trail | None) -> int:
    mirror = Mirror.of(program)
    assert mirror is not None
    writer = Writer(program, mirror, 2000, lambda: False, trail)
    assert writer.write() is not None
    return 2000 - writer.left


def test_each_alternative_is_found_where_it_is() -> None:
    kept = 0b1011  # alternatives 3, 1 and 0, in this order
    events = np.zeros(6, EVENT)
    events["kind"][:2], events["what"][:2] = (CUT, EACH), (0, kept)
    guide = Guide(events)
    assert guide.children[0] == (1, 5)
    assert guide.children[1] == (2, 3, 4)
    assert [guide.about(1, alternative) for alternative in range(4)] == [4, 3, None, 2]
    assert guide.about(5, 2) == 5


def test_an_alternative_that_is_settled_has_no_place_below() -> None:
    events = np.zeros(3, EVENT)
    events["kind"][0], events["open"][0] = CUT, 0b101
    guide = Guide(events)
    assert [guide.about(0, alternative) for alternative in range(3)] == [0, None, 0]
    events["open"][0] = 0  # as in trails in which nothing is said of that
    assert Guide(events).about(0, 1) == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_walk_says_which_alternatives_are_left(seed: int) -> None:
    """The other alternative of the claims above is settled with the whole box, and their first one is not."""
    trail = walked(seed)[1]
    cuts = trail.events[0]["kind"] == CUT
    assert (trail.events[0]["open"][cuts] == 1).all()
    assert not trail.events[0]["open"][~cuts].any()


def test_what_the_trail_splits_is_tried_where_that_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it, where nothing has told that a leaf saves the cells below it; all of it costs more."""
    program, trail = walked(SEEDS[-1])
    guide = Guide(trail.events[0])
    assert guide.settled[0] == guide.kind.count(SETTLED) > 1
    tries = []
    for trials in (0, 10**6):
        monkeypatch.setattr("rewarden.verifier.scribe.writer.TRIALS", trials)
        mirror = Mirror.of(program)
        assert mirror is not None
        writer = Writer(program, mirror, 2000, lambda: False, trail)
        assert writer.write() is not None
        tries.append(sum(tried for tried, _ in writer.worth.values()))
    assert tries[0] == 0 < tries[1]


# ── as JSON ────────────────────────────────────────────────────────────────────────────────────
def test_what_is_written_comes_back() -> None:
    program, trail = walked(SEEDS[0])
    again = trail_in(trail_out(trail), program)
    assert [(a == b).all() for a, b in zip(trail.events, again.events, strict=True)] == [True]


def _event(**fields: float) -> np.ndarray:
    event = np.zeros(1, EVENT)
    for name, value in fields.items():
        event[name] = value
    return event


def _only(*events: np.ndarray) -> dict[str, Any]:
    return trail_out(Trail((np.concatenate(events),)))


SETTLED_CELL = _event(kind=SETTLED)
DAMAGES: dict[str, Callable[[], dict[str, Any]]] = {
    "no box": lambda: {"boxes": [], "events": _only(SETTLED_CELL)["events"]},
    "another length": lambda: {"boxes": [2], "events": _only(SETTLED_CELL)["events"]},
    "an unknown kind": lambda: _only(_event(kind=7)),
    "a variable that is none": lambda: _only(_event(kind=CUT, what=2), SETTLED_CELL, SETTLED_CELL),
    "a cut nowhere": lambda: _only(_event(kind=CUT, at=np.nan), SETTLED_CELL, SETTLED_CELL),
    "a neuron that is none": lambda: _only(_event(kind=SIGN, what=1, which=4), SETTLED_CELL, SETTLED_CELL),
    "no alternative": lambda: _only(_event(kind=EACH)),
    "a tree cut off": lambda: _only(_event(kind=CUT, what=1), SETTLED_CELL),
    "more than a tree": lambda: _only(SETTLED_CELL, SETTLED_CELL),
    "no bytes": lambda: {"boxes": [1], "events": ""},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_trail_is_refused(damage: str) -> None:
    program, _ = walked(SEEDS[0])
    with pytest.raises(ValueError):
        trail_in(DAMAGES[damage](), program)


def test_a_walk_that_is_too_long_leaves_no_trail(monkeypatch: pytest.MonkeyPatch) -> None:
    program, trail = walked(SEEDS[0])
    monkeypatch.setattr("rewarden.verifier.cells.engine.MOST", trail.cells - 1)
    assert outcome(program).trail is None
    monkeypatch.setattr("rewarden.verifier.trail.MOST", 0)
    assert trail_of([[SETTLED_CELL]]) is None
    assert SLICE > 1
