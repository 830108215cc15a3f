"""Must rules that no reward satisfies: which ones, where, and told in a sentence; and those that some reward does."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from rewarden.spec_lang import Spec
from rewarden.spec_lang.obligation import Obligation
from rewarden.spec_lang.sanity.checks import Budget
from rewarden.spec_lang.sanity.clash import ClashBudget
from tests.reference.sanity_specs import of, sanity

CLASHES = {
    "a cap and a floor": """
must a: forall s: Step given close(s) expect R(s) <= 0
must b: forall s: Step given s.zone == dock expect R(s) >= 0.5
""",
    "a floor carried to a cap": """
must a: forall s: Step given s.speed >= 2 [m/s] expect R(s) <= 0
must b: forall s: Step given s.speed <= 1 [m/s] and s.busy expect R(s) >= 1
must c: forall a, b: Step varying speed given a.speed <= b.speed expect R(b) >= R(a) - 0.5
""",
    "two orders": """
must a: forall a, b: Step varying speed given a.speed < b.speed expect R(a) > R(b)
must b: forall a, b: Step varying speed given a.speed < b.speed expect R(a) <= R(b)
""",
    "steps that add up": """
must a: forall s: Step given s.gap >= 10 [m] expect R(s with {gap = s.gap - 10 [m]}) >= R(s) + 1
must b: forall s: Step expect |R(s)| <= 1
""",
    "two rewards": """
must a: forall s: Step expect R(s) == Base(s)
must b: forall s: Step expect R(s) >= 1
must c: forall s: Step given s.lifts >= 4 expect Base(s) <= 0.5
""",
    "an alternative": """
must a: forall s: Step given s.busy expect R(s) >= 1 or R(s) <= -1
must b: forall s: Step given s.zone == dock expect |R(s)| <= 0.5
""",
    "a premise about the reward": """
must a: forall s: Step given R(s) >= 0 expect R(s) >= 1
must b: forall s: Step given s.zone == dock expect R(s) == 0.5
""",
    "bounds that vary": """
must a: forall s: Step expect R(s) <= s.lifts - 1
must b: forall s: Step given s.busy expect R(s) > s.gap * 1 [1/m] - 1
""",
    "data constants in order": """
must a: forall s: Step given close(s) expect R(s) <= quantile(R(logs), 0.1)
must b: forall s: Step given s.busy and s.gap <= 0.4 [m] expect R(s) > quantile(R(logs), 0.9)
""",
    "a cap on all rows": """
must a: forall s: Step expect R(s) <= 0
must b: forall s: Step given s.zone == dock and s.lifts == 0 expect R(s) >= quantile(R(logs), 0.5) + 1
must c: forall s: Step expect quantile(R(logs), 0.5) >= 0.5
""",
    "a sum over a trace": """
must a: trace t: Step of 3 steps expect sum(R(t)) >= 1
must b: forall s: Step expect R(s) <= 0.25
""",
    "rows of pairs": """
must a: forall p in pairs expect R(p.better) >= R(p.worse) + 1
must b: forall s: Step expect |R(s)| <= 0.25
""",
    "near data": """
must a: forall s: Step near logs within 1 % expect R(s) <= 0
must b: forall s: Step given s.busy and s.zone == aisle expect R(s) >= 1
""",
    "weights": """
must a: forall a, b: Step given a.busy and b.busy expect 2 * R(a) >= R(b) + 2
must b: forall s: Step given s.busy expect R(s) <= 0.5
must c: forall s: Step given s.busy expect R(s) >= 0
""",
}
LOOPS = """
reward M(a: Step, b: Step)
relation flip(a: Step, b: Step) = a.busy != b.busy
"""
CLASHES |= {
    "a paid record that may stay": """
must a: forall s: Step given close(s) expect R(s) > 0
must b: cycle t: Step via move given always t.busy expect sum(R(t)) <= 0
""",
    "a paid loop of two": f"""{LOOPS}
must a: forall s: Step given s.gap < 1 [m] expect R(s) >= 1
must b: cycle t: Step via flip expect sum(R(t)) <= 0
""",
    "paid moves": f"""{LOOPS}
must a: forall a, b: Step expect M(a, b) >= 1
must b: cycle t: Step via flip expect sum(M(t)) <= 0
""",
    "a paid loop of three": """
relation ring(a: Step, b: Step) = b.lifts == a.lifts + 1 or (a.lifts == 2 and b.lifts == 0)
must a: forall s: Step given s.lifts <= 2 expect R(s) >= 1
must b: cycle t: Step via ring expect sum(R(t)) <= 0
""",
    "moves of a loop of four": f"""{LOOPS}
relation ring(a: Step, b: Step) = (b.lifts == a.lifts + 1 and a.lifts < 3) or (a.lifts == 3 and b.lifts == 0)
must a: forall a, b: Step given a.lifts < b.lifts expect M(a, b) >= 1
must b: forall a, b: Step given a.lifts > b.lifts expect M(a, b) >= -2
must c: cycle t: Step via ring given always t.lifts <= 3 expect sum(M(t)) <= 0
""",
    "what moves pay is what records differ by": f"""{LOOPS}
relation ring(a: Step, b: Step) = b.lifts == a.lifts + 1 or (a.lifts == 2 and b.lifts == 0)
must a: forall a, b: Step given a.lifts != b.lifts expect M(a, b) >= R(b) - R(a) + 1
must b: cycle t: Step via ring given always t.lifts <= 2 expect sum(M(t)) <= 0
""",
    "a square above what is allowed": """
must a: forall s: Step given s.speed > 1 [m/s] expect R(s) * R(s) >= 4
must b: forall s: Step given s.busy expect |R(s)| <= 1
""",
    "a product of two rewards": """
must a: forall s: Step expect R(s) * Base(s) >= 1
must b: forall s: Step given s.busy expect R(s) <= 0
must c: forall s: Step given close(s) expect Base(s) >= 0
""",
    "rewards of opposite signs": """
must a: forall a, b: Step given a.busy and not b.busy expect R(a) * R(b) < 0
must b: forall s: Step given s.zone == dock expect R(s) > 0
""",
    "inside a disc": """
must a: forall s: Step expect R(s) * R(s) + Base(s) * Base(s) <= 1
must b: forall s: Step given s.busy expect R(s) + Base(s) >= 1.5
""",
    "two rules about rings of four": """
relation ring(a: Step, b: Step) = b.gap == a.gap + 1 [m] and a.gap <= 2 [m] or a.gap == 3 [m] and b.gap == 0 [m]
must a: cycle t: Step via ring expect sum(R(t)) <= 0
must b: cycle t: Step via ring given always t.busy expect sum(R(t)) > 0
""",
    "a loop that has to pay": """
must a: forall s: Step expect R(s) <= 0
must b: cycle t: Step via move expect sum(R(t)) > 0
""",
    "shares that exclude each other": """
must a: forall p in pairs expect share(R(p.better) > R(p.worse)) > 0.6
must b: forall q in pairs expect share(R(q.better) > R(q.worse)) <= 0.5
""",
}

ALONE = {
    "a share above 1": "must a: forall p in pairs expect share(R(p.better) > R(p.worse)) > 1",
    "a share below 0": "must a: forall p in pairs expect share(R(p.better) > R(p.worse)) < 0",
    "a share surely above 1": "must a: forall p in pairs expect share(R(p.better) > R(p.worse)) > 1 confidence 0.9",
    "a share of what is always so": "must a: forall p in pairs expect share(R(p.better) <= R(p.better)) <= 0.25",
    "a share of what half the rows cannot be": """
must a: forall p in pairs expect share(p.better.busy and R(p.better) > 0) > 0.5
""",
    "an order of all pairs": "must a: forall a, b: Step expect R(a) > R(b)",
    "an antisymmetric order": "must a: forall a, b: Step varying speed given a.speed != b.speed expect R(a) > R(b)",
    "less than itself": "must a: forall s: Step given s.busy expect R(s) < R(s)",
    "features only": "must a: forall s: Step given s.busy expect s.speed <= 1 [m/s]",
    "below its own median": "must a: forall s: Step near logs within 1 % expect R(s) > quantile(R(logs), 0.5)",
    "double the sum": "must a: forall a, b: Step expect R(a) + R(b) > 2 * R(a)",
    "a negative square": "must a: forall s: Step expect R(s) * R(s) < 0",
    "a product with nothing": "must a: forall s: Step expect R(s) * s.speed >= 1 [m/s]",
    "three of two signs": "must a: forall a, b: Step varying speed given a.speed < b.speed expect R(a) * R(b) <= -1",
    "a ring of three": """
must a: forall a, b: Step varying lifts
  given b.lifts == a.lifts + 1 or (a.lifts == 2 and b.lifts == 0)
  expect R(b) > R(a)
""",
}

FINE = {
    "shares that meet": """
must a: forall p in pairs expect share(R(p.better) > R(p.worse)) >= 0.5
must b: forall p in pairs expect share(R(p.better) > R(p.worse)) <= 0.5
""",
    "shares of other things": """
must a: forall p in pairs expect share(R(p.better) > R(p.worse)) > 0.6
must b: forall p in pairs expect share(R(p.better) >= R(p.worse)) <= 0.5
""",
    "shares of other rows": """
must a: forall p in pairs given p.better.busy expect share(R(p.better) > R(p.worse)) > 0.6
must b: forall p in pairs expect share(R(p.better) > R(p.worse)) <= 0.5
""",
    "a share that a confidence leaves open": """
must a: forall p in pairs expect share(R(p.better) > R(p.worse)) >= 0.9 confidence 0.9
must b: forall p in pairs expect share(R(p.better) > R(p.worse)) <= 0.5
""",
    "a product that both signs allow": """
must a: forall s: Step expect R(s) * Base(s) >= 1
must b: forall s: Step expect R(s) <= -0.5
""",
    "on a disc": """
must a: forall s: Step expect R(s) * R(s) + Base(s) * Base(s) <= 1
must b: forall s: Step given s.busy expect R(s) + Base(s) >= 1.4
""",
    "two signs": "must a: forall a, b: Step given a.busy and not b.busy expect R(a) * R(b) <= -1",
    "a loop of three that comes to nothing": """
relation ring(a: Step, b: Step) = b.lifts == a.lifts + 1 or (a.lifts == 2 and b.lifts == 0)
must a: forall s: Step given s.lifts == 2 expect R(s) >= 2
must b: forall s: Step expect R(s) >= -1
must c: cycle t: Step via ring expect sum(R(t)) <= 0
""",
    "a paid record that has to move on": """
relation up(a: Step, b: Step) = a.gap < b.gap
must a: forall s: Step expect R(s) > 0
must b: cycle t: Step via up expect sum(R(t)) <= 0
""",
    "loops elsewhere": """
must a: forall s: Step given s.busy expect R(s) > 0
must b: cycle t: Step via move given always not t.busy expect sum(R(t)) <= 0
""",
    "apart": """
must a: forall s: Step given s.speed > 1 [m/s] expect R(s) <= 0
must b: forall s: Step given s.speed <= 1 [m/s] expect R(s) >= 1
""",
    "touching": """
must a: forall s: Step given s.speed >= 1 [m/s] expect R(s) <= 1
must b: forall s: Step given s.speed <= 1 [m/s] expect R(s) >= 1
""",
    "a strict order": "must a: forall a, b: Step varying speed given a.speed < b.speed expect R(a) > R(b)",
    "a should rule is none": """
must a: forall s: Step expect R(s) <= 0
should b: forall s: Step expect R(s) >= 1
""",
    "data constants that may be equal": """
must a: forall s: Step given close(s) expect R(s) <= quantile(R(logs), 0.1)
must b: forall s: Step given s.busy expect R(s) >= quantile(R(logs), 0.9)
""",
    "apart by an assumption": """
must a: forall s: Step given s.zone == charger expect R(s) >= 1
must b: forall s: Step given s.speed >= 1 [m/s] expect R(s) <= 0
""",
    "half of the rows": """
must a: forall s: Step given s.busy expect R(s) > quantile(R(logs), 0.5)
""",
}


@pytest.mark.parametrize("name", CLASHES)
def test_a_clash_is_found_and_every_rule_of_it_is_needed(tmp_path: Path, name: str) -> None:
    found = sanity(tmp_path, CLASHES[name])
    assert found.clash == "yes"
    (clash, *_) = of(found, "S03")
    assert clash.diagnostic.severity == "error"
    assert len(clash.rules) >= 2
    for rule in clash.rules:
        head, *rules = CLASHES[name].split("must ")
        rest = head + "".join(f"must {part}\n" for part in rules if not part.startswith(f"{rule}:"))
        assert not [c for c in of(sanity(tmp_path, rest), "S03", "S04") if set(c.rules) <= set(clash.rules)]


@pytest.mark.parametrize("name", ALONE)
def test_a_rule_that_contradicts_itself_is_found(tmp_path: Path, name: str) -> None:
    (clash,) = of(sanity(tmp_path, ALONE[name]), "S03", "S04")
    assert clash.diagnostic.code == "S04"
    assert clash.rules == ("a",)


@pytest.mark.parametrize("name", FINE)
def test_what_some_reward_satisfies_is_no_clash(tmp_path: Path, name: str) -> None:
    found = sanity(tmp_path, FINE[name])
    assert not of(found, "S03", "S04", "S14")
    assert found.clash in ("no", "not found")


def test_the_situation_is_told_in_a_sentence(tmp_path: Path) -> None:
    (clash,) = of(sanity(tmp_path, CLASHES["a cap and a floor"]), "S03")
    told = clash.diagnostic
    assert told.message == "no reward can satisfy a and b together"
    assert told.related == (
        "at s = {gap = 0 [m], speed = 0 [m/s], lifts = 0, busy = true, zone = dock} "
        "b asks R(s) >= 0.5 and a asks R(s) <= 0"
    )
    assert [(label.span.text, label.text) for label in told.labels] == [
        ("R(s) <= 0", "asks R(s) <= 0"),
        ("R(s) >= 0.5", "asks R(s) >= 0.5"),
    ]
    (record,) = clash.records
    assert (record.name, record.type_name) == ("s", "Step")


def test_products_are_told_with_the_names_of_the_records(tmp_path: Path) -> None:
    (clash,) = of(sanity(tmp_path, ALONE["three of two signs"]), "S04")
    assert clash.diagnostic.related is not None
    _, _, told = clash.diagnostic.related.rpartition("} ")
    asks = "a asks `R(a) * R(b) <= -1`"
    assert told == f"{asks}, {asks} (b is b2) and {asks} (a is b, b is b2)"
    assert [record.name for record in clash.records] == ["a", "b", "b2"]
    (alone,) = of(sanity(tmp_path, ALONE["a negative square"]), "S04")
    assert alone.diagnostic.message == "no reward can satisfy a"
    assert str(alone.diagnostic.related).endswith("a asks `R(s) * R(s) < 0`, which no reward makes true")


def test_a_clash_about_rows_names_the_table(tmp_path: Path) -> None:
    (clash,) = of(sanity(tmp_path, ALONE["below its own median"]), "S04")
    assert clash.diagnostic.related == "a asks R(row of logs) > quantile(R(logs), 0.5)"


def test_shares_are_told_by_their_rows(tmp_path: Path) -> None:
    (clash,) = of(sanity(tmp_path, CLASHES["shares that exclude each other"]), "S03")
    assert clash.diagnostic.related == "of 2 rows of pairs a asks for at least 2 and b asks for at most 1"
    (alone,) = of(sanity(tmp_path, ALONE["a share above 1"]), "S04")
    assert alone.diagnostic.related == "of 2 rows of pairs a asks for more than all 2"
    (alone,) = of(sanity(tmp_path, ALONE["a share of what half the rows cannot be"]), "S04")
    told = "of 2 rows of pairs a asks for at least 2 and never has more than 1, whatever the reward"
    assert alone.diagnostic.related == told


@pytest.mark.parametrize(
    "rules",
    [
        # no record follows itself, but two follow each other
        "must a: forall s: Step expect R(s) >= 1 must b: cycle t: Step via flip expect sum(R(t)) <= 0",
        # what the two records of a move have to do with each other does not show where they are one
        "let odd(a: Step, b: Step) = (if a.busy != b.busy then M(a, b) else -M(a, b))"
        " must a: forall a, b: Step expect M(a, b) >= 1 must b: cycle t: Step via flip expect sum(odd(t)) <= 0",
    ],
)
def test_loops_of_one_record_do_not_speak_for_longer_ones(tmp_path: Path, rules: str) -> None:
    found = sanity(tmp_path, LOOPS + rules)
    assert found.satisfied_by is None
    assert found.clash != "no"


def test_all_lengths_of_traces_count_for_a_reward_that_satisfies_them(tmp_path: Path) -> None:
    rules = (
        "must a: forall s: Step expect R(s) >= 1 must b: trace t: Step within {} steps via move expect sum(R(t)) <= 10"
    )
    assert sanity(tmp_path, rules.format(10)).satisfied_by is not None
    assert sanity(tmp_path, rules.format(20)).satisfied_by is None


def test_of_long_traces_few_lengths_are_written_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: set[int] = set()
    plain = Spec.unrolled

    def unrolled(spec: Spec, rule: str, length: int) -> Obligation:
        made.add(length)
        return plain(spec, rule, length)

    monkeypatch.setattr(Spec, "unrolled", unrolled)
    found = sanity(tmp_path, "must b: trace t: Step within 256 steps via move expect sum(R(t)) <= 10")
    assert (found.satisfied_by, found.clash) == (None, "not found")
    assert made <= {*range(1, 33), 256}
    assert found.rules[0].premise == "satisfiable"


def test_numbers_are_round_where_they_can_be(tmp_path: Path) -> None:
    rules = """
must a: forall s: Step given s.speed * 3 > 1.1 [m/s] and s.gap * 7 >= 2 [m] expect R(s) <= 0
must b: forall s: Step given s.speed * 7 < 3 [m/s] and s.gap * 9 <= 5 [m] expect R(s) >= 1
"""
    (clash,) = of(sanity(tmp_path, rules), "S03")
    gap, speed, *_ = clash.records[0].columns
    assert speed.denominator <= 100
    assert gap.denominator <= 10


def test_constants_that_satisfy_everything_are_a_proof(tmp_path: Path) -> None:
    found = sanity(
        tmp_path,
        """
must a: forall s: Step given close(s) expect R(s) <= quantile(R(logs), 0.1)
must b: forall s: Step expect R(s) == Base(s)
must c: forall s: Step expect Base(s) >= 2.5
must d: cycle t: Step via move expect sum(R(t)) >= 0
must e: forall p in pairs expect share(R(p.better) >= R(p.worse)) >= 0.6
must f: trace t: Step within 3 steps expect sum(R(t)) >= 2
""",
    )
    assert found.clash == "no"
    assert found.satisfied_by is not None
    assert found.satisfied_by.values["R"] == found.satisfied_by.values["Base"] >= Fraction(5, 2)
    assert found.satisfied_by.steps == ()


def test_a_reward_with_steps_is_a_proof_too(tmp_path: Path) -> None:
    found = sanity(
        tmp_path,
        """
must a: forall s: Step given s.busy and s.gap < 1 [m] expect R(s) <= -1
must b: forall s: Step given s.zone == dock and not s.busy expect R(s) > 1
must c: forall s: Step given not s.busy and s.gap > 1 [m] expect R(s) <= quantile(R(logs), 0.9)
must d: forall s: Step expect Base(s) == R(s)
must e: forall s: Step near logs within 1 % given s.busy expect |R(s)| <= 5
""",
    )
    assert found.clash == "no"
    assert found.satisfied_by is not None
    assert found.satisfied_by.raised
    assert [rule for rule, _ in found.satisfied_by.steps] == ["b"]
    assert found.satisfied_by.values["R"] <= -1


@pytest.mark.parametrize(
    "rule",
    [
        "must e: forall p in pairs expect share(R(p.better) > R(p.worse)) >= 0.6",
        "must e: forall p in pairs expect share(R(p.better) >= R(p.worse)) >= 0.6 confidence 0.9",
    ],
)
def test_no_constant_is_claimed_where_none_is_known_to_do(tmp_path: Path, rule: str) -> None:
    found = sanity(tmp_path, f"must a: forall s: Step expect R(s) <= 0\n{rule}\n")
    assert found.satisfied_by is None
    assert found.clash == "not found"


def test_a_search_that_stops_early_says_so(tmp_path: Path) -> None:
    rules = """
must a: forall a, b: Step varying speed given a.speed < b.speed expect R(a) > R(b)
must b: forall a, b: Step varying gap given a.gap < b.gap expect R(a) > R(b)
"""
    found = sanity(tmp_path, rules, Budget(clash=ClashBudget(steps=1)))
    assert found.clash == "undecided"
    assert [f.diagnostic.severity for f in of(found, "S14")] == ["warning"]
