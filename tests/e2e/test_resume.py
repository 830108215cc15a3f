"""A verification that is killed, for good, and goes on from what it had saved."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import rewarden as rw
from rewarden.resuming import resuming
from rewarden.spec_lang import parse_spec
from rewarden.spec_lang.errors import UsageError
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.steps import verify_lengths
from rewarden.verifier.verdict import Reason, RuleResult, Verdict
from tests.reference.loop_specs import random_case

SPEC = """spec yard v1

features Step {
  x : real [m] in 0 .. 1
  y : real in 0 .. 1
  z : real in 0 .. 1
  w : real in 0 .. 1
  u : real in 0 .. 1
  v : real in 0 .. 1
}
reward R(s: Step)

must easy:
  forall s: Step
  expect R(s) <= 1000

must hard:
  forall a, b: Step varying x
  given a.x <= b.x
  expect R(a) <= R(b) + 0.5
"""
# As the command, but for saving at every chance.
OFTEN = "from rewarden.verifier import saved; saved.EVERY, saved.REST = 0.0, 0"
COMMAND = f"{OFTEN}; from rewarden.cli import main; main()"


def _project(folder: Path) -> list[str]:
    """One rule is proved at once, the other takes more boxes than anyone waits for."""
    (folder / "yard.rwd").write_text(SPEC, encoding="utf-8")
    torch.manual_seed(3)
    layers = [torch.nn.Linear(6, 32), torch.nn.ReLU(), torch.nn.Linear(32, 32), torch.nn.ReLU()]
    layers += [torch.nn.Linear(32, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1)]
    module = torch.nn.Sequential(*layers)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.8)
    spec = rw.load_spec(folder / "yard.rwd")
    rw.save_reward(rw.from_torch(module, spec.features["Step"]), folder / "reward")
    options = ["--engine", "bounds", "--no-cache", "--quiet", "--budget", "500"]
    return ["verify", str(folder / "yard.rwd"), "--reward", str(folder / "reward"), *options]


def _run(arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", COMMAND, *arguments], stdout=subprocess.DEVNULL)


def test_a_killed_run_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    arguments = _project(tmp_path)
    plain, resumed, state = tmp_path / "plain.json", tmp_path / "resumed.json", tmp_path / "state.npz"
    status = _run([*arguments, "--json", str(plain)]).wait()
    killed = 0
    for _ in range(2):
        process = _run([*arguments, "--json", str(resumed), "--resume", str(state)])
        before = state.stat().st_mtime_ns if state.exists() else 0
        while process.poll() is None and (not state.exists() or state.stat().st_mtime_ns == before):
            time.sleep(0.005)
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed
    assert state.exists()
    assert not resumed.exists()
    assert _run([*arguments, "--json", str(resumed), "--resume", str(state)]).wait() == status
    assert resumed.read_bytes() == plain.read_bytes()
    assert not state.exists(), "there is nothing left to go on from"


def test_a_state_of_something_else_is_refused(tmp_path: Path) -> None:
    arguments = _project(tmp_path)
    state = tmp_path / "state.npz"
    process = _run([*arguments, "--resume", str(state)])
    while process.poll() is None and not state.exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments[:-1], "5000", "--resume", str(state)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "error[G16]: the saved state is about another budget" in done.stderr
    assert state.exists()


def test_a_state_about_other_data_is_refused(tmp_path: Path) -> None:
    """A spec names a file, and its digest says nothing of what is in it."""
    _project(tmp_path)
    rows = "x,y,z,w,u,v\n0.5,0.5,0.5,0.5,0.5,{}\n"
    text = SPEC.replace("must easy", 'data logs: Step from "logs.csv"\n\nmust easy')
    (tmp_path / "yard.rwd").write_text(text, encoding="utf-8")
    (tmp_path / "logs.csv").write_text(rows.format(0.25), encoding="utf-8")
    rewards = {"R": rw.load_reward(tmp_path / "reward")}
    state, spec = tmp_path / "state.npz", rw.load_spec(tmp_path / "yard.rwd")
    with resuming(state, spec, rewards, VerifyOptions(), ()) as begun:
        begun.saver.save()
    assert state.exists()
    with resuming(state, spec, rewards, VerifyOptions(), ()):
        (tmp_path / "logs.csv").write_text(rows.format(0.75), encoding="utf-8")
    with (
        pytest.raises(UsageError, match="the saved state is about another data logs") as error,
        resuming(state, rw.load_spec(tmp_path / "yard.rwd"), rewards, VerifyOptions(), ()),
    ):
        pass
    assert error.value.code == "G16"


def test_ctrl_c_tells_what_is_known(tmp_path: Path) -> None:
    """The signal is sent once the second rule is at work; the first one's verdict is told and written."""
    arguments = [a if a != "500" else "100000000" for a in _project(tmp_path)]
    state, told = tmp_path / "state.npz", tmp_path / "told.json"
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments, "--json", str(told), "--resume", str(state)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and (not state.exists() or state.stat().st_size < 20_000):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    rules = {rule["name"]: rule for rule in json.loads(told.read_text(encoding="utf-8"))["rules"]}
    assert rules["easy"]["verdict"] == "proved"
    assert rules["hard"]["verdict"] == "unknown"
    assert rules["hard"]["unsettled"]["boxes"]
    assert "of the region" in out
    assert "stopping" in err
    assert state.exists()


@pytest.mark.parametrize("after", [5, 15])
def test_a_stop_among_loops_leaves_what_to_go_on_from(after: int, tmp_path: Path) -> None:
    """What is said beside the stop (how many cells lie on no loop that pays) does not make it an end."""
    case = random_case(7)
    options, state, asked = VerifyOptions(budget=20_000, falsify_budget=400), tmp_path / "state.npz", [0]
    plain = rw.verify(case.spec, options, rewards=case.rewards)

    def stop() -> bool:
        asked[0] += 1
        return asked[0] > after

    stopped = rw.verify(case.spec, options, rewards=case.rewards, resume=state, stop=stop)
    assert stopped["r"].verdict == "unknown"
    assert stopped["r"].reason.startswith(Reason.STOPPED)
    assert state.exists()
    again = rw.verify(case.spec, options, rewards=case.rewards, resume=state)
    assert again.to_json() == plain.to_json()
    assert not state.exists()


def test_lengths_that_were_stopped_are_told_before_those_that_took_too_much() -> None:
    """Else a run of which a part was stopped would pass for one that came to its end."""
    rule = "must r:\n  trace t: Step within 2 steps\n  expect sum(R(t)) <= 9\n"
    spec = parse_spec(SPEC.partition("must")[0] + rule)
    reasons = iter((Reason.BUDGET, Reason.STOPPED))

    def decide(obligation: object) -> RuleResult:
        return RuleResult(rule="r", severity="must", verdict=Verdict.UNKNOWN, reason=next(reasons))

    found = verify_lengths(spec.obligations_of("r"), decide, lambda: False)
    assert found.stopped
    assert "Open for traces of 1 step, 2 steps" in found.reason
