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
from rewarden.reward.tables import active, has_tables
from rewarden.spec_lang.claim import Claim
from rewarden.verifier.caps import settled
from rewarden.verifier.decided_gates import ends_of
from rewarden.verifier.inline import arguments_over
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.progress import Stop
from rewarden.verifier.verdict import Reason, RuleResult, Verdict, Work, without_proof

Decide = Callable[[Claim, VerifyOptions], RuleResult]
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
    claim: Claim, artifacts: Mapping[str, Artifact], decide: Decide, options: VerifyOptions, stop: Stop
) -> RuleResult:
    """The verdict on the whole claim; `decide` gives that on a part. The first violation ends the matter."""
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
        return _with_premise(claim, np.flatnonzero(done), base, decide, own)
    return replace(base, verdict=Verdict.PROVED, reason=REASON, premise_witness=premise)


REASON = (
    "Every box was settled, by the levels of patches near data or by bounds; no proof to certify: the kernel knows no "
    "patches near data."
)


def without_tables_proof(result: RuleResult, artifacts: Mapping[str, Artifact]) -> RuleResult:
    """A proof speaks of ordinary patches, as they are over the claim's boxes; the kernel reads the artifact itself."""
    called = () if result.claim is None else {name for name, _ in result.claim.rewards}
    if result.proof is None or not any(has_tables(artifacts[name]) for name in called):
        return result
    return replace(result, proof=None, reason=without_proof(result.reason, "the kernel knows no patches near data"))


def _told(claim: Claim, found: RuleResult) -> Claim | None:
    return None if found.claim is None else claim


def _with_premise(
    claim: Claim, done: NDArray[np.intp], base: RuleResult, decide: Decide, options: VerifyOptions
) -> RuleResult:
    """`proved` needs a checked record of the premise: of the settled boxes, the first in which there is one."""
    work, empty = base.work, len(claim.boxes) - len(done)
    for k in done[:LOOKED].tolist():
        found = decide(replace(claim, boxes=(claim.boxes[k],)), options)
        work = work + found.work
        if found.premise_witness is not None:
            premise = replace(found.premise_witness, box=k)
            return replace(base, verdict=Verdict.PROVED, reason=REASON, premise_witness=premise, work=work)
        empty += found.verdict is Verdict.VACUOUS
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
