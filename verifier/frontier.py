"""The open boxes of a search (mutable): first in, first out, until there are too many of them; then last in, first out.

Breadth first settles the most volume for a budget and depends on nothing but the claim; depth first, beyond the limit,
keeps memory bounded. Boxes are grouped by context, since a batch shares its facts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rewarden.verifier.box_minimum import Boxes
from rewarden.verifier.context import Context

MAX_BYTES = 2**28


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Boxes of one context, their nodes in the tree, the share of the domain that each stands for, and a lower bound of
    the goal in each: what was found for the box that it is a part of, -inf for one that is whole."""

    context: Context
    boxes: Boxes
    node: Tensor
    share: Tensor
    bound: Tensor

    @property
    def size(self) -> int:
        return int(self.node.shape[0])

    def take(self, index: Tensor) -> Batch:
        return Batch(self.context, self.boxes.take(index), self.node[index], self.share[index], self.bound[index])


@dataclass(slots=True, eq=False)
class Frontier:
    variables: int
    _queues: dict[int, deque[Batch]] = field(default_factory=dict)  # by id of context, in order of first use
    _sizes: dict[int, int] = field(default_factory=dict)
    size: int = 0

    def push(self, batch: Batch) -> None:
        if batch.size:
            key = id(batch.context)
            self._queues.setdefault(key, deque()).append(batch)
            self._sizes[key] = self._sizes.get(key, 0) + batch.size
            self.size += batch.size

    def pop(self, count: int) -> Batch:
        """Up to `count` boxes of the context with most of them."""
        key = max(self._sizes, key=lambda k: self._sizes[k])
        queue, newest = self._queues[key], self.size > MAX_BYTES // (16 * self.variables + 56)
        parts: list[Batch] = []
        while queue and count > 0:
            part = queue.pop() if newest else queue.popleft()
            if part.size > count:
                order = torch.arange(part.size)
                taken, rest = (order[-count:], order[:-count]) if newest else (order[:count], order[count:])
                (queue.append if newest else queue.appendleft)(part.take(rest))
                part = part.take(taken)
            parts.append(part)
            count -= part.size
            self._sizes[key] -= part.size
            self.size -= part.size
        return Batch(
            parts[0].context,
            Boxes(torch.cat([p.boxes.lo for p in parts]), torch.cat([p.boxes.hi for p in parts])),
            torch.cat([p.node for p in parts]),
            torch.cat([p.share for p in parts]),
            torch.cat([p.bound for p in parts]),
        )

    def queues(self) -> Iterator[tuple[int, list[Batch]]]:
        """What waits, by id of context, in the order in which contexts are preferred."""
        yield from ((key, list(queue)) for key, queue in self._queues.items())

    def reserve(self, context: Context) -> None:
        """A context's place in that order."""
        self._queues.setdefault(id(context), deque())
        self._sizes.setdefault(id(context), 0)

    def batches(self) -> Iterator[Batch]:
        for queue in self._queues.values():
            yield from queue
