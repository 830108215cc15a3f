"""A second checker of certificates, written from docs/formats.md and docs/certificate.md alone.

It shares no code with the kernel and was written without reading it, in plain Python with `Fraction` for every number:
no common denominators, no sharing of work, nothing that is quick. The tests hold the two against each other
(`tests/differential/test_second_checker.py`): what one accepts, the other accepts too. It reads, in this order,
claims and artifacts (`second_reading`), the program (`second_program`), smooth functions (`second_smooth`), leaves
(`second_bounds`) and trees (here).
"""

from __future__ import annotations

import gzip
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

from tests.reference.second_bounds import Cell, Subject, read_leaf
from tests.reference.second_program import Program, program_of, with_twins
from tests.reference.second_reading import (
    MANIFEST,
    Atom,
    Atoms,
    Box,
    Claim,
    Form,
    Json,
    Near,
    Patch,
    Refused,
    Reward,
    canonical,
    digest,
    fields,
    goals_of_sums,
    integer,
    items,
    manifest_of,
    need,
    parsed,
    rational,
    read_claims,
    read_reward,
    rise_of,
    text,
    value_of,
)
from tests.reference.second_smooth import meet

Verdict = Literal["proved", "violated", "not checked", "refused", "recipe not re-run"]
Row = tuple[Fraction, ...]


@dataclass(frozen=True)
class Answer:
    verdict: Verdict
    reason: str = ""


def check(folder: Path, rewards: Mapping[str, Path]) -> dict[str, Answer]:
    """What the certificate shows of each rule. Refused where the claims themselves cannot be read."""
    claims = read_claims((folder / "claims.json").read_bytes())
    named = {table for claim in claims if claim.rows is not None for table in claim.rows.tables}
    named |= {claim.near.table for claim in claims if claim.near is not None}
    for path in (folder / "tables").glob("*"):
        need(f"sha256:{path.name.removesuffix('.bin')}" in named, "a table that no claim names")
    return {claim.rule: _answer(claim, folder / "proofs", rewards) for claim in claims}


def _answer(claim: Claim, proofs: Path, rewards: Mapping[str, Path]) -> Answer:
    try:
        evidence = _evidence(claim, proofs)
        return (
            Answer("not checked", "no evidence")
            if evidence is None
            else _judged(claim, evidence, rewards, proofs.parent / "tables")
        )
    except Refused as e:
        return Answer("refused", str(e))


def _evidence(claim: Claim, proofs: Path) -> Json:
    plain = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", claim.rule, re.ASCII) is not None
    name = claim.rule if plain else f"claim-{claim.digest.removeprefix('sha256:')}"
    path = proofs / f"{name}.json"
    if path.is_file():
        return parsed(path.read_bytes())
    packed = proofs / f"{name}.json.gz"
    return parsed(gzip.decompress(packed.read_bytes())) if packed.is_file() else None


def _judged(claim: Claim, evidence: Json, rewards: Mapping[str, Path], tables: Path) -> Answer:
    need(isinstance(evidence, dict), "evidence is no object")
    need(evidence.get("claim") == claim.digest, "evidence for another claim")
    need(integer(evidence.get("format_version"), 0) == 1, "another version of evidence")
    head = ("format", "format_version", "claim")
    claim = claim if claim.near is None else _with_rows(claim, claim.near, tables)
    if evidence.get("format") == "rewarden-counterexample" and claim.rows is None and claim.lineage is None:
        need(not claim.cases, "no counterexample is defined for a claim with cases")
        (shown,) = fields(evidence, *head, "witness" if claim.loops is None else "loop")[3:]
        subject = Replay.of(claim, rewards)
        subject.violated_at(shown) if claim.loops is None else subject.violated_round(shown)
        return Answer("violated")
    if claim.lineage is not None:
        need(evidence.get("format") == "rewarden-lineage", "no line of edits")
        _traced(claim, items(fields(evidence, *head, "line")[3]), rewards)
        return Answer("recipe not re-run")
    if claim.rows is not None:
        need(evidence.get("format") == "rewarden-recount", "no recount")
        (stated,) = fields(evidence, *head, "count")[3:]
        return Answer(_recounted(Replay.of(claim, rewards), stated, tables))
    need(evidence.get("format") == "rewarden-proof", "evidence of an unknown format")
    if claim.cases:
        (shown,) = fields(evidence, *head, "cases")[3:]
        pairs = [fields(case, "witness", "goals") for case in items(shown, len(claim.cases))]
        need(any(witness is not None for witness, _ in pairs), "every case may be vacuous")
        for case, (witness, goals) in zip(claim.cases, pairs, strict=True):
            _proved(case, witness, goals, rewards, True)
    elif claim.loops is None:
        beyond, pieces = "beyond" in evidence, "pieces" in evidence
        more = [name for name, there in (("beyond", beyond), ("pieces", pieces)) if there]
        witness, goals, *told = fields(evidence, *head, "witness", "goals", *more)[3:]
        around = claim.near is not None and claim.near.inside
        need(not beyond or (told[0] is True and len(claim.boxes) == 1 and not around), "beyond what is opened, or not")
        if pieces:
            _proved_in_pieces(claim, witness, goals, told[-1], rewards, beyond)
        else:
            _proved(claim, witness, goals, rewards, False, beyond)
    else:
        loop, sums = fields(evidence, *head, "loop", "sums")[3:]
        _proved_round(claim, loop, sums, rewards)
    return Answer("proved")


# ── rows and lineage ───────────────────────────────────────────────────────────────────────────
def _recounted(replay: Replay, stated: Json, folder: Path) -> Verdict:
    claim, rows = replay.claim, replay.claim.rows
    assert rows is not None
    need(len(rows.columns) == len(claim.discrete) and 1 <= len(rows.tables) <= 16, "no column for a variable")
    parts = [_table(folder / f"{name.removeprefix('sha256:')}.bin", name, rows.count) for name in rows.tables]
    holding, kept, first = 0, 0, None
    for number, row in enumerate([v for part in side for v in part] for side in zip(*parts, strict=True)):
        need(all(0 <= c < len(row) for c in rows.columns), "a column that is not there")
        x = tuple(Fraction(row[c]) for c in rows.columns)
        outputs = replay.outputs(x, replay.program(tuple((v, v) for v in x)))
        if all(any(a.true(x, outputs) for a in clause) for clause in claim.clauses):
            holding += 1
            good = all(any(a.true(x, outputs) for a in goal) for goal in claim.goals)
            kept += good
            first = number if not good and first is None else first
    said, of, at = fields(stated, "holding", "kept", "first")
    need((integer(said, 0), integer(of, 0)) == (holding, kept), "another count")
    need((at if at is None else integer(at, 0)) == first and holding > 0, "another first row, or a vacuous claim")
    if rows.share is None:
        return "proved" if kept == holding else "violated"
    op, level = rows.share
    part = Fraction(kept, holding)
    return (
        "proved" if {"<": part < level, "<=": part <= level, ">": part > level, ">=": part >= level}[op] else "violated"
    )


def _with_rows(claim: Claim, near: Near, folder: Path) -> Claim:
    """The claim with the rows that it names, and with the boxes around them where these are its boxes."""
    table = _table(folder / f"{near.table.removeprefix('sha256:')}.bin", near.table, near.count)
    need(all(0 <= c < len(table[0]) for c in near.columns), "a column that is not there")
    near = replace(near, rows=tuple(tuple(Fraction(row[c]) for c in near.columns) for row in table))
    boxes = [box_of_row(claim, near, row) for row in near.rows] if near.inside else list(claim.boxes)
    return replace(claim, near=near, boxes=tuple(boxes))


def box_of_row(claim: Claim, near: Near, row: Row) -> Box:
    found = []
    for a, radius, whole, (lo, hi) in zip(row, near.radii, claim.discrete, claim.boxes[0], strict=True):
        low, high = (a, a) if radius is None else (max(lo, a - radius), min(hi, a + radius))
        found.append((Fraction(low.__ceil__()), Fraction(high.__floor__())) if whole else (low, high))
    need(all(low <= high for low, high in found), "an empty box")
    return tuple(found)


def _table(path: Path, name: str, count: int) -> list[tuple[float, ...]]:
    need(path.is_file(), "a table that is not there")
    data = path.read_bytes()
    need(digest(data) == name, "another table")
    head, _, body = data.partition(b"\n")
    columns, stated = fields(parsed(head), "columns", "rows")
    width = len([text(column) for column in items(columns)])
    need(width > 0 and integer(stated, count, count) == count and len(body) == 8 * width * count, "not so many numbers")
    found = list(struct.iter_unpack(f"<{width}d", body))
    need(all(abs(v) < float("inf") for row in found for v in row), "a number that is not finite")
    return found


def _traced(claim: Claim, line: list[Json], paths: Mapping[str, Path]) -> None:
    """The line of edits, from the artifact's own manifest to the one that came of the request."""
    said, ((name, expected),) = claim.lineage, claim.rewards
    assert said is not None
    need(name in paths and len(line) <= 1000, "a reward is missing, or a line too long")
    read_reward(paths[name], expected)
    manifest, at, since = manifest_of(paths[name]), expected, []
    for parent in line:
        need(isinstance(manifest["edit"], dict), "no edit")
        since.append(fields(manifest["edit"], "kind", "rule", "statement")[0])
        at = digest(canonical(parent))
        need(manifest["parent"] == at, "a line that is broken")
        fields(parent, *MANIFEST)
        manifest = parent
    need([at, since[::-1], manifest["parent"]] == [said["artifact"], said["since"], said["parent"]], "another line")
    need(isinstance(manifest["edit"], dict), "no edit")
    kind, _, statement = fields(manifest["edit"], "kind", "rule", "statement")
    need(kind == "unlearn" and isinstance(statement, dict), "no request to forget")
    for key in ("road", "forgotten", "left", "epsilon", "delta"):
        need(said[key] is None or statement.get(key) == str(said[key]), f"another {key}")
    tables = [fields(one, "name", "bytes", "table", "rows")[2:] for one in items(manifest["data"])]
    need(tables == [fields(one, "table", "rows") for one in said["data"]], "other tables")


# ── points ─────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Replay:
    """A claim with its rewards; evaluates points. Each box of the claim has layers of its own."""

    claim: Claim
    rewards: dict[str, Reward]
    beyond: bool = False  # without the patches that the premise opens

    @classmethod
    def of(cls, claim: Claim, paths: Mapping[str, Path], beyond: bool = False) -> Replay:
        need(all(name in paths for name, _ in claim.rewards), "a reward is missing")
        rewards = {name: read_reward(paths[name], expected) for name, expected in claim.rewards}
        return cls(claim, rewards, beyond)

    def program(self, box: Box) -> Program:
        return program_of(self.claim, self.rewards, box, self.beyond)

    def outputs(self, x: Row, program: Program) -> Row:
        """Every call's value; once by the artifact's graph, once by the layers, which must agree."""
        found = tuple(
            value_of(self.rewards[name], [form.at(x, ()) for form in arguments]) for name, arguments in self.claim.calls
        )
        layers = program.values(x)
        plain = (clause for clause in self.claim.clauses if self.beyond and not any(a.form.calls for a in clause))
        if all(any(atom.true(x, ()) for atom in clause) for clause in plain) and not self.near_a_row(x):
            same = zip(found, (layers[k][0] for k in program.outputs), strict=True)
            assert all(meet(one, other) for one, other in same), "the layers are not the graph"
        return found

    def near_a_row(self, x: Row) -> bool:
        """Whether that makes the premise false."""
        near = self.claim.near
        if near is None or near.inside:
            return False
        close = [[abs(v - a) <= (r or 0) for v, a, r in zip(x, row, near.radii, strict=True)] for row in near.rows]
        return any(map(all, close))

    def premise(self, x: Row, program: Program) -> Row:
        """The outputs at a point at which every clause has a true atom."""
        outputs = self.outputs(x, program)
        need(all(any(a.true(x, outputs) for a in clause) for clause in self.claim.clauses), "the premise is false")
        need(not self.near_a_row(x), "a point near a row")
        return outputs

    def point(self, value: Json, box: Box, discrete: Iterable[bool]) -> Row:
        x = tuple(rational(v) for v in items(value, len(box)))
        need(all(lo <= v <= hi for v, (lo, hi) in zip(x, box, strict=True)), "a point outside of the box")
        need(all(v.denominator == 1 for v, d in zip(x, discrete, strict=True) if d), "a point that is not whole")
        return x

    def witness(self, value: Json) -> tuple[Row, Row]:
        box, point = fields(value, "box", "point")
        sides = self.claim.boxes[integer(box, 0, len(self.claim.boxes) - 1)]
        x = self.point(point, sides, self.claim.discrete)
        return x, self.premise(x, self.program(sides))

    def violated_at(self, value: Json) -> None:
        x, outputs = self.witness(value)
        need(any(not any(a.true(x, outputs) for a in goal) for goal in self.claim.goals), "every goal is true")

    def loop(self, value: Json) -> list[tuple[Row, Row]]:
        """The steps of a loop, each with its outputs; every clause has a true atom at each of them."""
        d = len(self.claim.discrete) // 2
        records = [self.point(x, self.claim.boxes[0][:d], self.claim.discrete[:d]) for x in items(value)]
        need(len(records) > 0, "an empty loop")
        steps = [(*a, *b, Fraction(0)) for a, b in zip(records, [*records[1:], records[0]], strict=True)]
        program = self.program(self.claim.boxes[0])
        return [(x, self.premise(x, program)) for x in steps]

    def violated_round(self, value: Json) -> None:
        steps = self.loop(value)
        need(any(self._breaks(goals, steps) for goals in goals_of_sums(self.claim)), "every sum has its rises")

    def _breaks(self, goals: tuple[Atoms, ...], steps: list[tuple[Row, Row]]) -> bool:
        falls: list[Fraction | None] = []  # None: without limit
        for x, outputs in steps:
            limits = []
            for goal in goals:
                if any(a.true(x, outputs) for a in goal if not rise_of(a, self.claim)):
                    continue
                speaking = [a.form.at(x, outputs) for a in goal if rise_of(a, self.claim)]
                if not speaking:
                    return True
                limits.append(max(speaking))
            falls.append(min(limits) if limits else None)
        limited = [fall for fall in falls if fall is not None]
        if len(limited) < len(falls):
            return False
        strict = any(a.strict for goal in goals for a in goal if rise_of(a, self.claim))
        total = sum(limited, Fraction(0))
        return total < 0 or (strict and total <= 0)


# ── trees ──────────────────────────────────────────────────────────────────────────────────────
def _proved(
    claim: Claim, witness: Json, goals: Json, paths: Mapping[str, Path], may_be_vacuous: bool, beyond: bool = False
) -> None:
    replay = Replay.of(claim, paths, beyond)
    if witness is not None or not may_be_vacuous:
        replay.witness(witness)
    trees = [items(per_box, len(claim.boxes)) for per_box in items(goals, len(claim.goals))]
    for number, box in enumerate(claim.boxes):
        program = replay.program(box)
        twins = with_twins(claim, program)
        for goal, per_box in zip(claim.goals, trees, strict=True):
            walk(Subject(claim, goal, program, twins), box, items(per_box[number]))


def _proved_in_pieces(
    claim: Claim, witness: Json, goals: Json, said: Json, paths: Mapping[str, Path], beyond: bool
) -> None:
    replay = Replay.of(claim, paths, beyond)
    replay.witness(witness)
    without, cut = fields(said, "without", "cut")
    gone = [_left_out(claim, replay.rewards, items(pair, 2)) for pair in items(without)]
    boxes = [(box, *found) for box, nodes in zip(claim.boxes, items(cut, len(claim.boxes)), strict=True)
             for found in _pieces(claim, box, items(nodes))]  # fmt: skip
    need(len({piece for _, piece, _ in boxes}) == len(boxes), "two pieces are the same")
    trees = [items(per_piece, len(boxes)) for per_piece in items(goals, len(claim.goals))]
    for number, (box, piece, easy) in enumerate(boxes):
        program = program_of(claim, replay.rewards, box, beyond, piece, gone if easy else ())
        twins = with_twins(claim, program)
        for goal, per_piece in zip(claim.goals, trees, strict=True):
            walk(Subject(claim, goal, program, twins), piece, items(per_piece[number]))


def _pieces(claim: Claim, box: Box, nodes: list[Json]) -> list[tuple[Box, bool]]:
    """The pieces of one box of the claim, and whether patches are left out of each."""
    root = Cell(tuple(lo for lo, _ in box), tuple(hi for _, hi in box))
    for clause in claim.clauses:
        if len(clause) == 1:
            narrow = less(root, clause[0], claim)
            root = narrow if all(lo <= hi for lo, hi in zip(narrow.low, narrow.high, strict=True)) else root
    found, waiting = [], [root]
    for node in nodes:
        need(len(waiting) > 0, "nodes after the last piece")
        cell, said = waiting.pop(), items(node)
        if said[:1] == ["piece"]:
            found.append((tuple(zip(cell.low, cell.high, strict=True)), integer(items(said, 2)[1], 0, 1) == 1))
        else:
            need(said[:1] == ["cut"], "neither a cut nor a piece")
            _, variable, at = items(said, 3)
            where = integer(variable, 0, len(claim.discrete) - 1)
            waiting.extend(reversed(halves(cell, where, rational(at), claim.discrete[where])))
    need(not waiting, "pieces are missing")
    return found


def _left_out(claim: Claim, rewards: Mapping[str, Reward], pair: list[Json]) -> tuple[str, int]:
    """A patch that may be left out: every atom of the goals stays true when it is put back."""
    name = text(pair[0])
    calls = {k for k, (own, _) in enumerate(claim.calls) if own == name}
    need(bool(calls) and name in rewards, "a reward that is not called")
    number = integer(pair[1], 0, len(rewards[name].patches) - 1)
    patch = rewards[name].patches[number]
    need(not any(k in calls for clause in claim.clauses for a in clause for k, _ in a.form.calls), "in the premise")
    for goal in claim.goals:
        each = [(atom, {k: c for k, c in atom.form.calls if k in calls}) for atom in goal]
        helped = [all(c < 0 if patch.kind == "ceiling" else c > 0 for c in weights.values()) for _, weights in each]
        held = [bool(w) and not h and _within_level(a, patch) for (a, w), h in zip(each, helped, strict=True)]
        if not all(a or b for a, b in zip(helped, held, strict=True)):
            need(len({k for _, weights in each for k in weights}) == 1, "another call of the reward")
            need(any(held), "a patch that may harm")
    return name, number


def _within_level(atom: Atom, patch: Patch) -> bool:
    """An atom of one call and nothing else, true of the patch's level."""
    if len(atom.form.calls) != 1 or atom.form.variables or patch.slope < 0:
        return False
    ((_, weight),) = atom.form.calls
    at_level = weight * patch.level + atom.form.constant
    return at_level > 0 or (at_level == 0 and not atom.strict)


def walk(subject: Subject, box: Box, nodes: list[Json]) -> None:
    """A tree, in preorder: every leaf holds, and the list ends exactly where the tree does."""
    claim = subject.claim
    root = Cell(tuple(lo for lo, _ in box), tuple(hi for _, hi in box))
    for clause in claim.clauses:
        root = less(root, clause[0], claim) if len(clause) == 1 else root
    waiting = [root]
    for node in nodes:
        need(len(waiting) > 0, "nodes after the end of a tree")
        waiting.extend(reversed(_children(items(node), waiting.pop(), subject)))
    need(not waiting, "a tree without an end")


def _children(node: list[Json], cell: Cell, subject: Subject) -> list[Cell]:
    claim = subject.claim
    kind = node[0] if node else None
    if kind == "leaf":
        need(read_leaf(node, subject, cell).holds(), "a leaf that does not hold")
        return []
    if kind == "cut":
        _, variable, at = items(node, 3)
        return list(halves(cell, integer(variable, 0, len(claim.discrete) - 1), rational(at), claim.discrete[variable]))
    if kind == "sign":
        _, layer, neuron = items(node, 3)
        width = subject.program.layers[integer(layer, 0, len(subject.program.layers) - 1)].width
        integer(neuron, 0, width - 1)
        return [replace(cell, signs=cell.signs | {(layer, neuron, side)}) for side in (0, 1)]
    need(kind == "case", f"no node is called {kind}")
    _, k = items(node, 2)
    clause = claim.clauses[integer(k, 0, len(claim.clauses) - 1)]
    return [less(replace(cell, cases=cell.cases | {(k, i)}), atom, claim) for i, atom in enumerate(clause)]


def halves(cell: Cell, variable: int, at: Fraction, discrete: bool) -> tuple[Cell, Cell]:
    low, high = cell.low[variable], cell.high[variable]
    if discrete:
        below = Fraction(at.__floor__())
        above = below + 1
        need(low <= below < high, "a cut outside of the cell")
    else:
        below = above = at
        need(low < at < high, "a cut outside of the cell")
    return (
        replace(cell, high=(*cell.high[:variable], below, *cell.high[variable + 1 :])),
        replace(cell, low=(*cell.low[:variable], above, *cell.low[variable + 1 :])),
    )


def less(cell: Cell, fact: Atom, claim: Claim) -> Cell:
    """The cell less what a fact of one variable excludes."""
    if fact.form.calls or len(fact.form.variables) != 1:
        return cell
    ((k, c),) = fact.form.variables
    edge, up = -fact.form.constant / c, c > 0
    if claim.discrete[k]:
        itself = fact.strict and edge.denominator == 1
        edge = Fraction(edge.__ceil__() + itself if up else edge.__floor__() - itself)
    low, high = list(cell.low), list(cell.high)
    low[k], high[k] = (max(low[k], edge), high[k]) if up else (low[k], min(high[k], edge))
    return replace(cell, low=tuple(low), high=tuple(high))


# ── loops ──────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Part:
    """A node of a tree of cells."""

    cell: Cell
    children: tuple[int, int] | None = None  # of a cut
    potential: tuple[Fraction, Row] | None = None


def _proved_round(claim: Claim, loop: Json, sums: Json, paths: Mapping[str, Path]) -> None:
    replay = Replay.of(claim, paths)
    replay.loop(loop)
    program = replay.program(claim.boxes[0])
    twins = with_twins(claim, program)
    assert claim.loops is not None
    for goals, value in zip(goals_of_sums(claim), items(sums, len(claim.loops)), strict=True):
        cells, pairs = fields(value, "cells", "pairs")
        parts = _parts(claim, items(cells))
        waiting = [(0, 0)]
        for node in items(pairs):
            need(len(waiting) > 0, "pairs after the end of the tree")
            u, v = waiting.pop()
            if node in ("from", "to"):
                children = parts[u if node == "from" else v].children
                need(children is not None, "a part of a cell that is not cut")
                assert children is not None
                waiting.extend((k, v) if node == "from" else (u, k) for k in reversed(children))
            else:
                subject = Subject(claim, (), program, twins)
                _pair(subject, goals, (parts[u], parts[v]), items(node))
        need(not waiting, "pairs without an end")


def _parts(claim: Claim, nodes: list[Json]) -> list[Part]:
    d = len(claim.discrete) // 2
    box = claim.boxes[0][:d]
    parts: list[Part] = []
    waiting: list[tuple[Cell, int]] = [(Cell(tuple(lo for lo, _ in box), tuple(hi for _, hi in box)), -1)]
    for node in nodes:
        need(len(waiting) > 0, "cells after the end of the tree")
        cell, parent = waiting.pop()
        if parent >= 0:  # a second child, whose number is known only now
            first, _ = parts[parent].children or (0, 0)
            parts[parent] = replace(parts[parent], children=(first, len(parts)))
        kind = items(node)[0] if items(node) else None
        if kind == "cut":
            _, column, at = items(node, 3)
            one, other = halves(cell, integer(column, 0, d - 1), rational(at), claim.discrete[column])
            waiting += [(other, len(parts)), (one, -1)]
            parts.append(Part(cell, (len(parts) + 1, -1)))
        elif kind == "cell":
            _, constant, slopes = items(node, 3)
            parts.append(Part(cell, None, (rational(constant), tuple(rational(s) for s in items(slopes, d)))))
        else:
            need(node == ["none"], "a node of an unknown kind")
            parts.append(Part(cell))
    need(not waiting, "cells without an end")
    return parts


def _pair(subject: Subject, goals: tuple[Atoms, ...], pair: tuple[Part, Part], trees: list[Json]) -> None:
    u, v = pair
    sides = [*zip(u.cell.low, u.cell.high, strict=True), *zip(v.cell.low, v.cell.high, strict=True)]
    box = (*sides, (Fraction(0), Fraction(0)))
    if u.potential is None or v.potential is None:
        about: list[Atoms] = [()] if goals else []
    else:
        rise = _difference(u.potential, v.potential)
        about = [tuple(_risen(atom, rise, subject.claim) for atom in goal) for goal in goals]
    for goal, nodes in zip(about, items(trees, len(about)), strict=True):
        walk(replace(subject, goal=goal), box, items(nodes))


def _difference(u: tuple[Fraction, Row], v: tuple[Fraction, Row]) -> tuple[Fraction, Row]:
    """φ_v(b) − φ_u(a), over the columns of a, then those of b."""
    return v[0] - u[0], (*(-s for s in u[1]), *v[1])


def _risen(atom: Atom, rise: tuple[Fraction, Row], claim: Claim) -> Atom:
    """The atom with this in place of the rise."""
    if not rise_of(atom, claim):
        return atom
    weights = dict(atom.form.variables)
    del weights[len(claim.discrete) - 1]
    for k, c in enumerate(rise[1]):
        weights[k] = weights.get(k, Fraction(0)) + c
    terms = tuple((k, c) for k, c in sorted(weights.items()) if c)
    return Atom(Form(atom.form.constant + rise[0], terms, atom.form.calls), atom.strict)


def verdicts(folder: Path, rewards: Mapping[str, Path]) -> dict[str, str]:
    """The verdicts alone."""
    return {rule: answer.verdict for rule, answer in check(folder, rewards).items()}


__all__ = ["Answer", "check", "digest", "verdicts"]
