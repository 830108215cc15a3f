"""What is never imported, by the name of the operator or layer: why, and the way out.

A reward's network may sit on an encoder that no verifier of scalar networks can bound. The encoder is frozen, so its
output can be the reward's features: the way out is to verify the layers that come after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rewarden.reward.onnx_inputs import network_input, not_one_output
from rewarden.reward.onnx_scan import Operator, Scan, scan
from rewarden.spec_lang.errors import Unsupported

if TYPE_CHECKING:  # numpy and all the language come with it
    from rewarden.reward.imports.program import Call

HEAD = (
    "verify the head over the frozen encoder's features: make a network of the layers that come after, whose input"
    " columns are the encoder's output, and import that"
)
STANDARD = ("", "ai.onnx")  # the domain of ONNX's own operators
EXPORTED = "rewarden.artifact"  # in the metadata of what `onnx_deployed` writes
OUT_AGAIN = "this file was exported to be run: use the artifact it was made of"
# what `onnx_import` has an answer to, for some of their inputs and attributes
IMPORTED = {
    name
    for names in (
        "Abs Add BatchNormalization Cast Clip Concat Constant Div Dropout Elu Erf Exp Flatten Gather Gelu Gemm",
        "HardSigmoid HardSwish Identity LeakyRelu MatMul Max Mean Min Mish Mul Neg PRelu Pow ReduceL1 ReduceMax",
        "ReduceMean ReduceMin ReduceSum ReduceSumSquare Relu Reshape Sigmoid Slice Softplus Squeeze Sub Sum Swish",
        "Tanh Transpose Unsqueeze",
    )
    for name in names.split()
}


class Refusal(Exception):
    """Why an operator cannot be imported, and the way out; caught by the importers, never seen by users."""

    def __init__(self, message: str, help: str) -> None:
        super().__init__(message)
        self.message = message
        self.help = help


CONVOLUTION = "convolutions and pooling are not supported"
ATTENTION = "softmax and attention are not supported"
RECURRENCE = "recurrence is not supported"
BRANCHES = "branches and loops are not supported"
NORMALISATION = "it normalises by the spread of its own input, which is not supported"
EMBEDDING = "look-ups are not supported"

_ONNX: dict[str, str] = {
    CONVOLUTION: """Conv ConvInteger ConvTranspose DeformConv QLinearConv AveragePool MaxPool MaxRoiPool LpPool
        GlobalAveragePool GlobalMaxPool GlobalLpPool MaxUnpool RoiAlign Resize Upsample""",
    ATTENTION: "Softmax LogSoftmax Hardmax Attention MultiHeadAttention GroupQueryAttention RotaryEmbedding Einsum",
    RECURRENCE: "LSTM GRU RNN",
    BRANCHES: "Loop If Scan SequenceMap",
    NORMALISATION: """LayerNormalization InstanceNormalization GroupNormalization RMSNormalization LpNormalization
        MeanVarianceNormalization LRN SkipLayerNormalization SimplifiedLayerNormalization""",
    EMBEDDING: "Gather GatherElements GatherND Embedding OneHot TopK NonZero",
}
_TORCH: dict[str, str] = {
    CONVOLUTION: """Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d LazyConv1d LazyConv2d Unfold
        Fold MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d AdaptiveAvgPool1d AdaptiveAvgPool2d
        AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d Upsample PixelShuffle
        conv1d conv2d conv3d max_pool1d max_pool2d avg_pool1d avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d""",
    ATTENTION: """MultiheadAttention Transformer TransformerEncoder TransformerEncoderLayer TransformerDecoder
        TransformerDecoderLayer Softmax LogSoftmax Softmax2d scaled_dot_product_attention softmax log_softmax
        matmul bmm einsum""",
    RECURRENCE: """LSTM GRU RNN LSTMCell GRUCell RNNCell lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell
        rnn_relu_cell""",
    NORMALISATION: """LayerNorm GroupNorm InstanceNorm1d InstanceNorm2d InstanceNorm3d RMSNorm LocalResponseNorm
        BatchNorm2d BatchNorm3d layer_norm group_norm instance_norm normalize""",
    EMBEDDING: "Embedding EmbeddingBag embedding gather index_select",
}
BY_ITS_OPERANDS = ("matmul", "bmm", "index_select")  # imported where one of them is a constant
_WHY = {
    source: {name: why for why, names in table.items() for name in names.split()}
    for source, table in (("onnx", _ONNX), ("torch", _TORCH))
}


def refusal(source: str, name: str) -> Refusal | None:
    """Why the operator or layer `name` of an "onnx" or "torch" network is not imported; None if nothing is known."""
    why = _WHY[source].get(name)
    return None if why is None else Refusal(why, HEAD)


def product_of_activations() -> Refusal:
    """A matrix product whose two sides both depend on the input."""
    return Refusal(f"it multiplies two matrices that both depend on the input: {ATTENTION}", HEAD)


def refuse_calls(calls: Iterable[Call]) -> None:
    """What the names of a torch program's operators, and of the layers that they are of, rule out. Raises Unsupported.

    An LSTM begins by making its zeros, and a cell is pieces that could be read: it is the layer that has a name.
    """
    known = list(calls)
    for call in known:
        why = None if call.name in BY_ITS_OPERANDS else refusal("torch", call.name)
        if why is not None:
            raise unsupported(call.place, why)
    for call in known:
        why = refusal("torch", call.layer)
        if why is not None:
            raise unsupported(call.place.rpartition(",")[0], why)


def unknown(kind: str, domain: str) -> Refusal | None:
    """Why an operator that is on no list is not imported; None if it is on one."""
    if domain not in STANDARD:
        return Refusal(f"it is not a standard operator (domain {domain[:80]!r})", "export with standard operators")
    return None if kind in IMPORTED else refusal("onnx", kind) or not_imported()


def not_imported() -> Refusal:
    """An operator, or a form of one, that the importer has no answer to."""
    return Refusal(
        "this operator cannot be imported",
        "use Gemm, MatMul, Add, Sub, Mul, Relu, LeakyRelu, Abs, Clip, Min, Max, Concat, reductions, Tanh, Sigmoid,"
        f" Softplus, Gelu, Elu, Mish, Exp, Pow by 2 or 3; or {HEAD}",
    )


def refuse_onnx(path: Path) -> Scan:
    """What the operators, the inputs and the outputs of an ONNX file rule out, before any weight is read and before the
    onnx package is loaded. Raises Unsupported (X20), ArtifactError (A32).

    First what is known of an encoder's operators, which says most; then any that is on no list."""
    found = scan(path)
    exported = EXPORTED in found.notes
    for reason in (_of_an_encoder, _unknown):
        for operator in found.operators:
            why = reason(operator)
            if why is not None:
                why = Refusal(why.message, OUT_AGAIN) if exported else why
                raise unsupported(onnx_place(operator.name, operator.kind, operator.number), why)
    if found.operators and found.outputs is not None and len(found.outputs) != 1:
        raise not_one_output(path, found.outputs)
    for value in found.inputs or ():
        network_input(value)
    return found


def _of_an_encoder(found: Operator) -> Refusal | None:
    why = refusal("onnx", found.kind)
    if found.kind == "MatMul" and len(found.constant) == 2 and not any(found.constant):
        why = product_of_activations()
    if found.kind == "Gather" and found.constant[1:] == (True,):
        why = None  # columns picked by number
    return None if all(found.constant) else why


def _unknown(found: Operator) -> Refusal | None:
    return unknown(found.kind, found.domain) if found.kind else None  # one without a name is the checker's to tell


def onnx_place(name: str, kind: str, number: int) -> str:
    said = kind if kind.isascii() and kind.isidentifier() else repr(kind)
    return f"node {number}{f' {name[:200]!r}' if name else ''} ({said[:80]})"


def unsupported(place: str, refused: Refusal) -> Unsupported:
    return Unsupported("X20", f"{place}: {refused.message}", help=refused.help)
