"""Steps of an environment as rows of a reward: the same map as for recordings (`reward.data.mapping`).

    {"gap": "obs[0]", "steering": "acts[1]", "next_gap": "next_obs[0]", "over": "done"}

With several records a feature is named with its record: `{"s.gap": "obs[0]", "n.gap": "next_obs[0]"}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.columns import features_of, full_name
from rewarden.reward.data.mapping import CELL, cell_of, in_cases
from rewarden.spec_lang.errors import UsageError

NAMES = ("obs", "acts", "next_obs", "done")


def require_map(artifact: Artifact, columns: Mapping[str, str]) -> dict[str, str]:
    """Feature → part of a step, for every feature. G90 for one that is missing, unknown, or of no part of a step."""
    features = [full_name(artifact.records, record, feature) for record, feature in features_of(artifact.records)]
    for name in columns:
        if name not in features:
            close = get_close_matches(name, features, n=1)
            raise UsageError(
                "G90",
                f"the reward reads no {name!r}",
                help=f"did you mean {close[0]}?" if close else "it reads " + ", ".join(features[:12]),
            )
    found = {}
    for name in features:
        column = columns.get(name, name)
        match = CELL.fullmatch(column)
        if (match["vector"] if match else column).partition(".")[0] not in NAMES:
            raise UsageError(
                "G90",
                f"it is not said which part of a step {name} is",
                help=f'columns={{"{name}": "obs[0]", …}}; parts are obs, acts, next_obs and done',
            )
        found[name] = column
    return found


def rows_of(artifact: Artifact, columns: Mapping[str, str], step: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """A row [1, …] for each feature, or [n, …] where `step` holds n steps. Discrete actions become an enum's cases."""
    parts: dict[str, NDArray[Any]] = {}
    for name, value in step.items():
        _flatten(name, value, parts)
    found = {}
    for record, feature in features_of(artifact.records):
        name = full_name(artifact.records, record, feature)
        values = cell_of(parts.__getitem__, parts, columns[name], "the step")
        found[name] = in_cases(values, feature, name)
    return found


def _flatten(name: str, value: Any, parts: dict[str, NDArray[Any]]) -> None:  # noqa: ANN401 - whatever a space holds
    if isinstance(value, Mapping):
        for key, part in value.items():
            _flatten(f"{name}.{key}", part, parts)
        return
    array = np.asarray(value)
    parts[name] = array.reshape(len(array), -1) if array.ndim > 2 else array
