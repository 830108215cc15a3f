"""Coverage as a picture: a bar of the region, and a bar for every slice of the features that matter most."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from rewarden.coverage_lines import NAMES, anchor_lines, premise_line, varying, word
from rewarden.report.markup import Html, join, table, tag
from rewarden.verifier.coverage.parts import Coverage, Shares, Slice, Status
from rewarden.verifier.region_words import Described, percent


def coverage_block(coverage: Coverage) -> Html:
    """How much of the region is proved, violated and unsettled, where, and along which features that varies."""
    line = premise_line(coverage)
    counted = coverage.of == "rows of data"
    how = "by count" if counted else "by volume"
    parts: list[object] = [
        tag("h4", "How many of the rows" if counted else "How much of the region"),
        tag("div", _bar(coverage.shares), cls="whole"),
        tag("p", join((_legend(s, word(s, coverage), share) for s, share in coverage.shares.items()), " "),
            cls="fine legend"),
        tag("p", f"{line[0].upper()}{line[1:]}. Shares are exact, {how}.", cls="fine"),
    ]  # fmt: skip
    if coverage.cases:
        rows = [(f"traces of {case}", _bar(one.shares)) for case, one in coverage.cases.items()]
        parts.append(table((), rows, "slices"))
    if coverage.anchors is not None:
        parts += [tag("p", told, cls="fine") for told in anchor_lines(coverage.anchors)]
    slices = varying(coverage)
    if slices:
        parts.append(tag("div", *(_feature(feature, found) for feature, found in slices), cls="grid"))
    for heading, region in (("Where it fails", coverage.violated), ("Where it is open", coverage.unsettled)):
        if region.parts:
            parts += [tag("h5", heading), boxes_list(region)]
    return tag("div", *parts, cls="coverage")


def _bar(shares: Shares) -> Html:
    """One strip; the shares in their order, nothing drawn for what is nothing."""
    spans = [
        tag("span", "", cls=status, style=f"width:{float(share):.4%}", title=f"{NAMES[status]} {percent(share)}")
        for status, share in shares.items()
        if share
    ]
    return tag("div", *spans, cls="shares", role="img", aria_label=_words(shares))


def _words(shares: Shares) -> str:
    return ", ".join(f"{NAMES[status]} {percent(share)}" for status, share in shares.items())


def _legend(status: Status, name: str, share: Fraction) -> Html:
    return tag("span", tag("i", "", cls=status), f"{name} {percent(share)}", cls="entry")


def _feature(feature: str, slices: Sequence[Slice]) -> Html:
    rows = [(one.text, _bar(one.shares)) for one in slices]
    return tag("div", tag("h5", feature), table((), rows, "slices"))


def boxes_list(region: Described) -> Html:
    """The boxes that are told of a region."""
    items = [tag("li", f"{part.words}: {percent(part.share)}") for part in region.parts]
    more = [tag("li", f"and {region.more} more", cls="fine")] if region.more else []
    return tag("ul", *items, *more, cls="boxes")
