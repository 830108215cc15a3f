"""From a vector per token to one per text, as the encoder's folder says.

sentence-transformers says it in `modules.json` and the folders that it names; a bare ONNX model in `encoder.json`:

    {"pooling": "mean", "normalize": true, "max_tokens": 256}

`pooling` is mean, cls, max, last, or none where the model gives one vector per text. Nothing is guessed: another
pooling gives other numbers, and nobody would notice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.errors import ArtifactError

Mode = Literal["mean", "cls", "max", "last", "none"]
MODES: tuple[Mode, ...] = ("mean", "cls", "max", "last", "none")
OWN, MODULES, BERT = "encoder.json", "modules.json", "sentence_bert_config.json"
PROMPTS = "config_sentence_transformers.json"
_THEIRS: Mapping[str, Mode] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}


@dataclass(frozen=True, slots=True)
class Pooling:
    """`files` are those that it was read from; `prefix` is put before every text."""

    mode: Mode
    normalize: bool
    max_tokens: int | None
    prefix: str
    files: tuple[Path, ...]

    def __call__(self, hidden: NDArray[Any]) -> NDArray[np.float32]:
        """One text's numbers [token, width], or [width] with mode none → float32 [width]. Sums are in float64."""
        values = hidden.astype(np.float64)
        match self.mode:
            case "mean":
                values = values.sum(axis=0) / len(values)
            case "cls":
                values = values[0]
            case "last":
                values = values[-1]
            case "max":
                values = values.max(axis=0)
            case "none":
                pass
        if self.normalize:
            values = values / max(float(np.sqrt((values * values).sum())), 1e-12)
        return values.astype(np.float32)


def pooling_of(folder: Path) -> Pooling:
    """Raises A51 where the folder does not say, or says what is not supported."""
    own = folder / OWN
    if own.is_file():
        return _own(own)
    if not (folder / MODULES).is_file():
        raise ArtifactError(
            "A51",
            f"{folder.name} does not say how tokens become one vector",
            help=f'write {OWN} there: {{"pooling": "mean", "normalize": true, "max_tokens": 256}}',
        )
    modules = _json(folder / MODULES)
    if not isinstance(modules, list) or not all(isinstance(m, dict) for m in modules):
        raise _wrong(folder / MODULES, "is no list of modules")
    mode: Mode | None = None
    normalize, files = False, [folder / MODULES]
    for module in modules:
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind == "Pooling":
            config = _inside(folder, str(module.get("path", ""))) / "config.json"
            mode = _theirs(config)
            files.append(config)
        elif kind == "Normalize":
            normalize = True
        elif kind != "Transformer":
            raise _wrong(folder / MODULES, f"has a module {kind}, which is not supported")
    if mode is None:
        raise _wrong(folder / MODULES, "has no pooling")
    limit, prefix = None, ""
    for name in (BERT, PROMPTS):
        if (folder / name).is_file():
            files.append(folder / name)
            content = _object(folder / name)
            limit = content.get("max_seq_length", limit)
            prompts = content.get("prompts")
            chosen = content.get("default_prompt_name")
            if chosen is not None and isinstance(prompts, dict):
                prefix = str(prompts.get(chosen, ""))
    return Pooling(mode, normalize, _limit(folder / BERT, limit), prefix, tuple(files))


def _own(path: Path) -> Pooling:
    content = _object(path)
    known = {"pooling", "normalize", "max_tokens", "prefix"}
    if odd := sorted(set(content) - known):
        raise _wrong(path, f"has no key {odd[0]}: its keys are {', '.join(sorted(known))}")
    mode = content.get("pooling")
    if mode not in MODES:
        raise _wrong(path, f"has pooling {mode!r}, not one of {', '.join(MODES)}")
    normalize, prefix = content.get("normalize", False), content.get("prefix", "")
    if not isinstance(normalize, bool) or not isinstance(prefix, str):
        raise _wrong(path, "has normalize that is not true or false, or a prefix that is no text")
    return Pooling(cast(Mode, mode), normalize, _limit(path, content.get("max_tokens")), prefix, (path,))


def _theirs(path: Path) -> Mode:
    content = _object(path)
    if "pooling_mode" in content and content["pooling_mode"] in MODES:
        return cast(Mode, content["pooling_mode"])
    on = [name for name, value in content.items() if name.startswith("pooling_mode_") and value is True]
    if len(on) != 1 or on[0] not in _THEIRS:
        raise _wrong(path, f"pools by {', '.join(on) or 'nothing'}, which is not supported")
    return _THEIRS[on[0]]


def _limit(path: Path, value: object) -> int | None:
    if value is None or (type(value) is int and value > 2):
        return value
    raise _wrong(path, f"allows {value!r} tokens")


def _inside(folder: Path, name: str) -> Path:
    found = folder / name
    if not found.resolve().is_relative_to(folder.resolve()):
        raise _wrong(folder / MODULES, f"names a place outside the folder, {name}")
    return found


def _object(path: Path) -> dict[str, Any]:
    content = _json(path)
    if not isinstance(content, dict):
        raise _wrong(path, "is no JSON object")
    return content


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _wrong(path, f"cannot be read: {str(error)[:100]}") from None


def _wrong(path: Path, what: str) -> ArtifactError:
    return ArtifactError("A51", f"{path.parent.name}/{path.name} {what}", help="see docs/data.md, Text")
