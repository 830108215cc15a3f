"""Vectors that were made before, by the digest of what made them (`Encoder.identity`) and of the text.

One SQLite file per encoder. What is damaged is thrown away and made anew: a cache is never the only place.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.learners.interface import Progress, silent
from rewarden.reward.text.encoder import TextEncoder

AT_ONCE = 64  # texts between two writes, so that a kill loses little


@dataclass(slots=True)
class Cached:
    """An encoder that remembers. Counts `made` and `kept` texts; `progress` is told how far it has come."""

    encoder: TextEncoder
    folder: Path
    progress: Progress = silent
    made: int = 0
    kept: int = 0

    @property
    def digest(self) -> str:
        return self.encoder.digest

    @property
    def identity(self) -> str:
        return self.encoder.identity

    @property
    def width(self) -> int:
        return self.encoder.width

    def record(self) -> dict[str, str]:
        return self.encoder.record()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As the encoder does; every text once."""
        keys = {text: hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts}
        found = self._read(list(keys.values()))
        self.kept += len(found)
        left = [text for text, key in keys.items() if key not in found]
        for start in range(0, len(left), AT_ONCE):
            part = left[start : start + AT_ONCE]
            vectors = self.encoder.encode(part)
            fresh = {keys[text]: vector for text, vector in zip(part, vectors, strict=True)}
            self._write(fresh)
            found |= fresh
            self.made += len(part)
            self.progress("encoding", start + len(part), len(left), "texts")
        result = np.empty((len(texts), self.width), np.float32)
        for row, text in enumerate(texts):
            result[row] = found[keys[text]]
        return result

    @property
    def _file(self) -> Path:
        return self.folder / f"{self.identity.removeprefix('sha256:')}.sqlite"

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
        if not self._file.is_file():
            return {}
        found = {}
        try:
            with closing(sqlite3.connect(self._file)) as store:
                for key in keys:
                    row = store.execute("select vector from vectors where key = ?", (key,)).fetchone()
                    vector = None if row is None else np.frombuffer(row[0], "<f4")
                    if vector is not None and vector.shape == (self.width,) and np.isfinite(vector).all():
                        found[key] = vector
        except (sqlite3.Error, ValueError, TypeError):
            self._file.unlink(missing_ok=True)
            return {}
        return found

    def _write(self, vectors: dict[bytes, NDArray[np.float32]]) -> None:
        """A cache that cannot be written is none, and no error."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._file)) as store, store:
                store.execute("create table if not exists vectors (key blob primary key, vector blob)")
                rows = [(key, vector.astype("<f4").tobytes()) for key, vector in vectors.items()]
                store.executemany("insert or replace into vectors values (?, ?)", rows)
        except (sqlite3.Error, OSError):
            pass
