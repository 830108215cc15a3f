"""What a Gymnasium space hands to a network, and how a record of ours becomes that.

A network of stable-baselines3's kind sees a `Box` as its numbers, a `Discrete` as one-hot columns, a `MultiDiscrete`
as several, a `MultiBinary` as flags. A record may declare the choice as an enum (its columns are one-hot already), as a
bool, or as a whole number: then each column is the hat max(0, 1 − |x − k|), which is exact where x is whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.assembly import Assembly
from rewarden.reward.refusals import Refusal
from rewarden.reward.widths import MAX_WIDTH
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.features import Feature, RecordType


@dataclass(frozen=True, slots=True)
class Coding:
    """`shape` of what the network sees of one value; `kinds` and `sizes` of the parts that it is made of."""

    shape: tuple[int, ...]
    kinds: tuple[str, ...]  # "number", "flag" (0 or 1), or "choice" (one-hot)
    sizes: tuple[int, ...]  # columns of each part

    @property
    def width(self) -> int:
        return sum(self.sizes)

    def encode(self, build: Assembly, source: int, record: RecordType) -> int:
        """The columns of a record as the network sees them. Raises Refusal where they do not fit."""
        parts, at, pieces = self._parts(record), 0, []
        for feature, kind, size in parts:
            node = build.columns(source, at, at + feature.width)
            at += feature.width
            pieces.append(_choice(build, node, feature, size) if kind == "choice" else node)
        return pieces[0] if len(pieces) == 1 else build.concat(pieces)

    def _parts(self, record: RecordType) -> list[tuple[Feature, str, int]]:
        """Each feature with the part that it is of: a vector may stand for several numbers or flags."""
        left = list(zip(self.kinds, self.sizes, strict=True))
        found: list[tuple[Feature, str, int]] = []
        for feature in record.features:
            count = feature.size if not left or left[0][0] != "choice" else 1
            taken, left = left[:count], left[count:]
            if len(taken) < count or len({kind for kind, _ in taken}) > 1:
                raise Refusal(f"it has more columns than the {self.width} that the net reads", _COLUMNS)
            kind, size = taken[0]
            _check_feature(feature, kind, size)
            found.append((feature, kind, size))
        if left:
            raise Refusal(f"the net reads {len(left)} more than it has features for", _COLUMNS)
        return found

    def constant(self, rows: int, number: float, space: Any) -> NDArray[Any]:  # noqa: ANN401
        """The same value for every row, as an environment would give it."""
        if self.kinds == ("flag",) and space is None:
            return np.full(rows, number)
        shape = tuple(getattr(space, "shape", ()) or ())
        return np.zeros((rows, *shape), getattr(space, "dtype", np.float32))


def values_of(coding: Coding, columns: NDArray[np.float32], record: RecordType) -> NDArray[Any]:
    """Encoded columns [n, width] of a record → what an environment would give: [n, …], choices as whole numbers."""
    at, pieces = 0, []
    for feature, kind, _ in coding._parts(record):
        own = columns[:, at : at + feature.width]
        at += feature.width
        if kind == "choice" and feature.kind == "enum":
            pieces.append(np.argmax(own, axis=1)[:, None])
        else:
            pieces.append(own)
    whole = np.concatenate(pieces, axis=1)
    if coding.kinds == ("choice",):
        return whole[:, 0].astype(np.int64)
    if set(coding.kinds) == {"choice"}:
        return whole.astype(np.int64)
    return whole.reshape(len(columns), *coding.shape)


def coding_of(space: object, what: str, scales_images: bool) -> Coding:
    """How a network sees a space, told by its name and attributes. Raises Unsupported (X20)."""
    name = type(space).__name__
    match name:
        case "Box":
            shape = tuple(int(size) for size in space.shape)  # type: ignore[attr-defined]
            if scales_images and len(shape) == 3 and np.dtype(space.dtype) == np.uint8:  # type: ignore[attr-defined]
                raise Unsupported("X20", f"the {what}s are images, which are scaled by 1/255", help=_IMAGES)
            if math.prod(shape) > MAX_WIDTH:
                raise Unsupported("X20", f"the {what}s have {math.prod(shape)} numbers", help=_IMAGES)
            count = math.prod(shape)
            return Coding(shape, ("number",) * count, (1,) * count)
        case "Discrete":
            _check_start(int(getattr(space, "start", 0)), what)
            count = int(space.n)  # type: ignore[attr-defined]
            return Coding((count,), ("choice",), (count,))
        case "MultiDiscrete":
            counts = tuple(int(n) for n in np.asarray(space.nvec).reshape(-1))  # type: ignore[attr-defined]
            return Coding((sum(counts),), ("choice",) * len(counts), counts)
        case "MultiBinary":
            count = int(np.prod(space.n))  # type: ignore[attr-defined]
            return Coding((count,), ("flag",) * count, (1,) * count)
        case _:
            raise Unsupported(
                "X20",
                f"the {what} space is a {name}",
                help="Box, Discrete, MultiDiscrete and MultiBinary are known; flatten the others in the environment",
            )


def _check_start(start: int, what: str) -> None:
    if start != 0:
        raise Unsupported("X20", f"the {what}s count from {start}", help="count from 0, as one-hot columns do")


def _check_feature(feature: Feature, kind: str, size: int) -> None:
    if kind == "choice":
        whole = feature.kind == "int" and feature.size == 1 and feature.lo >= 0 and feature.hi <= size - 1
        if whole or (feature.kind == "bool" and feature.size == 1 and size == 2):
            return
        if feature.kind != "enum" or len(feature.cases) != size:
            raise Refusal(
                f"{feature.name} is to be one of {size} choices",
                f"declare it as an enum of {size} cases, in their order, or as int in 0 .. {size - 1}",
            )
        return
    if feature.kind == "enum":
        raise Refusal(f"{feature.name} is an enum where the net reads a number", "declare it as real, int or bool")
    if kind == "flag" and feature.kind != "bool" and not (feature.kind == "int" and 0 <= feature.lo <= feature.hi <= 1):
        raise Refusal(f"{feature.name} is to be 0 or 1", "declare it as bool")


def _choice(build: Assembly, node: int, feature: Feature, size: int) -> int:
    """One-hot columns of an enum, a bool or a whole number."""
    if feature.kind == "enum":
        return node
    if feature.kind == "bool":
        weight = np.array([[-1.0], [1.0]], np.float32)
        return build.affine(node, weight, np.array([1.0, 0.0], np.float32))
    ones, numbers = np.ones(size, np.float32), np.arange(size, dtype=np.float32)
    away = build.absolute(build.affine(node, ones[:, None], -numbers))
    return build.relu(build.scale(away, -ones, ones))


_COLUMNS = "one feature for each number of the net's space, in its order; a vector stands for several"
_IMAGES = "verify the head over the frozen encoder's features: make a net of the layers that come after, and convert it"
