"""Artifact ⇄ canonical manifest, to the letter of `docs/formats.md`.

Reading is strict: the bytes must be canonical, every key known and there, every value of its type. What an
`Artifact` checks on construction (graph, widths, tensors) is not repeated here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact, DataSource, Edit, Identified, Learner, RewardRecord
from rewarden.reward.graph import Patch
from rewarden.reward.graph_json import graph_from_json, graph_to_json
from rewarden.spec_lang.canonical import canonical_json
from rewarden.spec_lang.errors import ArtifactError
from rewarden.spec_lang.features import Feature, Kind, RecordType

_T = TypeVar("_T")

FORMAT = "rewarden-artifact"
FORMAT_VERSION = 1
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_RATIONAL = re.compile(r"(0|-?[1-9][0-9]{0,400})(/[1-9][0-9]{0,400})?")
_KEYS = frozenset(
    "format format_version records graph patches identified learner data parent edit tensors".split()
)


def digest_of(data: bytes) -> str:
    """`sha256:` and the hex digest of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def rational_text(value: Fraction) -> str:
    """`p/q` in lowest terms, or `p`."""
    return str(Fraction(value))


# ── writing ────────────────────────────────────────────────────────────────────────────────────
def tensors_bytes(tensors: Mapping[str, NDArray[np.float32]]) -> bytes:
    """The safetensors file of some tensors: a function of names and values alone (sorted, no metadata)."""
    from safetensors.numpy import save

    return cast(bytes, save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}))


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
                {"name": d.name, "bytes": d.bytes_digest, "table": d.table_digest, "rows": d.rows} for d in artifact.data
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
def tensors_digest_in(manifest: Mapping[str, Any]) -> str:
    """The digest of the tensors file that a parsed manifest names."""
    return _digest(manifest["tensors"], "tensors")


def parse_manifest(data: bytes) -> dict[str, Any]:
    """The JSON object in a manifest's bytes; its bytes must be canonical and its keys exactly those of the format."""
    try:
        parsed = json.loads(data.decode("utf-8"), parse_float=_no_float, parse_constant=_no_float)
        canonical = canonical_json(parsed)
    except (ValueError, TypeError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ArtifactError("A10", f"the manifest cannot be read: {reason}", help=_DAMAGED) from None
    if canonical != data:
        raise ArtifactError(
            "A10",
            "the manifest is not canonical JSON (keys sorted, no white space, each key once)",
            help="a formatter or an editor has rewritten manifest.json: restore the original bytes",
        )
    if not isinstance(parsed, dict) or parsed.get("format") != FORMAT:
        raise ArtifactError("A11", "the manifest is not that of a reward artifact", help=f'its "format" is {FORMAT!r}')
    version = parsed.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise ArtifactError("A11", f"format_version {version!r} is not known", help="a newer Rewarden may read it")
    _keys(parsed, _KEYS, "manifest")
    return parsed


def artifact_from_manifest(manifest: Mapping[str, Any], tensors: Mapping[str, NDArray[np.float32]]) -> Artifact:
    """The artifact that a parsed manifest and its tensors describe."""
    identified = _choice(manifest["identified"], ("exact", "shift", "affine"), "identified")
    parent = manifest["parent"]
    return Artifact(
        records=tuple(_list(manifest["records"], "records", _record)),
        graph=graph_from_json(manifest["graph"]),
        tensors=tensors,
        identified=cast(Identified, identified),
        patches=tuple(_list(manifest["patches"], "patches", _patch)),
        learner=None if manifest["learner"] is None else _learner(manifest["learner"]),
        data=tuple(_list(manifest["data"], "data", _data)),
        parent=None if parent is None else _digest(parent, "parent"),
        edit=None if manifest["edit"] is None else _edit(manifest["edit"]),
    )


def _record(value: Any, where: str) -> RewardRecord:
    _keys(value, frozenset({"param", "type", "features"}), where)
    features = tuple(_list(value["features"], f"{where}.features", _feature))
    return RewardRecord(_text(value["param"], f"{where}.param"), RecordType(_text(value["type"], f"{where}.type"), features))


def _feature(value: Any, where: str) -> Feature:
    _keys(value, frozenset({"name", "kind", "lo", "hi", "unit", "cases", "size"}), where)
    kind = _choice(value["kind"], ("real", "int", "bool", "enum"), f"{where}.kind")
    return Feature(
        name=_text(value["name"], f"{where}.name"),
        kind=cast(Kind, kind),
        lo=_rational(value["lo"], f"{where}.lo"),
        hi=_rational(value["hi"], f"{where}.hi"),
        unit=None if value["unit"] is None else _text(value["unit"], f"{where}.unit"),
        cases=tuple(_list(value["cases"], f"{where}.cases", _text)),
        size=_integer(value["size"], f"{where}.size"),
    )


def _patch(value: Any, where: str) -> Patch:
    _keys(value, frozenset(Patch.__match_args__), where)
    return Patch(**{f: _text(value[f], f"{where}.{f}") for f in Patch.__match_args__})


def _learner(value: Any) -> Learner:
    _keys(value, frozenset({"name", "options", "seed", "record"}), "learner")
    return Learner(
        name=_text(value["name"], "learner.name"),
        options=_texts(value["options"], "learner.options"),
        seed=_integer(value["seed"], "learner.seed"),
        record=_texts(value["record"], "learner.record"),
    )


def _data(value: Any, where: str) -> DataSource:
    _keys(value, frozenset({"name", "bytes", "table", "rows"}), where)
    return DataSource(
        name=_text(value["name"], f"{where}.name"),
        bytes_digest=_digest(value["bytes"], f"{where}.bytes"),
        table_digest=_digest(value["table"], f"{where}.table"),
        rows=_integer(value["rows"], f"{where}.rows"),
    )


def _edit(value: Any) -> Edit:
    _keys(value, frozenset({"kind", "rule", "statement"}), "edit")
    return Edit(
        kind=_text(value["kind"], "edit.kind"),
        rule=_text(value["rule"], "edit.rule"),
        statement=_texts(value["statement"], "edit.statement"),
    )


# ── values of one type ─────────────────────────────────────────────────────────────────────────
def _keys(value: Any, keys: frozenset[str], where: str) -> None:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    if unknown := sorted(set(value) - keys):
        raise ArtifactError("A12", f"{where} has an unknown key {unknown[0]!r}", help=f"its keys are {', '.join(sorted(keys))}")
    if missing := sorted(keys - set(value)):
        raise ArtifactError("A12", f"{where} lacks the key {missing[0]!r}", help=f"its keys are {', '.join(sorted(keys))}")


def _list(value: Any, where: str, item: Callable[[Any, str], _T]) -> list[_T]:
    if not isinstance(value, list):
        raise _wrong(where, "a list", value)
    return [item(v, f"{where}[{i}]") for i, v in enumerate(value)]


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong(where, "text", value)
    return value


def _texts(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _wrong(where, "an object of texts", value)
    return {k: _text(v, f"{where}.{k}") for k, v in value.items()}


def _integer(value: Any, where: str) -> int:
    if type(value) is not int:
        raise _wrong(where, "an integer", value)
    return value


def _choice(value: Any, choices: tuple[str, ...], where: str) -> str:
    if value not in choices:
        raise _wrong(where, "one of " + ", ".join(choices), value)
    return cast(str, value)


def _digest(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise _wrong(where, "a digest (sha256:…)", value)
    return value


def _rational(value: Any, where: str) -> Fraction:
    if not isinstance(value, str) or not _RATIONAL.fullmatch(value) or str(Fraction(value)) != value:
        raise _wrong(where, "a rational in lowest terms, as text", value)
    return Fraction(value)


def _wrong(where: str, expected: str, value: Any) -> ArtifactError:
    shown = repr(value)
    return ArtifactError("A12", f"{where} is {shown if len(shown) <= 60 else shown[:57] + '…'}, not {expected}", help=_DAMAGED)


def _no_float(text: str) -> Literal[0]:
    raise ValueError(f"{text} is a floating-point number, which a manifest never holds")


_DAMAGED = "the artifact is damaged, or was not written by Rewarden: restore it from its source"
