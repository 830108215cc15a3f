"""Conclusions of every shape at random reward outputs: products, `if` on rewards, connectives, many alternatives.

The penalty is 0 exactly where the conclusion holds; it and its gradient are finite; and where the conclusion is broken
and some outputs would satisfy it, its gradient with respect to the outputs is not 0.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
import z3
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rewarden.spec_lang.evaluate import truth
from rewarden.spec_lang.obligation import (
    FALSE,
    And,
    Atom,
    Call,
    Const,
    Formula,
    Ite,
    Max,
    Min,
    Or,
    Product,
    Sum,
    Term,
    Var,
)
from rewarden.spec_lang.penalty.form import alternatives
from rewarden.spec_lang.penalty.pointwise import penalty
from rewarden.spec_lang.penalty.program import compile_penalty
from rewarden.spec_lang.penalty.share import opposite
from tests.reference.how_many import ALL, part_of
from tests.reference.random_obligations import obligation_of

F = Fraction
NAMES = ("A", "B", "C", "D")
RECORD = (Var(0), Var(1), Var(2))
A, B, C, D = (Call(name, RECORD) for name in NAMES)
POINT = (F(1), F(-1, 2), F(2), F(0))
GRID = (F(0), F(1), F(-1), F(1, 2), F(-3, 2), F(3), F(-1, 4))


def number(c) -> Term:
    return Const(F(c))


def minus(term: Term) -> Term:
    return Product(number(-1), term)


def at_least(term: Term, c, *, strict: bool = False) -> Atom:
    return Atom(Sum((term, number(-F(c)))), strict)


def at_most(term: Term, c) -> Atom:
    return at_least(minus(term), -F(c))


# ── an independent reading: could any outputs satisfy the conclusion? ──────────────────────────
class Oracle:
    """Z3 over one real unknown per reward, at the point."""

    def __init__(self, margin: Fraction):
        self.margin = z3.RealVal(str(margin))
        self.unknown = {name: z3.Real(name) for name in NAMES}

    def possible(self, formula: Formula) -> bool | None:
        solver = z3.Solver()
        solver.set("rlimit", 2_000_000)
        solver.add(self.formula(formula, self.margin))
        found = solver.check()
        return None if found == z3.unknown else found == z3.sat

    def formula(self, formula: Formula, margin):
        match formula:
            case And(parts):
                return z3.And([self.formula(p, margin) for p in parts])
            case Or(parts):
                return z3.Or([self.formula(p, margin) for p in parts])
            case Atom(term, strict):
                return self.term(term) > margin if strict else self.term(term) >= margin

    def term(self, term: Term):
        match term:
            case Const(value):
                return z3.RealVal(str(value))
            case Var(index):
                return z3.RealVal(str(POINT[index]))
            case Call(name):
                return self.unknown[name]
            case Sum(terms):
                return z3.Sum([z3.RealVal(0), *(self.term(t) for t in terms)])
            case Product(left, right):
                return self.term(left) * self.term(right)
            case Min(terms) | Max(terms):
                found, *rest = [self.term(t) for t in terms]
                for other in rest:
                    found = z3.If(found <= other if isinstance(term, Min) else found >= other, found, other)
                return found
            case Ite(condition, then, otherwise):
                return z3.If(self.formula(condition, z3.RealVal(0)), self.term(then), self.term(otherwise))


# ── random conclusions ─────────────────────────────────────────────────────────────────────────
numbers = st.integers(-8, 8).map(lambda k: F(k, 4))
leaves: st.SearchStrategy[Term] = st.one_of(
    st.sampled_from((A, B, C, D)),
    st.sampled_from((A, B, C, D)),
    numbers.map(Const),
    st.sampled_from((Var(0), Var(1))),
)


def several(children):
    return st.lists(children, min_size=1, max_size=3).map(tuple)


def grow_terms(children):
    atoms = st.builds(Atom, children, st.booleans())
    conditions = st.one_of(atoms, atoms, several(atoms).map(And), several(atoms).map(Or))
    return st.one_of(
        several(children).map(Sum),
        several(children).map(Min),
        several(children).map(Max),
        children.map(lambda t: Max((t, minus(t)))),
        st.builds(lambda c, t: Product(Const(c), t), numbers, children),
        st.builds(Product, children, children),
        st.builds(Product, children, children),
        st.builds(Ite, conditions, children, children),
        st.builds(Ite, conditions, children, children),
    )


terms = st.recursive(leaves, grow_terms, max_leaves=6)
atoms = st.builds(Atom, terms, st.booleans())


def grow_formulas(children):
    many = st.lists(children, max_size=4).map(tuple)
    return st.one_of(
        many.map(And),
        many.map(Or),
        st.builds(lambda p, q: Or((opposite(p), q)), children, children),
        st.builds(lambda c, p, q: Or((And((c, p)), And((opposite(c), q)))), children, children, children),
    )


conclusions = st.recursive(atoms, grow_formulas, max_leaves=6)
levels = st.builds(
    lambda t, c, strict: at_least(t, c, strict=strict), st.sampled_from((A, B, C, D)), numbers, st.booleans()
)
either = st.lists(st.one_of(levels, levels.map(opposite), atoms), min_size=3, max_size=3).map(lambda p: Or(tuple(p)))
wide = st.lists(either, min_size=4, max_size=5).map(lambda p: And(tuple(p)))  # 81 alternatives or more
outputs = st.tuples(*[st.sampled_from(GRID)] * len(NAMES))


class Rewards(dict):
    """Constant functions whose outputs are leaves."""

    def __init__(self, values, dtype=torch.float64):
        self.leaves = {
            n: torch.tensor(float(v), dtype=dtype, requires_grad=True) for n, v in zip(NAMES, values, strict=True)
        }
        super().__init__({n: (lambda x, w=w: w.expand(len(x))) for n, w in self.leaves.items()})

    @property
    def pulled(self) -> bool:
        return any(w.grad is not None and bool(w.grad != 0) for w in self.leaves.values())

    @property
    def finite(self) -> bool:
        return all(w.grad is None or bool(torch.isfinite(w.grad)) for w in self.leaves.values())


def here(dtype=torch.float64):
    return torch.tensor([[float(v) for v in POINT]], dtype=dtype)


def check(conclusion, values, temperature, margin=0.0) -> None:
    obligation = obligation_of(conclusion=conclusion)
    rewards = Rewards(values)
    found = penalty(obligation, rewards, here(), temperature, margin=margin)
    known = dict(zip(NAMES, values, strict=True))
    holds = truth(conclusion, POINT, lambda name, _: known[name])
    assert torch.isfinite(found).all()
    assert found.item() >= 0
    if margin == 0:
        assert (found.item() == 0) == holds
    elif found.item() == 0:
        assert holds
    if found.requires_grad:
        found.sum().backward()
        assert rewards.finite
    if found.item() > 0 and Oracle(F(margin)).possible(conclusion):
        assert rewards.pulled


@pytest.mark.parametrize("temperature", [None, 0.5])
@settings(max_examples=part_of(200), deadline=None, suppress_health_check=list(HealthCheck))
@given(conclusion=conclusions, values=outputs)
# A condition that does not hold: raising B does nothing until A is positive.
@example(conclusion=at_least(Product(Ite(Atom(A, True), number(1), number(0)), B), 1), values=(F(-1), F(3), F(0), F(0)))
@example(conclusion=at_least(Product(A, B), 1), values=(F(0),) * 4)
@example(conclusion=at_least(Product(A, A), 1), values=(F(0),) * 4)
@example(conclusion=at_least(Sum((Product(A, A), Product(number(-2), A))), 0), values=(F(1), F(0), F(0), F(0)))
@example(conclusion=Or((at_least(Product(D, number(0)), 1), at_least(Product(A, B), 1))), values=(F(0),) * 4)
@example(conclusion=at_least(Product(Max((A, number(0))), B), 1), values=(F(-1), F(1), F(0), F(0)))
@example(conclusion=at_least(Product(minus(A), Ite(Atom(B, False), C, D)), 1), values=(F(0), F(-1), F(1), F(0)))
def test_what_is_broken_and_can_be_mended_has_a_gradient(temperature, conclusion, values):
    check(conclusion, values, temperature)


@pytest.mark.parametrize("temperature", [None, 0.5])
@settings(max_examples=part_of(150), deadline=None, suppress_health_check=list(HealthCheck))
@given(conclusion=wide, values=outputs)
def test_conclusions_of_many_alternatives(temperature, conclusion, values):
    check(conclusion, values, temperature)


@settings(max_examples=part_of(150), deadline=None, suppress_health_check=list(HealthCheck))
@given(conclusion=st.one_of(conclusions, wide), values=outputs, margin=st.sampled_from([0.25, 1.0]))
def test_with_a_margin(conclusion, values, margin):
    """What it asks for is a little more; where that is possible, there is a way to it."""
    check(conclusion, values, None, margin)


def test_wide_conclusions_are_read_from_the_tree():
    ors = [
        Or((at_least(x, 2 + k), at_most(x, -1 - k), at_least(y, 5)))
        for k, (x, y) in enumerate(((A, B), (B, C), (C, D), (D, A)))
    ]
    conclusion = And(tuple(ors))
    assert len(alternatives(obligation_of(conclusion=conclusion))) == 1
    assert compile_penalty(obligation_of(conclusion=conclusion)).others == (conclusion,)
    check(conclusion, (F(1, 2),) * 4, None)


@pytest.mark.parametrize("n", [10, 40, 640 if ALL else 160])
@pytest.mark.parametrize("enough", [F(1, 2), 1, 2])
def test_many_choices_in_one_comparison(n, enough):
    """2ⁿ ways to choose, of which few or none do: neither time nor depth follow them."""
    terms = tuple(Ite(at_least((A, B, C, D)[k % 4], F(k, n)), number(1), number(0)) for k in range(n))
    conclusion = at_least(Sum(terms), enough * n)
    assert compile_penalty(obligation_of(conclusion=conclusion)).others == (conclusion,)
    if n < 100 and enough != 2:
        check(conclusion, (F(-1), F(1, 2), F(0), F(0)), None)
    assert penalty(obligation_of(conclusion=conclusion), Rewards((F(-1),) * 4), here()).item() == enough * n


def test_the_features_that_make_a_part_false_leave_it_out():
    """Var(1) is −1/2: the first alternative is nearly met and can never be."""
    never = And((at_least(Var(1), F(-499, 1000)), at_least(Product(A, A), 0)))
    check(Or((never, at_least(Product(B, C), 9))), (F(1),) * 4, None)
    conclusion = And((never, at_least(A, 3)))
    rewards = Rewards((F(0),) * 4)
    assert penalty(obligation_of(conclusion=conclusion), rewards, here()).item() > 0


def test_equalities_of_products_have_no_inside():
    both = Sum((Product(A, B), number(-1)))
    conclusion = And((Atom(both, False), Atom(Sum((Product(number(-1), Product(A, B)), number(1))), False)))
    for margin in (0.0, 0.25):
        assert (
            penalty(
                obligation_of(conclusion=conclusion), Rewards((F(2), F(1, 2), F(0), F(0))), here(), margin=margin
            ).item()
            == 0
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [None, 1e-6, 1e6])
@settings(max_examples=part_of(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    conclusion=st.one_of(conclusions, st.integers(2, 12).map(lambda n: at_most(powers(n), 1))),
    values=st.tuples(*[st.sampled_from([0.0, 1e-45, 1e-30, 3.4e38, -3.4e38, 1e60, -1e60])] * 4),
)
def test_extreme_outputs_stay_finite(dtype, temperature, conclusion, values):
    largest = torch.finfo(dtype).max
    rewards = Rewards([max(-largest, min(largest, v)) for v in values], dtype)
    found = penalty(obligation_of(conclusion=conclusion), rewards, here(), temperature)
    assert torch.isfinite(found).all()
    if found.requires_grad:
        found.sum().backward()
        assert rewards.finite


def powers(n: int) -> Term:
    found: Term = A
    for k in range(n):
        found = Product(found, (B, A, C)[k % 3])
    return found


# ── descent gets there ─────────────────────────────────────────────────────────────────────────
def count(k: int) -> Term:
    return Sum(tuple(Ite(Atom(x, True), number(1), number(0)) for x in (A, B, C, D)[:k]))


@pytest.mark.parametrize(
    "conclusion",
    [
        at_least(Product(Ite(Atom(A, True), number(1), number(0)), B), 1),
        at_least(Product(A, B), 1),
        at_least(Product(A, A), 1),
        at_most(Product(A, B), -1),
        at_least(count(4), 3),
        at_least(Product(Ite(And((at_least(A, 1), at_most(B, -1))), number(1), number(0)), Max((C, D))), F(1, 2)),
        at_least(Product(count(3), D), 2),
        And((at_least(Product(A, B), 1), at_most(A, -1))),
    ],
)
@pytest.mark.parametrize("start", [(0, 0, 0, 0), (-1, F(1, 2), -1, -1), (-1, F(-3, 4), 1, 0)])
def test_descent_on_the_outputs_mends(conclusion, start):
    rewards = Rewards(start)
    optimiser = torch.optim.SGD(rewards.leaves.values(), lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        found = penalty(obligation_of(conclusion=conclusion), rewards, here()).sum()
        if found.item() == 0:
            return
        found.backward()
        optimiser.step()
    raise AssertionError(f"still broken by {found.item()}")


def test_nothing_is_added_where_no_reward_can_mend_it():
    for conclusion in (
        at_least(Product(number(0), Product(A, B)), 1),
        And((FALSE, Atom(Product(A, B), False))),
        at_least(Product(Ite(Atom(A, True), number(0), number(-1)), number(2)), 1),
    ):
        rewards = Rewards((F(0),) * 4)
        found = penalty(obligation_of(conclusion=conclusion), rewards, here())
        assert found.item() > 0
        if found.requires_grad:
            found.sum().backward()
        assert rewards.finite
