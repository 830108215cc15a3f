"""Must rules that no reward can satisfy together, with the situation in which they collide.

Rules hold for all records, so a clash is a few of them applied to records that they share. Combinations that could
contradict each other are enumerated (cycles of edges, short ones first; sums of several values, each bounded by another
rule; alternatives, each of them refuted) and decided by Z3 over the records. What it finds is then checked once more
from the obligations themselves, at the exact records: their ground instances must be unsatisfiable with rewards as
uninterpreted functions. Only then is it a clash; instances that are not needed are dropped.

Nothing found proves nothing: longer combinations, rows of data beyond the first and rules that do not come apart into
demands are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.forms import TooLarge
from rewarden.spec_lang.obligation import Obligation
from rewarden.spec_lang.sanity.combination import Combination, of_cycle, question, some_boxes, values_at
from rewarden.spec_lang.sanity.demands import Demand, Literal
from rewarden.spec_lang.sanity.edges import Graph, Steps, contradicts, edges_of
from rewarden.spec_lang.sanity.ground import Instance, contradictory, instance, minimal
from rewarden.spec_lang.sanity.round_numbers import rounded
from rewarden.spec_lang.sanity.stars import alternatives, stars
from rewarden.spec_lang.sanity.z3 import Oracle

LONGEST = 6
"""Edges of a cycle: longer chains are rare, and their number grows exponentially."""


@dataclass(frozen=True, slots=True)
class ClashBudget:
    """Work: `steps` of the walk over edges, `questions` to Z3 of at most `rlimit` each, `clashes` reported."""

    steps: int = 4_000
    questions: int = 150
    rlimit: int = 400_000
    clashes: int = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """What one demand asks at the records of a clash: one of `literals`; without any, what no reward could give.
    `rows` names the table, where it asks this of its rows."""

    instance: Instance
    literals: tuple[Literal, ...]
    rows: str = ""


@dataclass(frozen=True, slots=True)
class Clash:
    """Ground instances that contradict each other, of which none can be left out."""

    asked: tuple[Asked, ...]

    @property
    def rules(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(a.instance.rule for a in self.asked))


@dataclass(frozen=True, slots=True)
class Found:
    """`complete` where every combination of the kinds above was decided."""

    clashes: tuple[Clash, ...]
    complete: bool


def find_clashes(demands: Sequence[Demand], oracle: Oracle, budget: ClashBudget) -> Found:
    """Clashes among the rules that make these demands."""
    search = _Search(oracle, budget)
    for demand in demands:
        if demand.obligation.instances is not None and demand.obligation not in search.near:
            search.near[demand.obligation] = some_boxes(demand.obligation)
    for combination in _combinations(demands, search.steps):
        if not search.open:
            break
        search.try_(combination)
    return Found(tuple(search.found), search.complete)


def _combinations(demands: Sequence[Demand], steps: Steps) -> Iterator[Combination]:
    for demand in demands:
        if not demand.literals:
            yield Combination((demand,), (), ())
    edges = [edge for demand in demands if len(demand.literals) == 1 for edge in edges_of(demand)]
    edges.sort(key=lambda edge: -edge.most if edge.most is not None else Fraction(-(10**400)))
    graph = Graph(edges)
    for length in range(1, LONGEST + 1):
        yield from _cycles(graph, length, steps)
        if length == 2:
            yield from stars(demands, edges)
            yield from alternatives(demands, edges, steps)


def _cycles(graph: Graph, length: int, steps: Steps) -> Iterator[Combination]:
    seen: set[tuple[int, ...]] = set()
    for path in graph.cycles(length, steps):
        first = path.index(min(path))
        rotation = (*path[first:], *path[:first])
        chosen = [graph.edges[k] for k in rotation]
        if rotation not in seen and contradicts(chosen):
            seen.add(rotation)
            yield of_cycle(chosen)


class _Search:
    """Mutable: what was found, and what is left of the work."""

    def __init__(self, oracle: Oracle, budget: ClashBudget) -> None:
        self.oracle = oracle
        self.budget = budget
        self.steps = Steps(budget.steps)
        self.near: dict[Obligation, tuple[tuple[tuple[Fraction, Fraction], ...], ...]] = {}
        self.found: list[Clash] = []
        self.asked = 0
        self.undecided = False

    @property
    def open(self) -> bool:
        return self.asked < self.budget.questions and len(self.found) < self.budget.clashes

    @property
    def complete(self) -> bool:
        return self.open and not self.undecided and self.steps.left > 0

    def try_(self, combination: Combination) -> None:
        """Decides one combination, unless it contains a clash that is known."""
        if any(set(clash.rules) <= combination.rules for clash in self.found):
            return
        self.asked += 1
        try:
            asked = question(combination, self.near)
            answer = self.oracle.ask(asked.variables, asked.formula, self.budget.rlimit)
            if answer.point is None:
                self.undecided |= answer.status != "unsat"
                return
            point = rounded(asked.variables, asked.formula, answer.point)
            values = [values_at(columns, point) for columns in asked.columns]
            clash = self._confirmed(combination, values)
        except (TooLarge, Unsupported):
            self.undecided = True
            return
        if clash is None:
            self.undecided = True
        else:
            self.found.append(clash)

    def _confirmed(self, combination: Combination, values: Sequence[tuple[Fraction, ...]]) -> Clash | None:
        """From the obligations alone: their instances at these values contradict each other."""
        instances = []
        for demand, at in zip(combination.demands, values, strict=True):
            over = demand.over
            found = instance(demand.obligation, at) if over is None else Instance(demand.obligation, None, over.follows)
            if found is None:
                return None
            instances.append(found)
        if not contradictory(instances, self.oracle, self.budget.rlimit):
            return None
        kept = minimal(instances, self.oracle, self.budget.rlimit)
        return Clash(tuple(_asked(instances[k], combination, k) for k in kept))


def _asked(instance: Instance, combination: Combination, k: int) -> Asked:
    over = combination.demands[k].over
    if over is not None:
        return Asked(instance, (over.literal,), over.data)
    used = (literal for refutation in combination.refutations for number, literal, _ in refutation if number == k)
    return Asked(instance, tuple(dict.fromkeys(used)))
