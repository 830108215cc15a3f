"""Signs, neurons as facts, violations as facts and steps: what a leaf knows is true wherever it speaks.

A point is drawn first, and only what is true at it is used: so no bound may exclude it, in whatever order things are
used. Then whole proofs of chance, about claims whose truth enumeration knows.
"""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from rewarden.certificate.kernel_bounds import ALL, NONE, OPEN, ROUGHLY, TOGETHER, Box, Functional
from rewarden.certificate.kernel_claim import Atom, Claim, read_claim
from rewarden.certificate.kernel_json import Refused
from rewarden.certificate.kernel_lanes import RoughBounds
from rewarden.certificate.kernel_patches import Gated
from rewarden.certificate.kernel_program import GRID, INPUT, Affine, Program
from rewarden.certificate.kernel_proof import check_leaf, leaves
from rewarden.certificate.kernel_steps import Stepping
from rewarden.certificate.kernel_twins import Twin, with_twins
from rewarden.spec_lang.claim import Claim as StatedClaim
from rewarden.spec_lang.claim_json import claim_object
from tests.differential.test_kernel_vs_program import kernel_program
from tests.reference.certificates import Json
from tests.reference.random_claims import random_claim, random_point
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact, random_mlp
from tests.reference.tiny_networks import tiny_claim, truth_of

Values = dict[int, list[Fraction]]


# ── one point, and what is true at it ──────────────────────────────────────────────────────────
def forward(program: Program, point: tuple[Fraction, ...]) -> tuple[Values, Values]:
    """Pre-activations and outputs of every layer, exactly."""
    inner: Values = {}
    outputs: Values = {INPUT: list(point)}
    for k, layer in enumerate(program.layers):
        z = [Fraction(b, layer.bottom) for b in layer.bias]
        for block in layer.blocks:
            for i, row in enumerate(block.rows):
                z[i] += sum((Fraction(w, layer.bottom) * outputs[block.source][j] for j, w in row.items()), Fraction(0))
        inner[k] = z
        if layer.kind == "linear":
            outputs[k] = z
        elif isinstance(layer, Twin):
            a, b = layer.pair
            outputs[k] = [max(x, Fraction(0)) - max(y, Fraction(0)) for x, y in zip(inner[a], inner[b], strict=True)]
        else:
            gate, rows = (layer.gate, outputs[layer.gate_layer]) if isinstance(layer, Gated) else ((0, 1), [])
            shut = any(x * gate[1] >= gate[0] for x in rows)
            outputs[k] = [Fraction(0) if shut else max(x, Fraction(0)) for x in z]
    return inner, outputs


def value(form: Affine, program: Program, outputs: Values) -> Fraction:
    total = form.constant + sum(c * outputs[INPUT][k] for k, c in form.variables)
    return Fraction(total + sum(c * outputs[program.outputs[k]][0] for k, c in form.calls), form.bottom)


def holds(atom: Atom, program: Program, outputs: Values) -> bool:
    found = value(atom.form, program, outputs)
    return found > 0 if atom.strict else found >= 0


def known_at(claim: Claim, program: Program, outputs: Values) -> list[tuple[Affine, int]]:
    """Atoms, with the sign with which they are true at the point."""
    atoms = [a for clause in (*claim.clauses, *claim.goals) for a in clause]
    return [(a.form, 1 if holds(a, program, outputs) else -1) for a in atoms]


def test_no_step_excludes_a_point_of_which_it_speaks(tmp_path: Path) -> None:
    moved = sum(about_points(seed, tmp_path) for seed in range(24))
    assert moved > 20, "no step made anything better: nothing was tested"


def drawn(seed: int, folder: Path) -> tuple[np.random.Generator, StatedClaim, Claim, Program]:
    """A claim of chance as it is stated and as the kernel reads it, its program (of every other one with twins), and
    the generator, to go on from."""
    rng = np.random.default_rng(seed)
    record_type = MIXED if seed % 3 == 0 else TWO_REALS
    rewards = {"R": random_artifact(rng, record_type, size=4, patches=seed % 2)}
    if seed % 4 == 1:
        rewards = {"R": random_mlp(rng, record_type, (4, 3))}
    made = random_claim(rng, record_type, rewards)
    claim = read_claim(claim_object(made))
    program = kernel_program(made, rewards, folder)
    if seed % 2:
        program = with_twins(program, [a.form for goal in claim.goals for a in goal]) or program
    return rng, made, claim, program


def about_points(seed: int, folder: Path) -> int:
    rng, made, claim, program = drawn(seed, folder)
    found = 0
    for _ in range(4):
        found += wander(random.Random(int(rng.integers(2**32))), claim, program, random_point(rng, made))
    return found


def wander(rng: random.Random, claim: Claim, program: Program, point: tuple[Fraction, ...]) -> int:
    """Steps of chance, all about the point; how many made a bound better."""
    inner, outputs = forward(program, point)
    box = next(b for b in claim.boxes if all(lo <= x <= hi for x, (lo, hi) in zip(point, b, strict=True)))
    neurons = [(k, i) for k, layer in enumerate(program.layers) for i in range(len(layer.bias))]
    signs = frozenset((k, i, 0 if inner[k][i] >= 0 else 1) for k, i in neurons if rng.random() < 0.15)
    low, high = ([ends[side] for ends in box] for side in (0, 1))
    how, effort = rng.choice([(Stepping, NONE), (Stepping, OPEN), (Stepping, ALL), (RoughBounds, ROUGHLY),
                              (RoughBounds, TOGETHER), (RoughBounds, TOGETHER)])  # fmt: skip
    bounds = how(program, Box(low, high), {}, effort, signs)
    atoms = known_at(claim, program, outputs)

    def facts() -> list[tuple[Affine | tuple[int, int, int], Fraction]]:
        found: list[tuple[Affine | tuple[int, int, int], Fraction]] = []
        for _ in range(rng.choice([0, 1, 1, 2])):
            m, e = rng.choice([1, 1, 3, 5]), rng.choice([-3, -1, 0, 0, 1])
            if rng.random() < 0.5:
                found.append(((*rng.choice(neurons), rng.randrange(2)), m * Fraction(2) ** e))
            else:
                form, sign = rng.choice(atoms)
                found.append((form, sign * m * Fraction(2) ** e))
        return found

    better = 0
    for _ in range(12):
        action = rng.random()
        if action < 0.2:
            layer, neuron = rng.choice(neurons)
            bounds.choose(layer, neuron, rng.randint(0, program.layers[layer].choices))
        elif action < 0.3:
            bounds.again()
        elif action < 0.4:
            assert not bounds.step(INPUT, rng.randrange(len(point)), rng.randrange(2), facts())
        else:
            layer, neuron = rng.choice(neurons)
            bounds.advance(layer + 1)
            side = rng.randrange(2)
            before = bounds.inner[layer][side][neuron]
            assert not bounds.step(layer, neuron, side, facts()), "bounds cross, and there is a point"
            better += bounds.inner[layer][side][neuron] != before
        for index in range(len(bounds.lines)):
            for found, values in ((bounds.inner, inner), (bounds.ranges, outputs)):
                for x, lo, hi in zip(values[index], *found[index], strict=True):
                    assert lo <= x * 2**GRID <= hi
        assert all(Fraction(lo, bounds.box.bottom) <= x for lo, x in zip(bounds.box.low, point, strict=True))
        assert all(Fraction(hi, bounds.box.bottom) >= x for hi, x in zip(bounds.box.high, point, strict=True))
        assert bounds.least(facts()) <= 0, "a sum of facts, all at least 0, taken off nothing"
        for form, _ in atoms:
            target = Functional()
            bounds.add_fact(target, form, Fraction(1))
            assert bounds.lower_bound(target) <= value(form, program, outputs)
    return better


# ── proofs of chance ───────────────────────────────────────────────────────────────────────────
def proof_of_chance(rng: random.Random, claim: Json, program: Program) -> Json:
    return [[tree_of_chance(rng, claim, program, goal, box) for box in claim["boxes"]] for goal in claim["goals"]]


def tree_of_chance(rng: random.Random, claim: Json, program: Program, goal: Json, box: Json) -> list[Json]:
    relus = [(k, i) for k, layer in enumerate(program.layers) if layer.kind != "linear" for i in range(len(layer.bias))]
    neurons = relus or [(k, 0) for k in range(len(program.layers))]
    clauses = claim["clauses"]

    def weighted(chosen: list[tuple[int, int]]) -> list[Json]:
        found = []
        for _ in range(rng.choice([0, 1, 1, 2])):
            facts = [[-1, rng.randrange(len(goal))]] if goal else []
            facts += [[c, a] for c, a in chosen] + [[c, 0] for c, clause in enumerate(clauses) if len(clause) == 1]
            facts += [[*rng.choice(neurons), rng.randrange(2)] for _ in range(2)]
            found.append([*rng.choice(facts), [rng.choice([1, 1, 1, 3]), rng.choice([-2, -1, 0, 0, 0, 1])]])
        return found

    def leaf(chosen: list[tuple[int, int]]) -> Json:
        steps: list[Json] = []
        for _ in range(rng.choice([0, 0, 1, 2, 4])):
            where = rng.choice(neurons) if rng.random() < 0.8 else (-1, rng.randrange(len(box)))
            steps.append([*where, rng.randrange(2), weighted(chosen)])
            steps += [["again"]] if rng.random() < 0.2 else []
            steps += [[*rng.choice(relus), rng.choice([0, 128, 256])]] if relus and rng.random() < 0.3 else []
        slopes = [[*rng.choice(relus), rng.choice([0, 128, 256])] for _ in range(rng.randrange(2)) if relus]
        return ["leaf", rng.choice([-1, *range(len(goal))]), weighted(chosen), slopes, steps]

    nodes: list[Json] = []
    open_branches: list[tuple[int, list[tuple[int, int]]]] = [(0, [])]
    while open_branches:
        depth, chosen = open_branches.pop()
        several = [c for c, clause in enumerate(clauses) if len(clause) > 1 and c not in dict(chosen)]
        if depth < 5 and rng.random() < 0.75:
            if several and rng.random() < 0.6:
                c = rng.choice(several)
                nodes.append(["case", c])
                open_branches += [(depth, [*chosen, (c, a)]) for a in reversed(range(len(clauses[c])))]
                continue
            nodes.append(["sign", *rng.choice(neurons)])
            open_branches += [(depth + 1, chosen)] * 2
            continue
        nodes.append(leaf(chosen))
    return nodes


def chance(seed: int, tries: int, folder: Path) -> Counter[str]:
    """Proofs of chance of one tiny claim: what is accepted is true."""
    claim, rewards = tiny_claim(seed)
    counted: Counter[str] = Counter()
    if any(lo > hi for box in claim.boxes for lo, hi in box):
        return counted
    program, stated = kernel_program(claim, rewards, folder), claim_object(claim)
    read = read_claim(stated)
    rng = random.Random(seed)
    for _ in range(tries):
        trees = proof_of_chance(rng, stated, program)
        try:
            for leaf in leaves(read, trees):
                check_leaf(read, program, leaf)
        except Refused:
            counted["refused"] += 1
            continue
        counted["accepted"] += 1
        truth = truth_of(claim, rewards)
        assert truth != "violated", f"accepted, and false: {claim}\n{trees}"
        counted["accepted with signs"] += any(node[0] == "sign" for goal in trees for tree in goal for node in tree)
    return counted


def test_proofs_of_chance_prove_nothing_false(tmp_path: Path) -> None:
    counted: Counter[str] = Counter()
    for seed in range(60):
        counted += chance(seed, 20, tmp_path)
    assert counted["accepted"] > 30, "nothing was accepted: nothing was tested"
    assert counted["accepted with signs"] > 3
    assert counted["refused"] > 50


@pytest.mark.slow
def test_thousands_of_proofs_of_chance_prove_nothing_false(tmp_path: Path) -> None:
    for seed in range(1000, 4000):
        chance(seed, 20, tmp_path)
