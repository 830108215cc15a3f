"""Rewards for the three worlds: small networks, each fitted to labels of one way of paying. Same labels, same network.

Each world has a naive way of paying and a mended one. The labels are of moves drawn at random, half of them moves of
the kind that the payment is about; the fit is by Adam on one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Array]
Pay = Callable[[Array], Array]
MOVES = 20_000


@dataclass(frozen=True)
class World:
    """`draw` gives moves [n, both records' columns]; `naive` and `mended` say what each should be paid."""

    name: str
    rule: str
    draw: Draw
    naive: Pay
    mended: Pay
    hidden: int
    story: str


class Reward(torch.nn.Module):
    """A linear part and one hidden layer of relus side by side; reads both records of a move."""

    def __init__(self, columns: int, hidden: int) -> None:
        super().__init__()
        self.line = torch.nn.Linear(columns, 1)
        self.hidden = torch.nn.Linear(columns, hidden)
        self.out = torch.nn.Linear(hidden, 1)

    def forward(self, moves: torch.Tensor) -> torch.Tensor:
        return self.line(moves) + self.out(torch.relu(self.hidden(moves)))


def fit(world: World, pay: Pay, moves: int = MOVES, rounds: int = 1500) -> Reward:
    """The linear part by least squares, the rest by Adam on what that leaves; float32, deterministic."""
    torch.manual_seed(7)
    rows = world.draw(np.random.default_rng(7), moves)
    labels = pay(rows)
    line = np.linalg.lstsq(np.hstack((rows, np.ones((moves, 1)))), labels, rcond=None)[0]
    rest = labels - np.hstack((rows, np.ones((moves, 1)))) @ line
    middle, spread = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6)
    x, y = torch.tensor((rows - middle) / spread, dtype=torch.float32), torch.tensor(rest, dtype=torch.float32)
    net = Reward(rows.shape[1], world.hidden)
    with torch.no_grad():
        net.out.weight *= 0.01
        net.out.bias.zero_()
    learned = [*net.hidden.parameters(), *net.out.parameters()]
    adam = torch.optim.Adam(learned, lr=0.02)
    for step in range(rounds):
        for group in adam.param_groups:
            group["lr"] = 0.02 * (1.0 - step / rounds) + 1e-5
        pick = torch.randint(0, moves, (1024,))
        adam.zero_grad()
        error = net.out(torch.relu(net.hidden(x[pick])))[:, 0] - y[pick]
        torch.nn.functional.smooth_l1_loss(error, torch.zeros_like(error), beta=0.05).backward()
        adam.step()
    with torch.no_grad():  # the scaling becomes part of the layers
        net.line.weight[:] = torch.tensor(line[None, :-1])
        net.line.bias[:] = float(line[-1])
        scale = torch.tensor(spread, dtype=torch.float32)
        net.hidden.weight /= scale
        net.hidden.bias -= net.hidden.weight @ torch.tensor(middle, dtype=torch.float32)
    return net


# ── the boat ───────────────────────────────────────────────────────────────────────────────────
BONUS, FUEL, PROGRESS = 1.0, 0.05, 0.1


def _boat_moves(rng: np.random.Generator, count: int) -> Array:
    near = rng.random(count) < 0.5
    along = np.where(near, rng.uniform(34, 56, count), rng.uniform(0, 100, count))
    aside = rng.uniform(0, 20, count)
    wait = rng.integers(0, 5, count) * (rng.random(count) < 0.6)
    to_along = np.clip(along + rng.uniform(-6, 6, count), 0, 100)
    to_aside = np.clip(aside + rng.uniform(-6, 6, count), 0, 20)
    taken = (to_along >= 40) & (to_along <= 50) & (to_aside >= 10)
    to_wait = np.where(wait == 0, np.where(taken, 4, 0), wait - 1)
    return np.stack((along, aside, wait, to_along, to_aside, to_wait), axis=1)


def _boat_pay(bonus: float) -> Pay:
    def pay(moves: Array) -> Array:
        taken = (moves[:, 2] == 0) & (moves[:, 5] == 4)
        return PROGRESS * (moves[:, 3] - moves[:, 0]) + bonus * taken - FUEL

    return pay


# ── the bicycle ────────────────────────────────────────────────────────────────────────────────
EFFORT = 0.2


def _bike_moves(rng: np.random.Generator, count: int) -> Array:
    dist, heading = rng.uniform(0, 40, count), rng.uniform(-3.25, 3.25, count)
    to_dist = dist - 2 + 1.25 * np.abs(heading) + rng.uniform(-0.125, 0.125, count)
    to_heading = np.clip(heading + rng.uniform(-0.5, 0.5, count), -3.25, 3.25)
    return np.stack((dist, heading, to_dist, to_heading), axis=1)


def _bike_naive(moves: Array) -> Array:
    return np.maximum(moves[:, 0] - moves[:, 2], 0.0) - EFFORT


def _bike_mended(moves: Array) -> Array:
    return moves[:, 0] - moves[:, 2] - EFFORT


# ── the cleaner ────────────────────────────────────────────────────────────────────────────────
def _cleaner_moves(rng: np.random.Generator, count: int) -> Array:
    dirt, bag, kind = rng.integers(0, 7, count), rng.integers(0, 4, count), rng.integers(0, 3, count)
    collects = (kind == 0) & (dirt >= 1) & (bag <= 2)
    bag = np.where(kind == 1, 3, bag)
    dumps = (kind == 1) & (dirt + bag <= 6)
    to_dirt = dirt - collects + dumps * bag
    to_bag = np.where(dumps, 0, bag + collects)
    return np.stack((dirt, bag, to_dirt, to_bag), axis=1).astype(np.float64)


def _cleaner_naive(moves: Array) -> Array:
    return np.maximum(moves[:, 0] - moves[:, 2], 0.0) - 0.05


def _cleaner_mended(moves: Array) -> Array:
    return moves[:, 0] - moves[:, 2] - 0.05


WORLDS = (
    World(
        "boat",
        "no_circling",
        _boat_moves,
        _boat_pay(BONUS),
        _boat_pay(0.1),
        32,
        "a bonus that comes back is worth more than coming round for it costs",
    ),
    World("bicycle", "no_circling", _bike_moves, _bike_naive, _bike_mended, 24, "riding away from the goal is free"),
    World("cleaner", "no_dirty_loop", _cleaner_moves, _cleaner_naive, _cleaner_mended, 16, "dumping dirt is free"),
)
