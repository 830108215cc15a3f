"""Boxes that flat patches cover: what is settled is so at every point, nothing is missed, and no network is bounded."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings

from rewarden.reward.artifact import Artifact
from rewarden.reward.graph import Patch
from rewarden.spec_lang.claim import Claim
from rewarden.verifier.covered import Cover, cover, flats_of
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.exact_program import inside
from rewarden.verifier.narrowing import root_cell
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.pieces import roots
from rewarden.verifier.scribe.late import with_proof
from rewarden.verifier.verdict import Verdict
from tests.differential.test_kernel_accepts_proofs import judged
from tests.reference.random_claims import atom, plain_claim, random_point, truth
from tests.reference.random_graphs import MIXED, TWO_REALS, random_mlp, seeds
from tests.unit.test_tables import one_by_one, with_table

OPTIONS = VerifyOptions(budget=500, falsify_budget=500)


def tiled(bare: Artifact, parts: int, level: float, *, kind: str = "ceiling", rim: float = 0.05) -> Artifact:
    """Patches on parts × parts overlapping boxes, which together are the whole domain of two reals."""
    (x, y), tensors, patches = bare.columns, dict(bare.tensors), list(bare.patches)
    edges = [np.linspace(float(c.lo), float(c.hi), parts + 1) for c in (x, y)]
    for i, j in product(range(parts), repeat=2):
        number, rows, offsets = len(patches), [], []
        for column, k in enumerate((i, j)):
            for sign, edge in ((-1, edges[column][k] - rim), (1, edges[column][k + 1] + rim)):
                rows.append([sign * 8 * (column == 0), sign * 8 * (column == 1)])
                offsets.append(sign * 8 * edge)
        names = {p: f"tile{number}.{p}" for p in ("rows", "offsets", "level", "slope", "delta", "gate")}
        values = (rows, offsets, [level], [500.0], [2.0**-16], [1 - 2.0**-16])
        tensors |= {names[p]: np.array(v, np.float32) for p, v in zip(names, values, strict=True)}
        patches.append(Patch(kind=kind, rule="tile", **names))
    return replace(bare, tensors=tensors, patches=tuple(patches))


def at_most(level: float, reward: Artifact, kind=TWO_REALS, *, sign: int = 1) -> Claim:
    claim = plain_claim(kind, {"R": reward})
    return replace(claim, goals=((atom(constant=Fraction(sign * level), calls={0: -sign}),),))


def one_of(found: Cover, claim: Claim, point: tuple[Fraction, ...]) -> tuple[bool, bool]:
    def holds(cells) -> bool:
        return any(number == 0 and inside(box, point) for number, box, _ in cells)

    return holds(found.settled), holds(found.left)


@pytest.mark.parametrize("kind", [TWO_REALS, MIXED])
@settings(max_examples=6, deadline=None)
@given(seed=seeds)
def test_what_is_settled_is_true_and_no_point_is_lost(kind, seed):
    """Ceilings and floors on a stack, regions with slanted sides among them, and one or two goals."""
    rng = np.random.default_rng(seed)
    bare = random_mlp(rng, kind, (5, 4))
    for _ in range(3):
        bare = with_table(bare, rng, int(rng.integers(1, 6)), slanted=bool(rng.integers(2)))
    rewards = {"R": one_by_one(bare)}
    levels = [float(rewards["R"].tensors[patch.level][0]) for patch in rewards["R"].patches]
    claim = at_most(float(rng.choice(levels)) + float(rng.choice([0.0, 0.1])), rewards["R"], kind)
    if rng.random() < 0.3:
        claim = replace(claim, goals=(*claim.goals, (atom(constant=5, calls={0: 1}),)))
    low, high = claim.boxes[0][0]
    claim = replace(claim, clauses=(*claim.clauses, (atom(-(3 * low + high) / 4, {0: 1}),)))
    found, cell = cover(claim, rewards, roots(claim)), root_cell(claim, claim.boxes[0])
    assert abs(sum(share for *_, share in (*found.settled, *found.left)) - 1) < 1e-9
    corners = [tuple(ends[int(rng.integers(2))] for ends in box) for _, box, _ in (*found.settled, *found.left)[:6]]
    for point in (*(random_point(rng, claim) for _ in range(40)), *corners):
        settled, left = one_of(found, claim, point)
        assert (settled or left) == inside(cell, point)
        if settled and truth(replace(claim, goals=()), rewards, point)[0]:
            assert truth(claim, rewards, point)[1]


def test_something_is_settled_of_random_stacks():
    shares = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        rewards = {"R": one_by_one(with_table(random_mlp(rng, MIXED, (5,)), rng, 4))}
        patch = rewards["R"].patches[0]
        level, sign = float(rewards["R"].tensors[patch.level][0]), 1 if patch.kind == "ceiling" else -1
        shares.append(cover(claim := at_most(level, rewards["R"], MIXED, sign=sign), rewards, roots(claim)).share)
    assert sum(share > 0 for share in shares) >= 5


@pytest.mark.parametrize("semantics", ["real", "float32"])
@pytest.mark.parametrize("kind", ["ceiling", "floor"])
def test_a_rule_that_needs_all_its_patches_takes_no_bounds(kind, semantics):
    """Of the network, whose rewards are far beyond the level: 9 tiles left it open after minutes."""
    bare = random_mlp(np.random.default_rng(0), TWO_REALS, (8, 8))
    sign, level = (1, -50.0) if kind == "ceiling" else (-1, 50.0)
    for parts in (3, 6):
        reward = tiled(bare, parts, level, kind=kind)
        claim, options = at_most(level, reward, sign=sign), replace(OPTIONS, semantics=semantics)
        found = verify_claim(claim, {"R": reward}, options)
        assert (found.verdict, found.work.boxes) == (Verdict.PROVED, 0)
        assert found.premise_witness is not None


def test_pieces_grow_with_patches_and_not_faster():
    bare = random_mlp(np.random.default_rng(0), TWO_REALS, (4,))
    counts = []
    for parts in (4, 8, 16):
        claim = at_most(1.0, reward := tiled(bare, parts, 1.0, rim=0.01))
        found = cover(claim, {"R": reward}, roots(claim), wholly=True)
        assert found.left == ()
        counts.append(len(found.settled) / parts**2)
    assert counts[2] <= 1.5 * counts[0]
    assert counts[2] < 4


def test_one_tile_that_is_missing_is_left_and_the_violation_found():
    bare = random_mlp(np.random.default_rng(1), TWO_REALS, (8,))
    level = -40.0
    whole = tiled(bare, 5, level, rim=0.002)
    reward = whole.with_patches(whole.patches[:12] + whole.patches[13:])
    claim = at_most(level, reward)
    found = cover(claim, {"R": reward}, roots(claim))
    assert 0.02 < 1 - found.share < 0.05
    assert cover(claim, {"R": reward}, roots(claim), wholly=True).settled == ()
    told = verify_claim(claim, {"R": reward}, OPTIONS)
    assert told.verdict is Verdict.VIOLATED
    assert any(inside(box, told.witness.point) for _, box, _ in found.left)


def test_a_floor_on_top_leaves_what_it_reaches():
    bare = random_mlp(np.random.default_rng(1), TWO_REALS, (8,))
    reward = tiled(bare, 4, -40.0)
    spoiled = tiled(reward, 1, -30.0, kind="floor")
    claim = at_most(-40.0, spoiled)
    assert cover(claim, {"R": spoiled}, roots(claim)).settled == ()
    harmless = tiled(reward, 1, -41.0, kind="floor")
    assert cover(claim := at_most(-40.0, harmless), {"R": harmless}, roots(claim)).left == ()


def test_nothing_is_cut_where_no_patch_says_enough():
    reward = tiled(random_mlp(np.random.default_rng(1), TWO_REALS, (8,)), 3, 2.0)
    claim = at_most(1.0, reward)
    assert flats_of(claim, {"R": reward}, roots(claim)) is None
    assert cover(claim, {"R": reward}, roots(claim)).left == roots(claim)


def test_its_proof_is_one_that_the_kernel_accepts(tmp_path):
    reward = tiled(random_mlp(np.random.default_rng(0), TWO_REALS, (4,)), 4, -50.0)
    claim = at_most(-50.0 + 2**-10, reward)
    found = with_proof(verify_claim(claim, {"R": reward}, OPTIONS), {"R": reward})
    assert found.verdict is Verdict.PROVED
    assert judged(tmp_path, claim, {"R": reward}, found.proof).accepted
