"""A part of a box, or of a case, is never bounded worse than the whole: in every engine that splits and keeps bounds.

`cells` and `lp` keep no bound of the goal: what they hand on are the bounds of neurons, which only ever shrink.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.verifier import branch
from rewarden.verifier.branch import BranchAndBound
from rewarden.verifier.differences import with_differences
from rewarden.verifier.inline import compile_program
from rewarden.verifier.leaves import settle
from rewarden.verifier.program import Program
from rewarden.verifier.torch_settings import plain_torch
from rewarden.verifier.wide import split
from rewarden.verifier.wide.bounds import lower_rows, one_row
from rewarden.verifier.wide.split import Signs
from tests.property.test_bound_invariances import layered
from tests.reference.random_claims import call_values, random_claim, random_point
from tests.reference.random_graphs import TWO_REALS, random_artifact, random_mlp
from tests.reference.random_programs import atom, claim_over
from tests.soundness.test_differences import two_calls

seeds = st.integers(0, 2**32 - 1)
CLOSE = 1e-9


def hard(rng: np.random.Generator, *, least: float = -0.3, **sizes) -> Program:
    """A network, and the claim that it stays above a level near its least value: many parts are needed."""
    program = layered(rng, **sizes)
    box = tuple((lo, lo + 1) for lo, _ in program.claim.boxes[0])
    values = np.array([float(lo) for lo, _ in box]) + rng.random((500, len(box)))
    z = values.T
    for layer in program.layers:
        z = layer.blocks[0].weight @ z + layer.bias[:, None]
        z = np.maximum(z, 0.0) if layer.kind == "relu" else z
    level = Fraction(float(z.min() + least * z.std())).limit_denominator(1000)
    return Program(claim_over((box,), ((atom(-level, {}, {0: 1}),),)), program.layers, program.outputs)


# ── boxes ──────────────────────────────────────────────────────────────────────────────────────
def worse_boxes(search: BranchAndBound) -> list[tuple[float, float]]:
    """Bounds of boxes that are open, and of the box that each is a part of, where that one is better."""
    found, known = [], {}

    def recorded(engine, goal, batch, tree, exact_budget):
        result = settle(engine, goal, batch, tree, exact_budget)
        parent = tree.state()[0]["parent"]
        for node, bound in zip(batch.node[result.index].tolist(), result.bound.tolist(), strict=True):
            known[goal, node] = bound
            before = known.get((goal, int(parent[node])), -np.inf)
            if bound < before:
                found.append((bound, before))
        return result

    with pytest.MonkeyPatch.context() as patch, plain_torch(1):
        patch.setattr(branch, "settle", recorded)
        search.run(150)
    return found


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_parts_of_a_box(seed):
    rng = np.random.default_rng(seed)
    assert worse_boxes(BranchAndBound(hard(rng, least=0.02, widths=(6, 6, 5)), 8)) == []


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_parts_of_a_box_and_atoms_of_clauses(seed):
    """Random claims: several goals and instances, goals of several atoms, premises, discrete variables."""
    rng = np.random.default_rng(seed)
    rewards = {"R": random_artifact(rng, TWO_REALS, size=5)}
    program = compile_program(random_claim(rng, TWO_REALS, rewards), rewards)
    if not program.claim.goals or not program.claim.boxes:
        return
    search = BranchAndBound(program, 8)
    if any(one.frontier.size for one in search.searches):
        assert worse_boxes(search) == []


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_parts_of_a_box_by_differences(seed):
    """The claim that a step of 1/8 lowers the reward by little more than what is seen at points."""
    rng, claim, _ = two_calls(seed, other=False)
    first, second = claim.calls
    network = random_mlp(rng, TWO_REALS, (8, 8))
    rewards = {"R": network, "Base": network}
    x, y = first.arguments
    claim = replace(
        claim,
        calls=(first, replace(second, arguments=(replace(x, constant=x.constant + Fraction(1, 8)), y))),
        rewards=tuple((name, artifact.digest) for name, artifact in sorted(rewards.items())),
    )
    points = [random_point(rng, claim) for _ in range(20)]
    most = max(b - a for a, b in (call_values(claim, rewards, point) for point in points))
    level = most + abs(most) / 64
    program = compile_program(replace(claim, goals=((atom(level, {}, {0: 1, 1: -1}),),)), rewards)
    bounded = with_differences(program)
    if bounded is not None:
        assert worse_boxes(BranchAndBound(program, 8, bounded)) == []


# ── cases ──────────────────────────────────────────────────────────────────────────────────────
def held(cases: split._Cases, i: int) -> frozenset[tuple[int, int, int]]:
    return frozenset((k, n, int(s[i, n])) for k, s in enumerate(cases.signs) for n in s[i].nonzero()[:, 0].tolist())


@settings(max_examples=6, deadline=None)
@given(seeds)
def test_parts_of_a_case(seed):
    signs = Signs.of(hard(np.random.default_rng(seed), least=-0.1, inputs=4, widths=(8, 8)))
    assert signs is not None
    whole, worse = {}, []
    apart = signs._split

    def recorded(cases, *about):
        for i, bound in enumerate(cases.bound.tolist()):
            if bound < whole.get(held(cases, i), -np.inf):
                worse.append((bound, whole[held(cases, i)]))
        parts = apart(cases, *about)
        for i in range(len(parts.row)):
            whole[held(parts, i)] = float(cases.bound[i // 2])
        return parts

    with plain_torch(1), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Signs, "_split", lambda _, *about: recorded(*about))
        signs.run(150, lambda point: False, lambda share, cases: None, lambda: False)
    assert worse == []


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_a_held_neuron_starts_from_the_line_that_the_whole_had(seed):
    """One layer, where nothing lies below a neuron: not even without ascent is a part bounded worse by itself."""
    signs = Signs.of(hard(np.random.default_rng(seed), least=-0.02, widths=(9,)))
    assert signs is not None
    with plain_torch(1), pytest.MonkeyPatch.context() as patch:
        hard_box = split._Hard(0)
        signs._open(hard_box)
        if hard_box.waiting is None or not len(hard_box.waiting[0].row):
            return
        cases = signs._improved(hard_box.waiting[0])
        patch.setattr(split, "STEPS", 1)
        for _ in range(3):
            found = bounded(signs, cases)
            most, at = found.cost[1][:, 0].max(-1)
            if not bool((most > 0).all()):
                return
            parts = signs._improved(signs._split(cases, at, found.weight[1][:, 0].gather(-1, at[:, None])[:, 0]))
            own, before = bounded(signs, parts).bound[:, 0], found.bound[:, 0].repeat_interleave(2)
            assert (own >= before - CLOSE * (1.0 + before.abs())).all()
            cases = parts


@torch.no_grad()
def bounded(signs: Signs, cases: split._Cases):
    start = one_row(cases.known, signs.rows, cases.row)
    return lower_rows(signs.network, cases.known, split._lines(cases), start, costs=True)
