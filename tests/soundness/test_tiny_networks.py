"""Every engine about tiny rewards, against enumeration in rationals, which shares nothing with them.

All piecewise linear operators and patches, weights from 1e-20 to 1e12, constant rewards, sides of boxes without width,
discrete features, rules that hold or fail by equality alone. `make test-slow` asks about ten thousand.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import get_args

import numpy as np
import pytest

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import AffineMap, Graph, Input, Relu
from rewarden.spec_lang.claim import Affine, AffineAtom, Claim
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier import engines
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.engines.interface import Declined, Task
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import Engine, VerifyOptions
from rewarden.verifier.torch_settings import plain_torch
from tests.reference.random_claims import plain_claim
from tests.reference.tiny_networks import negation, tiny_claim, truth_of

ALONE = [name for name in get_args(Engine) if name != "auto"]
BUDGETS = {"budget": 200, "falsify_budget": 150, "z3_rlimit": 400_000}
QUICK = VerifyOptions(**BUDGETS)
FEW, MANY, EACH = 50, 10_000, 25
QUICKEST = ["cells", "lp", "z3"]
COMPLETE = ("lp", "z3")
PROVERS = [name for name in ALONE if name != "falsify"]  # whose witnesses are all that it says, and replayed


def answers(claim: Claim, rewards: dict[str, Artifact], names: Sequence[str] = ALONE) -> dict[str, str]:
    """Each engine's word, alone, on the whole claim."""
    program = compile_program(claim, rewards)
    found = {}
    for name in names:
        options = replace(QUICK, engine=name)
        task = Task(claim, program, rewards, options, {}, lambda _: None, lambda: False, time.monotonic())
        with plain_torch(1):
            run = engines.start(name, task)
            found[name] = "declined" if isinstance(run, Declined) else run.go(QUICK.budget).status
    return found


def check(seed: int, names: Sequence[str] | None = None) -> Counter[str]:
    """Nobody (of `names`) contradicts enumeration. What was said is counted."""
    claim, rewards = tiny_claim(seed)
    truth = truth_of(claim, rewards)
    said = answers(claim, rewards, names or (ALONE if seed % 10 == 0 else PROVERS))
    for name, word in said.items():
        # A rule about nothing is true: engines may prove it, and verdicts call it vacuous (`premise`).
        assert word != "proved" or truth != "violated", (seed, name, truth)
        assert word != "violated" or truth == "violated", (seed, name, truth)
    if names is None and seed % 10 == 0:
        verdict = str(verify_claim(claim, rewards, QUICK).verdict)
        assert verdict in (truth, "unknown"), (seed, verdict, truth)
        said["auto"] = verdict
    if len(claim.goals) == 1 and seed % 3 == 0:
        other = answers(negation(claim), rewards, names or PROVERS)
        both = "proved" in said.values() and "proved" in other.values()
        assert not both or truth == "vacuous", (seed, said, other)
    return Counter(f"{name} {word}" for name, word in said.items()) + Counter([f"truth {truth}"])


@pytest.mark.parametrize("start", range(0, FEW, 25))
def test_no_engine_contradicts_enumeration(start):
    """The compiled and the exact engines about all, the others about every tenth."""
    seeds = range(start, start + 25)
    counts = sum((check(seed, None if seed % 10 == 0 else QUICKEST) for seed in seeds), Counter())
    assert counts["truth proved"]
    assert counts["truth violated"]
    for name in COMPLETE:
        assert counts[f"{name} proved"] + counts[f"{name} violated"] >= 24


@pytest.mark.parametrize("seed", [9, 268, 311])
def test_rewards_that_engines_once_failed_on(seed):
    """Rows that read no neuron, or nothing at all; a difference of calls that bounds miss by a hair."""
    check(seed)


@pytest.mark.parametrize("name", ["auto", "bounds", "falsify"])
def test_as_executed_a_rule_and_its_negation_are_not_both_proved(name):
    """The other engines say nothing of binary32. What is violated as executed is so at a record that is exhibited."""
    said: Counter[str] = Counter()
    for seed in range(0, 60, 4):
        claim, rewards = tiny_claim(seed)
        if len(claim.goals) != 1:
            continue
        options = replace(QUICK, engine=name, semantics="float32")
        pair = [verify_claim(some, rewards, options) for some in (claim, negation(claim))]
        words = [str(result.verdict) for result in pair]
        assert words != ["proved", "proved"], seed
        assert all(result.witness is not None for result in pair if result.verdict == "violated")
        assert all(result.claim is None for result in pair)
        said.update(words)
    assert said["violated"] > 4
    assert name == "falsify" or said["proved"] > 1


@pytest.mark.slow
@pytest.mark.parametrize("start", range(FEW, FEW + MANY, EACH))
def test_ten_thousand(start):
    for seed in range(start, start + EACH):
        check(seed)


# ── what must not matter ───────────────────────────────────────────────────────────────────────
def layered(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A network of three inputs with 4 and 3 neurons."""
    made = {"w0": rng.normal(size=(4, 3)), "b0": rng.normal(size=4), "w1": rng.normal(size=(3, 4)),
            "b1": rng.normal(size=3), "w2": rng.normal(size=(1, 3)), "b2": rng.normal(size=1)}  # fmt: skip
    return {name: values.astype(np.float32) for name, values in made.items()}


THREE = RecordType("T", tuple(Feature(f"x{i}", "real", Fraction(-1), Fraction(i + 1, 2)) for i in range(3)))


def verdicts(tensors: dict[str, np.ndarray], record_type: RecordType, level: Fraction, factor: int = 1) -> list[str]:
    """Of R <= level, by every engine alone."""
    nodes = (Input(), AffineMap(0, "w0", "b0"), Relu(1), AffineMap(2, "w1", "b1"), Relu(3), AffineMap(4, "w2", "b2"))
    reward = Artifact((RewardRecord("s", record_type),), Graph(nodes, 5), tensors, "exact")
    goal = AffineAtom(Affine(factor * level, (), ((0, Fraction(-factor)),)), False)
    claim = plain_claim(record_type, {"R": reward}, goals=[(goal,)])
    said = answers(claim, {"R": reward}, PROVERS)
    return [said[name] for name in PROVERS]


def levels(tensors: dict[str, np.ndarray]) -> list[Fraction]:
    """Well above, somewhat above, and below what the reward reaches at some corners."""
    top = -np.inf
    for x in product(*((-1.0, (i + 1) / 2) for i in range(3))):
        h = np.maximum(tensors["w0"] @ np.array(x) + tensors["b0"], 0)
        h = np.maximum(tensors["w1"] @ h + tensors["b1"], 0)
        top = max(top, float((tensors["w2"] @ h + tensors["b2"])[0]))
    return [Fraction(top + more).limit_denominator(1000) for more in (-0.5, 0.25, 1.0)]


@pytest.mark.parametrize("seed", range(2))
def test_the_order_of_inputs_and_neurons_and_powers_of_two_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    base = layered(rng)
    inputs, first, second = rng.permutation(3), rng.permutation(4), rng.permutation(3)
    moved = {"w0": base["w0"][first][:, inputs], "b0": base["b0"][first], "w1": base["w1"][second][:, first],
             "b1": base["b1"][second], "w2": base["w2"][:, second], "b2": base["b2"]}  # fmt: skip
    up, down = np.float32(2.0 ** rng.integers(1, 9, size=4)), np.float32(2.0 ** -rng.integers(1, 9, size=3))
    scaled = {"w0": base["w0"] * up[:, None], "b0": base["b0"] * up, "w1": base["w1"] / up * down[:, None],
              "b1": base["b1"] * down, "w2": base["w2"] / down, "b2": base["b2"]}  # fmt: skip
    order = RecordType("T", tuple(THREE.features[i] for i in inputs))
    for level in levels(base):
        plain = verdicts(base, THREE, level)
        for other in (verdicts(moved, order, level), verdicts(scaled, THREE, level), verdicts(base, THREE, level, 64)):
            for name, a, b in zip(PROVERS, plain, other, strict=True):
                assert {a, b} != {"proved", "violated"}
                assert name not in COMPLETE or a == b


@pytest.mark.parametrize("name", get_args(Engine))
def test_twice_the_same_and_on_two_threads(name):
    """Byte for byte; with two threads of torch a sum may round otherwise, and then another witness may be found."""
    for seed in (7,):
        claim, rewards = tiny_claim(seed)
        runs = [
            json.dumps(verify_claim(claim, rewards, replace(QUICK, engine=name, threads=threads)).to_json())
            for threads in (1, 1, 2)
        ]
        assert runs[0] == runs[1]
        assert json.loads(runs[0])["verdict"] == json.loads(runs[2])["verdict"]


@pytest.mark.parametrize("seed", range(4))
def test_what_is_proved_of_a_box_is_not_denied_of_its_halves(seed):
    claim, rewards = tiny_claim(seed)
    wide = [j for j, v in enumerate(claim.variables) if not v.discrete and claim.boxes[0][j][0] < claim.boxes[0][j][1]]
    if not wide:
        return
    whole, halves = answers(claim, rewards, PROVERS), []
    for side in (0, 1):
        box = list(claim.boxes[0])
        middle = sum(box[wide[0]]) / 2
        box[wide[0]] = (box[wide[0]][0], middle) if side == 0 else (middle, box[wide[0]][1])
        halves.append(replace(claim, boxes=(tuple(box), *claim.boxes[1:])))
    for half in halves:
        said = answers(half, rewards, PROVERS)
        for name in PROVERS:
            assert not (whole[name] == "proved" and said[name] == "violated")
            assert name not in COMPLETE or whole[name] != "proved" or said[name] == "proved"
