"""The data row nearest to a witness: distance, ties, chunks, words."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from rewarden.output import nearest_lines
from rewarden.spec_lang import load_spec
from rewarden.spec_lang.spec import Spec
from rewarden.verifier import nearest
from rewarden.verifier.nearest import nearest_rows
from rewarden.verifier.witness import FeatureValue, RecordValue, Witness

SPEC = """spec yard v1

features Step {
  speed : real [m/s] in 0 .. 4
  count : int in 0 .. 10
  human : bool
  zone  : enum {aisle, dock}
  e     : real ^ 2 in -1 .. 1
}

reward R(s: Step)
data logs: Step from "logs.csv"
data more: Step from "more.csv"

must low:
  forall s: Step
  expect R(s) <= 0
"""
HEAD = "speed,count,human,zone,e[0],e[1]"


def _spec(folder: Path, logs: list[str], more: list[str]) -> Spec:
    (folder / "yard.rwd").write_text(SPEC, encoding="utf-8")
    for name, rows in (("logs", logs), ("more", more)):
        (folder / f"{name}.csv").write_text("\n".join([HEAD, *rows]) + "\n", encoding="utf-8")
    return load_spec(folder / "yard.rwd")


def _witness(speed: str = "2", count: int = 5, human: bool = True, zone: str = "dock") -> Witness:
    features = (
        FeatureValue("speed", "m/s", float(Fraction(speed)), speed),
        FeatureValue("count", None, count, str(count)),
        FeatureValue("human", None, human, "true" if human else "false"),
        FeatureValue("zone", None, zone, zone),
        FeatureValue("e", None, (0.0, 0.5), ("0", "1/2")),
    )
    records = (RecordValue("s", "Step", features),)
    return Witness("low", 0, (), records, (), (), 0, (), "violated")


def test_the_distance_is_the_mean_over_features_of_their_share_of_the_range(tmp_path: Path) -> None:
    spec = _spec(tmp_path, ["0,0,false,aisle,0,0.5", "1,5,true,aisle,0,0"], ["4,0,false,aisle,1,-1"])
    (row,) = nearest_rows(spec, _witness())
    assert (row.data, row.row) == ("logs", 2)
    # speed 1/4, zone 1, e (0 + 1/4) / 2, of five features
    assert row.distance == (Fraction(1, 4) + 1 + Fraction(1, 8)) / 5
    assert [d.feature for d in row.differs] == ["zone", "speed", "e"]
    assert row.differs[0].here == "dock"
    assert row.differs[0].there == "aisle"
    (line,) = nearest_lines(row, several=False)
    assert line == "nearest data row: row 2 of logs, 28 % of a range apart, on average: zone aisle there, speed 1 m/s there, e 12 %"  # fmt: skip  # noqa: E501


def test_the_first_of_equally_near_rows_is_told(tmp_path: Path) -> None:
    rows = ["1,5,true,dock,0,0.5", "3,5,true,dock,0,0.5", "1,5,true,dock,0,0.5"]
    (row,) = nearest_rows(_spec(tmp_path, rows, rows), _witness())
    assert (row.data, row.row) == ("logs", 1)


def test_floats_do_not_decide_between_rows_that_differ_by_a_rounding(tmp_path: Path) -> None:
    """Third row is nearer by 1e-14 only."""
    rows = ["1.9,5,true,dock,0,0.5", "2.1,5,true,dock,0,0.5", "2.09999999999999,5,true,dock,0,0.5"]
    (row,) = nearest_rows(_spec(tmp_path, rows, ["0,0,false,aisle,0,0"]), _witness())
    assert row.row == 3


def test_the_same_record_is_said_to_be(tmp_path: Path) -> None:
    (row,) = nearest_rows(_spec(tmp_path, ["2,5,true,dock,0,0.5"], ["0,0,true,dock,0,0"]), _witness())
    assert row.distance == 0
    assert nearest_lines(row, several=True) == ["nearest to s: row 1 of logs, which is the same"]
    assert row.to_json() == {
        "data": "logs", "member": None, "row": 1, "distance": 0.0, "distance_exact": "0", "differs": []
    }  # fmt: skip


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
def test_chunks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    rng = np.random.default_rng(5)
    rows = [
        f"{rng.integers(0, 9) / 2},{rng.integers(0, 11)},{str(bool(rng.integers(2))).lower()},"
        f"{('aisle', 'dock')[rng.integers(2)]},{rng.integers(-2, 3) / 2},{rng.integers(-2, 3) / 2}"
        for _ in range(300)
    ]
    spec = _spec(tmp_path, rows, ["0,0,false,aisle,0,0"])
    whole = nearest_rows(spec, _witness("1.7", 3))
    monkeypatch.setattr(nearest, "CHUNK", chunk)
    assert nearest_rows(spec, _witness("1.7", 3)) == whole
    slow = _slow(spec, _witness("1.7", 3))
    assert (whole[0].distance, whole[0].row) == min(slow)


def _slow(spec: Spec, witness: Witness) -> list[tuple[Fraction, int]]:
    """Every row's distance, in fractions, with no thought for speed."""
    speed, count, human, zone, e = (f.exact for f in witness.records[0].features)
    found = []
    for number, row in enumerate(spec.table("logs").values.tolist(), 1):
        there = [Fraction(x) for x in row]
        apart = abs(there[0] - Fraction(speed)) / 4 + abs(there[1] - Fraction(count)) / 10
        apart += int(bool(there[2]) != (human == "true")) + int(("aisle", "dock")[int(there[4])] != zone)
        apart += sum(abs(a - Fraction(b)) / 2 for a, b in zip(there[5:], e, strict=True)) / 2
        found.append((apart / 5, number))
    return found


def test_without_data_there_is_none() -> None:
    from rewarden.spec_lang import parse_spec

    text = SPEC.replace('data logs: Step from "logs.csv"\ndata more: Step from "more.csv"\n', "")
    assert nearest_rows(parse_spec(text), _witness()) == ()
