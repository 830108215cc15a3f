"""Issuing a certificate: claims, evidence, statement and signature in one folder, checked before anyone sees it.

CERTIFICATE/
  envelope.dsse.json   the signed statement (statement.json where there is no key)
  public_key.pem       the key that it is signed with
  claims.json          what is claimed, exactly and readably
  proofs/RULE.json     the evidence: a proof, or a counterexample (RULE.json.gz above a megabyte)
  tables/HEX.bin       the rows that claims about data are about: the canonical table with the digest HEX
  README.txt           how to check all this
"""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewarden.atomic import new_folder
from rewarden.certificate.check import Report, check, evidence_name
from rewarden.certificate.kernel_files import table_name
from rewarden.certificate.lineage import Lineage
from rewarden.certificate.statement import (
    Contents,
    EvidenceFile,
    ResultLike,
    SpecFacts,
    build_statement,
    not_accepted,
)
from rewarden.certificate.tiers import tiers
from rewarden.reward.artifact import Artifact
from rewarden.reward.store import zip_bytes
from rewarden.spec_lang.canonical import canonical_json, digest_of
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.claim_json import claim_digest, claims_document, shown_point
from rewarden.spec_lang.errors import CertificateError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

COMPRESS_ABOVE = 1 << 20
# The issuer's own check: the kernel's bounds to the last digit, by python-flint where it is installed. Not in float64,
# which may settle a leaf that exact integers leave open: whoever has the standard library alone would then refuse it.
EXACTLY = ("flint", "exact")
# What the kernel says of a point at which it finds something else than the verifier did, both of them exactly: one of
# the two is wrong about what the reward is, and whatever is certified rests on that.
CONTRADICTIONS = ("is no counterexample", "or the claim is false there", "the rows were counted wrongly")
UNCERTIFIED = "claims are about rewards over the real numbers (docs/certificate.md); each rule has its reason"
README = """\
A certificate about a learned reward, issued by Rewarden.

CERTIFICATE is this folder. To check the proofs against the reward, with nothing but Python (3.11 or later) and the
kernel's own files (check.py and kernel_*.py of Rewarden's source, copied to rewarden/certificate/ in an empty folder,
which is where this is called):

    python -m rewarden.certificate.check CERTIFICATE {rewards}

To match the claims with the text of the spec as well, and to check the signature:

    rewarden check-certificate CERTIFICATE {rewards} --spec SPEC

The signature is worth what the key is: compare its fingerprint with the signer by another way. claims.json says what
is claimed, in exact numbers; the statement (the envelope's payload) says what was not checked.
"""


def require_real(semantics: str) -> None:
    """UsageError G56 for verdicts about executed networks: claims know nothing of their rounding."""
    if semantics != "real":
        message = f"{semantics} semantics: certificates are about rewards as functions of real numbers"
        raise UsageError("G56", message, help="verify and certify with real semantics; keep this result beside it")


@dataclass(frozen=True, slots=True)
class Written:
    """A certificate that was written; `refused`: rule → why it is there without its evidence, and called unknown."""

    path: Path
    refused: Mapping[str, str]


def issue(
    results: Iterable[ResultLike],
    spec: SpecFacts,
    rewards: Mapping[str, Artifact],
    out: Path,
    key: Ed25519PrivateKey | None = None,
    issued: datetime | None = None,
    tables: Mapping[str, bytes] | None = None,
    lineages: Sequence[Lineage] = (),
    again: Callable[[str], ResultLike | None] = lambda rule: None,
) -> Written:
    """Write a certificate to `out` (missing or empty), whole or not at all.

    `issued` is the time that it says it was made, to the second; by default now, or $SOURCE_DATE_EPOCH where that is
    set. But for that field and the signature, equal inputs give equal bytes. `tables` are those that claims about rows
    name, by digest; `lineages` are about rewards that other claims are about.

    The kernel runs over the finished folder first, in exact integers. A rule without evidence is listed, with its
    reason; so is one whose evidence the kernel refuses, as unknown, which is a bug in Rewarden, and told. Before that,
    `again` is asked for another result of such a rule, with other evidence; None where there is none to be had.
    CertificateError C40 where that leaves nothing, or where the kernel finds another value at a point than the verifier
    (then no evidence can be relied on), C41 if nothing has a claim.
    """
    found = list(results)
    if all(r.claim is None for r in found):
        raise CertificateError("C41", "there is nothing to certify: no rule has a claim", help=UNCERTIFIED)
    with new_folder(out) as scratch:
        claims_file, evidence = _write_evidence(found, lineages, scratch)
        _write_tables(tables or {}, scratch)
        about = {name for result in found if result.claim is not None for name, _ in result.claim.rewards}
        report = _kernel(scratch, about, rewards)
        others = {rule: other for rule in sorted(_refused(report).keys() & evidence.keys()) if (other := again(rule))}
        if others:
            for rule in others:
                (scratch / evidence[rule].path).unlink()
            found = [others.get(result.rule, result) for result in found]
            claims_file, evidence = _write_evidence(found, lineages, scratch)
            report = _kernel(scratch, about, rewards)
        refused = _withheld(scratch, report, evidence)
        contents = Contents(claims_file, evidence, {one.rule: one.digest for one in lineages}, report)
        told = build_statement(found, spec, rewards, contents, issued or _now())
        _write_statement(scratch, canonical_json(told), key)
        named = " ".join(f"--reward {name}=ARTIFACT" for name in sorted(about))
        (scratch / "README.txt").write_text(README.format(rewards=named), encoding="utf-8")
    return Written(Path(out), {r.rule: not_accepted(r, refused[r.rule]) for r in found if r.rule in refused})


def _write_statement(folder: Path, statement: bytes, key: Ed25519PrivateKey | None) -> None:
    if key is None:
        (folder / "statement.json").write_bytes(statement)
        return
    from rewarden.certificate.envelope import ENVELOPE, KEYS, sign
    from rewarden.certificate.keys import public_pem

    (folder / ENVELOPE).write_bytes(sign(statement, key))
    (folder / KEYS).write_bytes(public_pem(key.public_key()))


def _now() -> datetime:
    """$SOURCE_DATE_EPOCH, as builds that can be repeated set it, or the clock."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(fixed), UTC) if fixed.isdecimal() else datetime.now(UTC)


def _write_evidence(
    results: Iterable[ResultLike], lineages: Iterable[Lineage], folder: Path
) -> tuple[EvidenceFile, dict[str, EvidenceFile]]:
    """`claims.json`, and by rule (or lineage) what bears its claim out."""
    with_claim = [(r, r.claim) for r in results if r.claim is not None]
    claims = claims_document((claim for _, claim in with_claim), [one.claim for one in lineages])
    (folder / "claims.json").write_bytes(claims)
    (folder / "proofs").mkdir(exist_ok=True)
    values = [(r.rule, claim_digest(claim), _evidence(r, claim)) for r, claim in with_claim]
    files = {}
    for rule, digest, value in [*values, *((one.rule, one.digest, one.evidence) for one in lineages)]:
        if value is None:
            continue
        data = canonical_json(value)
        path = f"proofs/{evidence_name(rule, digest)}.json"
        if len(data) > COMPRESS_ABOVE:
            data, path = gzip.compress(data, mtime=0), path + ".gz"
        (folder / path).write_bytes(data)
        files[rule] = EvidenceFile(path, digest_of(data))
    return EvidenceFile("claims.json", digest_of(claims)), files


def _write_tables(tables: Mapping[str, bytes], folder: Path) -> None:
    if tables:
        (folder / "tables").mkdir()
    for name, data in tables.items():
        (folder / "tables" / table_name(name)).write_bytes(data)


def _evidence(result: ResultLike, claim: Claim) -> Mapping[str, Any] | None:
    """A proof, or the point (or loop) of a violation; None where there is neither."""
    if result.verdict == "proved":
        assert result.proof is None or isinstance(result.proof, Mapping), "proofs are written before they are issued"
        return result.proof
    if claim.rows is not None:
        assert result.proof is None or isinstance(result.proof, Mapping), "rows are counted before it is issued"
        return result.proof
    if result.verdict != "violated" or result.witness is None:
        return None
    head = {"format": "rewarden-counterexample", "format_version": 1, "claim": claim_digest(claim)}
    return {**head, **shown_point(claim, result.witness.box, result.witness.point)}


def _kernel(folder: Path, names: set[str], rewards: Mapping[str, Artifact]) -> Report:
    """The kernel over the certificate and over the artifacts as they would be on disk."""
    with tempfile.TemporaryDirectory() as place:
        paths = {name: Path(place) / f"{k}.rwz" for k, name in enumerate(sorted(names & set(rewards)))}
        for name, path in paths.items():
            path.write_bytes(zip_bytes(rewards[name]))
        known = tiers()
        return check(folder, paths, 1, *next(known[name] for name in EXACTLY if name in known))


def _refused(report: Report) -> dict[str, str]:
    return {c.rule: c.reason for c in report.claims if c.verdict == "refused"}


def _withheld(folder: Path, report: Report, evidence: dict[str, EvidenceFile]) -> dict[str, str]:
    """Rule → why its evidence is refused; that is taken out of the folder, and of `evidence`."""
    refused = _refused(report)
    wrong = [name for name, why in refused.items() if any(said in why for said in CONTRADICTIONS)]
    lineages = [c.rule for c in report.claims if c.rule in refused and c.rule.startswith("lineage of ")]
    checked = any(c.checked for c in report.claims)
    if report.problem is not None or wrong or lineages or (refused and not checked):
        said = "; ".join(f"{name}: {refused[name]}" for name in wrong or lineages or refused)
        raise CertificateError(
            "C40",
            f"the kernel does not accept what was about to be certified: {report.problem or said}",
            help="nothing was written; this is a bug in Rewarden, please report it",
        )
    for rule in refused:
        (folder / evidence.pop(rule).path).unlink()
    return refused
