"""Made-up records, drawn by a run's own generator."""

from __future__ import annotations

import torch
from torch import Tensor

from rewarden.spec_lang.features import RecordType


def uniform(record_type: RecordType, count: int, generator: torch.Generator) -> Tensor:
    """Encoded rows [count, width] in problem units, uniform over the declared ranges; discrete features take values
    that they can have."""
    parts = []
    for feature in record_type.features:
        lo, hi = float(feature.lo), float(feature.hi)
        match feature.kind:
            case "enum":
                cases = len(feature.cases)
                drawn = torch.randint(cases, (count,), generator=generator)
                parts.append(torch.nn.functional.one_hot(drawn, cases).to(torch.float64))
            case "real":
                drawn = torch.rand((count, feature.size), generator=generator, dtype=torch.float64)
                parts.append(lo + drawn * (hi - lo))
            case _:
                drawn = torch.rand((count, feature.size), generator=generator, dtype=torch.float64)
                parts.append((lo + torch.floor(drawn * (hi - lo + 1))).clamp(max=hi))
    return torch.cat(parts, dim=1)


def shuffled(rows: Tensor, record_type: RecordType, generator: torch.Generator) -> Tensor:
    """Rows whose features come from different rows: right one by one, wrong together."""
    parts, start = [], 0
    for feature in record_type.features:
        stop = start + feature.width
        parts.append(rows[torch.randperm(len(rows), generator=generator), start:stop])
        start = stop
    return torch.cat(parts, dim=1)
