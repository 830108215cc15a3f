"""Rules over rows, shares and data constants: the verdict of the engine against the definitions, with real rewards.

The reference counts rows and binomial tails in Fractions and evaluates networks node by node.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import AffineMap, Graph, Input, Relu
from rewarden.spec_lang import load_spec, parse_spec
from rewarden.spec_lang.spec import Spec
from rewarden.verifier import verify
from rewarden.verifier.bind import statistics_of
from tests.reference import evaluate_data
from tests.reference.evaluate import Evaluator
from tests.reference.evaluate_agreement import constant, write_rows
from tests.reference.evaluate_tree import declared
from tests.reference.evaluate_values import Irrational, Row, Typed
from tests.reference.how_many import part_of
from tests.reference.random_rules import constant as constant_text
from tests.reference.random_rules import rule, vocabulary
from tests.reference.random_specs import values
from tests.reference.slow_reward import slow_evaluate

FEW = settings(max_examples=part_of(40), deadline=None, suppress_health_check=list(HealthCheck))


# ── shares ─────────────────────────────────────────────────────────────────────────────────────
COUNTED = """spec s v1
features T { asked: bool good: bool }
data d: T from "d.jsonl"
must enough:
  forall p in d
  given p.asked
  expect SHARE
"""


@settings(max_examples=part_of(120), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    good=st.integers(0, 14),
    bad=st.integers(0, 14),
    others=st.integers(0, 2),
    op=st.sampled_from(("<", "<=", ">", ">=")),
    level=st.sampled_from(("0", "1", "0.5", "1 / 3", "0.9")) | st.integers(0, 16).map(lambda k: f"{k} / 16"),
    confidence=st.sampled_from(("", "0.5", "1 / 2", "0.9", "99 %", "15 / 16", "0.75", "7 / 8")),
    turned=st.booleans(),
)
def test_shares_and_their_confidence(
    good: int, bad: int, others: int, op: str, level: str, confidence: str, turned: bool
) -> None:
    """Levels and confidences are such that a tail often equals what it is compared with."""
    back = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}[op]
    claim = f"{level} {back} share(p.good)" if turned else f"share(p.good) {op} {level}"
    text = COUNTED.replace("SHARE", claim + (f" confidence {confidence}" if confidence else ""))
    step = parse_spec(text).features["T"]

    def rows(n: int, asked: bool, fine: bool) -> list[Row]:
        return [Row({"": Typed(step, {"asked": asked, "good": fine})})] * n

    found = rows(good, True, True) + rows(bad, True, False) + rows(others + 1, False, True)
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder), "d", found)
        spec = parse_spec(text, base=Path(folder))
        result = verify(spec, {})
    evaluator = Evaluator(declared(spec.tree), lambda name, columns: Fraction(0), rows={"d": found})
    assert result["enough"].verdict.value == evaluate_data.verdict(evaluator, "enough")


def bound(op: str, k: int, n: int, confidence: Fraction) -> Fraction:
    """The Clopper–Pearson bound itself, by bisection of the exact tail to 2^-40: lower for >=, upper for <=."""
    lo, hi = Fraction(0), Fraction(1)
    if (op == ">=" and k == 0) or (op == "<=" and k == n):
        return lo if op == ">=" else hi
    for _ in range(40):
        middle = (lo + hi) / 2
        tail = evaluate_data.at_least(k, n, middle) if op == ">=" else 1 - evaluate_data.at_least(k + 1, n, middle)
        below = tail <= 1 - confidence if op == ">=" else tail > 1 - confidence
        lo, hi = (middle, hi) if below else (lo, middle)
    return lo


@pytest.mark.parametrize("n", [1, 2, 5, 12])
@pytest.mark.parametrize("confidence", [Fraction(1, 2), Fraction(9, 10), Fraction(99, 100)])
def test_the_reference_agrees_with_the_bounds_themselves(n: int, confidence: Fraction) -> None:
    """Away from the bounds, where rounding of the bisection cannot matter."""
    for k in range(n + 1):
        lower, upper = bound(">=", k, n, confidence), bound("<=", k, n, confidence)
        assert lower <= Fraction(k, n) <= upper or confidence == Fraction(1, 2)
        for level in (Fraction(i, 23) for i in range(1, 23)):
            verdict = evaluate_data.clopper_pearson(">=", k, n, level, confidence)
            assert (verdict == "proved") == (lower >= level)
            if verdict != "proved":
                assert (verdict == "violated") == (upper < level)


# ── real rewards ───────────────────────────────────────────────────────────────────────────────
def network(spec: Spec, name: str, seed: int) -> Artifact:
    """A small network with weights in eighths, so that equal rewards and exact levels occur."""
    rng = np.random.default_rng(seed)
    taken = tuple(RewardRecord(p, spec.features[t]) for p, t in spec.rewards[name].params)
    width = sum(r.type.width for r in taken)
    shapes = {"w0": (3, width), "b0": (3,), "w1": (1, 3), "b1": (1,)}
    tensors = {k: (rng.integers(-4, 5, size=shape) / 8).astype(np.float32) for k, shape in shapes.items()}
    graph = Graph((Input(), AffineMap(0, "w0", "b0"), Relu(1), AffineMap(2, "w1", "b1")), 3)
    return Artifact(records=taken, graph=graph, tensors=tensors, identified="exact")


def random_rows(draw, spec: Spec) -> dict[str, list[Row]]:
    """Rows that a data file and a float32 network hold exactly; repeated rows make ties."""

    def member(t: str) -> Typed:
        record = spec.features[t]
        found = {}
        for f in record.features:
            eighth = st.integers(0, 8).map(lambda k, f=f: f.lo + (f.hi - f.lo) * Fraction(k, 8))
            if f.kind == "real":
                found[f.name] = tuple(draw(eighth) for _ in range(f.size)) if f.is_vector else draw(eighth)
            else:
                found[f.name] = draw(values(f))
        return Typed(record, found)

    tables = {}
    for name, data in spec.data.items():
        rows = [Row({m: member(t) for m, t in data.members}) for _ in range(draw(st.integers(1, 5)))]
        tables[name] = rows + rows[: draw(st.integers(0, 2))]
    return tables


def loaded(text: str, draw, folder: Path) -> tuple[Spec, Evaluator, dict[str, Artifact]]:
    (folder / "main.rwd").write_text(text, encoding="utf-8")
    spec = load_spec(folder / "main.rwd")
    tables = random_rows(draw, spec)
    for name, rows in tables.items():
        write_rows(folder, name, rows)
    artifacts = {name: network(spec, name, draw(st.integers(0, 99))) for name in spec.rewards}
    known: dict[tuple[str, tuple[Fraction, ...]], Fraction] = {}

    def reward(name: str, columns: Sequence[Fraction]) -> Fraction:
        key = (name, tuple(columns))
        if key not in known:
            known[key] = slow_evaluate(artifacts[name], columns)
        return known[key]

    return spec, Evaluator(declared(spec.tree), reward, rows=tables), artifacts


@FEW
@given(st.data())
def test_verdicts_over_rows(data: st.DataObject) -> None:
    """Random rules over random rows with random networks: the engine's verdict is the definition's."""
    words, text = vocabulary(data.draw)
    text = text.partition("assume")[0]
    kind = data.draw(st.sampled_from(("rows", "share")))
    with tempfile.TemporaryDirectory() as folder:
        whole = f"spec s v1\n{text}{rule(data.draw, words, kind, 'rule')}"
        spec, evaluator, artifacts = loaded(whole, data.draw, Path(folder))
        with suppress(Irrational):
            expected = evaluate_data.verdict(evaluator, "rule")
            assert verify(spec, artifacts)["rule"].verdict.value == expected


@FEW
@given(st.data())
def test_data_constants(data: st.DataObject) -> None:
    """Quantiles, means and extremes of rewards of one and of several records, of rows and of one member of them."""
    words, text = vocabulary(data.draw)
    text = text.partition("assume")[0]
    written = [constant_text(data.draw, words) for _ in range(4)]
    with tempfile.TemporaryDirectory() as folder:
        whole = f"spec s v1\n{text}must rule:\n  forall s: Step\n  expect R(s) >= {' + '.join(written)}\n"
        spec, evaluator, artifacts = loaded(whole, data.draw, Path(folder))
        found = statistics_of(spec, spec.obligation("rule"), artifacts)
        assert found
        for statistic, value in found.items():
            assert value == constant(evaluator, statistic)
