"""The ways to violate a claim, as rows: expressions that are all at most 0 at such a point.

The rows are closed: a comparison that fails by equality alone is not told apart from one that fails.
"""

from __future__ import annotations

from itertools import product

from rewarden.spec_lang.claim import Affine, Claim

ALTERNATIVES = 64
ROWS = 32  # of one alternative


def alternatives(claim: Claim) -> list[tuple[Affine, ...]] | None:
    """The ways to violate the claim, each as expressions that are all at most 0; None if there are too many."""
    cases = 1
    for clause in claim.clauses:
        cases *= max(1, len(clause))
    if cases * len(claim.goals) > ALTERNATIVES:
        return None
    premises = [tuple(_negative(atom.affine) for atom in chosen) for chosen in product(*claim.clauses)]
    found = [(*premise, *(atom.affine for atom in goal)) for goal in claim.goals for premise in premises]
    return None if any(len(one) > ROWS for one in found) else found


def _negative(affine: Affine) -> Affine:
    return Affine(
        -affine.constant,
        tuple((j, -value) for j, value in affine.variables),
        tuple((j, -value) for j, value in affine.calls),
    )
