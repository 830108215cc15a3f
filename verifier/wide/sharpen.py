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
changes nothing. Which format is used depends on the network alone. If products are found not to be those of binary32
(a caller may have allowed torch bfloat16 or TF32 for them), they are formed in binary64.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rewarden.verifier.relaxation import relu_lines
from rewarden.verifier.rounding import INFLATE, TINY, UNIT, gamma
from rewarden.verifier.wide.bounds import Known
from rewarden.verifier.wide.network import Map, Network, Node

WIDE = 64  # layers from this width on are worth binary32
WIDEST = 2**14  # and up to this one its error bounds stay small
BLOCK = 2**20  # coefficients that are formed at once
FEW = 0.9  # rows are gathered where at most this share of a layer is unstable


@dataclass(frozen=True, slots=True)
class Format:
    """Of products: unit roundoff, and what covers all underflows together when `mass` multiplies it."""

    dtype: torch.dtype
    unit: float
    small: float

    def gamma(self, n: int) -> float:
        """An upper bound of γ_{n+2}, for sums of up to 2^20 terms."""
        steps = (n + 4) * self.unit
        return steps / (1.0 - steps) * INFLATE


DOUBLE = Format(torch.float64, UNIT, TINY)
SINGLE = Format(torch.float32, 2.0**-24, 2.0**-96)


def sharpened(network: Network, known: Known, products: Format | None = None) -> Known:
    """In place: neurons of deeper nodes that are unstable in some box, bounded by back-substitution."""
    about = _Middles.of(network, known, products if products is not None else _format(network))
    for k, node in enumerate(network.nodes, start=1):
        about.read(node)
        if any(m.source > 0 for m in node.maps):
            about.tighten(k)
        about.close(k)
    return known


def _format(network: Network) -> Format:
    wide = max([0, *(node.width for node in network.nodes)]) >= WIDE and network.widest <= WIDEST
    return SINGLE if wide and _exact_products() else DOUBLE


def _exact_products() -> bool:
    """Are products of binary32 matrices formed in binary32? An identity has to give back all 24 bits."""
    odd = 1.0 + (2.0 * torch.arange(4096, dtype=torch.float32) + 1.0).reshape(64, 64) * 2.0**-23
    return bool((torch.eye(64, dtype=torch.float32) @ odd == odd).all()) and bool((odd @ torch.eye(64) == odd).all())


@dataclass(slots=True, eq=False)
class _Middles:
    """What is said about the middle (mutable: grows by a node at a time). Entry 0 is the variables; [box, width].

    `point`, `reach`: p and a bound of |y|. `charge`: what a unit of |a| on y costs. Lines in deviations: slopes `lower`
    and `upper` in the format of products; in binary64 `floor` and `ceiling`. `centre`, `own`, `spread` are of the node
    at hand: c, bounds of |ε| and of |ζ|.
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
        return _Middles(
            network, known, products, [known.middle], [known.radius],
            [none], [none], [none], [none], [none], none, none, none,
        )  # fmt: skip

    # ── one node after the other ───────────────────────────────────────────────────────────────
    def read(self, node: Node) -> None:
        centre, size, own = node.bias, node.bias.abs(), node.bias_error
        spread = torch.zeros(1, dtype=torch.float64)
        for m in node.maps:
            centre = centre + self.point[m.source] @ m.weight.T
            size = size + self.point[m.source].abs() @ m.size.T
            spread = spread + self.reach[m.source] @ m.size.T
            if m.error is not None:
                own = own + self.known.size[m.source] @ m.error.T
        mass = self.known.mass[:, None]
        self.centre = centre.expand(mass.shape[0], node.width)
        own = (gamma(2 * node.terms) * size + own) * INFLATE + TINY * (mass + size)
        self.own = own.expand(mass.shape[0], node.width)
        self.spread = (spread * INFLATE + TINY * mass).expand(mass.shape[0], node.width)

    def close(self, k: int) -> None:
        """The lines of a node's relus, now that its bounds are final, and what they charge."""
        known, node = self.known, self.network.nodes[k - 1]
        lo, hi = known.lo[k], known.hi[k]
        known.size[k] = torch.minimum(known.size[k], hi.clamp(min=0.0))
        lines = relu_lines(lo, hi)
        below, above = lo.clamp(min=0.0), hi.clamp(min=0.0)
        point = 0.5 * below + 0.5 * above
        c, steep = self.centre, torch.maximum(lines.lower, lines.upper)
        far = torch.maximum(hi - c, c - lo)
        unit, summed = self.format.unit, self.format.gamma(node.width)
        flushed = 2.0**-126 * sum(self.reach[m.source].sum(-1, keepdim=True) for m in node.maps)
        noise = (4.0 * unit * far + (summed + 2.0 * unit) * self.spread + self.own + flushed) * INFLATE
        constants = gamma(2 * node.width + 16) * (c.abs() + point.abs() + lines.intercept)
        self.point.append(point)
        self.reach.append(torch.maximum(above - point, point - below) * (1.0 + 4.0 * UNIT) + TINY)
        self.charge.append((steep * noise + constants) * INFLATE)
        self.lower.append(lines.lower.to(self.format.dtype))
        self.upper.append(lines.upper.to(self.format.dtype))
        self.floor.append(lines.lower * c - point)
        self.ceiling.append(lines.upper * c + lines.intercept - point)

    def tighten(self, k: int) -> None:
        """Bounds of the node's unstable neurons, a few boxes at a time: their coefficients should stay in the cache."""
        boxes, width = self.known.lo[k].shape
        size = max(1, BLOCK // (2 * width * self.network.widest))
        direct = self.network.nodes[k - 1].maps
        shared = {m.source: self._constants(m) for m in direct if m.source > 0}
        for first in range(0, boxes, size):
            part = slice(first, first + size)
            self._part(part)._tighten(k, {s: (more[part], lost[part]) for s, (more, lost) in shared.items()})

    def _part(self, boxes: slice) -> _Middles:
        """Of some of the boxes: views, so that what is written there is written here."""

        def views(tensors: list[Tensor]) -> list[Tensor]:
            return [t[boxes] for t in tensors]

        return _Middles(
            self.network, self.known.part(boxes), self.format, views(self.point), views(self.reach), views(self.charge),
            views(self.lower), views(self.upper), views(self.floor), views(self.ceiling),
            self.centre[boxes], self.own[boxes], self.spread[boxes],
        )  # fmt: skip

    def _tighten(self, k: int, shared: dict[int, tuple[Tensor, Tensor]]) -> None:
        lo, hi = self.known.lo[k], self.known.hi[k]
        loose = (lo < 0) & (hi > 0)
        most = int(loose.sum(-1).max())
        if most == 0:
            return
        chosen = None
        if most <= FEW * loose.shape[1]:
            chosen = loose.to(torch.int8).sort(dim=-1, descending=True, stable=True).indices[:, :most]
        bound = self._lower(k, chosen, shared)
        bound = torch.where(torch.isfinite(bound), bound, torch.full_like(bound, -torch.inf))
        low, high = bound.chunk(2, -1)
        if chosen is None:
            torch.maximum(lo, low, out=lo)
            torch.minimum(hi, -high, out=hi)
        else:
            lo.scatter_(1, chosen, torch.maximum(lo.gather(1, chosen), low))
            hi.scatter_(1, chosen, torch.minimum(hi.gather(1, chosen), -high))

    # ── back-substitution ──────────────────────────────────────────────────────────────────────
    def _lower(self, k: int, chosen: Tensor | None, shared: dict[int, tuple[Tensor, Tensor]]) -> Tensor:
        """Lower bounds of z and then of −z, [box, 2·row]: all rows, or those chosen for each box."""
        node = self.network.nodes[k - 1]
        direct = {m.source: m for m in node.maps}
        constant = _picked(torch.cat((self.centre, -self.centre), -1), chosen)
        error = _picked(torch.cat((self.own, self.own), -1), chosen)
        waiting: dict[int, Tensor] = {}  # coefficients on y by source, of what came through later nodes
        for s in range(k - 1, 0, -1):
            if s in waiting:
                if s in direct:
                    error = error + self._written(waiting, direct[s], chosen)
                on_z, more, lost = self._through(s, waiting.pop(s))
            elif s in direct:
                on_z = self._first(direct[s], chosen)
                more, lost = (_picked(values, chosen) for values in shared[s])
            else:
                continue
            constant = constant + more
            error = error + lost + 2.0 * UNIT * constant.abs()
            for m in self.network.nodes[s - 1].maps:
                added = on_z @ m.cast(self.format.dtype)
                if m.source in waiting:
                    added = added.add_(waiting[m.source])
                    error = error + 2.0 * self.format.unit * self._times(added, self.reach[m.source])
                waiting[m.source] = added
        if 0 in direct:
            error = error + self._written(waiting, direct[0], chosen)
        return self._least(waiting.get(0), constant, error)

    def _constants(self, m: Map) -> tuple[Tensor, Tensor]:
        """Rows of weights, which all boxes share, through the lines of their source: what z and −z gain, and lose."""
        s = m.source
        positive = m.weight.clamp(min=0.0)
        negative = m.weight - positive
        least = self.floor[s] @ positive.T + self.ceiling[s] @ negative.T
        most = self.ceiling[s] @ positive.T + self.floor[s] @ negative.T
        lost = self.charge[s] @ m.size.T
        return torch.cat((least, -most), -1), torch.cat((lost, lost), -1)

    def _first(self, m: Map, chosen: Tensor | None) -> Tensor:
        """Their coefficients on ζ."""
        weight = m.cast(self.format.dtype)
        up, down = (_rows(part, chosen) for part in (weight.clamp(min=0.0), weight.clamp(max=0.0)))
        low, high = self.lower[m.source][:, None], self.upper[m.source][:, None]
        boxes, count, width = self.known.mass.shape[0], up.shape[1], up.shape[2]
        on_z = torch.empty(boxes, 2 * count, width, dtype=self.format.dtype)
        torch.mul(up, low, out=on_z[:, :count]).addcmul_(down, high)
        torch.mul(up, -high, out=on_z[:, count:]).addcmul_(down, -low)
        return on_z

    def _through(self, s: int, coefficients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Coefficients on y_s that boxes do not share: those on ζ; what the rows gain, and lose."""
        lost = self._times(coefficients, self.charge[s])
        positive = coefficients.clamp(min=0.0)
        negative = coefficients - positive
        more = positive.double() @ self.floor[s][:, :, None] + negative.double() @ self.ceiling[s][:, :, None]
        on_z = positive.mul_(self.lower[s][:, None]).addcmul_(negative, self.upper[s][:, None])
        return on_z, more[..., 0], lost

    def _written(self, waiting: dict[int, Tensor], m: Map, chosen: Tensor | None) -> Tensor:
        """Adds rows of weights to the coefficients on their source; what rounding takes."""
        rows = _rows(m.cast(self.format.dtype), chosen)
        rows = torch.cat((rows, -rows), 1).expand(self.known.mass.shape[0], -1, -1)
        unit, reach = 2.0 * self.format.unit, self.reach[m.source]
        lost = unit * (reach @ m.size.T)
        old = waiting.get(m.source)
        waiting[m.source] = rows.clone() if old is None else old + rows
        return _picked(torch.cat((lost, lost), -1), chosen) + unit * self._times(waiting[m.source], reach)

    def _least(self, slope: Tensor | None, constant: Tensor, error: Tensor) -> Tensor:
        least = torch.zeros_like(constant) if slope is None else -self._times(slope, self.reach[0], spoil=True)
        error = (error + 8.0 * UNIT * (least.abs() + constant.abs())) * INFLATE
        error = error + self.format.small * self.known.mass[:, None]
        return (least + constant) - error * (1.0 + 8.0 * UNIT)

    def _times(self, coefficients: Tensor, vector: Tensor, *, spoil: bool = False) -> Tensor:
        """At least |coefficients|·vector, vector >= 0, less underflow: [box, row]. `spoil`: in their own memory."""
        unit, dtype = self.format.unit, self.format.dtype
        above = (vector.to(dtype) * (1.0 + 4.0 * unit)) + self.format.small
        size = coefficients.abs_() if spoil else coefficients.abs()
        found = (size @ above[:, :, None])[..., 0].double()
        return found * (1.0 + self.format.gamma(vector.shape[1]))


def _rows(weight: Tensor, chosen: Tensor | None) -> Tensor:
    """[box or 1, row, source neuron]."""
    return weight[None] if chosen is None else weight[chosen]


def _picked(values: Tensor, chosen: Tensor | None) -> Tensor:
    """[box, 2·width]: of each half the entries that are chosen for the box."""
    if chosen is None:
        return values
    return values.gather(1, torch.cat((chosen, chosen + values.shape[1] // 2), 1))
