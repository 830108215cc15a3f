"""Binding: a rule of a spec, and artifacts for its reward symbols, to one claim.

Schemas are compared, data constants computed from the artifacts as they are now (so again after every edit), and
everything named by digest. Needs neither torch nor z3: a certificate's claims are recompiled with this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from fractions import Fraction
from typing import TYPE_CHECKING

from rewarden.reward.artifact import Artifact
from rewarden.reward.schema import check_binding
from rewarden.reward.statistics import statistic
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.claims import claim_of
from rewarden.spec_lang.errors import BindingError
from rewarden.spec_lang.obligation import (
    And,
    Atom,
    Call,
    Formula,
    Ite,
    Max,
    Min,
    Obligation,
    Or,
    Product,
    Quotient,
    Sqrt,
    Statistic,
    Sum,
    Term,
)

if TYPE_CHECKING:
    from rewarden.spec_lang import Spec


def bind(spec: Spec, rule_name: str, rewards: Mapping[str, Artifact]) -> Claim:
    """The claim of one rule about these artifacts.

    Raises BindingError (B01–B07 for a schema that does not fit, B30 for a reward that the rule needs and nobody
    bound), DataError for data that cannot be read, Unsupported (X codes) for a rule without a claim form, and
    KeyError for an unknown rule.
    """
    return bind_obligation(spec, spec.obligation(rule_name), rewards)


def bind_obligation(spec: Spec, obligation: Obligation, rewards: Mapping[str, Artifact]) -> Claim:
    """As `bind`, for an obligation of `spec` that is at hand."""
    for name in symbols(obligation):
        check_reward(spec, name, rewards)
    statistics = statistics_of(spec, obligation, rewards)
    data = {s.data for s in statistics}
    if obligation.instances is not None:
        data.add(obligation.instances.data)
    return claim_of(
        obligation,
        rewards={name: artifact.digest for name, artifact in rewards.items()},
        statistics=statistics,
        data_digests={name: spec.rows(name).digest for name in sorted(data)},
    )


def check_reward(spec: Spec, name: str, rewards: Mapping[str, Artifact]) -> None:
    """The artifact bound to a declared reward is there and fits. Raises BindingError (B01–B07, B30, B33)."""
    declaration = spec.rewards.get(name)
    if declaration is None:
        close = get_close_matches(name, list(spec.rewards), n=1)
        hint = f"did you mean {close[0]}?" if close else f"the spec declares {', '.join(spec.rewards) or 'none'}"
        raise BindingError("B33", f"the spec declares no reward {name}", help=hint)
    if name not in rewards:
        raise BindingError("B30", f"no artifact is bound to the reward {name}", help=f"name one: --reward {name}=DIR")
    declared = tuple((param, spec.features[kind]) for param, kind in declaration.params)
    check_binding(rewards[name].records, declared, name)


def statistics_of(spec: Spec, obligation: Obligation, rewards: Mapping[str, Artifact]) -> dict[Statistic, Fraction]:
    """The data constants of an obligation with their exact values, in order of first use."""
    return {s: _value(spec, s, rewards[s.reward]) for s in data_constants(obligation)}


def _value(spec: Spec, constant: Statistic, artifact: Artifact) -> Fraction:
    return statistic(artifact, spec.rows(constant.data).values, constant.kind, constant.level)


# ── what an obligation speaks of ───────────────────────────────────────────────────────────────
def symbols(obligation: Obligation) -> tuple[str, ...]:
    """The reward symbols in it, sorted."""
    return tuple(sorted({t.reward for t in terms_of(obligation) if isinstance(t, Call | Statistic)}))


def data_constants(obligation: Obligation) -> tuple[Statistic, ...]:
    """Its data constants, in order of first use."""
    return tuple(dict.fromkeys(t for t in terms_of(obligation) if isinstance(t, Statistic)))


def terms_of(obligation: Obligation) -> Iterator[Term]:
    """Every term in it, the inner ones too. Iterative: definitions written out may nest deeply."""
    parts = (obligation.structure, obligation.assume, obligation.premise, obligation.conclusion)
    stack: list[Term | Formula] = list(reversed(parts))
    while stack:
        top = stack.pop()
        if not isinstance(top, Atom | And | Or):
            yield top
        stack.extend(reversed(_children(top)))


def _children(node: Term | Formula) -> tuple[Term | Formula, ...]:
    match node:
        case Atom(term=term) | Sqrt(term):
            return (term,)
        case And(parts) | Or(parts):
            return parts
        case Sum(terms) | Min(terms) | Max(terms) | Call(arguments=terms):
            return terms
        case Product(left, right) | Quotient(left, right):
            return (left, right)
        case Ite(condition, then, otherwise):
            return (condition, then, otherwise)
        case _:
            return ()
