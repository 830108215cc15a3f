"""Rewards by parts: one number inside a premise, another outside, and for each group of data rows one of their own.

What a data constant comes to depends on few things about a row: which data it belongs to, whether a rule's premise is
true there, and how many rows are worth less. So rows are told apart by these, and within a group by the ranks that the
constants ask for; of few rows each is a group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from fractions import Fraction
from itertools import pairwise
from math import ceil

import numpy as np

from rewarden.spec_lang import forms
from rewarden.spec_lang.compare.align import Aligned
from rewarden.spec_lang.compare.data import Matrix, rows_of
from rewarden.spec_lang.compare.frame import Frame
from rewarden.spec_lang.compare.instances import by_rewards, is_anchor
from rewarden.spec_lang.compare.rebuild import Rebuild
from rewarden.spec_lang.compare.reward import Record
from rewarden.spec_lang.compare.z3 import GROUNDED
from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.spec_lang.formulas import conjunction
from rewarden.spec_lang.obligation import And, Atom, Formula, Or, Statistic
from rewarden.spec_lang.term_walk import variables_of

REGIONS = 4  # that rows are told apart by
ROWS = 5_000  # of data that are told apart
LISTED = 300  # that have values of their own; the largest group is worth what everything else is

Groups = tuple[tuple[Record, ...], ...]


def regions(parts: Sequence[Aligned], frame: Frame, reward: str) -> tuple[Formula, ...]:
    """What premises say of one record alone, over the columns of a reward of such records."""
    kinds = frame.signature(reward)
    if len(kinds) != 1:
        return ()
    found: list[Formula] = []
    for part in parts:
        plain, _ = by_rewards(part.premise)
        conjuncts = plain.parts if isinstance(plain, And) else (plain,)
        for number, view in enumerate(part.records):
            if view.type_name != kinds[0].name or is_anchor(part, number):
                continue
            mine = [p for p in conjuncts if variables_of(p) and variables_of(p) <= set(view.variables)]
            if mine:
                found.append(_over_columns(conjunction(mine), part, frame, view.variables))
    return tuple(dict.fromkeys(found))[:REGIONS]


def _over_columns(formula: Formula, part: Aligned, frame: Frame, variables: Sequence[int]) -> Formula:
    place = {v: k for k, v in enumerate(variables)}
    own = [forms.variable(place.get(k, k)) for k in range(len(part.variables))]
    return _without_origins(Rebuild(frame, part.side, own, part.data).formula(formula))


def _without_origins(formula: Formula) -> Formula:
    match formula:
        case Atom(term, strict):
            return Atom(term, strict)
        case And(parts) | Or(parts):
            return type(formula)(tuple(map(_without_origins, parts)))


def groups(sources: Sequence[Matrix], told_apart: Sequence[Formula], constants: Set[Statistic]) -> Groups:
    """The different rows of the data, those that need not be told apart together."""
    matrix = np.concatenate(sources) if sources else np.zeros((0, 0))
    if len(matrix) == 0 or len(matrix) > ROWS:
        return ()
    members = [set(rows_of(source)) for source in sources]
    different = list(dict.fromkeys(rows_of(matrix)))
    records = [tuple(map(Fraction, np.frombuffer(row).tolist())) for row in different]
    if len(different) <= GROUNDED:
        return tuple((record,) for record in records)
    points = np.array([np.frombuffer(row) for row in different])
    inside = [truth_of_rows(region, points) for region in told_apart]
    by_signature: dict[tuple[bool, ...], list[Record]] = {}
    for k, row in enumerate(different):
        signature = (*(row in member for member in members), *(bool(holds[k]) for holds in inside))
        by_signature.setdefault(signature, []).append(records[k])
    levels = sorted({c.level for c in constants if c.level is not None})
    found = [piece for alike in by_signature.values() for piece in _pieces(alike, levels)]
    largest = max(found, key=len)
    rest = tuple(group for group in found if group is not largest)
    return rest if sum(map(len, rest)) <= LISTED else ()


def _pieces(alike: Sequence[Record], levels: Sequence[Fraction]) -> Iterator[tuple[Record, ...]]:
    """The first, then up to each level, then the rest."""
    cuts = sorted({0, 1, len(alike), *(ceil(level * len(alike)) for level in levels)})
    for start, stop in pairwise(cuts):
        yield tuple(alike[start:stop])
