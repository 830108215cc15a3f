"""SMT-LIB scripts say what the obligations say: Z3's own parser answers them as the direct reading is answered, and a
network that is written out is worth what exact evaluation says it is."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import z3
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.reward.exact import evaluate
from rewarden.smt2_network import network_body, reward_smt2
from rewarden.spec_lang import Spec, load_spec, parse_spec
from rewarden.spec_lang.smt2.script import smt2
from rewarden.spec_lang.smt2.terms import Writer, numeral
from rewarden.spec_lang.z3_terms import RuleReading, read, z3_reading
from tests.reference.cart import PROVED, SHOULD, VACUOUS, VIOLATED, artifact_of, write_spec
from tests.reference.how_many import part_of
from tests.reference.random_graphs import ALL_OPS, TWO_REALS, random_artifact
from tests.reference.random_obligations import RECORDS, VARIABLES, exact_reward, exact_statistic, formulas, points
from tests.reference.random_specs import HEADER, truths


def answers(script: str) -> list[str]:
    """What Z3's command line would print."""
    context = z3.Context()
    return str(z3.Z3_eval_smtlib2_string(context.ref(), script)).split()


def direct(reading: RuleReading) -> list[str]:
    """The same two questions, asked of the terms."""
    found = []
    for more in ([z3.Not(reading.conclusion)], []):
        solver = z3.Solver(ctx=reading.context)
        solver.add(reading.domain, reading.premise, *more)
        found.append(str(solver.check()))
    return found


# ── whole rules ────────────────────────────────────────────────────────────────────────────────
def spec_of(premise: str, conclusion: str, quantifier: str = "forall s, t: Step") -> Spec:
    return parse_spec(f"{HEADER}\nmust rule:\n  {quantifier}\n  given {premise}\n  expect {conclusion}\n")


@settings(max_examples=part_of(60), deadline=None)
@given(premise=truths(1), conclusion=truths(1))
def test_random_rules_are_answered_alike(premise: str, conclusion: str) -> None:
    spec = spec_of(premise, conclusion)
    script = smt2(spec, "rule")
    expected = direct(z3_reading(spec, "rule"))
    if "unknown" not in expected:  # products of features may be beyond Z3, either way
        assert answers(script) == expected


# ── single formulas at points ──────────────────────────────────────────────────────────────────
@settings(max_examples=part_of(80), deadline=None)
@given(formula=formulas(), where=points())
def test_a_formula_is_true_where_exact_evaluation_says_so(formula, where) -> None:
    """With variables, rewards and constants given their values, a script has one answer."""
    from rewarden.spec_lang.evaluate import truth, value

    writer = Writer(VARIABLES, RECORDS, {"R": "|R|", "Q": "|Q|"})
    text = writer.formula(formula)
    lines = ["(define-fun |min of two| ((x Real) (y Real)) Real (ite (<= x y) x y))"]
    lines += ["(define-fun |max of two| ((x Real) (y Real)) Real (ite (<= x y) y x))"]
    for variable, at in zip(VARIABLES, where, strict=True):
        whole = variable.discrete
        lines.append(f"(declare-const |{variable.name}| {'Int' if whole else 'Real'})")
        lines.append(f"(assert (= |{variable.name}| {int(at) if whole else numeral(at)}))")
    for call, symbol in writer.calls.items():
        worth = exact_reward(call.reward, tuple(value(a, where) for a in call.arguments))
        lines.append(f"(define-fun {symbol} () Real {numeral(worth)})")
    for constant, symbol in writer.constants.items():
        lines.append(f"(define-fun {symbol} () Real {numeral(exact_statistic(constant))})")
    script = "\n".join([*lines, f"(assert {text})", "(check-sat)"])
    assert answers(script) == ["sat" if truth(formula, where, exact_reward, exact_statistic) else "unsat"]


# ── rewards written out ────────────────────────────────────────────────────────────────────────
@settings(max_examples=part_of(60), deadline=None)
@given(seed=st.integers(0, 10**6), x=st.fractions(-1, 1, max_denominator=9), y=st.fractions(0, 2, max_denominator=9))
def test_a_network_written_out_is_worth_what_it_is(seed: int, x: Fraction, y: Fraction) -> None:
    rng = np.random.default_rng(seed)
    artifact = random_artifact(rng, TWO_REALS, ops=ALL_OPS, patches=int(rng.integers(3)))
    exact = evaluate(artifact, [x, y])
    script = "\n".join(
        [
            f"(define-fun R ((x0 Real) (x1 Real)) Real\n  {network_body(artifact)})",
            f"(assert (= (R {numeral(x)} {numeral(y)}) {numeral(exact)}))",
            "(check-sat)",
        ]
    )
    assert answers(script) == ["sat"]


def test_a_second_opinion_on_a_small_reward(tmp_path) -> None:
    path = write_spec(tmp_path, PROVED, VIOLATED, SHOULD, VACUOUS)
    spec, artifact = load_spec(path), artifact_of(path)
    expected = {
        "bounded": ["unsat", "sat"],
        "slow": ["sat", "sat"],
        "nearer": ["sat", "sat"],
        "nothing": ["unsat", "unsat"],
    }
    for rule, wanted in expected.items():
        assert answers(reward_smt2(spec, rule, {"R": artifact})) == wanted
    assert answers(smt2(spec, "bounded")) == ["sat", "sat"]  # some reward is not bounded


def test_data_constants_of_a_reward_are_written_exactly(tmp_path) -> None:
    rule = "\nmust capped:\n  forall s: Step\n  expect R(s) <= max(R(rows)) + 10\n"
    path = write_spec(tmp_path, rule)
    spec, artifact = load_spec(path), artifact_of(path)
    script = reward_smt2(spec, "capped", {"R": artifact})
    assert "(define-fun |max(R(rows))| () Real (/ 23.0 2.0))" in script
    assert answers(script) == ["unsat", "sat"]  # 16 is the most, 21.5 the limit
    assert answers(smt2(spec, "capped")) == ["sat", "sat"]


def test_a_reading_at_given_terms_is_the_reading_at_fresh_ones() -> None:
    spec = spec_of("s.slope > 0.5", "R(s) >= s.slope", "forall s: Step")
    obligation = spec.obligation("rule")
    context = z3.Context()
    terms = [z3.RealVal(0, context) for _ in obligation.variables]
    reading = read(obligation, context=context, variables=terms)
    assert z3.is_false(z3.simplify(reading.premise))
