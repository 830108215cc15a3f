"""Several parts of one table as one again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from rewarden.reward.learners.interface import Comparisons
from rewarden.reward.learners.shards import Data


def joined(parts: Sequence[Data]) -> Data:
    """Row after row; rankings are filled up to the longest, annotators named once."""
    first = parts[0]
    if isinstance(first, Comparisons):
        parts = _alike([part for part in parts if isinstance(part, Comparisons)])
        first = parts[0]
    changed: dict[str, Any] = {}
    for field in fields(first):
        values = [getattr(part, field.name) for part in parts]
        if isinstance(values[0], np.ndarray):
            changed[field.name] = np.concatenate(values)
    return replace(first, **changed)


def _alike(parts: Sequence[Comparisons]) -> list[Comparisons]:
    longest = max(part.segments.shape[1] for part in parts)
    uneven = any(part.places is not None or part.segments.shape[1] < longest for part in parts)
    names = tuple(dict.fromkeys(name for part in parts for name in part.names))
    found = []
    for part in parts:
        missing = longest - part.segments.shape[1]
        filler = np.repeat(part.segments[:, :1], missing, axis=1)
        places = part.places
        if uneven and places is None:
            places = np.full(len(part.segments), part.segments.shape[1], np.int64)
        index = np.array([names.index(name) for name in part.names], np.int64)
        who = None if part.annotators is None else index[part.annotators]
        segments = np.concatenate([part.segments, filler], axis=1)
        found.append(replace(part, segments=segments, places=places, annotators=who, names=names))
    return found
