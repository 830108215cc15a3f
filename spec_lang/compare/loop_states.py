"""Which moves can be part of a loop, by the states that records are in: the cases of their enums and bools.

A loop of records is a closed walk through their states. So a move from which there is no way back to the state that it
left is part of no loop; where every move is of that kind, there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import prod

from rewarden.spec_lang.compare.align import Aligned
from rewarden.spec_lang.compare.terms import read_beside_rewards
from rewarden.spec_lang.features import Feature
from rewarden.spec_lang.forms import ONE, ZERO, variable
from rewarden.spec_lang.formulas import atom, conjunction, disjunction
from rewarden.spec_lang.obligation import FALSE, Formula

STATES = 8  # between any two of which a move is asked for
LARGEST = 4  # values of a whole number that are told apart

State = Mapping[int, Fraction]  # by the place of a column


def between_states(move: Aligned, never: Callable[[Aligned], bool]) -> Aligned:
    """The moves that can be part of a loop by the states at their ends; the move itself if states exclude none, or
    there are too many. `never`: is the conclusion true at every point, whatever the rewards?"""
    import networkx as nx

    states = _states(move)
    if len(states) < 2:
        return move
    here, after = (view.variables for view in move.records)
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(states)))
    for a, b in product(range(len(states)), repeat=2):
        ends = conjunction([_is(here, states[a]), _is(after, states[b])])
        if not never(replace(move, premise=conjunction([move.premise, ends]), conclusion=FALSE)):
            graph.add_edge(a, b)
    group = {state: k for k, together in enumerate(nx.strongly_connected_components(graph)) for state in together}
    if all(group[a] == group[b] for a, b in graph.edges):
        return move
    back = disjunction(
        conjunction([_is(here, states[a]), _is(after, states[b])]) for a, b in graph.edges if group[a] == group[b]
    )
    return replace(move, premise=conjunction([move.premise, back]))


def _states(move: Aligned) -> list[State]:
    """Every choice of the cases and small whole numbers that the relation reads."""
    read = read_beside_rewards(move.premise)
    here, after = (view.variables for view in move.records)
    choices: list[list[State]] = []
    start = 0
    for feature in move.types[0].features:
        places = range(start, start + feature.width)
        start += feature.width
        if any(here[k] in read or after[k] in read for k in places):
            choices.append(_values(feature, places))
    told_apart = [values for values in choices if values]
    if not told_apart or prod(map(len, told_apart)) > STATES:
        return []
    return [{k: x for part in choice for k, x in part.items()} for choice in product(*told_apart)]


def _values(feature: Feature, places: range) -> list[State]:
    """None of a feature that has many."""
    if feature.kind == "enum":
        return [{k: ONE if k == one else ZERO for k in places} for one in places]
    if feature.kind == "bool":
        return [{places[0]: ZERO}, {places[0]: ONE}]
    if feature.kind != "int" or feature.is_vector or feature.hi - feature.lo >= LARGEST:
        return []
    return [{places[0]: feature.lo + k} for k in range(int(feature.hi - feature.lo) + 1)]


def _is(variables: tuple[int, ...], state: State) -> Formula:
    parts = []
    for place, x in state.items():
        away = variable(variables[place]).shifted(-x)
        parts += [atom(away, False, None), atom(-away, False, None)]
    return conjunction(parts)
