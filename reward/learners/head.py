"""A linear reward from pairs, from which rows can be removed with a guarantee (Guo et al., ICML 2020).

With x_i the difference of the two segments' sums of normalised features, cut to length 1, and n training pairs,

    L(w) = Σ_i [ −ln σ(w·x_i) + λ/2·|w|² ] + b·w,      b ~ N(0, s²·I)

is minimised. To remove rows M, one Newton step on the rest, v = H⁻¹·Σ_{i∈M} ∇ℓ_i(w), with H the rest's Hessian at w,
gives w + v. What keeps it from the exact minimiser of the rest is the gradient that is left there. With |x_i| ≤ 1 and
|(ln σ)'''| ≤ 1/(6√3), by Taylor's theorem,

    |∇L_rest(w + v)| ≤ |∇L(w)| + |H·v − Σ∇ℓ_i| + ‖X‖₂·|((x_i·v)²)_i| / (6√3).

The bounds β of all removals add up, rounding of the weights to binary32 among them (a change δw moves the gradient by
at most (n·λ + ‖X‖²/4)·|δw|). w + v is the exact minimiser of the rest with b moved by at most β, so that what comes of
removals and what comes of never having seen the rows differ as N(0, s²) and N(β, s²) do: they are (ε, δ)-
indistinguishable with ε = β·√(2·ln(1.5/δ)) / s. Past the budget the head is learned anew, with other noise.

β itself depends on the rows removed, and whoever guesses them could compute it: it is rounded up to a whole number of
`1/GRAINS` of the budget before it is written down. It is a bound for these weights and these rows alone: the manifest
has a digest of both, and where either has changed, by another edit or by hand, the head is learned anew as well.

Assumptions: nobody knows b (it is drawn from the system's randomness, kept nowhere, and no seed gives it back); it is
as Gaussian as numpy's generator makes it; the statement is about the weights, not about whoever saw an older artifact;
rows are not chosen for removal by looking at published weights, which would tell of b (Gupta et al., NeurIPS 2021).
The normaliser comes of the declared ranges, and held-out rows are chosen by a hash of themselves: neither depends on
the data. Ranges are β's only other input.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from math import floor, log, sqrt

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
from rewarden.spec_lang.canonical import digest_of
from rewarden.spec_lang.errors import ArtifactError, DataError, UsageError

THIRD = 1 / (6 * sqrt(3))  # the greatest third derivative of ln σ
SPENT = "removals, bound of the gradient left"
OF = "removals, of these weights and rows"
GRAINS = 1024
MOST_STEPS = 200
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
        stored = _binary32(w)
        left = float(np.linalg.norm(_gradient(pairs.training, stored.astype(np.float64), options.l2) + b))
        bound = _grained(left + SLACK * len(pairs.training), options)
        return _artifact(data, options, stored, bound, pairs, notes, run)

    def remove(self, artifact: Artifact, kept: Comparisons, gone: Comparisons, options: HeadOptions) -> Removed:
        """The artifact after a Newton step that removes `gone`, of which it was learned beside `kept`; learned anew
        from `kept` where the budget would be spent, or is not known of what is at hand."""
        run = Run()
        _require_plain(kept, run)
        if artifact.learner is None or artifact.learner.record.get(OF) != _digest(weights_of(artifact), kept, gone):
            return self._anew(kept, options, "the weights or the data are not those that the head was learned with")
        rest, lost = _Pairs.of(kept, options), _Pairs.of(gone, options)
        x, m = rest.training, lost.training
        w: Array = np.array(weights_of(artifact), np.float64)
        bound = spent_of(artifact)
        if len(m):
            target = _gradient(m, w, options.l2)
            hessian = _hessian(x, w, options.l2)
            step = np.asarray(np.linalg.solve(hessian, target), np.float64)
            norm = _spectral(x)
            stored = _binary32(w + step)
            rounding = float(np.linalg.norm(stored.astype(np.float64) - (w + step)))
            bound += float(np.linalg.norm(hessian @ step - target)) + THIRD * norm * float(
                np.linalg.norm((x @ step) ** 2)
            )
            bound += (len(x) * options.l2 + norm**2 / 4) * rounding + SLACK * len(x)
            bound = _grained(bound, options)
        else:
            stored = _binary32(w)
        if epsilon_of(bound, options) > options.epsilon:
            return self._anew(kept, options, "the budget was spent")
        child = _artifact(kept, options, stored, bound, rest, {}, run)
        return Removed(child, epsilon_of(bound, options))

    def _anew(self, kept: Comparisons, options: HeadOptions, why: str) -> Removed:
        fresh = self.fit(kept, options)
        return Removed(fresh, epsilon_of(spent_of(fresh), options), why)


def epsilon_of(bound: float, options: HeadOptions) -> float:
    return bound * sqrt(2 * log(1.5 / options.delta)) / options.noise


def _grained(bound: float, options: HeadOptions) -> float:
    """More than the bound, in whole grains of the budget."""
    grain = options.epsilon / epsilon_of(GRAINS, options)
    return (floor(bound / grain * (1 + 1e-12)) + 1) * grain


def _digest(w: NDArray[np.float32], *data: Comparisons) -> str:
    """Of weights and rows, in whatever order these are."""
    return digest_of(w.astype("<f4").tobytes() + b"".join(sorted(row for part in data for row in contents(part))))


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
        if float(np.linalg.norm(gradient)) <= 1e-10 * max(len(x), 1):
            return w
        step = np.linalg.solve(_hessian(x, w, l2), gradient)
        now, share = value(w), 1.0
        while value(w - share * step) > now and share > 1e-9:
            share /= 2
        w = w - share * step
    if not np.isfinite(w).all():
        raise ArtifactError("A18", "the training has diverged", help="raise l2")
    return w


# ── what came of it ────────────────────────────────────────────────────────────────────────────
def _artifact(
    data: Comparisons,
    options: HeadOptions,
    w: NDArray[np.float32],
    left: float,
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
        SPENT: f"{left.hex()} ({left:.3g})",
        "removals, epsilon so far": f"{epsilon_of(left, options):.4g} of {options.epsilon:g}, delta {options.delta:g}",
        OF: _digest(w, data),
        "seed": "not used: the noise is drawn from the system and kept nowhere",
        **notes,
    }
    learner = Learner("head", options_text(options), run.seed, record)
    return Artifact((data.record,), assembled.graph, assembled.tensors, "shift", learner=learner, data=data.sources)
