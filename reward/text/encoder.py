"""A folder → an encoder of texts.

A text's vector must be a function of the text: rules are about it, and a cache keeps it. Padding breaks that (numbers
differ in their last bits with the neighbours in a batch), and so do models that quantise as they go. So texts are never
padded: texts of one length in tokens go together, and only where the model was seen to give the same bits to a text
alone and among others (`_alone_and_together`). Else they go one at a time.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.text.pooling import Pooling, pooling_of
from rewarden.spec_lang.canonical import canonical_json, digest_of
from rewarden.spec_lang.errors import ArtifactError, UsageError
from rewarden.spec_lang.tables import file_digest

Keep = Literal["start", "end"]
Tokens = tuple[int, ...]
TOGETHER = 32
PROBED = 48  # tokens of the longer ones of the texts that are tried together
MOST_TOKENS = 512  # where neither folder nor tokenizer says
ONNX = ("model.onnx", "onnx/model.onnx")
ADAPTER = "adapter_config.json"
PROBES = ("the quick brown fox jumps", "she sells sea shells there", "what is that over here now")


class TextEncoder(Protocol):
    """What the rest of this package needs of an encoder; a cache is one, too. `identity` names its numbers."""

    @property
    def digest(self) -> str: ...

    @property
    def identity(self) -> str: ...

    @property
    def width(self) -> int: ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]: ...

    def record(self) -> dict[str, str]: ...


@dataclass(slots=True)
class Encoder:
    """`run` maps token ids [text, token], all of one length, to numbers for each token (or each text). Mutable: it
    learns on first use whether texts may go together, and counts the texts that were cut."""

    digest: str
    width: int
    runtime: str
    pooling: Pooling
    tokenizer: Any
    run: Callable[[NDArray[np.int64]], NDArray[Any]]
    keep: Keep
    most: int = MOST_TOKENS
    together: bool | None = field(default=None)
    cut: int = field(default=0)

    @property
    def identity(self) -> str:
        """Another runtime, or another end that is kept, gives other numbers."""
        return digest_of(canonical_json({"encoder": self.digest, "runtime": self.runtime, "keep": self.keep}))

    def record(self) -> dict[str, str]:
        """What an artifact's training record says of it."""
        return {"encoder": self.digest, "encoder runtime": self.runtime, "encoder keeps": f"the {self.keep} of texts"}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 [text, width]; each row depends on its text alone."""
        if self.together is None:
            self.together = self._alone_and_together()
        found = np.empty((len(texts), self.width), np.float32)
        by_length: dict[int, list[tuple[int, Tokens]]] = defaultdict(list)
        for place, text in enumerate(texts):
            tokens = self._tokens(text)
            by_length[len(tokens)].append((place, tokens))
        size = TOGETHER if self.together else 1
        for same in by_length.values():
            for start in range(0, len(same), size):
                part = same[start : start + size]
                for (place, _), vector in zip(part, self._vectors([t for _, t in part]), strict=True):
                    found[place] = vector
        if not np.isfinite(found).all():
            row = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
            raise ArtifactError("A52", f"the encoder gives text {row + 1} what is no number: {texts[row][:60]!r}")
        return found

    def _tokens(self, text: str) -> Tokens:
        encoding = self.tokenizer.encode(self.pooling.prefix + text)
        self.cut += bool(encoding.overflowing)
        if not encoding.ids:
            raise ArtifactError("A52", "the tokenizer makes nothing of a text", help=f"the text is {text[:60]!r}")
        return tuple(encoding.ids)

    def _vectors(self, tokens: Sequence[Tokens]) -> list[NDArray[np.float32]]:
        try:
            hidden = self.run(np.array(tokens, np.int64))
        except Exception as error:  # whatever the runtime raises
            raise ArtifactError("A52", f"the encoder cannot be run: {_first_line(error)}") from None
        wanted = 2 if self.pooling.mode == "none" else 3
        if hidden.ndim != wanted or hidden.shape[0] != len(tokens):
            raise ArtifactError(
                "A52",
                f"the encoder gives numbers of shape {list(hidden.shape)} for {len(tokens)} texts",
                help="pooling is for one vector per token; none is for one vector per text",
            )
        return [self.pooling(row) for row in hidden]

    def _alone_and_together(self) -> bool:
        """Short and longer texts, a full batch of them: runtimes choose other kernels for other sizes."""
        lists = [self._tokens(text) for text in PROBES]
        for length in (min(map(len, lists)), min(PROBED, self.most)):
            same = [(tokens * length)[:length] for tokens in lists]
            alone = [self._vectors([tokens])[0] for tokens in same]
            together = self._vectors([same[k % len(same)] for k in range(TOGETHER)])
            if not all(np.array_equal(alone[k % len(same)], vector) for k, vector in enumerate(together)):
                return False
        return True


def load_encoder(folder: str | Path, keep: Keep = "end") -> Encoder:
    """`keep`: which end of a text that is too long for the model is kept.

    Raises ArtifactError A50 (no encoder there), A51 (it does not say how to pool), A52 (it cannot be run), and
    UsageError G95 where a package that it needs is not installed.
    """
    folder = Path(folder)
    if keep not in ("start", "end"):
        raise UsageError("G12", f"keep = {keep!r}: the start or the end of a long text is kept")
    if not (folder / "tokenizer.json").is_file():
        raise ArtifactError(
            "A50",
            f"there is no encoder in {folder}",
            help="a folder with tokenizer.json and model.onnx, or one that sentence-transformers has saved",
        )
    pooling = pooling_of(folder)
    model = next((folder / name for name in ONNX if (folder / name).is_file()), None)
    if model is not None:
        runtime, run, files = _onnx(model)
    elif (folder / "model.safetensors").is_file():
        runtime, run, files = _transformers(folder)
    else:
        pickled = any(folder.glob("pytorch_model*.bin"))
        raise ArtifactError(
            "A50",
            f"{folder.name} has {'a pickled model' if pickled else 'no model'}, and no model.onnx or model.safetensors",
            help="save it with safe_serialization=True, or export it to ONNX" if pickled else None,
        )
    files = (folder / "tokenizer.json", *pooling.files, *files)
    tokenizer, runtime = _tokenizer(folder, pooling, keep), f"{runtime}, {_version('tokenizers')}"
    names = {file.relative_to(folder).as_posix(): file_digest(file) for file in files}
    most = tokenizer.truncation["max_length"]
    encoder = Encoder(digest_of(canonical_json(names)), 0, runtime, pooling, tokenizer, run, keep, most)
    encoder.width = len(encoder._vectors([encoder._tokens(PROBES[0])])[0])
    return encoder


def _tokenizer(folder: Path, pooling: Pooling, keep: Keep) -> Any:  # noqa: ANN401 - an optional package without types
    tokenizers = _package("tokenizers")
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the package raises bare Exceptions
        raise ArtifactError("A50", f"{folder.name}/tokenizer.json cannot be read: {str(error)[:200]}") from None
    said = (tokenizer.truncation or {}).get("max_length")
    tokenizer.no_padding()
    tokenizer.enable_truncation(
        pooling.max_tokens or said or MOST_TOKENS, direction="left" if keep == "end" else "right"
    )
    return tokenizer


Runner = Callable[[NDArray[np.int64]], NDArray[Any]]


def _onnx(model: Path) -> tuple[str, Runner, tuple[Path, ...]]:
    runtime = _package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    outside = _outside(model)
    try:
        session = runtime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own errors have no common base
        raise ArtifactError("A52", f"{model.name} cannot be loaded: {_first_line(error)}") from None
    wanted = [item.name for item in session.get_inputs()]
    if odd := [name for name in wanted if name not in ("input_ids", "attention_mask", "token_type_ids")]:
        raise ArtifactError("A52", f"{model.name} asks for {odd[0]}", help="input_ids, attention_mask, token_type_ids")

    def run(ids: NDArray[np.int64]) -> NDArray[Any]:
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return np.asarray(session.run(None, {name: given[name] for name in wanted})[0])

    return _version("onnxruntime"), run, (model, *outside)


def _outside(model: Path) -> tuple[Path, ...]:
    """Files beside the model in which it keeps weights. A50 for one that is somewhere else."""
    import onnx

    try:
        proto = onnx.load(model, load_external_data=False)
    except Exception as error:  # protobuf's errors have no base that every version has
        raise ArtifactError("A50", f"{model.name} cannot be read: {str(error)[:200]}") from None
    places = {
        entry.value for tensor in _tensors(proto.graph) for entry in tensor.external_data if entry.key == "location"
    }
    found = [model.parent / place for place in sorted(places)]
    for file in found:
        if file.parent != model.parent or file.is_symlink() or not file.is_file():
            raise ArtifactError("A50", f"{model.name} keeps weights in {file.name}, which is not beside it")
    return tuple(found)


def _tensors(graph: Any) -> Iterator[Any]:  # noqa: ANN401 - onnx has no types
    """Every tensor that a graph holds: as a weight, in a node, in a branch of one."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from _tensors(inner)


def _first_line(error: Exception) -> str:
    """Some errors of others have no words."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _transformers(folder: Path) -> tuple[str, Runner, tuple[Path, ...]]:
    transformers = _package("transformers")
    import torch

    if (folder / ADAPTER).exists():  # transformers would follow it to the model that it names
        raise ArtifactError(
            "A50",
            f"{folder.name} holds an adapter ({ADAPTER}), which leads to another model",
            help="merge it into the model and save that: merge_and_unload(), save_pretrained(DIR)",
        )
    transformers.utils.logging.disable_progress_bar()  # libraries do not print
    try:
        model = transformers.AutoModel.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except Exception as error:  # OSError, ValueError, and others by version
        raise ArtifactError("A52", f"{folder.name} cannot be loaded: {_first_line(error)}") from None
    model = model.float().eval()

    def run(ids: NDArray[np.int64]) -> NDArray[Any]:
        with torch.inference_mode():
            tokens = torch.from_numpy(ids)
            hidden = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state
        return np.asarray(hidden.numpy())

    runtime = f"{_version('transformers')}, torch {torch.__version__}"
    return runtime, run, (folder / "config.json", folder / "model.safetensors")


def _package(name: str) -> Any:  # noqa: ANN401 - an optional package without types
    from importlib import import_module

    # onnxruntime 1.31 writes down what it ran and sends it away, from the moment at which it is imported.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return import_module(name)
    except ImportError:
        extra = "text-torch" if name == "transformers" else "text"
        raise UsageError("G95", f"text needs the package {name}", help=f"pip install 'rewarden[{extra}]'") from None


def _version(name: str) -> str:
    from importlib.metadata import version

    return f"{name} {version(name)}"
