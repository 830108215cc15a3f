"""Formulas as SMT-LIB text: the Z3 reading of the sanity checks, which ask hundreds of small questions.

The same meaning as z3_terms.py (tests/differential/test_smt_text.py holds them together), by another way: Z3's own
parser makes terms some twenty times faster than its Python bindings do, and that was most of a check's time.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from rewarden.spec_lang.evaluate import statistic_text
from rewarden.spec_lang.forms import Form, form_of
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
    Variable,
)


class SmtText:
    """Mutable: a script over some variables, growing with what is asserted. Rewards are uninterpreted functions of
    their encoded columns, data constants free reals."""

    def __init__(self, variables: Sequence[Variable]) -> None:
        self.names = tuple(f"|v{index}|" for index in range(len(variables)))
        self._whole = tuple(variable.discrete for variable in variables)
        self._numbers = tuple(f"(to_real {n})" if w else n for n, w in zip(self.names, self._whole, strict=True))
        self._lines = [
            f"(declare-const {n} {'Int' if w else 'Real'})" for n, w in zip(self.names, self._whole, strict=True)
        ]
        self._declared: set[str] = set()
        self._roots: dict[Sqrt, str] = {}
        self._bound = 0

    def text(self) -> str:
        return "\n".join(self._lines)

    def bound(self, variables: Sequence[Variable]) -> None:
        """Asserts the variables' ranges."""
        for name, variable in zip(self._numbers, variables, strict=True):
            self._lines.append(f"(assert (and (<= {number(variable.lo)} {name}) (<= {name} {number(variable.hi)})))")

    def add(self, formula: Formula, mark: str | None = None) -> None:
        """Asserts the formula, or with `mark` that the Boolean of that name implies it."""
        text = self.formula(formula)
        if mark is not None:
            self._lines.append(f"(declare-const {mark} Bool)")
        self._lines.append(f"(assert {text})" if mark is None else f"(assert (=> {mark} {text}))")

    def formula(self, formula: Formula) -> str:
        match formula:
            case Atom(term, strict):
                return self._atom(term, ">" if strict else ">=")
            case And(parts):
                return f"(and {' '.join(map(self.formula, parts))})" if parts else "true"
            case Or(parts):
                return f"(or {' '.join(map(self.formula, parts))})" if parts else "false"

    def _atom(self, term: Term, relation: str) -> str:
        """`term ⋈ 0`. Where one min or max is the only piece, it holds if it does for one part or for all of them (the
        steps of clauses.py), which spares Z3 a case for each part."""
        if not _in_pieces(term):
            return f"({relation} {self.term(term)} 0.0)"
        form = form_of(term)
        pieces = [leaf for leaf in form.parts if isinstance(leaf, Min | Max | Ite)]
        match pieces:
            case [Min(terms) | Max(terms) as piece]:
                c = form.parts[piece]
                rest = Form(form.constant, {leaf: d for leaf, d in form.parts.items() if leaf is not piece})
                each = [(rest + form_of(part).scaled(c)).term() for part in terms]
                word = "or" if isinstance(piece, Max) == (c > 0) else "and"
                return f"({word} {' '.join(self._atom(part, relation) for part in each)})"
        return f"({relation} {self.term(term)} 0.0)"

    def term(self, term: Term) -> str:
        match term:
            case Var(index):
                return self._numbers[index]
            case Const(value):
                return number(value)
            case Sum(terms):
                return f"(+ {' '.join(map(self.term, terms))})" if terms else "0.0"
            case Product(left, right):
                return f"(* {self.term(left)} {self.term(right)})"
            case Quotient(left, right):
                return f"(/ {self.term(left)} {self.term(right)})"
            case Call(reward, arguments):
                return self._call(reward, arguments)
            case Min(terms):
                return self._extreme(terms, "<")
            case Max(terms):
                return self._extreme(terms, ">")
            case Ite(condition, then, otherwise):
                return f"(ite {self.formula(condition)} {self.term(then)} {self.term(otherwise)})"
            case Statistic():
                return self._constant(statistic_text(term))
            case Sqrt():
                return self._root(term)

    def _call(self, reward: str, arguments: Sequence[Term]) -> str:
        name = f"|reward {reward}|"
        if name not in self._declared:
            self._declared.add(name)
            self._lines.append(f"(declare-fun {name} ({'Real ' * len(arguments)}) Real)")
        return f"({name} {' '.join(map(self.term, arguments))})" if arguments else name

    def _extreme(self, terms: Sequence[Term], relation: str) -> str:
        """Halves against each other, under names: nothing is written twice, and nothing gets deep."""
        if len(terms) == 1:
            return self.term(terms[0])
        middle = len(terms) // 2
        left, right = self._extreme(terms[:middle], relation), self._extreme(terms[middle:], relation)
        self._bound += 1
        a, b = f"a{self._bound}", f"b{self._bound}"
        return f"(let (({a} {left}) ({b} {right})) (ite ({relation} {a} {b}) {a} {b}))"

    def _constant(self, text: str) -> str:
        name = f"|{text}|"
        if name not in self._declared:
            self._declared.add(name)
            self._lines.append(f"(declare-const {name} Real)")
        return name

    def _root(self, root: Sqrt) -> str:
        if root not in self._roots:
            inner = self.term(root.term)
            name = f"|root {len(self._roots)}|"
            self._roots[root] = name
            self._lines.append(f"(declare-const {name} Real)")
            self._lines.append(f"(assert (and (<= 0.0 {name}) (= (* {name} {name}) {inner})))")
        return self._roots[root]


def _in_pieces(term: Term) -> bool:
    """Might a leaf of its form be one of several pieces? A look that costs less than the form."""
    match term:
        case Sum(terms):
            return any(map(_in_pieces, terms))
        case Product(Const(), right):
            return _in_pieces(right)
    return isinstance(term, Min | Max | Ite)


def number(value: Fraction) -> str:
    """An exact real constant."""
    size = abs(value.numerator)
    text = f"{size}.0" if value.denominator == 1 else f"(/ {size}.0 {value.denominator}.0)"
    return text if value >= 0 else f"(- {text})"
