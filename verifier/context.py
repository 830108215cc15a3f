"""What may be used below a choice of cases: the facts, and the functionals whose bound would settle a box.

A fact over variables alone enters after back-substitution, with the best multiplier for each box (`facts`). A fact that
calls a reward has to be subtracted before, so a few multipliers are tried: 1, and those that cancel one of the goal's
calls. A functional without a goal atom asks whether the facts contradict each other over the box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite

import torch
from torch import Tensor

from rewarden.spec_lang.claim import Affine, AffineAtom, Box, Claim
from rewarden.verifier.backsub import Functionals
from rewarden.verifier.exact_bounds import Multipliers, combination
from rewarden.verifier.facts import FactId, Facts
from rewarden.verifier.fusion import functional_rows, stacked
from rewarden.verifier.program import Program
from rewarden.verifier.rounding import to_nearest

CANDIDATES = 3  # multipliers tried for a fact that calls a reward, per goal atom
MAX_FUNCTIONALS = 24


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """`chosen`: the cases' atoms. Functional k is `goal_atoms[k]` (−1: none) minus `used[k]`.

    `weak[k]`: a bound of exactly 0 is enough. `useful` facts are not already implied by the boxes; `facts` are all.
    """

    chosen: tuple[FactId, ...]
    goal_atoms: tuple[int, ...]
    used: tuple[Multipliers, ...]
    functionals: Functionals
    weak: Tensor
    facts: Facts
    useful: Facts
    strict: Tensor  # [fact], of `facts`
    useful_strict: Tensor
    forms: int = 1

    def form(self, k: int) -> int:
        """Which form of the program functional k is about."""
        return k // (len(self.goal_atoms) // self.forms)

    @property
    def goal_rows(self) -> Tensor:
        """Which functionals bound a goal atom; all of them if none does."""
        rows = torch.tensor([atom >= 0 for atom in self.goal_atoms])
        return rows if bool(rows.any()) else torch.ones_like(rows)


def fact_ids(claim: Claim, chosen: Sequence[FactId]) -> tuple[FactId, ...]:
    """Every fact: the atoms of one-atom clauses, then the chosen ones."""
    return (*((c, 0) for c, clause in enumerate(claim.clauses) if len(clause) == 1), *chosen)


def make_context(forms: Sequence[Program], goal: int, chosen: tuple[FactId, ...], hull: Box) -> Context:
    """`hull` contains every box on which the context will be used. `forms` of one program share their layers: each
    functional is bounded in every form."""
    claim = forms[0].claim
    ids = fact_ids(claim, chosen)
    plain = [f for f in ids if not _atom(claim, f).affine.calls]
    useful = [f for f in plain if not implied(_atom(claim, f), hull)]
    rows = _functionals(claim, goal, useful, [f for f in ids if _atom(claim, f).affine.calls])
    affines = [combination(claim, goal, atom, used) for atom, used in rows]
    fused = stacked([functional_rows(form, affines) for form in forms])
    rows = rows * len(forms)
    weak = [
        any(claim.clauses[c][a].strict for c, a, _ in used) or (atom >= 0 and not claim.goals[goal][atom].strict)
        for atom, used in rows
    ]
    return Context(
        chosen,
        tuple(atom for atom, _ in rows),
        tuple(used for _, used in rows),
        Functionals.of(fused),
        torch.tensor(weak, dtype=torch.bool),
        _facts(claim, plain),
        _facts(claim, useful),
        torch.tensor([_atom(claim, f).strict for f in plain], dtype=torch.bool),
        torch.tensor([_atom(claim, f).strict for f in useful], dtype=torch.bool),
        len(forms),
    )


def _functionals(
    claim: Claim, goal: int, useful: Sequence[FactId], with_calls: Sequence[FactId]
) -> list[tuple[int, Multipliers]]:
    one = Fraction(1)
    atoms = range(len(claim.goals[goal]))
    # Refutations first: where several functionals settle a box, the first is written down, and these are the shortest.
    rows: list[tuple[int, Multipliers]] = [(-1, ((c, a, one),)) for c, a in useful[: MAX_FUNCTIONALS // 2]]
    rows += [(atom, ()) for atom in atoms]
    rows += [(-1, ((c, a, one),)) for c, a in with_calls]
    for atom in atoms:
        for c, a in with_calls:
            factors = _cancelling(claim.goals[goal][atom].affine, claim.clauses[c][a].affine)
            rows += [(atom, ((c, a, factor),)) for factor in factors]
    return rows[: MAX_FUNCTIONALS + len(atoms)] or [(-1, ())]


def _cancelling(goal: Affine, fact: Affine) -> list[Fraction]:
    """Dyadic multipliers for a fact with calls: those that cancel a call of the goal, then 1."""
    calls = dict(fact.calls)
    ratios = [value / calls[call] for call, value in goal.calls if call in calls]
    near = [to_nearest(ratio) for ratio in ratios if ratio > 0]  # one beyond binary64 is of no use
    factors = [Fraction(factor) for factor in near if isfinite(factor)] + [Fraction(1)]
    return [f for f in dict.fromkeys(factors) if f > 0][:CANDIDATES]


def _facts(claim: Claim, ids: Sequence[FactId]) -> Facts:
    return Facts.of(ids, [_atom(claim, f).affine for f in ids], len(claim.variables))


def _atom(claim: Claim, fact: FactId) -> AffineAtom:
    return claim.clauses[fact[0]][fact[1]]


def implied(atom: AffineAtom, box: Box) -> bool:
    """Whether an atom over variables is true at every point of the box."""
    least = atom.affine.constant + sum(c * box[j][0 if c > 0 else 1] for j, c in atom.affine.variables)
    return least > 0 or (least == 0 and not atom.strict)


def refuted(atom: AffineAtom, box: Box) -> bool:
    """Whether an atom over variables is false at every point of the box."""
    most = atom.affine.constant + sum(c * box[j][1 if c > 0 else 0] for j, c in atom.affine.variables)
    return most < 0 or (most == 0 and atom.strict)


def hull_of(boxes: Sequence[Box]) -> Box:
    columns = zip(*boxes, strict=True)
    return tuple((min(lo for lo, _ in column), max(hi for _, hi in column)) for column in columns)
