"""Networks that fool verifiers by floating point fool no engine here, over the reals or as executed."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from rewarden.reward.deployed import forward
from rewarden.verifier.decision import verify_claim
from rewarden.verifier.options import Engine, VerifyOptions
from tests.reference.attacks import ATTACKS, Attack, notices_order, opened_by_rounding
from tests.reference.executions import Execution

ENGINES = get_args(Engine)
NAMES = [a.name for a in ATTACKS]


def options(**changes: object) -> VerifyOptions:
    return VerifyOptions(**{"budget": 400, "falsify_budget": 3_000, "z3_rlimit": 400_000, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("attack", ATTACKS, ids=NAMES)
def test_no_engine_is_fooled_over_the_reals(attack: Attack, engine: str):
    result = verify_claim(attack.claim(), {"R": attack.artifact}, options(engine=engine))
    assert result.verdict in (attack.real, "unknown")


@pytest.mark.parametrize("attack", [a for a in ATTACKS if a.real == "violated"], ids=lambda a: a.name)
@pytest.mark.parametrize("engine", [name for name in ENGINES if name not in ("auto", "falsify")])
def test_without_the_search_no_backdoor_is_proved_away(attack: Attack, engine: str):
    """The search for violations finds most of them, so that the engines would never be asked."""
    result = verify_claim(attack.claim(), {"R": attack.artifact}, options(engine=engine, falsify_budget=0))
    assert result.verdict != "proved"
    assert result.coverage < 1.0 or result.verdict == "violated"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("attack", ATTACKS, ids=NAMES)
def test_no_engine_is_fooled_as_executed(attack: Attack, engine: str):
    asked = options(engine=engine, semantics="float32")
    result = verify_claim(attack.claim(), {"R": attack.artifact}, asked)
    assert result.verdict in attack.executed
    assert result.proof is None
    assert result.claim is None  # certificates are about the reals


@pytest.mark.parametrize("attack", ATTACKS, ids=NAMES)
def test_auto_is_right_about_all_of_them_over_the_reals(attack: Attack):
    result = verify_claim(attack.claim(), {"R": attack.artifact}, options(budget=2_000, z3_rlimit=4_000_000))
    assert result.verdict == attack.real


def test_a_rule_can_be_proved_over_the_reals_and_violated_as_executed():
    attack = opened_by_rounding(2.0**25)
    exact = verify_claim(attack.claim(), {"R": attack.artifact}, options())
    executed = verify_claim(attack.claim(), {"R": attack.artifact}, options(semantics="float32"))
    assert (exact.verdict, executed.verdict) == ("proved", "violated")
    witness = executed.witness
    assert witness is not None
    assert witness.deployed == "violated"
    (call,) = witness.calls
    assert call.exact == 0.5
    assert call.deployed < 0
    assert call.deployed == float(forward(attack.artifact, np.float32([[float(x) for x in witness.point]]))[0])


def test_and_the_other_way_round():
    attack = next(a for a in ATTACKS if a.name == f"absorbed, {2.0**54:g}")
    exact = verify_claim(attack.claim(), {"R": attack.artifact}, options(budget=2_000, z3_rlimit=4_000_000))
    executed = verify_claim(attack.claim(), {"R": attack.artifact}, options(semantics="float32"))
    assert exact.verdict == "violated"
    assert executed.verdict != "violated"


def test_the_order_of_summation_opens_what_the_deployed_order_keeps_shut():
    attack = notices_order(2.0**53)
    rng = np.random.default_rng(0)
    point = [1.0, 1.0]
    assert float(forward(attack.artifact, np.float32([point]))[0]) == 0.375
    assert min(Execution(rng).reward(attack.artifact, point) for _ in range(40)) < 0
