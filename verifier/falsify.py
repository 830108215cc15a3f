"""The search for violations: seeds, projected gradient ascent, and a polish of corners and discrete choices.

Multi-start and batched over starts and boxes. It maximises how false a goal is, kept inside the premise by projection
(atoms over variables) and penalty (atoms with rewards). What it returns has been replayed exactly. Deterministic for a
seed and a number of threads; its budget is counted in evaluated points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.claim import Claim, Clause
from rewarden.verifier.deployed_program import DeployedProgram, Judge, judge_of
from rewarden.verifier.exact_program import Point
from rewarden.verifier.falsify_deployed import DeployedSearch
from rewarden.verifier.float_program import FLOAT, Atoms, FloatProgram, atoms_of
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.program import Program
from rewarden.verifier.snap import candidates
from rewarden.verifier.starts import Array, Domain, spread, tightened, whole
from rewarden.verifier.witness import Witness, replay, replay_premise

CHUNK = 4096  # points evaluated at once
FEW_CLAUSES = 32  # over variables: of more it is asked at once which points they move
MARGINS = 2**20  # of clauses and points, looked at together
MANY = 4_096  # atoms of a premise, or variables, of which ascents take seconds
STEPS = 24  # of gradient ascent per start
SHARE = 0.25  # of the box: the first step; the last is a hundredth of it
LEAK = 0.2  # of an inactive relu's gradient
PENALTY = 10.0  # of premise against violation, both in their spreads
SLACK = 1e-6  # of an atom's reach: how far inside a premise projection aims, to survive rounding to float32
REPLAYS = 24  # candidates judged exactly per round
ROUNDS = 3
ENTRIES = 2**21  # numbers in the points that a round starts from, at most: fewer points of more variables
Rows = Mapping[str, Array]  # record type → encoded rows in problem units [row, column]


@dataclass(slots=True, eq=False)
class Course:
    """How far a search has come (mutable): rounds that have ended, the points that they took, what is drawn next, and
    the spreads of atoms. One that is handed in again goes on from there."""

    rounds: int = 0
    points: int = 0
    random: dict[str, Any] | None = None
    spread_premise: Tensor | None = None
    spread_goals: Tensor | None = None


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """The best exactly replayed witness, if any, and the number of points evaluated."""

    witness: Witness | None
    points: int


def falsify(
    program: Program,
    artifacts: Mapping[str, Artifact],
    options: VerifyOptions,
    rows: Rows | None = None,
    stop: Callable[[], bool] | None = None,
    course: Course | None = None,
) -> SearchOutcome:
    """Look for a point where the premise is true and a goal false. `rows` are data to start from; `course` is kept up
    to date after each round, for somebody who goes on."""
    exact = judge_of(program)

    def judge(point: Point) -> Witness | None:
        return replay(program.claim, exact, artifacts, point)

    return _Search(program, program.claim.goals, options, rows or {}, exact, judge, stop).run(course or Course())


def search_premise(
    program: Program,
    artifacts: Mapping[str, Artifact],
    options: VerifyOptions,
    rows: Rows | None = None,
    stop: Callable[[], bool] | None = None,
) -> SearchOutcome:
    """Look for a point well inside the premise."""
    exact = judge_of(program)

    def judge(point: Point) -> Witness | None:
        return replay_premise(program.claim, exact, artifacts, point)

    return _Search(program, None, options, rows or {}, exact, judge, stop).run(Course())


class _Search:
    """Mutable: the random state and the count of points. `goals` None searches for the premise alone."""

    def __init__(
        self,
        program: Program,
        goals: tuple[Clause, ...] | None,
        options: VerifyOptions,
        rows: Rows,
        seen: Judge,
        judge: Callable[[Point], Witness | None],
        stop: Callable[[], bool] | None,
    ) -> None:
        claim = program.claim
        self.claim: Claim = claim
        self.domain: Domain = tightened(claim)
        self.float_program = FloatProgram(program)
        self.premise: Atoms = atoms_of(claim, claim.clauses)
        self.goals: Atoms | None = None if goals is None else atoms_of(claim, goals)
        self.over_variables = [not any(a.affine.calls for a in c) for c in claim.clauses]
        self.free = torch.from_numpy(~self.domain.discrete).to(FLOAT)
        self.rows, self.judge, self.stop = rows, judge, stop
        self.deployed = None
        if isinstance(seen, DeployedProgram):
            self.deployed = DeployedSearch(seen, self.domain, self.premise, self.goals)
        self.rng = np.random.default_rng(options.seed)
        self.budget = options.falsify_budget
        self.points = 0
        atoms = self.premise.starts[-1] + (0 if self.goals is None else self.goals.starts[-1])
        self.chunk = max(64, min(CHUNK, 4 * MARGINS // max(1, atoms)))
        self.spread_premise = torch.ones(self.premise.starts[-1], dtype=FLOAT)
        self.spread_goals = torch.ones(0 if self.goals is None else self.goals.starts[-1], dtype=FLOAT)

    def run(self, course: Course) -> SearchOutcome:
        """Rounds of seeds, ascent, polish; the first round that yields a witness is the last."""
        if not len(self.domain) or (self.goals is not None and self.goals.count == 0):
            return SearchOutcome(None, 0)
        self._go_on(course)
        for number in range(course.rounds, ROUNDS):
            allowance = (self.budget - self.points) // (ROUNDS - number)
            if allowance <= 0 or self._stopped():
                break
            witness = self._round(allowance, first=number == 0)
            if witness is not None:
                return SearchOutcome(witness, self.points)
            if self._stopped():  # in its midst, perhaps: who goes on does this round again
                break
            course.rounds, course.points = number + 1, self.points
            course.random = dict(self.rng.bit_generator.state)
            course.spread_premise, course.spread_goals = self.spread_premise, self.spread_goals
        return SearchOutcome(None, self.points)

    def _stopped(self) -> bool:
        return self.stop is not None and self.stop()

    def _go_on(self, course: Course) -> None:
        """From where the rounds that have ended have left it."""
        if course.random is None:
            return
        assert course.spread_premise is not None
        assert course.spread_goals is not None
        self.points = course.points
        self.rng.bit_generator.state = course.random
        self.spread_premise, self.spread_goals = course.spread_premise, course.spread_goals

    def _round(self, allowance: int, first: bool) -> Witness | None:
        count = min(allowance // 3, ENTRIES // max(1, len(self.claim.variables)))
        points, box = spread(self.domain, max(1, count), self.rows, self.rng)
        if self.deployed is not None:
            witness = self._as_deployed(self.deployed, points, box, allowance // 3)
            if witness is not None:
                return witness
        x, lo, hi = torch.from_numpy(points), self._bound(self.domain.lo, box), self._bound(self.domain.hi, box)
        x = self._project(x, lo, hi)
        if first:
            self._measure(x)
        score = self._scores(x)
        keep = torch.argsort(score, descending=True, stable=True)[: max(1, allowance // (3 * STEPS))]
        if self.goals is None and max(self.premise.starts[-1], len(self.claim.variables)) > MANY:
            witness = self._judge_best(x[keep], box[keep.numpy()], score[keep])
            if witness is not None:
                return witness
        x, box = self._ascend(x[keep], lo[keep], hi[keep]), box[keep.numpy()]
        x, box = self._polish(x, box, allowance // 3)
        score = self._scores(x)
        return self._judge_best(x, box, score)

    def _as_deployed(
        self, search: DeployedSearch, points: Array, box: NDArray[np.int64], allowance: int
    ) -> Witness | None:
        """float32 semantics: the same points as the deployed pass sees them, then what is near the best of them."""
        x, box, score, spent = search.best(points, box, max(1, allowance), self.rng)
        self.points += spent
        return self._judge_best(torch.from_numpy(x), box, score)

    # ── what is sought ─────────────────────────────────────────────────────────────────────────
    def _objective(self, x: Tensor, outside: float = 0.0, leak: Tensor | None = None) -> Tensor:
        """[n]: how false the falsest goal is, less a penalty for a false premise (and `outside`, as a constant, so that
        any point inside ranks before any outside); all in spreads of the margins."""
        self.points += x.shape[0]
        calls = self.float_program.calls(x, leak)
        kept = self.premise.best(self.premise.margins(x, calls) / self.spread_premise)
        if self.goals is None:
            return kept.amin(dim=1) if kept.shape[1] else x.sum(dim=1) * 0.0
        false = -self.goals.best(self.goals.margins(x, calls) / self.spread_goals).amin(dim=1)
        is_outside = (kept < -1e-9).any(dim=1)
        unmoved = 0.0 * x.sum(dim=1)  # so that there is a gradient even where no atom reads a variable
        return false + unmoved - PENALTY * torch.relu(-kept).sum(dim=1) - outside * is_outside

    def _scores(self, x: Tensor) -> Tensor:
        """[n]: for ranking, without a gradient."""
        found = torch.full((x.shape[0],), -torch.inf, dtype=FLOAT)
        with torch.no_grad():
            for first in range(0, x.shape[0], self.chunk):
                if first and self._stopped():  # what is left looks no good
                    break
                part = slice(first, first + self.chunk)
                found[part] = torch.nan_to_num(self._objective(x[part], outside=1e6), nan=-torch.inf)
        return found

    def _measure(self, x: Tensor) -> None:
        """Each atom's spread over the first points, so that atoms in different units compare."""
        with torch.no_grad():
            some = x[: self.chunk]
            calls = self.float_program.calls(some)
            self.spread_premise = _spread(self.premise.margins(some, calls))
            if self.goals is not None:
                self.spread_goals = _spread(self.goals.margins(some, calls))

    # ── moves ──────────────────────────────────────────────────────────────────────────────────
    def _bound(self, bound: Array, box: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(bound[box])

    def _project(self, x: Tensor, lo: Tensor, hi: Tensor, width: Tensor | None = None) -> Tensor:
        """Onto the premise's atoms over variables, one after the other, in coordinates scaled by `width`, 0 for what
        stays (the discrete variables, unless told otherwise). Of a disjunction, onto its most nearly true atom."""
        if width is None:
            width = (hi - lo) * self.free
        clauses = np.flatnonzero(self.over_variables)[:256]
        for slack in (SLACK, SLACK, 0.0):  # equalities have no inside: they are met in the last sweep
            if self._stopped():
                return x
            if len(clauses) <= FEW_CLAUSES:
                for k in clauses:
                    x = self._onto(int(k), x, lo, hi, width, slack)
                continue
            off, x = self._off(x, width, clauses, slack), x.clone()  # `not near` many rows: most keep off most of them
            for k, moved in zip(clauses, off, strict=True):
                some = moved.nonzero()[:, 0]
                if len(some):
                    x[some] = self._onto(int(k), x[some], lo[some], hi[some], width[some], slack)
        return x

    def _onto(self, k: int, x: Tensor, lo: Tensor, hi: Tensor, width: Tensor, slack: float) -> Tensor:
        a, b = self.premise.starts[k], self.premise.starts[k + 1]
        if a == b:
            return x
        weights = self.premise.variables[a:b]
        margins = self.premise.constant[a:b] + x @ weights.T
        room = slack * (width @ weights.abs().T)
        margin, which = margins.max(dim=1)
        if b - a > 1:
            room = room.gather(1, which[:, None])
        some = (margin < room[:, 0]).nonzero()[:, 0]
        if not len(some):
            return x
        scale = width[some]
        step = weights[which[some]] * scale
        norm = (step * step).sum(dim=1)
        short = torch.where(norm > 0, (room[some, 0] - margin[some]) / norm.clamp_min(1e-300), 0.0)
        moved = x[some] + short[:, None] * step * scale
        return x.index_copy(0, some, torch.minimum(torch.maximum(moved, lo[some]), hi[some]))

    def _off(self, x: Tensor, width: Tensor, clauses: NDArray[np.intp], slack: float) -> Tensor:
        """[clause, n]: which points a clause may move: all others have room to spare in an atom of it, whichever."""
        starts = np.asarray(self.premise.starts)
        full = np.flatnonzero(starts[clauses + 1] > starts[clauses])
        atoms = np.concatenate([np.arange(starts[k], starts[k + 1]) for k in clauses[full]])
        lengths = torch.from_numpy((starts[clauses + 1] - starts[clauses])[full])
        weights, constant = self.premise.variables[atoms], self.premise.constant[atoms]
        size, found = max(1, MARGINS // len(atoms)), torch.zeros((len(clauses), x.shape[0]), dtype=torch.bool)
        for first in range(0, x.shape[0], size):
            if self._stopped():
                break
            part = slice(first, first + size)
            margins = (constant + x[part] @ weights.T).T.contiguous()
            room = (slack * (width[part] @ weights.abs().T)).T.contiguous()
            most, need = (torch.segment_reduce(side, "max", lengths=lengths, axis=0) for side in (margins, room))
            found[full, part] = most < need
        return found

    def _ascend(self, x: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
        """Sixteen kinds of ascent side by side: by the gradient's sign or its direction; with a step that shrinks on a
        schedule (which leaves poor basins) or whenever it did not help (which climbs narrow ones); with the gradient
        as it is or leaking through inactive relus; with discrete variables fixed, or relaxed and rounded at the end.
        Returns each start's best point."""
        kind = torch.arange(x.shape[0])
        width = (hi - lo) * torch.where((kind // 8 % 2 == 0)[:, None], self.free, torch.ones_like(self.free))
        by_sign, careful = (kind % 2 == 0)[:, None], kind // 2 % 2 == 0
        leak = torch.where(kind // 4 % 2 == 0, 0.0, LEAK)[:, None].to(FLOAT)
        best, best_score = x, torch.full((x.shape[0],), -torch.inf, dtype=FLOAT)
        size = torch.where(careful, SHARE / 4, SHARE).to(FLOAT)
        for _ in range(STEPS):
            if self._stopped():
                break
            x = x.detach().requires_grad_(True)
            score = self._objective(x, leak=leak)
            (gradient,) = torch.autograd.grad(score.sum(), x)
            score, x = torch.nan_to_num(score.detach(), nan=-torch.inf), x.detach()
            better = score > best_score
            best, best_score = torch.where(better[:, None], x, best), torch.where(better, score, best_score)
            scaled = torch.nan_to_num(gradient) * width
            unit = scaled / scaled.abs().amax(dim=1, keepdim=True).clamp_min(1e-300)
            step = torch.where(by_sign, torch.sign(scaled), unit)
            failed = careful & ~better
            # A careful start that did not gain goes back to its best point, a random way off it.
            away = torch.from_numpy(self.rng.uniform(-1.0, 1.0, tuple(x.shape)))
            x, step = torch.where(failed[:, None], best, x), torch.where(failed[:, None], away, step)
            size = torch.where(careful, torch.where(better, 1.3, 0.6), 0.01 ** (1 / STEPS)) * size
            x = x + size[:, None] * step * width
            x = self._project(torch.minimum(torch.maximum(x, lo), hi), lo, hi, width)
        return torch.from_numpy(whole(self.domain, best.numpy(), lo.numpy(), hi.numpy()))

    def _polish(self, x: Tensor, box: NDArray[np.int64], allowance: int) -> tuple[Tensor, NDArray[np.int64]]:
        """The best few, with each variable in turn put on each bound (discrete ones: another value), one kept change
        per variable."""
        order = torch.argsort(self._scores(x), descending=True, stable=True)[: max(1, min(64, allowance // 16))]
        x, box = x[order].clone(), box[order.numpy()]
        lo, hi = self._bound(self.domain.lo, box), self._bound(self.domain.hi, box)
        score = self._scores(x)
        spent = self.points
        for move in self._moves():
            if self.points - spent > allowance or self._stopped():
                break
            for side in (lo, hi):
                trial = x.clone()
                if len(move) == 1:
                    trial[:, move[0]] = side[:, move[0]]
                else:  # an enum: another case, where the box allows it
                    trial[:, list(move)] = 0.0
                    trial[:, move[int(self.rng.integers(len(move)))]] = 1.0
                    trial = torch.minimum(torch.maximum(trial, lo), hi)
                trial = self._project(trial, lo, hi)
                gained = self._scores(trial)
                better = gained > score
                x, score = torch.where(better[:, None], trial, x), torch.where(better, gained, score)
        return x, box

    def _moves(self) -> list[tuple[int, ...]]:
        grouped = {i for group in self.domain.groups for i in group}
        single = [(i,) for i in range(len(self.claim.variables)) if i not in grouped]
        return [*self.domain.groups, *single]

    # ── judgement ──────────────────────────────────────────────────────────────────────────────
    def _judge_best(self, x: Tensor, box: NDArray[np.int64], score: Tensor) -> Witness | None:
        """The first of the best points that replays exactly; points that look safe by a wide margin are not tried."""
        order = torch.argsort(score, descending=True, stable=True)[:REPLAYS].tolist()
        for i in order:
            if score[i] < -1e-6:
                break
            bounds = self.claim.boxes[int(self.domain.index[box[i]])]
            for point in candidates(self.claim, bounds, x[i].tolist()):
                witness = self.judge(point)
                if witness is not None:
                    return witness
        return None


def _spread(margins: Tensor) -> Tensor:
    finite = torch.nan_to_num(margins)
    spread = (finite - finite.mean(dim=0)).square().mean(dim=0).sqrt()
    return torch.where(spread > 0, spread, torch.ones_like(spread))
