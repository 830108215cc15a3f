"""Query files that lie, explode or are cut off: a clear error each, in bounded time and memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarden.spec_lang.errors import RewardenError, Unsupported, UsageError
from rewarden.verifier.vnnlib.cases import branches_of
from rewarden.verifier.vnnlib.declarations import parse_query
from rewarden.verifier.vnnlib.query import Query

ONE = "(declare-const X_0 Real)\n(declare-const X_1 Real)\n(declare-const Y_0 Real)\n"
TWO = """(vnnlib-version <2.0>)
(declare-network f (declare-input A real [1,2]) (declare-output B real [1,1]))
"""
BOX = "(assert (>= X_0 0.0)) (assert (<= X_0 1.0)) (assert (>= X_1 0.0)) (assert (<= X_1 1.0))\n"


def parsed(text: str) -> Query:
    return parse_query((ONE + text).encode(), "q.vnnlib")


def outcome(raw: bytes) -> str:
    """`a query`, or the code of the error."""
    try:
        branches_of(parse_query(raw, "q"))
    except RewardenError as error:
        return error.code
    return "a query"


@pytest.mark.parametrize(
    "text",
    [
        "(" * 3_000_000,
        "(assert " + "(and " * 100_000 + "true" + ")" * 100_001,
        "(assert " + "(not " * 119 + "(<= X_0 1)" + ")" * 120,  # deeper than a reader may recurse
        "(assert (<= X_0 " + "9" * 401 + "))",
        "(assert (<= (* " + "1e400 " * 100 + ") 1))",
        "(assert (<= (+ " + " ".join(f"(/ 1 {10**9 + k})" for k in range(2_000)) + ") X_0))",
        "(assert (or " + "(<= X_0 1) " * 300_000 + "))",
        "[" * 10,
        "\x00",
        "(assert (<= X_0 ²))",
    ],
)
def test_bombs_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="G80"):
        parsed(text)


def test_honest_nesting_is_read() -> None:
    for depth in (1, 60, 115):
        deep = "(or (>= Y_0 7.0) (and " * (depth // 2) + "(<= Y_0 1.0)" + "))" * (depth // 2)
        assert branches_of(parsed(BOX + f"(assert {deep})"))
        total = "(+ 1.0 " * depth + "Y_0" + ")" * depth
        (branch,) = branches_of(parsed(BOX + f"(assert (<= {total} 0.0))"))
        assert branch.goals[0][0].affine.constant == depth


def test_files_that_are_no_text() -> None:
    for raw in (b"\xff\xfe(", b"(" * (1 << 23) + b"(", "(assert true)".encode("utf-16")):
        with pytest.raises(UsageError, match="G80"):
            parse_query(raw, "q")


def test_disjunctions_that_multiply_out_are_refused() -> None:
    either = "(assert (or (<= X_0 0.5) (>= X_1 0.5)))\n"
    with pytest.raises(Unsupported, match="X35"):
        branches_of(parsed(BOX + "".join(either.replace("0.5", f"0.{k + 10}") for k in range(40))))
    outputs = "(assert (or (and (<= Y_0 0.1) (>= Y_0 0.2)) (and (<= Y_0 0.3) (>= Y_0 0.4)) (>= Y_0 0.5)))\n"
    assert branches_of(parsed(BOX + outputs * 3))
    nested = "(<= Y_0 0.1)"
    for k in range(14):
        nested = f"(and (or {nested} (>= Y_0 {k})) (or (<= Y_0 -{k + 1}) (>= Y_0 {k + 50})))"
    with pytest.raises(Unsupported, match="X35"):
        branches_of(
            parsed(BOX + f"(assert (or (and {nested} (<= Y_0 7)) (and {nested.replace('0.1', '0.7')} (>= Y_0 8))))")
        )


WORDS = [
    "(", ")", "[", "]", ",", "assert", "and", "or", "not", "=>", "<=", "<", "==", "!=", "+", "-", "*", "/",
    "X_0", "X_1", "Y_0", "Y_1", "0.5", "-1", "1e9", "1e999", "Real", "real", "declare-const", "true", "f", "A", "B",
    "declare-network", "declare-input", "declare-output", "equal-to", "A[0,0]", "<2.0>", "vnnlib-version", '"a"', ";",
    "é", "²", "\n", "\x00",
]  # fmt: skip


@given(
    words=st.lists(st.sampled_from(WORDS), max_size=60),
    head=st.sampled_from(["", ONE, TWO, ONE + BOX]),
)
def test_word_salad_is_a_query_or_an_error(words: list[str], head: str) -> None:
    assert outcome(f"{head} {' '.join(words)}".encode()) in ("a query", "G80", "G82", "G83", "X34", "X35")


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_a_query_or_an_error(raw: bytes) -> None:
    assert outcome(raw) in ("a query", "G80")


@given(cut=st.integers(0, len(ONE + BOX)), junk=st.sampled_from(["", ")", "(", "x", "[", ";"]))
def test_a_truncated_file_is_an_error_or_says_less(cut: int, junk: str) -> None:
    text = (ONE + BOX)[:cut] + junk
    whole = text.rstrip(";\n") == (ONE + BOX).rstrip()  # a lost bracket may be made good
    assert outcome(text.encode()) in (("a query",) if whole else ("G80", "G82"))
