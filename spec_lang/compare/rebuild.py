"""Terms over one spec's variables as terms over the frame's, in linear normal form.

Units are converted, the arguments of rewards put in the frame's order, and sums sorted: what says the same becomes the
same structure, whatever the order and the units of its features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rewarden.spec_lang import forms
from rewarden.spec_lang.compare.frame import Frame, Side
from rewarden.spec_lang.forms import ONE, ZERO, Form, combine, constant
from rewarden.spec_lang.formulas import atom, conjunction, disjunction
from rewarden.spec_lang.obligation import (
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
    Quotient,
    Sqrt,
    Statistic,
    Sum,
    Term,
    Var,
)


def common_data_name(name: str, data: Mapping[str, str]) -> str:
    """The common name of `logs`, or of `prefs.better`."""
    if name in data:
        return data[name]
    whole, _, member = name.rpartition(".")
    return f"{data.get(whole, whole)}.{member}"


def common_constant(constant: Statistic, side: Side, frame: Frame, data: Mapping[str, str]) -> Statistic:
    """A data constant under the common names."""
    return Statistic(
        constant.kind, frame.rewards[side, constant.reward], common_data_name(constant.data, data), constant.level
    )


class Rebuild:
    """Terms over own variables as terms over the frame's."""

    def __init__(self, frame: Frame, side: Side, own: Sequence[Form], data: Mapping[str, str]) -> None:
        self.frame = frame
        self.side = side
        self.own = own
        self.data = data

    def formula(self, formula: Formula) -> Formula:
        match formula:
            case And(parts):
                return conjunction([self.formula(part) for part in parts])
            case Or(parts):
                return disjunction([self.formula(part) for part in parts])
            case Atom(term, strict, origin):
                return atom(self.form(term), strict, origin)

    def form(self, term: Term) -> Form:
        match term:
            case Const(value):
                return constant(value)
            case Var(index):
                return self.own[index]
            case Sum(terms):
                return _ordered(combine((self.form(t), ONE) for t in terms))
            case Product(left, right):
                return forms.product(self.form(left), self.form(right))
            case Quotient(left, right):
                return forms.quotient(self.form(left), self.form(right))
            case Min(terms):
                return forms.extremum(Min, [self.form(t) for t in terms])
            case Max(terms):
                return forms.extremum(Max, [self.form(t) for t in terms])
            case Ite(condition, then, otherwise):
                parts = self.form(then).term(), self.form(otherwise).term()
                return forms.leaf(Ite(self.formula(condition), *parts))
            case Sqrt(inner):
                return forms.square_root(self.form(inner))
            case Call(reward, arguments):
                return forms.leaf(self._call(reward, arguments))
            case Statistic():
                return forms.leaf(common_constant(term, self.side, self.frame, self.data))

    def _call(self, reward: str, arguments: Sequence[Term]) -> Call:
        found: list[Term] = []
        start = 0
        for kind in self.frame.arguments(self.side, reward):
            columns: list[Term] = [Const(ZERO)] * len(kind.columns())
            for k, place in enumerate(kind.places(self.side)):
                own = self.form(arguments[start + k])
                columns[place.column] = own.shifted(-place.offset).scaled(ONE / place.scale).term()
            start += len(kind.places(self.side))
            found += columns
        return Call(self.frame.rewards[self.side, reward], tuple(found))


def _ordered(form: Form) -> Form:
    """A sum in one order, whatever the order of its text."""
    return Form(form.constant, dict(sorted(form.parts.items(), key=lambda part: repr(part[0]))))
