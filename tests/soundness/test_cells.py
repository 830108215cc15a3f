"""The cells engine: its rows are below everything exact at points of the cell, and what it proves has no violation."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rewarden.spec_lang.claim import Affine, AffineAtom, Claim
from rewarden.verifier.alternatives import alternatives
from rewarden.verifier.cells import bounds
from rewarden.verifier.cells.engine import decide
from rewarden.verifier.cells.network import WIDTH, aim, layout
from rewarden.verifier.cells.search import _excluded, _shrink
from rewarden.verifier.cells.simplex import least_top
from rewarden.verifier.exact_program import ExactProgram, box_of
from rewarden.verifier.fusion import expand_linear
from rewarden.verifier.inline import compile_program
from rewarden.verifier.program import INPUT, Block, Layer, Program
from rewarden.verifier.rounding import gamma, outward, round_down
from tests.reference.how_many import part_of
from tests.reference.random_claims import atom, call_values, plain_claim, random_claim, random_point, value_of
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact, random_mlp
from tests.reference.random_programs import atom as plain_atom
from tests.reference.random_programs import claim_over, form, points_of, random_program

seeds = st.integers(0, 2**32 - 1)


def exact_pre_activations(program: Program, exact: ExactProgram, point) -> dict[int, list[Fraction]]:
    """Of every relu layer, in rational arithmetic."""
    outputs = [values.fractions() for values in exact.layers(point)]
    found = {}
    for k, layer in enumerate(program.layers):
        if layer.kind == "relu":
            found[k] = []
            for j in range(layer.width):
                row: dict[int, dict[int, Fraction]] = {}
                z = expand_linear(layer, {j: Fraction(1)}, row)
                for source, columns in row.items():
                    values = point if source == INPUT else outputs[source]
                    z += sum((c * values[i] for i, c in columns.items()), Fraction(0))
                found[k].append(z)
    return found


def at(coefficients, constant: float, point) -> Fraction | None:
    """A row's value at a point, exactly; None where it has given up."""
    if not (np.isfinite(coefficients).all() and np.isfinite(constant)):
        return None
    return Fraction(float(constant)) + sum(
        (Fraction(float(c)) * x for c, x in zip(coefficients, point, strict=True)), Fraction(0)
    )


def is_below(coefficients, constant: float, point, value: Fraction) -> bool:
    found = at(coefficients, constant, point)
    return found is None or found <= value


class Bounded:
    """The cell of a random program's box, bounded; `held` as {(layer, neuron): side}."""

    def __init__(self, program: Program, held=None, rows=None) -> None:
        found = layout(program)
        assume(found is not None)
        self.layout, self.program = found, program
        self.cell = bounds.new_cell(found.net)
        self.error = bounds.sum_error(found.net)
        self.cell.lo[:], self.cell.hi[:] = outward(program.claim.boxes[0])
        self.cell.least[:], self.cell.most[:] = -np.inf, np.inf
        for (k, j), side in (held or {}).items():
            self.cell.held[found.node[k], j] = side
        C, c = rows or (np.zeros((0, len(self.cell.lo))), np.zeros(0))
        self.unstable = bounds.bound_neurons(found.net, self.cell, C, c, len(c), self.error)

    def check(self, point, values: dict[int, list[Fraction]]) -> None:
        cell = self.cell
        for k, row in values.items():
            q = self.layout.node[k]
            for j, z in enumerate(row):
                y = max(z, Fraction(0))
                least, most = float(cell.least[q, j]), float(cell.most[q, j])
                assert not np.isfinite(least) or Fraction(least) <= z
                assert not np.isfinite(most) or z <= Fraction(most)
                if cell.phase[q, j] == bounds.OFF:
                    assert z <= 0
                    continue
                assert is_below(cell.A[q, j], cell.a[q, j], point, z)
                assert is_below(cell.B[q, j], cell.b[q, j], point, -z)
                assert is_below(cell.P[q, j], cell.p[q, j], point, y)
                assert is_below(cell.N[q, j], cell.n[q, j], point, -y)


@settings(max_examples=part_of(150), deadline=None)
@given(seeds, st.booleans())
def test_rows_are_below_what_they_bound(seed, harsh):
    rng = np.random.default_rng(seed)
    bounded = Bounded(random_program(rng, harsh=harsh))
    exact = ExactProgram(bounded.program)
    functionals = [form(calls={0: 1}), form(Fraction(1, 7), {0: Fraction(2, 3)}, {0: Fraction(-2, 3)})]
    aimed = aim(bounded.layout, [functionals])
    for point in points_of(rng, bounded.program.claim.boxes[0], 8):
        bounded.check(point, exact_pre_activations(bounded.program, exact, point))
        evaluation = exact.evaluate(point)
        for k, functional in enumerate(functionals if aimed is not None else ()):
            constant = bounds.aimed_row(bounded.layout.net, aimed, bounded.cell, k, bounded.error)
            assert is_below(bounded.cell.row, constant, point, evaluation.margin(functional))


@settings(max_examples=part_of(150), deadline=None)
@given(seeds)
def test_a_large_weight_beside_many_small_ones_is_not_rounded_for_nothing(seed):
    """Skip connections with weights near 1 and near 2^-53: what passes a neuron is swallowed by what does not."""
    rng = np.random.default_rng(seed)
    layers: list[Layer] = []
    width = {INPUT: int(rng.integers(1, 4))}

    def block(source: int, rows: int, scales: tuple[float, ...]) -> Block:
        near_one = rng.choice([1.0, -1.0, 0.99, 1 + 2**-20, -1 - 2**-20], size=(rows, width[source]))
        return Block(source, near_one * float(rng.choice(scales)))

    for k in range(int(rng.integers(2, 4))):
        rows = int(rng.choice([1, 2, 8, 40]))
        sources = sorted({k - 1, INPUT, int(rng.integers(-1, k)) if k else INPUT})
        blocks = tuple(block(s, rows, (1.0, 1.0, 2.0**-53, 2.0**-54, 2.0**-30)) for s in sources)
        layers.append(Layer("relu", blocks, rng.choice([0.0, 0.0, -1.0, 1.0, 0.5], size=rows)))
        width[k] = rows
    blocks = tuple(block(s, 1, (1.0, 2.0**-53, 2.0**-54)) for s in range(-1, len(layers)))
    layers.append(Layer("linear", blocks, np.zeros(1)))
    lo = Fraction(int(rng.integers(-1, 2)))
    box = ((lo, lo + 1),) * width[INPUT]
    program = Program(claim_over((box,), ((plain_atom(0, None, {0: 1}),),)), tuple(layers), (len(layers) - 1,))
    bounded, exact = Bounded(program), ExactProgram(program)
    functionals = [form(0, {0: 1}, {0: 1}), form(0, None, {0: -1})]
    aimed = aim(bounded.layout, [functionals])
    for _ in range(4):
        point = tuple(lo + int(rng.integers(2)) for _ in box)
        bounded.check(point, exact_pre_activations(program, exact, point))
        evaluation = exact.evaluate(point)
        for k, functional in enumerate(functionals):
            constant = bounds.aimed_row(bounded.layout.net, aimed, bounded.cell, k, bounded.error)
            assert is_below(bounded.cell.row, constant, point, evaluation.margin(functional))


@pytest.mark.parametrize("end, discrete", [(2**70, ()), (2**53, (0,))])
def test_inputs_beyond_the_error_analysis_are_not_for_it(end, discrete):
    claim = claim_over((((Fraction(0), Fraction(end)),),), ((plain_atom(1, {0: 1}),),), calls=0, discrete=discrete)
    assert decided_program(Program(claim, (), ())) is None
    small = claim_over((((Fraction(0), Fraction(9)),),), ((plain_atom(1, {0: 1}),),), calls=0, discrete=discrete)
    assert decided_program(Program(small, (), ())).status == "proved"


@settings(max_examples=part_of(150), deadline=None)
@given(seeds)
def test_rows_hold_on_the_side_to_which_neurons_are_held(seed):
    rng = np.random.default_rng(seed)
    first = Bounded(random_program(rng))
    net, cell = first.layout.net, first.cell
    layers = {q: k for k, q in first.layout.node.items()}
    open_ = [
        (q, j)
        for q in range(1, len(net.bias))
        for j in range(net.graph[q, WIDTH])
        if cell.phase[q, j] == bounds.UNSTABLE and np.isfinite(cell.most[q, j] - cell.least[q, j])
    ]
    assume(open_)
    chosen = [open_[int(i)] for i in rng.choice(len(open_), min(2, len(open_)), replace=False)]
    sides = {(q, j): int(rng.integers(1, 3)) for q, j in chosen}
    C = np.array([cell.B[q, j] if side == 1 else cell.A[q, j] for (q, j), side in sides.items()])
    c = np.array([cell.b[q, j] if side == 1 else cell.a[q, j] for (q, j), side in sides.items()])
    second = Bounded(first.program, {(layers[q], j): side for (q, j), side in sides.items()}, (C, c))
    exact = ExactProgram(first.program)
    for point in points_of(rng, first.program.claim.boxes[0], 24):
        values = exact_pre_activations(first.program, exact, point)
        if all((values[layers[q]][j] >= 0) == (side == 1) for (q, j), side in sides.items()):
            assert second.unstable >= 0, "a cell with a point was said to have none"
            second.check(point, values)
            lo, hi = second.cell.lo.copy(), second.cell.hi.copy()
            discrete = np.zeros(len(lo), np.bool_)
            assert _shrink(C, c, len(c), lo, hi, discrete, second.error)
            assert all(Fraction(a) <= x <= Fraction(b) for a, x, b in zip(lo, point, hi, strict=True))
            assert not _excluded(C, c, len(c), rng.random(len(c)), lo, hi, second.error)


@settings(max_examples=part_of(300), deadline=None)
@given(seeds)
def test_shrinking_keeps_points_at_which_a_row_is_all_but_0(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    lo = rng.normal(size=n) * 10.0 ** rng.integers(-8, 9, n)
    hi = lo + rng.random(n) * 10.0 ** rng.integers(-8, 9, n)
    C = rng.normal(size=(1, n)) * 10.0 ** rng.integers(-8, 9, n)
    corner = np.where(C[0] > 0, lo, hi)  # all but one variable where the row is least: then the cut meets the point
    free = int(rng.integers(n))
    point = [Fraction(float(v)) for v in corner]
    point[free] = Fraction(float(min(max(lo[free] + rng.random() * (hi[free] - lo[free]), lo[free]), hi[free])))
    c = np.array([round_down(-sum(Fraction(float(a)) * x for a, x in zip(C[0], point, strict=True)))])
    g = gamma(64)
    assert _shrink(C, c, 1, lo, hi, np.zeros(n, np.bool_), g)
    assert all(Fraction(float(a)) <= x <= Fraction(float(b)) for a, x, b in zip(lo, point, hi, strict=True))


@settings(max_examples=part_of(200), deadline=None)
@given(seeds)
def test_the_linear_program_meets_its_dual(seed):
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 6)), int(rng.integers(1, 9))
    C, c = rng.normal(size=(m, n)).round(int(rng.integers(0, 4))), rng.normal(size=m)
    lo = rng.normal(size=n)
    hi = lo + rng.random(n) * rng.integers(0, 3, n)
    multipliers, x = np.zeros(m), np.zeros(n)
    t = least_top(
        C, c, m, lo, hi, np.zeros((m + 1, n + m + 2)), np.zeros(m, np.int64), np.zeros(n, np.bool_), multipliers, x
    )
    assert (lo <= x).all()
    assert (x <= hi).all()
    assert (C @ x + c).max() <= t + 1e-9  # the point attains t
    row = multipliers @ C
    assert multipliers @ c + np.where(row > 0, row * lo, row * hi).sum() >= t - 1e-9  # and nothing below t can be


# ── verdicts ───────────────────────────────────────────────────────────────────────────────────
def decided(claim: Claim, artifacts, budget: int = 400):
    program = compile_program(claim, artifacts)
    return decided_program(program, budget)


def decided_program(program: Program, budget: int = 400):
    exact = ExactProgram(program)

    def violates(point) -> bool:
        evaluation = exact.evaluate(point)
        inside = box_of(program.claim, point) is not None
        return inside and evaluation.premise_holds(program.claim) and bool(evaluation.failing_goals(program.claim))

    return decide(program, budget, violates, lambda share, boxes: None, lambda: False)


@settings(max_examples=part_of(60), deadline=None)
@given(seeds, st.booleans())
def test_no_proof_where_a_point_violates(seed, mixed):
    rng = np.random.default_rng(seed)
    record_type = MIXED if mixed else TWO_REALS
    rewards = {"R": random_artifact(rng, record_type, size=int(rng.integers(1, 6)))}
    claim = random_claim(rng, record_type, rewards)
    outcome = decided(claim, rewards)
    assume(outcome is not None)
    program = compile_program(claim, rewards)
    exact = ExactProgram(program)
    if outcome.point is not None:
        evaluation = exact.evaluate(outcome.point)
        assert evaluation.premise_holds(claim)
        assert evaluation.failing_goals(claim)
    for _ in range(80 if outcome.status == "proved" else 0):
        evaluation = exact.evaluate(random_point(rng, claim))
        assert not (evaluation.premise_holds(claim) and evaluation.failing_goals(claim))


@settings(max_examples=part_of(60), deadline=None)
@given(seeds)
def test_a_limit_a_hair_above_the_least_value_is_not_proved(seed):
    """The reward's least value on a grid, exactly, and a rule that asks for 2^-70 more."""
    rng = np.random.default_rng(seed)
    rewards = {"R": random_mlp(rng, TWO_REALS, (6, 4))}
    bare = plain_claim(TWO_REALS, rewards, goals=((atom(0, {}, {0: 1}),),))
    points = [random_point(rng, bare) for _ in range(60)]
    least = min(call_values(bare, rewards, point)[0] for point in points)
    above, below = least + Fraction(1, 2**70), least - Fraction(1, 2**10)
    claim = plain_claim(TWO_REALS, rewards, goals=((_at_least(above),),))
    assert decided(claim, rewards, 2_000).status != "proved"
    lower = decided(plain_claim(TWO_REALS, rewards, goals=((_at_least(below),),)), rewards, 2_000)
    assert lower.status in ("proved", "violated", "unknown")


def _at_least(level: Fraction, sign: int = 1) -> AffineAtom:
    """sign·R >= level."""
    return AffineAtom(Affine(-level, (), ((0, Fraction(sign)),)), False)


@settings(max_examples=part_of(60), deadline=None)
@given(seeds)
def test_no_proof_where_one_of_several_goals_fails_somewhere(seed):
    """Rows that hold where one goal fails say nothing of where another does."""
    rng = np.random.default_rng(seed)
    rewards = {"R": random_mlp(rng, TWO_REALS, (6, 4))}
    bare = plain_claim(TWO_REALS, rewards, goals=((atom(0, {}, {0: 1}),),))
    values = sorted(call_values(bare, rewards, random_point(rng, bare))[0] for _ in range(60))
    least, most = values[0], values[-1]
    room = (most - least) / 4 + Fraction(1, 2**20)
    fails = int(rng.integers(2))
    levels = (least + Fraction(1, 2**40), -most - room) if fails == 0 else (least - room, -most + Fraction(1, 2**40))
    goals = ((_at_least(levels[0]),), (_at_least(levels[1], -1),))
    order = goals if rng.random() < 0.5 else goals[::-1]
    assert decided(plain_claim(TWO_REALS, rewards, goals=order), rewards, 2_000).status != "proved"


def test_it_settles_what_it_is_for():
    """A test of the test: an engine that never proves anything would pass the others."""
    statuses = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        rewards = {"R": random_mlp(rng, TWO_REALS, (8, 8))}
        bare = plain_claim(TWO_REALS, rewards, goals=((atom(0, {}, {0: 1}),),))
        least = min(call_values(bare, rewards, random_point(rng, bare))[0] for _ in range(200))
        for level in (least - Fraction(1, 4), least + Fraction(1, 4)):
            statuses.append(
                decided(plain_claim(TWO_REALS, rewards, goals=((_at_least(level),),)), rewards, 5_000).status
            )
    assert statuses.count("proved") >= 10
    assert statuses.count("violated") >= 10


def test_alternatives_are_premises_and_one_goal_each():
    claim = claim_over(
        (((Fraction(0), Fraction(1)),),),
        ((plain_atom(1, None, {0: 1}), plain_atom(2)), (plain_atom(3),)),
        ((plain_atom(4), plain_atom(5)), (plain_atom(6),)),
    )
    found = [[a.constant for a in way] for way in alternatives(claim)]
    assert found == [[-4, -6, 1, 2], [-5, -6, 1, 2], [-4, -6, 3], [-5, -6, 3]]
    assert value_of(alternatives(claim)[0][2], (), (Fraction(7),)) == 8


@pytest.mark.parametrize("goal", [plain_atom(0, {0: 1}), plain_atom(0, {0: 1}, strict=True)])
def test_what_fails_by_equality_alone_is_left_open(goal):
    program = Program(claim_over((((Fraction(0), Fraction(1)),),), ((goal,),), calls=0), (), ())
    assert decided_program(program).status == "unknown"


def test_no_variables_or_gates_are_not_for_it():
    rng = np.random.default_rng(3)
    rewards = {"R": random_artifact(rng, TWO_REALS, size=2, patches=1)}
    claim = plain_claim(TWO_REALS, rewards, goals=((atom(0, {}, {0: 1}),),))
    assert decided(claim, rewards) is None
