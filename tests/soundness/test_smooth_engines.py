"""Each engine alone about each smooth operator and the product, a little above and below the most that it reaches."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest

from rewarden.reward import graph as g
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.spec_lang.errors import Unsupported
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.options import Engine, Semantics, VerifyOptions
from rewarden.verifier.verdict import Verdict
from tests.reference.random_claims import atom, plain_claim
from tests.reference.random_graphs import TWO_REALS

ENGINES = get_args(Engine)
DECIDE = ("auto", "bounds")  # of smooth rewards; the others decline, or find a violation
FUNCTIONS = {
    "tanh": math.tanh,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "softplus": lambda z: math.log1p(math.exp(-abs(z))) + max(z, 0.0),
    "exp": math.exp,
    "gelu": lambda z: z * 0.5 * (1 + math.erf(z / math.sqrt(2))),
    "silu": lambda z: z / (1 + math.exp(-z)),
    "square": lambda z: z * z,
    "product": lambda z: z * -z,
}


def reward(name: str) -> tuple[Artifact, float]:
    """f(0.125·(x + y) + 0.0625), and the most that it is over the ranges: at an end of z, or where z is 0."""
    tensors = {"w": np.full((1, 2), 0.125, np.float32), "b": np.float32([0.0625])}
    nodes: list[g.Node] = [g.Input(), g.AffineMap(0, "w", "b")]
    if name == "product":
        tensors |= {"v": -tensors["w"], "c": -tensors["b"]}
        nodes += [g.AffineMap(0, "v", "c"), g.Product(1, 2)]
    else:
        nodes.append(next(kind for kind in g.SMOOTH if kind.function == name)(1))
    columns = TWO_REALS.columns()
    low = 0.125 * sum(float(column.lo) for column in columns) + 0.0625
    high = 0.125 * sum(float(column.hi) for column in columns) + 0.0625
    within = [low, high, *((0.0,) if low < 0 < high else ())]
    artifact = Artifact((RewardRecord("s", TWO_REALS),), g.Graph(tuple(nodes), len(nodes) - 1), tensors, "exact")
    return artifact, max(FUNCTIONS[name](z) for z in within)


@pytest.mark.parametrize("semantics", get_args(Semantics))
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_engine_is_wrong_about_a_smooth_operator(name: str, engine: Engine, semantics: Semantics) -> None:
    artifact, most = reward(name)
    options = VerifyOptions(engine=engine, semantics=semantics, budget=600, falsify_budget=600, z3_rlimit=30_000)
    close = 1e-2 if name == "product" else 1e-5  # whose most is on a ridge across the box
    for gap, expected in ((close, Verdict.PROVED), (-close, Verdict.VIOLATED)):
        level = Fraction(most + gap * max(1.0, abs(most)))
        claim = plain_claim(TWO_REALS, {"R": artifact}, goals=[(atom(level, {}, {0: -1}),)])
        if semantics == "float32":
            with pytest.raises(Unsupported, match="binary32") as refused:
                verify_claim(claim, {"R": artifact}, options)
            assert refused.value.code == "X12"
            continue
        found = verify_claim(claim, {"R": artifact}, options).verdict
        assert found in (expected, Verdict.UNKNOWN)
        if engine in DECIDE or expected is Verdict.VIOLATED:
            assert found is expected
