"""All that a configuration names, one run after the other: checked, verified, judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rewarden import exits
from rewarden.checking import shown as shown_path
from rewarden.ci.baseline import Baseline, held_against, load_baseline
from rewarden.ci.certificates import troubles_with
from rewarden.ci.checks import finding, findings_of
from rewarden.ci.outcome import Outcome, Place, RuleOutcome, RunOutcome, Trouble, Waiver
from rewarden.ci.policy import FailOn, status_of
from rewarden.ci.told import of_kept, to_kept
from rewarden.ci.unchanged import Unchanged
from rewarden.ci.waivers import load_waivers, waive
from rewarden.config import Config, Run
from rewarden.nearby import did_you_mean
from rewarden.spec_lang.errors import CertificateError, RewardenError, SpecError, UsageError

if TYPE_CHECKING:
    from rewarden.ci.unchanged import Read
    from rewarden.reward.artifact import Artifact
    from rewarden.spec_lang.spec import Spec
    from rewarden.text.told import TextTold
    from rewarden.verdict_cache import VerdictCache
    from rewarden.verifier.progress import Report, Stop
    from rewarden.verifier.verdict import VerificationResult

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class CiOptions:
    """What a run in CI is told beside its configuration. `given`: options of the verifier that replace configured ones.

    `kept`: where verdicts are kept, and where checks are.
    """

    fail_on: FailOn = "must"
    rules: tuple[str, ...] = ()
    waivers: Path | None = None
    against: Path | None = None
    today: date = field(default_factory=date.today)
    given: Mapping[str, Any] = field(default_factory=dict)
    kept: tuple[VerdictCache, VerdictCache] | None = None


def run_ci(config: Config, options: CiOptions, *, progress: Report | None = None, stop: Stop | None = None) -> Outcome:
    """Raises nothing of the tree of errors: what cannot be done is trouble, with the exit status that it asks for."""
    troubles: list[Trouble] = []
    waivers: tuple[Waiver, ...] = ()
    baseline: Baseline | None = None
    if options.waivers is not None:
        waivers = _or_trouble(load_waivers, options.waivers, troubles) or ()
    if options.against is not None:
        baseline = _or_trouble(load_baseline, options.against, troubles)
    runs = tuple(_run(config, run, options, progress, stop) for run in config.all_runs())
    if not runs:
        troubles.append(Trouble("G71", "no spec is named in rewarden.toml", exits.UNUSABLE))
    troubles += _unmatched(runs, options.rules)
    runs = tuple(run for run in runs if run.rules or run.troubles or not options.rules)
    partly = bool(options.rules) or any(run.troubles for run in runs)
    runs, notices = waive(runs, waivers, options.today, partly=partly)
    if baseline is not None:
        runs = held_against(runs, baseline)
    return Outcome(
        runs,
        status_of(runs, troubles, options.fail_on),
        options.fail_on,
        None if options.against is None else shown(options.against),
        tuple(troubles),
        notices,
    )


def shown(path: Path) -> str:
    """As a person would type it from here; bytes of a name that are no text are replaced, for formats that are."""
    return shown_path(path).encode("utf-8", "replace").decode("utf-8")


def outcome_of(spec: Spec, path: Path, places: Mapping[str, Path], result: VerificationResult) -> Outcome:
    """One verification as an outcome: for the forms that are made of one."""
    file = shown(path)
    rewards = {name: (shown(place), result.rewards[name]) for name, place in places.items()}
    rules = rule_outcomes(spec, file, result)
    run = RunOutcome(file, spec.name, spec.digest, rewards, result.semantics, rules)
    return Outcome((run,), result.exit_status)


def outcome_of_error(error: Exception, path: Path | None) -> Outcome:
    """What there is to tell where it came to nothing."""
    file = "" if path is None else shown(path)
    found = trouble_of(error, file) if isinstance(error, RewardenError) else (_internal(error, file),)
    return Outcome((), exits.worst(trouble.status for trouble in found), troubles=found)


def rule_outcomes(spec: Spec, file: str, result: VerificationResult) -> tuple[RuleOutcome, ...]:
    """Results with their places and fingerprints."""
    from rewarden.ci.fingerprint import fingerprint

    texts: Mapping[str, TextTold] = getattr(result, "texts", {})
    found = []
    for told in result.rules:
        rule = spec.rule(told.rule)
        place = Place(file, rule.span.line, rule.span.column)
        name = fingerprint(spec, rule.name)
        found.append(RuleOutcome(told, place, name, rule.requirement, rule.because, text=texts.get(told.rule)))
    return tuple(found)


def trouble_of(error: RewardenError, file: str) -> tuple[Trouble, ...]:
    """What an error of the tree comes to; a SpecError is about several places."""
    status = exits.REJECTED if isinstance(error, CertificateError) else exits.UNUSABLE
    if not isinstance(error, SpecError):
        return (Trouble(error.code, error.message, status, Place(file) if file else None, error.help),)
    own = Path(file).name
    found = [finding(diagnostic, file, own) for diagnostic in error.diagnostics]
    return tuple(Trouble(f.code, f.message, status, f.place or Place(file), f.help) for f in found)


# ── one run ────────────────────────────────────────────────────────────────────────────────────
def _run(config: Config, run: Run, options: CiOptions, progress: Report | None, stop: Stop | None) -> RunOutcome:
    file = shown(run.spec)
    told = RunOutcome(file)
    try:
        rules, given, kept = options.rules, options.given, options.kept
        told = verified(config, run, rules, given, kept, check=True, progress=progress, stop=stop)
        if rules or not told.rules:
            return told  # a part of the rules: the certificate is about all of them
        checks = None if kept is None else kept[1]
        return replace(told, troubles=(*told.troubles, *troubles_with(config, run, run.rewards, file, checks)))
    except RewardenError as error:
        return replace(told, troubles=trouble_of(error, file))
    except Exception as error:
        # One spec's misfortune must not hide what the others say; it is still the worst that a run can end with.
        return replace(told, troubles=(_internal(error, file),))


def verified(
    config: Config,
    run: Run,
    asked: Sequence[str] = (),
    given: Mapping[str, Any] | None = None,
    kept: tuple[VerdictCache | None, VerdictCache | None] | None = None,
    *,
    check: bool = False,
    progress: Report | None = None,
    stop: Stop | None = None,
) -> RunOutcome:
    """One run, of the rules that were `asked` for; with `check` the spec itself is checked, too. RewardenError.

    `kept`: verdicts, and what else was found, checks and whole runs.
    """
    entry = None
    if kept is not None and kept[1] is not None:
        entry = Unchanged(kept[1], "rewarden-run", _asked(config, run, asked, given or {}, check))
        earlier = entry.get()
        if earlier is not None:
            try:
                return of_kept(earlier)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                entry.damaged(f"{type(error).__name__}: {error}")
    told, files = _verified(config, run, asked, given, kept, check=check, progress=progress, stop=stop)
    if entry is not None and files is not None and not (stop is not None and stop()):
        entry.put(to_kept(told), files)
    return told


def _asked(config: Config, run: Run, asked: Sequence[str], given: Mapping[str, Any], check: bool) -> dict[str, object]:
    """All that decides what a run finds, beside what is in its files."""
    return {
        "check": check,
        "spec": [shown(run.spec), run.spec],
        "rewards": {name: [shown(place), place] for name, place in run.rewards.items()},
        "params": run.params,
        "rules": [run.rules, list(asked)],
        "verify": [config.verify, run.verify, given],
        "text": [config.text, run.text],
        "allow": config.allow,
    }


def _verified(
    config: Config,
    run: Run,
    asked: Sequence[str],
    given: Mapping[str, Any] | None,
    kept: tuple[VerdictCache | None, VerdictCache | None] | None,
    *,
    check: bool,
    progress: Report | None,
    stop: Stop | None,
) -> tuple[RunOutcome, list[Read] | None]:
    """The run, and the files that it was made from; None where it does not last."""
    from rewarden import api
    from rewarden.binding import verify_options
    from rewarden.ci.read_files import before, read_of, read_spec
    from rewarden.reward.store import load_artifact
    from rewarden.verifier.kept import lasting

    file = shown(run.spec)
    spec, texts = read_spec(run.spec, run.params, config.allow)
    rewards = _bound(spec, run)
    text = {**config.text, **run.text}
    files = [*texts, *before(spec, texts, rewards.values(), text)]
    told = RunOutcome(file, spec.name, spec.digest, {}, known=tuple(rule.name for rule in spec.rules))
    names = _rules_of(spec, run, asked)
    if not names:
        return told, files
    verdicts, checks = kept or (None, None)
    if check:
        told = replace(told, findings=findings_of(spec, file, checks))
    artifacts: dict[str, Artifact] = {name: load_artifact(place) for name, place in rewards.items()}
    chosen = verify_options(replace(config, verify={**config.verify, **run.verify}), given or {})
    result = api.verify(spec, chosen, rules=names, progress=progress, stop=stop, cache=verdicts, rewards=artifacts)
    result = api.with_texts(result, stop=stop, **text)
    told = replace(
        told,
        rewards={name: (shown(place), artifacts[name].digest) for name, place in rewards.items()},
        semantics=result.semantics,
        rules=rule_outcomes(spec, file, result),
    )
    if not all(lasting(rule, chosen) for rule in result.rules):
        return told, None
    return told, [*files, *read_of(spec, {rewards[name]: artifact for name, artifact in artifacts.items()})]


def _bound(spec: Spec, run: Run) -> dict[str, Path]:
    """The run's artifacts by reward, in the spec's order."""
    for name in run.rewards:
        if name not in spec.rewards:
            help = did_you_mean(name, spec.rewards)
            raise UsageError("G72", f"{spec.name} declares no reward {name}", help=help)
    if not run.rewards:
        raise UsageError("G75", f"no artifact is named for a reward of {spec.name}", help="name it in [rewards]")
    return {name: run.rewards[name] for name in spec.rewards if name in run.rewards}


def _rules_of(spec: Spec, run: Run, asked: Sequence[str]) -> list[str]:
    """UsageError G21 for a rule of the configuration that the spec does not have; one that was asked for may be
    another spec's."""
    known = [rule.name for rule in spec.rules]
    for name in run.rules:
        if name not in known:
            raise UsageError("G21", f"{spec.name} has no rule {name}", help=did_you_mean(name, known))
    if not known:
        raise UsageError("G15", f"{spec.name} has no rule", help="a spec without rules proves nothing")
    return [name for name in known if (not run.rules or name in run.rules) and (not asked or name in asked)]


def _unmatched(runs: Sequence[RunOutcome], asked: Sequence[str]) -> list[Trouble]:
    """A rule that was asked for and that nothing has: a typing error must not make a check green."""
    seen = {rule.result.rule for run in runs for rule in run.rules}
    missing = [name for name in dict.fromkeys(asked) if name not in seen]
    if any(run.troubles for run in runs) and missing:
        return []
    known = sorted({name for run in runs for name in run.known})
    return [
        Trouble("G21", f"no run looks at a rule {name}", exits.UNUSABLE, help="the run leaves it out: rules in [[run]]")
        if name in known
        else Trouble("G21", f"no spec has a rule {name}", exits.UNUSABLE, help=did_you_mean(name, known))
        for name in missing
    ]


def _internal(error: Exception, file: str) -> Trouble:
    message = f"internal error: {type(error).__name__}: {error}"
    help = "this is a bug in Rewarden, not in your files: rewarden --debug verify may show where"
    return Trouble("internal", message, exits.INTERNAL, Place(file) if file else None, help)


def _or_trouble(load: Callable[[Path], _T], path: Path, troubles: list[Trouble]) -> _T | None:
    try:
        return load(path)
    except RewardenError as error:
        troubles += trouble_of(error, "")
        return None
