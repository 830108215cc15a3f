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
from rewarden.certificate.kernel_json import digest_text, one_of, rational, read, refuse
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.canonical import rational_text
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.claim_json import claim_digest
from rewarden.spec_lang.printer import print_item
from rewarden.spec_lang.spec import Spec
from rewarden.spec_lang.syntax import AssumeDecl

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://rewarden.dev/certificate/v1"
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


# ── the shape of a statement, for its readers (docs/schemas/statement.schema.json) ─────────────
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
        "issued": _string,
        **dict.fromkeys(("concerns", "semantics", "deployed_arithmetic"), _string),
        **{key: [_string] for key in ("trusted_base", "not_checked", "assumptions")},
        "params": _strings,
        "claims": _FILE,
        "rules": [_RULE],
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


def build_statement(
    results: Iterable[ResultLike],
    spec: SpecFacts,
    rewards: Mapping[str, Artifact],
    claims_file: EvidenceFile,
    evidence: Mapping[str, EvidenceFile],
    report: Report,
    issued: datetime,
) -> dict[str, Any]:
    """The whole statement. `evidence`: rule → its file; `report`: what the kernel says of those files."""
    found = list(results)
    checked = {claim.rule: claim for claim in report.claims}
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            *(_subject(name, artifact.digest) for name, artifact in sorted(rewards.items())),
            _subject(f"{spec.name}.rwd", spec.digest),
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "schema_version": 1,
            "issued": issued.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "concerns": CONCERNS,
            "semantics": "real",
            "deployed_arithmetic": DEPLOYED,
            "trusted_base": list(TRUSTED_BASE),
            "not_checked": [*NOT_CHECKED, *_unchecked(found, checked)],
            "assumptions": list(spec.assumptions),
            "params": dict(sorted(spec.params.items())),
            "claims": {"file": claims_file.path, "digest": claims_file.digest},
            "rules": [_rule(r, evidence.get(r.rule), checked.get(r.rule)) for r in found],
            "data": _data(found),
            "rewards": [_reward(name, artifact, rewards) for name, artifact in sorted(rewards.items())],
            "tools": _tools(),
        },
    }


def _subject(name: str, digest: str) -> dict[str, Any]:
    kind, _, value = digest.partition(":")
    return {"name": name, "digest": {kind: value}}


def _rule(result: ResultLike, file: EvidenceFile | None, checked: ClaimReport | None) -> dict[str, Any]:
    claim = result.claim
    seen = checked is not None and checked.checked
    return {
        "name": result.rule,
        "title": result.title,
        "severity": str(result.severity),
        "verdict": str(result.verdict),
        "reason": result.reason,
        "semantics": "real",
        "claim": None if claim is None else claim_digest(claim),
        "evidence": None if file is None else {"file": file.path, "digest": file.digest},
        "checker": {"tier": TIER, "verdict": checked.verdict} if checked is not None and seen else None,
        "constants": []
        if claim is None
        else [{"text": c.text, "data": c.data, "value": rational_text(c.value)} for c in claim.constants],
    }


def _unchecked(results: Sequence[ResultLike], checked: Mapping[str, ClaimReport]) -> list[str]:
    """A sentence for each rule whose verdict the kernel has not recomputed."""
    rest = [r for r in results if r.rule not in checked or not checked[r.rule].checked]
    return [f"Rule {r.rule}, found {r.verdict}, without evidence that the kernel can check: {r.reason}" for r in rest]


def _data(results: Sequence[ResultLike]) -> list[dict[str, str]]:
    """The tables that constants were computed from, and those whose rows rules are about, by digest."""
    used = {(c.text, c.data) for r in results if r.claim is not None for c in r.claim.constants}
    rows = ((r.rule, r.claim.rows) for r in results if r.claim is not None and r.claim.rows is not None)
    used |= {(f"the rows of rule {rule}", table) for rule, about in rows for table in about.tables}
    return [{"used_in": text, "table": digest} for text, digest in sorted(used)]


def _reward(name: str, artifact: Artifact, others: Mapping[str, Artifact]) -> dict[str, Any]:
    edit = artifact.edit
    parent = next((n for n, other in sorted(others.items()) if other.digest == artifact.parent), None)
    return {
        "name": name,
        "digest": artifact.digest,
        "identified": artifact.identified,
        "learner": None if artifact.learner is None else artifact.learner.name,
        "learned_from": [{"name": d.name, "bytes": d.bytes_digest, "table": d.table_digest} for d in artifact.data],
        "parent": artifact.parent,
        "parent_is": parent,  # the name among this certificate's rewards, where it is one of them
        "patches": [{"kind": p.kind, "rule": p.rule} for p in artifact.patches],
        "edit": None if edit is None else {"kind": edit.kind, "rule": edit.rule, "statement": dict(edit.statement)},
    }


def _tools() -> dict[str, str]:
    from rewarden import __version__

    return {"rewarden": __version__, "python": platform.python_version()}
