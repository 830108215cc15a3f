"""The data nearest to a record: has the reward ever seen anything like it? For witnesses, and for records that a reward
pays most or least for. Distances are those of `verifier.nearest`: Gower's, 0 to 1."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.encode import encode
from rewarden.reward.learners.interface import Array
from rewarden.spec_lang.errors import RewardenError, UsageError
from rewarden.spec_lang.features import RecordType

TOLD = 3
CELLS = 2**22


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A data row by name, how far it is, and what it is worth. `differs`: the features that differ most, with
    the row's values; `text`: what the row is the vector of, where that is known."""

    row: str
    distance: float
    reward: float
    differs: tuple[tuple[str, str], ...]
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """A record, why it is looked at, what it is worth, and the data rows nearest to it."""

    what: str
    values: tuple[tuple[str, str], ...]
    reward: float
    nearest: tuple[Neighbour, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "record": dict(self.values),
            "reward": self.reward,
            "nearest": [
                {"row": n.row, "distance": n.distance, "reward": n.reward, "differs": dict(n.differs), "text": n.text}
                for n in self.nearest
            ],
        }


def neighbourhood(
    artifact: Artifact,
    what: str,
    point: Array,
    rows: Array,
    name: Callable[[int], str],
    text: Callable[[int], str | None] = lambda number: None,
) -> Neighbourhood:
    """Of an encoded record [column] among rows [row, column] of an artifact of one record."""
    kind = artifact.records[0].type
    weights = _weights(kind)
    distances = np.empty(len(rows))
    size = max(1, CELLS // len(point))
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        distances[start : start + size] = np.nansum(np.abs(part - point) * weights, axis=1)
    order = np.argsort(distances, kind="stable")
    chosen, seen = [], set()
    for k in order[: 50 * TOLD]:
        key = rows[k].tobytes()
        if key not in seen:
            seen.add(key)
            chosen.append(int(k))
        if len(chosen) == TOLD:
            break
    worth = forward(artifact, np.ascontiguousarray(np.stack([point, *(rows[k] for k in chosen)]), np.float32))
    return Neighbourhood(
        what,
        tuple(_shown(kind, point)),
        float(worth[0]),
        tuple(
            Neighbour(name(k), float(distances[k]), float(value), _differences(kind, point, rows[k], weights), text(k))
            for k, value in zip(chosen, worth[1:], strict=True)
        ),
    )


def witnesses(artifact: Artifact, file: Path) -> list[tuple[str, Array]]:
    """The records of a verification's JSON (`rewarden verify --json`) that the artifact can read, named by their rule.

    Raises UsageError G43 for a file that is none.
    """
    try:
        rules = json.loads(file.read_text(encoding="utf-8"))["rules"]
        found = [
            (f"{rule['name']}: {name}", record)
            for rule in rules
            if rule.get("witness")
            for name, record in rule["witness"].items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(
            "G43", f"{file} is no result of a verification", help="write one: rewarden verify … --json FILE"
        ) from None
    points = []
    for what, record in found:
        try:
            points.append((what, encode(artifact.records, record, "refuse").values[0].astype(np.float64)))
        except RewardenError:
            continue  # a record of another type, which another reward of the spec reads
    return points


def _weights(kind: RecordType) -> Array:
    found = []
    for feature in kind.features:
        span = float(feature.hi - feature.lo)
        one = 0.5 if feature.kind == "enum" else (1.0 / span if span > 0 else 0.0) / feature.width
        found += [one / len(kind.features)] * feature.width
    return np.array(found)


def _shown(kind: RecordType, row: Array) -> list[tuple[str, str]]:
    shown, start = [], 0
    for feature in kind.features:
        values = row[start : start + feature.width]
        start += feature.width
        unit = f" {feature.unit}" if feature.unit else ""
        match feature.kind:
            case "enum":
                text = feature.cases[int(values.argmax())]
            case "bool" if not feature.is_vector:
                text = "true" if values[0] else "false"
            case _ if feature.is_vector:
                text = f"{len(values)} numbers"
            case _:
                text = f"{values[0]:.4g}{unit}" if np.isfinite(values[0]) else "missing"
        shown.append((feature.name, text))
    return shown


def _differences(kind: RecordType, here: Array, there: Array, weights: Array) -> tuple[tuple[str, str], ...]:
    apart, start = [], 0
    shown = dict(_shown(kind, there))
    for feature in kind.features:
        columns = slice(start, start + feature.width)
        start += feature.width
        gap = float(np.nansum(np.abs(here[columns] - there[columns]) * weights[columns]))
        if gap > 0:
            apart.append((gap, feature.name))
    apart.sort(key=lambda item: -item[0])
    return tuple((name, shown[name]) for _, name in apart[:TOLD])
