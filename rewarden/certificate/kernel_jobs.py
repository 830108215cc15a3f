"""Certificate kernel: leaves shared between processes. Each is checked in one of them, or the claim is refused: also
where one ends without an answer. Standard library only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, repeat

from rewarden.certificate.kernel_claim import Claim
from rewarden.certificate.kernel_json import refuse, used
from rewarden.certificate.kernel_program import Program
from rewarden.certificate.kernel_proof import Check, Leaf, check_some

AHEAD = 4  # chunks that wait for each process
_shared: list[tuple[Check, Claim, Program]] = []  # in each process: how to check leaves, and what they are about


def _share(how: Check, claim: Claim, program: Program) -> None:
    _shared[:] = [(how, claim, program)]


def _checked(chunk: Sequence[Leaf]) -> tuple[int, set[str]]:
    """How many leaves there are, and on which files that rests; refused unless each holds."""
    return check_some(*_shared[0], chunk), used


def in_processes(workers: int, how: Check, claim: Claim, program: Program, chunks: Iterator[list[Leaf]]) -> int:
    """How many leaves there are; refused unless each of them holds."""
    used.add("kernel_jobs")
    total, waiting = 0, deque[Future[tuple[int, set[str]]]]()
    pool = ProcessPoolExecutor(workers, initializer=_share, initargs=(how, claim, program))
    try:
        for chunk in chain(chunks, repeat([], AHEAD * workers)):  # at the end none but so many empty ones wait
            waiting.append(pool.submit(_checked, chunk))
            if len(waiting) > AHEAD * workers:
                count, files = waiting.popleft().result()
                used.update(files)
                total += count
    except BrokenProcessPool:
        refuse("a process that checked leaves has ended without an answer")
    finally:
        pool.shutdown(cancel_futures=True)
    return total
