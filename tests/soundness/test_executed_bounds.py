"""Bounds under float32 semantics hold for every execution: any order of summation, fused or not, flushing or not."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import isfinite

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.reward import graph as g
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.exact import evaluate_row
from rewarden.reward.rounding import deployed_error
from rewarden.spec_lang.claim import Claim, ClaimCall, ClaimVariable
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier.backsub import Engine, Functionals, Sweep
from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.executed import compile_executed
from rewarden.verifier.fusion import functional_rows
from rewarden.verifier.inline import compile_program
from rewarden.verifier.rounding import outward
from tests.reference.executions import Execution
from tests.reference.how_many import part_of
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact, random_mlp, random_rows
from tests.reference.random_programs import form

seeds = st.integers(0, 2**32 - 1)


def claim_about(artifact: Artifact, box, arguments=None, calls: int = 1) -> Claim:
    """`calls` rewards R0, R1, … of the same columns."""
    variables = tuple(ClaimVariable(f"s.{c.name}", None, c.discrete) for c in artifact.columns)
    identity = tuple(form(0, {j: 1}) for j in range(len(variables)))
    called = tuple(ClaimCall(f"R{k}", arguments or identity) for k in range(calls))
    rewards = tuple((f"R{k}", "") for k in range(calls))
    return Claim("rule", "must", variables, (), rewards, called, (), (), (box,))


def rescaled(rng: np.random.Generator, artifact: Artifact) -> Artifact:
    """With some affine weights huge or tiny, and some numbers below the normal range."""
    tensors = dict(artifact.tensors)
    for node in artifact.graph.nodes:
        for name in (node.weight, node.bias) if isinstance(node, g.AffineMap) else ():
            factor = float(rng.choice([1.0, 1.0, 2.0**-60, 2.0**-140, 2.0**20]))
            tensors[name] = (tensors[name] * np.float32(factor)).astype(np.float32)
    return replace(artifact, tensors=tensors)


def random_case(rng: np.random.Generator) -> Artifact:
    kind = MIXED if rng.random() < 0.3 else TWO_REALS
    if rng.random() < 0.3:
        artifact = random_mlp(rng, kind, hidden=(5, 4), patches=int(rng.integers(3)))
    else:
        artifact = random_artifact(rng, kind, size=int(rng.integers(1, 8)), patches=int(rng.integers(3)))
    return rescaled(rng, artifact) if rng.random() < 0.4 else artifact


def random_box(rng: np.random.Generator, artifact: Artifact):
    """A part of the domain, often a point of it; its ends need not be binary32."""
    ends = random_rows(rng, [r.type for r in artifact.records], 2)
    lo, hi = ends.min(axis=0), ends.max(axis=0)
    width = float(rng.choice([0.0, 2.0**-22, 0.01, 1.0]))
    hi = np.where([c.discrete for c in artifact.columns], hi, lo + width * (hi - lo))
    return tuple((Fraction(a), Fraction(b)) for a, b in zip(lo.tolist(), hi.tolist(), strict=True))


def points_in(rng: np.random.Generator, claim: Claim, count: int):
    """Binary32 points of the claim's box; where it has none in some variable, that one is at an end."""
    for _ in range(count):
        point = []
        for variable, (lo, hi) in zip(claim.variables, claim.boxes[0], strict=True):
            share = float(rng.choice([0.0, 1.0, rng.random()]))
            x = float(np.float32(float(lo) + share * float(hi - lo)))
            x = round(x) if variable.discrete else x
            point.append(Fraction(x) if lo <= Fraction(x) <= hi else None)
        if all(x is not None for x in point):
            yield tuple(point)


def swept(program, functionals) -> tuple[list[float], Sweep]:
    lo, hi = (torch.from_numpy(side)[None, :] for side in outward(program.claim.boxes[0]))
    final = Engine(program).bound(Boxes(lo, hi), Functionals.of(functional_rows(program, functionals)))
    return final.bound.tolist(), final.sweep


def below(bound: float, value: Fraction) -> bool:
    return bound == -float("inf") or Fraction(bound) <= value


@settings(max_examples=part_of(150), deadline=None)
@given(seeds)
def test_every_execution_is_within_the_bounds(seed):
    rng = np.random.default_rng(seed)
    artifact = random_case(rng)
    claim = claim_about(artifact, random_box(rng, artifact))
    bounds, _ = swept(compile_executed(claim, {"R0": artifact}), [form(calls={0: 1}), form(calls={0: -1})])
    for point in points_in(rng, claim, 4):
        x = [float(v) for v in point]
        values = [Execution(rng).reward(artifact, x) for _ in range(4)]
        values.append(float(forward(artifact, np.array([x], np.float32))[0]))
        for value in values:
            if not isfinite(value):
                assert bounds == [-float("inf")] * 2
                continue
            assert below(bounds[0], Fraction(value))
            assert below(bounds[1], -Fraction(value))


@settings(max_examples=part_of(60), deadline=None)
@given(seeds)
def test_the_forward_analysis_holds_for_every_execution_too(seed):
    rng = np.random.default_rng(seed)
    artifact = random_case(rng)
    for x in random_rows(rng, [r.type for r in artifact.records], 3).astype(np.float32).astype(np.float64):
        error = deployed_error(artifact, x, x)
        exact = evaluate_row(artifact, x)
        for value in (Execution(rng).reward(artifact, x.tolist()) for _ in range(4)):
            assert not isfinite(error) or abs(Fraction(value) - exact) <= Fraction(error)


@settings(max_examples=part_of(60), deadline=None)
@given(seeds)
def test_two_calls_are_executed_each_in_its_own_way(seed):
    """R0 and R1 are the same artifact: their difference is 0 exactly, and not as executed."""
    rng = np.random.default_rng(seed)
    artifact = random_case(rng)
    claim = claim_about(artifact, random_box(rng, artifact), calls=2)
    both = {"R0": artifact, "R1": artifact}
    difference = form(calls={0: 1, 1: -1})
    exact, _ = swept(compile_program(claim, both), [difference])
    bounds, _ = swept(compile_executed(claim, both), [difference])
    assert exact[0] in (0.0, -float("inf"))
    for point in points_in(rng, claim, 3):
        x = [float(v) for v in point]
        a, b = (Execution(rng).reward(artifact, x) for _ in range(2))
        if isfinite(a) and isfinite(b):
            assert below(bounds[0], Fraction(a) - Fraction(b))


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_arguments_that_binary32_cannot_hold_go_to_either_neighbour(seed):
    rng = np.random.default_rng(seed)
    artifact = random_case(rng)
    columns = range(len(artifact.columns))
    offset = {j: Fraction(int(rng.integers(-3, 4)), int(rng.choice([1, 3, 10]))) for j in columns}
    arguments = tuple(form(offset[j], {j: 1}) for j in columns)
    claim = claim_about(artifact, random_box(rng, artifact), arguments)
    bounds, _ = swept(compile_executed(claim, {"R0": artifact}), [form(calls={0: 1}), form(calls={0: -1})])
    for point in points_in(rng, claim, 3):
        x = [float(rng.choice(around(v + offset[j]))) for j, v in enumerate(point)]
        value = Execution(rng).reward(artifact, x)
        if isfinite(value):
            assert below(bounds[0], Fraction(value))
            assert below(bounds[1], -Fraction(value))


def around(value: Fraction) -> list[float]:
    """The binary32 numbers next to a value, or the value."""
    near = np.float32(float(value))
    others = (np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf)))
    if Fraction(float(near)) == value:
        return [float(near)]
    return [float(near), float(others[0] if Fraction(float(near)) > value else others[1])]


@settings(max_examples=part_of(60), deadline=None)
@given(seeds)
def test_exact_bounds_are_inside_the_executed_ones(seed):
    """Rounding is only ever added; and for tame numbers it is little."""
    rng = np.random.default_rng(seed)
    artifact = random_mlp(rng, TWO_REALS, hidden=(5, 4))
    claim = claim_about(artifact, random_box(rng, artifact))
    exact, sweep = swept(compile_program(claim, {"R0": artifact}), [form(calls={0: 1})])
    bounds, _ = swept(compile_executed(claim, {"R0": artifact}), [form(calls={0: 1})])
    assert bounds[0] <= exact[0]
    assert bounds[0] >= exact[0] - 1e-3 * (1.0 + float(sweep.mass.max()))


def one_op(rng: np.random.Generator, op: str) -> Artifact:
    """One op between layers that copy, so that nothing else rounds."""
    record = RecordType("Point", tuple(Feature(n, "real", Fraction(-4), Fraction(4)) for n in ("x", "y")))
    size = float(rng.choice([1.0, 2.0**-60, 2.0**-130]))
    tensors: dict[str, np.ndarray] = {}

    def tensor(values: object) -> str:
        tensors[f"t{len(tensors)}"] = np.asarray(values, dtype=np.float32)
        return f"t{len(tensors) - 1}"

    def copy(source: int, weights: list[float]) -> g.AffineMap:
        return g.AffineMap(source, tensor([weights]), tensor([0.0]))

    nodes: list[g.Node] = [g.Input()]
    patches: tuple[g.Patch, ...] = ()
    match op:
        case "leaky":
            nodes += [g.LeakyRelu(0, tensor([rng.random() * size])), copy(1, [1.0, 0.0])]
        case "scale":
            nodes += [g.Scale(0, tensor(rng.normal(size=2) * size), tensor(rng.normal(size=2))), copy(1, [1.0, 0.0])]
        case "add" | "sub":
            kind = g.Add if op == "add" else g.Sub
            nodes += [copy(0, [1.0, 0.0]), copy(0, [0.0, 1.0]), kind(1, 2)]
        case "patch":
            level = rng.normal() * size
            near = rng.choice([-9.0, 9.0, level * 0.99, level * 1.01])  # what is compared with it
            nodes += [g.AffineMap(0, tensor([[0.0, 0.0]]), tensor([near]))]
            names = (tensor(rng.normal(size=(2, 2)) / 8), tensor(rng.normal(size=2) / 8), tensor([level]))
            slope = float(rng.choice([0.0, 2.0**-10, 1.0, rng.exponential()]))
            ramp = (tensor([slope]), tensor([0.1 * rng.random()]), tensor([rng.normal()]))
            patches = (g.Patch(str(rng.choice(["ceiling", "floor"])), *names, *ramp, "rule"),)
        case _:
            nodes += [copy(0, [1.0, 0.0])]
    return Artifact((RewardRecord("s", record),), g.Graph(tuple(nodes), len(nodes) - 1), tensors, "exact", patches)


@pytest.mark.parametrize("op", ["leaky", "scale", "add", "sub", "patch", "arguments"])
@settings(max_examples=part_of(40), deadline=None)
@given(seed=seeds)
def test_each_op_alone_is_within_its_bounds(op, seed):
    """At points, where the bounds have no other slack."""
    rng = np.random.default_rng(seed)
    artifact = one_op(rng, op)
    tiny = float(rng.choice([1.0, 1.0, 2.0**-127]))
    point = [Fraction(float(np.float32(v * tiny))) for v in rng.uniform(-4, 4, 2)]
    third = Fraction(1, 3) if op == "arguments" else Fraction(0)
    arguments = (form(third, {0: 1}), form(third, {1: 1}))
    claim = claim_about(artifact, tuple((x, x) for x in point), arguments)
    bounds, _ = swept(compile_executed(claim, {"R0": artifact}), [form(calls={0: 1}), form(calls={0: -1})])
    for _ in range(12):
        x = [float(rng.choice(around(v + third))) for v in point]
        value = Fraction(Execution(rng).reward(artifact, x))
        assert below(bounds[0], value)
        assert below(bounds[1], -value)


def test_a_ceiling_that_stands_is_not_rounded():
    """Where the ramp is 0, what a patch compares with is the level itself."""
    rng = np.random.default_rng(4)
    artifact = one_op(rng, "patch")
    tensors = {**artifact.tensors}
    patch, reward = replace(artifact.patches[0], kind="ceiling"), artifact.graph.nodes[1]
    assert isinstance(reward, g.AffineMap)
    tensors[reward.bias] = np.float32([9.0])
    tensors[patch.level], tensors[patch.slope] = np.float32([0.3]), np.float32([0.7])
    tensors[patch.delta], tensors[patch.gate] = np.float32([0.5]), np.float32([9.0])
    artifact = replace(artifact, tensors=tensors, patches=(patch,))
    level = Fraction(float(np.float32(0.3)))
    box = ((Fraction(0), Fraction(1, 4)), (Fraction(0), Fraction(1, 4)))
    bounds, _ = swept(compile_executed(claim_about(artifact, box), {"R0": artifact}), [form(level, calls={0: -1})])
    assert -(2.0**-46) < bounds[0] <= 0.0  # binary64's own, not binary32's


def test_a_ramp_is_rounded_like_the_level_it_stands_on():
    """However close the reward is to it: 1 + 3·2^-26 becomes 1."""
    tensors = {
        "w": np.float32([[0.0]]), "b": np.float32([1.0 + 2.0**-23]), "rows": np.float32([[1.0]]),
        "zero": np.float32([0.0]), "one": np.float32([1.0]), "gate": np.float32([2.0]),
    }  # fmt: skip
    patch = g.Patch("ceiling", "rows", "zero", "one", "one", "zero", "gate", "rule")
    graph = g.Graph((g.Input(), g.AffineMap(0, "w", "b")), 1)
    artifact = Artifact(one_feature(), graph, tensors, "exact", (patch,))
    x = Fraction(3, 2**26)
    claim = claim_about(artifact, ((x, x),))
    bounds, _ = swept(compile_executed(claim, {"R0": artifact}), [form(calls={0: 1})])
    assert forward(artifact, np.float32([[float(x)]]))[0] == 1.0
    assert bounds[0] <= 1.0


def test_what_picks_an_operand_is_not_rounded():
    """relu, abs and clip end where they should, though the layers that stand for them subtract."""
    record = one_feature()
    for op, floor in ((g.Relu(0), 0), (g.Abs(0), 0), (g.Clip(0, "lo", "hi"), Fraction(1, 8))):
        tensors = {"lo": np.float32([0.125]), "hi": np.float32([0.75])} if isinstance(op, g.Clip) else {}
        artifact = Artifact(record, g.Graph((g.Input(), op), 1), tensors, "exact")
        claim = claim_about(artifact, ((Fraction(-1), Fraction(1)),))
        bounds, _ = swept(compile_executed(claim, {"R0": artifact}), [form(-floor, calls={0: 1})])
        assert -(2.0**-40) < bounds[0] <= 0.0  # what binary64 loses, at most; 2^-24 would be binary32's
        assert bounds == [0.0] or not isinstance(op, g.Relu)


def one_feature():
    return (RewardRecord("s", RecordType("One", (Feature("x", "real", Fraction(-1), Fraction(1)),))),)


def test_overflow_on_the_way_bounds_nothing():
    """1e38·x − 1e38·x + … is 0 exactly, and NaN as executed."""
    record = one_feature()
    tensors = {
        "w": np.float32([[3e38], [3e38]]), "b": np.float32([1e38, 1e38]),
        "v": np.float32([[1.0, -1.0]]), "c": np.float32([0.0]),
    }  # fmt: skip
    graph = g.Graph((g.Input(), g.AffineMap(0, "w", "b"), g.AffineMap(1, "v", "c")), 2)
    artifact = Artifact(record, graph, tensors, "exact")
    claim = claim_about(artifact, ((Fraction(-1), Fraction(1)),))
    assert not np.isfinite(forward(artifact, np.float32([[1.0]]))).all()
    exact, _ = swept(compile_program(claim, {"R0": artifact}), [form(1, calls={0: 1})])
    bounds, _ = swept(compile_executed(claim, {"R0": artifact}), [form(1, calls={0: 1})])
    assert exact[0] == 1.0
    assert bounds == [-float("inf")]
    small = claim_about(artifact, ((Fraction(-1, 4), Fraction(1, 4)),))
    assert swept(compile_executed(small, {"R0": artifact}), [form(1, calls={0: 1})])[0][0] < 0


@pytest.mark.parametrize("factor", [2.0, 2.0**40])
def test_a_product_that_overflows_bounds_nothing_however_small_the_sum(factor):
    """2a − 2b of two equal values is 0 exactly, and NaN as executed where 2a is beyond binary32."""
    record = one_feature()
    tensors = {
        "w": np.float32([[1.0], [1.0]]), "b": np.float32([3e38, 3e38]) / np.float32(factor / 2),
        "v": np.float32([[factor, -factor]]), "c": np.float32([0.0]),
    }  # fmt: skip
    graph = g.Graph((g.Input(), g.AffineMap(0, "w", "b"), g.AffineMap(1, "v", "c")), 2)
    artifact = Artifact(record, graph, tensors, "exact")
    claim = claim_about(artifact, ((Fraction(0), Fraction(0)),))
    assert not np.isfinite(forward(artifact, np.float32([[0.0]]))).all()
    assert swept(compile_executed(claim, {"R0": artifact}), [form(1, calls={0: 1})])[0] == [-float("inf")]
    half = replace(artifact, tensors={**tensors, "v": tensors["v"] / np.float32(2.0 * factor)})
    assert np.isfinite(forward(half, np.float32([[0.0]]))).all()
    assert np.isfinite(swept(compile_executed(claim, {"R0": half}), [form(1, calls={0: 1})])[0]).all()


def test_programs_over_the_reals_carry_no_rounding():
    artifact = random_mlp(np.random.default_rng(0), TWO_REALS)
    claim = claim_about(artifact, ((Fraction(-1), Fraction(1)), (Fraction(0), Fraction(2))))
    engine = Engine(compile_program(claim, {"R0": artifact}))
    assert all(layer.executed is None and not layer.fused.rounded for layer in engine.layers)
