"""Does training with the penalty lower violations, and at what cost? On recorded driving, against two published logics.

Each row of the table is the preference learner of the demo with another extra loss, over several seeds (which also
draw the split of the data): the share of points that violate a rule, among 20,000 fresh points of each premise; how
many of the rules the verifier then proves; and accuracy on held-out preferences. Every loss gets as many points per
rule and step.

    rewarden           premise decided exactly, half of the points searched
    … no search        the same with all points uniform in the premise
    … margin           asks for a margin of 0.05, about a tenth of the reward's standard deviation
    DL2, fuzzy         logics.py, at points of the whole domain: what they are published for
    … in premises      the same losses at points of the premises, to tell the logic from the choice of points
"""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
import torch
from torch import Generator, Tensor

import rewarden as rw
from benchmarks.logics import Fuzzy, Logic, anywhere, dl2
from benchmarks.scene import Scene
from benchmarks.timing import Row, median_seconds
from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.learn_config import learn, load_learn_config
from rewarden.reward.learners.interface import Penalty as LearnerPenalty
from rewarden.reward.learners.interface import Run
from rewarden.reward.learners.options import PreferenceOptions
from rewarden.spec_lang.penalty.pointwise import penalty as violations
from rewarden.spec_lang.penalty.reading import Reading, asking
from rewarden.spec_lang.penalty.rewards import Bound, DataConstants, constants_in
from rewarden.spec_lang.penalty.spec_penalty import PenaltyOptions, penalty_of
from rewarden.spec_lang.sampling.points import Sampler, sample_rows
from rewarden.spec_lang.spec import Spec
from rewarden.verifier.options import VerifyOptions

RULES = (
    "tailgating_capped", "closing_in_capped", "speeding_capped", "close_calls_capped", "needless_stop_pays_less",
    "steady_near_close_calls", "braking_pays",
)  # fmt: skip
SEEDS = (1, 2, 3, 4, 5)
DENSE = 20_000
POINTS, RENEW, CONSTANTS = 256, 50, 5  # per rule; steps until other points, and until new data constants
MARGIN = 0.05  # a tenth of the reward's standard deviation
BUDGET = 20_000
Rewards = Callable[[Tensor], Tensor]
Extra = LearnerPenalty


class Present:
    """The reward that is being trained, whichever that is."""

    function: Rewards

    def __call__(self, rows: Tensor) -> Tensor:
        return self.function(rows)


def ours(steps: int, margin: float = 0.0) -> Callable[[Spec, int], Extra]:
    def make(spec: Spec, seed: int) -> Extra:
        present = Present()
        options = PenaltyOptions(POINTS, steps, RENEW, constants_every=CONSTANTS, margin=margin, seed=seed)
        penalty = penalty_of(spec, {"R": present}, rules=RULES, options=options)

        def extra(reward: Rewards, generator: Generator) -> Tensor:
            present.function = reward
            return penalty()

        return extra

    return make


def logic(make_logic: Callable[[], Logic], everywhere: bool) -> Callable[[Spec, int], Extra]:
    def make(spec: Spec, seed: int) -> Extra:
        read, present = make_logic(), Present()
        bound = Bound.of({"R": present})
        obligations = [spec.obligation(rule) for rule in RULES]
        samplers = [anywhere(o) if everywhere else Sampler(o, single=True) for o in obligations]
        constants = DataConstants(spec, bound, constants_in(obligations))
        points: list[Tensor] = []
        calls = 0

        def extra(reward: Rewards, generator: Generator) -> Tensor:
            nonlocal calls
            present.function = reward
            if calls % RENEW == 0:
                rng = np.random.default_rng([seed, calls])
                points[:] = [torch.from_numpy(sampler.draw(POINTS, rng).rows) for sampler in samplers]
            if calls % CONSTANTS == 0:
                constants.refresh()
            calls += 1
            asked = asking({"R": present}, torch.float32)
            readings = [Reading(x, asked, constants.values) for x in points]
            return torch.stack([read(o, r).mean() for o, r in zip(obligations, readings, strict=True)]).sum()

        return extra

    return make


WEIGHTS = (1.0, 10.0)
METHODS = (
    ("rewarden", ours(8)),
    ("rewarden, no search", ours(0)),
    ("rewarden, margin", ours(8, MARGIN)),
    ("rewarden, margin, no search", ours(0, MARGIN)),
    ("DL2", logic(lambda: dl2, True)),
    ("DL2 in premises", logic(lambda: dl2, False)),
    ("fuzzy", logic(Fuzzy, True)),
    ("fuzzy in premises", logic(Fuzzy, False)),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one learned reward. `rate` is the mean over rules of the share of points that violate, `worst` the highest
    share, `depth` the greatest violation at any point."""

    rate: float
    worst: float
    depth: float
    proved: int
    accuracy: float
    seconds: float


def penalty(scene: Scene) -> Iterator[Row]:
    """What it does, then what it costs."""
    torch.set_num_threads(1)
    dense = {rule: torch.from_numpy(sample_rows(scene.spec.obligation(rule), DENSE, 12345)) for rule in RULES}
    yield _row("no penalty", [outcome(scene, None, 0.0, seed, dense) for seed in SEEDS])
    for name, make in METHODS:
        for weight in WEIGHTS:
            found = [outcome(scene, make, weight, seed, dense) for seed in SEEDS]
            yield _row(f"{name}, weight {weight:g}", found)
    yield from steps(scene)


def _row(name: str, found: list[Outcome]) -> Row:
    middle = Outcome(*(statistics.median(getattr(o, f.name) for o in found) for f in fields(Outcome)))
    how = (
        f"worst rule {100 * middle.worst:.2f} %, greatest violation {middle.depth:.3f}, "
        f"{middle.proved:g} of {len(RULES)} rules proved, held-out accuracy {middle.accuracy:.4f}, "
        f"{middle.seconds:.0f} s to learn; medians of {len(found)} seeds"
    )
    return Row(name, f"{100 * middle.rate:.2f} % of points violate", how)


def outcome(
    scene: Scene, make: Callable[[Spec, int], Extra] | None, weight: float, seed: int, dense: Mapping[str, Tensor]
) -> Outcome:
    """Learns once, and measures."""
    config = load_learn_config(scene.folder / "preferences.toml")
    assert isinstance(config.options, PreferenceOptions)
    whole = replace(config.options, penalty_weight=weight, patience=config.options.epochs)  # no early stop for any
    start = time.perf_counter()
    extra = None if make is None else make(scene.spec, seed)
    artifact = learn(replace(config, options=whole), scene.spec.features["Step"], Run(seed, penalty=extra))
    seconds = time.perf_counter() - start
    assert artifact.learner is not None
    found = violations_at(scene.spec, artifact, dense)
    rates = [float((v > 0).double().mean()) for v in found.values()]
    result = rw.verify(scene.spec, VerifyOptions(budget=BUDGET), rules=RULES, rewards={"R": artifact})
    return Outcome(
        rate=statistics.mean(rates),
        worst=max(rates),
        depth=max(float(v.max()) for v in found.values()),
        proved=sum(rule.verdict.value == "proved" for rule in result.rules),
        accuracy=float(artifact.learner.record["accuracy, held out"].split()[0]),
        seconds=seconds,
    )


def violations_at(spec: Spec, artifact: Artifact, dense: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Per rule [n], by the deployed reward and its own data constants."""

    def deployed(rows: Tensor) -> Tensor:
        return torch.from_numpy(forward(artifact, rows.numpy().astype(np.float32)).copy())

    found = {}
    for rule, points in dense.items():
        obligation = spec.obligation(rule)
        constants = DataConstants(spec, Bound.of({"R": deployed}), constants_in([obligation]))
        constants.refresh()
        found[rule] = violations(obligation, {"R": deployed}, points, statistics=constants.values)
    return found


# ── what a step costs ──────────────────────────────────────────────────────────────────────────
def steps(scene: Scene) -> Iterator[Row]:
    """Forward and backward of the penalty against the bare reward's on as many records as there are points."""
    _keep_memory()
    record = scene.spec.features["Step"]
    columns = record.columns()
    lo, hi = torch.tensor([float(c.lo) for c in columns]), torch.tensor([float(c.hi) for c in columns])
    for hidden in (32, 256):
        torch.manual_seed(0)
        module = torch.nn.Sequential(
            torch.nn.Linear(record.width, hidden), torch.nn.ReLU(),
            torch.nn.Linear(hidden, hidden), torch.nn.ReLU(),
            torch.nn.Linear(hidden, 1),
        )  # fmt: skip
        for points in (256, 2048):
            rows = lo + torch.rand(points, record.width) * (hi - lo)
            for rule in ("speeding_capped", "needless_stop_pays_less"):
                options = PenaltyOptions(points, renew=0, constants_every=1_000_000)
                term = penalty_of(scene.spec, {"R": module}, rules=[rule], options=options)
                term()
                taken, bare = _both(partial(_step, module, term), partial(_step, module, lambda: module(rows).mean()))  # noqa: B023
                records = "one record" if rule == "speeding_capped" else "two records"
                yield Row(
                    f"penalty step, {records} a point, {points} points, {hidden} wide",
                    f"{taken / bare:.2f} × the bare reward's",
                    f"{1e3 * taken:.2f} ms against {1e3 * bare:.2f} ms, forward and backward; points at hand",
                )
    obligations = [scene.spec.obligation(rule) for rule in RULES]
    constants = DataConstants(scene.spec, Bound.of({"R": module}), constants_in(obligations))
    yield Row("data constants of 7 rules", f"{1e3 * median_seconds(constants.refresh):.2f} ms", "9,600 rows, 256 wide")
    drawn = median_seconds(penalty_of(scene.spec, {"R": module}, rules=RULES).sample)
    yield Row("points of 7 rules drawn anew", f"{drawn:.3f} s", "256 each, half of them searched in 8 steps")


def _keep_memory() -> None:
    """Tells glibc to keep freed buffers: at half a megabyte a layer, page faults would drown what is measured."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        for parameter, size in ((-1, 2**30), (-2, 2**28), (-3, 2**25)):  # trim threshold, top pad, mmap threshold
            libc.mallopt(parameter, size)


def _both(one: Callable[[], None], other: Callable[[], None]) -> tuple[float, float]:
    """Medians of two kinds of work done in turns, so that whatever else the machine does meets both."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(110):
        for work, taken in zip((one, other), times, strict=True):
            start = time.perf_counter()
            work()
            if turn >= 10:
                taken.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def _step(module: torch.nn.Module, loss: Callable[[], Tensor]) -> None:
    module.zero_grad()
    loss().backward()  # type: ignore[no-untyped-call]
