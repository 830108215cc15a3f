"""Proofs that tell neurons apart by their signs, changed by somebody who knows the format: none proves a false claim.

The claims are by a hair true, and with another constant by a hair false; enumeration knows which.
"""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest

from rewarden.certificate import kernel_proof
from rewarden.certificate.check import check
from rewarden.certificate.kernel_program import Affine as Form
from rewarden.certificate.kernel_steps import Stepping
from rewarden.spec_lang.claim import Affine, AffineAtom, Claim
from rewarden.spec_lang.claim_json import claim_object
from rewarden.verifier.inline import compile_program
from rewarden.verifier.scribe import leaves, writer
from rewarden.verifier.scribe.mirror import Mirror
from rewarden.verifier.scribe.swift import Swift
from rewarden.verifier.scribe.writer import Writer
from tests.reference.certificates import Case, Json, network, rational
from tests.reference.mutations import PROOF, Mutator
from tests.reference.random_claims import plain_claim
from tests.reference.random_graphs import TWO_REALS
from tests.reference.tiny_networks import least_value, truth_of

HAIR = Fraction(1, 64)


# ── changes to what is new ─────────────────────────────────────────────────────────────────────
def nodes_of(case: Case, tag: str) -> list[list[Json]]:
    return [n for goal in case.proof["goals"] for tree in goal for n in tree if n[0] == tag]


def other_neuron(rng: random.Random, case: Case) -> None:
    node = rng.choice(nodes_of(case, "sign"))
    node[rng.choice([1, 2])] = rng.randrange(-1, 8)


def no_sign(rng: random.Random, case: Case) -> None:
    tree = case.proof["goals"][0][0]
    k = rng.choice([i for i, n in enumerate(tree) if n[0] == "sign"])
    del tree[k]
    if rng.random() < 0.7:
        del tree[k]


def twice(rng: random.Random, case: Case) -> None:
    """A sign above itself: one of the four branches holds both."""
    tree = case.proof["goals"][0][0]
    k = rng.choice([i for i, n in enumerate(tree) if n[0] == "sign"])
    tree.insert(k, copy.deepcopy(tree[k]))
    tree.append(copy.deepcopy(rng.choice(nodes_of(case, "leaf"))))


def move_sides(rng: random.Random, case: Case) -> None:
    for leaf in nodes_of(case, "leaf"):
        for entry in leaf[2]:
            if len(entry) == 4 and rng.random() < 0.7:
                entry[2] = 1 - entry[2]


def more_facts(rng: random.Random, case: Case) -> None:
    leaf = rng.choice(nodes_of(case, "leaf"))
    m = [rng.choice([1, 3, 1 << 30]), rng.choice([-5, 0, 0, 5])]
    new = rng.choice([[-1, 0, m], [-1, 1, m], [rng.randrange(6), rng.randrange(4), rng.randrange(3), m], [-2, 0, m]])
    leaf[rng.choice([2, 2, 4])].append(new)


def more_steps(rng: random.Random, case: Case) -> None:
    leaf = rng.choice(nodes_of(case, "leaf"))
    m = [rng.choice([1, 3]), rng.choice([-2, 0, 3])]
    facts = rng.choice([[], [[-1, 0, m]], [[rng.randrange(6), rng.randrange(4), rng.randrange(2), m]]])
    step = rng.choice([["again"], [rng.randrange(-1, 6), rng.randrange(3), rng.randrange(2), facts],
                       [rng.randrange(6), rng.randrange(3), rng.randrange(-1, 258)], ["again", 1], []])  # fmt: skip
    leaf[4].insert(rng.randrange(len(leaf[4]) + 1), step)


def exchange_leaves(rng: random.Random, case: Case) -> None:
    """Steps and weights of another branch."""
    one, other = rng.choice(nodes_of(case, "leaf")), rng.choice(nodes_of(case, "leaf"))
    one[1:], other[1:] = other[1:], one[1:]


SIGNS: list[Mutator] = [other_neuron, no_sign, twice, move_sides, more_facts, more_steps, exchange_leaves]


# ── the cases ──────────────────────────────────────────────────────────────────────────────────
@cache
def made(seed: int) -> tuple[Case, Case]:
    """A claim that holds by a hair, with a proof by signs, and the same claim where it fails by a hair."""
    reward = network(seed, 2, (4, 3))
    rewards = {"R": reward}
    bare = plain_claim(TWO_REALS, rewards, goals=[(AffineAtom(Affine(Fraction(0), (), ((0, Fraction(1)),)), False),)])
    least = least_value(bare, rewards, 0)
    assert least is not None

    def about(level: Fraction) -> Claim:
        goal = AffineAtom(Affine(-level, (), ((0, Fraction(1)),)), False)
        return plain_claim(TWO_REALS, rewards, goals=[(goal,)])

    claim = about(least - HAIR)
    program = compile_program(claim, rewards)
    mirror = Mirror.of(program)
    assert mirror is not None
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(writer, "MANY", 0)  # nothing but signs
        patched.setattr(leaves, "MANY", 0)
        patched.setattr(Swift, "of", lambda program: None)  # compiled code needs fewer signs
        proof = Writer(program, mirror, 400, lambda: False).write()
    assert proof is not None
    proof["witness"] = {"box": 0, "point": [rational(lo) for lo, _ in claim.boxes[0]]}
    assert truth_of(claim, rewards) == "proved"
    false = about(least + HAIR)
    assert truth_of(false, rewards) == "violated"
    cases = [Case(claim_object(c), copy.deepcopy(proof), rewards).rebind() for c in (claim, false)]
    return cases[0], cases[1]


SEEDS = [1, 3, 4, 15, 18, 20]  # networks whose proofs by signs have multiples, lines, or both


def verdict(case: Case, folder: Path) -> str:
    report = check(folder / "certificate", case.rebind().write(folder / "certificate"))
    return report.claims[0].verdict if report.claims else "refused"


def attacked(false: Case, seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    forged = false.copy()
    for mutate in [rng.choice(SIGNS) for _ in range(rng.choice([1, 1, 2, 3]))] + [rng.choice(PROOF)] * rng.randrange(2):
        try:
            mutate(rng, forged)
        except (IndexError, KeyError, TypeError, ValueError):
            continue  # nothing is left to change here
    assert verdict(forged, folder) != "proved", f"accepted, and false: seed {seed}"


@pytest.mark.parametrize("seed", SEEDS)
def test_no_forged_proof_by_signs_is_accepted(seed: int, tmp_path: Path) -> None:
    true, false = made(seed)
    assert verdict(true, tmp_path / "true") == "proved"
    assert verdict(false, tmp_path / "false") == "refused"
    for number in range(40):
        attacked(false, 1000 * seed + number, tmp_path / str(number))


def test_there_are_signs_with_multiples_and_lines() -> None:
    counted: Counter[str] = Counter()
    for seed in SEEDS:
        case, _ = made(seed)
        counted["signs"] += len(nodes_of(case, "sign"))
        counted["multiples"] += sum(len(e) == 4 for leaf in nodes_of(case, "leaf") for e in leaf[2])
        counted["lines"] += sum(len(s) == 3 for leaf in nodes_of(case, "leaf") for s in leaf[4])
    assert min(counted["signs"], counted["lines"]) > 5, counted
    assert counted["multiples"] > 0, counted


# ── these tests can fail ───────────────────────────────────────────────────────────────────────
def one_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both children of a sign are the one where the neuron is off."""
    honest = kernel_proof.walk

    def walk(*arguments: Json) -> object:
        for leaf in honest(*arguments):
            yield leaf._replace(signs=tuple((layer, neuron, 1) for layer, neuron, _ in leaf.signs))

    monkeypatch.setattr(kernel_proof, "walk", walk)


def wrong_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound of a neuron is taken for its contrary."""
    honest = Stepping.add_fact

    def add_fact(self: Stepping, functional: Json, fact: Json, weight: Fraction) -> None:
        honest(self, functional, fact, weight if isinstance(fact, Form) else -weight)

    monkeypatch.setattr(Stepping, "add_fact", add_fact)


@pytest.mark.parametrize("sabotage", [one_side, wrong_way])
def test_a_broken_kernel_is_caught(
    sabotage: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worlds = [made(seed)[1] for seed in SEEDS]
    sabotage(monkeypatch)
    with pytest.raises(AssertionError, match="accepted"):
        attack_all(worlds, tmp_path)


def attack_all(worlds: list[Case], folder: Path) -> None:
    for number in range(200):
        for world, false in enumerate(worlds):
            attacked(false, number, folder / f"{world}-{number}")


# ── one thing at a time ────────────────────────────────────────────────────────────────────────
def test_the_goal_of_another_tree_is_no_fact(tmp_path: Path) -> None:
    """[−1, atom] is about the tree's own goal: two goals, and only the first may be taken for failed in its tree."""
    true, _ = made(SEEDS[0])
    both = true.copy()
    impossible = {"affine": {"constant": "-1000", "variables": [], "calls": [[0, "1"]]}, "strict": False}
    both.claim["goals"].append([impossible])
    leaf = ["leaf", -1, [[-1, 0, [1, 0]]], [], []]
    both.proof["goals"].append([[leaf]])
    assert verdict(both, tmp_path / "other") == "refused"
    again = true.copy()
    again.claim["goals"].append(copy.deepcopy(again.claim["goals"][0]))
    again.proof["goals"].append(copy.deepcopy(again.proof["goals"][0]))
    assert verdict(again, tmp_path / "same") == "proved"


@pytest.mark.parametrize(
    "node", [["sign", 0], ["sign", -1, 0], ["sign", 99, 0], ["sign", 0, 99], ["sign", 0, -1], ["sign", "0", 0],
             ["sign", True, 0], ["sign", 0, 0, 0]],
)  # fmt: skip
def test_signs_name_neurons_that_exist(node: list[Json], tmp_path: Path) -> None:
    case = made(SEEDS[0])[0].copy()
    tree = case.proof["goals"][0][0]
    case.proof["goals"][0][0] = [node, *tree, *tree]
    assert verdict(case, tmp_path) == "refused"


def test_signs_without_end_are_refused(tmp_path: Path) -> None:
    """Every branch that waits holds the signs above it: their number is bounded, and so is memory."""
    case = made(SEEDS[0])[0].copy()
    case.proof["goals"][0][0] = [["sign", 2, 0]] * 1500
    report = check(tmp_path / "certificate", case.rebind().write(tmp_path / "certificate"))
    assert "too deep" in report.claims[0].reason
