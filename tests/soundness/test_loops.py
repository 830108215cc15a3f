"""Attempts to make the graph of cells prove what is not so: about loops, and about traces."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from rewarden.reward.torch_import import from_torch
from rewarden.spec_lang import parse_spec
from rewarden.verifier.loops.abstraction import Abstraction, Search
from rewarden.verifier.loops.engine import LoopRule
from rewarden.verifier.loops.partition import first_cells
from rewarden.verifier.loops.proof import proof_of
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.portfolio import verify
from rewarden.verifier.verdict import RuleResult, Verdict
from tests.reference.loop_specs import LoopCase, random_case

FRESH = int.from_bytes(os.urandom(3), "big") * 100 if os.environ.get("REWARDEN_NEW_CASES") else 0
QUICK = VerifyOptions(falsify_budget=800)


def agrees(case: LoopCase) -> None:
    found = verify(case.spec, case.rewards, QUICK)["r"]
    assert found.verdict.value == case.expected, f"{found.reason}\n{case.text}"
    if found.verdict is Verdict.VIOLATED:
        assert found.witness is not None
        assert found.witness.violation >= 0


@pytest.mark.parametrize("seed", range(6))
def test_loops_over_finite_records_are_decided_as_by_brute_force(seed: int) -> None:
    agrees(random_case(seed))


@pytest.mark.parametrize("seed", range(6))
def test_traces_over_finite_records_are_decided_as_by_brute_force(seed: int) -> None:
    agrees(random_case(seed, steps=5 + seed % 4))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200))
def test_many_loops_and_traces(seed: int) -> None:
    agrees(random_case(1000 + FRESH + seed))
    agrees(random_case(1000 + FRESH + seed, steps=5 + seed % 6))


# ── the proof object ───────────────────────────────────────────────────────────────────────────
def nothing(*where: object) -> None:
    return None


def outcomes(case: LoopCase) -> list[tuple[Any, bool]]:
    """Of each conjunct: what the graph of cells makes of it, and whether a sum of 0 breaks it."""

    def unused(*_: object) -> RuleResult:
        raise AssertionError("nothing is searched here")

    rule = LoopRule(case.spec, "r", case.rewards, QUICK, unused, unused, None, lambda: False)
    found = []
    for bounds, weak in rule.bounds():
        cells = first_cells(bounds.box, rule.kind())
        assert cells is not None
        search = Search(rule.judge, nothing, nothing, lambda loop: False, nothing, lambda: False)
        found.append((Abstraction(bounds, cells, weak, search).run(50_000), weak))
    return found


def numbers(texts: list[str]) -> list[Fraction]:
    return [Fraction(t) for t in texts]


def holds(case: LoopCase, proof: dict[str, Any], sign: int) -> bool:
    """The proof object checked on every record and every move there is, in rationals."""
    cells = proof["cells"]
    boxes = [(numbers(c["lo"]), numbers(c["hi"])) for c in cells]
    inside = [
        [k for k, (lo, hi) in enumerate(boxes) if all(a <= x <= b for a, x, b in zip(lo, record, hi, strict=True))]
        for record in case.records
    ]
    if not all(inside) or any(cells[k].get("empty") for some in inside for k in some):
        return False

    def level(k: int, record: tuple[int, ...]) -> Fraction:
        slope = numbers(cells[k]["slope"])
        return Fraction(cells[k]["potential"]) + sum(s * x for s, x in zip(slope, record, strict=True))

    for (i, j), added in case.moves.items():
        for u in inside[i]:
            for v in inside[j]:
                if cells[u]["place"] > cells[v]["place"]:
                    return False
                if cells[u]["place"] == cells[v]["place"]:
                    room = level(v, case.records[j]) - level(u, case.records[i]) - sign * added
                    if room < 0 or (room == 0 and proof["strict"]):
                        return False
    return True


@pytest.mark.parametrize("seed", range(24))
def test_the_proof_object_holds_for_every_record_and_move(seed: int) -> None:
    case = random_case(seed)
    sign = -1 if case.text.rstrip("= 0\n").endswith(">") else 1
    for outcome, weak in outcomes(case):
        assert outcome.status in {"vacuous": ("empty", "proved")}.get(case.expected, (case.expected,))
        if outcome.status in ("proved", "empty"):
            assert holds(case, proof_of(outcome, weak), sign)
        if case.expected == "proved":  # there are loops: were each move to add more, nothing could hold for them
            more = {move: added + sign * 1000 for move, added in case.moves.items()}
            assert not holds(replace(case, moves=more), proof_of(outcome, weak), sign)


# ── continuous records ─────────────────────────────────────────────────────────────────────────
WALK = """spec walk v1
features S {{ x : real in 0 .. 4, y : real in 0 .. 4 }}
reward M(a: S, b: S)
relation walks(a, b: S) = |a.x - b.x| <= 1 and |a.y - b.y| <= 1
must r: cycle t: S via walks expect sum(M(t) - {cost}) {op} 0
"""


def learned(seed: int) -> tuple[torch.nn.Module, str]:
    """A potential that a network has learned roughly, and what a step has to cost for it to be worth a proof."""
    rng = np.random.default_rng(seed)
    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 1))
    one = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    with torch.no_grad():
        for p in one.parameters():
            p.copy_(torch.tensor(rng.normal(0, 0.5, tuple(p.shape))))
        first, last = net[0], net[2]
        first.weight.zero_()
        first.weight[:3, :2], first.weight[3:, 2:] = one[0].weight, one[0].weight
        first.bias[:3], first.bias[3:] = one[0].bias, one[0].bias
        last.weight[0, :3], last.weight[0, 3:] = -one[2].weight[0], one[2].weight[0]
        last.bias.zero_()
        first.weight += torch.tensor(rng.normal(0, 0.02, (6, 4)))
    return net, str(round(float(rng.uniform(0.0, 0.4)), 2))


@pytest.mark.parametrize("seed", range(4))
def test_no_sampled_loop_contradicts_a_proof_nor_is_the_negation_proved(seed: int) -> None:
    net, cost = learned(seed)
    verdicts = {}
    for op in ("<=", ">"):
        spec = parse_spec(WALK.format(cost=cost, op=op))
        reward = from_torch(net, tuple((p, spec.features["S"]) for p in ("a", "b")))
        options = VerifyOptions(falsify_budget=2000, budget=6000)
        verdicts[op] = verify(spec, {"M": reward}, options)["r"].verdict
    assert list(verdicts.values()) != [Verdict.PROVED, Verdict.PROVED]
    if verdicts["<="] is not Verdict.PROVED:
        return
    rng = np.random.default_rng(seed)
    for length in (1, 2, 3, 6):
        loops = np.clip(rng.uniform(0, 4, (3000, 1, 2)) + rng.uniform(-0.5, 0.5, (3000, length, 2)), 0, 4)
        moves = np.concatenate((loops, np.roll(loops, -1, axis=1)), axis=2)
        with torch.no_grad():
            paid = net(torch.tensor(moves, dtype=torch.float32))[..., 0].double().numpy() - float(cost)
        assert paid.sum(axis=1).max() <= 1e-5
