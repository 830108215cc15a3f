"""`python -m benchmarks [SUITE …]`: a Markdown table of medians; all suites, where none is named."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch

import rewarden as rw
from benchmarks.acas_repair import acas_repair
from benchmarks.acasxu import acasxu, acasxu_all
from benchmarks.certificates import certificate
from benchmarks.editing import editing
from benchmarks.learning import constraints, imitation, learn
from benchmarks.lowering import lowering
from benchmarks.penalty import penalty
from benchmarks.proofs import proofs
from benchmarks.rewards import growth, rewards
from benchmarks.sanity import sanity
from benchmarks.scale import scale
from benchmarks.scene import Scene, driving
from benchmarks.timing import Row, median_seconds
from benchmarks.unlearning import unlearning
from benchmarks.wide import wide
from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.spec_lang.claim import Claim
from rewarden.verifier.backsub import Engine, Functionals
from rewarden.verifier.bind import bind
from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.fusion import functional_rows
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.rounding import outward

BOXES = 4096
OPTIONS = VerifyOptions(budget=20_000)


def start(_: Scene) -> Iterator[Row]:
    """What every command pays before it does anything."""
    for arguments in (["--help"], ["check", "--help"], ["explain", "U02"]):
        command = [sys.executable, "-m", "rewarden", *arguments]
        seconds = median_seconds(partial(subprocess.run, command, capture_output=True, check=True))
        yield Row(f"rewarden {' '.join(arguments)}", f"{seconds:.3f} s", "whole process")


def bound(scene: Scene) -> Iterator[Row]:
    """Boxes bounded a second on one thread, small boxes as deep in a search, and verification of each rule."""
    torch.set_num_threads(1)
    for rule in ("tailgating_capped", "needless_stop_pays_less", "sliding_is_unlike_demos"):
        claim = bind(scene.spec, rule, scene.rewards)
        engine = Engine(compile_program(claim, {name: scene.rewards[name] for name, _ in claim.rewards}))
        goals = Functionals.of(functional_rows(engine.program, [claim.goals[0][0].affine]))
        boxes = _boxes(claim)
        with torch.no_grad():
            seconds = median_seconds(partial(engine.bound, boxes, goals))
        yield Row(f"bound {rule}", f"{BOXES / seconds:,.0f} boxes/s", f"{BOXES} boxes of 1/16 of each range, 1 thread")
    for name in [rule.name for rule in scene.spec.rules]:
        seconds = median_seconds(partial(rw.verify, scene.spec, OPTIONS, rules=[name], rewards=scene.rewards), 3, 0)
        yield Row(f"verify {name}", f"{seconds:.2f} s", "learned rewards, budget of 20,000 boxes")


def _boxes(claim: Claim) -> Boxes:
    rng = np.random.default_rng(0)
    lo, hi = outward(claim.boxes[0])
    width = (hi - lo) / 16
    corner = lo + rng.random((BOXES, len(lo))) * (hi - lo - width)
    return Boxes(torch.from_numpy(corner), torch.from_numpy(corner + width))


def patch(scene: Scene) -> Iterator[Row]:
    """What three patches cost at inference."""
    patched = _patched(scene)
    x = scene.spec.table("demos").values.astype(np.float32)
    plain = median_seconds(lambda: forward(scene.rewards["R"], x))
    after = median_seconds(lambda: forward(patched, x))
    one = median_seconds(lambda: forward(replace(patched), x[:1]), 50)
    yield Row("score 9,600 rows, learned", f"{plain * 1e3:.1f} ms", "binary32")
    yield Row("score 9,600 rows, three patches", f"{after * 1e3:.1f} ms", f"{after / plain:.2f} × learned")
    yield Row("score one row, three patches", f"{one * 1e3:.2f} ms", "binary32")


def _patched(scene: Scene) -> Artifact:
    patched = rw.patch(scene.spec, verify_options=OPTIONS, rewards=scene.rewards).artifact
    assert patched is not None, "three rules of the packaged spec fail, and are patched"
    return patched


SUITES: dict[str, Callable[[Scene], Iterator[Row]]] = {
    "start": start,
    "learn": learn,
    "imitation": imitation,
    "scale": scale,
    "constraints": constraints,
    "bound": bound,
    "certificate": certificate,
    "proofs": proofs,
    "patch": patch,
    "editing": editing,
    "lowering": lowering,
    "penalty": penalty,
    "sanity": sanity,
    "acasxu": acasxu,
    "acasxu_all": acasxu_all,
    "acas_repair": acas_repair,
    "unlearning": unlearning,
    "wide": wide,
    "rewards": rewards,
    "growth": growth,
}


USAGE = f"""usage: python -m benchmarks [-h] [SUITE ...]

Prints a Markdown table of medians for each suite that is named, or for all of them: {", ".join(SUITES)}."""


def main(names: list[str]) -> None:
    if {"-h", "--help"} & set(names):
        print(USAGE)
        return
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        raise SystemExit(f"no suite {', '.join(unknown)}; there are {', '.join(SUITES)}")
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}\n")
    print("| what | median | how |\n| --- | --- | --- |")
    with driving() as scene:
        for name in names or SUITES:
            for row in SUITES[name](scene):
                print(f"| {row.what} | {row.figure} | {row.how} |", flush=True)


main(sys.argv[1:])
