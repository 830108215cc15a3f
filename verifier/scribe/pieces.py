"""Proofs in pieces: about rewards with many patches, of which few act at a time ("Pieces" in docs/formats.md).

The claim's boxes are cut where patches cease to be flat (`verifier/covered.py`) or to reach (`verifier/pieces.py`),
until a piece is proved with the few that act there. A piece may be proved without the patches that cannot break the
claim, too (`verifier/harmless.py`); that is tried first, so that where they are not needed little is cut. Which patches
act in a piece is decided by the kernel in exact arithmetic, and layers are numbered accordingly: so it is decided
exactly here. What cuts were made during verification is not asked: nothing is used of it but that the claim is true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import torch

from rewarden.reward.artifact import Artifact
from rewarden.reward.graph import Patch
from rewarden.reward.tables import MOST_ACTIVE, has_tables, is_table
from rewarden.reward.widths import Tensors, patch_tensors
from rewarden.spec_lang.canonical import rational_text
from rewarden.spec_lang.claim import Box, Claim
from rewarden.spec_lang.claim_json import claim_digest
from rewarden.verifier.between import between_trees
from rewarden.verifier.covered import cover, flats_of
from rewarden.verifier.harmless import harmless
from rewarden.verifier.inline import arguments_over, compile_program
from rewarden.verifier.narrowing import root_cell
from rewarden.verifier.pieces import FEW, LEAST, SHARE, cut_in_two, piece_over
from rewarden.verifier.program import Program
from rewarden.verifier.proof_tree import halves
from rewarden.verifier.scribe.mirror import Mirror
from rewarden.verifier.scribe.near import acting
from rewarden.verifier.scribe.patched import Form, by_patches, composed, extent
from rewarden.verifier.scribe.settled import settled_proof
from rewarden.verifier.scribe.writer import EMPTY, Writer, written
from rewarden.verifier.unwritten import Unwritten, no_proof

WHOLLY, EASY = 1_000, 64  # branches that may be bounded without what cannot harm: of a whole box, of a part of it
TOGETHER = 12  # patches that are bounded together while there is something to cut
Trees = list[Any]  # one for each goal

MOST_SIDES = 1 << 21  # of all cells: the kernel reads no more


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A patch that may act, its number in the stack, its tensors, and where each of its rows is at the gate."""

    number: int
    patch: Patch
    tensors: Tensors
    rows: tuple[tuple[Form, Fraction], ...]


@dataclass(slots=True, eq=False)
class _Proof:
    """What is written so far (mutable)."""

    trees: list[Trees]
    cuts: list[list[object]] = field(default_factory=list)

    def piece(self, found: Sequence[Any], *, easy: bool) -> list[object]:
        for goal, tree in enumerate(found):
            self.trees[goal].append(tree)
        return ["piece", int(easy)]


def written_pieces(
    claim: Claim,
    rewards: Mapping[str, Artifact],
    owed: Unwritten,
    stop: Callable[[], bool],
    less: Mapping[str, Artifact] | None = None,
) -> dict[str, Any] | str:
    """The proof object (its witness is null) of a claim that has been proved, or why there is none. `less`: the rewards
    without the patches that the premise opens, where the proof is to be about these."""
    tables = any(has_tables(rewards[call.reward]) for call in claim.calls)
    without = harmless(claim, rewards, is_table if tables else lambda patch, tensors: True)
    writing = _Writing(claim, rewards, less or rewards, without, owed, stop)
    proof = _Proof([[] for _ in claim.goals])
    for number in range(len(claim.boxes)):
        refused = writing.box(number, proof)
        if refused is not None:
            return refused
    if sum(map(len, proof.cuts)) * len(claim.variables) > MOST_SIDES:
        return "it would be too large to be of use"
    used = [[name, k] for name, numbers in sorted(without.items()) for k in sorted(numbers)]
    easy = any(node == ["piece", 1] for cuts in proof.cuts for node in cuts)
    pieces = {"cut": proof.cuts, "without": used if easy else []}
    head = {"format": "rewarden-proof", "format_version": 1, "claim": claim_digest(claim)}
    found = {**head, "witness": None, "goals": proof.trees, "pieces": pieces}
    return found if less is None else {**found, "beyond": True}


@dataclass(slots=True, eq=False)
class _Writing:
    """One claim's proof."""

    claim: Claim
    rewards: Mapping[str, Artifact]
    less: Mapping[str, Artifact]
    without: Mapping[str, frozenset[int]]
    owed: Unwritten
    stop: Callable[[], bool]

    def box(self, number: int, proof: _Proof) -> str | None:
        """Append what is about one of the claim's boxes; why there is none."""
        claim = self.claim
        cell = root_cell(claim, claim.boxes[number])
        cuts: list[object] = []
        proof.cuts.append(cuts)
        if cell is None:
            cuts.append(proof.piece([[EMPTY] for _ in claim.goals], easy=False))
            return None
        bare = self._barely(cell)
        if bare is not None:
            cuts.append(proof.piece(bare, easy=True))
            return None
        whole, goals = [(number, cell, 1.0)], len(claim.goals)
        tiled = not cover(claim, self.rewards, whole, wholly=True).left
        flats = flats_of(claim, self.rewards, whole)
        made, most = 1, LEAST + SHARE * sum(len(self.less[call.reward].patches) for call in claim.calls)
        agenda = [(cell, self._held(number), None if flats is None else flats.near(cell))]
        while agenda:
            if self.stop():
                return "there was no time left to write it"
            box, held, near = agenda.pop()
            held = [_closed(some, box) for some in held]
            near = None if flats is None else flats.near(box, near)
            found = None
            if flats is not None and near is not None and len(flats.held(box, near)) == goals:
                found = self._flatly(box, held)
            if found is None and not tiled:
                found = self._easily(box, held, budget=EASY if cuts else WHOLLY)
            if found is not None:
                cuts.append(proof.piece(found[0], easy=found[1]))
                continue
            at = flats.next_cut(box, near, goals) if flats is not None and near is not None and made < most else None
            two = self._halves(box, *at) if at is not None else None
            if two is None and made < most and sum(map(len, held)) > FEW:
                two = self._between_patches(number, box)
            if two is not None:
                made += 1
                cuts.append(_cut(box, two))
                agenda += [(half, held, near) for half in reversed(two)]
                continue
            whatever = self._wholly(box, held)
            if isinstance(whatever, str):
                return whatever
            cuts.append(proof.piece(whatever, easy=False))
        return None

    def _barely(self, cell: Box) -> Trees | None:
        """The trees of a whole box without what cannot harm, where that is every patch near data: thousands may act
        there, and none of them is looked at."""
        if not self.without or not any(has_tables(self.rewards[name]) for name in self.without):
            return None
        less = {
            name: self.less[name].with_patches(
                tuple(
                    p for k, p in _numbered(self.rewards[name], self.less[name]) if k not in self.without.get(name, ())
                )
            )
            for name in {call.reward for call in self.claim.calls}
        }
        if any(has_tables(artifact) or len(artifact.patches) > TOGETHER for artifact in less.values()):
            return None
        calls, there = [], {}
        for k, call in enumerate(self.claim.calls):
            there[f"{call.reward}#{k}"] = less[call.reward]
            calls.append(replace(call, reward=f"{call.reward}#{k}"))
        own = replace(self.claim, boxes=(cell,), calls=tuple(calls))
        return self._quickly(own, there, WHOLLY)

    def _halves(self, box: Box, variable: int, at: float) -> tuple[Box, Box] | None:
        """A box cut where a patch ceases to be flat; None where that is no cut."""
        lo, hi = box[variable]
        sides = halves((lo, hi), Fraction(at), self.claim.variables[variable].discrete)
        if not all(lo <= a <= b <= hi for a, b in sides) or (lo, hi) in sides:
            return None
        one, other = ((*box[:variable], side, *box[variable + 1 :]) for side in sides)
        return one, other

    def _between_patches(self, number: int, box: Box) -> tuple[Box, Box] | None:
        """A box cut where the reach of a patch ends."""
        if any(has_tables(self.rewards[call.reward]) for call in self.claim.calls):
            return None
        two = cut_in_two(self.claim, self.rewards, piece_over(self.claim, self.rewards, number, box, 1.0))
        return None if two is None else (two[0].box, two[1].box)

    def _flatly(self, box: Box, held: Sequence[Sequence[_Held]]) -> tuple[Trees, bool] | None:
        """The trees of a piece that flat patches settle, without a part for the network."""
        if sum(map(len, held)) > MOST_ACTIVE:
            return None
        own, there = self._over(box, held)
        found = by_patches(own, there, compile_program(own, there))
        return None if found is None else (found, False)

    def _held(self, number: int) -> list[list[_Held]]:
        """Of each call what may act in one of the claim's boxes, as the kernel has it."""
        claim = replace(self.claim, boxes=(self.claim.boxes[number],))
        found = []
        for call in claim.calls:
            artifact, mine = self.less[call.reward], list[_Held]()
            ends = arguments_over(claim, call)
            for k, patch in _numbered(self.rewards[call.reward], artifact):
                alone = artifact.with_patches((patch,))
                there = acting(alone, call.arguments, claim.boxes[0], *ends) if has_tables(alone) else alone
                mine += [_of(k, one, there, call.arguments) for one in there.patches]
            found.append(mine)
        return found

    def _easily(self, box: Box, held: Sequence[Sequence[_Held]], budget: int) -> tuple[Trees, bool] | None:
        """The trees of a piece without what cannot harm, and whether that is less than all; None where there is
        nothing to leave out, or it is needed."""
        names = [call.reward for call in self.claim.calls]
        some = [
            [h for h in mine if h.number not in self.without.get(name, ())]
            for name, mine in zip(names, held, strict=True)
        ]
        count, all_ = (sum(map(len, each)) for each in (some, held))
        if count > TOGETHER or count == all_ > FEW:
            return None
        found = self._quickly(*self._over(box, some), budget)
        return None if found is None else (found, count < all_)

    def _quickly(self, own: Claim, there: Mapping[str, Artifact], budget: int) -> Trees | None:
        program = compile_program(own, there)
        found = _told(own, there, program)
        mirror = Mirror.of(program)
        if found is not None or mirror is None or no_proof(program) is not None:
            return found
        with torch.no_grad():
            proof = Writer(program, mirror, budget, self.stop, careful=self.owed.careful).write()
        return None if proof is None else [per_box[0] for per_box in proof["goals"]]

    def _wholly(self, box: Box, held: Sequence[Sequence[_Held]]) -> Trees | str:
        """With all that acts, however long it takes."""
        if sum(map(len, held)) > MOST_ACTIVE:
            return "too many patches act in one part of the claim"
        own, there = self._over(box, held)
        program = compile_program(own, there)
        found = _told(own, there, program)
        if found is not None:
            return found
        proof = settled_proof(program) or written(program, replace(self.owed, trail=None), self.stop)
        return proof if isinstance(proof, str) else [per_box[0] for per_box in proof["goals"]]

    def _over(self, box: Box, held: Sequence[Sequence[_Held]]) -> tuple[Claim, dict[str, Artifact]]:
        """The claim about a piece, each call of a reward by a name of its own, and what these rewards are there."""
        calls, there = [], {}
        for k, (call, mine) in enumerate(zip(self.claim.calls, held, strict=True)):
            bare = self.rewards[call.reward].with_patches(())
            tensors = {**bare.tensors, **{name: t for h in mine for name, t in h.tensors.items()}}
            there[f"{call.reward}#{k}"] = replace(bare, patches=tuple(h.patch for h in mine), tensors=tensors)
            calls.append(replace(call, reward=f"{call.reward}#{k}"))
        return replace(self.claim, boxes=(box,), calls=tuple(calls)), there


def _told(own: Claim, there: Mapping[str, Artifact], program: Program) -> Trees | None:
    """By what patches say, without a part for the network."""
    return between_trees(own, there, program) or by_patches(own, there, program)


def _numbered(whole: Artifact, less: Artifact) -> list[tuple[int, Patch]]:
    """The patches that are left of a reward, with their numbers in its stack. They are in the same order; of a table
    that has lost rows the offsets are named anew (`opened`)."""
    found, left = [], list(less.patches)[::-1]
    for k, patch in enumerate(whole.patches):
        if left and left[-1] in (patch, replace(patch, offsets=f"{patch.offsets}[{k}]")):
            found.append((k, left.pop()))
    assert not left, "no patch comes from nowhere"
    return found


def _of(number: int, patch: Patch, artifact: Artifact, arguments: Sequence[Any]) -> _Held:
    tensors = {name: artifact.tensors[name] for name in patch_tensors(patch)}
    gate = Fraction(float(tensors[patch.gate][0]))
    pairs = zip(tensors[patch.rows].tolist(), tensors[patch.offsets].tolist(), strict=True)
    rows = tuple((composed(row, arguments), Fraction(offset) + gate) for row, offset in pairs)
    return _Held(number, patch, tensors, rows)


def _closed(held: Sequence[_Held], box: Box) -> list[_Held]:
    """Without the patches that are open all over the box."""
    return [h for h in held if all(extent(form, box)[0] < edge for form, edge in h.rows)]


def _cut(box: Box, two: tuple[Box, Box]) -> list[object]:
    variable = next(k for k, side in enumerate(box) if side != two[0][k])
    return ["cut", variable, rational_text(two[0][variable][1])]
