"""The network graph of a reward artifact: nodes in evaluation order, tensors by name.

The meaning of every op is in `docs/formats.md`. Node 0 is the input (the encoded columns of all records, problem
units). Nodes refer to earlier nodes by index; the output node has width 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rewarden.reward.elementary import Function


@dataclass(frozen=True, slots=True)
class Input:
    pass


@dataclass(frozen=True, slots=True)
class Scale:
    """x·scale + shift, elementwise; tensors [n]."""

    source: int
    scale: str
    shift: str


@dataclass(frozen=True, slots=True)
class AffineMap:
    """W x + b; tensors [m, n] and [m]."""

    source: int
    weight: str
    bias: str


@dataclass(frozen=True, slots=True)
class Relu:
    source: int


@dataclass(frozen=True, slots=True)
class LeakyRelu:
    """x where x >= 0, else slope·x; tensor [1] in 0..1."""

    source: int
    slope: str


@dataclass(frozen=True, slots=True)
class Abs:
    source: int


@dataclass(frozen=True, slots=True)
class Add:
    source: int
    other: int


@dataclass(frozen=True, slots=True)
class Sub:
    source: int
    other: int


@dataclass(frozen=True, slots=True)
class Minimum:
    """Elementwise."""

    source: int
    other: int


@dataclass(frozen=True, slots=True)
class Maximum:
    """Elementwise."""

    source: int
    other: int


@dataclass(frozen=True, slots=True)
class ReduceMin:
    """Over the vector, to width 1 (op `min`)."""

    source: int


@dataclass(frozen=True, slots=True)
class ReduceMax:
    """Over the vector, to width 1 (op `max`)."""

    source: int


@dataclass(frozen=True, slots=True)
class Clip:
    """min(max(x, lo), hi); tensors [1]."""

    source: int
    lo: str
    hi: str


@dataclass(frozen=True, slots=True)
class Concat:
    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Smooth:
    """f(x), elementwise: the mathematical function, one class for each."""

    function: ClassVar[Function]
    source: int


class Tanh(Smooth):
    __slots__ = ()
    function = "tanh"


class Sigmoid(Smooth):
    """1 / (1 + e^-x)."""

    __slots__ = ()
    function = "sigmoid"


class Softplus(Smooth):
    """ln(1 + e^x)."""

    __slots__ = ()
    function = "softplus"


class Gelu(Smooth):
    """x·Φ(x), Φ the normal distribution function."""

    __slots__ = ()
    function = "gelu"


class Silu(Smooth):
    """x / (1 + e^-x)."""

    __slots__ = ()
    function = "silu"


class Exp(Smooth):
    __slots__ = ()
    function = "exp"


class Square(Smooth):
    __slots__ = ()
    function = "square"


@dataclass(frozen=True, slots=True)
class Product:
    """Elementwise."""

    source: int
    other: int


SMOOTH: tuple[type[Smooth], ...] = (Tanh, Sigmoid, Softplus, Gelu, Silu, Exp, Square)

Node = (
    Input
    | Scale
    | AffineMap
    | Relu
    | LeakyRelu
    | Abs
    | Add
    | Sub
    | Minimum
    | Maximum
    | ReduceMin
    | ReduceMax
    | Clip
    | Concat
    | Smooth
    | Product
)


@dataclass(frozen=True, slots=True)
class Graph:
    nodes: tuple[Node, ...]
    output: int


@dataclass(frozen=True, slots=True)
class Patch:
    """One localised edit around the reward so far; names of tensors, see `docs/formats.md`.

    rows [k, width], offsets [k], level, slope, delta, gate [1].
    """

    kind: str  # "ceiling" or "floor"
    rows: str
    offsets: str
    level: str
    slope: str
    delta: str
    gate: str
    rule: str
