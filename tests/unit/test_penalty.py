from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rewarden.spec_lang.errors import BindingError
from rewarden.spec_lang.evaluate import truth, truth_of_rows
from rewarden.spec_lang.obligation import (
    FALSE,
    TRUE,
    And,
    Call,
    Const,
    Max,
    Or,
    RecordView,
    Statistic,
    Sum,
    Var,
    Variable,
)
from rewarden.spec_lang.penalty import STRICT_MARGIN, penalty, sample_points, soft_sum
from rewarden.spec_lang.sampling import band
from tests.reference.warehouse import (
    CHARGER,
    CLEARANCE,
    HUMAN,
    POOR_DAY,
    R_OF_S,
    SPEED,
    F,
    at_least,
    at_most,
    near_logs,
    no_speed_bonus,
    one_hot,
    one_record,
    slow_near_people,
    times,
)

IN_REGION = [0.5, 1.0, 1.0, 1.0, 0.0, 0.0]
ELSEWHERE = [2.0, 1.0, 1.0, 1.0, 0.0, 0.0]


def points(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def level(value):
    """A constant reward whose level can be learned."""
    weight = torch.tensor(float(value), dtype=torch.float64, requires_grad=True)
    return weight, lambda x: weight.expand(len(x))


def test_only_points_in_the_premise_count():
    weight, reward = level(1.0)
    found = penalty(no_speed_bonus(), {"R": reward}, points(IN_REGION, ELSEWHERE), statistics={POOR_DAY: F("1/4")})
    assert found.tolist() == [0.75, 0.0]
    found.sum().backward()
    assert weight.grad.item() == 1.0


def test_the_premise_is_decided_without_tolerance():
    _, reward = level(1.0)
    edge = float(np.nextafter(1.0, 0.0))
    rows = points([edge, *IN_REGION[1:]], [1.0, *IN_REGION[1:]])
    assert penalty(no_speed_bonus(), {"R": reward}, rows, statistics={POOR_DAY: 0.5}).tolist() == [0.5, 0.0]


def test_rewards_are_not_asked_where_the_premise_fails():
    asked = []

    def reward(x):
        asked.append(len(x))
        return x[:, 0]

    penalty(no_speed_bonus(), {"R": reward}, points(IN_REGION, ELSEWHERE, ELSEWHERE), statistics={POOR_DAY: 0.0})
    assert asked == [1]


def test_no_counting_point_still_has_a_gradient_to_take():
    weight, reward = level(1.0)
    found = penalty(no_speed_bonus(), {"R": reward}, points(ELSEWHERE), statistics={POOR_DAY: 0.0})
    found.sum().backward()
    assert found.tolist() == [0.0]
    assert weight.grad.item() == 0.0


def test_strict_conclusions_count_equality():
    weight, reward = level(1.0)
    strictly_above = one_record(TRUE, at_least(R_OF_S, Const(F(1)), strict=True))
    found = penalty(strictly_above, {"R": reward}, points(IN_REGION))
    assert found.item() == STRICT_MARGIN
    found.sum().backward()
    assert weight.grad.item() == -1.0
    assert penalty(one_record(TRUE, at_least(R_OF_S, Const(F(1)))), {"R": reward}, points(IN_REGION)).item() == 0.0


def test_conjuncts_add_up_and_disjuncts_take_the_least():
    _, reward = level(0.0)
    one, two = at_least(R_OF_S, Const(F(1))), at_least(R_OF_S, Const(F(2)))
    assert penalty(one_record(TRUE, And((one, two))), {"R": reward}, points(IN_REGION)).item() == 3.0
    assert penalty(one_record(TRUE, Or((one, two))), {"R": reward}, points(IN_REGION)).item() == 1.0
    assert penalty(one_record(TRUE, FALSE), {"R": reward}, points(IN_REGION)).item() == 1.0
    assert penalty(one_record(TRUE, TRUE), {"R": reward}, points(IN_REGION)).item() == 0.0


def test_statistics_are_detached():
    level_of_data = torch.tensor(0.25, dtype=torch.float64, requires_grad=True)
    weight, reward = level(1.0)
    penalty(no_speed_bonus(), {"R": reward}, points(IN_REGION), statistics={POOR_DAY: level_of_data}).sum().backward()
    assert level_of_data.grad is None
    assert weight.grad.item() == 1.0


def test_what_is_missing_or_misshapen_is_named():
    rows = points(IN_REGION)
    for rewards, statistics, code in [
        ({}, {POOR_DAY: 0.0}, "B22"),
        ({"R": lambda x: x[:, 0]}, {}, "B21"),
        ({"R": lambda x: x}, {POOR_DAY: 0.0}, "B23"),
        ({"R": lambda x: x[:, 0] * float("inf")}, {POOR_DAY: 0.0}, "B23"),
    ]:
        with pytest.raises(BindingError) as caught:
            penalty(no_speed_bonus(), rewards, rows, statistics=statistics)
        assert caught.value.code == code
    with pytest.raises(ValueError):
        penalty(no_speed_bonus(), {}, rows, temperature=0.0)


def test_columns_of_one_number_per_row_may_be_two_dimensional():
    found = penalty(no_speed_bonus(), {"R": lambda x: x[:, :1]}, points(IN_REGION), statistics={POOR_DAY: 0.0})
    assert found.tolist() == [0.5]


@settings(max_examples=60, deadline=None)
@given(
    violations=st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=5),
    temperature=st.sampled_from([1e-4, 0.1, 1.0, 50.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_soft_sum_is_zero_exactly_at_zero_and_between_mean_and_max(violations, temperature, dtype):
    v = torch.tensor(violations, dtype=dtype, requires_grad=True)
    total = soft_sum(v.unsqueeze(1), temperature)[0]
    assert torch.isfinite(total)
    largest = v.detach().max().item()
    if largest == 0 or largest / temperature > 1e-30:  # float32 has nothing below
        assert (total.item() == 0) == (largest == 0)
    slack = 1e-5 * (largest + temperature)
    assert v.detach().double().mean().item() - slack <= total.item() <= largest + slack
    total.backward()
    assert torch.isfinite(v.grad).all()
    if largest / temperature > 1e-30:
        assert v.grad[v.detach().argmax()].item() > 0


@pytest.mark.parametrize("temperature", [None, 0.1])
@settings(max_examples=40, deadline=None)
@given(
    levels=st.tuples(*[st.integers(-8, 8)] * 2),
    bounds=st.lists(
        st.tuples(st.sampled_from(["R", "Base"]), st.integers(-8, 8), st.booleans()), min_size=1, max_size=4
    ),
)
def test_violation_comes_with_a_gradient(temperature, levels, bounds):
    """Satisfiable conjunctions (lower bounds only): gradient with respect to some output wherever it is broken."""
    parts = tuple(at_least(Call(name, R_OF_S.arguments), Const(F(b)), strict) for name, b, strict in bounds)
    (w, r), (v, base) = level(levels[0]), level(levels[1])
    found = penalty(one_record(TRUE, And(parts)), {"R": r, "Base": base}, points(IN_REGION), temperature)
    if found.item() > 0:
        found.sum().backward()
        assert any(x.grad is not None and x.grad.item() != 0 for x in (w, v))


# ── sampling ───────────────────────────────────────────────────────────────────────────────────
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


def test_limits_without_a_binary_value_are_kept():
    """0.1 as binary64 is above 1/10: samples stay below."""
    obligation = one_record(TRUE, TRUE)
    narrow = replace(obligation.variables[0], lo=F("3/10"), hi=F("3/10") + Fraction(1, 2**53))
    obligation = replace(obligation, variables=(narrow, *obligation.variables[1:]))
    holds_everywhere(obligation, sample_points(obligation, 64, 0).numpy())


def test_statistics_in_messages_read_like_the_spec():
    with pytest.raises(Exception, match=r"mean\(R\(logs\)\)"):
        truth(at_least(Statistic("mean", "R", "logs"), Const(F(0))), [])


def test_one_hot_is_part_of_what_counts():
    _, reward = level(1.0)
    bad = [0.5, 1.0, 1.0, 1.0, 1.0, 0.0]
    assert penalty(no_speed_bonus(), {"R": reward}, points(bad), statistics={POOR_DAY: 0.0}).tolist() == [0.0]
    assert one_hot(3, 4, 5) == no_speed_bonus().structure
