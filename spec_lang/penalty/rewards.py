"""The rewards that a penalty is about, as functions on rows: where they compute and in which precision, and the data
constants that rules take from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from math import ceil

import torch
from torch import Tensor

from rewarden.spec_lang.errors import BindingError
from rewarden.spec_lang.obligation import Obligation, Statistic
from rewarden.spec_lang.penalty.reading import RewardFunction, checked
from rewarden.spec_lang.spec import Spec
from rewarden.spec_lang.term_walk import nodes

_CELLS = 2**22  # numbers handed to a reward at once, where data constants are computed


@dataclass(frozen=True, slots=True)
class Home:
    """Where a reward computes, and in which precision."""

    device: torch.device
    dtype: torch.dtype


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """Rewards by name. A module is asked in the dtype and on the device of its parameters, any other function in
    torch's defaults."""

    functions: Mapping[str, RewardFunction]
    homes: Mapping[str, Home]
    device: torch.device  # where penalties are computed

    @staticmethod
    def of(functions: Mapping[str, RewardFunction]) -> Bound:
        homes = {name: _home(function) for name, function in functions.items()}
        return Bound(dict(functions), homes, next(iter(homes.values())).device)

    @property
    def single(self) -> bool:
        """Does any of them compute in less than binary64?"""
        return any(home.dtype != torch.float64 for home in self.homes.values())

    def placed(self, reward: str, rows: Tensor) -> Tensor:
        """Rows as the reward takes them. BindingError B22 for a reward that is not there."""
        if reward not in self.functions:
            raise BindingError("B22", f"no function is given for the reward {reward}", help="pass one by name")
        home = self.homes[reward]
        return rows.to(home.device, home.dtype)

    def answers(self, reward: str, placed: Tensor) -> Tensor:
        """What the reward says of placed rows, as float64 [n]."""
        return checked(self.functions[reward](placed), reward, len(placed)).to(self.device)

    def ask(self, reward: str, rows: Tensor) -> Tensor:
        return self.answers(reward, self.placed(reward, rows))


def _home(function: RewardFunction) -> Home:
    if isinstance(function, torch.nn.Module):
        for tensor in chain(function.parameters(), function.buffers()):
            if tensor.is_floating_point():
                return Home(tensor.device, tensor.dtype)
    return Home(torch.get_default_device(), torch.get_default_dtype())


class DataConstants:
    """Data constants of the rewards as they are now, detached. Mutable: the data as each reward takes them, and the
    values since they were last computed."""

    def __init__(self, spec: Spec, bound: Bound, wanted: Iterable[Statistic]) -> None:
        self.spec, self.bound = spec, bound
        self.wanted = tuple(dict.fromkeys(wanted))
        self.values: dict[Statistic, float] = {}
        self._rows: dict[tuple[str, str], Tensor] = {}

    def refresh(self) -> None:
        """Computes all of them, asking each reward once about each data set."""
        outputs: dict[tuple[str, str], Tensor] = {}
        for statistic in self.wanted:
            key = (statistic.reward, statistic.data)
            if key not in outputs:
                outputs[key] = self._outputs(*key)
            self.values[statistic] = value_of(statistic, outputs[key])

    def _outputs(self, reward: str, data: str) -> Tensor:
        if (reward, data) not in self._rows:
            self._rows[reward, data] = self.bound.placed(reward, torch.from_numpy(self.spec.rows(data).values.copy()))
        rows = self._rows[reward, data]
        with torch.no_grad():
            size = max(1, _CELLS // max(1, rows.shape[1]))
            chunks = [rows[start : start + size] for start in range(0, len(rows), size)]
            return torch.cat([self.bound.answers(reward, chunk) for chunk in chunks])


def constants_in(obligations: Iterable[Obligation]) -> tuple[Statistic, ...]:
    """The data constants that premises and conclusions speak of, in order of first use."""
    parts = [part for o in obligations for part in (o.premise, o.conclusion)]
    return tuple(dict.fromkeys(node for part in parts for node in nodes(part) if isinstance(node, Statistic)))


def value_of(statistic: Statistic, outputs: Tensor) -> float:
    """The constant, from the reward's outputs [n] on the data; `quantile` is the ⌈level·n⌉-th smallest, at least the
    first."""
    match statistic.kind:
        case "mean":
            return float(outputs.mean())
        case "min":
            return float(outputs.min())
        case "max":
            return float(outputs.max())
        case "quantile":
            assert statistic.level is not None
            return float(outputs.kthvalue(max(1, ceil(statistic.level * len(outputs)))).values)
