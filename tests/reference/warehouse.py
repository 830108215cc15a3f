"""A small warehouse, hand-lowered: one obligation of each kind that the readings have to deal with."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.obligation import (
    TRUE,
    And,
    Atom,
    Call,
    Const,
    Formula,
    Instances,
    Obligation,
    Or,
    Product,
    RecordView,
    RuleInfo,
    Statistic,
    Sum,
    Term,
    Var,
    Variable,
)
from rewarden.spec_lang.source import Source, Span


def F(text: str | int) -> Fraction:
    return Fraction(text)


STEP = RecordType(
    "Step",
    (
        Feature("clearance", "real", F(0), F(5), "m"),
        Feature("speed", "real", F(0), F("5/2"), "m/s"),
        Feature("human_near", "bool", F(0), F(1)),
        Feature("zone", "enum", F(0), F(1), cases=("aisle", "dock", "charger")),
    ),
)
SOURCE = Source("warehouse.rwd", "expect R(s) <= 0.31\n")
SPAN = Span(SOURCE, 7, 19, 1, 8)
POOR_DAY = Statistic("quantile", "R", "logs", F("1/20"))
DIGESTS = {"R": "sha256:" + "a" * 64, "Base": "sha256:" + "b" * 64, "logs": "sha256:" + "c" * 64}


def times(factor: str | int, term: Term) -> Term:
    return Product(Const(F(factor)), term)


def at_least(left: Term, right: Term, strict: bool = False) -> Atom:
    return Atom(Sum((left, times(-1, right))), strict, SPAN)


def at_most(left: Term, right: Term, strict: bool = False) -> Atom:
    return at_least(right, left, strict)


def variables_of_step(record: str) -> tuple[Variable, ...]:
    return tuple(Variable(record, c.name, c.discrete, c.lo, c.hi, c.unit) for c in STEP.columns())


def one_hot(*indices: int) -> Formula:
    cases = Sum(tuple(Var(index) for index in indices))
    return And((at_least(cases, Const(F(1))), at_most(cases, Const(F(1)))))


CLEARANCE, SPEED, HUMAN, AISLE, DOCK, CHARGER = map(Var, range(6))
RISKY: Formula = And((at_least(HUMAN, Const(F(1))), at_most(CLEARANCE, Const(F(1)), strict=True)))
R_OF_S = Call("R", tuple(Var(index) for index in range(6)))


def rule(name: str) -> RuleInfo:
    return RuleInfo(name, "must", "A title.", SPAN)


def one_record(premise: Formula, conclusion: Formula, name: str = "no_speed_bonus") -> Obligation:
    return Obligation(
        rule(name),
        variables_of_step("s"),
        (RecordView("s", "Step", tuple(range(6))),),
        one_hot(3, 4, 5),
        Or((at_most(CHARGER, Const(F(0))), at_most(SPEED, Const(F("1/2"))))),
        premise,
        conclusion,
    )


def no_speed_bonus(limit: Term = POOR_DAY) -> Obligation:
    premise = And((RISKY, at_least(SPEED, Const(F("1/2")), strict=True)))
    return one_record(premise, at_most(R_OF_S, limit))


def braking_pays() -> Obligation:
    slower = list(R_OF_S.arguments)
    slower[1] = Sum((SPEED, Const(F("-1/2"))))
    premise = And((RISKY, at_least(SPEED, Const(F(1)))))
    return one_record(premise, at_least(Call("R", tuple(slower)), R_OF_S), "braking_pays")


def slow_near_people() -> Obligation:
    """forall a, b: Step varying speed: the last variable is b's speed, all else is shared."""
    variables = (*variables_of_step("a"), Variable("b", "speed", False, F(0), F("5/2"), "m/s"))
    of_b = (0, 6, 2, 3, 4, 5)
    records = (RecordView("a", "Step", tuple(range(6))), RecordView("b", "Step", of_b))
    call_b = Call("R", tuple(Var(index) for index in of_b))
    return Obligation(
        rule("slow_near_people"),
        variables,
        records,
        one_hot(3, 4, 5),
        TRUE,
        And((RISKY, at_most(SPEED, Var(6)))),
        at_least(R_OF_S, Sum((call_b, Const(F("-1/100"))))),
    )


def near_logs(anchors: np.ndarray, radius: str = "1/10") -> Obligation:
    """forall s: Step near logs within radius: numbers around the row, discrete parts as in the row."""
    instances = Instances(
        "logs",
        anchors,
        centred=((0, 0, F(radius)), (1, 1, F(radius))),
        fixed=tuple((index, index) for index in range(2, 6)),
    )
    return replace(one_record(TRUE, at_most(R_OF_S, Const(F(1))), "near_logs"), instances=instances)
