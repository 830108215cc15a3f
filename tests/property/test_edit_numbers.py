"""What is told of an edit, of every kind of edit, against a slow count of the same things one by one.

Rewards are evaluated record by record by the deployed arithmetic, pairs and ranks counted in Python's own loops, the
share of the domain by drawing. Changes anywhere are looked for where the methods' own tests look: densely about the
faces of regions and rings.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import rewarden as rw
from rewarden.editor.effect import Effect, effect
from rewarden.editor.mend import EditReport
from rewarden.editor.unlearn import approximate
from rewarden.editor.unlearn.request import Ledger, part
from rewarden.reward.agreement import random_rows
from rewarden.reward.artifact import Artifact, Edit
from rewarden.reward.deployed import forward
from rewarden.reward.learners.interface import Comparisons
from rewarden.reward.learners.shards import contents
from rewarden.spec_lang.spec import Spec, parse_spec
from tests.property.test_every_method import CASES, OPTIONS, dense
from tests.unit.test_methods import HEAD, network

DATA = 'data rows: Step from "rows.csv"\n'
NEAR = "must asked:\n  forall s: Step near rows within 1 %\n  expect R(s) <= {level}\n"
QUICK = ("region", "threshold", "near", "unlearning")


def made(text: str, folder: Path, rows: np.ndarray) -> Spec:
    lines = ["speed,gap,close,lanes", *(f"{a!r},{b!r},{int(c)},{int(d)}" for a, b, c, d in rows.tolist())]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    return parse_spec(HEAD + DATA + text, "numbers.rwd", base=folder)


def one_by_one(artifact: Artifact, rows: np.ndarray) -> list[float]:
    return [float(forward(artifact, row[None, :])[0]) for row in rows]


def counted(kind: str, spec: Spec, parent: Artifact, child: Artifact, said: Effect, others: np.ndarray) -> None:
    """Every number of a report that can be counted."""
    rows = spec.rows("rows").values.astype(np.float32)
    old, new = one_by_one(parent, rows), one_by_one(child, rows)
    count = len(rows)
    assert (said.over, said.drift.rows) == ("rows of rows", count)
    assert said.drift.changed == sum(repr(a) != repr(b) for a, b in zip(old, new, strict=True))
    assert said.drift.largest == max(abs(b - a) for a, b in zip(old, new, strict=True))
    assert said.drift.mean == pytest.approx(sum(abs(b - a) for a, b in zip(old, new, strict=True)) / count)
    pairs = [(i, j) for i in range(count) for j in range(i)]
    turned = [(i, j) for i, j in pairs if (old[i] - old[j]) * (new[i] - new[j]) < 0]
    assert (said.pairs, said.flips) == (len(pairs), len(turned))
    assert said.ranks == sum(not _places(old, k) & _places(new, k) for k in range(count))
    if said.example is not None:
        i, j = (row - 1 for row in said.example.rows)
        assert (min(i, j), max(i, j)) in {(min(p), max(p)) for p in turned}
        assert (said.example.before, said.example.after) == ((old[i], old[j]), (new[i], new[j]))
        assert "can change which behaviour is optimal" in said.statement["behaviour"]
    elif turned:
        raise AssertionError("a pair turned, and none is shown")
    if said.behaviour.turned is not None:
        sums = [
            [
                sum((times * Fraction(values[row - 1]) for row, times in side), Fraction(0))
                for side in said.behaviour.turned.visits
            ]
            for values in (old, new)
        ]
        assert (sums[0][0] - sums[0][1]) * (sums[1][0] - sums[1][1]) < 0
        assert len({sum(times for _, times in side) for side in said.behaviour.turned.visits}) == 1
    # anywhere
    drawn = random_rows([record.type for record in parent.records], 3000, 11)
    every = np.concatenate([drawn, others])
    change = np.abs(forward(child, every).astype(np.float64) - forward(parent, every).astype(np.float64))
    assert said.attained >= said.drift.largest
    if said.acts is None or said.most is None:
        assert kind in ("last-layer", "tuning", "unlearning")
        return
    assert max(said.attained, float(change.max())) <= float(said.most)
    moved = float((change[: len(drawn)] != 0).mean())
    assert moved <= float(said.acts.most) + 4 * np.sqrt(0.25 / len(drawn))


def _places(values: list[float], k: int) -> set[int]:
    """The ranks that a row may have, whichever of equals comes first."""
    below, equal = sum(v < values[k] for v in values), sum(v == values[k] for v in values)
    return set(range(below, below + equal))


def edited(kind: str, seed: int, folder: Path) -> bool:
    """Whether there was an edit to look at."""
    rng = np.random.default_rng(seed)
    rows = dense(rng, CASES["region"](rng).regions, 40)
    if kind == "unlearning":
        parent, spec = network(seed), made("", folder, rows)
        segments = dense(rng, CASES["region"](rng).regions, 120).astype(np.float64).reshape(30, 2, 2, 4)
        parent = replace(parent, identified="shift")
        answers = Comparisons(parent.records[0], segments)
        child = approximate.forget(parent, answers, part(answers, contents(answers)[:3], Ledger())).artifact
        counted(kind, spec, parent, child, effect(spec, parent, child, ()), rows)
        return True
    if kind == "near":
        parent = network(seed)
        level = round(float(np.quantile(forward(parent, rows), 0.5)), 3)
        spec, method, given = made(NEAR.format(level=level), folder, rows), "region", {"R": parent}
        others = np.clip(rows + rng.normal(0, 0.05, rows.shape).astype(np.float32) * [1, 1, 0, 0], 0, [4, 10, 1, 4])
        others = others.astype(np.float32)
    else:
        case = CASES[kind](rng)
        spec, method, given = made(case.text, folder, rows), kind, dict(case.rewards)
        others = dense(rng, case.regions)
    result = rw.patch(spec, method=method, verify_options=OPTIONS, rewards=given)
    for name, child in result.artifacts.items():
        own: list[EditReport] = [report for report in result.edits if report.reward == name]
        counted(kind, spec, given[name], child, effect(spec, given[name], child, own), others)
    return bool(result.artifacts)


@pytest.mark.parametrize("kind", QUICK)
def test_numbers_are_those_of_a_slow_count(kind: str, tmp_path: Path) -> None:
    assert any(edited(kind, seed, tmp_path) for seed in range(3))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["violated", "slope", "envelope", "last-layer", "tuning", *QUICK])
@pytest.mark.parametrize("seed", range(10, 16))
def test_numbers_of_many_more(kind: str, seed: int, tmp_path: Path) -> None:
    edited(kind, seed, tmp_path)


def test_an_edit_that_changes_nothing_says_so(tmp_path: Path) -> None:
    rows = dense(np.random.default_rng(0), CASES["region"](np.random.default_rng(1)).regions, 20)
    spec, parent = made("", tmp_path, rows), network(2)
    said = effect(spec, parent, parent.child(Edit("unlearn", "", {})), ())
    assert (said.attained, said.flips, said.ranks, said.drift.changed) == (0.0, 0, 0, 0)
    assert "none of the 20 rows of rows has moved" in said.statement["behaviour"]
    assert "that of the parent everywhere, bit for bit" in said.statement["outside"]
