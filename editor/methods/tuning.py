"""All weights, trained to keep the rules and to move nothing else; accepted only if the rules are then proved.

The network keeps its shape. The loss is how far the reward moves, over points of the domain, plus the rules' penalties
(`spec_lang/penalty`) with a margin; what the verifier finds against a rule becomes a point of its penalty, and the
rules' weight doubles from round to round. Locality is not to be had this way: the edit says how far records moved, and
what no record exceeds (`moved`). Patches stay on top, with slopes for what is now below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.editor.history.stored import all_stored, with_patch
from rewarden.editor.mend import EditReport
from rewarden.editor.methods.moved import moved
from rewarden.editor.methods.task import Edited, Task
from rewarden.editor.pace import paced
from rewarden.editor.unlearn.differentiable import evaluate, trainable
from rewarden.reward.agreement import random_rows
from rewarden.reward.artifact import Artifact, Edit
from rewarden.reward.deployed import forward
from rewarden.reward.training import deterministic, tensor64
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.penalty.spec_penalty import PenaltyOptions

Rows = NDArray[np.float32]

ROUNDS, STEPS, POINTS = 8, 300, 512
PACE = 0.01  # of a weight's size, at first
MARGIN = 0.01  # of the reward's spread over the domain, by which rules are to be kept; doubled as weights are
SAMPLED = 20_000


@dataclass(frozen=True, slots=True)
class Tuning:
    name: str = "tuning"
    guarantee: str = "verified; all weights move, the shape stays, and no record moves by more than is proved"

    def edit(self, task: Task) -> Edited:
        artifact = task.artifact
        if any(set(task.spec.rule(rule).rewards) != {task.target} for rule in task.rules):
            raise EditError("E13", "tuning takes rules about the edited reward alone", help="name rules with --rule")
        names = trainable(artifact.graph)
        if not names:
            raise EditError("E23", "the network has no weights to tune", help="use --method region")
        rows = random_rows([record.type for record in artifact.records], SAMPLED, 1)
        spread = max(float(forward(artifact, rows).std()), 1e-6)
        proved = [r.rule for r in task.before.rules if r.verdict == "proved"]
        with deterministic(0) as generator:
            fixed = {name: tensor64(value) for name, value in artifact.tensors.items()}
            parameters = [fixed[name].clone().requires_grad_() for name in names]

            def reward(x: Tensor) -> Tensor:
                tensors = {**fixed, **dict(zip(names, parameters, strict=True))}
                return evaluate(artifact.graph, tensors, x.to(torch.float64))

            weight, margin = 1.0, MARGIN * spread
            found: list[tuple[str, Any]] = []
            for number in range(ROUNDS):
                penalty = task.spec.penalty(
                    {task.target: reward}, rules=task.rules, options=PenaltyOptions(margin=margin, seed=number)
                )
                for rule, values in found:
                    penalty.add_points(rule, values)
                self._train(parameters, reward, penalty, rows, artifact, spread, weight, generator)
                task.progress("tuning", number + 1, ROUNDS)
                child = _child(artifact, names, parameters, task)
                after = task.mender.verify({**task.rewards, task.target: child}, [*task.rules, *proved])
                if all(after[rule].verdict == "proved" for rule in (*task.rules, *proved)):
                    return Edited(self._said(child, task), (EditReport(", ".join(task.rules), task.target, ()),))
                found += [(r.rule, r.witness.values()) for r in after.rules if r.rule in task.rules and r.witness]
                weight, margin = 2 * weight, 2 * margin
        left = ", ".join(rule for rule in (*task.rules, *proved) if after[rule].verdict != "proved")
        raise EditError(
            "E14",
            f"after {ROUNDS} rounds of {self.name} not proved: {left}",
            help="give the verifier a larger --budget, or learn the reward anew with the rules in its loss",
        )

    @staticmethod
    def _train(
        parameters: list[Tensor],
        reward: Callable[[Tensor], Tensor],
        penalty: Callable[[], Tensor],
        rows: Rows,
        artifact: Artifact,
        spread: float,
        weight: float,
        generator: torch.Generator,
    ) -> None:
        optimiser, schedule = paced(parameters, PACE, STEPS)
        wanted = tensor64(forward(artifact.with_patches(()), rows))
        points = tensor64(rows)
        for _ in range(STEPS):
            some = torch.randint(len(points), (POINTS,), generator=generator)
            drift = (((reward(points[some]) - wanted[some]) / spread) ** 2).mean()
            loss = drift + weight * penalty() / spread
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()

    def _said(self, child: Artifact, task: Task) -> Artifact:
        said = {
            "fix": f"{', '.join(task.rules)}: proved of these weights by verification",
            "locality": moved(child, task.artifact),
        }
        return replace(child, parent=task.artifact.digest, edit=Edit(self.name, ", ".join(task.rules), said))


def _child(artifact: Artifact, names: list[str], parameters: list[Tensor], task: Task) -> Artifact:
    tensors = {n: p.detach().numpy().astype(np.float32) for n, p in zip(names, parameters, strict=True)}
    child = replace(artifact.with_patches(()), tensors={**artifact.with_patches(()).tensors, **tensors})
    for patch in all_stored(artifact):
        child = with_patch(child, patch, task.mender.extremum)
    return child
