"""Rewards as other libraries and other orders execute them in binary32: nothing that some execution breaks is proved.

The least and the greatest value that any of these executions gives at any of these records is looked for, of networks
that are built so that executions differ; a rule that asks for a last place less than that must not be proved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.graph import AffineMap, Graph, Input, Relu
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.verdict import Verdict
from tests.reference.random_claims import atom, plain_claim

Array = NDArray[np.float32]
Product = Callable[[Array, Array, Array], Array]  # x [n, in], W [out, in], b [out]
KIND = RecordType("S", (Feature("x", "real", Fraction(-1), Fraction(1), None, (), 6),))
ORDERS = ("ascending", "descending", "reversed", "shuffled")
OPTIONS = VerifyOptions(engine="bounds", budget=300, falsify_budget=60, semantics="float32")


# ── networks whose executions differ ───────────────────────────────────────────────────────────
def layers_of(family: str, seed: int) -> list[tuple[Array, Array]]:
    rng = np.random.default_rng(seed)
    sizes = (6, int(rng.integers(3, 40)), int(rng.integers(3, 40)), 1)
    made = [[rng.normal(size=(m, n)), rng.normal(size=m)] for n, m in pairwise(sizes)]
    match family:
        case "cancelling":  # each column beside its negative, a little off
            for weight, _ in made:
                half = weight.shape[1] // 2
                weight *= 2.0 ** rng.integers(-6, 12, weight.shape)
                weight[:, half : 2 * half] = -weight[:, :half] * (
                    1 + 2.0**-20 * rng.integers(-2, 3, weight[:, :half].shape)
                )
        case "absorbing":  # a constant that swallows what is added before it is taken off again
            size = 2.0 ** int(rng.integers(20, 28))
            made[0][1] += size
            made[1][0][:] = rng.choice([-1.0, 1.0], made[1][0].shape)
            made[1][1][:] = -made[1][0].sum(axis=1) * size + rng.normal(size=sizes[2])
        case "subnormal":
            made[0][0] *= 2.0**-80
            made[0][1] *= 2.0**-126
            made[1][0] *= 2.0**-60
            made[1][1] *= 2.0**-140
            made[2][0] *= 2.0**100
            made[2][1] *= 2.0**-30
        case "overflowing":
            made[0][0] *= 1e17
            made[1][0] *= 1e17
            made[2][0] *= float(rng.choice([1e2, 1e4]))
        case "backdoor":  # opened by rounding alone: big + x is a multiple of 8, and not what is taken off it
            for part in (made[0][0], made[0][1], made[1][0], made[1][1], made[2][0], made[2][1]):
                part[:] = 0.0
            made[0][0][:2, 0], made[0][1][:3] = 1.0, (2.0**26, 1.0, 1.0)
            made[1][0][0, :3], made[1][1][0] = (-1.0, 1.0, -1.0), 2.0**26
            made[2][0][0, 0] = 100.0
    return [(weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in made]


def artifact_of(layers: list[tuple[Array, Array]], kind: RecordType = KIND) -> Artifact:
    nodes, tensors = [Input()], {}
    for k, (weight, bias) in enumerate(layers):
        tensors[f"w{k}"], tensors[f"b{k}"] = weight, bias
        nodes.append(AffineMap(len(nodes) - 1, f"w{k}", f"b{k}"))
        nodes += [Relu(len(nodes) - 1)] if k + 1 < len(layers) else []
    return Artifact((RewardRecord("s", kind),), Graph(tuple(nodes), len(nodes) - 1), tensors, "exact")


# ── executions ─────────────────────────────────────────────────────────────────────────────────
def by_torch(x: Array, weight: Array, bias: Array) -> Array:
    found: Array = torch.nn.functional.linear(*map(torch.from_numpy, (x, weight, bias))).numpy()
    return found


def by_torch_mm(x: Array, weight: Array, bias: Array) -> Array:
    found: Array = (torch.mm(torch.from_numpy(x), torch.from_numpy(weight).T) + torch.from_numpy(bias)).numpy()
    return found


def by_einsum(x: Array, weight: Array, bias: Array) -> Array:
    found: Array = (np.einsum("ni,oi->no", x, weight) + bias).astype(np.float32)
    return found


def by_numpy(x: Array, weight: Array, bias: Array) -> Array:
    found: Array = x @ weight.T + bias
    return found


def one_by_one(order: str, rng: np.random.Generator) -> Product:
    """Products and the bias added up one after the other."""

    def product(x: Array, weight: Array, bias: Array) -> Array:
        terms = x[:, None, :] * weight[None]
        terms = np.concatenate((terms, np.broadcast_to(bias, terms.shape[:2])[..., None]), axis=2)
        match order:
            case "ascending":
                terms = np.take_along_axis(terms, np.argsort(np.abs(terms), axis=2), axis=2)
            case "descending":
                terms = np.take_along_axis(terms, np.argsort(-np.abs(terms), axis=2), axis=2)
            case "reversed":
                terms = terms[:, :, ::-1]
            case _:
                terms = terms[:, :, rng.permutation(terms.shape[2])]
        found: Array = np.cumsum(terms, axis=2, dtype=np.float32)[..., -1]
        return found

    return product


def permuted(product: Product, rng: np.random.Generator) -> Product:
    """The library's own order, of columns in another."""

    def shuffled(x: Array, weight: Array, bias: Array) -> Array:
        order = rng.permutation(weight.shape[1])
        return product(np.ascontiguousarray(x[:, order]), np.ascontiguousarray(weight[:, order]), bias)

    return shuffled


def executions(layers: list[tuple[Array, Array]], x: Array, seed: int) -> Iterator[Array]:
    """Values of records, [record], in one way after the other."""
    rng = np.random.default_rng(seed)

    def run(product: Product, some: Array) -> Array:
        for k, (weight, bias) in enumerate(layers):
            some = product(some, weight, bias)
            some = np.maximum(some, np.float32(0)) if k + 1 < len(layers) else some
        return some[:, 0]

    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for product in (by_torch, by_torch_mm):
                yield run(product, x)
                yield np.concatenate([run(product, part) for part in np.array_split(x, len(x) // 3)])
                yield run(permuted(product, rng), x)
    finally:
        torch.set_num_threads(before)
    for product in (by_numpy, by_einsum):
        yield run(product, x)
        yield np.concatenate([run(product, x[k : k + 1]) for k in range(len(x))])
        yield run(permuted(product, rng), x)
    for order in ORDERS:
        yield run(one_by_one(order, rng), x)
        yield run(one_by_one(order, rng), x)


FAMILIES = ("plain", "cancelling", "absorbing", "subnormal", "overflowing", "backdoor")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(3))
def test_no_execution_contradicts_a_proof(family: str, seed: int) -> None:
    layers = layers_of(family, seed)
    rng = np.random.default_rng(seed)
    x = np.concatenate((rng.uniform(-1, 1, (60, 6)), rng.choice([-1.0, 0.0, 1.0, 2.0**-130], (60, 6)))).astype(
        np.float32
    )
    with np.errstate(all="ignore"):
        values = np.stack(list(executions(layers, x, seed)))
    artifact = artifact_of(layers)
    finite = bool(np.isfinite(values).all())
    for sign in (1, -1):
        # The record by itself, where nothing is between the exact value and the executed ones; then all of the region.
        best = np.unravel_index(int(np.argmax(np.nan_to_num(sign * values, nan=np.inf))), values.shape)
        most = float(sign * values[best]) if finite else 1.0
        under = Fraction(float(np.nextafter(np.float32(most), np.float32(-np.inf))))
        record = tuple((Fraction(float(v)), Fraction(float(v))) for v in x[best[1]])
        for boxes in ([record], None):
            claim = plain_claim(KIND, {"R": artifact}, goals=[(atom(under, {}, {0: -sign}),)], boxes=boxes)
            assert verify_claim(claim, {"R": artifact}, OPTIONS).verdict is not Verdict.PROVED
    wide = Fraction(10) ** 60  # with all the room there is, what never leaves the numbers is proved, and nothing else
    claim = plain_claim(KIND, {"R": artifact}, goals=[(atom(wide, {}, {0: -1}),)])
    verdict = verify_claim(claim, {"R": artifact}, OPTIONS).verdict
    assert finite or verdict is not Verdict.PROVED
    assert verdict is Verdict.PROVED or family == "overflowing"


def test_an_overflow_that_no_search_finds_is_not_proved_away() -> None:
    """Near one number two equal values grow until a multiple of them is beyond binary32: what is left is NaN there."""
    at, width = 0.6180339, 2.0**-9
    bump = np.float32([[1 / width, -2 / width, 1 / width]] * 2) * np.float32(2.0**100)
    first = np.float32([[1.0, 0.0]] * 3), np.float32([width - at, -at, -width - at])
    last = np.float32([[2.0**28, -(2.0**28)]]), np.zeros(1, np.float32)
    kind = RecordType("S", tuple(Feature(name, "real", Fraction(0), Fraction(1)) for name in "xy"))
    artifact = artifact_of([first, (bump, np.zeros(2, np.float32)), last], kind)
    x = np.zeros((41, 2), np.float32)
    x[:, 0] = np.linspace(at - width, at + width, 41)
    assert np.isnan(forward(artifact, x)).any()
    claim = plain_claim(kind, {"R": artifact}, goals=[(atom(Fraction(3) * 10**38, {}, {0: -1}),)])
    options = VerifyOptions(semantics="float32", falsify_budget=1_000)
    assert verify_claim(claim, {"R": artifact}, options).verdict is not Verdict.PROVED


def test_executions_do_differ() -> None:
    """Or the test above would say nothing."""
    differ = []
    for family in FAMILIES:
        layers = layers_of(family, 0)
        x = np.random.default_rng(0).uniform(-1, 1, (40, 6)).astype(np.float32)
        with np.errstate(all="ignore"):
            values = np.stack(list(executions(layers, x, 0)))
            differ.append(bool((values != values[0]).any()))
    assert all(differ)
