"""Three worlds, one question: does going round pay? `python examples/loops/run.py [--out DIR] [WORLD…]`, three minutes.

For each world a reward is learned from a naive way of paying, and the loop that pays is shown, record by record; then
one from a mended way, and no loop of any length pays. For the cleaner the rule is also asked of a robot that cannot
make dirt. `summary.json` holds the verdicts; of each mended reward there is a certificate.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rewards import WORLDS, World, fit

import rewarden as rw
from rewarden.reward.artifact import Artifact
from rewarden.reward.store import save_artifact
from rewarden.spec_lang import Spec
from rewarden.verifier.verdict import RuleResult

HERE = Path(__file__).resolve().parent


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 where every naive reward was caught and every mended one proved."""
    parser = argparse.ArgumentParser(description="Does going round pay?")
    parser.add_argument("worlds", nargs="*", metavar="WORLD", help=", ".join(world.name for world in WORLDS))
    parser.add_argument("--out", type=Path, default=HERE / "out")
    options = parser.parse_args(arguments)
    chosen = [world for world in WORLDS if not options.worlds or world.name in options.worlds]
    options.out.mkdir(parents=True, exist_ok=True)
    summary = {world.name: _told(world, options.out) for world in chosen}
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(f"\nsummary     {options.out / 'summary.json'}")
    return 0 if all(found["as_expected"] for found in summary.values()) else 1


def _told(world: World, out: Path) -> dict[str, Any]:
    print(f"\n{world.name}: {world.story}")
    path = HERE / f"{world.name}.rwd"
    naive, mended = (_learned(world, out, which) for which in ("naive", "mended"))
    found = {"naive": _asked(rw.load_spec(path), world, naive)}
    found["mended"] = _asked(rw.load_spec(path), world, mended, out / f"{world.name}-certificate")
    for which, result in found.items():
        _show(which, *result)
    expected = found["naive"][0].verdict == "violated" and found["mended"][0].verdict == "proved"
    if world.name == "cleaner":
        found["locked"] = _asked(rw.load_spec(path, params={"lock": True}), world, naive)
        _show("naive, with the bag locked", *found["locked"])
        expected = expected and found["locked"][0].verdict == "proved"
    return {"as_expected": expected, **{which: _json(*result) for which, result in found.items()}}


def _learned(world: World, out: Path, which: str) -> Artifact:
    spec: Spec = rw.load_spec(HERE / f"{world.name}.rwd")
    (kind,) = spec.features.values()
    network = fit(world, world.naive if which == "naive" else world.mended)
    reward: Artifact = rw.from_torch(network, (("a", kind), ("b", kind)))
    save_artifact(reward, out / f"{world.name}-{which}", overwrite=True)
    return reward


def _asked(spec: Spec, world: World, reward: Artifact, certificate: Path | None = None) -> tuple[RuleResult, float]:
    started = time.monotonic()
    found = rw.verify(spec, R=reward, rules=[world.rule])
    seconds = time.monotonic() - started
    if certificate is not None and found[world.rule].verdict == "proved":
        shutil.rmtree(certificate, ignore_errors=True)
        rw.certify(found, out=certificate)
    return found[world.rule], seconds


def _show(which: str, result: RuleResult, seconds: float) -> None:
    print(f"  {which:<28}{result.verdict.value:<10}{seconds:6.1f} s   {result.reason}")
    if result.witness is None:
        return
    total = 0.0
    paid = [float(call.exact) for call in result.witness.calls]
    for number, (record, added) in enumerate(zip(result.witness.records, paid, strict=True)):
        values = "  ".join(f"{f.name} {f.value:.4g}{' ' + f.unit if f.unit else ''}" for f in record.features)
        total += added
        print(f"      {number + 1}. {values:<48} then {added:+.3f}")
    print(f"      and again from 1: {total:+.3f} a round")


def _json(result: RuleResult, seconds: float) -> dict[str, Any]:
    witness = result.witness
    return {
        "verdict": result.verdict.value,
        "reason": result.reason,
        "loop": None if witness is None else list(witness.values().values()),
        "paid": None if witness is None else [float(call.exact) for call in witness.calls],
        "moves": result.work.boxes,
        "seconds": round(seconds, 2),
    }


if __name__ == "__main__":
    raise SystemExit(main())
