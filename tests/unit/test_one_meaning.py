"""What is written has one meaning, whoever reads it: numbers of tables, params, text, scripts and penalties."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import z3

from rewarden.spec_lang import load_spec, parse_spec
from rewarden.spec_lang.claim import ClaimNear
from rewarden.spec_lang.claims import claim_of
from rewarden.spec_lang.errors import DataError, SpecError
from rewarden.spec_lang.evaluate import truth
from rewarden.spec_lang.penalty.pointwise import penalty
from rewarden.spec_lang.sentence import sentence
from rewarden.spec_lang.smt2.script import smt2

HEAD = """spec small v1
features Step { x: real in 0 .. 1 }
reward R(s: Step)
reward Q(s: Step)
param eps: real = 0.1
"""
RULE = "must rule:\n  forall s: Step\n  expect "
WHOLE = """spec whole v1
features Step {{ n: int in 0 .. 9007199254740994 }}
reward R(s: Step)
data d: Step from "{}"
must rule:
  forall s in d
  expect R(s) <= 1
"""


def rows_of(folder: Path, name: str) -> list[float]:
    return parse_spec(WHOLE.format(name), base=folder).rows("d").values[:, 0].tolist()


@pytest.mark.parametrize("value", [2**53 + 1, 2**53, 7])
def test_whole_numbers_of_a_table_are_read_as_they_are_or_refused(tmp_path: Path, value: int) -> None:
    np.savez(tmp_path / "d.npz", n=np.array([value]))
    (tmp_path / "d.csv").write_text(f"n\n{value}\n", encoding="utf-8")
    (tmp_path / "d.jsonl").write_text(f'{{"n": {value}}}\n', encoding="utf-8")
    for name in ("d.npz", "d.csv", "d.jsonl"):
        if value > 2**53:
            with pytest.raises(DataError, match="no exact binary64 value"):
                rows_of(tmp_path, name)
        else:
            assert rows_of(tmp_path, name) == [value]


def test_numbers_of_a_table_are_in_plain_digits(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("n\n\u0661\u0662\n", encoding="utf-8")
    with pytest.raises(DataError, match="not a whole number"):
        rows_of(tmp_path, "d.csv")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_two_arrays_of_one_name_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        for value in (1, 2):
            held = io.BytesIO()
            np.save(held, np.array([value]))
            archive.writestr("n.npy", held.getvalue())
    with pytest.raises(DataError, match="two columns named n"):
        rows_of(tmp_path, "d.npz")


def test_a_param_takes_numpy_s_float_for_the_decimal_that_names_it() -> None:
    spec = parse_spec(HEAD + RULE + "R(s) <= eps", params={"eps": np.float64(0.02)})
    assert spec.params["eps"].value == Fraction(1, 50)


def test_old_line_ends_are_line_ends_in_text_as_in_files(tmp_path: Path) -> None:
    text = "# a comment\r" + (HEAD + RULE + "R(s) <= eps\n").replace("\n", "\r")
    (tmp_path / "small.rwd").write_bytes(text.encode())
    assert parse_spec(text).digest == load_spec(tmp_path / "small.rwd").digest


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\u202e", "\u2066", "\x85", "\x0b", "\x1b", "\x00"])
def test_what_shows_another_text_than_is_read_is_refused_in_comments_too(mark: str) -> None:
    parse_spec(HEAD + RULE + "R(s) <= eps  # ≤ ε\n")
    with pytest.raises(SpecError) as caught:
        parse_spec(HEAD + RULE + f"R(s) <= eps  # note{mark}  and s.x <= 0\n")
    assert [d.code for d in caught.value.diagnostics] == ["P02"]


@pytest.mark.parametrize("inner", ["R(s)", "Q(s)", "Q(s with {x = min(1, max(0, R(s)))})"])
def test_a_script_names_calls_inside_of_calls_first(inner: str) -> None:
    script = smt2(parse_spec(HEAD + RULE + f"R(s with {{x = min(1, max(0, {inner}))}}) >= R(s)"), "rule")
    solver = z3.Solver(ctx=z3.Context())
    solver.from_string(script)  # raises for a name that is not declared yet
    assert script.count("(define-fun |R(record") == 1


@pytest.mark.parametrize(
    "conclusion",
    ["1e100 * R(s) >= 1e101 * Q(s)", "1e-390 * R(s) > 0", "1e-390 * R(s) >= 1e-390 * Q(s)", "R(s) <= 10 * Q(s)",
     "R(s) * 1e90 <= s.x * 1e95"],
)  # fmt: skip
def test_a_penalty_is_0_where_the_rule_holds_however_large_its_numbers(conclusion: str) -> None:
    obligation = parse_spec(HEAD + RULE + conclusion).obligation("rule")
    for r, q in ((3, 2), (-3, -2), (1, 2), (0, 0), (-2, 1)):
        values = {"R": r, "Q": q}
        known = {name: (lambda rows, v=v: rows[:, 0] * 0 + v) for name, v in values.items()}
        found = penalty(obligation, known, torch.full((1, 1), 0.5, dtype=torch.float64))
        holds = truth(obligation.conclusion, [Fraction(1, 2)], lambda name, _, v=values: Fraction(v[name]))
        assert (float(found[0]) == 0) == holds


@pytest.mark.parametrize("inside", [True, False])
def test_a_sentence_about_rows_that_a_table_names_says_near_one_or_none_of_them(inside: bool) -> None:
    obligation = parse_spec(HEAD + RULE + "R(s) <= 1").obligation("rule")
    plain = claim_of(obligation, rewards={"R": "sha256:0"}, statistics={}, data_digests={})
    near = ClaimNear(inside, "sha256:1", 90, (0,), (Fraction(1, 20),))
    told = sentence(replace(plain, near=near, instances="logs"))
    which = "one" if inside else "none"
    assert f"s in Step near {which} of the 90 rows of logs (within 0.05 in s.x) with s.x in 0 .. 1: R(s) <= 1." in told
