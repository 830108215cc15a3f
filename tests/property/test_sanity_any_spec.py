"""The sanity checks end in findings, whatever the spec: random ones over the whole grammar, with random data."""

from __future__ import annotations

import json
import tempfile
from fractions import Fraction
from pathlib import Path

import jsonschema
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st

from rewarden.checking import Checked, lines, to_json
from rewarden.codes import explanations
from rewarden.spec_lang import Spec, SpecError, parse_spec
from rewarden.spec_lang.diagnostics import render
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.features import Feature
from rewarden.spec_lang.sanity.checks import Budget, check_spec
from rewarden.spec_lang.sanity.clash import ClashBudget
from rewarden.spec_lang.sanity.redundant import RedundancyBudget
from tests.reference.evaluate_agreement import write_rows
from tests.reference.evaluate_values import Row, Typed
from tests.reference.how_many import part_of
from tests.reference.random_rules import rule, vocabulary
from tests.reference.random_specs import values

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs" / "schemas" / "check.schema.json").read_text())
SMALL = Budget(2_000_000, 50_000, ClashBudget(100, 20, 20_000), RedundancyBudget(3, 20_000))
KINDS = ("records", "varying", "near", "rows", "share", "trace", "cycle")


@st.composite
def specs(draw: st.DrawFn) -> str:
    words, text = vocabulary(draw)
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    return f"spec random v1\n{text}" + "".join(rule(draw, words, kind, f"r{k}") for k, kind in enumerate(kinds))


def value(draw: st.DrawFn, feature: Feature) -> object:
    """One that a file can hold exactly."""
    if feature.kind in ("bool", "enum", "int"):
        return draw(values(feature))
    one = st.integers(0, 8).map(lambda k: feature.lo + (feature.hi - feature.lo) * Fraction(k, 8))
    return tuple(draw(one) for _ in range(feature.size)) if feature.is_vector else draw(one)


def with_data(draw: st.DrawFn, text: str, folder: Path) -> Spec:
    try:
        spec = parse_spec(text, base=folder)
    except SpecError as error:
        assume({d.code for d in error.diagnostics} != {"L05"})  # a region of too many polytopes
        raise
    for name, data in spec.data.items():
        members = {m: spec.features[t] for m, t in data.members}
        rows = [
            Row({m: Typed(t, {f.name: value(draw, f) for f in t.features}) for m, t in members.items()})
            for _ in range(draw(st.integers(1, 3)))
        ]
        write_rows(folder, name, rows)
    return spec


@settings(max_examples=part_of(30), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), text=specs())
def test_every_spec_gets_its_findings(data: st.DataObject, text: str) -> None:
    note(text)
    with tempfile.TemporaryDirectory() as name:
        spec = with_data(data.draw, text, Path(name))
        try:
            found = check_spec(spec, SMALL)
        except DataError:
            return  # rows that the assumptions exclude
    for finding in found.findings:
        assert finding.diagnostic.code in explanations()
        assert render(finding.diagnostic).startswith(f"{finding.diagnostic.severity}[")
        assert all(any(rule.name == name for rule in spec.rules) for name in finding.rules)
    checked = Checked("random.rwd", spec, found, {})
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(json.dumps(to_json([checked]))))
    assert lines(checked, quiet=False)
    assert len(found.rules) == len(spec.rules)
