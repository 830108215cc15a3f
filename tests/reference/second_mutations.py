"""Certificates as JSON, and changes of chance to them: to one place, or to a proof by somebody who knows the format.

Digests of claims and of rewards are mended after each change, so that what is judged is what the evidence shows.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from rewarden.certificate.check import check as kernel
from tests.reference.second_checker import check as second
from tests.reference.second_program import Program, program_of, with_twins
from tests.reference.second_reading import Refused, canonical, digest, read_claims, read_reward

Json = Any


@dataclass(frozen=True)
class Certificate:
    """`claims.json`, the evidence by rule, and where the rewards are."""

    claims: Json
    evidence: dict[str, Json]
    rewards: Mapping[str, Path]
    tables: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, rewards: Mapping[str, Path]) -> Certificate:
        claims = json.loads((folder / "claims.json").read_bytes())
        places = {c["rule"]: folder / "proofs" / _named(c) for c in claims["claims"]}
        proofs = {rule: json.loads(path.read_bytes()) for rule, path in sorted(places.items()) if path.is_file()}
        tables = {path.name: path.read_bytes() for path in (folder / "tables").glob("*.bin")}
        return cls(claims, proofs, rewards, tables)

    def only(self, rule: str) -> Certificate:
        claims = [c for c in self.claims["claims"] if c["rule"] == rule]
        used = {name for c in claims for case in c.get("cases", [c]) for name in case["rewards"]}
        rewards = {name: path for name, path in self.rewards.items() if name in used}
        named = {f"{name[7:]}.bin" for c in claims for name in c.get("rows", {}).get("tables", ())}
        named |= {f"{c['near']['table'][7:]}.bin" for c in claims if "near" in c}
        tables = {name: data for name, data in self.tables.items() if name in named}
        return Certificate({**self.claims, "claims": claims}, {rule: self.evidence[rule]}, rewards, tables)

    def copy(self) -> Certificate:
        return Certificate(copy.deepcopy(self.claims), copy.deepcopy(self.evidence), self.rewards, self.tables)

    def write(self, folder: Path) -> None:
        (folder / "proofs").mkdir(parents=True)
        (folder / "claims.json").write_bytes(canonical(self.claims))
        for claim in self.claims["claims"]:
            proof = self.evidence.get(claim["rule"]) if isinstance(claim.get("rule"), str) else None
            if isinstance(proof, dict):
                proof = {**proof, "claim": digest(canonical(claim))} if "claim" in proof else proof
                (folder / "proofs" / _named(claim)).write_bytes(canonical(proof))
        for name, data in self.tables.items():
            (folder / "tables").mkdir(exist_ok=True)
            (folder / "tables" / name).write_bytes(data)


def _named(claim: Json) -> str:
    plain = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", claim["rule"], re.ASCII)
    return f"{claim['rule'] if plain else 'claim-' + digest(canonical(claim))[7:]}.json"


def said_by_both(certificate: Certificate, folder: Path) -> tuple[dict[str, str] | str, dict[str, str] | str]:
    """Each checker's verdicts by rule, or `refused` where it does not read the claims at all."""
    certificate.write(folder)
    report = kernel(folder, certificate.rewards)
    first: dict[str, str] | str = {c.rule: c.verdict for c in report.claims} if report.claims else "refused"
    try:
        return first, {rule: answer.verdict for rule, answer in second(folder, certificate.rewards).items()}
    except Refused:
        return first, "refused"


def reasons(folder: Path, rewards: Mapping[str, Path]) -> str:
    """Both checkers' reasons, for whoever has to find out which is right."""
    report = kernel(folder, rewards)
    try:
        other = str({rule: answer.reason for rule, answer in second(folder, rewards).items()})
    except Refused as e:
        other = str(e)
    return f"kernel: {report.problem} {[(c.verdict, c.reason) for c in report.claims]}; second: {other}"


# ── changes to one place ───────────────────────────────────────────────────────────────────────
def _places(value: Json, path: tuple[Json, ...] = ()) -> list[tuple[Json, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        children = list(value.items())
    else:
        children = list(enumerate(value)) if isinstance(value, list) else []
    for key, child in children:
        found += _places(child, (*path, key))
    return found


def _changed(value: Json, rng: random.Random) -> Json:
    match value:
        case bool():
            return not value
        case int():
            return rng.choice([value + 1, value - 1, -value, 0, 2 * value, rng.randrange(-2, 12)])
        case str():
            try:
                number = Fraction(value)
            except ValueError:
                return rng.choice(["", value + "x", "cut", "leaf", "from", "to", "must"])
            step = Fraction(rng.choice([-1, 1]), 2 ** rng.randrange(40))
            return str(rng.choice([number + step, number + step, -number, number * 2, number / 3, Fraction(0)]))
        case list() if value:
            k, other = rng.randrange(len(value)), rng.randrange(len(value))
            return rng.choice([
                value[:k] + value[k + 1 :],
                [*value[:k], copy.deepcopy(value[other]), *value[k:]],
                [*value[:k], copy.deepcopy(value[other]), *value[k + 1 :]],
                value[::-1],
                [],
            ])  # fmt: skip
        case dict() if value:
            k = rng.choice(sorted(value))
            return {key: v for key, v in value.items() if key != k}
    return rng.choice([None, 0, "0", [], {}])


def anywhere(certificate: Certificate, rng: random.Random) -> None:
    """Change one place of a claim or of its evidence, numbers more often than lists."""
    root = rng.choice([certificate.claims["claims"], certificate.evidence, certificate.evidence])
    places = _places(root)
    path = rng.choice(places)
    for _ in range(3):
        at = root
        for key in path:
            at = at[key]
        if isinstance(at, list | dict):
            path = rng.choice(places)
    at = root
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = _changed(at[path[-1]], rng)


# ── changes by somebody who knows the format ───────────────────────────────────────────────────
@dataclass(frozen=True)
class Forger:
    """Knows the claim's layers, so that what it writes is of the right form, and mostly in range."""

    claim: Json
    program: Program
    twins: Program | None

    @classmethod
    def of(cls, certificate: Certificate) -> Forger:
        (claim,) = certificate.claims["claims"]
        (read,) = read_claims(canonical(certificate.claims))
        read = read.cases[0] if read.cases else read
        rewards = {name: read_reward(certificate.rewards[name], expected) for name, expected in read.rewards}
        somewhere = ((Fraction(0), Fraction(0)),) * len(read.discrete)
        program = program_of(read, rewards, read.boxes[0] if read.boxes else somewhere)
        return cls(claim.get("cases", [claim])[0], program, with_twins(read, program))

    def trees(self, certificate: Certificate) -> list[list[Json]]:
        (proof,) = certificate.evidence.values()
        parts = [goal for case in proof.get("cases", [proof]) for goal in case.get("goals", [])]
        parts += [pair for one in proof.get("sums", []) for pair in one["pairs"] if isinstance(pair, list)]
        return [tree for part in parts for tree in part]

    def change(self, certificate: Certificate, rng: random.Random) -> None:
        trees = [tree for tree in self.trees(certificate) if tree]
        if not trees:
            return anywhere(certificate, rng)
        tree = rng.choice(trees)
        k = rng.randrange(len(tree))
        for _ in range(4):
            k = k if tree[k][0] == "leaf" else rng.randrange(len(tree))
        if tree[k][0] != "leaf":
            tree[k] = self.node(rng)
            return None
        changes: list[Callable[[list[Json], random.Random], Json]] = [
            self.more_facts, self.more_lines, self.more_steps, self.more_steps,
            self.other_atom, self.other_form, self.bare,
        ]  # fmt: skip
        if rng.random() < 0.15:
            tree[k : k + 1] = [self.node(rng), tree[k], copy.deepcopy(tree[k])]
        else:
            for _ in range(rng.randrange(1, 3)):
                rng.choice(changes)(tree[k], rng)
        return None

    def program_of(self, leaf: list[Json]) -> Program:
        return self.twins if len(leaf) == 6 and self.twins is not None else self.program

    def node(self, rng: random.Random) -> Json:
        kind = rng.choice(["cut", "sign", "sign", "case", "leaf"])
        if kind == "cut":
            k = rng.randrange(len(self.claim["variables"]))
            box = rng.choice(self.claim["boxes"] or [[["0", "1"]] * (k + 1)])
            lo, hi = map(Fraction, box[k])
            return ["cut", k, str(lo + (hi - lo) * Fraction(rng.randrange(9), 8))]
        if kind == "sign":
            return ["sign", *self.neuron(self.program, rng)]
        return ["case", rng.randrange(1 + len(self.claim["clauses"]))] if kind == "case" else ["leaf", 0, [], [], []]

    def neuron(self, program: Program, rng: random.Random) -> list[int]:
        layer = rng.randrange(len(program.layers))
        return [layer, rng.randrange(program.layers[layer].width)]

    def fact(self, program: Program, rng: random.Random) -> Json:
        weight = [rng.choice([1, 1, 3, 5]), rng.randrange(-5, 4)]
        kind = rng.randrange(3)
        if kind == 0:
            return [*self.neuron(program, rng), rng.randrange(2), weight]
        if kind == 1 or not self.claim["clauses"]:
            return [-1, 0, weight]
        k = rng.randrange(len(self.claim["clauses"]))
        return [k, rng.randrange(max(1, len(self.claim["clauses"][k]))), weight]

    def more_facts(self, leaf: list[Json], rng: random.Random) -> None:
        leaf[2].insert(rng.randrange(len(leaf[2]) + 1), self.fact(self.program_of(leaf), rng))

    def more_lines(self, leaf: list[Json], rng: random.Random) -> None:
        named = {tuple(line[:2]) for line in leaf[3]}
        for _ in range(rng.randrange(1, 4)):
            line = self.line(self.program_of(leaf), rng)
            if tuple(line[:2]) not in named:
                named.add(tuple(line[:2]))
                leaf[3].append(line)

    def line(self, program: Program, rng: random.Random) -> list[int]:
        curved = [
            [k, i] for k, layer in enumerate(program.layers) if layer.kind != "linear" for i in range(layer.width)
        ]
        at = rng.choice(curved) if curved and rng.random() < 0.95 else self.neuron(program, rng)
        twin = program.layers[at[0]].kind == "twin"
        return [*at, rng.randrange(9) if twin else rng.choice([0, 256, rng.randrange(257)])]

    def more_steps(self, leaf: list[Json], rng: random.Random) -> None:
        program = self.program_of(leaf)
        for _ in range(rng.randrange(1, 4)):
            kind = rng.randrange(8)
            facts = [self.fact(program, rng) for _ in range(rng.randrange(3))]
            if kind == 0:
                step: Json = ["again"]
            elif kind == 1:
                step = self.line(program, rng)
            elif kind < 4:
                step = [-1, rng.randrange(program.variables), rng.randrange(2), facts]
            else:
                step = [*self.neuron(program, rng), rng.randrange(2), facts]
            leaf[4].insert(rng.randrange(len(leaf[4]) + 1), step)

    def other_atom(self, leaf: list[Json], rng: random.Random) -> None:
        leaf[1] = rng.choice([-1, 0, 1])

    def other_form(self, leaf: list[Json], rng: random.Random) -> None:
        leaf[5:] = [] if len(leaf) == 6 else [1]

    def bare(self, leaf: list[Json], rng: random.Random) -> None:
        k = rng.choice([2, 3, 4])
        leaf[k] = []


def shifted(certificate: Certificate, by: Fraction) -> Certificate:
    """The claim with so much less room: every goal's constants lowered."""
    other = certificate.copy()
    for claim in other.claims["claims"]:
        for case in claim.get("cases", [claim]):
            for goal in case.get("goals", ()):
                for atom in goal:
                    atom["affine"]["constant"] = str(Fraction(atom["affine"]["constant"]) - by)
    return other
