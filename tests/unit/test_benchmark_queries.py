"""The ACAS Xu queries that the benchmark asks, and the answers that it holds ours against."""

from __future__ import annotations

from collections import Counter

from benchmarks.acasxu import QUERIES, all_queries


def test_there_are_186_and_47_have_a_solution() -> None:
    answers = all_queries()
    assert Counter(answers.values()) == {"unsat": 139, "sat": 47}
    assert {name: answers[name] for name in QUERIES} == {name: answer for name, (answer, _) in QUERIES.items()}
