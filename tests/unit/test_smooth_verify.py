"""Rules about smooth rewards, from the spec to the verdict: data constants, rows, engines, words."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from torch import nn

import rewarden as rw
from rewarden.cli import run
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.assembly import Assembly
from rewarden.reward.balls import within
from rewarden.reward.enclosed_statistics import enclosed_statistic
from rewarden.reward.graph import Exp
from rewarden.reward.statistics import statistic
from rewarden.reward.store import save_artifact
from rewarden.reward.torch_import import from_torch
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier.bind import bind
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.portfolio import verify
from rewarden.verifier.verdict import Reason, Verdict

SPEC = """spec smooth v1

features Step {
  x : real in -1 .. 1
  y : real in -1 .. 1
}

reward R(s: Step)
data d: Step from "d.csv"
param top: real = 1

must capped:
  forall s: Step
  given s.x <= 0
  expect R(s) <= top

must rising:
  forall a, b: Step varying x
  given a.x <= b.x
  expect R(a) <= R(b) + 0.001

must like_data:
  forall s: Step near d within 0.001
  expect R(s) <= max(R(d)) + 0.01

must best_row:
  forall s: Step near d within 0.001
  expect R(s) < max(R(d)) - 10

must rows:
  forall s in d
  expect R(s) <= max(R(d))

must some_rows:
  forall s in d
  expect share(R(s) > mean(R(d))) >= 0.9

should itself:
  forall s: Step
  expect R(s) <= R(s)
"""
ROWS = np.array([[0.25, -0.5], [0.75, 0.5], [-0.3, 0.9], [0.0, 0.0]])


def step() -> RecordType:
    sides = (Feature("x", "real", Fraction(-1), Fraction(1)), Feature("y", "real", Fraction(-1), Fraction(1)))
    return RecordType("Step", sides)


def network(layer: nn.Module, width: int = 5) -> Artifact:
    """Rising in x."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        module = nn.Sequential(nn.Linear(2, width), layer, nn.Linear(width, 1))
        with torch.no_grad():
            module[0].weight[:, 0].abs_()
            module[2].weight.abs_()
    return from_torch(module, step())


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    np.savetxt(tmp_path / "d.csv", ROWS, delimiter=",", header="x,y", comments="")
    path = tmp_path / "smooth.rwd"
    path.write_text(SPEC)
    return path


@pytest.mark.parametrize("layer", [nn.Tanh(), nn.Sigmoid(), nn.Softplus(), nn.ELU()])
def test_verdicts(spec, layer):
    artifact = network(layer)
    options = VerifyOptions(falsify_budget=6_000)
    result = {r.rule: r for r in verify(rw.load_spec(spec), {"R": artifact}, options).rules}
    assert {name: r.verdict.value for name, r in result.items()} == {
        "capped": "proved" if not isinstance(layer, nn.Softplus) else "violated",
        "rising": "proved",
        "like_data": "proved",
        "best_row": "violated",
        "rows": "unknown",
        "some_rows": "violated",
        "itself": "proved",
    }
    assert result["rising"].reason == Reason.SMOOTH_BOUNDS
    owed = {"rising", "itself", "like_data", *(name for name in ("capped",) if result[name].verdict is Verdict.PROVED)}
    assert {name for name, r in result.items() if r.proof is not None} == owed
    assert result["rising"].premise_witness is not None
    witness = result["best_row"].witness
    assert witness is not None
    (call,) = witness.calls
    assert call.radius is not None
    assert 0 < call.radius < Fraction(1, 2**90)
    found = within(artifact, witness.point[:2], 512)
    assert found is not None
    assert call.exact - call.radius <= found[0]
    assert found[1] <= call.exact + call.radius
    assert "irrational" in result["rows"].reason  # the largest row, against itself: no precision decides that


def test_what_no_precision_decides_is_unknown(spec):
    """A cap at the value that the reward takes at 0 exactly is a tie of rationals; at another point it cannot be."""
    artifact = network(nn.Tanh())
    found = within(artifact, [Fraction(1), Fraction(-1)], 3000)
    assert found is not None
    ready = rw.load_spec(spec, params={"top": found[0]})
    result = verify(ready, {"R": artifact}, VerifyOptions(budget=300), rules=["capped"])
    assert result.rules[0].verdict is Verdict.PROVED  # that is the top of x = 1, and the rule asks about x <= 0


def test_engines_that_know_no_curves_say_so(spec):
    artifact = network(nn.Tanh())
    ready = rw.load_spec(spec)
    for engine in ("cells", "z3"):
        (result,) = verify(ready, {"R": artifact}, VerifyOptions(engine=engine), rules=["rising"]).rules
        assert (result.verdict, result.reason) == (Verdict.UNKNOWN, Reason.SMOOTH)
    (result,) = verify(ready, {"R": artifact}, VerifyOptions(semantics="float32"), rules=["rising"]).rules
    assert result.verdict is Verdict.UNKNOWN


def exponential(steepness: float) -> Artifact:
    """exp(steepness·x)."""
    build = Assembly(2)
    inner = build.affine(0, np.array([[steepness, 0.0]], np.float32), np.zeros(1, np.float32))
    done = build.finish(build.smooth(Exp, inner))
    return Artifact((RewardRecord("s", step()),), done.graph, done.tensors, "exact")


def test_an_overflow_is_told_as_such(spec):
    ready = rw.load_spec(spec)
    (result,) = verify(ready, {"R": exponential(-300.0)}, rules=["capped"]).rules
    assert (result.verdict, result.reason, result.non_finite) == (Verdict.UNKNOWN, Reason.NON_FINITE, True)


@pytest.mark.parametrize("steepness", [5e3, 1e30])
def test_values_out_of_all_reach_are_decided_by_nobody(spec, steepness):
    """e^(-10^30) is a number, and no rational in reach."""
    artifact = exponential(-steepness)
    assert within(artifact, [Fraction(-1), Fraction(0)], 128) is None
    low = within(artifact, [Fraction(1), Fraction(0)], 128)
    assert low is not None
    assert 0 <= low[0] < low[1] < Fraction(1, 2**4000)
    with pytest.raises(Unsupported) as caught:
        enclosed_statistic(artifact, np.array([[-1.0, 0.0]]), "mean")
    assert caught.value.code == "X24"
    results = verify(rw.load_spec(spec), {"R": artifact}, VerifyOptions(budget=200, falsify_budget=500)).rules
    assert all(r.verdict in (Verdict.UNKNOWN, Verdict.PROVED, Verdict.VIOLATED) for r in results)


def test_a_module_that_overflows_is_not_imported():
    class Huge(nn.Module):
        def forward(self, x):
            return torch.exp(x[:, 0] * 4096.0)

    with pytest.raises(Unsupported) as caught:
        from_torch(Huge(), step())
    assert caught.value.code == "X23"
    assert "computes inf on a record" in caught.value.message
    assert "narrow the features' ranges" in (caught.value.help or "")


def test_commands(spec, capsys):
    folder = spec.parent
    save_artifact(network(nn.Tanh()), folder / "reward")
    report = folder / "out.json"
    reward = ["--reward", f"R={folder / 'reward'}"]
    status = run(["verify", str(spec), *reward, "--json", str(report), "--rule", "best_row"])
    out = capsys.readouterr().out
    assert status == 1
    assert " enclosed, " in out
    assert "exactly, " not in out
    found = json.loads(report.read_text())
    schema = json.loads((Path(rw.__file__).resolve().parents[1] / "docs/schemas/result.schema.json").read_text())
    jsonschema.validate(found, schema)
    (told,) = found["rules"][0]["witness_details"]["rewards"]
    assert Fraction(told["within"]) < Fraction(1, 2**90)
    assert run(["verify", str(spec), *reward, "--json", str(report), "--rule", "rising"]) == 0
    assert "can be certified" in json.loads(report.read_text())["rules"][0]["reason"]


def test_constants_that_are_no_rationals_are_variables_of_a_claim(spec, tmp_path):
    """In a claim a constant is any number between two that enclose it; who checks it computes these two again."""
    ready, reward = rw.load_spec(spec), network(nn.Tanh())
    result = rw.verify(ready, rules=["like_data", "best_row"], R=reward)
    rw.certify(result, out=tmp_path / "certificate")
    rw.save_reward(reward, tmp_path / "R.rwz")
    found = rw.check_certificate(tmp_path / "certificate", reward=tmp_path / "R.rwz", spec=ready)
    assert {c.rule: c.verdict for c in found.kernel.claims} == {"like_data": "proved", "best_row": "violated"}
    values = [within(reward, [Fraction(float(v)) for v in row], 400) for row in ROWS]
    for claim in json.loads((tmp_path / "certificate" / "claims.json").read_bytes())["claims"]:
        (place,) = [k for k, v in enumerate(claim["variables"]) if v["name"] == "max(R(d))"]
        assert place not in claim["records"][0]["variables"]
        assert claim["rewards"] == {"R": reward.digest}
        ends = {tuple(map(Fraction, box[place])) for box in claim["boxes"]}
        ((low, high),) = ends
        assert low <= max(lo for lo, _ in values) <= max(hi for _, hi in values) <= high <= low + Fraction(1, 2**63)
        told = {c["text"]: Fraction(c["value"]) for c in claim["constants"]}
        assert told == {"lower end of max(R(d))": low, "upper end of max(R(d))": high}
    (tmp_path / "d.csv").write_text((tmp_path / "d.csv").read_text() + "0.5,0.5\n")
    other = rw.check_certificate(tmp_path / "certificate", reward=tmp_path / "R.rwz", spec=rw.load_spec(spec))
    assert any("like_data" in problem for problem in other.problems), "a row more may be another constant"


def test_a_mean_of_too_many_rows_to_be_known_closely_has_no_claim(spec, monkeypatch):
    """Its enclosures are of binary64, and may be others on another machine."""
    monkeypatch.setattr("rewarden.reward.enclosed_statistics.PATIENCE", 3)
    text = spec.read_text() + "\nshould average:\n  forall s: Step\n  expect R(s) <= mean(R(d)) + 100\n"
    spec.write_text(text)
    ready, reward = rw.load_spec(spec), network(nn.Tanh())
    (told,) = rw.verify(ready, rules=["average"], R=reward).rules
    assert (told.verdict, told.claim, told.proof) == ("proved", None, None)
    assert told.reason.endswith("no proof to certify: a mean of a smooth reward over so many rows is not known closely "
                                "enough for a claim.")  # fmt: skip
    with pytest.raises(Unsupported) as caught:
        bind(ready, "average", {"R": reward})
    assert caught.value.code == "X24"


def test_data_constants_are_enclosed():
    artifact = network(nn.GELU())
    rng = np.random.default_rng(1)
    rows = rng.uniform(-1, 1, (40, 2))
    rows = np.concatenate([rows, rows[:7]])
    values = sorted(within(artifact, [Fraction(v) for v in row], 600) for row in rows.tolist())
    for kind, level, place in (("min", None, 0), ("max", None, 46), ("quantile", Fraction(1, 3), 15)):
        lo, hi = enclosed_statistic(artifact, rows, kind, level)
        assert lo <= values[place][1]
        assert hi >= values[place][0]
        assert hi - lo < Fraction(1, 2**200)
    lo, hi = enclosed_statistic(artifact, rows, "mean")
    assert lo <= sum(v[1] for v in values) / 47
    assert hi >= sum(v[0] for v in values) / 47
    with pytest.raises(Unsupported) as caught:
        statistic(artifact, rows, "max")
    assert caught.value.code == "X24"


def test_a_smooth_reward_is_patched(spec):
    """The patch's own bounds know smooth layers, and the rule is proved of the patched reward."""
    ready = rw.load_spec(spec)
    patched = rw.patch(ready, rules=["capped"], R=network(nn.Softplus()))
    result = rw.verify(ready, rules=["capped"], R=patched.artifact)
    assert result["capped"].verdict == "proved"
