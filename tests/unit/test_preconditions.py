"""What cannot be patched is refused before anything is made, with the reason."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import rewarden as rw
from rewarden.editor.mend import bounds_for
from rewarden.editor.patch import PatchOptions, apply_patch
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import AffineMap, Graph, Input
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.spec import parse_spec
from rewarden.verifier.extremum import certified_extremum
from tests.unit.test_mend import OPTIONS, reward, spec_of

RING = PatchOptions()


def rule(name: str, given: str, expect: str) -> str:
    return f"must {name}:\n  forall s: S\n  given {given}\n  expect {expect}\n"


def patched(rules: str, names: list[str], folder: Path, start: Artifact | None = None) -> Artifact:
    spec, child = spec_of(rules, folder), start or reward()
    for name in names:
        child, _ = apply_patch(child, bounds_for(spec, {"R": child}, name, RING)[0], certified_extremum)
    return child


def refusal(rules: str, names: list[str], folder: Path) -> EditError:
    with pytest.raises(EditError) as found:
        patched(rules, names, folder)
    return found.value


@pytest.mark.parametrize(
    "given",
    [
        "s.x >= 8 [m] and s.x <= 2 [m]",
        "s.x > 3 [m] and s.x < 3 [m]",
        "s.x + s.y > 20 [m]",
        "s.on and not s.on",
        "(s.x > 3 [m] and s.x < 3 [m]) or (s.y > 9 [m] and s.y < 1 [m])",
    ],
)
def test_an_empty_region(given: str, tmp_path: Path) -> None:
    rules = rule("r", given, "R(s) <= 1")
    assert refusal(rules, ["r"], tmp_path).code == "E06"
    result = rw.patch(spec_of(rules, tmp_path), verify_options=OPTIONS, R=reward())
    assert result.artifact is None
    assert "empty" in result.unmended["r"]


def test_an_empty_part_of_a_region_is_left_out(tmp_path: Path) -> None:
    rules = rule("r", "(s.x > 3 [m] and s.x < 3 [m]) or s.y >= 9 [m]", "R(s) <= 1")
    assert len(patched(rules, ["r"], tmp_path).patches) == 1


@pytest.mark.parametrize(
    "given",
    ["s.x >= 0 [m]", "s.x <= 6 [m] or s.x >= 4 [m]", "s.on or not s.on", "s.x <= 5 [m] or s.x > 5 [m]"],
)
def test_a_region_that_is_everything(given: str, tmp_path: Path) -> None:
    assert refusal(rule("r", given, "R(s) <= 1"), ["r"], tmp_path).code == "E12"


def test_nothing_between_a_ceiling_and_a_floor_above_it(tmp_path: Path) -> None:
    rules = rule("low", "s.x <= 5 [m]", "R(s) <= 1") + rule("high", "s.x > 5 [m]", "R(s) >= 2")
    for names in (["low", "high"], ["high", "low"]):
        error = refusal(rules, names, tmp_path)
        assert error.code == "E35"
        assert "s.x = 5" in error.message.replace("x = 5", "s.x = 5")
    wider = rule("low", "s.x <= 5 [m]", "R(s) <= 1") + rule("high", "s.x > 6 [m]", "R(s) >= 2")
    assert len(patched(wider, ["low", "high"], tmp_path).patches) == 2
    same = rule("low", "s.x <= 5 [m]", "R(s) <= 2") + rule("high", "s.x > 5 [m]", "R(s) >= 2")
    assert len(patched(same, ["low", "high"], tmp_path).patches) == 2


def test_the_opposite_of_an_earlier_patch(tmp_path: Path) -> None:
    rules = rule("low", "s.x <= 5 [m]", "R(s) <= 1") + rule("high", "s.x >= 4 [m] and s.y >= 2 [m]", "R(s) >= 2")
    for names in (["low", "high"], ["high", "low"]):
        error = refusal(rules, names, tmp_path)
        assert error.code == "E34"
        assert "low" in error.message
        assert "high" in error.message
        assert "at least 2" in error.message


def test_the_opposite_of_an_earlier_patch_near_data(tmp_path: Path) -> None:
    near = "must low:\n  forall s: S near rows within 5 %\n  expect R(s) <= 1\n"
    rules = (
        near + rule("high", "s.x >= 8 [m]", "R(s) >= 2") + rule("apart", "s.x >= 5 [m] and s.x <= 6 [m]", "R(s) >= 2")
    )
    assert refusal(rules, ["low", "high"], tmp_path).code == "E34"
    assert refusal(rules, ["high", "low"], tmp_path).code == "E34"
    assert len(patched(rules, ["low", "apart"], tmp_path).patches) == 2


def test_a_ring_too_thin_for_binary32(tmp_path: Path) -> None:
    spec = spec_of(rule("r", "s.x >= 5 [m]", "R(s) <= 1"), tmp_path)
    bound = bounds_for(spec, {"R": reward()}, "r", PatchOptions(ring=Fraction(1, 10**7)))[0]
    with pytest.raises(EditError) as found:
        apply_patch(reward(), bound, certified_extremum)
    assert found.value.code == "E09"


# ── whatever the method ────────────────────────────────────────────────────────────────────────
def by(method: str, rules: str, name: str, folder: Path, start: Artifact, **others: Artifact) -> EditError:
    with pytest.raises(EditError) as found:
        rw.patch(spec_of(rules, folder), RING, method=method, rules=[name], verify_options=OPTIONS, R=start, **others)
    return found.value


def test_a_threshold_between_regions_that_touch(tmp_path: Path) -> None:
    rules = "must r:\n  forall a, b: S\n  given a.y > 6 [m] and b.y <= 6 [m] and b.on\n  expect R(a) >= R(b) + 0.5\n"
    assert by("threshold", rules, "r", tmp_path, reward()).code == "E35"


def test_a_threshold_against_earlier_patches(tmp_path: Path) -> None:
    earlier = rule("low", "s.x >= 8 [m]", "R(s) <= 1") + rule("high", "s.x <= 2 [m]", "R(s) >= 2")
    start = patched(earlier, ["low", "high"], tmp_path)
    rules = "must r:\n  forall a, b: S\n  given a.x >= 8 [m] and b.x <= 2 [m]\n  expect R(a) >= R(b) + 0.5\n"
    assert by("threshold", rules, "r", tmp_path, start).code == "E34"


@pytest.mark.parametrize("method", ["region", "violated"])
def test_a_bound_against_an_earlier_patch(method: str, tmp_path: Path) -> None:
    start = patched(rule("low", "s.x >= 8 [m]", "R(s) <= 1"), ["low"], tmp_path)
    rules = rule("r", "s.x >= 7 [m] and s.y >= 2 [m]", "R(s) >= 9")
    assert by(method, rules, "r", tmp_path, start).code == "E34"


def test_levels_against_an_earlier_patch_and_everywhere(tmp_path: Path) -> None:
    other = reward(20.0)
    start = patched(rule("low", "s.x >= 8 [m]", "R(s) <= 1"), ["low"], tmp_path)
    ceilinged = patched(rule("high", "s.x >= 8 [m]", "R(s) >= 15"), ["high"], tmp_path, other)
    rules = rule("r", "s.x >= 7 [m]", "R(s) > Q(s)")
    assert by("levels", rules, "r", tmp_path, start, Q=ceilinged).code == "E34"
    everywhere = rule("r", "s.x <= 6 [m] or s.x >= 4 [m]", "R(s) > Q(s)")
    assert by("levels", everywhere, "r", tmp_path, reward(), Q=other).code == "E12"


def test_all_cases_of_an_enum_are_everything() -> None:
    kind = RecordType("K", (Feature("z", "enum", Fraction(0), Fraction(1), cases=("a", "b", "c")),))
    tensors = {"w": np.ones((1, 3), np.float32), "b": np.zeros(1, np.float32)}
    artifact = Artifact((RewardRecord("s", kind),), Graph((Input(), AffineMap(0, "w", "b")), 1), tensors, "exact")
    given = " or ".join(f"s.z == {case}" for case in "abc")
    spec = parse_spec(
        f"spec e v1\nfeatures K {{ z: enum {{a, b, c}} }}\nreward R(s: K)\n"
        f"must r:\n  forall s: K\n  given {given}\n  expect R(s) <= 0\n"
    )
    with pytest.raises(EditError) as found:
        apply_patch(artifact, bounds_for(spec, {"R": artifact}, "r", RING)[0], certified_extremum)
    assert found.value.code == "E12"
