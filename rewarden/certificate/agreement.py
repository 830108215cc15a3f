"""Whether a signed statement says what the folder, the artifacts, the kernel and the spec bear out.

A signature says who vouches, and even a key that is trusted may sign what is not so. Everything in a statement that can
be computed from something else is computed again here and compared: subjects, claims, verdicts, evidence, constants,
data, lineage and edits, and the sentences that all certificates share. What is left is the signer's own word: the time,
the reasons of what is open, and the versions of the tools.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewarden.certificate.check import ClaimReport, Report, evidence_name
from rewarden.certificate.kernel_files import read_regular
from rewarden.certificate.kernel_json import Refused, canonical, digest
from rewarden.certificate.kernel_report import RECIPE
from rewarden.certificate.statement import (
    ARITHMETIC,
    CONCERNS,
    DEPLOYED,
    TRUSTED_BASE,
    constants_said,
    data_said,
    facts_of,
    not_checked,
    parent_among,
    reward_said,
    rewards_in,
    subject,
)
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang import Spec

# What every certificate of this kind says in the same words.
FIXED: Mapping[str, Any] = {
    "concerns": CONCERNS,
    "deployed_arithmetic": DEPLOYED,
    "semantics": "real",
    "trusted_base": list(TRUSTED_BASE),
}


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What a statement is held against. `claims`: rule → claim, as the folder has them, and `lineages` likewise;
    `artifacts`: those given.

    `spec`: where the claims were compiled again.
    """

    folder: Path
    report: Report
    claims: Mapping[str, Mapping[str, Any]]
    lineages: Mapping[str, Mapping[str, Any]]
    artifacts: Mapping[str, Artifact]
    spec: Spec | None


def disagreements(statement: Mapping[str, Any], known: Known) -> Iterator[str]:
    """What is not borne out, in sentences. The statement is of its documented shape."""
    said = statement["predicate"]
    yield from _subjects(statement, known)
    yield from _lineage(said, known)
    yield from _files(said, known)
    for entry in said["rules"]:
        yield from _rule(entry, known)
    yield from _verdicts(said, known)
    yield from _lineages(said, known)
    yield from _words(said, known)
    if known.spec is not None:
        yield from _of_the_spec(statement, known.spec)


def _subjects(statement: Mapping[str, Any], known: Known) -> Iterator[str]:
    """The rewards that claims are about, and one spec: nothing else is what this statement is about."""
    listed = [(reward["name"], reward["digest"]) for reward in statement["predicate"]["rewards"]]
    about = statement["subject"]
    digests = {s["name"]: "sha256:" + s["digest"]["sha256"] for s in about}
    parents = {f"{name}.parent" for one in known.lineages.values() for name in one["rewards"]}
    for name, value in known.report.rewards.items():
        if name not in parents and digests.get(name) != value:
            yield f"statement: {name} is {digests.get(name, 'not a subject')}, the artifact given is {value}"
    if about[:-1] != [subject(*one) for one in listed] or not about or not about[-1]["name"].endswith(".rwd"):
        yield "statement: its subjects are not the rewards that it lists, and one spec"
    if [name for name, _ in listed] != rewards_in([*known.claims.values(), *known.lineages.values()]):
        yield "statement: the rewards that it lists are not those that its claims are about"


def _lineage(said: Mapping[str, Any], known: Known) -> Iterator[str]:
    """Lineage, patches and edits are what the artifacts' own manifests say."""
    listed = {reward["name"]: reward["digest"] for reward in said["rewards"]}
    for reward in said["rewards"]:
        name = reward["name"]
        if reward["parent_is"] != parent_among(listed, reward["parent"]):
            yield f"statement: it is wrong about which of its rewards {name} was made from"
        if name not in known.artifacts:
            continue
        own = reward_said(name, known.artifacts[name], reward["parent_is"])
        wrong = [key for key in own if canonical(own[key]) != canonical(reward[key])]
        if wrong:
            yield f"statement: of {name} it says another {' and '.join(wrong)} than the artifact does"


def _lineages(said: Mapping[str, Any], known: Known) -> Iterator[str]:
    """Claims about lineage, each with the file that belongs to it. What they say the kernel has held against the
    artifacts."""
    listed = {one["name"]: one for one in said["lineages"]}
    if [one["name"] for one in said["lineages"]] != sorted(known.lineages):
        yield "statement: the lineages that it lists are not those of its claims"
        return
    for name, claim in known.lineages.items():
        own = digest(canonical(claim))
        files = [f"proofs/{evidence_name(name, own)}.{end}" for end in ("json", "json.gz")]
        if listed[name]["claim"] != own or listed[name]["evidence"]["file"] not in files:
            yield f"statement: what it says of the {name} is not of this claim"
        if all(found.verdict != RECIPE for found in known.report.claims if found.rule == name):
            yield f"statement: it speaks of the {name}, and nothing here bears that out"


def _files(said: Mapping[str, Any], known: Known) -> Iterator[str]:
    named = [said["claims"], *(one["evidence"] for one in said["lineages"])]
    named += [rule["evidence"] for rule in said["rules"] if rule["evidence"] is not None]
    for file in named:
        if _digest(known.folder, str(file["file"])) != file["digest"]:
            yield f"statement: {file['file']} is not the file it names"
    if said["claims"]["file"] != "claims.json":
        yield "statement: its claims are not those of claims.json"


def _rule(entry: Mapping[str, Any], known: Known) -> Iterator[str]:
    """One rule's entry against the claim and what the kernel has found."""
    name, claim = str(entry["name"]), known.claims.get(str(entry["name"]))
    found = next((one for one in known.report.claims if one.rule == name), None)
    if claim is None or found is None:
        if entry["claim"] is not None or entry["evidence"] is not None or entry["constants"]:
            yield f"statement: it speaks of a claim of {name} that is not there"
        return
    if entry["claim"] != found.digest:
        yield f"statement: it does not speak of this claim of {name}"
        return
    if (entry["severity"], entry["semantics"]) != (found.severity, "real"):
        yield f"statement: severity or semantics of {name} are not those of its claim"
    if canonical(entry["constants"]) != canonical(constants_said(claim)):
        yield f"statement: the constants of {name} are not those of its claim"
    yield from _evidence(entry, found)


def _evidence(entry: Mapping[str, Any], found: ClaimReport) -> Iterator[str]:
    name, evidence, checker = found.rule, entry["evidence"], entry["checker"]
    if evidence is None and found.verdict != "not checked":
        yield f"statement: it does not speak of the evidence that there is for {name}"
    elif found.checked and entry["verdict"] != found.verdict:
        yield f"statement: it says {entry['verdict']} of {name}, its evidence says {found.verdict}"
    if (evidence is None) != (checker is None) or not _may_be(checker, entry["verdict"]):
        yield f"statement: what it says of the check of {name} cannot be"
    own = evidence_name(name, found.digest)
    if evidence is not None and evidence["file"] not in (f"proofs/{own}.json", f"proofs/{own}.json.gz"):
        yield f"statement: the evidence of {name} is not the file that belongs to it"


def _may_be(checker: Mapping[str, Any] | None, verdict: str) -> bool:
    """In which arithmetic the issuer had it checked is the issuer's word; it is one that there is."""
    return checker is None or (checker["tier"] in ARITHMETIC and checker["verdict"] == verdict)


def _verdicts(said: Mapping[str, Any], known: Known) -> Iterator[str]:
    """Every claim and every verdict once; what no evidence here bears out is called unchecked."""
    counts = Counter(str(entry["name"]) for entry in said["rules"])
    for name in sorted(name for name, count in counts.items() if count > 1):
        yield f"statement: it speaks of {name} more than once"
    for name in sorted(set(known.claims) - set(counts)):
        yield f"statement: it does not speak of this claim of {name}"
    if said["not_checked"] != not_checked(said["rules"], said["lineages"]):
        yield "statement: what it calls not checked is not what it, or any certificate, leaves unchecked"
    checked = {claim.rule for claim in known.report.claims if claim.checked}
    for entry in said["rules"]:
        name, verdict = entry["name"], entry["verdict"]
        if verdict != "unknown" and entry["evidence"] is not None and name not in checked:
            yield f"statement: it calls {name} {verdict}, and nothing here bears that out"


def _words(said: Mapping[str, Any], known: Known) -> Iterator[str]:
    """What is not the statement's own to choose."""
    for key, words in FIXED.items():
        if said[key] != words:
            yield f"statement: {key} is not what this kind of certificate says"
    if said["data"] != data_said(known.claims.values()):
        yield "statement: the data that it names are not those of its claims"


def _of_the_spec(statement: Mapping[str, Any], spec: Spec) -> Iterator[str]:
    """Digest, assumptions, parameters, and of each rule its title and severity."""
    said, facts = statement["predicate"], facts_of(spec)
    if statement["subject"][-1:] != [subject(f"{facts.name}.rwd", facts.digest)]:
        yield f"statement: the spec given, {facts.name} {facts.digest}, is not its subject"
    if said["assumptions"] != list(facts.assumptions) or said["params"] != dict(facts.params):
        yield f"statement: assumptions or parameters are not those of {facts.name}"
    rules = {rule.name: (rule.title, str(rule.severity)) for rule in spec.rules}
    for entry in said["rules"]:
        if rules.get(entry["name"]) != (entry["title"], entry["severity"]):
            yield f"statement: {facts.name} has no {entry['severity']} rule {entry['name']} of this title"


def _digest(folder: Path, path: str) -> str | None:
    """The digest of a file of the certificate; None for anything that is not one, or would lead out of it."""
    parts = Path(path).parts
    if path != "/".join(parts) or len(parts) > 2 or ".." in parts or (len(parts) == 2 and parts[0] != "proofs"):
        return None
    try:
        return digest(read_regular(folder.joinpath(*parts)))
    except (Refused, OSError, ValueError):
        return None
