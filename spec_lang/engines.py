"""Which engines can decide a rule, told before any reward exists.

Bounds and Z3 work on claims, so a rule is theirs if its obligation has the normal form of a claim; rows of data are
evaluated one by one. Whether an engine then comes to an answer depends on the reward and the budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rewarden.spec_lang.clauses import Normaliser
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.linear_form import Gathering
from rewarden.spec_lang.lower import RuleKind
from rewarden.spec_lang.obligation import Ite, Max, Min, Obligation, Product, Quotient, Sqrt, Statistic
from rewarden.spec_lang.term_walk import nodes


@dataclass(frozen=True, slots=True)
class Engines:
    """`names` of engines; where there are none, `reason` says why, and violations are only searched for."""

    names: tuple[str, ...]
    reason: str = ""


def engines_of(kind: RuleKind, obligations: Sequence[Obligation]) -> Engines:
    """`obligations` may be some of those that the rule has, the largest last."""
    if kind == "cycle":
        return Engines((), "a loop may have any length")
    if kind in ("rows", "share"):
        return Engines(("rows",))
    try:
        for obligation in obligations:
            _require_claim(obligation)
    except Unsupported as error:
        return Engines((), error.message)
    return Engines(("bounds", "z3"))


def _require_claim(obligation: Obligation) -> None:
    """Unsupported where the obligation has no claim; data constants count as any numbers."""
    formulas = (obligation.structure, obligation.assume, obligation.premise, obligation.conclusion)
    found = [node for formula in formulas for node in nodes(formula)]
    if not any(isinstance(node, Product | Quotient | Sqrt | Min | Max | Ite) for node in found):
        return
    constants = {node: Fraction(0) for node in found if isinstance(node, Statistic)}
    gathering = Gathering(constants)
    gathering.origin = obligation.rule.span
    normaliser = Normaliser(gathering)
    for formula in formulas:
        normaliser.cnf(formula)
