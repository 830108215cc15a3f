"""What may be mentioned where: the names in scope of an expression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

Members = tuple[tuple[str, str], ...]  # (member, record type) of a row of pairs or transitions


@dataclass(frozen=True, slots=True)
class Steps:
    """The variable of a trace or cycle: `t` names the whole sequence."""

    name: str
    type_name: str
    closed: bool  # a cycle
    exact: bool  # `of n steps`


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression may mention besides the spec's own declarations."""

    records: Mapping[str, str] = field(default_factory=dict)  # name → record type
    rows: Mapping[str, Members] = field(default_factory=dict)  # name → what a row of the data holds
    anchored: frozenset[str] = frozenset()  # records of a rule near data
    steps: Steps | None = None
    unknown: frozenset[str] = frozenset()  # names whose declaration is at fault
    rewards: bool = True  # false in assumptions

    def each_step(self) -> Scope:
        """Inside `sum`, `always` and `eventually`: t stands for each record, or for each move."""
        assert self.steps is not None
        return replace(self, records={**self.records, self.steps.name: self.steps.type_name})


CONSTANT = Scope(rewards=False)
