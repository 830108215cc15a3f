"""The one format by example, and `rewarden fmt`."""

from __future__ import annotations

import io
import os
from importlib.resources import files
from pathlib import Path

import pytest

from rewarden.cli import run
from rewarden.spec_lang import SpecError, limits
from rewarden.spec_lang.format.formatter import format_text
from rewarden.spec_lang.parser import parse
from rewarden.spec_lang.source import Source
from rewarden.spec_lang.syntax import RuleDecl
from tests.reference.language_page import HELPFUL, WAREHOUSE

HEAD = "spec s v1\n\n"
RULE = "\nmust a:\n  forall s: T\n  expect R(s) > 0\n"


def body(text: str) -> str:
    """What becomes of the items below the first line."""
    result = format_text(f"{HEAD}{text}")
    assert format_text(result) == result
    assert result.startswith(HEAD)
    return result.removeprefix(HEAD).rstrip("\n")


def parses(text: str) -> bool:
    try:
        parse(Source("t", HEAD + text))
    except SpecError:
        return False
    return True


def rule(clauses: str) -> list[str]:
    return body(f"must a: forall s: T {clauses}").split("\n")[2:]


# ── what is tidy stays ─────────────────────────────────────────────────────────────────────────
def test_the_language_page_and_the_demo_are_in_the_format() -> None:
    demo = files("rewarden").joinpath("demo_data/driving.rwd").read_text("utf-8")
    for text in (WAREHOUSE, HELPFUL, demo):
        assert format_text(text) == text


def test_what_the_author_decides_is_kept() -> None:
    for text in (
        "param a: real = ((1.50)) + (2e-3)",
        "param a: real = 1\nparam b: real = 2",
        "param a: real = 1\n\nparam b: real = 2",
        "param a: real = 1        # here",
        "# one\n# two\n\n# three\nparam a: real = 1\n# four",
        "let f(a: T, b: T, c: U) = a.x",
    ):
        assert body(text) == text


# ── spaces ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("param  a :real[m/s]=1[ m/s ]*-2", "param a: real [m/s] = 1 [m/s] * -2"),
        ("param a:real=- (1+2)/|x-1|", "param a: real = -(1 + 2) / |x - 1|"),
        ("param a: real = 1 - -1", "param a: real = 1 - -1"),
        ("param a: bool = not(true)or false and(true)", "param a: bool = not (true) or false and (true)"),
        ("param a:real=f (x . y [ 3 ] , 5%)", "param a: real = f(x.y[3], 5 %)"),
        ("param a: bool = 0<x . y<=1", "param a: bool = 0 < x.y <= 1"),
        ("param a:bool=r==(s with{x=1,y=2 ,})", "param a: bool = r == (s with {x = 1, y = 2})"),
        ("param a: real=(if x then 1 else(2))", "param a: real = (if x then 1 else (2))"),
        ('use"a.rwd"as v', 'use "a.rwd" as v'),
        ('data d:(a:T,b:v . U)from"x"', 'data d: (a: T, b: v.U) from "x"'),
        ("assume s:T=v . ok(s)", "assume s: T = v.ok(s)"),
        ("features T{}", "features T {}"),
        ("features T{x:real^3[m]in-1..1,}", "features T { x: real ^ 3 [m] in -1 .. 1 }"),
    ],
)
def test_spaces(text: str, expected: str) -> None:
    assert body(text) == expected


def test_not_near_stays_together() -> None:
    long = "s" * 40
    found = body(f"must b: forall {long}: {long} not near d within 0.5 given not not true expect true")
    assert f"  forall {long}: {long}\n    not near d within 0.5\n  given not not true\n" in found


def test_other_line_ends_tabs_and_blanks() -> None:
    text = "\n\nspec s v1\r\n\r\n\r\n\r\nparam\ta: real = 1 \t\r\n\r\n\r\nparam b: real = 2\r# c \t"
    assert format_text(text) == "spec s v1\n\nparam a: real = 1\n\nparam b: real = 2\n# c\n"


# ── items ──────────────────────────────────────────────────────────────────────────────────────
def test_features_are_a_table() -> None:
    text = "features T { x: real [m] in 0 .. 1, speed: int ^ 12 in -10 .. 10 # why\n b: bool e: enum {a, b}, }"
    assert body(text).split("\n") == [
        "features T {",
        "  x     : real [m] in 0 .. 1",
        "  speed : int ^ 12 in -10 .. 10  # why",
        "  b     : bool",
        "  e     : enum {a, b}",
        "}",
    ]


def test_blank_lines_between_features_are_kept_but_not_at_the_ends() -> None:
    text = "features T {\n\n  x : bool\n\n\n  # of y\n\n  y : bool\n\n  # last\n\n}"
    assert body(text) == "features T {\n  x : bool\n\n  # of y\n\n  y : bool\n\n  # last\n}"
    assert body("features T { # a\n\n# b\n\n# c\n\nx : bool}").split("\n") == [
        "features T {  # a",
        "  # b",
        "",
        "  # c",
        "",
        "  x : bool",
        "}",
    ]


def test_one_feature_with_a_comment_is_a_table_too() -> None:
    assert body("features T { # c\n x: bool }").split("\n") == ["features T {  # c", "  x : bool", "}"]
    assert body("features T {\n x: bool # c\n }").split("\n") == ["features T {", "  x : bool  # c", "}"]
    assert body("features T { # c\n }").split("\n") == ["features T {  # c", "}"]


def test_a_comment_inside_a_feature_breaks_its_line_and_no_column() -> None:
    text = "features T {\n x: real # why\n [m] in 0 .. 1\n speed: int in 0 .. 1\n y: real [m/s] in 0 .. # hi\n 1}"
    assert body(text).split("\n") == [
        "features T {",
        "  x     : real                  # why",
        "    [m] in 0 .. 1",
        "  speed : int        in 0 .. 1",
        "  y     : real [m/s] in 0 ..    # hi",
        "    1",
        "}",
    ]


def test_comments_of_a_table_stand_clear_of_all_of_it_where_there_is_room() -> None:
    table = "features T {\n  x : bool # LONG\n  e : enum {aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}\n}"
    assert body(table.replace("LONG", "c" * 50)).split("\n")[1] == f"  x : bool{' ' * 38}# {'c' * 50}"
    assert body(table.replace("LONG", "c" * 60)).split("\n")[1] == f"  x : bool  # {'c' * 60}"


def test_declarations_among_themselves_are_aligned_and_others_are_not() -> None:
    assert body('reward R(s: T)\ndata d: T from "x"\nparam a: real = 1').split("\n") == [
        "reward R(s: T)",
        'data   d: T from "x"',
        "param  a: real = 1",
    ]
    alone = 'reward R(s: T)\n\ndata d: T from "x"\ndata e: T from "y"'
    assert body(alone) == alone
    mixed = 'features T { x: bool }\nreward R(s: T)\ndata d: T from "x"'
    assert body(mixed) == mixed


def test_neighbouring_definitions_are_aligned_where_that_is_sensible() -> None:
    assert body("let f(s: T) = 1\nlet far(s: T) = 2\nregion g(s: T) = true").split("\n") == [
        "let f(s: T)   = 1",
        "let far(s: T) = 2",
        "region g(s: T) = true",
    ]
    ragged = "let f(s: T) = 1\nlet with_a_long_long_name(s: T) = 2"
    assert body(ragged) == ragged
    full = f"let f(s: T) = {'1' * 50} + {'1' * 32}\nlet far(s: T) = 2"
    assert body(full) == full, "aligned, the first would be too long"


def test_a_rule_is_one_clause_a_line() -> None:
    assert rule('given x(a) > 0 expect x(a) >= 0.5 confidence 0.9 id "1" because "b" weight 2') == [
        "  given x(a) > 0",
        "  expect x(a) >= 0.5 confidence 0.9",
        '  id "1" because "b"',
        "  weight 2",
    ]
    assert rule('expect true because "b" id "1"') == ["  expect true", '  because "b"', '  id "1"']


def test_blank_lines_inside_a_rule_go() -> None:
    assert rule("\n\n given # c\n\n a\n\n # d\n\n expect b") == ["  given  # c", "    a", "  # d", "  expect b"]


def test_blank_lines_stand_around_rules() -> None:
    one, two = (f"must {name}: forall s: T expect true" for name in "ab")
    text = f"param a: real = 1\n--- T\n# c\n{one}\n{two}\nparam b: real = 1"
    assert body(text).split("\n") == [
        "param a: real = 1",
        "",
        "--- T",
        "# c",
        "must a:",
        "  forall s: T",
        "  expect true",
        "",
        "must b:",
        "  forall s: T",
        "  expect true",
        "",
        "param b: real = 1",
    ]


def test_long_lines_are_broken_before_operators_and_behind_commas() -> None:
    a, b, c = ("abcdefghijklmnopqrstuvwxyz"[:n] * 2 for n in (18, 16, 8))
    assert rule(f"given {a} and {b} expect true")[0] == f"  given {a} and {b}"
    assert rule(f"given {a} and {b} > {c} or {c} expect true")[:2] == [f"  given {a} and {b} > {c}", f"    or {c}"]
    assert rule(f"given ({a} and {b} or {c}xx) and {c} expect true")[:6] == [
        "  given (",
        f"      {a} and {b}",
        f"      or {c}xx",
        "    )",
        f"    and {c}",
        "  expect true",
    ]
    assert rule(f"expect max({a}, {b}, {c}) > 0") == [
        "  expect max(",
        f"      {a},",
        f"      {b},",
        f"      {c}",
        "    )",
        "    > 0",
    ]
    assert rule(f'expect true id "{a}" because "{b}"') == ["  expect true", f'  id "{a}" because "{b}"']
    assert rule(f'expect true id "{a}" because "{a}{c}"')[1:] == [f'  id "{a}"', f'  because "{a}{c}"']


def test_implications_in_a_row_are_one_chain() -> None:
    a = "a" * 40
    assert rule(f"given {a} implies {a} implies {a} expect true")[:3] == [
        f"  given {a}",
        f"    implies {a}",
        f"    implies {a}",
    ]


def test_what_follows_a_group_has_to_fit_too() -> None:
    """The braces alone would fit their line; with the norm behind them they do not."""
    radius = f"{{x = {'1' * 40}, y = {'2' * 26}}}"
    assert body(f"must a: forall s: T near data_ within {radius} in l2 expect true").split("\n")[1:8] == [
        "  forall s: T",
        "    near data_ within {",
        f"      x = {'1' * 40},",
        f"      y = {'2' * 26}",
        "    } in l2",
        "  expect true",
    ]
    assert len(f"    near data_ within {radius}") <= 100 < len(f"    near data_ within {radius} in l2")


def test_a_line_may_be_exactly_a_hundred_columns_wide() -> None:
    fits = f"let f(s: T) = {'x' * 40} + {'y' * 43}"
    assert len(fits) == 100
    assert body(fits) == fits
    assert body(f"{fits}y").split("\n") == ["let f(s: T) =", f"  {'x' * 40} + {'y' * 44}"]


# ── comments and titles ────────────────────────────────────────────────────────────────────────
def test_trailing_comments_of_neighbours_stand_in_one_column() -> None:
    text = "param a: real = 1 # one\nparam long: real = 2 # two\nparam c: real = 3\nparam b: real = 4 # four"
    assert body(text).split("\n") == [
        "param a: real = 1     # one",
        "param long: real = 2  # two",
        "param c: real = 3",
        "param b: real = 4  # four",
    ]


def test_a_column_that_the_author_chose_is_kept_until_the_code_outgrows_it() -> None:
    chosen = "param a: real = 1          # one\nparam long: real = 2       # two"
    assert body(chosen) == chosen
    outgrown = chosen.replace("long", "longer_than_before")
    assert body(outgrown) == ("param a: real = 1                   # one\nparam longer_than_before: real = 2  # two")
    moved = body("must a: forall s: T expect true                  # c")
    assert moved.endswith("\n  expect true  # c"), "the line is another: its column means nothing"


def test_a_comment_that_goes_on_below_stays_below() -> None:
    text = "param a: real = 1  # one\n                   # goes on\n# another"
    assert body(text) == text
    assert body(text.replace("\n ", "\n\n ")) == "param a: real = 1  # one\n\n# goes on\n# another"
    moved = body("param a:real = 1 # one\n                 # goes on")
    assert moved == "param a: real = 1  # one\n                   # goes on"


def test_a_comment_of_its_own_is_not_mistaken_for_one_that_goes_on() -> None:
    """By chance `# 2` would come to stand right below `# 1`, and be taken to continue it the next time."""
    assert body("region r(s: T) = ab # 1\n# 2\nand b # 3\nor c implies d").split("\n") == [
        "region r(s: T) =",
        "  ab   # 1",
        "      # 2",
        "      and b  # 3",
        "    or c",
        "  implies d",
    ]


def test_comments_between_any_two_tokens_stay_there() -> None:
    assert rule("given # one\n a # two\n and # three\n b\n # four\n expect # five\n true # six") == [
        "  given  # one",
        "    a    # two",
        "    # three",
        "    and b",
        "  # four",
        "  expect  # five",
        "    true  # six",
    ]


@pytest.mark.parametrize(
    "place",
    [
        "{}spec a v1",
        "spec a v1\n{}",
        "spec a v1\nfeatures T {{\n{}  x : real in 0 .. 1\n}}",
        "spec a v1\nfeatures T {{\n  x : real in 0 .. 1\n{}}}",
        "spec a v1\nfeatures T {{ x : real in 0 .. 1 }}\nreward R(s: T)\nmust a:\n{}  forall s: T\n  expect R(s) <= 1",
        "spec a v1\nfeatures T {{ x : real in 0 .. 1 }}\nmust a:\n  forall s: T\n  expect s.x <=\n{} 1",
        "spec a v1\nparam a: real = 1  # behind\n{}param b: real = 2",
    ],
)
def test_any_number_of_comments_in_a_row_stays(place: str) -> None:
    for count in (4, 5, 12):
        comments = [f"# {word}" for word in "abcdefghijkl"[:count]]
        told = format_text(place.format("".join(f"{comment}\n" for comment in comments)))
        assert [
            line.strip() for line in told.split("\n") if line.strip().startswith("# ") and "behind" not in line
        ] == comments


def test_comments_around_a_comma_that_goes_stay() -> None:
    assert body("features T { e: enum {a # one\n, # two\n}, # three\n b: bool # four\n , }").split("\n") == [
        "features T {",
        "  e : enum {",
        "    a         # one",
        "    # two",
        "  }           # three",
        "  b : bool    # four",
        "}",
    ]


def test_a_comment_at_the_end_of_a_rule_belongs_to_it() -> None:
    text = f"{RULE.strip()}\n  # weight 2\n# of what follows\nparam a: real = 1"
    assert body(text) == text.replace("# of", "\n# of")
    assert body(text.replace("  # w", "\n  # w")) == text.replace("  # w", "\n# w")


def test_titles_are_kept_and_stand_directly_above_their_rule() -> None:
    text = f"---  T: one\n\n---two\n\n# c\n\n{RULE.strip()}"
    assert body(text) == f"--- T: one\n--- two\n# c\n{RULE.strip()}"
    assert body(f"-----\n{RULE.strip()}") == f"-----\n{RULE.strip()}"


def test_a_title_belongs_to_what_begins_the_line_below() -> None:
    text = "spec s v1\n--- T\nparam a: real = 1 must b: forall s: T expect true must c: forall s: T expect true"
    for written in (text, format_text(text)):
        found = [i for i in parse(Source("t", written)).items if isinstance(i, RuleDecl)]
        assert [rule.title for rule in found] == ["", ""]


def test_text_that_does_not_parse_is_refused() -> None:
    with pytest.raises(SpecError, match=r"P01") as caught:
        format_text("spec s v1 param", "x.rwd")
    assert caught.value.diagnostics[0].labels[0].span.source.name == "x.rwd"
    for text in ("spec s v2", "spec if v1", "", "spec s v1 param a: real = " + "-" * 99 + "1"):
        with pytest.raises(SpecError):
            format_text(text)


def test_the_deepest_specs_that_parse_are_formatted() -> None:
    for opening, closing in ("(1 + ", " )"), ("max(1 - ", ")"), ("|1 - |2 * ", "||"), ("(if true then ", " else 2)"):
        texts = [f"param a: real = {opening * depth}1{closing * depth}" for depth in range(1, limits.NESTING + 2)]
        fine = [text for text in texts if parses(text)]
        assert 10 < len(fine) < len(texts)
        body(fine[-1])


# ── rewarden fmt ───────────────────────────────────────────────────────────────────────────────
UNTIDY = "spec s v1\nparam  a:real=1\n"
TIDY = "spec s v1\n\nparam a: real = 1\n"


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8"))
    return path


def feed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode("utf-8"))))


def test_fmt_rewrites_what_is_untidy_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    untidy, tidy = write(tmp_path / "a.rwd", UNTIDY), write(tmp_path / "b.rwd", TIDY)
    untidy.chmod(0o640)
    os.utime(tidy, ns=(1, 1))
    inode = tidy.stat().st_ino
    assert run(["fmt", str(untidy), str(tidy)]) == 0
    assert untidy.read_text() == tidy.read_text() == TIDY
    assert untidy.stat().st_mode & 0o777 == 0o640
    assert (tidy.stat().st_mtime_ns, tidy.stat().st_ino) == (1, inode)
    assert capsys.readouterr().out == f"formatted {untidy}\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.rwd", "b.rwd"]


def test_fmt_check_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    untidy, tidy = write(tmp_path / "a.rwd", UNTIDY), write(tmp_path / "b.rwd", TIDY)
    assert run(["fmt", "--check", str(tidy)]) == 0
    assert run(["fmt", "--check", str(untidy), str(tidy)]) == 1
    assert capsys.readouterr().out == f"would format {untidy}\n"
    assert untidy.read_text() == UNTIDY


@pytest.mark.parametrize("text", [UNTIDY, UNTIDY.rstrip("\n"), UNTIDY.replace("\n", "\r\n"), "\ufeff" + TIDY])
def test_fmt_diff_is_what_patch_understands(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "a.rwd", text)
    assert run(["fmt", "--diff", str(file)]) == 0
    diff = capsys.readouterr().out
    assert run(["fmt", "--diff", "--check", str(file)]) == 1
    assert capsys.readouterr().out == diff
    assert file.read_bytes() == text.encode()
    assert applied(diff, text) == TIDY


def applied(diff: str, before: str) -> str:
    """A unified diff of one hunk from the top, applied."""
    header, *lines = diff.split("@@", 2)[2].split("\n")
    assert header == ""
    old: list[str] = []
    new: list[str] = []
    previous = ""
    for line in lines[:-1]:
        if line.startswith("\\"):
            target = old if previous == "-" else new
            target[-1] = target[-1].removesuffix("\n")
            continue
        previous = line[0]
        for target, marks in ((old, " -"), (new, " +")):
            if previous in marks:
                target.append(line[1:] + "\n")
    assert "".join(old) == before
    return "".join(new)


def test_fmt_reads_stdin(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    feed(monkeypatch, UNTIDY + "# grün")
    assert run(["fmt", "-"]) == 0
    assert capsysbinary.readouterr().out == f"{TIDY}# grün\n".encode()
    feed(monkeypatch, UNTIDY)
    assert run(["fmt", "--check", "-"]) == 1
    assert capsysbinary.readouterr().out == b"would format <stdin>\n"
    feed(monkeypatch, TIDY)
    assert run(["fmt", "--check", "-"]) == 0
    assert capsysbinary.readouterr().out == b""


def test_fmt_goes_on_behind_a_file_that_does_not_parse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken, untidy = write(tmp_path / "a.rwd", "spec s v1 param"), write(tmp_path / "b.rwd", UNTIDY)
    assert run(["fmt", str(broken), str(tmp_path / "none.rwd"), str(untidy)]) == 2
    said = capsys.readouterr()
    assert "error[P01]" in said.err
    assert f"{broken}:1:" in said.err
    assert "error[G20]" in said.err
    assert said.out == f"formatted {untidy}\n"
    assert broken.read_text() == "spec s v1 param"
    assert run(["fmt", "--check", str(broken), str(untidy)]) == 2


def test_fmt_follows_links_and_heeds_write_protection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.rwd", UNTIDY)
    link = tmp_path / "b.rwd"
    link.symlink_to(file)
    assert run(["fmt", str(link)]) == 0
    assert link.is_symlink()
    assert file.read_text() == TIDY
    write(file, UNTIDY)
    monkeypatch.setattr("os.access", lambda *_: False)  # tests may run as root, who may write anything
    assert run(["fmt", str(file)]) == 2
    assert file.read_text() == UNTIDY


def test_fmt_without_arguments_takes_the_specs_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["fmt"]) == 2
    assert "G71" in capsys.readouterr().err
    write(tmp_path / "rewarden.toml", 'specs = ["a.rwd", "b.rwd"]')
    for name in ("a.rwd", "b.rwd"):
        write(tmp_path / name, UNTIDY)
    assert run(["fmt"]) == 0
    assert (tmp_path / "a.rwd").read_text() == (tmp_path / "b.rwd").read_text() == TIDY
