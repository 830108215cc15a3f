"""Verdicts whose proofs are not written yet, and the same with proofs: what certifying begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from rewarden.reward.artifact import Artifact
from rewarden.reward.tables import has_tables
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.claim_json import claim_digest, shown_point
from rewarden.verifier.branch import BranchAndBound
from rewarden.verifier.differences import with_differences
from rewarden.verifier.inline import compile_program
from rewarden.verifier.opened import opened
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.program import Program
from rewarden.verifier.scribe.loops import written_loops
from rewarden.verifier.scribe.near import MOST_BOXES, written_near, written_patched
from rewarden.verifier.scribe.pieces import written_pieces
from rewarden.verifier.scribe.settled import settled_proof
from rewarden.verifier.scribe.writer import written
from rewarden.verifier.torch_settings import plain_torch
from rewarden.verifier.unwritten import CaseProof, Unwritten
from rewarden.verifier.verdict import Reason, RuleResult, without_proof
from rewarden.verifier.witness import proof_witness

SOUGHT = 2**15  # boxes for a proof of what slopes have settled
LAST = 2**12  # and where none was found along the trail that cells have left
BOXES = ("bounds", "differences")  # engines that write while they search
PLAIN = frozenset(("format", "format_version", "claim", "goals", "witness"))  # of a proof that is not in parts


def with_proof(
    result: RuleResult, rewards: Mapping[str, Artifact], stop: Callable[[], bool] = lambda: False
) -> RuleResult:
    """The result with its proof written, or with the reason why there is none; as it is, where nothing is owed.

    On one thread, so that the same verdict has the same proof everywhere.
    """
    owed, claim, point = result.proof, result.claim, result.premise_witness
    if not isinstance(owed, Unwritten):
        return _shorter(result, rewards)
    assert claim is not None, "only of what has a claim is a proof owed"
    if owed.cases:
        return _with_cases(result, owed, rewards, stop)
    assert point is not None, "what is proved has a point of its premise"
    found: Mapping[str, Any] | str
    with plain_torch(threads=1):
        if owed.loops is not None:
            found = written_loops(claim, rewards, owed.loops, stop)
        else:
            found = _in_one_or_in_pieces(claim, rewards, owed, stop)
    if isinstance(found, str):
        return replace(result, proof=None, reason=without_proof(result.reason, found))
    reason = str(Reason.DIFFERENCES) if owed.slopes else result.reason
    return replace(result, reason=reason, proof={**found, **shown_point(claim, point.box, point.point)}, owed=owed)


def with_careful_proof(result: RuleResult, rewards: Mapping[str, Artifact]) -> RuleResult | None:
    """The result with another proof, of one that the kernel has refused: written more slowly and by the kernel's own
    bounds, or where cells have left a trail, found by boxes; of what boxes have proved, written. None where there is no
    other."""
    owed, proof = result.owed, result.proof
    if owed is None:
        if result.engine not in BOXES or not isinstance(proof, Mapping) or not PLAIN.issuperset(proof):
            return None
        owed = Unwritten(result.work.boxes)
    cases = tuple(_carefully(case) for case in owed.cases)
    found = with_proof(replace(result, proof=replace(owed, careful=True, cases=cases)), rewards)
    return found if isinstance(found.proof, Mapping) else None


def _carefully(case: CaseProof) -> CaseProof:
    return replace(case, proof=replace(case.proof, careful=True)) if isinstance(case.proof, Unwritten) else case


def _shorter(result: RuleResult, rewards: Mapping[str, Artifact]) -> RuleResult:
    """With the proof that a patch makes short, in place of what a search has written, where there is one."""
    claim, proof = result.claim, result.proof
    if claim is None or not isinstance(proof, Mapping) or "goals" not in proof or {"beyond", "pieces"} & proof.keys():
        return result
    found = written_patched(claim, rewards)
    return result if found is None else replace(result, proof={**found, "witness": proof["witness"]})


def _in_one_or_in_pieces(
    claim: Claim, rewards: Mapping[str, Artifact], owed: Unwritten, stop: Callable[[], bool]
) -> Mapping[str, Any] | str:
    """In pieces, too, where there are patches and nothing else is found: two rewards with different stacks are one
    where the patches that they differ in are open, and only a program without these shows that."""
    found: Mapping[str, Any] | str = "" if owed.pieces else _written(claim, rewards, owed, stop)
    patched = any(rewards[call.reward].patches for call in claim.calls)
    if not isinstance(found, str) or not (owed.pieces or (patched and len(claim.boxes) <= MOST_BOXES)):
        return found
    less = opened(claim, rewards) if owed.beyond else None
    pieces = written_pieces(claim, rewards, owed, stop, None if less is None else less[1])
    return found if found and isinstance(pieces, str) else pieces


def _written(
    claim: Claim, rewards: Mapping[str, Artifact], owed: Unwritten, stop: Callable[[], bool]
) -> Mapping[str, Any] | str:
    less = opened(claim, rewards) if owed.beyond else None
    if less is not None:
        found = _written(*less, replace(owed, beyond=False), stop)
        return found if isinstance(found, str) else {**found, "claim": claim_digest(claim), "beyond": True}
    if any(has_tables(rewards[call.reward]) for call in claim.calls):
        return written_near(claim, rewards, owed, stop)
    short = written_patched(claim, rewards)
    if short is not None:
        return short
    program = compile_program(claim, rewards)
    if owed.slopes:
        return _by_boxes(program, SOUGHT, stop) or f"none was found among {SOUGHT} boxes"
    boxed = partial(_by_boxes, program, LAST, stop) if owed.trail is not None else dict
    if owed.careful and (another := boxed()):
        return another
    found = settled_proof(program) or written(program, owed, stop)
    return found if owed.careful or not isinstance(found, str) else boxed() or found


def _by_boxes(program: Program, boxes: int, stop: Callable[[], bool]) -> Mapping[str, Any] | None:
    """Of a claim that is known to hold: by bounds, of differences where calls are there to compare."""
    return BranchAndBound(program, VerifyOptions().batch_size, with_differences(program)).run(boxes, stop=stop).proof


def _with_cases(
    result: RuleResult, owed: Unwritten, rewards: Mapping[str, Artifact], stop: Callable[[], bool]
) -> RuleResult:
    """The proof of each case, in one object."""
    assert result.claim is not None, "only of what has a claim is a proof owed"
    parts: list[dict[str, object]] = []
    for case in owed.cases:
        found: Mapping[str, Any] | str
        if isinstance(case.proof, Unwritten):
            with plain_torch(threads=1):
                found = _written(case.claim, rewards, case.proof, stop)
        else:
            found = case.proof
        if isinstance(found, str):
            return replace(result, proof=None, reason=without_proof(result.reason, found))
        parts.append(
            {"witness": None if case.witness is None else proof_witness(case.witness), "goals": found["goals"]}
        )
    head = {"format": "rewarden-proof", "format_version": 1, "claim": claim_digest(result.claim)}
    return replace(result, proof={**head, "cases": parts}, owed=owed)
