"""Who vouches for what: several signatures, sign-offs of a spec, policies, and signatures of model-signing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rewarden.certificate.countersign import countersign
from rewarden.certificate.envelope import ENVELOPE, KEYS, add_signature, check_signatures, sign
from rewarden.certificate.issue import issue
from rewarden.certificate.keys import fingerprint, generate_key, load_private_key
from rewarden.certificate.match import Checked, _model_signed, check_certificate
from rewarden.certificate.policy import load_policy
from rewarden.certificate.signoff import SAYS, signed_off
from rewarden.cli import run
from rewarden.reward.store import load_artifact, save_artifact
from rewarden.spec_lang import load_spec
from rewarden.spec_lang.canonical import canonical_json
from rewarden.spec_lang.errors import CertificateError, UsageError
from tests.reference.certificates import network
from tests.unit.test_certificate_match import World
from tests.unit.test_certificate_match import world as world  # the fixture

POLICY = """\
[[role]]
name = "verifier"
keys = ["verifier.pub.pem"]

[[role]]
name = "auditor"
keys = ["ada.pub.pem", "grace.pub.pem"]
threshold = 1
"""


class Office:
    """A certificate, made on a given day and signed by the verifier, with everybody's keys beside it."""

    def __init__(self, world: World, issued: datetime | None = None) -> None:
        self.world, self.folder = world, world.folder
        save_artifact(world.artifact, self.folder / "R")
        for name in ("verifier", "ada", "grace", "kay"):
            generate_key(self.folder / f"{name}.pem")
        rewards = {"R": world.artifact}
        self.certificate = issue(
            world.results, world.facts, rewards, self.folder / "c", self.key("verifier"), issued
        ).path

    def key(self, name: str) -> Ed25519PrivateKey:
        return load_private_key(self.folder / f"{name}.pem")

    def held_to(self, policy: str) -> Checked:
        (self.folder / "policy.toml").write_text(policy)
        asked = load_policy(self.folder / "policy.toml")
        return check_certificate(
            self.certificate, {"R": self.world.artifact}, self.world.spec, policy=asked, allow_unchecked=True
        )

    def says(self, policy: str) -> list[str]:
        return [problem for problem in self.held_to(policy).problems if "policy" in problem]


@pytest.fixture
def office(world: World) -> Office:
    return Office(world)


# ── several signatures ─────────────────────────────────────────────────────────────────────────
def test_a_second_signature_leaves_the_first(office: Office) -> None:
    payload, first = check_signatures(office.certificate)
    signers = countersign(office.certificate, office.key("ada"))
    assert signers == (*first.signers, fingerprint(office.key("ada").public_key()))
    assert check_signatures(office.certificate)[0] == payload
    with pytest.raises(CertificateError) as refused:
        countersign(office.certificate, office.key("ada"))
    assert refused.value.code == "C35"


def test_signing_again_after_a_kill_encloses_the_key(office: Office) -> None:
    enclosed = (office.certificate / KEYS).read_bytes()
    countersign(office.certificate, office.key("ada"))
    (office.certificate / KEYS).write_bytes(enclosed)  # as a kill between the two writes leaves it
    assert len(countersign(office.certificate, office.key("ada"))) == 2


def test_an_enclosed_key_that_has_not_signed_is_refused(office: Office) -> None:
    from rewarden.certificate.keys import public_pem

    enclosed = (office.certificate / KEYS).read_bytes()
    (office.certificate / KEYS).write_bytes(enclosed + public_pem(office.key("kay").public_key()))
    with pytest.raises(CertificateError) as refused:
        check_signatures(office.certificate)
    assert refused.value.code == "C33"


def test_a_signature_of_another_statement_does_not_count(office: Office) -> None:
    """Somebody pastes the auditor's signature of an older certificate under this statement."""
    other = json.loads(sign(b"{}", office.key("ada")))
    envelope = json.loads((office.certificate / ENVELOPE).read_bytes())
    envelope["signatures"] += other["signatures"]
    (office.certificate / ENVELOPE).write_bytes(canonical_json(envelope))
    assert office.says(POLICY) == ["policy: the auditor has not signed: 1 of 1 signatures are missing"]


def test_one_key_counts_once(office: Office) -> None:
    """Two signatures by one key, under two names, are not the two that were asked for."""
    countersign(office.certificate, office.key("ada"))
    envelope = json.loads((office.certificate / ENVELOPE).read_bytes())
    envelope["signatures"].append({**envelope["signatures"][-1], "keyid": "0" * 64})
    (office.certificate / ENVELOPE).write_bytes(canonical_json(envelope))
    assert office.says(POLICY.replace("threshold = 1", "threshold = 2")) == [
        "policy: the auditor has not signed: 1 of 2 signatures are missing"
    ]


# ── policies ───────────────────────────────────────────────────────────────────────────────────
def test_a_policy_asks_for_each_role(office: Office) -> None:
    assert office.says(POLICY) == ["policy: the auditor has not signed: 1 of 1 signatures are missing"]
    countersign(office.certificate, office.key("grace"))
    met = office.held_to(POLICY)
    assert met.accepted
    assert met.signature.trusted
    assert met.notes == ("policy: policy.toml is met",)


def test_no_trusted_key_at_all(office: Office) -> None:
    policy = '[[role]]\nname = "verifier"\nkeys = ["kay.pub.pem"]\n'
    assert not office.held_to(policy).signature.verified
    assert not office.held_to(policy).accepted


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('semantics = ["float32"]', "policy: real semantics; accepted is float32"),
        ('tiers = ["float64"]', "policy: the proofs were checked in exact integer arithmetic; accepted is float64"),
        ('semantics = ["real"]\ntiers = ["exact", "flint"]\nmax_age_days = 36500', None),
    ],
)
def test_what_a_policy_asks_of_the_proofs(office: Office, setting: str, said: str | None) -> None:
    countersign(office.certificate, office.key("ada"))
    assert office.says(f"[certificate]\n{setting}\n{POLICY}") == ([] if said is None else [said])


@pytest.mark.parametrize(("year", "word"), [(2020, "more than 30 days ago"), (2999, "which is to come")])
def test_age(world: World, year: int, word: str) -> None:
    office = Office(world, datetime(year, 1, 2, tzinfo=UTC))
    countersign(office.certificate, office.key("ada"))
    (said,) = office.says(f"[certificate]\nmax_age_days = 30\n{POLICY}")
    assert f"made on {year}-01-02" in said
    assert word in said


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[[role]]\nname = 'a'\nkeys = []",
        "[[role]]\nname = 'a'\nkeys = ['none.pem']",
        "[[role]]\nkeys = ['ada.pub.pem']",
        "[[role]]\nname = 'a'\nkeys = ['ada.pub.pem', 'ada.pub.pem']",
        "[[role]]\nname = 'a'\nkeys = ['ada.pub.pem']\nthreshold = 2",
        "[[role]]\nname = 'a'\nkeys = ['ada.pub.pem']\nthreshold = true",
        "[[role]]\nname = 'a'\nkeys = ['ada.pub.pem']\nsigns = ['cheques']",
        "[[role]]\nname = 'a'\nkeys = ['ada.pub.pem']\nfrom = 'x'",
        f"{POLICY}{POLICY}",
        f"[certificate]\ntiers = []\n{POLICY}",
        f"[certificate]\nmax_age_days = 0\n{POLICY}",
        f"[certificate]\nmax_age = 3\n{POLICY}",
        f"[certificates]\n{POLICY}",
        f"certificate = 3\n{POLICY}",
        f"[spec]\nsign_offs = 'x'\n{POLICY}",
    ],
)
def test_a_policy_that_makes_no_sense(office: Office, text: str) -> None:
    with pytest.raises(UsageError) as refused:
        office.held_to(text)
    assert refused.value.code == "G54"


def test_a_policy_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_bytes(b"\xff\x00[[")
    for path in (tmp_path / "p.toml", tmp_path / "missing.toml"):
        with pytest.raises(UsageError) as refused:
            load_policy(path)
        assert refused.value.code == "G53"


# ── sign-off ───────────────────────────────────────────────────────────────────────────────────
REVIEWED = f"""{POLICY}
[[role]]
name = "reviewer"
keys = ["kay.pub.pem"]
signs = ["spec"]

[spec]
sign_offs = ["demo.signoff.json"]
"""


def test_a_policy_that_was_not_looked_at_is_not_met(office: Office) -> None:
    """A stranger's signature: there is no statement to hold to a policy. Nor is there a reward to match a file with."""
    envelope = office.certificate / ENVELOPE
    envelope.write_bytes(sign(json.loads(envelope.read_bytes())["payload"].encode(), Ed25519PrivateKey.generate()))
    assert not any(note.startswith("policy") for note in office.held_to(POLICY).notes)
    (office.certificate / "claims.json").unlink()
    signature = bundle(office.folder / "model.sig", office.folder / "R")
    checked = check_certificate(
        office.certificate, {"R": load_artifact(office.folder / "R")}, model_signature=signature, allow_unchecked=True
    )
    assert checked.notes == ()


def test_words_of_another_kind_are_no_sign_off(office: Office) -> None:
    place, spec = office.folder / "demo.signoff.json", load_spec(office.world.spec)
    payload = base64.b64decode(json.loads(signed_off(spec, office.key("kay")))["payload"])
    told = payload.replace(SAYS.encode(), b"I have read this spec, and it does not say what I mean.")
    assert told != payload
    place.write_bytes(sign(told, office.key("kay")))
    countersign(office.certificate, office.key("ada"))
    assert any("says something else" in said for said in office.says(REVIEWED))


def test_a_spec_is_signed_off_by_its_digest(office: Office) -> None:
    countersign(office.certificate, office.key("ada"))
    assert any("demo.signoff.json" in said for said in office.says(REVIEWED))  # there is none yet
    place, spec = office.folder / "demo.signoff.json", load_spec(office.world.spec)
    place.write_bytes(signed_off(spec, office.key("ada")))  # not a reviewer
    assert "policy: the reviewer has not signed off this spec" in office.says(REVIEWED)
    place.write_bytes(signed_off(spec, office.key("kay"), place.read_bytes()))
    assert office.says(REVIEWED) == []


def test_a_sign_off_of_another_spec_does_not_count(office: Office) -> None:
    countersign(office.certificate, office.key("ada"))
    other = office.folder / "other.rwd"
    other.write_text(office.world.spec.read_text().replace("<=", "<", 1))
    (office.folder / "demo.signoff.json").write_bytes(signed_off(load_spec(other), office.key("kay")))
    assert office.says(REVIEWED) == ["policy: the reviewer has not signed off this spec"]


def test_a_certificate_is_no_sign_off(office: Office) -> None:
    """The reviewer's signature under a certificate must not pass for one under the spec."""
    countersign(office.certificate, office.key("ada"))
    envelope = add_signature((office.certificate / ENVELOPE).read_bytes(), office.key("kay"))
    (office.folder / "demo.signoff.json").write_bytes(envelope)
    assert any("no sign-off" in said for said in office.says(REVIEWED))


def test_comments_do_not_undo_a_sign_off(office: Office) -> None:
    spec = office.world.spec
    first = signed_off(load_spec(spec), office.key("kay"))
    spec.write_text(f"# a remark\n{spec.read_text()}")
    signed_off(load_spec(spec), office.key("ada"), first)
    spec.write_text(spec.read_text().replace("<=", "<", 1))
    with pytest.raises(CertificateError) as refused:
        signed_off(load_spec(spec), office.key("ada"), first)
    assert refused.value.code == "C37"


# ── model-signing ──────────────────────────────────────────────────────────────────────────────
def bundle(path: Path, folder: Path, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Path:
    """A Sigstore bundle as model-signing 1.1 writes it about a folder, without a valid signature."""
    resources = [
        {"name": file.name, "algorithm": "sha256", "digest": hashlib.sha256(file.read_bytes()).hexdigest()}
        for file in sorted(folder.iterdir())
    ]
    root = hashlib.sha256(b"".join(bytes.fromhex(r["digest"]) for r in resources)).hexdigest()
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": folder.name, "digest": {"sha256": root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {"serialization": {"method": "files", "hash_type": "sha256"}, "resources": resources},
    }
    change(statement)
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    path.write_text(json.dumps({"dsseEnvelope": {"payload": payload, "signatures": []}}))
    return path


def test_a_model_signature_of_the_same_bytes(office: Office) -> None:
    signature = bundle(office.folder / "model.sig", office.folder / "R")
    checked = check_certificate(
        office.certificate, {"R": load_artifact(office.folder / "R")}, model_signature=signature, allow_unchecked=True
    )
    assert checked.accepted
    assert any("is of the same bytes as R; its own signature is not checked" in note for note in checked.notes)


def _drop(statement: dict[str, Any]) -> None:
    statement["predicate"]["resources"].pop()


def _swap(statement: dict[str, Any]) -> None:
    statement["predicate"]["resources"][0]["digest"] = "0" * 64


def _again(statement: dict[str, Any]) -> None:
    statement["predicate"]["resources"] *= 2


def _other(statement: dict[str, Any]) -> None:
    statement["predicateType"] = "https://example.org/other"


@pytest.mark.parametrize("change", [_drop, _swap, _again, _other], ids=lambda f: f.__name__)
def test_a_model_signature_of_other_bytes(office: Office, change: Callable[[dict[str, Any]], None]) -> None:
    signature = bundle(office.folder / "model.sig", office.folder / "R", change)
    checked = check_certificate(
        office.certificate, {"R": load_artifact(office.folder / "R")}, model_signature=signature, allow_unchecked=True
    )
    assert [p for p in checked.problems if p.startswith("model signature")]


def test_a_model_signature_of_the_parent_is_none_of_the_reward(tmp_path: Path) -> None:
    """A parent may be given, for its digest; what is certified is another artifact."""
    reward, folder = network(0), tmp_path / "parent"
    save_artifact(network(1), folder)
    problems: list[str] = []
    signature = bundle(tmp_path / "model.sig", folder)
    assert _model_signed(signature, {"R": reward}, problems) == []
    assert problems == ["model signature: model.sig is of other files than R"]


def test_a_model_signature_of_another_artifact(office: Office) -> None:
    folder = office.folder / "S"
    folder.mkdir()
    for file in (office.folder / "R").iterdir():
        (folder / file.name).write_bytes(file.read_bytes() + b" ")
    signature = bundle(office.folder / "model.sig", folder)
    checked = check_certificate(
        office.certificate, {"R": load_artifact(office.folder / "R")}, model_signature=signature, allow_unchecked=True
    )
    assert any("other files" in p for p in checked.problems)


# ── commands ───────────────────────────────────────────────────────────────────────────────────
def test_the_commands(office: Office, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(office.folder)
    (office.folder / "policy.toml").write_text(REVIEWED)
    spec = str(office.world.spec)
    check = ["check-certificate", "c", "-r", "R=R", "--spec", spec, "--policy", "policy.toml", "--allow-unchecked"]
    assert run(check) == 4
    assert run(["keys", "new", "new.pem"]) == 0
    assert run(["keys", "new", "new.pem"]) == 2  # keys are never overwritten
    assert run(["keys", "show", "ada.pub.pem", "new.pub.pem"]) == 0
    assert fingerprint(office.key("ada").public_key()) in capsys.readouterr().out
    assert run(["sign", "c", "--key", "ada.pem"]) == 0
    assert run(["sign", "c", "--key", "ada.pem"]) == 4
    assert run(["sign", "nowhere", "--key", "ada.pem"]) == 2
    assert run(["sign-off", spec, "--key", "kay.pem", "-o", "demo.signoff.json"]) == 0
    capsys.readouterr()
    # nothing here has imported torch, but the tests before may have: the light check is the command line's own test
    monkeypatch.setattr("rewarden.certificate.match.HEAVY", ())
    assert run(check) == 0
    assert "policy: policy.toml is met" in capsys.readouterr().out
    assert run([*check, "--public-key", "ada.pub.pem"]) == 2


def test_ones_own_key_that_cannot_be_used_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.rwd").write_text("spec s v1\n")
    (tmp_path / "cert").mkdir()
    assert run(["keys", "new", "me.pem"]) == 0
    assert run(["keys", "new", "me.pem"]) == 2  # never overwritten
    for key in ("none.pem", "me.pub.pem"):
        assert run(["sign", "cert", "--key", key]) == 2
        assert run(["sign-off", "spec.rwd", "--key", key]) == 2
    (tmp_path / "me.pem").chmod(0o644)
    assert run(["sign", "cert", "--key", "me.pem"]) == 2
