"""Made-up records, drawn by a run's own generator."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rewarden.spec_lang.features import RecordType


@dataclass(frozen=True, slots=True, eq=False)
class Uniform:
    """Encoded rows in problem units, uniform over the declared ranges; discrete features take values that they can
    have. One draw for all columns: what is made up for a step of training may take longer than the step."""

    lo: Tensor  # [column]; of a whole number, room is one more than its range
    hi: Tensor
    room: Tensor
    whole: Tensor  # columns
    cases: tuple[tuple[int, int], ...]  # where the columns of an enum begin and end

    @classmethod
    def of(cls, record_type: RecordType, dtype: torch.dtype = torch.float64) -> Uniform:
        lo: list[float] = []
        hi: list[float] = []
        whole: list[int] = []
        cases: list[tuple[int, int]] = []
        start = 0
        for feature in record_type.features:
            stop = start + feature.width
            if feature.kind == "enum":
                cases.append((start, stop))
            elif feature.kind != "real":
                whole += range(start, stop)
            lo += [0.0 if feature.kind == "enum" else float(feature.lo)] * feature.width
            hi += [1.0 if feature.kind == "enum" else float(feature.hi)] * feature.width
            start = stop
        low, high = torch.tensor(lo, dtype=dtype), torch.tensor(hi, dtype=dtype)
        room = high - low
        room[whole] += 1
        return cls(low, high, room, torch.tensor(whole, dtype=torch.long), tuple(cases))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """[count, width]."""
        drawn = torch.rand((count, len(self.lo)), generator=generator, dtype=self.lo.dtype)
        found = torch.addcmul(self.lo, drawn, self.room)
        if len(self.whole):
            found[:, self.whole] = torch.floor(found[:, self.whole])
        found = torch.minimum(found, self.hi)  # rounding may lead out of the range
        for start, stop in self.cases:
            chosen = (drawn[:, start] * (stop - start)).long().clamp(max=stop - start - 1)
            found[:, start:stop] = torch.nn.functional.one_hot(chosen, stop - start).to(found.dtype)
        return found


def uniform(record_type: RecordType, count: int, generator: torch.Generator) -> Tensor:
    """Rows [count, width] of `Uniform`, in binary64."""
    return Uniform.of(record_type).draw(count, generator)


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """Rows whose features come from different rows of some: right one by one, wrong together."""

    rows: Tensor  # [row, width]
    feature: Tensor  # of each column

    @classmethod
    def of(cls, rows: Tensor, record_type: RecordType) -> Mixed:
        return cls(rows, torch.tensor([k for k, f in enumerate(record_type.features) for _ in range(f.width)]))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """[count, width]."""
        features = int(self.feature[-1]) + 1
        picked = torch.randint(len(self.rows), (count, features), generator=generator)
        return self.rows.gather(0, picked if features == len(self.feature) else picked[:, self.feature])


def shuffled(rows: Tensor, record_type: RecordType, generator: torch.Generator) -> Tensor:
    """Rows whose features come from different rows: right one by one, wrong together."""
    parts, start = [], 0
    for feature in record_type.features:
        stop = start + feature.width
        parts.append(rows[torch.randperm(len(rows), generator=generator), start:stop])
        start = stop
    return torch.cat(parts, dim=1)
