"""All calls of each reward, of all rules at all points, as one batch: what is asked together costs one forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rewarden.spec_lang.penalty.program import Prepared
from rewarden.spec_lang.penalty.rewards import Bound


@dataclass(frozen=True, slots=True)
class _Slice:
    reward: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True, eq=False)
class Joint:
    """`rows` per reward, as it takes them; `calls` per program and call: where its records are among them."""

    rows: Mapping[str, Tensor]
    calls: tuple[tuple[_Slice, ...], ...]
    counts: tuple[int, ...]

    @staticmethod
    def of(parts: Sequence[Prepared], bound: Bound) -> Joint:
        """Raises BindingError B22 for a reward that is not there."""
        rows: dict[str, list[Tensor]] = {}
        filled: dict[str, int] = {}
        calls = []
        for part in parts:
            slices = []
            for call, arguments in zip(part.program.calls, part.arguments, strict=True):
                start = filled.get(call.reward, 0)
                filled[call.reward] = start + len(arguments)
                rows.setdefault(call.reward, []).append(arguments)
                slices.append(_Slice(call.reward, start, filled[call.reward]))
            calls.append(tuple(slices))
        placed = {reward: bound.placed(reward, torch.cat(some)) for reward, some in rows.items()}
        return Joint(placed, tuple(calls), tuple(len(part.points) for part in parts))

    def outputs(self, bound: Bound) -> Iterator[Tensor]:
        """float64 [call, n] per program. Rewards are asked here, each once, and not at all about nothing."""
        answers = {reward: bound.answers(reward, rows) for reward, rows in self.rows.items() if len(rows)}
        for slices, n in zip(self.calls, self.counts, strict=True):
            if not slices or not n:
                yield torch.zeros((len(slices), n), dtype=torch.float64, device=bound.device)
            elif len({s.reward for s in slices}) == 1:  # then they stand side by side
                yield answers[slices[0].reward][slices[0].start : slices[-1].stop].view(len(slices), n)
            else:
                yield torch.stack([answers[s.reward][s.start : s.stop] for s in slices])
