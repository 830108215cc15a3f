"""Everything that is said of one reward, as values; `words` says it in text, `rewarden.report.inspection` on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rewarden.judging.effects import Effect, effects
from rewarden.judging.experts import Expert, experts
from rewarden.judging.neighbours import Neighbourhood, neighbourhood, witnesses
from rewarden.judging.rows import Data, Records, named_quantities, read_data, records_of
from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.judging.baselines import Contest, Quantity, contest, feature_quantities
from rewarden.reward.judging.calibration import Calibration, calibration, tempered
from rewarden.reward.judging.distances import Distance, DistanceOptions, dard, epic
from rewarden.reward.judging.held_out import HeldOut, held_out
from rewarden.reward.judging.made_up import KINDS, against_made_up, judged_pairs, ordinary
from rewarden.reward.judging.noise import NoisePoint, noise_curve
from rewarden.reward.judging.pairs import Margins, margins_of, pairs_of, taken
from rewarden.reward.judging.transitions import (
    Steps,
    drawn_steps,
    episode_steps,
    roles_of,
    row_steps,
    segment_steps,
)
from rewarden.reward.learners.interface import Array, Comparisons, Demonstrations, Judgements, Progress, silent
from rewarden.spec_lang.errors import UsageError
from rewarden.verifier.ranges.domain import Region, region_of
from rewarden.verifier.ranges.ends import BUDGET, Range
from rewarden.verifier.ranges.sensitivity import SLOPE_BUDGET, Sensitivity, sensitivities

SCHEMA_VERSION = 1
IDENTIFIED = {
    "exact": "exactly: its numbers mean something as they are",
    "shift": "up to a constant: only differences of it mean something",
    "affine": "up to a positive affine map: only order and ratios of differences mean something",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to say. `where`: the part of the domain that effects and sensitivities are about; `noise`: shares of labels
    to turn round; `baselines`: columns of the data that a trivial rule may go by; `effects`: whether to certify
    anything; `columns`: which column of the data a feature is; `encoder`: the folder of a text encoder, for texts."""

    data: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    encoder: Path | None = None
    against: Artifact | None = None
    witness: Path | None = None
    where: Sequence[str] = ()
    noise: Sequence[float] = ()
    baselines: Sequence[str] = ()
    actions: Sequence[str] = ()
    effects: bool = False
    budget: int = BUDGET
    distance: DistanceOptions = field(default_factory=DistanceOptions)


@dataclass(frozen=True, slots=True, eq=False)
class Test:
    """A reward on one kind of answers. `plain` is the calibration of margins as they stand, `scaled` after a
    temperature."""

    name: str
    margins: Margins
    contests: tuple[Contest, ...]
    plain: Calibration | None = None
    scaled: Calibration | None = None
    temperature: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            **self.margins.to_json(),
            "baselines": [c.to_json() for c in self.contests],
            "calibration": None if self.plain is None else self.plain.to_json(),
            "calibration_after_temperature": None if self.scaled is None else self.scaled.to_json(),
            "temperature": self.temperature,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """`rows`: what rewards of data are over. Parts that were not asked for are empty."""

    artifact: Artifact
    region: Region
    data: str | None = None
    held: HeldOut | None = None
    tests: tuple[Test, ...] = ()
    rewards: Array | None = None
    noise: tuple[NoisePoint, ...] = ()
    against: str | None = None
    distances: tuple[Distance, ...] = ()
    whole: Range | None = None
    effects: tuple[Effect, ...] = ()
    sensitivities: tuple[Sensitivity, ...] = ()
    experts: tuple[Expert, ...] = ()
    neighbours: tuple[Neighbourhood, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        from rewarden.spec_lang.canonical import parse_canonical

        return {
            "schema_version": SCHEMA_VERSION,
            "artifact": self.artifact.digest,
            "identified": {"how": self.artifact.identified, "meaning": IDENTIFIED[self.artifact.identified]},
            "manifest": parse_canonical(self.artifact.manifest_bytes),
            "data": None if self.data is None else {"file": self.data, "judged": self.held.why if self.held else None},
            "held_out": None if self.held is None else self.held.fresh,
            "tests": [t.to_json() for t in self.tests],
            "label_noise": [p.to_json() for p in self.noise],
            "against": self.against,
            "distances": {d.name: d.to_json() for d in self.distances},
            "region": self.region.words,
            "range": None if self.whole is None else self.whole.to_json(),
            "effects": [e.to_json() for e in self.effects],
            "sensitivities": [s.to_json() for s in self.sensitivities],
            "experts": [e.to_json() for e in self.experts],
            "nearest": [n.to_json() for n in self.neighbours],
            "notes": list(self.notes),
        }


def judge(artifact: Artifact, asked: Asked, progress: Progress = silent) -> Judgement:
    """All that was asked about an artifact. Raises DataError, UsageError (G34, G35, G42, G43)."""
    notes: list[str] = []
    region = region_of(artifact, asked.where)
    told = Judgement(artifact, region)
    if asked.data is None and (asked.noise or asked.baselines or asked.witness or asked.columns or asked.encoder):
        raise UsageError("G42", "there is nothing to judge by", help="name a table: --data FILE")
    data, known = None, None
    if asked.data is not None:
        source, data = read_data(artifact, asked.data, asked.columns, asked.encoder)
        held = held_out(artifact, data)
        progress("held-out data", 0, 1, asked.data.name)
        tests = _tests(artifact, data, held, named_quantities(source, data, asked.baselines))
        known = records_of(source, data)
        told = replace(
            told, data=asked.data.name, held=held, tests=tests, experts=experts(artifact, known.rows, known.name),
            rewards=forward(artifact, np.ascontiguousarray(known.rows, np.float32)).astype(np.float64),
        )  # fmt: skip
    if asked.noise:
        assert data is not None
        told = replace(told, noise=noise_curve(artifact, data, asked.noise, progress))
    if asked.against is not None:
        told = replace(
            told, against=asked.against.digest, distances=_distances(artifact, asked, data, known, notes, progress)
        )
    if asked.effects:
        rows = None if known is None else known.rows
        whole, found = effects(artifact, region, rows, budget=asked.budget, progress=progress)
        progress("sensitivities", 0, 1, region.words)
        steep, missing = sensitivities(artifact, region, budget=max(1, asked.budget * SLOPE_BUDGET // BUDGET))
        notes += [] if missing is None else [f"No sensitivity to numbers: {missing}."]
        told = replace(told, whole=whole, effects=found, sensitivities=steep)
    if known is not None and len(known.rows) and len(artifact.records) == 1:
        told = replace(told, neighbours=_neighbours(artifact, asked, told.whole, known))
    return replace(told, notes=tuple(notes))


# ── tests ──────────────────────────────────────────────────────────────────────────────────────
def _tests(artifact: Artifact, data: Data, held: HeldOut, named: list[Quantity]) -> tuple[Test, ...]:
    match data:
        case Comparisons():
            answers = taken(data, held.rows)
            kept = [Quantity(q.name, q.differences[held.rows]) for q in named]
            return (_answers(artifact, answers, kept),)
        case Judgements():
            weights = None if data.weights is None else data.weights[held.rows]
            ids = None if data.ids is None else data.ids[held.rows]
            judged = replace(data, rows=data.rows[held.rows], labels=data.labels[held.rows], weights=weights, ids=ids)
            return (_answers(artifact, judged_pairs(judged), [], "pairs of judged records, the higher label first"),)
        case Demonstrations():
            ids = None if data.ids is None else data.ids[held.rows]
            rows = replace(data, rows=data.rows[held.rows], ids=ids)
            others = np.setdiff1d(np.arange(len(data.rows)), held.rows)
            known = data.rows[others] if len(others) else data.rows
            known = known[~np.isnan(known).any(axis=1)]
            found = []
            for kind, words in KINDS.items():
                pairs = against_made_up(rows, kind)
                if not len(pairs.segments):
                    continue
                margins = margins_of(artifact, pairs)
                rules = [contest(margins.right, [ordinary(pairs, known)], ""), _best_feature(margins, pairs)]
                found.append(Test(words, margins, tuple(c for c in rules if c is not None)))
            return tuple(found)


def _answers(artifact: Artifact, data: Comparisons, named: list[Quantity], name: str = "") -> Test:
    words = name or ("pairs, the preferred one first" if data.segments.shape[1] == 2 else "a pair of each ranking")
    kept = np.arange(len(data.segments)) if data.weights is None else np.flatnonzero(data.weights > 0)
    pairs = pairs_of(data)
    margins = margins_of(artifact, pairs)
    said = np.ones(len(pairs.segments), np.bool_) if pairs.ties is None else ~pairs.ties
    rules = [contest(margins.right, [Quantity(q.name, q.differences[kept][said])], "") for q in named]
    rules.append(_best_feature(margins, taken(pairs, np.flatnonzero(said))))
    contests = tuple(c for c in rules if c is not None)
    if not len(margins.values):
        return Test(words, margins, contests)
    scaled, warmth = tempered(margins.values)
    return Test(words, margins, contests, calibration(margins.values), calibration(scaled), warmth)


def _best_feature(margins: Margins, pairs: Comparisons) -> Contest | None:
    return contest(margins.right, feature_quantities(pairs), "the best single feature")


# ── the other reward, and the nearest data ─────────────────────────────────────────────────────
def _distances(
    artifact: Artifact, asked: Asked, data: Data | None, known: Records | None, notes: list[str], progress: Progress
) -> tuple[Distance, ...]:
    assert asked.against is not None
    progress("distances", 0, 2, "EPIC")
    options, roles = asked.distance, roles_of(artifact, asked.actions)
    steps: Steps | None = None
    if isinstance(data, Comparisons):
        steps = segment_steps(data.segments)
    elif data is not None and asked.data is not None and asked.data.is_file():
        steps = episode_steps(asked.data, roles.kind)
    if steps is None and known is not None and not roles.between:
        steps = row_steps(known.rows, options.count, options.seed)
    if steps is None:
        steps = drawn_steps(roles, options.count, options.seed)
    found = [epic(artifact, asked.against, roles, steps, options)]
    if steps.recorded:
        progress("distances", 1, 2, "DARD")
        found.append(dard(artifact, asked.against, roles, steps, options))
    else:
        notes.append(
            "No DARD: it needs recorded steps (segments of two steps or more, or a table with episode and step)."
        )
    if artifact.identified != asked.against.identified:
        notes.append("The two rewards are not identified alike; neither distance sees a shift or a positive factor.")
    return tuple(found)


def _neighbours(artifact: Artifact, asked: Asked, whole: Range | None, known: Records) -> tuple[Neighbourhood, ...]:
    points: list[tuple[str, Array]] = []
    if whole is not None:
        ends = (
            ("the record found that is worth most", whole.most_at),
            ("the record found that is worth least", whole.least_at),
        )
        points += [(what, at) for what, at in ends if at is not None]
    if asked.witness is not None:
        points += [(f"witness of {what}", at) for what, at in witnesses(artifact, asked.witness)]
    return tuple(neighbourhood(artifact, what, at, known.rows, known.name, known.text) for what, at in points)
