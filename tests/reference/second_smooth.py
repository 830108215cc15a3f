"""Smooth functions and products as docs/formats.md has them ("Lines of smooth functions", "At a point").

One of the files of the second checker. Values are enclosed by python-flint's balls, which share nothing with the
kernel's own series; everything else is fractions, one sentence of the page after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from flint import arb, ctx, fmpq

from tests.reference.second_reading import Refused, need

SMOOTH = ("tanh", "sigmoid", "softplus", "gelu", "silu", "exp", "square")
RISING = ("tanh", "sigmoid", "softplus", "exp")
BITS = 400  # of what is enclosed
GRID = 2**64
PIECES = 15
FAR = 1 << 12
Pair = tuple[Fraction, Fraction]


# ── values ─────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, eq=False)
class Span:
    """A number between two rationals. Whatever is asked about it is certain, or refused."""

    low: Fraction
    high: Fraction

    @staticmethod
    def of(x: Span | Fraction | int) -> Span:
        return x if isinstance(x, Span) else Span(Fraction(x), Fraction(x))

    def __add__(self, other: Span | Fraction | int) -> Span:
        more = Span.of(other)
        return Span(self.low + more.low, self.high + more.high)

    def __neg__(self) -> Span:
        return Span(-self.high, -self.low)

    def __sub__(self, other: Span | Fraction | int) -> Span:
        return self + -Span.of(other)

    def __rsub__(self, other: Fraction | int) -> Span:
        return Span.of(other) - self

    def __mul__(self, other: Span | Fraction | int) -> Span:
        return Span(*times((self.low, self.high), (Span.of(other).low, Span.of(other).high)))

    __radd__, __rmul__ = __add__, __mul__

    def __gt__(self, other: Span | Fraction | int) -> bool:
        return (self - other)._sign() > 0

    def __lt__(self, other: Span | Fraction | int) -> bool:
        return (self - other)._sign() < 0

    def __ge__(self, other: Span | Fraction | int) -> bool:
        return (self - other)._sign() >= 0

    def __le__(self, other: Span | Fraction | int) -> bool:
        return (self - other)._sign() <= 0

    def _sign(self) -> int:
        need(self.low > 0 or self.high < 0 or self.low == self.high == 0, "a sign that cannot be told")
        return (self.low > 0) - (self.high < 0)


def meet(a: Span | Fraction, b: Span | Fraction) -> bool:
    """Whether both may be the same number."""
    one, other = Span.of(a), Span.of(b)
    return one.low <= other.high and other.low <= one.high


def applied(function: str, x: Span | Fraction) -> Span:
    """f of a number."""
    low, high = Span.of(x).low, Span.of(x).high
    if function == "square":
        return Span(*square((low, high)))
    ends = enclosed(function, low), enclosed(function, high)
    if function in RISING:
        return Span(ends[0][0], ends[1][1])
    wide = 2 * (high - low)  # gelu and silu change by less than twice what x does
    return Span(ends[0][0] - wide, ends[0][1] + wide)


@lru_cache(maxsize=1 << 15)
def enclosed(function: str, x: Fraction) -> Pair:
    """Two rationals, f(x) between them, for tanh, tanh(x/2) (`half`), φ (`density`) and the functions of the page."""
    if function == "square":
        return x * x, x * x
    need(max(abs(x.numerator), x.denominator).bit_length() < 1 << 14, "a number beyond all that is evaluated")
    need(function != "exp" or x <= FAR, "an exponential beyond what is evaluated")
    with ctx.workprec(BITS + x.numerator.bit_length()):
        lower, upper = (_of(y) for y in _ends(BALLS[function](arb(fmpq(x.numerator, x.denominator)))))
    return lower, upper


def _ends(y: arb) -> tuple[arb, arb]:
    return y.lower(), y.upper()


def _of(exact: arb) -> Fraction:
    mantissa, exponent = (int(part) for part in exact.man_exp())
    return Fraction(mantissa) * Fraction(2) ** exponent


BALLS: dict[str, Callable[[arb], arb]] = {
    "tanh": lambda x: x.tanh(),
    "sigmoid": lambda x: 1 / (1 + (-x).exp()) if x < 0 else 1 - 1 / (1 + x.exp()),
    "softplus": lambda x: (1 + x.exp()).log() if x < 0 else x + (1 + (-x).exp()).log(),
    "silu": lambda x: x / (1 + (-x).exp()),
    "gelu": lambda x: x * (-x / arb(2).sqrt()).erfc() / 2,
    "exp": lambda x: x.exp(),
    "half": lambda x: (x / 2).tanh(),
    "density": lambda x: (-x * x / 2).exp() / (2 * arb.pi()).sqrt(),
}


# ── intervals ──────────────────────────────────────────────────────────────────────────────────
def times(a: Pair, b: Pair) -> Pair:
    ends = [x * y for x in a for y in b]
    return min(ends), max(ends)


def square(a: Pair) -> Pair:
    least = Fraction(0) if a[0] <= 0 <= a[1] else min(abs(a[0]), abs(a[1]))
    return least**2, max(abs(a[0]), abs(a[1])) ** 2


def less(x: int, a: Pair) -> Pair:
    return x - a[1], x - a[0]


def bend(function: str, p: Fraction, q: Fraction) -> Pair:
    """Between which numbers f″ lies on a piece, as the table has it."""
    what = {"tanh": "tanh", "exp": "exp", "gelu": "density"}.get(function, "half")
    if function == "square":
        return Fraction(2), Fraction(2)
    ends = enclosed(what, p), enclosed(what, q)
    known = min(ends[0][0], ends[1][0]), max(ends[0][1], ends[1][1])
    if function == "exp":
        return known
    if function == "gelu":
        top = enclosed("density", Fraction(0))[1] if p <= 0 <= q else known[1]
        return times((known[0], top), less(2, square((p, q))))
    minus, rest = (-known[1], -known[0]), less(1, square(known))
    quarter = rest[0] / 4, rest[1] / 4
    match function:
        case "tanh":
            return times((2 * minus[0], 2 * minus[1]), rest)
        case "softplus":
            return quarter
        case "sigmoid":
            return times(minus, quarter)
    return times(less(2, times((p, q), known)), quarter)  # silu


# ── lines ──────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Lines:
    """lower[0]·z + lower[1] ≤ f(z) ≤ upper[0]·z + upper[1], and least ≤ f(z) ≤ most."""

    lower: Pair
    upper: Pair
    least: Fraction
    most: Fraction


@lru_cache(maxsize=1 << 14)
def lines(function: str, low: Fraction, high: Fraction) -> Lines:
    """Of a neuron whose pre-activation lies between these. Where bounds have crossed they are read in order."""
    low, high = min(low, high), max(low, high)
    places = sorted({down(low + (high - low) * k / PIECES) for k in range(PIECES + 1)} | {low, high})
    values = [enclosed(function, x) for x in places]
    below, above = [], []
    for p, q in pairwise(places):
        c, top = bend(function, p, q)
        above.append(max(Fraction(0), -c) * (q - p) ** 2 / 8)
        below.append(max(Fraction(0), top) * (q - p) ** 2 / 8)
    upper = _above(places, [high for _, high in values], above)
    slope, shift = _above(places, [-low for low, _ in values], below)
    least, most = values[0][0], values[-1][1]
    if function == "square":
        least, most = square((low, high))
    elif function not in RISING:
        least = min([v[0] for v in values] + [min(a[0], b[0]) - e for a, b, e in _steps(values, below)])
        most = max([v[1] for v in values] + [max(a[1], b[1]) + e for a, b, e in _steps(values, above)])
    return Lines((-slope, -shift), upper, least, most)


def _steps(values: list[Pair], excess: list[Fraction]) -> list[tuple[Pair, Pair, Fraction]]:
    return list(zip(values, values[1:], excess, strict=False))


def _above(places: list[Fraction], heights: list[Fraction], excess: list[Fraction]) -> Pair:
    """Slope and intercept of the upper line."""
    middle = (places[0] + places[-1]) / 2
    slope = Fraction(0)
    pairs = [(i, j) for j in range(len(places)) for i in range(j) if places[i] <= middle <= places[j]]
    for i, j in pairs:
        s = (heights[j] - heights[i]) / (places[j] - places[i])
        if all(h <= heights[i] + s * (x - places[i]) for x, h in zip(places, heights, strict=True)):
            slope = s
            break
    tops = [h - slope * x for x, h in zip(places, heights, strict=True)]
    ends = [max(a, b) + e for a, b, e in zip(tops, tops[1:], excess, strict=False)]
    return slope, max([*tops, *ends])


def down(x: Fraction) -> Fraction:
    return Fraction(x.numerator * GRID // x.denominator, GRID)


def planes(a: Pair, b: Pair) -> tuple[Pair, Fraction, Fraction]:
    """Of a·b: the slopes along a and b, and the intercepts of the lower and of the upper plane."""
    if a[0] > a[1] or b[0] > b[1]:
        a, b = (min(a), max(a)), (min(b), max(b))
    m, n = (a[0] + a[1]) / 2, (b[0] + b[1]) / 2
    apart = (a[1] - a[0]) * (b[1] - b[0]) / 4
    return (n, m), -m * n - apart, -m * n + apart


__all__ = ["SMOOTH", "Lines", "Refused", "Span", "applied", "lines", "meet", "planes", "times"]
