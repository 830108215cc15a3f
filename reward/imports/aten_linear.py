"""ATen calls that are linear maps, and reductions over columns. See `aten`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rewarden.reward.imports.layout import Block, check_size
from rewarden.reward.imports.program import Call
from rewarden.reward.operators import Constant, Row, Value, nearest
from rewarden.reward.refusals import Refusal, product_of_activations
from rewarden.reward.widths import MAX_NODES

if TYPE_CHECKING:
    from rewarden.reward.imports.aten import Held, Walk

BLOCKS = 1 << 22  # numbers of a layer that is applied to each of several parts of a row


def linear(walk: Walk, call: Call) -> Held:
    bias: Held | None = None
    match call.name:
        case "linear":
            source, weight = walk.held(call, "input"), walk.constant(call, "weight").array
            bias = None if call.arguments.get("bias") is None else walk.held(call, "bias")
        case "addmm":
            if walk.number(call, "beta", 1.0) != 1.0 or walk.number(call, "alpha", 1.0) != 1.0:
                raise Refusal("it scales what it adds", "scale in a layer of its own")
            source, weight = walk.held(call, "mat1"), _turned(_side(walk, call, "mat2"))
            bias = walk.held(call, "self")
        case name:
            side = "vec" if name == "mv" else "mat2" if name == "mm" else "other"
            source, weight = walk.held(call, "self"), _turned(_side(walk, call, side))
    if isinstance(source, Constant):
        raise Refusal("it multiplies a constant by rows", "write x @ W, with the rows first")
    if bias is not None and not isinstance(bias, Constant):
        raise Refusal("it adds rows to a product", "add in an operation of its own")
    return _affine(walk, walk.as_block(source), weight, None if bias is None else bias)


def _side(walk: Walk, call: Call, name: str) -> Constant:
    other = walk.held(call, name)
    if not isinstance(other, Constant):
        raise product_of_activations()
    return other


def _affine(walk: Walk, block: Block, weight: np.ndarray, bias: Constant | None) -> Block:
    ops, flat = walk.ops, weight.ndim == 1
    matrix = ops.array(Constant(weight.reshape(1, -1) if flat else weight))
    if block.axis(-1) != len(block.shape) - 1 or matrix.ndim != 2 or matrix.shape[1] != block.shape[-1]:
        raise Refusal(
            f"a weight of shape {list(weight.shape)} does not fit {block.shape[-1]} columns", "check the features"
        )
    parts = block.width // matrix.shape[1]
    shift = np.zeros(len(matrix), np.float32) if bias is None else ops.array(bias).reshape(-1)
    if shift.shape not in ((1,), (len(matrix),)):
        raise Refusal(f"a bias of {shift.size} does not fit {len(matrix)} outputs", "repair the network")
    shift = np.broadcast_to(shift, (len(matrix),)).astype(np.float32)
    if parts > 1:
        if parts * parts * matrix.size > BLOCKS:
            raise Refusal(f"it is applied to {parts} parts of each row", "let it read the row's columns as one")
        matrix, shift = np.kron(np.eye(parts, dtype=np.float32), matrix), np.tile(shift, parts)
    shape = block.shape[:-1] if flat else (*block.shape[:-1], len(weight))
    return Block(ops.build.affine(block.node, np.ascontiguousarray(matrix), shift), shape, block.batch)


def reduce(walk: Walk, call: Call) -> Held:
    """Over the dims that are named, or of two operands (`max.other`)."""
    if call.operator.endswith(".other"):
        operator = walk.ops.smaller if call.name == "min" else walk.ops.larger
        return walk.pair(walk.held(call, "self"), walk.held(call, "other"), operator)
    block, given = walk.block(call), call.arguments.get("dim")
    dims = (given,) if isinstance(given, int) else given
    if not dims:
        raise Refusal("it works along all dims, that of the rows among them", "work along dim -1, the columns'")
    axes = sorted({block.axis(int(dim)) for dim in dims})
    keep = bool(call.arguments.get("keepdim", False))
    rest = [place for place in range(len(block.shape)) if place not in axes]
    numbers = block.numbers().transpose(*rest, *axes)
    numbers = numbers.reshape(int(np.prod([block.shape[place] for place in rest], dtype=np.int64)), -1)
    node = _reduced(walk, call.name, block, numbers)
    shape = tuple(1 if place in axes else size for place, size in enumerate(block.shape) if keep or place in rest)
    batch = block.batch if keep else block.batch - sum(place < block.batch for place in axes)
    return Block(node, shape, batch)


def _reduced(walk: Walk, name: str, block: Block, numbers: np.ndarray) -> int:
    ops, build = walk.ops, walk.ops.build
    groups, size = numbers.shape
    if groups > 1:
        check_size(groups, block.width)
    if name in ("sum", "mean"):
        weight = np.zeros((groups, block.width), np.float32)
        np.put_along_axis(weight, numbers, 1.0, axis=1)
        node = build.affine(block.node, weight, np.zeros(groups, np.float32))
        found = Row(node) if name == "sum" else ops.div(Row(node), nearest(float(size)))
        return ops.row(found)
    low = name in ("min", "amin")
    if groups == 1:
        return build.reduce_min(block.node) if low else build.reduce_max(block.node)
    if groups * size > MAX_NODES:
        raise Refusal(f"it reduces {groups} groups of {size}", "such a network is too wide to be verified")
    parts = [ops.pick(Row(block.node), numbers[:, k]) for k in range(size)]
    found_part: Value = parts[0]
    for part in parts[1:]:
        found_part = (ops.smaller if low else ops.larger)(found_part, part)
    return ops.row(found_part)


def _turned(constant: Constant) -> np.ndarray:
    array = constant.array
    return array if array.ndim == 1 else np.ascontiguousarray(array.T) if array.ndim == 2 else array
