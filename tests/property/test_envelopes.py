"""Monotone envelopes of random networks: they fall along the direction, exactly; beyond the rim no bit has changed."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rewarden.editor.mend import Mender
from rewarden.editor.methods.envelope import Envelope
from rewarden.editor.methods.pairs import coupled
from rewarden.editor.methods.slope import Slope
from rewarden.editor.methods.task import Task
from rewarden.editor.patch import apply_patch
from rewarden.editor.reach import Reach
from rewarden.editor.region import Bound, Polytope, Row
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.exact import evaluate
from rewarden.reward.graph import AffineMap, Graph, Input, Relu
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.spec import Spec, parse_spec
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.extremum import certified_extremum
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.settled import by_cases
from rewarden.verifier.verdict import Reason

TYPE = RecordType(
    "S",
    (
        Feature("x", "real", Fraction(-1), Fraction(3)),
        Feature("y", "real", Fraction(0), Fraction(2)),
        Feature("on", "bool", Fraction(0), Fraction(1)),
    ),
)
HEAD = "spec s v1\nfeatures S { x: real in -1 .. 3  y: real in 0 .. 2  on: bool }\nreward R(s: S)\n"
RULES = {
    "up": "forall a, b: S varying x\n  given a.y <= 1 and a.on and a.x >= b.x\n  expect R(a) >= R(b)",
    "down": "forall a, b: S varying x\n  given a.y <= 1 and a.on and a.x <= b.x\n  expect R(a) >= R(b)",
    "bounded": "forall a, b: S varying x\n  given b.y <= 1 and b.x >= 1 and 0 <= a.x <= b.x\n  expect R(a) >= R(b)",
    "oblique": "forall s: S\n  given s.x >= 1 and 0.5 <= s.y <= 1.5 and s.on\n"
    "  expect R(s with {x = s.x - 1, y = s.y - 0.5}) >= R(s)",
    "leaning": "forall a, b: S varying x\n  given b.x + b.y <= 1.5 and b.on and a.x <= b.x\n  expect R(a) >= R(b)",
    "either": "forall a, b: S varying x\n  given (b.y <= 0.5 or b.y >= 1.5) and b.on and a.x >= b.x\n"
    "  expect R(a) >= R(b)",
    "everywhere": "forall a, b: S varying x\n  given a.x <= b.x\n  expect R(a) >= R(b)",
}


def network(seed: int, width: int = 5) -> Artifact:
    rng = np.random.default_rng(seed)
    tensors = {
        "a.w": rng.normal(size=(width, 3)).astype(np.float32),
        "a.b": rng.normal(size=width).astype(np.float32),
        "b.w": rng.normal(size=(3, width)).astype(np.float32),
        "b.b": rng.normal(size=3).astype(np.float32),
        "c.w": rng.normal(size=(1, 3)).astype(np.float32),
        "c.b": np.zeros(1, np.float32),
    }
    first, second, last = AffineMap(0, "a.w", "a.b"), AffineMap(2, "b.w", "b.b"), AffineMap(4, "c.w", "c.b")
    graph = Graph((Input(), first, Relu(1), second, Relu(3), last), 5)
    return Artifact((RewardRecord("s", TYPE),), graph, tensors, "exact")


def task(rule: str, artifact: Artifact) -> Task:
    spec = parse_spec(HEAD + f"must rule:\n  {RULES[rule]}\n")

    def verify(rewards, rules):
        found = verify_claim(claim_of(spec, rewards["R"]), rewards, VerifyOptions(budget=200, falsify_budget=200))
        return {"rule": found}

    before: Any = verify({"R": artifact}, None)
    return Task(spec, {"R": artifact}, "R", ("rule",), Mender(verify, certified_extremum), before)


def claim_of(spec: Spec, artifact: Artifact):
    from rewarden.verifier.bind import bind_obligation

    return bind_obligation(spec, spec.obligation("rule"), {"R": artifact})


def pairs(rule: str, rng: np.random.Generator, count: int) -> list[tuple[list[Fraction], list[Fraction]]]:
    """(better, worse) records of the rule's premise."""
    found = []
    while len(found) < count:
        x, other, y = (Fraction(int(rng.integers(-32, 97)), 32) for _ in range(3))
        y, on = Fraction(int(rng.integers(0, 65)), 32), Fraction(int(rng.integers(0, 2)))
        low, high = sorted((x, other))
        match rule:
            case "up" if y <= 1 and on:
                found.append(([high, y, on], [low, y, on]))
            case "down" if y <= 1 and on:
                found.append(([low, y, on], [high, y, on]))
            case "bounded" if y <= 1 and high >= 1 and low >= 0:
                found.append(([low, y, on], [high, y, on]))
            case "oblique" if x >= 1 and Fraction(1, 2) <= y <= Fraction(3, 2) and on:
                found.append(([x - 1, y - Fraction(1, 2), on], [x, y, on]))
            case "leaning" if high + y <= Fraction(3, 2) and on:
                found.append(([low, y, on], [high, y, on]))
            case "either" if (y <= Fraction(1, 2) or y >= Fraction(3, 2)) and on:
                found.append(([high, y, on], [low, y, on]))
            case "everywhere":
                found.append(([low, y, on], [high, y, on]))
    return found


def beyond(rule: str, rows: np.ndarray) -> np.ndarray:
    """Which records are beyond the region of both records of the rule, and its rim."""
    x, y, on = rows.astype(np.float64).T
    match rule:
        case "up" | "down":
            return (y >= 1.1) | (on == 0)
        case "bounded":
            return (y >= 1.1) | (x <= -0.2)
        case "oblique":
            return (on == 0) | (x <= -0.2) | (y >= 1.6)
        case "leaning":
            return (on == 0) | (x + y >= 1.5 + 0.3)
        case "either":
            return (on == 0) | ((y >= 0.6) & (y <= 1.4))
        case _:
            return np.zeros(len(rows), bool)


def everywhere(rng: np.random.Generator, count: int) -> np.ndarray:
    rows = np.stack([rng.uniform(-1, 3, count), rng.uniform(0, 2, count), rng.integers(0, 2, count)], 1)
    return rows.astype(np.float32)


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(sorted(RULES)), st.integers(0, 10_000))
@example("oblique", 1)
@example("bounded", 2)
@example("either", 3)
def test_an_envelope_falls_along_its_direction_and_leaves_the_rest_alone(rule: str, seed: int) -> None:
    artifact, rng = network(seed), np.random.default_rng(seed)
    child = Envelope().edit(task(rule, artifact)).artifact
    for better, worse in pairs(rule, rng, 12):
        assert evaluate(child, better) >= evaluate(child, worse)
    rows = everywhere(rng, 3_000)
    old, new = forward(artifact, rows), forward(child, rows)
    far = beyond(rule, rows)
    assert old[far].tobytes() == new[far].tobytes()
    for single in np.flatnonzero(far)[:5]:  # the same bits one by one
        row = rows[single : single + 1]
        assert forward(child, row).tobytes() == forward(artifact, row).tobytes()


@pytest.mark.parametrize("rule", sorted(RULES))
def test_an_envelope_is_proved_by_construction(rule: str) -> None:
    artifact = network(5, 4)
    own = task(rule, artifact)
    child = Envelope().edit(own).artifact
    options = VerifyOptions(budget=1, falsify_budget=1)
    result = verify_claim(claim_of(own.spec, child), {"R": child}, options)
    assert (result.verdict, result.reason) == ("proved", Reason.DIFFERENCES)


def test_an_envelope_moves_no_record_by_more_than_is_told_and_less_than_a_slope() -> None:
    """Here the reward rises all along the direction, and a slope adds up."""
    artifact = network(11)
    own = task("oblique", artifact)
    found = coupled(own.claim("rule", whole=True), "rule", "R", Fraction(1, 20))
    assert (found.signs, found.shifts) == ({0: 1, 1: 1}, {0: Fraction(1), 1: Fraction(1, 2)})
    rows = everywhere(np.random.default_rng(0), 6_000)
    old = forward(artifact, rows).astype(np.float64)
    envelope = Envelope().edit(own).artifact
    told = envelope.edit.statement["rule.continuity"]
    change = np.abs(forward(envelope, rows) - old)
    assert 0 < change.max() <= float(told.rpartition("more than ")[2])
    try:
        slope = Slope().edit(own).artifact
    except EditError:
        return
    assert change.mean() < np.abs(forward(slope, rows) - old).mean()


@settings(max_examples=6, deadline=None)
@given(st.sampled_from(sorted(RULES)), st.integers(0, 10_000), st.booleans())
@example("oblique", 1, True)
def test_what_an_envelope_reaches_is_told_from_its_parent(rule: str, seed: int, raised: bool) -> None:
    artifact, rng = network(seed), np.random.default_rng(seed)
    done = Envelope().edit(task(rule, artifact))
    assert isinstance(done.extremum, Reach)
    assert done.extremum.knows(done.artifact)
    assert not done.extremum.knows(artifact)
    level = float(np.quantile(forward(artifact, everywhere(rng, 200)), 0.8 if raised else 0.2))
    region = Polytope(
        (Row((Fraction(0), Fraction(5), Fraction(0)), Fraction(5)),),
        tuple((column.lo, column.hi) for column in artifact.columns),
    )
    bound = Bound("b", "R", "floor" if raised else "ceiling", Fraction(level), False, (region,))
    patched, _ = apply_patch(done.artifact, bound, done.extremum)
    for child in (done.artifact, patched):
        low, high = np.sort(everywhere(rng, 2), axis=0).astype(np.float64)
        rows = (low + (high - low) * rng.uniform(size=(2_000, 3))).astype(np.float32)
        rows = np.clip(rows, low.astype(np.float32), high.astype(np.float32))
        box = tuple((Fraction(a), Fraction(b)) for a, b in zip(low.tolist(), high.tolist(), strict=True))
        values = forward(child, rows).astype(np.float64)
        assert values.max() <= float(done.extremum(child, box, 1))
        assert -values.min() <= float(done.extremum(child, box, -1))


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(sorted(set(RULES) - {"everywhere"})), st.integers(0, 10_000))
def test_what_a_premise_settles_is_the_same_function_where_the_premise_holds(rule: str, seed: int) -> None:
    artifact, rng = network(seed, 3), np.random.default_rng(seed)
    own = task(rule, artifact)
    child = Envelope().edit(own).artifact
    claim = claim_of(own.spec, child)
    program = compile_program(claim, {"R": child})
    cases = by_cases(program)
    assert cases
    whole, parts = ExactProgram(program), [ExactProgram(case) for case in cases]
    tried = 0
    for better, worse in pairs(rule, rng, 6):
        for point in ([*better, worse[0]], [worse[0], *worse[1:], better[0]], worse):
            if len(point) != len(claim.variables) or not whole.evaluate(point).premise_holds(claim):
                continue
            tried += 1
            wanted = [whole.layers(point)[k].fractions() for k in program.outputs]
            assert any([part.layers(point)[k].fractions() for k in program.outputs] == wanted for part in parts)
            if len(parts) == 1:
                assert [parts[0].layers(point)[k].fractions() for k in program.outputs] == wanted
    assert tried


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("forall a, b: S\n  given a.x <= b.x and a.y <= b.y\n  expect R(a) >= R(b)", "which of its records"),
        ("forall a, b: S varying x, y\n  given a.x <= b.x and a.y <= b.y\n  expect R(a) >= R(b)", "several features"),
        ("forall a, b: S varying x\n  given a.x <= b.x\n  expect R(a) > R(b)", "more than the same"),
        (
            "forall s: S\n  given s.x >= 0.5 and s.y >= 0.7\n  expect R(s with {x = s.x - 1.5, y = s.y - 0.7}) >= R(s)",
            "ratios",
        ),
    ],
)
def test_rules_of_another_form_have_no_envelope(rule: str, message: str) -> None:
    RULES["other"] = rule
    try:
        with pytest.raises(EditError, match=message):
            Envelope().edit(task("other", network(1)))
    finally:
        del RULES["other"]
