"""A text encoder of a kilobyte: word look-ups in ONNX, with a tokenizer of whole words. Made, not downloaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WORDS = (  # noqa: SIM905 - words are easier to read so
    "[UNK] no yes i can not help you with that please thank for asking hope this helps have a great day let me know if "
    "any other questions bad good the sorry am . ! ? , quick brown fox jumps she sells sea shells there what is over "
    "here now"
).split()
WIDTH = 4


def make_encoder(
    folder: Path, *, seed: int = 0, pooled: bool = False, batch_matters: bool = False, width: int = WIDTH
) -> Path:
    """`batch_matters`: numbers that depend on what else is in the batch, as dynamic quantisation makes them."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(WORDS))}
    tokenizer = {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0},
        "padding": {
            "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[UNK]",
        },
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    said = {"pooling": "none" if pooled else "mean", "normalize": True, "max_tokens": 64}
    (folder / "encoder.json").write_text(json.dumps(said))
    table = np.random.default_rng(seed).normal(size=(len(vocabulary), width)).astype(np.float32)
    table += 0.3  # no vector is near 0
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["looked_up"])]
    last, shape = "looked_up", ["batch", "token", width]
    if batch_matters:
        nodes += [
            helper.make_node("ReduceMax", ["looked_up"], ["top"], keepdims=0),
            helper.make_node("Div", ["looked_up", "top"], ["scaled"]),
            helper.make_node("Add", ["scaled", "top"], ["uneven"]),
        ]
        last = "uneven"
    if pooled:
        nodes.append(helper.make_node("ReduceMean", [last, "axis"], ["one"], keepdims=0))
        last, shape = "one", ["batch", width]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "token"])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1], np.int64), "axis")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "model.onnx")
    return folder
