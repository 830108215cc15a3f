"""Proofs written after the fact, of what cells, neurons, linear programs and z3 have proved: the kernel accepts every
one of them, and a verdict without one says so."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import rewarden as rw
from rewarden.spec_lang.claim import Claim
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.verdict import CERTIFIABLE, Verdict
from tests.differential.test_kernel_accepts_proofs import judged
from tests.reference.cart import PROVED, write_reward, write_spec
from tests.reference.random_claims import random_claim
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact, random_mlp
from tests.reference.tiny_networks import tiny_claim, truth_of

BUDGETS = {"cells": 2000, "neurons": 400, "lp": 100, "z3": 0}


def options(engine: str) -> VerifyOptions:
    return VerifyOptions(engine=engine, budget=BUDGETS[engine], falsify_budget=300, z3_rlimit=300_000)


def told(claim: Claim, rewards, engine: str, folder) -> str:
    """`written` and accepted, `bare`, or the verdict."""
    result = verify_claim(claim, rewards, options(engine))
    if result.verdict is not Verdict.PROVED:
        return str(result.verdict)
    assert (result.proof is not None) == result.reason.endswith(CERTIFIABLE)
    if result.proof is None:
        assert "no proof to certify" in result.reason
        return "bare"
    report = judged(folder, claim, rewards, result.proof)
    assert report.accepted, (report.problem, [c.reason for c in report.claims])
    signs = any(node[0] == "sign" for goal in result.proof["goals"] for tree in goal for node in tree)
    return "with signs" if signs else "written"


@pytest.mark.parametrize("engine", BUDGETS)
def test_the_kernel_accepts_what_is_written(engine: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    counted: Counter[str] = Counter()
    for seed in range(10):
        rng = np.random.default_rng(seed)
        record_type = MIXED if seed % 2 else TWO_REALS
        if seed % 5:
            rewards = {"R": random_mlp(rng, record_type, (6, 4))}
        else:
            rewards = {"R": random_artifact(rng, record_type, size=4, patches=seed % 2)}
        claim = random_claim(rng, record_type, rewards)
        counted[told(claim, rewards, engine, tmp_path_factory.mktemp("certificate"))] += 1
    assert counted["written"] + counted["with signs"] >= 2, counted


def test_written_proofs_of_tiny_rewards_are_of_true_rules(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every piecewise linear operator, degenerate boxes, rules that hold by equality alone: enumeration knows."""
    counted: Counter[str] = Counter()
    for seed in range(100, 116):
        claim, rewards = tiny_claim(seed)
        said = told(claim, rewards, "cells" if seed % 2 else "lp", tmp_path_factory.mktemp("certificate"))
        counted[said] += 1
        if said in ("written", "with signs", "bare"):
            assert truth_of(claim, rewards) == "proved"
    assert counted["written"] + counted["with signs"] >= 3, counted


@pytest.mark.parametrize("engine", BUDGETS)
def test_what_an_engine_proves_can_be_certified(engine: str, tmp_path: Path) -> None:
    spec_file = write_spec(tmp_path, PROVED)
    spec, reward = rw.load_spec(spec_file), rw.load_reward(write_reward(tmp_path, spec_file))
    result = rw.verify(spec, options(engine), R=reward)
    assert [(rule.verdict, rule.engine) for rule in result.rules] == [(Verdict.PROVED, engine)]
    rw.certify(result, out=tmp_path / "certificate")
    assert rw.check_certificate(tmp_path / "certificate", reward=reward, spec=spec).accepted
