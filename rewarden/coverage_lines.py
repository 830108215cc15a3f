"""Coverage as lines of text: shares of the region, where a rule fails, and the features that matter for that."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final, TypeVar

from rewarden.verifier.region_words import percent

if TYPE_CHECKING:
    from rewarden.verifier.coverage.parts import Coverage, Slice

_T = TypeVar("_T")
FEATURES: Final = 3  # whose slices are told; the others are in the JSON
NAMES: Final = {"proved": "proved", "violated": "violated", "outside": "outside the premise", "unsettled": "unsettled"}


def coverage_lines(coverage: Coverage) -> list[str]:
    """For the terminal."""
    told = [f"{NAMES[status]} {percent(share)}" for status, share in coverage.shares.items()]
    lines = ["of the declared region: " + ", ".join(told), premise_line(coverage)]
    for word, region in (("violated", coverage.violated), ("unsettled", coverage.unsettled)):
        lines += [f"{word if first else ' ' * len(word)}  {line}" for first, line in _firsts(region.lines())]
    return lines + _table(coverage)


def premise_line(coverage: Coverage) -> str:
    """How large the premise is, and what part of it is violated, as far as either is known."""
    least, most = coverage.premise
    size = percent(most) if least == most else f"{percent(least)} to {percent(most)}"
    if most == 0:
        return "the premise leaves no volume of the region: shares say nothing of this rule"
    violated = coverage.shares["violated"]
    if not violated:
        return f"the premise holds in {size} of the region"
    share = (
        f"at least {percent(violated / most)}"
        if least != most or coverage.shares["unsettled"]
        else percent(violated / most)
    )
    return f"the premise holds in {size} of the region; the rule fails in {share} of that"


def varying(coverage: Coverage) -> list[tuple[str, tuple[Slice, ...]]]:
    """The features along which violations (and else what is unsettled) vary most."""

    def spread(slices: Sequence[Slice]) -> tuple[Fraction, Fraction]:
        values = [[s.shares[status] for s in slices] for status in ("violated", "unsettled")]
        return max(values[0]) - min(values[0]), max(values[1]) - min(values[1])

    ranked = sorted(coverage.slices.items(), key=lambda item: spread(item[1]), reverse=True)
    return [(feature, slices) for feature, slices in ranked if any(spread(slices))][:FEATURES]


def _table(coverage: Coverage) -> list[str]:
    found = varying(coverage)
    if not found:
        return []
    rows = [["", "", "proved", "violated", "outside", "unsettled"]]
    for feature, slices in found:
        for first, one in _firsts(slices):
            shares = [f"{float(share):.1%}" for share in one.shares.values()]
            rows.append([feature if first else "", one.text, *shares])
    widths = [max(len(row[k]) for row in rows) for k in range(6)]
    return [
        "  ".join([row[0].ljust(widths[0]), row[1].ljust(widths[1]), *(row[k].rjust(widths[k]) for k in range(2, 6))])
        for row in rows
    ]


def _firsts(items: Sequence[_T]) -> list[tuple[bool, _T]]:
    return [(index == 0, item) for index, item in enumerate(items)]
