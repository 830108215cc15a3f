"""Everything that is said of one reward, as values; `words` says it in text, `rewarden.report.inspection` on a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarden.judging.effects import Effect, effects
from rewarden.judging.experts import Expert, experts
from rewarden.judging.neighbours import Neighbourhood, neighbourhood, witnesses
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
from rewarden.spec_lang.tables import Source
from rewarden.verifier.ranges.domain import Region, region_of
from rewarden.verifier.ranges.ends import BUDGET, Range
from rewarden.verifier.ranges.sensitivity import SLOPE_BUDGET, Sensitivity, sensitivities

SCHEMA_VERSION = 1
Data = Comparisons | Demonstrations | Judgements
IDENTIFIED = {
    "exact": "exactly: its numbers mean something as they are",
    "shift": "up to a constant: only differences of it mean something",
    "affine": "up to a positive affine map: only order and ratios of differences mean something",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to say. `where`: the part of the domain that effects and sensitivities are about; `noise`: shares of labels
    to turn round; `baselines`: columns of the data that a trivial rule may go by; `effects`: whether to certify
    anything."""

    data: Path | None = None
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
    if asked.data is None and (asked.noise or asked.baselines or asked.witness):
        raise UsageError("G42", "there is nothing to judge by", help="name a table: --data FILE")
    data = None
    if asked.data is not None:
        source, data = _read(artifact, asked.data)
        held = held_out(artifact, data)
        progress("held-out data", 0, 1, asked.data.name)
        tests = _tests(artifact, data, held, _named(source, data, asked.baselines))
        records = _records(data)
        told = replace(
            told, data=asked.data.name, held=held, tests=tests, experts=experts(artifact, records.rows, records.name),
            rewards=forward(artifact, np.ascontiguousarray(records.rows, np.float32)).astype(np.float64),
        )  # fmt: skip
    if asked.noise:
        assert data is not None
        told = replace(told, noise=noise_curve(artifact, data, asked.noise, progress))
    if asked.against is not None:
        told = replace(told, against=asked.against.digest, distances=_distances(artifact, asked, data, notes, progress))
    known = None if data is None else _records(data)
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


# ── data ───────────────────────────────────────────────────────────────────────────────────────
def _read(artifact: Artifact, path: Path) -> tuple[Source, Data]:
    """The data, as what their columns say they are. A reward of several records is not judged by tables."""
    from rewarden.reward.data.opening import open_data
    from rewarden.reward.segments import READERS

    if len(artifact.records) != 1:
        raise UsageError(
            "G42",
            f"{path.name}: a reward of {len(artifact.records)} records is not judged by tables",
            help="drop --data",
        )
    (record,) = artifact.records
    source = open_data(path, record.type)
    names = source.file.names
    first = record.type.features[0].name
    pairs = any(name.startswith(f"better.{f.name}") for f in record.type.features for name in names)
    kind = "demonstrations"
    if {"ranking", "place"} <= set(names):
        kind = "rankings"
    elif pairs:
        kind = "preferences" if {"pair", "step"} <= set(names) else "statements"
    elif "label" in names and first != "label":
        kind = "labels"
    data = READERS[kind](source, record.type, record.param)
    assert isinstance(data, Comparisons | Demonstrations | Judgements)
    return source, data


@dataclass(frozen=True, slots=True, eq=False)
class _Records:
    """Every record of the data without missing values [row, column], and where each is in the data."""

    rows: Array
    places: NDArray[np.intp]
    shape: tuple[int, ...]

    def name(self, number: int) -> str:
        """`row 3`, or where in which answer; counted from 1."""
        place = int(self.places[number])
        if len(self.shape) == 1:
            return f"row {place + 1}"
        answer, side, step = (int(k) for k in np.unravel_index(place, self.shape))
        which = ("the better" if side == 0 else "the worse") if self.shape[1] == 2 else f"place {side + 1}"
        return f"answer {answer + 1}, {which}" + (f", step {step + 1}" if self.shape[2] > 1 else "")


def _records(data: Data) -> _Records:
    if isinstance(data, Comparisons):
        rows, shape = data.segments.reshape(-1, data.segments.shape[-1]), data.segments.shape[:3]
    else:
        rows, shape = data.rows, (len(data.rows),)
    whole = np.flatnonzero(~np.isnan(rows).any(axis=1))
    return _Records(rows[whole], whole, shape)


def _named(source: Source, data: Data, names: Sequence[str]) -> list[Quantity]:
    """Quantities of answers from columns `better.NAME` and `worse.NAME` of the file: numbers, or lengths of texts."""
    if not names:
        return []
    if not isinstance(data, Comparisons) or data.segments.shape[1] != 2:
        raise UsageError("G42", "a column can be a rule for pairs alone", help="drop --baseline")
    file = source.file
    group: NDArray[np.intp] | None = None
    if {"pair", "step"} <= set(file.names):
        _, group = np.unique(np.asarray(file.read("pair"), np.float64), return_inverse=True)
    found = []
    for name in names:
        sides = []
        for side in ("better", "worse"):
            column = f"{side}.{name}"
            if column not in file.names:
                raise UsageError("G42", f"{source.path.name} has no column {column}", help="name one that it has")
            values = [float(len(v)) if isinstance(v, str) else float(v) for v in file.read(column).tolist()]
            sums = np.array(values)
            if group is not None:
                sums = np.bincount(group.reshape(-1), sums, minlength=len(data.segments))
            sides.append(sums)
        found.append(Quantity(name, sides[0] - sides[1]))
    return found


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
    artifact: Artifact, asked: Asked, data: Data | None, notes: list[str], progress: Progress
) -> tuple[Distance, ...]:
    assert asked.against is not None
    progress("distances", 0, 2, "EPIC")
    options, roles = asked.distance, roles_of(artifact, asked.actions)
    steps: Steps | None = None
    if isinstance(data, Comparisons):
        steps = segment_steps(data.segments)
    elif data is not None and asked.data is not None and asked.data.is_file():
        steps = episode_steps(asked.data, roles.kind)
    if steps is None and data is not None and not roles.between:
        steps = row_steps(_records(data).rows, options.count, options.seed)
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


def _neighbours(artifact: Artifact, asked: Asked, whole: Range | None, known: _Records) -> tuple[Neighbourhood, ...]:
    points: list[tuple[str, Array]] = []
    if whole is not None:
        ends = (
            ("the record found that is worth most", whole.most_at),
            ("the record found that is worth least", whole.least_at),
        )
        points += [(what, at) for what, at in ends if at is not None]
    if asked.witness is not None:
        points += [(f"witness of {what}", at) for what, at in witnesses(artifact, asked.witness)]
    return tuple(neighbourhood(artifact, what, at, known.rows, known.name) for what, at in points)
