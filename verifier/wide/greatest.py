"""Upper bounds of one row over many boxes, where only the greatest of them matters.

Every box is bounded with intervals and one back-substituted row. Those whose bound is greatest are bounded again, with
their neurons back-substituted as well, and this goes on for as long as some box that has not had its turn has a bound
above the greatest of those that have: what the others might gain would change nothing. Boxes are taken in chunks whose
results depend neither on each other nor on how many cores there are.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from rewarden.verifier.wide.bounds import Known, all_rows, default_lines, known_by_intervals, lower_rows
from rewarden.verifier.wide.network import Network, Node
from rewarden.verifier.wide.sharpen import sharpened
from rewarden.verifier.wide.split import DEEP, QUICK, WORKERS

Bounds = tuple[Tensor, Tensor]  # upper bounds [box], and the axis along which each leans most, by slope and width


def deciding(network: Network, row: Node, lo: Tensor, hi: Tensor) -> Bounds:
    """Upper bounds of −row, which is one, over boxes lo, hi [box, variable]. The greatest of them is as good as if all
    boxes had been back-substituted."""
    with ThreadPoolExecutor(WORKERS, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        parts = list(pool.map(lambda some: _quick(network, row, *some), _chunks(lo, hi, QUICK)))
        bound, axis = torch.cat([b for b, _ in parts]), torch.cat([a for _, a in parts])
        order = bound.argsort(descending=True, stable=True)
        done, best = 0, -torch.inf
        while done < len(order) and float(bound[order[done]]) > best:
            some = order[done : done + WORKERS * DEEP]
            parts = list(
                pool.map(lambda each: back_substituted(network, row, *each), _chunks(lo[some], hi[some], DEEP))
            )
            bound[some] = torch.minimum(bound[some], torch.cat([b for b, _ in parts]))
            axis[some] = torch.cat([a for _, a in parts])
            best, done = max(best, float(bound[some].max())), done + len(some)
    return bound, axis


def back_substituted(network: Network, row: Node, lo: Tensor, hi: Tensor) -> Bounds:
    with torch.no_grad():
        return _upper(network, row, sharpened(network, known_by_intervals(network, lo, hi)), hi - lo)


def _quick(network: Network, row: Node, lo: Tensor, hi: Tensor) -> Bounds:
    with torch.no_grad():
        return _upper(network, row, known_by_intervals(network, lo, hi), hi - lo)


def _upper(network: Network, row: Node, known: Known, width: Tensor) -> Bounds:
    found = lower_rows(network, known, default_lines(known), all_rows(known, row))
    return -found.bound[:, 0], (found.slope[:, 0].abs() * width).argmax(-1)


def _chunks(lo: Tensor, hi: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(torch.split(lo, size), torch.split(hi, size), strict=True))
