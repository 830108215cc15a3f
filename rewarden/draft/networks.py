"""A network or a reward artifact to a draft."""

from __future__ import annotations

from math import prod
from pathlib import Path

from rewarden.draft.field import REVIEW, Draft, DraftField, DraftRecord
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.features import Feature
from rewarden.spec_lang.numerals import decimal

_MOST_NAMED = 64  # inputs up to which each gets a name of its own: a person can review so many


def from_network(path: Path) -> Draft:
    """Placeholders for the inputs of an ONNX file, which names and ranges do not say. ArtifactError A30,
    UsageError G87."""
    count = _input_width(path)
    note = (f"{REVIEW}: the network does not say",)
    if count > _MOST_NAMED:
        fields: tuple[DraftField, ...] = (DraftField("x", f"real ^ {count} in -1 .. 1", note),)
    else:
        fields = tuple(DraftField(f"x{k}", "real in -1 .. 1", note) for k in range(count))
    remark = f"{REVIEW}: a network's inputs have neither names, nor units, nor ranges: all of them are placeholders"
    return Draft(path.name, (DraftRecord("Step", fields),), remarks=(remark,))


def _input_width(path: Path) -> int:
    """Columns of the network's inputs, batch axis aside."""
    from rewarden.reward.onnx_file import load

    graph = load(path).graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    shapes = [[d.dim_value for d in value.type.tensor_type.shape.dim] for value in inputs]
    count = int(sum(prod(dims[1:] if len(dims) > 1 else dims) for dims in shapes))
    if count < 1:
        raise UsageError(
            "G87", f"{path}: the width of its inputs is not fixed", help="export it with a fixed number of columns"
        )
    return count


def from_artifact(path: Path) -> Draft:
    """The record types that the artifact was learned on, as they are."""
    from rewarden.reward.store import load_artifact

    artifact = load_artifact(path)
    return Draft(
        f"the artifact {path.name}",
        tuple(declared_records(artifact).values()),
        params=tuple((record.param, record.type.name) for record in artifact.records),
        artifact=path,
        identified=artifact.identified,
    )


def declared_records(artifact: Artifact) -> dict[str, DraftRecord]:
    """Its record types by name, ranges and units as they are."""
    return {
        record.type.name: DraftRecord(record.type.name, tuple(_declared(feature) for feature in record.type.features))
        for record in artifact.records
    }


def _declared(feature: Feature) -> DraftField:
    unit = f" [{feature.unit}]" if feature.unit is not None else ""
    match feature.kind:
        case "bool":
            kind = "bool"
        case "enum":
            kind = "enum {" + ", ".join(feature.cases) + "}"
        case number:
            size = f" ^ {feature.size}" if feature.size > 1 else ""
            kind = f"{number}{size}{unit} in {decimal(feature.lo)} .. {decimal(feature.hi)}"
    return DraftField(feature.name, kind)
