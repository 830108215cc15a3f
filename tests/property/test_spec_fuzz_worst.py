"""No text hangs the front end or fills the memory: the worst known ones, each under limits of CPU time and memory.

The limits are those of a process of its own, and far above what a case needs on a slow machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rewarden.spec_lang.codes import EXPLANATIONS
from tests.reference.worst_texts import CASES

ROOT = Path(__file__).resolve().parents[2]
LONGEST = ("wide rules", "broken end", "wide trace", "maxima")  # half of all of the time; the rest has their like
NAMES = [name for name in CASES if name not in LONGEST]
GROUPS = [NAMES[i::2] for i in range(2)]
WELL_FORMED = {
    "sum",
    "conjunction",
    "comparison",
    "equalities",
    "minimum",
    "norms",
    "examples",
}  # large, and not beyond any limit


@pytest.mark.parametrize(
    "names",
    [*(pytest.param(names, id=f"{k + 1}") for k, names in enumerate(GROUPS)),
     pytest.param(LONGEST, id="longest", marks=pytest.mark.slow)],
)  # fmt: skip
def test_the_worst_texts_are_answered(names: Sequence[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.reference.worst_texts", *names]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    answered = dict(line.split(":", 1) for line in run.stdout.splitlines())
    died = [n for n in names if n not in answered][:1]
    assert (run.returncode, died) == (0, []), run.stderr[-2000:]
    for name, codes in answered.items():
        assert set(codes.split()) <= set(EXPLANATIONS)
        assert bool(codes.split()) == (name not in WELL_FORMED), f"{name}: {codes}"
