from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from rewarden.spec_lang import boxes
from rewarden.spec_lang.claim import Affine, AffineAtom, ClaimConstant
from rewarden.spec_lang.claims import claim_of
from rewarden.spec_lang.classify import classify
from rewarden.spec_lang.errors import BindingError, DataError, Unsupported
from rewarden.spec_lang.obligation import (
    FALSE,
    TRUE,
    And,
    Atom,
    Call,
    Const,
    Ite,
    Max,
    Min,
    Obligation,
    Or,
    Product,
    Quotient,
    Sqrt,
    Sum,
    Var,
)
from tests.reference.warehouse import (
    CLEARANCE,
    DIGESTS,
    HUMAN,
    POOR_DAY,
    R_OF_S,
    SPAN,
    SPEED,
    F,
    at_least,
    at_most,
    braking_pays,
    near_logs,
    no_speed_bonus,
    one_record,
    slow_near_people,
    times,
)


def claim(obligation: Obligation, statistics=None, rewards=None):
    known = {POOR_DAY: F("31/100")} if statistics is None else statistics
    return claim_of(
        obligation,
        rewards=DIGESTS if rewards is None else rewards,
        statistics=known,
        data_digests={"logs": DIGESTS["logs"]},
    )


def affine(constant, variables=(), calls=()):
    return Affine(F(constant), tuple((i, F(c)) for i, c in variables), tuple((i, F(c)) for i, c in calls))


def test_a_bound_in_a_region():
    made = claim(no_speed_bonus())
    assert made.clauses == (
        (AffineAtom(affine(-1, [(3, 1), (4, 1), (5, 1)]), False),),
        (AffineAtom(affine(1, [(3, -1), (4, -1), (5, -1)]), False),),
        (AffineAtom(affine(0, [(5, -1)]), False), AffineAtom(affine("1/2", [(1, -1)]), False)),
        (AffineAtom(affine(-1, [(2, 1)]), False),),
        (AffineAtom(affine(1, [(0, -1)]), True),),
        (AffineAtom(affine("-1/2", [(1, 1)]), True),),
    )
    assert made.goals == ((AffineAtom(affine("31/100", calls=[(0, -1)]), False),),)
    assert made.constants == (ClaimConstant("quantile(R(logs), 1/20)", DIGESTS["logs"], F("31/100")),)
    assert made.rewards == (("R", DIGESTS["R"]),)
    assert [v.name for v in made.variables][:3] == ["s.clearance", "s.speed", "s.human_near"]
    assert made.boxes == (((F(0), F(5)), (F(0), F("5/2")), *[(F(0), F(1))] * 4),)
    assert made.instances is None


def test_updates_and_pairs_share_calls():
    what_if = claim(braking_pays())
    assert what_if.calls[0].arguments[1] == affine("-1/2", [(1, 1)])
    assert len(what_if.calls) == 2
    pair = claim(slow_near_people())
    assert [call.arguments[1] for call in pair.calls] == [affine(0, [(1, 1)]), affine(0, [(6, 1)])]
    assert pair.records[1].variables == (0, 6, 2, 3, 4, 5)


def test_equal_calls_are_one_and_cancelled_calls_vanish():
    doubled = Call("R", (*R_OF_S.arguments[:1], times("1/2", Sum((SPEED, SPEED))), *R_OF_S.arguments[2:]))
    same = claim(one_record(TRUE, at_least(R_OF_S, doubled)))
    assert same.goals == ()
    assert same.calls == ()
    assert same.rewards == ()
    three = claim(one_record(TRUE, at_least(Sum((R_OF_S, R_OF_S, doubled)), Const(F(1)))))
    assert three.goals == ((AffineAtom(affine(-1, calls=[(0, 3)]), False),),)


def test_a_false_premise_is_a_clause_without_atoms():
    for premise in (FALSE, at_least(Const(F(0)), Const(F(1))), And((RISKY_FALSE, at_least(SPEED, Const(F(1)))))):
        assert claim(one_record(premise, TRUE)).clauses == ((),)


RISKY_FALSE = Atom(Const(F(0)), True)


def test_true_and_false_atoms_disappear():
    premise = Or((at_least(SPEED, Const(F(1))), Atom(Const(F(-1)), False)))
    assert claim(one_record(premise, TRUE)).clauses[-1] == (AffineAtom(affine(-1, [(1, 1)]), False),)
    tautology = Or((at_least(SPEED, Const(F(1))), at_most(SPEED, Const(F(1)), strict=True)))
    assert claim(one_record(tautology, TRUE)).clauses == claim(one_record(TRUE, TRUE)).clauses


def test_max_splits_by_polarity():
    widest = Max((SPEED, CLEARANCE))
    assert [len(c) for c in claim(one_record(TRUE, at_least(widest, Const(F(1))))).goals] == [2]
    assert [len(c) for c in claim(one_record(TRUE, at_most(widest, Const(F(1))))).goals] == [1, 1]
    least = Min((SPEED, CLEARANCE))
    assert [len(c) for c in claim(one_record(TRUE, at_least(least, Const(F(1))))).goals] == [1, 1]
    chosen = Ite(at_least(HUMAN, Const(F(1))), SPEED, CLEARANCE)
    assert [len(c) for c in claim(one_record(TRUE, at_least(chosen, Const(F(1))))).goals] == [2, 2]


@pytest.mark.parametrize(
    "term, code, words",
    [
        (Product(SPEED, SPEED), "X01", "multiplies"),
        (Sqrt(Sum((SPEED, Const(F(1))))), "X02", "l2"),
        (Sqrt(Const(F(2))), "X02", "l2"),
        (Call("R", (Max((SPEED, CLEARANCE)), *R_OF_S.arguments[1:])), "X04", "not affine"),
        (Call("R", (R_OF_S, *R_OF_S.arguments[1:])), "X04", "not affine"),
        (Quotient(Const(F(1)), Sum((SPEED, Const(F(1))))), "X05", "divides"),
    ],
)
def test_what_is_outside_the_form_is_said(term, code, words):
    with pytest.raises(Unsupported) as caught:
        claim(one_record(TRUE, at_least(term, Const(F(0)))))
    assert caught.value.code == code
    assert words in caught.value.message
    assert "R(s) <= 0.31" in caught.value.message  # the expression
    assert "warehouse.rwd:1:8" in caught.value.message
    assert caught.value.help


def test_too_many_clauses_are_refused_before_they_are_made():
    parts = tuple(And(tuple(at_least(Var(index), Const(Fraction(k, 50))) for index in range(3))) for k in range(12))
    with pytest.raises(Unsupported) as caught:
        claim(one_record(Or(parts), TRUE))
    assert caught.value.code == "X03"


def test_constants_are_multiplied_out_exactly():
    term = Product(Quotient(Const(F(1)), Const(F(3))), Sum((times("3/7", SPEED), Sqrt(Const(F("9/4"))))))
    made = claim(one_record(TRUE, at_least(term, Const(F(0)))))
    assert made.goals == ((AffineAtom(affine("1/2", [(1, "1/7")]), False),),)


def test_missing_bindings_are_named():
    with pytest.raises(BindingError, match="quantile") as caught:
        claim(no_speed_bonus(), statistics={})
    assert caught.value.code == "B21"
    with pytest.raises(BindingError, match="reward R"):
        claim(no_speed_bonus(), rewards={})


def test_near_data_every_row_has_its_box():
    anchors = np.array([[1.0, 0.05, 1, 0, 1, 0], [4.95, 2.0, 0, 1, 0, 0]])
    made = claim(near_logs(anchors))
    assert made.instances == "logs"
    assert made.boxes[0][0] == (F("9/10"), F("11/10"))
    assert made.boxes[0][1] == (F(0), Fraction(0.05) + F("1/10"))
    assert made.boxes[0][4] == (F(1), F(1))
    assert made.boxes[1][0] == (Fraction(4.95) - F("1/10"), F(5))


def test_rows_that_leave_no_box_are_errors():
    with pytest.raises(DataError, match=r"row 2 .*s\.clearance") as caught:
        claim(near_logs(np.array([[1.0, 1, 1, 0, 1, 0], [5.5, 1, 1, 0, 1, 0]])))
    assert caught.value.code == "D15"
    with pytest.raises(DataError, match="no rows") as caught:
        claim(near_logs(np.zeros((0, 6))))
    assert caught.value.code == "D08"


def test_rows_are_looked_at_without_their_boxes(monkeypatch):
    """60,000 of 384 variables take a quarter of an hour to make."""
    made = []
    row_box = boxes._row_box
    monkeypatch.setattr(boxes, "_row_box", lambda *asked: made.append(asked[-1]) or row_box(*asked))
    rule = near_logs(np.array([[1.0, 0.5, 1, 0, 1, 0]] * 40))
    assert len(boxes.boxes_of(rule)) == 40
    at_rest = replace(rule.instances, centred=tuple((v, c, F(0)) for v, c, _ in rule.instances.centred))
    assert len(boxes.boxes_of(replace(rule, instances=at_rest))) == 40
    assert made == []


def test_the_first_row_without_a_box_is_named():
    rows = np.array([[1.0, 1, 1, 0, 1, 0]] * 4)
    rows[3, 0], rows[2, 3] = 5.5, 0.5
    with pytest.raises(DataError, match="row 3 ") as caught:
        claim(near_logs(rows))
    assert caught.value.code == "D15"


def test_a_row_at_a_rounded_limit_and_a_radius_below_the_rounding_are_told_apart():
    rule = near_logs(np.array([[0.1, 1, 1, 0, 1, 0]]))
    limits = (replace(rule.variables[0], lo=F("1/10"), hi=F("1/10")), *rule.variables[1:])
    instances = replace(rule.instances, centred=((0, 0, Fraction(1, 10**300)), *rule.instances.centred[1:]))
    with pytest.raises(DataError, match=r"0\.1 \.\. 0\.1: the row has that limit as binary64 rounds it") as caught:
        claim(replace(rule, variables=limits, instances=instances))
    assert caught.value.code == "D15"
    assert claim(replace(rule, variables=limits)).boxes[0][0] == (F("1/10"), F("1/10"))


def test_discrete_bounds_are_whole_numbers():
    rule = one_record(TRUE, TRUE)
    crates = replace(rule.variables[0], discrete=True, lo=F("1/2"), hi=F("9/2"))
    assert claim(replace(rule, variables=(crates, *rule.variables[1:]))).boxes[0][0] == (F(1), F(4))
    none = replace(crates, hi=F("3/4"))
    with pytest.raises(DataError, match="no value"):
        claim(replace(rule, variables=(none, *rule.variables[1:])))


def test_classes():
    assert classify(no_speed_bonus()) == ("box", SPAN)
    assert classify(braking_pays()) == ("linear", SPAN)
    assert classify(slow_near_people())[0] == "linear"
    assert classify(near_logs(np.zeros((1, 6))))[0] == "data"
    assert classify(one_record(at_least(Product(SPEED, SPEED), CLEARANCE), TRUE))[0] == "polynomial"
    assert classify(one_record(TRUE, at_least(R_OF_S, SPEED)))[0] == "linear"
    assert classify(one_record(at_most(Max((SPEED, times(-1, SPEED))), Const(F(1))), TRUE))[0] == "box"
