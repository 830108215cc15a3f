"""Potentials and cycles of small graphs, against brute force; a loop's step, read off three records."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from rewarden.spec_lang import parse_spec
from rewarden.verifier.loops.local import loop_step, trace_chains
from rewarden.verifier.loops.potentials import Graph, components, exact_potentials, gridded, refined, relax, settles
from tests.reference.loop_specs import best_mean


def random_graph(seed: int) -> tuple[Graph, np.ndarray]:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 9))
    there = np.argwhere(rng.random((count, count)) < 0.4)
    weight = np.round(rng.normal(-0.4, 1.0, len(there)) * 4) / 4
    return Graph(count, there[:, 0], there[:, 1]), weight


@pytest.mark.parametrize("weak", [False, True])
@pytest.mark.parametrize("seed", range(60))
def test_there_are_potentials_just_if_no_cycle_pays(seed: int, weak: bool) -> None:
    graph, weight = random_graph(seed)
    whole, exponent = gridded(weight, graph.count, weak)
    assert all(
        Fraction(int(w)) >= Fraction(float(x)) * Fraction(2) ** exponent for w, x in zip(whole, weight, strict=True)
    )
    moves = {(int(u), int(v)): Fraction(float(w)) for u, v, w in zip(graph.source, graph.target, weight, strict=True)}
    best = best_mean(graph.count, moves)
    pays = best is not None and (best > 0 or (best == 0 and weak))
    relaxed = relax(graph, whole)
    assert bool(relaxed.cycles) == pays
    if not pays:
        assert settles(graph, whole, relaxed.potential)
    for cycle in relaxed.cycles:
        total = sum(moves[u, v] for u, v in zip(cycle, (*cycle[1:], cycle[0]), strict=True))
        assert total > 0 or (total == 0 and weak)
    listed = [(u, v, int(4 * w)) for (u, v), w in moves.items()]
    potential, ring = exact_potentials(graph.count, listed, weak)
    assert (ring is not None) == pays
    if ring is None:
        assert all(potential[u] + w * (graph.count + 1) + weak <= potential[v] for u, v, w in listed)


def test_bounds_of_very_different_size_share_a_grid() -> None:
    graph = Graph(2, np.array([0, 1, 0]), np.array([1, 0, 0]))
    for weight in ([1e-300, -1e300, -1.0], [1e300, -np.inf, -1.0], [0.0, 0.0, -5.0], [1e-12, -1e-12, -3.0]):
        whole, _ = gridded(np.array(weight), 2, weak=False)
        found = relax(graph, whole)
        assert bool(found.cycles) == (weight[0] + weight[1] > 0)
        if not found.cycles:
            assert settles(graph, whole, found.potential)


def test_potentials_beyond_exact_integers_settle_nothing() -> None:
    graph = Graph(1, np.array([0]), np.array([0]))
    assert not settles(graph, np.array([-(2**62)]), np.array([0]))
    assert not settles(graph, np.array([1]), np.array([0]))


def test_components_go_from_lower_to_higher() -> None:
    graph = Graph(4, np.array([0, 1, 1, 2, 3]), np.array([1, 0, 2, 3, 3]))
    label, count = components(graph)
    assert count == 3
    assert label[0] == label[1] < label[2] < label[3]


def test_halves_have_the_moves_of_their_parents() -> None:
    graph = Graph(2, np.array([0, 0, 1]), np.array([0, 1, 1]))
    stay, moves, weight = refined(graph, np.array([1.0, 2.0, 3.0]), np.array([0]))
    assert stay.tolist() == [1]
    found = {(int(u), int(v)): w for u, v, w in zip(moves.source, moves.target, weight, strict=True)}
    assert found[0, 0] == 3.0
    assert set(found) == {(0, 0), (1, 0), (2, 0), (1, 1), (1, 2), (2, 1), (2, 2)}
    assert np.isnan([w for move, w in found.items() if move != (0, 0)]).all()


HEADER = """spec walk v1
features S { x : real in 0 .. 10, y : real in 0 .. 10 }
assume s: S = s.x + s.y <= 15
reward R(s: S)
reward M(a: S, b: S)
relation creep(a: S, b: S) = |a.x - b.x| <= 1 and a.y == b.y
"""


def test_one_step_says_what_every_step_of_a_loop_says() -> None:
    spec = parse_spec(HEADER + "must r: cycle t: S via creep given always t.x >= 1 expect sum(M(t) - 0.5) < 0\n")
    ((step, weak),) = loop_step(spec.unrolled("r", 3))
    assert weak
    assert len(step.record) == 2  # the assumption and the premise
    assert len(step.move) == 3  # the bound on x, and the equation as two
    assert len(step.adds.parts) == 1
    assert step.adds.constant == Fraction(-1, 2)


def test_two_sides_of_an_equation_are_two_steps() -> None:
    spec = parse_spec(HEADER + "must r: cycle t: S via creep expect sum(M(t)) == 0\n")
    found = loop_step(spec.unrolled("r", 3))
    assert sorted(step.adds.parts[0][1] for step, _ in found) == [-1, 1]
    assert not any(weak for _, weak in found)


def test_a_trace_is_broken_in_as_many_ways_as_its_conclusion_has_parts() -> None:
    rule = "must r: trace t: S of 5 steps via creep expect sum(R(t) discount 0.5) <= 3 and always t.x <= 9\n"
    chains = trace_chains(parse_spec(HEADER + rule).unrolled("r", 5))
    assert len(chains) == 6
    total = next(chain for chain in chains if len(chain.steps[0].adds.parts))
    assert [step.adds.parts[0][1] for step in total.steps] == [Fraction(1, 2**i) for i in range(5)]
    assert sum(step.adds.constant for step in total.steps) == -3
