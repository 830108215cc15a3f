"""Leaves over one cell share their bounds: each is judged as it would be alone, and none is lost or looked at twice."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from rewarden.certificate.check import check
from rewarden.certificate.kernel_alike import Sharing, alike
from rewarden.certificate.kernel_bounds import Box
from rewarden.certificate.kernel_claim import Claim, read_claim
from rewarden.certificate.kernel_json import Refused
from rewarden.certificate.kernel_program import Program
from rewarden.certificate.kernel_proof import Check, Leaf, Plan, check_leaves, leaves
from rewarden.certificate.tiers import tiers
from rewarden.spec_lang.claim_json import claim_object
from tests.differential.test_kernel_vs_program import kernel_program
from tests.reference.certificates import Case, affine, atom, claim, network
from tests.reference.how_many import part_of
from tests.reference.tiny_networks import tiny_claim
from tests.soundness.test_kernel_steps import proof_of_chance

TIERS = tiers()


def holds(how: Check, claim: Claim, program: Program, leaf: Leaf) -> bool:
    try:
        how(claim, program, [leaf])
    except Refused:
        return False
    return True


def test_each_leaf_is_judged_as_it_is_alone(tmp_path: Path) -> None:
    """Leaves of chance, all with the same few boxes, signs and slopes: one after the other, and mixed up."""
    counted: Counter[bool] = Counter()
    for seed in range(part_of(16)):
        made, rewards = tiny_claim(seed)
        if any(lo > hi for box in made.boxes for lo, hi in box):
            continue
        program, stated = kernel_program(made, rewards, tmp_path), claim_object(made)
        read, rng = read_claim(stated), random.Random(seed)
        found = [leaf for _ in range(3) for leaf in leaves(read, proof_of_chance(rng, stated, program))]
        slopes = rng.choice(found).body[2]
        mixed = [leaf._replace(body=[*leaf.body[:2], slopes, *leaf.body[3:]]) for leaf in found]
        shared = Sharing()
        for leaf in (*found, *rng.sample(mixed, len(mixed)), *found[::-1]):
            alone = holds(check_leaves, read, program, leaf)
            counted[alone] += 1
            assert holds(shared, read, program, leaf) == alone
    assert min(counted[True], counted[False]) > 50, counted


@pytest.mark.parametrize(
    ("other", "effort"),
    [
        ({"program": object()}, 0),
        ({"box": Box([Fraction(0)], [Fraction(2)])}, 0),
        ({"box": Box([Fraction(-1)], [Fraction(1)])}, 0),
        ({"box": Box([Fraction(0)], [Fraction(1, 2)])}, 0),  # the same numerators over another denominator
        ({"signs": ((0, 0, 1),)}, 0),
        ({"slopes": {(0, 0): 128}}, 0),
        ({"facts": ((object(), 1),)}, 0),  # of more than the variables
        ({"moves": [lambda bounds: None]}, 0),  # steps rest on facts of the leaf, its own goal among them
        ({}, 1),
    ],
)
def test_bounds_are_kept_for_what_they_rest_on_alone(other: dict[str, object], effort: int) -> None:
    sharing = Sharing(lambda todo, effort: object())
    plan = Plan(object(), Box([Fraction(0)], [Fraction(1)]), (), (), False, {}, [])  # type: ignore[arg-type]
    first = sharing.bounds(plan, 0)
    assert sharing.bounds(plan._replace(strict=True), 0) is first
    differs = plan._replace(**other)
    found = sharing.bounds(differs, effort)
    assert found is not first
    assert sharing.bounds(plan, 0) is not found
    assert not differs.moves or sharing.bounds(differs, effort) is not found


def test_no_leaf_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for ahead in (1, 7, 1 << 13):
        monkeypatch.setattr("rewarden.certificate.kernel_alike.AHEAD", ahead)
        for seed in range(6):
            made, rewards = tiny_claim(seed)
            program, stated = kernel_program(made, rewards, tmp_path), claim_object(made)
            found = list(leaves(read_claim(stated), proof_of_chance(random.Random(seed), stated, program)))
            ordered, (workers, _) = alike(iter(found), (3, check_leaves))
            assert sorted(map(repr, ordered)) == sorted(map(repr, found))
            assert workers == 3


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("false", range(4))
def test_a_goal_that_fails_beside_others_that_hold(tier: str, false: int, tmp_path: Path) -> None:
    """Four goals, a leaf each over the very same cell; the levels of three are met, and of one missed."""
    reward = network(3, 2, (4,))
    weights, ones = reward.tensors["w1"][0], [Fraction(1)] * 2
    low = -sum(abs(Fraction(float(w))) for w in weights) * 64  # far below what it is anywhere
    goals = [[atom(affine((2 * low if k == false else -2 * low), {}, {0: 1}))] for k in range(4)]
    box = [(-x, x) for x in ones]
    for name, wrong in (("all", False), ("one", True)):
        stated = goals if wrong else [[atom(affine(-2 * low, {}, {0: 1}))] for _ in range(4)]
        made = claim({"R": reward.digest}, [("R", range(2))], stated, [box])
        proof = {"format": "rewarden-proof", "format_version": 1, "claim": "",
                 "witness": {"box": 0, "point": ["0", "0"]}, "goals": [[[["leaf", 0, [], [], []]]]] * 4}  # fmt: skip
        case = Case(made, proof, {"R": reward}).rebind()
        (report,) = check(tmp_path / name, case.write(tmp_path / name), 1, *TIERS[tier]).claims
        assert report.verdict == ("refused" if wrong else "proved"), report.reason
        assert wrong or (report.leaves == 4 and "kernel_alike" in report.files)
