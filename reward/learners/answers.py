"""How likely an answer is under a reward: the losses of pairs, ties and rankings.

With R_i the sum of rewards over the i-th segment, and Δ = R_1 − R_2 for a pair:

    pair      σ(Δ)                                                Bradley & Terry 1952; segments: Christiano et al. 2017
    with ties e^{Δ/2} / (e^{Δ/2} + e^{−Δ/2} + ν), a tie ν / (…)    Davidson 1970; ν > 0 is learned
    ranking   Π_i e^{R_i} / Σ_{j ≥ i} e^{R_j}                      Plackett 1975, Luce 1959

A share ε of answers is a slip of the hand: of K possible answers, each gets ε and the model's own share is 1 − K·ε
(`label_noise`; ε bounds what one wrong answer can cost). Where annotators are told apart each has an ε of their own,
learned along. Answers count by their weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.reward.learners.interface import Array, Comparisons
from rewarden.reward.training import tensor64
from rewarden.spec_lang.errors import DataError

FEWEST = 20
PACE = 10.0  # log-odds per unit of what is learned: they have farther to go than weights, at the same learning rate


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Normalised segments z [answer, place, step, width] with what was answered; None where all answers are alike."""

    z: Tensor
    places: Tensor | None = None
    ties: Tensor | None = None
    weights: Tensor | None = None
    annotators: Tensor | None = None

    def __len__(self) -> int:
        return len(self.z)

    def to(self, dtype: torch.dtype) -> Answers:
        return replace(self, z=self.z.to(dtype))

    def __getitem__(self, items: Tensor) -> Answers:
        rest = (self.places, self.ties, self.weights, self.annotators)
        return Answers(self.z[items], *(None if t is None else t[items] for t in rest))


@dataclass(frozen=True, slots=True)
class Noise:
    """What is learned beside the reward: log ν [1] where there are ties, the log-odds of 2ε over `PACE` [annotator]
    where these are told apart."""

    slips: float
    tie: Tensor | None = None
    apart: Tensor | None = None

    def of(self, answers: Answers) -> Tensor | float:
        """ε of each answer."""
        if self.apart is None or answers.annotators is None:
            return self.slips
        return self.each()[answers.annotators]

    def each(self) -> Tensor:
        """ε of each annotator."""
        assert self.apart is not None
        return 0.5 * torch.sigmoid(PACE * self.apart)

    def parameters(self) -> tuple[Tensor, ...]:
        return tuple(t for t in (self.tie, self.apart) if t is not None)


def has_ties(data: Comparisons) -> bool:
    return data.ties is not None and bool(data.ties.any())


def answers_of(data: Comparisons, z: Tensor, tied: bool | None = None) -> Answers:
    """The comparisons with normalised segments in place of recorded ones. `tied`: whether there are ties among all, of
    which these are some; by default these are all."""
    tied = has_ties(data) if tied is None else tied
    return Answers(
        z,
        None if data.places is None else torch.from_numpy(data.places.astype(np.int64)),
        None if data.ties is None or not tied else torch.from_numpy(data.ties.astype(np.bool_)),
        None if data.weights is None else tensor64(data.weights),
        None if data.annotators is None else torch.from_numpy(data.annotators.astype(np.int64)),
    )


def noise_of(answers: Answers, slips: float, names: int) -> Noise:
    """Where learning starts; `names` annotators are told apart, or none."""
    tie = torch.zeros(1, dtype=torch.float64).requires_grad_() if answers.ties is not None else None
    start = min(max(2.0 * slips, 0.01), 0.9)
    apart = torch.full((names,), float(np.log(start / (1 - start))) / PACE, dtype=torch.float64).requires_grad_()
    return Noise(slips, tie, apart if names and answers.annotators is not None else None)


def each(sums: Tensor, answers: Answers, noise: Noise) -> Tensor:
    """The negative log-likelihood of each answer; sums of rewards [answer, place]."""
    if sums.shape[1] > 2 or answers.places is not None:
        return _ranking(sums, answers, noise)
    if answers.ties is not None:
        return _with_ties(sums, answers, noise)
    return _pair(sums[:, 0] - sums[:, 1], noise.of(answers))


def loss(sums: Tensor, answers: Answers, noise: Noise) -> Tensor:
    """The mean of `each`, by the answers' weights."""
    found = each(sums, answers, noise)
    if answers.weights is None:
        return found.mean()
    return (found * answers.weights).sum() / answers.weights.sum().clamp(min=1e-12)


def _pair(margins: Tensor, slips: Tensor | float) -> Tensor:
    if isinstance(slips, float) and slips == 0.0:
        return torch.nn.functional.softplus(-margins)  # −log σ, without its overflow
    return -torch.log((1.0 - 2.0 * slips) * torch.sigmoid(margins) + slips)


def _with_ties(sums: Tensor, answers: Answers, noise: Noise) -> Tensor:
    assert noise.tie is not None
    assert answers.ties is not None
    half = (sums[:, 0] - sums[:, 1]) / 2
    logits = torch.stack([half, -half, noise.tie.expand_as(half)])
    said = torch.where(answers.ties, 2, 0)
    chosen = logits.gather(0, said.unsqueeze(0))[0] - torch.logsumexp(logits, dim=0)
    return _slipped(chosen, noise.of(answers), torch.tensor(3.0, dtype=torch.float64))


def _ranking(sums: Tensor, answers: Answers, noise: Noise) -> Tensor:
    """Σ over places of −log of the share of e^{R} that the place has of it and all later ones."""
    count = sums.shape[1]
    places = torch.full((len(sums),), count) if answers.places is None else answers.places
    absent = torch.arange(count).unsqueeze(0) >= places.unsqueeze(1)
    held = sums.masked_fill(absent, -1e30)
    rest = torch.logcumsumexp(held.flip(1), dim=1).flip(1)
    left = (places.unsqueeze(1) - torch.arange(count).unsqueeze(0)).to(sums.dtype)
    slips = noise.of(answers)
    each = slips.unsqueeze(1) if isinstance(slips, Tensor) else slips
    found = _slipped(held - rest, each, left.clamp(min=1.0))
    return torch.where(left > 1.0, found, 0.0).sum(dim=1)  # the last place is no choice


def _slipped(chosen: Tensor, slips: Tensor | float, choices: Tensor) -> Tensor:
    """−log of the probability of an answer that the model alone would give with log-probability `chosen`."""
    if isinstance(slips, float) and slips == 0.0:
        return -chosen
    share = 2.0 * slips / choices  # two possible answers: ε each
    return -torch.log((1.0 - 2.0 * slips) * torch.exp(chosen.clamp(min=-700.0)) + share)


def right(sums: Tensor, answers: Answers) -> tuple[int, int]:
    """How many of the pairs within answers the reward orders as answered, and how many there are; ties are left out."""
    count = sums.shape[1]
    places = torch.full((len(sums),), count) if answers.places is None else answers.places
    first, second = torch.triu_indices(count, count, offset=1)
    there = second.unsqueeze(0) < places.unsqueeze(1)
    if answers.ties is not None:
        there &= ~answers.ties.unsqueeze(1)
    agreed = (sums[:, first] > sums[:, second]) & there
    return int(agreed.sum()), int(there.sum())


# ── what the answers are worth ─────────────────────────────────────────────────────────────────
def checked(data: Comparisons) -> tuple[Array, dict[str, str]]:
    """A key [answer, …] that is equal for equal questions, and what a record should say of the answers.

    Raises DataError: D20 (too few), D22 (they say nothing: both sides equal throughout, or every answer contradicted),
    D05 (not finite).
    """
    count, places = data.segments.shape[:2]
    what = "compared pairs" if places == 2 else "rankings"
    if count < FEWEST:
        raise DataError(
            "D20",
            f"too few {what} to learn from: {count}",
            help=f"give at least {FEWEST} of them; a few thousand make a useful reward",
        )
    flat = np.ascontiguousarray(data.segments.reshape(count, places, -1))
    for start in range(0, count, 65_536):
        broken = ~np.isfinite(flat[start : start + 65_536]).all(axis=(1, 2))
        if broken.any():
            row = start + int(np.flatnonzero(broken)[0])
            raise DataError("D05", f"answer {row + 1} holds a value that is not a number", help="fill it in or drop it")
    same = (flat == flat[:, :1]).all(axis=(1, 2))
    if same.all():
        raise DataError(
            "D22", f"all {what} compare a segment with itself: there is nothing to learn", help="compare different ones"
        )
    return _questions(data, flat, same)


def _questions(data: Comparisons, flat: Array, same: np.ndarray) -> tuple[Array, dict[str, str]]:
    notes: dict[str, str] = {}
    if same.any():
        notes["answers that compare a segment with itself"] = str(int(same.sum()))
    count, places = flat.shape[:2]
    key, order = asked(flat, data.places)
    _, groups = np.unique(key, axis=0, return_inverse=True)
    groups = groups.reshape(-1)
    questions = int(groups.max()) + 1
    if count == questions:
        return key, notes
    notes["answers to a question that was asked before"] = str(count - questions)
    told = ~same if data.ties is None else ~same & ~data.ties
    _, alike, times = np.unique(np.column_stack([groups, order])[told], axis=0, return_inverse=True, return_counts=True)
    usual = np.zeros(questions, np.int64)  # how often the most frequent answer to a question was given
    np.maximum.at(usual, groups[told], times[alike.reshape(-1)])
    against = int(told.sum() - usual.sum())
    if against:
        notes["answers that contradict another"] = str(against)
    # Where each segment of a question is as far up as down, taken over its answers, they say nothing together.
    last = np.full((count, 1), places - 1) if data.places is None else data.places[:, None] - 1
    up = np.zeros((questions, places))
    np.add.at(up, groups[told], np.where(order <= last, 2 * order - last, 0)[told])
    if told.any() and not up.any():
        raise DataError(
            "D22",
            f"the answers contradict each other throughout: each of {against} has its opposite",
            help="are the columns of the better and the worse segment mixed up?"
            if places == 2
            else "do the places count from the best, 1, in all rankings?",
        )
    return key, notes


def asked(flat: Array, places: NDArray[np.int64] | None = None) -> tuple[Array, NDArray[np.int64]]:
    """Segments of answers [answer, place, n] in an order that is theirs, whatever was answered [answer, place·n], and
    the places [answer, place] that they had. `places` as in `Comparisons`."""
    if places is not None:
        absent = np.arange(flat.shape[1]) >= places[:, None]
        flat = np.where(absent[:, :, None], -1e300, flat)
    if flat.shape[1] == 2:
        swapped = _before(flat[:, 1], flat[:, 0])
        order = np.where(swapped[:, None], [1, 0], [0, 1])
    else:
        _, known = np.unique(flat.reshape(-1, flat.shape[2]), axis=0, return_inverse=True)  # in lexicographic order
        order = np.argsort(known.reshape(flat.shape[:2]), axis=1, kind="stable")
    return np.take_along_axis(flat, order[:, :, None], axis=1).reshape(len(flat), -1), order


def _before(one: Array, other: Array) -> np.ndarray:
    """Row by row: `one` comes before `other` in the lexicographic order."""
    differs = one != other
    place = differs.argmax(axis=1)
    rows = np.arange(len(one))
    return np.asarray(differs.any(axis=1) & (one[rows, place] < other[rows, place]))
