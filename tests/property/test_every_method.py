"""Every method of mending on random networks and rules: what is fixed, what is left alone, and that both are proved.

Records are drawn at random, on the faces of the rule's region and of its ring, and one number beside them. The rule is
looked at as deployed (as far as the method promises that) and exactly; beyond the ring the bits are compared. The
verifier is asked about the rule, and about what the edit promises (`promises`): equal beyond, moved by at most so much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rewarden as rw
from rewarden.editor.mend import PatchResult
from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.exact import evaluate_row
from rewarden.spec_lang.spec import parse_spec
from rewarden.verifier.options import VerifyOptions
from tests.unit.test_methods import HEAD, network

RANGES = ((0.0, 4.0), (0.0, 10.0))  # of speed and gap; the ring is a twentieth of each
RING = np.array([0.2, 0.5])
EXACTLY = 8
OPTIONS = VerifyOptions(budget=4_000, falsify_budget=2_000)
Mask = np.ndarray


@dataclass(frozen=True)
class Region:
    """Sides of speed and gap, and whether `close` must hold."""

    low: tuple[float, float]
    high: tuple[float, float]
    close: bool

    def text(self, record: str) -> str:
        sides = [
            f"{record}.{name} {relation} {end} [{unit}]"
            for name, unit, lo, hi, (least, most) in zip(
                ("speed", "gap"), ("m/s", "m"), self.low, self.high, RANGES, strict=True
            )
            for relation, end in ((">=", lo), ("<=", hi))
            if end not in (least, most)
        ]
        return " and ".join([*sides, *[f"{record}.close"] * self.close])

    def off(self, rows: np.ndarray) -> np.ndarray:
        """How far rows lie outside, in ring widths; 99 where `close` fails. The sign is exact: rows are binary32,
        and an end, in binary64, is one of these or lies well between two."""
        x = rows[:, :2].astype(np.float64)
        below, above = np.array(self.low) - x, x - np.array(self.high)
        for j, (least, most) in enumerate(RANGES):
            below[:, j] = -np.inf if self.low[j] == least else below[:, j]
            above[:, j] = -np.inf if self.high[j] == most else above[:, j]
        far = (np.maximum(below, above) / RING).max(axis=1)
        return np.where((rows[:, 2] == 1) | (not self.close), far, 99.0)

    def reached(self, rows: np.ndarray) -> Mask:
        """Rows at which an edit on this region may act."""
        x = rows[:, :2].astype(np.float64)
        near = np.ones(len(rows), np.bool_)
        for j in range(2):
            if self.low[j] != RANGES[j][0]:
                near &= x[:, j] > self.low[j] - RING[j]
            if self.high[j] != RANGES[j][1]:
                near &= x[:, j] < self.high[j] + RING[j]
        return near & ((rows[:, 2] == 1) | (not self.close))


def region(rng: np.random.Generator, *, gap: tuple[float, float] = (0.0, 10.0)) -> Region:
    """At least one side is free, at least one is not."""
    two = np.round(np.sort(rng.uniform(0.4, 3.6, 2)), int(rng.integers(1, 4)))
    low, high = (0.0, float(two[1])) if rng.random() < 0.5 else (float(two[0]), 4.0)
    ends = np.round(np.sort(rng.uniform(gap[0] + 0.1, gap[1] - 0.1, 2)), int(rng.integers(1, 4)))
    wide = float(ends[0]) if rng.random() < 0.5 and gap[0] > 0 else gap[0]
    return Region((low, wide), (high, float(max(ends[1], wide + 0.3))), bool(rng.random() < 0.5))


def dense(rng: np.random.Generator, regions: tuple[Region, ...], count: int = 1500) -> np.ndarray:
    rows = np.stack(
        [rng.uniform(0, 4, count), rng.uniform(0, 10, count), rng.integers(0, 2, count), rng.integers(1, 5, count)], 1
    ).astype(np.float32)
    for k in range(0, count, 2):
        one = regions[int(rng.integers(len(regions)))]
        j = int(rng.integers(2))
        end = one.low[j] - rng.choice([0, 0, RING[j]]) if rng.random() < 0.5 else one.high[j] + rng.choice([0, RING[j]])
        face = np.float32(end)
        for _ in range(int(rng.integers(3))):
            face = np.nextafter(face, np.float32(rng.choice([-np.inf, np.inf])))
        rows[k, j] = np.clip(face, *RANGES[j])
        other = 1 - j
        rows[k, other] = np.clip(rng.uniform(one.low[other], one.high[other]), *RANGES[other])
        if one.close and rng.random() < 0.8:
            rows[k, 2] = 1
    return rows


@dataclass(frozen=True)
class Case:
    """A rule in words, the rewards it is about, where an edit may act, and whether rewards keep it."""

    text: str
    rewards: Mapping[str, Artifact]
    regions: tuple[Region, ...]
    deployed: Callable[[Mapping[str, Artifact], np.ndarray], bool]
    exactly: Callable[[Mapping[str, Artifact], np.ndarray], bool]
    local: bool = True


def capped(rng: np.random.Generator, *, local: bool = True, tolerance: float = 0.0) -> Case:
    reward, where, ceiling = network(int(rng.integers(10**6)), 4), region(rng), bool(rng.random() < 0.5)
    rows = dense(rng, (where,))
    inside = forward(reward, rows[where.off(rows) <= 0])
    level = round(float(np.quantile(inside, 0.6 if ceiling else 0.4)), 3)
    sign = 1 if ceiling else -1
    text = (
        f"must asked:\n  forall s: Step\n  given {where.text('s')}\n  expect R(s) {'<=' if ceiling else '>='} {level}\n"
    )

    def deployed(rewards: Mapping[str, Artifact], x: np.ndarray) -> bool:
        values = forward(rewards["R"], x[where.off(x) <= 0]).astype(np.float64)
        return bool((sign * values <= sign * level + tolerance).all())

    def exactly(rewards: Mapping[str, Artifact], x: np.ndarray) -> bool:
        own = x[where.off(x) <= 0][:EXACTLY]
        return all(sign * evaluate_row(rewards["R"], row) <= sign * Fraction(str(level)) for row in own)

    return Case(text, {"R": reward}, (where,), deployed, exactly, local)


def apart(rng: np.random.Generator) -> Case:
    reward = network(int(rng.integers(10**6)), 4)
    better, worse = region(rng, gap=(6.0, 10.0)), region(rng, gap=(0.0, 4.0))
    margin = Fraction(int(rng.integers(0, 4)), 8)
    text = (
        f"must asked:\n  forall a, b: Step\n  given {better.text('a')} and {worse.text('b')}\n"
        f"  expect R(a) >= R(b) + {float(margin)}\n"
    )

    def deployed(rewards: Mapping[str, Artifact], x: np.ndarray) -> bool:
        high, low = (forward(rewards["R"], x[part.off(x) <= 0]) for part in (better, worse))
        return Fraction(float(high.min())) >= Fraction(float(low.max())) + margin

    def exactly(rewards: Mapping[str, Artifact], x: np.ndarray) -> bool:
        high, low = ([evaluate_row(rewards["R"], row) for row in x[p.off(x) <= 0][:EXACTLY]] for p in (better, worse))
        return min(high) >= max(low) + margin

    return Case(text, {"R": reward}, (better, worse), deployed, exactly)


def ordered(rng: np.random.Generator) -> Case:
    rewards = {name: network(int(rng.integers(10**6)), 4) for name in ("R", "S")}
    where = region(rng)
    text = f"must asked:\n  forall s: Step\n  given {where.text('s')}\n  expect R(s) < S(s)\n"

    def deployed(rewards: Mapping[str, Artifact], x: np.ndarray) -> bool:
        own = x[where.off(x) <= 0]
        return bool((forward(rewards["R"], own) < forward(rewards["S"], own)).all())

    def exactly(rewards: Mapping[str, Artifact], x: np.ndarray) -> bool:
        own = x[where.off(x) <= 0][:EXACTLY]
        return all(evaluate_row(rewards["R"], row) < evaluate_row(rewards["S"], row) for row in own)

    return Case(text, rewards, (where,), deployed, exactly)


def slower(rng: np.random.Generator) -> Case:
    """The slower of two records that differ in speed alone is worth at least as much."""
    reward = network(int(rng.integers(10**6)), 3)
    edge = round(float(rng.uniform(1, 8)), 2)
    where = Region((0.0, 0.0), (4.0, edge), True)
    text = (
        "must asked:\n  forall a, b: Step varying speed\n"
        f"  given a.close and a.gap <= {edge} [m] and a.speed <= b.speed\n  expect R(a) >= R(b)\n"
    )

    def pairs(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = x[where.off(x) <= 0]
        less = own.copy()
        less[:, 0] *= np.linspace(0, 1, len(own), dtype=np.float32)
        return less, own

    def deployed(rewards: Mapping[str, Artifact], x: np.ndarray) -> bool:  # proved over the reals: rounding is left
        less, own = (forward(rewards["R"], rows).astype(np.float64) for rows in pairs(x))
        return bool((less >= own - 1e-5).all())

    def exactly(rewards: Mapping[str, Artifact], x: np.ndarray) -> bool:
        less, own = pairs(x)
        some = range(0, len(own), max(1, len(own) // EXACTLY))
        return all(evaluate_row(rewards["R"], less[k]) >= evaluate_row(rewards["R"], own[k]) for k in some)

    return Case(text, {"R": reward}, (where,), deployed, exactly)


CASES: Mapping[str, Callable[[np.random.Generator], Case]] = {
    "region": capped,
    "violated": capped,
    "threshold": apart,
    "levels": ordered,
    "slope": slower,
    "envelope": slower,
    "last-layer": lambda rng: capped(rng, local=False, tolerance=1e-5),
    "tuning": lambda rng: capped(rng, local=False, tolerance=1e-5),
}


def edit(method: str, seed: int) -> bool:
    """Whether there was something to mend, and it was mended."""
    rng = np.random.default_rng(seed)
    case = CASES[method](rng)
    second = "reward S(s: Step)\n" if "S" in case.rewards else ""
    spec = parse_spec(HEAD + second + case.text)
    rows = dense(rng, case.regions)
    result: PatchResult = rw.patch(spec, method=method, verify_options=OPTIONS, rewards=dict(case.rewards))
    if not result.artifacts:
        assert result.unmended or result.before["asked"].verdict == "proved"
        return False
    assert result.before["asked"].verdict != "proved"
    after = {**case.rewards, **result.artifacts}
    if result.after["asked"].verdict != "proved":
        assert "asked" in result.unmended or result.after["asked"].verdict == "unknown"
        return False
    assert case.deployed(after, rows)
    assert case.exactly(after, rows)
    beyond = ~np.any([part.reached(rows) for part in case.regions], axis=0)
    for name, child in result.artifacts.items():
        parent = case.rewards[name]
        assert child.parent == parent.digest
        old, new = forward(parent, rows), forward(child, rows)
        if case.local:
            assert old[beyond].tobytes() == new[beyond].tobytes()
            for row in rows[beyond][:EXACTLY]:
                assert evaluate_row(child, row) == evaluate_row(parent, row)
        promised(child, parent, np.abs(new.astype(np.float64) - old).max(), local=case.local)
    return True


def promised(child: Artifact, parent: Artifact, moved: float, *, local: bool) -> None:
    """What the edit says of itself is never refuted, and where it is a patch, proved."""
    spec = parse_spec(rw.promise(child, parent))
    found = rw.verify(spec, OPTIONS, R=child, Before=parent)
    assert "violated" not in {rule.verdict for rule in found}
    if local and child.patches != parent.patches:
        assert found["outside"].verdict == "proved"
    assert moved <= limit_of(rw.promise(child, parent)) * (1 + 1e-6) + 1e-5


def limit_of(promise: str) -> float:
    """How far the edit moves the reward at most: as a rule of its own, or in the words above two that say so together,
    of what is built into the network."""
    rule = next((line for line in promise.splitlines() if "<=" in line and "|R(" in line), None)
    if rule is not None:
        return float(rule.rpartition("<=")[2])
    return float(promise.partition("nothing moves by more than ")[2].split()[0].rstrip("."))


@pytest.mark.parametrize(("method", "seed"), [("region", 10), ("violated", 17), ("threshold", 13), ("levels", 11)])
def test_fixed_and_local_as_promised(method: str, seed: int) -> None:
    assert edit(method, seed)


@pytest.mark.slow
@pytest.mark.parametrize("method", list(CASES))
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_on_many_more(method: str, seed: int) -> None:
    edit(method, seed)
