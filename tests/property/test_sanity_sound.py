"""Attempts to catch the sanity checks in a lie: every claim about a random spec is held against the slow evaluator.

A clash: no reward, tried out value by value at the records told, satisfies the rules. A rule that follows from others:
at no records is it broken while they hold. A vacuous premise: no record of a grid satisfies it. Constant rewards that
satisfy all must rules: they do, at every record of the grid.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from rewarden.spec_lang import parse_spec
from rewarden.spec_lang.sanity.checks import Sanity, check_spec
from rewarden.spec_lang.sanity.findings import Finding
from rewarden.spec_lang.sanity.words import NamedRecord
from rewarden.spec_lang.spec import Spec
from tests.reference import random_small_specs as small
from tests.reference.evaluate import Evaluator, Typed
from tests.reference.how_many import ALL, part_of

EXAMPLES = int(os.environ.get("REWARDEN_SANITY_EXAMPLES", "60"))
QUARTERS = [Fraction(k, 4) for k in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6, 8, -8, 10, -10)]
HALVES = [Fraction(k, 2) for k in (0, 1, -1, 2, -2, 3, -3, 4, -4)]


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "d.csv").write_text(small.DATA)
        yield Path(name)


def checked(text: str, folder: Path) -> tuple[Spec, Sanity]:
    note(text)
    spec = parse_spec(text, base=folder)
    return spec, check_spec(spec)


def typed(spec: Spec, record: NamedRecord) -> Typed:
    x, n, on = record.columns
    return Typed(spec.features[record.type_name], {"x": x, "n": n, "on": on == 1})


def of(sanity: Sanity, *codes: str) -> list[Finding]:
    return [f for f in sanity.findings if f.diagnostic.code in codes]


@settings(max_examples=part_of(EXAMPLES), deadline=None)
@given(text=small.texts())
def test_no_reward_satisfies_rules_that_are_said_to_clash(text: str, folder: Path) -> None:
    spec, sanity = checked(text, folder)
    for finding in of(sanity, "S03", "S04"):
        note(str(finding.diagnostic.related))
        records = [typed(spec, record) for record in finding.records]
        checks = [small.holds(rule, p) for rule in finding.rules for p in small.placements(spec, rule, records)]
        assert small.some_reward(spec, checks, QUARTERS if len(records) < 3 else HALVES) is None


@settings(max_examples=part_of(EXAMPLES // 4), deadline=None)
@given(text=small.texts(data=True, most=3))
def test_nor_those_about_data(text: str, folder: Path) -> None:
    no_reward_satisfies_them(text, folder)


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None)
@given(text=small.texts(data=True, most=3))
def test_nor_those_about_data_at_length(text: str, folder: Path) -> None:
    no_reward_satisfies_them(text, folder)


def no_reward_satisfies_them(text: str, folder: Path) -> None:
    spec, sanity = checked(text, folder)
    for finding in of(sanity, "S03", "S04"):
        note(str(finding.diagnostic.related))
        rows = [record for row in small.rows(spec.features["S"]) for record in row.records()]
        records = [typed(spec, record) for record in finding.records] + rows
        checks = [small.holds(rule, p) for rule in finding.rules for p in small.placements(spec, rule, records)]
        assert small.some_reward(spec, checks, HALVES[:7]) is None


@settings(max_examples=part_of(EXAMPLES), deadline=None)
@given(text=small.texts(data=True), seed=st.integers(0, 2**32))
def test_a_rule_that_follows_is_not_broken_while_the_others_hold(text: str, seed: int, folder: Path) -> None:
    spec, sanity = checked(text, folder)
    everywhere = small.grid(spec.features["S"])
    for finding in of(sanity, "S05", "S15"):
        rule, *others = finding.rules
        chosen = list(small.placements(spec, rule, everywhere))
        for records in random.Random(seed).sample(chosen, min(len(chosen), 12)):
            near = small.handed_over(spec, rule, records)
            by = [small.holds(other, p) for other in others for p in small.placements(spec, other, near)]
            assert small.some_reward(spec, [small.fails(rule, records), *by], HALVES[:5]) is None


@settings(max_examples=part_of(EXAMPLES), deadline=None)
@given(text=small.texts(data=True))
def test_nothing_satisfies_a_vacuous_premise(text: str, folder: Path) -> None:
    spec, sanity = checked(text, folder)
    everywhere = small.grid(spec.features["S"])
    vacuous = {rule for finding in of(sanity, "S01") for rule in finding.rules}
    for facts in sanity.rules:
        assert (facts.premise == "vacuous") == (facts.rule.name in vacuous)
        for records in small.placements(spec, facts.rule.name, everywhere) if facts.rule.name in vacuous else ():
            spoken = lambda e, r=records, n=facts.rule.name: e.assumed(r) and e.premise(n, r)  # noqa: E731
            assert small.some_reward(spec, [spoken], HALVES) is None


@settings(max_examples=part_of(EXAMPLES), deadline=None)
@given(text=st.booleans().flatmap(small.texts))
def test_rewards_that_are_said_to_satisfy_all_must_rules_do(text: str, folder: Path) -> None:
    spec, sanity = checked(text, folder)
    by = sanity.satisfied_by
    if by is None:
        return
    assert not of(sanity, "S03", "S04", "S14")
    regions = Evaluator(spec, lambda *_: Fraction(0), lambda *_: Fraction(0))

    def reward(name: str, columns: list[Fraction]) -> Fraction:
        x, n, on = columns
        here = Typed(spec.features["S"], {"x": x, "n": n, "on": on == 1})
        levels = [level for rule, level in by.steps if applies(rule, here)]
        return (max if by.raised else min)([by.values.get(name, Fraction(0)), *levels])

    def applies(rule: str, here: Typed) -> bool:
        """Where the rule asks for something: an `implies` in its conclusion is part of its region."""
        (name,) = (name for name, _ in spec.rule(rule).records)
        if not (regions.assumed({name: here}) and regions.premise(rule, {name: here})):
            return False
        always = Evaluator(spec, lambda *_: Fraction(10**6), lambda *_: Fraction(0))
        never = Evaluator(spec, lambda *_: Fraction(-(10**6)), lambda *_: Fraction(0))
        return not (always.conclusion(rule, {name: here}) and never.conclusion(rule, {name: here}))

    evaluator = Evaluator(spec, reward, rows={"d": small.rows(spec.features["S"])})
    everywhere = small.grid(spec.features["S"])
    for rule in spec.rules:
        if rule.severity == "must":
            for records in small.placements(spec, rule.name, everywhere):
                assert small.holds(rule.name, records)(evaluator), (rule.name, records)


@settings(max_examples=part_of(20), deadline=None)
@given(text=small.texts(data=True))
def test_the_same_spec_gets_the_same_answer(text: str, folder: Path) -> None:
    assert checked(text, folder)[1].diagnostics == checked(text, folder)[1].diagnostics


def test_the_random_specs_have_something_to_find(folder: Path) -> None:
    found: Counter[str] = Counter()

    @settings(max_examples=part_of(100), deadline=None, derandomize=True, database=None)
    @given(text=st.booleans().flatmap(small.texts))
    def count(text: str) -> None:
        found.update({d.code for d in checked(text, folder)[1].diagnostics})

    count()
    assert all(found[code] >= (3 if ALL else 1) for code in ("S01", "S03", "S04", "S05")), found
