"""What an edit promises, as a spec about the edited reward and the one before: to verify, and to certify.

    outside   beyond the rims of all that the edit added, the two are equal
    inside    nowhere do they differ by more than so much

Both are rules like any others, in the features' own words: nothing has to be believed of the editor. `outside` has one
disjunction a patch (`editor/beyond.py`); edits that are made of other nodes say in their statement where they end, and
it is the proof that makes it true. The amount follows from what the reward reaches where a patch may act
(`editor/effect.py`); where weights were edited there is no `outside`, and the amount is the least of a few that
verification proves.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from rewarden.draft.field import record_lines
from rewarden.draft.networks import declared_records
from rewarden.editor.beyond import BEYOND, NOWHERE, beyond_text
from rewarden.editor.history.chain import added, rules_of
from rewarden.editor.history.stored import Stored, all_stored
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.diagnostics import printable
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.format.formatter import format_text
from rewarden.spec_lang.numerals import decimal

MOST_BOXES = 256  # of patches near data: more are no statement that anybody reads
DIGITS = 3  # of the amount, rounded up


def promise(child: Artifact, parent: Artifact) -> str:
    """The text of the spec. Raises EditError E32 for rewards of different records, E36 where the amount that weights
    moved the reward by could not be proved."""
    if child.records != parent.records:
        raise EditError("E32", "the two rewards are over different records", help="name an edit and its own parent")
    try:
        patches: Sequence[Stored] | None = added(child, parent)
    except EditError:
        patches = None
    names = ", ".join(record.param for record in child.records)
    params = ", ".join(f"{record.param}: {record.type.name}" for record in child.records)
    one, other = f"R({names})", f"Before({names})"
    amount = _proved(child, parent) if patches is None else _moved(parent, patches)
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
    built_in = _beyond_what_is_built_in(child)
    if patches is not None:
        lines += _outside(child, patches, [], params, f"{one} == {other}")
    elif built_in and NOWHERE not in built_in:
        lines += _outside(child, _unlike(child, parent), built_in, params, f"{one} == {other}")
    lines += [
        "--- Nothing moves by more than this.",
        "must inside:",
        f"  forall {params}",
        f"  expect |{one} - {other}| <= {decimal(amount)}",
    ]
    return format_text("\n".join(lines) + "\n")


def _beyond_what_is_built_in(child: Artifact) -> list[str]:
    """Beyond each of the edit's corrections of the network itself, as it says."""
    said = {} if child.edit is None else child.edit.statement
    return [printable(text) for key, text in said.items() if key.rpartition(".")[2] == BEYOND]


def _unlike(child: Artifact, parent: Artifact) -> list[Stored]:
    """The child's patches that the parent has not, or not like this: on another reward a rim may have to be steeper."""
    below = all_stored(parent)
    return [patch for k, patch in enumerate(all_stored(child)) if k >= len(below) or not patch.same(below[k])]


def _outside(child: Artifact, patches: Sequence[Stored], built_in: Sequence[str], params: str, same: str) -> list[str]:
    boxes = sum(patch.boxes for patch in patches)
    if boxes > MOST_BOXES:
        return [f"# The patches lie on {boxes} boxes around data: too many to write down where they do not act."]
    parts = [patch.part(k) if patch.offsets.ndim > 1 else patch for patch in patches for k in range(patch.boxes)]
    beyond = [f"({beyond_text(child.records, p.exact_rows(), p.gate, 2 * p.delta)})" for p in parts]
    return _unchanged([*built_in, *beyond], params, same)


def _unchanged(beyond: Sequence[str], params: str, same: str) -> list[str]:
    given = ["  given " + "\n    and ".join(beyond)] if beyond else []
    rule = ["must outside:", f"  forall {params}", *given, f"  expect {same}"]
    return ["--- Beyond the regions and their rims nothing has changed.", *rule]


def _moved(parent: Artifact, patches: Sequence[Stored]) -> Fraction:
    """The most by which patches move a record: how far the reward is beyond their levels where they may act."""
    from rewarden.verifier.extremum import certified_extremum

    box = tuple((column.lo, column.hi) for column in parent.columns)
    found = [Fraction(0)]
    for patch in patches:
        reach = patch.reach(box)
        if reach is not None:
            found.append(certified_extremum(parent, reach, patch.sign) - patch.sign * patch.level)
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
