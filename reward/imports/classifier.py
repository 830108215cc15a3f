"""A sequence classifier in a local folder: its score head as an artifact, over the features of its frozen encoder.

The folder is what `transformers` writes: `config.json` and safetensors, one file or several. The encoder is not
imported: its output at one position is the head's input, and so the reward's features. Which position that is
(`pooling`), and what padding does to it, are facts of the model's family and stand in the manifest, beside the digest
by which the encoder is named. Heads of known families are found by their tensors' names; any other is declared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact, Identified, RewardRecord
from rewarden.reward.assembly import Assembly
from rewarden.reward.imports.adapters import CONFIG as ADAPTER_CONFIG
from rewarden.reward.imports.adapters import Merged, open_adapters
from rewarden.reward.imports.declared import (
    ACTIVATIONS,
    PARAMETERS,
    Architecture,
    Layer,
    assemble_layers,
    read_architecture,
)
from rewarden.reward.imports.provenance import digest_of_files, imported
from rewarden.reward.imports.safe_files import pickled, read_json
from rewarden.reward.imports.safetensors_file import Tensors, listed, open_folder
from rewarden.reward.operators import Constants, Operators
from rewarden.spec_lang.errors import ArtifactError, Unsupported
from rewarden.spec_lang.features import RecordType

CONFIG = "config.json"
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.pth")
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json",
             "merges.txt", "spm.model", "sentencepiece.bpe.model", "tokenizer.model", "added_tokens.json")  # fmt: skip
Records = Sequence[tuple[str, RecordType]]

# model_type → the head's layers with their activations, and the position whose features they read
FIRST: Mapping[str, tuple[tuple[str, str], ...]] = {
    "bert": (("bert.pooler.dense", "tanh"), ("classifier", "none")),
    "roberta": (("classifier.dense", "tanh"), ("classifier.out_proj", "none")),
    "xlm-roberta": (("classifier.dense", "tanh"), ("classifier.out_proj", "none")),
    "camembert": (("classifier.dense", "tanh"), ("classifier.out_proj", "none")),
    "electra": (("classifier.dense", "gelu"), ("classifier.out_proj", "none")),
    "distilbert": (("pre_classifier", "relu"), ("classifier", "none")),
    "deberta": (("pooler.dense", "pooler_hidden_act"), ("classifier", "none")),
    "deberta-v2": (("pooler.dense", "pooler_hidden_act"), ("classifier", "none")),
    "albert": (("albert.pooler", "tanh"), ("classifier", "none")),
}
LAST = (("score", "none"),)  # decoders: one linear map, of the last token's features
NORMALISES = {"modernbert": "its head normalises by the spread of its own input (LayerNorm)"}
NAMES = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "swish": "silu", "linear": "none"}
POSITION = {
    "first": "the encoder's last hidden state at the first token",
    "last": "the encoder's last hidden state (after its final norm) at the last token that is not padding",
    "mean": "the mean of the encoder's last hidden states over the tokens that are not padding",
}


@dataclass(frozen=True, slots=True)
class Head:
    """What is read of a classifier: its layers, the position of the features, the names of its outputs."""

    architecture: Architecture
    pooling: str
    labels: tuple[str, ...]


def from_classifier(
    folder: Path,
    records: Records,
    *,
    output: int | str | None = None,
    adapters: Sequence[Path] = (),
    head: Path | Architecture | None = None,
    identified: Identified = "exact",
    constants: Constants = "exact",
) -> Artifact:
    """The artifact of a classifier's head. `output` says which, by number or label, where it has several; `head`
    declares the layers where the model's family is not known, or its head is another than the family's.

    Raises ArtifactError (A30 to A38) and Unsupported (X20 a head or adapter that has no form).
    """
    read = _read(folder, adapters, head, constants)
    return _artifact(folder, read, records, _column(read.head.labels, output, folder), identified, constants)


def outputs_of_classifier(
    folder: Path,
    records: Records,
    names: Sequence[str] | None = None,
    *,
    adapters: Sequence[Path] = (),
    head: Path | Architecture | None = None,
    identified: Identified = "exact",
    constants: Constants = "exact",
) -> dict[str, Artifact]:
    """One artifact for each output, by name: those given, in the order of the outputs, or else the model's labels.

    Raises as `from_classifier`; A38 where there are more or fewer outputs than names.
    """
    read = _read(folder, adapters, head, constants)
    given = tuple(read.head.labels if names is None else names)
    if len(set(given)) != len(given) or len(given) != len(read.head.labels):
        raise ArtifactError(
            "A38",
            f"{folder} has {len(read.head.labels)} outputs, and {len(set(given))} names are given",
            help="give each output a name of its own, in their order",
        )
    return {name: _artifact(folder, read, records, column, identified, constants) for column, name in enumerate(given)}


@dataclass(frozen=True, slots=True)
class _Read:
    """A classifier's folder, read: its config, its tensors as stored and with adapters merged, its head."""

    config: Mapping[str, Any]
    base: Tensors
    merged: Merged
    head: Head


def _read(folder: Path, adapters: Sequence[Path], head: Path | Architecture | None, constants: Constants) -> _Read:
    config = _config(folder)
    base = _tensors(folder)
    merged = Merged(base, open_adapters(adapters, base), constants)
    return _Read(config, base, merged, _head(config, merged, folder, head))


def _artifact(
    folder: Path, read: _Read, records: Records, column: int, identified: Identified, constants: Constants
) -> Artifact:
    declared = replace(read.head.architecture, output=column)
    build = Assembly(sum(record_type.width for _, record_type in records))
    _check_width(read.merged, declared, build.width(build.INPUT), folder)
    node = assemble_layers(declared, read.merged, Operators(build, constants), build.INPUT)
    assembled = build.finish(node)
    return Artifact(
        records=tuple(RewardRecord(param, kind.unqualified()) for param, kind in records),
        graph=assembled.graph,
        tensors=assembled.tensors,
        identified=identified,
        learner=imported(
            "a sequence classifier",
            _record(folder, read.base, read.merged, read.config, read.head, column),
            {"constants": constants, "output": read.head.labels[column]},
        ),
    )


def _config(folder: Path) -> dict[str, Any]:
    if not (folder / CONFIG).exists():
        if (folder / ADAPTER_CONFIG).exists():
            raise ArtifactError(
                "A36",
                f"{folder} is an adapter, and what it says of its base model is not followed",
                help="name the base model's folder, and this one with adapters=[…] (--adapter DIR)",
            )
        raise ArtifactError(
            "A30", f"{folder} holds no {CONFIG}", help="name what model.save_pretrained(DIR) has written"
        )
    return read_json(folder / CONFIG)


def _tensors(folder: Path) -> Tensors:
    found = open_folder(folder)
    if found is not None:
        return found
    for name in PICKLED:
        if (folder / name).exists():
            raise pickled(folder / name.removesuffix(".index.json"))
    raise ArtifactError("A30", f"{folder} holds no safetensors", help="write it with model.save_pretrained(DIR)")


# ── the head ───────────────────────────────────────────────────────────────────────────────────
def _head(config: Mapping[str, Any], tensors: Merged, folder: Path, given: Path | Architecture | None) -> Head:
    kind = str(config.get("model_type"))
    decoder = _is_decoder(config) and "score.weight" in tensors.names()
    if given is not None:
        declared = read_architecture(given) if isinstance(given, Path) else given
        pooling = declared.pooling or ("first" if kind in FIRST else "last" if decoder else None)
        if pooling is None:
            raise ArtifactError("A37", f"{folder}: model type {kind!r:.40} is not known", help=_POOLING)
        return _labelled(declared, pooling, config, tensors, folder)
    if kind in NORMALISES:
        raise Unsupported("X20", f"{folder}: {NORMALISES[kind]}, which is not supported", help=_DECLARE)
    if config.get("auto_map") or not (kind in FIRST or decoder):
        raise Unsupported("X20", f"{folder}: the head of model type {kind!r:.40} is not known", help=_found(tensors))
    named = FIRST.get(kind, LAST)
    layers = tuple(_layer(name, activation, config, tensors, folder) for name, activation in named)
    return _labelled(Architecture(layers), "first" if kind in FIRST else "last", config, tensors, folder)


def _is_decoder(config: Mapping[str, Any]) -> bool:
    """Classifiers of `transformers` whose head is called `score` pool the last token: its class says that it is one."""
    kind, classes = config.get("model_type"), config.get("architectures")
    named = [name for name in classes if isinstance(name, str)] if isinstance(classes, list) else []
    return isinstance(kind, str) and any(name.endswith("ForSequenceClassification") for name in named)


def _layer(name: str, activation: str, config: Mapping[str, Any], tensors: Merged, folder: Path) -> Layer:
    known = tensors.names()
    if f"{name}.weight" not in known:
        raise Unsupported("X20", f"{folder}: it has no {name}.weight, as heads of its type have", help=_found(tensors))
    chosen = str(config.get(activation, "gelu")) if activation == "pooler_hidden_act" else activation
    chosen = NAMES.get(chosen, chosen)
    if chosen not in ACTIVATIONS:
        raise Unsupported("X20", f"{folder}: activation {chosen!r:.40} of {name} is not known", help=_DECLARE)
    bias = f"{name}.bias" if f"{name}.bias" in known else None
    usual = PARAMETERS.get(chosen, 0.0)  # those of `transformers`, too
    return Layer(f"{name}.weight", bias, chosen, usual, None, transposed=False, residual=False)


def _labelled(declared: Architecture, pooling: str, config: Mapping[str, Any], tensors: Merged, folder: Path) -> Head:
    weight = next((layer.weight for layer in reversed(declared.layers) if layer.weight is not None), None)
    shape = () if weight is None else tensors.shape(weight)
    if len(shape) != 2:
        raise ArtifactError("A37", f"{folder}: its head ends in no linear map", help=_DECLARE)
    count = shape[1] if declared.layers[-1].transposed else shape[0]
    if count > 1 << 16:
        raise ArtifactError("A32", f"{folder}: its head has {count} outputs", help="that is no reward's")
    named = config.get("id2label")
    named = named if isinstance(named, dict) else {}
    texts = [named.get(str(k)) for k in range(count)]
    labels = tuple(text if isinstance(text, str) else f"LABEL_{k}" for k, text in enumerate(texts))
    return Head(declared, pooling, labels)


def _column(labels: Sequence[str], output: int | str | None, folder: Path) -> int:
    shown = ", ".join(f"{k} ({label[:40]})" for k, label in enumerate(labels[:10]))
    if output is None:
        if len(labels) == 1:
            return 0
        raise ArtifactError(
            "A38", f"{folder} has {len(labels)} outputs: {shown}", help="say which is the reward: output=0 (--output 0)"
        )
    if isinstance(output, str) and labels.count(output) == 1:
        return labels.index(output)
    number = int(output) if isinstance(output, int) or output.isdecimal() else -1
    if not 0 <= number < len(labels):
        raise ArtifactError("A38", f"{folder} has no output {output!r:.60}", help=f"it has {shown}")
    return number


def _check_width(tensors: Merged, declared: Architecture, width: int, folder: Path) -> None:
    first = next((layer for layer in declared.layers if layer.weight is not None), None)
    shape = () if first is None or first.weight is None else tensors.shape(first.weight)
    reads = (shape[0] if first is not None and first.transposed else shape[1]) if len(shape) == 2 else width
    if reads != width:
        raise ArtifactError(
            "A32",
            f"the head of {folder} reads {reads} features of its encoder, the spec's have {width} columns",
            help=f"declare them as one vector: h : real ^ {reads} in -30 .. 30",
        )


# ── what stands in the manifest ────────────────────────────────────────────────────────────────
def _record(
    folder: Path, base: Tensors, merged: Merged, config: Mapping[str, Any], head: Head, column: int
) -> Mapping[str, str]:
    found = {
        "model type": str(config.get("model_type"))[:80],
        "encoder": digest_of_files([folder / CONFIG, *base.files]),
        "features": POSITION[head.pooling],
        "padding": _padding(config, head.pooling),
        "head": "; ".join(_shown(layer, merged) for layer in head.architecture.layers),
        "outputs": f"{column} of {len(head.labels)}",
        "stored as": ", ".join(sorted({entry.dtype for entry in base.entries.values()})),
    }
    tokenizer = [folder / name for name in TOKENIZER if (folder / name).is_file()]
    if tokenizer:
        found["tokenizer"] = digest_of_files(tokenizer)
    for number, adapter in enumerate(merged.adapters, 1):
        found[f"adapter {number}"] = f"{digest_of_files(adapter.files)}, scaled by {adapter.scaling:.17g}"
    return found


def _padding(config: Mapping[str, Any], pooling: str) -> str:
    pad = config.get("pad_token_id")
    if pooling == "last":
        if isinstance(pad, int):
            return f"on either side, told by token {pad} (not by the attention mask)"
        return "none: no padding token, so one text at a time"
    return "on the right, told by the attention mask" + (f" (token {pad})" if isinstance(pad, int) else "")


def _shown(layer: Layer, tensors: Merged) -> str:
    if layer.weight is None:
        return layer.activation
    shape = tensors.shape(layer.weight)
    made, read = shape if layer.transposed else shape[::-1]
    return f"{layer.weight} {made} to {read}, {'bias' if layer.bias else 'no bias'}, {layer.activation}"


def features_of(hidden: NDArray[np.float32], tokens: NDArray[np.int64], pooling: str, pad: int | None,
                mask: NDArray[np.int64] | None = None) -> NDArray[np.float32]:  # fmt: skip
    """Last hidden states [text, token, feature] → the head's features [text, feature], by a head's pooling.

    The rule of the model's family: `first`; `last`: the rightmost token that is not `pad`, or the last where there is
    no padding token; `mean`: over the tokens of the attention mask.
    """
    rows = np.arange(len(hidden))
    match pooling:
        case "first":
            return hidden[:, 0]
        case "last" if pad is None:
            return hidden[:, -1]
        case "last":
            places = (np.arange(tokens.shape[1]) * (tokens != pad)).argmax(axis=1)
            return np.asarray(hidden[rows, places])
        case "mean" if mask is not None:
            weights = mask.astype(np.float32)[:, :, None]
            return np.asarray((hidden * weights).sum(axis=1) / weights.sum(axis=1), np.float32)
        case _:
            raise ValueError(f"pooling {pooling!r} is not known, or needs the attention mask")


def _found(tensors: Merged) -> str:
    heads = [
        name for name in tensors.names() if name.split(".")[0] in ("score", "classifier", "head", "v_head", "pooler")
    ]
    shown = f" (it holds {listed(sorted(heads))})" if heads else ""
    return f"{_DECLARE}{shown}"


_DECLARE = "declare the head's layers in a file, head=FILE (--architecture FILE), see docs/bring-your-own.md"
_POOLING = 'say which token\'s features the head reads: pooling = "first", "last" or "mean" in the declaration'
