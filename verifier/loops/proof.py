"""What was proved about loops, JSON-ready: one potential for each cell, so that a checker can recompute the rest.

A checker that trusts none of this needs the rule's step (facts of a record, facts of a move, what a move adds), the
rewards by digest, and this object. It verifies, for each conjunct of the conclusion:

1. The cells cover the box of the record type. Of those that are `empty`, some clause of the facts of a record has no
   atom that can be true in the cell; the others are those of 2 and 3.
2. For two cells u and v whose `place` is the same: the move u → v is refuted by a clause of the facts none of whose
   atoms can be true on u × v, or what it adds, plus slope_u·x − slope_v·y, is at most `potential`_v − `potential`_u
   (below it, if `strict`).
3. For two cells whose places differ: the move from the higher place (in the order of lists) to the lower is refuted.

Places are component numbers, one for each round of refinement in which the component fell apart, and moves go from
lower to higher. All numbers are rationals as text.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from rewarden.verifier.loops.abstraction import Dropped, LoopOutcome, Settled


def proof_of(outcome: LoopOutcome, strict: bool) -> dict[str, Any]:
    """The proof object of an outcome that is `proved`. `strict`: a sum of 0 would break the rule."""
    cells = [cell for part in outcome.parts for cell in _settled(part)]
    cells += [cell for part in outcome.dropped for cell in _dropped(part)]
    return {"kind": "loops", "strict": strict, "cells": cells, "moves": outcome.moves, "rounds": outcome.rounds}


def _settled(part: Settled) -> list[dict[str, Any]]:
    return [
        {**_box(part, k), "slope": [_text(x) for x in part.tilt[k].tolist()], "potential": str(potential * part.scale)}
        for k, potential in enumerate(part.potential)
    ]


def _dropped(part: Dropped) -> list[dict[str, Any]]:
    if part.empty:
        return [{**_box(part, k), "empty": True} for k in range(len(part.cells))]
    still = ["0"] * part.cells.lo.shape[1]
    return [{**_box(part, k), "slope": still, "potential": "0"} for k in range(len(part.cells))]


def _box(part: Settled | Dropped, k: int) -> dict[str, Any]:
    lo, hi = part.cells.lo[k].tolist(), part.cells.hi[k].tolist()
    return {"lo": [_text(x) for x in lo], "hi": [_text(x) for x in hi], "place": list(part.place[k])}


def _text(value: float) -> str:
    return str(Fraction(value))
