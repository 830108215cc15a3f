"""The compiled passes of the neurons engine against the same formulas over whole tensors, infinities included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.verifier.relaxation import relu_lines
from rewarden.verifier.wide import __main__ as warm
from rewarden.verifier.wide import bounds, formats, passes
from tests.soundness.test_wide_bounds import head_of

ends = st.floats(allow_nan=False, width=64) | st.sampled_from([0.0, -0.0, np.inf, -np.inf, 5e-324, -5e-324, 1.0, -1.0])


@settings(max_examples=300, deadline=None)
@given(ends, ends)
def test_chords_are_those_of_relaxation(a, b):
    lo, hi = (torch.tensor([[end]], dtype=torch.float64) for end in sorted((a, b)))
    expected = relu_lines(lo, hi)
    found = passes.chords(lo.numpy(), hi.numpy())
    for value, known in zip(found, (expected.lower, expected.upper, expected.intercept), strict=True):
        assert value[0, 0] == float(known) or np.isnan(value[0, 0]) or np.isnan(float(known))


def test_bounds_that_are_not_numbers_give_lines_that_prove_nothing():
    nan = np.array([[np.nan]])
    for lo, hi in ((nan, np.array([[1.0]])), (np.array([[-1.0]]), np.array([[np.inf]])), (nan, nan)):
        _, upper, intercept = passes.chords(lo, hi)
        assert np.isnan(upper[0, 0] + intercept[0, 0])


@pytest.mark.parametrize("widths", [[5, 7, 4, 6], [12, 80, 30, 20]])
def test_a_hint_is_the_bound_without_its_rounding(widths):
    """Rows back-substituted by the compiled passes and as a differentiable function: the same, but for rounding."""
    network, lo, hi = head_of(np.random.default_rng(1), widths, 6, 0.2)
    rows = network.nodes[-1]
    known = bounds.known_by_intervals(network, lo, hi)
    lines, start = bounds.default_lines(known), bounds.all_rows(known, rows)
    rigorous, hint = (f(network, known, lines, start) for f in (bounds.lower_rows, bounds.rows_about))
    assert (rigorous.bound < hint).all()
    assert (hint - rigorous.bound <= 1e-9 * hint.abs().max()).all()


def test_intervals_that_binary32_cannot_hold_are_taken_in_binary64():
    network, lo, hi = head_of(np.random.default_rng(2), [6, 70, 3], 2, 0.1)
    assert formats.format_of(network) is formats.SINGLE
    known = bounds.known_by_intervals(network, 1e40 * lo, 1e40 * hi)
    assert torch.isfinite(known.lo[1]).all()
    assert torch.isfinite(known.hi[2]).all()
    small = bounds.known_by_intervals(network, lo, hi)
    double = bounds._intervals(network, lo, hi, formats.DOUBLE)
    for k in (1, 2):
        assert (small.lo[k] <= double.lo[k]).all()
        assert ((small.hi[k] - small.lo[k]) <= (1.0 + 1e-4) * (double.hi[k] - double.lo[k])).all()


def test_all_passes_are_compiled_beforehand():
    warm.main()
    for name in ("boxes", "intervals", "sizes", "unsure", "outputs", "first_rows", "through", "weighed"):
        assert len(getattr(passes, name).signatures) >= 2, name
