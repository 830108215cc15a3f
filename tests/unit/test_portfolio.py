"""From a spec's text and artifacts to verdicts: binding, every verdict, provenance, JSON, exit statuses."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.exact import evaluate
from rewarden.reward.graph import AffineMap, Graph, Input
from rewarden.spec_lang import parse_spec
from rewarden.spec_lang.errors import BindingError, UsageError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier.bind import bind, data_constants, symbols
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.portfolio import verify
from rewarden.verifier.unwritten import Unwritten
from rewarden.verifier.verdict import Reason, RuleResult, Verdict, VerificationResult

SPEC = """spec yard v1

features Step {
  speed : real [m/s] in 0 .. 2
  gap   : real [m]   in 0 .. 10
  human : bool
  zone  : enum {aisle, dock}
}
assume s: Step = s.zone == dock implies s.speed <= 1 [m/s]
reward R(s: Step)
reward Base(s: Step)
data logs: Step from "logs.csv"

--- Speed never pays near a person.
must slow_near:
  forall a, b: Step varying speed
  given a.human and a.speed <= b.speed
  expect R(a) >= R(b)

must capped:
  forall s: Step
  given s.human
  expect R(s) <= 1.5

must never:
  forall s: Step
  given s.zone == dock and s.speed > 1 [m/s]
  expect R(s) >= 100

should typical:
  forall x: Step near logs within 1 %
  expect R(x) <= quantile(R(logs), 1) + 0.2

should braking:
  forall s: Step
  given s.human and s.speed >= 1 [m/s]
  expect R(s with {speed = s.speed - 0.5 [m/s]}) >= R(s)

should curved:
  forall s: Step
  expect R(s) * R(s) >= 0

must same:
  forall s: Step
  expect R(s) == Base(s)
"""
STEP = RecordType(
    "Step",
    (
        Feature("speed", "real", Fraction(0), Fraction(2), "m/s"),
        Feature("gap", "real", Fraction(0), Fraction(10), "m"),
        Feature("human", "bool", Fraction(0), Fraction(1)),
        Feature("zone", "enum", Fraction(0), Fraction(1), None, ("aisle", "dock")),
    ),
)
OPTIONS = VerifyOptions(budget=500, falsify_budget=1000, z3_rlimit=100_000)


def linear(*weights: float, identified="exact", bias: float = 1.0) -> Artifact:
    tensors = {"w": np.float32([weights]), "b": np.float32([bias])}
    return Artifact((RewardRecord("s", STEP),), Graph((Input(), AffineMap(0, "w", "b")), 1), tensors, identified)


R = linear(-0.5, 0.125, 0, 0, 0)  # 1 − speed/2 + gap/8: at most 2.25


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("yard")
    (tmp_path / "logs.csv").write_text("speed,gap,human,zone\n0.5,2,true,aisle\n1,10,false,dock\n2,0,true,aisle\n")
    return parse_spec(SPEC, "yard.rwd", base=tmp_path)


@pytest.fixture(scope="module")
def result(spec):
    return verify(spec, {"R": R, "Base": R}, OPTIONS)


def test_every_verdict(result):
    assert {r.rule: str(r.verdict) for r in result} == {
        "slow_near": "proved",
        "capped": "violated",
        "never": "vacuous",
        "typical": "proved",
        "braking": "proved",
        "curved": "unknown",
        "same": "proved",
    }
    assert result["curved"].reason.startswith("no engine for this rule: ")
    assert result["slow_near"].title == "Speed never pays near a person."
    assert result["slow_near"].where.startswith("yard.rwd:15")
    assert result.exit_status == 1


def test_a_witness_is_in_units_and_a_proof_starts_from_a_point(result):
    witness = result["capped"].witness
    assert witness.values()["s"]["human"] is True
    assert witness.calls[0].text == "R(s)"
    assert witness.violation > 0
    proved = result["slow_near"]
    assert proved.proof["witness"]["box"] == 0
    assert [Fraction(x) for x in proved.proof["witness"]["point"]] == list(proved.premise_witness.point)
    assert proved.coverage == 1.0
    assert proved.engine == "bounds"


def test_json_is_plain(result):
    told = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert told["schema_version"] == 1
    capped = told["rules"][1]
    assert (capped["name"], capped["severity"], capped["verdict"]) == ("capped", "must", "violated")
    assert set(capped["witness"]["s"]) == {"speed", "gap", "human", "zone"}
    assert capped["witness_details"]["units"]["s"]["gap"] == "m"


def test_the_same_again_gives_the_same_bytes(spec, result):
    again = verify(spec, {"R": R, "Base": R}, OPTIONS)
    assert json.dumps(again.to_json()) == json.dumps(result.to_json())
    assert [r.proof for r in again] == [r.proof for r in result]


def test_engines_alone(spec):
    names = ["slow_near", "capped", "same"]
    z3 = verify(spec, {"R": R, "Base": R}, replace(OPTIONS, engine="z3", falsify_budget=0), rules=names)
    assert [str(r.verdict) for r in z3] == ["proved", "violated", "proved"]
    assert isinstance(z3["slow_near"].proof, Unwritten)
    assert "z3" in z3["slow_near"].reason
    assert z3["capped"].engine == "z3"
    bounds = verify(spec, {"R": R, "Base": R}, replace(OPTIONS, engine="bounds", falsify_budget=0), rules=names)
    assert [str(r.verdict) for r in bounds if r.rule != "capped"] == ["proved", "proved"]
    assert bounds["capped"].verdict is not Verdict.PROVED


def test_binding_computes_constants_from_the_artifact_at_hand(spec):
    claim = bind(spec, "typical", {"R": R, "Base": R})
    rows = spec.table("logs").values
    largest = max(evaluate(R, [Fraction(float(v)) for v in row]) for row in rows)
    assert [c.value for c in claim.constants] == [largest]
    assert claim.constants[0].data == spec.table("logs").table_digest
    assert len(claim.boxes) == 3
    shifted = linear(-0.5, 0.125, 0, 0, 0, bias=2.0)
    assert bind(spec, "typical", {"R": shifted}).constants[0].value == largest + 1
    obligation = spec.obligation("typical")
    assert symbols(obligation) == ("R",)
    assert [s.kind for s in data_constants(obligation)] == ["quantile"]


def test_rewards_that_do_not_fit(spec):
    with pytest.raises(BindingError, match="B30"):
        bind(spec, "same", {"R": R})
    with pytest.raises(BindingError, match="did you mean Base"):
        verify(spec, {"Bace": R}, OPTIONS)
    narrow = RecordType("Step", (replace(STEP.features[0], hi=Fraction(1)), *STEP.features[1:]))
    smaller = replace(R, records=(RewardRecord("s", narrow),))
    with pytest.raises(BindingError, match="B07"):
        verify(spec, {"R": smaller}, OPTIONS)


def test_selections(spec):
    assert [r.rule for r in verify(spec, {"R": R}, OPTIONS, rules=["never", "capped"])] == ["capped", "never"]
    for wrong, code in ((["nothing"], "G21"), ([], "G15")):
        with pytest.raises(UsageError, match=code):
            verify(spec, {"R": R}, OPTIONS, rules=wrong)


def test_a_stop_leaves_unknown_and_says_so(spec):
    result = verify(spec, {"R": R}, OPTIONS, rules=["slow_near"], stop=lambda: True)
    assert result["slow_near"].verdict is Verdict.UNKNOWN
    assert result.exit_status == 3


def test_float32_semantics_is_decided_and_told(spec):
    rules = ["slow_near", "capped", "never", "typical", "braking"]
    executed = verify(spec, {"R": R}, replace(OPTIONS, semantics="float32"), rules=rules)
    exact = verify(spec, {"R": R}, OPTIONS, rules=rules)
    # Where a and b are equal, so are the rewards; but executed in two orders they need not be.
    assert [r.verdict for r in executed] == ["unknown", *(r.verdict for r in exact.rules[1:])]
    assert exact["slow_near"].verdict is Verdict.PROVED
    assert executed["capped"].reason == Reason.FLOAT32_WITNESS
    assert all(r.claim is None and r.proof is None for r in executed)
    assert (executed.to_json()["semantics"], exact.to_json()["semantics"]) == ("float32", "real")


def test_progress_is_told(spec):
    told = []
    verify(spec, {"R": R}, OPTIONS, rules=["slow_near"], progress=told.append)
    assert [p.phase for p in told if p.phase != "bounds"] == ["premise", "done"]  # R is linear: nothing to search
    assert told[-1].settled == 1.0
    told.clear()
    verify(spec, {"R": R}, replace(OPTIONS, engine="falsify"), rules=["slow_near"], progress=told.append)
    assert [p.phase for p in told] == ["premise", "search", "done"]


def test_a_non_finite_deployed_reward_is_no_verdict(spec):
    huge = linear(3e38, 3e38, 3e38, 3e38, 3e38)
    result = verify(spec, {"R": huge}, OPTIONS, rules=["capped"])
    assert result["capped"].verdict is Verdict.UNKNOWN
    assert result["capped"].reason.startswith("non-finite")
    assert result.exit_status == 2


def test_loosely_identified_rewards_are_warned_of(spec):
    loose = replace(R, identified="shift")
    little = VerifyOptions(engine="bounds", falsify_budget=100, budget=10)
    result = verify(spec, {"R": loose, "Base": R}, little)
    assert {r.rule for r in result if r.warnings} == {"capped", "never", "same"}
    affine = replace(R, identified="affine")
    result = verify(spec, {"R": affine, "Base": affine}, little)
    assert {r.rule for r in result if any("factor" in w for w in r.warnings)} == {"capped", "never", "typical"}


@pytest.mark.parametrize(
    "verdicts, status",
    [
        (["proved", "proved"], 0),
        (["proved", "unknown"], 3),
        (["unknown", "violated"], 1),
        (["vacuous", "proved"], 1),
        ([], 2),
    ],
)
def test_exit_statuses(verdicts, status):
    rules = tuple(
        RuleResult(rule=f"r{i}", severity="must", verdict=Verdict(v), reason="") for i, v in enumerate(verdicts)
    )
    should = RuleResult(rule="s", severity="should", verdict=Verdict.VIOLATED, reason="")
    assert VerificationResult((*rules, should) if rules else ()).exit_status == status


def test_options_refuse_nonsense():
    for wrong in ({"engine": "magic"}, {"semantics": "float16"}, {"budget": -1}, {"threads": 0}, {"time_limit": 0.0}):
        with pytest.raises(UsageError, match="G14"):
            VerifyOptions(**wrong)


def test_binding_loads_neither_torch_nor_z3():
    code = (
        "import sys, rewarden.verifier, rewarden.verifier.bind, rewarden.verifier.inline, rewarden.verifier.witness;"
        "assert not {'torch', 'z3'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
