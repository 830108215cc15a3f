"""The accelerated tiers: what binary64 says of a point is true of it, and no tier accepts what is false."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from rewarden.certificate import kernel_lanes, tier_float64_program
from rewarden.certificate.check import check, main
from rewarden.certificate.kernel_bounds import ROUGHLY, TOGETHER, Box
from rewarden.certificate.kernel_claim import read_claim
from rewarden.certificate.kernel_json import Refused
from rewarden.certificate.kernel_program import INPUT
from rewarden.certificate.kernel_proof import check_leaf, leaves
from rewarden.certificate.match import check_certificate
from rewarden.certificate.tier_float64_bounds import FloatBounds
from rewarden.certificate.tiers import tiers
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import AffineMap, Graph, Input, Relu
from rewarden.spec_lang.claim_json import claim_object
from rewarden.spec_lang.errors import UsageError
from tests.differential.test_kernel_vs_program import kernel_program
from tests.reference.certificates import Case, Json, affine, atom, cases, claim, counterexample, schema
from tests.reference.mutations import CLAIM, PROOF
from tests.reference.random_claims import random_claim, random_point
from tests.reference.random_graphs import TWO_REALS, random_mlp
from tests.reference.tiny_networks import tiny_claim, truth_of
from tests.soundness.test_kernel_steps import drawn, forward, known_at, proof_of_chance, value

TIERS = tiers()


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    return cases(tmp_path_factory.mktemp("cases"))


# ── bounds ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("seed", range(12))
def test_what_binary64_says_holds_at_every_point(seed: int, tmp_path: Path) -> None:
    """Several boxes at once, with slopes, signs and steps that are true at a point of each."""
    rng, made, read, program = drawn(seed, tmp_path)
    points = [random_point(rng, made) for _ in range(3)]
    known = [forward(program, point) for point in points]
    neurons = [(k, i) for k, layer in enumerate(program.layers) for i in range(len(layer.bias))]
    box = [next(b for b in read.boxes if all(lo <= x <= hi for x, (lo, hi) in zip(p, b, strict=True))) for p in points]
    boxes = [Box([lo for lo, _ in b], [hi for _, hi in b]) for b in box]
    slopes = [{n: _slope(rng, program, n) for n in neurons if rng.random() < 0.3} for _ in points]
    signs = [{(k, i, 0 if z[k][i] >= 0 else 1) for k, i in neurons if rng.random() < 0.2} for z, _ in known]
    for effort in range(3):
        bounds = FloatBounds(program, boxes, slopes, signs, effort)
        bounds.advance(len(program.layers))
        for leaf, (inner, outputs) in enumerate(known):
            for found, values in ((bounds.inner, inner), (bounds.ranges, outputs)):
                for index, (low, high) in found.items():
                    for x, lo, hi in zip(values[index], low[leaf], high[leaf], strict=True):
                        assert Fraction(float(lo)) <= x <= Fraction(float(hi))
        facts = [[(form, Fraction(sign, 3)) for form, sign in known_at(read, program, outputs)] for _, outputs in known]
        assert (bounds.least_of(facts) <= 0).all(), "facts that are true somewhere exclude every point"
        for leaf, (_, outputs) in enumerate(known):
            for form, _ in known_at(read, program, outputs):
                low = bounds.least_of([[(form, Fraction(-1))] if k == leaf else [] for k in range(len(points))])[leaf]
                assert Fraction(float(low)) <= value(form, program, outputs)
    alone = FloatBounds(program, boxes[:1], slopes[:1], signs[:1], 1)
    for _ in range(10):
        layer, neuron = neurons[int(rng.integers(len(neurons)))]
        used = [(form, Fraction(sign)) for form, sign in known_at(read, program, known[0][1]) if rng.random() < 0.4]
        where = (INPUT, int(rng.integers(len(points[0])))) if rng.random() < 0.2 else (layer, neuron)
        alone.steps([(0, *where, int(rng.integers(2)), used)])
        assert not alone.empty[0], "bounds cross, and there is a point"


def _slope(rng: np.random.Generator, program: Json, neuron: tuple[int, int]) -> int:
    return int(rng.integers(0, program.layers[neuron[0]].choices + 1))


# ── leaves ─────────────────────────────────────────────────────────────────────────────────────
def hair(step: Fraction, folder: Path, tier: str) -> str:
    """Of a net whose least value is known exactly: is it at least that, less a step?"""
    weights = [2.0**-70, -(2.0**40) - 2.0**17, 3.0]
    tensors = {"w": np.array([weights], np.float32), "b": np.array([0.1], np.float32)}
    reward = Artifact(
        (RewardRecord("s", schema(3)),), Graph((Input(), AffineMap(0, "w", "b"), Relu(1)), 1), tensors, "exact"
    )
    exact = [Fraction(float(w)) for w in tensors["w"][0]]
    least = Fraction(float(tensors["b"][0])) - sum(map(abs, exact), Fraction(0)) / 3
    third = Fraction(1, 3)
    made = claim({"R": reward.digest}, [("R", range(3))], [[atom(affine(step - least, {}, {0: 1}))]],
                 [[(-third, third)] * 3])  # fmt: skip
    proof = {"format": "rewarden-proof", "format_version": 1, "claim": "",
             "witness": {"box": 0, "point": ["0", "0", "0"]}, "goals": [[[["leaf", 0, [], [], []]]]]}  # fmt: skip
    case = Case(made, proof, {"R": reward}).rebind()
    return check(folder, case.write(folder), 1, *TIERS[tier]).claims[0].verdict


@pytest.mark.parametrize("tier", TIERS)
def test_a_claim_that_is_false_by_a_hair_is_refused_by_every_tier(tier: str, tmp_path: Path) -> None:
    for k, bits in enumerate((30, 50, 60, 200)):
        assert hair(Fraction(-1, 2**bits), tmp_path / f"a{k}", tier) == "refused"
        assert hair(Fraction(1, 2**bits), tmp_path / f"b{k}", tier) == "proved", "what binary64 misses, integers decide"
    assert hair(Fraction(0), tmp_path / "c", tier) == "proved"


@pytest.mark.parametrize("tier", TIERS)
def test_every_tier_accepts_what_the_kernel_accepts(tier: str, proved: dict[str, Case], tmp_path: Path) -> None:
    for name, case in proved.items():
        report = check(tmp_path / name, case.write(tmp_path / name), 2 if name == "pair" else 1, *TIERS[tier])
        assert report.accepted
        assert report.tier.split()[0] == tier, "a policy reads its first word"
        assert (tier in report.trusted_base) == (tier != "exact")


def test_the_answer_names_the_tier(proved: dict[str, Case], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = proved["boxes"].write(tmp_path / "c")
    for tier, (name, _) in TIERS.items():
        assert main([str(tmp_path / "c"), "--reward", str(paths["R"]), "--tier", tier, "--jobs", "2"], TIERS) == 0
        assert f"arithmetic: {name}," in capsys.readouterr().out


def test_a_whole_check_names_its_tier_too(
    proved: dict[str, Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proved["boxes"].write(tmp_path / "c")
    rewards = proved["boxes"].artifacts
    checked = check_certificate(tmp_path / "c", rewards, tier="float64")
    assert checked.kernel.accepted
    assert checked.kernel.tier == TIERS["float64"][0]
    monkeypatch.setattr("rewarden.certificate.tiers.find_spec", lambda _: None)
    with pytest.raises(UsageError, match="G55"):
        check_certificate(tmp_path / "c", rewards, tier="float64")


@pytest.mark.parametrize("tier", [t for t in TIERS if t != "exact"])
def test_mutations_are_accepted_by_no_tier_for_a_false_claim(
    tier: str, proved: dict[str, Case], tmp_path: Path
) -> None:
    mutated(tier, proved, tmp_path, range(25))


@pytest.mark.slow
@pytest.mark.parametrize("tier", [t for t in TIERS if t != "exact"])
def test_thousands_of_mutations_are_accepted_by_no_tier(tier: str, proved: dict[str, Case], tmp_path: Path) -> None:
    mutated(tier, proved, tmp_path, range(100, 2600))


def mutated(tier: str, proved: dict[str, Case], folder: Path, seeds: range) -> None:
    for seed in seeds:
        rng = random.Random(seed)
        case = proved[rng.choice(sorted(proved))].copy()
        for _ in range(rng.choice([1, 1, 2])):
            try:
                rng.choice(PROOF + CLAIM)(rng, case)
            except (IndexError, KeyError, TypeError, ValueError):  # there is nothing of that kind to change
                continue
        place = folder / str(seed)
        report = check(place, case.rebind().write(place), 1, *TIERS[tier])
        if report.claims and report.claims[0].verdict == "proved":
            assert counterexample(case.claim, case.artifacts) is None, f"seed {seed}"


def test_proofs_of_chance_prove_nothing_false_in_binary64(tmp_path: Path) -> None:
    counted: Counter[str] = Counter()
    for seed in range(24):
        made, rewards = tiny_claim(seed)
        if any(lo > hi for box in made.boxes for lo, hi in box):
            continue
        program, stated = kernel_program(made, rewards, tmp_path), claim_object(made)
        read = read_claim(stated)
        rng = random.Random(seed)
        for _ in range(20):
            trees = proof_of_chance(rng, stated, program)
            for tier, (_, some) in TIERS.items():
                try:
                    some(read, program, list(leaves(read, trees)))
                except Refused:
                    counted[f"{tier} refused"] += 1
                    continue
                counted[tier] += 1
                assert truth_of(made, rewards) != "violated", f"{tier} accepted, and false: {made}\n{trees}"
    assert counted["exact"] == counted.get("flint", counted["exact"])
    assert counted["float64"] >= counted["exact"] > 10
    assert counted["float64 refused"] > 20


@pytest.mark.parametrize("digits", [2, kernel_lanes.COEFFICIENT])
def test_proofs_of_chance_prove_nothing_false_in_lanes(
    digits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exact tier with coefficients that are cut off early, and no other way than that."""
    monkeypatch.setattr(kernel_lanes, "COEFFICIENT", digits)
    together = mock.Mock(side_effect=kernel_lanes.Functionals)
    monkeypatch.setattr(kernel_lanes, "Functionals", together)
    counted: Counter[str] = Counter()
    for seed in range(24):
        made, rewards = tiny_claim(seed)
        if any(lo > hi for box in made.boxes for lo, hi in box):
            continue
        program, stated = kernel_program(made, rewards, tmp_path), claim_object(made)
        read = read_claim(stated)
        rng = random.Random(seed)
        for _ in range(10):
            trees = proof_of_chance(rng, stated, program)
            try:
                for leaf in leaves(read, trees):
                    check_leaf(read, program, leaf, ways=(ROUGHLY, TOGETHER))
            except Refused:
                counted["refused"] += 1
                continue
            counted["accepted"] += 1
            assert truth_of(made, rewards) != "violated", f"accepted, and false: {made}\n{trees}"
    assert counted["accepted"] > 5, counted
    assert counted["refused"] > 20, counted
    assert together.call_count > 20


def test_a_program_too_large_for_binary64_is_left_to_integers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: sparse matrices that would be dense are not made."""
    assert hair(Fraction(1, 2**30), tmp_path / "a", "float64") == "proved"
    monkeypatch.setattr(tier_float64_program, "MAX_DENSE", 2)
    monkeypatch.setattr(tier_float64_program, "_known", {})
    assert hair(Fraction(1, 2**30), tmp_path / "b", "float64") == "proved"
    assert tier_float64_program._known == {}


def test_matrices_of_many_programs_are_not_all_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that share no layers, as those of the boxes of a hostile claim: what is held stays bounded."""
    monkeypatch.setattr(tier_float64_program, "_known", {})
    monkeypatch.setattr(tier_float64_program, "_made", {})
    monkeypatch.setattr(tier_float64_program, "_entries", [0])
    monkeypatch.setattr(tier_float64_program, "MAX_DENSE", 200)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        rewards: dict[str, Artifact] = {"R": random_mlp(rng, TWO_REALS, (6, 5))}
        program = kernel_program(random_claim(rng, TWO_REALS, rewards), rewards, tmp_path)
        tier_float64_program.layers_of(program)
        held = sum(block.weights.size for _, layer in tier_float64_program._made.values() for block in layer.blocks)
        assert held == tier_float64_program._entries[0] <= 2 * 200 + sum(map(program.width, range(len(program.layers))))
