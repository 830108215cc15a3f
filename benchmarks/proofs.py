"""What proofs cost: recorded while engines search, written when a certificate is asked for, checked by the kernel
(by its quickest tier: `benchmarks.certificates` has all of them, of more claims).

One line for each claim of the verifier's suites. All times are of the processor, medians of runs that take turns.
`recording` is a share of the verification: by how much walks over cells that keep their trail take longer than walks
that keep none; of the bounds engine, whose tree is the proof, the time in which that tree was put into words; engines
that record nothing have 0. `writing` is what certifying adds to the verification before the kernel looks.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import numpy as np
import torch
from torch import nn

import rewarden as rw
from benchmarks.rewards import BUDGET, Case, bound_to, capped, learned, steady
from benchmarks.scene import Scene
from benchmarks.timing import Row
from benchmarks.wide import SPEC as WIDE
from rewarden.certificate.check import check
from rewarden.certificate.issue import issue
from rewarden.certificate.statement import SpecFacts
from rewarden.certificate.tiers import tiers
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.canonical import canonical_json
from rewarden.spec_lang.claim import Claim
from rewarden.verifier import branch
from rewarden.verifier.bind import bind
from rewarden.verifier.cells.engine import Cells
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.scribe.late import with_proof
from rewarden.verifier.unwritten import Unwritten
from rewarden.verifier.verdict import RuleResult

RUNS = 3
QUERIES = ("1_1/1", "1_1/3", "1_1/4", "1_1/5", "1_9/2", "4_5/10")  # unsat, and checked within a minute
WIDE_ROWS, WIDE_RADIUS = 200, 0.001


@dataclass(frozen=True, slots=True)
class Subject:
    """A claim, and the engine that is asked."""

    name: str
    claim: Claim
    rewards: Mapping[str, Artifact]
    engine: Literal["auto", "cells"] = "auto"

    def decided(self) -> RuleResult:
        return verify_claim(self.claim, self.rewards, VerifyOptions(engine=self.engine, budget=BUDGET, threads=1))


def proofs(_: Scene) -> Iterator[Row]:
    """Recording, writing, size and checking of proofs."""
    for subject in (*acas_xu(), *rewards_of_sizes(), _wide()):
        yield _row(subject)


def _row(subject: Subject) -> Row:
    verifying, writing, wording = [], [], []
    result, seconds = cpu(subject.decided)
    if result.verdict != "proved":
        return Row(f"proof, {subject.name}", "none", f"{result.verdict} by {result.engine} in {seconds:.2f} s")
    written = with_proof(result, subject.rewards)
    for _ in range(RUNS):
        worded: list[float] = []
        with mock.patch.object(branch, "_proof", _timed(branch._proof, worded)):
            result, seconds = cpu(subject.decided)
        verifying.append(seconds)
        wording.append(sum(worded))
        written, seconds = cpu(partial(with_proof, result, subject.rewards))
        writing.append(seconds)
    spent, more = statistics.median(verifying), statistics.median(writing)
    how = f"{result.verdict} by {result.engine} in {spent:.2f} s"
    if not isinstance(written.proof, Mapping):
        return Row(f"proof, {subject.name}", f"writing {more:.2f} s", f"{how}; {written.reason}")
    owed = result.proof
    if isinstance(owed, Unwritten):
        recording = _recording(subject) / spent if owed.trail is not None else 0.0
    else:
        recording = statistics.median(wording) / spent
    leaves, size = _size(written.proof)
    checking = _checking(subject, written)
    figure = f"recording {100 * recording:.1f} %, writing {more / spent:.2f} × verifying"
    return Row(
        f"proof, {subject.name}",
        figure,
        f"{how}; {leaves} leaves of {size / leaves:,.0f} bytes, kernel {checking:.2f} s",
    )


def cpu(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    found = work()
    return found, time.process_time() - start


def _timed(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    def called(*arguments: object) -> object:
        found, seconds = cpu(lambda: function(*arguments))
        spent.append(seconds)
        return found

    return called


def _recording(subject: Subject) -> float:
    """Seconds that the trail adds to a walk over cells."""
    program = compile_program(subject.claim, subject.rewards)
    more = []
    for _ in range(RUNS + 1):
        spent = []
        for recorded in (False, True):
            cells = Cells.of(program, recorded=recorded)
            assert cells is not None, "this engine has proved the claim"
            budget = BUDGET if subject.engine == "cells" else BUDGET // 100
            spent.append(cpu(partial(cells.run, budget, lambda _: False, lambda *_: None, lambda: False))[1])
        more.append(spent[1] - spent[0])
    return statistics.median(more[1:])


def _size(proof: Mapping[str, Any]) -> tuple[int, int]:
    nodes = [node for goal in proof["goals"] for tree in goal for node in tree]
    return sum(node[0] == "leaf" for node in nodes), len(canonical_json(dict(proof)))


def _checking(subject: Subject, result: RuleResult) -> float:
    """Of the quickest tier, on one process: the exact one takes minutes for trees of a thousand leaves."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        facts = SpecFacts(subject.name.replace(" ", "-"), "sha256:" + "0" * 64)
        issue([result], facts, subject.rewards, folder / "certificate")
        places = {}
        for symbol, artifact in subject.rewards.items():
            places[symbol] = folder / f"{symbol}.rwz"
            rw.save_reward(artifact, places[symbol])
        name, some = list(tiers().values())[-1]
        report, seconds = cpu(partial(check, folder / "certificate", places, 1, name, some))
        assert report.complete, report.problem or report.claims
        return float(seconds)


# ── suites ─────────────────────────────────────────────────────────────────────────────────────
def acas_xu() -> Iterator[Subject]:
    """ACAS Xu queries as claims; none where `REWARDEN_ACASXU` names no folder (`benchmarks.acasxu`)."""
    from rewarden.verifier.vnnlib.cases import branches_of
    from rewarden.verifier.vnnlib.claims import subject_of
    from rewarden.verifier.vnnlib.declarations import parse_query

    folder = Path(os.environ.get("REWARDEN_ACASXU", ""))
    if not (folder / "prop_1.vnnlib").is_file():
        return
    for name in QUERIES:
        network, number = name.split("/")
        query = parse_query((folder / f"prop_{number}.vnnlib").read_bytes(), f"prop_{number}.vnnlib")
        files = {query.networks[0].name: folder / f"ACASXU_run2a_{network}_batch_2000.onnx"}
        asked = subject_of(query, files, branches_of(query))
        for claim, _ in asked.claims(branches_of(asked.asked)):
            yield Subject(f"ACAS Xu {name}", claim, asked.rewards, "cells")


def rewards_of_sizes() -> Iterator[Subject]:
    for inputs, reach in ((5, 1.0), (8, 0.5), (16, 0.2), (32, 0.1), (64, 0.05)):
        case = Case(inputs, reach=reach)
        net = learned(case)
        yield _bound(f"{inputs} inputs, one record", capped(case, net)[0], net)
    for inputs, reach in ((5, 0.25), (5, 0.125)):
        case = Case(inputs, reach=reach)
        net = learned(case)
        yield _bound(f"{inputs} inputs up to {reach}, two records", steady(case, net)[0], net)


def _bound(name: str, text: str, net: nn.Module) -> Subject:
    spec, reward = bound_to(text, net)
    (rule,) = (rule.name for rule in spec.rules)
    return Subject(name, bind(spec, rule, {"R": reward}), {"R": reward})


def _wide() -> Subject:
    """Boxes around rows, over the head of `benchmarks.wide`."""
    head = random_head()
    rows = np.random.default_rng(0).normal(size=(WIDE_ROWS, 384))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    with torch.no_grad(), tempfile.TemporaryDirectory() as name:
        level = float(head(torch.from_numpy(rows)).max()) + 0.05
        np.savez(Path(name) / "rows.npz", e=rows)
        (Path(name) / "wide.rwd").write_text(WIDE.format(radius=WIDE_RADIUS, level=level))
        spec = rw.load_spec(Path(name) / "wide.rwd")
        reward = rw.from_torch(head, features=spec.features["Emb"])
        return Subject(f"wide head, {WIDE_ROWS} rows", bind(spec, "capped", {"H": reward}), {"H": reward})


def random_head() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(384, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 1)).eval()
