"""A whole statement, field by field, changed by somebody who signs with the trusted key: nothing false is believed.

`test_resigned_certificates` attacks the mathematics; here the proofs are honest, and what is said around them lies: of
what the certificate is, which data were used, how the reward was made and edited, what was not checked.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import rewarden as rw
from rewarden.certificate import match
from rewarden.certificate.envelope import ENVELOPE, sign
from rewarden.certificate.keys import generate_key, load_private_key
from rewarden.certificate.match import Checked, check_certificate
from rewarden.certificate.policy import load_policy
from rewarden.certificate.signoff import signed_off
from rewarden.reward.artifact import Artifact, DataSource, Learner
from rewarden.spec_lang import Spec
from rewarden.spec_lang.canonical import canonical_json
from rewarden.verifier import VerifyOptions
from tests.reference.certificates import network
from tests.reference.forger import take_apart

Json = Any
TEXT = """\
spec tank v1

features S {
  x0 : real in -1 .. 1
  x1 : real in -1 .. 1
}
reward R(s: S)
reward Base(s: S)
data logs: S from "logs.csv"
assume s: S = s.x0 + s.x1 <= 2

--- Full is worth no more than three.
must full:
  forall s: S
  given s.x0 >= 1/2
  expect R(s) <= 3

must usual:
  forall s: S
  expect R(s) <= quantile(R(logs), 1) + 90

must logged:
  forall p in logs
  expect R(p) <= 90

should local:
  forall s: S
  given beyond(s.x0 >= 1/2, 20 %)
  expect R(s) == Base(s)

should never:
  forall s: S
  expect R(s) <= -50
"""
FREE = {"reason", "rewarden", "python", "issued"}  # the signer's own word, and no more than that


@dataclass(frozen=True)
class World:
    folder: Path
    spec: Spec
    artifacts: dict[str, Artifact]
    statement: Json
    key: Ed25519PrivateKey

    def check(self, statement: Json, **more: Any) -> Checked:
        (self.folder / "c" / ENVELOPE).write_bytes(sign(canonical_json(statement), self.key))
        given = {"spec": self.spec, "public_key": self.folder / "me.pub.pem", **more}
        return check_certificate(self.folder / "c", self.artifacts, **given)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An honest certificate of a learned and patched reward. Its proofs are checked once: no change here is of them."""
    folder = tmp_path_factory.mktemp("tank")
    (folder / "tank.rwd").write_text(TEXT, encoding="utf-8")
    (folder / "logs.csv").write_text("x0,x1\n0.5,-0.5\n-1,1\n0,0.25\n", encoding="utf-8")
    spec = rw.load_spec(folder / "tank.rwd")
    made = network(3)
    records = (replace(made.records[0], type=spec.features["S"]),)
    zero = "sha256:" + "1" * 64
    learned = (DataSource("logs.csv", zero, zero, 3),)
    base = replace(made, records=records, learner=Learner("preferences", {}, 7, {}), data=learned)
    options = VerifyOptions(engine="bounds", budget=20_000, falsify_budget=3000)
    mended = rw.patch(spec, rules=["full"], verify_options=options, rewards={"R": base, "Base": base})
    assert mended.artifact is not None
    artifacts = {"R": mended.artifact, "Base": base}
    generate_key(folder / "me.pem")
    rw.certify(rw.verify(spec, options, rewards=artifacts), folder / "c", key=folder / "me.pem")
    report = match.check(folder / "c", _written(artifacts, folder))
    assert report.accepted
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(match, "check", lambda *_: report)
        told = match._text(folder / "c", artifacts, spec, {}, ())
        patch.setattr(match, "_text", lambda *_: told)
        yield World(
            folder, spec, artifacts, take_apart(folder / "c", artifacts).statement, load_private_key(folder / "me.pem")
        )


def _written(artifacts: dict[str, Artifact], folder: Path) -> dict[str, Path]:
    for name, artifact in artifacts.items():
        rw.save_reward(artifact, folder / name)
    return {name: folder / name for name in artifacts}


def _places(value: Json, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every leaf, and every list's end."""
    match value:
        case dict():
            for key in value:
                yield from _places(value[key], (*at, key))
        case list():
            yield (*at, "more")
            if value:
                yield (*at, "less")
            for k, one in enumerate(value):
                yield from _places(one, (*at, k))
        case _:
            yield at


OTHER = {"ceiling": "floor", "shift": "exact", "exact": "shift", "must": "should", "should": "must", "real": "float32"}
OTHER |= {"proved": "violated", "violated": "unknown"}


def _change(statement: Json, at: tuple[Any, ...]) -> None:
    """Another value of the same kind, so that nothing but its meaning can be at fault."""
    *above, last = at
    holder = functools.reduce(lambda held, key: held[key], above, statement)
    if last == "more":
        holder.append(copy.deepcopy(holder[0]) if holder else "more")
    elif last == "less":
        holder.pop()
    elif holder[last] is None:
        holder[last] = "sha256:" + "0" * 64
    elif isinstance(holder[last], int):
        holder[last] += 1
    elif str(holder[last]).startswith("sha256:"):
        holder[last] = "sha256:" + "0" * 64
    elif last == "sha256":
        holder[last] = "0" * 64
    elif last == "value":
        holder[last] = "1/3"
    else:
        holder[last] = OTHER.get(holder[last], holder[last] + " indeed")


def test_no_field_can_be_changed(world: World) -> None:
    assert world.check(world.statement).problems == ()
    believed, tried = [], 0
    for at in _places(world.statement):
        if at[-1] in FREE:
            continue
        changed = copy.deepcopy(world.statement)
        _change(changed, at)
        tried += 1
        if world.check(changed).accepted:
            believed.append(at)
    assert believed == []
    assert tried > 100


def _other_spec(statement: Json) -> None:
    """A second spec as a subject: of the signed-off one's digest."""
    statement["subject"].insert(0, {"name": "good.rwd", "digest": {"sha256": "2" * 64}})


def _another_artifact(statement: Json) -> None:
    """An artifact that no claim is about, for somebody who looks certificates up by their subjects."""
    statement["subject"].insert(0, {"name": "Other", "digest": {"sha256": "2" * 64}})
    first = copy.deepcopy(statement["predicate"]["rewards"][0])
    statement["predicate"]["rewards"].insert(0, {**first, "name": "Other", "digest": "sha256:" + "2" * 64})


def _no_subject(statement: Json) -> None:
    statement["subject"] = []


def _quiet(statement: Json) -> None:
    """A rule that is broken, and of which the statement says nothing."""
    rules = statement["predicate"]["rules"]
    rules[:] = [rule for rule in rules if rule["name"] != "never"]


def _ghost(statement: Json) -> None:
    """A rule that no spec has, called unchecked as it should be."""
    said = statement["predicate"]
    rest = {"claim": None, "evidence": None, "checker": None, "constants": [], "reason": "x", "verdict": "proved"}
    said["rules"].append({**said["rules"][0], **rest, "name": "harmless"})
    said["not_checked"].append("Rule harmless, found proved, without evidence that the kernel can check: x")


def _confusable(statement: Json) -> None:
    """The name of a rule in letters that look the same."""
    for rule in statement["predicate"]["rules"]:
        rule["name"] = rule["name"].replace("e", "\u0435").replace("o", "\u043e")


def _unsaid(statement: Json) -> None:
    statement["predicate"]["not_checked"] = statement["predicate"]["not_checked"][:3]


def _reassuring(statement: Json) -> None:
    statement["predicate"]["not_checked"].append("Nothing else: the deployed network was checked bit for bit.")


def _aside(statement: Json) -> None:
    """The signed digest is of another file than the one that is read."""
    file = next(rule["evidence"] for rule in statement["predicate"]["rules"] if rule["evidence"])
    statement["predicate"]["claims"] = dict(file)


def _swapped(statement: Json) -> None:
    first, second, *_ = [rule for rule in statement["predicate"]["rules"] if rule["evidence"]]
    first["evidence"], second["evidence"] = second["evidence"], first["evidence"]


TIMES = ["", "2026-11-22", "2026-11-22T01:20:00+14:00", "0001-01-01T00:00:00+23:59", "\u0662026-11-22T01:20:00Z"]
TIMES += ["2026-11-22t01:20:00z", "2026-02-30T01:20:00Z", "2026-11-22T24:00:00Z"]


@pytest.mark.parametrize("issued", TIMES)
def test_times_have_one_spelling(world: World, issued: str) -> None:
    changed = copy.deepcopy(world.statement)
    changed["predicate"]["issued"] = issued
    assert any("must be a time" in problem for problem in world.check(changed).problems)


@pytest.mark.parametrize(
    "change",
    [_other_spec, _another_artifact, _no_subject, _quiet, _ghost, _confusable, _unsaid, _reassuring, _aside, _swapped],
    ids=lambda change: change.__name__.strip("_"),
)
def test_whole_lies(world: World, change: Callable[[Json], None]) -> None:
    changed = copy.deepcopy(world.statement)
    change(changed)
    assert not world.check(changed).accepted
    if change not in (_ghost,):  # that one needs the spec to be noticed
        assert not world.check(changed, spec=None).accepted


def test_what_is_printed_names_what_was_not_checked_and_steers_nothing(world: World) -> None:
    from rewarden.commands.certificate import _lines

    told = _lines(world.check(world.statement), quiet=False)
    assert any(line.startswith("recipe not re-run: R is, by its manifest, made by patch") for line in told)
    assert any(line.startswith("recipe not re-run: Base is, by its manifest, learned from") for line in told)
    assert "it concerns the reward, not any policy or machine that optimises it" in told
    changed = copy.deepcopy(world.statement)
    changed["predicate"]["claims"]["file"] = "proofs/\x1b[2J\x1b]0;owned\x07.json"
    changed["predicate"]["rules"][0]["name"] = "a\nrejected: 0 problems\u202e"
    told = _lines(world.check(changed), quiet=False)
    assert any("owned" in line for line in told)
    assert all(line.isprintable() for line in told)


# ── policies ───────────────────────────────────────────────────────────────────────────────────
POLICY = """\
[[role]]
name = "verifier"
keys = ["me.pub.pem"]

[[role]]
name = "reviewer"
keys = ["kay.pub.pem"]
signs = ["spec"]

[spec]
sign_offs = ["good.signoff.json"]
"""


@pytest.fixture
def reviewed(world: World) -> Path:
    """A policy, and a sign-off of an earlier, better spec by the reviewer."""
    if not (world.folder / "kay.pem").exists():
        generate_key(world.folder / "kay.pem")
    (world.folder / "good.rwd").write_text(TEXT.replace("<= 3", "<= 1"), encoding="utf-8")
    good = rw.load_spec(world.folder / "good.rwd")
    (world.folder / "good.signoff.json").write_bytes(signed_off(good, load_private_key(world.folder / "kay.pem")))
    (world.folder / "policy.toml").write_text(POLICY, encoding="utf-8")
    return world.folder / "policy.toml"


def test_a_sign_off_of_one_spec_is_not_lent_to_another(world: World, reviewed: Path) -> None:
    """The verifier names the spec that was signed off beside the one that was verified."""
    good = rw.load_spec(world.folder / "good.rwd")
    policy = load_policy(reviewed)
    for place in (0, 1, 2, 3):
        changed = copy.deepcopy(world.statement)
        digest = {"sha256": good.digest.removeprefix("sha256:")}
        changed["subject"].insert(place, {"name": "tank.rwd", "digest": digest})
        for spec in (world.spec, None):
            told = world.check(changed, public_key=None, policy=policy, spec=spec)
            assert not told.accepted
            assert any(problem.startswith("statement") for problem in told.problems)


def test_a_sign_off_needs_the_text(world: World, reviewed: Path) -> None:
    """Without the spec the claims are matched with nothing, and a sign-off of it speaks of none of them."""
    own = signed_off(world.spec, load_private_key(world.folder / "kay.pem"))
    (world.folder / "good.signoff.json").write_bytes(own)
    policy = load_policy(reviewed)
    assert world.check(world.statement, public_key=None, policy=policy).accepted
    told = world.check(world.statement, public_key=None, policy=policy, spec=None)
    assert [problem.split(":")[0] for problem in told.problems] == ["policy"]


def test_a_statement_from_the_future_is_refused_by_every_policy(world: World, reviewed: Path) -> None:
    (world.folder / "plain.toml").write_text(POLICY.split("\n\n")[0], encoding="utf-8")
    changed = copy.deepcopy(world.statement)
    changed["predicate"]["issued"] = "2999-01-01T00:00:00Z"
    told = world.check(changed, public_key=None, policy=load_policy(world.folder / "plain.toml"))
    assert any("which is to come" in problem for problem in told.problems)


# ── envelopes ──────────────────────────────────────────────────────────────────────────────────
def _envelope(world: World, change: Callable[[Json], None]) -> Checked:
    envelope = json.loads(sign(canonical_json(world.statement), world.key))
    change(envelope)
    (world.folder / "c" / ENVELOPE).write_bytes(canonical_json(envelope))
    return check_certificate(world.folder / "c", world.artifacts, world.spec, public_key=world.folder / "me.pub.pem")


def _stripped(envelope: Json) -> None:
    envelope["signatures"] = []


def _flooded(envelope: Json) -> None:
    envelope["signatures"] = envelope["signatures"] * 65


def _another_type(envelope: Json) -> None:
    envelope["payloadType"] = "application/json"


def _nested(envelope: Json) -> None:
    envelope["signatures"] = [[[]]]


def _unsigned_words(envelope: Json) -> None:
    envelope["signatures"][0]["extra"] = {"verdict": "proved"}
    envelope["note"] = "all is well"


@pytest.mark.parametrize(
    "change", [_stripped, _flooded, _another_type, _nested, _unsigned_words], ids=lambda c: c.__name__
)
def test_envelopes(world: World, change: Callable[[Json], None]) -> None:
    told = _envelope(world, change)
    assert not told.accepted
    assert any(problem.startswith("signature") for problem in told.problems)


def test_key_ids_are_hints_and_no_more(world: World) -> None:
    """A stranger's signature that calls itself the trusted key's."""
    envelope = json.loads(sign(canonical_json(world.statement), world.key))
    other = json.loads(sign(canonical_json(world.statement), Ed25519PrivateKey.generate()))
    forged = {**envelope, "signatures": [{**other["signatures"][0], "keyid": envelope["signatures"][0]["keyid"]}]}
    (world.folder / "c" / ENVELOPE).write_bytes(canonical_json(forged))
    told = check_certificate(world.folder / "c", world.artifacts, world.spec, public_key=world.folder / "me.pub.pem")
    assert any(problem.startswith("signature") for problem in told.problems)


def test_the_signature_of_an_older_certificate_is_none_of_this_one(world: World) -> None:
    older = copy.deepcopy(world.statement)
    older["predicate"]["issued"] = "2020-01-01T00:00:00Z"
    pasted = json.loads(sign(canonical_json(older), world.key))["signatures"]
    stranger = json.loads(sign(canonical_json(world.statement), Ed25519PrivateKey.generate()))
    (world.folder / "c" / ENVELOPE).write_bytes(canonical_json({**stranger, "signatures": pasted}))
    told = check_certificate(world.folder / "c", world.artifacts, world.spec, public_key=world.folder / "me.pub.pem")
    assert any(problem.startswith("signature") for problem in told.problems)
