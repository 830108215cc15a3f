"""ATen calls that only move columns about: reshapes, slices, picks, transposes, stacks. See `layout`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rewarden.reward.assembly import Assembly
from rewarden.reward.imports.layout import MOST_WEIGHTS, Block, broadcast, check_size, joined, moved, reshaped
from rewarden.reward.imports.program import Argument, Call, Ref, Shape
from rewarden.reward.operators import Constant, as_float32
from rewarden.reward.refusals import Refusal

RESHAPES = ("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "ravel")
TURNS = ("permute", "transpose", "t", "numpy_T", "movedim")
PARTS = ("select", "slice", "narrow", "index_select", "index", "split", "split_with_sizes", "chunk", "unbind", "flip")
JOINS = ("cat", "concat", "stack")
SPREADS = ("expand", "expand_as", "broadcast_to", "repeat")
MOVES = frozenset((*RESHAPES, *TURNS, *PARTS, *JOINS, *SPREADS))


@dataclass(frozen=True, slots=True)
class Moves:
    """Applies such calls to the values so far."""

    build: Assembly
    shapes: Mapping[str, Shape]
    values: Mapping[str, object]

    def apply(self, call: Call) -> Sequence[Block | Constant]:
        if call.name in JOINS:
            return (self._join(call),)
        value = self._value(call.arguments.get("self"))
        if call.name in RESHAPES or call.name in SPREADS:
            return (self._shaped(call, value),)
        if call.name in TURNS:
            return (self._turn(call, value),)
        return self._parts(call, value)

    def _value(self, given: Argument) -> Block | Constant:
        value = self.values.get(given.name) if isinstance(given, Ref) else None
        if not isinstance(value, Block | Constant):
            raise Refusal("it moves what is not a row of columns", "repair the network")
        return value

    def _shaped(self, call: Call, value: Block | Constant) -> Block | Constant:
        """Where to is what was exported."""
        shape = self.shapes.get(call.outputs[0])
        if shape is None:
            raise Refusal("its shape is not known", "export the network again")
        if isinstance(value, Constant):
            return Constant(self._shaped_constant(call, value.array, shape))
        if call.name in RESHAPES:
            return reshaped(value, shape)
        if call.name == "repeat":
            raise Refusal("it repeats rows or columns", "use expand, or let it broadcast")
        places = [place for place, size in enumerate(shape) if not isinstance(size, int)]
        if len(places) != 1:
            raise Refusal("it mixes rows", "let each row be judged on its own")
        sizes = tuple(1 if place == places[0] else int(size) for place, size in enumerate(shape))
        return broadcast(self.build, value, sizes, places[0])

    def _shaped_constant(self, call: Call, array: np.ndarray, shape: Shape) -> np.ndarray:
        """With size 1 at the place of the rows, where it gets one: then it is the same for each."""
        sizes = tuple(size if isinstance(size, int) else 1 for size in shape)
        if math.prod(sizes) > max(MOST_WEIGHTS, array.size):
            raise Refusal("it makes a constant of too many numbers", "compute constant parts beforehand")
        if call.name in RESHAPES:
            return array.reshape(sizes)
        return (
            _repeated(array, _integers(call, "repeats"), sizes)
            if call.name == "repeat"
            else np.broadcast_to(array, sizes)
        )

    def _turn(self, call: Call, value: Block | Constant) -> Block | Constant:
        rank = value.array.ndim if isinstance(value, Constant) else len(value.shape)
        order = list(range(rank))
        match call.name:
            case "permute":
                order = [dim % rank for dim in _integers(call, "dims")]
            case "transpose":
                first, second = (_integer(call, name) % rank for name in ("dim0", "dim1"))
                order[first], order[second] = order[second], order[first]
            case "t" | "numpy_T":
                order.reverse()
            case _:
                raise Refusal("it moves dims about", "use permute")
        if sorted(order) != list(range(rank)):
            raise Refusal("it permutes dims that are not there", "repair the network")
        if isinstance(value, Constant):
            return Constant(value.array.transpose(order))
        return moved(self.build, value, value.numbers().transpose(order), order.index(value.batch))

    def _parts(self, call: Call, value: Block | Constant) -> Sequence[Block | Constant]:
        dim = _integer(call, "dim", 0) if call.name != "index" else 0
        if isinstance(value, Constant):
            found = self._cut(call, value.array, dim)
            return [Constant(array) for array in found]
        if call.name == "index":
            return (self._indexed(call, value),)
        if call.name == "flip":
            axes = [value.axis(d) for d in _integers(call, "dims")]
            return (moved(self.build, value, np.flip(value.numbers(), tuple(axes)), value.batch),)
        if call.name == "slice" and (dim % len(value.shape)) == value.batch and _whole(call):
            return (value,)
        axis = value.axis(dim)
        gone = call.name in ("select", "unbind") and axis < value.batch
        batch = value.batch - 1 if gone else value.batch
        return [moved(self.build, value, array, batch) for array in self._cut(call, value.numbers(), axis)]

    def _cut(self, call: Call, array: np.ndarray, axis: int) -> list[np.ndarray]:
        size = array.shape[axis] if -array.ndim <= axis < array.ndim else 0
        match call.name:
            case "select":
                index = _integer(call, "index")
                if not -size <= index < size:
                    raise Refusal("it picks columns that are not there", "check the features")
                return [np.take(array, index, axis)]
            case "slice":
                start, end = (call.arguments.get(name) for name in ("start", "end"))
                step = _integer(call, "step", 1)
                places = range(size)[slice(start, end, step)]
            case "narrow":
                start = _integer(call, "start") % max(size, 1)
                places = range(start, start + _integer(call, "length"))
            case "index_select":
                return [self._picked(array, axis, self._numbers(call.arguments.get("index")), size)]
            case "split" | "split_with_sizes" | "chunk" | "unbind":
                return self._split(call, array, axis, size)
            case _:
                raise Refusal("it moves what is not a row of columns", "compute constant parts beforehand")
        if not places or places[-1] >= size:
            raise Refusal("it picks columns that are not there", "check the features")
        return [np.take(array, list(places), axis)]

    def _split(self, call: Call, array: np.ndarray, axis: int, size: int) -> list[np.ndarray]:
        match call.name:
            case "unbind":
                return [np.take(array, k, axis) for k in range(size)]
            case "chunk":
                length = -(-size // max(_integer(call, "chunks"), 1))
                cuts = list(range(length, size, length)) if length else []
            case _:
                name = "split_sizes" if "split_sizes" in call.arguments else "split_size"
                given = call.arguments.get(name)
                if isinstance(given, tuple):
                    cuts = list(np.cumsum(_integers(call, name))[:-1])
                else:
                    length = max(_integer(call, name), 1)
                    cuts = list(range(length, size, length))
        return np.split(array, cuts, axis)

    def _indexed(self, call: Call, value: Block) -> Block:
        """x[:, [2, 0, 1]]: one list of columns, all rows."""
        indices = call.arguments.get("indices")
        places = [k for k, part in enumerate(indices) if part is not None] if isinstance(indices, tuple) else []
        if not isinstance(indices, tuple) or len(places) != 1:
            raise Refusal("it picks by several lists, or by what is not constant", "pick columns: x[:, [2, 0]]")
        axis = value.axis(places[0])
        numbers = self._numbers(indices[places[0]])
        return moved(self.build, value, self._picked(value.numbers(), axis, numbers, value.shape[axis]), value.batch)

    def _numbers(self, given: Argument) -> np.ndarray:
        held = self.values.get(given.name) if isinstance(given, Ref) else None
        if not isinstance(held, Constant) or held.array.dtype not in (np.int64, np.int32) or held.array.ndim != 1:
            raise Refusal("it picks by what is not a list of numbers", "pick columns by constant numbers")
        return held.array

    def _picked(self, array: np.ndarray, axis: int, numbers: np.ndarray, size: int) -> np.ndarray:
        if not numbers.size or not bool(((numbers >= -size) & (numbers < size)).all()):
            raise Refusal("it picks columns that are not there", "check the features")
        return np.take(array, numbers, axis)

    def _join(self, call: Call) -> Block | Constant:
        given = call.arguments.get("tensors")
        parts = [self._value(part) for part in given] if isinstance(given, tuple) and given else []
        dim, stacks = _integer(call, "dim", 0), call.name == "stack"
        join: Callable[..., np.ndarray] = np.stack if stacks else np.concatenate
        constants = [part.array for part in parts if isinstance(part, Constant)]
        if constants and len(constants) == len(parts):
            return Constant(join(constants, axis=dim))
        blocks = [
            part if isinstance(part, Block) else self._row(part, self.shapes.get(ref.name, ()))
            for ref, part in zip(given or (), parts, strict=True)
        ]
        if not blocks or len({(len(block.shape), block.batch) for block in blocks}) != 1:
            raise Refusal("it joins what has not the same shape", "give all of them the shape [n, columns]")
        first = blocks[0]
        rank = len(first.shape) + stacks
        axis = dim % rank if -rank <= dim < rank else rank
        if not stacks:
            axis = first.axis(dim)
        batch = first.batch + (stacks and axis <= first.batch)
        return joined(self.build, blocks, lambda arrays: join(arrays, axis=axis), batch)

    def _row(self, part: Constant, shape: Shape) -> Block:
        """A constant beside rows, where it is the same for every one of them."""
        places = [place for place, size in enumerate(shape) if not isinstance(size, int)]
        sizes = tuple(part.array.shape)
        if len(places) != 1 or len(sizes) != len(shape) or sizes[places[0]] != 1:
            raise Refusal(
                f"it joins a constant of shape {list(sizes)} to the rows", "let it have the shape of the rows"
            )
        check_size(part.array.size, self.build.width(self.build.INPUT))
        return Block(self.build.constant(as_float32(part.array).reshape(-1)), sizes, places[0])


def _repeated(array: np.ndarray, repeats: list[int], sizes: tuple[int, ...]) -> np.ndarray:
    padded = array.reshape((1,) * max(0, len(repeats) - array.ndim) + array.shape)
    if tuple(size * times for size, times in zip(padded.shape, repeats, strict=False)) != sizes:
        raise Refusal("it repeats to another shape than it says", "export the network again")
    return np.tile(array, repeats)


def _whole(call: Call) -> bool:
    """A slice that leaves out nothing, as x[:] writes it."""
    end = call.arguments.get("end")
    return (
        call.arguments.get("start") in (None, 0)
        and (end is None or (isinstance(end, int) and end >= 2**62))
        and call.arguments.get("step", 1) == 1
    )


def _integer(call: Call, name: str, usual: int | None = None) -> int:
    given = call.arguments.get(name, usual)
    if isinstance(given, bool) or not isinstance(given, int):
        raise Refusal(f"its {name} is not a fixed number", "export the network with fixed shapes")
    return given


def _integers(call: Call, name: str) -> list[int]:
    given = call.arguments.get(name)
    if not isinstance(given, tuple) or not all(isinstance(part, int) for part in given):
        raise Refusal(f"its {name} are not fixed numbers", "export the network with fixed shapes")
    return [int(part) for part in given]
