"""Rules near data, mended by one patch on thousands of boxes: proved inside, the same bits outside."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import rewarden as rw
from rewarden.editor.mend import bounds_for
from rewarden.editor.patch import PatchOptions, apply_patch
from rewarden.reward import statistics
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.assembly import Assembly
from rewarden.reward.deployed import forward
from rewarden.reward.exact import evaluate_row
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.spec import Spec, parse_spec
from rewarden.verifier.bind import bind
from rewarden.verifier.by_parts import easier
from rewarden.verifier.extremum import certified_extremum
from rewarden.verifier.options import VerifyOptions
from tests.reference.random_graphs import random_mlp, random_rows

TYPE = RecordType(
    "S",
    (
        Feature("x", "real", Fraction(0), Fraction(10), "m"),
        Feature("y", "real", Fraction(-1), Fraction(1), "m"),
        Feature("on", "bool", Fraction(0), Fraction(1)),
        Feature("zone", "enum", Fraction(0), Fraction(1), None, ("left", "right")),
    ),
)
HEAD = """spec nearby v1
features S {
  x    : real [m] in 0 .. 10
  y    : real [m] in -1 .. 1
  on   : bool
  zone : enum {left, right}
}
reward R(s: S)
data bad: S from "bad.csv"
"""
OPTIONS = VerifyOptions(budget=500, falsify_budget=500)
RING = PatchOptions(ring=Fraction(1, 50))


def reward(seed: int = 0) -> Artifact:
    made = random_mlp(np.random.default_rng(seed), TYPE, (6, 6))
    return replace(made, records=(RewardRecord("s", TYPE),))


def data(folder: Path, count: int) -> np.ndarray:
    rows = random_rows(np.random.default_rng(5), TYPE, count)
    zones = np.where(rows[:, 3] == 1, "left", "right")
    lines = [f"{x!r},{y!r},{int(on)},{zone}" for x, y, on, zone in zip(*rows[:, :3].T.tolist(), zones, strict=True)]
    (folder / "bad.csv").write_text("\n".join(["x,y,on,zone", *lines]) + "\n")
    return rows


def spec_of(rules: str, folder: Path) -> Spec:
    return parse_spec(HEAD + rules, "nearby.rwd", base=folder)


def apart(rows: np.ndarray, anchors: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """[row]: how far the nearest anchor is, in shares of the ranges, over all columns."""
    return np.array([(np.abs(anchors - row) / ranges).max(axis=1).min() for row in rows])


def test_hundreds_of_rows_are_one_patch(tmp_path: Path) -> None:
    anchors = data(tmp_path, 300)
    spec = spec_of("must r:\n  forall s: S near bad within 1 %\n  expect R(s) <= quantile(R(bad), 1/2)\n", tmp_path)
    parent = reward()
    result = rw.patch(spec, RING, verify_options=OPTIONS, R=parent)
    child = result.artifact
    assert child is not None
    assert not result.unmended
    assert result.after["r"].verdict == "proved"
    assert len(child.patches) == 1
    (fact,) = result.edits[0].patches
    assert fact.boxes == len(np.unique(anchors, axis=0))
    rng = np.random.default_rng(6)
    ranges = np.array([10.0, 2.0, 1.0, 1.0, 1.0])
    moved = anchors[rng.integers(len(anchors), size=4000)]
    moved[:, :2] += rng.uniform(-0.05, 0.05, (4000, 2)) * ranges[:2]
    rows = np.clip(moved, [0, -1, 0, 0, 0], [10, 1, 1, 1, 1]).astype(np.float32)
    rows = np.concatenate([rows, random_rows(rng, TYPE, 2000).astype(np.float32)])
    before, after, far = forward(parent, rows), forward(child, rows), apart(rows.astype(float), anchors, ranges)
    assert (after[far <= 0.01] <= np.float32(fact.level)).all()
    outside = far >= 0.03 + 1e-6
    assert outside.any()
    assert np.array_equal(before[outside].view(np.uint32), after[outside].view(np.uint32))
    assert (before != after).any()
    assert (after <= before).all()


def test_a_premise_narrows_all_boxes_and_a_ball_is_patched_as_its_box(tmp_path: Path) -> None:
    data(tmp_path, 20)
    parent = reward(1)
    rules = (
        "must narrow:\n  forall s: S near bad within 2 %\n  given s.on and s.x <= 5 [m]\n  expect R(s) >= 1\n"
        "must ball:\n  forall s: S near bad within 2 % in l2\n  expect R(s) >= 1/2\n"
        "must diamond:\n  forall s: S near bad within 2 % in l1\n  expect R(s) >= 1/4\n"
    )
    spec = spec_of(rules, tmp_path)
    narrowed = bounds_for(spec, {"R": parent}, "narrow", RING)[0]
    assert len(narrowed.near) == 1
    assert len(narrowed.near[0].rest.rows) == 2
    for rule in ("narrow", "ball", "diamond"):
        child, facts = apply_patch(parent, bounds_for(spec, {"R": parent}, rule, RING)[0], certified_extremum)
        assert len(child.patches) == 1
        assert facts[0].boxes > 1
    result = rw.patch(spec, RING, verify_options=OPTIONS, rules=["narrow", "diamond"], R=parent)
    assert result.artifact is not None
    assert not result.unmended
    assert {r.verdict for r in result.after if r.rule != "ball"} == {"proved"}


@pytest.mark.parametrize("norm", ["", "in l1", "in l2"])
def test_what_a_premise_says_of_the_record_narrows_balls_as_well(tmp_path: Path, norm: str) -> None:
    """A ball is patched as its box, which is no reason to patch records that the rule does not speak of."""
    data(tmp_path, 20)
    parent = reward(1)
    rule = f"must r:\n  forall s: S near bad within 10 % {norm}\n  given s.on and s.x <= 5 [m]\n  expect R(s) >= 1\n"
    spec = spec_of(rule, tmp_path)
    child, _ = apply_patch(parent, bounds_for(spec, {"R": parent}, "r", RING)[0], certified_extremum)
    rows = random_rows(np.random.default_rng(8), TYPE, 4000).astype(np.float32)
    moved = forward(parent, rows).view(np.uint32) != forward(child, rows).view(np.uint32)
    assert moved.any()
    assert not (moved & ((rows[:, 2] == 0) | (rows[:, 0] >= 5.21))).any()  # the ring is 0.2 m wide


def test_a_second_rule_on_top_is_decided_box_by_box(tmp_path: Path) -> None:
    """Looser and stricter rules near the same rows: nothing of them is settled by the first patch's level alone."""
    data(tmp_path, 25)
    rules = (
        "must r:\n  forall s: S near bad within 1 %\n  expect R(s) <= quantile(R(bad), 1/2)\n"
        "must wider:\n  forall s: S near bad within 2 %\n  expect R(s) <= 100\n"
        "must lower:\n  forall s: S near bad within 1 %\n  expect R(s) <= -100\n"
    )
    spec = spec_of(rules, tmp_path)
    result = rw.patch(spec, RING, verify_options=OPTIONS, rules=["r"], R=reward(2))
    assert result.artifact is not None
    verdicts = {r.rule: r.verdict for r in result.after}
    assert verdicts == {"r": "proved", "wider": "proved", "lower": "violated"}
    witness = result.after["lower"].witness
    assert witness is not None
    assert 0 <= witness.box < 25


def test_what_the_patch_cannot_break_is_still_proved_and_what_it_may_break_is_named(tmp_path: Path) -> None:
    """More boxes act in these rules' regions than can be bounded together."""
    data(tmp_path, 400)
    rules = (
        "must r:\n  forall s: S near bad within 1 %\n  expect R(s) <= quantile(R(bad), 1/4)\n"
        "must capped:\n  forall s: S\n  expect R(s) <= 100\n"
        "must floored:\n  forall s: S\n  given s.x >= 1 [m]\n  expect R(s) >= LEVEL\n"
        "must two:\n  forall a, b: S\n  expect R(a) >= R(b) - 100\n"
    )
    parent = reward(2)
    least = float(certified_extremum(parent, tuple((c.lo, c.hi) for c in parent.columns), -1))
    spec = spec_of(rules.replace("LEVEL", repr(-least - 1.0)), tmp_path)
    result = rw.patch(spec, RING, verify_options=OPTIONS, rules=["r"], R=parent)
    assert result.artifact is not None
    assert {r.rule: r.verdict for r in result.before} == {
        "r": "violated", "capped": "proved", "floored": "proved", "two": "proved",
    }  # fmt: skip
    assert result.after["r"].verdict == "proved"
    for name in ("capped", "floored"):  # a ceiling lowers, though to no less than its level
        found = result.after[name]
        assert found.verdict == "proved"
        assert found.claim is not None
        assert found.claim.rewards[0][1] == result.artifact.digest
        assert found.premise_witness is not None
    assert result.broken == ("two",)  # of two records with the patches between them nobody has proved it


def test_only_patches_that_cannot_harm_are_left_out(tmp_path: Path) -> None:
    data(tmp_path, 40)
    near = "must r:\n  forall s: S near bad within 1 %\n  expect R(s) <= 0\n"
    rules = {
        "above": "forall s: S\n  expect R(s) <= 100",
        "below": "forall s: S\n  expect R(s) >= -100",  # the ceiling is at 0
        "at": "forall s: S\n  expect R(s) >= 0",
        "both": "forall s: S\n  expect |R(s)| <= 100",
        "beyond": "forall s: S\n  expect R(s) > 0",
        "higher": "forall s: S\n  expect R(s) >= 1/1000",
        "moving": "forall s: S\n  expect R(s) >= 0.001 [1/m] * s.x - 100",
        "either": "forall s: S\n  given s.on\n  expect R(s) <= 100 or R(s) >= 200",
        "two": "forall a, b: S\n  expect R(a) >= R(b) - 100",
        "asked": "forall s: S\n  given R(s) >= 0\n  expect R(s) <= 100",
        "near_": "forall s: S near bad within 3 %\n  expect R(s) <= 100",
    }
    spec = spec_of(near + "".join(f"must {name}:\n  {text}\n" for name, text in rules.items()), tmp_path)
    parent = reward(5)
    child, _ = apply_patch(parent, bounds_for(spec, {"R": parent}, "r", RING)[0], certified_extremum)
    found = {name: easier(bind(spec, name, {"R": child}), {"R": child}) for name in rules}
    left_out = {"above", "below", "at", "both"}
    assert {name for name, easy in found.items() if easy is not None} == left_out
    for name in left_out:
        easy = found[name]
        assert easy is not None
        assert easy["R"].patches == ()


def test_rows_held_at_the_level_are_known_and_settled_without_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data(tmp_path, 300)
    spec = spec_of("must r:\n  forall s: S near bad within 1 %\n  expect R(s) <= quantile(R(bad), 1/2)\n", tmp_path)
    parent = reward(4)
    child, _ = apply_patch(parent, bounds_for(spec, {"R": parent}, "r", RING)[0], certified_extremum)
    held = []
    monkeypatch.setattr(statistics, "evaluate_row", lambda artifact, row: held.append(1) or evaluate_row(artifact, row))
    level = statistics.statistic(child, spec.rows("bad").values, "quantile", Fraction(1, 2))
    assert level == Fraction(float(child.tensors[child.patches[0].level][0]))
    assert len(held) < 10  # half of the rows are at the level, and no more than a few near it
    found = rw.verify(spec, OPTIONS, R=child)["r"]
    assert (found.verdict, found.engine, found.work.boxes) == ("proved", "caps", 0)
    assert found.premise_witness is not None


@pytest.mark.parametrize("most", [10, 11])
def test_the_rim_is_bounded_with_the_boxes_whatever_a_rings_width_is(tmp_path: Path, most: int) -> None:
    """A range of 10 has rings of 1/2, whose rows have the weight of a discrete column's. The reward is steep there."""
    (tmp_path / "bad.csv").write_text("x\n2\n5\n")
    text = f"""spec narrow v1
features S {{
  x : real in 0 .. {most}
}}
reward R(s: S)
data bad: S from "bad.csv"
must r:
  forall s: S near bad within {{x = 0.3}}
  expect R(s) <= 1
"""
    spec, build = parse_spec(text, base=tmp_path), Assembly(1)
    risen = build.relu(build.affine(Assembly.INPUT, np.ones((1, 1), np.float32), np.array([-5.25], np.float32)))
    made = build.finish(build.affine(risen, np.full((1, 1), 100, np.float32), np.zeros(1, np.float32)))
    record = RecordType("S", (Feature("x", "real", Fraction(0), Fraction(most)),))
    parent = Artifact((RewardRecord("s", record),), made.graph, made.tensors, "exact")
    result = rw.patch(spec, PatchOptions(), verify_options=OPTIONS, R=parent)
    assert result.artifact is not None
    (fact,) = result.edits[0].patches
    rows = np.linspace(4, 7, 60_001, dtype=np.float32)[:, None]
    before, after = forward(parent, rows), forward(result.artifact, rows)
    assert np.abs(after - before).max() <= float(fact.extremum - fact.level)
    assert np.abs(np.diff(after)).max() < 0.02  # steps of 1/20,000, slopes of some 110 a unit


@pytest.mark.parametrize("most", [1_000, 1_000_000])
def test_a_promise_reaches_as_far_as_the_rims_of_wide_features(tmp_path: Path, most: int) -> None:
    """Radii are told in short numbers: of a rim of 50,000 in tens."""
    kind = RecordType("S", (Feature("x", "real", Fraction(0), Fraction(most)),))
    rows = random_rows(np.random.default_rng(5), kind, 20)
    (tmp_path / "bad.csv").write_text("x\n" + "".join(f"{x!r}\n" for x in rows[:, 0].tolist()))
    text = (
        f"spec wide v1\nfeatures S {{\n  x : real in 0 .. {most}\n}}\nreward R(s: S)\n"
        'data bad: S from "bad.csv"\nmust r:\n  forall s: S near bad within 0.1 %\n'
        "  expect R(s) <= quantile(R(bad), 1/4)\n"
    )
    spec = parse_spec(text, base=tmp_path)
    parent = replace(random_mlp(np.random.default_rng(1), kind, (6, 6)), records=(RewardRecord("s", kind),))
    child, _ = apply_patch(parent, bounds_for(spec, {"R": parent}, "r", RING)[0], certified_extremum)
    text = rw.promise(child, parent, rows=tmp_path / "changed.jsonl")
    assert "not near changed" in text
    rewards = {"R": child, "Before": parent}
    result = rw.verify(parse_spec(text, base=tmp_path), OPTIONS, rules=["outside", "inside"], rewards=rewards)
    assert {r.verdict for r in result} == {"proved"}


def test_around_everything_there_is_no_outside(tmp_path: Path) -> None:
    data(tmp_path, 3)
    spec = spec_of("must r:\n  forall s: S near bad within 100 %\n  expect R(s) <= quantile(R(bad), 0)\n", tmp_path)
    result = rw.patch(spec, RING, verify_options=OPTIONS, R=reward())
    assert result.artifact is None or len(result.artifact.patches) == 1  # discrete columns still confine it


def test_a_second_patch_does_not_take_the_first_ones_tensors(tmp_path: Path) -> None:
    """After a revert the patches that are left are not numbered from 0."""
    data(tmp_path, 3)
    rules = "".join(f"must r{k}:\n  forall s: S\n  given s.x <= {k + 1} [m]\n  expect R(s) <= {-k}\n" for k in range(3))
    spec, parent = spec_of(rules, tmp_path), reward(3)
    child = parent
    for k in range(2):
        child, _ = apply_patch(child, bounds_for(spec, {"R": child}, f"r{k}", RING)[0], certified_extremum)
    left = child.with_patches(child.patches[1:])
    again, _ = apply_patch(left, bounds_for(spec, {"R": left}, "r2", RING)[0], certified_extremum)
    first, second = again.patches
    assert set(first.__match_args__)
    assert not {first.rows, first.level} & {second.rows, second.level}
    assert float(again.tensors[first.level][0]) == float(child.tensors[child.patches[1].level][0])


def test_a_proof_of_it_is_owed_and_can_be_certified(tmp_path: Path) -> None:
    data(tmp_path, 5)
    spec = spec_of("must r:\n  forall s: S near bad within 1 %\n  expect R(s) <= quantile(R(bad), 1/2)\n", tmp_path)
    result = rw.patch(spec, RING, verify_options=OPTIONS, R=reward())
    assert result.artifact is not None
    assert result.after["r"].verdict == "proved"
    assert result.after["r"].proof is not None
    assert result.after["r"].reason.endswith("; the proof can be certified.")


def test_a_level_that_is_no_constant_is_refused(tmp_path: Path) -> None:
    data(tmp_path, 3)
    spec = spec_of("must r:\n  forall s: S near bad within 1 %\n  expect R(s) <= R(anchor(s))\n", tmp_path)
    with pytest.raises(EditError) as refusal:
        bounds_for(spec, {"R": reward()}, "r", RING)
    assert refusal.value.code == "E02"


@pytest.mark.parametrize("seed", [0, 6])
def test_what_rows_and_a_region_promise_together_is_certified(tmp_path: Path, seed: int) -> None:
    """Near some rows the region's gate is open all over the box, or a patch is surely steeper than the reward is."""
    data(tmp_path, 40)
    rules = (
        "must cap:\n  forall s: S near bad within {x = 1 %}\n  expect R(s) <= quantile(R(bad), 1/2)\n"
        "must plain:\n  forall s: S\n  given s.x >= 8 [m] and s.on\n  expect R(s) <= -0.4\n"
    )
    parent = reward(seed)
    child = rw.patch(spec_of(rules, tmp_path), RING, verify_options=OPTIONS, R=parent).artifact
    assert child is not None
    text = rw.promise(child, parent, rows=tmp_path / "changed.jsonl")
    assert "must besides:" in text
    rewards = {"R": child, "Before": parent}
    result = rw.verify(parse_spec(text, base=tmp_path), rules=["inside", "besides"], rewards=rewards)
    assert {r.verdict for r in result} == {"proved"}
    for name, artifact in rewards.items():
        rw.save_reward(artifact, tmp_path / name)
    rw.certify(result, tmp_path / "cert")
    checked = rw.check_certificate(tmp_path / "cert", rewards={name: tmp_path / name for name in rewards})
    assert {c.verdict for c in checked.kernel.claims} == {"proved"}
