"""Which rules a shift or a positive factor of the reward could flip."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rewarden.spec_lang import parse_spec
from rewarden.verifier.identified import warnings_of

SPEC = """spec s v1
features T {{ x : real in 0 .. 1 y : real in 0 .. 1 b : bool }}
reward R(s: T)
reward Base(s: T)
data logs: T from "logs.csv"
param eps: real = 0.1
must rule:
  {rule}
"""


def warned(rule: str, **identified: str) -> str:
    """The first letters of what is warned of: s(hift), f(actor)."""
    obligation = parse_spec(SPEC.format(rule=rule)).obligation("rule")
    rewards = {name: SimpleNamespace(identified=kind) for name, kind in identified.items()}
    found = warnings_of(obligation, rewards)
    return "".join("s" if "constant, and" in w else "f" for w in found)


@pytest.mark.parametrize(
    "rule, shift, affine",
    [
        ("forall s: T expect R(s) <= 0.5", "s", "sf"),
        ("forall s: T expect R(s) >= 0", "s", "s"),
        ("forall s: T expect R(s) <= quantile(R(logs), 0.5)", "", ""),
        ("forall s: T expect R(s) <= quantile(R(logs), 0.5) + eps", "", "f"),
        ("forall s: T expect 2 * R(s) <= mean(R(logs))", "s", "s"),
        ("forall s: T expect 2 * R(s) <= mean(R(logs)) + max(R(logs))", "", ""),
        ("forall a, b: T varying x given a.x <= b.x expect R(a) >= R(b)", "", ""),
        ("forall a, b: T varying x expect |R(a) - R(b)| <= eps", "", "f"),
        ("forall a, b: T expect |R(a) - R(b)| <= max(R(logs)) - min(R(logs))", "", ""),
        ("forall s: T expect R(s) == Base(s)", "", ""),
        ("forall s: T expect min(R(s), R(s with {x = 0})) <= max(R(logs))", "", ""),
        ("forall s: T expect min(R(s), 0) <= max(R(logs))", "s", "s"),
        ("forall a, b: T given R(a) >= 1 expect R(a) >= R(b)", "s", "sf"),
        ("forall a, b: T expect s_free(a) implies R(a) >= R(b)", "", ""),
        ("forall a, b: T expect a.x * (R(a) - R(b)) >= 0", "", ""),
        ("forall a: T expect a.x * R(a) >= 0", "s", "s"),
        ("forall a: T expect (if a.b then R(a) else max(R(logs))) >= min(R(logs))", "", ""),
        ("forall a: T expect (if R(a) >= 0 then R(a) else max(R(logs))) >= min(R(logs))", "s", "s"),
        ("forall a: T expect a.x >= 0.2 or R(a) / 2 >= min(R(logs)) / 2", "", ""),
    ],
)
def test_what_is_warned_of(rule, shift, affine):
    rule = rule.replace("s_free(a)", "a.x > a.y")
    assert warned(rule, R="exact", Base="exact") == ""
    assert warned(rule, R="shift", Base="shift") == shift
    assert warned(rule, R="affine", Base="affine") == affine


def test_only_loose_rewards_count():
    rule = "forall s: T expect R(s) <= 0.5"
    assert warned(rule, R="exact", Base="shift") == ""
    assert warned("forall s: T expect R(s) == Base(s)", R="shift", Base="exact") == "s"
