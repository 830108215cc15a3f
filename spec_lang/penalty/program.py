"""A conclusion compiled once for many evaluations, as training asks for it.

    conclusion  →  alternatives (penalty_form.py), each a conjunction of
                     features    formulas that no reward is part of: true or false at a point, exactly
                     affine      rest(features) + Σ coefficient · reward output + Σ coefficient · data constant >(=) 0
                     others      whatever else speaks of rewards, read from the tree

`prepare` puts the points in: what depends on features alone is computed there, once. What is left for a training step
is one call of each reward and one matrix product (penalty_violation.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.spec_lang.forms import Form, form_of
from rewarden.spec_lang.obligation import And, Atom, Call, Formula, Obligation, Or, Statistic, Term
from rewarden.spec_lang.penalty.form import Parts, alternatives
from rewarden.spec_lang.penalty.reading import Known, Reading, as_float
from rewarden.spec_lang.term_walk import mentions, nodes

Part = tuple[Formula, bool]
"""A part of an alternative, and whether it is half of an equality there: that has no inside for a margin to reach."""


_MODERATE = 100  # a power of 2 within which coefficients stay in the units of the rule


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """Atoms that are affine in outputs and data constants."""

    rests: tuple[Term, ...]
    outputs: Tensor  # float64 [atom, call]
    constants: Tensor  # float64 [atom, data constant]
    strict: Tensor  # bool [atom]
    exempt: Tensor  # bool [atom]: half of an equality
    any_strict: bool


@dataclass(frozen=True, slots=True, eq=False)
class PenaltyProgram:
    calls: tuple[Call, ...]  # with arguments over features alone: all asked for at once
    constants: tuple[Statistic, ...]
    features: tuple[Formula, ...]
    affine: Affine
    others: tuple[Formula, ...]
    needs: tuple[tuple[int, ...], ...]  # per alternative: its `features`
    member: Tensor  # float64 [alternative, affine then others]: 1 where it is a part
    conclusion: Formula  # all alternatives, as one formula
    fixed: tuple[Atom, ...]  # about features alone, inside of `others` and the conclusion
    exempt: tuple[Atom, ...]  # halves of equalities there


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A program at points."""

    program: PenaltyProgram
    points: Tensor  # float64 [n, variables]
    arguments: tuple[Tensor, ...]  # per call float64 [n, width]
    rests: Tensor  # float64 [atom, n]
    features: tuple[Tensor | None, ...]  # bool [n]; None where a data constant decides
    known: Known
    alike: Tensor | None = None  # int64 [call, n]: the first call that is made on the same record; None: each is alone


def compile_penalty(obligation: Obligation, device: torch.device | None = None) -> PenaltyProgram:
    """The conclusion as a program with its matrices on `device`."""
    return _Build(alternatives(obligation)).program(device)


def prepare(program: PenaltyProgram, points: Tensor) -> Prepared:
    """`points` is float64 [n, variables]; gradients with respect to it are kept."""
    reading = Reading(points, _none, {})
    rows = points.detach().cpu().numpy()
    truths: list[Tensor | None] = []
    for formula in program.features:
        known = not mentions(formula, Statistic)
        truths.append(torch.from_numpy(truth_of_rows(formula, rows)).to(points.device) if known else None)
    rests = [reading.term(rest) for rest in program.affine.rests]
    fixed = [(atom, torch.from_numpy(truth_of_rows(atom, rows)).to(points.device)) for atom in program.fixed]
    arguments = tuple(reading.arguments(call) for call in program.calls)
    return Prepared(
        program=program,
        points=points,
        arguments=arguments,
        rests=torch.stack(rests) if rests else points.new_zeros((0, len(points))),
        features=tuple(truths),
        known=Known({id(atom): (atom, truth) for atom, truth in fixed}, {id(atom): atom for atom in program.exempt}),
        alike=_alike(program.calls, arguments) if len(program.needs) > 1 else None,
    )


def _alike(calls: tuple[Call, ...], arguments: tuple[Tensor, ...]) -> Tensor | None:
    """For every call at every point the first one of the same reward at the same record; None if that is always it."""
    by_reward: dict[str, list[int]] = {}
    for k, call in enumerate(calls):
        by_reward.setdefault(call.reward, []).append(k)
    several = [group for group in by_reward.values() if len(group) > 1 and len(arguments[group[0]])]
    if not several:
        return None
    count = len(arguments[0])
    first = np.repeat(np.arange(len(calls))[:, None], count, axis=1)
    for group in several:
        rows = np.stack([arguments[k].detach().cpu().numpy() for k in group]) + 0.0  # -0.0 is 0.0
        records = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.itemsize * rows.shape[2])))[:, :, 0]
        _, which = np.unique(records, return_inverse=True)
        order = np.argsort(which.reshape(records.shape), axis=0, kind="stable")
        ordered = np.take_along_axis(which.reshape(records.shape), order, axis=0)
        starts = np.where(np.diff(ordered, axis=0, prepend=-1) != 0, np.arange(len(group))[:, None], 0)
        leader = np.take_along_axis(order, np.maximum.accumulate(starts, axis=0), axis=0)
        found = np.empty_like(order)
        np.put_along_axis(found, order, np.asarray(group)[leader], axis=0)
        first[group] = found
    if (first == np.arange(len(calls))[:, None]).all():
        return None
    return torch.from_numpy(first).to(arguments[0].device)


def _none(reward: str, rows: Tensor) -> Tensor:
    raise AssertionError(f"{reward} is no part of the features")


class _Build:
    """Mutable while one program's parts are numbered."""

    def __init__(self, found: list[Parts]) -> None:
        self.alternatives = found
        self.conclusion: Formula = Or(tuple(And(parts) for parts in found))
        self.calls: dict[Call, int] = {}
        self.constants: dict[Statistic, int] = {}
        self.features: dict[Formula, int] = {}
        self.others: dict[Part, int] = {}
        self.affine: dict[Part, int] = {}
        self.forms: list[tuple[Form, Form]] = []  # of each affine atom: what the features are worth, and the rest
        self.strict: list[bool] = []
        self.parts = [[(part, part in halves) for part in parts] for parts in found for halves in (_equalities(parts),)]
        for some in self.parts:
            for part in some:
                self._number(part)

    def _number(self, found: Part) -> None:
        part, _ = found
        if not mentions(part, Call):
            self.features.setdefault(part, len(self.features))
            return
        split = _affine(part) if isinstance(part, Atom) else None
        if split is None or not isinstance(part, Atom):
            self.others.setdefault(found, len(self.others))
            for node in nodes(part):
                if isinstance(node, Call) and is_plain(node):
                    self.calls.setdefault(node, len(self.calls))
            return
        if found not in self.affine:
            self.affine[found] = len(self.affine)
            self.forms.append(split)
            self.strict.append(part.strict)
        for term in split[1].parts:
            if isinstance(term, Call):
                self.calls.setdefault(term, len(self.calls))
            elif isinstance(term, Statistic):
                self.constants.setdefault(term, len(self.constants))

    def program(self, device: torch.device | None) -> PenaltyProgram:
        width = len(self.affine)
        member = torch.zeros(len(self.alternatives), width + len(self.others), dtype=torch.float64)
        for row, parts in zip(member, self.parts, strict=True):
            for part in parts:
                if part in self.affine:
                    row[self.affine[part]] = 1.0
                elif part in self.others:
                    row[width + self.others[part]] = 1.0
        others = [replace(part) for part, _ in self.others]  # each an object of its own
        return PenaltyProgram(
            calls=tuple(self.calls),
            constants=tuple(self.constants),
            features=tuple(self.features),
            affine=self._matrices(device),
            others=tuple(others),
            needs=tuple(tuple(self.features[p] for p in parts if p in self.features) for parts in self.alternatives),
            member=member.to(device),
            conclusion=self.conclusion,
            fixed=_fixed((*others, self.conclusion) if others else ()),
            exempt=self._exempt(others),
        )

    def _exempt(self, others: list[Formula]) -> tuple[Atom, ...]:
        halves = [part for part, (_, exempt) in zip(others, self.others, strict=True) if exempt]
        trees = [
            n.parts for f in ((*others, self.conclusion) if others else ()) for n in nodes(f) if isinstance(n, And)
        ]
        return tuple(part for part in (*halves, *chain(*map(_equalities, trees))) if isinstance(part, Atom))

    def _matrices(self, device: torch.device | None) -> Affine:
        outputs = torch.zeros(len(self.forms), len(self.calls), dtype=torch.float64)
        constants = torch.zeros(len(self.forms), len(self.constants), dtype=torch.float64)
        for k, (_, moving) in enumerate(self.forms):
            for term, c in moving.parts.items():
                if isinstance(term, Call):
                    outputs[k, self.calls[term]] = as_float(c)
                elif isinstance(term, Statistic):
                    constants[k, self.constants[term]] = as_float(c)
        return Affine(
            rests=tuple(known.term() for known, _ in self.forms),
            outputs=outputs.to(device),
            constants=constants.to(device),
            strict=torch.tensor(self.strict, dtype=torch.bool).to(device),
            exempt=torch.tensor([exempt for _, exempt in self.affine], dtype=torch.bool).to(device),
            any_strict=any(self.strict),
        )


def _fixed(read: tuple[Formula, ...]) -> tuple[Atom, ...]:
    atoms = {id(node): node for formula in read for node in nodes(formula) if isinstance(node, Atom)}
    return tuple(atom for atom in atoms.values() if not mentions(atom, Call, Statistic))


def _affine(part: Atom) -> tuple[Form, Form] | None:
    """What features alone are worth, and the outputs and data constants; None where the atom is not affine in them."""
    form = form_of(part.term)
    known: dict[Term, Fraction] = {}
    moving: dict[Term, Fraction] = {}
    for term, c in form.parts.items():
        if not mentions(term, Call, Statistic):
            known[term] = c
        elif isinstance(term, Statistic) or (isinstance(term, Call) and is_plain(term)):
            moving[term] = c
        else:
            return None
    scale = _scale(moving)
    return Form(form.constant, known).scaled(scale), Form(Fraction(0), moving).scaled(scale)


def _scale(moving: dict[Term, Fraction]) -> Fraction:
    """1, or what brings coefficients to a size that binary64 can tell apart: rounded to 0, or to the largest number
    that is borne, they would say something else. A power of 2, so that nothing else is rounded by it."""
    largest = max(map(abs, moving.values()), default=Fraction(1))
    power = largest.numerator.bit_length() - largest.denominator.bit_length()
    return Fraction(1) if abs(power) <= _MODERATE else Fraction(2) ** -power


def is_plain(call: Call) -> bool:
    """Are its arguments known with the features?"""
    return not any(mentions(argument, Call, Statistic) for argument in call.arguments)


def _equalities(parts: Parts) -> list[Formula]:
    """Atoms t >= 0 of a conjunction that holds −t >= 0 too."""
    forms = [(part, form_of(part.term)) for part in parts if isinstance(part, Atom) and not part.strict]
    if len(forms) < 2:
        return []
    known = {(form.constant, frozenset(form.parts.items())) for _, form in forms}
    return [part for part, f in forms if (-f.constant, frozenset((t, -c) for t, c in f.parts.items())) in known]
