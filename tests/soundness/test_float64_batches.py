"""The float64 tier takes the steps of many leaves in turn: what is said of each is true of it, whatever its neighbours.

A point is drawn for each leaf, and only what is true at it is used, so no bound may exclude it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from rewarden.certificate import tier_float64, tier_float64_bounds, tier_float64_matrices
from rewarden.certificate.check import check
from rewarden.certificate.kernel_bounds import Box, Facts
from rewarden.certificate.kernel_claim import Claim, read_claim
from rewarden.certificate.kernel_json import Refused, canonical
from rewarden.certificate.kernel_program import INPUT, Program
from rewarden.certificate.kernel_proof import check_leaf, leaves
from rewarden.certificate.tier_float64 import Move, check_leaves_float64, take
from rewarden.certificate.tier_float64_bounds import FloatBounds, Functionals, Lines, Output, Read
from rewarden.certificate.tier_float64_program import chord
from rewarden.certificate.tiers import tiers
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.assembly import Assembly
from rewarden.reward.exact import evaluate
from rewarden.reward.graph import AffineMap, Graph, Input, Relu
from rewarden.spec_lang.claim_json import claim_object, load_claim
from tests.differential.test_kernel_vs_program import kernel_program
from tests.reference.certificates import Case, affine, atom, claim, schema
from tests.reference.random_claims import random_point
from tests.reference.tiny_networks import tiny_claim
from tests.soundness.test_kernel_steps import Values, drawn, forward, known_at, proof_of_chance, value

EFFORTS = range(4)


class Subject:
    """A program, and leaves of it: a point of each, its box, signs and slopes that are true there, and moves."""

    def __init__(self, seed: int, folder: Path, count: int = 5) -> None:
        rng, made, self.claim, self.program = drawn(seed, folder)
        self.draw = random.Random(seed)
        self.points = [random_point(rng, made) for _ in range(count)]
        self.known = [forward(self.program, point) for point in self.points]
        self.neurons = [(k, i) for k, layer in enumerate(self.program.layers) for i in range(len(layer.bias))]
        self.boxes = [self.box(point) for point in self.points]
        self.signs = [self.held(inner) for inner, _ in self.known]
        self.slopes = [{n: self.slope(n) for n in self.neurons if self.draw.random() < 0.2} for _ in self.points]
        self.moves = [self.moves_of(outputs) for _, outputs in self.known]

    def box(self, point: tuple[Fraction, ...]) -> Box:
        """Around the point, as wide as the claim's or an eighth of that."""
        ends = next(b for b in self.claim.boxes if all(lo <= x <= hi for x, (lo, hi) in zip(point, b, strict=True)))
        share = self.draw.choice([Fraction(1), Fraction(1, 8)])
        low = [x - share * (x - lo) for x, (lo, _) in zip(point, ends, strict=True)]
        return Box(low, [x + share * (hi - x) for x, (_, hi) in zip(point, ends, strict=True)])

    def held(self, inner: Values) -> list[tuple[int, int, int]]:
        return [(k, i, 0 if inner[k][i] >= 0 else 1) for k, i in self.neurons if self.draw.random() < 0.15]

    def slope(self, neuron: tuple[int, int]) -> int:
        return self.draw.randint(0, self.program.layers[neuron[0]].choices)

    def facts(self, outputs: Values) -> Facts:
        atoms, found = known_at(self.claim, self.program, outputs), []
        for _ in range(self.draw.choice([0, 1, 1, 2])):
            weight = self.draw.choice([1, 3, 5]) * Fraction(2) ** self.draw.choice([-3, -1, 0, 1])
            form, sign = self.draw.choice(atoms)
            found.append((form, sign * weight))
            if self.draw.random() < 0.4:
                found[-1] = ((*self.draw.choice(self.neurons), self.draw.randrange(2)), weight)
        return found

    def moves_of(self, outputs: Values) -> list[Move]:
        taken = tier_float64._Taken(self.program)
        for _ in range(self.draw.randrange(9)):
            action = self.draw.random()
            if action < 0.25:
                neuron = self.draw.choice(self.neurons)
                taken.choose(*neuron, self.slope(neuron))
            elif action < 0.35:
                taken.again()
            else:
                where = self.draw.choice(self.neurons)
                where = (INPUT, self.draw.randrange(self.program.variables)) if action < 0.45 else where
                taken.step(*where, self.draw.randrange(2), self.facts(outputs))
        return taken.moves

    def bounds(self, effort: int, some: Sequence[int]) -> FloatBounds:
        slopes, signs = [self.slopes[k] for k in some], [self.signs[k] for k in some]
        named = {move.step[0] for k in some for move in self.moves[k] if move.step}
        bounds = FloatBounds(self.program, [self.boxes[k] for k in some], slopes, signs, effort, named)
        take(bounds, [self.moves[k] for k in some])
        bounds.advance(len(self.program.layers))
        return bounds


def assert_true(subject: Subject, bounds: FloatBounds, some: Sequence[int]) -> None:
    assert not bounds.empty.any(), "bounds cross, and there is a point"
    assert not bounds.lost.any()
    for leaf, k in enumerate(some):
        inner, outputs = subject.known[k]
        for found, values in ((bounds.inner, inner), (bounds.ranges, outputs)):
            for index, (low, high) in found.items():
                for x, lo, hi in zip(values[index], low[leaf].tolist(), high[leaf].tolist(), strict=True):
                    assert Fraction(lo) <= x <= Fraction(hi), (leaf, index)
        for form, sign in known_at(subject.claim, subject.program, outputs):
            asked: list[Facts] = [[(form, Fraction(-1))] if j == leaf else [] for j in range(len(some))]
            low = float(bounds.least_of(asked)[leaf])
            assert Fraction(low) <= value(form, subject.program, outputs)
            asked[leaf] = [(form, Fraction(sign, 3))]
            assert float(bounds.least_of(asked)[leaf]) <= 0, "a fact that is true somewhere excludes every point"


@pytest.mark.parametrize("seed", range(6))
def test_steps_taken_in_turn_hold_at_a_point_of_every_leaf(seed: int, tmp_path: Path) -> None:
    subject = Subject(seed, tmp_path, 3)
    for effort in EFFORTS:
        assert_true(subject, subject.bounds(effort, range(3)), range(3))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 400))
def test_steps_of_many_more_leaves_hold(seed: int, tmp_path: Path) -> None:
    subject = Subject(seed, tmp_path, 8)
    for effort in EFFORTS:
        assert_true(subject, subject.bounds(effort, range(8)), range(8))


@pytest.mark.parametrize("name", ["FEW", "MAX_MIXED", "MAX_DENSE", "CACHED", "ALONE"])
def test_limits_change_how_bounds_are_computed_and_not_what_is_true(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without planes, without layers that are read through, with a functional at a time."""
    room = tier_float64_matrices if name == "ALONE" else tier_float64_bounds
    monkeypatch.setattr(room, name, 200 if name == "MAX_DENSE" else 0)
    for seed in (0, 1, 3):
        subject = Subject(seed, tmp_path, 2)
        try:
            assert_true(subject, subject.bounds(1, range(2)), range(2))
        except Refused:
            assert name == "MAX_DENSE"


def test_every_point_of_a_box_is_within_its_bounds(tmp_path: Path) -> None:
    """Without signs, facts or steps a leaf speaks of its whole box."""
    for seed in range(4):
        subject = Subject(seed, tmp_path, 2)
        rng = random.Random(seed)
        for effort in EFFORTS:
            bounds = FloatBounds(subject.program, subject.boxes, [{}, {}], [(), ()], effort)
            bounds.advance(len(subject.program.layers))
            for leaf, box in enumerate(subject.boxes):
                for _ in range(2):
                    ends = zip(box.low, box.high, strict=True)
                    whole = subject.claim.discrete
                    shares = [rng.choice([0, 1]) if w else Fraction(rng.choice([0, 1, 3, 8]), 8) for w in whole]
                    point = [Fraction(lo + t * (hi - lo), box.bottom) for (lo, hi), t in zip(ends, shares, strict=True)]
                    inner, _ = forward(subject.program, tuple(point))
                    for index, (low, high) in bounds.inner.items():
                        for x, lo, hi in zip(inner[index], low[leaf].tolist(), high[leaf].tolist(), strict=True):
                            assert Fraction(lo) <= x <= Fraction(hi)


def residual(rng: np.random.Generator, op: str = "add", *, turned: bool = False) -> Artifact:
    """relu(z) and z, put together; some of the relus are always on."""
    build = Assembly(2)
    bias = np.where(rng.random(4) < 0.5, 4.0, rng.normal(size=4))
    z = build.affine(0, rng.normal(size=(4, 2)).astype(np.float32), bias.astype(np.float32))
    pair = (build.relu(z), z)
    both = getattr(build, op)(*(reversed(pair) if turned else pair))
    done = build.finish(build.affine(both, rng.normal(size=(1, 4)).astype(np.float32), np.float32([0])))
    return Artifact((RewardRecord("s", schema(2)),), done.graph, done.tensors, "exact")


@pytest.mark.parametrize("tier", sorted(tiers()))
def test_no_tier_proves_a_false_claim_about_a_residual_network(tier: str, tmp_path: Path) -> None:
    """By a sign of a linear layer, which is then kept beside the neurons through which it is read."""
    rng = np.random.default_rng(3)
    for number in range(6):
        artifact = residual(rng)
        corners = [[Fraction(a), Fraction(b)] for a in (-1, 0, 1) for b in (-1, 0, 1)]
        values = [evaluate(artifact, corner) for corner in corners]
        middle, low = (min(values) + max(values)) / 2, corners[values.index(min(values))]
        stated = claim(
            {"R": artifact.digest}, [("R", [0, 1])], [[atom(affine(middle, {}, {0: -1}))]], [[(-1, 1), (-1, 1)]]
        )
        tree = [["sign", 1, 0], *[["leaf", 0, [], [], []] for _ in range(2)]]
        proof = {"format": "rewarden-proof", "format_version": 1, "claim": "", "goals": [[tree]],
                 "witness": {"box": 0, "point": list(map(str, low))}}  # fmt: skip
        case = Case(stated, proof, {"R": artifact}).rebind()
        paths = case.write(tmp_path / str(number))
        (told,) = check(tmp_path / str(number), paths, 1, *tiers()[tier]).claims
        assert (told.verdict, "does not settle it" in told.reason) == ("refused", True)


@pytest.mark.parametrize("op", ["add", "sub", "minimum", "maximum"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_layer_that_is_read_twice_is_read_once_through_neurons_that_are_on(
    op: str, turned: bool, tmp_path: Path
) -> None:
    """relu(z) beside z itself, z kept because a step is about it: some of the relus are on, and read as z."""
    rng = np.random.default_rng(3)
    for _ in range(6):
        artifact = residual(rng, op, turned=turned)
        stated = claim({"R": artifact.digest}, [("R", [0, 1])], [], [[(-1, 1), (-1, 1)]])
        program = kernel_program(load_claim(canonical(stated)), {"R": artifact}, tmp_path)
        named = [k for k, layer in enumerate(program.layers) if layer.kind == "linear"][:2]
        box = Box([Fraction(-1)] * 2, [Fraction(1)] * 2)
        for effort in EFFORTS:
            bounds = FloatBounds(program, [box], [{}], [()], effort, named)
            bounds.advance(len(program.layers))
            assert not bounds.empty.any()
            for point in rng.integers(-4, 5, (12, 2)).tolist():
                inner, _ = forward(program, tuple(Fraction(x, 4) for x in point))
                for index, (low, high) in bounds.inner.items():
                    for x, lo, hi in zip(inner[index], low[0].tolist(), high[0].tolist(), strict=True):
                        assert Fraction(lo) <= x <= Fraction(hi), (index, program.layers[index].kind)


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_leaves_changes_nothing(seed: int, tmp_path: Path) -> None:
    subject = Subject(seed, tmp_path, 6)
    order = random.Random(seed).sample(range(6), 6)
    for effort in (1, 2):
        one, other = subject.bounds(effort, range(6)), subject.bounds(effort, order)
        for index in one.inner.keys() | other.inner.keys():
            for a, b in zip(one.inner[index], other.inner[index], strict=True):
                assert np.allclose(a[order], b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_leaves_that_cross_or_overflow_leave_the_others_alone(seed: int, tmp_path: Path) -> None:
    subject = Subject(seed, tmp_path, 3)
    layer, neuron = subject.neurons[-1]
    huge: Facts = [((layer, neuron, 0), Fraction(2**1020)), ((layer, neuron, 1), Fraction(2**1020))]
    for effort in (1, 2):
        known = (subject.moves[1], subject.signs[1])
        # z ≥ 0 and z ≤ 0 and z − Σ λ·fact > 0: of two opposite signs, one neuron is away from 0
        far = next(((k, i) for k, i in subject.neurons if subject.known[1][0][k][i] != 0), None)
        assert far is not None
        point = subject.points[1]
        subject.boxes[1], at = Box(point, point), subject.known[1][0][far[0]][far[1]]
        subject.signs[1], subject.moves[1] = [(*far, 1 if at > 0 else 0)], []
        bounds = subject.bounds(effort, range(3))
        assert bounds.empty.tolist() == [False, True, False]
        subject.signs[1], subject.moves[1] = [], [Move(len(subject.program.layers), (layer, neuron, 0, huge))]
        beyond = subject.bounds(effort, range(3))
        subject.moves[1], subject.signs[1] = known
        for found in (bounds, beyond):
            assert not found.lost[[0, 2]].any()
            assert not found.empty[[0, 2]].any()
            for leaf in (0, 2):
                for index, (low, high) in found.inner.items():
                    values = subject.known[leaf][0][index]
                    for x, lo, hi in zip(values, low[leaf].tolist(), high[leaf].tolist(), strict=True):
                        assert Fraction(lo) <= x <= Fraction(hi)


def test_a_weight_that_is_no_float_loses_its_leaf_alone(tmp_path: Path) -> None:
    subject = Subject(1, tmp_path, 2)
    bounds = subject.bounds(1, range(2))
    layer, neuron = subject.neurons[-1]
    beyond: Facts = [((layer, neuron, 0), Fraction(2**2000))]
    found = bounds.least_of([[], beyond])
    assert bounds.lost.tolist() == [False, True]
    assert found[1] == np.finfo(np.float64).min
    assert -1e-9 < found[0] <= 0


def test_leaves_with_steps_are_settled_in_binary64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What integers settle is left to them in few cases."""
    counted: Counter[str] = Counter()
    left: list[object] = []
    for seed in range(6):
        made, rewards = tiny_claim(seed)
        if any(lo > hi for box in made.boxes for lo, hi in box):
            continue
        program, stated = kernel_program(made, rewards, tmp_path), claim_object(made)
        read = read_claim(stated)
        rng = random.Random(seed + 100)
        found = [leaf for _ in range(8) for leaf in leaves(read, proof_of_chance(rng, stated, program))]
        settled = [leaf for leaf in found if _settles(read, program, leaf)]
        with monkeypatch.context() as patch:
            patch.setattr(tier_float64, "check_leaf", lambda *of, **_: left.append(of))
            check_leaves_float64(read, program, settled)
        counted["settled"] += len(settled)
        counted["with steps"] += sum(bool(leaf.body[3]) for leaf in settled)
    assert counted["with steps"] > 10, counted
    assert len(left) < counted["settled"] // 10, (len(left), counted)


def _settles(claim: Claim, program: Program, leaf: object) -> bool:
    try:
        check_leaf(claim, program, leaf)  # type: ignore[arg-type]
    except Refused:
        return False
    return True


@pytest.mark.parametrize("seed", range(6))
def test_at_a_single_point_bounds_are_right_to_the_last_bit(seed: int, tmp_path: Path) -> None:
    """The box is one point, exact in binary64, so all that is between a bound and the value is what rounding may do."""
    subject = Subject(seed, tmp_path, 2)
    points = [tuple(Fraction(float(x)) for x in point) for point in subject.points]
    boxes, known = [Box(point, point) for point in points], [forward(subject.program, point) for point in points]
    for effort in EFFORTS:
        bounds = FloatBounds(subject.program, boxes, [{}, {}], [(), ()], effort)
        bounds.advance(len(subject.program.layers))
        for leaf, (inner, outputs) in enumerate(known):
            for index, (low, high) in bounds.inner.items():
                for x, lo, hi in zip(inner[index], low[leaf].tolist(), high[leaf].tolist(), strict=True):
                    assert Fraction(lo) <= x <= Fraction(hi)
                    assert hi - lo < 1e-6 * (1 + abs(x))
            for form, sign in known_at(subject.claim, subject.program, outputs):
                asked: list[Facts] = [[(form, Fraction(-sign))] if k == leaf else [] for k in range(2)]
                least = float(bounds.least_of(asked)[leaf])
                exact = sign * value(form, subject.program, outputs)
                assert exact - Fraction(1, 10**6) * (1 + abs(exact)) < Fraction(least) <= exact


@pytest.mark.parametrize("tier", sorted(tiers()))
@pytest.mark.parametrize("off", [-1, 1])
def test_layers_that_cancel_leave_their_rounding_behind(tier: str, off: int, tmp_path: Path) -> None:
    """N·x through three layers, less (N + off)·x in three parts, each of them exact in binary32: binary64 sees nothing
    of the difference, and layers that are on everywhere are read through."""
    factors = [2**24 - 3, 2**24 - 5, 2**24 - 17]
    while int(float(factors[0] * factors[1] * factors[2])) <= factors[0] * factors[1] * factors[2] + 1:
        factors[2] -= 2  # until the product is rounded up
    n = factors[0] * factors[1] * factors[2] + off
    parts = [n >> 48 << 48, (n & (1 << 48) - 1) >> 24 << 24, n & (1 << 24) - 1]
    tensors = {
        "u": np.array([[factors[0]], *([part] for part in parts)], np.float32),
        "v": np.diag([factors[1], 1, 1, 1]).astype(np.float32),
        "w": np.array([[factors[2], -1, -1, -1]], np.float32),
        "o": np.zeros(4, np.float32),
        "z": np.zeros(1, np.float32),
    }
    assert [int(x) for x in tensors["u"][1:, 0]] == parts
    nodes = (Input(), AffineMap(0, "u", "o"), Relu(1), AffineMap(2, "v", "o"), Relu(3), AffineMap(4, "w", "z"))
    reward = Artifact((RewardRecord("s", schema(1)),), Graph(nodes, 5), tensors, "exact")
    # R(x) = −off·x, over 1 … 2
    half, box = Fraction(1, 2), [[(Fraction(1), Fraction(2))]]
    made = claim({"R": reward.digest}, [("R", range(1))], [[atom(affine(half, {}, {0: 1}))]], box)
    proof = {"format": "rewarden-proof", "format_version": 1, "claim": "", "witness": {"box": 0, "point": ["1"]},
             "goals": [[[["leaf", 0, [], [], []]]]]}  # fmt: skip
    found = check(tmp_path / "c", Case(made, proof, {"R": reward}).rebind().write(tmp_path / "c"), 1, *tiers()[tier])
    assert found.claims[0].verdict == ("proved" if off < 0 else "refused")


@pytest.mark.parametrize("tier", sorted(tiers()))
def test_a_claim_without_variables_has_a_verdict(tier: str, tmp_path: Path) -> None:
    """relu(0) is open in binary64, and there is nothing that its bounds could be made of."""
    build = Assembly(2)
    z = build.relu(build.affine(0, np.eye(2, dtype=np.float32), np.zeros(2, np.float32)))
    done = build.finish(build.affine(z, np.ones((1, 2), np.float32), np.zeros(1, np.float32)))
    reward = Artifact((RewardRecord("s", schema(2)),), done.graph, done.tensors, "exact")
    for constant, expected in ((0, "proved"), (-1, "refused")):
        goal = [atom(affine(constant, {}, {0: 1}))]
        made = claim({"R": reward.digest}, [], [goal, goal], [[]])
        made |= {"records": [], "calls": [{"reward": "R", "arguments": [affine(0), affine(0)]}]}
        proof = {"format": "rewarden-proof", "format_version": 1, "claim": "", "witness": {"box": 0, "point": []},
                 "goals": [[[["leaf", 0, [], [], []]]]] * 2}  # fmt: skip
        paths = Case(made, proof, {"R": reward}).rebind().write(tmp_path / expected)
        (told,) = check(tmp_path / expected, paths, 1, *tiers()[tier]).claims
        assert told.verdict == expected, told.reason


@pytest.mark.parametrize("high", [2.0**-74 * 0.6, 2.0**-76, 2.0**-40, 1.0, 2.0**1000])
def test_a_line_whose_slope_is_next_to_nothing_lies_above_all_the_same(high: float) -> None:
    """A slope below the normal numbers may be twice too large, and the line below the ReLU at the far end."""
    low = -(2.0**1000)
    slope, shift = (Fraction(float(x[0])) for x in chord(np.array([low]), np.array([high])))
    assert slope * Fraction(low) + shift >= 0
    assert slope * Fraction(high) + shift >= Fraction(high)


@pytest.mark.parametrize("z", [-(2.0**940), 2.0**940])
def test_a_coefficient_that_is_lost_is_charged_with_all_that_it_was_about(z: float, tmp_path: Path) -> None:
    """−2**-1074 times a slope of a quarter is nothing; z, of which parts and size have cancelled, is not."""
    program = Subject(0, tmp_path, 1).program
    box = Box([Fraction(-1)] * program.variables, [Fraction(1)] * program.variables)
    bounds = FloatBounds(program, [box], [{}], [()], 0)
    bounds.advance(1)
    ones = np.ones((1, 1))
    bounds.reads[0] = Read({}, np.zeros(1), np.full(1, 2.0**950), np.zeros(1))
    bounds.lines[0] = Lines(ones / 4, None, ones / 4, ones * 0)
    bounds.outputs[0] = Output(np.arange(0), np.arange(1), bounds.reads[0], np.full(1, 2.0**950))
    row = Functionals({0: -ones * 2.0**-1074}, np.zeros(1, int), np.zeros(1), np.zeros(1))
    (found,) = bounds.lower_bounds(row).tolist()
    assert Fraction(found) <= -(Fraction(2) ** -1074) / 4 * Fraction(z)
