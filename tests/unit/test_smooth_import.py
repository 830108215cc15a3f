"""Smooth networks come in and go out as what they are; encoders are refused at once, by name, with the way out."""

from __future__ import annotations

import math
import tracemalloc
from fractions import Fraction
from typing import get_args

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from rewarden.reward import onnx_scan
from rewarden.reward.agreement import random_rows
from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.graph import SMOOTH, Node
from rewarden.reward.onnx_export import to_onnx
from rewarden.reward.onnx_file import _declared
from rewarden.reward.onnx_import import from_onnx
from rewarden.reward.onnx_scan import scan
from rewarden.reward.store import load_artifact, save_artifact
from rewarden.reward.torch_import import from_torch
from rewarden.spec_lang.errors import ArtifactError, Unsupported
from rewarden.spec_lang.features import Feature, RecordType

WIDE = RecordType("Wide", (Feature("x", "real", Fraction(-3), Fraction(3), None, (), 4),))


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Plain(nn.Module):
    """A module around one expression."""

    def __init__(self, run) -> None:
        super().__init__()
        self.run = run
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 1)
        self.members = nn.ModuleList([nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)) for _ in range(4)])

    def forward(self, x):
        return self.run(self, x)


def ops(artifact: Artifact) -> list[str]:
    return [type(node).__name__ for node in artifact.graph.nodes]


def agrees(module: nn.Module, *wanted: str, **options) -> Artifact:
    """Imported, it computes the same, has the ops `wanted`, and comes back the same from ONNX and from disk."""
    artifact = from_torch(module.eval(), WIDE, **options)
    rows = random_rows([WIDE], 200, 5)
    with torch.no_grad():
        theirs = module(torch.from_numpy(rows)).numpy().reshape(-1)
    assert np.abs(forward(artifact, rows) - theirs).max() <= 2e-6 * (1 + np.abs(theirs).max())
    assert set(wanted) <= set(ops(artifact))
    return artifact


LAYERS = {
    "Tanh": nn.Tanh(),
    "Sigmoid": nn.Sigmoid(),
    "Softplus": nn.Softplus(),
    "Gelu": nn.GELU(),
    "Silu": nn.SiLU(),
    "Exp": nn.ELU(0.5),
    "Product": nn.Mish(),
}


@pytest.mark.parametrize("wanted", LAYERS)
def test_layers_come_in_and_go_out_again(wanted, tmp_path):
    artifact = agrees(nn.Sequential(nn.Linear(4, 6), LAYERS[wanted], nn.Linear(6, 1)), wanted)
    path = tmp_path / "net.onnx"
    path.write_bytes(to_onnx(artifact))
    back = from_onnx(path, (("s", WIDE),))
    rows = random_rows([WIDE], 100, 6)
    assert forward(back, rows).tobytes() == forward(artifact, rows).tobytes()
    assert wanted in ops(back)
    save_artifact(artifact, tmp_path / "reward")
    assert load_artifact(tmp_path / "reward").digest == artifact.digest


EXPRESSIONS = {
    "tanh": (lambda m, x: m.second(torch.tanh(m.first(x)) + m.first(x).tanh()), "Tanh"),
    "sigmoid": (lambda m, x: m.second(m.first(x).sigmoid()), "Sigmoid"),
    "x times sigmoid": (lambda m, x: m.second((lambda h: torch.sigmoid(h) * h)(m.first(x))), "Silu"),
    "gate": (lambda m, x: m.second(m.first(x) * torch.sigmoid(m.first(x + 1.0))), "Product"),
    "square": (lambda m, x: m.second(m.first(x) ** 2 + m.first(x).square() + torch.pow(m.first(x), 2)), "Square"),
    "cube": (lambda m, x: m.second(m.first(x).pow(3)), "Product"),
    "times itself": (lambda m, x: m.second((lambda h: h * h)(m.first(x))), "Square"),
    "exp": (lambda m, x: m.second((0.25 * m.first(x)).exp()), "Exp"),
    "gelu": (lambda m, x: m.second(F.gelu(m.first(x))), "Gelu"),
    "gelu by erf": (
        lambda m, x: m.second((lambda h: h * 0.5 * (1.0 + torch.erf(h / math.sqrt(2.0))))(m.first(x))),
        "Gelu",
    ),
    "gelu by erf, otherwise": (
        lambda m, x: m.second((lambda h: (torch.erf(h * math.sqrt(0.5)) + 1.0) * 0.5 * h)(m.first(x))),
        "Gelu",
    ),
    "softplus of steepness 2": (lambda m, x: m.second(F.softplus(m.first(x), beta=2.0)), "Softplus"),
    "residual": (lambda m, x: m.second(F.silu(m.first(x)) + m.first(x)), "Silu"),
    "ensemble's mean": (lambda m, x: torch.stack([member(x) for member in m.members]).mean(0), "Concat"),
    "ensemble's min": (lambda m, x: torch.stack([k(x) for k in m.members]).min(dim=0).values, "ReduceMin"),
    "ensemble's min, joined": (lambda m, x: torch.cat([k(x) for k in m.members], -1).amin(-1), "ReduceMin"),
    "ensemble, stacked behind": (
        lambda m, x: torch.stack([k(x).squeeze(-1) for k in m.members], dim=-1).amax(-1),
        "ReduceMax",
    ),
    "joined": (lambda m, x: torch.cat([m.second(torch.tanh(m.first(x))), x], dim=1).sum(-1), "Concat"),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expressions(name):
    run, wanted = EXPRESSIONS[name]
    agrees(Plain(run), wanted)


def test_the_tanh_form_of_gelu_needs_rounded_constants():
    module = nn.Sequential(nn.Linear(4, 6), nn.GELU("tanh"), nn.Linear(6, 1))
    with pytest.raises(Unsupported, match="without an exact") as caught:
        from_torch(module, WIDE)
    assert 'approximate="none"' in caught.value.help
    agrees(module, "Tanh", "Product", constants="nearest")


def test_batch_norm_is_folded_with_rounded_constants():
    norm = nn.BatchNorm1d(6)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    module = nn.Sequential(nn.Linear(4, 6), norm, nn.Tanh(), nn.Linear(6, 1)).eval()
    with pytest.raises(Unsupported, match="spread"):
        from_torch(module, WIDE)
    agrees(module, "Scale", constants="nearest")
    with pytest.raises(Unsupported, match="training mode"):
        from_torch(module.train(), WIDE, constants="nearest")


# ── onnx, operator by operator ─────────────────────────────────────────────────────────────────
def op(kind: str, inputs: str, output: str = "y", **attributes):
    return helper.make_node(kind, inputs.split(), [output], name=f"{kind}_{output}", **attributes)


def model(nodes, constants=None, *, shape=("n", 4), out=("n", 1), opset=20):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def imported(tmp_path, proto, **options) -> Artifact:
    path = tmp_path / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    return from_onnx(path, (("s", WIDE),), **options)


HEADS = {
    "Tanh": ([op("Tanh", "x", "h")], "Tanh"),
    "Gelu": ([op("Gelu", "x", "h")], "Gelu"),
    "Gelu as torch exports it": (
        [op("Div", "x root", "d"), op("Erf", "d", "e"), op("Add", "e one", "a"), op("Mul", "x a", "m"),
         op("Mul", "m half", "h")],
        "Gelu",
    ),
    "Swish": ([op("Sigmoid", "x", "s"), op("Mul", "x s", "h")], "Silu"),
    "Pow": ([op("Pow", "x two", "h")], "Square"),
    "Mul": ([op("Abs", "x", "a"), op("Mul", "x a", "h")], "Product"),
    "Mul, a single column": ([op("ReduceMax", "x last", "a", keepdims=1), op("Mul", "x a", "h")], "Product"),
    "Elu": ([op("Elu", "x", "h", alpha=0.5)], "Exp"),
    "Mish": ([op("Mish", "x", "h")], "Product"),
    "columns by number": (
        [op("Gather", "x picks", "p", axis=1), op("Exp", "p", "q"), op("Concat", "q q", "h", axis=1)],
        "Exp",
    ),
    "PRelu": ([op("PRelu", "x slopes", "h")], "Relu"),
    "HardSigmoid": ([op("HardSigmoid", "x", "h", alpha=0.25, beta=0.5)], "Clip"),
    "Mean of several": ([op("Tanh", "x", "t"), op("Mean", "x t", "h")], "Add"),
    "ReduceL1": ([op("ReduceL1", "x last", "r"), op("Mul", "x r", "h")], "Abs"),
    "ReduceSumSquare": ([op("ReduceSumSquare", "x last", "r"), op("Add", "x r", "h")], "Square"),
    "Slice": ([op("Slice", "x from to last twice", "s"), op("Concat", "s s", "h", axis=1)], "Concat"),
    "Transpose of a constant": (
        [op("Transpose", "square", "t"), op("MatMul", "x t", "m"), op("Tanh", "m", "h")], "Tanh"),
    "members of an ensemble": (
        [op("Unsqueeze", "x last", "u"), op("Tanh", "u", "t"), op("ReduceMin", "t places", "r", keepdims=0),
         op("Concat", "r r r r", "h", axis=1)],
        "ReduceMin",
    ),
}  # fmt: skip
SIDE = {
    "root": np.float32(np.sqrt(2.0)), "one": np.float32(1), "half": np.float32(0.5), "two": np.float32(2),
    "slopes": np.array([0.5, -1.0, 2.0, 0.0], np.float32), "square": np.eye(4, k=1, dtype=np.float32),
    "from": np.array([0]), "to": np.array([4]), "twice": np.array([2]), "last": np.array([-1]),
    "picks": np.array([1, -1]), "places": np.array([1]),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_onnx_operators(tmp_path, name):
    nodes, wanted = HEADS[name]
    nodes = [*nodes, op("Gemm", "h w", transB=1)]
    constants = {"w": np.array([[0.5, -1.0, 0.25, 2.0]], np.float32), **SIDE}
    names = {i for node in nodes for i in node.input}
    artifact = imported(tmp_path, model(nodes, {k: v for k, v in constants.items() if k in names}))
    assert wanted in ops(artifact)


FAMILY = {
    "Gemm": "AffineMap", "Relu": "Relu", "LeakyRelu": "LeakyRelu", "Abs": "Abs", "Add": "Add", "Sub": "Sub",
    "Min": "Minimum", "Max": "Maximum", "ReduceMin": "ReduceMin", "ReduceMax": "ReduceMax", "Clip": "Clip",
    "Concat": "Concat", "Tanh": "Tanh", "Sigmoid": "Sigmoid", "Softplus": "Softplus", "Gelu": "Gelu", "Swish": "Silu",
    "Exp": "Exp", "Pow": "Square", "Mul": "Product", "Neg": "Scale",
}  # fmt: skip
SECOND = {"Pow": " two", "ReduceMin": " last", "ReduceMax": " last"} | dict.fromkeys(("Add", "Sub", "Min", "Max"), " g")
SECOND |= {"Mul": " g", "Clip": " half one", "Concat": " g"}


def test_every_op_of_our_graphs_has_an_onnx_operator(tmp_path):
    found = set()
    for kind in FAMILY:
        inner = [
            op("Gemm", "x square", "g"),
            op(kind, "g square" if kind == "Gemm" else f"x{SECOND.get(kind, '')}", "h"),
        ]
        if kind == "Concat":
            inner[-1].attribute.append(helper.make_attribute("axis", 1))
        nodes = [*inner, op("ReduceSum", "h last", keepdims=1)]
        names = {i for node in nodes for i in node.input}
        opset = 24 if kind == "Swish" else 20
        proto = model(nodes, {k: v for k, v in SIDE.items() if k in names}, opset=opset)
        artifact = imported(tmp_path, proto)
        assert FAMILY[kind] in ops(artifact), kind
        found.add(FAMILY[kind])
    everything = {kind.__name__ for kind in (*get_args(Node), *SMOOTH)}
    assert found == everything - {"Input", "Smooth"}


def test_inference_batch_normalization_with_rounded_constants(tmp_path):
    numbers = {k: np.array(v, np.float32) for k, v in (("g", [1, 2, 3, 4]), ("b", [0, 1, 0, 1]), ("m", [1, 0, 2, 0]))}
    nodes = [op("BatchNormalization", "x g b m v", "h"), op("Gemm", "h w", transB=1)]
    proto = model(nodes, numbers | {"v": np.full(4, 0.3, np.float32), "w": np.ones((1, 4), np.float32)})
    with pytest.raises(Unsupported, match="spread"):
        imported(tmp_path, proto)
    assert "Scale" in ops(imported(tmp_path, proto, constants="nearest"))


ODD = {
    "erf alone": ([op("Erf", "x", "h")], "part of a GELU"),
    "erf of something else": ([op("Div", "x half", "d"), op("Erf", "d", "h")], "part of a GELU"),
    "half of a gelu": ([op("Div", "x root", "d"), op("Erf", "d", "e"), op("Add", "e one", "h")], "part of a GELU"),
    "erf of one, times another": (
        [op("Div", "x root", "d"), op("Erf", "d", "e"), op("Add", "e one", "a"), op("Abs", "x", "b"),
         op("Mul", "b a", "h")],
        "part of a GELU",
    ),
    "another power": ([op("Pow", "x half", "h")], "exponent"),
    "sine": ([op("Sin", "x", "h")], "Sin"),
    "quotient": ([op("Tanh", "x", "t"), op("Div", "x t", "h")], "divides"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_what_is_not_known_is_refused(tmp_path, name):
    nodes, words = ODD[name]
    nodes = [*nodes, op("Gemm", "h w", transB=1)]
    names = {i for node in nodes for i in node.input}
    proto = model(nodes, {k: v for k, v in ({"w": np.ones((1, 4), np.float32)} | SIDE).items() if k in names})
    with pytest.raises(Unsupported, match=words) as caught:
        imported(tmp_path, proto)
    assert caught.value.code == "X20"
    assert caught.value.help


# ── encoders ───────────────────────────────────────────────────────────────────────────────────
ENCODERS = {
    "Conv": [op("Conv", "x k", "h")],
    "MaxPool": [op("MaxPool", "x", "h", kernel_shape=[2])],
    "Softmax": [op("Softmax", "x", "h")],
    "LSTM": [op("LSTM", "x k k", "h", hidden_size=4)],
    "GRU": [op("GRU", "x k k", "h", hidden_size=4)],
    "LayerNormalization": [op("LayerNormalization", "x k", "h")],
    "InstanceNormalization": [op("InstanceNormalization", "x k k", "h")],
    "Loop": [op("Loop", "x k", "h", body=helper.make_graph([], "b", [], []))],
    "If": [op("If", "x", "h", then_branch=helper.make_graph([], "b", [], []))],
    "MatMul": [op("Tanh", "x", "t"), op("MatMul", "x t", "h")],
    "Gather": [op("Cast", "x", "c", to=TensorProto.INT64), op("Gather", "k c", "h")],
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_encoders_are_refused_by_layer_with_the_way_out(tmp_path, kind):
    nodes = [op("Gemm", "x w0", "z"), *ENCODERS[kind], op("Gemm", "h w", transB=1)]
    proto = model(nodes, {"k": np.ones((4, 4, 3), np.float32), "w": np.ones((1, 4), np.float32)})
    with pytest.raises(Unsupported, match=rf"{kind}_h' \({kind}\)|\({kind}\)") as caught:
        imported(tmp_path, proto)
    assert caught.value.code == "X20"
    assert "head over the frozen encoder's features" in caught.value.help


def test_half_a_gigabyte_is_refused_within_a_second_and_unread(tmp_path):
    """External data need not even be there; in the file, weights are stepped over."""
    weight = TensorProto(
        name="k", data_type=TensorProto.FLOAT, dims=[1 << 16, 2048], data_location=TensorProto.EXTERNAL
    )
    for key, text in (("location", "weights.bin"), ("offset", "0"), ("length", str(1 << 29))):
        entry = weight.external_data.add()
        entry.key, entry.value = key, text
    proto = model([op("Conv", "x k", "h"), op("Gemm", "h w")], {"w": np.ones((4, 1), np.float32)})
    proto.graph.initializer.append(weight)
    with (tmp_path / "weights.bin").open("wb") as file:
        file.truncate(1 << 29)
    refused_at_once(tmp_path, proto.SerializeToString())
    # the same weights inside the file: a tensor whose raw data are half a gigabyte of zeros (sparse on disk)
    inside = model([op("Conv", "x k", "h"), op("Gemm", "h w")], {"w": np.ones((4, 1), np.float32)})
    size = 1 << 29
    fixed = TensorProto(name="k", data_type=1, dims=[1 << 27]).SerializeToString() + b"\x4a" + varint(size)
    graph = inside.graph.SerializeToString()
    inside.ClearField("graph")
    body = graph + b"\x2a" + varint(len(fixed) + size) + fixed
    path = tmp_path / "big.onnx"
    with path.open("wb") as file:
        file.write(inside.SerializeToString() + b"\x3a" + varint(len(body) + size) + body)
        file.truncate(file.tell() + size)
    assert [found.kind for found in scan(path).operators] == ["Conv", "Gemm"]
    refused_at_once(tmp_path, None)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def refused_at_once(tmp_path, data: bytes | None) -> None:
    path = tmp_path / "big.onnx"
    if data is not None:
        path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(Unsupported, match=r"Conv_h' \(Conv\): convolutions"):
            from_onnx(path, (("s", WIDE),))
        assert tracemalloc.get_traced_memory()[1] < 1 << 25
    finally:
        tracemalloc.stop()


def test_a_constant_side_of_an_encoders_operator_is_not_held_against_it(tmp_path):
    """A softmax of constants, a matrix product with one constant side, a look-up in constants by constants."""
    nodes = [
        op("Softmax", "c", "soft"), op("MatMul", "x soft", "m"), op("Gather", "x picks", "p", axis=1),
        op("Concat", "m p", "h", axis=1), op("Gemm", "h w", transB=1),
    ]  # fmt: skip
    constants = {"c": np.ones((4, 2), np.float32), "picks": np.array([0, 1]), "w": np.ones((1, 4), np.float32)}
    with pytest.raises(Unsupported, match="Softmax") as caught:  # not folded, but refused as an operator, by name
        imported(tmp_path, model(nodes, constants))
    assert caught.value.code == "X20"
    found = scan(tmp_path / "net.onnx").operators
    assert [o.constant for o in found] == [(True,), (False, True), (False, True), (False, False), (False, True)]


@pytest.mark.parametrize(
    "data", [b"", b"\x3a", b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\xff" * 40, b"\x3a\x05\x0a\x7f"]
)
def test_damaged_files_are_left_to_the_parser(tmp_path, data):
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    assert scan(path).operators == []
    with pytest.raises((ArtifactError, Unsupported)):
        from_onnx(path, (("s", WIDE),))
    assert scan(tmp_path / "missing.onnx").operators == []


def test_a_file_of_very_many_fields_is_left_to_the_parser(tmp_path, monkeypatch):
    """So many are looked at as may be, and no more, whatever the file holds."""
    whole, looked = onnx_scan._Data, []
    monkeypatch.setattr(onnx_scan, "_Data", lambda raw: looked.append(whole(raw, left=5_000)) or looked[0])
    path = tmp_path / "net.onnx"
    body = b"\x2a\x00" * 10_000  # initializers, all empty
    path.write_bytes(b"\x3a" + varint(len(body)) + body)
    assert scan(path).operators == []
    assert looked[0].left == -1
    assert onnx_scan.MOST < 1_000_000


def test_the_scan_sees_what_onnx_sees(tmp_path):
    rng = np.random.default_rng(1)
    for size in range(1, 6):
        nodes = [op("Gemm", f"h{k} w{k}" if k else "x w0", f"h{k + 1}") for k in range(size)]
        nodes.append(op("Constant", "", "c", value=numpy_helper.from_array(rng.normal(size=9).astype(np.float32))))
        proto = model(nodes, {f"w{k}": rng.normal(size=(4, 4)).astype(np.float32) for k in range(size)})
        path = tmp_path / "net.onnx"
        path.write_bytes(proto.SerializeToString())
        seen = [(o.number, o.name, o.kind, o.domain) for o in scan(path).operators]
        theirs = onnx.load(str(path)).graph
        assert seen == [(k, n.name, n.op_type, n.domain) for k, n in enumerate(theirs.node)]


SIZES = st.lists(st.sampled_from(["", "n", None, 0, 1, 4, 300, -1, -(2**63), 2**63 - 1]), max_size=4)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*range(20), 10**6]), st.none() | SIZES), max_size=3), st.integers(0, 3))
def test_the_scan_sees_the_inputs_and_outputs_that_onnx_sees(tmp_path_factory, declared, outputs):
    proto = model([op("Gemm", "x w0")], {"w0": np.ones((4, 1), np.float32)})
    named = [helper.make_tensor_value_info(f"i{k}", kind, dims) for k, (kind, dims) in enumerate(declared)]
    proto.graph.input.extend([helper.make_tensor_value_info("w0", 1, (4, 1)), *named])
    proto.graph.input.append(helper.make_tensor_sequence_value_info("many", 1, None))
    proto.graph.output.extend([helper.make_tensor_value_info(f"o{k}", 1, None) for k in range(outputs)])
    proto.metadata_props.add(key="a note", value="w")
    path = tmp_path_factory.mktemp("scan") / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    found, theirs = scan(path), onnx.load(str(path)).graph
    assert found.inputs == tuple(_declared(value) for value in theirs.input if value.name != "w0")
    assert found.outputs == tuple(value.name for value in theirs.output)
    assert found.notes == {"a note"}


def test_names_without_end_are_left_to_the_parser(tmp_path):
    """A file without a block on disk that would be 2 GiB of names."""
    name = onnx_scan.LONGEST
    with (path := tmp_path / "net.onnx").open("wb") as file:
        size = 2 * onnx_scan.MOST_TEXT // name * (name + 6)
        file.write(b"\x3a" + varint(size))
        for _ in range(2 * onnx_scan.MOST_TEXT // name):
            file.write(b"\x2a" + varint(name + 3) + b"\x42" + varint(name))
            file.seek(name, 1)
        file.truncate()
    tracemalloc.start()
    try:
        found = scan(path)
        assert tracemalloc.get_traced_memory()[1] < 2 * onnx_scan.MOST_TEXT
    finally:
        tracemalloc.stop()
    assert found.inputs is None
    assert found.outputs is None
    assert not found.operators


class Branching(nn.Module):
    """Cannot be traced, and holds an encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = nn.LSTM(4, 4), nn.Linear(4, 1)

    def forward(self, x):
        return self.head(self.encoder(x)[0]) if x.sum() > 0 else self.head(x)


MODULES = {
    "layer 0 (Conv1d)": lambda: nn.Sequential(nn.Conv1d(4, 4, 1), nn.Linear(4, 1)),
    "layer 1 (LayerNorm)": lambda: nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 1)),
    "layer 0 (TransformerEncoderLayer)": lambda: nn.Sequential(nn.TransformerEncoderLayer(4, 2), nn.Linear(4, 1)),
    "layer 0 (GRU)": lambda: nn.Sequential(nn.GRU(4, 4), nn.Linear(4, 1)),
    "layer 0 (Embedding)": lambda: nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 1)),
    "layer encoder (LSTM)": Branching,
    "matmul": lambda: Plain(lambda m, x: m.second((m.first(x) @ m.first(x).T) @ m.first(x))),
    "softmax": lambda: Plain(lambda m, x: m.second(torch.softmax(m.first(x), -1))),
    "scaled_dot_product_attention": lambda: Plain(lambda m, x: F.scaled_dot_product_attention(x, x, m.first(x))),
}  # fmt: skip


@pytest.mark.parametrize("place", MODULES)
def test_modules_with_encoders_are_refused_by_layer(place):
    with pytest.raises(Unsupported) as caught:
        from_torch(MODULES[place](), WIDE)
    assert caught.value.code == "X20"
    assert place in caught.value.message
    assert "head over the frozen encoder's features" in caught.value.help


def test_a_large_module_is_refused_before_its_weights_are_looked_at():
    with torch.device("meta"):
        large = nn.Sequential(nn.Linear(4, 40_000), nn.Linear(40_000, 4_000), nn.LayerNorm(4_000), nn.Linear(4_000, 1))
    with pytest.raises(Unsupported, match=r"layer 2 \(LayerNorm\)"):  # what is on `meta` has no numbers to look at
        from_torch(large, WIDE)


def test_a_softplus_with_an_early_threshold_is_another_function():
    with pytest.raises(Unsupported, match="bends away"):
        from_torch(nn.Sequential(nn.Linear(4, 2), nn.Softplus(threshold=2.0), nn.Linear(2, 1)), WIDE)


def test_every_op_has_a_name_of_its_own():
    assert len({kind.function for kind in SMOOTH}) == len(SMOOTH) == 7
