"""Patches that cannot break a claim: without them its goals are as hard to meet, or harder.

A proof about the rewards without such patches is one about the others, and the certificate kernel accepts it as one
("Pieces" in docs/formats.md). Premises do not call these rewards, so what they say is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from rewarden.reward.artifact import Artifact
from rewarden.reward.graph import Patch
from rewarden.reward.widths import Tensors
from rewarden.spec_lang.claim import AffineAtom, Claim
from rewarden.verifier.caps import NORMAL


def harmless(
    claim: Claim, artifacts: Mapping[str, Artifact], asked_of: Callable[[Patch, Tensors], bool]
) -> dict[str, frozenset[int]]:
    """For each reward that is called, the numbers of patches, of those asked of, that can harm no goal of the claim;
    rewards without such are left out."""
    found: dict[str, frozenset[int]] = {}
    asked = {claim.calls[c].reward for clause in claim.clauses for atom in clause for c, _ in atom.affine.calls}
    for name in sorted({call.reward for call in claim.calls} - asked):
        artifact = artifacts[name]
        gone = frozenset(
            number
            for number, patch in enumerate(artifact.patches)
            if asked_of(patch, artifact.tensors)
            and all(_kept(patch, artifact.tensors, claim, goal, name) for goal in claim.goals)
        )
        if gone:
            found[name] = gone
    return found


def unhelped(
    claim: Claim, artifacts: Mapping[str, Artifact], asked_of: Callable[[Patch, Tensors], bool]
) -> dict[str, Artifact] | None:
    """The rewards without these patches; None where there are none."""
    found = harmless(claim, artifacts, asked_of)
    less = {
        name: artifacts[name].with_patches(
            tuple(patch for number, patch in enumerate(artifacts[name].patches) if number not in gone)
        )
        for name, gone in found.items()
    }
    return {**artifacts, **less} if less else None


def _kept(patch: Patch, tensors: Tensors, claim: Claim, goal: Sequence[AffineAtom], name: str) -> bool:
    """Whether a goal that is true of the reward `name` without the patch is true of it with the patch, whatever lies
    beneath and above. That is so if each atom stays true; and if no other call of the reward is read, and one atom says
    R >= b and a ceiling's level is b or more: where that atom is false, R is below the level and is what it was."""
    atoms = [(atom, weights) for atom in goal if (weights := _weights(claim, atom, name))]
    if all(_harmless(patch, tensors, atom, weights) for atom, weights in atoms):
        return True
    one = len({call for _, weights in atoms for call, _ in weights}) == 1
    return one and any(_bounded(patch, tensors, atom, weights) for atom, weights in atoms)


def _weights(claim: Claim, atom: AffineAtom, name: str) -> list[tuple[int, Fraction]]:
    """Of the calls of the reward `name`."""
    return [(call, weight) for call, weight in atom.affine.calls if claim.calls[call].reward == name]


def _harmless(patch: Patch, tensors: Tensors, atom: AffineAtom, weights: Sequence[tuple[int, Fraction]]) -> bool:
    """Whether an atom that is true of the reward without the patch is true of it with the patch. Of an atom that only
    bounds the reward from above, a ceiling is: it lowers the reward, and what lies above it as well, since patches are
    monotone in what they wrap. Of R >= b, a ceiling is whose level is b or more: its cap is at least its level, so that
    of min(R, cap), too, the part below b is that of R."""
    return all(weight * _way(patch) > 0 for _, weight in weights) or _bounded(patch, tensors, atom, weights)


def _way(patch: Patch) -> int:
    """In which it may move the reward."""
    return -1 if patch.kind == "ceiling" else 1


def _bounded(patch: Patch, tensors: Tensors, atom: AffineAtom, weights: Sequence[tuple[int, Fraction]]) -> bool:
    """Whether the atom bounds the reward, and nothing else, where the patch moves it to, and its level is within."""
    if len(atom.affine.calls) > 1 or atom.affine.variables or weights[0][1] * _way(patch) > 0:
        return False
    level = float(tensors[patch.level][0])
    if 0 < abs(level) < NORMAL:  # it may be flushed
        return False
    room = weights[0][1] * Fraction(level) + atom.affine.constant
    return room > 0 or (room == 0 and not atom.strict)
