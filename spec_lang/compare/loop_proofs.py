"""Why one rule about loops follows from another, for loops of every length.

by move: every move of the weak rule is one of the strong rule, so that its loops are, and what it adds to the sum is at
least λ times what it adds there; or the sums differ by n·c (`loop_sums`).

by short loops: every move of the weak rule is good enough alone, if the strong rule's loops of one and two records at
its ends are. Where all records may stay, `sum(R(t)) <= 0` says R(s) <= 0 of each.

Where no move of the weak rule makes a feature fall, or none makes it rise, it stays the same along every loop: moves
that change it are left out, and where none is left there is no loop. The same holds of moves between states (enums and
bools) from which there is no way back (`loop_states`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from rewarden.spec_lang.compare.align import Aligned, same
from rewarden.spec_lang.compare.data import Matrix
from rewarden.spec_lang.compare.frame import Frame
from rewarden.spec_lang.compare.loop_states import between_states
from rewarden.spec_lang.compare.loop_sums import Case, Comparison, LoopRule, cases_of, formula_of, gap_suffices
from rewarden.spec_lang.compare.room import Room, order_constants
from rewarden.spec_lang.compare.terms import read_beside_rewards
from rewarden.spec_lang.compare.z3 import Budget, Differ, Scope, speaks_of_all
from rewarden.spec_lang.forms import ZERO, variable
from rewarden.spec_lang.formulas import atom, conjunction
from rewarden.spec_lang.obligation import FALSE, TRUE, Call

COLUMNS = 12  # of a relation, along which every move might rise or fall


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    frame: Frame
    data: Mapping[str, Matrix]
    budget: Budget

    def never(self, part: Aligned) -> bool:
        """Is there no point at which the part is violated, whatever the rewards?"""
        room = Room(self.budget.rlimit)
        raw, terms = room.unknowns(part)
        room.add(room.at(part, terms, {}).violated)
        order_constants(room, self.data)
        return room.check(raw).status == "unsat"


def follows(frame: Frame, data: Mapping[str, Matrix], budget: Budget, strong: LoopRule, weak: LoopRule) -> bool:
    """Does every reward that satisfies the strong rule satisfy the weak one? False where no reason was found."""
    asked, wanted = cases_of(strong.parts), cases_of(weak.parts)
    by_sums = _each(asked, wanted, gap_suffices)
    if by_sums and _same_loops(strong, weak):
        return True
    if strong.move is None or weak.move is None:
        return False
    question = _Question(frame, data, budget)
    if _by_moves(question, strong, weak.move, by_sums=by_sums):
        return True
    closed = _closed(question, weak.move)
    return closed is not weak.move and _by_moves(question, strong, closed, by_sums=by_sums)


def _by_moves(question: _Question, strong: LoopRule, move: Aligned, *, by_sums: bool) -> bool:
    """The same for all loops that are made of these moves."""
    assert strong.move is not None
    if question.never(replace(move, conclusion=FALSE)):
        return True
    alone = cases_of([move])
    if any(question.never(replace(move, conclusion=formula_of(case))) for case in alone):
        return True
    if speaks_of_all(move, strong.move, question.data, question.budget):
        asked = cases_of([strong.move])
        if by_sums or _each(asked, alone, lambda a, b: _dominated(question, move, a, b)):
            return True
    differ = Differ(question.frame, question.data, question.budget)
    enough = (replace(move, conclusion=formula_of(case)) for case in alone)
    return any(differ.ask(one, strong.parts[:2], Scope()).status == "unsat" for one in enough)


def _each(asked: tuple[Case, ...], wanted: tuple[Case, ...], implies: Callable[[Comparison, Comparison], bool]) -> bool:
    """Does each case of the one imply a case of the other, comparison by comparison?"""
    return bool(asked) and all(
        any(all(any(implies(a, b) for a in case) for b in other) for other in wanted) for case in asked
    )


def _same_loops(strong: LoopRule, weak: LoopRule) -> bool:
    pairs = zip(strong.parts, weak.parts, strict=True)
    return all(same(replace(a, conclusion=TRUE), replace(b, conclusion=TRUE)) for a, b in pairs)


def _dominated(question: _Question, move: Aligned, asked: Comparison, wanted: Comparison) -> bool:
    """Does every move add to the one sum at least λ times what it adds to the other, more where only the one must be
    above 0?"""
    scale = _scale(asked, wanted)
    if scale is None:
        return False
    more = wanted.sums[0] - asked.sums[0].scaled(scale)
    return question.never(replace(move, conclusion=atom(more, wanted.strict and not asked.strict, None)))


def _scale(asked: Comparison, wanted: Comparison) -> Fraction | None:
    for leaf, c in asked.sums[0].parts.items():
        scale = wanted.sums[0].parts.get(leaf, ZERO) / c
        if isinstance(leaf, Call) and scale > 0:
            return scale
    return None


def _closed(question: _Question, move: Aligned) -> Aligned:
    """The moves that can be part of a loop: from whose state there is a way back, and where no move makes a feature
    fall, none of them makes it rise."""
    move = between_states(move, question.never)
    here, after = (view.variables for view in move.records)
    read = read_beside_rewards(move.premise)
    columns = [(a, b) for a, b in zip(here, after, strict=True) if a in read and b in read]
    found = move
    for pair in columns[:COLUMNS]:
        for above, below in (pair, reversed(pair)):
            changes = replace(_with(found, above, below, strict=True), conclusion=FALSE)
            if question.never(changes):
                found = _with(found, above, below, strict=False)
                break
    return found


def _with(move: Aligned, above: int, below: int, *, strict: bool) -> Aligned:
    """With the condition that the one number is above the other, or at least as large."""
    more = atom(variable(above) - variable(below), strict, None)
    return replace(move, premise=conjunction([move.premise, more]))
