"""The float64 tier, bounds: `kernel_steps.Stepping` in binary64, of many leaves at once, every rounding accounted for.

What is true of the numbers, at every point x of which a leaf speaks (its S, docs/certificate.md):

- `ranges` and `inner` hold: low ≤ value ≤ high. Each was rounded outward by more than it can be wrong.
- `lines` hold: lower·z − drop ≤ output ≤ upper·z + shift. Slopes are binary64 numbers, 0 ≤ slope ≤ 1; intercepts are
  ≥ 0, rounded up until the line is above (below) the function at both ends of z.
- Leaves of a batch are mostly neighbours, so most neurons are on in all of them (output = z there), or off in all of
  them (output = 0). The others are *kept*. z of a layer is *read* as what it is of kept outputs and variables alone:
  |z − (Σ parts·kept + constant)| ≤ error. Bounds only ever shrink, so what is on or off stays so.
- A batch of functionals is (rows over kept outputs and variables, constant, error), taken as exact: the functional that
  is meant is at least constant + Σ row·kept − error. Each operation adds to `error` more than it can be wrong by.

How wrong that is:

- A sum of n products, in any order and with or without fused operations, is wrong by at most γₙ·Σ|products| (Higham,
  Accuracy and Stability, 3.1), γₙ = n·u / (1 − n·u), u = 2⁻⁵³, and by less than TINY for what underflows. `eps` is more
  than twice γ of n + 14 operations: of weights rounded to binary64, of the product of a coefficient with a slope.
- A coefficient that is wrong by e is wrong by e·|v| about a source v, and |v| ≤ `most`, over all leaves of the batch.
- To read z of a layer: sums of products of weights with parts are wrong by eps·(|W|·`size` + |b|), where `size` ≥ |z|
  of each source, added up from absolute values (`most` of what is kept); and |W|·error comes from the sources.
- To replace a kept output by c·z: each entry of the new rows is a sum of products over all layers replaced so far, and
  no more than `terms` of them. So |c|·(error + eps(terms)·size) pays for z's own error, for the products and for all
  sums into which they go, constants included. It is added to `error` at each layer, so sums of sums are paid for.
- `error` is itself a sum of at most `terms` numbers ≥ 0, so off by a factor of less than 1 + eps(terms), which it is
  multiplied with in the end. Underflow is charged per layer (`tiny`), not per coefficient: less than TINY of all that
  a coefficient which was lost may be about, |z| ≤ size + error.

A leaf in which something is not finite is `lost`: nothing is said of it. Rows of different leaves never meet: what is
computed for one leaf depends on others by `most` and by what is kept, which hold for each.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from rewarden.certificate.kernel_bounds import Box, Facts, Side
from rewarden.certificate.kernel_json import refuse
from rewarden.certificate.kernel_program import INPUT, SLOPES, Affine, Program
from rewarden.certificate.kernel_twins import OFF, ON
from rewarden.certificate.tier_float64_matrices import apply, columns_of, product, pull, rows_of, stacked, sum_of
from rewarden.certificate.tier_float64_program import (
    MAX_DENSE,
    TINY,
    UP,
    Flags,
    Places,
    Vector,
    chord,
    down,
    ends_of,
    eps,
    form_of,
    layers_of,
    twin_line,
    up,
)

QUICK, LIKE_THE_KERNEL, ALL = 1, 2, 3
FEW = 16  # variables for which planes are worth their while
MAX_MIXED = 1 << 11  # neurons of a layer of which some are kept: a diagonal is then a matrix
CACHED = 1 << 17  # numbers in the rows of functionals that are replaced together
LEAST = -float(np.finfo(np.float64).max)


class Lines(NamedTuple):
    """Leaf × kept neuron."""

    lower: Vector
    drop: Vector | None  # None: 0
    upper: Vector
    shift: Vector


class Read(NamedTuple):
    """z of neurons, as what it is of kept outputs."""

    parts: dict[int, Vector]  # source → neuron × kept, or the diagonal
    constant: Vector
    error: Vector
    size: Vector  # ≥ Σ |parts|·most + |constant|

    def of(self, places: Places) -> Read:
        """Of some neurons, any number of times each."""
        parts = {source: rows_of(part, places) for source, part in self.parts.items()}
        return Read(parts, self.constant[places], self.error[places], self.size[places])

    def less(self, places: Places) -> Read:
        """Of some neurons, in their order."""
        return self if len(places) == len(self.constant) else self.of(places)


class Output(NamedTuple):
    """A layer's output: of neurons that are on, z; of those that are kept, themselves; of others, 0."""

    on: Places
    kept: Places
    z: Read  # of those on
    most: Vector  # of those kept: ≥ |output| in every leaf


class Planes(NamedTuple):
    """(middle − half)·t − η ≤ output ≤ (middle + half)·t + η, η ≤ eps(0)·size, of kept neurons: planes over the
    variables, x = at + reach·t, |t| ≤ 1, with t = 1 for the constants."""

    middle: Vector  # kept × leaf × (variable, 1)
    half: Vector
    size: Vector  # of those kept: ≥ what all terms of both come to in any leaf


class Functionals(NamedTuple):
    rows: dict[int, Vector]  # source → functional × kept
    leaf: Places
    constant: Vector
    error: Vector


class Terms:
    """Functionals as sums: what each term is about, and its weight (mutable)."""

    def __init__(self) -> None:
        self.of: dict[tuple[int, bool], list[tuple[int, int, float, float]]] = {}
        self.constants: list[tuple[int, float, float]] = []

    def add(self, k: int, source: int, output: bool, neuron: int, weight: float, entry: float) -> None:
        """weight · entry, each rounded once, times z (or the output) of a neuron, to functional k."""
        charge = eps(0) * abs(weight * entry) + TINY * (1 + abs(weight) + abs(entry))
        self.of.setdefault((source, output), []).append((k, neuron, weight * entry, charge))

    def add_constant(self, k: int, weight: float, entry: float) -> None:
        charge = eps(0) * abs(weight * entry) + TINY * (1 + abs(weight) + abs(entry))
        self.constants.append((k, weight * entry, charge))


class FloatBounds:
    """Bounds of several leaves (mutable): arrays are leaf × neuron. `named`: layers that steps are about."""

    def __init__(
        self,
        program: Program,
        boxes: Sequence[Box],
        slopes: Sequence[Mapping[tuple[int, int], int]],
        signs: Sequence[Collection[Side]],
        effort: int,
        named: Iterable[int] = (),
    ) -> None:
        self.program, self.layers, self.effort, self.leaves = program, layers_of(program), effort, len(boxes)
        self.terms = 2 * (sum(len(layer.bias) for layer in self.layers) + program.variables) + 4 * len(self.layers)
        self.ranges: dict[int, tuple[Vector, Vector]] = {INPUT: ends_of(boxes)}
        self.inner: dict[int, tuple[Vector, Vector]] = {}
        self.lost = ~_finite(self.ranges[INPUT])
        self.empty = np.zeros(self.leaves, dtype=bool)  # bounds have crossed: the leaf speaks of no point
        self.chosen: dict[int, Vector] = {}
        for leaf, some in enumerate(slopes):
            for (layer, neuron), slope in some.items():
                self.name(leaf, layer, neuron, slope)
        self.signs: dict[int, list[Side]] = {}  # leaf, neuron, side
        for leaf, each in enumerate(signs):
            for layer, neuron, side in each:
                self.signs.setdefault(layer, []).append((leaf, neuron, side))
        self.paired = {k for layer in self.layers for k in layer.pair or ()}
        self.apart = {*named, *self.signs} | {layer.gate_layer for layer in self.layers if layer.kind == "gated"}
        self.begin()

    def begin(self) -> None:
        n, (low, high) = self.program.variables, self.ranges[INPUT]
        every, none = np.arange(n), Read({}, *np.zeros((3, 0)))
        self.outputs: dict[int, Output] = {INPUT: Output(every[:0], every, none, self.most(low, high))}
        self.lines: dict[int, Lines | None] = {}
        self.reads: list[Read] = []
        self.entries = 0
        self.planes: dict[int, Planes] = {}
        if n <= FEW and self.effort < LIKE_THE_KERNEL:
            self.planes[INPUT] = self.cell()

    def cell(self) -> Planes:
        """The variables themselves."""
        low, high = self.ranges[INPUT]
        n, at = low.shape[1], (low + high) / 2
        reach = np.maximum(high - at, at - low) * UP
        found = np.zeros((n, self.leaves, n + 1))
        found[np.arange(n), :, np.arange(n)], found[:, :, n] = reach.T, at.T
        return Planes(found, np.zeros_like(found), (np.abs(at) + reach)[self.live].max(0, initial=0.0) * UP + TINY)

    @property
    def live(self) -> Flags:
        return np.asarray(~(self.lost | self.empty))

    @property
    def known(self) -> int:
        """How many layers are."""
        return len(self.reads)

    def most(self, low: Vector, high: Vector) -> Vector:
        found: Vector = np.maximum(np.abs(low), np.abs(high))[self.live].max(0, initial=0.0)
        return found

    # ── one layer after the other ──────────────────────────────────────────────────────────────
    def advance(self, count: int) -> None:
        for index in range(self.known, count):
            self.add(index, self.live)

    def again(self, taking: Flags) -> None:
        """All layers once more, with what is known by now, in the leaves that take part."""
        self.advance(len(self.layers))
        self.begin()
        for index in range(len(self.layers)):
            self.add(index, taking & self.live)

    def add(self, index: int, taking: Flags) -> None:
        layer = self.layers[index]
        self.reads.append(self.read(index))
        apart = layer.region or index in self.apart or self.entries > MAX_DENSE
        if layer.kind != "linear" or apart or self.effort >= LIKE_THE_KERNEL or index in self.inner:
            self.bound(index, taking)
        if layer.kind == "linear" and not apart:
            self.pass_through(index)
        else:
            self.settle(index)

    def read(self, index: int) -> Read:
        """z of a layer as what it is of what is kept."""
        layer = self.layers[index]
        parts: dict[int, Vector] = {}
        constant, error, size, count, all_of = layer.bias, np.zeros(len(layer.bias)), np.abs(layer.bias), 0, 0.0
        for source, weights in layer.blocks:
            on, kept, z, most = self.outputs[source]
            count, all_of = count + len(on) + len(kept), all_of + z.size.sum() + z.error.sum()
            if len(kept):
                own = columns_of(weights, kept)
                parts[source] = sum_of(parts[source], own) if source in parts else own
                size = size + apply(np.abs(own), most)
            if len(on):
                through = columns_of(weights, on)
                for below, part in z.parts.items():
                    if through.ndim + part.ndim > 2 and self.entries + len(constant) * part.shape[-1] > 2 * MAX_DENSE:
                        refuse("the program is too large for the float64 tier")
                    more = product(through, part)
                    parts[below] = sum_of(parts[below], more) if below in parts else more
                constant = constant + apply(through, z.constant)
                error = error + apply(np.abs(through), z.error)
                size = size + apply(np.abs(through), z.size)
        self.entries += sum(part.size for part in parts.values())
        if self.entries > 2 * MAX_DENSE:
            refuse("the program is too large for the float64 tier")
        tiny = TINY * (1 + sum(self.outputs[source].most.sum() for source in parts) + size.sum() + all_of)
        error = (error + eps(count) * size) * (1 + eps(count)) + tiny
        size = np.abs(constant)
        for source, part in parts.items():
            size = size + apply(np.abs(part), self.outputs[source].most)
        found = Read(parts, constant, error, size * (1 + eps(self.terms)))
        if not all(np.isfinite(x).all() for x in (constant, error, found.size, *parts.values())):
            refuse("a bound is beyond binary64")
        return found

    def intervals(self, index: int) -> tuple[Vector, Vector]:
        """Of z, over what is kept."""
        if self.effort >= LIKE_THE_KERNEL:
            return self.by_layers(index)
        z = self.reads[index]
        at, spread = z.constant, np.zeros((self.leaves, len(z.constant)))
        for source, part in z.parts.items():
            kept = self.outputs[source].kept
            low, high = (columns_of(x, kept) for x in self.ranges[source])
            at, spread = at + pull((low + high) / 2, part.T), spread + pull((high - low) / 2, np.abs(part.T))
        slack = z.error + 4 * eps(self.terms) * z.size + TINY * (1 + z.size.sum())
        return at - spread - slack, at + spread + slack

    def by_layers(self, index: int) -> tuple[Vector, Vector]:
        """Of z, over the outputs that the layer reads."""
        layer, count = self.layers[index], 0
        at, spread, reach = layer.bias, np.zeros(len(layer.bias)), np.abs(layer.bias)
        for source, weights in layer.blocks:
            low, high = self.ranges[source]
            size = np.maximum(np.abs(low), np.abs(high))
            at, spread = at + pull((low + high) / 2, weights.T), spread + pull((high - low) / 2, np.abs(weights.T))
            reach = reach + pull(size, np.abs(weights.T)) + TINY * size.sum(1, keepdims=True)
            count += size.shape[1]
        slack = 4 * eps(count) * (reach * UP + TINY) + TINY
        return at - spread - slack, at + spread + slack

    def over_cell(self, index: int) -> tuple[Planes, Vector, Vector]:
        """Planes below and above z of a layer, with nothing left out; and what they say of it."""
        z, n = self.reads[index], self.program.variables
        middle = half = np.zeros((len(z.constant), self.leaves, n + 1))
        size = np.abs(z.constant)
        for source, part in z.parts.items():
            below = self.planes[source]
            middle, half = middle + stacked(part, below.middle), half + stacked(np.abs(part), below.half)
            size = size + apply(np.abs(part), below.size)
        slack = z.error + 4 * eps(self.terms) * size + TINY * (1 + size.sum())
        lower, upper = middle - half, middle + half
        lower[:, :, n] += (z.constant - slack)[:, None]
        upper[:, :, n] += (z.constant + slack)[:, None]
        low = lower[:, :, n] - np.abs(lower[:, :, :n]).sum(2) - slack[:, None]
        high = upper[:, :, n] + np.abs(upper[:, :, :n]).sum(2) + slack[:, None]
        return Planes(lower, upper, size), low.T, high.T

    def bound(self, index: int, taking: Flags) -> None:
        layer = self.layers[index]
        low, high = self.intervals(index)
        if self.planes:
            self.between, *ends = self.over_cell(index)
            low, high = np.fmax(low, ends[0]), np.fmin(high, ends[1])
        if index in self.inner:
            known = self.inner[index]
            low, high = np.maximum(low, known[0]), np.minimum(high, known[1])
            low, high = np.where(taking[:, None], low, known[0]), np.where(taking[:, None], high, known[1])
        for leaf, neuron, side in self.signs.get(index, ()):
            if side:
                high[leaf, neuron] = min(high[leaf, neuron], 0.0)
            else:
                low[leaf, neuron] = max(low[leaf, neuron], 0.0)
        if layer.pair is not None:
            (low_a, high_a), (low_b, high_b) = (self.inner[k] for k in layer.pair)
            low, high = np.maximum(low, down(low_a - high_b)), np.minimum(high, up(high_a - low_b))
            loose = np.asarray(~(((low_a >= 0) & (low_b >= 0)) | ((high_a <= 0) & (high_b <= 0))))
        elif layer.kind == "linear":
            loose = np.full(low.shape, layer.region)
        else:
            loose = np.asarray((low < 0) & (high > 0))
        if self.effort == ALL:
            loose = np.ones_like(loose)
        loose &= taking[:, None]
        done = self.effort < LIKE_THE_KERNEL and self.reads[index].parts.keys() <= {INPUT}  # there intervals do as well
        if self.effort and loose.any() and not done:
            either = self.effort < LIKE_THE_KERNEL and layer.kind == "relu" and index not in self.paired
            near = np.asarray(high < -low) if either else np.zeros_like(loose)  # the upper end is the one nearer to 0
            for upper in (True, False):  # which often settles the neuron
                self.sharpen(index, low, high, loose & (near == upper), upper)
            for upper in (True, False):
                rest = (low < 0) & (high > 0) & loose if either else loose
                self.sharpen(index, low, high, rest & (near != upper), upper)
        self.inner[index] = low, high
        self.lost |= ~_finite((low, high))  # bounds that overflowed are none, and cross nothing
        self.empty |= (low > high).any(1) & self.live

    def ends(self, index: int) -> tuple[Vector, Vector]:
        """Bounds of z of a layer that is known; of those which others need not, made when they are asked for."""
        if index not in self.inner:
            self.inner[index] = self.ranges[index] = self.intervals(index)
        return self.inner[index]

    def pass_through(self, index: int) -> None:
        """A linear layer of which nothing is kept: others read it as what it reads itself."""
        if index in self.inner:
            self.ranges[index] = self.inner[index]
        every = np.arange(len(self.layers[index].bias))
        self.outputs[index] = Output(every, every[:0], self.reads[index], np.zeros(0))

    def settle(self, index: int) -> None:
        """What a layer's bounds say of its outputs: ranges, lines, and which neurons are kept."""
        if self.layers[index].kind == "linear":
            every = np.arange(len(self.layers[index].bias))
            self.ranges[index], self.lines[index] = self.inner[index], None
            self.outputs[index] = self.output(index, every[:0], every)
        else:
            self.settle_lines(index)
        if self.planes:
            self.planes[index] = self.flattened(index)

    def settle_lines(self, index: int) -> None:
        lines = self.lines_of(index)
        zero = np.asarray((lines.lower == 0) & (lines.upper == 0) & (lines.shift == 0))
        same = np.asarray((lines.lower == 1) & (lines.upper == 1) & (lines.shift == 0))
        if lines.drop is not None:
            zero, same = zero & (lines.drop == 0), same & (lines.drop == 0)
        dead = ~self.live[:, None]
        off: Flags = np.logical_and.reduce(zero | dead)
        on: Flags = np.logical_and.reduce(same | dead) & ~off
        if not (on.all() or off.all()) and (len(on) > MAX_MIXED or self.entries > MAX_DENSE):
            off, on = np.zeros_like(off), np.zeros_like(on)
        self.outputs[index] = self.output(index, np.flatnonzero(on), np.flatnonzero(~(on | off)))
        self.narrow(index, lines)

    def flattened(self, index: int) -> Planes:
        """Planes below and above the outputs of a layer that are kept, from those of its z."""
        lines, kept, n = self.lines[index], self.outputs[index].kept, self.program.variables
        lower, upper = self.between.middle[kept], self.between.half[kept]
        size = np.zeros(len(kept))
        if lines is not None:
            lower, upper = lower * lines.lower.T[:, :, None], upper * lines.upper.T[:, :, None]
            upper[:, :, n] += lines.shift.T
            size = lines.shift[self.live].max(0, initial=0.0)
            if lines.drop is not None:
                lower[:, :, n] -= lines.drop.T
                size = size + lines.drop[self.live].max(0, initial=0.0)
        middle, half = (lower + upper) / 2, (upper - lower) / 2
        each = (np.abs(middle) + np.abs(half)).sum(2)
        return Planes(middle, half, (size + each[:, self.live].max(1, initial=0.0)) * UP + TINY)

    def output(self, index: int, on: Places, kept: Places) -> Output:
        low, high = self.ranges[index]
        return Output(on, kept, self.reads[index].less(on), self.most(low[:, kept], high[:, kept]))

    def narrow(self, index: int, lines: Lines) -> None:
        """Lines of what is kept."""
        kept = self.outputs[index].kept
        lower, drop, upper, shift = lines
        drop = drop if drop is None else columns_of(drop, kept)
        self.lines[index] = Lines(columns_of(lower, kept), drop, columns_of(upper, kept), columns_of(shift, kept))

    def settled_again(self, index: int) -> None:
        """The same with better bounds, where nothing else is kept than before; and so of layers that ask for them."""
        if self.layers[index].kind == "linear":
            self.ranges[index] = self.ends(index)
        else:
            self.narrow(index, self.lines_of(index))
        for later in range(index + 1, self.known):
            layer = self.layers[later]
            if index in (layer.pair or ()) or (layer.kind == "gated" and layer.gate_layer == index):
                self.settled_again(later)

    # ── lines ──────────────────────────────────────────────────────────────────────────────────
    def lines_of(self, index: int) -> Lines:
        """Of all neurons of a layer; sets the ranges of its outputs, and finds leaves that are lost."""
        layer, (low, high) = self.layers[index], self.inner[index]
        if layer.pair is not None:
            lines = self.twin(index, low, high, self.inner[layer.pair[0]], self.inner[layer.pair[1]])
        else:
            lines = self.relu(index, low, high)
        known = *self.ranges[index], low, high, lines.lower, lines.upper, lines.shift
        self.lost |= ~_finite(known if lines.drop is None else (*known, lines.drop))
        return lines

    def relu(self, index: int, low: Vector, high: Vector) -> Lines:
        layer = self.layers[index]
        on, loose = low >= 0, (low < 0) & (high > 0)
        upper, shift = chord(low, high)
        upper, shift = np.where(loose, upper, on * 1.0), np.where(loose, shift, 0.0)
        lower = np.where((high > -low) | (layer.kind == "gated"), 1.0, 0.0)
        if index in self.chosen:
            slopes = self.chosen[index]
            lower = np.where(slopes >= 0, slopes / SLOPES, lower)
        lower = np.where(loose, lower, on * 1.0)
        least, most = np.maximum(low, 0.0), np.maximum(high, 0.0)
        if layer.kind == "gated":
            rows = self.ends(layer.gate_layer)
            opened = (rows[0] >= layer.gate[1]).any(1, keepdims=True)
            closed = ~opened & (rows[1] < layer.gate[0]).all(1, keepdims=True)
            least, lower = np.where(closed, least, 0.0), np.where(closed, lower, 0.0)
            most, upper, shift = (np.where(opened, 0.0, x) for x in (most, upper, shift))
        self.ranges[index] = least, most
        return Lines(lower, None, upper, shift)

    def twin(self, index: int, low: Vector, high: Vector, a: tuple[Vector, Vector], b: tuple[Vector, Vector]) -> Lines:
        rise, fall = np.maximum(-a[0], 0.0), np.maximum(-b[0], 0.0)
        top, floor = np.maximum(a[1], 0.0), np.maximum(b[1], 0.0)
        on, off = (a[0] >= 0) & (b[0] >= 0), (a[1] <= 0) & (b[1] <= 0)
        twice = low + high
        below = np.argmin([np.where(high <= 0, -twice, np.maximum(-low, 0)), 2 * fall - twice, 2 * floor], 0)
        above = np.argmin([np.where(low >= 0, twice, np.maximum(high, 0)), 2 * rise + twice, 2 * top], 0)
        chosen = np.where(on, 4 * ON, np.where(off, 4 * OFF, 3 * below + above))
        if index in self.chosen:
            named = self.chosen[index]
            chosen = np.where(named >= 0, named, chosen).astype(int)
        below, above = np.divmod(chosen, 3)
        least = np.maximum(np.minimum(low, 0), np.maximum(down(low - fall), down(np.maximum(a[0], 0) - floor)))
        most = np.minimum(np.maximum(high, 0), np.minimum(up(high + rise), up(top - np.maximum(b[0], 0))))
        self.ranges[index] = least, most
        return Lines(*twin_line(-high, -low, fall, floor, below), *twin_line(low, high, rise, top, above))

    # ── what leaves ask for ────────────────────────────────────────────────────────────────────
    def name(self, leaf: int, layer: int, neuron: int, slope: int) -> None:
        """The line of a neuron, where its layer is settled from here on."""
        if layer not in self.chosen:
            self.chosen[layer] = np.full((self.leaves, len(self.layers[layer].bias)), -1.0)
        self.chosen[layer][leaf, neuron] = slope

    def steps(self, asked: Sequence[tuple[int, int, int, int, Facts]]) -> None:
        """Better bounds of one pre-activation, or of a variable (layer −1), for each of some leaves: leaf, layer,
        neuron, side and facts. No leaf asks twice; what is said of them all was known before."""
        self.advance(max(layer for _, layer, *_ in asked) + 1)
        terms, failed = Terms(), []
        for k, (leaf, layer, neuron, side, facts) in enumerate(asked):
            terms.add(k, layer, layer == INPUT, neuron, 1.0, -1.0 if side else 1.0)
            try:
                self.subtract(terms, k, leaf, facts)
            except OverflowError:
                failed.append(leaf)
        bounds = self.lower_bounds(self.functionals(terms, np.array([leaf for leaf, *_ in asked])))
        self.lost[failed] = True
        touched = set()
        for (leaf, layer, neuron, side, _), bound in zip(asked, bounds.tolist(), strict=True):
            if not self.live[leaf]:
                continue
            of = self.ranges if layer == INPUT else self.inner
            if layer not in touched:  # others may hold these arrays, too
                low, high = of[INPUT] if layer == INPUT else self.ends(layer)
                of[layer] = low.copy(), high.copy()
                touched.add(layer)
            low, high = of[layer]
            if side:
                high[leaf, neuron] = min(high[leaf, neuron], -bound)
            else:
                low[leaf, neuron] = max(low[leaf, neuron], bound)
            self.empty[leaf] |= low[leaf, neuron] > high[leaf, neuron]
        for layer in sorted(touched - {INPUT}):
            self.settled_again(layer)

    def choose(self, asked: Sequence[tuple[int, int, int, int]]) -> None:
        """Lines of neurons, from here on: leaf, layer, neuron, slope."""
        for each in asked:
            self.name(*each)
        for layer in sorted({layer for _, layer, _, _ in asked if layer < self.known}):
            self.settled_again(layer)

    def least_of(self, facts: Sequence[Facts], leaf: Places | None = None) -> Vector:
        """A lower bound of each −Σ λ·fact in its leaf (the k-th in the k-th); nothing of those that are lost."""
        leaf = np.arange(self.leaves) if leaf is None else leaf
        terms, live = Terms(), self.live[leaf].tolist()
        for k, (at, some) in enumerate(zip(leaf.tolist(), facts, strict=True)):
            try:
                if live[k]:
                    self.subtract(terms, k, at, some)
            except OverflowError:
                self.lost[at] = True
        found = self.lower_bounds(self.functionals(terms, leaf))
        return np.where(self.lost[leaf], LEAST, found)

    def subtract(self, terms: Terms, k: int, leaf: int, facts: Facts) -> None:
        """Take Σ λ·fact off functional k, of a leaf."""
        for fact, weight in facts:
            if isinstance(fact, Affine):
                factor, form = -_number(weight), form_of(self.program, fact)
                terms.add_constant(k, factor, form.constant)
                for source, places, entries in form.parts:
                    self.advance(source + 1)
                    for neuron, entry in zip(places, entries, strict=True):
                        terms.add(k, source, True, neuron, factor, entry)
                continue
            layer, neuron, side = fact
            self.advance(layer + 1)
            factor = _number(weight) if side else -_number(weight)
            terms.add(k, layer, False, neuron, factor, 1.0)
            terms.add_constant(k, -factor, float(self.ends(layer)[side][leaf, neuron]))

    # ── back-substitution ──────────────────────────────────────────────────────────────────────
    def functionals(self, terms: Terms, leaf: Places) -> Functionals:
        count, rows = len(leaf), dict[int, Vector]()
        constant, error, sizes = np.zeros(count), np.full(count, TINY), np.zeros(count)
        for k, x, more in terms.constants:
            constant[k] += x
            error[k] += more
            sizes[k] += abs(x)
        error = error + eps(self.terms + len(terms.constants)) * sizes
        for (source, output), each in terms.of.items():
            at, neuron, entries, charges = (np.array(x) for x in zip(*each, strict=True))
            shape = count, self.program.variables if source == INPUT else len(self.layers[source].bias)
            row: Vector = np.zeros(shape)
            charge: Vector = np.zeros(shape)
            np.add.at(row, (at, neuron), entries)
            np.add.at(charge, (at, neuron), charges + eps(len(each)) * np.abs(entries))
            if output:
                on, kept, z, most = self.outputs[source]
                if len(kept):
                    rows[source] = rows[source] + columns_of(row, kept) if source in rows else columns_of(row, kept)
                    error = error + (columns_of(charge, kept) + eps(self.terms) * np.abs(columns_of(row, kept))) @ most
                row, charge = columns_of(row, on), columns_of(charge, on)
            else:
                z = self.reads[source]
            constant = constant + row @ z.constant
            error = error + np.abs(row) @ self.slack(z) + charge @ (z.size + z.error) + self.tiny(z)
            for below, part in z.parts.items():
                rows[below] = pull(row, part) + rows[below] if below in rows else pull(row, part)
        return Functionals(rows, leaf, constant, error)

    def sharpen(self, index: int, low: Vector, high: Vector, where: Flags, upper: bool) -> None:
        """Better lower (or upper) bounds of neurons of one layer in some leaves."""
        z, (leaves, neurons) = self.reads[index], np.nonzero(where)
        most = max(1, CACHED // max(1, sum(len(output.kept) for output in self.outputs.values())))
        for k in range(0, len(leaves), most):
            leaf, neuron = leaves[k : k + most], neurons[k : k + most]
            one = z.of(neuron)
            error = self.slack(one) + self.tiny(z)
            if upper:
                rows = {source: -part for source, part in one.parts.items()}
                found = self.lower_bounds(Functionals(rows, leaf, -one.constant, error))
                high[leaf, neuron] = np.minimum(high[leaf, neuron], -found)
            else:
                found = self.lower_bounds(Functionals(one.parts, leaf, one.constant, error))
                low[leaf, neuron] = np.maximum(low[leaf, neuron], found)

    def slack(self, z: Read) -> Vector:
        return z.error + eps(self.terms) * z.size

    def tiny(self, z: Read) -> float:
        sizes = sum(self.outputs[source].most.sum() for source in z.parts) + z.size.sum() + z.error.sum()
        return float(TINY * (1 + sizes))

    def lower_bounds(self, found: Functionals) -> Vector:
        """A lower bound of each functional; the least number where binary64 does not reach."""
        rows, leaf, constant, error = found
        while (index := max(rows, default=INPUT)) != INPUT:
            row, lines, kept = rows.pop(index), self.lines[index], self.outputs[index].kept
            if lines is not None:
                under = np.minimum(row, 0.0)
                fall = np.einsum("ij,ij->i", under, lines.shift[leaf])
                if lines.drop is not None:
                    fall = fall - np.einsum("ij,ij->i", row - under, lines.drop[leaf])
                constant = constant + fall
                error = error - eps(self.terms) * fall
                row = row * np.where(row > 0, lines.lower[leaf], lines.upper[leaf])
            z = self.reads[index].less(kept)
            constant = constant + row @ z.constant
            error = error + np.abs(row) @ self.slack(z) + self.tiny(self.reads[index])
            for source, part in z.parts.items():
                rows[source] = rows[source] + pull(row, part) if source in rows else pull(row, part)
        if INPUT in rows:
            (low, high), row = self.ranges[INPUT], rows[INPUT]
            least = row * np.where(row > 0, low[leaf], high[leaf])
            constant = constant + least.sum(1)
            error = error + eps(self.terms) * np.abs(least).sum(1) + TINY
        sure = constant - error * (1 + 2 * eps(self.terms))
        sure = sure - 2.0**-50 * np.abs(sure)
        return np.where(np.isfinite(sure), sure, LEAST)


def _finite(arrays: Iterable[Vector]) -> Flags:
    """Leaves in which all numbers are."""
    return np.asarray(np.logical_and.reduce([np.isfinite(x).all(1) for x in arrays]))


def _number(weight: Fraction) -> float:
    return weight.numerator / weight.denominator
