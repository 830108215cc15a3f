"""What a query file says, word for word and in exact numbers; and what is refused, with its place."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarden.spec_lang.claim import Affine, AffineAtom
from rewarden.spec_lang.errors import Unsupported, UsageError
from rewarden.verifier.vnnlib.cases import branches_of
from rewarden.verifier.vnnlib.declarations import parse_query
from rewarden.verifier.vnnlib.query import AllOf, AnyOf, Formula, Query, holds

ONE = "(declare-const X_0 Real)\n(declare-const X_1 Real)\n(declare-const Y_0 Real)\n"
TWO = """(vnnlib-version <2.0>)
(declare-network f (declare-input A real [1,2]) (declare-output B real [1,1]))
(declare-network g (equal-to f) (declare-input C real [1,2]) (declare-output D real [1,1]))
"""
H = "(declare-network h"
BOX = "(assert (>= X_0 0.0)) (assert (<= X_0 1.0)) (assert (>= X_1 0.0)) (assert (<= X_1 1.0))\n"


def parsed(text: str, head: str = ONE) -> Query:
    return parse_query((head + text).encode(), "q.vnnlib")


def formula(text: str) -> Formula:
    """The one assertion's formula."""
    (only,) = parsed(f"(assert {text})").formula.parts
    return only


def atom(constant: object, x: dict | None = None, y: dict | None = None, *, strict: bool = False) -> AffineAtom:
    terms = [tuple((i, Fraction(str(c))) for i, c in (t or {}).items()) for t in (x, y)]
    return AffineAtom(Affine(Fraction(str(constant)), *terms), strict)


# ── terms and comparisons ──────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "text, expected",
    [
        ("(<= X_0 0.5)", atom("0.5", {0: -1})),
        ("(>= X_0 -0.5)", atom("0.5", {0: 1})),
        ("(< Y_0 X_1)", atom(0, {1: 1}, {0: -1}, strict=True)),
        ("(> Y_0 1e-3)", atom("-0.001", {}, {0: 1}, strict=True)),
        ("(<= (+ X_0 (* 2 X_1) -1.5) (- Y_0))", atom("1.5", {0: -1, 1: -2}, {0: -1})),
        ("(>= (- X_0 X_1 0.25) 0)", atom("-0.25", {0: 1, 1: -1})),
        ("(>= (* -3 (- X_0 1)) (/ X_1 3))", atom(3, {0: -3, 1: "-1/3"})),
        ("(not (<= X_0 0.5))", atom("-0.5", {0: 1}, strict=True)),
        ("(>= (+ X_0 X_1 (- X_0)) .5)", atom("-0.5", {1: 1})),
        ("(== X_0 X_1)", AllOf((atom(0, {0: 1, 1: -1}), atom(0, {0: -1, 1: 1})))),
        ("(!= X_0 1)", AnyOf((atom(-1, {0: 1}, strict=True), atom(1, {0: -1}, strict=True)))),
        ("(<= 0 X_0 1)", AllOf((atom(0, {0: 1}), atom(1, {0: -1})))),
        ("(=> (>= X_0 1) (<= Y_0 0))", AnyOf((atom(1, {0: -1}, strict=True), atom(0, {}, {0: -1})))),
        ("(not (or (>= X_0 1) (> Y_0 0)))", AllOf((atom(1, {0: -1}, strict=True), atom(0, {}, {0: -1})))),
        ("(<= 1 0)", AnyOf(())),
        ("(<= 0 0)", AllOf(())),
        ("true", AllOf(())),
    ],
)  # fmt: skip
def test_formulas_are_exact(text: str, expected: Formula) -> None:
    assert formula(text) == expected


def test_numbers_are_the_decimals_that_are_written() -> None:
    (found,) = branches_of(
        parsed(BOX.replace("(<= X_0 1.0)", "(<= X_0 0.1)") + "(assert (>= Y_0 0.3333333333333333333333333))")
    )
    assert found.box[0] == (0, Fraction(1, 10))
    assert found.goals[0][0].affine.constant == Fraction("0.3333333333333333333333333")


def test_comments_other_forms_and_line_ends() -> None:
    text = "; a comment (with brackets\r\n(set-logic QF_LRA)\r\n(declare-fun X_0 () Real)(declare-const Y_0 Real)"
    assert parsed(text + "(check-sat)", "").inputs == 1


# ── version 2 ──────────────────────────────────────────────────────────────────────────────────
def test_networks_tensors_and_elements() -> None:
    query = parsed("(assert (<= A[0,1] C[0,0])) (assert (> D[0,0] B[0,0]))", TWO)
    assert (query.version, query.inputs, query.outputs) == ("2.0", 4, 2)
    assert [n.same_as for n in query.networks] == [None, "f"]
    assert query.formula == AllOf((atom(0, {1: -1, 2: 1}), atom(0, {}, {0: -1, 1: 1}, strict=True)))
    assert [query.input_name(i) for i in (1, 2)] == ["A[0,1]", "C[0,0]"]


def test_scalars_and_shapes_of_many_axes() -> None:
    head = "(vnnlib-version <2.1>)(declare-network f (declare-input A real [2,3,4]) (declare-output B real []))"
    query = parsed("(assert (<= A[1,2,3] B))", head)
    assert query.formula == AllOf((atom(0, {23: -1}, {0: 1}),))
    assert query.input_name(23) == "A[1,2,3]"


# ── what is refused ────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "text, head, told",
    [
        ("(assert (<= X_0 0.5)", ONE, "4:1: this bracket is never closed"),
        ("(assert (<= X_0 0.5)))", ONE, "4:22: ) closes nothing"),
        ("assert", ONE, "expected (, found 'assert'"),
        ("(assert (<= X_0 0.5) (<= X_1 1))", ONE, "assert takes one formula"),
        ("(assert (<= X_2 0.5))", ONE, "4:13: 'X_2' is not declared"),
        ("(assert (<= X_0[0] 0.5))", ONE, "4:13"),
        ("(assert (<= X_0))", ONE, "compares two terms"),
        ("(assert (<= X_0 0.5e9999))", ONE, "exponent"),
        ("(assert (<= X_0 1e300))", ONE, "beyond 1e60"),
        ("(assert (<= X_0 0x1F))", ONE, "'0x1F' is not declared"),
        ("(assert (let ((a 1)) (<= X_0 a)))", ONE, "expected a formula, found ('let'"),
        ("(assert (and))", ONE, "and of nothing"),
        ("(assert (<= (^ X_0 2) 1))", ONE, "expected a linear term"),
        ("(assert (<= (/ 1 X_0) 1))", ONE, "expected a linear term"),
        ("(assert (<= (/ X_0 0) 1))", ONE, "expected a linear term"),
        ("(declare-const X_0 Real)", ONE, "X_0 is declared twice"),
        ("(declare-const Z Real)", ONE, "neither an input nor an output"),
        ("(declare-const X_9 Real)", ONE, "declares no X_2, but a later one"),
        ("(declare-const X_99999999999 Real)", ONE, "neither an input nor an output"),
        ("(declare-const X_2 Int)", ONE, "expected (declare-const NAME Real)"),
        ("(frobnicate)", ONE, "unknown form 'frobnicate'"),
        ("(declare-const X_0 Real)", "", "declares no Y_0"),
        ("", "", "is empty"),
        ("", "; only a comment\n", "is empty"),
        ("(assert (<= A[0,2] 1.0))", TWO, "this is no element"),
        ("(assert (<= A[0] 1.0))", TWO, "this is no element"),
        ("(assert (<= A 1.0))", TWO, "this is no element"),
        ("(assert (<= A[0,x] 1.0))", TWO, "whole number"),
        ("(declare-network f (declare-input E real [1]) (declare-output F real [1]))", TWO, "the name f is taken"),
        (f"{H} (declare-input A real [1]) (declare-output F real [1]))", TWO, "the name A is taken"),
        (f"{H} (equal-to g) (declare-input E real [1,2]) (declare-output F real [1,1]))", TWO, "equal to none"),
        (f"{H} (equal-to f) (declare-input E real [2,1]) (declare-output F real [1,1]))", TWO, "other shapes"),
        (f"{H} (declare-input E real [1,2]))", TWO, "declares no input, or no output"),
        (f"{H} (declare-input E real [0]) (declare-output F real [1]))", TWO, "unknowns can be declared"),
        (f'{H} (declare-input E real [1] "x") (declare-output F real [1]))', TWO, "no name of the ONNX file"),
        (f'{H} (declare-input E real [1]) (declare-output F real [1] "y"))', TWO, "no name of the ONNX file"),
        (f"{H} (declare-input E real [99999,99999]) (declare-output F real [1]))", TWO, "can be declared"),
        ("(assert (<= A[0,0] 1.0)) (declare-network h)", TWO, "4:26: unexpected form 'declare-network'"),
        ("", "(vnnlib-version <3.0>)", "not known"),
        ("(assert true)", "(vnnlib-version <2.0>)", "no network is declared"),
    ],
)  # fmt: skip
def test_what_is_no_query_is_refused_with_its_place(text: str, head: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(text, head)
    assert caught.value.code == "G80"
    assert told in caught.value.message
    assert "q.vnnlib" in caught.value.message


def test_the_type_has_to_be_real() -> None:
    with pytest.raises(UsageError, match="G83") as caught:
        parsed("(assert (<= A[0,0] 1.0))", TWO.replace("A real", "A float32"))
    assert "q.vnnlib:2:37" in caught.value.message


@pytest.mark.parametrize(
    "text, head",
    [
        ("(assert (<= (* X_0 Y_0) 1))", ONE),
        (f'{H} (declare-input E real [1]) (declare-hidden H real [1] "n") (declare-output F real [1]))', TWO),
        (f"{H} (declare-input E real [1] initialized) (declare-output F real [1]))", TWO),
    ],
)  # fmt: skip
def test_what_is_a_query_and_not_supported(text: str, head: str) -> None:
    with pytest.raises(Unsupported, match="X34"):
        parsed(text, head)


# ── formulas as branches ───────────────────────────────────────────────────────────────────────
unit = st.integers(-1, 1)
leaves = st.builds(
    lambda x, y, z, k, op: f"({op} (+ (* {x} X_0) (* {y} X_1) (* {z} Y_0)) {k})",
    unit, unit, unit, st.integers(-2, 2), st.sampled_from(["<=", ">=", "<", ">", "==", "!="]),
)  # fmt: skip
trees = st.recursive(
    leaves,
    lambda inner: st.builds(
        lambda op, parts: f"({op} {' '.join(parts)})",
        st.sampled_from(["and", "or"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=7,
)
HALVES = [Fraction(k, 2) for k in range(3)]


@given(asserted=st.lists(trees, min_size=1, max_size=3), y=st.integers(-3, 3))
def test_branches_fail_exactly_where_the_formula_holds(asserted: list[str], y: int) -> None:
    """Whatever the network gives: a solution is a point of some branch at which its claim is false."""
    query = parsed(BOX + "".join(f"(assert {text})" for text in asserted))
    branches = branches_of(query)
    for x0 in HALVES:
        for x1 in HALVES:
            point, outputs = (x0, x1), (Fraction(y, 2),)
            failing = False
            for branch in branches:
                rows = dict(branch.rows)
                tied = all(
                    point[i] == r.constant + sum((c * point[j] for j, c in r.variables), Fraction(0))
                    for i, r in rows.items()
                )
                inside = all(i in rows or lo <= point[i] <= hi for i, (lo, hi) in enumerate(branch.box))
                premise = all(any(holds(a, point, outputs) for a in clause) for clause in branch.clauses)
                goals = all(any(holds(a, point, outputs) for a in goal) for goal in branch.goals)
                failing |= tied and inside and premise and not goals
            assert failing == holds(query.formula, point, outputs)


def test_unbounded_inputs_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"G82.*X_1 has no upper bound"):
        branches_of(parsed("(assert (>= X_0 0)) (assert (<= X_0 1)) (assert (>= X_1 0)) (assert (<= Y_0 0))"))
    head = TWO.replace(
        "(declare-network g (equal-to f) (declare-input C real [1,2]) (declare-output D real [1,1]))", ""
    )
    with pytest.raises(UsageError, match=r"A\[0,0\] has no lower bound"):
        branches_of(parsed("(assert (<= A[0,0] 1.0))", head))


def test_tied_inputs_are_written_out() -> None:
    bounds = "".join(f"(assert (>= {v} 0.0)) (assert (<= {v} 4.0))" for v in ("A[0,0]", "A[0,1]", "C[0,0]", "C[0,1]"))
    ties = "(assert (== C[0,0] (+ A[0,0] 1.0))) (assert (== C[0,1] A[0,1]))"
    (branch,) = branches_of(parsed(bounds + ties + "(assert (< D[0,0] B[0,0]))", TWO))
    one = Fraction(1)
    assert dict(branch.rows) == {2: Affine(one, ((0, one),)), 3: Affine(Fraction(0), ((1, one),))}
    # C[0,0] <= 4 is still said, of A[0,0].
    assert branch.clauses == ((atom(3, {0: -1}),),)
    assert branches_of(parsed(bounds + ties + "(assert (== C[0,0] A[0,0]))", TWO)) == ()
