"""Is there a reward that satisfies all must rules? A proof by example: every reward constant.

For constants c a demand asks that some literal `Σ coefficient·c + rest` is positive wherever its guard holds; the least
value of `rest` over a box around the guard is enough, so what remains are a few comparisons of the constants. Data
constants of a constant reward are that constant. Many specs cap and order rewards without asking for two levels, and
then this settles, for all combinations of rules at once, that they do not clash. (stepped.py has the next simplest.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from rewarden.spec_lang.bounds import interval
from rewarden.spec_lang.evaluate import truth
from rewarden.spec_lang.forms import Form
from rewarden.spec_lang.formulas import atom, conjunction, disjunction
from rewarden.spec_lang.obligation import FALSE, Const, Formula, Term, Var, Variable
from rewarden.spec_lang.sanity.demands import Demand, demands_of, region_of
from rewarden.spec_lang.sanity.narrowed import Ranges
from rewarden.spec_lang.sanity.prepared import Prepared
from rewarden.spec_lang.sanity.round_numbers import rounded
from rewarden.spec_lang.sanity.z3 import Oracle
from rewarden.spec_lang.spec import Spec

LIMIT = Fraction(10**9)
"""Constants of larger size are not looked for."""


def constant_rewards(
    demands: Sequence[Demand], rewards: Sequence[str], oracle: Oracle, rlimit: int
) -> dict[str, Fraction] | None:
    """A number for each reward, such that rewards with these values everywhere meet every demand; None where none is
    found (there may still be one, and there may be rewards that vary)."""
    asked = conjunction(_asks(demand, rewards) for demand in demands)
    zeros = (Fraction(0),) * len(rewards)
    if truth(asked, zeros):
        return dict(zip(rewards, zeros, strict=True))
    if asked == FALSE:
        return None
    variables = [Variable(name, "constant", False, -LIMIT, LIMIT) for name in rewards]
    answer = oracle.ask(variables, asked, rlimit)
    if answer.point is None:
        return None
    return dict(zip(rewards, rounded(variables, asked, answer.point), strict=True))


def _asks(demand: Demand, rewards: Sequence[str]) -> Formula:
    """What the demand asks of the constants; variable k is that of `rewards[k]`."""
    ranges = demand.box
    if ranges is None:
        return conjunction([])
    asked = []
    for literal in demand.literals:
        least = _least(literal.rest, ranges)
        sums: dict[Term, Fraction] = defaultdict(Fraction)
        for value, c in literal.values:
            sums[Var(rewards.index(value.reward))] += c
        if least is not None:
            asked.append(atom(Form(least, {v: c for v, c in sums.items() if c}), literal.strict, None))
    return disjunction(asked)


def _least(rest: Term, ranges: Ranges) -> Fraction | None:
    return interval(rest, lambda index: ranges[index])[0]


def demands_everywhere(rules: Sequence[Prepared]) -> list[Demand] | None:
    """Demands which a reward that meets them satisfies these rules with; None where a rule has no such list.

    A share that is to be large is 1 if the conclusion holds of every row.
    """
    found: list[Demand] = []
    for rule in rules:
        for obligation, box, known in zip(rule.obligations, rule.regions, rule.demands, strict=True):
            share = obligation.share
            if share is not None and (share.op != ">=" or share.confidence is not None):
                return None
            own = known if share is None else demands_of(replace(obligation, share=None), box)
            if own is None:
                return None
            found += own
    return found


def demands_of_loops(rule: Prepared, spec: Spec) -> list[Demand] | None:
    """The same for a rule about cycles and constant rewards: a sum over k moves or records is then k times a constant,
    so that loops of all lengths ask what those of one record do."""
    once = spec.unrolled(rule.name, 1)
    own = demands_of(once, region_of(once))
    if own is None or any(literal.rest != Const(Fraction(0)) for demand in own for literal in demand.literals):
        return None
    return list(own)
