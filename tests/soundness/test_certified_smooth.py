"""Certificates about smooth rewards: enclosures and lines against balls, proofs against random nets, and forgeries."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from flint import arb, ctx
from torch import nn

import rewarden as rw
from rewarden.certificate import check as kernel_check
from rewarden.certificate.check import check
from rewarden.certificate.kernel_bounds import ALL, NONE, OPEN, ROUGHLY, TOGETHER, Bounds, Box
from rewarden.certificate.kernel_json import Refused, digest
from rewarden.certificate.kernel_lanes import RoughBounds
from rewarden.certificate.kernel_program import GRID, ONE, affine_of, evaluate
from rewarden.certificate.kernel_smooth import Enclosed, _bounds, _planes, _times, at, bend
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.assembly import Assembly
from rewarden.reward.balls import smooth, within
from rewarden.reward.elementary import FUNCTIONS
from rewarden.reward.graph import Exp, Square
from rewarden.reward.store import save_artifact
from rewarden.reward.torch_import import from_torch
from rewarden.spec_lang.claim import Affine
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier.ball_program import BallProgram
from rewarden.verifier.inline import compile_program
from rewarden.verifier.scribe.mirror import Mirror
from tests.differential.test_kernel_vs_program import dense, dense_prover, kernel_program
from tests.reference.certificates import Case, atom, claim, counterexample, prove, schema, shortfall
from tests.reference.certificates import affine as form
from tests.reference.mutations import CLAIM, PROOF
from tests.soundness.test_smooth_programs import claim_about, drawn, points_of, random_box

SPARE = 32


def ball(number: int, bits: int) -> arb:
    return arb(number) * arb(2) ** -bits


def curvature(function: str, x: arb) -> arb:
    """f″, written anew."""
    t, s = x.tanh(), 1 / (1 + (-x).exp())
    match function:
        case "tanh":
            return -2 * t * (1 - t * t)
        case "sigmoid":
            return s * (1 - s) * (1 - 2 * s)
        case "softplus":
            return s * (1 - s)
        case "silu":
            return s * (1 - s) * (2 + x * (1 - 2 * s))
        case "gelu":
            return (2 - x * x) * (-x * x / 2).exp() / (2 * arb.pi()).sqrt()
        case "exp":
            return x.exp()
        case _:
            return arb(2)


def some_number(rng: random.Random, bits: int) -> int:
    if rng.random() < 0.1:
        return rng.choice([0, 1, -1, 1 << bits, 12 << bits, -(12 << bits), (12 << bits) + 1])
    size = 2.0 ** rng.choice([-60, -30, -10, -3, 0, 1, 2, 3, 4, 5, 7])
    return int(rng.uniform(-1, 1) * size * 2**52) << (bits - 52)


def hold_enclosures(seed: int, count: int) -> None:
    rng = random.Random(seed)
    with ctx.workprec(900):
        for _ in range(count):
            function, bits = rng.choice(FUNCTIONS), rng.choice([GRID + SPARE, 256])
            number = some_number(rng, bits)
            x = ball(number, bits)
            (low, high), known = at(function, number, bits)
            value = smooth(function, x)
            assert not value < ball(low, bits), (function, number, bits)
            assert not value > ball(high, bits), (function, number, bits)
            least, most = bend(function, (number, number), known, bits)
            bent = curvature(function, x)
            assert not bent < ball(least, bits), (function, number, bits)
            assert not bent > ball(most, bits), (function, number, bits)
            if abs(number) >> bits < 12:
                assert high - low <= (abs(low) >> bits - 24) + (1 << 24), "they are narrow, too"


def hold_lines(seed: int, count: int) -> None:
    rng = random.Random(seed)
    with ctx.workprec(400):
        for _ in range(count):
            function = rng.choice(FUNCTIONS)
            width = 2.0 ** rng.choice([-63, -40, -20, -10, -5, -2, -1, 0, 1, 2, 3, 5]) * rng.uniform(0.5, 1.5)
            middle = rng.choice([0, 1, -1, 1.4142, -1.4142, 2.3994, -2.3994, -0.7518, -1.2785])
            middle += rng.gauss(0, rng.choice([0, 1e-6, 0.1, 1, 4]))
            low, high = int((middle - width / 2) * 2**GRID), int((middle + width / 2) * 2**GRID)
            high = low if rng.random() < 0.05 else high
            least, most, lower, drop, upper, shift = _bounds(function, low, high)
            for x in [low, high, *(rng.randint(low, high) for _ in range(10))]:
                value = smooth(function, ball(x, GRID))
                below = ball(lower * x - drop * ONE, GRID + 40)
                above = ball(upper * x + shift * ONE, GRID + 40)
                wrong = value < ball(least, GRID), value > ball(most, GRID), value < below, value > above
                assert not any(wrong), (function, low, high, x, wrong)


def test_enclosures_hold_the_values() -> None:
    hold_enclosures(0, 2000)


def test_lines_hold_the_values_between_them() -> None:
    hold_lines(0, 1000)


@pytest.mark.slow
def test_enclosures_and_lines_in_thousands() -> None:
    hold_enclosures(1, 100_000)
    hold_lines(1, 100_000)


def test_products_lie_between_their_planes() -> None:
    rng = random.Random(3)
    for _ in range(300):
        ends = [sorted(int(rng.gauss(0, 1) * 2 ** (GRID + rng.choice([-30, 0, 3]))) for _ in range(2)) for _ in "ab"]
        (first, second), (least, most) = [(pair[0], pair[1]) for pair in ends], (0, 0)
        least, most = _times(first, second, GRID)
        along, across, drop, shift = _planes(first, second)
        for share in ((0, 0), (0, 1), (1, 0), (1, 1), (rng.random(), rng.random())):
            a, b = (x + int((y - x) * t) for (x, y), t in zip(ends, share, strict=True))
            value = Fraction(a * b, 1 << 2 * GRID)
            line = Fraction(along * a + across * b, ONE << GRID)
            assert Fraction(least, 1 << GRID) <= value <= Fraction(most, 1 << GRID)
            assert line - Fraction(drop, 1 << GRID) <= value <= line + Fraction(shift, 1 << GRID)


# ── programs ───────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.mark.parametrize("seed", range(25))
def test_random_graphs(folder: Path, seed: int) -> None:
    """The kernel's layers are the prover's, its bounds and enclosures hold what balls enclose, and what the scribe
    expects of a leaf is no more than the kernel computes."""
    artifact, rng = drawn(seed)
    box = random_box(rng, artifact)
    stated = claim_about(artifact, box)
    theirs, mine = compile_program(stated, {"r": artifact}), kernel_program(stated, {"r": artifact}, folder)
    assert tuple(mine.outputs) == theirs.outputs
    for layer, expected in zip(mine.layers, theirs.layers, strict=True):
        assert layer.kind == expected.kind
        assert getattr(layer, "function", "product") == (expected.function or "product")
        assert dense(layer) == dense_prover(expected)
    points = points_of(rng, box, 4)
    values = [BallProgram(theirs).layers(point, 300) for point in points]
    call = affine_of(Fraction(0), {}, {0: Fraction(1)})
    ends = torch.tensor([[float(side) for side in pair] for pair in box], dtype=torch.float64)
    mirror = Mirror.of(theirs)
    assert mirror is not None
    for effort in (NONE, ROUGHLY, TOGETHER, OPEN, ALL):
        own = Box([lo for lo, _ in box], [hi for _, hi in box])
        rough = effort in (ROUGHLY, TOGETHER)
        bounds = RoughBounds(mine, own, {}, effort, ()) if rough else Bounds(mine, own, {}, effort)
        least, most = bounds.least([(call, Fraction(-1))]), -bounds.least([(call, Fraction(1))])
        for layers in values:
            found = layers[theirs.outputs[0]][0]
            assert found is None or (least <= found[1] and most >= found[0])
            for k, ranges in bounds.ranges.items():
                for j, at_point in enumerate(layers[k] if k >= 0 else ()):
                    assert at_point is None or Fraction(ranges[0][j], 1 << GRID) <= at_point[1]
                    assert at_point is None or Fraction(ranges[1][j], 1 << GRID) >= at_point[0]
        if effort in (NONE, OPEN):
            with torch.no_grad():
                known = mirror.known(ends[None, :, 0], ends[None, :, 1], {}, deep=effort == OPEN)
                expected_bound = mirror.lower(known, mirror.rows([Affine(Fraction(0), (), ((0, Fraction(1)),))]))
            assert float(least) >= float(expected_bound.bound) - float(expected_bound.slack)
    for point in points:
        at_point, whole = Enclosed.of(evaluate(mine, point)[0]), within(artifact, point, 400)
        assert whole is None or max(at_point.low, whole[0]) <= min(at_point.high, whole[1])
        assert at_point.high - at_point.low <= (1 + abs(at_point.low)) / 2**150


def exponential(steepness: float, more: int = 0) -> Artifact:
    """e^(steepness·x), squared again and again."""
    build = Assembly(1)
    node = build.smooth(Exp, build.affine(0, np.array([[steepness]], np.float32), np.zeros(1, np.float32)))
    for _ in range(more):
        node = build.smooth(Square, node)
    done = build.finish(node)
    return Artifact((RewardRecord("s", schema(1)),), done.graph, done.tensors, "exact")


def test_numbers_out_of_reach_are_refused(folder: Path) -> None:
    for artifact in (exponential(1e6), exponential(1.0, more=40)):
        box = ((Fraction(-1), Fraction(1)),)
        program = kernel_program(claim_about(artifact, box), {"r": artifact}, folder)
        with pytest.raises(Refused, match="beyond what this kernel evaluates"):
            Bounds(program, Box([Fraction(-1)], [Fraction(1)]), {}).advance(len(program.layers))
        with pytest.raises(Refused, match="beyond what this kernel evaluates"):
            evaluate(program, [Fraction(1)])


def test_products_of_products_stay_short_at_a_point(folder: Path) -> None:
    """Each has twice as many digits: forty of them would not end."""
    building = Assembly(1)
    layer = building.affine(0, np.float32([[1]]), np.float32([0]))
    for _ in range(40):
        layer = building.product(layer, layer)
    done = building.finish(layer)
    artifact = Artifact((RewardRecord("s", schema(1)),), done.graph, done.tensors, "exact")
    program = kernel_program(claim_about(artifact, ((Fraction(0), Fraction(2)),)), {"r": artifact}, folder)
    (value,) = evaluate(program, [Fraction(1, 3)])
    assert isinstance(value, Enclosed)
    assert value.low <= 0 < value.high <= Fraction(1, 2**200)
    with pytest.raises(Refused, match="beyond what this kernel evaluates"):
        evaluate(program, [Fraction(2)])


# ── certificates ───────────────────────────────────────────────────────────────────────────────
SPEC = """spec smooth v1

features Step {
  x : real in -1 .. 1
  y : real in -1 .. 1
  k : int in 0 .. 3
}

reward R(s: Step)
param top: real = 1
param low: real = -1
param apart: real = 1
param middle: real = 0

must capped:
  forall s: Step
  expect R(s) <= top

must either:
  forall s: Step
  given s.x <= 0 or s.y >= 0.5
  expect R(s) >= low

must close:
  forall a, b: Step varying x
  given a.x <= b.x and b.x <= a.x + 0.05
  expect R(a) - R(b) <= apart and R(b) - R(a) <= apart

must implied:
  forall s: Step
  given R(s) >= middle
  expect R(s) <= top

should tight:
  forall s: Step
  expect R(s) <= low
"""
KINDS = (nn.Tanh, nn.Sigmoid, nn.Softplus, nn.GELU, nn.SiLU, nn.ELU)


class Multiplied(nn.Module):
    """Two heads, multiplied, and a square."""

    def __init__(self, inner: nn.Module, width: int) -> None:
        super().__init__()
        self.inner, self.one, self.other = inner, nn.Linear(width, 1), nn.Linear(width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.inner(x)
        return self.one(h) * self.other(h) + 0.1 * h[:, :1] * h[:, :1]


def net(seed: int) -> tuple[nn.Module, RecordType]:
    rng = np.random.default_rng(seed)
    first, second = (KINDS[int(rng.integers(len(KINDS)))]() for _ in range(2))
    width = int(rng.integers(3, 7))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        body = nn.Sequential(nn.Linear(3, width), first, nn.Linear(width, width), second)
        module = Multiplied(body, width) if seed % 3 == 0 else nn.Sequential(body, nn.Linear(width, 1))
    sides = [Feature(name, "real", Fraction(-1), Fraction(1)) for name in "xy"]
    return module, RecordType("Step", (*sides, Feature("k", "int", Fraction(0), Fraction(3))))


def certified(seed: int, folder: Path) -> tuple[Path, Path]:
    """A certificate of rules of several forms, and its artifact."""
    module, kind = net(seed)
    artifact = from_torch(module, kind)
    rows = np.random.default_rng(seed).uniform(-1, 1, (2000, 3))
    rows[:, 2] = np.random.default_rng(seed).integers(0, 4, 2000)
    with torch.no_grad():
        values = module(torch.tensor(rows, dtype=torch.float32)).numpy()
    spread = max(float(values.max() - values.min()), 0.01)
    params = {"top": values.max() + 0.2 * spread, "low": values.min() - 0.2 * spread, "apart": 0.5 * spread}
    params["middle"] = np.median(values)
    folder.mkdir()
    (folder / "s.rwd").write_text(SPEC)
    spec = rw.load_spec(folder / "s.rwd", params={name: round(float(x), 6) for name, x in params.items()})
    result = rw.verify(spec, R=artifact)
    assert {r.rule: str(r.verdict) for r in result.rules} == {
        **dict.fromkeys(("capped", "either", "close", "implied"), "proved"),
        "tight": "violated",
    }
    rw.certify(result, out=folder / "certificate")
    save_artifact(artifact, folder / "reward")
    found = rw.check_certificate(folder / "certificate", reward=folder / "reward", spec=spec)
    assert found.accepted, found.problems
    return folder / "certificate", folder / "reward"


def accepted_bare(certificate: Path, reward: Path) -> None:
    """By the kernel alone: no packages, no environment."""
    command = [sys.executable, "-I", "-S", str(kernel_check.__file__), str(certificate), "--reward", str(reward)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("kernel_smooth") >= 5


@pytest.mark.parametrize("seed", [1, 6])
def test_certificates_of_smooth_rewards(seed: int, tmp_path: Path) -> None:
    certificate, reward = certified(seed, tmp_path / "c")
    accepted_bare(certificate, reward)
    report = check(certificate, {"": reward})
    assert {c.rule: c.verdict for c in report.claims}["tight"] == "violated"
    assert all("kernel_smooth" in c.files for c in report.claims)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 30))
def test_many_certificates_of_smooth_rewards(seed: int, tmp_path: Path) -> None:
    accepted_bare(*certified(seed, tmp_path / "c"))


# ── forgeries ──────────────────────────────────────────────────────────────────────────────────
def case_of(function: str, folder: Path) -> Case:
    """A cap with a sixty-fourth or two to spare, proved by asking the kernel."""
    rng = np.random.default_rng(5)
    build = Assembly(2)

    def weights(m: int, n: int) -> tuple[np.ndarray, np.ndarray]:
        return (rng.normal(size=(m, n)) * 1.2).astype(np.float32), rng.normal(size=m).astype(np.float32)

    h = build.affine(0, *weights(3, 2))
    if function == "product":
        h = build.product(h, build.affine(0, *weights(3, 2)))
    else:
        h = build.smooth(next(k for k in _smooth_kinds() if k.function == function), h)
    done = build.finish(build.affine(h, *weights(1, 3)))
    artifact = Artifact((RewardRecord("s", schema(2)),), done.graph, done.tensors, "exact")
    stated = claim({"R": artifact.digest}, [("R", [0, 1])], [[atom(form(0, {}, {0: -1}))]], [[(-1, 1), (-1, 1)]])
    stated["goals"][0][0]["affine"]["constant"] = str(shortfall(stated, {"R": artifact}, Fraction(1, 32)))
    return Case(stated, prove(stated, {"R": artifact}, folder, depth=12), {"R": artifact})


def _smooth_kinds() -> tuple[type, ...]:
    from rewarden.reward.graph import SMOOTH

    return SMOOTH


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    place = tmp_path_factory.mktemp("cases")
    return {function: case_of(function, place) for function in ("tanh", "gelu", "product")}


def verdict_of(case: Case, folder: Path) -> str:
    paths = case.rebind().write(folder / "certificate")
    (told,) = check(folder / "certificate", paths).claims
    return told.verdict


def attacked(case: Case, seed: int, folder: Path) -> str:
    rng, forged = random.Random(seed), case.copy()
    chosen = [rng.choice(PROOF) for _ in range(rng.choice([0, 1, 1, 2]))]
    chosen += [rng.choice(CLAIM) for _ in range(rng.choice([0, 1, 1]) if chosen else 1)]
    for mutate in chosen:
        with suppress(IndexError, KeyError, TypeError, ValueError):
            mutate(rng, forged)
    paths = forged.rebind().write(folder / str(seed) / "certificate")
    verdicts = [c.verdict for c in check(folder / str(seed) / "certificate", paths).claims]
    if verdicts != ["proved"]:
        return "refused"
    assert counterexample(forged.claim, forged.artifacts) is None, (seed, [m.__name__ for m in chosen])
    return "accepted"


@pytest.mark.parametrize("function", ["tanh", "gelu", "product"])
def test_changed_proofs_prove_nothing_false(proved: dict[str, Case], function: str, tmp_path: Path) -> None:
    assert verdict_of(proved[function].copy(), tmp_path / "honest") == "proved"
    outcomes = Counter(attacked(proved[function], seed, tmp_path) for seed in range(40))
    assert outcomes["refused"] > 10
    assert outcomes["accepted"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("function", ["tanh", "gelu", "product"])
def test_changed_proofs_in_hundreds(proved: dict[str, Case], function: str, tmp_path: Path) -> None:
    for seed in range(1000, 1700):
        attacked(proved[function], seed, tmp_path)


@pytest.mark.parametrize("function", ["tanh", "gelu", "product"])
def test_a_false_cap_stays_unproved(proved: dict[str, Case], function: str, tmp_path: Path) -> None:
    """Lower by a little more than it has to spare."""
    forged = proved[function].copy()
    constant = forged.claim["goals"][0][0]["affine"]
    constant["constant"] = str(Fraction(constant["constant"]) - Fraction(1, 16))
    assert counterexample(forged.claim, forged.artifacts) is not None
    assert verdict_of(forged, tmp_path) == "refused"


def test_a_point_at_which_nothing_is_certain_shows_nothing(proved: dict[str, Case], tmp_path: Path) -> None:
    """The cap is put next to the value at a point, nearer than enclosures are wide, and onto the other side of it."""
    point = ["1/3", "-1/7"]
    for offset, verdict in ((Fraction(1, 2**300), "refused"), (Fraction(-1, 2**300), "refused"), (-1, "violated")):
        forged = proved["tanh"].copy()
        found = within(forged.artifacts["R"], [Fraction(x) for x in point], 1500)
        assert found is not None
        forged.claim["goals"][0][0]["affine"]["constant"] = str(
            (found[0] * 2**500).__floor__() / Fraction(2**500) + offset
        )
        forged.proof = {"format": "rewarden-counterexample", "format_version": 1, "claim": "",
                        "witness": {"box": 0, "point": point}}  # fmt: skip
        assert verdict_of(forged, tmp_path / str(offset).replace("/", "_")) == verdict


def test_a_premise_that_is_not_certain_is_no_premise(proved: dict[str, Case], tmp_path: Path) -> None:
    forged = proved["tanh"].copy()
    point = forged.proof["witness"]["point"]
    found = within(forged.artifacts["R"], [Fraction(x) for x in point], 1500)
    assert found is not None
    level = (found[0] * 2**400).__floor__() / Fraction(2**400)  # R > level there, by less than anything enclosed
    forged.claim["clauses"] = [[atom(form(-level, {}, {0: 1}))]]
    assert verdict_of(forged, tmp_path) == "refused"


def test_signs_are_certain_or_refused() -> None:
    """Numbers that are enclosed are compared with 0 alone, which is what points are judged by."""
    around, above = Enclosed(Fraction(-1, 2**99), Fraction(1)), Enclosed(Fraction(1, 2**99), Fraction(1))
    assert (above > 0, above < 0, above == 0, max(above, 0)) == (True, False, False, above)
    assert Enclosed.of(Fraction(0)) == 0
    assert (around + 1) * Fraction(-1) < 0
    for doubtful in (lambda: around > 0, lambda: around == 0, lambda: above > above, lambda: above > 1):
        with pytest.raises(Refused, match="cannot be told"):
            doubtful()


@pytest.mark.parametrize("goal", [0, 1])
def test_rows_of_smooth_rewards_are_counted_where_they_are_certain(
    proved: dict[str, Case], goal: int, tmp_path: Path
) -> None:
    data = b'{"columns":["x","y"],"rows":1}\n' + np.array([0.0, 0.0]).tobytes()
    forged = proved["tanh"].copy()
    found = within(forged.artifacts["R"], [Fraction(0), Fraction(0)], 1500)
    assert found is not None
    if goal:  # nearer to the value than it is known
        level = (found[0] * 2**400).__floor__() / Fraction(2**400)
        forged.claim["goals"] = [[atom(form(-level, {}, {0: 1}))]]
    forged.claim["boxes"] = []
    forged.claim["rows"] = {"columns": [0, 1], "count": 1, "share": None, "tables": [digest(data)]}
    forged.proof = {"format": "rewarden-recount", "format_version": 1, "claim": "",
                    "count": {"holding": 1, "kept": 1, "first": None}}  # fmt: skip
    paths = forged.rebind().write(tmp_path / "certificate")
    (tmp_path / "certificate" / "tables").mkdir()
    (tmp_path / "certificate" / "tables" / f"{digest(data)[7:]}.bin").write_bytes(data)
    report = check(tmp_path / "certificate", paths)
    assert report.problem is None
    (told,) = report.claims
    assert told.verdict == ("refused" if goal else "proved")


def test_a_smooth_neuron_has_no_slope_to_choose(proved: dict[str, Case], tmp_path: Path) -> None:
    """A slope that is named changes nothing: the proof stays as good, and one that is not stays as bad."""
    forged = proved["gelu"].copy()
    for tree in forged.proof["goals"][0]:
        for node in tree:
            if node[0] == "leaf":
                node[3] = [[2, k, 256] for k in range(3)]
    assert json.dumps(forged.proof) != json.dumps(proved["gelu"].proof)
    assert verdict_of(forged, tmp_path) == "proved"
