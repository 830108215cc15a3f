"""Degree 3 of `bounds`: neurons that intervals leave unstable, bounded by back-substitution, both sides at once.

Most of what a wide box costs is the product of coefficients with the weights of an earlier layer. It is formed in
binary32 where layers are wide, which is twice as fast, and costs next to nothing in the bound because everything is
said about a middle: with reference values p_s (any numbers in memory; p_0 the box's middle), c_k = M·p + b as computed,

    v_s = p_s + y_s, |y_s| <= reach_s,      z_k = c_k + ζ_k,      ζ_k = Σ_s M_s·y_s + ε_k, |ε_k| <= own_k,

coefficients multiply the small ζ and y alone, so that u = 2^-24 is charged to what a box's *radius* does, not to the
size of its middle. Constants are formed in binary64. In these terms a relu between lines lower·z and upper·z + t has

    y >= lower·ζ + floor, floor = lower·c − p;      y <= upper·ζ + ceiling, ceiling = upper·c + t − p.

What arithmetic may have lost, for a row with coefficients a on y_s (d, the rounded product of a with a slope, on ζ):

1. d is not a·slope: weights and slopes are rounded to binary32, and so is their product: 4u·|d|·|ζ|.
2. d·M in memory is within γ_n(u)·|d|·|M| of d·M for any order of summation, n its rows, and M within u·|M| of the
   binary64 one: with |y| <= reach, (γ_n + 2u)·|d|·(|M|·reach). The binary64 vector |M|·reach is shared by all rows.
3. own_k: what forming c_k lost, and what is unknown of the weights, times |v|. In binary64.
4. constants a·floor and a·ceiling, formed and summed in binary64: γ_n·|a|·(|c| + |p| + t).
5. the sum of two coefficients on one source: 2u·|sum|·reach.
6. the least value on the box, −|A|·radius: a sum of terms of one sign, which is inflated by γ_n(u).
7. underflow, flushed operands included: below 2^-126 for each operation, which multiplies y or ζ (then `small` times
   `mass` covers it, as TINY does in `rounding`) or a coefficient (then it is in `charge` and the inflated radius).
   Slopes are 0 or at least 2^-40 (`relaxation`), so that none is flushed.

1 to 4 are one vector for each source, `charge`, that |a| multiplies. A row that overflows is NaN or infinite and
changes nothing. Sums that only bound what is lost are formed in the format as well, of vectors rounded up.

Rows are not laid out by boxes: a block is of as many pairs of a box and one of its unstable neurons as stay near the
cache, and one product. What is done to them besides is in `passes`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rewarden.verifier.rounding import INFLATE, UNIT, gamma
from rewarden.verifier.wide import passes
from rewarden.verifier.wide.bounds import Known, array, own_error
from rewarden.verifier.wide.formats import Format, format_of
from rewarden.verifier.wide.network import Map, Network, Node

BLOCK = 2**19  # coefficients that are formed at once


def sharpened(network: Network, known: Known, products: Format | None = None) -> Known:
    """In place: neurons of deeper nodes that are unstable, bounded by back-substitution."""
    about = _Middles.of(network, known, products if products is not None else format_of(network))
    for k, node in enumerate(network.nodes, start=1):
        about.read(node)
        if any(m.source > 0 for m in node.maps):
            about.tighten(k)
        about.close(k)
    return known


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """A neuron's row of weights on a box: `box` and `row` [pair]; `owner` is `box` of each of two rows, z and −z."""

    box: Tensor
    row: Tensor
    owner: Tensor

    @staticmethod
    def of(loose: Tensor) -> _Pairs:
        box, row = loose.nonzero(as_tuple=True)
        return _Pairs(box, row, box)

    def part(self, first: int, count: int) -> _Pairs:
        box = self.box[first : first + count]
        return _Pairs(box, self.row[first : first + count], torch.cat((box, box)))

    def both(self, values: Tensor) -> Tensor:
        """[box, neuron] of z and −z alike, as [2·pair]."""
        return values[self.box, self.row].repeat(2)


@dataclass(slots=True, eq=False)
class _Middles:
    """What is said about the middle (mutable: grows by a node at a time). Entry 0 is the variables; [box, width].

    `point`: p. In the format of products: `reach` and `charge`, bounds of |y| and what a unit of |a| on y costs,
    rounded up; slopes `lower` and `upper` of lines in deviations. In binary64 their `floor` and `ceiling`. `centre`,
    `own`, `spread` are of the node at hand: c, bounds of |ε| and of |ζ|.
    """

    network: Network
    known: Known
    format: Format
    point: list[Tensor]
    reach: list[Tensor]
    charge: list[Tensor]
    lower: list[Tensor]
    upper: list[Tensor]
    floor: list[Tensor]
    ceiling: list[Tensor]
    centre: Tensor
    own: Tensor
    spread: Tensor

    @staticmethod
    def of(network: Network, known: Known, products: Format) -> _Middles:
        none = torch.zeros(len(known.mass), 0)
        reach = known.radius * (1.0 + 4.0 * products.unit) + products.small
        return _Middles(
            network, known, products, [known.middle], [reach.to(products.dtype)],
            [none], [none], [none], [none], [none], none, none, none,
        )  # fmt: skip

    # ── one node after the other ───────────────────────────────────────────────────────────────
    def read(self, node: Node) -> None:
        """What the node reads, about the middles of that."""
        dtype, unit, small = self.format.dtype, self.format.unit, self.format.small
        shape = (len(self.known.mass), node.width)
        centre, size, spread = node.bias.expand(shape), torch.zeros(1, dtype=dtype), torch.zeros(1, dtype=dtype)
        for m in node.maps:
            point, weight = self.point[m.source], m.above(dtype).T
            centre = torch.addmm(centre, point, m.weight.T)
            above = torch.empty(point.shape, dtype=dtype)
            passes.sizes(array(point), array(above), unit, small)
            size = size + above @ weight
            spread = spread + self.reach[m.source] @ weight
        sums = (array(size.expand(shape)), array(spread.expand(shape)))
        factors = (1.0 + self.format.gamma(node.terms + 8), gamma(2 * node.terms), small)
        mass = array(self.known.mass)
        found = passes.unsure(sums, array(node.bias), array(own_error(self.known, node)), mass, factors)
        self.centre = centre
        self.own, self.spread = (torch.from_numpy(values) for values in found)

    def close(self, k: int) -> None:
        """The lines of a node's relus, now that its bounds are final, and what they charge."""
        known, node, format = self.known, self.network.nodes[k - 1], self.format
        lo, hi = known.lo[k], known.hi[k]
        known.size[k] = torch.minimum(known.size[k], hi.clamp(min=0.0))
        flushed = torch.zeros_like(known.mass)
        for m in node.maps:
            flushed += 2.0**-126 * self.reach[m.source].sum(-1, dtype=torch.float64)
        slopes = [torch.empty(lo.shape, dtype=format.dtype) for _ in range(2)]
        up = [torch.empty(lo.shape, dtype=format.dtype) for _ in range(2)]
        of_spread, of_constant = format.gamma(node.width) + 2.0 * format.unit, gamma(2 * node.width + 16)
        found = passes.outputs(
            (array(lo), array(hi)), (array(self.centre), array(self.own), array(self.spread)), array(flushed),
            (array(slopes[0]), array(slopes[1])), (array(up[0]), array(up[1])),
            (format.unit, format.small, of_spread, of_constant),
        )  # fmt: skip
        point, floor, ceiling = (torch.from_numpy(values) for values in found)
        added = (point, *up, *slopes, floor, ceiling)
        lists = (self.point, self.reach, self.charge, self.lower, self.upper, self.floor, self.ceiling)
        for values, new in zip(lists, added, strict=True):
            values.append(new)

    def tighten(self, k: int) -> None:
        """Bounds of the node's unstable neurons, some at a time: their coefficients should stay in the cache."""
        lo, hi = self.known.lo[k], self.known.hi[k]
        pairs = _Pairs.of((lo < 0) & (hi > 0))
        shared = {m.source: self._constants(m) for m in self.network.nodes[k - 1].maps if m.source > 0}
        size = max(1, BLOCK // (2 * self.network.widest))
        for first in range(0, len(pairs.box), size):
            part = pairs.part(first, size)
            bound = self._lower(k, part, shared)
            low, high = torch.where(torch.isfinite(bound), bound, torch.full_like(bound, -torch.inf)).chunk(2)
            lo[part.box, part.row] = torch.maximum(lo[part.box, part.row], low)
            hi[part.box, part.row] = torch.minimum(hi[part.box, part.row], -high)

    # ── back-substitution ──────────────────────────────────────────────────────────────────────
    def _lower(self, k: int, pairs: _Pairs, shared: dict[int, tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        """Lower bounds of z and then of −z, [2·pair]."""
        direct = {m.source: m for m in self.network.nodes[k - 1].maps}
        centre = self.centre[pairs.box, pairs.row]
        constant, error = torch.cat((centre, -centre)), pairs.both(self.own)
        waiting: dict[int, Tensor] = {}  # coefficients on y by source, of what came through later nodes
        for s in range(k - 1, 0, -1):
            if s in waiting:
                if s in direct:
                    error = error + self._written(waiting, direct[s], pairs)
                on_z, more, lost = self._through(s, waiting.pop(s), pairs)
            elif s in direct:
                on_z = self._first(direct[s], pairs)
                least, most, cost = (values[pairs.box, pairs.row] for values in shared[s])
                more, lost = torch.cat((least, -most)), cost.repeat(2)
            else:
                continue
            constant = constant + more
            error = error + lost + 2.0 * UNIT * constant.abs()
            for m in self.network.nodes[s - 1].maps:
                added = on_z @ m.cast(self.format.dtype)
                if m.source in waiting:
                    added = added.add_(waiting[m.source])
                    error = error + 2.0 * self.format.unit * self._times(added, self.reach[m.source], pairs)
                waiting[m.source] = added
        if 0 in direct:
            error = error + self._written(waiting, direct[0], pairs)
        return self._least(waiting.get(0), constant, error, pairs)

    def _constants(self, m: Map) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of weights, which all boxes share, through the lines of their source, [box, neuron]: the least and the
        most that it adds to z, and what it loses."""
        s, dtype = m.source, self.format.dtype
        positive = m.weight.clamp(min=0.0)
        negative = m.weight - positive
        least = self.floor[s] @ positive.T + self.ceiling[s] @ negative.T
        most = self.ceiling[s] @ positive.T + self.floor[s] @ negative.T
        grow = 1.0 + self.format.gamma(m.weight.shape[1] + 8)
        lost = (self.charge[s] @ m.above(dtype).T).double() * grow + self.format.small * self.known.mass[:, None]
        return least, most, lost

    def _first(self, m: Map, pairs: _Pairs) -> Tensor:
        """Their coefficients on ζ."""
        weight, lower, upper = m.cast(self.format.dtype), self.lower[m.source], self.upper[m.source]
        rows = (array(pairs.box), array(pairs.row))
        return torch.from_numpy(passes.first_rows(array(weight), *rows, array(lower), array(upper)))

    def _through(self, s: int, coefficients: Tensor, pairs: _Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """Coefficients on y_s that boxes do not share: those on ζ; what the rows gain, and lose."""
        lost = self._times(coefficients, self.charge[s], pairs)
        slopes, ends = ((array(a[s]), array(b[s])) for a, b in ((self.lower, self.upper), (self.floor, self.ceiling)))
        more = passes.through(array(coefficients), array(pairs.owner), slopes, ends)
        return coefficients, torch.from_numpy(more), lost

    def _written(self, waiting: dict[int, Tensor], m: Map, pairs: _Pairs) -> Tensor:
        """Adds rows of weights to the coefficients on their source; what rounding takes."""
        rows = m.cast(self.format.dtype)[pairs.row]
        rows = torch.cat((rows, -rows))
        unit, reach = 2.0 * self.format.unit, self.reach[m.source]
        lost = unit * self._times(rows, reach, pairs)
        old = waiting.get(m.source)
        waiting[m.source] = rows if old is None else old + rows
        return lost + unit * self._times(waiting[m.source], reach, pairs)

    def _least(self, slope: Tensor | None, constant: Tensor, error: Tensor, pairs: _Pairs) -> Tensor:
        least = torch.zeros_like(constant) if slope is None else -self._times(slope, self.reach[0], pairs)
        error = (error + 8.0 * UNIT * (least.abs() + constant.abs())) * INFLATE
        error = error + self.format.small * self.known.mass[pairs.owner]
        return (least + constant) - error * (1.0 + 8.0 * UNIT)

    def _times(self, coefficients: Tensor, above: Tensor, pairs: _Pairs) -> Tensor:
        """At least |coefficients|·vector for the vector that `above` is, rounded up; less underflow: [2·pair]."""
        found = passes.weighed(array(coefficients), array(pairs.owner), array(above))
        return torch.from_numpy(found).double() * (1.0 + self.format.gamma(above.shape[1]))
