"""Certificate kernel: leaves shared between processes. Each of them is checked in one, or the claim is refused.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from multiprocessing import Pool

from rewarden.certificate.kernel_claim import Claim
from rewarden.certificate.kernel_json import Refused, refuse, used
from rewarden.certificate.kernel_program import Program
from rewarden.certificate.kernel_proof import Check, Leaf, check_some

_shared: list[tuple[Check, Claim, Program]] = []  # in each process: how to check leaves, and what they are about


def _share(how: Check, claim: Claim, program: Program) -> None:
    _shared[:] = [(how, claim, program)]


def _checked(chunk: Sequence[Leaf]) -> tuple[str | None, int, set[str]]:
    """Why one is refused; how many there are, and on which files that rests."""
    try:
        return None, check_some(*_shared[0], chunk), used
    except Refused as error:
        return str(error), 0, used


def in_processes(workers: int, how: Check, claim: Claim, program: Program, chunks: Iterator[list[Leaf]]) -> int:
    """How many leaves there are; refused unless each of them holds."""
    used.add("kernel_jobs")
    total = 0
    with Pool(workers, _share, (how, claim, program)) as pool:
        for why, count, files in pool.imap_unordered(_checked, chunks):
            used.update(files)
            total += count if why is None else refuse(why)
    return total
