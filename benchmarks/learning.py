"""How fast learners train, against a plain torch loop; and what rules in the loss cost, and bring.

`learn` gives the same data to a learner and to the loop that anybody would write (`plain`), with the same network,
batches, epochs, precision and one thread. The learners do more (label noise, path norm, state of checkpoints, early
stopping): the comparison is of items per second of training.

`constraints` learns from recorded driving with the weight of the rules raised from 0: what share of each premise's
volume violates its rule, and what the held-out accuracy is.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import plain
from benchmarks.penalty import RULES, violations_at
from benchmarks.plain import HELD, KEPT, Plan
from benchmarks.scene import Scene
from benchmarks.timing import Row, median_seconds
from rewarden.constraints import SpecRules
from rewarden.learning import learn_from
from rewarden.reward.learn_config import learn as learn_config
from rewarden.reward.learn_config import load_learn_config
from rewarden.reward.learners.autoencoders import Autoencoders
from rewarden.reward.learners.energy import Energy
from rewarden.reward.learners.interface import Comparisons, Demonstrations, Judgements, Penalty, Run
from rewarden.reward.learners.labels import Labels
from rewarden.reward.learners.options import (
    AutoencoderOptions,
    ConstraintOptions,
    EnergyOptions,
    LabelOptions,
    PreferenceOptions,
)
from rewarden.reward.learners.preferences import Preferences
from rewarden.reward.segments import read_comparisons, read_demonstrations
from rewarden.spec_lang.sampling.points import sample_rows

EPOCHS, HIDDEN, WIDE, BATCH = 20, 32, 256, 256
WEIGHTS = (0.0, 0.1, 1.0, 10.0)
SEEDS = (1, 2, 3)
DENSE = 20_000
COMPARED = 500  # pairs: imitation takes them one at a time


def learn(scene: Scene) -> Iterator[Row]:
    """Learning both rewards of the demo; then the learner against a plain loop."""
    for name in ("preferences", "demonstrations"):
        config = scene.folder / f"{name}.toml"
        seconds = median_seconds(lambda config=config: learn_from(config), 3, 0)  # type: ignore[misc]
        yield Row(f"learn from {name}", f"{seconds:.2f} s", "in process")
    data = read_comparisons(scene.folder / "data" / "preferences.parquet", scene.spec.features["Step"])
    torch.set_num_threads(1)
    pairs = len(data.segments)
    for hidden in (HIDDEN, WIDE):
        for precision in ("single", "double"):
            plan = Plan(EPOCHS, hidden, BATCH, precision)
            yield _against(
                f"{pairs} pairs of 5 steps", plan, partial(_learner, data), partial(plain.pairs, data.segments)
            )
    demos = read_demonstrations(scene.folder / "data" / "demos.parquet", scene.spec.features["Step"])
    rows, worth = demos.rows, np.asarray(scene.rewards["R"].score(demos.rows), np.float64)
    judged = Judgements(demos.record, rows, worth)
    for hidden in (HIDDEN, WIDE):
        plan = Plan(EPOCHS, hidden, BATCH, "single")
        yield _against(f"{len(rows)} labels", plan, partial(_labels, judged), partial(plain.labels, rows, worth))
    plan = Plan(EPOCHS, HIDDEN, BATCH, "single")
    yield _against(f"{len(rows)} demonstrations (energy)", plan, partial(_energy, demos), partial(plain.energy, rows))
    plan = Plan(EPOCHS, AutoencoderOptions().hidden, BATCH, "single")
    what = f"{len(rows)} demonstrations (autoencoders, in binary64)"
    yield _against(what, plan, partial(_autoencoders, demos), partial(plain.autoencoders, rows))


def _against(what: str, plan: Plan, learner: Callable[[Plan], float], loop: Callable[[Plan], float]) -> Row:
    """The learner and the plain loop in turns, so that whatever else the machine does meets both."""
    found = [(learner(plan), loop(plan)) for _ in range(5)]
    one, other = (statistics.median(column) for column in zip(*found, strict=True))
    return Row(
        f"train on {what}, hidden layers of {plan.hidden}, {plan.precision} precision",
        f"{one / other:.2f} × the throughput of a plain loop in that precision",
        f"{one:,.0f} against {other:,.0f} a second of CPU time; batches of {plan.batch}, one thread, medians of 5",
    )


def _learner(data: Comparisons, plan: Plan) -> float:
    """Pairs per second of CPU time."""
    options = PreferenceOptions(**_common(plan), precision=plan.precision)
    return _rate(len(data.segments), lambda run: Preferences().fit(data, options, run))


def _labels(data: Judgements, plan: Plan) -> float:
    options = LabelOptions(**_common(plan), precision=plan.precision)
    return _rate(len(data.rows), lambda run: Labels().fit(data, options, run))


def _energy(data: Demonstrations, plan: Plan) -> float:
    options = EnergyOptions(**_common(plan), precision=plan.precision)
    return _rate(len(data.rows), lambda run: Energy().fit(data, options, run))


def _autoencoders(data: Demonstrations, plan: Plan) -> float:
    options = AutoencoderOptions(**_common(plan), warm_up=1)
    return _rate(len(data.rows), lambda run: Autoencoders().fit(data, options, run))


def _common(plan: Plan) -> dict[str, Any]:
    """No run stops early."""
    held = {"validation": HELD, "held_out": 1.0 - KEPT - HELD}
    return {"hidden": plan.hidden, "epochs": plan.epochs, "patience": plan.epochs, "batch": plan.batch, **held}


def _rate(items: int, fit: Callable[[Run], object]) -> float:
    """Items that are trained on, per second of CPU time, over the epochs after the first."""
    marks: list[float] = []
    fit(Run(1, progress=lambda *told: marks.append(time.process_time())))
    return KEPT * items * (len(marks) - 1) / (marks[-1] - marks[0])


def imitation(scene: Scene) -> Iterator[Row]:
    """The preference trainer of `imitation` on the same pairs and network; its Python is named in IMITATION_PYTHON."""
    python = os.environ.get("IMITATION_PYTHON")
    what = f"imitation's preference trainer, {COMPARED} pairs of 5 steps, {HIDDEN} × {HIDDEN}"
    if python is None:
        yield Row(what, "not measured", "set IMITATION_PYTHON (see benchmarks/imitation_trainer.py)")
        return
    data = read_comparisons(scene.folder / "data" / "preferences.parquet", scene.spec.features["Step"])
    script = Path(__file__).parent / "imitation_trainer.py"
    with tempfile.TemporaryDirectory() as name:
        np.savez(Path(name) / "pairs.npz", segments=data.segments[:COMPARED])
        command = [python, "-W", "ignore", str(script), str(Path(name) / "pairs.npz"), str(HIDDEN), "3", str(BATCH)]
        other = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])
    one = _learner(data, Plan(EPOCHS, HIDDEN, BATCH, PreferenceOptions().precision))
    yield Row(what, f"{one / other:.0f} × its throughput", f"{one:,.0f} against {other:,.0f} pairs/s of CPU time")


def constraints(scene: Scene) -> Iterator[Row]:
    """Violated volume and held-out accuracy against the weight of the rules, with and without witnesses fed back."""
    torch.set_num_threads(1)
    dense = {rule: torch.from_numpy(sample_rows(scene.spec.obligation(rule), DENSE, 12345)) for rule in RULES}
    for witnesses, weights, seeds in ((0, WEIGHTS, SEEDS), (5, WEIGHTS[1:], SEEDS[:1])):
        for weight in weights:
            found = [_constrained(scene, weight, seed, witnesses, dense) for seed in seeds]
            volume, accuracy, seconds = (statistics.median(column) for column in zip(*found, strict=True))
            fed = f", witnesses every {witnesses} epochs" if witnesses else ""
            yield Row(
                f"constraints of weight {weight:g}{fed}",
                f"{100 * volume:.2f} % of the premises' volume violates",
                f"held-out accuracy {accuracy:.4f}, {seconds:.0f} s to learn; {len(RULES)} rules, {DENSE:,} points "
                f"each, {'one seed' if len(seeds) == 1 else f'medians of {len(seeds)} seeds'}",
            )


def _constrained(
    scene: Scene, weight: float, seed: int, witnesses: int, dense: dict[str, torch.Tensor]
) -> tuple[float, float, float]:
    config = load_learn_config(scene.folder / "preferences.toml")
    assert isinstance(config.options, PreferenceOptions)
    record_type = scene.spec.features["Step"]
    rules: Penalty | None = None
    if weight:
        rules = SpecRules(scene.spec, record_type, ConstraintOptions("R", RULES, witnesses=witnesses), seed)
    start = time.perf_counter()
    options = replace(config.options, penalty_weight=weight or 1.0)
    artifact = learn_config(replace(config, options=options), record_type, Run(seed, penalty=rules))
    seconds = time.perf_counter() - start
    assert artifact.learner is not None
    rates = [float((v > 0).double().mean()) for v in violations_at(scene.spec, artifact, dense).values()]
    return float(np.mean(rates)), float(artifact.learner.record["accuracy, held out"].split()[0]), seconds
