"""Would a rule's truth survive what its rewards are free to do?

A reward learned from preferences is known up to a shift, others up to a positive affine map (language.md, "What a rule
means"). This looks at each atom of an obligation as a function of the reward: how much it moves when a constant is
added to the reward (0, a number, or undetermined), and how it scales when the reward is multiplied (degree 0: not at
all; degree 1: with it). Rewards that are not exact move together here: a difference of two of them, such as an edit
against its predecessor, counts as a difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from rewarden.spec_lang.obligation import (
    And,
    Atom,
    Call,
    Const,
    Formula,
    Ite,
    Max,
    Min,
    Obligation,
    Or,
    Product,
    Quotient,
    Sqrt,
    Statistic,
    Sum,
    Term,
    Var,
)


@dataclass(frozen=True, slots=True)
class _Effect:
    """`shift`: what the term gains when rewards gain 1 (None: not the same everywhere). `degree`: 0 where scaling the
    rewards leaves it, 1 where it scales along, None where neither; `zero` is the constant 0, which is of any degree."""

    shift: Fraction | None
    degree: Literal[0, 1] | None
    zero: bool = False


PLAIN = _Effect(Fraction(0), 0)
UNDETERMINED = _Effect(None, None)


def flips(obligation: Obligation, loose: frozenset[str]) -> tuple[bool, bool]:
    """Could an added constant change the truth of the rule, if the rewards `loose` are known only so far? Could a
    positive factor?"""
    formulas = (obligation.assume, obligation.premise, obligation.conclusion)
    return (
        any(not shift_safe(formula, loose) for formula in formulas),
        any(not scale_safe(formula, loose) for formula in formulas),
    )


def shift_safe(formula: Formula, loose: frozenset[str]) -> bool:
    """Whether adding one number to all `loose` rewards leaves the truth of the formula, whatever they are."""
    return all(_effect(a.term, loose).shift == 0 for a in _atoms(formula))


def scale_safe(formula: Formula, loose: frozenset[str]) -> bool:
    """Whether multiplying all `loose` rewards by one positive number does."""
    return all(_effect(a.term, loose).degree is not None for a in _atoms(formula))


def _atoms(formula: Formula) -> tuple[Atom, ...]:
    match formula:
        case Atom():
            return (formula,)
        case And(parts) | Or(parts):
            return tuple(atom for part in parts for atom in _atoms(part))


def _effect(term: Term, loose: frozenset[str]) -> _Effect:
    match term:
        case Const(value):
            return _Effect(Fraction(0), 0, zero=value == 0)
        case Var():
            return PLAIN
        case Call(reward=reward) | Statistic(reward=reward):
            return _Effect(Fraction(1), 1) if reward in loose else PLAIN
        case Sum(terms):
            effects = [_effect(t, loose) for t in terms]
            shifts = [e.shift for e in effects]
            total = None if None in shifts else sum((s for s in shifts if s is not None), Fraction(0))
            return _Effect(total, _common_degree(effects), all(e.zero for e in effects))
        case Product(left, right):
            return _product(left, right, loose)
        case Quotient(left, Const(value)):
            return _scaled(_effect(left, loose), 1 / value)
        case Min(terms) | Max(terms):
            effects = [_effect(t, loose) for t in terms]
            same = all(e.shift == effects[0].shift for e in effects)
            return _Effect(effects[0].shift if same else None, _common_degree(effects), all(e.zero for e in effects))
        case Ite(condition, then, otherwise):
            branch = _effect(Max((then, otherwise)), loose)  # as for max: one of the two, and which does not change
            return _Effect(
                branch.shift if shift_safe(condition, loose) else None,
                branch.degree if scale_safe(condition, loose) else None,
                branch.zero,
            )
        case Quotient(left, right):
            return PLAIN if _plain(left, loose) and _plain(right, loose) else UNDETERMINED
        case Sqrt(inner):
            return PLAIN if _plain(inner, loose) else UNDETERMINED


def _product(left: Term, right: Term, loose: frozenset[str]) -> _Effect:
    if isinstance(left, Const):
        return _scaled(_effect(right, loose), left.value)
    if isinstance(right, Const):
        return _scaled(_effect(left, loose), right.value)
    if _plain(left, loose) and _plain(right, loose):
        return PLAIN
    # A feature times a difference of rewards still does not move with a shift; times a reward, it still scales.
    a, b = _effect(left, loose), _effect(right, loose)
    return _Effect(Fraction(0) if a.shift == 0 == b.shift else None, 1 if {a.degree, b.degree} == {0, 1} else None)


def _plain(term: Term, loose: frozenset[str]) -> bool:
    effect = _effect(term, loose)
    return effect.shift == 0 and effect.degree == 0


def _scaled(effect: _Effect, factor: Fraction) -> _Effect:
    shift = None if effect.shift is None else factor * effect.shift
    return _Effect(shift, effect.degree, effect.zero or factor == 0)


def _common_degree(effects: list[_Effect]) -> Literal[0, 1] | None:
    degrees = {e.degree for e in effects if not e.zero}
    if len(degrees) > 1:
        return None
    return degrees.pop() if degrees else 0
