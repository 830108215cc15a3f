"""What an edit may change, as a theorem: exact shares of unions of boxes, a bound of every change, what data saw."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from html import escape
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import rewarden as rw
from rewarden.cli import run as cli
from rewarden.editor import volume
from rewarden.editor.behaviour import Behaviour
from rewarden.editor.effect import effect
from rewarden.editor.mend import EditReport, bounds_for
from rewarden.editor.patch import PatchOptions, apply_patch
from rewarden.editor.volume import where_patches_act
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.figures import at_most_text
from rewarden.reward.graph import AffineMap, Graph, Input
from rewarden.reward.store import save_artifact
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.spec import parse_spec
from rewarden.verifier.extremum import certified_extremum
from tests.reference.random_graphs import MIXED, random_mlp, random_rows, seeds
from tests.unit.test_mend import HEAD, OPTIONS, reward, spec_of
from tests.unit.test_tables import with_table


def rule(name: str, given_: str, expect: str) -> str:
    return f"must {name}:\n  forall s: S\n  given {given_}\n  expect {expect}\n"


@settings(max_examples=12, deadline=None)
@given(seed=seeds)
def test_shares_of_overlapping_boxes_of_numbers_and_cases(seed: int) -> None:
    rng = np.random.default_rng(seed)
    artifact = with_table(random_mlp(rng, MIXED, (3,)), rng, int(rng.integers(1, 8)))
    share = where_patches_act(artifact, [0])
    rows = random_rows(rng, MIXED, 4000)
    uniform = np.random.default_rng(seed + 1).random(rows.shape)
    for j, column in enumerate(artifact.columns):  # uniform over reals and over whole numbers
        lo, hi = float(column.lo), float(column.hi)
        whole = np.floor(lo + uniform[:, j] * (hi - lo + 1)) if column.discrete else lo + uniform[:, j] * (hi - lo)
        rows[:, j] = np.clip(whole, lo, hi)
    cases = [j for j, c in enumerate(artifact.columns) if c.name.startswith("zone")]
    rows[:, cases] = np.eye(len(cases))[rng.integers(len(cases), size=len(rows))]
    patch, t = artifact.patches[0], artifact.tensors
    g = ((rows @ t[patch.rows].T.astype(float))[:, None] - t[patch.offsets][None]).max(axis=2).min(axis=1)
    found = float((g < float(t[patch.gate][0])).mean())
    assert share.exact
    assert abs(found - float(share.most)) <= 4.5 * np.sqrt(max(found * (1 - found), 1e-3) / len(rows))


@settings(max_examples=12, deadline=None)
@given(seed=seeds)
def test_of_too_many_sides_there_is_an_upper_bound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    artifact = with_table(random_mlp(rng, MIXED, (3,)), rng, int(rng.integers(1, 8)))
    exact = where_patches_act(artifact, [0])
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(volume, "MOST_EXACT", 0)
        bounded = where_patches_act(artifact, [0])
    assert bounded.least == 0
    assert bounded.most > 0
    assert exact.most <= bounded.most <= 1
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(volume, "MOST_SIDES", 0)
        cut = where_patches_act(artifact, [0])
    assert cut.least <= exact.least
    assert exact.most <= cut.most


def test_an_exact_union(tmp_path: Path) -> None:
    """Two squares of 1 m² that overlap in a quarter, with rims of half a metre, of 10 m × 10 m and one of two bits."""
    rules = rule("a", "s.on and 2 [m] <= s.x <= 3 [m] and 2 [m] <= s.y <= 3 [m]", "R(s) <= 1") + rule(
        "b", "s.on and 2.5 [m] <= s.x <= 3.5 [m] and 2.5 [m] <= s.y <= 3.5 [m]", "R(s) <= 2"
    )
    spec, child = spec_of(rules, tmp_path), reward()
    for name in "ab":
        child, _ = apply_patch(child, bounds_for(spec, {"R": child}, name, PatchOptions())[0], certified_extremum)
    share = where_patches_act(child, [0, 1])
    assert share.exact
    assert abs(share.most - Fraction(4 + 4 - Fraction(9, 4)) / 200) < Fraction(1, 10**4)


def test_of_an_edit_on_top_of_another_it_is_told_where_the_newer_acts(tmp_path: Path) -> None:
    rules = rule("low", "s.x >= 9 [m] and s.on", "R(s) <= 1") + rule("other", "s.x <= 1 [m] and s.on", "R(s) <= 2")
    spec, base = spec_of(rules, tmp_path), reward()
    line = [base]
    for name in ("low", "other"):
        bound = bounds_for(spec, {"R": line[-1]}, name, PatchOptions())[0]
        child, facts = apply_patch(line[-1], bound, certified_extremum)
        line.append(child)
    found = effect(spec, line[1], line[2], [EditReport("other", "R", facts)])
    assert found.acts == where_patches_act(line[2], [1])
    assert found.acts != where_patches_act(line[2], [0, 1])


@pytest.mark.parametrize("order", [["low", "high", "deep"], ["high", "deep", "low"]])
def test_no_record_moves_by_more_than_is_stated(order: list[str], tmp_path: Path) -> None:
    rules = (
        rule("low", "s.x >= 5 [m]", "R(s) <= 4")
        + rule("deep", "s.x >= 8 [m] and s.y >= 4 [m]", "R(s) <= 1")
        + rule("high", "s.x <= 4 [m] and s.on", "R(s) >= 6")
    )
    spec, parent = spec_of(rules, tmp_path), reward()
    child, edits = parent, []
    for name in order:
        child, facts = apply_patch(child, bounds_for(spec, {"R": child}, name, PatchOptions())[0], certified_extremum)
        edits.append(EditReport(name, "R", facts))
    found = effect(spec, parent, child, edits)
    rng = np.random.default_rng(0)
    rows = np.stack([rng.uniform(0, 10, 50_000), rng.uniform(0, 10, 50_000), rng.integers(0, 2, 50_000)], 1)
    rows = rows.astype(np.float32)
    change = np.abs(forward(child, rows).astype(float) - forward(parent, rows).astype(float))
    assert found.most is not None
    assert found.acts is not None
    assert found.attained <= float(found.most)
    assert change.max() <= float(found.most) <= 1.2 * change.max()
    assert (change != 0).mean() <= float(found.acts.most) + 0.01
    told = found.statement["inside"].removeprefix("no record anywhere moves by more than ").partition(";")[0]
    assert Fraction(told) >= found.most  # what is read is a bound as well
    assert found.over == "rows of rows"
    assert found.drift.rows == 4


def test_an_order_that_turned_is_shown(tmp_path: Path) -> None:
    spec = spec_of(rule("r", "s.x >= 8 [m]", "R(s) <= 1"), tmp_path)
    parent = reward()
    child, facts = apply_patch(parent, bounds_for(spec, {"R": parent}, "r", PatchOptions())[0], certified_extremum)
    found = effect(spec, parent, child, [EditReport("r", "R", facts)])
    assert found.example is not None
    assert found.flips
    assert found.ranks
    assert found.pairs == 6
    (a, b), (c, d) = found.example.before, found.example.after
    assert (a - b) * (c - d) < 0
    assert "can change which behaviour" in found.statement["behaviour"]
    assert found.epic is not None
    assert 0 < found.epic < 1
    told = found.to_json()
    assert Fraction(told["most"]) == found.most
    assert told["acts"]["exact"] is True


def test_what_a_slope_takes_of_a_large_reward_is_told_of_real_numbers() -> None:
    """Of a million binary32 takes away 1/16 or nothing."""
    kind = RecordType(
        "S", (Feature("x", "real", Fraction(0), Fraction(1)), Feature("y", "real", Fraction(0), Fraction(9)))
    )
    tensors = {"w": np.array([[0.04, 0]], np.float32), "b": np.array([1e6], np.float32)}
    parent = Artifact((RewardRecord("s", kind),), Graph((Input(), AffineMap(0, "w", "b")), 1), tensors, "exact")
    spec = parse_spec(
        "spec m v1\nfeatures S {\n  x : real in 0 .. 1\n  y : real in 0 .. 9\n}\nreward R(s: S)\n"
        "must r:\n  forall a, b: S varying x\n  given a.x <= b.x and a.y <= 3\n  expect R(a) >= R(b)\n"
    )
    result = rw.patch(spec, verify_options=OPTIONS, method="slope", R=parent)
    assert result.artifact is not None
    found = effect(spec, parent, result.artifact, result.edits)
    assert found.most is not None
    assert found.attained > float(found.most)
    assert "over the reals" in found.statement["inside"]


def test_weights_that_moved_are_not_called_local(tmp_path: Path) -> None:
    spec = spec_of(rule("r", "s.x >= 8 [m]", "R(s) <= 1"), tmp_path)
    parent = reward()
    moved = replace(parent, tensors={**parent.tensors, "b.b": np.array([0.5], np.float32)})
    found = effect(spec, parent, moved, [])
    assert found.acts is None
    assert found.most is None
    assert "weights moved" in found.statement["outside"]
    assert found.flips == 0
    assert found.epic is not None
    assert found.epic < 1e-3
    assert rw.patch(spec, verify_options=OPTIONS, R=parent).artifact is not None


@pytest.mark.parametrize("digits", [4, 6])
def test_bounds_are_rounded_up(digits: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        value = Fraction(int(rng.integers(1, 10**12)), int(rng.integers(1, 10**12)))
        told = Fraction(at_most_text(value, digits))
        assert value <= told <= value * (1 + Fraction(10, 10**digits))
    assert at_most_text(Fraction(4) + Fraction(1, 10**9), digits) != "4" == at_most_text(Fraction(4), digits)


# ── behaviour ──────────────────────────────────────────────────────────────────────────────────
@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_behaviours_that_turn_are_worth_what_is_said(seed: int) -> None:
    """One row moves, without passing another: two behaviours that it turns are found, and sum up as told."""
    rng = np.random.default_rng(seed)
    old = np.sort(rng.normal(size=6).astype(np.float32)).astype(float)
    x = int(rng.integers(6))
    room = [old[x] - (old[x - 1] if x else old[x] - 2), (old[x + 1] if x < 5 else old[x] + 2) - old[x]]
    new = old.copy()
    new[x] += float(rng.choice([-0.9 * room[0], 0.9 * room[1]]))
    found = Behaviour.of(old, new, states=True)
    assert found.flips == 0
    assert found.example is None
    if found.turned is None:  # the move is too small for a thousand visits to show
        assert abs(new[x] - old[x]) < 0.02 * (old.max() - old.min())
        return
    for values, told in ((old, found.turned.before), (new, found.turned.after)):
        sums = [sum(times * values[row - 1] for row, times in side) for side in found.turned.visits]
        assert sums == pytest.approx(told)
    lengths = {sum(times for _, times in side) for side in found.turned.visits}
    assert len(lengths) == 1
    assert all(times >= 0 for side in found.turned.visits for _, times in side)
    (a, b), (c, d) = found.turned.before, found.turned.after
    assert (a - b) * (c - d) < 0
    assert found.sentence().startswith("it can change which behaviour is optimal, though no two rows turned")


@pytest.mark.parametrize("seed", range(8))
def test_a_rank_has_changed_where_no_order_of_equals_keeps_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    old, new = (rng.integers(0, 4, 6).astype(np.float64) for _ in range(2))

    def ranks(values: np.ndarray) -> list[set[int]]:
        """Of each row, in all orders that sort the values."""
        sorted_ = [order for order in permutations(range(6)) if list(values[list(order)]) == sorted(values)]
        return [{order.index(row) for order in sorted_} for row in range(6)]

    changed = sum(not before & after for before, after in zip(ranks(old), ranks(new), strict=True))
    assert Behaviour.of(old, new, states=True).ranks == changed
    assert Behaviour.of(old, np.minimum(old, 1.0), states=True).ranks == 0  # a ceiling over all rows turns no order


def test_what_no_behaviour_shows_is_not_claimed() -> None:
    old = np.array([0.0, 1.0, 2.0, 3.0])
    assert "same amount" in Behaviour.of(old, old + 0.5, states=True).sentence()
    still = Behaviour.of(old, old.copy(), states=True)
    assert f"none of the {len(old)} rows of d has moved" in still.sentence(over="rows of d")
    steps = Behaviour.of(old, np.array([0.0, 1.0, 2.0, 0.5]), states=False)
    assert steps.flips
    assert "EPIC's distance is 0, as of potential shaping" in steps.sentence(0.0)
    assert steps.sentence(0.0).startswith("whether it can change which behaviour is optimal was not told")
    assert steps.sentence(0.5).startswith("it can change which behaviour is optimal: EPIC's distance")
    assert "was not told" in steps.sentence(None)


def test_shaping_turns_steps_and_no_behaviour(tmp_path: Path) -> None:
    """R(s, n) and R(s, n) + 0.99·Φ(n) − Φ(s): pairs of steps turn, and nothing is said to change."""
    kind = reward().records[0].type
    tensors = {"w": np.array([[1, -1, 0, 0.5, 1, 0]], np.float32), "b": np.zeros(1, np.float32)}
    records = (RewardRecord("s", kind), RewardRecord("n", kind))
    parent = Artifact(records, Graph((Input(), AffineMap(0, "w", "b")), 1), tensors, "exact")
    potential = np.array([3, 2, 1], np.float32)
    shaped = tensors["w"] + np.concatenate([-potential, np.float32(0.99) * potential])
    child = replace(parent, tensors={**tensors, "w": shaped})
    other = replace(parent, tensors={**tensors, "w": tensors["w"] * np.array([1, -1, 1, 1, 1, 1], np.float32)})
    spec = parse_spec(HEAD.replace("R(s: S)", "R(s: S, n: S)"), "m.rwd", base=tmp_path)
    found = effect(spec, parent, child, [])
    assert found.flips > 1000
    assert "as of potential shaping" in found.statement["behaviour"]
    changed = effect(spec, parent, other, [])
    assert changed.statement["behaviour"].startswith("it can change which behaviour is optimal: EPIC's distance")
    assert "is {s.x = " in changed.statement["behaviour"]


def test_a_small_distance_is_not_taken_for_shaping() -> None:
    """A patch on a corner: what is best there is another action now, of which EPIC's sampled distance sees little."""
    state, action = (RecordType(name, (Feature(name.lower(), "real", Fraction(0), Fraction(1)),)) for name in "XU")
    tensors = {"w": np.ones((1, 2), np.float32), "b": np.zeros(1, np.float32)}
    records = (RewardRecord("s", state), RewardRecord("a", action))
    parent = Artifact(records, Graph((Input(), AffineMap(0, "w", "b")), 1), tensors, "exact")
    text = (
        "spec m v1\nfeatures X {\n  x : real in 0 .. 1\n}\nfeatures U {\n  u : real in 0 .. 1\n}\n"
        "reward R(s: X, a: U)\nmust r:\n  forall s: X, a: U\n  given s.x >= 0.98 and a.u >= 0.98\n"
        "  expect R(s, a) <= 1.97\n"
    )
    spec, options = parse_spec(text), PatchOptions(ring=Fraction(1, 1000))
    child, facts = apply_patch(parent, bounds_for(spec, {"R": parent}, "r", options)[0], certified_extremum)
    found = effect(spec, parent, child, [EditReport("r", "R", facts)])
    assert found.drift.changed
    assert found.epic is not None
    assert found.epic < 1e-3
    best = [float(forward(a, np.array([[1, 1], [1, 0.975]], np.float32)).argmax()) for a in (parent, child)]
    assert best == [0, 1]
    assert "was not told" in found.statement["behaviour"]


# ── distances ──────────────────────────────────────────────────────────────────────────────────
def test_dard_where_steps_are_recorded_and_a_line_where_they_are_not(tmp_path: Path) -> None:
    spec = spec_of(rule("r", "s.x >= 8 [m]", "R(s) <= 1"), tmp_path)
    parent = reward()
    child, facts = apply_patch(parent, bounds_for(spec, {"R": parent}, "r", PatchOptions())[0], certified_extremum)
    edits = [EditReport("r", "R", facts)]
    without = effect(spec, parent, child, edits)
    assert without.dard is None
    assert "no recorded steps" in without.without["DARD"]
    assert "DARD none: the spec's data have no recorded steps" in without.lines[-2]
    rng = np.random.default_rng(0)
    lines = ["x,y,on,episode,step"]
    for episode in range(10):
        x, y = rng.uniform(0, 10, 2)
        for step in range(10):
            lines.append(f"{x},{y},{step % 2},{episode},{step}")
            x, y = np.clip([x + rng.normal(), y + rng.normal()], 0, 10)
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    spec = parse_spec(HEAD + rule("r", "s.x >= 8 [m]", "R(s) <= 1"), "mend.rwd", base=tmp_path)
    found = effect(spec, parent, child, edits)
    assert found.epic is not None
    assert found.dard is not None
    assert 0 < found.dard < 1
    from rewarden.reward.judging.distances import DistanceOptions, dard
    from rewarden.reward.judging.transitions import episode_steps, roles_of

    steps = episode_steps(tmp_path / "rows.csv", parent.records[0].type)
    assert steps is not None
    assert found.dard == dard(parent, child, roles_of(parent), steps, DistanceOptions(bootstraps=0)).value
    assert found.to_json()["dard"] == found.dard


# ── several rewards ────────────────────────────────────────────────────────────────────────────
def test_every_edited_reward_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = rule("r", "s.x >= 5 [m]", "R(s) <= Q(s)")
    (tmp_path / "rows.csv").write_text("x,y,on\n1,1,0\n2,2,0\n6,3,1\n9,9,1\n")
    (tmp_path / "mend.rwd").write_text(HEAD + rules)
    rewards = {"R": reward(), "Q": reward(-4.0)}
    for name, artifact in rewards.items():
        save_artifact(artifact, tmp_path / name)
    asked = [f"--reward={name}={tmp_path / name}" for name in rewards]
    told = tmp_path / "told.json"
    status = cli(
        [
            "patch",
            str(tmp_path / "mend.rwd"),
            *asked,
            "-o",
            str(tmp_path / "out"),
            "--json",
            str(told),
            "--html",
            str(tmp_path / "p.html"),
        ]
    )
    assert status == 0
    edits = json.loads(told.read_text())["edits"]
    assert edits.keys() == {"R", "Q"}
    assert all(one["acts"] is not None and one["statement"]["behaviour"] for one in edits.values())
    page = (tmp_path / "p.html").read_text()
    assert "What the edit did to R" in page
    assert "What the edit did to Q" in page
    assert edits["Q"]["statement"]["inside"] in page
    out = capsys.readouterr().out
    assert all(one["patches"] for one in edits.values())
    rims = [line.split(": ", 1)[1] for line in out.splitlines() if "rises by at most" in line]
    assert len(rims) == sum(len(one["patches"]) for one in edits.values())
    assert all(f"<li>{escape(rim)}</li>" in page for rim in rims)
    for name in rewards:
        assert f"{name}: outside of" in out
        assert f"{name}: no record anywhere moves by more than" in out
