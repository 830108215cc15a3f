from __future__ import annotations

import csv
import json
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.spec_lang import table_files
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.obligation import Atom, Const, Product, Sum, Var
from rewarden.spec_lang.tables import canonical_table_digest, read_table, require_assumption

STEP = RecordType(
    "Step",
    (
        Feature("speed", "real", Fraction(0), Fraction(1, 10), "m/s"),
        Feature("count", "int", Fraction(-3), Fraction(3)),
        Feature("near", "bool", Fraction(0), Fraction(1)),
        Feature("zone", "enum", Fraction(0), Fraction(1), cases=("aisle", "dock")),
        Feature("e", "real", Fraction(-1), Fraction(1), size=3),
    ),
)
ROWS = [
    {"speed": 0.1, "count": -3, "near": True, "zone": "dock", "e": [0.5, -0.25, 1.0]},
    {"speed": 0.05, "count": 2, "near": False, "zone": "aisle", "e": [-0.0, 0.1, -1.0]},
]
ENCODED = [[0.1, -3, 1, 0, 1, 0.5, -0.25, 1.0], [0.05, 2, 0, 1, 0, 0.0, 0.1, -1.0]]


def columns_of(rows):
    return {name: [row.get(name) for row in rows] for name in rows[0]}


def write_parquet(path, rows, prefix=""):
    pq.write_table(pa.table({prefix + name: values for name, values in columns_of(rows).items()}), path)


def write_jsonl(path, rows, prefix=""):
    path.write_text("\n".join(json.dumps({prefix + k: v for k, v in row.items()}) for row in rows) + "\n")


def write_npz(path, rows, prefix=""):
    np.savez(path, **{prefix + name: np.array(values) for name, values in columns_of(rows).items()})


def flat(row):
    """Vectors as e[0], e[1], …, which is all that CSV can hold."""
    cells = {}
    for name, value in row.items():
        cells.update({f"{name}[{k}]": v for k, v in enumerate(value)} if isinstance(value, list) else {name: value})
    return cells


def write_csv(path, rows, prefix=""):
    with path.open("w", newline="") as file:
        names = {prefix + name: None for row in rows for name in flat(row)}
        writer = csv.DictWriter(file, list(names))
        writer.writeheader()
        writer.writerows({prefix + k: v for k, v in flat(row).items()} for row in rows)


WRITERS = {"parquet": write_parquet, "jsonl": write_jsonl, "npz": write_npz, "csv": write_csv}
formats = pytest.mark.parametrize("suffix", list(WRITERS))


def written(folder, suffix, rows, prefix=""):
    path = folder / f"logs.{suffix}"
    WRITERS[suffix](path, rows, prefix)
    return path


def with_change(row, name, value):
    rows = [dict(r) for r in ROWS]
    rows[row][name] = value
    return rows


def refusal(path, **options):
    with pytest.raises(DataError) as caught:
        read_table(path, STEP, **options)
    assert caught.value.help
    return caught.value


# ── reading ────────────────────────────────────────────────────────────────────────────────────
@formats
@pytest.mark.parametrize("prefix", ["", "better."])
def test_every_format_gives_the_same_table(tmp_path, suffix, prefix):
    table = read_table(written(tmp_path, suffix, ROWS, prefix), STEP, prefix=prefix)
    assert table.values.tolist() == ENCODED
    assert table.values.dtype == np.float64
    assert not np.signbit(table.values[1, 5])  # −0 is 0
    assert not table.values.flags.writeable
    assert table.name == "logs"
    assert table.rows == 2
    assert table.table_digest == canonical_table_digest(STEP, np.array(ENCODED))
    assert table.bytes_digest.startswith("sha256:")


def test_digests_follow_bytes_and_numbers(tmp_path):
    first = read_table(written(tmp_path, "csv", ROWS), STEP)
    second = read_table(written(tmp_path, "jsonl", ROWS), STEP)
    assert first.bytes_digest != second.bytes_digest
    assert first.table_digest == second.table_digest
    third = read_table(written(tmp_path, "csv", with_change(1, "speed", 0.06)), STEP)
    assert third.table_digest != first.table_digest


def test_the_canonical_digest_is_what_the_documentation_says():
    import hashlib

    one = RecordType("One", (Feature("x", "real", Fraction(0), Fraction(9)),))
    expected = hashlib.sha256(b'{"columns":["x"],"rows":1}\n' + b"\x00\x00\x00\x00\x00\x00\xf8\x3f").hexdigest()
    assert canonical_table_digest(one, np.array([[1.5]])) == f"sha256:{expected}"


@formats
def test_extra_columns_are_ignored(tmp_path, suffix):
    rows = [{**row, "comment": "fine", "e2": 3.0} for row in ROWS]
    assert read_table(written(tmp_path, suffix, rows), STEP).values.tolist() == ENCODED


def test_a_column_with_a_dot_is_not_the_column_before_it(tmp_path):
    path = tmp_path / "pairs.parquet"
    one = RecordType("One", (Feature("x", "real", Fraction(0), Fraction(9)),))
    pq.write_table(pa.table({"x.y": [7.0], "x": [1.0]}), path)
    assert read_table(path, one).values.tolist() == [[1.0]]


def test_vectors_may_stand_in_element_columns_or_fixed_size_lists(tmp_path):
    path = tmp_path / "a.parquet"
    flat_rows = columns_of([flat(row) for row in ROWS])
    pq.write_table(pa.table(flat_rows), path)
    assert read_table(path, STEP).values.tolist() == ENCODED
    fixed = pa.table(columns_of(ROWS)).set_column(
        4, "e", pa.array([row["e"] for row in ROWS], type=pa.list_(pa.float32(), 3))
    )
    pq.write_table(fixed, path)
    assert read_table(path, STEP).values[0, 5:].tolist() == ENCODED[0][5:]


def test_nested_json_objects_have_dotted_names(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(json.dumps({"better": row, "worse": row}) for row in ROWS))
    assert read_table(path, STEP, prefix="worse.").values.tolist() == ENCODED


@pytest.mark.parametrize("yes, no", [("true", "false"), ("1", "0"), ("True", "False")])
def test_switches_in_csv(tmp_path, yes, no):
    rows = [{**row, "near": yes if row["near"] else no} for row in ROWS]
    assert read_table(written(tmp_path, "csv", rows), STEP).values.tolist() == ENCODED


def test_dictionary_encoded_cases_and_decimals(tmp_path):
    path = tmp_path / "a.parquet"
    table = pa.table(columns_of(ROWS))
    table = table.set_column(3, "zone", table.column("zone").dictionary_encode())
    table = table.set_column(0, "speed", pa.array([Decimal("0.1"), Decimal("0.05")]))
    pq.write_table(table, path)
    assert read_table(path, STEP).values.tolist() == ENCODED


@formats
def test_no_rows_are_an_error_only_when_used(tmp_path, suffix):
    path = tmp_path / f"none.{suffix}"
    if suffix == "jsonl":
        path.write_text("")
        with pytest.raises(DataError, match="no columns speed, count"):
            read_table(path, STEP)
        return
    if suffix == "parquet":
        pq.write_table(pa.table(columns_of(ROWS)).slice(0, 0), path)
    elif suffix == "npz":
        np.savez(path, speed=[], count=[], near=[], zone=np.array([], dtype=str), e=np.zeros((0, 3)))
    else:
        path.write_text("speed,count,near,zone,e[0],e[1],e[2]\n")
    table = read_table(path, STEP)
    assert table.values.shape == (0, 8)
    with pytest.raises(DataError, match="none has no rows") as caught:
        table.require_rows()
    assert caught.value.code == "D08"


# ── refusing ───────────────────────────────────────────────────────────────────────────────────
def test_missing_and_unknown_files(tmp_path):
    assert refusal(tmp_path / "logs.csv").code == "D01"
    (tmp_path / "logs.xlsx").write_text("")
    error = refusal(tmp_path / "logs.xlsx")
    assert error.code == "D02"
    assert ".parquet" in error.help


@formats
def test_broken_files(tmp_path, suffix):
    path = tmp_path / f"logs.{suffix}"
    path.write_bytes(b"\xff\xfe not a table")
    assert refusal(path).code == "D02"
    whole = written(tmp_path, suffix, ROWS).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert refusal(path).code in ("D02", "D03", "D05", "D13")


@formats
def test_missing_columns_suggest_a_near_name(tmp_path, suffix):
    rows = [{("sped" if k == "speed" else k): v for k, v in row.items()} for row in ROWS]
    error = refusal(written(tmp_path, suffix, rows))
    assert (error.code, error.help) == ("D03", "did you mean sped?")
    rows = [{"entirely": 1.0} for _ in ROWS]
    assert refusal(written(tmp_path, suffix, rows)).help == "its columns are entirely"


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
@pytest.mark.parametrize(
    "name, value, code",
    [
        ("speed", None, "D05"),
        ("speed", float("nan"), "D05"),
        ("speed", float("inf"), "D05"),
        ("speed", 0.2, "D06"),
        ("speed", -1e-300, "D06"),
        ("count", 4, "D06"),
        ("zone", "dok", "D07"),
        ("zone", None, "D05"),
        ("near", None, "D05"),
    ],
)
def test_bad_values_are_refused_with_their_row(tmp_path, suffix, name, value, code):
    error = refusal(written(tmp_path, suffix, with_change(1, name, value)))
    assert error.code == code
    assert f"column {name}, row 2 of logs.{suffix}" in error.message


@pytest.mark.parametrize(
    "suffix, name, value, code",
    [
        ("csv", "speed", "fast", "D04"),
        ("csv", "speed", "0_1", "D04"),
        ("csv", "count", "1.5", "D04"),
        ("csv", "near", "maybe", "D04"),
        ("jsonl", "speed", "0.05", None),
        ("jsonl", "speed", True, "D04"),
        ("jsonl", "speed", [0.1], "D04"),
        ("jsonl", "count", 10**400, "D04"),
        ("jsonl", "count", 2**53 + 1, "D04"),
        ("jsonl", "near", 2, "D04"),
        ("jsonl", "near", "yes", "D04"),
        ("jsonl", "zone", 1, "D04"),
        ("jsonl", "e", 0.5, "D04"),
        ("jsonl", "e", [0.5, 0.5], "D09"),
        ("jsonl", "e", [0.5, 0.5, None], "D05"),
        ("jsonl", "e", None, "D05"),
        ("parquet", "e", [0.5, 0.5], "D09"),
        ("parquet", "e", [0.5, 0.5, None], "D05"),
        ("parquet", "e", [0.5, 0.5, 1.5], "D06"),
    ],
)
def test_types_and_vectors(tmp_path, suffix, name, value, code):
    path = written(tmp_path, suffix, with_change(1, name, value))
    if code is None:
        assert read_table(path, STEP).rows == 2
    else:
        error = refusal(path)
        assert error.code == code
        assert "row 2" in error.message


@pytest.mark.parametrize("column, value, code", [
    ("near", pa.array([1, 2]), "D04"),
    ("count", pa.array([1.0, 1.5]), "D04"),
    ("count", pa.array([1, 2**60]), "D04"),
    ("speed", pa.array([True, False]), "D04"),
    ("speed", pa.array([[0.1], [0.1]]), "D04"),
    ("e", pa.array([[0.1] * 4] * 2), "D09"),
    ("e", pa.array([0.1, 0.1]), "D09"),
])  # fmt: skip
def test_typed_columns_of_the_wrong_type(tmp_path, column, value, code):
    path = tmp_path / "logs.parquet"
    table = pa.table(columns_of(ROWS))
    pq.write_table(table.set_column(table.column_names.index(column), column, value), path)
    assert refusal(path).code == code


def test_a_range_message_says_rows_range_and_unit(tmp_path):
    rows = [dict(ROWS[0], speed=0.1 + 0.1 * (k % 2)) for k in range(20)]
    error = refusal(written(tmp_path, "csv", rows))
    assert "rows 2, 4, 6, 8, 10 and 5 more" in error.message
    assert "0.2 is out of the range 0 .. 0.1 [m/s]" in error.message
    kept = read_table(written(tmp_path, "csv", rows), STEP, bounds="keep")
    assert kept.values[1, 0] == 0.2


def test_the_limit_itself_is_in_range_as_its_column_can_write_it(tmp_path):
    path = tmp_path / "logs.parquet"
    table = pa.table(columns_of(ROWS))
    pq.write_table(table.set_column(0, "speed", pa.array([0.1, 0.05], pa.float32())), path)
    assert read_table(path, STEP).values[0, 0] == float(np.float32(0.1))
    above = np.nextafter(np.float32(0.1), np.float32(1))
    pq.write_table(table.set_column(0, "speed", pa.array([above, 0.05], pa.float32())), path)
    assert refusal(path).code == "D06"


def test_nothing_is_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    path = tmp_path / "logs.npz"
    np.savez(path, speed=np.array([Bomb()], dtype=object), allow_pickle=True)
    error = refusal(path)
    assert error.code == "D10"
    assert "pickled" in error.message


def test_oversize_is_refused(tmp_path, monkeypatch):
    path = written(tmp_path, "npz", ROWS)
    monkeypatch.setattr(table_files, "MAX_BYTES", 1000)  # the archive is smaller, what it unpacks to is larger
    assert refusal(path).code == "D11"
    monkeypatch.setattr(table_files, "MAX_BYTES", 10)
    assert refusal(written(tmp_path, "csv", ROWS)).code == "D11"
    monkeypatch.undo()
    monkeypatch.setattr(table_files, "MAX_CELLS", 4)
    assert refusal(written(tmp_path, "csv", ROWS)).code == "D11"


def test_uneven_and_repeated_columns(tmp_path):
    path = tmp_path / "logs.csv"
    path.write_text("speed,speed\n0,0\n")
    assert refusal(path).code == "D12"
    path.write_text("speed,count\n0,0\n\n0\n")
    error = refusal(path)
    assert error.code == "D13"
    assert "row 2" in error.message
    np.savez(tmp_path / "logs.npz", speed=np.zeros(2), count=np.zeros(3))
    assert refusal(tmp_path / "logs.npz").code == "D13"


def test_json_lines_are_objects(tmp_path):
    path = tmp_path / "logs.jsonl"
    for text in ('{"speed": 1}\n[1]\n', '{"speed": 1}\n{"speed": \n'):
        path.write_text(text)
        error = refusal(path)
        assert error.code == "D02"
        assert "line 2" in error.message


def test_every_column_at_fault_is_named(tmp_path):
    rows = [{**row, "speed": 7.0, "count": 99, "zone": "attic"} for row in ROWS]
    error = refusal(written(tmp_path, "jsonl", rows))
    assert [each.code for each in error.each()] == ["D06", "D06", "D07"]
    assert all(f"column {name}, " in error.render() for name in ("speed", "count", "zone"))
    again = DataError.of([error, error])
    assert len(again.each()) == 6
    assert again.render().count("error[") == 6


def test_columns_that_are_nowhere_are_named_together(tmp_path):
    path = tmp_path / "logs.csv"
    path.write_text(";".join(ROWS[0]) + "\n0.1;-3;true;dock;1\n")
    error = refusal(path)
    assert (error.code, len(error.each())) == ("D03", 1)
    assert all(name in error.message for name in ROWS[0])


@pytest.mark.parametrize("line", ['{"speed": 1, "speed": 0}', '{"better": {"speed": 1}, "better.speed": 0}'])
def test_a_json_line_that_names_a_column_twice_is_refused(tmp_path, line):
    path = tmp_path / "logs.jsonl"
    path.write_text(line + "\n")
    error = refusal(path)
    assert (error.code, "twice" in error.message) == ("D12", True)


def test_assumptions_are_checked_exactly(tmp_path):
    table = read_table(written(tmp_path, "csv", ROWS), STEP)

    def above(limit):
        return Atom(Sum((Var(0), Product(Const(Fraction(-1)), Const(limit)))), False)

    require_assumption(table, above(Fraction(0.05)))
    with pytest.raises(DataError, match="row 2 of logs breaks the assumption on Step") as caught:
        require_assumption(table, above(Fraction(0.05) + Fraction(1, 10**40)))
    assert caught.value.code == "D14"


finite = st.floats(0, 0.1, allow_subnormal=True)


@settings(max_examples=25, deadline=None)
@given(speeds=st.lists(finite, min_size=1, max_size=5))
def test_numbers_survive_every_format_to_the_last_bit(tmp_path_factory, speeds):
    folder = tmp_path_factory.mktemp("tables")
    one = RecordType("One", STEP.features[:1])
    rows = [{"speed": speed} for speed in speeds]
    digests = {read_table(written(folder, suffix, rows), one).table_digest for suffix in WRITERS}
    assert digests == {canonical_table_digest(one, np.array(speeds).reshape(-1, 1))}
