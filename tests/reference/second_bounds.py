"""What a leaf proves, computed as docs/formats.md says ("Proof"), in fractions and without haste.

Third of the four files of the second checker. A leaf is about the points of a box at which some signs and facts hold
and a goal fails, and shows that there are none. `Known` is what has been found out about these points so far: sides of
the box, and l and u of pre-activations, which are found layer by layer as they are read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from tests.reference.second_program import VARIABLES, ZERO, Layer, Program
from tests.reference.second_reading import Atom, Atoms, Claim, Form, Json, integer, items, need
from tests.reference.second_smooth import lines, planes, times

Place = tuple[int, int]  # layer, neuron; or VARIABLES, variable
Signs = frozenset[tuple[int, int, int]]  # layer, neuron, 0 for z >= 0 or 1 for z <= 0
Line = tuple[Fraction, Fraction]  # slope and intercept, over z
SMALL, FINE = 2**64, 2**40  # bounds are rounded to 1/SMALL and slopes to 1/FINE, as the page allows
INTERVALS, USUAL, EVERY = range(3)  # which neurons are back-substituted: none, where a sign is open, all


class Nothing(Exception):
    """No point is left: some lower bound is above its upper bound."""


@dataclass(frozen=True)
class Cell:
    """Where a node of a tree speaks: a box, the signs and the chosen cases above it."""

    low: tuple[Fraction, ...]
    high: tuple[Fraction, ...]
    signs: Signs = frozenset()
    cases: frozenset[Place] = frozenset()  # clause, atom

    @property
    def empty(self) -> bool:
        return any(lo > hi for lo, hi in zip(self.low, self.high, strict=True))


@dataclass(frozen=True)
class Subject:
    """What the leaves of one tree are about."""

    claim: Claim
    goal: Atoms
    program: Program
    twins: Program | None


@dataclass
class Functional:
    """constant + Σ weights · (outputs of layers, and variables)."""

    constant: Fraction = ZERO
    weights: dict[int, dict[int, Fraction]] = field(default_factory=dict)

    def put(self, source: int, index: int, weight: Fraction) -> None:
        row = self.weights.setdefault(source, {})
        row[index] = row.get(index, ZERO) + weight

    def put_form(self, program: Program, form: Form, weight: Fraction) -> None:
        self.constant += weight * form.constant
        for k, c in form.variables:
            self.put(VARIABLES, k, weight * c)
        for k, c in form.calls:
            self.put(program.outputs[k], 0, weight * c)

    def put_neuron(self, layer: Layer, neuron: int, weight: Fraction) -> None:
        """A pre-activation, by what it is of its sources."""
        self.constant += weight * layer.bias[neuron]
        for source, matrix in layer.blocks.items():
            for k, c in enumerate(matrix[neuron]):
                if c:
                    self.put(source, k, weight * c)


@dataclass
class Known:
    program: Program
    low: list[Fraction]
    high: list[Fraction]
    signs: Signs
    way: int
    named: dict[Place, int]  # lines that the proof names
    l: dict[int, list[Fraction]] = field(default_factory=dict)  # noqa: E741
    u: dict[int, list[Fraction]] = field(default_factory=dict)

    # ── bounds of pre-activations ──────────────────────────────────────────────────────────────
    def read(self, index: int) -> None:
        """Bound a layer, and before it all of lower numbers, unless that is done."""
        for k in range(len(self.l), index + 1):
            self._bound(k)

    def again(self) -> None:
        """All layers once more, the better of both bounds kept."""
        self.read(len(self.program.layers) - 1)
        for index in range(len(self.program.layers)):
            self._bound(index)

    def _bound(self, index: int) -> None:
        layer = self.program.layers[index]
        n = len(layer.bias)
        old = list(zip(self.l[index], self.u[index], strict=True)) if index in self.l else [None] * n
        found = []
        for neuron in range(n):
            l, u = self._interval(layer, neuron)  # noqa: E741
            if layer.kind == "twin":
                (la, ua), (lb, ub) = (self._of(k, neuron) for k in layer.copies)
                l, u = max(l, la - ub), min(u, ua - lb)  # noqa: E741
            if (index, neuron, 0) in self.signs:
                l = max(l, ZERO)  # noqa: E741
            if (index, neuron, 1) in self.signs:
                u = min(u, ZERO)
            before = old[neuron]
            if before is not None:
                l, u = max(l, before[0]), min(u, before[1])  # noqa: E741
            if self._wanted(index, neuron, l, u):
                for side in (0, 1):
                    if side == 1 and self.way == USUAL and layer.kind in ("relu", "gated") and l >= 0:
                        continue  # that it is on is known
                    z = Functional()
                    z.put_neuron(layer, neuron, Fraction(1 - 2 * side))
                    least = self.least(z)
                    l, u = (max(l, least), u) if side == 0 else (l, min(u, -least))  # noqa: E741
            found.append((down(l), -down(-u)))
        self.l[index], self.u[index] = [l for l, _ in found], [u for _, u in found]  # noqa: E741

    def _wanted(self, index: int, neuron: int, l: Fraction, u: Fraction) -> bool:  # noqa: E741
        """Whether this neuron's bounds are back-substituted."""
        layer = self.program.layers[index]
        if self.way != USUAL:
            return self.way == EVERY
        if layer.kind == "twin":
            (la, ua), (lb, ub) = (self._of(k, neuron) for k in layer.copies)
            return not (min(la, lb) >= 0 or max(ua, ub) <= 0)
        if layer.kind == "linear":
            return any(other.gate_layer == index for other in self.program.layers)
        return l < u if layer.kind in ("smooth", "product") else l < 0 < u

    def _of(self, index: int, neuron: int) -> tuple[Fraction, Fraction]:
        return self.l[index][neuron], self.u[index][neuron]

    def _interval(self, layer: Layer, neuron: int) -> tuple[Fraction, Fraction]:
        l = u = layer.bias[neuron]  # noqa: E741
        for source, matrix in layer.blocks.items():
            for k, c in enumerate(matrix[neuron]):
                if c:
                    least, most = self.output(source, k)
                    l += c * (least if c > 0 else most)  # noqa: E741
                    u += c * (most if c > 0 else least)
        return l, u

    def output(self, source: int, k: int) -> tuple[Fraction, Fraction]:
        """Between which numbers an output lies (of a layer that has been read), or a variable."""
        if source == VARIABLES:
            return self.low[k], self.high[k]
        layer = self.program.layers[source]
        l, u = self._of(source, k)  # noqa: E741
        if layer.kind == "linear":
            return l, u
        if layer.kind == "product":
            other = self._of(source, k + layer.width)
            return times((min(l, u), max(l, u)), (min(other), max(other)))
        if layer.kind == "smooth":
            found = lines(layer.function, l, u)
            return found.least, found.most
        if layer.kind == "twin":
            (la, ua), (lb, ub) = (self._of(copy, k) for copy in layer.copies)
            least = max(min(ZERO, l), l - max(-lb, ZERO), max(la, ZERO) - max(ub, ZERO))
            return least, min(max(ZERO, u), u + max(-la, ZERO), max(ua, ZERO) - max(lb, ZERO))
        if layer.kind == "gated":
            gate = self.gate(layer)
            if gate != "closed":
                return ZERO, max(u, ZERO) if gate == "undecided" else ZERO
        return max(l, ZERO), max(u, ZERO)

    def gate(self, layer: Layer) -> str:
        rows = layer.gate_layer
        if any(l >= layer.gate for l in self.l[rows]):  # noqa: E741
            return "open"
        return "closed" if all(u < layer.gate for u in self.u[rows]) else "undecided"

    # ── lines, and what follows from them ──────────────────────────────────────────────────────
    def least(self, f: Functional) -> Fraction:
        """A lower bound of a functional, by back-substitution from the last layer down to the variables."""
        g = Functional(f.constant, {s: dict(row) for s, row in f.weights.items()})
        self.read(max(g.weights, default=VARIABLES))
        while layers := [s for s in g.weights if s != VARIABLES]:
            index = max(layers)
            layer = self.program.layers[index]
            row = {k: c for k, c in g.weights.pop(index).items() if c}
            for k, c in row.items():
                if layer.kind == "product":
                    slopes, lower, upper = planes(self._of(index, k), self._of(index, k + layer.width))
                    g.constant += c * (lower if c > 0 else upper)
                    for factor, slope in zip((k, k + layer.width), slopes, strict=True):
                        g.put_neuron(layer, factor, c * slope) if slope else None
                    continue
                slope, intercept = (Fraction(1), ZERO) if layer.kind == "linear" else self.line(index, k, c > 0)
                g.constant += c * intercept
                g.put_neuron(layer, k, c * slope) if slope else None
        ends = ((c, *self.output(VARIABLES, k)) for k, c in g.weights.get(VARIABLES, {}).items())
        return g.constant + sum((c * (lo if c > 0 else hi) for c, lo, hi in ends), ZERO)

    def line(self, index: int, k: int, below: bool) -> Line:
        """The line that stands for an output, over its pre-activation."""
        layer = self.program.layers[index]
        if layer.kind == "twin":
            return self._twin_line(layer, index, k, below)
        l, u = self._of(index, k)  # noqa: E741
        if layer.kind == "smooth":
            found = lines(layer.function, l, u)
            return found.lower if below else found.upper
        gate = self.gate(layer) if layer.kind == "gated" else None
        if gate == "open" or (gate == "undecided" and (below or u <= 0 > l)):
            return ZERO, ZERO
        if l >= 0:
            return Fraction(1), ZERO
        if u <= 0:
            return ZERO, ZERO
        if not below:
            slope = finely(u / (u - l))
            return slope, u - slope * u
        if (index, k) in self.named:
            return Fraction(self.named[index, k], 256), ZERO
        return Fraction(1 if u > -l or gate == "closed" else 0), ZERO

    def _twin_line(self, layer: Layer, index: int, k: int, below: bool) -> Line:
        (la, ua), (lb, ub) = (self._of(copy, k) for copy in layer.copies)
        l, u = self._of(index, k)  # noqa: E741
        l, u = max(l, la - ub), min(u, ua - lb)  # noqa: E741
        if below:
            lines = [_chord_below(l, u), (Fraction(1), -max(-lb, ZERO)), (ZERO, -max(ub, ZERO))]
        else:
            lines = [_chord_above(l, u), (Fraction(1), max(-la, ZERO)), (ZERO, max(ua, ZERO))]
        if (index, k) in self.named:
            choice = self.named[index, k]
            return lines[choice // 3 if below else choice % 3]
        if la >= 0 and lb >= 0:
            return lines[1]
        if ua <= 0 and ub <= 0:
            return lines[2]
        middle = (l + u) / 2
        heights = [slope * middle + intercept for slope, intercept in lines]
        return lines[heights.index(max(heights) if below else min(heights))]


def down(x: Fraction) -> Fraction:
    return Fraction(x.numerator * SMALL // x.denominator, SMALL)


def finely(slope: Fraction) -> Fraction:
    return Fraction(slope.numerator * FINE // slope.denominator, FINE)


def _chord_above(l: Fraction, u: Fraction) -> Line:  # noqa: E741
    """max(d, 0) over [l, u]; the intercept keeps a rounded slope above at both ends."""
    if l >= 0:
        return Fraction(1), ZERO
    if u <= 0:
        return ZERO, ZERO
    slope = finely(u / (u - l))
    return slope, u - slope * u


def _chord_below(l: Fraction, u: Fraction) -> Line:  # noqa: E741
    """min(d, 0) over [l, u] is minus max(−d, 0) over [−u, −l]."""
    slope, intercept = _chord_above(-u, -l)
    return slope, -intercept


# ── leaves ─────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Leaf:
    """A leaf's own choices, in the form of the page; `check` says whether it holds."""

    subject: Subject
    cell: Cell
    program: Program
    goal_atom: int
    multipliers: list[Json]
    slopes: list[Json]
    steps: list[Json]

    def holds(self) -> bool:
        if self.cell.empty:
            return True
        ways = (USUAL, EVERY) if self.steps else (USUAL, EVERY, INTERVALS)
        return any(self._holds(way) for way in ways)

    def _holds(self, way: int) -> bool:
        cell = self.cell
        named = {(layer, neuron): k for layer, neuron, k in self.slopes}
        known = Known(self.program, list(cell.low), list(cell.high), cell.signs, way, named)
        try:
            for step in self.steps:
                self._step(step, known)
            f, strict = Functional(), False
            last = [[-1, self.goal_atom, [1, 0]]] if self.goal_atom >= 0 else []
            for multiplier in (*self.multipliers, *last):
                strict |= self._less(multiplier, f, known)
            least = known.least(f)
        except Nothing:
            return True
        return least > 0 or (least == 0 and strict)

    def _less(self, multiplier: Json, f: Functional, known: Known) -> bool:
        """Take λ · fact off; whether the fact is strict."""
        *what, (m, e) = multiplier
        weight = -Fraction(m) * Fraction(2) ** e
        if len(what) == 3:
            index, neuron, side = what
            known.read(index)
            sign = Fraction(1 - 2 * side)
            f.put_neuron(self.program.layers[index], neuron, weight * sign)
            f.constant -= weight * sign * (known.l if side == 0 else known.u)[index][neuron]
            return False
        of, k = what
        atom: Atom = self.subject.goal[k] if of == -1 else self.subject.claim.clauses[of][k]
        f.put_form(self.program, atom.form, -weight if of == -1 else weight)
        return not atom.strict if of == -1 else atom.strict

    def _step(self, step: Json, known: Known) -> None:
        if step == ["again"]:
            known.again()
            return
        if len(step) == 3:
            known.named[step[0], step[1]] = step[2]
            return
        index, k, side, multipliers = step
        f = Functional()
        sign = Fraction(1 - 2 * side)
        if index == VARIABLES:
            f.put(VARIABLES, k, sign)
        else:
            known.read(index)
            f.put_neuron(self.program.layers[index], k, sign)
        for multiplier in multipliers:
            self._less(multiplier, f, known)
        least = known.least(f)
        if index == VARIABLES:
            low, high = known.low, known.high
        else:
            low, high, least = known.l[index], known.u[index], down(least)
        if side == 0:
            low[k] = max(low[k], least)
        else:
            high[k] = min(high[k], -least)
        if low[k] > high[k]:
            raise Nothing


def read_leaf(node: Json, subject: Subject, cell: Cell) -> Leaf:
    """A leaf. Where nothing is left of its cell, nothing that it says is looked at but whether there are twins."""
    need(len(node) in (5, 6), "a leaf of another form")
    goal_atom, multipliers, slopes, steps = node[1:5]
    program = subject.program
    if len(node) == 6:
        need(integer(node[5], 1, 1) == 1 and subject.twins is not None, "there is no form with twins")
        assert subject.twins is not None
        program = subject.twins
    leaf = Leaf(subject, cell, program, goal_atom, multipliers, slopes, steps)
    if cell.empty:
        return leaf
    integer(goal_atom, -1)
    for multiplier in items(multipliers):
        _require_multiplier(multiplier)
    for line in items(slopes):
        _require_line(items(line, 3))
    for step in items(steps):
        _require_step(items(step))
    require_in_range(leaf)
    return leaf


def _require_multiplier(multiplier: Json) -> None:
    need(len(items(multiplier)) in (3, 4), "a multiplier of another form")
    *what, weight = multiplier
    m, e = items(weight, 2)
    integer(m, 1, 2**256), integer(e, -4096, 4096)
    if len(what) == 3:
        integer(what[0], 0), integer(what[1], 0), integer(what[2], 0, 1)
    else:
        of, k = items(what, 2)
        integer(of, -1), integer(k, 0)


def _require_line(line: list[Json]) -> None:
    layer, neuron, k = line
    integer(layer, 0), integer(neuron, 0), integer(k, 0, 256)


def _require_step(step: list[Json]) -> None:
    if len(step) == 3:
        _require_line(step)
    elif step != ["again"]:
        index, k, side, multipliers = items(step, 4)
        integer(index, -1), integer(k, 0), integer(side, 0, 1)
        for multiplier in items(multipliers):
            _require_multiplier(multiplier)


def require_in_range(leaf: Leaf) -> None:
    """Everything that a leaf names is there."""
    integer(leaf.goal_atom, -1, len(leaf.subject.goal) - 1)
    for multiplier in leaf.multipliers:
        _find_fact(leaf, multiplier)
    for line in leaf.slopes:
        _find_line(leaf, line)
    for step in leaf.steps:
        if len(step) == 3:
            _find_line(leaf, step)
        elif len(step) == 4:
            index, k, _, multipliers = step
            if index == VARIABLES:
                integer(k, 0, leaf.program.variables - 1)
            else:
                _find_neuron(leaf, index, k)
            for multiplier in multipliers:
                _find_fact(leaf, multiplier)


def _find_fact(leaf: Leaf, multiplier: Json) -> None:
    *what, _ = multiplier
    if len(what) == 3:
        _find_neuron(leaf, what[0], what[1])
        return
    of, k = what
    clauses = leaf.subject.claim.clauses
    if of == -1:
        integer(k, 0, len(leaf.subject.goal) - 1)
    else:
        integer(k, 0, len(clauses[integer(of, 0, len(clauses) - 1)]) - 1)
        need(len(clauses[of]) == 1 or (of, k) in leaf.cell.cases, "an atom that is no fact here")


def _find_neuron(leaf: Leaf, layer: int, neuron: int) -> Layer:
    found = leaf.program.layers[integer(layer, 0, len(leaf.program.layers) - 1)]
    integer(neuron, 0, found.width - 1)
    return found


def _find_line(leaf: Leaf, line: Json) -> None:
    layer = _find_neuron(leaf, line[0], line[1])
    integer(line[2], 0, 8 if layer.kind == "twin" else 256)
