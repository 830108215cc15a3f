"""ACAS Xu queries of VNN-COMP, as whole processes: what a user of `rewarden vnnlib` waits for.

Networks and properties are public data (Katz et al. 2017) and no part of the project: `REWARDEN_ACASXU` names the
folder, and without it the suite says so and is skipped. nnenum's figures were measured one at a time on a quiet machine
of two cores with a limit of 120 s; a limit or a crash counts as 120 s.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
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


def acasxu(_: Scene) -> Iterator[Row]:
    """Seconds of each query, and the geometric mean against nnenum's."""
    folder = Path(os.environ.get("REWARDEN_ACASXU", ""))
    if not (folder / "prop_1.vnnlib").is_file():
        yield Row("ACAS Xu", "skipped", "REWARDEN_ACASXU names no folder with the networks and properties")
        return
    subprocess.run([sys.executable, "-m", "rewarden.verifier.cells"], check=True)  # compiled once, not in any run
    ratios = []
    for name, (expected, theirs) in QUERIES.items():
        network, number = name.split("/")
        files = [folder / f"ACASXU_run2a_{network}_batch_2000.onnx", folder / f"prop_{number}.vnnlib"]
        command = [sys.executable, "-m", "rewarden", "vnnlib", *map(str, files), "--quiet", "--timeout", str(LIMIT)]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.partition("\n")[0]
        seconds = median_seconds(partial(subprocess.run, command, capture_output=True, check=False), RUNS, 0)
        ratios.append((seconds if said == expected else LIMIT) / theirs)
        verdict = said if said == expected else f"{said}, and {expected} is right"
        yield Row(f"ACAS Xu {name}", f"{seconds:.1f} s", f"{verdict}; whole process; nnenum {theirs:g} s")
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    yield Row("ACAS Xu, geometric mean", f"{mean:.3f} × nnenum's", f"{len(ratios)} queries, medians of {RUNS}")
