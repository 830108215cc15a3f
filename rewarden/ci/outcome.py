"""What a run in CI found: per spec, per rule, and what went wrong on the way. Values only; `policy` judges them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rewarden.ci.told import KeptResult
    from rewarden.text.told import TextTold
    from rewarden.verifier.verdict import RuleResult

SCHEME: Final = "rwf1"
LENGTH: Final = 32  # hexadecimal digits: 128 bits, nobody meets two alike
FORM: Final = re.compile(rf"{SCHEME}:[0-9a-f]{{{LENGTH}}}")  # of a fingerprint


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file; lines and columns begin at 1. The file is named as a person would type it from here."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Waiver:
    """Somebody answers for a violation until a day, that day included."""

    fingerprint: str
    owner: str
    reason: str
    expires: date


@dataclass(frozen=True, slots=True, eq=False)
class RuleOutcome:
    """A rule's result, of this run or as an earlier one told it, and how it stands: waived by somebody, or `known` from
    the baseline. `text`: what is known of texts, where its records are vectors of texts."""

    result: RuleResult | KeptResult
    place: Place
    fingerprint: str
    requirement: str | None = None
    because: str | None = None
    waiver: Waiver | None = None
    known: bool = False
    text: TextTold | None = None

    @property
    def broken(self) -> bool:
        """What waivers and baselines are about."""
        return self.result.verdict.value in ("violated", "vacuous")

    @property
    def excused(self) -> bool:
        return self.broken and (self.waiver is not None or self.known)


@dataclass(frozen=True, slots=True)
class Finding:
    """What the check of a spec itself has found, an `error` or a `warning`."""

    code: str
    severity: str
    message: str
    place: Place | None = None
    help: str | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that could not be done, and the exit status that it asks for."""

    code: str
    message: str
    status: int
    place: Place | None = None
    help: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RunOutcome:
    """One spec with its rewards. `rewards`: name → (place, digest). `known`: the names of all its rules."""

    file: str
    spec: str = ""  # its name
    digest: str | None = None
    rewards: Mapping[str, tuple[str, str]] | None = None
    semantics: str = "real"
    rules: tuple[RuleOutcome, ...] = ()
    findings: tuple[Finding, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    known: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """All of it. `notices`: what is to be said of waivers; they change no status. `status`: the exit status."""

    runs: tuple[RunOutcome, ...]
    status: int
    fail_on: str = "must"
    against: str | None = None
    troubles: tuple[Trouble, ...] = ()  # of no run: a file of waivers that cannot be read
    notices: tuple[str, ...] = ()

    def rules(self) -> Iterator[RuleOutcome]:
        for run in self.runs:
            yield from run.rules

    def all_troubles(self) -> tuple[Trouble, ...]:
        return (*self.troubles, *(trouble for run in self.runs for trouble in run.troubles))
