"""Every document of a certificate fits its schema, what does not is refused, and equal runs give equal bytes."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jsonschema import Draft202012Validator

import rewarden as rw
from rewarden.certificate.check import check
from rewarden.certificate.envelope import sign
from rewarden.certificate.kernel_json import Refused, canonical, digest
from rewarden.certificate.kernel_shapes import read
from rewarden.certificate.keys import generate_key, load_private_key
from rewarden.certificate.match import check_certificate
from rewarden.certificate.statement import SHAPE
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.claim_json import dump_claim
from rewarden.verifier import VerifyOptions
from tests.reference.certificates import network
from tests.soundness.test_certified_traces import asked
from tests.soundness.test_forged_loops import line

Json = Any
SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
FREE = (("params",), ("tools",), ("statement",), ("rewards",))  # objects whose keys are names
SPEC = """\
spec toy v1

features S {
  x0 : real in -1 .. 1
  x1 : real in -1 .. 1
}
assume s: S = s.x0 <= 1
reward R(s: S)

must capped:
  forall s: S
  given s.x0 <= -1/2 or s.x1 >= 3/4
  expect R(s) <= 4.1

should low:
  forall s: S
  expect R(s) <= -50

must tied:
  forall s, t: S varying x1
  given s.x1 == t.x1
  expect R(s) <= R(t)
"""


def schema(name: str) -> Draft202012Validator:
    found = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


def issued(folder: Path, key: Path) -> tuple[Path, Artifact]:
    (folder / "toy.rwd").write_text(SPEC, encoding="utf-8")
    reward = network(2)
    result = rw.verify(
        rw.load_spec(folder / "toy.rwd"), VerifyOptions(engine="bounds", budget=2000), rewards={"R": reward}
    )
    return rw.certify(result, folder / "certificate", key=key).path, reward


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artifact, Path]:
    folder = tmp_path_factory.mktemp("issued")
    generate_key(folder / "me.pem")
    return (*issued(folder, folder / "me.pem"), folder / "me.pem")


def documents(folder: Path) -> dict[str, list[Json]]:
    envelope = json.loads((folder / "envelope.dsse.json").read_bytes())
    return {
        "envelope": [envelope],
        "statement": [json.loads(base64.b64decode(envelope["payload"]))],
        "claims": [json.loads((folder / "claims.json").read_bytes())],
        "evidence": [json.loads(path.read_bytes()) for path in sorted((folder / "proofs").iterdir())],
    }


def places(value: Json, path: tuple[Json, ...] = ()) -> Iterator[tuple[Json, ...]]:
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def mutations(document: Json) -> Iterator[Json]:
    """An object with one more field, or one less; an integer, a text, a list or a bool that becomes something else."""
    for path in list(places(document)):
        for change in range(3):
            changed = copy.deepcopy(document)
            parent, at = changed, changed
            for key in path:
                parent, at = at, at[key]
            if change == 0:
                if not isinstance(at, dict) or path[-1:] in FREE:
                    continue
                at["more"] = 1
            elif change == 1:
                if not isinstance(at, dict) or not at or path[-1:] in FREE:
                    continue
                del at[sorted(at)[0]]
            elif path:
                parent[path[-1]] = {"not": "this"} if not isinstance(at, dict) else 7
            else:
                continue
            yield changed


# ── schemas ────────────────────────────────────────────────────────────────────────────────────
def test_every_document_of_a_real_certificate_fits(world: tuple[Path, Artifact, Path]) -> None:
    found = documents(world[0])
    assert {e["format"] for e in found["evidence"]} == {"rewarden-proof", "rewarden-counterexample"}
    for name, every in found.items():
        for document in every:
            schema(name).validate(document)


def test_claims_about_loops_and_about_traces_fit() -> None:
    loops, _ = line()
    loops.proof["claim"] = digest(canonical(loops.claim))
    traces, _ = asked("within 3", "2.5", "5.5")
    assert traces.claim is not None
    claims = [loops.claim, json.loads(dump_claim(traces.claim))]
    schema("claims").validate({"format": "rewarden-claims", "format_version": 1, "claims": claims})
    for proof in (loops.proof, json.loads(json.dumps(traces.proof))):
        schema("evidence").validate(proof)
        for changed in mutations(proof):
            assert not schema("evidence").is_valid(changed)


@pytest.mark.parametrize("name", ["envelope", "statement", "claims", "evidence"])
def test_every_change_of_shape_is_against_the_schema(world: tuple[Path, Artifact, Path], name: str) -> None:
    found, checker, tried = documents(world[0])[name], schema(name), 0
    for document in found:
        for changed in mutations(document):
            assert not checker.is_valid(changed), changed
            tried += 1
    assert tried > 5


def test_what_is_against_the_schema_the_kernel_refuses(world: tuple[Path, Artifact, Path], tmp_path: Path) -> None:
    """Claims and evidence, each with its digests mended."""
    folder, reward, _ = world
    rw.save_reward(reward, tmp_path / "R")
    claims = documents(folder)["claims"][0]
    place = tmp_path / "c"
    (place / "proofs").mkdir(parents=True)
    for k, changed in enumerate(mutations(claims)):
        if k % 5 == 0:
            (place / "claims.json").write_bytes(canonical(changed))
            assert check(place, {"R": tmp_path / "R"}).problem is not None, changed
    (place / "claims.json").write_bytes((folder / "claims.json").read_bytes())
    for path in sorted((folder / "proofs").iterdir()):
        whole = json.loads(path.read_bytes())
        for k, changed in enumerate(mutations(whole)):
            if k % 5 == 0:
                (place / "proofs" / path.name).write_bytes(canonical(changed))
                report = check(place, {"R": tmp_path / "R"})
                assert [c.verdict for c in report.claims if f"{c.rule}.json" == path.name] == ["refused"], changed
        (place / "proofs" / path.name).unlink()


def test_the_reader_of_statements_and_their_schema_agree(world: tuple[Path, Artifact, Path]) -> None:
    statement = documents(world[0])["statement"][0]
    read(statement, SHAPE, "the statement")
    for changed in mutations(statement):
        with pytest.raises(Refused):
            read(changed, SHAPE, "the statement")


def test_a_signed_statement_with_an_unknown_field_is_refused(
    world: tuple[Path, Artifact, Path], tmp_path: Path
) -> None:
    folder, reward, key_file = world
    key: Ed25519PrivateKey = load_private_key(key_file)
    statement = documents(folder)["statement"][0]
    statement["predicate"]["rules"][0]["waived"] = "by nobody"
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        (tmp_path / path.relative_to(folder)).parent.mkdir(exist_ok=True)
        (tmp_path / path.relative_to(folder)).write_bytes(path.read_bytes())
    (tmp_path / "envelope.dsse.json").write_bytes(sign(canonical(statement), key))
    checked = check_certificate(tmp_path, {"R": reward})
    assert [p for p in checked.problems if "exactly the fields" in p]
    assert not checked.accepted


# ── determinism ────────────────────────────────────────────────────────────────────────────────
def test_two_runs_give_equal_bytes_but_for_time_and_signature(
    world: tuple[Path, Artifact, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _, key = world
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    second, _ = issued(tmp_path, key)
    names = sorted(p.relative_to(first).as_posix() for p in first.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(second).as_posix() for p in second.rglob("*") if p.is_file())
    different = [n for n in names if (first / n).read_bytes() != (second / n).read_bytes()]
    assert different == ["envelope.dsse.json"]
    one, two = (documents(folder)["statement"][0] for folder in (first, second))
    assert two["predicate"].pop("issued") == "2001-09-09T01:46:40Z"
    assert one["predicate"].pop("issued") > "2026"
    assert canonical(one) == canonical(two)
    (tmp_path / "again").mkdir()
    third, _ = issued(tmp_path / "again", key)
    assert (third / "envelope.dsse.json").read_bytes() == (second / "envelope.dsse.json").read_bytes()
