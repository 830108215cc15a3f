from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.spec_lang import parse_spec
from rewarden.spec_lang.errors import BindingError
from rewarden.spec_lang.evaluate import truth
from rewarden.spec_lang.obligation import (
    FALSE,
    TRUE,
    And,
    Call,
    Const,
    Or,
    Statistic,
)
from rewarden.spec_lang.penalty.pointwise import STRICT_MARGIN, penalty
from rewarden.spec_lang.penalty.reading import soft_sum
from tests.reference.warehouse import (
    POOR_DAY,
    R_OF_S,
    F,
    at_least,
    no_speed_bonus,
    one_hot,
    one_record,
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


def test_statistics_in_messages_read_like_the_spec():
    with pytest.raises(Exception, match=r"mean\(R\(logs\)\)"):
        truth(at_least(Statistic("mean", "R", "logs"), Const(F(0))), [])


def test_one_hot_is_part_of_what_counts():
    _, reward = level(1.0)
    bad = [0.5, 1.0, 1.0, 1.0, 1.0, 0.0]
    assert penalty(no_speed_bonus(), {"R": reward}, points(bad), statistics={POOR_DAY: 0.0}).tolist() == [0.0]
    assert one_hot(3, 4, 5) == no_speed_bonus().structure


@pytest.mark.parametrize("temperature", [None, 0.5])
def test_an_alternative_that_features_make_hopeless_does_not_hold_the_gradient(temperature):
    """At x = 0 the first alternative asks 0 · R(s) >= 1 / 2: close, and out of reach. The second can be had."""
    text = """spec dead v1
features S { x: real in 0 .. 1 }
reward R(s: S)
must r: forall s: S expect s.x * R(s) >= 0.5 or R(s) >= 4
"""
    weight, reward = level(1.0)
    obligation = parse_spec(text).obligation("r")
    found = penalty(obligation, {"R": reward}, points([0.0], [0.25]), temperature)
    assert found.tolist() == pytest.approx([3.0, 0.25])
    found[0].backward()
    assert weight.grad.item() == -1.0


def test_atoms_that_are_not_affine_can_contradict_affine_ones():
    """At x = 0 the first alternative asks R(s) < -1 and R(s) > 0 at once: pushed up, R(s) reaches the second."""
    text = """spec stuck v1
features S { x: real in 0 .. 1 }
reward R(s: S)
must r: forall s: S expect (R(s) <= -1 and R(s) - s.x * R(s) >= 0) or R(s) >= 2
"""
    weight, reward = level(-0.5)
    found = penalty(parse_spec(text).obligation("r"), {"R": reward}, points([0.0]))
    found.sum().backward()
    assert weight.grad.item() == -1.0
