"""Data of any number of rows: peak memory and time of learning and of scoring, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import rewarden as rw
from benchmarks.scene import Scene
from benchmarks.timing import Row
from rewarden.learning import learn_from

COUNTS = (100_000, 1_000_000, 10_000_000)
SCORED = 1_000_000
AT_ONCE = 100_000  # rows that are made, and written, at a time
LOW, HIGH = np.array([0.0, -2, -5, 0, -1]), np.array([40.0, 2, 5, 100, 1])
NAMES = tuple(f"f{k}" for k in range(5))
SPEC = "spec big v1\n\nfeatures Row {\n" + "".join(
    f"  {name} : real in {lo:g} .. {hi:g}\n" for name, lo, hi in zip(NAMES, LOW, HIGH, strict=True)
) + "}\n\nreward R(s: Row)\n"  # fmt: skip
CONFIG = """[data]
{source} = "{source}.parquet"
[features]
spec = "big.rwd"
[learner]
name = "{learner}"
[learner.options]
epochs = 2
batch = 1024
"""
LEARN = """
import resource, sys, time
from pathlib import Path
from rewarden.learning import learn_from
start = time.process_time()
learn_from(Path(sys.argv[1]))
print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
SCORE = """
import resource, sys, time
import numpy as np
import rewarden as rw
reward = rw.load_reward(sys.argv[1])
lo, hi = (np.array([float(end) for end in ends]) for ends in zip(*((c.lo, c.hi) for c in reward.columns)))
rows = lo + np.random.default_rng(1).random((int(sys.argv[2]), len(lo))) * (hi - lo)
start = time.process_time()
reward.score(rows)
print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
LEARNERS = {"demonstrations": "autoencoders", "preferences": "preferences", "labels": "labels"}


def scale(_: Scene) -> Iterator[Row]:
    """Two epochs over 10^5, 10^6 and 10^7 rows of five features; then scoring."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "big.rwd").write_text(SPEC, encoding="utf-8")
        for source, learner in LEARNERS.items():
            (folder / f"{source}.toml").write_text(CONFIG.format(source=source, learner=learner), encoding="utf-8")
            for count in COUNTS:
                _write(folder / f"{source}.parquet", source, count)
                seconds, memory = _measured(LEARN, folder / f"{source}.toml")
                yield Row(
                    f"learn from {count:,} rows of {source}",
                    f"{memory:,.0f} MB at most",
                    f"whole process; {seconds:.0f} s of CPU time, reading and 2 epochs",
                )
        _write(folder / "labels.parquet", "labels", COUNTS[0])
        rw.save_reward(learn_from(folder / "labels.toml"), folder / "reward")
        seconds, memory = _measured(SCORE, folder / "reward", str(SCORED))
        yield Row(
            f"score {SCORED:,} rows",
            f"{SCORED / seconds:,.0f} rows/s of CPU time",
            f"{memory:,.0f} MB at most, {SCORED * len(NAMES) * 8 / 2**20:.0f} MB of which are the rows",
        )


def _measured(script: str, path: Path, *arguments: str) -> tuple[float, float]:
    """Seconds of CPU time, and megabytes at most."""
    command = [sys.executable, "-c", script, str(path), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, memory = (float(word) for word in run.stdout.split())
    return seconds, memory


def _write(path: Path, source: str, count: int) -> None:
    rng = np.random.default_rng(1)
    writer = None
    for start in range(0, count, AT_ONCE):
        table = _table(source, start, min(AT_ONCE, count - start), rng)
        writer = pq.ParquetWriter(path, table.schema) if writer is None else writer
        writer.write_table(table)
    assert writer is not None
    writer.close()


def _table(source: str, start: int, rows: int, rng: np.random.Generator) -> pa.Table:
    one, other = (LOW + rng.random((rows, len(NAMES))) * (HIGH - LOW) for _ in range(2))
    if source == "demonstrations":
        one[:, 1] = np.clip(np.sin(one[:, 0] / 5) + rng.normal(0, 0.05, rows), -2, 2)
        return pa.table(dict(zip(NAMES, one.T, strict=True)))
    if source == "labels":
        return pa.table(dict(zip(NAMES, one.T, strict=True)) | {"label": _worth(one)})
    swap = (_worth(one) < _worth(other))[:, None]
    sides = {"better.": np.where(swap, other, one), "worse.": np.where(swap, one, other)}
    columns = {prefix + name: side[:, k] for prefix, side in sides.items() for k, name in enumerate(NAMES)}
    return pa.table({"pair": np.arange(start, start + rows), "step": np.zeros(rows, np.int64), **columns})


def _worth(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows[:, 0] / 20 - 2 * np.abs(rows[:, 1]) + rows[:, 3] / 20)
