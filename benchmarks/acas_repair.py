"""ACAS Xu repaired with a proof: what a user of `rewarden import` and `rewarden patch` waits for, and what it moves.

Networks are public data (Katz et al. 2017) and no part of the project: `REWARDEN_ACASXU` names the folder, and without
it the suite says so and is skipped. A network's five outputs bind as five rewards that share it; its properties are
rules about their differences. Published for N2,9 and property 8, on other machines: PRDNN 5 s, ART 16 s, PatchPro 24 s,
REASSURE 512 s, with 95 %, 1.5 %, 0 % and 89 % of other advice changed.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.scene import Scene
from benchmarks.timing import Row
from rewarden.reward.deployed import forward
from rewarden.reward.store import load_artifact

ADVICE = ("COC", "WL", "WR", "SL", "SR")
RANGES = {
    "rho": (-0.328422877, 0.679857769), "theta": (-0.5, 0.5), "psi": (-0.5, 0.5), "v_own": (-0.5, 0.5),
    "v_int": (-0.5, 0.5),
}  # fmt: skip
PROPERTIES = {  # the region, and what is asked of the scores there; the lowest score is the advice
    "2": ({"rho": (0.6, 0.679857769), "v_own": (0.45, 0.5), "v_int": (-0.5, -0.45)},
          "COC(s) < max(WL(s), WR(s), SL(s), SR(s))"),
    "8": ({"theta": (-0.499999896, -0.374999922), "psi": (-0.015915494, 0.015915494), "v_own": (-0.045454545, 0.5),
           "v_int": (0.0, 0.5)},
          "min(COC(s), WL(s)) < min(WR(s), SL(s), SR(s))"),
}  # fmt: skip
REPAIRS = ("2_9/8", "2_9/2", "2_1/2", "4_5/2")
SAMPLED = 200_000
RING = 0.05  # of each feature's range
Rows = NDArray[np.float32]


def acas_repair(_: Scene) -> Iterator[Row]:
    """Seconds of import and repair as whole processes, the verdict, and what moved, by dense sampling."""
    folder = Path(os.environ.get("REWARDEN_ACASXU", ""))
    if not (folder / "prop_1.vnnlib").is_file():
        yield Row("ACAS Xu repair", "skipped", "REWARDEN_ACASXU names no folder with the networks")
        return
    for name in REPAIRS:
        network, number = name.split("/")
        with tempfile.TemporaryDirectory() as scratch:
            yield _repaired(folder / f"ACASXU_run2a_{network}_batch_2000.onnx", name, number, Path(scratch))


def specification(number: str) -> str:
    """The spec of one property."""
    region, asked = PROPERTIES[number]
    features = "\n".join(f"  {name} : real in {lo} .. {hi}" for name, (lo, hi) in RANGES.items())
    rewards = "\n".join(f"reward {name}(s: Encounter)" for name in ADVICE)
    given = " and ".join(f"{lo} <= s.{name} <= {hi}" for name, (lo, hi) in region.items())
    return (
        f"spec acas v1\nfeatures Encounter {{\n{features}\n}}\n{rewards}\n"
        f"must property_{number}:\n  forall s: Encounter\n  given {given}\n  expect {asked}\n"
    )


def _repaired(file: Path, name: str, number: str, scratch: Path) -> Row:
    spec, nets, fixed = scratch / "acas.rwd", scratch / "nets", scratch / "fixed"
    spec.write_text(specification(number), encoding="utf-8")
    run = [sys.executable, "-m", "rewarden"]
    start = time.monotonic()
    subprocess.run(
        [*run, "import", file, "--features", spec, "--outputs", ",".join(ADVICE), "-o", nets, "-q"], check=True
    )
    imported, before_cpu = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    status = subprocess.run([*run, "patch", spec, "--reward", nets, "-o", fixed, "-q"], check=False).returncode
    seconds, cpu = time.monotonic() - imported, resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = cpu.ru_utime + cpu.ru_stime - before_cpu.ru_utime - before_cpu.ru_stime
    if status != 0:
        return Row(f"repair N{name.replace('_', ',')}", f"{seconds:.1f} s", f"not repaired: status {status}")
    edited = sorted(path.name for path in fixed.iterdir())
    before = {reward: load_artifact(nets / reward) for reward in ADVICE}
    after = {reward: load_artifact((fixed if reward in edited else nets) / reward) for reward in ADVICE}
    region = PROPERTIES[number][0]
    rng = np.random.default_rng(0)
    whole, inside = _rows(rng, {}), _rows(rng, region)
    beyond = whole[_beyond(whole, region)]
    old, new = (np.stack([forward(side[reward], beyond) for reward in ADVICE]) for side in (before, after))
    was, now = (np.stack([forward(side[reward], inside) for reward in ADVICE]) for side in (before, after))
    fine = _holds(was, number)
    return Row(
        f"repair N{name.replace('_', ',')}",
        f"{seconds:.1f} s",
        f"proved; whole process, {worked:.0f} s of CPU; import {imported - start:.1f} s; "
        f"{', '.join(edited)} edited; beyond the rim "
        f"{int((old != new).any(axis=0).sum())} of {len(beyond):,} records changed; in the region "
        f"{1 - fine.mean():.3%} violated, now {1 - _holds(now, number).mean():.3%}, and of the others "
        f"{(was.argmin(0) != now.argmin(0))[fine].mean():.3%} have other advice",
    )


def _rows(rng: np.random.Generator, region: dict[str, tuple[float, float]]) -> Rows:
    lo, hi = np.array([region.get(name, ends) for name, ends in RANGES.items()]).T
    found: Rows = (lo + rng.random((SAMPLED, len(lo))) * (hi - lo)).astype(np.float32)
    return found


def _beyond(rows: Rows, region: dict[str, tuple[float, float]]) -> NDArray[np.bool_]:
    found = np.zeros(len(rows), np.bool_)
    for column, (name, (lo, hi)) in enumerate(RANGES.items()):
        least, most = region.get(name, (lo, hi))
        found |= (rows[:, column] >= most + RING * (hi - lo)) | (rows[:, column] <= least - RING * (hi - lo))
    return found


def _holds(scores: NDArray[np.float32], number: str) -> NDArray[np.bool_]:
    """Of scores [reward, row]."""
    held: NDArray[np.bool_] = (
        scores[0] < scores[1:].max(axis=0) if number == "2" else scores[:2].min(axis=0) < scores[2:].min(axis=0)
    )
    return held
