"""The output layer, changed as little as possible: a quadratic program with cuts from counterexamples.

r(x) = w·φ(x) + b is linear in its last weights, φ being the layer below. So a rule at one point of its claim is a
linear inequality in Δ = (w' − w, b' − b), and what an edit moves is quadratic:

    minimise  mean over records of (Δ·φ(x))² + λ·|Δ|²   subject to  the rules, with a margin, at the points so far.

Points are sampled from the rules' claims (also of those that are proved), and what the verifier finds against the
result; the program is solved again until no sampled point violates, and verified again until the rules are proved. The
margin doubles from round to round: between the points the rule has to hold as well. Where the cuts cannot all be met,
no output layer does what the rules ask at those points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray

from rewarden.editor.history.stored import all_stored, with_patch
from rewarden.editor.mend import EditReport
from rewarden.editor.methods.moved import moved
from rewarden.editor.methods.task import Edited, Task
from rewarden.reward.agreement import random_rows
from rewarden.reward.artifact import Artifact, Edit
from rewarden.reward.deployed import forward
from rewarden.reward.graph import AffineMap
from rewarden.spec_lang.claim import Affine, Claim
from rewarden.spec_lang.errors import EditError, RewardenError
from rewarden.verifier.witness import Witness

Array = NDArray[np.float64]

ROUNDS, SOLVES = 8, 12
RECORDS = 10_000  # of the domain, over which the change is weighed
SAMPLED, CUTS = 4_000, 64  # points of each claim, and of them the worst that become cuts at once
MARGIN = 0.002  # of the reward's spread over the domain, at first
RIDGE = 1e-6  # λ, of the mean of φ²
MOST_WIDTH = 512  # of φ: the Hessian is dense


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The last layer of a reward."""

    node: AffineMap

    def features(self, artifact: Artifact, rows: NDArray[np.float32]) -> Array:
        """φ and a 1 for the bias: [row, width + 1]."""
        width = artifact.tensors[self.node.weight].shape[1]
        columns = []
        for k in range(width):
            pick = np.zeros((1, width), np.float32)
            pick[0, k] = 1.0
            tensors = {**artifact.tensors, self.node.weight: pick, self.node.bias: np.zeros(1, np.float32)}
            columns.append(forward(replace(artifact, tensors=tensors), rows).astype(np.float64))
        return np.stack([*columns, np.ones(len(rows))], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Points of a claim as cuts: `rows[i]·Δ >= margin − value[i]`."""

    rows: Array
    value: Array


@dataclass(frozen=True, slots=True, eq=False)
class Sought:
    """What a round asks for: the failing rules with a margin, at these witnesses too; those that are `kept` without."""

    margin: float
    witnesses: tuple[tuple[str, Witness], ...]
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LastLayer:
    name: str = "last-layer"
    guarantee: str = "verified; the output weights move as little as the rules allow, by no more than is proved"

    def edit(self, task: Task) -> Edited:
        artifact = task.artifact.with_patches(())
        head = head_of(artifact)
        rows = random_rows([record.type for record in artifact.records], RECORDS, 1)
        phi = head.features(artifact, rows)
        spread = max(float(forward(artifact, rows).std()), 1e-6)
        hessian = phi.T @ phi / len(phi)
        hessian += RIDGE * max(float(np.trace(hessian)) / len(hessian), 1e-9) * np.eye(len(hessian))
        proved = [r.rule for r in task.before.rules if r.verdict == "proved"]
        kept = [rule for rule in proved if task.target in task.spec.rule(rule).rewards]
        found = [(r.rule, r.witness) for r in task.before.rules if r.rule in task.rules and r.witness is not None]
        delta, margin = np.zeros(len(hessian)), MARGIN * spread
        for number in range(ROUNDS):
            sought = Sought(margin, tuple(found), tuple(kept))
            child, delta = self._solved(task, artifact, head, hessian, sought, delta)
            after = task.mender.verify({**task.rewards, task.target: child}, [*task.rules, *proved])
            task.progress(self.name, number + 1, ROUNDS)
            open_ = [rule for rule in (*task.rules, *proved) if after[rule].verdict != "proved"]
            if not open_:
                return Edited(_said(child, task), (EditReport(", ".join(task.rules), task.target, ()),))
            found += [(r.rule, r.witness) for r in after.rules if r.rule in open_ and r.witness is not None]
            margin *= 2
        raise EditError(
            "E14", f"after {ROUNDS} rounds of {self.name} not proved: {', '.join(open_)}",
            help="give the verifier a larger --budget, or take --method tuning",
        )  # fmt: skip

    @staticmethod
    def _solved(
        task: Task, artifact: Artifact, head: Head, hessian: Array, sought: Sought, delta: Array
    ) -> tuple[Artifact, Array]:
        """The least change that keeps the rules at all sampled points and witnesses so far."""
        now = {**task.rewards, task.target: artifact}
        cuts: list[Points] = []
        pools = []
        for rule in (*task.rules, *sought.kept):
            try:
                claim = task.claim(rule, now)
            except RewardenError:
                continue  # without a claim of points: verification alone judges it
            wanted = sought.margin if rule in task.rules else 0.0
            pools.append((_points(claim, now, task.target, head, _sampled(claim)), wanted))
            seen = [[float(v) for v in witness.point] for name, witness in sought.witnesses if name == rule]
            if seen:
                at = _points(claim, now, task.target, head, np.array(seen))
                cuts.append(replace(at, value=at.value - wanted))
        for _ in range(SOLVES):
            for pool, wanted in pools:
                slack = pool.rows @ delta + pool.value - wanted
                worst = np.argsort(slack)[:CUTS]
                worst = worst[slack[worst] < -1e-9]
                if len(worst):
                    cuts.append(Points(pool.rows[worst], pool.value[worst] - wanted))
            if not cuts:
                break
            tried = solve(hessian, np.concatenate([c.rows for c in cuts]), -np.concatenate([c.value for c in cuts]))
            if np.allclose(tried, delta, rtol=1e-9, atol=1e-12):
                break
            delta = tried
        return _with(artifact, head, delta, task), delta


def head_of(artifact: Artifact) -> Head:
    """Raises EditError E13 where the network does not end in a linear layer of moderate width."""
    node = artifact.graph.nodes[artifact.graph.output]
    if not isinstance(node, AffineMap) or artifact.tensors[node.weight].shape[1] > MOST_WIDTH:
        raise EditError("E13", "the network does not end in a linear layer", help="use --method tuning")
    users = sum(getattr(n, "weight", None) == node.weight for n in artifact.graph.nodes)
    if users != 1:
        raise EditError("E13", "the last layer's weights are those of another layer too", help="use --method tuning")
    return Head(node)


def _sampled(claim: Claim) -> Array:
    """Points of the claim's boxes that satisfy its premise, as far as that reads no reward: [point, variable]."""
    rng = np.random.default_rng(0)
    boxes = [claim.boxes[k] for k in rng.integers(0, len(claim.boxes), min(len(claim.boxes), 256))]
    lo = np.array([[float(a) for a, _ in box] for box in boxes])
    hi = np.array([[float(b) for _, b in box] for box in boxes])
    which = rng.integers(0, len(boxes), SAMPLED)
    x = lo[which] + rng.random((SAMPLED, lo.shape[1])) * (hi - lo)[which]
    whole = np.array([v.discrete for v in claim.variables])
    inside: Array = np.where(whole, np.rint(x), x)
    keep = np.ones(len(inside), np.bool_)
    for clause in claim.clauses:
        plain = [atom for atom in clause if not atom.affine.calls]
        if len(plain) == len(clause):
            keep &= np.any([_value(atom.affine, inside) >= 0 for atom in plain], axis=0)
    found: Array = inside[keep]
    return found


def _value(affine: Affine, x: Array) -> Array:
    total: Array = np.full(len(x), float(affine.constant))
    for j, c in affine.variables:
        total += float(c) * x[:, j]
    return total


def _points(claim: Claim, rewards: Mapping[str, Artifact], target: str, head: Head, x: Array) -> Points:
    """Each goal at each point, by the atom that is nearest to holding."""
    values, gradients = [], []
    width = rewards[target].tensors[head.node.weight].shape[1] + 1
    for call in claim.calls:
        rows = np.stack([_value(argument, x) for argument in call.arguments], axis=1).astype(np.float32)
        values.append(forward(rewards[call.reward], rows).astype(np.float64))
        own = call.reward == target
        gradients.append(head.features(rewards[target], rows) if own else np.zeros((len(x), width)))
    found_rows, found_values = [], []
    for goal in claim.goals:
        margins = np.stack([
            _value(atom.affine, x) + sum((float(c) * values[k] for k, c in atom.affine.calls), np.zeros(len(x)))
            for atom in goal
        ])  # fmt: skip
        slopes = np.stack([
            sum((float(c) * gradients[k] for k, c in atom.affine.calls), np.zeros((len(x), width))) for atom in goal
        ])  # fmt: skip
        best, at = margins.argmax(axis=0), np.arange(len(x))
        found_values.append(margins[best, at])
        found_rows.append(slopes[best, at])
    return Points(np.concatenate(found_rows), np.concatenate(found_values))


def solve(hessian: Array, rows: Array, least: Array) -> Array:
    """The Δ that minimises Δᵀ·H·Δ subject to rows·Δ >= least. EditError E14 where there is none."""
    n = len(hessian)
    scale = 1.0 / np.sqrt(np.maximum(np.diag(hessian), 1e-300))  # columns of like size
    size = np.maximum(np.abs(rows * scale).max(axis=1), 1e-12)
    matrix, bound = rows * scale / size[:, None], least / size
    model = highspy.HighsModel()
    lp, q = model.lp_, model.hessian_
    lp.num_col_, lp.num_row_ = n, len(matrix)
    lp.col_cost_ = np.zeros(n)
    lp.col_lower_, lp.col_upper_ = np.full(n, -highspy.kHighsInf), np.full(n, highspy.kHighsInf)
    lp.row_lower_, lp.row_upper_ = bound, np.full(len(bound), highspy.kHighsInf)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.arange(0, n * len(matrix) + 1, n)
    lp.a_matrix_.index_ = np.tile(np.arange(n), len(matrix))
    lp.a_matrix_.value_ = matrix.ravel()
    scaled = hessian * scale[:, None] * scale[None, :]
    lower = [(i, j) for j in range(n) for i in range(j, n)]  # lower triangle, by columns
    q.dim_ = n
    q.format_ = highspy.HessianFormat.kTriangular
    q.start_ = np.cumsum([0, *(n - j for j in range(n))])
    q.index_ = np.array([i for i, _ in lower])
    q.value_ = np.array([scaled[i, j] for i, j in lower])
    solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    solver.passModel(model)
    solver.run()
    status = solver.getModelStatus()
    if status != highspy.HighsModelStatus.kOptimal:
        raise EditError(
            "E14", f"no output layer keeps the rules at the points found: {solver.modelStatusToString(status)}",
            help="take --method tuning, which moves all weights, or a patch",
        )  # fmt: skip
    found: Array = np.array(solver.getSolution().col_value) * scale
    return found


def _with(artifact: Artifact, head: Head, delta: Array, task: Task) -> Artifact:
    weight, bias = artifact.tensors[head.node.weight], artifact.tensors[head.node.bias]
    tensors = {
        head.node.weight: (weight.astype(np.float64) + delta[None, :-1]).astype(np.float32),
        head.node.bias: (bias.astype(np.float64) + delta[-1:]).astype(np.float32),
    }
    child = replace(artifact, tensors={**artifact.tensors, **tensors})
    for patch in all_stored(task.artifact):
        child = with_patch(child, patch, task.mender.extremum)
    return child


def _said(child: Artifact, task: Task) -> Artifact:
    said = {
        "fix": f"{', '.join(task.rules)}: proved of these output weights by verification",
        "locality": moved(child, task.artifact),
    }
    return replace(child, parent=task.artifact.digest, edit=Edit("last-layer", ", ".join(task.rules), said))
