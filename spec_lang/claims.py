"""The bounds reading: an obligation as a claim, in clauses of affine atoms, exactly.

At every point the claim's `clauses ⇒ goals` has the truth of the obligation's `structure and assume and premise ⇒
conclusion` (tests/property/test_claim_equivalence.py): clauses.py expands min, max and if, linear_form.py multiplies
constants out and folds data constants in, boxes.py says where. What would need products, roots or too many clauses is
Unsupported, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from rewarden.spec_lang import limits
from rewarden.spec_lang.boxes import boxes_of
from rewarden.spec_lang.claim import Claim, ClaimConstant, ClaimNear, ClaimRecord, ClaimRows, ClaimVariable
from rewarden.spec_lang.clauses import Normaliser
from rewarden.spec_lang.errors import BindingError, Unsupported
from rewarden.spec_lang.evaluate import statistic_text
from rewarden.spec_lang.linear_form import Gathering
from rewarden.spec_lang.obligation import Formula, Obligation, Statistic


def claim_of(
    obligation: Obligation,
    *,
    rewards: Mapping[str, str],
    statistics: Mapping[Statistic, Fraction],
    data_digests: Mapping[str, str],
    tables: Mapping[str, Sequence[str]] | None = None,
) -> Claim:
    """The obligation in the form that is proved, certified and checked (docs/formats.md, Claim).

    `rewards` and `data_digests` give the digest of each reward's artifact and of each data set's canonical table,
    `statistics` the value of each data constant, `tables` the digests of the tables whose rows a rule may be about:
    without them such a rule has no claim (X40). Clauses stand in the order structure, assume, premise, and within each
    as in the source; calls are numbered by first use. A false premise is one clause without atoms.

    Raises Unsupported (X01–X05, X40) where the rule is outside the form, BindingError (B20, B21) where a digest or a
    data constant is missing, DataError (D08, D15) where data leave no box.
    """
    rows = _rows(obligation, tables) if obligation.over_rows else None
    gathering = Gathering(statistics)
    normaliser = Normaliser(gathering)
    gathering.origin = obligation.rule.span
    clauses = normaliser.conjunction(
        normaliser.cnf(formula) for formula in (obligation.structure, obligation.assume, obligation.premise)
    )
    goals = normaliser.cnf(obligation.conclusion)
    order = normaliser.order_of_calls(clauses, goals)
    calls = tuple(gathering.calls[call] for call in order)
    used = {call.reward for call in calls} | {statistic.reward for statistic in gathering.used_statistics}
    return Claim(
        rule=obligation.rule.name,
        severity=obligation.rule.severity,
        variables=tuple(ClaimVariable(v.name, v.unit, v.discrete) for v in obligation.variables),
        records=tuple(ClaimRecord(r.name, r.type_name, r.variables) for r in obligation.records),
        rewards=tuple((name, _digest(rewards, name, "reward")) for name in sorted(used)),
        calls=calls,
        clauses=normaliser.clauses(clauses, order),
        goals=normaliser.clauses(goals, order),
        boxes=boxes_of(obligation) if rows is None else (),
        rows=rows,
        near=_near(obligation, data_digests),
        constants=_constants(gathering, statistics, data_digests),
        instances=None if obligation.instances is None else obligation.instances.data,
    )


def _near(obligation: Obligation, digests: Mapping[str, str]) -> ClaimNear | None:
    """The table whose rows the boxes are around, where there are too many of them to be written out."""
    instances, width = obligation.instances, len(obligation.variables)
    if instances is None or instances.themselves or len(instances.anchors) * width <= limits.BOXES:
        return None
    places: dict[int, tuple[int, Fraction | None]] = {v: (column, None) for v, column in instances.fixed}
    places |= {v: (column, radius) for v, column, radius in instances.centred}
    if places.keys() != set(range(width)):
        return None
    columns, radii = tuple(places[v][0] for v in range(width)), tuple(places[v][1] for v in range(width))
    return ClaimNear(True, _digest(digests, instances.data, "data set"), len(instances.anchors), columns, radii)


def _rows(obligation: Obligation, tables: Mapping[str, Sequence[str]] | None) -> ClaimRows:
    instances, share = obligation.instances, obligation.share
    assert instances is not None
    columns = dict(instances.fixed)
    whole = columns.keys() == set(range(len(obligation.variables))) and set(columns.items()) == set(instances.fixed)
    if tables is None or not whole:
        message = "rules about the rows of data are judged row by row, not by a claim about boxes"
        raise Unsupported("X40", f"{obligation.rule.name}: {message}")
    if share is not None and share.confidence is not None:
        message = "a share with a confidence is about where the rows come from, and a certificate counts rows"
        raise Unsupported("X40", f"{obligation.rule.name}: {message}")
    return ClaimRows(
        count=len(instances.anchors),
        tables=tuple(tables[instances.data]),
        columns=tuple(columns[k] for k in range(len(columns))),
        share=None if share is None else (share.op, share.level),
    )


def loop_claim_of(
    obligation: Obligation,
    facts: Sequence[Formula],
    sums: Sequence[Formula],
    *,
    rewards: Mapping[str, str],
    statistics: Mapping[Statistic, Fraction],
    data_digests: Mapping[str, str],
) -> Claim:
    """A rule about loops in the form that is certified (docs/formats.md, Loops): what one step of any loop says.

    `obligation` is that of some loop of at least two records. `facts` and `sums` are over the columns of a record,
    those of the next, and one variable more, the rise, of which `sums` alone speak: in each, a margin plus the rise is
    compared with 0. Raises as `claim_of`.
    """
    gathering = Gathering(statistics)
    normaliser = Normaliser(gathering)
    gathering.origin = obligation.rule.span
    clauses = normaliser.conjunction(normaliser.cnf(fact) for fact in facts)
    goals = [normaliser.cnf(formula) for formula in sums]
    order = normaliser.order_of_calls(clauses, *goals)
    calls = tuple(gathering.calls[call] for call in order)
    used = {call.reward for call in calls} | {statistic.reward for statistic in gathering.used_statistics}
    pair = obligation.records[:2]
    columns = [obligation.variables[k] for view in pair for k in view.variables]
    box = boxes_of(obligation)[0]
    width, zero = len(columns) // 2, Fraction(0)
    return Claim(
        rule=obligation.rule.name,
        severity=obligation.rule.severity,
        variables=(*(ClaimVariable(v.name, v.unit, v.discrete) for v in columns), ClaimVariable("rise", None, False)),
        records=tuple(
            ClaimRecord(r.name, r.type_name, tuple(range(k * width, (k + 1) * width))) for k, r in enumerate(pair)
        ),
        rewards=tuple((name, _digest(rewards, name, "reward")) for name in sorted(used)),
        calls=calls,
        clauses=normaliser.clauses(clauses, order),
        goals=tuple(goal for part in goals for goal in normaliser.clauses(part, order)),
        boxes=((*(box[k] for view in pair for k in view.variables), (zero, zero)),),
        constants=_constants(gathering, statistics, data_digests),
        loops=tuple(len(part) for part in goals),
    )


def _constants(
    gathering: Gathering, statistics: Mapping[Statistic, Fraction], data_digests: Mapping[str, str]
) -> tuple[ClaimConstant, ...]:
    return tuple(
        ClaimConstant(statistic_text(s), _digest(data_digests, s.data, "data set"), statistics[s])
        for s in gathering.used_statistics
    )


def _digest(digests: Mapping[str, str], name: str, what: str) -> str:
    if name not in digests:
        raise BindingError("B20", f"no digest is known for the {what} {name}", help=f"bind the {what} first")
    return digests[name]
