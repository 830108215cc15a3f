from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.spec_lang.obligation import TRUE, And, Const, Formula, Max, RecordView, Sum, Var, Variable
from rewarden.spec_lang.penalty.pointwise import sample_points
from rewarden.spec_lang.penalty.pools import obligations
from rewarden.spec_lang.sampling.boxes import band
from rewarden.spec_lang.sampling.points import Sampler, sample_rows, without_calls
from rewarden.spec_lang.spec import parse_spec
from tests.reference.depot import depot
from tests.reference.warehouse import (
    CHARGER,
    CLEARANCE,
    HUMAN,
    SPEED,
    F,
    at_least,
    at_most,
    near_logs,
    no_speed_bonus,
    one_record,
    slow_near_people,
    times,
)


def holds_everywhere(obligation, rows):
    wanted = And((obligation.structure, obligation.assume, obligation.premise))
    assert truth_of_rows(wanted, rows).all()
    for index, variable in enumerate(obligation.variables):
        assert all(variable.lo <= Fraction(float(x)) <= variable.hi for x in rows[:, index])
        assert not variable.discrete or (rows[:, index] == np.floor(rows[:, index])).all()


@pytest.mark.parametrize("obligation", [no_speed_bonus(), slow_near_people(), one_record(TRUE, TRUE)])
def test_samples_satisfy_the_premise_exactly(obligation):
    rows = sample_points(obligation, 200, 3).numpy()
    assert rows.shape == (200, len(obligation.variables))
    holds_everywhere(obligation, rows)
    assert (rows[:, 3:6].sum(axis=1) == 1).all()
    assert set(map(tuple, rows[:, 3:6])) > {(1.0, 0.0, 0.0)}  # more than one case is seen
    assert (sample_points(obligation, 200, 3).numpy() == rows).all()
    assert (sample_points(obligation, 200, 4).numpy() != rows).any()


def test_narrow_premises_are_reached():
    thin = And(
        (
            at_least(CLEARANCE, Const(F("19999/10000"))),
            at_most(CLEARANCE, Const(F(2))),
            at_least(SPEED, Const(F("1/2"))),
            at_most(SPEED, Const(F("1/2"))),
            at_least(CHARGER, Const(F(1))),
            at_least(HUMAN, Const(F(1))),
        )
    )
    obligation = one_record(thin, TRUE)
    rows = sample_points(obligation, 50, 0).numpy()
    assert len(rows) == 50
    holds_everywhere(obligation, rows)


def test_premises_that_no_single_variable_mends_are_reached():
    small = Sum(tuple(Max((Var(k), times(-1, Var(k)))) for k in range(8)))
    variables = tuple(Variable("x", f"e[{k}]", False, F(-1), F(1)) for k in range(8))
    obligation = replace(
        one_record(at_most(small, Const(F(1))), TRUE),
        variables=variables,
        records=(RecordView("x", "Emb", tuple(range(8))),),
        structure=TRUE,
        assume=TRUE,
    )
    rows = sample_points(obligation, 100, 0).numpy()  # 1 point in 40,320 of the box
    assert len(rows) == 100
    holds_everywhere(obligation, rows)


def test_an_impossible_premise_gives_no_points():
    assert sample_points(one_record(at_least(SPEED, Const(F(9))), TRUE), 20, 0).shape == (0, 6)


def test_near_data_points_lie_in_the_rows_boxes():
    anchors = np.array([[1.0, 0.3, 1, 0, 1, 0], [4.95, 0.2, 0, 1, 0, 0]])
    obligation = near_logs(anchors)
    rows = sample_points(obligation, 100, 0).numpy()
    assert len(rows) == 100
    holds_everywhere(obligation, rows)
    nearest = np.array([1 if row[2] == 0 else 0 for row in rows])
    assert set(nearest) == {0, 1}
    for row, anchor in zip(rows, anchors[nearest], strict=True):
        assert (row[2:] == anchor[2:]).all()
        assert all(abs(Fraction(row[k]) - Fraction(anchor[k])) <= F("1/10") for k in (0, 1))


@given(centre=st.floats(-1e6, 1e6), radius=st.fractions(0, 1000))
@example(centre=0.1, radius=Fraction(1, 10))
def test_bands_never_reach_beyond_the_radius(centre, radius):
    low, high = band(np.array([centre]), radius)
    assert Fraction(centre) - radius <= Fraction(low[0]) <= Fraction(centre) <= Fraction(high[0])
    assert Fraction(high[0]) <= Fraction(centre) + radius


def test_bands_end_at_the_radius_where_it_can_be_written():
    low, high = band(np.array([0.5, -3.0]), Fraction(1, 4))
    assert list(low) == [0.25, -3.25]
    assert list(high) == [0.75, -2.75]


@pytest.mark.parametrize(("radius", "steps"), [("1 / 2", {0}), ("1", {-1, 0, 1}), ("5 / 2", {-2, -1, 0, 1, 2})])
@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_whole_numbers_near_data_stay_whole_and_reach_the_ends(tmp_path, radius, steps, norm):
    (tmp_path / "d.csv").write_text("n,x\n0,0\n7,0.5\n")
    text = f"""spec close v1
features S {{ n: int in -9 .. 9  x: real in 0 .. 1 }}
reward R(s: S)
data d: S from "d.csv"
must r: forall s: S near d within {{n = {radius}}} in {norm} expect R(s) >= R(anchor(s))
"""
    rows = sample_rows(parse_spec(text, base=tmp_path).obligation("r"), 400, 0)
    assert set(rows[:, 0] - rows[:, 2]) == steps


def test_limits_without_a_binary_value_are_kept():
    """0.1 as binary64 is above 1/10: samples stay below."""
    obligation = one_record(TRUE, TRUE)
    narrow = replace(obligation.variables[0], lo=F("3/10"), hi=F("3/10") + Fraction(1, 2**53))
    obligation = replace(obligation, variables=(narrow, *obligation.variables[1:]))
    holds_everywhere(obligation, sample_points(obligation, 64, 0).numpy())


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return depot(tmp_path_factory.mktemp("depot"))


@pytest.mark.parametrize("rule", ["slow", "same", "closer", "shaped", "shorter", "exactly", "loop", "steady", "each"])
def test_every_kind_of_rule_is_sampled(spec, rule):
    for obligation in obligations(spec, spec.rule(rule)):
        rows = sample_rows(obligation, 60, 1)
        assert len(rows) == 60
        holds_everywhere(replace(obligation, premise=without_calls(obligation.premise)), rows)
        assert len(np.unique(rows, axis=0)) > 40


def test_moves_of_a_trace_move(spec):
    """Not sixty times the same record standing still."""
    obligation = spec.unrolled("exactly", 3)
    rows = sample_rows(obligation, 60, 1)
    first, last = (list(obligation.records[k].variables) for k in (0, 2))
    assert (rows[:, first] != rows[:, last]).any(axis=1).mean() > 0.8


@pytest.mark.parametrize("near", ["linf(a.e - b.e) <= 0.01", "l2(a.e - b.e) <= 0.02", "l1(a.e - b.e) <= 0.05"])
def test_pairs_that_are_close_in_many_dimensions_are_found(near):
    """No random pair is, and no single variable makes it so: the records move towards each other."""
    spec = parse_spec(
        "spec pairs v1\nfeatures E { e: real ^ 24 in -1 .. 1 z: enum {p, q} }\nreward H(x: E)\n"
        f"must m: forall a, b: E given {near} and a.z == b.z expect H(a) <= H(b) + 1\n"
    )
    obligation = spec.obligation("m")
    rows = sample_rows(obligation, 40, 0)
    assert len(rows) == 40
    holds_everywhere(obligation, rows)
    a, b = (rows[:, list(view.variables)] for view in obligation.records)
    assert (a != b).any(axis=1).all()


@pytest.mark.parametrize("norm, width", [("l2", 64), ("l1", 24)])
def test_balls_of_many_dimensions_are_reached(tmp_path, norm, width):
    """A box around the row has next to nothing of its volume in the ball."""
    np.savez(tmp_path / "d.npz", e=np.random.default_rng(0).uniform(-1, 1, (9, width)))
    spec = parse_spec(
        f"spec ball v1\nfeatures E {{ e: real ^ {width} in -1 .. 1 }}\nreward H(x: E)\n"
        f'data d: E from "d.npz"\nmust m: forall x: E near d within 0.1 in {norm} expect H(x) <= 1\n',
        base=tmp_path,
    )
    obligation = spec.obligation("m")
    rows = sample_rows(obligation, 50, 0)
    assert len(rows) == 50
    holds_everywhere(obligation, rows)
    x, anchor = (rows[:, list(view.variables)] for view in obligation.records)
    reach = np.linalg.norm(x - anchor, ord=1 if norm == "l1" else 2, axis=1)
    assert (reach <= 0.1 * (1 + 1e-12)).all()
    assert reach.mean() > 0.03


def test_points_in_binary32_stay_in_boxes_that_have_some(spec):
    (obligation,) = obligations(spec, spec.rule("slow"))
    rows = Sampler(obligation, single=True).draw(50, np.random.default_rng(0)).rows
    assert (rows.astype(np.float32) == rows).all()
    tight = replace(obligation.variables[0], lo=F("1/10"), hi=F("1/10") + Fraction(1, 2**40))  # none in there
    narrow = replace(obligation, variables=(tight, *obligation.variables[1:]))
    rows = Sampler(narrow, single=True).draw(20, np.random.default_rng(0)).rows
    holds_everywhere(narrow, rows)


def test_points_near_rows_are_told_from_others(spec):
    (obligation,) = obligations(spec, spec.rule("steady"))
    sampler = Sampler(obligation)
    rows = sampler.draw(40, np.random.default_rng(0)).rows
    assert sampler.covered(rows).all()
    moved = rows.copy()
    moved[:, 0] += 0.05
    assert not sampler.covered(moved).any()
    (each,) = obligations(spec, spec.rule("each"))
    data = Sampler(each)
    assert data.covered(data.draw(20, np.random.default_rng(0)).rows).all()
    assert not data.covered(np.zeros((1, 8))).any()


def test_no_rows_satisfy_and_none_are_drawn(spec):
    (each,) = obligations(spec, spec.rule("each"))
    impossible = replace(each, premise=at_least(Var(0), Const(F(2))))
    assert Sampler(impossible).draw(20, np.random.default_rng(0)).rows.shape == (0, 8)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), share=st.floats(0, 1))
def test_a_point_is_pulled_until_it_holds_or_left_alone(seed, share):
    """Towards the middle of a small ball; towards a place outside, nothing moves."""
    inside: Formula = at_most(
        Sum((Max((Var(0), times(-1, Var(0)))), Max((Var(1), times(-1, Var(1)))))), Const(F("1/8"))
    )
    variables = tuple(Variable("x", name, False, F(-1), F(1)) for name in "ab")
    obligation = replace(
        one_record(inside, TRUE),
        variables=variables,
        records=(RecordView("x", "T", (0, 1)),),
        structure=TRUE,
        assume=TRUE,
    )
    sampler = Sampler(obligation)
    generator = np.random.default_rng(seed)
    batch = sampler.uniform(16, generator)
    failing = ~sampler.holds(batch.rows)
    before = batch.rows.copy()
    away = sampler.pull(batch, failing, np.full((16, 2), 0.5 + share / 2), generator)
    assert (batch.rows[~away] == before[~away]).all()
    failing = ~sampler.holds(batch.rows)
    assert (sampler.pull(batch, failing, np.zeros((16, 2)), generator) == failing).all()
    assert sampler.holds(batch.rows).all()
