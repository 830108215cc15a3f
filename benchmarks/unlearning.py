"""Forgetting 1, 10 and 1,000 of 100,000 pairs exactly, against learning all shards again; and one Newton step against
learning the head again. Both in one process, one thread, one after the other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.scene import Scene
from benchmarks.timing import Row
from rewarden.reward.artifact import RewardRecord
from rewarden.reward.learners.checkpoints import Checkpoints
from rewarden.reward.learners.head import Head
from rewarden.reward.learners.interface import Comparisons, Run
from rewarden.reward.learners.options import HeadOptions, PreferenceOptions, ShardOptions
from rewarden.reward.learners.preferences import Preferences
from rewarden.reward.learners.shards import Shards, taken
from rewarden.spec_lang.features import Feature, RecordType

PAIRS, WIDTH, STEPS = 100_000, 8, 4
OPTIONS = PreferenceOptions(hidden=32, epochs=6, batch=512)
REQUESTS = (1, 10, 1000)
SHARDS, SLICES = 16, 4


def unlearning(_: Scene) -> Iterator[Row]:
    data = _pairs()
    learner = Shards(Preferences(), ShardOptions(SHARDS, SLICES))
    with TemporaryDirectory() as folder:
        run = Run(1, checkpoints=Checkpoints(Path(folder) / "store"))
        anew, _first = _timed(lambda: learner.fit(data, OPTIONS, run))
        yield Row(f"learn {PAIRS:,} pairs in {SHARDS} shards of {SLICES} slices", f"{anew:.1f} s", "")
        for count in REQUESTS:
            seconds, equal, stages = [], True, []
            for repeat in range(3 if count < 1000 else 1):
                gone = np.random.default_rng(repeat).choice(PAIRS, count, replace=False)
                rest = taken(data, np.setdiff1d(np.arange(PAIRS), gone))
                store = Checkpoints(Path(folder) / f"copy-{count}-{repeat}")
                _copy(Path(folder) / "store", store.folder)
                now = replace(run, checkpoints=store)
                stages.append(learner.stages_to_train(rest, OPTIONS, now))
                spent, child = _timed(partial(learner.fit, rest, OPTIONS, now))
                seconds.append(spent)
                if repeat == 0:
                    oracle = learner.fit(rest, OPTIONS, Run(1))
                    equal = equal and child.tensors_bytes == oracle.tensors_bytes
            spent = statistics.median(seconds)
            same = "bytes equal to an oracle's" if equal else "BYTES DIFFER"
            yield Row(
                f"forget {count:,}",
                f"{spent:.2f} s",
                f"{anew / spent:.1f} × faster, {stages} of {SHARDS * SLICES}, {same}",
            )
    options = HeadOptions()
    head = Head()
    full, artifact = _timed(lambda: head.fit(data, options))
    kept, gone_rows = taken(data, np.arange(1, PAIRS)), taken(data, np.arange(1))
    step, done = _timed(lambda: head.remove(artifact, kept, gone_rows, options))
    yield Row("head: learn", f"{full * 1000:.0f} ms", f"{WIDTH} features")
    yield Row("head: remove one row", f"{step * 1000:.0f} ms", f"epsilon {done.epsilon:.2g} of {options.epsilon:g}")


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def _copy(source: Path, target: Path) -> None:
    import shutil

    shutil.copytree(source, target)


def _pairs() -> Comparisons:
    rng = np.random.default_rng(0)
    kind = RecordType("Step", tuple(Feature(f"f{k}", "real", Fraction(-1), Fraction(1)) for k in range(WIDTH)))
    segments = rng.uniform(-1, 1, (PAIRS, 2, STEPS, WIDTH))
    worth = (segments[..., 0] - segments[..., 1] ** 2 + segments[..., 2] * segments[..., 3]).sum(axis=2)
    swap = (worth[:, 0] < worth[:, 1]) ^ (rng.random(PAIRS) < 0.05)
    segments[swap] = segments[swap][:, ::-1]
    return Comparisons(RewardRecord("s", kind), segments)
