"""What a certificate says, for somebody who has never heard of Rewarden and has to sign.

Everything is taken from the certificate as it was checked a moment ago, from the spec and from the artifacts: what the
kernel has recomputed and what it has not are told apart throughout.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from rewarden import __version__
from rewarden.audit.document import (
    Block,
    Bullets,
    Cell,
    Code,
    Document,
    Heading,
    Lines,
    Paragraph,
    Picture,
    Table,
    Word,
)
from rewarden.audit.traceability import Traceability, as_csv
from rewarden.certificate.check import ClaimReport, evidence_name
from rewarden.certificate.kernel_files import read_regular
from rewarden.certificate.kernel_json import Refused, parse
from rewarden.certificate.match import Checked
from rewarden.output import number
from rewarden.report.rulecards import excerpt
from rewarden.report.slices import compares_records, line_of, plane_of
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang import Spec
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.errors import RewardenError
from rewarden.spec_lang.features import Feature
from rewarden.spec_lang.spec import Rule
from rewarden.verifier.bind import bind

MOST_EVIDENCE = 1 << 28  # bytes read of one proof, to find the record that it exhibits


@dataclass(frozen=True, slots=True, eq=False)
class Audited:
    """A checked certificate with what it is about. `before`: earlier artifacts by the rewards' names, for pictures."""

    folder: Path
    checked: Checked
    spec: Spec
    rewards: Mapping[str, Artifact]
    traceability: Traceability
    before: Mapping[str, Artifact]

    @property
    def accepted(self) -> bool:
        return self.checked.accepted

    def html(self) -> str:
        """The page, one file."""
        from rewarden.audit.page import render

        return render(document(self))

    def pdf(self) -> bytes:
        """The same on paper. UsageError G45 where Typst is not installed."""
        from rewarden.audit.pdf import paper

        return paper(document(self))

    def csv(self) -> str:
        """The requirements with their rules and evidence."""
        return as_csv(self.traceability)

    @property
    def statement(self) -> Mapping[str, Any]:
        """The predicate; empty where there was none to read."""
        return {} if self.checked.statement is None else self.checked.statement["predicate"]


def document(audited: Audited) -> Document:
    """The whole report. The same certificate, spec and artifacts give the same document."""
    blocks = [
        *_opening(audited),
        *_requirements(audited),
        *_domain(audited),
        *(block for rule in audited.spec.rules for block in _rule(audited, rule)),
        *_edits(audited),
        *_lineage(audited),
        *_limits(audited),
        *_by_oneself(audited),
    ]
    return Document(f"Audit report: {audited.spec.name}", tuple(blocks))


# ── opening ────────────────────────────────────────────────────────────────────────────────────
def _opening(audited: Audited) -> Iterator[Block]:
    checked, said = audited.checked, audited.statement
    yield Heading(1, f"Audit report: {audited.spec.name}")
    word = "accepted" if checked.accepted else "rejected"
    must = [rule.name for rule in audited.spec.rules if str(rule.severity) == "must"]
    proved = {claim.rule for claim in checked.kernel.claims if claim.verdict == "proved"}
    yield Paragraph(
        (
            "The certificate was checked for this report and is ",
            Word(word),
            f". {len(proved & set(must))} of {len(must)} must rules are proved by evidence that was recomputed.",
        )
    )
    if checked.problems:
        yield Paragraph(("Why it is rejected:",))
        yield Bullets(checked.problems)
    yield Paragraph((str(said.get("concerns", "")),))
    rows: list[tuple[Cell, ...]] = [("spec", audited.spec.name, Code(audited.spec.digest))]
    rows += [(f"reward {name}", _origin(artifact), Code(artifact.digest)) for name, artifact in audited.rewards.items()]
    yield Table(
        "What the certificate is about, by digest (SHA-256)", ("subject", "what", "digest"), tuple(rows), (2, 3, 6)
    )
    facts: list[tuple[Cell, ...]] = [
        ("made", str(said.get("issued", "not said"))),
        ("semantics", str(said.get("semantics", "not said"))),
        ("arithmetic of the check", checked.kernel.tier),
        ("text", checked.text.sentence.removeprefix("text: ")),
        ("signature", checked.signature.sentence.removeprefix("signature: ")),
    ]
    facts += [tuple(note.split(": ", 1)) for note in checked.notes]
    yield Table("How it was checked", ("what", "finding"), tuple(facts), (2, 9))


def _origin(artifact: Artifact) -> str:
    if artifact.edit is not None:
        return f"{artifact.edit.kind} for {artifact.edit.rule}"
    return "imported" if artifact.learner is None else f"learned ({artifact.learner.name})"


# ── requirements ───────────────────────────────────────────────────────────────────────────────
def _requirements(audited: Audited) -> Iterator[Block]:
    yield Heading(2, "From requirement to evidence")
    rows = []
    for one in audited.traceability.traces:
        evidence: Cell = (Code(one.evidence), " ", Code(one.digest[:19] + "…")) if one.evidence else "none"
        why: Cell = (one.requirement or "–", f": {one.because}") if one.because else one.requirement or "–"
        rule: Cell = (Code(one.rule), f" ({one.severity})") if one.rule else "–"
        rows.append((why, rule, Word(one.verdict), evidence, one.checked or "–"))
    yield Table(
        "Each requirement, the rule that speaks for it, and what bears the verdict out",
        ("requirement", "rule", "verdict", "evidence", "checked here"),
        tuple(rows),
        (8, 9, 5, 9, 8),
    )
    yield Heading(3, "What is not covered")
    yield Bullets(audited.traceability.gaps or ("Nothing that this report knows of.",))


# ── domain ─────────────────────────────────────────────────────────────────────────────────────
def _domain(audited: Audited) -> Iterator[Block]:
    yield Heading(2, "The domain, and what is assumed")
    yield Paragraph(
        ("A rule speaks of every record with features in these ranges that meets the assumptions, and of no other.",)
    )
    for name, record in audited.spec.features.items():
        rows = tuple((Code(f.name), _kind(f), _range(f)) for f in record.features)
        yield Table(f"Features of {name}", ("feature", "kind", "range"), rows, (3, 2, 6))
    said = audited.statement
    assumed = tuple(str(line) for line in said.get("assumptions", ()))
    yield Paragraph(("Assumptions:",) if assumed else ("There are no assumptions besides the ranges.",))
    if assumed:
        yield Bullets(tuple((Code(line),) for line in assumed))
    params = tuple((Code(str(k)), str(v)) for k, v in said.get("params", {}).items())
    if params:
        yield Table("Parameters", ("parameter", "value"), params, (3, 8))
    constants = {
        (str(c["text"]), _rational(c["value"]), str(c["data"]))
        for rule in said.get("rules", ())
        for c in rule["constants"]
    }
    if constants:
        yield Table(
            "Constants that were computed from data",
            ("constant", "value", "table"),
            tuple((Code(text), value, Code(data)) for text, value, data in sorted(constants)),
            (4, 2, 5),
        )


def _kind(feature: Feature) -> str:
    return f"{feature.kind} × {feature.size}" if feature.is_vector else feature.kind


def _range(feature: Feature) -> str:
    if feature.kind == "bool":
        return "false or true"
    if feature.kind == "enum":
        return ", ".join(feature.cases)
    unit = f" {feature.unit}" if feature.unit else ""
    return f"{number(float(feature.lo))} to {number(float(feature.hi))}{unit}"


def _rational(text: object) -> str:
    try:
        return number(float(Fraction(str(text))))
    except (ValueError, ZeroDivisionError, OverflowError):
        return str(text)


# ── rules ──────────────────────────────────────────────────────────────────────────────────────
def _rule(audited: Audited, rule: Rule) -> Iterator[Block]:
    claim = next((c for c in audited.checked.kernel.claims if c.rule == rule.name), None)
    stated: Mapping[str, Mapping[str, Any]] = {r["name"]: r for r in audited.statement.get("rules", ())}
    said = stated.get(rule.name, {})
    verdict = str(said.get("verdict", "not in the certificate"))
    yield Heading(2, rule.title or rule.name.replace("_", " "), f"rule-{rule.name}")
    known: tuple[str | Word | Code, ...] = (Code(rule.name), f", {rule.severity}: ", Word(verdict))
    if rule.requirement:
        known += (f". Requirement {rule.requirement}" + (f": {rule.because}" if rule.because else ""),)
    yield Paragraph(known)
    lines = excerpt(rule.span)
    yield Lines(f"{rule.span.source.name}, line {lines[0][0]}", tuple(lines))
    yield Paragraph(
        ("Claimed: " + (claim.sentence if claim is not None else "nothing; the certificate has no claim of it."),)
    )
    yield Paragraph((_checked(claim, said),))
    if claim is None:
        return
    yield from _shown(audited, rule, claim)


def _checked(claim: ClaimReport | None, said: Mapping[str, Any]) -> str:
    if claim is not None and claim.checked:
        return f"Checked here: {claim.verdict}; {claim.reason}."
    reason = claim.reason if claim is not None and claim.verdict == "refused" else str(said.get("reason", ""))
    return (
        f"Not checked here: {reason}" if claim is None or claim.verdict != "refused" else f"Evidence refused: {reason}"
    )


def _shown(audited: Audited, rule: Rule, report: ClaimReport) -> Iterator[Block]:
    """The record that the evidence exhibits, and the reward around it. Drawn in binary64; no verdict rests on it."""
    point = _exhibited(audited.folder, report)
    if point is None:
        return
    try:
        claim = bind(audited.spec, rule.name, audited.rewards)
    except RewardenError:
        return
    if len(point) != len(claim.variables):
        return
    heading = "A record that breaks the rule" if report.verdict == "violated" else "A record that meets the premise"
    rows = tuple((Code(v.name), number(float(x)), v.unit or "") for v, x in zip(claim.variables, point, strict=True))
    if len(rows) <= 40:
        yield Table(heading, ("feature", "value", "unit"), rows, (5, 3, 2))
    picture = _picture(audited, rule, claim, [float(x) for x in point])
    if picture is not None:
        yield picture


def _exhibited(folder: Path, report: ClaimReport) -> tuple[Fraction, ...] | None:
    """The point in a claim's evidence; None where there is no evidence, or it is of another shape."""
    name = evidence_name(report.rule, report.digest)
    for path, read in (
        (folder / "proofs" / f"{name}.json", bytes),
        (folder / "proofs" / f"{name}.json.gz", gzip.decompress),
    ):
        try:
            if not path.is_file() or path.stat().st_size > MOST_EVIDENCE:
                continue
            value = parse(read(read_regular(path, MOST_EVIDENCE)))
            assert isinstance(value, dict)
            return tuple(Fraction(x) for x in value["witness"]["point"])
        except (Refused, OSError, EOFError, ValueError, KeyError, TypeError, AssertionError, ZeroDivisionError):
            return None
    return None


def _picture(audited: Audited, rule: Rule, claim: Claim, point: Sequence[float]) -> Picture | None:
    from rewarden.report.pictures import draw_line, draw_plane

    if not claim.calls:
        return None
    name = claim.calls[0].reward
    now = "after" if name in audited.before else "reward"
    versions: dict[str, Mapping[str, Artifact]] = {now: audited.rewards}
    if name in audited.before:
        versions = {"before": {**audited.rewards, **audited.before}, **versions}
    try:
        if compares_records(claim):
            line = line_of(claim, point, versions)
            return (
                None
                if line is None
                else Picture(
                    draw_line(line, f"a-{rule.name}"),
                    f"{name} along {line.x.label}, everything else as in the record above.",
                )
            )
        plane = plane_of(audited.spec.obligation(rule.name), claim, point, versions)
    except (RewardenError, ValueError, KeyError):
        return None
    if plane is None:
        return None
    says = f"{name} over {plane.x.label} and {plane.y.label}, every other feature as at the cross (the record above)."
    return Picture(draw_plane(plane, f"a-{rule.name}"), says)


# ── edits and lineage ──────────────────────────────────────────────────────────────────────────
def _edits(audited: Audited) -> Iterator[Block]:
    edited = [reward for reward in audited.statement.get("rewards", ()) if reward["edit"] is not None]
    yield Heading(2, "Edits")
    if not edited:
        yield Paragraph(("No reward in this certificate is an edit of another.",))
    for reward in edited:
        edit = reward["edit"]
        yield Heading(3, f"{reward['name']}: {edit['kind']} for {edit['rule']}")
        parent = f", which is {reward['parent_is']} in this certificate" if reward["parent_is"] else ""
        yield Paragraph(("It is a child of ", Code(str(reward["parent"])), f"{parent}."))
        rows = tuple((Code(str(key)), _plain(value)) for key, value in sorted(edit["statement"].items()))
        yield Table("What the edit says of itself", ("statement", "value"), rows, (3, 8))


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return "; ".join(_plain(one) for one in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(one)}" for key, one in value.items())
    return "none" if value is None else str(value)


def _lineage(audited: Audited) -> Iterator[Block]:
    yield Heading(2, "Data and lineage")
    rows: list[tuple[Cell, ...]] = []
    for reward in audited.statement.get("rewards", ()):
        sources = tuple(
            part for d in reward["learned_from"] for part in (f"{d['name']} ", Code(str(d["bytes"] or d["table"])), " ")
        )
        learner = str(reward["learner"] or "not said")
        rows.append((str(reward["name"]), learner, str(reward["identified"]), sources or "no data named"))
    yield Table(
        "How each reward came about, by its own account",
        ("reward", "learner", "identified", "learned from"),
        tuple(rows),
        (2, 2, 2, 6),
    )


# ── limits ─────────────────────────────────────────────────────────────────────────────────────
def _limits(audited: Audited) -> Iterator[Block]:
    said = audited.statement
    yield Heading(2, "What was not checked")
    yield Bullets((*map(str, said.get("not_checked", ())), str(said.get("deployed_arithmetic", ""))))
    yield Heading(2, "What has to be trusted")
    yield Bullets(tuple(map(str, said.get("trusted_base", ()))))
    yield Paragraph((f"This check: {audited.checked.kernel.trusted_base}.",), fine=True)


def _by_oneself(audited: Audited) -> Iterator[Block]:
    names = " ".join(f"--reward {name}=ARTIFACT" for name in audited.rewards)
    yield Heading(2, "How to check it by oneself")
    yield Paragraph(("With Python alone and the kernel's own files, the proofs against the rewards:",))
    yield Paragraph((Code(f"python -m rewarden.certificate.check {audited.folder.name} {names}"),))
    yield Paragraph(("With Rewarden, the text of the spec and the signatures as well:",))
    yield Paragraph(
        (Code(f"rewarden check-certificate {audited.folder.name} {names} --spec {audited.spec.source.name}"),)
    )
    yield Paragraph(
        ("How Rewarden itself is tested is told in docs/tool-confidence.md, with the figures of a test run.",)
    )
    made = f"Rewarden {__version__}; issued with {_plain(audited.statement.get('tools', {}))}"
    yield Paragraph((made,), fine=True)
