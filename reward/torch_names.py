"""The functions of torch by the name of the tensor method that does the same, or else by their own."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F

_METHODS: dict[Any, str] = {
    operator.add: "add", operator.sub: "sub", operator.mul: "mul", operator.truediv: "div", operator.neg: "neg",
    operator.abs: "abs", torch.add: "add", torch.sub: "sub", torch.mul: "mul", torch.div: "div", torch.neg: "neg",
    torch.abs: "abs", torch.relu: "relu", F.relu: "relu", F.leaky_relu: "leaky_relu", F.hardtanh: "hardtanh",
    F.relu6: "relu6", F.linear: "linear", torch.clamp: "clamp", torch.clip: "clamp", torch.cat: "cat",
    torch.concat: "cat", torch.minimum: "minimum", torch.maximum: "maximum", torch.min: "min", torch.max: "max",
    torch.amin: "amin", torch.amax: "amax", torch.sum: "sum", torch.mean: "mean", torch.squeeze: "squeeze",
    torch.flatten: "flatten", torch.unsqueeze: "unsqueeze", torch.tanh: "tanh", F.tanh: "tanh",
    torch.sigmoid: "sigmoid", F.sigmoid: "sigmoid", torch.special.expit: "sigmoid", F.silu: "silu", F.gelu: "gelu",
    F.softplus: "softplus", F.elu: "elu", F.mish: "mish", torch.exp: "exp", torch.square: "square",
    torch.pow: "pow", operator.pow: "pow", torch.erf: "erf", torch.special.erf: "erf", torch.stack: "stack",
    torch.matmul: "matmul", operator.matmul: "matmul", torch.mm: "matmul", torch.bmm: "bmm",
    torch.einsum: "einsum", torch.softmax: "softmax", F.softmax: "softmax", F.log_softmax: "log_softmax",
    F.scaled_dot_product_attention: "scaled_dot_product_attention", F.layer_norm: "layer_norm",
    F.group_norm: "group_norm", F.normalize: "normalize", F.conv1d: "conv1d", F.conv2d: "conv2d",
    F.conv3d: "conv3d", F.embedding: "embedding",
}  # fmt: skip


def method_of(function: object) -> str:
    """The name, or nothing for a function that is not on the list."""
    return _METHODS.get(function, "")
