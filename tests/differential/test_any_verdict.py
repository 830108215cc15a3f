"""Any rule about any rewards: what `verify` says of it, against the evaluator of the syntax tree at its records.

Specs of the whole grammar, with enums, bools, vectors, tables, patches and premises that call rewards. A rule that is
proved holds at every record that is drawn, one that is vacuous has a premise nowhere, and at a witness it fails.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

import rewarden as rw
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.spec_lang import Spec, SpecError, parse_spec
from rewarden.spec_lang.errors import RewardenError
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.verdict import RuleResult
from rewarden.verifier.witness import Witness
from tests.differential.test_language_data import random_rows
from tests.differential.test_language_vs_evaluator import around, path
from tests.reference import evaluate_data, evaluate_near
from tests.reference.evaluate import Evaluator
from tests.reference.evaluate import Path as Steps
from tests.reference.evaluate_agreement import write_rows
from tests.reference.evaluate_tree import declared
from tests.reference.evaluate_values import Irrational, Typed
from tests.reference.random_graphs import random_artifact, random_mlp
from tests.reference.random_rules import rule, vocabulary
from tests.reference.random_specs import records
from tests.reference.slow_reward import slow_evaluate

KINDS = ("records", "varying", "near", "away", "rows", "share", "trace", "cycle")
ENGINES = (*["auto"] * 6, "bounds", "differences", "cells", "neurons", "lp", "z3", "falsify")
POINTS = 14  # records that a proved rule is looked at


def _reward(rng: np.random.Generator, spec: Spec, name: str) -> Artifact:
    params = spec.rewards[name].params
    kinds = tuple(spec.features[kind] for _, kind in params)
    patches = int(rng.integers(0, 4)) if rng.random() < 0.5 else 0
    if len(kinds) == 1 and rng.random() < 0.5:
        made = random_mlp(rng, kinds[0], tuple(rng.integers(2, 6, size=rng.integers(1, 3)).tolist()), patches=patches)
    else:
        made = random_artifact(rng, kinds, size=int(rng.integers(0, 5)), patches=patches)
    return replace(made, records=tuple(RewardRecord(param, spec.features[kind]) for param, kind in params))


def _bound(draw: st.DrawFn, spec: Spec, kind: str, evaluator: Evaluator) -> tuple[dict, dict] | None:
    """Records that the rule's quantifier ranges over, and their anchors; None where what was drawn is out of it."""
    quantifier = evaluator.rules["rule"].quantifier
    step = spec.features["Step"]
    match kind:
        case "records" | "varying":
            found = {p.name: draw(records(spec.features[p.type_name])) for p in quantifier.params}
            if kind == "varying":
                free = {x.name for x in quantifier.varying}
                fixed = {name: value for name, value in found["a"].values.items() if name not in free}
                found["b"] = Typed(step, {**found["b"].values, **fixed})
            return found, {}
        case "near" | "away":
            rows = evaluate_data.rows_of(evaluator, quantifier.data.name)
            anchor = rows[draw(st.integers(0, len(rows) - 1))].members[""]
            here = around(draw, quantifier, evaluator, anchor)
            if kind == "away":
                return ({"x": here}, {}) if evaluate_near.in_range(here) else None
            return ({"x": here}, {"x": anchor}) if evaluate_near.member(evaluator, quantifier, here, anchor) else None
        case "trace":
            most = int(evaluator.value(quantifier.steps, {}))
            length = most if quantifier.exact else draw(st.integers(1, most))
            return {"t": path(draw, step, length)}, {}
        case _:
            return {"t": path(draw, step, draw(st.integers(1, 3)), closed=True)}, {}


def _truth(evaluator: Evaluator, bound: dict, anchors: dict) -> tuple[bool, bool]:
    evaluator.anchors = anchors
    premise = evaluator.assumed(bound) and evaluator.premise("rule", bound)
    return premise, evaluator.conclusion("rule", bound)


def _typed(spec: Spec, type_name: str, said: dict) -> Typed:
    kind, values = spec.features[type_name], {}
    for feature in kind.features:
        value = said[feature.name]
        if feature.kind in ("real", "int"):
            value = tuple(map(Fraction, value)) if feature.is_vector else Fraction(value)
        elif feature.kind == "bool" and not isinstance(value, bool):
            value = str(value).lower() == "true"
        values[feature.name] = value
    return Typed(kind, values)


def _shown(spec: Spec, kind: str, witness: Witness, evaluator: Evaluator) -> Iterator[tuple[dict, dict]]:
    """The witness's records, with each anchor that they may be near."""
    types = {record.name: record.type_name for record in witness.records}
    found = {name: _typed(spec, types[name], said) for name, said in witness.exact().items()}
    if kind in ("trace", "cycle"):
        steps = [name for name in found if name.startswith("t[")]
        yield {"t": Steps(tuple(found[f"t[{i}]"] for i in range(len(steps))), kind == "cycle")}, {}
        return
    bound = {name: record for name, record in found.items() if not name.startswith("anchor(")}
    if kind != "near":
        yield bound, {}
        return
    quantifier = evaluator.rules["rule"].quantifier
    for row in evaluate_data.rows_of(evaluator, quantifier.data.name):
        if evaluate_near.member(evaluator, quantifier, bound["x"], row.members[""]):
            yield bound, {"x": row.members[""]}


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(st.data())
def test_verdicts_are_what_the_evaluator_says(data: st.DataObject) -> None:
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind, engine = draw(st.sampled_from(KINDS)), draw(st.sampled_from(ENGINES))
    words, head = vocabulary(draw)
    text = f"spec random v1\n{head}{rule(draw, words, kind, 'rule', depth=draw(st.integers(1, 2)))}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            spec = parse_spec(text, base=folder)
        except SpecError as error:
            event(f"refused {sorted({d.code for d in error.diagnostics})}")
            return
        rewards = {name: _reward(rng, spec, name) for name in spec.rewards}
        tables = random_rows(draw, spec)
        for table, rows in tables.items():
            write_rows(folder, table, rows)
        options = VerifyOptions(engine=engine, budget=400, falsify_budget=400, z3_rlimit=50_000, time_limit=30)
        try:
            result = rw.verify(spec, options, rewards=rewards)["rule"]
        except RewardenError as error:
            event(f"error {error.code}")
            return
        evaluator = Evaluator(
            declared(spec.tree), lambda name, columns: slow_evaluate(rewards[name], columns), rows=tables
        )
        event(f"{kind} {result.verdict}")
        with suppress(Irrational):
            _hold_against(draw, spec, kind, result, evaluator)


def _hold_against(draw: st.DrawFn, spec: Spec, kind: str, result: RuleResult, evaluator: Evaluator) -> None:
    verdict = result.verdict.value
    if kind in ("rows", "share"):
        assert verdict == evaluate_data.verdict(evaluator, "rule")
    elif verdict in ("proved", "vacuous"):
        for _ in range(POINTS):
            found = _bound(draw, spec, kind, evaluator)
            if found is not None:
                premise, conclusion = _truth(evaluator, *found)
                assert not premise or (conclusion and verdict == "proved"), found
    elif verdict == "violated":
        assert result.witness is not None
        shown = _shown(spec, kind, result.witness, evaluator)
        assert any(_truth(evaluator, *found) == (True, False) for found in shown), result.witness
