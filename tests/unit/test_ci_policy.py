"""Exit statuses in CI: every combination, against a table written by hand."""

from __future__ import annotations

from itertools import chain, combinations, product

import pytest

from rewarden import exits
from rewarden.ci.outcome import Finding, RunOutcome, Trouble
from rewarden.ci.policy import fail_on_of, rule_status, status_of
from rewarden.spec_lang.errors import UsageError
from tests.reference.outcomes import WAIVER, rule

TABLE = {  # (fail_on, severity) → verdict → status
    ("must", "must"): {"proved": 0, "violated": 1, "vacuous": 1, "unknown": 3},
    ("must", "should"): {"proved": 0, "violated": 0, "vacuous": 0, "unknown": 0},
    ("should", "must"): {"proved": 0, "violated": 1, "vacuous": 1, "unknown": 3},
    ("should", "should"): {"proved": 0, "violated": 1, "vacuous": 1, "unknown": 3},
    ("unknown", "must"): {"proved": 0, "violated": 1, "vacuous": 1, "unknown": 1},
    ("unknown", "should"): {"proved": 0, "violated": 1, "vacuous": 1, "unknown": 1},
}
ORDER = (5, 2, 4, 1, 3, 0)


@pytest.mark.parametrize("fail_on, severity", TABLE)
@pytest.mark.parametrize("verdict", ["proved", "violated", "vacuous", "unknown"])
@pytest.mark.parametrize("waiver, known", list(product((None, WAIVER), (False, True))))
def test_what_one_rule_asks_for(fail_on, severity, verdict, waiver, known) -> None:
    found = rule(verdict, severity=severity, waiver=waiver, known=known)
    expected = TABLE[fail_on, severity][verdict]
    if verdict in ("violated", "vacuous") and (waiver or known):
        expected = 0
    assert rule_status(found, fail_on) == expected


@pytest.mark.parametrize("fail_on, severity", TABLE)
def test_a_reward_that_leaves_the_numbers_is_unusable_and_cannot_be_waived(fail_on, severity) -> None:
    found = rule("unknown", severity=severity, non_finite=True, waiver=WAIVER, known=True)
    assert rule_status(found, fail_on) == (2 if TABLE[fail_on, severity]["violated"] else 0)


def test_the_worst_of_every_combination_is_reported() -> None:
    made = {
        5: lambda: RunOutcome("a", troubles=(Trouble("internal", "m", 5),)),
        2: lambda: RunOutcome("a", troubles=(Trouble("G74", "m", 2),)),
        4: lambda: RunOutcome("a", troubles=(Trouble("C70", "m", 4),)),
        1: lambda: RunOutcome("a", rules=(rule("violated"),)),
        3: lambda: RunOutcome("a", rules=(rule("unknown"),)),
        0: lambda: RunOutcome("a", rules=(rule("proved"),)),
    }
    some = chain.from_iterable(combinations(ORDER, size) for size in range(1, 7))
    for statuses in some:
        expected = next(status for status in ORDER if status in statuses)
        for arranged in (statuses, statuses[::-1]):
            assert status_of([made[s]() for s in arranged], (), "must") == expected
            mixed = [trouble for s in arranged if s in (5, 2, 4) for trouble in made[s]().troubles]
            runs = [made[s]() for s in arranged if s in (1, 3, 0)] or [made[0]()]
            assert status_of(runs, mixed, "must") == expected
    assert exits.worst(ORDER) == 5


def test_what_the_check_of_a_spec_finds_counts_as_there() -> None:
    error, warning = (Finding("S03", severity, "m") for severity in ("error", "warning"))
    proved = (rule("proved"),)
    assert status_of([RunOutcome("a", rules=proved, findings=(error,))], (), "must") == 1
    assert status_of([RunOutcome("a", rules=proved, findings=(warning,))], (), "unknown") == 0


def test_nothing_selected_is_unusable() -> None:
    assert status_of([], (), "must") == 2
    assert status_of([RunOutcome("a")], (), "must") == 2


def test_thresholds_have_three_names() -> None:
    assert [fail_on_of(name) for name in ("must", "should", "unknown")] == ["must", "should", "unknown"]
    with pytest.raises(UsageError) as caught:
        fail_on_of("shuold")
    assert caught.value.code == "G91"
    assert "should" in caught.value.render()
