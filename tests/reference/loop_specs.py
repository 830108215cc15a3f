"""Small rules about loops and traces of finite records, and the slow answer: every record, every move, exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import numpy as np
import torch

from rewarden.reward.artifact import Artifact
from rewarden.reward.balls import interval
from rewarden.reward.exact import evaluate
from rewarden.reward.torch_import import from_torch
from rewarden.spec_lang import Spec, parse_spec

Record = tuple[int, ...]  # k, f, and the one-hot case of e

FEATURES = "features S {{ k : int in 0 .. {top}  f : bool  e : enum {{x, y}} }}\n"
RELATIONS: tuple[tuple[str, Callable[[Record, Record], bool]], ...] = (
    ("b.k - a.k <= 1 and a.e == b.e", lambda a, b: b[0] - a[0] <= 1 and a[2:] == b[2:]),
    ("|a.k - b.k| == 1", lambda a, b: abs(a[0] - b[0]) == 1),
    ("b.k == a.k + 1 or (a.k >= 2 and b.k == 0)", lambda a, b: b[0] == a[0] + 1 or (a[0] >= 2 and b[0] == 0)),
    ("b.k > a.k or b.f", lambda a, b: b[0] > a[0] or b[1] == 1),
    ("(a.f implies b.k < a.k) and a.f != b.f", lambda a, b: (not a[1] or b[0] < a[0]) and a[1] != b[1]),
    ("b.k > a.k", lambda a, b: b[0] > a[0]),
    ("2 * b.k <= a.k + 1 and (b.e == y or a.f)", lambda a, b: 2 * b[0] <= a[0] + 1 and (b[3] == 1 or a[1] == 1)),
)
PREMISES: tuple[tuple[str, Callable[[Record], bool]], ...] = (
    ("", lambda a: True),
    ("given always t.k >= 1", lambda a: a[0] >= 1),
    ("given always (t.f or t.e == x)", lambda a: a[1] == 1 or a[2] == 1),
)
SUMS = ("M(t)", "M(t) - R1(t)", "max(M(t), 0) - 0.5", "R(t)", "min(R(t), 0.25) - 0.125", "|R(t)| - 0.5")
COMPARISONS = ("<= 0", "< 0", ">= 0", "> 0")


@dataclass(frozen=True)
class LoopCase:
    """A rule `r` about loops with its rewards; `expected` is what brute force says of it."""

    spec: Spec
    rewards: dict[str, Artifact]
    expected: str
    text: str
    records: tuple[Record, ...]  # that satisfy the premise
    moves: dict[tuple[int, int], Fraction]  # between them, with what each adds


def random_case(seed: int, steps: int = 0, *, smooth: bool = False) -> LoopCase:
    """About loops; with `steps`, about traces of exactly so many records (their moves, for rewards of moves).
    `smooth`: rewards with tanh, whose values are told to 200 bits."""
    rng = np.random.default_rng(seed)
    top = int(rng.integers(1, 4))
    relation, related = RELATIONS[rng.integers(len(RELATIONS))]
    premise, holds = PREMISES[rng.integers(len(PREMISES))]
    sums = SUMS[:3] if steps else SUMS
    added, comparison = sums[rng.integers(len(sums))], COMPARISONS[rng.integers(len(COMPARISONS))]
    shift = Fraction(int(rng.integers(-6, 7)), 8)
    discount = " discount 0.75" if steps % 2 else ""
    text = (
        "spec small v1\n" + FEATURES.format(top=top) + "reward R(s: S)\nreward M(a: S, b: S)\n"
        "let R1(a: S, b: S) = R(b) - R(a)\n"
        f"relation via_(a: S, b: S) = {relation}\n"
        f"must r: {f'trace t: S of {steps} steps' if steps else 'cycle t: S'} via via_ {premise}\n"
        f"expect sum({added} + {shift.numerator} / {shift.denominator}{discount}) {comparison}\n"
    )
    spec = parse_spec(text)
    kind = spec.features["S"]
    rewards = {
        "R": from_torch(_network(kind.width, rng, smooth), (("s", kind),)),
        "M": from_torch(_network(2 * kind.width, rng, smooth), (("a", kind), ("b", kind))),
    }
    records = [
        (k, f, *case) for k, f, case in product(range(top + 1), (0, 1), ((1, 0), (0, 1))) if holds((k, f, *case))
    ]
    single = {a: valued(rewards["R"], [Fraction(v) for v in a]) for a in records}
    moves = {}
    for i, a in enumerate(records):
        for j, b in enumerate(records):
            if related(a, b):
                moved = valued(rewards["M"], [Fraction(v) for v in (*a, *b)])
                # Round a loop R1 adds nothing, so what a step adds is told without it.
                told = "M(t)" if not steps and added == "M(t) - R1(t)" else added
                moves[i, j] = _adds(told, moved, single[a], single[b]) + shift
    expected = (
        _trace_verdict(len(records), moves, comparison, steps) if steps else _verdict(len(records), moves, comparison)
    )
    return LoopCase(spec, rewards, expected, text, tuple(records), moves)


def status_of_records(case: LoopCase) -> list[str]:
    """Per record of the premise: `outside` where no loop goes through it, `violated` where one does that breaks the
    rule, else `proved`: by the largest sums of walks in each component (Floyd and Warshall), all of them above 0 where
    some loop's is, since it can be gone round as often as one likes."""
    comparison = case.text.strip().splitlines()[-1].rpartition(")")[2].split()[0]
    sign, weak = -1 if comparison.startswith(">") else 1, "=" not in comparison
    count = len(case.records)
    reach = {(i, j): i == j or (i, j) in case.moves for i in range(count) for j in range(count)}
    for k, i, j in product(range(count), repeat=3):
        reach[i, j] = reach[i, j] or (reach[i, k] and reach[k, j])
    found = []
    for record in range(count):
        group = [k for k in range(count) if reach[record, k] and reach[k, record]]
        best = {(u, v): sign * w for (u, v), w in case.moves.items() if u in group and v in group}
        pays = False
        for k, i, j in product(group, repeat=3):
            if (i, k) in best and (k, j) in best:
                way = best[i, k] + best[k, j]
                best[i, j] = max(best.get((i, j), way), way)
            pays = pays or best.get((k, k), Fraction(-1)) > 0 or best.get((i, i), Fraction(-1)) > 0
        if not best:
            found.append("outside")
        else:
            found.append("violated" if pays or (weak and best.get((record, record)) == 0) else "proved")
    return found


def valued(reward: Artifact, x: Sequence[Fraction]) -> Fraction:
    """Of a smooth reward the middle of what 200 bits know."""
    return sum(interval(reward, x, 200)) / 2 if reward.smooth else evaluate(reward, x)


def _network(width: int, rng: np.random.Generator, smooth: bool) -> torch.nn.Sequential:
    hidden = int(rng.integers(0, 5))
    layers = (
        [torch.nn.Linear(width, 1)]
        if hidden == 0
        else [
            torch.nn.Linear(width, hidden),
            torch.nn.Tanh() if smooth else torch.nn.ReLU(),
            torch.nn.Linear(hidden, 1),
        ]
    )
    coarse = rng.random() < 0.5
    net = torch.nn.Sequential(*layers)
    with torch.no_grad():
        for p in net.parameters():
            values = rng.normal(0, 0.6, tuple(p.shape))
            p.copy_(torch.tensor(np.round(values * 8) / 8 if coarse else values))
    return net


def _adds(added: str, moved: Fraction, here: Fraction, there: Fraction) -> Fraction:
    match added:
        case "M(t)":
            return moved
        case "M(t) - R1(t)":
            return moved - (there - here)
        case "max(M(t), 0) - 0.5":
            return max(moved, Fraction(0)) - Fraction(1, 2)
        case "R(t)":
            return here
        case "min(R(t), 0.25) - 0.125":
            return min(here, Fraction(1, 4)) - Fraction(1, 8)
        case _:
            return abs(here) - Fraction(1, 2)


def _verdict(count: int, moves: dict[tuple[int, int], Fraction], comparison: str) -> str:
    """By the best mean of a cycle (Karp), which is above 0 just if some loop's sum is."""
    sign = -1 if comparison.startswith(">") else 1
    best = best_mean(count, {move: sign * added for move, added in moves.items()})
    if best is None:
        return "vacuous"
    return "violated" if best > 0 or (best == 0 and "=" not in comparison) else "proved"


def _trace_verdict(count: int, moves: dict[tuple[int, int], Fraction], comparison: str, steps: int) -> str:
    """By the best sum of any path with that many records."""
    sign = -1 if comparison.startswith(">") else 1
    factor, discount = Fraction(1), Fraction(3, 4) if steps % 2 else Fraction(1)
    best: dict[int, Fraction] = {k: Fraction(0) for k in range(count)}
    for _ in range(steps - 1):
        reached: dict[int, Fraction] = {}
        for (u, v), added in moves.items():
            if u in best:
                total = best[u] + sign * factor * added
                reached[v] = max(total, reached.get(v, total))
        best, factor = reached, factor * discount
    top = max(best.values(), default=None)
    if top is None:
        return "vacuous"
    return "violated" if top > 0 or (top == 0 and "=" not in comparison) else "proved"


def best_mean(count: int, moves: dict[tuple[int, int], Fraction]) -> Fraction | None:
    """The largest mean over a cycle's moves; None where there is no cycle."""
    levels: list[list[Fraction | None]] = [[Fraction(0)] * count]
    for _ in range(count):
        row: list[Fraction | None] = [None] * count
        for (u, v), added in moves.items():
            before = levels[-1][u]
            if before is not None and (row[v] is None or before + added > row[v]):  # type: ignore[operator]
                row[v] = before + added
        levels.append(row)
    means = []
    for v in range(count):
        last = levels[count][v]
        if last is not None:
            means.append(min((last - e) / (count - k) for k in range(count) if (e := levels[k][v]) is not None))
    return max(means, default=None)


# ── a continuous world ─────────────────────────────────────────────────────────────────────────
WALK = """spec walk v1
features S {{ x : real in 0 .. 4, y : real in 0 .. 4 }}
reward M(a: S, b: S)
relation walks(a, b: S) = |a.x - b.x| <= 1 and |a.y - b.y| <= 1
must r: cycle t: S via walks expect sum(M(t) - {cost}) {op} 0
"""


def learned(seed: int) -> tuple[torch.nn.Module, str]:
    """A potential that a network has learned roughly, and what a step has to cost for it to be worth a proof."""
    rng = np.random.default_rng(seed)
    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 1))
    one = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    with torch.no_grad():
        for p in one.parameters():
            p.copy_(torch.tensor(rng.normal(0, 0.5, tuple(p.shape))))
        first, last = net[0], net[2]
        first.weight.zero_()
        first.weight[:3, :2], first.weight[3:, 2:] = one[0].weight, one[0].weight
        first.bias[:3], first.bias[3:] = one[0].bias, one[0].bias
        last.weight[0, :3], last.weight[0, 3:] = -one[2].weight[0], one[2].weight[0]
        last.bias.zero_()
        first.weight += torch.tensor(rng.normal(0, 0.02, (6, 4)))
    return net, str(round(float(rng.uniform(0.0, 0.4)), 2))
