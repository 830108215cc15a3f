"""What a single move of a loop may be, and what it adds to the sum: an obligation about two records.

A rule about loops of every length says one thing of each of their moves. Read as a rule about traces of two records, it
has the relation and the premise of one move and, summed over moves, what one move adds; summed over records, that is
what the first of the two does. Two such rules are compared by their moves, whatever the length of the loop.

A reward satisfies a rule about loops if some number F for each record, a potential, makes every move good enough alone:
`pay(a, b) + F(b) - F(a) <= 0`. On a loop the F's cancel. (Of finitely many records, some F does so if no loop pays:
the longest way from a record.) So a potential is one more reward, over records of that type, for which both specs have
a name that no text can have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rewarden.spec_lang import syntax
from rewarden.spec_lang.compare.align import Aligned, align
from rewarden.spec_lang.compare.frame import SIDES, Frame, Side
from rewarden.spec_lang.compare.lift import read_again
from rewarden.spec_lang.forms import ONE, Form, form_of, leaf
from rewarden.spec_lang.formulas import atom, conjunction
from rewarden.spec_lang.obligation import And, Atom, Call, Formula, Obligation, Or, Var
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.spec import RewardDecl
from rewarden.spec_lang.steps import over_moves

Moves = Mapping[tuple[Side, str], Obligation]  # by the rule about loops


@dataclass(frozen=True, slots=True)
class _Found:
    moves: dict[str, Obligation]
    potentials: dict[str, RewardDecl]


def with_moves(frame: Frame) -> tuple[Frame, Moves]:
    """The frame with potentials, and the moves of every rule about loops; nothing more unless both specs have some."""
    if not all(any(rule.kind == "cycle" for rule in frame.spec(side).rules) for side in SIDES):
        return frame, {}
    found = {side: _moves(frame, side) for side in SIDES}
    specs = {
        side: replace(frame.spec(side), rewards=frame.spec(side).rewards | found[side].potentials) for side in SIDES
    }
    names = {(side, name): name for side in SIDES for name in found[side].potentials}
    moves = {(side, rule): move for side in SIDES for rule, move in found[side].moves.items()}
    return replace(frame, old=specs["old"], new=specs["new"], rewards={**frame.rewards, **names}), moves


def _moves(frame: Frame, side: Side) -> _Found:
    """The rules about loops of one spec, read once more as rules about traces of two records."""
    spec = frame.spec(side)
    declared = [item for item in spec.expanded.items if not isinstance(item, syntax.RuleDecl | syntax.ExampleDecl)]
    cycles = {
        item.name: (item, item.quantifier)
        for item in spec.expanded.items
        if isinstance(item, syntax.RuleDecl) and isinstance(item.quantifier, syntax.Cycle)
    }
    traces = [replace(item, quantifier=_two_records(cycle)) for item, cycle in cycles.values()]
    read = read_again(spec, [*declared, *traces])
    found = _Found({}, {})
    if read.spec is None or read.symbols is None:
        return found  # an update that is in range on loops only: these rules are compared by what they say
    for name, (item, cycle) in cycles.items():
        kind = frame.types.get((side, cycle.param.type_name))
        if kind is None:
            continue
        move = read.spec.obligation(name)
        if not any(over_moves(body, cycle.param.name, read.symbols) for body in _summed(item.expect)):
            move = replace(move, conclusion=spec.unrolled(name, 1).conclusion)
        found.moves[name] = move
        potential = potential_over(kind.name)
        found.potentials[potential] = RewardDecl(potential, (("a", cycle.param.type_name),), item.span)
    return found


def potential_over(type_name: str) -> str:
    """The name of a potential, by the frame's name of its records."""
    return f"potential over {type_name}"


def _two_records(cycle: syntax.Cycle) -> syntax.Trace:
    span: Span = cycle.span
    return syntax.Trace(cycle.param, True, syntax.Number(2 * ONE, None, False, span), cycle.relation, span)


def _summed(expect: syntax.Expr) -> list[syntax.Expr]:
    return [n.arguments[0] for n in syntax.walk(expect) if isinstance(n, syntax.Apply) and n.function == "sum"]


def with_potentials(move: Aligned, frame: Frame) -> list[Aligned]:
    """Rules about two records: what the move adds to the sum, with F(b) - F(a) more, is enough. One for each way in
    which the conclusion can be true: two where it says `!=`, of which the one or the other is to hold of all moves."""
    conclusion = move.own.conclusion
    ways = [(part,) for part in conclusion.parts] if isinstance(conclusion, Or) else [_comparisons(conclusion)]
    here, after = (view.variables for view in move.own.records)
    name = potential_over(move.types[0].name)
    gain = leaf(Call(name, tuple(map(Var, after)))) - leaf(Call(name, tuple(map(Var, here))))
    found: list[Aligned] = []
    for way in ways:
        # The second comparison of `==` is the first one turned round, and so is the potential.
        parts = [_more(part, gain.scaled(by)) for part, by in zip(way, (ONE, -ONE), strict=False)]
        found.append(align(replace(move.own, conclusion=conjunction(parts)), move.side, frame, move.data))
    return found


def _comparisons(conclusion: Formula) -> tuple[Formula, ...]:
    return conclusion.parts if isinstance(conclusion, And) else (conclusion,)


def _more(comparison: Formula, gain: Form) -> Formula:
    assert isinstance(comparison, Atom), "a rule about loops compares one sum with 0"
    return atom(form_of(comparison.term) + gain, comparison.strict, None)
