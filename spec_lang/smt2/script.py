"""A rule as an SMT-LIB 2.6 script, for any solver: is there a situation where it could fail, and can it apply at all?

Rewards are uninterpreted functions of their encoded columns (or are defined by the caller), bools and enum cases are
reals that are 0 or 1, every number is exact. A script is self-contained and says in comments what is asked, what the
answers mean, where each part comes from in the spec, and in which unit a variable is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction

from rewarden.spec_lang.boxes import boxes_of
from rewarden.spec_lang.diagnostics import printable
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.evaluate import statistic_text
from rewarden.spec_lang.obligation import And, Formula, Obligation, Statistic, Variable
from rewarden.spec_lang.smt2.terms import EXTREMES, Writer, is_bit, numeral, quoted, variable_term
from rewarden.spec_lang.spec import Rule, Spec

BOXES = 200  # rows of data whose neighbourhoods are written
BOX_SIDES = 40_000
WEIGHTS = 20_000  # numbers of rewards that are written out
LOOPS = (1, 2, 3)  # lengths of a rule about cycles that are written


def smt2(
    spec: Spec,
    rule: str,
    *,
    rewards: Mapping[str, str] | None = None,
    constants: Mapping[Statistic, Fraction] | None = None,
) -> str:
    """The script of one rule.

    `rewards` may give the definition of a reward: the body of a function of its columns `x0`, `x1`, … . `constants`
    are the data constants of these rewards; others are free. Unsupported X09 for a share, which is about all rows at
    once; DataError where data that the rule is about cannot be read.
    """
    found = spec.rule(rule)
    if found.kind == "share":
        help = "`rewarden verify` counts the rows"
        raise Unsupported("X09", f"{rule} is about a share of rows, not about a situation", help=help)
    if found.kind == "cycle":
        obligations = tuple(spec.unrolled(rule, length) for length in LOOPS)
    else:
        obligations = spec.obligations_of(rule)
    sections = [_Section(spec, found, o, constants or {}) for o in obligations]
    lines = [*_header(spec, found, sections), ""]
    for section in sections:
        lines += section.lines(rewards or {})
    return "\n".join(line.rstrip() for line in lines) + "\n"


def require_small(numbers: int) -> None:
    """Unsupported X09 for rewards of more numbers than a script should hold."""
    if numbers > WEIGHTS:
        help = "ask `rewarden verify`"
        raise Unsupported("X09", f"rewards of {numbers} numbers are too large to be written out", help=help)


# ── the head of a script ───────────────────────────────────────────────────────────────────────
def _header(spec: Spec, rule: Rule, sections: list[_Section]) -> Iterator[str]:
    yield from _comment(f"{rule.severity} {rule.name}" + (f": {rule.title}" if rule.title else ""))
    yield from _comment(f"from {rule.span} of the spec {spec.name}, {spec.digest}")
    yield ";"
    for line in rule.span.text.rstrip().split("\n"):
        yield from _comment(f"  {line}")
    yield ";"
    yield from _comment(_QUESTIONS)
    if rule.kind == "cycle":
        yield from _comment(f"Only loops of {LOOPS[0]} to {LOOPS[-1]} records are asked about.")
    if len(sections) > 1:
        yield from _comment(f"There are {len(sections)} cases, each with both questions.")
    yield from _comment("cvc5 wants --incremental for this file.")
    for text in sorted({text for section in sections for text in section.remarks()}):
        yield from _comment(text)
    yield ""
    yield "(set-info :smt-lib-version 2.6)"
    yield f"(set-logic {_logic(sections)})"


_QUESTIONS = """\
Two questions are asked, and each is answered by one word.
1. Is there a situation that the rule is about, and reward values, for which the conclusion fails?
   sat: yes; a reward with these values breaks the rule.
   unsat: the rule holds for every reward, by itself.
2. Is there a situation that the rule is about at all?
   sat: yes.
   unsat: the premise never holds, so the rule asks for nothing."""


def _logic(sections: list[_Section]) -> str:
    called = any(section.writer.calls for section in sections)
    nonlinear = any(section.writer.nonlinear for section in sections)
    whole = any(v.discrete and not is_bit(v) for section in sections for v in section.obligation.variables)
    return f"QF_{'UF' if called else ''}{'N' if nonlinear else 'L'}{'IRA' if whole else 'RA'}"


def _comment(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        yield f"; {printable(line)}"


# ── one obligation ─────────────────────────────────────────────────────────────────────────────
class _Section:
    """Mutable while it is written: formulas first, since they decide what has to be declared."""

    def __init__(self, spec: Spec, rule: Rule, obligation: Obligation, constants: Mapping[Statistic, Fraction]) -> None:
        self.spec = spec
        self.rule = rule
        self.obligation = obligation
        self.constants = constants
        symbols = {name: reward_symbol(spec, name) for name in spec.rewards}
        self.writer = Writer(obligation.variables, obligation.records, symbols)
        self.structure = self._conjuncts(obligation.structure)
        self.assume = self._conjuncts(obligation.assume)
        self.premise = self._conjuncts(obligation.premise)
        self.conclusion = self.writer.formula(obligation.conclusion)
        self.radicands = dict(self._radicands())
        self.boxes = self._boxes()

    def _radicands(self) -> Iterator[tuple[str, str]]:
        """Of every root; writing one may need further ones, which come first."""
        done = 0
        found: list[tuple[str, str]] = []
        while done < len(self.writer.roots):
            root, symbol = list(self.writer.roots.items())[done]
            found.append((symbol, self.writer.term(root.term)))
            done += 1
        yield from reversed(found)

    def _conjuncts(self, formula: Formula) -> list[str]:
        parts = formula.parts if isinstance(formula, And) else (formula,)
        return [self.writer.formula(part) for part in parts]

    def remarks(self) -> Iterator[str]:
        for constant in self.writer.constants:
            if constant not in self.constants:
                text = statistic_text(constant)
                yield f"{text} is a data constant: it has a value once a reward is bound, and may be any number here."
        instances = self.obligation.instances
        if instances is not None and self.boxes is None:
            rows = len(instances.anchors)
            yield (
                f"The data {instances.data} has {rows} rows, too many to write down: the whole ranges are asked\n"
                "about. unsat stays a proof; a situation need not be near any row."
            )

    def lines(self, rewards: Mapping[str, str]) -> Iterator[str]:
        case = self.obligation.case
        if case:
            yield f"; ── {case} ──"
            yield "(push 1)"
        yield from self._declarations(rewards)
        yield ""
        yield "; ranges"
        for variable in self.obligation.variables:
            yield f"(assert {_range(variable)})"
        yield from self._asserted("one case of each enum", self.structure)
        yield from self._asserted("assumptions of the spec", self.assume)
        if self.boxes is not None:
            yield ""
            yield f"; near a row of {self.obligation.instances.data if self.obligation.instances else 'the data'}"
            yield "(assert (or false"
            yield from (f"  {box}" for box in self.boxes)
            yield "))"
        yield from self._asserted("the premise", self.premise)
        yield ""
        yield "; 1. can the conclusion fail?"
        yield "(push 1)"
        yield from _indented("(assert (not", self.conclusion, "))")
        yield "(check-sat)"
        yield "(pop 1)"
        yield ""
        yield "; 2. can the premise hold?"
        yield "(check-sat)"
        if case:
            yield "(pop 1)"
            yield ""

    def _declarations(self, rewards: Mapping[str, str]) -> Iterator[str]:
        writer = self.writer
        applied = {call.reward for call in writer.calls}
        for name in self.spec.rewards:
            if name in applied:
                yield from _reward(self.spec, name, rewards.get(name))
        if writer.extremes:
            yield from EXTREMES
        for variable in self.obligation.variables:
            sort = "Int" if variable.discrete and not is_bit(variable) else "Real"
            unit = f" ; [{printable(variable.unit)}]" if variable.unit else ""
            yield f"(declare-const {quoted(variable.name)} {sort}){unit}"
        for constant, symbol in writer.constants.items():
            if constant in self.constants:
                yield f"(define-fun {symbol} () Real {numeral(self.constants[constant])})"
            else:
                yield f"(declare-const {symbol} Real)"
        for symbol, radicand in self.radicands.items():
            yield f"(declare-const {symbol} Real)"
            yield from _indented(f"(assert (and (>= {symbol} 0.0) (= (* {symbol} {symbol})", radicand, ")))")
        for symbol, application in self.writer.applications.items():
            yield from _indented(f"(define-fun {symbol} () Real", application, ")")

    def _asserted(self, what: str, conjuncts: list[str]) -> Iterator[str]:
        if conjuncts:
            yield ""
            yield f"; {what}"
        for text in conjuncts:
            yield from _indented("(assert", text, ")")

    def _boxes(self) -> list[str] | None:
        """One conjunction per data row; None where there are none, or too many."""
        instances = self.obligation.instances
        if instances is None:
            return None
        sides = len(instances.centred) + len(instances.fixed)
        if len(instances.anchors) > BOXES or sides * len(instances.anchors) > BOX_SIDES:
            return None
        bound = sorted({v for v, _, _ in instances.centred} | {v for v, _ in instances.fixed})
        found = []
        for box in boxes_of(self.obligation):
            parts = (_between(self.obligation.variables[v], *box[v]) for v in bound)
            found.append(f"(and {' '.join(parts)})")
        return found


def _indented(head: str, text: str, tail: str) -> Iterator[str]:
    if "\n" not in text:
        yield f"{head} {text}{tail}"
        return
    lines = text.split("\n")
    yield head
    yield from (f"  {line}" for line in lines[:-1])
    yield f"  {lines[-1]}{tail}"


def _range(variable: Variable) -> str:
    name = quoted(variable.name)
    if is_bit(variable):
        return f"(or (= {name} 0.0) (= {name} 1.0))"
    return f"(<= {numeral(variable.lo)} {variable_term(variable)} {numeral(variable.hi)})"


def _between(variable: Variable, lo: Fraction, hi: Fraction) -> str:
    term = variable_term(variable)
    return f"(= {term} {numeral(lo)})" if lo == hi else f"(<= {numeral(lo)} {term} {numeral(hi)})"


# ── rewards ────────────────────────────────────────────────────────────────────────────────────
def reward_symbol(spec: Spec, name: str) -> str:
    """`|R(s: Step)|`: no solver has a function of such a name."""
    return quoted(f"{name}({', '.join(f'{p}: {kind}' for p, kind in spec.rewards[name].params)})")


def _reward(spec: Spec, name: str, body: str | None) -> Iterator[str]:
    columns = [
        f"{param}.{column.name}"
        for param, kind in spec.rewards[name].params
        for column in spec.features[kind].columns()
    ]
    yield from _comment(f"columns of {name}: {', '.join(columns)}")
    symbol = reward_symbol(spec, name)
    if body is None:
        yield f"(declare-fun {symbol} ({' '.join(['Real'] * len(columns))}) Real)"
    else:
        yield f"(define-fun {symbol} ({' '.join(f'(x{k} Real)' for k in range(len(columns)))}) Real"
        yield f"  {body})"
