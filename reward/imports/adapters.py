"""Low-rank adapters (LoRA) over a classifier's tensors: held against the model, and merged where its head is touched.

W + s·B·A, with s = alpha/r. The encoder's merged weights are never computed here: its features are the reward's inputs,
and model and adapters are named by digest. What an adapter says of its base model is not followed: the model is the
folder that the user names, so that no adapter can lead to another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.imports.provenance import digest_of_file
from rewarden.reward.imports.safe_files import pickled, read_json
from rewarden.reward.imports.safetensors_file import Tensors, open_file
from rewarden.reward.operators import Constants
from rewarden.reward.refusals import Refusal
from rewarden.spec_lang.errors import ArtifactError, Unsupported

CONFIG, WEIGHTS, PICKLED = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
PREFIX = "base_model.model."
LOW, HIGH = ".lora_A.weight", ".lora_B.weight"
PLAIN = (None, True, False, "gaussian")  # how it was initialised without changing the model beneath it
MOST_ADAPTERS = 16
Array32 = NDArray[np.float32]
Array64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Adapter:
    """A folder's adapter: `layers` are those it changes, `replaced` are tensors that it brings whole."""

    folder: Path
    tensors: Tensors
    scaling: float
    layers: frozenset[str]
    replaced: frozenset[str]

    @property
    def files(self) -> tuple[Path, Path]:
        return self.folder / CONFIG, self.folder / WEIGHTS


@dataclass(frozen=True, slots=True)
class Merged:
    """A model's tensors with adapters on top, in their order: what is read is what merging would store."""

    base: Tensors
    adapters: tuple[Adapter, ...]
    constants: Constants

    def names(self) -> set[str]:
        return set(self.base.entries) | {name for adapter in self.adapters for name in adapter.replaced}

    def shape(self, name: str) -> tuple[int, ...]:
        for adapter in reversed(self.adapters):
            if name in adapter.replaced:
                return adapter.tensors.shape(PREFIX + name)
        return self.base.shape(name)

    def read(self, name: str) -> Array32:
        found: Array32 | None = None
        for adapter in self.adapters:
            if name in adapter.replaced:
                found = adapter.tensors.read(PREFIX + name)
            elif name.removesuffix(".weight") in adapter.layers and name.endswith(".weight"):
                found = self._added(self.base.read(name) if found is None else found, adapter, name)
        return self.base.read(name) if found is None else found

    def _added(self, weight: Array32, adapter: Adapter, name: str) -> Array32:
        layer = PREFIX + name.removesuffix(".weight")
        low, high = (adapter.tensors.read(layer + part).astype(np.float64) for part in (LOW, HIGH))
        wide = weight.astype(np.float64) + adapter.scaling * (high @ low)
        merged = wide.astype(np.float32)
        if not bool(np.isfinite(merged).all()):
            raise Refusal(f"merged with {adapter.folder.name}, it is not finite", "the training has diverged")
        same = np.array_equal(merged.astype(np.float64), wide)
        if self.constants == "exact" and not (same and _sums_exactly(weight, adapter.scaling, high, low)):
            raise Refusal(
                f"merging {adapter.folder.name} into {name} rounds",
                'import with constants="nearest" (--constants nearest): the reward then is the merged head, as'
                " merge_and_unload stores it",
            )
        return merged


def _sums_exactly(weight: Array32, scaling: float, high: Array64, low: Array64) -> bool:
    """Whether W + s·B·A is computed without any rounding: what binary64 gives may be a binary32 number by rounding.

    Products of two binary32 numbers are exact in binary64, and so s·B is looked at first; a sum's error is Knuth's
    TwoSum term. What rounds on the way, and would come out even, counts as rounded.
    """
    scaled = scaling * high
    if float(np.float32(scaling)) != scaling or not np.array_equal(scaled.astype(np.float32), scaled):
        return False
    total = weight.astype(np.float64)
    for k in range(len(low)):
        term = scaled[:, k : k + 1] * low[k]
        found = total + term
        back = found - total
        if ((total - (found - back)) + (term - back)).any():
            return False
        total = found
    return True


def open_adapters(folders: Sequence[Path], base: Tensors) -> tuple[Adapter, ...]:
    """The adapters, in the order in which they lie on the model.

    Raises ArtifactError (A30 to A36) and Unsupported (X20: of a kind that is not merged).
    """
    if len(folders) > MOST_ADAPTERS:
        raise ArtifactError("A36", f"{len(folders)} adapters", help=f"at most {MOST_ADAPTERS} are accepted")
    found = tuple(_open(folder, base) for folder in folders)
    digests = [digest_of_file(adapter.folder / WEIGHTS) for adapter in found]
    for place, digest in enumerate(digests):
        if digest in digests[:place]:
            raise ArtifactError(
                "A36", f"{folders[place]} is named twice, or is a copy of another adapter", help="name each once"
            )
    return found


def _open(folder: Path, base: Tensors) -> Adapter:
    if not (folder / WEIGHTS).exists() and (folder / PICKLED).exists():
        raise pickled(folder / PICKLED)
    config = read_json(folder / CONFIG)
    scaling = _scaling(config, folder)
    tensors = open_file(folder / WEIGHTS)
    layers, replaced = set(), set()
    for key in tensors.entries:
        name = key.removeprefix(PREFIX)
        if name == key:
            raise _strange(folder, key)
        if key.endswith(LOW) or key.endswith(HIGH):
            layers.add(name.removesuffix(LOW).removesuffix(HIGH))
        elif name in base or name.rpartition(".")[0] in _saved(config):
            replaced.add(name)
        else:
            raise _strange(folder, key)
    for layer in sorted(layers):
        _check_layer(folder, tensors, base, layer, config)
    for name in replaced:
        if name in base and tensors.shape(PREFIX + name) != base.shape(name):
            raise ArtifactError("A36", f"{folder}: {name} has another shape than in the model", help=_BELONGS)
    return Adapter(folder, tensors, scaling, frozenset(layers), frozenset(replaced))


def _saved(config: dict[str, Any]) -> set[str]:
    """The layers that the adapter says it brings whole; the model may lack them, as a bare encoder lacks a head."""
    named = config.get("modules_to_save") or []
    return {name for name in named if isinstance(name, str)} if isinstance(named, list) else set()


def _check_layer(folder: Path, tensors: Tensors, base: Tensors, layer: str, config: dict[str, Any]) -> None:
    key, weight = PREFIX + layer, layer + ".weight"
    if key + LOW not in tensors or key + HIGH not in tensors or weight not in base:
        raise ArtifactError("A36", f"{folder}: {layer} has not both of its parts, or the model has no such layer",
                            help=_BELONGS)  # fmt: skip
    low, high, whole = tensors.shape(key + LOW), tensors.shape(key + HIGH), base.shape(weight)
    if len(low) != 2 or len(high) != 2 or low[0] != high[1] or low[0] != config["r"]:
        raise ArtifactError("A36", f"{folder}: {layer} is of shapes {list(low)} and {list(high)}", help=_BELONGS)
    if (high[0], low[1]) != whole:
        raise ArtifactError(
            "A36", f"{folder}: {layer} makes [{high[0]}, {low[1]}], the model's is {list(whole)}", help=_BELONGS
        )


def _scaling(config: dict[str, Any], folder: Path) -> float:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise Unsupported("X20", f"{folder}: an adapter of type {kind!r:.40}", help=_MERGE)
    for name in ("use_dora", "lora_bias", "fan_in_fan_out"):
        if config.get(name):
            raise Unsupported("X20", f"{folder}: an adapter with {name}", help=_MERGE)
    for name in ("rank_pattern", "alpha_pattern", "layer_replication", "megatron_config", "trainable_token_indices"):
        if config.get(name):
            raise Unsupported("X20", f"{folder}: an adapter with a {name}", help=_MERGE)
    if config.get("init_lora_weights", True) not in PLAIN:
        raise Unsupported("X20", f"{folder}: its start has changed the model beneath it", help=_MERGE)
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if type(rank) is not int or not 0 < rank < 1 << 20 or type(alpha) not in (int, float):
        raise ArtifactError("A36", f"{folder}: its r and lora_alpha are no numbers", help=_BELONGS)
    assert isinstance(alpha, int | float), "checked above"
    if not math.isfinite(alpha) or abs(alpha) > 1e30:
        raise ArtifactError("A36", f"{folder}: its lora_alpha is {alpha}", help=_BELONGS)
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _strange(folder: Path, key: str) -> ArtifactError:
    return ArtifactError("A36", f"{folder} holds {key[:120]!r}, which is no part of a LoRA adapter", help=_MERGE)


_BELONGS = "the adapter belongs to another model, or is damaged: take both from the same training"
_MERGE = "merge it where you trust it: peft's merge_and_unload(), then save_pretrained(DIR), and import that"
