"""Regions in which incidents lie and ordinary data seldom do, as a few thresholds: what a cap may be written for.

Thresholds are quantiles of the incidents, rounded so that these stay inside. One after the other, the threshold is
taken that leaves the least ordinary data, while most incidents remain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.features import Feature, RecordType
from rewarden.suggest.candidate import Candidate
from rewarden.suggest.caps import cap_of
from rewarden.suggest.friendly import literal, share_text, step_above, step_below
from rewarden.suggest.scene import DataRows, Rows, Subject, score

ATOMS = 3
KEPT = 0.7  # of the incidents must lie in the region
RARE = 0.2  # of the ordinary data may
NONE = 0.005  # of the ordinary data: a region that holds no more needs no further threshold
FEWER = 0.7  # each further threshold leaves at most this share of the ordinary data that were left
_LEAST = 10  # incidents from which thresholds are read


@dataclass(frozen=True, slots=True, eq=False)
class _Atom:
    feature: str
    text: str  # with {} for the record
    incidents: NDArray[np.bool_]
    ordinary: NDArray[np.bool_]


def incident_regions(subject: Subject) -> list[Candidate]:
    """A cap on the region of each data set of incidents that has one."""
    found = []
    for incidents in (data for data in subject.rows if data.incident and data.single):
        for ordinary in subject.references[:1]:
            region = _region(subject.record, incidents.values, ordinary.values)
            if region:
                found.append(_candidate(subject, incidents, ordinary, region))
    return found


def _region(record: RecordType, incidents: Rows, ordinary: Rows) -> list[_Atom]:
    if len(incidents) < _LEAST:
        return []
    atoms = [atom for feature in record.features for atom in _atoms(record, feature, incidents, ordinary)]
    taken: list[_Atom] = []
    inside, left = np.ones(len(incidents), np.bool_), np.ones(len(ordinary), np.bool_)
    while len(taken) < ATOMS and np.mean(left) > NONE:
        fits = [atom for atom in atoms if np.mean(inside & atom.incidents) >= KEPT]
        best = min(fits, key=lambda atom: float(np.mean(left & atom.ordinary)), default=None)
        if best is None or np.mean(left & best.ordinary) > FEWER * np.mean(left):
            break
        taken.append(best)
        inside, left = inside & best.incidents, left & best.ordinary
    return taken if taken and np.mean(left) <= RARE else []


def _atoms(record: RecordType, feature: Feature, incidents: Rows, ordinary: Rows) -> Iterator[_Atom]:
    start, name = record.offset(feature.name), feature.name
    bad, good = incidents[:, start], ordinary[:, start]
    if feature.kind == "bool":
        yield _Atom(name, f"{{}}.{name}", bad == 1, good == 1)
        yield _Atom(name, f"not {{}}.{name}", bad == 0, good == 0)
    elif feature.kind == "enum":
        for number, case in enumerate(feature.cases):
            column = start + number
            yield _Atom(name, f"{{}}.{name} == {case}", incidents[:, column] == 1, ordinary[:, column] == 1)
    elif not feature.is_vector:
        width = float(feature.hi - feature.lo)
        for share in (0.75, 0.9, 1.0):
            high = step_above(float(np.quantile(bad, share)), width)
            low = step_below(float(np.quantile(bad, 1 - share)), width)
            if high < feature.hi:
                text = f"{{}}.{name} <= {literal(high, feature.unit)}"
                yield _Atom(name, text, bad <= float(high), good <= float(high))
            if low > feature.lo:
                text = f"{{}}.{name} >= {literal(low, feature.unit)}"
                yield _Atom(name, text, bad >= float(low), good >= float(low))


def _candidate(subject: Subject, incidents: DataRows, ordinary: DataRows, region: list[_Atom]) -> Candidate:
    (s,) = subject.scene.fresh("s")
    inside = np.logical_and.reduce([atom.incidents for atom in region])
    left = np.logical_and.reduce([atom.ordinary for atom in region])
    rows = np.concatenate([incidents.values[inside], ordinary.values[left]])
    cap = cap_of(subject, incidents, score(subject.artifact, rows))
    bad, good = (int(inside.sum()), len(inside)), (int(left.sum()), len(left))
    return Candidate(
        kind="cap",
        name=f"{subject.prefix}capped_where_{'_'.join(dict.fromkeys(atom.feature for atom in region))}",
        title=f"Where {incidents.name} happen, nothing is worth more than {cap.words}.",
        quantifier=f"forall {s}: {subject.record.name}",
        given=" and ".join(atom.text.format(s) for atom in region),
        expect=f"{subject.reward}({s}) <= {cap.text}",
        strength=0.9,
        names=(s,),
        rows=rows[:, None],
        looked_at=f"rows of {incidents.name} and {ordinary.name} in the region",
        remarks=(
            f"the region holds {bad[0]} of {bad[1]} rows of {incidents.name} ({share_text(*bad)}) and {good[0]} of "
            f"{good[1]} of {ordinary.name} ({share_text(*good)})",
        ),
    )
