"""Holding obligations against the evaluator: the same truth, exactly, for each part and at each point.

Structure, assumption, premise and conclusion are compared one by one, so that no part hides another's mistake.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence
from fractions import Fraction

from rewarden.spec_lang import syntax
from rewarden.spec_lang.evaluate import truth
from rewarden.spec_lang.obligation import Formula, Instances, Obligation, Statistic
from rewarden.spec_lang.spec import Spec
from tests.reference import evaluate_data, evaluate_near
from tests.reference.evaluate import Evaluator
from tests.reference.evaluate_values import Bound, Irrational, Path, Row, Typed, encode


def reward(name: str, columns: Sequence[Fraction]) -> Fraction:
    """An arbitrary exact function of the encoded columns, with ties and both signs, different for each reward."""
    total = sum((i % 5 - 2) * x for i, x in enumerate(columns))
    return Fraction(round(total), 4) + Fraction(len(name) + ord(name[-1]) % 3, 2) - 1


class Disagreement(AssertionError):
    pass


def assignment(obligation: Obligation, points: Mapping[str, Typed]) -> list[Fraction]:
    """The obligation's variables at the named records (`anchor(x)`, `t[0]`, `p.better` included)."""
    found: dict[int, Fraction] = {}
    for view in obligation.records:
        for index, value in zip(view.variables, encode(points[view.name]), strict=True):
            assert found.setdefault(index, value) == value, "shared variables have one value"
    return [found[i] for i in range(len(obligation.variables))]


def named(bound: Mapping[str, Bound], anchors: Mapping[str, Typed]) -> dict[str, Typed]:
    """The records of a point under the names that obligations have for them."""
    found = {f"anchor({name})": row for name, row in anchors.items()}
    for name, what in bound.items():
        match what:
            case Typed():
                found[name] = what
            case Path(records=records):
                found |= {f"{name}[{i}]": r for i, r in enumerate(records)}
            case Row(members=members):
                found |= {f"{name}.{member}" if member else name: r for member, r in members.items()}
    return found


def agree(evaluator: Evaluator, rule: str, obligation: Obligation, bound: Mapping[str, Bound]) -> tuple[bool, ...]:
    """Asserts equal truth of all parts; returns them. Irrational where a root defeats the evaluator."""
    variables = assignment(obligation, named(bound, evaluator.anchors))
    quantifier = evaluator.rules[rule].quantifier
    shared = evaluate_data.shared(evaluator.rules[rule].expect)
    assumed, premise = evaluator.assumed(bound), evaluator.premise(rule, bound)
    if isinstance(quantifier, syntax.ForallRows) and shared is not None:
        conclusion = bool(evaluator.value(shared[0], evaluator.environment(rule, bound)))
    else:
        conclusion = evaluator.conclusion(rule, bound)

    def holds(formula: Formula) -> bool:
        return truth(formula, variables, evaluator.reward, lambda s: constant(evaluator, s))

    assert holds(obligation.structure)
    found = (holds(obligation.assume), holds(obligation.premise), holds(obligation.conclusion))
    if found != (assumed, premise, conclusion):
        raise Disagreement(f"lowered {found}, evaluated {(assumed, premise, conclusion)} at {variables}")
    return found


def constant(evaluator: Evaluator, s: Statistic) -> Fraction:
    if evaluator.statistic is not None:
        return evaluator.statistic(s.kind, s.reward, s.data, s.level)
    return evaluate_data.statistic(evaluator, s.kind, s.reward, s.data, s.level)


def in_box(instances: Instances, row: int, variables: Sequence[Fraction], obligation: Obligation) -> bool:
    """Whether a point lies in the box of that row, ranges included."""
    anchor = [Fraction(float(x)) for x in instances.anchors[row]]
    ranges = all(v.lo <= x <= v.hi for v, x in zip(obligation.variables, variables, strict=True))
    near = all(abs(variables[i] - anchor[c]) <= r for i, c, r in instances.centred)
    return ranges and near and all(variables[i] == anchor[c] for i, c in instances.fixed)


def agree_near(evaluator: Evaluator, rule: str, obligation: Obligation, here: Typed, anchor: Typed, row: int) -> bool:
    """Membership of the row's neighbourhood, then everything else; returns the membership.

    `evaluator.anchors` must hold `anchor`.
    """
    near = evaluator.rules[rule].quantifier
    assert isinstance(near, syntax.Near)
    assert obligation.instances is not None
    bound = {near.param.name: here}
    variables = assignment(obligation, named(bound, evaluator.anchors))
    boxed = in_box(obligation.instances, row, variables, obligation)
    expected = evaluate_near.in_range(here) and evaluate_near.in_box(evaluator, near, here, anchor)
    if boxed != expected:
        raise Disagreement(f"in the box of row {row}: lowered {boxed}, evaluated {expected} at {variables}")
    agree(evaluator, rule, obligation, bound)
    return boxed and evaluate_near.in_ball(evaluator, near, here, anchor)


# ── data files ─────────────────────────────────────────────────────────────────────────────────
def write_rows(folder: pathlib.Path, name: str, rows: Sequence[Row]) -> None:
    """The rows as JSON lines; every number must be a binary64 one."""
    lines = []
    for row in rows:
        flat: dict[str, object] = {}
        for member, record in row.members.items():
            prefix = f"{member}." if member else ""
            flat |= {f"{prefix}{f}": _plain(v) for f, v in record.values.items()}
        lines.append(json.dumps(flat))
    (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _plain(value: object) -> object:
    match value:
        case tuple():
            return [_plain(x) for x in value]
        case Fraction():
            assert Fraction(float(value)) == value
            return float(value)
    return value


__all__ = ["Disagreement", "Irrational", "Spec", "agree", "agree_near", "assignment", "reward", "write_rows"]
