"""Certificates about rewards that are patched near data: which patches act in a box is decided by the kernel.

Tables here are of eighths, so that boxes touch gates and regions exactly. The prover's `over_box` and the artifact's
own evaluation judge the kernel's programs; forged claims, proofs and tables are judged by a search for a point.
"""

from __future__ import annotations

import copy
import random
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import rewarden as rw
from rewarden.certificate import kernel_near
from rewarden.certificate.check import check
from rewarden.certificate.kernel_claim import read_claim
from rewarden.certificate.kernel_json import Refused, canonical
from rewarden.certificate.kernel_program import Affine, evaluate, inline
from rewarden.reward.artifact import Artifact
from rewarden.reward.exact import evaluate as evaluate_artifact
from rewarden.reward.graph import Patch
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.claim_json import claim_object, load_claim
from rewarden.verifier.inline import compile_program
from rewarden.verifier.scribe.near import over_box, written_near
from rewarden.verifier.unwritten import Unwritten
from tests.differential.test_kernel_vs_program import dense, dense_prover, loaded, two_call_claim
from tests.reference.certificates import Case, affine, atom, claim, counterexample, network, rational
from tests.reference.mutations import CLAIM, PROOF
from tests.reference.random_graphs import seeds
from tests.unit.test_mend_near import OPTIONS, RING, data, reward, spec_of

LEVEL = -2.0


def near(base: Artifact, centres: np.ndarray, kind: str = "ceiling", level: float = LEVEL) -> Artifact:
    """A patch on the boxes of half width 1/2 around the centres, gates at 1 from each: rows ±x, offsets in eighths."""
    n = centres.shape[1]
    rows = np.concatenate((np.eye(n), -np.eye(n)))
    offsets = np.concatenate((centres, -centres), axis=1) + 0.5
    number = len(base.patches)
    values = {"rows": rows, "offsets": offsets, "level": [level], "slope": [4.0], "delta": [0.125], "gate": [0.5]}
    tensors = {f"t{number}.{name}": np.asarray(v, dtype=np.float32) for name, v in values.items()}
    patch = Patch(kind=kind, rule="rule", **{name: f"t{number}.{name}" for name in values})
    return replace(base, tensors={**base.tensors, **tensors}, patches=(*base.patches, patch))


def centres(rng: np.random.Generator, count: int, width: int = 2) -> np.ndarray:
    return rng.integers(-16, 17, (count, width)) / 8


# ── the program of a box ───────────────────────────────────────────────────────────────────────
@given(seeds)
@settings(max_examples=40, deadline=None)
def test_the_layers_are_those_of_the_prover_and_of_the_artifact(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    rng, folder = np.random.default_rng(seed), tmp_path_factory.mktemp("artifacts")
    kinds = ["ceiling", "floor"]
    first = near(network(seed % 50), centres(rng, int(rng.integers(1, 30))), str(rng.choice(kinds)), 0.25)
    second = near(first if rng.random() < 0.5 else network(seed % 50), centres(rng, 8), str(rng.choice(kinds)))
    rewards = {"Base": first, "R": second}
    made = two_call_claim(rng, rewards, bool(rng.random() < 0.5))
    sides = rng.integers(-24, 25, (3, 3, 2)) / 8
    boxes = tuple(tuple((Fraction(min(s)), Fraction(max(s))) for s in box) for box in sides.tolist())
    made = replace(made, boxes=boxes)
    read = read_claim(claim_object(made))
    programs = inline(len(read.names), [(loaded(rewards[name], folder), args) for name, args in read.calls])
    for number in rng.permutation(len(boxes)).tolist():
        mine = programs.over(read.boxes[number])
        theirs = compile_program(*over_box(made, number, rewards))
        assert tuple(mine.outputs) == theirs.outputs
        assert len(mine.layers) == len(theirs.layers)
        for layer, expected in zip(mine.layers, theirs.layers, strict=True):
            assert layer.kind == expected.kind
            assert dense(layer) == dense_prover(expected)
        for _ in range(6):
            where = rng.integers(0, 9, 3).tolist()
            x = [lo + (hi - lo) * Fraction(t, 8) for t, (lo, hi) in zip(where, boxes[number], strict=True)]
            assert evaluate(mine, x) == [
                evaluate_artifact(
                    rewards[call.reward],
                    [a.constant + sum((c * x[k] for k, c in a.variables), Fraction(0)) for a in call.arguments],
                )
                for call in made.calls
            ]


def test_a_patch_whose_gate_a_box_just_touches_is_left_out_and_one_eighth_nearer_is_not(tmp_path: Path) -> None:
    reward = loaded(near(network(1), np.array([[0.0, 0.0], [1.0, 0.0]])), tmp_path)
    plain = ((0, 1),), ((1, 1),)
    calls = [(reward, tuple(Affine(0, v, (), 1) for v in plain))]

    def patches(low: Fraction, high: Fraction) -> int:
        program = inline(2, calls).over(((low, high), (Fraction(0), Fraction(0))))
        return sum(layer.kind == "gated" for layer in program.layers)

    assert patches(Fraction(2), Fraction(3)) == 0
    assert patches(Fraction(15, 8), Fraction(3)) == 1
    assert patches(Fraction(1), Fraction(1)) == 1
    assert patches(Fraction(7, 8), Fraction(1)) == 2


TOO_MUCH = "there are too many boxes, or too long a premise, for so large a table of patches"


def test_the_work_of_choosing_patches_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = proved(3)
    monkeypatch.setattr(kernel_near, "MAX_WORK", 50)
    (report,) = check(tmp_path / "c", case.write(tmp_path / "c")).claims
    assert (report.verdict, report.reason) == ("refused", TOO_MUCH)


def test_rules_near_data_that_are_mended_are_certified_at_a_few_bytes_a_row(tmp_path: Path) -> None:
    data(tmp_path, 120)
    spec = spec_of("must r:\n  forall s: S near bad within 1 %\n  expect R(s) <= quantile(R(bad), 1/2)\n", tmp_path)
    child = rw.patch(spec, RING, verify_options=OPTIONS, R=reward()).artifact
    assert child is not None
    result = rw.verify(spec, OPTIONS, R=child)
    assert result.rules[0].reason.endswith("; the proof can be certified.")
    rw.certify(result, tmp_path / "certificate")
    rw.save_reward(child, tmp_path / "child.rwz")
    report = check(tmp_path / "certificate", {"R": tmp_path / "child.rwz"})
    assert report.accepted, report
    assert report.claims[0].leaves >= 100
    assert (tmp_path / "certificate" / "proofs" / "r.json").stat().st_size < 80 * report.claims[0].leaves
    rw.save_reward(reward(), tmp_path / "parent.rwz")
    assert not check(tmp_path / "certificate", {"R": tmp_path / "parent.rwz"}).accepted


# ── forgeries ──────────────────────────────────────────────────────────────────────────────────
def proved(seed: int, kind: str = "ceiling") -> Case:
    """The level of a table holds on its boxes; and some box half way out is bounded by level and slope."""
    rng = np.random.default_rng(seed)
    middles = centres(rng, 6)
    pairs = zip(middles[:4].tolist(), RADII, strict=True)
    artifact = near(network(seed), middles, kind, LEVEL if kind == "ceiling" else -LEVEL)
    boxes = [[(Fraction(c) - r, Fraction(c) + r) for c in middle] for middle, r in pairs]
    sign = -1 if kind == "ceiling" else 1
    goal = [atom(affine(-2 + Fraction(1, 4), calls={0: sign}))]
    stated = claim({"R": artifact.digest}, [("R", (0, 1))], [goal], boxes)
    case = Case(stated, None, {"R": artifact})
    made: Claim = load_claim(canonical(stated))
    found = written_near(made, case.artifacts, Unwritten(10), lambda: False)
    assert not isinstance(found, str), found
    point = [rational(lo) for lo, _ in boxes[0]]
    case.proof = {**found, "witness": {"box": 0, "point": point}}
    return case.rebind()


RADII = (Fraction(1, 2), Fraction(1, 2), Fraction(1, 4), Fraction(9, 16))


@pytest.fixture(scope="module", params=[(3, "ceiling"), (5, "floor")])
def case(request: pytest.FixtureRequest) -> Case:
    return proved(*request.param)


def moved(rng: random.Random, forged: Case) -> None:
    """A patch of the table elsewhere, turned away, or with another level, gate or slope."""
    artifact = forged.artifacts["R"]
    (patch,) = artifact.patches
    name = getattr(patch, rng.choice(["offsets", "offsets", "rows", "level", "gate", "delta", "slope"]))
    tensor = artifact.tensors[name].copy()
    tensor.reshape(-1)[rng.randrange(tensor.size)] += np.float32(rng.choice([-2, -1, -0.5, 0.5, 1, 2]))
    tensor = np.abs(tensor) if name in (patch.delta, patch.slope) else tensor
    forged.artifacts["R"] = replace(artifact, tensors={**artifact.tensors, name: tensor})


def lost(rng: random.Random, forged: Case) -> None:
    """A row of the table is missing, or there twice, or two are exchanged."""
    artifact = forged.artifacts["R"]
    (patch,) = artifact.patches
    offsets = artifact.tensors[patch.offsets]
    at = rng.randrange(len(offsets))
    done = {0: np.delete(offsets, at, axis=0), 1: np.concatenate((offsets, offsets[:at])), 2: np.roll(offsets, 1, 0)}
    forged.artifacts["R"] = replace(artifact, tensors={**artifact.tensors, patch.offsets: done[rng.randrange(3)]})


def exchanged(rng: random.Random, forged: Case) -> None:
    """The tree of one box for another."""
    trees = rng.choice(forged.proof["goals"])
    a, b = rng.randrange(len(trees)), rng.randrange(len(trees))
    trees[a], trees[b] = trees[b], copy.deepcopy(trees[a])


def stretched(rng: random.Random, forged: Case) -> None:
    """A box of the claim moved, or wider on one side."""
    side = rng.choice(rng.choice(forged.claim["boxes"]))
    by = Fraction(rng.choice([1, 2, 4, 8]), 8)
    shift: tuple[Fraction | int, Fraction | int] = rng.choice(
        [(0, by), (-by, 0), (by, by), (-by, -by), (0, Fraction(1, 1 << 20))]
    )
    side[:] = [rational(Fraction(end) + d) for end, d in zip(side, shift, strict=True)]


def sharper(rng: random.Random, forged: Case) -> None:
    form = forged.claim["goals"][0][0]["affine"]
    form["constant"] = rational(Fraction(form["constant"]) - Fraction(1, 1 << rng.randrange(0, 24)))


OWN = (moved, lost, exchanged, stretched, sharper)


def attack(case: Case, seed: int, folder: Path) -> str:
    rng, forged = random.Random(seed), case.copy()
    chosen = [rng.choice(OWN) for _ in range(rng.choice([1, 1, 2, 3]))]
    chosen += [rng.choice((*PROOF, *CLAIM)) for _ in range(rng.choice([0, 0, 1]))]
    for mutate in chosen:
        with suppress(IndexError, KeyError, TypeError, ValueError):  # an earlier change left nothing to change here
            mutate(rng, forged)
    paths = forged.rebind().write(folder / str(seed))
    if [c.verdict for c in check(folder / str(seed), paths).claims] != ["proved"]:
        return "refused"
    found = counterexample(forged.claim, forged.artifacts)
    assert found is None, f"accepted, and false at {found}: seed {seed}, {[m.__name__ for m in chosen]}"
    return "accepted"


def test_the_unchanged_proof_is_accepted_in_every_box(case: Case, tmp_path: Path) -> None:
    report = check(tmp_path / "c", case.write(tmp_path / "c"))
    assert report.accepted, report
    assert counterexample(case.claim, case.artifacts) is None


def test_no_forgery_is_accepted_for_a_false_claim(case: Case, tmp_path: Path) -> None:
    outcomes = Counter(attack(case, seed, tmp_path) for seed in range(60))
    assert outcomes["refused"] > 20, outcomes
    assert outcomes["accepted"] > 3, outcomes


@pytest.mark.slow
def test_no_forgery_in_hundreds(case: Case, tmp_path: Path) -> None:
    for seed in range(1000, 1800):
        attack(case, seed, tmp_path)


def test_a_box_that_no_patch_covers_any_more_is_refused(case: Case, tmp_path: Path) -> None:
    """Each of the boxes in turn loses its patch; every digest is mended."""
    for box in range(3):
        forged = case.copy()
        artifact = forged.artifacts["R"]
        (patch,) = artifact.patches
        offsets = np.delete(artifact.tensors[patch.offsets], box, axis=0)
        forged.artifacts["R"] = replace(artifact, tensors={**artifact.tensors, patch.offsets: offsets})
        (report,) = check(tmp_path / str(box), forged.rebind().write(tmp_path / str(box))).claims
        false = counterexample(forged.claim, forged.artifacts) is not None
        assert report.verdict == "refused" or not false


def test_a_table_that_is_no_table_is_refused(case: Case, tmp_path: Path) -> None:
    artifact = case.artifacts["R"]
    (patch,) = artifact.patches
    offsets = artifact.tensors[patch.offsets]
    for k, wrong in enumerate((offsets[:, :-1], offsets.T[:, :4].copy(), offsets[0][:3])):
        forged = case.copy()
        with suppress(Exception):
            forged.artifacts["R"] = replace(artifact, tensors={**artifact.tensors, patch.offsets: wrong})
            report = check(tmp_path / str(k), forged.rebind().write(tmp_path / str(k)))
            assert [c.verdict for c in report.claims] == ["refused"]
    with pytest.raises(Refused):
        inline(1, [(loaded(artifact, tmp_path), ())]).over(((Fraction(0), Fraction(1)),))


def beyond_with(clauses: int, boxes: int, dense: bool = True) -> Case:
    """A proof that says `beyond` of a claim with so many clauses, about a reward patched on so many boxes. It shows
    nothing, and what it costs to find that out is decided by whoever writes it."""
    rng = np.random.default_rng(5)
    artifact = near(network(3), np.round(rng.uniform(-1, 1, (boxes, 2)) * 64) / 64)
    terms = {0: 1, 1: 2} if dense else {0: 1}
    premise = [[atom(affine(Fraction(k, 1 << 20), terms)) for _ in range(2)] for k in range(clauses)]
    ((goal,),) = ([[atom(affine(10))]],)
    said = claim({"R": ""}, [("R", [0, 1])], [[goal[0]]], [[(-8, 8), (-8, 8)]], clauses=premise)
    witness = {"box": 0, "point": ["1", "1"]}
    proof = {
        "format": "rewarden-proof",
        "format_version": 1,
        "claim": "",
        "witness": witness,
        "goals": [[[]]],
        "beyond": True,
    }
    return Case(said, proof, {"R": artifact}).rebind()


@pytest.mark.parametrize("dense", [True, False])
def test_the_work_of_premises_that_open_patches_is_bounded(
    dense: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patches times atoms: a premise that nobody would write, against a table, is refused before it is gone through."""
    case = beyond_with(200, 40, dense)
    counted: list[int] = []
    spend = kernel_near.Near.spend
    monkeypatch.setattr(kernel_near.Near, "spend", lambda near, work: (counted.append(work), spend(near, work))[1])
    (report,) = check(tmp_path / "whole", case.write(tmp_path / "whole")).claims
    assert report.reason != TOO_MUCH
    assert sum(counted) > 200 * 2 * 40, "each atom is held against each patch"
    limit, largest = sum(counted) // 2, max(counted)
    counted.clear()
    monkeypatch.setattr(kernel_near, "MAX_WORK", limit)
    (report,) = check(tmp_path / "c", case.write(tmp_path / "c")).claims
    assert (report.verdict, report.reason) == ("refused", TOO_MUCH)
    assert sum(counted) <= limit + largest
