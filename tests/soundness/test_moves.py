"""How far a reward moves between two records: no pair moves further than tangents certify, and rules about it hold."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

import rewarden as rw
from rewarden.reward.artifact import Artifact
from rewarden.reward.exact import evaluate
from rewarden.spec_lang.spec import parse_spec
from rewarden.verifier.bind import bind_obligation
from rewarden.verifier.kept import of_kept, to_kept
from rewarden.verifier.moves import moves_enough
from rewarden.verifier.ranges.domain import Region
from rewarden.verifier.ranges.sensitivity import least_change
from rewarden.verifier.scribe.late import with_proof
from rewarden.verifier.verdict import Reason
from tests.reference.random_graphs import ALL_OPS, TWO_REALS, random_artifact

SEEDS = [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 20))]
STEPS = 6  # of a grid over each side
RULE = """spec s v1
features Point {{ x: real in -1 .. 1  y: real in 0 .. 2 }}
reward R(s: Point)
must steady:
  forall a, b: Point{varying}
  given {given}
  expect R(a) - R(b) {least}
"""


def never() -> bool:
    return False


def grid(lo: Fraction, hi: Fraction, steps: int = STEPS) -> list[Fraction]:
    return [lo + (hi - lo) * k / steps for k in range(steps + 1)] if lo < hi else [lo]


def least_found(artifact: Artifact, box: list[tuple[Fraction, Fraction]], way: list[Fraction]) -> Fraction:
    """The least R(x + way) − R(x) over a grid of x with both in the box, in rationals."""
    sides = [grid(max(lo, lo - w), min(hi, hi - w)) for (lo, hi), w in zip(box, way, strict=True)]
    return min(
        evaluate(artifact, [x + w for x, w in zip(point, way, strict=True)]) - evaluate(artifact, list(point))
        for point in product(*sides)
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_no_two_records_are_further_apart_than_is_certified(seed: int) -> None:
    """All operators, patches and skips among them; directions along one column and across."""
    rng = np.random.default_rng(seed)
    told = close = 0
    for _ in range(12):
        artifact = random_artifact(rng, TWO_REALS, ops=ALL_OPS, patches=int(rng.integers(0, 2)))
        box = []
        for column in artifact.columns:
            a, b = sorted(Fraction(int(k), 8) for k in rng.choice(9, 2, replace=False))
            box.append((column.lo + (column.hi - column.lo) * a, column.lo + (column.hi - column.lo) * b))
        ways = []
        for mask in ((1, 0), (0, 1), (1, 1), (1, -1)):
            scale = Fraction(int(rng.integers(1, 9)), 10)  # no binary64 number, mostly
            ways.append([m * scale * (hi - lo) for m, (lo, hi) in zip(mask, box, strict=True)])
        asked = [[(w, w) for w in way] for way in ways]
        found = least_change(artifact, Region(tuple(box), ""), asked, budget=400, aim=None, stop=never)
        if isinstance(found, str):
            continue
        told += 1
        for way, least in zip(ways, found[0], strict=True):
            true = least_found(artifact, box, way)
            assert least <= true
            close += least > true - abs(true) / 2 - Fraction(1, 10)
    assert told >= 4
    assert close >= told  # of four ways of each


def test_a_reward_with_a_skip_to_its_output_and_one_that_is_affine() -> None:
    class Skipping(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.out = torch.nn.Linear(2, 3), torch.nn.Linear(5, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(torch.cat((torch.relu(self.hidden(x)), x), dim=-1))

    torch.manual_seed(4)
    for module in (Skipping(), torch.nn.Linear(2, 1)):
        artifact = rw.from_torch(module, TWO_REALS)
        box = [(column.lo, column.hi) for column in artifact.columns]
        way = [Fraction(1, 2), Fraction(-1, 4)]
        found = least_change(
            artifact, Region(tuple(box), ""), [[(w, w) for w in way]], budget=4000, aim=None, stop=never
        )
        assert not isinstance(found, str)
        true = least_found(artifact, box, way)
        assert found[0][0] <= true
        if isinstance(module, torch.nn.Linear):
            assert found[0][0] == pytest.approx(float(true), abs=1e-9)


def test_what_cancels_only_without_rounding_is_not_taken_for_nothing() -> None:
    """R(x) = relu(2^30·x + …) − relu(…): in binary64 the slopes cancel up to what is lost, which is charged."""
    hidden, out = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
    with torch.no_grad():
        hidden.weight[:] = torch.tensor([[2.0**30, 1.0], [2.0**30, 0.0]])
        hidden.bias[:] = 2.0**31
        out.weight[:] = torch.tensor([[2.0**30, -(2.0**30)]])
        out.bias.zero_()
    artifact = rw.from_torch(torch.nn.Sequential(hidden, torch.nn.ReLU(), out), TWO_REALS)
    box, way = [(column.lo, column.hi) for column in artifact.columns], [Fraction(1, 10), Fraction(-1, 10)]
    found = least_change(artifact, Region(tuple(box), ""), [[(w, w) for w in way]], budget=50, aim=None, stop=never)
    assert not isinstance(found, str)
    assert found[0][0] <= least_found(artifact, box, way) == -(2**30) * Fraction(1, 10)


# ── rules ──────────────────────────────────────────────────────────────────────────────────────
def small(seed: int = 0) -> Artifact:
    torch.manual_seed(seed)
    return rw.from_torch(
        torch.nn.Sequential(
            torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)
        ),
        TWO_REALS,
    )


def said(artifact: Artifact, given: str, least: str, varying: str = " varying x", budget: int = 2000) -> bool:
    spec = parse_spec(RULE.format(given=given, least=least, varying=varying))
    claim = bind_obligation(spec, spec.obligation("steady"), {"R": artifact})
    return moves_enough(claim, {"R": artifact}, budget, never)[0]


PREMISES = {  # what is given, and which differences (x, y) that leaves
    "0 <= a.x - b.x <= 1/10": ((0, Fraction(1, 10)), (0, 0)),
    "3 * b.x <= 3 * a.x - 1 and a.x <= b.x + 1/2": ((Fraction(1, 3), Fraction(1, 2)), (0, 0)),
    "-1/5 <= a.x - b.x <= 1/4 and 2 * a.y - 2 * b.y >= 1 and a.y <= b.y + 3/4": (
        (Fraction(-1, 5), Fraction(1, 4)),
        (Fraction(1, 2), Fraction(3, 4)),
    ),
}


@pytest.mark.parametrize("given", PREMISES)
@pytest.mark.parametrize("seed", range(2))
def test_a_rule_is_said_to_hold_where_it_does_and_not_where_some_pair_breaks_it(given: str, seed: int) -> None:
    artifact, sides = small(seed), PREMISES[given]
    varying = "" if "a.y" in given else " varying x"
    values: dict[tuple[Fraction, Fraction], Fraction] = {}

    def value(x: Fraction, y: Fraction) -> Fraction:
        if (x, y) not in values:
            values[x, y] = evaluate(artifact, [x, y])
        return values[x, y]

    true = min(
        value(x + s, y + t) - value(x, y)
        for x in grid(Fraction(-1), Fraction(1), 20)
        for y in grid(Fraction(0), Fraction(2), 10)
        for s in grid(*sides[0], 3)
        for t in grid(*sides[1], 3)
        if abs(x + s) <= 1 and 0 <= y + t <= 2
    )
    above, below = true + Fraction(1, 1000), true - Fraction(1, 10)
    assert not said(artifact, given, f">= {above.numerator}/{above.denominator}", varying)
    assert said(artifact, given, f">= {below.numerator}/{below.denominator}", varying)
    assert said(artifact, given, f"> {below.numerator}/{below.denominator}", varying)


def test_equal_records_count_where_the_premise_lets_them_be_equal() -> None:
    torch.manual_seed(0)
    rising = torch.nn.Linear(2, 1)
    with torch.no_grad():
        rising.weight[:] = torch.tensor([[1.0, 0.0]])
    artifact = rw.from_torch(rising, TWO_REALS)
    assert said(artifact, "a.x >= b.x", ">= 0")
    assert not said(artifact, "a.x >= b.x", "> 0")
    assert not said(artifact, "a.x >= b.x", ">= 1/100")
    assert said(artifact, "a.x >= b.x + 1/4", "> 0.24")
    assert not said(artifact, "a.x >= b.x + 1/4", ">= 0.26")
    assert not said(artifact, "a.x >= b.x + 1/4", "> 0.25")
    assert not said(artifact, "a.x >= b.x + 1/4 or a.y >= 1", ">= 0.2")  # a premise of cases tells nothing


def test_a_bool_that_moves_and_a_patch_that_jumps_are_not_spoken_of() -> None:
    text = """spec s v1
features P { x: real in -1 .. 1  on: bool }
reward R(s: P)
must steady:
  forall a, b: P varying x, on
  given a.x >= b.x
  expect R(a) >= R(b) - 100
"""
    spec = parse_spec(text)
    artifact = rw.from_torch(torch.nn.Linear(2, 1), spec.features["P"])
    claim = bind_obligation(spec, spec.obligation("steady"), {"R": artifact})
    assert moves_enough(claim, {"R": artifact}, 100, never) == (False, 0)
    assert rw.verify(spec, R=artifact)["steady"].verdict == "proved"  # bounds know it


def test_a_stop_is_heard() -> None:
    artifact = small()
    box = tuple((column.lo, column.hi) for column in artifact.columns)
    ways = [[(Fraction(1), Fraction(1)), (Fraction(0), Fraction(0))]]
    looked = []

    def stop() -> bool:
        looked.append(1)
        return len(looked) > 2

    stopped = least_change(artifact, Region(box, ""), ways, budget=10_000, aim=None, stop=stop)
    assert not isinstance(stopped, str)
    assert stopped[1] < 200
    assert len(looked) == 3


def test_verify_settles_by_slopes_what_boxes_do_not_and_a_proof_is_sought_later(tmp_path: Path) -> None:
    """A step of a tenth in one of four features, of a network that has learned something."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    made = torch.nn.Sequential(
        torch.nn.Linear(4, 12), torch.nn.ReLU(), torch.nn.Linear(12, 12), torch.nn.ReLU(), torch.nn.Linear(12, 1)
    )
    directions = torch.randn(4, 4, generator=generator) / 2
    optimiser = torch.optim.Adam(made.parameters(), lr=1e-2)
    for _ in range(150):
        x = 2.0 * torch.rand(128, 4, generator=generator) - 1.0
        optimiser.zero_grad()
        (made(x) - torch.sin(2.0 * x @ directions.T).sum(-1, keepdim=True)).square().mean().backward()
        optimiser.step()
    text = """spec s v1
features P { x: real ^ 3 in -1 .. 1  y: real in -1 .. 1 }
reward R(s: P)
must steady:
  forall a, b: P varying y
  given 0 <= a.y - b.y <= 1/10
  expect R(a) - R(b) <= 1/4
"""
    spec = parse_spec(text)
    artifact = rw.from_torch(made, spec.features["P"])
    verified = rw.verify(spec, R=artifact)
    result = verified["steady"]
    assert (result.verdict, result.reason, result.engine) == ("proved", Reason.MOVES, "differences")
    assert result.proof is not None
    assert not isinstance(result.proof, Mapping)
    key = "0" * 64
    again = of_kept(to_kept(result, key), key, result.claim, {"R": artifact}, spec.features)
    assert again.proof.slopes
    assert again.proof.boxes == result.proof.boxes
    written = with_proof(result, {"R": artifact})
    assert isinstance(written.proof, Mapping)
    assert written.reason == Reason.DIFFERENCES
    rw.certify(verified, tmp_path / "certificate")
    assert rw.check_certificate(tmp_path / "certificate", reward=artifact).accepted
    assert with_proof(result, {"R": artifact}, stop=lambda: True).reason == (
        "Certified slopes of the reward say that it changes by no more than the rule allows; no proof to certify: "
        "none was found among 32768 boxes."
    )
