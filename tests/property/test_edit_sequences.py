"""Any sequence of patch, revert, squash, bake and merge keeps what each promised.

A machine edits a line of artifacts at random and remembers, in the order in which the patches act, what was asked. Kept
with every step: artifacts that lie on disk, byte for byte; beyond all rings the bits of the network below; at a point
of a rule's region, where no later patch of the other kind may act, the rule's level, exactly and as deployed. What a
single step promises beside that is checked with the step. In the end the verifier is asked.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import rewarden as rw
from rewarden.editor.history.bake import BakeOptions, bake
from rewarden.editor.history.chain import Chain
from rewarden.editor.history.merge import merge
from rewarden.editor.history.overlap import Columns, broken, clash
from rewarden.editor.history.revert import revert
from rewarden.editor.history.squash import squash
from rewarden.editor.history.stored import Stored, all_stored
from rewarden.editor.patch import apply_patch
from rewarden.editor.region import Bound
from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.exact import evaluate
from rewarden.reward.store import load_artifact, save_artifact
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.spec import parse_spec
from rewarden.verifier.extremum import certified_extremum
from rewarden.verifier.options import VerifyOptions
from tests.property.test_patch import PREMISES, SPEC, bound, g, network, points

EXACTLY = 12  # points of a step at which the exact reward is asked as well
QUICK = VerifyOptions(budget=2_000, falsify_budget=1_000)
seeds = st.integers(0, 10**6)


@cache
def asked(premise: str, relation: str) -> Bound:
    return bound(premise, "0", relation)


@dataclass(frozen=True)
class Promise:
    """What a rule asks, and where it was written down."""

    bound: Bound
    premise: str

    @property
    def sign(self) -> int:
        return 1 if self.bound.kind == "ceiling" else -1

    def distance(self, point: list[Fraction]) -> Fraction:
        """In ring widths; at most 0 in the region."""
        return min(g(polytope, point) for polytope in self.bound.polytopes)


class Line:
    """A line of artifacts on disk (mutable): the newest last, with the promises since the network, in order."""

    def __init__(self, folder: Path, base: Artifact) -> None:
        self.folder, self.artifacts = folder, [base]
        self.promises: list[tuple[Promise, ...]] = [()]

    def forked(self, at: int, folder: Path) -> Line:
        found = Line(folder, self.artifacts[0])
        found.artifacts, found.promises = self.artifacts[: at + 1], self.promises[: at + 1]
        return found

    @property
    def newest(self) -> Artifact:
        return self.artifacts[-1]

    @property
    def chain(self) -> Chain:
        return Chain.of(tuple(reversed(self.artifacts)))

    def put(self, artifact: Artifact, promises: tuple[Promise, ...], keep: int | None = None) -> None:
        """On top of the oldest `keep` artifacts."""
        kept = len(self.artifacts) if keep is None else keep
        self.artifacts[kept:], self.promises[kept:] = [artifact], [promises]


class Edits(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.bytes: dict[str, tuple[bytes, bytes]] = {}
        self.seed = 0

    def teardown(self) -> None:
        try:
            if hasattr(self, "line"):
                self.proved()
        finally:
            shutil.rmtree(self.folder)

    @initialize(seed=seeds)
    def network(self, seed: int) -> None:
        self.seed = seed
        self.line = Line(self.folder, network(seed))
        self.plain = self.line.newest  # the newest without patches
        self.save(self.line.newest)

    # ── steps ──────────────────────────────────────────────────────────────────────────────────
    @rule(premise=st.sampled_from(PREMISES), ceiling=st.booleans(), share=st.floats(0.2, 0.8))
    def patch(self, premise: str, ceiling: bool, share: float) -> None:
        self.patched(self.line, premise, ceiling, share)

    @precondition(lambda self: len(self.line.artifacts) > 1)
    @rule(which=st.integers(0, 9))
    def revert(self, which: int) -> None:
        line = self.line
        number = which % (len(line.artifacts) - 1)
        below = len(line.artifacts) - 2 - number
        try:
            done = revert(line.chain, number, certified_extremum)
        except EditError as refused:
            expected(refused, "E31")
            return
        if number == 0:
            manifest, tensors = self.bytes[line.artifacts[below].digest]
            assert done.artifact.manifest_bytes == manifest
            assert done.artifact.tensors_bytes == tensors
            line.put(done.artifact, line.promises[below], below)
            return
        assert done.artifact.parent == line.artifacts[below].digest
        undone = line.promises[below + 1][len(line.promises[below]) :]
        left = tuple(p for p in line.promises[-1] if p not in undone)
        assert [p.rule for p in done.artifact.patches] == [p.bound.rule for p in left for _ in p.bound.polytopes]
        line.put(done.artifact, left, below + 1)
        self.save(done.artifact)

    @precondition(lambda self: len(self.line.artifacts) > 1)
    @rule(count=st.integers(1, 9))
    def squash(self, count: int) -> None:
        line = self.line
        count = min(count, len(line.artifacts) - 1)
        x = self.points(line)
        try:
            done = squash(line.chain, count)
        except EditError as refused:
            expected(refused, "E31")
            return
        assert forward(done.artifact, x).tobytes() == forward(line.newest, x).tobytes()
        for row in x[:EXACTLY]:
            assert evaluate(done.artifact, exact(row)) == evaluate(line.newest, exact(row))
        line.put(done.artifact, line.promises[-1], len(line.artifacts) - count)
        self.save(done.artifact)

    @precondition(lambda self: len(self.line.newest.patches) > 0)
    @rule()
    def bake(self) -> None:
        """Promises nothing but the shape: what the network learned is verified before anyone uses it."""
        done = bake(self.line.newest, BakeOptions(steps=2))
        assert done.artifact.patches == ()
        assert done.artifact.graph == self.line.newest.graph
        assert done.artifact.parent == self.line.newest.digest
        self.plain = done.artifact
        self.line = Line(self.folder, done.artifact)
        self.save(done.artifact)

    @rule(at=st.integers(0, 9), premise=st.sampled_from(PREMISES), ceiling=st.booleans(), share=st.floats(0.2, 0.8))
    def merge(self, at: int, premise: str, ceiling: bool, share: float) -> None:
        """With a line of one edit, on any artifact below the newest."""
        line = self.line
        if len(line.artifacts) < 2:
            return
        at %= len(line.artifacts) - 1
        other = line.forked(at, self.folder)
        if not self.patched(other, premise, ceiling, share):
            return
        done = merge(line.chain, other.chain, certified_extremum)
        mine, theirs = line.promises[-1][len(line.promises[at]) :], other.promises[-1][len(other.promises[at]) :]
        if done.artifact is None:
            self.conflicts(line.artifacts[at], line.newest, other.newest, done.conflicts)
            return
        x = self.points(line, theirs)
        for row, value in zip(x, forward(done.artifact, x), strict=True):
            self.held(done.artifact, (*mine, *theirs), row, value, whole=True)
        on_top = done.artifact.parent == line.newest.digest
        promises = (*line.promises[-1], *theirs) if on_top else (*other.promises[-1], *mine)
        if not on_top:
            assert done.artifact.parent == other.newest.digest
            line.artifacts[at + 1 :], line.promises[at + 1 :] = [other.newest], [other.promises[-1]]
        line.put(done.artifact, promises)
        self.save(done.artifact)

    # ── what is kept ───────────────────────────────────────────────────────────────────────────
    @invariant()
    def artifacts_lie_where_they_lay(self) -> None:
        for digest, (manifest, tensors) in self.bytes.items():
            place = self.folder / digest.removeprefix("sha256:")
            assert (place / "manifest.json").read_bytes() == manifest
            assert (place / "tensors.safetensors").read_bytes() == tensors

    @invariant()
    def rules_hold_and_the_rest_is_untouched(self) -> None:
        if not hasattr(self, "line") or not self.line.promises[-1]:
            return
        x = self.points(self.line)
        new, old = forward(self.line.newest, x), forward(self.plain, x)
        for k, row in enumerate(x):
            point = exact(row)
            if all(promise.distance(point) >= 1 for promise in self.line.promises[-1]):
                assert new[k].tobytes() == old[k].tobytes()
                if k < EXACTLY:
                    assert evaluate(self.line.newest, point) == evaluate(self.plain, point)
            self.held(self.line.newest, self.line.promises[-1], row, new[k], whole=k < EXACTLY)

    def held(
        self, artifact: Artifact, promises: tuple[Promise, ...], row: np.ndarray, value: np.float32, *, whole: bool
    ) -> None:
        """The rules whose region holds the point, unless a later patch of the other kind may act there."""
        point = exact(row)
        far = [promise.distance(point) for promise in promises]
        for k, promise in enumerate(promises):
            later = zip(promises[k + 1 :], far[k + 1 :], strict=True)
            if far[k] > 0 or any(p.sign != promise.sign and d < 1 for p, d in later):
                continue
            assert promise.sign * Fraction(float(value)) <= promise.sign * promise.bound.level
            if whole:
                assert promise.sign * evaluate(artifact, point) <= promise.sign * promise.bound.level

    def conflicts(self, ancestor: Artifact, one: Artifact, other: Artifact, found: tuple[object, ...]) -> None:
        """A situation for each, in which they really disagree; and neither order would have done."""
        assert found
        below = len(ancestor.patches)
        ours, theirs = all_stored(one)[below:], all_stored(other)[below:]
        columns = Columns.of(ancestor.records)
        for first, later in ((ours, theirs), (theirs, ours)):
            assert any(broken(a, b, columns) is not None for a in first for b in later)
        for conflict in found:
            if conflict.demanded:
                for patch in (conflict.one, conflict.other):
                    assert height(patch, conflict.point) <= patch.delta
                assert clash(conflict.one, conflict.other, columns) is not None

    def proved(self) -> None:
        """By the verifier: the newest rule that none of the other kind follows holds in its region."""
        promises = self.line.promises[-1]
        if not promises:
            return
        newest = promises[-1]
        relation = "<=" if newest.bound.kind == "ceiling" else ">="
        level = f"({newest.bound.level.numerator} / {newest.bound.level.denominator})"
        spec = parse_spec(SPEC.format(premise=newest.premise, level=level, relation=relation))
        assert rw.verify(spec, QUICK, R=self.line.newest)["capped"].verdict == "proved"

    # ── the rest ───────────────────────────────────────────────────────────────────────────────
    def patched(self, line: Line, premise: str, ceiling: bool, share: float) -> bool:
        """Whether there was room for it; refused, nothing has changed."""
        self.seed += 1
        bare = asked(premise, "<=" if ceiling else ">=")
        values = forward(line.newest, points(self.seed, bare.polytopes, 40))
        level = Fraction(f"{float(np.quantile(values, share)):.6f}")
        edit = replace(bare, level=level, rule=f"rule{self.seed}")
        before = line.newest.digest
        try:
            child, _ = apply_patch(line.newest, edit, certified_extremum)
        except EditError as refused:
            expected(refused, "E34", "E35")
            assert any(promise.bound.kind != edit.kind for promise in line.promises[-1])
            assert line.newest.digest == before
            return False
        assert child.parent == before
        line.put(child, (*line.promises[-1], Promise(edit, premise)))
        self.save(child)
        return True

    def points(self, line: Line, more: tuple[Promise, ...] = ()) -> np.ndarray:
        """At random, on faces and rings of all regions, and one number beside them."""
        self.seed += 1
        regions = tuple(p for promise in (*line.promises[-1], *more) for p in promise.bound.polytopes)
        return points(self.seed, regions or asked(PREMISES[0], "<=").polytopes, 60)

    def save(self, artifact: Artifact) -> None:
        place = self.folder / artifact.digest.removeprefix("sha256:")
        if not place.exists():
            save_artifact(artifact, place)
            assert load_artifact(place).digest == artifact.digest
            self.bytes[artifact.digest] = (artifact.manifest_bytes, artifact.tensors_bytes)


def expected(refused: EditError, *codes: str) -> None:
    assert refused.code in codes


def exact(row: np.ndarray) -> list[Fraction]:
    return [Fraction(float(v)) for v in row]


def height(patch: Stored, point: tuple[Fraction, ...]) -> Fraction:
    """The largest row at a point."""
    return max(sum((a * x for a, x in zip(row, point, strict=True)), -b) for row, b in patch.exact_rows())


def run(examples: int, steps: int) -> None:
    unhurried = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Edits,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=unhurried
        ),
    )


def test_any_sequence_keeps_what_each_step_promised() -> None:
    run(4, 8)


@pytest.mark.slow
def test_any_long_sequence() -> None:
    run(int(os.environ.get("REWARDEN_SEQUENCES", "60")), 20)
