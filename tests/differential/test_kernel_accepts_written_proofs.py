"""Proofs written after the fact, of what cells, neurons, linear programs and z3 have proved: the kernel accepts every
one of them, and a verdict without one says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import rewarden as rw
from rewarden.certificate.kernel_claim import read_claim
from rewarden.certificate.kernel_json import Refused
from rewarden.certificate.kernel_proof import Leaf as Branch
from rewarden.certificate.kernel_proof import check_leaf, check_leaves, leaves
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.assembly import Assembly
from rewarden.reward.deployed import forward
from rewarden.reward.graph import AffineMap, Graph, Input, Relu
from rewarden.spec_lang.claim import Affine, AffineAtom, Claim
from rewarden.spec_lang.claim_json import claim_digest, claim_object
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.spec import parse_spec
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.program import Program
from rewarden.verifier.scribe import writer
from rewarden.verifier.scribe.exact import holds
from rewarden.verifier.scribe.late import with_proof
from rewarden.verifier.scribe.leaves import Subject, attempt
from rewarden.verifier.scribe.mirror import Mirror
from rewarden.verifier.scribe.swift import Swift
from rewarden.verifier.trail import Trail
from rewarden.verifier.unwritten import Unwritten
from rewarden.verifier.verdict import CERTIFIABLE, Verdict
from tests.differential.test_kernel_accepts_proofs import judged
from tests.differential.test_kernel_vs_program import kernel_program
from tests.reference.cart import PROVED, write_reward, write_spec
from tests.reference.certificates import network, schema
from tests.reference.how_many import ALL
from tests.reference.random_claims import atom, plain_claim, random_claim
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact, random_mlp
from tests.reference.tiny_networks import tiny_claim, truth_of
from tests.soundness.test_smooth_programs import claim_about
from tests.unit.test_decision import SUM

BUDGETS = {"cells": 2000, "neurons": 400, "lp": 100, "z3": 0}


def options(engine: str) -> VerifyOptions:
    return VerifyOptions(engine=engine, budget=BUDGETS[engine], falsify_budget=300, z3_rlimit=300_000)


def told(claim: Claim, rewards, engine: str, folder) -> str:
    """`written` and accepted, `bare`, or the verdict."""
    result = verify_claim(claim, rewards, options(engine))
    if result.verdict is not Verdict.PROVED:
        return str(result.verdict)
    assert isinstance(result.proof, Unwritten)
    assert isinstance(result.proof.trail, Trail) == (engine == "cells")
    result = with_proof(result, rewards)
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
    for seed in range(10 if ALL else 7):
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


@pytest.mark.parametrize("seed", [32, 33])
def test_below_signs_leaves_are_what_the_kernel_bounds(seed: int, tmp_path: Path) -> None:
    """Six layers: what intervals say of neurons above those that are held has to be what the kernel's say, or what a
    step of the leaf asks for. (It was not, and these two were refused.)"""
    rewards = {"R": network(seed, 2, (8,) * 6)}
    box = plain_claim(TWO_REALS, rewards, goals=[(atom(0, {}, {0: 1}),)]).boxes[0]
    points = [np.random.default_rng(1 + k).uniform(float(lo), float(hi), 20_000) for k, (lo, hi) in enumerate(box)]
    values = forward(rewards["R"], np.stack(points, 1).astype(np.float32))
    level = Fraction(round(1000 * float(values.max() + 0.02 * (values.max() - values.min()))), 1000)
    claim = plain_claim(TWO_REALS, rewards, goals=[(AffineAtom(Affine(level, (), ((0, Fraction(-1)),)), False),)])
    assert told(claim, rewards, "cells", tmp_path) == "with signs"


@pytest.mark.parametrize("engine", BUDGETS)
def test_what_an_engine_proves_can_be_certified(engine: str, tmp_path: Path) -> None:
    spec_file = write_spec(tmp_path, PROVED)
    spec, reward = rw.load_spec(spec_file), rw.load_reward(write_reward(tmp_path, spec_file))
    result = rw.verify(spec, options(engine), R=reward)
    assert [(rule.verdict, rule.engine) for rule in result.rules] == [(Verdict.PROVED, engine)]
    rw.certify(result, out=tmp_path / "certificate")
    assert rw.check_certificate(tmp_path / "certificate", reward=reward, spec=spec).accepted


def just_out_of_reach(seed: int, share: float) -> tuple[Claim, dict, list[object] | None]:
    """A level between what default lines reach and what is true, and the leaf of chosen lines that reaches it."""
    rewards = {"R": network(seed, 2, (8, 8, 8))}

    def about(level: Fraction) -> tuple[Claim, Mirror, Subject]:
        goal = AffineAtom(Affine(-level, (), ((0, Fraction(1)),)), False)
        claim = plain_claim(TWO_REALS, rewards, goals=[(goal,)])
        mirror = Mirror.of(compile_program(claim, rewards))
        assert mirror is not None
        return claim, mirror, Subject.of(mirror, claim, 0, ())

    claim, mirror, subject = about(Fraction(0))
    lo, hi = (torch.tensor([[float(ends[i]) for ends in claim.boxes[0]]], dtype=torch.float64) for i in (0, 1))
    with torch.no_grad():
        reached = float(mirror.lower(mirror.known(lo, hi, {}, deep=True), subject.rows).bound)
        share_of = torch.rand(2000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        least = float(mirror.values(lo + (hi - lo) * share_of, subject.rows).min())
        claim, mirror, subject = about(Fraction(reached + share * (least - reached)))
        return claim, rewards, attempt(mirror, subject, lo, hi, {}, exactly=True).leaves[0]


@pytest.mark.parametrize("seed", [7, 10, 11])
def test_chosen_lines_are_for_the_sum_alone(seed: int, tmp_path: Path) -> None:
    """The kernel bounds layers when they are first read: lines that are chosen before that move those bounds, too."""
    claim, rewards, leaf = just_out_of_reach(seed, 0.1 if seed == 10 else 0.3)
    assert leaf is not None
    assert isinstance(leaf[4], list)
    assert any(len(step) == 3 for step in leaf[4]), "no lines were needed"
    point = [str(lo) for lo, _ in claim.boxes[0]]
    proof = {
        "format": "rewarden-proof",
        "format_version": 1,
        "claim": claim_digest(claim),
        "witness": {"box": 0, "point": point},
        "goals": [[[leaf]]],
    }
    report = judged(tmp_path / "certificate", claim, rewards, proof)
    assert report.claims[0].verdict == "proved", report.claims[0].reason


@pytest.mark.parametrize("seed", [4, 19])
def test_the_kernel_bounds_branches_by_the_same_lines(seed: int, tmp_path: Path) -> None:
    """Patches, and neurons held to any sign, also to one that they cannot have: bounds cross, or leave 0 alone."""
    rng = np.random.default_rng(seed)
    rewards = {"R": random_mlp(rng, TWO_REALS, (5, 4), patches=2)}

    def about(level: Fraction) -> tuple[Claim, Program, Mirror, Subject]:
        goal = AffineAtom(Affine(-level, (), ((0, Fraction(1)),)), False)
        claim = plain_claim(TWO_REALS, rewards, goals=[(goal,)])
        program = compile_program(claim, rewards)
        mirror = Mirror.of(program)
        assert mirror is not None
        return claim, program, mirror, Subject.of(mirror, claim, 0, ())

    claim, _, mirror, subject = about(Fraction(0))
    neurons = [(k, j) for k in mirror.relus for j in range(len(mirror.layers[k].bias))]
    found = 0
    for _ in range(8):
        signs = tuple((*neurons[i], int(rng.integers(2))) for i in rng.permutation(len(neurons))[:3])
        shares = [sorted(Fraction(int(s), 16) for s in rng.integers(17, size=2)) for _ in claim.variables]
        ends = zip(claim.boxes[0], shares, strict=True)
        box = tuple((lo + (hi - lo) * a, lo + (hi - lo) * b) for (lo, hi), (a, b) in ends)
        low, high = (torch.tensor([[float(side[i]) for side in box]], dtype=torch.float64) for i in (0, 1))
        held: dict[int, torch.Tensor] = {}
        for k, j, side in signs:
            held.setdefault(k, torch.zeros(1, len(mirror.layers[k].bias), dtype=torch.int8))[0, j] = 1 - 2 * side
        with torch.no_grad():
            level = Fraction(float(mirror.lower(mirror.known(low, high, held, deep=True), subject.rows).bound))
        for spare in (Fraction(0), Fraction(1, 1000)):
            told, program, _, rows = about(level - spare)
            with torch.no_grad():
                tried = attempt(mirror, rows, low, high, held, exactly=True)
            close = [leaf for leaf in tried.close.get(0, []) if holds(program, 0, box, signs, leaf)]
            kernel, claimed = kernel_program(told, rewards, tmp_path), read_claim(claim_object(told))
            for leaf in close if tried.leaves[0] is None else [tried.leaves[0]]:
                sides = (tuple(side[i] for side in box) for i in (0, 1))
                check_leaf(claimed, kernel, Branch(0, 0, claimed.goals[0], *sides, (), signs, leaf[1:]))
                found += 1
    assert found


@pytest.mark.parametrize("seed", [2, 5])
def test_the_kernel_accepts_leaves_of_compiled_code(seed: int, tmp_path: Path) -> None:
    """Levels just below what is reached, two goals at once, and neurons held to any sign, also to one that they cannot
    have."""
    rng = np.random.default_rng(seed)
    rewards = {"R": random_mlp(rng, TWO_REALS, (5, 4))}

    def about(level: Fraction) -> tuple[Claim, Swift]:
        goals = [(AffineAtom(Affine(-level - more, (), ((0, Fraction(1)),)), False),) for more in (0, 50)]
        claim = plain_claim(TWO_REALS, rewards, goals=goals)
        found = Swift.of(compile_program(claim, rewards))
        assert found is not None
        return claim, found

    claim, swift = about(Fraction(0))
    neurons = [(k, j) for q, k in enumerate(swift.layers) if q for j in range(int(swift.at.net.graph[q, 0]))]
    kinds: Counter[str] = Counter()
    for _ in range(12):
        signs = tuple((*neurons[i], int(rng.integers(2))) for i in rng.permutation(len(neurons))[: rng.integers(4)])
        shares = [sorted(Fraction(int(s), 16) for s in rng.integers(17, size=2)) for _ in claim.variables]
        ends = zip(claim.boxes[0], shares, strict=True)
        box = tuple((lo + (hi - lo) * a, lo + (hi - lo) * b) for (lo, hi), (a, b) in ends)
        floats = np.array([[(float(lo), float(hi)) for lo, hi in box]])
        low, high = Fraction(-1000), Fraction(1000)  # the highest level that is reached, from below
        for _ in range(30):
            level = (low + high) / 2
            reached = about(level)[1].attempt(floats, [signs], [[(0, ()), (1, ())]], [6, 6])[0].leaf is not None
            low, high = (level, high) if reached else (low, level)
        told, found = about(low)
        kernel, claimed = kernel_program(told, rewards, tmp_path), read_claim(claim_object(told))
        for goal, answer in enumerate(found.attempt(floats, [signs], [[(0, ()), (1, ())]], [6, 6])):
            kinds["open"] += answer.leaf is None
            if answer.leaf is not None:
                sides = (tuple(side[i] for side in box) for i in (0, 1))
                check_leaf(claimed, kernel, Branch(goal, 0, claimed.goals[goal], *sides, (), signs, answer.leaf[1:]))
                kinds["weighed" if answer.leaf[2] or answer.leaf[4] else "plain"] += 1
    assert min(kinds["open"], kinds["weighed"]) > 0, kinds


def test_a_neuron_that_is_0_has_the_line_of_the_kernel(tmp_path: Path) -> None:
    """max(y, 0) of y in 0 … 2, held to y <= 0: both bounds are 0 and the line is y, which is up to 2 in the box."""
    numbers = {"w": [[0, 1]], "v": [[-1]], "b": [0]}
    tensors = {name: np.array(values, np.float32) for name, values in numbers.items()}
    graph = Graph((Input(), AffineMap(0, "w", "b"), Relu(1), AffineMap(2, "v", "b")), 3)
    rewards = {"R": Artifact((RewardRecord("s", TWO_REALS),), graph, tensors, "exact")}
    claim = plain_claim(TWO_REALS, rewards, goals=[(AffineAtom(Affine(Fraction(0), (), ((0, Fraction(1)),)), False),)])
    program = compile_program(claim, rewards)
    (relu,) = (k for k, layer in enumerate(program.layers) if layer.kind == "relu")
    signs, (low, high) = ((relu, 0, 1),), zip(*claim.boxes[0], strict=True)
    kernel, claimed = kernel_program(claim, rewards, tmp_path), read_claim(claim_object(claim))
    bare, multiple = ["leaf", 0, [], [], []], ["leaf", 0, [[relu, 0, 1, [1, 0]]], [], []]
    assert not holds(program, 0, claim.boxes[0], signs, bare)
    with pytest.raises(Refused):
        check_leaf(claimed, kernel, Branch(0, 0, claimed.goals[0], low, high, (), signs, bare[1:]))
    assert holds(program, 0, claim.boxes[0], signs, multiple)
    check_leaf(claimed, kernel, Branch(0, 0, claimed.goals[0], low, high, (), signs, multiple[1:]))


def test_a_rule_with_nothing_to_spare_has_a_proof(tmp_path: Path) -> None:
    """|x| + |y| >= x + y, equal on a quadrant: floats cannot tell, and rationals can."""
    rewards = {"R": SUM}
    goal = (atom(0, {0: -1, 1: -1}, {0: 1}),)
    claim = plain_claim(TWO_REALS, rewards, goals=[goal])
    result = with_proof(verify_claim(claim, rewards, options("lp")), rewards)
    assert isinstance(result.proof, Mapping), result.reason
    assert judged(tmp_path / "certificate", claim, rewards, result.proof).accepted


def test_a_proof_that_is_not_found_is_told_of() -> None:
    """Where the budget is spent first, the verdict stays and says that there is none."""
    rewards = {"R": SUM}
    claim = plain_claim(TWO_REALS, rewards, goals=[(atom(0, {0: -1, 1: -1}, {0: 1}),)])
    result = verify_claim(claim, rewards, options("lp"))
    told = with_proof(result, rewards, stop=lambda: True)
    assert (told.verdict, told.proof) == (Verdict.PROVED, None)
    assert "no proof to certify" in told.reason
    assert with_proof(told, rewards) is told


def test_rationals_are_tried_no_longer_than_a_program_of_its_size_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each leaf that is judged exactly costs the square of the program's neurons: four thousand of them, seconds."""
    rewards = {"R": SUM}
    claim = plain_claim(TWO_REALS, rewards, goals=[(atom(0, {0: -1, 1: -1}, {0: 1}),)])
    rows = sum(layer.rows for layer in compile_program(claim, rewards).layers)
    judged_leaves: list[object] = []
    monkeypatch.setattr(writer, "holds", lambda *given: judged_leaves.append(given) is not None)
    monkeypatch.setattr(writer, "EXACT_WORK", 3 * rows**2)
    told = with_proof(verify_claim(claim, rewards, options("lp")), rewards)
    assert (told.verdict, told.proof, len(judged_leaves)) == (Verdict.PROVED, None, 3)
    assert "nothing to spare" in told.reason


def test_a_neuron_that_is_stable_but_for_rounding_takes_no_slope() -> None:
    """The kernel may find that it is stable, and then it has the line of such neurons whatever a leaf names."""
    build = Assembly(1)
    done = build.finish(build.relu(0))
    artifact = Artifact((RewardRecord("s", schema(1)),), done.graph, done.tensors, "exact")
    mirror = Mirror.of(compile_program(claim_about(artifact, ((Fraction(-1), Fraction(1)),)), {"r": artifact}))
    assert mirror is not None
    (k,) = mirror.relus
    low, high = (torch.tensor([[-1.0], [-1e-12], [-1.0]], dtype=torch.float64), torch.tensor([[1e-12], [1.0], [0.5]]))
    known = mirror.known(low, high.double(), {}, deep=True)
    assert known.unstable(k)[:, 0].tolist() == [True, True, True]
    assert known.surely(k)[:, 0].tolist() == [False, False, True]


def test_layers_are_bounded_before_a_premise_narrows_the_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds over what the premise leaves of a branch are others, and need not be better ones: the leaf asks for both,
    as the bounds that it was found with are of both."""
    text = (
        "spec narrow v1\nfeatures S { x: real [m] in 0 .. 10  y: real [m] in -1 .. 1  n: int in 0 .. 4  on: bool }\n"
        "reward R(s: S)\nmust r:\n  forall s: S\n  given s.x + 2 * s.y <= 3.9 [m]\n  expect R(s) >= -0.3771\n"
    )
    spec = parse_spec(text)
    record = RecordType(
        "S",
        (
            Feature("x", "real", Fraction(0), Fraction(10), "m"),
            Feature("y", "real", Fraction(-1), Fraction(1), "m"),
            Feature("n", "int", Fraction(0), Fraction(4)),
            Feature("on", "bool", Fraction(0), Fraction(1)),
        ),
    )
    made = random_mlp(np.random.default_rng(71), record, (4, 4, 4))
    rewards = {"R": replace(made, records=(RewardRecord("s", record),))}
    (result,) = rw.verify(spec, VerifyOptions(budget=3000, falsify_budget=200), rewards=rewards).rules
    assert result.verdict == "proved"
    assert result.claim is not None
    monkeypatch.setattr(writer.Swift, "of", staticmethod(lambda program: None))
    told = with_proof(replace(result, proof=Unwritten(400)), rewards)
    assert isinstance(told.proof, Mapping), told.reason
    program = kernel_program(result.claim, rewards, tmp_path)
    claimed = read_claim(claim_object(result.claim))
    check_leaves(claimed, program, leaves(claimed, told.proof["goals"]))


def test_a_slope_that_a_leaf_has_named_stays() -> None:
    """A neuron at a tie gets its slope written down, and the kernel keeps it when steps have moved the bounds."""
    build = Assembly(1)
    done = build.finish(build.relu(0))
    artifact = Artifact((RewardRecord("s", schema(1)),), done.graph, done.tensors, "exact")
    mirror = Mirror.of(compile_program(claim_about(artifact, ((Fraction(-1), Fraction(1)),)), {"r": artifact}))
    assert mirror is not None
    (k,), (low, high, later) = mirror.relus, (torch.tensor([[x]], dtype=torch.float64) for x in (-1.0, 1.0, -0.5))
    first = mirror.known(low, high, {}, deep=True)
    assert float(mirror.known(later, high, {}, deep=True).lower[k]) == 1.0
    assert float(mirror.known(later, high, {}, deep=True, before=first).lower[k]) == float(first.lower[k]) == 0.0
