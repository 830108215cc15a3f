"""What is never imported, by the name of the operator or layer: why, and the way out.

A reward's network may sit on an encoder that no verifier of scalar networks can bound. The encoder is frozen, so its
output can be the reward's features: the way out is to verify the layers that come after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rewarden.reward.imports.program import Call
from rewarden.reward.onnx_scan import operators
from rewarden.reward.operators import HEAD, Refusal
from rewarden.spec_lang.errors import Unsupported

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


def refuse_onnx(path: Path) -> None:
    """What the operators of an ONNX file rule out, before any weight is read. Raises Unsupported."""
    for found in operators(path):
        why = refusal("onnx", found.kind)
        if found.kind == "MatMul" and len(found.constant) == 2 and not any(found.constant):
            why = product_of_activations()
        if found.kind == "Gather" and found.constant[1:] == (True,):
            why = None  # columns picked by number
        if why is not None and not all(found.constant):
            raise unsupported(onnx_place(found.name, found.kind, found.number), why)


def onnx_place(name: str, kind: str, number: int) -> str:
    return f"node {number}{f' {name!r}' if name else ''} ({kind})"


def unsupported(place: str, refused: Refusal) -> Unsupported:
    return Unsupported("X20", f"{place}: {refused.message}", help=refused.help)
