"""A proof that is still to be written: what a verdict carries until somebody asks for a certificate.

Engines with a tree in the kernel's own terms write while they search. Of what the others prove, the verdict carries the
trail, where the engine has kept one, and what it cost; `scribe.late` makes a proof of it. Verification pays for no more
than that, and whoever is not going to certify does not wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rewarden.spec_lang.claim import Claim
from rewarden.verifier.program import Program
from rewarden.verifier.trail import Trail

if TYPE_CHECKING:
    from rewarden.verifier.loops.abstraction import LoopOutcome
    from rewarden.verifier.witness import Witness

CERTIFIED = 2**20  # variables of all boxes up to which a proof is worth its size
TREES = 2**15  # boxes around the rows of a table, once for each goal, up to which it is


@dataclass(frozen=True, slots=True, eq=False)
class Unwritten:
    """Of a claim that is proved: `boxes` is what the verification took."""

    boxes: int
    trail: Trail | None = None
    loops: tuple[LoopOutcome, ...] | None = None  # of a claim about loops: cells and potentials of each of its sums
    cases: tuple[CaseProof, ...] = ()  # of a claim of several: what each of them has or is owed
    beyond: bool = False  # it is to be about rewards without the patches that the premise opens (`opened`)
    pieces: bool = False  # it was decided in parts, or without patches that cannot harm: it is written in pieces
    slopes: bool = False  # slopes settled it, and differences are asked for a proof
    careful: bool = False  # what was written from this was refused: bounds are to be made as the kernel makes them


@dataclass(frozen=True, slots=True, eq=False)
class CaseProof:
    """One case of a claim: proved, or vacuous, and then without a witness."""

    claim: Claim
    proof: Mapping[str, Any] | Unwritten
    witness: Witness | None


def no_proof(program: Program) -> str | None:
    """Why a proof cannot be written, where that is known without trying."""
    claim = program.claim
    if program.executed is not None:
        return "float32 semantics have none"
    return "it would be too large to be of use" if too_large(claim) else None


def too_large(claim: Claim) -> bool:
    """Whether a proof, with a tree for each goal over each box, and the boxes in the claim unless it names the table
    whose rows they are around, is not worth its size."""
    trees = len(claim.boxes) * len(claim.goals)
    return trees * len(claim.variables) > CERTIFIED if claim.near is None else trees > TREES
