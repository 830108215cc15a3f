"""All methods of `patch` one after the other, within one time, kept as they finish.

A time limit is that of all of it. The verification of what fails has a third of it at most; each method has an equal
share of what is then left, and what it does not use is for those after it: so those that are for few rules, and tell
that at once, come first. A method's own verifications stop in time to
be told of; what asks no clock is cut off at the end of the share (`interrupt.limited`).

What has finished is kept in a file named by all that it hangs on (spec, data, rewards, rules, options, code), so that a
run after Ctrl-C, a kill or too short a time goes on with the others. Once all have finished the file goes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from rewarden.atomic import write_bytes
from rewarden.editor.compare import Compared, compared
from rewarden.editor.mend import Mender
from rewarden.editor.methods.choose import METHODS
from rewarden.interrupt import TimeIsUp, limited
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.canonical import canonical_json
from rewarden.spec_lang.errors import RewardenError
from rewarden.spec_lang.spec import Spec
from rewarden.verdict_cache import code_digest, default_folder
from rewarden.verifier.verdict import VerificationResult

ORDER = ("threshold", "levels", "envelope", "slope", "region", "violated", "last-layer", "tuning")  # who soon declines
FIRST = 1 / 3  # of the time: what fails?
OF_SHARE = 0.7  # of what is left of a method's share: one of its verifications


@dataclass(slots=True)
class Clock:
    """What is left of a time, and of the share that somebody has of it now (mutable); None: there is no limit."""

    seconds: float | None
    start: float = field(default_factory=time.monotonic)
    until: float | None = None

    def share(self, part: float) -> float | None:
        """Begins a share of what is left; its seconds."""
        if self.seconds is None:
            return None
        now = time.monotonic()
        own = max(0.0, self.start + self.seconds - now) * part
        self.until = now + own
        return own

    def part(self, of_it: float) -> float | None:
        """Of what is left of all, so much, in seconds: without a share of its own."""
        if self.seconds is None:
            return None
        return max(1e-3, (self.start + self.seconds - time.monotonic()) * of_it)

    def verifying(self) -> float | None:
        """How long a verification within the share may take."""
        return None if self.until is None else max(1e-3, OF_SHARE * (self.until - time.monotonic()))


class Kept:
    """Finished methods in a file (mutable). Nothing is kept where it cannot be written."""

    def __init__(self, key: str, folder: Path | None) -> None:
        self.key, self.file = key, None if folder is None else folder / f"{key}.json"
        self.done: dict[str, Compared] = {}
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            told = json.loads(self.file.read_bytes()) if self.file is not None else {}
            if told.get("key") == key:
                found = [Compared.from_json(one) for one in told["methods"]]
                self.done = {one.method: one for one in found if one.method in METHODS and not one.open}

    def put(self, one: Compared) -> None:
        self.done[one.method] = one
        told = {"key": self.key, "methods": [kept.to_json() for kept in self.done.values()]}
        if self.file is not None:
            with suppress(OSError, RewardenError):
                write_bytes(self.file, canonical_json(told))

    def close(self) -> None:
        """All has been told."""
        if self.file is not None:
            with suppress(OSError):
                self.file.unlink(missing_ok=True)


def folder() -> Path:
    """Where the command line keeps comparisons that have not come to their end."""
    return default_folder().with_name("comparisons")


def key_of(spec: Spec, rewards: Mapping[str, Artifact], rules: Sequence[str] | None, about: object) -> str:
    """`about`: options, as text."""
    data = {name: spec.rows(name).digest for name in spec.data}
    bound = {name: artifact.digest for name, artifact in sorted(rewards.items())}
    told = (spec.digest, data, bound, None if rules is None else sorted(rules), repr(about), code_digest(), _own())
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _own() -> str:
    """Of the code that edits."""
    digest = hashlib.sha256()
    here = Path(__file__).parent / "editor"
    for path in sorted(here.rglob("*.py")):
        digest.update(path.relative_to(here).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Asked:
    """`verify` verifies all rules with the time that the clock says; `mender` is for a verification before."""

    spec: Spec
    rewards: Mapping[str, Artifact]
    rules: Sequence[str] | None
    verify: Callable[[], VerificationResult]
    mender: Callable[[VerificationResult], Mender]


def side_by_side(asked: Asked, clock: Clock, kept: Kept) -> Iterator[Compared]:
    """Each method as it finishes, those of an earlier run first. Raises EditError E06 where no rule that was asked for
    fails."""
    yield from kept.done.values()
    left = sorted(METHODS.keys() - kept.done.keys(), key=ORDER.index)
    before = _before(asked, clock) if left else None
    while left:
        name = left.pop(0)
        if before is None:
            yield open_method(name, "the time was up before it was known which rules fail")
            continue
        one = _one(asked, name, before, clock.share(1 / (1 + len(left))))
        if not one.open:
            kept.put(one)
        yield one
    if len(kept.done) == len(METHODS):
        kept.close()


def _before(asked: Asked, clock: Clock) -> VerificationResult | None:
    """None where it does not end in its time."""
    share = clock.share(FIRST)
    try:
        with limited(share):
            found = asked.verify()
    except TimeIsUp:
        return None
    wanted = [r for r in found.rules if (r.severity == "must" if asked.rules is None else r.rule in asked.rules)]
    return None if any(rule.stopped for rule in wanted) else found


def _one(asked: Asked, name: str, before: VerificationResult, share: float | None) -> Compared:
    start, stopped = time.monotonic(), list[str]()
    mender = asked.mender(before)

    def watched(now: Mapping[str, Artifact], rules: Sequence[str] | None) -> VerificationResult:
        found = mender.verify(now, rules)
        stopped.extend(rule.rule for rule in found.rules if rule.stopped)
        return found

    try:
        with limited(share):
            found = compared(asked.spec, asked.rewards, replace(mender, verify=watched), name, asked.rules, before)
    except TimeIsUp:
        return replace(
            open_method(name, f"stopped after its {share:.3g} s"), seconds=round(time.monotonic() - start, 3)
        )
    if stopped and (found.declined or found.unmended or found.broken):
        told = ", ".join(dict.fromkeys(stopped))
        return replace(found, declined="", open=f"no verdict on {told} in the time it had")
    return found


def open_method(name: str, why: str) -> Compared:
    """One that has not finished."""
    return Compared(name, METHODS[name].guarantee, open=why)
