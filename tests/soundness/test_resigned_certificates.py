"""Real certificates, changed by somebody who recomputes every digest and signs with the trusted key: never believed.

Digests and signatures hold for every forgery here, so that nothing but the mathematics (the kernel) and the text (the
spec compiled again) can refuse it. Whether a claim is false is judged without either: by a dense search with the
artifact's own exact evaluator, and by z3.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import rewarden as rw
from rewarden.certificate import kernel_bounds, kernel_proof, match
from rewarden.certificate.check import Report
from rewarden.certificate.kernel_claim import Claim
from rewarden.certificate.kernel_json import canonical
from rewarden.certificate.keys import generate_key, load_private_key
from rewarden.certificate.match import Checked, TextMatch, check_certificate
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.spec_lang import Spec
from rewarden.spec_lang.claim_json import dump_claim, load_claim
from rewarden.spec_lang.errors import RewardenError
from rewarden.verifier import VerifyOptions
from rewarden.verifier.bind import bind
from rewarden.verifier.inline import compile_program
from rewarden.verifier.z3_engine import Limits, decide_box
from tests.reference.certificates import Json, counterexample, holds, network, rational
from tests.reference.forger import UNBACKED, Change, Forgery, forge, take_apart
from tests.reference.how_many import ALL

PATCHED = """\
spec patched v1

features S {
  x0 : real in -1 .. 1
  x1 : real in -1 .. 1
}
reward R(s: S)
reward Base(s: S)

must slow:
  forall s: S
  given s.x0 >= 1/2
  expect R(s) <= 3

must top:
  forall s: S
  expect R(s) <= 4.1

must local:
  forall s: S
  given beyond(s.x0 >= 1/2, 20 %)
  expect R(s) == Base(s)

should never:
  forall s: S
  expect R(s) <= 2
"""
PAIRS = """\
spec pairs v1

features S {
  x0 : real in -1 .. 1
  k  : int in 0 .. 3
}
features T {
  y0 : real in 0 .. 1
  on : bool
}
reward R(s: S, t: T)

must capped:
  forall s: S, t: T
  given s.x0 >= t.y0 or (t.on and s.k >= 2)
  expect R(s, t) <= 1.22

should steep:
  forall s: S, t: T
  given s.k >= 2 and s.x0 <= 1/2
  expect R(s, t) > -3/4

should flat:
  forall s: S, t: T
  given t.y0 > 1/2
  expect R(s, t) <= 1/2
"""
WEDGE = """\
spec wedge v1

features S {
  x0 : real in -1 .. 1
  x1 : real in -1 .. 1
}
reward R(s: S)

must corner:
  forall s: S
  given s.x0 + s.x1 <= 1/2 and s.x0 > -1/2
  expect R(s) <= 0.55 and R(s) > -2.4

must sides:
  forall s: S
  given s.x0 <= -1/2 or s.x1 >= 3/4
  expect R(s) <= 0.55

should tied:
  forall s, t: S varying x1
  given s.x1 <= t.x1
  expect R(s) <= R(t)
"""


@dataclass(frozen=True)
class World:
    """One honest certificate, the spec it is of, and the key that everybody trusts."""

    spec: Spec
    honest: Forgery
    key: Ed25519PrivateKey
    public: Path


def reward(spec: Spec, seed: int) -> Artifact:
    """A small random network that reads what the spec's R reads."""
    records = tuple(RewardRecord(param, spec.features[kind]) for param, kind in spec.rewards["R"].params)
    width = sum(f.width for r in records for f in r.type.features)
    return replace(network(seed, width), records=records)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, World]:
    """Verified, patched where need be, and certified by the public interface."""
    folder = tmp_path_factory.mktemp("worlds")
    public = generate_key(folder / "me.pem")
    options = VerifyOptions(engine="bounds", budget=20_000, falsify_budget=5000)
    found = {}
    for text, seed in ((PATCHED, 3), (PAIRS, 8), (WEDGE, 11)):
        name = text.split()[1]
        (folder / f"{name}.rwd").write_text(text, encoding="utf-8")
        spec = rw.load_spec(folder / f"{name}.rwd")
        bound = {"R": reward(spec, seed)}
        if name == "patched":
            bound["Base"] = bound["R"]
            mended = rw.patch(spec, rules=["slow"], verify_options=options, rewards=bound)
            assert mended.artifact is not None
            bound["R"] = mended.artifact
        result = rw.verify(spec, options, rewards=bound)
        issued = rw.certify(result, folder / name, key=folder / "me.pem")
        honest = take_apart(issued.path, bound)
        found[name] = World(spec, honest, load_private_key(folder / "me.pem"), public)
    return found


# ── the judge ──────────────────────────────────────────────────────────────────────────────────
verdicts: dict[tuple[bytes, bool], str | None] = {}


def falsity(claim: Json, artifacts: Mapping[str, Artifact], with_z3: bool = False) -> str | None:
    """Why a claim is false, exactly; None where neither the search nor z3 (if asked) finds a point."""
    at = (canonical(claim), with_z3)
    if at not in verdicts:
        point = counterexample(claim, artifacts)
        verdicts[at] = f"false at {point}" if point is not None else _by_z3(claim, artifacts) if with_z3 else None
    return verdicts[at]


def _by_z3(claim: Json, artifacts: Mapping[str, Artifact]) -> str | None:
    try:
        read = load_claim(canonical(claim))
    except RewardenError:  # a bool between 1/2 and 1: the kernel rounds that inward, the reader refuses it
        return None
    program = compile_program(read, artifacts)
    for goal in range(len(read.goals)):
        for box in read.boxes:
            decided = decide_box(program, goal, box, Limits(2_000_000))
            if decided.status == "sat" and decided.point is not None:
                premise, conclusion = holds(claim, artifacts, decided.point)
                if premise and not conclusion:
                    return f"false at {decided.point}, by z3"
    return None


def of_the_spec(world: World, forged: Forgery) -> dict[str, bytes]:
    """Rule → what the spec says of these very rewards."""
    said = {}
    for rule in world.spec.rules:
        try:
            said[rule.name] = dump_claim(bind(world.spec, rule.name, forged.artifacts))
        except RewardenError:
            continue
    return said


def judge(world: World, forged: Forgery, checked: Checked, z3: bool = False) -> str:
    """What came of a forgery; AssertionError where something false, or something else than the spec, was believed."""
    claims = {c["rule"]: c for c in forged.claims}
    why = f" after {forged.done}"
    _judge_kernel(forged, checked.kernel, claims, z3)
    same = of_the_spec(world, forged)
    faithful = all(canonical(c) == same.get(rule) for rule, c in claims.items())
    assert faithful or not checked.text.matched, f"a text matches that is not the spec's{why}"
    if not checked.accepted:
        kernel_proves = checked.kernel.sound and checked.kernel.complete
        return "refused for its text" if kernel_proves and not checked.text.matched else "refused"
    assert faithful, f"accepted, and not what the spec says{why}"
    proved = {c.rule for c in checked.kernel.claims if c.verdict == "proved"}
    assert {r.name for r in world.spec.rules if r.severity == "must"} <= proved, f"accepted without every must{why}"
    said = forged.statement["predicate"]
    names = [entry["name"] for entry in said["rules"]]
    assert len(names) == len(set(names)), f"a statement that says two things is accepted{why}"
    for entry in said["rules"]:
        rule, verdict = entry["name"], entry["verdict"]
        if any(s.startswith(f"Rule {rule}, found {verdict}, without") for s in said["not_checked"]):
            continue  # it says itself that nobody has checked this
        if verdict in ("proved", "violated", "vacuous"):
            assert rule in claims, f"a verdict on nothing is accepted{why}"
            is_false = falsity(claims[rule], forged.artifacts, z3)
            assert (is_false is None) == (verdict == "proved"), f"{rule} is called {verdict}: {is_false}{why}"
    return "accepted"


def _judge_kernel(forged: Forgery, report: Report, claims: Mapping[str, Json], z3: bool) -> None:
    """The bare kernel knows no spec: all that it calls proved must be true, and what it calls violated false."""
    for found in report.claims:
        if found.verdict == "proved":
            reason = falsity(claims[found.rule], forged.artifacts, z3)
            assert reason is None, f"{found.rule} is called proved: {reason} after {forged.done}"
        if found.verdict == "violated":
            point = [Fraction(x) for x in forged.evidence[found.rule]["witness"]["point"]]
            assert holds(claims[found.rule], forged.artifacts, point) == (True, False), forged.done


def attack(world: World, seed: int, folder: Path, z3: bool = False) -> str:
    forged = forge(random.Random(seed), world.honest)
    outcome = tried(world, forged, folder / f"{world.spec.name}-{seed}", z3)
    return "a lie, refused" if outcome == "refused" and seed % 5 == 0 and _is_a_lie(forged) else outcome


def _is_a_lie(forged: Forgery) -> bool:
    """Is a claim false that the statement calls proved?"""
    proved = {e["name"] for e in forged.statement["predicate"]["rules"] if e["verdict"] == "proved"}
    fits = [
        c
        for c in forged.claims
        if c["rule"] in proved
        and all(len(call["arguments"]) == forged.artifacts[call["reward"]].width for call in c["calls"])
    ]
    return any(falsity(c, forged.artifacts) for c in fits)


def tried(world: World, forged: Forgery, folder: Path, z3: bool = False) -> str:
    certificate = forged.write(folder, world.key)
    checked = check_certificate(certificate, forged.artifacts, world.spec, public_key=world.public)
    assert checked.signature.trusted, "every forgery is properly signed"
    return judge(world, forged, checked, z3)


# ── the tests ──────────────────────────────────────────────────────────────────────────────────
NAMES = ["patched", "pairs", "wedge"]


@pytest.mark.parametrize("name", NAMES)
def test_the_honest_certificate_is_accepted_and_true(worlds: dict[str, World], name: str, tmp_path: Path) -> None:
    world = worlds[name]
    certificate = world.honest.copy().write(tmp_path / "c", world.key)
    checked = check_certificate(certificate, world.honest.artifacts, world.spec, public_key=world.public)
    assert checked.problems == ()
    assert judge(world, world.honest, checked, z3=True) == "accepted"
    found = Counter(c.verdict for c in checked.kernel.claims)
    assert found["proved"] >= 2, found
    assert found["violated"] == 1, found


@pytest.mark.parametrize("name", NAMES)
def test_no_resigned_forgery_is_believed(worlds: dict[str, World], name: str, tmp_path: Path) -> None:
    found = Counter(attack(worlds[name], seed, tmp_path) for seed in range(150 if ALL else 110))
    assert found["refused"] + found["a lie, refused"] > 50, found
    assert found["a lie, refused"], found  # false claims were tried
    assert found["refused for its text"], found  # true ones too, that are not the spec's
    assert found["accepted"], found  # and changes that leave everything true


@pytest.mark.parametrize("name", NAMES)
def test_a_weaker_claim_is_true_and_proved_and_still_not_what_the_spec_says(
    worlds: dict[str, World], name: str, tmp_path: Path
) -> None:
    world = worlds[name]
    for k, made in enumerate(world.honest.claims):
        forged = world.honest.copy()
        weaker = forged.claims[k]["goals"][0][0]["affine"]
        weaker["constant"] = rational(Fraction(weaker["constant"]) + 1)
        if "goals" not in forged.evidence[made["rule"]]:
            continue
        certificate = forged.write(tmp_path / str(k), world.key)
        checked = check_certificate(certificate, forged.artifacts, world.spec, public_key=world.public)
        assert checked.kernel.sound
        assert [p.split(":")[0] for p in checked.problems] == ["text"], checked.problems
        assert f"not what {name} says: {made['rule']}" in checked.problems[0]
        without = check_certificate(certificate, forged.artifacts, public_key=world.public)
        assert without.accepted, "nobody asked for the text"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_no_resigned_forgery_is_believed_in_thousands(worlds: dict[str, World], name: str, tmp_path: Path) -> None:
    for seed in range(10_000, 13_400):
        attack(worlds[name], seed, tmp_path, z3=seed % 10 == 0)


# ── another spec ───────────────────────────────────────────────────────────────────────────────
TEXTS = {"patched": PATCHED, "pairs": PAIRS, "wedge": WEDGE}
WORDS = (
    ("<=", ">="),
    (">=", "<="),
    (">", "<"),
    (" and ", " or "),
    (" or ", " and "),
    ("must ", "should "),
    ("x0", "x1"),
)


def other_spec(rng: random.Random, name: str) -> str:
    """A spec with a changed number, operator, feature, severity or name of a rule; or another one altogether."""
    text = TEXTS[name]
    kind = rng.randrange(8)
    if kind == 0:
        return TEXTS[rng.choice([n for n in TEXTS if n != name])]
    if kind == 1:
        return re.sub(r"(must|should) \w+:", f"{rng.choice(['must', 'should'])} renamed:", text, count=1)
    if kind < 5:
        found = list(re.finditer(r"[0-9]+(?:\.[0-9]+)?(?![0-9 ]*%)", text))
        at = rng.choice(
            [m for m in found if text[m.start() - 1] not in "xyv" and "spec" not in text[m.start() - 12 : m.start()]]
        )
        return text[: at.start()] + str(Fraction(at[0]) + rng.choice([1, 2, 5])) + text[at.end() :]
    old, new = rng.choice([pair for pair in WORDS if pair[0] in text])
    at_word = rng.choice([m.start() for m in re.finditer(re.escape(old), text)])
    return text[:at_word] + new + text[at_word + len(old) :]


def against(world: World, name: str, seed: int, folder: Path) -> str:
    """An honest certificate with another spec: believed only where that says what the claims say."""
    text = other_spec(random.Random(seed), name)
    file = folder / f"{seed}.rwd"
    file.write_text(text, encoding="utf-8")
    try:
        spec = rw.load_spec(file)
    except RewardenError:
        return "no spec"
    certificate = world.honest.copy().write(folder / f"{name}-{seed}", world.key)
    checked = check_certificate(certificate, world.honest.artifacts, spec, public_key=world.public)
    if spec.digest != world.spec.digest:
        assert not checked.accepted, f"a certificate of another spec is accepted:\n{text}"
    said = of_the_spec(replace(world, spec=spec), world.honest)
    assert not checked.text.matched or all(canonical(c) == said.get(c["rule"]) for c in world.honest.claims)
    return "accepted" if checked.accepted else "refused"


@pytest.mark.parametrize("name", NAMES)
def test_a_certificate_is_not_believed_about_another_spec(worlds: dict[str, World], name: str, tmp_path: Path) -> None:
    found = Counter(against(worlds[name], name, seed, tmp_path) for seed in range(25))
    assert found["refused"] > 8, found


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_hundreds_of_other_specs(worlds: dict[str, World], name: str, tmp_path: Path) -> None:
    for seed in range(1000, 1300):
        against(worlds[name], name, seed, tmp_path)


@pytest.mark.parametrize("change", UNBACKED)
def test_a_statement_says_nothing_that_is_not_backed(worlds: dict[str, World], change: Change, tmp_path: Path) -> None:
    for seed in range(12):
        for name in NAMES:
            forged = worlds[name].honest.copy()
            change(random.Random(seed), forged)
            forged.done.append(change.__name__)
            tried(worlds[name], forged, tmp_path / f"{name}{seed}")


# ── these tests can fail ───────────────────────────────────────────────────────────────────────
def generous(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every bound is by one too high."""
    honest = kernel_bounds.Bounds.lower_bound

    def lower_bound(self: kernel_bounds.Bounds, functional: kernel_bounds.Functional) -> Fraction:
        return honest(self, functional) + 1

    monkeypatch.setattr(kernel_bounds.Bounds, "lower_bound", lower_bound)


def any_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves may use atoms that no case has chosen, and cells are narrowed by all of them."""
    honest = kernel_proof.walk

    def walk(claim: Claim, *rest: Json) -> object:
        for leaf in honest(claim, *rest):
            low, high = leaf.low, leaf.high
            for clause in claim.clauses:
                low, high = kernel_proof.narrowed(low, high, clause[0], claim.discrete)
            yield leaf._replace(low=low, high=high)

    monkeypatch.setattr(kernel_proof, "walk", walk)


def any_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The claims are never compared with the spec."""
    monkeypatch.setattr(match, "_text", lambda *_: TextMatch(True, "text: fine"))


def any_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    """The statement is never compared with what was checked."""
    monkeypatch.setattr(match, "disagreements", lambda *_: [])


@pytest.mark.parametrize(
    "sabotage, name", [(generous, "wedge"), (generous, "patched"), (any_fact, "wedge"), (any_text, "wedge"),
                       (any_statement, "wedge")],
)  # fmt: skip
def test_a_broken_checker_is_caught(
    worlds: dict[str, World],
    sabotage: Callable[[pytest.MonkeyPatch], None],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    sabotage(monkeypatch)
    with pytest.raises(AssertionError, match="after"):
        many(worlds[name], tmp_path)


def many(world: World, folder: Path) -> None:
    for seed in range(400):
        attack(world, seed, folder)
