"""ACAS Xu queries of VNN-COMP, as whole processes: what a user of `rewarden vnnlib` waits for.

`acasxu` asks the thirteen that other verifiers were timed on, `acasxu_all` every one of the 186 whose network is there.

Networks and properties are public data (Katz et al. 2017) and no part of the project: `REWARDEN_ACASXU` names the
folder, and without it the suite says so and is skipped. nnenum's figures were measured one at a time on a quiet machine
of two cores with a limit of 120 s; a limit or a crash counts as 120 s.
"""

from __future__ import annotations

import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.scene import Scene
from benchmarks.timing import Row, median_seconds

LIMIT = 120.0
RUNS = 3
QUERIES = {  # network, property: the answer, and nnenum 1.0.1's seconds
    "1_1/1": ("unsat", 4.5),
    "1_9/2": ("unsat", 5.7),
    "2_1/2": ("sat", 3.2),
    "3_3/2": ("unsat", 59.0),
    "4_2/2": ("unsat", 58.0),
    "1_1/3": ("unsat", 4.2),
    "1_1/4": ("unsat", 2.8),
    "1_1/5": ("unsat", 9.6),
    "1_1/6": ("unsat", 28.0),
    "1_9/7": ("sat", LIMIT),
    "2_9/8": ("sat", LIMIT),
    "3_3/9": ("unsat", 19.5),
    "4_5/10": ("unsat", 4.8),
}
NETWORKS = tuple(f"{previous}_{time}" for previous in range(1, 6) for time in range(1, 10))
HOLDS = ("1_1", "1_7", "1_8", "1_9", "3_3", "4_2")  # property 2: the six networks without a solution
FAILS = ("1_7", "1_8", "1_9")  # properties 3 and 4: the three with one


def acasxu(_: Scene) -> Iterator[Row]:
    """Seconds of each query, and the geometric mean against nnenum's."""
    folder = Path(os.environ.get("REWARDEN_ACASXU", ""))
    if not (folder / "prop_1.vnnlib").is_file():
        yield Row("ACAS Xu", "skipped", "REWARDEN_ACASXU names no folder with the networks and properties")
        return
    subprocess.run([sys.executable, "-m", "rewarden.verifier.cells"], check=True)  # compiled once, not in any run
    ratios = []
    for name, (expected, theirs) in QUERIES.items():
        command = _command(folder, name, LIMIT)
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.partition("\n")[0]
        seconds = median_seconds(partial(subprocess.run, command, capture_output=True, check=False), RUNS, 0)
        ratios.append((seconds if said == expected else LIMIT) / theirs)
        verdict = said if said == expected else f"{said}, and {expected} is right"
        yield Row(f"ACAS Xu {name}", f"{seconds:.1f} s", f"{verdict}; whole process; nnenum {theirs:g} s")
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    yield Row("ACAS Xu, geometric mean", f"{mean:.3f} × nnenum's", f"{len(ratios)} queries, medians of {RUNS}")


def _command(folder: Path, name: str, limit: float) -> list[str]:
    network, number = name.split("/")
    files = [_network(folder, network), folder / f"prop_{number}.vnnlib"]
    return [sys.executable, "-m", "rewarden", "vnnlib", *map(str, files), "--quiet", "--timeout", str(limit)]


def _network(folder: Path, network: str) -> Path:
    return folder / f"ACASXU_run2a_{network}_batch_2000.onnx"


def all_queries() -> dict[str, str]:
    """The 186 of VNN-COMP, network/property: the answer that its verifiers agreed on (2022)."""
    answers = {f"{network}/1": "unsat" for network in NETWORKS}
    answers |= {f"{network}/2": "unsat" if network in HOLDS else "sat" for network in NETWORKS}
    answers |= {
        f"{network}/{number}": "sat" if network in FAILS else "unsat" for number in (3, 4) for network in NETWORKS
    }
    return answers | {name: answer for name, (answer, _) in QUERIES.items() if int(name.split("/")[1]) > 4}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a process said to a query, and its seconds: on the clock, and of all processor cores together."""

    name: str
    said: str
    wall: float
    processor: float


def ask(folder: Path, name: str, limit: float = LIMIT) -> Answer:
    """One run. What ends without a word is told by its exit status; what is there a minute past the limit, as stuck."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    try:
        done = subprocess.run(
            _command(folder, name, limit), capture_output=True, text=True, check=False, timeout=limit + 60
        )
        said = done.stdout.partition("\n")[0] or f"status {done.returncode}"
    except subprocess.TimeoutExpired:
        said = "stuck"
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Answer(name, said, wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def acasxu_all(_: Scene) -> Iterator[Row]:
    """Each query once: how many are answered, whether rightly, and the slowest, property by property."""
    folder = Path(os.environ.get("REWARDEN_ACASXU", ""))
    expected = {
        name: answer for name, answer in all_queries().items() if _network(folder, name.split("/")[0]).is_file()
    }
    if not expected:
        yield Row("ACAS Xu, all queries", "skipped", "REWARDEN_ACASXU names no folder with the networks and properties")
        return
    subprocess.run([sys.executable, "-m", "rewarden.verifier.cells"], check=True)
    answers: list[Answer] = []
    for number in range(1, 11):
        found = [ask(folder, name) for name in expected if name.endswith(f"/{number}")]
        if found:
            yield _told(f"ACAS Xu property {number}", found, expected)
        answers += found
    yield _told("ACAS Xu, all queries", answers, expected)


def _told(what: str, answers: list[Answer], expected: dict[str, str]) -> Row:
    right = [a for a in answers if a.said == expected[a.name]]
    said = ", ".join(f"{count} {word}" for word, count in sorted(Counter(a.said for a in answers).items()))
    wrong = [f"{a.name} is {expected[a.name]}" for a in answers if a not in right]
    slowest = max(answers, key=lambda a: a.wall)
    wall, processor = (sum(getattr(a, name) for a in answers) for name in ("wall", "processor"))
    how = (
        f"{said}; median {statistics.median(a.wall for a in answers):.1f} s,"
        f" slowest {slowest.name} {slowest.wall:.1f} s,"
        f" in all {wall:.0f} s and {processor:.0f} s of processor time"
    )
    return Row(what, f"{len(right)} of {len(answers)} right", "; ".join([how, *wrong]))
