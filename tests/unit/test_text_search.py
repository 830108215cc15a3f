"""Violations that somebody could write: found by changing texts, judged exactly, and told as texts."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import rewarden as rw
from rewarden.api import Verification
from rewarden.cli import run
from rewarden.output import result_lines
from rewarden.report import Story, render
from rewarden.report.texts import marked
from rewarden.results import result_text
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import AffineMap, Graph, Input
from rewarden.reward.text.encoder import load_encoder
from rewarden.spec_lang.errors import DataError, UsageError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.text.tables import views_given
from rewarden.verifier.options import VerifyOptions
from tests.reference.tiny_encoder import make_encoder
from tests.unit.test_ci_outputs import _validator

SPEC = """spec texts v1

features Emb {
  e : real ^ 4 in -1 .. 1
}
reward H(x: Emb)
data refusals: Emb from "refusals.parquet"

must steady:
  forall x: Emb near refusals within RADIUS
  expect |H(x) - H(anchor(x))| <= LIMIT

must bounded:
  forall x: Emb
  expect H(x) <= CEILING
"""
TEXTS = ["no", "i can not help you with that.", "sorry, no.", "i am sorry"]
QUICK = VerifyOptions(falsify_budget=600, budget=600)


def head(weights: list[float]) -> Artifact:
    record = RecordType("Emb", (Feature("e", "real", Fraction(-1), Fraction(1), None, (), 4),))
    tensors = {"w": np.array([weights], np.float32), "b": np.zeros(1, np.float32)}
    return Artifact((RewardRecord("x", record),), Graph((Input(), AffineMap(0, "w", "b")), 1), tensors, "exact")


def scene(folder: Path, *, radius: str = "1.5", limit: str = "0.05", ceiling: str = "9") -> Path:
    make_encoder(folder / "enc")
    text = SPEC.replace("RADIUS", radius).replace("LIMIT", limit).replace("CEILING", ceiling)
    (folder / "s.rwd").write_text(text)
    (folder / "t.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS))
    table = folder / "refusals.parquet"
    if not table.exists():
        asked = ["encode", str(folder / "t.jsonl"), "-o", str(table), "--encoder", str(folder / "enc")]
        assert run([*asked, "--features", str(folder / "s.rwd"), "-q"]) == 0
    return folder / "s.rwd"


def searched(folder: Path, reward: Artifact, rule: str = "steady", **search: object) -> Verification:
    spec = rw.load_spec(folder / "s.rwd")
    return rw.with_texts(rw.falsify(spec, QUICK, rules=[rule], H=reward), folder / "enc", **search)  # type: ignore[arg-type]


def test_a_changed_text_that_breaks_a_rule_is_the_witness(tmp_path: Path) -> None:
    scene(tmp_path)
    result = searched(tmp_path, head([3, -2, 1, 2]))
    rule, told = result["steady"], result.texts["steady"]
    found = told.searched.found
    assert rule.verdict == "violated"
    assert rule.engine == "text"
    assert found is not None
    assert told.known
    assert found.original in TEXTS
    assert found.text != found.original
    assert found.inside
    encoded = load_encoder(tmp_path / "enc").encode([found.text])[0]
    assert rule.witness is not None
    x = rule.witness.records[0]
    assert x.features[0].value == tuple(float(v) for v in encoded)
    shown = "\n".join(result_lines(result))
    assert f"“{found.text}”" in shown
    assert "no text known" not in shown
    written = json.loads(result_text(result))["rules"][0]["text"]
    assert written["found"]["text"] == found.text
    assert written["label"] is None


def test_a_witness_that_is_a_vector_only_is_labelled(tmp_path: Path) -> None:
    """Texts barely move the reward, but the whole ball does."""
    scene(tmp_path, radius="0.3", limit="0.0001", ceiling="0.5")
    spec = rw.load_spec(tmp_path / "s.rwd")
    result = rw.with_texts(rw.falsify(spec, QUICK, rules=["bounded"], H=head([0.3, 0.3, 0.3, 0.3])))
    told = result.texts["bounded"]
    assert not told.known
    assert told.nearest[0].text in TEXTS
    shown = "\n".join(result_lines(result))
    assert "no text known: the witness is a vector only" in shown
    assert f"nearest text to x: “{told.nearest[0].text}”" in shown
    assert json.loads(result_text(result))["rules"][0]["text"]["label"] == "no text known"


def test_a_row_itself_is_a_text(tmp_path: Path) -> None:
    scene(tmp_path, ceiling="-9")
    told = searched(tmp_path, head([0, 0, 0, 0]), "bounded").texts["bounded"]
    assert told.searched.found is not None
    assert (told.searched.found.text, told.searched.found.how) == (TEXTS[0], "as it is")


PAIRED = """spec paired v1

features Emb {
  e : real ^ 4 in -1 .. 1
}
reward H(x: Emb)
data refusals: Emb from "refusals.parquet"

must alike:
  forall a, b: Emb
  given |a.e[0] - b.e[0]| <= 2
  expect H(a) <= H(b) + 0.05
"""


def test_rules_about_two_records_get_the_text_before_and_after(tmp_path: Path) -> None:
    scene(tmp_path)
    (tmp_path / "s.rwd").write_text(PAIRED)
    result = searched(tmp_path, head([3, -2, 1, 2]), "alike")
    found = result.texts["alike"].searched.found
    assert found is not None
    witness = result["alike"].witness
    assert witness is not None
    encoder = load_encoder(tmp_path / "enc")
    vectors = {tuple(float(v) for v in encoder.encode([text])[0]) for text in (found.text, found.original)}
    assert {record.features[0].value for record in witness.records} == vectors


def test_texts_outside_the_radius_are_told_and_violate_nothing(tmp_path: Path) -> None:
    scene(tmp_path, radius="0.001", limit="0.05")
    result = searched(tmp_path, head([3, -2, 1, 2]))
    assert result["steady"].verdict == "unknown"
    searched_ = result.texts["steady"].searched
    assert searched_.found is None
    assert searched_.tried >= len(TEXTS)
    assert searched_.beyond
    assert not searched_.beyond[0].inside
    assert searched_.beyond[0].distance > 0.001
    assert "changed texts outside its radius break it" in "\n".join(result_lines(result))


def test_what_is_proved_is_broken_by_no_text(tmp_path: Path) -> None:
    scene(tmp_path, radius="0.5", limit="9")
    spec = rw.load_spec(tmp_path / "s.rwd")
    result = rw.with_texts(rw.verify(spec, QUICK, H=head([1, 1, 1, 1])), tmp_path / "enc")
    assert [rule.verdict.value for rule in result] == ["proved", "proved"]
    assert result.texts["steady"].searched.tried > 0


def test_paraphrases_are_tried(tmp_path: Path) -> None:
    scene(tmp_path)
    (tmp_path / "p.jsonl").write_text(json.dumps({"text": "no", "paraphrases": ["yes great great great"]}) + "\n")
    one = searched(tmp_path, head([1, 0, 0, 0]), texts=1)
    more = searched(tmp_path, head([1, 0, 0, 0]), texts=1, paraphrases=tmp_path / "p.jsonl")
    tried = [r.texts["steady"].searched.tried + r.texts["steady"].searched.beyond_tried for r in (one, more)]
    assert tried[1] == tried[0] + 1


def test_a_search_that_is_stopped_says_what_it_has(tmp_path: Path) -> None:
    scene(tmp_path)
    result = searched(tmp_path, head([3, -2, 1, 2]), stop=lambda: True)
    assert result["steady"].engine != "text"
    assert result.texts["steady"].searched.tried == 0
    assert not result.texts["steady"].known


def test_another_encoder_than_the_tables_is_refused(tmp_path: Path) -> None:
    scene(tmp_path)
    make_encoder(tmp_path / "enc", seed=5)
    with pytest.raises(DataError, match="D32"):
        searched(tmp_path, head([1, 0, 0, 0]))


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = scene(tmp_path)
    rw.save_reward(head([3, -2, 1, 2]), tmp_path / "r")
    asked = [str(spec), "--reward", str(tmp_path / "r"), "--rule", "steady", "--budget", "600"]
    assert run(["falsify", *asked, "--encoder", str(tmp_path / "enc"), "--json", str(tmp_path / "f.json")]) == 1
    assert "text: “" in capsys.readouterr().out
    assert run(["verify", *asked, "--encoder", str(tmp_path / "enc"), "--no-cache"]) == 1
    assert run(["falsify", *asked, "--paraphrases", str(tmp_path / "p")]) == 2
    assert "G97" in capsys.readouterr().err
    with pytest.raises(UsageError, match="G97"):
        views_given(["e"])


def test_the_page_shows_texts_with_what_was_changed_marked(tmp_path: Path) -> None:
    scene(tmp_path)
    told = searched(tmp_path, head([3, -2, 1, 2]))
    found = told.texts["steady"].searched.found
    assert found is not None
    page = render(Story("t", told.of, told, told.bound))
    assert "A text that breaks it" in page
    assert str(marked(found.original, found.text)) in page
    assert "<mark>" in str(marked(found.original, found.text))
    assert "no text known" not in page


def test_the_page_labels_a_witness_that_is_no_text(tmp_path: Path) -> None:
    scene(tmp_path, radius="0.3", limit="0.0001", ceiling="0.5")
    spec = rw.load_spec(tmp_path / "s.rwd")
    result = rw.with_texts(rw.falsify(spec, QUICK, H=head([0.3, 0.3, 0.3, 0.3])))
    page = render(Story("t", spec, result, result.bound))
    assert page.count("no text known") == 2
    assert "the text nearest to x" in page
    steady = page.partition('id="rule-steady"')[2].partition("</section>")[0]
    assert steady.count("<blockquote>") == 1, "x and its anchor are near the same text, which is shown once"


@pytest.mark.parametrize(
    "before, after, shown",
    [
        ("a b", "a b c d", "a b <mark>c d</mark>"),
        ("a b", "a a b", "a <mark>a</mark> b"),
        ("a b", "c d", "<mark>c d</mark>"),
        ("a  b", "a\nb", "a\nb"),
        ("a b c", "a c", "a c"),
        ("a", "a <b>", "a <mark>&lt;b&gt;</mark>"),
    ],
)
def test_what_is_new_in_a_text_is_marked(before: str, after: str, shown: str) -> None:
    assert marked(before, after) == shown


def test_ci_shows_texts_and_no_vectors_in_every_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = scene(tmp_path)
    rw.save_reward(head([3, -2, 1, 2]), tmp_path / "r")
    config = tmp_path / "rewarden.toml"
    config.write_text(f'specs = ["{spec.name}"]\nrewards = {{ H = "r" }}\nverify = {{ budget = 600 }}\n')
    asked = ["ci", "--config", str(config), "--rule", "steady", "--no-cache"]
    assert run(asked) == 1
    assert "no text known" in capsys.readouterr().out
    config.write_text(config.read_text() + '[text]\nencoder = "enc"\ntexts = 3\n')
    files = {form: tmp_path / f"o.{form}" for form in ("json", "sarif", "junit")}
    assert run([*asked, *(word for form, file in files.items() for word in (f"--{form}", str(file)))]) == 1
    shown = [capsys.readouterr().out, files["sarif"].read_text(), files["junit"].read_text()]
    told = json.loads(files["json"].read_text())
    found = told["runs"][0]["rules"][0]["text"]["found"]["text"]
    for form in shown:
        assert found in form
        assert "  e  [" not in form
    _validator("ci.schema.json").validate(told)
    config.write_text(config.read_text().replace("texts = 3", "texts = 0"))
    assert run(asked) == 2
    assert "text.texts must be at least 1" in capsys.readouterr().err


def test_the_json_fits_its_schema(tmp_path: Path) -> None:
    import jsonschema

    scene(tmp_path)
    schema = json.loads((Path(__file__).parents[2] / "docs" / "schemas" / "result.schema.json").read_text())
    jsonschema.validate(json.loads(result_text(searched(tmp_path, head([3, -2, 1, 2])))), schema)
