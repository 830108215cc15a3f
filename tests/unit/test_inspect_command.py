"""`rewarden inspect`: in words, as JSON and as a page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rewarden as rw
from rewarden.cli import run
from rewarden.judging.experts import experts
from rewarden.judging.neighbours import neighbourhood
from rewarden.judging.rows import read_data, records_of
from rewarden.learning import learn_from
from rewarden.reward.learners.autoencoders import Autoencoders
from rewarden.reward.learners.interface import Demonstrations, Run
from rewarden.reward.learners.options import AutoencoderOptions, PreferenceOptions
from rewarden.reward.learners.preferences import Preferences
from rewarden.reward.text.encoder import load_encoder
from tests.reference.small_data import RECORD, STEP, comparisons, demonstrations, rows, truth
from tests.reference.tiny_encoder import make_encoder

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schemas" / "inspect.schema.json"
SPEC = """spec small v1
features Step {
  speed  : real [m/s] in 0 .. 40
  offset : real [m]   in -2 .. 2
  lead   : bool
}
reward R(s: Step)
must slow:
  forall s: Step
  given s.speed >= 39 [m/s]
  expect R(s) <= -100
"""
CONFIG = """[data]
preferences = "pairs.parquet"
[features]
spec = "small.rwd"
[learner]
name = "preferences"
seed = 3
[learner.options]
hidden = 6
epochs = 6
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward learned from pairs of two steps, another one, and tables of every kind."""
    folder = tmp_path_factory.mktemp("inspect")
    segments = comparisons(160).segments
    columns: dict[str, object] = {
        "pair": np.repeat(np.arange(160), 2),
        "step": np.tile(np.arange(2), 160),
    }
    for k, side in enumerate(("better", "worse")):
        flat = segments[:, k].reshape(-1, 3)
        columns |= {f"{side}.{n}": flat[:, j] for j, n in enumerate(("speed", "offset"))}
        columns[f"{side}.lead"] = flat[:, 2].astype(bool)
        columns[f"{side}.text"] = ["word " * (2 - k) * 3] * 320
    pq.write_table(pa.table(columns), folder / "pairs.parquet")
    (folder / "small.rwd").write_text(SPEC, encoding="utf-8")
    (folder / "learn.toml").write_text(CONFIG, encoding="utf-8")
    rw.save_reward(learn_from(folder / "learn.toml"), folder / "reward")
    other = Preferences().fit(comparisons(160), PreferenceOptions(hidden=6, epochs=3), Run(8))
    rw.save_reward(other, folder / "other")
    mixture = Autoencoders().fit(demonstrations(), AutoencoderOptions(experts=2, hidden=4, code=1, epochs=8), Run(1))
    rw.save_reward(mixture, folder / "mixture")
    good = demonstrations().rows
    table = {"speed": good[:, 0], "offset": good[:, 1], "lead": good[:, 2].astype(bool)}
    times = {"episode": np.repeat(np.arange(10), 20), "step": np.tile(np.arange(20), 10)}
    pq.write_table(pa.table({**table, **times}), folder / "demos.parquet")
    judged = rows(120, 5)
    labels = {"speed": judged[:, 0], "offset": judged[:, 1], "lead": judged[:, 2].astype(bool), "label": truth(judged)}
    pq.write_table(pa.table(labels), folder / "labels.parquet")
    return folder


def inspected(project: Path, *arguments: str) -> dict[str, object]:
    out = project / "told.json"
    assert run(["inspect", *arguments, "--json", str(out), "-q"]) == 0
    told: dict[str, object] = json.loads(out.read_text(encoding="utf-8"))
    jsonschema.validate(told, json.loads(SCHEMA.read_text(encoding="utf-8")))
    return told


def test_pairs_in_words_and_json(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = inspected(
        project, str(project / "reward"), "--data", str(project / "pairs.parquet"), "--against", str(project / "other"),
        "--baseline", "text", "--noise", "0,1",
    )  # fmt: skip
    said = capsys.readouterr().out
    assert "24 of 160 are judged: those that the learner held out" in said
    assert "Clopper-Pearson" in said
    assert "ECE" in said
    assert "Brier" in said
    (test,) = told["tests"]  # type: ignore[misc]
    assert test["accuracy"]["count"] == 24
    assert test["baselines"][0]["rule"] == "“more text is better”"
    assert test["baselines"][0]["rule_accuracy"]["share"] == 1.0  # the better text is the longer one, always
    assert test["baselines"][0]["verdict"] != "beats"
    assert "WORSE" in said or "DOES NOT BEAT" in said
    assert sum(b["right"]["count"] for b in test["calibration"]["reliability"]) == 24
    assert [p["level"] for p in told["label_noise"]] == [0.0, 1.0]  # type: ignore[index, union-attr]
    assert set(told["distances"]) == {"EPIC", "DARD"}  # type: ignore[call-overload]
    assert told["identified"] == {"how": "shift", "meaning": "up to a constant: only differences of it mean something"}
    assert told["held_out"] is True


def test_every_kind_of_data_is_judged(project: Path) -> None:
    told = inspected(project, str(project / "mixture"), "--data", str(project / "demos.parquet"))
    assert len(told["tests"]) == 2  # type: ignore[arg-type]
    assert told["held_out"] is False or "are judged" in told["data"]["judged"]  # type: ignore[index]
    assert sum(e["rows"] for e in told["experts"]) == 200  # type: ignore[union-attr, index]
    told = inspected(project, str(project / "reward"), "--data", str(project / "labels.parquet"))
    (test,) = told["tests"]  # type: ignore[misc]
    assert 50 <= test["accuracy"]["count"] <= 60
    told = inspected(
        project, str(project / "reward"), "--against", str(project / "other"), "--data", str(project / "demos.parquet")
    )
    assert told["distances"]["DARD"]["steps"] == 190  # type: ignore[index]
    told = inspected(project, str(project / "reward"), "--against", str(project / "other"))
    assert set(told["distances"]) == {"EPIC"}  # type: ignore[call-overload]
    assert "No DARD" in told["notes"][0]  # type: ignore[index]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.out: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action", "data") and value:
                self.out.append(value)
            if name == "id" and value:
                self.ids.append(value)
        assert tag not in ("script", "link", "iframe", "object")


def test_the_page_is_whole_and_asks_for_nothing(project: Path) -> None:
    page, result = project / "page.html", project / "result.json"
    reward = str(project / "reward")
    assert run(["verify", str(project / "small.rwd"), "--reward", reward, "--json", str(result), "-q"]) == 1
    asked = ["inspect", reward, "--data", str(project / "pairs.parquet"), "--witness", str(result), "--budget", "20",
             "--against", str(project / "other"), "--noise", "0,0.2", "-q"]  # fmt: skip
    assert run([*asked, "--html", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    parser = _Links()
    parser.feed(text)
    assert [link for link in parser.out if not link.startswith(("#", "data:"))] == []
    assert len(parser.ids) == len(set(parser.ids))
    assert not re.search(r"url\((?!#)|@import|https?://", text)
    assert text.count("<svg") >= 7  # reliability, margins, rewards, noise, three features
    wanted = ("beats|BEAT|WORSE", "What each feature does", "How much hangs on it", "The nearest data", "EPIC", "DARD")
    for words in (*wanted, "Witness of slow", "If labels were wrong", "only differences of it mean something"):
        assert re.search(words, text), words


def test_effects_over_a_part_of_the_domain(project: Path) -> None:
    told = inspected(project, str(project / "reward"), "--where", "speed=0..10", "--where", "lead=true")
    assert told["region"] == "speed=0..10, lead=true"
    features = [e["feature"] for e in told["effects"]]  # type: ignore[union-attr, index]
    assert features == ["speed", "offset"]
    assert {s["what"] for s in told["sensitivities"]} == {"per unit"}  # type: ignore[union-attr, index]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--where", "nothing=1"], "G44"),
        (["--noise", "0.1"], "G42"),
        (["--noise", "a", "--data", "labels.parquet"], "G42"),
        (["--noise", "0.1", "--data", "labels.parquet"], "G34"),
        (["--noise", "0.1", "--data", "demos.parquet"], "G34"),
        (["--baseline", "text"], "G42"),
        (["--baseline", "none", "--data", "pairs.parquet"], "G42"),
        (["--baseline", "x", "--data", "demos.parquet"], "G42"),
        (["--witness", "small.rwd", "--data", "demos.parquet"], "G43"),
        (["--against", "other", "--actions", "push"], "G35"),
        (["--against", "other", "--discount", "2"], "G12"),
        (["--budget", "0", "--effects"], "G42"),
        (["--data", "nowhere.parquet"], "D01"),
    ],
)
def test_what_makes_no_sense_is_refused(
    project: Path, arguments: list[str], code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    assert run(["inspect", "reward", *arguments, "-q"]) == 2
    assert f"error[{code}]" in capsys.readouterr().err


# ── experts and neighbours ─────────────────────────────────────────────────────────────────────
def test_experts_stand_for_the_clusters_that_they_learned() -> None:
    rng = np.random.default_rng(0)
    slow = np.stack([rng.normal(5, 0.5, 150), rng.normal(-1, 0.1, 150), np.zeros(150)], axis=1)
    fast = np.stack([rng.normal(35, 0.5, 50), rng.normal(1, 0.1, 50), np.ones(50)], axis=1)
    data = Demonstrations(RECORD, np.concatenate([slow, fast]))
    artifact = Autoencoders().fit(data, AutoencoderOptions(experts=2, hidden=6, code=1, epochs=20), Run(2))
    found = experts(artifact, data.rows, lambda k: f"row {k + 1}")
    assert sum(e.rows for e in found) == 200
    assert found[0].rows == pytest.approx(150, abs=20)
    middles = [{t.feature: t.middle for t in e.traits} for e in found]
    assert middles[0]["speed"] == pytest.approx(5, abs=0.5)
    assert middles[1]["speed"] == pytest.approx(35, abs=0.5)
    leads = [{t.feature: t.text for t in e.traits}["lead"] for e in found]
    assert int(leads[1].split()[1]) > 80
    assert int(found[0].row.split()[1]) <= 150


def test_a_reward_that_is_no_mixture_has_no_experts() -> None:
    artifact = Preferences().fit(comparisons(60), PreferenceOptions(hidden=4, epochs=1), Run(0))
    assert experts(artifact, rows(10, 0), str) == ()


def test_the_nearest_rows_by_a_slow_search() -> None:
    artifact = Preferences().fit(comparisons(60), PreferenceOptions(hidden=4, epochs=1), Run(0))
    data, point = rows(300, 1), rows(1, 2)[0]
    found = neighbourhood(artifact, "it", point, data, str)
    spans = np.array([float(f.hi - f.lo) for f in STEP.features])
    slow = sorted((float(np.mean(np.abs(row - point) / spans)), k) for k, row in enumerate(data))
    assert [int(n.row) for n in found.nearest] == [k for _, k in slow[:3]]
    assert found.nearest[0].distance == pytest.approx(slow[0][0])


# ── texts ──────────────────────────────────────────────────────────────────────────────────────
def texts(folder: Path) -> Path:
    """A head over sentence vectors, an encoder, and texts as pairs, with labels and alone."""
    from tests.unit.test_text_search import head

    make_encoder(folder / "enc")
    rw.save_reward(head([3, -2, 1, 2]), folder / "head")
    better = [f"yes thank you {word}" for word in ("good", "great", "that", "help", "day", "for") * 5]
    worse = ["no", "bad sorry", "i can not", "sorry bad no no", "no no", "bad day"] * 5
    asked = "\n\nHuman: what is that?\n\nAssistant: "
    rows = [{"chosen": asked + b, "rejected": asked + w} for b, w in zip(better, worse, strict=True)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "said.jsonl").write_text(
        "".join(json.dumps({"text": t, "label": t in better}) + "\n" for t in better + worse)
    )
    return folder


def test_chosen_and_rejected_are_judged_through_the_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = texts(tmp_path)
    asked = [str(folder / "head"), "--data", str(folder / "pairs.jsonl")]
    assert run(["inspect", *asked]) == 2
    err = capsys.readouterr().err
    assert "pairs.jsonl holds texts" in err
    assert "--encoder DIR" in err
    told = inspected(folder, *asked, "--encoder", str(folder / "enc"), "--effects", "--budget", "20")
    (test,) = told["tests"]  # type: ignore[misc]
    assert test["accuracy"]["count"] == 30
    assert "length is better”" in test["baselines"][0]["rule"], "no reward of texts may lose to their length"
    better = {f"yes thank you {word}" for word in ("good", "great", "that", "help", "day", "for")}
    for near in (n for one in told["nearest"] for n in one["nearest"]):  # type: ignore[union-attr, index]
        assert (near["text"] in better) == ("the better" in near["row"])
    capsys.readouterr()
    vectors = rw.inspect(rw.load_reward(folder / "head"), folder / "pairs.jsonl", encoder=folder / "enc")
    scores = rw.load_reward(folder / "head").score({"e": load_encoder(folder / "enc").encode(["no"])})
    assert float(scores[0]) in set(np.asarray(vectors.rewards))


def test_a_table_of_encoded_texts_is_told_as_texts(tmp_path: Path) -> None:
    folder = texts(tmp_path)
    (folder / "s.rwd").write_text("spec t v1\nfeatures Emb { e : real ^ 4 in -1 .. 1 }\nreward H(x: Emb)\n")
    rw.encode(folder / "pairs.jsonl", folder / "p.parquet", encoder=folder / "enc", features=folder / "s.rwd")
    table = pq.read_table(folder / "p.parquet")
    pq.write_table(table.take(np.arange(30)[::-1]), folder / "p.parquet")  # pairs are told by number, not by place
    told = inspected(folder, str(folder / "head"), "--data", str(folder / "p.parquet"), "--effects", "--budget", "20")
    whole = inspected(
        folder, str(folder / "head"), "--data", str(folder / "pairs.jsonl"), "--encoder", str(folder / "enc"),
        "--effects", "--budget", "20",
    )  # fmt: skip
    assert [n["nearest"] for n in told["nearest"]] == [n["nearest"] for n in whole["nearest"]]  # type: ignore[union-attr, index]
    told = inspected(
        folder, str(folder / "head"), "--data", str(folder / "said.jsonl"), "--encoder", str(folder / "enc")
    )
    assert "judged records" in told["tests"][0]["name"]  # type: ignore[index]


def test_features_may_be_called_otherwise(project: Path, tmp_path: Path) -> None:
    table = pq.read_table(project / "demos.parquet")
    pq.write_table(table.rename_columns(["v", *table.column_names[1:]]), tmp_path / "d.parquet")
    renamed = inspected(project, str(project / "reward"), "--data", str(tmp_path / "d.parquet"), "--map", "speed=v")
    plain = inspected(project, str(project / "reward"), "--data", str(project / "demos.parquet"))
    assert renamed["tests"] == plain["tests"]


def test_places_that_a_ranking_does_not_have_are_no_records(project: Path, tmp_path: Path) -> None:
    ranking, place = [1, 1, 1, 2, 2], [1, 2, 3, 1, 2]
    columns = {"ranking": ranking, "place": place, "step": [1] * 5, "speed": [1.0, 2, 3, 4, 5], "offset": [0.0] * 5}
    pq.write_table(pa.table({**columns, "lead": [True] * 5}), tmp_path / "r.parquet")
    source, data = read_data(rw.load_reward(project / "reward"), tmp_path / "r.parquet")
    records = records_of(source, data)
    assert sorted(records.rows[:, 0]) == [1, 2, 3, 4, 5]
