"""The page of `rewarden inspect --html`: what a reward is and how good, in one file for people to read and print.

In the style of the audit report: no network, no scripts, no fonts.
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from rewarden import __version__
from rewarden.judging.judgement import IDENTIFIED, Judgement, Test
from rewarden.judging.words import range_text, trait_text
from rewarden.output import number
from rewarden.report.charts import draw_effect, draw_histogram, draw_noise, draw_reliability
from rewarden.report.markup import Html, join, table, tag
from rewarden.report.page import _digest, _reward
from rewarden.reward.judging.baselines import Contest

STYLE = """
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 18px; align-items: start; }
.pair.effects { grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); }
.facts.wide td:first-child { width: 22%; }
.values td { vertical-align: top; }
.verdict-beats { color: var(--proved); font-weight: 600; }
.verdict-loses, .verdict-undecided { color: var(--violated); font-weight: 600; }
.warning { color: var(--violated); font-weight: 600; }
@media print { .pair, .pair.effects { grid-template-columns: 1fr 1fr; } .pair figure { break-inside: avoid; } }
"""
LEGEND = (
    "Blue: certified. Whatever the other features are, no record of a slice is worth more or less. Dashed: the least "
    "and the most that some record found there is worth; the truth lies between blue and dashed. Dots: the mean over "
    "the data with the feature set to that value. Grey: how many rows lie there."
)


def render(told: Judgement, name: str) -> str:
    """The page as HTML text. The same judgement gives the same text."""
    sections = [_masthead(told, name), *_tests(told), *_noise(told), *_distances(told), *_effects(told)]
    sections += [*_sensitivities(told), *_experts(told), *_near(told), *_notes(told)]
    sections += [
        tag("section", tag("h2", "The artifact"), tag("div", _reward(name, told.artifact), cls="grid")),
        _footer(),
    ]
    style = files("rewarden.report").joinpath("style.css").read_text(encoding="utf-8") + STYLE
    head = tag(
        "head",
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", f"{name}: inspection"),
        tag("style", Html(style)),
    )
    return "<!doctype html>\n" + tag("html", head, tag("body", tag("main", *sections)), lang="en") + "\n"


def _masthead(told: Judgement, name: str) -> Html:
    rows: list[tuple[object, object]] = [
        ("artifact", _digest(told.artifact.digest)),
        ("identified", IDENTIFIED[told.artifact.identified]),
    ]
    if told.held is not None:
        why = told.held.why if told.held.fresh else tag("span", told.held.why, cls="warning")
        rows.append(("judged by", join([f"{told.data}: ", why])))
    if told.against is not None:
        rows.append(("compared with", _digest(told.against)))
    tiles = []
    if told.tests:
        first = told.tests[0]
        lo, hi = first.margins.accuracy.exact
        tiles.append(
            _tile(f"{100 * first.margins.accuracy.value:.1f} %", f"right; 95 %: {100 * lo:.1f} to {100 * hi:.1f} %")
        )
        if first.contests:
            best = max(first.contests, key=lambda c: c.rule_accuracy.value)
            word = {"beats": "proved", "loses": "violated", "undecided": "unknown"}[best.verdict]
            tiles.append(_tile(f"{100 * best.rule_accuracy.value:.1f} %", f"a trivial rule: {best.rule}", word))
        if first.plain is not None:
            tiles.append(
                _tile(f"{first.plain.ece:.3f}", "calibration error", "proved" if first.plain.sound else "unknown")
            )
    if told.whole is not None:
        span = f"{number(round(told.whole.least, 3))} … {number(round(told.whole.most, 3))}"
        tiles.append(_tile(span, "certified range of the reward"))
    return tag(
        "header",
        tag("p", "Rewarden inspection", cls="eyebrow"),
        tag("h1", name),
        tag("p", _lead(told), cls="lead"),
        tag("div", *tiles, cls="tiles"),
        table((), rows, "facts"),
        cls="masthead",
    )


def _lead(told: Judgement) -> str:
    """The first trivial rule that the reward does not beat; where it beats all of them, the first of those."""
    contests = [(test, contest) for test in told.tests for contest in test.contests]
    if not contests:
        return "What this reward is."
    test, worst = next((pair for pair in contests if pair[1].verdict != "beats"), contests[0])
    return worst.sentence() + (f" ({test.name[:1].upper()}{test.name[1:]}.)" if len(told.tests) > 1 else "")


def _tile(figure: str, words: str, cls: str = "") -> Html:
    return tag("div", tag("p", figure, cls="count"), tag("p", words), cls=f"tile {cls}")


# ── data ───────────────────────────────────────────────────────────────────────────────────────
def _tests(told: Judgement) -> list[Html]:
    if not told.tests:
        return []
    found = [
        tag("h2", "How good, on data" if told.held is None or told.held.fresh else "On the data it was learned from")
    ]
    for k, test in enumerate(told.tests):
        found.append(_test(test, f"test{k}"))
    if told.rewards is not None and len(told.rewards):
        picture = Html(draw_histogram(told.rewards, "reward", "rewards", zero=False))
        words = f"The reward of all {len(told.rewards)} records of the data, as deployed."
        found.append(tag("section", tag("h3", "What the data are worth"), _figure(picture, words), cls="card"))
    return found


def _test(test: Test, name: str) -> Html:
    margins = test.margins
    lo, hi = margins.accuracy.wilson
    rows: list[tuple[object, object]] = [
        ("right", margins.accuracy.text()),
        ("Wilson's interval", f"{lo:.4f} to {hi:.4f}"),
    ]
    if margins.weighted is not None:
        rows.append(("weighted", f"{margins.weighted:.4f}"))
    if margins.undecided:
        rows.append(("no opinion", f"{margins.undecided} margins are exactly 0; a coin decided"))
    if len(margins.ties):
        rows.append(("said ties", f"{len(margins.ties)}, left out"))
    for found, what in (
        (test.plain, "margins as they stand"),
        (test.scaled, f"temperature {number(test.temperature or 1)}"),
    ):
        if found is not None:
            rows.append((f"calibration, {what}",
                f"ECE {found.ece:.4f} (luck alone: up to {found.ece_by_luck:.4f}), "
                f"Brier {found.brier:.4f} (a coin: 0.25), log loss {found.log_loss:.4f} (a coin: 0.6931)"))  # fmt: skip
    pictures = []
    if test.plain is not None:
        pictures.append(_figure(
            Html(draw_reliability(test.plain, f"{name}-reliability")),
            "Reliability: bins of equally many answers, with exact intervals; the dashed line is a reward that knows "
            "how sure it may be."))  # fmt: skip
    if len(margins.values):
        pictures.append(_figure(
            Html(draw_histogram(margins.values, "margin", f"{name}-margins")),
            "Margins: the preferred one's reward less the other's. Below 0 the reward is wrong."))  # fmt: skip
    return tag(
        "section",
        tag("h3", test.name[:1].upper() + test.name[1:]),
        *(_contest(c) for c in test.contests),
        table((), rows, "facts wide"),
        tag("div", *pictures, cls="pair picture"),
        cls="card",
    )


def _contest(found: Contest) -> Html:
    beside = f" Right where only one of the two is: {found.only_reward.text()}."
    return tag("p", tag("span", found.sentence(), cls=f"verdict-{found.verdict}"), tag("span", beside, cls="fine"))


def _figure(picture: Html, caption: str) -> Html:
    return tag("figure", tag("div", picture, cls="picture"), tag("figcaption", caption))


def _noise(told: Judgement) -> list[Html]:
    if not told.noise:
        return []
    words = (
        "The same learner, options and seed, on answers of which a share was turned round; judged by held-out answers "
        "that stayed as they are."
    )  # fmt: skip
    rows = [(f"{100 * p.level:.0f} %", f"{p.turned} of {p.trained}", p.accuracy.text()) for p in told.noise]
    return [
        tag("h2", "If labels were wrong"),
        tag("section", tag("p", words), 
            _figure(Html(draw_noise(told.noise, "noise")), "Accuracy with exact intervals."),
            table(("share", "turned round", "right, held out"), rows, "values"), cls="card"),
    ]  # fmt: skip


def _distances(told: Judgement) -> list[Html]:
    if not told.distances:
        return []
    rows = [
        (d.name, f"{d.value:.4f}", f"{d.low:.4f} to {d.high:.4f}", f"{d.steps} of: {d.source}") for d in told.distances
    ]
    words = (
        "0: equal but for potential shaping, a shift and a positive factor. About 0.71: unrelated. 1: opposite. The "
        "interval is a bootstrap's, 95 %."
    )  # fmt: skip
    head = ("", "distance", "interval", "over")
    return [
        tag("h2", "How far from the other"),
        tag("section", tag("p", words), table(head, rows, "values"), cls="card"),
    ]


# ── what is certified ──────────────────────────────────────────────────────────────────────────
def _effects(told: Judgement) -> list[Html]:
    if told.whole is None:
        return []
    whole = told.whole
    parts: list[object] = [tag("p", f"Over {told.region.words} the reward lies in {range_text(whole)}.")]
    if told.effects and np.isfinite([whole.least, whole.most]).all() and whole.most > whole.least:
        span = whole.least, whole.most
        drawn = (draw_effect(effect, span, f"effect{k}") for k, effect in enumerate(told.effects))
        parts += [
            tag("p", LEGEND, cls="fine"),
            tag("div", *(tag("figure", tag("div", Html(d), cls="picture")) for d in drawn), cls="pair effects"),
        ]
    return [tag("h2", "What each feature does"), tag("section", *parts, cls="card")]


def _sensitivities(told: Judgement) -> list[Html]:
    if not told.sensitivities:
        return []
    rows = []
    for one in told.sensitivities:
        per = f"per {one.unit}" if one.what == "per unit" and one.unit else one.what
        taken = "–"
        if one.range.least_taken is not None and one.range.most_taken is not None:
            taken = f"{number(one.range.least_taken)} .. {number(one.range.most_taken)}"
        word = tag("span", one.direction, cls="badge proved") if one.direction else ""
        rows.append((one.feature, per, f"{number(one.range.least)} .. {number(one.range.most)}", taken, word))
    words = (
        f"The change of the reward between two records of {told.region.words} that differ in this feature alone. "
        "Certified: it is never outside. Seen: some pair of records really does so."
    )  # fmt: skip
    head = ("feature", "change", "certified", "seen", "so the reward …")
    return [tag("h2", "How much hangs on it"), tag("section", tag("p", words), table(head, rows, "values"), cls="card")]


def _experts(told: Judgement) -> list[Html]:
    if not told.experts:
        return []
    cards = []
    for expert in told.experts:
        rows = [(t.feature, trait_text(t.low, t.middle, t.high, t.unit, t.text)) for t in expert.traits[:8]]
        words = (
            f"{expert.rows} demonstrations ({100 * expert.share:.0f} %), worth {expert.mean_reward:.3f} in the mean; "
            f"it reconstructs {expert.row} best."
        )  # fmt: skip
        cards.append(
            tag("section", tag("h3", f"Expert {expert.number}"), tag("p", words), table((), rows, "facts"), cls="card")
        )
    words = (
        "Each autoencoder stands for the demonstrations that it reconstructs best. Features with what is typical of "
        "them (10th to 90th percentile), those that tell the expert from the others first."
    )  # fmt: skip
    return [tag("h2", "Which demonstrations the experts stand for"), tag("p", words), tag("div", *cards, cls="grid")]


def _near(told: Judgement) -> list[Html]:
    cards = []
    for one in told.neighbours:
        record = ", ".join(f"{name} {value}" for name, value in one.values)
        rows = [
            (
                n.row,
                f"{100 * n.distance:.2g} %",
                number(n.reward),
                n.text or ", ".join(f"{f} {v}" for f, v in n.differs),
            )
            for n in one.nearest
        ]
        texts = any(n.text for n in one.nearest)
        head = ("row", "apart", "worth", "text" if texts else "differs most in")
        what = one.what[:1].upper() + one.what[1:]
        cards.append(
            tag("section", tag("h3", f"{what}: {number(one.reward)}"), tag("p", record, cls="fine"),
                table(head, rows, "values"), cls="card")
        )  # fmt: skip
    words = "Distances are the mean over the features of how far they are apart, relative to their ranges (Gower)."
    return [tag("h2", "The nearest data"), tag("p", words, cls="fine"), *cards] if cards else []


def _notes(told: Judgement) -> list[Html]:
    return (
        [tag("section", tag("h4", "Notes"), tag("ul", *(tag("li", n) for n in told.notes)), cls="card")]
        if told.notes
        else []
    )


def _footer() -> Html:
    return tag(
        "footer",
        tag("h4", "How to read this"),
        tag(
            "p",
            tag("b", "Certified"),
            " figures hold for every record of the declared ranges (or the part that is named), over the real numbers, "
            "the reward's stored weights taken as exact rationals, whatever a spec assumes. Figures on data have "
            "intervals that take rows as independent. All of this concerns the reward, not any policy that "
            "optimises it.",
        ),
        tag("p", f"Rewarden {__version__}", cls="fine"),
    )  # fmt: skip
