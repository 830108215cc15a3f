"""What may be written at a place of a text that is usually broken there: somebody is typing.

The tokens before the place say which part of which item it is in; what the names stand for was known before
(`known.py`). Which keywords fit is asked of the grammar itself (`acceptable.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rewarden.lsp import proposals
from rewarden.lsp.acceptable import terminals_after, words_among
from rewarden.lsp.known import Records, feature_of, path_at, records_written
from rewarden.lsp.proposals import Proposal
from rewarden.lsp.tokens import Item, Token, inside, item_at, matching, path_before, tokens_of
from rewarden.lsp.words import UNITS
from rewarden.spec_lang import limits
from rewarden.spec_lang.features import Feature
from rewarden.spec_lang.symbols import Symbols

ITEM_WORDS = (
    "features", "assume", "reward", "data", "param", "let", "region", "relation", "use", "example", "must", "should",
)  # fmt: skip
_PARTS = {
    "forall", "trace", "cycle", "varying", "near", "within", "via", "given", "expect", "confidence", "weight", "id",
    "because",
}  # fmt: skip
_IN_RULES = ("given", "expect", "weight", "id", "because", "and", "or", "not", "implies", "with")


@dataclass(frozen=True, slots=True)
class Completion:
    """A proposal replaces what stands from `start` to the place."""

    start: int
    proposals: tuple[Proposal, ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """What is before the place: `before` are the item's tokens up to the word that is being typed."""

    item: Item
    before: tuple[Token, ...]
    known: Symbols
    records: Records

    @property
    def last(self) -> str:
        return self.before[-1].text if self.before else ""

    def has(self, word: str) -> bool:
        return any(t.text == word for t in self.before)


def complete(text: str, offset: int, known: Symbols) -> Completion:
    """The proposals for the offset, best first."""
    offset = max(0, min(offset, len(text)))
    if len(text) > limits.TEXT_BYTES:
        return Completion(offset)
    item = item_at(text, offset)
    everything = tokens_of(text, item.start, item.end)
    start = _word_start(text, offset)
    if start is None or inside(everything, "comment", offset) or inside(everything, "text", offset):
        return Completion(offset)
    before = tuple(t for t in item.tokens if t.end <= start)
    place = _Place(item, before, known, records_written(item, known))
    bracket = _open_bracket(text, offset)
    if bracket is not None:
        return _units(text, bracket, offset, place)
    if not text[:start].strip():
        return Completion(start, tuple(proposals.keywords(("spec",))))
    if text[start - 1] == "\n":
        return Completion(start, tuple(proposals.keywords(ITEM_WORDS)))
    return Completion(start, proposals.distinct(_proposals(text, start, place)))


def _word_start(text: str, offset: int) -> int | None:
    """Where the word before the offset starts; None inside a number."""
    start = offset
    while start and text[start - 1].isascii() and (text[start - 1].isalnum() or text[start - 1] == "_"):
        start -= 1
    return None if start < offset and text[start].isdigit() else start


def _proposals(text: str, start: int, place: _Place) -> list[Proposal]:
    if place.last == ".":
        return _members(place)
    brace = _open_brace(place.before)
    if brace is not None:
        found = _in_braces(place, brace)
        if found is not None:
            return found
    if place.last in ("==", "!="):
        cases = _cases_before(place)
        if cases:
            return cases
    whole_items = place.item.word in ITEM_WORDS
    accepted = terminals_after(("spec _ v1 " if whole_items else "") + text[place.item.start : start])
    names = _names(place) if accepted is None or "NAME" in accepted else []
    if accepted is None:
        words: Sequence[str] = _IN_RULES if place.item.word in ("must", "should") else ()
    else:
        words = words_among(accepted)
    return [*names, *proposals.keywords(w for w in words if _makes_sense(w, place))]


def _cases_before(place: _Place) -> list[Proposal]:
    """The cases of what is compared: a feature or a parameter before the operator that is last."""
    end = len(place.before) - 1
    param = ".".join(t.text for t in path_before(place.before, end))
    if place.known.cases_of(param):
        return proposals.cases(place.known, param, place.known.cases_of(param))
    return proposals.cases_of(place.known, _feature_before(place, end))


def _makes_sense(word: str, place: _Place) -> bool:
    """The grammar is one for all rules; some words belong to one kind only."""
    if word in ("always", "eventually", "discount"):
        return place.has("trace") or place.has("cycle")
    if word == "confidence":
        return place.has("share")
    return word != "spec" and word not in ITEM_WORDS


# ── units ──────────────────────────────────────────────────────────────────────────────────────
def _open_bracket(text: str, offset: int) -> int | None:
    """The `[` on this line that is not closed before the offset."""
    begin = text.rfind("\n", 0, offset) + 1
    at = text.rfind("[", begin, offset)
    return at if at >= 0 and "]" not in text[at:offset] else None


def _units(text: str, bracket: int, offset: int, place: _Place) -> Completion:
    before = [t for t in place.item.tokens if t.end <= bracket]
    if not before or not (before[-1].kind == "number" or before[-1].text in ("real", "int")):
        return Completion(offset)  # an index
    typed = text[bracket + 1 : offset].lstrip()
    used = [*place.known.units, *(t.text[1:-1].strip() for t in tokens_of(text) if t.kind == "unit")]
    units = dict.fromkeys((*(u for u in used if re.search(r"[^\W\d]|[%°]", u)), *UNITS))
    begun = re.match(r".*[*/(]", typed)
    further = [begun[0] + u for u in units if not re.search(r"[*/^]", u)] if begun else []
    return Completion(offset - len(typed), tuple(Proposal(u, "unit") for u in dict.fromkeys((*further, *units))))


# ── after a dot ────────────────────────────────────────────────────────────────────────────────
def _members(place: _Place) -> list[Proposal]:
    """What may follow the dot that is last: features, the members of a row, what a used file declares."""
    owner = _record_before(place, len(place.before) - 1)
    if owner is not None:
        return proposals.features(place.known, owner)
    path = path_before(place.before, len(place.before) - 1)
    if not path:
        return []
    prefix = "".join(f"{t.text}." for t in path)
    rows = [
        Proposal(name.removeprefix(prefix), "record", kind)
        for name, kind in place.records.items()
        if name.startswith(prefix)
    ]
    fitting = _names(replace(place, before=place.before[: -2 * len(path)]))
    used = [replace(p, text=p.text.removeprefix(prefix)) for p in fitting if p.text.startswith(prefix)]
    return rows or used


def _record_before(place: _Place, end: int) -> str | None:
    """The record type of the expression that ends before index `end`: a name, `anchor(x)`, `s with {…}`."""
    tokens = place.before
    for _ in range(limits.NESTING):
        path = path_before(tokens, end)
        if path:
            return place.records.get(".".join(t.text for t in path))
        opened = matching(tokens, end - 1) if end > 0 and tokens[end - 1].text in (")", "}") else None
        if opened is None:
            return None
        if tokens[end - 1].text == "}":
            end = opened - 1  # the record that `with` changes
            continue
        function = path_before(tokens, opened)
        inner = tokens[opened + 1 : end - 1]
        name, after = path_at(inner, 0)
        a_record = after == len(inner) if function else after < len(inner) and inner[after].text == "with"
        if not a_record or (function and function[-1].text not in ("anchor", "first", "last")):
            return None
        return place.records.get(name)
    return None


def _feature_before(place: _Place, end: int) -> Feature | None:
    """The feature whose name stands before index `end`."""
    if end < 3 or place.before[end - 1].kind != "name" or place.before[end - 2].text != ".":
        return None
    owner = _record_before(place, end - 2)
    return None if owner is None else feature_of(place.known, owner, place.before[end - 1].text)


# ── in braces ──────────────────────────────────────────────────────────────────────────────────
def _open_brace(before: Sequence[Token]) -> int | None:
    depth = 0
    for k in range(len(before) - 1, -1, -1):
        depth += (before[k].text == "}") - (before[k].text == "{")
        if depth < 0:
            return k
    return None


def _in_braces(place: _Place, brace: int) -> list[Proposal] | None:
    """Inside `{…}`: a feature's name, or its value; None where the value is any expression."""
    owner = _updated(place, brace)
    if owner is None:
        enum = place.item.word in ("features", "param") and brace > 0 and place.before[brace - 1].text == "enum"
        return [] if enum else None
    if place.last in ("{", ","):
        return proposals.features(place.known, owner)
    if place.last == "=" and place.before[-2].kind == "name":
        return proposals.cases_of(place.known, feature_of(place.known, owner, place.before[-2].text)) or None
    return None


def _updated(place: _Place, brace: int) -> str | None:
    """The record type whose features stand in the braces that open at that index."""
    match place.before[brace - 1].text if brace else "":
        case "with":
            return _record_before(place, brace - 1)
        case "within":
            return next(iter(place.records.values()), None)
        case "=" if place.item.word == "example":
            return _record_before(place, brace - 1)
    return None


# ── names ──────────────────────────────────────────────────────────────────────────────────────
def _names(place: _Place) -> list[Proposal]:
    """The names that fit here, by the item's kind and the part of it."""
    match place.item.word:
        case "must" | "should":
            return _names_in_rule(place)
        case "example":
            return _names_in_example(place)
        case "let" | "region" | "relation" | "assume" if place.has("="):
            return _expression(place, rewards=place.item.word != "assume")
        case "param" if place.has("="):
            cases = _cases_declared(place)
            if not cases:
                return proposals.params(place.known)
            return proposals.cases(place.known, place.before[1].text, cases) if place.last == "=" else []
    return proposals.types(place.known) if place.last == ":" and place.item.word != "features" else []


def _cases_declared(place: _Place) -> tuple[str, ...]:
    """The cases that a param's declaration lists before its `=`."""
    texts = [t.text for t in place.before]
    head = texts[: texts.index("=")]
    if "enum" not in head:
        return ()
    return tuple(t.text for t in place.before[head.index("enum") + 1 : len(head)] if t.kind == "name")


def _names_in_example(place: _Place) -> list[Proposal]:
    if place.last == "of":
        return proposals.rules(place.known)
    if _open_brace(place.before) is not None:
        return proposals.params(place.known)
    return proposals.records(place.records) if place.last in ("covers", "ignores", ",") else []


def _names_in_rule(place: _Place) -> list[Proposal]:
    known, last = place.known, place.last
    part = next((t.text for t in reversed(place.before) if t.text in _PARTS), "")
    match part:
        case "forall" | "trace" | "cycle" if last == ":":
            return proposals.types(known)
        case "forall" if last == "in":
            return proposals.data(known)
        case "near" if last == "near":
            return proposals.data(known)
        case "via" if last == "via":
            return proposals.relations(known)
        case "varying" if last in ("varying", ","):
            return proposals.features(known, next(iter(place.records.values()), ""))
        case "within" if last == "in":
            return proposals.built_in(("linf", "l1", "l2"))
        case "given" | "expect":
            return _expression(place, rewards=True)
        case "within" | "weight" | "confidence":
            return proposals.params(known)
        case "trace" if last == "of":
            return proposals.params(known)
    return []


def _expression(place: _Place, *, rewards: bool) -> list[Proposal]:
    known = place.known
    applied = path_before(place.before, len(place.before) - 1) if place.last == "(" else ()
    of_data = proposals.data(known) if ".".join(t.text for t in applied) in known.rewards else []
    names = [p for p in _declared(known) if rewards or p.kind != "reward"]
    return [*proposals.records(place.records), *of_data, *names, *proposals.built_in()]


def _declared(known: Symbols) -> list[Proposal]:
    return [*proposals.definitions(known), *proposals.rewards(known), *proposals.params(known)]
