"""Forgetting 1, 10 and 1,000 of 100,000 rows exactly, against learning all shards again without them; rows of as many
people, and of one; every learner that goes in shards; the command as a whole; and one Newton step of a head.

Seconds are CPU seconds of one thread. Each request is measured beside its oracle, which learns from nothing: so what
else the machine does at the time weighs on both.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.scene import Scene
from benchmarks.timing import Row
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.learners.autoencoders import Autoencoders
from rewarden.reward.learners.checkpoints import Checkpoints
from rewarden.reward.learners.energy import Energy
from rewarden.reward.learners.head import Head
from rewarden.reward.learners.interface import Comparisons, Demonstrations, Judgements, Learner, Run
from rewarden.reward.learners.labels import Labels
from rewarden.reward.learners.options import (
    AutoencoderOptions,
    EnergyOptions,
    HeadOptions,
    LabelOptions,
    PreferenceOptions,
    ShardOptions,
)
from rewarden.reward.learners.preferences import Preferences
from rewarden.reward.learners.shards import Data, Shards, taken
from rewarden.spec_lang.features import Feature, RecordType

ROWS, WIDTH, STEPS = 100_000, 8, 4
REQUESTS = (1, 10, 1000)
SHARDS = 16
OPTIONS = PreferenceOptions(hidden=32, epochs=6, batch=512)
TYPE = RecordType("Step", tuple(Feature(f"f{k}", "real", Fraction(-1), Fraction(1)) for k in range(WIDTH)))
RECORD = RewardRecord("s", TYPE)


@dataclass(frozen=True)
class Case:
    """A learner, what it learns from, and in how many slices."""

    what: str
    member: Learner[Any, Any]
    options: object
    data: Data
    slices: int
    one_person: bool = False

    @property
    def learner(self) -> Shards:
        return Shards(self.member, ShardOptions(SHARDS, self.slices))


def unlearning(_: Scene) -> Iterator[Row]:
    pairs = _pairs()
    rows, labels = pairs.segments[:, 0, 0], pairs.segments[:, 0, 0] @ np.arange(1.0, WIDTH + 1)
    shown, judged = Demonstrations(RECORD, rows), Judgements(RECORD, rows, labels)
    cases = (
        Case("pairs, 4 slices", Preferences(), OPTIONS, pairs, 4),
        Case("pairs, no slices", Preferences(), OPTIONS, pairs, 1),
        Case("pairs, no slices", Preferences(), OPTIONS, pairs, 1, one_person=True),
        Case("labels, 4 slices", Labels(), LabelOptions(epochs=12), judged, 4),
        Case("demonstrations (energy), 4 slices", Energy(), EnergyOptions(epochs=4), shown, 4),
        Case("demonstrations (autoencoders)", Autoencoders(), AutoencoderOptions(epochs=3, warm_up=1), shown, 1),
    )
    for case in cases:
        with TemporaryDirectory() as folder:
            yield from _forgotten(case, Path(folder))
    with TemporaryDirectory() as folder:
        yield from _commands(pairs, Path(folder))
    yield from _head(pairs)


def _forgotten(case: Case, folder: Path) -> Iterator[Row]:
    """Seconds and stages are those of the median ratio."""
    for count in REQUESTS[1:] if case.one_person else REQUESTS:
        found = [_request(case, folder, count, repeat) for repeat in range(3 if count < 1000 else 1)]
        anew, spent, trained, equal = sorted(found, key=lambda f: f[0] / f[1])[len(found) // 2]
        ratio = statistics.median(a / s for a, s, _, _ in found)
        same = "bytes equal to the oracle's" if equal and all(f[3] for f in found) else "BYTES DIFFER"
        whose = " of one person" if case.one_person else ""
        yield Row(
            f"{case.what}: forget {count:,}{whose}",
            f"{spent:.2f} s",
            f"{ratio:.1f} × faster than {anew:.2f} s; {trained} of {SHARDS * case.slices} stages; {same}",
        )


def _request(case: Case, folder: Path, count: int, repeat: int) -> tuple[float, float, int, bool]:
    """CPU seconds of the oracle and of forgetting, how many stages that trained, and whether the bytes are equal."""
    learner, data = case.learner, case.data
    gone = np.random.default_rng(repeat).choice(ROWS, count, replace=False)
    if case.one_person:
        whose = np.array([f"p{k}" for k in range(ROWS)])
        whose[gone] = f"somebody {repeat}"
        data = replace(data, ids=whose)
    whole = Checkpoints(folder / f"whole-{count}-{repeat}" if case.one_person else folder / "whole")
    learner.fit(data, case.options, Run(1, checkpoints=whole))  # what is there already is not learned again
    rest = taken(data, np.setdiff1d(np.arange(ROWS), gone))
    anew, oracle = _cpu(lambda: learner.fit(rest, case.options, Run(1)))
    store = Checkpoints(folder / f"child-{count}-{repeat}")
    run, trained = Run(1, checkpoints=store), list[int]()

    def forget() -> Artifact:
        plan = learner.plan(rest, case.options, run)
        plan.carried(store, [whole])
        trained.append(plan.missing(store))
        return learner.follow(plan, rest, case.options, run)

    spent, child = _cpu(forget)
    return anew, spent, trained[0], child.tensors_bytes == oracle.tensors_bytes


def _commands(pairs: Comparisons, folder: Path) -> Iterator[Row]:
    """`rewarden learn` and `rewarden unlearn` from Parquet: Python, reading and writing are in it."""
    columns: dict[str, object] = {
        "pair": np.repeat(np.arange(ROWS), STEPS), "step": np.tile(np.arange(STEPS), ROWS),
        "id": np.repeat(np.array([f"p{k}" for k in range(ROWS)]), STEPS),
    }  # fmt: skip
    for side, name in enumerate(("better", "worse")):
        columns |= {f"{name}.f{k}": pairs.segments[:, side, :, k].reshape(-1) for k in range(WIDTH)}
    pq.write_table(pa.table(columns), folder / "pairs.parquet")
    features = "\n".join(f"  f{k} : real in -1 .. 1" for k in range(WIDTH))
    (folder / "s.rwd").write_text(f"spec s v1\nfeatures Step {{\n{features}\n}}\nreward R(s: Step)\n")
    (folder / "learn.toml").write_text(
        '[data]\npreferences = "pairs.parquet"\n[features]\nspec = "s.rwd"\n[learner]\nname = "preferences"\n'
        f"[learner.options]\nhidden = {OPTIONS.hidden}\nbatch = {OPTIONS.batch}\n[learner.shards]\nshards = {SHARDS}\n"
    )
    (folder / "forget.csv").write_text("id\np7\n")

    def run(*arguments: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "rewarden", *arguments, "-q"], check=True, cwd=folder)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    anew = run("learn", "learn.toml", "-o", "r")
    told = ("--config", "learn.toml", "--forget", "forget.csv", "--json", "told.json")
    spent = run("unlearn", "r", *told, "-o", "r2")
    work = json.loads((folder / "told.json").read_text())["statement"]["work"]
    yield Row(
        "commands, usual epochs: forget 1",
        f"{spent:.2f} s",
        f"{anew / spent:.1f} × faster than {anew:.1f} s of rewarden learn; {work}",
    )


def _head(pairs: Comparisons) -> Iterator[Row]:
    options, head = HeadOptions(), Head()
    full, artifact = _cpu(lambda: head.fit(pairs, options))
    yield Row("head: learn", f"{full:.2f} s", f"{WIDTH} features")
    for count in REQUESTS:
        gone = np.arange(count)
        kept, lost = taken(pairs, np.arange(count, ROWS)), taken(pairs, gone)
        step, done = _cpu(lambda kept=kept, lost=lost: head.remove(artifact, kept, lost, options))  # type: ignore[misc]
        how = f"learned anew: {done.anew}" if done.anew else f"epsilon {done.epsilon:.2g} of {options.epsilon:g}"
        yield Row(f"head: remove {count:,}", f"{step:.2f} s", f"{full / step:.1f} × faster; {how}")


def _cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def _pairs() -> Comparisons:
    rng = np.random.default_rng(0)
    segments = rng.uniform(-1, 1, (ROWS, 2, STEPS, WIDTH))
    worth = (segments[..., 0] - segments[..., 1] ** 2 + segments[..., 2] * segments[..., 3]).sum(axis=2)
    swap = (worth[:, 0] < worth[:, 1]) ^ (rng.random(ROWS) < 0.05)
    segments[swap] = segments[swap][:, ::-1]
    return Comparisons(RECORD, segments)
