"""A program without the relus of width one that the premise decides: what an edit that fades across a rim is inside.

An edit in a region reads how far a record is from it, and what it adds or takes fades with that (`editor/correction`).
At a record that satisfies the rule's premise the distance is 0. Where a relu's pre-activation is at most 0 wherever the
premise holds, it is 0 there, and where it is at least 0, it is its pre-activation. What is left equals the whole
program at every point of the claim's boxes that satisfies the premise, and nothing else counts for a verdict: a proof
speaks of those points alone, and what is said to violate is replayed by the whole program.

Each decision is exact arithmetic (`by_construction`): the least value of an affine form over the hull of the boxes,
narrowed by the facts of one variable, less a multiple of a fact or of a sum of two. A premise with disjunctions is
looked at by cases: `chosen` are atoms of theirs, and then the program is the whole one's where these hold as well.

Layers of width one are what distances, minima and maxima of rewards, and rims are made of; a network's own layers stay
as they are, so that two copies of it are still compared neuron by neuron (`differences`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import combinations, product
from math import prod

import numpy as np

from rewarden.spec_lang.boxes import hull
from rewarden.spec_lang.claim import Affine, AffineAtom
from rewarden.verifier.by_construction import DEEP, ExactBounds, goals_hold, monotone_goals_hold
from rewarden.verifier.narrowing import narrowed, single_atoms
from rewarden.verifier.program import INPUT, Block, Layer, Program

MOST_CASES = 16  # of a premise with disjunctions
MOST_FACTS = 64
WORK = 2**21  # terms that are added up for one goal, at most: an envelope has a network for each of its levels
CASES = 12  # relus that a pre-activation is told apart by


def goals_hold_by_cases(program: Program) -> bool:
    """Whether all goals hold by construction at every point of the premise, once what it decides is taken out."""
    cases = by_cases(program)
    return bool(cases) and all(goals_hold(case) or monotone_goals_hold(case, WORK) for case in cases)


def by_cases(program: Program) -> list[Program]:
    """For each choice of an atom from every disjunction of the premise the program as it is there; none where there
    are too many, or where nothing is decided. Together they are all points of the premise."""
    several = [clause for clause in program.claim.clauses if len(clause) > 1]
    if program.executed is not None or prod(map(len, several)) > MOST_CASES:
        return []
    found = [case for chosen in product(*several) if (case := settled(program, chosen)) is not None]
    return found if any(case is not program for case in found) else []


def settled(program: Program, chosen: Sequence[AffineAtom] = ()) -> Program | None:
    """The program where the premise and `chosen` hold, layer by layer: itself where nothing is decided, None where the
    facts of single variables leave no point."""
    claim = program.claim
    if program.executed is not None or not len(claim.boxes) or claim.instances is not None:
        return program
    facts = [*single_atoms(claim.clauses), *chosen]
    discrete = [variable.discrete for variable in claim.variables]
    cells = [cell for box in claim.boxes if (cell := narrowed(box, facts, discrete)) is not None]
    if not cells:
        return None
    layers = list(program.layers)
    about = _with_sums([fact for fact in facts if fact.affine.variables and not fact.affine.calls])
    changed = False
    for k, layer in enumerate(layers):
        if layer.kind == "relu" and layer.width == 1:
            now = replace(program, layers=tuple(layers))
            sign = _decided(ExactBounds(now, hull(cells), premise=about), k)
            if sign:
                layers[k] = replace(layer, kind="linear") if sign > 0 else _nothing(len(claim.variables))
                changed = True
    return replace(program, layers=tuple(layers)) if changed else program


def _with_sums(facts: list[AffineAtom]) -> list[AffineAtom]:
    """These facts about variables, and sums of two in which a variable cancels: `b.x <= 1 - y` and `a.x <= b.x` say
    that a.x <= 1 - y."""
    found = list(facts)
    for one, other in combinations(facts, 2):
        mine, theirs = dict(one.affine.variables), dict(other.affine.variables)
        for j in sorted(mine.keys() & theirs.keys()):
            if len(found) < MOST_FACTS and mine[j] * theirs[j] < 0:
                factor = -mine[j] / theirs[j]
                sums = {k: mine.get(k, Fraction(0)) + factor * theirs.get(k, Fraction(0)) for k in {*mine, *theirs}}
                rest = tuple((k, c) for k, c in sorted(sums.items()) if c)
                if rest:
                    constant = one.affine.constant + factor * other.affine.constant
                    found.append(AffineAtom(Affine(constant, rest), one.strict or other.strict))
    return found


def _decided(bounds: ExactBounds, k: int) -> int:
    """1 where the pre-activation of layer k is at least 0, −1 where it is at most 0, 0 where that is not known. What
    cancels is looked at first, without any bounds of the neurons below."""
    for depth in (DEEP, 0):
        for sign in (1, -1):
            form, constant = bounds.with_inner(k, 0, Fraction(sign), {}, Fraction(0))
            bounds.depth = depth
            if bounds.reaches(form, constant, False, CASES):
                return sign
            bounds.known.clear()
    return 0


def _nothing(variables: int) -> Layer:
    return Layer("linear", (Block(INPUT, np.zeros((1, variables))),), np.zeros(1))
