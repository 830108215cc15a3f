"""Certified ends, slopes and differences over regions: no record crosses them, and some record comes close."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import rewarden as rw
from rewarden.judging.effects import effects
from rewarden.reward.agreement import random_rows
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.enclosure import enclose
from rewarden.reward.exact import evaluate_row
from rewarden.reward.graph import AffineMap, Graph, Input, Patch, Relu
from rewarden.spec_lang import parse_spec
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier.bind import bind_obligation
from rewarden.verifier.falling import falls
from rewarden.verifier.ranges.continuity import continuous
from rewarden.verifier.ranges.domain import Region, domain_of, region_of
from rewarden.verifier.ranges.ends import Functional, ranges
from rewarden.verifier.ranges.plain import plain
from rewarden.verifier.ranges.sensitivity import sensitivities, steepest

MIXED = RecordType(
    "Mixed",
    (
        Feature("x", "real", Fraction(-1), Fraction(1, 3), "m"),
        Feature("n", "int", Fraction(-2), Fraction(9)),
        Feature("on", "bool", Fraction(0), Fraction(1)),
        Feature("site", "enum", Fraction(0), Fraction(1), cases=("north", "south", "west")),
        Feature("v", "real", Fraction(0), Fraction(2), size=2),
    ),
)
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))]
SPEC = """spec s v1
features Step {
  x : real in -1 .. 1
  y : real in -1 .. 1
}
reward R(s: Step)
must low:
  forall s: Step
  given s.x >= 0.25 and s.y >= 0.25
  expect R(s) <= -0.5
"""


def net(seed: int, activation: type[torch.nn.Module] = torch.nn.ReLU, width: int = 8) -> Artifact:
    torch.manual_seed(seed)
    made = torch.nn.Sequential(torch.nn.Linear(width, 10), activation(), torch.nn.Linear(10, 1))
    return rw.from_torch(made, MIXED)


def drawn(region: Region, artifact: Artifact, count: int, seed: int) -> np.ndarray:
    """Records of the region, at random, many of them on its faces."""
    rows = random_rows([r.type for r in artifact.records], count, seed).astype(np.float64)
    lo, hi = region.inward()
    rng = np.random.default_rng(seed)
    at = lo + rng.random(rows.shape) * (hi - lo)
    at = np.where(rng.random(rows.shape) < 0.3, np.where(rng.random(rows.shape) < 0.5, lo, hi), at)
    tiled = (np.repeat(end[None, :], count, axis=0) for end in (lo, hi))
    return domain_of(artifact).inside(*tiled, at)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("activation", [torch.nn.ReLU, torch.nn.Tanh])
def test_no_record_is_beyond_the_certified_ends(seed: int, activation: type[torch.nn.Module]) -> None:
    artifact = net(seed, activation)
    regions = [
        region_of(artifact),
        region_of(artifact, ["x=-0.5..0.1", "n=2..5", "on=true"]),
        region_of(artifact, ["site=west", "v=0.5..1.5"]),
    ]
    for region, found in zip(regions, ranges(artifact, regions, budget=100), strict=True):
        low, high = enclose(artifact, drawn(region, artifact, 1000, seed))
        assert found.least <= high.min()
        assert found.most >= low.max()
        assert found.least_taken is not None
        assert found.most_taken is not None
        assert found.least <= found.least_taken <= found.most_taken <= found.most
        assert found.most_at is not None
        exact = evaluate_row(artifact, found.most_at) if activation is torch.nn.ReLU else None
        assert exact is None or Fraction(found.most_taken) <= exact <= Fraction(found.most)
        lo, hi = region.inward()
        assert ((found.most_at >= lo) & (found.most_at <= hi)).all()
        assert found.most_at[3:6].sum() == 1  # one case


@pytest.mark.parametrize("seed", SEEDS)
def test_the_ends_are_close_to_what_is_taken(seed: int) -> None:
    artifact = net(seed)
    (found,) = ranges(artifact, [region_of(artifact)], budget=4000)
    assert found.least_taken is not None
    assert found.most_taken is not None
    spread = found.most - found.least
    assert found.most - found.most_taken <= 0.02 * spread
    assert found.least_taken - found.least <= 0.02 * spread


def test_the_ends_of_an_affine_reward_are_exact_up_to_rounding() -> None:
    linear = torch.nn.Linear(8, 1)
    with torch.no_grad():
        linear.weight[:] = torch.tensor([[3.0, -1.0, 2.0, 0.5, -0.25, 1.0, 1.0, -1.0]])
        linear.bias.fill_(0.5)
    artifact = rw.from_torch(linear, MIXED)
    (found,) = ranges(artifact, [region_of(artifact)], budget=400)
    most = 3 / 3 + 2 + 2 + 1.0 + 2 - 0 + 0.5
    least = -3 - 9 + 0 - 0.25 + 0 - 2 + 0.5
    assert found.most == pytest.approx(most, abs=0.2)
    assert found.least == pytest.approx(least, abs=0.2)
    assert found.most >= most
    assert found.least <= least


@pytest.mark.parametrize("seed", SEEDS)
def test_no_two_records_differ_by_more_than_the_certified_sensitivity(seed: int) -> None:
    artifact = net(seed)
    region = region_of(artifact, ["x=-0.5..0.25", "v=0..1"])
    found, missing = sensitivities(artifact, region, budget=32)
    assert missing is None
    rows = drawn(region, artifact, 400, seed + 100)
    rng = np.random.default_rng(seed)
    lo, hi = region.inward()
    columns = {"x": 0, "n": 1, "v[0]": 6, "v[1]": 7}
    for one in found:
        assert one.range.least <= (one.range.least_taken or 0.0) <= (one.range.most_taken or 0.0) <= one.range.most
        if one.what != "per unit":
            continue
        column, other = columns[one.feature], rows.copy()
        span = (lo[column], hi[column])
        other[:, column] = rng.integers(*map(int, span), 400) if one.feature == "n" else rng.uniform(*span, 400)
        step = other[:, column] - rows[:, column]
        moved = np.abs(step) > 1e-3
        before, after = enclose(artifact, rows), enclose(artifact, other)
        quotient = ((after[0] - before[0]) / np.where(moved, step, 1.0))[moved]
        assert quotient.max() <= one.range.most + 1e-9
        assert quotient.min() >= one.range.least - 1e-9
    named = {(one.feature, one.what): one for one in found}
    switch = named["on", "true − false"]
    on, off = rows.copy(), rows.copy()
    on[:, 2], off[:, 2] = 1.0, 0.0
    change = enclose(artifact, on)[0] - enclose(artifact, off)[0]
    assert switch.range.least - 1e-9 <= change.min()
    assert change.max() <= switch.range.most + 1e-9
    north, west = rows.copy(), rows.copy()
    north[:, 3:6], west[:, 3:6] = (1, 0, 0), (0, 0, 1)
    change = enclose(artifact, north)[0] - enclose(artifact, west)[0]
    one = named["site", "north − west"]
    assert one.range.least - 1e-9 <= change.min()
    assert change.max() <= one.range.most + 1e-9


@pytest.mark.parametrize("seed", SEEDS)
def test_one_end_of_some_columns_is_that_of_all_and_an_aim_is_never_missed_by_mistake(seed: int) -> None:
    artifact = net(seed)
    region = region_of(artifact, ["x=-0.5..0.25", "v=0..1"])
    told, _ = sensitivities(artifact, region, budget=32)
    ends = {one.feature: one.range for one in told if one.what == "per unit"}
    signs = {0: 1, 1: -1, 7: 1}
    found = steepest(artifact, region, signs, budget=32)
    all_of_it = {0: ends["x"].most, 1: -ends["n"].least, 7: ends["v[1]"].most}
    assert found == pytest.approx(all_of_it, rel=1e-12)  # boxes are bounded in other company, and rounded as it may be
    for column, most in found.items():
        wanted = {column: signs[column]}
        for aim in (most + 0.01, most, most - 0.01, most - 1):
            near = steepest(artifact, region, wanted, budget=32, aim=aim)
            assert near[column] <= aim or most > aim - 1e-9
            assert near[column] >= (ends["x"].most_taken if column == 0 else -np.inf)
    assert steepest(artifact, region, {2: 1}) == "on is no number"
    assert steepest(artifact, region, {0: 1, 4: -1}) == "site is no number"


def test_what_rises_between_two_whole_numbers_is_seen() -> None:
    counted = RecordType("Counted", (Feature("n", "int", Fraction(0), Fraction(4)),))
    hidden, out = torch.nn.Linear(1, 2), torch.nn.Linear(2, 1)
    with torch.no_grad():  # flat at every whole number: 0 at 0 and 1, 1 from 2 on
        hidden.weight.fill_(4.0)
        hidden.bias[:] = torch.tensor([-5.1, -6.1])
        out.weight[:] = torch.tensor([[1.0, -1.0]])
        out.bias.zero_()
    artifact = rw.from_torch(torch.nn.Sequential(hidden, torch.nn.ReLU(), out), counted)
    assert [float(evaluate_row(artifact, np.array([float(n)]))) for n in range(5)] == pytest.approx([0, 0, 1, 1, 1])
    ((found,), _) = sensitivities(artifact, region_of(artifact), budget=200)
    assert found.range.most >= 0.999
    never = parse_spec("""spec s v1
features Counted { n: int in 0 .. 4 }
reward R(s: Counted)
must falls:
  forall a, b: Counted varying n
  given a.n <= b.n
  expect R(a) >= R(b)
""")
    assert rw.verify(never, R=artifact)["falls"].verdict == "violated"
    assert not falls(bind_obligation(never, never.obligation("falls"), {"R": artifact}), {"R": artifact})


@pytest.mark.parametrize("normalised", [False, True])
def test_a_reward_that_is_monotone_is_seen_to_be_and_a_smooth_one_is_not_spoken_of(normalised: bool) -> None:
    class Rising(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.normal = torch.nn.Linear(8, 8)
            self.hidden, self.out = torch.nn.Linear(8, 4), torch.nn.Linear(4, 1)
            with torch.no_grad():
                # fused with the layer that follows, in binary64: its zeros have to stay without error
                scale = torch.rand(8) + 0.3 if normalised else torch.ones(8)
                self.normal.weight.copy_(torch.diag(scale))
                self.hidden.weight.abs_()
                self.out.weight.abs_()
                self.hidden.weight[:, 6] = 0.0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(torch.relu(self.hidden(self.normal(x))))

    torch.manual_seed(6)
    artifact = rw.from_torch(Rising(), MIXED)
    found = {one.feature: one for one in sensitivities(artifact, region_of(artifact, ["n=0..4"]), budget=32)[0]}
    assert found["x"].direction == "never falls"
    assert found["v[0]"].direction == "no effect"
    told, missing = sensitivities(net(0, torch.nn.Tanh), region_of(artifact), budget=16)
    assert missing is not None
    assert {one.what for one in told} == {"true − false", "north − south", "north − west", "south − west"}


# ── patches ────────────────────────────────────────────────────────────────────────────────────
def patched(tmp_path: Path) -> tuple[Artifact, Artifact]:
    torch.manual_seed(2)
    made = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    (tmp_path / "s.rwd").write_text(SPEC, encoding="utf-8")
    spec = rw.load_spec(tmp_path / "s.rwd")
    reward = rw.from_torch(made, spec.features["Step"])
    return reward, rw.patch(spec, R=reward).artifact


def test_a_patched_reward_as_a_plain_network_is_the_same_function(tmp_path: Path) -> None:
    reward, mended = patched(tmp_path)
    assert mended.patches
    network = plain(mended)
    assert network is not None
    assert not network.patches
    rows = random_rows([r.type for r in reward.records], 300, 1).astype(np.float64)
    rows[:100] = 0.2 + 0.1 * rows[:100]  # near the rim
    for row in rows[::3]:
        assert evaluate_row(network, row) == evaluate_row(mended, row)
    (found,) = ranges(mended, [region_of(mended, ["x=0.25..1", "y=0.25..1"])], budget=300)
    assert found.most <= -0.49
    low, high = enclose(mended, rows)
    (whole,) = ranges(mended, [region_of(mended)], budget=300)
    assert whole.least <= high.min()
    assert low.max() <= whole.most


def test_a_patch_that_jumps_has_no_slope_and_still_has_ends(tmp_path: Path) -> None:
    _, mended = patched(tmp_path)
    (patch,) = mended.patches
    lowered = {**mended.tensors, patch.level: np.array([-40.0], np.float32)}  # the cap does not rise far enough now
    jumping = replace(mended, tensors=lowered)
    assert plain(jumping) is None
    assert not continuous(jumping)
    assert continuous(mended)
    told, missing = sensitivities(jumping, region_of(jumping), budget=8)
    assert told == ()
    assert "jump" in (missing or "")
    rows = random_rows([r.type for r in jumping.records], 2000, 3).astype(np.float64)
    low, high = enclose(jumping, rows)
    (found,) = ranges(jumping, [region_of(jumping)], budget=100)
    assert found.least <= high.min()
    assert low.max() <= found.most


def beyond_a_cap(rises: float) -> Artifact:
    """r = 0 up to x = 1, then `rises` a unit up to x = 2, then 1 less a unit. Below x = 1 a ceiling holds it at 0,
    whose cap is x beyond 0: no jump, and out there r is far above what the cap would be, or below it."""
    line = RecordType("Line", (Feature("x", "real", Fraction(-10), Fraction(10)),))
    tensors = {
        "w": [[1], [1]], "b": [-1, -2], "v": [[rises, -rises - 1]], "c": [0],
        "rows": [[1]], "zero": [0], "one": [1],
    }  # fmt: skip
    return Artifact(
        (RewardRecord("s", line),),
        Graph((Input(), AffineMap(0, "w", "b"), Relu(1), AffineMap(2, "v", "c")), 3),
        {name: np.array(values, np.float32) for name, values in tensors.items()},
        "beyond",
        patches=(Patch("ceiling", "rows", "zero", "zero", "one", "zero", "one", ""),),
    )


def test_a_reward_that_rises_faster_than_a_cap_would_is_bounded_beyond_it_as_it_is() -> None:
    artifact = beyond_a_cap(100.0)
    assert continuous(artifact)
    assert plain(artifact) is None
    beyond = region_of(artifact, ["x=3..10"])
    (found,) = ranges(artifact, [beyond], budget=100)
    assert (found.least, found.most) == pytest.approx((92.0, 99.0))
    (slope,), _ = sensitivities(artifact, beyond, budget=32)
    assert slope.direction == "never rises"
    (whole,), _ = sensitivities(artifact, region_of(artifact), budget=200)
    assert whole.range.least <= -1.0
    assert whole.range.most >= 100.0
    spec = parse_spec("""spec s v1
features Line { x: real in -10 .. 10 }
reward R(s: Line)
must rises:
  forall a, b: Line varying x
  given a.x >= b.x and b.x >= 3
  expect R(a) >= R(b)
""")
    assert not falls(bind_obligation(spec, spec.obligation("rises"), {"R": artifact}), {"R": artifact})


def test_a_reward_that_a_cap_would_leave_alone_beyond_its_gate_is_a_plain_network() -> None:
    artifact = beyond_a_cap(0.5)
    network = plain(artifact)
    assert network is not None
    for x in np.linspace(-10.0, 10.0, 81):
        assert evaluate_row(network, np.array([x])) == evaluate_row(artifact, np.array([x]))


# ── effects and regions ────────────────────────────────────────────────────────────────────────
def test_slices_cover_the_region_and_bound_every_record_in_them() -> None:
    artifact = net(5)
    region = region_of(artifact, ["x=-0.5..0.3"])
    data = drawn(region, artifact, 500, 9)
    whole, found = effects(artifact, region, data, budget=60)
    assert [e.feature for e in found] == ["x", "n", "on", "site", "v[0]", "v[1]"]
    rows = drawn(region, artifact, 2000, 8)
    low, high = enclose(artifact, rows)
    for effect in found:
        column = {"x": 0, "n": 1, "on": 2, "v[0]": 6, "v[1]": 7}.get(effect.feature)
        assert sum(s.rows for s in effect.slices) >= len(data)  # a row on an edge lies in both
        covered = np.zeros(len(rows), np.bool_)
        for k, one in enumerate(effect.slices):
            at = rows[:, column] if column is not None else None
            mine = rows[:, 3 + k] == 1 if at is None else (at >= one.lo) & (at <= one.hi)
            covered |= mine
            assert one.range.least <= high[mine].min(initial=np.inf)
            assert one.range.most >= low[mine].max(initial=-np.inf)
            assert whole.least <= one.range.least
            assert one.range.most <= whole.most
            assert one.mean is not None
            assert one.range.least - 1e-6 <= one.mean <= one.range.most + 1e-6
        assert covered.all()


def test_differences_of_a_reward_with_itself_are_nothing() -> None:
    artifact = net(1)
    one, zero = Fraction(1), Fraction(0)
    same = Functional((1, -1), (((2, one),), ((2, one),)))
    (found,) = ranges(artifact, [region_of(artifact)], same, budget=50)
    assert found.least <= 0 <= found.most
    assert found.most - found.least < 1e-6
    assert zero < one


@pytest.mark.parametrize(
    "text", ["speed=1..2", "x", "x=2..3", "x=0.2..0.1", "x=a..b", "site=east", "n=2.2..2.8", "on=maybe"]
)
def test_parts_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        region_of(net(0), [text])
    assert caught.value.code == "G44"


def test_cuts_lose_no_record() -> None:
    domain = domain_of(net(0))
    rng = np.random.default_rng(0)
    lo, hi = (np.repeat(end[None, :], 200, axis=0) for end in region_of(net(0)).outward())
    rows = random_rows([MIXED], 200, 4).astype(np.float64)
    for _ in range(30):
        wide = hi > lo
        axis = np.array([rng.choice(np.flatnonzero(w)) if w.any() else 0 for w in wide])
        (left_lo, left_hi), (right_lo, right_hi) = domain.cut(lo, hi, axis)
        cuttable = wide.any(axis=1)
        in_left = ((rows >= left_lo) & (rows <= left_hi)).all(axis=1)
        in_right = ((rows >= right_lo) & (rows <= right_hi)).all(axis=1)
        assert (in_left | in_right)[cuttable].all()
        keep = in_left & cuttable
        lo = np.where(keep[:, None], left_lo, np.where(cuttable[:, None], right_lo, lo))
        hi = np.where(keep[:, None], left_hi, np.where(cuttable[:, None], right_hi, hi))
