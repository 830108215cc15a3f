"""Rules near data over a wide head: 384 inputs, 256 and 64 relus, one reward; a box of radius r around each row.

`obligations a minute` is all of `verify`: binding, the search for violations, proofs. The other rows time bounds alone,
on the same boxes, against auto_LiRPA's CROWN where a checkout of it can be imported (`PYTHONPATH=DIR`); its bounds are
in binary32 and without rounding errors, ours are rigorous. Both sides have two threads and take turns in one run; what
is told is the median of the ratios of neighbours. `slack` is how far a bound is above the reward at the box's middle.

The share of the matrix-multiply peak counts the products of coefficients and weights that unstable neurons ask for,
both sides of each, and no other work; the peak is that of one large product in binary32, taken in turns as well.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

import rewarden as rw
from benchmarks.scene import Scene
from benchmarks.timing import Row, median_seconds
from rewarden.verifier.bind import bind
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.wide.bounds import all_rows, default_lines, known_by_intervals, lower_rows
from rewarden.verifier.wide.network import network_of, rows_of
from rewarden.verifier.wide.sharpen import sharpened
from rewarden.verifier.wide.split import DEEP, QUICK, _arrays

INPUTS, HIDDEN = 384, (256, 64)
RADII = (0.002, 0.001)
ROWS, TIMED = 20_000, 1_024
PEAK = 2_048
THREADS, RUNS = 2, 5
BATCHES = (16, 64, 256)
SPEC = """spec wide v1
features Emb {{ e: real ^ 384 in -1 .. 1 }}
reward H(x: Emb)
data d: Emb from "rows.npz"
must capped:
  forall x: Emb near d within {radius}
  expect H(x) <= {level:.6f}
"""


def wide(_: Scene) -> Iterator[Row]:
    """Near obligations a minute; bounds against auto_LiRPA and against the machine's matrix-multiply peak."""
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(INPUTS, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 1)).eval()
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(ROWS, INPUTS))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    with torch.no_grad():
        level = float(head(torch.from_numpy(rows)).max()) + 0.05
    for radius in RADII:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            np.savez(folder / "rows.npz", e=rows)
            (folder / "wide.rwd").write_text(SPEC.format(radius=radius, level=level))
            spec = rw.load_spec(folder / "wide.rwd")
            reward = rw.from_torch(head, features=spec.features["Emb"])
            seconds = median_seconds(partial(rw.verify, spec, VerifyOptions(), H=reward), 3, 1)
            verdict = rw.verify(spec, VerifyOptions(), H=reward)["capped"]
            how = f"{ROWS} rows, radius {radius}: {verdict.verdict} by {verdict.engine}, all of `verify`"
            yield Row("near obligations a minute", f"{60 * ROWS / seconds:,.0f}", how)
            claim = bind(spec, "capped", {"H": reward})
        yield from _bounds(compile_program(claim, {"H": reward}), rows[:TIMED], radius, head)


def _bounds(program: Any, rows: Any, radius: float, head: nn.Module) -> Iterator[Row]:  # noqa: ANN401
    network = network_of(program)
    assert network is not None
    goal = rows_of(program, network, [program.claim.goals[0][0].affine])
    lo, hi = (side[:TIMED] for side in _arrays(program.claim.boxes, np.zeros(INPUTS, dtype=np.bool_)))

    def quick(part: slice) -> torch.Tensor:
        known = known_by_intervals(network, lo[part], hi[part])
        return lower_rows(network, known, default_lines(known), all_rows(known, goal)).bound

    def deep(part: slice) -> torch.Tensor:
        known = sharpened(network, known_by_intervals(network, lo[part], hi[part]))
        return lower_rows(network, known, default_lines(known), all_rows(known, goal)).bound

    theirs = _auto_lirpa(head, torch.from_numpy(rows), radius)
    with torch.no_grad():
        for name, ours, chunk in (("CROWN-IBP", quick, QUICK), ("CROWN", deep, DEEP)):
            run = partial(_in_pairs, ours, chunk)
            if theirs is None:
                figure = f"{60 * TIMED / median_seconds(run, RUNS):,.0f}"
                yield Row(f"{name}, boxes a minute", figure, f"radius {radius}; auto_LiRPA is not installed")
                continue
            best = min(BATCHES, key=lambda batch: median_seconds(partial(theirs, name, batch), 1))
            mine, other, ratio = _in_turns(run, partial(theirs, name, best))
            how = f"radius {radius}; {60 * TIMED / mine:,.0f} against auto_LiRPA's {60 * TIMED / other:,.0f}"
            yield Row(f"{name}, boxes a minute, as multiple", f"{ratio:.2f} ×", f"{how} (batches of {best})")
            yield Row(f"{name}, slack as share of theirs", _slack(program, head, rows, run(), theirs(name, best)), how)
        known = known_by_intervals(network, lo, hi)
        loose = float(((known.lo[2] < 0) & (known.hi[2] > 0)).sum())
        work = 2.0 * 2.0 * loose * HIDDEN[0] * INPUTS
        a, b = torch.rand(PEAK, PEAK), torch.rand(PEAK, PEAK)
        _, seconds, ratio = _in_turns(partial(_in_pairs, deep, DEEP), lambda: a @ b)
        share = work * ratio / (2.0 * PEAK**3)
        how = f"radius {radius}; {2e-9 * PEAK**3 / seconds:.0f} GFLOP/s in binary32, two threads"
        yield Row("CROWN, share of the matrix-multiply peak", f"{share:.0%}", how)


def _in_pairs(bound: Callable[[slice], torch.Tensor], chunk: int) -> torch.Tensor:
    """All boxes in the engine's chunks, two at a time, a thread each."""
    parts = [slice(first, first + chunk) for first in range(0, TIMED, chunk)]

    def one(part: slice) -> torch.Tensor:
        with torch.no_grad():
            return bound(part)

    with ThreadPoolExecutor(THREADS, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return torch.cat(list(pool.map(one, parts)))


def _in_turns(ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[float, float, float]:
    """Median seconds of both, and the median of theirs by ours, of neighbours."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    pairs = [(median_seconds(ours, 1), median_seconds(theirs, 1)) for _ in range(RUNS)]
    torch.set_num_threads(before)
    return median(a for a, _ in pairs), median(b for _, b in pairs), median(b / a for a, b in pairs)


def _slack(program: Any, head: nn.Module, rows: Any, ours: torch.Tensor, theirs: torch.Tensor) -> str:  # noqa: ANN401
    """The median over boxes: our upper bound of the reward less its value, by theirs."""
    value = head(torch.from_numpy(rows)).double()
    level = float(program.claim.goals[0][0].affine.constant)
    ratio = ((level - ours) - value) / (theirs.double() - value)
    return f"{float(ratio.median()):.5f} ({float(ratio.min()):.5f} to {float(ratio.max()):.5f})"


def _auto_lirpa(head: nn.Module, rows: torch.Tensor, radius: float) -> Callable[[str, int], torch.Tensor] | None:
    try:
        from auto_LiRPA import BoundedModule, BoundedTensor
        from auto_LiRPA.perturbations import PerturbationLpNorm
    except ImportError:
        return None
    around = PerturbationLpNorm(norm=np.inf, eps=radius)

    def run(method: str, batch: int) -> torch.Tensor:
        bounded = BoundedModule(head, rows[:batch])
        parts = [rows[start : start + batch] for start in range(0, TIMED, batch)]
        both = [
            bounded.compute_bounds(x=(BoundedTensor(part, around),), method=method, bound_lower=False) for part in parts
        ]
        return torch.cat([upper for _, upper in both])

    return run
