"""Certificates changed by somebody who knows the format and recomputes every digest: none proves a false claim.

A change that leaves the claim true may well be accepted; whether the claim as stated is false is judged by a search
with the artifact's own exact evaluator, which shares no code with the kernel.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import pytest

from rewarden.certificate.check import check
from rewarden.certificate.kernel_json import canonical
from rewarden.spec_lang.claim_json import load_claim
from tests.reference.certificates import Case, cases, counterexample, rational
from tests.reference.how_many import ALL
from tests.reference.mutations import CLAIM, PROOF


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    return cases(tmp_path_factory.mktemp("cases"))


def attack(case: Case, seed: int, folder: Path) -> str:
    """One forged certificate: `accepted`, `refused`, or `lie` where the refused claim is false."""
    rng = random.Random(seed)
    forged = case.copy()
    chosen = [rng.choice(PROOF) for _ in range(rng.choice([0, 1, 1, 2, 3]))]
    chosen += [rng.choice(CLAIM) for _ in range(rng.choice([0, 1, 1, 2]) if chosen else 1)]
    for mutate in chosen:
        with suppress(IndexError, KeyError, TypeError, ValueError):  # an earlier change left nothing to change here
            mutate(rng, forged)
    paths = forged.rebind().write(folder / str(seed) / "certificate")
    report = check(folder / str(seed) / "certificate", paths)
    verdicts = [claim.verdict for claim in report.claims]
    if verdicts != ["proved"]:
        return (
            "lie" if seed % 4 == 0 and report.claims and counterexample(forged.claim, forged.artifacts) else "refused"
        )
    found = counterexample(forged.claim, forged.artifacts)
    assert found is None, f"accepted, and false at {found}: seed {seed}, {[m.__name__ for m in chosen]}"
    return "accepted"


NAMES = ["ceiling", "strict", "premise", "either", "whole", "boxes", "pair", "fix", "local"]


@pytest.mark.parametrize("name", NAMES)
def test_no_forged_proof_is_accepted_for_a_false_claim(proved: dict[str, Case], name: str, tmp_path: Path) -> None:
    outcomes = Counter(attack(proved[name], seed, tmp_path) for seed in range(80 if ALL else 50))
    assert outcomes["refused"] + outcomes["lie"] > 20, "the changes are too harmless to test anything"
    assert outcomes["lie"], "no false claim was tried"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_no_forged_proof_is_accepted_in_thousands(proved: dict[str, Case], name: str, tmp_path: Path) -> None:
    for seed in range(1000, 4000):
        attack(proved[name], seed, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_the_unchanged_proof_is_accepted(proved: dict[str, Case], name: str, tmp_path: Path) -> None:
    paths = proved[name].write(tmp_path / "certificate")
    report = check(tmp_path / "certificate", paths)
    assert report.accepted, report
    assert counterexample(proved[name].claim, proved[name].artifacts) is None


@pytest.mark.parametrize("name", NAMES)
def test_a_false_claim_stays_unproved_whatever_the_proof_says(
    proved: dict[str, Case], name: str, tmp_path: Path
) -> None:
    """Every claim, lowered just enough to be false, with its proof and with simpler ones."""
    for step in (Fraction(1, 16), Fraction(1, 8), Fraction(1, 2), Fraction(4)):
        forged = proved[name].copy()
        form = forged.claim["goals"][0][0]["affine"]
        form["constant"] = rational(Fraction(form["constant"]) - step)
        if counterexample(forged.claim, forged.artifacts) is None:
            continue
        paths = forged.rebind().write(tmp_path / f"{step.denominator}" / "certificate")
        report = check(tmp_path / f"{step.denominator}" / "certificate", paths)
        assert [c.verdict for c in report.claims] == ["refused"]


# ── proofs of the real prover ──────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def searched(proved: dict[str, Case]) -> dict[str, Case]:
    """The same claims, with the proofs that branch and bound finds."""
    from rewarden.verifier.branch import prove
    from rewarden.verifier.inline import compile_program
    from rewarden.verifier.options import VerifyOptions

    found = {}
    for name, case in proved.items():
        claim = load_claim(canonical(case.claim))
        outcome = prove(compile_program(claim, case.artifacts), claim, VerifyOptions(engine="bounds", budget=5000))
        if outcome.proof is not None:
            proof = json.loads(canonical(dict(outcome.proof, witness=case.proof["witness"])))
            found[name] = Case(case.claim, proof, case.artifacts)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_proofs_of_the_search_are_accepted_and_their_forgeries_are_not(
    searched: dict[str, Case], name: str, tmp_path: Path
) -> None:
    assert name in searched, "the search settles every one of these claims within its budget"
    paths = searched[name].write(tmp_path / "certificate")
    report = check(tmp_path / "certificate", paths)
    assert [c.reason for c in report.claims if not c.checked] == []
    for seed in range(5000, 5025):
        attack(searched[name], seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_forgeries_of_searched_proofs_in_thousands(searched: dict[str, Case], name: str, tmp_path: Path) -> None:
    for seed in range(6000, 8000) if name in searched else ():
        attack(searched[name], seed, tmp_path)
