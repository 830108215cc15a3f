"""Rows as tensors of any shape: a graph's node beside the shape in which the network sees it.

A record is one row of columns; a network may see it as [n, 2, 3], or its results stacked as [5, n]. `Block` keeps the
node (the columns, row-major) beside the shape, with 1 at the place of the batch. Whatever only moves columns about
(reshape, slice, transpose, broadcast) is done to their numbers with numpy, and then as one pick of columns: so that it
cannot go wrong in a way that shapes do not show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.assembly import Assembly
from rewarden.reward.imports.program import Shape
from rewarden.reward.refusals import Refusal
from rewarden.reward.widths import MAX_WIDTH

Numbers = NDArray[np.int64]
MOST_WEIGHTS = 1 << 24  # of one pick of columns, which is a matrix


@dataclass(frozen=True, slots=True)
class Block:
    """A node that holds `shape`, row-major; `shape[batch]` is 1 and stands for the rows."""

    node: int
    shape: tuple[int, ...]
    batch: int

    @property
    def width(self) -> int:
        return math.prod(self.shape)

    def numbers(self) -> Numbers:
        """The number of each column, in the block's shape."""
        return np.arange(self.width).reshape(self.shape)

    def axis(self, dim: int) -> int:
        """A dim of the network's as a place in the shape; Refusal for the rows', or one that is not there."""
        place = dim + len(self.shape) if dim < 0 else dim
        if place == self.batch:
            raise Refusal(f"it works along dim {dim}, that of the rows", "let each row be judged on its own")
        if not 0 <= place < len(self.shape):
            raise Refusal(f"it works along dim {dim}, which is not there", "repair the network")
        return place


def of_row(node: int, width: int) -> Block:
    """A record as networks mostly see it: [n, columns]."""
    return Block(node, (1, width), 0)


def moved(build: Assembly, block: Block, numbers: Numbers, batch: int) -> Block:
    """The block's columns in the order and shape of `numbers`."""
    flat = numbers.reshape(-1)
    if flat.size == 0:
        raise Refusal("it keeps no column", "check the features")
    if np.array_equal(flat, np.arange(block.width)):
        return Block(block.node, tuple(numbers.shape), batch)
    check_size(flat.size, block.width)
    weight = np.zeros((flat.size, block.width), np.float32)
    weight[np.arange(flat.size), flat] = 1.0
    node = build.affine(block.node, weight, np.zeros(flat.size, np.float32))
    return Block(node, tuple(numbers.shape), batch)


def check_size(made: int, read: int) -> None:
    """Refusal for a map of so many columns from so many others, before it is made."""
    if made > MAX_WIDTH or made * read > MOST_WEIGHTS:
        raise Refusal(f"it makes {made} columns of {read}", "such a network is too wide to be verified")


def reshaped(block: Block, shape: Shape) -> Block:
    """The same columns in another shape, whose batch is the one size that is not a number."""
    places = [place for place, size in enumerate(shape) if not isinstance(size, int)]
    if len(places) != 1:
        raise Refusal("it mixes rows", "let each row be judged on its own")
    batch = places[0]
    sizes = tuple(1 if place == batch else int(size) for place, size in enumerate(shape))
    before, after = math.prod(sizes[:batch]), math.prod(sizes[batch:])
    if (before, after) != (math.prod(block.shape[: block.batch]), math.prod(block.shape[block.batch :])):
        raise Refusal("it mixes rows", "let each row be judged on its own")
    return Block(block.node, sizes, batch)


def broadcast(build: Assembly, block: Block, shape: tuple[int, ...], batch: int) -> Block:
    """The block as numpy broadcasts it to `shape`; Refusal where its rows would fall on something else."""
    if len(block.shape) > len(shape) or len(shape) - len(block.shape) + block.batch != batch:
        raise Refusal("its operands' rows do not fall on one another", "give both the shape [n, columns]")
    if math.prod(shape) > MAX_WIDTH:
        check_size(math.prod(shape), block.width)
    try:
        numbers = np.broadcast_to(block.numbers(), shape)
    except ValueError:
        raise Refusal(
            f"its operands have the shapes {shown(block.shape, block.batch)} and {shown(shape, batch)}",
            "repair the network",
        ) from None
    return moved(build, block, np.ascontiguousarray(numbers), batch)


def common(first: Block, second: Block) -> tuple[tuple[int, ...], int]:
    """The shape to which two blocks broadcast, and its batch."""
    try:
        shape = np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        raise Refusal(
            f"its operands have the shapes {shown(first.shape, first.batch)} and {shown(second.shape, second.batch)}",
            "repair the network",
        ) from None
    longer = first if len(first.shape) >= len(second.shape) else second
    return shape, longer.batch


def joined(build: Assembly, blocks: Sequence[Block], put: Callable[[list[Numbers]], Numbers], batch: int) -> Block:
    """Several blocks side by side, as `put` (a stack or a concatenation) puts arrays."""
    if sum(block.width for block in blocks) > MAX_WIDTH:
        raise Refusal("it makes too many columns", "such a network is too wide to be verified")
    starts = np.cumsum([0, *(block.width for block in blocks)])
    try:
        numbers = put([block.numbers() + start for block, start in zip(blocks, starts[:-1], strict=True)])
    except ValueError:
        raise Refusal("what it joins does not fit together", "repair the network") from None
    whole = blocks[0].node if len(blocks) == 1 else build.concat([block.node for block in blocks])
    return moved(build, Block(whole, (1, int(starts[-1])), 0), numbers, batch)


def check_shape(block: Block, declared: Shape | None, symbol: str) -> None:
    """The shape that we have found is the one that was exported: a network that mixes rows does not pass."""
    if declared is None:
        return
    ours = tuple(symbol if place == block.batch else size for place, size in enumerate(block.shape))
    if ours != declared:
        text = ", ".join(str(size) for size in declared)
        raise Refusal(
            f"it gives the shape [{text}] where each row on its own gives {shown(block.shape, block.batch)}",
            "let each row be judged on its own",
        )


def shown(shape: Sequence[int], batch: int) -> str:
    return "[" + ", ".join("n" if place == batch else str(size) for place, size in enumerate(shape)) + "]"
