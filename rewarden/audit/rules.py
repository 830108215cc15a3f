"""What a report says of one rule: its text, what was claimed, what came of checking it, and a record to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rewarden.audit.document import Block, Cell, Code, Heading, Inline, Lines, Paragraph, Picture, Table, Word
from rewarden.certificate.check import ClaimReport, evidence_name
from rewarden.certificate.kernel_files import read_file
from rewarden.certificate.kernel_json import Refused, parse
from rewarden.output import number, value_text
from rewarden.report.rulecards import excerpt
from rewarden.report.slices import Line, Plane, compares_records, line_of, plane_of
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.claim_json import claim_digest
from rewarden.spec_lang.errors import RewardenError
from rewarden.spec_lang.sentence import sentence
from rewarden.spec_lang.spec import Rule
from rewarden.verifier.bind import bind_claim
from rewarden.verifier.inline import compile_program
from rewarden.verifier.shortfall import measured
from rewarden.verifier.witness import RecordValue, Witness, replay, replay_premise, with_types

if TYPE_CHECKING:
    from rewarden.audit.report import Audited

MOST_FEATURES = 40  # of a record that is shown as a table
LONGEST = 1500  # letters of a sentence: of one about hundreds of columns nobody reads more


def section(audited: Audited, rule: Rule) -> Iterator[Block]:
    """The rule's own heading and all that stands below it."""
    claim = next((c for c in audited.checked.kernel.claims if c.rule == rule.name), None)
    stated: Mapping[str, Mapping[str, Any]] = {r["name"]: r for r in audited.statement.get("rules", ())}
    said = stated.get(rule.name, {})
    verdict = str(said.get("verdict", "not in the certificate"))
    yield Heading(2, rule.title or rule.name.replace("_", " "), f"rule-{rule.name}")
    known: tuple[Inline, ...] = (Code(rule.name), f", {rule.severity}: ", Word(verdict))
    if verdict in ("proved", "violated") and (claim is None or claim.verdict != verdict):
        known += (", by the issuer's word",)
    if rule.requirement:
        known += (f". Requirement {rule.requirement}" + (f": {rule.because}" if rule.because else ""),)
    yield Paragraph(known)
    lines = excerpt(rule.span)
    yield Lines(f"{rule.span.source.name}, line {lines[0][0]}", tuple(lines))
    if claim is None:
        yield Paragraph(("Claimed: nothing; the certificate has no claim of it.",))
        yield Paragraph((_checked(claim, said),))
        return
    bound = _bound(audited, rule, claim)
    words = "" if bound is None or bound.cases or bound.loops else sentence(bound)
    if words and len(words) <= LONGEST:
        yield Paragraph((f"Claimed, in words: {words}",))
        yield Paragraph((_checked(claim, said),))
        yield Paragraph((f"As the kernel reads it: {_cut(claim.sentence)}",), fine=True)
    else:
        yield Paragraph((f"Claimed: {_cut(claim.sentence)}",))
        yield Paragraph((_checked(claim, said),))
    if bound is not None:
        yield from _shown(audited, rule, bound, claim)


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]} … (the first {LONGEST} letters of {len(text)}: claims.json has all of it)"


def _checked(claim: ClaimReport | None, said: Mapping[str, Any]) -> str:
    if claim is not None and claim.checked:
        return f"Checked here: {claim.verdict}; {claim.reason}."
    refused = claim is not None and claim.verdict == "refused"
    reason = claim.reason if claim is not None and refused else str(said.get("reason", ""))
    return f"Evidence refused: {reason}" if refused else f"Not checked here: {reason}"


def _bound(audited: Audited, rule: Rule, report: ClaimReport) -> Claim | None:
    """The very claim that was checked, as the spec and the artifacts make it; None where they make another."""
    try:
        claim = bind_claim(audited.spec, rule.name, audited.rewards)
    except RewardenError:
        return None
    return claim if claim_digest(claim) == report.digest else None


# ── the record that the evidence exhibits ──────────────────────────────────────────────────────
def _shown(audited: Audited, rule: Rule, claim: Claim, report: ClaimReport) -> Iterator[Block]:
    """The record, and the reward around it, drawn in binary64: no verdict rests on what is here."""
    point = _exhibited(audited.folder, report)
    if point is None or len(point) != len(claim.variables):
        return
    witness = _witness(audited, rule, claim, point, violated=report.verdict == "violated")
    if witness is not None:
        yield from records(witness, evidence_name(report.rule, report.digest))
    picture = _picture(audited, rule, claim, [float(x) for x in point])
    if picture is not None:
        yield picture


def _exhibited(folder: Path, report: ClaimReport) -> tuple[Fraction, ...] | None:
    """The point in a claim's evidence; None where there is no evidence, or it is of another shape."""
    name = evidence_name(report.rule, report.digest)
    for path in (folder / "proofs" / f"{name}.json", folder / "proofs" / f"{name}.json.gz"):
        try:
            if not path.is_file():
                continue
            value = parse(read_file(path))
            assert isinstance(value, dict)
            return tuple(Fraction(x) for x in value["witness"]["point"])
        except (Refused, ValueError, KeyError, TypeError, AssertionError, ZeroDivisionError):
            return None
    return None


def _witness(
    audited: Audited, rule: Rule, claim: Claim, point: tuple[Fraction, ...], *, violated: bool
) -> Witness | None:
    """The point in the words of the domain; None where it is not what the evidence says, or cannot be replayed."""
    again = replay if violated else replay_premise
    try:
        told = again(claim, compile_program(claim, audited.rewards), audited.rewards, point)
        if violated and not claim.constants:
            told = measured(told, audited.spec.obligation(rule.name), audited.rewards, dict)
    except RewardenError:
        return None
    return None if told is None else with_types(told, audited.spec.features)


def records(witness: Witness, evidence: str) -> Iterator[Block]:
    """A table for each type of record, with the records side by side; the rewards; by how much the rule is broken."""
    broken = witness.goal is not None
    fits = " that breaks the rule" if broken else " that meets the premise"
    several = len(witness.records) > 1
    heading = ("Records" + fits.replace("breaks", "break").replace("meets", "meet")) if several else f"A record{fits}"
    types: dict[str, list[RecordValue]] = {}
    for record in witness.records:
        types.setdefault(record.type_name, []).append(record)
    for records in types.values():
        features = records[0].features
        if len(features) > MOST_FEATURES:
            yield Paragraph((f"{heading}: {len(features)} features, which are in ", Code(f"proofs/{evidence}"), "."))
            continue
        rows: tuple[tuple[Cell, ...], ...] = tuple(
            (Code(one.name), *(value_text(record.features[k].value) for record in records), one.unit or "")
            for k, one in enumerate(features)
        )
        head = ("feature", *(record.name for record in records), "unit")
        yield Table(heading, head, rows, (5, *(3 for _ in records), 2))
    calls: tuple[tuple[Cell, ...], ...] = tuple(
        (Code(call.text), number(float(call.exact)), number(call.deployed)) for call in witness.calls
    )
    exact = "exact value" if all(call.radius == 0 for call in witness.calls) else "value, enclosed"
    if calls:
        yield Table("The rewards there", ("reward", exact, "as deployed (binary32)"), calls, (5, 3, 3))
    if broken:
        fails = witness.violation
        words = f"by {number(float(fails))}, in exact arithmetic" if fails else "by a tie: it is a strict inequality"
        yield Paragraph((f"The conclusion fails {words}.",))


# ── the reward around it ───────────────────────────────────────────────────────────────────────
def _picture(audited: Audited, rule: Rule, claim: Claim, point: Sequence[float]) -> Picture | None:
    from rewarden.report.pictures import draw_line, draw_plane, legend

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
            if line is None:
                return None
            says = f"{name} along {line.x.label}, everything else as in the records above."
            return Picture(draw_line(line, f"a-{rule.name}"), says, _line_in_words(name, line))
        plane = plane_of(audited.spec.obligation(rule.name), claim, point, versions)
    except (RewardenError, ValueError, KeyError):
        return None
    if plane is None:
        return None
    says = f"{name} over {plane.x.label} and {plane.y.label}, every other feature as at the cross (the record above)."
    says += legend(plane)
    return Picture(draw_plane(plane, f"a-{rule.name}"), says, _plane_in_words(name, plane))


def _plane_in_words(name: str, plane: Plane) -> str:
    """What the map shows, for those who hear it."""
    across, up = plane.x, plane.y
    parts = [
        f"Map of {name}: {across.label} from {number(across.ticks[0])} to {number(across.ticks[-1])} across,"
        f" {up.label} from {number(up.ticks[0])} to {number(up.ticks[-1])} upwards."
    ]
    parts += [
        f"{caption.capitalize()}: from {number(float(v.min()))} to {number(float(v.max()))}."
        for caption, v in plane.values.items()
    ]
    if len(plane.values) == 2:
        before, after = plane.values.values()
        change = after - before
        share = float(np.mean(change != 0))
        parts.append(
            f"Change: from {number(float(change.min()))} to {number(float(change.max()))}, in {share:.0%} of the map."
            if share
            else "Change: none."
        )
    parts.append(f"The cross is at {number(across.here)}, {number(up.here)}.")
    return " ".join(parts)


def _line_in_words(name: str, line: Line) -> str:
    parts = [f"Curve of {name} along {line.x.label} from {number(line.x.ticks[0])} to {number(line.x.ticks[-1])}."]
    for caption, values in line.values.items():
        places = ", ".join(
            f"{number(float(np.interp(place, line.x.ticks, values)))} at {mark}" for mark, place in line.marks.items()
        )
        reach = f"from {number(float(values.min()))} to {number(float(values.max()))}"
        parts.append(f"{caption.capitalize()}: {reach}; {places}.")
    return " ".join(parts)
