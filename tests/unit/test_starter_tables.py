"""Tables to drafts: types, vectors, pairs, and columns that cannot be used as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rewarden.cli import run
from rewarden.draft.naming import suggested_unit, tamed
from rewarden.spec_lang import Spec, load_spec
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.table_files import open_columns
from rewarden.spec_lang.tables import read_table
from rewarden.starter import write_starter


def started(folder: Path, name: str, text: str | bytes | None = None) -> tuple[Spec, str]:
    """The starter spec of a table in `folder`, read back with its data, and its text."""
    if text is not None:
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    write_starter(folder, folder / name)
    place = folder / f"{Path(name).stem}.rwd"
    spec = load_spec(place)
    for data, declaration in spec.data.items():
        for member, _ in declaration.members:
            spec.table(data, member)
    return spec, place.read_text()


def test_types_are_read_off_a_typed_table(tmp_path: Path) -> None:
    table = pa.table(
        {
            "speed": [1.5, 30.25],
            "count": [2, 9],
            "busy": [True, False],
            "flag": [0, 1],
            "lane": ["left", "right"],
            "coded": pa.array(["left", "right"]).dictionary_encode(),
            "note": ["not a word that", "a spec can use"],
            "e": [[0.5, 2.0, 1.0], [1.0, 2.0, 4.0]],
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    spec, text = started(tmp_path, "rows.parquet")
    kinds = {f.name: (f.kind, f.size) for f in spec.features["Step"].features}
    assert kinds == {
        "speed": ("real", 1),
        "count": ("int", 1),
        "busy": ("bool", 1),
        "flag": ("bool", 1),
        "lane": ("enum", 1),
        "coded": ("enum", 1),
        "e": ("real", 3),
    }
    assert spec.table("logs").rows == 2
    assert "left out: note" in text


def test_types_are_read_off_text(tmp_path: Path) -> None:
    spec, text = started(tmp_path, "t.csv", "speed,count,busy,lane,flag\n1.5,3,true,left,0\n2,4,false,right,1\n")
    kinds = {f.name: f.kind for f in spec.features["Step"].features}
    assert kinds == {"speed": "real", "count": "int", "busy": "bool", "lane": "enum", "flag": "bool"}
    assert "REVIEW: only 0 and 1 seen" in text


@pytest.mark.parametrize("header", ["e[0],e[1],e[2]", "e[2],e[0],e[1]"])
def test_numbered_columns_become_a_vector(tmp_path: Path, header: str) -> None:
    spec, _ = started(tmp_path, "t.csv", f"{header},x\n1,2,3,4\n-5,6,7.5,8\n")
    assert [(f.name, f.size) for f in spec.features["Step"].features] == [("e", 3), ("x", 1)]
    feature = spec.features["Step"].feature("e")
    assert feature.lo <= -5
    assert feature.hi >= 7.5


def test_a_matrix_becomes_a_vector(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", e=np.arange(12.0).reshape(3, 4), flat=np.ones((3, 1)), image=np.ones((3, 2, 2)))
    spec, text = started(tmp_path, "m.npz")
    assert [(f.name, f.size) for f in spec.features["Step"].features] == [("e", 4)]
    assert "left out: flat" in text
    assert "left out: image" in text


def test_columns_that_no_spec_can_name_say_what_to_rename(tmp_path: Path) -> None:
    header = "x,near,speed (km/h),Größe,e.0,e.1"
    _, text = started(tmp_path, "t.csv", f"{header}\n1,2,3,4,5,6\n2,3,4,5,6,7\n")
    assert 'rename the column "near" to near_' in text
    assert 'rename the column "speed (km/h)" to speed_km_h' in text
    assert 'rename the column "Größe" to Groe' in text
    assert "rename the columns e.0 .. e.1 to e[0] .. e[1]" in text
    renamed = header.replace("near", "near_").replace("speed (km/h)", "speed_km_h").replace("Größe", "Groe")
    renamed = renamed.replace("e.0,e.1", "e[0],e[1]")
    (tmp_path / "t.csv").write_text(f"{renamed}\n1,2,3,4,5,6\n2,3,4,5,6,7\n")
    uncommented = "\n".join(
        line.replace("# ", "", 1) if line.startswith("  # ") else line for line in text.splitlines()
    )
    (tmp_path / "again.rwd").write_text(uncommented)
    spec = load_spec(tmp_path / "again.rwd")
    assert [f.name for f in spec.features["Step"].features] == ["x", "near_", "speed_km_h", "Groe", "e"]
    assert read_table(tmp_path / "t.csv", spec.features["Step"]).rows == 2


def test_units_are_suggested_and_marked(tmp_path: Path) -> None:
    spec, text = started(tmp_path, "t.csv", "v_mps,gap_m,plain\n1,2,3\n2,5,4\n")
    assert [f.unit for f in spec.features["Step"].features] == ["m/s", "m", None]
    assert text.count("REVIEW: unit read off the name") == 2


@pytest.mark.parametrize(
    "name, found",
    [
        ("speed_kmh", "km/h"),
        ("load_kg", "kg"),
        ("turn_deg", "deg"),
        ("speed [m/s]", "m/s"),
        ("speed (km/h)", "km/h"),
        ("m", None),
        ("kg", None),
        ("share (of all)", None),
        ("grade_a", None),
    ],
)
def test_units_of_names(name: str, found: str | None) -> None:
    assert suggested_unit(name) == found


def test_names_are_tamed_without_clashes() -> None:
    assert tamed("a b", {"a_b", "a_b_2"}, "column_1") == "a_b_3"
    assert tamed("1st", set(), "column_1") == "x1st"
    assert tamed("日本", set(), "column_7") == "column_7"
    assert tamed("real", set(), "column_1") == "real_"


def test_missing_values_keep_a_column_out_until_they_are_filled(tmp_path: Path) -> None:
    spec, text = started(tmp_path, "t.csv", "x,y,z\n1,,nan\n2,5,1\n3,6,2\n")
    assert [f.name for f in spec.features["Step"].features] == ["x"]
    assert text.count("drop the row without a value, then uncomment") == 2


def test_a_column_of_mixed_kinds_is_left_out_with_the_rows(tmp_path: Path) -> None:
    _, text = started(tmp_path, "t.csv", "x,y\n1,2\n2,oops\n3,4\n")
    assert "left out: y: it mixes numbers (row 1) and text (row 2)" in text


def test_whole_numbers_without_a_binary_value_are_left_out(tmp_path: Path) -> None:
    _, text = started(tmp_path, "t.jsonl", f'{{"x": 1, "big": {2**53 + 1}}}\n{{"x": 2, "big": 3}}\n')
    assert "left out: big" in text


def test_outliers_and_constants_are_marked(tmp_path: Path) -> None:
    values = [*(k % 10 for k in range(500)), 900]
    lines = "\n".join(f"{v + 0.5},7" for v in values)
    spec, text = started(tmp_path, "t.csv", f"x,same\n{lines}\n")
    assert spec.features["Step"].feature("x").hi >= 900.5
    assert "1 of 501 values lie far out" in text
    assert "REVIEW: always 7 in the data" in text


def test_a_table_with_one_row_says_so(tmp_path: Path) -> None:
    _, text = started(tmp_path, "t.csv", "x,y\n1,2\n")
    assert "the table has one row" in text


def test_control_characters_of_a_name_stay_in_their_comment(tmp_path: Path) -> None:
    _, text = started(tmp_path, "t.csv", 'x,"a\nmust evil: forall s: Step expect R(s) <= 0"\n1,2\n2,3\n')
    assert "must evil" in text
    assert not any(line.startswith("must") for line in text.splitlines())


def test_two_hundred_columns_are_reviewed_one_by_one(tmp_path: Path) -> None:
    names = ",".join(f"f{k}" for k in range(200))
    row = ",".join(str(k) for k in range(200))
    spec, _ = started(tmp_path, "t.csv", f"{names}\n{row}\n{row}\n")
    assert len(spec.features["Step"].features) == 200


def test_too_many_columns_are_refused(tmp_path: Path) -> None:
    names = ",".join(f"f{k}" for k in range(2000))
    (tmp_path / "t.csv").write_text(f"{names}\n{','.join('1' * 2000)}\n")
    with pytest.raises(DataError, match="D27"):
        write_starter(tmp_path, tmp_path / "t.csv")


@pytest.mark.parametrize(
    "text, code",
    [
        ("", "D02"),
        ("a,b\n", "D08"),
        ("a\nx\nx\n", "D18"),
        ("near\n1\n2\n", "D25"),
        ("a,a\n1,2\n", "D12"),
        ("a\n1,2\n", "D13"),
        ("a\n1\n\n2\n", "D13"),  # in one column a blank line may be a value that was lost
    ],
)
def test_tables_without_a_draft(tmp_path: Path, text: str, code: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=code):
        write_starter(tmp_path, tmp_path / "t.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_blank_lines_at_the_end_and_between_rows_of_several_fields_are_no_rows(tmp_path: Path) -> None:
    for text in ("a,b\n1,2\n\n3,4\n\n\n", "a\n1\n2\n\n"):
        (tmp_path / "t.csv").write_text(text)
        assert open_columns(tmp_path / "t.csv").rows == 2


# ── rows of several records ────────────────────────────────────────────────────────────────────
def test_pairs_become_preferences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"pair": [0, 1], "better.x": [0.0, 1.0], "worse.x": [4.0, 2.0]})
    pq.write_table(table, tmp_path / "pairs.parquet")
    spec, text = started(tmp_path, "pairs.parquet")
    feature = spec.features["Step"].feature("x")
    assert (feature.lo, feature.hi) == (0, 4)
    assert spec.data["prefs"].members == (("better", "Step"), ("worse", "Step"))
    assert "forall p in prefs" in text
    assert "left out: pair" in text
    monkeypatch.chdir(tmp_path)
    assert run(["check"]) == 0


def test_nested_objects_are_pairs_too(tmp_path: Path) -> None:
    line = '{"chosen": {"e": [1, 2], "b": true}, "rejected": {"e": [3, 4.5], "b": false}}\n'
    spec, text = started(tmp_path, "p.jsonl", line * 2)
    assert spec.data["prefs"].members == (("chosen", "Step"), ("rejected", "Step"))
    assert spec.features["Step"].feature("e").size == 2
    assert "share(R(p.chosen) > R(p.rejected))" in text


def test_transitions_are_moves(tmp_path: Path) -> None:
    spec, _ = started(tmp_path, "m.csv", "state.x,later.x,step\n1,2,0\n2,3,1\n")
    assert spec.data["moves"].members == (("state", "Step"), ("later", "Step"))


def test_prefixes_with_other_features_are_no_pairs(tmp_path: Path) -> None:
    _, text = started(tmp_path, "m.csv", "a.x,b.y,z\n1,2,0\n2,3,1\n")
    assert 'rename the column "a.x" to a_x' in text
