"""What a result says of texts. A witness is a vector; a person reads text.

Three things may be known of a witness in text data: it is the vector of a text (a row's, or a changed one that was
tried), or it is a vector near one, for which no text is known. Which of the three is always said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rewarden.text.rows import Texts
from rewarden.text.search import Searched, Searcher, TextFound, TextSearch
from rewarden.verifier.nearest import NearestRow, nearest_rows
from rewarden.verifier.verdict import RuleResult, Verdict, Work

if TYPE_CHECKING:
    from rewarden.api import Verification

NO_TEXT = "no text known"
LINE = 96


@dataclass(frozen=True, slots=True)
class NearText:
    """The text of the data row nearest to a record of the witness; `same` if the record is that row."""

    record: str
    data: str
    row: int
    text: str
    same: bool


@dataclass(frozen=True, slots=True)
class TextTold:
    """Of one rule. `known` is whether the witness is the vector of a text."""

    known: bool
    nearest: tuple[NearText, ...] = ()
    searched: Searched = field(default_factory=Searched)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        found = self.searched.found
        return {
            "known": self.known,
            "label": None if self.known else NO_TEXT,
            "found": None if found is None else _json(found),
            "nearest": [
                {"record": n.record, "data": n.data, "row": n.row, "text": n.text, "same": n.same} for n in self.nearest
            ],
            "tried": self.searched.tried,
            "beyond": {
                "tried": self.searched.beyond_tried,
                "fail": len(self.searched.beyond),
                "nearest": None if not self.searched.beyond else _json(self.searched.beyond[0]),
            },
        }

    def lines(self, *, violated: bool) -> list[str]:
        found, searched = self.searched.found, self.searched
        lines = []
        if violated and found is not None:
            lines += [f"text: {clipped(found.text)}", f"  it is row {found.row} of {found.data}, {found.how}"]
        elif violated:
            same = [near for near in self.nearest if near.same]
            lines += [f"text of {near.record}: {clipped(near.text)}" for near in same]
            if not self.known:
                lines.append(f"{NO_TEXT}: the witness is a vector only")
            lines += [f"nearest text to {near.record}: {clipped(near.text)}" for near in self.nearest if not near.same]
        if searched.tried and found is None:
            lines.append(f"{searched.tried} texts in the rule's domain were tried, none breaks it")
        if searched.beyond_tried:
            lines.append(
                f"{len(searched.beyond)} of {searched.beyond_tried} changed texts outside its radius break it"
                + (": no violation, but the radius leaves them out" if searched.beyond else "")
            )
        if searched.beyond:
            first = searched.beyond[0]
            lines.append(
                f"  at {first.distance:.3g}, row {first.row} of {first.data}, {first.how}: {clipped(first.text)}"
            )
        return lines


def clipped(text: str) -> str:
    """On one line, its end kept where it is long: that is where texts are changed."""
    flat = " ".join(text.split())
    half = LINE // 2 - 2
    return f"“{flat}”" if len(flat) <= LINE else f"“{flat[:half]} … {flat[-half:]}”"


def _json(found: TextFound) -> dict[str, Any]:
    return {
        "text": found.text,
        "how": found.how,
        "original": found.original,
        "data": found.data,
        "row": found.row,
        "distance": found.distance,
    }


def with_texts(result: Verification, asked: TextSearch | None = None) -> Verification:
    """The result with what is known of texts; `asked` searches by texts too, and a violation found so is shown.

    Raises DataError D32 where the data are another encoder's, and what loading an encoder raises.
    """
    texts = Texts(result.of)
    searcher = None
    if asked is not None and result.semantics == "real":
        searcher = _searcher(result, asked, texts)
    rules, told = [], {}
    for rule in result.rules:
        searched = Searched() if searcher is None else searcher.rule(rule.rule)
        changed = _joined(result, rule, searched)
        rules.append(changed)
        note = _told(texts, changed, searched)
        if note is not None:
            told[rule.rule] = note
    return replace(result, rules=tuple(rules), texts=told)


def _searcher(result: Verification, asked: TextSearch, texts: Texts) -> Searcher | None:
    """None where no data of the spec has texts: an encoder is not loaded for nothing."""
    from rewarden.reward.text.cache import Cached
    from rewarden.reward.text.encoder import load_encoder
    from rewarden.text.cache import vectors_folder

    known = [found for kind in result.of.features for found in texts.about(kind)]
    if not known:
        return None
    made = [found.made for found in known if found.made is not None]
    keep = made[0].keep if made else "end"
    encoder = Cached(load_encoder(asked.encoder, "start" if keep == "start" else "end"), vectors_folder())
    return Searcher(result.of, result.bound, encoder, asked, texts)


def _joined(result: Verification, rule: RuleResult, searched: Searched) -> RuleResult:
    """A text that breaks a rule is shown in place of a vector that does."""
    if searched.witness is None or searched.found is None:
        return rule
    assert rule.verdict not in (Verdict.PROVED, Verdict.VACUOUS), "a text cannot break what was proved"
    return replace(
        rule,
        verdict=Verdict.VIOLATED,
        reason=f"A text was found that breaks it: row {searched.found.row} of {searched.found.data}, "
        f"{searched.found.how}.",
        witness=searched.witness,
        coverage=1.0,
        engine="text",
        proof=None,
        work=rule.work + Work(points=searched.tried),
        nearest=nearest_rows(result.of, searched.witness),
        unsettled=None,
    )


def _told(texts: Texts, rule: RuleResult, searched: Searched) -> TextTold | None:
    if rule.verdict is not Verdict.VIOLATED or rule.witness is None:
        return TextTold(False, (), searched) if searched.tried or searched.beyond_tried else None
    about = [r for r in rule.witness.records if any(True for _ in texts.about(r.type_name))]
    if not about:
        return None
    rows = rule.nearest or nearest_rows(texts.spec, rule.witness)
    nearest = tuple(near for row in rows if (near := _near(texts, row)) is not None)
    same = {near.record for near in nearest if near.same}
    known = searched.found is not None or all(record.name in same for record in about)
    return TextTold(known, nearest, searched)


def _near(texts: Texts, row: NearestRow) -> NearText | None:
    text = texts.text(row.data, row.member, row.row)
    if text is None:
        return None
    name = f"{row.data}.{row.member}" if row.member else row.data
    return NearText(row.record, name, row.row, text, row.distance == 0)


Told = Mapping[str, TextTold]
