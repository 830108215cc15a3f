"""What may be mentioned where: the names in scope of an expression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression may mention besides the spec's own declarations."""

    records: Mapping[str, str] = field(default_factory=dict)  # name → record type
    anchored: frozenset[str] = frozenset()  # records of a rule near data
    rewards: bool = True  # false in assumptions


CONSTANT = Scope(rewards=False)
