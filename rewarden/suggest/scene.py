"""What suggestions are made from: a spec, the rows of its data, its rewards, and points of its domain."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang import Spec, parse_spec, syntax
from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.obligation import Obligation
from rewarden.spec_lang.printer import print_item
from rewarden.spec_lang.sampling.points import sample_rows

Rows = NDArray[np.float64]

BASE = 400  # data rows, and as many points of the domain, at which a reward is looked at closely
_INCIDENT = re.compile(
    r"incident|crash|collision|accident|near_?miss|close_?call|hazard|danger|unsafe|fail|fault|refus|violat|attack|bad",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, eq=False)
class DataRows:
    """Rows of one record type: `demos`, or one member of pairs, `prefs.better`."""

    name: str
    type_name: str
    values: Rows
    incident: bool
    single: bool  # not a member of pairs: a rule may stand near it


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A spec and the rows that suggestions may rest on. `header` is its declarations, without rules and comments."""

    spec: Spec
    header: str
    data: tuple[DataRows, ...]
    names: frozenset[str]  # that are taken

    def rows_of(self, type_name: str) -> tuple[DataRows, ...]:
        return tuple(rows for rows in self.data if rows.type_name == type_name)

    def fresh(self, *wanted: str) -> tuple[str, ...]:
        """Record names that hide no declaration: those wanted, or with an underscore."""
        return tuple(name if name not in self.names else f"{name}_" for name in wanted)

    def with_rules(self, rules: Iterable[str]) -> Spec:
        """The declarations with these rules, parsed and checked."""
        text = "\n\n".join([self.header, *rules]) + "\n"
        folders = self.spec.folders
        parsed = parse_spec(text, self.spec.source.name, base=folders.base, allow=folders.allowed)
        parsed.tables.update(self.spec.tables)  # the same declarations and assumptions: read once, checked once
        return parsed


def scene_of(spec: Spec, data: Sequence[str], incidents: Sequence[str]) -> Scene:
    """Reads the data. `data` limits which; `incidents` are those that stand for what must not pay: those that are named
    so where none is given. UsageError G22 for a name that the spec does not declare."""
    for name in (*data, *incidents):
        if name not in spec.data:
            spec.table(name)  # says so
    rows: list[DataRows] = []
    for name, declaration in spec.data.items():
        if data and name not in (*data, *incidents):
            continue
        bad = name in incidents if incidents else bool(_INCIDENT.search(name.rpartition(".")[2]))
        for member, type_name in declaration.members:
            values = spec.table(name, member).require_rows().values
            full = f"{name}.{member}" if member else name
            rows.append(DataRows(full, type_name, values, bad, not member))
    items = [item for item in spec.tree.items if not isinstance(item, syntax.RuleDecl | syntax.ExampleDecl)]
    header = "\n\n".join([f"spec {spec.name} v1", *_grouped(items)])
    names = {str(getattr(item, "alias", None) or getattr(item, "name", "")) for item in items}
    return Scene(spec, header, tuple(rows), frozenset(names | {rule.name for rule in spec.rules}))


def _grouped(items: Sequence[syntax.Item]) -> list[str]:
    """Declarations as text; those of one kind that take a line each stand together."""
    blocks: list[str] = []
    before: type[syntax.Item] | None = None
    for item in items:
        text, kind = print_item(item), type(item)
        if kind is before and "\n" not in text:
            blocks[-1] += f"\n{text}"
        else:
            blocks.append(text)
        before = kind
    return blocks


def evenly(rows: Rows, most: int) -> Rows:
    """At most so many of the rows, evenly spaced: the same ones every time."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.intp)]


def domain_points(scene: Scene, type_name: str, count: int) -> Rows:
    """Points of a record's declared domain, assumptions included; fewer where they are hard to meet."""
    (record,) = scene.fresh("s")
    probe = scene.with_rules([f"should probe:\n  forall {record}: {type_name}\n  expect true"])
    obligation = probe.obligation("probe")
    points = sample_rows(obligation, count, 0)
    return points[:, list(obligation.records[0].variables)]


def possible(scene: Scene, record: RecordType, rows: Rows) -> NDArray[np.bool_]:
    """Which rows satisfy the assumptions on their record type, exactly."""
    return truth_of_rows(scene.spec.assumptions[record.name], rows)


def as_points(obligation: Obligation, names: Sequence[str], rows: NDArray[np.float64]) -> Rows:
    """Records [n, record, column] as points of an obligation: `names` says which record is which."""
    points = np.zeros((len(rows), len(obligation.variables)))
    views: Mapping[str, tuple[int, ...]] = {view.name: view.variables for view in obligation.records}
    for number, name in enumerate(names):
        points[:, list(views[name])] = rows[:, number]
    return points


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One reward of one record, where it is looked at: `base` [n, width], the first `recorded` of them data rows."""

    scene: Scene
    reward: str
    artifact: Artifact
    record: RecordType
    base: Rows
    recorded: int
    scores: Rows
    prefix: str  # of its rules' names

    @property
    def rows(self) -> tuple[DataRows, ...]:
        return self.scene.rows_of(self.record.name)

    @property
    def references(self) -> tuple[DataRows, ...]:
        """Data that rules may compare with: ordinary, and one record a row."""
        return tuple(rows for rows in self.rows if rows.single and not rows.incident)

    @property
    def spread(self) -> float:
        """How far apart rewards commonly are: from the 5 % to the 95 % quantile."""
        low, high = np.quantile(self.scores, (0.05, 0.95))
        return float(high - low)

    def where(self) -> str:
        """The data that the recorded part of `base` is from."""
        return ", ".join(rows.name for rows in self.rows)


def subject_of(scene: Scene, reward: str, artifact: Artifact, prefix: str) -> Subject:
    """The reward at rows and points spread over its data and its domain."""
    type_name = scene.spec.rewards[reward].params[0][1]
    record = scene.spec.features[type_name]
    found = scene.rows_of(type_name)
    recorded = evenly(np.concatenate([rows.values for rows in found]), BASE) if found else np.zeros((0, record.width))
    base = np.concatenate([recorded, domain_points(scene, type_name, BASE)])
    return Subject(scene, reward, artifact, record, base, len(recorded), score(artifact, base), prefix)


def score(artifact: Artifact, rows: Rows) -> Rows:
    """The reward of encoded rows in float64, as a hint: what is claimed is counted exactly (`figures`)."""
    from rewarden.reward.enclosure import enclose

    low, high = enclose(artifact, rows)
    return low / 2 + high / 2
