"""The certificate kernel: does each proof in a certificate prove its claim about these very rewards?

    python -m rewarden.certificate.check CERTIFICATE --reward [NAME=]ARTIFACT … [--jobs N] [--allow-unchecked]

Read it in this order: `kernel_json` (untrusted bytes), `kernel_artifact` (the reward), `kernel_program` (calls of the
reward become layers), `kernel_claim` (claims, and points at which they are judged), `kernel_bounds` (what can be said
about layers over a box), `kernel_proof` (trees, leaves), and this file. That is the core. Loaded where a certificate
needs them are `kernel_twins` (two calls as one and a difference), `kernel_near` (patches near data), `kernel_loops`
(claims about loops) and `kernel_rows` (claims about rows of data); `kernel_sentence` puts it all in words and decides
nothing. The report names for each claim the files on which its verdict rests. All of them use Python's standard library
and nothing else of Rewarden. docs/formats.md is their specification, docs/certificate.md the argument that they cannot
accept a false claim.

It does not check what the claims mean to the author of a spec (`text: not checked`) nor who issued the certificate
(`signature: not checked`): `rewarden check-certificate` does both. Nor does anything here learn again, or forget, what
the manifest says was learned or forgotten (`recipe not re-run`). Exit status: 0 accepted, 4 rejected, 2 usage.
"""

from __future__ import annotations

import argparse
import platform
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from multiprocessing import Pool
from pathlib import Path

if __name__ == "__main__" and not __package__:  # run as a plain file: its neighbours are found from the top folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rewarden.certificate.kernel_artifact import Reward, load_reward
from rewarden.certificate.kernel_claim import Claim, read_claim, replay
from rewarden.certificate.kernel_json import Refused, anything, array, gunzip, parse, read, read_regular, refuse
from rewarden.certificate.kernel_program import Program, Programs
from rewarden.certificate.kernel_proof import Leaf, check_leaves, leaves
from rewarden.certificate.kernel_sentence import accounts, render, sentence

TIER = "exact integer arithmetic"
Check = Callable[[Claim, Program, Sequence[Leaf]], None]  # refuses one of the leaves, or none
Run = tuple[int, Check]  # in how many processes leaves are checked, and how
Result = tuple[str | None, int, bool]  # of some leaves: why one is refused, how many there are, whether one reads twins
POINT = ("check", "kernel_json", "kernel_artifact", "kernel_program", "kernel_claim")  # what judges a point
CORE = (*POINT, "kernel_bounds", "kernel_proof")  # and what checks a proof, of the plain kind
TRUSTED_BASE = (
    f"of the kernel the core ({', '.join(CORE)}) and the files named with a verdict, Python and its standard library, "
    "the operating system and the machine"
)
MAX_CLAIMS = 10_000
CHUNK = 32  # leaves handed to a process at a time


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
        more = "" if self.tier == TIER else f", and for its arithmetic {self.tier}"
        return f"{TRUSTED_BASE} (Python {platform.python_version()}){more}"

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
def check(
    cert_dir: Path, rewards: Mapping[str, Path], workers: int = 1, tier: str = TIER, leaf: Check = check_leaves
) -> Report:
    """Check every claim of a certificate. `rewards`: name → artifact; the name "" stands for the only one there is.

    `tier` names the arithmetic in which `leaf` checks the leaves of proofs. Never raises for what the certificate or
    the artifacts hold: that is what the report says.
    """
    folder, found = Path(cert_dir), {}
    try:
        shape = {"format": "rewarden-claims", "format_version": 1, "claims": array}
        stated = read(parse(read_regular(folder / "claims.json")), shape, "claims.json")
        claims = [read_claim(value) for value in array(stated["claims"], "claims", MAX_CLAIMS)]
        if [c.rule for c in claims] != sorted({c.rule for c in claims}):
            refuse("claims.json: the claims must be sorted by rule, each rule once")
        loaded = {name: load_reward(Path(path)) for name, path in _named(claims, rewards).items()}
        found = {name: reward.digest for name, reward in loaded.items()}
        ends = (".json", ".json.gz")
        files = _owned(folder / "proofs", {evidence_name(c.rule, c.digest) + e: c.digest for c in claims for e in ends})
        tables = [table for claim in claims if claim.rows is not None for table in claim.rows["tables"]]
        _owned(folder / "tables", {f"{table[7:]}.bin": table for table in tables})
        run = workers, leaf
        reports = tuple(_check_claim(claim, loaded, files.get(claim.digest), run) for claim in claims)
        return Report(reports, found, None, tier, accounts(loaded))
    except Refused as error:
        return Report((), found, str(error), tier)
    except OSError as error:
        return Report((), found, f"{error.filename}: {error.strerror}", tier)


def _named(claims: Sequence[Claim], rewards: Mapping[str, Path]) -> dict[str, Path]:
    """The artifacts by the names that the claims use."""
    wanted = sorted({name for claim in claims for name in claim.rewards})
    told = ", ".join(wanted) or "no reward"
    if set(rewards) == {""}:
        return {wanted[0]: rewards[""]} if len(wanted) == 1 else refuse(f"the claims are about {told}: name each")
    unknown = sorted(set(rewards) - set(wanted))
    return refuse(f"no claim is about {', '.join(unknown)}: they are about {told}") if unknown else dict(rewards)


def evidence_name(rule: str, claim_digest: str) -> str:
    """The name, without ending, of a claim's file in `proofs/`."""
    return rule if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", rule, re.ASCII) else f"claim-{claim_digest[7:]}"


def _owned(place: Path, owners: Mapping[str, str]) -> dict[str, Path]:
    """The files in a folder of the certificate, by what each belongs to; any other is refused."""
    if place.is_symlink():
        refuse(f"{place.name} is a link")
    found: dict[str, Path] = {}
    for path in sorted(place.iterdir()) if place.is_dir() else []:
        owner = owners.get(path.name) or refuse(f"{place.name}/{path.name} belongs to no claim")
        if owner in found:
            refuse(f"there are two proofs for one claim: {found[owner].name}, {path.name}")
        found[owner] = path
    return found


# ── one claim ──────────────────────────────────────────────────────────────────────────────────
def _check_claim(claim: Claim, rewards: Mapping[str, Reward], file: Path | None, run: Run) -> ClaimReport:
    files: set[str] = set()

    def report(verdict: str, reason: str, count: int = 0) -> ClaimReport:
        used = tuple(sorted(files)) if verdict in ("proved", "violated") else ()
        return ClaimReport(claim.rule, claim.severity, sentence(claim), verdict, reason, claim.digest, count, used)

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
        form = evidence.get("format") if isinstance(evidence, dict) else None
        if claim.rows is not None:
            return report(*_recounted(claim, rewards, evidence, file.parent.parent / "tables", files))
        if form == "rewarden-counterexample":
            point = "witness" if claim.loops is None else "loop"
            shown = read(evidence, {**_head(claim, form), point: anything}, "a counterexample")[point]
            if claim.cases or _replayed(claim, _programs(claim, rewards, files), shown) != (True, False):
                refuse(f"the {point} is no counterexample")
            return report("violated", f"a {point} was replayed that satisfies the premise and not the conclusion")
        count = _check_proof(claim, rewards, evidence, run, files)
    except Refused as error:
        return report("refused", str(error))
    leaf_word = "leaf" if count == 1 else "leaves"
    return report("proved", f"{count} {leaf_word} and a point that satisfies the premise were recomputed", count)


def _head(claim: Claim, form: str) -> dict[str, object]:
    return {"format": form, "format_version": 1, "claim": claim.digest}


def _programs(claim: Claim, rewards: Mapping[str, Reward], files: set[str]) -> Programs:
    programs = Programs(len(claim.names), [(rewards[name], arguments) for name, arguments in claim.calls])
    files |= {*POINT, *(() if programs.alike else ("kernel_near",)), *(() if claim.loops is None else CORE)}
    files |= set() if claim.loops is None else {"kernel_loops"}
    return programs


def _recounted(
    claim: Claim, rewards: Mapping[str, Reward], evidence: object, tables: Path, files: set[str]
) -> tuple[str, str]:
    from rewarden.certificate.kernel_rows import recounted

    stated = read(evidence, {**_head(claim, "rewarden-recount"), "count": anything}, "a recount")["count"]
    programs = _programs(claim, rewards, files)
    files.add("kernel_rows")
    return recounted(claim, programs, tables, stated)


def _replayed(claim: Claim, programs: Programs, point: object) -> tuple[bool, bool]:
    if claim.loops is None:
        return replay(claim, programs, point)
    from rewarden.certificate.kernel_loops import replay_loop

    return replay_loop(claim, programs, point)


def _leaves(claim: Claim, trees: object) -> Iterator[Leaf]:
    if claim.loops is None:
        return leaves(claim, trees)
    from rewarden.certificate.kernel_loops import loop_leaves

    return loop_leaves(claim, trees)


def _check_proof(claim: Claim, rewards: Mapping[str, Reward], evidence: object, run: Run, files: set[str]) -> int:
    """The number of leaves checked; refused unless the proof is whole and every leaf holds. Of a claim with cases each
    has trees and a witness; this may be null, if some other case has one."""
    point, trees = ("witness", "goals") if claim.loops is None else ("loop", "sums")
    part, head = {point: anything, trees: anything}, _head(claim, "rewarden-proof")
    if claim.cases:
        parts = read(evidence, {**head, "cases": (part,) * len(claim.cases)}, "a proof of cases")["cases"]
    else:
        parts = (read(evidence, {**head, **part}, "a proof"),)
    if all(found[point] is None for found in parts):
        refuse("no point satisfies the premise: the claim may be vacuous")
    count = 0
    files |= set(CORE)
    for case, found in zip(claim.cases or (claim,), parts, strict=True):
        programs = _programs(case, rewards, files)
        if found[point] is not None and _replayed(case, programs, found[point]) != (True, True):
            refuse("the witness does not satisfy the premise (the claim may be vacuous), or the claim is false there")
        for why, checked, twins in _results(case, programs, _leaves(case, found[trees]), run):
            count += checked if why is None else refuse(why)
            files |= {"kernel_twins"} if twins else set()
    return count


# ── leaves, here or in several processes ───────────────────────────────────────────────────────
_shared: list[tuple[Check, Claim, Programs]] = []  # in each process: how to check leaves, and what they are about


def _share(check_some: Check, claim: Claim, programs: Programs) -> None:
    _shared[:] = [(check_some, claim, programs)]


def _check_chunk(chunk: Sequence[Leaf]) -> Result:
    check_some, claim, programs = _shared[0]
    try:
        for box, some in groupby(chunk, key=lambda leaf: 0 if programs.alike else leaf.box):
            check_some(claim, programs.over(claim.boxes[box]), list(some))
    except Refused as error:
        return str(error), 0, False
    return None, len(chunk), any(len(leaf.body) > 4 for leaf in chunk)


def _results(claim: Claim, programs: Programs, found: Iterator[Leaf], run: Run) -> Iterator[Result]:
    chunks = iter(lambda: list(islice(found, CHUNK)), [])
    workers, leaf = run
    if workers <= 1:
        _share(leaf, claim, programs)
        yield from map(_check_chunk, chunks)
        return
    with Pool(workers, _share, (leaf, claim, programs)) as pool:
        yield from pool.imap_unordered(_check_chunk, chunks)


# ── the command ────────────────────────────────────────────────────────────────────────────────
def main(arguments: Sequence[str], tiers: Mapping[str, tuple[str, Check]] | None = None) -> int:
    """The command; `tiers` are ways to check leaves by name, and what each is called in the answer."""
    known = {"exact": (TIER, check_leaves), **(tiers or {})}
    parser = argparse.ArgumentParser(prog="python -m rewarden.certificate.check", allow_abbrev=False)
    parser.add_argument("certificate", type=Path, help="the folder of a certificate")
    parser.add_argument("--reward", action="append", required=True, metavar="[NAME=]ARTIFACT")
    parser.add_argument("--jobs", "--workers", type=int, default=1, metavar="N", help="processes that share the leaves")
    parser.add_argument("--tier", choices=known, default=next(reversed(known)))
    parser.add_argument("--allow-unchecked", action="store_true", help="accept missing evidence, never false evidence")
    given = parser.parse_args(arguments)
    pairs = [reward.rpartition("=") for reward in given.reward]
    rewards = {name: Path(path) for name, _, path in pairs}
    if not given.certificate.is_dir() or not all(path.exists() for path in rewards.values()):
        parser.error("the certificate must be a folder, and every ARTIFACT must exist")
    if len(rewards) < len(pairs) or ("" in rewards and len(rewards) > 1) or not 1 <= given.jobs <= 256:
        parser.error("with several rewards each needs its own NAME=; N is 1 to 256")
    report = check(given.certificate, rewards, given.jobs, *known[given.tier])
    said = "".join(c if c.isprintable() or c == "\n" else "?" for c in render(report))  # names of files are untrusted
    print(said)
    return 0 if report.accepted or (given.allow_unchecked and report.sound) else 4


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
