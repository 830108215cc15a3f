"""Certificate kernel: claims, and what is true of them at a point.

A claim says: at every point of its boxes (whole numbers where a variable is discrete) at which every clause has a true
atom, every goal has a true atom. A point is judged exactly. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NamedTuple

from rewarden.certificate.kernel_json import (
    array,
    boolean,
    canonical,
    digest,
    digest_text,
    one_of,
    rational,
    read,
    refuse,
    text,
    text_or_null,
    within,
)
from rewarden.certificate.kernel_program import Affine, Program, Programs, affine_of, evaluate

MAX_SUMS = 10_000  # goals of one sum of a claim about loops
MAX_ROWS = 1 << 24


class Atom(NamedTuple):
    """form > 0 when strict, else form ≥ 0."""

    form: Affine
    strict: bool


Clause = tuple[Atom, ...]
Pair = tuple[Fraction, Fraction]


@dataclass(frozen=True, slots=True)
class Claim:
    digest: str
    rule: str
    severity: str
    names: tuple[str, ...]
    units: tuple[str | None, ...]
    discrete: tuple[bool, ...]
    records: tuple[tuple[str, tuple[int, ...]], ...]  # name, variables
    rewards: Mapping[str, str]
    calls: tuple[tuple[str, tuple[Affine, ...]], ...]
    clauses: tuple[Clause, ...]
    goals: tuple[Clause, ...]
    boxes: tuple[tuple[Pair, ...], ...]
    instances: str | None
    loops: tuple[int, ...] | None = None  # of a claim about loops (`kernel_loops`): goals to each of its sums
    rows: Mapping[str, Any] | None = None  # of a claim about rows of data (`kernel_rows`): which, and the share
    cases: tuple[Claim, ...] = ()  # of a claim that says several: about traces of each length


# ── reading a claim ────────────────────────────────────────────────────────────────────────────
def _affine(variables: int, calls: int) -> Callable[[object, str], Affine]:
    def entries(value: object, count: int, what: str) -> dict[int, Fraction]:
        found = read(value, [(within(0, count - 1), rational)], what)
        indices = [k for k, _ in found]
        if indices != sorted(set(indices)) or not all(x for _, x in found):
            refuse(f"{what} must ascend, without zeros")
        return dict(found)

    def affine(value: object, what: str) -> Affine:
        found = read(value, {"constant": rational, "variables": array, "calls": array}, what)
        return affine_of(
            found["constant"],
            entries(found["variables"], variables, f"{what}: variables"),
            entries(found["calls"], calls, f"{what}: calls"),
        )

    return affine


def _atom(variables: int, calls: int) -> Callable[[object, str], Atom]:
    shape = {"affine": _affine(variables, calls), "strict": boolean}
    return lambda value, what: Atom(*read(value, shape, what).values())


def read_claim(value: object) -> Claim:
    if not isinstance(value, dict) or "cases" not in value:
        return _plain(value)
    stated = read(value, {"rule": text, "severity": text, "cases": array}, "a claim")
    cases = tuple(_plain(case) for case in stated["cases"]) or refuse("a claim has no cases")
    rewards = {pair for case in cases for pair in case.rewards.items()}
    if any((c.rule, c.severity, c.loops, c.rows) != (stated["rule"], stated["severity"], None, None) for c in cases):
        refuse("the cases of a claim are of one rule, and none is about loops or rows")
    if len(dict(rewards)) != len(rewards):
        refuse("the cases of a claim are about the same rewards")
    return replace(cases[0], digest=digest(canonical(value)), rewards=dict(rewards), cases=cases)


def _plain(value: object) -> Claim:
    shape = {
        "rule": text, "severity": one_of("must", "should"), "instances": text_or_null, "calls": array,
        "variables": [{"name": text, "unit": text_or_null, "discrete": boolean}], "records": array,
        "rewards": _rewards, "clauses": array, "goals": array, "boxes": array,
        "constants": [{"text": text, "data": digest_text, "value": rational}],
    }  # fmt: skip
    if isinstance(value, dict) and "loops" in value:
        shape["loops"] = [within(0, MAX_SUMS)]
    elif isinstance(value, dict) and "rows" in value:
        shape["rows"] = _ROWS
    found = read(value, shape, "a claim")
    variables, calls = found["variables"], found["calls"]
    n = len(variables)
    record = {"name": text, "type": text, "variables": [within(0, n - 1)]}
    call = {"reward": one_of(*found["rewards"]), "arguments": [_affine(n, 0)]}
    discrete = tuple(v["discrete"] for v in variables)
    if "rows" in found and found["boxes"]:
        refuse("a claim about rows has no boxes")
    return Claim(
        digest(canonical(value)),
        found["rule"],
        found["severity"],
        tuple(v["name"] for v in variables),
        tuple(v["unit"] for v in variables),
        discrete,
        tuple((r["name"], r["variables"]) for r in read(found["records"], [record], "records")),
        found["rewards"],
        tuple((c["reward"], c["arguments"]) for c in read(calls, [call], "calls")),
        read(found["clauses"], [[_atom(n, len(calls))]], "clauses"),
        read(found["goals"], [[_atom(n, len(calls))]], "goals"),
        tuple(_box(box, discrete) for box in read(found["boxes"], [((rational, rational),) * n], "a box")),
        found["instances"],
        found.get("loops"),
        found.get("rows"),
    )  # fmt: skip


def _share(value: object, what: str) -> dict[str, Any] | None:
    return None if value is None else read(value, {"op": one_of("<", "<=", ">", ">="), "level": rational}, what)


_ROWS = {"count": within(1, MAX_ROWS), "tables": [digest_text], "columns": [within(0, MAX_ROWS)], "share": _share}


def _rewards(value: object, what: str) -> dict[str, str]:
    if not isinstance(value, dict):
        refuse(f"{what} must be an object")
    return {text(name, "a reward's name"): digest_text(found, "a reward's digest") for name, found in value.items()}


def _box(bounds: Sequence[Pair], discrete: Sequence[bool]) -> tuple[Pair, ...]:
    """Closed bounds per variable; those of a discrete one rounded inward to whole numbers."""
    found = tuple(
        (Fraction(math.ceil(low)), Fraction(math.floor(high))) if whole else (low, high)
        for (low, high), whole in zip(bounds, discrete, strict=True)
    )
    return found if all(low <= high for low, high in found) else refuse("a box is empty")


# ── points ─────────────────────────────────────────────────────────────────────────────────────
def replay(claim: Claim, programs: Programs, witness: object) -> tuple[bool, bool]:
    """A point of the claim, exactly: (every clause has a true atom, every goal has one). Refused if it is outside."""
    shape = {"box": within(0, len(claim.boxes) - 1), "point": (rational,) * len(claim.names)}
    box, x = read(witness, shape, "a witness").values()
    for value, (low, high), whole in zip(x, claim.boxes[box], claim.discrete, strict=True):
        if not low <= value <= high or (whole and value.denominator != 1):
            refuse("the witness lies outside its box")
    return truth(claim, programs.over(claim.boxes[box]), x)


def truth(claim: Claim, program: Program, x: Sequence[Fraction]) -> tuple[bool, bool]:
    """At a point, exactly: (every clause has a true atom, every goal has one)."""
    values = x, evaluate(program, x)

    def true(clauses: Sequence[Clause]) -> bool:
        return all(any(holds(atom, *values) for atom in clause) for clause in clauses)

    return true(claim.clauses), true(claim.goals)


def value_of(form: Affine, x: Sequence[Fraction], outputs: Sequence[Fraction]) -> Fraction:
    total = form.constant + sum(c * x[k] for k, c in form.variables) + sum(c * outputs[k] for k, c in form.calls)
    return Fraction(total) / form.bottom


def holds(atom: Atom, x: Sequence[Fraction], outputs: Sequence[Fraction]) -> bool:
    value = value_of(atom.form, x, outputs)
    return value > 0 or (value == 0 and not atom.strict)
