"""Random networks, rules and edits: what is fixed and what is left alone, densely, bit for bit, and by the verifier."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rewarden as rw
from rewarden.editor.effect import effect
from rewarden.editor.mend import PatchResult
from rewarden.editor.patch import PatchOptions
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.exact import evaluate_row
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.spec import Spec, parse_spec
from rewarden.verifier.options import VerifyOptions
from tests.reference.random_graphs import random_mlp, random_rows, seeds

TYPE = RecordType(
    "S",
    (
        Feature("x", "real", Fraction(-1), Fraction(3)),
        Feature("n", "int", Fraction(-2), Fraction(4)),
        Feature("on", "bool", Fraction(0), Fraction(1)),
    ),
)
HEAD = """spec random v1
features S {
  x  : real in -1 .. 3
  n  : int in -2 .. 4
  on : bool
}
reward R(s: S)
data rows: S from "rows.csv"
"""
RING = Fraction(1, 25)
RANGES = np.array([4.0, 6.0, 1.0])


def rule(rng: np.random.Generator, number: int, level: float, kind: str) -> tuple[str, dict[str, float]]:
    """A rule in words, and the same region as numbers: sides of a box, or a radius around the rows."""
    relation = "<=" if kind == "ceiling" else ">="
    if rng.random() < 0.4:
        radius = float(rng.choice([1.0, 4.0]))
        words = f"must r{number}:\n  forall s: S near rows within {radius} %\n  expect R(s) {relation} {level:.3f}\n"
        return words, {"radius": radius / 100}
    lo = float(np.round(rng.uniform(-1, 2.5), 2))
    hi = lo + float(np.round(rng.uniform(0.05, 1.0), 2))
    least = int(rng.integers(-2, 4))
    given_ = f"s.x >= {lo:.2f} and s.x <= {hi:.2f} and s.n >= {least} and s.on"
    words = f"must r{number}:\n  forall s: S\n  given {given_}\n  expect R(s) {relation} {level:.3f}\n"
    return words, {"lo": lo, "hi": hi, "least": least}


def off(region: dict[str, float], rows: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """How far rows are from a region, in ring widths of x; a discrete feature that differs counts as far."""
    if "radius" in region:
        far = [
            np.where(
                (anchors[:, 1:] == row[1:]).all(axis=1), np.abs(anchors[:, 0] - row[0]) / 4 - region["radius"], 9.0
            )
            for row in rows
        ]
        return np.array([f.min() for f in far]) / float(RING)
    beside = np.maximum(region["lo"] - rows[:, 0], rows[:, 0] - region["hi"]) / 4 / float(RING)
    inside = (rows[:, 1] >= region["least"]) & (rows[:, 2] == 1)
    return np.where(inside, beside, 99.0)


def dense(rng: np.random.Generator, anchors: np.ndarray) -> np.ndarray:
    """Records everywhere, around the rows and at the ends of everything, as binary32 numbers."""
    near = anchors[rng.integers(len(anchors), size=1500)]
    near[:, 0] += rng.uniform(-0.5, 0.5, len(near)) * rng.choice([0.02, 0.5], len(near))
    rows = np.concatenate([random_rows(rng, TYPE, 2500), near, anchors])
    rows[:, 0] = np.clip(rows[:, 0], -1, 3)
    return rows.astype(np.float32)


def mended(spec: Spec, parent: Artifact, options: VerifyOptions) -> PatchResult | str:
    """The code of the error where the rules contradict each other."""
    try:
        return rw.patch(spec, PatchOptions(ring=RING), verify_options=options, R=parent)
    except EditError as refused:
        return refused.code


@pytest.mark.parametrize(("seed", "kinds"), [(0, ["ceiling"]), (3, ["floor", "floor"]), (5, ["ceiling", "floor"])])
def test_fixed_inside_identical_outside_and_proved(seed: int, kinds: list[str]) -> None:
    edit(seed, kinds)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(seed=seeds, kinds=st.lists(st.sampled_from(["ceiling", "floor"]), min_size=1, max_size=2))
def test_many_more(seed: int, kinds: list[str]) -> None:
    edit(seed, kinds)


def edit(seed: int, kinds: list[str]) -> None:
    rng = np.random.default_rng(seed)
    parent: Artifact = replace(random_mlp(rng, TYPE, (4,)), records=(RewardRecord("s", TYPE),))
    anchors = random_rows(rng, TYPE, 6).astype(np.float32).astype(np.float64)
    rows = dense(rng, anchors)
    before = forward(parent, rows)
    levels = [float(np.quantile(before, 0.4 if kind == "ceiling" else 0.6)) for kind in kinds]
    made = [rule(rng, k, level, kind) for k, (kind, level) in enumerate(zip(kinds, levels, strict=True))]
    with TemporaryDirectory() as folder:
        lines = [f"{x!r},{int(n)},{int(on)}" for x, n, on in anchors.tolist()]
        (Path(folder) / "rows.csv").write_text("\n".join(["x,n,on", *lines]) + "\n")
        spec = parse_spec(HEAD + "".join(words for words, _ in made), "random.rwd", base=Path(folder))
        options = VerifyOptions(budget=500, falsify_budget=300)
        result = mended(spec, parent, options)
        if isinstance(result, str):
            assert result in ("E34", "E35")
            assert len(set(kinds)) == 2
            return
        if result.artifact is None:
            assert all(r.verdict == "proved" for r in result.before) or result.unmended
            return
        child = result.artifact
        after, said = forward(child, rows), effect(spec, parent, child, result.edits)
        done = {report.rule for report in result.edits}
        far = [off(region, rows, anchors) for k, (_, region) in enumerate(made) if f"r{k}" in done]
        outside = np.min(far, axis=0) >= 1 + 1e-5
        assert np.array_equal(before[outside].view(np.uint32), after[outside].view(np.uint32))
        assert said.most is not None
        assert said.acts is not None
        change = np.abs(after.astype(float) - before.astype(float)).max()
        assert max(change, said.attained) <= float(said.most)
        for k, (kind, (_, region)) in enumerate(zip(kinds, made, strict=True)):
            if result.after[f"r{k}"].verdict != "proved":
                assert f"r{k}" in result.unmended
                assert len(set(kinds)) == 2
                continue
            level = float(f"{levels[k]:.3f}")
            inside = off(region, rows, anchors) <= -1e-6
            kept = after[inside] <= level if kind == "ceiling" else after[inside] >= level
            assert kept.all()
            for row in rows[inside][:5]:
                exact = evaluate_row(child, row)
                assert exact <= Fraction(level) if kind == "ceiling" else exact >= Fraction(level)
        if len(set(kinds)) == 1:
            assert not result.unmended
            deployed = rw.verify(spec, replace(options, semantics="float32"), rules=sorted(done), R=child)
            assert "violated" not in {r.verdict for r in deployed}
