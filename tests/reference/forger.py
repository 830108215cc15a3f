"""A forger who owns a trusted key: takes a real certificate apart, changes it, and mends every digest and signature."""

from __future__ import annotations

import base64
import copy
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rewarden.certificate.envelope import sign
from rewarden.certificate.kernel_json import canonical, digest
from rewarden.certificate.statement import (
    constants_said,
    data_said,
    parent_among,
    reward_said,
    rewards_in,
    subject,
)
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.canonical import canonical_json
from rewarden.spec_lang.errors import ArtifactError
from tests.reference.certificates import Case, Json, claims_file, rational
from tests.reference.mutations import CLAIM, PROOF, Mutator, nudged


@dataclass
class Forgery:
    """A certificate in parts. `evidence`: rule → proof or counterexample."""

    claims: list[Json]
    evidence: dict[str, Json]
    statement: Json
    artifacts: dict[str, Artifact]
    done: list[str] = field(default_factory=list)  # what was changed, for the message of a failing test

    def copy(self) -> Forgery:
        claims, evidence = copy.deepcopy(self.claims), copy.deepcopy(self.evidence)
        return Forgery(claims, evidence, copy.deepcopy(self.statement), dict(self.artifacts), list(self.done))

    def mend(self) -> None:
        """Recompute every digest, everywhere: artifact, claim, evidence, claims.json, statement."""
        digests = {name: artifact.digest for name, artifact in self.artifacts.items()}
        about = {}
        for made in self.claims:
            made["rewards"] = {name: digests.get(name, old) for name, old in made["rewards"].items()}
            about[made["rule"]] = digest(canonical(made))
        for rule, evidence in self.evidence.items():
            if rule in about and isinstance(evidence, dict):
                evidence["claim"] = about[rule]
        said = self.statement["predicate"]
        said["claims"]["digest"] = digest(claims_file(*self.claims))
        for entry in said["rules"]:
            if entry["claim"] is not None:
                entry["claim"] = about.get(entry["name"], entry["claim"])
            if entry["evidence"] is not None and entry["name"] in self.evidence:
                entry["evidence"]["digest"] = digest(plain(self.evidence[entry["name"]]))
        for entry in said["rules"]:
            if entry["checker"] is not None and entry["verdict"] in ("proved", "violated"):
                entry["checker"]["verdict"] = entry["verdict"]
        self._mend_words(said)

    def _mend_words(self, said: Json) -> None:
        """What the statement says of claims and artifacts."""
        constants = {made["rule"]: constants_said(made) for made in self.claims}
        for entry in said["rules"]:
            if entry["claim"] is not None:
                entry["constants"] = constants.get(entry["name"], entry["constants"])
        said["data"] = data_said(self.claims)
        digests = {name: artifact.digest for name, artifact in sorted(self.artifacts.items())}
        about = {name: digest for name, digest in digests.items() if name in rewards_in(self.claims)}
        said["rewards"] = [
            reward_said(name, self.artifacts[name], parent_among(about, self.artifacts[name].parent)) for name in about
        ]
        self.statement["subject"][:-1] = [subject(name, digest) for name, digest in about.items()]

    def write(self, folder: Path, key: Ed25519PrivateKey) -> Path:
        """The whole certificate, mended and signed."""
        self.mend()
        (folder / "proofs").mkdir(parents=True)
        (folder / "claims.json").write_bytes(claims_file(*self.claims))
        for rule, evidence in self.evidence.items():
            (folder / "proofs" / f"{rule}.json").write_bytes(plain(evidence))
        (folder / "envelope.dsse.json").write_bytes(sign(canonical_json(self.statement), key))
        return folder


def plain(value: Json) -> bytes:
    """Canonical JSON of anything, even of what the canonical writer would refuse."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def take_apart(folder: Path, artifacts: dict[str, Artifact]) -> Forgery:
    envelope = json.loads((folder / "envelope.dsse.json").read_bytes())
    claims = json.loads((folder / "claims.json").read_bytes())["claims"]
    evidence = {path.stem: json.loads(path.read_bytes()) for path in sorted((folder / "proofs").iterdir())}
    return Forgery(claims, evidence, json.loads(base64.b64decode(envelope["payload"])), artifacts)


# ── changes ────────────────────────────────────────────────────────────────────────────────────
Change = Callable[[random.Random, Forgery], None]


def on_one_rule(rng: random.Random, forged: Forgery, changes: Sequence[Mutator]) -> None:
    """Changes made for a single claim with its proof, to one that is proved."""
    proved = [k for k, c in enumerate(forged.claims) if "goals" in forged.evidence.get(c["rule"], {})]
    at = rng.choice(proved)
    rule = forged.claims[at]["rule"]
    case = Case(forged.claims[at], forged.evidence[rule], forged.artifacts)
    change = rng.choice(changes)
    change(rng, case)
    forged.done.append(f"{change.__name__} of {rule}")
    forged.claims[at], forged.evidence[rule], forged.artifacts = case.claim, case.proof, case.artifacts


def change_proof(rng: random.Random, forged: Forgery) -> None:
    on_one_rule(rng, forged, PROOF)


def change_claim(rng: random.Random, forged: Forgery) -> None:
    on_one_rule(rng, forged, CLAIM)


def change_weight(rng: random.Random, forged: Forgery) -> None:
    """One number of one tensor, the patch's among them: by little, by much, or its sign."""
    name = rng.choice(sorted(forged.artifacts))
    artifact = forged.artifacts[name]
    tensor = rng.choice(sorted(artifact.tensors))
    values = artifact.tensors[tensor].copy()
    at = tuple(rng.randrange(n) for n in values.shape)
    old = float(values[at])
    values[at] = np.float32(rng.choice([old + 1e-3, old - 1 / 64, old + 1 / 8, old - 1, 2 * old, -old, 0.0]))
    forged.artifacts = {**forged.artifacts, name: replace(artifact, tensors={**artifact.tensors, tensor: values})}


def drop_patch(rng: random.Random, forged: Forgery) -> None:
    for name, artifact in forged.artifacts.items():
        if artifact.patches:
            gone, rest = artifact.patches[0], artifact.patches[1:]
            own = {gone.rows, gone.offsets, gone.level, gone.slope, gone.delta, gone.gate}
            left = {k: v for k, v in artifact.tensors.items() if k not in own}
            forged.artifacts = {**forged.artifacts, name: replace(artifact, patches=rest, tensors=left)}
            return


def swap_rewards(rng: random.Random, forged: Forgery) -> None:
    names = sorted(forged.artifacts)
    forged.artifacts = dict(zip(names, [forged.artifacts[n] for n in reversed(names)], strict=True))


def change_point(rng: random.Random, forged: Forgery) -> None:
    """Another witness, or another counterexample."""
    point = forged.evidence[rng.choice(sorted(forged.evidence))]["witness"]["point"]
    k = rng.randrange(len(point))
    point[k] = nudged(rng, point[k])


def swap_evidence(rng: random.Random, forged: Forgery) -> None:
    """One rule's evidence for another's."""
    a, b = rng.sample(sorted(forged.evidence), 2)
    forged.evidence[a] = copy.deepcopy(forged.evidence[b])


def call_it_a_counterexample(rng: random.Random, forged: Forgery) -> None:
    rule = rng.choice(sorted(forged.evidence))
    point = forged.evidence[rule]["witness"]
    forged.evidence[rule] = {"format": "rewarden-counterexample", "format_version": 1, "claim": "", "witness": point}
    entry_of(forged, rule)["verdict"] = "violated"


def prove_the_violated(rng: random.Random, forged: Forgery) -> None:
    """A violated rule gets the trees of a proved one, a point that satisfies its premise, and the verdict `proved`."""
    proofs = [e for e in forged.evidence.values() if "goals" in e]
    for made in forged.claims:
        rule = made["rule"]
        if "goals" not in forged.evidence.get(rule, {"goals": 0}):
            forged.evidence[rule] = {**copy.deepcopy(rng.choice(proofs)), "witness": forged.evidence[rule]["witness"]}
            entry_of(forged, rule)["verdict"] = "proved"
            if rng.random() < 0.5:
                point = forged.evidence[rule]["witness"]["point"]
                box = made["boxes"][0]
                point[:] = [rational(rng.choice([Fraction(lo), Fraction(hi)])) for lo, hi in box]


def flip_verdict(rng: random.Random, forged: Forgery) -> None:
    entry = rng.choice(forged.statement["predicate"]["rules"])
    entry["verdict"] = rng.choice([v for v in ("proved", "violated", "unknown", "vacuous") if v != entry["verdict"]])


def without_evidence(rng: random.Random, forged: Forgery) -> None:
    """The evidence goes, the verdict stays (or becomes a better one), and nothing is said of its being unchecked."""
    entry = rng.choice([e for e in forged.statement["predicate"]["rules"] if e["severity"] == "should"])
    entry["evidence"] = entry["checker"] = None
    entry["verdict"] = "proved"
    forged.evidence.pop(entry["name"], None)


def state_twice(rng: random.Random, forged: Forgery) -> None:
    """A rule listed twice, with two verdicts: a reader may stop at the first."""
    rules = forged.statement["predicate"]["rules"]
    entry = copy.deepcopy(rng.choice(rules))
    entry["verdict"] = "proved" if entry["verdict"] != "proved" else "violated"
    rules.insert(0, entry)


def state_a_rule_that_is_not_there(rng: random.Random, forged: Forgery) -> None:
    rules = forged.statement["predicate"]["rules"]
    entry = {**copy.deepcopy(rules[0]), "name": "ghost", "verdict": "proved", "evidence": None}
    if rng.random() < 0.5:
        entry["claim"] = None
    rules.append(entry)


def lower_severity(rng: random.Random, forged: Forgery) -> None:
    """A `must` that is not proved becomes a `should`, in the claim and the statement."""
    made = rng.choice(forged.claims)
    made["severity"] = "should"
    entry_of(forged, made["rule"])["severity"] = "should"
    if rng.random() < 0.5:
        forged.evidence.pop(made["rule"], None)
        entry_of(forged, made["rule"])["evidence"] = None


def leave_out(rng: random.Random, forged: Forgery) -> None:
    """A rule vanishes from claims, evidence and statement."""
    made = forged.claims.pop(rng.randrange(len(forged.claims)))
    forged.evidence.pop(made["rule"], None)
    rules = forged.statement["predicate"]["rules"]
    rules[:] = [entry for entry in rules if entry["name"] != made["rule"]]


def rename(rng: random.Random, forged: Forgery) -> None:
    """Two rules exchange names, evidence and all: each then speaks of what the other says in the spec."""
    a, b = rng.sample(forged.claims, 2)
    a["rule"], b["rule"] = b["rule"], a["rule"]
    one, two = forged.evidence.pop(a["rule"], None), forged.evidence.pop(b["rule"], None)
    forged.evidence |= {r["rule"]: e for r, e in ((a, two), (b, one)) if e is not None}
    first, second = entry_of(forged, a["rule"]), entry_of(forged, b["rule"])
    first["verdict"], second["verdict"] = second["verdict"], first["verdict"]


def entry_of(forged: Forgery, rule: str) -> Json:
    return next(entry for entry in forged.statement["predicate"]["rules"] if entry["name"] == rule)


CHANGES: tuple[Change, ...] = (
    change_proof, change_proof, change_proof, change_claim, change_claim, change_claim, change_weight, change_weight,
    change_weight, drop_patch, swap_rewards, change_point, swap_evidence, call_it_a_counterexample, prove_the_violated,
    flip_verdict, lower_severity, leave_out, rename,
)  # fmt: skip
UNBACKED: tuple[Change, ...] = (without_evidence, state_twice, state_a_rule_that_is_not_there)


def forge(rng: random.Random, honest: Forgery) -> Forgery:
    """One to three changes; one that finds nothing to change is left out."""
    forged = honest.copy()
    for _ in range(rng.choice([1, 1, 2, 3])):
        change = rng.choice(CHANGES)
        before = forged.copy()
        try:
            change(rng, forged)
            forged.done.append(change.__name__)
        except (IndexError, KeyError, TypeError, ValueError, StopIteration, ArtifactError):
            forged = before  # earlier changes left nothing for it, or such an artifact cannot even be made
    return forged
