"""Assumptions: what is built into data is found, holds on every row, and nothing is found where nothing is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rewarden.spec_lang import Spec, load_spec, parse_spec
from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.suggest.correlations import LEAST_ROWS, MOST, correlations
from rewarden.suggest.drafting import suggest
from rewarden.suggest.hull import upper_slopes
from rewarden.suggest.scene import scene_of

Columns = dict[str, object]


def spec_of(folder: Path, features: str, columns: Columns, more: str = "") -> Spec:
    pq.write_table(pa.table(columns), folder / "logs.parquet")
    text = f'spec t v1\nfeatures T {{\n{features}\n}}\ndata logs: T from "logs.parquet"\n{more}\n'
    (folder / "t.rwd").write_text(text)
    return load_spec(folder / "t.rwd")


def found_in(spec: Spec) -> list[str]:
    """The assumptions' texts; each is held against the rows, uncommented."""
    scene = scene_of(spec, (), ())
    assumptions = correlations(scene)
    for assumption in assumptions:
        assuming = parse_spec(f"{scene.header}\n{assumption.text}\n", base=spec.base)
        assert assuming.table("logs").rows == spec.table("logs").rows  # read again: every row satisfies it
    return [assumption.text.partition(" = ")[2] for assumption in assumptions]


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(11)


def test_one_feature_below_another(tmp_path: Path, generator: np.random.Generator) -> None:
    y = generator.uniform(0, 10, 500)
    columns = {"x": generator.uniform(0, 1, 500) * y, "y": y}
    features = "  x: real [m] in 0 .. 10\n  y: real [m] in 0 .. 10"
    assert found_in(spec_of(tmp_path, features, columns)) == ["s.x <= s.y"]


def test_a_band_with_units(tmp_path: Path, generator: np.random.Generator) -> None:
    x = generator.uniform(0, 100, 500)
    columns = {"x": x, "y": 0.25 * x + 3 + generator.uniform(-1, 1, 500)}
    features = "  x: real [m] in 0 .. 100\n  y: real [m/s] in 0 .. 40"
    (text,) = found_in(spec_of(tmp_path, features, columns))
    assert text.startswith("1.")
    assert "[m/s] <= s.y - 0.25 [m/s/m] * s.x <= " in text


def test_a_size_that_shrinks(tmp_path: Path, generator: np.random.Generator) -> None:
    x = generator.uniform(0, 40, 2000)
    columns = {"x": x, "y": generator.uniform(-1, 1, 2000) * (1 - x / 50)}
    features = "  x: real in 0 .. 40\n  y: real in -1 .. 1"
    (text, *_) = found_in(spec_of(tmp_path, features, columns))
    assert text.startswith("|s.y| <= 1.0")
    assert text.endswith(" - 0.02 * s.x")


def test_sine_and_cosine(tmp_path: Path, generator: np.random.Generator) -> None:
    angle = generator.uniform(-np.pi, np.pi, 500)
    columns = {"c": np.cos(angle), "d": np.sin(angle)}
    features = "  c: real in -1 .. 1\n  d: real in -1 .. 1"
    assert found_in(spec_of(tmp_path, features, columns)) == ["0.999 <= |s.c| + |s.d| <= 1.42"]


def test_what_a_case_implies(tmp_path: Path, generator: np.random.Generator) -> None:
    lead = generator.random(800) < 0.7
    zone = np.where(generator.random(800) < 0.2, "charger", "aisle")
    columns = {
        "lead": lead,
        "gap": np.where(lead, generator.uniform(2, 90, 800), 100.0),
        "zone": zone.tolist(),
        "speed": np.where(zone == "charger", generator.uniform(0, 0.5, 800), generator.uniform(0, 2.5, 800)),
    }
    features = """  lead: bool
  gap: real [m] in 0 .. 100
  zone: enum {charger, aisle}
  speed: real [m/s] in 0 .. 2.5"""
    found = found_in(spec_of(tmp_path, features, columns))
    assert "not s.lead implies s.gap == 100 [m]" in found
    assert any(text.startswith("s.zone == charger implies s.speed <= 0.5") for text in found)


def test_cases_that_never_meet(tmp_path: Path, generator: np.random.Generator) -> None:
    zone = np.where(generator.random(600) < 0.4, "charger", "aisle")
    columns = {"zone": zone.tolist(), "busy": (zone == "aisle") & (generator.random(600) < 0.6)}
    features = "  zone: enum {charger, aisle}\n  busy: bool"
    (text,) = found_in(spec_of(tmp_path, features, columns))
    assert text in ("s.zone == charger implies not s.busy", "s.busy implies s.zone != charger")


@pytest.mark.parametrize("kind", ["uniform", "normal", "exponential"])
def test_unrelated_columns_suggest_nothing(tmp_path: Path, generator: np.random.Generator, kind: str) -> None:
    rows = 600
    columns: Columns = {
        name: {
            "uniform": generator.uniform(-1, 1, rows),
            "normal": generator.normal(size=rows),
            "exponential": generator.exponential(size=rows),
        }[kind]
        for name in "uvwxyz"
    }
    columns["b"] = generator.random(rows) < 0.1
    columns["e"] = [("p", "q", "r")[k] for k in generator.integers(3, size=rows)]
    features = "\n".join(f"  {name}: real in -20 .. 20" for name in "uvwxyz") + "\n  b: bool\n  e: enum {p, q, r}"
    assert found_in(spec_of(tmp_path, features, columns)) == []


def test_what_the_spec_assumes_already_is_not_said_again(tmp_path: Path, generator: np.random.Generator) -> None:
    y = generator.uniform(0, 10, 500)
    columns = {"x": generator.uniform(0, 1, 500) * y, "y": y}
    features = "  x: real [m] in 0 .. 10\n  y: real [m] in 0 .. 10"
    assert found_in(spec_of(tmp_path, features, columns, "assume s: T = s.x <= s.y")) == []


def test_readings_with_an_offset_are_left_alone(tmp_path: Path, generator: np.random.Generator) -> None:
    y = generator.uniform(0, 10, 500)
    columns = {"x": y / 2, "y": y}
    features = "  x: real [degC] in 0 .. 10\n  y: real [degC] in 0 .. 10"
    assert found_in(spec_of(tmp_path, features, columns)) == []


@pytest.mark.parametrize("rows", [1, LEAST_ROWS - 1])
def test_few_rows_suggest_nothing(tmp_path: Path, rows: int) -> None:
    values = np.linspace(0, 10, rows)
    features = "  x: real in 0 .. 10\n  y: real in 0 .. 10"
    assert found_in(spec_of(tmp_path, features, {"x": values, "y": values})) == []


def test_constant_columns_are_no_relation(tmp_path: Path, generator: np.random.Generator) -> None:
    columns = {"x": np.full(200, 3.0), "y": generator.uniform(0, 10, 200), "b": np.ones(200, np.bool_)}
    features = "  x: real in 0 .. 10\n  y: real in 0 .. 10\n  b: bool"
    assert found_in(spec_of(tmp_path, features, columns)) == []


def test_the_list_is_short_and_its_figures_are_right(tmp_path: Path, generator: np.random.Generator) -> None:
    base = generator.uniform(0, 10, 500)
    columns = {f"x{k}": base + generator.uniform(-0.1, 0.1, 500) for k in range(10)}
    features = "\n".join(f"  x{k}: real in -5 .. 15" for k in range(10))
    spec = spec_of(tmp_path, features, columns)
    found = suggest(spec, {})
    assert 2 <= len(found.assumptions) <= MOST
    assert found.rules == ()
    best = found.assumptions[0]
    assert best.lines[0] == "holds on all 500 rows of logs"
    points = generator.uniform(-5, 15, (4000, 10))
    assuming = parse_spec(f"{scene_of(spec, (), ()).header}\n{best.text}\n", base=spec.base)
    removed = 1 - truth_of_rows(assuming.assumptions["T"], points).mean()
    assert abs(removed - best.removed) < 0.05
    assert f"rules out {np.floor(1000 * best.removed) / 10:g} % of 4000 points" in best.lines[1]


def test_assumptions_are_comments_until_somebody_takes_the_mark_away(
    tmp_path: Path, generator: np.random.Generator
) -> None:
    y = generator.uniform(0, 10, 500)
    columns = {"x": generator.uniform(0, 1, 500) * y, "y": y}
    spec = spec_of(tmp_path, "  x: real in 0 .. 10\n  y: real in 0 .. 10", columns)
    text = suggest(spec, {}).text
    assert parse_spec(text, base=spec.base).digest == parse_spec(scene_of(spec, (), ()).header, base=spec.base).digest
    uncommented = text.replace("# assume ", "assume ")
    assert parse_spec(uncommented, base=spec.base).table("logs").rows == 500


def test_slopes_of_a_hull() -> None:
    x = np.linspace(0, 10, 1001)
    triangle = np.where(x < 4, 2 * x, 8 - (x - 4))
    slopes = upper_slopes(np.concatenate([x, x]), np.concatenate([triangle, triangle - 5]))
    assert [round(slope, 1) for slope in slopes] == [2.0, -1.0]
    assert upper_slopes(np.zeros(3), np.arange(3.0)) == []
