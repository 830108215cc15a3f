"""Rows in problem units become encoded float32 columns; what is out of the domain is refused, flagged or clipped."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.encode import encode, float32_range
from rewarden.reward.graph import AffineMap, Graph, Input
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.tables import Table

STEP = RecordType(
    "Step",
    (
        Feature("speed", "real", Fraction(0), Fraction(5, 2), "m/s"),
        Feature("count", "int", Fraction(-1), Fraction(4)),
        Feature("near", "bool", Fraction(0), Fraction(1)),
        Feature("zone", "enum", Fraction(0), Fraction(1), None, ("aisle", "dock", "charger")),
        Feature("e", "real", Fraction(-1), Fraction(1), None, (), 2),
    ),
)
ONE = (RewardRecord("s", STEP),)
TWO = (RewardRecord("s", STEP), RewardRecord("n", STEP))
ROWS = {
    "speed": [0.5, 2.5],
    "count": [4, -1],
    "near": [True, False],
    "zone": ["dock", "aisle"],
    "e": [[0.25, -1.0], [1.0, 0.0]],
}
ENCODED = np.array([[0.5, 4, 1, 0, 1, 0, 0.25, -1], [2.5, -1, 0, 1, 0, 0, 1, 0]], dtype=np.float32)


def artifact(records=ONE) -> Artifact:
    width = sum(r.type.width for r in records)
    tensors = {"w": np.arange(width, dtype=np.float32)[None], "b": np.zeros(1, dtype=np.float32)}
    return Artifact(records, Graph((Input(), AffineMap(0, "w", "b")), 1), tensors, "exact")


class Frame:
    """The part of a data frame's interface that is used."""

    def __init__(self, columns):
        self._columns = columns
        self.columns = list(columns)

    def __getitem__(self, name):
        return self._columns[name]


def table(values) -> Table:
    return Table("t", STEP, values, "sha256:", "sha256:")


@pytest.mark.parametrize(
    "rows",
    [
        ROWS,
        {k: np.array(v) for k, v in ROWS.items()},
        {**ROWS, "near": np.array([1, 0], dtype=np.int8), "count": np.array(["4", "-1"]).astype(np.float32)},
        {**ROWS, "near": np.array(["true", "False"])},
        {**{k: v for k, v in ROWS.items() if k != "e"}, "e[0]": [0.25, 1.0], "e[1]": [-1.0, 0.0]},
        pa.table(ROWS),
        pa.table({**ROWS, "time": [1, 2]}),
        pa.record_batch({k: pa.array(v) for k, v in ROWS.items()}),
        pa.table({**ROWS, "e": pa.array(ROWS["e"], type=pa.list_(pa.float64(), 2))}),
        Frame({**ROWS, "time": [1, 2]}),
        ENCODED,
        ENCODED.astype(float),
        table(ENCODED.astype(float)),
    ],
)
def test_all_kinds_of_rows_encode_alike(rows):
    encoded = encode(ONE, rows)
    assert encoded.values.dtype == np.float32
    assert encoded.values.tolist() == ENCODED.tolist()
    assert not encoded.out_of_domain.any()
    assert artifact().score(rows).tolist() == forward(artifact(), ENCODED).tolist()


def test_scalars_stand_for_all_rows():
    encoded = encode(ONE, {**ROWS, "speed": 1.5, "zone": "charger", "near": False, "e": [0.5, 0.5]})
    assert encoded.values[:, 0].tolist() == [1.5, 1.5]
    assert encoded.values[:, 5].tolist() == [1.0, 1.0]
    assert encoded.values[:, 6:].tolist() == [[0.5, 0.5]] * 2
    single = {"speed": 1, "count": 0, "near": True, "zone": "dock", "e": [0, 0]}
    assert encode(ONE, single).values.shape == (1, 8)
    none = {"speed": [], "count": [], "near": [], "zone": [], "e": np.zeros((0, 2))}
    assert encode(ONE, none).values.shape == (0, 8)
    assert encode(ONE, {**none, "speed": 1.0}).values.shape == (0, 8)


def test_several_records():
    both = np.concatenate([ENCODED, ENCODED[::-1]], axis=1).tolist()
    prefixed = {f"{p}.{k}": v if p == "s" else v[::-1] for p in ("s", "n") for k, v in ROWS.items()}
    assert encode(TWO, prefixed).values.tolist() == both
    assert encode(TWO, {"s": ROWS, "n": table(ENCODED[::-1].astype(float))}).values.tolist() == both
    assert artifact(TWO).score(prefixed).shape == (2,)
    with pytest.raises(DataError) as caught:
        encode(TWO, table(ENCODED.astype(float)))
    assert caught.value.code == "D03"


def changed(**columns):
    return {**ROWS, **columns}


def without(name):
    return {k: v for k, v in ROWS.items() if k != name}


BAD = {
    "missing": (without("speed"), "D03", "there is no column 'speed'"),
    "typo": ({**without("speed"), "sped": [1, 1]}, "D17", "did you mean speed?"),
    "unknown": (changed(colour=["red", "blue"]), "D17", "colour"),
    "missing, in a table": (pa.table({**without("speed"), "sped": [1, 1]}), "D03", "did you mean sped?"),
    "other units": (Table("t", RecordType("Step", (Feature("speed", "real", Fraction(0), Fraction(9), "km/h"),)),
                          np.zeros((1, 1)), "", ""), "D03", "speed [m/s]"),
    "text for a number": (changed(speed=["fast", "slow"]), "D04", "row 1"),
    "bool for a number": (changed(speed=[True, False]), "D04", "true or false"),
    "half an int": (changed(count=[0, 0.5]), "D04", "row 2"),
    "two for a bool": (changed(near=[0, 2]), "D04", "row 2"),
    "maybe for a bool": (changed(near=["true", "maybe"]), "D04", "row 2"),
    "number for a case": (changed(zone=[0, 1]), "D07", "cases are text"),
    "not a table": (3, "D04", "int"),
    "not one-hot": (np.where(np.arange(8) == 3, np.float32(1), ENCODED), "D04", "zone, row 1"),
    "nan": (changed(speed=[0.5, np.nan]), "D05", "row 2"),
    "none": (changed(speed=[0.5, None]), "D05", "row 2"),
    "null": (pa.table(changed(speed=[None, 0.5])), "D05", "row 1"),
    "infinite": (changed(speed=[0.5, np.inf]), "D06", "row 2"),
    "too fast": (changed(speed=[0.5, 7.25]), "D06", "speed, row 2: 7.25 m/s is out of the declared 0 .. 2.5 m/s"),
    "below": (changed(count=[-2, 0]), "D06", "-1 .. 4"),
    "element": (changed(e=[[0, 0], [0, -1.5]]), "D06", "row 2"),
    "case": (changed(zone=["dock", "chargr"]), "D07", "did you mean charger?"),
    "no case": (changed(zone=["dock", None]), "D07", "row 2"),
    "long vector": (changed(e=[[0, 0, 0], [0, 0, 0]]), "D09", "[2, 3]"),
    "ragged vector": (changed(e=[[0, 0], [0]]), "D09", "uneven"),
    "ragged vector, in a table": (pa.table(changed(e=[[0, 0], [0]])), "D09", "row 2"),
    "nested number": (changed(speed=[[1], [2]]), "D09", "one number a row"),
    "nested case": (changed(zone=[["dock"], ["dock"]]), "D09", "one case a row"),
    "narrow array": (ENCODED[:, :3], "D09", "[n, 8]"),
    "text array": (ENCODED.astype(str), "D09", "[n, 8]"),
    "uneven": (changed(speed=[1, 1, 1]), "D13", "rows"),
    "uneven elements": ({**without("e"), "e[0]": [0, 0], "e[1]": [0]}, "D13", "e"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_refused_by_name_row_and_reason(name):
    rows, code, text = BAD[name]
    with pytest.raises(DataError) as caught:
        artifact().score(rows)
    assert caught.value.code == code
    assert text in caught.value.render()


def test_flag_masks_the_rows_and_keeps_their_scores():
    rows = changed(speed=[0.5, 7.25])
    scores = artifact().score(rows, out_of_domain="flag")
    assert isinstance(scores, np.ma.MaskedArray)
    assert scores.mask.tolist() == [False, True]
    beyond = ENCODED.copy()
    beyond[1, 0] = 7.25
    assert scores.data.tolist() == forward(artifact(), beyond).tolist()
    assert artifact().score(changed(speed=[np.nan, 1.0]), out_of_domain="flag").mask.tolist() == [True, False]
    assert artifact().score(ROWS, out_of_domain="flag").mask.tolist() == [False, False]


def test_clip_moves_values_into_range_but_forgives_nothing_else():
    rows = changed(speed=[-3.0, np.inf], count=[9, -9], e=[[2, 0], [0, -2]])
    encoded = encode(ONE, rows, "clip")
    assert encoded.values[:, 0].tolist() == [0.0, 2.5]
    assert encoded.values[:, 1].tolist() == [4.0, -1.0]
    assert encoded.values[:, 6:].tolist() == [[1, 0], [0, -1]]
    for bad in (changed(speed=[0.5, np.nan]), changed(zone=["dock", "moon"]), changed(count=[0.5, 1])):
        with pytest.raises(DataError):
            encode(ONE, bad, "clip")


def test_an_unknown_policy_is_an_error():
    with pytest.raises(ValueError):
        encode(ONE, ROWS, "ignore")


@given(st.fractions(-100, 100, max_denominator=1000), st.fractions(0, 50, max_denominator=1000), st.floats(0, 1))
def test_what_is_executed_lies_in_the_declared_range(lo, width, share):
    """0.1 is in 0 .. 0.1, float32(0.1) is not."""
    hi = lo + width
    records = (RewardRecord("s", RecordType("T", (Feature("x", "real", lo, hi),))),)
    x = min(max(float(lo) + share * float(width), float(lo)), float(hi))
    value = encode(records, {"x": [x]}).values[0, 0]
    least, most = float32_range(lo, hi)
    if least <= most:
        assert lo <= Fraction(float(value)) <= hi
        assert abs(float(value) - x) <= 2.0**-23 * max(abs(x), 1e-30)
    else:
        assert value == np.float32(x)
    assert encode(records, {"x": np.array([lo, hi], dtype=np.float32)}).values.shape == (2, 1)
