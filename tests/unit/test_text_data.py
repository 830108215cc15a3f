"""Texts as data: HH-RLHF's pairs, TRL's columns, messages; learned from, with the encoder named in the artifact."""

from __future__ import annotations

import gzip
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rewarden.learning import learn_from
from rewarden.reward.text.dialogues import Dialogue, answers, read_pairs, read_texts
from rewarden.reward.text.embedding import embedded, views_of
from rewarden.reward.text.encoder import load_encoder
from rewarden.reward.text.perturb import Perturbations, doubled, read_paraphrases
from rewarden.spec_lang.errors import DataError, UsageError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.tables import open_source
from tests.reference.tiny_encoder import make_encoder

EMB = RecordType("Emb", (Feature("e", "real", Fraction(-1), Fraction(1), None, (), 4),))
LONG = RecordType("Long", (*EMB.features, Feature("n", "int", Fraction(0), Fraction(100))))
USER = {"role": "user", "content": "can you help?"}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def lines(folder: Path, *rows: dict[str, Any]) -> Path:
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "t.jsonl"


PAIRS: dict[str, dict[str, Any]] = {
    "HH": {
        "chosen": "\n\nHuman: can you help?\n\nAssistant: What is it?\n\nHuman: this\n\nAssistant: yes",
        "rejected": "\n\nHuman: can you help?\n\nAssistant: What is it?\n\nHuman: this\n\nAssistant: no",
    },
    "explicit": {"prompt": "can you help?", "chosen": "yes", "rejected": "no"},
    "implicit": {"chosen": "can you help? yes", "rejected": "can you help? no"},
    "messages": {"prompt": [USER], "chosen": [said("yes")], "rejected": [said("no")]},
    "implicit messages": {"chosen": [USER, said("yes")], "rejected": [USER, said("no")]},
}


@pytest.mark.parametrize("form", PAIRS)
@pytest.mark.parametrize("kind", ["jsonl", "gz", "parquet"])
def test_every_form_of_a_pair_gives_the_two_answers(tmp_path: Path, form: str, kind: str) -> None:
    path = lines(tmp_path, PAIRS[form], PAIRS[form])
    if kind == "gz":
        path = tmp_path / "t.jsonl.gz"
        path.write_bytes(gzip.compress((tmp_path / "t.jsonl").read_bytes()))
    if kind == "parquet":
        path = tmp_path / "t.parquet"
        pq.write_table(pa.Table.from_pylist([PAIRS[form]] * 2), path)
    better, worse = read_pairs(open_source(path))
    assert [(b.reply, w.reply) for b, w in zip(better, worse, strict=True)] == [("yes", "no")] * 2
    assert "can you help?" in better[0].prompt
    assert better[0].prompt == worse[0].prompt


def test_texts_alone() -> None:
    assert Dialogue("a", "b").whole == "ab"
    assert answers([[USER], "q: "], [[said(" yes ")], ""]) == [
        Dialogue("\n\nuser: can you help?", "yes"),
        Dialogue("q: ", ""),
    ]
    with pytest.raises(DataError, match="completion 2"):
        answers(None, ["yes", 3])
    with pytest.raises(DataError, match="D13"):
        answers(["p"], ["yes", "no"])


@pytest.mark.parametrize(
    "row, words",
    [
        ({"chosen": None, "rejected": "no"}, "chosen is missing"),
        ({"chosen": "yes"}, "rejected is missing"),
        ({"chosen": 3, "rejected": "no"}, "chosen is '3', neither text nor messages"),
        ({"chosen": "", "rejected": "no"}, "chosen is empty"),
        ({"chosen": "a \ud800", "rejected": "no"}, "chosen holds half a character"),
        ({"chosen": [], "rejected": [said("no")]}, "chosen is empty"),
        ({"chosen": [{"role": "user"}], "rejected": "no"}, "message 1 of chosen lacks"),
        ({"chosen": [{"content": 3, "role": "user"}], "rejected": "no"}, "message 1 of chosen lacks"),
        ({"chosen": ["yes"], "rejected": "no"}, "message 1 of chosen lacks"),
    ],
)
def test_a_row_without_its_text_is_told_with_its_number(tmp_path: Path, row: dict[str, Any], words: str) -> None:
    good = {"chosen": "yes", "rejected": "no"}
    with pytest.raises(DataError) as caught:
        read_pairs(open_source(lines(tmp_path, good, row, good, row)))
    assert [error.code for error in caught.value.each()] == ["D31", "D31"]
    assert [f"row {number} of t.jsonl: {words}" in error.message for number, error in
            zip((2, 4), caught.value.each(), strict=True)] == [True, True]  # fmt: skip


def test_an_empty_answer_to_a_prompt_is_an_answer(tmp_path: Path) -> None:
    row = {
        "chosen": "\n\nHuman: where is she?\n\nAssistant: ",
        "rejected": "\n\nHuman: where is she?\n\nAssistant: here",
    }
    better, _ = read_pairs(open_source(lines(tmp_path, row)))
    assert better[0].reply == ""


@pytest.mark.parametrize("name", ["text", "completion", "messages"])
def test_single_texts(tmp_path: Path, name: str) -> None:
    value: Any = [USER, said("yes")] if name == "messages" else "yes"
    assert read_texts(open_source(lines(tmp_path, {name: value})))[0].reply == "yes"
    with pytest.raises(DataError, match="D03"):
        read_texts(open_source(lines(tmp_path, {"words": "yes"})))
    with pytest.raises(DataError, match=r"did you mean choosen\?"):
        read_texts(open_source(lines(tmp_path, {"choosen": "yes", "rejected": "no"})))
    with pytest.raises(DataError, match="has no rows"):
        read_texts(open_source(lines(tmp_path)))
    (tmp_path / "e.csv").write_text(f"{name}\n")
    with pytest.raises(DataError, match="D08"):
        read_texts(open_source(tmp_path / "e.csv"))


# ── as features ────────────────────────────────────────────────────────────────────────────────
def test_pairs_become_features(tmp_path: Path) -> None:
    encoder = load_encoder(make_encoder(tmp_path / "enc"))
    source = open_source(lines(tmp_path, PAIRS["HH"], {"chosen": "thank you", "rejected": "no no no"}))
    file = embedded(source, LONG, {"e": "reply", "n": "reply.words"}, encoder).file
    assert np.array_equal(file.read("better.e"), encoder.encode(["yes", "thank you"]))
    assert file.read("worse.n").tolist() == [1, 3]
    assert file.read("better.text").tolist() == ["yes", "thank you"]
    assert (file.read("pair").tolist(), file.read("step").tolist()) == ([1, 2], [1, 1])


@pytest.mark.parametrize(
    "kind, features, words",
    [
        (LONG, {"e": "answer"}, "no part of a text"),
        (LONG, {"e": "reply.words"}, "is a vector"),
        (LONG, {"n": "reply"}, "is one number"),
        (LONG, {"f": "reply"}, "no feature"),
        (
            RecordType("Two", (EMB.features[0], Feature("f", "real", Fraction(-1), Fraction(1), None, (), 4))),
            {},
            "2 vec",
        ),
    ],
)
def test_views_that_make_no_sense_are_refused(kind: RecordType, features: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        views_of(kind, features)


def test_an_encoder_of_another_width_is_told(tmp_path: Path) -> None:
    wide = RecordType("Emb", (Feature("e", "real", Fraction(-1), Fraction(1), None, (), 7),))
    with pytest.raises(DataError, match=r"declare e : real \^ 4"):
        embedded(open_source(lines(tmp_path, PAIRS["HH"])), wide, {"e": "reply"}, load_encoder(make_encoder(tmp_path)))


CONFIG = """
[data]
preferences = "pairs.jsonl.gz"
[text]
encoder = "enc"
[features]
spec = "s.rwd"
[learner]
name = "preferences"
[learner.options]
hidden = 4
layers = 1
epochs = 30
learning_rate = 0.05
weight_decay = 0.0
smoothness = 0.0
prune = 0.0
"""
SPEC = "spec s v1\nfeatures Emb { e : real ^ 4 in -1 .. 1 }\nreward R(s: Emb)\n"


def config(folder: Path, text: str = CONFIG) -> Path:
    make_encoder(folder / "enc")
    (folder / "s.rwd").write_text(SPEC)
    (folder / "learn.toml").write_text(text)
    rng = np.random.default_rng(0)
    words = ["no", "bad", "sorry", "yes", "good", "great"]
    rows = [
        {"chosen": " ".join(rng.choice(words[3:], 4)), "rejected": " ".join(rng.choice(words[:3], 4))}
        for _ in range(60)
    ]
    (folder / "pairs.jsonl.gz").write_bytes(
        gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode(), mtime=0)
    )
    return folder / "learn.toml"


def test_a_reward_is_learned_from_texts_and_names_its_encoder(tmp_path: Path) -> None:
    learned = learn_from(config(tmp_path))
    assert learned.learner is not None
    assert learned.learner.record["encoder"] == load_encoder(tmp_path / "enc").digest
    assert learned.learner.record["text"] == "e = reply"
    assert learn_from(config(tmp_path)).digest == learned.digest
    good, bad = learned.score({"e": load_encoder(tmp_path / "enc").encode(["yes good great", "no bad sorry"])})
    assert good > bad


@pytest.mark.parametrize(
    "change, code",
    [
        (("keep", 'encoder = "enc"\nkeep = "middle"'), "G12"),
        (("features", 'encoder = "enc"\nfeatures = ["e"]'), "G12"),
        (("odd", 'encoder = "enc"\nmodel = "x"'), "G11"),
        (("none", 'keep = "end"'), "G13"),
    ],
)
def test_a_text_section_that_makes_no_sense_is_refused(tmp_path: Path, change: tuple[str, str], code: str) -> None:
    with pytest.raises(UsageError) as caught:
        learn_from(config(tmp_path, CONFIG.replace('encoder = "enc"', change[1])))
    assert caught.value.code == code


# ── texts that say the same ────────────────────────────────────────────────────────────────────
def test_texts_are_changed_a_little(tmp_path: Path) -> None:
    assert doubled("No. I can not!") == [
        ("No. No. I can not!", "its first sentence said twice"),
        ("No. I can not! I can not!", "its last sentence said twice"),
    ]
    assert doubled("no") == [("no no", "its sentence said twice")]
    assert doubled("  ") == []
    path = tmp_path / "p.jsonl"
    path.write_text('{"text": "no", "paraphrases": ["not so", "no"]}\n')
    made = Perturbations(("Thanks!",), True, read_paraphrases(path)).of(["no", "yes"])
    assert [(one.row, one.text) for one in made] == [
        (0, "no Thanks!"),
        (0, "no no"),
        (0, "not so"),
        (1, "yes Thanks!"),
        (1, "yes yes"),
    ]
    path.write_text('{"text": "no", "paraphrases": "not so"}\n')
    with pytest.raises(DataError, match="row 1"):
        read_paraphrases(path)
    path.write_text('{"text": "no"}\n')
    with pytest.raises(DataError, match="D03"):
        read_paraphrases(path)
