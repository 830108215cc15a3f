"""Coverage as lines of text: shares of the region, where a rule fails, and the features that matter for that."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final, TypeVar

from rewarden.verifier.coverage.parts import VARYING
from rewarden.verifier.region_words import percent

if TYPE_CHECKING:
    from rewarden.verifier.coverage.parts import Anchors, Coverage, Slice, Status

_T = TypeVar("_T")
FEATURES: Final = 3  # whose slices are told; the others are in the JSON
ROWS: Final = 5  # of a rule near data, likewise
NAMES: Final = {"proved": "proved", "violated": "violated", "outside": "outside the premise", "unsettled": "unsettled"}


def coverage_lines(coverage: Coverage) -> list[str]:
    """For the terminal."""
    whole = "rows" if coverage.of == "rows of data" else "declared region"
    lines = [f"of the {whole}: {shares_words(coverage)}", premise_line(coverage)]
    for case, one in coverage.cases.items():
        lines += [f"traces of {case}: {shares_words(one)}", *_regions(one)]
    if coverage.anchors is not None:
        lines += anchor_lines(coverage.anchors)
    return [*lines, *_regions(coverage), *_table(coverage)]


def shares_words(coverage: Coverage) -> str:
    """`proved 40 %, violated 10 %, …`."""
    return ", ".join(f"{word(status, coverage)} {percent(share)}" for status, share in coverage.shares.items())


def word(status: Status, coverage: Coverage) -> str:
    return "on no loop" if coverage.of == "records on loops" and status == "outside" else NAMES[status]


def anchor_lines(anchors: Anchors) -> list[str]:
    """Around how many rows of the data a rule holds, and around which ones it fails most."""
    noun = "row" if anchors.count == 1 else "rows"
    lines = [f"of {anchors.count} {noun} of {anchors.data}: it holds around {anchors.proved}, fails near "
             f"{anchors.violated}, and is open near {anchors.open}"]  # fmt: skip
    worst = sorted(anchors.told, key=lambda one: (-one.shares["violated"], -one.shares["unsettled"], one.row))
    for one in worst[:ROWS]:
        told = (f"{NAMES[status]} {percent(share)}" for status, share in one.shares.items() if share)
        lines.append(f"row {one.row}: {', '.join(told)}")
    more = len(worst) - ROWS
    return [*lines, f"and {more} more rows"] if more > 0 else lines


def _regions(coverage: Coverage) -> list[str]:
    lines: list[str] = []
    for name, region in (("violated", coverage.violated), ("unsettled", coverage.unsettled)):
        lines += [f"{name if first else ' ' * len(name)}  {line}" for first, line in _firsts(region.lines())]
    return lines


def difference_lines(coverage: Coverage) -> list[str]:
    """Of two rewards that should be the same everywhere, in the words of that: no premise, and no rule that fails."""
    same, other, open_ = (percent(coverage.shares[status]) for status in ("proved", "violated", "unsettled"))
    told = [f"the same in {same} of the region, different throughout {other}, not settled in {open_}"]
    for name, region in (("different", coverage.violated), ("not settled", coverage.unsettled)):
        told += [f"{name if first else ' ' * len(name)}  {line}" for first, line in _firsts(region.lines())]
    return [*told, *_table(coverage, ("same", "different", "outside", "not settled"))]


def premise_line(coverage: Coverage) -> str:
    """How large the premise is, and what part of it is violated, as far as either is known."""
    least, most = coverage.premise
    if coverage.of == "records on loops":
        least = coverage.shares["violated"]
        return f"a loop that breaks the rule goes through {percent(least)} of the records, so much is certain"
    if coverage.of == "rows of data":
        return _counted(coverage)
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


def _counted(coverage: Coverage) -> str:
    """The rows by number."""
    of = coverage.boxes
    least, most = (int(share * of) for share in coverage.premise)
    size = f"{most}" if least == most else f"{least} to {most}"
    fails, left = (int(coverage.shares[status] * of) for status in VARYING)
    told = (
        f"the premise holds on {size} of {of} {'row' if of == 1 else 'rows'}; the conclusion fails on {fails} of them"
    )
    return f"{told}, and is open on {left}" if left else told


def varying(coverage: Coverage) -> list[tuple[str, tuple[Slice, ...]]]:
    """The features along which violations (and else what is unsettled) vary most."""

    def spread(slices: Sequence[Slice]) -> tuple[Fraction, Fraction]:
        values = [[s.shares[status] for s in slices] for status in VARYING]
        return max(values[0]) - min(values[0]), max(values[1]) - min(values[1])

    ranked = sorted(coverage.slices.items(), key=lambda item: spread(item[1]), reverse=True)
    return [(feature, slices) for feature, slices in ranked if any(spread(slices))][:FEATURES]


def _table(coverage: Coverage, names: tuple[str, ...] = ("proved", "violated", "outside", "unsettled")) -> list[str]:
    found = varying(coverage)
    if not found:
        return []
    rows = [["", "", *names]]
    for feature, slices in found:
        for first, one in _firsts(slices):
            shares = [percent(share) for share in one.shares.values()]
            rows.append([feature if first else "", one.text, *shares])
    widths = [max(len(row[k]) for row in rows) for k in range(6)]
    return [
        "  ".join([row[0].ljust(widths[0]), row[1].ljust(widths[1]), *(row[k].rjust(widths[k]) for k in range(2, 6))])
        for row in rows
    ]


def _firsts(items: Sequence[_T]) -> list[tuple[bool, _T]]:
    return [(index == 0, item) for index, item in enumerate(items)]
