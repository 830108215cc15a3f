"""Claims that rewards forgot rows: bound by the digests of manifests, never called proved, and no way to say more."""

from __future__ import annotations

import base64
import copy
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import rewarden as rw
from rewarden.certificate.check import Report, check, render
from rewarden.certificate.envelope import ENVELOPE, KEYS, sign
from rewarden.certificate.kernel_json import canonical, digest
from rewarden.certificate.kernel_report import RECIPE
from rewarden.certificate.keys import public_pem
from rewarden.certificate.lineage import lineage_of
from rewarden.certificate.match import check_certificate
from rewarden.cli import run as cli
from rewarden.editor.unlearn import approximate, certified, exact
from rewarden.editor.unlearn.request import Ledger, part
from rewarden.reward.artifact import Artifact, DataSource, Edit
from rewarden.reward.learners.checkpoints import Checkpoints
from rewarden.reward.learners.head import Head
from rewarden.reward.learners.interface import Run
from rewarden.reward.learners.options import HeadOptions, PreferenceOptions, ShardOptions
from rewarden.reward.learners.preferences import Preferences
from rewarden.reward.learners.shards import Shards, contents
from rewarden.reward.store import save_artifact
from tests.reference.certificates import network
from tests.unit.test_unlearning import pairs

Json = Any
SPEC = """\
spec toy v1
features S {
  x0 : real in -1 .. 1
  x1 : real in -1 .. 1
}
reward R(s: S)
must capped: forall s: S expect R(s) <= 60
"""
OLD, LEFT = "sha256:" + "0d" * 32, "sha256:" + "1e" * 32
SAID = {"road": "certified", "forgotten": "3", "left": "97", "epsilon": "1/8", "delta": "1/100000", "guarantee": "so"}


def source(table: str, rows: int) -> DataSource:
    return DataSource("pairs.csv", table, table, rows)


@dataclass(frozen=True)
class Line:
    """A reward, the one after rows were forgotten, one patched since, and one learned on; in a folder."""

    folder: Path
    first: Artifact
    forgot: Artifact
    mended: Artifact
    taken_back: Artifact


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    folder = tmp_path_factory.mktemp("line")
    first = replace(network(2), data=(source(OLD, 100),))
    forgot = replace(network(3), data=(source(LEFT, 97),), parent=first.digest, edit=Edit("unlearn", "", SAID))
    mended = forgot.child(Edit("patch", "capped", {"method": "none"}))
    taken_back = mended.child(Edit("revert", "capped", {}))
    found = Line(folder, first, forgot, mended, taken_back)
    for name in ("first", "forgot", "mended", "taken_back"):
        save_artifact(getattr(found, name), folder / name)
    (folder / "forgot.forgotten.json").write_bytes(b"{}")
    (folder / "toy.rwd").write_text(SPEC, encoding="utf-8")
    return found


def certificate_of(line: Line, reward: Artifact, out: Path, *near: Path) -> Path:
    result = rw.verify(rw.load_spec(line.folder / "toy.rwd"), rewards={"R": reward})
    rw.certify(result, out, near=near)
    return out


@pytest.fixture(scope="module")
def certificate(line: Line) -> Path:
    """About the patched one, whose line of edits is in it."""
    return certificate_of(line, line.mended, line.folder / "certificate", line.folder)


def statement_of(certificate: Path) -> Json:
    return json.loads(base64.b64decode(json.loads((certificate / ENVELOPE).read_bytes())["payload"]))


def sign_as(out: Path, statement: Json, key: Ed25519PrivateKey) -> None:
    (out / ENVELOPE).write_bytes(sign(canonical(statement), key))
    (out / KEYS).write_bytes(public_pem(key.public_key()))


def of_lineage(report: Report) -> Any:
    (found,) = (c for c in report.claims if c.rule.startswith("lineage"))
    return found


def test_it_is_said_and_never_called_proved(line: Line, certificate: Path) -> None:
    report = check(certificate, {"R": line.folder / "mended"})
    found = of_lineage(report)
    assert (found.verdict, found.severity, found.checked) == (RECIPE, "should", False)
    assert report.accepted
    for word in (
        line.forgot.digest,
        line.first.digest,
        LEFT,
        "(patch)",
        "forgetting 3 rows",
        "97 rows",
        "0.125",
        "0.00001",
    ):
        assert word in found.sentence, word
    said = render(report)
    assert "recipe not re-run: so say the manifests" in said
    assert "digests checked by check, kernel_artifact, kernel_cases, kernel_claim, kernel_json, kernel_lineage" in said
    assert "its parent was not given (--reward R.parent=ARTIFACT)" in said
    assert "accepted: 1 of 1 claims proved" in said
    full = check_certificate(certificate, {"R": line.mended}, line.folder / "toy.rwd")
    assert full.accepted, full.problems


def test_nothing_in_it_names_what_was_there_before(line: Line, certificate: Path) -> None:
    """Against the digest of a table that held the rows, a guess could be tested; so none is in a certificate."""
    texts = [path.read_text() for path in certificate.rglob("*.json")] + [json.dumps(statement_of(certificate))]
    assert sum(LEFT in text for text in texts) >= 2
    assert not any(OLD in text for text in texts)


def test_the_parent_is_looked_at_where_it_is_given(line: Line, certificate: Path, tmp_path: Path) -> None:
    mended = line.folder / "mended"
    there = {"R": mended, "R.parent": line.folder / "first"}
    report = check(certificate, there)
    assert "its parent was given, and is that artifact" in of_lineage(report).reason
    assert check_certificate(certificate, there, line.folder / "toy.rwd").accepted
    wrong = check(certificate, {"R": mended, "R.parent": line.folder / "forgot"})
    assert of_lineage(wrong).verdict == "refused"
    assert not wrong.accepted
    other = check(certificate, {"R": mended, "Q.parent": line.folder / "first"})
    assert other.problem is not None


def test_one_that_forgot_itself_needs_no_line(line: Line, tmp_path: Path) -> None:
    found = lineage_of("R", line.forgot)
    assert found is not None
    assert (found.line, found.claim["lineage"]["since"], found.claim["lineage"]["ledger"]) == ((), [], None)
    report = check(certificate_of(line, line.forgot, tmp_path / "c"), {"R": line.folder / "forgot"})
    assert of_lineage(report).verdict == RECIPE


def test_the_ledger_is_named_by_its_digest(line: Line) -> None:
    found = lineage_of("R", line.mended, [line.folder])
    assert found is not None
    assert found.claim["lineage"]["ledger"] == digest(b"{}")


def test_where_rows_may_have_come_back_nothing_is_said(line: Line) -> None:
    assert lineage_of("R", line.mended) is None, "its ancestors are not at hand"
    assert lineage_of("R", line.taken_back, [line.folder]) is None
    assert lineage_of("R", line.first, [line.folder]) is None
    old = replace(line.forgot, edit=Edit("unlearn", "", {"rows": "3 forgotten"}))
    assert lineage_of("R", old) is None, "a manifest of an older version says too little"


# ── changes, with every digest mended ──────────────────────────────────────────────────────────
def changes(claim: Json, evidence: Json) -> Iterator[tuple[str, Json, Json]]:
    """What would be false, or is of another form."""

    def changed(name: str, change: Any) -> tuple[str, Json, Json]:
        one, other = copy.deepcopy(claim), copy.deepcopy(evidence)
        change(one, other)
        return name, one, other

    fields = {
        "artifact": OLD, "parent": OLD, "since": ["slope"], "road": "exact", "forgotten": 2, "left": 98,
        "epsilon": "1/16", "delta": "1/1000000", "data": [{"table": OLD, "rows": 97}],
    }  # fmt: skip
    for key, value in fields.items():
        yield changed(key, lambda c, e, key=key, value=value: c["lineage"].update({key: value}))
    yield changed("no since", lambda c, e: c["lineage"].update(since=[]))
    yield changed("more since", lambda c, e: c["lineage"].update(since=["patch", "patch"]))
    yield changed("records", lambda c, e: c["lineage"]["data"][0].update(rows=96))
    yield changed("no table", lambda c, e: c["lineage"].update(data=[]))
    yield changed("exact, and no epsilon", lambda c, e: c["lineage"].update(road="exact", epsilon=None, delta=None))
    yield changed("no epsilon", lambda c, e: c["lineage"].update(epsilon=None))
    yield changed("no line", lambda c, e: e.update(line=[]))
    yield changed("twice", lambda c, e: e["line"].append(e["line"][0]))
    yield changed("a number", lambda c, e: e.update(line=[7]))
    yield changed("another manifest", lambda c, e: e["line"][0].update(parent=OLD))
    yield changed("another edit", lambda c, e: e["line"][0]["edit"]["statement"].update(forgotten="2"))
    yield changed("must", lambda c, e: c.update(severity="must"))
    yield changed("called as a rule is", lambda c, e: c.update(rule="capped"))
    yield changed("called after another", lambda c, e: c.update(rule="lineage of Q"))
    yield changed("of two", lambda c, e: c["rewards"].update(Q=c["rewards"]["R"]))
    yield changed("of another reward", lambda c, e: c["rewards"].update(R=OLD))
    yield changed("more", lambda c, e: c["lineage"].update(clean=True))
    yield changed("cases too", lambda c, e: c.update(cases=[]))


def resigned(line: Line, certificate: Path, out: Path, key: Ed25519PrivateKey, claim: Json, evidence: Json) -> Path:
    """A copy with this claim about lineage: claims, evidence and statement are mended, and signed again."""
    (out / "proofs").mkdir(parents=True)
    document = json.loads((certificate / "claims.json").read_bytes())
    document["claims"] = sorted(
        [c for c in document["claims"] if "lineage" not in c] + [claim], key=lambda c: c["rule"]
    )
    (out / "claims.json").write_bytes(canonical(document))
    (out / "proofs" / "capped.json").write_bytes((certificate / "proofs" / "capped.json").read_bytes())
    name = f"proofs/claim-{digest(canonical(claim))[7:]}.json"
    (out / name).write_bytes(canonical({**evidence, "claim": digest(canonical(claim))}))
    statement = statement_of(certificate)
    said = statement["predicate"]
    said["claims"]["digest"] = digest((out / "claims.json").read_bytes())
    file = {"file": name, "digest": digest((out / name).read_bytes())}
    said["lineages"] = [{"name": claim["rule"], "claim": digest(canonical(claim)), "evidence": file}]
    sign_as(out, statement, key)
    return out


def test_changes_are_refused_whoever_signs_them(line: Line, certificate: Path, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    found = lineage_of("R", line.mended, [line.folder])
    assert found is not None
    claim, evidence = json.loads(canonical(dict(found.claim))), json.loads(canonical(found.evidence))
    same = resigned(line, certificate, tmp_path / "same", key, claim, evidence)
    assert check_certificate(same, {"R": line.mended}, line.folder / "toy.rwd").accepted
    tried = 0
    for name, changed, shown in changes(claim, evidence):
        forged = resigned(line, certificate, tmp_path / name, key, changed, shown)
        report = check(forged, {"R": line.folder / "mended"})
        assert not report.sound, name
        assert not check_certificate(forged, {"R": line.mended}, line.folder / "toy.rwd").accepted, name
        tried += 1
    assert tried > 25


def test_a_statement_says_what_is_there(line: Line, certificate: Path, tmp_path: Path) -> None:
    """Left out, added to, or pointed at another claim by whoever has the key."""
    key = Ed25519PrivateKey.generate()
    whole = statement_of(certificate)
    (listed,) = whole["predicate"]["lineages"]
    others = [
        [], [listed, listed], [{**listed, "claim": OLD}], [{**listed, "name": "lineage of Q"}],
        [{**listed, "evidence": whole["predicate"]["rules"][0]["evidence"]}],
        [{**listed, "evidence": {**listed["evidence"], "digest": OLD}}],
    ]  # fmt: skip
    for k, lineages in enumerate(others):
        out = tmp_path / str(k)
        for path in (p for p in certificate.rglob("*") if p.is_file()):
            (out / path.relative_to(certificate)).parent.mkdir(parents=True, exist_ok=True)
            (out / path.relative_to(certificate)).write_bytes(path.read_bytes())
        statement = copy.deepcopy(whole)
        statement["predicate"]["lineages"] = lineages
        sign_as(out, statement, key)
        problems = check_certificate(out, {"R": line.mended}, line.folder / "toy.rwd").problems
        assert any(p.startswith("statement:") for p in problems), lineages


def test_the_commands(line: Line, tmp_path: Path) -> None:
    spec, reward = str(line.folder / "toy.rwd"), f"R={line.folder / 'mended'}"
    assert cli(["certify", spec, "--reward", reward, "-o", str(tmp_path / "c")]) == 0
    command = ["check-certificate", str(tmp_path / "c"), "--reward", reward, "--spec", spec]
    run = subprocess.run([sys.executable, "-m", "rewarden", *command], capture_output=True, text=True, check=True)
    said = run.stdout
    assert f"lineage of R: R, {line.mended.digest}, was made by later edits (patch) from {line.forgot.digest}" in said
    assert "recipe not re-run: so say the manifests" in said
    assert "accepted: 1 of 1 claims proved" in said


# ── of rewards that forgot in earnest ──────────────────────────────────────────────────────────
def test_what_unlearning_writes_is_what_is_claimed() -> None:
    data, options = pairs(200, 1), HeadOptions(l2=2.0, noise=5.0)
    head = Head().fit(data, options)
    done = certified.forget(head, data, part(data, contents(data)[:3], Ledger()), options, Head())
    found = lineage_of("R", done.artifact)
    assert found is not None
    said = found.claim["lineage"]
    assert (said["road"], said["forgotten"], said["left"]) == ("certified", 3, 197)
    assert (said["parent"], said["artifact"]) == (head.digest, done.artifact.digest)
    assert Fraction(done.epsilon) <= Fraction(said["epsilon"]) <= Fraction(done.epsilon) * Fraction(100001, 100000)
    assert Fraction(said["delta"]) == Fraction(repr(options.delta))
    assert done.artifact.edit is not None
    statement = done.artifact.edit.statement
    for text, lead in ((statement["guarantee"], "certified: ("), (statement["budget"], "epsilon ")):
        assert text.startswith(lead)
        assert Fraction(done.epsilon) <= Fraction(re.split("[ ,]", text.removeprefix(lead))[0]), text
    before, after = head.data, done.artifact.data
    assert [one["table"] for one in said["data"]] == [source.table_digest for source in after]
    assert not {source.table_digest for source in before} & {one["table"] for one in said["data"]}


def test_roads_other_than_the_certified_have_no_epsilon() -> None:
    data = pairs(120, 2)
    gone = part(data, contents(data)[:4], Ledger())
    learner, options = Shards(Preferences(), ShardOptions(2, 1)), PreferenceOptions(hidden=4, epochs=1, batch=64)
    with TemporaryDirectory() as folder:
        run = Run(3, checkpoints=Checkpoints(Path(folder)))
        first = learner.fit(data, options, run)
        child = exact.forget(first, data, gone, learner, options, run).artifact
    for road, artifact in (("exact", child), ("approximate", approximate.forget(first, data, gone).artifact)):
        found = lineage_of("R", artifact)
        assert found is not None, road
        said = found.claim["lineage"]
        assert (said["road"], said["forgotten"], said["left"]) == (road, 4, 116)
        assert (said["epsilon"], said["delta"], said["parent"]) == (None, None, first.digest)
