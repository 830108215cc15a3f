"""Patches by construction in certificates: region covers premise by an exact Farkas vector, gate closed, level left."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rewarden as rw
from rewarden.certificate.check import check
from rewarden.certificate.kernel_json import canonical
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.spec_lang import parse_spec
from rewarden.spec_lang.claim_json import claim_digest, claim_object
from rewarden.verifier.bind import bind
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.scribe.patched import by_patches
from tests.reference.certificates import Case, counterexample, network, patched
from tests.reference.random_graphs import random_mlp
from tests.unit.test_mend_near import RING, TYPE, data, spec_of

RULES = {  # premise, goal, leaves
    "oblique": ("s.x / 10 [m] + s.y / 1 [m] <= 0.5 and s.on", "R(s) <= -1", 1),
    "box": ("s.x <= 3 [m] and s.zone == left", "R(s) <= -1", 1),
    "either": ("(s.x <= 3 [m] or s.y >= 0.5 [m]) and s.on", "R(s) <= -1", 2),
    "floor": ("0.3 * s.x / 1 [m] - 2 * s.y / 1 [m] >= 1 and s.x >= 2 [m]", "R(s) >= 4", 1),
    "two rows": ("s.x / 7 [m] + s.y / 3 [m] <= 0.3 and s.y / 1 [m] - s.x / 20 [m] >= -0.4", "R(s) <= -1", 1),
    "strict": ("s.x / 7 [m] + s.y / 3 [m] < 0.3", "R(s) < -1", 1),
}
OPTIONS = VerifyOptions(budget=3000, falsify_budget=500)


def certified(name: str, folder: Path) -> tuple[Artifact, Any, Any]:
    """The patched reward, its claim and its proof."""
    premise, goal, _ = RULES[name]
    folder.mkdir(exist_ok=True)
    data(folder, 3)
    spec = spec_of(f"must r:\n  forall s: S given {premise}\n  expect {goal}\n", folder)
    made = random_mlp(np.random.default_rng(0), TYPE, (12, 12))
    parent = replace(made, records=(RewardRecord("s", TYPE),))
    child = rw.patch(spec, RING, verify_options=OPTIONS, R=parent).artifact
    assert child is not None
    result = rw.verify(spec, OPTIONS, R=child)
    assert result.rules[0].verdict == "proved"
    rw.certify(result, folder / "certificate")
    claim = json.loads((folder / "certificate" / "claims.json").read_bytes())["claims"][0]
    return child, claim, json.loads((folder / "certificate" / "proofs" / "r.json").read_bytes())


@pytest.mark.parametrize("name", RULES)
def test_a_mended_rule_is_certified_by_a_leaf_for_each_way_its_premise_holds(name: str, tmp_path: Path) -> None:
    child, claim, proof = certified(name, tmp_path)
    nodes = [node for goal in proof["goals"] for tree in goal for node in tree]
    assert {node[0] for node in nodes} <= {"leaf", "case"}, "no part of the network is searched"
    assert sum(node[0] == "leaf" for node in nodes) == RULES[name][2]
    assert len(canonical(proof["goals"])) < 500
    case = Case(claim, proof, {"R": child})
    assert check(tmp_path / "again", case.write(tmp_path / "again")).accepted


@pytest.mark.parametrize("name", ["oblique", "two rows", "strict"])
def test_another_vector_or_a_larger_premise_is_refused(name: str, tmp_path: Path) -> None:
    child, claim, proof = certified(name, tmp_path)
    refused = 0
    for place, change in enumerate(("weight", "step", "premise", "premise", "level")):
        forged = Case(copy.deepcopy(claim), copy.deepcopy(proof), {"R": child})
        leaf = next(n for goal in forged.proof["goals"] for tree in goal for n in tree if n[0] == "leaf" and any(n[4:]))
        if change == "weight" and leaf[4]:
            leaf[4][0][3][0][2][1] += 2
        elif change == "step":
            del leaf[4][:1]
        elif change == "premise":
            for clause in forged.claim["clauses"]:
                form = clause[0]["affine"]
                form["constant"] = str(Fraction(form["constant"]) + Fraction(place))
        else:
            form = forged.claim["goals"][0][0]["affine"]
            form["constant"] = str(Fraction(form["constant"]) - Fraction(1, 1 << 18))
        (report,) = check(tmp_path / str(place), forged.rebind().write(tmp_path / str(place))).claims
        if report.verdict == "proved":
            assert counterexample(forged.claim, forged.artifacts) is None, change
        refused += report.verdict == "refused"
    assert refused >= 3


def test_patches_of_several_rules_lie_on_each_other_and_each_rule_is_certified(tmp_path: Path) -> None:
    data(tmp_path, 2)
    rules = (
        "must low:\n  forall s: S given s.x <= 4 [m] and s.on\n  expect R(s) <= -1\n"
        "must lower:\n  forall s: S given s.x / 7 [m] + s.y / 3 [m] <= 0.2 or s.y >= 0.4 [m]\n  expect R(s) <= -2\n"
    )
    spec = spec_of(rules, tmp_path)
    parent = replace(random_mlp(np.random.default_rng(2), TYPE, (6, 6)), records=(RewardRecord("s", TYPE),))
    child = rw.patch(spec, RING, verify_options=OPTIONS, R=parent).artifact
    assert child is not None
    assert len(child.patches) >= 3
    rw.certify(rw.verify(spec, OPTIONS, R=child), tmp_path / "certificate")
    rw.save_reward(child, tmp_path / "child.rwz")
    report = check(tmp_path / "certificate", {"R": tmp_path / "child.rwz"})
    assert report.accepted, report
    assert sum(claim.leaves for claim in report.claims) <= 4


def test_a_premise_with_coefficients_that_binary64_does_not_hold(tmp_path: Path) -> None:
    """A premise may be written with 1e-380: the multiple that shows that the region covers it is as large."""
    text = "spec t v1\n\nfeatures S {\n  x : real in -1 .. 1\n  y : real in -1 .. 1\n}\nreward R(s: S)\n\nmust cap:\n"
    premise = "  forall s: S\n  given 1e-310 * s.x + 1e-310 * s.y >= 0\n  expect R(s) <= -49\n"
    spec = parse_spec(text + premise)
    base = replace(network(2), records=(RewardRecord("s", spec.features["S"]),))
    capped = patched(base, [[-1.0, -1.0]], [0.0], -50.0, 4.0)
    child = replace(capped, tensors={**capped.tensors, "p.delta": np.array([0.125], dtype=np.float32)})
    claim = bind(spec, "cap", {"R": child})
    trees = by_patches(claim, {"R": child}, compile_program(claim, {"R": child}))
    assert trees is not None
    assert [node[0] for node in trees[0]] == ["leaf"]
    head = {"format": "rewarden-proof", "format_version": 1, "claim": claim_digest(claim)}
    proof = {**head, "witness": {"box": 0, "point": ["0", "0"]}, "goals": [trees]}
    case = Case(claim_object(claim), proof, {"R": child})
    assert check(tmp_path / "c", case.write(tmp_path / "c")).accepted
