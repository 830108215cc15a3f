"""Rules that no edit can mend together: a minimal set of them, with the records at which they contradict each other.

Two kinds are looked for. Two rules that bound one reward at one and the same record, one from above and the other from
below by more: whether some record satisfies both premises is decided exactly (linear arithmetic over reals and
integers). And sets of any rules at several records, such as a circle of comparisons: that is the search of
`rewarden check` (`spec_lang/sanity/clash`), with the values of the rewards at the records as unknowns; each set is
checked once more from the rules at the exact records found, and none of its parts can be left out.

A data constant is a value of the reward, too, which an edit may move. So a clash is one for every reward only where it
needs no constants, or nothing of them but their order. Else it is one for the constants that the reward at hand has,
which is what an edit starts from, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from itertools import combinations
from typing import Any, TypeVar, cast

import z3

from rewarden.editor.methods.task import Task
from rewarden.editor.region import Bound
from rewarden.spec_lang.claim import Affine, Claim
from rewarden.spec_lang.errors import RewardenError
from rewarden.spec_lang.obligation import (
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
    Statistic,
    Sum,
)
from rewarden.spec_lang.sanity.clash import ClashBudget, find_clashes
from rewarden.spec_lang.sanity.demands import Demand, demands_of, region_of
from rewarden.spec_lang.sanity.places import Places
from rewarden.spec_lang.sanity.words import Telling
from rewarden.spec_lang.sanity.z3 import Oracle
from rewarden.verifier.bind import statistics_of
from rewarden.verifier.witness import decode

_T = TypeVar("_T")
RLIMIT = 2_000_000  # of z3, per pair


@dataclass(frozen=True, slots=True)
class Clash:
    """`rules` cannot all hold, any fewer of them may: at some records, given in words. `at_hand`: with the data
    constants of the reward at hand."""

    rules: tuple[str, ...]
    witness: str
    at_hand: bool

    @property
    def words(self) -> str:
        together = "they cannot hold together" if len(self.rules) > 1 else "no reward satisfies it"
        constants = " with the data constants that the reward has now" if self.at_hand else ""
        return f"{together}{constants}: {self.witness}"


def clashes(task: Task, rules: Sequence[str]) -> list[Clash]:
    """Sets of these rules that cannot all hold, none within another."""
    found = list(_pairs(task, rules))
    for at_hand in (False, True):
        known = [set(clash.rules) for clash in found]
        found += [clash for clash in _sets(task, rules, at_hand) if not any(one <= set(clash.rules) for one in known)]
    return _least(found)


def _least(found: Sequence[Clash]) -> list[Clash]:
    """One of each set of rules, and none that holds another: a rule that contradicts itself clashes with any."""
    first = {frozenset(clash.rules): clash for clash in reversed(found)}
    return [
        clash
        for clash in found
        if first[frozenset(clash.rules)] is clash and not any(other < set(clash.rules) for other in first)
    ]


def _sets(task: Task, rules: Sequence[str], at_hand: bool) -> list[Clash]:
    """As `rewarden check` finds them; `at_hand` writes the numbers of data constants in their place, where there are
    any (else there is nothing new to find)."""
    demands, constants = list[Demand](), 0
    for rule in rules:
        try:
            for obligation in task.spec.obligations_of(rule):
                values = statistics_of(task.spec, obligation, task.rewards) if at_hand else {}
                constants += len(values)
                own = with_constants(obligation, values)
                demands += demands_of(own, region_of(own)) or ()
        except RewardenError:
            continue  # loops have no finite list
    if at_hand and not constants:
        return []
    spec = task.spec
    signature = {
        name: tuple((kind, spec.features[kind].width) for _, kind in reward.params)
        for name, reward in spec.rewards.items()
    }
    budget = ClashBudget()
    found = find_clashes(demands, Oracle(budget.rlimit * budget.questions), budget)
    places = Places.of(spec)
    return [
        Clash(clash.rules, Telling(clash, signature, places).sentence(spec.features), at_hand)
        for clash in found.clashes
    ]


def with_constants(obligation: Obligation, values: Mapping[Statistic, Fraction]) -> Obligation:
    """The obligation with these numbers in the place of data constants."""
    if not values:
        return obligation
    parts = (getattr(obligation, name) for name in ("structure", "assume", "premise", "conclusion"))
    structure, assume, premise, conclusion = (_filled(part, values) for part in parts)
    return replace(obligation, structure=structure, assume=assume, premise=premise, conclusion=conclusion)


def _filled(what: _T, values: Mapping[Statistic, Fraction]) -> _T:
    """A term or a formula, or several, part by part: all are dataclasses of such."""
    found: Any = what
    if isinstance(found, Statistic):
        found = Const(values[found])
    elif isinstance(found, tuple):
        found = tuple(_filled(part, values) for part in found)
    elif isinstance(found, Product | Quotient | Sum | Min | Max | Ite | Sqrt | Call | Atom | And | Or):
        found = replace(found, **{f.name: _filled(getattr(found, f.name), values) for f in fields(found) if f.init})
    return cast(_T, found)


def _pairs(task: Task, rules: Sequence[str]) -> Iterator[Clash]:
    """Pairs of these rules that cannot both hold of `task.target`."""
    known: list[tuple[Bound, Claim]] = []
    for rule in rules:
        try:
            bounds, claim = task.bounds(rule), task.claim(rule)
        except RewardenError:
            continue  # no bounds of one record
        if claim.instances is None and len(claim.boxes) == 1:
            known += [(bound, claim) for bound in bounds if bound.reward == task.target]
    for one, other in combinations(known, 2):
        upper, lower = (one, other) if one[0].kind == "ceiling" else (other, one)
        if (upper[0].kind, lower[0].kind) != ("ceiling", "floor"):
            continue
        strict = upper[0].strict or lower[0].strict
        if upper[0].level > lower[0].level or (upper[0].level == lower[0].level and not strict):
            continue
        point = _common(upper[1], lower[1])
        if point is not None:
            most, least = float(upper[0].level), float(lower[0].level)
            witness = (
                f"at {_shown(task, point)} {upper[0].rule} asks for at most {most:.6g}, {lower[0].rule} for at least "
                f"{least:.6g}"
            )
            rules = tuple(dict.fromkeys((upper[0].rule, lower[0].rule)))
            yield Clash(rules, witness, bool(upper[1].constants or lower[1].constants))


def _common(one: Claim, other: Claim) -> tuple[Fraction, ...] | None:
    """A point of both premises; None where there is none, or none is found within the limit."""
    terms = [z3.Int(f"x{j}") if v.discrete else z3.Real(f"x{j}") for j, v in enumerate(one.variables)]
    solver = z3.SolverFor("QF_LIRA")
    solver.set("rlimit", RLIMIT)
    for claim in (one, other):
        for term, (lo, hi) in zip(terms, claim.boxes[0], strict=True):
            solver.add(term >= _number(lo), term <= _number(hi))
        for clause in claim.clauses:
            atoms = [(_term(atom.affine, terms), atom.strict) for atom in clause]
            solver.add(z3.Or([value > 0 if strict else value >= 0 for value, strict in atoms]))
    if solver.check() != z3.sat:
        return None
    model = solver.model()
    values = (model.eval(term, model_completion=True) for term in terms)
    return tuple(Fraction(str(v.as_fraction() if isinstance(v, z3.RatNumRef) else v.as_long())) for v in values)


def _term(affine: Affine, terms: Sequence[z3.ArithRef]) -> z3.ArithRef:
    parts = [_number(c) * terms[j] for j, c in affine.variables]
    return z3.Sum([_number(affine.constant), *parts])


def _number(value: Fraction) -> z3.RatNumRef:
    return z3.RealVal(f"{value.numerator}/{value.denominator}")


def _shown(task: Task, point: Sequence[Fraction]) -> str:
    """The record by its features."""
    told, start = [], 0
    for record in task.artifact.records:
        for feature in record.type.features:
            value = decode(feature, point[start : start + feature.width])
            told.append(f"{feature.name} = {value.value}")
            start += feature.width
    return "{" + ", ".join(told) + "}"
