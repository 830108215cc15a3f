"""Where a search starts: a claim's boxes tightened by its simple premises, and points spread over them.

Float64 throughout, and nothing here is trusted: a tightened box that lost a sliver of the domain costs a search a
point, never a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.boxes import RowBoxes
from rewarden.spec_lang.claim import AffineAtom, Claim
from rewarden.verifier.inline import nearest
from rewarden.verifier.snap import one_hot_groups

Array = NDArray[np.float64]
ROUNDS = 4  # of tightening: chains of premises longer than this are rare


@dataclass(frozen=True, slots=True)
class Domain:
    """The boxes that may hold a point of the premise: `lo`, `hi` [box, variable]; `index` into `claim.boxes`."""

    claim: Claim
    lo: Array
    hi: Array
    index: NDArray[np.int64]
    discrete: NDArray[np.bool_]
    groups: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return int(self.index.shape[0])


def tightened(claim: Claim) -> Domain:
    """Each box cut down by the clauses of one atom over variables alone (interval propagation); empty ones dropped."""
    if isinstance(claim.boxes, RowBoxes):
        lo, hi = (side.copy() for side in claim.boxes.outward)
    else:
        lo = np.array([[nearest(a) for a, _ in box] for box in claim.boxes], dtype=np.float64)
        hi = np.array([[nearest(b) for _, b in box] for box in claim.boxes], dtype=np.float64)
    shape = (len(claim.boxes), len(claim.variables))
    lo, hi = lo.reshape(shape), hi.reshape(shape)
    discrete = np.array([v.discrete for v in claim.variables], dtype=np.bool_)
    atoms = [c[0] for c in claim.clauses if len(c) == 1 and not c[0].affine.calls]
    for _ in range(ROUNDS):
        for atom in atoms:
            _tighten(atom, lo, hi)
        lo[:, discrete] = np.ceil(lo[:, discrete] - 1e-9)
        hi[:, discrete] = np.floor(hi[:, discrete] + 1e-9)
    slack = 1e-9 * (1.0 + np.abs(lo) + np.abs(hi))
    alive = (lo <= hi + slack).all(axis=1)
    hi = np.maximum(lo, hi)
    return Domain(claim, lo[alive], hi[alive], np.flatnonzero(alive), discrete, one_hot_groups(claim))


def _tighten(atom: AffineAtom, lo: Array, hi: Array) -> None:
    """In place: c + Σ aᵢxᵢ >= 0 bounds each xⱼ by the most that the others can bring."""
    terms = [(i, nearest(a)) for i, a in atom.affine.variables]
    most = nearest(atom.affine.constant) + sum((np.where(a > 0, a * hi[:, i], a * lo[:, i]) for i, a in terms), 0.0)
    for i, a in terms:
        rest = most - np.where(a > 0, a * hi[:, i], a * lo[:, i])
        if a > 0:
            lo[:, i] = np.maximum(lo[:, i], -rest / a)
        else:
            hi[:, i] = np.minimum(hi[:, i], rest / -a)


def spread(
    domain: Domain, count: int, rows: Mapping[str, Array], rng: np.random.Generator
) -> tuple[Array, NDArray[np.int64]]:
    """`count` points [n, variable] and the row of `domain` that each is in: centres, random, corners, faces, data.

    `rows` maps a record type to encoded rows [m, column] that seed records of that type.
    """
    box = _boxes_for(len(domain), count, rng)
    lo, hi = domain.lo[box], domain.hi[box]
    share = rng.random(lo.shape)
    kind = rng.integers(0, 8, count)
    corner = rng.integers(0, 2, lo.shape).astype(np.float64)
    share = np.where((kind == 1)[:, None], corner, share)
    share = np.where((kind == 2)[:, None] & (rng.random(lo.shape) < 0.5), corner, share)
    share[: min(count, len(domain))] = 0.5  # every box's centre first
    x = lo + share * (hi - lo)
    seeded = kind >= 5
    if rows:
        _seed(domain, x, seeded, rows, rng)
    x = np.clip(x, lo, hi)
    _discretise(domain, x, lo, hi, rng, keep=seeded if rows else np.zeros(count, dtype=np.bool_))
    return x, box


def _boxes_for(boxes: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if count <= boxes:
        return np.sort(rng.permutation(boxes)[:count]).astype(np.int64)
    return (np.arange(count) % boxes).astype(np.int64)


def _seed(
    domain: Domain, x: Array, where: NDArray[np.bool_], rows: Mapping[str, Array], rng: np.random.Generator
) -> None:
    """In place: records of the chosen points become data rows, earlier records last (they win what is shared)."""
    chosen = np.flatnonzero(where)
    for record in reversed(domain.claim.records):
        table = rows.get(record.type_name)
        if table is None or not len(table) or table.shape[1] != len(record.variables):
            continue
        picks = table[rng.integers(0, len(table), chosen.shape[0])]
        x[np.ix_(chosen, np.array(record.variables))] = picks


def whole(domain: Domain, x: Array, lo: Array, hi: Array) -> Array:
    """A copy with discrete variables rounded, each enum to the case that leads among those its bounds allow."""
    out = x.copy()
    out[:, domain.discrete] = np.clip(np.round(x[:, domain.discrete]), lo[:, domain.discrete], hi[:, domain.discrete])
    for group in domain.groups:
        members = np.array(group)
        lead = x[:, members] - 10.0 * (hi[:, members] < 1.0) + 10.0 * (lo[:, members] >= 1.0)
        out[:, members] = 0.0
        out[np.arange(x.shape[0]), members[lead.argmax(axis=1)]] = 1.0
    return out


def _discretise(
    domain: Domain, x: Array, lo: Array, hi: Array, rng: np.random.Generator, *, keep: NDArray[np.bool_]
) -> None:
    """In place: integers, each enum one-hot on a case that its bounds allow."""
    grouped = {i for group in domain.groups for i in group}
    for i in np.flatnonzero(domain.discrete):
        if int(i) not in grouped:
            whole = np.floor(lo[:, i] + rng.random(x.shape[0]) * (hi[:, i] - lo[:, i] + 1.0))
            x[:, i] = np.clip(np.where(keep, np.round(x[:, i]), whole), lo[:, i], hi[:, i])
    for group in domain.groups:
        members = np.array(group)
        weight = rng.random((x.shape[0], len(group))) + np.where(keep[:, None], 2.0 * x[:, members], 0.0)
        weight = weight - 10.0 * (hi[:, members] < 1.0) + 10.0 * (lo[:, members] >= 1.0)
        x[:, members] = 0.0
        x[np.arange(x.shape[0]), members[weight.argmax(axis=1)]] = 1.0
