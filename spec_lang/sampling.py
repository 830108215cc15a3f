"""Points at which to look: uniform in an obligation's boxes, with discrete parts right and the premise exactly true.

Random points seldom satisfy a narrow premise, so those that fail are nudged: for a failing atom one variable is moved
to where the atom holds, a few times over. Whatever the nudging does, a point is kept only if the exact evaluator says
that structure, assumptions and premise hold there. This is search, not proof: it may find too few points, or none.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.spec_lang.obligation import (
    And,
    Atom,
    Call,
    Const,
    Formula,
    Ite,
    Max,
    Min,
    Obligation,
    Or,
    Product,
    Quotient,
    Sqrt,
    Statistic,
    Sum,
    Term,
    Var,
)

Rows = NDArray[np.float64]

_ROUNDS = 12  # batches drawn before giving up on n points
_NUDGES = 8  # per batch; equalities settle in two or three
_TOGETHER = 16  # variables moved at once, at most


def sample_rows(obligation: Obligation, n: int, seed: int) -> Rows:
    """Up to n points (float64 [found, variables], found <= n), inside the boxes and the premise.

    Parts of the premise that mention rewards cannot be judged here and are left out: the caller checks those.
    """
    generator = np.random.default_rng(seed)
    draw = _Draw(obligation, generator)
    wanted = And((obligation.structure, obligation.assume, without_calls(obligation.premise)))
    found: list[Rows] = []
    count = 0
    for _ in range(_ROUNDS):
        if count >= n:
            break
        rows, lo, hi = draw.uniform(max(n - count, 32))
        holds = truth_of_rows(wanted, rows)
        for _ in range(_NUDGES):
            if holds.all():
                break
            failing = ~holds
            moved = _nudged(wanted, rows[failing], draw, generator)
            moved = np.clip(moved, lo[failing], hi[failing])
            rows[failing] = moved
            holds[failing] = truth_of_rows(wanted, moved)
        found.append(rows[holds])
        count += int(holds.sum())
    return np.concatenate([np.zeros((0, len(obligation.variables))), *found])[:n]


def without_calls(formula: Formula) -> Formula:
    """The formula with every atom that mentions a reward or a data constant taken for true."""
    match formula:
        case And(parts):
            return And(tuple(without_calls(part) for part in parts))
        case Or(parts):
            return Or(tuple(without_calls(part) for part in parts))
        case Atom(term):
            return And(()) if mentions_rewards(term) else formula


def mentions_rewards(what: Term | Formula) -> bool:
    """Does a Call or a Statistic occur in it?"""
    match what:
        case Call() | Statistic():
            return True
        case Const() | Var():
            return False
        case Sum(parts) | Min(parts) | Max(parts) | And(parts) | Or(parts):
            return any(mentions_rewards(part) for part in parts)
        case Product(left, right) | Quotient(left, right):
            return mentions_rewards(left) or mentions_rewards(right)
        case Sqrt(inner) | Atom(inner):
            return mentions_rewards(inner)
        case Ite(condition, then, otherwise):
            return any(mentions_rewards(part) for part in (condition, then, otherwise))


class _Draw:
    """The boxes in float64, rounded inwards, and the groups of one-hot columns."""

    def __init__(self, obligation: Obligation, generator: np.random.Generator) -> None:
        variables = obligation.variables
        self.obligation = obligation
        self.generator = generator
        self.discrete = np.array([v.discrete for v in variables], dtype=np.bool_)
        self.lo = np.array([inward(v.lo, up=True) for v in variables])
        self.hi = np.array([inward(v.hi, up=False) for v in variables])
        self.groups = one_hot_groups(obligation)
        self.group_of = {index: group for group in self.groups for index in group}

    def uniform(self, n: int) -> tuple[Rows, Rows, Rows]:
        """n points and the box of each: (rows, lo, hi), all [n, variables]."""
        lo, hi = np.tile(self.lo, (n, 1)), np.tile(self.hi, (n, 1))
        instances = self.obligation.instances
        if instances is not None and len(instances.anchors):
            anchors = instances.anchors[self.generator.integers(len(instances.anchors), size=n)]
            for variable, column, radius in instances.centred:
                low, high = band(anchors[:, column], radius)
                lo[:, variable] = np.maximum(lo[:, variable], low)
                hi[:, variable] = np.minimum(hi[:, variable], high)
            for variable, column in instances.fixed:
                lo[:, variable] = hi[:, variable] = anchors[:, column]
        rows = lo + self.generator.random(lo.shape) * (hi - lo)
        whole = np.floor(lo + self.generator.random(lo.shape) * (hi - lo + 1))
        rows = np.where(self.discrete, whole, rows)
        for group in self.groups:
            fixed = lo[:, group[0]] == hi[:, group[0]]  # near data: the anchor's case
            rows[np.ix_(~fixed, list(group))] = self.case_of(int((~fixed).sum()), group)
        return np.clip(rows, lo, hi), lo, hi

    def case_of(self, n: int, group: tuple[int, ...]) -> Rows:
        return np.eye(len(group))[self.generator.integers(len(group), size=n)]


def one_hot_groups(obligation: Obligation) -> tuple[tuple[int, ...], ...]:
    """The variables of each enum feature, in case order."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, variable in enumerate(obligation.variables):
        feature, equals, _ = variable.column.partition("=")
        if equals:
            groups.setdefault((variable.record, feature), []).append(index)
    return tuple(tuple(group) for group in groups.values())


def inward(limit: Fraction, *, up: bool) -> float:
    """The nearest binary64 on the inner side of a limit."""
    nearest = float(limit)
    if up and Fraction(nearest) < limit:
        return float(np.nextafter(nearest, np.inf))
    if not up and Fraction(nearest) > limit:
        return float(np.nextafter(nearest, -np.inf))
    return nearest


def band(centre: Rows, radius: Fraction) -> tuple[Rows, Rows]:
    """Inside centre ± radius whatever the rounding: the radius rounds down, the sums give away one last place."""
    reach = inward(radius, up=False)
    low = np.minimum(np.nextafter(centre - reach, np.inf), centre)
    high = np.maximum(np.nextafter(centre + reach, -np.inf), centre)
    return low, high


# ── nudging ────────────────────────────────────────────────────────────────────────────────────
def _nudged(formula: Formula, rows: Rows, draw: _Draw, generator: np.random.Generator) -> Rows:
    """Each row with its failing atoms mended one after the other, as far as moving one variable mends them."""
    rows = rows.copy()
    match formula:
        case And(parts):
            for part in parts:
                failing = ~truth_of_rows(part, rows)
                if failing.any():
                    rows[failing] = _nudged(part, rows[failing], draw, generator)
        case Or(parts) if parts:
            choice = generator.integers(len(parts), size=len(rows))
            for k, part in enumerate(parts):
                if (choice == k).any():
                    rows[choice == k] = _nudged(part, rows[choice == k], draw, generator)
        case Atom(term, strict):
            _mend(term, strict, rows, draw, generator)
    return rows


def _mend(term: Term, strict: bool, rows: Rows, draw: _Draw, generator: np.random.Generator) -> None:
    """Moves one random variable of the atom, per row, to where the atom holds if it is affine there (in place)."""
    candidates = [index for index in sorted(variables_of(term)) if draw.lo[index] < draw.hi[index]]
    if not candidates:
        return
    free = [index for index in candidates if not draw.discrete[index]]
    if len(free) > 1 and generator.random() < 0.5:
        _slide(term, rows, draw, generator.permutation(free)[:_TOGETHER])
        return
    index = candidates[int(generator.integers(len(candidates)))]
    here = float_value(term, rows)
    ahead = rows.copy()
    step = 1.0 if draw.discrete[index] else (draw.hi[index] - draw.lo[index]) * 2.0**-10
    ahead[:, index] += step
    with np.errstate(all="ignore"):
        move = -here / ((float_value(term, ahead) - here) / step)
    if strict or generator.random() < 0.5:  # half the time beyond the surface rather than on it
        move *= 1.0 + 2.0**-8 + generator.random(len(rows)) * 0.5
    move = np.where(np.isfinite(move), move, 0.0)
    if draw.discrete[index]:
        move = np.where(move > 0, np.ceil(move), np.floor(move))
    target = np.clip(rows[:, index] + move, draw.lo[index], draw.hi[index])
    group = draw.group_of.get(index)
    if group is None:
        rows[:, index] = target
        return
    on = target >= 1
    others = [member for member in group if member != index]
    for row in np.flatnonzero(target != rows[:, index]):
        rows[row, list(group)] = 0.0
        rows[row, index if on[row] else others[int(generator.integers(len(others)))]] = 1.0


def _slide(term: Term, rows: Rows, draw: _Draw, together: NDArray[np.int64]) -> None:
    """Moves several variables at once, each in proportion to its slope and range, a little past the surface (in place).

    The least move in range-scaled coordinates if the term is affine there; what one variable cannot mend alone.
    """
    here = float_value(term, rows)
    slopes = np.zeros((len(rows), len(together)))
    width = (draw.hi - draw.lo)[together]
    for k, index in enumerate(together):
        ahead = rows.copy()
        ahead[:, index] += width[k] * 2.0**-10
        slopes[:, k] = (float_value(term, ahead) - here) * 2.0**10  # per range
    with np.errstate(all="ignore"):
        move = -here[:, None] * slopes / (slopes**2).sum(axis=1, keepdims=True) * width * (1.0 + 2.0**-8)
    rows[:, together] += np.where(np.isfinite(move), move, 0.0)
    rows[:, together] = np.clip(rows[:, together], draw.lo[together], draw.hi[together])


def variables_of(what: Term | Formula) -> frozenset[int]:
    """The variables that occur in it, inside calls too."""
    match what:
        case Var(index):
            return frozenset((index,))
        case Const() | Statistic():
            return frozenset()
        case Sum(parts) | Min(parts) | Max(parts) | And(parts) | Or(parts) | Call(_, parts):
            return frozenset().union(*(variables_of(part) for part in parts))
        case Product(left, right) | Quotient(left, right):
            return variables_of(left) | variables_of(right)
        case Sqrt(inner) | Atom(inner):
            return variables_of(inner)
        case Ite(condition, then, otherwise):
            return variables_of(condition) | variables_of(then) | variables_of(otherwise)


def float_value(term: Term, rows: Rows) -> Rows:
    """The term's value at each row in float64, as a hint only; terms with calls are NaN."""
    match term:
        case Const(constant):
            return np.full(len(rows), float(constant))
        case Var(index):
            return rows[:, index]
        case Sum(terms):
            return sum((float_value(t, rows) for t in terms), np.zeros(len(rows)))
        case Product(left, right):
            return float_value(left, rows) * float_value(right, rows)
        case Quotient(left, right):
            with np.errstate(all="ignore"):
                quotient: Rows = float_value(left, rows) / float_value(right, rows)
            return quotient
        case Min(terms):
            return np.asarray(np.min([float_value(t, rows) for t in terms], axis=0), dtype=np.float64)
        case Max(terms):
            return np.asarray(np.max([float_value(t, rows) for t in terms], axis=0), dtype=np.float64)
        case Ite(condition, then, otherwise):
            chosen = truth_of_rows(condition, rows)
            return np.where(chosen, float_value(then, rows), float_value(otherwise, rows))
        case Sqrt(inner):
            return np.sqrt(np.maximum(float_value(inner, rows), 0.0))
        case Call() | Statistic():
            return np.full(len(rows), np.nan)
