"""Text to syntax tree.

lark's LALR parser with the contextual lexer makes a plain tree; `tree_builder.py` turns it into `syntax.py`'s
nodes, bottom-up and without recursion. After a syntax error the item that holds it is blanked out and the rest is
read, so that every syntax error of a file is reported at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files

from lark import Lark, Token, UnexpectedCharacters, UnexpectedInput, UnexpectedToken
from lark.lark import PostLex
from lark.lexer import PatternStr

from rewarden.spec_lang import limits, syntax
from rewarden.spec_lang.diagnostics import did_you_mean
from rewarden.spec_lang.errors import Diagnostic, Label, SpecError
from rewarden.spec_lang.source import Source, Span
from rewarden.spec_lang.tree_builder import TreeBuilder

ITEM_LINE = re.compile(
    r"^(features|assume|reward|data|param|let|region|relation|use|example|must|should)\b", re.MULTILINE
)
_RANGE_END = re.compile(r"(\bin|\.\.)\s*-?\s*[0-9.eE+-]+$")
# What no file needs and what makes a comment look like a rule, or a rule like a comment: controls, ends of lines that
# are none here, and marks that turn the direction of writing.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_OPERATORS = {"PLUS", "MINUS", "STAR", "SLASH", "LT", "LE", "GT", "GE", "EQ", "NE", "AND", "OR", "IMPLIES"}
_EXPRESSION = {"NAME", "NUMBER", "LPAR", "VBAR", "MINUS"}
_EXPRESSION_TOO = {"NOT", "ALWAYS", "EVENTUALLY", "TRUE", "FALSE"}
_ITEMS = {"FEATURES", "ASSUME", "REWARD", "DATA", "PARAM", "LET", "REGION", "MUST", "SHOULD"}
_ITEMS_TOO = {"RELATION", "USE", "EXAMPLE"}
_WORDS = {
    "NAME": "a name",
    "NUMBER": "a number",
    "STRING": "a text in double quotes",
    "UNIT": "a unit such as [m/s]",
    "$END": "the end of the file",
}


class _WholeWords(PostLex):
    """Reads every word to its end. Where no name can stand, the contextual lexer knows the keywords alone, and
    would take `expects` for `expect s`; with NAME among what it knows, a keyword is a keyword only as a whole word."""

    always_accept = ("NAME",)

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        return stream


@lru_cache(maxsize=1)
def grammar() -> Lark:
    """The parser, built once per process."""
    return Lark(
        files("rewarden.spec_lang").joinpath("grammar.lark").read_text("utf-8"),
        parser="lalr",
        lexer="contextual",
        postlex=_WholeWords(),
        keep_all_tokens=True,
        maybe_placeholders=False,
    )


@lru_cache(maxsize=1)
def keywords() -> frozenset[str]:
    """The reserved words: every word the grammar spells out."""
    literal = (t.pattern.value for t in grammar().terminals if isinstance(t.pattern, PatternStr))
    return frozenset(word for word in literal if word.isalpha())


def decode(raw: bytes, name: str) -> Source:
    """A spec file's bytes as text (a byte-order mark and CR line ends are accepted); SpecError P05, P08."""
    if len(raw) > limits.TEXT_BYTES:
        raise _too_large(Source(name, ""))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", errors="replace")
        shown = Source(name, raw.decode("utf-8", errors="replace"))
        label = Label(_at(shown, len(before), len(before) + 1), f"byte 0x{raw[error.start]:02x}")
        raise SpecError(
            (Diagnostic("P08", "this is not UTF-8 text", (label,), help="save the file as UTF-8"),)
        ) from None
    return Source(name, text.replace("\r\n", "\n").replace("\r", "\n"))


def parse(source: Source) -> syntax.SpecFile:
    """The syntax tree of a spec; SpecError with all P diagnostics."""
    tree, errors = parse_partial(source)
    if errors:
        raise SpecError(errors)
    assert tree is not None, "a text without errors has a tree"
    return tree


def parse_partial(source: Source) -> tuple[syntax.SpecFile | None, tuple[Diagnostic, ...]]:
    """The items that can be read, beside the P diagnostics in source order (an editor's text is mostly broken).

    None where nothing can be relied on: a text that is too large or nested too deeply, or without its first line.
    """
    try:
        _check_size(source)
        _check_seen(source)
        _check_brackets(source)
    except SpecError as error:
        return None, error.diagnostics
    text = source.text
    errors: list[Diagnostic] = []
    while True:
        try:
            tree = grammar().parse(text)
            break
        except UnexpectedInput as error:
            early = _next_item(text, error)
            errors.append(_explain(error, source) if early is None else _too_early(text, early, source))
            following = _blank_item(text, error, early)
            if following is None or len(errors) >= limits.SYNTAX_ERRORS:
                return None, tuple(errors)
            text = following
    builder = TreeBuilder(source, keywords())
    result = builder.build(tree)
    found = tuple(sorted(errors + builder.errors, key=lambda d: d.labels[0].span.start))
    try:
        _check_depth(result)
    except SpecError as error:
        return None, found or error.diagnostics
    return result, found


def parse_expression(source: Source) -> syntax.Expr:
    """A single expression, such as a parameter's value from the command line; SpecError."""
    prefix = "spec _ v1 param _ : real = "
    inner = Source(source.name, prefix + source.text)
    try:
        parse(inner)
    except SpecError as error:
        moved = tuple(_shifted(d, source, len(prefix)) for d in error.diagnostics)
        raise SpecError(moved) from None
    match TreeBuilder(source, keywords(), len(prefix)).build(grammar().parse(inner.text)).items:
        case (syntax.ParamDecl(value=value),):
            return value
    raise SpecError((Diagnostic("P01", "expected one expression", (Label(_at(source, 0, len(source.text))),)),))


# ── errors ─────────────────────────────────────────────────────────────────────────────────────
def _at(source: Source, start: int, end: int) -> Span:
    start = min(start, len(source.text))
    line = source.text.count("\n", 0, start) + 1
    column = start - (source.text.rfind("\n", 0, start) + 1) + 1
    return Span(source, start, max(start, min(end, len(source.text))), line, column)


def _shifted(diagnostic: Diagnostic, source: Source, by: int) -> Diagnostic:
    labels = tuple(
        Label(_at(source, max(0, d.span.start - by), max(0, d.span.end - by)), d.text) for d in diagnostic.labels
    )
    return Diagnostic(diagnostic.code, diagnostic.message, labels, diagnostic.related, diagnostic.help)


def _check_size(source: Source) -> None:
    try:
        size = len(source.text.encode("utf-8"))
    except UnicodeEncodeError as error:
        label = Label(_at(source, error.start, error.start + 1))
        message = "half of a surrogate pair is no character"
        raise SpecError((Diagnostic("P08", message, (label,), help="save the file as UTF-8"),)) from None
    if size > limits.TEXT_BYTES:
        raise _too_large(source)


def _check_seen(source: Source) -> None:
    """Refuses characters by which an editor shows another text than the one that is read, in comments and titles.
    Elsewhere the lexer does; texts in quotes may hold any, and whoever prints them makes them harmless."""
    for part in re.finditer(r'(?<![^\n])---[^\n]*|#[^\n]*|"(?:[^"\\\n]|\\["\\])*"', source.text):
        found = None if part[0].startswith('"') else _UNSEEN.search(source.text, part.start(), part.end())
        if found is None:
            continue
        label = Label(_at(source, found.start(), found.end()))
        message = f"the character U+{ord(found[0]):04X} has no place in a comment"
        help = "remove it: it is not seen, and what is seen may then be another text than what is read"
        raise SpecError((Diagnostic("P02", message, (label,), help=help),))


def _too_large(source: Source) -> SpecError:
    message = f"a spec is at most {limits.TEXT_BYTES} bytes"
    return SpecError((Diagnostic("P05", message, (Label(Span(source, 0, 0, 1, 1)),)),))


def _nested(span: Span) -> SpecError:
    message = f"nested more than {limits.NESTING} deep"
    return SpecError((Diagnostic("P06", message, (Label(span),), help="name the inner parts with let or region"),))


def _check_brackets(source: Source) -> None:
    """Refuses deep nesting before the parser meets it."""
    depth = 0
    for match in re.finditer(r'#[^\n]*|"[^"\n]*"|[({\[]|[)}\]]', source.text):
        mark = match[0]
        depth += (mark in "({[") - (mark in ")}]")
        if depth > limits.NESTING:
            raise _nested(_at(source, match.start(), match.end()))


def _check_depth(tree: syntax.SpecFile) -> None:
    """Refuses trees that a recursive pass could not walk (`not not not …` nests without brackets)."""
    for item in tree.items:
        for root in syntax.item_expressions(item):
            level = [root]
            for _ in range(limits.NESTING):
                level = [child for node in level for child in syntax.children(node)]
                if not level:
                    break
            else:
                raise _nested(root.span)


def _explain(error: UnexpectedInput, source: Source) -> Diagnostic:
    """A lark error in words."""
    match error:
        case UnexpectedToken(token=Token(type="$END"), accepts=accepts):
            end = len(source.text.rstrip())
            label = Label(_at(source, max(0, end - 1), end))
            return Diagnostic("P01", f"the file ends too early: expected {_expected(accepts)}", (label,))
        case UnexpectedToken(token=token, accepts=accepts):
            word = _last_read(error)
            if word is not None and str(word) in keywords():
                label = Label(_at(source, word.start_pos or 0, word.end_pos or 0))
                message = f"the reserved word `{word}` has no place here"
                return Diagnostic("P03", message, (label,), help=_in_group(word))
            start = token.start_pos or 0
            label = Label(_at(source, start, start + len(token)))
            message = f"expected {_expected(accepts)}, found {_shown(token)}"
            return Diagnostic("P01", message, (label,), help=_advice(token, set(accepts), source))
        case UnexpectedCharacters():
            position = error.pos_in_stream or 0
            character = source.text[position]
            label = Label(_at(source, position, position + 1))
            return Diagnostic("P02", f"{character!r} has no place here", (label,), help=_character_advice(character))
    raise AssertionError(f"unforeseen parser error {type(error).__name__}")


def _shown(token: Token) -> str:
    text = str(token)
    short = text if len(text) <= 40 else text[:37] + "..."
    return f"the reserved word `{text}`" if text in keywords() else f"`{short}`"


def _expected(accepts: set[str] | None) -> str:
    """The acceptable terminals in words: `an expression`, `given` or `expect`."""
    names = set(accepts or ())
    words: list[str] = []
    if names >= _EXPRESSION:
        names -= _EXPRESSION | _EXPRESSION_TOO
        words.append("an expression")
    if names >= _ITEMS:
        names -= _ITEMS | _ITEMS_TOO
        words.append("a declaration or a rule")
    if len(names & _OPERATORS) > 3:
        names -= _OPERATORS | {"DOT", "LSQB", "WITH", "LPAR"}
        words.append("an operator")
    spelled = {t.name: t.pattern for t in grammar().terminals}
    for name in sorted(names):
        pattern = spelled.get(name)
        words.append(f"`{pattern.value}`" if isinstance(pattern, PatternStr) else _WORDS.get(name, name.lower()))
    if len(words) > 8:
        words = [*words[:8], "…"]
    return " or ".join(words) if len(words) < 3 else ", ".join(words[:-1]) + f" or {words[-1]}"


def _in_group(word: Token) -> str:
    """What looser words need where an operand is expected, as in `a == not b`."""
    match str(word):
        case "if":
            return "write it in parentheses: (if c then x else y)"
        case "not" | "always" | "eventually":
            return f"write it in parentheses: ({word} …)"
    return "choose another name"


def _advice(token: Token, accepts: set[str], source: Source) -> str | None:
    before = source.text[: token.start_pos or 0].rstrip()
    if accepts == {"MINUS", "NUMBER"}:
        return "the ends of a range are finite numbers"
    match token.type:
        case "UNIT" if _RANGE_END.search(before):
            return "a range is in its feature's own unit: real [m] in 0 .. 5"
        case "UNIT" | "LSQB":
            return "a unit stands after a literal number or a type; elsewhere brackets index a vector, as in x.e[3]"
        case "EQUAL":
            return "equality is written =="
        case "TITLE":
            return "a title stands above a rule"
    if str(token) in keywords() and "NAME" in accepts:
        return f"`{token}` is reserved: choose another name"
    if before.endswith("[") or (token.type == "NAME" and "NUMBER" in accepts and "RSQB" in accepts):
        return "a unit stands after a literal number or a type; elsewhere brackets index a vector, as in x.e[3]"
    return did_you_mean(token.lower(), _accepted_words(accepts)) if token.type == "NAME" else None


def _accepted_words(accepts: set[str]) -> list[str]:
    """The keywords among acceptable terminals."""
    spelled = {t.name: str(t.pattern.value) for t in grammar().terminals}
    return [spelled[name] for name in accepts if spelled.get(name) in keywords()]


def _character_advice(character: str) -> str | None:
    match character:
        case "&" | "!" | "~":
            return "connectives are the words and, or, not, implies"
        case "'" | '"':
            return "a text stands in double quotes, on one line"
        case "≤" | "≥" | "≠" | "−" | "·" | "×":
            return "comparisons are < <= > >= == != and operators + - * /"
    return None


def _next_item(text: str, error: UnexpectedInput) -> int | None:
    """Where an item starts that the parser met before the one above it was finished.

    Its first word may have been taken for a name, where a name could stand: then the word after it is the error.
    """
    if not isinstance(error, UnexpectedToken) or error.token.type == "$END" or error.accepts == {"SPEC"}:
        return None
    starts = {m.start() for m in ITEM_LINE.finditer(text)}
    words = [word for word in (_last_read(error), error.token) if word is not None]
    return next((word.start_pos for word in words if word.start_pos in starts), None)


def _last_read(error: UnexpectedToken) -> Token | None:
    """The name that the parser took just before it met the error."""
    stack = error.interactive_parser.parser_state.value_stack if error.interactive_parser else []
    last = stack[-1] if stack else None
    return last if isinstance(last, Token) and last.type == "NAME" else None


def _too_early(text: str, start: int, source: Source) -> Diagnostic:
    """The item above `start` is not finished; said at its last token."""
    above = max((m.start() for m in ITEM_LINE.finditer(text, 0, start)), default=0)
    before = grammar().parse_interactive(("spec _ v1 " if above else "") + text[above:start])
    before.exhaust_lexer()
    found = re.finditer(r"(?<![^\n])---[^\n]*|#[^\n]*|(\"[^\"\n]*\"|[A-Za-z0-9_]+|\S)", text[above:start])
    ends = [(above + m.start(1), above + m.end(1)) for m in found if m[1]]
    label = Label(_at(source, *(ends[-1] if ends else (start, start))))
    expected = _expected(before.accepts())  # type: ignore[no-untyped-call]
    return Diagnostic("P01", f"this ends too early: expected {expected}", (label,))


def _blank_item(text: str, error: UnexpectedInput, early: int | None) -> str | None:
    """The text without the item in which the error lies, same length; None where nothing is left to read.

    Where the item that starts at `early` came too early, the one above it is the item with the error.
    """
    position = getattr(error, "pos_in_stream", None)
    if early is not None:
        position = early - 1
    if position is None or position < 0:
        position = len(text)
    starts = [m.start() for m in ITEM_LINE.finditer(text)]
    before = [s for s in starts if s <= position]
    after = [s for s in starts if s > position]
    if not before or getattr(error, "accepts", None) == {"SPEC"}:
        return None
    end = after[0] if after else len(text)
    blank = re.sub(r"[^\n]", " ", text[before[-1] : end])
    return text[: before[-1]] + blank + text[end:]
