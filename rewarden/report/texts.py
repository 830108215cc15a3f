"""What is known of the texts behind a rule's witness, as HTML: a vector of 384 numbers tells a reader nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from rewarden.output import number
from rewarden.report.markup import Html, join, tag, text
from rewarden.spec_lang.diagnostics import printable
from rewarden.text.search import TextFound
from rewarden.text.told import NO_TEXT, NearText, TextTold

LONGEST = 3000  # characters of one text: a card is read by people


def text_block(told: TextTold, *, violated: bool) -> Html:
    """The text that breaks the rule, with what was changed marked; or the nearest ones, labelled as such."""
    found, searched = told.searched.found, told.searched
    parts: list[object] = []
    if violated and found is not None:
        parts += [tag("h4", "A text that breaks it"), _found(found, f"row {found.row} of {found.data}, {found.how}")]
    elif violated:
        if not told.known:
            words = "the record below is a vector only; nobody is known to have written a text that has it"
            parts += [
                tag("h4", "As text"),
                tag("p", tag("span", NO_TEXT, cls="badge unknown"), f" {words}.", cls="fine"),
            ]
        parts += _nearest(told.nearest)
    if searched.tried and found is None:
        parts.append(_fine(f"{searched.tried} texts in the rule's domain were tried; none breaks it."))
    if searched.beyond_tried:
        more = ": no violation, but the radius leaves them out" if searched.beyond else ""
        parts.append(
            _fine(f"{len(searched.beyond)} of {searched.beyond_tried} changed texts outside its radius break it{more}.")
        )
    if searched.beyond:
        first = searched.beyond[0]
        parts.append(_found(first, f"{number(first.distance)} away: row {first.row} of {first.data}, {first.how}"))
    return tag("div", *parts, cls="found texts") if parts else Html("")


def _found(found: TextFound, caption: str) -> Html:
    return _quoted(marked(found.original, found.text), caption)


def _nearest(rows: Iterable[NearText]) -> Iterator[Html]:
    """Each text once, with all records that it is near to."""
    by_row: dict[tuple[str, int], list[NearText]] = {}
    for near in rows:
        by_row.setdefault((near.data, near.row), []).append(near)
    for (data, row), same in by_row.items():
        words = [f"the text of {n.record}" if n.same else f"the text nearest to {n.record}" for n in same]
        yield _quoted(text(_shown(same[0].text)), f"{', '.join(words)}: row {row} of {data}")


def _quoted(body: Html, caption: str) -> Html:
    return tag("figure", tag("blockquote", body), tag("figcaption", caption), cls="text")


def _fine(words: str) -> Html:
    return tag("p", words, cls="fine")


def marked(original: str, changed: str) -> Html:
    """The changed text, with the words that the original does not have there marked."""
    before, after = original.split(), list(re.finditer(r"\S+", changed))
    most = min(len(before), len(after))
    start = 0
    while start < most and before[start] == after[start].group():
        start += 1
    end = 0
    while end < most - start and before[-1 - end] == after[-1 - end].group():
        end += 1
    new = after[start : len(after) - end]
    if not new:
        return text(_shown(changed))
    first, last = new[0].start(), new[-1].end()
    return join((_shown(changed[:first]), tag("mark", _shown(changed[first:last])), _shown(changed[last:])))


def _shown(words: str) -> str:
    """Control characters replaced; of a long text its beginning and its end, where it is changed."""
    plain = "\n".join(printable(part) for part in words.split("\n"))
    half = LONGEST // 2
    return plain if len(plain) <= LONGEST else f"{plain[:half]} … {plain[-half:]}"
