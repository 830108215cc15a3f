"""A depot with a rule of every kind, its data, and small rewards: for tests of penalties and sampling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from rewarden.spec_lang.spec import Spec, parse_spec

TEXT = """spec depot v1

features Step {
  dist  : real [m]   in 0 .. 40
  speed : real [m/s] in 0 .. 2.5
  human : bool
  zone  : enum {aisle, dock, charger}
}
features Act { push: real in -1 .. 1 }
features Emb { e: real ^ 4 in -1 .. 1 }
assume s: Step = s.zone == charger implies s.speed <= 0.5 [m/s]

reward R(s: Step)
reward Base(s: Step)
reward Q(s: Step, a: Act, t: Step)
reward H(x: Emb)
data logs: Step from "data/logs.csv"
data embs: Emb from "data/embs.npz"
data prefs: (better: Emb, worse: Emb) from "data/prefs.npz"
param gap: real = 0

relation move(a: Step, b: Step) =
  |b.speed - a.speed| <= 0.2 [m/s] and b.dist <= a.dist and a.dist - b.dist <= 1 [s] * a.speed
  and b.zone == a.zone and b.human == a.human

must slow:     forall a, b: Step varying speed given a.human and a.speed <= b.speed expect R(a) >= R(b)
must capped:   forall s: Step given s.human and s.speed > 1 [m/s] expect R(s) <= quantile(R(logs), 0.05) - gap
must same:     forall s: Step given s.speed <= 1 [m/s] expect R(s) == Base(s) weight 2
should closer: forall a, b: Step given a.dist <= b.dist and a.zone == b.zone expect R(a) + 1 > R(b)
must shaped:   forall s: Step, a: Act, t: Step given move(s, t) expect |Q(s, a, t) - R(s)| <= 3
should steady: forall x: Emb near embs within 0.02 in l2 expect |H(x) - H(anchor(x))| <= 0.1
must agreed:   forall p in prefs expect share(H(p.better) > H(p.worse)) >= 0.6 confidence 0.99
must each:     forall p in prefs expect H(p.better) >= H(p.worse) - 1
must shorter:  trace t: Step within 3 steps via move expect sum(R(t) discount 0.9) <= 2
must exactly:  trace t: Step of 3 steps via move given always t.human expect sum(R(t)) <= 1
must loop:     cycle t: Step via move expect sum(R(t)) <= 0
must wary:     forall a, b: Step given R(a) >= R(b) expect Base(a) >= Base(b)
"""
PAIRS, LOGS, EMBS = 200, 40, 30


def depot(folder: Path, **params: object) -> Spec:
    """The spec, its data written below `folder`."""
    rng = np.random.default_rng(0)
    data = folder / "data"
    data.mkdir(exist_ok=True)
    zones = ("aisle", "dock", "charger")
    lines = [
        f"{rng.uniform(0, 40):.3f},{rng.uniform(0, 0.5):.3f},{k % 2},{zones[int(rng.integers(3))]}" for k in range(LOGS)
    ]
    (data / "logs.csv").write_text("\n".join(["dist,speed,human,zone", *lines]) + "\n")
    np.savez(data / "embs.npz", e=rng.uniform(-1, 1, (EMBS, 4)))
    members = {f"{member}.e": rng.uniform(-1, 1, (PAIRS, 4)) for member in ("better", "worse")}
    np.savez(data / "prefs.npz", **members)
    return parse_spec(TEXT, "depot.rwd", base=folder, params=params)


def network(width: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    layers = torch.nn.Sequential(torch.nn.Linear(width, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return layers.to(dtype)


def networks() -> dict[str, torch.nn.Module]:
    """One in binary64 among those in binary32."""
    return {"R": network(6), "Base": network(6, 1, torch.float64), "Q": network(13, 2), "H": network(4, 3)}


class Level(torch.nn.Module):
    """A reward that is the same number everywhere."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(float(value), dtype=torch.float64))
        self.asked: list[int] = []

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.asked.append(len(rows))
        return self.value.expand(len(rows))


def steps(*rows: tuple[float, float, float, int]) -> torch.Tensor:
    """Encoded records of (dist, speed, human, number of the zone)."""
    return torch.tensor([[d, v, h, *(float(z == k) for k in range(3))] for d, v, h, z in rows], dtype=torch.float64)
