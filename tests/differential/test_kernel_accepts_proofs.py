"""What the verifier proves with bounds, the certificate kernel accepts: two inlinings of the same artifacts, two
bounders, one proof between them."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from rewarden.certificate.check import check
from rewarden.reward.store import save_artifact
from rewarden.spec_lang.claim import Affine, ClaimCall
from rewarden.spec_lang.claim_json import claims_document
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.differences import with_differences
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.scribe.late import with_proof
from rewarden.verifier.verdict import Verdict
from tests.reference.how_many import ALL, part_of
from tests.reference.random_claims import atom, plain_claim, random_claim, random_point
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact, random_mlp, random_record_type, seeds
from tests.soundness.test_differences import two_calls

OPTIONS = VerifyOptions(engine="bounds", budget=300, falsify_budget=300)
RECORD_TYPES = {"mixed": MIXED, "reals": TWO_REALS, "random": None}
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


def judged(folder: Path, claim, rewards, proof):
    """The kernel's report on a certificate of this one claim."""
    (folder / "proofs").mkdir(parents=True)
    (folder / "claims.json").write_bytes(claims_document([claim]))
    text = json.dumps(proof, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    (folder / "proofs" / "rule.json").write_text(text)
    places = {}
    for name, _ in claim.rewards:
        places[name] = folder / f"{name}.rwz"
        save_artifact(rewards[name], places[name])
    return check(folder, places)


@pytest.mark.parametrize("kind", RECORD_TYPES)
@settings(
    max_examples=6 if ALL else 4,
    deadline=None,
    phases=PHASES,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=seeds)
def test_the_kernel_accepts_what_bounds_prove(kind, seed, tmp_path_factory):
    rng = np.random.default_rng(seed)
    record_type = RECORD_TYPES[kind] or random_record_type(rng)
    rewards = {"R": random_artifact(rng, record_type, size=int(rng.integers(1, 6)), patches=int(rng.integers(0, 3)))}
    if rng.random() < 0.4:
        rewards["Base"] = random_mlp(rng, record_type, (5,))
    claim = random_claim(rng, record_type, rewards)
    result = verify_claim(claim, rewards, OPTIONS)
    if result.verdict is Verdict.PROVED:
        report = judged(tmp_path_factory.mktemp("certificate"), claim, rewards, result.proof)
        assert report.accepted, (report.problem, [c.reason for c in report.claims])


@settings(
    max_examples=part_of(40), deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=seeds, other=st.booleans())
@example(seed=109468, other=True)  # relus that the premise decides: the proof is written afterwards
def test_the_kernel_accepts_what_differences_prove(seed, other, tmp_path_factory):
    """Two calls close to each other, of one reward or of two: leaves that read twins."""
    rng, claim, rewards = two_calls(seed, other=other)
    exact = ExactProgram(compile_program(claim, rewards))
    goal = claim.goals[0][0].affine
    least = min(exact.evaluate(random_point(rng, claim)).margin(goal) for _ in range(40))
    slack = Fraction(int(rng.integers(1, 20)), 20)
    level = replace(claim.goals[0][0], affine=replace(goal, constant=goal.constant - least + slack))
    claim = replace(claim, goals=((level,),))
    result = with_proof(verify_claim(claim, rewards, replace(OPTIONS, engine="differences")), rewards)
    if result.verdict is Verdict.PROVED and result.engine == "differences" and result.proof is not None:
        report = judged(tmp_path_factory.mktemp("certificate"), claim, rewards, result.proof)
        assert report.accepted, (report.problem, [c.reason for c in report.claims])


def test_a_proof_by_differences_cannot_be_read_without_them(tmp_path_factory):
    """A leaf that reads twins proves nothing where it is told not to; a choice of lines that is worse proves less, and
    one that is none is refused."""
    rng = np.random.default_rng(3)
    reward = random_mlp(rng, TWO_REALS, (16, 16))
    claim = plain_claim(TWO_REALS, {"R": reward}, goals=[(atom(Fraction(1, 10), {}, {0: 1, 1: -1}),)])
    step = tuple(Affine(a.constant + Fraction(1, 1000), a.variables) for a in claim.calls[0].arguments)
    claim = replace(claim, calls=(claim.calls[0], ClaimCall("R", step)))
    proof = verify_claim(claim, {"R": reward}, replace(OPTIONS, engine="differences")).proof
    assert proof is not None
    nodes = [node for goal in proof["goals"] for tree in goal for node in tree if node[0] == "leaf" and len(node) == 6]
    assert nodes

    def accepted(change) -> bool:
        forged = json.loads(json.dumps(proof))
        for goal in forged["goals"]:
            for tree in goal:
                tree[:] = [change(node) if node[0] == "leaf" and len(node) == 6 else node for node in tree]
        return judged(tmp_path_factory.mktemp("certificate"), claim, {"R": reward}, forged).accepted

    twins = with_differences(compile_program(claim, {"R": reward}))
    layer = next(k for k, one in enumerate(twins.layers) if one.pair is not None)
    assert accepted(lambda node: node)
    assert not accepted(lambda node: node[:5])
    assert not accepted(lambda node: [*node[:5], 2])
    assert not accepted(lambda node: [*node[:3], [[layer, 0, 9]], *node[4:]])
    assert not accepted(lambda node: [*node[:3], [[len(twins.layers), 0, 0]], *node[4:]])
