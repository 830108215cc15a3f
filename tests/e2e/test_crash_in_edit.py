"""A crash in the middle of an edit leaves parent and child intact: the one as it was, the other whole or not there.

Each command runs in a process of its own that is killed (kill -9) when it touches files for the n-th time, or while it
writes the k-th byte of a file, or is told at that byte that the disk is full. Afterwards the command is run again.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import torch

from rewarden.cli import run as cli
from rewarden.reward.graph import Patch
from rewarden.reward.store import load_artifact, save_artifact
from tests.property.test_history import bounds_of, edited
from tests.property.test_patch import SPEC, network
from tests.unit.test_unlearning import SHARDS, project

Content = dict[str, bytes]
COMMANDS = ("patch", "revert", "squash", "merge", "bake", "unlearn")


def arguments(folder: Path, command: str) -> list[str]:
    """Of a command that writes an artifact to `out` in the folder."""
    place, out = str(folder) + "/", ["-o", str(folder / "out"), "-q"]
    match command:
        case "patch":
            return ["patch", place + "steps.rwd", "--reward", place + "a", "--budget", "2000", *out]
        case "revert":
            return ["revert", place + "b", "--edit", "1", *out[:2]]
        case "squash":
            return ["squash", place + "b", *out[:2]]
        case "bake":
            return ["bake", place + "b", "--spec", place + "steps.rwd", "--steps", "3", *out]
        case "merge":
            return ["merge", place + "a", place + "c", *out[:2]]
        case _:
            return ["unlearn", place + "r", "--config", place + "learn.toml", "--forget", place + "forget.csv", *out]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts of two lines of edits, and one that was learned in shards."""
    folder = project(tmp_path_factory.mktemp("crash"), "preferences", SHARDS)
    assert cli(["learn", str(folder / "learn.toml"), "-o", str(folder / "r"), "-q"]) == 0
    base = network(3)
    one, two, three = bounds_of(base, 3, [True, True, True])
    line, other = edited(base, [one, two]), edited(base, [three])
    for name, artifact in (("base", base), ("a", line[1]), ("b", line[2]), ("c", other[1])):
        save_artifact(artifact, folder / name)
    (folder / "steps.rwd").write_text(SPEC.format(premise="s.gap >= 80 [m]", relation="<=", level="(-5)"))
    return folder


def below(folder: Path) -> Content:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def alone(work: Callable[[], int]) -> int:
    """What a process of its own that does the work ends with; negative: the signal that ended it.

    It computes on one thread: those that this process has computed on are not in it, and it would wait for them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks of what has threads; none of them is working
        child = os.fork()
    if child == 0:
        code = 99
        torch.set_num_threads(1)
        try:
            with open(os.devnull, "w") as quiet, redirect_stdout(quiet), redirect_stderr(quiet):
                code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def touching(folder: Path, tell: Callable[[], None]) -> None:
    """From now on `tell` is called whenever this process is about to touch a file or folder below `folder`."""
    root = str(folder)

    def hook(event: str, details: tuple[object, ...]) -> None:
        if (event == "open" or event.startswith(("os.", "shutil."))) and any(
            isinstance(d, str | os.PathLike) and os.fspath(d).startswith(root) for d in details
        ):
            tell()

    sys.addaudithook(hook)


def killed_at(folder: Path, command: str, number: int) -> int:
    left = [number]

    def count() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> int:
        touching(folder, count)
        return cli(arguments(folder, command))

    return alone(work)


def full_at(folder: Path, command: str, size: int, *, dies: bool) -> int:
    """No file may grow beyond `size` bytes: whoever writes more is told so, or dies of it."""

    def work() -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if dies else signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return cli(arguments(folder, command))

    return alone(work)


def touched(folder: Path, command: str) -> int:
    """How often the undisturbed command touches what lies in the folder, which is then as it was."""
    reader, writer = os.pipe()

    def work() -> int:
        count = [0]
        touching(folder, lambda: count.__setitem__(0, count[0] + 1))
        code = cli(arguments(folder, command))
        os.write(writer, count[0].to_bytes(4, "big"))
        return code

    assert alone(work) == 0
    found = int.from_bytes(os.read(reader, 4), "big")
    os.close(reader)
    os.close(writer)
    return found


def cleared(folder: Path, before: Content) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        name = str(path.relative_to(folder))
        if path.is_file() and name not in before:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def child_in(folder: Path) -> tuple[str | None, tuple[Patch, ...], bytes]:
    """What it is a child of, and what it is; the statement of forgetting tells of the work of the last attempt."""
    found = load_artifact(folder / "out")
    return found.parent, found.patches, found.tensors_bytes


def intact(folder: Path, before: Content, expected: object) -> bool:
    """Whether the child is there: whole, then, and the one that was asked for. All else is as it was."""
    after = below(folder)
    assert {name: after.get(name) for name in before} == before
    for name in set(after) - set(before):
        assert name.split("/")[0] in ("out", "out.training", "out.forgotten.json") or name.startswith(".out")
    if not (folder / "out").exists():
        return False
    assert child_in(folder) == expected
    return True


def crashes(home: Path, command: str, share: int) -> Iterator[int]:
    """The exit status of each crash, of which about `share` are tried of every kind; then of the next attempt."""
    before = below(home)
    count = touched(home, command)
    expected = child_in(home)
    sizes = sorted({len(data) for name, data in below(home).items() if name not in before})
    cleared(home, before)
    assert count > 3
    for number in {1 + k * count // share for k in range(share)}:
        status = killed_at(home, command, number)
        assert status in (0, -signal.SIGKILL)
        assert intact(home, before, expected) or status
        yield status
        if not (home / "out").exists():  # what the crash has left beside it is in nobody's way
            assert alone(lambda: cli(arguments(home, command))) == 0
            assert intact(home, before, expected)
        cleared(home, before)
    limits = [size * k // share for size in sizes[-2:] for k in range(1, share)]
    for number, limit in enumerate(limits):
        dies = number % 2 == 0
        status = full_at(home, command, limit, dies=dies)
        assert status != 99, "a traceback"
        there = intact(home, before, expected)
        assert there == (status == 0)
        assert status == 0 or (status == -signal.SIGXFSZ) == dies
        yield status
        cleared(home, before)


@pytest.mark.parametrize("command", ["revert", "unlearn"])
def test_parent_and_child_are_intact(home: Path, command: str) -> None:
    found = list(crashes(home, command, 2))
    assert -signal.SIGKILL in found


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_wherever_it_is_killed(home: Path, command: str) -> None:
    found = list(crashes(home, command, 40))
    assert found.count(-signal.SIGKILL) > 3
