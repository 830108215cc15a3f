"""A claim about rewards with many patches, in parts: in no part do more of them act than can be bounded together.

Near data, what the patches alone settle (`caps`) needs no more than a checked record of the premise. What they leave
open is decided box by box, or several together where few boxes of the tables act: each part is a claim of its own,
about the reward as it is there (`reward/tables.restricted`). Stacked patches act here and there in a box: the box is
cut into pieces in which few of them do (`pieces`), and each piece is a claim about the reward with these alone. All
parts together are the claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.tables import active, has_tables, is_table
from rewarden.spec_lang.claim import Box, Claim
from rewarden.verifier.between import lies_between
from rewarden.verifier.caps import settled
from rewarden.verifier.covered import Cover, cover
from rewarden.verifier.decided_gates import ends_of
from rewarden.verifier.exact_program import Point
from rewarden.verifier.finite import all_finite
from rewarden.verifier.harmless import unhelped
from rewarden.verifier.inline import arguments_over
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.pieces import FEW, Piece, piece_at, piece_over, pieces, rest, roots, stacked, there
from rewarden.verifier.premise import Premise
from rewarden.verifier.progress import Progress, Report, Stop
from rewarden.verifier.region_words import NUMBERS, described_rows
from rewarden.verifier.regions import OpenBoxes
from rewarden.verifier.unwritten import Unwritten, too_large
from rewarden.verifier.verdict import CERTIFIABLE, Reason, RuleResult, Verdict, Work, without_proof
from rewarden.verifier.witness import Witness

Decide = Callable[[Claim, VerifyOptions, Mapping[str, Artifact] | None], RuleResult]
Look = Callable[[Claim, VerifyOptions, Mapping[str, Artifact] | None], Premise]
TOGETHER = 12  # boxes of tables in one program
LOOKED = 64  # settled boxes in which a record of the premise is looked for, one after the other
WHOLLY = 512  # boxes of branch and bound for all of a claim, before it is cut up
EASY = 32  # boxes of branch and bound for a piece, however many there are
BOXES = 64  # of a claim about stacked patches: more are near data, and small as they are
LEAST = 500  # boxes of branch and bound for a part, however many parts there are


@dataclass(frozen=True, slots=True)
class _Part:
    """A claim of its own. `origins`: of each of its boxes, the number of the whole claim's box that it is (part of);
    `share`: of the whole claim's domain; `about`: the rewards as they are there, None where that is told later."""

    boxes: tuple[Box, ...]
    origins: tuple[int, ...]
    share: float
    about: Mapping[str, Artifact] | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom to ask: `decide` gives the verdict on a claim, `look` a record of its premise (both about other rewards,
    where some are named), `quick` what bounds tell at once, `replay` the violation of the whole claim that a point
    is."""

    decide: Decide
    quick: Decide
    look: Look
    replay: Callable[[Point], Witness | None]
    report: Report
    stop: Stop


def needed(claim: Claim, artifacts: Mapping[str, Artifact]) -> bool:
    called = {call.reward for call in claim.calls}
    if not any(name in called and has_tables(artifact) for name, artifact in artifacts.items()):
        return False
    return len(claim.boxes) > 1 and _active(claim, artifacts) > TOGETHER


def _active(claim: Claim, artifacts: Mapping[str, Artifact]) -> int:
    calls = [call for call in claim.calls if call.reward in artifacts and has_tables(artifacts[call.reward])]
    return sum(active(artifacts[call.reward], *arguments_over(claim, call)) for call in calls)


def decided(claim: Claim, artifacts: Mapping[str, Artifact], asked: Asked, options: VerifyOptions) -> RuleResult:
    """The verdict on a claim about rewards that are patched near data."""
    executed = options.semantics == "float32"
    whole = not executed and lies_between(claim, artifacts)
    if executed and not all_finite(claim, artifacts):
        done = np.zeros(len(claim.boxes), np.bool_)
    else:
        done = np.ones(len(claim.boxes), np.bool_) if whole else settled(claim, artifacts, executed=executed)
    parts = [
        _Part(tuple(claim.boxes[k] for k in part), tuple(part), len(part) / len(claim.boxes))
        for part in (part.tolist() for part in _parts(claim, np.flatnonzero(~done), artifacts))
    ]
    own = _shared(options, len(parts))
    base = RuleResult(
        rule=claim.rule, severity=claim.severity, verdict=Verdict.UNKNOWN, reason=Reason.STOPPED, claim=claim,
        engine="caps" if not parts else "caps and parts", coverage=float(done.sum()) / len(claim.boxes),
    )  # fmt: skip
    found = _together(replace(base, reason=REASON), parts, asked, own)
    if found.verdict is Verdict.PROVED and found.premise_witness is None:
        found = _with_premise(
            claim, np.flatnonzero(done), replace(base, coverage=1.0, work=found.work), asked.look, own
        )
    return _owed(found, claim, options) if found.verdict is Verdict.PROVED else found


def decided_in_pieces(
    claim: Claim, artifacts: Mapping[str, Artifact], asked: Asked, options: VerifyOptions
) -> RuleResult | None:
    """The verdict on a claim about stacked patches; None where it is not for cutting up. Pieces in which the same
    patches act are one part."""
    if options.engine == "falsify" or len(claim.boxes) > BOXES or not stacked(claim, artifacts):
        return None
    executed = options.semantics == "float32"
    if executed and not all_finite(claim, artifacts):
        return None
    few = sum(len(artifacts[name].patches) for name, _ in claim.rewards) <= WHOLE
    flat = cover(claim, artifacts, roots(claim), wholly=True, executed=executed)
    bounded = options.engine in ("auto", "bounds") and options.semantics == "real" and bool(flat.left)
    easy = unhelped(claim, artifacts, lambda patch, tensors: True) if bounded else None
    left, looked = (None, Work()) if easy is None else _left_of(claim, easy, asked, options)
    if flat.left and (left is None or len(left.lo)):
        flat = cover(claim, artifacts, roots(claim) if left is None else rest(claim, left), executed=executed)
        if flat.settled:
            left = OpenBoxes.of([(number, box) for number, box, _ in flat.left], len(claim.variables))
    elif not flat.left:
        left = OpenBoxes.of([], len(claim.variables))
    if few and not (flat.settled and not flat.left):
        return None  # as a whole: that proof is shorter
    cut = pieces(claim, artifacts, left)
    if left is None and len(cut) <= 1 and all(piece.count > FEW for piece in cut):
        return None
    hard, work = (cut, Work()) if easy is None else _unsettled(claim, cut, easy, asked, options)
    work = work + looked
    kinds: dict[tuple[tuple[int, ...], ...], list[Piece]] = {}
    for piece in hard:
        kinds.setdefault(piece.acting, []).append(piece)
    parts = [_part(alike, cut, there(alike[0], claim, artifacts)) for alike in kinds.values()]
    base = RuleResult(
        rule=claim.rule, severity=claim.severity, verdict=Verdict.UNKNOWN, reason=STACKED, claim=claim, engine="parts",
        work=work, coverage=max(0.0, 1.0 - sum(part.share for part in parts)),
    )  # fmt: skip
    found = _together(base, parts, asked, _shared(options, len(parts), EASY))
    if found.verdict is Verdict.PROVED and found.premise_witness is None:
        some = sorted((*cut, *_of_cover(claim, artifacts, flat)), key=_smaller)[:LOOKED]
        some = some or _around_a_record(claim, artifacts, easy, asked, options)
        parts = [_part([piece], some, there(piece, claim, artifacts)) for piece in some]
        found = _with_record(claim, found, parts, asked, options)
    if found.verdict is not Verdict.PROVED or found.claim is None:
        return found
    return _owed(found, claim, options, pieces=True)


def _part(alike: Sequence[Piece], cut: Sequence[Piece], about: Mapping[str, Artifact]) -> _Part:
    share = sum(piece.share for piece in alike) / len({piece.origin for piece in cut})
    return _Part(tuple(piece.box for piece in alike), tuple(piece.origin for piece in alike), share, about)


def _of_cover(claim: Claim, artifacts: Mapping[str, Artifact], flat: Cover) -> list[Piece]:
    """The largest cells that flat patches settle, for a record of the premise."""
    largest = sorted(flat.settled, key=lambda cell: -cell[2])[:LOOKED]
    return [piece_over(claim, artifacts, *cell) for cell in largest]


def _around_a_record(
    claim: Claim, artifacts: Mapping[str, Artifact], easy: Mapping[str, Artifact] | None, asked: Asked,
    options: VerifyOptions,
) -> list[Piece]:  # fmt: skip
    """Nothing was cut up: a record of the premise, which does not depend on the patches that were left out, by itself,
    where few of these act."""
    if easy is None:
        return []
    wholly = _Part(tuple(claim.boxes), tuple(range(len(claim.boxes))), 1.0, easy)
    seen = asked.look(_of(claim, wholly), options, easy).witness
    return [] if seen is None else [piece_at(claim, artifacts, seen.box, seen.point)]


def _smaller(piece: Piece) -> float:
    return -piece.share


def _left_of(
    claim: Claim, easy: Mapping[str, Artifact], asked: Asked, options: VerifyOptions
) -> tuple[OpenBoxes | None, Work]:
    """What a first look at the whole leaves open without the patches that help: the rest need not be cut up. None where
    it ends at a record that needs them, where what is open may be told more than once, or where too many do not help to
    be bounded together."""
    wholly = _Part(tuple(claim.boxes), tuple(range(len(claim.boxes))), 1.0, easy)
    many = sum(len(easy[name].patches) for name, _ in claim.rewards) > TOGETHER
    if many or len(claim.goals) > 1 or any(len(clause) > 1 for clause in claim.clauses):
        return None, Work()
    found = asked.quick(_of(claim, wholly), replace(options, budget=min(WHOLLY, options.budget)), easy)
    if _settles(found, True):
        return OpenBoxes.of([], len(claim.variables)), found.work
    return found.left, found.work


def _unsettled(
    claim: Claim, cut: Sequence[Piece], easy: Mapping[str, Artifact], asked: Asked, options: VerifyOptions
) -> tuple[list[Piece], Work]:
    """The pieces that need the patches which help: all together are tried without these, then halves, and so on."""
    agenda, hard, work = [tuple(cut)] if cut else [], list[Piece](), Work()
    while agenda:
        some = agenda.pop()
        if asked.stop():
            hard += some
            continue
        budget = min(max(EASY, 2 * len(some) * len(claim.goals)), options.budget)
        found = asked.quick(_of(claim, _part(some, cut, easy)), replace(options, budget=budget), easy)
        work = work + found.work
        if _settles(found, True):
            asked.report(Progress(claim.rule, "bounds", 0.0, work.boxes))
        elif len(some) == 1:
            hard += some
        else:
            half = len(some) // 2
            agenda += [some[half:], some[:half]]
    return hard, work


def _with_record(
    claim: Claim, found: RuleResult, parts: Sequence[_Part], asked: Asked, options: VerifyOptions
) -> RuleResult:
    """`proved` needs a checked record of the premise: from one of these parts, else from the whole."""
    wholly = _Part(tuple(claim.boxes), tuple(range(len(claim.boxes))), 1.0)
    for part in (*parts, wholly):
        seen = asked.look(_of(claim, part), options, part.about)
        found = replace(found, work=found.work + seen.work)
        if seen.witness is not None and seen.witness.deployed == "non-finite":
            return replace(found, verdict=Verdict.UNKNOWN, reason=Reason.NON_FINITE, non_finite=True, coverage=0.0)
        if seen.witness is not None:
            return replace(found, premise_witness=replace(seen.witness, box=part.origins[seen.witness.box]))
        if part is wholly and seen.status == "empty":
            return replace(found, verdict=Verdict.VACUOUS, reason=Reason.VACUOUS, engine="z3")
    return replace(found, verdict=Verdict.UNKNOWN, reason=Reason.NO_POINT)


def _shared(options: VerifyOptions, parts: int, least: int = LEAST) -> VerifyOptions:
    share = max(1, parts)
    return replace(
        options,
        budget=max(options.budget // share, min(least, options.budget)),
        falsify_budget=max(options.falsify_budget // share, min(least, options.falsify_budget)),
    )


def _together(base: RuleResult, parts: Sequence[_Part], asked: Asked, own: VerifyOptions) -> RuleResult:
    """The verdict on all parts, where what they leave of the claim is settled; `base` is of that. Proved parts are
    `proved` together, with a record of the premise or without. The first violation ends the matter."""
    claim = base.claim
    assert claim is not None, "parts are of a claim"
    told: Claim | None = claim
    work, premise, coverage = base.work, None, base.coverage
    open_: list[tuple[_Part, RuleResult]] = []
    tried = 0
    for part in parts:
        if asked.stop():
            break
        tried += 1
        found = asked.decide(_of(claim, part), own, part.about)
        work, told = work + found.work, told and _told(claim, found)
        if found.witness is not None:
            witness = replace(found.witness, box=part.origins[found.witness.box])
            checked = witness if part.about is None else asked.replay(witness.point)
            if checked is not None:
                return replace(found, claim=told, witness=checked, premise_witness=None, proof=None, work=work)
        if found.non_finite:
            return replace(found, claim=told, left=None, work=work)
        if premise is None and found.premise_witness is not None:
            premise = replace(found.premise_witness, box=part.origins[found.premise_witness.box])
        if _settles(found, part.about is not None):
            coverage += part.share
        else:
            open_.append((part, found))
            coverage += part.share * found.coverage
        asked.report(Progress(claim.rule, "bounds", min(1.0, coverage), work.boxes))
    base = replace(base, claim=told, work=work, premise_witness=premise)
    if tried == len(parts) and not open_:
        return replace(base, verdict=Verdict.PROVED, coverage=1.0)
    stopped = tried < len(parts) or any(found.stopped for _, found in open_)
    reason = Reason.STOPPED if stopped else open_[0][1].reason
    base = replace(base, reason=reason, coverage=min(coverage, BELOW))
    rows = sorted({row for part in (*(part for part, _ in open_), *parts[tried:]) for row in part.origins})
    if len(rows) * len(claim.variables) > NUMBERS:
        return replace(base, unsettled=described_rows(claim, rows))
    return replace(base, left=_left(claim, open_, parts[tried:]))


def _of(claim: Claim, part: _Part) -> Claim:
    digests = tuple((name, d if part.about is None else part.about[name].digest) for name, d in claim.rewards)
    return replace(claim, boxes=part.boxes, rewards=digests)


def _settles(found: RuleResult, elsewhere: bool) -> bool:
    """Whether nothing in the part violates the claim; `elsewhere`: a record of the premise is looked for elsewhere."""
    if found.verdict is Verdict.UNKNOWN:
        return elsewhere and found.reason == Reason.NO_POINT and found.coverage == 1.0
    return found.verdict in (Verdict.PROVED, Verdict.VACUOUS)


def _left(claim: Claim, open_: Sequence[tuple[_Part, RuleResult]], untried: Sequence[_Part]) -> OpenBoxes:
    """What is open of all parts, as numbers of boxes of the whole claim."""
    found = []
    for part, result in (*open_, *((part, None) for part in untried)):
        left = None if result is None else result.left
        own = OpenBoxes.of(list(enumerate(part.boxes)), len(claim.variables)) if left is None else left
        found.append(replace(own, instance=np.array(part.origins, np.int64)[own.instance]))
    return OpenBoxes(*(np.concatenate([getattr(own, name) for own in found]) for name in ("instance", "lo", "hi")))


STACKED = (
    f"Every part was settled by the level of a patch or by sound bounds, with the patches that act in it{CERTIFIABLE}"
)
WHOLE = 16  # patches of rewards whose rules are decided as a whole, with a proof
BELOW = 1.0 - 2.0**-30  # what is open is not nothing


REASON = f"Every box was settled, by the levels of patches near data or by bounds{CERTIFIABLE}"


def proof_by_box(result: RuleResult, artifacts: Mapping[str, Artifact]) -> RuleResult:
    """A proof, or a trail, speaks of the patches as they are over all boxes of the claim, and the kernel has a program
    for each box: so the proof is owed, to be written box by box (`scribe/near.py`)."""
    called = () if result.claim is None else {name for name, _ in result.claim.rewards}
    if result.proof is None or not any(has_tables(artifacts[name]) for name in called):
        return result
    return replace(result, proof=Unwritten(result.work.boxes))


def _owed(result: RuleResult, claim: Claim, options: VerifyOptions, *, pieces: bool = False) -> RuleResult:
    """What is proved, with its proof owed, or with the reason why there will be none."""
    executed = options.semantics != "real"
    if executed or too_large(claim):
        why = "float32 semantics have none" if executed else "it would be too large to be of use"
        return replace(result, reason=without_proof(result.reason, why))
    return replace(result, proof=Unwritten(result.work.boxes, pieces=pieces))


# ── patches that cannot harm ───────────────────────────────────────────────────────────────────
def easier(claim: Claim, artifacts: Mapping[str, Artifact]) -> dict[str, Artifact] | None:
    """The rewards without patches near data that cannot harm a claim of one box, where many of theirs act; a proof
    about these is one about the others. None where nothing can be left out."""
    if len(claim.boxes) != 1 or _active(claim, artifacts) <= TOGETHER:
        return None
    return unhelped(claim, artifacts, is_table)


def by_easier(claim: Claim, easy: Mapping[str, Artifact], asked: Asked, options: VerifyOptions) -> RuleResult | None:
    """The claim proved by way of rewards for which it is harder to hold, or None."""
    digests = tuple((name, easy[name].digest) for name, _ in claim.rewards)
    found = asked.decide(replace(claim, rewards=digests), options, easy)
    if found.verdict is not Verdict.PROVED or found.premise_witness is None:
        return None
    point = tuple((value, value) for value in found.premise_witness.point)
    premise = asked.look(replace(claim, boxes=(point,)), options, None).witness  # with the values of the reward itself
    if premise is None or premise.deployed == "non-finite":
        return None
    told = replace(premise, box=found.premise_witness.box)
    if found.claim is None:
        return replace(found, premise_witness=told)
    reason = found.reason if found.reason.endswith(CERTIFIABLE) else REASON
    return _owed(replace(found, claim=claim, premise_witness=told, reason=reason), claim, options, pieces=True)


def _told(claim: Claim, found: RuleResult) -> Claim | None:
    return None if found.claim is None else claim


def _with_premise(
    claim: Claim, done: NDArray[np.intp], base: RuleResult, look: Look, options: VerifyOptions
) -> RuleResult:
    """`proved` needs a checked record of the premise: of the settled boxes, the first in which there is one."""
    work, empty = base.work, len(claim.boxes) - len(done)
    for k in done[:LOOKED].tolist():
        found = look(replace(claim, boxes=(claim.boxes[k],)), options, None)
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
