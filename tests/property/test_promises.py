"""What an edit promises: the spec says it, the verifier proves it, and bits and fractions agree."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rewarden as rw
from rewarden.cli import run as cli
from rewarden.editor.beyond import beyond_text, shortest
from rewarden.editor.patch import apply_patch
from rewarden.reward.artifact import Artifact, Edit, RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.exact import evaluate
from rewarden.reward.store import save_artifact
from rewarden.spec_lang.errors import EditError, UsageError
from rewarden.spec_lang.evaluate import truth
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.obligation import Obligation
from rewarden.spec_lang.spec import load_spec, parse_spec
from rewarden.verifier.extremum import certified_extremum
from rewarden.verifier.options import VerifyOptions
from tests.property.test_history import bounds_of, distance
from tests.property.test_patch import STEP, network, points
from tests.reference.evaluate import Evaluator, Typed
from tests.unit.test_mend_near import OPTIONS as QUICK
from tests.unit.test_mend_near import RING, data, reward, spec_of
from tests.unit.test_methods import network as four_columns


def record(row: np.ndarray) -> Typed:
    speed, gap = (Fraction(float(v)) for v in row[:2])
    return Typed(STEP, {"speed": speed, "gap": gap, "close": bool(row[2]), "lane": "left" if row[3] else "right"})


def patched(seed: int, ceilings: list[bool]) -> tuple[Artifact, Artifact, np.ndarray, np.ndarray]:
    """Parent, child, and points with their distance to the nearest region, in ring widths."""
    parent = network(seed)
    edits = bounds_of(parent, seed, ceilings)
    child = parent
    for edit in edits:
        child, _ = apply_patch(child, edit, certified_extremum)
    x = np.concatenate([points(seed + k, edit.polytopes, 40) for k, edit in enumerate(edits)])
    return parent, child, x, np.array([float(min(distance(edit, row) for edit in edits)) for row in x])


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.integers(1, 3))
def test_where_it_promises_nothing_bits_and_fractions_are_the_parents(seed: int, ceiling: bool, count: int) -> None:
    parent, child, x, far = patched(seed, [ceiling] * count)  # a ceiling and a floor may leave each other no room
    text = rw.promise(child, parent)
    spec = parse_spec(text)
    reading = Evaluator(spec, lambda name, columns: Fraction(0))
    outside = np.array([reading.premise("outside", {"s": record(row)}) for row in x])
    old, new = forward(parent, x), forward(child, x)
    assert (old.view(np.uint32) == new.view(np.uint32))[outside].all()
    exact = [([Fraction(float(v)) for v in row], bool(there)) for row, there in zip(x, outside, strict=True)]
    assert all(evaluate(parent, row) == evaluate(child, row) for row, there in exact if there)
    assert outside[far >= 1.001].all()  # and the promise is not weaker than the region with its rim
    limit = float(text.rpartition("<=")[2])
    assert np.abs(old - new).max() <= limit * (1 + 1e-5)


def test_the_verifier_proves_it_and_refutes_it_of_another_edit() -> None:
    parent, child, _, _ = patched(4, [True, True])
    spec = parse_spec(rw.promise(child, parent))
    found = rw.verify(spec, rewards={"R": child, "Before": parent})
    assert [rule.verdict for rule in found.rules] == ["proved", "proved"]
    other = replace(child, tensors={**child.tensors, "c.b": child.tensors["c.b"] + np.float32(0.5)})
    assert rw.verify(spec, rewards={"R": other, "Before": parent})["outside"].verdict == "violated"


def test_it_is_written_verified_certified_and_checked_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parent, child, _, _ = patched(2, [True])
    for name, artifact in (("parent", parent), ("child", child)):
        save_artifact(artifact, tmp_path / name)
    spec = tmp_path / "edit.rwd"
    assert cli(["show", str(tmp_path / "child"), "--spec", str(spec)]) == 0
    assert f"wrote {spec}" in capsys.readouterr().out
    given = ["--reward", f"R={tmp_path / 'child'}", "--reward", f"Before={tmp_path / 'parent'}"]
    assert cli(["fmt", "--check", str(spec)]) == 0
    out = tmp_path / "certificate"
    assert cli(["certify", str(spec), *given, "-o", str(out), "--quiet"]) == 0
    checked = rw.check_certificate(out, rewards={"R": tmp_path / "child", "Before": tmp_path / "parent"}, spec=spec)
    assert checked.accepted
    assert [claim.verdict for claim in checked.kernel.claims] == ["proved", "proved"]


@pytest.mark.parametrize("gone", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_patches_that_were_taken_away_are_where_the_edit_ends(gone: int) -> None:
    """From the top of the stack, or from beneath."""
    _, parent, x, _ = patched(4, [True, True])
    child = parent.with_patches(tuple(patch for k, patch in enumerate(parent.patches) if k != gone))
    spec = parse_spec(rw.promise(child, parent))
    reading = Evaluator(spec, lambda name, columns: Fraction(0))
    outside = np.array([reading.premise("outside", {"s": record(row)}) for row in x])
    old, new = forward(parent, x), forward(child, x)
    assert (old.view(np.uint32) == new.view(np.uint32))[outside].all()
    assert 0 < outside.sum() < len(outside)
    found = rw.verify(spec, QUICK, rules=["outside"], rewards={"R": child, "Before": parent})
    assert found["outside"].verdict == "proved"


def test_an_edit_of_weights_promises_an_amount_alone() -> None:
    parent = network(3)
    child = replace(parent, tensors={**parent.tensors, "c.b": parent.tensors["c.b"] + np.float32(0.25)})
    text = rw.promise(child, parent)
    assert "outside" not in text
    found = rw.verify(parse_spec(text), rewards={"R": child, "Before": parent})
    assert found["inside"].verdict == "proved"
    assert 0.25 <= float(text.rpartition("<=")[2]) <= 0.3
    with pytest.raises(EditError, match="E32"):
        rw.promise(child, replace(parent, records=(RewardRecord("other", STEP),)))


HEAD = """spec s v1
features Step { speed: real [m/s] in 0 .. 4  gap: real [m] in 0 .. 10  close: bool  lanes: int in 1 .. 4 }
reward R(s: Step)
"""
TILTED = (
    "must slower:\n  forall a, b: Step varying speed\n  given a.close and a.gap <= 4 [m] and a.speed <= b.speed\n"
    "  expect R(a) >= R(b)\n"
)
FALLING = (  # four levels: a small envelope
    "must fewer_lanes:\n  forall a, b: Step varying lanes\n  given a.gap <= 4 [m] and a.lanes <= b.lanes\n"
    "  expect R(a) >= R(b)\n"
)
CAPPED = "must capped:\n  forall s: Step\n  given s.gap >= 8 [m] and s.close\n  expect R(s) <= 0.1\n"


def edited(rules: str, method: str, parent: Artifact) -> Artifact:
    options = VerifyOptions(budget=2_000, falsify_budget=2_000)
    child = rw.patch(parse_spec(HEAD + rules), method=method, verify_options=options, R=parent).artifact
    assert child is not None
    return child


def certified(child: Artifact, parent: Artifact, folder: Path) -> str:
    """What the edit promises, once the kernel has said that all of it holds."""
    text, pair = rw.promise(child, parent), {"R": child, "Before": parent}
    for name, artifact in pair.items():
        save_artifact(artifact, folder / name)
    (folder / "edit.rwd").write_text(text)
    given = [part for name in pair for part in ("--reward", f"{name}={folder / name}")]
    assert cli(["certify", str(folder / "edit.rwd"), *given, "-o", str(folder / "out"), "--quiet"]) == 0
    rewards = {name: folder / name for name in pair}
    checked = rw.check_certificate(folder / "out", rewards=rewards, spec=folder / "edit.rwd")
    assert checked.accepted
    assert {claim.verdict for claim in checked.kernel.claims} == {"proved"}
    return text


def test_what_is_built_into_the_network_promises_where_it_ends_with_patches_on_top_too(tmp_path: Path) -> None:
    parent = four_columns(2, 4)
    tilted = edited(TILTED, "slope", parent)
    text = certified(tilted, parent, tmp_path / "tilted")
    assert tilted.graph != parent.graph
    assert "given (not s.close or s.gap >= 4.5 [m])\n" in text
    capped = edited(CAPPED, "region", tilted)
    edit = Edit("patch", "slower, capped", {**tilted.edit.statement, **capped.edit.statement})
    both = replace(capped, parent=parent.digest, edit=edit)
    text = certified(both, parent, tmp_path / "both")
    assert "(not s.close or s.gap >= 4.5 [m])" in text
    assert "s.gap <= 7.5 [m]" in text


@pytest.mark.slow
@pytest.mark.parametrize("rules", [FALLING, FALLING + CAPPED, TILTED + CAPPED])
def test_an_envelope_promises_where_it_ends(tmp_path: Path, rules: str) -> None:
    parent = four_columns(2, 4)
    child = edited(rules, "auto", parent)
    text = certified(child, parent, tmp_path)
    assert len(child.graph.nodes) > 2 * len(parent.graph.nodes)
    assert len(child.patches) == rules.count("capped")
    assert "s.gap >= 4.5 [m]" in text
    assert ("s.gap <= 7.5 [m]" in text) == bool(child.patches)


def test_a_correction_of_the_whole_domain_promises_no_outside() -> None:
    parent = four_columns(2, 4)
    child = edited(TILTED.replace("a.close and a.gap <= 4 [m] and ", ""), "slope", parent)
    assert "outside" not in rw.promise(child, parent)


KINDS = RecordType(
    "Kinds",
    (
        Feature("x", "real", Fraction(-2), Fraction(2)),
        Feature("n", "int", Fraction(0), Fraction(9)),
        Feature("on", "bool", Fraction(0), Fraction(1)),
        Feature("lane", "enum", Fraction(0), Fraction(1), None, ("left", "mid", "right")),
        Feature("v", "real", Fraction(-1), Fraction(1), "m", size=2),
    ),
)


@pytest.mark.parametrize(
    ("row", "offset", "said"),
    [
        ((2, 0, 0, 0, 0, 0, 0, 0), 1, "k.x >= 1"),
        ((0, -0.5, 0, 0, 0, 0, 0, 0), -2, "k.n <= 2"),
        ((0, 0, -2, 0, 0, 0, 0, 0), -2, "not k.on"),
        ((0, 0, 2, 0, 0, 0, 0, 0), 0, "k.on"),
        ((0, 0, 0, 2, 0, 2, 0, 0), 0, "k.lane == left or k.lane == right"),
        ((0, 0, 0, 0, 0, 0, 0, 4), 1, "k.v[1] >= 0.5 [m]"),
        ((1, 0, 0, 0, 0, 0, -3, 0), 0.5, "0.333332 * k.x - (k.v[0] / 1 [m]) >= 0.50001"),
        ((0, 1, 0, 0, 2, 0, 0, 0), 3, "0.5 * k.n + (if k.lane == mid then 1 else 0) >= 2"),
        ((0, 0, 2, 0, 0, 0, 0, 0), 5, "false"),
    ],
)
def test_rows_in_words(row: tuple[float, ...], offset: float, said: str) -> None:
    rows = [([Fraction(a) for a in row], Fraction(offset))]
    assert beyond_text([RewardRecord("k", KINDS)], rows, Fraction(1), Fraction(1, 10_000)) == said


@given(st.fractions(min_value=-100, max_value=100), st.fractions(min_value=0, max_value=1))
def test_a_short_number_lies_in_its_range(low: Fraction, room: Fraction) -> None:
    found = shortest(low, low + room)
    assert low <= found <= low + room or room == 0


# ── near data ──────────────────────────────────────────────────────────────────────────────────
NEAR_ROWS = {
    "ceilings": "must r:\n  forall s: S near bad within 1 %\n  expect R(s) <= quantile(R(bad), 1/2)\n",
    "a premise": (
        "must r:\n  forall s: S near bad within 1 %\n  given s.on and s.x + 4 * s.y <= 7 [m]\n  expect R(s) >= 0.2\n"
    ),
}


@pytest.mark.parametrize("kind", NEAR_ROWS)
def test_patches_near_many_rows_promise_in_terms_of_a_file_of_rows(kind: str, tmp_path: Path) -> None:
    """Bits on dense records beside the boxes, fractions at a few, the verifier, and the kernel."""
    anchors = data(tmp_path, 24 if kind == "ceilings" else 40)  # of more than 16 boxes there is a file
    parent, spec = reward(), spec_of(NEAR_ROWS[kind], tmp_path)
    child = rw.patch(spec, RING, verify_options=QUICK, R=parent).artifact
    assert child is not None
    pair = {"R": child, "Before": parent}
    for name, artifact in pair.items():
        save_artifact(artifact, tmp_path / name)
    with pytest.raises(UsageError, match="G25"):
        rw.promise(child, parent)
    written = tmp_path / "edit.rwd"
    assert cli(["show", str(tmp_path / "R"), "--spec", str(written)]) == 0
    text = written.read_text()
    names = {"apart"} if kind == "a premise" else set()
    edit = load_spec(written)
    assert {rule.name for rule in edit.rules} == {"outside", "inside", "most"} | names
    rng = np.random.default_rng(6)
    moved = anchors[rng.integers(len(anchors), size=3000)]
    moved[:, :2] += rng.uniform(-0.04, 0.04, (3000, 2)) * [10, 2]
    x = np.clip(moved, [0, -1, 0, 0, 0], [10, 1, 1, 1, 1]).astype(np.float32)
    old, new = forward(parent, x), forward(child, x)
    outside = np.array([holds(edit.obligation("outside"), row) for row in x])
    assert 200 < outside.sum() < 2900
    assert (old.view(np.uint32) == new.view(np.uint32))[outside].all()
    assert (old != new)[~outside].any()
    given = [part for name in pair for part in ("--reward", f"{name}={tmp_path / name}")]
    assert cli(["certify", str(written), *given, "-o", str(tmp_path / "out"), "--quiet"]) == 0
    rewards = {name: tmp_path / name for name in pair}
    checked = rw.check_certificate(tmp_path / "out", rewards=rewards, spec=written)
    assert checked.accepted
    assert {claim.verdict for claim in checked.kernel.claims} == {"proved"}
    assert "not near changed within" in text


def holds(obligation: Obligation, row: np.ndarray) -> bool:
    return truth(obligation.premise, [Fraction(float(v)) for v in row], lambda *_: Fraction(0), lambda s: Fraction(0))
