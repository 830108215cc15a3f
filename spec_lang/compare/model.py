"""What a comparison of two specs finds, as values: per rule a change, with situations that show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from rewarden.spec_lang.compare.data import DataChange
from rewarden.spec_lang.compare.frame import Side
from rewarden.spec_lang.compare.reward import World
from rewarden.spec_lang.naming import FeatureValue, NamedRecords
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.spec import Rule

Change = Literal[
    "removed",
    "weaker",
    "disjoint",
    "weaker_or_equal",
    "undecided",
    "stronger",
    "stronger_or_equal",
    "added",
    "equal",
]
CHANGES: tuple[Change, ...] = (
    "removed",
    "weaker",
    "disjoint",
    "weaker_or_equal",
    "undecided",
    "stronger",
    "stronger_or_equal",
    "added",
    "equal",
)
"""In the order in which a reviewer wants to see them."""

OBJECTIONABLE: frozenset[Change] = frozenset({"removed", "weaker", "disjoint", "weaker_or_equal", "undecided"})
"""Changes after which a reward may pass that did not pass before, or for which that is not excluded."""

Entailment = Literal["proved", "refuted", "unknown"]


@dataclass(frozen=True, slots=True)
class RewardAt:
    """`R(a)`, or `R(s with {speed = 0.5})`, and its value."""

    call: str
    value: Fraction


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A reward away from the records shown: constant + Σ slope · column (+ what the accepting rule compares it with);
    `others` records more, such as rows of data, have values of their own. A column may be cut off: `min(speed, 2)`."""

    reward: str
    constant: Fraction
    slopes: tuple[tuple[str, Fraction], ...] = ()
    at_the_limit: bool = False
    others: int = 0


@dataclass(frozen=True, slots=True)
class RowAt:
    """A row of data, from 0, the rewards there, and whether it satisfies what a share counts."""

    row: int
    satisfied: bool
    rewards: tuple[RewardAt, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """Of the `total` rows that satisfy the premise, `satisfied` satisfy what a share counts, whereby the refusing rule
    is violated, or (with a confidence) left open. `rows` are the first few of those that do, and that do not. The
    accepting rule has enough: `accepted` of `of`, where it counts otherwise."""

    data: str
    satisfied: int
    total: int
    rows: tuple[RowAt, ...]
    left_open: bool
    accepted: int
    of: int


@dataclass(frozen=True, slots=True)
class Situation:
    """Records, in the units of the spec whose rule refuses, and rewards that this rule refuses there, while the other
    spec's rule accepts them everywhere. `excluded` are records that the accepting spec does not speak of at all;
    `only_excluded` where no other records would show a difference, by proof."""

    refused_by: Side
    records: NamedRecords
    units: Mapping[str, Mapping[str, str | None]]
    rewards: tuple[RewardAt, ...]
    elsewhere: tuple[Elsewhere, ...]
    constants: tuple[tuple[str, Fraction], ...] = ()
    excluded: tuple[str, ...] = ()
    only_excluded: bool = False
    case: str = ""  # "2 steps"
    row: int | None = None  # of the data that the refusing rule is about, from 0
    counted: Counted | None = None  # of rules about a share of rows, which have no single records to show
    world: World | None = field(default=None, compare=False, repr=False)  # the rewards themselves, in common columns


@dataclass(frozen=True, slots=True)
class RuleChange:
    """One rule of OLD and what became of it, or a new one. `old_implies_new`: does NEW accept all that OLD accepts?"""

    change: Change
    old: Rule | None
    new: Rule | None
    old_implies_new: Entailment = "unknown"
    new_implies_old: Entailment = "unknown"
    situations: tuple[Situation, ...] = ()
    reason: str = ""  # why something is not known
    by: Literal["text", "z3", ""] = ""
    notes: tuple[str, ...] = ()  # severity, weight, title, …

    @property
    def name(self) -> str:
        rule = self.new or self.old
        assert rule is not None
        return rule.name

    @property
    def renamed(self) -> bool:
        return self.old is not None and self.new is not None and self.old.name != self.new.name

    @property
    def severity_lowered(self) -> bool:
        return self.was_must and self.new is not None and self.new.severity == "should"

    @property
    def was_must(self) -> bool:
        return self.old is not None and self.old.severity == "must"

    @property
    def objectionable(self) -> bool:
        """Does a `must` rule protect less than before, or is that not excluded?"""
        return self.was_must and (self.change in OBJECTIONABLE or self.severity_lowered)


@dataclass(frozen=True, slots=True)
class DomainChange:
    """A record type: `widened` where NEW speaks of records that OLD excludes, `narrowed` the other way round; both can
    be. Each with a record that shows it, in the frame's units. `messages` are the declarations that differ."""

    type_name: str
    messages: tuple[str, ...]
    widened: Entailment
    narrowed: Entailment
    only_new: Mapping[str, FeatureValue] | None = None
    only_old: Mapping[str, FeatureValue] | None = None
    units: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ParamChange:
    """`moved` are the rules that mention it and did not stay equal."""

    name: str
    old: str | None
    new: str | None
    moved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExampleChange:
    """An example of one spec that the other lacks."""

    rule: str
    side: Side
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a reviewer must not miss, with a stable code (`rewarden explain S20`)."""

    code: str
    message: str
    old: Span | None = None
    new: Span | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """`rules` in the order of CHANGES, then of NEW's text."""

    old_name: str
    new_name: str
    old_digest: str
    new_digest: str
    rules: tuple[RuleChange, ...]
    domains: tuple[DomainChange, ...]
    data: tuple[DataChange, ...]
    params: tuple[ParamChange, ...]
    examples: tuple[ExampleChange, ...]
    declarations: tuple[str, ...]  # rewards and definitions that came, went or changed
    findings: tuple[Finding, ...]

    def rule(self, name: str) -> RuleChange:
        """By its name in NEW, or in OLD if it is gone; KeyError."""
        for change in self.rules:
            if change.name == name:
                return change
        raise KeyError(name)

    @property
    def safe(self) -> bool:
        """Is every reward that NEW's `must` rules accept one that OLD's accepted, as far as rules were compared?"""
        return not any(change.objectionable for change in self.rules)
