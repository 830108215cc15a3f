"""Which engines can decide a rule, told before any reward exists.

Bounds and Z3 work on claims, so a rule is theirs if its obligation has the normal form of a claim; rows of data are
evaluated one by one. Whether an engine then comes to an answer depends on the reward and the budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rewarden.spec_lang.clauses import MAX_CLAUSES, Normaliser
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.forms import form_of
from rewarden.spec_lang.linear_form import Gathering
from rewarden.spec_lang.lower import RuleKind
from rewarden.spec_lang.obligation import Atom, Ite, Max, Min, Obligation, Product, Quotient, Sqrt, Statistic, Term
from rewarden.spec_lang.term_walk import nodes

PIECES = 16
"""Of one sum: with more of them 2 to that power clauses or atoms are too many, and not worth multiplying out to see."""


@dataclass(frozen=True, slots=True)
class Engines:
    """`names` of engines; where there are none, `reason` says why, and violations are only searched for."""

    names: tuple[str, ...]
    reason: str = ""


def engines_of(kind: RuleKind, obligations: Sequence[Obligation]) -> Engines:
    """`obligations` may be some of those that the rule has, the largest last."""
    if kind == "cycle":
        return Engines(("loops",))
    if kind in ("rows", "share"):
        return Engines(("rows",))
    try:
        for obligation in obligations:
            _require_claim(obligation)
    except Unsupported as error:
        return Engines(("loops",)) if kind == "trace" else Engines((), error.message)
    return Engines(("bounds", "z3"))


def _require_claim(obligation: Obligation) -> None:
    """Unsupported where the obligation has no claim; data constants count as any numbers."""
    formulas = (obligation.structure, obligation.assume, obligation.premise, obligation.conclusion)
    found = [node for formula in formulas for node in nodes(formula)]
    if not any(isinstance(node, Product | Quotient | Sqrt | Min | Max | Ite) for node in found):
        return
    if any(isinstance(node, Atom) and _pieces(node) > PIECES for node in found):
        raise Unsupported(
            "X03", f"the rule needs more than {MAX_CLAUSES} clauses when its alternatives are multiplied out"
        )
    constants = {node: Fraction(0) for node in found if isinstance(node, Statistic)}
    gathering = Gathering(constants)
    gathering.origin = obligation.rule.span
    normaliser = Normaliser(gathering)
    for formula in formulas:
        normaliser.cnf(formula)


def _pieces(atom: Atom) -> int:
    return sum(isinstance(leaf, Min | Max | Ite) and len(_parts(leaf)) > 1 for leaf in form_of(atom.term).parts)


def _parts(piece: Min | Max | Ite) -> tuple[Term, ...]:
    return (piece.then, piece.otherwise) if isinstance(piece, Ite) else piece.terms
