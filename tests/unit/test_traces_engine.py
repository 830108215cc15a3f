"""Traces and cycles, by unrolling and by cells; products and roots by search alone."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from rewarden.reward.artifact import Artifact
from rewarden.reward.torch_import import from_torch
from rewarden.spec_lang import parse_spec
from rewarden.spec_lang.sampling.points import Sampler
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.portfolio import verify
from rewarden.verifier.verdict import RuleResult, Verdict

HEADER = """spec walk v1
features S { x : real in 0 .. 10, y : real in 0 .. 10 }
reward R(s: S)
reward M(a: S, b: S)
relation creep(a: S, b: S) = |a.x - b.x| <= 1 and a.y == b.y
relation climb(a: S, b: S) = b.x >= a.x + 4
relation never(a: S, b: S) = b.x >= a.x + 11
let gain(a: S, b: S) = R(b) - R(a)
"""


@cache
def linear() -> dict[str, Artifact]:
    """R(s) = x, M(a, b) = b.x − a.x."""
    spec, rewards = parse_spec(HEADER), {}
    for name, weights in (("R", [1.0, 0.0]), ("M", [-1.0, 0.0, 1.0, 0.0])):
        net = torch.nn.Sequential(torch.nn.Linear(len(weights), 1))
        with torch.no_grad():
            net[0].weight[:] = torch.tensor([weights])
            net[0].bias.fill_(0.0)
        rewards[name] = from_torch(net, tuple((p, spec.features[kind]) for p, kind in spec.rewards[name].params))
    return rewards


def decide(rule: str, **options: int | str) -> RuleResult:
    return verify(parse_spec(HEADER + "must r: " + rule), linear(), VerifyOptions(**options))["r"]


@pytest.mark.parametrize(
    ("rule", "verdict", "reason"),
    [
        ("trace t: S within 3 steps via creep expect sum(R(t)) <= 30", "proved", "for each length"),
        ("trace t: S within 3 steps via creep given first(t).x <= 1 expect sum(R(t)) <= 6", "proved", "each length"),
        ("trace t: S within 3 steps via creep given first(t).x <= 1 expect sum(R(t)) <= 5.9", "violated", "3 steps"),
        ("trace t: S of 2 steps via creep given first(t).x <= 1 expect sum(R(t)) <= 3", "proved", ""),
        ("trace t: S within 4 steps via climb expect last(t).x >= 0", "proved", "each length"),
        ("trace t: S of 4 steps via climb expect sum(R(t)) <= 0", "vacuous", ""),
        ("trace t: S within 3 steps via creep expect sum(M(t)) == R(last(t)) - R(first(t))", "proved", "each length"),
        ("trace t: S of 3 steps via creep given always t.x >= 9 expect not eventually t.x < 9", "proved", ""),
        ("cycle t: S via creep expect sum(R(t)) <= 0", "violated", "The loop has 1 step"),
        ("cycle t: S via creep expect sum(M(t)) < 0", "violated", "The loop has 1 step"),
        ("cycle t: S via creep expect sum(M(t)) <= 0", "proved", "loops of every length"),
        ("cycle t: S via creep expect sum(M(t)) == 0", "proved", "loops of every length"),
        ("cycle t: S via creep expect sum(gain(t)) <= 0", "proved", "loops of every length"),
        ("cycle t: S via creep expect sum(max(M(t), 0) - 0.55) <= 0", "proved", "loops of every length"),
        ("cycle t: S via creep given always t.x >= 9 expect sum(R(t) - 10.1) < 0", "proved", "loops of every length"),
        ("cycle t: S via creep given always t.x * t.y >= 1 expect sum(R(t)) <= 0", "violated", "record"),
        ("cycle t: S via never expect sum(M(t)) <= 0", "vacuous", "never lead back"),
        ("cycle t: S via climb expect sum(gain(t)) <= 0", "vacuous", "never lead back"),
        ("trace t: S within 64 steps via creep expect sum(R(t) discount 0.9) <= 100", "proved", "from 1 to 64 steps"),
        ("trace t: S of 8 steps via creep given first(t).x <= 1 expect last(t).x <= 8.1", "proved", "for 8 steps"),
        ("trace t: S of 8 steps via creep given first(t).x <= 1 expect last(t).x <= 4", "violated", "8 steps"),
        ("trace t: S of 6 steps via climb expect sum(R(t)) <= 0", "vacuous", "no way"),
        ("trace t: S of 6 steps via climb expect sum(R(t)) <= 900", "vacuous", "no way"),
        ("trace t: S of 8 steps via creep expect eventually R(t) <= 10.1", "proved", "for 8 steps"),
        (  # shorter traces do not get so far: that is no word on the longer ones
            "trace t: S within 8 steps via creep given last(t).x >= first(t).x + 3 expect sum(R(t) + 1) >= 3.5",
            "proved",
            "from 1 to 8 steps",
        ),
        ("trace t: S within 9 steps via creep expect always R(t) <= 10.1", "proved", "from 1 to 9 steps"),
    ],
)
def test_verdicts(rule: str, verdict: str, reason: str) -> None:
    result = decide(rule, falsify_budget=3_000)
    assert result.verdict.value == verdict, result.reason
    assert reason in result.reason
    if verdict == "violated":
        assert result.witness is not None
        assert next(iter(result.witness.values())) == "t[0]"


@pytest.mark.parametrize(
    ("expected", "warned"),
    [("sum(R(t)) <= 3 * R(first(t)) + 90", True), ("R(last(t)) <= R(first(t)) + 90", False)],
)
def test_a_constant_that_flips_shorter_traces_is_warned_of(expected: str, warned: bool) -> None:
    """A constant is added three times to the sum of three records, and once to that of one."""
    text = f"must r: trace t: S within 3 steps via creep expect {expected}"
    rewards = {name: replace(reward, identified="shift") for name, reward in linear().items()}
    result = verify(parse_spec(HEADER + text), rewards, VerifyOptions(falsify_budget=300))["r"]
    assert any("only up to an added constant" in warning for warning in result.warnings) == warned


def test_a_loop_that_pays_needs_two_steps() -> None:
    """M pays for every change of y and costs a little: staying put does not pay, going back and forth does."""
    spec = parse_spec(HEADER.replace("and a.y == b.y", "") + "must r: cycle t: S via creep expect sum(M(t)) <= 0\n")
    net = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    with torch.no_grad():
        net[0].weight[:] = torch.tensor([[0.0, 1.0, 0.0, -1.0], [0.0, -1.0, 0.0, 1.0]])
        net[0].bias.fill_(0.0)
        net[2].weight.fill_(1.0)
        net[2].bias.fill_(-0.5)
    rewards = {"M": from_torch(net, tuple((p, spec.features["S"]) for p in ("a", "b")))}
    result = verify(spec, rewards)["r"]
    assert result.verdict is Verdict.VIOLATED
    assert result.witness is not None
    assert len(result.witness.values()) == 2


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        ("forall s: S given s.x * s.y >= 50 expect R(s) <= 6", "violated"),
        ("forall s: S expect R(s) <= 20 + s.x * s.y", "unknown"),
        ("forall a, b: S expect |R(a) - R(b)| <= 3 + (a.y - b.y) * (a.y - b.y)", "violated"),
    ],
)
def test_what_no_engine_decides_is_searched(rule: str, verdict: str) -> None:
    result = decide(rule)
    assert result.verdict.value == verdict
    assert result.engine == "search"
    if verdict == "unknown":
        assert "no engine" in result.reason
        assert "points were searched" in result.reason
    else:
        assert result.witness is not None
        assert result.witness.violation > 0


@pytest.mark.parametrize("asked", [1, 3, 8])
def test_a_stop_at_any_moment_leaves_an_open_rule(asked: int) -> None:
    """And says where it is open, as far as that is known; of loops in records."""
    for rule in (
        "trace t: S within 6 steps via creep given first(t).x <= 1 expect sum(R(t) * 1.0 - 0.125 * R(t)) <= 18.4",
        "cycle t: S via creep given always t.x <= 9 expect sum(max(M(t), 0) - 0.5001) <= 0",
    ):
        spec = parse_spec(HEADER + "must r: " + rule)
        calls = iter(range(10**9))
        options = VerifyOptions(falsify_budget=100, budget=1_500)
        found = verify(spec, linear(), options, stop=lambda n=calls: next(n) >= asked)["r"]
        assert found.verdict is Verdict.UNKNOWN
        assert "Stopped before everything was settled." in found.reason


def test_where_a_loop_may_pay_is_told_in_records() -> None:
    """Too few moves to settle it: the cells that are left, in problem units."""
    rule = "cycle t: S via creep given always t.x <= 9 expect sum(max(M(t), 0) - 0.5001) <= 0"
    proved, found = decide(rule, falsify_budget=100), decide(rule, budget=2, falsify_budget=100)
    assert proved.verdict is Verdict.PROVED
    assert proved.unsettled is None
    assert found.verdict is Verdict.UNKNOWN
    assert found.unsettled is not None
    assert found.unsettled.parts
    assert all(part.sides.keys() <= {"x", "y"} for part in found.unsettled.parts)


# A minimum in a sum over n records multiplies out to 2^n atoms: these took minutes, and heard no time limit.
FEW = "min(R(t), 9 - t.y)"


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        (f"trace t: S of 30 steps via creep expect sum({FEW}) <= 271", "proved"),
        (
            f"trace t: S within 20 steps via creep given first(t).y <= 4 expect sum({FEW} discount 0.5) <= 18.5",
            "proved",
        ),
        (f"trace t: S of 20 steps via creep expect sum({FEW}) <= 100", "violated"),
        ("trace t: S of 20 steps via climb expect sum(min(R(t), t.y)) <= 0", "vacuous"),
        ("cycle t: S via creep given always t.x >= 1 expect sum(min(t.x - R(t), t.y) - 0.1) <= 0", "proved"),
    ],
)
def test_what_multiplies_out_over_many_records_is_decided_by_cells(rule: str, verdict: str) -> None:
    found = decide(rule, budget=2_000, falsify_budget=500)
    assert found.verdict == verdict
    if verdict == "proved" and rule.startswith("trace"):
        assert "no proof to certify: multiplied out" in found.reason
        assert found.premise_witness is not None
    if verdict == "violated":
        assert found.witness is not None
        assert found.witness.violation > 0


@pytest.mark.parametrize("options", [{"semantics": "float32"}, {"engine": "z3"}, {"engine": "neurons"}])
def test_what_multiplies_out_is_left_to_search_where_cells_are_not_asked(options: dict[str, str]) -> None:
    rule = "trace t: S of 30 steps via climb expect sum(min(R(t), 9 - t.y)) <= 271"  # nothing satisfies the premise
    found = decide(rule, falsify_budget=1, **options)
    assert found.verdict == "unknown"
    assert "has more than 4096 atoms when its alternatives are multiplied out" in found.reason


def test_sums_that_would_be_multiplied_out_for_minutes_are_refused_at_once() -> None:
    """30 minima are 2^30 atoms, in a rule without steps too."""
    many = " + ".join(f"min(R(s), s.x + {k})" for k in range(30))
    found = decide(f"forall s: S expect {many} <= 271", falsify_budget=100)
    assert found.verdict == "violated"  # by search
    found = decide(f"forall s: S expect {many} <= 301", falsify_budget=100)
    assert "needs more than 65536 atoms when its alternatives are multiplied out" in found.reason


def test_a_stop_is_heard_while_points_of_a_narrow_premise_are_drawn() -> None:
    """Of 30 records in a row, one draw took seconds."""
    spec = parse_spec(HEADER + "must r: trace t: S of 30 steps via creep expect sum(min(R(t), 9 - t.y)) <= 271")
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    sampler = Sampler(spec.unrolled("r", 30))
    assert len(sampler.draw(128, np.random.default_rng(0), stop)) == 0
    assert asked < 8
