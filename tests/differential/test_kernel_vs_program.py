"""The kernel against the prover: both written from docs/formats.md, apart, they must agree to the last integer."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.certificate.kernel_artifact import Reward, load_reward
from rewarden.certificate.kernel_bounds import ALL, OPEN, Bounds, Box, Functional
from rewarden.certificate.kernel_claim import read_claim
from rewarden.certificate.kernel_json import canonical, digest
from rewarden.certificate.kernel_patches import Gated
from rewarden.certificate.kernel_program import Layer, Program, evaluate, inline
from rewarden.reward.artifact import Artifact
from rewarden.reward.exact import evaluate as evaluate_artifact
from rewarden.reward.store import zip_bytes
from rewarden.spec_lang.claim import Affine, AffineAtom, Claim, ClaimCall, ClaimRecord, ClaimVariable
from rewarden.spec_lang.claim_json import claim_digest, claim_object, dump_claim
from rewarden.verifier.exact_bounds import ExactBounds, Leaf
from rewarden.verifier.exact_program import exact_bias
from rewarden.verifier.inline import compile_program
from rewarden.verifier.program import Layer as ProverLayer
from tests.reference.random_graphs import TWO_REALS, artifacts, random_artifact, random_mlp, seeds


def two_call_claim(rng: np.random.Generator, rewards: dict[str, Artifact], same: bool) -> Claim:
    """A claim with a call of each reward, on equal arguments or on different ones, over three variables."""
    n = 3

    def form(plain: int | None = None) -> Affine:
        if plain is not None:
            return Affine(Fraction(0), ((plain, Fraction(1)),))
        chosen = sorted(rng.choice(n, size=int(rng.integers(0, 3)), replace=False).tolist())
        return Affine(
            Fraction(int(rng.integers(-5, 6)), int(rng.integers(1, 4))),
            tuple((k, Fraction(int(rng.integers(1, 9)), int(rng.integers(1, 8)))) for k in chosen),
        )

    arguments = tuple(form(k) if rng.random() < 0.5 else form() for k in range(2))
    calls = tuple(ClaimCall(name, arguments if same else tuple(form() for _ in range(2))) for name in sorted(rewards))
    goal = AffineAtom(Affine(Fraction(1), (), tuple((k, Fraction(1 - 2 * k)) for k in range(len(calls)))), False)
    return Claim(
        "rule",
        "must",
        tuple(ClaimVariable(f"s.x{k}", None, False) for k in range(n)),
        (ClaimRecord("s", "S", (0, 1, 2)),),
        tuple((name, rewards[name].digest) for name in sorted(rewards)),
        calls,
        (),
        ((goal,),),
        (tuple((Fraction(int(rng.integers(-9, 1)), 7), Fraction(int(rng.integers(1, 9)), 5)) for _ in range(n)),),
    )


def loaded(artifact: Artifact, folder: Path) -> Reward:
    path = folder / f"{artifact.digest[7:23]}.rwz"
    path.write_bytes(zip_bytes(artifact))
    reward = load_reward(path)
    assert reward.digest == artifact.digest
    return reward


def kernel_program(claim: Claim, rewards: dict[str, Artifact], folder: Path) -> Program:
    read = read_claim(claim_object(claim))
    assert read.digest == claim_digest(claim)
    return inline(len(read.names), [(loaded(rewards[name], folder), arguments) for name, arguments in read.calls])


def dense(layer: Layer) -> tuple[list[tuple[int, list[list[Fraction]]]], list[Fraction]]:
    blocks = [
        (b.source, [[Fraction(row.get(j, 0), layer.bottom) for j in range(len(b.columns))] for row in b.rows])
        for b in layer.blocks
    ]
    return blocks, [Fraction(x, layer.bottom) for x in layer.bias]


def exact_weight(layer: ProverLayer, block: int, row: int, column: int) -> Fraction:
    b = layer.blocks[block]
    if b.exact is not None and (row, column) in b.exact:
        return b.exact[row, column]
    return Fraction(float(b.weight[row, column]))


def dense_prover(layer: ProverLayer) -> tuple[list[tuple[int, list[list[Fraction]]]], list[Fraction]]:
    blocks = [
        (b.source, [[exact_weight(layer, k, i, j) for j in range(b.weight.shape[1])] for i in range(b.weight.shape[0])])
        for k, b in enumerate(layer.blocks)
    ]
    return blocks, list(exact_bias(layer))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@given(seeds, artifacts(TWO_REALS), st.sampled_from(["same", "patched", "other"]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_layers_are_the_same(folder: Path, seed: int, first: Artifact, second: str, same: bool) -> None:
    rng = np.random.default_rng(seed)
    other = {
        "same": first,
        "patched": random_artifact(np.random.default_rng(seed), TWO_REALS, size=3, patches=2),
        "other": random_artifact(rng, TWO_REALS, size=4, patches=1),
    }[second]
    base = random_artifact(np.random.default_rng(seed), TWO_REALS, size=3) if second == "patched" else first
    rewards = {"Base": base, "R": other}
    claim = two_call_claim(rng, rewards, same)
    mine, theirs = kernel_program(claim, rewards, folder), compile_program(claim, rewards)
    assert tuple(mine.outputs) == theirs.outputs
    assert len(mine.layers) == len(theirs.layers)
    for layer, expected in zip(mine.layers, theirs.layers, strict=True):
        assert layer.kind == expected.kind
        assert dense(layer) == dense_prover(expected)
        if isinstance(layer, Gated):
            assert layer.gate_layer == expected.gate_layer
            assert Fraction(*layer.gate) == Fraction(float(expected.gate or 0.0))


@given(seeds, artifacts(TWO_REALS), st.lists(st.integers(0, 64), min_size=3, max_size=3))
@settings(max_examples=60, deadline=None)
def test_values_are_those_of_the_artifact(folder: Path, seed: int, artifact: Artifact, where: list[int]) -> None:
    claim = two_call_claim(np.random.default_rng(seed), {"R": artifact}, False)
    program = kernel_program(claim, {"R": artifact}, folder)
    x = [lo + (hi - lo) * Fraction(t, 64) for t, (lo, hi) in zip(where, claim.boxes[0], strict=True)]
    arguments = [a.constant + sum((c * x[k] for k, c in a.variables), Fraction(0)) for a in claim.calls[0].arguments]
    assert evaluate(program, x) == [evaluate_artifact(artifact, arguments)]


def lower(program: Program, low: Sequence[Fraction], high: Sequence[Fraction], leaf: Leaf, thorough: bool) -> Fraction:
    """The kernel's lower bound of the first call."""
    slopes = {(k, i): c for k, i, c in leaf.slopes}
    bounds = Bounds(program, Box(low, high), slopes, ALL if thorough else OPEN)
    bounds.advance(len(program.layers))
    functional = Functional()
    functional.add_row(program.outputs[0], [1], 1)
    return bounds.lower_bound(functional)


@given(seeds, st.booleans(), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_bounds_are_those_of_the_prover(folder: Path, seed: int, plain: bool, halvings: int) -> None:
    """The kernel's bound lies below sampled values, and is no weaker than the prover's beyond its grid's rounding."""
    rng = np.random.default_rng(seed)
    artifact = (
        random_mlp(rng, TWO_REALS, (5, 4), patches=1) if plain else random_artifact(rng, TWO_REALS, size=5, patches=1)
    )
    claim = two_call_claim(rng, {"R": artifact}, False)
    program, theirs = kernel_program(claim, {"R": artifact}, folder), compile_program(claim, {"R": artifact})
    low, high = ([pair[side] for pair in claim.boxes[0]] for side in (0, 1))
    for _ in range(halvings):
        k = int(rng.integers(3))
        middle = (low[k] + high[k]) / 2
        (low if rng.random() < 0.5 else high)[k] = middle
    relus = [(k, i) for k, layer in enumerate(program.layers) if layer.kind == "relu" for i in range(program.width(k))]
    slopes = tuple((k, i, int(rng.integers(0, 257))) for k, i in relus if rng.random() < 0.3)
    leaf = Leaf(0, (), slopes)
    expected = ExactBounds(theirs, tuple(zip(low, high, strict=True)), leaf).lower(
        Affine(Fraction(0), (), ((0, Fraction(1)),))
    )
    quick, thorough = (lower(program, low, high, leaf, t) for t in (False, True))
    scale = max(1.0, abs(float(expected)))
    # tighter bounds of a neuron may choose its other default line, so neither way is always the better one
    assert float(max(quick, thorough)) >= float(expected) - 1e-9 * scale
    for _ in range(10):
        x = [lo + (hi - lo) * Fraction(int(rng.integers(0, 65)), 64) for lo, hi in zip(low, high, strict=True)]
        value = evaluate(program, x)[0]
        assert quick <= value
        assert thorough <= value


def test_digests_are_those_of_the_language(folder: Path) -> None:
    artifact = random_artifact(np.random.default_rng(0), TWO_REALS, size=3)
    claim = two_call_claim(np.random.default_rng(1), {"R": artifact}, False)
    assert canonical(claim_object(claim)) == dump_claim(claim)
    assert digest(dump_claim(claim)) == claim_digest(claim) == read_claim(claim_object(claim)).digest
