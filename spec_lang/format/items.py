"""The layouts of declarations and rules."""

from __future__ import annotations

from dataclasses import replace

from lark import Token, Tree

from rewarden.spec_lang.format.comments import Between
from rewarden.spec_lang.format.layout import Block, Doc, Gap, block, fits_a_line, width
from rewarden.spec_lang.format.rows import WIDTH, trailing
from rewarden.spec_lang.format.tree import Node, TreeLayout, children, fields, first_token

_WITH_BODY = ("assume", "param", "definition")


def kind(item: Tree[Token]) -> str:
    """The word that an item begins with."""
    return str(item.children[0])


def item_layout(layout: TreeLayout, item: Tree[Token], *, pad_word: int = 0, pad_equals: int = 0) -> Block:
    """An item; `pad_word` more spaces behind its first word, `pad_equals` more before its `=`."""
    match item.data:
        case "features":
            return _features(layout, item)
        case "rule":
            return _rule(layout, item)
        case "example":
            return _example(layout, item)
        case data if data in _WITH_BODY:
            return _with_body(layout, item, pad_word, pad_equals)
    return layout.sequence(item.children, pad=pad_word, group=True)


def head_width(layout: TreeLayout, item: Tree[Token]) -> int:
    """The width of a definition up to its `=`."""
    return layout.sequence(item.children[:-2]).width


def _with_body(layout: TreeLayout, item: Tree[Token], pad_word: int, pad_equals: int) -> Block:
    """`let f(x: T) = body`: a body that does not fit begins a line of its own."""
    *head, equals, body = item.children
    return block(
        layout.sequence(head, pad=pad_word),
        layout.fixed(" " * (1 + pad_equals), equals),
        str(equals),
        block(layout.may_break(" ", body), layout.node(body), indent=2),
        group=True,
    )


# ── features ───────────────────────────────────────────────────────────────────────────────────
def _features(layout: TreeLayout, item: Tree[Token]) -> Block:
    """A single feature stands on one line where it can, several are a table."""
    word, name, opening, *inside, closing = fields(item)
    head = block(layout.sequence([word, name]), layout.fixed(" ", opening), str(opening))
    if len(inside) < 2:
        space = " " if inside else ""
        gaps = [layout.fixed(space, node) for node in (*inside, closing)]
        parts = [layout.node(node) for node in (*inside, closing)]
        line = block(head, *(part for pair in zip(gaps, parts, strict=True) for part in pair))
        if line.width <= WIDTH:
            return line
    columns = _Columns(layout, inside)
    rows: list[Doc] = []
    for place, node in enumerate(inside):
        held = _in_braces(layout.before(node), first=place == 0, last=False)
        rows += [Gap("", "always", 0, held, blanks=True), columns.row(node)]
    held = _in_braces(layout.before(closing), first=not inside, last=True)
    end = Gap("", "always", 0, held, comment_indent=2, blanks=True)
    return block(head, block(*rows, indent=2), end, str(closing))


def _in_braces(held: Between, *, first: bool, last: bool) -> Between:
    """What stands before a feature or the closing brace, without blank lines right inside the braces."""
    comments = list(held.comments)
    own = trailing(comments)
    if first and own < len(comments):
        comments[own] = replace(comments[own], blank=False)
    return Between(tuple(comments), held.blank and not last and not (first and own == len(comments)))


class _Columns:
    """`name : type [unit] in lo .. hi`, each in its column."""

    def __init__(self, layout: TreeLayout, features: list[Node]) -> None:
        self._layout = layout
        split = [self._split(feature) for feature in features]
        self._name = max((len(name) for name, _, _ in split), default=0)
        kinds = (width(layout.sequence(kind)) for _, kind, interval in split if interval is not None)
        self._kind = max((w for w in kinds if w < WIDTH), default=0)

    @staticmethod
    def _split(feature: Node) -> tuple[Token, list[Node], Node | None]:
        """Name, type, and interval where there is one."""
        name, _, sort = children(feature)
        *start, last = children(sort)
        if isinstance(last, Tree) and last.data == "interval":
            return first_token(name), start, last
        return first_token(name), [*start, last], None

    def row(self, feature: Node) -> Block:
        layout = self._layout
        name, kind, interval = self._split(feature)
        colon = children(feature)[1]
        sort = layout.sequence(kind)
        parts: list[Doc] = [
            str(name),
            layout.fixed(" " * (1 + self._name - len(name)), colon),
            str(colon),
            layout.fixed(" ", kind[0]),
            sort,
        ]
        if interval is not None:
            gap = 1 + max(0, self._kind - sort.width) if fits_a_line(sort) else 1
            parts += [layout.fixed(" " * gap, interval), layout.node(interval)]
        return block(*parts)


# ── rules and examples ─────────────────────────────────────────────────────────────────────────
def _rule(layout: TreeLayout, item: Tree[Token]) -> Block:
    """One clause a line; a requirement's number and its reason share one where they fit."""
    head, clauses = item.children[:3], item.children[3:]
    lines: list[Doc] = []
    previous: Node | None = None
    for clause in clauses:
        laid = layout.sequence(children(clause), group=True)
        if previous is not None and _word(previous) == "id" and _word(clause) == "because":
            lines[-1] = block(lines[-1], layout.may_break(" ", clause), laid, group=True)
        else:
            lines += [layout.always(clause), laid]
        previous = clause
    return block(layout.sequence(head), block(*lines, indent=2))


def _example(layout: TreeLayout, item: Tree[Token]) -> Block:
    """One case a line; the records of `covers` and `ignores` stand below each other."""
    cases = [child for child in item.children if isinstance(child, Tree) and child.data == "example_case"]
    head = item.children[: len(item.children) - len(cases)]
    longest = max(len(_word(case)) for case in cases)
    lines: list[Doc] = []
    for case in cases:
        lines += [
            layout.always(case),
            layout.sequence(case.children, pad=longest - len(_word(case)), group=True),
        ]
    return block(layout.sequence(head), block(*lines, indent=2))


def _word(clause: Node) -> str:
    return str(first_token(clause))
