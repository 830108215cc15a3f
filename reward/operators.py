"""Operators of foreign networks, on values that are rows (a node of our graph) or constants (an array).

What both importers share. An operator either becomes nodes that compute the same function exactly over the reals, or
raises `Refusal`, which the importer turns into an error that names the place. The one thing that can be relaxed is a
constant that has no exact binary32 form (a divisor such as 3): `constants="nearest"` takes the nearest one instead,
and the artifact then *is* the network with that constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.assembly import Assembly
from rewarden.reward.graph import Exp, Gelu, Sigmoid, Silu, Smooth, Softplus, Square, Tanh
from rewarden.reward.refusals import Refusal

Constants = Literal["exact", "nearest"]
MOST_WEIGHTS = 1 << 26  # of a matrix that only picks columns
Array32 = NDArray[np.float32]
ROOTS = (np.float32(np.sqrt(2.0)), np.float32(np.sqrt(0.5)))  # what a network writes for √2 and 1/√2
NEAREST = 'multiply by the reciprocal in the network, or import with constants="nearest" (--constants nearest)'


@dataclass(frozen=True, slots=True)
class Row:
    """One row per record: a node of the graph."""

    node: int


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """Known when the network is imported."""

    array: NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Bell:
    """factor·(erf(x/√2) + shift), or x/√2 itself (`raw`), of the node x: on its way to become part of a GELU."""

    argument: int
    factor: float = 1.0
    shift: float = 0.0
    raw: bool = False


Value = Row | Constant | Bell


class Operators:
    """Applies operators to values, adding nodes to `build`."""

    def __init__(self, build: Assembly, constants: Constants) -> None:
        self.build = build
        self.constants = constants

    def row(self, value: Value) -> int:
        """The node of a value that must be a row."""
        match value:
            case Row(node):
                return node
            case Bell():
                raise Refusal("erf is known as part of a GELU only, x·(1 + erf(x/√2))/2", "use GELU")
            case Constant():
                raise Refusal("it is applied to a constant", "fold constant parts before exporting")

    def array(self, value: Value) -> Array32:
        """The array of a value that must be a constant."""
        if not isinstance(value, Constant):
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
            case Bell(argument, 1.0, 0.0, False), Constant() if (self.array(b) == 1.0).all():
                return Bell(argument, 1.0, 1.0)
            case (Row(), Bell()) | (Bell(), _):
                return Row(self.row(a if isinstance(a, Bell) else b))  # refused
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
            case Row(x), Row(y):
                return Row(self._product(x, y))
            case Row(x), Constant():
                return self._scaled(a, self._per_column(b, x))
            case Row(x), Bell():
                return self._gelu(x, b)
            case Bell(argument, factor, 1.0), Constant():
                number = np.unique(exactly(np.multiply, self.array(b), np.array(factor, np.float32), self.constants))
                if len(number) != 1:
                    raise Refusal("erf is known as part of a GELU only", "use GELU")
                return Bell(argument, float(number[0]), 1.0)
            case Bell(), Constant() | Bell():
                return Row(self.row(a))  # refused
            case _:
                return self.mul(b, a)

    def div(self, a: Value, b: Value) -> Value:
        if not isinstance(b, Constant):
            raise Refusal("it divides by something that depends on the input", "divide by constants only")
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

    def smooth(self, kind: type[Smooth], a: Value) -> Value:
        return Row(self.build.smooth(kind, self.row(a)))

    def gelu(self, a: Value, approximate: str) -> Value:
        """The exact form x·Φ(x), or the one by tanh: x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2, of nearest constants."""
        if approximate in ("none", ""):
            return self.smooth(Gelu, a)
        if approximate != "tanh":
            raise Refusal(f"its approximation {approximate!r} is not known", "use the exact form")
        if self.constants == "exact":
            raise Refusal(
                "the tanh form of GELU has constants without an exact binary32 form",
                'use the exact form (approximate="none"), or import with constants="nearest" (--constants nearest)',
            )
        x = self.row(a)
        cube = self.build.product(x, self.build.smooth(Square, x))
        inner = self.add(a, self.mul(Row(cube), nearest(0.044715)))
        bent = self.smooth(Tanh, self.mul(inner, nearest(np.sqrt(2.0 / np.pi))))
        return self.mul(self.mul(a, nearest(0.5)), self.add(bent, nearest(1.0)))

    def softplus(self, a: Value, beta: float) -> Value:
        """ln(1 + e^(βx))/β."""
        if beta == 1.0:
            return self.smooth(Softplus, a)
        return self.div(self.smooth(Softplus, self.mul(a, nearest(beta))), nearest(beta))

    def elu(self, a: Value, alpha: float) -> Value:
        """x where x >= 0, else α·(e^x − 1): relu(x) + α·(exp(min(x, 0)) − 1)."""
        below = self.smaller(a, nearest(0.0))
        bent = self.add(self.smooth(Exp, below), nearest(-1.0))
        return self.add(Row(self.build.relu(self.row(a))), self.mul(bent, nearest(alpha)))

    def mish(self, a: Value) -> Value:
        """x·tanh(softplus(x))."""
        return self.mul(a, self.smooth(Tanh, self.smooth(Softplus, a)))

    def power(self, a: Value, exponent: Value) -> Value:
        """Squares and cubes."""
        numbers = np.unique(self.array(exponent))
        x = self.row(a)
        match numbers.tolist():
            case [1.0]:
                return a
            case [2.0]:
                return Row(self.build.smooth(Square, x))
            case [3.0]:
                return Row(self.build.product(x, self.build.smooth(Square, x)))
            case _:
                raise Refusal("its exponent is neither 1, 2 nor 3", "write other powers as products")

    def root_of_two(self, a: Value, constant: Value, *, dividing: bool) -> Value | None:
        """x/√2 where the operator says that (up to a last place, as the binary32 constant has it) and only an erf reads
        it; None where it says something else. √2 is meant: no number of the network is."""
        if not (isinstance(a, Row) and isinstance(constant, Constant)):
            return None
        with np.errstate(all="ignore"):
            numbers = constant.array.astype(np.float64)
        wanted = float(ROOTS[0] if dividing else ROOTS[1])
        if not bool((np.abs(numbers - wanted) <= 2.0**-23 * wanted).all()):
            return None
        return Bell(a.node, raw=True)

    def erf(self, a: Value) -> Value:
        if isinstance(a, Bell) and a.raw:
            return Bell(a.argument)
        raise Refusal("erf is known as part of a GELU only, x·(1 + erf(x/√2))/2", "use GELU")

    def batch_norm(
        self, a: Value, scale: Array32, shift: Array32, mean: Array32, variance: Array32, epsilon: float
    ) -> Value:
        """(x − mean)/√(variance + ε)·scale + shift, as one factor and one shift per column, rounded to the nearest."""
        if self.constants == "exact":
            raise Refusal(
                "it divides by a spread, which has no exact binary32 form",
                "fold it into the layer before it (torch.nn.utils.fusion.fuse_linear_bn_eval), or import with"
                ' constants="nearest" (--constants nearest)',
            )
        x = self.row(a)
        if any(part.shape != (self.build.width(x),) for part in (scale, shift, mean, variance)):
            raise Refusal("its numbers do not fit its columns", "repair the network")
        spread = np.sqrt(variance.astype(np.float64) + epsilon)
        if not bool((spread > 0).all()):
            raise Refusal("it divides by a spread of 0", "repair the network")
        factor = scale.astype(np.float64) / spread
        offset = shift.astype(np.float64) - mean.astype(np.float64) * factor
        factors, offsets = factor.astype(np.float32), offset.astype(np.float32)
        if not bool(np.isfinite(factors).all() and np.isfinite(offsets).all()):
            raise Refusal("a constant overflows binary32", "rescale the network")
        return Row(self.build.scale(x, factors, offsets))

    def pick(self, a: Value, indices: NDArray[np.generic]) -> Value:
        """Columns by their numbers."""
        x = self.row(a)
        width = self.build.width(x)
        numbers = [int(i) for i in np.asarray(indices).reshape(-1)]
        if not numbers or not all(-width <= i < width for i in numbers):
            raise Refusal("it picks columns that are not there", "check the features")
        if len(numbers) * width > MOST_WEIGHTS:
            raise Refusal(f"it picks {len(numbers)} columns of {width}", "such a network is too wide to be verified")
        chosen = np.zeros((len(numbers), width), np.float32)
        chosen[np.arange(len(numbers)), numbers] = 1.0
        return Row(self.build.affine(x, chosen, np.zeros(len(numbers), np.float32)))

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

    def _product(self, x: int, y: int) -> int:
        """x·y; a square, or x·sigmoid(x), where it is one."""
        build = self.build
        if x == y:
            return build.smooth(Square, x)
        for one, other in ((x, y), (y, x)):
            found = build.node(other)
            if isinstance(found, Sigmoid) and found.source == one:
                return build.smooth(Silu, one)
        return build.product(*self._widened(x, y))

    def _gelu(self, x: int, bell: Bell) -> Value:
        """c·x·factor·(erf(x/√2) + 1) is 2·c·factor times GELU."""
        inner, factor = (x, 1.0) if x == bell.argument else self.build.factor(x)
        if inner != bell.argument or bell.shift != 1.0 or bell.raw:
            raise Refusal("erf is known as part of a GELU only, x·(1 + erf(x/√2))/2", "use GELU")
        whole = exactly(np.multiply, np.array(2.0 * bell.factor, np.float32), np.array(factor, np.float32), "exact")
        found = Row(self.build.smooth(Gelu, inner))
        return found if whole == 1.0 else self.mul(found, Constant(whole))

    def _extreme(
        self, a: Value, b: Value, pick: Callable[[Array32, Array32], Array32], node: Callable[[int, int], int]
    ) -> Value:
        if isinstance(a, Constant) and isinstance(b, Constant):
            _require_small(self.array(a), self.array(b))
            return Constant(pick(self.array(a), self.array(b)))
        if isinstance(a, Constant):
            a, b = b, a
        x = self.row(a)
        y = self._held(self._per_column(b, x)) if isinstance(b, Constant) else self.row(b)
        return Row(node(*self._widened(x, y)))

    def _any_row(self, value: Value) -> int:
        if isinstance(value, Constant):
            return self._held(self.array(value).reshape(-1))
        return self.row(value)

    def _held(self, numbers: Array32) -> int:
        """Numbers that are the same for every row, as a node."""
        if numbers.size * self.build.width(self.build.INPUT) > MOST_WEIGHTS:
            raise Refusal(f"it holds {numbers.size} constant columns", "such a network is too wide to be verified")
        return self.build.constant(numbers)

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


def nearest(value: float) -> Constant:
    """The nearest binary32."""
    return Constant(np.array(value, np.float32))


def exactly(operator: Callable[[Array32, Array32], Array32], a: Array32, b: Array32, constants: Constants) -> Array32:
    """A result of two binary32 constants that is itself binary32, or Refusal.

    Rounding is detected without ever computing an exact result: a product of two binary32 numbers is exact in binary64;
    a quotient q is right iff q·b = a, which is such a product; a sum's error is Knuth's TwoSum term.
    """
    _require_small(a, b)
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


def _require_small(a: Array32, b: Array32) -> None:
    """Two thin constants may span a matrix that no memory holds."""
    try:
        size = math.prod(np.broadcast_shapes(a.shape, b.shape))
    except ValueError:
        raise Refusal(
            f"constants of shapes {list(a.shape)} and {list(b.shape)} do not fit", "repair the network"
        ) from None
    if size > max(MOST_WEIGHTS, a.size, b.size):
        raise Refusal(f"it makes a constant of {size} numbers", "import the network's head alone")


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
