"""Learn a reward from a path, see what it pays for far away, mend that with one edit, prove it, count what changed.

Leaves all it makes in `out/`; the figures are in `out/summary.json`.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cap import capped
from cover import FAR, HIGH, LOW, NEAR, SPAN, Array, cubes, curve, distance

import rewarden as rw
from rewarden.learning import learn_from
from rewarden.reward.artifact import Artifact
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.verdict import VerificationResult

HERE = Path(__file__).parent
OUT = HERE / "out"
SEED, DEMONSTRATIONS, SPREAD = 7, 6000, 0.12  # metres by which the expert strays, cut off at NEAR
BASIN, SAMPLED, ENOUGH = 100_000, 400_000, 0.005
OPTIONS = VerifyOptions(engine="cells", falsify_budget=2_000, budget=400_000)


def main() -> None:
    start = time.perf_counter()
    shutil.rmtree(OUT, ignore_errors=True)
    (OUT / "data").mkdir(parents=True)
    rng = np.random.default_rng(SEED)
    write(OUT / "data" / "demos.parquet", demonstrations(rng))
    kept = cubes()
    for name, centres in zip("abcd", kept, strict=True):
        write(OUT / "data" / f"far_{name}.parquet", centres)
    print(f"{sum(map(len, kept)):,} cubes cover what is farther than {FAR} m from the path")

    spec = rw.load_spec(HERE / "path.rwd")
    learned = learn_from(HERE / "learn.toml")
    rw.save_reward(learned, OUT / "reward")
    before = rw.verify(spec, OPTIONS, R=learned)
    volume, share = violated(learned, rng)
    print(f"learned: {verdicts(before)}; {100 * share:.1f} % of the far region, {volume:.3f} m³, is worth something")

    mended = capped(learned, "far_*_worth_nothing")
    rw.save_reward(mended, OUT / "mended")
    after = rw.verify(spec, OPTIONS, R=mended)
    near = basin(rng)
    changed = int((bits(learned, near) != bits(mended, near)).sum())
    print(f"mended with one edit: {verdicts(after)}; {changed} of {len(near):,} states within {NEAR} m differ in a bit")

    summary = {
        "violated_volume_before": round(volume, 4),
        "violated_share_before": round(share, 4),
        "verdict_before": verdicts(before),
        "verdict_after": verdicts(after),
        "basin_changed": changed,
        "basin_sampled": len(near),
        "edits": 1,
        "cubes": sum(map(len, kept)),
        "seconds": round(time.perf_counter() - start, 1),
    }
    (OUT / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(summary, indent=2))


def demonstrations(rng: np.random.Generator) -> Array:
    """States [n, 3] of an expert who strays a little."""
    path = curve(rng.uniform(*SPAN, 10 * DEMONSTRATIONS))
    states = path + rng.normal(0.0, SPREAD, path.shape)
    inside = ((states >= LOW) & (states <= HIGH)).all(axis=1)
    states = states[inside]
    return states[distance(states) <= NEAR][:DEMONSTRATIONS]


def violated(reward: Artifact, rng: np.random.Generator) -> tuple[float, float]:
    """Volume [m³] and share of the far region that is worth more than it may be, from uniform samples."""
    states = rng.uniform(LOW, HIGH, (SAMPLED, 3))
    far = distance(states) > FAR
    wrong = far & (reward.score(states) > ENOUGH)
    return float(wrong.mean() * np.prod(HIGH - LOW)), float(wrong.sum() / far.sum())


def basin(rng: np.random.Generator) -> Array:
    """States within NEAR of the path, uniform there."""
    found = np.empty((0, 3))
    while len(found) < BASIN:
        states = rng.uniform(LOW, HIGH, (BASIN, 3))
        found = np.concatenate([found, states[distance(states) <= NEAR]])
    return found[:BASIN]


def bits(reward: Artifact, states: Array) -> np.ndarray:
    return np.asarray(reward.score(states)).view(np.uint32)


def verdicts(result: VerificationResult) -> str:
    """One word where all rules have the same verdict, else the worst of them."""
    found = {rule.verdict.value for rule in result.rules}
    return next(word for word in ("violated", "unknown", "vacuous", "proved") if word in found)


def write(path: Path, states: Array) -> None:
    pq.write_table(pa.table(dict(zip("xyz", states.T, strict=True))), path)


if __name__ == "__main__":
    main()
