"""Rules over rows: judged row by row against the slow exact reward, and shares against their definition."""

from __future__ import annotations

from fractions import Fraction
from math import comb
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import AffineMap, Graph, Input
from rewarden.reward.torch_import import from_torch
from rewarden.spec_lang import Spec, parse_spec
from rewarden.spec_lang.obligation import Share
from rewarden.spec_lang.share_counts import enough, judged, refuting
from rewarden.verifier.portfolio import verify
from rewarden.verifier.verdict import Reason, Verdict
from tests.reference.slow_reward import slow_evaluate

HEADER = """spec rows v1
features S { x : real in -2 .. 2, on : bool }
reward R(s: S)
data d: S from "d.csv"
data p: (better: S, worse: S) from "p.csv"
"""


def load(folder: Path, rules: str) -> Spec:
    return parse_spec(HEADER + rules, base=folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator = np.random.default_rng(3)
    x = np.round(generator.uniform(-2, 2, (60, 2)), 3)
    on = generator.integers(0, 2, (60, 2))
    lines = [f"{a},{b}" for a, b in zip(x[:, 0], on[:, 0], strict=True)]
    (tmp_path / "d.csv").write_text("\n".join(["x,on", *lines, "0,1"]) + "\n")
    pairs = [f"{x[k, 0]},{on[k, 0]},{x[k, 1]},{on[k, 1]}" for k in range(60)]
    (tmp_path / "p.csv").write_text("\n".join(["better.x,better.on,worse.x,worse.on", *pairs]) + "\n")
    return tmp_path


@pytest.fixture
def reward(folder: Path) -> Artifact:
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.ReLU(), torch.nn.Linear(6, 1))
    return from_torch(net, (("s", load(folder, "").features["S"]),))


def exact(reward: Artifact, row: np.ndarray) -> Fraction:
    return slow_evaluate(reward, [Fraction(float(v)) for v in row])


def test_every_row_is_judged_as_the_slow_reward_judges_it(folder: Path, reward: Artifact) -> None:
    rows = load(folder, "").rows("d").values
    values = sorted(exact(reward, row) for row in rows)
    middle = values[30]  # of a row itself: at it, <= and < differ
    rules = f"""
must below: forall s in d given s.on expect R(s) <= {float(max(values)) + 1}
must strict: forall s in d expect R(s) < quantile(R(d), 0.5)
must at: forall s in d given R(s) <= quantile(R(d), 0.5) expect R(s) <= quantile(R(d), 0.5)
must none: forall s in d given s.x > 2 expect R(s) > 0
"""
    result = verify(load(folder, rules), {"R": reward})
    assert result["below"].verdict is Verdict.PROVED
    assert result["below"].premise_witness is not None
    assert result["at"].verdict is Verdict.PROVED
    assert result["none"].verdict is Verdict.VACUOUS
    broken = result["strict"]
    failing = [k for k, row in enumerate(rows) if exact(reward, row) >= middle]
    assert broken.verdict is Verdict.VIOLATED
    assert broken.reason == f"{len(failing)} of 61 rows fail; the first is row {failing[0] + 1} of d."
    assert broken.witness is not None
    assert broken.witness.values()["s"]["x"] == rows[failing[0]][0]
    assert broken.witness.calls[0].exact == exact(reward, rows[failing[0]])
    assert broken.witness.violation == exact(reward, rows[failing[0]]) - middle


def test_shares_are_counted_exactly(folder: Path, reward: Artifact) -> None:
    spec = load(folder, "")
    pairs = spec.rows("p").values
    good = sum(exact(reward, row[:2]) > exact(reward, row[2:]) for row in pairs)
    rules = f"""
must reached: forall q in p expect share(R(q.better) > R(q.worse)) >= {good} / 60
must missed: forall q in p expect share(R(q.better) > R(q.worse)) > {good} / 60
must most: forall q in p expect share(R(q.better) > R(q.worse)) <= {good} / 60
must sure: forall q in p expect share(R(q.better) > R(q.worse)) >= 0.01 confidence 0.99
must unsure: forall q in p expect share(R(q.better) > R(q.worse)) >= {good} / 60 confidence 0.99
must refuted: forall q in p expect share(R(q.better) > R(q.worse)) >= 0.99 confidence 0.99
"""
    result = verify(load(folder, rules), {"R": reward})
    verdicts = {r.rule: r.verdict.value for r in result}
    assert verdicts == {
        "reached": "proved",
        "missed": "violated",
        "most": "proved",
        "sure": "proved",
        "unsure": "unknown",
        "refuted": "violated",
    }
    assert "independent" in result["sure"].warnings[0]
    assert f"{good} of 60 rows of p" in result["missed"].reason


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 40),
    st.data(),
    st.fractions(0, 1, max_denominator=20),
    st.sampled_from([Fraction(1, 2), Fraction(9, 10), Fraction(99, 100)]),
    st.sampled_from(["<", "<=", ">", ">="]),
)
def test_confidence_is_clopper_and_pearson(
    n: int, data: st.DataObject, level: Fraction, kappa: Fraction, op: str
) -> None:
    """Against the bounds themselves, found by bisection of their defining equations."""
    k = data.draw(st.integers(0, n))
    alpha = 1 - kappa

    def at_least(p: Fraction) -> Fraction:
        return sum((comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1)), Fraction(0))

    def at_most(p: Fraction) -> Fraction:
        return sum((comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1)), Fraction(0))

    lower = Fraction(0) if k == 0 else bisect(lambda p: at_least(p) <= alpha)
    upper = Fraction(1) if k == n else bisect(lambda p: at_most(p) > alpha)
    near = Fraction(1, 2**30)
    if (k and abs(level - lower) < near) or (k < n and abs(level - upper) < near):
        return  # too close to a bound for bisection to say
    proved, violated = {
        ">=": (lower >= level, upper < level),
        ">": (lower > level, upper <= level),
        "<=": (upper <= level, lower > level),
        "<": (upper < level, lower >= level),
    }[op]
    expected = Verdict.PROVED if proved else Verdict.VIOLATED if violated else Verdict.UNKNOWN
    share = Share(op, level, kappa)  # type: ignore[arg-type]
    assert Verdict(judged(share, k, n)) is expected
    assert (k in enough(share, n)) == (expected is Verdict.PROVED)
    assert (k in refuting(share, n)) == (expected is Verdict.VIOLATED)


def bisect(left):  # type: ignore[no-untyped-def]
    """The point up to which `left` is true."""
    lo, hi = Fraction(0), Fraction(1)
    for _ in range(40):
        middle = (lo + hi) / 2
        lo, hi = (middle, hi) if left(middle) else (lo, middle)
    return lo


def test_rewards_that_leave_the_numbers_decide_nothing(folder: Path) -> None:
    spec = load(folder, "must r: forall s in d expect R(s) < 1")
    tensors = {"w": np.full((1, 2), 3e38, np.float32), "b": np.full(1, 3e38, np.float32)}
    records = (RewardRecord("s", spec.features["S"]),)
    huge = Artifact(records, Graph((Input(), AffineMap(0, "w", "b")), 1), tensors, "exact")
    result = verify(spec, {"R": huge})["r"]
    assert (result.verdict, result.reason, result.non_finite) == (Verdict.UNKNOWN, Reason.NON_FINITE, True)
