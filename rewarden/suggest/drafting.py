"""The whole run: look, choose, count, ask the verifier, write down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rewarden.progress import Progress, silent
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang import Spec, parse_spec
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.spec_lang.obligation import And, Obligation
from rewarden.spec_lang.sampling.points import sample_rows
from rewarden.suggest import caps, irrelevant, levels, monotone, regions, text
from rewarden.suggest.candidate import Candidate, chosen
from rewarden.suggest.conditions import parts_of
from rewarden.suggest.correlations import Assumption, correlations
from rewarden.suggest.figures import Tally, tally
from rewarden.suggest.scene import Rows, Scene, Subject, as_points, evenly, scene_of, subject_of
from rewarden.suggest.sweep import sweep
from rewarden.suggest.text import Suggestion
from rewarden.suggest.verdicts import in_words, verdicts

MOST_RULES = 12
POINTS = 2000  # of a rule's domain, and rows, on which it is counted


@dataclass(frozen=True, slots=True, eq=False)
class Suggested:
    """`text` is a spec that passes `rewarden check` beside the one that it was made of."""

    text: str
    rules: tuple[Suggestion, ...]
    assumptions: tuple[Assumption, ...]
    notes: tuple[str, ...]  # what was not looked at, and why


def suggest(
    spec: Spec,
    rewards: Mapping[str, Artifact],
    *,
    data: Sequence[str] = (),
    incidents: Sequence[str] = (),
    progress: Progress = silent,
) -> Suggested:
    """Candidate rules about the rewards (by name) and assumptions from the data, each with its figures; deterministic.

    `data` limits which data sets are looked at, `incidents` names those that stand for what must not pay. Raises
    UsageError (G22 an unknown data set, G88 neither a reward nor data), DataError, BindingError.
    """
    from rewarden import api

    api.check_names(spec, rewards)
    if not rewards and not spec.data:
        raise UsageError(
            "G88", f"{spec.name} has neither data nor a reward to look at", help="give --reward, or declare data"
        )
    scene = scene_of(spec, data, incidents)
    distinct = _distinct(rewards)
    notes = [f"{name} is the same artifact as {first}: one set of rules is enough" for name, first in _twins(rewards)]
    found: list[Candidate] = []
    for number, (name, artifact) in enumerate(distinct.items()):
        progress("looking", number, len(distinct), name)
        found += _candidates(scene, name, artifact, f"{name.replace('.', '_')}_" if len(distinct) > 1 else "", notes)
    progress("assumptions", 0, 1, "")
    assumptions = correlations(scene)
    if not rewards:
        notes.append("no reward is bound (--reward): only assumptions are suggested, from the data")
    elif scene.data and not any(rows.incident for rows in scene.data):
        notes.append("no data set is known to hold incidents (--incidents NAME): no caps are suggested")
    rules = _judged(scene, _named(scene, chosen(found, MOST_RULES)), distinct, progress)
    written = text.spec_text(scene.header, _origin(scene, distinct), rules, assumptions)
    _require_sound(scene, written, assumptions)
    return Suggested(written, tuple(rules), assumptions, tuple(notes))


# ── looking ────────────────────────────────────────────────────────────────────────────────────
def _candidates(scene: Scene, name: str, artifact: Artifact, prefix: str, notes: list[str]) -> list[Candidate]:
    if len(scene.spec.rewards[name].params) > 1:
        notes.append(f"{name} is a reward of several records: only its bounds are looked at")
        return levels.bounds_of_several(scene, name, artifact, prefix)
    subject = subject_of(scene, name, artifact, prefix)
    if len(subject.base) == 0:
        notes.append(f"no record of {subject.record.name} was found that satisfies the assumptions")
        return []
    if subject.spread <= 0:
        notes.append(f"{name} is the same wherever it was looked at: nothing but its bounds is suggested")
        return levels.bounds(subject)
    sweeps = [sweep(subject, feature) for feature in subject.record.features]
    idle = [s for s in sweeps if irrelevant.is_irrelevant(subject, s)]
    parts = parts_of(subject)
    directions = [monotone.monotone(subject, s, parts) for s in sweeps if s not in idle]
    found = [candidate for candidate in directions if candidate is not None]
    found += irrelevant.irrelevant(subject, idle)
    return found + _levels(subject)


def _levels(subject: Subject) -> list[Candidate]:
    makers: tuple[Callable[[Subject], list[Candidate]], ...] = (
        caps.near_incidents,
        regions.incident_regions,
        levels.bounds,
        levels.steady,
    )
    return [candidate for make in makers for candidate in make(subject)]


def _distinct(rewards: Mapping[str, Artifact]) -> dict[str, Artifact]:
    found: dict[str, tuple[str, Artifact]] = {}
    for name, artifact in rewards.items():
        found.setdefault(artifact.digest, (name, artifact))
    return dict(found.values())


def _twins(rewards: Mapping[str, Artifact]) -> list[tuple[str, str]]:
    first = {artifact.digest: name for name, artifact in reversed(list(rewards.items()))}
    return [(name, first[a.digest]) for name, a in rewards.items() if first[a.digest] != name]


def _named(scene: Scene, candidates: list[Candidate]) -> list[Candidate]:
    """The candidates under names that neither the spec's declarations nor its rules have."""
    taken, named = set(scene.names), []
    for candidate in candidates:
        name, number = candidate.name, 2
        while name in taken:
            name, number = f"{candidate.name}_{number}", number + 1
        taken.add(name)
        named.append(replace(candidate, name=name))
    return named


# ── judging ────────────────────────────────────────────────────────────────────────────────────
def _judged(
    scene: Scene, candidates: list[Candidate], rewards: Mapping[str, Artifact], progress: Progress
) -> list[Suggestion]:
    from rewarden.progress import per_rule

    if not candidates:
        return []
    spec = scene.with_rules([candidate.text() for candidate in candidates])
    words = verdicts(spec, [candidate.name for candidate in candidates], rewards, per_rule(progress))
    judged = []
    for number, candidate in enumerate(candidates):
        progress("counting", number, len(candidates), candidate.name)
        obligation = spec.obligation(candidate.name)
        rows = _rows_of(candidate, obligation)
        points = sample_rows(obligation, POINTS, 0)
        on_rows, on_points = (tally(obligation, where, spec, rewards) for where in (rows, points))
        result = words.get(candidate.name)
        word, sentence = in_words(result)
        example = _example(obligation, (on_rows, rows), (on_points, points))
        warnings = result.warnings if result is not None else ()
        judged.append(Suggestion(candidate, on_rows, on_points, word, sentence, example, warnings))
    return judged


def _rows_of(candidate: Candidate, obligation: Obligation) -> Rows:
    """The candidate's rows as points, where they satisfy its premise; the rows that it is near, where it has none."""
    points = np.zeros((0, len(obligation.variables)))
    if candidate.rows is not None:
        points = as_points(obligation, candidate.names, evenly(candidate.rows, POINTS))
    elif candidate.looked_at and obligation.instances is not None:
        anchors = evenly(obligation.instances.anchors, POINTS)
        points = np.zeros((len(anchors), len(obligation.variables)))
        places = [(v, c) for v, c, _ in obligation.instances.centred] + list(obligation.instances.fixed)
        points[:, [v for v, _ in places]] = anchors[:, [c for _, c in places]]
    return points[truth_of_rows(And((obligation.assume, obligation.premise)), points)]


def _example(obligation: Obligation, *places: tuple[Tally, Rows]) -> str:
    """Where it fails worst, in the features that the rule lets vary."""
    worst, points = min(places, key=lambda place: place[0].worst)
    if worst.at is None or worst.worst >= 0:
        return ""
    shown = [
        f"{variable.name} = {value:.4g}"
        for index, (variable, value) in enumerate(zip(obligation.variables, points[worst.at], strict=True))
        if not variable.discrete and sum(index in view.variables for view in obligation.records) == 1
    ]
    return f", at {', '.join(shown[:6])}" if shown else ""


def _origin(scene: Scene, rewards: Mapping[str, Artifact]) -> str:
    parts = [f"{name} ({artifact.digest[:19]})" for name, artifact in rewards.items()]
    parts += [f"{len(rows.values)} rows of {rows.name}" for rows in scene.data]
    return ", ".join(parts)


def _require_sound(scene: Scene, written: str, assumptions: Sequence[Assumption]) -> None:
    """The text parses as it stands and with every assumption uncommented, and all rows satisfy these."""
    folders = scene.spec.folders
    parse_spec(written, scene.spec.source.name, base=folders.base, allow=folders.allowed)
    for assumption in assumptions:
        written = written.replace(f"# {assumption.text}", assumption.text)
    assuming = parse_spec(written, scene.spec.source.name, base=folders.base, allow=folders.allowed)
    for rows in scene.data:
        table = rows.values
        assert truth_of_rows(assuming.assumptions[rows.type_name], table).all(), (
            "a suggested assumption breaks the data"
        )
