"""What is never imported, by the name of the operator or layer: why, and the way out.

A reward's network may sit on an encoder that no verifier of scalar networks can bound. The encoder is frozen, so its
output can be the reward's features: the way out is to verify the layers that come after it.
"""

from __future__ import annotations

from rewarden.reward.operators import HEAD, Refusal

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
    RECURRENCE: "LSTM GRU RNN LSTMCell GRUCell RNNCell",
    NORMALISATION: """LayerNorm GroupNorm InstanceNorm1d InstanceNorm2d InstanceNorm3d RMSNorm LocalResponseNorm
        BatchNorm2d BatchNorm3d layer_norm group_norm instance_norm normalize""",
    EMBEDDING: "Embedding EmbeddingBag embedding gather index_select",
}
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
