from __future__ import annotations

import operator
from fractions import Fraction
from itertools import combinations
from math import comb

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.spec_lang.obligation import Share
from rewarden.spec_lang.penalty.reading import STRICT_MARGIN
from rewarden.spec_lang.penalty.share import enough, missing
from rewarden.spec_lang.penalty.spec_penalty import PenaltyOptions, penalty_of
from tests.reference.depot import PAIRS, Level, depot, network

F = Fraction
OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
levels = st.fractions(0, 1, max_denominator=12)


@given(op=st.sampled_from(sorted(OPERATORS)), level=levels, n=st.integers(1, 24), data=st.data())
def test_enough_rows_make_the_share(op, level, n, data):
    """`k` rows satisfy q, so n − k do not: those are what `<` and `<=` want."""
    k = data.draw(st.integers(0, n))
    holds = OPERATORS[op](F(k, n), level)
    counted = k if op in (">", ">=") else n - k
    needed = enough(Share(op, level, None), n, n)
    if any(OPERATORS[op](F(j, n), level) for j in range(n + 1)):
        assert (counted >= needed) == holds
    else:
        assert needed == n + 1


def tail(n, k, p):
    return sum((comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1)), F(0))


@settings(max_examples=60)
@given(level=st.sampled_from([F(1, 2), F(3, 5), F(9, 10), F(1, 20)]), n=st.integers(1, 40))
def test_a_confidence_asks_for_clopper_pearsons_bound(level, n):
    confidence = F(95, 100)
    needed = enough(Share(">=", level, confidence), n, n)
    assert needed == n or tail(n, needed, level) <= 1 - confidence
    assert tail(n, needed - 1, level) > 1 - confidence
    assert enough(Share("<=", 1 - level, confidence), n, n) == needed


def test_few_rows_that_stand_for_many_need_less_surplus():
    share = Share(">=", F(6, 10), F(99, 100))
    assert enough(share, 50, 50) > enough(share, 50, 5000) >= enough(Share(">=", F(6, 10), None), 50, 50)


def test_many_rows_are_no_trouble():
    needed = enough(Share(">=", F(1, 2), F(99, 100)), 400_000, 400_000)
    assert 0.5 < needed / 400_000 < 0.502


@given(
    violations=st.lists(st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.0, 3.0]), min_size=1, max_size=7),
    level=levels,
    op=st.sampled_from([">", ">="]),
)
def test_what_is_missing_is_the_least_that_would_do(violations, level, op):
    share = Share(op, level, None)
    v = torch.tensor(violations, dtype=torch.float64, requires_grad=True)
    needed = enough(share, len(violations), len(violations))
    some = min(needed, len(violations))  # `share > 1` asks for one row more than there are, which counts as 1
    least = min(sum(chosen) for chosen in combinations(violations, some)) + (needed - some)
    total = missing(v, share, len(violations))
    assert total.item() == pytest.approx(least)
    assert (total.item() == 0) == OPERATORS[op](F(violations.count(0.0), len(violations)), level)
    total.backward()
    # The pull is on as many broken rows as are missing, and on none that has given up or is content.
    met = violations.count(0.0)
    assert int((v.grad != 0).sum()) == max(0, some - met)
    assert not v.grad[v.detach() == 0].any()


def test_training_reaches_the_share_and_stops(tmp_path):
    """Random pairs: about half agree at first, and no reward can please all."""
    spec = depot(tmp_path)
    head = network(4)
    penalty = penalty_of(spec, {"H": head}, rules=["agreed"], options=PenaltyOptions(points=PAIRS))
    rows = torch.from_numpy(spec.rows("prefs").values.copy()).float()

    def agreeing():
        with torch.no_grad():
            return int((head(rows[:, :4]) > head(rows[:, 4:])).sum())

    needed = enough(Share(">=", F(6, 10), F(99, 100)), PAIRS, PAIRS)
    assert agreeing() < needed
    assert penalty().item() > 0
    optimiser = torch.optim.Adam(head.parameters(), 0.01)
    for _ in range(600):
        optimiser.zero_grad()
        loss = penalty()
        if loss.item() == 0:
            break
        loss.backward()
        optimiser.step()
    assert penalty().item() == 0
    assert needed <= agreeing() < PAIRS


def test_a_minibatch_of_rows_stands_for_all_of_them(tmp_path):
    """No pair agrees, each by the least there is: what is asked for is counted."""
    spec = depot(tmp_path)
    penalty = penalty_of(spec, {"H": Level(0.0)}, rules=["agreed"], options=PenaltyOptions(points=50))
    share = Share(">=", F(6, 10), F(99, 100))
    assert penalty().item() * 50 / STRICT_MARGIN == pytest.approx(enough(share, 50, PAIRS))
    given = spec.rows("prefs").values[:50]
    assert penalty({"agreed": given}).item() * 50 / STRICT_MARGIN == pytest.approx(enough(share, 50, 50))
    assert enough(share, 50, PAIRS) != enough(share, 50, 50)
