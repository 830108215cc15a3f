"""`rewarden ci`: everything that rewarden.toml names, in one answer with one exit status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewarden import exits
from rewarden.commands import options

if TYPE_CHECKING:
    from rewarden.verdict_cache import VerdictCache


def ci(
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="By default rewarden.toml or pyproject.toml, here or above."),
    ] = None,
    rule: options.Rules = None,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            metavar="must|should|unknown",
            help="should: should rules count, too; unknown: and what is open fails.",
            show_default="must",
        ),
    ] = None,
    waivers: Annotated[
        Path | None, typer.Option("--waivers", metavar="FILE", help="Violations that somebody answers for (TOML).")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="FILE|CERT", help="JSON of an earlier run, or a certificate: only new fail."),
    ] = None,
    budget: options.Budget = None,
    timeout: options.Timeout = None,
    json: options.JsonFile = None,
    sarif: options.SarifFile = None,
    junit: options.JunitFile = None,
    github: options.Github = None,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Take answers from earlier runs where nothing has changed.")
    ] = True,
    quiet: options.Quiet = False,
) -> int:
    """Check and verify all that rewarden.toml names, and say in one summary what fails.

    Exit status: the worst of all specs, in the order 5, 2, 4, 1, 3, 0.
    """
    from rewarden.atomic import write_text
    from rewarden.ci.policy import fail_on_of
    from rewarden.ci.run import CiOptions, outcome_of_error, run_ci
    from rewarden.config import find_config, load_config
    from rewarden.interrupt import interruptible
    from rewarden.output import note
    from rewarden.outputs.document import text_of
    from rewarden.outputs.words import error_lines, summary_lines
    from rewarden.outputs.written import Forms, say, write_forms
    from rewarden.progress import per_rule, progress
    from rewarden.spec_lang.errors import RewardenError

    forms = Forms(sarif, junit, github)
    forms.require_folders()
    with interruptible() as interrupt, progress(quiet) as report:
        try:
            found = find_config() if config is None else load_config(config)
            chosen = CiOptions(
                fail_on=fail_on_of(fail_on or found.ci.get("fail_on", "must")),
                rules=tuple(rule or ()),
                waivers=waivers or found.place("waivers"),
                against=against or found.place("against"),
                given={"budget": budget, "timeout": timeout},
                kept=_kept() if cache else None,
            )
            outcome = run_ci(found, chosen, progress=per_rule(report), stop=interrupt.stop)
        except RewardenError as error:  # of the configuration: it is told in every form as well
            outcome = outcome_of_error(error, config)
    for text in error_lines(outcome):
        note(text)
    say(summary_lines(outcome, quiet=quiet), forms)
    write_forms(outcome, forms)
    if json is not None:
        write_text(json, text_of(outcome))
    earlier = sum(told.result.cached for told in outcome.rules())
    if earlier and not quiet:
        note(f"{earlier} of these verdicts {'is' if earlier == 1 else 'are'} from earlier runs (--no-cache)")
    return exits.INTERRUPTED if interrupt.asked else outcome.status


def _kept() -> tuple[VerdictCache, VerdictCache]:
    """Verdicts where `rewarden verify` keeps them, and checks beside them."""
    from rewarden.output import note
    from rewarden.verdict_cache import VerdictCache, default_folder

    folder = default_folder()
    return VerdictCache(folder, note), VerdictCache(folder.parent / "checks", note)
