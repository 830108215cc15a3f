"""A verification that can be killed: its state in a file, written every few seconds, gone when all is said."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from rewarden.atomic import write_bytes
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang import Spec
from rewarden.verdict_cache import code_digest
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.saved import Saver, damaged
from rewarden.verifier.verdict import VerificationResult

MOST = 2**33  # bytes of a state that is read


class Resumed:
    """What a verification goes on from, and whether it came to its end (mutable)."""

    def __init__(self, saver: Saver) -> None:
        self.saver = saver
        self.ended = False

    def has(self, result: VerificationResult) -> None:
        """All is said, unless somebody has stopped it."""
        self.ended = not any(rule.stopped for rule in result.rules)


@contextmanager
def resuming(
    file: Path, spec: Spec, rewards: Mapping[str, Artifact], options: VerifyOptions, rules: Sequence[str]
) -> Iterator[Resumed]:
    """UsageError for a state about something else, for a damaged one, and where it cannot be written."""
    before = _read(file)
    state = Resumed(Saver(_about(spec, rewards, options, rules), lambda data: write_bytes(file, data), before))
    yield state
    if state.ended:
        file.unlink(missing_ok=True)


def _read(file: Path) -> bytes | None:
    try:
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device may have no end
            os.close(descriptor)
            raise damaged(f"{file} is not a regular file")
        with open(descriptor, "rb") as stream:
            if status.st_size > MOST:
                raise damaged(f"{file} is too large")
            return stream.read(MOST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise damaged(str(error)) from error


def _about(spec: Spec, rewards: Mapping[str, Artifact], options: VerifyOptions, rules: Sequence[str]) -> dict[str, str]:
    """What a state has to agree with; a time limit is nobody's business."""
    return {
        "spec": spec.digest,
        **{f"reward {name}": artifact.digest for name, artifact in sorted(rewards.items())},
        **({} if spec.base is None else {f"data {name}": _data(spec, name) for name in sorted(spec.data)}),
        **{
            f"{f.name.replace('_', ' ')}": str(getattr(options, f.name))
            for f in fields(options)
            if f.name not in ("time_limit", "coverage_budget")
        },
        "choice of rules": " ".join(rules),
        "code": code_digest(),
    }


def _data(spec: Spec, name: str) -> str:
    """The tables of some data as they are now, which the spec knows by the names of files."""
    return " ".join(spec.table(name, member).table_digest for member, _ in spec.data[name].members)
