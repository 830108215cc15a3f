"""How long a spec takes before any reward exists: reading it by its size, lowering it by the size of its data."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.scene import Scene
from benchmarks.timing import Row, median_seconds
from rewarden.spec_lang.sampling.points import sample_rows
from rewarden.spec_lang.spec import Spec, parse_spec

SIZES = (1, 10, 100, 1000)
NEAR = 10_000  # rows of data

HEADER = """spec sized v1

features Step {
  speed   : real [m/s] in 0 .. 40
  gap     : real [m]   in 0 .. 100
  closing : real [m/s] in -30 .. 25
  lead    : bool
  lane    : enum {right, middle, left}
}
assume s: Step = not s.lead implies s.gap == 100 [m] and s.closing == 0
reward R(s: Step)
param eps: real = 0.1
region tailgating(s: Step) = s.lead and s.gap <= 1 [s] * s.speed and s.closing >= 2 [m/s]
"""
RULES = (
    "forall s: Step given tailgating(s) and s.speed >= {k} [m/s] expect R(s) <= {k} / 100",
    "forall a, b: Step varying closing given a.lead and a.closing <= b.closing expect R(a) >= R(b) - eps",
    "forall s: Step given s.speed >= 2 [m/s] expect R(s with {{speed = s.speed - 1 [m/s]}}) >= R(s) - {k} * eps",
    "forall s: Step given beyond(tailgating(s), 5 %) expect |R(s)| <= 3 + {k} weight 0.5",
)


def lowering(_: Scene) -> Iterator[Row]:
    """Text to obligations, and a rule near many rows."""
    before = None
    for size in SIZES:
        text = sized(size)
        seconds = median_seconds(partial(parse_spec, text), 5 if size < 1000 else 3)
        grown = "" if before is None else f"; {seconds / before:.1f} × that of a tenth of the rules"
        before = seconds
        how = f"{len(text):,} characters parsed, checked and lowered{grown}"
        yield Row(f"read a spec of {size:,} rule{'s' * (size > 1)}", f"{1e3 * seconds:.0f} ms", how)
    with tempfile.TemporaryDirectory() as name:
        for width, norm in ((8, "linf"), (8, "l2"), (384, "linf"), (384, "l2")):
            yield from near(Path(name), width, norm)


def sized(count: int) -> str:
    """A spec of that many rules, of four kinds in turn."""
    rules = (f"--- Rule {k}.\nmust rule_{k}:\n  {RULES[k % len(RULES)].format(k=k % 30)}\n" for k in range(count))
    return HEADER + "\n" + "\n".join(rules)


def near(folder: Path, width: int, norm: str) -> Iterator[Row]:
    """Lowering a rule near `NEAR` rows, with the table at hand; and 256 points of it."""
    np.savez(folder / f"{width}.npz", e=np.random.default_rng(0).uniform(-1, 1, (NEAR, width)))
    text = (
        f"spec around v1\nfeatures E {{ e: real ^ {width} in -1 .. 1 }}\nreward H(x: E)\n"
        f'data d: E from "{width}.npz"\n'
        f"must m: forall x: E near d within 0.02 in {norm} expect H(x) <= H(anchor(x)) + 1\n"
    )
    spec = parse_spec(text, base=folder)
    spec.table("d")
    seconds = median_seconds(partial(_lowered, text, spec))
    what = f"a rule near {NEAR:,} rows of {width} numbers, {norm}"
    yield Row(
        f"read and lower {what}",
        f"{1e3 * seconds:.0f} ms",
        "text to one obligation with all rows; the file read before",
    )
    obligation = spec.obligation("m")
    drawn = median_seconds(lambda: sample_rows(obligation, 256, 0), 3, 0)
    found = len(sample_rows(obligation, 256, 0))
    yield Row(f"draw points of {what}", f"{1e3 * drawn:.0f} ms", f"{found} points, each judged exactly")


def _lowered(text: str, read: Spec) -> None:
    """From the text on, but with the table that has been read."""
    spec = parse_spec(text, base=read.base)
    spec.tables.update(read.tables)
    spec.obligation("m")
