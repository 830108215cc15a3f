"""Rewards without the patches that a premise opens, and between what they were and a level: true, and proved."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import rewarden as rw
from rewarden.certificate.check import check
from rewarden.editor.mend import bounds_for
from rewarden.editor.patch import apply_patch
from rewarden.reward.artifact import Artifact
from rewarden.reward.exact import evaluate
from rewarden.spec_lang.spec import Spec
from rewarden.verifier.between import lies_between
from rewarden.verifier.bind import bind
from rewarden.verifier.extremum import certified_extremum
from rewarden.verifier.opened import opened
from tests.unit.test_mend_near import RING, data, reward, spec_of

BEFORE = "reward Before(s: S)\n"
AWAY = (
    BEFORE + "must away:\n  forall s: S not near bad within {{x = {x} [m], y = {y} [m]}}\n  expect R(s) == Before(s)\n"
)
NEAR = "  forall s: S near bad within {x = 0.5 [m], y = 0.1 [m]}\n"
PATCHED = "must r:\n  forall s: S near bad within 1 %\n  expect R(s) {} {}\n"


def table(folder: Path, count: int = 20, text: str = "<= quantile(R(bad), 1/2)") -> tuple[Artifact, Artifact]:
    """The reward, and the same patched near the rows: 0.1 m and 0.02 m, with a rim of 0.2 m and 0.04 m."""
    data(folder, count)
    parent = reward()
    spec = spec_of(PATCHED.format(*text.split(" ", 1)), folder)
    child, _ = apply_patch(parent, bounds_for(spec, {"R": parent}, "r", RING)[0], certified_extremum)
    return parent, child


def certified(spec: Spec, child: Artifact, parent: Artifact, folder: Path) -> dict[str, object]:
    """The proof of the only rule, which the kernel accepts."""
    pair = {"R": child, "Before": parent}
    result = rw.verify(spec, rewards=pair)
    assert [str(rule.verdict) for rule in result.rules] == ["proved"]
    rw.certify(result, folder / "out")
    for name, artifact in pair.items():
        rw.save_reward(artifact, folder / f"{name}.rwz")
    assert check(folder / "out", {name: folder / f"{name}.rwz" for name in pair}).accepted
    (proof,) = (folder / "out" / "proofs").iterdir()
    return json.loads(gzip.decompress(proof.read_bytes()) if proof.suffix == ".gz" else proof.read_bytes())


def test_all_boxes_are_left_out_where_the_premise_is_beyond_them(tmp_path: Path) -> None:
    parent, child = table(tmp_path)
    spec = spec_of(AWAY.format(x="0.3001", y="0.06001"), tmp_path)
    claim = bind(spec, "away", {"R": child, "Before": parent})
    found = opened(claim, {"R": child, "Before": parent})
    assert found is not None
    assert not found[1]["R"].patches
    proof = certified(spec, child, parent, tmp_path)
    assert proof["beyond"] is True
    assert len(json.dumps(proof["goals"])) < 200


def test_boxes_that_the_premise_may_meet_are_kept_and_what_is_left_is_the_reward_there(tmp_path: Path) -> None:
    parent, child = table(tmp_path)
    text = (
        BEFORE + "must some:\n  forall s: S\n  given s.x <= 3 [m] or s.x >= 7 [m] or not s.on\n  expect R(s) <= 100\n"
    )
    claim = bind(spec_of(text, tmp_path), "some", {"R": child})
    found = opened(claim, {"R": child})
    assert found is not None
    less = found[1]["R"]
    assert less.digest != child.digest
    boxes = [len(a.tensors[p.offsets]) for a in (less, child) for p in a.patches]
    assert 0 < boxes[0] < boxes[1]
    rng = np.random.default_rng(1)
    moved = 0
    for anchor in np.repeat(data(tmp_path, 20), 12, axis=0):
        x = np.array([anchor[0], anchor[1], rng.integers(2), *anchor[3:]], np.float32)
        x[:2] += rng.uniform(-0.3, 0.3, 2) * [1, 0.2]
        row = [Fraction(float(v)) for v in np.clip(x, [0, -1, 0, 0, 0], [10, 1, 1, 1, 1])]
        moved += evaluate(child, row) != evaluate(parent, row)
        if row[0] <= 3 or row[0] >= 7 or not row[2]:
            assert evaluate(less, row) == evaluate(child, row)
    assert moved


def test_a_rim_that_is_cut_short_is_violated(tmp_path: Path) -> None:
    parent, child = table(tmp_path)
    spec = spec_of(AWAY.format(x="0.2", y="0.03"), tmp_path)
    found = rw.verify(spec, rewards={"R": child, "Before": parent})["away"]
    assert found.verdict == "violated"
    assert found.witness is not None
    assert evaluate(child, found.witness.point) != evaluate(parent, found.witness.point)


def test_the_kernel_refuses_a_proof_that_leaves_out_what_the_premise_does_not_open(tmp_path: Path) -> None:
    """The claim of a narrower premise, with the proof of the wider one."""
    parent, child = table(tmp_path)
    certified(spec_of(AWAY.format(x="0.3001", y="0.06001"), tmp_path), child, parent, tmp_path)
    rewards = {name: tmp_path / f"{name}.rwz" for name in ("R", "Before")}
    claims = json.loads((tmp_path / "out" / "claims.json").read_text())
    (claim,) = claims["claims"]
    claim["clauses"] = [clause[:-1] for clause in claim["clauses"] if len(clause) > 1]
    narrow = claim["clauses"]
    for clauses, accepted in ((narrow, True), (narrow[1:], False), ([], False)):
        claim["clauses"] = clauses
        _rewritten(tmp_path / "out", claims)
        assert check(tmp_path / "out", rewards).accepted is accepted


def _rewritten(folder: Path, claims: dict[str, object]) -> None:
    from rewarden.certificate.kernel_json import canonical, digest

    (folder / "claims.json").write_bytes(canonical(claims))
    (claim,) = claims["claims"]
    (file,) = (folder / "proofs").iterdir()
    proof = json.loads(gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes())
    file.unlink()
    proof["claim"] = digest(canonical(claim))
    (folder / "proofs" / "away.json").write_bytes(canonical(proof))


@pytest.mark.parametrize(
    ("text", "kind"), [("<= quantile(R(bad), 1/2)", "ceiling"), (">= quantile(R(bad), 1/2)", "floor")]
)
def test_a_patched_reward_lies_between_what_it_was_and_its_level(tmp_path: Path, text: str, kind: str) -> None:
    parent, child = table(tmp_path, text=text)
    (patch,) = child.patches
    assert patch.kind == kind
    level = Fraction(float(child.tensors[patch.level][0]))
    pair = {"R": child, "Before": parent}

    def rule(level: Fraction) -> Spec:
        number = f"({level.numerator} / {level.denominator})"
        sides = f"min(Before(s), {number}) <= R(s) <= Before(s)"
        sides = sides if kind == "ceiling" else f"Before(s) <= R(s) <= max(Before(s), {number})"
        return spec_of(f"{BEFORE}must between:\n{NEAR}  expect {sides}\n", tmp_path)

    certified(rule(level), child, parent, tmp_path)
    further = level + Fraction(1, 10**6) * (1 if kind == "ceiling" else -1)
    claim = bind(rule(further), "between", pair)
    assert not lies_between(claim, pair)
    turned = {"R": parent, "Before": child}
    assert not lies_between(bind(rule(level), "between", turned), turned)
    name = next(name for name, tensor in parent.tensors.items() if tensor.ndim == 1)
    other = replace(parent, tensors={**parent.tensors, name: parent.tensors[name] + np.float32(1)})
    another = {"R": child, "Before": other}
    assert not lies_between(bind(rule(level), "between", another), another)
