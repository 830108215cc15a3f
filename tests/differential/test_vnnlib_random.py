"""Generated queries of both versions against z3, which is given networks and formulas by another way.

Boxes that overlap, touch, are empty or have no width; disjunctions with boxes inside; strict and other comparisons of
inputs, outputs and both; equalities; one network, the same twice, or two.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
import z3
from onnx import TensorProto, helper, numpy_helper

from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.vnnlib.answer import answer
from rewarden.verifier.vnnlib.declarations import parse_query

Layers = list[tuple[np.ndarray, np.ndarray]]
Told = tuple[str, z3.BoolRef]  # a formula as text and for z3
SMALL = VerifyOptions(budget=20_000, falsify_budget=2_000, z3_rlimit=2_000_000)
COMPARED = {"<=": lambda a, b: a <= b, ">=": lambda a, b: a >= b, "<": lambda a, b: a < b, ">": lambda a, b: a > b}
EQUAL = {"1": {"=": lambda a, b: a == b, "distinct": lambda a, b: a != b},
         "2": {"==": lambda a, b: a == b, "!=": lambda a, b: a != b}}  # fmt: skip


def network(rng: np.random.Generator, inputs: int, hidden: int, outputs: int) -> Layers:
    def quarters(*shape: int) -> np.ndarray:
        return (rng.integers(-8, 9, size=shape) / 4).astype(np.float32)

    return [(quarters(hidden, inputs), quarters(hidden)), (quarters(outputs, hidden), quarters(outputs))]


def write(layers: Layers, path: Path) -> Path:
    (w0, b0), (w1, b1) = layers
    tensors = [numpy_helper.from_array(np.ascontiguousarray(a), name) for a, name in
               ((w0.T, "w0"), (b0, "b0"), (w1.T, "w1"), (b1, "b1"))]  # fmt: skip
    nodes = [helper.make_node(*node) for node in (
        ("MatMul", ["x", "w0"], ["a"]), ("Add", ["a", "b0"], ["b"]), ("Relu", ["b"], ["c"]),
        ("MatMul", ["c", "w1"], ["d"]), ("Add", ["d", "b1"], ["y"]),
    )]  # fmt: skip
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name, size in
            (("x", w0.shape[1]), ("y", w1.shape[0]))]  # fmt: skip
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def exact(layers: Layers, inputs: Sequence[z3.ArithRef]) -> list[z3.ArithRef]:
    values = list(inputs)
    for number, (weight, bias) in enumerate(layers):
        sums = [
            z3.Sum([real(Fraction(float(w))) * v for w, v in zip(row, values, strict=True)]) + real(Fraction(float(b)))
            for row, b in zip(weight, bias, strict=True)
        ]
        values = [z3.If(s > 0, s, z3.RealVal(0)) for s in sums] if number == 0 else sums
    return values


def real(value: Fraction) -> z3.RatNumRef:
    return z3.RealVal(str(value))


class Case:
    """One query, made of a seed (mutable while it is made)."""

    def __init__(self, seed: int, folder: Path) -> None:
        rng, self.draw = np.random.default_rng(seed), random.Random(seed)
        self.version = self.draw.choice("12")
        self.sizes = inputs, outputs = self.draw.choice([1, 2]), self.draw.choice([1, 2])
        self.two, self.same = self.version == "2" and self.draw.random() < 0.5, self.draw.random() < 0.5
        first = network(rng, inputs, 3, outputs)
        second = first if self.same else network(rng, inputs, 2, outputs)
        self.files = {"": write(first, folder / "f.onnx"), "g": write(second, folder / "g.onnx")}
        self.files["f"] = self.files[""]
        self.x = [z3.Real(f"x{k}") for k in range(inputs * (1 + self.two))]
        self.y = exact(first, self.x[:inputs]) + (exact(second, self.x[inputs:]) if self.two else [])
        head, self.names = self._declared()
        asserted = self._boxes()
        asserted += [self.formula(self.draw.choice([0, 1, 2])) for _ in range(self.draw.choice([1, 1, 2]))]
        self.text = head + "".join(f"(assert {text})\n" for text, _ in asserted)
        self.meaning = [meaning for _, meaning in asserted]

    def _declared(self) -> tuple[str, list[str]]:
        inputs, outputs = self.sizes
        if self.version == "1":
            names = [f"X_{k}" for k in range(inputs)] + [f"Y_{k}" for k in range(outputs)]
            return "".join(f"(declare-const {name} Real)\n" for name in names), names
        head, ins, outs = "(vnnlib-version <2.0>)\n", list[str](), list[str]()
        for name, a, b in (("f", "A", "B"), ("g", "C", "D"))[: 1 + self.two]:
            equal = " (equal-to f)" if name == "g" and self.same else ""
            head += f"(declare-network {name}{equal} (declare-input {a} real [1,{inputs}])"
            head += f" (declare-output {b} real [1,{outputs}]))\n"
            ins += [f"{a}[0,{k}]" for k in range(inputs)]
            outs += [f"{b}[0,{k}]" for k in range(outputs)]
        return head, ins + outs

    def number(self) -> Fraction:
        return Fraction(self.draw.randint(-8, 8), 4)

    def term(self) -> tuple[str, z3.ArithRef]:
        texts, parts = [], []
        values = [*self.x, *self.y]
        first = len(self.x) if self.draw.random() < 0.5 else 0
        for _ in range(self.draw.choice([1, 1, 2])):
            k, factor = self.draw.randrange(first, len(values)), self.draw.choice([Fraction(1), self.number()])
            texts.append(self.names[k] if factor == 1 else f"(* {float(factor)} {self.names[k]})")
            parts.append(real(factor) * values[k])
        shift = self.number()
        return f"(+ {' '.join(texts)} {float(shift)})", z3.Sum(parts) + real(shift)

    def comparison(self) -> Told:
        (left, a), number = self.term(), self.number()
        right, b = (f"{float(number)}", real(number)) if self.draw.random() < 0.6 else self.term()
        known = COMPARED if self.draw.random() < 0.85 else EQUAL[self.version]
        sign = self.draw.choice(sorted(known))
        return f"({sign} {left} {right})", known[sign](a, b)

    def formula(self, depth: int) -> Told:
        chance = self.draw.random()
        if depth == 0 or chance < 0.4:
            return self.comparison()
        parts = [self.formula(depth - 1) for _ in range(self.draw.choice([2, 2, 3]))]
        if chance < 0.9 or self.version == "2":
            word, join = ("and", z3.And) if chance < 0.65 else ("or", z3.Or)
            return f"({word} {' '.join(text for text, _ in parts)})", join([meaning for _, meaning in parts])
        if chance < 0.95:
            return f"(not {parts[0][0]})", z3.Not(parts[0][1])
        return f"(=> {parts[0][0]} {parts[1][0]})", z3.Implies(parts[0][1], parts[1][1])

    def _box(self) -> list[Told]:
        found: list[Told] = []
        for name, x in zip(self.names, self.x, strict=False):
            lo = self.number()
            hi = lo + self.draw.choice([Fraction(0), Fraction(1, 4), Fraction(1), Fraction(2)])
            above, below = self.draw.choice([(">=", "<="), (">=", "<="), (">", "<")])
            found.append((f"({above} {name} {float(lo)})", COMPARED[above](x, real(lo))))
            found.append((f"({below} {name} {float(hi)})", COMPARED[below](x, real(hi))))
        return found

    def _boxes(self) -> list[Told]:
        if self.draw.random() < 0.6:
            return self._box()
        cases = [[*self._box(), self.formula(1)] for _ in range(self.draw.choice([2, 3]))]
        each = [f"(and {' '.join(text for text, _ in case)})" for case in cases]
        return [(f"(or {' '.join(each)})", z3.Or([z3.And([meaning for _, meaning in case]) for case in cases]))]


def counted(seeds: Iterable[int], folder: Path) -> Counter[tuple[str, str]]:
    """(answer, truth) of each; solutions are put into the formulas once more."""
    said: Counter[tuple[str, str]] = Counter()
    for seed in seeds:
        case = Case(seed, folder)
        solver = z3.Solver()
        solver.add(case.meaning)
        query = parse_query(case.text.encode(), "q.vnnlib")
        files = {n.name: case.files[n.name] for n in query.networks if n.same_as is None}
        found = answer(query, files, SMALL)
        said[found.said, str(solver.check())] += 1
        if found.said == "sat":
            solver.add([x == real(v) for x, v in zip(case.x, found.inputs, strict=True)])
            assert solver.check() == z3.sat, (seed, case.text)
    return said


def test_answers_are_those_of_z3(tmp_path: Path) -> None:
    said = counted(range(25), tmp_path)
    assert set(said) == {("sat", "sat"), ("unsat", "unsat")}


@pytest.mark.slow
@pytest.mark.parametrize("start", range(100, 2_100, 100))
def test_answers_are_those_of_z3_for_many(start: int, tmp_path: Path) -> None:
    said = counted(range(start, start + 100), tmp_path)
    assert not {("sat", "unsat"), ("unsat", "sat")} & set(said)
    assert said["sat", "sat"] + said["unsat", "unsat"] >= 95
