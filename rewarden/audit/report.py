"""What a certificate says, for somebody who has never heard of Rewarden and has to sign.

Everything is taken from the certificate as it was checked a moment ago, from the spec and from the artifacts: what the
kernel has recomputed and what it has not are told apart throughout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    Inline,
    Paragraph,
    Table,
    Word,
)
from rewarden.audit.rules import section
from rewarden.audit.signers import Signer
from rewarden.audit.traceability import Trace, Traceability, as_csv
from rewarden.certificate.match import Checked
from rewarden.output import number
from rewarden.report.page import origin
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang import Spec
from rewarden.spec_lang.features import Feature

# What a reader has to know who has never heard of Rewarden.
GUIDE: tuple[Cell, ...] = (
    "A reward is a function: it gives a number to each record of a situation, and something else is trained to make"
    " that number large. A rule says what the number must never do, for every record of the domain.",
    ("A ", Code("must"), " rule has to hold for the reward to be used; a ", Code("should"), " rule is wished for."),
    (Word("proved"), ": it holds for every record that meets its premise (the part after ", Code("given"), ") and the"
     " assumptions, not only for those that were tried. At least one such record is shown."),
    (Word("violated"), ": there is a record for which it fails, and it is shown. ", Word("vacuous"), ": no record meets"
     " the premise. ", Word("unknown"), ": neither was found out, and why is said."),
    "Evidence is a file of the certificate: a counterexample, rows to count again, or a proof. A proof divides the"
    " domain into parts, its leaves, and says for each how to bound the reward there.",
    "Checking trusts none of it. A small program, the kernel, computes every bound, count and counterexample again, in"
    " whole numbers unless other arithmetic is named; what it has not computed again is called not checked.",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Audited:
    """A checked certificate with what it is about. `before`: earlier artifacts by the rewards' names, for pictures.
    `signers`: who vouches for it."""

    folder: Path
    checked: Checked
    spec: Spec
    rewards: Mapping[str, Artifact]
    traceability: Traceability
    before: Mapping[str, Artifact]
    signers: tuple[Signer, ...] = ()

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
        *(block for rule in audited.spec.rules for block in section(audited, rule)),
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
    # What was proved of claims that are not the spec's says nothing of its rules, whatever they are called.
    proved = {claim.rule for claim in checked.kernel.claims if claim.verdict == "proved" and checked.text.matched}
    counted = []
    for severity in ("must", "should"):
        rules = [rule.name for rule in audited.spec.rules if str(rule.severity) == severity]
        if rules or severity == "must":
            counted.append(f"{len(proved.intersection(rules))} of {len(rules)} {severity} rules")
    yield Paragraph(
        (
            "The certificate was checked for this report and is ",
            Word(word),
            f". {' and '.join(counted)} are proved by evidence that was recomputed.",
        )
    )
    yield from _not_proved(audited, proved)
    if checked.problems:
        yield Paragraph(("Why it is rejected:",))
        yield Bullets(checked.problems)
    yield Paragraph((str(said.get("concerns", "")),))
    rows: list[tuple[Cell, ...]] = [("spec", audited.spec.name, Code(audited.spec.digest))]
    rows += [(f"reward {name}", origin(artifact), Code(artifact.digest)) for name, artifact in audited.rewards.items()]
    yield Table(
        "What the certificate is about, by digest (SHA-256)", ("subject", "what", "digest"), tuple(rows), (2, 3, 6)
    )
    facts: list[tuple[Cell, ...]] = [
        ("made", str(said.get("issued", "not said"))),
        ("semantics", str(said.get("semantics", "not said"))),
        ("arithmetic of the check", checked.kernel.tier),
        ("text", checked.text.sentence.removeprefix("text: ")),
        ("signature", _signature(audited)),
    ]
    facts += [tuple(note.split(": ", 1)) for note in checked.notes]
    yield Table("How it was checked", ("what", "finding"), tuple(facts), (2, 9))
    if audited.signers:
        yield Table(
            "Who vouches for it",
            ("who", "for what", "key, by its fingerprint", "where the key is known from"),
            tuple((one.who, one.what, Code(one.fingerprint), one.known) for one in audited.signers),
            (4, 5, 7, 5),
        )
    yield Heading(2, "How to read this report")
    yield Bullets(GUIDE)


def _signature(audited: Audited) -> str:
    """The kernel's caller is "you"; a reader of the page has given no key."""
    signature = audited.checked.signature
    if not (signature.trusted and audited.signers):
        return signature.sentence.removeprefix("signature: ")
    return "it fits, by a key that whoever made this report trusts: who vouches for it is below"


def _not_proved(audited: Audited, proved: set[str]) -> Iterator[Block]:
    """The rules that a reader should know of first: those that fail, and those that nobody has shown to hold."""
    stated = {str(rule["name"]): rule for rule in audited.statement.get("rules", ())}
    open_ = []
    for rule in audited.spec.rules:
        if rule.name in proved:
            continue
        said = str(stated.get(rule.name, {}).get("verdict", "not in the certificate"))
        title = f" {rule.title.rstrip('.')}" if rule.title else ""
        called: Inline = ", called proved, without evidence of it that was recomputed" if said == "proved" else ""
        open_.append(
            (Word("unknown" if called else said), f"{title} (", Code(rule.name), f", {rule.severity})", called)
        )
    if open_:
        yield Paragraph(("What does not hold, or was not shown to hold:",))
        yield Bullets(tuple(open_))


# ── requirements ───────────────────────────────────────────────────────────────────────────────
def _requirements(audited: Audited) -> Iterator[Block]:
    yield Heading(2, "From requirement to evidence")
    rows: list[tuple[Cell, ...]] = []
    for one in audited.traceability.traces:
        why: Cell = (one.requirement or "–", f": {one.because}") if one.because else one.requirement or "–"
        rule: Cell = (Code(one.rule), f" ({one.severity})") if one.rule else "–"
        rows.append((why, rule, Word(one.verdict), _borne_out(one)))
    yield Table(
        "Each requirement, the rule that speaks for it, and what bears the verdict out",
        ("requirement", "rule", "verdict", "evidence, and what was checked of it here"),
        tuple(rows),
        (9, 8, 5, 14),
    )
    yield Heading(3, "What is not covered")
    yield Bullets(audited.traceability.gaps or ("Nothing that this report knows of.",))


def _borne_out(one: Trace) -> Cell:
    if not one.rule:
        return "–"
    seen = one.checked.removeprefix(f"{one.verdict}: ")
    return (Code(one.evidence), " ", Code(one.digest[:19] + "…"), f": {seen}") if one.evidence else f"none: {seen}"


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
    names = {one["name"] for one in audited.statement.get("lineages", ())}
    forgot = [claim for claim in audited.checked.kernel.claims if claim.rule in names]
    if forgot:
        yield Paragraph(("Rows were forgotten, by the manifests; nobody did it again for this report:",))
        yield Bullets(tuple(f"{claim.sentence} {claim.verdict}: {claim.reason}." for claim in forgot))


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
    yield Paragraph(
        (
            "With Python alone and the kernel's own files (the folder ",
            Code("rewarden/certificate"),
            " of a Rewarden that you have from where you trust it), the proofs against the rewards:",
        )
    )
    yield Paragraph((Code(f"python -m rewarden.certificate.check {audited.folder.name} {names}"),))
    yield Paragraph(("With Rewarden, the text of the spec and the signatures as well:",))
    yield Paragraph(
        (Code(f"rewarden check-certificate {audited.folder.name} {names} --spec {audited.spec.source.name}"),)
    )
    yield Paragraph(
        (
            "Whose signature is wanted is for the one who checks to say: ",
            Code("--public-key FILE"),
            ", or ",
            Code("--policy FILE"),
            " with keys that were got by another way than the certificate.",
        )
    )
    yield Paragraph(
        ("How Rewarden itself is tested is told in docs/tool-confidence.md, with the figures of a test run.",)
    )
    made = f"Rewarden {__version__}; issued with {_plain(audited.statement.get('tools', {}))}"
    yield Paragraph((made,), fine=True)
