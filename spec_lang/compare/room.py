"""Rules as Z3 terms at given records, in a context of their own: what every question of a comparison is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import z3

from rewarden.spec_lang.compare.align import Aligned, Key
from rewarden.spec_lang.compare.data import Matrix
from rewarden.spec_lang.compare.instances import absent, anchor_of, by_rewards
from rewarden.spec_lang.compare.reward import TableReward, rank, statistics_in
from rewarden.spec_lang.forms import ZERO
from rewarden.spec_lang.obligation import TRUE, Statistic, Term
from rewarden.spec_lang.z3_terms import Z3Formula, Z3Term, fraction, rational, read, read_term

Anchor = Mapping[Key, Z3Term]
Z3Solver = Any

EXACT_COLUMNS = {"l1": 8, "l2": 3}  # of a ball that Z3 is given as it is


@dataclass(frozen=True, slots=True)
class Answer:
    """`sat` with a point, as far as it is rational; `unsat`; else `unknown`."""

    status: str
    values: tuple[Fraction, ...] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    domain: Z3Formula
    premise: Z3Formula
    conclusion: Z3Formula

    @property
    def violated(self) -> Z3Formula:
        return z3.And(self.domain, self.premise, z3.Not(self.conclusion))


class Room:
    """Mutable: a context and what holds in it, what rewards were applied to, and the free data constants."""

    def __init__(self, rlimit: int) -> None:
        self.context = z3.Context()
        self.rlimit = rlimit
        self.facts: list[Z3Formula] = []
        self.calls: list[tuple[str, tuple[Z3Term, ...]]] = []
        self.constants: dict[Statistic, Z3Term] = {}
        self.one_axis = False  # records leave their data row along one column: the box is the ball
        self.distances: dict[tuple[object, ...], list[tuple[list[Fraction], Z3Term]]] = {}
        self._count = 0
        self._numbers: dict[Fraction, Z3Term] = {}  # also keeps them alive, and so their identities
        self._exact: dict[int, Fraction] = {}

    def number(self, exact: Fraction) -> Z3Term:
        if exact not in self._numbers:
            term = self._numbers[exact] = rational(exact, self.context)
            self._exact[term.get_id()] = exact
        return self._numbers[exact]

    def exactly(self, term: Z3Term) -> Fraction | None:
        """The value of a term without unknowns; None if it is irrational."""
        known = self._exact.get(term.get_id())
        return fraction(z3.simplify(term)) if known is None else known

    def add(self, *facts: Z3Formula) -> None:
        self.facts += facts

    def solver(self, more: Sequence[Z3Formula] = ()) -> Z3Solver:
        """A new one, so that no answer depends on what was asked before."""
        solver = z3.Solver(ctx=self.context)
        solver.set("rlimit", self.rlimit)
        solver.add(self.facts)
        solver.add(list(more))
        return solver

    def fresh(self, name: str, *, whole: bool = False) -> Z3Term:
        self._count += 1
        return (z3.Int if whole else z3.Real)(f"{name}#{self._count}", self.context)

    def unknowns(self, aligned: Aligned) -> tuple[list[Z3Term], list[Z3Term]]:
        """Fresh variables as Z3 knows them, and as reals."""
        raw = [self.fresh(v.name, whole=v.discrete) for v in aligned.variables]
        return raw, [z3.ToReal(v) if v.is_int() else v for v in raw]

    def every(self, parts: Sequence[Z3Formula]) -> Z3Formula:
        return z3.And([z3.BoolVal(True, self.context), *parts])

    # ── an obligation at terms ─────────────────────────────────────────────────────────────────
    def at(
        self,
        aligned: Aligned,
        terms: Sequence[Z3Term],
        anchor: Anchor,
        rewards: Mapping[str, TableReward] | None = None,
        constants: Mapping[Statistic, Fraction] | None = None,
    ) -> Seen:
        def call(reward: str, arguments: Sequence[Z3Term]) -> Z3Term:
            self.calls.append((reward, tuple(arguments)))
            if rewards is not None:
                return self._table(rewards[reward], arguments)
            return self.reward(reward, arguments)

        reading = read(aligned.as_obligation(), call, constants, self.context, terms)
        self.add(reading.definitions)
        self.constants.update(reading.free_constants)
        domain = [reading.structure, reading.assume, *self._ranges(aligned, terms), *self._near(aligned, terms, anchor)]
        return Seen(self.every(domain), reading.premise, reading.conclusion)

    def violated(self, aligned: Aligned, values: Sequence[Fraction]) -> Z3Formula:
        """At a point that the rule speaks of: what its premise and conclusion say about rewards there."""
        premise, conclusion = self.said(aligned, values)
        return z3.And(premise, z3.Not(conclusion))

    def said(self, aligned: Aligned, values: Sequence[Fraction]) -> tuple[Z3Formula, Z3Formula]:
        """What the premise and the conclusion say about rewards at a point that the rule speaks of."""
        _, premise = by_rewards(aligned.premise)
        obligation = replace(aligned.as_obligation(), structure=TRUE, assume=TRUE, premise=premise)

        def call(reward: str, arguments: Sequence[Z3Term]) -> Z3Term:
            return self.reward(reward, arguments)

        reading = read(obligation, call, None, self.context, [self.number(x) for x in values])
        self.add(reading.definitions)
        self.constants.update(reading.free_constants)
        return reading.premise, reading.conclusion

    def reward(self, name: str, arguments: Sequence[Z3Term]) -> Z3Term:
        """A reward of which nothing is known; overridden where something is."""
        real = z3.RealSort(self.context)
        return z3.Function(name, *[real] * len(arguments), real)(*arguments)

    def _table(self, reward: TableReward, arguments: Sequence[Z3Term]) -> Z3Term:
        found = self.elsewhere(reward.base, arguments) + self.number(reward.constant)
        for column, slope in reward.slopes:
            found = found + self.number(slope) * arguments[column]
        for record, exact in reversed(reward.exceptions):
            here = self.every([a == self.number(x) for a, x in zip(arguments, record, strict=True)])
            found = z3.If(here, self.number(exact), found)
        return found

    def elsewhere(self, base: Term | None, arguments: Sequence[Z3Term]) -> Z3Term:
        """A term over a reward's columns, at its arguments."""
        if base is None:
            return self.number(ZERO)
        found, definitions = read_term(base, arguments, self.context)
        self.add(definitions)
        return found

    def _ranges(self, aligned: Aligned, terms: Sequence[Z3Term]) -> list[Z3Formula]:
        fixed = set() if aligned.rows is None else {v for v, _ in aligned.rows.fixed}
        gone = set(absent(aligned))
        found: list[Z3Formula] = []
        for index, (variable, term) in enumerate(zip(aligned.variables, terms, strict=True)):
            lo, hi = self.number(variable.lo), self.number(variable.hi)
            if index not in fixed or index in gone:
                found += [term >= lo, term <= hi]
            if variable.discrete and not _is_whole(term):
                bit = variable.lo == 0 and variable.hi == 1
                found.append(z3.Or(term == lo, term == hi) if bit else z3.IsInt(term))
        return found

    # ── data rows ──────────────────────────────────────────────────────────────────────────────
    def _near(self, aligned: Aligned, terms: Sequence[Z3Term], anchor: Anchor) -> list[Z3Formula]:
        rows = aligned.rows
        if rows is None:
            return []
        zero = self.number(ZERO)
        found = [terms[v] == anchor.get(key, zero) for v, key in rows.fixed]
        away = [terms[v] - anchor.get(key, zero) for v, key, _ in rows.centred]
        radii = [radius for _, _, radius in rows.centred]
        for step, radius in zip(away, radii, strict=True):
            found += [step <= self.number(radius), -step <= self.number(radius)]
        if rows.norm != "linf" and len(away) > 1 and not self.one_axis:
            found.append(self._ball(rows.norm, away, radii))
        return found

    def _ball(self, norm: str, away: Sequence[Z3Term], radii: Sequence[Fraction]) -> Z3Formula:
        """Exactly where there are few columns. Else the norm of these very differences is a number of which only this
        is known: measured with other radii it is within the extreme ratios of the two. That is true of every norm, so
        what is proved of any such number is proved; points come from elsewhere (`Scope.axis`)."""
        one = self.number(Fraction(1))
        parts = [step * self.number(1 / radius) for step, radius in zip(away, radii, strict=True)]
        if len(parts) <= EXACT_COLUMNS[norm]:
            sizes = [p * p if norm == "l2" else z3.If(p > 0, p, -p) for p in parts]
            return z3.Sum(sizes) <= one
        size = self.fresh("norm")
        self.add(size >= 0)
        known = self.distances.setdefault((norm, *(step.get_id() for step in away)), [])
        for others, there in known:
            ratios = [a / b for a, b in zip(others, radii, strict=True)]
            self.add(size <= there * self.number(max(ratios)), size >= there * self.number(min(ratios)))
        known.append((list(radii), size))
        return size <= one

    def row(self, aligned: Aligned, row: int) -> Anchor:
        return {key: self.number(x) for key, x in anchor_of(aligned, row).items()}

    def hull(self, aligned: Aligned) -> Anchor:
        """A row of which only the least and the greatest of every column are known."""
        if aligned.rows is None:
            return {}
        found: dict[Key, Z3Term] = {}
        for k, key in enumerate(aligned.rows.keys):
            column = aligned.rows.own[:, k]
            found[key] = self.fresh("anchor")
            lo, hi = aligned.rows.exact(column.min(), k), aligned.rows.exact(column.max(), k)
            self.add(found[key] >= self.number(lo), found[key] <= self.number(hi))
        return found

    def define(self, constant: Statistic, rows: Matrix) -> None:
        """What a data constant is, by what the reward is worth at each of its rows."""
        here = self.constants[constant]
        worth = [self.reward(constant.reward, [self.number(Fraction(float(x))) for x in row]) for row in rows]
        if constant.kind == "mean":
            self.add(here * len(rows) == z3.Sum(worth))
            return
        at = rank(constant, len(rows))
        self.add(z3.Or([x == here for x in worth]))
        self.add(z3.Sum([z3.If(x <= here, 1, 0) for x in worth]) >= at)
        self.add(z3.Sum([z3.If(x >= here, 1, 0) for x in worth]) >= len(rows) - at + 1)

    # ── answers ────────────────────────────────────────────────────────────────────────────────
    def check(self, raw: Sequence[Z3Term], more: Sequence[Z3Formula] = ()) -> Answer:
        solver = self.solver(more)
        status = str(solver.check())
        if status != "sat":
            reason = "" if status == "unsat" else str(solver.reason_unknown())
            return Answer(status, reason="" if reason == "canceled" else reason)  # so Z3 calls an end of its budget
        model = solver.model()
        found = [fraction(model.eval(v, model_completion=True)) for v in raw]
        exact = [x for x in found if x is not None]
        if len(exact) < len(found):
            return Answer("sat", reason="the point that Z3 found is irrational")
        return Answer("sat", tuple(exact))


def _is_whole(term: Z3Term) -> bool:
    return bool(z3.is_to_real(term)) or (z3.is_rational_value(term) and term.denominator_as_long() == 1)


def order_constants(room: Room, data: Mapping[str, Matrix]) -> None:
    """What is known of data constants whatever the reward: a quantile of a higher level is not lower, those of one
    rank are equal, and all lie between minimum and maximum."""
    by_source: dict[tuple[str, str], list[Statistic]] = {}
    for constant in statistics_in(tuple(room.constants)):
        by_source.setdefault((constant.reward, constant.data), []).append(constant)
    for (_, name), constants in by_source.items():
        rows = len(data[name]) if name in data else None
        ranked = [c for c in constants if c.kind != "mean"]
        ranked.sort(key=lambda c, n=rows: _level(c) if n is None else rank(c, n))  # type: ignore[misc]
        for a, b in pairwise(ranked):
            here, there = room.constants[a], room.constants[b]
            equal = rows is not None and rank(a, rows) == rank(b, rows)
            room.add(here == there if equal else here <= there)
        for mean in (c for c in constants if c.kind == "mean"):
            for c in ranked:
                if c.kind == "min":
                    room.add(room.constants[c] <= room.constants[mean])
                if c.kind == "max":
                    room.add(room.constants[mean] <= room.constants[c])
            if rows:
                room.add(_mean(room, room.constants[mean], {rank(c, rows): room.constants[c] for c in ranked}, rows))


def _mean(room: Room, mean: Z3Term, ranked: Mapping[int, Z3Term], rows: int) -> Z3Formula:
    """A mean of so many numbers of which those of some ranks are known: the others lie between these."""
    known = {1: room.fresh("least"), rows: room.fresh("greatest"), **ranked}
    ranks = sorted(known)
    total, facts = [known[k] for k in ranks], [known[a] <= known[b] for a, b in pairwise(ranks)]
    for a, b in pairwise(ranks):
        between = room.fresh("between")
        facts += [between >= known[a] * (b - a - 1), between <= known[b] * (b - a - 1)]
        total.append(between)
    return room.every([*facts, mean * rows == z3.Sum(total)])


def _level(constant: Statistic) -> Fraction:
    if constant.kind == "min":
        return Fraction(-1)
    return Fraction(2) if constant.kind == "max" or constant.level is None else constant.level
