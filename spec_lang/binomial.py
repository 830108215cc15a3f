"""Tails of the binomial distribution, compared with a rational exactly.

P(X ≥ k) for X ~ Binomial(n, p) is summed from its largest term outwards. Terms are enclosed in integers over a common
power of two that is refined until the comparison is certain; if it never is, exact rationals decide. A million trials
take about 0.1 s: the largest term's C(n, i), a number of a million bits, is never written out but multiplied up from
its prime factors, rounded to the bits that matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import prod

import numpy as np
from numpy.typing import NDArray

EXACT = 400  # trials up to which exact rationals are cheap
PRECISIONS = (128, 512, 2048)  # bits below the point, before exact rationals
AT_ONCE = 32  # primes that are multiplied before rounding


def compare_upper_tail(n: int, k: int, p: Fraction, alpha: Fraction) -> int:
    """The sign of P(X ≥ k) − alpha: −1, 0 or 1. 0 ≤ p ≤ 1, 0 < alpha < 1, 0 ≤ k ≤ n."""
    if k == 0 or p == 1:
        return 1  # the tail is 1
    if p == 0:
        return -1  # the tail is 0
    if 2 * p == 1 and 2 * k == n + 1:  # P(X ≥ k) = P(X ≤ n − k) = 1/2, on which no enclosure could settle
        return (Fraction(1, 2) > alpha) - (Fraction(1, 2) < alpha)
    if n > EXACT:
        for bits in PRECISIONS:
            lo, hi = _enclosed(n, k, p, bits)
            target = alpha * (1 << bits)
            if hi < target:
                return -1
            if lo > target:
                return 1
    tail = _exact(n, k, p)
    return (tail > alpha) - (tail < alpha)


def _exact(n: int, k: int, p: Fraction) -> Fraction:
    """Σ C(n, i) a^i b^(n−i) / d^n over i ≥ k, with p = a/d and b = d − a."""
    a, d = p.numerator, p.denominator
    b = d - a
    total = 0
    term = a**n  # of i = n; the term of i − 1 is that of i times i·b / ((n−i+1)·a)
    for i in range(n, k - 1, -1):
        total += term
        if i > k:
            term = term * i * b // ((n - i + 1) * a)  # exact: every term is C(n, i) a^i b^(n−i), an integer
    return Fraction(total, d**n)


def _enclosed(n: int, k: int, p: Fraction, bits: int) -> tuple[int, int]:
    """Integers with lo ≤ 2^bits · P(X ≥ k) ≤ hi.

    The first term, at the mode of the tail, is a quotient of integers: its numerator and denominator are kept to
    `bits` + 64 leading bits with directed rounding (`_power`). The terms beside it follow by ratios, each rounded down
    in one sum and up in the other; they fall, at least geometrically once they have fallen to half, so what is left out
    below one unit is counted as n + 1 units at the end.
    """
    a, b, d = p.numerator, p.denominator - p.numerator, p.denominator
    mode = max(k, min(n, (n + 1) * a // d))
    work = bits + 64
    first_lo, first_hi = _first(n, mode, a, b, d, work)
    lo, hi = first_lo, first_hi
    for step in (1, -1):
        term_lo, term_hi = first_lo, first_hi
        i = mode
        while k <= i + step <= n and term_hi > 0:
            up, down = ((n - i) * a, (i + 1) * b) if step > 0 else (i * b, (n - i + 1) * a)
            term_lo = term_lo * up // down
            term_hi = -(-term_hi * up // down)
            i += step
            lo += term_lo
            hi += term_hi
            if term_hi <= 1:
                break
    hi += n + 1  # every term that was left out is at most one unit
    return lo >> 64, -(-hi >> 64)


def _first(n: int, i: int, a: int, b: int, d: int, work: int) -> tuple[int, int]:
    """2^work · C(n, i) a^i b^(n−i) / d^n, rounded down and up."""
    factors = (*_choose(n, i), (a, i), (b, n - i))
    lo_top, lo_exponent = _product(factors, work + 32, up=False)
    hi_top, hi_exponent = _product(factors, work + 32, up=True)
    lo_bottom, lo_shift = _product(((d, n),), work + 32, up=False)
    hi_bottom, hi_shift = _product(((d, n),), work + 32, up=True)
    below = _quotient(lo_top, lo_exponent + work, hi_bottom, hi_shift, up=False)
    above = _quotient(hi_top, hi_exponent + work, lo_bottom, lo_shift, up=True)
    return below, above


@lru_cache(maxsize=4)
def _choose(n: int, i: int) -> tuple[tuple[int, int], ...]:
    """C(n, i) as (base, power). By Kummer's theorem a prime occurs in it as often as i + (n − i) carries in that base:
    once or not at all if its square is above n."""
    primes = _primes(n)
    small = primes[primes * primes <= n].tolist()
    large = primes[primes * primes > n]
    once = large[i % large + (n - i) % large >= large].tolist()
    powers = [(p, _carries(i, n - i, p)) for p in small]
    together = [(prod(once[k : k + AT_ONCE]), 1) for k in range(0, len(once), AT_ONCE)]
    return (*((p, e) for p, e in powers if e), *together)


def _carries(a: int, b: int, base: int) -> int:
    """Carries where a and b are added in that base."""
    count = carry = 0
    while a or b:
        carry = int(a % base + b % base + carry >= base)
        count += carry
        a, b = a // base, b // base
    return count


def _primes(n: int) -> NDArray[np.int64]:
    """Up to n, by the sieve of Eratosthenes."""
    sieve = np.ones(n + 1, dtype=np.bool_)
    sieve[:2] = False
    for p in range(2, int(n**0.5) + 1):
        if sieve[p]:
            sieve[p * p :: p] = False
    return np.flatnonzero(sieve)


def _quotient(top: int, top_exponent: int, bottom: int, bottom_exponent: int, *, up: bool) -> int:
    """top·2^te / (bottom·2^be), rounded down or up."""
    shift = top_exponent - bottom_exponent
    numerator, denominator = (top << shift, bottom) if shift >= 0 else (top, bottom << -shift)
    return -(-numerator // denominator) if up else numerator // denominator


def _product(factors: Sequence[tuple[int, int]], bits: int, *, up: bool) -> tuple[int, int]:
    """(m, e) with m·2^e at most (or at least) the product of base^power, m of about `bits` bits."""
    mantissa, exponent = 1, 0
    for base, power in factors:
        m, e = _power(base, power, bits, up=up)
        mantissa, exponent = _trimmed(mantissa * m, exponent + e, bits, up=up)
    return mantissa, exponent


def _power(base: int, power: int, bits: int, *, up: bool) -> tuple[int, int]:
    """base^power by squaring, every intermediate rounded one way."""
    result, result_exponent = 1, 0
    square, square_exponent = _trimmed(base, 0, bits, up=up)
    while power:
        if power & 1:
            result, result_exponent = _trimmed(result * square, result_exponent + square_exponent, bits, up=up)
        power >>= 1
        if power:
            square, square_exponent = _trimmed(square * square, 2 * square_exponent, bits, up=up)
    return result, result_exponent


def _trimmed(mantissa: int, exponent: int, bits: int, *, up: bool) -> tuple[int, int]:
    excess = mantissa.bit_length() - bits
    if excess <= 0:
        return mantissa, exponent
    return (-(-mantissa >> excess) if up else mantissa >> excess), exponent + excess
