"""Small claims with proofs, certificates made of them, and a judge of their truth that shares no code with the kernel.

`prove` is a slow prover: it bisects, and asks the kernel about a handful of candidate leaves. Its proofs are meant to
be attacked. `counterexample` looks for a point at which a claim is exactly false, with the artifact's own exact
evaluator.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from rewarden.certificate.kernel_artifact import load_reward
from rewarden.certificate.kernel_claim import Atom, Claim, read_claim
from rewarden.certificate.kernel_json import Refused, canonical, digest
from rewarden.certificate.kernel_patches import Gated
from rewarden.certificate.kernel_program import Program, inline
from rewarden.certificate.kernel_proof import Leaf, check_leaf
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.balls import interval
from rewarden.reward.deployed import forward
from rewarden.reward.exact import evaluate as evaluate_exactly
from rewarden.reward.graph import AffineMap, Graph, Input, Patch, Relu
from rewarden.reward.store import zip_bytes
from rewarden.spec_lang.features import Feature, RecordType

Json = Any
Number = int | str | Fraction


# ── claims, as JSON ────────────────────────────────────────────────────────────────────────────
def rational(x: Number) -> str:
    value = Fraction(x)
    return str(value.numerator) if value.denominator == 1 else f"{value.numerator}/{value.denominator}"


def affine(
    constant: Number = 0, variables: Mapping[int, Number] | None = None, calls: Mapping[int, Number] | None = None
) -> Json:
    return {
        "constant": rational(constant),
        "variables": [[k, rational(c)] for k, c in sorted((variables or {}).items())],
        "calls": [[k, rational(c)] for k, c in sorted((calls or {}).items())],
    }


def atom(form: Json, strict: bool = False) -> Json:
    return {"affine": form, "strict": strict}


def claim(
    rewards: Mapping[str, str],
    calls: Sequence[tuple[str, Sequence[int]]],
    goals: Sequence[Sequence[Json]],
    boxes: Sequence[Sequence[tuple[Number, Number]]],
    clauses: Sequence[Sequence[Json]] = (),
    discrete: Sequence[int] = (),
    rule: str = "rule",
) -> Json:
    """A claim whose calls read plain variables."""
    n = len(boxes[0])
    return {
        "rule": rule,
        "severity": "must",
        "variables": [{"name": f"s.x{k}", "unit": None, "discrete": k in discrete} for k in range(n)],
        "records": [{"name": "s", "type": "S", "variables": list(range(n))}],
        "rewards": dict(rewards),
        "calls": [{"reward": r, "arguments": [affine(0, {k: 1}) for k in arguments]} for r, arguments in calls],
        "clauses": copy.deepcopy([list(c) for c in clauses]),
        "goals": copy.deepcopy([list(g) for g in goals]),
        "boxes": [[[rational(lo), rational(hi)] for lo, hi in box] for box in boxes],
        "instances": None,
        "constants": [],
    }


def claims_file(*claims: Json) -> bytes:
    ordered = sorted(claims, key=lambda c: str(c["rule"]))
    return canonical({"format": "rewarden-claims", "format_version": 1, "claims": ordered})


# ── artifacts ──────────────────────────────────────────────────────────────────────────────────
def schema(width: int) -> RecordType:
    return RecordType("S", tuple(Feature(f"x{k}", "real", Fraction(-8), Fraction(8)) for k in range(width)))


def network(seed: int, width: int = 2, hidden: Sequence[int] = (4, 3)) -> Artifact:
    """A small ReLU network; weights are multiples of 1/8, so that ties and exact zeros occur."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, Any] = {}
    nodes: list[Any] = [Input()]
    n = width
    for k, m in enumerate((*hidden, 1)):
        tensors[f"w{k}"] = (np.round(rng.normal(size=(m, n)) * 8) / 8).astype(np.float32)
        tensors[f"b{k}"] = (np.round(rng.normal(size=m) * 4) / 8).astype(np.float32)
        nodes.append(AffineMap(len(nodes) - 1, f"w{k}", f"b{k}"))
        if k < len(hidden):
            nodes.append(Relu(len(nodes) - 1))
        n = m
    return Artifact((RewardRecord("s", schema(width)),), Graph(tuple(nodes), len(nodes) - 1), tensors, "exact")


def patched(
    base: Artifact, rows: Sequence[Sequence[float]], offsets: Sequence[float], level: float, slope: float
) -> Artifact:
    """`base` with a ceiling on the region rows·x ≤ offsets, its gate at 1."""
    values = {"rows": rows, "offsets": offsets, "level": [level], "slope": [slope], "delta": [0.0], "gate": [1.0]}
    tensors = {f"p.{name}": np.asarray(v, dtype=np.float32) for name, v in values.items()}
    names = {name: f"p.{name}" for name in values}
    patch = Patch(kind="ceiling", rule="rule", **names)
    return Artifact(base.records, base.graph, {**base.tensors, **tensors}, "exact", patches=(*base.patches, patch))


# ── certificates ───────────────────────────────────────────────────────────────────────────────
@dataclass
class Case:
    """One claim, its proof and its artifacts; `rebind` mends digests after a change, as a forger would."""

    claim: Json
    proof: Json
    artifacts: dict[str, Artifact] = field(default_factory=dict)

    def copy(self) -> Case:
        return Case(copy.deepcopy(self.claim), copy.deepcopy(self.proof), dict(self.artifacts))

    def rebind(self) -> Case:
        names = self.claim["rewards"]
        self.claim["rewards"] = {n: self.artifacts[n].digest if n in self.artifacts else d for n, d in names.items()}
        if isinstance(self.proof, dict) and "claim" in self.proof:
            self.proof["claim"] = digest(canonical(self.claim))
        return self

    def write(self, folder: Path) -> dict[str, Path]:
        """Write the certificate and the artifacts; returns where the artifacts are, by name."""
        (folder / "proofs").mkdir(parents=True, exist_ok=True)
        (folder / "claims.json").write_bytes(claims_file(self.claim))
        (folder / "proofs" / f"{self.claim['rule']}.json").write_bytes(
            json.dumps(self.proof, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        )
        paths = {}
        for name, artifact in self.artifacts.items():
            paths[name] = folder.parent / f"{artifact.digest[7:23]}.rwz"
            if not paths[name].exists():
                paths[name].write_bytes(zip_bytes(artifact))
        return paths


def kernel_program(claim_json: Json, artifacts: Mapping[str, Artifact], folder: Path) -> tuple[Claim, Program]:
    """What the kernel makes of a claim."""
    read = read_claim(claim_json)
    rewards = {}
    for name, artifact in artifacts.items():
        path = folder / f"{artifact.digest[7:23]}.rwz"
        path.write_bytes(zip_bytes(artifact))
        rewards[name] = load_reward(path)
    return read, inline(len(read.names), [(rewards[name], arguments) for name, arguments in read.calls])


# ── a slow prover ──────────────────────────────────────────────────────────────────────────────
def prove(claim_json: Json, artifacts: Mapping[str, Artifact], folder: Path, depth: int = 10) -> Json:
    """A proof, or None. Bisects the widest variable until one of a few candidate leaves is accepted."""
    read, program = kernel_program(claim_json, artifacts, folder)
    witness = _witness(claim_json, artifacts)
    if witness is None:
        return None
    trees = []
    for goal in range(len(read.goals)):
        per_box = []
        for box in range(len(read.boxes)):
            nodes: list[Json] = []
            low, high = (tuple(pair[side] for pair in read.boxes[box]) for side in (0, 1))
            root = Leaf(goal, box, read.goals[goal], low, high, (), (), [])
            for clause in read.clauses:
                root = _less(root, clause[0], read.discrete) if len(clause) == 1 else root
            if not _grow(read, program, root, depth, nodes):
                return None
            per_box.append(nodes)
        trees.append(per_box)
    return {
        "format": "rewarden-proof",
        "format_version": 1,
        "claim": read.digest,
        "witness": witness,
        "goals": trees,
    }


def _less(branch: Leaf, fact: Atom, discrete: Sequence[bool]) -> Leaf:
    """The branch's cell less what a fact of one variable excludes (docs/formats.md, "cell")."""
    if fact.form.calls or len(fact.form.variables) != 1:
        return branch
    ((k, slope),) = fact.form.variables
    edge = Fraction(-fact.form.constant, slope)
    up = slope > 0
    if discrete[k]:
        beyond = fact.strict and edge.denominator == 1  # a whole edge that the fact itself excludes
        edge = Fraction(edge.__ceil__() + beyond if up else edge.__floor__() - beyond)
    low, high = list(branch.low), list(branch.high)
    low[k], high[k] = (max(low[k], edge), high[k]) if up else (low[k], min(high[k], edge))
    return branch._replace(low=tuple(low), high=tuple(high))


def _grow(read: Claim, program: Program, branch: Leaf, depth: int, nodes: list[Json]) -> bool:
    """Append the tree of a branch, in preorder; False if the depth does not suffice."""
    if any(low > high for low, high in zip(branch.low, branch.high, strict=True)):
        nodes.append(["leaf", -1, [], [], []])  # its facts leave nothing
        return True
    chosen = {k for k, _ in branch.cases}
    split = [k for k, clause in enumerate(read.clauses) if len(clause) > 1 and k not in chosen]
    if split:
        nodes.append(["case", split[0]])
        children = [
            _less(branch._replace(cases=(*branch.cases, (split[0], i))), fact, read.discrete)
            for i, fact in enumerate(read.clauses[split[0]])
        ]
        return all(_grow(read, program, child, depth, nodes) for child in children)
    for body in _candidates(read, program, branch):
        try:
            check_leaf(read, program, branch._replace(body=body))
        except Refused:
            continue
        nodes.append(["leaf", *body])
        return True
    widths = [h - w for w, h in zip(branch.low, branch.high, strict=True)]
    k = widths.index(max(widths))
    if depth == 0 or not widths[k]:
        return False
    cut = (branch.low[k] + branch.high[k]) / 2
    nodes.append(["cut", k, rational(cut)])
    whole = read.discrete[k]
    left, right = (Fraction(cut.__floor__()), Fraction(cut.__floor__() + 1)) if whole else (cut, cut)
    return _grow(
        read, program, branch._replace(high=(*branch.high[:k], left, *branch.high[k + 1 :])), depth - 1, nodes
    ) and _grow(read, program, branch._replace(low=(*branch.low[:k], right, *branch.low[k + 1 :])), depth - 1, nodes)


def _candidates(read: Claim, program: Program, branch: Leaf) -> Iterator[list[Json]]:
    """Leaf bodies to try: every goal atom and none, no fact or one, default or flat slopes, no tight bounds or many."""
    facts = [(k, 0) for k, clause in enumerate(read.clauses) if len(clause) == 1] + list(branch.cases)
    plain = [(k, i) for k, i in facts if not read.clauses[k][i].form.calls]
    tight = [
        [layer, row, 1, [[k, i, [m, 0]]]]
        for layer in sorted({one.gate_layer for one in program.layers if isinstance(one, Gated)})
        for row in range(program.width(layer))
        for k, i in plain[row : row + 1] or plain[:1]
        for m in (1,)
    ]
    flat = [
        [k, i, 0] for k, layer in enumerate(program.layers) if layer.kind == "relu" for i in range(program.width(k))
    ]
    weights = [[1, -2], [1, -1], [1, 0], [1, 1], [1, 2], [1, 4]]
    for goal in (*range(len(read.goals[branch.goal])), -1):
        for multipliers in ([], *([[k, i, w]] for k, i in facts for w in weights)):
            yield [goal, multipliers, [], []]
            if tight:
                yield [goal, multipliers, [], tight]
            if not multipliers:
                yield [goal, multipliers, flat, []]


# ── truth ──────────────────────────────────────────────────────────────────────────────────────
Point = tuple[int, list[Fraction]]


def evaluate(artifact: Artifact, x: Sequence[Fraction]) -> Fraction:
    """The reward, exactly; of a smooth one a number that is off by less than 2^-150 or so."""
    if not artifact.smooth:
        return evaluate_exactly(artifact, x)
    low, high = interval(artifact, x, 256)
    return (low + high) / 2


def holds(claim_json: Json, artifacts: Mapping[str, Artifact], x: Sequence[Fraction]) -> tuple[bool, bool]:
    """(premise, conclusion) at a point, exactly, by the artifacts' own evaluator."""

    def value(form: Json, outputs: Sequence[Fraction]) -> Fraction:
        total = Fraction(form["constant"])
        total += sum((Fraction(c) * x[k] for k, c in form["variables"]), Fraction(0))
        return total + sum((Fraction(c) * outputs[k] for k, c in form["calls"]), Fraction(0))

    outputs = [
        evaluate(artifacts[call["reward"]], [value(a, ()) for a in call["arguments"]]) for call in claim_json["calls"]
    ]

    def true(a: Json) -> bool:
        v = value(a["affine"], outputs)
        return v > 0 if a["strict"] else v >= 0

    return all(any(map(true, c)) for c in claim_json["clauses"]), all(any(map(true, g)) for g in claim_json["goals"])


def candidate_points(claim_json: Json, artifacts: Mapping[str, Artifact], keep: int = 60) -> Iterator[Point]:
    """Points of the boxes: corners, a coarse grid, and those of a dense float32 scan that look worst for a goal."""
    discrete = [v["discrete"] for v in claim_json["variables"]]
    for index, box in enumerate(claim_json["boxes"]):
        ends = [(Fraction(lo), Fraction(hi)) for lo, hi in box]
        ends = [
            (Fraction(lo.__ceil__()), Fraction(hi.__floor__())) if d else (lo, hi)
            for (lo, hi), d in zip(ends, discrete, strict=True)
        ]
        if any(lo > hi for lo, hi in ends):
            continue
        scan = _scan(ends, discrete)
        worst = _worst(claim_json, artifacts, scan, keep)
        corners = scan[: 3 ** min(len(ends), 4)]
        for row in np.concatenate([corners, scan[worst]]):
            # the scan is in sixty-fourths of each range, so these are exact
            x = [lo + (hi - lo) * Fraction(int(t), 64) for t, (lo, hi) in zip(row, ends, strict=True)]
            yield index, [Fraction(round(v)) if d else v for v, d in zip(x, discrete, strict=True)]


def _scan(ends: Sequence[tuple[Fraction, Fraction]], discrete: Sequence[bool]) -> np.ndarray:
    """Integer coordinates in 0 … 64 per variable: first the coarse grid {0, 32, 64}ⁿ, then a dense one."""
    n = len(ends)
    coarse = np.stack(np.meshgrid(*([[0, 32, 64]] * n), indexing="ij"), axis=-1).reshape(-1, n)
    if n <= 2:
        dense = np.stack(np.meshgrid(*([np.arange(65)] * n), indexing="ij"), axis=-1).reshape(-1, n)
    else:
        dense = np.random.default_rng(0).integers(0, 65, size=(20_000, n))
    return np.concatenate([coarse, dense])


def _worst(claim_json: Json, artifacts: Mapping[str, Artifact], scan: np.ndarray, keep: int) -> np.ndarray:
    """Indices of the scanned points whose premise nearly holds, smallest approximate goal margins first."""
    order: list[np.ndarray] = []
    for box in claim_json["boxes"]:
        low = np.array([float(Fraction(lo)) for lo, _ in box])
        high = np.array([float(Fraction(hi)) for _, hi in box])
        x = low + (high - low) * scan / 64

        def form(f: Json, outputs: Sequence[np.ndarray], x: np.ndarray = x) -> np.ndarray:
            total = np.full(len(x), float(Fraction(f["constant"])))
            for k, c in f["variables"]:
                total += float(Fraction(c)) * x[:, k]
            for k, c in f["calls"]:
                total += float(Fraction(c)) * outputs[k]
            return total

        outputs = []
        for call in claim_json["calls"]:
            columns = np.stack([form(a, ()) for a in call["arguments"]], axis=1)
            outputs.append(forward(artifacts[call["reward"]], columns.astype(np.float32)).astype(np.float64))
        premise = np.full(len(x), np.inf)
        for clause in claim_json["clauses"]:
            premise = np.minimum(premise, np.max([form(a["affine"], outputs) for a in clause], axis=0))
        for goal in claim_json["goals"]:
            margin = np.max([form(a["affine"], outputs) for a in goal], axis=0)
            order.append(np.argsort(np.where(premise >= -1e-5, margin, np.inf))[:keep])
    return np.concatenate(order) if order else np.array([], dtype=int)


def counterexample(claim_json: Json, artifacts: Mapping[str, Artifact]) -> Point | None:
    """A point at which the claim is exactly false, if the search finds one."""
    for index, x in candidate_points(claim_json, artifacts):
        premise, conclusion = holds(claim_json, artifacts, x)
        if premise and not conclusion:
            return index, x
    return None


def _witness(claim_json: Json, artifacts: Mapping[str, Artifact]) -> Json:
    for index, x in candidate_points(claim_json, artifacts):
        if holds(claim_json, artifacts, x) == (True, True):
            return {"box": index, "point": [rational(v) for v in x]}
    return None


# ── the cases that tests attack ────────────────────────────────────────────────────────────────
def shortfall(claim_json: Json, artifacts: Mapping[str, Artifact], slack: Number = Fraction(1, 16)) -> Fraction:
    """What to add to the first goal's only atom so that a scan finds it just true: small changes make it false."""
    form = claim_json["goals"][0][0]["affine"]
    least = Fraction(10**9)
    for _, x in candidate_points(claim_json, artifacts, keep=20):
        if holds(claim_json, artifacts, x)[0]:
            outputs = [
                evaluate(artifacts[c["reward"]], [x[a["variables"][0][0]] for a in c["arguments"]])
                for c in claim_json["calls"]
            ]
            margin = Fraction(form["constant"]) + sum((Fraction(c) * x[k] for k, c in form["variables"]), Fraction(0))
            least = min(least, margin + sum((Fraction(c) * outputs[k] for k, c in form["calls"]), Fraction(0)))
    return Fraction((-least * 64).__ceil__(), 64) + Fraction(slack)


def tightened(claim_json: Json, artifacts: Mapping[str, Artifact], slack: Number = Fraction(1, 16)) -> Json:
    form = claim_json["goals"][0][0]["affine"]
    form["constant"] = rational(Fraction(form["constant"]) + shortfall(claim_json, artifacts, slack))
    return claim_json


SEEDS = (2, 3)  # networks whose rewards vary enough for the proofs to need cuts
SQUARE = [(-1, 1), (-1, 1)]


_PROVED: dict[str, Case] = {}


def cases(folder: Path) -> dict[str, Case]:
    """Proved claims of every form, by name: found once in a process, a copy for each who asks."""
    if not _PROVED:
        _PROVED.update(_proved(folder))
    return {name: case.copy() for name, case in _PROVED.items()}


def _proved(folder: Path) -> dict[str, Case]:
    net, other = network(SEEDS[0]), network(SEEDS[1])
    mine, both = {"R": net.digest}, [("R", (0, 1))]
    ceiling = [[atom(affine(0, {}, {0: -1}))]]
    region = patched(
        net, [[4.0, 0.0]], [0.0], float(shortfall(claim(mine, both, ceiling, [SQUARE]), {"R": net})) - 1.0, 2.0
    )
    artifacts = {
        "whole": {"R": other},
        "fix": {"R": region},
        "local": {"R": region, "Base": net},
    }
    claims = {
        "ceiling": claim(mine, both, ceiling, [SQUARE]),
        "strict": claim(mine, both, [[atom(affine(0, {}, {0: -1}), True)]], [SQUARE]),
        "premise": claim(mine, both, [[atom(affine(0, {0: 1}, {0: -1}))]], [SQUARE],
                         [[atom(affine(0, {0: -1, 1: -1}))], [atom(affine(Fraction(1, 3), {0: -1}), True)]]),
        "either": claim(mine, both, ceiling, [SQUARE],
                        [[atom(affine(Fraction(-1, 2), {0: 1})), atom(affine(Fraction(-1, 2), {0: -1}))]]),
        "whole": claim({"R": other.digest}, both, ceiling, [[(-1, 1), (0, 2)]], discrete=(1,)),
        "boxes": claim(mine, both, [ceiling[0], [atom(affine(-5, {0: 1})), atom(affine(4, {}, {0: -1}), True)]],
                       [[(-1, 0), (-1, 1)], [(0, 1), (-1, Fraction(1, 3))]]),
        "pair": claim(mine, [("R", (0, 1)), ("R", (2, 1))], [[atom(affine(0, {}, {0: -1, 1: 1}))]], [[(0, 1)] * 3],
                      [[atom(affine(0, {2: 1, 0: -1}))]]),
        "fix": claim({"R": region.digest}, both, ceiling, [SQUARE], [[atom(affine(0, {0: -1}))]]),
        "local": claim({"Base": net.digest, "R": region.digest}, [*both, ("Base", (0, 1))],
                       [[atom(affine(0, {}, {0: 1, 1: -1}))], [atom(affine(0, {}, {0: -1, 1: 1}))]], [SQUARE],
                       [[atom(affine(Fraction(-1, 4), {0: 1}))]]),
    }  # fmt: skip
    found = {}
    for name, claim_json in claims.items():
        using = artifacts.get(name, {"R": net})
        if name != "local":
            tightened(claim_json, using, Fraction(1, 32))
        proof = prove(claim_json, using, folder)
        assert proof is not None, name
        found[name] = Case(claim_json, proof, using)
    return found
