"""Tiny rewards, and what is true of claims about them, by enumeration in rationals: slow, obvious, and nobody else's.

A reward is walked node by node with affine forms over the variables. Where a form changes sign in the cell at hand,
the cell is split there; a cell is what its constraints leave of a box, and is known by its corners: all solutions of as
many constraints, taken as equations, as there are variables, that satisfy the others. On a cell everything is affine,
so that corners decide: a closed set of inequalities can be met if it has a corner, and strict ones with them if each is
strict at some corner, since then all are at the mean of the corners. Discrete variables are tried value by value.

Nothing of `verifier` takes part: graphs are read as docs/formats.md defines them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations, product
from math import ceil, floor

import numpy as np

from rewarden.reward import graph as g
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.spec_lang.claim import Affine, AffineAtom, Box, Claim
from rewarden.spec_lang.features import Feature, RecordType
from tests.reference.random_claims import random_claim
from tests.reference.random_graphs import _Builder, random_patch

Point = tuple[Fraction, ...]
Form = tuple[Fraction, ...]  # a coefficient per free variable, then the constant
ZERO = Fraction(0)


# ── cells and corners ──────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Cell:
    """Where all `closed` forms are >= 0 and all `strict` ones > 0. `corners` are of the closed set of both."""

    closed: tuple[Form, ...]
    strict: tuple[Form, ...]
    corners: tuple[Point, ...]

    @property
    def empty(self) -> bool:
        return not self.corners or any(all(at(f, x) == 0 for x in self.corners) for f in self.strict)

    def cut(self, form: Form, *, strict: bool = False) -> Cell:
        signs = [at(form, x) for x in self.corners]
        closed = self.closed if strict else (*self.closed, form)
        made = Cell(closed, (*self.strict, form) if strict else self.strict, self.corners)
        if all(s >= 0 for s in signs):
            return made
        if all(s < 0 for s in signs):
            return replace(made, corners=())
        return replace(made, corners=corners((*made.closed, *made.strict), len(form) - 1))


def at(form: Form, point: Point) -> Fraction:
    return sum((c * x for c, x in zip(form, point, strict=False)), form[-1])


def corners(forms: Sequence[Form], variables: int) -> tuple[Point, ...]:
    found = {}
    for some in combinations(dict.fromkeys(forms), variables):
        point = crossing(some, variables)
        if point is not None and point not in found and all(at(f, point) >= 0 for f in forms):
            found[point] = None
    return tuple(found)


def crossing(forms: Sequence[Form], variables: int) -> Point | None:
    """Where all forms are 0, if that is one point (Gauss and Jordan)."""
    rows = [list(f) for f in forms]
    for i in range(variables):
        pivot = next((r for r in range(i, variables) if rows[r][i] != 0), None)
        if pivot is None:
            return None
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [v / rows[i][i] for v in rows[i]]
        for r in range(variables):
            if r != i and rows[r][i] != 0:
                rows[r] = [a - rows[r][i] * b for a, b in zip(rows[r], rows[i], strict=True)]
    return tuple(-row[-1] for row in rows)


def box_cell(sides: Sequence[tuple[Fraction, Fraction]]) -> Cell:
    n = len(sides)
    forms = []
    for j, (lo, hi) in enumerate(sides):
        unit = tuple(Fraction(int(i == j)) for i in range(n))
        forms += [(*unit, -lo), (*(-u for u in unit), hi)]
    return Cell(tuple(forms), (), tuple(dict.fromkeys(product(*sides))))


# ── forms ──────────────────────────────────────────────────────────────────────────────────────
def plus(a: Form, b: Form, factor: Fraction = Fraction(1)) -> Form:
    return tuple(x + factor * y for x, y in zip(a, b, strict=True))


def times(a: Form, factor: Fraction) -> Form:
    return tuple(factor * x for x in a)


def constant(value: Fraction, like: Form) -> Form:
    return (*(ZERO for _ in like[:-1]), value)


Split = Iterator[tuple[Cell, Form]]


def relu(cell: Cell, form: Form) -> Split:
    signs = [at(form, x) for x in cell.corners]
    if any(s > 0 for s in signs) or all(s == 0 for s in signs):
        yield cell.cut(form), form
    if any(s < 0 for s in signs):
        yield cell.cut(times(form, Fraction(-1))), constant(ZERO, form)


def larger(cell: Cell, a: Form, b: Form) -> Split:
    for inner, difference in relu(cell, plus(a, b, Fraction(-1))):
        yield inner, plus(b, difference)


def smaller(cell: Cell, a: Form, b: Form) -> Split:
    for inner, difference in relu(cell, plus(a, b, Fraction(-1))):
        yield inner, plus(a, difference, Fraction(-1))


def each(cell: Cell, forms: Sequence[tuple[Form, ...]], op: Callable[..., Split]) -> Iterator[tuple[Cell, list[Form]]]:
    """`op` on one tuple of forms after the other, in every cell that it leaves."""
    if not forms:
        yield cell, []
        return
    for inner, first in op(cell, *forms[0]):
        if not inner.empty:
            for last, rest in each(inner, forms[1:], op):
                yield last, [first, *rest]


# ── rewards ────────────────────────────────────────────────────────────────────────────────────
def calls(cell: Cell, artifact: Artifact, columns: list[Form]) -> Split:
    """The cells on which the (patched) reward of `columns` is affine, with what it is there."""
    for inner, (value,) in _node(cell, artifact, artifact.graph.output, {0: columns}):
        yield from _patched(inner, artifact, list(artifact.patches), value, columns)


def _node(cell: Cell, artifact: Artifact, index: int, done: dict[int, list[Form]]) -> Iterator[tuple[Cell, list[Form]]]:
    """Node after node up to `index`; nodes are in an order in which each reads earlier ones."""
    number = len(done)
    if number > index:
        yield cell, done[index]
        return
    for inner, forms in _values(cell, artifact, artifact.graph.nodes[number], done):
        yield from _node(inner, artifact, index, {**done, number: forms})


def _values(
    cell: Cell, artifact: Artifact, node: g.Node, done: dict[int, list[Form]]
) -> Iterator[tuple[Cell, list[Form]]]:
    def numbers(name: str) -> list[Fraction]:
        return [Fraction(float(v)) for v in artifact.tensors[name].reshape(-1)]

    match node:
        case g.Scale(x, scale, shift):
            triples = zip(done[x], numbers(scale), numbers(shift), strict=True)
            yield cell, [plus(times(f, s), constant(b, f)) for f, s, b in triples]
        case g.AffineMap(x, weight, bias):
            rows = artifact.tensors[weight]
            out = []
            for row, b in zip(rows, numbers(bias), strict=True):
                total = constant(b, done[x][0])
                for w, f in zip(row, done[x], strict=True):
                    total = plus(total, f, Fraction(float(w)))
                out.append(total)
            yield cell, out
        case g.Relu(x):
            yield from each(cell, [(f,) for f in done[x]], relu)
        case g.LeakyRelu(x, slope):
            (factor,) = numbers(slope)
            for inner, off in each(cell, [(times(f, Fraction(-1)),) for f in done[x]], relu):
                # −relu(−z) is z where z is negative, else 0; so z is passed on, less what the slope takes away
                yield inner, [plus(f, n, 1 - factor) for f, n in zip(done[x], off, strict=True)]
        case g.Abs(x):
            for inner, on in each(cell, [(f,) for f in done[x]], relu):
                yield inner, [plus(times(p, Fraction(2)), f, Fraction(-1)) for f, p in zip(done[x], on, strict=True)]
        case g.Add(a, b):
            yield cell, [plus(f, h) for f, h in zip(done[a], done[b], strict=True)]
        case g.Sub(a, b):
            yield cell, [plus(f, h, Fraction(-1)) for f, h in zip(done[a], done[b], strict=True)]
        case g.Minimum(a, b):
            yield from each(cell, list(zip(done[a], done[b], strict=True)), smaller)
        case g.Maximum(a, b):
            yield from each(cell, list(zip(done[a], done[b], strict=True)), larger)
        case g.ReduceMax(x):
            yield from _reduced(cell, done[x], larger)
        case g.ReduceMin(x):
            yield from _reduced(cell, done[x], smaller)
        case g.Clip(x, lo, hi):
            (least,), (most,) = numbers(lo), numbers(hi)
            for inner, raised in each(cell, [(f, constant(least, f)) for f in done[x]], larger):
                yield from each(inner, [(f, constant(most, f)) for f in raised], smaller)
        case g.Concat(parts):
            yield cell, [f for part in parts for f in done[part]]
        case _:
            raise AssertionError(f"a tiny network with {type(node).__name__}")


def _reduced(cell: Cell, forms: list[Form], op: Callable[..., Split]) -> Iterator[tuple[Cell, list[Form]]]:
    if len(forms) == 1:
        yield cell, forms
        return
    for inner, first in op(cell, forms[0], forms[1]):
        if not inner.empty:
            yield from _reduced(inner, [first, *forms[2:]], op)


def _patched(cell: Cell, artifact: Artifact, patches: list[g.Patch], value: Form, columns: list[Form]) -> Split:
    if not patches:
        yield cell, value
        return
    patch, rest = patches[0], patches[1:]
    tensor = artifact.tensors
    level, slope, delta, gate = (
        Fraction(float(tensor[name][0])) for name in (patch.level, patch.slope, patch.delta, patch.gate)
    )
    rows = []
    for row, offset in zip(tensor[patch.rows], tensor[patch.offsets], strict=True):
        total = constant(-Fraction(float(offset)), value)
        for w, f in zip(row, columns, strict=True):
            total = plus(total, f, Fraction(float(w)))
        rows.append(total)
    closed = cell
    for row in rows:  # beyond the gate in this row, and not in those before: the reward as it was
        beyond = closed.cut(plus(row, constant(-gate, row)))
        if not beyond.empty:
            yield from _patched(beyond, artifact, rest, value, columns)
        closed = closed.cut(plus(constant(gate, row), row, Fraction(-1)), strict=True)
    if closed.empty:
        return
    shifted = [(plus(row, constant(-delta, row)),) for row in rows]
    for inner, distances in each(closed, shifted, relu):
        for within, (top,) in _reduced(inner, distances, larger):
            if patch.kind == "ceiling":
                split = smaller(within, value, plus(constant(level, value), top, slope))
            else:
                split = larger(within, value, plus(constant(level, value), top, -slope))
            for last, edited in split:
                if not last.empty:
                    yield from _patched(last, artifact, rest, edited, columns)


# ── claims ─────────────────────────────────────────────────────────────────────────────────────
def truth_of(claim: Claim, artifacts: dict[str, Artifact]) -> str:
    """`vacuous`, `violated` or `proved`."""
    seen = False
    for cell, atoms in _pieces(claim, artifacts):
        if not seen and _possible(cell, [[atoms[a] for a in clause] for clause in claim.clauses]):
            seen = True
        for goal in claim.goals:
            false = [[_not(*atoms[a])] for a in goal]
            if _possible(cell, [*([atoms[a] for a in clause] for clause in claim.clauses), *false]):
                return "violated"
    return "proved" if seen else "vacuous"


def least_value(claim: Claim, artifacts: dict[str, Artifact], call: int) -> Fraction | None:
    """The least value of a call over the boxes, whatever the premise says."""
    values = [
        at(form, x)
        for cell, _, outputs in _worlds(claim, artifacts)
        for form in (outputs[call],)
        for x in cell.corners
        if not cell.strict
    ]
    return min(values, default=None)


Atoms = dict[AffineAtom, tuple[Form, bool]]


def _not(form: Form, strict: bool) -> tuple[Form, bool]:
    return times(form, Fraction(-1)), not strict


def _possible(cell: Cell, clauses: Sequence[Sequence[tuple[Form, bool]]]) -> bool:
    """Is there a point of the cell at which some atom of each clause is true?"""
    if cell.empty:
        return False
    if not clauses:
        return True
    return any(_possible(cell.cut(form, strict=strict), clauses[1:]) for form, strict in clauses[0])


def _pieces(claim: Claim, artifacts: dict[str, Artifact]) -> Iterator[tuple[Cell, Atoms]]:
    for cell, variables, outputs in _worlds(claim, artifacts):
        atoms = {}
        for clause in (*claim.clauses, *claim.goals):
            for a in clause:
                atoms[a] = (_over(a.affine, variables, outputs, cell), a.strict)
        yield cell, atoms


def _worlds(claim: Claim, artifacts: dict[str, Artifact]) -> Iterator[tuple[Cell, list[Form], list[Form]]]:
    for box in claim.boxes:
        for cell, variables in _fixed(claim, box):
            yield from ((c, variables, outputs) for c, outputs in _called(cell, claim, artifacts, variables, []))


def _fixed(claim: Claim, box: Box) -> Iterator[tuple[Cell, list[Form]]]:
    """Every choice of values for the discrete variables and those of no width, with forms over the others."""
    free = [j for j, (lo, hi) in enumerate(box) if not claim.variables[j].discrete and lo < hi]
    settled = [j for j in range(len(box)) if j not in free]
    choices = []
    for j in settled:
        lo, hi = box[j]
        discrete = claim.variables[j].discrete
        choices.append([Fraction(v) for v in range(ceil(lo), floor(hi) + 1)] if discrete else [lo][: int(lo <= hi)])
    if any(lo > hi for lo, hi in box):
        return
    for values in product(*choices):
        zero = (ZERO,) * len(free)
        forms: list[Form] = [(*zero, ZERO)] * len(box)
        for j, value in zip(settled, values, strict=True):
            forms[j] = (*zero, value)
        for i, j in enumerate(free):
            forms[j] = (*(Fraction(int(k == i)) for k in range(len(free))), ZERO)
        yield box_cell([box[j] for j in free]), forms


def _called(
    cell: Cell, claim: Claim, artifacts: dict[str, Artifact], variables: list[Form], outputs: list[Form]
) -> Iterator[tuple[Cell, list[Form]]]:
    if len(outputs) == len(claim.calls):
        yield cell, outputs
        return
    call = claim.calls[len(outputs)]
    columns = [_over(row, variables, [], cell) for row in call.arguments]
    for inner, value in calls(cell, artifacts[call.reward], columns):
        if not inner.empty:
            yield from _called(inner, claim, artifacts, variables, [*outputs, value])


def _over(form: Affine, variables: Sequence[Form], outputs: Sequence[Form], cell: Cell) -> Form:
    free = len(cell.corners[0]) if cell.corners else 0
    total: Form = (*((ZERO,) * free), form.constant)
    for j, c in form.variables:
        total = plus(total, variables[j], c)
    for k, c in form.calls:
        total = plus(total, outputs[k], c)
    return total


# ── tiny rewards and claims about them ─────────────────────────────────────────────────────────
OPS = ("scale", "affine", "relu", "leaky", "abs", "add", "sub", "minimum", "maximum", "max", "min", "clip", "concat")
SCALES = (1.0, 1.0, 1.0, 1.0, 2.0**-30, 1e-20, 3e5, 1e12)
SIGNS = 6  # how many forms may change their sign, at most


def tiny_reward(rng: np.random.Generator, record_type: RecordType) -> Artifact:
    """One to four ops over all the piecewise linear ones; sometimes constant, sometimes of huge or tiny weights."""
    builder = _Builder(rng, record_type.width)
    signs = 0
    scale = float(rng.choice(SCALES))
    last = 0
    for op in rng.choice(OPS, size=int(rng.integers(1, 5))):
        width = builder.widths[last]
        cost = {"relu": 1, "leaky": 1, "abs": 1, "minimum": 1, "maximum": 1, "clip": 2}.get(str(op), 0) * width
        cost += (width - 1) * (op in ("max", "min"))
        if signs + cost > SIGNS:
            continue
        signs += cost
        if op not in ("affine", "scale", "concat", "max", "min") and rng.random() < 0.7:
            weight = builder.tensor(min(width, 3), width, scale=scale if rng.random() < 0.5 else 1.0)
            last = builder.put(g.AffineMap(last, weight, builder.tensor(min(width, 3), scale=0.5)), min(width, 3))
        last = _op(builder, str(op), last, scale)
    weight = builder.tensor(1, builder.widths[last], scale=0.0 if rng.random() < 0.06 else 1.0)
    output = builder.put(g.AffineMap(last, weight, builder.tensor(1, scale=0.3)), 1)
    records = (RewardRecord("s", record_type),)
    patches = (random_patch(builder, records, 0),) if signs <= 3 and rng.random() < 0.2 else ()
    return Artifact(records, g.Graph(tuple(builder.nodes), output), builder.tensors, "exact", patches=patches)


def _op(builder: _Builder, op: str, x: int, scale: float) -> int:
    rng, width = builder.rng, builder.widths[x]
    match op:
        case "scale":
            return builder.put(g.Scale(x, builder.tensor(width, scale=scale), builder.tensor(width)), width)
        case "affine":
            out = int(rng.integers(1, 4))
            return builder.put(g.AffineMap(x, builder.tensor(out, width, scale=scale), builder.tensor(out)), out)
        case "relu":
            return builder.put(g.Relu(x), width)
        case "leaky":
            return builder.put(g.LeakyRelu(x, builder.constant([rng.random()])), width)
        case "abs":
            return builder.put(g.Abs(x), width)
        case "max" | "min":
            return builder.put(g.ReduceMax(x) if op == "max" else g.ReduceMin(x), 1)
        case "clip":
            lo, hi = np.sort(rng.normal(size=2).astype(np.float32))
            return builder.put(g.Clip(x, builder.constant([lo]), builder.constant([hi])), width)
        case "concat":
            return builder.put(g.Concat((x, 0)), width + builder.widths[0]) if width < 3 else x
        case _:
            kinds = {"add": g.Add, "sub": g.Sub, "minimum": g.Minimum, "maximum": g.Maximum}
            other = builder.put(
                g.AffineMap(0, builder.tensor(width, builder.widths[0]), builder.tensor(width, scale=0.3)), width
            )
            return builder.put(kinds[op](x, other), width)


def tiny_claim(seed: int) -> tuple[Claim, dict[str, Artifact]]:
    """One to three inputs, at most three of them continuous; some sides of boxes have no width; some rules hold, or
    fail, by equality alone; some records have no room at all."""
    rng = np.random.default_rng(seed)
    features = []
    for i in range(int(rng.choice([1, 2, 2, 3]))):
        kind = str(rng.choice(["real", "real", "real", "int", "bool"]))
        lo = Fraction(int(rng.integers(-8, 6)), int(rng.choice([1, 2, 3])))
        match kind:
            case "real":
                hi = lo + Fraction(int(rng.integers(1, 12)), int(rng.choice([1, 4, 7])))
                features.append(Feature(f"f{i}", "real", lo, hi))
            case "int":
                features.append(
                    Feature(f"f{i}", "int", Fraction(floor(lo)), Fraction(floor(lo) + int(rng.integers(4))))
                )
            case _:
                features.append(Feature(f"f{i}", "bool", Fraction(0), Fraction(1)))
    record_type = RecordType("T", tuple(features))
    rewards = {"R": tiny_reward(rng, record_type)}
    if rng.random() < 0.15 and len(features) < 3:
        rewards["Base"] = tiny_reward(rng, record_type)
    while True:
        claim = random_claim(rng, record_type, rewards, hard=bool(rng.random() < 0.5))
        free = sum(not v.discrete for v in claim.variables)
        if free + len(claim.calls) <= 4 and len(claim.variables) <= 4:
            break
    claim = replace(claim, boxes=tuple(_flattened(rng, claim, box) for box in claim.boxes))
    if rng.random() < 0.25:
        claim = _by_equality(rng, claim, rewards)
    return claim, rewards


def _flattened(rng: np.random.Generator, claim: Claim, box: Box) -> Box:
    """Some sides lose their width."""
    flat = rng.random(len(box)) < (0.2 if rng.random() < 0.5 else 0.0)
    return tuple((lo, lo) if f else (lo, hi) for f, (lo, hi) in zip(flat, box, strict=True))


def _by_equality(rng: np.random.Generator, claim: Claim, rewards: dict[str, Artifact]) -> Claim:
    """Goals that a call's least value meets exactly: true, but for the strict ones."""
    call = int(rng.integers(len(claim.calls)))
    least = least_value(claim, rewards, call)
    if least is None:
        return claim
    atom = AffineAtom(Affine(-least, (), ((call, Fraction(1)),)), bool(rng.random() < 0.5))
    return replace(claim, goals=((atom,),))


def negation(claim: Claim) -> Claim:
    """The rule that claims of every record that its one goal is false."""
    (goal,) = claim.goals
    parts = []
    for a in goal:
        form = a.affine
        parts.append(
            AffineAtom(
                Affine(
                    -form.constant, tuple((j, -c) for j, c in form.variables), tuple((j, -c) for j, c in form.calls)
                ),
                not a.strict,
            )
        )
    return replace(claim, rule="not " + claim.rule, goals=tuple((p,) for p in parts))
