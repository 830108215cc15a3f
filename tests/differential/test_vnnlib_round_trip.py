"""Rules out to VNN-LIB and back: the queries say what the claim says, and are answered as the claim is.

What a query says is read from its text and from the exported network, evaluated exactly by a reference that knows
nothing of claims; what a claim says from its artifacts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
import pytest
from hypothesis import Phase, given, settings

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.verdict import Verdict
from rewarden.verifier.vnnlib import split
from rewarden.verifier.vnnlib.answer import answer
from rewarden.verifier.vnnlib.declarations import parse_query
from rewarden.verifier.vnnlib.export import Networks, export_claim
from rewarden.verifier.vnnlib.query import Query, atoms_in, holds
from rewarden.verifier.vnnlib.replay import replayed, variables_of
from rewarden.verifier.vnnlib.wiring import joint_of
from tests.reference.exact_onnx import exact_onnx
from tests.reference.how_many import ALL, part_of
from tests.reference.random_claims import call_values, random_claim, random_point, truth, value_of
from tests.reference.random_graphs import TWO_REALS, random_artifact, random_mlp, random_record_type, seeds

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
CHOICES = RecordType(
    "Step",
    (
        Feature("speed", "real", Fraction(0), Fraction(5, 2), "m/s"),
        Feature("near", "bool", Fraction(0), Fraction(1)),
        Feature("zone", "enum", Fraction(0), Fraction(1), None, ("aisle", "dock")),
    ),
)
KINDS = {"choices": CHOICES, "reals": TWO_REALS, "random": None}
FEW = 24  # queries that a test is willing to look at
ANSWERED = 6  # and to answer, of each version
OPTIONS = VerifyOptions(engine="bounds", budget=300, falsify_budget=600, z3_rlimit=20_000)


@dataclass(frozen=True, slots=True)
class Written:
    """One query with its networks by name, and what the manifest says of it."""

    query: Query
    files: dict[str, Path]
    case: dict[str, object]

    def holds_at(self, inputs: Sequence[Fraction]) -> bool:
        """Is it a solution? The networks are run only where all conditions on inputs alone hold."""
        parts = self.query.formula.parts
        early = [part for part in parts if not any(atom.affine.calls for atom in atoms_in(part))]
        if not all(holds(part, inputs, ()) for part in early):
            return False
        outputs = []
        for network in self.query.networks:
            model = onnx.load(self.files[network.same_as or network.name])
            (tensor,) = network.inputs
            outputs += exact_onnx(model, inputs[tensor.start : tensor.start + tensor.size])
        return all(holds(part, inputs, outputs) for part in parts)


def drawn(seed: int, kind: str) -> tuple[np.random.Generator, Claim, dict[str, Artifact]]:
    rng = np.random.default_rng(seed)
    record_type = KINDS[kind] or random_record_type(rng)
    rewards = {"R": random_artifact(rng, record_type, size=int(rng.integers(1, 5)), patches=int(rng.integers(0, 2)))}
    if rng.random() < 0.4:
        rewards["Base"] = random_mlp(rng, record_type, (4,))
    return rng, random_claim(rng, record_type, rewards), rewards


def written(claim: Claim, rewards: dict[str, Artifact], folder: Path) -> tuple[list[Written], list[Written]] | None:
    """The queries in 1.0 and in 2.0; None where there are too many to look at."""

    def put(name: str, content: bytes) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)

    with patch.object(split, "MAX_CASES", FEW):
        try:
            entry = export_claim(claim, rewards, Networks(put), put).entry
        except Unsupported as error:
            if error.code != "X32":
                raise
            return None
    json.dumps(entry)
    first, second = [], []
    for case in entry["cases"]:
        texts = [(case["query"], {"": case["network"]}, first), (case["query_2"], case["networks_2"], second)]
        for name, networks, found in texts:
            query = parse_query((folder / name).read_bytes(), name)
            found.append(Written(query, {n: folder / file for n, file in networks.items()}, case))
    return first, second


def inputs_of(query: Query, claim: Claim, point: tuple[Fraction, ...]) -> list[Fraction]:
    """A record of the claim as inputs of a query."""
    if query.version == "1.0" or query.networks[0].name == "joint":
        return [*point, *(value_of(row, point) for row in joint_of(claim, ()).extras)]
    return [value_of(row, point) for call in claim.calls for row in call.arguments]


def closed_truth(claim: Claim, rewards: dict[str, Artifact], point: tuple[Fraction, ...]) -> tuple[bool, bool]:
    """(premise, conclusion fails), both with every strict comparison as a non-strict one."""
    calls = call_values(claim, rewards, point)
    margins = [[value_of(a.affine, point, calls) for a in clause] for clause in (*claim.clauses, *claim.goals)]
    premise, goals = margins[: len(claim.clauses)], margins[len(claim.clauses) :]
    return all(any(m >= 0 for m in c) for c in premise), any(all(m <= 0 for m in g) for g in goals)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=part_of(40), deadline=None, phases=PHASES)
@given(seed=seeds)
def test_queries_hold_where_the_claim_fails(kind: str, seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    rng, claim, rewards = drawn(seed, kind)
    queries = written(claim, rewards, tmp_path_factory.mktemp("out"))
    if queries is None:
        return
    exact = not any(one.case["rounded"] for one in queries[0])
    for _ in range(8):
        point = random_point(rng, claim)
        premise, conclusion = truth(claim, rewards, point)
        first, second = (any(q.holds_at(inputs_of(q.query, claim, point)) for q in version) for version in queries)
        violated = premise and not conclusion
        assert first or not violated
        assert second or not violated
        if exact:
            assert second == violated
            assert closed_truth(claim, rewards, point) == (True, True) or not first  # closed, and no more


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4 if ALL else 2, deadline=None, phases=PHASES)
@given(seed=seeds)
def test_the_answers_are_the_verdict(kind: str, seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    _, claim, rewards = drawn(seed, kind)
    queries = written(claim, rewards, tmp_path_factory.mktemp("out"))
    if queries is None:
        return
    direct = verify_claim(claim, rewards, OPTIONS).verdict
    for version in queries:
        said = [(one, answer(one.query, one.files, OPTIONS)) for one in version[:ANSWERED]]
        all_unsat = len(version) <= ANSWERED and {found.said for _, found in said} <= {"unsat"}
        assert not (all_unsat and direct is Verdict.VIOLATED)
        for one, found in said:
            if found.said == "sat":
                assert one.holds_at(found.inputs)
                guess = variables_of(claim, one.query, found.inputs)
                witness = replayed(claim, rewards, one.case["instance"], guess)
                # What is closed or rounded may be a solution and no violation; and nothing else.
                assert witness is not None or one.query.version == "1.0" or one.case["rounded"]
                assert witness is None or direct not in (Verdict.PROVED, Verdict.VACUOUS)


def test_the_generator_reaches_every_answer(tmp_path: Path) -> None:
    """A test of the test: both words, and solutions that replay and that do not."""
    words, replays = set(), set()
    for seed in range(5):
        folder = tmp_path / str(seed)
        folder.mkdir()
        _, claim, rewards = drawn(seed, "reals")
        for one in (written(claim, rewards, folder) or ([],))[0][:3]:
            found = answer(one.query, one.files, OPTIONS)
            words.add(found.said)
            if found.said == "sat":
                guess = variables_of(claim, one.query, found.inputs)
                replays.add(replayed(claim, rewards, one.case["instance"], guess) is not None)
    assert {"sat", "unsat"} <= words
    assert True in replays
