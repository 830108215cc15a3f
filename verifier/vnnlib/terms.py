"""The assertions of a query as formulas: linear arithmetic, exact, comparisons of every kind, and, or, not, =>."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

from rewarden.spec_lang.claim import Affine, AffineAtom
from rewarden.spec_lang.errors import Unsupported
from rewarden.verifier.vnnlib.query import AllOf, AnyOf, Formula
from rewarden.verifier.vnnlib.reader import Group, Node, QuerySource, Word, shown

TRUE: Formula = AllOf(())
FALSE: Formula = AnyOf(())
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
MAX_EXPONENT = 400
MAX_BITS = 8192  # of a numerator or denominator on the way
LARGEST = Fraction(10) ** 60  # coefficient or constant, when all is added up
COMPARISONS = ("<=", ">=", "<", ">", "=", "==", "!=", "distinct")
OPPOSITE = {"<=": ">", ">=": "<", "<": ">=", ">": "<=", "=": "!=", "==": "!=", "!=": "==", "distinct": "=="}

Unknown = tuple[bool, int]  # (is an output, its number)
Lookup = Callable[[Word, Group | None], Unknown]  # a word and its indices; raises where there is no such unknown


@dataclass(slots=True)
class Linear:
    """Mutable: constant + Σ coefficient·unknown."""

    constant: Fraction = Fraction(0)
    terms: dict[Unknown, Fraction] = field(default_factory=dict)

    def add(self, other: Linear, factor: Fraction) -> None:
        self.constant += factor * other.constant
        for unknown, coefficient in other.terms.items():
            self.terms[unknown] = self.terms.get(unknown, Fraction(0)) + factor * coefficient

    def scaled(self, factor: Fraction) -> Linear:
        return Linear(self.constant * factor, {u: c * factor for u, c in self.terms.items()})

    def numbers(self) -> Iterator[Fraction]:
        yield self.constant
        yield from self.terms.values()


def number(source: QuerySource, word: Word) -> Fraction:
    """A decimal, exactly; UsageError G80 for what is none, or an absurd one."""
    mantissa, _, exponent = word.text.lower().partition("e")
    if not NUMBER.fullmatch(word.text):
        raise source.error(f"expected a number, found {shown(word.text)}", word.at)
    if abs(int(exponent or "0")) > MAX_EXPONENT:
        raise source.error(f"the exponent of {shown(word.text)} is beyond {MAX_EXPONENT}", word.at)
    return Fraction(mantissa) * Fraction(10) ** int(exponent or "0")


class Terms:
    """Reads formulas; `lookup` knows the unknowns."""

    def __init__(self, source: QuerySource, lookup: Lookup) -> None:
        self._source, self._lookup = source, lookup

    # ── formulas ───────────────────────────────────────────────────────────────────────────────
    def formula(self, node: Node, positive: bool = True) -> Formula:
        """The formula, or (not positive) its negation."""
        if isinstance(node, Word):
            if node.text in ("true", "false"):
                return TRUE if (node.text == "true") == positive else FALSE
            raise self._source.error(f"expected a formula, found {shown(node.text)}", node.at)
        head, items = self._headed(node)
        match head:
            case "and" | "or":
                if not items:
                    raise self._source.error(f"{head} of nothing", node.at)
                parts = tuple(self.formula(item, positive) for item in items)
                return AllOf(parts) if (head == "and") == positive else AnyOf(parts)
            case "not" if len(items) == 1:
                return self.formula(items[0], not positive)
            case "=>" if len(items) == 2:
                parts = (self.formula(items[0], not positive), self.formula(items[1], positive))
                return AnyOf(parts) if positive else AllOf(parts)
            case _ if head in COMPARISONS:
                return self._comparison(head, node, items, positive)
        raise self._source.error(
            f"expected a formula, found ({shown(head)} …", node.at, help="known: and, or, not, =>, <=, >=, <, >, =="
        )

    def _comparison(self, operator: str, node: Group, items: Sequence[Node], positive: bool) -> Formula:
        """`a <= b`; `(<= a b c)` says it of all neighbours."""
        sides = [self._term(*operand) for operand in self._operands(items)]
        if len(sides) < 2 or (len(sides) > 2 and operator in ("!=", "distinct")):
            raise self._source.error(f"{operator} compares two terms", node.at)
        parts = tuple(
            self._compared(OPPOSITE[operator] if not positive else operator, a, b, node.at) for a, b in pairwise(sides)
        )
        if len(parts) == 1:
            return parts[0]
        return AllOf(parts) if positive else AnyOf(parts)

    def _compared(self, operator: str, left: Linear, right: Linear, at: int) -> Formula:
        difference = Linear(left.constant, dict(left.terms))
        self._accumulate(difference, (right,), Fraction(-1), at)
        if any(abs(number) > LARGEST for number in difference.numbers()):
            raise self._source.error("a number beyond 1e60", at, help="rescale the query")
        more, less = difference, difference.scaled(Fraction(-1))
        match operator:
            case ">=" | ">":
                return _atom(more, strict=operator == ">")
            case "<=" | "<":
                return _atom(less, strict=operator == "<")
            case "=" | "==":
                return AllOf((_atom(more, strict=False), _atom(less, strict=False)))
            case _:
                return AnyOf((_atom(more, strict=True), _atom(less, strict=True)))

    # ── terms ──────────────────────────────────────────────────────────────────────────────────
    def _operands(self, items: Sequence[Node]) -> Iterator[tuple[Node, Group | None]]:
        """Each term, a word with the indices that follow it."""
        index = 0
        while index < len(items):
            node = items[index]
            following = items[index + 1] if index + 1 < len(items) else None
            indices = following if isinstance(following, Group) and following.kind == "[" else None
            yield node, indices
            index += 1 if indices is None else 2

    def _term(self, node: Node, indices: Group | None) -> Linear:
        if isinstance(node, Word):
            if NUMBER.fullmatch(node.text) and indices is None:
                return Linear(number(self._source, node))
            return Linear(terms={self._lookup(node, indices): Fraction(1)})
        head, items = self._headed(node)
        parts = [self._term(*operand) for operand in self._operands(items)]
        if not parts or indices is not None:
            raise self._source.error(f"{shown(head)} of nothing", node.at)
        result = parts[0]
        match head:
            case "+":
                self._accumulate(result, parts[1:], Fraction(1), node.at)
            case "-":
                result = result.scaled(Fraction(-1)) if len(parts) == 1 else result
                self._accumulate(result, parts[1:], Fraction(-1), node.at)
            case "*":
                for part in parts[1:]:
                    result = self._product(result, part, node.at)
            case "/" if len(parts) == 2 and not parts[1].terms and parts[1].constant != 0:
                result = result.scaled(1 / parts[1].constant)
                self._bounded(result.numbers(), node.at)
            case _:
                raise self._source.error(
                    f"expected a linear term, found ({shown(head)} …", node.at, help="known: + - *"
                )
        return result

    def _accumulate(self, total: Linear, parts: Sequence[Linear], factor: Fraction, at: int) -> None:
        for part in parts:
            total.add(part, factor)
            self._bounded((total.constant, *(total.terms[unknown] for unknown in part.terms)), at)

    def _product(self, a: Linear, b: Linear, at: int) -> Linear:
        if a.terms and b.terms:
            raise Unsupported(
                "X34",
                self._source.error("a product of two unknowns is not linear", at).message,
                help="only linear queries can be answered",
            )
        product = a.scaled(b.constant) if not b.terms else b.scaled(a.constant)
        self._bounded(product.numbers(), at)
        return product

    def _bounded(self, numbers: Iterable[Fraction], at: int) -> None:
        for number in numbers:
            if max(number.numerator.bit_length(), number.denominator.bit_length()) > MAX_BITS:
                raise self._source.error("numbers grow beyond all bounds here", at, help="write the values out")

    def _headed(self, group: Group) -> tuple[str, tuple[Node, ...]]:
        if group.kind != "(" or not group.items or not isinstance(group.items[0], Word):
            raise self._source.error("expected ( and an operator", group.at)
        return group.items[0].text, group.items[1:]


def _atom(linear: Linear, *, strict: bool) -> Formula:
    terms = sorted((u, c) for u, c in linear.terms.items() if c)
    if not terms:
        return TRUE if linear.constant > 0 or (linear.constant == 0 and not strict) else FALSE
    inputs = tuple((number, c) for (is_output, number), c in terms if not is_output)
    outputs = tuple((number, c) for (is_output, number), c in terms if is_output)
    return AffineAtom(Affine(linear.constant, inputs, outputs), strict)
