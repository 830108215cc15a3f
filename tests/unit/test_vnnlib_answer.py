"""`rewarden vnnlib`: the word on the first line, the solution below it, and the exit status."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rewarden.cli import run
from rewarden.spec_lang.errors import UsageError
from rewarden.verifier.vnnlib.declarations import parse_query
from rewarden.verifier.vnnlib.networks import Declared, open_network

BOX = "".join(f"(declare-const {v} Real)" for v in ("X_0", "X_1", "Y_0", "Y_1")) + "".join(
    f"(assert (>= {v} -1.0)) (assert (<= {v} 1.0))" for v in ("X_0", "X_1")
)


def network(path: Path, *, shape: tuple[object, ...] = (1, 2), opset: int = 13, scale: float = 1.0) -> Path:
    """Y_0 = scale·max(x0 − x1, 0), Y_1 = x0 + 2 x1 + 0.25."""
    weight = np.array([[1, 1], [-1, 2]], np.float32)
    last = np.array([[scale, 0], [0, 1], [0, -1]], np.float32)
    nodes = [
        *([helper.make_node("Flatten", ["x"], ["f"], axis=1)] if len(shape) > 2 else []),
        helper.make_node("MatMul", ["f" if len(shape) > 2 else "x", "w"], ["m"]),
        helper.make_node("MatMul", ["m", "s"], ["t"]),
        helper.make_node("Relu", ["t"], ["r"]),
        helper.make_node("MatMul", ["r", "l"], ["k"]),
        helper.make_node("Add", ["k", "b"], ["y"]),
    ]
    constants = {
        "w": weight,
        "s": np.array([[1, 0, 0], [0, 1, -1]], np.float32),  # x0 − x1; x0 + 2 x1 and minus that, so relu loses nothing
        "l": last,
        "b": np.array([0, 0.25], np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (shape[0], 2))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def asked(tmp_path: Path, text: str, *options: str, head: str = BOX, net: Path | None = None) -> int:
    query = tmp_path / "q.vnnlib"
    query.write_text(head + text)
    return run(["vnnlib", str(net or network(tmp_path / "n.onnx")), str(query), "-q", *options])


def test_unsat_is_status_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(tmp_path, "(assert (> Y_0 2.0))") == 0
    assert capsys.readouterr().out == "unsat\n"


def test_sat_is_status_1_and_gives_every_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(tmp_path, "(assert (>= Y_0 2.0)) (assert (<= Y_1 -0.75))") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["sat", "((X_0 1.0)", " (X_1 -1.0)", " (Y_0 2.0)", " (Y_1 -0.75))"]


def test_strict_and_non_strict_are_different_questions(tmp_path: Path) -> None:
    assert asked(tmp_path, "(assert (>= Y_0 2.0))") == 1
    assert asked(tmp_path, "(assert (> Y_0 2.0))") == 0
    assert asked(tmp_path, "(assert (< Y_0 0.0))") == 0
    assert asked(tmp_path, "(assert (and (> X_0 0.5) (>= X_1 1.0) (< X_0 0.5)))") == 0


def test_unknown_and_timeout_are_status_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hard = "(assert (or (and (>= Y_0 1.99) (>= Y_1 0.26)) (and (<= Y_1 0.24) (>= Y_0 1.99) (>= X_1 0.1))))"
    assert asked(tmp_path, hard, "--timeout", "0.000001") == 3
    assert capsys.readouterr().out == "timeout\n"


def test_disjunctions_over_inputs_and_outputs(tmp_path: Path) -> None:
    left = "(and (<= X_0 0.0) (>= Y_0 1.5))"  # needs x1 <= -1.5: no
    right = "(and (>= X_0 0.5) (<= X_1 0.5) (<= Y_1 0.0) (>= Y_0 {}))"
    assert asked(tmp_path, f"(assert (or {left} {right.format('2.5')}))") == 0
    assert asked(tmp_path, f"(assert (or {left} {right.format('1.9')}))") == 1
    assert asked(tmp_path, "(assert (or (>= Y_0 3.0) (and (>= Y_1 0.0) (<= Y_1 -1.0))))") == 0
    assert asked(tmp_path, "(assert (or (>= Y_0 3.0) (and (>= Y_1 -1.0) (<= Y_1 -1.0))))") == 1
    # the first two assertions alone are satisfiable, the third rules every alternative out
    both = "(assert (or (<= X_0 -0.5) (>= X_0 0.5))) (assert (or (<= Y_0 0.0) (>= Y_1 3.0)))"
    assert asked(tmp_path, both) == 1
    assert asked(tmp_path, both + "(assert (>= Y_0 0.1)) (assert (<= X_1 0.8))") == 0


def test_queries_about_inputs_alone(tmp_path: Path) -> None:
    assert asked(tmp_path, "") == 1
    assert asked(tmp_path, "(assert (>= (+ X_0 X_1) 2.0))") == 1
    assert asked(tmp_path, "(assert (> (+ X_0 X_1) 2.0))") == 0
    assert asked(tmp_path, "(assert false)") == 0
    assert asked(tmp_path, "(assert (>= X_0 1.5))") == 0


def test_a_solution_is_exact_where_decimals_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    third = "(assert (== (* 3 X_0) 1)) (assert (>= Y_0 0.0))"
    assert asked(tmp_path, third) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[1] == "((X_0 0.3333333333333333)"
    assert "X_0: no finite decimal" in err


HEAD = """(vnnlib-version <2.0>)
(declare-network f (declare-input A real [1,2]) (declare-output B real [1,2]))
(declare-network g (equal-to f) (declare-input C real [1,2]) (declare-output D real [1,2]))
"""
HEAD += "".join(f"(assert (>= {v} -1.0)) (assert (<= {v} 1.0))" for v in ("A[0,0]", "A[0,1]", "C[0,0]", "C[0,1]"))


def test_two_applications_of_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ordered = "(assert (>= C[0,0] A[0,0])) (assert (== C[0,1] A[0,1]))"
    monotone = ordered + "(assert (< D[0,0] B[0,0]))"  # with no margin: it holds with equality
    assert asked(tmp_path, monotone, "--budget", "300", head=HEAD) == 0
    assert asked(tmp_path, ordered + "(assert (<= D[0,0] (- B[0,0] 0.5)))", head=HEAD) == 0
    capsys.readouterr()
    assert asked(tmp_path, ordered + "(assert (>= D[0,0] (+ B[0,0] 2.0)))", head=HEAD) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sat"
    assert [line for line in lines if "real" in line] == [f"{name} real [1,2]" for name in "ABCD"]
    assert lines[lines.index("C real [1,2]") + 1] == "1.0"


def test_two_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = HEAD.replace("(equal-to f) ", "(isomorphic-to f) ")
    net, other = network(tmp_path / "n.onnx"), network(tmp_path / "o.onnx", scale=0.5)
    same = "(assert (== C[0,0] A[0,0])) (assert (== C[0,1] A[0,1]))"
    option = ("--network", f"g={other}")
    assert asked(tmp_path, same + "(assert (> D[0,0] B[0,0]))", *option, head=head, net=net) == 0
    assert asked(tmp_path, same + "(assert (>= B[0,0] (+ D[0,0] 1.0)))", *option, head=head, net=net) == 1
    assert asked(tmp_path, same, head=head, net=net) == 2
    assert "network g has no file" in capsys.readouterr().err
    assert asked(tmp_path, same, "--network", f"h={other}", *option, head=head, net=net) == 2
    assert asked(tmp_path, same, "--network", "g", head=head, net=net) == 2
    assert asked(tmp_path, same, "--network", f"g={other}", head=HEAD, net=net) == 2


@pytest.mark.parametrize(
    "shape, flat, shapes, fits",
    [
        ((1, 2), True, (2,), True),
        (("batch", 2), True, (2,), True),
        ((1, 1, 1, 2), True, (2,), True),
        ((1, 2), True, (3,), False),
        ((1, 2), False, (1, 2), True),
        ((1, 2), False, (2,), False),
        ((1, 2), False, (2, 1), False),
        (("batch", 2), False, (1, 2), True),
        (("batch", 2), False, (3, 2), False),
    ],
)
def test_sizes_are_those_of_the_network(tmp_path: Path, shape, flat: bool, shapes, fits: bool) -> None:
    path = network(tmp_path / "n.onnx", shape=shape)
    declared = Declared((shapes,), ((2,) if flat else (1, 2),), flat=flat)
    if fits:
        assert open_network(path, declared, (Fraction(-1), Fraction(1))).count == 2
    else:
        with pytest.raises(UsageError, match="G81"):
            open_network(path, declared, (Fraction(-1), Fraction(1)))


def test_elements_share_the_network(tmp_path: Path) -> None:
    from rewarden.reward.exact import evaluate

    opened = open_network(network(tmp_path / "n.onnx"), Declared(((2,),), ((2,),), True), (Fraction(-1), Fraction(1)))
    x = [Fraction(2, 3), Fraction(-1, 7)]
    assert [evaluate(opened.element(k), x) for k in (0, 1)] == [x[0] - x[1], x[0] + 2 * x[1] + Fraction(1, 4)]
    # relu(t) − relu(−t) is affine, but no operator says so
    assert opened.affine((0, 1)) == {}


@pytest.mark.parametrize(
    "text, code",
    [
        ("(assert (<= Y_2 0.0))", "G80"),
        ("(assert (<= Y_0 0.0)", "G80"),
        ("(assert (or (<= X_0 1e39) (<= Y_0 0.0)))", None),
    ],
)
def test_files_at_fault_are_status_2(tmp_path: Path, text: str, code: str | None, capsys) -> None:
    status = asked(tmp_path, text)
    assert (status, code is None) in ((2, False), (1, True))
    out, err = capsys.readouterr()
    assert code is None or (f"error[{code}]" in err and out == "")


@pytest.mark.parametrize(
    "net, query, code",
    [
        ("missing.onnx", "q.vnnlib", "A30"),
        ("q.vnnlib", "q.vnnlib", "A30"),
        ("n.onnx", "missing.vnnlib", "G80"),
        ("n.onnx", "n.onnx", "G80"),
        ("n.onnx", ".", "G80"),
        ("n.onnx", "wide.vnnlib", "G82"),
        ("n.onnx", "open.vnnlib", "G82"),
    ],
)
def test_wrong_files_are_status_2(tmp_path: Path, net: str, query: str, code: str, capsys) -> None:
    network(tmp_path / "n.onnx")
    (tmp_path / "q.vnnlib").write_text(BOX)
    (tmp_path / "wide.vnnlib").write_text(BOX.replace("<= X_0 1.0", "<= X_0 1e40"))
    (tmp_path / "open.vnnlib").write_text(BOX.replace("(assert (<= X_0 1.0))", ""))
    assert run(["vnnlib", str(tmp_path / net), str(tmp_path / query)]) == 2
    assert f"error[{code}]" in capsys.readouterr().err


def test_too_many_outputs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weight = np.ones((1, 80), np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Relu", ["m"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 1))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 80))],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)]), tmp_path / "n.onnx")
    head = "(declare-const X_0 Real)" + "".join(f"(declare-const Y_{k} Real)" for k in range(80))
    text = "(assert (>= X_0 0.0)) (assert (<= X_0 1.0))" + "".join(f"(assert (<= Y_{k} 0.0))" for k in range(80))
    assert asked(tmp_path, text, head=head, net=tmp_path / "n.onnx") == 2
    assert "error[X36]" in capsys.readouterr().err


def test_the_same_question_gives_the_same_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outs = []
    for _ in range(2):
        asked(tmp_path, "(assert (>= Y_0 1.25)) (assert (<= Y_1 0.0))")
        outs.append(capsys.readouterr().out)
    assert outs[0] == outs[1]
    assert parse_query((BOX + "(assert (>= Y_0 1.25))").encode(), "q").outputs == 2
