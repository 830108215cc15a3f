"""A claim as cases without discrete choices, each of which can become one query.

A query of VNN-LIB is about reals and networks of Gemm and Relu. So a claim is split: one part for every instance box,
every assignment of its discrete variables (ints, bools, one-hot cases of an enum) and every state of its rewards'
patches. Together the parts are the claim: a point of a box has one value for each discrete variable, and a patch is
open (some row is at least its gate), or else flat (all rows are at most its delta) or else sloped, which the part
states as facts over the variables. A part that exact propagation shows to be empty, or to hold no violation, is dropped
and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor

from rewarden.reward.artifact import Artifact
from rewarden.reward.onnx_export import State
from rewarden.spec_lang.claim import Affine, AffineAtom, Box, Claim, ClaimCall, Clause
from rewarden.spec_lang.errors import Unsupported

MAX_CASES = 4096  # parts of one claim that hold a violation, for all that was shown
MAX_STEPS = 200_000  # parts looked at on the way
ROUNDS = 8  # of propagation, per part
FACTS = 60  # that atoms are held against

Interval = tuple[Fraction, Fraction]


@dataclass(frozen=True, slots=True)
class Gate:
    """One patch of a call: the facts over variables that put it in each state."""

    call: int
    patch: int
    facts: Mapping[State, tuple[Clause, ...]]


@dataclass(frozen=True, slots=True)
class Case:
    """A part of a claim. `box` bounds every variable (discrete ones are fixed); `clauses` is what of the premise the
    box does not say already; a violation makes every atom of some of `goals` false. `states` has the state of each
    gate of the claim."""

    instance: int
    box: Box
    clauses: tuple[Clause, ...]
    goals: tuple[Clause, ...]
    states: tuple[State, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """`empty` parts hold no record, in `settled` ones the conclusion is plain from the bounds alone."""

    cases: tuple[Case, ...]
    gates: tuple[Gate, ...]
    empty: int
    settled: int


def split(claim: Claim, artifacts: Mapping[str, Artifact]) -> Split:
    """All parts of the claim. Unsupported (X32) where they are too many."""
    gates = tuple(gates_of(claim, artifacts))
    discrete = tuple(v.discrete for v in claim.variables)
    cases: list[Case] = []
    empty = settled = steps = 0
    stack = [Case(i, box, claim.clauses, claim.goals, ()) for i, box in reversed(tuple(enumerate(claim.boxes)))]
    while stack:
        steps += 1
        if len(cases) > MAX_CASES or steps > MAX_STEPS:
            raise _too_many(claim)
        part = contracted(stack.pop(), discrete)
        if part is None:
            empty += 1
            continue
        children = _choices(claim, part, gates)
        if children is not None:
            stack.extend(reversed(children))
        elif not part.goals:
            settled += 1
        else:
            cases.append(part)
    return Split(tuple(cases), gates, empty, settled)


def gates_of(claim: Claim, artifacts: Mapping[str, Artifact]) -> Iterator[Gate]:
    """The patches of all calls, innermost first, their rows as exact affine forms over the claim's variables."""
    for number, call in enumerate(claim.calls):
        artifact = artifacts[call.reward]
        for position, patch in enumerate(artifact.patches):
            weights, offsets = artifact.tensors[patch.rows].tolist(), artifact.tensors[patch.offsets].tolist()
            rows = [_composed(row, call, -Fraction(offset)) for row, offset in zip(weights, offsets, strict=True)]
            delta, gate = (Fraction(float(artifact.tensors[name][0])) for name in (patch.delta, patch.gate))
            beyond_gate = tuple(AffineAtom(plus(row, -gate), strict=False) for row in rows)
            beyond_delta = tuple(AffineAtom(plus(row, -delta), strict=True) for row in rows)
            within_gate = tuple((negated(atom),) for atom in beyond_gate)
            within_delta = tuple((negated(atom),) for atom in beyond_delta)
            yield Gate(
                call=number,
                patch=position,
                facts={
                    "flat": within_delta if delta < gate else (*within_delta, *within_gate),
                    "sloped": (beyond_delta, *within_gate),
                    "open": (beyond_gate,),
                },
            )


def plus(form: Affine, constant: Fraction) -> Affine:
    return Affine(form.constant + constant, form.variables, form.calls)


def _composed(weights: Sequence[float], call: ClaimCall, constant: Fraction) -> Affine:
    """Σ weight·argument + constant."""
    total: dict[int, Fraction] = {}
    for weight, argument in zip(weights, call.arguments, strict=True):
        if weight:
            constant += Fraction(weight) * argument.constant
            for index, coefficient in argument.variables:
                total[index] = total.get(index, Fraction(0)) + Fraction(weight) * coefficient
    return Affine(constant, tuple((i, c) for i, c in sorted(total.items()) if c))


# ── choices ────────────────────────────────────────────────────────────────────────────────────
def _choices(claim: Claim, part: Case, gates: Sequence[Gate]) -> list[Case] | None:
    """The part once per value of its first free discrete variable, or per state of its next patch; None: no choice."""
    for j, (lo, hi) in enumerate(part.box):
        if claim.variables[j].discrete and lo < hi:
            if hi - lo > MAX_CASES:
                raise _too_many(claim)
            return [_with(part, j, lo + k) for k in range(int(hi - lo) + 1)]
    if len(part.states) == len(gates):
        return None
    facts = gates[len(part.states)].facts
    return [
        replace(part, clauses=(*part.clauses, *clauses), states=(*part.states, state))
        for state, clauses in facts.items()
    ]


def _with(part: Case, variable: int, value: Fraction) -> Case:
    return replace(part, box=(*part.box[:variable], (value, value), *part.box[variable + 1 :]))


def _too_many(claim: Claim) -> Unsupported:
    return Unsupported(
        "X32",
        f"{claim.rule} falls into more than {MAX_CASES} cases: one per row, assignment of its discrete features and "
        "state of its rewards' patches",
        help="fix discrete features in `given`, or write the rule near fewer rows",
    )


# ── what a part leaves open ────────────────────────────────────────────────────────────────────
def contracted(part: Case, discrete: Sequence[bool]) -> Case | None:
    """The same part with its box narrowed by facts, and without what box and facts say already; None where it is empty.

    Facts over several variables move the bounds of discrete variables alone, so that the continuous bounds of a query
    are those that a reader finds in the rule.
    """
    box = [_whole(bounds) if d else bounds for bounds, d in zip(part.box, discrete, strict=True)]
    if any(lo > hi for lo, hi in box):
        return None
    clauses = _kept(part.clauses, box)
    for _ in range(ROUNDS):
        before = list(box)
        for fact in facts_in(clauses):
            _narrow(box, fact, discrete)
            if any(lo > hi for lo, hi in box):
                return None
        clauses = _kept(_consistent(_kept(clauses, box), box), box)
        if () in clauses:
            return None
        if box == before:
            break
    return replace(part, box=tuple(box), clauses=clauses, goals=_kept(part.goals, box))


def facts_in(clauses: Sequence[Clause]) -> list[AffineAtom]:
    """What certainly holds, of variables alone."""
    return [clause[0] for clause in clauses if len(clause) == 1 and not clause[0].affine.calls]


def _kept(clauses: Sequence[Clause], box: Sequence[Interval]) -> tuple[Clause, ...]:
    return tuple(dict.fromkeys(c for c in (simplified(clause, box) for clause in clauses) if c is not None))


def _consistent(clauses: Sequence[Clause], box: Sequence[Interval]) -> tuple[Clause, ...]:
    """The clauses without atoms that some fact contradicts: where two forms are at least 0, no positive combination of
    them is negative. A region's side in a premise and the opposite of what a patch has stored of it contradict each
    other like this, and not over the box alone."""
    facts = facts_in(clauses)[:FACTS]
    return tuple(tuple(atom for atom in clause if not _refuted(atom, facts, box)) for clause in clauses)


def _refuted(atom: AffineAtom, facts: Sequence[AffineAtom], box: Sequence[Interval]) -> bool:
    if atom.affine.calls:
        return False
    own = dict(atom.affine.variables)
    for fact in facts:
        for factor in {-own[j] / c for j, c in fact.affine.variables if j in own and own[j] * c < 0}:
            _, top = reach(_combined(atom.affine, fact.affine, factor), box)
            if top < 0 or (top == 0 and (atom.strict or fact.strict)):
                return True
    return False


def _combined(form: Affine, other: Affine, factor: Fraction) -> Affine:
    """form + factor·other, of variables."""
    total = dict(form.variables)
    for j, c in other.variables:
        total[j] = total.get(j, Fraction(0)) + factor * c
    return Affine(form.constant + factor * other.constant, tuple((j, c) for j, c in sorted(total.items()) if c))


def simplified(clause: Clause, box: Sequence[Interval]) -> Clause | None:
    """The clause over the box, fixed variables written out: None where it is true throughout, without the atoms that
    are false throughout."""
    kept = []
    for atom in clause:
        affine = folded(atom.affine, box)
        if not affine.calls:
            lo, hi = reach(affine, box)
            if lo > 0 or (lo == 0 and not atom.strict):
                return None
            if hi < 0 or (hi == 0 and atom.strict):
                continue
        kept.append(AffineAtom(affine, atom.strict))
    return tuple(dict.fromkeys(kept))


def reach(affine: Affine, box: Sequence[Interval]) -> Interval:
    """The least and the greatest value over the box; variables only."""
    lo = hi = affine.constant
    for j, c in affine.variables:
        a, b = box[j]
        lo, hi = (lo + c * a, hi + c * b) if c > 0 else (lo + c * b, hi + c * a)
    return lo, hi


def negated(atom: AffineAtom) -> AffineAtom:
    """True exactly where the atom is false."""
    a = atom.affine
    minus = Affine(-a.constant, tuple((i, -c) for i, c in a.variables), tuple((i, -c) for i, c in a.calls))
    return AffineAtom(minus, not atom.strict)


def folded(affine: Affine, box: Sequence[Interval]) -> Affine:
    """The form with variables that the box fixes written out."""
    if not any(box[j][0] == box[j][1] for j, _ in affine.variables):
        return affine
    constant = affine.constant + sum(
        (c * box[j][0] for j, c in affine.variables if box[j][0] == box[j][1]), Fraction(0)
    )
    return Affine(constant, tuple((j, c) for j, c in affine.variables if box[j][0] < box[j][1]), affine.calls)


def _narrow(box: list[Interval], fact: AffineAtom, discrete: Sequence[bool]) -> None:
    """In place: each variable's bounds by what the others can add at most (they alone, where there are no others)."""
    alone = len(fact.affine.variables) == 1
    _, top = reach(fact.affine, box)
    for j, c in fact.affine.variables:
        if not (alone or discrete[j]):
            continue
        lo, hi = box[j]
        edge = (hi if c > 0 else lo) - top / c  # c·x + (top − c·best end) >= 0
        if c > 0:
            if discrete[j]:
                edge = Fraction(floor(edge) + 1 if fact.strict else ceil(edge))
            box[j] = (max(lo, edge), hi)
        else:
            if discrete[j]:
                edge = Fraction(ceil(edge) - 1 if fact.strict else floor(edge))
            box[j] = (lo, min(hi, edge))
        if box[j] != (lo, hi):
            _, top = reach(fact.affine, box)


def _whole(bounds: Interval) -> Interval:
    return Fraction(ceil(bounds[0])), Fraction(floor(bounds[1]))
