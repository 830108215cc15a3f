"""What torch has been set to by others is put aside while bounds are computed: device, default dtype, the format of
matrix products, threads.

Bounds ask for binary64 wherever they make a tensor, and none is made on a GPU. A default device or dtype of the
caller's would still reach what is made without saying so. Wide heads take products of binary32 matrices
(`wide/sharpen.py`), which a caller may have allowed torch to form in bfloat16 or TF32: on a CPU that is oneDNN's
setting, which `torch.set_float32_matmul_precision` writes as well. The search's sums are reproducible only for a fixed
number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


@contextmanager
def plain_torch(threads: int | None = None) -> Iterator[None]:
    """On the CPU, with torch's own default dtype, products in the format of their operands, on `threads` threads (None:
    as many as there are)."""
    dtype, count = torch.get_default_dtype(), torch.get_num_threads()
    products = _products()
    with ExitStack() as stack:
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if dtype != torch.float32:
            stack.callback(torch.set_default_dtype, dtype)
            torch.set_default_dtype(torch.float32)
        if products not in ("none", "ieee", "highest"):
            stack.callback(_set_products, products)
            _set_products("ieee" if _BACKEND else "highest")
        if threads is not None:
            stack.callback(torch.set_num_threads, count)
            torch.set_num_threads(threads)
        yield


_BACKEND: Any = getattr(torch.backends.mkldnn, "matmul", None)  # None before torch 2.9, which has the other name alone


def _products() -> str:
    return str(_BACKEND.fp32_precision) if _BACKEND else torch.get_float32_matmul_precision()


def _set_products(name: str) -> None:
    if _BACKEND:
        _BACKEND.fp32_precision = name
    else:
        torch.set_float32_matmul_precision(name)
