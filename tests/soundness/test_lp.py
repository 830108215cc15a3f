"""The lp engine: bounds below what they bound, whatever the multipliers; a simplex that is right; cuts that cover."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import AffineMap, Graph, Input
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier.backsub import Engine
from rewarden.verifier.engines.interface import Part
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.inline import compile_program
from rewarden.verifier.lp import exact_bound
from rewarden.verifier.lp.bound import Multipliers, Objective, lower_bound
from rewarden.verifier.lp.branching import Costs, Cut, children, choose
from rewarden.verifier.lp.exact_simplex import Inequality, PivotsSpent, solution
from rewarden.verifier.lp.model import Hint, Model
from rewarden.verifier.lp.region import EITHER, LOOSE, OFF, ON, SHUT, Node, Region, frame_of, region_of
from rewarden.verifier.lp.tighten import tightened
from rewarden.verifier.program import INPUT, Program
from tests.reference.how_many import part_of
from tests.reference.random_claims import atom, plain_claim
from tests.reference.random_programs import points_of, random_program

seeds = st.integers(0, 2**32 - 1)


def planted(program: Program) -> tuple[Region, Node]:
    found = region_of(frame_of(program, 0), Engine(program), Part(0, 0, program.claim.boxes[0]))
    assert found is not None
    return found


class Point:
    """Exact outputs, pre-activations and top rows at a point of a region."""

    def __init__(self, region: Region, point) -> None:
        frame = region.frame
        exact = ExactProgram(frame.program)
        outputs = [values.fractions() for values in exact.layers(point)]

        def value(row) -> Fraction:
            terms, total = row
            for source, columns in terms.items():
                values = point if source == INPUT else outputs[source]
                total += sum((c * values[i] for i, c in columns.items()), Fraction(0))
            return total

        self.z = [value(frame.exact_neuron(k, j)) for k in frame.layers for j in range(frame.program.layers[k].width)]
        self.y = [outputs[k][j] for k in frame.layers for j in range(frame.program.layers[k].width)]
        self.top = [value(row) for row in frame.exact_top]

    def fits(self, node: Node) -> bool:
        """Is the point one of the node's?"""
        rules = {
            ON: lambda z, y: y == z >= 0, OFF: lambda z, y: y == 0 >= z, EITHER: lambda z, y: y == max(z, 0),
            LOOSE: lambda z, y: 0 <= y <= max(z, 0), SHUT: lambda _, y: y == 0,
        }  # fmt: skip
        return all(rules[int(p)](z, y) for p, z, y in zip(node.phase, self.z, self.y, strict=True))


def held(rng: np.random.Generator, node: Node) -> Node:
    """Some neurons held to a random side, and random rows that hold."""
    phase = node.phase.copy()
    free = (phase == EITHER) & (rng.random(len(phase)) < 0.4)
    phase[free] = rng.choice([ON, OFF], size=int(free.sum()))
    return Node(phase, rng.random(len(node.on)) < 0.7, node.lo, node.hi, node.decided, 1.0)


@settings(max_examples=part_of(200), deadline=None)
@given(seeds, st.booleans())
def test_whatever_the_multipliers_the_bound_is_below(seed, harsh):
    rng = np.random.default_rng(seed)
    region, root = planted(random_program(rng, harsh=harsh))
    frame = region.frame
    points = [Point(region, x) for x in points_of(rng, region.cell, 12)]
    for _ in range(4):
        node = held(rng, root)
        scale = float(rng.choice([1.0, 1.0, 1e-12, 1e9]))
        multipliers = Multipliers(
            rng.exponential(size=len(node.on)),
            rng.normal(size=frame.neurons) * scale * rng.integers(0, 2, frame.neurons),
        )
        objective = None
        if frame.layers and rng.random() < 0.5:
            k = int(rng.choice(frame.layers))
            objective = Objective(k, int(rng.integers(frame.program.layers[k].width)), float(rng.choice([1.0, -1.0])))
        found = lower_bound(region, node, multipliers, objective)
        if not np.isfinite(found):
            continue
        for point in points:
            if point.fits(node):
                total = sum(
                    Fraction(m) * t for m, t, on in zip(multipliers.top.tolist(), point.top, node.on, strict=True) if on
                )
                if objective is not None:
                    total += Fraction(objective.sign) * point.z[frame.first[objective.layer] + objective.j]
                assert Fraction(found) <= total


@settings(max_examples=part_of(60), deadline=None)
@given(seeds)
def test_exact_refutations_are_of_nodes_without_violations(seed):
    rng = np.random.default_rng(seed)
    region, root = planted(random_program(rng))
    points = [Point(region, x) for x in points_of(rng, region.cell, 20)]
    for _ in range(4):
        node = held(rng, root)
        multipliers = Multipliers(rng.exponential(size=len(node.on)), rng.normal(size=region.frame.neurons))
        if exact_bound.refutes(region, node, multipliers):
            strict = region.frame.strict
            for point in points:
                below = [t < 0 if s else t <= 0 for t, s, on in zip(point.top, strict, node.on, strict=True) if on]
                assert not (point.fits(node) and all(below))


@settings(max_examples=part_of(60), deadline=None)
@given(seeds)
def test_tightened_bounds_hold_at_violations(seed):
    rng = np.random.default_rng(seed)
    region, root = planted(random_program(rng))
    after, node, _ = tightened(region, root)
    for x in points_of(rng, region.cell, 20):
        point = Point(region, x)
        if all(t <= 0 for t, on in zip(point.top, root.on, strict=True) if on):
            assert point.fits(node)
            for z, lo, hi in zip(point.z, after.lo.tolist(), after.hi.tolist(), strict=True):
                assert Fraction(lo) <= z <= Fraction(hi)


@settings(max_examples=part_of(40), deadline=None)
@given(seeds)
def test_children_cover_their_node_and_bounds_only_rise(seed):
    rng = np.random.default_rng(seed)
    region, root = planted(random_program(rng))
    model, costs = Model(region, root), Costs(region.frame.neurons)
    points = [Point(region, x) for x in points_of(rng, region.cell, 10)]
    node = root
    for _ in range(6):
        hint = model.solve(node)
        cut = choose(region, node, hint, costs)
        if cut is None:
            return
        made = children(region, node, cut)
        for point in points:
            assert not point.fits(node) or any(point.fits(child) for child in made)
        if hint.status == "optimal":
            for child in made:
                after = model.solve(child)
                assert after.status == "infeasible" or after.top >= hint.top - 1e-6 * (1 + abs(hint.top))
        node = made[int(rng.integers(len(made)))]


def counted(most: int) -> tuple[Region, Node]:
    """Of R(n) <= 0 on whole numbers 0 … most."""
    kind = RecordType("T", (Feature("n", "int", Fraction(0), Fraction(most)),))
    tensors = {"w": np.ones((1, 1), np.float32), "b": np.zeros(1, np.float32)}
    reward = Artifact((RewardRecord("s", kind),), Graph((Input(), AffineMap(0, "w", "b")), 1), tensors, "exact")
    program = compile_program(plain_claim(kind, {"R": reward}, goals=[(atom(0, {}, {0: -1}),)]), {"R": reward})
    return planted(program)


def test_whole_numbers_that_binary64_cannot_tell_apart_are_left_alone():
    """Between 2^53 + 6 and 2^53 + 8 there is one more: a cut above the former would lose it."""
    region, root = counted(2**53 + 20)
    low, high = children(region, root, Cut("variable", 0, 2.0**53 + 6))
    assert int(low.hi[0]) < 2**53 + 7 < int(high.lo[0])
    assert not region.finite
    assert counted(2**52)[0].finite


@pytest.mark.parametrize("told", [-3e9, -0.75, 0.25, 6.5, 999.25, 1000.25, 7e9])
def test_a_variable_is_cut_where_it_is_wide_wherever_the_program_believes_it_to_be(told):
    region, root = counted(1000)
    empty = Multipliers(np.zeros(len(root.on)), np.zeros(0))
    cut = choose(region, root, Hint("optimal", empty, 0.0, np.array([told]), np.zeros(0)), Costs(0))
    assert cut is not None
    low, high = children(region, root, cut)
    assert root.lo[0] == low.lo[0] <= low.hi[0] < high.lo[0] <= high.hi[0] == root.hi[0]


# ── the simplex method in rationals ────────────────────────────────────────────────────────────
def corner(rows, box) -> bool:
    """By brute force, in up to two variables: may all rows be at most 0, and every strict one below somewhere there?"""
    lines = [(*row.coefficients, row.constant) for row in rows]
    for j, (lo, hi) in enumerate(box):
        unit = [Fraction(int(i == j)) for i in range(len(box))]
        lines += [(*(-u for u in unit), lo), (*unit, -hi)]
    found = []
    for pair in combinations(lines, len(box)):
        x = crossing(pair)
        if x is not None and all(value(line, x) <= 0 for line in lines):
            found.append(x)
    strict = [line for line, row in zip(lines, rows, strict=False) if row.strict]
    return bool(found) and all(any(value(line, x) < 0 for x in found) for line in strict)


def value(line, x) -> Fraction:
    return sum((c * v for c, v in zip(line, x, strict=False)), line[-1])


def crossing(pair):
    if len(pair) == 1:
        ((a, c),) = pair
        return None if a == 0 else (-c / a,)
    (a, b, c), (d, e, f) = pair
    determinant = a * e - b * d
    return None if determinant == 0 else ((b * f - c * e) / determinant, (c * d - a * f) / determinant)


small = st.integers(-3, 3).map(Fraction)


@settings(max_examples=part_of(400), deadline=None)
@given(st.data(), st.integers(1, 2))
def test_inequalities_are_decided_as_by_their_corners(data, variables):
    sides = st.tuples(st.integers(-2, 0), st.integers(0, 2)).map(lambda s: (Fraction(s[0]), Fraction(s[1])))
    box = tuple(data.draw(st.lists(sides, min_size=variables, max_size=variables)))
    row = st.builds(
        Inequality, st.lists(small, min_size=variables, max_size=variables).map(tuple), small, st.booleans()
    )
    rows = data.draw(st.lists(row, max_size=5))
    found = solution(rows, box, 500)
    assert (found is not None) == corner(rows, box)
    if found is not None:
        assert all(lo <= x <= hi for x, (lo, hi) in zip(found, box, strict=True))
        for r in rows:
            at = value((*r.coefficients, r.constant), found)
            assert at < 0 if r.strict else at <= 0


def test_pivots_are_counted():
    half = Fraction(1, 2)
    rows = [Inequality((Fraction(1), Fraction(1)), -half, False), Inequality((Fraction(-1), Fraction(0)), half, False)]
    with pytest.raises(PivotsSpent):
        solution(rows, ((Fraction(0), Fraction(1)),) * 2, 0)
