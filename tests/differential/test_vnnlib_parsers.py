"""Our reading of VNN-LIB 2 against the standard's own parser (PyPI `vnnlib`): what is written, and what is read."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
import vnnlib
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from rewarden.spec_lang.errors import RewardenError
from rewarden.verifier.vnnlib.declarations import parse_query
from rewarden.verifier.vnnlib.export import Networks, export_claim
from rewarden.verifier.vnnlib.query import Query, holds
from tests.reference.random_claims import random_claim
from tests.reference.random_graphs import TWO_REALS, random_artifact, random_mlp, seeds

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
HEAD = """(vnnlib-version <2.0>)
(declare-network f (declare-input A real [1,2]) (declare-input S real []) (declare-output B real [2]))
(declare-network g (equal-to f) (declare-input C real [1,2]) (declare-input T real []) (declare-output D real [2]))
"""
UNKNOWNS = ["A[0,0]", "A[0,1]", "S", "B[0]", "B[1]", "C[0,0]", "C[0,1]", "T", "D[0]", "D[1]"]


def same_meaning(theirs: vnnlib.Query, ours: Query, rng: np.random.Generator) -> None:
    """Both are true of the same assignments."""
    for _ in range(12):
        inputs = [Fraction(int(v), 4) for v in rng.integers(-8, 9, ours.inputs)]
        outputs = [Fraction(int(v), 4) for v in rng.integers(-8, 9, ours.outputs)]
        values: dict[tuple[str, tuple[int, ...]], Fraction] = {}
        for network in ours.networks:
            for tensors, row in ((network.inputs, inputs), (network.outputs, outputs)):
                for tensor in tensors:
                    indices = list(np.ndindex(*tensor.shape))
                    values |= {(tensor.name, i): row[tensor.start + k] for k, i in enumerate(indices)}
        truth = all(true(assertion.expr, values) for assertion in theirs.assertions)
        assert truth == holds(ours.formula, inputs, outputs)


def true(node: vnnlib.BoolExpr, values: dict) -> bool:
    match type(node).__name__:
        case "And":
            return all(true(arg, values) for arg in node.args)
        case "Or":
            return any(true(arg, values) for arg in node.args)
        case name:
            a, b = value(node.lhs, values), value(node.rhs, values)
            return {
                "GreaterThan": a > b, "LessThan": a < b, "GreaterEqual": a >= b, "LessEqual": a <= b,
                "Equal": a == b, "NotEqual": a != b,
            }[name]  # fmt: skip


def value(node: vnnlib.ArithExpr, values: dict) -> Fraction:
    match type(node).__name__:
        case "Var":
            return values[node.name, tuple(node.indices)]
        case "Negate":
            return -value(node.expr, values)
        case "Plus":
            return sum((value(arg, values) for arg in node.args), Fraction(0))
        case "Minus":
            return value(node.head, values) - sum((value(arg, values) for arg in node.rest), Fraction(0))
        case "Multiply":
            return Fraction(np.prod([value(arg, values) for arg in node.args], dtype=object))
        case _:
            return Fraction(node.lexeme)


@settings(max_examples=25, deadline=None, phases=PHASES)
@given(seed=seeds)
def test_what_we_write_the_standard_reads(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rewards = {"R": random_artifact(rng, TWO_REALS, size=2, patches=int(rng.integers(0, 2)))}
    if rng.random() < 0.4:
        rewards["Base"] = random_mlp(rng, TWO_REALS, (3,))
    claim = random_claim(rng, TWO_REALS, rewards)
    files: dict[str, bytes] = {}
    export_claim(claim, rewards, Networks(files.__setitem__), files.__setitem__)
    texts = [content for name, content in files.items() if name.endswith(".v2.vnnlib")]
    for content in texts[:6]:
        same_meaning(vnnlib.parse_query_string(content.decode()), parse_query(content, "q"), rng)


numbers = st.sampled_from(["0.0", "1.0", "-2.5", "0.125", "3.75"])
terms = st.recursive(
    numbers | st.sampled_from(UNKNOWNS),
    lambda inner: (
        st.builds(
            lambda op, parts: f"({op} {' '.join(parts)})",
            st.sampled_from(["+", "-", "+"]),
            st.lists(inner, min_size=1, max_size=3),
        )
        | st.builds(lambda number, part: f"(* {number} {part})", numbers, inner)
    ),
    max_leaves=5,
)
comparisons = st.builds(
    lambda op, a, b: f"({op} {a} {b})",
    st.sampled_from(["<=", ">=", "<", ">", "==", "!="]),
    st.sampled_from(UNKNOWNS),
    terms,
)
formulas = st.recursive(
    comparisons,
    lambda inner: st.builds(
        lambda op, parts: f"({op} {' '.join(parts)})",
        st.sampled_from(["and", "or"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(asserted=st.lists(formulas, min_size=1, max_size=3), seed=seeds)
def test_what_the_standard_reads_we_read_alike(asserted: Sequence[str], seed: int) -> None:
    text = HEAD + "\n".join(f"(assert {formula})" for formula in asserted)
    same_meaning(vnnlib.parse_query_string(text), parse_query(text.encode(), "q"), np.random.default_rng(seed))


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "(assert (<= A[0,2] 1.0))",
        HEAD + "(assert (<= A[0] 1.0))",
        HEAD + "(assert (<= Z 1.0))",
        HEAD + "(assert (<= S 1.0)",
        HEAD + "(assert (and))",
        HEAD.replace("C real [1,2]", "C real [2,1]") + "(assert (<= S 1.0))",
        HEAD.replace("network g", "network f") + "(assert (<= S 1.0))",
        HEAD.replace("<2.0>", "<3.0>") + "(assert (<= S 1.0))",
    ],
)
def test_neither_reads_what_is_wrong(text: str) -> None:
    with pytest.raises(vnnlib.VNNLibException):
        vnnlib.parse_query_string(text)
    with pytest.raises(RewardenError):
        parse_query(text.encode(), "q")
