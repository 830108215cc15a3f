"""What stands for a move: `R(t)` inside a sum, where R takes two records and t is the variable of a trace or cycle.

Inside `sum`, `always` and `eventually` the variable stands for each record in turn. A reward or definition of two
records of its type, applied to the variable alone, stands for each move from one record to the next instead.
"""

from __future__ import annotations

from collections.abc import Iterator

from rewarden.spec_lang import syntax
from rewarden.spec_lang.symbols import Symbols


def is_move(node: syntax.Expr, name: str, symbols: Symbols) -> bool:
    """Is it a function of two records, applied to the variable of a trace?"""
    match node:
        case syntax.Apply(function=function, arguments=(syntax.Name(name=argument),)) if argument == name:
            declared = symbols.rewards.get(function) or symbols.definitions.get(function)
            return declared is not None and len(declared.params) == 2
    return False


def step_uses(body: syntax.Expr, name: str, symbols: Symbols) -> tuple[list[syntax.Expr], list[syntax.Expr]]:
    """Where the variable stands for moves, and where for records; `first(t)` and `last(t)` are neither."""
    moves: list[syntax.Expr] = []
    records: list[syntax.Expr] = []
    for node in _walk(body, name, symbols):
        if is_move(node, name, symbols):
            moves.append(node)
        elif isinstance(node, syntax.Name) and node.name == name:
            records.append(node)
    return moves, records


def over_moves(body: syntax.Expr, name: str, symbols: Symbols) -> bool:
    return bool(step_uses(body, name, symbols)[0])


def _walk(body: syntax.Expr, name: str, symbols: Symbols) -> Iterator[syntax.Expr]:
    stack = [body]
    while stack:
        node = stack.pop()
        yield node
        if is_move(node, name, symbols) or (isinstance(node, syntax.Apply) and node.function in ("first", "last")):
            continue
        stack.extend(reversed(tuple(syntax.children(node))))
