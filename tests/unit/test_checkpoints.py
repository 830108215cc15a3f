"""A training that is killed goes on and ends in the same bytes; a disk that fills leaves what was whole."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rewarden.reward.artifact import Artifact
from rewarden.reward.learners.checkpoints import HEAD, Checkpoint, Checkpoints
from rewarden.reward.learners.corrections import Corrections
from rewarden.reward.learners.ensemble import Ensemble
from rewarden.reward.learners.interface import Revision, Run
from rewarden.reward.learners.options import CorrectionOptions, EnsembleOptions
from rewarden.reward.learners.registry import REGISTRY
from rewarden.reward.store import load_artifact
from rewarden.spec_lang.errors import ArtifactError
from tests.reference.small_data import SMALL, TRAINED

KEY = "sha256:00"


class StoppedError(Exception):
    pass


def stop_after(epoch: int) -> Callable[[str, int, int, str], None]:
    """A progress that kills the run."""

    def told(stage: str, done: int, total: int, note: str) -> None:
        if done > epoch:
            raise StoppedError

    return told


def learned(name: str, run: Run) -> Artifact:
    data, options = SMALL[name]
    return REGISTRY[name].learner().fit(data, options, run)


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("epoch", [1, 3])
def test_a_resumed_run_ends_in_the_bytes_of_one_that_was_not_stopped(name: str, epoch: int, tmp_path: Path) -> None:
    whole = learned(name, Run(3))
    kept = Checkpoints(tmp_path / "c", seconds=0.0)
    with pytest.raises(StoppedError):
        learned(name, Run(3, progress=stop_after(epoch), checkpoints=kept))
    assert json.loads((tmp_path / "c" / HEAD).read_bytes())["epoch"] == epoch
    seen: list[int] = []
    resumed = learned(name, Run(3, progress=lambda s, d, t, n: seen.append(d), checkpoints=kept))
    assert resumed.digest == whole.digest
    assert seen[0] == epoch + 1
    again = learned(name, Run(3, progress=lambda s, d, t, n: seen.append(-1), checkpoints=kept))
    assert again.digest == whole.digest
    assert -1 not in seen  # nothing was trained again


def test_resumed_corrections_too(tmp_path: Path) -> None:
    data, options = SMALL["corrections"]
    assert isinstance(data, Revision)
    assert isinstance(options, CorrectionOptions)
    turned = replace(data.answers, segments=data.answers.segments[:, ::-1])  # what does not hold yet
    data, hasty = replace(data, answers=turned), replace(options, margin=2.0, epochs=5, rounds=60)
    rounds: list[int] = []
    whole = Corrections().fit(data, hasty, Run(3, progress=lambda s, d, t, n: rounds.append(d)))
    assert len(rounds) > 2
    kept = Checkpoints(tmp_path / "c", seconds=0.0)
    with pytest.raises(StoppedError):
        Corrections().fit(data, hasty, Run(3, progress=stop_after(2), checkpoints=kept))
    seen: list[int] = []
    resumed = Corrections().fit(data, hasty, Run(3, progress=lambda s, d, t, n: seen.append(d), checkpoints=kept))
    assert resumed.digest == whole.digest
    assert seen == rounds[2:]


def test_a_resumed_ensemble_too(tmp_path: Path) -> None:
    data, options = SMALL["labels"]
    ensemble = Ensemble(REGISTRY["labels"].learner(), EnsembleOptions(members=2))
    whole = ensemble.fit(data, options, Run(3))
    kept = Checkpoints(tmp_path / "c", seconds=0.0)
    calls: list[int] = []

    def stop(stage: str, done: int, total: int, note: str) -> None:
        calls.append(done)
        if len(calls) == 7:  # within the second member
            raise StoppedError

    with pytest.raises(StoppedError):
        ensemble.fit(data, options, Run(3, progress=stop, checkpoints=kept))
    assert ensemble.fit(data, options, Run(3, checkpoints=kept)).digest == whole.digest


@pytest.mark.parametrize("what", ["seed", "options", "data"])
def test_a_checkpoint_of_another_run_is_not_gone_on_from(what: str, tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "c", seconds=0.0)
    with pytest.raises(StoppedError):
        learned("labels", Run(3, progress=stop_after(2), checkpoints=kept))
    data, options = SMALL["labels"]
    seed = 4 if what == "seed" else 3
    if what == "options":
        options = replace(options, smoothness=0.5)  # type: ignore[call-arg]
    if what == "data":
        data = replace(data, labels=data.labels + 1.0)  # type: ignore[attr-defined, type-var]
    seen: list[int] = []
    learner = REGISTRY["labels"].learner()
    found = learner.fit(data, options, Run(seed, progress=lambda s, d, t, n: seen.append(d), checkpoints=kept))
    assert seen[0] == 1
    assert found.digest == learner.fit(data, options, Run(seed)).digest


def broken(folder: Path, how: str) -> None:
    state = next(folder.glob("state-*"))
    match how:
        case "cut state":
            state.write_bytes(state.read_bytes()[:-7])
        case "other bits":
            state.write_bytes(state.read_bytes()[:-1] + b"\x55")
        case "no state":
            state.unlink()
        case "cut head":
            (folder / HEAD).write_bytes((folder / HEAD).read_bytes()[:20])
        case "empty head":
            (folder / HEAD).write_bytes(b"")
        case "list head":
            (folder / HEAD).write_bytes(b"[]")
        case "pickled":
            (folder / HEAD).write_bytes(b"\x80\x04.")
        case "path":
            head = json.loads((folder / HEAD).read_bytes())
            (folder / HEAD).write_text(json.dumps(head | {"state": "../../etc/passwd"}))


@pytest.mark.parametrize(
    "how", ["cut state", "other bits", "no state", "cut head", "empty head", "list head", "pickled", "path"]
)
def test_a_damaged_checkpoint_counts_as_none(how: str, tmp_path: Path) -> None:
    whole = learned("labels", Run(3))
    kept = Checkpoints(tmp_path / "c", seconds=0.0)
    with pytest.raises(StoppedError):
        learned("labels", Run(3, progress=stop_after(2), checkpoints=kept))
    last = kept.last()
    assert last is not None
    assert kept.holds(last.identity)
    assert not kept.holds("another run")
    broken(tmp_path / "c", how)
    assert not kept.holds(last.identity)
    assert learned("labels", Run(3, checkpoints=kept)).digest == whole.digest


def test_a_disk_that_fills_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Checkpoints(tmp_path / "c", seconds=0.0)
    kept.save(Checkpoint(KEY, 1, {"x": 0.1}, {"t": torch.ones(3)}))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ArtifactError, match="No space left") as caught:
        kept.save(Checkpoint(KEY, 2, {"x": 0.2}, {"t": torch.zeros(3)}))
    assert caught.value.code == "A24"
    assert "same command" in (caught.value.help or "")
    found = kept.load(KEY)
    assert found is not None
    assert (found.epoch, found.numbers["x"], found.tensors["t"].tolist()) == (1, 0.1, [1.0, 1.0, 1.0])
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == [HEAD, "state-1.safetensors"]


def test_checkpoints_are_not_written_more_often_than_asked(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "c", seconds=3600.0)
    with pytest.raises(StoppedError):
        learned("labels", Run(3, progress=stop_after(3), checkpoints=kept))
    assert not (tmp_path / "c").exists()


SCRIPT = """
import sys
from pathlib import Path
from rewarden.reward.learners.checkpoints import Checkpoints
from rewarden.reward.learners.interface import Run
from rewarden.reward.learners.registry import REGISTRY
from tests.reference.small_data import SMALL
from dataclasses import replace
data, options = SMALL["preferences"]
options = replace(options, epochs=60, patience=60)
kept = Checkpoints(Path(sys.argv[1]), seconds=0.0)
print(REGISTRY["preferences"].learner().fit(data, options, Run(3, checkpoints=kept)).digest)
"""


def test_a_process_that_is_killed_goes_on(tmp_path: Path) -> None:
    """SIGKILL at no chosen moment, then once more; the end is that of an undisturbed run in a third folder."""

    def start(folder: Path) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], stdout=subprocess.PIPE, text=True)

    for _ in range(2):
        process = start(tmp_path / "c")
        before = epoch_in(tmp_path / "c")
        deadline = time.monotonic() + 120
        while epoch_in(tmp_path / "c") <= before + 1 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert epoch_in(tmp_path / "c") >= 2
    outputs = [start(tmp_path / name).communicate()[0] for name in ("c", "fresh")]
    assert outputs[0] == outputs[1]
    assert outputs[0].startswith("sha256:")


def epoch_in(folder: Path) -> int:
    try:
        return int(json.loads((folder / HEAD).read_bytes())["epoch"])
    except FileNotFoundError:
        return 0


COMMAND = """
import sys
from dataclasses import replace
from pathlib import Path
from rewarden.reward.learners.checkpoints import Checkpoints
from rewarden.reward.learners.ensemble import Ensemble
from rewarden.reward.learners.interface import Run
from rewarden.reward.learners.options import EnsembleOptions
from rewarden.reward.learners.registry import REGISTRY
from rewarden.reward.store import save_artifact
from tests.reference.small_data import SMALL
name, out = sys.argv[1], Path(sys.argv[2])
learner = REGISTRY[name.removeprefix("ensemble of ")].learner()
data, options = SMALL[name.removeprefix("ensemble of ")]
if hasattr(options, "patience"):
    options = replace(options, epochs=40, patience=40)
if name.startswith("ensemble"):
    learner = Ensemble(learner, EnsembleOptions(members=2))
kept = Checkpoints(out.parent / "learning", seconds=0.0)
save_artifact(learner.fit(data, options, Run(3, checkpoints=kept)), out)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SMALL, "ensemble of labels"])
def test_kills_at_random_moments_leave_a_whole_artifact_or_none(name: str, tmp_path: Path) -> None:
    """SIGKILL again and again, a little later each time, until the command ends by itself."""
    told = np.random.default_rng(sum(name.encode()))
    whole, begun = tmp_path / "undisturbed" / "reward", time.monotonic()
    subprocess.run([sys.executable, "-c", COMMAND, name, str(whole)], check=True)
    takes = time.monotonic() - begun
    out, delay, kills = tmp_path / "made" / "reward", takes / 2, 0
    while True:
        process = subprocess.Popen([sys.executable, "-c", COMMAND, name, str(out)])
        try:
            assert process.wait(delay) == 0
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
        if out.exists():
            load_artifact(out)  # whole
            break
        delay += told.uniform(0.03, 0.2) * takes
    assert load_artifact(out).digest == load_artifact(whole).digest
    assert kills


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("room", [0, 700, 2000])
def test_a_real_refusal_of_the_system_to_write_leaves_no_artifact(room: int, tmp_path: Path) -> None:
    """A file may not grow beyond so many bytes: what the system does on a disk that is full, but for the number."""
    limited = f"import resource, signal; resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n"
    out = tmp_path / "made" / "reward"
    run = subprocess.run(
        [sys.executable, "-B", "-c", limited + COMMAND, "labels", str(out)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "A24" in run.stderr
    assert "same command" in run.stderr
    assert not out.exists()
    assert not list(tmp_path.rglob("*.part"))
    subprocess.run([sys.executable, "-c", COMMAND, "labels", str(out)], check=True)  # room has been made
    whole = tmp_path / "undisturbed" / "reward"
    subprocess.run([sys.executable, "-c", COMMAND, "labels", str(whole)], check=True)
    assert load_artifact(out).digest == load_artifact(whole).digest
