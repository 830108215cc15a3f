"""What certificates cost: their size, and the time to write and to check them, against the verification's own.

One line for each claim of the verifier's suites: ACAS Xu (where `REWARDEN_ACASXU` names its folder), networks that
learned a smooth function, about one record and two, a wide head and a deep network near thousands of rows and over a
box, the driving spec with its three patches, loops, and traces. All times are of the processor, in one run, one process
for the kernel. A tier that would take minutes checks chunks of leaves at equal distances; its time is then for all of
them, and the line says of how many it was taken.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import rewarden as rw
from benchmarks.proofs import Subject, acas_xu, cpu, random_head, rewards_of_sizes
from benchmarks.rewards import Case, learned
from benchmarks.scene import Scene
from benchmarks.timing import Row
from rewarden.certificate.check import Check, check, evidence_name
from rewarden.certificate.kernel_alike import sharing
from rewarden.certificate.kernel_claim import Claim
from rewarden.certificate.kernel_program import Program
from rewarden.certificate.kernel_proof import Leaf
from rewarden.certificate.tiers import tiers
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang import Spec
from rewarden.spec_lang.canonical import canonical_json
from rewarden.spec_lang.claim_json import claim_digest, claim_object
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.scribe.late import with_proof
from rewarden.verifier.verdict import RuleResult

BUDGET = 400_000
MOST = {"float64": 2_048, "flint": 48, "exact": 48}  # leaves that a tier checks
FEW = 8  # leaves in a chunk of those that are checked one at a time: samples of many places
NEAR_ROWS, HEAD_ROWS = 2_000, 500
DEEP = """spec deep v1
features S {{ x: real ^ 5 in -0.2 .. 0.2 }}
reward R(s: S)
must capped:
  forall s: S
  expect R(s) <= {level}
"""
NEAR = """spec boxes v1
features S {{ x: real ^ {inputs} in -1 .. 1 }}
reward R(s: S)
data d: S from "rows.npz"
must capped:
  forall s: S near d within {radius}
  expect R(s) <= {level:.6f}
"""
TRACES = """spec traces v1
features S {{
  x: real in -1 .. 1
  y: real in -1 .. 1
  z: real in -1 .. 1
}}
reward R(s: S)
relation follows(a, b: S) = |b.x - a.x| <= 0.1 and |b.y - a.y| <= 0.1 and |b.z - a.z| <= 0.1
must bounded:
  trace t: S within 2 steps via follows
  given always t.x >= 0.5
  expect sum(R(t)) <= {level}
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """A verdict that is to be certified."""

    name: str
    rewards: Mapping[str, Artifact]
    decided: Callable[[], RuleResult]


def certificate(scene: Scene) -> Iterator[Row]:
    """Leaves and bytes; verifying, writing, and checking in each tier."""
    for number, asked in enumerate(_all(scene)):
        if not number:
            asked.decided()  # what is compiled or cached once is not counted
        yield _row(asked)


def _row(asked: Asked) -> Row:
    result, verifying = cpu(asked.decided)
    written, writing = cpu(partial(with_proof, result, asked.rewards))
    told = f"{result.verdict} by {result.engine} in {verifying:.2f} s"
    if not isinstance(written.proof, Mapping) or written.claim is None:
        return Row(f"certificate, {asked.name}", "no proof", f"{told}; {written.reason}")
    proof = canonical_json(dict(written.proof))
    leaves = len(re.findall(rb'\["leaf"', proof))
    with tempfile.TemporaryDirectory() as name:
        places = _certificate(Path(name), written, proof, asked.rewards)
        times = {tier: _checking(Path(name), places, tier, leaves) for tier in reversed(tiers())}
    ratios = ", ".join(f"{tier} {seconds / verifying:.2f} ×" for tier, seconds in times.items())
    some = [f"{tier} from {MOST[tier]} leaves" for tier in times if leaves > 2 * MOST[tier]]
    how = [told, f"writing {writing:.2f} s", f"{leaves} leaves of {len(proof) / max(leaves, 1):,.0f} bytes", *some]
    return Row(f"certificate, {asked.name}", ratios, "; ".join(how))


def _certificate(folder: Path, result: RuleResult, proof: bytes, rewards: Mapping[str, Artifact]) -> dict[str, Path]:
    """What the kernel reads: claims, proof, artifacts."""
    assert result.claim is not None
    claims = {"format": "rewarden-claims", "format_version": 1, "claims": [claim_object(result.claim)]}
    (folder / "claims.json").write_bytes(canonical_json(claims))
    (folder / "proofs").mkdir()
    name = evidence_name(result.claim.rule, claim_digest(result.claim))
    (folder / "proofs" / f"{name}.json").write_bytes(proof)
    places = {symbol: folder / f"{symbol}.rwz" for symbol in rewards}
    for symbol, artifact in rewards.items():
        rw.save_reward(artifact, places[symbol])
    return {symbol: places[symbol] for symbol, _ in result.claim.rewards}


def _checking(folder: Path, places: Mapping[str, Path], tier: str, leaves: int) -> float:
    """Seconds of one process, for all leaves."""
    name, some = tiers()[tier]
    sampled = _Sampled(sharing(some), getattr(some, "chunk", FEW), max(1, leaves // MOST[tier]))
    report, seconds = cpu(partial(check, folder, places, 1, name, sampled))
    assert report.complete, f"{tier}: {report.problem or report.claims}"
    return float(seconds) + sampled.spent * (sampled.seen / max(sampled.checked, 1) - 1)


class _Sampled:
    """Checks every so many chunks of leaves (mutable: what it has seen, and the time that it took)."""

    def __init__(self, check_some: Check, chunk: int, every: int) -> None:
        self.check_some, self.chunk, self.every = check_some, chunk, every
        self.chunks, self.seen, self.checked, self.spent = 0, 0, 0, 0.0

    def __call__(self, claim: Claim, program: Program, found: Sequence[Leaf]) -> None:
        self.seen += len(found)
        self.chunks += 1
        if (self.chunks - 1) % self.every == 0:
            self.checked += len(found)
            self.spent += cpu(partial(self.check_some, claim, program, found))[1]


# ── suites ─────────────────────────────────────────────────────────────────────────────────────
def _all(scene: Scene) -> Iterator[Asked]:
    for subject in rewards_of_sizes():
        yield _of_subject(subject)
    yield _deep()
    yield _near("384-256-64-1 near 500 rows", random_head(), HEAD_ROWS, 384, (0.001, 0.05))
    yield _near("32-32 relus near 2,000 rows", learned(Case(8)), NEAR_ROWS, 8, (0.01, 0.3))
    yield _traces()
    yield _loop()
    yield from _driving(scene)
    for subject in acas_xu():
        yield _of_subject(subject)


def _of_subject(subject: Subject) -> Asked:
    return Asked(subject.name, subject.rewards, subject.decided)


def _asked(name: str, spec: Spec, rule: str, rewards: Mapping[str, Artifact]) -> Asked:
    options = VerifyOptions(budget=BUDGET, threads=1)
    return Asked(name, rewards, lambda: rw.verify(spec, options, rules=[rule], rewards=rewards)[rule])


def _driving(scene: Scene) -> Iterator[Asked]:
    patched = rw.patch(scene.spec, verify_options=VerifyOptions(budget=20_000), rewards=scene.rewards).artifact
    assert patched is not None, "three rules of the packaged spec fail, and are patched"
    for rule in scene.spec.rules:
        rewards = {**scene.rewards, "R": patched}
        yield _asked(f"driving, {rule.name}", scene.spec, rule.name, rewards)


def _loaded(text: str, rows: np.ndarray[Any, Any] | None = None) -> Spec:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "spec.rwd"
        path.write_text(text)
        if rows is not None:
            np.savez(Path(name) / "rows.npz", x=rows)
        spec = rw.load_spec(path)
        if rows is not None:
            spec.table("d")  # read while it is there
        return spec


def _near(name: str, net: nn.Module, count: int, inputs: int, room: tuple[float, float]) -> Asked:
    """Boxes of a radius around rows of unit length; no reward in them is more than some margin above all rows'."""
    radius, margin = room
    rows = np.random.default_rng(0).normal(size=(count, inputs))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    with torch.no_grad():
        level = float(net(torch.from_numpy(rows)).max()) + margin
    spec = _loaded(NEAR.format(inputs=inputs, radius=radius, level=level), rows)
    return _asked(name, spec, "capped", {"R": rw.from_torch(net, features=spec.features["S"])})


def _deep() -> Asked:
    """Six layers of fifty relus at random: one bound over a box, so loose that it takes some thousands of leaves."""
    rng, n, layers = np.random.default_rng(0), 5, list[nn.Module]()
    for m in (50,) * 6 + (1,):
        layers += [nn.Linear(n, m), nn.ReLU()]
        with torch.no_grad():
            layers[-2].weight.copy_(torch.from_numpy(rng.normal(size=(m, n)) * np.sqrt(1.6 / n)))  # type: ignore[operator]
            layers[-2].bias.copy_(torch.from_numpy(rng.normal(size=m) * 0.1))  # type: ignore[operator]
        n = m
    net = nn.Sequential(*layers[:-1]).eval()
    spec = _loaded(DEEP.format(level=0.5635))
    return _asked("6 x 50 relus, 5 inputs", spec, "capped", {"R": rw.from_torch(net, features=spec.features["S"])})


def _loop() -> Asked:
    """The boat of examples/loops, paid as it should be."""
    folder = Path(__file__).resolve().parents[1] / "examples" / "loops"
    found = importlib.util.spec_from_file_location("loop_rewards", folder / "rewards.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module  # its dataclasses ask for it
    found.loader.exec_module(module)
    (world,) = (world for world in module.WORLDS if world.name == "boat")
    spec = rw.load_spec(folder / "boat.rwd")
    (kind,) = spec.features.values()
    reward = rw.from_torch(module.fit(world, world.mended), (("a", kind), ("b", kind)))
    return _asked("loops of a boat", spec, world.rule, {"R": reward})


def _traces() -> Asked:
    """The sum along traces of up to three records stays below three times what one record gets, and a bit."""
    net = learned(Case(3))
    x = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(2)) * 2.0 - 1.0
    x[:, 0] = x[:, 0].abs() / 2.0 + 0.5
    with torch.no_grad():
        level = Fraction(round(1000 * (3.0 * float(net(x).max()) + 0.3)), 1000)
    spec = _loaded(TRACES.format(level=float(level)))
    return _asked("traces of 3 records", spec, "bounded", {"R": rw.from_torch(net, features=spec.features["S"])})
