"""Questions about the spec itself, put to Z3: is there a point, and if there is none, which parts of the formula clash?

One Z3 context serves a whole check, since making one costs more than most answers. Answers are the same from run to
run: the questions come in a fixed order, and budgets are Z3's resource units, of which there is a number for each
question and one for the whole check. A unit of non-linear reasoning can take a thousand times as long as one of linear,
so that such questions get fewer, from a purse of their own (measured: beyond some 100,000 units single steps can take
minutes), and a clock stops what that does not. A point is shown to nobody before `evaluate.truth` has found the formula
exactly true there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import z3

from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.evaluate import truth
from rewarden.spec_lang.obligation import Const, Formula, Product, Quotient, Sqrt, Variable
from rewarden.spec_lang.sanity.smt_text import SmtText
from rewarden.spec_lang.term_walk import mentions_rewards, nodes
from rewarden.spec_lang.z3_terms import fraction

Status = Literal["sat", "unsat", "unknown"]

NONLINEAR = 60_000
"""Resource units for a question with products of variables or roots, at most; and the share of all work for these."""
NONLINEAR_SHARE = 1 / 30
STOP = 10_000
"""Milliseconds after which Z3 is stopped, whatever is left: never met by linear questions."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`sat` with a point where one is rational and exactly checked; `unsat` is a proof; `unknown` is neither.

    A point of a formula that speaks of rewards is not checked: whether it holds there is the reward's to say.
    """

    status: Status
    point: tuple[Fraction, ...] | None = None


class Oracle:
    """Mutable: the context, and what is left of the work of this check (in Z3's resource units)."""

    def __init__(self, work: int) -> None:
        self.left = work
        self.left_nonlinear = int(work * NONLINEAR_SHARE)
        self._context = z3.Context()

    def ask(self, variables: Sequence[Variable], formula: Formula, rlimit: int) -> Answer:
        """Is there a point inside the variables' ranges, and are there rewards, that make the formula true?"""
        if self.left <= 0:
            return Answer("unknown")
        script = SmtText(variables)
        script.bound(variables)
        script.add(formula)
        solver = self._solver(script)
        status = self._check(solver, rlimit, linear=is_linear(formula))
        values = self._values(solver, script, variables) if status == "sat" else None
        if values is None:
            return Answer(status)
        if mentions_rewards(formula):
            return Answer("sat", values)
        return Answer("sat", values) if _true_at(formula, variables, values) else Answer("unknown")

    def core(self, variables: Sequence[Variable], parts: Sequence[Formula], rlimit: int) -> tuple[int, ...] | None:
        """Numbers of parts that nothing satisfies together, and of which none can be left out as far as the budget
        tells; None where a point exists or Z3 gives up. Ranges count only where they are parts."""
        script = SmtText(variables)
        names = [f"|part {k}|" for k in range(len(parts))]
        for name, part in zip(names, parts, strict=True):
            script.add(part, name)
        solver = self._solver(script)
        marks = [z3.Bool(name.strip("|"), self._context) for name in names]
        linear = all(map(is_linear, parts))
        if self._check(solver, rlimit, marks, linear=linear) != "unsat":
            return None
        found = {str(mark) for mark in solver.unsat_core()}
        kept = [k for k in range(len(parts)) if f"part {k}" in found]
        for k in reversed(kept.copy()):
            fewer = [j for j in kept if j != k]
            if self._check(solver, rlimit, [marks[j] for j in fewer], linear=linear) == "unsat":
                kept = fewer
        return tuple(kept)

    def _solver(self, script: SmtText) -> Any:  # noqa: ANN401 (the bindings carry no types)
        solver = z3.Solver(ctx=self._context)
        solver.from_string(script.text())
        return solver

    def _values(self, solver: Any, script: SmtText, variables: Sequence[Variable]) -> tuple[Fraction, ...] | None:  # noqa: ANN401
        """The variables' values in the model; None if one is irrational."""
        model = solver.model()
        found = []
        for name, variable in zip(script.names, variables, strict=True):
            constant = (z3.Int if variable.discrete else z3.Real)(name.strip("|"), self._context)
            value = fraction(model.eval(constant, model_completion=True))
            if value is None:
                return None
            found.append(value)
        return tuple(found)

    def _check(self, solver: Any, rlimit: int, assumed: Sequence[Any] = (), *, linear: bool) -> Status:  # noqa: ANN401
        limit = min(rlimit, self.left) if linear else min(rlimit, self.left, NONLINEAR, self.left_nonlinear)
        if limit <= 0:
            return "unknown"
        solver.set("rlimit", limit)
        solver.set("timeout", STOP)
        before = _spent(solver)
        status = str(solver.check(*assumed))
        spent = max(1, _spent(solver) - before)
        self.left -= spent
        self.left_nonlinear -= 0 if linear else spent
        return "sat" if status == "sat" else "unsat" if status == "unsat" else "unknown"


def _true_at(formula: Formula, variables: Sequence[Variable], values: Sequence[Fraction]) -> bool:
    """Other code than Z3's says so too; a disagreement would be a bug, and is not reported as a point."""
    inside = all(v.lo <= x <= v.hi for v, x in zip(variables, values, strict=True))
    try:
        return inside and truth(formula, values)
    except Unsupported:
        return False  # roots that cancel too closely to tell


def is_linear(formula: Formula) -> bool:
    """No products of two variables, no quotients by one, no roots; cheap, and not quite as generous as classify.py."""
    return not any(
        isinstance(node, Sqrt | Quotient) or (isinstance(node, Product) and not isinstance(node.left, Const))
        for node in nodes(formula)
    )


def _spent(solver: Any) -> int:  # noqa: ANN401
    """What the context has used up so far, in resource units."""
    return int(solver.statistics().get_key_value("rlimit count"))
