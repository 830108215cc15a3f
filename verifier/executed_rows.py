"""float32 semantics at rows of data: bounds of what a reward may come to there, in every execution, and as deployed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isfinite

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.statistics import require_rows
from rewarden.spec_lang.claim import Affine, Claim, ClaimCall, ClaimVariable
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.evaluate import statistic_text
from rewarden.spec_lang.obligation import Statistic
from rewarden.verifier.deployed_program import encoded
from rewarden.verifier.executed import compile_executed
from rewarden.verifier.fusion import functional_rows

Array = NDArray[np.float64]
BATCH = 1024


def executed_bounds(artifact: Artifact, rows: Array) -> tuple[Array, Array]:
    """lo, hi [n]: every execution of the reward at the encoded rows (float64 [n, width], each number taken to one of
    the binary32 numbers next to it) gives a value in lo .. hi; infinite where it may overflow."""
    return executed_between(artifact, *_around(rows))


def executed_between(artifact: Artifact, below: Array, above: Array) -> tuple[Array, Array]:
    """The same at any binary32 numbers in below .. above, [n, width] each."""
    if not len(below):
        return np.zeros(0), np.zeros(0)
    bounds = [_bounds(artifact, below[k : k + BATCH], above[k : k + BATCH]) for k in range(0, len(below), BATCH)]
    return np.concatenate([lo for lo, _ in bounds]), np.concatenate([hi for _, hi in bounds])


def deployed_values(artifact: Artifact, rows: Array) -> Array:
    """float64 [n]: what the deployed pass returns at the rows, encoded."""
    return forward(artifact, encoded(artifact, rows)).astype(np.float64)


def _around(rows: Array) -> tuple[Array, Array]:
    with np.errstate(over="ignore"):
        near = rows.astype(np.float32)
        below = np.where(near > rows, np.nextafter(near, np.float32(-np.inf)), near)
        above = np.where(near < rows, np.nextafter(near, np.float32(np.inf)), near)
    return below.astype(np.float64), above.astype(np.float64)


def _bounds(artifact: Artifact, lo: Array, hi: Array) -> tuple[Array, Array]:
    if not (np.isfinite(lo).all() and np.isfinite(hi).all()):
        return np.full(len(lo), -np.inf), np.full(len(lo), np.inf)
    import torch  # takes a while: constants of exact rewards need none of it

    from rewarden.verifier.backsub import Engine, Functionals
    from rewarden.verifier.box_minimum import Boxes

    columns = tuple(ClaimVariable(f"x{j}", None, False) for j in range(artifact.width))
    arguments = tuple(Affine(Fraction(0), ((j, Fraction(1)),)) for j in range(artifact.width))
    hull = tuple((Fraction(float(a)), Fraction(float(b))) for a, b in zip(lo.min(0), hi.max(0), strict=True))
    claim = Claim("", "must", columns, (), (("r", ""),), (ClaimCall("r", arguments),), (), (), (hull,))
    program = compile_executed(claim, {"r": artifact})
    both = [Affine(Fraction(0), (), ((0, Fraction(sign)),)) for sign in (1, -1)]
    with torch.no_grad():
        target = Functionals.of(functional_rows(program, both))
        final = Engine(program).bound(Boxes(torch.from_numpy(lo), torch.from_numpy(hi)), target)
    found = final.bound.view(-1, 2).numpy()
    return found[:, 0], -found[:, 1]


# ── data constants ─────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class ExecutedConstant:
    """A data constant: its value as deployed, and an interval that holds it for every execution."""

    deployed: Fraction
    lo: Fraction
    hi: Fraction


def executed_constants(
    artifacts: Mapping[str, Artifact], tables: Mapping[Statistic, Array]
) -> dict[Statistic, ExecutedConstant]:
    """Raises DataError D08 for no rows, Unsupported X13 where a reward may overflow on some row."""
    return {s: _constant(artifacts[s.reward], s, rows) for s, rows in tables.items()}


def _constant(artifact: Artifact, constant: Statistic, rows: Array) -> ExecutedConstant:
    require_rows(constant.kind, rows)
    deployed = deployed_values(artifact, rows)
    lo, hi = executed_bounds(artifact, rows)
    if not all(np.isfinite(values).all() for values in (deployed, lo, hi)):
        raise Unsupported("X13", f"{statistic_text(constant)} may overflow in binary32", help="ask for real semantics")
    return ExecutedConstant(*(_statistic(constant, values) for values in (deployed, lo, hi)))


def _statistic(constant: Statistic, values: Array) -> Fraction:
    """Of rewards at the rows; it never falls where one of them rises, so bounds of them give bounds of it."""
    assert all(isfinite(v) for v in values)
    ranked = np.sort(values)
    match constant.kind:
        case "mean":
            return sum((Fraction(float(v)) for v in values), Fraction(0)) / len(values)
        case "min":
            return Fraction(float(ranked[0]))
        case "max":
            return Fraction(float(ranked[-1]))
        case "quantile":
            assert constant.level is not None
            return Fraction(float(ranked[max(1, ceil(constant.level * len(values))) - 1]))
