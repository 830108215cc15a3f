"""Fingerprints: the same for the same claim, another for another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rewarden.ci.fingerprint import fingerprint
from rewarden.ci.outcome import FORM
from rewarden.spec_lang import load_spec
from tests.reference.cart import HEAD, LOCAL, PROVED, SHOULD, VIOLATED, write_spec

HEAD_2 = (
    HEAD
    + """
assume s: Step = s.speed <= 2.9 [m/s] or not s.busy
region fast(s: Step) = s.speed >= top
region far(s: Step) = s.dist >= 9 [m]
"""
)
FAST = """
must fast_is_bad:
  forall s: Step
  given fast(s)
  expect R(s) <= mean(R(rows))
"""


def _print(folder: Path, *rules: str, name: str = "fast_is_bad", head: str = HEAD_2, **params: object) -> str:
    return fingerprint(load_spec(write_spec(folder, *rules, head=head), params=params), name)


@pytest.fixture
def before(tmp_path: Path) -> str:
    return _print(tmp_path, FAST)


def test_it_has_its_form_and_differs_from_rule_to_rule(tmp_path: Path) -> None:
    spec = load_spec(write_spec(tmp_path, PROVED, VIOLATED, SHOULD, LOCAL))
    found = {fingerprint(spec, rule.name) for rule in spec.rules}
    assert len(found) == 4
    assert all(FORM.fullmatch(one) for one in found)


@pytest.mark.parametrize(
    "rules, head",
    [
        (["# a comment\n\n\n", FAST], HEAD_2),
        ([FAST.replace("  given fast(s)\n", "   given   fast( s ) # why\n")], HEAD_2),
        (["\n--- A title.", FAST, '  id "C-9"\n  because "so"\n'], HEAD_2),
        ([PROVED, FAST, VIOLATED], HEAD_2),
        ([FAST], HEAD_2.replace("s.dist >= 9", "s.dist >= 8")),  # a region that the rule does not read
        ([FAST], HEAD_2.replace("reward Base(s: Step)\n", "")),
        ([FAST], HEAD_2.replace("top: real [m/s] = 2 [m/s]", "top: real [m/s] = 2.0 [m/s]")),
    ],
)
def test_it_survives_what_changes_no_claim(tmp_path: Path, before: str, rules: list[str], head: str) -> None:
    rules = ["".join(rules)] if rules[0].startswith("\n---") else rules
    assert _print(tmp_path, *rules, head=head) == before


@pytest.mark.parametrize(
    "rules, head",
    [
        ([FAST.replace("<= mean", "< mean")], HEAD_2),
        ([FAST.replace("must", "should")], HEAD_2),
        ([FAST], HEAD_2.replace("s.speed >= top", "s.speed > top")),
        ([FAST], HEAD_2.replace("= 2 [m/s]", "= 1 [m/s]")),
        ([FAST], HEAD_2.replace("<= 2.9", "<= 2.8")),  # an assumption about its records
        ([FAST], HEAD_2.replace("in 0 .. 3", "in 0 .. 4")),
        ([FAST], HEAD_2.replace("spec cart", "spec tram")),
    ],
)
def test_it_changes_with_the_claim(tmp_path: Path, before: str, rules: list[str], head: str) -> None:
    assert _print(tmp_path, *rules, head=head) != before


def test_it_changes_with_a_parameter_and_with_data(tmp_path: Path, before: str) -> None:
    assert _print(tmp_path, FAST, top=1) != before
    assert _print(tmp_path, FAST, top="2 [m/s]") == before
    import pyarrow as pa
    import pyarrow.parquet as pq

    spec = write_spec(tmp_path, FAST, PROVED, head=HEAD_2)
    bounded = fingerprint(load_spec(spec), "bounded")
    pq.write_table(pa.table({"dist": [2.0], "speed": [0.5], "busy": [True]}), tmp_path / "data" / "rows.parquet")
    assert fingerprint(load_spec(spec), "fast_is_bad") != before
    assert fingerprint(load_spec(spec), "bounded") == bounded  # which reads no data


def test_what_is_used_from_another_file_is_part_of_it(tmp_path: Path) -> None:
    shared = "spec words v1\n\nfeatures Step {\n  x : real in 0 .. 1\n}\n\nregion high(s: Step) = s.x >= 0.5\n"
    text = 'spec a v1\n\nuse "words.rwd" as w\n\nreward R(s: w.Step)\n\nmust low:\n  forall s: w.Step\n'
    text += "  given w.high(s)\n  expect R(s) <= 0\n"
    (tmp_path / "a.rwd").write_text(text)

    def now(words: str) -> str:
        (tmp_path / "words.rwd").write_text(words)
        return fingerprint(load_spec(tmp_path / "a.rwd"), "low")

    first = now(shared)
    assert now("# words\n" + shared + "\nregion other(s: Step) = s.x >= 0.1\n") == first
    assert now(shared.replace("0.5", "0.4")) != first
    assert re.fullmatch(FORM, first)
