"""The float64 tier, matrices: products with them, and parts of them. One that is diagonal is given by its diagonal.

Each is a sum of products in some order, which is all that `tier_float64_bounds` charges for. Where parts are put
together nothing is rounded but the sums of `sum_of`.
"""

from __future__ import annotations

import numpy as np

from rewarden.certificate.tier_float64_program import Places, Vector

ALONE = 1 << 18  # products of numbers in a product of matrices: fewer than OpenBLAS has threads for


def rows_of(part: Vector, places: Places) -> Vector:
    if part.ndim == 2:
        return part[places]
    found = np.zeros((len(places), len(part)))
    found[np.arange(len(places)), places] = part[places]
    return found


def columns_of(weights: Vector, places: Places) -> Vector:
    """Those columns of a matrix, all of them as they are."""
    n = weights.shape[-1]
    if len(places) == n:
        return weights
    if weights.ndim == 2:
        return weights[:, places]
    found = np.zeros((n, len(places)))
    found[places, np.arange(len(places))] = weights[places]
    return found


def _matmul(one: Vector, other: Vector) -> Vector:
    """A product in parts so small that no BLAS shares one between threads, which would wait for each other."""
    (n, k), m = one.shape, other.shape[1]
    most = max(64, ALONE // max(1, k * m))
    if n <= most:
        return one @ other
    found = np.empty((n, m))
    for at in range(0, n, most):
        np.matmul(one[at : at + most], other, out=found[at : at + most])
    return found


def apply(weights: Vector, x: Vector) -> Vector:
    return weights * x if weights.ndim == 1 else weights @ x


def pull(rows: Vector, part: Vector) -> Vector:
    return rows * part if part.ndim == 1 else _matmul(rows, part)


def stacked(part: Vector, planes: Vector) -> Vector:
    if part.ndim == 1:
        return part[:, None, None] * planes
    return _matmul(planes.reshape(len(planes), -1).T, part.T).T.reshape(len(part), *planes.shape[1:])


def product(weights: Vector, part: Vector) -> Vector:
    if weights.ndim == 1:
        return weights * part if part.ndim == 1 else weights[:, None] * part
    return pull(weights, part)


def sum_of(one: Vector, other: Vector) -> Vector:
    if one.ndim == other.ndim:
        return one + other
    return (np.diag(one) if one.ndim == 1 else one) + (np.diag(other) if other.ndim == 1 else other)
