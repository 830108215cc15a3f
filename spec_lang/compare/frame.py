"""Where the records of two specs lie in common columns, so that their rules speak of the same numbers.

Record types are matched by name, or else by the reward that reads them; features by name, whatever their order; units
are converted exactly (the frame's are OLD's); an enum has the cases of both, and a spec that lacks a case excludes it.
A feature that one spec lacks altogether is added to that spec first (`compare_lift`). What cannot be matched, such as a
bool that became a number, is `Unmatched` with its reason, and rules about it are not compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from rewarden.spec_lang.features import Column, Feature, RecordType
from rewarden.spec_lang.spec import Spec
from rewarden.spec_lang.units import unit_or_plain

Side = Literal["old", "new"]
SIDES: tuple[Side, Side] = ("old", "new")


def other(side: Side) -> Side:
    return "new" if side == "old" else "old"


class Unmatched(Exception):
    """Two declarations that cannot be compared; the message is a reason for a reader."""


@dataclass(frozen=True, slots=True)
class Place:
    """An own column's place: `own value = scale · frame value + offset`, scale > 0."""

    column: int
    scale: Fraction
    offset: Fraction

    def to_frame(self, own: Fraction) -> Fraction:
        return (own - self.offset) / self.scale

    def to_own(self, frame: Fraction) -> Fraction:
        return self.scale * frame + self.offset

    @property
    def same_unit(self) -> bool:
        return self.scale == 1 and self.offset == 0


@dataclass(frozen=True, slots=True)
class FrameType:
    """A record type of both specs: `features` in the frame's units, and each side's columns in them."""

    name: str
    features: tuple[Feature, ...]
    old: tuple[Place, ...]
    new: tuple[Place, ...]

    def places(self, side: Side) -> tuple[Place, ...]:
        return self.old if side == "old" else self.new

    @property
    def same_units(self) -> bool:
        return all(place.same_unit for place in (*self.old, *self.new))

    def columns(self) -> tuple[Column, ...]:
        return tuple(column for feature in self.features for column in feature.columns())


@dataclass(frozen=True, slots=True)
class Frame:
    """Both specs, their common types by (side, own type name), and the common names of their rewards."""

    old: Spec
    new: Spec
    types: Mapping[tuple[Side, str], FrameType]
    reasons: Mapping[tuple[Side, str], str]  # of the types that could not be matched
    rewards: Mapping[tuple[Side, str], str]

    def spec(self, side: Side) -> Spec:
        return self.old if side == "old" else self.new

    def type_of(self, side: Side, name: str) -> FrameType:
        """Unmatched where the type has no counterpart."""
        if (side, name) in self.types:
            return self.types[side, name]
        raise Unmatched(self.reasons.get((side, name), f"the record type {name} has no counterpart"))

    def arguments(self, side: Side, reward: str) -> tuple[FrameType, ...]:
        """The frame types of a reward's records. Unmatched where one has none."""
        return tuple(self.type_of(side, kind) for _, kind in self.spec(side).rewards[reward].params)

    def signature(self, common: str) -> tuple[FrameType, ...]:
        """The same, by the common name of the reward."""
        side, own = next(place for place, name in self.rewards.items() if name == common)
        return self.arguments(side, own)


def frame_of(old: Spec, new: Spec) -> Frame:
    """The common columns of two specs that have the same features."""
    types: dict[tuple[Side, str], FrameType] = {}
    reasons: dict[tuple[Side, str], str] = {}
    for a, b in type_pairs(old, new):
        try:
            found = _frame_type(old.features[a], new.features[b])
        except Unmatched as error:
            reasons["old", a] = reasons["new", b] = str(error)
        else:
            types["old", a] = types["new", b] = found
    for side in SIDES:
        for name, kind in (old if side == "old" else new).features.items():
            if (side, name) not in types and (side, name) not in reasons:
                types[side, name] = _alone(kind)
    return Frame(old, new, types, reasons, _reward_names(old, new, types))


def partners(old: Iterable[str], new: Iterable[str]) -> dict[str, str]:
    """OLD's name → NEW's: the same name, or else the same but for the file that it is used from, `Step` and `v.Step`,
    where that is unambiguous."""
    here, there = list(old), list(new)
    pairs = {name: name for name in here if name in there}
    left = [name for name in here if name not in pairs]
    free = [name for name in there if name not in pairs]
    for name in left:
        alike = [n for n in free if _last(n) == _last(name)]
        if len(alike) == 1 and sum(_last(n) == _last(name) for n in left) == 1:
            pairs[name] = alike[0]
    return pairs


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def type_pairs(old: Spec, new: Spec) -> tuple[tuple[str, str], ...]:
    """(OLD's name, NEW's name) of the record types that are one and the same."""
    pairs = partners(old.features, new.features)
    for a, b in partners(old.rewards, new.rewards).items():
        mine, theirs = old.rewards[a].params, new.rewards[b].params
        for (_, kind), (_, counterpart) in zip(mine, theirs, strict=False):
            if len(mine) == len(theirs) and kind not in pairs and counterpart not in pairs.values():
                pairs[kind] = counterpart
    return tuple(pairs.items())


def _reward_names(old: Spec, new: Spec, types: Mapping[tuple[Side, str], FrameType]) -> dict[tuple[Side, str], str]:
    """A reward has one name for both where it is over the same records; else it is two symbols."""
    names: dict[tuple[Side, str], str] = {}
    for a, b in partners(old.rewards, new.rewards).items():
        mine = [types.get(("old", kind)) for _, kind in old.rewards[a].params]
        theirs = [types.get(("new", kind)) for _, kind in new.rewards[b].params]
        names["old", a] = a
        names["new", b] = a if mine == theirs else f"{b} of new"
    taken = set(names.values())
    for side, spec in zip(SIDES, (old, new), strict=True):
        for name in spec.rewards:
            if (side, name) not in names:
                names[side, name] = f"{name} of {side}" if name in taken else name
    return names


# ── one type ───────────────────────────────────────────────────────────────────────────────────
def _frame_type(old: RecordType, new: RecordType) -> FrameType:
    """Unmatched if a feature differs in kind, size or dimension, or one could not be added (`compare_lift`)."""
    alone = {f.name for f in old.features} ^ {f.name for f in new.features}
    if alone:
        raise Unmatched(f"only one of the specs has {', '.join(sorted(alone))}, and the other cannot be read with it")
    theirs = {feature.name: feature for feature in new.features}
    features: list[Feature] = []
    for feature in old.features:
        features.append(_common(feature, theirs[feature.name]))
    record = RecordType(old.name, tuple(features))
    return FrameType(old.name, record.features, _places(old, record), _places(new, record))


def _alone(record: RecordType) -> FrameType:
    places = _places(record, record)
    return FrameType(record.name, record.features, places, places)


def _common(a: Feature, b: Feature) -> Feature:
    numbers = ("real", "int")
    if a.kind != b.kind and not (a.kind in numbers and b.kind in numbers):
        raise Unmatched(f"{a.name} was {a.kind}, and is {b.kind}")
    if a.size != b.size:
        raise Unmatched(f"{a.name} had {a.size} elements, and has {b.size}")
    if unit_or_plain(a.unit).dimension != unit_or_plain(b.unit).dimension:
        raise Unmatched(f"{a.name} was in {a.unit or 'no unit'}, and is in {b.unit or 'no unit'}: another quantity")
    kind = a.kind if a.kind == b.kind else "real"
    cases = a.cases + tuple(case for case in b.cases if case not in a.cases)
    return Feature(a.name, kind, min(a.lo, b.lo), max(a.hi, b.hi), a.unit, cases, a.size)


def _places(own: RecordType, frame: RecordType) -> tuple[Place, ...]:
    places: list[Place] = []
    for feature in own.features:
        start = frame.offset(feature.name)
        whole = frame.feature(feature.name)
        mine, theirs = unit_or_plain(feature.unit), unit_or_plain(whole.unit)
        scale, offset = theirs.factor / mine.factor, (theirs.offset - mine.offset) / mine.factor
        if feature.kind == "enum":
            places += [Place(start + whole.cases.index(case), Fraction(1), Fraction(0)) for case in feature.cases]
        else:
            places += [Place(start + k, scale, offset) for k in range(feature.size)]
    return tuple(places)
