"""A rule that relates two records of one reward that move together, mended by a slope.

    R(a) >= R(b) + m    where a and b differ in columns V alone, and the premise (or the rule's own update) says in
                        which of them b is the larger one, and in which the smaller

holds with m <= 0 if the reward falls along each of these directions: s_j·∂R/∂x_j <= 0 for j in V, s_j = ±1. A certified
bound σ_j of s_j·∂R/∂x_j over a box that holds both records says how much is missing, and what is subtracted is

    p(x) = Σ_j max(0, σ_j)·(s_j·x_j − its least value in the declared range),

which is at least 0 and linear: in full where b may be, fading across the rim (`editor/correction.py`). At a, which may
lie beyond, no more than p(a) is subtracted, so that R'(a) − R'(b) >= R(a) − R(b) + p(b) − p(a) >= 0. Less is taken
where verification shows that less will do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from rewarden.editor.correction import Workshop
from rewarden.editor.history.stored import all_stored, with_patch
from rewarden.editor.mend import EditReport
from rewarden.editor.methods.task import Edited, Task
from rewarden.editor.patch import Box, closed_box
from rewarden.editor.region import Polytope, polytopes_of
from rewarden.editor.ring import binary32_above
from rewarden.reward.artifact import Artifact, Edit
from rewarden.spec_lang.claim import Affine, AffineAtom, Claim
from rewarden.spec_lang.errors import EditError

SHARES = (Fraction(1, 4), Fraction(1, 2), Fraction(1))  # of the certified slope, in the order in which they are tried


@dataclass(frozen=True, slots=True)
class Coupled:
    """`signs`: by column, 1 where the worse record's is the larger. `polytopes`: where the worse record may be, none
    for everywhere; `box` holds both records."""

    signs: dict[int, int]
    polytopes: tuple[Polytope, ...]
    box: Box


@dataclass(frozen=True, slots=True)
class Slope:
    name: str = "slope"
    guarantee: str = "verified: less a known linear amount, at most a certified slope's; beyond the rim, the same bits"

    def edit(self, task: Task) -> Edited:
        child, said = task.artifact, dict[str, str]()
        reports = []
        for rule in task.rules:
            found = coupled(task.claim(rule, whole=True), rule, task.target, task.ring)
            child, text = self._mended(child, rule, found, task)
            said |= {f"{rule}.{key}": value for key, value in text.items()}
            reports.append(EditReport(rule, task.target, ()))
        edit = Edit("slope", ", ".join(task.rules), said)
        return Edited(replace(child, parent=task.artifact.digest, edit=edit), tuple(reports))

    def _mended(self, artifact: Artifact, rule: str, found: Coupled, task: Task) -> tuple[Artifact, dict[str, str]]:
        steep = certified_slopes(artifact, found)
        if not any(steep.values()):
            raise EditError("E17", f"the reward has the slopes that {rule} asks for already", help="raise --budget")
        for share in SHARES:
            taken = {j: binary32_above(share * c) for j, c in steep.items()}
            child = _tilted(artifact, taken, found, task)
            if task.mender.verify({**task.rewards, task.target: child}, [rule])[rule].verdict == "proved":
                return child, _statement(artifact, rule, taken, found)
        raise EditError("E17", f"less the certified slope, {rule} is still not proved", help="raise --budget")


def coupled(claim: Claim, rule: str, target: str, ring: Fraction) -> Coupled:
    """Raises EditError E13 for rules of another form, and as `polytopes_of`."""
    goal = claim.goals[0][0] if len(claim.goals) == 1 and len(claim.goals[0]) == 1 else None
    if goal is None or len(goal.affine.calls) != 2 or goal.affine.variables or claim.instances is not None:
        raise _other(rule)
    if {call.reward for call in claim.calls} != {target} or goal.affine.constant < 0:
        raise _other(rule)
    (i, x), (j, y) = goal.affine.calls
    if x + y != 0:
        raise _other(rule)
    better, worse = (i, j) if x > 0 else (j, i)
    here, there = claim.calls[worse].arguments, claim.calls[better].arguments
    signs = dict(_signs(here, there, claim, rule))
    if not signs:
        raise _other(rule)
    places = {a.variables[0][0]: (column, a.constant) for column, a in enumerate(here)}
    box = tuple(claim.boxes[0][a.variables[0][0]] for a in here)
    discrete = [claim.variables[a.variables[0][0]].discrete for a in here]
    clauses = [
        tuple(_as_columns(atom, places) for atom in clause)
        for clause in claim.clauses
        if all(v in places for atom in clause for v, _ in atom.affine.variables)
        and not any(atom.affine.calls for atom in clause)
    ]
    polytopes = polytopes_of(clauses, box, discrete, ring, rule)
    if not all(polytope.rows for polytope in polytopes):
        polytopes = ()
    return Coupled(signs, polytopes, _holding(box, polytopes, here, there, claim, signs))


def _signs(here: tuple[Affine, ...], there: tuple[Affine, ...], claim: Claim, rule: str) -> Iterator[tuple[int, int]]:
    """The columns in which the records differ, and in which direction."""
    known = {
        (tuple(sorted(atom.affine.variables)))
        for clause in claim.clauses if len(clause) == 1
        for atom in clause if not atom.affine.calls and atom.affine.constant <= 0
    }  # fmt: skip
    for column, (b, a) in enumerate(zip(here, there, strict=True)):
        if any(len(side.variables) != 1 or side.variables[0][1] != 1 or side.calls for side in (a, b)):
            raise _other(rule)
        u, v = b.variables[0][0], a.variables[0][0]
        if u == v:
            if b.constant != a.constant:
                yield column, 1 if b.constant > a.constant else -1
            continue
        if a.constant != b.constant:
            raise _other(rule)
        ways = [s for s in (1, -1) if tuple(sorted(((u, Fraction(s)), (v, Fraction(-s))))) in known]
        if not ways:
            raise EditError(
                "E13",
                f"nothing in the premise of {rule} says which of its records is the larger one in column {column}",
                help="compare them there (a.x <= b.x), or use --method tuning",
            )
        yield column, ways[0]


def _as_columns(atom: AffineAtom, places: dict[int, tuple[int, Fraction]]) -> AffineAtom:
    """The atom over the columns of the worse record, where it is over the claim's variables."""
    constant, moved = atom.affine.constant, []
    for variable, coefficient in atom.affine.variables:
        column, shift = places[variable]
        moved.append((column, coefficient))
        constant -= coefficient * shift
    return AffineAtom(Affine(constant, tuple(sorted(moved)), ()), atom.strict)


def _holding(
    box: Box,
    polytopes: tuple[Polytope, ...],
    here: tuple[Affine, ...],
    there: tuple[Affine, ...],
    claim: Claim,
    signs: dict[int, int],
) -> Box:
    """A box that holds both records: the worse one's, and in the columns in which they differ what the other adds."""
    if polytopes:
        inner = [replace(p, rows=tuple(replace(r, offset=r.offset - 1) for r in p.rows)) for p in polytopes]
        parts = [closed_box(p) for p in inner]
        box = tuple((min(p[j][0] for p in parts), max(p[j][1] for p in parts)) for j in range(len(box)))
    found = []
    for column, (lo, hi) in enumerate(box):
        a, b = there[column], here[column]
        if column in signs and a.variables[0][0] == b.variables[0][0]:
            shift = a.constant - b.constant
            lo, hi = min(lo, lo + shift), max(hi, hi + shift)
        elif column in signs:
            lo, hi = claim.boxes[0][a.variables[0][0]]
        found.append((lo, hi))
    return tuple(found)


def certified_slopes(artifact: Artifact, found: Coupled) -> dict[int, Fraction]:
    """By column, at least max(0, s·∂R/∂x) anywhere in the box. EditError E17 where slopes cannot be certified."""
    from rewarden.verifier.ranges.domain import Region
    from rewarden.verifier.ranges.sensitivity import sensitivities

    region = Region(found.box, "where both records may be")
    ranges, missing = sensitivities(artifact.with_patches(()), region)
    names = {column: artifact.columns[column].name.rpartition(".")[2] for column in found.signs}
    by_name = {one.feature: one.range for one in ranges if one.what == "per unit"}
    if missing is not None or not all(name in by_name for name in names.values()):
        raise EditError("E17", f"no slope of the reward can be certified: {missing or 'it is no number'}")
    slopes = {}
    for column, sign in found.signs.items():
        most = by_name[names[column]].most if sign > 0 else -by_name[names[column]].least
        slopes[column] = max(Fraction(0), Fraction(most))
    return slopes


def _tilted(artifact: Artifact, taken: dict[int, Fraction], found: Coupled, task: Task) -> Artifact:
    shop = Workshop(artifact.width)
    reward = shop.reward(artifact.with_patches(()))
    columns = [(column.lo, column.hi) for column in artifact.columns]
    least = {j: columns[j][0] if s > 0 else -columns[j][1] for j, s in found.signs.items()}
    rows = tuple((j, found.signs[j] * c) for j, c in taken.items() if c)
    amount = shop.affine([Affine(-sum((taken[j] * least[j] for j in taken), Fraction(0)), rows)], [])
    cap = sum((c * (columns[j][1] - columns[j][0]) for j, c in taken.items()), Fraction(0))
    faded, _ = shop.faded(amount, cap * (1 + Fraction(1, 2**16)), found.polytopes)
    child = shop.finish(shop.moved(reward, faded, Fraction(-1)), artifact.with_patches(()))
    for patch in all_stored(artifact):
        child = with_patch(child, patch, task.mender.extremum)
    return child


def _statement(artifact: Artifact, rule: str, taken: dict[int, Fraction], found: Coupled) -> dict[str, str]:
    amounts = ", ".join(f"{float(c)!r} a unit of {artifact.columns[j].name}" for j, c in taken.items() if c)
    where = (
        "beyond the ring (some atom of the region fails by the ring's width, or a discrete one fails) the reward is "
        "that of the parent, bit for bit"
        if found.polytopes
        else "none: the rule speaks of all records, and the reward changes by that amount everywhere"
    )
    return {
        "fix": f"the reward less {amounts}, wherever the worse record of {rule} may be; verified",
        "locality": where,
        "continuity": "the edited reward is continuous wherever the parent is",
    }


def _other(rule: str) -> EditError:
    return EditError(
        "E13", f"rule {rule} does not compare one reward at two records that move together", help="use --method tuning"
    )
