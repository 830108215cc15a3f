"""What an edit promises, as a spec about the edited reward and the one before: to verify, and to certify.

    outside   beyond the rims of all that the edit added, the two are equal
    inside    nowhere do they differ by more than so much

Both are rules like any others, in the features' own words: nothing has to be believed of the editor. `outside` has one
disjunction a patch (`editor/beyond.py`); edits that are made of other nodes say in their statement where they end, and
it is the proof that makes it true. The amount follows from what the reward reaches where a patch may act
(`editor/effect.py`); where weights were edited there is no `outside`, and the amount is the least of a few that
verification proves. Where patches were taken away, `outside` is beyond these, and the amount is found likewise.

An edit that is built into the network by minima and maxima (`editor/built_in.py`), with patches on top or without, is
said in two parts. That the reward lies between values holds by the way it is built, whatever the network is, so that
the proof has no part for all the copies of the network that an envelope holds; how far that is from what the reward was
is a range of the reward before, which is one network.

    inside    everywhere the reward lies between what it was, less what a slope takes, and two values
    most      where the edit acts, the reward was between these two: so far at most anything moves

Of patches near data there may be thousands of boxes, too many to write out. They are the rows of a file that comes with
the promise (`editor/away.py`), which is then said in parts that are each decided row by row:

    outside   records that are not near the rows: the two are equal (and beyond what else the edit added)
    apart     nor do they differ where the rule's own premise fails by the rim
    inside    everywhere, the reward now lies between what it was and the patches' level (near the rows, where other
              corrections are built into the network)
    most      what it was is beyond that level by so much at most: by so much it moves
    besides   not near the rows, it moves by no more, where the edit has other parts
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rewarden.draft.field import record_lines
from rewarden.draft.networks import declared_records
from rewarden.editor.away import Away, away_from, rest_of
from rewarden.editor.beyond import BEYOND, NOWHERE, Row, beyond_text, shortest
from rewarden.editor.built_in import Between, Less, on_top
from rewarden.editor.history.chain import added, rules_of
from rewarden.editor.history.stored import Stored, all_stored
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.diagnostics import printable
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.format.formatter import format_text
from rewarden.spec_lang.numerals import decimal

MOST_BOXES = 16  # of patches near data that are written out; more are rows of a file
DIGITS = 3  # of the amount, rounded up
LOWER = Fraction(1, 10_000)  # of the amount: by so much a level may be told as further off
ROWS = "changed"  # what the rows are called in the spec


@dataclass(frozen=True, slots=True)
class Promise:
    """The text of the spec and, of patches near data, that of the file of rows that it names, JSON lines."""

    text: str
    rows: str | None = None


def promise(child: Artifact, parent: Artifact, rows: str = "changed.jsonl") -> Promise:
    """The spec. `rows`: what the file of rows is called, which is to lie beside it, if there is one.

    Raises EditError E32 for rewards of different records, E36 where the amount that weights moved the reward by could
    not be proved."""
    if child.records != parent.records:
        raise EditError("E32", "the two rewards are over different records", help="name an edit and its own parent")
    try:
        patches: Sequence[Stored] | None = added(child, parent)
    except EditError:
        patches = None
    names = ", ".join(record.param for record in child.records)
    params = ", ".join(f"{record.param}: {record.type.name}" for record in child.records)
    one, other = f"R({names})", f"Before({names})"
    built_in = [] if patches is not None else _beyond_what_is_built_in(child)
    local = patches is not None or bool(built_in and NOWHERE not in built_in)
    where = _Where(child, _unlike(child, parent) if patches is None else patches, built_in) if local else None
    away = None if where is None else where.away()
    corrected = _Corrected.of(child, parent) if patches is None and away is None else None
    if where is None and corrected is None:
        where = _without_patches(child, parent)
    about = printable(", ".join(rules_of(child))) or "weights"
    lines = [
        f"# What the edit for {about} promises.",
        f"#   R       {child.digest}",
        f"#   Before  {parent.digest}",
        "spec edit v1",
        *(line for record in declared_records(child).values() for line in record_lines(record)),
        f"reward R({params})",
        f"reward Before({params})",
    ]
    if where is not None:
        lines += where.lines(away, params, f"{one} == {other}", rows)
    if corrected is not None:
        lines += corrected.lines(params, one, other, [] if where is None else where.beyond())
        return Promise(format_text("\n".join(lines) + "\n"))
    amount = _proved(child, parent) if patches is None else _moved(parent, patches)
    whole = f"|{one} - {other}| <= {decimal(amount)}"
    if where is None or away is None:
        lines += _rule("inside", params, [], whole, "Nothing moves by more than this.")
    else:
        lines += where.near_rows(away, parent, params, one, other)
        lines += where.besides(away, params, whole)
    return Promise(format_text("\n".join(lines) + "\n"), None if away is None else away.text)


def _beyond_what_is_built_in(child: Artifact) -> list[str]:
    """Beyond each of the edit's corrections of the network itself, as it says."""
    said = {} if child.edit is None else child.edit.statement
    return [printable(text) for key, text in said.items() if key.rpartition(".")[2] == BEYOND]


def _unlike(child: Artifact, parent: Artifact) -> list[Stored]:
    """The child's patches that the parent has not, or not like this: on another reward a rim may have to be steeper."""
    below = all_stored(parent)
    return [patch for k, patch in enumerate(all_stored(child)) if k >= len(below) or not patch.same(below[k])]


def _without_patches(child: Artifact, parent: Artifact) -> _Where | None:
    """Where an edit ends that took patches away, and may have put others there: beyond all of these the two rewards are
    made of the same network and the same other patches, in the same order. None where the network is another one, or
    a patch is near so many rows that these would be told in a file."""
    networks = [artifact.with_patches(()) for artifact in (child, parent)]
    values = [{name: (value.shape, value.tobytes()) for name, value in one.tensors.items()} for one in networks]
    if child.graph != parent.graph or values[0] != values[1]:
        return None
    new, unlike = list(all_stored(child))[::-1], list[Stored]()
    for patch in all_stored(parent):
        if new and new[-1].same(patch):
            new.pop()
        else:
            unlike.append(patch)
    found = _Where(child, [*unlike, *new], [])
    return None if not found.patches or found.bulk else found


@dataclass(frozen=True, slots=True)
class _Where:
    """Where an edit ends: patches, and what is built into the network, as it says itself."""

    child: Artifact
    patches: Sequence[Stored]
    built_in: Sequence[str]

    @property
    def bulk(self) -> list[Stored]:
        """Patches near so many rows that these are told in a file."""
        tables = [patch for patch in self.patches if patch.boxes > 1]
        return tables if sum(patch.boxes for patch in tables) > MOST_BOXES and len(self.child.records) == 1 else []

    def away(self) -> Away | None:
        """The rows and radii of these patches."""
        return away_from(self.child.records[0], self.bulk) if self.bulk else None

    def beyond(self) -> list[str]:
        """Beyond each part of the edit that is written out."""
        written = [patch for patch in self.patches if all(patch is not other for other in self.bulk)]
        parts = [patch.part(k) if patch.offsets.ndim > 1 else patch for patch in written for k in range(patch.boxes)]
        return [*self.built_in, *(self._beyond(p, p.exact_rows()) for p in parts)]

    def lines(self, away: Away | None, params: str, same: str, rows: str) -> list[str]:
        if self.bulk and away is None:
            return ["# The edit acts near all records: there is no outside."]
        beyond = self.beyond()
        if away is None:
            return _rule("outside", params, beyond, same, OUTSIDE)
        _, _, kind = params.partition(": ")
        near = f"{params} not near {ROWS} within {away.radii}"
        found = [f'data {ROWS}: {kind} from "{rows}"', *_rule("outside", near, beyond, same, OUTSIDE)]
        rest = [self._beyond(patch, rest_of(patch)) for patch in self.bulk]
        if any(NOWHERE in text for text in rest):
            return found
        return [*found, *_rule("apart", params, [*beyond, *rest], same, APART)]

    def near_rows(self, away: Away, parent: Artifact, params: str, now: str, before: str) -> list[str]:
        """Between what it was and a level; and how far beyond that what it was is, near the rows."""
        least, most, far = before, before, list[str]()
        for sign in (1, -1):
            levels = [sign * patch.level for patch in self.patches if patch.sign == sign]
            if not levels:
                continue
            beyond = _rounded_up(away.extremum(parent, sign) - min(levels))
            level = sign * shortest(min(levels) - beyond * LOWER, min(levels))
            edge = level + sign * (beyond + _rounded_up(beyond * LOWER))
            least, most = (
                (f"min({before}, {_number(level)})", most) if sign > 0 else (least, f"max({before}, {_number(level)})")
            )
            far.append(f"{before} {'<=' if sign > 0 else '>='} {_number(edge)}")
        near = f"{params} near {ROWS} within {away.radii}"
        where, title = (near, BETWEEN) if self.built_in else (params, AT_MOST)
        between = _rule("inside", where, [], f"{least} <= {now} <= {most}", title)
        return [
            *between,
            *_rule(
                "most",
                near,
                [],
                " and ".join(far),
                "So nothing near the rows moves by more than this is beyond that level.",
            ),
        ]

    def besides(self, away: Away, params: str, whole: str) -> list[str]:
        """What other parts of the edit do where the rows are not near."""
        if not self.built_in and all(any(patch is other for other in self.bulk) for patch in self.patches):
            return []
        over = f"{params} not near {ROWS} within {away.radii}"
        return _rule("besides", over, [], whole, "Elsewhere nothing moves by more than this.")

    def _beyond(self, patch: Stored, rows: Sequence[Row]) -> str:
        return f"({beyond_text(self.child.records, rows, patch.gate, 2 * patch.delta)})"


@dataclass(frozen=True, slots=True)
class _Corrected:
    """An edit by corrections of the network, and patches on top. `less`: what slopes take at most. `levels`: the least
    and the greatest value that anything else moves the reward to; none where there is nothing else. `was`: where the
    reward was between where that acts, and `wholly`: everywhere."""

    less: Fraction
    levels: tuple[Fraction, Fraction] | None
    was: tuple[Fraction, Fraction]
    wholly: bool

    @classmethod
    def of(cls, child: Artifact, parent: Artifact) -> _Corrected | None:
        """None where the edit is made otherwise, and where patches were there before."""
        made = on_top(child, parent)
        if made is None or parent.patches:
            return None
        patches = all_stored(child)
        less = sum((part.cap for part in made if isinstance(part, Less)), Fraction(0))
        held = [part for part in made if isinstance(part, Between)]
        levels = [p.level for p in patches] + [end for part in held for end in (part.least, part.most)]
        if not levels:
            return cls(less, None, (Fraction(0), Fraction(0)), wholly=False)
        wholly = bool(less)
        return cls(less, (min(levels), max(levels)), _was(parent, patches, held, wholly=wholly), wholly)

    def lines(self, params: str, one: str, other: str, beyond: Sequence[str]) -> list[str]:
        less = _rounded_up(self.less * (1 + LOWER))
        if self.levels is None:
            whole = f"|{one} - {other}| <= {decimal(less)}"
            return _rule("inside", params, [], whole, "Nothing moves by more than this.")
        room = LOWER * max(self.levels[1] - self.levels[0], self.was[1] - self.was[0])
        low, high = _wider(self.levels, room)
        least, most = _wider(self.was, room)
        below = f"{other} - {decimal(less)}" if less else other
        between = f"min({below}, {_number(low)}) <= {one} <= max({other}, {_number(high)})"
        given = [] if self.wholly or NOWHERE in beyond or not beyond else [f"not ({' and '.join(beyond)})"]
        amount = _rounded_up(max(less, most - low, high - least))
        return [
            *_rule("inside", params, [], between, BUILT_IN),
            *_rule(
                "most", params, given, f"{_number(least)} <= {other} <= {_number(most)}",
                f"So nothing moves by more than {decimal(amount)}.",
            ),
        ]  # fmt: skip


def _was(
    parent: Artifact, patches: Sequence[Stored], held: Sequence[Between], *, wholly: bool
) -> tuple[Fraction, Fraction]:
    """Where the reward before was between, where the parts of an edit act, or everywhere."""
    from rewarden.editor.reach import understood
    from rewarden.verifier.extremum import certified_extremum

    extremum = understood(certified_extremum)
    box = tuple((column.lo, column.hi) for column in parent.columns)
    reached = [box] if wholly else [reach for patch in patches if (reach := patch.reach(box)) is not None]
    least = [-extremum(parent, reach, -1) for reach in reached]
    most = [extremum(parent, reach, 1) for reach in reached]
    if not wholly:  # an envelope knows where the reward is, where it acts
        least, most = least + [part.least for part in held], most + [part.most for part in held]
    return min(least), max(most)


def _wider(ends: tuple[Fraction, Fraction], room: Fraction) -> tuple[Fraction, Fraction]:
    """Short numbers beyond both ends, by no more than `room`."""
    return shortest(ends[0] - room, ends[0] - room / 16), shortest(ends[1] + room / 16, ends[1] + room)


OUTSIDE = "Beyond the regions and their rims nothing has changed."
BUILT_IN = "Everywhere the reward lies between what it was, less what a slope takes, and these values."
BETWEEN = "Near the rows the reward lies between what it was and the level."
AT_MOST = "Everywhere the reward lies between what it was and the level."
APART = "Nor has anything where the premise of the rules near data fails by the rim."


def _rule(name: str, over: str, given: Sequence[str], expected: str, title: str) -> list[str]:
    premise = ["  given " + "\n    and ".join(given)] if given else []
    return [f"--- {title}", f"must {name}:", f"  forall {over}", *premise, f"  expect {expected}"]


def _number(value: Fraction) -> str:
    return f"({decimal(value)})" if value < 0 else decimal(value)


def _moved(parent: Artifact, patches: Sequence[Stored]) -> Fraction:
    """The most by which patches move a record: how far the reward is beyond their levels where they may act."""
    from rewarden.editor.reach import understood
    from rewarden.verifier.extremum import certified_extremum

    box = tuple((column.lo, column.hi) for column in parent.columns)
    found = [Fraction(0)]
    for patch in patches:
        reach = patch.reach(box)
        if reach is not None:
            found.append(understood(certified_extremum)(parent, reach, patch.sign) - patch.sign * patch.level)
    return _rounded_up(max(found))


def _proved(child: Artifact, parent: Artifact) -> Fraction:
    from rewarden.editor.methods.moved import proved_limit, sampled_change

    limit = proved_limit(child, parent, float(sampled_change(child, parent).max()))
    if limit is None:
        raise EditError(
            "E36",
            "no bound was proved on how far the edit moves the reward",
            help="rewarden diff takes a larger --budget",
        )
    return _rounded_up(limit)


def _rounded_up(value: Fraction) -> Fraction:
    """A few digits that are not below."""
    if value <= 0:
        return Fraction(0)
    unit = Fraction(1)
    while value / unit >= 10**DIGITS:
        unit *= 10
    while value / unit < 10 ** (DIGITS - 1):
        unit /= 10
    return -(-value // unit) * unit
