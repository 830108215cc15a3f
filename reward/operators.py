"""Operators of foreign networks, on values that are rows (a node of our graph) or constants (an array).

What both importers share. An operator either becomes nodes that compute the same function exactly over the reals, or
raises `Refusal`, which the importer turns into an error that names the place. The one thing that can be relaxed is a
constant that has no exact binary32 form (a divisor such as 3): `constants="nearest"` takes the nearest one instead,
and the artifact then *is* the network with that constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.assembly import Assembly

Constants = Literal["exact", "nearest"]
Array32 = NDArray[np.float32]
NEAREST = 'multiply by the reciprocal in the network, or import with constants="nearest" (--constants nearest)'


class Refusal(Exception):
    """Why an operator cannot be imported, and the way out; caught by the importers, never seen by users."""

    def __init__(self, message: str, help: str) -> None:
        super().__init__(message)
        self.message = message
        self.help = help


@dataclass(frozen=True, slots=True)
class Row:
    """One row per record: a node of the graph."""

    node: int


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """Known when the network is imported."""

    array: NDArray[np.generic]


Value = Row | Constant


class Operators:
    """Applies operators to values, adding nodes to `build`."""

    def __init__(self, build: Assembly, constants: Constants) -> None:
        self.build = build
        self.constants = constants

    def row(self, value: Value) -> int:
        """The node of a value that must be a row."""
        if isinstance(value, Row):
            return value.node
        raise Refusal("it is applied to a constant", "fold constant parts before exporting")

    def array(self, value: Value) -> Array32:
        """The array of a value that must be a constant."""
        if isinstance(value, Row):
            raise Refusal("it needs a constant here", "networks with learned inputs in this place are not supported")
        return as_float32(value.array)

    def add(self, a: Value, b: Value) -> Value:
        match a, b:
            case Constant(), Constant():
                return Constant(exactly(np.add, self.array(a), self.array(b), self.constants))
            case Row(x), Row(y):
                return Row(self.build.add(*self._widened(x, y)))
            case Row(x), Constant():
                return Row(self.build.offset(x, self._per_column(b, x)))
            case _:
                return self.add(b, a)

    def negative(self, a: Value) -> Value:
        if isinstance(a, Constant):
            return Constant(-self.array(a))
        return self._scaled(a, np.full(self.build.width(self.row(a)), -1.0, np.float32))

    def sub(self, a: Value, b: Value) -> Value:
        if isinstance(a, Row) and isinstance(b, Row):
            return Row(self.build.sub(*self._widened(a.node, b.node)))
        return self.add(a, self.negative(b))

    def mul(self, a: Value, b: Value) -> Value:
        match a, b:
            case Constant(), Constant():
                return Constant(exactly(np.multiply, self.array(a), self.array(b), self.constants))
            case Row(), Row():
                raise Refusal(
                    "it multiplies two things that both depend on the input",
                    "only piecewise linear networks can be imported",
                )
            case Row(x), Constant():
                return self._scaled(a, self._per_column(b, x))
            case _:
                return self.mul(b, a)

    def div(self, a: Value, b: Value) -> Value:
        if isinstance(b, Row):
            raise Refusal(
                "it divides by something that depends on the input", "only piecewise linear networks can be imported"
            )
        divisor = self.array(b)
        if not divisor.all():
            raise Refusal("it divides by 0", "repair the network")
        if isinstance(a, Constant):
            return Constant(exactly(np.divide, self.array(a), divisor, self.constants))
        return self.mul(a, Constant(exactly(np.divide, np.ones_like(divisor), divisor, self.constants)))

    def smaller(self, a: Value, b: Value) -> Value:
        return self._extreme(a, b, np.minimum, self.build.minimum)

    def larger(self, a: Value, b: Value) -> Value:
        if isinstance(a, Row) and isinstance(b, Constant) and not self.array(b).any():
            return Row(self.build.relu(a.node))
        return self._extreme(a, b, np.maximum, self.build.maximum)

    def clip(self, a: Value, lo: float | None, hi: float | None) -> Value:
        """Bounds that are missing or infinite do nothing."""
        lo = None if lo is None or lo == -np.inf else lo
        hi = None if hi is None or hi == np.inf else hi
        match lo, hi:
            case None, None:
                return a
            case float(), float():
                if np.float32(lo) > np.float32(hi):
                    raise Refusal(f"it clips to {lo} .. {hi}, which is empty", "repair the network")
                return Row(self.build.clip(self.row(a), lo, hi))
            case float(), None:
                return self.larger(a, Constant(np.array(lo, np.float32)))
            case _:
                return self.smaller(a, Constant(np.array(hi, np.float32)))

    def leaky(self, a: Value, slope: float) -> Value:
        if not 0.0 <= slope <= 1.0:
            raise Refusal(f"its slope {slope} is not in 0 .. 1", "use a slope between 0 and 1")
        return Row(self.build.leaky_relu(self.row(a), slope))

    def linear(self, a: Value, weight: Array32, bias: Array32 | None) -> Value:
        """W x + b for weight [m, n]."""
        node = self.row(a)
        if weight.ndim != 2 or weight.shape[1] != self.build.width(node):
            raise Refusal(
                f"a weight of shape {list(weight.shape)} does not fit {self.build.width(node)} columns",
                "check the features",
            )
        if bias is None:
            bias = np.zeros(len(weight), np.float32)
        try:
            bias = np.broadcast_to(bias.reshape(-1) if bias.ndim == 2 and bias.shape[0] == 1 else bias, (len(weight),))
        except ValueError:
            raise Refusal(
                f"a bias of shape {list(bias.shape)} does not fit {len(weight)} outputs", "repair the network"
            ) from None
        return Row(self.build.affine(node, weight, bias.astype(np.float32)))

    def concat(self, parts: Sequence[Value]) -> Value:
        return Row(self.build.concat([self._any_row(part) for part in parts]))

    def mean(self, a: Value) -> Value:
        """The mean over the columns: 1/n must have an exact form."""
        width = self.build.width(self.row(a))
        return self.div(Row(self.build.total(self.row(a))), Constant(np.array(width, np.float32)))

    def _extreme(
        self, a: Value, b: Value, pick: Callable[[Array32, Array32], Array32], node: Callable[[int, int], int]
    ) -> Value:
        if isinstance(a, Constant) and isinstance(b, Constant):
            return Constant(pick(self.array(a), self.array(b)))
        if isinstance(a, Constant):
            a, b = b, a
        x = self.row(a)
        y = b.node if isinstance(b, Row) else self.build.constant(self._per_column(b, x))
        return Row(node(*self._widened(x, y)))

    def _any_row(self, value: Value) -> int:
        return value.node if isinstance(value, Row) else self.build.constant(self.array(value).reshape(-1))

    def _scaled(self, a: Value, factors: Array32) -> Value:
        return Row(self.build.scale(self.row(a), factors, np.zeros_like(factors)))

    def _widened(self, x: int, y: int) -> tuple[int, int]:
        """Both at one width: a single column is repeated, as broadcasting does."""
        wide = max(self.build.width(x), self.build.width(y))
        nodes = []
        for node in (x, y):
            if self.build.width(node) == 1 and wide > 1:
                node = self.build.affine(node, np.ones((wide, 1), np.float32), np.zeros(wide, np.float32))
            if self.build.width(node) != wide:
                raise Refusal(
                    f"its operands have {self.build.width(x)} and {self.build.width(y)} columns", "repair the network"
                )
            nodes.append(node)
        return nodes[0], nodes[1]

    def _per_column(self, value: Value, node: int) -> Array32:
        """A constant operand as one number per column of `node`."""
        array, width = self.array(value), self.build.width(node)
        while array.ndim > 1 and array.shape[0] == 1:
            array = array[0]
        if array.ndim > 1 or (array.ndim == 1 and len(array) not in (1, width)):
            raise Refusal(
                f"a constant of shape {list(np.shape(self.array(value)))} does not fit {width} columns",
                "give one number per column",
            )
        return np.broadcast_to(array, (width,)).astype(np.float32)


def exactly(operator: Callable[[Array32, Array32], Array32], a: Array32, b: Array32, constants: Constants) -> Array32:
    """A result of two binary32 constants that is itself binary32, or Refusal.

    Rounding is detected without ever computing an exact result: a product of two binary32 numbers is exact in binary64;
    a quotient q is right iff q·b = a, which is such a product; a sum's error is Knuth's TwoSum term.
    """
    x, y = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(all="ignore"):
        wide = operator(x, y)  # type: ignore[arg-type]
        narrow = np.asarray(wide, np.float32)
        exact = narrow.astype(np.float64) == wide
        if operator is np.divide:
            exact &= narrow.astype(np.float64) * y == x
        elif operator is np.add:
            exact &= (x - (wide - (wide - x))) + (y - (wide - x)) == 0.0
    if not bool(np.isfinite(narrow).all()):
        raise Refusal("a constant overflows binary32", "rescale the network")
    if constants == "exact" and not bool(np.all(exact)):
        raise Refusal("a constant that it needs has no exact binary32 form", NEAREST)
    return narrow


def as_float32(array: NDArray[np.generic]) -> Array32:
    """The same numbers as binary32; Refusal if any would change."""
    if array.dtype not in (np.float32, np.float64, np.int64, np.int32):
        raise Refusal(f"a constant is {array.dtype}", "convert the network to float32")
    with np.errstate(all="ignore"):
        narrow = array.astype(np.float32)
        same = narrow.astype(np.float64) == array.astype(np.float64)
    if not bool(np.isfinite(narrow).all()):
        raise Refusal("a constant is not finite", "the training has diverged, or the file is damaged")
    if not bool(np.all(same)):
        raise Refusal(
            f"a {array.dtype} constant has no exact float32 form",
            "convert the network to float32, then export it again",
        )
    return narrow
