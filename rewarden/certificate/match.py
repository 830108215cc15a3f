"""Checking a certificate in full: the kernel, the text of the spec, the statement and its signature.

The kernel says whether the proofs prove the claims. This module adds whether the claims are what the spec says of these
rewards (they are compiled again, and compared byte for byte) and whether the statement says the same and who signed it.
Needs neither torch nor z3.
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewarden.certificate.agreement import Known, disagreements
from rewarden.certificate.check import TIER, Check, Report, check
from rewarden.certificate.envelope import ENVELOPE, Signature, check_signatures
from rewarden.certificate.kernel_files import read_regular
from rewarden.certificate.kernel_json import Refused, canonical, parse
from rewarden.certificate.kernel_proof import check_leaves
from rewarden.certificate.kernel_shapes import read
from rewarden.certificate.keys import load_public_key
from rewarden.certificate.model_signature import covers
from rewarden.certificate.policy import Policy, objections
from rewarden.certificate.signoff import signers_of
from rewarden.certificate.statement import PREDICATE_TYPE, SHAPE, STATEMENT_TYPE, rewards_in
from rewarden.reward.artifact import Artifact
from rewarden.reward.store import load_artifact, zip_bytes
from rewarden.spec_lang import Spec, load_spec
from rewarden.spec_lang.claim_json import dump_claim
from rewarden.spec_lang.errors import CertificateError, RewardenError, Unsupported, UsageError
from rewarden.verifier.bind import bind_claim

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

HEAVY = ("torch", "z3")


@dataclass(frozen=True, slots=True)
class TextMatch:
    """Whether claims.json is what the spec says. `without_claim`: rules of the spec that no claim covers."""

    matched: bool
    sentence: str
    without_claim: tuple[str, ...] = ()
    spec: Spec | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """Every part by name. `problems` are sentences; an accepted certificate has none."""

    kernel: Report
    text: TextMatch
    signature: Signature
    statement: Mapping[str, Any] | None
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()  # what was asked for besides, and holds

    @property
    def accepted(self) -> bool:
        return not self.problems


def check_certificate(
    cert_dir: Path,
    rewards: Mapping[str, Path | Artifact],
    spec: Path | Spec | None = None,
    params: Mapping[str, object] | None = None,
    allow: tuple[Path, ...] = (),
    *,
    public_key: Path | None = None,
    policy: Policy | None = None,
    model_signature: Path | None = None,
    workers: int = 1,
    tier: str = "exact",
    require_light: bool = False,
    allow_unchecked: bool = False,
    kernel: Callable[[Path, Mapping[str, Path], int, str, Check], Report] | None = None,
) -> Checked:
    """Check a certificate; never raises for what it holds, that is what the answer says.

    `rewards`: name → artifact; the name "" stands for the only one there is. Accepted: the kernel refuses nothing and
    has proved every `must` claim (or, with `allow_unchecked`, has seen none violated), the claims are those of the spec
    (where one is given) and cover its `must` rules, the statement agrees with all of it, the signature fits, and
    nothing speaks against it in the `policy`. `public_key` or the policy's keys are those that are trusted.
    `model_signature`: a signature of the artifact by model-signing, which must be of the same bytes. `require_light`:
    CertificateError C45 if torch or z3 has been imported into this process. `kernel`: asked in the kernel's place, by
    those who have its answer already.
    """
    folder = Path(cert_dir)
    problems: list[str] = []
    with _on_disk(rewards) as paths:
        report = (kernel or check)(folder, paths, workers, *_arithmetic(tier))
        _judge_kernel(report, problems, allow_unchecked)
        text = TextMatch(False, "text: not checked")
        artifacts: dict[str, Artifact] = {}
        if report.problem is None:
            named = {next(iter(report.rewards)): paths[""]} if "" in paths else paths
            parents = {name: path for name, path in named.items() if name.endswith(".parent")}
            artifacts = _artifacts({name: path for name, path in named.items() if name not in parents}, problems)
        if spec is not None and report.problem is None:
            text = _text(folder, artifacts, spec, params or {}, allow)
            problems += [] if text.matched else [text.sentence]
            if text.without_claim and not allow_unchecked:
                problems.append(f"text: these must rules of the spec have no claim: {', '.join(text.without_claim)}")
        signed = [] if model_signature is None else _model_signed(model_signature, artifacts, problems)
    trusted = () if public_key is None else (load_public_key(public_key),)
    signature, statement = _signed_statement(
        folder, trusted or (() if policy is None else policy.keys_of("certificate")), problems
    )
    met = None
    if statement is not None:
        against = [] if policy is None else _against(policy, statement, signature, report, text)
        problems, met = [*problems, *against], None if against else policy
        if report.problem is None:
            claims, lineages = _claims_in(folder), _claims_in(folder, lineages=True)
            problems += disagreements(statement, Known(folder, report, claims, lineages, artifacts, text.spec))
    if require_light and (found := [name for name in HEAVY if name in sys.modules]):
        raise CertificateError("C45", f"{' and '.join(found)} was imported into the process that checks a certificate")
    return Checked(report, text, signature, statement, tuple(problems), _notes(met, model_signature, signed))


def _notes(policy: Policy | None, model_signature: Path | None, signed: Sequence[str]) -> tuple[str, ...]:
    """`policy`: one that is met; `signed`: the rewards that the signature is of."""
    asked = []
    if policy is not None:
        asked.append(f"policy: {policy.path.name} is met")
    if model_signature is not None and signed:
        said = f"{model_signature.name} is of the same bytes as {' and '.join(signed)}"
        asked.append(f"model signature: {said}; its own signature is not checked (model_signing verify)")
    return tuple(asked)


def _arithmetic(tier: str) -> tuple[str, Check]:
    """What a tier is called in answers, and how it checks leaves. UsageError G55 where its package is missing."""
    if tier == "exact":
        return TIER, check_leaves
    from rewarden.certificate.tiers import tiers

    known = tiers()
    if tier not in known:
        raise UsageError("G55", f"--tier {tier}: its package is not installed", help=f"known here: {', '.join(known)}")
    return known[tier]


@contextmanager
def _on_disk(rewards: Mapping[str, Path | Artifact]) -> Iterator[dict[str, Path]]:
    """Where each reward can be read; artifacts in memory are written out for as long as it takes."""
    with tempfile.TemporaryDirectory() as place:
        paths = {}
        for k, (name, reward) in enumerate(sorted(rewards.items())):
            if isinstance(reward, Artifact):
                paths[name] = Path(place) / f"{k}.rwz"
                paths[name].write_bytes(zip_bytes(reward))
            else:
                paths[name] = Path(reward)
        yield paths


def _judge_kernel(report: Report, problems: list[str], allow_unchecked: bool) -> None:
    if report.problem is not None:
        problems.append(f"kernel: {report.problem}")
    for claim in report.claims:
        if claim.verdict == "refused":
            problems.append(f"kernel: the evidence for {claim.rule} is refused: {claim.reason}")
        elif claim.severity == "must" and (
            claim.verdict == "violated" or (claim.verdict != "proved" and not allow_unchecked)
        ):
            found = "violated" if claim.verdict == "violated" else "not proved"
            problems.append(f"kernel: the must claim {claim.rule} is {found}: {claim.reason}")
    if report.problem is None and not report.claims:
        problems.append("kernel: there is no claim")


# ── text ───────────────────────────────────────────────────────────────────────────────────────
def _artifacts(rewards: Mapping[str, Path], problems: list[str]) -> dict[str, Artifact]:
    """Those that can be read; the kernel, which read them, is another reader."""
    found = {}
    for name, path in rewards.items():
        try:
            found[name] = load_artifact(path)
        except RewardenError as error:
            problems.append(f"artifact: {name}: {error.message}")
    return found


def _text(
    folder: Path,
    artifacts: Mapping[str, Artifact],
    spec: Path | Spec,
    params: Mapping[str, object],
    allow: tuple[Path, ...],
) -> TextMatch:
    try:
        compiled = spec if isinstance(spec, Spec) else load_spec(spec, params=params, allow=allow)
        return _match_text(folder, artifacts, compiled)
    except RewardenError as error:
        return TextMatch(False, f"text: the spec could not be compiled again: {error.message}")


def _match_text(folder: Path, artifacts: Mapping[str, Artifact], spec: Spec) -> TextMatch:
    """Compile every rule again about these rewards and compare claim by claim, byte for byte."""
    certified = {rule: canonical(claim) for rule, claim in _claims_in(folder).items()}
    expected: dict[str, bytes] = {}
    missing = []
    for rule in spec.rules:
        try:
            expected[rule.name] = dump_claim(bind_claim(spec, rule.name, artifacts))
        except Unsupported:
            pass
        except RewardenError:
            if rule.name in certified:
                raise
        if rule.name not in certified and rule.severity == "must":
            missing.append(rule.name)
    wrong = sorted(name for name, data in certified.items() if expected.get(name) != data)
    if wrong:
        sentence = f"text: these claims are not what {spec.name} says: {', '.join(wrong)}"
        return TextMatch(False, sentence, tuple(missing), spec)
    silent = [rule.name for rule in spec.rules if rule.name not in certified]
    but = f"; it has no claim for the rule{'s' * (len(silent) > 1)} {', '.join(silent)}" if silent else ""
    return TextMatch(True, f"text: the claims are those of {spec.name}, byte for byte{but}", tuple(missing), spec)


def _claims_in(folder: Path, *, lineages: bool = False) -> dict[str, Mapping[str, Any]]:
    """Rule → claim, or lineage → claim; the kernel has read the file already, so what is wrong with it has been said.
    A lineage is not what a spec says: the kernel holds it against the artifact's own manifest."""
    try:
        value = parse(read_regular(Path(folder) / "claims.json"))
        claims = value["claims"] if isinstance(value, dict) else []
        return {str(claim["rule"]): claim for claim in claims if ("lineage" in claim) == lineages}
    except (Refused, OSError, KeyError, TypeError) as error:
        raise CertificateError("C42", f"claims.json cannot be read: {error}") from None


def rewards_of(folder: Path) -> set[str]:
    """The names of the rewards that a certificate's claims are about. CertificateError C42 if they cannot be read."""
    try:
        return set(rewards_in([*_claims_in(folder).values(), *_claims_in(folder, lineages=True).values()]))
    except (KeyError, TypeError, AttributeError) as error:
        raise CertificateError("C42", f"claims.json cannot be read: {error}") from None


# ── statement and signature ────────────────────────────────────────────────────────────────────
def _signed_statement(
    folder: Path, trusted: Sequence[Ed25519PublicKey], problems: list[str]
) -> tuple[Signature, Mapping[str, Any] | None]:
    """The statement, from its envelope. One without a signature is read, and reported as a problem."""
    try:
        if (folder / ENVELOPE).exists():
            payload, signature = check_signatures(folder, trusted)
        else:
            payload = read_regular(folder / "statement.json")
            signature = Signature(False, False, (), "signature: none; the certificate is not signed")
            problems.append(signature.sentence)
        value = parse(payload)
    except CertificateError as error:
        problems.append(f"signature: {error.message}")
        return Signature(False, False, (), f"signature: {error.message}"), None
    except FileNotFoundError:
        problems.append("statement: the certificate holds neither envelope.dsse.json nor an unsigned statement.json")
        return Signature(False, False, (), "signature: there is no statement"), None
    except (Refused, OSError) as error:
        problems.append(f"statement: {error}")
        return Signature(False, False, (), "signature: there is no statement"), None
    if not isinstance(value, dict) or (value.get("_type"), value.get("predicateType")) != (
        STATEMENT_TYPE,
        PREDICATE_TYPE,
    ):
        problems.append("statement: not a Rewarden certificate's statement")
        return signature, None
    try:
        read(value, SHAPE, "the statement")
    except Refused as error:
        problems.append(f"statement: {error}")
        return signature, None
    return signature, value


def _against(
    policy: Policy, statement: Mapping[str, Any], signature: Signature, report: Report, text: TextMatch
) -> list[str]:
    """What the policy has against it, sign-offs that cannot be read among it.

    A sign-off is of a spec: without one that the claims match, it says nothing of the claims.
    """
    problems: list[str] = []
    if policy.roles_of("spec") and not text.matched:
        problems.append("policy: it asks for a sign-off of the spec, and the claims were not matched with one (--spec)")
    signed_off: dict[str, set[str]] = defaultdict(set)
    for path in policy.sign_offs:
        try:
            digest_signed, signers = signers_of(path, policy.keys_of("spec"))
            signed_off[digest_signed].update(signers)
        except CertificateError as error:
            problems.append(f"policy: {path.name}: {error.message}")
    now = datetime.now(UTC)
    return problems + objections(policy, statement, signature.signers, signed_off, report.tier, now)


def _model_signed(signature: Path, artifacts: Mapping[str, Artifact], problems: list[str]) -> list[str]:
    """Which of the rewards it is a signature of; a parent, from which one was made, is none of them."""
    try:
        found = [name for name, artifact in artifacts.items() if covers(signature, artifact)]
    except RewardenError as error:
        problems.append(f"model signature: {error.message}")
        return []
    if artifacts and not found:
        problems.append(f"model signature: {signature.name} is of other files than {' or '.join(artifacts)}")
    return found
