"""ONNX networks: what is imported computes what ONNX says, and everything else is refused by name."""

from __future__ import annotations

import ast
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from rewarden.cli import run
from rewarden.importing import ImportOptions, import_network
from rewarden.reward import onnx_import
from rewarden.reward.agreement import evaluate, random_rows
from rewarden.reward.deployed import forward
from rewarden.reward.graph import AffineMap, Scale
from rewarden.reward.onnx_import import from_onnx, outputs_of_onnx
from rewarden.reward.refusals import IMPORTED
from rewarden.reward.store import load_artifact
from rewarden.spec_lang.errors import ArtifactError, Unsupported
from rewarden.spec_lang.features import Feature, RecordType

WIDE = RecordType("Wide", (Feature("x", "real", Fraction(-2), Fraction(2), None, (), 4),))
PAIR = RecordType("Pair", (Feature("y", "real", Fraction(-1), Fraction(1), None, (), 2),))
RNG = np.random.default_rng(0)


def array(*shape: int) -> np.ndarray:
    return (RNG.integers(-64, 65, shape) / 32).astype(np.float32)


def model(nodes, constants=None, *, shape=("n", 4), out=("n", 1), opset=17, inputs=None):
    inputs = inputs or [("x", shape)]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def op(kind: str, inputs: str, output: str = "y", **attributes):
    return helper.make_node(kind, inputs.split(), [output], name=f"{kind}_{output}", **attributes)


def load(tmp_path, proto, records=(("s", WIDE),), **options):
    path = tmp_path / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    return from_onnx(path, records, **options)


def agrees(artifact, proto, *, batch=True) -> None:
    """Exact enough on 100 rows against ONNX's reference, and against ours in binary64."""
    rows = random_rows([record.type for record in artifact.records], 100, 77)
    session = ReferenceEvaluator(proto)
    if batch:
        theirs = session.run(None, {"x": rows})[0].reshape(-1)
    else:
        shape = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
        theirs = np.array([session.run(None, {"x": row.reshape(shape)})[0].reshape(-1)[0] for row in rows])
    ours = forward(artifact, rows)
    value, error = evaluate(artifact, rows.astype(np.float64))
    assert np.all(np.abs(ours - value) <= error)
    assert np.all(np.abs(theirs - value) <= error)
    assert error.max() < 1e-4 * (10 + np.abs(value).max())


def test_an_exported_multilayer_perceptron(tmp_path):
    nodes = [
        op("Gemm", "x w1 b1", "h1", transB=1),
        op("Relu", "h1", "r1"),
        op("Gemm", "r1 w2 b2", "h2", transB=1),
        op("LeakyRelu", "h2", "r2", alpha=0.125),
        op("Gemm", "r2 w3 b3", transB=1),
    ]
    constants = {
        "w1": array(6, 4),
        "b1": array(6),
        "w2": array(5, 6),
        "b2": array(5),
        "w3": array(1, 5),
        "b3": array(1),
    }
    proto = model(nodes, constants)
    artifact = load(tmp_path, proto)
    agrees(artifact, proto)
    assert artifact.identified == "exact"
    assert [record.param for record in artifact.records] == ["s"]
    assert artifact.learner is None


def test_a_network_in_the_style_of_acas_xu(tmp_path):
    """Four axes, batch of 1, subtraction first, MatMul and Add apart: the bias is folded into the affine map."""
    nodes = [
        op("Sub", "x mean", "c"),
        op("Flatten", "c", "f"),
        op("MatMul", "f w1", "m1"),
        op("Add", "m1 b1", "a1"),
        op("Relu", "a1", "r1"),
        op("MatMul", "r1 w2", "m2"),
        op("Add", "m2 b2"),
    ]
    constants = {"mean": array(1, 1, 1, 4), "w1": array(4, 5), "b1": array(5), "w2": array(5, 1), "b2": array(1)}
    proto = model(nodes, constants, shape=(1, 1, 1, 4), out=(1, 1))
    artifact = load(tmp_path, proto)
    agrees(artifact, proto, batch=False)
    assert sum(isinstance(node, AffineMap) for node in artifact.graph.nodes) == 2
    assert sum(isinstance(node, Scale) for node in artifact.graph.nodes) == 1


ONE = {"w": array(1, 4)}
OPERATORS = {
    "abs": [op("Abs", "x", "h")],
    "neg": [op("Neg", "x", "h")],
    "clip": [op("Clip", "x lo hi", "h")],
    "clip below": [op("Clip", "x lo", "h")],
    "clip above": [helper.make_node("Clip", ["x", "", "hi"], ["h"])],
    "min of rows": [op("Neg", "x", "m"), op("Min", "x m c", "h")],
    "max of rows": [op("Neg", "x", "m"), op("Max", "c m x", "h")],
    "max with 0": [op("Max", "x zero", "h")],
    "constant minus row": [op("Sub", "c x", "h")],
    "row minus row": [op("Abs", "x", "a"), op("Sub", "x a", "h")],
    "mul": [op("Mul", "c x", "h")],
    "div by a power of two": [op("Div", "x four", "h")],
    "constants fold": [op("Mul", "c four", "k"), op("Add", "k x", "h")],
    "sum": [op("Abs", "x", "a"), op("Sum", "x a c", "h")],
    "identity and dropout": [op("Identity", "x", "i"), op("Dropout", "i", "h")],
    "reshape": [op("Reshape", "x shape", "h")],
    "squeeze": [op("Unsqueeze", "x one", "u"), op("Squeeze", "u one", "h")],
    "cast": [op("Cast", "x", "h", to=TensorProto.FLOAT)],
    "constant node": [op("Constant", "", "k", value_float=0.5), op("Add", "x k", "h")],
    "constant tensor": [op("Constant", "", "k", value=numpy_helper.from_array(array(4))), op("Mul", "x k", "h")],
    "reduce and widen": [op("ReduceMax", "x", "m", axes=[1]), op("Add", "x m", "h")],
    "concat": [op("Abs", "x", "a"), op("Concat", "a x", "k", axis=1), op("Gemm", "k w8", "h")],
    "scaled gemm": [op("Gemm", "x w4 c", "h", alpha=0.5, beta=2.0)],
}
SIDE = {
    "c": array(4), "lo": np.float32(-0.5), "hi": np.float32(0.75), "four": np.float32(4.0), "zero": np.float32(0.0),
    "shape": np.array([-1, 4], np.int64), "one": np.array([1], np.int64), "w8": array(8, 4), "w4": array(4, 4),
}  # fmt: skip


def used(nodes) -> dict[str, np.ndarray]:
    names = {name for node in nodes for name in node.input}
    return {name: np.asarray(value) for name, value in (ONE | SIDE).items() if name in names}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators(tmp_path, name):
    nodes = [*OPERATORS[name], op("Gemm", "h w", transB=1)]
    proto = model(nodes, used(nodes))
    agrees(load(tmp_path, proto), proto)


@pytest.mark.parametrize("kind", ["ReduceMin", "ReduceMax", "ReduceMean"])
def test_reductions_to_one_column(tmp_path, kind):
    proto = model([op(kind, "x", axes=[-1], keepdims=1)], {})
    agrees(load(tmp_path, proto), proto)


def test_reduce_sum_takes_its_axes_as_an_input(tmp_path):
    proto = model([op("ReduceSum", "x one")], {"one": np.array([1], np.int64)})
    agrees(load(tmp_path, proto), proto)


def test_several_records_and_several_inputs(tmp_path):
    nodes = [op("Concat", "a b", "k", axis=1), op("Gemm", "k w", transB=1)]
    weight = array(1, 6)
    proto = model(nodes, {"w": weight}, inputs=[("a", ("n", 4)), ("b", ("n", 2))])
    artifact = load(tmp_path, proto, (("s", WIDE), ("t", PAIR)))
    rows = random_rows([WIDE, PAIR], 10, 1)
    assert np.allclose(forward(artifact, rows), (rows @ weight.T)[:, 0], atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 6), st.sampled_from(["Relu", "Abs", "LeakyRelu", "Clip"])), min_size=1, max_size=3
    ),
    st.integers(0, 2**31),
)
def test_random_networks(tmp_path_factory, layers, seed):
    rng = np.random.default_rng(seed)
    nodes, constants, width, last = [], {"lo": np.float32(-1), "hi": np.float32(1)}, 4, "x"
    for k, (units, kind) in enumerate([*layers, (1, "")]):
        constants |= {
            f"w{k}": rng.normal(size=(width, units)).astype(np.float32),
            f"b{k}": rng.normal(size=units).astype(np.float32),
        }
        end = "y" if not kind else f"h{k}"
        nodes.append(op("Gemm", f"{last} w{k} b{k}", end))
        if kind:
            nodes.append(op(kind, f"h{k} lo hi" if kind == "Clip" else f"h{k}", f"r{k}"))
        width, last = units, f"r{k}"
    proto = model(nodes, {name: np.asarray(value) for name, value in constants.items()})
    agrees(load(tmp_path_factory.mktemp("net"), proto), proto)


# ── refusals ───────────────────────────────────────────────────────────────────────────────────
REFUSED = {
    "periodic": ([op("Sin", "x", "h")], "X20", "Sin"),
    "inexact reciprocal": ([op("Div", "x three", "h")], "X20", "no exact binary32 form"),
    "by zero": ([op("Div", "x nought", "h")], "X20", "divides by 0"),
    "divide by input": ([op("Div", "c x", "h")], "X20", "depends on the input"),
    "transposed": ([op("Transpose", "x", "h")], "X20", "Transpose"),
    "constant of text": ([op("Constant", "", "k", value_string=b"s"), op("Abs", "x", "h")], "X20", "value_string"),
    "a second output": ([helper.make_node("Dropout", ["x"], ["d", "m"]), op("Cast", "m", "h", to=1)], "X20", "'m'"),
    "unknown": ([op("Frobnicate", "x", "h")], "X20", r"node 0 'Frobnicate_h' \(Frobnicate\)"),
    "of constants only": ([op("Shape", "c", "k"), op("Abs", "x", "h")], "X20", r"node 0 'Shape_k' \(Shape\)"),
    "an encoder's is told first": ([op("Frobnicate", "x", "f"), op("Conv", "f c", "h")], "X20", r"node 1 .*convol"),
    "somebody's own": ([helper.make_node("Relu", ["x"], ["h"], domain="my.ops")], "X20", "not a standard operator"),
    "unprintable": ([helper.make_node("Fr\x1b[2J", ["x"], ["h"])], "X20", r"node 0 \('Fr\\x1b\[2J'\)"),
    "rows mixed": ([op("ReduceMax", "x", "m", axes=[0]), op("Add", "x m", "h")], "X20", "axis"),
    "cast to int": ([op("Cast", "x", "i", to=TensorProto.INT64), op("Cast", "i", "h", to=1)], "X20", "Cast"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_imported_is_refused_by_name(tmp_path, name):
    nodes, code, words = REFUSED[name]
    nodes = [*nodes, op("Gemm", "h w", transB=1)]
    constants = used(nodes) | {"three": np.float32(3), "nought": np.float32(0)}
    names = {i for node in nodes for i in node.input}
    proto = model(nodes, {k: np.asarray(v) for k, v in constants.items() if k in names})
    with pytest.raises(Unsupported, match=words) as caught:
        load(tmp_path, proto)
    assert caught.value.code == code
    assert caught.value.help
    assert "node" in caught.value.message


def test_an_operator_is_on_the_list_exactly_if_the_importer_has_an_answer_to_it():
    """`refuse_onnx` judges by the list, before the importer's code is loaded."""
    source = Path(onnx_import.__file__).read_text("utf-8")
    written = {leaf.value for leaf in ast.walk(ast.parse(source)) if isinstance(leaf, ast.Constant)}
    assert written & {schema.name for schema in onnx.defs.get_all_schemas_with_history()} == set(IMPORTED)


def two_outputs():
    proto = model([op("Abs", "x", "a"), op("Gemm", "a w", transB=1)], {"w": array(1, 4)})
    proto.graph.output.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, ("n", 4)))
    return proto


def with_input(element, dims):
    nodes = [op("Cast", "x", "h", to=TensorProto.FLOAT), op("Gemm", "h w", transB=1)]
    proto = model(nodes, {"w": array(1, dims[1] if dims and dims[1] == 5 else 4)}, out=(None, 1))
    proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", element, dims))
    return proto


AT_SIGHT = {
    "several outputs": (two_outputs, "A32", "has 2 outputs: 'y', 'a'"),
    "columns left open": (lambda: with_input(TensorProto.FLOAT, ("n", "m")), "A32", r"'x' has shape \[\?, \?\]"),
    "without sizes": (lambda: with_input(TensorProto.FLOAT, None), "A32", r"'x' has shape \[\]"),
    "a batch of 8": (lambda: with_input(TensorProto.FLOAT, (8, 4)), "A32", r"'x' has shape \[8, 4\]"),
    "numbers of words": (lambda: with_input(TensorProto.INT64, ("n", 4)), "A32", "'x' is int64"),
    "other columns": (lambda: with_input(TensorProto.FLOAT, ("n", 5)), "A32", "takes 5 columns, the features make 4"),
}


@pytest.mark.parametrize("name", AT_SIGHT)
def test_what_does_not_fit_is_refused_without_onnx_and_with_it_in_the_same_words(tmp_path, monkeypatch, name):
    make, code, words = AT_SIGHT[name]
    path, spec = tmp_path / "net.onnx", tmp_path / "s.rwd"
    path.write_bytes(make().SerializeToString())
    spec.write_text("spec s v1\nfeatures S { x : real ^ 4 in -2 .. 2 }\nreward R(s: S)\n", "utf-8")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "rewarden.reward.onnx_import", None)  # importing it is an error
        with pytest.raises(ArtifactError, match=words) as early:
            import_network(path, spec, ImportOptions())
    if name == "without sizes":  # onnx's own checker has other words for it
        return
    monkeypatch.setattr(onnx_import, "refuse_onnx", lambda path: None)
    with pytest.raises(ArtifactError, match=words) as late:
        from_onnx(path, (("s", WIDE),))
    assert early.value.code == late.value.code == code
    assert early.value.message == late.value.message
    assert early.value.help == late.value.help


def test_an_inexact_constant_may_be_rounded_on_request(tmp_path):
    proto = model([op("Div", "x k", "h"), op("Gemm", "h w", transB=1)], {"k": np.float32(3), "w": array(1, 4)})
    artifact = load(tmp_path, proto, constants="nearest")
    rows = random_rows([WIDE], 50, 0)
    theirs = ReferenceEvaluator(proto).run(None, {"x": rows})[0][:, 0]
    assert np.allclose(forward(artifact, rows), theirs, atol=1e-5)


def test_a_reshape_that_mixes_rows_is_caught(tmp_path):
    """Every operator passes by itself; the whole is not what they would make of single rows."""
    half = model(
        [op("Reshape", "x half", "h"), op("Gemm", "h w", "g", transB=1), op("Reshape", "g back")],
        {"half": np.array([2, -1, 2], np.int64), "back": np.array([-1, 1], np.int64), "w": array(1, 4)},
    )
    with pytest.raises((Unsupported, ArtifactError)):
        load(tmp_path, half)


def test_files_that_are_not_sound(tmp_path):
    path = tmp_path / "net.onnx"
    for content, code in (
        (b"", "A32"),
        (b"not a model", "A30"),
        (b"PK\x03\x04 torch", "A31"),
        (b"\x80\x04pickle", "A31"),
    ):
        path.write_bytes(content)
        with pytest.raises(ArtifactError) as caught:
            from_onnx(path, (("s", WIDE),))
        assert caught.value.code in (code, "A30")
        assert caught.value.help
    with pytest.raises(ArtifactError, match="cannot be read"):
        from_onnx(tmp_path / "missing.onnx", (("s", WIDE),))


def test_a_truncated_file_is_refused(tmp_path):
    proto = model([op("Gemm", "x w", transB=1)], ONE)
    path = tmp_path / "net.onnx"
    path.write_bytes(proto.SerializeToString()[:-20])
    with pytest.raises(ArtifactError):
        from_onnx(path, (("s", WIDE),))


def test_several_outputs_are_several_rewards_that_share_all_layers_but_the_last(tmp_path):
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.normal(size=(4, 6)).astype(np.float32),
        "v": rng.normal(size=(6, 3)).astype(np.float32),
    }
    nodes = [op("MatMul", "x w", "h"), op("Relu", "h", "r"), op("MatMul", "r v")]
    proto = model(nodes, constants, out=("n", 3))
    path = tmp_path / "several.onnx"
    onnx.save(proto, path)
    with pytest.raises(ArtifactError, match="3 columns"):
        from_onnx(path, [("s", WIDE)])
    found = outputs_of_onnx(path, [("s", WIDE)], ["A", "B", "C"])
    x = random_rows([WIDE], 64, 0)
    theirs = ReferenceEvaluator(proto).run(None, {"x": x})[0]
    for column, (name, artifact) in enumerate(found.items()):
        assert np.allclose(forward(artifact, x), theirs[:, column], atol=1e-4), name
        assert artifact.graph.nodes[:-1] == found["A"].graph.nodes[:-1]
        assert from_onnx(path, [("s", WIDE)], output=column).digest == artifact.digest
    for names in (["A", "B"], ["A", "B", "B"]):
        with pytest.raises(ArtifactError, match="3 columns"):
            outputs_of_onnx(path, [("s", WIDE)], names)
    with pytest.raises(ArtifactError, match="3 columns"):
        from_onnx(path, [("s", WIDE)], output=3)
    spec, out = tmp_path / "s.rwd", tmp_path / "nets"
    rewards = "".join(f"reward {name}(s: Wide)\n" for name in "ABC")
    spec.write_text(f"spec s v1\nfeatures Wide {{ x: real ^ 4 in -2 .. 2 }}\n{rewards}")
    command = ["import", str(path), "--features", str(spec), "-o", str(out), "-q"]
    assert run([*command, "--outputs", "A,B"]) == 2
    assert run([*command, "--outputs", "A,B,D"]) == 2
    assert not out.exists()
    assert run([*command, "--outputs", "A, B, C"]) == 0
    assert {path.name: load_artifact(path).digest for path in out.iterdir()} == {k: a.digest for k, a in found.items()}


def test_external_data_is_refused(tmp_path):
    proto = model([op("Gemm", "x w", transB=1)], ONE)
    path = tmp_path / "net.onnx"
    onnx.save(proto, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(Unsupported, match="another file") as caught:
        from_onnx(path, (("s", WIDE),))
    assert caught.value.code == "X22"


def test_shapes_that_do_not_fit_name_the_columns(tmp_path):
    proto = model([op("Gemm", "x w", transB=1)], {"w": array(1, 3)}, shape=("n", 3))
    with pytest.raises(ArtifactError, match="takes 3 columns, the features make 4") as caught:
        load(tmp_path, proto)
    assert "x[0], x[1], x[2], x[3]" in caught.value.help
    two = model([op("Gemm", "x w", transB=1)], {"w": array(2, 4)}, out=("n", 2))
    with pytest.raises(ArtifactError, match="2 columns"):
        load(tmp_path, two)


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_other_precisions_are_refused(tmp_path, kind):
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    graph = helper.make_graph(
        [op("Gemm", "x w", transB=1)],
        "g",
        [helper.make_tensor_value_info("x", kind, ("n", 4))],
        [helper.make_tensor_value_info("y", kind, ("n", 1))],
        [numpy_helper.from_array(array(1, 4).astype(dtype), "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ArtifactError, match="is ") as caught:
        load(tmp_path, proto)
    assert "float32" in caught.value.help


def test_weights_that_are_not_finite_are_refused(tmp_path):
    proto = model([op("Gemm", "x w", transB=1)], {"w": np.array([[1, np.nan, 0, 0]], np.float32)})
    with pytest.raises(Unsupported, match="not finite"):
        load(tmp_path, proto)


# ── a stranger's network that asks for too much ────────────────────────────────────────────────
def test_columns_that_double_and_double_are_refused_before_they_are_made(tmp_path):
    names = ["x", *(f"c{k}" for k in range(30))]
    nodes = [op("Concat", f"{a} {a}", b, axis=1) for a, b in pairwise(names)]
    nodes.append(op("ReduceSum", "c29 axes", keepdims=1))
    with pytest.raises(ArtifactError, match="A20"):
        load(tmp_path, model(nodes, {"axes": np.array([1], np.int64)}))


@pytest.mark.parametrize("kind", ["Add", "Max"])
def test_thin_constants_that_span_a_matrix_are_refused_before_it_is_made(tmp_path, kind):
    tall = np.ones((1 << 15, 1), np.float32)
    nodes = [op(kind, "a b", "m"), op("ReduceSum", "m", "q", keepdims=0), op("Gemm", "x w", "z", transB=1)]
    with pytest.raises(Unsupported, match="constant of 1073741824 numbers"):
        load(tmp_path, model([*nodes, op("Add", "z q")], {"a": tall, "b": tall.T.copy(), "w": array(1, 4)}))


def test_columns_of_a_wide_layer_are_not_picked_by_a_matrix_without_end(tmp_path):
    constants = {"w": array(1 << 17, 4), "i": np.array([0], np.int64)}
    with pytest.raises(ArtifactError, match="A20"):
        load(tmp_path, model([op("Gemm", "x w", "h", transB=1), op("Gather", "h i", axis=1)], constants))


def test_nodes_without_end_are_refused(tmp_path):
    names = ["x", *(f"c{k}" for k in range(33_000))]
    nodes = [op("Identity", a, b) for a, b in pairwise(names)]
    with pytest.raises(ArtifactError, match=r"A20.*33001 nodes"):
        load(tmp_path, model([*nodes, op("Gemm", f"{names[-1]} w", transB=1)], ONE))


def test_an_operator_set_that_is_not_known_is_refused(tmp_path):
    proto = model([op("Gemm", "x w", transB=1)], ONE)
    proto.opset_import[0].version = 999
    with pytest.raises(ArtifactError, match="operator set 999"):
        load(tmp_path, proto)


def test_what_a_file_says_commands_no_terminal(tmp_path, capsys):
    (tmp_path / "s.rwd").write_text("spec t v1\nfeatures S { x : real ^ 4 in -1 .. 1 }\nreward R(s: S)\n")
    proto = model([helper.make_node("Evil\x1b[2J\x07", ["x"], ["y"])], {})
    (tmp_path / "n.onnx").write_bytes(proto.SerializeToString())
    asked = ["import", str(tmp_path / "n.onnx"), "--features", str(tmp_path / "s.rwd"), "-o", str(tmp_path / "o")]
    assert run(asked) == 2
    err = capsys.readouterr().err
    assert "Evil" in err
    assert "\x1b" not in err
    assert "\x07" not in err
