"""The Z3 reading: an obligation as exact formulas, with rewards uninterpreted or as the caller encodes them.

With rewards uninterpreted Z3 checks the spec itself, before any model exists: can the premise of a rule hold at all?
Numbers are exact rationals throughout. Every reading owns its Z3 context, so that an answer does not depend on what
was asked before; budgets are Z3 resource units, never seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import z3

from rewarden.spec_lang.boxes import boxes_of
from rewarden.spec_lang.claim import Box
from rewarden.spec_lang.evaluate import statistic_text
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.naming import NamedRecords, named_records
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

if TYPE_CHECKING:
    from rewarden.spec_lang.spec import Spec

Z3Term = Any  # z3.ArithRef; the bindings carry no types
Z3Formula = Any  # z3.BoolRef
RewardTerm = Callable[[str, Sequence[Z3Term]], Z3Term]


@dataclass(frozen=True, slots=True)
class Z3Reading:
    """An obligation's four formulas over `variables` (Real, or Int where discrete).

    `definitions` must stand beside any of them: it fixes the fresh variables of square roots. Data constants that were
    not given are free reals in `free_constants`.
    """

    context: z3.Context
    variables: tuple[Z3Term, ...]
    structure: Z3Formula
    assume: Z3Formula
    premise: Z3Formula
    conclusion: Z3Formula
    definitions: Z3Formula
    free_constants: Mapping[Statistic, Z3Term]

    def inside(self, box: Box) -> Z3Formula:
        """Every variable within the box's bounds."""
        sides = [
            side
            for variable, (lo, hi) in zip(self.variables, box, strict=True)
            for side in (variable >= rational(lo, self.context), variable <= rational(hi, self.context))
        ]
        return z3.And([z3.BoolVal(True, self.context), *sides])

    def values(self, model: Any) -> list[Fraction] | None:  # noqa: ANN401 (z3.ModelRef)
        """The variables' values in a model; None if one is irrational."""
        found = [fraction(model.eval(variable, model_completion=True)) for variable in self.variables]
        exact = [value for value in found if value is not None]
        return exact if len(exact) == len(found) else None


def read(
    obligation: Obligation,
    rewards: RewardTerm | None = None,
    statistics: Mapping[Statistic, Fraction] | None = None,
    context: z3.Context | None = None,
    variables: Sequence[Z3Term] | None = None,
) -> Z3Reading:
    """The obligation in Z3's terms; without `rewards` they are uninterpreted functions of their encoded columns.

    `variables` reads it at given terms of that context, of sort Real or Int, instead of fresh unknowns.
    """
    context = context or z3.Context()
    fresh = (
        (z3.Int if variable.discrete else z3.Real)(f"{index}:{variable.name}", context)
        for index, variable in enumerate(obligation.variables)
    )
    lowering = _Lowering(tuple(fresh if variables is None else variables), context, rewards, statistics or {})
    structure, assume = lowering.formula(obligation.structure), lowering.formula(obligation.assume)
    premise, conclusion = lowering.formula(obligation.premise), lowering.formula(obligation.conclusion)
    return Z3Reading(
        context=lowering.context,
        variables=lowering.variables,
        structure=structure,
        assume=assume,
        premise=premise,
        conclusion=conclusion,
        definitions=z3.And([z3.BoolVal(True, lowering.context), *lowering.definitions]),
        free_constants=dict(lowering.free_constants),
    )


def read_term(term: Term, variables: Sequence[Z3Term], context: z3.Context) -> tuple[Z3Term, Z3Formula]:
    """A term over features at given terms, and the definitions that must stand beside it."""
    lowering = _Lowering(tuple(variables), context, None, {})
    found = lowering.term(term)
    return found, z3.And([z3.BoolVal(True, context), *lowering.definitions])


class _Lowering:
    """Mutable while one obligation is read: fresh variables and their definitions."""

    def __init__(
        self,
        variables: tuple[Z3Term, ...],
        context: z3.Context,
        rewards: RewardTerm | None,
        statistics: Mapping[Statistic, Fraction],
    ) -> None:
        self.context = context
        self.variables = variables
        self.definitions: list[Z3Formula] = []
        self.free_constants: dict[Statistic, Z3Term] = {}
        self._rewards = rewards or self._uninterpreted
        self._statistics = statistics
        self._roots: dict[Sqrt, Z3Term] = {}

    def formula(self, formula: Formula) -> Z3Formula:
        match formula:
            case And(parts):
                return z3.And([z3.BoolVal(True, self.context), *(self.formula(part) for part in parts)])
            case Or(parts):
                return z3.Or([z3.BoolVal(False, self.context), *(self.formula(part) for part in parts)])
            case Atom(term, strict):
                margin = self.term(term)
                return margin > 0 if strict else margin >= 0

    def term(self, term: Term) -> Z3Term:
        """A term of sort Real."""
        match term:
            case Const(constant):
                return rational(constant, self.context)
            case Var(index):
                variable = self.variables[index]
                return z3.ToReal(variable) if variable.is_int() else variable
            case Sum(terms):
                return z3.Sum([rational(Fraction(0), self.context), *(self.term(t) for t in terms)])
            case Product(left, right):
                return self.term(left) * self.term(right)
            case Quotient(left, right):
                return self.term(left) / self.term(right)
            case Min(terms):
                return self._extreme([self.term(t) for t in terms], least=True)
            case Max(terms):
                return self._extreme([self.term(t) for t in terms], least=False)
            case Ite(condition, then, otherwise):
                return z3.If(self.formula(condition), self.term(then), self.term(otherwise))
            case Sqrt():
                return self._root(term)
            case Call(reward, arguments):
                return self._rewards(reward, [self.term(t) for t in arguments])
            case Statistic():
                return self._constant(term)

    def _extreme(self, parts: list[Z3Term], *, least: bool) -> Z3Term:
        best = parts[0]
        for part in parts[1:]:
            best = z3.If(part < best if least else part > best, part, best)
        return best

    def _root(self, root: Sqrt) -> Z3Term:
        if root not in self._roots:
            fresh = z3.FreshReal("root", self.context)
            self.definitions += [fresh >= 0, fresh * fresh == self.term(root.term)]
            self._roots[root] = fresh
        return self._roots[root]

    def _constant(self, statistic: Statistic) -> Z3Term:
        if statistic in self._statistics:
            return rational(self._statistics[statistic], self.context)
        if statistic not in self.free_constants:
            self.free_constants[statistic] = z3.Real(statistic_text(statistic), self.context)
        return self.free_constants[statistic]

    def _uninterpreted(self, reward: str, arguments: Sequence[Z3Term]) -> Z3Term:
        real = z3.RealSort(self.context)
        return z3.Function(reward, *[real] * len(arguments), real)(*arguments)


def rational(value: Fraction, context: z3.Context) -> Z3Term:
    """An exact real constant (through text: never a float)."""
    return z3.RealVal(f"{value.numerator}/{value.denominator}", context)


def fraction(value: Z3Term) -> Fraction | None:
    """A Z3 number as a rational; None for irrational (algebraic) ones."""
    if z3.is_int_value(value):
        return Fraction(value.as_long())
    if z3.is_rational_value(value):
        return Fraction(value.numerator_as_long(), value.denominator_as_long())
    return None


# ── a rule, for a program that asks Z3 itself ──────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class RuleReading(Z3Reading):
    """A rule's reading with all that a question about it needs.

    `domain` holds where records exist: ranges (or neighbourhoods of rows), structure and assumptions, and the
    definitions of roots. `terms` names every feature, `terms["b.speed"]`; records that share one have the same term.
    """

    domain: Z3Formula
    terms: Mapping[str, Z3Term]
    obligation: Obligation
    types: Mapping[str, RecordType]

    def reward(self, name: str, arguments: Sequence[Z3Term]) -> Z3Term:
        """The uninterpreted reward at encoded columns, as premise and conclusion apply it."""
        real = z3.RealSort(self.context)
        return z3.Function(name, *[real] * len(arguments), real)(*arguments)

    def record(self, name: str) -> tuple[Z3Term, ...]:
        """The encoded columns of a record, `a`, as real terms; KeyError."""
        views = {view.name: view for view in self.obligation.records}
        return tuple(_real(self.variables[v]) for v in views[name].variables)

    def named(self, model: Any) -> NamedRecords | None:  # noqa: ANN401 (z3.ModelRef)
        """A model's records by feature, in the spec's units; None where a value is irrational."""
        values = self.values(model)
        return None if values is None else named_records(self.obligation, values, self.types)


def z3_reading(spec: Spec, rule: str, *, length: int | None = None, context: z3.Context | None = None) -> RuleReading:
    """A rule as Z3 terms, rewards uninterpreted.

        reading = z3_reading(spec, "slow_near_people")
        solver = z3.Solver(ctx=reading.context)
        solver.add(reading.domain, reading.premise, z3.Not(reading.conclusion))
        solver.add(reading.terms["a.speed"] > 1)
        if solver.check() == z3.sat:
            print(reading.named(solver.model()))

    A reading has a Z3 context of its own; with `context=z3.main_ctx()` it joins terms that you make without one.
    `length` picks the traces or loops of that many records (Unsupported X08 where a rule needs it). DataError for
    data that cannot be read; each of its rows is part of `domain`.
    """
    obligation = spec.obligation(rule) if length is None else spec.unrolled(rule, length)
    reading = read(obligation, context=context)
    boxes = z3.Or([z3.BoolVal(False, reading.context), *(reading.inside(box) for box in boxes_of(obligation))])
    terms = {
        f"{view.name}.{obligation.variables[v].column}": reading.variables[v]
        for view in obligation.records
        for v in view.variables
    }
    return RuleReading(
        context=reading.context,
        variables=reading.variables,
        structure=reading.structure,
        assume=reading.assume,
        premise=reading.premise,
        conclusion=reading.conclusion,
        definitions=reading.definitions,
        free_constants=reading.free_constants,
        domain=z3.And(boxes, reading.structure, reading.assume, reading.definitions),
        terms=terms,
        obligation=obligation,
        types=spec.features,
    )


def _real(term: Z3Term) -> Z3Term:
    return z3.ToReal(term) if term.is_int() else term
