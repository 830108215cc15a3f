"""The certificate kernel: does each proof in a certificate prove its claim about these very rewards?

    python -m rewarden.certificate.check CERTIFICATE --reward [NAME=]ARTIFACT … [--workers N] [--allow-unchecked]

Read it in this order: `kernel_json` (untrusted bytes), `kernel_artifact` (the reward), `kernel_program` (claim and
reward become layers), `kernel_twins` (two calls as one and a difference), `kernel_bounds` (what can be said about
layers over a box), `kernel_proof` (claims, trees, leaves), `kernel_sentence` (a claim in words), and this file. That is
the whole kernel, which uses Python's standard library and nothing else of Rewarden. docs/formats.md is its
specification, docs/certificate.md the argument that it cannot accept a false claim.

It does not check what the claims mean to the author of a spec (`text: not checked`) nor who issued the certificate
(`signature: not checked`): `rewarden check-certificate` does both. Exit status: 0 accepted, 4 rejected, 2 usage.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from multiprocessing import Pool
from pathlib import Path

if __name__ == "__main__" and not __package__:  # run as a plain file: its neighbours are found from the top folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rewarden.certificate.kernel_artifact import Reward, load_reward
from rewarden.certificate.kernel_json import Refused, array, fields, gunzip, parse, read_regular, refuse
from rewarden.certificate.kernel_program import Program, inline
from rewarden.certificate.kernel_proof import Claim, Leaf, check_leaf, leaves, read_claim, replay
from rewarden.certificate.kernel_sentence import sentence

TIER = "exact integer arithmetic"
TRUSTED_BASE = "the eight files of the kernel, Python and its standard library, the operating system and the machine"
MAX_CLAIMS = 10_000
CHUNK = 32  # leaves handed to a worker at a time


@dataclass(frozen=True, slots=True)
class ClaimReport:
    """`verdict`: `proved` and `violated` were checked here, `not checked` has no evidence, `refused` false evidence."""

    rule: str
    severity: str
    sentence: str
    verdict: str
    reason: str
    digest: str
    leaves: int = 0

    @property
    def checked(self) -> bool:
        return self.verdict in ("proved", "violated")


@dataclass(frozen=True, slots=True)
class Report:
    claims: tuple[ClaimReport, ...]
    rewards: Mapping[str, str]  # name → digest of the artifact that was read
    problem: str | None = None  # why nothing could be checked
    tier: str = TIER
    trusted_base: str = f"{TRUSTED_BASE} (Python {platform.python_version()})"

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


# ── the certificate ────────────────────────────────────────────────────────────────────────────
def check(cert_dir: Path, rewards: Mapping[str, Path], workers: int = 1) -> Report:
    """Check every claim of a certificate. `rewards`: name → artifact; the name "" stands for the only one there is.

    Never raises for what the certificate or the artifacts hold: that is what the report says.
    """
    found: dict[str, str] = {}
    try:
        claims = [read_claim(value) for value in _claims(Path(cert_dir))]
        if [c.rule for c in claims] != sorted({c.rule for c in claims}):
            refuse("claims.json: the claims must be sorted by rule, each rule once")
        loaded = {name: load_reward(Path(path)) for name, path in _named(claims, rewards).items()}
        found = {name: reward.digest for name, reward in loaded.items()}
        files = _evidence_files(Path(cert_dir), claims)
        return Report(tuple(_check_claim(c, loaded, files.get(c.digest), workers) for c in claims), found)
    except Refused as error:
        return Report((), found, str(error))
    except OSError as error:
        return Report((), found, f"{error.filename}: {error.strerror}")


def _claims(folder: Path) -> list[object]:
    form, version, claims = fields(
        parse(read_regular(folder / "claims.json")), "format format_version claims", "claims.json"
    )
    if form != "rewarden-claims" or type(version) is not int or version != 1:
        refuse("claims.json is not of format rewarden-claims, version 1")
    return array(claims, "claims", MAX_CLAIMS)


def _named(claims: Sequence[Claim], rewards: Mapping[str, Path]) -> dict[str, Path]:
    """The artifacts by the names that the claims use."""
    wanted = sorted({name for claim in claims for name in claim.rewards})
    if set(rewards) == {""}:
        if len(wanted) != 1:
            refuse(f"the claims are about {', '.join(wanted) or 'no reward'}: say NAME=ARTIFACT for each")
        return {wanted[0]: rewards[""]}
    unknown = sorted(set(rewards) - set(wanted))
    if unknown:
        refuse(f"no claim is about a reward called {', '.join(unknown)}: they are about {', '.join(wanted) or 'none'}")
    return dict(rewards)


def evidence_name(rule: str, claim_digest: str) -> str:
    """The name, without ending, of a claim's file in `proofs/`."""
    return rule if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", rule, re.ASCII) else f"claim-{claim_digest[7:]}"


def _evidence_files(folder: Path, claims: Sequence[Claim]) -> dict[str, Path]:
    """The file in `proofs/` of each claim, by the claim's digest; a file of no claim is refused."""
    proofs = folder / "proofs"
    if proofs.is_symlink():
        refuse("proofs is a link")
    owners = {evidence_name(c.rule, c.digest) + end: c.digest for c in claims for end in (".json", ".json.gz")}
    found: dict[str, Path] = {}
    for path in sorted(proofs.iterdir()) if proofs.is_dir() else []:
        owner = owners.get(path.name) or refuse(f"proofs/{path.name} belongs to no claim")
        if owner in found:
            refuse(f"there are two proofs for one claim: {found[owner].name}, {path.name}")
        found[owner] = path
    return found


# ── one claim ──────────────────────────────────────────────────────────────────────────────────
def _check_claim(claim: Claim, rewards: Mapping[str, Reward], file: Path | None, workers: int) -> ClaimReport:
    def report(verdict: str, reason: str, count: int = 0) -> ClaimReport:
        return ClaimReport(claim.rule, claim.severity, sentence(claim), verdict, reason, claim.digest, count)

    if file is None:
        return report("not checked", "the certificate holds no proof of it")
    missing = sorted(set(claim.rewards) - set(rewards))
    if missing:
        return report("not checked", f"no artifact was given for {', '.join(missing)}")
    try:
        for name, wanted in claim.rewards.items():
            if rewards[name].digest != wanted:
                refuse(f"{name} is {rewards[name].digest}, the claim is about {wanted}")
        data = read_regular(file)
        evidence = parse(gunzip(data) if file.suffix == ".gz" else data)
        program = inline(len(claim.names), [(rewards[name], arguments) for name, arguments in claim.calls])
        if isinstance(evidence, dict) and evidence.get("format") == "rewarden-counterexample":
            _check_counterexample(claim, program, evidence)
            return report("violated", "a point was replayed at which the premise is true and the conclusion false")
        count = _check_proof(claim, program, evidence, workers)
    except Refused as error:
        return report("refused", str(error))
    leaf_word = "leaf" if count == 1 else "leaves"
    return report("proved", f"{count} {leaf_word} and a point that satisfies the premise were recomputed", count)


def _about(claim: Claim, form: object, version: object, about: object, wanted: str) -> None:
    if form != wanted or type(version) is not int or version != 1:
        refuse(f"not of format {wanted}, version 1")
    if about != claim.digest:
        refuse("the proof is of another claim")


def _check_counterexample(claim: Claim, program: Program, value: object) -> None:
    form, version, about, witness = fields(value, "format format_version claim witness", "a counterexample")
    _about(claim, form, version, about, "rewarden-counterexample")
    if replay(claim, program, witness) != (True, False):
        refuse("the point is no counterexample")


def _check_proof(claim: Claim, program: Program, value: object, workers: int) -> int:
    """The number of leaves checked; refused unless the proof is whole and every leaf holds."""
    form, version, about, witness, trees = fields(value, "format format_version claim witness goals", "a proof")
    _about(claim, form, version, about, "rewarden-proof")
    premise, conclusion = replay(claim, program, witness)
    if not premise:
        refuse("the witness does not satisfy the premise: the claim may be vacuous")
    if not conclusion:
        refuse("the claim is false at the proof's own witness")
    count = 0
    for why, checked in _results(claim, program, leaves(claim, program, trees), workers):
        if why is not None:
            refuse(why)
        count += checked
    return count


# ── leaves, here or in several processes ───────────────────────────────────────────────────────
_shared: list[tuple[Claim, Program]] = []  # in a worker process: what its leaves are about


def _share(claim: Claim, program: Program) -> None:
    _shared[:] = [(claim, program)]


def _check_chunk(chunk: Sequence[Leaf]) -> tuple[str | None, int]:
    claim, program = _shared[0]
    for leaf in chunk:
        try:
            check_leaf(claim, program, leaf)
        except Refused as error:
            return f"goal {leaf.goal}: {error}", 0
    return None, len(chunk)


def _results(claim: Claim, program: Program, found: Iterator[Leaf], workers: int) -> Iterator[tuple[str | None, int]]:
    chunks = iter(lambda: list(islice(found, CHUNK)), [])
    _share(claim, program)
    if workers <= 1:
        yield from map(_check_chunk, chunks)
        return
    with Pool(workers, _share, (claim, program)) as pool:
        yield from pool.imap_unordered(_check_chunk, chunks)


# ── the command ────────────────────────────────────────────────────────────────────────────────
def render(report: Report) -> str:
    """The report as text: a sentence per claim, its verdict, and what was not checked."""
    lines = []
    for claim in report.claims:
        mark = "checked" if claim.checked else "NOT CHECKED" if claim.verdict == "not checked" else "REFUSED"
        lines += [claim.sentence, f"  {claim.verdict}: {claim.reason} [{mark}]", f"  claim {claim.digest}", ""]
    lines += [f"reward {name}: {value}" for name, value in sorted(report.rewards.items())]
    lines += ["text: not checked", "signature: not checked"]
    lines += [
        f"arithmetic: {report.tier}, of the reward as a function of real numbers",
        f"trusted: {report.trusted_base}",
    ]
    if report.problem is not None:
        return "\n".join([*lines, f"rejected: {report.problem}"])
    proved = sum(c.verdict == "proved" for c in report.claims)
    counts = f"{proved} of {len(report.claims)} claims proved"
    if report.accepted:
        return "\n".join([*lines, f"accepted: {counts}, every must among them"])
    if report.sound:
        return "\n".join([*lines, f"incomplete: {counts}; every must claim, and at least one claim, needs a proof"])
    return "\n".join([*lines, f"rejected: {counts}; evidence was refused"])


USAGE = "python -m rewarden.certificate.check CERTIFICATE --reward [NAME=]ARTIFACT … [--workers N] [--allow-unchecked]"


def _arguments(arguments: Sequence[str]) -> tuple[Path, dict[str, Path], int, bool]:
    """The command line; ValueError with a sentence if it makes no sense."""
    folder: Path | None = None
    rewards: dict[str, Path] = {}
    workers, lenient = 1, False
    rest = iter(arguments)
    for argument in rest:
        match argument:
            case "--reward":
                name, _, path = next(rest, "").rpartition("=")
                if not path or not Path(path).exists() or name in rewards:
                    raise ValueError(f"--reward needs [NAME=]ARTIFACT, each name once, and {path or 'it'} must exist")
                rewards[name] = Path(path)
            case "--workers":
                workers = int(next(rest, "none"))
            case "--allow-unchecked":
                lenient = True
            case _ if argument.startswith("-") or folder is not None:
                raise ValueError(f"unexpected argument {argument}")
            case _:
                folder = Path(argument)
    if folder is not None and not folder.is_dir():
        raise ValueError(f"{folder}: there is no certificate folder of this name")
    if folder is None or not rewards or not 1 <= workers <= 256:
        raise ValueError("name one certificate folder and at least one --reward [NAME=]ARTIFACT")
    if "" in rewards and len(rewards) > 1:
        raise ValueError("with several rewards each needs a name: --reward NAME=ARTIFACT")
    return folder, rewards, workers, lenient


def main(arguments: Sequence[str]) -> int:
    try:
        folder, rewards, workers, lenient = _arguments(arguments)
    except ValueError as error:
        print(f"error: {error}\nusage: {USAGE}", file=sys.stderr)
        return 2
    report = check(folder, rewards, workers)
    print(render(report))
    return 0 if report.accepted or (lenient and report.sound) else 4


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
