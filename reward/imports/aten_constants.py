"""ATen calls of constants alone, such as a weight that is kept positive. See `aten`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rewarden.reward.elementary import value as smooth_value
from rewarden.reward.graph import Exp, Sigmoid, Silu, Smooth, Square, Tanh
from rewarden.reward.imports.program import Call
from rewarden.reward.operators import NEAREST, Constant
from rewarden.reward.refusals import Refusal

if TYPE_CHECKING:
    from rewarden.reward.imports.aten import Held, Walk

SMOOTH: dict[str, type[Smooth]] = {
    "tanh": Tanh, "sigmoid": Sigmoid, "silu": Silu, "exp": Exp, "square": Square,
}  # fmt: skip


def folded(walk: Walk, call: Call, constant: Constant) -> Held:
    """A function of a constant, such as a weight that is kept positive; rounded where that is allowed."""
    x = walk.ops.array(constant).astype(np.float64)
    match call.name:
        case "neg":
            return Constant((-x).astype(np.float32))
        case "abs":
            return Constant(np.abs(x).astype(np.float32))
        case "relu":
            return Constant(np.maximum(x, 0.0).astype(np.float32))
        case "rsub":
            scaled = walk.times(constant, call)
            assert isinstance(scaled, Constant), "an operator of constants gives a constant"
            return walk.pair(walk.held(call, "other"), Constant(-walk.ops.array(scaled)), walk.ops.add)
        case "sqrt" | "rsqrt" | "reciprocal":
            with np.errstate(all="ignore"):
                root = x if call.name == "reciprocal" else np.sqrt(x)
                wide = root if call.name == "sqrt" else 1.0 / root
        case "softplus" if walk.number(call, "beta", 1.0) == 1.0:
            wide = smooth_value("softplus", x)
        case name if name in SMOOTH:
            wide = smooth_value(SMOOTH[name].function, x)
        case _:
            raise Refusal("it is applied to a constant", "compute constant parts beforehand")
    return _rounded(walk, call.name, x, wide)


def _rounded(walk: Walk, name: str, x: np.ndarray, wide: np.ndarray) -> Constant:
    with np.errstate(all="ignore"):
        narrow = wide.astype(np.float32)
        back = narrow.astype(np.float64)
    if not bool(np.isfinite(narrow).all()):
        raise Refusal("a constant that it needs is not finite", "repair the network")
    exact = {"sqrt": back * back == x, "reciprocal": back * x == 1.0, "square": back == wide}.get(name)
    if walk.constants == "exact" and not (exact is not None and bool(exact.all())):
        raise Refusal("a constant that it needs has no exact binary32 form", NEAREST)
    return Constant(narrow)
