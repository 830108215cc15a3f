"""An obligation in the common columns of two specs.

Variables are re-indexed record by record over the frame's columns, in the frame's units; the arguments of rewards are
put in the frame's order, with 0 for a case that the spec does not have. Terms are rebuilt in linear normal form, so
that a rule whose features were reordered, or measured in cm instead of m, becomes the very same structure again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang import forms
from rewarden.spec_lang.compare.frame import Frame, FrameType, Place, Side
from rewarden.spec_lang.compare.rebuild import Rebuild, common_data_name
from rewarden.spec_lang.forms import ONE, ZERO, Form, combine
from rewarden.spec_lang.formulas import atom, conjunction
from rewarden.spec_lang.obligation import (
    FALSE,
    TRUE,
    And,
    Atom,
    Formula,
    Obligation,
    RecordView,
    RuleInfo,
    Share,
    Term,
    Variable,
)
from rewarden.spec_lang.source import Span

Key = tuple[int, int]  # a data column by the record that it centres or fixes first, and its place in the frame


@dataclass(frozen=True, slots=True)
class Ball:
    """How a rule near data measures distance, and where its text says so."""

    norm: Literal["linf", "l1", "l2"]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The data rows that a rule is about, by frame columns: `values` is float64 [row, key]. Within the box of the radii
    the ball of `norm`, scaled by them. Where a unit changed, `values` are the nearest numbers, and the exact ones those
    of the spec's own rows, `own`, by way of `places`."""

    data: str
    keys: tuple[Key, ...]
    values: NDArray[np.float64]
    centred: tuple[tuple[int, Key, Fraction], ...]  # (variable, key, radius in the frame's unit)
    fixed: tuple[tuple[int, Key], ...]
    norm: Literal["linf", "l1", "l2"]
    own: NDArray[np.float64]
    places: tuple[Place, ...]  # of the keys

    @property
    def same_units(self) -> bool:
        return all(place.same_unit for place in self.places)

    def exact(self, own: float, key: int) -> Fraction:
        """A number of the spec's own rows, in the frame's unit."""
        return self.places[key].to_frame(Fraction(float(own)))

    def row(self, row: int) -> dict[Key, Fraction]:
        """By key, exactly."""
        return {key: self.exact(x, k) for k, (key, x) in enumerate(zip(self.keys, self.own[row], strict=True))}


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """One obligation of one spec. `own` is what it was; `place[i]` says where own variable i went. The premise lacks
    the ball of a rule near data: `rows` says it."""

    side: Side
    own: Obligation
    place: tuple[Place, ...]
    types: tuple[FrameType, ...]  # of the records
    variables: tuple[Variable, ...]
    records: tuple[RecordView, ...]  # every frame column of the type has a variable
    structure: Formula
    assume: Formula
    premise: Formula
    conclusion: Formula
    rows: Rows | None
    share: Share | None
    data: Mapping[str, str]  # the common names of its side's data

    def as_obligation(self) -> Obligation:
        """For readings that take one; its rows stay out."""
        return Obligation(
            self.own.rule,
            self.variables,
            self.records,
            self.structure,
            self.assume,
            self.premise,
            self.conclusion,
        )

    def own_values(self, values: Sequence[Fraction]) -> list[Fraction]:
        """The values of the own variables at values of the frame's."""
        return [place.to_own(values[place.column]) for place in self.place]


def align(
    obligation: Obligation, side: Side, frame: Frame, data: Mapping[str, str], ball: Ball | None = None
) -> Aligned:
    """The obligation in the frame; `data` gives the common names of the side's data sets. Unmatched, TooLarge."""
    types = tuple(frame.type_of(side, view.type_name) for view in obligation.records)
    builder = _Variables(obligation, side, types)
    rebuild = Rebuild(frame, side, builder.own_forms(), data)
    return Aligned(
        side=side,
        own=obligation,
        place=tuple(builder.place),
        types=types,
        variables=tuple(builder.variables),
        records=tuple(builder.records),
        structure=_sorted(rebuild.formula(obligation.structure)),
        assume=rebuild.formula(obligation.assume),
        premise=rebuild.formula(_without_ball(obligation.premise, ball)),
        conclusion=rebuild.formula(obligation.conclusion),
        rows=_rows(obligation, builder, data, ball),
        share=obligation.share,
        data=data,
    )


def _sorted(structure: Formula) -> Formula:
    """The enums' sums in one order, whatever the order of their declarations."""
    return And(tuple(sorted(structure.parts, key=repr))) if isinstance(structure, And) else structure


def align_domain(side: Side, name: str, frame: Frame) -> Aligned:
    """Which records of a type there are: an obligation about one of them that nothing satisfies."""
    spec = frame.spec(side)
    record = spec.features[name]
    variables = tuple(Variable("row", c.name, c.discrete, c.lo, c.hi, c.unit) for c in record.columns())
    view = RecordView("row", name, tuple(range(len(variables))))
    parts: list[Formula] = []
    for feature in record.features:
        if feature.kind == "enum":
            start = record.offset(feature.name)
            total = combine((forms.variable(start + k), ONE) for k in range(feature.width)).shifted(-ONE)
            parts += [atom(total, False, None), atom(-total, False, None)]
    info = RuleInfo(name, "must", "", Span(spec.source, 0, 0, 1, 1))
    obligation = Obligation(info, variables, (view,), conjunction(parts), spec.assumptions[name], TRUE, FALSE)
    return align(obligation, side, frame, {})


class _Variables:
    """Mutable while an obligation's variables are laid out in the frame."""

    def __init__(self, obligation: Obligation, side: Side, types: Sequence[FrameType]) -> None:
        self.obligation = obligation
        self.variables: list[Variable] = []
        self.records: list[RecordView] = []
        self.where: dict[int, Key] = {}  # own variable → (record, frame column) of its first occurrence
        places: dict[int, Place] = {}
        for number, (view, kind) in enumerate(zip(obligation.records, types, strict=True)):
            own_of = {p.column: (own, p) for own, p in zip(view.variables, kind.places(side), strict=True)}
            indices: list[int] = []
            for k, column in enumerate(kind.columns()):
                if k not in own_of:  # a case that this spec does not have
                    indices.append(self._variable(Variable(view.name, column.name, True, ZERO, ZERO)))
                    continue
                own, place = own_of[k]
                if own not in places:
                    mine = obligation.variables[own]
                    lo, hi = place.to_frame(mine.lo), place.to_frame(mine.hi)
                    index = self._variable(Variable(view.name, column.name, mine.discrete, lo, hi, column.unit))
                    places[own] = Place(index, place.scale, place.offset)
                    self.where[own] = (number, k)
                indices.append(places[own].column)
            self.records.append(RecordView(view.name, kind.name, tuple(indices)))
        self.place = [places[own] for own in range(len(obligation.variables))]

    def _variable(self, variable: Variable) -> int:
        self.variables.append(variable)
        return len(self.variables) - 1

    def own_forms(self) -> list[Form]:
        """Each own variable in terms of the frame's."""
        return [forms.variable(p.column).scaled(p.scale).shifted(p.offset) for p in self.place]


def _without_ball(premise: Formula, ball: Ball | None) -> Formula:
    """The ball is the one conjunct that has the place of the quantifier itself."""
    if ball is None or ball.norm == "linf":
        return premise
    parts = premise.parts if isinstance(premise, And) else (premise,)
    return conjunction(p for p in parts if not (isinstance(p, Atom) and p.origin == ball.span))


def _rows(obligation: Obligation, builder: _Variables, data: Mapping[str, str], ball: Ball | None) -> Rows | None:
    instances = obligation.instances
    if instances is None:
        return None
    keys: dict[int, Key] = {}
    places: dict[int, Place] = {}
    for own, column in (*((v, c) for v, c, _ in instances.centred), *instances.fixed):
        keys.setdefault(column, builder.where[own])
        places.setdefault(column, builder.place[own])
    order = sorted(keys, key=lambda column: keys[column])
    read = instances.anchors[:, order]
    return Rows(
        data=common_data_name(instances.data, data),
        keys=tuple(keys[column] for column in order),
        values=_in_frame(read, [places[column] for column in order]),
        centred=tuple(
            sorted(
                (builder.place[v].column, keys[c], radius / builder.place[v].scale)
                for v, c, radius in instances.centred
            )
        ),
        fixed=tuple(sorted((builder.place[v].column, keys[c]) for v, c in instances.fixed)),
        norm="linf" if ball is None else ball.norm,
        own=read,
        places=tuple(places[column] for column in order),
    )


def _in_frame(read: NDArray[np.float64], places: Sequence[Place]) -> NDArray[np.float64]:
    """The nearest numbers in the frame's units."""
    values = read.copy()
    for k, place in enumerate(places):
        if not place.same_unit:
            values[:, k] = [float(place.to_frame(Fraction(float(x)))) for x in read[:, k]]
    return values


def substituted(term: Term, aligned: Aligned, frame: Frame, variables: Mapping[int, int]) -> Term:
    """A term that mentions no reward, with its variables renumbered."""
    own = [forms.variable(variables.get(k, k)) for k in range(len(aligned.variables))]
    return Rebuild(frame, aligned.side, own, aligned.data).form(term).term()


# ── the same structure ─────────────────────────────────────────────────────────────────────────
def same(a: Aligned, b: Aligned) -> bool:
    """Do both say the same, word for word? The names of records do not matter."""
    return (
        [(v.discrete, v.lo, v.hi) for v in a.variables] == [(v.discrete, v.lo, v.hi) for v in b.variables]
        and [(r.type_name, r.variables) for r in a.records] == [(r.type_name, r.variables) for r in b.records]
        and (a.structure, a.assume, a.premise, a.conclusion) == (b.structure, b.assume, b.premise, b.conclusion)
        and a.share == b.share
        and same_rows(a.rows, b.rows)
    )


def same_rows(a: Rows | None, b: Rows | None) -> bool:
    """Data of one name hold the same rows (`compare_data`)."""
    if a is None or b is None:
        return a is b
    return (a.data, a.keys, a.centred, a.fixed, a.norm) == (b.data, b.keys, b.centred, b.fixed, b.norm)
