"""A spec: parsed, checked, its parameters set, its rules lowered, its data at hand.

spec = load_spec("driving.rwd", params={"eps": 0.02})
for obligation in spec.obligations(): ...
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang import syntax
from rewarden.spec_lang.canonical import canonical_json, digest_of
from rewarden.spec_lang.diagnostics import did_you_mean
from rewarden.spec_lang.errors import Unsupported, UsageError
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.lower import Lowered, RuleKind, with_instances
from rewarden.spec_lang.neighbourhood import Away, named
from rewarden.spec_lang.obligation import Formula, Obligation
from rewarden.spec_lang.params import ParamValue
from rewarden.spec_lang.source import Source, Span

if TYPE_CHECKING:
    from rewarden.spec_lang.examples import Example
    from rewarden.spec_lang.penalty.reading import RewardFunction
    from rewarden.spec_lang.penalty.spec_penalty import Penalty, PenaltyOptions
    from rewarden.spec_lang.tables import Table
    from rewarden.spec_lang.uses import Folders
    from rewarden.spec_lang.z3_terms import RuleReading

_NONE: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RewardDecl:
    """`reward R(s: Step)`: `params` holds (parameter name, record type name)."""

    name: str
    params: tuple[tuple[str, str], ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class DataDecl:
    """`data d: T from "file"`: one member named ""; the tuple form names each."""

    name: str
    members: tuple[tuple[str, str], ...]
    path: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Rule:
    """What a rule is about; `Spec.obligations_of` says what it means."""

    name: str
    kind: RuleKind
    severity: str
    title: str
    span: Span = field(compare=False, repr=False)
    rewards: tuple[str, ...]  # that it mentions, in declaration order
    data: tuple[str, ...]
    records: tuple[tuple[str, str], ...]  # (record, type) as quantified
    weight: Fraction
    requirement: str | None
    because: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The rows of a data set, encoded: float64 [row, column], those of a pair or transition side by side."""

    name: str
    values: NDArray[np.float64]
    digest: str  # of the canonical table, or of those of the members


@dataclass(frozen=True, slots=True, eq=False)
class Spec:
    """Immutable but for the tables it has read so far. `digest` names its meaning: comments and layout aside,
    titles and the values of the parameters included. `tree` is the file as written, `expanded` the same with the
    declarations of the files that it uses."""

    name: str
    source: Source
    tree: syntax.SpecFile = field(repr=False)
    expanded: syntax.SpecFile = field(repr=False)
    features: dict[str, RecordType]
    rewards: dict[str, RewardDecl]
    data: dict[str, DataDecl]
    params: dict[str, ParamValue]
    rules: tuple[Rule, ...]
    examples: tuple[Example, ...]
    digest: str
    folders: Folders
    lowered: dict[str, Lowered] = field(repr=False)
    assumptions: dict[str, Formula] = field(repr=False)
    tables: dict[tuple[str, str], Table] = field(default_factory=dict, repr=False)

    @property
    def base(self) -> Path | None:
        """The folder of the file, where there is one."""
        return self.folders.base

    def rule(self, name: str) -> Rule:
        """UsageError G21 if there is no such rule."""
        for rule in self.rules:
            if rule.name == name:
                return rule
        raise UsageError("G21", f"{self.name} has no rule {name}", help=did_you_mean(name, self.lowered))

    def obligation(self, rule: str) -> Obligation:
        """The rule lowered; for a rule about data this reads the table (DataError).

        Unsupported X08 for rules about traces of several lengths and about cycles, which have one for each length.
        """
        self.rule(rule)
        found = self.lowered[rule]
        if found.data is None:
            return found.obligation
        return with_instances(found, self.rows(found.data).values)

    def by_table(self, rule: str) -> tuple[Obligation, Away] | None:
        """Of a rule about records not near data whose rows are too many to be conditions of a claim's premise: what it
        says but for these, and where they are. None for any other rule."""
        self.rule(rule)
        found = self.lowered[rule]
        if found.away is None or found.data is None or found.radii is None:
            return None
        (table,) = self.members(found.data)
        if not named(table.values):
            return None
        return found.obligation, Away(found.data, table, found.radii)

    def obligations_of(self, rule: str) -> tuple[Obligation, ...]:
        """All that a rule asks, each to hold: one obligation, or one for each length of a trace. Unsupported X08 for
        cycles, whose loops have any length."""
        self.rule(rule)
        found = self.lowered[rule]
        if found.unroll is not None and found.lengths:
            return tuple(found.unroll(length) for length in found.lengths)
        return (self.obligation(rule),)

    def unrolled(self, rule: str, length: int) -> Obligation:
        """A rule about traces or cycles, for those of exactly `length` records, `t[0]`, `t[1]` and so on."""
        kind = self.rule(rule).kind
        unroll = self.lowered[rule].unroll
        if unroll is None:
            raise Unsupported("X08", f"{rule} is a rule about {kind}, not about traces or cycles")
        return unroll(length)

    def obligations(self) -> tuple[Obligation, ...]:
        """All rules, in source order."""
        return tuple(obligation for rule in self.rules for obligation in self.obligations_of(rule.name))

    def penalty(
        self,
        rewards: Mapping[str, RewardFunction] | None = None,
        /,
        *,
        rules: Iterable[str] | None = None,
        severity: Literal["must", "should"] | None = None,
        options: PenaltyOptions | None = None,
        **named: RewardFunction,
    ) -> Penalty:
        """How much the rules are broken, as a torch term to train with: `loss = fit + spec.penalty(R=net)()`.

        Rewards are torch functions of encoded columns, by name; see `penalty_of` for what is refused.
        """
        from rewarden.spec_lang.penalty.spec_penalty import penalty_of

        given = {**(rewards or {}), **named}
        return penalty_of(self, given, rules=rules, severity=severity, options=options)

    def z3(self, rule: str, *, length: int | None = None, context: Any = None) -> RuleReading:  # noqa: ANN401 - z3.Context
        """The rule as exact Z3 terms, rewards uninterpreted: `solver.add(found.domain, found.premise)`.

        See `z3_reading`; `length` picks traces or loops of that many records.
        """
        from rewarden.spec_lang.z3_terms import z3_reading

        return z3_reading(self, rule, length=length, context=context)

    def members(self, name: str) -> list[Table]:
        """The tables that the rows of `logs`, of the pairs `prefs` or of one member, `prefs.better`, are read from."""
        if name in self.data:
            return [self.table(name, member).require_rows() for member, _ in self.data[name].members]
        data, _, member = name.rpartition(".")
        return [self.table(data, member).require_rows()]

    def rows(self, name: str) -> Rows:
        """The rows of such data; DataError (D08: none)."""
        members = self.members(name)
        if len(members) == 1:
            return Rows(name, members[0].values, members[0].table_digest)
        values = np.concatenate([table.values for table in members], axis=1)
        values.setflags(write=False)
        return Rows(name, values, digest_of(canonical_json([table.table_digest for table in members])))

    def table(self, name: str, member: str = "") -> Table:
        """The data, read once, every row checked against ranges and assumptions; DataError.

        `member` picks the records of one name in data of pairs or transitions.
        """
        if (name, member) in self.tables:
            return self.tables[name, member]
        if name not in self.data:
            raise UsageError("G22", f"{self.name} has no data {name}", help=did_you_mean(name, self.data))
        types = dict(self.data[name].members)
        if member not in types:
            known = ", ".join(types)
            raise UsageError(
                "G22", f"the rows of {name} have no member {member or '(nameless)'}", help=f"name one of {known}"
            )
        from rewarden.spec_lang.tables import read_table, require_assumption

        record = self.features[types[member]]
        prefix = f"{member}." if member else ""
        table = read_table(self._data_path(self.data[name]), record, prefix=prefix, name=name)
        require_assumption(table, self.assumptions[record.name])
        self.tables[name, member] = table
        return table

    def _data_path(self, data: DataDecl) -> Path:
        """The file, inside the spec's folder even after links are followed; UsageError."""
        if self.base is None:
            help = "load the spec from a file, or parse it with base=…"
            raise UsageError("G23", f"no folder to look for {data.path} in", help=help)
        found = (self.base.resolve() / data.path).resolve()
        if not self.folders.holds(found):
            help = "move the data next to the spec, or allow its folder"
            raise UsageError("G23", f"{data.path} lies outside the spec's folder", help=help)
        return found


def load_spec(path: str | Path, *, params: Mapping[str, object] = _NONE, allow: tuple[Path, ...] = ()) -> Spec:
    """Reads, parses and checks a spec file; paths in it are relative to its folder, and lie below it or below a folder
    of `allow`.

    `params` sets declared parameters: text is read as in the spec (`"0.5 [m/s]"`), a number is in the declared unit.
    SpecError with every diagnostic; UsageError G20 for a file that cannot be read.
    """
    from rewarden.spec_lang.analysis import analyse
    from rewarden.spec_lang.parser import decode
    from rewarden.spec_lang.uses import read_file

    path = Path(path)
    source = decode(read_file(path), path.name)
    return analyse(source, params=params, base=path.parent, allow=allow, path=path).require_spec()


def parse_spec(
    text: str,
    name: str = "<spec>",
    *,
    params: Mapping[str, object] = _NONE,
    base: Path | None = None,
    allow: tuple[Path, ...] = (),
) -> Spec:
    """The same for text; `base` is the folder that paths are relative to."""
    from rewarden.spec_lang.analysis import analyse

    source = Source(name, text.replace("\r\n", "\n").replace("\r", "\n"))  # as `decode` reads a file
    return analyse(source, params=params, base=base, allow=allow).require_spec()
