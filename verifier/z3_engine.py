"""The complete engine: a program and its claim as exact formulas for z3.

For small rewards, and for small boxes that bounds leave open. Weights enter as exact rationals; a relu becomes a
fresh real and a disjunction, unless exact interval arithmetic over the box settles it. A model is a rational point,
which the caller replays. z3's word for `unsat` is trusted: no certificate proof comes of it. Each query has a context
of its own and a budget in z3's resource units, so that its answer depends on nothing that ran before.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import z3

from rewarden.spec_lang.claim import Affine, AffineAtom, Box
from rewarden.verifier.exact_program import Point, exact_bias
from rewarden.verifier.narrowing import narrowed, single_atoms
from rewarden.verifier.program import INPUT, Layer, Program
from rewarden.verifier.progress import Stop

Expression: TypeAlias = Any  # z3 ships no types
Form = tuple[Fraction, dict[int, Fraction]]  # constant + Σ coefficient·unknown
Interval = tuple[Fraction, Fraction]
ASKED = 0.05  # seconds between two questions whether to stop
ZERO: Form = (Fraction(0), {})


@dataclass(frozen=True, slots=True)
class Limits:
    """`rlimit` in z3's resource units; `timeout` in seconds only stops; a box with more undecided relus than
    `max_unstable` is not tried (None: always tried)."""

    rlimit: int
    timeout: float | None = None
    max_unstable: int | None = None
    stop: Stop | None = None  # asked while z3 works


@dataclass(frozen=True, slots=True)
class Decision:
    """`sat` comes with a point that z3 believes to be one; `unknown` with z3's reason."""

    status: Literal["sat", "unsat", "unknown"]
    point: Point | None
    rlimit: int
    reason: str = ""


def decide_box(
    program: Program, goal: int, box: Box, limits: Limits, facts: Sequence[tuple[int, int]] = ()
) -> Decision:
    """Is there a point of `box` at which all clauses and the chosen `facts` (clause, atom) hold, and goal number
    `goal` is false?"""
    claim = program.claim
    false = [AffineAtom(_negated(atom.affine), not atom.strict) for atom in claim.goals[goal]]
    return _decide(program, box, [(atom,) for atom in false], limits, facts)


def decide_premise(program: Program, box: Box, limits: Limits, *, variables_only: bool = False) -> Decision:
    """Is there a point of `box` that satisfies every clause (or, with `variables_only`, those that call no reward)?

    With `variables_only`, `unsat` still refutes the whole premise.
    """
    return _decide(program, box, [], limits, (), variables_only=variables_only)


def _decide(
    program: Program,
    box: Box,
    extra: Sequence[tuple[AffineAtom, ...]],
    limits: Limits,
    facts: Sequence[tuple[int, int]],
    *,
    variables_only: bool = False,
) -> Decision:
    claim = program.claim
    clauses = [*claim.clauses, *((claim.clauses[c][a],) for c, a in facts), *extra]
    if variables_only:
        clauses = [c for c in clauses if not any(atom.affine.calls for atom in c)]
    if program.curved and any(atom.affine.calls for clause in clauses for atom in clause):
        return Decision("unknown", None, 0, "a smooth reward")
    cell = narrowed(box, single_atoms(clauses), [v.discrete for v in claim.variables])
    if cell is None:
        return Decision("unsat", None, 0)
    encoding = _Encoding(program, cell)
    for clause in clauses:
        encoding.require(clause)
    if limits.max_unstable is not None and encoding.unstable > limits.max_unstable:
        return Decision("unknown", None, 0, f"{encoding.unstable} undecided relus")
    return encoding.check(limits)


class _Encoding:
    """Mutable: unknowns (variables, then relu outputs) with their intervals, and a solver of one context.

    A layer's neurons are affine forms over unknowns, so linear layers cost no formula.
    """

    def __init__(self, program: Program, box: Box) -> None:
        self.program = program
        self.context = z3.Context()
        self.solver = z3.Solver(ctx=self.context)
        self.unknowns: list[Expression] = []
        self.intervals: list[Interval] = []
        self.done: dict[int, list[Form]] = {}
        self.unstable = 0
        for index, (variable, bounds) in enumerate(zip(program.claim.variables, box, strict=True)):
            self._variable(index, variable.discrete, bounds)
        self.variables = len(self.unknowns)

    def require(self, clause: tuple[AffineAtom, ...]) -> None:
        """Assert that some atom is true."""
        self.solver.add(self._any([self._atom(atom) for atom in clause]))

    def check(self, limits: Limits) -> Decision:
        self.solver.set("rlimit", limits.rlimit)
        self.solver.set("random_seed", 0)
        if limits.timeout is not None:
            self.solver.set("timeout", max(1, int(1000 * limits.timeout)))
        answer = _checked(self.solver, limits.stop)
        spent = _spent(self.solver)
        if answer == z3.unsat:
            return Decision("unsat", None, spent)
        if answer == z3.sat:
            model = self.solver.model()
            return Decision("sat", tuple(_rational(model, u) for u in self.unknowns[: self.variables]), spent)
        return Decision("unknown", None, spent, str(self.solver.reason_unknown()))

    # ── unknowns ───────────────────────────────────────────────────────────────────────────────
    def _variable(self, index: int, discrete: bool, bounds: Interval) -> None:
        lo, hi = bounds
        if discrete and hi - lo > 1:
            unknown = z3.ToReal(z3.Int(f"n{index}", self.context))
        else:
            unknown = z3.Real(f"x{index}", self.context)
        if discrete and hi - lo == 1:
            self.solver.add(z3.Or(unknown == self._number(lo), unknown == self._number(hi)))
        else:
            self.solver.add(unknown >= self._number(lo), unknown <= self._number(hi))
        self.unknowns.append(unknown)
        self.intervals.append(bounds)

    def _relu(self, z: Form, gate: Expression | None) -> Form:
        """max(z, 0); with a `gate` formula that is not settled over the box, 0 where it is true."""
        lo, hi = self._interval(z)
        if hi <= 0:
            return ZERO
        if lo >= 0 and gate is None:
            return z
        self.unstable += 1
        y = z3.Real(f"y{len(self.unknowns)}", self.context)
        term, zero = self._term(z), self._number(Fraction(0))
        cases = [z3.And(term <= zero, y == zero), z3.And(term >= zero, y == term)]
        if gate is not None:
            cases = [z3.And(z3.Not(gate), c) for c in cases] + [z3.And(gate, y == zero)]
        else:
            self.solver.add(y >= term)
        self.solver.add(y >= zero, y <= self._number(hi), z3.Or(*cases))
        self.unknowns.append(y)
        self.intervals.append((Fraction(0), hi))
        return Fraction(0), {len(self.unknowns) - 1: Fraction(1)}

    # ── layers as forms ────────────────────────────────────────────────────────────────────────
    def _layer(self, index: int) -> list[Form]:
        """The forms of a layer's outputs; each layer once, and only those that are needed."""
        if index not in self.done:
            # Sources first, in order, without recursion: programs may be deep.
            for k in sorted(self._needed(index) - self.done.keys()):
                self.done[k] = self._forms(self.program.layers[k])
        return self.done[index]

    def _needed(self, index: int) -> set[int]:
        needed: set[int] = set()
        stack = [index]
        while stack:
            k = stack.pop()
            if k == INPUT or k in needed:
                continue
            needed.add(k)
            layer = self.program.layers[k]
            stack.extend(b.source for b in layer.blocks)
            if layer.gate_layer is not None:
                stack.append(layer.gate_layer)
        return needed

    def _forms(self, layer: Layer) -> list[Form]:
        z = [self._row(layer, row, bias) for row, bias in enumerate(exact_bias(layer))]
        match layer.kind:
            case "linear":
                return z
            case "relu":
                return [self._relu(form, None) for form in z]
            case "gated":
                gate = self._gate(layer)
                return [ZERO if gate is True else self._relu(form, gate) for form in z]
            case _:
                raise AssertionError("claims that call smooth rewards are turned away before")

    def _gate(self, layer: Layer) -> Expression | Literal[True] | None:
        """Whether the gate is open (output 0): True everywhere, None nowhere, else a formula."""
        assert layer.gate_layer is not None
        assert layer.gate is not None
        gate = Fraction(layer.gate)
        open_rows = []
        for form in self.done[layer.gate_layer]:
            lo, hi = self._interval(form)
            if lo >= gate:
                return True
            if hi >= gate:
                open_rows.append(self._term(form) >= self._number(gate))
        return self._any(open_rows) if open_rows else None

    def _row(self, layer: Layer, row: int, bias: Fraction) -> Form:
        constant = bias
        total: dict[int, Fraction] = {}
        for block in layer.blocks:
            exact = block.exact or {}
            for column, nearest in enumerate(block.weight[row].tolist()):
                weight = exact.get((row, column), nearest)
                if weight == 0:
                    continue
                inner = (
                    (Fraction(0), {column: Fraction(1)}) if block.source == INPUT else self.done[block.source][column]
                )
                constant += _accumulate(total, inner, Fraction(weight))
        return constant, total

    # ── formulas ───────────────────────────────────────────────────────────────────────────────
    def _atom(self, atom: AffineAtom) -> Expression:
        constant = atom.affine.constant
        total: dict[int, Fraction] = {}
        constant += _accumulate(total, (Fraction(0), dict(atom.affine.variables)), Fraction(1))
        for call, coefficient in atom.affine.calls:
            (output,) = self._layer(self.program.outputs[call])
            constant += _accumulate(total, output, coefficient)
        term, zero = self._term((constant, total)), self._number(Fraction(0))
        return term > zero if atom.strict else term >= zero

    def _term(self, form: Form) -> Expression:
        constant, coefficients = form
        parts = [self._number(c) * self.unknowns[u] for u, c in sorted(coefficients.items())]
        return z3.Sum([self._number(constant), *parts]) if parts else self._number(constant)

    def _interval(self, form: Form) -> Interval:
        lo = hi = form[0]
        for u, c in form[1].items():
            a, b = self.intervals[u]
            lo += c * a if c > 0 else c * b
            hi += c * b if c > 0 else c * a
        return lo, hi

    def _any(self, parts: Sequence[Expression]) -> Expression:
        return z3.Or(*parts) if parts else z3.BoolVal(False, self.context)

    def _number(self, value: Fraction) -> Expression:
        return z3.RealVal(f"{value.numerator}/{value.denominator}", self.context)


def _accumulate(total: dict[int, Fraction], form: Form, factor: Fraction) -> Fraction:
    """In place: total += factor·(form without its constant); returns the constant's share."""
    for unknown, coefficient in form[1].items():
        total[unknown] = total.get(unknown, Fraction(0)) + factor * coefficient
    return factor * form[0]


def _negated(affine: Affine) -> Affine:
    return Affine(
        -affine.constant, tuple((i, -c) for i, c in affine.variables), tuple((i, -c) for i, c in affine.calls)
    )


def _rational(model: Expression, unknown: Expression) -> Fraction:
    value = model.eval(unknown, model_completion=True)
    return Fraction(value.numerator_as_long(), value.denominator_as_long())


def _checked(solver: z3.Solver, stop: Stop | None) -> z3.CheckSatResult:
    """The answer. Where somebody may ask to stop, z3 works in a thread of its own, so that asking goes on. Its own
    handler of Ctrl-C stays away: it would swallow it."""
    if stop is None:
        return solver.check()
    solver.set("ctrl_c", False)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(solver.check)
        try:
            while not wait([answer], ASKED).done:
                if stop():
                    solver.interrupt()
        finally:
            while not wait([answer], ASKED).done:
                solver.interrupt()
        return answer.result()


def _spent(solver: Expression) -> int:
    statistics = solver.statistics()
    return int(statistics.get_key_value("rlimit count")) if "rlimit count" in statistics.keys() else 0  # noqa: SIM118
