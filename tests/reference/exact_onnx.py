"""An exported ONNX model at a row of rationals: the few operators that are exported, one by one, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import onnx
from onnx import numpy_helper

Row = list[Fraction]


def exact_onnx(model: onnx.ModelProto, x: Sequence[Fraction]) -> Row:
    """The output row."""
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    rows = {name: [[Fraction(float(v)) for v in row] for row in np.atleast_2d(a)] for name, a in values.items()}
    rows["X"] = [list(x)]
    for node in model.graph.node:
        rows[node.output[0]] = [_apply(node, [rows[name] for name in node.input])]
    return rows["Y"][0]


def _apply(node: onnx.NodeProto, inputs: list[list[Row]]) -> Row:
    (a, *_), rest = inputs[0], inputs[1:]
    match node.op_type:
        case "Gemm":
            assert [(k.name, k.i) for k in node.attribute] == [("transB", 1)]
            weight, (bias,) = rest
            return [sum((w * v for w, v in zip(r, a, strict=True)), b) for r, b in zip(weight, bias, strict=True)]
        case "MatMul":
            (weight,) = rest
            return [sum(v * w for v, w in zip(a, column, strict=True)) for column in zip(*weight, strict=True)]
        case "Add" | "Sub":
            sign = 1 if node.op_type == "Add" else -1
            return [v + sign * w for v, w in zip(a, rest[0][0], strict=True)]
        case "Relu":
            return [max(v, Fraction(0)) for v in a]
        case "Less":
            return [v < w for v, w in zip(a, rest[0][0], strict=True)]
        case "Where":
            return [t if c else e for c, t, e in zip(a, rest[0][0], rest[1][0], strict=True)]
        case other:
            raise AssertionError(f"{other} is not exported")
