"""Rules about records that are near none of a table's rows, where the rows are too many to be conditions of a premise.

Such a claim is decided as the stronger one that knows nothing of the rows, about the rewards without the patches that
being near none of them opens: with a patch near data on the same rows, nothing is left of it. A patch is open wherever
its premise holds if the box in which it may act lies in the box of some row (`kernel_table` has the argument, and does
the same in exact arithmetic; here it is done in binary64, each rounding outwards, so that what is found open is). What
the stronger claim says to hold, holds. A record that violates it is one of this claim, too, if it is near no row, which
is decided exactly; if not, others are looked for, and then nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor, inf, nextafter

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.boxes import apart, down, up
from rewarden.spec_lang.claim import Box, Claim, ClaimNear
from rewarden.spec_lang.claim_json import claim_digest, shown_point
from rewarden.verifier.exact_program import ExactProgram, Point
from rewarden.verifier.linear import program_of
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.progress import Stop
from rewarden.verifier.region_words import EVERYTHING
from rewarden.verifier.unwritten import Unwritten
from rewarden.verifier.verdict import Reason, RuleResult, Verdict
from rewarden.verifier.witness import Witness, replay, replay_premise

Array = NDArray[np.float64]
Form = tuple[Fraction, dict[int, Fraction]]
TRIED = 64  # records drawn for one of the premise
SEARCHED = 4  # times that a violation is looked for
NEAR_ROWS = "the rule fails near rows that it does not speak of, and nothing tells these apart well enough to settle it"


def stronger(claim: Claim) -> Claim:
    """The claim that knows nothing of the rows."""
    return replace(claim, near=None, instances=None)


# ── what the rows open ─────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True, eq=False)
class _Sides:
    """One end of all boxes, in one variable: where the rows' boxes end, at least as near as they do; and the rows of
    patches that rise beyond it, with what `offset` makes of them."""

    ends: Array  # [row]
    nothing: NDArray[np.bool_]  # [row]: no point of the claim's box is beyond
    edges: tuple[tuple[int, float, float], ...]  # row i of a patch is at the gate from (offset + rest) / c on
    upper: bool

    def opens(self, offsets: Array, row: int | slice) -> NDArray[np.bool_]:
        """Whether a patch is open beyond the ends of rows."""
        found = self.nothing[row]
        for i, rest, c in self.edges:
            total = nextafter(float(offsets[i]) + rest, inf)
            at = nextafter(total / c, inf if self.upper else -inf)
            found = found | (self.ends[row] >= at if self.upper else self.ends[row] <= at)
        return np.asarray(found)


def left_open(claim: Claim, forms: Sequence[Form], gate: Fraction, offsets: Array) -> NDArray[np.intp]:
    """The numbers of patches [boxes, rows] that may act where the point is near no row, of those in `offsets`."""
    near = claim.near
    if near is None or near.inside or near.rows is None:
        return np.arange(len(offsets))
    sides = [_sides(claim, near, forms, gate, k, upper) for k in range(len(near.radii)) for upper in (False, True)]
    both = [k for k in range(0, len(sides), 2) if sides[k].edges and sides[k + 1].edges]
    if not both:
        return np.arange(len(offsets))
    pivot = max(both, key=lambda k: len(np.unique(sides[k].ends)))
    order = np.argsort(sides[pivot + 1].ends, kind="stable")
    found = []
    for number, own in enumerate(offsets):
        able = sides[pivot].opens(own, slice(None)) & sides[pivot + 1].opens(own, slice(None))
        rows = order[able[order]]
        if not any(all(side.opens(own, row) for side in sides) for row in rows.tolist()):
            found.append(number)
    return np.array(found, np.intp)


def _sides(
    claim: Claim, near: ClaimNear, forms: Sequence[Form], gate: Fraction, k: int, upper: bool
) -> _Sides:  # fmt: skip
    assert near.rows is not None
    (lo, hi), whole = claim.boxes[0][k], claim.variables[k].discrete
    values, radius = near.rows[:, k], near.radii[k] or Fraction(0)
    if whole:
        exact = {v: Fraction(v) + radius if upper else Fraction(v) - radius for v in set(values.tolist())}
        beyond = {v: floor(x) + 1 if upper else ceil(x) - 1 for v, x in exact.items()}
        ends = np.array([float(beyond[v]) for v in values.tolist()])
        nothing = ends > up(hi) if upper else ends < down(lo)
    elif upper:
        ends = np.nextafter(values + down(radius), -inf)
        nothing = ends >= up(hi)
    else:
        ends = np.nextafter(values - down(radius), inf)
        nothing = ends <= down(lo)
    edges = []
    for i, (constant, entries) in enumerate(forms):
        own = {j: c for j, c in entries.items() if c}
        c = own.get(k, Fraction(0))
        if len(own) == 1 and c and (c > 0) == upper and Fraction(float(c)) == c:
            edges.append((i, up(gate - constant), float(c)))
    return _Sides(ends, nothing, tuple(edges), upper)


# ── verdicts ───────────────────────────────────────────────────────────────────────────────────
Decide = Callable[[Claim, VerifyOptions, Mapping[str, Artifact]], RuleResult]


def decided(
    claim: Claim,
    artifacts: Mapping[str, Artifact],
    less: tuple[Claim, Mapping[str, Artifact]] | None,
    options: VerifyOptions,
    decide: Decide,
    stop: Stop,
) -> RuleResult:
    """The verdict on a claim about records that are near no row. `less`: the claim about the rewards without the
    patches that its premise opens, and these, where there are such."""
    own, about = less or (claim, artifacts)
    own = stronger(own)
    found = decide(own, options, about)
    told = None if found.claim is None else claim
    work = found.work
    if found.verdict is Verdict.VACUOUS:
        return replace(found, claim=told)
    open_ = replace(found, claim=told, verdict=Verdict.UNKNOWN, witness=None, proof=None, coverage=0.0, left=None)
    if found.verdict is Verdict.VIOLATED:
        witness = _there(claim, artifacts, found.witness.point, replay) if found.witness is not None else None
        for k in range(1, SEARCHED):
            if witness is not None or stop():
                break
            again = decide(own, replace(options, engine="falsify", seed=options.seed + k), about)
            work = work + again.work
            if again.witness is not None:
                witness = _there(claim, artifacts, again.witness.point, replay)
        if witness is None:
            return replace(open_, reason=NEAR_ROWS, work=work, unsettled=EVERYTHING)
        return replace(found, claim=told, witness=witness, work=work)
    if found.verdict is not Verdict.PROVED:
        return replace(found, claim=told)
    premise = _record(claim, artifacts, found.premise_witness, options.seed)
    if premise is None:
        return replace(open_, reason=Reason.NO_POINT, coverage=1.0)
    proof = found.proof
    if isinstance(proof, Unwritten):
        proof = replace(proof, beyond=proof.beyond or less is not None)
    elif proof is not None:
        shown = shown_point(claim, 0, premise.point)  # the one that was seen may be near a row
        proof = {**proof, **shown, "claim": claim_digest(claim), **({} if less is None else {"beyond": True})}
    return replace(found, claim=told, premise_witness=premise, proof=proof)


def _there(
    claim: Claim,
    artifacts: Mapping[str, Artifact],
    point: Point,
    judged: Callable[[Claim, ExactProgram, Mapping[str, Artifact], Point], Witness | None],
) -> Witness | None:
    """What a point is of the whole claim, with all patches; None where it is nothing of it."""
    alone = replace(stronger(claim), boxes=(tuple((value, value) for value in point),))
    if not apart(claim, point):
        return None
    from rewarden.verifier.deployed_program import judge_of

    return judged(alone, judge_of(program_of(alone, artifacts)), artifacts, point)  # type: ignore[arg-type]


def _record(
    claim: Claim, artifacts: Mapping[str, Artifact], seen: Witness | None, seed: int
) -> Witness | None:  # fmt: skip
    """A record of the premise that is near no row: the one that was seen, or one drawn around it."""
    if seen is None:
        return None
    rng, box = np.random.default_rng(seed), claim.boxes[0]
    for k in range(TRIED):
        point = seen.point if k == 0 else _moved(rng, seen.point, box, claim, 2.0 ** (k % 8 - 7))
        if apart(claim, point):
            witness = _there(claim, artifacts, point, replay_premise)
            if witness is not None and witness.deployed != "non-finite":
                return witness
    return None


def _moved(rng: np.random.Generator, point: Point, box: Box, claim: Claim, share: float) -> Point:
    """Real variables, each by up to a share of its range."""
    found = []
    for value, (lo, hi), variable in zip(point, box, claim.variables, strict=True):
        step = Fraction(float(np.float32(rng.uniform(-share, share)))) * (hi - lo)
        found.append(value if variable.discrete else min(hi, max(lo, value + step)))
    return tuple(found)
