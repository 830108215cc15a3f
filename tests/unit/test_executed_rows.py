"""float32 semantics at rows of data: data constants, rules about rows, shares."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.reward import graph as g
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.spec_lang import Spec, parse_spec
from rewarden.spec_lang.errors import DataError, Unsupported
from rewarden.spec_lang.obligation import Statistic
from rewarden.verifier.executed_rows import deployed_values, executed_bounds, executed_constants
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.portfolio import verify
from rewarden.verifier.verdict import Verdict
from tests.reference.executions import Execution
from tests.reference.how_many import part_of
from tests.reference.random_graphs import TWO_REALS, random_artifact, random_rows

FLOAT32 = VerifyOptions(semantics="float32", budget=2_000, falsify_budget=4_000)
HEADER = """spec rows v1
features S { x : real in 0 .. 1, on : bool }
reward R(s: S)
reward Q(s: S)
data d: S from "d.csv"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [f"{k / 16},{k % 2}" for k in range(16)]
    (tmp_path / "d.csv").write_text("\n".join(["x,on", *rows]) + "\n")
    return tmp_path


def load(folder: Path, rules: str) -> Spec:
    return parse_spec(HEADER + rules, base=folder)


def chain(folder: Path, *shifts: float, scale: float = 1.0) -> Artifact:
    """scale·x with each of the shifts added and taken away again: exactly scale·x."""
    nodes: list[g.Node] = [g.Input(), g.AffineMap(0, "w", "b")]
    tensors = {"w": np.float32([[scale, 0.0]]), "b": np.float32([0.0])}
    for k, added in enumerate(sign * shift for shift in shifts for sign in (1.0, -1.0)):
        tensors["one"], tensors[f"s{k}"] = np.float32([[1.0]]), np.float32([added])
        nodes.append(g.AffineMap(len(nodes) - 1, "one", f"s{k}"))
    record = (RewardRecord("s", load(folder, "").features["S"]),)
    return Artifact(record, g.Graph(tuple(nodes), len(nodes) - 1), tensors, "exact")


@settings(max_examples=part_of(60), deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_every_execution_is_within_the_bounds_of_its_row_and_of_the_constants(seed):
    rng = np.random.default_rng(seed)
    artifact = random_artifact(rng, TWO_REALS, size=int(rng.integers(1, 7)), patches=int(rng.integers(2)))
    rows = random_rows(rng, TWO_REALS, 6)
    lo, hi = executed_bounds(artifact, rows)
    near = rows.astype(np.float32)
    values = np.array([Execution(rng).reward(artifact, x) for x in near.astype(float).tolist()])
    assert (lo <= values).all()
    assert (values <= hi).all()
    deployed = deployed_values(artifact, rows)
    assert ((lo <= deployed) & (deployed <= hi)).all()
    statistics = [
        Statistic("quantile", "R", "d", Fraction(1, 3)),
        *(Statistic(k, "R", "d") for k in ("mean", "min", "max")),
    ]
    expected = (sorted(values)[1], None, min(values), max(values))
    for (statistic, found), value in zip(
        executed_constants({"R": artifact}, dict.fromkeys(statistics, rows)).items(), expected, strict=True
    ):
        exact = sum(Fraction(v) for v in values) / 6 if value is None else Fraction(value)
        assert found.lo <= exact <= found.hi, statistic
        assert found.lo <= found.deployed <= found.hi


def test_constants_of_nothing_or_of_infinities_are_refused(folder: Path):
    statistic = Statistic("max", "R", "d")
    artifact = chain(folder)
    with pytest.raises(DataError, match="no rows"):
        executed_constants({"R": artifact}, {statistic: np.zeros((0, 2))})
    with pytest.raises(Unsupported, match="overflow"):
        executed_constants({"R": chain(folder, 3e38, scale=3e38)}, {statistic: np.ones((1, 2))})


def test_rows_are_judged_as_deployed_and_proved_for_every_order(folder: Path):
    rules = """
must tame: forall s in d expect |R(s) - s.x| <= 0.001
must lost: forall s in d expect Q(s) >= s.x
must close: forall s in d expect Q(s) >= s.x - 1
must none: forall s in d given s.x > 1 expect R(s) > 0
"""
    rewards = {"R": chain(folder, 2.0**8), "Q": chain(folder, 2.0**24)}
    real = verify(load(folder, rules), rewards)
    assert [r.verdict for r in real] == ["proved", "proved", "proved", "vacuous"]
    result = verify(load(folder, rules), rewards, FLOAT32)
    assert [r.verdict for r in result] == ["proved", "violated", "unknown", "vacuous"]
    assert result["tame"].premise_witness is not None
    witness = result["lost"].witness
    assert witness is not None
    (call,) = witness.calls
    assert call.exact > call.deployed
    assert "as deployed" in result["lost"].reason
    assert result["close"].coverage == 0.0


def test_shares_count_what_every_execution_keeps(folder: Path):
    rules = """
must most: forall s in d expect share(R(s) >= s.x - 0.001) >= 0.9
must few: forall s in d expect share(R(s) < s.x - 0.001) <= 0.1
must half: forall s in d expect share(Q(s) >= s.x) >= 0.5
must bare: forall s in d expect share(Q(s) >= 0) >= 0.5
"""
    rewards = {"R": chain(folder, 2.0**8), "Q": chain(folder, 2.0**24)}
    result = verify(load(folder, rules), rewards, FLOAT32)
    assert [r.verdict for r in result] == ["proved", "proved", "violated", "unknown"]


def test_claims_take_data_constants_on_the_adverse_side(folder: Path):
    rules = """
must roomy: forall s: S expect R(s) <= max(R(d)) + 0.0635
must exact: forall s: S expect R(s) <= max(R(d)) + 0.0625
must wrong: forall s: S expect R(s) <= mean(R(d))
must same: forall s: S given s.x <= 0.5 expect max(R(d)) - max(R(d)) >= 0
"""
    rewards = {"R": chain(folder, 2.0**6), "Q": chain(folder)}
    assert [r.verdict for r in verify(load(folder, rules), rewards)] == ["proved", "proved", "violated", "proved"]
    result = verify(load(folder, rules), rewards, FLOAT32)
    assert [r.verdict for r in result] == ["proved", "unknown", "violated", "proved"]
    witness = result["wrong"].witness
    assert witness is not None
    assert set(witness.values()) == {"s"}


def test_what_has_no_claim_form_is_searched_as_deployed(folder: Path):
    rules = "must curved: forall s: S expect Q(s) * s.x >= s.x * s.x"
    rewards = {"R": chain(folder), "Q": chain(folder, 2.0**24)}
    assert verify(load(folder, rules), rewards)["curved"].verdict is Verdict.UNKNOWN
    result = verify(load(folder, rules), rewards, FLOAT32)["curved"]
    assert result.verdict is Verdict.VIOLATED
    assert result.witness is not None
    assert all(Fraction(float(np.float32(float(x)))) == x for x in result.witness.point)


def test_a_reward_that_overflows_as_deployed_decides_nothing(folder: Path):
    rules = """
must row: forall s in d expect R(s) >= 0
must box: forall s: S expect R(s) >= 0
must curved: forall s: S expect R(s) * s.x >= 0
"""
    rewards = {"R": chain(folder, 3e38, scale=3e38), "Q": chain(folder)}
    result = verify(load(folder, rules), rewards, FLOAT32)
    assert [(r.verdict, r.non_finite) for r in result] == [("unknown", True)] * 3
    assert result.exit_status == 2


def test_engines_that_know_no_binary32_decline(folder: Path):
    spec = load(folder, "must low: forall s: S expect R(s) <= 2")
    rewards = {"R": chain(folder), "Q": chain(folder)}
    for engine in ("cells", "z3"):
        result = verify(spec, rewards, VerifyOptions(semantics="float32", engine=engine))  # type: ignore[arg-type]
        assert result["low"].verdict is Verdict.UNKNOWN
        assert "float32" in result["low"].reason
    result = verify(spec, rewards, FLOAT32)
    assert result["low"].verdict is Verdict.PROVED
    assert "binary32" in result["low"].reason
    assert result["low"].proof is None


def test_a_threshold_that_executions_differ_in_is_told(folder):
    """x plus and minus 2^10 keeps 13 bits or so: the quantile may be anything within that, and so may the reward."""
    spec = load(folder, "must r: forall s: S given s.x <= 0.5 expect R(s) <= quantile(R(d), 0.55)\n")
    result = verify(spec, {"R": chain(folder, 2.0**10)}, FLOAT32)["r"]
    assert result.verdict is Verdict.UNKNOWN
    (told,) = result.warnings
    assert "quantile(R(d), 11/20) may be anything from" in told
    assert "stays open" in told


def test_smooth_rewards_are_searched_only_and_the_function_is_named(folder):
    spec = load(folder, "must r: forall s: S expect R(s) <= 2\nmust v: forall s: S expect R(s) <= 0.5\n")
    record = (RewardRecord("s", spec.features["S"]),)
    tensors = {"w": np.float32([[1.0, 0.0]]), "b": np.float32([0.0])}
    nodes = (g.Input(), g.AffineMap(0, "w", "b"), g.Tanh(1))
    result = verify(spec, {"R": Artifact(record, g.Graph(nodes, 2), tensors, "exact")}, FLOAT32)
    assert result["r"].verdict is Verdict.UNKNOWN
    assert "no library promises how far its tanh is off in binary32" in result["r"].reason
    assert result["v"].verdict is Verdict.VIOLATED
