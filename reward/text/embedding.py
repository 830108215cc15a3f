"""A table of texts → a table of features.

    [text]
    encoder = "minilm"                        # a folder
    keep = "end"                              # of a text that is too long; or "start"
    features = { e = "reply", n = "reply.words" }

A vector feature is the encoder's view of `reply`, `prompt` or `whole`; a number counts `.words` or `.characters` of
one of them. Left out, the only vector feature of the record is `reply`. Other columns of the file stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.text.dialogues import Dialogue, is_pairs, labels_of, read_pairs, read_texts
from rewarden.reward.text.encoder import Keep, TextEncoder
from rewarden.spec_lang.errors import DataError, UsageError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.tables import Source

PARTS = ("reply", "prompt", "whole")
COUNTS = ("words", "characters")


@dataclass(frozen=True, slots=True)
class TextOptions:
    """[text] of a config."""

    encoder: Path
    features: Mapping[str, str] = field(default_factory=dict)
    keep: Keep = "end"


def views_of(record_type: RecordType, features: Mapping[str, str]) -> dict[str, str]:
    """Feature → view, checked. Raises G12."""
    named = {feature.name: feature for feature in record_type.features}
    views = dict(features)
    if not views:
        vectors = [name for name, feature in named.items() if feature.is_vector]
        if len(vectors) != 1:
            raise UsageError(
                "G12",
                f"{record_type.name} has {len(vectors)} vectors, so it is unclear which of them a text becomes",
                help='say it under [text]: features = { e = "reply" }',
            )
        views = {vectors[0]: "reply"}
    for name, view in views.items():
        if name not in named:
            raise UsageError("G12", f"[text] names {name}, which is no feature", help=", ".join(named))
        part, dot, count = view.partition(".")
        if part not in PARTS or (dot and count not in COUNTS):
            known = [*PARTS, *(f"{p}.{c}" for p in PARTS for c in COUNTS)]
            raise UsageError("G12", f"{name} = {view!r} is no part of a text", help="there are: " + ", ".join(known))
        if named[name].is_vector == bool(dot):
            what = "a vector" if named[name].is_vector else "one number"
            raise UsageError("G12", f"{name} is {what}, and {view} is not", help="a count is a number, a text a vector")
    return views


def features_of(
    dialogues: Sequence[Dialogue], record_type: RecordType, views: Mapping[str, str], encoder: TextEncoder
) -> dict[str, NDArray[Any]]:
    """A column for each viewed feature: float32 [text, width], or whole numbers [text]."""
    named = {feature.name: feature for feature in record_type.features}
    return {name: _column(dialogues, named[name], view, encoder) for name, view in views.items()}


def _column(dialogues: Sequence[Dialogue], feature: Feature, view: str, encoder: TextEncoder) -> NDArray[Any]:
    part, _, count = view.partition(".")
    texts = [str(getattr(dialogue, part)) for dialogue in dialogues]
    if count:
        return np.array([len(text.split()) if count == "words" else len(text) for text in texts], np.int64)
    if encoder.width != feature.size:
        raise DataError(
            "D09",
            f"{feature.name} is declared with {feature.size} numbers, and the encoder gives {encoder.width}",
            help=f"declare {feature.name} : real ^ {encoder.width}",
        )
    return encoder.encode(texts)


def embedded(source: Source, record_type: RecordType, views: Mapping[str, str], encoder: TextEncoder) -> Source:
    """The source with the features as columns, in pairs as `better.e` and `worse.e`."""
    file = source.file
    columns: dict[str, NDArray[Any]] = {}
    if is_pairs(file.names):
        better, worse = read_pairs(source)
        for prefix, side in (("better.", better), ("worse.", worse)):
            columns |= {prefix + n: v for n, v in features_of(side, record_type, views, encoder).items()}
            columns[prefix + "text"] = _objects([dialogue.reply for dialogue in side])
        columns |= {"pair": np.arange(1, file.rows + 1), "step": np.ones(file.rows, np.int64)}
    else:
        found = read_texts(source)
        columns |= features_of(found, record_type, views, encoder)
        columns["text"] = _objects([dialogue.reply for dialogue in found])
        if "label" in file.names:
            columns["label"] = labels_of(file)

    def read(name: str) -> NDArray[Any]:
        return columns[name] if name in columns else file.read(name)

    names = tuple(dict.fromkeys((*columns, *file.names)))
    return replace(source, file=replace(file, names=names, read=read))


def _objects(texts: Sequence[str]) -> NDArray[Any]:
    found = np.empty(len(texts), dtype=object)
    found[:] = list(texts)
    return found
