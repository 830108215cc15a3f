"""Any sequence of patch, revert, squash, merge and unlearn: what was forgotten stays so, and what was promised is kept.

A line of artifacts lies on disk, and steps are drawn at random. After each, the network below the patches is the one
that an oracle learns, bit for bit, which never saw what has been forgotten so far; patches since then keep their levels
in their regions and leave all beyond their rims; and all that lay there before lies there as it lay. Rows come back by
no step but a revert that says so; a step that would bring them back any other way is refused.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

import rewarden as rw
from rewarden.cli import run as cli
from rewarden.editor.mend import bounds_for
from rewarden.editor.patch import PatchOptions, apply_patch
from rewarden.editor.region import Bound
from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.learn_config import load_learn_config
from rewarden.reward.learners.interface import Run
from rewarden.reward.learners.preferences import Preferences
from rewarden.reward.learners.shards import Shards, taken
from rewarden.reward.segments import read_comparisons
from rewarden.reward.store import load_artifact, save_artifact
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.spec import parse_spec
from rewarden.verifier.extremum import certified_extremum
from tests.property.test_patch import g
from tests.unit.test_unlearning import SHARDS, STEP, project

PEOPLE, SHARD_SEED = 60, 3
OPTIONS = PatchOptions(ring=Fraction(1, 25))
STEPS = ("patch", "patch", "unlearn", "revert", "squash", "merge")
HEAD = "spec s v1\nfeatures Step { speed: real in 0 .. 4  gap: real in -2 .. 2 }\nreward R(s: Step)\n"


@dataclass(frozen=True)
class Node:
    """One artifact of a line. `ceilings`: those in force, `step`: what made it."""

    place: Path
    digest: str
    step: str
    gone: frozenset[str]
    ceilings: tuple[Bound, ...]


class Walk:
    """A line and what it should be (mutable)."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.rng, self.made = folder, np.random.default_rng(seed), 0
        project(folder, "preferences", SHARDS)
        assert cli(["learn", str(folder / "learn.toml"), "-o", str(folder / "n0"), "-q"]) == 0
        self.known: dict[frozenset[str], bytes] = {}
        self.bytes: dict[Path, bytes] = {}
        self.line = [self.node(folder / "n0", "learn", frozenset(), ())]
        self.seen: dict[str, int] = {}

    @cached_property
    def learning(self):
        return load_learn_config(self.folder / "learn.toml"), read_comparisons(self.folder / "pairs.parquet", STEP)

    def oracle(self, gone: frozenset[str]) -> bytes:
        """The tensors of a reward that never saw them."""
        if gone not in self.known:
            read, data = self.learning
            rest = taken(data, np.flatnonzero(~np.isin(data.ids, sorted(gone))))
            never = Shards(Preferences(), read.shards).fit(rest, read.options, Run(SHARD_SEED))
            self.known[gone] = never.tensors_bytes
        return self.known[gone]

    # ── steps ──────────────────────────────────────────────────────────────────────────────────
    def go(self, steps: int) -> None:
        for _ in range(steps):
            name = STEPS[int(self.rng.integers(len(STEPS)))]
            told = getattr(self, name)()
            self.seen[f"{name} {told}"] = self.seen.get(f"{name} {told}", 0) + 1
            self.kept()

    def patch(self) -> str:
        artifact, ceiling = self.capped(load_artifact(self.line[-1].place))
        self.put(artifact, "patch", self.line[-1].gone, (*self.line[-1].ceilings, ceiling))
        return "made"

    def unlearn(self) -> str:
        newest = self.line[-1]
        asked = {f"person {k}" for k in self.rng.integers(PEOPLE, size=int(self.rng.integers(1, 4)))}
        (self.folder / "now.csv").write_text("id\n" + "\n".join(sorted(asked)) + "\n")
        place = self.new()
        config = ["--config", str(self.folder / "learn.toml"), "--forget", str(self.folder / "now.csv")]
        code = cli(["unlearn", str(newest.place), *config, "-o", str(place), "-q"])
        if asked <= newest.gone:
            assert code == 2
            return "of nobody new"
        assert code == 0
        assert load_artifact(place).parent == newest.digest
        self.line.append(self.node(place, "unlearn", newest.gone | asked, ()))
        return "made"

    def revert(self) -> str:
        if len(self.line) < 2:
            return "of nothing"
        number = int(self.rng.integers(len(self.line) - 1))
        at, back = len(self.line) - 1 - number, bool(self.rng.random() < 0.3)
        undone, below, later = self.line[at], self.line[at - 1], self.line[at + 1 :]
        forgetting = "unlearn" in [node.step for node in later] or (undone.step == "unlearn" and not back)
        unfit = any(
            len(node.ceilings) < len(under.ceilings) for node, under in zip(later, self.line[at:], strict=False)
        )
        try:
            found = rw.revert(self.line[-1].place, str(number), rows_come_back=back).artifact
        except EditError as refused:
            return expected(refused, "E38" if forgetting else "E31", forgetting or unfit)
        assert not forgetting
        if not later:
            assert found.digest == below.digest
            self.line.pop()
            return "of the newest" if undone.step != "unlearn" else "that brings rows back"
        kept = self.line[-1].ceilings[len(undone.ceilings) :]  # on top of what comes to light
        del self.line[at:]
        self.put(found, "revert", below.gone, (*below.ceilings, *kept))
        return "of an older one"

    def squash(self) -> str:
        if len(self.line) < 2:
            return "of nothing"
        count = int(self.rng.integers(1, len(self.line)))
        newest, forgetting = self.line[-1], "unlearn" in [node.step for node in self.line[-count:]]
        try:
            found = rw.squash(newest.place, count).artifact
        except EditError as refused:
            return expected(refused, "E38", forgetting)
        assert not forgetting
        x = self.records(newest.ceilings)
        assert forward(found, x).tobytes() == forward(load_artifact(newest.place), x).tobytes()
        del self.line[-count:]
        self.put(found, "squash", newest.gone, newest.ceilings)
        return "made"

    def merge(self) -> str:
        """With a line of one ceiling on some artifact below."""
        if len(self.line) < 2:
            return "of nothing"
        at = int(self.rng.integers(len(self.line) - 1))
        other, ceiling = self.capped(load_artifact(self.line[at].place))
        place, newest = self.saved(other), self.line[-1]
        since = self.line[at + 1 :]
        forgetting = "unlearn" in [node.step for node in since]
        try:
            found = rw.merge(newest.place, place).artifact
        except EditError as refused:
            return expected(refused, "E38", forgetting)
        assert not forgetting
        assert found is not None, "ceilings do not disturb each other"
        if found.parent != newest.digest:  # the other order: what this line had is on top of the other
            del self.line[at + 1 :]
            self.line.append(self.node(place, "patch", newest.gone, (*self.line[-1].ceilings, ceiling)))
        self.put(found, "merge", newest.gone, (*newest.ceilings, ceiling))
        return "made"

    # ── what is kept ───────────────────────────────────────────────────────────────────────────
    def kept(self) -> None:
        node = self.line[-1]
        artifact = load_artifact(node.place)
        assert artifact.with_patches(()).tensors_bytes == self.oracle(node.gone)
        x = self.records(node.ceilings)
        new, old = forward(artifact, x), forward(artifact.with_patches(()), x)
        for k, row in enumerate(x):
            point = [Fraction(float(v)) for v in row]
            far = [min(g(polytope, point) for polytope in ceiling.polytopes) for ceiling in node.ceilings]
            for ceiling, distance in zip(node.ceilings, far, strict=True):
                assert distance > 0 or Fraction(float(new[k])) <= ceiling.level
            if all(distance >= 1 for distance in far):
                assert new[k].tobytes() == old[k].tobytes()
        for path, content in self.bytes.items():
            assert path.read_bytes() == content

    # ── the rest ───────────────────────────────────────────────────────────────────────────────
    def capped(self, artifact: Artifact) -> tuple[Artifact, Bound]:
        low = self.rng.uniform([0.2, -1.8], [2.5, 0.5]).round(2)
        high = (low + self.rng.uniform(0.3, 1.2, 2)).round(2)
        given = f"s.speed >= {low[0]} and s.speed <= {high[0]} and s.gap >= ({low[1]}) and s.gap <= ({high[1]})"
        inside = np.float32(self.rng.uniform(low, high, (30, 2)))
        level = float(np.quantile(forward(artifact, inside), self.rng.uniform(0.1, 0.8)))
        name = f"rule{self.made}"
        text = f"{HEAD}must {name}:\n  forall s: Step\n  given {given}\n  expect R(s) <= ({level:.6f})\n"
        ceiling = bounds_for(parse_spec(text, "s.rwd"), {"R": artifact}, name, OPTIONS)[0]
        return apply_patch(artifact, ceiling, certified_extremum)[0], ceiling

    def records(self, ceilings: tuple[Bound, ...]) -> np.ndarray:
        """At random; some on a side of a region or of its ring, or one number beside it."""
        x = self.rng.uniform([0, -2], [4, 2], (60, 2)).astype(np.float32)
        rows = [row for ceiling in ceilings for polytope in ceiling.polytopes for row in polytope.rows]
        for k in range(40 if rows else 0):
            row = rows[int(self.rng.integers(len(rows)))]
            (j,) = (j for j, weight in enumerate(row.coefficients) if weight)
            edge = np.float32((row.offset + int(self.rng.integers(2))) / row.coefficients[j])
            x[k, j] = np.nextafter(edge, np.float32(self.rng.choice([-9, 9]))) if self.rng.random() < 0.5 else edge
        return np.clip(x, np.float32([0, -2]), np.float32([4, 2]))

    def new(self) -> Path:
        self.made += 1
        return self.folder / f"n{self.made}"

    def saved(self, artifact: Artifact) -> Path:
        place = self.new()
        save_artifact(artifact, place)
        self.remember(place)
        return place

    def put(self, artifact: Artifact, step: str, gone: frozenset[str], ceilings: tuple[Bound, ...]) -> None:
        assert artifact.parent == self.line[-1].digest
        self.line.append(self.node(self.saved(artifact), step, gone, ceilings))

    def node(self, place: Path, step: str, gone: frozenset[str], ceilings: tuple[Bound, ...]) -> Node:
        self.remember(place)
        return Node(place, load_artifact(place).digest, step, gone, ceilings)

    def remember(self, place: Path) -> None:
        self.bytes |= {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
        ledger = place.with_name(place.name + ".forgotten.json")
        if ledger.exists():
            self.bytes[ledger] = ledger.read_bytes()


def expected(refused: EditError, code: str, due: bool) -> str:
    assert refused.code == code, refused
    assert due, refused
    return code


def run(folder: Path, seed: int, steps: int) -> dict[str, int]:
    folder.mkdir()
    sequence = Walk(folder, seed)
    sequence.kept()
    sequence.go(steps)
    return sequence.seen


def test_forgotten_rows_stay_so_and_promises_are_kept_whatever_follows(tmp_path):
    seen = run(tmp_path / "0", 1, 7)
    assert sum(seen.values()) == 7


@pytest.mark.slow
def test_long_sequences_with_every_step_and_every_refusal(tmp_path):
    seen: dict[str, int] = {}
    for seed in range(int(os.environ.get("REWARDEN_SEQUENCES", "20"))):
        for told, count in run(tmp_path / str(seed), seed, 12).items():
            seen[told] = seen.get(told, 0) + count
    assert {f"{step} made" for step in ("patch", "unlearn", "squash", "merge")} <= seen.keys()
    assert {f"{step} E38" for step in ("revert", "squash", "merge")} <= seen.keys()
    assert {f"revert {what}" for what in ("of the newest", "of an older one", "that brings rows back")} <= seen.keys()
