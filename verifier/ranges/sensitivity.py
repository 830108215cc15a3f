"""How much the reward hangs on each feature, certified over a region.

- Numbers: the change of the reward per unit of the feature, between any two records of the region that differ in this
  feature alone. For a piecewise linear reward that is within the range of ∂R/∂x (`slopes`), taken between whole numbers
  as well. If the least is 0 or more the reward never falls as the feature grows, anywhere in the region; if the
  greatest is 0 or less it never rises.
- Bools and cases: the reward with one value less the reward with another, all else equal (`ranges` of the difference).

Both ends are told twice: what is certified, and what some pair of records really does, rigorously enclosed. Smooth
rewards, and patches that may jump, have no certified slope here, and nothing is said of their numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.enclosure import enclose
from rewarden.reward.learners.interface import Array
from rewarden.spec_lang.claim import Affine
from rewarden.spec_lang.features import Feature
from rewarden.verifier.backsub import Engine, Functionals
from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.float_program import FloatProgram
from rewarden.verifier.fusion import functional_rows
from rewarden.verifier.inline import compile_program
from rewarden.verifier.progress import Stop
from rewarden.verifier.ranges.continuity import continuous
from rewarden.verifier.ranges.domain import Bounds, Domain, Region, domain_of
from rewarden.verifier.ranges.ends import BUDGET, REWARD, Functional, Range, ranges, reward_claim
from rewarden.verifier.ranges.search import Bounded, Maxima, maxima
from rewarden.verifier.ranges.slopes import slopes
from rewarden.verifier.rounding import outward
from rewarden.verifier.sensitivity import steepness
from rewarden.verifier.tangents import with_tangents
from rewarden.verifier.torch_settings import plain_torch

STEP = 2.0**-12  # of the region's width: how far apart two records are of which a quotient is taken
MOST_CASES = 6
MOST_COLUMNS = 24
SLOPE_BUDGET = 256  # boxes per column and end


_Value = tuple[str, tuple[tuple[int, Fraction], ...]]  # in words, and as columns


@dataclass(frozen=True, slots=True, eq=False)
class Sensitivity:
    """`what`: `per unit`, or the two values whose rewards are subtracted (`left − right`)."""

    feature: str
    unit: str | None
    what: str
    range: Range

    @property
    def direction(self) -> str:
        """What is certain: `never falls`, `never rises`, `no effect`, or nothing."""
        least, most = self.range.least, self.range.most
        if least == 0.0 == most:
            return "no effect"
        return "never falls" if least >= 0 else "never rises" if most <= 0 else ""

    def to_json(self) -> dict[str, Any]:
        return {
            "feature": self.feature,
            "unit": self.unit,
            "what": self.what,
            "certified": self.range.to_json(),
            "direction": self.direction or None,
        }


def sensitivities(
    artifact: Artifact, region: Region, *, budget: int = SLOPE_BUDGET
) -> tuple[tuple[Sensitivity, ...], str | None]:
    """Of every feature that varies in the region; and why slopes are missing, where they are."""
    if artifact.width > MOST_COLUMNS:
        return (), f"the reward reads more than {MOST_COLUMNS} columns"
    domain = domain_of(artifact)
    numbers = [
        (f"{name}[{k}]" if feature.is_vector else name, feature, start + k)
        for name, feature, start in domain.features
        if feature.kind in ("real", "int")
        for k in range(feature.size)
        if region.bounds[start + k][0] < region.bounds[start + k][1]
    ]
    missing = _no_slopes(artifact)
    found: dict[str, list[Sensitivity]] = {}
    if missing is None and numbers:
        steep = _steepness(artifact, region, [column for _, _, column in numbers], budget)
        for (name, feature, _), one in zip(numbers, steep, strict=True):
            found[name] = [Sensitivity(name, feature.unit, "per unit", one)]
    for name, feature, start in domain.features:
        if feature.kind in ("bool", "enum"):
            found[name] = _differences(artifact, region, (name, feature, start))
    order = [name for name, _, _ in domain.features]
    told = sorted(found, key=lambda name: order.index(name.partition("[")[0]))
    return tuple(one for name in told for one in found[name]), missing


def steepest(
    artifact: Artifact,
    region: Region,
    signs: Mapping[int, int],
    *,
    budget: int = SLOPE_BUDGET,
    aim: float | None = None,
) -> dict[int, float] | str:
    """By column the most that sign·∂R/∂x is anywhere in the region, between whole numbers too, ±1 its sign; or why that
    cannot be certified. Nothing is spent on other columns, nor on other ends. `aim`: as of `maxima`."""
    if artifact.width > MOST_COLUMNS:
        return f"the reward reads more than {MOST_COLUMNS} columns"
    for name, feature, start in domain_of(artifact).features:  # slopes are not looked at between their two values
        if feature.kind not in ("real", "int") and any(start <= k < start + feature.width for k in signs):
            return f"{name} is no number"
    missing = _no_slopes(artifact)
    if missing is not None:
        return missing
    found: dict[int, float] = {}
    for sign in (1, -1):
        columns = [column for column, wanted in signs.items() if wanted == sign]
        if columns:
            top = _tops(artifact, region, _along(artifact, columns, sign), budget, aim)
            found |= dict(zip(columns, top.most.tolist(), strict=True))
    return found if np.isfinite(list(found.values())).all() else "no bound of them is finite"


def _no_slopes(artifact: Artifact) -> str | None:
    """Why there are no slopes to certify; None where the reward is continuous and piecewise linear."""
    if artifact.smooth:
        return "the reward is smooth: its slopes are not certified"
    return None if continuous(artifact) else "a patch may jump at its rim: there is no bound of slopes"


def _differences(artifact: Artifact, region: Region, named: tuple[str, Feature, int]) -> list[Sensitivity]:
    name, feature, start = named
    one, zero = Fraction(1), Fraction(0)
    if feature.kind == "bool":
        if feature.is_vector or region.bounds[start] != (zero, one):
            return []
        values: list[_Value] = [("true", ((start, one),)), ("false", ((start, zero),))]
    else:
        columns = range(start, start + feature.width)
        possible = [j for j in columns if region.bounds[j][1] > 0 and region.bounds[j][0] == 0]
        values = [(feature.cases[j - start], tuple((k, one if k == j else zero) for k in columns)) for j in possible][
            :MOST_CASES
        ]
    found = []
    for (left, left_at), (right, right_at) in combinations(values, 2):
        # the columns themselves are not read any more: any one value of them stands for all
        narrowed = region
        for column, value in left_at:
            narrowed = narrowed.within(column, value, value)
        (one_range,) = ranges(
            artifact, [narrowed], Functional((1, -1), (tuple(left_at), tuple(right_at))), budget=BUDGET // 6
        )
        found.append(Sensitivity(name, feature.unit, f"{left} − {right}", one_range))
    return found


# ── slopes ─────────────────────────────────────────────────────────────────────────────────────
def least_change(
    artifact: Artifact,
    region: Region,
    ways: Sequence[Sequence[Bounds]],
    *,
    budget: int,
    stop: Stop,
    aim: float | None = None,
) -> tuple[list[float], int] | str:
    """For each way [column] a certified bound of what R(x + way) − R(x) is at least, wherever both are in the region,
    and how many boxes they took; or why there are none. `aim`: whether it is at least this is all that is asked;
    `budget`: boxes for each way."""
    missing = _no_slopes(artifact)
    if missing is not None:
        return missing
    pairs = [outward([(-hi, -lo) for lo, hi in way]) for way in ways]
    lo, hi = (np.stack(side) for side in zip(*pairs, strict=True))
    # the other way round: R(x) − R(x + way) is at most what it is along −way
    found = _tops(artifact, region, (lo, hi), budget, None if aim is None else -aim, stop)
    return [-float(most) + 0.0 for most in found.most], int(found.boxes.sum())


def _along(artifact: Artifact, columns: Sequence[int], sign: int) -> tuple[Array, Array]:
    ways = np.zeros((len(columns), artifact.width))
    ways[np.arange(len(columns)), columns] = sign
    return ways, ways


def _tops(
    artifact: Artifact,
    region: Region,
    ways: tuple[Array, Array],
    budget: int,
    aim: float | None = None,
    stop: Stop = lambda: False,
) -> Maxima:
    """The maxima over the region of R'(x; t), t in `ways` lo, hi [way, column]."""
    with torch.no_grad(), plain_torch(1):
        program = compile_program(reward_claim(artifact, REWARD), {"r": artifact})
        engine, floats = Engine(with_tangents(program)), FloatProgram(program)
        plain = replace(engine.program, outputs=program.outputs)  # the reward itself, over twice the variables
        reward = Functionals.of(functional_rows(plain, [Affine(Fraction(0), (), ((0, Fraction(1)),))]))
        falls = Functionals.of(functional_rows(engine.program, [Affine(Fraction(0), (), ((0, Fraction(-1)),))]))
        domain = domain_of(artifact)
        lo, hi = (np.repeat(side[None, :], len(ways[0]), axis=0) for side in region.outward())

        def look(lo: Array, hi: Array, which: NDArray[np.intp]) -> Bounded:
            way = ways[0][which], ways[1][which]
            sides = [np.concatenate(pair, axis=1) for pair in zip((lo, hi), way, strict=True)]
            final = engine.bound(Boxes(*map(torch.from_numpy, sides)), falls)
            low, high = (side.numpy()[:, : lo.shape[1]] for side in slopes(engine, final.sweep, reward))
            bound = np.fmin(-final.bound.numpy(), _by_slopes(low, high, way))
            middle = domain.inside(lo, hi, lo + (hi - lo) / 2)
            x = torch.from_numpy(middle.copy()).requires_grad_()
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(floats.calls(x).sum(), x)
            value = (gradient.numpy() * way[0]).sum(axis=1)
            every = torch.arange(len(lo))
            steep = steepness(engine, final.sweep, falls, torch.zeros_like(every), every).numpy()
            return Bounded(bound, steep[:, : lo.shape[1]] * (hi - lo), middle, value)

        return maxima(_between(domain), lo, hi, look, budget, aim, stop)


def _by_slopes(low: Array, high: Array, way: tuple[Array, Array]) -> Array:
    """What slopes within low … high say of the derivative along the way: looser than tangents, but exactly 0 where
    nothing can rise, which decides whether a reward is monotone. Asked along a column only."""
    unit = (way[0] == way[1]) & (np.abs(way[0]) == 1)
    column = unit.argmax(axis=1)
    rows = np.arange(len(column))
    single = unit[rows, column] & (np.count_nonzero(way[0], axis=1) == 1)
    found = np.where(way[0][rows, column] > 0, high[rows, column], -low[rows, column])
    return np.where(single, found, np.inf)


def _steepness(artifact: Artifact, region: Region, columns: list[int], budget: int) -> list[Range]:
    top, bottom = (_tops(artifact, region, _along(artifact, columns, sign), budget) for sign in (1, -1))
    domain = domain_of(artifact)
    found = []
    for k, column in enumerate(columns):
        high = _quotient(artifact, domain, region, column, top.point[k])
        low = _quotient(artifact, domain, region, column, bottom.point[k])
        taken = [q for q in (high, low) if q is not None]
        found.append(
            Range(
                -float(bottom.most[k]) + 0.0,
                min((q[1] for q in taken), default=None),
                max((q[0] for q in taken), default=None),
                float(top.most[k]) + 0.0,
            )
        )
    return found


def _between(domain: Domain) -> Domain:
    """The domain with all that lies between whole numbers: what a reward gains from 1 to 2 is the mean of its slopes
    there, of which those at 1 and at 2 tell nothing."""
    whole = domain.whole.copy()
    for _, feature, start in domain.features:
        whole[start : start + feature.width] &= feature.kind != "int"
    return replace(domain, whole=whole)


def _quotient(
    artifact: Artifact, domain: Domain, region: Region, column: int, point: Array
) -> tuple[float, float] | None:
    """Rigorous ends of a difference quotient at a point of the region."""
    lo, hi = region.inward()
    if not (lo <= hi).all():
        return None
    at = domain.inside(lo[None], hi[None], point[None])[0]
    step = 1.0 if domain.whole[column] else (hi[column] - lo[column]) * STEP
    one, other = at.copy(), at.copy()
    one[column], other[column] = max(lo[column], at[column] - step), min(hi[column], at[column] + step)
    width = other[column] - one[column]
    if not width > 0:
        return None
    least, most = enclose(artifact, np.stack([one, other]))
    low, high = (least[1] - most[0]) / width, (most[1] - least[0]) / width
    slack = 2.0**-48 * max(abs(low), abs(high))  # three roundings, generously
    return (float(low - slack), float(high + slack)) if np.isfinite([low, high]).all() else None
