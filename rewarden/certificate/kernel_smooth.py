"""Certificate kernel: smooth functions and products, loaded where a reward has them.

Everything is enclosed: numbers are integers over 2**bits, and (lo, hi) has the true value in between. What is used:

- e^t = (e^r)^(2^k), r = t / 2^k ≤ 1/64. Taylor's sum of n terms, each rounded down and so less than 2 too small, is at
  most 2n + 3 too small, what is left out (below 3) among it, and 3 more as r was rounded down. e^−t = 1 / e^t.
- tanh(x/2) = 1 − 2 / (e^x + 1) =: d for x ≥ 0, and odd; sigmoid x = (1 + d) / 2; silu x = x · sigmoid x.
- softplus x = max(x, 0) + ln(1 + e^−|x|), and ln(1 + e) = 2 · atanh(s), s = e / (2 + e) ≤ 1/3: atanh's series has
  positive terms s^(2k+1) / (2k+1), each less than 3 too small when its factors are rounded down, the rest below 3.
- gelu x = x · Φ(x). For x ≥ 0 Φ(x) = 1/2 + φ(x) · (x + x³/3 + x⁵/(3·5) + …), φ(x) = e^(−x²/2) / √(2π); from a term on
  that is at most half of the one before, what follows is at most that term. Beyond 12: 1 − φ(x) ≤ Φ(x) ≤ 1.

Lines. Let c ≤ f″ ≤ C on [p, q], h = q − p. At every z in between f is −f″(ξ)·(z − p)·(q − z) / 2 above its chord (the
error of linear interpolation), and (z − p)·(q − z) ≤ h²/4: so it is at most max(−c, 0)·h²/8 above it, and at most
max(C, 0)·h²/8 below. Less any s·z, which has no f″, it is at most the larger of its two ends, plus that. So for
whatever slope s is chosen, f(z) ≤ s·z + t on [l, u] with t the largest of these over the pieces of [l, u]. f″ is
enclosed from what was enclosed at the ends of the piece: d, φ and e^x are monotone there (φ on each side of 0). The
slope is that of the edge, above the middle, of the hull of the ends: good, and not needed for truth.

Products: with m, n near the middles and r, q the greatest distances from them, a·b = (a − m)(b − n) + n·a + m·b − m·n,
and the first term lies within ± r·q: McCormick's planes, the mean of each two. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any

from rewarden.certificate.kernel_json import refuse, used
from rewarden.certificate.kernel_program import (
    GRID,
    ONE,
    Ends,
    Known,
    Layer,
    Line,
    Lines,
    Program,
    Rows,
    Values,
    diagonal,
)

Range = tuple[int, int]
PIECES = 15  # of an interval; odd, so that the middle is the end of none
SPARE = 32  # bits beyond the grid on which the ends of intervals lie
BITS = 256  # of what is evaluated at a point
EACH = 256  # weights that take as long as a smooth neuron
FAR, MAX_SIZE = 1 << 12, 1 << 13  # e^FAR is the largest that is known; numbers have at most so many bits
ROOT = 398942280401432677939946059934381868475858631164934657665925829670657925899301838501252333907, 10**93  # 1/√(2π)


# ── functions at a point ───────────────────────────────────────────────────────────────────────
def _growth(t: int, bits: int) -> Range:
    """e^t, t ≥ 0. Of 0 exactly, so that where all is 0 a relu after a tanh has a sign."""
    if not t:
        return 1 << bits, 1 << bits
    halved = max(0, t.bit_length() - bits + 6)
    r, term, low, n = t >> halved, 1 << bits, 0, 0
    while term:
        low, n = low + term, n + 1
        term = (term * r >> bits) // n
    high = low + 2 * n + 6
    for _ in range(halved):
        low, high = low * low >> bits, (high * high >> bits) + 1
    return low, high


def _exp(x: int, bits: int) -> Range:
    far = FAR << bits
    if x > far:
        refuse("an exponential is beyond what this kernel evaluates")
    low, high = _growth(min(abs(x), far), bits)
    square = 1 << 2 * bits
    return (low, high) if x >= 0 else (square // high if x >= -far else 0, -(-square // low))


def _turn(x: int, bits: int) -> Range:
    """tanh(x/2)."""
    one, far = 1 << bits, FAR << bits
    below, above = _growth(min(abs(x), far), bits)
    low = one + (-2 * one * one) // (below + one)
    high = one - 2 * one * one // (above + one) if abs(x) <= far else one
    return (low, high) if x >= 0 else (-high, -low)


def _log1p(e: Range, bits: int) -> Range:
    """ln(1 + e), 0 ≤ e ≤ 1; atanh grows by less than twice what s does."""
    two = 2 << bits
    s, upper = (e[0] << bits) // (two + e[0]), -((-e[1] << bits) // (two + e[1]))
    square, term, low, n = s * s >> bits, s, 0, 0
    while term:
        low, n = low + term // (2 * n + 1), n + 1
        term = term * square >> bits
    return 2 * low, 2 * (low + 3 * n + 3 + 2 * (upper - s))


def _normal(x: int, bits: int) -> tuple[Range, Range]:
    """Φ(x) and φ(x)."""
    one, t = 1 << bits, abs(x)
    root = [(ROOT[0] + k << bits) // ROOT[1] + k for k in (0, 1)]
    square = min(t * t >> bits, 2 * FAR << bits)  # less than 1 too small, if it is not far too small
    grown = _growth(square >> 1, bits)
    below, above = grown[0], grown[1] + (grown[1] >> bits - 1) + 1  # half of the square is less than 1 too small
    density = root[0] * one // above if square < 2 * FAR << bits else 0, -(-root[1] * one // below)
    if t > 12 << bits:
        high, low = one, one - density[1]
    else:
        first = last = low = high = t
        k = 0
        while last > 1 or (2 * k + 1) << bits < 2 * square + 2:
            k += 1
            first, last = (first * square >> bits) // (2 * k + 1), (last * (square + 1) >> bits) // (2 * k + 1) + 1
            low, high = low + first, high + last
        high += last
        low, high = one // 2 + low * root[0] // above, min(one, one // 2 - (-high * root[1] // below))
    return ((low, high) if x >= 0 else (one - high, one - low)), density


def _times(a: Range, b: Range, bits: int) -> Range:
    ends = [x * y for x in a for y in b]
    return min(ends) >> bits, -(-max(ends) >> bits)


def at(kind: str, x: int, bits: int) -> tuple[Range, Range]:
    """f(x), and what its second derivative is enclosed by: tanh x, tanh(x/2), φ(x) or e^x."""
    one = 1 << bits
    match kind:
        case "tanh":
            return (d := _turn(2 * x, bits)), d
        case "sigmoid":
            d = _turn(x, bits)
            return ((one + d[0]) // 2, -(-(one + d[1]) // 2)), d
        case "silu":
            d = _turn(x, bits)
            return _times((x, x), ((one + d[0]) // 2, -(-(one + d[1]) // 2)), bits), d
        case "softplus":
            low, high = _log1p(_exp(-abs(x), bits), bits)
            return (max(x, 0) + low, max(x, 0) + high), _turn(x, bits)
        case "exp":
            return (e := _exp(x, bits)), e
        case "gelu":
            share, density = _normal(x, bits)
            return _times((x, x), share, bits), density
        case _:
            return _times((x, x), (x, x), bits), (0, 0)


def bend(kind: str, x: Range, known: Range, bits: int) -> Range:
    """f″ between the ends of x, where what `at` tells beside the value lies in `known`."""
    one = 1 << bits
    if kind == "exp":
        return known
    if kind == "square":
        return 2 * one, 2 * one
    if kind == "gelu":  # φ·(2 − x²)
        square = _square(x, bits)
        return _times(known, (2 * one - square[1], 2 * one - square[0]), bits)
    square = _square(known, bits)
    rest = one - square[1], one - square[0]  # 1 − d²
    minus = -known[1], -known[0]
    if kind == "tanh":  # −2·d·(1 − d²)
        low, high = _times(minus, rest, bits)
        return 2 * low, 2 * high
    quarter = rest[0] // 4, -(-rest[1] // 4)
    if kind == "softplus":  # (1 − d²) / 4
        return quarter
    if kind == "sigmoid":  # −d·(1 − d²) / 4
        return _times(minus, quarter, bits)
    low, high = _times(x, minus, bits)  # silu: (2 − x·d)·(1 − d²) / 4
    return _times((2 * one + low, 2 * one + high), quarter, bits)


def _square(x: Range, bits: int) -> Range:
    least = 0 if x[0] <= 0 <= x[1] else min(abs(x[0]), abs(x[1]))
    most = max(abs(x[0]), abs(x[1]))
    return least * least >> bits, -(-most * most >> bits)


# ── layers ─────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True, eq=False)
class Enclosed:
    """A number between two rationals, among rationals at a point. What is said of its sign is certain, or refused."""

    low: Fraction
    high: Fraction

    @staticmethod
    def of(x: Enclosed | Fraction) -> Enclosed:
        return x if isinstance(x, Enclosed) else Enclosed(Fraction(x), Fraction(x))

    def __add__(self, other: Enclosed | Fraction) -> Enclosed:
        more = Enclosed.of(other)
        return Enclosed(self.low + more.low, self.high + more.high)

    def __mul__(self, x: Fraction) -> Enclosed:
        ends = self.low * x, self.high * x
        return Enclosed(min(ends), max(ends))

    __radd__, __rmul__ = __add__, __mul__

    def bit_length(self) -> int:
        """Of all that it is written with, as of a whole number: what is kept of a point is bounded."""
        return sum(x.bit_length() for end in (self.low, self.high) for x in end.as_integer_ratio())

    def __gt__(self, zero: object) -> bool:
        return self.sign(zero) > 0

    def __lt__(self, zero: object) -> bool:
        return self.sign(zero) < 0

    def __eq__(self, zero: object) -> bool:
        return self.sign(zero) == 0

    __hash__ = None  # type: ignore[assignment]

    def sign(self, zero: object) -> int:
        """Compared with 0, the only number that it is compared with."""
        if isinstance(zero, int) and zero == 0 and (self.low > 0 or self.high < 0 or self.low == self.high):
            return (self.low > 0) - (self.high < 0)
        refuse("which sign a number has, or which is larger, cannot be told: values of smooth rewards are enclosed")


@dataclass(frozen=True, eq=False)
class Curved(Layer):
    """A smooth function of each z."""

    function: str
    kind = "smooth"

    def output(self, z: list[Any], values: Values) -> list[Any]:
        over = self.bottom * math.lcm(*(values[block.source][1] for block in self.blocks))
        return [y * Fraction(over) for y in self.at(list(map(Enclosed.of, (x * Fraction(1, over) for x in z))))]

    def at(self, z: list[Enclosed]) -> list[Enclosed]:
        """The outputs at a point. gelu and silu change by less than twice what z does."""
        found = []
        for x in z:
            low, high = math.floor(x.low * (1 << BITS)), math.ceil(x.high * (1 << BITS))
            if max(abs(low), abs(high)).bit_length() > MAX_SIZE:
                refuse("a value is beyond what this kernel evaluates")
            (least, _), (_, most) = at(self.function, low, BITS)[0], at(self.function, high, BITS)[0]
            if self.function == "square":
                least, most = _square((low, high), BITS)
            elif self.function in ("gelu", "silu"):
                least, most = least - 2 * (high - low), most + 2 * (high - low)
            found.append(Enclosed(Fraction(least, 1 << BITS), Fraction(most, 1 << BITS)))
        return found

    def is_open(self, low: int, high: int, k: int, known: Known) -> bool:
        return low < high

    def lines(self, ends: Ends, chosen: Sequence[int | None], known: Known) -> tuple[Ends, Lines]:
        each = (_bounds(self.function, *pair) for pair in _pairs(ends))
        least, most, lower, drop, upper, shift = map(list, zip(*each, strict=True))
        return (least, most), Lines(lower, drop, upper, shift, ONE)


class Product(Curved):
    """z_j · z_(n + j) for j < n. Of 2n entries of lines the first n are about z_j, with what is dropped and shifted."""

    kind = "product"

    def at(self, z: list[Enclosed]) -> list[Enclosed]:
        pairs = zip(z[: len(z) // 2], z[len(z) // 2 :], strict=True)
        ends = [[x * y for x in (a.low, a.high) for y in (b.low, b.high)] for a, b in pairs]
        return [_short(Enclosed(min(found), max(found))) for found in ends]

    def lines(self, ends: Ends, chosen: Sequence[int | None], known: Known) -> tuple[Ends, Lines]:
        pairs, n = _pairs(ends), len(self.bias) // 2
        factors = list(zip(pairs[:n], pairs[n:], strict=True))
        least, most = map(list, zip(*(_times(a, b, GRID) for a, b in factors), strict=True))
        along, across, drop, shift = map(list, zip(*(_planes(a, b) for a, b in factors), strict=True))
        slopes, zeros = along + across, [0] * n
        return (least, most), Lines(slopes, drop + zeros, slopes, shift + zeros, ONE)


def _short(x: Enclosed) -> Enclosed:
    """Rounded outward where its numbers have grown long: a product has twice as many digits."""
    if max(x.low.denominator, x.high.denominator).bit_length() > 2 * BITS:
        low, high = math.floor(x.low * (1 << BITS)), math.ceil(x.high * (1 << BITS))
        x = Enclosed(Fraction(low, 1 << BITS), Fraction(high, 1 << BITS))
    size = max(abs(x.low.numerator), abs(x.high.numerator)).bit_length()
    return x if size <= MAX_SIZE else refuse("a value is beyond what this kernel evaluates")


def layer_of(program: Program, op: str, sources: tuple[int, ...]) -> int:
    used.add("kernel_smooth")
    n = program.width(sources[0])
    program.weights += EACH * n
    eye = diagonal([1] * n)
    if op != "product":
        return program.emit([(sources[0], eye, 1)], kind=partial(Curved, function=op))
    none: Rows = [{} for _ in range(n)]
    return program.emit([(sources[0], eye + none, 1), (sources[1], none + eye, 1)], kind=partial(Product, function=op))


def _pairs(ends: Ends) -> list[Range]:
    """Where two bounds cross there is no point to speak of."""
    if max(map(abs, (*ends[0], *ends[1]))).bit_length() > MAX_SIZE:
        refuse("the bounds of a smooth neuron are beyond what this kernel evaluates")
    return [(min(pair), max(pair)) for pair in zip(*ends, strict=True)]


# ── lines over an interval ─────────────────────────────────────────────────────────────────────
def _planes(a: Range, b: Range) -> tuple[int, int, int, int]:
    """Slopes along a and b, over ONE, then drop and shift."""
    m, n = (sum(ends) * ONE >> GRID + 1 for ends in (a, b))  # middles, rounded to multiples of 1 / ONE
    reach = [max(ends[1] * ONE - (k << GRID), (k << GRID) - ends[0] * ONE) for ends, k in ((a, m), (b, n))]
    apart = -(-reach[0] * reach[1] // (ONE * ONE << GRID))  # radii are over ONE · 2**GRID
    middle = m * n << GRID
    return n, m, apart - (-middle // (ONE * ONE)), apart - middle // (ONE * ONE)


@lru_cache(maxsize=1 << 14)
def _bounds(kind: str, low: int, high: int) -> Line:
    """Of one neuron."""
    bits, rises = GRID + SPARE, kind not in ("gelu", "silu", "square")
    places = sorted({low + (high - low) * k // PIECES for k in range(PIECES + 1)})
    found = [at(kind, x << SPARE, bits) for x in places]
    values = [(lo >> SPARE, -(-hi >> SPARE)) for (lo, hi), _ in found]
    below, above = [], []  # by how much f may leave the chord of each piece
    for k in range(len(places) - 1):
        x = places[k] << SPARE, places[k + 1] << SPARE
        known = [min(found[k][1][0], found[k + 1][1][0]), max(found[k][1][1], found[k + 1][1][1])]
        if kind == "gelu" and x[0] < 0 < x[1]:
            known[1] = (ROOT[0] + 1 << bits) // ROOT[1] + 1
        least, most = bend(kind, x, (known[0], known[1]), bits)
        square = (places[k + 1] - places[k]) ** 2  # f″ · h² / 8, over 2**GRID
        below.append(-(-max(most, 0) * square >> bits + GRID + 3))
        above.append(-(-max(-least, 0) * square >> bits + GRID + 3))
    least = min([lo for lo, _ in values] + [min(values[k][0], values[k + 1][0]) - e for k, e in enumerate(below)])
    most = max([hi for _, hi in values] + [max(values[k][1], values[k + 1][1]) + e for k, e in enumerate(above)])
    if rises:
        least, most = values[0][0], values[-1][1]
    elif kind == "square":
        least, most = 0 if low < 0 < high else min(values[0][0], values[-1][0]), max(values[0][1], values[-1][1])
    upper, shift = _line(places, [hi for _, hi in values], above)
    lower, drop = _line(places, [-lo for lo, _ in values], below)
    return least, most, -lower, drop, upper, shift


def _line(places: Sequence[int], values: Sequence[int], beyond: Sequence[int]) -> tuple[int, int]:
    """A slope, over ONE, and how far it has to be shifted to be above values, and between these by `beyond` more."""
    i, j = 0, len(places) - 1
    while j - i > 1:  # the edge of the hull that is above the middle
        rise, run = values[j] - values[i], places[j] - places[i]
        heights = [(values[k] - values[i]) * run - rise * (places[k] - places[i]) for k in range(i + 1, j)]
        top = max(heights)
        if top <= 0:
            break
        k = i + 1 + heights.index(top)
        i, j = (k, j) if 2 * k < len(places) - 1 else (i, k)
    slope = (values[j] - values[i]) * ONE // (places[j] - places[i]) if j > i else 0
    tops = [-((slope * x - y * ONE) // ONE) for x, y in zip(places, values, strict=True)]
    return slope, max([*tops, *(max(tops[k], tops[k + 1]) + e for k, e in enumerate(beyond))])
