"""Rules over rows of data and data constants, by their definitions: quantiles, means, shares and their confidence.

The Clopper–Pearson statement is decided without bounds: the lower bound of a share at confidence c, k of n rows, is
the largest p with P[X ≥ k] ≤ 1 − c for X binomial (n, p), which grows with p; so it lies at or above a level exactly
where that tail at the level is at most 1 − c. The upper bound mirrors it.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, comb
from typing import TYPE_CHECKING, Literal

from rewarden.spec_lang import syntax
from tests.reference.evaluate_values import Row, encode, holds

if TYPE_CHECKING:
    from tests.reference.evaluate import Env, Evaluator

Verdict = Literal["proved", "violated", "unknown", "vacuous"]


# ── data constants ─────────────────────────────────────────────────────────────────────────────
def over_data(evaluator: Evaluator, of: syntax.Apply) -> bool:
    """`R(d)` with d a data set, or `R(d.member)` with one member's records."""
    if of.function not in evaluator.declared.rewards or len(of.arguments) != 1:
        return False
    name = dotted(of.arguments[0])
    data = evaluator.declared.data
    return name in data or name.rpartition(".")[0] in data


def dotted(e: syntax.Expr) -> str:
    """`d` or `d.member` as one text; "" for anything else."""
    match e:
        case syntax.Name(name=name):
            return name
        case syntax.Field(base=base, name=name):
            return f"{dotted(base)}.{name}"
    return ""


def rows_of(evaluator: Evaluator, name: str) -> list[Row]:
    """The rows of a data set, or the records of one member as rows of their own."""
    if name in evaluator.rows:
        return list(evaluator.rows[name])
    data, _, member = name.rpartition(".")
    return [Row({"": row.members[member]}) for row in evaluator.rows[data]]


def constant(evaluator: Evaluator, e: syntax.Apply, env: Env) -> Fraction:
    """`quantile(R(d), 0.05)` and its like; a reward of several records takes the members of each row in order."""
    of = e.arguments[0]
    data = dotted(of.arguments[0])
    level = evaluator.value(e.arguments[1], env) if len(e.arguments) > 1 else None
    if evaluator.statistic is not None:
        return evaluator.statistic(e.function, of.function, data, level)
    return statistic(evaluator, e.function, of.function, data, level)


def statistic(evaluator: Evaluator, kind: str, reward: str, data: str, level: Fraction | None) -> Fraction:
    rows = rows_of(evaluator, data)
    values = [evaluator.reward(reward, [c for r in row.records() for c in encode(r)]) for row in rows]
    match kind:
        case "quantile":
            return sorted(values)[max(1, ceil(level * len(values))) - 1]
        case "mean":
            return sum(values, Fraction(0)) / len(values)
        case "min":
            return min(values)
    return max(values)


# ── rules over rows ────────────────────────────────────────────────────────────────────────────
def selected(evaluator: Evaluator, rule: str) -> list[dict[str, Row]]:
    """The rows that the rule speaks of: those that satisfy `given`."""
    quantifier = evaluator.rules[rule].quantifier
    named = [{quantifier.name: row} for row in rows_of(evaluator, quantifier.data.name)]
    return [p for p in named if evaluator.premise(rule, p)]


def verdict(evaluator: Evaluator, rule: str) -> Verdict:
    """Of a rule `forall p in d`, from all its rows."""
    rows = selected(evaluator, rule)
    if not rows:
        return "vacuous"
    of = shared(evaluator.rules[rule].expect)
    if of is None:
        return "proved" if all(evaluator.conclusion(rule, p) for p in rows) else "violated"
    q, op, level = of
    n, k = len(rows), sum(bool(evaluator.value(q, p)) for p in rows)
    confidence = evaluator.rules[rule].confidence
    bound = evaluator.value(level, {})
    if confidence is None:
        return "proved" if holds(op, Fraction(k, n), bound) else "violated"
    return clopper_pearson(op, k, n, bound, evaluator.value(confidence, {}))


def shared(expect: syntax.Expr) -> tuple[syntax.Expr, str, syntax.Expr] | None:
    """(q, op, level) of `share(q) op level`, turned round where the level is written first."""
    turned = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
    match expect:
        case syntax.Compare(first=syntax.Apply(function="share", arguments=(q,)), rest=((op, level),)):
            return q, op, level
        case syntax.Compare(first=level, rest=((op, syntax.Apply(function="share", arguments=(q,))),)):
            return q, turned[op], level
    return None


def clopper_pearson(op: str, k: int, n: int, level: Fraction, confidence: Fraction) -> Verdict:
    """Proved iff the bound on the claim's side is good enough, violated iff the other one is bad enough."""
    if op in ("<", "<="):  # the share of rows that do not satisfy q, turned round
        return clopper_pearson({"<": ">", "<=": ">="}[op], n - k, n, 1 - level, confidence)
    strict = op == ">"
    if lower_reaches(k, n, level, confidence, strict):
        return "proved"
    return "violated" if upper_misses(k, n, level, confidence, strict) else "unknown"


def lower_reaches(k: int, n: int, level: Fraction, confidence: Fraction, strict: bool) -> bool:
    """The lower bound is >= level, or > level where strict."""
    if k == 0 or level < 0:  # the bound is 0; nothing lies below it
        return level < 0 or (level == 0 and not strict)
    tail, rest = at_least(k, n, level), 1 - confidence
    return level <= 1 and (tail < rest if strict else tail <= rest)


def upper_misses(k: int, n: int, level: Fraction, confidence: Fraction, strict: bool) -> bool:
    """The upper bound is < level, or <= level where the claim is strict."""
    if k == n or level > 1:
        return level > 1 or (level == 1 and strict)
    tail, rest = 1 - at_least(k + 1, n, level), 1 - confidence
    return level >= 0 and (tail <= rest if strict else tail < rest)


def at_least(k: int, n: int, p: Fraction) -> Fraction:
    """P[X ≥ k], exactly."""
    return sum((comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1)), Fraction(0))
