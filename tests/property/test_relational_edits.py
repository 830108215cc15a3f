"""Random rules that relate records or rewards: what is fixed, what is left alone, and that the verifier says so.

Four forms: two records held apart, two that move together (one column or several, freely or by fixed steps, reals and
whole numbers, everywhere or in a region), two rewards of one record, and limits on how far these differ. The premise
and the goal are drawn as numbers and written as text; the numbers are what the edited rewards are held against, at
pairs of records on faces, rims and next to them, deployed and exactly. Beyond the rims every bit is the parent's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
from tests.property.test_every_method import EXACTLY, OPTIONS, RANGES, Region, dense, promised, region
from tests.unit.test_methods import HEAD, network

COLUMNS = {"speed": (0, RANGES[0], "m/s"), "gap": (1, RANGES[1], "m"), "lanes": (3, (1.0, 4.0), "")}
ROUNDING = 1e-5  # rules about records that move together are proved over the reals
Rewards = Mapping[str, Artifact]
Rows = np.ndarray


@dataclass(frozen=True)
class Relation:
    """A rule in words; `met`: the records of the premise, one array for each variable; `margin`: what the goal asks to
    be at least 0, of the values of R, and of S, at these (`strict`: above 0); `acts`: where an edit may change a
    record. `everywhere`: there is no beyond."""

    text: str
    rewards: Rewards
    met: Callable[[Rows], tuple[Rows, ...]]
    margin: Callable[..., object]
    acts: tuple[Region, ...]
    strict: bool = False
    tolerance: float = 0.0
    everywhere: bool = False

    def values(self, rewards: Rewards, records: tuple[Rows, ...]) -> list[np.ndarray]:
        return [forward(reward, rows).astype(np.float64) for reward in rewards.values() for rows in records]

    def exactly(self, rewards: Rewards, records: tuple[Rows, ...], k: int) -> list[Fraction]:
        return [evaluate_row(reward, rows[k]) for reward in rewards.values() for rows in records]


def held_apart(rng: np.random.Generator) -> Relation:
    """R(a) >= R(b) + m where nothing is shared, or all but one or two features."""
    reward, margin = network(int(rng.integers(10**6)), 4), Fraction(int(rng.integers(0, 4)), 8)
    varying = str(rng.choice(["", "close", "gap", "close, gap"]))
    far, near = region(rng, gap=(6.0, 10.0)), region(rng, gap=(0.0, 4.0))
    if "close" in varying:
        far, near = (replace(part, close=False) for part in (far, near))
    if varying == "close":
        near = far
    conditions = [part.text(name) for part, name in ((far, "a"), (near, "b"))]
    if "close" in varying:
        conditions.append("a.close and not b.close")
    text = (
        f"must asked:\n  forall a, b: Step{' varying ' + varying if varying else ''}\n"
        f"  given {' and '.join(c for c in conditions if c)}\n  expect R(a) >= R(b) + {float(margin)}\n"
    )

    def met(x: Rows) -> tuple[Rows, Rows]:
        better, worse = x[rng.permutation(len(x))], x.copy()
        shared = {"": [], "close": [0, 1, 3], "gap": [0, 2, 3], "close, gap": [0, 3]}[varying]
        worse[:, shared] = better[:, shared]
        if "close" in varying:
            better[:, 2], worse[:, 2] = 1, 0
        elif far.close or near.close:
            better[:, 2] = worse[:, 2] = 1
        both = (far.off(better) <= 0) & (near.off(worse) <= 0)
        return better[both], worse[both]

    def goal(better: Fraction, worse: Fraction) -> Fraction:
        return better - worse - margin

    return Relation(text, {"R": reward}, met, goal, (far, near))


def moving_together(rng: np.random.Generator) -> Relation:
    """R(a) >= R(b) − slack where b is further along some columns, freely or by fixed steps."""
    reward = network(int(rng.integers(10**6)), int(rng.integers(2, 5)))
    names = list(rng.choice(["speed", "gap", "lanes"], int(rng.choice([1, 1, 2])), replace=False))
    signs = {name: int(rng.choice([1, -1])) for name in names}  # 1: the worse record has more of it
    slack, freely = float(rng.choice([0.0, 0.0, 0.05])), bool(rng.random() < 0.6)
    where = Region((0.0, 0.0), (4.0, 10.0), False)
    everywhere = bool(rng.random() < 0.15)
    if not everywhere:  # on one side of a column, so that all of the other side may be moved to
        edge = round(float(rng.uniform(1, 8)), 2)
        low, high = ((0.0, edge), (4.0, 10.0)) if signs.get("gap", 1) > 0 else ((0.0, 0.0), (4.0, edge))
        where = Region(low, high, bool(rng.random() < 0.5))
    strict = bool(slack and rng.random() < 0.5)
    relation, slacked = ">" if strict else ">=", f" - {slack}" if slack else ""
    steps = dict.fromkeys(names, 1.0)

    def with_unit(number: float, name: str) -> str:
        unit = COLUMNS[name][2]
        return f"{int(number) if name == 'lanes' else number}" + (f" [{unit}]" if unit else "")

    if freely:
        conditions = [f"a.{n} {'<=' if s > 0 else '>='} b.{n}" for n, s in signs.items()]
        opening = f"forall a, b: Step varying {', '.join(names)}"
        expect = f"R(a) {relation} R(b){slacked}"
        own = where.text("b")
    else:
        conditions, changes = [], []
        for n, s in signs.items():
            _, (lo, hi), _ = COLUMNS[n]
            end = lo + steps[n] if s > 0 else hi - steps[n]
            conditions.append(f"s.{n} {'>=' if s > 0 else '<='} {with_unit(end, n)}")
            changes.append(f"{n} = s.{n} {'-' if s > 0 else '+'} {with_unit(steps[n], n)}")
        opening, expect = "forall s: Step", f"R(s with {{{', '.join(changes)}}}) {relation} R(s){slacked}"
        own = where.text("s")
    given_ = " and ".join(c for c in (own, *conditions) if c)
    text = f"must asked:\n  {opening}\n  given {given_}\n  expect {expect}\n"

    def met(x: Rows) -> tuple[Rows, Rows]:
        worse = x[where.off(x) <= 0].copy()
        better = worse.copy()
        for n, s in signs.items():
            j, (lo, hi), _ = COLUMNS[n]
            if freely:
                end = np.float32(lo if s > 0 else hi)
                share = rng.choice([0.0, 1.0, 0.5, 1e-3], len(worse)).astype(np.float32)
                better[:, j] = worse[:, j] + (end - worse[:, j]) * share
                better[:, j] = np.rint(better[:, j]) if n == "lanes" else better[:, j]
                back = s * (worse[:, j] - better[:, j]) < 0
                better[back, j] = worse[back, j]
            else:  # as binary32 numbers that are exactly the step apart
                worse[:, j] = np.rint(worse[:, j] * 1024) / 1024
                better[:, j] = worse[:, j] - s * steps[n]
        inside = where.off(worse) <= 0
        for n in names:
            j, (lo, hi), _ = COLUMNS[n]
            inside &= (better[:, j] >= lo) & (better[:, j] <= hi)
        return better[inside], worse[inside]

    def goal(better: Fraction, worse: Fraction) -> Fraction:
        return better - worse + (Fraction(str(slack)) if isinstance(better, Fraction) else slack)

    low, high = list(where.low), list(where.high)
    for n, s in signs.items():
        j, (lo, hi), _ = COLUMNS[n]
        if j < 2:
            (low if s > 0 else high)[j] = lo if s > 0 else hi
    acts = Region((low[0], low[1]), (high[0], high[1]), where.close)
    free = (acts.low, acts.high, acts.close) == ((0.0, 0.0), (4.0, 10.0), False)
    return Relation(text, {"R": reward}, met, goal, (acts,), strict, ROUNDING, everywhere or free)


def two_rewards(rng: np.random.Generator) -> Relation:
    """One reward above, or below, another."""
    rewards = {name: network(int(rng.integers(10**6)), 4) for name in ("R", "S")}
    where = region(rng)
    relation = str(rng.choice(["<", "<=", ">", ">="]))
    sign = 1 if relation.startswith(">") else -1
    text = f"must asked:\n  forall s: Step\n  given {where.text('s')}\n  expect R(s) {relation} S(s)\n"

    def goal(first: Fraction, second: Fraction) -> Fraction:
        return sign * (first - second)

    return Relation(text, rewards, lambda x: (x[where.off(x) <= 0],), goal, (where,), "=" not in relation)


def near_each_other(rng: np.random.Generator) -> Relation:
    """One reward is above another by at most so much, or by at least so much."""
    rewards = {name: network(int(rng.integers(10**6)), 4) for name in ("R", "S")}
    where, amount = region(rng), Fraction(int(rng.integers(1, 9)), 8)
    most = bool(rng.random() < 0.5)
    relation, sign = ("<=", -1) if most else (">=", 1)
    difference = "R(s) - S(s)" if rng.random() < 0.5 else "R(s)"
    right = f"{float(amount)}" if difference != "R(s)" else f"S(s) + {float(amount)}"
    text = f"must asked:\n  forall s: Step\n  given {where.text('s')}\n  expect {difference} {relation} {right}\n"

    def goal(first: Fraction, second: Fraction) -> Fraction:
        return sign * (first - second - amount)

    return Relation(text, rewards, lambda x: (x[where.off(x) <= 0],), goal, (where,))


FORMS: Mapping[str, Callable[[np.random.Generator], Relation]] = {
    "held apart": held_apart,
    "moving together": moving_together,
    "two rewards": two_rewards,
    "near each other": near_each_other,
}


def edited(form: str, seed: int, method: str = "auto", options: VerifyOptions = OPTIONS) -> bool:
    """Whether there was something to mend, and it was mended."""
    rng = np.random.default_rng(seed)
    asked = FORMS[form](rng)
    spec = parse_spec(HEAD + ("reward S(s: Step)\n" if "S" in asked.rewards else "") + asked.text)
    rows = dense(rng, asked.acts)
    result: PatchResult = rw.patch(spec, method=method, verify_options=options, rewards=dict(asked.rewards))
    before = result.before["asked"].verdict
    records = asked.met(rows)
    old = np.asarray(asked.margin(*asked.values(asked.rewards, records)))
    if before == "proved":
        assert (old >= -ROUNDING).all()
    if not result.artifacts:
        assert before in ("proved", "vacuous") or result.unmended
        return False
    assert before in ("violated", "unknown")
    after = {**asked.rewards, **result.artifacts}
    if result.after["asked"].verdict != "proved":
        assert "asked" in result.unmended or result.after["asked"].verdict == "unknown"
        return False
    assert len(records[0]), "records of the premise are among those looked at"
    new = np.asarray(asked.margin(*asked.values(after, records)))
    assert (new >= -asked.tolerance).all()
    for k in {int(np.argmin(new)), *range(0, len(new), max(1, len(new) // EXACTLY))}:
        exactly = asked.margin(*asked.exactly(after, records, k))
        assert exactly > 0 if asked.strict else exactly >= 0  # type: ignore[operator]
    left_alone(asked, result, rows)
    return True


def left_alone(asked: Relation, result: PatchResult, rows: Rows) -> None:
    beyond = ~np.any([part.reached(rows) for part in asked.acts], axis=0)
    assert asked.everywhere or beyond.any()
    for name, child in result.artifacts.items():
        parent = asked.rewards[name]
        assert child.parent == parent.digest
        old, new = forward(parent, rows), forward(child, rows)
        assert (old != new).any()
        if not asked.everywhere:
            assert old[beyond].tobytes() == new[beyond].tobytes()
            for row in rows[beyond][:EXACTLY]:
                assert evaluate_row(child, row) == evaluate_row(parent, row)
                assert forward(child, row[None]).tobytes() == forward(parent, row[None]).tobytes()
        promised(child, parent, np.abs(new.astype(np.float64) - old).max(), local=not asked.everywhere)


@pytest.mark.parametrize(
    ("form", "seed"),
    [("moving together", 33), ("two rewards", 1), ("near each other", 1)],
)
def test_what_a_relation_asks_holds_and_nothing_else_has_moved(form: str, seed: int) -> None:
    assert edited(form, seed)


@pytest.mark.slow
@pytest.mark.parametrize("form", list(FORMS))
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_on_many_more_relations(form: str, seed: int) -> None:
    edited(form, seed)
