"""Running torch so that the same seed gives the same bytes, and leaving it as it was found.

Four things make a run repeatable: one generator that belongs to the run; one thread, since a sum split over two is
rounded in another order; training in binary64, where `precision = "double"`, whose noise is `settle`d once an epoch;
and weights with short mantissas at the end. The last two are against processors whose vector units disagree in the
16th digit: training is chaotic and would blow that up, but rounded to binary32 once an epoch the two runs are nearly
always equal again. On recorded driving, AVX-512, AVX2 and no vector unit gave the same digests. The claim is
nevertheless only "this code, seed, data and torch build on this kind of processor". Short mantissas also keep the
integers of exact proofs small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.spec_lang.errors import DataError

WEIGHT_BITS = 14


@contextmanager
def deterministic(seed: int) -> Iterator[torch.Generator]:
    """One thread, deterministic kernels, gradients on; yields the run's generator. Global state is restored."""
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    generator = torch.Generator(device="cpu")
    generator.manual_seed(seed)
    try:
        torch.set_num_threads(1)
        torch.set_deterministic_debug_mode("error")  # as `use_deterministic_algorithms`, which imports compilers, too
        with torch.inference_mode(False), torch.enable_grad(), _on_cpu():
            yield generator
    finally:
        torch.set_deterministic_debug_mode(mode)
        torch.set_num_threads(threads)


def _on_cpu() -> AbstractContextManager[object]:
    """New tensors on the CPU, whatever the caller's default; the mode slows every call, so only where it is needed."""
    return nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")


def tensor64(values: NDArray[np.float64] | NDArray[np.float32]) -> Tensor:
    """A binary64 copy in torch's own, aligned memory: vector kernels may round by alignment."""
    array = np.ascontiguousarray(values, np.float64)
    return torch.from_numpy(array if array.flags.writeable else array.copy()).clone()


def precise(precision: str) -> torch.dtype:
    """The binary numbers of an option `precision`."""
    return torch.float64 if precision == "double" else torch.float32


def dyadic(values: Tensor | NDArray[np.float64] | float, bits: int = WEIGHT_BITS) -> NDArray[np.float32]:
    """The values on a fixed-point grid, `bits` below the power of two over the largest: exact in binary32."""
    array = values.detach().numpy() if isinstance(values, Tensor) else np.asarray(values, np.float64)
    top = float(np.abs(array).max(initial=0.0))
    if top == 0.0:
        return np.zeros(array.shape, np.float32)
    step = 2.0 ** (math.frexp(top)[1] - bits)
    # Adding 0 turns the -0.0 that rounding leaves into 0.0: equal numbers then have equal bytes.
    return np.asarray(np.rint(array / step) * step + 0.0, np.float32)


def settle(optimiser: torch.optim.Optimizer) -> None:
    """Round parameters and moments to binary32, in place: what differs in the 16th digit is gone, nothing else is."""
    with torch.no_grad():
        for group in optimiser.param_groups:
            for parameter in group["params"]:
                for tensor in (parameter, *(v for v in optimiser.state[parameter].values() if v.ndim)):
                    tensor.copy_(tensor.to(torch.float32).to(tensor.dtype))


def split(count: int, shares: tuple[float, ...], generator: torch.Generator) -> tuple[Tensor, ...]:
    """A random partition of 0 … count−1: the rest first, then one part per share (at least one item each)."""
    order = torch.randperm(count, generator=generator)
    sizes = [max(1, round(share * count)) for share in shares]
    parts, start = [], 0
    for size in (count - sum(sizes), *sizes):
        parts.append(order[start : start + size])
        start += size
    return tuple(parts)


def split_distinct(
    key: NDArray[np.float64], shares: tuple[float, ...], generator: torch.Generator
) -> tuple[Tensor, ...]:
    """As `split`, of the rows of `key` [n, …], but equal rows stay together: what is held out was never seen.

    Keys that are all different are split as `split` does. Raises DataError D20 where too few differ for all parts.
    """
    _, group = np.unique(key, axis=0, return_inverse=True)
    group = group.reshape(-1)
    distinct = int(group.max()) + 1
    if distinct <= len(shares):
        raise DataError(
            "D20",
            f"only {distinct} of {len(key)} are different: too few to learn from and to hold some out",
            help="the data repeat themselves: give others",
        )
    if distinct == len(key):
        return split(len(key), shares, generator)
    parts = split(distinct, shares, generator)
    return tuple(torch.from_numpy(np.flatnonzero(np.isin(group, part.numpy()))) for part in parts)


def batches(items: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """The items in a fresh random order, `size` at a time."""
    order = torch.randperm(len(items), generator=generator)
    for start in range(0, len(items), size):
        yield items[order[start : start + size]]


def quantile(values: Tensor, level: float) -> float:
    """The ceil(level·n)-th smallest (at least the first): the language's quantile."""
    ordered = torch.sort(values.flatten()).values
    return float(ordered[max(math.ceil(level * len(ordered)), 1) - 1])
