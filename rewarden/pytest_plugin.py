"""Rules as tests: `*.rwd` files are collected by pytest, one item a rule.

It is off unless the ini option `rewarden = true` says otherwise, or a `rewarden.toml` at pytest's root or above names
artifacts: then the specs that it names are collected, with its artifacts, parameters and budgets. With `true`, every
`*.rwd` file below the given paths is. `rewarden = false` is off in any case.

A `must` rule passes where it is proved; a `should` rule that is not is an expected failure, and so is a violation with
a valid waiver. `-k`, `--lf`, `--deselect` and xdist work as for any test; severities are keywords (`-k must`). Nothing
but pytest is imported until a spec is collected, and no artifact and no torch until a rule is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest._code.code import TerminalRepr

    from rewarden.ci.outcome import RuleOutcome
    from rewarden.config import Config, Run

_SWITCH = "rewarden"
_CONFIG: pytest.StashKey[Config | None] = pytest.StashKey()


class Broken(Exception):
    """A rule that is not proved, in the words of the summary."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        _SWITCH,
        "collect *.rwd files as tests: true, false, or auto (where rewarden.toml names artifacts)",
        default="auto",
    )


def pytest_configure(config: pytest.Config) -> None:
    """A misspelt switch is told before anything runs."""
    if _switch(config) not in ("true", "false", "auto"):
        raise pytest.UsageError(f"rewarden = {_switch(config)}: expected true, false or auto")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SpecFile | None:
    """The specs of the configuration; with `rewarden = true` every spec."""
    if file_path.suffix != ".rwd":
        return None
    switch = _switch(parent.config)
    config = None if switch == "false" else _configured(parent.config)
    if config is None:
        return None
    runs = tuple(run for run in config.all_runs() if run.rewards and run.spec.resolve() == file_path.resolve())
    if not runs and switch != "true":
        return None
    collected: SpecFile = SpecFile.from_parent(parent, path=file_path)
    collected.runs = runs
    return collected


def _switch(config: pytest.Config) -> str:
    return str(config.getini(_SWITCH)).strip().lower()


def _configured(config: pytest.Config) -> Config | None:
    """Read once a session: what pytest's root has, or a folder above it."""
    if _CONFIG not in config.stash:
        from rewarden.config import find_config
        from rewarden.spec_lang.errors import RewardenError

        try:
            config.stash[_CONFIG] = find_config(config.rootpath)
        except RewardenError as error:
            raise pytest.Collector.CollectError(error.render()) from error
    return config.stash[_CONFIG]


class SpecFile(pytest.File):
    """A spec; parsed when it is collected. `runs` are what the configuration says of it: none, one or several."""

    runs: tuple[Run, ...] = ()

    def collect(self) -> Iterator[pytest.Item]:
        from rewarden.config import Run
        from rewarden.spec_lang import load_spec
        from rewarden.spec_lang.errors import RewardenError

        config = _configured(self.config)
        assert config is not None
        for number, run in enumerate(self.runs or (Run(self.path),), start=1):
            try:
                spec = load_spec(run.spec, params=run.params, allow=config.allow)
                strange = [name for name in run.rules if name not in {rule.name for rule in spec.rules}]
            except RewardenError as error:
                raise self.CollectError(error.render()) from error
            if strange:
                raise self.CollectError(f"{spec.name} has no rule {strange[0]}")
            for rule in spec.rules:
                if not run.rules or rule.name in run.rules:
                    name = rule.name if len(self.runs) < 2 else f"{rule.name}[{number}]"
                    item: RuleItem = RuleItem.from_parent(self, name=name)
                    item.rule, item.run, item.line = rule.name, run, rule.span.line
                    item.extra_keyword_matches.add(rule.severity)
                    yield item


class RuleItem(pytest.Item):
    """One rule; `line` begins at 1."""

    funcargs: Mapping[str, object] = MappingProxyType({})  # none, for plugins that look at every item's fixtures
    rule: str
    run: Run
    line: int

    def runtest(self) -> None:
        from rewarden import exits
        from rewarden.ci.policy import fail_on_of, rule_status

        config = _configured(self.config)
        assert config is not None
        found = self._outcome(config)
        if found.result.verdict.value == "proved":
            return
        said = _said(found)
        if rule_status(found, fail_on_of(config.ci.get("fail_on", "must"))) == exits.PROVED:
            pytest.xfail(said.splitlines()[0])
        raise Broken(said)

    def _outcome(self, config: Config) -> RuleOutcome:
        """The rule as `rewarden ci` sees it, waivers included. RewardenError where something cannot be used."""
        from datetime import date

        from rewarden.ci.run import verified
        from rewarden.ci.waivers import load_waivers, waive
        from rewarden.verdict_cache import VerdictCache, default_folder

        run = replace(self.run, rules=(self.rule,))
        folder = default_folder()
        told = verified(config, run, kept=(VerdictCache(folder), VerdictCache(folder.parent / "checks")))
        place = config.place("waivers")
        if place is not None:
            (told,), _ = waive((told,), load_waivers(place), date.today(), partly=True)
        return told.rules[0]

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.line - 1, f"{self.path.name}: {self.rule}"

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: str | None = None
    ) -> str | TerminalRepr:
        """The witness, or the error in its own words: no frames of Rewarden's."""
        from rewarden.spec_lang.errors import RewardenError

        match excinfo.value:
            case Broken() as broken:
                return str(broken)
            case RewardenError() as error:
                return error.render()
        return super().repr_failure(excinfo)


def _said(found: RuleOutcome) -> str:
    from rewarden.outputs.clean import line
    from rewarden.outputs.words import details, standing

    told = found.result
    how = standing(found, "must")
    head = f"{told.rule} is {told.verdict.value}: {line(told.title)}".rstrip(": ") + (f" ({how})" if how else "")
    return "\n".join([head, f"at {found.place}", *details(found), *([found.fingerprint] if found.broken else [])])
