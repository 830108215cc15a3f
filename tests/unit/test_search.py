"""The search where no engine decides: what it shows is a record that can be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rewarden.reward.torch_import import from_torch
from rewarden.spec_lang import Spec, parse_spec
from rewarden.verifier.portfolio import verify
from rewarden.verifier.search import in_domain
from rewarden.verifier.verdict import Verdict


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    (tmp_path / "d.csv").write_text("n,x\n0,0\n2,0.5\n")
    text = """spec whole v1
features S { n: int in -3 .. 3  x: real in 0 .. 1 }
reward R(s: S)
data d: S from "d.csv"
must below: forall s: S near d within {n = 1 / 2} in l2 given s.n < anchor(s).n expect R(s) >= 1000
must around: forall s: S near d within {n = 1, x = 1 / 4} in l2 expect R(s) >= 1000
must never: forall s: S near d within {n = 1, x = 1 / 4} in l2 expect R(s) >= -1000
"""
    return parse_spec(text, "whole.rwd", base=tmp_path)


def test_a_witness_has_whole_numbers_where_they_are_declared(spec: Spec) -> None:
    torch.manual_seed(0)
    result = verify(spec, {"R": from_torch(torch.nn.Linear(2, 1), (("s", spec.features["S"]),))})
    assert result["below"].verdict is not Verdict.VIOLATED  # no whole number is that near and below
    witness = result["around"].witness
    assert result["around"].verdict is Verdict.VIOLATED
    assert witness is not None
    assert witness.point[0].denominator == 1


def test_points_outside_ranges_balls_or_the_whole_numbers_are_none(spec: Spec) -> None:
    obligation = spec.obligation("around")  # s.n, s.x, anchor(s).n, anchor(s).x
    assert in_domain(obligation, np.array([1.0, 0.25, 2.0, 0.5]))
    assert not in_domain(obligation, np.array([1.5, 0.25, 2.0, 0.5]))
    assert not in_domain(obligation, np.array([0.0, 0.25, 2.0, 0.5]))
    assert not in_domain(obligation, np.array([0.0, -0.25, 0.0, 0.0]))
    assert not in_domain(obligation, np.array([1.0, 0.25, 1.0, 0.25]))


def test_a_stop_ends_it_between_points(spec: Spec) -> None:
    """Of premises that no engine knows points are judged in fractions: a time limit is asked for among them."""
    torch.manual_seed(0)
    reward = from_torch(torch.nn.Linear(2, 1), (("s", spec.features["S"]),))
    asked = [0]

    def stop() -> bool:
        asked[0] += 1
        return asked[0] > 3

    whole = verify(spec, {"R": reward}, rules=["never"])["never"]
    cut = verify(spec, {"R": reward}, rules=["never"], stop=stop)["never"]
    assert (whole.verdict, cut.verdict) == (Verdict.UNKNOWN, Verdict.UNKNOWN)
    assert cut.stopped
    assert not whole.stopped
    assert cut.work.points < whole.work.points
    assert cut.reason.startswith("Stopped before everything was settled. There is no engine for this rule: ")
