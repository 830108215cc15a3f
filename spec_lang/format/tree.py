"""From the parser's concrete tree to a layout, for whatever has no layout of its own in `format_items.py`.

Most of the format is said by four things that hold everywhere: which tokens touch, where a line may be broken, that
brackets are laid out as groups, and that a chain of operators breaks before each of them. So a construct that the
grammar gains later is formatted sensibly before anybody has thought of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from lark import Token, Tree

from rewarden.spec_lang.format.comments import NOTHING, Between
from rewarden.spec_lang.format.layout import Block, Doc, Gap, block

Node = Token | Tree[Token]

_CLOSING = {"(": ")", "{": "}"}
_NO_SPACE_BEFORE = {",", ")", "]", ":", ".", "["}
_NO_SPACE_AFTER = {"(", "[", ".", "-"}  # a minus that is not between operands
_BREAK_BEFORE = {"varying", "near", "via", "confidence", "discount", "from", "then", "else"}
_CHAINS = {"implies", "either", "both", "compare", "arithmetic"}
_LISTS = {"arguments", "params", "group"}


def tokens(tree: Tree[Token]) -> Iterator[Token]:
    """The tokens of the text in order, without those that the one format leaves out."""
    held: Token | None = None  # a comma, until it is known not to stand before a closing brace
    stack: list[Node] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, Tree):
            children = fields(node) if node.data == "features" else node.children
            stack.extend(reversed(children))
            continue
        if held is not None and node != "}":
            yield held
        held = None
        if node == ",":
            held = node
        else:
            yield node


def fields(features: Tree[Token]) -> list[Node]:
    """The children of a `features` declaration without the optional commas."""
    return [child for child in features.children if child != ","]


def children(node: Node) -> Sequence[Node]:
    return node.children if isinstance(node, Tree) else ()


def first_token(node: Node) -> Token:
    while isinstance(node, Tree):
        node = node.children[0]
    return node


def last_token(node: Node) -> Token:
    while isinstance(node, Tree):
        node = node.children[-1]
    return node


def _bracketed(children: Sequence[Node]) -> Iterator[Sequence[Node]]:
    """The children one by one, but from an opening bracket to its closing one together."""
    at = 0
    while at < len(children):
        child = children[at]
        closing = _CLOSING.get(child) if isinstance(child, Token) else None
        end = at if closing is None else next(k for k in range(at, len(children)) if children[k] == closing)
        yield children[at : end + 1]
        at = end + 1


class TreeLayout:
    """Makes layouts of one file's nodes; `held` says what stands before each token, by the token's position."""

    def __init__(self, held: Mapping[int, Between]) -> None:
        self._held = held

    def before(self, node: Node) -> Between:
        """What stands between the node and the token before it."""
        return self._held.get(first_token(node).start_pos or 0, NOTHING)

    def may_break(self, flat: str, node: Node, indent: int = 0, comment_indent: int = 0) -> Gap:
        """The gap before the node, which breaks with its group."""
        return Gap(flat, "with its group", indent, self.before(node), comment_indent)

    def fixed(self, flat: str, node: Node, indent: int = 2) -> Gap:
        """The gap before the node, which only a comment breaks."""
        return Gap(flat, "never", indent, self.before(node))

    def always(self, node: Node) -> Gap:
        """The line break before the node."""
        return Gap("", "always", 0, self.before(node))

    def node(self, node: Node, *, listed: bool = False) -> Doc:
        """A token or a subtree. `listed`: directly inside brackets, where a line may begin with it."""
        if isinstance(node, Token):
            return f"[{' '.join(node[1:-1].split())}]" if node.type == "UNIT" else str(node)
        if node.data in _CHAINS:
            return self._chain(node)
        if node.data == "magnitude":
            bar, inner, closing = node.children
            body = block(self.fixed("", inner), self._operand(inner), self.fixed("", closing))
            return block(str(bar), body, str(closing))
        if node.data == "conditional":
            opening, *inside, closing = node.children
            body = block(self.fixed("", inside[0]), self.sequence(inside), self.fixed("", closing))
            return block(str(opening), body, str(closing), group=True)
        return self.sequence(node.children, listed=listed and node.data in _LISTS)

    def sequence(self, children: Sequence[Node], *, listed: bool = False, pad: int = 0, group: bool = False) -> Block:
        """Tokens and subtrees in a row, `pad` more spaces behind the first; brackets and what they hold are groups.
        Outside of brackets, whatever follows the first possible line break is deeper."""
        head: list[Doc] = []
        tail: list[Doc] = []
        parts, begins_line = head, listed
        above: Node | None = None
        for number, run in enumerate(_bracketed(children)):
            if above is not None:
                gap = self._gap(above, run[0], listed)
                begins_line = listed and gap.breaks != "never"
                parts = tail if gap.breaks != "never" and not listed else parts
                parts.append(replace(gap, flat=gap.flat + " " * pad) if number == 1 else gap)
            if len(run) > 1:
                parts.append(self._brackets(run))
            else:
                parts.append(self.node(run[0], listed=listed) if begins_line else self._operand(run[0], listed=listed))
            above = run[-1]
        return block(*head, *([block(*tail, indent=2)] if tail else []), group=group)

    def _gap(self, left: Node, right: Node, listed: bool) -> Gap:
        """The gap between two neighbours of a sequence."""
        a, b = last_token(left), first_token(right)
        if a == ",":
            return self.may_break(" ", right)
        if right == "not" or (b in _BREAK_BEFORE and a != "not"):  # `not near` stays together
            return self.may_break(" ", right, 2 if listed else 0)
        touching = b in _NO_SPACE_BEFORE or a in _NO_SPACE_AFTER or (b == "(" and a.type == "NAME")
        return self.fixed("" if touching else " ", right)

    def _operand(self, node: Node, *, listed: bool = False) -> Doc:
        """A part that does not begin its line: should it be broken, its lines are deeper. A list breaks on its own."""
        if isinstance(node, Tree) and node.data in _CHAINS:
            return block(self.node(node), indent=2)
        if isinstance(node, Tree) and not listed and node.data in ("params", "varying"):
            return block(self.node(node), group=True)
        return self.node(node, listed=listed)

    def _brackets(self, children: Sequence[Node]) -> Block:
        opening, *inside, closing = children
        if inside and inside[-1] == ",":
            inside.pop()
        if not inside:
            return block(str(opening), self.fixed("", closing), str(closing))
        body = block(self.may_break("", inside[0]), self.sequence(inside, listed=True), indent=2)
        return block(str(opening), body, self.may_break("", closing, comment_indent=2), str(closing), group=True)

    def _chain(self, node: Tree[Token]) -> Block:
        """Operands with an operator between each two; `a implies (b implies c)` is one chain, as it reads."""
        children = list(node.children)
        while node.data == "implies" and isinstance(last := children[-1], Tree) and last.data == "implies":
            children[-1:] = last.children
        parts: list[Doc] = [self._operand(children[0])]
        for operator, operand in zip(children[1::2], children[2::2], strict=True):
            above, below = self.before(operator), self.before(operand)
            held = Between((*above.comments, *below.comments))  # a comment goes above the operator that it stood behind
            parts += [Gap(" ", "with its group", 0, held), f"{operator} ", self._operand(operand)]
        return block(*parts, group=True)
