"""Traces and cycles, by their definition: sums over records or moves, `always`, `eventually`, relations.

A name bound to a path stands for each of its records in turn; where it is applied to something that takes two records,
for each of its moves.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from rewarden.spec_lang import syntax

if TYPE_CHECKING:
    from tests.reference.evaluate import Env, Evaluator


def related(evaluator: Evaluator, relation: str, env: Env) -> bool:
    """Every move is one of the relation's, the closing one of a cycle included."""
    definition = evaluator.definitions[relation]
    application = syntax.Apply(relation, (syntax.Name(env.path[0], definition.span),), definition.span, definition.span)
    return all(evaluator.value(application, step) for step in moves(env))


def total(evaluator: Evaluator, inner: syntax.Expr, env: Env) -> Fraction:
    """`sum(e)`, or `sum(e discount γ)`: term i is multiplied by γ^i, from 0."""
    factor = Fraction(1)
    if isinstance(inner, syntax.Discounted):
        factor = evaluator.value(inner.factor, env)
        inner = inner.inner
    terms = [evaluator.value(inner, step) for step in steps(evaluator, inner, env)]
    return sum((factor**i * t for i, t in enumerate(terms)), Fraction(0))


def temporal(evaluator: Evaluator, e: syntax.Temporal, env: Env) -> bool:
    found = [evaluator.value(e.inner, step) for step in steps(evaluator, e.inner, env)]
    return all(found) if e.op == "always" else any(found)


def steps(evaluator: Evaluator, inner: syntax.Expr, env: Env) -> list[Env]:
    """One environment for each record of the path, or for each move."""
    name, path = env.path
    if over_moves(evaluator, inner, name):
        return moves(env)
    return [env.with_record(name, r, f"{name}[{i}]") for i, r in enumerate(path.records)]


def moves(env: Env) -> list[Env]:
    name, path = env.path
    names = [f"{name}[{i}]" for i in range(len(path.records))]
    following = names[1:] + names[:1]
    pairs = zip(path.moves(), names, following, strict=False)
    return [env.with_record(name, move, f"{a} {b}") for move, a, b in pairs]


def over_moves(evaluator: Evaluator, inner: syntax.Expr, name: str) -> bool:
    """Whether the path's name alone is given to something that takes two records."""
    for node in syntax.walk(inner):
        match node:
            case syntax.Apply(arguments=(syntax.Name(name=given),)) if given == name and arity(evaluator, node) == 2:
                return True
    return False


def arity(evaluator: Evaluator, e: syntax.Apply) -> int:
    if e.function in evaluator.declared.rewards:
        return len(evaluator.declared.rewards[e.function])
    if e.function in evaluator.definitions:
        return len(evaluator.definitions[e.function].params)
    return 1
