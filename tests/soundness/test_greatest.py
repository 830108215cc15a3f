"""Upper bounds over many boxes at once: of every execution, and the greatest as good as if none had been left out."""

from __future__ import annotations

from fractions import Fraction
from math import isfinite

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rewarden.reward.deployed import forward
from rewarden.reward.exact import evaluate_row
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier import extremum
from rewarden.verifier.executed import compile_executed
from rewarden.verifier.extremum import certified_extremum_over
from rewarden.verifier.inline import compile_program
from rewarden.verifier.rounding import outward
from rewarden.verifier.wide import greatest
from rewarden.verifier.wide.bounds import all_rows, default_lines, known_by_intervals, lower_rows
from rewarden.verifier.wide.formats import DOUBLE, SINGLE
from rewarden.verifier.wide.network import network_of, rows_of
from rewarden.verifier.wide.sharpen import sharpened
from tests.reference.executions import Execution
from tests.reference.random_graphs import random_artifact, random_mlp, random_rows
from tests.reference.random_programs import form
from tests.soundness.test_executed_bounds import claim_about, points_in, random_box, rescaled

seeds = st.integers(0, 2**32 - 1)
MANY = RecordType("Many", (Feature("e", "real", Fraction(-1), Fraction(1), size=30),))


def plain(rng: np.random.Generator):
    """A reward of relus and linear layers, some with weights that are huge or tiny."""
    ops = ("affine", "relu", "scale", "add", "sub", "concat")
    artifact = random_mlp(rng, hidden=(5, 4)) if rng.random() < 0.5 else random_artifact(rng, ops=ops, size=6)
    return rescaled(rng, artifact) if rng.random() < 0.4 else artifact


@settings(max_examples=150, deadline=None)
@given(seeds)
def test_wide_bounds_of_a_program_as_executed_hold_for_every_execution(seed):
    rng = np.random.default_rng(seed)
    artifact = plain(rng)
    claim = claim_about(artifact, random_box(rng, artifact))
    program = compile_executed(claim, {"R0": artifact})
    network = network_of(program)
    assume(network is not None)
    rows = rows_of(program, network, [form(calls={0: 1}), form(calls={0: -1})])
    lo, hi = (torch.from_numpy(side)[None] for side in outward(claim.boxes[0]))
    known = known_by_intervals(network, lo, hi)
    found = [lower_rows(network, known, default_lines(known), all_rows(known, rows)).bound[0].tolist()]
    for products in (SINGLE, DOUBLE):
        deep = sharpened(network, known_by_intervals(network, lo, hi), products)
        found.append(lower_rows(network, deep, default_lines(deep), all_rows(deep, rows)).bound[0].tolist())
    for point in points_in(rng, claim, 4):
        x = [float(v) for v in point]
        values = [Execution(rng).reward(artifact, x) for _ in range(4)]
        values += [float(forward(artifact, np.array([x], np.float32))[0]), evaluate_row(artifact, np.array(x))]
        for value in values:
            for least, most in found:
                if not isfinite(value):
                    assert least == most == -np.inf
                    continue
                assert least == -np.inf or Fraction(least) <= Fraction(value)
                assert most == -np.inf or Fraction(most) <= -Fraction(value)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("spread", [0.001, 0.05])
def test_boxes_that_decide_are_told_from_the_others(sign, spread, monkeypatch):
    rng = np.random.default_rng(4)
    artifact = random_mlp(rng, MANY, (40, 8))
    middle = random_rows(rng, MANY, 300) * 0.9
    lo, hi = middle - spread, middle + spread
    claim = claim_about(artifact, tuple((Fraction(-1), Fraction(1)) for _ in range(30)))
    program = compile_program(claim, {"R0": artifact})
    network = network_of(program)
    row = rows_of(program, network, [form(calls={0: -sign})])
    monkeypatch.setattr(greatest, "DEEP", 8)
    monkeypatch.setattr(greatest, "WORKERS", 1)
    looked = []
    whole = greatest.back_substituted

    def counted(net, some, low, high):
        looked.append(len(low))
        return whole(net, some, low, high)

    monkeypatch.setattr(greatest, "back_substituted", counted)
    bound, axis = greatest.deciding(network, row, torch.from_numpy(lo), torch.from_numpy(hi))
    best, _ = whole(network, row, torch.from_numpy(lo), torch.from_numpy(hi))
    assert float(bound.max()) == float(best.max())
    assert sum(looked) < 300
    assert ((axis >= 0) & (axis < 30)).all()
    points = np.repeat(lo, 20, 0) + (hi - lo).repeat(20, 0) * rng.integers(0, 2, (6000, 30))
    assert (sign * forward(artifact, points.astype(np.float32))).max() <= float(bound.max()) + 1e-4
    most = certified_extremum_over(artifact, lo - 1e-6, hi + 1e-6, sign)
    assert (sign * forward(artifact, points.astype(np.float32)).astype(float)).max() <= float(most)
    assert float(best.max()) <= float(most) <= float(best.max()) + 1e-3 * max(1.0, abs(float(best.max())))


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_few_boxes_and_many_are_bounded_alike(seed):
    """As executed, by the engine that knows everything and by the one that is made for many boxes."""
    rng = np.random.default_rng(seed)
    artifact = random_mlp(rng, hidden=(6, 6))
    lo, hi = (
        np.sort(random_rows(rng, [artifact.records[0].type], 2 * 70).reshape(70, 2, 2), axis=1)[:, k] for k in (0, 1)
    )
    found = []
    for many in (1, 10**9):
        with pytest.MonkeyPatch.context() as patching:
            patching.setattr(extremum, "MANY", many)
            found.append(float(certified_extremum_over(artifact, lo, hi, 1)))
    assert found[0] == pytest.approx(found[1], rel=0.05, abs=0.05)
