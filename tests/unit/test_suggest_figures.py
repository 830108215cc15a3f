"""Counts are exact: held against rational evaluation at every point, ties included."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from rewarden.reward.artifact import Artifact
from rewarden.reward.exact import evaluate
from rewarden.reward.statistics import statistic
from rewarden.spec_lang import Spec, parse_spec
from rewarden.spec_lang.evaluate import truth
from rewarden.spec_lang.obligation import Obligation
from rewarden.spec_lang.sampling.points import sample_rows
from rewarden.suggest import figures
from rewarden.suggest.figures import tally
from tests.reference.suggesting import FEATURES, network, project

RULES = [
    "forall a, b: Step varying up\n  given a.up <= b.up\n  expect R(a) <= R(b)",
    "forall a, b: Step varying idle\n  expect R(a) == R(b)",
    "forall a, b: Step varying idle\n  expect R(a) < R(b)",
    "forall a, b: Step varying up\n  expect |R(a) - R(b)| <= 0.3 + min(1, a.idle * 2)",
    "forall s: Step\n  expect R(s) <= quantile(R(logs), 0.25) or not s.flag",
    "forall s: Step\n  expect -1 / 3 <= R(s) < mean(R(logs))",
    "forall x: Step near crashes within 5 %\n  expect R(x) >= R(anchor(x)) - 0.01",
    "forall s: Step\n  given s.up <= 9 [m]\n  expect R(s with {up = s.up + 1 [m]}) >= R(s)",
]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Spec, Artifact]:
    spec = project(tmp_path_factory.mktemp("known"), rows=60)
    # flat below 4 m and above 8 m, and nothing reads `idle`
    reward = network(spec, [({"up": 1}, -4), ({"up": 1}, -8), ({"down": 1, "flag": -1}, 0.3)], [0.1, -0.1, -0.7])
    return spec, reward


@pytest.mark.parametrize("rule", RULES)
def test_counts_are_those_of_exact_evaluation(known: tuple[Spec, Artifact], rule: str) -> None:
    spec, reward = known
    parsed = _with(spec, rule)
    obligation = parsed.obligation("rule")
    points = sample_rows(obligation, 60, 1)
    assert len(points) > 20
    found = tally(obligation, points, parsed, {"R": reward})
    held = sum(_holds(parsed, reward, obligation, row) for row in points)
    assert (found.count, found.held, found.undecided) == (len(points), held, 0)
    assert found.everywhere == (held == len(points))
    assert found.at is not None
    if held < len(points):
        assert found.worst <= 0


def test_what_is_not_evaluated_counts_as_undecided(
    known: tuple[Spec, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, reward = known
    monkeypatch.setattr(figures, "EXACT", 10)
    parsed = _with(spec, RULES[1])
    obligation = parsed.obligation("rule")
    points = sample_rows(obligation, 60, 1)
    found = tally(obligation, points, parsed, {"R": reward})
    assert found.undecided > 0
    assert found.held + found.undecided == found.count  # all of them hold
    assert not found.everywhere


def test_no_points_hold_nothing(known: tuple[Spec, Artifact]) -> None:
    spec, reward = known
    parsed = _with(spec, RULES[0])
    obligation = parsed.obligation("rule")
    found = tally(obligation, np.zeros((0, len(obligation.variables))), parsed, {"R": reward})
    assert (found.count, found.held, found.everywhere) == (0, 0, False)


def _with(spec: Spec, rule: str) -> Spec:
    data = 'data logs: Step from "logs.parquet"\ndata crashes: Step from "crashes.parquet"'
    text = f"spec known v1\n{FEATURES}\nreward R(s: Step)\n{data}\nshould rule:\n  {rule}\n"
    assert isinstance(spec.base, Path)
    return parse_spec(text, base=spec.base)


def _holds(spec: Spec, reward: Artifact, obligation: Obligation, row: np.ndarray) -> bool:
    return truth(
        obligation.conclusion,
        [Fraction(float(v)) for v in row],
        lambda _, arguments: evaluate(reward, arguments),
        lambda constant: statistic(reward, spec.table(constant.data).values, constant.kind, constant.level),
    )
