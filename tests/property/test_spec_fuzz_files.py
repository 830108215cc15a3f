"""Files that lie: data whose columns are not what they should be, `use` of what is no spec. Always a RewardenError."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewarden.spec_lang import SpecError, load_spec, parse_spec
from rewarden.spec_lang.codes import EXPLANATIONS
from rewarden.spec_lang.errors import RewardenError

SPEC = """spec s v1
features T { x: real [m] in 0 .. 9 n: int in 0 .. 3 b: bool z: enum {p, q} v: real ^ 2 in -1 .. 1 }
assume s: T = s.b implies s.x <= 5 [m]
data d: T from "d.SUFFIX"
data e: (one: T, two: T) from "d.SUFFIX"
"""
ONE = {"x": [1.0, 2.5], "n": [1, 2], "b": [False, True], "z": ["p", "q"], "v": [[0.0, 1.0], [0.5, -0.5]]}
GOOD: dict[str, Any] = {**ONE, **{f"{m}.{k}": v for m in ("one", "two") for k, v in ONE.items()}}
SUFFIXES = ("parquet", "npz", "jsonl", "csv")


# ── files ──────────────────────────────────────────────────────────────────────────────────────
def parquet(columns: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def npz(columns: dict[str, Any]) -> bytes:
    return archive({name: v if isinstance(v, bytes) else member(np.array(v)) for name, v in columns.items()})


def member(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def archive(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for name, raw in members.items():
            zipped.writestr(f"{name}.npy", raw)
    return file.getvalue()


def jsonl(columns: dict[str, Any]) -> bytes:
    return "".join(json.dumps({k: v[i] for k, v in columns.items()}) + "\n" for i in range(2)).encode()


def csv(columns: dict[str, Any]) -> bytes:
    flat: dict[str, list] = {}
    for name, values in columns.items():
        vector = isinstance(values[0], list)
        flat |= {f"{name}[{k}]": [v[k] for v in values] for k in range(2)} if vector else {name: values}
    return "\n".join([",".join(flat), *(",".join(str(v[i]) for v in flat.values()) for i in range(2))]).encode()


WRITERS: dict[str, Callable[[dict[str, Any]], bytes]] = {"parquet": parquet, "npz": npz, "jsonl": jsonl, "csv": csv}


def answer(raw: bytes, suffix: str, folder: Path, name: str = "d") -> str:
    """ "ok", or the code of the refusal: nothing else happens."""
    (folder / f"d.{suffix}").write_bytes(raw)
    spec = parse_spec(SPEC.replace("SUFFIX", suffix), base=folder)
    try:
        spec.rows(name)
    except RewardenError as error:
        refused = error
    else:
        return "ok"
    assert refused.code in EXPLANATIONS
    assert refused.render()
    return refused.code


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_honest_file(suffix: str, tmp_path: Path) -> None:
    assert [answer(WRITERS[suffix](GOOD), suffix, tmp_path, name) for name in "de"] == ["ok", "ok"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("missing", list(ONE))
def test_a_column_is_missing(suffix: str, missing: str, tmp_path: Path) -> None:
    columns = {k: v for k, v in GOOD.items() if k != f"two.{missing}"}
    raw = WRITERS[suffix](columns)
    assert [answer(raw, suffix, tmp_path, name) for name in "de"] == ["ok", "D03"]


# ── columns of other types ─────────────────────────────────────────────────────────────────────
NOW = datetime(2026, 1, 2, 3, 4, 5, 678)
TYPES: dict[str, Any] = {
    "nothing": [None, None],
    "one nothing": [1.0, None],
    "not a number": [float("nan"), 1.0],
    "infinite": [float("inf"), 1.0],
    "text": ["a", "b"],
    "digits": ["1", "2"],
    "truths": [True, False],
    "huge": [10**18, 2],
    "negative": [-5.0, 2.0],
    "uneven lists": [[1.0], [2.0, 3.0]],
    "nested lists": [[[1.0]], [[2.0]]],
    "empty lists": [[], []],
    "lists with nothing": [[None, 1.0], [1.0, None]],
    "lists of text": [["a", "b"], ["c", "d"]],
    "lists of truths": [[True, False], [True, True]],
    "dates": [NOW, NOW],
    "times": [time(1, 2), time(3, 4)],
    "durations": [timedelta(1), timedelta(2)],
    "bytes": [b"a", b"b"],
    "objects": [{"a": 1}, {"a": 2}],
    "decimals": [Decimal("1.5"), Decimal("2")],
    "nanoseconds": pa.array([1, 2], pa.timestamp("ns", "UTC")),
    "maps": pa.array([[("a", 1)], [("b", 2)]], pa.map_(pa.string(), pa.int64())),
    "wide decimals": pa.array([Decimal("1e40"), Decimal(1)], pa.decimal256(60)),
    "dictionary": pa.array(["p", "r"]).dictionary_encode(),
    "fixed lists": pa.array([[0.0, 1.0], None], pa.list_(pa.float64(), 2)),
    "whole": np.array([2**64 - 1, 1], np.uint64),
    "complex": np.array([1j, 2]),
    "half": np.array([1, 7], np.float16),
    "instants": np.array([1, 2], "M8[ns]"),
    "spans": np.array([1, 2], "m8[ns]"),
    "fields": np.array([(1, 2), (3, 4)], [("a", "f8"), ("b", "f8")]),
    "pickled": np.array([{1}, {2}], object),
    "short": [1.0],
    "none at all": [],
}  # fmt: skip
STRANGERS = ("dates", "times", "durations", "nanoseconds", "instants", "spans", "objects", "maps")  # never numbers


def written(suffix: str, columns: dict[str, Any]) -> bytes | None:
    """None where the format itself cannot say such a thing."""
    with suppress(pa.ArrowException, TypeError, ValueError, IndexError, KeyError, AttributeError):
        return WRITERS[suffix](columns)
    return None


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", list(TYPES))
def test_a_column_of_another_type(kind: str, suffix: str, tmp_path: Path) -> None:
    """In the place of each column in turn. Most are refused; the rest are values of the feature after all."""
    for name in ONE:
        raw = written(suffix, {**ONE, name: TYPES[kind]})
        if raw is None:
            continue
        found = answer(raw, suffix, tmp_path)
        if kind in STRANGERS:
            assert found in ("D02", "D03", "D04", "D07", "D09", "D10", "D13"), (name, found)


JSON_VALUES = (
    "null", "NaN", "-Infinity", "1e999", "1" + "0" * 400, "1" + "0" * 5000, '"1"', '"1_0"', "true", "[]", "{}", "[1]",
    "[1,2,3]", '["a","b"]', "[[1],[2]]", '"\\ud800"', "-0", "1e-400", '{"a":{"b":1}}', "[null,1]", '"٣"', '" 1 "',
    '"0x10"', '"nan"', '" p"', "1" * 300,
)  # fmt: skip


@pytest.mark.parametrize("value", JSON_VALUES, ids=lambda v: v[:12])
@pytest.mark.parametrize("name", list(ONE))
def test_a_value_of_another_type(name: str, value: str, tmp_path: Path) -> None:
    row = ",".join(f'"{k}":{value if k == name else json.dumps(v[0])}' for k, v in ONE.items())
    answer(f"{{{row}}}\n".encode(), "jsonl", tmp_path)
    head, first, _ = csv(ONE).decode().split("\n")
    cells = [
        value.strip('"').replace(",", ";") if column.startswith(name) else cell
        for column, cell in zip(head.split(","), first.split(","), strict=True)
    ]
    answer(f"{head}\n{','.join(cells)}\n".encode(), "csv", tmp_path)


# ── files that are no tables ───────────────────────────────────────────────────────────────────
def header(text: str, data: bytes = b"") -> bytes:
    """An .npy file with that header."""
    raw = text.encode()
    raw += b" " * (63 - (10 + len(raw)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw + data


def shaped(kind: str, shape: str, data: bytes = b"\0" * 16) -> bytes:
    return header(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}", data)


ARRAYS = {
    "8 terabytes": shaped("<f8", "(1000000000000,)"),
    "80 gigabytes": shaped("<f8", "(10000000000,)"),
    "long text": shaped("<U500000000", "(2,)"),
    "no text": shaped("<U0", "(10000000000,)"),
    "no bytes": shaped("|V0", "(1000000000,)"),
    "wide and empty": shaped("<f8", "(0, 1000000000000)"),
    "negative": shaped("<f8", "(-1,)"),
    "no letters": shaped("<U1", "(2,)", b"\xff" * 8),
    "one number": shaped("<f8", "()"),
    "pickle": shaped("|O", "(2,)", b"\x80\x03]."),
    "pickle inside": header("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (2,), }", b"\0" * 32),
    "code": header("{'descr': __import__('os').abort()}"),
    "brackets": header("(" * 3000),
    "no header": b"\x93NUMPY\x01\x00",
    "long header": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31 - 1) + b"x",
    "cut": member(np.array([1.0, 2.0]))[:-3],
    "no array": b"hello",
}


@pytest.mark.parametrize("name", list(ONE))
@pytest.mark.parametrize("kind", list(ARRAYS))
def test_forged_arrays(kind: str, name: str, tmp_path: Path) -> None:
    assert answer(npz({**ONE, name: ARRAYS[kind]}), "npz", tmp_path) in ("D02", "D04", "D10", "D11", "D13")


NONSENSE = {
    "parquet": (b"", b"PAR1", b"PAR1PAR1", b"PAR1" + b"\xff" * 100 + b"PAR1"),
    "npz": (b"", b"PK", b"PK\x05\x06" + b"\0" * 18, npz({}), npz(ONE)[:-30], npz(ONE)[:50]),
    "jsonl": (
        b"", b"\n\n", b"[]\n", b"1\n", b'{"x":1', b"{}\n", b'{"x":1,"x":2}\n',
        b'{"a":' * 9999, b"[" * 99999, b"\xff", b"\0\n",
    ),
    "csv": (
        b"", b"x\n", b"x,x\n1,2\n", b'"', b'x\n"1\n', b"x,n\n1\n", b"\0\n\0", b"\xff", b"x\r1\r",
        b"x\n" + b"9" * 200_000,
    ),
}  # fmt: skip


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_are_no_tables(suffix: str, tmp_path: Path) -> None:
    for raw in NONSENSE[suffix]:
        assert answer(raw, suffix, tmp_path) in ("D02", "D03", "D08", "D12", "D13"), raw[:40]
    assert answer(csv(GOOD), "xlsx", tmp_path) == "D02"
    (tmp_path / f"d.{suffix}").unlink()
    with pytest.raises(RewardenError) as refused:
        parse_spec(SPEC.replace("SUFFIX", suffix), base=tmp_path).rows("d")
    assert refused.value.code == "D01"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_files(suffix: str, tmp_path: Path) -> None:
    honest = WRITERS[suffix](ONE)

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**40))
    def check(seed: int) -> None:
        rng = Random(seed)
        for _ in range(6):
            raw = bytearray(honest)
            for _ in range(rng.randint(1, 4)):
                at = rng.randrange(len(raw) + 1)
                match rng.randrange(4):
                    case 0:
                        del raw[at : at + rng.randrange(10)]
                    case 1:
                        raw[at:at] = rng.randbytes(rng.randrange(4))
                    case _:
                        raw[at : at + 1] = bytes([rng.choice((0, 255, rng.randrange(256)))])
            answer(bytes(raw), suffix, tmp_path)

    check()


# ── use ────────────────────────────────────────────────────────────────────────────────────────
VOCABULARY = "spec v v1\nparam eps: real = 1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of specs, some of which are none, and another folder beside it."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "v.rwd").write_text(VOCABULARY)
    texts = {
        "good": VOCABULARY,
        "empty": "",
        "broken": "spec b v1\nmust\n",
        "clash": "spec b v1\nparam p: real [m] = 1 [s]\n",
    }
    texts |= {"self": 'spec a v1\nuse "self.rwd" as s\n', "one": 'spec a v1\nuse "two.rwd" as b\n'}
    texts |= {"two": 'spec b v1\nuse "three.rwd" as c\n', "three": 'spec c v1\nuse "one.rwd" as a\n'}
    for i in range(70):
        texts[f"long{i}"] = f'spec n v1\nuse "long{i + 1}.rwd" as n\nparam p: real = 1\n'
    for name, text in texts.items():
        (inside / f"{name}.rwd").write_text(text)
    (inside / "binary.rwd").write_bytes(Random(1).randbytes(5000))
    (inside / "huge.rwd").write_bytes(b"# " + b"x" * (1 << 20))
    (inside / "folder.rwd").mkdir()
    (inside / "out.rwd").symlink_to(outside / "v.rwd")
    (inside / "in.rwd").symlink_to(inside / "good.rwd")
    (inside / "loop.rwd").symlink_to(inside / "loop.rwd")
    (inside / "zero.rwd").symlink_to("/dev/zero")
    (inside / "beside").symlink_to(outside)
    os.mkfifo(inside / "pipe.rwd")
    return inside


USES = [
    ("good.rwd", ""),
    ("in.rwd", ""),
    ("../inside/good.rwd", ""),
    ("missing.rwd", "L07"),
    ("empty.rwd", "P01 L07"),
    ("broken.rwd", "P01 L07"),
    ("clash.rwd", "U02"),
    ("binary.rwd", "P08 L07"),
    ("huge.rwd", "P05 L07"),
    ("folder.rwd", "L07"),
    ("loop.rwd", "L07"),
    ("", "L07"),
    (".", "L07"),
    ("good.rwd/x", "L07"),
    ("a\\\\b", "L07"),
    ("nul\0.rwd", "L07"),
    ("a" * 5000, "L07"),
    ("a/" * 3000 + "b", "L07"),
    ("out.rwd", "L09"),
    ("zero.rwd", "L09"),
    ("beside/v.rwd", "L09"),
    ("../outside/v.rwd", "L09"),
    ("/etc/passwd", "L09"),
    ("/proc/self/mem", "L09"),
    ("self.rwd", "L08"),
    ("one.rwd", "L08"),
    ("main.rwd", "L08"),
    ("long0.rwd", "L10"),
]


@pytest.mark.parametrize("path, codes", USES, ids=lambda v: v[:16])
def test_use(path: str, codes: str, folder: Path) -> None:
    main = folder / "main.rwd"
    main.write_text(f'spec main v1\nuse "{path}" as v\n')
    if not codes:
        assert load_spec(main).params["v.eps"].value == 1
        return
    with pytest.raises(SpecError) as refused:
        load_spec(main)
    assert {d.code for d in refused.value.diagnostics} == set(codes.split())
    assert refused.value.render()


def test_use_of_a_pipe(folder: Path) -> None:
    """Nobody writes into it: whoever opens it waits. A thread of its own, so that a failure is one and not a hang."""
    main = folder / "main.rwd"
    main.write_text('spec main v1\nuse "pipe.rwd" as v\n')
    codes: list[str] = []

    def load() -> None:
        try:
            load_spec(main)
        except SpecError as error:
            codes.extend(d.code for d in error.diagnostics)

    thread = Thread(target=load, daemon=True)
    thread.start()
    thread.join(60)
    waiting = thread.is_alive()
    if waiting:
        os.close(os.open(folder / "pipe.rwd", os.O_WRONLY))
        thread.join()
    assert (waiting, codes) == (False, ["L07"])


def test_use_from_an_allowed_folder(folder: Path) -> None:
    main = folder / "main.rwd"
    main.write_text('spec main v1\nuse "../outside/v.rwd" as v\nuse "out.rwd" as w\n')
    assert load_spec(main, allow=(folder.parent / "outside",)).params["v.eps"].value == 1


def test_data_outside_the_folder(folder: Path) -> None:
    """Refused as written, and refused where a link leads out."""
    (folder.parent / "outside" / "d.csv").write_bytes(csv(ONE))
    text = SPEC.replace("d.SUFFIX", "../outside/d.csv")
    with pytest.raises(SpecError) as refused:
        parse_spec(text, base=folder)
    assert {d.code for d in refused.value.diagnostics} == {"L06"}
    with pytest.raises(RewardenError) as stopped:
        parse_spec(SPEC.replace("d.SUFFIX", "beside/d.csv"), base=folder).rows("d")
    assert stopped.value.code == "G23"
    assert (
        len(parse_spec(SPEC.replace("d.SUFFIX", "beside/d.csv"), base=folder, allow=(folder.parent,)).rows("d").values)
        == 2
    )
