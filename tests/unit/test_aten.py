"""Programs that no module ever made: refused with a code, at once and in little memory."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
import torch

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.assembly import Assembly
from rewarden.reward.exact import evaluate_row
from rewarden.reward.imports.aten import assemble
from rewarden.reward.imports.layout import of_row
from rewarden.reward.imports.program import Call, Program
from rewarden.reward.imports.program import Ref as R
from rewarden.spec_lang.errors import RewardenError
from rewarden.spec_lang.features import Feature, RecordType

B = 1 << 39
MOST = 160 << 20


def prog(calls, output, shapes, constants=None, width=4):
    made = tuple(Call(operator, arguments, (name,), name) for name, operator, arguments in calls)
    return Program(("x",), constants or {}, made, output, {"x": ("s", width), **shapes})


HOSTILE = {
    "expand": (prog([("e", "expand.default", {"self": R("x"), "size": (-1, B)})], "e", {"e": ("s", B)}, width=1), 1),
    "expand const": (
        prog(
            [
                ("e", "expand.default", {"self": R("c"), "size": (B,)}),
                ("f", "add.Tensor", {"self": R("x"), "other": R("e")}),
            ],
            "f",
            {"e": (B,)},
            {"c": np.zeros(1, np.float32)},
        ),
        4,
    ),
    "const outer": (
        prog(
            [
                ("e", "mul.Tensor", {"self": R("c"), "other": R("d")}),
                ("f", "add.Tensor", {"self": R("x"), "other": R("e")}),
            ],
            "f",
            {},
            {"c": np.zeros((1 << 20, 1), np.float32), "d": np.zeros((1, 1 << 20), np.float32)},
        ),
        4,
    ),
    "repeat": (
        prog(
            [
                ("e", "repeat.default", {"self": R("c"), "repeats": (1 << 30, 1 << 20)}),
                ("f", "add.Tensor", {"self": R("x"), "other": R("e")}),
            ],
            "f",
            {"e": (1 << 30, 1 << 20)},
            {"c": np.zeros(1, np.float32)},
        ),
        4,
    ),
    "broadcast row": (
        prog(
            [("e", "add.Tensor", {"self": R("x"), "other": R("c")})],
            "e",
            {},
            {"c": np.zeros((1 << 16, 1, 1), np.float32)},
            width=1 << 16,
        ),
        1 << 16,
    ),
    "sum groups": (
        prog(
            [
                ("v", "unsqueeze.default", {"self": R("x"), "dim": 2}),
                ("e", "sum.dim_IntList", {"self": R("v"), "dim": (2,)}),
            ],
            "e",
            {"v": ("s", 1 << 16, 1)},
            width=1 << 16,
        ),
        1 << 16,
    ),
    "flip": (prog([("e", "flip.default", {"self": R("x"), "dims": (1,)})], "e", {}, width=1 << 16), 1 << 16),
    "kron": (
        prog(
            [
                ("v", "view.default", {"self": R("x"), "size": (-1, 1 << 14, 4)}),
                ("e", "linear.default", {"input": R("v"), "weight": R("w")}),
            ],
            "e",
            {"v": ("s", 1 << 14, 4)},
            {"w": np.zeros((64, 4), np.float32)},
            width=1 << 16,
        ),
        1 << 16,
    ),
    "cat doubling": (
        prog(
            [(f"e{k}", "cat.default", {"tensors": (R(f"e{k - 1}" if k else "x"),) * 2, "dim": 1}) for k in range(60)],
            "e59",
            {},
            width=4,
        ),
        4,
    ),
    "stack dims": (prog([("e", "stack.default", {"tensors": (R("x"),), "dim": 10**9})], "e", {}), 4),
    "permute": (prog([("e", "permute.default", {"self": R("x"), "dims": (0,) * 50})], "e", {}), 4),
    "slice": (
        prog([("e", "slice.Tensor", {"self": R("x"), "dim": 1, "start": "a", "end": None, "step": 0})], "e", {}),
        4,
    ),
    "index_select huge": (
        prog(
            [("e", "index_select.default", {"self": R("x"), "dim": 1, "index": R("i")})],
            "e",
            {},
            {"i": np.zeros(1 << 24, np.int64)},
        ),
        4,
    ),
    "zeros const join": (
        prog(
            [("e", "cat.default", {"tensors": (R("x"), R("c")), "dim": 1})],
            "e",
            {"c": ("s", 1 << 24)},
            {"c": np.zeros((1, 1 << 24), np.float32)},
        ),
        4,
    ),
    "self ref": (prog([("e", "add.Tensor", {"self": R("e"), "other": R("x")})], "e", {}), 4),
    "cycle": (prog([("a", "relu.default", {"self": R("b")}), ("b", "relu.default", {"self": R("a")})], "a", {}), 4),
    "none dims": (prog([("e", "sum.dim_IntList", {"self": R("x"), "dim": (99,)})], "e", {}), 4),
    "narrow": (prog([("e", "narrow.default", {"self": R("x"), "dim": 1, "start": 0, "length": 10**12})], "e", {}), 4),
    "select true": (prog([("e", "select.int", {"self": R("x"), "dim": "x", "index": 0})], "e", {}), 4),
    "deep tuple": (prog([("e", "cat.default", {"tensors": ((R("x"),),), "dim": 1})], "e", {}), 4),
    "huge alpha": (prog([("e", "add.Tensor", {"self": R("x"), "other": R("x"), "alpha": 1e300})], "e", {}), 4),
    "nan clamp": (prog([("e", "clamp.default", {"self": R("x"), "min": float("nan")})], "e", {}), 4),
    "leaky nan": (prog([("e", "leaky_relu.default", {"self": R("x"), "negative_slope": float("nan")})], "e", {}), 4),
    "pow inf": (prog([("e", "pow.Tensor_Scalar", {"self": R("x"), "exponent": float("inf")})], "e", {}), 4),
    "softplus beta0": (prog([("e", "softplus.default", {"self": R("x"), "beta": 0.0})], "e", {}), 4),
    "elu nan": (prog([("e", "elu.default", {"self": R("x"), "alpha": float("nan")})], "e", {}), 4),
    "bn eps": (
        prog(
            [
                (
                    "e",
                    "batch_norm.default",
                    {"input": R("x"), "running_mean": R("c"), "running_var": R("c"), "eps": -1.0},
                )
            ],
            "e",
            {},
            {"c": np.zeros(4, np.float32)},
        ),
        4,
    ),
    "int overflow": (prog([("e", "mul.Tensor", {"self": R("x"), "other": 10**400})], "e", {}), 4),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_programs(name):
    program, width = HOSTILE[name]
    build = Assembly(width)
    tracemalloc.start()
    try:
        with pytest.raises(RewardenError) as caught:
            assemble(program, build, [of_row(0, width)], "nearest", "s")
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()
    assert caught.value.code in ("X20", "A20", "A32")
    assert caught.value.help


def test_weights_are_counted_as_they_are_made(monkeypatch):
    """However many small steps a program takes, it stops where its weights become too many."""
    monkeypatch.setattr("rewarden.reward.imports.aten.MAX_ELEMENTS", 1 << 20)
    calls = [(f"e{k}", "flip.default", {"self": R(f"e{k - 1}" if k else "x"), "dims": (1,)}) for k in range(100)]
    build = Assembly(256)
    with pytest.raises(RewardenError, match="more than 1048576 weights"):
        assemble(prog(calls, "e99", {}, width=256), build, [of_row(0, 256)], "exact", "s")
    assert build.weights < 1 << 21


@pytest.mark.parametrize("of", ["x", "c"])
def test_the_factor_of_rsub_is_the_first_operands(of):
    """other − alpha·self, as torch has it; a constant among the operands or not."""
    other = "c" if of == "x" else "x"
    calls = [("e", "rsub.Tensor", {"self": R(of), "other": R(other), "alpha": 2})]
    constant = np.array([[3.0]], np.float32)
    program = prog(calls, "e", {"e": ("s", 1)}, {"c": constant}, width=1)
    build = Assembly(1)
    assembled = build.finish(assemble(program, build, [of_row(build.INPUT, 1)], "exact", "s"))
    kind = RecordType("T", (Feature("x", "real", Fraction(-9), Fraction(9)),))
    artifact = Artifact((RewardRecord("s", kind),), assembled.graph, assembled.tensors, "exact")
    found = evaluate_row(artifact, np.array([5.0], np.float32))
    x = {"x": torch.tensor([[5.0]]), "c": torch.from_numpy(constant)}
    assert float(found) == float(torch.ops.aten.rsub(x[of], x[other], alpha=2))
