"""The flint tier: the kernel's exact integers, with products of rows and matrices by python-flint. Nothing is rounded
that the kernel does not round, so both give the same bounds to the last digit."""

from __future__ import annotations

from collections.abc import Sequence

from flint import fmpz_mat

from rewarden.certificate.kernel_bounds import ROUGHLY, TOGETHER, Bounds
from rewarden.certificate.kernel_claim import Claim
from rewarden.certificate.kernel_program import Block, Program
from rewarden.certificate.kernel_proof import Leaf, Plan, bounds_of, check_leaf
from rewarden.certificate.kernel_steps import Stepping

NAME = "flint exact integer arithmetic (python-flint)"
MAX_DENSE = 1 << 22  # entries of a matrix
_known: dict[int, tuple[Block, fmpz_mat]] = {}  # by identity; the block is held, so that no other takes its place


class FlintBounds(Stepping):
    def pull(self, block: Block, row: list[int]) -> list[int]:
        m, n = len(block.rows), len(block.columns)
        if m < 4 or m * n > MAX_DENSE or sum(map(len, block.rows)) * 4 < m * n:
            return super().pull(block, row)
        if id(block) not in _known:
            if len(_known) > 1000:
                _known.clear()
            _known[id(block)] = block, fmpz_mat([[found.get(j, 0) for j in range(n)] for found in block.rows])
        return [int(x) for x in (fmpz_mat(1, m, row) * _known[id(block)][1]).entries()]


def _bounds(todo: Plan, effort: int) -> Bounds:
    if effort in (ROUGHLY, TOGETHER):
        return bounds_of(todo, effort)
    return FlintBounds(todo.program, todo.box, todo.slopes, effort, todo.signs)


def check_leaves_flint(claim: Claim, program: Program, found: Sequence[Leaf]) -> None:
    """The kernel's `check_leaves`, with these products."""
    for leaf in found:
        check_leaf(claim, program, leaf, _bounds)


check_leaves_flint.bounding = _bounds  # type: ignore[attr-defined]  # for leaves that share theirs
