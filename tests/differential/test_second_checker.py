"""Two checkers of certificates, the kernel and one written from docs/formats.md alone: what one accepts, both accept.

Certificates are issued here from small specs, and changed: one place of the JSON at a time, by somebody who knows the
format, and by moving a claim to the very edge of what its proof shows. The vectors in tests/vectors are judged, too.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch

import rewarden as rw
from rewarden.certificate.kernel_report import RECIPE
from rewarden.reward.artifact import Artifact, DataSource, Edit
from rewarden.reward.tables import has_tables
from rewarden.spec_lang import limits
from rewarden.verifier.options import VerifyOptions
from tests.reference.second_mutations import Certificate, Forger, anywhere, reasons, said_by_both, shifted

VECTORS = Path(__file__).parent.parent / "vectors"
HEAD = """spec small v1
features S {
  x    : real in 0 .. 4
  n    : int in 0 .. 3
  zone : enum {left, right}
}
reward R(s: S)
data rows: S from "rows.csv"
"""
PLAIN = """
must bounded: forall s: S given s.x <= 3 expect |R(s)| <= 1.1
must either: forall s: S given s.zone == left or s.n >= 2 expect R(s) <= 1.1 or s.x > 3.9
must farther: forall a, b: S varying x given a.x <= b.x and a.n == 0 expect R(a) - R(b) <= 0.25
must around: forall s: S near rows within 0.1 in linf expect R(s) - R(anchor(s)) <= 0.07
must wrong: forall s: S expect R(s) < 1
"""
NEARBY = """
must nearby: forall s: S near rows within 0.1 in linf expect R(s) <= 0.5
must close: forall s: S near rows within 0.15 in linf expect R(s) <= 1.25
must anchored: forall s: S near rows within 0.02 in linf expect R(s) - R(anchor(s)) <= 0.07
must whole: forall s: S given s.x <= 3 expect R(s) <= 1.1
"""
BEYOND = """
reward Before(s: S)
must away: forall s: S not near rows within 0.5 expect R(s) == Before(s)
must apart:
  forall s: S
  given (s.x <= 1 or s.n >= 3 or s.n == 1) and (s.x >= 3.75 or s.x <= 2.5 or s.n >= 1)
  expect R(s) == Before(s)
must between: forall s: S near rows within 0.5 expect min(Before(s), 0.45) <= R(s) <= Before(s)
"""
TABLED = """
reward Before(s: S)
must far: forall s: S not near rows within 0.5 expect R(s) == Before(s)
must farther: forall s: S not near rows within {x = 0.5, n = 1} given s.x >= 1 expect R(s) >= Before(s)
must still: forall s: S expect min(Before(s), 0.45) <= R(s) <= Before(s)
must around: forall s: S near rows within {x = 0.5, n = 1} expect Before(s) <= 3
should lower: forall s: S not near rows within 0.5 expect R(s) <= 0.25
"""
CAPPED = "must capped: forall s: S given s.x <= 1 and s.zone == left expect R(s) <= 0.75\n"
LOOPS = """
reward M(a: S, b: S)
relation moves(a, b: S) = b.n <= a.n + 1 and b.x == a.x and b.zone == a.zone
must round: cycle t: S via moves expect sum(M(t) - 1.35) <= 0
must paid: cycle t: S via moves expect sum(M(t) - 1) <= 0
"""
SMOOTH = """
must capped: forall s: S expect R(s) <= {top}
must either: forall s: S given s.zone == left or s.n >= 2 expect R(s) >= {low}
should hit: forall s: S expect R(s) <= {hit} - 0.05
"""
BENT = """
reward M(a: S, b: S)
relation moves(a, b: S) = b.n <= a.n + 1 and b.x == a.x and b.zone == a.zone
must turning: cycle t: S via moves expect sum(M(t) - 1.35) <= 0
must paying: cycle t: S via moves expect sum(M(t)) <= 0
must counting: forall s in rows given s.x >= 1 expect R(s) <= 9
must constant: forall s: S given R(s) <= mean(R(rows)) expect R(s) <= max(R(rows)) + 0.25
"""
ROWS = """
must counted: forall s in rows given s.x >= 1 expect R(s) <= 1.25
should fewer: forall s in rows expect R(s) <= 0
should some: forall s in rows given s.n >= 0 expect share(R(s) <= 0.5) >= 0.1
"""
LEFT = DataSource("pairs.csv", "sha256:" + "1e" * 32, "sha256:" + "1e" * 32, 97)
FORGOT = {"road": "certified", "forgotten": "3", "left": "97", "epsilon": "1/8", "delta": "1/100000"}
TRACES = """
relation climbs(a, b: S) = b.x >= a.x + 1 and b.n == a.n and b.zone == a.zone
must climb: trace t: S within 3 steps via climbs given first(t).x >= 2.5 expect sum(R(t)) <= 2.2
"""


def network(columns: int, seed: int) -> torch.nn.Sequential:
    torch.manual_seed(seed)
    made = torch.nn.Sequential(
        torch.nn.Linear(columns, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1)
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_((parameter * 12).round() / 8)  # dyadic, so that ties occur
    return made


def specified(folder: Path, rules: str) -> rw.Spec:
    folder.mkdir(exist_ok=True)
    (folder / "rows.csv").write_text("x,n,zone\n1.5,2,left\n3,0,right\n")
    (folder / "small.rwd").write_text(HEAD + rules)
    return rw.load_spec(folder / "small.rwd")


def issued(folder: Path, spec: rw.Spec, engine: str = "auto", **rewards: Artifact) -> Certificate:
    result = rw.verify(spec, VerifyOptions(engine=engine, falsify_budget=300), rewards=rewards)
    rw.certify(result, out=folder / engine, near=[folder])
    places = {name: folder / f"{engine}-{name}.rwz" for name in rewards}
    for name, place in places.items():
        rw.save_reward(rewards[name], place)
    return Certificate.of(folder / engine, places)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Certificate]:
    """One certificate for each rule, of every form that there is."""
    folder = tmp_path_factory.mktemp("issued")
    found: dict[str, Certificate] = {}

    def put(name: str, certificate: Certificate) -> None:
        for rule in certificate.evidence:
            found[f"{rule}-{name}"] = certificate.only(rule)

    spec = specified(folder / "plain", PLAIN)
    reward = rw.from_torch(network(4, 5), spec.features["S"])
    for engine in ("bounds", "lp"):
        put(engine, issued(folder / "plain", spec, engine, R=reward))
    spec = specified(folder / "capped", CAPPED)
    child = rw.patch(spec, R=reward).artifact
    assert child is not None
    assert child.patches
    put("patch", issued(folder / "capped", spec, R=child))
    spec = specified(folder / "nearby", NEARBY)
    child = rw.patch(spec, R=reward).artifact
    assert child is not None
    assert has_tables(child)
    put("table", issued(folder / "nearby", spec, R=child))
    put("beyond", issued(folder / "beyond", specified(folder / "beyond", BEYOND), R=child, Before=reward))
    with pytest.MonkeyPatch.context() as patch:
        for limit in ("AWAY", "BOXES"):
            patch.setattr(limits, limit, 1)
        put("tabled", issued(folder / "tabled", specified(folder / "tabled", TABLED), R=child, Before=reward))
    spec = specified(folder / "loops", LOOPS)
    moves = rw.from_torch(network(8, 1), [("a", spec.features["S"]), ("b", spec.features["S"])])
    put("loops", issued(folder / "loops", spec, R=reward, M=moves))
    spec = specified(folder / "traces", TRACES)
    put("traces", issued(folder / "traces", spec, R=reward))
    for seed, module in enumerate(curved()):
        smooth = rw.from_torch(module, spec.features["S"])
        rules = level_with(SMOOTH, spec, smooth)
        put(f"smooth{seed}", issued(folder / f"smooth{seed}", specified(folder / f"smooth{seed}", rules), R=smooth))
    spec = specified(folder / "bent", BENT)
    torch.manual_seed(5)
    bent = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    turns = rw.from_torch(bent, [("a", spec.features["S"]), ("b", spec.features["S"])])
    put("bent", issued(folder / "bent", spec, R=smooth, M=turns))
    spec = specified(folder / "rows", ROWS)
    put("rows", issued(folder / "rows", spec, R=reward))
    forgot = replace(child, parent=child.digest, edit=Edit("unlearn", "", FORGOT), data=(LEFT,))
    put("lineage", issued(folder / "lineage", specified(folder / "lineage", CAPPED), R=forgot))
    mended = forgot.child(Edit("patch", "capped", {"method": "none"}))
    spec = specified(folder / "mended", CAPPED)
    rw.save_reward(forgot, folder / "mended" / "forgot.rwz")
    put("line", issued(folder / "mended", spec, R=mended))
    return found


class Curved(torch.nn.Module):
    """Two heads of a smooth network, multiplied, and a square."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner, self.one, self.other = inner, torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.inner(x)
        return self.one(h) * self.other(h) + 0.125 * h[:, :1] * h[:, :1]


def curved() -> Iterator[torch.nn.Module]:
    """Networks in which every smooth function is, and a product."""
    kinds = (torch.nn.Tanh, torch.nn.GELU), (torch.nn.SiLU, torch.nn.ELU), (torch.nn.Softplus, torch.nn.Sigmoid)
    for seed, (first, second) in enumerate(kinds):
        torch.manual_seed(seed)
        inner = torch.nn.Sequential(torch.nn.Linear(4, 3), first(), torch.nn.Linear(3, 3), second())
        yield Curved(inner) if seed < 2 else torch.nn.Sequential(inner, torch.nn.Linear(3, 1))


def level_with(rules: str, spec: rw.Spec, reward: Artifact) -> str:
    """Rules with levels a little beyond what points reach."""
    rng = random.Random(1)
    rows = [{"x": rng.uniform(0, 4), "n": rng.randrange(4), "zone": rng.choice(["left", "right"])} for _ in range(500)]
    table = {name: [row[name] for row in rows] for name in ("x", "n", "zone")}
    values = [float(v) for v in reward.score(table)]
    room = 0.25 * (max(values) - min(values))
    return rules.format(top=round(max(values) + room, 3), low=round(min(values) - room, 3), hit=round(max(values), 3))


def judged(certificate: Certificate, folder: Path) -> str:
    """What both say, which has to be the same."""
    kernel, second = said_by_both(certificate, folder)
    assert kernel == second, reasons(folder, certificate.rewards)
    return kernel if isinstance(kernel, str) else "".join(sorted(kernel.values()))


def test_both_accept_what_is_issued(certificates: dict[str, Certificate], tmp_path: Path) -> None:
    said = {name: judged(certificate, tmp_path / name) for name, certificate in certificates.items()}
    false = ("lower", "paid", "paying", "wrong", "hit", "fewer", "capped-line")
    assert {name for name, verdict in said.items() if verdict == "violated"} == {n for n in said if n.startswith(false)}
    assert {name for name, verdict in said.items() if verdict == RECIPE} == {
        "lineage of R-lineage",
        "lineage of R-line",
    }
    assert set(said.values()) == {"proved", "violated", RECIPE}
    forms = Counter(form for certificate in certificates.values() for form in forms_of(certificate))
    assert {"cut", "case", "leaf", "steps", "sums", "cases"} <= set(forms), forms


def forms_of(certificate: Certificate) -> Iterator[str]:
    (proof,) = certificate.evidence.values()
    yield from proof
    forger = Forger.of(certificate)
    for tree in forger.trees(certificate):
        for node in tree:
            yield str(node[0])
            if node[0] == "leaf":
                yield from (name for name, part in zip(("facts", "lines", "steps"), node[2:5], strict=True) if part)
                yield from ["twins"] * (len(node) == 6)


def changed(certificates: dict[str, Certificate], seed: int, folder: Path) -> Counter[str]:
    said: Counter[str] = Counter()
    for name, issued_certificate in certificates.items():
        rng = random.Random(f"{name} {seed}")
        certificate, forger = issued_certificate.copy(), Forger.of(issued_certificate)
        if seed % 2:
            anywhere(certificate, rng)
        else:
            forger.change(certificate, rng)
            if rng.random() < 0.3:
                certificate = shifted(certificate, Fraction(rng.randrange(-64, 192), 1 << rng.randrange(6, 24)))
        said[judged(certificate, folder / f"{name} {seed}")] += 1
    return said


def test_both_say_the_same_of_changes(certificates: dict[str, Certificate], tmp_path: Path) -> None:
    issued_here = {name: one for name, one in certificates.items() if not name.endswith(("rows", "lineage", "line"))}
    said = sum((changed(issued_here, seed, tmp_path) for seed in range(8)), Counter[str]())
    assert said["proved"] > 20, said
    assert said["refused"] > 20, said


@pytest.mark.slow
@pytest.mark.parametrize("start", range(100, 1100, 50))
def test_both_say_the_same_of_many_changes(certificates: dict[str, Certificate], start: int, tmp_path: Path) -> None:
    for seed in range(start, start + 50):
        changed(certificates, seed, tmp_path)


def test_both_draw_the_line_at_the_same_place(certificates: dict[str, Certificate], tmp_path: Path) -> None:
    """By bisection: how much harder a claim may become before its proof fails, to the last of 24 bits."""
    moved = 0
    for name, certificate in certificates.items():
        if name not in ("bounded-bounds", "either-bounds", "farther-lp", "capped-patch"):
            continue
        low, high = Fraction(0), Fraction(4)
        for k in range(24):
            middle = (low + high) / 2
            fits = judged(shifted(certificate, middle), tmp_path / f"{name}-{k}") == "proved"
            low, high = (middle, high) if fits else (low, middle)
        assert high < 4
        moved += low > 0
    assert moved > 2


@pytest.mark.parametrize("vector", json.loads((VECTORS / "expected.json").read_text()))
def test_both_judge_the_vectors(vector: str, tmp_path: Path) -> None:
    expected = json.loads((VECTORS / "expected.json").read_text())[vector]
    rewards = {p.stem: p for p in (VECTORS / "rewards").glob("*.rwz")}
    certificate = Certificate.of(VECTORS / vector, rewards)
    certificate = certificate.only(next(iter(certificate.evidence)))
    assert judged(certificate, tmp_path / vector) == expected


@pytest.mark.parametrize("vector", ["accept-loop", "accept-loop-that-pays", "accept-rows", "accept-two-records"])
def test_what_records_are_called_decides_nothing(vector: str, tmp_path: Path) -> None:
    """Nor what variables are: the kernel's sentence names them, and takes no part in what is accepted."""
    expected = json.loads((VECTORS / "expected.json").read_text())[vector]
    certificate = Certificate.of(VECTORS / vector, {p.stem: p for p in (VECTORS / "rewards").glob("*.rwz")})
    (rule,) = certificate.evidence
    for key in ("records", "variables"):
        other = certificate.only(rule)
        for k, one in enumerate(other.claims["claims"][0][key]):
            one["name"] = f"other.{k % 2}"
        assert judged(other, tmp_path / key) == expected


def test_a_table_of_no_claim_is_refused_with_all(tmp_path: Path) -> None:
    certificate = Certificate.of(VECTORS / "accept-rows", {p.stem: p for p in (VECTORS / "rewards").glob("*.rwz")})
    certificate = certificate.only(next(iter(certificate.evidence)))
    other = replace(certificate, tables={**certificate.tables, f"{'0' * 64}.bin": b""})
    assert judged(other, tmp_path / "more") == "refused"


def test_both_say_the_same_of_changed_vectors(tmp_path: Path) -> None:
    """Forms that the certificates above have too few of: smooth rewards, rows of data, lines of edits, pieces."""
    rewards = {p.stem: p for p in (VECTORS / "rewards").glob("*.rwz")}
    chosen = [v for v in json.loads((VECTORS / "expected.json").read_text()) if v.startswith(("accept-s", "accept-r"))]
    found = {}
    for vector in [*chosen, "accept-lineage", "accept-pieces"]:
        certificate = Certificate.of(VECTORS / vector, rewards)
        found[vector] = certificate.only(next(iter(certificate.evidence)))
    said = sum((changed(found, seed, tmp_path) for seed in range(16)), Counter[str]())
    assert said["refused"] > 20, said
    assert said["proved"] + said["violated"] + said[RECIPE] > 5, said
