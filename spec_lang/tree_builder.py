"""Parse tree to syntax tree, bottom-up: one small method per grammar rule.

Each method gets the values of the rule's children (tokens, nodes, tuples) in source order, punctuation included, so
that a node's span is simply that of its first to its last child. Mistakes that the grammar cannot see (a
reserved name, an oversized number) are collected in `errors`; building goes on with a harmless stand-in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, Literal, cast

from lark import Token, Tree

from rewarden.spec_lang import limits, syntax
from rewarden.spec_lang.errors import Diagnostic, Label
from rewarden.spec_lang.numerals import normalised
from rewarden.spec_lang.source import Source, Span

Values = list[Any]  # what the children of one rule became; each method knows its rule's shape


class TreeBuilder:
    """Mutable while one tree is built: it collects errors.

    What was parsed is `source` after `before` characters of a first line that are not the user's.
    """

    def __init__(self, source: Source, keywords: frozenset[str], before: int = 0) -> None:
        self.source = source
        self.keywords = keywords
        self.before = before
        self.errors: list[Diagnostic] = []
        self._grouped: dict[int, tuple[syntax.Expr, Span]] = {}  # by identity, which lasts while the node is kept here

    def build(self, tree: Tree[Token]) -> syntax.SpecFile:
        """The syntax tree; iterative (`iter_subtrees` yields children before parents)."""
        built: dict[int, Any] = {}
        for node in tree.iter_subtrees():
            values = [built.pop(id(c)) if isinstance(c, Tree) else c for c in node.children]
            method: Callable[[Values], Any] = getattr(self, f"_{node.data}")
            built[id(node)] = method(values)
        return cast(syntax.SpecFile, built[id(tree)])

    # ── spans, names, numbers ──────────────────────────────────────────────────────────────────
    def _span(self, values: Sequence[Any]) -> Span:
        return self._of(values[0]).to(self._of(values[-1]))

    def _of(self, value: object) -> Span:
        """The span of a token, a node, or a list of values. Parentheses around a node are no part of it, but of what
        is built from it: `(-1) * x` begins with a parenthesis."""
        if isinstance(value, Token):
            start, end, line, column = value.start_pos or 0, value.end_pos or 0, value.line or 1, value.column or 1
            column = max(1, column - self.before) if line == 1 else column
            return Span(self.source, max(0, start - self.before), max(0, end - self.before), line, column)
        if isinstance(value, Span):
            return value
        if isinstance(value, (list, tuple)):
            return self._span(value)
        if id(value) in self._grouped:
            return self._grouped[id(value)][1]
        return cast(Any, value).span  # type: ignore[no-any-return]

    def _error(self, code: str, message: str, span: Span, help: str | None = None) -> None:
        self.errors.append(Diagnostic(code, message, (Label(span),), help=help))

    def _named(self, token: Token) -> str:
        text = str(token)
        if text in self.keywords:
            self._error("P03", f"`{text}` is a reserved word", self._of(token), "choose another name")
        return text

    def _value(self, token: Token) -> Fraction:
        """A literal's exact value, within the limits (0 stands in for one beyond them)."""
        text = str(token)
        power = text.lower().partition("e")[2].lstrip("+-")
        digits, exponent = ("", 0)
        if len(text) <= limits.NUMBER_TEXT and len(power) <= 4:
            digits, exponent = normalised(text)
        if len(text) > limits.NUMBER_TEXT or len(power) > 4 or not self._moderate(digits, exponent):
            help = f"a number has at most {limits.NUMBER_DIGITS} digits and an exponent of at most {limits.EXPONENT}"
            self._error("P07", "this number is too long or too large", self._of(token), help)
            return Fraction(0)
        return Fraction(text)

    @staticmethod
    def _moderate(digits: str, exponent: int) -> bool:
        return len(digits) <= limits.NUMBER_DIGITS and abs(exponent) <= limits.EXPONENT

    def _text(self, token: Token) -> str:
        return re.sub(r"\\(.)", r"\1", str(token)[1:-1])

    def _unit_of(self, values: Sequence[Any]) -> tuple[str | None, Span | None]:
        for value in values:
            if isinstance(value, Token) and value.type == "UNIT":
                inner = " ".join(str(value)[1:-1].split())
                if len(inner) > limits.UNIT_LENGTH:
                    self._error("U06", "this unit is too long", self._of(value))
                    inner = "1"
                return inner, self._of(value)
        return None, None

    # ── file and declarations ──────────────────────────────────────────────────────────────────
    def _start(self, v: Values) -> syntax.SpecFile:
        name, span = v[0]
        return syntax.SpecFile(name, tuple(v[1:]), span)

    def _spec(self, v: Values) -> tuple[str, Span]:
        if str(v[2]) != "v1":
            self._error("P04", f"unknown language version {v[2]}", self._of(v[2]), "write v1")
        return self._named(v[1]), self._span(v)

    def _features(self, v: Values) -> syntax.FeaturesDecl:
        fields = tuple(x for x in v[3:-1] if isinstance(x, syntax.FieldDecl))
        return syntax.FeaturesDecl(self._named(v[1]), fields, self._span(v), self._of(v[1]))

    def _feature(self, v: Values) -> syntax.FieldDecl:
        kind: dict[str, Any] = v[2][1]
        name = self._named(v[0])
        return syntax.FieldDecl(name=name, span=self._of(v[0]).to(v[2][0]), name_span=self._of(v[0]), **kind)

    def _number_kind(self, v: Values) -> tuple[Span, dict[str, Any]]:
        unit, unit_span = self._unit_of(v)
        sizes = [x[1] for x in v if isinstance(x, tuple) and x[0] == "size"]
        spans = [x for x in v if isinstance(x, tuple) and x[0] == "range"]
        end = spans[0][1] if spans else self._of(v[-1]) if isinstance(v[-1], Token) else self._of(v[0])
        kind = {
            "kind": str(v[0]),
            "size": sizes[0] if sizes else None,
            "unit": unit,
            "unit_span": unit_span,
            "range": spans[0][2] if spans else None,
            "cases": (),
        }
        return self._of(v[0]).to(end), kind

    def _bool_kind(self, v: Values) -> tuple[Span, dict[str, Any]]:
        return self._of(v[0]), {"kind": "bool", "size": None, "unit": None, "range": None, "cases": ()}

    def _enum_kind(self, v: Values) -> tuple[Span, dict[str, Any]]:
        cases = tuple(self._named(x) for x in v[2:-1] if x.type == "NAME")
        if len(cases) > limits.ENUM_CASES:
            self._error("P09", f"an enum has at most {limits.ENUM_CASES} cases", self._of(v[0]))
        return self._span(v), {"kind": "enum", "size": None, "unit": None, "range": None, "cases": cases}

    def _vector(self, v: Values) -> tuple[str, int]:
        size = self._value(v[1])
        if size.denominator != 1 or not 2 <= size <= limits.VECTOR_SIZE:
            help = f"the size is a whole number from 2 to {limits.VECTOR_SIZE}"
            self._error("P09", f"a vector of size {v[1]}"[:60], self._of(v[1]), help)
            return "size", 2
        return "size", int(size)

    def _interval(self, v: Values) -> tuple[str, Span, tuple[Fraction, Fraction]]:
        (lo, first), (hi, last) = v[1], v[3]
        return "range", first.to(last), (lo, hi)

    def _bound(self, v: Values) -> tuple[Fraction, Span]:
        value = self._value(v[-1])
        return (-value if len(v) == 2 else value), self._span(v)

    def _qualified(self, v: Values) -> syntax.Name:
        """`Step`, or `v.Step` for what a used file declares."""
        return syntax.Name(".".join(self._named(x) for x in v[::2]), self._span(v))

    def _assume(self, v: Values) -> syntax.AssumeDecl:
        return syntax.AssumeDecl(self._param_of(v[1], v[3]), v[5], self._span(v))

    def _param_of(self, name: Token, type_name: syntax.Name) -> syntax.Param:
        return syntax.Param(self._named(name), type_name.name, self._of(name), type_name.span)

    def _reward(self, v: Values) -> syntax.RewardSymbol:
        return syntax.RewardSymbol(self._named(v[1]), v[3], self._span([v[0], v[4]]), self._of(v[1]))

    def _params(self, v: Values) -> tuple[syntax.Param, ...]:
        return tuple(p for group in v if isinstance(group, tuple) for p in group)

    def _group(self, v: Values) -> tuple[syntax.Param, ...]:
        names = [x for x in v[:-2] if x.type == "NAME"]
        return tuple(self._param_of(name, v[-1]) for name in names)

    def _data_single(self, v: Values) -> syntax.DataSymbol:
        members = (("", v[3].name),)
        return syntax.DataSymbol(self._named(v[1]), members, self._text(v[5]), self._span(v), self._of(v[1]))

    def _data_tuple(self, v: Values) -> syntax.DataSymbol:
        members = tuple((p.name, p.type_name) for p in v[4])
        return syntax.DataSymbol(self._named(v[1]), members, self._text(v[7]), self._span(v), self._of(v[1]))

    def _param(self, v: Values) -> syntax.ParamDecl:
        span, kind = v[3]
        if kind["size"] is not None:
            help = "declare one param per element: a vector feature is compared element by element, as in x.e[0] <= p0"
            self._error("T22", "a param is a single value: the language has no way to write a vector", span, help)
        return syntax.ParamDecl(
            name=self._named(v[1]),
            kind=kind["kind"],
            unit=kind["unit"],
            value=v[-1],
            span=self._span(v),
            name_span=self._of(v[1]),
            unit_span=kind.get("unit_span"),
            cases=kind["cases"],
        )

    def _definition(self, v: Values) -> syntax.Definition:
        kind = cast('Literal["let", "region", "relation"]', str(v[0]))
        return syntax.Definition(kind, self._named(v[1]), v[3], v[6], self._span(v), self._of(v[1]))

    def _use(self, v: Values) -> syntax.UseDecl:
        return syntax.UseDecl(self._text(v[1]), self._named(v[3]), self._span(v), self._of(v[3]))

    def _example(self, v: Values) -> syntax.ExampleDecl:
        return syntax.ExampleDecl(self._named(v[2]), tuple(v[4:]), self._of(v[0]).to(self._of(v[2])), self._of(v[2]))

    def _example_case(self, v: Values) -> syntax.ExampleCase:
        kind = cast('Literal["covers", "ignores"]', str(v[0]))
        records = tuple(x for x in v[1:] if isinstance(x, syntax.Binding))
        return syntax.ExampleCase(kind, records, self._span(v))

    def _binding(self, v: Values) -> syntax.Binding:
        return syntax.Binding(self._named(v[0]), v[2][0], self._of(v[0]).to(v[2][1]))

    # ── rules ──────────────────────────────────────────────────────────────────────────────────
    def _rule(self, v: Values) -> syntax.RuleDecl:
        parts: dict[str, Any] = {"given": None, "confidence": None, "weight": None}
        parts |= {"requirement": None, "because": None}
        end = v[3]
        for key, value, span in v[4:]:
            if parts.get(key) is not None:
                self._error("P01", f"a rule has one `{'id' if key == 'requirement' else key}`", span)
            parts[key] = value
            end = span
            if key == "expect":
                parts["expect"], parts["confidence"] = value
        span = self._of(v[0]).to(self._of(end))
        severity = cast('Literal["must", "should"]', str(v[0]))
        title = self._title(span.start)
        return syntax.RuleDecl(
            severity=severity,
            name=self._named(v[1]),
            title=title,
            quantifier=v[3],
            span=span,
            name_span=self._of(v[1]),
            **parts,
        )

    def _title(self, start: int) -> str:
        """The `---` lines directly above the rule's line; blank lines and `#` comments may stand between."""
        text = self.source.text
        found: list[str] = []
        if text[text.rfind("\n", 0, start) + 1 : start].strip():
            return ""  # the title above belongs to what begins the line
        end = text.rfind("\n", 0, start)  # of the line above, and so on upwards
        while end >= 0:
            begin = text.rfind("\n", 0, end) + 1
            line = text[begin:end]
            if line.startswith("---"):
                found.append(line[3:].strip())
            elif line.strip() and not line.lstrip().startswith("#"):
                break
            end = begin - 1
        return " ".join(part for part in reversed(found) if part)

    def _given(self, v: Values) -> tuple[str, syntax.Expr, Span]:
        return "given", v[1], self._span(v)

    def _expect(self, v: Values) -> tuple[str, tuple[syntax.Expr, syntax.Expr | None], Span]:
        confidence = v[2][0] if len(v) == 3 else None
        return "expect", (v[1], confidence), self._of(v[0]).to(self._of(v[1]))

    def _confidence(self, v: Values) -> tuple[syntax.Expr]:
        return (v[1],)

    def _weight(self, v: Values) -> tuple[str, syntax.Expr, Span]:
        return "weight", v[1], self._span(v)

    def _requirement(self, v: Values) -> tuple[str, str, Span]:
        return "requirement", self._text(v[1]), self._span(v)

    def _because(self, v: Values) -> tuple[str, str, Span]:
        return "because", self._text(v[1]), self._span(v)

    def _forall(self, v: Values) -> syntax.Forall:
        varying: tuple[syntax.Name, ...] = v[2] if len(v) == 3 else ()
        return syntax.Forall(v[1], varying, self._of(v[0]).to(self._of((varying or v[1])[-1])))

    def _varying(self, v: Values) -> tuple[syntax.Name, ...]:
        return tuple(syntax.Name(self._named(x), self._of(x)) for x in v if x.type == "NAME")

    def _near(self, v: Values) -> syntax.Near:
        norm: Literal["linf", "l1", "l2"] = "linf"
        if len(v) == 7:
            norm = v[6]
        if len(v[1]) != 1:
            self._error("T14", "`near` takes one record", self._of(v[1][1]))
        radius = v[5][0] if isinstance(v[5], tuple) else v[5]
        return syntax.Near(v[1][0], v[3], radius, norm, self._of(v[0]).to(v[3].span))

    def _not_near(self, v: Values) -> syntax.Quantifier:
        near = self._near([*v[:2], *v[3:]])
        if near.norm != "linf":
            help = f"leave out `in {near.norm}`: a record is not near the rows where it is in no box around one"
            self._error("T14", "`not near` takes no norm", near.span, help)
        return replace(near, norm="linf", away=True)

    def _norm(self, v: Values) -> str:
        if str(v[1]) not in ("linf", "l1", "l2"):
            self._error("P01", f"unknown norm {v[1]}"[:60], self._of(v[1]), "write linf, l1 or l2")
            return "linf"
        return str(v[1])

    def _rows(self, v: Values) -> syntax.ForallRows:
        return syntax.ForallRows(self._named(v[1]), v[3], self._span(v), self._of(v[1]))

    def _trace(self, v: Values) -> syntax.Trace:
        relation: syntax.Name | None = v[7] if len(v) == 8 else None
        span = self._of(v[0]).to(self._of(v[6]))
        return syntax.Trace(self._param_of(v[1], v[3]), str(v[4]) == "of", v[5], relation, span)

    def _cycle(self, v: Values) -> syntax.Cycle:
        return syntax.Cycle(self._param_of(v[1], v[3]), v[4], self._of(v[0]).to(self._of(v[3])))

    def _via(self, v: Values) -> syntax.Name:
        return cast(syntax.Name, v[1])

    # ── expressions ────────────────────────────────────────────────────────────────────────────
    def _implies(self, v: Values) -> syntax.Implies:
        return syntax.Implies(v[0], v[2], self._span(v))

    def _either(self, v: Values) -> syntax.Connective:
        return syntax.Connective("or", tuple(v[::2]), self._span(v))

    def _both(self, v: Values) -> syntax.Connective:
        return syntax.Connective("and", tuple(v[::2]), self._span(v))

    def _negated(self, v: Values) -> syntax.Not:
        return syntax.Not(v[1], self._span(v))

    def _temporal(self, v: Values) -> syntax.Temporal:
        return syntax.Temporal(cast('Literal["always", "eventually"]', str(v[0])), v[1], self._span(v))

    def _compare(self, v: Values) -> syntax.Compare:
        rest = tuple((cast(syntax.CompareOp, str(op)), e) for op, e in zip(v[1::2], v[2::2], strict=True))
        return syntax.Compare(v[0], rest, self._span(v))

    def _arithmetic(self, v: Values) -> syntax.Arithmetic:
        rest = tuple((cast(syntax.ArithmeticOp, str(op)), e) for op, e in zip(v[1::2], v[2::2], strict=True))
        return syntax.Arithmetic(v[0], rest, self._span(v))

    def _negative(self, v: Values) -> syntax.Negate:
        return syntax.Negate(v[1], self._span(v))

    def _magnitude(self, v: Values) -> syntax.Abs:
        return syntax.Abs(v[1], self._span(v))

    def _number(self, v: Values) -> syntax.Number:
        unit, _ = self._unit_of(v)
        percent = len(v) == 2 and v[1].type == "PERCENT"
        return syntax.Number(self._value(v[0]), unit, percent, self._span(v))

    def _name(self, v: Values) -> syntax.Name:
        return syntax.Name(self._named(v[0]), self._of(v[0]))

    def _truth(self, v: Values) -> syntax.Truth:
        return syntax.Truth(str(v[0]) == "true", self._of(v[0]))

    def _apply(self, v: Values) -> syntax.Apply:
        arguments: tuple[syntax.Expr, ...] = v[2] if len(v) == 4 else ()
        name = syntax.dotted(v[0])
        if name is None:
            help = "functions, rewards and definitions are applied by name: R(s)"
            self._error("P01", "only a name can be applied", self._of(v[0]), help)
        return syntax.Apply(name or "_", arguments, self._span([v[0], v[-1]]), self._of(v[0]))

    def _arguments(self, v: Values) -> tuple[syntax.Expr, ...]:
        return tuple(v[::2])

    def _discounted(self, v: Values) -> syntax.Discounted:
        return syntax.Discounted(v[0], v[2], self._span(v))

    def _field(self, v: Values) -> syntax.Field:
        return syntax.Field(v[0], self._named(v[2]), self._span(v), self._of(v[2]))

    def _index(self, v: Values) -> syntax.Index:
        value = self._value(v[2])
        if value.denominator != 1 or value >= limits.VECTOR_SIZE or not str(v[2]).isdigit():
            self._error("P10", "an index is a whole number, counted from 0", self._of(v[2]))
            value = Fraction(0)
        return syntax.Index(v[0], int(value), self._span(v))

    def _with_updates(self, v: Values) -> syntax.With:
        return syntax.With(v[0], v[2][0], self._of(v[0]).to(v[2][1]))

    def _group_expr(self, v: Values) -> syntax.Expr:
        inner = cast(syntax.Expr, v[1])
        self._grouped[id(inner)] = inner, self._span(v)
        return inner

    def _conditional(self, v: Values) -> syntax.If:
        return syntax.If(v[2], v[4], v[6], self._span(v))

    def _updates(self, v: Values) -> tuple[tuple[syntax.Update, ...], Span]:
        updates = tuple(x for x in v if isinstance(x, syntax.Update))
        return updates, self._span(v)

    def _update(self, v: Values) -> syntax.Update:
        return syntax.Update(self._named(v[0]), v[2], self._span(v))
