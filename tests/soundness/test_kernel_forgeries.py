"""Forgeries made with full knowledge of the kernel: each bends one rule of the format, or one way to read bytes."""

from __future__ import annotations

import copy
import gzip
import json
import os
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from rewarden.certificate import check as kernel
from rewarden.certificate import kernel_ops, kernel_program
from rewarden.certificate.check import Report, check
from rewarden.certificate.kernel_files import gunzip, read_regular
from rewarden.certificate.kernel_json import Refused, canonical, digest, parse
from rewarden.certificate.kernel_program import INPUT
from rewarden.certificate.kernel_program import Relu as KernelRelu
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import AffineMap, Graph, Input, Relu
from rewarden.reward.store import save_artifact
from tests.reference.certificates import (
    Case,
    Json,
    affine,
    atom,
    cases,
    claim,
    claims_file,
    counterexample,
    patched,
    schema,
)


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    return cases(tmp_path_factory.mktemp("cases"))


def linear(weights: list[float], bias: float = 0.0, relu: bool = False) -> Artifact:
    """w·x + b, behind a ReLU if asked for."""
    tensors = {"w": np.array([weights], np.float32), "b": np.array([bias], np.float32)}
    nodes = (Input(), AffineMap(0, "w", "b"), *((Relu(1),) if relu else ()))
    return Artifact((RewardRecord("s", schema(len(weights))),), Graph(nodes, len(nodes) - 1), tensors, "exact")


def run(case: Case, folder: Path) -> Report:
    return check(folder / "certificate", case.rebind().write(folder / "certificate"))


def verdict(case: Case, folder: Path) -> str:
    report = run(case, folder)
    return report.claims[0].verdict if report.claims else f"refused: {report.problem}"


def one_leaf(
    goal: Json,
    artifact: Artifact,
    leaf: list[Json],
    *,
    clauses: list[list[Json]] | None = None,
    box: list[tuple[int, int]] | None = None,
    witness: list[str] | None = None,
) -> Case:
    """A claim about x in −1 … 1 with a proof of a single leaf."""
    bounds = box or [(-1, 1)]
    made = claim({"R": artifact.digest}, [("R", range(len(bounds)))], [[goal]], [bounds], clauses or ())
    proof = {
        "format": "rewarden-proof",
        "format_version": 1,
        "claim": "",
        "witness": {"box": 0, "point": witness or ["1"] * len(bounds)},
        "goals": [[[leaf]]],
    }
    return Case(made, proof, {"R": artifact}).rebind()


R, NOT_R = {0: 1}, {0: -1}
BARE: list[Json] = ["leaf", 0, [], [], []]


# ── strictness and exactness ───────────────────────────────────────────────────────────────────
def test_a_bound_of_zero_proves_at_least_but_not_above(tmp_path: Path) -> None:
    reward = linear([1.0], 1.0)  # x + 1, exactly 0 at x = −1
    assert verdict(one_leaf(atom(affine(0, {}, R)), reward, BARE), tmp_path / "a") == "proved"
    assert verdict(one_leaf(atom(affine(0, {}, R), strict=True), reward, BARE), tmp_path / "b") == "refused"


def test_a_strict_fact_makes_a_zero_bound_strict_and_a_lax_one_does_not(tmp_path: Path) -> None:
    reward = linear([1.0])
    for strict in (False, True):
        fact = [[atom(affine(0, {0: 1}), strict=strict)]]
        case = one_leaf(
            atom(affine(0, {}, R), strict=True), reward, ["leaf", 0, [[0, 0, [1, 0]]], [], []], clauses=fact
        )
        assert verdict(case, tmp_path / str(strict)) == ("proved" if strict else "refused")


def test_no_point_needs_more_than_zero(tmp_path: Path) -> None:
    """−1: with x ≥ 0 and −x ≥ 0, x = 0 is left; λ·facts sum to 0, which excludes nothing unless one is strict."""
    facts = [[atom(affine(0, {0: 1}))], [atom(affine(0, {0: -1}))]]
    leaf = ["leaf", -1, [[0, 0, [1, 0]], [1, 0, [1, 0]]], [], []]
    false = atom(affine(-1, {}, R))
    assert verdict(one_leaf(false, linear([1.0]), leaf, clauses=facts, witness=["0"]), tmp_path / "a") == "refused"
    assert verdict(one_leaf(false, linear([1.0]), ["leaf", -1, [], [], []]), tmp_path / "b") == "refused"


def test_a_bound_just_below_zero_is_not_rounded_away(tmp_path: Path) -> None:
    reward = linear([1.0], 1.0)
    tiny = Fraction(-1, 10**300)
    assert verdict(one_leaf(atom(affine(tiny, {}, R)), reward, BARE), tmp_path / "a") == "refused"
    assert verdict(one_leaf(atom(affine(-tiny, {}, R), strict=True), reward, BARE), tmp_path / "b") == "proved"


def test_slopes_cannot_lift_a_relu(tmp_path: Path) -> None:
    """relu(x) > 0 fails at x ≤ 0 under every slope; relu(x) ≥ 0 holds with slope 0 only."""
    reward = linear([1.0], relu=True)
    for slope in (0, 1, 128, 256):
        leaf = ["leaf", 0, [], [[2, 0, slope]], []]
        assert verdict(one_leaf(atom(affine(0, {}, R), strict=True), reward, leaf), tmp_path / f"s{slope}") == "refused"
        lax = verdict(one_leaf(atom(affine(0, {}, R)), reward, leaf), tmp_path / f"l{slope}")
        assert lax == ("proved" if slope == 0 else "refused")
    for slope in (-1, 257, True, "0", 10**30):
        leaf = ["leaf", 0, [], [[2, 0, slope]], []]
        assert verdict(one_leaf(atom(affine(0, {}, R)), reward, leaf), tmp_path / f"w{slope}") == "refused"


# ── multipliers and facts ──────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "weight",
    [[-1, 0], [0, 0], [True, 0], [1, True], ["1", 0], [1.5, 0], [1, 10**9], [1, -(10**9)], [1 << 300, 0], [1], None],
)  # fmt: skip
def test_weights_are_positive_and_small(weight: Json, tmp_path: Path) -> None:
    fact = [[atom(affine(0, {0: -1}))]]  # −x ≥ 0; a negative weight would "prove" x ≥ 0
    case = one_leaf(
        atom(affine(0, {0: 1})), linear([1.0]), ["leaf", 0, [[0, 0, weight]], [], []], clauses=fact, witness=["0"]
    )
    assert verdict(case, tmp_path).startswith("refused")


@pytest.mark.parametrize("fact", [[1, 0], [-1, 0], [0, 1], [0, -1], [0, 2], [True, 0], ["0", 0], [10**40, 0]])
def test_facts_must_exist_and_have_been_chosen(fact: list[Json], tmp_path: Path) -> None:
    either = [[atom(affine(0, {0: 1})), atom(affine(1))]]  # x ≥ 0, or anything
    case = one_leaf(atom(affine(0, {0: 1})), linear([1.0]), ["leaf", 0, [[*fact, [1, 0]]], [], []], clauses=either)
    assert verdict(case, tmp_path / "a") == "refused"
    case = one_leaf(atom(affine(0, {0: 1})), linear([1.0]), ["leaf", 0, [[0, 0, [1, 0]]], [], []], clauses=either)
    assert verdict(case, tmp_path / "b") == "refused", "an atom of a disjunction without a case above"


def test_a_case_does_not_lend_its_fact_to_its_siblings(tmp_path: Path) -> None:
    either = [[atom(affine(0, {0: 1})), atom(affine(1))]]
    good = ["leaf", 0, [[0, 0, [1, 0]]], [], []]
    case = one_leaf(atom(affine(0, {0: 1})), linear([1.0]), BARE, clauses=either)
    case.proof["goals"] = [[[["case", 0], good, good]]]
    assert verdict(case, tmp_path) == "refused"


def test_facts_about_rewards_tighten_neurons_where_they_hold(tmp_path: Path) -> None:
    """relu(x) ≤ 0 implies x ≤ 0, and nothing below: by a bound of the neuron, which the goal then uses."""
    reward = linear([1.0], relu=True)
    fact = [[atom(affine(0, {}, NOT_R))]]
    step = [2, 0, 1, [[0, 0, [1, 0]]]]
    leaf = ["leaf", 0, [[2, 0, 1, [1, 0]]], [[2, 0, 256]], [step]]

    def tried(name: str, level: int, leaf: list[Json], clauses: list[list[Json]]) -> str:
        goal = atom(affine(level, {0: -1}))
        return verdict(one_leaf(goal, reward, leaf, clauses=clauses, witness=["-1"]), tmp_path / name)

    assert tried("proved", 0, leaf, fact) == "proved"
    assert tried("too much", -1, leaf, fact) == "refused"
    assert tried("the other side", 0, ["leaf", 0, [[2, 0, 0, [1, 0]]], [[2, 0, 256]], [step]], fact) == "refused"
    assert tried("no step", 0, [*leaf[:4], []], fact) == "refused"
    assert tried("too late", 0, ["leaf", 0, leaf[2], [], [step, [2, 0, 256]]], fact) == "refused"
    assert tried("no fact", 0, [*leaf[:4], [[2, 0, 1, []]]], fact) == "refused"
    either = [[atom(affine(0, {}, NOT_R)), atom(affine(1))]]
    assert tried("not chosen", 0, leaf, either) == "refused"


@pytest.mark.parametrize("where", [[-2, 0, 0], [9, 0, 0], [2, 1, 0], [2, -1, 0], [2, 0, 2], [2, 0, True], [-1, 1, 0]])
def test_tight_bounds_name_neurons_that_exist(where: list[Json], tmp_path: Path) -> None:
    fact = [[atom(affine(0, {0: 1}))]]
    leaf = ["leaf", 0, [], [], [[*where, [[0, 0, [1, 0]]]]]]
    case = one_leaf(atom(affine(0, {}, R)), linear([1.0], 1.0, relu=True), leaf, clauses=fact)
    assert verdict(case, tmp_path) == "refused"


# ── trees ──────────────────────────────────────────────────────────────────────────────────────
TREES: dict[str, list[Json]] = {
    "empty": [],
    "a leaf too many": [BARE, BARE],
    "a leaf too few": [["cut", 0, "0"], BARE],
    "cut at the end": [["cut", 0, "1"], BARE, BARE],
    "cut at the start": [["cut", 0, "-1"], BARE, BARE],
    "cut outside": [["cut", 0, "2"], BARE, BARE],
    "cut of no variable": [["cut", 1, "0"], BARE, BARE],
    "cut of a negative variable": [["cut", -1, "0"], BARE, BARE],
    "cut at a float": [["cut", 0, "0.0"], BARE, BARE],
    "cut at NaN": [["cut", 0, "nan"], BARE, BARE],
    "cut at 1e400": [["cut", 0, "1e400"], BARE, BARE],
    "cut not reduced": [["cut", 0, "2/4"], BARE, BARE],
    "cut with a leading zero": [["cut", 0, "01/2"], BARE, BARE],
    "cut at minus nothing": [["cut", 0, "-0"], BARE, BARE],
    "cut over nothing": [["cut", 0, "1/0"], BARE, BARE],
    "cut with other digits": [["cut", 0, "١/٢"], BARE, BARE],
    "cut as a number": [["cut", 0, 0], BARE, BARE],
    "case of no clause": [["case", 0]],
    "unknown node": [["skip"]],
    "node of no kind": [[]],
    "node that is text": ["leaf"],
    "leaf with more": [["leaf", 0, [], [], [], []]],
    "leaf with less": [["leaf", 0, [], []]],
    "goal out of range": [["leaf", 1, [], [], []]],
    "goal that is true": [["leaf", False, [], [], []]],
}


@pytest.mark.parametrize("name", TREES)
def test_trees_that_are_not_whole(name: str, tmp_path: Path) -> None:
    case = one_leaf(atom(affine(0, {}, R)), linear([1.0], 2.0), BARE)
    case.proof["goals"] = [[TREES[name]]]
    assert verdict(case, tmp_path) == "refused"


def test_a_case_on_an_empty_clause_proves_nothing(tmp_path: Path) -> None:
    case = one_leaf(atom(affine(-9, {}, R)), linear([1.0]), ["case", 0], clauses=[[]])
    assert verdict(case, tmp_path) == "refused"


def test_discrete_cuts_leave_no_whole_number_out(tmp_path: Path) -> None:
    """x in 0 … 2, whole; R = |x − 1| − 1/2 style gap: only x = 1 is bad, and no cut can step over it."""
    reward = linear([1.0])
    bad = [atom(affine(Fraction(-3, 2), {0: 1})), atom(affine(Fraction(1, 2), {0: -1}))]  # x ≥ 3/2 or x ≤ 1/2
    made = claim({"R": reward.digest}, [("R", [0])], [bad], [[(0, 2)]], discrete=[0])
    for cut in ("0", "1/2", "1", "3/2", "2", "-1"):
        for first, second in ((1, 0), (0, 1)):
            tree = [["cut", 0, cut], ["leaf", first, [], [], []], ["leaf", second, [], [], []]]
            proof = {
                "format": "rewarden-proof",
                "format_version": 1,
                "claim": "",
                "witness": {"box": 0, "point": ["0"]},
                "goals": [[tree]],
            }
            assert verdict(Case(made, proof, {"R": reward}), tmp_path / f"{cut.replace('/', '_')}{first}") == "refused"
    made["variables"][0]["discrete"] = True
    fine = claim(
        {"R": reward.digest},
        [("R", [0])],
        [[atom(affine(-2, {0: 1})), atom(affine(1, {0: -1}))]],
        [[(0, 2)]],
        discrete=[0],
    )
    tree = [["cut", 0, "3/2"], ["leaf", 1, [], [], []], ["leaf", 0, [], [], []]]
    proof = {
        "format": "rewarden-proof",
        "format_version": 1,
        "claim": "",
        "witness": {"box": 0, "point": ["0"]},
        "goals": [[tree]],
    }
    assert verdict(Case(fine, proof, {"R": reward}), tmp_path / "fine") == "proved"
    fine["variables"][0]["discrete"] = False
    assert verdict(Case(fine, proof, {"R": reward}), tmp_path / "real") == "refused"


@pytest.mark.parametrize("change", ["a goal less", "a goal more", "a box less", "a box more"])
def test_every_goal_and_box_has_its_tree(change: str, tmp_path: Path) -> None:
    case = one_leaf(atom(affine(0, {}, R)), linear([1.0], 2.0), BARE)
    goals: dict[str, Json] = {
        "a goal less": [],
        "a goal more": [[[BARE]]] * 2,
        "a box less": [[]],
        "a box more": [[[BARE]] * 2],
    }
    case.proof["goals"] = goals[change]
    assert verdict(case, tmp_path) == "refused"


def test_a_tree_deeper_than_the_stack(tmp_path: Path) -> None:
    """One long spine: walked without recursion; refused for its depth only past a limit that no search reaches."""
    spine: list[Json] = [["cut", 0, f"{2**k - 1}/{2**k}"] for k in range(1, 1500)]
    nodes: list[Json] = []
    for cut in spine:
        nodes += [cut, BARE]
    case = one_leaf(atom(affine(0, {}, R)), linear([1.0], 2.0), BARE)
    case.proof["goals"] = [[[*nodes, BARE]]]
    assert verdict(case, tmp_path / "a") == "proved"
    case.proof["goals"] = [[[*[["case", 0]] * 20_000, BARE]]]
    case.claim["clauses"] = [[atom(affine(1))]]
    assert "too deep" in run(case, tmp_path / "b").claims[0].reason


# ── gates ──────────────────────────────────────────────────────────────────────────────────────
def test_an_open_gate_is_not_taken_for_a_closed_one(proved: dict[str, Case], tmp_path: Path) -> None:
    """R ≤ the ceiling's level is true in the region and false beyond the ring: nothing closes the gate there."""
    case = proved["fix"].copy()
    case.claim["clauses"] = []
    case.proof["goals"] = [[[["leaf", 0, [], [], []]]]]
    assert verdict(case, tmp_path / "a") == "refused"
    base = linear([1.0])
    reward = patched(base, [[1.0]], [0.0], 0.0, 0.0)  # min(x, 0) where x < 1, else x
    for strict in (True, False):  # x = 1 is outside the gate: R(1) = 1
        case = one_leaf(
            atom(affine(0, {}, NOT_R)), reward, BARE, clauses=[[atom(affine(1, {0: -1}), strict=strict)]], witness=["0"]
        )
        case.proof["goals"] = [[[["leaf", 0, [], [], [[2, 0, 1, [[0, 0, [1, 0]]]]]]]]]
        assert verdict(case, tmp_path / f"{strict}") == "refused", "rows < 1 cannot be shown: x < 1 bounds x by 1 only"
    case = one_leaf(
        atom(affine(0, {}, NOT_R)), reward, BARE, clauses=[[atom(affine(Fraction(1, 2), {0: -1}))]], witness=["0"]
    )
    leaf = ["leaf", 0, [], [], [[1, 0, 1, [[0, 0, [1, 0]]]], [2, 0, 1, [[0, 0, [1, 0]]]]]]
    case.proof["goals"] = [[[leaf]]]
    assert verdict(case, tmp_path / "closed") == "proved"


# ── the witness ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "witness",
    [
        {"box": 0, "point": ["2"]},
        {"box": 1, "point": ["1"]},
        {"box": -1, "point": ["1"]},
        {"box": 0, "point": []},
        {"box": 0, "point": ["1", "1"]},
        {"box": 0, "point": ["1/2"]},
        {"box": 0, "point": ["-1"]},
        {"box": 0, "point": [1]},
        {"box": True, "point": ["1"]},
        {"box": 0},
        None,
    ],
)
def test_a_proof_needs_a_point_where_the_premise_is_true(witness: Json, tmp_path: Path) -> None:
    case = one_leaf(atom(affine(0, {}, R)), linear([1.0], 2.0), BARE, clauses=[[atom(affine(0, {0: 1}))]])
    case.claim["variables"][0]["discrete"] = True
    case.proof["witness"] = witness
    assert verdict(case, tmp_path) == "refused"


def test_a_vacuous_claim_is_not_proved(tmp_path: Path) -> None:
    never = [[atom(affine(-2, {0: 1}))]]
    case = one_leaf(atom(affine(-9, {}, R)), linear([1.0]), ["leaf", -1, [[0, 0, [1, 0]]], [], []], clauses=never)
    assert "premise" in run(case, tmp_path).claims[0].reason


# ── what the certificate is about ──────────────────────────────────────────────────────────────
def test_another_artifact_is_refused(proved: dict[str, Case], tmp_path: Path) -> None:
    case = proved["ceiling"]
    case.write(tmp_path / "certificate")
    save_artifact(linear([1.0, 1.0]), tmp_path / "other.rwz")
    report = check(tmp_path / "certificate", {"R": tmp_path / "other.rwz"})
    assert report.claims[0].verdict == "refused"
    assert not report.accepted


def test_another_artifact_is_refused_even_where_the_proof_would_hold(tmp_path: Path) -> None:
    case = one_leaf(atom(affine(0, {}, R)), linear([1.0], 2.0), BARE)
    case.write(tmp_path / "c")
    save_artifact(linear([1.0], 3.0), tmp_path / "better.rwz")
    report = check(tmp_path / "c", {"R": tmp_path / "better.rwz"})
    assert report.claims[0].verdict == "refused"
    assert "the claim is about" in report.claims[0].reason


def test_a_gate_that_may_be_either_gives_nothing_away(tmp_path: Path) -> None:
    """R = x + 2 where x ≥ 1/2 (rows·x ≥ gate), else min(x + 2, 0): neither R ≤ 0 nor R ≥ 2 holds on −1 … 1."""
    reward = patched(linear([1.0], 2.0), [[2.0]], [0.0], 0.0, 0.0)
    assert verdict(one_leaf(atom(affine(0, {}, NOT_R)), reward, BARE, witness=["-1"]), tmp_path / "a") == "refused"
    assert verdict(one_leaf(atom(affine(-2, {}, R)), reward, BARE, witness=["1"]), tmp_path / "b") == "refused"
    assert verdict(one_leaf(atom(affine(0, {}, R)), reward, BARE, witness=["1"]), tmp_path / "c") == "proved"
    for x, expected in (("1", "violated"), ("1/2", "violated"), ("1/4", "refused"), ("-1", "refused")):
        case = one_leaf(atom(affine(0, {}, NOT_R)), reward, BARE)
        point = {"box": 0, "point": [x]}
        case.proof = {"format": "rewarden-counterexample", "format_version": 1, "claim": "", "witness": point}
        assert verdict(case, tmp_path / x.replace("/", "_")) == expected


def test_a_proof_of_another_claim_is_refused(proved: dict[str, Case], tmp_path: Path) -> None:
    case = proved["ceiling"].copy()
    case.proof["claim"] = digest(canonical(proved["strict"].claim))
    assert check(tmp_path / "c", case.write(tmp_path / "c")).claims[0].verdict == "refused"


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(extra=1),
        lambda c: c.pop("instances"),
        lambda c: c.update(severity="may"),
        lambda c: c["boxes"][0].pop(),
        lambda c: c["boxes"][0][0].reverse(),
        lambda c: c["boxes"][0].__setitem__(0, ["nan", "nan"]),
        lambda c: c["variables"][0].update(discrete=0),
        lambda c: c["variables"][0].update(name="s.x0\nverdict: proved"),
        lambda c: c["variables"][0].update(name="s\u202ex0"),
        lambda c: c["goals"][0][0].update(strict=0),
        lambda c: c["goals"][0][0]["affine"]["calls"].append([0, "1"]),
        lambda c: c["goals"][0][0]["affine"]["calls"].append([1, "1"]),
        lambda c: c["goals"][0][0]["affine"]["variables"].append([2, "1"]),
        lambda c: c["goals"][0][0]["affine"]["variables"].append([0, "0"]),
        lambda c: c["calls"][0]["arguments"][0]["calls"].append([0, "1"]),
        lambda c: c["calls"][0]["arguments"].pop(),
        lambda c: c["calls"][0].update(reward="S"),
        lambda c: c["rewards"].update(S="sha256:00"),
        lambda c: c.update(rule=["rule"]),
    ],
)
def test_claims_that_are_not_of_the_form(
    change: Callable[[Json], object], proved: dict[str, Case], tmp_path: Path
) -> None:
    case = proved["ceiling"].copy()
    change(case.claim)
    report = check(
        tmp_path / "c", case.rebind().write(tmp_path / "c") if case.claim["rule"] == "rule" else written(case, tmp_path)
    )
    assert not report.accepted
    assert report.problem is not None or report.claims[0].verdict == "refused"


def written(case: Case, folder: Path) -> dict[str, Path]:
    plain = case.copy()
    plain.claim["rule"] = "rule"
    paths = plain.write(folder / "c")
    (folder / "c" / "claims.json").write_bytes(claims_file(case.claim))
    return paths


# ── bytes ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}', '{"a":1.0}', '{"a":1e5}', '{"a":NaN}', '{"a":Infinity}', '{"a":-Infinity}', '{"a":01}',
        '{"a":-0}', '{"a": 1}', '{"b":1,"a":1}', '{"a":1}\n', '\ufeff{"a":1}', '{"a":"\\u0041"}', '{"a":"\\ud800"}', 
        "[" * 100_000 + "]" * 100_000,
        "9" * 5000, "", "{", '{"a":1}{}', "\udcff",
    ],
)  # fmt: skip
def test_json_has_one_form(text: str) -> None:
    with pytest.raises(Refused):
        parse(text.encode("utf-8", "surrogateescape"))


def test_gzip_bombs_and_trailing_bytes(
    tmp_path: Path, proved: dict[str, Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refused, match="more than"):
        gunzip(gzip.compress(bytes(1 << 22)), limit=1 << 20)
    for data in (
        gzip.compress(b"[]") + b"x",
        gzip.compress(b"[]") * 2,
        gzip.compress(b"[]")[:-3],
        b"",
        zlib.compress(b"[]"),
    ):
        with pytest.raises(Refused):
            gunzip(data)
    case = proved["ceiling"]
    paths = case.write(tmp_path / "c")
    plain = tmp_path / "c" / "proofs" / "rule.json"
    (tmp_path / "c" / "proofs" / "rule.json.gz").write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    assert "two proofs" in str(check(tmp_path / "c", paths).problem)
    plain.unlink()
    assert check(tmp_path / "c", paths).accepted


def test_links_and_devices_are_not_followed(tmp_path: Path, proved: dict[str, Case]) -> None:
    paths = proved["ceiling"].write(tmp_path / "c")
    proof = tmp_path / "c" / "proofs" / "rule.json"
    proof.rename(tmp_path / "elsewhere.json")
    proof.symlink_to(tmp_path / "elsewhere.json")
    assert check(tmp_path / "c", paths).claims[0].verdict == "refused"
    proof.unlink()
    os.mkfifo(proof)
    assert check(tmp_path / "c", paths).claims[0].verdict == "refused"
    proof.unlink()
    (tmp_path / "c" / "proofs").rename(tmp_path / "proofs")
    (tmp_path / "c" / "proofs").symlink_to(tmp_path / "proofs")
    assert "link" in str(check(tmp_path / "c", paths).problem)


def test_files_of_no_claim_and_names_that_lead_out(tmp_path: Path, proved: dict[str, Case]) -> None:
    paths = proved["ceiling"].write(tmp_path / "c")
    (tmp_path / "c" / "proofs" / "more.json").write_bytes(b"{}")
    assert "belongs to no claim" in str(check(tmp_path / "c", paths).problem)
    assert kernel.evidence_name("../../etc/passwd", "sha256:" + "0" * 64) == "claim-" + "0" * 64
    assert kernel.evidence_name(".hidden", "sha256:" + "0" * 64) == "claim-" + "0" * 64


def test_files_have_a_largest_size(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(100))
    with pytest.raises(Refused, match="larger"):
        read_regular(tmp_path / "big", limit=99)
    assert len(read_regular(tmp_path / "big", limit=100)) == 100


# ── artifacts ──────────────────────────────────────────────────────────────────────────────────
def forged_artifact(
    folder: Path, change: Callable[[Json], object] = lambda _: None, tensors: bytes | None = None
) -> Path:
    """An artifact whose manifest was changed, with its digests mended."""
    save_artifact(linear([1.0], 2.0, relu=True), folder)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    if tensors is not None:
        (folder / "tensors.safetensors").write_bytes(tensors)
        manifest["tensors"] = digest(tensors)
    change(manifest)
    (folder / "manifest.json").write_bytes(canonical(manifest))
    return folder


def safetensors(header: str, data: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header.encode() + data


def entry(name: str, shape: str, start: int, end: int, kind: str = "F32") -> str:
    return f'"{name}":{{"dtype":"{kind}","shape":{shape},"data_offsets":[{start},{end}]}}'


ONE, TWO = struct.pack("<f", 1.0), struct.pack("<f", 2.0)
GOOD = "{" + entry("w", "[1,1]", 0, 4) + "," + entry("b", "[1]", 4, 8) + "}"


def judged(folder: Path) -> str:
    """What the kernel says of R ≥ 0 about an artifact on disk."""
    name = digest((folder / "manifest.json").read_bytes())
    made = claim({"R": name}, [("R", [0])], [[atom(affine(0, {}, R))]], [[(-1, 1)]])
    proof = {"format": "rewarden-proof", "format_version": 1, "claim": digest(canonical(made)),
             "witness": {"box": 0, "point": ["1"]}, "goals": [[[BARE]]]}  # fmt: skip
    Case(made, proof).write(folder.parent / "c")
    report = check(folder.parent / "c", {"R": folder})
    return report.claims[0].verdict if report.claims else f"refused: {report.problem}"


def test_the_plain_artifact_is_read(tmp_path: Path) -> None:
    assert judged(forged_artifact(tmp_path / "a")) == "proved"
    assert judged(forged_artifact(tmp_path / "b", tensors=safetensors(GOOD, ONE + TWO))) == "proved"


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(more=1),
        lambda m: m.pop("parent"),
        lambda m: m.update(format_version=2),
        lambda m: m.update(format_version=True),
        lambda m: m.update(format="rewarden-artifakt"),
        lambda m: m.update(tensors="sha256:" + "0" * 64),
        lambda m: m["graph"].update(output=3),
        lambda m: m["graph"].update(output=-1),
        lambda m: m["graph"]["nodes"][1].update({"in": 1}),
        lambda m: m["graph"]["nodes"][1].update({"in": 2}),
        lambda m: m["graph"]["nodes"][1].update({"in": -1}),
        lambda m: m["graph"]["nodes"][1].update(weight="b"),
        lambda m: m["graph"]["nodes"][1].update(weight="none"),
        lambda m: m["graph"]["nodes"][1].update(op="softmax"),
        lambda m: m["graph"]["nodes"][1].update(also=1),
        lambda m: m["graph"]["nodes"].append({"op": "input"}),
        lambda m: m["graph"]["nodes"].append({"op": "concat", "parts": []}),
        lambda m: m["graph"]["nodes"].append({"op": ["relu"], "in": 2}),
        lambda m: m["records"][0]["features"].append(dict(m["records"][0]["features"][0])),
        lambda m: m["records"][0]["features"][0].update(size=10**9),
        lambda m: m["records"][0]["features"][0].update(kind="complex"),
        lambda m: m["patches"].append({"kind": "ceiling"}),
    ],
)
def test_manifests_that_say_something_else(change: Callable[[Json], object], tmp_path: Path) -> None:
    assert judged(forged_artifact(tmp_path / "a", change)).startswith("refused")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        safetensors(GOOD, ONE),
        safetensors(GOOD, ONE + TWO + ONE),
        safetensors(GOOD, ONE + struct.pack("<f", float("nan"))),
        safetensors(GOOD, ONE + struct.pack("<f", float("inf"))),
        safetensors("{" + entry("w", "[1,1]", 0, 4) + "," + entry("b", "[1]", 0, 4) + "}", ONE),
        safetensors("{" + entry("w", "[1,1]", 4, 8) + "," + entry("b", "[1]", 8, 12) + "}", ONE + ONE + TWO),
        safetensors("{" + entry("w", "[1,1]", 0, 4) + "," + entry("b", "[1]", 4, 8, "I32") + "}", ONE + TWO),
        safetensors("{" + entry("w", "[1,1]", 0, 4) + "," + entry("b", "[]", 4, 8) + "}", ONE + TWO),
        safetensors("{" + entry("w", "[1,0]", 0, 0) + "," + entry("b", "[1]", 0, 4) + "}", ONE),
        safetensors(
            "{" + entry("w", "[1,1]", 0, 4) + "," + entry("w", "[1,1]", 0, 4) + "," + entry("b", "[1]", 4, 8) + "}",
            ONE + TWO,
        ),
        safetensors("[]", b""),
        safetensors('{"w":1}', b""),
        safetensors("{" + entry("w", "[1.0,1]", 0, 4) + "," + entry("b", "[1]", 4, 8) + "}", ONE + TWO),
    ],
)
def test_tensors_files_that_are_not_plain(data: bytes, tmp_path: Path) -> None:
    assert judged(forged_artifact(tmp_path / "a", tensors=data)).startswith("refused")


def test_widths_do_not_explode(tmp_path: Path) -> None:
    """Each concat doubles the width: refused long before memory runs out."""

    def double(manifest: Json) -> None:
        nodes = manifest["graph"]["nodes"]
        nodes += [{"op": "concat", "parts": [k, k]} for k in range(len(nodes) - 1, len(nodes) + 59)]
        manifest["graph"]["output"] = len(nodes) - 1

    assert "large" in check_reason(forged_artifact(tmp_path / "a", double))


def test_empty_rows_cost_memory_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Joining many narrow layers, over and over in another order: nearly no weights, and rows without end."""
    monkeypatch.setattr(kernel_program, "MAX_WEIGHTS", 1 << 13)
    program = kernel_program.Program(4)
    eye = kernel_program.diagonal([1] * 4)
    parts = [program.emit([(INPUT, eye, k + 1)], kind=KernelRelu) for k in range(16)]
    orders = [(*parts[k:], *parts[:k]) for k in range(16)]
    with pytest.raises(Refused, match="large"):
        [kernel_ops.layers_of(program, "concat", order, ()) for order in orders]
    assert sum(len(block.rows) for layer in program.layers for block in layer.blocks) < 1 << 14


def check_reason(folder: Path) -> str:
    judged(folder)
    name = folder.parent / "c"
    report = check(name, {"R": folder})
    return report.claims[0].reason if report.claims else str(report.problem)


def test_zips_hold_two_stored_files(tmp_path: Path) -> None:
    folder = forged_artifact(tmp_path / "a")
    parts = {n: (folder / n).read_bytes() for n in ("manifest.json", "tensors.safetensors")}
    judged(folder)

    def zipped(name: str, members: list[tuple[str, bytes]], kind: int = zipfile.ZIP_STORED) -> str:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", kind) as archive:
            for member, data in members:
                archive.writestr(member, data)
        report = check(tmp_path / "c", {"R": path})
        return report.claims[0].verdict if report.claims else f"refused: {report.problem}"

    both = list(parts.items())
    assert zipped("good.rwz", both) == "proved"
    assert zipped("more.rwz", [*both, ("x", b"")]).startswith("refused")
    assert zipped("less.rwz", both[:1]).startswith("refused")
    assert zipped("packed.rwz", both, zipfile.ZIP_DEFLATED).startswith("refused")
    assert zipped("bomb.rwz", [both[0], (both[1][0], bytes(1 << 25))], zipfile.ZIP_DEFLATED).startswith("refused")
    (tmp_path / "cut.rwz").write_bytes((tmp_path / "good.rwz").read_bytes()[:-30])
    assert not check(tmp_path / "c", {"R": tmp_path / "cut.rwz"}).accepted


STRANGE: list[Json] = [
    None,
    True,
    -1,
    0,
    1,
    10**40,
    "",
    "1",
    "-1",
    "1/3",
    "x",
    [],
    [[]],
    {},
    {"a": []},
    ["cut", 0, "0"],
]


def scattered(rng: random.Random, value: Json) -> None:
    """Replace one part of a JSON value, at any depth, by something strange."""
    while isinstance(value, dict | list) and value:
        key = rng.choice(sorted(value)) if isinstance(value, dict) else rng.randrange(len(value))
        if not isinstance(value[key], dict | list) or not value[key] or rng.random() < 0.15:
            value[key] = copy.deepcopy(rng.choice(STRANGE))
            return
        value = value[key]


@pytest.mark.parametrize("name", ["premise", "either", "fix", "local"])
def test_whatever_is_scattered_in_it_is_refused_with_a_sentence(
    proved: dict[str, Case], name: str, tmp_path: Path
) -> None:
    """The kernel never raises, and nothing strange is proved that was not a true claim before."""
    for seed in range(60):
        rng = random.Random(seed)
        case = proved[name].copy()
        scattered(rng, case.claim if seed % 2 else case.proof)
        case.claim["rule"] = "rule"
        folder = tmp_path / str(seed) / "c"
        report = check(folder, case.rebind().write(folder) if isinstance(case.claim["rewards"], dict) else {})
        if report.problem is None and report.claims[0].verdict == "proved":
            assert counterexample(case.claim, case.artifacts) is None
        else:
            assert report.problem or report.claims[0].reason


def test_strange_manifests_are_refused_with_a_sentence(tmp_path: Path) -> None:
    for seed in range(60):
        rng = random.Random(seed)
        verdict = judged(forged_artifact(tmp_path / str(seed) / "a", lambda manifest, r=rng: scattered(r, manifest)))
        assert verdict.startswith("refused") or verdict == "proved"
