"""float32: caps settle numbers only, and a fixed argument that is no binary32 number is read as either neighbour."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.graph import Patch
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.finite import always_finite
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.verdict import Verdict
from tests.reference.random_claims import atom, plain_claim
from tests.reference.random_graphs import MIXED, TWO_REALS, random_artifact, random_mlp
from tests.soundness.test_covered import at_most, tiled

SMALL = VerifyOptions(semantics="float32", budget=500, falsify_budget=500)
# Between two neighbours: of the row w·x − b the upper one is beyond delta, by a last place, and the lower one far off.
LOWER, UPPER, BETWEEN = np.float32(1.0001487), np.float32(1.0001488), 1.00014865398407
WEIGHT, OFFSET, DELTA = np.float32(1.0004057), np.float32(0.0005547628), np.float32(0.99999976)
WIDE = replace(TWO_REALS, features=(replace(TWO_REALS.features[0], hi=Fraction(2)), TWO_REALS.features[1]))


def with_tensors(bare: Artifact, **values: object) -> Artifact:
    made = {name: np.array(value, np.float32) for name, value in values.items()}
    assert made.keys() <= bare.tensors.keys()
    return replace(bare, tensors={**bare.tensors, **made})


def capped(rows: object, offsets: object, patches: int) -> Artifact:
    """A reward of 5 under ceilings of level 1 that rise by 1/2 with the last place of 1."""
    bare = with_tensors(random_mlp(np.random.default_rng(0), WIDE, (2,)), t4=[[0, 0]], t5=[5])
    tensors, made = dict(bare.tensors), []
    for number in range(patches):
        names = {p: f"p{number}.{p}" for p in ("rows", "offsets", "level", "slope", "delta", "gate")}
        values = (rows, offsets, [1], [2.0**23], [DELTA], [2])
        tensors |= {names[p]: np.array(v, np.float32) for p, v in zip(names, values, strict=True)}
        made.append(Patch(kind="ceiling", rule="p", **names))
    return replace(bare, tensors=tensors, patches=tuple(made))


@pytest.mark.parametrize("kind", ["ceiling", "floor"])
def test_a_cap_is_none_of_what_is_no_number(kind):
    """Two neurons overflow for large y, and their difference is NaN: so is the smaller of that and any level."""
    bare = random_mlp(np.random.default_rng(0), TWO_REALS, (2,))
    huge = {"t0": [1, 0.502], "t1": [0, 0], "t2": [[0, 3.4e38]] * 2, "t3": [0, 0], "t4": [[1, -1]]}
    sign = 1 if kind == "ceiling" else -1
    for there, expected in ((huge, Verdict.UNKNOWN), (huge | {"t2": [[0, 1e30]] * 2}, Verdict.PROVED)):
        reward = tiled(with_tensors(bare, **there, t5=[5 * sign]), 3, sign, kind=kind)
        found = verify_claim(at_most(float(sign), reward, sign=sign), {"R": reward}, SMALL)
        with np.errstate(all="ignore"):
            finite = np.isfinite(forward(reward, np.array([[0.3, 2.0]], np.float32)))[0]
        assert (found.verdict, finite) == (expected, expected is Verdict.PROVED)


@pytest.mark.parametrize("table", [False, True])
def test_a_fixed_argument_is_either_of_its_neighbours(table):
    """One of 1 has a level's value, the other is beyond the flat part: caps, and rows left out of a table."""
    if table:
        reward, most = capped([[0, 1], [WEIGHT, 0]], [[10, OFFSET]], 1), Fraction(5, 4)
    else:
        reward, most = capped([[WEIGHT, 0]], [OFFSET], 5), Fraction(1)
    assert float(LOWER) < BETWEEN < float(UPPER)
    assert forward(reward, np.array([[LOWER, 1], [UPPER, 1]], np.float32)).tolist() == [1, 1.5]
    for value, expected in ((BETWEEN, Verdict.UNKNOWN), (float(LOWER), Verdict.PROVED)):
        box = ((Fraction(value), Fraction(value)), (Fraction(0), Fraction(2)))
        claim = plain_claim(WIDE, {"R": reward}, goals=((atom(most, {}, {0: -1}),),), boxes=[box])
        assert verify_claim(claim, {"R": reward}, SMALL).verdict is expected


@pytest.mark.parametrize("seed", range(30))
def test_what_is_finite_stays_so(seed):
    """Deployed, with weights that are scaled until it no longer is known."""
    rng = np.random.default_rng(seed)
    artifact = random_artifact(rng, MIXED, size=6, patches=1)
    lo, hi = (
        np.array([float(end) for end in ends]) for ends in zip(*((c.lo, c.hi) for c in artifact.columns), strict=True)
    )
    points = rng.uniform(lo, hi, (200, len(lo))).astype(np.float32)
    assert always_finite(artifact, lo, hi)
    matrices = sorted(name for name, tensor in artifact.with_patches(()).tensors.items() if tensor.ndim == 2)
    for power in range(0, 128, 8) if matrices else ():
        name = str(rng.choice(matrices))
        scaled = replace(artifact, tensors={**artifact.tensors, name: artifact.tensors[name] * np.float32(2.0**power)})
        with np.errstate(all="ignore"):
            finite = bool(np.isfinite(scaled.tensors[name]).all() and np.isfinite(forward(scaled, points)).all())
        assert finite or not always_finite(scaled, lo, hi)
