"""Artifact ⇄ canonical manifest, to the letter of `docs/formats.md`.

Reading is strict: the bytes must be canonical, every key known and there, every value of its type. What an
`Artifact` checks on construction (graph, widths, tensors) is not repeated here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact, DataSource, Edit, Identified, Learner, RewardRecord
from rewarden.reward.graph import Patch
from rewarden.reward.graph_json import graph_from_json, graph_to_json
from rewarden.spec_lang.canonical import canonical_json, digest_of, parse_canonical, parse_rational, rational_text
from rewarden.spec_lang.errors import ArtifactError
from rewarden.spec_lang.features import Feature, Kind, RecordType

T = TypeVar("T")

FORMAT = "rewarden-artifact"
FORMAT_VERSION = 1
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_KEYS = frozenset(
    {
        "format",
        "format_version",
        "records",
        "graph",
        "patches",
        "identified",
        "learner",
        "data",
        "parent",
        "edit",
        "tensors",
    }
)


# ── writing ────────────────────────────────────────────────────────────────────────────────────
def tensors_bytes(tensors: Mapping[str, NDArray[np.float32]]) -> bytes:
    """The safetensors file of some tensors: a function of names and values alone (sorted, no metadata)."""
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)})


def manifest_bytes(artifact: Artifact) -> bytes:
    """The canonical manifest of an artifact."""
    return canonical_json(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "records": [_record_to_json(r) for r in artifact.records],
            "graph": graph_to_json(artifact.graph),
            "patches": [{f: getattr(p, f) for f in Patch.__match_args__} for p in artifact.patches],
            "identified": artifact.identified,
            "learner": _learner_to_json(artifact.learner),
            "data": [
                {"name": d.name, "bytes": d.bytes_digest, "table": d.table_digest, "rows": d.rows}
                for d in artifact.data
            ],
            "parent": artifact.parent,
            "edit": _edit_to_json(artifact.edit),
            "tensors": digest_of(artifact.tensors_bytes),
        }
    )


def _record_to_json(record: RewardRecord) -> dict[str, object]:
    features = [
        {
            "name": f.name,
            "kind": f.kind,
            "lo": rational_text(f.lo),
            "hi": rational_text(f.hi),
            "unit": f.unit,
            "cases": list(f.cases),
            "size": f.size,
        }
        for f in record.type.features
    ]
    return {"param": record.param, "type": record.type.name, "features": features}


def _learner_to_json(learner: Learner | None) -> dict[str, object] | None:
    if learner is None:
        return None
    return {
        "name": learner.name,
        "options": dict(learner.options),
        "seed": learner.seed,
        "record": dict(learner.record),
    }


def _edit_to_json(edit: Edit | None) -> dict[str, object] | None:
    if edit is None:
        return None
    return {"kind": edit.kind, "rule": edit.rule, "statement": dict(edit.statement)}


# ── reading ────────────────────────────────────────────────────────────────────────────────────
def parse_manifest(data: bytes) -> dict[str, object]:
    """The JSON object in a manifest's bytes; its bytes must be canonical and its keys exactly those of the format."""
    try:
        parsed = parse_canonical(data)
    except (ValueError, TypeError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ArtifactError(
            "A10",
            f"the manifest cannot be read: {reason}",
            help="it is canonical JSON, to the byte: if a formatter has rewritten it, restore the original",
        ) from None
    if not isinstance(parsed, dict) or parsed.get("format") != FORMAT:
        raise ArtifactError("A11", "the manifest is not that of a reward artifact", help=f'its "format" is {FORMAT!r}')
    version = parsed.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise ArtifactError("A11", f"format_version {version!r} is not known", help="a newer Rewarden may read it")
    return _object(parsed, _KEYS, "manifest")


def tensors_digest_in(manifest: Mapping[str, object]) -> str:
    """The digest of the tensors file that a parsed manifest names."""
    return _digest(manifest["tensors"], "tensors")


def said_in(manifest: Mapping[str, object]) -> tuple[Learner | None, Edit | None, str | None]:
    """How a parsed manifest says that its artifact was learned and edited, and of which parent."""
    return (
        _optional(manifest["learner"], "learner", _learner),
        _optional(manifest["edit"], "edit", _edit),
        _optional(manifest["parent"], "parent", _digest),
    )


def artifact_from_manifest(manifest: Mapping[str, object], tensors: Mapping[str, NDArray[np.float32]]) -> Artifact:
    """The artifact that a parsed manifest and its tensors describe."""
    identified = _choice(manifest["identified"], ("exact", "shift", "affine"), "identified")
    return Artifact(
        records=tuple(_list(manifest["records"], "records", _record)),
        graph=graph_from_json(manifest["graph"]),
        tensors=tensors,
        identified=cast(Identified, identified),
        patches=tuple(_list(manifest["patches"], "patches", _patch)),
        learner=_optional(manifest["learner"], "learner", _learner),
        data=tuple(_list(manifest["data"], "data", _data)),
        parent=_optional(manifest["parent"], "parent", _digest),
        edit=_optional(manifest["edit"], "edit", _edit),
    )


def _record(value: object, where: str) -> RewardRecord:
    fields = _object(value, frozenset({"param", "type", "features"}), where)
    features = tuple(_list(fields["features"], f"{where}.features", _feature))
    return RewardRecord(
        _text(fields["param"], f"{where}.param"), RecordType(_text(fields["type"], f"{where}.type"), features)
    )


def _feature(value: object, where: str) -> Feature:
    fields = _object(value, frozenset({"name", "kind", "lo", "hi", "unit", "cases", "size"}), where)
    return Feature(
        name=_text(fields["name"], f"{where}.name"),
        kind=cast(Kind, _choice(fields["kind"], ("real", "int", "bool", "enum"), f"{where}.kind")),
        lo=_rational(fields["lo"], f"{where}.lo"),
        hi=_rational(fields["hi"], f"{where}.hi"),
        unit=_optional(fields["unit"], f"{where}.unit", _text),
        cases=tuple(_list(fields["cases"], f"{where}.cases", _text)),
        size=_integer(fields["size"], f"{where}.size"),
    )


def _patch(value: object, where: str) -> Patch:
    fields = _object(value, frozenset(Patch.__match_args__), where)
    return Patch(**{key: _text(fields[key], f"{where}.{key}") for key in Patch.__match_args__})


def _learner(value: object, where: str) -> Learner:
    fields = _object(value, frozenset({"name", "options", "seed", "record"}), where)
    return Learner(
        name=_text(fields["name"], f"{where}.name"),
        options=_texts(fields["options"], f"{where}.options"),
        seed=_integer(fields["seed"], f"{where}.seed"),
        record=_texts(fields["record"], f"{where}.record"),
    )


def _data(value: object, where: str) -> DataSource:
    fields = _object(value, frozenset({"name", "bytes", "table", "rows"}), where)
    return DataSource(
        name=_text(fields["name"], f"{where}.name"),
        bytes_digest=_digest(fields["bytes"], f"{where}.bytes"),
        table_digest=_digest(fields["table"], f"{where}.table"),
        rows=_integer(fields["rows"], f"{where}.rows"),
    )


def _edit(value: object, where: str) -> Edit:
    fields = _object(value, frozenset({"kind", "rule", "statement"}), where)
    return Edit(
        kind=_text(fields["kind"], f"{where}.kind"),
        rule=_text(fields["rule"], f"{where}.rule"),
        statement=_texts(fields["statement"], f"{where}.statement"),
    )


# ── values of one type ─────────────────────────────────────────────────────────────────────────
def _object(value: object, keys: frozenset[str], where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    listed = f"its keys are {', '.join(sorted(keys))}"
    if unknown := sorted(set(value) - keys):
        raise ArtifactError("A12", f"{where} has an unknown key {unknown[0]!r}", help=listed)
    if missing := sorted(keys - set(value)):
        raise ArtifactError("A12", f"{where} lacks the key {missing[0]!r}", help=listed)
    return value


def _list(value: object, where: str, item: Callable[[object, str], T]) -> list[T]:
    if not isinstance(value, list):
        raise _wrong(where, "a list", value)
    return [item(v, f"{where}[{i}]") for i, v in enumerate(value)]


def _optional(value: object, where: str, item: Callable[[object, str], T]) -> T | None:
    return None if value is None else item(value, where)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong(where, "text", value)
    return value


def _texts(value: object, where: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _wrong(where, "an object of texts", value)
    return {key: _text(text, f"{where}.{key}") for key, text in value.items()}


def _integer(value: object, where: str) -> int:
    if type(value) is not int:
        raise _wrong(where, "an integer", value)
    return value


def _choice(value: object, choices: tuple[str, ...], where: str) -> str:
    if not isinstance(value, str) or value not in choices:
        raise _wrong(where, "one of " + ", ".join(choices), value)
    return value


def _digest(value: object, where: str) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise _wrong(where, "a digest (sha256:…)", value)
    return value


def _rational(value: object, where: str) -> Fraction:
    try:
        return parse_rational(value)
    except ValueError:
        raise _wrong(where, "a rational in lowest terms, as text", value) from None


def _wrong(where: str, expected: str, value: object) -> ArtifactError:
    return ArtifactError("A12", f"{where} is {repr(value)[:60]}, not {expected}", help=_DAMAGED)


_DAMAGED = "the artifact is damaged, or was not written by Rewarden: restore it from its source"
