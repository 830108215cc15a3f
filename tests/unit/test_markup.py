"""HTML: everything from outside is escaped."""

from __future__ import annotations

import re
from importlib.resources import files

from hypothesis import given
from hypothesis import strategies as st

from rewarden.report.markup import Html, join, table, tag, text


@given(st.text())
def test_text_from_outside_cannot_become_markup(outside: str) -> None:
    for made in (text(outside), tag("p", outside), tag("p", "x", title=outside), table((outside,), [(outside,)], "c")):
        inner = str(made)
        for known in ("<p>", "</p>", "<p title=", ">x<", "<table", "<thead>", "<tbody>", "<tr>", "<th scope=", "<td>"):
            inner = inner.replace(known, "")
        if "<" in outside:
            assert "&lt;" in made
    assert "<script" not in tag("p", "<script>")


def test_markup_passes_and_names_are_mapped() -> None:
    assert tag("a", Html("<b>x</b>"), cls="y", aria_label='"') == '<a class="y" aria-label="&quot;"><b>x</b></a>'
    assert join(["<", Html("<i>")], ", ") == "&lt;, <i>"
    assert text(Html("<i>")) == "<i>"


def luminance(colour: str) -> float:
    """WCAG 2.2: relative luminance of `#rrggbb`."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_words_stand_out_from_what_is_behind_them() -> None:
    """At least 4.5 to 1 (WCAG 2.2, 1.4.3), in light and in dark: ink and small print everywhere, verdicts on theirs."""
    style = files("rewarden.report").joinpath("style.css").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part)) for part in style.split("* { box")[0].split("@media")
    )
    assert len(light) == len(dark) == 13
    behind = dict.fromkeys(("ink", "soft"), ("page", "card", "code"))
    behind |= {word: ("page", "card", f"{word}-bg") for word in ("proved", "violated", "unknown")}
    for colours in (light, dark):
        for ink, places in behind.items():
            for place in places:
                high, low = sorted((luminance(colours[ink]), luminance(colours[place])), reverse=True)
                assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, place)
