"""How fast learners train, against a plain torch loop; and what rules in the loss cost, and bring.

`learn` gives the same pairs to the preference learner and to the loop that anybody would write: `torch.nn.Sequential`,
`torch.optim.AdamW`, batches by a permutation, one Bradley-Terry loss, the same network, batches, epochs and
thread, precision, a validation loss after each epoch. The learner does more (label noise, path norm, state of
checkpoints, early stopping): the comparison is of pairs per second of training.

`constraints` learns from recorded driving with the weight of the rules raised from 0: what share of each premise's
volume violates its rule, and what the held-out accuracy is.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.penalty import RULES, violations_at
from benchmarks.scene import Scene
from benchmarks.timing import Row, median_seconds
from rewarden.constraints import SpecRules
from rewarden.learning import learn_from
from rewarden.reward.learn_config import learn as learn_config
from rewarden.reward.learn_config import load_learn_config
from rewarden.reward.learners.interface import Comparisons, Penalty, Run
from rewarden.reward.learners.options import ConstraintOptions, PreferenceOptions
from rewarden.reward.learners.preferences import Preferences
from rewarden.reward.segments import read_comparisons
from rewarden.spec_lang.sampling.points import sample_rows

EPOCHS, HIDDEN, BATCH = 20, 32, 256
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
    for hidden in (HIDDEN, 256):
        for precision in ("single", "double"):
            ours, plain = [], []
            for _ in range(5):  # in turns, so that whatever else the machine does meets both
                ours.append(_learner(data, hidden, precision))
                plain.append(_plain(data, hidden, precision))
            one, other = statistics.median(ours), statistics.median(plain)
            usual = " (the default)" if precision == PreferenceOptions().precision else ""
            yield Row(
                f"train on {len(data.segments)} pairs of 5 steps, {hidden} × {hidden}, {precision} precision{usual}",
                f"{one / other:.2f} × the throughput of a plain loop in that precision",
                f"{one:,.0f} against {other:,.0f} pairs/s of CPU time; batches of {BATCH}, one thread, medians of 5",
            )


def _learner(data: Comparisons, hidden: int, precision: str) -> float:
    """Pairs per second of CPU time."""
    options = PreferenceOptions(hidden=hidden, epochs=EPOCHS, patience=EPOCHS, batch=BATCH, precision=precision)
    marks: list[float] = []
    Preferences().fit(data, options, Run(1, progress=lambda *told: marks.append(time.process_time())))
    kept = len(data.segments) * (1 - options.validation - options.held_out)
    return kept * (len(marks) - 1) / (marks[-1] - marks[0])


def _plain(data: Comparisons, hidden: int, precision: str) -> float:
    """Pairs per second of the loop that anybody would write."""
    torch.manual_seed(1)
    kind = torch.float32 if precision == "single" else torch.float64
    z = torch.from_numpy((data.segments - data.segments.mean((0, 1, 2))) / data.segments.std((0, 1, 2))).to(kind)
    width = z.shape[-1]
    module = torch.nn.Sequential(
        torch.nn.Linear(width, hidden), torch.nn.ReLU(),
        torch.nn.Linear(hidden, hidden), torch.nn.ReLU(),
        torch.nn.Linear(hidden, 1),
    ).to(kind)  # fmt: skip
    optimiser = torch.optim.AdamW(module.parameters(), lr=0.005)
    cut = int(len(z) * 0.75)
    kept, held = z[:cut], z[cut : cut + len(z) // 10]

    def loss_of(pairs: torch.Tensor) -> torch.Tensor:
        sums = module(pairs).squeeze(-1).sum(dim=2)
        return torch.nn.functional.softplus(sums[:, 1] - sums[:, 0]).mean()

    start = 0.0
    for epoch in range(EPOCHS):
        if epoch == 1:
            start = time.process_time()
        for items in torch.split(torch.randperm(len(kept)), BATCH):
            optimiser.zero_grad()
            loss = loss_of(kept[items])
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        with torch.no_grad():
            loss_of(held)
    return len(kept) * (EPOCHS - 1) / (time.process_time() - start)


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
    one = _learner(data, HIDDEN, PreferenceOptions().precision)
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
