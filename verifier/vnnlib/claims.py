"""A query and its networks as claims, and a violation of one as a solution of the query.

Every input of the query is a variable, and every output that its formula reads a call: the reward that is this output,
at the inputs of its network. Networks that are `equal-to` another have the same rewards, so a program shares them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isfinite
from pathlib import Path

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.reward.exact import evaluate
from rewarden.spec_lang.claim import Affine, AffineAtom, Box, Claim, ClaimCall, ClaimRecord, ClaimVariable, Clause
from rewarden.spec_lang.errors import Unsupported, UsageError
from rewarden.verifier.exact_program import Point
from rewarden.verifier.vnnlib.cases import Branch
from rewarden.verifier.vnnlib.forms import Rows, substituted
from rewarden.verifier.vnnlib.networks import Declared, Outputs, Range, open_network
from rewarden.verifier.vnnlib.query import Network, Query, atoms_in, holds, value_of, with_outputs_written

MAX_USED = 64  # outputs that a query's formula may read
LARGEST = Fraction((2**24 - 1) * 2**104)  # of an input: binary32's
COMPARED = Fraction(2**20)
BITS = 128  # of a smooth network's outputs


def subject_of(query: Query, files: Mapping[str, Path], branches: Sequence[Branch]) -> Subject:
    """The query with its networks opened; `branches` are its own, which bound the inputs.

    Raises UsageError (G81: networks that do not fit; G82: bounds beyond binary32), Unsupported (X36), and what opening
    a network raises.
    """
    wanted = {network.name for network in query.networks if network.same_as is None}
    for name in sorted(wanted ^ files.keys()):
        what = "has no file" if name in wanted else "is none that the query declares with a file of its own"
        raise UsageError("G81", f"network {name} {what}", help="name each network's file: --network NAME=FILE")
    span = _span(branches)
    opened = {n.name: _opened(query, n, files[n.name], span) for n in query.networks if n.same_as is None}
    plain = Subject(query, query, opened, (), {})
    forms = plain.affine_outputs(_outputs_in(query))
    asked = replace(query, formula=with_outputs_written(query.formula, forms))
    used = _outputs_in(asked)
    if len(used) > MAX_USED:
        raise Unsupported("X36", f"the query reads {len(used)} outputs; at most {MAX_USED} are supported")
    return replace(plain, asked=asked, used=used, rewards=dict(plain.reward(output) for output in used))


def _outputs_in(query: Query) -> tuple[int, ...]:
    return tuple(sorted({k for atom in atoms_in(query.formula) for k, _ in atom.affine.calls}))


def _opened(query: Query, network: Network, file: Path, span: Range) -> Outputs:
    shapes = [tuple(tensor.shape for tensor in tensors) for tensors in (network.inputs, network.outputs)]
    return open_network(file, Declared(shapes[0], shapes[1], flat=query.version == "1.0"), span)


def _span(branches: Sequence[Branch]) -> Range:
    """A range in which to compare a network with its import: where the inputs are, but for absurd ones, at which
    ONNX's own evaluation overflows."""
    ends = [end for branch in branches for bounds in branch.box for end in bounds]
    if any(abs(end) > LARGEST for end in ends):
        raise UsageError("G82", "an input's bound is beyond binary32", help="narrow the input")
    near = [min(max(end, -COMPARED), COMPARED) for end in ends]
    return (min(near), max(near)) if near else (Fraction(0), Fraction(0))


@dataclass(frozen=True, slots=True)
class Subject:
    """A query with its networks: `asked` is the query with affine outputs written out, `opened` the networks by the
    name of the one that has the file, `used` the outputs that are still read, `rewards` an artifact for each distinct
    one of them."""

    query: Query
    asked: Query
    opened: Mapping[str, Outputs]
    used: tuple[int, ...]
    rewards: Mapping[str, Artifact]

    def affine_outputs(self, outputs: Sequence[int]) -> dict[int, Affine]:
        """Those of these outputs that are affine, as forms over the query's inputs."""
        forms: dict[int, Affine] = {}
        for number, network in enumerate(self.query.networks):
            own = {output: self._place(output)[1] for output in outputs if self._place(output)[0] == number}
            found = self.opened[network.same_as or network.name].affine(own.values())
            for output, element in own.items():
                if element in found:
                    columns = enumerate(self._columns(output))
                    rows = {column: Affine(Fraction(0), ((i, Fraction(1)),)) for column, i in columns}
                    forms[output] = substituted(found[element], rows)
        return forms

    # ── claims ─────────────────────────────────────────────────────────────────────────────────
    def claims(self, branches: Sequence[Branch]) -> Iterator[tuple[Claim, Rows]]:
        """One per set of conditions, over all boxes that have them, with the rows of its tied inputs."""
        grouped: dict[Branch, list[Box]] = {}
        for branch in branches:
            grouped.setdefault(replace(branch, box=()), []).append(branch.box)
        names = [f"x.{self.query.input_name(i)}" for i in range(self.query.inputs)]
        for branch, boxes in grouped.items():
            rows = dict(branch.rows)
            claim = Claim(
                rule="query",
                severity="must",
                variables=tuple(ClaimVariable(name, None, False) for name in names),
                records=(ClaimRecord("x", "Query", tuple(range(self.query.inputs))),),
                rewards=tuple((name, artifact.digest) for name, artifact in sorted(self.rewards.items())),
                calls=tuple(self._call(output, rows) for output in self.used),
                clauses=tuple(map(self._renumbered, branch.clauses)),
                goals=tuple(map(self._renumbered, branch.goals)),
                boxes=tuple(dict.fromkeys(boxes)),
            )
            yield claim, rows

    def _renumbered(self, clause: Clause) -> Clause:
        number = {output: k for k, output in enumerate(self.used)}
        return tuple(
            AffineAtom(replace(atom.affine, calls=tuple((number[k], c) for k, c in atom.affine.calls)), atom.strict)
            for atom in clause
        )

    def _call(self, output: int, rows: Rows) -> ClaimCall:
        columns = (rows.get(i, Affine(Fraction(0), ((i, Fraction(1)),))) for i in self._columns(output))
        return ClaimCall(self._name(output), tuple(columns))

    def _columns(self, output: int) -> Iterator[int]:
        """The inputs of the output's network."""
        network, _ = self._place(output)
        for tensor in self.query.networks[network].inputs:
            yield from range(tensor.start, tensor.start + tensor.size)

    def _place(self, output: int) -> tuple[int, int]:
        """(number of the network, element of its output row)."""
        for number, network in enumerate(self.query.networks):
            (tensor,) = network.outputs
            if tensor.start <= output < tensor.start + tensor.size:
                return number, output - tensor.start
        raise AssertionError("every output is in some network")

    def _name(self, output: int) -> str:
        number, element = self._place(output)
        network = self.query.networks[number]
        return f"{network.same_as or network.name}.{element}"

    def reward(self, output: int) -> tuple[str, Artifact]:
        """The output as a reward, with the name that equal networks share."""
        number, element = self._place(output)
        network = self.query.networks[number]
        return self._name(output), self.opened[network.same_as or network.name].element(element)

    # ── solutions ──────────────────────────────────────────────────────────────────────────────
    def solution(self, found: Point, rows: Rows) -> tuple[Point, Point]:
        """The inputs and all outputs; rounded to numbers that a network can be fed, where that is a solution too."""
        smooth = any(self._artifact(output).smooth for output in range(self.query.outputs))
        rounded = () if smooth else (_rounded(found, np.float32), _rounded(found, np.float64))
        for free in (*rounded, found):
            point = tuple(value_of(rows[i], free, ()) if i in rows else x for i, x in enumerate(free))
            outputs: list[Fraction | None] = [None] * self.query.outputs
            for output in _outputs_in(self.query):
                outputs[output] = self._value(output, point)
            if smooth or holds(self.query.formula, point, outputs):  # of smooth ones, what was replayed is sure
                values = (self._value(k, point) if value is None else value for k, value in enumerate(outputs))
                return point, tuple(values)
        raise AssertionError("an exactly replayed violation of the claim is a solution of the query")

    def _value(self, output: int, point: Point) -> Fraction:
        """Of a smooth network, to so many bits."""
        artifact, columns = self._artifact(output), [point[i] for i in self._columns(output)]
        if not artifact.smooth:
            return evaluate(artifact, columns)
        from rewarden.reward.balls import interval  # needs python-flint, which only smooth rewards do

        return sum(interval(artifact, columns, BITS), Fraction(0)) / 2

    def _artifact(self, output: int) -> Artifact:
        return self.rewards.get(self._name(output)) or self.reward(output)[1]


def _rounded(point: Point, kind: Callable[[float], np.floating]) -> Point:
    with np.errstate(all="ignore"):
        near = [float(kind(float(x))) for x in point]
    return tuple(Fraction(n) if isfinite(n) else x for n, x in zip(near, point, strict=True))
