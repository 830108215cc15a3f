"""A program of ATen calls as a graph of ours, call by call; what is not known is refused by the name of its layer.

Only the calls that the output depends on are read. After each one the shape that was found is held against the shape
that was exported, so that an operator that means something else than we think, or a network that mixes rows, is refused
where it happens. What only constants go into is computed here, exactly, or rounded where `constants` allows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rewarden.reward.assembly import Assembly
from rewarden.reward.graph import Tanh
from rewarden.reward.imports.aten_constants import SMOOTH, folded
from rewarden.reward.imports.aten_linear import linear, reduce
from rewarden.reward.imports.aten_moves import MOVES, Moves
from rewarden.reward.imports.layout import Block, broadcast, check_shape, check_size, common
from rewarden.reward.imports.program import Argument, Call, Program, Ref, Symbol
from rewarden.reward.operators import Bell, Constant, Constants, Operators, Row, Value, nearest
from rewarden.reward.refusals import HEAD, Refusal, refusal, refuse_calls, unsupported
from rewarden.reward.widths import MAX_ELEMENTS, MAX_NODES, MAX_WIDTH
from rewarden.spec_lang.errors import ArtifactError

STEEP = 15.0  # torch's softplus is x beyond its threshold: that far out, this is within the rounding of binary32
SAME = ("clone", "contiguous", "detach", "alias", "lift_fresh_copy", "identity")
MOST_FOLDED = 1 << 24  # numbers of a constant that is made of others
PAIRS = {"add": "add", "sub": "sub", "mul": "mul", "div": "div", "maximum": "larger", "minimum": "smaller"}
LIKE = {"zeros_like": 0.0, "ones_like": 1.0, "full_like": None}
MADE = ("zeros", "ones", "full", "empty", "arange", "eye", "linspace", "new_zeros", "new_ones", "new_full", "new_empty")
RANDOM = ("dropout", "native_dropout", "alpha_dropout", "feature_dropout")
BATCH_NORMS = ("batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "native_batch_norm")


@dataclass(frozen=True, slots=True)
class Curve:
    """A part of a GELU that is on its way (`operators.Bell`), in the shape in which the network sees it."""

    bell: Bell
    shape: tuple[int, ...]
    batch: int


Held = Block | Constant | Curve
ROWS = Symbol("the number of rows")


def assemble(
    program: Program, build: Assembly, inputs: Sequence[Block | Constant], constants: Constants, batch: str
) -> int:
    """The node of the program's output; `batch` is what its shapes call the rows.

    An input may be a constant, with size 1 at the place of the rows: the same for every row.

    Raises Unsupported (X20, with the place) and ArtifactError (A32: the output is not one number per row).
    """
    walk = Walk(program, Operators(build, constants), constants, batch)
    for name, given in zip(program.inputs, inputs, strict=True):
        walk.values[name] = given
    for name, array in program.constants.items():
        walk.values[name] = Constant(array)
    changing = program.in_place()
    if changing is not None:
        refused = Refusal("it changes a tensor in place", "export it as torch.export.export(…).run_decompositions({})")
        raise unsupported(changing.place, refused)
    needed = program.needed()
    if len(needed) > MAX_NODES:
        raise ArtifactError("A20", f"the network has {len(needed)} operations", help=f"at most {MAX_NODES} are read")
    refuse_calls(needed)
    for call in needed:
        try:
            with np.errstate(all="ignore"):  # constants that overflow are told by their values
                walk.visit(call)
        except Refusal as refused:
            raise unsupported(call.place, refused) from None
        except (
            ValueError,
            IndexError,
            TypeError,
            KeyError,
            OverflowError,
        ) as error:  # an archive's calls need not make sense
            broken = Refusal(f"it does not fit what it is applied to: {error}"[:200], "export the network again")
            raise unsupported(call.place, broken) from None
    result = walk.values.get(program.output)
    if not isinstance(result, Block) or result.width != 1:
        width = result.width if isinstance(result, Block) else 0
        raise ArtifactError("A32", f"the network gives {width} columns", help="a reward is one number per row")
    return result.node


@dataclass(slots=True)
class Walk:
    """The state of a walk over a program: every value so far, by name."""

    program: Program
    ops: Operators
    constants: Constants
    batch: str
    values: dict[str, Held | Symbol] = field(default_factory=dict)
    readers: Mapping[str, frozenset[str]] = field(init=False)

    def __post_init__(self) -> None:
        self.readers = self.program.readers()

    def visit(self, call: Call) -> None:
        for output, value in zip(call.outputs, self._apply(call), strict=False):
            if isinstance(value, Block):
                check_shape(value, self.program.shapes.get(output), self.batch)
            self.values[output] = value
        if self.ops.build.weights > MAX_ELEMENTS:
            raise Refusal(f"the network makes more than {MAX_ELEMENTS} weights", "import its head alone")

    # ── arguments ──────────────────────────────────────────────────────────────────────────────
    def held(self, call: Call, name: str, usual: Argument = None) -> Held:
        """An argument that is a tensor, or a number as the binary32 constant that torch makes of it."""
        return self.as_held(call.arguments.get(name, usual))

    def as_held(self, given: Argument) -> Held:
        match given:
            case Ref(name) if isinstance(held := self.values.get(name), Block | Constant | Curve):
                return held
            case Ref(name) if name in self.values:
                return self.as_held(ROWS)
            case Ref(name):
                raise Refusal(f"it reads {name}, which is not a tensor of the network's", "use parameters and buffers")
            case bool() | None:
                raise Refusal(f"it is given {given} where a tensor belongs", "use tensors and numbers")
            case int() | float():
                return Constant(np.array(given, np.float32))
            case Symbol():
                raise Refusal("it computes with the number of rows", "let each row be judged on its own")
            case _:
                raise Refusal(f"it is given {type(given).__name__} where a tensor belongs", "use tensors and numbers")

    def block(self, call: Call, name: str = "self") -> Block:
        return self.as_block(self.held(call, name))

    def as_block(self, value: Held) -> Block:
        match value:
            case Block():
                return value
            case Constant():
                raise Refusal("it is applied to a constant", "compute constant parts beforehand")
            case Curve():
                self.ops.row(value.bell)  # refused
                raise AssertionError("a part of a GELU is no row")

    def number(self, call: Call, name: str, usual: float) -> float:
        given = call.arguments.get(name, usual)
        if isinstance(given, bool) or not isinstance(given, int | float):
            raise Refusal(f"its {name} is not a number", "export the network with fixed numbers")
        return float(given)

    # ── operators ──────────────────────────────────────────────────────────────────────────────
    def _apply(self, call: Call) -> Sequence[Held | Symbol]:
        name = call.name
        if name == "sym_size":
            return (ROWS,)
        if name in MOVES:
            return Moves(self.ops.build, self.program.shapes, self.values).apply(call)
        if name in PAIRS:
            return (self._arithmetic(call),)
        if name in ("sum", "mean", "amin", "amax", "min", "max"):
            return (reduce(self, call),)
        if name in ("linear", "addmm", "matmul", "mm", "mv"):
            return (linear(self, call),)
        if name in SAME:
            return (self.held(call, "self"),)
        if name in RANDOM:
            return (self._random(call),)
        if name in BATCH_NORMS:
            return (self._batch_norm(call),)
        if name in LIKE:
            return (self._alike(call),)
        if name in MADE:
            raise Refusal("it makes a tensor while the network runs", "make it beforehand, with register_buffer")
        if name in ("to", "_to_copy"):
            return (self._precision(call),)
        return (self._elementwise(call),)

    def _elementwise(self, call: Call) -> Held:
        ops, source = self.ops, self.held(call, "self", self._first(call))
        if isinstance(source, Constant):
            return folded(self, call, source)
        if call.name == "erf" and isinstance(source, Curve):
            return self._like(source, ops.erf(source.bell))
        row = Row(self.as_block(source).node)
        match call.name:
            case "relu":
                return self._like(source, Row(ops.build.relu(row.node)))
            case "neg":
                return self._like(source, ops.negative(row))
            case "abs":
                return self._like(source, Row(ops.build.absolute(row.node)))
            case name if name in SMOOTH:
                return self._like(source, ops.smooth(SMOOTH[name], row))
            case "rsub":
                return self.pair(self.held(call, "other"), self._negative(self.times(source, call)), ops.add)
            case "leaky_relu":
                return self._like(source, ops.leaky(row, self.number(call, "negative_slope", 0.01)))
            case "prelu" | "_prelu_kernel":
                return self._prelu(self.as_block(source), self.held(call, "weight"))
            case "clamp" | "clip" | "hardtanh" | "clamp_min" | "clamp_max" | "relu6":
                return self._clamp(call, self.as_block(source))
            case "erf":
                return self._like(source, ops.erf(row))
            case "gelu":
                return self._like(source, ops.gelu(row, str(call.arguments.get("approximate", "none"))))
            case "softplus":
                return self._like(source, self._softplus(call, row))
            case "log_sigmoid":
                return self._like(source, ops.negative(ops.softplus(ops.negative(row), 1.0)))
            case "elu" if self.number(call, "scale", 1.0) == 1.0 and self.number(call, "input_scale", 1.0) == 1.0:
                return self._like(source, ops.elu(row, self.number(call, "alpha", 1.0)))
            case "mish":
                return self._like(source, ops.mish(row))
            case "hardsigmoid" | "hardswish":
                bent = ops.div(ops.clip(ops.add(row, nearest(3.0)), 0.0, 6.0), nearest(6.0))
                return self._like(source, bent if call.name == "hardsigmoid" else ops.mul(row, bent))
            case "tanhshrink":
                return self._like(source, ops.sub(row, ops.smooth(Tanh, row)))
            case "pow":
                return self._like(source, ops.power(row, self.constant(call, "exponent")))
            case _:
                raise refusal("torch", call.name) or Refusal(
                    "this operator cannot be imported",
                    "use linear layers, ReLU and its kin, tanh, sigmoid, softplus, GELU, SiLU, exp, squares, products,"
                    f" min, max, abs, sums; or {HEAD}",
                )

    def _first(self, call: Call) -> Argument:
        """The first argument: not every schema calls it `self`."""
        return next(iter(call.arguments.values()), None)

    def _arithmetic(self, call: Call) -> Held:
        first, second = self.held(call, "self"), self.held(call, "other")
        if call.arguments.get("rounding_mode") is not None:
            raise Refusal("it rounds", "divide without rounding")
        if call.name in ("add", "sub"):
            second = self.times(second, call)
        if call.name in ("mul", "div") and self.readers.get(call.outputs[0]) == frozenset({"erf"}):
            found = self._root_of_two(first, second, dividing=call.name == "div")
            if found is not None:
                return found
        operator: Callable[[Value, Value], Value] = getattr(self.ops, PAIRS[call.name])
        return self.pair(first, second, operator)

    def times(self, value: Held, call: Call) -> Held:
        """`alpha`, by which additions and subtractions multiply their second operand."""
        alpha = self.number(call, "alpha", 1.0)
        return value if alpha == 1.0 else self.pair(value, nearest(alpha), self.ops.mul)

    def _negative(self, value: Held) -> Held:
        return self.pair(value, nearest(-1.0), self.ops.mul)

    def _root_of_two(self, first: Held, second: Held, *, dividing: bool) -> Held | None:
        """Where only an erf reads x/√2, it is known what is meant."""
        for one, other in ((first, second),) if dividing else ((first, second), (second, first)):
            if isinstance(one, Block) and isinstance(other, Constant) and other.array.size == 1:
                found = self.ops.root_of_two(Row(one.node), other, dividing=dividing)
                if isinstance(found, Bell):
                    return Curve(found, one.shape, one.batch)
        return None

    def pair(self, first: Held, second: Held, operator: Callable[[Value, Value], Value]) -> Held:
        """An elementwise operator of two operands, broadcast as numpy and torch do."""
        match first, second:
            case Constant(), Constant():
                if math.prod(np.broadcast_shapes(first.array.shape, second.array.shape)) > MOST_FOLDED:
                    raise Refusal("it makes a constant of too many numbers", "compute constant parts beforehand")
                found = operator(first, second)
                assert isinstance(found, Constant), "an operator of constants gives a constant"
                return found
            case (Block(), Block()):
                shape, batch = common(first, second)
                one, other = (broadcast(self.ops.build, block, shape, batch) for block in (first, second))
                return self._like(one, operator(Row(one.node), Row(other.node)))
            case (Constant(), _):
                block, array = self._spread(second, first)
                return self._like(block, operator(array, _inner(block)))
            case (_, Constant()):
                block, array = self._spread(first, second)
                return self._like(block, operator(_inner(block), array))
            case (Block() | Curve(), Block() | Curve()):
                if first.shape != second.shape:
                    raise Refusal("erf is known as part of a GELU only, x·(1 + erf(x/√2))/2", "use GELU")
                return self._like(first, operator(_inner(first), _inner(second)))
            case _:
                raise AssertionError("operands are blocks, constants or parts of a GELU")

    def _spread(self, value: Held, constant: Constant) -> tuple[Block | Curve, Constant]:
        """A block and a constant at their common shape; the constant as one number per column."""
        assert not isinstance(value, Constant), "two constants are folded"
        try:
            shape = np.broadcast_shapes(value.shape, constant.array.shape)
        except ValueError:
            raise Refusal(
                f"a constant of shape {list(constant.array.shape)} does not fit {max(value.shape)} columns",
                "give one number per column",
            ) from None
        batch = value.batch + len(shape) - len(value.shape)
        if shape[batch] != 1:
            raise Refusal("a constant has one number per row", "let each row be judged on its own")
        if isinstance(value, Block):
            value = broadcast(self.ops.build, value, shape, batch)
        elif shape != value.shape:
            raise Refusal("erf is known as part of a GELU only, x·(1 + erf(x/√2))/2", "use GELU")
        if math.prod(shape) > MAX_WIDTH:
            check_size(math.prod(shape), 1)
        if constant.array.size == 1:
            return value, Constant(constant.array.reshape(()))
        return value, Constant(np.ascontiguousarray(np.broadcast_to(constant.array, shape)).reshape(-1))

    def _like(self, place: Block | Curve, value: Value) -> Held:
        match value:
            case Row(node):
                return Block(node, place.shape, place.batch)
            case Bell():
                return Curve(value, place.shape, place.batch)
            case Constant():
                return value

    # ── layers with numbers of their own ───────────────────────────────────────────────────────
    def constant(self, call: Call, name: str) -> Constant:
        value = self.held(call, name)
        if not isinstance(value, Constant):
            raise Refusal(f"its {name} depends on the input", "networks with learned inputs here are not supported")
        return value

    def _prelu(self, block: Block, weight: Held) -> Held:
        """max(x, 0) + slope·min(x, 0), with one slope or one per column."""
        if not isinstance(weight, Constant):
            raise Refusal("its slope depends on the input", "use a fixed slope")
        slopes = self.ops.array(weight).reshape(-1)
        if slopes.size == 1 and 0.0 <= float(slopes[0]) <= 1.0:
            return self._like(block, self.ops.leaky(Row(block.node), float(slopes[0])))
        below = self.pair(block, nearest(0.0), self.ops.smaller)
        bent = self.pair(below, Constant(slopes), self.ops.mul)
        return self.pair(self._like(block, Row(self.ops.build.relu(block.node))), bent, self.ops.add)

    def _clamp(self, call: Call, block: Block) -> Held:
        """Bounds are numbers, constants, or missing."""
        if call.name == "relu6":
            return self._like(block, self.ops.clip(Row(block.node), 0.0, 6.0))
        names = ("min_val", "max_val") if call.name == "hardtanh" else ("min", "max")
        usual = (-1.0, 1.0) if call.name == "hardtanh" else (None, None)
        bounds = [call.arguments.get(name, other) for name, other in zip(names, usual, strict=True)]
        if any(isinstance(bound, Ref) for bound in bounds):
            found: Held = block
            for bound, operator in zip(bounds, (self.ops.larger, self.ops.smaller), strict=True):
                found = found if bound is None else self.pair(found, self.as_held(bound), operator)
            return found
        low, high = (None if bound is None else float(bound) for bound in bounds)
        return self._like(block, self.ops.clip(Row(block.node), low, high))

    def _softplus(self, call: Call, row: Row) -> Value:
        threshold = self.number(call, "threshold", 20.0)
        if threshold < STEEP:
            raise Refusal(f"it bends away from softplus at {threshold}", f"use a threshold of at least {STEEP:.0f}")
        return self.ops.softplus(row, self.number(call, "beta", 1.0))

    def _random(self, call: Call) -> Held:
        if call.arguments.get("train") and self.number(call, "p", 0.5) > 0.0:
            raise Refusal("it is random while the module is in training mode", "pass module.eval()")
        return self.held(call, "input")

    def _batch_norm(self, call: Call) -> Held:
        block = self.block(call, "input")
        if call.arguments.get("training", False):
            raise Refusal("it depends on the batch while the module is in training mode", "pass module.eval()")
        if any(call.arguments.get(name) is None for name in ("running_mean", "running_var")):
            raise Refusal("it depends on the batch", "track its statistics")
        if block.shape != (1, block.width):
            raise Refusal("it normalises channels", "normalise columns: [n, columns]")
        ones, zeros = (np.full(block.width, number, np.float32) for number in (1.0, 0.0))
        scale, shift, mean, variance = (
            usual if call.arguments.get(name) is None else self.ops.array(self.constant(call, name))
            for name, usual in (("weight", ones), ("bias", zeros), ("running_mean", zeros), ("running_var", ones))
        )
        epsilon = self.number(call, "eps", 1e-5)
        return self._like(block, self.ops.batch_norm(Row(block.node), scale, shift, mean, variance, epsilon))

    def _alike(self, call: Call) -> Held:
        """One number in the shape of another value: wherever it is used, it is broadcast."""
        number = LIKE[call.name]
        return nearest(self.number(call, "fill_value", 0.0) if number is None else number)

    def _precision(self, call: Call) -> Held:
        if call.arguments.get("dtype") not in (None, "float32"):
            raise Refusal(f"it computes in {call.arguments['dtype']}", "compute in float32")
        return self.held(call, "self")


def _inner(value: Block | Curve) -> Value:
    return Row(value.node) if isinstance(value, Block) else value.bell
