"""The console script: Ctrl-C while the command line is being loaded ends it without a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import tomllib
from pathlib import Path

USUAL = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background has it ignored
"""
START = f"""{USUAL}
class Pressed:
    def find_spec(self, name, path, target=None):
        if name == "rewarden.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Pressed())
"""
RUN = """
from rewarden.__main__ import main
sys.argv = ["rewarden", "--version"]
try:
    main()
except SystemExit as left:
    print(left.code, signal.getsignal(signal.SIGINT) is {expected})
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_while_loading_it_leaves_in_silence() -> None:
    done = run(START + RUN.format(expected="None"))
    assert done.returncode == -signal.SIGINT
    assert done.stdout == done.stderr == ""


def test_where_interrupts_are_ignored_they_stay_ignored() -> None:
    done = run(START + "signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + RUN.format(expected="signal.SIG_IGN"))
    assert done.stdout.splitlines()[-1] == "0 True", done.stderr


def test_from_then_on_an_interrupt_is_an_exception() -> None:
    done = run(USUAL + RUN.format(expected="signal.default_int_handler"))
    assert done.stdout.splitlines()[-1] == "0 True", done.stderr


def test_that_is_what_is_installed() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["scripts"]["rewarden"] == "rewarden.__main__:main"
