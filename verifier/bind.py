"""Binding: a rule of a spec, and artifacts for its reward symbols, to one claim.

Schemas are compared, data constants computed from the artifacts as they are now (so again after every edit), and
everything named by digest. Needs neither torch nor z3: a certificate's claims are recompiled with this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.schema import check_binding
from rewarden.reward.statistics import statistic
from rewarden.spec_lang.claim import Claim, ClaimNear
from rewarden.spec_lang.claims import claim_of, loop_claim_of
from rewarden.spec_lang.clauses import negate
from rewarden.spec_lang.errors import BindingError, Unsupported
from rewarden.spec_lang.lower import with_instances
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
    Term,
    Var,
)
from rewarden.spec_lang.obligation import Sum as TermSum
from rewarden.verifier.loops.local import CLAIMED, LOOP, loop_sums

if TYPE_CHECKING:
    from rewarden.spec_lang import Spec
    from rewarden.spec_lang.neighbourhood import Away


def bind(spec: Spec, rule_name: str, rewards: Mapping[str, Artifact]) -> Claim:
    """The claim of one rule about these artifacts.

    Raises BindingError (B01–B07 for a schema that does not fit, B30 for a reward that the rule needs and nobody
    bound), DataError for data that cannot be read, Unsupported (X codes) for a rule without a claim form, and
    KeyError for an unknown rule.
    """
    if spec.rule(rule_name).kind == "cycle":
        return bind_loops(spec, rule_name, rewards)
    lengths = spec.lowered[rule_name].lengths if spec.rule(rule_name).kind == "trace" else ()
    if len(lengths) > 1:
        return bind_lengths(spec, rule_name, rewards)
    obligation = spec.obligation(rule_name)
    return bind_rows(spec, obligation, rewards) if obligation.over_rows else _bind_plain(spec, obligation, rewards)


def bind_claim(spec: Spec, rule_name: str, rewards: Mapping[str, Artifact]) -> Claim:
    """As `bind`; of a rule about records not near so many rows that no premise can say so (`bind` refuses it, X03) the
    claim that names their table. Whoever asks for it has to heed `near`: clauses and boxes alone say more."""
    tabled = spec.by_table(rule_name)
    return bind(spec, rule_name, rewards) if tabled is None else bind_away(spec, *tabled, rewards)


def bind_away(spec: Spec, obligation: Obligation, away: Away, rewards: Mapping[str, Artifact]) -> Claim:
    """The claim of an obligation about the records that are near no row of a table."""
    column_of = {variable: column for column, variable in enumerate(obligation.records[0].variables)}
    columns = tuple(column_of[k] for k in range(len(obligation.variables)))
    radii = tuple(away.radii[c] for c in columns)
    rows = away.table.values[:, list(columns)]
    near = ClaimNear(False, away.table.table_digest, away.table.rows, columns, radii, rows)
    claim = _bind_plain(spec, obligation, rewards)
    if len(claim.variables) > len(columns):  # data constants of smooth rewards: rows are written out, if that can be
        return _bind_plain(spec, with_instances(spec.lowered[claim.rule], away.table.values), rewards)  # raises X03
    return replace(claim, near=near, instances=away.data)


def _bind_plain(spec: Spec, obligation: Obligation, rewards: Mapping[str, Artifact]) -> Claim:
    """Data constants of smooth rewards, which are no rationals, are variables of the claim."""
    from rewarden.verifier.enclosed_constants import bind_alike  # which binds obligations by what is here

    return bind_alike(spec, obligation, rewards)


def bind_rows(spec: Spec, obligation: Obligation, rewards: Mapping[str, Artifact]) -> Claim:
    """The claim of a rule about rows of data, which names their tables. Unsupported X40 where a count says it not."""
    assert obligation.instances is not None
    name = obligation.instances.data
    tables = {name: [table.table_digest for table in spec.members(name)]}
    return claim_of(obligation, **_bound(spec, obligation, rewards), tables=tables)


def bind_lengths(spec: Spec, rule_name: str, rewards: Mapping[str, Artifact]) -> Claim:
    """The claim of a rule about traces of several lengths: that of each. Unsupported X14 where some are long."""
    lengths = spec.lowered[rule_name].lengths
    if lengths[-1] > CLAIMED:
        message = f"{rule_name}: a claim about traces of more than {CLAIMED} records is too large to be of use"
        raise Unsupported("X14", message)
    return Claim.of_cases([_bind_plain(spec, spec.unrolled(rule_name, n), rewards) for n in lengths])


def bind_loops(spec: Spec, rule_name: str, rewards: Mapping[str, Artifact]) -> Claim:
    """The claim of a rule about loops: what one step of any loop says. Unsupported X14 where no step says it all."""
    obligation = spec.unrolled(rule_name, LOOP)
    facts, sums = loop_sums(obligation)
    rise = Var(2 * len(obligation.records[0].variables))
    formulas = [
        Or((*(negate(fact) for fact in part.cases), Atom(TermSum((part.margin, rise)), part.strict))) for part in sums
    ]
    return loop_claim_of(obligation, facts, formulas, **_bound(spec, obligation, rewards))


def bind_obligation(spec: Spec, obligation: Obligation, rewards: Mapping[str, Artifact]) -> Claim:
    """As `bind`, for an obligation of `spec` that is at hand."""
    return claim_of(obligation, **_bound(spec, obligation, rewards))


class _Bound(TypedDict):
    rewards: Mapping[str, str]
    statistics: Mapping[Statistic, Fraction]
    data_digests: Mapping[str, str]


def _bound(spec: Spec, obligation: Obligation, rewards: Mapping[str, Artifact]) -> _Bound:
    """What its symbols stand for."""
    for name in symbols(obligation):
        check_reward(spec, name, rewards)
    statistics = statistics_of(spec, obligation, rewards)
    data = {s.data for s in statistics}
    if obligation.instances is not None:
        data.add(obligation.instances.data)
    return {
        "rewards": {name: artifact.digest for name, artifact in rewards.items()},
        "statistics": statistics,
        "data_digests": {name: spec.rows(name).digest for name in sorted(data)},
    }


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
    rows = spec.rows(constant.data)
    return _known(artifact, _Table(rows.digest, rows.values), constant.kind, constant.level)


@dataclass(frozen=True, slots=True)
class _Table:
    digest: str
    values: NDArray[np.float64] = field(compare=False)


@lru_cache(maxsize=16)  # an edit asks for the same constants again and again; artifacts are immutable
def _known(
    artifact: Artifact, table: _Table, kind: Literal["quantile", "mean", "min", "max"], level: Fraction | None
) -> Fraction:
    return statistic(artifact, table.values, kind, level)


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
        case TermSum(terms) | Min(terms) | Max(terms) | Call(arguments=terms):
            return terms
        case Product(left, right) | Quotient(left, right):
            return (left, right)
        case Ite(condition, then, otherwise):
            return (condition, then, otherwise)
        case _:
            return ()
