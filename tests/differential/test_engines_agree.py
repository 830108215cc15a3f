"""Bounds, cells, z3 and exact sampling about the same random claims: no engine contradicts another, or arithmetic.

A `proved` from one engine and a witness from another, or from an exactly evaluated sample, would be a soundness bug in
one of them. `unknown` contradicts nothing.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, given, settings

from rewarden.verifier.decision import verify_claim
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.verdict import Verdict
from tests.reference.random_claims import random_claim, random_point, truth
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact, random_mlp, random_record_type, seeds

BUDGETS = {"budget": 600, "falsify_budget": 0, "z3_rlimit": 30_000}
BOUNDS, Z3 = VerifyOptions(engine="bounds", **BUDGETS), VerifyOptions(engine="z3", **BUDGETS)
CELLS = VerifyOptions(engine="cells", **BUDGETS)
SEARCH = VerifyOptions(engine="bounds", budget=0, falsify_budget=600)
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # a seed does not shrink to anything simpler
ENGINES = {"bounds": BOUNDS, "cells": CELLS, "z3": Z3, "search": SEARCH}
RECORD_TYPES = {"mixed": MIXED, "reals": TWO_REALS, "random": None}


def drawn(seed: int, kind: str):
    rng = np.random.default_rng(seed)
    record_type = RECORD_TYPES[kind] or random_record_type(rng)
    rewards = {"R": random_artifact(rng, record_type, size=int(rng.integers(1, 5)), patches=int(rng.integers(0, 3)))}
    if rng.random() < 0.4:
        rewards["Base"] = random_mlp(rng, record_type, (4,))
    return rng, random_claim(rng, record_type, rewards), rewards


@pytest.mark.parametrize("kind", RECORD_TYPES)
@settings(max_examples=8, deadline=None, phases=PHASES)
@given(seed=seeds)
def test_no_disagreement(kind, seed):
    rng, claim, rewards = drawn(seed, kind)
    results = {name: verify_claim(claim, rewards, options) for name, options in ENGINES.items()}
    verdicts = {r.verdict for r in results.values()}
    assert not {Verdict.PROVED, Verdict.VIOLATED} <= verdicts, {k: str(v.verdict) for k, v in results.items()}
    assert not {Verdict.VACUOUS, Verdict.VIOLATED} <= verdicts
    assert not {Verdict.VACUOUS, Verdict.PROVED} <= verdicts
    exact = ExactProgram(compile_program(claim, rewards))
    for _ in range(60):
        evaluation = exact.evaluate(random_point(rng, claim))
        if evaluation.premise_holds(claim):
            assert Verdict.VACUOUS not in verdicts
            assert Verdict.PROVED not in verdicts or not evaluation.failing_goals(claim)
    for result in results.values():
        if result.witness is not None:
            assert truth(claim, rewards, result.witness.point) == (True, False)
        if result.verdict is Verdict.PROVED:
            assert truth(claim, rewards, result.premise_witness.point) == (True, True)


def test_the_generator_reaches_every_verdict():
    """A test of the test: claims that are all violated, or all vacuous, would agree about nothing."""
    claims = [drawn(seed, "reals") for seed in range(12)]
    seen = {verify_claim(claim, rewards, SEARCH).verdict for _, claim, rewards in claims}
    seen |= {verify_claim(claim, rewards, BOUNDS).verdict for _, claim, rewards in claims}
    assert {Verdict.PROVED, Verdict.VIOLATED} <= seen
