"""Text formats that are packed read as they would unpacked, and bombs are refused."""

from __future__ import annotations

import gzip
from fractions import Fraction
from pathlib import Path

import pytest

from rewarden.spec_lang import table_files
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.tables import read_table

X = RecordType("X", (Feature("x", "real", Fraction(0), Fraction(1)),))


@pytest.mark.parametrize("name, text", [("a.jsonl", '{"x": 0.5}\n{"x": 1}\n'), ("a.csv", "x\n0.5\n1\n")])
def test_a_packed_file_is_the_file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with gzip.open(tmp_path / (name + ".gz"), "wt") as file:
        file.write(text)
    plain, packed = read_table(tmp_path / name, X), read_table(tmp_path / (name + ".gz"), X)
    assert plain.table_digest == packed.table_digest
    assert plain.bytes_digest != packed.bytes_digest


CUT = gzip.compress(b'{"x": 0.5}\n', mtime=0)[:-6]


@pytest.mark.parametrize("content", [b"", b"not gzip", CUT], ids=["empty", "text", "cut"])
def test_what_is_cut_off_or_no_gzip_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_table(tmp_path / "a.jsonl.gz", X).require_rows()
    assert caught.value.code in ("D02", "D03")


def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_files, "MAX_BYTES", 10_000)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"x": 0.5}\n' * 5_000))
    with pytest.raises(DataError) as caught:
        read_table(tmp_path / "a.jsonl.gz", X)
    assert caught.value.code == "D11"
