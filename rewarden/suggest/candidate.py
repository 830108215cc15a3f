"""A rule that may be suggested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["cap", "monotone", "irrelevant", "steady", "bounds"]
MOST_OF_A_KIND = {"cap": 4, "monotone": 6, "irrelevant": 4, "steady": 2, "bounds": 2}
_FIRST = ("cap", "monotone", "irrelevant", "steady", "bounds")


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """`rows` are records [n, record, column] taken from data, on which it is counted beside points of its domain; they
    stand for the records `names`, and `looked_at` says what they are. Without `rows` these are, for a rule near data,
    the data."""

    kind: Kind
    name: str
    title: str
    quantifier: str
    given: str | None
    expect: str
    strength: float  # 0 to 1 within its kind: which is worth more of a reader's time
    names: tuple[str, ...] = ()
    rows: NDArray[np.float64] | None = None
    looked_at: str = ""
    remarks: tuple[str, ...] = ()
    slack: str | None = None  # how it could be loosened, with {} for a number
    slack_worth: float = 0.0  # the largest such number that still leaves a rule worth having

    def text(self) -> str:
        given = [f"  given {self.given}"] if self.given else []
        lines = [f"--- {self.title}", f"should {self.name}:", f"  {self.quantifier}", *given, f"  expect {self.expect}"]
        return "\n".join(lines)


def chosen(candidates: list[Candidate], most: int) -> list[Candidate]:
    """The strongest of each kind, kinds in the order in which an expert would want them: at most so many."""
    ranked: list[Candidate] = []
    for kind in _FIRST:
        ofkind = sorted((c for c in candidates if c.kind == kind), key=lambda c: (-c.strength, c.name))
        ranked += ofkind[: MOST_OF_A_KIND[kind]]
    return ranked[:most]
