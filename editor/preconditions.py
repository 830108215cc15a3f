"""What no patch can do, found before one is made: nothing to patch, nothing to leave alone, no room for a slope, or the
opposite of an earlier patch. Decided exactly, by linear arithmetic over the declared ranges (Z3).

A patched reward is continuous. So where the closed regions of a ceiling and of a floor above it touch, no slope is
steep enough, even if the rules' own regions are open and have no record in common; where they overlap, the two
contradict each other. An artifact's earlier patches are regions like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.claim import AffineAtom, Box
from rewarden.spec_lang.errors import EditError

if TYPE_CHECKING:
    import z3

    from rewarden.editor.history.stored import Stored
    from rewarden.editor.region import Bound, Polytope


def possible(atoms: Sequence[AffineAtom], box: Box, discrete: Sequence[bool]) -> bool:
    """Whether some record of the box satisfies all atoms (over variables alone)."""
    import z3

    terms, solver = _domain(box, discrete)
    for atom in atoms:
        value = z3.Sum([_number(atom.affine.constant), *(_number(c) * terms[j] for j, c in atom.affine.variables)])
        solver.add(value > 0 if atom.strict else value >= 0)
    return bool(solver.check() == z3.sat)


def covers(polytopes: Sequence[Polytope], box: Box, discrete: Sequence[bool]) -> bool:
    """Whether the union of the polytopes is all of the box."""
    return _cover(polytopes, *_domain(box, discrete))


def _cover(polytopes: Sequence[Polytope], terms: Sequence[z3.ArithRef], solver: z3.Solver) -> bool:
    import z3

    for polytope in polytopes:
        solver.add(z3.Or([row > 0 for row in _rows(polytope, terms)]))
    return bool(solver.check() == z3.unsat)


def _rows(polytope: Polytope, terms: Sequence[z3.ArithRef]) -> list[z3.ArithRef]:
    import z3

    return [
        z3.Sum([_number(-row.offset), *(_number(c) * x for c, x in zip(row.coefficients, terms, strict=True) if c)])
        for row in polytope.rows
    ]


def meet(one: Sequence[Polytope], other: Sequence[Polytope], artifact: Artifact) -> bool:
    """Whether the closed regions that two unions of polytopes describe have a record in common."""
    import z3

    from rewarden.editor.history.overlap import Columns

    columns, solver = Columns.of(artifact.records), z3.SolverFor("QF_LIRA")
    solver.add(*columns.domain)
    for side in (one, other):
        solver.add(z3.Or([z3.And([row <= 0 for row in _rows(polytope, columns.terms)]) for polytope in side]))
    return bool(solver.check() == z3.sat)


def require_region(artifact: Artifact, bound: Bound) -> None:
    """The region of a bound is something, and not everything. Raises EditError E06, E12. (Near data `near_of` and
    `ring_near` see to both.)"""
    if bound.near:
        return
    if not bound.polytopes:
        raise EditError("E06", f"the region of rule {bound.rule} is empty: there is nothing to patch")
    import z3

    from rewarden.editor.history.overlap import Columns

    columns, solver = Columns.of(artifact.records), z3.SolverFor("QF_LIRA")
    solver.add(*columns.domain)  # of an enum's columns just one is 1
    if not all(polytope.rows for polytope in bound.polytopes) or _cover(bound.polytopes, columns.terms, solver):
        raise EditError(
            "E12",
            f"rule {bound.rule} would have {bound.reward} patched everywhere: there is no region to patch, and no "
            "outside to leave alone",
            help="give the rule a premise, or learn the reward with that range",
        )


def _domain(box: Box, discrete: Sequence[bool]) -> tuple[list[z3.ArithRef], z3.Solver]:
    import z3

    terms = [z3.Int(f"x{j}") if whole else z3.Real(f"x{j}") for j, whole in enumerate(discrete)]
    solver = z3.SolverFor("QF_LIRA")
    for x, (lo, hi) in zip(terms, box, strict=True):
        solver.add(x >= _number(lo), x <= _number(hi))
    return terms, solver


def _number(value: Fraction) -> z3.RatNumRef:
    import z3

    return z3.RealVal(f"{value.numerator}/{value.denominator}")


def require_room(artifact: Artifact, count: int) -> None:
    """The newest `count` patches of an artifact do not ask the opposite of the earlier ones. Raises EditError E34 where
    they contradict each other at a record, E35 where their closed regions touch."""
    from rewarden.editor.history.stored import all_stored

    patches = all_stored(artifact)
    earlier, newest = patches[: len(patches) - count], patches[len(patches) - count :]
    for new in newest:
        for old in earlier:
            if new.kind != old.kind and new.sign * new.level < new.sign * old.level:
                _require_apart(artifact, new, old)


def _require_apart(artifact: Artifact, new: Stored, old: Stored) -> None:
    from rewarden.editor.history.overlap import Columns, clash, touching

    columns = Columns.of(artifact.records)
    upper, lower = (new, old) if new.kind == "ceiling" else (old, new)
    demands = f"at most {float(upper.level):.6g} for {upper.rule}, at least {float(lower.level):.6g} for {lower.rule}"
    point = clash(new, old, columns)
    if point is not None:
        raise EditError(
            "E34",
            f"the patch for {new.rule} contradicts the one for {old.rule}: at {_told(artifact, point)} the reward "
            f"would have to be {demands}",
            help="these levels cannot both be held there: mend one of the two rules by another method (--method), "
            "change it, or revert the earlier edit",
        )
    point = touching(new, old, columns)
    if point is not None:
        raise EditError(
            "E35",
            f"between the patches for {new.rule} and {old.rule} there is no room for a slope: next to "
            f"{_told(artifact, point)} the reward would have to be {demands}",
            help="leave a margin between the two regions, at least as wide as the rim",
        )


def _told(artifact: Artifact, point: Sequence[Fraction]) -> str:
    names = [c.name for c in artifact.columns]
    return ", ".join(f"{name} = {float(value):.6g}" for name, value in zip(names, point, strict=True))
