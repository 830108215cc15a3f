"""`rewarden verify` and `rewarden falsify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewarden import exits
from rewarden.commands import options

if TYPE_CHECKING:
    from rewarden.api import Verification
    from rewarden.binding import Bound
    from rewarden.config import Config
    from rewarden.outputs.written import Forms
    from rewarden.verifier.progress import Stop
    from rewarden.verifier.verdict import VerificationResult


def verify(
    spec: options.SpecFile = None,
    reward: options.Rewards = None,
    rule: options.Rules = None,
    param: options.Params = None,
    allow: options.Allow = None,
    engine: options.Engine = None,
    semantics: options.Semantics = None,
    budget: options.Budget = None,
    timeout: options.Timeout = None,
    json: options.JsonFile = None,
    sarif: options.SarifFile = None,
    junit: options.JunitFile = None,
    github: options.Github = None,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Say how much of each rule's region is proved, violated and unsettled.")
    ] = False,
    coverage_budget: Annotated[
        int | None, typer.Option(help="Boxes that the coverage of a rule may take.", show_default="10000")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a report to read.")] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", metavar="DIR", help="Issue a certificate of what is proved.")
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Take verdicts from earlier runs where nothing has changed.")
    ] = True,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="FILE", help="Save the state there, and go on from it if it is there."),
    ] = None,
    encoder: options.Encoder = None,
    paraphrases: options.Paraphrases = None,
    texts: options.TextRows = None,
    quiet: options.Quiet = False,
) -> int:
    """Prove each rule, or show the exact record for which it fails."""
    from rewarden.binding import Asked, bind, verify_options
    from rewarden.outputs.written import Forms, errors_written

    forms = Forms(sarif, junit, github)
    forms.require_folders()
    with errors_written(forms, spec):
        bound = bind(Asked(spec, reward or (), param or (), rule or (), allow or ()))
        given = {"engine": engine, "semantics": semantics, "budget": budget, "timeout": timeout}
        chosen = verify_options(bound.config, {**given, "coverage_budget": coverage_budget})
    from rewarden import api  # what is refused is refused before engines are loaded, which takes as long
    from rewarden.interrupt import interruptible
    from rewarden.output import note
    from rewarden.outputs.written import write_forms
    from rewarden.progress import per_rule, progress
    from rewarden.verdict_cache import VerdictCache, default_folder

    _require_free(certificate)
    if certificate is not None:
        from rewarden.certificate.issue import require_real

        require_real(chosen.semantics)
    with errors_written(forms, bound.spec_path), interruptible() as interrupt, progress(quiet) as report:
        told = per_rule(report)
        result = api.verify(
            bound.spec,
            chosen,
            rules=bound.rules,
            progress=told,
            stop=interrupt.stop,
            coverage=coverage,
            cache=VerdictCache(default_folder(), note) if cache else None,
            resume=resume,
            rewards=bound.rewards,
        )
        result = _with_texts(result, bound.config, encoder, paraphrases, texts, interrupt.stop)
    _show(bound, result, quiet, forms)
    _write(result, json)
    if forms.any:
        from rewarden.ci.run import outcome_of

        write_forms(outcome_of(bound.spec, bound.spec_path, bound.places, result), forms)
    if html is not None:
        from rewarden.atomic import write_text
        from rewarden.report import Story, render

        write_text(html, render(Story(f"Verification of {bound.spec_path.name}", bound.spec, result, bound.rewards)))
    if certificate is not None and not interrupt.asked:
        from rewarden.commands.certificate import ancestors_in, note_refused

        issued = api.certify(result, out=certificate, near=ancestors_in(bound.places))
        note_refused(issued)
        return issued.status
    return exits.INTERRUPTED if interrupt.asked else result.exit_status


def falsify(
    spec: options.SpecFile = None,
    reward: options.Rewards = None,
    rule: options.Rules = None,
    param: options.Params = None,
    allow: options.Allow = None,
    budget: Annotated[int | None, typer.Option(help="Points that may be tried per rule.")] = None,
    timeout: options.Timeout = None,
    json: options.JsonFile = None,
    encoder: options.Encoder = None,
    paraphrases: options.Paraphrases = None,
    texts: options.TextRows = None,
    quiet: options.Quiet = False,
) -> int:
    """Search for violations only, fast. Finding none proves nothing: the rule is then unknown."""
    from rewarden import api
    from rewarden.binding import Asked, bind, verify_options
    from rewarden.interrupt import interruptible
    from rewarden.progress import per_rule, progress

    bound = bind(Asked(spec, reward or (), param or (), rule or (), allow or ()))
    chosen = verify_options(bound.config, {"falsify_budget": budget, "timeout": timeout})
    with interruptible() as interrupt, progress(quiet) as report:
        told, stop = per_rule(report), interrupt.stop
        result = api.falsify(bound.spec, chosen, rules=bound.rules, progress=told, stop=stop, rewards=bound.rewards)
        result = _with_texts(result, bound.config, encoder, paraphrases, texts, interrupt.stop)
    _show(bound, result, quiet)
    _write(result, json)
    if interrupt.asked:
        return exits.INTERRUPTED
    # Nothing found is nothing to object to; but a must rule in which nobody looked is.
    searched = all(rule.work.points > 0 for rule in result.rules if rule.severity == "must")
    return exits.PROVED if searched and result.exit_status == exits.INCONCLUSIVE else result.exit_status


def _with_texts(
    result: Verification,
    config: Config,
    encoder: Path | None,
    paraphrases: Path | None,
    texts: int | None,
    stop: Stop,
) -> Verification:
    """Also without an encoder: a witness in data that have texts is told with the nearest one."""
    from rewarden import api

    given = {"encoder": encoder, "paraphrases": paraphrases, "texts": texts}
    asked = {**config.text, **{name: value for name, value in given.items() if value is not None}}
    return api.with_texts(result, stop=stop, **asked)


def _require_free(folder: Path | None) -> None:
    if folder is not None:
        from rewarden.atomic import require_free

        require_free(folder)


def _show(bound: Bound, result: VerificationResult, quiet: bool, forms: Forms | None = None) -> None:
    from rewarden.output import header_lines, result_lines
    from rewarden.outputs.written import Forms, say

    lines = []
    if not quiet:
        rewards = {name: (place, bound.rewards[name].digest) for name, place in bound.places.items()}
        about = {"float32": ["semantics  float32: the rewards as binary32 executes them"]}.get(result.semantics, [])
        lines = [*header_lines(bound.spec_path, bound.spec.digest, rewards), *about, ""]
    say([*lines, *result_lines(result, quiet=quiet)], forms or Forms(github=False))


def _write(result: VerificationResult, file: Path | None) -> None:
    if file is not None:
        from rewarden.results import write_result

        write_result(result, file)
