"""A reward net of the `imitation` library as an artifact, made inside the user's own process, as the user calls it.

Nothing of that library is imported: the live object is read through what it shows of itself. What such a net means
depends on how it is called, so all of that is said explicitly: `call` (`predict` leaves out what `predict_processed`
does on top, such as normalisation), the discount of a potential shaping, and termination (`done`, a record or a
constant), by which the potential of the state that follows is dropped. Wrappers are taken off one by one; a net's own
`forward` goes through `torch.export`. In the end the artifact is held against the very call it stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rewarden.reward.agreement import check_agreement
from rewarden.reward.artifact import Artifact, Identified, RewardRecord
from rewarden.reward.assembly import Assembly
from rewarden.reward.imports.aten import assemble
from rewarden.reward.imports.exported import export_module, program_of
from rewarden.reward.imports.gates import with_gates
from rewarden.reward.imports.layout import Block
from rewarden.reward.imports.program import batch_of
from rewarden.reward.imports.provenance import imported
from rewarden.reward.imports.spaces import Coding, coding_of, values_of
from rewarden.reward.operators import Constant, Constants, Operators, Row
from rewarden.reward.refusals import Refusal
from rewarden.reward.torch_import import check_storage
from rewarden.spec_lang.errors import ArtifactError, Unsupported
from rewarden.spec_lang.features import RecordType

CallName = Literal["predict", "predict_processed"]
PARTS = ("state", "action", "next_state", "done")
PARAMS = {"state": "s", "action": "a", "next_state": "s2", "done": "end"}
MOST_DEEP = 32  # wrappers around wrappers


@dataclass(frozen=True, slots=True)
class Reads:
    """How a net is called: the records that take the place of its four arguments, and what is explicit of the call.

    A part that is None is not a record of the reward; `done` may be a constant instead. The reward's parameters are
    called s, a, s2 and end, as far as they are there.
    """

    state: RecordType | None = None
    action: RecordType | None = None
    next_state: RecordType | None = None
    done: RecordType | bool | None = None

    def records(self) -> tuple[tuple[str, RecordType], ...]:
        given = ((part, getattr(self, part)) for part in PARTS)
        return tuple((PARAMS[part], kind) for part, kind in given if isinstance(kind, RecordType))


def from_reward_net(
    net: nn.Module,
    reads: Reads,
    *,
    call: CallName,
    discount: float | None = None,
    identified: Identified = "exact",
    constants: Constants = "exact",
) -> Artifact:
    """The artifact of `net.predict` or `net.predict_processed`, as `call` says.

    `discount` is that of the net's potential shaping, and has to be said where there is one: it is compared, not set.
    Raises ArtifactError (A33 no reward net, A38 it reads what is not given, A39 another discount, A32, A18) and
    Unsupported (X20 an operator or wrapper, X21 not traceable, X23 it computes something else).
    """
    _check_net(net, call)
    records = reads.records()
    if not records:
        raise ArtifactError("A38", "no record is given", help="say what the state is: state=spec.features[…]")
    with _in_evaluation(net):
        check_storage(net)
        conversion = _Conversion.start(net, reads, constants, discount)
        node = conversion.convert(net, call, 0)
        if discount is not None and not conversion.discounts:
            raise ArtifactError("A39", f"the net has no shaping that discount {discount} could be of", help=_UNSHAPED)
        columns = [column for _, kind in records for column in kind.columns()]
        assembled = with_gates(conversion.ops.build.finish(node), columns)
        artifact = Artifact(
            records=tuple(RewardRecord(param, kind.unqualified()) for param, kind in records),
            graph=assembled.graph,
            tensors=assembled.tensors,
            identified=identified,
            learner=imported("imitation", conversion.record(net), _options(reads, call, discount, constants)),
        )
        check_agreement(artifact, conversion.called(net, call), f"{type(net).__name__}.{call}")
    return artifact


def _check_net(net: nn.Module, call: str) -> None:
    wanted = ("observation_space", "action_space", "predict", "predict_processed", "preprocess")
    if not isinstance(net, nn.Module) or not all(hasattr(net, name) for name in wanted):
        raise ArtifactError(
            "A33",
            f"{type(net).__name__} is not a reward net of imitation's",
            help="pass the net itself; another torch module goes through rewarden.from_torch",
        )
    if call not in ("predict", "predict_processed"):
        raise ArtifactError("A38", f"call={call!r}", help='"predict", or "predict_processed" with what it does on top')


@contextmanager
def _in_evaluation(net: nn.Module) -> Iterator[None]:
    """As the net's own predictions are made: in eval mode; modes and buffers come back as they were."""
    modes = [(module, module.training) for module in net.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in net.buffers()]
    net.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)


def _options(reads: Reads, call: str, discount: float | None, constants: str) -> Mapping[str, str]:
    done = reads.done
    found = {
        "call": call,
        "constants": constants,
        "done": "a record" if isinstance(done, RecordType) else "not read" if done is None else str(done).lower(),
    }
    return found if discount is None else {**found, "discount": repr(float(discount))}


# ── taking the net apart ───────────────────────────────────────────────────────────────────────
@dataclass(slots=True)
class _Conversion:
    """The state of a conversion: the graph so far, what the net's four arguments are in it, what was found."""

    ops: Operators
    blocks: Mapping[str, Block | Constant]
    given: frozenset[str]
    codings: Mapping[str, Coding]
    reads: Reads
    discount: float | None
    discounts: list[float]
    norms: list[str]

    @classmethod
    def start(cls, net: nn.Module, reads: Reads, constants: Constants, discount: float | None) -> _Conversion:
        widths = [kind.width for _, kind in reads.records()]
        build = Assembly(sum(widths))
        ops = Operators(build, constants)
        starts = dict(zip((param for param, _ in reads.records()), np.cumsum([0, *widths]), strict=False))
        codings = {
            "state": coding_of(net.observation_space, "observation", bool(getattr(net, "normalize_images", True))),
            "action": coding_of(net.action_space, "action", bool(getattr(net, "normalize_images", True))),
        }
        codings["next_state"] = codings["state"]
        codings["done"] = Coding((), ("flag",), (1,))  # [n]
        blocks: dict[str, Block | Constant] = {}
        for part in PARTS:
            kind, coding = getattr(reads, part), codings[part]
            if isinstance(kind, RecordType):
                first = int(starts[PARAMS[part]])
                try:
                    node = coding.encode(build, build.columns(build.INPUT, first, first + kind.width), kind)
                except Refusal as refused:
                    message = f"record {kind.name} does not fit the net's {part}: {refused.message}"
                    raise ArtifactError("A32", message, help=refused.help) from None
                blocks[part] = Block(node, (1, *coding.shape), 0)
            else:  # a constant: that of `done`, or 0 for a part that is not given and that nothing may read
                blocks[part] = Constant(np.full((1, *coding.shape), 1.0 if kind is True else 0.0, np.float32))
        given = frozenset(part for part in PARTS if getattr(reads, part) is not None)
        return cls(ops, blocks, given, codings, reads, discount, [], [])

    def convert(self, net: nn.Module, call: str, depth: int) -> int:
        """The node of what the call gives. Raises Unsupported (X20) for a wrapper that is not known."""
        name = type(net).__name__
        if depth > MOST_DEEP:
            raise Unsupported("X20", f"{name}: more than {MOST_DEEP} wrappers", help="pass the net inside")
        if hasattr(net, "members") and hasattr(net, "num_members"):
            return self._mean(
                [self.convert(member, "predict_processed", depth + 1) for member in cast(Any, net).members], name
            )
        base = getattr(net, "base", None)
        if isinstance(base, nn.Module) and hasattr(net, "normalize_output_layer"):
            inner = self.convert(base, call, depth + 1)
            return inner if call == "predict" else self._normalised(inner, net)
        if isinstance(base, nn.Module) and hasattr(net, "default_alpha"):
            alpha = float(cast(float, net.default_alpha))
            if call == "predict_processed" and alpha != 0.0:
                raise Unsupported(
                    "X20",
                    f"{name}: it adds {alpha} times a standard deviation, which has no form here",
                    help="convert net.base, the mean; or the members one by one, and state rules about each",
                )
            return self.convert(base, "predict", depth + 1)
        if _changes_prediction(net):
            raise Unsupported(
                "X20",
                f"{name}: it changes what {call} gives, in a way that is not known",
                help='convert what it wraps (net.base), or say call="predict" of that',
            )
        return self._forward(net)

    def _mean(self, nodes: list[int], name: str) -> int:
        try:
            whole = Row(self.ops.build.concat(nodes))
            return self.ops.row(self.ops.mean(whole))
        except Refusal as refused:
            raise Unsupported("X20", f"{name}: {refused.message}", help=refused.help) from None

    def _normalised(self, node: int, net: nn.Module) -> int:
        """The output layer in eval mode: its running numbers are frozen as they are."""
        layer = cast(nn.Module, net.normalize_output_layer)
        self.norms.append(type(layer).__name__)
        return self._traced(layer, [Block(node, (1,), 0)], f"{type(net).__name__}.normalize_output_layer")

    def _forward(self, net: nn.Module) -> int:
        self._check_shaping(net)
        return self._traced(net, [self.blocks[part] for part in PARTS], type(net).__name__)

    def _check_shaping(self, net: nn.Module) -> None:
        """The discount of a shaping anywhere in the net is said, and so are the parts that shaping reads."""
        for module in net.modules():
            if not (hasattr(module, "potential") and hasattr(module, "discount_factor")):
                continue
            found = float(cast(float, module.discount_factor))
            if self.discount is None:
                raise ArtifactError(
                    "A39",
                    f"{type(module).__name__} shapes its reward with a potential, discounted by {found}",
                    help=f"say so: discount={found}; or convert the unshaped reward, net.base",
                )
            if float(self.discount) != found:
                raise ArtifactError(
                    "A39",
                    f"{type(module).__name__} discounts by {found}, not by {self.discount}",
                    help="say the net's own discount; a reward that is shaped with another is another reward",
                )
            self.discounts.append(found)

    def _traced(self, module: nn.Module, blocks: Sequence[Block | Constant], name: str) -> int:
        shapes = [block.shape if isinstance(block, Block) else block.array.shape for block in blocks]
        program = program_of(export_module(module, [shape[1:] for shape in shapes]))
        read = {name for call in program.needed() for name in call.references()} | {program.output}
        if len(blocks) == len(PARTS):
            for part, taken in zip(PARTS, program.inputs, strict=True):
                if taken in read and part not in self.given:
                    raise ArtifactError("A38", f"{name} reads the {_WORDS[part]}, which is not given", help=_GIVE[part])
        return assemble(program, self.ops.build, blocks, self.ops.constants, batch_of(program))

    # ── what it is held against, and what it says of itself ────────────────────────────────────
    def called(self, net: nn.Module, call: str) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        """The call itself, on encoded rows: each part decoded to what an environment would give."""
        records = self.reads.records()
        widths = [kind.width for _, kind in records]

        def run(rows: NDArray[np.float32]) -> NDArray[np.float32]:
            columns = dict(zip((param for param, _ in records), np.split(rows, np.cumsum(widths)[:-1], 1), strict=True))
            given: list[Any] = []
            for part in PARTS:
                kind, coding = getattr(self.reads, part), self.codings[part]
                if isinstance(kind, RecordType):
                    given.append(values_of(coding, columns[PARAMS[part]], kind))
                else:
                    space = {"action": net.action_space, "done": None}.get(part, net.observation_space)
                    given.append(coding.constant(len(rows), 1.0 if kind is True else 0.0, space))
            options = {"update_stats": False} if call == "predict_processed" else {}
            done = np.asarray(given[3]).reshape(-1).astype(bool)
            return np.asarray(getattr(net, call)(given[0], given[1], given[2], done, **options), np.float32)

        return run

    def record(self, net: nn.Module) -> Mapping[str, str]:
        chain: list[str] = []
        inner = net
        while isinstance(inner, nn.Module) and len(chain) < MOST_DEEP:
            chain.append(type(inner).__name__)
            inner = cast(nn.Module, getattr(inner, "base", None))
        found = {"net": " of ".join(chain), "reads": ", ".join(part for part in PARTS if part in self.given)}
        if self.norms:
            found["normalised by"] = ", ".join(self.norms) + ", its running mean and variance frozen"
        if self.discounts:
            found["shaped"] = "discount · potential(next state), 0 where done, − potential(state)"
            found["discount"] = ", ".join(repr(discount) for discount in self.discounts)
        return found


def _changes_prediction(net: nn.Module) -> bool:
    """A net of its own whose prediction is not that of its forward: it overrides what the base of all nets defines."""
    root = next((kind for kind in type(net).__mro__[::-1] if "predict_processed" in vars(kind)), None)
    if root is None:
        return True
    own = ("predict_processed", "predict", "predict_th")
    return any(getattr(type(net), name, None) is not getattr(root, name, None) for name in own)


_WORDS = {"state": "state", "action": "action", "next_state": "next state", "done": "end of the episode"}
_GIVE = {
    "state": "say what it is: state=spec.features[…]",
    "action": "say what it is: action=spec.features[…]",
    "next_state": "say what it is: next_state=spec.features[…], for reward R(s: …, a: …, s2: …)",
    "done": "say whether an episode ends: done=False (never), done=True, or done=spec.features[…] with one bool",
}
_UNSHAPED = "leave discount out"
