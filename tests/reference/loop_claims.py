"""Claims about loops of finite records: small certificates, changes to them, and a judge of their truth.

The judge enumerates records, keeps the moves that satisfy every clause, and decides by the worst mean of a cycle
(Karp). It reads the claim's JSON and shares no code with the kernel.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from rewarden.certificate.check import Report, check
from rewarden.certificate.kernel_json import canonical, digest
from rewarden.reward.artifact import Artifact
from rewarden.reward.store import zip_bytes
from rewarden.spec_lang import Spec
from rewarden.spec_lang.claim_json import claim_object, shown_point
from rewarden.verifier.bind import bind
from rewarden.verifier.loops.abstraction import Abstraction, Search
from rewarden.verifier.loops.engine import LoopRule
from rewarden.verifier.loops.partition import first_cells
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.portfolio import verify
from rewarden.verifier.scribe.loops import written_loops
from rewarden.verifier.verdict import RuleResult
from tests.reference.loop_specs import LoopCase, best_mean, valued

Json = Any
Room = Fraction | bool


@dataclass(frozen=True)
class LoopProof:
    """A claim and its evidence as JSON, to be changed."""

    claim: Json
    proof: Json
    rewards: Mapping[str, Artifact]

    def copy(self) -> LoopProof:
        return LoopProof(copy.deepcopy(self.claim), copy.deepcopy(self.proof), self.rewards)

    def judged(self, folder: Path) -> Report:
        """By the kernel, the claim's digest made to fit."""
        (folder / "proofs").mkdir(parents=True)
        document = {"format": "rewarden-claims", "format_version": 1, "claims": [self.claim]}
        (folder / "claims.json").write_bytes(canonical(document))
        proof = {**self.proof, "claim": digest(canonical(self.claim))}
        (folder / "proofs" / f"{self.claim['rule']}.json").write_bytes(canonical(proof))
        paths = {}
        for name in self.claim["rewards"]:
            paths[name] = folder / f"{name}.rwz"
            paths[name].write_bytes(zip_bytes(self.rewards[name]))
        return check(folder, paths)


def proved(case: LoopCase) -> LoopProof:
    """Of a case that is proved. The loop that is shown is the shortest one."""
    return certified(case.spec, case.rewards, _shortest(case))


def certified(spec: Spec, rewards: Mapping[str, Artifact], loop: Sequence[Sequence[int]]) -> LoopProof:
    """Of the rule `r`, which the graph of cells proves; nothing else is asked."""
    rule = LoopRule(spec, "r", rewards, VerifyOptions(), _unused, _unused, None, lambda: False)
    outcomes = []
    for bounds, weak in rule.bounds():
        cells = first_cells(bounds.box, rule.kind())
        assert cells is not None
        search = Search(rule.judge, _nothing, _nothing, lambda loop: False, _nothing, lambda: False)
        outcomes.append(Abstraction(bounds, cells, weak, search).run(50_000))
    assert all(outcome.status == "proved" for outcome in outcomes)
    claim = bind(spec, "r", rewards)
    proof = written_loops(claim, rewards, outcomes, lambda: False)
    assert not isinstance(proof, str), proof
    shown = shown_point(claim, 0, [Fraction(x) for record in loop for x in record])
    return LoopProof(claim_object(claim), json.loads(json.dumps({**proof, **shown})), rewards)


def paying(case: LoopCase) -> LoopProof:
    """Of a case that is violated: a counterexample."""
    found = verify(case.spec, case.rewards, VerifyOptions(falsify_budget=800))["r"]
    assert found.claim is not None
    assert found.witness is not None
    head = {"format": "rewarden-counterexample", "format_version": 1}
    shown = shown_point(found.claim, found.witness.box, found.witness.point)
    return LoopProof(claim_object(found.claim), {**head, **shown}, case.rewards)


def _shortest(case: LoopCase) -> list[tuple[int, ...]]:
    for start in range(len(case.records)):
        paths, seen = [[start]], {start}
        while paths:
            path = paths.pop(0)
            for u, v in case.moves:
                if u == path[-1] and v == start:
                    return [case.records[k] for k in path]
                if u == path[-1] and v not in seen:
                    seen.add(v)
                    paths.append([*path, v])
    raise AssertionError("there is no loop")


def _nothing(*where: object) -> None:
    return None


def _unused(*_: object) -> RuleResult:
    raise AssertionError("nothing is searched here")


# ── the judge ──────────────────────────────────────────────────────────────────────────────────
def is_true(claim: Json, rewards: Mapping[str, Artifact]) -> bool | None:
    """Is it true of every loop? None where there is no loop at all."""
    width = len(claim["variables"]) // 2
    assert all(v["discrete"] for v in claim["variables"][: 2 * width])
    ends = [[Fraction(x) for x in side] for side in claim["boxes"][0]]
    sides = [range(-(-low.numerator // low.denominator), high.numerator // high.denominator + 1) for low, high in ends]
    here, there = (list(product(*sides[k : k + width])) for k in (0, width))
    assert here == there
    able: dict[tuple[int, int], tuple[list[Fraction], list[Fraction]]] = {}
    for (i, a), (j, b) in product(enumerate(here), enumerate(there)):
        x = [Fraction(v) for v in (*a, *b, 0)]
        calls = [
            _evaluated(rewards[c["reward"]], tuple(_value(form, x, []) for form in c["arguments"]))
            for c in claim["calls"]
        ]
        if all(any(_holds(atom, x, calls) for atom in clause) for clause in claim["clauses"]):
            able[i, j] = x, calls
    if best_mean(len(here), dict.fromkeys(able, Fraction(0))) is None:
        return None
    start, true = 0, True
    for count in claim["loops"]:
        goals = claim["goals"][start : start + count]
        start += count
        rooms = {move: _room(goals, 2 * width, *at) for move, at in able.items()}
        true = true and _sum_is_true(len(here), rooms, goals, 2 * width)
    return true


@cache
def _evaluated(reward: Artifact, arguments: tuple[Fraction, ...]) -> Fraction:
    return valued(reward, arguments)


def _sum_is_true(count: int, rooms: Mapping[tuple[int, int], Room], goals: Json, rise: int) -> bool:
    never = {move for move, room in rooms.items() if room is False}
    if any(best_mean(count, {m: Fraction(m == bad) for m in rooms}) not in (None, 0) for bad in never):
        return False  # a loop goes through a move at which some goal fails whatever the rise is
    worst = best_mean(count, {move: -room for move, room in rooms.items() if not isinstance(room, bool)})
    strict = any(atom["strict"] for goal in goals for atom in goal if _coefficient(atom, rise))
    return worst is None or worst < 0 or (worst == 0 and not strict)


def _room(goals: Json, rise: int, x: Sequence[Fraction], calls: Sequence[Fraction]) -> Room:
    least: Room = True
    for goal in goals:
        if any(_holds(atom, x, calls) for atom in goal if not _coefficient(atom, rise)):
            continue
        counted = [_value(atom["affine"], x, calls) for atom in goal if _coefficient(atom, rise)]
        if not counted:
            return False
        least = max(counted) if least is True else min(least, max(counted))
    return least


def _coefficient(atom: Json, variable: int) -> Fraction:
    return Fraction(dict(map(tuple, atom["affine"]["variables"])).get(variable, 0))


def _value(form: Json, x: Sequence[Fraction], calls: Sequence[Fraction]) -> Fraction:
    total = Fraction(form["constant"]) + sum(Fraction(c) * x[k] for k, c in form["variables"])
    return total + sum(Fraction(c) * calls[k] for k, c in form["calls"])


def _holds(atom: Json, x: Sequence[Fraction], calls: Sequence[Fraction]) -> bool:
    value = _value(atom["affine"], x, calls)
    return value > 0 if atom["strict"] else value >= 0


# ── changes ────────────────────────────────────────────────────────────────────────────────────
def _nudged(rng: random.Random, text: str) -> str:
    return str(Fraction(text) + rng.choice([-1, 1]) * rng.choice([Fraction(1, 64), Fraction(1, 4), 1, 3]))


def _sum(rng: random.Random, case: LoopProof) -> Json:
    return rng.choice(case.proof["sums"])


def change_cell(rng: random.Random, case: LoopProof) -> None:
    cell = rng.choice([c for c in _sum(rng, case)["cells"] if c[0] == "cell"])
    if rng.random() < 0.5:
        cell[1] = _nudged(rng, cell[1])
    else:
        k = rng.randrange(len(cell[2]))
        cell[2][k] = _nudged(rng, cell[2][k])


def change_cells(rng: random.Random, case: LoopProof) -> None:
    """Dropped, doubled, exchanged, emptied, given a potential, cut elsewhere."""
    cells = _sum(rng, case)["cells"]
    at, other = rng.randrange(len(cells)), rng.randrange(len(cells))
    match rng.randrange(5):
        case 0:
            del cells[at]
        case 1:
            cells.insert(at, copy.deepcopy(cells[other]))
        case 2:
            cells[at], cells[other] = cells[other], cells[at]
        case 3:
            width = len(case.claim["variables"]) // 2
            cells[at] = rng.choice([["none"], ["cell", "0", ["0"] * width]])
        case _:
            cut = rng.choice([c for c in cells if c[0] == "cut"])
            cut[2] = _nudged(rng, cut[2])


def change_pairs(rng: random.Random, case: LoopProof) -> None:
    pairs = _sum(rng, case)["pairs"]
    at, other = rng.randrange(len(pairs)), rng.randrange(len(pairs))
    match rng.randrange(5):
        case 0:
            del pairs[at]
        case 1:
            pairs.insert(at, copy.deepcopy(pairs[other]))
        case 2:
            pairs[at], pairs[other] = pairs[other], pairs[at]
        case 3:
            pairs[at] = rng.choice(["from", "to", copy.deepcopy(pairs[other])])
        case _:
            pairs[at : at + 3] = [copy.deepcopy(pairs[other])]


def change_leaf(rng: random.Random, case: LoopProof) -> None:
    pair = rng.choice([p for p in _sum(rng, case)["pairs"] if not isinstance(p, str)])
    tree = rng.choice(pair)
    tree[rng.randrange(len(tree))] = rng.choice(
        [
            ["leaf", 0, [], [], []],
            ["leaf", -1, [], [], []],
            ["leaf", -1, [[-1, 0, [1, 0]]], [], []],
            ["leaf", -1, [[rng.randrange(len(case.claim["clauses"]) or 1), 0, [1, 0]]], [], []],
            ["case", rng.randrange(len(case.claim["clauses"]) or 1)],
        ]
    )


def change_loop(rng: random.Random, case: LoopProof) -> None:
    loop = case.proof["loop"]
    match rng.randrange(3):
        case 0:
            record = rng.choice(loop)
            k = rng.randrange(len(record))
            record[k] = _nudged(rng, record[k])
        case 1:
            del loop[rng.randrange(len(loop))]
        case _:
            rng.shuffle(loop)


def change_form(rng: random.Random, case: LoopProof) -> None:
    atom = rng.choice([a for clause in case.claim["clauses"] + 3 * case.claim["goals"] for a in clause])
    form = atom["affine"]
    match rng.randrange(4):
        case 0 | 1:
            form["constant"] = _nudged(rng, form["constant"])
        case 2:
            atom["strict"] = not atom["strict"]
        case _:
            entries = rng.choice([form["variables"], form["calls"]])
            entry = rng.choice(entries)
            entry[1] = _nudged(rng, entry[1])
            if Fraction(entry[1]) == 0:
                entries.remove(entry)


def change_clauses(rng: random.Random, case: LoopProof) -> None:
    clauses = case.claim[rng.choice(["clauses", "clauses", "goals"])]
    if rng.random() < 0.7:
        del clauses[rng.randrange(len(clauses))]
    else:
        clause = rng.choice(clauses)
        del clause[rng.randrange(len(clause))]


def change_loops(rng: random.Random, case: LoopProof) -> None:
    case.claim["loops"] = rng.choice([[], [0], [1], [2], [1, 1], [0, 1], case.claim["loops"][::-1]])


def change_box(rng: random.Random, case: LoopProof) -> None:
    box = case.claim["boxes"][0]
    k, side, width = rng.randrange(len(box) // 2), rng.randrange(2), len(box) // 2
    box[k][side] = _nudged(rng, box[k][side])
    if rng.random() < 0.8:
        box[width + k][side] = box[k][side]


MUTATIONS: tuple[Callable[[random.Random, LoopProof], None], ...] = (
    change_cell, change_cells, change_pairs, change_leaf, change_loop, change_form, change_form, change_clauses,
    change_loops, change_box,
)  # fmt: skip
