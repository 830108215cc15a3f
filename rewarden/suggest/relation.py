"""A relation between features that may be worth an assumption."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Relation:
    """`body` with {s} for the record; `support` is the number of rows that it says something of; `worth` above 1 for
    what reads as a law rather than as a fit."""

    body: str
    support: int
    worth: float = 1.0
    remarks: tuple[str, ...] = ()
