"""Boxes by feature: exact shares, exact joins, words in problem units."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarden.spec_lang.claim import Box, Claim, ClaimRecord, ClaimVariable
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier.region_words import described, percent
from rewarden.verifier.regions import Frame, OpenBoxes, Region

STEP = RecordType(
    "Step",
    (
        Feature("speed", "real", Fraction(0), Fraction(5, 2), "m/s"),
        Feature("wheels", "int", Fraction(2), Fraction(5)),
        Feature("human", "bool", Fraction(0), Fraction(1)),
        Feature("zone", "enum", Fraction(0), Fraction(1), None, ("aisle", "dock", "charger")),
    ),
)
ZONES = ("aisle", "dock", "charger")
SIDES = {"speed": (0, 10), "wheels": (2, 5), "human": (0, 1), "aisle": (0, 1), "dock": (0, 1), "charger": (0, 1)}


def _claim(records: int = 1, boxes: int = 1) -> Claim:
    """Speed is given in quarters of a metre per second."""
    names = ["speed", "wheels", "human", "zone=aisle", "zone=dock", "zone=charger"]
    told = ("a", "b")[:records]
    variables = tuple(ClaimVariable(f"{r}.{n}", None, n != "speed") for r in told for n in names)
    views = tuple(ClaimRecord(r, "Step", tuple(range(6 * k, 6 * k + 6))) for k, r in enumerate(told))
    return Claim("rule", "must", variables, views, (), (), (), (), (_box() * records,) * boxes)


def _box(**sides: tuple[int, int]) -> Box:
    chosen = {**SIDES, **sides}
    scale = {"speed": Fraction(1, 4)}
    return tuple((lo * scale.get(n, Fraction(1)), hi * scale.get(n, Fraction(1))) for n, (lo, hi) in chosen.items())


def _frame(records: int = 1, boxes: int = 1) -> Frame:
    return Frame.of(_claim(records, boxes), {"Step": STEP})


def test_shares_count_widths_integers_and_cases() -> None:
    frame = _frame()
    assert [d.kind for d in frame.dimensions] == ["real", "int", "bool", "enum"]
    whole = Region.of(frame, [(0, _box())])
    assert whole.shares() == [1]
    part = Region.of(frame, [(0, _box(speed=(0, 1), wheels=(2, 3), human=(1, 1), charger=(0, 0)))])
    assert part.shares() == [Fraction(1, 10) * Fraction(1, 2) * Fraction(1, 2) * Fraction(2, 3)]


def test_a_certain_case_excludes_the_others_and_two_exclude_all() -> None:
    frame = _frame()
    assert Region.of(frame, [(0, _box(dock=(1, 1)))]).shares() == [Fraction(1, 3)]
    assert Region.of(frame, [(0, _box(dock=(1, 1), aisle=(1, 1)))]).shares() == [0]


def test_boxes_near_data_count_in_equal_parts() -> None:
    assert Region.of(_frame(boxes=4), [(3, _box(speed=(0, 5)))]).shares() == [Fraction(1, 8)]


def test_neighbours_are_joined_along_every_kind_of_feature() -> None:
    frame = _frame()
    boxes = [
        _box(
            speed=(k, k + 1),
            wheels=(w, w),
            human=(h, h),
            **{c: (int(c == z), int(c == z)) for c in ZONES},
        )
        for k in range(3)
        for w in (3, 4)
        for h in (0, 1)
        for z in ZONES
    ]
    joined = Region.of(frame, [(0, box) for box in boxes]).merged()
    assert len(joined) == 1
    assert joined.shares() == [Fraction(3, 10) * Fraction(1, 2)]
    assert described(joined).lines() == ["speed 0 .. 0.75 [m/s], wheels 3 .. 4: 15 % of the region"]


def test_what_does_not_touch_stays_apart() -> None:
    boxes = [_box(speed=(0, 1)), _box(speed=(2, 3)), _box(wheels=(2, 2)), _box(wheels=(4, 4))]
    assert len(Region.of(_frame(), [(0, box) for box in boxes]).merged()) == 4


corners = st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(2, 4), st.integers(0, 2), st.integers(0, 2))


@given(st.lists(corners, min_size=1, max_size=25))
def test_joining_keeps_the_points(picked: list[tuple[int, int, int, int, int]]) -> None:
    """Boxes may overlap: whether a cell of the grid is covered does not change."""
    frame = _frame()
    boxes = [
        _box(
            speed=(lo, lo + width),
            wheels=(wheels, 4),
            human=((0, 1), (0, 0), (1, 1))[human],
            **{c: (0, int(k != zone)) for k, c in enumerate(ZONES)},
        )
        for lo, width, wheels, human, zone in picked
    ]
    before = Region.of(frame, [(0, box) for box in boxes])
    after = before.merged()
    assert len(after) <= len(before)
    assert _covered(before) == _covered(after)
    floats = OpenBoxes.of([(0, box) for box in boxes], 6)
    assert _covered(Region.of_floats(frame, floats).merged()) == _covered(before)


def _covered(region: Region) -> set[tuple[int, int, int, int]]:
    found = set()
    for k in range(len(region)):
        speed, wheels, human, zone = region.sides(k)
        for quarter in range(int(4 * speed[0]), int(4 * speed[1])):
            for count in range(int(wheels[0]), int(wheels[1])):
                found |= {(quarter, count, h, z) for h in (0, 1) for z in range(3) if human >> h & 1 and zone >> z & 1}
    return found


def test_two_records_are_named_and_shared_features_are_not() -> None:
    lines = described(Region.of(_frame(2), [(0, _box(speed=(0, 1)) + _box(human=(1, 1)))])).lines()
    assert lines == ["a.speed 0 .. 0.25 [m/s], b.human true: 5 % of the region"]


def test_at_most_eight_boxes_are_told_and_the_largest_first() -> None:
    boxes = [(0, _box(speed=(k, k + 1), wheels=(2 + k % 4, 2 + k % 4), human=(k % 2, k % 2))) for k in range(10)]
    told = described(Region.of(_frame(), boxes))
    assert len(told.parts) == 8
    assert told.more == 2
    assert told.lines()[-1] == "and 2 more"
    assert told.to_json()["more"] == 2
    shares = [part.share for part in told.parts]
    assert shares == sorted(shares, reverse=True)


def test_without_types_names_and_ranges_speak() -> None:
    frame = Frame.of(_claim())
    assert [(d.name, d.kind) for d in frame.dimensions] == [
        ("speed", "real"),
        ("wheels", "int"),
        ("human", "int"),
        ("zone", "enum"),
    ]


@pytest.mark.parametrize(
    "share, words",
    [
        (Fraction(0), "0 %"),
        (Fraction(1), "100 %"),
        (Fraction(1, 300), "0.33 %"),
        (Fraction(1, 3), "33.33 %"),
        (Fraction(1, 10**9), "under 0.0001 %"),
        (1 - Fraction(1, 10**9), "over 99.99 %"),
    ],
)
def test_percentages_never_round_to_all_or_nothing(share: Fraction, words: str) -> None:
    assert percent(share) == words


def test_numbers_in_words_contain_the_box() -> None:
    box = list(_box())
    box[0] = (Fraction(1, 3), Fraction(2, 3))
    (line,) = described(Region.of(_frame(), [(0, tuple(box))])).lines()
    assert line.startswith("speed 0.333333 .. 0.666667 [m/s]")


def test_floats_a_rounding_outside_of_the_claim_are_moved_back() -> None:
    frame = _frame()
    lo, hi = (np.array([[float(side[k]) for side in _box()]]) for k in (0, 1))
    lo[0, 0], hi[0, 0] = np.nextafter(0.0, -1.0), np.nextafter(2.5, 3.0)
    assert Region.of_floats(frame, OpenBoxes(np.zeros(1, np.int64), lo, hi)).shares() == [1]
