"""Certificates made to hurt whoever checks them: nothing is raised, little is kept, and no name passes for words."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
import zipfile
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from rewarden.certificate import (
    kernel_alike,
    kernel_files,
    kernel_json,
    kernel_lanes,
    kernel_pieces,
    kernel_program,
    kernel_proof,
)
from rewarden.certificate.check import Report, check
from rewarden.certificate.kernel_artifact import Reward
from rewarden.certificate.kernel_bounds import TOGETHER, Box
from rewarden.certificate.kernel_claim import read_claim
from rewarden.certificate.kernel_json import Refused, parse
from rewarden.certificate.kernel_lanes import RoughBounds
from rewarden.certificate.kernel_program import INPUT, Program, Relu
from rewarden.certificate.kernel_sentence import number, sentence, word
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import AffineMap, Graph, Input, Scale, Tanh
from tests.reference.certificates import Case, affine, atom, claim, network, schema

LEAF = ["leaf", 0, [], [], []]
REWARD = network(0)


def proof(goals: Any, point: list[str], **more: Any) -> dict[str, Any]:
    head = {"format": "rewarden-proof", "format_version": 1, "claim": ""}
    return {**head, "witness": {"box": 0, "point": point}, "goals": goals, **more}


def judged(case: Case, folder: Path) -> Report:
    return check(folder, case.rebind().write(folder))


def true_claim(**more: Any) -> dict[str, Any]:
    return {**claim({"R": REWARD.digest}, [("R", [0, 1])], [[atom(affine(1))]], [[(0, 1), (0, 1)]]), **more}


# ── names ──────────────────────────────────────────────────────────────────────────────────────
SAID = "m: then R(s) <= 1/10 (text of the goal, in full"


@pytest.mark.parametrize("where", ["unit", "name", "record", "instances", "reward"])
def test_what_the_issuer_calls_things_cannot_be_read_as_what_is_claimed(where: str, tmp_path: Path) -> None:
    made = true_claim()
    match where:
        case "unit" | "name":
            made["variables"][0][where] = SAID
        case "record":
            made["records"][0]["name"] = SAID
        case "instances":
            made[where] = SAID
            made["boxes"] *= 2
        case _:
            made["rewards"] = {SAID: REWARD.digest}
            made["calls"][0]["reward"] = SAID
            made["goals"] = [[atom(affine(10**6, {}, {0: 1}))]]
    boxes = len(made["boxes"])
    case = Case(made, proof([[[LEAF]] * boxes], ["0", "0"]), {SAID if where == "reward" else "R": REWARD})
    if where == "record":
        case.claim["goals"] = [[atom(affine(10**6, {}, {0: 1}))]]
        for variable in case.claim["variables"]:
            variable["name"] = variable["name"].replace("s.", f"{SAID}.")
    (report,) = judged(case, tmp_path / "c").claims
    assert report.verdict == "proved", report.reason
    assert json.dumps(SAID) in report.sentence
    assert SAID not in report.sentence.replace(json.dumps(SAID)[:-1], "")  # always behind a quotation mark


@pytest.mark.parametrize(
    ("names", "variables", "said"),
    [
        (["s.x0", "s.x1"], [0, 1], "R(s) >= 0"),
        (["t.x0", "t.x1"], [0, 1], "R(t.x0, t.x1) >= 0"),  # the variables of another record
        (["s.x0", "s.x1"], [1, 0], "R(s.x1, s.x0) >= 0"),  # its columns in another order
        (["s.x0", "s.x0"], [0, 1], '"s.x0#1" in [0, 1], "s.x0#2" in [0, 1]'),
    ],
)
def test_a_record_is_said_only_of_all_that_is_called_after_it(
    names: list[str], variables: list[int], said: str
) -> None:
    made = true_claim(goals=[[atom(affine(0, {}, {0: 1}))]])
    made["variables"] = [{**v, "name": name} for v, name in zip(made["variables"], names, strict=True)]
    made["records"][0]["variables"] = variables
    made["calls"][0]["arguments"] = [affine(0, {k: 1}) for k in variables]
    assert said in sentence(read_claim(made))


def feature(name: object, kind: str = "real", size: int = 1, cases: tuple[object, ...] = ()) -> dict[str, object]:
    return {"name": name, "kind": kind, "size": size, "cases": cases}


@pytest.mark.parametrize(
    ("names", "features", "said"),
    [
        (["s.x0", "s.x1"], [feature("x0"), feature("x1")], "R(s) >= 0"),
        (["s.x1", "s.x0"], [feature("x0"), feature("x1")], "R(x0 = s.x1, x1 = s.x0) >= 0"),  # true, and reads as false
        (["s.far", "s.near"], [feature("x0"), feature("x1")], "R(x0 = s.far, x1 = s.near) >= 0"),
        (["s.e[0]", "s.e[1]"], [feature("e", size=2)], "R(s) >= 0"),
        (["s.m=b", "s.m=a"], [feature("m", "enum", cases=("a", "b"))], "R(m=a = s.m=b, m=b = s.m=a) >= 0"),
        (["s.m=a", "s.m=b"], [feature("m", "enum", cases=("a", "b"), size=10**9)], "R(s) >= 0"),
        (["s.x0", "s.x1"], [feature(10**9000), feature("x1")], 'R("?" = s.x0, x1 = s.x1) >= 0'),
        (["s.x0", "s.x1"], [feature(f"{SAID}"), feature("x1")], f"R({json.dumps(SAID)} = s.x0, x1 = s.x1) >= 0"),
    ],
)
def test_a_record_is_said_where_it_calls_columns_as_the_reward_does(
    names: list[str], features: list[dict[str, object]], said: str
) -> None:
    """Of names that the issuer has swapped a true claim reads as another."""
    made = true_claim(goals=[[atom(affine(0, {}, {0: 1}))]])
    made["variables"] = [{**v, "name": name} for v, name in zip(made["variables"], names, strict=True)]
    made["records"][0]["variables"] = [0, 1]
    made["calls"][0]["arguments"] = [affine(0, {k: 1}) for k in (0, 1)]
    reward = Reward("", 2, (), 0, (), {"records": ({"features": tuple(features)},)})
    assert said in sentence(read_claim(made), {"R": reward})


@pytest.mark.parametrize(
    ("record", "names", "said"),
    [
        ("p.better", ["p.better.x0", "p.better.x1"], "R(p.better) >= 0"),  # as records of pairs of rows are called
        ("p", ["p.x0", "p.x1"], "R(p) >= 0"),
        ("p.better", ["p.better.x0", "p.better.x1.x"], "R(p.better) >= 0"),
        ("p", ["p.x0", "p.better.x1"], "R(p) >= 0"),
        ("p.better", ["p.x0", "p.better.x1"], "R(p.x0, p.better.x1) >= 0"),
    ],
)
def test_records_of_pairs_have_names_of_two_parts(record: str, names: list[str], said: str) -> None:
    made = true_claim(goals=[[atom(affine(0, {}, {0: 1}))]])
    made["variables"] = [{**v, "name": name} for v, name in zip(made["variables"], names, strict=True)]
    made["records"][0] |= {"name": record, "variables": [0, 1]}
    made["calls"][0]["arguments"] = [affine(0, {k: 1}) for k in (0, 1)]
    assert said in sentence(read_claim(made))


def test_nor_can_the_name_of_a_rule() -> None:
    assert sentence(read_claim(true_claim(rule=SAID))).startswith(f"must {json.dumps(SAID)}: for all s.x0 in [0, 1]")


def side(k: int, end: int, slope: int) -> Any:
    """x_k >= end, or x_k <= end."""
    return atom(affine(-slope * end, {k: slope}))


@pytest.mark.parametrize(
    ("clause", "told"),
    [
        ([side(0, 1, 1), side(0, -1, -1)], ", each with the radius 1 in s.x0"),  # as the other three
        ([side(0, 1, 1), side(0, 3, 1), side(0, -1, -1)], ", each with the radius 1 in s.x0"),  # 3 says nothing more
        ([side(0, 3, 1), side(0, 1, 1), side(0, -1, -1)], ", each with the radius 1 in s.x0"),
        ([side(0, 2, 1), side(0, 3, 1), side(0, -1, -1), side(0, -5, -1)], ""),  # 3/2
        ([side(0, 100, 1), side(0, 101, 1)], ""),  # all of s.x0 below 100: no radius
        ([side(0, 2, 1), side(0, 3, 1)], ", each with the radius 1 in s.x0"),  # below 2, and nothing is below 0
        ([side(0, -2, -1), side(0, -3, -1)], ""),  # above -2: all there is
        ([side(0, 0, -1), side(0, -3, -1)], ", each with the radius 1 in s.x0"),  # above 0, and nothing is above 2
        ([side(1, 1, 1), side(1, -1, -1)], ", each with the radius 1 in s.x0, 1 in s.x1"),  # nothing is further off
        ([side(1, 3, 1), side(1, 0, -1)], ", each with the radius 1 in s.x0, 1.5 in s.x1"),
    ],
)
def test_the_radius_of_boxes_is_that_of_each_of_them(clause: Any, told: str) -> None:
    three = [[side(0, k + 1, 1), side(0, k - 1, -1)] for k in (3, 6, 9)]
    made = true_claim(goals=[*three, clause], boxes=[[["0", "1"], ["-1", "1"]], [["1", "2"], ["0", "1"]]])
    said = sentence(read_claim(made))
    names = "(s.x0, s.x1)" if clause[0]["affine"]["variables"][0][0] else "(s.x0)"
    assert said.endswith(f"then {names} is in none of the 4 boxes that claims.json lists{told}.")


def test_a_number_or_a_factor_is_no_name() -> None:
    """`3·2 - R(s) >= 0`, with a variable called 2."""
    made = true_claim(goals=[[atom(affine(0, {0: 3}, {0: -1}))]])
    made["variables"] = [{"name": n, "unit": u, "discrete": False} for n, u in (("2", "*10"), ("0.5", "1/2"))]
    said = sentence(read_claim(made))
    assert 'for all "2" in [0, 1] "*10", "0.5" in [0, 1] "1/2": then 3·"2" - R(' in said
    made["variables"][0] |= {"name": "s.x", "unit": "1/s"}
    assert "for all s.x in [0, 1] 1/s, " in sentence(read_claim(made))


def test_letters_that_are_read_from_the_right_are_told_by_number(tmp_path: Path) -> None:
    made = true_claim()
    made["variables"][0]["unit"] = "\u05d0\u05d1"
    (report,) = judged(Case(made, proof([[[LEAF]]], ["0", "0"]), {"R": REWARD}), tmp_path / "c").claims
    assert '"\\u05d0\\u05d1"' in report.sentence
    assert report.sentence.isascii()


@pytest.mark.parametrize("name", ["s.speed", "t[0].x", "s.mode=eco", "a.b_1[12]"])
def test_names_of_specs_are_said_as_they_are(name: str) -> None:
    assert word(name) == name


# ── what raised ────────────────────────────────────────────────────────────────────────────────
def test_a_number_of_too_many_digits_is_told_by_its_size(tmp_path: Path) -> None:
    assert number(Fraction(10**5000)) == "(a number of 16610 bits)"
    tops, bottoms = (10**1990 + 9, 2**6600 + 1, 6**2500 + 1, 15**1600 + 2), (3**4000, 7**2200, 11**1800, 13**1700)
    big = [str(Fraction(top, bottom)) for top, bottom in zip(tops, bottoms, strict=True)]
    away = [
        {"affine": {"constant": big[0], "variables": [[0, big[1]]], "calls": []}, "strict": False},
        {"affine": {"constant": big[2], "variables": [[0, f"-{big[3]}"]], "calls": []}, "strict": False},
    ]
    made = true_claim(clauses=[away] * 5)
    (report,) = judged(Case(made, proof([[[LEAF]]], ["0", "0"]), {"R": REWARD}), tmp_path / "c").claims
    assert report.verdict == "proved", report.reason
    assert "bits)" in report.sentence


def test_pieces_of_a_claim_without_variables(tmp_path: Path) -> None:
    made = true_claim(variables=[], records=[], calls=[], boxes=[[]])
    pieces = {"cut": [[["piece", 0]]], "without": []}
    (report,) = judged(Case(made, proof([[[LEAF]]], [], pieces=pieces), {"R": REWARD}), tmp_path / "c").claims
    assert report.verdict == "proved", report.reason


def test_a_zip_with_a_name_that_is_no_text(tmp_path: Path) -> None:
    case = Case(true_claim(), proof([[[LEAF]]], ["0", "0"]), {"R": REWARD})
    paths = case.rebind().write(tmp_path / "c")
    with zipfile.ZipFile(tmp_path / "bad.rwz", "w") as archive:
        archive.writestr("manifest.jsön", b"{}")
        archive.writestr("tensors.safetensors", b"")
    data = (tmp_path / "bad.rwz").read_bytes().replace("jsön".encode(), b"js\xff\xfen")
    (tmp_path / "bad.rwz").write_bytes(data)
    report = check(tmp_path / "c", {**paths, "R": tmp_path / "bad.rwz"})
    assert report.problem is not None
    assert "not an artifact" in report.problem


def test_a_sign_whose_layer_is_no_number(tmp_path: Path) -> None:
    """Leaves of several goals are put in order by their signs, before there is a program to hold these against."""
    made = true_claim(goals=[[atom(affine(1))]] * 2)
    tree = [["sign", [], 0], LEAF, LEAF]
    (report,) = judged(Case(made, proof([[tree]] * 2, ["0", "0"]), {"R": REWARD}), tmp_path / "c").claims
    assert (report.verdict, report.leaves) == ("refused", 0)
    assert "a layer or a neuron must be an integer" in report.reason


@pytest.mark.parametrize("workers", [1, 2])
def test_a_leaf_of_lists_in_lists(workers: int, tmp_path: Path) -> None:
    """JSON reads it; pickle, which hands leaves to other processes, goes as deep and some steps more."""
    case = Case(true_claim(), proof([[["HERE"]]], ["0", "0"]), {"R": REWARD})
    paths = case.rebind().write(tmp_path / "c")
    (file,) = (tmp_path / "c" / "proofs").iterdir()
    file.write_text(file.read_text().replace('"HERE"', f'["leaf",0,{"[" * 900 + "]" * 900},[],[]]'))
    (report,) = check(tmp_path / "c", paths, workers).claims
    assert report.verdict == "refused"


def test_an_artifact_that_is_a_pipe(tmp_path: Path) -> None:
    case = Case(true_claim(), proof([[[LEAF]]], ["0", "0"]), {"R": REWARD})
    paths = case.rebind().write(tmp_path / "c")
    os.mkfifo(tmp_path / "pipe.rwz")
    report = check(tmp_path / "c", {**paths, "R": tmp_path / "pipe.rwz"})
    assert report.problem == "pipe.rwz: pipe.rwz is not a regular file"


# ── what grew ──────────────────────────────────────────────────────────────────────────────────
def test_values_at_a_point_are_of_bounded_size(tmp_path: Path) -> None:
    case = Case(true_claim(), proof([[[LEAF]]], ["1/3", "1/7"]), {"R": REWARD})
    assert judged(case, tmp_path / "c").accepted
    with mock.patch.object(kernel_program, "MAX_POINT", 100):
        (report,) = judged(case, tmp_path / "d").claims
    assert (report.verdict, report.reason) == ("refused", "the values at a point have too many digits")


def test_values_of_smooth_rewards_at_a_point_are_counted_too(tmp_path: Path) -> None:
    """A tanh of 600 and 600 layers that scale it, 40 kB: 0.9 GB of digits, and eight times that of twice as many."""
    nodes: list[Any] = [Input(), AffineMap(0, "w", "b"), Tanh(1)]
    for _ in range(40):
        nodes.append(Scale(len(nodes) - 1, "s", "t"))
    nodes.append(AffineMap(len(nodes) - 1, "v", "c"))
    wide = np.ones(20, dtype=np.float32)
    tensors = {"w": wide[:, None], "b": 0 * wide, "s": wide * (1 + 2.0**-23) * 2.0**-100, "t": 0 * wide}
    tensors |= {"v": wide[None, :], "c": np.zeros(1)}
    tensors = {name: values.astype(np.float32) for name, values in tensors.items()}
    records = (RewardRecord("s", schema(1)),)
    reward = Artifact(records, Graph(tuple(nodes), len(nodes) - 1), tensors, "exact")
    made = claim({"R": reward.digest}, [("R", [0])], [[atom(affine(1))]], [[(0, 1)]])
    case = Case(made, proof([[[LEAF]]], ["1/3"]), {"R": reward})
    assert judged(case, tmp_path / "c").accepted
    with mock.patch.object(kernel_program, "MAX_POINT", 1 << 20):  # they take 8 million bits
        (report,) = judged(case, tmp_path / "d").claims
    assert report.reason == "the values at a point have too many digits"


def test_branches_that_wait_hold_a_box_each_and_all_of_them_little(tmp_path: Path) -> None:
    """300 kB of proof and 5 MB of claim: 10,000 cuts of 100,000 variables held 16 GB."""
    tree = [*(["cut", 0, f"1/{2**k}"] for k in range(1, 9)), *[LEAF] * 9]
    case = Case(true_claim(), proof([[tree]], ["0", "0"]), {"R": REWARD})
    assert judged(case, tmp_path / "a").accepted
    with mock.patch.object(kernel_proof, "MAX_HELD", 2 * 8):  # two variables; nine branches wait
        (report,) = judged(case, tmp_path / "b").claims
    assert report.reason == "goal 0, box 0: a tree is too deep"


def test_a_case_of_many_atoms_far_down(tmp_path: Path) -> None:
    """7 MB of claim and 100 kB of proof: 100,000 atoms below 9,999 cases held 8 GB."""
    one = [atom(affine(1))]
    tree = [*[["case", 0]] * 9000, ["case", 1], LEAF]
    case = Case(true_claim(clauses=[one, one * 4000]), proof([[tree]], ["0", "0"]), {"R": REWARD})
    case.rebind().write(tmp_path / "c")
    tracemalloc.start()
    try:
        (report,) = judged(case, tmp_path / "d").claims
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert report.reason == "goal 0, box 0: a case on a clause without atoms, or of too many"
    assert most < 192 << 20  # a file's buffer has 128 MB; it was 300


def test_leaves_that_are_put_in_order_hold_little(tmp_path: Path) -> None:
    tree = [*(["cut", 0, f"1/{2**k}"] for k in range(1, 9)), *[LEAF] * 9]
    made = true_claim(goals=[[atom(affine(1))]] * 2)
    found = kernel_proof.leaves(read_claim(made), [[tree]] * 2)
    with mock.patch.object(kernel_alike, "MAX_HELD", 10):  # three leaves of two variables
        assert [len(kernel_alike._ahead(found)) for _ in range(7)] == [3, 3, 3, 3, 3, 3, 0]
    case = Case(made, proof([[tree]] * 2, ["0", "0"]), {"R": REWARD})
    with mock.patch.object(kernel_alike, "MAX_HELD", 10):
        (report,) = judged(case, tmp_path / "c").claims
    assert (report.verdict, report.leaves) == ("proved", 18)


def test_a_zip_of_names_is_not_read(tmp_path: Path) -> None:
    case = Case(true_claim(), proof([[[LEAF]]], ["0", "0"]), {"R": REWARD})
    paths = case.rebind().write(tmp_path / "c")
    with zipfile.ZipFile(paths["R"], "a") as archive:
        for k in range(1000):
            archive.writestr(f"{k}", b"")
    with mock.patch.object(kernel_files, "MAX_PART", 1 << 12):
        problem = check(tmp_path / "c", paths).problem
    assert problem is not None
    assert problem.endswith("is larger than 73728 bytes")


def test_pieces_whose_ends_have_one_and_the_same_hash() -> None:
    """Multiples of 2⁶¹ − 1 all hash to 0."""
    ends = [Fraction(k * (2**61 - 1)) for k in range(300)]
    assert len(set(map(hash, ends))) == 1
    keys = {kernel_pieces._key([pair]) for pair in pairwise(ends)}
    assert len({hash(key) for key in keys}) == len(keys) == 299


def test_cuts_of_all_boxes_are_counted_together(tmp_path: Path) -> None:
    made = true_claim()
    made["boxes"] = [[[str(k), str(k + 1)], ["0", "1"]] for k in range(8)]
    pieces = {"cut": [[["piece", 0]]] * 8, "without": []}
    case = Case(made, proof([[[LEAF]] * 8], ["0", "0"], pieces=pieces), {"R": REWARD})
    assert judged(case, tmp_path / "a").accepted
    with mock.patch.object(kernel_pieces, "MAX_HELD", 15):  # 8 cells of 2 sides
        (report,) = judged(case, tmp_path / "b").claims
    assert report.reason == "the cuts of all boxes are too many"


def test_the_work_of_pieces_is_counted_by_the_entries_of_rows(tmp_path: Path) -> None:
    from tests.soundness.test_certified_pieces import deep
    from tests.soundness.test_certified_pieces import judged as judged_in_pieces

    rewards, made, told = deep("ceiling", -2.0)
    assert judged_in_pieces(tmp_path / "a", made, rewards, told)[0] == "proved"
    with mock.patch.object(kernel_pieces, "COMPOSED", 1 << 31):
        assert judged_in_pieces(tmp_path / "b", made, rewards, told)[0] == "refused"


# ── memory of JSON ─────────────────────────────────────────────────────────────────────────────
SHAPES = {'{"a":{}}': 60, "[[]]": 100, "[0]": 120, '"ab"': 200, '"é😀"': 150, '["leaf",0,[],[],[]]': 50}  # thousands
WRITING = 1 << 23  # bytes that are taken while the canonical form is written, whatever it is of


def taken(data: bytes) -> int:
    """The most that is allocated at once while it is read."""
    tracemalloc.start()
    parse(data)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


@pytest.mark.parametrize(
    "text",
    [
        *(f"[{','.join([shape] * 1000 * count)}]" for shape, count in SHAPES.items()),
        "{" + ",".join(f'"{k:06}":0' for k in range(50_000)) + "}",
        '["' + "a" * 3_000_000 + '😀"]',
    ],
    ids=lambda text: text[:12],
)
def test_json_takes_no_more_memory_than_is_reckoned_before_it_is_read(text: str) -> None:
    most = taken(text.encode())
    assert most > 1.4 * WRITING, "of less nothing would be said"
    reckoned = mock.patch.object(kernel_json, "MAX_TAKEN", most - WRITING - 1)
    with reckoned, pytest.raises(Refused, match="too much memory"):
        parse(text.encode())


def test_a_proof_of_nested_lists_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """As many as fit into a file would take gigabytes; compressed they are some hundred kilobytes."""
    case = Case(true_claim(), proof([[[LEAF]]], ["0", "0"]), {"R": REWARD}).rebind()
    paths = case.write(tmp_path)
    (written,) = (tmp_path / "proofs").iterdir()
    written.unlink()
    nested = b'{"goals":[' + b"[[[]]]," * (1 << 22) + b"[]]}"
    (tmp_path / "proofs" / f"{written.name}.gz").write_bytes(gzip.compress(nested, 1, mtime=0))
    unread = mock.patch.object(kernel_json.json, "loads", lambda data, **_: pytest.fail(f"{len(data)} bytes are read"))
    with unread, pytest.raises(Refused, match="too much memory"):
        parse(nested)
    (told,) = check(tmp_path, paths).claims
    assert (told.verdict, told.reason) == ("refused", "JSON of so many values would take too much memory")


def test_a_proof_of_many_leaves_would_still_be_read() -> None:
    """The largest that our own benchmarks write have 131,072 leaves."""
    leaf, cut = b'["leaf",0,[],[],[]],', b'["cut",3,"123456789/1024"],'
    each = 3 * len(leaf + cut) + sum((leaf + cut).count(mark) * size for mark, size in kernel_json.TAKES)
    assert each * 750_000 < kernel_json.MAX_TAKEN


def test_rows_of_many_readers_of_one_wide_layer_share_the_room_for_lanes() -> None:
    """A row of coefficients for each of them is held until all are known: 40 readers of 8,000 neurons took 1.5 GB."""
    wide, readers, open_ = 200, 40, 32
    program = Program(1)
    x = program.emit([(INPUT, [{0: 1}] * wide, 1)], [k % 7 for k in range(wide)], kind=Relu)
    each = [program.emit([(x, [{j: (j + k) % 5 + 1 for j in range(wide)}], 1)]) for k in range(readers)]
    last = program.emit([(k, [{0: (-1) ** (i + k)} for i in range(open_)], 1) for k in each], kind=Relu)
    bounds = RoughBounds(program, Box([Fraction(-9)], [Fraction(9)]), {}, TOGETHER, ())
    bounds.advance(last)
    ends = [(k, side) for k in range(open_) for side in (0, 1)]
    found = bounds.together(last, ends)
    with mock.patch.object(kernel_lanes, "MAX_PACKED", 1 << 22):
        tracemalloc.start()
        try:
            assert bounds.together(last, ends) == found
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 3 << 20, peak
