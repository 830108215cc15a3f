"""Arrays that are too large for memory, in files that nobody sees.

A scratch file has no name: whatever becomes of the process, nothing of it is left. It is written as a file, so that a
disk that fills is an error and not a signal, and then mapped to be read. What has been read counts as memory of the
process until it is let go (`released`); it costs nothing to read it again.
"""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.errors import DataError

Array = NDArray[np.float64]


class Scratch:
    """Mutable: rows of float64 [n, width], appended until they are mapped."""

    def __init__(self, width: int, folder: Path | None) -> None:
        """In `folder`, or where the system keeps temporary files. Raises DataError D39."""
        self.width, self.rows = width, 0
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115 (it lives as long as this does)
        except OSError as error:
            raise _full(error) from error

    def append(self, rows: Array) -> None:
        """Raises DataError D39 where the disk is full."""
        left = memoryview(np.ascontiguousarray(rows, np.float64).tobytes())
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise _full(error) from error
        self.rows += len(rows)

    def mapped(self, *shape: int) -> Array:
        """All of it, read-only, as [-1, *shape]; the file is gone when nobody holds the array any more."""
        found = np.memmap(self._file, np.float64, "r", shape=(self.rows * self.width // int(np.prod(shape)), *shape))
        self._file.close()
        return found

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


def released(array: NDArray[Any]) -> None:
    """Lets go of what was read of a mapped array; nothing, for another."""
    mapped = getattr(array, "_mmap", None)
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _full(error: OSError) -> DataError:
    return DataError(
        "D39",
        f"there is no room to lay out the data: {error.strerror or error}",
        help="make room beside the output (8 bytes per number), or point TMPDIR to a larger disk",
    )
