"""Proofs in pieces: what the prover writes the kernel accepts, and nothing that a search of points refutes.

The claims are about stacks of ceilings and floors on small networks. A forger leaves out other patches, marks pieces,
moves cuts and drops parts; whatever is still accepted must be true of the rewards with all their patches.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import rewarden as rw
from rewarden.certificate import kernel_pieces
from rewarden.certificate.check import check
from rewarden.certificate.kernel_artifact import Node, Tensor
from rewarden.certificate.kernel_claim import Atom
from rewarden.certificate.kernel_pieces import _gains
from rewarden.certificate.kernel_program import Affine
from rewarden.editor.mend import bounds_for
from rewarden.editor.patch import apply_patch
from rewarden.reward.artifact import Artifact
from rewarden.reward.store import save_artifact
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.claim_json import claim_digest, claims_document, shown_point
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.extremum import certified_extremum as EXTREMUM
from rewarden.verifier.inline import compile_program
from rewarden.verifier.opened import opened
from rewarden.verifier.scribe import pieces as writer
from rewarden.verifier.scribe.pieces import written_pieces
from rewarden.verifier.unwritten import Unwritten
from tests.reference.random_claims import atom, plain_claim, random_point, truth
from tests.reference.random_graphs import MIXED, TWO_REALS, random_mlp
from tests.soundness.test_certified_near import near
from tests.unit.test_mend_near import OPTIONS, RING, data, reward, spec_of
from tests.unit.test_tables import one_by_one, with_table

Proof = dict[str, object]


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that boxes are cut."""
    for name, value in (("WHOLLY", 1), ("EASY", 1), ("FEW", 0)):
        monkeypatch.setattr(writer, name, value)


def stack(rng: np.random.Generator, count: int = 5) -> Artifact:
    reward = random_mlp(rng, TWO_REALS, (3,))
    for k in range(count):
        level = float(rng.integers(-8, 9)) / 8
        reward = near(reward, rng.integers(-12, 13, (1, 2)) / 8, ("ceiling", "floor")[k % 2], level)
    return one_by_one(reward)


def bounded(rng: np.random.Generator, rewards: dict[str, Artifact], room: int = 1) -> Claim:
    """R >= what was seen, less so many eighths."""
    own = plain_claim(TWO_REALS, rewards, records=("s",))
    exact = ExactProgram(compile_program(own, rewards))
    seen = min(exact.evaluate(random_point(rng, own)).calls[0] for _ in range(200))
    level = Fraction(int(seen * 8) - room, 8)
    return replace(own, goals=((atom(constant=-level, calls={0: 1}),),))


def proof_of(claim: Claim, rewards: dict[str, Artifact], rng: np.random.Generator, **owed: bool) -> Proof:
    found = written_pieces(claim, rewards, Unwritten(20, pieces=True, **owed), lambda: False)
    assert isinstance(found, dict), found
    return {**found, **shown_point(claim, 0, random_point(rng, claim))}


def provable(rng: np.random.Generator, rewards: dict[str, Artifact]) -> tuple[Claim, Proof]:
    """A claim about what was seen, with a little room; with more, where points have missed the least value."""
    for room in (1, 4, 16):
        claim = bounded(rng, rewards, room)
        found = written_pieces(claim, rewards, Unwritten(20, pieces=True), lambda: False)
        if isinstance(found, dict):
            return claim, {**found, **shown_point(claim, 0, random_point(rng, claim))}
    raise AssertionError(found)


def judged(folder: Path, claim: Claim, rewards: dict[str, Artifact], proof: Proof, workers: int = 1) -> tuple[str, str]:
    (folder / "proofs").mkdir(parents=True)
    (folder / "claims.json").write_bytes(claims_document([claim]))
    (folder / "proofs" / "rule.json").write_text(json.dumps(proof, sort_keys=True, separators=(",", ":")))
    for name, artifact in rewards.items():
        save_artifact(artifact, folder / f"{name}.rwz")
    (report,) = check(folder, {name: folder / f"{name}.rwz" for name in rewards}, workers).claims
    return report.verdict, report.reason


def marks(proof: Proof) -> Counter[int]:
    return Counter(node[1] for cuts in proof["pieces"]["cut"] for node in cuts if node[0] == "piece")  # type: ignore[index]


@pytest.mark.parametrize("leave_out", [True, False])
def test_what_is_written_in_pieces_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leave_out: bool
) -> None:
    seen: Counter[int] = Counter()
    if not leave_out:
        monkeypatch.setattr(writer, "harmless", lambda *_: {})
    for seed in (5, 9, 21):
        rng = np.random.default_rng(seed)
        rewards = {"R": stack(rng, 7)}
        claim = bounded(rng, rewards, room=4)
        proof = proof_of(claim, rewards, rng)
        seen += marks(proof)
        assert judged(tmp_path / str(seed), claim, rewards, proof)[0] == "proved"
    assert seen[leave_out] > 1
    assert leave_out or seen[0] > 4


def test_in_several_processes_it_is_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    rewards = {"R": stack(rng)}
    claim = bounded(rng, rewards)
    assert judged(tmp_path / "c", claim, rewards, proof_of(claim, rewards, rng), workers=2)[0] == "proved"


@pytest.mark.parametrize("kind", [TWO_REALS, MIXED])
def test_patches_near_data_are_left_out_as_they_are_in_the_stack(tmp_path: Path, kind: object) -> None:
    """`R(s) <= c` where thousands of ceilings act: none of them is needed."""
    rng = np.random.default_rng(2)
    reward = with_table(random_mlp(rng, kind, (4,)), rng, 30)
    ceilings = reward.with_patches(tuple(patch for patch in reward.patches if patch.kind == "ceiling"))
    rewards = {"R": ceilings if ceilings.patches else near(random_mlp(rng, TWO_REALS, (4,)), np.zeros((9, 2)))}
    claim = plain_claim(kind if ceilings.patches else TWO_REALS, rewards, records=("s",))
    claim = replace(claim, goals=((atom(constant=100, calls={0: -1}),),))
    proof = proof_of(claim, rewards, rng)
    assert proof["pieces"] == {"cut": [[["piece", 1]]], "without": [["R", 0]]}
    assert judged(tmp_path / "c", claim, rewards, proof)[0] == "proved"


def test_beyond_what_the_premise_opens_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    reward = one_by_one(near(stack(rng, 3), np.array([[0.0, 0.0]]), "ceiling", -9.0))
    claim = bounded(rng, {"R": stack(np.random.default_rng(7), 3)}, room=8)
    away = (atom(-1, {0: 1}), atom(-1, {0: -1}))  # x >= 1 or x <= -1
    claim = replace(claim, clauses=(*claim.clauses, away), rewards=(("R", reward.digest),))
    rewards = {"R": reward}
    less = opened(claim, rewards)
    assert less is not None
    assert len(less[1]["R"].patches) < len(reward.patches)
    found = written_pieces(claim, rewards, Unwritten(20, pieces=True), lambda: False, less[1])
    assert isinstance(found, dict), found
    point = next(p for p in (random_point(rng, claim) for _ in range(999)) if truth(claim, rewards, p)[0])
    proof = {**found, **shown_point(claim, 0, point)}
    assert proof["beyond"] is True
    assert judged(tmp_path / "c", claim, rewards, proof)[0] == "proved"
    whole = {key: value for key, value in proof.items() if key != "beyond"}
    assert judged(tmp_path / "d", claim, rewards, whole)[0] == "refused"


def test_a_domain_that_ceilings_tile_is_cut_at_their_edges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every record is held at the level by some patch, and no leaf has a part for the network."""
    rng = np.random.default_rng(3)
    bare = random_mlp(rng, TWO_REALS, (3,))
    own = plain_claim(TWO_REALS, {"R": bare}, records=("s",))
    (low, high), (bottom, top) = ((float(lo), float(hi)) for lo, hi in own.boxes[0])
    middles = [(x, y) for x in np.arange(low, high + 1) for y in np.arange(bottom, top + 1)]
    rewards = {"R": one_by_one(near(bare, np.array(middles), "ceiling", -5.0))}
    claim = replace(
        own, goals=((atom(constant=-5, calls={0: -1}),),), rewards=(("R", rewards["R"].digest),)
    )  # R <= -5, which the network is far from
    monkeypatch.setattr(writer, "written", lambda *_: "nothing is to be searched")
    proof = proof_of(claim, rewards, rng)
    assert marks(proof).total() >= len(middles) / 2
    assert marks(proof)[1] == 0
    assert judged(tmp_path / "c", claim, rewards, proof)[0] == "proved"


def test_a_rule_that_patches_near_data_cannot_break_is_certified(tmp_path: Path) -> None:
    """From the spec to the certificate, which names the file that its verdict rests on."""
    data(tmp_path, 60)
    near_data = "must r:\n  forall s: S near bad within 1 %\n  expect R(s) <= quantile(R(bad), 1/2)\n"
    parent = reward()
    child, _ = apply_patch(parent, bounds_for(spec_of(near_data, tmp_path), {"R": parent}, "r", RING)[0], EXTREMUM)
    rules = "must low:\n  forall s: S\n  expect R(s) <= 10\nmust high:\n  forall s: S\n  expect R(s) >= -10\n"
    found = rw.verify(spec_of(rules, tmp_path), OPTIONS, R=child)
    save_artifact(child, tmp_path / "child")
    rw.certify(found, out=tmp_path / "certificate", near=[tmp_path])
    for tier in ("exact", "float64"):
        checked = rw.check_certificate(tmp_path / "certificate", rewards={"R": tmp_path / "child"}, tier=tier)
        assert checked.accepted
        assert all({"kernel_pieces", "kernel_near"} <= set(claim.files) for claim in checked.kernel.claims)


def forged(rng: np.random.Generator, proof: Proof, patches: int) -> Proof:
    """One change."""
    new = copy.deepcopy(proof)
    cuts, without = new["pieces"]["cut"][0], new["pieces"]["without"]  # type: ignore[index]
    at = int(rng.integers(len(cuts)))
    match int(rng.integers(6)):
        case 0:
            cuts[at] = ["piece", 1 - cuts[at][1]] if cuts[at][0] == "piece" else ["cut", cuts[at][1], "1/3"]
        case 1:
            without.append(["R", int(rng.integers(patches + 1))])
        case 2:
            new["pieces"]["without"] = [["R", k] for k in range(patches)]  # type: ignore[index]
            cuts[:] = [["piece", 1] if node[0] == "piece" else node for node in cuts]
        case 3:
            del cuts[at]
        case 4:
            trees = new["goals"][0]  # type: ignore[index]
            trees.reverse()
        case _:
            first = next(k for k, node in enumerate(cuts) if node[0] == "piece")
            cuts[:] = [cuts[first]]
            new["goals"] = [[per_goal[0]] for per_goal in new["goals"]]  # type: ignore[attr-defined]
    return new


@pytest.mark.parametrize("seed", [22, *(pytest.param(k, marks=pytest.mark.slow) for k in range(20, 60))])
def test_no_forgery_of_a_false_claim_is_accepted(tmp_path: Path, seed: int) -> None:
    """The level is moved beyond what is true; and proofs are changed."""
    rng = np.random.default_rng(seed)
    rewards = {"R": stack(rng)}
    claim, proof = provable(rng, rewards)
    for k in range(24):
        step = Fraction(int(rng.integers(0, 9)), 4)
        ((goal,),) = claim.goals
        harder = replace(goal, affine=replace(goal.affine, constant=goal.affine.constant - step))
        asked = replace(claim, goals=((harder,),))
        changed = {**forged(rng, proof, len(rewards["R"].patches)), "claim": claim_digest(asked)}
        if judged(tmp_path / str(k), asked, rewards, changed)[0] == "proved":
            assert all(truth(asked, rewards, random_point(rng, asked))[1] for _ in range(200))


def deep(kind: str = "ceiling", level: float = -4.0) -> tuple[dict[str, Artifact], Claim, Proof]:
    """A reward between −3 and 3 but where a patch acts; that it is always in there, proved without the patch."""
    rng = np.random.default_rng(5)
    bare = stack(rng, 0)
    rewards = {"R": one_by_one(near(bare, np.array([[0.0, 0.0]]), kind, level))}
    claim = plain_claim(TWO_REALS, rewards, records=("s",))
    claim = replace(claim, goals=((atom(constant=3, calls={0: 1 if kind == "ceiling" else -1}),),))
    without = replace(claim, rewards=(("R", bare.digest),))
    found = written_pieces(without, {"R": bare}, Unwritten(20, pieces=True), lambda: False)
    assert isinstance(found, dict), found
    where = {**shown_point(claim, 0, tuple(hi for _, hi in claim.boxes[0]))}
    pieces = {"cut": [[["piece", 1]]], "without": [["R", 0]]}
    return rewards, claim, {**found, **where, "claim": claim_digest(claim), "pieces": pieces}


HARMS = "patch 0 of R is left out, which may be what breaks the claim"


@pytest.mark.parametrize(("kind", "level"), [("ceiling", -4.0), ("floor", 4.0)])
def test_a_patch_that_breaks_the_claim_is_not_left_out(tmp_path: Path, kind: str, level: float) -> None:
    rewards, claim, proof = deep(kind, level)
    assert truth(claim, rewards, (Fraction(0), Fraction(0))) == (True, False)
    assert judged(tmp_path / "c", claim, rewards, proof) == ("refused", HARMS)


@pytest.mark.parametrize(("level", "strict", "verdict"), [(-3.0, False, "proved"), (-3.0, True, "refused")])
def test_at_the_very_level_it_depends_on_strictness(tmp_path: Path, level: float, strict: bool, verdict: str) -> None:
    rewards, claim, proof = deep("ceiling", level)
    ((goal,),) = claim.goals
    claim = replace(claim, goals=((replace(goal, strict=strict),),))
    assert judged(tmp_path / "c", claim, rewards, {**proof, "claim": claim_digest(claim)})[0] == verdict
    assert all(truth(claim, rewards, (Fraction(0), Fraction(0)))) == (verdict == "proved")


def test_a_cap_that_falls_with_the_distance_is_not_left_out() -> None:
    """Its level is enough, and what it caps at further out is not. No artifact of ours can say it; another's might."""
    level, rising, falling = (Tensor((1,), (x,), 1) for x in (-1, 1, -1))
    asked = Atom(Affine(3, (), ((0, 1),), 1), strict=False)  # R >= -3
    for slope, harmless in ((rising, True), (falling, False)):
        for kind, form in (("ceiling", asked.form), ("floor", asked.form._replace(constant=-3, calls=((0, -1),)))):
            patch = Node(kind, (), (level, level, level, slope, level, level))
            if kind == "floor":  # -R >= 3, of a floor at -4
                patch = patch._replace(tensors=(level, level, Tensor((1,), (-4,), 1), slope, level, level))
            assert _gains(asked._replace(form=form), patch, {0}) == harmless


def test_a_reward_of_which_the_premise_speaks_keeps_its_patches(tmp_path: Path) -> None:
    rewards, claim, proof = deep("ceiling", -2.0)
    claim = replace(claim, clauses=(*claim.clauses, (atom(constant=10, calls={0: 1}),)))
    found = judged(tmp_path / "c", claim, rewards, {**proof, "claim": claim_digest(claim)})
    assert found == ("refused", "a patch of R is left out, of which the premise speaks")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"cut": [[]]}, "there are pieces missing"),
        ({"cut": [[["piece", 1], ["piece", 1]]]}, "there are cuts left over"),
        ({"cut": [[["piece", True]]]}, "a box is cut, or a piece"),
        ({"cut": [[["leaf"]]]}, "a box is cut, or a piece"),
        ({"cut": []}, "a proof in pieces: pieces: cut must be a list of 1 entries"),
        ({"without": [["R", 1]]}, "a proof in pieces leaves out a patch that is not there"),
        ({"without": [["Q", 0]]}, "a proof in pieces: pieces: without must be one of R"),
    ],
)
def test_a_proof_in_pieces_that_is_not_in_order_is_refused(tmp_path: Path, change: dict[str, object], why: str) -> None:
    rewards, claim, proof = deep()
    proof = {**proof, "pieces": {**proof["pieces"], **change}}  # type: ignore[dict-item]
    assert judged(tmp_path / "c", claim, rewards, proof) == ("refused", why)


def test_the_witness_is_held_against_the_premise(tmp_path: Path) -> None:
    rewards, claim, proof = deep("ceiling", -2.0)
    claim = replace(claim, clauses=(*claim.clauses, (atom(-1, {0: 1}),)))  # x >= 1
    where = shown_point(claim, 0, (Fraction(0), Fraction(0)))
    found = judged(tmp_path / "c", claim, rewards, {**proof, **where, "claim": claim_digest(claim)})
    assert found[1].startswith("the witness does not satisfy the premise")
    outside = shown_point(claim, 0, (Fraction(99), Fraction(0)))
    found = judged(tmp_path / "d", claim, rewards, {**proof, **outside, "claim": claim_digest(claim)})
    assert found == ("refused", "the witness lies outside its box")


def test_what_pieces_hold_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rewards, claim, proof = deep("ceiling", -2.0)
    monkeypatch.setattr(kernel_pieces, "MAX_HELD", 0)
    assert judged(tmp_path / "c", claim, rewards, proof)[0] == "refused"
