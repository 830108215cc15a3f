"""Several parts of one table as one again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from rewarden.reward.learners.interface import Comparisons, Judgements
from rewarden.reward.learners.shards import Data
from rewarden.spec_lang.errors import EditError


def joined(parts: Sequence[Data]) -> Data:
    """Row after row; rankings are filled up to the longest, annotators named once. What some parts leave out counts as
    they take it: no tie, a weight of 1, an annotator without a name; ids are left out where one part has none.

    Raises EditError E24 for segments of another number of steps.
    """
    if any(part.ids is None for part in parts):
        parts = [replace(part, ids=None) for part in parts]
    first = parts[0]
    if isinstance(first, Comparisons):
        parts = _alike([part for part in parts if isinstance(part, Comparisons)])
        first = parts[0]
    elif isinstance(first, Judgements):
        parts = [_weighed(part) for part in parts if isinstance(part, Judgements)]
        first = parts[0]
    changed: dict[str, Any] = {}
    for field in fields(first):
        values = [getattr(part, field.name) for part in parts]
        if isinstance(values[0], np.ndarray):
            changed[field.name] = np.concatenate(values)
    return replace(first, **changed)


def _weighed(part: Judgements) -> Judgements:
    return replace(part, weights=np.ones(len(part.rows)) if part.weights is None else part.weights)


def _alike(parts: Sequence[Comparisons]) -> list[Comparisons]:
    steps = sorted({part.segments.shape[2] for part in parts})
    if len(steps) > 1:
        raise EditError(
            "E24",
            f"segments of {' and '.join(map(str, steps))} steps cannot be compared",
            help="give strangers whose segments are as long as those of the data",
        )
    longest = max(part.segments.shape[1] for part in parts)
    uneven = any(part.places is not None or part.segments.shape[1] < longest for part in parts)
    tied, weighed, told = (
        any(getattr(part, name) is not None for part in parts) for name in ("ties", "weights", "annotators")
    )
    named = [part.names if part.annotators is not None or not told else ("",) for part in parts]
    names = tuple(dict.fromkeys(name for some in named for name in some))
    found = []
    for part, own in zip(parts, named, strict=True):
        count = len(part.segments)
        missing = longest - part.segments.shape[1]
        filler = np.repeat(part.segments[:, :1], missing, axis=1)
        places, who, ties, weights = part.places, part.annotators, part.ties, part.weights
        if uneven and places is None:
            places = np.full(count, part.segments.shape[1], np.int64)
        if told:
            index = np.array([names.index(name) for name in own], np.int64)
            who = index[np.zeros(count, np.int64) if who is None else who]
        if tied and ties is None:
            ties = np.zeros(count, np.bool_)
        if weighed and weights is None:
            weights = np.ones(count)
        segments = np.concatenate([part.segments, filler], axis=1)
        changed = replace(part, segments=segments, places=places, annotators=who, names=names if told else part.names)
        found.append(replace(changed, ties=ties, weights=weights))
    return found
