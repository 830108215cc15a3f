"""How high and low a reward goes at all, and how steady it is around what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang import Spec
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.numerals import decimal
from rewarden.spec_lang.sampling.points import sample_rows
from rewarden.suggest.candidate import Candidate
from rewarden.suggest.friendly import above, short, step_above, step_below
from rewarden.suggest.scene import DataRows, Rows, Scene, Subject, score

_MARGIN = 0.1  # of the range seen, beyond it on either side
_ROUNDING = 1e-9  # of a difference of rewards in float64
_STEADY_MARGIN = 1.25
NEAR = 1  # percent of each range
POINTS = 1000


@dataclass(frozen=True, slots=True)
class _Reach:
    """How low and high a reward goes, with a remark that says how that is known."""

    low: float
    high: float
    remark: str


def _reach(artifact: Artifact, records: Sequence[RecordType], scores: Rows) -> _Reach:
    """Certified over the declared ranges; what was seen and a margin, where no finite bound is found."""
    from rewarden.verifier.extremum import certified_extremum

    low, high = float(scores.min()), float(scores.max())
    seen = f"seen: {short(low)} .. {short(high)}, at {len(scores)} points"
    box = tuple((column.lo, column.hi) for record in records for column in record.columns())
    try:
        least, most = -float(certified_extremum(artifact, box, -1)), float(certified_extremum(artifact, box, 1))
    except EditError:
        margin = _MARGIN * (high - low)
        return _Reach(low - margin, high + margin, f"{seen}; the rule adds a tenth on either side")
    room = _ROUNDING * (most - least)  # the bounds were rounded to binary64
    known = f"{seen}; certified over the declared ranges: {short(least)} .. {short(most)}"
    return _Reach(least - room, most + room, known)


def bounds(subject: Subject) -> list[Candidate]:
    """Between which numbers the reward stays, everywhere; or by how much it exceeds what was recorded, where its level
    is known up to a shift only."""
    (s,) = subject.scene.fresh("s")
    reward, reference = subject.reward, subject.references
    reach = _reach(subject.artifact, [subject.record], subject.scores)
    if subject.artifact.identified == "exact":
        name, title = f"{subject.prefix}bounded", f"{reward} stays within bounds."
        expect = _between(reach, f"{reward}({s})")
    elif reference:
        data = reference[0]
        over = max(0.0, reach.high - float(score(subject.artifact, data.values).max()))
        name = f"{subject.prefix}not_far_above_{_word(data)}"
        title = f"Nothing is worth much more than the best of {data.name}."
        expect = f"{reward}({s}) <= max({reward}({data.name})) + {decimal(above(over + _ROUNDING * abs(over)))}"
    else:
        return []
    return [
        Candidate(
            kind="bounds",
            name=name,
            title=title,
            quantifier=f"forall {s}: {subject.record.name}",
            given=None,
            expect=expect,
            strength=0.5,
            names=(s,),
            rows=subject.base[: subject.recorded, None] if subject.recorded else None,
            looked_at=f"rows of {subject.where()}",
            remarks=(reach.remark,),
        )
    ]


def _between(reach: _Reach, call: str) -> str:
    width = reach.high - reach.low or abs(reach.high) or 1.0
    return f"{decimal(step_below(reach.low, width))} <= {call} <= {decimal(step_above(reach.high, width))}"


def bounds_of_several(scene: Scene, reward: str, artifact: Artifact, prefix: str) -> list[Candidate]:
    """Bounds of a reward of several records, over its domain."""
    params = scene.spec.rewards[reward].params
    names = scene.fresh(*(f"s{number}" for number in range(1, len(params) + 1)))
    records = ", ".join(f"{name}: {kind}" for name, (_, kind) in zip(names, params, strict=True))
    probe = scene.with_rules([f"should probe:\n  forall {records}\n  expect true"])
    scores = _scores(artifact, probe, "probe", names)
    if artifact.identified != "exact" or not len(scores):
        return []
    reach = _reach(artifact, [scene.spec.features[kind] for _, kind in params], scores)
    return [
        Candidate(
            kind="bounds",
            name=f"{prefix}bounded",
            title=f"{reward} stays within bounds.",
            quantifier=f"forall {records}",
            given=None,
            expect=_between(reach, f"{reward}({', '.join(names)})"),
            strength=0.5,
            names=names,
            remarks=(reach.remark,),
        )
    ]


def _scores(artifact: Artifact, probe: Spec, rule: str, names: tuple[str, ...]) -> Rows:
    obligation = probe.obligation(rule)
    points = sample_rows(obligation, POINTS, 0)
    views = {view.name: list(view.variables) for view in obligation.records}
    return score(artifact, np.concatenate([points[:, views[name]] for name in names], axis=1))


def steady(subject: Subject) -> list[Candidate]:
    """Around recorded rows the reward moves by little: robustness, where a policy will be."""
    if not any(feature.kind in ("real", "int") for feature in subject.record.features):
        return []
    found = []
    for data in subject.references[:1]:
        (x,) = subject.scene.fresh("x")
        quantifier = f"forall {x}: {subject.record.name} near {data.name} within {NEAR} %"
        moved = _moved(subject, quantifier, x)
        if moved is None or moved <= 0:
            continue
        reward = subject.reward
        found.append(
            Candidate(
                kind="steady",
                name=f"{subject.prefix}steady_near_{_word(data)}",
                title=f"Around what is recorded in {data.name}, {reward} is steady.",
                quantifier=quantifier,
                given=None,
                expect=f"|{reward}({x}) - {reward}(anchor({x}))| <= {decimal(above(moved * _STEADY_MARGIN))}",
                strength=0.5,
                remarks=(
                    f"within {NEAR} % of a row {reward} moved by {short(moved)} at most, of a spread of "
                    f"{short(subject.spread)}",
                ),
            )
        )
    return found


def _moved(subject: Subject, quantifier: str, x: str) -> float | None:
    """The most that the reward was seen to move from a row to a point near it."""
    rule = f"should probe:\n  {quantifier}\n  expect {subject.reward}({x}) <= {subject.reward}(anchor({x}))"
    obligation = subject.scene.with_rules([rule]).obligation("probe")
    points = sample_rows(obligation, POINTS, 0)
    if not len(points) or obligation.instances is None:
        return None
    views = {view.name: list(view.variables) for view in obligation.records}
    anchor = next((columns for name, columns in views.items() if name != x), None)
    if anchor is None:
        return None
    return float(
        np.abs(score(subject.artifact, points[:, views[x]]) - score(subject.artifact, points[:, anchor])).max()
    )


def _word(data: DataRows) -> str:
    return data.name.replace(".", "_")
