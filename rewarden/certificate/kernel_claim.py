"""Certificate kernel, part 5: claims, and what is true of them at a point.

A claim says: at every point of its boxes (whole numbers where a variable is discrete) at which every clause has a true
atom, every goal has a true atom. A point is judged exactly. What else a claim may be (about loops, rows of data,
traces of several lengths) is read by a file of its own. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from rewarden.certificate.kernel_json import canonical, digest, refuse
from rewarden.certificate.kernel_program import Affine, Program, affine_of, evaluate
from rewarden.certificate.kernel_shapes import array, boolean, digest_text, maybe, one_of, rational, read, text, within


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
    boxes: Sequence[tuple[Pair, ...]]
    instances: str | None
    loops: tuple[int, ...] | None = None  # of a claim about loops (`kernel_loops`): goals to each of its sums
    rows: Mapping[str, Any] | None = None  # of a claim about rows of data (`kernel_rows`): which, and the share
    cases: tuple[Claim, ...] = ()  # of a claim that says several: about traces of each length
    lineage: Mapping[str, Any] | None = None  # of a claim that a reward forgot rows (`kernel_lineage`)
    near: Any = None  # of a claim about what is near a table's rows (`kernel_table`): which; then what holds of points


def _affine(variables: int, calls: int) -> Callable[[object, str], Affine]:
    terms = [[(within(0, count - 1), rational)] for count in (variables, calls)]
    shape = {"constant": rational, "variables": terms[0], "calls": terms[1]}

    def affine(value: object, what: str) -> Affine:
        constant, *parts = read(value, shape, what).values()
        for found in parts:
            indices = [k for k, _ in found]
            if indices != sorted(set(indices)) or not all(x for _, x in found):
                refuse(f"{what}: variables and calls must ascend, without zeros")
        return affine_of(constant, *map(dict, parts))

    return affine


def _atom(variables: int, calls: int) -> Callable[[object, str], Atom]:
    shape = {"affine": _affine(variables, calls), "strict": boolean}
    return lambda value, what: Atom(*read(value, shape, what).values())


def read_claim(value: object) -> Claim:
    if not isinstance(value, dict) or value.keys().isdisjoint(("cases", "lineage", "near")):
        return read_plain(value)
    from rewarden.certificate.kernel_cases import read_other

    return read_other(value)


def read_plain(value: object) -> Claim:
    shape = {
        "rule": text, "severity": one_of("must", "should"), "instances": maybe(text), "calls": array,
        "variables": [{"name": text, "unit": maybe(text), "discrete": boolean}], "records": array,
        "rewards": rewards_of, "clauses": array, "goals": array, "boxes": array,
        "constants": [{"text": text, "data": digest_text, "value": rational}],
    }  # fmt: skip
    if isinstance(value, dict) and "loops" in value:
        from rewarden.certificate.kernel_loops import SHAPE as LOOPS

        shape |= LOOPS
    elif isinstance(value, dict) and "rows" in value:
        from rewarden.certificate.kernel_rows import SHAPE as ROWS

        shape |= ROWS
    found = read(value, shape, "a claim")
    variables, n = found["variables"], len(found["variables"])
    clauses = [[_atom(n, len(found["calls"]))]]
    record = {"name": text, "type": text, "variables": [within(0, n - 1)]}
    call = {"reward": one_of(*found["rewards"]), "arguments": [_affine(n, 0)]}
    discrete = tuple(v["discrete"] for v in variables)
    return Claim(
        digest=digest(canonical(value)), rule=found["rule"], severity=found["severity"], instances=found["instances"],
        names=tuple(v["name"] for v in variables), units=tuple(v["unit"] for v in variables), discrete=discrete,
        records=tuple((r["name"], r["variables"]) for r in read(found["records"], [record], "records")),
        calls=tuple((c["reward"], c["arguments"]) for c in read(found["calls"], [call], "calls")),
        clauses=read(found["clauses"], clauses, "clauses"), goals=read(found["goals"], clauses, "goals"),
        boxes=tuple(_box(box, discrete) for box in read(found["boxes"], [((rational, rational),) * n], "a box")),
        rewards=found["rewards"], loops=found.get("loops"), rows=found.get("rows"),
    )  # fmt: skip


def rewards_of(value: object, what: str) -> dict[str, str]:
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


def replay(claim: Claim, program: Program, witness: object) -> tuple[bool, bool]:
    """A point of the claim, exactly: (every clause has a true atom, every goal has one). Refused if it is outside."""
    shape = {"box": within(0, len(claim.boxes) - 1), "point": (rational,) * len(claim.names)}
    box, x = read(witness, shape, "a witness").values()
    for value, (low, high), whole in zip(x, claim.boxes[box], claim.discrete, strict=True):
        if not low <= value <= high or (whole and value.denominator != 1):
            refuse("the witness lies outside its box")
    return truth(claim, program.over(claim.boxes[box]), x)


def truth(claim: Claim, program: Program, x: Sequence[Fraction]) -> tuple[bool, bool]:
    """At a point, exactly: (every clause has a true atom, every goal has one)."""
    outputs, said = evaluate(program, x), (claim.clauses, claim.goals)
    premise, goals = (all(any(holds(atom, x, outputs) for atom in clause) for clause in clauses) for clauses in said)
    return premise and (claim.near is None or claim.near.holds(x)), goals


def value_of(form: Affine, x: Sequence[Fraction], outputs: Sequence[Fraction]) -> Fraction:
    total = form.constant + sum(c * x[k] for k, c in form.variables) + sum(c * outputs[k] for k, c in form.calls)
    return total * Fraction(1, form.bottom)


def holds(atom: Atom, x: Sequence[Fraction], outputs: Sequence[Fraction]) -> bool:
    value = value_of(atom.form, x, outputs)
    return value > 0 or (value == 0 and not atom.strict)
