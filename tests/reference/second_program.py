"""The layers of a claim's calls, numbered as docs/formats.md says ("Program"), and the form with twins.

Second of the four files of the second checker. Only the numbering has to be the page's, since proofs name layers; what
the layers compute is held against the artifact's own evaluation wherever a point is replayed (`second_checker.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import ceil, floor

from tests.reference.second_reading import Atom, Box, Claim, Form, Near, Node, Patch, Point, Refused, Reward, Tensor
from tests.reference.second_smooth import SMOOTH, applied

VARIABLES = -1
Matrix = list[list[Fraction]]
ZERO, ONE = Fraction(0), Fraction(1)


@dataclass
class Layer:
    """z = Σ blocks[s] · v_s + bias; the output is z, max(z, 0), a gated one, or a twin's difference of two relus."""

    kind: str  # linear, relu, gated, twin, smooth or product
    blocks: dict[int, Matrix]  # by source, in the order of first appearance
    bias: list[Fraction]
    gate_layer: int = -1
    gate: Fraction = ZERO
    copies: tuple[int, int] = (-1, -1)  # of a twin
    function: str = ""  # of a smooth one

    @property
    def width(self) -> int:
        """Of the output, and of what a proof names."""
        return len(self.bias) // (2 if self.kind == "product" else 1)


@dataclass
class Program:
    variables: int
    layers: list[Layer] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)  # the last layer of each call

    def values(self, x: Point) -> list[list[Fraction]]:
        """What every layer puts out at a point of the variables."""
        out: list[list[Fraction]] = []
        inner: list[list[Fraction]] = []
        for layer in self.layers:
            z = list(layer.bias)
            for source, matrix in layer.blocks.items():
                v = x if source == VARIABLES else out[source]
                z = [
                    t + sum((a * b for a, b in zip(row, v, strict=True)), ZERO)
                    for t, row in zip(z, matrix, strict=True)
                ]
            inner.append(z)
            if layer.kind == "linear":
                out.append(z)
            elif layer.kind == "twin":
                a, b = (inner[k] for k in layer.copies)
                out.append([max(p, ZERO) - max(q, ZERO) for p, q in zip(a, b, strict=True)])
            elif layer.kind == "smooth":
                out.append([applied(layer.function, v) for v in z])  # type: ignore[misc]
            elif layer.kind == "product":
                out.append([v * w for v, w in zip(z[: layer.width], z[layer.width :], strict=True)])
            elif layer.kind == "gated" and any(v >= layer.gate for v in inner[layer.gate_layer]):
                out.append([ZERO] * layer.width)
            else:
                out.append([max(v, ZERO) for v in z])
        return out


Without = Collection[tuple[str, int]]  # names of rewards, and numbers of patches in their stacks


def program_of(
    claim: Claim,
    rewards: dict[str, Reward],
    box: Box,
    beyond: bool = False,
    piece: Box | None = None,
    without: Without = (),
) -> Program:
    """The claim's calls over one of its boxes, one after the other; equal pieces once. `beyond`: without the patches
    that the premise opens. `piece`: of that box, and then without the patches that are open all over it, and those
    `without` which it is proved."""
    building = _Building(Program(len(claim.discrete)), {}, box, claim if beyond else None, piece)
    for name, arguments in claim.calls:
        if len(arguments) != rewards[name].columns:
            raise Refused(f"a call of {name} with another number of columns")
        gone = [number for own, number in without if own == name]
        building.program.outputs.append(building.call(rewards[name], arguments, gone))
    return building.program


@dataclass
class _Building:
    program: Program
    pieces: dict[Hashable, int]
    box: Box = ()
    premise: Claim | None = None
    piece: Box | None = None

    def emit(self, kind: str, terms: Sequence[tuple[int, Matrix]], bias: list[Fraction], **gate: object) -> int:
        """Append a layer; blocks on one source are summed."""
        blocks: dict[int, Matrix] = {}
        for source, matrix in terms:
            if source in blocks:
                pairs = zip(blocks[source], matrix, strict=True)
                blocks[source] = [[a + b for a, b in zip(p, q, strict=True)] for p, q in pairs]
            else:
                blocks[source] = matrix
        self.program.layers.append(Layer(kind, blocks, bias, **gate))  # type: ignore[arg-type]
        return len(self.program.layers) - 1

    def call(self, reward: Reward, arguments: tuple[Form, ...], gone: Collection[int] = ()) -> int:
        key: Hashable = ("arguments", arguments)
        if key not in self.pieces:
            rows = [[dict(form.variables).get(k, ZERO) for k in range(self.program.variables)] for form in arguments]
            self.pieces[key] = self.emit("linear", [(VARIABLES, rows)], [form.constant for form in arguments])
        x = self.pieces[key]
        r = self.node(reward, reward.output, x)
        stack = (patch for number, patch in enumerate(reward.patches) if number not in gone)
        left = (_unopened(patch, arguments, self.box, self.premise) for patch in stack)
        acting = (part for patch in left if patch for part in _acting(patch, arguments, self.box))
        for patch in acting:
            if self.piece is not None and _open_all_over(patch, arguments, self.piece):
                continue
            key = ("patch", r, x, patch)
            if key not in self.pieces:
                self.pieces[key] = self.patch(patch, r, x)
            r = self.pieces[key]
        return r

    def node(self, reward: Reward, index: int, x: int) -> int:
        node = reward.nodes[index]
        if node.op == "input":
            return x
        inputs = tuple(self.node(reward, k, x) for k in node.inputs)
        key = (node.op, inputs, node.tensors)
        if key not in self.pieces:
            self.pieces[key] = self.op(node, inputs)
        return self.pieces[key]

    def op(self, node: Node, inputs: tuple[int, ...]) -> int:
        n = [self.program.layers[k].width for k in inputs]
        a, b = (*inputs, *inputs)[:2]
        one, zeros = _diagonal([ONE] * n[0]), [ZERO] * n[0]
        minus = _times(one, -ONE)
        match node.op:
            case "scale":
                return self.emit("linear", [(a, _diagonal(node.tensors[0].values))], list(node.tensors[1].values))
            case "affine":
                return self.emit("linear", [(a, node.tensors[0].rows)], list(node.tensors[1].values))
            case "relu":
                return self.emit("relu", [(a, one)], zeros)
            case "leaky_relu" | "abs":
                factor = -node.tensors[0].values[0] if node.op == "leaky_relu" else ONE
                h = self.emit("relu", [(a, one)], zeros)
                k = self.emit("relu", [(a, minus)], zeros)
                return self.emit("linear", [(h, one), (k, _times(one, factor))], zeros)
            case "add":
                return self.emit("linear", [(a, one), (b, one)], zeros)
            case "sub":
                return self.emit("linear", [(a, one), (b, minus)], zeros)
            case "maximum":
                h = self.emit("relu", [(a, one), (b, minus)], zeros)
                return self.emit("linear", [(b, one), (h, one)], zeros)
            case "minimum":
                h = self.emit("relu", [(a, one), (b, minus)], zeros)
                return self.emit("linear", [(a, one), (h, minus)], zeros)
            case "product":
                none = _times(one, ZERO)
                return self.emit("product", [(a, one + none), (b, none + one)], zeros + zeros)
            case op if op in SMOOTH:
                return self.emit("smooth", [(a, one)], zeros, function=op)
            case "max" | "min":
                return self.extreme(a, node.op == "max")
            case "clip":
                lo, hi = (t.values[0] for t in node.tensors)
                h = self.emit("relu", [(a, one)], [-lo] * n[0])
                k = self.emit("relu", [(h, minus)], [hi - lo] * n[0])
                return self.emit("linear", [(k, minus)], [hi] * n[0])
        begins = [sum(n[:k]) for k in range(len(n))]  # concat
        blocks = [
            (source, [[ONE if row == begin + j else ZERO for j in range(width)] for row in range(sum(n))])
            for source, begin, width in zip(inputs, begins, n, strict=True)
        ]
        return self.emit("linear", blocks, [ZERO] * sum(n))

    def extreme(self, x: int, largest: bool) -> int:
        """m₀ = x₀, then m + relu(xᵢ − m), or m − relu(m − xᵢ) for the least."""
        n = self.program.layers[x].width

        def pick(i: int, factor: Fraction) -> Matrix:
            return [[factor if j == i else ZERO for j in range(n)]]

        m = self.emit("linear", [(x, pick(0, ONE))], [ZERO])
        for i in range(1, n):
            terms = [(x, pick(i, ONE)), (m, [[-ONE]])] if largest else [(m, [[ONE]]), (x, pick(i, -ONE))]
            h = self.emit("relu", terms, [ZERO])
            m = self.emit("linear", [(m, [[ONE]]), (h, [[ONE if largest else -ONE]])], [ZERO])
        return m

    def patch(self, patch: Patch, r: int, x: int) -> int:
        rows = self.emit("linear", [(x, patch.rows.rows)], [-b for b in patch.offsets.values])
        k = len(patch.offsets.values)
        p = self.emit("relu", [(rows, _diagonal([ONE] * k))], [-patch.delta] * k)
        m = self.extreme(p, True)
        slope = [[-patch.slope]]
        if patch.kind == "ceiling":
            terms, bias, sign = [(r, [[ONE]]), (m, slope)], [-patch.level], -ONE
        else:
            terms, bias, sign = [(m, slope), (r, [[-ONE]])], [patch.level], ONE
        q = self.emit("gated", terms, bias, gate_layer=rows, gate=patch.gate)
        return self.emit("linear", [(r, [[ONE]]), (q, [[sign]])], [ZERO])


def _acting(patch: Patch, arguments: tuple[Form, ...], box: Box) -> Iterator[Patch]:
    """A patch as it is; one on many boxes as ordinary patches, those that may act in the box of the claim."""
    if len(patch.offsets.shape) == 1:
        yield patch
        return
    ends = [_ends(row, arguments, box) for row in patch.rows.rows]
    for own in patch.offsets.rows:
        if any(least >= b + patch.gate for (least, _), b in zip(ends, own, strict=True)):
            continue
        flat = [patch.delta < patch.gate and most <= b + patch.delta for (_, most), b in zip(ends, own, strict=True)]
        some = [i for i, left_out in enumerate(flat) if not left_out] or [0]
        values = tuple(v for i in some for v in patch.rows.rows[i])
        rows = Tensor((len(some), len(arguments)), values)
        yield replace(patch, rows=rows, offsets=Tensor((len(some),), tuple(own[i] for i in some)))


def _open_all_over(patch: Patch, arguments: tuple[Form, ...], box: Box) -> bool:
    pairs = zip(patch.rows.rows, patch.offsets.values, strict=True)
    return any(_ends(row, arguments, box)[0] >= b + patch.gate for row, b in pairs)


def _unopened(patch: Patch, arguments: tuple[Form, ...], box: Box, claim: Claim | None) -> Patch | None:
    """What of a patch the clauses that speak of no call leave closed somewhere."""
    plain = [] if claim is None else [clause for clause in claim.clauses if not any(a.form.calls for a in clause)]
    near = None if claim is None or claim.near is None or claim.near.inside else claim.near
    if claim is None or (not plain and near is None):
        return patch
    table = len(patch.offsets.shape) == 2
    left = []
    where = [[_cell(atom, box, claim.discrete) for atom in clause] for clause in plain]
    for own in patch.offsets.rows if table else [list(patch.offsets.values)]:

        def at_the_gate(atom: Atom, cell: Box | None, own: list[Fraction] = own) -> bool:
            rows = zip(patch.rows.rows, own, strict=True)
            return cell is None or any(_least(row, arguments, atom, box, cell) >= b + patch.gate for row, b in rows)

        opened = any(all(map(at_the_gate, c, cells)) for c, cells in zip(plain, where, strict=True))
        opened = opened or any(
            _opened_by(row, near, patch, own, arguments, box, claim.discrete) for row in (near.rows if near else ())
        )
        left += [] if opened else [own]
    if not table:
        return patch if left else None
    values = tuple(b for own in left for b in own)
    return replace(patch, offsets=Tensor((len(left), len(patch.rows.rows)), values)) if left else None


def _opened_by(
    row: Sequence[Fraction],
    near: Near,
    patch: Patch,
    offsets: Sequence[Fraction],
    arguments: tuple[Form, ...],
    box: Box,
    discrete: Sequence[bool],
) -> bool:
    """Is a patch open beyond each end of a row's box?"""
    for k, (a, radius) in enumerate(zip(row, near.radii, strict=True)):
        for way in (1, -1):
            end = a + way * (radius or 0)
            if discrete[k]:
                end = Fraction(floor(end) + 1 if way > 0 else ceil(end) - 1)
                nothing = way * end > way * box[k][way > 0]
            else:
                nothing = way * end >= way * box[k][way > 0]
            pairs = zip(patch.rows.rows, offsets, strict=True)
            values = ((_alone_at(weights, arguments, k, way, end), b) for weights, b in pairs)
            if not nothing and not any(v is not None and v >= b + patch.gate for v, b in values):
                return False
    return True


def _alone_at(
    weights: Sequence[Fraction], arguments: tuple[Form, ...], k: int, way: int, at: Fraction
) -> Fraction | None:
    """The value of a row that reads one variable alone and grows that way; None of any other row."""
    total, slopes = ZERO, dict[int, Fraction]()
    for w, form in zip(weights, arguments, strict=True):
        total += w * form.constant
        for j, c in form.variables:
            slopes[j] = slopes.get(j, ZERO) + w * c
    slopes = {j: c for j, c in slopes.items() if c}
    return total + slopes[k] * at if slopes.keys() == {k} and slopes[k] * way > 0 else None


def _cell(atom: Atom, box: Box, discrete: Sequence[bool]) -> Box | None:
    """What an atom of one variable leaves of a box."""
    if len(atom.form.variables) != 1:
        return box
    ((k, slope),) = atom.form.variables
    (lo, hi), edge = box[k], -atom.form.constant / slope
    if discrete[k]:
        inside = atom.strict and edge.denominator == 1
        edge = Fraction(ceil(edge) + inside) if slope > 0 else Fraction(floor(edge) - inside)
    lo, hi = (max(lo, edge), hi) if slope > 0 else (lo, min(hi, edge))
    return (*box[:k], (lo, hi), *box[k + 1 :]) if lo <= hi else None


def _least(row: Sequence[Fraction], arguments: tuple[Form, ...], atom: Atom, box: Box, cell: Box) -> Fraction:
    """Of a row where an atom holds, as the page bounds it."""
    found = [_ends(row, arguments, box)[0], _ends(row, arguments, cell)[0]]
    weights = [
        sum((w * dict(f.variables).get(k, ZERO) for w, f in zip(row, arguments, strict=True)), ZERO)
        for k in range(len(box))
    ]
    constant = sum((w * f.constant for w, f in zip(row, arguments, strict=True)), ZERO)
    for k, c in atom.form.variables if len(atom.form.variables) > 1 else ():
        if weights[k] * c > 0:
            rest = dict(enumerate(weights))
            for j, d in atom.form.variables:
                rest[j] -= weights[k] / c * d
            least = constant - weights[k] / c * atom.form.constant
            found.append(
                least + sum((min(w * lo, w * hi) for w, (lo, hi) in zip(rest.values(), cell, strict=True)), ZERO)
            )
    return max(found)


def _ends(row: Sequence[Fraction], arguments: tuple[Form, ...], box: Box) -> tuple[Fraction, Fraction]:
    total, weights = ZERO, [ZERO] * len(box)
    for w, form in zip(row, arguments, strict=True):
        total += w * form.constant
        for k, c in form.variables:
            weights[k] += w * c
    sides = [sorted((w * lo, w * hi)) for w, (lo, hi) in zip(weights, box, strict=True)]
    return total + sum((lo for lo, _ in sides), ZERO), total + sum((hi for _, hi in sides), ZERO)


def _diagonal(values: Sequence[Fraction]) -> Matrix:
    return [[v if i == j else ZERO for j in range(len(values))] for i, v in enumerate(values)]


def _times(matrix: Matrix, factor: Fraction) -> Matrix:
    return [[factor * v for v in row] for row in matrix]


# ── twins ──────────────────────────────────────────────────────────────────────────────────────
def with_twins(claim: Claim, program: Program) -> Program | None:
    """The program in the form in which a second call is the first less their difference, if it has that form."""
    for goal in (*claim.goals, *claim.clauses):
        for atom in goal:
            calls = atom.form.calls
            for k, (i, c) in enumerate(calls):
                for j, d in calls[k + 1 :]:
                    if c * d < 0:
                        a, b = program.outputs[i], program.outputs[j]
                        partners = _partners(program, a, b)
                        if partners.get(b) == a and any(program.layers[p].kind == "relu" for p in partners):
                            return _doubled(program, partners, a, b)
    return None


def _partners(program: Program, first: int, second: int) -> dict[int, int]:
    found: dict[int, int] = {}
    waiting = [(first, second)]
    while waiting:
        a, b = waiting.pop()
        if a == b or b in found or VARIABLES in (a, b):
            continue
        one, other = program.layers[a], program.layers[b]
        if one.kind != other.kind or one.kind not in ("linear", "relu") or one.width != other.width:
            continue
        found[b] = a
        if len(one.blocks) == len(other.blocks):
            waiting.extend(zip(one.blocks, other.blocks, strict=True))
    return {b: a for b, a in found.items() if a not in found}


def _doubled(program: Program, partners: dict[int, int], first: int, second: int) -> Program:
    layers = list(program.layers)
    twin: dict[int, int] = {}
    for b in sorted(partners):
        a = partners[b]
        terms = list(layers[a].blocks.items())
        for source, matrix in layers[b].blocks.items():
            if source in twin:  # v_s = (its partner) − t
                terms += [(partners[source], _times(matrix, -ONE)), (twin[source], matrix)]
            else:
                terms.append((source, _times(matrix, -ONE)))
        bias = [p - q for p, q in zip(layers[a].bias, layers[b].bias, strict=True)]
        kind = "linear" if layers[b].kind == "linear" else "twin"
        _Building(Program(program.variables, layers), {}).emit(kind, terms, bias, copies=(a, b))
        twin[b] = len(layers) - 1
    _Building(Program(program.variables, layers), {}).emit(
        "linear", [(first, [[ONE]]), (len(layers) - 1, [[-ONE]])], [ZERO]
    )
    outputs = [len(layers) - 1 if k == second else k for k in program.outputs]
    return Program(program.variables, layers, outputs)
