"""The certificate kernel: does each proof in a certificate prove its claim about these very rewards?

    python -m rewarden.certificate.check CERTIFICATE --reward [NAME=]ARTIFACT … [--jobs N] [--allow-unchecked]

The core is, in this order: `kernel_json`, `kernel_shapes` (untrusted bytes), `kernel_artifact`, `kernel_program` (calls
as layers), `kernel_claim` (claims, points), `kernel_bounds` (what holds of layers over a box), `kernel_proof` (leaves),
and this file. Neighbours are loaded where a claim needs them, and named with its verdict (docs/decisions/0020).
docs/formats.md specifies, docs/certificate.md argues that no false claim is accepted. What a claim means to its author,
who issued it and how a reward was learned are not checked here. Exit status: 0 accepted, 4 rejected, 2 usage.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

if __name__ == "__main__" and not __package__:  # run as a plain file: its neighbours are found from the top folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rewarden.certificate.kernel_artifact import Reward, load_reward
from rewarden.certificate.kernel_claim import Claim, read_claim, replay
from rewarden.certificate.kernel_files import evidence_files, evidence_name, named, read_file
from rewarden.certificate.kernel_json import Refused, parse, refuse, used
from rewarden.certificate.kernel_program import Calls, Program, inline
from rewarden.certificate.kernel_proof import Check, Leaf, check_leaves, check_some, leaves
from rewarden.certificate.kernel_report import CORE, POINT, TIER, ClaimReport, Report, asked, render
from rewarden.certificate.kernel_sentence import accounts, sentence
from rewarden.certificate.kernel_shapes import anything, array, read

__all__ = ["CORE", "POINT", "TIER", "Check", "ClaimReport", "Report", "check", "evidence_name", "main", "render"]
Run = tuple[int, Check]  # in how many processes leaves are checked, and how
MAX_CLAIMS, CHUNK = 10_000, 32  # leaves checked at a time, where a tier does not ask for more


def check(
    cert_dir: Path, rewards: Mapping[str, Path], workers: int = 1, tier: str = TIER, leaf: Check = check_leaves
) -> Report:
    """Check every claim of a certificate. `rewards`: name → artifact; "" is the name of the only one there is. `tier`
    names the arithmetic in which `leaf` checks leaves. What the certificate or the artifacts hold raises nothing."""
    folder, found = Path(cert_dir), {}
    try:
        shape = {"format": "rewarden-claims", "format_version": 1, "claims": array}
        stated = read(parse(read_file(folder / "claims.json")), shape, "claims.json")
        claims = [read_claim(value) for value in array(stated["claims"], "claims", MAX_CLAIMS)]
        if [c.rule for c in claims] != sorted({c.rule for c in claims}):
            refuse("claims.json: the claims must be sorted by rule, each rule once")
        loaded = {name: load_reward(Path(path)) for name, path in named(claims, rewards).items()}
        found = {name: reward.digest for name, reward in loaded.items()}
        files = evidence_files(folder, claims)
        reports = tuple(_report(claim, loaded, files.get(claim.digest), (workers, leaf)) for claim in claims)
        return Report(reports, found, None, tier, accounts(loaded))
    except Refused as error:
        return Report((), found, str(error), tier)


def _report(claim: Claim, rewards: Mapping[str, Reward], file: Path | None, run: Run) -> ClaimReport:
    used.clear()
    try:
        verdict, why, count = _judged(claim, rewards, file, run)
    except (Refused, RecursionError) as error:
        verdict, why, count = "refused", str(error), 0
    files = tuple(sorted({*POINT, *used})) if verdict not in ("refused", "not checked") else ()
    return ClaimReport(claim.rule, claim.severity, sentence(claim, rewards), verdict, why, claim.digest, count, files)


def _judged(claim: Claim, rewards: Mapping[str, Reward], file: Path | None, run: Run) -> tuple[str, str, int]:
    """Verdict, reason, and number of leaves."""
    if file is None:
        return "not checked", "the certificate holds no proof of it", 0
    if missing := sorted(set(claim.rewards) - set(rewards)):
        return "not checked", f"no artifact was given for {', '.join(missing)}", 0
    for name, wanted in claim.rewards.items():
        if rewards[name].digest != wanted:
            refuse(f"{name} is {rewards[name].digest}, the claim is about {wanted}")
    evidence, tables = parse(read_file(file)), file.parent.parent / "tables"
    if claim.lineage is not None or claim.rows is not None:
        from rewarden.certificate.kernel_cases import judged

        return judged(claim, evidence, tables, rewards, _head, _program)
    if claim.near is not None:
        from rewarden.certificate.kernel_table import tabled

        claim = tabled(claim, tables)
    if isinstance(evidence, dict) and evidence.get("format") == "rewarden-counterexample":
        point, _, judge, _ = _kind(claim)
        shown = read(evidence, {**_head(claim, evidence["format"]), point: anything}, "a counterexample")[point]
        if claim.cases or judge(claim, _program(claim, rewards), shown) != (True, False):
            refuse(f"the {point} is no counterexample")
        return "violated", f"a {point} was replayed that satisfies the premise and not the conclusion", 0
    count = _proved(claim, rewards, evidence, run)
    return "proved", f"{count} lea{'f' if count == 1 else 'ves'} and a witness of the premise were recomputed", count


def _head(claim: Claim, form: str) -> dict[str, object]:
    return {"format": form, "format_version": 1, "claim": claim.digest}


def _program(claim: Claim, rewards: Mapping[str, Reward], made: Callable[[int, Calls], Program] = inline) -> Program:
    return made(len(claim.names), [(rewards[name], arguments) for name, arguments in claim.calls])


def _kind(claim: Claim) -> tuple[str, str, Callable[..., tuple[bool, bool]], Callable[..., Iterator[Leaf]]]:
    """What the evidence of a claim calls a point and its trees; how a point is judged, and trees are walked."""
    if claim.loops is None:
        return "witness", "goals", replay, leaves
    from rewarden.certificate.kernel_loops import loop_leaves, replay_loop

    return "loop", "sums", replay_loop, loop_leaves


def _proved(claim: Claim, rewards: Mapping[str, Reward], evidence: object, run: Run) -> int:
    """The number of leaves checked; refused unless the proof is whole and every leaf holds. Of a claim with cases each
    has trees and a witness; this may be null, if some other case has one."""
    used.update(CORE)
    point, trees, judge, walked = _kind(claim)
    head, part = _head(claim, "rewarden-proof"), {point: anything, trees: anything}
    if claim.cases or (isinstance(evidence, dict) and not evidence.keys().isdisjoint(("beyond", "pieces"))):
        from rewarden.certificate.kernel_cases import proofs

        each = proofs(claim, evidence, head, part)
    else:
        each = [(claim, read(evidence, {**head, **part}, "a proof"), inline)]
    if all(found[point] is None for _, found, _ in each):
        refuse("no point satisfies the premise: the claim may be vacuous")
    count = 0
    for case, found, made in each:
        program = _program(case, rewards, made)
        if found[point] is not None and judge(case, program, found[point]) != (True, True):
            refuse("the witness does not satisfy the premise (the claim may be vacuous), or the claim is false there")
        count += _checked(case, program, walked(case, found[trees]), run)
    return count


def _checked(claim: Claim, program: Program, found: Iterator[Leaf], run: Run) -> int:
    """How many leaves there are; refused unless each of them holds."""
    if len(claim.goals) > 1:
        from rewarden.certificate.kernel_alike import alike

        found, run = alike(found, run)
    chunks = iter(lambda: list(islice(found, getattr(run[1], "chunk", CHUNK))), [])
    if run[0] > 1:
        from rewarden.certificate.kernel_jobs import in_processes

        return in_processes(*run, claim, program, chunks)
    return sum(check_some(run[1], claim, program, chunk) for chunk in chunks)


def main(arguments: Sequence[str], tiers: Mapping[str, tuple[str, Check]] | None = None) -> int:
    """The command; `tiers` are ways to check leaves by name, and what each is called in the answer."""
    known = {"exact": (TIER, check_leaves), **(tiers or {})}
    given = asked(arguments, list(known))
    report = check(given.certificate, given.rewards, given.jobs, *known[given.tier])
    print(render(report))
    return given.status(report)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
