"""Whatever is wrong with an artifact has its own code, and is found before anything is computed."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import Abs, Add, AffineMap, Clip, Concat, Graph, Input, LeakyRelu, Patch, Relu, Scale
from rewarden.reward.store import LIMITS, MANIFEST, TENSORS, load_artifact, save_artifact, zip_bytes
from rewarden.spec_lang.canonical import canonical_json, digest_of
from rewarden.spec_lang.errors import ArtifactError
from rewarden.spec_lang.features import Feature, RecordType
from tests.reference.random_graphs import MIXED, random_artifact

POINT = RecordType(
    "Point", (Feature("x", "real", Fraction(-1), Fraction(1)), Feature("near", "bool", Fraction(0), Fraction(1)))
)
RECORDS = (RewardRecord("s", POINT),)


def f32(values: object) -> np.ndarray:
    return np.asarray(values, dtype=np.float32)


def made(*nodes, output=None, patches=(), records=RECORDS, **tensors) -> Artifact:
    graph = Graph((Input(), *nodes), len(nodes) if output is None else output)
    return Artifact(
        records, graph, {k: v if isinstance(v, np.ndarray) else f32(v) for k, v in tensors.items()}, "exact", patches
    )


def good() -> Artifact:
    patch = Patch("ceiling", "rows", "off", "level", "slope", "delta", "gate", "r")
    constants = {"rows": [[1, 2]], "off": [0], "level": [0], "slope": [1], "delta": [0], "gate": [1]}
    return made(AffineMap(0, "w", "b"), patches=(patch,), w=[[1, 2]], b=[0], **constants)


def refused(call, *args) -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        call(*args)
    assert caught.value.message
    return caught.value


# ── the value itself ───────────────────────────────────────────────────────────────────────────
def with_patch(**changes) -> Artifact:
    patch = good().patches[0]
    return replace(good(), tensors={**good().tensors, **{getattr(patch, k): f32(v) for k, v in changes.items()}})


W, B = [[1, 2]], [0]
BAD_VALUES: dict[str, tuple[str, Callable[[], Artifact]]] = {
    "forward reference": ("A14", lambda: made(Relu(2), AffineMap(0, "w", "b"), w=W, b=B)),
    "self reference": ("A14", lambda: made(Relu(1))),
    "negative index": ("A14", lambda: made(AffineMap(0, "w", "b"), Relu(-1), w=W, b=B)),
    "no input": ("A14", lambda: replace(good(), graph=Graph((Relu(0),), 0), patches=(), tensors={})),
    "second input": ("A14", lambda: made(AffineMap(0, "w", "b"), Input(), output=1, w=W, b=B)),
    "no nodes": ("A14", lambda: replace(good(), graph=Graph((), 0), patches=(), tensors={})),
    "output out of range": ("A14", lambda: made(AffineMap(0, "w", "b"), output=2, w=W, b=B)),
    "unknown patch": ("A14", lambda: replace(good(), patches=(replace(good().patches[0], kind="wall"),))),
    "wide output": ("A15", lambda: made(Relu(0))),
    "uneven sum": ("A15", lambda: made(AffineMap(0, "w", "b"), Add(0, 1), w=W, b=B)),
    "missing tensor": ("A16", lambda: made(AffineMap(0, "w", "b"), w=W)),
    "extra tensor": ("A16", lambda: made(AffineMap(0, "w", "b"), w=W, b=B, c=B)),
    "float64": ("A17", lambda: made(AffineMap(0, "w", "b"), w=np.array([[1.0, 2.0]]), b=B)),
    "wrong weight shape": ("A17", lambda: made(AffineMap(0, "w", "b"), w=[[1, 2, 3]], b=B)),
    "flat weight": ("A17", lambda: made(AffineMap(0, "w", "b"), w=[1, 2], b=B)),
    "wrong bias shape": ("A17", lambda: made(AffineMap(0, "w", "b"), w=W, b=[0, 0])),
    "wrong scale shape": ("A17", lambda: made(Scale(0, "w", "b"), AffineMap(1, "v", "c"), w=[1], b=[0, 0], v=W, c=B)),
    "wrong patch shape": ("A17", lambda: with_patch(rows=[[1, 2, 3]])),
    "wrong offsets": ("A17", lambda: with_patch(offsets=[0, 0])),
    "vector level": ("A17", lambda: with_patch(level=[0, 0])),
    "nan": ("A18", lambda: made(AffineMap(0, "w", "b"), w=[[1, np.nan]], b=B)),
    "infinite": ("A18", lambda: with_patch(gate=[np.inf])),
    "slope beyond 1": ("A19", lambda: made(AffineMap(0, "w", "b"), LeakyRelu(1, "s"), w=W, b=B, s=[1.5])),
    "empty clip": ("A19", lambda: made(AffineMap(0, "w", "b"), Clip(1, "lo", "hi"), w=W, b=B, lo=[1], hi=[0])),
    "negative patch slope": ("A19", lambda: with_patch(slope=[-1])),
    "negative delta": ("A19", lambda: with_patch(delta=[-0.5])),
    "doubling": ("A20", lambda: made(*(Concat((i, i)) for i in range(40)))),
    "too many nodes": ("A20", lambda: made(*(Abs(i) for i in range(5000)))),
    "no patch rows": ("A20", lambda: with_patch(rows=np.zeros((0, 2)), offsets=[])),
    "shared giant": ("A20", lambda: made(*[AffineMap(0, "w", "b")] * 4000, w=[[0, 0]] * 50000, b=[0] * 50000)),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_VALUES)
def test_a_bad_value_cannot_be_made(name):
    code, make = BAD_VALUES[name]
    assert refused(make).code == code


def feature(**changes) -> Feature:
    return replace(Feature("x", "real", Fraction(-1), Fraction(1), "m"), **changes)


BAD_FEATURES: dict[str, tuple[Feature, ...]] = {
    "empty range": (feature(lo=Fraction(2)),),
    "beyond binary32": (feature(hi=Fraction(10) ** 39),),
    "absurd digits": (feature(hi=Fraction(10**800 + 1, 10**800)),),
    "bool range": (feature(kind="bool"),),
    "int range": (feature(kind="int", lo=Fraction(1, 2)),),
    "unknown kind": (feature(kind="text"),),
    "no size": (feature(size=0),),
    "enum without cases": (feature(kind="enum", lo=Fraction(0)),),
    "real with cases": (feature(cases=("a",)),),
    "twice a case": (feature(kind="enum", lo=Fraction(0), cases=("a", "a")),),
    "case is no name": (feature(kind="enum", lo=Fraction(0), cases=("a b",)),),
    "twice a name": (feature(), feature()),
    "no name": (feature(name="a.b"),),
    "unit over two lines": (feature(unit="m\n"),),
    "none": (),
}


@pytest.mark.parametrize("name", BAD_FEATURES)
def test_a_bad_schema_cannot_be_made(name):
    records = (RewardRecord("s", RecordType("T", BAD_FEATURES[name])),)
    assert refused(lambda: made(Relu(0), records=records)).code == "A13"


def test_records_have_names_and_an_end():
    for records in ((), (RewardRecord("", POINT),), RECORDS * 2, (RewardRecord("s", replace(POINT, name="2")),)):
        assert refused(lambda records=records: made(Relu(0), records=records)).code == "A13"
    wide = (RewardRecord("s", RecordType("T", (feature(size=60000), feature(name="y", size=60000)))),)
    assert refused(lambda: made(Relu(0), records=wide)).code == "A20"


# ── the folder ─────────────────────────────────────────────────────────────────────────────────
def written(folder: Path, change: Callable[[dict], None] | None = None, tensors: bytes | None = None) -> Path:
    """A folder with a changed manifest; the tensors' digest is made right again unless `change` sets it."""
    artifact = good()
    manifest = json.loads(artifact.manifest_bytes)
    data = artifact.tensors_bytes if tensors is None else tensors
    manifest["tensors"] = digest_of(data)
    if change is not None:
        change(manifest)
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).write_bytes(canonical_json(manifest))
    (folder / TENSORS).write_bytes(data)
    return folder


def test_the_unchanged_one_is_sound(tmp_path):
    assert load_artifact(written(tmp_path / "r")).digest == good().digest


def put(*path, value):
    def change(manifest):
        at = manifest
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value

    return change


BAD_MANIFESTS: dict[str, tuple[str, Callable[[dict], object]]] = {
    "another format": ("A11", put("format", value="onnx")),
    "another version": ("A11", put("format_version", value=2)),
    "version true": ("A11", put("format_version", value=True)),
    "unknown key": ("A12", put("comment", value="hello")),
    "missing key": ("A12", lambda m: m.pop("parent")),
    "unknown feature key": ("A12", put("records", 0, "features", 0, "note", value="")),
    "rational not lowest": ("A12", put("records", 0, "features", 0, "hi", value="2/4")),
    "rational as int": ("A12", put("records", 0, "features", 0, "hi", value=1)),
    "division by zero": ("A12", put("records", 0, "features", 0, "hi", value="1/0")),
    "endless rational": ("A12", put("records", 0, "features", 0, "hi", value="9" * 100_000)),
    "size true": ("A12", put("records", 0, "features", 0, "size", value=True)),
    "kind": ("A12", put("records", 0, "features", 0, "kind", value="text")),
    "identified": ("A12", put("identified", value="mostly")),
    "identified list": ("A12", put("identified", value=["exact"])),
    "parent": ("A12", put("parent", value="sha256:abc")),
    "parent upper": ("A12", put("parent", value="sha256:" + "A" * 64)),
    "learner": ("A12", put("learner", value="adam")),
    "edit": ("A12", put("edit", value={"kind": "patch"})),
    "statement": ("A12", put("edit", value={"kind": "patch", "rule": "r", "statement": {"a": 1}})),
    "data rows": ("A12", put("data", value=[{"name": "d", "bytes": "", "table": "", "rows": 1}])),
    "patches object": ("A12", put("patches", value={})),
    "patch key": ("A12", put("patches", 0, "center", value="c")),
    "records text": ("A12", put("records", value="Point")),
    "tensors digest": ("A12", put("tensors", value="md5:0")),
    "schema": ("A13", put("records", 0, "features", 0, "lo", value="7")),
    "graph": ("A14", put("graph", value=[])),
    "graph key": ("A14", put("graph", "name", value="g")),
    "node": ("A14", put("graph", "nodes", 1, value="relu")),
    "op": ("A14", put("graph", "nodes", 1, value={"op": "sin", "in": 0})),
    "smooth op": ("A14", put("graph", "nodes", 1, value={"op": "tanh", "in": 0, "slope": "t"})),
    "product of one": ("A14", put("graph", "nodes", 1, value={"op": "product", "in": 0})),
    "op list": ("A14", put("graph", "nodes", 1, value={"op": []})),
    "op key": ("A14", put("graph", "nodes", 1, "alpha", value=1)),
    "op missing": ("A14", lambda m: m["graph"]["nodes"][1].pop("bias")),
    "node index text": ("A14", put("graph", "nodes", 1, "in", value="0")),
    "node index true": ("A14", put("graph", "nodes", 1, "in", value=True)),
    "tensor number": ("A14", put("graph", "nodes", 1, "weight", value=3)),
    "empty concat": ("A14", put("graph", "nodes", 1, value={"op": "concat", "parts": []})),
    "dangling": ("A14", put("graph", "nodes", 1, "in", value=7)),
    "output": ("A14", put("graph", "output", value=None)),
    "output wide": ("A15", put("graph", "output", value=0)),
    "renamed tensor": ("A16", put("graph", "nodes", 1, "weight", value="x")),
    "another digest": ("A09", put("tensors", value="sha256:" + "0" * 64)),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_MANIFESTS)
def test_a_bad_manifest_is_refused(tmp_path, name):
    code, change = BAD_MANIFESTS[name]
    assert refused(load_artifact, written(tmp_path / "r", change)).code == code


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda b: b + b"\n",
        lambda b: json.dumps(json.loads(b), indent=2).encode(),
        lambda b: b.replace(b'"identified":"exact"', b'"identified":"exact","identified":"exact"'),
        lambda b: b.replace(b'"format_version":1', b'"format_version":1.0'),
        lambda b: b.replace(b'"format_version":1', b'"format_version":NaN'),
        lambda b: b.replace(b'"Point"', b'"\xff"'),
        lambda b: b.replace(b'"Point"', b'"\\ud800"'),
        lambda b: b.replace(b'"parent":null', b'"parent":' + b"[" * 200_000 + b"]" * 200_000),
        lambda b: b.replace(b'"format_version":1', b'"format_version":' + b"1" * 5000),
        lambda b: b[:-10],
        lambda b: b"",
        lambda b: b"\xef\xbb\xbf" + b,
    ],
)
def test_a_manifest_that_is_not_canonical_is_refused(tmp_path, rewrite):
    folder = written(tmp_path / "r")
    (folder / MANIFEST).write_bytes(rewrite((folder / MANIFEST).read_bytes()))
    assert refused(load_artifact, folder).code == "A10"


def test_tensors_that_are_cut_changed_or_dressed_up_are_refused(tmp_path):
    data = good().tensors_bytes
    flipped = data[:-1] + bytes([data[-1] ^ 1])
    folder = written(tmp_path / "r")
    for bytes_now, code in ((data[:-3], "A08"), (b"", "A08"), (flipped, "A09"), (b"\xff" * 64, "A08")):
        (folder / TENSORS).write_bytes(bytes_now)
        assert refused(load_artifact, folder).code == code
    values = dict(good().tensors)
    assert refused(load_artifact, written(folder, tensors=save(values, metadata={"pt": "1"}))).code == "A08"
    assert (
        refused(load_artifact, written(folder, tensors=save({k: v.astype(float) for k, v in values.items()}))).code
        == "A17"
    )
    assert refused(load_artifact, written(folder, tensors=save({**values, "w": f32([[1, np.inf]])}))).code == "A18"
    assert refused(load_artifact, written(folder, tensors=save({**values, "stray": f32([1])}))).code == "A16"


def test_missing_things_are_named(tmp_path):
    assert refused(load_artifact, tmp_path / "nowhere").code == "A01"
    assert refused(load_artifact, tmp_path).code == "A02"
    folder = written(tmp_path / "r")
    (folder / TENSORS).unlink()
    assert refused(load_artifact, folder).code == "A02"
    (tmp_path / "readme.txt").write_text("hello")
    assert refused(load_artifact, tmp_path / "readme.txt").code == "A02"


def test_links_pipes_and_giants_are_not_read(tmp_path, monkeypatch):
    folder = written(tmp_path / "r")
    (folder / TENSORS).rename(tmp_path / "elsewhere")
    (folder / TENSORS).symlink_to(tmp_path / "elsewhere")
    assert refused(load_artifact, folder).code == "A06"
    (folder / TENSORS).unlink()
    os.mkfifo(folder / TENSORS)
    assert refused(load_artifact, folder).code == "A06"
    monkeypatch.setitem(LIMITS, MANIFEST, 10)
    assert refused(load_artifact, folder).code == "A07"


def torch_like_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model/data.pkl", b"\x80\x02}q\x00.")
        archive.writestr("model/version", b"3\n")
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.pkl", "model.rwz", "model"])
@pytest.mark.parametrize("data", [b"\x80\x04\x95\x10\x00\x00\x00", b"\x80\x02\x8a\nl\xfc\x9cF", torch_like_zip()])
def test_a_pickled_model_is_refused_with_a_way_out(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    error = refused(load_artifact, tmp_path / name)
    assert error.code == "A03"
    assert "from_torch" in error.help
    if name.endswith((".pt", ".pth", ".pkl")):
        assert refused(load_artifact, tmp_path).code == "A03"  # a folder with nothing but one


def test_a_network_is_to_be_imported(tmp_path):
    for name, start in (
        ("net.onnx", b"\x08\x07\x12\x07pytorch"),
        ("net.pt2", b"PK\x03\x04"),
        ("net.safetensors", b"{}"),
    ):
        (tmp_path / name).write_bytes(start)
        error = refused(load_artifact, tmp_path / name)
        assert error.code == "A04"
        assert f"rewarden import {name}" in error.help


# ── the zip ────────────────────────────────────────────────────────────────────────────────────
def zipped(path: Path, entries: list[tuple[str | zipfile.ZipInfo, bytes]], compression=zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_of_anything_else_is_refused(tmp_path):
    manifest, tensors = (MANIFEST, good().manifest_bytes), (TENSORS, good().tensors_bytes)
    path = tmp_path / "r.rwz"
    assert load_artifact(zipped(path, [tensors, manifest])).digest == good().digest
    bad: list[list[tuple[str | zipfile.ZipInfo, bytes]]] = [
        [],
        [manifest],
        [manifest, tensors, ("../../evil", b"")],
        [manifest, tensors, ("/etc/evil", b"")],
        [("../" + MANIFEST, manifest[1]), tensors],
        [("r/" + MANIFEST, manifest[1]), ("r/" + TENSORS, tensors[1])],
        [manifest, manifest, tensors],
    ]
    for entries in bad:
        assert refused(load_artifact, zipped(path, entries)).code == "A05"
    bomb = zipped(path, [manifest, (TENSORS, bytes(50_000_000))], zipfile.ZIP_DEFLATED)
    assert refused(load_artifact, bomb).code == "A05"
    link = zipfile.ZipInfo(TENSORS)
    link.external_attr = 0o120777 << 16
    assert refused(load_artifact, zipped(path, [manifest, (link, b"/etc/passwd")])).code == "A06"


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_zip_is_refused_or_the_same(tmp_path_factory, data):
    """Cut it, or flip any byte: an ArtifactError, or (in bytes that mean nothing) the very same artifact."""
    whole = zip_bytes(good())
    position = data.draw(st.integers(0, len(whole) - 1))
    cut = data.draw(st.booleans())
    flip = bytes([whole[position] ^ data.draw(st.integers(1, 255))])
    path = tmp_path_factory.mktemp("zip") / "r.rwz"
    path.write_bytes(whole[:position] if cut else whole[:position] + flip + whole[position + 1 :])
    try:
        loaded = load_artifact(path)
    except ArtifactError:
        return
    assert loaded.digest == good().digest


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_folder_is_refused(tmp_path_factory, data):
    """Flip any byte of either file. A manifest that is still sound has another name: no tampering keeps the digest."""
    artifact = random_artifact(np.random.default_rng(0), MIXED, patches=1)
    folder = save_artifact(artifact, tmp_path_factory.mktemp("damaged") / "r")
    file = folder / data.draw(st.sampled_from([MANIFEST, TENSORS]))
    whole = file.read_bytes()
    position = data.draw(st.integers(0, len(whole) - 1))
    flip = bytes([whole[position] ^ data.draw(st.integers(1, 255))])
    file.write_bytes(whole[:position] + flip + whole[position + 1 :])
    try:
        loaded = load_artifact(folder)
    except ArtifactError:
        return
    assert file.name == MANIFEST
    assert loaded.digest == digest_of(file.read_bytes()) != artifact.digest
