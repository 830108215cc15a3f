"""The formula of a query as claims to refute: boxes of inputs, premises on them, and what must not happen.

A query asks for inputs at which its formula F is true; a claim says that none exist. F is taken apart exactly:

- Disjunctions with some atom over inputs alone (`or` of boxes, or of boxes with what happens in them) are multiplied
  out, since bounds of inputs are the claim's boxes; a branch whose box is empty is dropped on the way.
- In each branch F is a conjunction of bounds (the box, closed; strict ones are kept as clauses too), of other atoms
  over inputs (clauses), and of formulas with outputs, V. The claim is: in the box, if the clauses hold, V does not. Not
  V, in clauses, are its goals; where they would be too many, parts of V are premises instead: the same claim.

So F has a solution exactly where some branch's claim fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from rewarden.spec_lang.claim import Affine, AffineAtom, Box, Clause
from rewarden.spec_lang.errors import Unsupported, UsageError
from rewarden.verifier.vnnlib.elimination import eliminate
from rewarden.verifier.vnnlib.forms import negated, plus, scaled, substituted
from rewarden.verifier.vnnlib.propagation import simplified
from rewarden.verifier.vnnlib.query import AllOf, AnyOf, Formula, Query, atoms_in

MAX_BRANCHES = 4096
MAX_STEPS = 100_000
MAX_GOALS = 64
MAX_CLAUSES = 4096
MAX_ATOMS = 1 << 18
NEVER: Clause = (AffineAtom(Affine(Fraction(-1)), strict=False),)


@dataclass(frozen=True, slots=True)
class Branch:
    """In `box`, where all of `clauses` hold, all of `goals` do, or the query has a solution. Inputs with a row in
    `rows` are that form of the others: nothing else speaks of them, and in the box they are some point."""

    box: Box
    clauses: tuple[Clause, ...]
    goals: tuple[Clause, ...]
    rows: tuple[tuple[int, Affine], ...] = ()


def branches_of(query: Query) -> tuple[Branch, ...]:
    """The branches of a query. Raises UsageError (G82) for an input without bounds, Unsupported (X35) where there are
    too many."""
    found: list[Branch] = []
    start = _State()
    stack: list[Iterator[_State]] = [iter([start] if start.include(query.formula) else [])]
    steps = 0
    while stack:
        state = next(stack[-1], None)
        if state is None:
            stack.pop()
            continue
        steps += 1
        if steps > MAX_STEPS or len(found) >= MAX_BRANCHES:
            raise _too_many()
        if state.choices:
            stack.append(_chosen(state))
        else:
            found.extend(_branch(query, state))
    return tuple(found)


@dataclass(slots=True)
class _State:
    """Mutable: a branch in the making; `choices` are disjunctions still to be multiplied out."""

    lo: dict[int, Fraction] = field(default_factory=dict)
    hi: dict[int, Fraction] = field(default_factory=dict)
    premises: list[AffineAtom] = field(default_factory=list)
    outputs: list[Formula] = field(default_factory=list)
    choices: list[AnyOf] = field(default_factory=list)

    def include(self, formula: Formula) -> bool:
        """Add a conjunct; False once the branch is seen to be empty."""
        pending = [formula]
        while pending:
            match pending.pop():
                case AllOf(parts):
                    pending.extend(reversed(parts))
                case AnyOf(()):
                    return False
                case AnyOf() as choice if any(not atom.affine.calls for atom in atoms_in(choice)):
                    self.choices.append(choice)
                case AffineAtom() as atom if not atom.affine.calls:
                    if not self._input_atom(atom):
                        return False
                case other:
                    self.outputs.append(other)
        return True

    def _input_atom(self, atom: AffineAtom) -> bool:
        if len(atom.affine.variables) > 1:
            self.premises.append(atom)
            return True
        ((j, c),) = atom.affine.variables
        edge = -atom.affine.constant / c
        if c > 0:
            self.lo[j] = max(self.lo.get(j, edge), edge)
        else:
            self.hi[j] = min(self.hi.get(j, edge), edge)
        if atom.strict:
            self.premises.append(atom)
        return j not in self.lo or j not in self.hi or self.lo[j] <= self.hi[j]


def _chosen(state: _State) -> Iterator[_State]:
    """The state with each alternative of its first choice."""
    for part in state.choices[0].parts:
        child = _State(dict(state.lo), dict(state.hi), [*state.premises], [*state.outputs], state.choices[1:])
        if child.include(part):
            yield child


def _branch(query: Query, state: _State) -> Iterator[Branch]:
    """The finished branch; nothing where its equalities are a contradiction."""
    for index in range(query.inputs):
        for side, ends in (("lower", state.lo), ("upper", state.hi)):
            if index not in ends:
                name = query.input_name(index)
                raise UsageError(
                    "G82", f"input {name} has no {side} bound", help="assert one: what is searched is a box"
                )
    box = [(state.lo[i], state.hi[i]) for i in range(query.inputs)]
    fixed = {i: Affine(lo) for i, (lo, hi) in enumerate(box) if lo == hi}
    eliminated = eliminate([AffineAtom(substituted(a.affine, fixed), a.strict) for a in state.premises])
    if eliminated is None:
        return
    rows, left = {**fixed, **eliminated[0]}, eliminated[1]
    for variable, row in eliminated[0].items():
        lo, hi = box[variable]
        left += [AffineAtom(plus(row, -lo), strict=False), AffineAtom(plus(scaled(row, -1), hi), strict=False)]
        box[variable] = (lo, lo)
    kept = [clause for clause in (simplified((atom,), box) for atom in left) if clause is not None]
    if () in kept:
        return
    premises, goals = _conditions(kept, state.outputs)
    goals = tuple(tuple(AffineAtom(substituted(a.affine, rows), a.strict) for a in goal) for goal in goals)
    premises = [tuple(AffineAtom(substituted(a.affine, rows), a.strict) for a in clause) for clause in premises]
    yield Branch(tuple(box), tuple(premises), goals, tuple(sorted(rows.items())))


def _conditions(premises: list[Clause], outputs: list[Formula]) -> tuple[list[Clause], tuple[Clause, ...]]:
    """Premises over inputs and formulas with outputs, as premises and goals."""
    if not outputs:  # a query about inputs alone: its last premise is what must not happen
        return premises[:-1], (tuple(map(negated, premises[-1])) if premises else NEVER,)
    violation = sorted(outputs, key=lambda part: len(atoms_in(part)))
    while True:
        limit = MAX_GOALS if len(violation) > 1 else MAX_CLAUSES
        goals = _clauses(AnyOf(tuple(map(_negated, violation))), limit)
        if goals is not None:
            return premises, (NEVER,) if () in goals else goals
        moved = _clauses(violation.pop(), MAX_CLAUSES) if len(violation) > 1 else None
        if moved is None:
            raise _too_many()
        premises = [*premises, *moved]


def _negated(formula: Formula) -> Formula:
    match formula:
        case AllOf(parts):
            return AnyOf(tuple(map(_negated, parts)))
        case AnyOf(parts):
            return AllOf(tuple(map(_negated, parts)))
        case AffineAtom():
            return negated(formula)


def _clauses(formula: Formula, limit: int) -> tuple[Clause, ...] | None:
    """Equivalent clauses; None where there are more than `limit`, or too many atoms in them."""
    match formula:
        case AffineAtom():
            return ((formula,),)
        case AllOf(parts):
            found: dict[Clause, None] = {}
            for part in parts:
                clauses = _clauses(part, limit)
                found.update(dict.fromkeys(clauses or ()))
                if clauses is None or len(found) > limit:
                    return None
            return tuple(found)
        case AnyOf(parts):
            single = dict.fromkeys(part for part in parts if isinstance(part, AffineAtom))
            product: tuple[Clause, ...] = (tuple(single),)
            for part in parts:
                if isinstance(part, AffineAtom):
                    continue
                clauses = _clauses(part, limit)
                if clauses is None or len(product) * len(clauses) > limit:
                    return None
                product = tuple(dict.fromkeys(tuple(dict.fromkeys(a + b)) for a in product for b in clauses))
                if sum(map(len, product)) > MAX_ATOMS:
                    return None
            return product


def _too_many() -> Unsupported:
    return Unsupported(
        "X35",
        f"the query's disjunctions multiply out to more than {MAX_BRANCHES} boxes or {MAX_CLAUSES} clauses",
        help="split the query into several",
    )
