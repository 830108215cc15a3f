"""An artifact in words: for `rewarden inspect` and `rewarden log`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from rewarden.output import number, paint
from rewarden.reward.artifact import Artifact, Edit
from rewarden.reward.imports.provenance import source_of
from rewarden.reward.lineage import Step
from rewarden.spec_lang.diagnostics import printable
from rewarden.spec_lang.features import Feature

if TYPE_CHECKING:
    from rewarden.editor.history.stored import Stored

_IDENTIFIED = {
    "exact": "exactly",
    "shift": "up to a constant: only differences of it mean something",
    "affine": "up to a positive affine map: only order and ratios of differences mean something",
}


def describe(place: Path, artifact: Artifact) -> list[str]:
    """What it is: digest, schema, network, learner, data, edits."""
    ops = Counter(type(node).__name__.lower() for node in artifact.graph.nodes[1:])
    weights = sum(int(t.size) for t in artifact.tensors.values())
    lines = [
        f"{paint(str(place), 'strong')}  {artifact.digest}",
        f"  identified    {_IDENTIFIED[artifact.identified]}",
        f"  network       {artifact.width} inputs, {weights} weights, {len(artifact.patches)} patches: "
        + ", ".join(f"{count} {op}" for op, count in sorted(ops.items())),
    ]
    for record in artifact.records:
        lines.append(f"  record {record.param}: {record.type.name}")
        rows = [_feature_row(feature) for feature in record.type.features]
        widths = [max(len(row[k]) for row in rows) for k in range(2)]
        lines += [f"    {row[0].ljust(widths[0])}  {row[1].ljust(widths[1])}  {row[2]}".rstrip() for row in rows]
    if artifact.learner is not None:
        learner = artifact.learner
        origin = source_of(learner)
        told = f"learned by    {learner.name}, seed {learner.seed}" if origin is None else f"imported from {origin}"
        lines.append(f"  {told}")
        lines += [printable(f"    {key}: {text}") for key, text in learner.options.items() if origin is not None]
        lines += [printable(f"    {key}: {text}") for key, text in learner.record.items()]
    for source in artifact.data:
        lines.append(f"  data          {source.name}, {source.rows} rows, {source.bytes_digest}")
    return lines + _edit_lines(artifact)


def log_lines(step: Step) -> list[str]:
    """One step of the history."""
    if not step.known:
        return [paint(step.digest, "strong"), "  not at hand: name its folder with --in to see it"]
    made = "imported"
    if step.learner is not None:
        origin = source_of(step.learner)
        learned = f"learned by {step.learner.name}, seed {step.learner.seed}"
        made = learned if origin is None else f"imported from {origin}"
    if step.edit is not None:
        made = _named(step.edit)
    statement = {} if step.edit is None else step.edit.statement
    return [paint(step.digest, "strong"), f"  {made}", *(f"    {name}: {text}" for name, text in statement.items())]


def _named(edit: Edit) -> str:
    return f"{edit.kind} for {edit.rule}" if edit.rule else edit.kind


def _edit_lines(artifact: Artifact) -> list[str]:
    lines = [f"  parent        {artifact.parent}"] if artifact.parent is not None else []
    if artifact.edit is not None:
        lines.append(f"  edit          {_named(artifact.edit)}")
        lines += [f"    {name}: {text}" for name, text in artifact.edit.statement.items()]
    for patch in artifact.patches:
        level, slope = (float(artifact.tensors[name][0]) for name in (patch.level, patch.slope))
        lines.append(
            f"  {patch.kind.ljust(12)}  at {number(level)} for {patch.rule}, slope {number(slope)} a ring width"
        )
    return lines


def patch_lines(artifact: Artifact, patch: Stored) -> list[str]:
    """One patch: its level, its slope, and the conditions of its region in problem units, each with its rim."""
    columns = artifact.columns
    lines = [
        f"  {patch.kind} at {number(float(patch.level))} for {patch.rule}, "
        f"slope {number(float(patch.slope))} a ring width"
    ]
    if patch.boxes > 1:
        return [*lines, f"    in {patch.boxes} boxes around data"]
    for row, offset in patch.exact_rows():
        terms = [(a, columns[j].name) for j, a in enumerate(row) if a]
        if len(terms) == 1:
            (a, name) = terms[0]
            edge, rim = number(float(offset / a)), number(float(1 / abs(a)))
            lines.append(f"    {name} {'<=' if a > 0 else '>='} {edge}, rim {rim}")
        else:
            left = " + ".join(f"{number(float(a))} {name}" for a, name in terms)
            lines.append(f"    {left} <= {number(float(offset))}, rim 1")
    return lines


def _feature_row(feature: Feature) -> tuple[str, str, str]:
    unit = f" [{feature.unit}]" if feature.unit else ""
    size = f" ^ {feature.size}" if feature.is_vector else ""
    match feature.kind:
        case "bool":
            span = ""
        case "enum":
            span = "{" + ", ".join(feature.cases) + "}"
        case _:
            span = f"{number(float(feature.lo))} .. {number(float(feature.hi))}"
    return feature.name, f"{feature.kind}{size}{unit}", span
