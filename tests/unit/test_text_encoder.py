"""Encoders: a vector is a function of its text, folders say how to pool, nothing is guessed or unpickled."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from rewarden.reward.text.cache import Cached
from rewarden.reward.text.encoder import load_encoder
from rewarden.reward.text.pooling import Pooling, pooling_of
from rewarden.spec_lang.errors import ArtifactError, UsageError
from tests.reference.tiny_encoder import WIDTH, make_encoder

TEXTS = ["no", "I can not help you with that.", "yes please", "Have a great day!", "I hope this helps you", "no"]


@pytest.mark.parametrize("uneven", [False, True])
def test_a_vector_depends_on_its_text_alone(tmp_path: Path, uneven: bool) -> None:
    encoder = load_encoder(make_encoder(tmp_path, batch_matters=uneven))
    together = encoder.encode(TEXTS)
    assert encoder.together is not uneven
    assert together.shape == (6, WIDTH)
    for text, vector in zip(TEXTS, together, strict=True):
        assert np.array_equal(encoder.encode([text])[0], vector)
    assert np.allclose((together.astype(np.float64) ** 2).sum(axis=1), 1.0)


def test_padding_of_the_tokenizer_is_not_kept(tmp_path: Path) -> None:
    """The tokenizer's own file pads to 64 tokens and cuts at 8."""
    encoder = load_encoder(make_encoder(tmp_path))
    table = {word: encoder.encode([word])[0] for word in ("no", "yes")}
    assert not np.allclose(table["no"], table["yes"])
    assert len(encoder._tokens("no")) == 1
    assert len(encoder._tokens("no yes " * 20)) == 40


@pytest.mark.parametrize("keep, word", [("start", "no"), ("end", "yes")])
def test_which_end_of_a_long_text_is_kept(tmp_path: Path, keep: str, word: str) -> None:
    encoder = load_encoder(make_encoder(tmp_path), keep)  # type: ignore[arg-type]
    long, short = encoder.encode(["no " * 70 + "yes " * 70, word])
    assert np.allclose(long, short)
    assert encoder.cut == 1


def test_a_model_that_pools_itself(tmp_path: Path) -> None:
    own = load_encoder(make_encoder(tmp_path / "a", pooled=True)).encode(TEXTS)
    ours = load_encoder(make_encoder(tmp_path / "b")).encode(TEXTS)
    assert np.allclose(own, ours, atol=1e-6)


def test_the_digest_names_what_makes_the_numbers(tmp_path: Path) -> None:
    one = load_encoder(make_encoder(tmp_path / "a"))
    same = load_encoder(make_encoder(tmp_path / "b"))
    other = load_encoder(make_encoder(tmp_path / "c", seed=1))
    (tmp_path / "d").mkdir()
    pooled = make_encoder(tmp_path / "d")
    (pooled / "encoder.json").write_text('{"pooling": "cls", "normalize": true, "max_tokens": 64}')
    (tmp_path / "a" / "README.md").write_text("of no consequence")
    assert one.digest == same.digest == load_encoder(tmp_path / "a").digest
    assert len({one.digest, other.digest, load_encoder(pooled).digest}) == 3
    assert one.identity != load_encoder(tmp_path / "a", "start").identity


class Counting:
    """An encoder that counts what it is asked."""

    def __init__(self, identity: str = "sha256:" + "0" * 64) -> None:
        self.asked: list[str] = []
        self.identity = identity
        self.digest, self.width = "sha256:" + "1" * 64, 2

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        return np.array([[len(text), 0.5] for text in texts], np.float32)

    def record(self) -> dict[str, str]:
        return {}


def test_what_was_encoded_before_is_not_encoded_again(tmp_path: Path) -> None:
    encoder = Counting()
    cached = Cached(encoder, tmp_path)
    first = cached.encode(["a", "bb", "a"])
    again = Cached(encoder, tmp_path).encode(["bb", "ccc", "a"])
    assert encoder.asked == ["a", "bb", "ccc"]
    assert first.tolist() == [[1, 0.5], [2, 0.5], [1, 0.5]]
    assert again.tolist() == [[2, 0.5], [3, 0.5], [1, 0.5]]
    assert (cached.made, cached.kept) == (2, 0)
    other = Counting("sha256:" + "2" * 64)
    Cached(other, tmp_path).encode(["a"])
    assert other.asked == ["a"]


def test_long_work_is_told_and_saved_on_the_way(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    cached = Cached(Counting(), tmp_path, lambda stage, done, total, note: told.append((done, total)))
    cached.encode([f"text {k}" for k in range(150)])
    assert told == [(64, 150), (128, 150), (150, 150)]


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    encoder = Counting()
    Cached(encoder, tmp_path).encode(["a", "bb"])
    (file,) = tmp_path.glob("*.sqlite")
    with sqlite3.connect(file) as store:
        store.execute("update vectors set vector = x'0000'")
    assert Cached(encoder, tmp_path).encode(["a"]).tolist() == [[1, 0.5]]
    file.write_bytes(b"no database")
    assert Cached(encoder, tmp_path).encode(["a"]).tolist() == [[1, 0.5]]
    assert encoder.asked == ["a", "bb", "a", "a"]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert Cached(Counting(), tmp_path / "file" / "below").encode(["a"]).tolist() == [[1, 0.5]]


# ── pooling ────────────────────────────────────────────────────────────────────────────────────
HIDDEN = np.array([[1.0, 5.0], [3.0, 1.0]], np.float32)


@pytest.mark.parametrize("mode, expected", [("mean", [2, 3]), ("cls", [1, 5]), ("last", [3, 1]), ("max", [3, 5])])
def test_pooling(mode: str, expected: list[float]) -> None:
    assert Pooling(mode, False, None, "", ())(HIDDEN).tolist() == expected  # type: ignore[arg-type]


def sentence_transformers(folder: Path, pooling: dict[str, object], extra: str | None = None) -> Path:
    """The files that say how, as that library saves them."""
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    if extra is not None:
        modules.append({"idx": 3, "name": "3", "path": "3", "type": f"sentence_transformers.models.{extra}"})
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 6, "do_lower_case": false}')
    return folder


def test_sentence_transformers_folders_say_it_in_their_way(tmp_path: Path) -> None:
    folder = sentence_transformers(
        tmp_path, {"word_embedding_dimension": 4, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    )
    found = pooling_of(folder)
    assert (found.mode, found.normalize, found.max_tokens) == ("cls", True, 6)
    make_encoder(folder)
    (folder / "encoder.json").unlink()
    encoder = load_encoder(folder)
    assert len(encoder._tokens("no " * 20)) == 6


@pytest.mark.parametrize(
    "pooling, extra",
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, None),
        ({"pooling_mode_weightedmean_tokens": True}, None),
        ({}, None),
        ({"pooling_mode_cls_token": True}, "Dense"),
    ],
)
def test_pooling_that_is_not_supported_is_refused(
    tmp_path: Path, pooling: dict[str, object], extra: str | None
) -> None:
    with pytest.raises(ArtifactError, match="A51"):
        pooling_of(sentence_transformers(tmp_path, pooling, extra))


@pytest.mark.parametrize(
    "said",
    [
        "{",
        "[]",
        '{"pooling": "best"}',
        '{"pooling": "mean", "normalise": true}',
        '{"pooling": "mean", "max_tokens": 0}',
    ],
)
def test_an_encoder_json_that_makes_no_sense_is_refused(tmp_path: Path, said: str) -> None:
    make_encoder(tmp_path)
    (tmp_path / "encoder.json").write_text(said)
    with pytest.raises(ArtifactError, match="A51"):
        load_encoder(tmp_path)


def test_a_folder_that_does_not_say_is_asked(tmp_path: Path) -> None:
    (make_encoder(tmp_path) / "encoder.json").unlink()
    with pytest.raises(ArtifactError, match="does not say how tokens become one vector"):
        load_encoder(tmp_path)


def test_a_pickled_model_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (make_encoder(tmp_path) / "model.onnx").unlink()
    with pytest.raises(ArtifactError, match="A50"):
        load_encoder(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(ArtifactError, match="safe_serialization"):
        load_encoder(tmp_path)


def test_what_is_no_encoder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="A50"):
        load_encoder(tmp_path)
    make_encoder(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"tokenizer.json cannot be read"):
        load_encoder(tmp_path)
    make_encoder(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"no network")
    with pytest.raises(ArtifactError, match="A5"):
        load_encoder(tmp_path)
    with pytest.raises(UsageError, match="G12"):
        load_encoder(tmp_path, "middle")  # type: ignore[arg-type]


def with_place(folder: Path, where: str, place: str) -> Path:
    """An encoder that keeps a tensor in another file: one of its weights, or a constant in a node or a branch."""
    model = onnx.load(make_encoder(folder) / "model.onnx")
    held = onnx.TensorProto(name="held", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    held.external_data.add(key="location", value=place)
    held.external_data.add(key="length", value="4")
    constant = onnx.helper.make_node("Constant", [], ["unread"], value=held)
    match where:
        case "weight":
            model.graph.initializer.append(held)
        case "node":
            model.graph.node.append(constant)
        case _:
            branch = onnx.helper.make_graph([constant], "b", [], [])
            model.graph.node.append(onnx.helper.make_node("If", ["c"], ["d"], then_branch=branch, else_branch=branch))
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder


@pytest.mark.parametrize("where", ["weight", "node", "branch"])
@pytest.mark.parametrize("place", ["/etc/passwd", "../secret.bin", "onnx/../../secret.bin", "missing.bin"])
def test_weights_that_lie_elsewhere_are_not_read(tmp_path: Path, where: str, place: str) -> None:
    (tmp_path / "secret.bin").write_bytes(b"\0" * 4)
    with pytest.raises(ArtifactError, match="which is not beside it") as caught:
        load_encoder(with_place(tmp_path / "enc", where, place))
    assert caught.value.code == "A50"


def test_an_adapter_leads_to_no_other_model(tmp_path: Path) -> None:
    (make_encoder(tmp_path) / "model.onnx").unlink()
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "/somewhere/else"}')
    with pytest.raises(ArtifactError, match="merge it into the model"):
        load_encoder(tmp_path)


def test_the_runtime_reports_to_nobody(tmp_path: Path) -> None:
    """onnxruntime keeps what it would send in the user's cache folder, from its import on, unless told not to."""
    folder, cache = make_encoder(tmp_path / "encoder"), tmp_path / "cache"
    code = "import sys; from rewarden.reward.text.encoder import load_encoder; load_encoder(sys.argv[1]).encode(['no'])"
    told = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    told |= {"XDG_CACHE_HOME": str(cache), "HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, env=told, cwd=Path(__file__).parents[2])
    written = [p for p in tmp_path.rglob("*") if p.is_file() and folder not in p.parents]
    assert not [p for p in written if "onnxruntime" in str(p) or "Microsoft" in str(p)]
