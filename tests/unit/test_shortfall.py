"""How far a conclusion fails at a witness: as it is written, not as its clauses have it."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from rewarden.reward.torch_import import from_torch
from rewarden.spec_lang import parse_spec
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.portfolio import verify

SPEC = """spec point v1
features S {{ k : int in 3 .. 3 }}
reward R(s: S)
must r: forall s: S expect {expected}
"""


@pytest.mark.parametrize(
    ("expected", "shortfall"),
    [
        ("R(s) >= 0", "3"),
        ("max(R(s), 0) >= 0.5", "1/2"),  # the clause knows R(s) - 0.5 alone
        ("max(R(s), 0) > 0", "0"),
        ("R(s) >= 1 and min(R(s), 0) >= -1", "4"),
        ("R(s) >= 1 or R(s) >= -1", "2"),
    ],
)
def test_how_far_it_fails(expected: str, shortfall: str) -> None:
    """R is -3 everywhere."""
    spec = parse_spec(SPEC.format(expected=expected))
    net = torch.nn.Linear(1, 1)
    with torch.no_grad():
        net.weight.fill_(-1.0)
        net.bias.zero_()
    reward = from_torch(net, (("s", spec.features["S"]),))
    witness = verify(spec, {"R": reward}, VerifyOptions(falsify_budget=100))["r"].witness
    assert witness is not None
    assert witness.violation == Fraction(shortfall)
