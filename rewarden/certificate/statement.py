"""The statement of a certificate: an in-toto Statement (v1) that says what was proved, of what, and what was not.

Subjects are the reward artifacts and the spec, by digest. The predicate holds the claims and their proofs by digest,
and in whole sentences everything that a reader must know before relying on them. Plain JSON, no floating-point numbers.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from rewarden.certificate.check import TIER, ClaimReport, Report
from rewarden.certificate.kernel_json import refuse
from rewarden.certificate.kernel_shapes import digest_text, one_of, rational, read
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.canonical import canonical_json, digest_of
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.claim_json import claim_object
from rewarden.spec_lang.printer import print_item
from rewarden.spec_lang.spec import Spec
from rewarden.spec_lang.syntax import AssumeDecl

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://rewarden.dev/certificate/v1"
INSTANT = "%Y-%m-%dT%H:%M:%SZ"
CONCERNS = (
    "This certificate concerns the reward. It says nothing about any policy that is trained on the reward, nor about "
    "the machine that optimises it."
)
DEPLOYED = (
    "Deployed arithmetic is not covered: the claims are about the reward as an exact function of real numbers, with "
    "its stored binary32 weights; what a network executed in binary32 returns can differ by its rounding."
)
TRUSTED_BASE = (
    "the certificate kernel: the files check.py and kernel_*.py of rewarden/certificate",
    "Python and its standard library, the operating system and the machine that run the kernel",
    "where the text is matched as well: Rewarden's own compiler from spec to claim, and its data constants",
)
NOT_CHECKED = (
    "That the spec says what its authors mean, and that its ranges and assumptions hold in the world.",
    "That the data sets are what they are called, and how they were gathered.",
    "How the reward was learned: the artifact's record of it is the learner's own account.",
    "Rewards at records outside the declared ranges.",
)
ARITHMETIC = (  # what the tiers call themselves, installed or not
    TIER,
    "flint exact integer arithmetic (python-flint)",
    "float64 with rigorous error terms (numpy), and exact integers where those leave a leaf open",
)
NOT_RE_RUN = "Whether rows were forgotten as the manifests say they were; the recipe was not re-run"


# ── the shape of a statement, for its readers (docs/schemas/statement.schema.json) ─────────────
def _instant(value: object, what: str) -> str:
    """A time in UTC, to the second, in the one spelling."""
    told = _string(value, what)
    try:
        if datetime.strptime(told, INSTANT).strftime(INSTANT) == told:
            return told
    except ValueError:
        pass
    return refuse(f"{what} must be a time such as 2026-11-22T01:20:00Z")


def _string(value: object, what: str) -> str:
    return value if isinstance(value, str) else refuse(f"{what} must be text")


def _strings(value: object, what: str) -> dict[str, str]:
    return (
        value
        if isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
        else refuse(f"{what} must be an object of texts")
    )


def _or_null(shape: object) -> Callable[[object, str], Any]:
    return lambda value, what: None if value is None else read(value, shape, what)


_FILE = {"file": _string, "digest": digest_text}
_CONSTANT = {"text": _string, "data": digest_text, "value": rational}
_RULE = {
    "name": _string,
    "title": _string,
    "severity": one_of("must", "should"),
    "verdict": one_of("proved", "violated", "vacuous", "unknown"),
    "reason": _string,
    "semantics": _string,
    "claim": _or_null(digest_text),
    "evidence": _or_null(_FILE),
    "checker": _or_null({"tier": _string, "verdict": one_of("proved", "violated")}),
    "constants": [_CONSTANT],
}
_LINEAGE = {"name": _string, "claim": digest_text, "evidence": _FILE}
_REWARD = {
    "name": _string,
    "digest": digest_text,
    "identified": one_of("exact", "shift", "affine"),
    "learner": _or_null(_string),
    "learned_from": [{"name": _string, "bytes": digest_text, "table": digest_text}],
    "parent": _or_null(digest_text),
    "parent_is": _or_null(_string),
    "patches": [{"kind": one_of("ceiling", "floor"), "rule": _string}],
    "edit": _or_null({"kind": _string, "rule": _or_null(_string), "statement": _strings}),
}
SHAPE = {
    "_type": STATEMENT_TYPE,
    "predicateType": PREDICATE_TYPE,
    "subject": [{"name": _string, "digest": {"sha256": _string}}],
    "predicate": {
        "schema_version": 1,
        "issued": _instant,
        **dict.fromkeys(("concerns", "semantics", "deployed_arithmetic"), _string),
        **{key: [_string] for key in ("trusted_base", "not_checked", "assumptions")},
        "params": _strings,
        "claims": _FILE,
        "rules": [_RULE],
        "lineages": [_LINEAGE],
        "data": [{"used_in": _string, "table": digest_text}],
        "rewards": [_REWARD],
        "tools": _strings,
    },
}


class PointLike(Protocol):
    @property
    def box(self) -> int: ...
    @property
    def point(self) -> Sequence[Any]: ...


class ResultLike(Protocol):
    """What a certificate needs of one rule's result; `rewarden.verifier.verdict.RuleResult` is one."""

    @property
    def rule(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def severity(self) -> str: ...
    @property
    def verdict(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def witness(self) -> PointLike | None: ...
    @property
    def proof(self) -> object: ...
    @property
    def claim(self) -> Claim | None: ...


@dataclass(frozen=True, slots=True)
class SpecFacts:
    """What the statement says of the spec. `assumptions` are the spec's own words, one sentence each."""

    name: str
    digest: str
    assumptions: tuple[str, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)


def facts_of(spec: Spec) -> SpecFacts:
    """A spec's own name, digest, assumptions (as canonical text, without comments) and parameters."""
    assumed = [item for item in spec.expanded.items if isinstance(item, AssumeDecl)]
    return SpecFacts(
        spec.name,
        spec.digest,
        tuple(" ".join(print_item(item).split()) for item in assumed),
        {p.name: f"{p.value} [{p.unit}]" if p.unit else str(p.value) for p in spec.params.values()},
    )


@dataclass(frozen=True, slots=True)
class EvidenceFile:
    """A file of the certificate, by its path in it."""

    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a certificate beside its statement. `evidence`: rule or lineage → its file; `lineages`: name → claim;
    `report`: what the kernel says of all that was written, also of evidence that it refused and that is not there."""

    claims: EvidenceFile
    evidence: Mapping[str, EvidenceFile]
    lineages: Mapping[str, str]
    report: Report


def build_statement(
    results: Iterable[ResultLike],
    spec: SpecFacts,
    rewards: Mapping[str, Artifact],
    contents: Contents,
    issued: datetime,
) -> dict[str, Any]:
    """The whole statement.

    It is about those rewards that some claim is about, and no others: who asks it about an artifact gets an answer.
    """
    found = list(results)
    report, evidence = contents.report, contents.evidence
    checked = {claim.rule: claim for claim in report.claims}
    claims = {r.rule: claim_object(r.claim) for r in found if r.claim is not None}
    about = {name: rewards[name] for name in rewards_in(claims.values()) if name in rewards}
    rules = [_rule(r, evidence.get(r.rule), checked.get(r.rule), claims.get(r.rule), report.tier) for r in found]
    files = {name: evidence[name] for name in sorted(contents.lineages)}
    lineages = [
        {"name": name, "claim": contents.lineages[name], "evidence": {"file": file.path, "digest": file.digest}}
        for name, file in files.items()
    ]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            *(subject(name, artifact.digest) for name, artifact in about.items()),
            subject(f"{spec.name}.rwd", spec.digest),
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "schema_version": 1,
            "issued": issued.astimezone(UTC).strftime(INSTANT),
            "concerns": CONCERNS,
            "semantics": "real",
            "deployed_arithmetic": DEPLOYED,
            "trusted_base": list(TRUSTED_BASE),
            "not_checked": not_checked(rules, lineages),
            "assumptions": list(spec.assumptions),
            "params": dict(sorted(spec.params.items())),
            "claims": {"file": contents.claims.path, "digest": contents.claims.digest},
            "rules": rules,
            "lineages": lineages,
            "data": data_said(claims.values()),
            "rewards": [
                reward_said(name, artifact, parent_among({n: a.digest for n, a in about.items()}, artifact.parent))
                for name, artifact in about.items()
            ],
            "tools": _tools(),
        },
    }


def subject(name: str, digest: str) -> dict[str, Any]:
    """What a statement is about, as in-toto writes it."""
    kind, _, value = digest.partition(":")
    return {"name": name, "digest": {kind: value}}


def _rule(
    result: ResultLike,
    file: EvidenceFile | None,
    checked: ClaimReport | None,
    claim: Mapping[str, Any] | None,
    tier: str,
) -> dict[str, Any]:
    seen = checked is not None and checked.checked
    refused = checked is not None and checked.verdict == "refused"
    return {
        "name": result.rule,
        "title": result.title,
        "severity": str(result.severity),
        "verdict": "unknown" if refused else str(result.verdict),
        "reason": not_accepted(result, checked.reason) if checked is not None and refused else result.reason,
        "semantics": "real",
        "claim": None if claim is None else digest_of(canonical_json(claim)),
        "evidence": None if file is None else {"file": file.path, "digest": file.digest},
        "checker": {"tier": tier, "verdict": checked.verdict} if checked is not None and seen else None,
        "constants": [] if claim is None else constants_said(claim),
    }


def not_accepted(result: ResultLike, why: str) -> str:
    """Of a rule whose evidence the kernel has refused: it is left out, and the rule is called unknown."""
    return f"{result.verdict} by the verifier; the kernel did not accept its evidence: {why}; please report this"


# ── what a statement says of claims and artifacts: written here, and compared by `agreement` ───
def not_checked(rules: Iterable[Mapping[str, Any]], lineages: Iterable[Mapping[str, Any]]) -> list[str]:
    """What no certificate checks, and a sentence for each rule whose verdict the kernel has not recomputed, and for
    each lineage."""
    lacks = "without evidence that the kernel can check"
    rest = [rule for rule in rules if rule["evidence"] is None]
    open_rules = [f"Rule {r['name']}, found {r['verdict']}, {lacks}: {r['reason']}" for r in rest]
    return [*NOT_CHECKED, *open_rules, *(f"{NOT_RE_RUN}: {one['name']}." for one in lineages)]


def rewards_in(claims: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of the rewards that claims are about."""
    return sorted({str(name) for claim in claims for part in _parts(claim) for name in part["rewards"]})


def constants_said(claim: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The data constants of a claim, each once."""
    found: list[dict[str, Any]] = []
    for part in _parts(claim):
        found += [constant for constant in part.get("constants", ()) if constant not in found]
    return found


def data_said(claims: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The tables that constants were computed from, and those whose rows, or what is near them, rules are about."""
    used = set()
    for claim in claims:
        used |= {(str(constant["text"]), str(constant["data"])) for constant in constants_said(claim)}
        for part in _parts(claim):
            tables = [*part.get("rows", {"tables": ()})["tables"], *([part["near"]["table"]] if "near" in part else [])]
            used |= {(f"the rows of rule {claim['rule']}", str(table)) for table in tables}
    return [{"used_in": text, "table": digest} for text, digest in sorted(used)]


def reward_said(name: str, artifact: Artifact, parent_is: str | None) -> dict[str, Any]:
    """Lineage and edits of an artifact, by its own manifest. `parent_is`: of `parent_among`."""
    edit = artifact.edit
    return {
        "name": name,
        "digest": artifact.digest,
        "identified": artifact.identified,
        "learner": None if artifact.learner is None else artifact.learner.name,
        "learned_from": [{"name": d.name, "bytes": d.bytes_digest, "table": d.table_digest} for d in artifact.data],
        "parent": artifact.parent,
        "parent_is": parent_is,
        "patches": [{"kind": p.kind, "rule": p.rule} for p in artifact.patches],
        "edit": None if edit is None else {"kind": edit.kind, "rule": edit.rule, "statement": dict(edit.statement)},
    }


def parent_among(digests: Mapping[str, str], parent: str | None) -> str | None:
    """The name of a parent among a certificate's rewards, where it is one of them."""
    return next((name for name, digest in sorted(digests.items()) if digest == parent), None)


def _parts(claim: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The cases of a claim that has some, or the claim."""
    cases: Sequence[Mapping[str, Any]] = claim.get("cases", (claim,))
    return cases


def _tools() -> dict[str, str]:
    from rewarden import __version__

    return {"rewarden": __version__, "python": platform.python_version()}
