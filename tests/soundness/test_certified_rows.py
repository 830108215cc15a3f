"""Rules over rows of data in certificates: the kernel counts bundled tables, and what somebody makes of that."""

from __future__ import annotations

import copy
import json
import math
import os
import random
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator

import rewarden as rw
from rewarden.certificate.check import Report, check, main
from rewarden.certificate.kernel_json import canonical, digest
from rewarden.certificate.match import check_certificate
from rewarden.reward.artifact import Artifact
from rewarden.reward.balls import interval
from rewarden.reward.store import save_artifact, zip_bytes
from rewarden.reward.torch_import import from_torch
from rewarden.spec_lang import load_spec
from rewarden.spec_lang.claim_json import dump_claim, load_claim
from rewarden.spec_lang.errors import CertificateError, Unsupported
from rewarden.verifier.bind import bind, bind_obligation
from rewarden.verifier.options import VerifyOptions
from tests.reference.slow_reward import slow_evaluate

Json = Any
SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
HEADER = """\
spec rows v1
features S { x : real in -2 .. 2, on : bool }
reward R(s: S)
data d: S from "d.csv"
data p: (better: S, worse: S) from "p.csv"
"""
RULES = """
must below: forall s in d given s.on expect R(s) <= 10
must typical: forall s in d expect R(s) < quantile(R(d), 0.5)
must none: forall s in d given s.x > 2 expect R(s) > 0
must ordered: forall q in p expect R(q.better) >= R(q.worse) - 9
should often: forall q in p expect share(R(q.better) > R(q.worse)) >= 0.1
should mostly: forall s in d given s.on expect share(s.x >= 0) > 0.99
should likely: forall s in d expect share(R(s) <= 10) >= 0.5 confidence 0.9
should curved: forall s in d expect s.x * s.x <= 4
"""
CERTIFIED = {
    "below": "proved",
    "typical": "violated",
    "ordered": "proved",
    "often": "proved",
    "mostly": "violated",
}


def write_data(folder: Path) -> None:
    generator = np.random.default_rng(3)
    x, on = np.round(generator.uniform(-2, 2, (12, 2)), 3), generator.integers(0, 2, (12, 2))
    rows = [f"{a},{b}" for a, b in zip(x[:, 0], on[:, 0], strict=True)]
    (folder / "d.csv").write_text("\n".join(["x,on", *rows, "0,1"]) + "\n")
    pairs = [f"{x[k, 0]},{on[k, 0]},{x[k, 1]},{on[k, 1]}" for k in range(12)]
    (folder / "p.csv").write_text("\n".join(["better.x,better.on,worse.x,worse.on", *pairs]) + "\n")


class World:
    def __init__(self, folder: Path, bend: type[torch.nn.Module] = torch.nn.ReLU) -> None:
        write_data(folder)
        (folder / "rows.rwd").write_text(HEADER + RULES)
        self.folder, self.spec = folder, load_spec(folder / "rows.rwd")
        torch.manual_seed(1)
        net = torch.nn.Sequential(torch.nn.Linear(2, 4), bend(), torch.nn.Linear(4, 1))
        self.reward = from_torch(net, (("s", self.spec.features["S"]),))
        (folder / "R.rwz").write_bytes(zip_bytes(self.reward))
        self.certificate = folder / "certificate"
        self.result = rw.verify(self.spec, R=self.reward)
        rw.certify(self.result, self.certificate)
        self.claims = {c["rule"]: c for c in self.read("claims.json")["claims"]}

    def read(self, name: str) -> Json:
        return json.loads((self.certificate / name).read_bytes())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("rows"))


def test_what_is_called_certifiable_is_certified(world: World) -> None:
    told = {rule.rule: rule.to_json()["certifiable"] for rule in world.result.rules}
    assert told == {rule.rule: rule.rule in CERTIFIED for rule in world.result.rules}


class Forgery:
    """One rule's claim, count and tables; `write` mends all digests but those of tables that a claim names."""

    def __init__(self, world: World, rule: str) -> None:
        self.world, self.claim = world, copy.deepcopy(world.claims[rule])
        self.proof = world.read(f"proofs/{rule}.json")
        self.tables = {
            name: (world.certificate / "tables" / f"{name[7:]}.bin").read_bytes()
            for name in self.claim["rows"]["tables"]
        }

    def check(self, folder: Path) -> Report:
        for place in ("proofs", "tables"):
            (folder / place).mkdir(parents=True)
        document = {"format": "rewarden-claims", "format_version": 1, "claims": [self.claim]}
        (folder / "claims.json").write_bytes(canonical(document))
        proof = {**self.proof, "claim": digest(canonical(self.claim))} if "claim" in self.proof else self.proof
        (folder / "proofs" / f"{self.claim['rule']}.json").write_bytes(canonical(proof))
        for name, data in self.tables.items():
            (folder / "tables" / f"{name[7:]}.bin").write_bytes(data)
        named = {} if self.claim.get("rewards") == {} else {"R": self.world.folder / "R.rwz"}
        return check(folder, named)

    def retabled(self, change: Callable[[bytes], bytes]) -> None:
        """Change the (first) table, under its new digest, and let the claim name that."""
        name = self.claim["rows"]["tables"][0]
        data = change(self.tables.pop(name))
        self.claim["rows"]["tables"][0] = digest(data)
        self.tables[digest(data)] = data


def parts(data: bytes) -> tuple[Json, list[float]]:
    head, _, body = data.partition(b"\n")
    return json.loads(head), list(struct.unpack(f"<{len(body) // 8}d", body))


def joined(head: Json, numbers: list[float]) -> bytes:
    return canonical(head) + b"\n" + struct.pack(f"<{len(numbers)}d", *numbers)


# ── what is certified ──────────────────────────────────────────────────────────────────────────
def test_rules_over_rows_are_certified_and_matched(world: World) -> None:
    checked = check_certificate(world.certificate, {"R": world.reward}, world.folder / "rows.rwd", allow_unchecked=True)
    (broken,) = checked.problems  # missing evidence may be accepted, a violation is none
    assert broken.startswith("kernel: the must claim typical is violated: ")
    save_artifact(world.reward, world.folder / "again.rwz")
    assert main([str(world.certificate), "--reward", str(world.folder / "again.rwz"), "--allow-unchecked"]) == 4
    assert checked.text.matched
    assert {c.rule: c.verdict for c in checked.kernel.claims} == CERTIFIED
    told = {c.rule: c for c in checked.kernel.claims}
    assert told["below"].sentence.startswith("must below: for each of the 13 rows of d (bundled table sha256:")
    assert "the share at which" in told["often"].sentence
    rows = world.spec.rows("d").values
    on = int(rows[:, 1].sum())
    assert told["below"].reason.startswith(f"{on} of 13 rows satisfy the premise, {on} of these")
    values = [slow_evaluate(world.reward, [Fraction(x) for x in row]) for row in rows.tolist()]
    failing = [k for k, value in enumerate(values) if value >= sorted(values)[math.ceil(13 / 2) - 1]]
    assert f"row {failing[0] + 1} is the first that does not" in told["typical"].reason
    assert checked.statement is not None
    listed = {rule["name"]: rule for rule in checked.statement["predicate"]["rules"]}
    assert {name for name, rule in listed.items() if rule["evidence"]} == set(CERTIFIED)
    assert {d["table"] for d in checked.statement["predicate"]["data"]} >= {*world.claims["often"]["rows"]["tables"]}
    assert "confidence" in listed["likely"]["reason"]


def test_rows_of_smooth_rewards_are_counted(tmp_path: Path) -> None:
    """Each at an enclosure of the reward; `typical` compares a value with itself, which no enclosure decides."""
    smooth = World(tmp_path, torch.nn.Tanh)
    checked = check_certificate(smooth.certificate, {"R": smooth.reward}, tmp_path / "rows.rwd", allow_unchecked=True)
    assert checked.accepted, checked.problems
    told = {c.rule: c for c in checked.kernel.claims}
    assert set(told) == CERTIFIED.keys() - {"typical"}
    assert {name: told[name].verdict for name in ("below", "ordered", "often")} == dict.fromkeys(
        ("below", "ordered", "often"), "proved"
    )
    assert "kernel_smooth" in told["ordered"].files
    rows = smooth.spec.rows("d").values
    values = [sum(interval(smooth.reward, [Fraction(x) for x in row], 100)) / 2 for row in rows.tolist()]
    kept = sum(v <= 10 for v, row in zip(values, rows, strict=True) if row[1])
    assert told["below"].reason.startswith(f"{int(rows[:, 1].sum())} of 13 rows satisfy the premise, {kept} of these")
    forged = Forgery(smooth, "often")
    forged.proof["count"]["kept"] += 1
    assert not forged.check(tmp_path / "forged").accepted


def test_documents_fit_their_schemas_and_claims_read_back(world: World) -> None:
    for name, files in {"claims": ["claims.json"], "evidence": [f"proofs/{rule}.json" for rule in CERTIFIED]}.items():
        schema = Draft202012Validator(json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8")))
        for file in files:
            schema.validate(world.read(file))
    for claim in world.claims.values():
        assert dump_claim(load_claim(canonical(claim))) == canonical(claim)


@pytest.mark.parametrize(
    ("key", "value"),
    [("count", -1), ("tables", []), ("columns", [0]), ("share", {"op": "=", "level": "1"}), ("more", 1)],
)
def test_misshapen_claims_are_refused(world: World, key: str, value: Json, tmp_path: Path) -> None:
    forged = Forgery(world, "below")
    forged.claim["rows"][key] = value
    with pytest.raises(CertificateError) as found:
        load_claim(canonical(forged.claim))
    assert found.value.code == "C20"
    assert not forged.check(tmp_path / "c").accepted


def test_only_bind_makes_claims_about_rows(world: World) -> None:
    """What patches and searches boxes gets none of a rule that has no boxes."""
    with pytest.raises(Unsupported):
        bind_obligation(world.spec, world.spec.obligation("below"), {"R": world.reward})
    assert not bind(world.spec, "below", {"R": world.reward}).boxes


def test_binary32_verdicts_on_rows_are_not_certified(world: World) -> None:
    result = rw.verify(
        world.spec, rewards={"R": world.reward}, rules=["below"], options=VerifyOptions(semantics="float32")
    )
    assert all(rule.claim is None for rule in rw.api.with_proofs(result).rules)


# ── what is not ────────────────────────────────────────────────────────────────────────────────
def a_row_changed(f: Forgery) -> None:
    (name,) = f.tables
    head, numbers = parts(f.tables[name])
    f.tables[name] = joined(head, [1.5, *numbers[1:]])


def a_row_dropped(f: Forgery) -> None:
    f.retabled(lambda data: joined(*(lambda h, n: ({**h, "rows": h["rows"] - 1}, n[2:]))(*parts(data))))


def a_row_dropped_but_counted(f: Forgery) -> None:
    f.retabled(lambda data: joined(parts(data)[0], parts(data)[1][2:]))


def another_count_of_rows(f: Forgery) -> None:
    f.claim["rows"]["count"] -= 1


def bytes_left_over(f: Forgery) -> None:
    f.retabled(lambda data: data + b"\0")


def a_row_left_over(f: Forgery) -> None:
    f.retabled(lambda data: data + data[-16:])


def not_a_number(f: Forgery) -> None:
    f.retabled(lambda data: joined(parts(data)[0], [math.nan, *parts(data)[1][1:]]))


def infinite(f: Forgery) -> None:
    f.retabled(lambda data: joined(parts(data)[0], [-math.inf, *parts(data)[1][1:]]))


def a_header_of_another_form(f: Forgery) -> None:
    f.retabled(lambda data: data.replace(b'"rows":', b'"rows": ', 1))


def columns_at_will(f: Forgery) -> None:
    f.retabled(lambda data: joined({"columns": ["x", "on", "y"], "rows": 13}, parts(data)[1]))


def no_columns(f: Forgery) -> None:
    f.retabled(lambda data: joined({"columns": [], "rows": 13}, []))


def a_table_of_another_digest(f: Forgery) -> None:
    f.claim["rows"]["tables"] = ["sha256:" + "0" * 64]


def a_table_missing(f: Forgery) -> None:
    f.tables.clear()


def a_table_that_no_claim_names(f: Forgery) -> None:
    f.tables["sha256:" + "1" * 64] = b""


def too_many_tables(f: Forgery) -> None:
    f.claim["rows"]["tables"] *= 17


def a_column_that_is_not_there(f: Forgery) -> None:
    f.claim["rows"]["columns"] = [0, 2]


def boxes_as_well(f: Forgery) -> None:
    f.claim["boxes"] = [[["0", "1"], ["0", "1"]]]


def loops_as_well(f: Forgery) -> None:
    f.claim["loops"] = [1]


def a_better_count(f: Forgery) -> None:
    f.proof["count"]["kept"] += 1
    f.proof["count"]["holding"] += 1


def another_first_row(f: Forgery) -> None:
    f.proof["count"]["first"] = 0


def a_share_that_is_false(f: Forgery) -> None:
    f.claim["rows"]["share"] = {"op": ">", "level": "1"}


def no_row_counts(f: Forgery) -> None:
    f.claim["clauses"] = [[]]
    f.proof["count"] = {"holding": 0, "kept": 0, "first": None}


def a_proof_by_trees(f: Forgery) -> None:
    f.proof = {"format": "rewarden-proof", "format_version": 1, "claim": "", "goals": [[]], "witness": None}


def a_counterexample(f: Forgery) -> None:
    f.proof = {"format": "rewarden-counterexample", "format_version": 1, "claim": "", "witness": None}


def a_case(f: Forgery) -> None:
    f.claim = {"rule": "below", "severity": "must", "cases": [f.claim]}


FORGERIES = (
    a_row_changed, a_row_dropped, a_row_dropped_but_counted, another_count_of_rows, bytes_left_over, a_row_left_over,
    not_a_number, infinite, a_header_of_another_form, columns_at_will, no_columns, a_table_of_another_digest,
    a_table_missing, a_table_that_no_claim_names, too_many_tables, a_column_that_is_not_there, boxes_as_well,
    loops_as_well, a_better_count, another_first_row, a_share_that_is_false, no_row_counts, a_proof_by_trees,
    a_counterexample, a_case,
)  # fmt: skip


def test_an_unforged_one_is_accepted(world: World, tmp_path: Path) -> None:
    for rule, verdict in CERTIFIED.items():
        assert [c.verdict for c in Forgery(world, rule).check(tmp_path / rule).claims] == [verdict]


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda f: f.__name__)
def test_forgeries_are_not_accepted(world: World, forge: Callable[[Forgery], None], tmp_path: Path) -> None:
    forged = Forgery(world, "below")
    forge(forged)
    assert not forged.check(tmp_path / "c").accepted


def test_more_work_than_a_kernel_does_is_refused_before_it_begins(world: World, tmp_path: Path) -> None:
    forged = Forgery(world, "below")
    forged.claim["rows"]["count"] = 1 << 24
    forged.claim["goals"] *= 300
    (claim,) = forged.check(tmp_path / "c").claims
    assert (claim.verdict, claim.reason) == ("refused", "there are too many rows for so large a claim")


def test_a_link_in_place_of_a_table_is_refused(world: World, tmp_path: Path) -> None:
    forged = Forgery(world, "below")
    (name,) = forged.tables
    data = forged.tables.pop(name)
    (tmp_path / "elsewhere").write_bytes(data)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "tables").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "c" / "tables" / f"{name[7:]}.bin")
    (tmp_path / "c" / "proofs").mkdir()
    forged_claims = {"format": "rewarden-claims", "format_version": 1, "claims": [forged.claim]}
    (tmp_path / "c" / "claims.json").write_bytes(canonical(forged_claims))
    (tmp_path / "c" / "proofs" / "below.json").write_bytes(canonical(forged.proof))
    (claim,) = check(tmp_path / "c", {"R": world.folder / "R.rwz"}).claims
    assert claim.verdict == "refused"
    assert "link" in claim.reason


def hide_by_premise(f: Forgery) -> None:
    """The rows that fail do not count any more."""
    f.claim["clauses"] = copy.deepcopy(f.claim["goals"])
    kept = f.proof["count"]["kept"]
    f.proof["count"] = {"holding": kept, "kept": kept, "first": None}


def hide_by_dropping(f: Forgery) -> None:
    """The rows that fail are gone, and everything is counted anew."""
    rewards = [
        slow_evaluate(f.world.reward, [Fraction(x) for x in row]) for row in f.world.spec.rows("d").values.tolist()
    ]
    good = [k for k, value in enumerate(rewards) if value < sorted(rewards)[6]]

    def change(data: bytes) -> bytes:
        head, numbers = parts(data)
        return joined({**head, "rows": len(good)}, [numbers[2 * k + j] for k in good for j in (0, 1)])

    f.retabled(change)
    f.claim["rows"]["count"] = len(good)
    f.proof["count"] = {"holding": len(good), "kept": len(good), "first": None}


@pytest.mark.parametrize("hide", [hide_by_premise, hide_by_dropping])
def test_another_claim_that_is_true_is_not_what_the_spec_says(
    world: World, hide: Callable[[Forgery], None], tmp_path: Path
) -> None:
    forged = Forgery(world, "typical")
    hide(forged)
    assert forged.check(tmp_path / "c").accepted, "what it says is true"
    checked = check_certificate(tmp_path / "c", {"R": world.reward}, world.folder / "rows.rwd", allow_unchecked=True)
    assert not checked.text.matched
    assert "not what rows says: typical" in checked.text.sentence


def test_data_that_have_changed_since_are_noticed(world: World, tmp_path: Path) -> None:
    write_data(tmp_path)
    with (tmp_path / "d.csv").open("a") as file:
        file.write("1,1\n")
    (tmp_path / "rows.rwd").write_text(HEADER + RULES)
    checked = check_certificate(world.certificate, {"R": world.reward}, tmp_path / "rows.rwd", allow_unchecked=True)
    assert not checked.text.matched


# ── whatever is accepted is true ───────────────────────────────────────────────────────────────
def truth(reward: Artifact, claim: Json, tables: dict[str, bytes]) -> tuple[int, int]:
    """(rows of the premise, of these kept), by an evaluator of its own."""
    each = [parts(tables[name]) for name in claim["rows"]["tables"]]
    holding = kept = 0
    for k in range(claim["rows"]["count"]):
        row = [x for head, numbers in each for x in numbers[k * len(head["columns"]) :][: len(head["columns"])]]
        x = [Fraction(row[c]) for c in claim["rows"]["columns"]]

        def value(form: Json, x: list[Fraction] = x, calls: tuple[Fraction, ...] = ()) -> Fraction:
            return sum(
                (Fraction(c) * y[i] for y, key in ((x, "variables"), (calls, "calls")) for i, c in form[key]),
                Fraction(form["constant"]),
            )

        calls = tuple(slow_evaluate(reward, [value(a) for a in call["arguments"]]) for call in claim["calls"])

        def true(clauses: Json, x: list[Fraction] = x, calls: tuple[Fraction, ...] = calls) -> bool:
            margins = [[(value(a["affine"], x, calls), a["strict"]) for a in clause] for clause in clauses]
            return all(any(m > 0 or (m == 0 and not strict) for m, strict in clause) for clause in margins)

        holding += true(claim["clauses"])
        kept += true(claim["clauses"]) and true(claim["goals"])
    return holding, kept


def mutate(f: Forgery, rng: random.Random) -> None:
    """Something else in the claim or in a table, with digests mended."""
    match rng.randrange(6):
        case 0:

            def change(data: bytes) -> bytes:
                head, numbers = parts(data)
                numbers[rng.randrange(len(numbers))] = rng.choice([0.0, 1.0, -2.0, 5e-324, 1.5])
                return joined(head, numbers)

            f.retabled(change)
        case 1:
            affine = rng.choice([a for c in (*f.claim["goals"], *f.claim["clauses"]) for a in c])["affine"]
            affine["constant"] = str(Fraction(affine["constant"]) + rng.choice([-10, -1, 1, 20]))
        case 2:
            atom = rng.choice([a for c in (*f.claim["goals"], *f.claim["clauses"]) for a in c])
            atom["strict"] = not atom["strict"]
        case 3:
            op, level = rng.choice(["<", "<=", ">", ">="]), str(Fraction(rng.randrange(5), 4))
            f.claim["rows"]["share"] = rng.choice([None, {"op": op, "level": level}])
        case 4:
            rng.shuffle(f.claim["rows"]["columns"])
        case _:
            clauses = f.claim["clauses"]
            clauses.pop() if clauses else clauses.extend(copy.deepcopy(f.claim["goals"]))


def test_what_is_accepted_is_true_whatever_was_changed(world: World, tmp_path: Path) -> None:
    compare = {"<": Fraction.__lt__, "<=": Fraction.__le__, ">": Fraction.__gt__, ">=": Fraction.__ge__}
    verdicts = []
    for seed in range(120):
        rng = random.Random(seed)
        forged = Forgery(world, rng.choice(list(CERTIFIED)))
        for _ in range(rng.randrange(1, 4)):
            mutate(forged, rng)
        holding, kept = truth(world.reward, forged.claim, forged.tables)
        if rng.random() < 0.7:  # the honest count, but for the first row that fails, which has to be guessed
            forged.proof["count"] = {"holding": holding, "kept": kept, "first": None}
        (claim,) = forged.check(tmp_path / str(seed)).claims
        share = forged.claim["rows"]["share"]
        if claim.checked:
            assert holding
            good = (
                kept == holding
                if share is None
                else compare[share["op"]](Fraction(kept, holding), Fraction(share["level"]))
            )
            assert claim.verdict == ("proved" if good else "violated"), seed
        verdicts.append(claim.verdict)
    assert min(verdicts.count("proved"), verdicts.count("refused")) > 10
