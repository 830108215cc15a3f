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
from rewarden.spec_lang.forms import Form, form_of
from rewarden.spec_lang.formulas import atom, conjunction, disjunction
from rewarden.spec_lang.obligation import FALSE, TRUE, Atom, Call, Formula, Obligation, Term, Var, Variable
from rewarden.spec_lang.sanity.demands import Demand, demands_of, region_of
from rewarden.spec_lang.sanity.narrowed import Ranges
from rewarden.spec_lang.sanity.prepared import WIDEST, Prepared
from rewarden.spec_lang.sanity.round_numbers import rounded
from rewarden.spec_lang.sanity.z3 import Oracle
from rewarden.spec_lang.spec import Spec
from rewarden.spec_lang.term_walk import nodes

LOOPS = (1, 2, 3, 4)
"""Records of a loop that takes part in the search for clashes."""
RECORDS = 8_000
"""Of a rule about traces, lengths times the records of the longest: within 256 steps it would take half a minute to
write all of them out."""
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

    A share that is to be large is 1 if the conclusion holds of every row. Of traces every length is needed, so that of
    very long ones there is no list.
    """
    found: list[Demand] = []
    for rule in rules:
        if rule.obligations and len(rule.obligations) * len(rule.obligations[-1].records) > RECORDS:
            return None
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
    so that loops of all lengths ask what those of one record do, were there any; None where it is not. What is true of
    loops of one, two and three records here is true of all (`compare/loops.py`): a condition on both records of a move
    shows only where they differ. The premise is left out, which asks for more."""
    loops = [spec.unrolled(rule.name, length).conclusion for length in (1, 2, 3)]
    once, *longer = [_sums_of_rewards(conclusion) for conclusion in loops]
    if once is None:
        return None
    for length, sums in enumerate(longer, start=2):
        if sums != [{name: c * length for name, c in own.items()} for own in once]:
            return None
    everywhere = replace(spec.unrolled(rule.name, 1), structure=TRUE, assume=TRUE, premise=TRUE)
    own = demands_of(everywhere, region_of(everywhere))
    return None if own is None else list(own)


def _sums_of_rewards(conclusion: Formula) -> list[dict[str, Fraction]] | None:
    """Of every comparison, how often each reward occurs in its sum; None where something else does."""
    found: list[dict[str, Fraction]] = []
    for node in nodes(conclusion):
        if isinstance(node, Atom):
            form = form_of(node.term)
            sums: dict[str, Fraction] = defaultdict(Fraction)
            for leaf, c in form.parts.items():
                if not isinstance(leaf, Call):
                    return None
                sums[leaf.reward] += c
            if form.constant:
                return None
            found.append(dict(sums))
    return found


def loops_of(rule: Prepared, spec: Spec) -> list[Obligation]:
    """A rule about cycles, for loops of a few records."""
    loops = [spec.unrolled(rule.name, length) for length in LOOPS]
    return [loop for loop in loops if len(loop.variables) <= WIDEST]


def short_loops(rule: Prepared, spec: Spec) -> list[Demand]:
    """What a rule about cycles demands of loops of a few records, as far as that comes apart: part of what it demands,
    enough to contradict others."""
    found: list[Demand] = []
    for loop in loops_of(rule, spec):
        box = region_of(loop)
        if box is not None:
            found += demands_of(loop, box) or ()
    return found
