"""Claims and artifacts as docs/formats.md describes them, read by a checker that shares no code with the kernel.

First of the four files of the second checker (`second_checker.py` says what it is for). Everything here is written from
the page alone: plain Python, `Fraction` for every number, one rule of the page after the other.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

Json = Any
Point = Sequence[Fraction]


class Refused(Exception):
    """Something is not as the page says."""


def need(condition: bool, why: str) -> None:
    if not condition:
        raise Refused(why)


# ── JSON ───────────────────────────────────────────────────────────────────────────────────────
def canonical(value: Json) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def parsed(data: bytes) -> Json:
    """The value of canonical JSON: what is not written in the one allowed way does not come back as the same bytes."""

    def no_float(text: str) -> Json:
        raise Refused(f"{text} is a floating-point number")

    try:
        value = json.loads(data.decode(), parse_float=no_float, parse_constant=no_float)
        again = canonical(value)
    except (ValueError, RecursionError) as e:
        raise Refused(f"not JSON: {e}") from None
    need(again == data, "not canonical JSON")
    return value


def fields(value: Json, *names: str) -> list[Json]:
    """The values of an object with exactly these keys, in this order."""
    need(isinstance(value, dict) and set(value) == set(names), f"not an object with the keys {names}")
    return [value[name] for name in names]


def items(value: Json, length: int | None = None) -> list[Json]:
    need(isinstance(value, list), "not a list")
    need(length is None or len(value) == length, f"not {length} items")
    return list(value)


def text(value: Json) -> str:
    need(isinstance(value, str), "not text")
    return str(value)


def integer(value: Json, low: int, high: int | None = None) -> int:
    need(isinstance(value, int) and not isinstance(value, bool), "not an integer")
    need(low <= value and (high is None or value <= high), f"{value} is out of range")
    return int(value)


def truth(value: Json) -> bool:
    need(isinstance(value, bool), "neither true nor false")
    return bool(value)


def rational(value: Json) -> Fraction:
    """`"p/q"` in lowest terms with q > 1, or `"p"`."""
    need(isinstance(value, str) and len(value) <= 4000, "not a rational")
    need(re.fullmatch(r"0|-?[1-9][0-9]*(/[1-9][0-9]*)?", value, re.ASCII) is not None, f"{value} is not a rational")
    number = Fraction(value)
    need(str(number) == value, f"{value} is not in lowest terms")
    return number


# ── claims ─────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Form:
    """constant + Σ variables + Σ calls."""

    constant: Fraction
    variables: tuple[tuple[int, Fraction], ...]
    calls: tuple[tuple[int, Fraction], ...]

    def at(self, x: Point, outputs: Point) -> Fraction:
        value = self.constant + sum((c * x[k] for k, c in self.variables), Fraction(0))
        return value + sum((c * outputs[k] for k, c in self.calls), Fraction(0))


@dataclass(frozen=True)
class Atom:
    form: Form
    strict: bool

    def true(self, x: Point, outputs: Point) -> bool:
        value = self.form.at(x, outputs)
        return value > 0 if self.strict else value >= 0


Atoms = tuple[Atom, ...]
Box = tuple[tuple[Fraction, Fraction], ...]


@dataclass(frozen=True)
class Claim:
    """One claim; of one with cases all fields but the first three and the last are empty."""

    rule: str
    severity: str
    digest: str
    discrete: tuple[bool, ...] = ()
    records: tuple[tuple[int, ...], ...] = ()
    rewards: tuple[tuple[str, str], ...] = ()
    calls: tuple[tuple[str, tuple[Form, ...]], ...] = ()
    clauses: tuple[Atoms, ...] = ()
    goals: tuple[Atoms, ...] = ()
    boxes: tuple[Box, ...] = ()
    loops: tuple[int, ...] | None = None
    cases: tuple[Claim, ...] = ()
    rows: Rows | None = None
    lineage: Mapping[str, Json] | None = None
    near: Near | None = None


@dataclass(frozen=True)
class Near:
    """Whose rows a claim speaks of what is near, or near none of; `rows`: their values, once they have been read."""

    inside: bool
    table: str
    count: int
    columns: tuple[int, ...]
    radii: tuple[Fraction | None, ...]
    rows: tuple[tuple[Fraction, ...], ...] = ()


@dataclass(frozen=True)
class Rows:
    """Which rows a claim is about, and the share of them, if it is about a share."""

    count: int
    tables: tuple[str, ...]
    columns: tuple[int, ...]
    share: tuple[str, Fraction] | None


CLAIM = (
    "rule",
    "severity",
    "variables",
    "records",
    "rewards",
    "calls",
    "clauses",
    "goals",
    "boxes",
    "instances",
    "constants",
)


def read_claims(data: bytes) -> list[Claim]:
    form, version, claims = fields(parsed(data), "format", "format_version", "claims")
    need(form == "rewarden-claims", "not claims")
    need(integer(version, 0) == 1, "another version of claims")
    read = [_any(c) for c in items(claims)]
    rules = [c.rule for c in read]
    need(rules == sorted(set(rules)), "claims are not sorted by rule, one each")
    return read


def _any(value: Json) -> Claim:
    if isinstance(value, dict) and "lineage" in value:
        return _of_lineage(value)
    return _cases(value) if isinstance(value, dict) and "cases" in value else _claim(value)


def _of_lineage(value: Json) -> Claim:
    rule, severity, rewards, said = fields(value, "rule", "severity", "rewards", "lineage")
    need(severity == "should", "a lineage that must be")
    need(
        isinstance(rewards, dict) and [f"lineage of {name}" for name in rewards] == [rule], "a lineage of another name"
    )
    lineage = dict(zip(LINEAGE, fields(said, *LINEAGE), strict=True))
    hashes = [
        *rewards.values(),
        lineage["artifact"],
        lineage["parent"],
        *([lineage["ledger"]] if lineage["ledger"] is not None else []),
    ]
    for table, rows in (fields(one, "table", "rows") for one in items(lineage["data"])):
        hashes.append(table)
        integer(rows, 0)
    for found in hashes:
        need(re.fullmatch(r"sha256:[0-9a-f]{64}", text(found), re.ASCII) is not None, "not a digest")
    [text(kind) for kind in items(lineage["since"])]
    integer(lineage["forgotten"], 0), integer(lineage["left"], 0)
    need(lineage["road"] in ("exact", "certified", "approximate"), "an unknown road")
    for number in (lineage["epsilon"], lineage["delta"]):
        need((number is not None) == (lineage["road"] == "certified"), "epsilon or delta, or none")
        number is None or rational(number)
    return Claim(rule, severity, digest(canonical(value)), rewards=tuple(rewards.items()), lineage=lineage)


LINEAGE = ("artifact", "parent", "since", "road", "forgotten", "left", "epsilon", "delta", "data", "ledger")


def _cases(value: Json) -> Claim:
    rule, severity, cases = fields(value, "rule", "severity", "cases")
    need(severity in ("must", "should"), "no severity")
    read = tuple(_claim(case) for case in items(cases))
    need(len(read) > 0, "no cases")
    digests: dict[str, str] = {}
    for case in read:
        plain = (case.rule, case.severity, case.loops, case.rows, case.near) == (rule, severity, None, None, None)
        need(plain, "a case of another rule, or about loops or rows")
        need(all(digests.setdefault(name, d) == d for name, d in case.rewards), "a reward with two digests")
    return Claim(text(rule), severity, digest(canonical(value)), cases=read)


def _claim(value: Json) -> Claim:
    more = [key for key in ("loops", "rows", "near") if isinstance(value, dict) and key in value][:1]
    rule, severity, variables, records, rewards, calls, clauses, goals, boxes, instances, constants, *other = fields(
        value, *CLAIM, *more
    )
    loops, rows, near = (other if more == [key] else [] for key in ("loops", "rows", "near"))
    need(severity in ("must", "should"), "no severity")
    discrete = []
    for variable in items(variables):
        name, unit, whole = fields(variable, "name", "unit", "discrete")
        text(name), unit is None or text(unit)
        discrete.append(truth(whole))
    n = len(discrete)
    columns = []
    for record in items(records):
        name, kind, indices = fields(record, "name", "type", "variables")
        text(name), text(kind)
        columns.append(tuple(integer(k, 0, n - 1) for k in items(indices)))
    need(isinstance(rewards, dict), "rewards are not an object")
    for d in rewards.values():
        need(re.fullmatch(r"sha256:[0-9a-f]{64}", text(d)) is not None, "not a digest")
    read_calls = []
    for call in items(calls):
        name, arguments = fields(call, "reward", "arguments")
        need(text(name) in rewards, f"no reward {name}")
        read_calls.append((name, tuple(_form(a, n, 0) for a in items(arguments))))
    m = len(read_calls)
    read_boxes = []
    for box in items(boxes):
        sides = [tuple(rational(side) for side in items(pair, 2)) for pair in items(box, n)]
        read_boxes.append(
            tuple(
                (Fraction(lo.__ceil__()), Fraction(hi.__floor__())) if whole else (lo, hi)
                for (lo, hi), whole in zip(sides, discrete, strict=True)
            )
        )
        need(all(lo <= hi for lo, hi in read_boxes[-1]), "an empty box")
    instances is None or text(instances)
    for constant in items(constants):
        said, table, number = fields(constant, "text", "data", "value")
        text(said), rational(number)
        need(re.fullmatch(r"sha256:[0-9a-f]{64}", text(table), re.ASCII) is not None, "not a digest")
    claim = Claim(
        text(rule), severity, digest(canonical(value)), tuple(discrete), tuple(columns), tuple(sorted(rewards.items())),
        tuple(read_calls), tuple(_atoms(c, n, m) for c in items(clauses)), tuple(_atoms(g, n, m) for g in items(goals)),
        tuple(read_boxes), tuple(integer(k, 0) for k in items(loops[0])) if loops else None,
    )  # fmt: skip
    if claim.loops is not None:
        _require_loops(claim)
    if near:
        need(len(read_boxes) == 1, "one box is cut by rows")
        return replace(claim, near=_near(near[0], n))
    return replace(claim, rows=_rows(rows[0], boxes, n)) if rows else claim


def _near(value: Json, variables: int) -> Near:
    inside, table, count, columns, radii = fields(value, "inside", "table", "count", "columns", "radii")
    need(re.fullmatch(r"sha256:[0-9a-f]{64}", text(table), re.ASCII) is not None, "not a digest")
    read = tuple(None if radius is None else rational(radius) for radius in items(radii, variables))
    need(all(radius is None or radius >= 0 for radius in read), "a radius below 0")
    places = tuple(integer(column, 0) for column in items(columns, variables))
    return Near(truth(inside), table, integer(count, 1, 1 << 24), places, read)


def _rows(value: Json, boxes: Json, variables: int) -> Rows:
    count, tables, columns, share = fields(value, "count", "tables", "columns", "share")
    items(boxes, 0)
    level = None
    if share is not None:
        op, number = fields(share, "op", "level")
        need(op in ("<", "<=", ">", ">="), "a share that is compared with nothing")
        level = (op, rational(number))
    for table in items(tables):
        need(re.fullmatch(r"sha256:[0-9a-f]{64}", text(table), re.ASCII) is not None, "not a digest")
    read = tuple(integer(column, 0) for column in items(columns))
    return Rows(integer(count, 1, 1 << 24), tuple(tables), read, level)


def _atoms(value: Json, variables: int, calls: int) -> Atoms:
    pairs = [fields(atom, "affine", "strict") for atom in items(value)]
    return tuple(Atom(_form(affine, variables, calls), truth(strict)) for affine, strict in pairs)


def _form(value: Json, variables: int, calls: int) -> Form:
    constant, over_variables, over_calls = fields(value, "constant", "variables", "calls")
    return Form(rational(constant), _terms(over_variables, variables), _terms(over_calls, calls))


def _terms(value: Json, count: int) -> tuple[tuple[int, Fraction], ...]:
    terms = tuple((integer(k, 0, count - 1), rational(c)) for k, c in (items(term, 2) for term in items(value)))
    indices = [k for k, _ in terms]
    need(indices == sorted(set(indices)), "indices do not ascend")
    need(all(c != 0 for _, c in terms), "a term of zero")
    return terms


def _require_loops(claim: Claim) -> None:
    """What the page says of claims about loops: two records of d columns, then the rise."""
    need(len(claim.boxes) == 1 and len(claim.records) == 2, "a claim about loops has one box and two records")
    n = len(claim.discrete)
    d = n // 2
    both = (tuple(range(d)), tuple(range(d, 2 * d)))
    need(n == 2 * d + 1 and claim.records == both, "variables that are not those of two records and the rise")
    box, (rise,) = claim.boxes[0], claim.boxes[0][2 * d :]
    need(box[:d] == box[d : 2 * d] and claim.discrete[:d] == claim.discrete[d : 2 * d], "records that differ in bounds")
    need(rise == (Fraction(0), Fraction(0)) and not claim.discrete[-1], "a rise with bounds")
    assert claim.loops is not None
    need(sum(claim.loops) == len(claim.goals), "goals that belong to no sum")
    silent = [form for _, arguments in claim.calls for form in arguments]
    silent += [atom.form for clause in claim.clauses for atom in clause]
    need(all(k != 2 * d for form in silent for k, _ in form.variables), "a clause or an argument about the rise")
    for goals in goals_of_sums(claim):
        speaking = [a for goal in goals for a in goal if rise_of(a, claim)]
        need(all(rise_of(a, claim) == 1 for a in speaking), "a rise with another coefficient than 1")
        need(len({a.strict for a in speaking}) < 2, "a sum that is strict and is not")


def rise_of(atom: Atom, claim: Claim) -> Fraction:
    return dict(atom.form.variables).get(len(claim.discrete) - 1, Fraction(0))


def goals_of_sums(claim: Claim) -> list[tuple[Atoms, ...]]:
    goals = list(claim.goals)
    assert claim.loops is not None
    return [tuple(goals.pop(0) for _ in range(count)) for count in claim.loops]


# ── artifacts ──────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Tensor:
    shape: tuple[int, ...]
    values: tuple[Fraction, ...]

    @property
    def rows(self) -> list[list[Fraction]]:
        n = self.shape[-1]
        return [list(self.values[k : k + n]) for k in range(0, len(self.values), n)]


@dataclass(frozen=True)
class Node:
    op: str
    inputs: tuple[int, ...]
    tensors: tuple[Tensor, ...]


@dataclass(frozen=True)
class Patch:
    kind: str
    rows: Tensor
    offsets: Tensor
    level: Fraction
    slope: Fraction
    delta: Fraction
    gate: Fraction


@dataclass(frozen=True)
class Reward:
    columns: int
    nodes: tuple[Node, ...]
    widths: tuple[int, ...]
    output: int
    patches: tuple[Patch, ...]


MANIFEST = (
    "format",
    "format_version",
    "records",
    "graph",
    "patches",
    "identified",
    "learner",
    "data",
    "parent",
    "edit",
    "tensors",
)
FEATURE = ("name", "kind", "lo", "hi", "unit", "cases", "size")
OPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # op: (inputs, tensors), in the order of the page's table
    "input": ((), ()),
    "scale": (("in",), ("scale", "shift")),
    "affine": (("in",), ("weight", "bias")),
    "relu": (("in",), ()),
    "leaky_relu": (("in",), ("slope",)),
    "abs": (("in",), ()),
    "add": (("in", "with"), ()),
    "sub": (("in", "with"), ()),
    "minimum": (("in", "with"), ()),
    "maximum": (("in", "with"), ()),
    "min": (("in",), ()),
    "max": (("in",), ()),
    "clip": (("in",), ("lo", "hi")),
    **dict.fromkeys(("tanh", "sigmoid", "exp", "softplus", "silu", "gelu", "square"), (("in",), ())),
    "product": (("in", "with"), ()),
}
PATCH = ("kind", "rows", "offsets", "level", "slope", "delta", "gate", "rule")


def read_reward(path: Path, expected: str) -> Reward:
    """The artifact of this digest, a folder or a `.rwz`."""
    manifest, tensors_file = _files(path)
    need(digest(manifest) == expected, "another artifact")
    form, version, records, graph, patches, identified, learner, data, parent, edit, tensors_digest = fields(
        parsed(manifest), *MANIFEST
    )
    need(form == "rewarden-artifact" and integer(version, 0) == 1, "not an artifact of version 1")
    need(digest(tensors_file) == tensors_digest, "other tensors")
    need(identified in ("exact", "shift", "affine"), "not identified")
    _require_history(learner, data, parent, edit)
    tensors = _tensors(tensors_file)
    columns = sum(
        _columns(feature) for r in items(records) for feature in items(fields(r, "param", "type", "features")[2])
    )
    listed, output = fields(graph, "nodes", "output")
    nodes = [_node(node, k, tensors) for k, node in enumerate(items(listed))]
    widths: list[int] = []
    for node in nodes:
        widths.append(_width(node, widths, columns))
    need(widths[integer(output, 0, len(nodes) - 1)] == 1, "an output that is no number")
    return Reward(
        columns, tuple(nodes), tuple(widths), output, tuple(_patch(p, tensors, columns) for p in items(patches))
    )


def manifest_of(path: Path) -> dict[str, Json]:
    found = parsed(_files(path)[0])
    return dict(zip(MANIFEST, fields(found, *MANIFEST), strict=True))


def _files(path: Path) -> tuple[bytes, bytes]:
    names = ("manifest.json", "tensors.safetensors")
    if path.is_dir():
        return (path / names[0]).read_bytes(), (path / names[1]).read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            infos = archive.infolist()
            need(sorted(i.filename for i in infos) == sorted(names), "not a zip of exactly the two files")
            need(all(i.compress_type == zipfile.ZIP_STORED for i in infos), "a zip that is not stored")
            return archive.read(names[0]), archive.read(names[1])
    except zipfile.BadZipFile as e:
        raise Refused(f"not a .rwz: {e}") from None


def _require_history(learner: Json, data: Json, parent: Json, edit: Json) -> None:
    if learner is not None:
        name, options, seed, record = fields(learner, "name", "options", "seed", "record")
        need(isinstance(options, dict) and isinstance(record, dict), "a learner without options or record")
        integer(seed, -(2**63)), [text(v) for v in (name, *options.values(), *record.values())]
    for entry in items(data):
        name, file, table, rows = fields(entry, "name", "bytes", "table", "rows")
        text(name), text(file), text(table), integer(rows, 0)
    parent is None or text(parent)
    if edit is not None:
        kind, rule, statement = fields(edit, "kind", "rule", "statement")
        need(isinstance(statement, dict), "an edit without a statement")
        text(kind), rule is None or text(rule), [text(v) for v in statement.values()]


def _columns(feature: Json) -> int:
    name, kind, lo, hi, unit, cases, size = fields(feature, *FEATURE)
    need(kind in ("real", "int", "bool", "enum"), "an unknown kind of feature")
    text(name), rational(lo), rational(hi), unit is None or text(unit)
    read = [text(case) for case in items(cases)]
    return integer(size, 1) * (len(read) if kind == "enum" else 1)


def _tensors(data: bytes) -> dict[str, Tensor]:
    """Safetensors: eight bytes of length, a JSON header, then the numbers."""
    need(len(data) >= 8, "no tensors")
    length = int.from_bytes(data[:8], "little")
    need(length <= len(data) - 8, "a header beyond the file")
    try:
        header = json.loads(data[8 : 8 + length])
    except ValueError as e:
        raise Refused(f"no header: {e}") from None
    body, found = data[8 + length :], {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        kind, shape, offsets = fields(entry, "dtype", "shape", "data_offsets")
        need(kind == "F32", "tensors are float32")
        sizes = [integer(n, 1) for n in items(shape)]
        begin, end = (integer(at, 0, len(body)) for at in items(offsets, 2))
        count = 1
        for n in sizes:
            count *= n
        need(end - begin == 4 * count, "a tensor of another size than its shape")
        numbers = struct.unpack(f"<{count}f", body[begin:end])
        need(all(abs(v) < float("inf") for v in numbers), "a number that is not finite")
        found[name] = Tensor(tuple(sizes), tuple(Fraction(v) for v in numbers))
    return found


def _node(value: Json, index: int, tensors: Mapping[str, Tensor]) -> Node:
    need(isinstance(value, dict) and isinstance(value.get("op"), str), "a node without an op")
    op = value["op"]
    need((op == "input") == (index == 0), "node 0, and no other, is the input")
    if op == "concat":
        _, parts = fields(value, "op", "parts")
        return Node(op, tuple(integer(k, 0, index - 1) for k in items(parts)), ())
    need(op in OPS, f"no proof is about {op}")
    inputs, names = OPS[op]
    _, *rest = fields(value, "op", *inputs, *names)
    sources = tuple(integer(k, 0, index - 1) for k in rest[: len(inputs)])
    return Node(op, sources, tuple(_tensor(name, tensors) for name in rest[len(inputs) :]))


def _tensor(name: Json, tensors: Mapping[str, Tensor]) -> Tensor:
    need(text(name) in tensors, f"no tensor {name}")
    return tensors[name]


def _width(node: Node, widths: Sequence[int], columns: int) -> int:
    shapes = [t.shape for t in node.tensors]
    of = [widths[k] for k in node.inputs]
    match node.op:
        case "input":
            return columns
        case "affine":
            need(len(shapes[0]) == 2 and shapes[0][1] == of[0] and shapes[1] == shapes[0][:1], "an affine of no shape")
            return shapes[0][0]
        case "concat":
            need(len(of) > 0, "nothing to concatenate")
            return sum(of)
        case "min" | "max":
            return 1
        case "scale":
            need(shapes == [(of[0],)] * 2, "a scale of another width")
        case "leaky_relu":
            need(shapes == [(1,)] and 0 <= node.tensors[0].values[0] <= 1, "a slope that is none")
        case "clip":
            need(shapes == [(1,)] * 2 and node.tensors[0].values <= node.tensors[1].values, "nothing to clip to")
        case _:
            need(len(set(of)) == 1, "different widths")
    return of[0]


def _patch(value: Json, tensors: Mapping[str, Tensor], columns: int) -> Patch:
    kind, *names, rule = fields(value, *PATCH)
    need(kind in ("ceiling", "floor"), "a patch of an unknown kind")
    text(rule)
    rows, offsets, *numbers = (_tensor(name, tensors) for name in names)
    need(len(rows.shape) == 2 and rows.shape[1] == columns, "rows of another width")
    need(offsets.shape[-1:] == rows.shape[:1], "offsets of another length than the rows")
    need(all(t.shape == (1,) for t in numbers), "a constant of a patch that is no number")
    level, slope, delta, gate = (t.values[0] for t in numbers)
    return Patch(kind, rows, offsets, level, slope, delta, gate)


# ── values ─────────────────────────────────────────────────────────────────────────────────────
def value_of(reward: Reward, x: Point) -> Fraction:
    """The reward at encoded columns, by the table of ops and the formula of patches."""
    done: list[list[Fraction]] = []
    for node in reward.nodes:
        done.append(_applied(node, [done[k] for k in node.inputs], list(x)))
    (r,) = done[reward.output]
    for p in reward.patches:
        reached = [_dot(row, x) for row in p.rows.rows]
        for own in p.offsets.rows:  # of many boxes: one after the other
            inside = max(v - b for v, b in zip(reached, own, strict=True))
            if inside < p.gate:
                rising = p.slope * max(Fraction(0), inside - p.delta)
                r = min(r, p.level + rising) if p.kind == "ceiling" else max(r, p.level - rising)
    return r


def _dot(row: Point, x: Point) -> Fraction:
    return sum((a * b for a, b in zip(row, x, strict=True)), Fraction(0))


def _applied(node: Node, given: list[list[Fraction]], x: list[Fraction]) -> list[Fraction]:
    zero, t = Fraction(0), node.tensors
    a = given[0] if given else []
    match node.op:
        case "input":
            return x
        case "scale":
            return [v * s + c for v, s, c in zip(a, t[0].values, t[1].values, strict=True)]
        case "affine":
            return [_dot(row, a) + b for row, b in zip(t[0].rows, t[1].values, strict=True)]
        case "relu":
            return [max(v, zero) for v in a]
        case "leaky_relu":
            return [v if v >= 0 else t[0].values[0] * v for v in a]
        case "abs":
            return [abs(v) for v in a]
        case "min":
            return [min(a)]
        case "max":
            return [max(a)]
        case "clip":
            return [min(max(v, t[0].values[0]), t[1].values[0]) for v in a]
        case "concat":
            return [v for part in given for v in part]
        case "tanh" | "sigmoid" | "exp" | "softplus" | "silu" | "gelu" | "square":
            from tests.reference.second_smooth import applied

            return [applied(node.op, v) for v in a]  # type: ignore[misc]
    two = list(zip(a, given[1], strict=True))
    match node.op:
        case "add":
            return [v + w for v, w in two]
        case "sub":
            return [v - w for v, w in two]
        case "minimum":
            return [min(v, w) for v, w in two]
        case "product":
            return [v * w for v, w in two]
        case _:
            return [max(v, w) for v, w in two]
