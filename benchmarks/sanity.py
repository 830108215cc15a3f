"""Parsing and checking a spec against its size: `large_spec` has the rules."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import large_spec
from benchmarks.scene import Scene
from benchmarks.timing import Row, median_seconds
from rewarden.spec_lang import load_spec
from rewarden.spec_lang.sanity.checks import check_spec

SIZES = (1, 10, 100, 1000)


def sanity(_: Scene) -> Iterator[Row]:
    """About linear in the number of rules; a hundred of them in under 5 s from the shell."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in SIZES:
            path = large_spec.write(folder, size)
            spec = load_spec(path)
            for data in spec.data:
                spec.rows(data)
            runs = 5 if size <= 100 else 1
            loading = median_seconds(partial(load_spec, path), runs)
            checking = median_seconds(partial(check_spec, spec), runs, 0 if size > 100 else 1)
            yield Row(f"load {size} rules", f"{loading:.3f} s", f"{1e3 * loading / size:.1f} ms a rule")
            yield Row(f"sanity of {size} rules", f"{checking:.3f} s", f"{1e3 * checking / size:.1f} ms a rule")
        command = [sys.executable, "-m", "rewarden", "check", str(folder / "large_100.rwd")]
        whole = median_seconds(partial(subprocess.run, command, capture_output=True, check=True), 3)
        yield Row("rewarden check, 100 rules", f"{whole:.2f} s", "whole process")
