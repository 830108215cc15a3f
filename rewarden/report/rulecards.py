"""One rule as a card: title, verdict, source, witness, picture, work."""

from __future__ import annotations

from collections.abc import Mapping

from rewarden.output import nearest_lines, number, value_text
from rewarden.report.markup import Html, join, table, tag, text
from rewarden.report.shares import boxes_list, coverage_block
from rewarden.report.slices import compares_records, line_of, plane_of
from rewarden.report.story import Story
from rewarden.report.texts import text_block
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.features import Feature
from rewarden.spec_lang.obligation import Obligation
from rewarden.spec_lang.source import Span
from rewarden.text.told import TextTold
from rewarden.verifier.verdict import RuleResult
from rewarden.verifier.witness import FeatureValue, Witness

_MEANING = {
    "proved": "holds for every record",
    "violated": "fails for the record below",
    "vacuous": "says nothing: no record satisfies its premise",
    "unknown": "neither proved nor refuted",
}


def rule_card(story: Story, after: RuleResult) -> Html:
    """The card of one rule; `after` is its result in the verification that counts."""
    before = result_of(story, after.rule)
    parts: list[object] = [_head(story, before, after)]
    parts.append(tag("div", _source(story, after.rule), _facts(story, after, before), cls="columns"))
    shown = next((r for r in (after, before) if r is not None and r.witness is not None), None)
    parts += _texts(story, shown or after)
    if shown is not None and shown.witness is not None:
        parts.append(_witness(story, shown.witness, mended=shown is before and str(after.verdict) != "violated"))
        parts += [
            tag("p", line[0].upper() + line[1:] + ".", cls="fine")
            for row in shown.nearest
            for line in nearest_lines(row, len(shown.nearest) > 1)
        ]
    if after.coverage_details is not None:
        parts.append(coverage_block(after.coverage_details))
    elif after.unsettled is not None:
        parts += [tag("h4", "Where it is open"), boxes_list(after.unsettled)]
    picture = _picture(story, before, after)
    if picture:
        parts.append(picture)
    return tag("section", *parts, cls="card rule", id=f"rule-{after.rule}")


def _texts(story: Story, shown: RuleResult) -> list[Html]:
    """What is known of texts, in the verification that `shown` is a result of."""
    source = next(
        (r for r in (story.result, story.before) if r is not None and any(shown is one for one in r.rules)), None
    )
    told: Mapping[str, TextTold] = getattr(source, "texts", {})
    if shown.rule not in told:
        return []
    return [text_block(told[shown.rule], violated=str(shown.verdict) == "violated")]


def result_of(story: Story, rule: str) -> RuleResult | None:
    """The rule's result before the edits, if there is one."""
    if story.before is None:
        return None
    return next((r for r in story.before.rules if r.rule == rule), None)


def badge(verdict: object) -> Html:
    """The verdict as a coloured word."""
    return tag("span", str(verdict), cls=f"badge {verdict}")


def verdicts(before: RuleResult | None, after: RuleResult) -> Html:
    """`violated → proved`, or one word where nothing changed."""
    if before is None or before.verdict == after.verdict:
        return badge(after.verdict)
    return join([badge(before.verdict), tag("span", " → ", cls="arrow"), badge(after.verdict)])


def _head(story: Story, before: RuleResult | None, after: RuleResult) -> Html:
    info = story.spec.rule(after.rule)
    marks = [tag("span", after.severity, cls="severity"), tag("code", after.rule)]
    if info.requirement:
        marks.append(tag("span", info.requirement, cls="requirement"))
    title = after.title or after.rule.replace("_", " ")
    return tag(
        "header",
        tag("div", tag("h3", title), tag("p", join(marks, " "), cls="marks"), cls="grow"),
        tag("div", verdicts(before, after), cls="verdicts"),
    )


def _source(story: Story, rule: str) -> Html:
    span = story.spec.rule(rule).span
    lines = excerpt(span)
    body = join((tag("span", tag("i", str(number_)), text(line), cls="line") for number_, line in lines))
    return tag("figure", tag("pre", body), tag("figcaption", f"{span.source.name}, line {lines[0][0]}"), cls="source")


def excerpt(span: Span) -> list[tuple[int, str]]:
    """The lines of a rule with their numbers: its title comment, and everything up to the next blank line."""
    source = span.source.text.split("\n")
    first = span.line
    while first > 1 and source[first - 2].lstrip().startswith("---"):
        first -= 1
    last = span.line
    until = span.line + span.text.rstrip().count("\n")
    while last < len(source) and (last < until or source[last].startswith((" ", "\t"))):
        last += 1
    while last > first and not source[last - 1].strip():
        last -= 1
    return [(k, source[k - 1]) for k in range(first, last + 1)]


def _facts(story: Story, after: RuleResult, before: RuleResult | None) -> Html:
    info = story.spec.rule(after.rule)
    rows: list[tuple[object, object]] = [("verdict", f"{after.verdict}: {_MEANING[str(after.verdict)]}")]
    rows.append(("because", after.reason))
    if info.because:
        rows.append(("rationale", info.because))
    if after.claim is not None:
        for constant in after.claim.constants:
            rows.append((tag("code", constant.text), f"{number(float(constant.value))}"))
    if str(after.verdict) == "unknown":
        rows.append(("settled", f"{after.coverage:.1%} of the domain"))
    rows.append(("engine", after.engine or "none"))
    rows.append(("work", _work(after)))
    if before is not None:
        rows.append(("work before", _work(before)))
    rows += [("warning", warning) for warning in after.warnings]
    return table((), rows, "facts")


def _work(result: RuleResult) -> str:
    words = [
        (result.work.points, "points tried"),
        (result.work.boxes, "box bounded" if result.work.boxes == 1 else "boxes bounded"),
    ]
    words.append((result.work.lps, "linear program" if result.work.lps == 1 else "linear programs"))
    words.append((result.work.z3_rlimit, "z3 units"))
    told = [f"{count:,} {what}".replace(",", "\N{NARROW NO-BREAK SPACE}") for count, what in words if count]
    return ", ".join(told) or "none"


# ── witness ────────────────────────────────────────────────────────────────────────────────────
def _witness(story: Story, witness: Witness, *, mended: bool) -> Html:
    heading = "The record that failed before the edit" if mended else "A record for which the rule fails"
    if len(witness.records) > 1:
        heading = heading.replace("The record", "The records").replace("A record", "Records")
    tables = []
    for record in witness.records:
        features = {f.name: f for f in story.spec.features[record.type_name].features}
        rows = [_feature_row(features[value.name], value) for value in record.features]
        tables.append(
            tag("div", tag("h5", f"{record.name}: {record.type_name}"), table((), rows, "witness"), cls="record")
        )
    rewards = [(tag("code", call.text), number(float(call.exact)), number(call.deployed)) for call in witness.calls]
    fails = number(float(witness.violation)) if witness.violation > 0 else "0 (a strict inequality, met with equality)"
    return tag(
        "div",
        tag("h4", heading),
        tag("div", *tables, cls="records"),
        table(("reward", "exact", "as deployed (binary32)"), rewards, "values"),
        tag("p", "The conclusion fails by ", tag("b", fails), ", in exact arithmetic.", cls="fine"),
        cls="found",
    )


def _feature_row(feature: Feature, value: FeatureValue) -> tuple[object, ...]:
    shown = value_text(value.value)
    if feature.kind in ("real", "int") and isinstance(value.value, int | float):
        lo, hi = float(feature.lo), float(feature.hi)
        share = 0.0 if hi == lo else min(1.0, max(0.0, (float(value.value) - lo) / (hi - lo)))
        bar = tag(
            "span",
            tag("i", number(lo), cls="end"),
            tag("span", tag("b", style=f"left:{share:.1%}"), cls="track"),
            tag("i", number(hi), cls="end"),
            cls="range",
        )
    else:
        bar = Html("")
    kind = "number vector" if isinstance(value.value, tuple) else "number"
    return feature.name, tag("span", shown, cls=kind), feature.unit or "", bar


# ── picture ────────────────────────────────────────────────────────────────────────────────────
def _picture(story: Story, before: RuleResult | None, after: RuleResult) -> Html:
    told = [r.witness for r in (after, before) if r is not None and r.witness is not None]
    told += [r.premise_witness for r in (after, before) if r is not None and r.premise_witness is not None]
    claim = after.claim or (before.claim if before is not None else None)
    if not told or claim is None or claim.loops is not None or not claim.calls:
        return Html("")
    point = [float(v) for v in told[0].point]
    versions = _versions(story, {claim.calls[0].reward})
    if not versions:
        return Html("")
    obligation = story.spec.obligation(after.rule)
    if compares_records(claim):
        shown = any(r is not None and r.witness is not None for r in (after, before))
        others = "the record above" if shown else "a record that satisfies the premise"
        return _along(claim, point, versions, others)
    caption = "every other feature as at the cross."
    if len({call.reward for call in claim.calls}) > 1 and (elsewhere := _mended_point(story, claim)) is not None:
        # A rule about the edit itself says most where the edit was made.
        rule, point = elsewhere
        caption = f"every other feature as in the record that broke {rule}."
    return _across(obligation, claim, point, versions, caption)


def _along(
    claim: Claim,
    point: list[float],
    versions: Mapping[str, Mapping[str, Artifact]],
    others: str,
) -> Html:
    from rewarden.report.pictures import draw_line

    line = line_of(claim, point, versions)
    if line is None:
        return Html("")
    rest = "" if line.x.label.startswith("the way") else f", everything else as in {others}"
    caption = f"{claim.calls[0].reward} along {line.x.label}{rest}."
    return _figure(draw_line(line, f"p-{claim.rule}"), caption, "line")


def _across(
    obligation: Obligation,
    claim: Claim,
    point: list[float],
    versions: Mapping[str, Mapping[str, Artifact]],
    others: str,
) -> Html:
    from rewarden.report.pictures import draw_plane, legend

    plane = plane_of(obligation, claim, point, versions)
    if plane is None:
        return Html("")
    caption = f"{claim.calls[0].reward} over {plane.x.label} and {plane.y.label}; {others}{legend(plane)}"
    return _figure(draw_plane(plane, f"p-{claim.rule}"), caption, "plane")


def _mended_point(story: Story, claim: Claim) -> tuple[str, list[float]] | None:
    """The witness of a rule that an edit mended, where it is a point of this claim's variables too."""
    for edit in story.edits:
        result = result_of(story, edit.rule)
        if result is not None and result.witness is not None and result.claim is not None:
            columns = [v.name.partition(".")[2] for v in result.claim.variables]
            if columns == [v.name.partition(".")[2] for v in claim.variables]:
                return edit.rule, [float(v) for v in result.witness.point]
    return None


def _versions(story: Story, names: set[str]) -> Mapping[str, Mapping[str, Artifact]]:
    versions: dict[str, Mapping[str, Artifact]] = {}
    edited = any(
        name in story.rewards_before and story.rewards_before[name].digest != story.rewards[name].digest
        for name in names
        if name in story.rewards
    )
    if edited and names <= set(story.rewards_before):
        versions["before"] = story.rewards_before
    if names <= set(story.rewards):
        versions["after" if versions else "reward"] = story.rewards
    return versions


def _figure(svg: str, caption: str, cls: str) -> Html:
    return tag("figure", Html(svg), tag("figcaption", caption), cls=f"picture {cls}")
