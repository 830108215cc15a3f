"""Methods of mending: each does what it says of itself, and `auto` picks (side by side: `test_side_by_side.py`)."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import rewarden as rw
from rewarden.cli import run as cli
from rewarden.editor.mend import Mender, PatchResult
from rewarden.editor.methods.clashing import Clash, clashes
from rewarden.editor.methods.moved import proved_limit
from rewarden.editor.methods.pairs import coupled
from rewarden.editor.methods.quadratic import solve
from rewarden.editor.methods.task import Task
from rewarden.editor.methods.threshold import separated
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.graph import AffineMap, Graph, Input, Relu
from rewarden.reward.store import save_artifact
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.spec import parse_spec
from rewarden.verifier.bind import bind_obligation
from rewarden.verifier.extremum import certified_extremum
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.verdict import VerificationResult

STEP = RecordType(
    "Step",
    (
        Feature("speed", "real", Fraction(0), Fraction(4), "m/s"),
        Feature("gap", "real", Fraction(0), Fraction(10), "m"),
        Feature("close", "bool", Fraction(0), Fraction(1)),
        Feature("lanes", "int", Fraction(1), Fraction(4)),
    ),
)
HEAD = """spec s v1
features Step { speed: real [m/s] in 0 .. 4  gap: real [m] in 0 .. 10  close: bool  lanes: int in 1 .. 4 }
reward R(s: Step)
"""
CAPPED = HEAD + "must capped:\n  forall s: Step\n  given s.gap <= 4 [m]\n  expect R(s) <= 0.5\n"
APART = HEAD + (
    "must safe_pays:\n  forall a, b: Step\n  given a.gap >= 8 [m] and b.gap <= 2 [m] and b.close\n"
    "  expect R(a) >= R(b) + 0.25\n"
)
RISES = HEAD + "must gap_pays:\n  forall a, b: Step varying gap\n  given a.gap >= b.gap\n  expect R(a) >= R(b) - 0.01\n"
QUICK = VerifyOptions(budget=20_000, falsify_budget=4_000)


def network(seed: int = 1, width: int = 6) -> Artifact:
    rng = np.random.default_rng(seed)
    tensors = {
        "a.w": (rng.normal(size=(width, 4)) * np.array([0.4, 0.15, 0.5, 0.3])).astype(np.float32),
        "a.b": (rng.normal(size=width) * 0.5).astype(np.float32),
        "c.w": rng.normal(size=(1, width)).astype(np.float32),
        "c.b": np.zeros(1, np.float32),
    }
    graph = Graph((Input(), AffineMap(0, "a.w", "a.b"), Relu(1), AffineMap(2, "c.w", "c.b")), 3)
    return Artifact((RewardRecord("s", STEP),), graph, tensors, "exact")


def rows(count: int = 4000, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    parts = [rng.uniform(0, 4, count), rng.uniform(0, 10, count), rng.integers(0, 2, count), rng.integers(1, 5, count)]
    return np.stack(parts, axis=1).astype(np.float32)


def mended(text: str, method: str, artifact: Artifact):
    return rw.patch(parse_spec(text), method=method, verify_options=QUICK, R=artifact)


@pytest.mark.parametrize(
    ("text", "method"),
    [(CAPPED, "region"), (CAPPED, "violated"), (APART, "threshold"), (CAPPED, "last-layer"), (RISES, "tuning")],
)
def test_a_method_mends_what_it_is_for(text: str, method: str) -> None:
    artifact = network()
    result = mended(text, method, artifact)
    rule = result.before.rules[0].rule
    assert result.before[rule].verdict == "violated"
    assert result.after[rule].verdict == "proved"
    assert result.artifact is not None
    assert result.artifact.parent == artifact.digest
    assert result.broken == ()
    assert not result.unmended
    assert f"{rule}.fix" in result.artifact.edit.statement or "fix" in result.artifact.edit.statement


def test_a_patch_where_the_rule_fails_has_a_smaller_rim() -> None:
    artifact, x = network(), rows(20_000)
    before = forward(artifact, x)
    whole, part = (forward(mended(CAPPED, m, artifact).artifact, x) for m in ("region", "violated"))
    inside = x[:, 1] <= 4
    fine = inside & (before <= 0.5)
    assert before[fine].tobytes() == whole[fine].tobytes() == part[fine].tobytes()
    assert (whole[inside] <= 0.5).all()
    assert (part[inside] <= 0.5).all()
    rim = ~inside
    assert ((part != before) & rim).sum() <= ((whole != before) & rim).sum()
    beyond = x[:, 1] >= 4.5
    assert before[beyond].tobytes() == part[beyond].tobytes()


@pytest.mark.parametrize("seed", range(4))
def test_a_threshold_separates_two_regions_and_touches_nothing_else(seed: int) -> None:
    artifact, x = network(seed), rows(6000, seed)
    result = mended(APART, "threshold", artifact)
    if result.artifact is None:  # this network was fine
        assert result.before["safe_pays"].verdict == "proved"
        return
    values, old = forward(result.artifact, x), forward(artifact, x)
    better, worse = x[:, 1] >= 8, (x[:, 1] <= 2) & (x[:, 2] == 1)
    assert values[better].min() >= np.float64(values[worse].max()) + 0.25
    beyond = (x[:, 1] <= 7.5) & ((x[:, 1] >= 2.5) | (x[:, 2] == 0))
    assert values[beyond].tobytes() == old[beyond].tobytes()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("forall a, b: Step\n  given a.gap >= b.gap\n  expect R(a) >= R(b)", "coupled"),
        ("forall a, b: Step varying gap\n  expect R(a) >= R(b)", "coupled"),
        ("forall a, b: Step\n  expect R(a) + R(b) >= 0", "does not say"),
        ("forall s: Step\n  expect R(s) >= 0", "does not say"),
    ],
)
def test_rules_of_another_form_have_no_threshold(rule: str, message: str) -> None:
    spec = parse_spec(HEAD + f"must other:\n  {rule}\n")
    claim = bind_obligation(spec, spec.obligation("other"), {"R": network()})
    with pytest.raises(EditError, match=message):
        separated(claim, "other", "R", Fraction(1, 20))


MODES = """spec s v1
features Step { speed: real in 0 .. 4  gap: real in 0 .. 10  mode: enum {off, eco, boost}  on: bool }
reward R(s: Step)
"""


def with_modes(seed: int = 0) -> Artifact:
    kinds = (
        Feature("speed", "real", Fraction(0), Fraction(4)),
        Feature("gap", "real", Fraction(0), Fraction(10)),
        Feature("mode", "enum", Fraction(0), Fraction(1), None, ("off", "eco", "boost")),
        Feature("on", "bool", Fraction(0), Fraction(1)),
    )
    rng = np.random.default_rng(seed)
    tensors = {
        "a.w": (rng.normal(size=(6, 6)) * np.array([0.4, 0.15, 0.5, 0.5, 0.5, 0.5])).astype(np.float32),
        "a.b": (rng.normal(size=6) * 0.5).astype(np.float32),
        "c.w": rng.normal(size=(1, 6)).astype(np.float32),
        "c.b": np.zeros(1, np.float32),
    }
    graph = Graph((Input(), AffineMap(0, "a.w", "a.b"), Relu(1), AffineMap(2, "c.w", "c.b")), 3)
    return Artifact((RewardRecord("s", RecordType("Step", kinds)),), graph, tensors, "exact")


@pytest.mark.parametrize(
    ("varying", "given", "margin"),
    [
        ("mode", "a.mode == eco and b.mode == boost", "0.25"),
        ("mode", "(a.mode == eco or a.mode == off) and b.mode == boost and a.gap >= 5", "0"),
        ("mode, gap", "a.mode != boost and b.mode == boost and a.gap >= 6 and a.speed <= 2", "0.1"),
        ("on", "a.on and not b.on and b.speed <= 3", "1"),
    ],
)
def test_records_that_share_features_are_held_apart_by_the_others(varying: str, given: str, margin: str) -> None:
    text = f"must r:\n  forall a, b: Step varying {varying}\n  given {given}\n  expect R(a) >= R(b) + {margin}\n"
    spec, artifact = parse_spec(MODES + text), with_modes()
    result = rw.patch(spec, method="threshold", verify_options=QUICK, R=artifact)
    assert result.before["r"].verdict == "violated"
    assert result.after["r"].verdict == "proved"
    assert result.artifact is not None
    assert {patch.kind for patch in result.artifact.patches} == {"floor", "ceiling"}


def moded_rows(count: int = 6000) -> np.ndarray:
    rng = np.random.default_rng(0)
    numbers = np.stack([rng.uniform(0, 4, count), rng.uniform(0, 10, count)], axis=1)
    modes, on = np.eye(3)[rng.integers(0, 3, count)], rng.integers(0, 2, (count, 1))
    return np.concatenate([numbers, modes, on], axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("varying", "given", "margin", "better", "worse"),
    [
        ("mode", "a.mode == eco and b.mode == boost and b.gap <= 6", 0.25, {2: 0, 3: 1, 4: 0}, {2: 0, 3: 0, 4: 1}),
        ("on", "a.on and not b.on and b.speed <= 3", 1.0, {5: 1}, {5: 0}),
        ("speed", "a.speed == 1 and b.speed == 3 and b.on", 0.5, {0: 1}, {0: 3}),
    ],
)
def test_a_known_step_is_mended_by_what_is_missing_or_by_a_threshold_that_moves_less(
    varying: str, given: str, margin: float, better: dict[int, int], worse: dict[int, int]
) -> None:
    text = f"must r:\n  forall a, b: Step varying {varying}\n  given {given}\n  expect R(a) >= R(b) + {margin}\n"
    spec, artifact, x = parse_spec(MODES + text), with_modes(), moded_rows()
    methods = ("auto", "slope", "threshold")
    done = {m: rw.patch(spec, method=m, verify_options=QUICK, R=artifact) for m in methods}
    assert done["slope"].before["r"].verdict == "violated"
    assert [one.after["r"].verdict for one in done.values()] == ["proved"] * 3
    best, child, held = (done[m].artifact for m in methods)
    assert best is not None
    assert child is not None
    assert held is not None
    assert ("a unit of" in child.edit.statement["r.fix"]) == (varying == "speed")
    region = (x[:, 1] <= 6) if varying == "mode" else (x[:, 0] <= 3) if varying == "on" else (x[:, 5] == 1)
    sides = [x[region].copy(), x[region].copy()]
    for side, values in zip(sides, (better, worse), strict=True):
        for column, value in values.items():
            side[:, column] = value
    gap = forward(child, sides[0]).astype(np.float64) - forward(child, sides[1])
    assert gap.min() >= margin - 1e-5
    old = forward(artifact, x).astype(np.float64)
    missing = (forward(artifact, sides[1]).astype(np.float64) - forward(artifact, sides[0])).max() + margin
    assert missing > 0
    assert np.abs(forward(child, x) - old).max() <= 2 * missing
    within = x[region]
    moved = [np.abs(forward(one, within) - forward(artifact, within)).sum() for one in (best, child, held)]
    assert moved[0] <= 1.05 * min(moved[1:])  # to what sampling is off by
    beyond = {"mode": (x[:, 4] == 0) | (x[:, 1] >= 6.5), "on": (x[:, 5] == 1) | (x[:, 0] >= 3.2), "speed": x[:, 5] == 0}
    assert forward(child, x)[beyond[varying]].tobytes() == forward(artifact, x)[beyond[varying]].tobytes()


def test_a_threshold_leaves_the_bounds_of_other_rules_room() -> None:
    """The threshold that moves least would contradict the ceiling: the nearest that does not is taken."""
    capped = "must capped:\n  forall s: Step\n  given s.gap >= 7 [m] and s.lanes >= 3\n  expect R(s) <= -1\n"
    # -1.1 is no binary32 number: the floor is stored above its level, the ceiling below
    strictly, decimal = (capped.replace("R(s) <= -1", found) for found in ("R(s) < -1", "R(s) <= -1.1"))
    for text in (APART + decimal, APART + strictly, APART.replace("R(a) >=", "R(a) >") + capped):
        artifact = network()
        result = rw.patch(parse_spec(text), verify_options=QUICK, R=artifact)
        assert [r.verdict for r in result.before.rules] == ["violated", "violated"]
        assert result.unmended == {}
        assert [r.verdict for r in result.after.rules] == ["proved", "proved"]


def test_records_that_may_be_one_and_the_same_are_not_held_apart() -> None:
    for given in ("a.mode == eco", "a.gap >= 5", "a.mode == eco and (b.mode == boost or b.mode == eco)"):
        text = f"must r:\n  forall a, b: Step varying mode\n  given {given}\n  expect R(a) >= R(b)\n"
        spec = parse_spec(MODES + text)
        claim = bind_obligation(spec, spec.obligation("r"), {"R": with_modes()})
        with pytest.raises(EditError, match="one record may be both"):
            separated(claim, "r", "R", Fraction(1, 20))


def test_auto_takes_what_is_local_and_says_what_it_leaves() -> None:
    artifact = network()
    assert len(mended(CAPPED, "auto", artifact).artifact.patches) == 1
    assert len(mended(APART, "auto", artifact).artifact.patches) == 2
    left = mended(RISES, "auto", artifact)
    assert left.artifact is None
    assert "speaks of all records" in left.unmended["gap_pays"]
    assert "--method envelope" in left.unmended["gap_pays"]
    both = mended(CAPPED + APART.removeprefix(HEAD).replace("a.gap >= 8", "a.gap >= 9"), "auto", artifact)
    assert [r.verdict for r in both.after.rules] == ["proved", "proved"]
    assert len(both.artifact.patches) == 3


def test_patches_stay_on_top_of_tuned_weights() -> None:
    capped = mended(CAPPED, "region", network()).artifact
    result = mended(RISES, "tuning", capped)
    assert len(result.artifact.patches) == 1
    assert result.after["gap_pays"].verdict == "proved"


SLOWER = HEAD + (
    "must slow_near:\n  forall a, b: Step varying speed\n  given a.close and a.gap <= 4 [m] and a.speed <= b.speed\n"
    "  expect R(a) >= R(b)\n"
)
BRAKING = HEAD + (
    "must braking_pays:\n  forall s: Step\n  given s.gap <= 4 [m] and s.speed >= 1 [m/s]\n"
    "  expect R(s with {speed = s.speed - 1 [m/s]}) >= R(s)\n"
)


@pytest.mark.parametrize("text", [SLOWER, BRAKING])
@pytest.mark.parametrize("method", ["envelope", "slope"])
def test_records_that_move_together_are_mended_and_nothing_beyond_is_touched(text: str, method: str) -> None:
    artifact, x = network(2, 4), rows(6000)
    quick = VerifyOptions(budget=2_000, falsify_budget=2_000)
    result = rw.patch(parse_spec(text), method=method, verify_options=quick, R=artifact)
    assert [r.verdict for r in result.before.rules] == ["violated"]
    assert [r.verdict for r in result.after.rules] == ["proved"]
    assert result.artifact.edit.kind == method
    near = (x[:, 1] <= 4) & (x[:, 2] == 1)
    slower = x.copy()
    slower[:, 0] = np.maximum(0, x[:, 0] - 1)
    better, worse = forward(result.artifact, slower[near]), forward(result.artifact, x[near])
    whole = x[near, 0] >= 1
    assert (better.astype(np.float64) >= worse.astype(np.float64) - 1e-5)[whole].all()
    beyond = (x[:, 1] >= 4.5) | ((x[:, 2] == 0) & (text == SLOWER))
    old, new = forward(artifact, x), forward(result.artifact, x)
    assert new[beyond].tobytes() == old[beyond].tobytes()
    assert (new != old).any()


CEILING = "must capped:\n  forall s: Step\n  given s.gap <= 2 [m]\n  expect R(s) <= 0.5\n"
FEW_LANES = (  # four levels: a small envelope
    "must fewer_lanes:\n  forall a, b: Step varying lanes\n  given 4 [m] <= a.gap <= 5 [m] and a.lanes <= b.lanes\n"
    "  expect R(a) >= R(b)\n"
)
STEP_DOWN = (
    "must step_mid:\n  forall s: Step\n  given 6.5 [m] <= s.gap <= 7.5 [m] and s.speed >= 1 [m/s]\n"
    "  expect R(s with {speed = s.speed - 1 [m/s]}) >= R(s)\n"
)
BEST_AND_WORST = (
    "must apart:\n  forall a, b: Step\n  given a.gap >= 9.5 [m] and b.gap <= 1 [m] and b.close\n"
    "  expect R(a) >= R(b) + 0.25\n"
)
FLOOR = "must floor:\n  forall s: Step\n  given s.gap >= 9 [m]\n  expect R(s) >= 0.1\n"
NOT_HERE = "must square:\n  forall s: Step\n  given s.close\n  expect R(s) <= s.gap / 1 [m] - 4\n"


def all_together(text: str) -> PatchResult:
    artifact, x = network(2, 4), rows(6000)
    options = VerifyOptions(budget=3_000, falsify_budget=1_000)
    result = rw.patch(parse_spec(HEAD + text), verify_options=options, R=artifact)
    assert sum(r.verdict == "violated" for r in result.before.rules) >= text.count("must ") - 1
    assert [r.rule for r in result.after.rules if r.verdict != "proved"] == (["square"] if NOT_HERE in text else [])
    assert set(result.unmended) == ({"square"} if NOT_HERE in text else set())
    assert all("expression of features" in said for said in result.unmended.values())
    old, new = forward(artifact, x), forward(result.artifact, x)
    away = (x[:, 1] > 2.6) & (x[:, 1] < 3.4) | (x[:, 1] > 5.6) & (x[:, 1] < 5.9)
    assert old[away].tobytes() == new[away].tobytes()
    assert (old != new).any()
    assert result.after.rewards == {"R": result.artifact.digest}
    saved = {name: artifact.digest for name, artifact in result.artifacts.items()}
    for rule in result.after.rules:  # the verdicts are about what is written, so that they can be certified
        assert rule.claim is None or dict(rule.claim.rewards).items() <= saved.items()
    return result


def test_rules_of_all_forms_are_mended_together_and_the_one_that_has_none_is_told() -> None:
    all_together(CEILING + FEW_LANES + BEST_AND_WORST + NOT_HERE)


@pytest.mark.slow
def test_many_rules_are_mended_together() -> None:
    text = CEILING + FLOOR + BEST_AND_WORST + FEW_LANES.replace("lanes", "speed") + STEP_DOWN
    result = all_together(text)
    options = VerifyOptions(budget=3_000, falsify_budget=1_000)
    again = rw.verify(parse_spec(HEAD + text), options, rewards=result.artifacts)
    assert [r.verdict for r in again.rules] == [r.verdict for r in result.after.rules]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("forall a, b: Step varying speed\n  given a.close\n  expect R(a) >= R(b)", "which of its records"),
        (
            "forall a, b: Step varying speed\n  given a.speed <= b.speed\n  expect R(a) >= R(b) + 0.1",
            "does not compare",
        ),
        ("forall s: Step\n  expect R(s) >= 0", "does not compare"),
    ],
)
def test_rules_of_another_form_have_no_slope(rule: str, message: str) -> None:
    spec = parse_spec(HEAD + f"must other:\n  {rule}\n")
    claim = bind_obligation(spec, spec.obligation("other"), {"R": network()})
    with pytest.raises(EditError, match=message):
        coupled(claim, "other", "R", Fraction(1, 20))


@pytest.mark.parametrize(("unit", "given"), [("min", "a.gap <= b.gap"), ("km", "3 * a.gap + 1 [km] <= 3 * b.gap")])
def test_which_record_is_the_larger_one_is_read_in_any_unit(unit: str, given: str) -> None:
    """A condition in minutes is lowered with factors of 60."""
    spec = parse_spec(
        HEAD.replace("gap: real [m]", f"gap: real [{unit}]")
        + f"must r:\n  forall a, b: Step varying gap\n  given a.close and {given}\n  expect R(a) >= R(b)\n"
    )
    features = tuple(replace(f, unit=unit) if f.name == "gap" else f for f in STEP.features)
    artifact = replace(network(), records=(RewardRecord("s", RecordType("Step", features)),))
    claim = bind_obligation(spec, spec.obligation("r"), {"R": artifact})
    assert coupled(claim, "r", "R", Fraction(1, 20)).signs == {1: 1}


TWO = (
    HEAD
    + "reward S(s: Step)\n"
    + ("must apart:\n  forall s: Step\n  given s.gap <= 4 [m] and s.close\n  expect R(s) < max(S(s), S(s) - 1)\n")
)


def test_levels_keep_two_rewards_apart_and_touch_nothing_beyond() -> None:
    rewards, x = {"R": network(1), "S": network(3)}, rows(6000)
    result = rw.patch(parse_spec(TWO), verify_options=QUICK, rewards=rewards)
    assert result.before["apart"].verdict == "violated"
    assert result.after["apart"].verdict == "proved"
    assert set(result.artifacts) == {"R", "S"}
    near = (x[:, 1] <= 4) & (x[:, 2] == 1)
    beyond = (x[:, 1] >= 4.5) | (x[:, 2] == 0)
    for name, child in result.artifacts.items():
        old, new = forward(rewards[name], x), forward(child, x)
        assert child.parent == rewards[name].digest
        assert new[beyond].tobytes() == old[beyond].tobytes()
    assert (forward(result.artifacts["R"], x) < forward(result.artifacts["S"], x))[near].all()


def test_several_rewards_are_written_beside_each_other_and_bound_as_a_folder(tmp_path: Path) -> None:
    for name, seed in (("R", 1), ("S", 3)):
        save_artifact(network(seed), tmp_path / "nets" / name)
    (tmp_path / "s.rwd").write_text(TWO)
    spec, nets, out = str(tmp_path / "s.rwd"), str(tmp_path / "nets"), tmp_path / "fixed"
    assert cli(["verify", spec, "--reward", nets, "-q"]) == 1
    assert cli(["patch", spec, "--reward", nets, "-o", str(out), "-q"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["R", "S"]
    assert cli(["verify", spec, "--reward", str(out), "-q"]) == 0
    assert cli(["verify", spec, "--reward", f"S={out / 'S'}", "--reward", nets, "-q"]) in (0, 1, 3)


def test_rules_that_cannot_all_hold_are_told_with_a_record_and_others_are_mended() -> None:
    text = CAPPED + (
        "must paid:\n  forall s: Step\n  given 3 [m] <= s.gap <= 6 [m] and s.close\n  expect R(s) >= 0.7\n"
        "must far:\n  forall s: Step\n  given s.gap >= 9 [m]\n  expect R(s) <= -9\n"
    )
    result = mended(text, "auto", network())
    assert set(result.unmended) == {"capped", "paid"}
    for said in result.unmended.values():
        assert "capped asks for at most 0.5, paid for at least 0.7" in said
        assert "close = True" in said
    assert result.after["far"].verdict == "proved"
    apart = text.replace("3 [m] <= s.gap", "4.5 [m] <= s.gap")
    assert not {"capped", "paid"} & set(mended(apart, "auto", network()).unmended)


CIRCLE = {
    "up": "forall a, b: Step\n  given a.gap >= 9 [m] and 4 [m] <= b.gap <= 5 [m]\n  expect R(a) >= R(b) + 1",
    "middle": "forall a, b: Step\n  given 4 [m] <= a.gap <= 5 [m] and b.gap <= 1 [m]\n  expect R(a) >= R(b) + 1",
    "down": "forall a, b: Step\n  given a.gap <= 1 [m] and b.gap >= 9 [m]\n  expect R(a) >= R(b) - 1.5",
}


def found_clashes(rules: dict[str, str], artifact: Artifact) -> list[Clash]:
    spec = parse_spec(HEAD + "".join(f"must {name}:\n  {rule}\n" for name, rule in rules.items()))
    none: VerificationResult = None  # type: ignore[assignment]
    task = Task(spec, {"R": artifact}, "R", tuple(rules), Mender(lambda rewards, names: none, certified_extremum), none)
    return clashes(task, tuple(rules))


def test_a_circle_of_three_rules_clashes_at_three_records_and_no_two_of_them_do() -> None:
    (clash,) = found_clashes(CIRCLE, network())
    assert set(clash.rules) == set(CIRCLE)
    assert not clash.at_hand
    assert clash.witness.count("gap = ") == 3
    for left_out in CIRCLE:
        assert found_clashes({name: rule for name, rule in CIRCLE.items() if name != left_out}, network()) == []
    enough = {**CIRCLE, "down": CIRCLE["down"].replace("1.5", "2")}
    assert found_clashes(enough, network()) == []
    assert found_clashes({**CIRCLE, "down": CIRCLE["down"].replace("9 [m]", "8.9 [m]")}, network()) != []
    apart = {**CIRCLE, "down": CIRCLE["down"].replace("a.gap <= 1", "1.5 [m] <= a.gap <= 2")}
    assert found_clashes(apart, network()) == []


def test_a_rule_that_contradicts_itself_clashes_alone_and_takes_no_other_with_it() -> None:
    rules = {
        "torn": "forall s: Step\n  given s.gap <= 2 [m]\n  expect 3 <= R(s) <= 1",
        "capped": "forall s: Step\n  given s.gap <= 4 [m]\n  expect R(s) <= 2",
    }
    (clash,) = found_clashes(rules, network())
    assert clash.rules == ("torn",)
    assert clash.words.startswith("no reward satisfies it")


def test_rules_in_a_circle_are_left_and_others_are_mended() -> None:
    text = HEAD + "".join(f"must {name}:\n  {rule}\n" for name, rule in CIRCLE.items())
    text += "must far:\n  forall s: Step\n  given 6 [m] <= s.gap <= 8 [m]\n  expect R(s) <= -9\n"
    result = mended(text.replace("- 1.5", "+ 9"), "auto", network())
    failing = {r.rule for r in result.before.rules if r.verdict != "proved"}
    assert set(CIRCLE) <= failing
    assert set(result.unmended) == set(CIRCLE) & {rule for c in result.clashes for rule in CIRCLE if rule in c}
    assert all("they cannot hold together: at" in said for said in result.unmended.values())
    assert result.after["far"].verdict == "proved"


def test_an_output_layer_moves_by_no_more_than_is_proved() -> None:
    artifact, x = network(), rows(6000)
    result = mended(CAPPED, "last-layer", artifact)
    child = result.artifact
    assert {n for n in child.tensors if not np.array_equal(child.tensors[n], artifact.tensors[n])} <= {"c.w", "c.b"}
    change = np.abs(forward(child, x).astype(np.float64) - forward(artifact, x))
    limit = proved_limit(child, artifact, float(change.max()))
    assert limit is not None
    assert change.max() <= float(limit)
    assert "as is proved" in child.edit.statement["locality"]


def test_the_least_change_under_cuts() -> None:
    hessian = np.diag([1.0, 4.0])
    found = solve(hessian, np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([5.0, -7.0]))
    assert np.allclose(found, [4.0, 1.0], atol=1e-5)  # by Lagrange: x = 4 y on x + y = 5
    with pytest.raises(EditError, match="no output layer"):
        solve(hessian, np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([1.0, 1.0]))


def test_an_unknown_method_and_a_rule_that_does_not_fit_are_refused() -> None:
    with pytest.raises(EditError) as caught:
        mended(CAPPED, "wishing", network())
    assert caught.value.code == "E15"
    with pytest.raises(EditError) as caught:
        mended(RISES, "region", network())
    assert caught.value.code == "E02"


def test_a_clash_that_rests_on_data_constants_says_so(tmp_path: Path) -> None:
    values = rows(50)
    lines = ["speed,gap,close,lanes", *(f"{a},{b},{'true' if c else 'false'},{int(d)}" for a, b, c, d in values)]
    (tmp_path / "logs.csv").write_text("\n".join(lines) + "\n")
    text = HEAD.replace("reward R", 'data logs: Step from "logs.csv"\nreward R') + (
        "must low:\n  forall s: Step\n  given s.gap <= 4 [m]\n  expect R(s) <= quantile(R(logs), 0.25)\n"
        "must high:\n  forall s: Step\n  given s.gap >= 3 [m] and s.close\n  expect R(s) >= quantile(R(logs), 0.75)\n"
    )
    (tmp_path / "s.rwd").write_text(text)
    result = rw.patch(rw.load_spec(tmp_path / "s.rwd"), verify_options=QUICK, R=network())
    assert set(result.unmended) == {"low", "high"}
    for said in result.unmended.values():
        assert "they cannot hold together with the data constants that the reward has now: at {" in said


BANDS = HEAD + (
    "must band:\n  forall s: Step\n  given s.gap <= 4 [m]\n  expect -0.4 <= R(s) <= 0.4\n"
    "must size:\n  forall s: Step\n  given s.gap >= 8 [m] and s.close\n  expect |R(s)| <= 0.3\n"
)


@pytest.mark.parametrize("method", ["auto", "violated"])
def test_a_band_is_a_floor_and_a_ceiling(method: str) -> None:
    parent = network(2)
    result = rw.patch(parse_spec(BANDS), method=method, verify_options=QUICK, R=parent)
    assert {rule.verdict for rule in result.before.rules} == {"violated"}
    assert {rule.verdict for rule in result.after.rules} == {"proved"}
    child = result.artifact
    assert child is not None
    points = rows(4_000)
    old, new = forward(parent, points), forward(child, points)
    low, close = points[:, 1] <= 4, (points[:, 1] >= 8) & (points[:, 2] > 0)
    assert (np.abs(old[low]) > 0.4).any()
    assert (np.abs(new[low]) <= 0.4).all()
    assert (np.abs(old[close]) > 0.3).any()
    assert (np.abs(new[close]) <= 0.3).all()
    assert old[low].max() > 0.4
    assert old[close].max() > 0.3
    between = (points[:, 1] > 4.6) & (points[:, 1] < 7.4)
    assert old[between].tobytes() == new[between].tobytes()
    assert child.edit is not None
    assert any(key.startswith("band.ceiling.") for key in child.edit.statement)
