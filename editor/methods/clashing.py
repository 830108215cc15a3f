"""Rules that no edit can mend together: two that ask opposite things of one and the same record.

A rule that bounds one reward at one record from above, and another that bounds it from below by more, with the data
constants that they have for the rewards at hand: whether some record satisfies both premises is decided exactly (linear
arithmetic over reals and integers). A pair is minimal, since each rule alone can be met. What clashes for any reward at
all, through more rules or several records, `rewarden check` finds in the spec itself (`spec_lang/sanity`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import z3

from rewarden.editor.methods.task import Task
from rewarden.editor.region import Bound
from rewarden.spec_lang.claim import Affine, Claim
from rewarden.spec_lang.errors import RewardenError
from rewarden.verifier.witness import decode

RLIMIT = 2_000_000  # of z3, per pair


@dataclass(frozen=True, slots=True)
class Clash:
    """At the record `point` (encoded columns) `upper` asks for at most `most` of the reward, `lower` for `least`."""

    upper: str
    lower: str
    most: Fraction
    least: Fraction
    point: tuple[Fraction, ...]
    record: str

    @property
    def words(self) -> str:
        return (
            f"they cannot hold together: at {self.record} {self.upper} asks for at most "
            f"{float(self.most):.6g}, {self.lower} for at least {float(self.least):.6g}"
        )


def clashes(task: Task, rules: Sequence[str]) -> Iterator[Clash]:
    """Pairs of these rules that cannot both hold of `task.target`."""
    known: list[tuple[Bound, Claim]] = []
    for rule in rules:
        try:
            bound, claim = task.bound(rule), task.claim(rule)
        except RewardenError:
            continue  # no bound of one record
        if bound.reward == task.target and claim.instances is None and len(claim.boxes) == 1:
            known.append((bound, claim))
    for one, other in combinations(known, 2):
        upper, lower = (one, other) if one[0].kind == "ceiling" else (other, one)
        if (upper[0].kind, lower[0].kind) != ("ceiling", "floor"):
            continue
        strict = upper[0].strict or lower[0].strict
        if upper[0].level > lower[0].level or (upper[0].level == lower[0].level and not strict):
            continue
        point = _common(upper[1], lower[1])
        if point is not None:
            at = _shown(task, point)
            yield Clash(upper[0].rule, lower[0].rule, upper[0].level, lower[0].level, point, at)


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
