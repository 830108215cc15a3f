"""Violations that somebody could write: the texts of a spec's data, changed a little, encoded again, tried on a rule.

A changed text that lies in the rule's domain and breaks it is a witness like any other: judged exactly, at the vector
that the encoder gives. One that lies outside the radius of a rule `near` data is no violation of what the rule says;
where it breaks the conclusion all the same, that is told, since it says how little the radius holds of what people
write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.text.dialogues import Dialogue
from rewarden.reward.text.embedding import features_of, views_of
from rewarden.reward.text.encoder import TextEncoder
from rewarden.reward.text.perturb import Perturbations, Perturbed
from rewarden.spec_lang import Spec
from rewarden.spec_lang.errors import DataError, Unsupported
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.obligation import Instances, Obligation
from rewarden.text.rows import TextRows, Texts
from rewarden.verifier.enclosed_constants import constants_of
from rewarden.verifier.pointwise import Bound, whole_premise, witness_at
from rewarden.verifier.witness import Witness

Array = NDArray[np.float64]
AS_IS = "as it is"
AT_ONCE = 8  # rows between two looks at whether to stop
SAME = 1e-3  # of a vector's cells: another encoder's differ by more


@dataclass(frozen=True, slots=True)
class TextSearch:
    """`encoder`: the folder. `texts`: rows of each data that are tried, evenly spread over it, at most. `stop` is asked
    every few texts; what was encoded until then is tried."""

    encoder: Path
    perturbations: Perturbations = field(default_factory=Perturbations)
    texts: int = 200
    stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class TextFound:
    """A changed text at which a rule's conclusion fails; `distance` is the largest difference of any number."""

    text: str
    how: str
    original: str
    data: str
    row: int  # counted from 1
    distance: float
    inside: bool  # of the rule's domain: a violation


@dataclass(frozen=True, slots=True)
class Searched:
    """What came of one rule. `beyond`: texts outside the rule's radius that break its conclusion."""

    tried: int = 0
    witness: Witness | None = None
    found: TextFound | None = None
    beyond: tuple[TextFound, ...] = ()
    beyond_tried: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Changed:
    """Changed texts of some data: whole records [text, width], which row each comes from, and where that lies."""

    texts: TextRows
    made: Sequence[Perturbed]
    rows: NDArray[np.intp]
    values: Array
    originals: Array


@dataclass(slots=True)
class Searcher:
    """Tries the changed texts of a spec's data on its rules. Mutable: texts are encoded once."""

    spec: Spec
    rewards: Mapping[str, Artifact]
    encoder: TextEncoder
    asked: TextSearch
    texts: Texts
    known: dict[tuple[str, str], _Changed] = field(default_factory=dict)

    def rule(self, name: str) -> Searched:
        """Rules about rows of data as they are, and about sequences, are not searched."""
        kind = self.spec.rule(name).kind
        if kind in ("rows", "share", "trace", "cycle") or any(
            r not in self.rewards for r in self.spec.rule(name).rewards
        ):
            return Searched()
        try:
            obligation = self.spec.obligation(name)
            bound = Bound(self.rewards, constants_of(self.spec, obligation, self.rewards), self.spec.features)
        except Unsupported:
            return Searched()
        if obligation.instances is not None:
            return self._near(obligation, obligation.instances, bound)
        return self._anywhere(obligation, bound)

    # ── rules near data ────────────────────────────────────────────────────────────────────────
    def _near(self, obligation: Obligation, instances: Instances, bound: Bound) -> Searched:
        data, _, member = instances.data.partition(".")
        texts = self.texts.of(data, member)
        if texts is None or not obligation.records:
            return Searched()
        changed = self._changed(texts)
        if not len(changed.values):
            return Searched()
        points = _points(obligation, instances, changed.values, changed.rows)
        inside = _within(obligation, instances, points, changed.rows)
        near = self._judged(obligation, bound, points, np.flatnonzero(inside), changed, inside=True)
        outside = np.flatnonzero(~inside)
        broken = outside[~bound.holds(obligation.conclusion, points[outside])] if len(outside) else outside
        beyond = sorted((_found(changed, int(k), inside=False) for k in broken), key=lambda f: f.distance)
        return Searched(near.tried, near.witness, near.found, tuple(beyond), len(outside))

    # ── rules about all records ────────────────────────────────────────────────────────────────
    def _anywhere(self, obligation: Obligation, bound: Bound) -> Searched:
        """One record: the changed text. Two: the text as it was and the changed one, either way round."""
        kinds = [view.type_name for view in obligation.records]
        if len(kinds) not in (1, 2) or len(set(kinds)) != 1:
            return Searched()
        tried = 0
        for texts in self.texts.about(kinds[0]):
            changed = self._changed(texts)
            pairs = [(changed.values,)] if len(kinds) == 1 else [
                (changed.originals, changed.values),
                (changed.values, changed.originals),
            ]  # fmt: skip
            for records in pairs:
                points, fits = _whole(obligation, records)
                found = self._judged(obligation, bound, points, np.flatnonzero(fits), changed, inside=True)
                tried += found.tried
                if found.witness is not None:
                    return Searched(tried, found.witness, found.found)
        return Searched(tried)

    def _judged(
        self, obligation: Obligation, bound: Bound, points: Array, where: NDArray[np.intp], changed: _Changed,
        *, inside: bool,
    ) -> Searched:  # fmt: skip
        """The first of the points that breaks the rule, exactly."""
        if not len(where):
            return Searched()
        holding = where[bound.holds(whole_premise(obligation), points[where])]
        failing = holding[~bound.holds(obligation.conclusion, points[holding])] if len(holding) else holding
        for k in failing:
            number = int(changed.rows[k]) if obligation.instances is not None else 0
            witness = witness_at(obligation, bound, points[k], premise_only=False, number=number)
            if witness is not None:
                return Searched(len(holding), witness, _found(changed, int(k), inside=inside))
        return Searched(len(holding))

    # ── changed texts ──────────────────────────────────────────────────────────────────────────
    def _changed(self, texts: TextRows) -> _Changed:
        key = (texts.data, texts.member)
        if key not in self.known:
            self.known[key] = self._encoded(texts)
        return self.known[key]

    def _encoded(self, texts: TextRows) -> _Changed:
        kind = self.spec.features[texts.type_name]
        table = self.spec.table(texts.data, texts.member).values
        views = views_of(kind, {} if texts.made is None else texts.made.views)
        some = list(_spread(texts.rows, self.asked.texts))
        self._require_same(texts, kind, views, some[:1], table)
        made: list[Perturbed] = []
        found = [np.zeros((0, kind.width))]
        for start in range(0, len(some), AT_ONCE):
            if self.asked.stop():
                break
            fresh = [
                (Perturbed(one.text, one.how, row), Dialogue(d.prompt, one.text))
                for row, d in some[start : start + AT_ONCE]
                for one in [Perturbed(d.reply, AS_IS, row), *self.asked.perturbations.of([d.reply])]
            ]
            part = table[[one.row for one, _ in fresh]]
            columns = features_of([d for _, d in fresh], kind, views, self.encoder)
            for name, place in _slices(kind).items():
                if name in columns:
                    part[:, place] = columns[name].reshape(len(fresh), -1)
            made += [one for one, _ in fresh]
            found.append(part)
        rows, values = np.array([one.row for one in made], np.intp), np.concatenate(found)
        for k, one in enumerate(made):
            if one.how == AS_IS:
                values[k] = table[rows[k]]  # the row itself, to the last bit
        return _Changed(texts, made, rows, values + 0.0, table[rows])

    def _require_same(
        self, texts: TextRows, kind: RecordType, views: Mapping[str, str],
        some: Sequence[tuple[int, Dialogue]], table: Array,
    ) -> None:  # fmt: skip
        """D32 where the table is not of this encoder."""
        if texts.made is not None and texts.made.encoder != self.encoder.digest:
            raise DataError(
                "D32",
                f"the data {texts.data} was made by another encoder, {texts.made.encoder[:19]}…",
                help=f"name that one, or make the table again with this one, {self.encoder.digest[:19]}…",
            )
        for row, dialogue in some:
            columns = features_of([dialogue], kind, views, self.encoder)
            for name, part in _slices(kind).items():
                if name in columns and np.abs(columns[name].reshape(-1) - table[row, part]).max() > SAME:
                    raise DataError(
                        "D32",
                        f"row {row + 1} of the data {texts.data} has another {name} than this encoder gives its text",
                        help="make the table again: rewarden encode",
                    )


def _spread(rows: Sequence[Dialogue | None], most: int) -> Iterator[tuple[int, Dialogue]]:
    known = [(row, dialogue) for row, dialogue in enumerate(rows) if dialogue is not None]
    if known:
        for k in np.unique(np.linspace(0, len(known) - 1, min(most, len(known))).astype(int)).tolist():
            yield known[k]


def _slices(kind: RecordType) -> dict[str, slice]:
    found, start = {}, 0
    for feature in kind.features:
        found[feature.name] = slice(start, start + feature.width)
        start += feature.width
    return found


def _points(obligation: Obligation, instances: Instances, values: Array, rows: NDArray[np.intp]) -> Array:
    """[text, variable]: the changed record, and the anchor as it is."""
    points = np.zeros((len(values), len(obligation.variables)))
    for variable, column in instances.fixed:
        points[:, variable] = instances.anchors[rows, column]
    record = obligation.records[0].variables
    for column, variable in enumerate(record):
        points[:, variable] = values[:, column]
    return points


def _within(obligation: Obligation, instances: Instances, points: Array, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Exactly: in range, within the radius of the anchor where there is one, and equal to it where there is none."""
    inside = _in_range(obligation, points)
    for variable, column, radius in instances.centred:
        anchor = instances.anchors[rows, column]
        apart = np.abs(points[:, variable] - anchor)
        inside &= apart <= float(radius) * (1 + 1e-9)
        close = np.flatnonzero(inside & (apart >= float(radius) * (1 - 1e-9)))
        for k in close:
            inside[k] = abs(Fraction(points[k, variable]) - Fraction(anchor[k])) <= radius
    for variable, column in instances.fixed:
        inside &= points[:, variable] == instances.anchors[rows, column]
    return inside


def _whole(obligation: Obligation, records: Sequence[Array]) -> tuple[Array, NDArray[np.bool_]]:
    """[text, variable], and which of the points are in range; records that share a variable must agree on it."""
    points = np.full((len(records[0]), len(obligation.variables)), np.nan)
    fits = np.ones(len(points), np.bool_)
    for view, values in zip(obligation.records, records, strict=True):
        for column, variable in enumerate(view.variables):
            known = ~np.isnan(points[:, variable])
            fits &= ~known | (points[:, variable] == values[:, column])
            points[:, variable] = values[:, column]
    return points, fits & _in_range(obligation, points)


def _in_range(obligation: Obligation, points: Array) -> NDArray[np.bool_]:
    inside = np.ones(len(points), np.bool_)
    for k, variable in enumerate(obligation.variables):
        for row in np.flatnonzero((points[:, k] <= float(variable.lo)) | (points[:, k] >= float(variable.hi))):
            inside[row] &= variable.lo <= Fraction(points[row, k]) <= variable.hi
        if variable.discrete:
            inside &= points[:, k] == np.floor(points[:, k])
    return inside


def _found(changed: _Changed, k: int, *, inside: bool) -> TextFound:
    one, row = changed.made[k], int(changed.rows[k])
    dialogue = changed.texts.rows[row]
    assert dialogue is not None, "only rows with a text are changed"
    name = f"{changed.texts.data}.{changed.texts.member}" if changed.texts.member else changed.texts.data
    distance = float(np.abs(changed.values[k] - changed.originals[k]).max())
    return TextFound(one.text, one.how, dialogue.reply, name, row + 1, distance, inside)
