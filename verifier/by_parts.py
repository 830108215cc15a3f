"""A claim about rewards that are patched near data, in parts: no part meets more of their boxes than can be bounded.

What the patches alone settle (`caps`) needs no more than a checked record of the premise. What they leave open is
decided box by box, or several together where few boxes of the tables act: each part is a claim of its own, about the
reward as it is there (`reward/tables.restricted`). All parts together are the claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.tables import active, has_tables, is_table
from rewarden.spec_lang.claim import Claim
from rewarden.verifier.caps import settled
from rewarden.verifier.decided_gates import ends_of
from rewarden.verifier.inline import arguments_over
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.premise import Premise
from rewarden.verifier.progress import Stop
from rewarden.verifier.unwritten import CERTIFIED, Unwritten
from rewarden.verifier.verdict import CERTIFIABLE, Reason, RuleResult, Verdict, Work, without_proof

Decide = Callable[[Claim, VerifyOptions], RuleResult]
Look = Callable[[Claim, VerifyOptions], Premise]
TOGETHER = 12  # boxes of tables in one program
LOOKED = 64  # settled boxes in which a record of the premise is looked for, one after the other
LEAST = 500  # boxes of branch and bound for a part, however many parts there are


def needed(claim: Claim, artifacts: Mapping[str, Artifact]) -> bool:
    called = {call.reward for call in claim.calls}
    if not any(name in called and has_tables(artifact) for name, artifact in artifacts.items()):
        return False
    return len(claim.boxes) > 1 and _active(claim, artifacts) > TOGETHER


def _active(claim: Claim, artifacts: Mapping[str, Artifact]) -> int:
    calls = [call for call in claim.calls if call.reward in artifacts and has_tables(artifacts[call.reward])]
    return sum(active(artifacts[call.reward], *arguments_over(claim, call)) for call in calls)


def decided(
    claim: Claim, artifacts: Mapping[str, Artifact], decide: Decide, look: Look, options: VerifyOptions, stop: Stop
) -> RuleResult:
    """The verdict on the whole claim; `decide` gives that on a part, `look` a record of its premise. The first
    violation ends the matter."""
    done = settled(claim, artifacts)
    parts = list(_parts(claim, np.flatnonzero(~done), artifacts))
    share = max(1, len(parts))
    own = replace(
        options,
        budget=max(options.budget // share, min(LEAST, options.budget)),
        falsify_budget=max(options.falsify_budget // share, min(LEAST, options.falsify_budget)),
    )
    proved, work, premise = int(done.sum()), Work(), None
    open_: RuleResult | None = None
    for part in parts:
        if stop():
            break
        found = decide(replace(claim, boxes=tuple(claim.boxes[k] for k in part.tolist())), own)
        work = work + found.work
        if found.witness is not None:
            witness = replace(found.witness, box=int(part[found.witness.box]))
            return replace(found, claim=_told(claim, found), witness=witness, proof=None, work=work)
        if found.non_finite:
            return replace(found, claim=_told(claim, found), left=None, work=work)
        if premise is None and found.premise_witness is not None:
            premise = replace(found.premise_witness, box=int(part[found.premise_witness.box]))
        if found.verdict in (Verdict.PROVED, Verdict.VACUOUS):
            proved += len(part)
        else:
            open_ = open_ or found
    base = RuleResult(
        rule=claim.rule, severity=claim.severity, verdict=Verdict.UNKNOWN, reason=Reason.STOPPED, claim=claim,
        engine="caps" if not parts else "caps and parts", work=work, coverage=proved / len(claim.boxes),
    )  # fmt: skip
    if proved < len(claim.boxes):
        reason = Reason.STOPPED if open_ is None else open_.reason
        return replace(base, reason=reason, premise_witness=premise)
    if premise is None:
        found = _with_premise(claim, np.flatnonzero(done), base, look, own)
    else:
        found = replace(base, verdict=Verdict.PROVED, reason=REASON, premise_witness=premise)
    return _owed(found, claim, artifacts, options) if found.verdict is Verdict.PROVED else found


REASON = f"Every box was settled, by the levels of patches near data or by bounds{CERTIFIABLE}"


def proof_by_box(result: RuleResult, artifacts: Mapping[str, Artifact]) -> RuleResult:
    """A proof, or a trail, speaks of the patches as they are over all boxes of the claim, and the kernel has a program
    for each box: so the proof is owed, to be written box by box (`scribe/near.py`)."""
    called = () if result.claim is None else {name for name, _ in result.claim.rewards}
    if result.proof is None or not any(has_tables(artifacts[name]) for name in called):
        return result
    return replace(result, proof=Unwritten(result.work.boxes))


def _owed(result: RuleResult, claim: Claim, artifacts: Mapping[str, Artifact], options: VerifyOptions) -> RuleResult:
    """What is proved, with its proof owed, or with the reason why there will be none."""
    smooth = options.semantics != "real" or any(artifacts[call.reward].smooth for call in claim.calls)
    if smooth or len(claim.boxes) * len(claim.goals) * len(claim.variables) > CERTIFIED:
        why = "smooth layers and float32 semantics have none" if smooth else "it would be too large to be of use"
        return replace(result, reason=without_proof(result.reason, why))
    return replace(result, proof=Unwritten(result.work.boxes))


# ── patches that only help ─────────────────────────────────────────────────────────────────────
def easier(claim: Claim, artifacts: Mapping[str, Artifact]) -> dict[str, Artifact] | None:
    """The rewards without patches near data that can only help a claim of one box, where many of theirs act; a proof
    about these is one about the others. A ceiling lowers a reward, and what lies above it as well: patches are monotone
    in what they wrap. So it helps goals that only bound the reward from above. None where nothing can be left out."""
    if len(claim.boxes) != 1 or _active(claim, artifacts) <= TOGETHER:
        return None
    found = dict(artifacts)
    asked = {claim.calls[c].reward for clause in claim.clauses for atom in clause for c, _ in atom.affine.calls}
    for name in {call.reward for call in claim.calls} - asked:
        weights = [
            weight
            for goal in claim.goals
            for atom in goal
            for call, weight in atom.affine.calls
            if claim.calls[call].reward == name
        ]
        kind = "ceiling" if all(w < 0 for w in weights) else "floor" if all(w > 0 for w in weights) else None
        artifact = artifacts[name]
        kept = [p for p in artifact.patches if p.kind != kind or not is_table(p, artifact.tensors)]
        if len(kept) < len(artifact.patches):
            found[name] = artifact.with_patches(tuple(kept))
    return found if any(found[name] is not artifacts[name] for name in found) else None


def by_easier(
    claim: Claim, easy: Mapping[str, Artifact], decide: Decide, look: Look, options: VerifyOptions
) -> RuleResult | None:
    """The claim proved by way of rewards for which it is harder to hold, or None."""
    digests = tuple((name, easy[name].digest) for name, _ in claim.rewards)
    found = decide(replace(claim, rewards=digests), options)
    if found.verdict is not Verdict.PROVED or found.premise_witness is None:
        return None
    point = tuple((value, value) for value in found.premise_witness.point)
    premise = look(replace(claim, boxes=(point,)), options).witness  # with the values of the reward itself
    if premise is None or premise.deployed == "non-finite":
        return None
    reason = without_proof(found.reason, "patches near data that only help were left out")
    told = replace(premise, box=found.premise_witness.box)
    return replace(found, claim=_told(claim, found), premise_witness=told, proof=None, reason=reason)


def _told(claim: Claim, found: RuleResult) -> Claim | None:
    return None if found.claim is None else claim


def _with_premise(
    claim: Claim, done: NDArray[np.intp], base: RuleResult, look: Look, options: VerifyOptions
) -> RuleResult:
    """`proved` needs a checked record of the premise: of the settled boxes, the first in which there is one."""
    work, empty = base.work, len(claim.boxes) - len(done)
    for k in done[:LOOKED].tolist():
        found = look(replace(claim, boxes=(claim.boxes[k],)), options)
        work = work + found.work
        if found.witness is not None and found.witness.deployed != "non-finite":
            premise = replace(found.witness, box=k)
            return replace(base, verdict=Verdict.PROVED, reason=REASON, premise_witness=premise, work=work)
        empty += found.status == "empty"
    if empty == len(claim.boxes):
        return replace(base, verdict=Verdict.VACUOUS, reason=Reason.VACUOUS, work=work, engine="z3")
    return replace(base, reason=Reason.NO_POINT, work=work)


def _parts(claim: Claim, boxes: NDArray[np.intp], artifacts: Mapping[str, Artifact]) -> Iterator[NDArray[np.intp]]:
    """The boxes, in groups that few boxes of the tables meet: halves of halves, along what is widest."""
    lo, hi = ends_of(claim)
    agenda: Sequence[NDArray[np.intp]] = [boxes] if len(boxes) else []
    stack = list(agenda)
    while stack:
        group = stack.pop()
        if len(group) == 1 or _near(claim, group, artifacts) <= TOGETHER:
            yield np.sort(group)
            continue
        middle = (lo[group] + hi[group]) / 2
        axis = int((middle.max(axis=0) - middle.min(axis=0)).argmax())
        order = group[np.argsort(middle[:, axis], kind="stable")]
        half = len(order) // 2
        stack += [order[half:], order[:half]]


def _near(claim: Claim, group: NDArray[np.intp], artifacts: Mapping[str, Artifact]) -> int:
    return _active(replace(claim, boxes=tuple(claim.boxes[k] for k in group.tolist())), artifacts)
