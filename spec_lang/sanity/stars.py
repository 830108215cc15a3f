"""Combinations that are no cycles: sums of several values, and demands with alternatives.

A *star* is a literal such as `R(t[0]) + R(t[1]) >= 1` or `2·R(a) <= R(b)` with a bound from another rule for each of
its values. A demand with several literals is refuted if each of them is: by closing it to a cycle with other edges, all
at the demand's own records.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice, product

import numpy as np

from rewarden.spec_lang.obligation import Call
from rewarden.spec_lang.sanity.combination import Combination, Link, Refutation, chain
from rewarden.spec_lang.sanity.demands import Demand, Literal, Value
from rewarden.spec_lang.sanity.edges import Edge, Graph, Steps, box_of, contradicts, edges_of, ends, meets
from rewarden.spec_lang.sanity.narrowed import Ranges

CHOICES = 24
"""Ways to bound one star, or to close the alternatives of one demand."""
BOUNDS = 4
"""Bounds tried for each value of a star, and cycles for each alternative."""
ALTERNATIVES = 3
ONE = Fraction(1)


def stars(demands: Sequence[Demand], edges: Sequence[Edge]) -> Iterator[Combination]:
    """Literals over several values, which cancel at one record or are bounded one by one."""
    bounds = [edge for edge in edges if (edge.tail is None) != (edge.head is None)]
    for demand in demands:
        ranges = demand.box
        if len(demand.literals) != 1 or ranges is None or ends(demand.literals[0]) is not None:
            continue
        (literal,) = demand.literals
        yield from _at_one_record(demand, literal)
        options = [_bounds_of(value, c > 0, ranges, bounds) for value, c in literal.values]
        for chosen in islice(product(*options), CHOICES):
            yield _star(demand, literal, chosen)


def _at_one_record(demand: Demand, literal: Literal) -> Iterator[Combination]:
    """All calls of each reward at one record, where their coefficients sum to 0."""
    calls: dict[str, list[Call]] = defaultdict(list)
    sums: dict[str, Fraction] = defaultdict(Fraction)
    for value, c in literal.values:
        if not isinstance(value, Call):
            return
        calls[value.reward].append(value)
        sums[value.reward] += c
    if all(total == 0 for total in sums.values()):
        links = tuple(Link(0, same[0], 0, other) for same in calls.values() for other in same[1:])
        yield Combination((demand,), links, (((0, literal, ONE),),))


def _bounds_of(value: Value, upper: bool, ranges: Ranges, bounds: Sequence[Edge]) -> list[Edge]:
    """Edges that bound the value from above (or below), somewhere in its box."""
    found = []
    box = box_of(value, ranges)
    for edge in bounds:
        own, other = (edge.tail, edge.tail_box) if upper else (edge.head, edge.head_box)
        if own is None or not meets(own, value):
            continue
        if len(other) == len(box) and (np.maximum(box[:, 0], other[:, 0]) <= np.minimum(box[:, 1], other[:, 1])).all():
            found.append(edge)
    return found[:BOUNDS]


def _star(demand: Demand, literal: Literal, chosen: Sequence[Edge]) -> Combination:
    refutation = [(0, literal, ONE)]
    links = []
    for k, ((value, c), edge) in enumerate(zip(literal.values, chosen, strict=True), start=1):
        refutation.append((k, edge.literal, abs(c) * edge.scale))
        end = edge.head if edge.tail is None else edge.tail
        if isinstance(value, Call) and isinstance(end, Call):
            links.append(Link(0, value, k, end))
    return Combination((demand, *(edge.demand for edge in chosen)), tuple(links), (tuple(refutation),))


# ── alternatives ───────────────────────────────────────────────────────────────────────────────
def alternatives(demands: Sequence[Demand], edges: Sequence[Edge], steps: Steps) -> Iterator[Combination]:
    """Demands with several literals, each of which is closed to a cycle of at most three edges."""
    several = {demand: edges_of(demand) for demand in demands if 2 <= len(demand.literals) <= ALTERNATIVES}
    graph = Graph(edges, [edge for own in several.values() for edge in own])
    for demand, own in several.items():
        if len(own) != len(demand.literals):
            continue
        options = [list(islice(_closings(edge, graph, steps), BOUNDS)) for edge in own]
        for chosen in islice(product(*options), CHOICES):
            yield _refuted(demand, own, chosen)


def _closings(edge: Edge, graph: Graph, steps: Steps) -> Iterator[tuple[Edge, ...]]:
    for length in (0, 1, 2):
        for path in graph.closing(edge, length, steps):
            rest = tuple(graph.edges[k] for k in path)
            if contradicts((edge, *rest)):
                yield rest


def _refuted(demand: Demand, own: Sequence[Edge], chosen: Sequence[tuple[Edge, ...]]) -> Combination:
    demands = [demand]
    links: list[Link] = []
    refutations: list[Refutation] = []
    for edge, rest in zip(own, chosen, strict=True):
        cycle = [(0, edge), *enumerate(rest, start=len(demands))]
        demands += [other.demand for other in rest]
        links += chain(cycle)
        refutations.append(tuple((number, e.literal, e.scale) for number, e in cycle))
    return Combination(tuple(demands), tuple(links), tuple(refutations))
