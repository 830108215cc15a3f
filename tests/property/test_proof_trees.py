"""Proofs of random claims: whole trees, whose leaves the exact reference accepts; and no claim proved that is false."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import floor

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.spec_lang.claim import Box, Claim
from rewarden.verifier.branch import prove
from rewarden.verifier.context import fact_ids
from rewarden.verifier.exact_bounds import Leaf, leaf_holds
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.inline import compile_program
from rewarden.verifier.narrowing import narrowed, root_cell
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.program import Program
from rewarden.verifier.proof_tree import dyadic
from tests.reference.how_many import part_of
from tests.reference.random_claims import random_claim, random_point, truth
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact, random_mlp
from tests.reference.random_programs import atom, claim_over, points_of, random_program

seeds = st.integers(0, 2**32 - 1)


def walk(claim: Claim, box: Box | None, nodes: Iterator[list], chosen=()) -> Iterator[tuple[Box | None, Leaf, tuple]]:
    """The leaves of a tree in preorder, each with its exact box and cases; fails where the tree is not well-formed."""
    node = next(nodes)
    match node[0]:
        case "cut":
            _, j, text = node
            cut, (lo, hi) = Fraction(text), box[j]
            below, above = cut, cut
            if claim.variables[j].discrete:
                below, above = Fraction(floor(cut)), Fraction(floor(cut) + 1)
            assert lo <= below < hi
            assert claim.variables[j].discrete or lo < cut
            yield from walk(claim, (*box[:j], (lo, below), *box[j + 1 :]), nodes, chosen)
            yield from walk(claim, (*box[:j], (above, hi), *box[j + 1 :]), nodes, chosen)
        case "case":
            for a, atom in enumerate(claim.clauses[node[1]]):
                cell = None if box is None else narrowed(box, [atom], [v.discrete for v in claim.variables])
                yield from walk(claim, cell, nodes, (*chosen, (node[1], a)))
        case "leaf":
            _, goal_atom, multipliers, slopes, tight = node
            yield (
                box,
                Leaf(
                    goal_atom,
                    factors(multipliers),
                    tuple(tuple(s) for s in slopes),
                    tuple((layer, neuron, side, factors(ms)) for layer, neuron, side, ms in tight),
                ),
                chosen,
            )


def factors(entries) -> tuple[tuple[int, int, Fraction], ...]:
    for _, _, (m, _) in entries:
        assert m > 0
    return tuple((c, a, Fraction(m) * Fraction(2) ** e) for c, a, (m, e) in entries)


def check_proof(program: Program, proof: dict, limit: int) -> int:
    claim, checked = program.claim, 0
    assert len(proof["goals"]) == len(claim.goals)
    for goal, trees in enumerate(proof["goals"]):
        assert len(trees) == len(claim.boxes)
        for box, tree in zip(claim.boxes, trees, strict=True):
            nodes = iter(tree)
            for part, leaf, chosen in walk(claim, root_cell(claim, box), nodes):
                if checked < limit and part is not None:
                    facts = frozenset(fact_ids(claim, chosen))
                    assert leaf_holds(program, goal, part, leaf, facts), (goal, part, leaf)
                checked += 1
            assert next(nodes, None) is None
    return checked


@settings(max_examples=part_of(15), deadline=None)
@given(seeds)
def test_proofs_of_random_claims_hold_exactly(seed):
    rng = np.random.default_rng(seed)
    record_type = MIXED if rng.random() < 0.5 else TWO_REALS
    rewards = {
        "R": random_artifact(rng, record_type, patches=int(rng.integers(0, 3))),
        "Base": random_mlp(rng, record_type),
    }
    claim = random_claim(rng, record_type, rewards)
    program = compile_program(claim, rewards)
    outcome = prove(program, claim, VerifyOptions(budget=300, batch_size=128))
    for point in outcome.points:
        assert truth(claim, rewards, point) == (True, False)
    if outcome.status == "proved":
        for _ in range(20):
            premise, conclusion = truth(claim, rewards, random_point(rng, claim))
            assert conclusion or not premise
        check_proof(program, outcome.proof, limit=6)


@settings(max_examples=part_of(40), deadline=None)
@given(seeds, st.booleans())
def test_proofs_of_hand_built_programs_hold_exactly(seed, harsh):
    rng = np.random.default_rng(seed)
    base = random_program(rng, harsh=harsh)
    box = base.claim.boxes[0]
    exact = ExactProgram(base)
    values = [exact.evaluate(point).calls[0] for point in points_of(rng, box, 6)]
    spread = max(values) - min(values)
    level = min(values) - spread * Fraction(int(rng.integers(-1, 5)), 4)
    goals = ((atom(-level, {}, {0: 1}, strict=bool(rng.integers(2))),),)
    program = Program(claim_over((box,), goals), base.layers, base.outputs)
    outcome = prove(program, program.claim, VerifyOptions(budget=200, batch_size=64))
    assert outcome.status != "proved" or check_proof(program, outcome.proof, limit=10) > 0
    for point in points_of(rng, box, 10):
        holds = ExactProgram(program).evaluate(point).any_holds(goals[0])
        assert holds or outcome.status != "proved"


@given(st.integers(1, 2**80), st.integers(-60, 60))
def test_dyadic_numbers_are_written_in_lowest_terms(m, e):
    value = Fraction(m) * Fraction(2) ** e
    numerator, exponent = dyadic(value)
    assert numerator % 2 == 1
    assert Fraction(numerator) * Fraction(2) ** exponent == value
