"""Certificate kernel, part 5: claims, and the trees that prove them.

A claim says: at every point of its boxes (whole numbers where a variable is discrete) at which every clause has a true
atom, every goal has a true atom. Its proof is one tree per goal and box. Cuts, signs and cases split, with nothing
lost: the two sides of a cut cover the box, a pre-activation is ≥ 0 or ≤ 0, the atoms of a clause are all the ways in
which it can be true. A leaf ends a branch with computed bounds. The kernel walks every tree and computes every bound
again. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from rewarden.certificate.kernel_bounds import HALF_SLOPES, Bounds, Box, Functional, Neuron, Side, Terms
from rewarden.certificate.kernel_json import (
    Refused,
    array,
    boolean,
    canonical,
    digest,
    digest_text,
    fields,
    integer,
    items,
    rational,
    refuse,
    text,
)
from rewarden.certificate.kernel_program import INPUT, Affine, Program, affine_of, evaluate
from rewarden.certificate.kernel_twins import with_twins

MAX_OPEN = 10_000  # branches waiting, and cases above a leaf: far more than a search ever makes
MAX_SIGNS = 1_000  # above a leaf: each branch that waits holds its own
MAX_NODES = 1 << 23


class Atom(NamedTuple):
    """form > 0 when strict, else form ≥ 0."""

    form: Affine
    strict: bool


Clause = tuple[Atom, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    digest: str
    rule: str
    severity: str
    names: tuple[str, ...]
    units: tuple[str, ...]
    discrete: tuple[bool, ...]
    records: tuple[tuple[str, tuple[int, ...]], ...]  # name, variables
    rewards: Mapping[str, str]
    calls: tuple[tuple[str, tuple[Affine, ...]], ...]
    clauses: tuple[Clause, ...]
    goals: tuple[Clause, ...]
    boxes: tuple[tuple[tuple[Fraction, Fraction], ...], ...]
    instances: str | None


# ── reading a claim ────────────────────────────────────────────────────────────────────────────
def read_claim(value: object) -> Claim:
    keys = "rule severity variables records rewards calls clauses goals boxes instances constants"
    rule, severity, variables, records, rewards, calls, clauses, goals, boxes, instances, constants = fields(
        value, keys, "a claim"
    )
    if severity not in ("must", "should"):
        refuse("severity is must or should")
    triples = [fields(v, "name unit discrete", "a variable") for v in array(variables, "variables")]
    n = len(triples)
    if not isinstance(rewards, dict):
        refuse("rewards must be an object")
    named = {text(name, "a reward's name"): digest_text(x, "a reward's digest") for name, x in rewards.items()}
    read_calls = tuple(_call(call, named, n) for call in array(calls, "calls", 10_000))
    for constant in array(constants, "constants"):
        shown, data, number = fields(constant, "text data value", "a constant")
        text(shown, "a constant's text"), digest_text(data, "a constant's data"), rational(number, "a constant")
    discrete = tuple(boolean(d, "discrete") for _, _, d in triples)
    found = tuple(_box(box, discrete) for box in array(boxes, "boxes"))
    return Claim(
        digest(canonical(value)),
        text(rule, "a rule's name"),
        str(severity),
        tuple(text(name, "a variable's name") for name, _, _ in triples),
        tuple("" if unit is None else text(unit, "a unit") for _, unit, _ in triples),
        discrete,
        tuple(_record(record, n) for record in array(records, "records")),
        named,
        read_calls,
        tuple(_clause(clause, n, len(read_calls)) for clause in array(clauses, "clauses")),
        tuple(_clause(goal, n, len(read_calls)) for goal in array(goals, "goals")),
        found,
        None if instances is None else text(instances, "instances"),
    )


def _record(value: object, n: int) -> tuple[str, tuple[int, ...]]:
    name, kind, variables = fields(value, "name type variables", "a record")
    text(kind, "a record's type")
    return text(name, "a record's name"), tuple(integer(k, 0, n - 1, "an index") for k in array(variables, "variables"))


def _call(value: object, rewards: Mapping[str, str], n: int) -> tuple[str, tuple[Affine, ...]]:
    name, arguments = fields(value, "reward arguments", "a call")
    if text(name, "a reward's name") not in rewards:
        refuse(f"a call of {name}, which is not among the rewards")
    return str(name), tuple(_affine(a, n, 0) for a in array(arguments, "arguments"))


def _affine(value: object, n: int, calls: int) -> Affine:
    constant, variables, outputs = fields(value, "constant variables calls", "an affine form")
    return affine_of(
        rational(constant, "a constant"),
        dict(_entries(variables, n)),
        dict(_entries(outputs, calls)),
    )


def _entries(value: object, count: int) -> Iterator[tuple[int, Fraction]]:
    last = -1
    for entry in array(value, "coefficients"):
        index, number = items(entry, 2, "a coefficient")
        last = integer(index, last + 1, count - 1, "an index (ascending)")
        yield last, rational(number, "a coefficient") or refuse("a coefficient is zero")


def _clause(value: object, n: int, calls: int) -> Clause:
    atoms = []
    for atom in array(value, "a clause", MAX_OPEN):
        form, strict = fields(atom, "affine strict", "an atom")
        atoms.append(Atom(_affine(form, n, calls), boolean(strict, "strict")))
    return tuple(atoms)


def _box(value: object, discrete: tuple[bool, ...]) -> tuple[tuple[Fraction, Fraction], ...]:
    """Closed bounds per variable; those of a discrete one rounded inward to whole numbers."""
    found = []
    for pair, whole in zip(items(value, len(discrete), "a box"), discrete, strict=True):
        low, high = (rational(x, "a bound") for x in items(pair, 2, "a variable's bounds"))
        if whole:
            low, high = Fraction(math.ceil(low)), Fraction(math.floor(high))
        if low > high:
            refuse("a box is empty")
        found.append((low, high))
    return tuple(found)


# ── points ─────────────────────────────────────────────────────────────────────────────────────
def replay(claim: Claim, program: Program, witness: object) -> tuple[bool, bool]:
    """A point of the claim, exactly: (every clause has a true atom, every goal has one). Refused if it is outside."""
    box, point = fields(witness, "box point", "a witness")
    bounds = claim.boxes[integer(box, 0, len(claim.boxes) - 1, "a box")]
    x = [rational(v, "a coordinate") for v in items(point, len(claim.names), "a point")]
    for value, (low, high), whole in zip(x, bounds, claim.discrete, strict=True):
        if not low <= value <= high or (whole and value.denominator != 1):
            refuse("the witness lies outside its box")
    outputs = evaluate(program, x)

    def true(atom: Atom) -> bool:
        form = atom.form
        total = form.constant + sum(c * x[k] for k, c in form.variables) + sum(c * outputs[k] for k, c in form.calls)
        return total > 0 if atom.strict else total >= 0

    return all(any(map(true, c)) for c in claim.clauses), all(any(map(true, g)) for g in claim.goals)


# ── trees ──────────────────────────────────────────────────────────────────────────────────────
Fact = tuple[int, int]  # clause, atom
Bound = tuple[Fraction, ...]


class Leaf(NamedTuple):
    goal: int
    low: Bound
    high: Bound
    cases: tuple[Fact, ...]  # chosen above
    signs: tuple[Side, ...]  # likewise: of pre-activations
    body: list[object]


def walk(claim: Claim, program: Program, goal: int, box: int, value: object) -> Iterator[Leaf]:
    """The leaves of one tree with the box, cases and signs of each; refused unless the tree is whole."""
    bounds = claim.boxes[box]
    root = tuple(low for low, _ in bounds), tuple(high for _, high in bounds)
    for clause in claim.clauses:
        if len(clause) == 1:
            root = _narrowed(*root, clause[0], claim.discrete)
    branches: list[tuple[Bound, Bound, tuple[Fact, ...], tuple[Side, ...]]] = [(*root, (), ())]
    for node in array(value, "a tree", MAX_NODES):
        if not isinstance(node, list) or not node:
            refuse("a node must be a list")
        if not branches:
            refuse("a tree has nodes left over")
        low, high, cases, signs = branches.pop()
        match node:
            case ["cut", variable, at]:
                k = integer(variable, 0, len(low) - 1, "a cut variable")
                cut = rational(at, "a cut")
                left, right = (
                    (Fraction(math.floor(cut)), Fraction(math.floor(cut) + 1)) if claim.discrete[k] else (cut, cut)
                )
                # no point lies between left and right; and each side is smaller than the whole
                if not (low[k] <= left < high[k] and (claim.discrete[k] or low[k] < cut)):
                    refuse("a cut lies outside its box")
                branches.append(((*low[:k], right, *low[k + 1 :]), high, cases, signs))
                branches.append((low, (*high[:k], left, *high[k + 1 :]), cases, signs))
            case ["case", clause]:
                k = integer(clause, 0, len(claim.clauses) - 1, "a case's clause")
                if not claim.clauses[k]:
                    refuse("a case on a clause without atoms")
                for i, atom in reversed(list(enumerate(claim.clauses[k]))):
                    branches.append((*_narrowed(low, high, atom, claim.discrete), (*cases, (k, i)), signs))
            case ["sign", layer, neuron]:
                at = _neuron(program, layer, neuron)
                branches += [(low, high, cases, (*signs, (*at, side))) for side in (1, 0)]  # z ≥ 0 comes first
            case ["leaf", *body]:
                yield Leaf(goal, low, high, cases, signs, body)
            case _:
                refuse("a node must be a cut, a sign, a case or a leaf")
        if len(branches) > MAX_OPEN or len(cases) > MAX_OPEN or len(signs) > MAX_SIGNS:
            refuse("a tree is too deep")
    if branches:
        refuse("a tree ends before it is whole")


def _narrowed(low: Bound, high: Bound, fact: Atom, discrete: Sequence[bool]) -> tuple[Bound, Bound]:
    """A box less what a fact of one variable excludes: every point of it at which the fact is true is still inside.

    c·x + d ≥ 0 is x ≥ −d/c where c > 0 and x ≤ −d/c where c < 0; a strict fact is taken as that too, except that a
    whole number beyond an edge is at least one step beyond it.
    """
    if fact.form.calls or len(fact.form.variables) != 1:
        return low, high
    ((k, slope),) = fact.form.variables
    edge = Fraction(-fact.form.constant, slope)  # both are over the same positive denominator
    if slope > 0:
        if discrete[k]:
            edge = Fraction(math.floor(edge) + 1 if fact.strict else math.ceil(edge))
        return (*low[:k], max(low[k], edge), *low[k + 1 :]), high
    if discrete[k]:
        edge = Fraction(math.ceil(edge) - 1 if fact.strict else math.floor(edge))
    return low, (*high[:k], min(high[k], edge), *high[k + 1 :])


def check_leaf(claim: Claim, program: Program, leaf: Leaf) -> None:
    """Refused unless the leaf's bound, computed here, settles its goal wherever in its box its facts hold."""
    form = leaf.body[4] if len(leaf.body) == 5 else 0
    number, multipliers, slopes, steps = items(leaf.body[:4], 4, "a leaf")
    if len(leaf.body) > 5 or (len(leaf.body) == 5 and integer(form, 1, 1, "a leaf's form") != 1):
        refuse("a leaf has four parts, or five")
    if form:
        program = _twins(claim, program)
    if any(low > high for low, high in zip(leaf.low, leaf.high, strict=True)):
        return  # the facts leave no point of the box
    goal = claim.goals[leaf.goal]
    which = integer(number, -1, len(goal) - 1, "a goal's atom")
    facts, strict = _facts(claim, program, leaf, multipliers)
    if which >= 0:  # where the goal fails, −atom ≥ 0, or > 0 where the atom is not strict
        facts, strict = [(goal[which].form, -1, 0), *facts], strict or not goal[which].strict
    chosen = dict(_slope(program, entry) for entry in array(slopes, "slopes"))
    moves = [_step(claim, program, leaf, entry) for entry in array(steps, "steps")]
    for effort in range(1 if moves else 0, 3):  # the quick ways are enough for nearly every leaf; all are sound
        bounds = Bounds(program, Box(leaf.low, leaf.high), chosen, frozenset(leaf.signs), effort)
        for move in moves:
            match move:
                case (layer, neuron), slope:
                    bounds.choose(layer, neuron, slope)
                case layer, neuron, side, used:
                    if bounds.step(layer, neuron, side, used):
                        return
                case _:
                    bounds.again()
        target = Functional()
        bounds.subtract(target, facts)
        value, _ = bounds.lower_bound(target)
        # −Σ λ·fact ≥ value, and ≤ 0 where the facts hold and the goal fails, < 0 if a fact is strict: so if value > 0,
        # or = 0 with a strict one, there is no such point.
        if value > 0 or (value == 0 and strict):
            return
    refuse("a leaf's bound does not settle its goal")


Move = tuple[Neuron, int] | tuple[int, int, int, Terms] | tuple[()]


def _step(claim: Claim, program: Program, leaf: Leaf, entry: object) -> Move:
    """What a leaf does after another: choose a line, tighten a bound, or bound all layers again."""
    match entry:
        case ["again"]:
            return ()
        case [layer, neuron, side, facts]:
            return (
                *_neuron(program, layer, neuron, INPUT),
                integer(side, 0, 1, "a side"),
                _facts(claim, program, leaf, facts)[0],
            )
        case _:
            return _slope(program, entry)


def _slope(program: Program, entry: object) -> tuple[Neuron, int]:
    layer, neuron, slope = items(entry, 3, "a slope")
    at = _neuron(program, layer, neuron)
    most = 1 << HALF_SLOPES if program.layers[at[0]].pair is None else 8
    return at, integer(slope, 0, most, "a slope")


def _twins(claim: Claim, program: Program) -> Program:
    """The program in its other form, made once."""
    if not program.twins:
        forms = [atom.form for clause in (*claim.goals, *claim.clauses) for atom in clause]
        program.twins.append(with_twins(program, forms) or refuse("a leaf reads twins, and the claim has none"))
    return program.twins[0]


def _facts(claim: Claim, program: Program, leaf: Leaf, value: object) -> tuple[Terms, bool]:
    """Facts, weighted, and whether one of them is strict. All are true where the leaf speaks: atoms of clauses with one
    atom, or chosen by a case above it; [−1, atom]: an atom of its goal, which fails; [layer, neuron, side]: a bound."""
    terms: list[tuple[Affine | Side, int, int]] = []
    strict = False
    for entry in array(value, "multipliers"):
        *named, weight = array(entry, "a multiplier", 4) or refuse("a multiplier is empty")
        m, e = items(weight, 2, "a weight")
        m, e = integer(m, 1, 1 << 256, "a weight's m"), integer(e, -4096, 4096, "its e")
        if len(named) == 3:
            terms.append(((*_neuron(program, named[0], named[1]), integer(named[2], 0, 1, "a side")), m, e))
            continue
        clause, atom = items(named, 2, "what a multiplier names")
        k = integer(clause, -1, len(claim.clauses) - 1, "a fact's clause")
        atoms = claim.goals[leaf.goal] if k < 0 else claim.clauses[k]
        i = integer(atom, 0, len(atoms) - 1, "a fact's atom")
        if k >= 0 and len(atoms) != 1 and (k, i) not in leaf.cases:
            refuse("a leaf uses an atom that no case above it has chosen")
        terms.append((atoms[i].form, -m if k < 0 else m, e))
        strict = strict or (atoms[i].strict if k >= 0 else not atoms[i].strict)
    return terms, strict


def _neuron(program: Program, layer: object, neuron: object, first: int = 0) -> tuple[int, int]:
    k = integer(layer, first, len(program.layers) - 1, "a layer")
    return k, integer(neuron, 0, program.width(k) - 1, "a neuron")


def leaves(claim: Claim, program: Program, trees: object) -> Iterator[Leaf]:
    """All leaves of a proof: for every goal, for every box, one tree."""
    for goal, per_box in enumerate(items(trees, len(claim.goals), "the trees (one list per goal)")):
        for box, tree in enumerate(items(per_box, len(claim.boxes), "the trees of a goal (one per box)")):
            try:
                yield from walk(claim, program, goal, box, tree)
            except Refused as error:
                raise Refused(f"goal {goal}, box {box}: {error}") from None
