"""Certificate kernel: what the command is asked, and what is reported of all claims. No verdict rests on this file; the
exit status does. Standard library only.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

POINT = ("check", "kernel_json", "kernel_shapes", "kernel_artifact", "kernel_program", "kernel_claim")  # for a point
CORE = (*POINT, "kernel_bounds", "kernel_proof")  # and a proof, of the plain kind
TIER = "exact integer arithmetic"
RECIPE = "recipe not re-run"  # of claims about lineage: what is said is bound by digests, and nobody did it again
MARKS = {"not checked": "NOT CHECKED", "refused": "REFUSED"}


@dataclass(frozen=True, slots=True)
class ClaimReport:
    """`verdict`: `proved` and `violated` were checked here, `not checked` has no evidence, `refused` false evidence;
    of lineage `RECIPE`."""

    rule: str
    severity: str
    sentence: str
    verdict: str
    reason: str
    digest: str
    leaves: int = 0
    files: tuple[str, ...] = ()  # of the kernel, on which the verdict rests

    @property
    def checked(self) -> bool:
        return self.verdict in ("proved", "violated")

    @property
    def by(self) -> str:
        """The files, the core in one word."""
        whole = set(CORE) <= set(self.files)
        return ", ".join(["the core"] * whole + [name for name in self.files if not whole or name not in CORE])


@dataclass(frozen=True, slots=True)
class Report:
    claims: tuple[ClaimReport, ...]
    rewards: Mapping[str, str]  # name → digest of the artifact that was read
    problem: str | None = None  # why nothing could be checked
    tier: str = TIER
    accounts: Mapping[str, str] = field(default_factory=dict)  # name → what its manifest says it comes from

    @property
    def trusted_base(self) -> str:
        return (
            f"of the kernel the core ({', '.join(CORE)}) and the files named with a verdict, Python and its standard "
            f"library, the operating system and the machine (Python {platform.python_version()})"
        ) + ("" if self.tier == TIER else f", and for its arithmetic {self.tier}")

    @property
    def sound(self) -> bool:
        """Nothing in the certificate is false: all evidence that it holds has been checked, and holds."""
        return self.problem is None and all(c.verdict != "refused" for c in self.claims)

    @property
    def complete(self) -> bool:
        """Every `must` claim, and at least one claim, is proved by evidence that was checked here."""
        proved = [c.verdict == "proved" for c in self.claims if c.severity == "must" or c.verdict == "proved"]
        return bool(proved) and all(proved)

    @property
    def accepted(self) -> bool:
        return self.sound and self.complete


def render(report: Report) -> str:
    """The report as text: a sentence per claim, its verdict, and what was not checked; printable, whatever a file is
    named."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in "\n".join(_lines(report)))


def _lines(report: Report) -> list[str]:
    lines = []
    for claim in report.claims:
        digests = "digests " * (claim.verdict == RECIPE)
        mark = MARKS.get(claim.verdict, f"{digests}checked by {claim.by}")
        lines += [claim.sentence, f"  {claim.verdict}: {claim.reason} [{mark}]", f"  claim {claim.digest}", ""]
    lines += [f"reward {name}: {value}" for name, value in sorted(report.rewards.items())]
    told = sorted(report.accounts.items())
    lines += [f"recipe not re-run: {name} is, by its manifest, {account}" for name, account in told]
    lines += ["text: not checked", "signature: not checked"]
    lines += [f"arithmetic: {report.tier}, of the reward as a function of real numbers"]
    lines += [f"trusted: {report.trusted_base}"]
    verdicts = [c.verdict for c in report.claims if c.verdict != RECIPE]
    proved = f"{verdicts.count('proved')} of {len(verdicts)} claims proved"
    if report.problem is not None:
        return [*lines, f"rejected: {report.problem}"]
    if report.accepted:
        return [*lines, f"accepted: {proved}, every must among them"]
    if report.sound:
        return [*lines, f"incomplete: {proved}; every must claim, and at least one claim, needs a proof"]
    return [*lines, f"rejected: {proved}; evidence was refused"]


# ── the command ────────────────────────────────────────────────────────────────────────────────
class Asked(NamedTuple):
    certificate: Path
    rewards: dict[str, Path]  # by name; "" where there is one, and it has none
    jobs: int
    tier: str
    allow_unchecked: bool

    def status(self, report: Report) -> int:
        broken = any(claim.severity == "must" and claim.verdict == "violated" for claim in report.claims)
        return 0 if report.accepted or (self.allow_unchecked and report.sound and not broken) else 4


def asked(arguments: Sequence[str], tiers: Sequence[str]) -> Asked:
    """What the command is given; usage, and the end of the process, where it is not in order. The last tier is the
    default."""
    parser = argparse.ArgumentParser(prog="python -m rewarden.certificate.check", allow_abbrev=False)
    parser.add_argument("certificate", type=Path, help="the folder of a certificate")
    parser.add_argument("--reward", action="append", required=True, metavar="[NAME=]ARTIFACT")
    parser.add_argument("--jobs", "--workers", type=int, default=1, metavar="N", help="processes that share the leaves")
    parser.add_argument("--tier", choices=tiers, default=tiers[-1])
    parser.add_argument("--allow-unchecked", action="store_true", help="accept missing evidence, no violated must")
    given = parser.parse_args(arguments)
    pairs = [reward.rpartition("=") for reward in given.reward]
    rewards = {name: Path(path) for name, _, path in pairs}
    if not given.certificate.is_dir() or not all(path.exists() for path in rewards.values()):
        parser.error("the certificate must be a folder, and every ARTIFACT must exist")
    if len(rewards) < len(pairs) or ("" in rewards and len(rewards) > 1) or not 1 <= given.jobs <= 256:
        parser.error("with several rewards each needs its own NAME=; N is 1 to 256")
    return Asked(given.certificate, rewards, given.jobs, given.tier, given.allow_unchecked)
