"""An artifact in words: for `rewarden inspect` and `rewarden log`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rewarden.output import number, paint
from rewarden.reward.artifact import Artifact
from rewarden.reward.lineage import Entry, artifacts_in, history
from rewarden.spec_lang.features import Feature

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
        lines.append(f"  learned by    {learner.name}, seed {learner.seed}")
        lines += [f"    {key}: {text}" for key, text in learner.record.items()]
    for source in artifact.data:
        lines.append(f"  data          {source.name}, {source.rows} rows, {source.bytes_digest}")
    return lines + _edit_lines(artifact)


def history_of(artifact: Artifact, folders: Sequence[Path]) -> tuple[Entry, ...]:
    """The artifact, then its ancestors as far as they lie in `folders`; the last known digest may lack its artifact."""
    return history(artifact, [found for folder in folders if folder.is_dir() for found in artifacts_in(folder)])


def log_lines(entry: Entry) -> list[str]:
    """One entry of the history."""
    artifact = entry.artifact
    if artifact is None:
        return [paint(entry.digest, "strong"), "  not at hand: name its folder with --in to see it"]
    made = "imported"
    if artifact.learner is not None:
        made = f"learned by {artifact.learner.name}, seed {artifact.learner.seed}"
    if artifact.edit is not None:
        made = f"{artifact.edit.kind} for {artifact.edit.rule}"
    statement = {} if artifact.edit is None else artifact.edit.statement
    return [paint(entry.digest, "strong"), f"  {made}", *(f"    {name}: {text}" for name, text in statement.items())]


def _edit_lines(artifact: Artifact) -> list[str]:
    lines = [f"  parent        {artifact.parent}"] if artifact.parent is not None else []
    if artifact.edit is not None:
        lines.append(f"  edit          {artifact.edit.kind} for {artifact.edit.rule}")
        lines += [f"    {name}: {text}" for name, text in artifact.edit.statement.items()]
    for patch in artifact.patches:
        level, slope = (float(artifact.tensors[name][0]) for name in (patch.level, patch.slope))
        lines.append(
            f"  {patch.kind.ljust(12)}  at {number(level)} for {patch.rule}, slope {number(slope)} a ring width"
        )
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
