"""Whole outputs or none: everything is written beside its target and moved there in one step.

A rename within one folder is atomic on every system that Python runs on, so a reader sees the old output or the new
one. A process that is killed leaves at most a `.NAME.part-…` beside the target, never half a target.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rewarden.spec_lang.errors import UsageError


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file whole; an existing one is replaced. UsageError G06 where the folder cannot be written."""
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(prefix=f".{target.name}.part-", dir=target.parent)
    except OSError as error:
        raise _unwritable(target, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(part, 0o666 & ~_umask())
        os.replace(part, target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        Path(part).unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text whole, with the newlines it has."""
    write_bytes(path, text.encode("utf-8"))


@contextmanager
def new_folder(path: str | Path, *, over: bool = False) -> Iterator[Path]:
    """A scratch folder that becomes `path` when the block ends well, and vanishes when it does not.

    `path` may be missing or an empty folder (`require_free`); with `over`, a folder that is there is replaced.
    """
    target = Path(path)
    if not over:
        require_free(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.part-", dir=target.parent))
    except OSError as error:
        raise _unwritable(target, error) from error
    try:
        yield scratch
        scratch.chmod(0o777 & ~_umask())
        if over:
            shutil.rmtree(target, ignore_errors=True)
        elif target.is_dir():
            target.rmdir()
        os.replace(scratch, target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def require_free(path: str | Path) -> Path:
    """UsageError G05 unless `path` is missing or an empty folder: outputs never overwrite what somebody made."""
    target = Path(path)
    if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        raise UsageError("G05", f"{target} exists already", help="name another place, or remove it first")
    return target


def _unwritable(target: Path, error: OSError) -> UsageError:
    return UsageError("G06", f"cannot write {target}: {error.strerror or error}")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
