"""An ONNX network of one output row as rewards: one artifact per element of the row.

The file goes through the one importer that there is (`reward/onnx_import.py`), with all its checks. That wants a
single number per row, so the output is first given a last layer of one row; in the artifact that comes of it this row
is then replaced by the one that picks an element. All the artifacts so share every layer but the last, and a program
inlines them once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rewarden.reward.artifact import Artifact
from rewarden.reward.graph import AffineMap
from rewarden.reward.onnx_file import load
from rewarden.reward.onnx_import import from_onnx
from rewarden.spec_lang.claim import Affine
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier.vnnlib.affine_outputs import AffineElements

Range = tuple[Fraction, Fraction]
PICKED = "rewarden_picked"


@dataclass(frozen=True, slots=True)
class Outputs:
    """The network as a reward; `weight` names the tensor [1, count] that its last layer multiplies the outputs with."""

    artifact: Artifact
    weight: str
    count: int

    def affine(self, indices: Iterable[int]) -> dict[int, Affine]:
        """Those of these outputs that are affine, as forms over the network's inputs."""
        elements = AffineElements(self.artifact)
        last = self.artifact.graph.nodes[self.artifact.graph.output]
        assert isinstance(last, AffineMap), "the layer that was added"
        found = {index: elements.of(last.source, index) for index in indices}
        return {index: form for index, form in found.items() if form is not None}

    def element(self, index: int) -> Artifact:
        """The reward that is output number `index`."""
        row = np.zeros((1, self.count), np.float32)
        row[0, index] = 1.0
        return replace(self.artifact, tensors={**self.artifact.tensors, self.weight: row})


@dataclass(frozen=True, slots=True)
class Declared:
    """The shapes that a query declares; `flat` ones (of VNN-LIB 1.0) say no more than how many elements there are."""

    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    flat: bool


def open_network(path: Path, declared: Declared, span: Range) -> Outputs:
    """The network in a file, which has the declared shapes; `span` is a range to compare it with its import in.

    Raises UsageError (G81) where it has others, and what `from_onnx` raises.
    """
    model = load(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    _require("input", path, [v for v in model.graph.input if v.name not in constants], declared.inputs, declared.flat)
    _require("output", path, list(model.graph.output), declared.outputs, declared.flat)
    count = prod(declared.outputs[0])
    with tempfile.TemporaryDirectory() as folder:
        picking = Path(folder) / path.name
        picking.write_bytes(_picking(model, count))
        records = [_record(number, prod(shape), span) for number, shape in enumerate(declared.inputs)]
        artifact = from_onnx(picking, records)
    last = artifact.graph.nodes[artifact.graph.output]
    assert isinstance(last, AffineMap), "the layer that was added"
    return Outputs(artifact, last.weight, count)


def _require(
    what: str, path: Path, values: Sequence[onnx.ValueInfoProto], declared: Sequence[tuple[int, ...]], flat: bool
) -> None:
    if len(values) != len(declared):
        raise UsageError("G81", f"{path} has {len(values)} {what}s, the query declares {len(declared)}")
    for value, shape in zip(values, declared, strict=True):
        dims = [d.dim_value if d.HasField("dim_value") else 0 for d in value.type.tensor_type.shape.dim]
        if what == "output" and not dims and value.type.tensor_type.HasField("shape"):
            raise UsageError("G81", f"output {value.name!r} of {path} has no axes", help="export it with shape [1, 1]")
        fits = [max(d, 1) for d in dims] == list(shape) if not flat else prod(max(d, 1) for d in dims) == prod(shape)
        if not fits and value.type.tensor_type.HasField("shape"):
            theirs = " x ".join(str(d) if d else "any" for d in dims) or "1"
            raise UsageError(
                "G81",
                f"{what} {value.name!r} of {path} is {theirs}, the query declares {' x '.join(map(str, shape)) or '1'}",
                help="is it the query of this network? A batch is of one",
            )


def _picking(model: onnx.ModelProto, count: int) -> bytes:
    """The model with one more layer: a sum of its outputs, with a factor of its own for each, so that the importer's
    comparison with the file sees every one of them."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    (output,) = copy.graph.output
    name, rank = output.name, len(output.type.tensor_type.shape.dim)
    nodes = copy.graph.node
    if rank > 2:
        nodes.append(helper.make_node("Flatten", [name], [f"{PICKED}_flat"], axis=1))
        name = f"{PICKED}_flat"
    factors = numpy_helper.from_array(np.arange(1, count + 1, dtype=np.float32)[:, None])
    nodes.append(helper.make_node("Constant", [], [f"{PICKED}_factors"], value=factors))
    nodes.append(helper.make_node("MatMul", [name, f"{PICKED}_factors"], [PICKED]))
    shape = [1] if rank == 1 else [output.type.tensor_type.shape.dim[0].dim_value or "batch", 1]
    del copy.graph.output[:]
    copy.graph.output.append(helper.make_tensor_value_info(PICKED, TensorProto.FLOAT, shape))
    return bytes(copy.SerializeToString())


def _record(number: int, size: int, span: Range) -> tuple[str, RecordType]:
    feature = Feature("x", "real", span[0], span[1], None, (), size)
    return f"input{number}", RecordType(f"Input{number}", (feature,))
