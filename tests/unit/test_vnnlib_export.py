"""Rules as queries: exact where they can be, weaker where they must be, and said so."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import onnx
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import AffineMap, Graph, Input, Patch
from rewarden.reward.onnx_export import to_onnx
from rewarden.spec_lang.claim import Claim, ClaimCall
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier.vnnlib.declarations import parse_query
from rewarden.verifier.vnnlib.export import Networks, export_claim
from rewarden.verifier.vnnlib.functionals import functional_of, is_float32
from rewarden.verifier.vnnlib.numerals import exact_decimal, outward, short_decimal
from rewarden.verifier.vnnlib.query import holds
from rewarden.verifier.vnnlib.split import gates_of, split
from tests.reference.exact_onnx import exact_onnx
from tests.reference.random_claims import affine, atom, plain_claim, random_claim, random_point, value_of
from tests.reference.random_graphs import TWO_REALS, random_artifact, seeds

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
CHOICES = RecordType(
    "Step",
    (
        Feature("speed", "real", Fraction(0), Fraction(4), "m/s"),
        Feature("count", "int", Fraction(0), Fraction(2)),
        Feature("near", "bool", Fraction(0), Fraction(1)),
        Feature("zone", "enum", Fraction(0), Fraction(1), None, ("aisle", "dock", "charger")),
    ),
)


def total(record: RecordType, patches: int = 0) -> Artifact:
    """The sum of the columns; patched to at most 1 where column 0 is at most 2."""
    graph = Graph((Input(), AffineMap(0, "w", "b")), 1)
    tensors = {"w": np.ones((1, record.width), np.float32), "b": np.zeros(1, np.float32)}
    made = ()
    if patches:
        row = np.zeros((1, record.width), np.float32)
        row[0, 0] = 1.0
        tensors |= {"rows": row, "offsets": np.float32([2]), "level": np.float32([1]), "slope": np.float32([8])}
        tensors |= {"delta": np.float32([0.125]), "gate": np.float32([0.875])}
        made = (Patch("ceiling", "rows", "offsets", "level", "slope", "delta", "gate", "rule"),)
    return Artifact((RewardRecord("s", record),), graph, tensors, "exact", patches=made)


def exported(claim: Claim, rewards: dict[str, Artifact]) -> tuple[dict, dict[str, bytes]]:
    files: dict[str, bytes] = {}
    found = export_claim(claim, rewards, Networks(files.__setitem__), files.__setitem__)
    return dict(found.entry), files


# ── numbers ────────────────────────────────────────────────────────────────────────────────────
numbers = (
    st.fractions(-(10**30), 10**30) | st.fractions(-1, 1, max_denominator=10**40) | st.floats(-1e30, 1e30).map(Fraction)
)


@given(value=numbers, side=st.sampled_from(["below", "above"]))
def test_numbers_are_exact_or_on_the_safe_side_for_every_reader(value: Fraction, side: str) -> None:
    text, exact = outward(value, side)
    assert "e" not in text
    assert "." in text
    if exact:
        assert Fraction(text) == value
    else:
        for seen in (Fraction(text), Fraction(float(text))):
            assert seen <= value if side == "below" else seen >= value
        assert abs(Fraction(text) - value) <= max(abs(value), Fraction(1, 2**1022)) / 2**50


@given(value=st.floats(-1e6, 1e6, width=32))
def test_what_data_hold_is_written_exactly(value: float) -> None:
    assert short_decimal(Fraction(value)) is not None or abs(value) < 1e-12


def test_decimals() -> None:
    cases = {Fraction(1, 20): "0.05", Fraction(-3): "-3.0", Fraction(0): "0.0", Fraction(12345, 100): "123.45"}
    assert {value: exact_decimal(value) for value in cases} == cases
    assert exact_decimal(Fraction(1, 3)) is None
    assert outward(Fraction(1, 3), "below") == ("0.3333333333333333", False)
    assert outward(Fraction(1, 3), "above") == ("0.33333333333333337", False)
    assert outward(Fraction(1, 10**4000), "above")[1] is False
    with pytest.raises(Unsupported, match="X31"):
        outward(Fraction(10) ** 400, "above")


# ── cases ──────────────────────────────────────────────────────────────────────────────────────
def test_one_case_per_assignment_of_discrete_features() -> None:
    claim = plain_claim(CHOICES, {"R": total(CHOICES)}, goals=[(atom(3, {}, {0: -1}),)])
    found = split(claim, {"R": total(CHOICES)})
    assert len(found.cases) == 3 * 2 * 3
    fixed = {tuple(lo for lo, hi in case.box if lo == hi) for case in found.cases}
    assert len(fixed) == 18
    assert all(sum(case.box[i][0] for i in (3, 4, 5)) == 1 for case in found.cases)


def test_premises_fix_and_empty_cases() -> None:
    near, fast = atom(-1, {2: 1}), atom(-1, {0: 1})
    claim = plain_claim(
        CHOICES, {"R": total(CHOICES)}, clauses=[(near,), (fast, atom(-1, {3: 1}))], goals=[(atom(3, {}, {0: -1}),)]
    )
    found = split(claim, {"R": total(CHOICES)})
    assert len(found.cases) == 9
    for case in found.cases:
        assert case.box[2] == (1, 1)
        # speed >= 1 or in the aisle: said by the case, or by a bound
        in_aisle = case.box[3][0] == 1
        assert case.box[0][0] == (0 if in_aisle else 1)
        assert case.clauses == ()


def test_cases_that_hold_by_their_bounds_are_counted() -> None:
    goal = (atom(3, {0: -1, 1: -1}), atom(2, {}, {0: -1}))  # speed + count <= 3, or R <= 2
    claim = plain_claim(CHOICES, {"R": total(CHOICES)}, goals=[goal], boxes=None)
    slow = replace(claim, boxes=(((Fraction(0), Fraction(1)), *claim.boxes[0][1:]),))
    found = split(slow, {"R": total(CHOICES)})
    assert (len(found.cases), found.settled) == (0, 18)


def test_too_many_cases_are_refused() -> None:
    many = RecordType("Many", tuple(Feature(f"b{i}", "bool", Fraction(0), Fraction(1)) for i in range(14)))
    claim = plain_claim(many, {"R": total(many)}, goals=[(atom(3, {}, {0: -1}),)])
    with pytest.raises(Unsupported, match="X32"):
        split(claim, {"R": total(many)})
    wide = RecordType("Wide", (Feature("n", "int", Fraction(0), Fraction(10**9)),))
    with pytest.raises(Unsupported, match="X32"):
        split(plain_claim(wide, {"R": total(wide)}, goals=[(atom(3, {}, {0: -1}),)]), {"R": total(wide)})


@settings(max_examples=40, deadline=None, phases=PHASES)
@given(seed=seeds)
def test_at_every_point_a_patch_is_in_one_state(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rewards = {"R": random_artifact(rng, TWO_REALS, size=2, patches=2)}
    claim = random_claim(rng, TWO_REALS, rewards)
    for gate in gates_of(claim, rewards):
        for _ in range(6):
            point = random_point(rng, claim)
            states = [
                state
                for state, clauses in gate.facts.items()
                if all(any(holds(a, point, ()) for a in clause) for clause in clauses)
            ]
            assert len(states) == 1


def test_a_region_that_the_premise_is_inside_of_needs_no_other_state() -> None:
    rewards = {"R": total(TWO_REALS, patches=1)}
    claim = plain_claim(TWO_REALS, rewards, goals=[(atom(1, {}, {0: -1}),)])
    assert {case.states for case in split(claim, rewards).cases} == {("flat",)}  # x is at most 1 everywhere
    far = replace(claim, boxes=(((Fraction(0), Fraction(4)), (Fraction(0), Fraction(2))),))
    assert {case.states for case in split(far, rewards).cases} == {("flat",), ("sloped",), ("open",)}
    # x + y <= 2 and y >= 0 put x within the region, which bounds alone do not see
    inside = replace(far, clauses=((atom(2, {0: -1, 1: -1}),),))
    assert {case.states for case in split(inside, rewards).cases} == {("flat",)}


# ── strictness ─────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("strict", [False, True])
def test_ties_are_solutions_of_1_0_and_of_2_0_where_they_violate(strict: bool) -> None:
    rewards = {"R": total(TWO_REALS)}
    claim = plain_claim(TWO_REALS, rewards, goals=[(atom(1, {}, {0: -1}, strict=strict),)])  # R <= 1, or R < 1
    entry, files = exported(claim, rewards)
    (case,) = entry["cases"]
    tie = [Fraction(1, 4), Fraction(3, 4)]
    (value,) = exact_onnx(onnx.load_from_string(files[case["network"]]), tie)
    assert value == 1
    said = [holds(parse_query(files[case[key]], "q").formula, tie, [value]) for key in ("query", "query_2")]
    assert said == [True, strict]
    assert case["closed"] == (0 if strict else 1)
    assert ("closed: strict" in files[case["query"]].decode()) == (not strict)
    assert "closed: nothing" in files[case["query_2"]].decode()


def test_what_is_rounded_is_said_and_is_weaker() -> None:
    rewards = {"R": total(TWO_REALS)}
    goal = (atom("1/3", {}, {0: -1}),)
    entry, files = exported(plain_claim(TWO_REALS, rewards, goals=[goal]), rewards)
    (case,) = entry["cases"]
    assert case["rounded"] == 1
    assert "(assert (>= Y_0 0.3333333333333333))" in files[case["query"]].decode()
    assert "rounded: 1 constants, outward" in files[case["query"]].decode()


# ── networks ───────────────────────────────────────────────────────────────────────────────────
def what_if(shift: object) -> tuple[Claim, dict[str, Artifact]]:
    """R(s with x = x − shift) >= R(s)."""
    rewards = {"R": total(TWO_REALS)}
    calls = [
        ClaimCall("R", (affine(Fraction(str(shift)) * -1, {0: 1}), affine(0, {1: 1}))),
        ClaimCall("R", (affine(0, {0: 1}), affine(0, {1: 1}))),
    ]
    return plain_claim(TWO_REALS, rewards, calls=calls, goals=[(atom(0, {}, {0: 1, 1: -1}),)]), rewards


def test_columns_that_float32_cannot_make_are_inputs_of_their_own() -> None:
    for shift, extras in (("0.5", 0), ("0.1", 1)):
        claim, rewards = what_if(shift)
        entry, files = exported(claim, rewards)
        (case,) = entry["cases"]
        assert len(entry["extras"]) == extras
        query = parse_query(files[case["query"]], "q")
        assert query.inputs == 2 + extras
        x = [Fraction(1, 3), Fraction(1, 7), Fraction(1, 3) - Fraction(shift)][: query.inputs]
        outputs = exact_onnx(onnx.load_from_string(files[case["network"]]), x)
        assert outputs[:2] == [sum(x[:2]) - Fraction(shift), sum(x[:2])]
        assert holds(query.formula, x, outputs)
        if extras:  # a little off, and the extra is not the column that it stands for
            off = [*x[:2], x[2] + Fraction(1, 10**12)]
            assert not holds(query.formula, off, exact_onnx(onnx.load_from_string(files[case["network"]]), off))
        second = files[case["query_2"]].decode()
        assert "(equal-to N0)" in second
        assert set(case["networks_2"].values()) == {"R.onnx"}
        assert files["R.onnx"] == to_onnx(rewards["R"])


def test_sums_are_outputs_with_exact_weights() -> None:
    rewards = {"R": total(TWO_REALS)}
    premise = (atom("-0.33", {0: "0.0078", 1: 1}),)
    claim = plain_claim(TWO_REALS, rewards, clauses=[premise], goals=[(atom("0.1", {0: 1}, {0: -1}),)])
    entry, files = exported(claim, rewards)
    (case,) = entry["cases"]
    assert entry["functionals"] == ["39.0*s.x + 5000.0*s.y", "-R(s) + s.x"]
    text = files[case["query"]].decode()
    assert "(assert (>= Y_1 1650.0))" in text
    assert "(assert (<= Y_2 -0.1))" in text
    assert "+" not in "".join(line for line in text.splitlines() if not line.startswith(";"))


@given(numbers=st.lists(st.fractions(-100, 100, max_denominator=200), min_size=2, max_size=5))
def test_functionals_are_the_sums_scaled(numbers: list[Fraction]) -> None:
    form = affine(1, dict(enumerate(numbers)))
    made = functional_of(form) if form.variables else None
    if made is not None:
        functional, scale = made
        assert all(is_float32(c) for _, c in functional.variables)
        assert functional.variables[0][1] > 0
        assert tuple((i, scale * c) for i, c in functional.variables) == form.variables


def test_equal_networks_are_one_file() -> None:
    rewards = {"R": total(TWO_REALS), "Base": total(TWO_REALS)}
    claim = plain_claim(TWO_REALS, rewards, goals=[(atom(0, {}, {0: 1, 1: -1}),), (atom(0, {}, {0: -1, 1: 1}),)])
    entry, files = exported(claim, rewards)
    (case,) = entry["cases"]
    assert list(case["networks_2"]) == ["N0"]
    assert "(equal-to N0)" in files[case["query_2"]].decode()
    assert sorted(name for name in files if name.endswith(".onnx")) == ["R.onnx", "R_Base.onnx"]


def test_a_variable_in_no_call_needs_the_joint_network_in_2_0() -> None:
    rewards = {"R": total(TWO_REALS)}
    calls = [ClaimCall("R", (affine(0, {0: 1}), affine(0, {1: 1})))]
    claim = plain_claim(
        TWO_REALS,
        rewards,
        records=("a", "b"),
        calls=calls,
        clauses=[(atom(0, {0: 1, 2: -1}),)],
        goals=[(atom(1, {}, {0: -1}),)],
    )
    entry, files = exported(claim, rewards)
    (case,) = entry["cases"]
    assert case["networks_2"] == {"joint": case["network"]}
    assert parse_query(files[case["query_2"]], "q").inputs == 4


def test_rules_without_a_reward_are_refused() -> None:
    claim = plain_claim(TWO_REALS, {}, goals=[(atom(1, {0: -1}),)])
    with pytest.raises(Unsupported, match="X33"):
        export_claim(claim, {}, Networks(lambda *_: None), lambda *_: None)


def test_points_of_the_claim_reach_the_network_as_they_are() -> None:
    """The joint network of two records sharing a feature is R(a), R(b), exactly."""
    rng = np.random.default_rng(3)
    rewards = {"R": random_artifact(rng, TWO_REALS, size=5)}
    claim = plain_claim(TWO_REALS, rewards, records=("a", "b"), varying=("y",), goals=[(atom(0, {}, {0: 1, 1: -1}),)])
    entry, files = exported(claim, rewards)
    model = onnx.load_from_string(files[entry["cases"][0]["network"]])
    single = onnx.load_from_string(to_onnx(rewards["R"]))
    for _ in range(20):
        point = random_point(rng, claim)
        rows = [[value_of(row, point) for row in call.arguments] for call in claim.calls]
        assert exact_onnx(model, point) == [exact_onnx(single, row)[0] for row in rows]
