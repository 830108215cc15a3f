"""Issuing a certificate and checking it in full: text, statement, signature, and what each change of one is called."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rewarden.certificate.check import check
from rewarden.certificate.envelope import sign
from rewarden.certificate.issue import issue
from rewarden.certificate.keys import fingerprint, generate_key, load_private_key, load_public_key
from rewarden.certificate.match import Checked, check_certificate
from rewarden.certificate.statement import ARITHMETIC, SpecFacts
from rewarden.certificate.tiers import tiers
from rewarden.cli import run as cli
from rewarden.reward.artifact import Artifact
from rewarden.reward.store import save_artifact
from rewarden.spec_lang import load_spec
from rewarden.spec_lang.canonical import canonical_json
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.claim_json import claim_digest, claim_object
from rewarden.spec_lang.errors import CertificateError
from rewarden.verifier.bind import bind
from tests.reference.certificates import network, prove, shortfall

SPEC = """\
spec toy v1

features S {{
  x0 : real in -1 .. 1
  x1 : real in -1 .. 1
}}
assume s: S = s.x0 <= 1
reward R(s: S)

must capped:
  forall s: S
  expect R(s) <= {level}

should low:
  forall s: S
  expect R(s) <= -50

should open:
  forall s: S
  expect R(s) <= {level} + 1
"""


@dataclass(frozen=True)
class Result:
    rule: str
    severity: str
    verdict: str
    claim: Claim | None
    title: str = ""
    reason: str = "Because."
    witness: Any = None
    proof: dict[str, Any] | None = None


@dataclass(frozen=True)
class Point:
    box: int
    point: tuple[Fraction, ...]


@dataclass(frozen=True)
class World:
    folder: Path
    spec: Path
    artifact: Artifact
    results: tuple[Result, ...]
    facts: SpecFacts

    def issue(self, name: str, key: Ed25519PrivateKey | None, results: tuple[Result, ...] | None = None) -> Path:
        return issue(results or self.results, self.facts, {"R": self.artifact}, self.folder / name, key).path

    def check(self, certificate: Path, **more: Any) -> Checked:
        return check_certificate(certificate, {"R": self.folder / "reward.rwz"}, self.spec, **more)


@pytest.fixture
def world(tmp_path: Path) -> World:
    artifact = replace(network(2), records=(replace(network(2).records[0], type=load_type()),))
    save_artifact(artifact, tmp_path / "reward.rwz")
    spec = tmp_path / "toy.rwd"
    spec.write_text(SPEC.format(level="0"), encoding="utf-8")
    zero = bind(load_spec(spec), "capped", {"R": artifact})
    level = shortfall(claim_object(zero), {"R": artifact}) + Fraction(1, 4)
    spec.write_text(SPEC.format(level=float(level)), encoding="utf-8")
    loaded = load_spec(spec)
    capped, low, open_ = (bind(loaded, name, {"R": artifact}) for name in ("capped", "low", "open"))
    proof = prove(claim_object(capped), {"R": artifact}, tmp_path)
    assert proof is not None
    results = (
        Result("capped", "must", "proved", capped, proof=proof),
        Result("low", "should", "violated", low, witness=Point(0, (Fraction(1, 2), Fraction(0)))),
        Result("open", "should", "unknown", open_, reason="The budget was spent."),
    )
    facts = SpecFacts(loaded.name, loaded.digest, ("assume s: S = s.x0 <= 1",))
    return World(tmp_path, spec, artifact, results, facts)


def load_type() -> Any:
    from rewarden.spec_lang.features import Feature, RecordType

    return RecordType("S", tuple(Feature(f"x{k}", "real", Fraction(-1), Fraction(1)) for k in range(2)))


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def rewrite(certificate: Path, key: Ed25519PrivateKey, change: Any) -> None:
    """Change the statement and sign it again, as a forger with a trusted key would."""
    from rewarden.certificate.envelope import open_envelope

    statement = json.loads(open_envelope((certificate / "envelope.dsse.json").read_bytes(), [key.public_key()])[0])
    change(statement)
    (certificate / "envelope.dsse.json").write_bytes(sign(canonical_json(statement), key))


def test_a_certificate_is_accepted_in_all_its_parts(world: World, key: Ed25519PrivateKey) -> None:
    certificate = world.issue("c", key)
    assert sorted(p.name for p in certificate.iterdir()) == [
        "README.txt", "claims.json", "envelope.dsse.json", "proofs", "public_key.pem",
    ]  # fmt: skip
    checked = world.check(certificate)
    assert checked.problems == ()
    assert checked.accepted
    assert checked.text.matched
    assert checked.signature.verified
    assert not checked.signature.trusted
    assert fingerprint(key.public_key()) in checked.signature.sentence
    assert [(c.rule, c.verdict) for c in checked.kernel.claims] == [
        ("capped", "proved"), ("low", "violated"), ("open", "not checked"),
    ]  # fmt: skip
    assert checked.statement is not None
    predicate = checked.statement["predicate"]
    assert "concerns the reward" in predicate["concerns"]
    assert "not covered" in predicate["deployed_arithmetic"]
    assert predicate["assumptions"] == ["assume s: S = s.x0 <= 1"]
    assert any("open" in s and "budget" in s for s in predicate["not_checked"])


def test_it_says_in_which_arithmetic_it_was_checked_and_how_to_check_it(world: World, key: Ed25519PrivateKey) -> None:
    certificate = world.issue("c", key)
    statement = world.check(certificate).statement
    assert statement is not None
    said = [rule["checker"] for rule in statement["predicate"]["rules"] if rule["checker"] is not None]
    assert {one["tier"] for one in said} == {tiers()["flint"][0]}
    assert {name for name, _ in tiers().values()} <= set(ARITHMETIC)
    assert "CERTIFICATE --reward R=ARTIFACT\n" in (certificate / "README.txt").read_text()

    def slide_rule(statement: Any) -> None:
        statement["predicate"]["rules"][0]["checker"]["tier"] = "slide rule"

    rewrite(certificate, key, slide_rule)
    assert world.check(certificate).problems == ("statement: what it says of the check of capped cannot be",)


def test_artifacts_and_specs_may_be_in_memory(world: World, key: Ed25519PrivateKey) -> None:
    certificate = world.issue("c", key)
    assert check_certificate(certificate, {"": world.artifact}, load_spec(world.spec)).accepted


def test_issuing_is_deterministic(world: World, key: Ed25519PrivateKey, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file, under another name of the folder too, but for the time; and that can be fixed."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first, second = world.issue("a", key), world.issue("b", key)
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
    for path in files:
        assert (first / path).read_bytes() == (second / path).read_bytes()


def test_an_unsigned_certificate_says_so(world: World) -> None:
    certificate = world.issue("c", None)
    assert (certificate / "statement.json").is_file()
    checked = world.check(certificate)
    assert not checked.accepted
    assert checked.problems == ("signature: none; the certificate is not signed",)


def test_a_large_proof_is_compressed(world: World, key: Ed25519PrivateKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewarden.certificate.issue.COMPRESS_ABOVE", 10)
    certificate = world.issue("c", key)
    assert (certificate / "proofs" / "capped.json.gz").is_file()
    assert world.check(certificate).accepted


# ── refusals ───────────────────────────────────────────────────────────────────────────────────
BROKEN = [[[["leaf", -1, [], [], []]]]]  # whole, and shows nothing


def test_a_proof_that_the_kernel_refuses_is_left_out_and_said(world: World, key: Ed25519PrivateKey) -> None:
    """The rule is called unknown, all else is certified, and whoever checks it is told."""
    broken = replace(world.results[0], proof=dict(world.results[0].proof or {}, goals=BROKEN))
    written = issue((broken, *world.results[1:]), world.facts, {"R": world.artifact}, world.folder / "c", key)
    why = written.refused["capped"]
    assert list(written.refused) == ["capped"]
    assert why.startswith("proved by the verifier; the kernel did not accept its evidence: goal 0: a leaf's bound")
    assert why.endswith("please report this")
    assert [path.name for path in (written.path / "proofs").iterdir()] == ["low.json"]
    checked = world.check(written.path)
    assert checked.statement is not None
    said = {rule["name"]: rule for rule in checked.statement["predicate"]["rules"]}
    entry = said["capped"]
    assert (entry["verdict"], entry["evidence"], entry["checker"], entry["reason"]) == ("unknown", None, None, why)
    assert said["low"]["checker"]["verdict"] == "violated"
    assert any("capped, found unknown" in one for one in checked.statement["predicate"]["not_checked"])
    assert checked.problems == ("kernel: the must claim capped is not proved: the certificate holds no proof of it",)


def test_the_command_tells_of_it_and_its_status_is_that_of_an_unknown_rule(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusing(*given: Any) -> Any:
        report = check(*given)
        refused = (replace(c, verdict="refused", reason="goal 0") if c.rule == "capped" else c for c in report.claims)
        return replace(report, claims=tuple(refused))

    asked = ["certify", str(world.spec), "--reward", str(world.folder / "reward.rwz"), "-o"]
    assert cli([*asked, str(world.folder / "whole")]) == 0
    assert "warning" not in capsys.readouterr().err
    monkeypatch.setattr("rewarden.certificate.issue.check", refusing)
    assert cli([*asked, str(world.folder / "part")]) == 3
    said = capsys.readouterr().err
    assert (
        "warning: capped is in the certificate as unknown, without evidence: proved by the verifier; the kernel" in said
    )
    assert not (world.folder / "part" / "proofs" / "capped.json").exists()
    assert (world.folder / "whole" / "proofs" / "capped.json").exists()


def test_nothing_is_written_where_nothing_is_left(world: World, key: Ed25519PrivateKey) -> None:
    broken = replace(world.results[0], proof=dict(world.results[0].proof or {}, goals=BROKEN))
    with pytest.raises(CertificateError) as raised:
        world.issue("c", key, (broken, world.results[2]))
    assert raised.value.code == "C40"
    assert not (world.folder / "c").exists()
    assert not list(world.folder.glob(".c*"))


def test_nothing_is_written_where_verifier_and_kernel_differ_about_a_point(
    world: World, key: Ed25519PrivateKey
) -> None:
    """Both are exact: one of them does not know what the reward is, and every proof rests on that."""
    capped, low, _ = world.results
    broken = replace(capped, verdict="violated", proof=None, witness=low.witness)  # it is not broken there
    assert low.claim is not None
    proof = {**(capped.proof or {}), "claim": claim_digest(low.claim), "witness": {"box": 0, "point": ["1/2", "0"]}}
    kept = replace(low, verdict="proved", proof=proof)  # it is false there
    for results in ((broken, low), (capped, kept)):
        with pytest.raises(CertificateError) as raised:
            world.issue("c", key, results)
        assert raised.value.code == "C40"
        assert not (world.folder / "c").exists()


def test_nothing_to_certify(world: World, key: Ed25519PrivateKey) -> None:
    with pytest.raises(CertificateError) as raised:
        world.issue("c", key, (replace(world.results[0], claim=None, proof=None),))
    assert raised.value.code == "C41"


def test_another_key_than_the_trusted_one(world: World, key: Ed25519PrivateKey, tmp_path: Path) -> None:
    certificate = world.issue("c", key)
    public = generate_key(tmp_path / "other.pem")
    checked = world.check(certificate, public_key=public)
    assert not checked.accepted
    assert any("signature" in p for p in checked.problems)


def test_the_trusted_key(world: World, tmp_path: Path) -> None:
    public = generate_key(tmp_path / "mine.pem")
    certificate = world.issue("c", load_private_key(tmp_path / "mine.pem"))
    checked = world.check(certificate, public_key=public)
    assert checked.accepted
    assert checked.signature.trusted


def test_a_changed_statement_breaks_the_signature(world: World, key: Ed25519PrivateKey) -> None:
    certificate = world.issue("c", key)
    data = (certificate / "envelope.dsse.json").read_bytes()
    for change in (data.replace(b'"payload":"ey', b'"payload":"eY'), data[:-9], b"{}", b"[]", b"", data + b" "):
        (certificate / "envelope.dsse.json").write_bytes(change)
        checked = world.check(certificate)
        assert not checked.accepted
        assert any(p.startswith("signature") for p in checked.problems)


def say_violated(statement: Any) -> None:
    statement["predicate"]["rules"][1]["verdict"] = "proved"


def drop_evidence(statement: Any) -> None:
    statement["predicate"]["rules"][0]["evidence"] = None


def drop_rule(statement: Any) -> None:
    del statement["predicate"]["rules"][0]


def other_claim(statement: Any) -> None:
    statement["predicate"]["rules"][0]["claim"] = "sha256:" + "0" * 64


def other_subject(statement: Any) -> None:
    statement["subject"][0]["digest"]["sha256"] = "0" * 64


def other_file(statement: Any) -> None:
    statement["predicate"]["claims"]["file"] = "../claims.json"


def other_type(statement: Any) -> None:
    statement["predicateType"] = "https://slsa.dev/provenance/v1"


def no_predicate(statement: Any) -> None:
    statement["predicate"] = None


@pytest.mark.parametrize(
    "change", [say_violated, drop_evidence, drop_rule, other_claim, other_subject, other_file, other_type, no_predicate]
)
def test_a_statement_that_disagrees_is_refused_though_signed(world: World, key: Ed25519PrivateKey, change: Any) -> None:
    certificate = world.issue("c", key)
    rewrite(certificate, key, change)
    checked = world.check(certificate)
    assert not checked.accepted
    assert any(p.startswith("statement") for p in checked.problems)


def test_another_text_is_refused(world: World, key: Ed25519PrivateKey) -> None:
    certificate = world.issue("c", key)
    world.spec.write_text(world.spec.read_text().replace("R(s) <= -50", "R(s) <= -51"), encoding="utf-8")
    checked = world.check(certificate)
    assert not checked.accepted
    assert any("not what toy says: low" in p for p in checked.problems)


def test_a_must_rule_that_the_certificate_leaves_out(world: World, key: Ed25519PrivateKey) -> None:
    certificate = world.issue("c", key)
    text = world.spec.read_text() + "\nmust extra:\n  forall s: S\n  expect R(s) <= 99\n"
    world.spec.write_text(text, encoding="utf-8")
    checked = world.check(certificate)
    assert checked.text.matched
    assert checked.text.sentence.endswith("byte for byte; it has no claim for the rule extra")
    assert not checked.accepted
    assert any("extra" in p for p in checked.problems)
    lenient = world.check(certificate, allow_unchecked=True)
    assert not any("extra" in p for p in lenient.problems)
    assert any("is not its subject" in p for p in lenient.problems), "it was issued about another spec"


def test_a_spec_that_cannot_be_compiled(world: World, key: Ed25519PrivateKey) -> None:
    certificate = world.issue("c", key)
    world.spec.write_text("spec toy v1\n\nmust x: nonsense\n", encoding="utf-8")
    assert any("compiled" in p for p in world.check(certificate).problems)


def test_another_artifact(world: World, key: Ed25519PrivateKey, tmp_path: Path) -> None:
    certificate = world.issue("c", key)
    save_artifact(network(3), tmp_path / "other.rwz")
    checked = check_certificate(certificate, {"R": tmp_path / "other.rwz"})
    assert any(p.startswith("kernel") for p in checked.problems)
    assert any(p.startswith("statement") for p in checked.problems)


# ── keys ───────────────────────────────────────────────────────────────────────────────────────
def test_keys_on_disk(tmp_path: Path) -> None:
    public = generate_key(tmp_path / "keys" / "me.pem")
    private = tmp_path / "keys" / "me.pem"
    assert stat.S_IMODE(os.stat(private).st_mode) == 0o600
    assert fingerprint(load_private_key(private).public_key()) == fingerprint(load_public_key(public))
    with pytest.raises(CertificateError, match="C30"):
        generate_key(private)
    private.chmod(0o644)
    with pytest.raises(CertificateError, match="C32"):
        load_private_key(private)
    with pytest.raises(CertificateError, match="C31"):
        load_private_key(tmp_path / "none.pem")
    (tmp_path / "bad.pem").write_text("no key")
    with pytest.raises(CertificateError, match="C31"):
        load_public_key(tmp_path / "bad.pem")


# ── weight ─────────────────────────────────────────────────────────────────────────────────────
def test_neither_torch_nor_z3_is_imported(world: World, key: Ed25519PrivateKey) -> None:
    certificate = world.issue("c", key)
    code = (
        "import sys; from pathlib import Path\n"
        "from rewarden.certificate.match import check_certificate\n"
        f"c = check_certificate(Path({str(certificate)!r}), {{'R': Path({str(world.folder / 'reward.rwz')!r})}}, "
        f"Path({str(world.spec)!r}), require_light=True)\n"
        "print(c.accepted, 'torch' in sys.modules, 'z3' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "True False False", run.stderr


def test_a_heavy_process_is_told(world: World, key: Ed25519PrivateKey, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = world.issue("c", key)
    monkeypatch.setitem(sys.modules, "z3", sys)
    with pytest.raises(CertificateError, match="C45"):
        world.check(certificate, require_light=True)


def test_float32_verdicts_are_not_certified(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said before any work, by the commands and from Python, and not as if a certificate were rejected."""
    import rewarden as rw
    from rewarden.cli import run
    from rewarden.spec_lang.errors import UsageError
    from rewarden.verifier import VerifyOptions

    monkeypatch.chdir(tmp_path)
    (tmp_path / "rewarden.toml").write_text(
        'specs = ["toy.rwd"]\n[rewards]\nR = "reward.rwz"\n[verify]\nsemantics = "float32"\n'
    )
    assert run(["certify", "-o", "c", "--new-key", "new.pem"]) == 2
    assert run(["verify", "--certificate", "c"]) == 2
    said = capsys.readouterr().err
    assert said.count("error[G56]") == 2
    assert not (tmp_path / "c").exists()
    assert not (tmp_path / "new.pem").exists()
    options = VerifyOptions(semantics="float32", budget=100)
    result = rw.verify(load_spec(world.spec), options, rules=["low"], rewards={"R": world.artifact})
    with pytest.raises(UsageError) as refused:
        rw.certify(result, tmp_path / "c")
    assert refused.value.code == "G56"
