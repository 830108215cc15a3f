"""What a reward can be over a region: its certified least and greatest value, and values that it really takes.

Both ends are told twice. `least` and `most` are certified: no record of the region is worth less or more, over the real
numbers. `least_taken` and `most_taken` are taken by records that were found, rigorously enclosed (`reward.enclosure`),
on the safe side. So the true minimum lies between `least` and `least_taken`, the true maximum between `most_taken` and
`most`; where the two agree to a hundredth of the reward's spread, the search has stopped.

How: data rows, random records, corners and a climb from them for values that are taken; a bound by back-substitution
for each region; then, for piecewise linear rewards of few columns, cells (`verifier.cells`) are asked whether it can
exceed a level between the two, and either prove that it cannot or find where. Where cells have nothing to say, and for
differences (`verifier.differences`), boxes are cut and bounded again, worst first. Patches are read as plain networks
where they may be (`plain`); besides, a patch moves no value beyond its level, so that the reward without its patches
has a say too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.enclosure import enclose
from rewarden.reward.graph import Clip
from rewarden.reward.learners.interface import Array
from rewarden.spec_lang.claim import Affine, AffineAtom, Box, Claim, ClaimCall, ClaimVariable
from rewarden.verifier.backsub import Engine, Functionals
from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.cells.engine import Cells
from rewarden.verifier.differences import with_differences
from rewarden.verifier.exact_program import Point
from rewarden.verifier.float_program import FloatProgram
from rewarden.verifier.fusion import functional_rows
from rewarden.verifier.inline import compile_program
from rewarden.verifier.ranges.domain import Region, domain_of
from rewarden.verifier.ranges.plain import plain
from rewarden.verifier.ranges.search import Bounded, Look, maxima
from rewarden.verifier.sensitivity import steepness
from rewarden.verifier.torch_settings import plain_torch

BUDGET = 3000  # cells, or boxes, per region and end, for small networks; larger ones take longer, and get fewer
SMALL = 64  # relu neurons
LEAST_BUDGET = 40
TRIED = 64  # random records of each region
CLOSE = 0.01  # of the spread of all regions: ends that agree so far are as good as equal
STARTS, STEPS, MOST_ROWS = 4, (0.5, 0.3, 0.2, 0.1, 0.1, 0.05, 0.05, 0.02, 0.02, 0.01), 4096
QUERIES = 12
MOST_CASES = 64  # combinations of cases for which cells are asked one by one
FEW_COLUMNS = 24


@dataclass(frozen=True, slots=True, eq=False)
class Range:
    """See above. `most_at`, `least_at`: records [column] that take those values; None where none could be shown."""

    least: float
    least_taken: float | None
    most_taken: float | None
    most: float
    least_at: Array | None = None
    most_at: Array | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "least": _finite(self.least),
            "least_taken": self.least_taken,
            "most_taken": self.most_taken,
            "most": _finite(self.most),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Functional:
    """Σ weights[c] · r(x with `fixed[c]`): what is bounded. As it stands, the reward itself."""

    weights: tuple[int, ...] = (1,)
    fixed: tuple[tuple[tuple[int, Fraction], ...], ...] = ((),)


REWARD = Functional()


def ranges(
    artifact: Artifact,
    regions: Sequence[Region],
    functional: Functional = REWARD,
    *,
    rows: Array | None = None,
    budget: int = BUDGET,
    known: tuple[float, float] = (-np.inf, np.inf),
) -> list[Range]:
    """Of the reward (or of a difference of rewards) over each region. `rows` [row, column] are worth a try; `known`:
    what holds for all the regions already."""
    if not regions:
        return []
    if artifact.patches and functional == REWARD:
        low, high = np.inf, -np.inf
        for found in ranges(_unpatched(artifact), [_hull(regions)], rows=rows, budget=budget):
            low, high = found.least, found.most
        for patch in artifact.patches:
            level = float(artifact.tensors[patch.level][0])
            low, high = (min(low, level), high) if patch.kind == "ceiling" else (low, max(high, level))
        known = max(known[0], low), min(known[1], high)
    with torch.no_grad(), plain_torch(1):
        return _Ranges(artifact, regions, functional, rows, budget, known).found()


def _unpatched(artifact: Artifact) -> Artifact:
    gone = {name for p in artifact.patches for name in (p.rows, p.offsets, p.level, p.slope, p.delta, p.gate)}
    return replace(artifact, patches=(), tensors={k: v for k, v in artifact.tensors.items() if k not in gone})


def _hull(regions: Sequence[Region]) -> Region:
    """A region that holds them all."""
    ends = zip(*(region.bounds for region in regions), strict=True)
    return Region(tuple((min(b[0] for b in column), max(b[1] for b in column)) for column in ends), "")


@dataclass(slots=True, eq=False)
class _End:
    """One end of every region (mutable): bounds and taken values of sign·functional."""

    sign: int
    most: Array
    taken: Array
    at: Array
    shown: NDArray[np.bool_]


class _Ranges:
    def __init__(
        self,
        artifact: Artifact,
        regions: Sequence[Region],
        functional: Functional,
        rows: Array | None,
        budget: int,
        known: tuple[float, float],
    ) -> None:
        self.artifact, self.regions, self.functional, self.known = artifact, regions, functional, known
        self.domain = domain_of(artifact)
        network = plain(artifact)
        self.program = compile_program(reward_claim(network or artifact, functional), {"r": network or artifact})
        self.network = FloatProgram(self.program)
        twins = None
        if len(functional.weights) > 1:
            twins = with_differences(self._asked(1, Fraction(0), [r.bounds for r in regions]))
        self.bounded = twins or self.program
        self.engine = Engine(self.bounded)
        neurons = sum(layer.rows for layer in self.program.layers if layer.kind != "linear")
        self.budget = max(min(budget, LEAST_BUDGET), round(budget * min(1.0, (SMALL / max(neurons, 1)) ** 2)))
        self.weights = torch.tensor(functional.weights, dtype=torch.float64)
        self.lo, self.hi = (np.stack(side) for side in zip(*(r.outward() for r in regions), strict=True))
        inward = [region.inward() for region in regions]
        self.inner_lo, self.inner_hi = np.stack([i[0] for i in inward]), np.stack([i[1] for i in inward])
        self.there: NDArray[np.bool_] = np.asarray((self.inner_lo <= self.inner_hi).all(axis=1))
        self.rows = np.zeros((0, artifact.width)) if rows is None else rows

    def found(self) -> list[Range]:
        ends = [self._begin(sign) for sign in (1, -1)]
        # what is taken is within what is true: a share of its spread is never more than that share of the true one
        spread = max(float(ends[0].taken.max() + ends[1].taken.max()), 0.0)
        spread = max(spread, 1e-6 * float(ends[0].most.max() + ends[1].most.max()))
        for end in ends:
            close = CLOSE * spread if np.isfinite(spread) else 0.0
            left = np.flatnonzero(end.most - end.taken > close)
            if len(left) and not self._by_cells(end, left, close):
                self._by_boxes(end, left)
        top, bottom = ends
        return [
            Range(
                -float(bottom.most[k]) + 0.0,
                -float(bottom.taken[k]) + 0.0 if bottom.shown[k] else None,
                float(top.taken[k]) + 0.0 if top.shown[k] else None,
                float(top.most[k]) + 0.0,
                bottom.at[k] if bottom.shown[k] else None,
                top.at[k] if top.shown[k] else None,
            )
            for k in range(len(self.regions))
        ]

    # ── where it begins ────────────────────────────────────────────────────────────────────────
    def _begin(self, sign: int) -> _End:
        count = len(self.regions)
        bound = self.engine.bound(Boxes(torch.from_numpy(self.lo), torch.from_numpy(self.hi)), self._target(sign))
        most = np.fmin(np.nan_to_num(-bound.bound.numpy(), nan=np.inf), self._reach(sign))
        most = np.fmin(most, self.known[1] if sign > 0 else -self.known[0])
        end = _End(sign, most, np.full(count, -np.inf), np.zeros_like(self.lo), np.zeros(count, np.bool_))
        slope = bound.rows.slope.numpy()
        corner = self.domain.inside(self.lo, self.hi, np.where(slope > 0, self.lo, self.hi))
        rng = np.random.default_rng(0)
        starts = []
        for k in range(count):
            inside = np.flatnonzero(np.all((self.rows >= self.lo[k]) & (self.rows <= self.hi[k]), axis=1))
            drawn = self.lo[k] + rng.random((TRIED, len(self.lo[k]))) * (self.hi[k] - self.lo[k])
            lo, hi = (np.repeat(side[k][None, :], TRIED, axis=0) for side in (self.lo, self.hi))
            tried = np.concatenate(
                [self.domain.inside(lo, hi, drawn), corner[k][None, :], self.rows[inside[:MOST_ROWS]]]
            )
            order = (-sign * self._about(tried)).argsort(kind="stable")
            starts.append(tried[order[:STARTS]])
        for k, points in enumerate(self._climbed(np.stack(starts), sign)):
            self._offer(end, k, points[int((sign * self._about(points)).argmax())])
        return end

    def _climbed(self, starts: Array, sign: int) -> Array:
        """Points [region, start, column], each the best of a climb by the gradient's signs in shrinking steps."""
        count, each, width = starts.shape
        lo, hi = (side.repeat(each, axis=0) for side in (self.lo, self.hi))
        at = starts.reshape(-1, width)
        best, worth = at.copy(), sign * self._about(at)
        for step in STEPS:
            x = torch.from_numpy(at.copy()).requires_grad_()
            with torch.enable_grad():
                total = (self.network.calls(x) @ self.weights).sum()
                (gradient,) = torch.autograd.grad(total, x)
            at = self.domain.inside(lo, hi, at + sign * step * (hi - lo) * np.sign(gradient.numpy()))
            now = sign * self._about(at)
            better = now > worth
            best[better], worth[better] = at[better], now[better]
            at = best.copy()
        return best.reshape(count, each, width)

    def _reach(self, sign: int) -> float:
        """What a clip at the end of the graph allows, whatever comes before it; patches move that to their levels."""
        output = self.artifact.graph.nodes[self.artifact.graph.output]
        if not isinstance(output, Clip):
            return np.inf
        lo, hi = (float(self.artifact.tensors[name][0]) for name in (output.lo, output.hi))
        for patch in self.artifact.patches:
            level = float(self.artifact.tensors[patch.level][0])
            lo, hi = (min(lo, level), hi) if patch.kind == "ceiling" else (lo, max(hi, level))
        if len(self.functional.weights) == 1:
            return hi if sign > 0 else -lo
        return float(np.nextafter(hi - lo, np.inf))

    def _offer(self, end: _End, k: int, point: Array) -> None:
        """Take the point, moved into the exact region, if it is rigorously better."""
        if not self.there[k]:
            return
        at = np.clip(point, self.inner_lo[k], self.inner_hi[k]) + 0.0
        low, high = self._enclosed(at[None, :])
        sure = float(low[0]) if end.sign > 0 else -float(high[0])
        if np.isfinite(sure) and sure > end.taken[k]:
            end.taken[k], end.at[k], end.shown[k] = sure, at, True

    # ── by cells ───────────────────────────────────────────────────────────────────────────────
    def _by_cells(self, end: _End, left: NDArray[np.intp], close: float) -> bool:
        """False where cells have nothing to say."""
        if self.bounded.curved or self.artifact.width >= FEW_COLUMNS:
            return False
        if Cells.of(self._asked(end.sign, Fraction(0), self._boxes(self.regions[0])[:1])) is None:
            return False
        for k in left:
            boxes, budget, floor = self._boxes(self.regions[k]), self.budget, -np.inf
            low, high = float(end.taken[k]), float(end.most[k])
            for _ in range(QUERIES):
                floor = max(floor, low)  # nothing will be proved below it
                aim = floor + (high - floor) / 2 if np.isfinite(floor) else high - 1.0
                if high - low <= close or budget <= 0 or not floor < aim < high:
                    break
                cells = Cells.of(self._asked(end.sign, Fraction(aim), boxes))
                assert cells is not None, "it had something to say before"
                outcome = cells.run(max(1, min(budget, self.budget // 3)), _yes, _silent, _no)
                budget -= outcome.boxes
                if outcome.status == "proved":
                    high = aim
                elif outcome.point is not None:
                    self._offer(end, int(k), np.array([float(x) for x in outcome.point]))
                    low, floor = float(end.taken[k]), aim
                else:
                    floor = aim
            end.most[k] = min(end.most[k], high)
        return True

    def _asked(self, sign: int, level: Fraction, boxes: Sequence[Box]) -> Any:  # noqa: ANN401 (a Program)
        """sign·functional <= level on the boxes, as a program."""
        calls = tuple((c, Fraction(-sign * w)) for c, w in enumerate(self.functional.weights))
        goal = (AffineAtom(Affine(level, (), calls), False),)
        return replace(self.program, claim=replace(self.program.claim, goals=(goal,), boxes=boxes))

    def _boxes(self, region: Region) -> list[Box]:
        """One for each combination of cases; where there are too many, their columns count as intervals."""
        choices = []
        for columns in self.domain.cases:
            possible = [j for j in range(columns.start, columns.stop) if region.bounds[j][1] > 0]
            must = [j for j in possible if region.bounds[j][0] > 0]
            choices.append([(columns, j) for j in (must or possible)])
        if int(np.prod([len(c) for c in choices])) > MOST_CASES:
            return [region.bounds]
        found = []
        for combination in product(*choices):
            box = list(region.bounds)
            for columns, chosen in combination:
                for j in range(columns.start, columns.stop):
                    box[j] = (Fraction(int(j == chosen)),) * 2
            found.append(tuple(box))
        return found

    # ── by boxes ───────────────────────────────────────────────────────────────────────────────
    def _by_boxes(self, end: _End, left: NDArray[np.intp]) -> None:
        result = maxima(self.domain, self.lo[left], self.hi[left], self._look(end.sign), self.budget)
        for n, k in enumerate(left):
            end.most[k] = min(end.most[k], float(result.most[n]))
            self._offer(end, int(k), result.point[n])

    def _look(self, sign: int) -> Look:
        target = self._target(sign)

        def looked(lo: Array, hi: Array, region: NDArray[np.intp]) -> Bounded:
            final = self.engine.bound(Boxes(torch.from_numpy(lo), torch.from_numpy(hi)), target)
            which = torch.zeros(len(lo), dtype=torch.int64)
            steep = steepness(self.engine, final.sweep, target, which, torch.arange(len(lo))).numpy()
            corner = self.domain.inside(lo, hi, np.where(final.rows.slope.numpy() > 0, lo, hi))
            middle = self.domain.inside(lo, hi, lo + (hi - lo) / 2)
            worth = sign * np.stack([self._about(corner), self._about(middle)])
            point = np.where((worth[0] >= worth[1])[:, None], corner, middle)
            return Bounded(-final.bound.numpy(), steep * (hi - lo), point, worth.max(axis=0))

        return looked

    # ── values ─────────────────────────────────────────────────────────────────────────────────
    def _target(self, sign: int) -> Functionals:
        calls = tuple((c, Fraction(-sign * w)) for c, w in enumerate(self.functional.weights))
        return Functionals.of(functional_rows(self.bounded, [Affine(Fraction(0), (), calls)]))

    def _about(self, rows: Array) -> Array:
        return np.asarray((self.network.calls(torch.from_numpy(rows)) @ self.weights).numpy())

    def _enclosed(self, rows: Array) -> tuple[Array, Array]:
        """Rigorous ends [row] of the functional at rows."""
        low, high = np.zeros(len(rows)), np.zeros(len(rows))
        for weight, fixed in zip(self.functional.weights, self.functional.fixed, strict=True):
            at = rows.copy()
            for column, value in fixed:
                at[:, column] = float(value)  # 0 or 1
            ends = [weight * end for end in enclose(self.artifact, at)]
            low, high = low + np.minimum(*ends), high + np.maximum(*ends)
            if len(self.functional.weights) > 1:
                low, high = np.nextafter(low, -np.inf), np.nextafter(high, np.inf)
        return low, high


def reward_claim(artifact: Artifact, functional: Functional) -> Claim:
    width = artifact.width
    several = [
        (f"x{j}", feature.kind != "real" and feature.kind != "enum")
        for j, feature in enumerate(f for r in artifact.records for f in r.type.features for _ in range(f.width))
    ]
    calls = []
    for fixed in functional.fixed:
        constants = dict(fixed)
        calls.append(
            ClaimCall(
                "r",
                tuple(
                    Affine(constants[j]) if j in constants else Affine(Fraction(0), ((j, Fraction(1)),))
                    for j in range(width)
                ),
            )
        )
    box = tuple((c.lo, c.hi) for c in artifact.columns)
    variables = tuple(ClaimVariable(name, None, discrete) for name, discrete in several)
    return Claim("", "must", variables, (), (("r", ""),), tuple(calls), (), (), (box,))


def _yes(_: Point) -> bool:
    return True


def _no() -> bool:
    return False


def _silent(_: float, __: int) -> None:
    return None


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
