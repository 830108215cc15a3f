"""Claims about what is near the rows of a table, or near none of them: the kernel reads the rows, and decides by them.

Tables are of eighths, so that rows' boxes end exactly where patches do. Boxes are held against those that are written
out, points against the clauses that `not near` stands for, and forgeries against a search for a point.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

import rewarden as rw
from rewarden.certificate import kernel_near, kernel_table
from rewarden.certificate.check import check
from rewarden.certificate.kernel_artifact import Tensor
from rewarden.certificate.kernel_claim import read_claim
from rewarden.certificate.kernel_files import table_name
from rewarden.certificate.kernel_json import Refused, canonical, digest
from rewarden.certificate.kernel_near import Row
from rewarden.certificate.kernel_sentence import sentence
from rewarden.certificate.kernel_table import Rows, tabled
from rewarden.certificate.statement import data_said
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.exact import evaluate
from rewarden.reward.graph import AffineMap, Graph, Input, Relu, Tanh
from rewarden.reward.store import save_artifact
from rewarden.spec_lang import Spec, limits
from rewarden.spec_lang.boxes import apart
from rewarden.spec_lang.claim_json import claim_digest, claim_object, dump_claim, load_claim
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.tables import canonical_table
from rewarden.verifier.bind import bind, bind_claim
from rewarden.verifier.options import VerifyOptions
from tests.reference.certificates import affine, atom, claim, claims_file, network, rational
from tests.reference.random_graphs import seeds
from tests.reference.second_checker import check as second
from tests.soundness.test_certified_near import near
from tests.unit.test_mend_near import OPTIONS, RING, TYPE, data, reward, spec_of

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
AWAY = "must far:\n  forall s: S not near bad within {radius}\n  expect R(s) == Before(s)\n"
AROUND = "must close:\n  forall s: S near bad within {radius}\n  expect Before(s) <= 9\n"
BAD = "must r:\n  forall s: S near bad within 1 %\n  expect R(s) <= quantile(R(bad), 1/2)\n"
BEFORE = "reward Before(s: S)\n"


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table is named, however small it is."""
    monkeypatch.setattr(limits, "AWAY", 1)
    monkeypatch.setattr(limits, "BOXES", 1)


# ── what a claim says ──────────────────────────────────────────────────────────────────────────
def spec_about(folder: Path, rules: str, count: int = 12) -> Spec:
    data(folder, count)
    return spec_of(BEFORE + rules, folder)


def in_kernel(claim: Any, spec: Spec, folder: Path) -> Any:
    """The claim as the kernel reads it, with its table."""
    (folder / "tables").mkdir(exist_ok=True)
    table = spec.table("bad")
    (folder / "tables" / table_name(table.table_digest)).write_bytes(canonical_table(TYPE, table.values))
    return tabled(read_claim(json.loads(dump_claim(claim))), folder / "tables")


def test_the_boxes_of_rows_are_those_that_would_be_written_out(tmp_path: Path) -> None:
    spec = spec_about(tmp_path, AROUND.format(radius="{x = 0.3 [m], y = 40 %}"))
    rewards = {"R": reward(), "Before": reward(1)}
    claim = bind(spec, "close", rewards)
    read = in_kernel(claim, spec, tmp_path)
    assert [tuple(box) for box in claim.boxes] == list(read.boxes)
    assert len(json.loads(dump_claim(claim))["boxes"]) == 1
    assert dump_claim(load_claim(dump_claim(claim))) == dump_claim(claim)
    with pytest.raises(IndexError):
        read.boxes[len(claim.boxes)]


def test_a_statement_names_the_table_of_what_is_near_rows(tmp_path: Path) -> None:
    spec = spec_about(tmp_path, AWAY.format(radius="{x = 1 [m], y = 0.25 [m]}"))
    claim = claim_object(bind_claim(spec, "far", {"R": reward(), "Before": reward()}))
    assert data_said([claim]) == [{"used_in": "the rows of rule far", "table": spec.table("bad").table_digest}]


@given(seeds)
@settings(max_examples=12, deadline=None)
def test_a_point_is_near_no_row_where_the_clauses_of_the_rows_say_so(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    folder, rng = tmp_path_factory.mktemp("rows"), np.random.default_rng(seed)
    spec = spec_about(folder, AWAY.format(radius="{x = 1 [m], y = 0.25 [m]}"), 9)
    rewards = {"R": reward(), "Before": reward()}
    claim = bind_claim(spec, "far", rewards)
    assert claim.near is not None
    with pytest.raises(Unsupported, match="comparisons"):
        bind(spec, "far", rewards)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "AWAY", 1 << 17)
        written = read_claim(claim_object(bind(spec, "far", rewards)))
    read = in_kernel(claim, spec, folder)
    rows = spec.table("bad").values
    seen: Counter[bool] = Counter()
    for _ in range(40):
        row = rows[rng.integers(len(rows))] + rng.integers(-2, 3, 5) * np.array([1, 0.25, 0, 0, 0])
        x = [Fraction(v) for v in np.clip(row, [0, -1, 0, 0, 0], [10, 1, 1, 1, 1]).tolist()]
        if rng.random() < 0.3:
            x[2] = 1 - x[2]
        said = all(any(_true(atom, x) for atom in clause) for clause in written.clauses)
        assert (read.near.holds(x), apart(claim, x)) == (said, said)
        seen[said] += 1
    assert len(seen) == 2


def _true(atom: Any, x: list[Fraction]) -> bool:
    value = atom.form.constant + sum(c * x[k] for k, c in atom.form.variables)
    return value > 0 or (value == 0 and not atom.strict)


# ── what rows open ─────────────────────────────────────────────────────────────────────────────
Made = tuple[Any, dict[str, Artifact], dict[str, bytes]]
SIDE = ((-4, 4), (-4, 4))
PROOF = {"format": "rewarden-proof", "format_version": 1, "beyond": True, "goals": [[[["leaf", 0, [], [], []]]]] * 2}


def table_of(rows: np.ndarray) -> bytes:
    names = [f"c{k}" for k in range(rows.shape[1])]
    return canonical({"columns": names, "rows": len(rows)}) + b"\n" + rows.astype("<f8").tobytes()


def local(centres: np.ndarray, patched: np.ndarray | None = None, radius: Fraction = Fraction(1)) -> Made:
    """That a reward with a patch, which acts nearer than 1 to any of `patched`, is what it was but near the centres."""
    base = network(3)
    rewards = {"Base": base, "R": near(base, centres if patched is None else patched)}
    digests = {name: artifact.digest for name, artifact in rewards.items()}
    goals = [[atom(affine(0, calls=way))] for way in ({0: 1, 1: -1}, {0: -1, 1: 1})]
    made = claim(digests, [("R", (0, 1)), ("Base", (0, 1))], goals, [SIDE])
    table = table_of(centres)
    said = {"inside": False, "table": digest(table), "count": len(centres), "columns": [0, 1]}
    made["near"] = {**said, "radii": [rational(radius)] * 2}
    return made, rewards, {digest(table): table}


def proof_of(made: Any, point: tuple[Fraction, ...]) -> Any:
    return {**PROOF, "claim": digest(canonical(made)), "witness": {"box": 0, "point": [rational(x) for x in point]}}


def both(folder: Path, made: Made, proof: Any) -> str:
    """What the kernel says, and why, if it refuses; the second checker says the same."""
    said, rewards, tables = made
    for part in ("proofs", "tables"):
        (folder / part).mkdir(parents=True)
    (folder / "claims.json").write_bytes(claims_file(said))
    (folder / "proofs" / "rule.json").write_bytes(canonical(proof))
    for name, table in tables.items():
        (folder / "tables" / table_name(name)).write_bytes(table)
    paths = {}
    for name, artifact in rewards.items():
        paths[name] = folder / f"{name}.rwz"
        save_artifact(artifact, paths[name])
    report = check(folder, paths)
    other = second(folder, paths)
    assert report.problem is None, report.problem
    assert report.claims[0].verdict == other["rule"].verdict, (report.claims[0], other)
    return report.claims[0].reason if report.claims[0].verdict == "refused" else report.claims[0].verdict


HERE = np.array([[0.0, 0.0], [2.5, -1.0], [-3.0, 1.0], [3.0, 3.0]])
FAR = (Fraction(-3), Fraction(-3))
OPEN = "goal 0: a leaf's bound does not settle it"
POINTS = "the witness does not satisfy the premise (the claim may be vacuous), or the claim is false there"


def test_with_the_radius_of_the_patch_nothing_has_changed_elsewhere_and_with_less_that_is_not_shown(
    tmp_path: Path,
) -> None:
    for name, radius, verdict in (("at", Fraction(1), "proved"), ("less", Fraction(7, 8), OPEN)):
        made = local(HERE, radius=radius)
        assert both(tmp_path / name, made, proof_of(made[0], FAR)) == verdict
    made = local(HERE, radius=Fraction(7, 8))
    changed = Fraction(15, 16), Fraction(0)
    assert apart_from(HERE, Fraction(7, 8), changed)
    assert evaluate(made[1]["R"], changed) != evaluate(made[1]["Base"], changed)


def apart_from(rows: np.ndarray, radius: Fraction, x: tuple[Fraction, ...]) -> bool:
    return all(max(abs(v - Fraction(a)) for v, a in zip(x, row, strict=True)) > radius for row in rows.tolist())


def test_without_the_word_beyond_a_proof_is_about_all_patches(tmp_path: Path) -> None:
    made = local(HERE)
    proof = {key: value for key, value in proof_of(made[0], FAR).items() if key != "beyond"}
    assert both(tmp_path / "c", made, proof) == OPEN


def test_a_row_dropped_another_table_and_another_column_are_refused(tmp_path: Path) -> None:
    made = local(HERE[:-1], HERE)  # with all digests mended
    assert both(tmp_path / "dropped", made, proof_of(made[0], FAR)) == OPEN
    made = local(HERE + np.array([0.125, 0]), HERE)
    assert both(tmp_path / "moved", made, proof_of(made[0], FAR)) == OPEN
    made = local(HERE)
    made[0]["near"]["columns"] = [1, 0]
    assert both(tmp_path / "columns", made, proof_of(made[0], FAR)) == OPEN
    said, rewards, tables = local(HERE)
    ((name, _),) = tables.items()
    swapped = said, rewards, {name: table_of(HERE[::-1])}
    assert both(tmp_path / "bytes", swapped, proof_of(said, FAR)).startswith(f"the table {name} is sha256:")
    said["near"]["count"] = 3
    assert "rows must be 3" in both(tmp_path / "count", (said, rewards, tables), proof_of(said, FAR))


def test_a_witness_near_a_row_is_none(tmp_path: Path) -> None:
    made = local(HERE)
    for name, x, verdict in (("on", Fraction(1), POINTS), ("off", Fraction(17, 16), "proved")):
        assert both(tmp_path / name, made, proof_of(made[0], (x, Fraction(0)))) == verdict


def test_a_counterexample_near_a_row_is_none(tmp_path: Path) -> None:
    for name, radius, verdict in (
        ("near", Fraction(1), "the witness is no counterexample"), ("apart", Fraction(3, 4), "violated"),
    ):  # fmt: skip
        made = local(HERE, radius=radius)
        point = {"box": 0, "point": ["7/8", "0"]}
        shown = {"format": "rewarden-counterexample", "format_version": 1, "claim": digest(canonical(made[0]))}
        assert both(tmp_path / name, made, {**shown, "witness": point}) == verdict


def test_whole_numbers_beyond_a_row_are_the_next_ones(tmp_path: Path) -> None:
    """A patch acts nearer than 1 to a whole number: at that number alone; with the radius 0, or none, it is opened."""
    for name, radius, verdict in (("none", None, "proved"), ("zero", "0", "proved"), ("half", "1/2", "proved")):
        made = local(HERE.round())
        made[0]["variables"][0]["discrete"] = True
        made[0]["near"]["radii"][0] = radius
        assert both(tmp_path / name, made, proof_of(made[0], FAR)) == verdict
    made = local(HERE.round())
    made[0]["near"]["radii"][0] = None  # of a real number the row's value alone
    assert both(tmp_path / "real", made, proof_of(made[0], FAR)) == OPEN


@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, 12))])
def test_no_forgery_of_a_false_claim_is_accepted(tmp_path: Path, seed: int) -> None:
    """Rows, radii, the patches and the box are changed, and every digest is mended; accepted, it is true."""
    rng = np.random.default_rng(seed)
    said: Counter[str] = Counter()
    for k in range(16):
        patched = rng.integers(-20, 21, (int(rng.integers(1, 7)), 2)) / 8
        rows = patched[rng.random(len(patched)) < 0.9] + (rng.random() < 0.3) * rng.integers(-1, 2, 2) / 8
        rows = np.concatenate([rows, rng.integers(-20, 21, (1, 2)) / 8])
        radius = Fraction(int(rng.integers(6, 12)), 8)
        made = local(rng.permutation(rows), patched, radius)
        made[0]["boxes"] = [[["-4", rational(b)] for b in rng.integers(1, 5, 2).tolist()]]
        grid = [(Fraction(x, 16), Fraction(y, 16)) for x, y in rng.integers(-64, 65, (400, 2)).tolist()]
        hi = [Fraction(b) for _, b in made[0]["boxes"][0]]
        inside = [x for x in grid if x[0] <= hi[0] and x[1] <= hi[1] and apart_from(rows, radius, x)]
        if not inside:
            continue
        verdict = both(tmp_path / str(k), made, proof_of(made[0], inside[0]))
        said[verdict] += 1
        if verdict == "proved":
            assert all(evaluate(made[1]["R"], x) == evaluate(made[1]["Base"], x) for x in inside)
    assert said["proved"] > 2
    assert said[OPEN] > 2


def test_the_numbers_of_a_table_and_the_work_of_comparing_rows_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = local(HERE)
    monkeypatch.setattr(kernel_near, "MAX_WORK", 100)
    said, rewards, tables = made
    (tmp_path / "proofs").mkdir()
    (tmp_path / "tables").mkdir()
    (tmp_path / "claims.json").write_bytes(claims_file(said))
    (tmp_path / "proofs" / "rule.json").write_bytes(canonical(proof_of(said, FAR)))
    for name, table in tables.items():
        (tmp_path / "tables" / table_name(name)).write_bytes(table)
    paths = {name: tmp_path / f"{name}.rwz" for name in rewards}
    for name, path in paths.items():
        save_artifact(rewards[name], path)
    (report,) = check(tmp_path, paths).claims
    assert report.reason == "there are too many boxes, or too long a premise, for so large a table of patches"
    monkeypatch.setattr(kernel_table, "MAX_NUMBERS", 7)
    assert check(tmp_path, paths).problem == "the table has too many numbers for this kernel"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"radii": ["-1", "1"]}, "a radius is less than 0"),
        ({"radii": ["1"]}, "list of 2"),
        ({"count": 0}, "integer"),
        ({"table": "md5:0"}, "sha256"),
        ({"more": 1}, "exactly the fields"),
    ],
)
def test_what_is_malformed_is_refused(change: dict[str, Any], why: str) -> None:
    said, _, _ = local(HERE)
    said["near"] |= change
    with pytest.raises(Refused, match=why):
        read_claim(said)


def test_a_claim_near_rows_has_one_box_and_is_of_no_other_kind() -> None:
    said, _, _ = local(HERE)
    with pytest.raises(Refused, match="has one box"):
        read_claim({**said, "boxes": said["boxes"] * 2})
    with pytest.raises(Refused):
        read_claim({**said, "loops": [1]})
    with pytest.raises(Refused):
        read_claim({"rule": "rule", "severity": "must", "cases": [said]})


def test_which_columns_are_read_is_said() -> None:
    said, _, _ = local(HERE)
    other = {**said, "near": {**said["near"], "columns": [2, 1]}}
    assert ", columns 1, 2)" in sentence(read_claim(said))
    assert ", columns 3, 2)" in sentence(read_claim(other))


def test_rows_of_a_patch_and_the_sorting_of_a_table_count_as_work() -> None:
    rows = Rows(array("d", [0, 0, 1, 1]), 2, (Fraction(0),) * 2, (False,) * 2, ((Fraction(-4), Fraction(4)),) * 2)
    ways = [Row(0, {1: way}, 1) for way in (1, -1)]
    spent = []
    for count in (2, 2_000):
        shut = [Row(0, {0: 1}, 1)] * count  # which never open: all of them are looked at
        offsets = Tensor((count + 2,), (100,) * count + (-100, -100), 1)
        near = kernel_near.Near(2)
        assert rows.closed([0], [*shut, *ways], offsets, Fraction(1), near.spend) == [0]
        spent.append(near.work)
    assert spent[1] > 100 * spent[0]


# ── patches that change one atom and keep another ──────────────────────────────────────────────
def between(level: Fraction, way: int, other: bool = False) -> Made:
    """R >= Base or `way`·R >= `way`·level, of a ceiling at −2 on top of Base; `other`: with another call of R."""
    base = network(3)
    rewards = {"Base": base, "R": near(base, HERE)}
    digests = {name: artifact.digest for name, artifact in rewards.items()}
    calls = [("R", (0, 1)), ("Base", (0, 1)), ("R", (1, 0))]
    goal = [affine(0, calls={2 if other else 0: 1, 1: -1}), affine(-way * level, calls={0: way})]
    made = claim(digests, calls[: 3 if other else 2], [[atom(form) for form in goal]], [SIDE])
    return made, rewards, {}


@pytest.mark.parametrize(
    ("level", "way", "other", "verdict"),
    [
        (Fraction(-2), 1, False, "proved"),  # where R < −2 the ceiling has changed nothing
        (Fraction(-15, 8), 1, False, "patch 0 of R is left out, which may be what breaks the claim"),
        (Fraction(0), -1, False, "patch 0 of R is left out, which may be what breaks the claim"),  # R <= 0
        (Fraction(-2), 1, True, "patch 0 of R is left out, which may be what breaks the claim"),
    ],
)
def test_a_goal_with_a_bound_of_the_same_call_survives_a_patch_within_it(
    tmp_path: Path, level: Fraction, way: int, other: bool, verdict: str
) -> None:
    made = between(level, way, other)
    pieces = {"cut": [[["piece", 1]]], "without": [["R", 0]]}
    proof = {key: value for key, value in proof_of(made[0], FAR).items() if key != "beyond"}
    proof |= {"pieces": pieces, "goals": [[[["leaf", 0, [], [], []]]]]}
    assert both(tmp_path / "c", made, proof) == verdict


def test_a_wide_table_beside_a_constant_of_a_smooth_reward_is_written_out(tmp_path: Path) -> None:
    """A constant is a variable more, and tables are named sooner than comparisons are too many to be written."""
    names = [f"x{k}" for k in range(24)]
    values = np.random.default_rng(0).integers(0, 9, (100, 24)) / 8
    lines = [",".join(map(str, row)) for row in values.tolist()]
    (tmp_path / "bad.csv").write_text("\n".join([",".join(names), *lines]) + "\n")
    features = "\n".join(f"  {name} : real [m] in 0 .. 1" for name in names)
    (tmp_path / "s.rwd").write_text(
        f'spec wide v1\nfeatures S {{\n{features}\n}}\nreward R(s: S)\ndata bad: S from "bad.csv"\n'
        "must far:\n  forall s: S not near bad within 1 %\n  expect R(s) <= quantile(R(bad), 1/2) + 100\n"
    )
    kind = RecordType("S", tuple(Feature(name, "real", Fraction(0), Fraction(1), "m") for name in names))
    weights = {"w": np.full((2, 24), 0.25), "b": np.zeros(2), "v": np.ones((1, 2)), "c": np.zeros(1)}
    tensors = {name: w.astype(np.float32) for name, w in weights.items()}
    spec = rw.load_spec(tmp_path / "s.rwd")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "AWAY", 1 << 17)
        patch.setattr(limits, "AWAY_WIDE", 1 << 12)
        for step in (Relu, Tanh):  # of a relu the table is named, and the point that is seen first is one of its rows
            graph = Graph((Input(), AffineMap(0, "w", "b"), step(1), AffineMap(2, "v", "c")), 3)
            rewards = {"R": Artifact((RewardRecord("s", kind),), graph, tensors, "exact")}
            result = rw.verify(spec, OPTIONS, rewards=rewards)
            assert (result.rules[0].claim.near is None) == (step is Tanh)
            rw.certify(result, tmp_path / step.__name__)
            checked = rw.check_certificate(tmp_path / step.__name__, rewards=rewards, spec=spec)
            assert checked.accepted, checked.problems


# ── from the words to the kernel ───────────────────────────────────────────────────────────────
def test_an_edit_near_rows_promises_that_nothing_else_moved_and_the_kernel_says_so(tmp_path: Path) -> None:
    data(tmp_path, 40)
    parent = reward()
    child = rw.patch(spec_of(BAD, tmp_path), RING, verify_options=OPTIONS, R=parent).artifact
    assert child is not None
    text = rw.promise(child, parent, tmp_path / "changed.jsonl")
    (tmp_path / "edit.rwd").write_text(text)
    spec, pair = rw.load_spec(tmp_path / "edit.rwd"), {"R": child, "Before": parent}
    result = rw.verify(spec, OPTIONS, rewards=pair)
    assert {rule.rule: rule.verdict for rule in result.rules} == dict.fromkeys(["outside", "inside", "most"], "proved")
    rw.certify(result, tmp_path / "certificate")
    checked = rw.check_certificate(tmp_path / "certificate", rewards=pair, spec=spec)
    assert checked.accepted, checked.problems
    said = {claim.rule: claim for claim in checked.kernel.claims}
    assert "kernel_table" in said["outside"].files
    assert "kernel_table" in said["most"].files
    assert "kernel_pieces" in said["inside"].files
    assert len(said["outside"].sentence) < 1_000
    schema = json.loads((SCHEMAS / "claims.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(json.loads((tmp_path / "certificate" / "claims.json").read_bytes()))
    other = rw.check_certificate(tmp_path / "certificate", rewards={"R": parent, "Before": parent}, spec=spec)
    assert not other.accepted


@pytest.mark.parametrize(("radius", "level", "verdict"), [("5 %", 9, "proved"), ("1 %", -9, "violated")])
def test_a_rule_not_near_rows_is_decided_without_them(tmp_path: Path, radius: str, level: float, verdict: str) -> None:
    rule = f"must quiet:\n  forall s: S not near bad within {radius}\n  expect R(s) <= {level}\n"
    spec = spec_about(tmp_path, rule)
    result = rw.verify(spec, OPTIONS, rewards={"R": reward(), "Before": reward()})
    (found,) = result.rules
    assert found.verdict == verdict
    assert found.claim is not None
    shown = found.witness or found.premise_witness
    assert shown is not None
    assert apart(found.claim, shown.point)
    rw.certify(result, tmp_path / "certificate")
    checked = rw.check_certificate(tmp_path / "certificate", rewards={"R": reward()}, spec=spec)
    assert checked.kernel.claims[0].verdict == verdict


@pytest.mark.slow
def test_what_fails_near_the_rows_alone_is_not_called_a_violation(tmp_path: Path) -> None:
    """A floor near the rows, and a rule about the rest that it would break: nothing wrong is said."""
    data(tmp_path, 4)
    spec = spec_of("must r:\n  forall s: S near bad within 1 %\n  expect R(s) >= 30\n", tmp_path)
    child = rw.patch(spec, RING, verify_options=OPTIONS, R=reward()).artifact
    assert child is not None
    rule = "must quiet:\n  forall s: S not near bad within 1 %\n  expect R(s) <= 29\n"
    wider = rule.replace("1 %", "5 %")
    little = VerifyOptions(budget=50, falsify_budget=100)
    found = rw.verify(spec_of(rule, tmp_path), little, R=child).rules[0]
    assert found.verdict in ("violated", "unknown")  # the rim reaches beyond 1 %
    assert found.witness is None or (found.claim is not None and apart(found.claim, found.witness.point))
    assert rw.verify(spec_of(wider, tmp_path), little, R=child).rules[0].verdict == "proved"


def test_other_readings_still_refuse_so_many_rows(tmp_path: Path) -> None:
    spec = spec_about(tmp_path, AWAY.format(radius="1 %"))
    with pytest.raises(Unsupported, match="comparisons"):
        spec.obligation("far")
    result = rw.verify(spec, replace(OPTIONS, semantics="float32"), rewards={"R": reward(), "Before": reward()})
    assert result.rules[0].verdict == "unknown"
    assert "comparisons" in result.rules[0].reason


def test_a_claim_of_a_table_has_one_text(tmp_path: Path) -> None:
    spec = spec_about(tmp_path, AWAY.format(radius="1 %"))
    found = bind_claim(spec, "far", {"R": reward(), "Before": reward()})
    assert claim_digest(load_claim(dump_claim(found))) == claim_digest(found)
