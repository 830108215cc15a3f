"""A rule with its rewards' networks written out, as an SMT-LIB script: a second opinion on a small reward.

Every weight is the rational that its binary32 number is, so the script asks exactly what `rewarden verify` asks. A
solver needs a case for every unit that can bend: some dozens are quick, more are hopeless, and the script says nothing
less than the whole truth. `spec_lang.smt2` writes the rest; question 1 is then whether *this* reward breaks the rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.reward.exact import dyadic, require_rational
from rewarden.reward.graph import (
    Abs,
    Add,
    AffineMap,
    Clip,
    Concat,
    Input,
    LeakyRelu,
    Maximum,
    Minimum,
    Node,
    Patch,
    ReduceMax,
    ReduceMin,
    Relu,
    Scale,
    Sub,
)
from rewarden.reward.statistics import statistic
from rewarden.reward.tables import require_no_tables
from rewarden.reward.widths import node_order
from rewarden.spec_lang import Spec
from rewarden.spec_lang.obligation import Obligation, Statistic
from rewarden.spec_lang.smt2.script import require_small, smt2
from rewarden.spec_lang.smt2.terms import numeral
from rewarden.verifier.bind import data_constants


def reward_smt2(spec: Spec, rule: str, rewards: Mapping[str, Artifact]) -> str:
    """The rule's script with these rewards defined, and the data constants that they have.

    Unsupported X09 where a reward is large; a reward that is not given stays uninterpreted.
    """
    weights = sum(int(t.size) for artifact in rewards.values() for t in artifact.tensors.values())
    require_small(weights)
    constants: dict[Statistic, Fraction] = {}
    for obligation in _obligations(spec, rule):
        for constant in data_constants(obligation):
            if constant.reward in rewards:
                rows = spec.rows(constant.data).values
                constants[constant] = statistic(rewards[constant.reward], rows, constant.kind, constant.level)
    bodies = {name: network_body(artifact) for name, artifact in rewards.items()}
    return smt2(spec, rule, rewards=bodies, constants=constants)


def _obligations(spec: Spec, rule: str) -> Sequence[Obligation]:
    return () if spec.rule(rule).kind in ("cycle", "share") else spec.obligations_of(rule)


def network_body(artifact: Artifact) -> str:
    """The reward as one term over its columns `x0`, `x1`, …. Unsupported X24 for a smooth one: SMT-LIB has no tanh."""
    require_rational(artifact)
    require_no_tables(artifact, "an SMT-LIB script")
    writer = _Network(artifact)
    for index in node_order(artifact.graph):
        writer.node(index, artifact.graph.nodes[index])
    result = writer.values[artifact.graph.output][0]
    for number, patch in enumerate(artifact.patches):
        result = writer.patched(number, patch, result)
    return "\n  ".join([*writer.lets, result + ")" * len(writer.lets)])


class _Network:
    """Mutable: what is bound so far, one `let` for all neurons of a node."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self.lets: list[str] = []
        self.inputs = [f"x{k}" for k in range(artifact.width)]
        self.values: dict[int, list[str]] = {}

    def node(self, index: int, node: Node) -> None:
        if isinstance(node, Concat):
            self.values[index] = [name for part in node.parts for name in self.values[part]]
        elif isinstance(node, ReduceMin | ReduceMax):
            op = "<=" if isinstance(node, ReduceMin) else ">="
            self.values[index] = [self._fold(op, self.values[node.source], f"n{index}")]
        else:
            self.values[index] = self._bind(f"n{index}", list(self._elements(node)))

    def _elements(self, node: Node) -> Iterator[str]:
        match node:
            case Input():
                yield from self.inputs
            case Scale(source, scale, shift):
                for x, (w,), (b,) in zip(self.values[source], self._rows(scale), self._rows(shift), strict=True):
                    yield _affine([(w, x)], b)
            case AffineMap(source, weight, bias):
                for row, (b,) in zip(self._rows(weight), self._rows(bias), strict=True):
                    yield _affine(list(zip(row, self.values[source], strict=True)), b)
            case Relu(source):
                yield from (f"(ite (>= {x} 0.0) {x} 0.0)" for x in self.values[source])
            case LeakyRelu(source, slope):
                factor = numeral(self._rows(slope)[0][0])
                yield from (f"(ite (>= {x} 0.0) {x} (* {factor} {x}))" for x in self.values[source])
            case Abs(source):
                yield from (f"(ite (>= {x} 0.0) {x} (- {x}))" for x in self.values[source])
            case Add(a, b) | Sub(a, b):
                op = "+" if isinstance(node, Add) else "-"
                yield from (f"({op} {x} {y})" for x, y in zip(self.values[a], self.values[b], strict=True))
            case Minimum(a, b) | Maximum(a, b):
                op = "<=" if isinstance(node, Minimum) else ">="
                yield from (_extreme(op, x, y) for x, y in zip(self.values[a], self.values[b], strict=True))
            case Clip(source, lo, hi):
                low, high = numeral(self._rows(lo)[0][0]), numeral(self._rows(hi)[0][0])
                yield from (f"(ite (<= {x} {low}) {low} (ite (>= {x} {high}) {high} {x}))" for x in self.values[source])

    def patched(self, number: int, patch: Patch, reward: str) -> str:
        """docs/formats.md: beyond the gate the reward as it was, else at most (at least) level and ramp."""
        rows = zip(self._rows(patch.rows), self._rows(patch.offsets), strict=True)
        margins = self._bind(
            f"g{number}", [_affine(list(zip(row, self.inputs, strict=True)), -offset) for row, (offset,) in rows]
        )
        largest = self._fold(">=", margins, f"p{number}")
        gate, slope, delta, level = (
            self._rows(name)[0][0] for name in (patch.gate, patch.slope, patch.delta, patch.level)
        )
        (over,) = self._bind(f"o{number}", [f"(- {largest} {numeral(delta)})"])
        ramp = f"(* {numeral(slope)} (ite (>= {over} 0.0) {over} 0.0))"
        ceiling = patch.kind == "ceiling"
        (limit,) = self._bind(f"l{number}", [f"({'+' if ceiling else '-'} {numeral(level)} {ramp})"])
        inside = _extreme("<=" if ceiling else ">=", reward, limit)
        return self._bind(f"r{number}", [f"(ite (>= {largest} {numeral(gate)}) {reward} {inside})"])[0]

    def _rows(self, name: str) -> list[list[Fraction]]:
        tensor = dyadic(np.asarray(self.artifact.tensors[name], np.float32))
        scale = Fraction(1, 1 << tensor.exponent)
        return [[scale * entry for entry in row] for row in tensor.rows]

    def _bind(self, name: str, texts: Sequence[str]) -> list[str]:
        names = [f"{name}_{k}" for k in range(len(texts))]
        self.lets.append(f"(let ({' '.join(f'({n} {t})' for n, t in zip(names, texts, strict=True))})")
        return names

    def _fold(self, op: str, names: Sequence[str], prefix: str) -> str:
        found = names[0]
        for k, name in enumerate(names[1:]):
            (found,) = self._bind(f"{prefix}_{k}", [_extreme(op, found, name)])
        return found


def _extreme(op: str, x: str, y: str) -> str:
    return f"(ite ({op} {x} {y}) {x} {y})"


def _affine(terms: Sequence[tuple[Fraction, str]], constant: Fraction) -> str:
    parts = [f"(* {numeral(w)} {x})" for w, x in terms if w] + [numeral(constant)]
    return parts[0] if len(parts) == 1 else f"(+ {' '.join(parts)})"
