"""Rules as tests, by pytest itself: every session is a process of its own."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.reference.cart import PROVED, SHOULD, VIOLATED, write_reward, write_spec

pytest_plugins = ["pytester"]
CONFIG = 'specs = ["cart.rwd"]\n[rewards]\nR = "reward"\n'
TELLS = "import sys\ndef pytest_sessionfinish():\n    print('torch' in sys.modules, 'z3' in sys.modules)\n"


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)


def _project(folder: Path, *rules: str, config: str = CONFIG) -> None:
    write_reward(folder, write_spec(folder, *rules))
    (folder / "rewarden.toml").write_text(config)


def _pytest(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("-p", "rewarden.pytest_plugin", *arguments)


def test_a_rule_is_an_item(pytester: pytest.Pytester) -> None:
    _project(pytester.path, PROVED, VIOLATED, SHOULD)
    pytester.makeconftest(TELLS)
    collected = _pytest(pytester, "--collect-only", "-q")
    collected.stdout.fnmatch_lines(["cart.rwd::bounded", "cart.rwd::slow", "cart.rwd::nearer", "False False"])

    result = _pytest(pytester, "-rx")
    result.assert_outcomes(passed=1, failed=1, xfailed=1)
    result.stdout.fnmatch_lines(
        ["slow is violated: Fast is never worth more than three.", "at cart.rwd:20:1", "s *dist*"]
    )
    result.stdout.fnmatch_lines(["XFAIL cart.rwd::nearer - nearer is violated: *a should rule*"])
    result.stdout.no_fnmatch_line("*Traceback*")

    _pytest(pytester, "--lf").assert_outcomes(failed=1)
    for chosen, name in (
        (("-k", "bounded"), "bounded"),
        (("-k", "should"), "nearer"),
        (("cart.rwd::bounded",), "bounded"),
    ):
        named = _pytest(pytester, "--collect-only", "-q", *chosen).stdout.lines
        assert [line for line in named if line.startswith("cart.rwd::")] == [f"cart.rwd::{name}"]
    _pytest(pytester, "-p", "xdist", "-n", "2").assert_outcomes(passed=1, failed=1, xfailed=1)


def test_plugins_that_look_at_the_fixtures_of_items_find_none(pytester: pytest.Pytester) -> None:
    """pytest-lsp takes an item without `funcargs` down with it."""
    _project(pytester.path, PROVED)
    _pytest(pytester, "-p", "pytest_asyncio", "-p", "pytest_lsp").assert_outcomes(passed=1)


def test_it_disturbs_nobody(pytester: pytest.Pytester) -> None:
    write_spec(pytester.path, PROVED)
    pytester.makepyfile("def test_own():\n    pass\n")
    _pytest(pytester).assert_outcomes(passed=1)
    (pytester.path / "rewarden.toml").write_text('specs = ["cart.rwd"]\n')  # no artifact is named
    _pytest(pytester).assert_outcomes(passed=1)
    (pytester.path / "rewarden.toml").write_text(CONFIG)
    _pytest(pytester, "-o", "rewarden=false").assert_outcomes(passed=1)
    (pytester.path / "rewarden.toml").write_text(CONFIG.replace("cart.rwd", "other.rwd"))
    _pytest(pytester).assert_outcomes(passed=1)
    assert _pytest(pytester, "-o", "rewarden=perhaps").ret == pytest.ExitCode.USAGE_ERROR


def test_what_cannot_be_used_is_said_in_its_own_words(pytester: pytest.Pytester) -> None:
    write_spec(pytester.path, PROVED)
    result = _pytest(pytester, "-o", "rewarden=true")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["error?G75?: no artifact is named for a reward of cart"])
    (pytester.path / "rewarden.toml").write_text("specs = 3")
    result = _pytest(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*error?G03?*specs must be a list*"])
    result.stdout.no_fnmatch_line("*config.py*")
    (pytester.path / "rewarden.toml").unlink()
    (pytester.path / "cart.rwd").write_text("spec cart v1\n\nreward R(s: Stpe)\n")
    result = _pytest(pytester, "-o", "rewarden=true")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*error?N*", "*cart.rwd:3:*"])


def test_waivers_and_thresholds_are_those_of_the_configuration(pytester: pytest.Pytester) -> None:
    from rewarden.ci.fingerprint import fingerprint
    from rewarden.spec_lang import load_spec

    _project(pytester.path, VIOLATED, SHOULD, config=CONFIG + '[ci]\nfail_on = "should"\nwaivers = "waivers.toml"\n')
    mark = fingerprint(load_spec(pytester.path / "cart.rwd"), "slow")
    waiver = f'[[waiver]]\nfingerprint = "{mark}"\nowner = "ada"\nreason = "known"\nexpires = 9999-01-01\n'
    (pytester.path / "waivers.toml").write_text(waiver)
    result = _pytest(pytester, "-rx")
    result.assert_outcomes(xfailed=1, failed=1)
    result.stdout.fnmatch_lines(["XFAIL cart.rwd::slow*waived by ada until 9999-01-01: known*"])


def test_several_runs_of_a_spec_have_names_of_their_own(pytester: pytest.Pytester) -> None:
    text = '[[run]]\nspec = "cart.rwd"\nrewards = { R = "reward" }\n'
    _project(pytester.path, PROVED, VIOLATED, config=text + text + 'rules = ["bounded"]\n')
    result = _pytest(pytester, "--collect-only", "-q")
    result.stdout.fnmatch_lines(["cart.rwd::bounded[[]1]", "cart.rwd::slow[[]1]", "cart.rwd::bounded[[]2]"])


def test_pytest_finds_the_plugin() -> None:
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"rewarden": "rewarden.pytest_plugin"}
