"""What a rule demands of rewards, piece by piece: where `guard` holds, one of `literals` has to.

An obligation `premise implies conclusion` is brought into conjunctive normal form over its comparisons. Those that
read features only move into the guard, so that a demand is a region of records and a comparison of rewards there (most
often one: R(s) <= c, R(a) >= R(b) - c). Everything is an equivalence, by the same steps as in clauses.py; a rule that
does not come apart like this (a product of rewards, too many cases) has no demands, and says so with None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rewarden.spec_lang.clauses import negate
from rewarden.spec_lang.forms import Form, TooLarge, form_of
from rewarden.spec_lang.formulas import atom, conjunction
from rewarden.spec_lang.obligation import And, Atom, Call, Formula, Ite, Max, Min, Obligation, Or, Statistic, Term
from rewarden.spec_lang.sanity.narrowed import Ranges, declared, narrowed
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.term_walk import mentions_rewards

MAX_CLAUSES = 64
MAX_LITERALS = 24

Value = Call | Statistic
"""What a reward decides: its value at a record, or a constant of its values over data."""
_Clause = tuple[Atom, ...]


@dataclass(frozen=True, slots=True)
class Literal:
    """`Σ coefficient·value + rest > 0` when strict, else `>= 0`; `rest` reads features only."""

    values: tuple[tuple[Value, Fraction], ...]
    rest: Term
    strict: bool
    origin: Span | None


@dataclass(frozen=True, slots=True)
class OverRows:
    """What follows, exactly, from `literal` holding at enough rows of `data`."""

    data: str
    literal: Literal
    follows: Formula


@dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """`guard` takes in structure and assumptions; ranges and instances are the obligation's. Without literals no
    reward is good enough where the guard holds. `box` surrounds all points of the guard; None where there is none.
    `over` is set where the demand is not the rule's at a record but follows from what it says of a table's rows."""

    obligation: Obligation
    guard: Formula
    literals: tuple[Literal, ...]
    box: Ranges | None
    over: OverRows | None = None

    @property
    def rule(self) -> str:
        return self.obligation.rule.name


class _Apart(Exception):
    """Internal: the rule does not come apart."""


def region_of(obligation: Obligation) -> Ranges | None:
    """A box around all points at which the rule applies, as far as features tell; None where there is none."""
    region = conjunction([obligation.structure, obligation.assume, *parted(obligation.premise)[0]])
    return narrowed(declared(obligation.variables, obligation.instances), region, obligation.variables)


def demands_of(obligation: Obligation, box: Ranges | None) -> tuple[Demand, ...] | None:
    """All demands of the rule, in the order of its text; None where it has no such form, as for a share of rows. `box`
    is its region's."""
    if obligation.share is not None:
        return None
    about_features, about_rewards = parted(obligation.premise)
    region = conjunction([obligation.structure, obligation.assume, *about_features])
    body = Or((*(negate(part) for part in about_rewards), obligation.conclusion))
    try:
        clauses = _cnf(body)
    except (_Apart, TooLarge):
        return None
    return tuple(_demand(obligation, region, box, clause) for clause in clauses)


def _demand(obligation: Obligation, region: Formula, box: Ranges | None, clause: _Clause) -> Demand:
    escapes = [negate(part) for part in clause if not mentions_rewards(part.term)]
    literals = tuple(_literal(part) for part in clause if mentions_rewards(part.term))
    if escapes and box is not None:
        box = narrowed(box, conjunction(escapes), obligation.variables)
    return Demand(obligation, conjunction([region, *escapes]), literals, box)


def parted(premise: Formula) -> tuple[list[Formula], list[Formula]]:
    """Its conjuncts that read features only, and the others."""
    parts = premise.parts if isinstance(premise, And) else (premise,)
    plain = [part for part in parts if not mentions_rewards(part)]
    return plain, [part for part in parts if mentions_rewards(part)]


def _literal(part: Atom) -> Literal:
    form = form_of(part.term)
    values = tuple((leaf, c) for leaf, c in form.parts.items() if isinstance(leaf, Call | Statistic))
    rest = Form(form.constant, {leaf: c for leaf, c in form.parts.items() if not isinstance(leaf, Call | Statistic)})
    return Literal(values, rest.term(), part.strict, part.origin)


# ── conjunctive normal form ────────────────────────────────────────────────────────────────────
def _cnf(formula: Formula) -> list[_Clause]:
    match formula:
        case And(parts):
            return _all([_cnf(part) for part in parts])
        case Or(parts):
            return _any([_cnf(part) for part in parts])
        case Atom():
            return _expanded(formula)


def _all(parts: Sequence[list[_Clause]]) -> list[_Clause]:
    clauses = list(dict.fromkeys(clause for part in parts for clause in part))
    if len(clauses) > MAX_CLAUSES:
        raise _Apart
    return clauses


def _any(parts: Sequence[list[_Clause]]) -> list[_Clause]:
    found: list[_Clause] = [()]
    for part in parts:
        if len(found) * len(part) > MAX_CLAUSES:
            raise _Apart
        found = list(dict.fromkeys(tuple(dict.fromkeys(a + b)) for a in found for b in part))
    if any(len(clause) > MAX_LITERALS for clause in found):
        raise _Apart
    return found


def _expanded(part: Atom) -> list[_Clause]:
    """The atom without Min, Max or Ite around rewards; those over features stay as they are."""
    if not mentions_rewards(part.term):
        return [(part,)]
    form = form_of(part.term)
    for leaf, c in form.parts.items():
        match leaf:
            case Call(_, arguments):
                if any(mentions_rewards(argument) for argument in arguments):
                    raise _Apart
            case Min(terms) | Max(terms) if mentions_rewards(leaf):
                placed = [_cnf(_placed(part, form, leaf, term)) for term in terms]
                return _any(placed) if isinstance(leaf, Max) == (c > 0) else _all(placed)
            case Ite(condition, then, otherwise) if mentions_rewards(leaf):
                return _all(
                    [
                        _any([_cnf(negate(condition)), _cnf(_placed(part, form, leaf, then))]),
                        _any([_cnf(condition), _cnf(_placed(part, form, leaf, otherwise))]),
                    ]
                )
            case Statistic():
                pass
            case _ if mentions_rewards(leaf):
                raise _Apart
    # pieces of features alone stay in `rest`; like terms have merged, so that a comparison may lose all its rewards
    match atom(form, part.strict, part.origin):
        case And():
            return []
        case Or():
            return [()]
        case Atom() as merged:
            return [(merged,)]


def _placed(part: Atom, form: Form, leaf: Term, term: Term) -> Formula:
    """The atom with `term` in the place of `leaf`; one that has become a constant is true or false."""
    rest = Form(form.constant, {t: c for t, c in form.parts.items() if t != leaf})
    return atom(rest + form_of(term).scaled(form.parts[leaf]), part.strict, part.origin)
