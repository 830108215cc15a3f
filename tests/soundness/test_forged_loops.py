"""Certificates about loops, changed by somebody who knows the format and the kernel: none proves a false claim."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from rewarden.certificate import kernel_loops
from rewarden.reward.artifact import Artifact
from rewarden.reward.torch_import import from_torch
from rewarden.spec_lang import parse_spec
from rewarden.spec_lang.claim_json import claim_object
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier.bind import bind
from tests.reference.certificates import affine, atom
from tests.reference.loop_claims import MUTATIONS, LoopProof, certified, is_true, paying, proved
from tests.reference.loop_specs import WALK, learned, random_case

SEEDS = (1, 15, 25)  # of cases that are proved: with rewards of records, of moves, max, min and |…|
SMOOTH = (1, 15, 30)  # the same of rewards with tanh


@pytest.fixture(scope="module")
def proofs() -> dict[int, LoopProof]:
    smooth = {-seed: proved(random_case(seed, smooth=True)) for seed in SMOOTH}
    return {seed: proved(random_case(seed)) for seed in SEEDS} | smooth


@pytest.mark.parametrize("seed", range(300, 312))
def test_the_claim_says_what_the_rule_says(seed: int) -> None:
    case = random_case(seed)
    claim = claim_object(bind(case.spec, "r", case.rewards))
    assert is_true(claim, case.rewards) is {"proved": True, "violated": False, "vacuous": None}[case.expected]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_brute_force_proves_has_a_certificate(proofs: dict[int, LoopProof], seed: int, tmp_path: Path) -> None:
    assert random_case(seed).expected == "proved"
    assert is_true(proofs[seed].claim, proofs[seed].rewards)
    report = proofs[seed].judged(tmp_path / "certificate")
    assert report.accepted, report


@pytest.mark.parametrize("seed", SMOOTH)
def test_loops_of_smooth_rewards_have_certificates(proofs: dict[int, LoopProof], seed: int, tmp_path: Path) -> None:
    assert is_true(proofs[-seed].claim, proofs[-seed].rewards)
    report = proofs[-seed].judged(tmp_path / "certificate")
    assert report.accepted, report
    assert "kernel_smooth" in report.claims[0].files


def test_a_loop_of_a_smooth_reward_that_pays_is_replayed(tmp_path: Path) -> None:
    for seed in (2, 6, 13, 16):  # with one goal and with two
        case = paying(random_case(seed, smooth=True))
        (claim,) = case.judged(tmp_path / str(seed)).claims
        assert claim.verdict == "violated", claim.reason


def test_a_continuous_world_needs_many_cells(tmp_path: Path) -> None:
    net, cost = learned(3)
    spec = parse_spec(WALK.format(cost=float(cost) + 0.15, op="<="))
    reward = from_torch(net, tuple((p, spec.features["S"]) for p in ("a", "b")))
    case = certified(spec, {"M": reward}, [(1, 1)])
    assert sum(cell[0] == "cell" for cell in case.proof["sums"][0]["cells"]) > 20
    report = case.judged(tmp_path / "certificate")
    assert report.accepted, report
    case.claim["goals"][0][0]["affine"]["constant"] = "-1"  # each step adds 1 more: standing still pays
    assert not case.judged(tmp_path / "forged").sound


def test_a_loop_that_pays_is_replayed(tmp_path: Path) -> None:
    case = paying(random_case(2))
    assert is_true(case.claim, case.rewards) is False
    (claim,) = case.judged(tmp_path / "certificate").claims
    assert claim.verdict == "violated"
    case.claim["clauses"].append([])  # no step satisfies that: so it is no counterexample
    (claim,) = case.judged(tmp_path / "forged").claims
    assert claim.verdict == "refused"


@pytest.mark.slow
@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("seed", range(60, 200))
def test_many_cases_have_certificates(seed: int, smooth: bool, tmp_path: Path) -> None:
    case = random_case(seed, smooth=smooth)
    if case.expected in ("proved", "violated") and not (smooth and 0 in case.moves.values()):
        found = proved(case) if case.expected == "proved" else paying(case)
        (claim,) = found.judged(tmp_path / "certificate").claims
        assert claim.verdict == case.expected


def attack(whole: LoopProof, seed: int, folder: Path) -> str:
    """One forged certificate: `accepted`, `refused`, or `lie` where the refused claim is false."""
    rng = random.Random(seed)
    forged = whole.copy()
    for _ in range(rng.choice([1, 1, 2, 3])):
        with suppress(IndexError, KeyError, TypeError, ValueError):  # an earlier change left nothing to change here
            rng.choice(MUTATIONS)(rng, forged)
    report = forged.judged(folder / str(seed))
    accepted = [claim.verdict for claim in report.claims] == ["proved"]
    if accepted:
        assert is_true(forged.claim, forged.rewards) is True, f"accepted, and false: {seed}"
        return "accepted"
    with suppress(AssertionError):  # a claim that the judge cannot read
        if seed % 4 == 0:
            return "refused" if is_true(forged.claim, forged.rewards) else "lie"
    return "refused"


@pytest.mark.parametrize("seed", (*SEEDS, *(-seed for seed in SMOOTH)))
def test_no_forged_proof_is_accepted_for_a_false_claim(proofs: dict[int, LoopProof], seed: int, tmp_path: Path) -> None:
    outcomes = Counter(attack(proofs[seed], number, tmp_path) for number in range(20))
    assert outcomes["refused"] + outcomes["lie"] > 10, "the changes are too harmless to test anything"
    assert outcomes["lie"], "no false claim was tried"


@pytest.mark.slow
@pytest.mark.parametrize("seed", (*SEEDS, *(-seed for seed in SMOOTH)))
def test_no_forged_proof_is_accepted_in_thousands(proofs: dict[int, LoopProof], seed: int, tmp_path: Path) -> None:
    for number in range(1000, 2500):
        attack(proofs[seed], number, tmp_path)


# ── with full knowledge of the kernel ──────────────────────────────────────────────────────────
def line() -> tuple[LoopProof, Artifact]:
    """One real column x in [0, 2], steps of any size, R(a, b) = a.x − b.x; and the claim that no loop pays, proved."""
    kind = RecordType("S", (Feature("x", "real", lo=Fraction(0), hi=Fraction(2)),))
    net = torch.nn.Linear(2, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, -1.0]]))
        net.bias.zero_()
    reward = from_torch(net, (("a", kind), ("b", kind)))
    claim = {
        "rule": "r",
        "severity": "must",
        "variables": [{"name": n, "unit": None, "discrete": False} for n in ("t[0].x", "t[1].x", "rise")],
        "records": [{"name": f"t[{k}]", "type": "S", "variables": [k]} for k in (0, 1)],
        "rewards": {"R": reward.digest},
        "calls": [{"reward": "R", "arguments": [affine(0, {0: 1}), affine(0, {1: 1})]}],
        "clauses": [],
        "goals": [[atom(affine(0, {2: 1}, {0: -1}))]],
        "boxes": [[["0", "2"], ["0", "2"], ["0", "0"]]],
        "instances": None,
        "constants": [],
        "loops": [1],
    }
    leaf = [[["leaf", 0, [], [], []]]]
    sums = [{"cells": [["cell", "0", ["-1"]]], "pairs": [leaf]}]
    proof = {"format": "rewarden-proof", "format_version": 1, "loop": [["1"]], "sums": sums}
    return LoopProof(claim, proof, {"R": reward}), reward


def halved(case: LoopProof, low: str, high: str) -> None:
    """Two cells with these potentials, besides −x, and a tree for each pair of them."""
    case.proof["sums"] = [
        {
            "cells": [["cut", 0, "1"], ["cell", low, ["-1"]], ["cell", high, ["-1"]]],
            "pairs": ["from", "to", *([[["leaf", 0, [], [], []]]],) * 2, "to", *([[["leaf", 0, [], [], []]]],) * 2],
        }
    ]


def test_the_line_is_proved(tmp_path: Path) -> None:
    case, _ = line()
    assert case.judged(tmp_path / "one").accepted
    halved(case, "0", "0")
    assert case.judged(tmp_path / "two").accepted
    halved(case, "0", "1/1024")
    assert not case.judged(tmp_path / "three").accepted


def test_more_cells_than_memory_is_to_be_spent_on_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_loops, "MAX_ENDS", 2)
    case, _ = line()
    assert case.judged(tmp_path / "one").accepted
    halved(case, "0", "0")
    (claim,) = case.judged(tmp_path / "two").claims
    assert claim.verdict == "refused"
    assert "at most 2" in claim.reason


def pays(case: LoopProof) -> None:
    """Each step adds 1 more than it did: every loop pays."""
    case.claim["goals"][0][0]["affine"]["constant"] = "-1"


def forge_one_sided_facts(case: LoopProof) -> None:
    """Only x = 1, on the face of two cells, may be left, and be come to: the potential of one side when it is left, of
    the other when it is come to."""
    case.claim["clauses"] = [[atom(affine(-1, {0: 1}))], [atom(affine(1, {1: -1}))]]
    halved(case, "0", "1")


def forge_empty_cells(case: LoopProof) -> None:
    case.proof["sums"][0]["cells"] = [["none"]]


def forge_a_false_goal(case: LoopProof) -> None:
    """Facts about the goal where the goal has no atoms."""
    case.proof["sums"][0] = {"cells": [["none"]], "pairs": [[["leaf", -1, [[-1, 0, [1, 0]]], [], []]]]}


def forge_no_trees(case: LoopProof) -> None:
    case.proof["sums"][0]["pairs"] = [[]]


def forge_no_pairs(case: LoopProof) -> None:
    case.proof["sums"][0]["pairs"] = []


def forge_half_the_pairs(case: LoopProof) -> None:
    halved(case, "0", "1")
    case.proof["sums"][0]["pairs"] = ["from", [[["leaf", 0, [], [], []]]], [[["leaf", 0, [], [], []]]]]


def forge_half_the_cells(case: LoopProof) -> None:
    case.proof["sums"][0]["cells"] = [["cut", 0, "1"], ["cell", "0", ["-1"]]]


def forge_a_cut_of_a_cell(case: LoopProof) -> None:
    case.proof["sums"][0]["pairs"] = ["from", [[["leaf", 0, [], [], []]]], [[["leaf", 0, [], [], []]]]]


def forge_no_sums(case: LoopProof) -> None:
    case.claim["loops"] = []
    case.proof["sums"] = []


def forge_a_sum_without_goals(case: LoopProof) -> None:
    case.claim["loops"] = [0, 1]
    case.proof["sums"] = [{"cells": [["cell", "0", ["0"]]], "pairs": [[]]}]


def forge_a_free_rise(case: LoopProof) -> None:
    """The rise as a plain variable, of any size."""
    case.claim["boxes"][0][2] = ["0", "9"]


def forge_a_steep_rise(case: LoopProof) -> None:
    case.claim["goals"][0][0]["affine"]["variables"] = [[2, "1000000"]]


def forge_a_rise_in_the_premise(case: LoopProof) -> None:
    case.claim["clauses"] = [[atom(affine(-2, {2: 1}))]]


def forge_no_loop(case: LoopProof) -> None:
    """There is none: the rule would be vacuous."""
    case.claim["clauses"] = [[atom(affine(0, {0: -1, 1: 1}), strict=True)]]
    case.proof["loop"] = []


def forge_a_loop_that_does_not_close(case: LoopProof) -> None:
    case.claim["clauses"] = [[atom(affine(0, {0: -1, 1: 1}), strict=True)]]
    case.proof["loop"] = [["0"], ["1"]]


def forge_a_plain_proof(case: LoopProof) -> None:
    del case.proof["sums"], case.proof["loop"]
    case.proof.update(witness={"box": 0, "point": ["0", "0", "0"]}, goals=[[[["leaf", 0, [], [], []]]]])


def forge_a_million_sums(case: LoopProof) -> None:
    case.claim["loops"] = [0] * 1_000_000


FORGERIES = [value for name, value in sorted(globals().items()) if name.startswith("forge_")]


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda f: f.__name__)
def test_a_forgery_with_full_knowledge_is_refused(forge: Callable[[LoopProof], None], tmp_path: Path) -> None:
    case, _ = line()
    pays(case)
    forge(case)
    report = case.judged(tmp_path / "certificate")
    assert not report.accepted
    assert not report.sound
