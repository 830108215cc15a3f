"""Rules at given numbers: what is left of them is about values of rewards only, and Z3 decides it outright.

This is what a claim about the spec rests on: it reads the obligations themselves, not what was derived from them to
find the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rewarden.spec_lang.clauses import negate
from rewarden.spec_lang.evaluate import truth
from rewarden.spec_lang.formulas import conjunction, disjunction
from rewarden.spec_lang.obligation import Atom, Const, Formula, Obligation, Product, Statistic, Sum
from rewarden.spec_lang.sanity.edges import at_most
from rewarden.spec_lang.sanity.joint import numbers, substituted
from rewarden.spec_lang.sanity.z3 import Oracle
from rewarden.spec_lang.term_walk import nodes


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """A rule at `values` of its variables, or, without values, what follows from it over all rows of a table.

    `says` is that, exactly: a formula about rewards at given records, and data constants.
    """

    obligation: Obligation
    values: tuple[Fraction, ...] | None
    says: Formula

    @property
    def rule(self) -> str:
        return self.obligation.rule.name


def instance(obligation: Obligation, values: tuple[Fraction, ...]) -> Instance | None:
    """The rule at these values; None where it does not speak of them. Unsupported where roots defeat exact arithmetic.

    Whether a rule over data has a row near them is looked at for each row.
    """
    in_range = all(v.lo <= x <= v.hi for v, x in zip(obligation.variables, values, strict=True))
    whole = all(x.denominator == 1 for v, x in zip(obligation.variables, values, strict=True) if v.discrete)
    if not (in_range and whole and truth(obligation.structure, values) and truth(obligation.assume, values)):
        return None
    if not near_some_row(obligation, values):
        return None
    columns = numbers(values)
    premise = substituted(obligation.premise, columns)
    return Instance(obligation, values, disjunction([negate(premise), substituted(obligation.conclusion, columns)]))


def near_some_row(obligation: Obligation, values: Sequence[Fraction]) -> bool:
    """True of a rule that is not about data."""
    instances = obligation.instances
    if instances is None:
        return True
    for anchor in instances.anchors:
        fixed = all(values[index] == Fraction(float(anchor[column])) for index, column in instances.fixed)
        if fixed and all(
            abs(values[index] - Fraction(float(anchor[column]))) <= radius
            for index, column, radius in instances.centred
        ):
            return True
    return False


def order_of_constants(formulas: Sequence[Formula]) -> Formula:
    """All that is known, whatever the reward, of how the data constants of these formulas compare."""
    found = dict.fromkeys(node for f in formulas for node in nodes(f) if isinstance(node, Statistic))
    pairs = [(a, b) for a in found for b in found if a != b and at_most(a, b)]
    return conjunction([Atom(Sum((b, Product(Const(Fraction(-1)), a))), False) for a, b in pairs])


def contradictory(instances: Sequence[Instance], oracle: Oracle, rlimit: int) -> bool:
    """Is it proved that no rewards satisfy all of them?"""
    says = [instance.says for instance in instances]
    return oracle.ask((), conjunction([*says, order_of_constants(says)]), rlimit).status == "unsat"


def minimal(instances: Sequence[Instance], oracle: Oracle, rlimit: int) -> tuple[int, ...]:
    """Numbers of instances of which none can be left out without losing the contradiction."""
    kept = list(range(len(instances)))
    for k in reversed(range(len(instances))):
        fewer = [j for j in kept if j != k]
        if contradictory([instances[j] for j in fewer], oracle, rlimit):
            kept = fewer
    return tuple(kept)
