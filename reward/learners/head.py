"""A linear reward from pairs, from which rows can be removed with a guarantee (after Guo et al., ICML 2020).

With x_i the difference of the two segments' sums of normalised features, cut to length 1, and n training pairs D,

    L_D(w) + b·w,      L_D(w) = Σ_i [ −ln σ(w·x_i) + λ/2·|w|² ],      b ~ N(0, s²·I) in d dimensions

is minimised, so that b = −∇L_D(w). To remove rows M, one Newton step on the rest, v = H⁻¹·Σ_{i∈M} ∇ℓ_i(w), with H the
rest's Hessian at w, gives w + v. That is the exact minimiser of the rest for another noise: for b moved by the
gradient that is left, R = ∇L_rest(w + v) − ∇L_rest(w) − H·v. With |x_i| ≤ 1 and |(ln σ)'''| ≤ 1/(6√3), by Taylor's
theorem,

    |R| ≤ ‖X‖₂·|((x_i·v)²)_i| / (12√3).

Were R there before b is drawn, ε = |R|·√(2·ln(1.5/δ)) / s would do, as published. But it is a function of b, by way
of w: such a shift may point along b wherever b is, and may fold or stretch what it moves; and whoever learns anew
where a bound at w says so, tells of b by doing it. So three things are otherwise here.

- Bounds hold for every w with |w − c| ≤ ρ, where c minimises L_D without noise; neither they nor what they decide
  depend on b. With r = s·(√d + √(2·ln(1/δ))), |b| ≤ r but for a chance of δ (|b| has a mean of at most s·√d, and
  changes no faster than b). Where w moves by u, σ' of a row falls to e^−|u| of itself at most, so that the gradient
  grows by at least μ·(1 − e^−|u|), with μ the least eigenvalue of the Hessian of L_D at c. So all w with |∇L_D(w)| ≤
  r lie within ρ = −ln(1 − r/μ) of c. Where r ≥ μ there is no bound, and the head is learned anew.
- Where |b| ≤ r and all shifts together are at most β, the density N(0, s²) differs between b and where it was moved
  by a factor of at most exp((r·β + β²/2) / s²), wherever the shifts point.
- b ↦ b + R is injective there, and stretches volume by (1 − q)^d to (1 + q)^d, if q < 1 bounds the derivative of R by
  b: |∂R/∂w| ≤ ‖X‖₂²·(|v|²/16 + |v|·|∂v/∂w| / (6√3)), since |(ln σ)''''| ≤ 1/8, and |∂w/∂b| ≤ e^ρ/μ. (It meets all b
  that it should: b′ ↦ b − R(b′) contracts.) That adds −d·ln(1 − q) to ε; a shift of s²/r times as much costs no less,
  and is what is added to β.

Shifts of several removals add up, and so do logarithms of volumes. So what comes of removals and what comes of never
having seen the rows are (ε, δ)-indistinguishable, either from the other, with

    ε = (r·β + β²/2) / s².

Past the budget the head is learned anew, with other noise, and nothing is spent. Rounding is charged: weights that
are off by δw have a gradient that is off by at most (n·λ + ‖X‖₂²/4)·|δw|. Weights are taken for real numbers all the
same, as by all schemes of this kind: that binary32 numbers lie on a grid is not in the theorem.

β depends on the rows removed, and whoever guesses them could compute it: it is rounded up to a whole number of
`1/GRAINS` of the budget before it is written down. It is a bound for these weights, rows and options alone: the
manifest has a digest of these and of the bound itself, and where one of them has changed, by another edit or by hand,
the head is learned anew as well.

Assumptions: nobody knows b (it is drawn from the system's randomness, kept nowhere, and no seed gives it back); it is
as Gaussian as numpy's generator makes it; the statement is about the weights, not about whoever saw an older
artifact; rows are not chosen for removal by looking at published weights, which would tell of b (Gupta et al.,
NeurIPS 2021). The normaliser comes of the declared ranges, and held-out rows are chosen by a hash of themselves:
neither depends on the data.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from math import exp, floor, inf, log, log1p, sqrt

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact, Learner
from rewarden.reward.assembly import Assembly
from rewarden.reward.figures import share_text
from rewarden.reward.graph import AffineMap
from rewarden.reward.learners import answers as said
from rewarden.reward.learners.interface import Array, Comparisons, Run
from rewarden.reward.learners.options import HeadOptions, options_text
from rewarden.reward.learners.shards import contents
from rewarden.reward.learners.stage import uniform_by_content
from rewarden.reward.normaliser import range_normaliser
from rewarden.spec_lang.canonical import canonical_json, digest_of
from rewarden.spec_lang.errors import ArtifactError, DataError, UsageError

THIRD = 1 / (6 * sqrt(3))  # the greatest third derivative of ln σ
SPENT = "removals, bound of the gradient left"
OF = "removals, of these weights and rows"
GRAINS = 1024
MOST_STEPS = 200
EXACT = 1e-10  # of each row's share in the gradient: what may be left of it at a minimum, or after a step
SLACK = 1e-11  # of each row's share in a computed norm: far above what binary64 loses over these sums


def system_noise(width: int, deviation: float) -> Array:
    """Gaussian, from the system's randomness: not to be repeated."""
    return np.random.default_rng(secrets.randbits(256)).normal(0.0, deviation, width)


@dataclass(frozen=True, slots=True)
class Removed:
    """The artifact without the rows, its ε so far, and why it had to be learned anew, if it had to."""

    artifact: Artifact
    epsilon: float
    anew: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """The learner `head`. `noise(width, deviation)` is replaced in tests alone."""

    noise: Callable[[int, float], Array] = system_noise
    name = "head"

    def fit(self, data: Comparisons, options: HeadOptions, run: Run = Run()) -> Artifact:  # noqa: B008 (frozen)
        """Learn from pairs, the preferred one first. The seed is not used: what is random must not be repeatable.
        DataError (D05, D20, D22), UsageError G12 for rankings, ties, weights and penalties, ArtifactError A18."""
        _require_plain(data, run)
        _, notes = said.checked(data)
        pairs = _Pairs.of(data, options)
        if not len(pairs.training) or not len(pairs.held_out):
            raise DataError(
                "D20",
                "too few of the pairs are different to learn from some and to hold others out",
                help="the data repeat themselves: give others",
            )
        b = self.noise(data.record.type.width, options.noise)
        w = _minimised(pairs.training, options.l2, b)
        return _artifact(data, options, _binary32(w), 0.0, pairs, notes, run)

    def remove(self, artifact: Artifact, kept: Comparisons, gone: Comparisons, options: HeadOptions) -> Removed:
        """The artifact after a Newton step that removes `gone`, of which it was learned beside `kept`; learned anew
        from `kept` where the budget would be spent, or is not known of what is at hand."""
        run = Run()
        _require_plain(kept, run)
        told = {} if artifact.learner is None else artifact.learner.record
        if told.get(OF) != _digest(weights_of(artifact), spent_of(artifact), options, kept, gone):
            return self._anew(kept, options, "the weights or the data are not those that the head was learned with")
        rest, lost = _Pairs.of(kept, options), _Pairs.of(gone, options)
        x, m = rest.training, lost.training
        w: Array = np.array(weights_of(artifact), np.float64)
        bound = spent_of(artifact)
        if len(m):
            found = _shift(x, m, options)
            if found == inf:
                return self._anew(kept, options, "no bound holds of so few pairs, with this noise and l2")
            bound = _grained(bound + found, options, len(w))
            if epsilon_of(bound, options, len(w)) > options.epsilon:
                return self._anew(kept, options, "the budget was spent")
            target = _gradient(m, w, options.l2)
            hessian = _hessian(x, w, options.l2)
            step = np.asarray(np.linalg.solve(hessian, target), np.float64)
            if not float(np.linalg.norm(hessian @ step - target)) <= EXACT * len(x):
                return self._anew(kept, options, "the step could not be computed closely enough")
            w = w + step
        child = _artifact(kept, options, _binary32(w), bound, rest, {}, run)
        return Removed(child, epsilon_of(bound, options, len(w)))

    def _anew(self, kept: Comparisons, options: HeadOptions, why: str) -> Removed:
        return Removed(self.fit(kept, options), 0.0, why)


def residue(
    before: Artifact, after: Artifact, kept: Comparisons, gone: Comparisons, options: HeadOptions
) -> tuple[float, float]:
    """What an audit looks at, without the noise: how far the gradient of the rest after a removal is from that of all
    rows before it, since both are the noise; and at most how far by the budget and by rounding."""
    x, m = _Pairs.of(kept, options).training, _Pairs.of(gone, options).training
    whole = np.concatenate([x, m])
    w, v = (weights_of(artifact).astype(np.float64) for artifact in (before, after))
    left = float(np.linalg.norm(_gradient(x, v, options.l2) - _gradient(whole, w, options.l2)))
    rounding = 2.0**-24 * float(np.linalg.norm(v)) + len(v) * 2.0**-150
    charged = spent_of(after) - spent_of(before) + (len(x) * options.l2 + _spectral(x) ** 2 / 4) * rounding
    return left, charged + SLACK * len(whole)


def radius(options: HeadOptions, width: int) -> float:
    """r: the noise is no longer, but for a chance of delta."""
    return options.noise * (sqrt(width) + sqrt(2 * log(1 / options.delta)))


def epsilon_of(bound: float, options: HeadOptions, width: int) -> float:
    return float((radius(options, width) * bound + bound**2 / 2) / options.noise**2)


def budget(options: HeadOptions, width: int) -> float:
    """The β that has the options' epsilon."""
    r = radius(options, width)
    return 2 * options.epsilon * options.noise**2 / (r + sqrt(r**2 + 2 * options.epsilon * options.noise**2))


def _grained(bound: float, options: HeadOptions, width: int) -> float:
    """More than the bound, in whole grains of the budget."""
    grain = budget(options, width) / GRAINS
    return (floor(bound / grain * (1 + 1e-12)) + 1) * grain


def _digest(w: NDArray[np.float32], bound: float, options: HeadOptions, *data: Comparisons) -> str:
    """Of weights, bound, options and rows, in whatever order these are."""
    told = canonical_json({**options_text(options), SPENT: bound.hex()})
    rows = sorted(row for part in data for row in contents(part))
    return digest_of(w.astype("<f4").tobytes() + told + b"".join(rows))


def spent_of(artifact: Artifact) -> float:
    """β so far, from the manifest. Raises ArtifactError A12 where it is not there."""
    try:
        assert artifact.learner is not None
        return float.fromhex(artifact.learner.record[SPENT].split()[0])
    except (AssertionError, KeyError, ValueError, IndexError):
        raise ArtifactError("A12", "the manifest has no budget of removals", help="was it learned by head?") from None


def weights_of(artifact: Artifact) -> NDArray[np.float32]:
    """w, float32 [width]."""
    for node in artifact.graph.nodes:
        if isinstance(node, AffineMap):
            return np.array(artifact.tensors[node.weight][0])
    raise ArtifactError("A14", "this is no linear head", help="was it learned by head?")


# ── rows ───────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Differences [pair, width], none longer than 1."""

    training: Array
    held_out: Array

    @classmethod
    def of(cls, data: Comparisons, options: HeadOptions) -> _Pairs:
        sums = range_normaliser(data.record.type)(data.segments).sum(axis=2)
        difference = sums[:, 0] - sums[:, 1]
        length = np.linalg.norm(difference, axis=1, keepdims=True)
        # a few units in the last place below 1, so that computed lengths are at most 1
        x = difference / np.maximum(length * (1 + 1e-12), 1.0)
        held = uniform_by_content(_questions(data)) >= 1.0 - options.held_out
        return cls(np.ascontiguousarray(x[~held]), np.ascontiguousarray(x[held]))


def _questions(data: Comparisons) -> Array:
    """Equal for equal questions, whichever side was preferred."""
    flat = data.segments.reshape(len(data.segments), 2, -1)
    return np.stack([np.minimum(flat[:, 0], flat[:, 1]), np.maximum(flat[:, 0], flat[:, 1])], axis=1)


def _require_plain(data: Comparisons, run: Run) -> None:
    if data.segments.shape[1] != 2 or data.ties is not None or data.weights is not None or run.penalty is not None:
        raise UsageError(
            "G12",
            "the learner 'head' takes pairs alone, without ties, weights or constraints",
            help='the learner "preferences" takes them, and forgets by shards',
        )


def _binary32(w: Array) -> NDArray[np.float32]:
    return np.asarray(w, np.float32)


# ── the objective ──────────────────────────────────────────────────────────────────────────────
def _share(margins: Array) -> Array:
    """σ(−margin), without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0.0, margins)))


def _gradient(x: Array, w: Array, l2: float) -> Array:
    return np.asarray(len(x) * l2 * w - x.T @ _share(x @ w))


def _hessian(x: Array, w: Array, l2: float) -> Array:
    p = _share(x @ w)
    return np.asarray((x.T * (p * (1 - p))) @ x + len(x) * l2 * np.eye(x.shape[1]))


def _spectral(x: Array) -> float:
    """At least ‖X‖₂."""
    return sqrt(float(np.linalg.eigvalsh(x.T @ x)[-1]) * (1 + 1e-9) + SLACK * len(x)) if len(x) else 0.0


def _minimised(x: Array, l2: float, b: Array) -> Array:
    """Newton's method with halved steps; the objective is strongly convex."""
    w = np.zeros(x.shape[1])

    def value(at: Array) -> float:
        return float(np.logaddexp(0.0, -(x @ at)).sum() + len(x) * l2 / 2 * (at @ at) + b @ at)

    for _ in range(MOST_STEPS):
        gradient = _gradient(x, w, l2) + b
        if float(np.linalg.norm(gradient)) <= EXACT * max(len(x), 1):
            return w
        step = np.linalg.solve(_hessian(x, w, l2), gradient)
        now, share = value(w), 1.0
        while value(w - share * step) > now and share > 1e-9:
            share /= 2
        w = w - share * step
    if not np.isfinite(w).all():
        raise ArtifactError("A18", "the training has diverged", help="raise l2")
    return w


# ── bounds that do not depend on the noise ─────────────────────────────────────────────────────
def _shift(x: Array, m: Array, options: HeadOptions) -> float:
    """By how much the step that removes m moves the noise, whatever it was, the charge for volumes, rounding and what
    is left of gradients among it; inf where nothing bounds it. `x` are the rows that stay."""
    whole, width = np.concatenate([x, m]), x.shape[1]
    c = _minimised(whole, options.l2, np.zeros(width))
    norm, l2 = _spectral(x), options.l2
    # everywhere in the ball: after all removals the noise has moved by no more than the budget
    far = radius(options, width) + budget(options, width) + float(np.linalg.norm(_gradient(whole, c, l2)))
    least = _least(_hessian(whole, c, l2), len(whole))
    if far >= least or not len(x):
        return inf
    rho = -log1p(-far / least)
    hessian = _hessian(x, c, l2)
    stays = exp(-rho) * _least(hessian, len(x))
    if stays <= 0.0:
        return inf
    target = _gradient(m, c, l2)
    step = np.linalg.solve(hessian, target)
    bend = _spectral(m) ** 2 / 4 + len(m) * l2  # |∂target/∂w|
    longest = (float(np.linalg.norm(target)) + bend * rho) / stays
    slope = (bend + THIRD * norm**2 * longest) / stays  # |∂v/∂w|
    away = slope * rho
    longest = min(longest, float(np.linalg.norm(step)) + away)
    left = THIRD / 2 * norm * (float(((x @ step) ** 4).sum()) ** 0.25 + sqrt(norm) * away) ** 2
    turned = norm**2 * (longest**2 / 16 + THIRD * longest * slope) * exp(rho) / least
    if turned >= 0.5:
        return inf
    volume = -width * log1p(-turned) * options.noise**2 / radius(options, width)
    rounding = 2.0**-24 * (float(np.linalg.norm(c)) + rho) + width * 2.0**-150  # of the weights that the step starts at
    off = (len(whole) * l2 + _spectral(whole) ** 2 / 4) * rounding
    return float((left + volume + off) * (1 + 1e-9) + (2 * EXACT + SLACK) * len(whole))


def _least(hessian: Array, rows: int) -> float:
    """At most its least eigenvalue."""
    return float(np.linalg.eigvalsh(hessian)[0]) * (1 - 1e-9) - SLACK * rows


# ── what came of it ────────────────────────────────────────────────────────────────────────────
def _artifact(
    data: Comparisons,
    options: HeadOptions,
    w: NDArray[np.float32],
    spent: float,
    pairs: _Pairs,
    notes: dict[str, str],
    run: Run,
) -> Artifact:
    if not np.isfinite(w).all():
        raise ArtifactError("A18", "the training has diverged", help="raise l2")
    normaliser = range_normaliser(data.record.type)
    build = Assembly(len(w))
    node = build.scale(build.INPUT, normaliser.scale, normaliser.shift)
    assembled = build.finish(build.affine(node, w[None, :], np.zeros(1, np.float32)))
    held = pairs.held_out @ w.astype(np.float64)
    record = {
        "pairs": f"{len(pairs.training)} training, {len(pairs.held_out)} held out",
        "accuracy, held out": share_text(int((held > 0).sum()), len(held)),
        SPENT: f"{spent.hex()} ({spent:.3g})",
        "removals, epsilon so far": f"{epsilon_of(spent, options, len(w)):.4g} of {options.epsilon:g}, "
        f"delta {options.delta:g}",
        OF: _digest(w, spent, options, data),
        "seed": "not used: the noise is drawn from the system and kept nowhere",
        **notes,
    }
    learner = Learner("head", options_text(options), run.seed, record)
    return Artifact((data.record,), assembled.graph, assembled.tensors, "shift", learner=learner, data=data.sources)
