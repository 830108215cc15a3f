"""Attempts to make the graph of cells prove what is not so: about loops, and about traces."""

from __future__ import annotations

import math
import operator
import os
from dataclasses import replace
from fractions import Fraction
from typing import Any, cast

import numpy as np
import pytest
import torch

from rewarden.reward.exact import evaluate
from rewarden.reward.torch_import import from_torch
from rewarden.spec_lang import parse_spec
from rewarden.spec_lang.obligation import Obligation
from rewarden.verifier.bind import bind, bind_obligation
from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.loops.abstraction import Abstraction, Search
from rewarden.verifier.loops.engine import LoopRule
from rewarden.verifier.loops.maxplus import _Kind, _Path, _Sums
from rewarden.verifier.loops.partition import first_cells
from rewarden.verifier.loops.potentials import Graph
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.portfolio import verify
from rewarden.verifier.scribe.loops import written_loops
from rewarden.verifier.verdict import RuleResult, Verdict
from tests.reference.how_many import ALL
from tests.reference.loop_specs import WALK, LoopCase, learned, random_case

FRESH = int.from_bytes(os.urandom(3), "big") * 100 if os.environ.get("REWARDEN_NEW_CASES") else 0
QUICK = VerifyOptions(falsify_budget=800)


def agrees(case: LoopCase) -> None:
    found = verify(case.spec, case.rewards, QUICK)["r"]
    assert found.verdict.value == case.expected, f"{found.reason}\n{case.text}"
    if found.verdict is Verdict.VIOLATED:
        assert found.witness is not None
        assert found.witness.violation >= 0
        if "cycle" in case.text:
            point = [int(x) for x in found.witness.point]
            loop = [case.records.index(tuple(point[k : k + 4])) for k in range(0, len(point), 4)]
            total = sum(case.moves[move] for move in zip(loop, [*loop[1:], loop[0]], strict=True))
            assert found.witness.violation == (-total if ">" in case.text.splitlines()[-1] else total)


@pytest.mark.parametrize("seed", [*range(6), 57])  # 57: a sum of exactly 0, of parts that are cut off at 0
def test_loops_over_finite_records_are_decided_as_by_brute_force(seed: int) -> None:
    agrees(random_case(seed))


@pytest.mark.parametrize("seed", range(6 if ALL else 4))
def test_traces_over_finite_records_are_decided_as_by_brute_force(seed: int) -> None:
    agrees(random_case(seed, steps=5 + seed % 4))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200))
def test_many_loops_and_traces(seed: int) -> None:
    agrees(random_case(1000 + FRESH + seed))
    agrees(random_case(1000 + FRESH + seed, steps=5 + seed % 6))


CONTINUOUS = """spec line v1
features P { x : real in 0 .. 1  y : real in 0 .. 1 }
reward R(a: P)
let Told(a: P, b: P) = R(b) - R(a) - |b.x - a.x|
let Turn(a: P, b: P) = (b.x - a.x) * b.x
relation close(a: P, b: P) = |b.x - a.x| <= 0.1
must cost: cycle t: P via close expect sum(Told(t)) <= 0
must back: cycle t: P via close expect sum(Turn(t)) <= 0
must ahead: cycle t: P via close expect sum(Turn(t)) >= 0
"""


def test_loops_of_a_continuous_kind_that_hold_with_equality_or_are_not_affine() -> None:
    """Standing still adds exactly 0. Half of the squares of all moves is what turning adds: never less than 0."""
    spec = parse_spec(CONTINUOUS)
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    found = verify(spec, {"R": from_torch(net, (("a", spec.features["P"]),))}, QUICK)
    assert found["cost"].verdict is Verdict.PROVED
    assert found["back"].verdict is Verdict.VIOLATED
    assert len(found["back"].witness.records) > 1
    assert found["ahead"].verdict is Verdict.UNKNOWN
    assert "multiplies two quantities" in found["ahead"].reason


def test_what_no_step_pays_for_no_loop_does_with_nothing_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best step adds exactly 0, at a point that no cell ends at: bounds of cells never get there. (Loops that pay
    are not sought, which takes most of the time.)"""
    monkeypatch.setattr(LoopRule, "seek", nothing)
    spec = parse_spec(
        "spec cost v1\nfeatures P { x : real in -1 .. 2 }\nreward R(a: P)\n"
        "relation close(a: P, b: P) = |a.x - b.x| <= 1\n"
        "must free: cycle t: P via close expect sum(R(t)) <= 0\n"
    )
    net = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    with torch.no_grad():  # −|x|
        net[0].weight[:] = torch.tensor([[1.0], [-1.0]])
        net[2].weight.fill_(-1.0)
        net[0].bias.fill_(0.0), net[2].bias.fill_(0.0)
    found = verify(
        spec, {"R": from_torch(net, (("a", spec.features["P"]),))}, replace(QUICK, budget=400, z3_rlimit=40_000)
    )
    assert found["free"].verdict is Verdict.PROVED
    assert "no step adds anything" in found["free"].reason
    assert found["free"].proof is None
    assert found["free"].unsettled is None


@pytest.mark.parametrize("seed", [*range(24), *range(100, 100 + (60 if ALL else 0))])
def test_a_step_that_is_proved_to_add_nothing_adds_nothing(seed: int) -> None:
    """`_each`, which is asked where cells leave a rule open, against every move."""
    case = random_case(seed)

    def decide(obligation: Obligation) -> RuleResult:
        return verify_claim(bind_obligation(case.spec, obligation, case.rewards), case.rewards, QUICK)

    rule = LoopRule(case.spec, "r", case.rewards, QUICK, nothing, decide, None, lambda: False)  # type: ignore[arg-type]
    allowed = {"<= 0": operator.le, "< 0": operator.lt, ">= 0": operator.ge, "> 0": operator.gt}
    keeps = next(holds for words, holds in allowed.items() if case.text.rstrip().endswith(f") {words}"))
    true = all(keeps(added, 0) for added in case.moves.values())
    expected = "vacuous" if not case.moves else "proved" if true else "violated"
    assert rule._each().verdict.value == expected


def test_loops_as_executed_are_proved_of_every_execution() -> None:
    """What is left of a sum that holds with a little to spare holds in binary32; what needs all of it is open."""
    spec = parse_spec(
        "spec line v1\nfeatures P { x : real in 0 .. 1 }\nreward R(a: P)\nrelation up(a: P, b: P) = b.x >= a.x\n"
        "must spare: cycle t: P via up expect sum(R(t) - 1.001) <= 0\n"
        "must exact: cycle t: P via up expect sum(3 * R(t) - 3) <= 0\n"
        "must none: cycle t: P via up given always t.x >= 2 expect sum(R(t)) <= 0\n"
    )
    net = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    with torch.no_grad():
        for layer, weight, bias in ((net[0], [[0.3], [0.7]], [0.1, 0.2]), (net[2], [[0.5, 0.3]], [0.53])):
            layer.weight[:] = torch.tensor(weight)
            layer.bias[:] = torch.tensor(bias)
    options = VerifyOptions(falsify_budget=800, budget=500, semantics="float32")
    found = verify(spec, {"R": from_torch(net, (("a", spec.features["P"]),))}, options)
    assert found["spare"].verdict is Verdict.PROVED
    assert "in every execution in binary32" in found["spare"].reason
    assert not found["spare"].certifiable
    assert found["exact"].verdict is not Verdict.PROVED
    assert found["none"].verdict is Verdict.VACUOUS


# ── what must not be lost ──────────────────────────────────────────────────────────────────────
def ramp(after: float) -> torch.nn.Sequential:
    """max(x − after, 0)"""
    net = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.ReLU(), torch.nn.Linear(1, 1))
    with torch.no_grad():
        for layer, bias in ((net[0], -after), (net[2], 0.0)):
            layer.weight.fill_(1.0)
            layer.bias.fill_(bias)
    return net


def test_late_steps_of_a_discounted_trace_count_for_more_than_nothing() -> None:
    """0.01^186 is below all floats, and still more than 0."""
    spec = parse_spec(
        "spec walk v1\nfeatures S { n : int in 0 .. 200 }\nreward R(s: S)\nrelation next(a: S, b: S) = b.n == a.n + 1\n"
        "must r: trace t: S of 201 steps via next given first(t).n == 0 expect sum(R(t) discount 0.01) <= 0\n"
    )
    found = verify(spec, {"R": from_torch(ramp(185.0), (("s", spec.features["S"]),))}, QUICK)["r"]
    assert found.verdict is Verdict.VIOLATED, found.reason


def test_a_conclusion_that_nothing_can_break_does_not_make_a_rule_vacuous() -> None:
    """The premise holds in one small place, which no search finds: that is not to say that it holds nowhere."""
    centre = torch.tensor([0.6871, 0.3127, 0.811, 0.123, 0.457])
    net = torch.nn.Sequential(torch.nn.Linear(5, 10), torch.nn.ReLU(), torch.nn.Linear(10, 1), *ramp(0.0))
    with torch.no_grad():
        net[0].weight[:] = torch.cat((torch.eye(5), -torch.eye(5)))
        net[0].bias[:] = torch.cat((-centre, centre))
        net[2].weight.fill_(-(2.0**12))
        net[2].bias.fill_(1.0)
    columns = " ".join(f"x{k} : real in 0 .. 1" for k in range(5))
    spec = parse_spec(
        f"spec needle v1\nfeatures S {{ {columns} }}\nreward R(s: S)\n"
        "relation near_(a: S, b: S) = |a.x0 - b.x0| <= 0.1\n"
        "must r: trace t: S of 6 steps via near_ given always R(t) >= 0.5 expect always (t.x0 >= 0 or t.x1 >= 2)\n"
    )
    rewards = {"R": from_torch(net, (("s", spec.features["S"]),))}
    assert evaluate(rewards["R"], [Fraction(float(x)) for x in centre]) > Fraction(1, 2)
    found = verify(spec, rewards, VerifyOptions(falsify_budget=200, budget=2_000))["r"]
    assert found.verdict in (Verdict.UNKNOWN, Verdict.PROVED), found.reason


@pytest.mark.parametrize("seed", range(40))
def test_sums_along_cells_are_rounded_up_whatever_their_size(seed: int) -> None:
    rng = np.random.default_rng(seed)
    some = 10.0 ** rng.uniform(-320, 308, 12) if seed % 2 else 10.0 ** rng.uniform(290, 308, 12)
    weight = some * rng.choice([-1.0, 1.0, 0.0], 12)
    every = np.arange(12)
    kind = _Kind(cast("Any", None), True, Graph(12, every, every), weight)
    factors = [Fraction(3), Fraction(1, 7) ** 40, Fraction(1, 100) ** 200, Fraction(1, 2) ** 1200, Fraction(0)]
    paths = [_Path((0,), (factor,), Fraction(0), weak=False) for factor in factors]
    sums = _Sums([kind], paths, 12)
    for factor in factors:
        for whole, exact in zip(sums.weight(0, factor).tolist(), weight.tolist(), strict=True):
            assert whole >= Fraction(exact) * factor * Fraction(2) ** sums.exponent
            assert abs(whole) < 2**61


def test_planes_of_one_record_are_below_wherever_the_next_one_is() -> None:
    """A third is no binary64 number: by how much it is not counts at the next record as well, however large that is."""
    spec = parse_spec(
        "spec far v1\nfeatures S { x : real in 0 .. 1000000000 }\nreward R(s: S)\nlet f(a: S, b: S) = R(a) + b.x / 3\n"
        "relation any_(a: S, b: S) = a.x >= 0\nmust r: cycle t: S via any_ expect sum(max(f(t), -1)) <= 0\n"
    )
    rewards = {"R": from_torch(ramp(0.0), (("s", spec.features["S"]),))}
    rule = LoopRule(spec, "r", rewards, QUICK, nothing, nothing, None, lambda: False)
    ((bounds, _),) = rule.bounds()
    assert bounds.over_record
    here, far = np.zeros((1, 2)), np.array([[0.0, 1e9]] * len(bounds.rows))
    rows = bounds.at_pairs(bounds.planes(here, here), Boxes(torch.from_numpy(far), torch.from_numpy(far)))
    told = Fraction(float(rows.constant[0])) - Fraction(float(rows.error[0]))
    told += sum(Fraction(float(a)) * Fraction(x) for a, x in zip(rows.slope[0].tolist(), far[0].tolist(), strict=True))
    assert told <= -Fraction(10**9, 3)


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


Box = list[tuple[Fraction, Fraction]]


def cells_of(case: LoopCase, nodes: list[Any]) -> list[tuple[Box, Any]]:
    """The cells of a proof's tree, with their potentials."""
    (box,) = bind(case.spec, "r", case.rewards).boxes
    waiting: list[Box] = [list(box[: len(box) // 2])]
    found = []
    for node in nodes:
        at = waiting.pop()
        if node[0] == "cut":
            k, cut = node[1], Fraction(math.floor(Fraction(node[2])))
            waiting.append([*at[:k], (cut + 1, at[k][1]), *at[k + 1 :]])
            waiting.append([*at[:k], (at[k][0], cut), *at[k + 1 :]])
        else:
            found.append((at, node))
    assert not waiting
    return found


def holds(case: LoopCase, nodes: list[Any], sign: int, strict: bool) -> bool:
    """The potentials checked on every record and every move there is, in rationals."""
    cells = cells_of(case, nodes)

    def level(record: tuple[int, ...]) -> Fraction | None:
        ((_, node),) = [c for c in cells if all(a <= x <= b for x, (a, b) in zip(record, c[0], strict=True))]
        if node[0] == "none":
            return None
        return Fraction(node[1]) + sum(Fraction(s) * x for s, x in zip(node[2], record, strict=True))

    levels = [level(record) for record in case.records]
    for (i, j), added in case.moves.items():
        here, there = levels[i], levels[j]
        if here is None or there is None:
            return False
        room = there - here - sign * added
        if room < 0 or (room == 0 and strict):
            return False
    return True


@pytest.mark.parametrize("seed", range(24))
def test_potentials_hold_for_every_record_and_move(seed: int) -> None:
    case = random_case(seed)
    sign = -1 if case.text.rstrip("= 0\n").endswith(">") else 1
    claim = bind(case.spec, "r", case.rewards)
    found = outcomes(case)
    for outcome, _ in found:
        assert outcome.status in {"vacuous": ("empty", "proved")}.get(case.expected, (case.expected,))
    if case.expected == "proved":
        proof = written_loops(claim, case.rewards, [outcome for outcome, _ in found], lambda: False)
        assert not isinstance(proof, str)
        for (_, weak), part in zip(found, proof["sums"], strict=True):
            assert holds(case, part["cells"], sign, weak)
            # There are loops: were each move to add more, nothing could hold for them.
            more = {move: added + sign * 1000 for move, added in case.moves.items()}
            assert not holds(replace(case, moves=more), part["cells"], sign, weak)


# ── continuous records ─────────────────────────────────────────────────────────────────────────
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
