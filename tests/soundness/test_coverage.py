"""What is said of a box holds at its points: random claims, random points, exact evaluation; shares add up to 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.coverage_lines import coverage_lines
from rewarden.reward.artifact import Artifact
from rewarden.reward.torch_import import from_torch
from rewarden.spec_lang import Spec, parse_spec
from rewarden.spec_lang.claim import Box, Claim
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.coverage.judge import FALSE, Judge
from rewarden.verifier.coverage.parts import STATUSES, Coverage
from rewarden.verifier.coverage.search import cover, frame_of
from rewarden.verifier.deployed_program import DeployedProgram
from rewarden.verifier.executed import compile_executed
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.portfolio import verify
from rewarden.verifier.program import Program
from rewarden.verifier.regions import Frame, Region, Side
from rewarden.verifier.verdict import VerificationResult
from tests.reference.how_many import part_of
from tests.reference.loop_specs import random_case, status_of_records
from tests.reference.random_claims import random_claim, random_point, truth
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact, random_mlp
from tests.reference.random_programs import atom, claim_over

seeds = st.integers(0, 2**32 - 1)


def inside(sides: tuple[Side | int, ...], here: tuple[Side | int, ...], frame: Frame) -> bool:
    """Is a point, given by its sides, strictly inside a box where that is possible?"""
    for side, at, dimension in zip(sides, here, frame.dimensions, strict=True):
        if isinstance(side, int):
            assert isinstance(at, int)
            if side & at != at:
                return False
        else:
            x = at[0]
            whole = dimension.kind == "int" or side[0] == side[1]
            if not (side[0] <= x < side[1] or x == side[0] == side[1] if whole else side[0] < x < side[1]):
                return False
    return True


def parts_of(region: Region, instance: int, here: tuple[Side | int, ...]) -> int:
    boxes = (region.sides(k) for k in range(len(region)) if region.instance[k] == instance)
    return sum(inside(sides, here, region.frame) for sides in boxes)


def in_box(point: tuple[Fraction, ...], box: Box) -> bool:
    return all(lo <= x <= hi for x, (lo, hi) in zip(point, box, strict=True))


def spread(rng: np.random.Generator, claim: Claim, point: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    """The point with most of its reals moved off the grid that cuts lie on."""
    box = next(b for b in claim.boxes if in_box(point, b))
    return tuple(
        x if v.discrete or rng.random() < 0.2 else lo + (hi - lo) * Fraction(int(rng.integers(0, 10**6)), 10**6 - 1)
        for x, v, (lo, hi) in zip(point, claim.variables, box, strict=True)
    )


def contradictions(claim: Claim, artifacts, coverage: Coverage, rng: np.random.Generator, points: int) -> list[str]:
    frame, found = coverage.parts["proved"].frame, []
    for _ in range(points):
        point = spread(rng, claim, random_point(rng, claim))
        premise, goal = truth(claim, artifacts, point)
        here = frame.sides(tuple((x, x) for x in point))
        boxes = [
            i for i, box in enumerate(claim.boxes) if all(lo <= x <= hi for x, (lo, hi) in zip(point, box, strict=True))
        ]
        if len(boxes) != 1 or any(side == 0 for side in here):
            continue
        where = {status: parts_of(coverage.parts[status], boxes[0], here) for status in STATUSES}
        if sum(where.values()) > 1:
            found.append(f"{point} is in several parts: {where}")
        if where["proved"] and premise and not goal:
            found.append(f"proved, and violated at {point}")
        if where["violated"] and not (premise and not goal):
            found.append(f"violated, and not so at {point}")
        if where["outside"] and premise:
            found.append(f"outside, and the premise holds at {point}")
    return found


@settings(max_examples=part_of(25))
@given(seeds)
def test_points_never_contradict_the_box_that_they_are_in(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = MIXED if rng.random() < 0.6 else TWO_REALS
    make = random_artifact if rng.random() < 0.5 else random_mlp
    artifact = make(rng, kind, patches=int(rng.integers(0, 2)))
    artifacts = {"R": artifact}
    claim = random_claim(rng, kind, artifacts)
    frame = Frame.of(claim, {kind.name: kind} if rng.random() < 0.7 else None)
    program = compile_program(claim, artifacts)
    before = None
    for budget in (1, 40, 300):
        coverage = cover(program, frame, budget, lambda: False)
        assert coverage is not None
        assert sum(coverage.shares.values()) == 1
        for slices in coverage.slices.values():
            assert all(sum(one.shares.values()) == 1 for one in slices)
        assert coverage.premise[0] <= coverage.premise[1]
        assert not contradictions(claim, artifacts, coverage, rng, 40)
        if before is not None:
            assert coverage.shares["violated"] >= before["violated"]
            assert coverage.shares["outside"] >= before["outside"]
            assert coverage.shares["unsettled"] <= before["unsettled"]
        before = coverage.shares


def test_the_same_budget_gives_the_same_parts() -> None:
    rng = np.random.default_rng(7)
    artifacts = {"R": random_mlp(rng, MIXED)}
    claim = random_claim(rng, MIXED, artifacts)
    program, frame = compile_program(claim, artifacts), Frame.of(claim, {MIXED.name: MIXED})
    first, second = (cover(program, frame, 200, lambda: False) for _ in range(2))
    assert first.to_json() == second.to_json()


@pytest.mark.parametrize("stop_after", [0, 1])
def test_a_stop_leaves_the_rest_unsettled(stop_after: int) -> None:
    rng = np.random.default_rng(3)
    artifacts = {"R": random_mlp(rng, MIXED)}
    claim = random_claim(rng, MIXED, artifacts)
    asked = iter([False] * stop_after + [True] * 10)
    coverage = cover(compile_program(claim, artifacts), Frame.of(claim), 10_000, lambda: next(asked))
    assert sum(coverage.shares.values()) == Fraction(1)


# ── all of a discrete region ───────────────────────────────────────────────────────────────────
WHOLE = RecordType(
    "T",
    (
        Feature("k", "int", Fraction(-3), Fraction(6)),
        Feature("b", "bool", Fraction(0), Fraction(1)),
        Feature("v", "int", Fraction(0), Fraction(3), size=2),
        Feature("e", "enum", Fraction(0), Fraction(1), cases=("x", "y", "z")),
    ),
)


def records_of(kind: RecordType) -> list[tuple[int, ...]]:
    columns = []
    for feature in kind.features:
        if feature.kind == "enum":
            columns.append([tuple(int(k == j) for k in range(len(feature.cases))) for j in range(len(feature.cases))])
        else:
            ends = range(int(feature.lo), int(feature.hi) + 1)
            columns += [[(k,) for k in ends]] * (feature.width if feature.is_vector else 1)
    return [sum(chosen, ()) for chosen in product(*columns)]


@pytest.mark.parametrize("seed", range(6))
def test_shares_of_discrete_records_are_their_counts(seed: int) -> None:
    """Overall and per slice, elements of a vector included; a box of the claim after the other."""
    rng = np.random.default_rng(seed)
    artifacts = {"R": random_mlp(rng, WHOLE)}
    claim = next(c for _ in range(100) if len((c := random_claim(rng, WHOLE, artifacts)).variables) == WHOLE.width)
    frame = Frame.of(claim, {"T": WHOLE})
    coverage = cover(compile_program(claim, artifacts), frame, 4_000, lambda: False)
    assert coverage is not None
    assert coverage.shares["unsettled"] == 0
    counts, totals = Counter(), Counter()
    for box in claim.boxes:
        inside = [r for r in records_of(WHOLE) if in_box(tuple(map(Fraction, r)), box)]
        for record in inside:
            premise, goal = truth(claim, artifacts, tuple(map(Fraction, record)))
            status = "violated" if premise and not goal else "fine"
            share = Fraction(1, len(inside) * len(claim.boxes))
            counts[status] += share
            totals["v[0]", record[2], status] += share
    assert coverage.shares["violated"] == counts["violated"]
    for one in coverage.slices.get("v[0]", ()):
        value = int(one.side["lo"])
        whole = totals["v[0]", value, "violated"] + totals["v[0]", value, "fine"]
        assert one.shares["violated"] == totals["v[0]", value, "violated"] / whole


def records_by_status(coverage: Coverage, records: Sequence[tuple[int, ...]]) -> list[str]:
    frame = coverage.parts["proved"].frame
    found = []
    for record in records:
        here = frame.sides(tuple((Fraction(x), Fraction(x)) for x in record))
        (status,) = (s for s in STATUSES if parts_of(coverage.parts[s], 0, here))
        found.append(status)
    return found


def loops_told(seeds: Iterable[int], semantics: Literal["real", "float32"] = "real") -> Counter[tuple[str, str]]:
    """(what coverage says, what is so) of every record on its loops."""
    said: Counter[tuple[str, str]] = Counter()
    for seed in seeds:
        case = random_case(seed)
        options = VerifyOptions(coverage_budget=1_000, falsify_budget=800, semantics=semantics)
        result = verify(case.spec, case.rewards, options)["r"]
        assert result.verdict.value in ("unknown", case.expected)
        coverage = result.coverage_details
        assert coverage is not None
        assert coverage.of == "records on loops"
        assert sum(coverage.shares.values()) == 1
        told = records_by_status(coverage, case.records)
        said += Counter(zip(told, status_of_records(case), strict=True))
    return said


RIGHT = {("proved", "proved"), ("proved", "outside"), ("violated", "violated"), ("outside", "outside")}


def test_records_on_loops_that_pay() -> None:
    said = loops_told((0, 2, 57))
    wrong = {pair for pair in said if pair[0] != "unsettled" and pair not in RIGHT}
    assert not wrong
    assert said["violated", "violated"]
    assert said["outside", "outside"]


def test_records_on_loops_as_executed() -> None:
    """What holds of every execution holds of the reals."""
    said = loops_told((3, 4, 7), "float32")
    assert not {pair for pair in said if pair[0] != "unsettled" and pair not in RIGHT}
    assert said["violated", "violated"]
    assert said["proved", "proved"]


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 240, 20))
def test_records_on_loops_that_pay_of_many(start: int) -> None:
    executed = loops_told(range(start, start + 20), "float32")
    assert not {pair for pair in executed if pair[0] != "unsettled" and pair not in RIGHT}
    said = loops_told(range(start, start + 20))
    assert not {pair for pair in said if pair[0] != "unsettled" and pair not in RIGHT}
    assert said["violated", "violated"] > 4 * said["unsettled", "violated"]


LINE = """spec line v1
features P { x : real in 0 .. 1 }
reward M(a: P, b: P)
relation close(a: P, b: P) = |a.x - b.x| <= 0.25
must r: cycle t: P via close given always (t.x <= 0.5 or t.x >= 0.875)
expect sum(M(t)) <= 0
"""


def test_records_of_a_continuous_kind_on_loops_that_pay() -> None:
    """Moving up pays by what is gained beyond 0.25: going to and fro pays within reach of it, and not far away."""
    spec = parse_spec(LINE)
    kind = spec.features["P"]
    layer, relu, out = torch.nn.Linear(2, 1), torch.nn.ReLU(), torch.nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 1.0]]))
        layer.bias.copy_(torch.tensor([-0.25]))
        out.weight.fill_(1.0)
        out.bias.fill_(-0.0625)
    reward = from_torch(torch.nn.Sequential(layer, relu, out), (("a", kind), ("b", kind)))
    coverage = verify(spec, {"M": reward}, VerifyOptions(coverage_budget=3_000, falsify_budget=800))[
        "r"
    ].coverage_details
    assert coverage is not None
    # Up to 0.5 all are joined to some that pay by standing still, and so are those from 0.875 on; others are out.
    assert coverage.shares["violated"] >= Fraction(6, 10)
    assert coverage.shares["violated"] + coverage.shares["unsettled"] <= Fraction(64, 100)
    assert coverage.shares["outside"] >= Fraction(36, 100)
    assert coverage.shares["proved"] == 0


# ── near data, vectors, traces ─────────────────────────────────────────────────────────────────
NEAR = """spec beside v1
features S { x : real in 0 .. 10  on : bool }
features V { e : real ^ 12 in 0 .. 1 }
reward R(s: S)
reward H(v: V)
data d: S from "d.csv"
relation on_(a: S, b: S) = b.x >= a.x
must around: forall s: S near d within 1 expect R(s) <= 3
must element: forall v: V expect H(v) <= 0.75
must rising: trace t: S within 2 steps via on_ expect last(t).x * 1.0 + 0 * R(first(t)) <= 5
"""


def linear(spec: Spec, name: str, weights: list[float]) -> Artifact:
    net = torch.nn.Sequential(torch.nn.Linear(len(weights), 1))
    with torch.no_grad():
        net[0].weight[:] = torch.tensor([weights])
        net[0].bias.fill_(0.0)
    return from_torch(net, tuple((p, spec.features[kind]) for p, kind in spec.rewards[name].params))


@pytest.fixture(scope="module")
def near_results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Coverage]:
    folder = tmp_path_factory.mktemp("near")
    (folder / "d.csv").write_text("x,on\n1.5,true\n2.5,false\n6,false\n0.5,true\n")
    spec = parse_spec(NEAR, base=folder)
    rewards = {"R": linear(spec, "R", [1.0, 0.0]), "H": linear(spec, "H", [0.0] * 7 + [1.0] + [0.0] * 4)}
    results = verify(spec, rewards, VerifyOptions(coverage_budget=4_000, falsify_budget=800))
    return {rule.rule: rule.coverage_details for rule in results}


def close(share: Fraction) -> float:
    """Cuts lie where bounds change their sign, which may be a rounding beside the exact place."""
    return round(float(share), 9)


def test_rows_of_a_rule_near_data_one_by_one(near_results: dict[str, Coverage]) -> None:
    """R is x: near 2.5 it is above 3 on a quarter of 1.5 .. 3.5, near 6 everywhere."""
    coverage = near_results["around"]
    anchors = coverage.anchors
    assert anchors is not None
    assert (anchors.data, anchors.count, anchors.proved, anchors.violated, anchors.open) == ("d", 4, 2, 2, 0)
    assert {one.row: close(one.shares["violated"]) for one in anchors.told} == {2: 0.25, 3: 1.0}
    assert close(coverage.shares["violated"]) == 5 / 16
    by_case = {one.text: close(one.shares["violated"]) for one in coverage.slices["on"]}
    assert by_case == {"false": 5 / 8, "true": 0.0}
    assert [one.shares["violated"] for one in coverage.slices["x"]][-1] == 1
    assert coverage.violated.parts[0].words == "near row 3 of d, all of it"


FACES = """spec beside v1
features S { x : real in 0 .. 10  v : real in 0 .. 1 }
reward R(s: S)
data d: S from "d.csv"
must both: forall s: S near d within {x = 1, v = 0.5} given s.v == 0.5 expect R(s) <= 3
must one: forall s: S near d within {x = 1, v = 0.5} given s.v == 0.5 expect R(s) <= 6.5
must edge: forall s: S near d within {x = 1, v = 0.5} given s.v <= 0 expect R(s) <= 6.5
must goal: forall s: S near d within {x = 1, v = 0.5} expect s.v > 0 or R(s) <= 6.5
must all: forall s: S near d within {x = 1, v = 0.5} given s.v == 0.5 expect R(s) <= 7
"""


def test_a_row_around_which_the_rule_fails_on_a_face_is_none_around_which_it_holds(tmp_path: Path) -> None:
    """R is x, which is 4 .. 6 around the first row and 5 .. 7 around the other. What has no volume has no share, and
    fails all the same."""
    (tmp_path / "d.csv").write_text("x,v\n5,0.5\n6,0.5\n")
    spec = parse_spec(FACES, base=tmp_path)
    rewards = {"R": linear(spec, "R", [1.0, 0.0])}
    results = verify(spec, rewards, VerifyOptions(coverage_budget=400, falsify_budget=800))
    told = {}
    for rule in results:
        assert rule.coverage_details is not None
        anchors = rule.coverage_details.anchors
        assert anchors is not None
        assert rule.coverage_details.shares["violated"] == 0
        told[rule.rule] = rule.verdict.value, anchors.proved, anchors.violated, anchors.open
    one = ("violated", 1, 1, 0)
    assert told == {"both": ("violated", 0, 1, 1), "one": one, "edge": one, "goal": one, "all": ("proved", 2, 0, 0)}


@pytest.mark.parametrize("budget", [2, 3, 4])
def test_a_face_is_looked_at_also_where_the_budget_ends_before_the_premise_is_cut(budget: int, tmp_path: Path) -> None:
    """R is x: near each row the rule fails at v = 0, which no volume shows."""
    (tmp_path / "d.csv").write_text("x,v\n5.5,0.5\n6,0.5\n6.5,0.5\n")
    rule = "must goal: forall s: S near d within {x = 1, v = 0.5} given s.x <= 6.8 expect s.v > 0 or R(s) <= 5.5\n"
    spec = parse_spec(FACES.partition("must")[0] + rule, base=tmp_path)
    options = VerifyOptions(coverage_budget=budget, falsify_budget=800)
    (found,) = verify(spec, {"R": linear(spec, "R", [1.0, 0.0])}, options)
    assert found.coverage_details is not None
    assert found.coverage_details.anchors is not None
    assert found.coverage_details.anchors.proved == 0


def test_slices_of_a_vector_are_of_the_elements_that_matter(near_results: dict[str, Coverage]) -> None:
    coverage = near_results["element"]
    assert close(coverage.shares["violated"]) == 1 / 4
    assert set(coverage.slices) == {"e[7]"}
    assert [close(one.shares["violated"]) for one in coverage.slices["e[7]"]] == [0, 0, 0, 0, 0, 0, 1, 1]


def test_traces_have_shares_for_each_length(near_results: dict[str, Coverage]) -> None:
    """Of one record half is above 5; of rising pairs, three quarters of the half that rises."""
    coverage = near_results["rising"]
    one, two = coverage.cases.values()
    assert one.shares["violated"] == Fraction(1, 2)
    assert Fraction(3, 8) - two.shares["unsettled"] <= two.shares["violated"] <= Fraction(3, 8)
    assert two.shares["unsettled"] < Fraction(1, 20)
    assert coverage.shares["violated"] == (one.shares["violated"] + two.shares["violated"]) / 2
    assert sum(coverage.shares.values()) == 1


STEPS = """spec ways v1
features S { x : real in 0 .. 4  n : int in 0 .. 3 }
reward R(s: S)
relation up(a: S, b: S) = b.x >= a.x
must low: trace t: S of 6 steps expect sum(R(t)) <= 6
must first: trace t: S of 7 steps given first(t).n >= 2 expect R(last(t)) - R(first(t)) <= 2
must all: trace t: S within 5 steps via up expect R(last(t)) >= first(t).x
must never: trace t: S of 5 steps expect sum(R(t)) >= 21
must plain: trace t: S of 5 steps expect R(last(t) with {x = 2, n = 1}) >= 3
"""


def test_long_traces_have_shares_for_each_length() -> None:
    """R is x: all is known but where a sum or a difference is close to its limit."""
    spec = parse_spec(STEPS)
    options = VerifyOptions(coverage_budget=1_500, falsify_budget=800, budget=500)
    results = verify(spec, {"R": linear(spec, "R", [1.0, 0.0])}, options)
    found = {rule.rule: rule.coverage_details for rule in results}
    low, first, everything, never = (found[name] for name in ("low", "first", "all", "never"))
    assert found["plain"].shares["violated"] == 1, "a call of numbers reads no column"
    assert all(sum(one.shares.values()) == 1 for one in (low, first, everything, never))
    assert set(low.cases) == {"6 steps"}
    share = Fraction(1, 720)  # of the cube's corner below a sum of 6 in units of 4: (6/4)^6/6! − 6·(2/4)^6/6!
    below = (Fraction(3, 2) ** 6 - 6 * Fraction(1, 2) ** 6) * share
    assert low.shares["proved"] <= below <= 1 - low.shares["violated"]
    assert first.shares["outside"] == Fraction(1, 2)
    assert first.shares["proved"] > Fraction(1, 4)  # of 7/8 · 1/2
    assert first.shares["violated"] <= Fraction(1, 8) * Fraction(1, 2)
    assert "t[0].n" in next(iter(first.cases.values())).slices
    assert everything.shares["violated"] == 0
    assert list(everything.cases) == [f"{n} step{'s' if n > 1 else ''}" for n in range(1, 6)]
    assert never.shares["violated"] == 1


def test_coefficients_that_binary64_hardly_holds_are_compared_exactly() -> None:
    """The nearest binary64 number is half a percent off, and the box a thousandth beyond the edge."""
    slope, edge = Fraction(10049, 100 * 2**1074), Fraction(10) ** 200
    box = ((edge * Fraction(1001, 1000), edge * Fraction(1002, 1000)),)
    claim = claim_over((box,), ((atom(slope * edge, {0: -slope}),),), calls=0)
    judge = Judge(Program(claim, (), ()))
    lo, hi = (torch.tensor([[float(end)]], dtype=torch.float64) for end in box[0])
    judged = judge.judge(Boxes(lo, hi), [box], np.zeros((1, 1), np.int8))
    assert judged.atoms.tolist() == [[FALSE]]


@settings(max_examples=part_of(20))
@given(seeds)
def test_calls_that_are_bounded_apart_are_bounded_soundly(seed: int) -> None:
    """The parts of a region that come of it never contradict exact evaluation."""
    rng = np.random.default_rng(seed)
    kind = MIXED if rng.random() < 0.5 else TWO_REALS
    artifacts = {"R": random_mlp(rng, kind)}
    claim = random_claim(rng, kind, artifacts)
    program = Program(claim, (), ())

    def compiled(some: Claim) -> Program:
        return compile_program(some, artifacts)

    coverage = cover(program, frame_of(program, {kind.name: kind}), 200, lambda: False, compiled=compiled)
    assert coverage is not None
    assert sum(coverage.shares.values()) == 1
    assert not contradictions(claim, artifacts, coverage, rng, 40)


ROWS = """spec rows v1
features S { x : real [m] in 0 .. 8  zone : enum {dock, aisle}  n : int in 0 .. 9  on : bool }
reward R(s: S)
data d: S from "d.csv"
must most: forall p in d given p.on expect share(R(p) <= 4) >= 0.4
must every: forall p in d expect R(p) <= 4
must none: forall p in d given p.x > 7.5 [m] expect R(p) <= 4
"""


@pytest.mark.parametrize("semantics", ["real", "float32"])
def test_rows_of_data_are_counted(tmp_path: Path, semantics: str) -> None:
    """R is x: of twenty rows at 0.3125, 0.6875 … the ones above 4 fail, and those alone."""
    rows = [(0.3125 + 0.375 * k, "dock" if k % 2 else "aisle", k % 5, k % 4 != 0) for k in range(20)]
    table = [f"{x},{zone},{n},{str(on).lower()}" for x, zone, n, on in rows]
    (tmp_path / "d.csv").write_text("\n".join(["x,zone,n,on", *table]) + "\n")
    spec = parse_spec(ROWS, base=tmp_path)
    options = VerifyOptions(coverage_budget=10, semantics=semantics)
    results = verify(spec, {"R": linear(spec, "R", [1.0] + [0.0] * 4)}, options)
    fails = [k for k, (x, *_) in enumerate(rows) if x > 4]
    most = results["most"].coverage_details
    assert most is not None
    assert most.of == "rows of data"
    counted = [k for k in range(20) if rows[k][3]]
    bad = [k for k in counted if k in fails]
    assert most.shares == {
        "proved": Fraction(len(counted) - len(bad), 20),
        "violated": Fraction(len(bad), 20),
        "outside": Fraction(20 - len(counted), 20),
        "unsettled": 0,
    }
    assert [int(part.words.split()[1][:-1]) - 1 for part in most.violated.parts] == bad
    assert most.violated.parts[0].words.startswith(f"row {bad[0] + 1}: x 4.0625 [m], zone aisle, n 0, on true")
    every = results["every"].coverage_details
    assert every is not None
    (whole,) = every.violated.parts  # more than are told one by one: the box that holds them
    assert whole.words == "rows 11, 12, 13, 14, 15, 16, 17, 18, 19, 20: x 4.0625 .. 7.4375 [m]"
    for slices in every.slices.values():
        assert all(sum(one.shares.values()) == 1 for one in slices)
    by_zone = {one.text: one.shares["violated"] for one in every.slices["zone"]}
    assert by_zone == {zone: Fraction(sum(rows[k][1] == zone for k in fails), 10) for zone in ("dock", "aisle")}
    for one in every.slices["n"]:
        n = int(one.text)
        assert one.shares["violated"] == Fraction(sum(rows[k][2] == n for k in fails), 4)
    none = results["none"].coverage_details
    assert none is not None
    assert none.shares["outside"] == 1
    lines = coverage_lines(most)
    assert f"the premise holds on 15 of 20 rows; the conclusion fails on {len(bad)} of them" in lines
    assert any(line.endswith("5 % of the rows of d") for line in lines)


# ── as executed, and with data constants that are known to some bounds ─────────────────────────
@settings(max_examples=part_of(25), deadline=None)
@given(seeds)
def test_deployed_records_never_contradict_the_box_that_they_are_in(seed: int) -> None:
    """The deployed pass is one legal execution: what all executions do, it does."""
    rng = np.random.default_rng(seed)
    kind = MIXED if rng.random() < 0.5 else TWO_REALS
    make = random_artifact if rng.random() < 0.5 else random_mlp
    artifacts = {"R": make(rng, kind, patches=int(rng.integers(0, 2)))}
    claim = random_claim(rng, kind, artifacts)
    program = compile_executed(claim, artifacts)
    coverage = cover(program, frame_of(program, {kind.name: kind}), 200, lambda: False)
    assert coverage is not None
    assert sum(coverage.shares.values()) == 1
    deployed, frame = DeployedProgram(program), coverage.parts["proved"].frame
    for _ in range(60):
        point = deployed.record(spread(rng, claim, random_point(rng, claim)))
        seen = None if point is None else deployed.evaluate(point)
        if point is None or seen is None:
            continue
        boxes = [i for i, box in enumerate(claim.boxes) if in_box(point, box)]
        here = frame.sides(tuple((x, x) for x in point))
        if len(boxes) != 1 or any(side == 0 for side in here):
            continue
        where = {status: parts_of(coverage.parts[status], boxes[0], here) for status in STATUSES}
        premise, fails = seen.premise_holds(claim), bool(seen.failing_goals(claim))
        assert not (where["proved"] and premise and fails), point
        assert not (where["violated"] and not (premise and fails)), point
        assert not (where["outside"] and premise), point


CONSTANTS = """spec curved v1
features S { x : real in 0 .. 4 }
reward R(s: S)
data d: S from "d.csv"
relation up(a: S, b: S) = b.x >= a.x
must below: forall s: S given s.x <= 3 expect R(s) <= max(R(d))
must mean: forall s: S expect R(s) >= mean(R(d)) - 10
must long: trace t: S within 6 steps via up expect last(t).x + 0 * R(first(t)) <= 5
must most: forall s in d expect share(R(s) <= max(R(d)) + 1) >= 0.5
must round: cycle t: S via up expect sum(R(t)) <= 0
must capped: cycle t: S via up expect sum(R(t) - max(R(d))) <= 0
"""


@pytest.fixture(scope="module", params=["real", "float32"])
def constant_results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VerificationResult:
    """A reward that rises, and data whose largest reward is that of 2: half of a region up to 4."""
    folder = tmp_path_factory.mktemp("constants")
    (folder / "d.csv").write_text("x\n1\n2\n0.5\n")
    spec = parse_spec(CONSTANTS, base=folder)
    smooth = request.param == "real"
    net = torch.nn.Sequential(
        torch.nn.Linear(1, 1), torch.nn.Tanh() if smooth else torch.nn.ReLU(), torch.nn.Linear(1, 1)
    )
    with torch.no_grad():
        for layer, weight, bias in ((net[0], 0.7, 0.1), (net[2], 1.3, 0.0)):
            layer.weight.fill_(weight)
            layer.bias.fill_(bias)
    reward = from_torch(net, tuple((p, spec.features[kind]) for p, kind in spec.rewards["R"].params))
    options = VerifyOptions(coverage_budget=3_000, falsify_budget=300, budget=2_000, semantics=request.param)
    return verify(spec, {"R": reward}, options)


def test_regions_beside_data_constants_are_measured(constant_results: VerificationResult) -> None:
    """The constant is no feature, and no part of the region is named for it."""
    coverage = constant_results["below"].coverage_details
    assert coverage is not None
    assert abs(coverage.shares["violated"] - Fraction(1, 4)) < Fraction(1, 10**4)
    assert coverage.shares["outside"] >= Fraction(1, 4) - Fraction(1, 10**6)
    assert abs(coverage.shares["proved"] - Fraction(1, 2)) < Fraction(1, 10**4)
    assert set(coverage.slices) == {"x"}
    assert all("max(" not in line for line in coverage.violated.lines())
    assert constant_results["mean"].coverage_details.shares["proved"] == 1


def test_where_nothing_is_measured_a_warning_says_why(constant_results: VerificationResult) -> None:
    for name, of in (("long", "records"), ("most", "rows of data")):
        coverage = constant_results[name].coverage_details
        assert coverage is not None
        assert coverage.of == of
    assert constant_results["round"].coverage_details is not None
    if constant_results.semantics == "float32":
        warned = constant_results["capped"].warnings
        assert any("real semantics only: ask for --semantics real" in one for one in warned)
    for rule in constant_results:
        assert (rule.coverage_details is None) == any("no coverage" in one for one in rule.warnings)


def test_not_near_many_rows_is_measured_without_a_fraction_for_each_comparison(tmp_path, monkeypatch):
    """Of 200 rows of real and discrete features it did not end: every comparison of a case or a whole number that is
    reached in the box was asked again in fractions, of every box."""
    rng, asked = np.random.default_rng(0), Counter[str]()
    rows = [f"{x:.3f},{n},{on},{mode}" for x, n, on, mode in zip(
        rng.uniform(0, 4, 60), rng.integers(0, 5, 60), rng.choice(["true", "false"], 60), rng.choice(list("abc"), 60),
        strict=True,
    )]  # fmt: skip
    (tmp_path / "rows.csv").write_text("\n".join(["x,n,on,mode", *rows]) + "\n")
    text = (
        "spec s v1\nfeatures T { x: real in 0 .. 4  n: int in 0 .. 4  on: bool  mode: enum {a, b, c} }\n"
        'reward R(s: T)\ndata rows: T from "rows.csv"\n'
        "must away:\n  forall s: T not near rows within {x = 0.01}\n  expect R(s) <= 50\n"
    )
    spec = parse_spec(text, "s.rwd", base=tmp_path)
    reward = random_mlp(rng, spec.features["T"], (4,))
    exactly = Judge.exactly

    def counted(self: Judge, *given: object) -> int:
        asked["exactly"] += 1
        return exactly(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Judge, "exactly", counted)
    options = VerifyOptions(coverage_budget=400, falsify_budget=100)
    found = verify(spec, {"R": reward}, options).rules[0].coverage_details
    assert isinstance(found, Coverage)
    assert asked["exactly"] < 10 * found.boxes  # of 480 comparisons
    assert sum(found.shares.values()) == 1
    assert found.shares["proved"] > Fraction(1, 2)
