"""Terms and formulas as SMT-LIB 2.6 text, readable: names in bars, exact rationals, what is subtracted on the other
side of its comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from rewarden.spec_lang.evaluate import statistic_text
from rewarden.spec_lang.forms import ZERO, form_of
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
    RecordView,
    Sqrt,
    Statistic,
    Sum,
    Term,
    Var,
    Variable,
)

LINE = 100  # a formula that is longer is broken over lines


def quoted(name: str) -> str:
    """A symbol. Bars and backslashes cannot stand in one; our names never hold them, data paths could."""
    return f"|{name.replace('|', '/').replace(chr(92), '/')}|"


def numeral(value: Fraction) -> str:
    """`2.0`, `(- 2.0)`, `(/ 1.0 3.0)`."""
    size = abs(value)
    text = f"{size.numerator}.0" if size.denominator == 1 else f"(/ {size.numerator}.0 {size.denominator}.0)"
    return f"(- {text})" if value < 0 else text


@dataclass(slots=True)
class Writer:
    """Mutable: what was needed on the way and must be declared before it is used.

    A variable's text is a real number, whatever it ranges over. `rewards` gives the symbol of each reward; each of its
    applications gets a name of its own, `|R(a)|`.
    """

    variables: Sequence[Variable]
    records: Sequence[RecordView]
    rewards: dict[str, str]
    roots: dict[Sqrt, str] = field(default_factory=dict)
    constants: dict[Statistic, str] = field(default_factory=dict)
    extremes: bool = False
    nonlinear: bool = False
    calls: dict[Call, str] = field(default_factory=dict)
    applications: dict[str, str] = field(default_factory=dict)  # what the name of a call stands for, inner calls first

    # ── formulas ───────────────────────────────────────────────────────────────────────────────
    def formula(self, formula: Formula) -> str:
        match formula:
            case And(()):
                return "true"
            case Or(()):
                return "false"
            case And(parts):
                return _node("and", [self.formula(part) for part in parts])
            case Or(parts):
                return _node("or", [self.formula(part) for part in parts])
            case Atom(term, strict):
                return self._atom(term, strict)

    def _atom(self, term: Term, strict: bool) -> str:
        """`more > less`, with what has a negative coefficient in `less`."""
        form = form_of(term)
        signed = [(t, c) for t, c in form.parts.items()]
        more = [self._scaled(t, c) for t, c in signed if c > 0]
        less = [self._scaled(t, -c) for t, c in signed if c < 0]
        if form.constant > 0:
            more.append(numeral(form.constant))
        if form.constant < 0:
            less.append(numeral(-form.constant))
        return f"({'>' if strict else '>='} {_sum(more)} {_sum(less)})"

    def _scaled(self, term: Term, by: Fraction) -> str:
        return self.term(term) if by == 1 else f"(* {numeral(by)} {self.term(term)})"

    # ── terms ──────────────────────────────────────────────────────────────────────────────────
    def term(self, term: Term) -> str:
        """Of sort Real."""
        match term:
            case Const(value):
                return numeral(value)
            case Var(index):
                return variable_term(self.variables[index])
            case Sum(terms):
                return _sum([self.term(t) for t in terms])
            case Product(left, right):
                self.nonlinear = self.nonlinear or not isinstance(left, Const)
                return f"(* {self.term(left)} {self.term(right)})"
            case Quotient(left, right):
                self.nonlinear = True
                return f"(/ {self.term(left)} {self.term(right)})"
            case Min(terms) | Max(terms):
                return self._extreme("min" if isinstance(term, Min) else "max", [self.term(t) for t in terms])
            case Ite(condition, then, otherwise):
                return f"(ite {self.formula(condition)} {self.term(then)} {self.term(otherwise)})"
            case Sqrt():
                self.nonlinear = True
                return self.roots.setdefault(term, quoted(f"root {len(self.roots) + 1}"))
            case Call():
                return self._call(term)
            case Statistic():
                return self.constants.setdefault(term, quoted(statistic_text(term)))

    def _call(self, call: Call) -> str:
        if call not in self.calls:
            application = self._application(call)  # names the calls in its arguments
            known = [view.name for view in self.records if call.arguments == tuple(Var(v) for v in view.variables)]
            inside = known[0] if known else f"record {sum(c.reward == call.reward for c in self.calls) + 1}"
            self.calls[call] = quoted(f"{call.reward}({inside})")
            self.applications[self.calls[call]] = application
        return self.calls[call]

    def _application(self, call: Call) -> str:
        return _node(self.rewards[call.reward], [self.term(a) for a in call.arguments])

    def _extreme(self, which: str, texts: Sequence[str]) -> str:
        """Of two at a time, by a function, so that nothing is written twice."""
        self.extremes = True
        found = texts[-1]
        for text in reversed(texts[:-1]):
            found = f"({quoted(f'{which} of two')} {text} {found})"
        return found


EXTREMES = (
    f"(define-fun {quoted('min of two')} ((x Real) (y Real)) Real (ite (<= x y) x y))",
    f"(define-fun {quoted('max of two')} ((x Real) (y Real)) Real (ite (<= x y) y x))",
)


def is_bit(variable: Variable) -> bool:
    """A bool or an enum's case: 0 or 1, written as a real."""
    return variable.discrete and variable.lo == 0 and variable.hi == 1


def variable_term(variable: Variable) -> str:
    name = quoted(variable.name)
    return f"(to_real {name})" if variable.discrete and not is_bit(variable) else name


def _sum(texts: Sequence[str]) -> str:
    if not texts:
        return numeral(ZERO)
    return texts[0] if len(texts) == 1 else _node("+", list(texts))


def _node(head: str, parts: Sequence[str]) -> str:
    """`(head part …)`, a part a line if that is too long for one."""
    flat = f"({head} {' '.join(parts)})"
    if len(flat) <= LINE and "\n" not in flat:
        return flat
    inner = "\n".join(f"  {line}" for part in parts for line in part.split("\n"))
    return f"({head}\n{inner})"
