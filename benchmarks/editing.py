"""Edits of a small controller network: fifty faulty points and regions mended at once, and stacks of up to a thousand
patches. Times are CPU seconds of this process, since other work may share the machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from benchmarks.scene import Scene
from benchmarks.timing import Row
from rewarden.editor.mend import bounds_for
from rewarden.editor.patch import PatchOptions, apply_patch
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.graph import AffineMap, Graph, Input, Relu
from rewarden.spec_lang import Spec
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.spec import parse_spec
from rewarden.verifier.extremum import certified_extremum
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.portfolio import verify
from rewarden.verifier.verdict import Verdict

WIDTH, HIDDEN = 4, 32
FAULTY, RADII = 50, (("points", "0.01 %"), ("regions", "2 %"))
STACKS = (1, 10, 100, 1000)
TILES = (1, 2, 5, 10, 17, 31)  # of a side: ceilings that are all needed, up to as many as an artifact may have
STATES = 20_000
TYPE = RecordType("State", tuple(Feature(f"x{k}", "real", Fraction(-1), Fraction(1)) for k in range(WIDTH)))
HEAD = (
    "spec controller v1\nfeatures State {\n"
    + "".join(f"  x{k} : real in -1 .. 1\n" for k in range(WIDTH))
    + '}\nreward R(s: State)\ndata faulty: State from "faulty.csv"\n'
)
OPTIONS = PatchOptions(ring=Fraction(1, 100))


def editing(_: Scene) -> Iterator[Row]:
    base = _controller()
    states = np.random.default_rng(1).uniform(-1, 1, (STATES, WIDTH)).astype(np.float32)
    with TemporaryDirectory() as folder:
        for what, radius in RADII:
            yield _mended(base, what, _near(Path(folder), radius), states)
        yield from _stacked(base, Path(folder), states)
        yield from _tiled(base, Path(folder), states)


def _controller() -> Artifact:
    rng = np.random.default_rng(0)
    sizes, tensors = (WIDTH, HIDDEN, HIDDEN, 1), {}
    for k, (n, m) in enumerate(pairwise(sizes)):
        tensors[f"w{k}"] = (rng.normal(size=(m, n)) * np.sqrt(2 / n)).astype(np.float32)
        tensors[f"b{k}"] = (rng.normal(size=m) / 10).astype(np.float32)
    nodes = (Input(), AffineMap(0, "w0", "b0"), Relu(1), AffineMap(2, "w1", "b1"), Relu(3), AffineMap(4, "w2", "b2"))
    return Artifact((RewardRecord("s", TYPE),), Graph(nodes, 5), tensors, "exact")


def _near(folder: Path, radius: str) -> Spec:
    rows = np.random.default_rng(2).uniform(-0.95, 0.95, (FAULTY, WIDTH))
    lines = [",".join(f"x{k}" for k in range(WIDTH)), *(",".join(map(repr, row)) for row in rows.tolist())]
    (folder / "faulty.csv").write_text("\n".join(lines) + "\n")
    rule = f"must mended:\n  forall s: State near faulty within {radius}\n  expect R(s) <= quantile(R(faulty), 0.1)\n"
    return parse_spec(HEAD + rule, "controller.rwd", base=folder)


def _cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _each(reward: Artifact, states: NDArray[np.float32]) -> float:
    """CPU seconds a state, the least of three."""
    forward(reward, states[:10])
    return min(_cpu(lambda: forward(reward, states)) for _ in range(3)) / len(states)


def _mended(base: Artifact, what: str, spec: Spec, states: NDArray[np.float32]) -> Row:
    made: list[Artifact] = []
    bound = bounds_for(spec, {"R": base}, "mended", OPTIONS)[0]
    built = _cpu(lambda: made.append(apply_patch(base, bound, certified_extremum)[0]))
    found = []
    checked = _cpu(lambda: found.append(verify(spec, {"R": made[0]}, VerifyOptions())["mended"].verdict))
    before, after = _each(base, states), _each(made[0], states)
    changed = float((forward(base, states) != forward(made[0], states)).mean())
    verdict = "all proved" if found == [Verdict.PROVED] else f"{found[0]}"
    return Row(
        f"{FAULTY} faulty {what}, one patch",
        f"{built:.2f} s to build, {checked:.2f} s to verify: {verdict}",
        f"{before * 1e6:.2f} → {after * 1e6:.2f} µs a state; {changed:.2%} of random states changed",
    )


def _stacked(base: Artifact, folder: Path, states: NDArray[np.float32]) -> Iterator[Row]:
    """Ceilings on boxes at random, one rule each, made one after the other; the last rule is then verified, and one
    about the whole domain: at most a tenth more than what is seen of the patched reward."""
    rng = np.random.default_rng(3)
    centres = rng.uniform(-0.9, 0.9, (max(STACKS), WIDTH))
    rules = []
    for k, centre in enumerate(centres):
        given = " and ".join(f"{c - 0.1:.4f} <= s.x{j} and s.x{j} <= {c + 0.1:.4f}" for j, c in enumerate(centre))
        rules.append(f"must r{k}:\n  forall s: State\n  given {given}\n  expect R(s) <= {-k / 1000:.3f}\n")
    child, built, before = base, 0.0, _each(base, states)
    whole = certified_extremum(base, tuple((column.lo, column.hi) for column in base.columns), 1)
    for count in STACKS:
        first = len(child.patches)
        spec = parse_spec(HEAD + "".join(rules[first:count]), "stack.rwd", base=folder)
        for k in range(first, count):
            bound = bounds_for(spec, {"R": child}, f"r{k}", OPTIONS)[0]
            then = time.process_time()
            made, _ = apply_patch(child, bound, lambda artifact, box, sign: whole)
            built += time.process_time() - then
            child = replace(made, parent=None)
        spec = parse_spec(HEAD + rules[count - 1], "last.rwd", base=folder)
        last, then = f"r{count - 1}", time.process_time()
        found = verify(spec, {"R": child}, VerifyOptions())[last].verdict
        checked = time.process_time() - then
        level = 1.1 * float(forward(child, states).max())
        spec = parse_spec(f"{HEAD}must all:\n  forall s: State\n  expect R(s) <= {level:.4f}\n", "all.rwd", base=folder)
        then = time.process_time()
        everywhere = verify(spec, {"R": child}, VerifyOptions())["all"].verdict
        whole_checked = time.process_time() - then
        each = _each(child, states)
        yield Row(
            f"{count} stacked patches",
            f"{each * 1e6:.2f} µs a state (none: {before * 1e6:.2f})",
            f"{checked:.2f} s to verify a rule: {found}; {whole_checked:.2f} s one about all the domain: "
            f"{everywhere}; {built:.2f} s to build them all, one ceiling U for all",
        )


def _tiled(base: Artifact, folder: Path, states: NDArray[np.float32]) -> Iterator[Row]:
    """Ceilings whose regions overlap and together are the domain, and the rule that needs every one of them."""
    level = float(np.quantile(forward(base, states), 0.9))
    whole = certified_extremum(base, tuple((column.lo, column.hi) for column in base.columns), 1)
    for side in TILES:
        ends, child, built = np.linspace(-1, 1, side + 1), base, 0.0
        for number in range(side * side):
            given = " and ".join(
                f"({max(ends[k] - 0.02, -1):.4f}) <= s.x{j} and s.x{j} <= {min(ends[k + 1] + 0.02, 1):.4f}"
                for j, k in enumerate(divmod(number, side))
            )
            given = given if side > 1 else "s.x0 <= 0.9"  # a patch on the whole domain is refused
            rule = f"must tile:\n  forall s: State\n  given {given}\n  expect R(s) <= ({level:.4f})\n"
            bound = bounds_for(parse_spec(HEAD + rule, "tile.rwd", base=folder), {"R": child}, "tile", OPTIONS)[0]
            then = time.process_time()
            made, _ = apply_patch(child, bound, lambda artifact, box, sign: whole)
            built += time.process_time() - then
            child = replace(made, parent=None)
        given = "" if side > 1 else "  given s.x0 <= 0.9\n"
        text = f"{HEAD}must all:\n  forall s: State\n{given}  expect R(s) <= ({level:.4f})\n"
        spec, then = parse_spec(text, "all.rwd", base=folder), time.process_time()
        verdict = verify(spec, {"R": child}, VerifyOptions())["all"].verdict
        checked = time.process_time() - then
        yield Row(
            f"{side * side} patches, all of them needed",
            f"{checked:.2f} s to verify the rule: {verdict}",
            f"{_each(child, states) * 1e6:.2f} µs a state; {built:.2f} s to build them all",
        )
