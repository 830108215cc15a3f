"""Rules about traces of several lengths: one claim with a case for each, one proof, and what somebody makes of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rewarden.certificate.check import Report, check
from rewarden.certificate.kernel_json import canonical, digest
from rewarden.reward.artifact import Artifact
from rewarden.reward.store import zip_bytes
from rewarden.reward.torch_import import from_torch
from rewarden.spec_lang import parse_spec
from rewarden.spec_lang.claim_json import dump_claim, load_claim
from rewarden.verifier.bind import bind
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.portfolio import verify
from rewarden.verifier.scribe.late import with_proof
from rewarden.verifier.verdict import RuleResult, Verdict

WALK = """spec walk v1
features S {{ x : real in 0 .. 4 }}
reward R(s: S)
relation climbs(a, b: S) = b.x >= a.x + 1 and b.x <= a.x + 2
must r: trace t: S {steps} steps via climbs given first(t).x >= {start} expect sum(R(t)) <= {limit}
"""


def asked(steps: str, start: str, limit: str) -> tuple[RuleResult, dict[str, Artifact]]:
    """With R(s) = max(s.x − 1, 0): what a climb adds to."""
    text = WALK.format(steps=steps, start=start, limit=limit)
    spec = parse_spec(text)
    net = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.ReLU(), torch.nn.Linear(1, 1))
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), (1.0, -1.0, 1.0, 0.0), strict=True):
            parameter.fill_(value)
    rewards = {"R": from_torch(net, (("s", spec.features["S"]),))}
    found = with_proof(verify(spec, rewards, VerifyOptions(falsify_budget=300))["r"], rewards)
    if found.claim is not None:
        assert dump_claim(bind(spec, "r", rewards)) == dump_claim(found.claim)
        assert dump_claim(load_claim(dump_claim(found.claim))) == dump_claim(found.claim)
    return found, rewards


def judged(claim: Any, proof: Any, rewards: dict[str, Artifact], folder: Path) -> Report:
    (folder / "proofs").mkdir(parents=True)
    document = {"format": "rewarden-claims", "format_version": 1, "claims": [claim]}
    (folder / "claims.json").write_bytes(canonical(document))
    (folder / "proofs" / "r.json").write_bytes(canonical({**proof, "claim": digest(canonical(claim))}))
    (folder / "R.rwz").write_bytes(zip_bytes(rewards["R"]))
    return check(folder, {"R": folder / "R.rwz"})


@pytest.fixture(scope="module")
def proved() -> tuple[Any, Any, dict[str, Artifact]]:
    found, rewards = asked("within 3", "2.5", "5.5")  # x >= 2.5, then x >= 3.5; there is no third
    assert found.verdict is Verdict.PROVED
    assert found.claim is not None
    return json.loads(dump_claim(found.claim)), json.loads(json.dumps(found.proof)), rewards


def test_traces_of_each_length_are_certified(proved: tuple[Any, Any, dict[str, Artifact]], tmp_path: Path) -> None:
    claim, proof, rewards = proved
    assert len(claim["cases"]) == 3
    assert [case["witness"] is None for case in proof["cases"]] == [False, False, True]
    report = judged(claim, proof, rewards, tmp_path / "certificate")
    assert report.accepted, report
    assert report.claims[0].sentence.count("must r:") == 3


@pytest.mark.parametrize("steps", ["within 6", "of 5"])
def test_longer_traces_have_claims_too(steps: str, tmp_path: Path) -> None:
    found, rewards = asked(steps, "0", "7.5")  # at most 0, 1, 2 and 3, or up to 1 more each but for the last
    assert found.verdict is Verdict.PROVED
    assert found.engine == "loops"
    assert found.claim is not None
    assert found.proof is not None, found.reason
    proof = json.loads(json.dumps(found.proof))
    assert judged(json.loads(dump_claim(found.claim)), proof, rewards, tmp_path / "certificate").accepted


def test_what_breaks_the_rule_has_no_proof() -> None:
    found, _ = asked("within 3", "2.5", "4")
    assert found.verdict is Verdict.VIOLATED
    assert found.proof is None


def forge_no_witness(claim: Any, proof: Any) -> None:
    for case in proof["cases"]:
        case["witness"] = None


def forge_a_case_left_out_of_the_proof(claim: Any, proof: Any) -> None:
    del proof["cases"][1]


def forge_another_case(claim: Any, proof: Any) -> None:
    proof["cases"][1] = proof["cases"][0]


def forge_a_lower_limit(claim: Any, proof: Any) -> None:
    claim["cases"][1]["goals"][0][0]["affine"]["constant"] = "4"


def forge_no_premise(claim: Any, proof: Any) -> None:
    claim["cases"][2]["clauses"] = []


def forge_another_rule(claim: Any, proof: Any) -> None:
    claim["cases"][0]["rule"] = "other"


def forge_another_severity(claim: Any, proof: Any) -> None:
    claim["cases"][0]["severity"] = "should"


def forge_another_reward(claim: Any, proof: Any) -> None:
    claim["cases"][0]["rewards"]["R"] = "sha256:" + "0" * 64


def forge_no_cases(claim: Any, proof: Any) -> None:
    claim["cases"], proof["cases"] = [], []


def forge_cases_within_cases(claim: Any, proof: Any) -> None:
    claim["cases"][0] = copy.deepcopy(claim)


def forge_a_plain_proof(claim: Any, proof: Any) -> None:
    proof.update(proof.pop("cases")[0])


FORGERIES = [value for name, value in sorted(globals().items()) if name.startswith("forge_")]


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda f: f.__name__)
def test_a_forgery_is_refused(
    proved: tuple[Any, Any, dict[str, Artifact]], forge: Callable[[Any, Any], None], tmp_path: Path
) -> None:
    claim, proof, rewards = copy.deepcopy(proved[0]), copy.deepcopy(proved[1]), proved[2]
    forge(claim, proof)
    report = judged(claim, proof, rewards, tmp_path / "certificate")
    assert not report.sound
