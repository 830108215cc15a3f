"""The whole page."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files

from rewarden import __version__
from rewarden.output import number
from rewarden.report.markup import Html, join, table, tag
from rewarden.report.rulecards import result_of, rule_card, verdicts
from rewarden.report.story import CertificateFacts, Story
from rewarden.reward.artifact import Artifact
from rewarden.verifier.verdict import VerificationResult

_WORDS = ("proved", "violated", "vacuous", "unknown")


def render(story: Story) -> str:
    """The report as HTML text. The same story gives the same text."""
    sections = [_masthead(story), _overview(story)]
    if story.edits or story.effects:
        sections.append(_changes(story))
    sections.append(tag("h2", "The rules"))
    sections += [rule_card(story, result) for result in story.result.rules]
    sections.append(_rewards(story))
    if story.certificate is not None:
        sections.append(_certificate(story.certificate))
    sections.append(_limits())
    style = files("rewarden.report").joinpath("style.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", story.title),
        tag("style", Html(style)),
    )
    return "<!doctype html>\n" + tag("html", head, tag("body", tag("main", *sections)), lang="en") + "\n"


# ── opening ────────────────────────────────────────────────────────────────────────────────────
def _masthead(story: Story) -> Html:
    must = [r for r in story.result.rules if r.severity == "must"]
    proved = sum(str(r.verdict) == "proved" for r in must)
    good = proved == len(must)
    sentence = f"All {len(must)} must rules are proved." if good else f"{proved} of {len(must)} must rules are proved."
    colour = "good" if good else "bad"
    if not must:
        sentence, colour = "No must rule was asked about.", "none"
    rows: list[tuple[object, object, object]] = [("spec", story.spec.name, _digest(story.result.spec or ""))]
    for name, artifact in story.rewards.items():
        rows.append((f"reward {name}", origin(artifact), _digest(artifact.digest)))
    if story.certificate is not None:
        word = "accepted" if story.certificate.accepted else "rejected"
        rows.append(("certificate", tag("span", word, cls=f"badge {word}"), story.certificate.summary))
    return tag(
        "header",
        tag("p", "Rewarden report", cls="eyebrow"),
        tag("h1", story.title),
        tag("p", tag("span", sentence, cls=colour), " ", _lead(story), cls="lead"),
        table((), rows, "subjects"),
        cls="masthead",
    )


def _lead(story: Story) -> str:
    if story.before is None:
        return "Each verdict below is about every record in the declared ranges, not about a sample."
    mended = [
        r.rule
        for r in story.result.rules
        if str(r.verdict) == "proved" and (b := result_of(story, r.rule)) is not None and str(b.verdict) == "violated"
    ]
    if not mended:
        return "Nothing that failed before was mended."
    noun = "rule" if len(mended) == 1 else "rules"
    return f"{len(mended)} {noun} that the learned reward broke hold after the edit."


def _overview(story: Story) -> Html:
    after = _counts(story.result)
    before = _counts(story.before) if story.before is not None else None
    tiles = []
    for word in _WORDS:
        if after[word] or (before is not None and before[word]):
            was = [] if before is None else [tag("span", f"{before[word]} → ", cls="was")]
            tiles.append(tag("div", tag("p", *was, str(after[word]), cls="count"), tag("p", word), cls=f"tile {word}"))
    rows = [
        (
            Html(f'<a href="#rule-{r.rule}">{tag("code", r.rule)}</a>'),
            r.title,
            r.severity,
            verdicts(result_of(story, r.rule), r),
        )
        for r in story.result.rules
    ]
    return tag(
        "section",
        tag("div", *tiles, cls="tiles"),
        table(("rule", "what it says", "severity", "verdict"), rows, "overview"),
    )


def _counts(result: VerificationResult) -> Counter[str]:
    return Counter(str(r.verdict) for r in result.rules)


# ── what changed ───────────────────────────────────────────────────────────────────────────────
def _changes(story: Story) -> Html:
    rows = [
        (
            tag("code", edit.rule),
            f"{fact.kind} on {edit.reward}",
            number(float(fact.level)),
            number(float(fact.extremum)),
            number(float(fact.slope)),
            f"{float(fact.delta):.1e}",
        )
        for edit in story.edits
        for fact in edit.patches
    ]
    patches = table(
        ("for rule", "patch", "held at", "could reach", "slope per ring width", "δ, ring widths"), rows, "values"
    )
    parts: list[object] = [tag("h2", "What changed, and by how much")]
    if rows:
        said = (
            "Inside the region of each rule below the reward is held at a level; beyond a ring around the region it is "
            "the old reward, bit for bit; in between it passes from one to the other without a jump."
        )
        parts += [tag("p", said), patches]
    for name, effect in story.effects.items():
        parts.append(tag("h3", f"What the edit did to {name}", cls="minor"))
        parts.append(tag("ul", *(tag("li", line) for line in effect.lines)))
    if story.drifts:
        parts.append(tag("h3", "On recorded data", cls="minor"))
        drift_rows = [
            (
                name,
                f"{drift.changed} of {drift.rows} rows ({_share(drift.changed, drift.rows)})",
                number(drift.largest),
                number(drift.mean),
            )
            for name, drift in story.drifts.items()
        ]
        parts.append(table(("data", "changed at all", "largest change", "mean change"), drift_rows, "values"))
    return tag("section", *parts, cls="card")


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "none"


# ── rewards ────────────────────────────────────────────────────────────────────────────────────
def _rewards(story: Story) -> Html:
    cards: dict[str, tuple[str, Artifact]] = {}
    for name, artifact in story.rewards.items():
        known = cards.get(artifact.digest)
        cards[artifact.digest] = (f"{known[0]}, {name}" if known else f"reward {name}", artifact)
    for caption, artifact in story.others.items():
        cards.setdefault(artifact.digest, (caption, artifact))
    return tag("section", tag("h2", "The rewards"), tag("div", *(_reward(*c) for c in cards.values()), cls="grid"))


def _reward(caption: str, artifact: Artifact) -> Html:
    rows: list[tuple[object, object]] = [("digest", _digest(artifact.digest))]
    if artifact.parent is not None:
        rows.append(("parent", _digest(artifact.parent)))
    weights = sum(int(t.size) for t in artifact.tensors.values())
    rows.append(("network", f"{artifact.width} inputs, {weights} weights, {len(artifact.patches)} patches"))
    known = {"exact": "exactly", "shift": "up to a constant", "affine": "up to a positive affine map"}
    rows.append(("identified", known[artifact.identified]))
    if artifact.learner is not None:
        rows.append(("learner", f"{artifact.learner.name}, seed {artifact.learner.seed}"))
        rows += [(key, value) for key, value in artifact.learner.record.items()]
    files: dict[tuple[str, int], list[str]] = {}
    for source in artifact.data:
        files.setdefault((source.bytes_digest, source.rows), []).append(source.name)
    for (digest, count), names in files.items():
        rows.append(("learned from", join([f"{', '.join(names)}, {count} rows ", _digest(digest)])))
    return tag(
        "section", tag("h3", caption), tag("p", origin(artifact), cls="fine"), table((), rows, "facts"), cls="card"
    )


def origin(artifact: Artifact) -> str:
    """E.g. `cap for slow_near`, `learned (preferences)`, `imported from safetensors`."""
    if artifact.edit is not None:
        return f"{artifact.edit.kind} for {artifact.edit.rule}"
    if artifact.learner is None:
        return "imported"
    name = artifact.learner.name
    return f"imported {name.removeprefix('import ')}" if name.startswith("import ") else f"learned ({name})"


def _digest(digest: str) -> Html:
    algorithm, _, value = digest.partition(":")
    return tag("code", f"{algorithm}:{value}", cls="digest")


# ── certificate and limits ─────────────────────────────────────────────────────────────────────
def _certificate(facts: CertificateFacts) -> Html:
    word = "accepted" if facts.accepted else "rejected"
    parts: list[object] = [
        tag("header", tag("h2", "The certificate"), tag("span", word, cls=f"badge {word}")),
        tag("p", facts.summary),
        table((), [("fingerprint", tag("code", facts.fingerprint, cls="digest"))], "facts"),
    ]
    for heading, sentences in (
        ("It covers", facts.covers),
        ("It does not cover", facts.omits),
        ("What was refused", facts.refused),
    ):
        if sentences:
            parts += [tag("h3", heading, cls="minor"), tag("ul", *(tag("li", s) for s in sentences))]
    return tag("section", *parts, cls="card certificate")


def _limits() -> Html:
    return tag(
        "footer",
        tag("h2", "How to read this"),
        tag(
            "p",
            tag("b", "Proved"),
            " means for every record in the declared ranges that satisfies the assumptions, over the real "
            "numbers, the reward's stored weights taken as exact rationals. ",
            tag("b", "Violated"),
            " means that the record shown makes the premise exactly true and the conclusion exactly false. ",
            tag("b", "Unknown"),
            " means neither. Pictures are drawings: no verdict rests on them.",
        ),
        tag("p", "All of this concerns the reward, not any policy or machine that optimises it."),
        tag("p", f"Rewarden {__version__}", cls="fine"),
    )
