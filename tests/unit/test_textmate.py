"""The VS Code extension: its manifest holds together, and its TextMate grammar colours what the parser reads.

`tokenize` is a small TextMate engine (match, begin/end, captures, include) over Python's `re`; the grammar keeps to
what `re` and Oniguruma have in common.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from lark import Token

from rewarden.spec_lang.parser import grammar, keywords
from tests.reference.language_page import HELPFUL, WAREHOUSE

FOLDER = Path(__file__).resolve().parents[2] / "editors" / "vscode"
Rule = dict[str, Any]


def load(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


@cache
def textmate() -> Rule:
    return load("syntaxes/rwd.tmLanguage.json")


# ── a TextMate engine ──────────────────────────────────────────────────────────────────────────
def flat(rules: list[Rule]) -> Iterator[Rule]:
    """Rules with includes written out, in order."""
    for rule in rules:
        if "include" in rule:
            yield from flat([textmate()["repository"][rule["include"].removeprefix("#")]])
        elif "match" in rule or "begin" in rule:
            yield rule
        else:
            yield from flat(rule["patterns"])


def tokenize(text: str) -> list[tuple[str, str]]:
    """Pieces of text, each with its innermost scope ("" for none); white space is left out."""
    found: list[tuple[str, str]] = []
    stack: list[Rule] = [{"patterns": textmate()["patterns"]}]
    for line in text.split("\n"):
        at, guard = 0, 0
        while at <= len(line) and (guard := guard + 1) < 1000:
            rule, match = first_match(stack[-1], line, at)
            outside = str(stack[-1].get("name", ""))
            end = match.start() if match else len(line)
            found.append((line[at:end], outside))
            if match is None or rule is None:
                break
            is_end = rule is stack[-1]
            key = "endCaptures" if is_end else "beginCaptures" if "begin" in rule else "captures"
            found.extend(captured(match, rule.get(key, {}), str(rule.get("name", outside))))
            if is_end:
                stack.pop()
            elif "begin" in rule:
                stack.append(rule)
            elif match.end() == match.start():
                break
            at = match.end()
            if at == len(line) and not ("end" in stack[-1] and "$" in stack[-1]["end"]):
                break
        assert guard < 1000, f"no progress in {line!r}"
    return [(piece.strip(), scope.removesuffix(".rwd")) for piece, scope in found if piece.strip()]


def first_match(top: Rule, line: str, at: int) -> tuple[Rule | None, re.Match[str] | None]:
    """The leftmost match; the end of the open rule before others, then in the order of the file."""
    candidates = [(top, top["end"])] if "end" in top else []
    candidates += [(rule, rule.get("match") or rule["begin"]) for rule in flat(top["patterns"])]
    best: tuple[Rule | None, re.Match[str] | None] = (None, None)
    for rule, pattern in candidates:
        match = re.compile(pattern).search(line, at)
        if match and (best[1] is None or match.start() < best[1].start()):
            best = rule, match
    return best


def captured(match: re.Match[str], captures: dict[str, Rule], name: str) -> Iterator[tuple[str, str]]:
    """The pieces of a match by its captures, which do not overlap in this grammar."""
    at = match.start()
    if "0" in captures:
        yield match[0], captures["0"]["name"]
        return
    for group in sorted(int(key) for key in captures):
        start, end = match.span(group)
        if start >= 0:
            yield match.string[at:start], name
            yield match.string[start:end], captures[str(group)]["name"]
            at = end
    yield match.string[at : match.end()], name


def scopes(text: str) -> dict[str, str]:
    return dict(tokenize(text))


# ── the grammar ────────────────────────────────────────────────────────────────────────────────
def test_every_pattern_is_a_regular_expression_that_both_engines_know() -> None:
    def patterns(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            yield from (v for k, v in value.items() if k in ("match", "begin", "end") and isinstance(v, str))
            for inner in value.values():
                yield from patterns(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from patterns(inner)

    found = list(patterns(textmate()))
    assert len(found) > 30
    for pattern in found:
        re.compile(pattern)
        assert not re.search(r"\(\?P|\(\?<[=!]|\\[AZzGhHKRX]|\[\[:", pattern), f"the engines differ about {pattern}"


def test_every_include_is_there_and_every_part_is_used() -> None:
    included = set(re.findall(r'"include": "#(\w+)"', (FOLDER / "syntaxes/rwd.tmLanguage.json").read_text()))
    assert included == set(textmate()["repository"])


@pytest.mark.parametrize("word", sorted(keywords()))
def test_every_keyword_is_highlighted(word: str) -> None:
    for text in (word, f"x {word} y", f"({word})", f"a\n  {word}\n"):
        assert re.match(r"keyword\.|storage\.type|constant\.language", scopes(text)[word]), text
    for text in (f"{word}_x", f"x{word}", f"_{word}"):
        assert scopes(text) == {text: "variable.other"}


def test_no_other_word_is_highlighted_as_a_keyword() -> None:
    (words,) = re.findall(r"\(\?!\(\?:([a-z|]+)\)", json.dumps(textmate()))
    named = re.findall(
        r"\\b\(\?:([a-z|]+)\)\\b$", "\n".join(p["match"] for p in textmate()["repository"]["word"]["patterns"]), re.M
    )
    assert set(words.split("|")) == set("|".join(named).split("|")) == keywords()


@pytest.mark.parametrize("text", [WAREHOUSE, HELPFUL], ids=["warehouse", "helpful"])
def test_the_tokens_of_the_parser_have_scopes_of_their_kind(text: str) -> None:
    """Each token of the language page's specs, against the scope at its place."""
    kinds = {
        "NAME": "variable|entity|support|constant.other",
        "NUMBER": "constant.numeric",
        "UNIT": "constant.other.unit",
    }
    kinds |= {"STRING": "string|punctuation.definition.string", "PERCENT": "constant.other.unit"}
    at: dict[int, str] = {}
    place = 0
    for piece, scope in tokenize(text):
        place = text.index(piece, place)
        at |= dict.fromkeys(range(place, place + len(piece)), scope)
        place += len(piece)
    checked = 0
    for token in grammar().parse(text).scan_values(lambda value: isinstance(value, Token)):
        wanted = "keyword|storage|constant.language" if token in keywords() else kinds.get(token.type)
        if wanted is not None and token != "v1":
            assert re.match(wanted, at[token.start_pos]), f"{token!r} at {token.line}:{token.column}"
            checked += 1
    assert checked > 60


def test_comments_titles_and_texts() -> None:
    assert tokenize("--- A title # of a rule") == [
        ("---", "punctuation.definition.heading"),
        ("A title # of a rule", "markup.heading.title"),
    ]
    assert tokenize('x # if "y" must')[1:] == [
        ("#", "punctuation.definition.comment"),
        ('if "y" must', "comment.line.number-sign"),
    ]
    assert tokenize(r'id "a # b \" c" must')[1:] == [
        ('"', "punctuation.definition.string.begin"),
        ("a # b", "string.quoted.double"),
        (r"\"", "constant.character.escape"),
        ("c", "string.quoted.double"),
        ('"', "punctuation.definition.string.end"),
        ("must", "keyword.control.rule"),
    ]
    assert tokenize('id "open\nmust')[-1] == ("must", "keyword.control.rule"), "a text ends with its line"
    assert scopes(r'"a \n"')[r"\n"] == "invalid.illegal.escape"
    assert ("---", "punctuation.definition.heading") not in tokenize("  --- x")


def test_declarations_and_rules() -> None:
    assert set(tokenize(WAREHOUSE)) >= {
        ("warehouse", "entity.name.namespace"),
        ("Step", "entity.name.type"),
        ("dist_goal", "variable.other.member.declaration"),
        ("charger", "constant.other.enum"),
        ("[m/s]", "constant.other.unit"),
        ("v_safe", "variable.other.constant"),
        ("risky", "entity.name.function"),
        ("risky", "entity.name.function.call"),
        ("no_speed_bonus", "entity.name.section.rule"),
        ("quantile", "support.function"),
        ("speed", "variable.other.member"),
    }
    assert scopes("forall s: v.Step near v.logs")["v.Step"] == "entity.name.type"
    assert scopes("param a: real [m] = 1e-3 [cm]")["1e-3"] == "constant.numeric"
    assert scopes("param home: enum {aisle, dock} = dock").items() >= {
        ("home", "variable.other.constant"),
        ("enum", "storage.type"),
        ("aisle", "constant.other.enum"),
    }
    assert scopes("in 0..5 %") == {
        "in": "keyword.control.quantifier",
        "0": "constant.numeric",
        "..": "keyword.operator.range",
        "5": "constant.numeric",
        "%": "constant.other.unit",
    }


# ── the extension ──────────────────────────────────────────────────────────────────────────────
def test_the_manifest_names_files_that_exist() -> None:
    manifest = load("package.json")
    contributes = manifest["contributes"]
    (language,), (colours,) = contributes["languages"], contributes["grammars"]
    for path in (manifest["main"], language["configuration"], colours["path"]):
        assert (FOLDER / path).is_file()
    assert language["id"] == colours["language"] == "rwd"
    assert language["extensions"] == [".rwd"]
    assert colours["scopeName"] == textmate()["scopeName"]
    assert f"[{language['id']}]" in contributes["configurationDefaults"]


def test_settings_and_commands_are_those_of_the_program() -> None:
    manifest, program = load("package.json"), (FOLDER / "extension.js").read_text(encoding="utf-8")
    (setting,) = manifest["contributes"]["configuration"]["properties"]
    (command,) = (entry["command"] for entry in manifest["contributes"]["commands"])
    section, _, key = setting.partition(".")
    assert f'getConfiguration("{section}").get("{key}"' in program
    assert f'affectsConfiguration("{setting}")' in program
    assert f'registerCommand("{command}"' in program
    assert manifest["capabilities"]["untrustedWorkspaces"]["restrictedConfigurations"] == [setting]
    required = set(re.findall(r'require\("([^"]+)"\)', program)) - {"vscode"}
    assert {name.partition("/")[0] for name in required} == set(manifest["dependencies"])


def test_the_program_runs_the_language_server() -> None:
    from rewarden.cli import app

    program = (FOLDER / "extension.js").read_text(encoding="utf-8")
    (arguments,) = re.findall(r"args: \[\"(\w+)\"\]", program)
    assert arguments in {command.name for command in app.registered_commands}


def test_the_language_configuration() -> None:
    configuration = load("language-configuration.json")
    assert configuration["comments"] == {"lineComment": "#"}
    assert {tuple(pair) for pair in configuration["brackets"]} == {("{", "}"), ("(", ")"), ("[", "]")}
    assert {pair["open"] for pair in configuration["autoClosingPairs"]} == {"{", "(", "[", '"'}
    rules = configuration["indentationRules"]
    deeper, back = re.compile(rules["increaseIndentPattern"]), re.compile(rules["decreaseIndentPattern"])
    for line in ("must a:", "  should b :  # why", "example of a:", "features Step {  # x", "  and (", "reward R("):
        assert deeper.search(line), line
    for line in ("  given a", "reward R(s: S)", "# must (", 'id "("', "forall s: Step", "features T { x: bool }"):
        assert not deeper.search(line), line
    assert back.search("}")
    assert back.search("  )  # x")
    assert not back.search("x }")
    assert re.fullmatch(configuration["wordPattern"], "dist_goal")
