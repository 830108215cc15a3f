"""Verdicts under float32 semantics against executions, and all verdicts against settings that lose precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from math import isfinite

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.spec_lang.claim import Claim, ClaimCall
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.verdict import RuleResult, Verdict
from tests.reference.attacks import ATTACKS, PAIR
from tests.reference.executions import Execution
from tests.reference.how_many import part_of
from tests.reference.random_graphs import random_artifact, random_mlp
from tests.reference.random_programs import atom, form
from tests.soundness.test_executed_bounds import claim_about

SMALL = VerifyOptions(semantics="float32", budget=300, falsify_budget=1_500)


def random_points(rng: np.random.Generator, count: int) -> list[list[float]]:
    return [[float(np.float32(v)) for v in rng.choice([0.0, 1.0, rng.random()], 2)] for _ in range(count)]


def deployed(artifact: Artifact, points: list[list[float]]) -> np.ndarray:
    return forward(artifact, np.array(points, np.float32)).astype(np.float64)


def about(artifact: Artifact, goal, clauses=(), arguments=None) -> Claim:
    claim = claim_about(artifact, tuple((c.lo, c.hi) for c in artifact.columns), arguments)
    rewards = (("R0", artifact.digest),)
    return Claim("rule", "must", claim.variables, (), rewards, claim.calls, clauses, ((goal,),), claim.boxes)


@settings(max_examples=part_of(40), deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_execution_contradicts_a_verdict(seed):
    """Thresholds near the least value, where a rounding more or less decides."""
    rng = np.random.default_rng(seed)
    if rng.random() < 0.5:
        artifact = random_mlp(rng, PAIR, hidden=(4, 3), patches=int(rng.integers(2)))
    else:
        artifact = random_artifact(rng, PAIR, size=int(rng.integers(1, 6)), patches=int(rng.integers(2)))
    points = random_points(rng, 40)
    values = deployed(artifact, points)
    away = float(rng.choice([0.3, 1e-3, 2.0**-22, 0.0])) * (1.0 + abs(float(values.min())))
    goal = atom(Fraction(away) - Fraction(float(values.min())), None, {0: 1})
    premise = ((atom(Fraction(1, 2), {0: -1}),),) if rng.random() < 0.5 else ()
    result = verify_claim(about(artifact, goal, premise), {"R0": artifact}, SMALL)
    level = -goal.affine.constant
    if result.verdict is Verdict.PROVED:
        for x in points[:20]:
            if not premise or x[0] <= 0.5:
                assert Fraction(Execution(rng).reward(artifact, x)) >= level
    if result.verdict is Verdict.VIOLATED:
        assert result.witness is not None
        x = [float(v) for v in result.witness.point]
        assert [Fraction(v) for v in x] == list(result.witness.point)
        assert Fraction(float(deployed(artifact, [x])[0])) < level


@settings(max_examples=part_of(15), deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_updates_are_executed_on_rounded_arguments(seed):
    """R(x + 1/10, y) against R(x, y): the argument is rounded before the network sees it."""
    rng = np.random.default_rng(seed)
    artifact = random_mlp(rng, PAIR, hidden=(3,))
    claim = about(artifact, atom(0, None, {0: 1}))
    moved = (form(Fraction(-1, 10), {0: 1}), form(0, {1: 1}))
    two = (*claim.calls, ClaimCall("R0", moved))
    box = ((Fraction(1, 10), Fraction(1)), (Fraction(0), Fraction(1)))
    gap = 2.0 * float(np.abs(artifact.tensors["t2"]).max() * np.abs(artifact.tensors["t0"]).max())
    goal = atom(Fraction(gap), None, {0: 1, 1: -1})
    claim = Claim("rule", "must", claim.variables, (), claim.rewards, two, (), ((goal,),), (box,))
    result = verify_claim(claim, {"R0": artifact}, SMALL)
    for x, y in random_points(rng, 20):
        if x < 0.1:
            continue
        shifted = float(np.float32(x - 0.1))
        a, b = Execution(rng).reward(artifact, [x, y]), Execution(rng).reward(artifact, [shifted, y])
        if result.verdict is Verdict.PROVED and isfinite(a) and isfinite(b):
            assert Fraction(a) - Fraction(b) + Fraction(gap) >= 0


# ── precision that users may have turned down ──────────────────────────────────────────────────
@contextmanager
def setting(change: Callable[[], object], back: Callable[[], object]) -> Iterator[None]:
    change()
    try:
        yield
    finally:
        back()


def lowered() -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    precision, dtype = torch.get_float32_matmul_precision(), torch.get_default_dtype()
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32

    def allow(a: bool, b: bool) -> None:
        matmul.allow_tf32, cudnn.allow_tf32 = a, b

    return {
        "medium": (
            lambda: torch.set_float32_matmul_precision("medium"),
            lambda: torch.set_float32_matmul_precision(precision),
        ),
        "tf32": (lambda: allow(True, True), lambda: allow(*before)),
        "float16": (lambda: torch.set_default_dtype(torch.float16), lambda: torch.set_default_dtype(dtype)),
        "bfloat16": (lambda: torch.set_default_dtype(torch.bfloat16), lambda: torch.set_default_dtype(dtype)),
        "float64": (lambda: torch.set_default_dtype(torch.float64), lambda: torch.set_default_dtype(dtype)),
        "device": (lambda: torch.set_default_device("meta"), lambda: torch.set_default_device(None)),
        "flushing": (lambda: torch.set_flush_denormal(True), lambda: torch.set_flush_denormal(False)),
    }


def told(result: RuleResult) -> tuple[object, ...]:
    witness = None if result.witness is None else result.witness.point
    return result.verdict, result.reason, result.proof, witness, result.work, result.coverage


@pytest.mark.parametrize("name", list(lowered()))
def test_no_setting_of_torch_changes_a_verdict_or_a_proof(name: str):
    rng = np.random.default_rng(5)
    artifacts = [random_mlp(rng, PAIR, hidden=(5, 4)) for _ in range(3)]
    levels = [Fraction(float(deployed(a, random_points(rng, 60)).min()) - 0.05) for a in artifacts]
    cases = [(about(a, atom(-level, None, {0: 1})), a) for a, level in zip(artifacts, levels, strict=True)]

    def answers(semantics: str) -> list[tuple[object, ...]]:
        asked = VerifyOptions(semantics=semantics, engine="bounds", budget=500, falsify_budget=1_500)  # type: ignore[arg-type]
        return [told(verify_claim(claim, {"R0": artifact}, asked)) for claim, artifact in cases]

    expected = {semantics: answers(semantics) for semantics in ("real", "float32")}
    assert any(answer[0] is Verdict.PROVED for answer in expected["real"])
    with setting(*lowered()[name]):
        for semantics, before in expected.items():
            assert answers(semantics) == before
        assert torch.get_default_dtype() == {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(
            name, torch.float64 if name == "float64" else torch.float32
        )


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
def test_flushing_to_zero_fools_no_engine(attack):
    """But where operands are flushed, the deployed pass is the execution that breaks the network that notices."""
    executed = ("violated",) if attack.name == "flushing" else attack.executed
    with setting(*lowered()["flushing"]):
        for semantics, right in (("real", (attack.real,)), ("float32", executed)):
            asked = VerifyOptions(semantics=semantics, engine="bounds", budget=200, falsify_budget=1_000)  # type: ignore[arg-type]
            result = verify_claim(attack.claim(), {"R": attack.artifact}, asked)
            assert result.verdict in (*right, "unknown")
