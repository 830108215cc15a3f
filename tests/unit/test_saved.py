"""Saved states: going on from any of them ends as a run without a break does; what is not a state is refused."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewarden.reward.artifact import Artifact
from rewarden.reward.torch_import import from_torch
from rewarden.spec_lang import Spec, load_spec, parse_spec
from rewarden.spec_lang.canonical import canonical_json
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.features import RecordType
from rewarden.verifier import saved, saved_search
from rewarden.verifier.cells import engine as cells_engine
from rewarden.verifier.engines import lp as lp_engine
from rewarden.verifier.engines import z3 as z3_engine
from rewarden.verifier.exact_bounds import Leaf
from rewarden.verifier.falsify import _Search
from rewarden.verifier.loops.abstraction import Abstraction
from rewarden.verifier.lp.tree import Tree
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.portfolio import verify
from rewarden.verifier.proof_tree import CUT, LEAF, OPEN
from rewarden.verifier.saved import Saver
from rewarden.verifier.trail import trail_out
from rewarden.verifier.unwritten import Unwritten
from rewarden.verifier.verdict import Reason, VerificationResult
from tests.reference.how_many import ALL
from tests.reference.loop_specs import random_case

LOW, HIGH = 0.92, 1.6  # of the levels: one that 200 boxes do not settle, and one that they do
ABOUT = {"spec": "s", "code": "c"}
OPTIONS = VerifyOptions(budget=60, falsify_budget=300, batch_size=4, engine="bounds")
SPEC = """spec yard v1

features Step {
  x : real in 0 .. 1
  y : real in 0 .. 1
  k : int in 0 .. 3
  z : enum {a, b, c}
}
reward R(s: Step)

must low:
  forall s: Step
  given s.x + s.y >= 0.3 or s.k == 2
  expect R(s) <= HIGH

must near_high:
  forall s: Step
  given s.x <= 0.5
  expect R(s) <= TIGHT

must pair:
  forall a, b: Step varying x
  given a.x <= b.x or a.z == c
  expect R(a) <= R(b) + PAIR and R(a) >= R(b) - PAIR
"""


def _wavy(kind: RecordType) -> Artifact:
    """A network that takes some hundred boxes."""
    torch.manual_seed(5)
    layers = [torch.nn.Linear(kind.width, 20), torch.nn.ReLU(), torch.nn.Linear(20, 20), torch.nn.ReLU()]
    module = torch.nn.Sequential(*layers, torch.nn.Linear(20, 1))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2.5)
    return from_torch(module, (("s", kind),))


@cache
def _case() -> tuple[Spec, dict[str, Artifact]]:
    """Thresholds from sampled values, so that some rules are proved and some stay open."""
    bare = parse_spec(SPEC.replace("HIGH", "0").replace("TIGHT", "0").replace("PAIR", "1"))
    kind = bare.features["Step"]
    artifact = _wavy(kind)
    rng = np.random.default_rng(0)
    rows = np.zeros((20_000, kind.width), np.float32)
    rows[:, :2], rows[:, 2] = rng.random((20_000, 2)), rng.integers(0, 4, 20_000)
    rows[np.arange(20_000), 3 + rng.integers(0, 3, 20_000)] = 1
    from rewarden.reward.deployed import forward

    values = forward(artifact, rows)
    near = float(values[rows[:, 0] <= 0.5].max())
    top, spread = float(values.max()), float(np.ptp(values))
    text = SPEC.replace("HIGH", f"{top + 0.03 * spread:.4f}").replace("TIGHT", f"{near + 0.02 * spread:.4f}")
    return parse_spec(text.replace("PAIR", f"{0.6 * spread:.4f}")), {"R": artifact}


def _bytes(result: VerificationResult) -> bytes:
    """All that there is to compare, proofs too."""
    text = json.dumps(result.to_json(), sort_keys=True).encode()
    return text + b"".join(canonical_json(_proof(r.proof)) for r in result.rules)


def _proof(proof: Mapping[str, Any] | Unwritten | None) -> object:
    """What it comes to, as bytes: one that is not written yet is its trail."""
    if not isinstance(proof, Unwritten):
        return None if proof is None else dict(proof)
    return [proof.boxes, None if proof.trail is None else trail_out(proof.trail)]


def _states(options: VerifyOptions) -> tuple[list[bytes], VerificationResult]:
    """Every state that a run saves, if it saves whenever it can."""
    spec, rewards = _case()
    states: list[bytes] = []
    result = verify(spec, rewards, options, saver=Saver(ABOUT, states.append))
    return states, result


@pytest.fixture
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "EVERY", 0.0)
    monkeypatch.setattr(saved, "REST", 0)


@pytest.mark.parametrize("engine", ["bounds", "auto"])
@pytest.mark.usefixtures("_often")
def test_any_saved_state_leads_to_the_same_end(engine: str) -> None:
    spec, rewards = _case()
    options = replace(OPTIONS, engine=engine)
    plain = verify(spec, rewards, options)
    wanted = {"proved", "unknown"} if engine == "bounds" else {"proved"}
    assert {r.verdict.value for r in plain.rules} >= wanted
    states, result = _states(options)
    assert _bytes(result) == _bytes(plain)
    picked = sorted({0, 1, *np.linspace(0, len(states) - 1, 9 if ALL else 3).astype(int).tolist()})
    for k in picked:
        again = verify(spec, rewards, options, saver=Saver(ABOUT, lambda data: None, states[k]))
        assert _bytes(again) == _bytes(plain), f"state {k} of {len(states)}"


NEAR = """spec close v1
features Emb { e : real ^ 5 in -1 .. 1 }
reward R(x: Emb)
data d: Emb from "rows.npz"
must capped:
  forall x: Emb near d within 0.5
  expect R(x) <= LEVEL
"""


def _near(folder: Path, level: float, radius: float = 0.5) -> tuple[Spec, dict[str, Artifact]]:
    """Boxes around rows, that take cells and cases of neurons some hundred steps."""
    rows = np.random.default_rng(3).uniform(-0.5, 0.5, (6, 5))
    np.savez(folder / "rows.npz", e=rows)
    (folder / "near.rwd").write_text(NEAR.replace("LEVEL", str(level)).replace("0.5", str(radius)))
    spec = load_spec(folder / "near.rwd")
    return spec, {"R": _wavy(spec.features["Emb"])}


@pytest.mark.parametrize(("engine", "level"), [("cells", LOW), ("neurons", LOW), ("neurons", HIGH)])
@pytest.mark.usefixtures("_often")
def test_walks_and_cases_go_on_where_they_were(
    engine: str, level: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells_engine, "SLICE", 16)
    spec, rewards = _near(tmp_path, level)
    options = replace(OPTIONS, engine=engine, budget=200)
    states: list[bytes] = []
    plain = verify(spec, rewards, options, saver=Saver(ABOUT, states.append))
    assert _bytes(verify(spec, rewards, options)) == _bytes(plain)
    assert plain["capped"].work.boxes > 30
    for k in sorted(set(np.linspace(0, len(states) - 1, 4 if ALL else 3).astype(int).tolist())):
        assert _bytes(_gone_on(spec, rewards, options, states[k])) == _bytes(plain), f"state {k} of {len(states)}"


# Engine, level, radius around rows, budget; what is asked again and again, and how often at least.
QUERIES = {
    "lp": (LOW, 0.45, 40, (Tree, "step"), 30),
    "lp, proved": (HIGH, 0.4, 900, (Tree, "step"), 30),
    "z3": (LOW, 0.03, 60, (z3_engine, "decide_box"), 6),
    "falsify": (9.0, 0.5, 60, (_Search, "_round"), 3),
}


@pytest.mark.parametrize("case", QUERIES)
@pytest.mark.usefixtures("_often")
def test_programs_queries_and_searches_go_on_where_they_were(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    level, radius, budget, (owner, asked), least = QUERIES[case]
    monkeypatch.setattr(lp_engine, "FORGET", 8)
    spec, rewards = _near(tmp_path, level, radius)
    options = replace(OPTIONS, engine=case.split(",")[0], budget=budget, falsify_budget=600, z3_rlimit=400_000)
    calls = [0]
    real = getattr(owner, asked)

    def counted(*args: Any, **names: Any) -> Any:
        calls[0] += 1
        return real(*args, **names)

    monkeypatch.setattr(owner, asked, counted)
    states: list[bytes] = []
    plain = verify(spec, rewards, options, saver=Saver(ABOUT, states.append))
    whole, calls[0] = calls[0], 0
    assert whole >= least
    assert _bytes(verify(spec, rewards, options)) == _bytes(plain)
    spent = []
    for k in sorted(set(np.linspace(0, len(states) - 1, 4 if ALL else 3).astype(int).tolist())):
        calls[0] = 0
        assert _bytes(_gone_on(spec, rewards, options, states[k])) == _bytes(plain), f"state {k} of {len(states)}"
        spent.append(calls[0])
    assert min(spent) <= whole // 2  # from a late state on


@pytest.mark.parametrize("case", QUERIES)
@pytest.mark.usefixtures("_often")
def test_programs_queries_and_searches_that_were_tampered_with_are_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of parts that there are not, counts that are none, arrays of other shapes: said, or the same end."""
    level, radius, budget, _, _ = QUERIES[case]
    monkeypatch.setattr(lp_engine, "FORGET", 8)
    spec, rewards = _near(tmp_path, level, radius)
    options = replace(OPTIONS, engine=case.split(",")[0], budget=budget, falsify_budget=600, z3_rlimit=400_000)
    states: list[bytes] = []
    plain = verify(spec, rewards, options, saver=Saver(ABOUT, states.append))
    state = next(s for s in reversed(states) if _searches(s) and (case != "lp" or "tree" in str(_searches(s))))
    told = []
    for change in (
        lambda one: [one.update({name: None}) for name in [*one] if name != "run"],
        lambda one: [one.update({name: -1}) for name in [*one] if name != "run"],
        lambda one: [one.update({name: [99]}) for name in [*one] if name != "run"],
        lambda one: [one.update({name: {"bit_generator": "PCG64"}}) for name in [*one] if name != "run"],
    ):
        arrays = _arrays(state)
        kept = json.loads(arrays["state"].tobytes())
        change(kept["running"]["searches"][-1])
        arrays["state"] = np.frombuffer(json.dumps(kept).encode(), np.uint8)
        told.append(_told_of(_packed(arrays), spec, rewards, options))
    for name in [n for n in _arrays(state) if n != "state"]:
        for other in (np.zeros(3), np.full(_arrays(state)[name].shape, 99, _arrays(state)[name].dtype)):
            told.append(_told_of(_packed({**_arrays(state), name: other}), spec, rewards, options))
    assert all(one in ("G17", _bytes(plain)) or isinstance(one, bytes) for one in told)
    assert told.count("G17") >= 4


def _searches(state: bytes) -> list[dict[str, Any]]:
    running = json.loads(_arrays(state)["state"].tobytes())["running"]
    return [] if running is None else running["searches"]


LOOP_SEEDS = (7, 19)  # of rules that take some rounds of refinement


def _loops(seed: int) -> tuple[Spec, dict[str, Artifact], VerifyOptions]:
    found = random_case(seed)
    return found.spec, found.rewards, replace(OPTIONS, engine="auto", budget=6_000, falsify_budget=400)


def _potentials(result: VerificationResult) -> bytes:
    """What a proof about loops is written from."""
    told = []
    for rule in result.rules:
        for outcome in rule.proof.loops if isinstance(rule.proof, Unwritten) else ():
            for part in outcome.parts:
                arrays = (part.cells.lo, part.cells.hi, part.tilt, part.graph.source, part.graph.target, part.weight)
                told += [[a.tolist() for a in arrays], list(map(str, part.potential)), str(part.scale), part.place]
            told += [[one.cells.lo.tolist(), one.place, one.empty] for one in outcome.dropped]
    return json.dumps(told).encode()


@pytest.mark.parametrize("seed", LOOP_SEEDS)
@pytest.mark.usefixtures("_often")
def test_graphs_of_cells_go_on_where_they_were(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, rewards, options = _loops(seed)
    rounds, real = [0], Abstraction._weigh

    def counted(graph: Abstraction) -> None:
        rounds[0] += 1
        real(graph)

    monkeypatch.setattr(Abstraction, "_weigh", counted)
    states: list[bytes] = []
    plain = verify(spec, rewards, options)
    rounds[0] = 0
    saved_along = verify(spec, rewards, options, saver=Saver(ABOUT, states.append))
    whole = rounds[0]
    assert whole >= 3
    assert _bytes(saved_along) == _bytes(plain)
    inside = [s for s in states if _searches(s) and "example" in _searches(s)[-1]]
    assert inside
    spent = []
    for state in (inside[len(inside) // 2], inside[-1]):
        rounds[0] = 0
        again = _gone_on(spec, rewards, options, state)
        assert _bytes(again) == _bytes(plain)
        assert _potentials(again) == _potentials(plain)
        spent.append(rounds[0])
    assert spent[-1] < whole


RAMP = """spec walk v1
features S { x : real in 0 .. 5 }
reward R(s: S)
reward M(a: S, b: S)
data logs: S from "logs.csv"
relation ramp(a: S, b: S) = b.x - a.x <= 1 and a.x - b.x <= 4
must r: cycle t: S via ramp given always R(t) <= max(R(logs)) expect sum(max(M(t), 0) - 0.78) <= 0
"""


@pytest.mark.usefixtures("_often")
def test_a_graph_of_cells_is_about_the_data_that_it_was_made_from(tmp_path: Path) -> None:
    """Up to x = 2 no loop pays; up to 5 one of five steps does, and cells beyond 2 had been left out."""

    def ramp(most: float) -> Spec:
        (tmp_path / "logs.csv").write_text(f"x\n{most}\n", encoding="utf-8")
        (tmp_path / "walk.rwd").write_text(RAMP, encoding="utf-8")
        return load_spec(tmp_path / "walk.rwd")

    before = ramp(2.0)
    rewards = {}
    for name, weights in (("R", [1.0]), ("M", [-1.0, 1.0])):
        net = torch.nn.Linear(len(weights), 1, bias=False)
        with torch.no_grad():
            net.weight[:] = torch.tensor([weights])
        rewards[name] = from_torch(net, tuple((p, before.features[k]) for p, k in before.rewards[name].params))
    options = VerifyOptions(budget=60_000, falsify_budget=200)
    states: list[bytes] = []
    assert verify(before, rewards, options, saver=Saver(ABOUT, states.append))["r"].verdict == "proved"
    assert _searches(states[-1])[-1]["dropped"]
    after = ramp(5.0)
    assert after.digest == before.digest, "a spec knows data by the name of a file"
    assert _gone_on(after, rewards, options, states[-1])["r"].verdict == "violated"


@pytest.mark.usefixtures("_often")
def test_graphs_of_cells_that_were_tampered_with_are_refused() -> None:
    spec, rewards, options = _loops(19)
    options = replace(options, budget=400)
    states: list[bytes] = []
    verify(spec, rewards, options, saver=Saver(ABOUT, states.append))
    state = [s for s in states if _searches(s) and "example" in _searches(s)[-1]][-1]
    told = []
    for name, array in _arrays(state).items():
        if name == "state":
            continue
        for other in (np.zeros(3), np.full(array.shape, -7, array.dtype)):
            if array.size and array.dtype == np.int64:
                told.append(_told_of(_packed({**_arrays(state), name: other}), spec, rewards, options))
    for key in ("counts", "place", "parts", "dropped", "example"):
        for value in (3, [{"potential": ["1"], "scale": "0", "place": [[]]}], ["1/0"]):
            arrays = _arrays(state)
            kept = json.loads(arrays["state"].tobytes())
            kept["running"]["searches"][-1][key] = value
            arrays["state"] = np.frombuffer(json.dumps(kept).encode(), np.uint8)
            told.append(_told_of(_packed(arrays), spec, rewards, options))
    assert told.count("G17") > len(told) // 2
    assert all(one == "G17" or isinstance(one, bytes) for one in told)


@pytest.mark.parametrize("engine", ["cells", "neurons"])
@pytest.mark.usefixtures("_often")
def test_what_is_settled_is_not_asked_for_again(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells_engine, "SLICE", 16)
    spec, rewards = _near(tmp_path, LOW)
    options = replace(OPTIONS, engine=engine, budget=200)
    states: list[bytes] = []
    verify(spec, rewards, options, saver=Saver(ABOUT, states.append))
    late = max((k for k, s in enumerate(states) if any(n.startswith("r1.") for n in _arrays(s))), default=0)
    asked = [0]

    def counted(data: bytes) -> None:
        asked[0] += 1

    verify(spec, rewards, options, saver=Saver(ABOUT, counted, states[late]))
    assert len(states) > 10
    assert asked[0] < len(states) // 2


def _gone_on(spec: Spec, rewards: dict[str, Artifact], options: VerifyOptions, state: bytes) -> VerificationResult:
    return verify(spec, rewards, options, saver=Saver(ABOUT, lambda data: None, state))


@pytest.mark.parametrize("engine", ["cells", "neurons"])
@pytest.mark.usefixtures("_often")
def test_walks_and_cases_that_were_tampered_with_are_refused(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrays of other shapes and types, or none: an error that says so, or the same end."""
    monkeypatch.setattr(cells_engine, "SLICE", 16)
    spec, rewards = _near(tmp_path, LOW)
    options = replace(OPTIONS, engine=engine, budget=200)
    states: list[bytes] = []
    plain = verify(spec, rewards, options, saver=Saver(ABOUT, states.append))
    rng = np.random.default_rng(0)
    whole = [s for s in states if any(name.startswith("r1.") for name in _arrays(s))]
    told = [_told_of(_tampered(rng, s, engine), spec, rewards, options) for s in whole[:: max(1, len(whole) // 12)]]
    assert all(one in ("G17", _bytes(plain)) for one in told)
    assert told.count("G17") > len(told) // 2


def _told_of(state: bytes, spec: Spec, rewards: dict[str, Artifact], options: VerifyOptions) -> bytes | str:
    try:
        return _bytes(_gone_on(spec, rewards, options, state))
    except UsageError as error:
        return error.code


def _tampered(rng: np.random.Generator, state: bytes, engine: str) -> bytes:
    arrays = _arrays(state)
    name = str(rng.choice([n for n in arrays if n != "state"]))
    array = arrays[name]
    match int(rng.integers(4)):
        case 0:
            del arrays[name]
        case 1:
            arrays[name] = array[:-1] if len(array) else np.zeros(3)
        case 2:
            arrays[name] = array.astype(np.float32) if array.dtype.names is None else np.zeros(len(array))
        case _:
            told = json.loads(arrays["state"].tobytes())
            told["running"]["searches"][-1]["course" if engine == "cells" else "searches"] = None
            arrays["state"] = np.frombuffer(json.dumps(told).encode(), np.uint8)
    return _packed(arrays)


@pytest.mark.usefixtures("_often")
def test_killed_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process comes some batches further before it is killed."""
    spec, rewards = _case()
    plain = verify(spec, rewards, OPTIONS)
    state: list[bytes] = []

    class Killed(BaseException):
        """No `except Exception` hears of it."""

    def dying(after: int) -> Callable[[bytes], None]:
        left = [after]

        def write(data: bytes) -> None:
            state[:] = [data]
            left[0] -= 1
            if left[0] <= 0:
                raise Killed

        return write

    for lives in range(200):
        try:
            saver = Saver(ABOUT, dying(400 + lives), state[0] if state else None)
            result = verify(spec, rewards, OPTIONS, saver=saver)
            break
        except Killed:
            continue
    assert lives > 3
    assert _bytes(result) == _bytes(plain)


@pytest.mark.usefixtures("_often")
def test_a_stop_is_gone_on_from(tmp_path: Path) -> None:
    spec, rewards = _case()
    plain = verify(spec, rewards, OPTIONS)
    state: list[bytes] = []
    asked = [0]

    def stop() -> bool:
        asked[0] += 1
        return asked[0] > 60

    stopped = verify(spec, rewards, OPTIONS, stop=stop, saver=Saver(ABOUT, lambda data: state.append(data)))
    assert any("Stopped" in r.reason for r in stopped.rules)
    result = verify(spec, rewards, OPTIONS, saver=Saver(ABOUT, lambda data: None, state[-1]))
    assert _bytes(result) == _bytes(plain)


def test_a_stop_just_as_signs_of_neurons_came_to_their_end() -> None:
    """What they had done by then counts, and no larger budget is asked for where none helps."""
    spec, rewards = _case()
    options, asked, limit = replace(OPTIONS, engine="neurons"), [0], [10**9]

    def stop() -> bool:
        asked[0] += 1
        return asked[0] > limit[0]

    plain = verify(spec, rewards, options, rules=["near_high"], stop=stop)
    assert plain["near_high"].reason == Reason.NEURONS_LIMIT
    assert plain["near_high"].work.boxes > 0
    last = asked[0]
    for after in range(last - 4, last):
        state: list[bytes] = []
        asked[0], limit[0] = 0, after
        verify(spec, rewards, options, rules=["near_high"], stop=stop, saver=Saver(ABOUT, state.append))
        again = verify(spec, rewards, options, rules=["near_high"], saver=Saver(ABOUT, lambda _: None, state[-1]))
        assert _bytes(again) == _bytes(plain)


@pytest.mark.parametrize("budget", [4, 9])
def test_a_stop_just_as_cells_came_to_their_end(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who goes on does not give them their budget a second time."""
    monkeypatch.setattr(cells_engine, "SLICE", 2)
    spec, rewards = _case()
    options, asked, limit = replace(OPTIONS, engine="cells", budget=budget), [0], [10**9]

    def stop() -> bool:
        asked[0] += 1
        return asked[0] > limit[0]

    plain = verify(spec, rewards, options, rules=["pair"], stop=stop)
    assert plain["pair"].reason == Reason.BUDGET
    assert plain["pair"].work.boxes == budget
    last = asked[0]
    for after in range(last - 6, last):
        state: list[bytes] = []
        asked[0], limit[0] = 0, after
        stopped = verify(spec, rewards, options, rules=["pair"], stop=stop, saver=Saver(ABOUT, state.append))
        assert stopped["pair"].stopped
        again = verify(spec, rewards, options, rules=["pair"], saver=Saver(ABOUT, lambda _: None, state[-1]))
        assert _bytes(again) == _bytes(plain)


DYING = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from rewarden.verifier import saved
from rewarden.verifier.engines import lp
from rewarden.verifier.portfolio import verify
from rewarden.verifier.saved import Saver
from tests.unit import test_saved as here

saved.EVERY, saved.REST, lp.FORGET = 0.0, 0, 8
case, folder, lives = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
if case == "loops":
    spec, rewards, options = here._loops(7)
else:
    level, radius, budget, _, _ = here.QUERIES[case]
    spec, rewards = here._near(folder, level, radius)
    options = replace(here.OPTIONS, engine=case, budget=budget, falsify_budget=600, z3_rlimit=400_000)
state, left = folder / "state", lives

def write(data):
    global left
    state.with_suffix(".new").write_bytes(data)
    state.with_suffix(".new").rename(state)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

saver = Saver(here.ABOUT, write, state.read_bytes() if state.exists() else None) if lives else None
sys.stdout.write(here._bytes(verify(spec, rewards, options, saver=saver)).hex())
"""


@pytest.mark.slow
@pytest.mark.parametrize("case", ["lp", "z3", "falsify", "loops"])
def test_killed_by_the_system(case: str, tmp_path: Path) -> None:
    """SIGKILL while a state is written, again and again; what the last process says is what one says that lives."""
    command = [sys.executable, "-c", DYING, case, str(tmp_path)]
    plain = subprocess.run([*command, "0"], capture_output=True, text=True, check=True)
    for lives in (3, 9, 81, 729, 6561, 59049):
        died = subprocess.run([*command, str(lives)], capture_output=True, text=True)
        if died.returncode == 0:
            break
        assert died.returncode == -signal.SIGKILL, died.stderr
    assert lives > 3
    assert died.stdout == plain.stdout


# ── what is refused ────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def a_state() -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved, "EVERY", 0.0)
        patch.setattr(saved, "REST", 0)
        states, _ = _states(OPTIONS)
    return next(s for s in states if _kinds(s) >= {OPEN, CUT, LEAF})


def _kinds(data: bytes) -> set[int]:
    return {int(k) for name, a in _arrays(data).items() if name.endswith(".nodes") for k in a["kind"]}


def _arrays(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


def _packed(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _resumed(data: bytes) -> None:
    spec, rewards = _case()
    verify(spec, rewards, OPTIONS, saver=Saver(ABOUT, lambda written: None, data))


@pytest.mark.parametrize("name", ["spec", "code"])
def test_a_state_about_something_else_is_refused(a_state: bytes, name: str) -> None:
    with pytest.raises(UsageError, match=f"about another {name}") as error:
        Saver({**ABOUT, name: "other"}, lambda data: None, a_state)
    assert error.value.code == "G16"


def _damage_nodes(arrays: dict[str, np.ndarray], kind: int, field: str, value: int) -> None:
    """Changes the first node of a kind."""
    name, at = next(
        (n, int(np.flatnonzero(a["kind"] == kind)[0]))
        for n, a in arrays.items()
        if n.endswith(".nodes") and (a["kind"] == kind).any()
    )
    nodes = arrays[name].copy()
    nodes[field][at] = value
    arrays[name] = nodes


DAMAGES: dict[str, Callable[[dict[str, np.ndarray]], None]] = {
    "a kind": lambda a: _damage_nodes(a, CUT, "kind", 7),
    "an open node that nobody has": lambda a: _damage_nodes(a, LEAF, "kind", OPEN),
    "a parent": lambda a: _damage_nodes(a, OPEN, "parent", 77),
    "a child": lambda a: _damage_nodes(a, CUT, "child", 10**9),
    "a box upside down": lambda a: a.update({n: v + 9 for n, v in a.items() if n.endswith("g0.lo")}),
    "a box that is lost": lambda a: a.update({n: v[1:] for n, v in a.items() if n.split(".")[-1] in ("lo", "hi")}),
    "shares": lambda a: a.update({n: v * 0.5 for n, v in a.items() if n.endswith("g0.share")}),
    "numbers that are none": lambda a: a.update({n: v * np.nan for n, v in a.items() if n.endswith("g0.hi")}),
    "bounds that are none": lambda a: a.update({n: v * np.nan for n, v in a.items() if n.endswith("g0.bound")}),
    "another type": lambda a: a.update({n: v.astype(np.float32) for n, v in a.items() if n.endswith("g0.lo")}),
    "arrays that are missing": lambda a: [a.pop(n) for n in list(a) if n.endswith("g0.node")] and None,
    "text that is none": lambda a: a.update(state=np.frombuffer(b"{]", np.uint8)),
    "another form": lambda a: a.update(state=np.frombuffer(b"[1]", np.uint8)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_refused(a_state: bytes, damage: str) -> None:
    arrays = _arrays(a_state)
    DAMAGES[damage](arrays)
    with pytest.raises(UsageError) as error:
        _resumed(_packed(arrays))
    assert error.value.code == "G17"


@pytest.mark.parametrize("data", [b"", b"PK", b"nonsense" * 100])
def test_no_state_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError) as error:
        _resumed(data)
    assert error.value.code == "G17"


def test_a_pipe_and_a_folder_are_no_state(tmp_path: Path) -> None:
    """In a process of its own: a pipe that is waited for is never come back from."""
    os.mkfifo(tmp_path / "pipe")
    text = "import sys; from pathlib import Path; from rewarden.resuming import _read; _read(Path(sys.argv[1]))"
    for file in (tmp_path / "pipe", tmp_path):
        ended = subprocess.run([sys.executable, "-c", text, str(file)], capture_output=True, text=True, timeout=60)
        assert f"{file} is not a regular file" in ended.stderr


def test_objects_and_packed_arrays_are_refused(a_state: bytes) -> None:
    pickled = io.BytesIO()
    np.savez(pickled, allow_pickle=True, state=np.array([{}], dtype=object))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("state.npy", b"\0" * 10**6)
    for data in (pickled.getvalue(), packed.getvalue(), a_state[: len(a_state) // 2]):
        with pytest.raises(UsageError) as error:
            _resumed(data)
        assert error.value.code == "G17"


def test_leaves_are_saved_with_all_that_they_hold() -> None:
    """A leaf that gains a field has to be saved with it, or a proof that was gone on with is another one."""
    multipliers = ((0, 1, Fraction(3, 4)),)
    leaf = Leaf(1, multipliers, ((2, 3, 128),), ((1, 0, 1, multipliers),), 1)
    assert [f.name for f in fields(Leaf)] == ["goal_atom", "multipliers", "slopes", "tight", "form"]
    assert saved_search._leaf_in(json.loads(json.dumps([7, *saved_search._leaf_out(leaf)]))) == leaf
