"""Rules near data over a wide head: 384 inputs, 256 and 64 relus, one reward; a box of radius r around each row.

`obligations a minute` is all of `verify`: binding, the search for violations, proofs. The other rows time bounds alone,
on the same boxes, against auto_LiRPA's CROWN where a checkout of it can be imported (`PYTHONPATH=DIR`); its bounds are
in binary32 and without rounding errors, ours in binary64 and rigorous. Both sides take turns in one run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
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
from rewarden.verifier.wide.bounds import all_rows, default_lines, known_by_intervals, lower_rows, sharpened
from rewarden.verifier.wide.network import network_of, rows_of
from rewarden.verifier.wide.split import DEEP, _arrays

INPUTS, HIDDEN = 384, (256, 64)
RADII = (0.002, 0.001)
ROWS, TIMED = 20_000, 1_024
PEAK = 2_048
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

    def quick() -> None:
        known = known_by_intervals(network, lo, hi)
        lower_rows(network, known, default_lines(known), all_rows(known, goal))

    def deep() -> None:
        for start in range(0, TIMED, DEEP):
            known = known_by_intervals(network, lo[start : start + DEEP], hi[start : start + DEEP])
            sharpened(network, known)
            lower_rows(network, known, default_lines(known), all_rows(known, goal))

    theirs = _auto_lirpa(head, torch.from_numpy(rows), radius)
    torch.set_num_threads(2)
    with torch.no_grad():
        for name, ours, method in (("CROWN-IBP", quick, "CROWN-IBP"), ("CROWN", deep, "CROWN")):
            mine = median_seconds(ours, 3)
            figure = f"{60 * TIMED / mine:,.0f}"
            if theirs is None:
                yield Row(f"{name}, boxes a minute", figure, f"radius {radius}; auto_LiRPA is not installed")
                continue
            other = min(median_seconds(partial(theirs, method, batch), 3) for batch in (16, 64, 256))
            how = f"radius {radius}; auto_LiRPA {60 * TIMED / other:,.0f} at its best batch size"
            yield Row(f"{name}, boxes a minute", f"{figure}, {other / mine:.1f} ×", how)
        known = known_by_intervals(network, lo[:DEEP], hi[:DEEP])
        loose = ((known.lo[2] < 0) & (known.hi[2] > 0)).any(0).sum()
        work = 2.0 * 2.0 * float(loose) * HIDDEN[0] * INPUTS * TIMED
        seconds, peak = median_seconds(deep, 3), _peak()
        share = work / seconds / peak
        yield Row(
            "CROWN, share of the matrix-multiply peak", f"{share:.0%}", f"of {peak / 1e9:.0f} GFLOP/s in binary64"
        )
    torch.set_num_threads(1)


def _peak() -> float:
    """Floating-point operations a second of one large product, as torch does it here."""
    a, b = torch.rand(PEAK, PEAK, dtype=torch.float64), torch.rand(PEAK, PEAK, dtype=torch.float64)
    return 2.0 * PEAK**3 / median_seconds(lambda: a @ b, 3)


def _auto_lirpa(head: nn.Module, rows: torch.Tensor, radius: float) -> Callable[[str, int], None] | None:
    try:
        from auto_LiRPA import BoundedModule, BoundedTensor
        from auto_LiRPA.perturbations import PerturbationLpNorm
    except ImportError:
        return None
    around = PerturbationLpNorm(norm=np.inf, eps=radius)

    def run(method: str, batch: int) -> None:
        bounded = BoundedModule(head, rows[:batch])
        for start in range(0, TIMED, batch):
            bounded.compute_bounds(
                x=(BoundedTensor(rows[start : start + batch], around),), method=method, bound_lower=False
            )

    return run
