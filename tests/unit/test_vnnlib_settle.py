"""Which engine has how much of a query, and when; on how many of torch's threads."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest
import torch

from rewarden.verifier.cells.engine import CellsOutcome
from rewarden.verifier.engines.interface import Outcome
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.verdict import Reason, Work
from rewarden.verifier.vnnlib import settle
from rewarden.verifier.vnnlib.settle import LAST, Question
from tests.reference.tiny_networks import tiny_claim


@dataclass
class _Cells:
    """Cells that settle nothing; `most`: after so many boxes they can cut no further."""

    most: float
    boxes: int = 0

    def run(self, budget: int, *_: object) -> CellsOutcome:
        self.boxes = int(min(self.boxes + budget, self.most))
        return CellsOutcome("unknown", self.boxes, 0.0)


@dataclass
class _Engines:
    """Engines that find nothing, and note what they were asked for."""

    cells: _Cells
    asked: list[tuple[str, int, int]] = field(default_factory=list)  # engine, boxes of cells before, work
    threads: set[int] = field(default_factory=set)

    def start(self, name: str, *_: object) -> _Run:
        return _Run(name, self)


@dataclass
class _Run:
    name: str
    engines: _Engines

    def go(self, work: int) -> Outcome:
        self.engines.asked.append((self.name, self.engines.cells.boxes, work))
        self.engines.threads.add(torch.get_num_threads())
        return Outcome(status="open", reason=Reason.BUDGET, work=Work())


def _engines(monkeypatch: pytest.MonkeyPatch, budget: int, most: float = float("inf")) -> _Engines:
    claim, rewards = tiny_claim(3)
    cells = _Cells(most)
    engines = _Engines(cells)
    monkeypatch.setattr(settle.Cells, "of", lambda _: cells)
    monkeypatch.setattr(settle.engines, "start", engines.start)
    options = VerifyOptions(budget=budget, falsify_budget=600)
    found = Question(claim, rewards, options, time.monotonic(), lambda _: None).settle()
    assert not found.refuted
    assert found.point is None
    assert found.work.boxes == cells.boxes
    return engines


def test_the_search_is_asked_again_as_cells_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    engines = _engines(monkeypatch, 200_000)
    searched = [("falsify", 4_000, 600), ("falsify", 16_000, 2_400), ("falsify", 64_000, 9_600)]
    assert engines.asked == [*searched, *((name, 200_000, 200_000) for name in LAST)]


@pytest.mark.parametrize(("budget", "most"), [(0, 0), (3_000, 3_000), (200_000, 1_500)])
def test_it_is_asked_once_where_cells_do_not_go_on(monkeypatch: pytest.MonkeyPatch, budget: int, most: int) -> None:
    engines = _engines(monkeypatch, budget, most)
    assert engines.asked == [("falsify", most, 600), *((name, most, budget) for name in LAST)]


def test_engines_run_on_as_many_threads_as_the_options_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums in other orders would find other solutions; and threads that wait for each other took four times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert _engines(monkeypatch, 100).threads == {1}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
