"""What is said of a rule that was stopped: where it is open, whatever its kind, and that its violations are there."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import rewarden as rw
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang import Spec, boxes, parse_spec
from rewarden.spec_lang.boxes import RowBoxes
from rewarden.verifier.bind import bind
from rewarden.verifier.executed import _exact_columns, is_binary32
from rewarden.verifier.inline import compile_program
from rewarden.verifier.loops.bounds import Binding
from rewarden.verifier.loops.local import trace_chains
from rewarden.verifier.loops.maxplus import Trellis
from rewarden.verifier.loops.partition import first_cells
from rewarden.verifier.loops.unrolled import columns_of
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.region_words import EVERYTHING, NUMBERS, Part, described, described_rows
from rewarden.verifier.regions import Frame, OpenBoxes, Region
from rewarden.verifier.steps import verify_lengths
from rewarden.verifier.verdict import Reason, RuleResult, Verdict

TEXT = """spec stopped v1
features S { x : real in -1 .. 1, y : real in -1 .. 1, n : int in 0 .. 3, w : enum { a, b, c } }
reward R(s: S)
relation step(a: S, b: S) = |a.x - b.x| <= 0.5 and a.n == b.n and a.w == b.w
"""
KINDS = {
    "forall": "forall s: S expect R(s) <= {level}",
    "two records": "forall a, b: S varying x given a.x <= b.x expect R(a) <= R(b) + {level}",
    "near": "forall s: S near d within {{x = 0.6, y = 0.6, n = 1}} expect R(s) <= {level}",
    "away": "forall s: S not near d within {{x = 0.1, y = 0.1, n = 0}} expect R(s) <= {level}",
    "short trace": "trace t: S of 2 steps via step expect sum(R(t)) <= 2 * {level}",
    "short traces": "trace t: S within 3 steps via step expect sum(R(t)) <= 3 * {level}",
    "long traces": "trace t: S within 8 steps via step expect sum(R(t)) <= 8 * {level}",
    "cycle": "cycle t: S via step expect sum(R(t) - {level}) <= 0",
}


@cache
def reward() -> Artifact:
    torch.manual_seed(3)
    net = torch.nn.Sequential(
        torch.nn.Linear(6, 12), torch.nn.ReLU(), torch.nn.Linear(12, 12), torch.nn.ReLU(), torch.nn.Linear(12, 1)
    )
    return rw.from_torch(net, parse_spec(TEXT).features["S"])


def rule_of(kind: str, folder: Path, level: str = "0.35") -> Spec:
    (folder / "rows.csv").write_text("x,y,n,w\n-0.5,0.5,1,a\n0.25,-0.5,2,b\n0.5,0.75,3,c\n")
    text = TEXT + 'data d: S from "rows.csv"\nmust r: ' + KINDS[kind].format(level=level) + "\n"
    (folder / "stopped.rwd").write_text(text)
    return rw.load_spec(folder / "stopped.rwd")


def stopped_after(spec: Spec, asked: int, **options: object) -> RuleResult:
    calls = iter(range(10**9))
    chosen = VerifyOptions(falsify_budget=60, **options)  # type: ignore[arg-type]
    return rw.verify(spec, chosen, R=reward(), stop=lambda: next(calls) >= asked)["r"]


@pytest.mark.parametrize("semantics", ["real", "float32"])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_rule_tells_where_it_is_open(tmp_path: Path, kind: str, semantics: str) -> None:
    if (kind, semantics) == ("away", "float32"):
        semantics = "real"
    spec = rule_of(kind, tmp_path)
    seen = 0
    for asked in (0, 1, 12, 40):
        found = stopped_after(spec, asked, semantics=semantics)
        if found.stopped:
            seen += 1
            assert found.unsettled is not None
            assert found.unsettled.parts
            assert sum(part.share for part in found.unsettled.parts) > 0
        else:
            assert found.verdict is not Verdict.UNKNOWN or found.reason != Reason.STOPPED
    assert seen >= 2


@pytest.mark.parametrize("engine", ["auto", "differences", "cells", "neurons", "lp", "z3", "falsify"])
def test_every_engine_tells_where_it_is_open(tmp_path: Path, engine: str) -> None:
    for kind in ("forall", "two records", "near", "short traces", "long traces"):
        found = stopped_after(rule_of(kind, tmp_path), 6, engine=engine)
        if found.verdict is Verdict.UNKNOWN:
            assert found.unsettled is not None, (kind, engine, found.reason)


def holds(part: Part, record: dict[str, object]) -> bool:
    """Whether a record is in a part of a region, by what its JSON says."""
    for name, side in part.sides.items():
        value = record[name.rpartition(".")[2]]  # of every record, where there are several
        if isinstance(side, list):
            if str(value) not in side:
                return False
        elif not Fraction(side["exact"][0]) <= Fraction(str(value)) <= Fraction(side["exact"][1]):
            return False
    return True


@pytest.mark.parametrize("kind", ["forall", "long traces", "cycle"])
def test_what_breaks_a_rule_lies_where_it_is_open(tmp_path: Path, kind: str) -> None:
    """The record, or the records of a loop that pays; those of a trace that is as long as any may be."""
    net = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    with torch.no_grad():  # a peak of 1 at x = 0.3, y = -0.6, n = 2, w = b, and at most 0 where any is far off
        net[0].weight[:] = torch.tensor([
            [4.0, 0, 0, 0, 0, 0], [-4.0, 0, 0, 0, 0, 0], [0, 4.0, 0, 0, 0, 0], [0, -4.0, 0, 0, 0, 0]
        ])  # fmt: skip
        net[0].bias[:] = torch.tensor([-1.2, 1.2, 2.4, -2.4])
        net[2].weight.fill_(-1.0)
        net[2].bias.fill_(1.0)
    artifact = rw.from_torch(net, parse_spec(TEXT).features["S"])
    spec = rule_of(kind, tmp_path, level="0.9")
    peak = {"x": Fraction(3, 10), "y": Fraction(-6, 10), "n": 2, "w": "b"}
    told = 0
    for budget in (20, 120):
        options = VerifyOptions(engine="bounds", budget=budget, falsify_budget=0)
        found = rw.verify(spec, options, R=artifact)["r"]
        if found.verdict is not Verdict.UNKNOWN or found.unsettled is None or found.unsettled.more:
            continue
        told += 1
        assert any(holds(part, peak) for part in found.unsettled.parts), budget
    assert told >= 1


def test_cells_that_no_path_exceeds_are_not_told(tmp_path: Path) -> None:
    """The region of open traces is not just everything: most cells of a peak's surroundings are settled."""
    net = torch.nn.Sequential(torch.nn.Linear(6, 1))
    with torch.no_grad():
        net[0].weight[:] = torch.tensor([[1.0, 0, 0, 0, 0, 0]])
        net[0].bias.fill_(0.0)
    artifact = rw.from_torch(net, parse_spec(TEXT).features["S"])
    spec = rule_of("long traces", tmp_path, level="0.9999")
    lowered = spec.obligations_of("r")[-1]
    columns, box = columns_of(lowered)
    cells = first_cells(box, spec.features["S"])
    assert cells is not None
    trellis = Trellis(trace_chains(lowered), cells, Binding({"R": artifact}, {}, columns, box))
    outcome = trellis.run(3_000, lambda *_: None, lambda: False)
    assert not all(outcome.settled)
    assert outcome.left is not None
    assert 0 < len(outcome.left) < outcome.cells
    assert outcome.left.hi[:, 0].max() == 1.0  # where the reward is highest
    assert outcome.left.lo[:, 0].min() > -1.0  # and not where it is lowest


@cache
def head() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(300, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))


def near_many(folder: Path) -> tuple[Spec, Artifact]:
    """300 rows of 300 columns, near four fifths of which and more the reward is more than it may be."""
    values = np.random.default_rng(1).uniform(-0.5, 0.5, (300, 300)).astype(np.float32)
    np.savez(folder / "rows.npz", e=values)
    with torch.no_grad():
        level = float(head()(torch.from_numpy(values)).quantile(0.2))
    (folder / "wide.rwd").write_text(
        "spec wide v1\nfeatures E { e: real ^ 300 in -1 .. 1 }\nreward R(x: E)\n"
        f'data d: E from "rows.npz"\nmust r: forall x: E near d within 0.002 expect R(x) <= {level:.9f}\n'
    )
    spec = rw.load_spec(folder / "wide.rwd")
    return spec, rw.from_torch(head(), spec.features["E"])


def test_many_rows_are_told_by_their_numbers(tmp_path: Path) -> None:
    spec, artifact = near_many(tmp_path)
    claim = bind(spec, "r", {"R": artifact})
    assert described_rows(claim, range(300)) is EVERYTHING
    told = described_rows(claim, [4, 17, *range(20, 40)])
    assert told.lines()[0] == "near row 5 of d, all of it: 0.33 % of the region"
    assert len(told.parts) == 8
    assert told.more == 14


def test_rows_that_are_open_are_told_where_their_numbers_are_too_many_for_regions(tmp_path: Path) -> None:
    spec, artifact = near_many(tmp_path)
    found = rw.verify(spec, VerifyOptions(engine="neurons", budget=300, falsify_budget=0), R=artifact)["r"]
    assert found.verdict is Verdict.UNKNOWN
    assert 0 < found.coverage < 1
    assert found.unsettled is not None
    open_ = round(300 * (1 - found.coverage))
    assert open_ * 300 > NUMBERS
    assert found.unsettled.boxes == open_
    assert found.unsettled.parts[0].words.startswith("near row ")
    assert found.unsettled.parts[0].share == Fraction(1, 300)


def test_a_stop_makes_no_boxes_of_rows_that_are_not_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In rationals, 20,000 rows took ten seconds after the stop."""
    rule_of("near", tmp_path)
    (tmp_path / "rows.csv").write_text("x,y,n,w\n" + "".join(f"{k / 12_000},0.5,1,a\n" for k in range(12_000)))
    spec = rw.load_spec(tmp_path / "stopped.rwd")
    made: list[int] = []
    exact = boxes._row_box

    def counted(obligation: object, instances: object, ranges: object, row: int) -> object:
        made.append(row)
        return exact(obligation, instances, ranges, row)  # type: ignore[arg-type]

    monkeypatch.setattr(boxes, "_row_box", counted)
    for asked in (1, 8):
        found = stopped_after(spec, asked)
        assert found.stopped
        assert found.unsettled is EVERYTHING
    assert len(made) < 30
    made.clear()
    claim = bind(spec, "r", {"R": reward()})
    few = OpenBoxes.of([(row, claim.boxes[row]) for row in (4, 17)], len(claim.variables))
    told = described(Region.of_floats(Frame.of(claim, spec.features), few))
    assert sorted(part.instance for part in told.parts) == [4, 17]
    assert told.parts[0].share == Fraction(1, 12_000)
    assert set(made) <= {4, 17, 0}


def test_lengths_that_nobody_came_to_are_open() -> None:
    spec = parse_spec(TEXT + "must r: trace t: S within 4 steps via step expect sum(R(t)) <= 4\n")
    asked: list[object] = []

    def decide(obligation: object) -> RuleResult:
        asked.append(obligation)
        return RuleResult(rule="r", severity="must", verdict=Verdict.PROVED, reason="", coverage=1.0)

    found = verify_lengths(spec.obligations_of("r"), decide, lambda: len(asked) >= 2)
    assert len(asked) == 2
    assert found.stopped
    assert found.coverage == 0.5
    assert found.proof is None
    assert found.unsettled is EVERYTHING
    assert "Open for traces of 3 steps, 4 steps." in found.reason


# ── what fixes a variable, near many rows ──────────────────────────────────────────────────────
@pytest.mark.parametrize("radius", ["{x = 0, y = 0.1, n = 1}", "{x = 0.1, y = 0, n = 0}", "5 %"])
@pytest.mark.parametrize("rows", ["0.5,0.25,1,a", "0.1,0.25,3,c", "1,-1,0,b", "-1,0.3,2,a\n0.5,0.5,2,a"])
def test_variables_that_rows_fix_are_found_as_box_by_box(tmp_path: Path, radius: str, rows: str) -> None:
    """Rows are looked at as floats: no variable is missed that some box fixes off binary32."""
    (tmp_path / "rows.csv").write_text(f"x,y,n,w\n{rows}\n")
    (tmp_path / "s.rwd").write_text(
        TEXT + f'data d: S from "rows.csv"\nmust r: forall s: S near d within {radius} expect R(s) <= 9\n'
    )
    spec = rw.load_spec(tmp_path / "s.rwd")
    claim = bind(spec, "r", {"R": reward()})
    assert isinstance(claim.boxes, RowBoxes)
    exact = _exact_columns(claim, {})
    arguments = compile_program(claim, {"R": reward()}).claim.calls[0].arguments
    off = {i for box in claim.boxes for i, (lo, hi) in enumerate(box) if lo == hi and not is_binary32(lo)}
    for i, argument in enumerate(arguments):
        assert not (exact(argument) and i in off)
        if i not in off and radius != "5 %":
            assert exact(argument), i
