"""What the verifier proves with bounds, the certificate kernel accepts: two inlinings of the same artifacts, two
bounders, one proof between them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from rewarden.certificate.check import check
from rewarden.reward.store import save_artifact
from rewarden.spec_lang.claim_json import claims_document
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.verdict import Verdict
from tests.reference.random_claims import random_claim
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact, random_mlp, random_record_type, seeds

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
@settings(max_examples=6, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
