"""Goals that hold by the way a reward is built, told in exact arithmetic: a clip keeps to its ends, exp is above 0.

Bounds in floats charge for rounding, so of a reward that is clipped to 0 … 1 they say −1e-16 <= R, and no cutting of
boxes makes 0 of that. Here nothing is rounded. An affine form F over neurons and variables is bounded from below by

    F >= constant + Σ a·lower(v), or a·upper(v) where a < 0;

linear layers that read few sources are put in place of their outputs first, so that what occurs twice cancels. What
reads many, or would take more work than there is, counts as unbounded: every answer stays true, and some are missed.
Of single outputs, over all z or those that the bounds of z leave:

- relu: max(z, 0), so at least 0 and at least lower(z), at most max(upper(z), 0); behind a gate also 0;
- exp > 0, softplus > 0, sigmoid in (0, 1), tanh in (−1, 1), squares >= 0, all strict where that is written so; exp <= 1
  where z <= 0 and >= 1 where z >= 0; softplus > z; tanh and sigmoid are on the side of 0 and of 1/2 that z is on, and
  GELU and SiLU on the side of 0, never below their least values;
- products by the signs of their factors, or by the products of their ends where all are finite; z·z >= 0.

A goal's form is also told apart by a relu r = max(z, 0) that it reads: a·r + rest is the larger of rest and rest + a·z
if a > 0, and the smaller if a < 0, so it is positive if one of them is, or if both are. That is what min and max are
made of, and there z's own terms cancel against the rest.

A lower bound is a pair, a number and whether it is never reached. Pairs are ordered as they should be: (0, True), which
is `> 0`, says more than (0, False); the larger of two true ones is true, and of a maximum the larger of both parts'
bounds, of a minimum the smaller. A sum is never at its bound if one of its parts is not. Variables may be any numbers,
whatever the premise says: what rests on their ranges is left to bounds, which come with a proof. Only where layers are
curved they are in the smallest box around the claim's.

Of two calls, one is read as the other less twins (`differences`). A twin is max(z_A, 0) − max(z_B, 0), which is θ·d
with some 0 <= θ <= 1 and d = z_A − z_B: so it lies between 0 and d, and a·θ·d + rest between rest and rest + a·d. What
a premise's only atom says of variables, with any factor λ >= 0, may be taken off a form of variables: form >= form −
λ·fact. So `a.f <= b.f` tells on which side of 0 the first differences are, and networks that are monotone by the signs
of their weights, minima, maxima and clips of such included, are found to be so.

All this is about real numbers. As binary32 executes it a clip would keep to its ends as well, but nothing here says
that no execution gets to infinity or NaN, of which `proved` speaks, too; and exp may be 0. So nothing is told of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import inf

import numpy as np

from rewarden.spec_lang.boxes import hull
from rewarden.spec_lang.claim import AffineAtom, Box
from rewarden.verifier.differences import with_differences
from rewarden.verifier.fusion import SparseRow, expand_linear
from rewarden.verifier.program import INPUT, Layer, Program
from rewarden.verifier.proof_tree import dyadic

READS = 32  # sources of a neuron, at most
WORK = 2**12  # terms that are added up for one goal, at most
MANY_READS, MUCH_WORK = 1024, 2**18  # the same of differences
DEEP = 30  # neurons that bounds of neurons may lead to, one after the other
NEAR = 64  # relus whose lines are written down, at most
CASES, FEW_CASES = 24, 4  # relus that a form is told apart by: of a goal, and of what a smooth function reads

Low = tuple[Fraction | float, bool]  # a number or −inf, and whether it is never reached
UNBOUNDED: Low = (-inf, False)
ZERO, ABOVE_ZERO = (Fraction(0), False), (Fraction(0), True)
LEAST = {"gelu": Fraction(-17, 100), "silu": Fraction(-279, 1000)}  # below −0.16997… and −0.27846…


def goals_hold(program: Program, work: int | None = None) -> bool:
    """Whether all goals of the program's claim hold by construction, at every point of its boxes. `work`: terms that
    are added up for one goal, at most."""
    claim = program.claim
    if program.executed is not None or not len(claim.boxes):
        return False
    box = hull(claim.boxes) if program.curved else None
    return all(any(_holds(program, box, atom, work) for atom in goal) for goal in claim.goals)


def monotone_goals_hold(program: Program, work: int | None = None) -> bool:
    """The same of goals about two calls, with one read as the other less a difference (`differences`)."""
    if program.executed is not None or not len(program.claim.boxes):
        return False
    twins = with_differences(program)
    return twins is not None and goals_hold(twins, work)


def flat_leaf(program: Program, goal: int) -> list[object] | None:
    """A leaf of a proof that may settle the goal on each of its boxes, bounded by intervals: relus near the output have
    0 below them, as a clip needs. None where no atom of the goal holds by construction."""
    claim = program.claim
    if program.curved or program.executed is not None or not len(claim.boxes):
        return None
    for number, atom in enumerate(claim.goals[goal]):
        if _holds(program, None, atom):
            near = ExactBounds(program, None).relus_near(form_of(program, atom))
            return ["leaf", number, [], [[k, j, 0] for k, j in near], []]
    return None


def twin_leaf(program: Program, goal: int) -> list[object] | None:
    """A leaf about the program with twins (docs/formats.md) where sums of signs are enough, without cases: facts fix on
    which side of 0 the first differences are, as steps, and chords through 0 keep all others to theirs. So every bound
    that the goal needs is 0, which the kernel's integers hold exactly."""
    if program.curved or program.executed is not None or not len(program.claim.boxes):
        return None
    claim, twins = program.claim, with_differences(program)
    for number, atom in enumerate(claim.goals[goal] if twins is not None else ()):
        assert twins is not None
        bounds = ExactBounds(twins, None, 0)
        if bounds.reaches(form_of(twins, atom), atom.affine.constant, atom.strict, 0):
            layers = [k for k, layer in enumerate(twins.layers) if layer.pair is not None]
            slopes = [[k, j, 0] for k in layers for j in range(twins.layers[k].width)]
            return ["leaf", number, [], slopes, [step for k in layers for step in bounds.steps(k)], 1]
    return None


def _holds(program: Program, box: Box | None, atom: AffineAtom, work: int | None = None) -> bool:
    bounds = ExactBounds(program, box)
    bounds.left = work or bounds.left
    return bounds.reaches(form_of(program, atom), atom.affine.constant, atom.strict, CASES)


def form_of(program: Program, atom: AffineAtom) -> SparseRow:
    """The atom over variables and the layers of its calls, without its constant."""
    row: SparseRow = {INPUT: dict(atom.affine.variables)}
    for call, coefficient in atom.affine.calls:
        target = row.setdefault(program.outputs[call], {})
        target[0] = target.get(0, Fraction(0)) + coefficient
    return row


class ExactBounds:
    """Exact lower bounds of forms, and of neurons as they are met (mutable)."""

    def __init__(
        self, program: Program, box: Box | None, few: int = FEW_CASES, premise: Sequence[AffineAtom] = ()
    ) -> None:
        """`premise`: facts about variables that may be used beside the claim's own."""
        self.layers, self.box, self.few = program.layers, box, few
        twins = any(layer.pair is not None for layer in program.layers)
        self.reads, self.left = (MANY_READS, MUCH_WORK) if twins else (READS, WORK)
        facts = {c: clause[0] for c, clause in enumerate(program.claim.clauses) if len(clause) == 1}
        plain = {c: atom for c, atom in facts.items() if atom.affine.variables and not atom.affine.calls}
        self.facts = (plain if twins else {}) | {-1 - k: atom for k, atom in enumerate(premise)}
        self.known: dict[tuple[int, int, int], Low] = {}  # layer, neuron, and 1 or −1: of v, and of −v
        self.depth = 0

    # ── forms ──────────────────────────────────────────────────────────────────────────────────
    def reaches(self, row: SparseRow, constant: Fraction, strict: bool, cases: int) -> bool:
        """Whether Σ row·v + constant is at least 0 everywhere, or above 0 if `strict`."""
        row, constant = self.written_out(row, constant)
        if self.sum_of(row, constant) >= (Fraction(0), strict):
            return True
        relu = max((k for k in row if k != INPUT and self.layers[k].kind in ("relu", "twin")), default=None)
        if relu is None or cases == 0 or self.left <= 0:
            return False
        neuron = max(row[relu])
        weight = row[relu][neuron]
        rest = {k: {j: a for j, a in terms.items() if (k, j) != (relu, neuron)} for k, terms in row.items()}
        on, shift = self.with_inner(relu, neuron, weight, rest, constant)
        either = weight > 0 and self.layers[relu].kind == "relu"
        if either and self.sum_of(*self.written_out(on, shift)) >= (Fraction(0), strict):
            return True  # where what is on cancels, cases of what is left need not be gone through
        first = self.reaches(rest, constant, strict, cases - 1)
        if first == either:
            return first
        return self.reaches(on, shift, strict, cases - 1)

    def with_inner(
        self, layer: int, neuron: int, weight: Fraction, row: SparseRow, constant: Fraction
    ) -> tuple[SparseRow, Fraction]:
        """row + weight·z, z the pre-activation of the neuron."""
        found = {k: dict(terms) for k, terms in row.items()}
        return found, constant + expand_linear(self.layers[layer], {neuron: weight}, found)

    def written_out(self, row: SparseRow, constant: Fraction) -> tuple[SparseRow, Fraction]:
        """The same form without outputs of linear layers that read few sources, and without zeros."""
        row = {k: dict(terms) for k, terms in row.items()}
        for k in sorted(self.linear_below(row), reverse=True):
            short = {j: a for j, a in row.get(k, {}).items() if a and _reads(self.layers[k], j) <= self.reads}
            if short and self.left > 0:
                row[k] = {j: a for j, a in row[k].items() if j not in short}
                constant += expand_linear(self.layers[k], short, row)
                self.left -= sum(map(len, row.values()))
        kept = {k: {j: a for j, a in terms.items() if a} for k, terms in row.items()}
        return {k: terms for k, terms in kept.items() if terms}, constant

    def linear_below(self, row: SparseRow) -> set[int]:
        """Linear layers that the form reads, one through the other."""
        found: set[int] = set()
        waiting = list(row)
        while waiting:
            k = waiting.pop()
            if k != INPUT and k not in found and self.layers[k].kind == "linear":
                found.add(k)
                waiting += [block.source for block in self.layers[k].blocks]
        return found

    def sum_of(self, row: SparseRow, constant: Fraction) -> Low:
        """A lower bound of a form that is written out, term by term."""
        total, open_ = constant, False
        self.left -= 1 + sum(map(len, row.values()))
        if self.facts and INPUT in row:
            low, open_, _ = self.over_inputs(row[INPUT])
            if isinstance(low, float):
                return UNBOUNDED
            total = total + low
        for k, terms in row.items():
            for j, a in terms.items() if k != INPUT or not self.facts else ():
                low, never = self.output(k, j, 1 if a > 0 else -1)
                if isinstance(low, float):
                    return UNBOUNDED
                total, open_ = total + abs(a) * low, open_ or never
        return total, open_

    def relus_near(self, row: SparseRow) -> list[tuple[int, int]]:
        """Relus that the form reads, and those that they read, by way of what reads few sources."""
        found: set[tuple[int, int]] = set()
        waiting = [row]
        while waiting and self.left > 0:
            form, _ = self.written_out(waiting.pop(), Fraction(0))
            self.left -= 1
            for k in form:
                if k == INPUT or self.layers[k].kind != "relu":
                    continue
                for j in form[k]:
                    if (k, j) not in found and _reads(self.layers[k], j) <= self.reads and len(found) < NEAR:
                        found.add((k, j))
                        waiting.append(self.with_inner(k, j, Fraction(1), {}, Fraction(0))[0])
        return sorted(found)

    def over_inputs(self, terms: Mapping[int, Fraction]) -> tuple[Fraction | float, bool, tuple[int, Fraction] | None]:
        """Of a form over variables: over the box, or of nothing, when a multiple of a fact is taken off; which."""

        def least(form: Mapping[int, Fraction]) -> Fraction | float:
            if self.box is None:
                return -inf if any(form.values()) else Fraction(0)
            return sum((a * self.box[j][0 if a > 0 else 1] for j, a in form.items()), Fraction(0))

        best: tuple[Fraction | float, bool, tuple[int, Fraction] | None] = (least(terms), False, None)
        for clause, fact in self.facts.items():
            (first, slope), *_ = fact.affine.variables
            factor = terms.get(first, Fraction(0)) / slope
            if factor > 0:
                rest = dict(terms)
                for j, a in fact.affine.variables:
                    rest[j] = rest.get(j, Fraction(0)) - factor * a
                found = least(rest) - factor * fact.affine.constant
                if (found, fact.strict) > best[:2]:
                    best = found, fact.strict, (clause, factor)
        return best

    def steps(self, k: int) -> list[list[object]]:
        """Signs that facts give to pre-activations of layer k, as steps of a proof."""
        found: list[list[object]] = []
        for j in range(self.layers[k].width):
            for side, sign in ((0, 1), (1, -1)):
                row, constant = self.written_out(*self.with_inner(k, j, Fraction(sign), {}, Fraction(0)))
                if set(row) != {INPUT}:
                    continue
                low, _, used = self.over_inputs(row[INPUT])
                if used is not None and low + constant >= 0 and _is_short(used[1]):
                    found.append([k, j, side, [[used[0], 0, list(dyadic(used[1]))]]])
                    break
        return found

    # ── neurons ────────────────────────────────────────────────────────────────────────────────
    def output(self, k: int, j: int, sign: int) -> Low:
        """Of sign·v, v a variable (k = −1) or an output of layer k."""
        if k == INPUT:
            if self.box is None:
                return UNBOUNDED
            return (self.box[j][0] if sign > 0 else -self.box[j][1]), False
        if (k, j, sign) not in self.known:
            self.left -= 1
            if self.left <= 0 or self.depth >= DEEP:
                return self.anyway(self.layers[k], sign)
            self.depth += 1
            self.known[k, j, sign] = max(self.anyway(self.layers[k], sign), self.activated(k, j, sign))
            self.depth -= 1
        return self.known[k, j, sign]

    def anyway(self, layer: Layer, sign: int) -> Low:
        """Whatever the layer reads."""
        match layer.kind, layer.function, sign:
            case ("relu" | "gated", _, 1) | (_, "square", 1):
                return ZERO
            case _, "exp" | "softplus" | "sigmoid", 1:
                return ABOVE_ZERO
            case (_, "tanh", _) | (_, "sigmoid", -1):
                return Fraction(-1), True
            case _, "gelu" | "silu", 1:
                assert layer.function is not None
                return LEAST[layer.function], True
            case _:
                return UNBOUNDED

    def activated(self, k: int, j: int, sign: int) -> Low:
        """By what is known of the pre-activation."""
        layer = self.layers[k]
        match layer.kind:
            case "linear":
                return self.inner(k, j, sign)
            case "relu":  # −max(z, 0) = min(−z, 0)
                return self.inner(k, j, 1) if sign > 0 else min(self.inner(k, j, -1), ZERO)
            case "twin":  # between 0 and z
                return min(self.inner(k, j, sign), ZERO)
            case "gated":
                return ZERO if sign > 0 else min(self.inner(k, j, -1), ZERO)
            case "smooth":
                return self.smooth(layer, k, j, sign)
            case "product":
                return self.product(k, j, j + layer.width, sign)
            case _:
                return UNBOUNDED

    def inner(self, k: int, j: int, sign: int) -> Low:
        """Of sign·z, z the pre-activation."""
        if self.left <= 0 or _reads(self.layers[k], j) > self.reads:
            return UNBOUNDED
        row, constant = self.written_out(*self.with_inner(k, j, Fraction(sign), {}, Fraction(0)))
        found = self.sum_of(row, constant)
        if found < ZERO and self.layers[k].curved and self.reaches(row, constant, False, self.few):
            return ZERO
        return found

    def smooth(self, layer: Layer, k: int, j: int, sign: int) -> Low:
        z = self.inner(k, j, sign)
        side = (Fraction(0), z[0] > 0 or z[1])  # of sign·f where f has the sign of z
        match layer.function, sign:
            case "tanh" | "gelu" | "silu", _ if z >= ZERO:
                return side
            case "sigmoid", _ if z >= ZERO:
                return Fraction(sign, 2), side[1]
            case "exp", _ if z >= ZERO:
                return Fraction(sign), side[1]
            case "softplus", 1:
                return z[0], True
            case "square", _:
                return self.product(k, j, j, sign)
            case _:
                return UNBOUNDED

    def product(self, k: int, j: int, i: int, sign: int) -> Low:
        """Of sign·z_j·z_i."""
        ends = [(self.inner(k, n, 1), self.inner(k, n, -1)) for n in (j, i)]
        (low, high), (other_low, other_high) = ends
        if self.same(k, j, i) and sign > 0:
            return ZERO[0], (low > ZERO or high > ZERO)
        for one, other in (
            ((low, other_low), (high, other_high)) if sign > 0 else ((low, other_high), (high, other_low))
        ):
            if one >= ZERO and other >= ZERO:
                return Fraction(0), one > ZERO and other > ZERO
        if any(isinstance(end[0], float) for pair in ends for end in pair):
            return UNBOUNDED
        return min(sign * x * y for x in (low[0], -high[0]) for y in (other_low[0], -other_high[0])), False

    def same(self, k: int, j: int, i: int) -> bool:
        """Whether two pre-activations of a layer are equal forms."""
        if j == i:
            return True
        forms = [self.written_out(*self.with_inner(k, n, Fraction(1), {}, Fraction(0))) for n in (j, i)]
        return forms[0] == forms[1]


def _is_short(factor: Fraction) -> bool:
    """Whether a proof can name it."""
    bottom = factor.denominator
    return bottom & (bottom - 1) == 0 and bottom < 2**1024 and factor.numerator < 2**250


def _reads(layer: Layer, neuron: int) -> int:
    """How many sources at most: entries that are not binary64 may be in the weights, too, as their nearest ones."""
    exact = sum(row == neuron for block in layer.blocks for row, _ in block.exact or ())
    return exact + sum(int(np.count_nonzero(block.weight[neuron])) for block in layer.blocks)
