"""An error's code means one thing in the whole tree, and `rewarden explain` says what.

Read off the source: a use is any text that is a code, such as "U02", outside the tables.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

from rewarden.cli import run
from rewarden.codes import explanations
from rewarden.spec_lang import errors

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("spec_lang", "reward", "verifier", "editor", "rewarden")  # left to right
CODE = re.compile(r"[ABCDEGLNPSTUX][0-9]{2}")
PREFIXES = {
    "SpecError": "PNTUL", "UnitError": "U", "Diagnostic": "PNTULS", "DataError": "D", "ArtifactError": "A",
    "BindingError": "B", "Unsupported": "X", "EditError": "E", "CertificateError": "C", "UsageError": "G",
}  # fmt: skip

SHARED = {
    "D01": ("spec_lang", "reward"), "D02": ("spec_lang", "reward", "rewarden"),
    "D10": ("spec_lang", "reward", "rewarden"), "D12": ("spec_lang", "rewarden"),
    "D03": ("spec_lang", "reward"),
    "D04": ("spec_lang", "reward"), "D05": ("spec_lang", "reward"), "D06": ("spec_lang", "reward"),
    "D07": ("spec_lang", "reward"), "D08": ("spec_lang", "reward", "rewarden"), "D09": ("spec_lang", "reward"),
    "X03": ("spec_lang", "verifier"), "X24": ("reward", "verifier"),
    "D13": ("spec_lang", "reward"), "G15": ("verifier", "rewarden"), "P04": ("spec_lang", "rewarden"),
    "E21": ("editor", "rewarden"), "E22": ("editor", "rewarden"), "E24": ("editor", "rewarden"),
    "E32": ("editor", "rewarden"),
    "G21": ("spec_lang", "verifier", "rewarden"), "G81": ("verifier", "rewarden"), "G84": ("verifier", "rewarden"),
}  # fmt: skip
"""Codes that several rooms raise, on purpose: somebody has compared what they mean there. All others have one room."""


class Use(NamedTuple):
    code: str
    room: str
    place: str
    raised_as: str | None  # the error that is made with it, where it is made on the spot


@cache
def uses() -> tuple[Use, ...]:
    return tuple(use for room in ROOMS for path in sources(room) for use in _in_file(room, path))


def sources(room: str) -> list[Path]:
    """A room's files; the application's folder holds a link to each other room, which is not followed."""
    folder = ROOT / room
    linked = {folder / other for other in ROOMS}
    return [p for p in sorted(folder.rglob("*.py")) if p.name != "codes.py" and not linked & set(p.parents)]


def _in_file(room: str, path: Path) -> Iterator[Use]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    makers = {
        id(node.args[0]): ast.unparse(node.func).split(".")[-1]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and node.args
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
            yield Use(node.value, room, f"{path.relative_to(ROOT)}:{node.lineno}", makers.get(id(node)))


def tables() -> dict[str, list[str]]:
    """Room → the codes of its table, as written: a key that stands there twice is here twice."""
    found = {}
    for room in ROOMS:
        tree = ast.parse((ROOT / room / "codes.py").read_text(encoding="utf-8"))
        (table,) = (n.value for n in tree.body if isinstance(n, ast.AnnAssign) and isinstance(n.value, ast.Dict))
        found[room] = [str(key.value) for key in table.keys if isinstance(key, ast.Constant)]
    return found


def rooms_of() -> dict[str, tuple[str, ...]]:
    """Code → the rooms that use it, from the left."""
    found: dict[str, set[str]] = defaultdict(set)
    for use in uses():
        found[use.code].add(use.room)
    return {code: tuple(room for room in ROOMS if room in rooms) for code, rooms in found.items()}


def test_the_scan_sees_what_is_there() -> None:
    assert len(uses()) > 300
    assert {use.raised_as for use in uses()} >= set(PREFIXES) - {"SpecError"}


def test_every_code_is_explained_once() -> None:
    written = Counter(code for codes in tables().values() for code in codes)
    assert [code for code, count in written.items() if count > 1] == []
    assert sorted({f"{u.place} {u.code}" for u in uses() if u.code not in written}) == []


def test_every_explained_code_is_used() -> None:
    assert sorted(set(explanations()) - {use.code for use in uses()}) == []


def test_a_code_is_explained_by_the_leftmost_room_that_uses_it() -> None:
    home = {code: room for room, codes in tables().items() for code in codes}
    assert {code: home[code] for code, rooms in rooms_of().items() if home.get(code, rooms[0]) != rooms[0]} == {}


def test_a_code_belongs_to_one_room_unless_shared_on_purpose() -> None:
    several = {code: rooms for code, rooms in rooms_of().items() if len(rooms) > 1}
    assert several == SHARED


def test_the_letter_of_a_code_is_that_of_its_error() -> None:
    wrong = [u for u in uses() if u.raised_as in PREFIXES and u.code[0] not in PREFIXES[u.raised_as]]
    assert wrong == []
    kinds = {
        name for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.RewardenError)
    }
    assert kinds - {"RewardenError"} <= set(PREFIXES)


def test_explanations_are_sentences_and_all_are_different() -> None:
    texts = explanations()
    assert [code for code, text in texts.items() if not re.fullmatch(r"[A-Z`r].{15,}[.]", text, re.DOTALL)] == []
    assert [text for text, count in Counter(texts.values()).items() if count > 1] == []


@pytest.mark.parametrize("room", ROOMS)
def test_the_command_explains_a_code_of_every_room(room: str, capsys: pytest.CaptureFixture[str]) -> None:
    prefix = "rewarden." if room != "rewarden" else ""
    table = import_module(f"{prefix}{room}.codes").EXPLANATIONS
    code = next(iter(table))
    assert run(["explain", code.lower()]) == 0
    assert capsys.readouterr().out.startswith(f"{code}:\n  {table[code][:20]}")


def test_a_code_that_nobody_has_is_not_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "G99"]) == 2
    assert "G60" in capsys.readouterr().err
