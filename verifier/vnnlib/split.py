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

from rewarden.reward.artifact import Artifact
from rewarden.reward.onnx_export import State
from rewarden.reward.tables import require_no_tables
from rewarden.spec_lang.claim import Affine, AffineAtom, Box, Claim, ClaimCall, Clause
from rewarden.spec_lang.errors import Unsupported
from rewarden.verifier.vnnlib.forms import negated, plus
from rewarden.verifier.vnnlib.propagation import kept, propagated

MAX_CASES = 4096  # parts of one claim that hold a violation, for all that was shown
MAX_STEPS = 200_000  # parts looked at on the way


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
    for call in claim.calls:
        require_no_tables(artifacts[call.reward], "a VNN-LIB query")
    gates = tuple(gates_of(claim, artifacts))
    discrete = tuple(v.discrete for v in claim.variables)
    cases: list[Case] = []
    empty = settled = steps = 0
    stack = [Case(i, box, claim.clauses, claim.goals, ()) for i, box in reversed(tuple(enumerate(claim.boxes)))]
    while stack:
        steps += 1
        if len(cases) > MAX_CASES or steps > MAX_STEPS:
            raise _too_many(claim)
        part = stack.pop()
        left = propagated(part.box, part.clauses, discrete)
        if left is None:
            empty += 1
            continue
        part = replace(part, box=left[0], clauses=left[1], goals=kept(part.goals, left[0]))
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
