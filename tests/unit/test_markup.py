"""HTML: everything from outside is escaped."""

from __future__ import annotations

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
