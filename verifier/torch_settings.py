"""What torch has been set to by others is put aside while bounds are computed: device, default precision, threads.

Bounds ask for binary64 wherever they make a tensor, and none is made on a GPU. A default device or dtype of the
caller's would still reach what is made without saying so. The search's sums are reproducible only for a fixed number of
threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def plain_torch(threads: int | None = None) -> Iterator[None]:
    """On the CPU, with torch's own default dtype, on `threads` threads (None: as many as there are)."""
    dtype, count = torch.get_default_dtype(), torch.get_num_threads()
    with ExitStack() as stack:
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if dtype != torch.float32:
            stack.callback(torch.set_default_dtype, dtype)
            torch.set_default_dtype(torch.float32)
        if threads is not None:
            stack.callback(torch.set_num_threads, count)
            torch.set_num_threads(threads)
        yield
