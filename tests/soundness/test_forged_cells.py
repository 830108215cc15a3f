"""Forgeries about cells: facts of one variable narrow what a leaf must cover, nothing else does (docs/formats.md)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from rewarden.certificate import kernel_proof, kernel_steps
from rewarden.certificate.check import check
from rewarden.certificate.kernel_claim import Atom
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import AffineMap, Graph, Input
from tests.reference.certificates import Case, Json, affine, atom, claim, counterexample, rational, schema

BARE: Json = ["leaf", 0, [], [], []]
NOTHING: Json = ["leaf", -1, [], [], []]
HALF = Fraction(1, 2)
X, NOT_X = {0: 1}, {0: -1}


def slope(weight: float) -> Artifact:
    """R(x) = weight · x."""
    tensors = {"w": np.array([[weight]], np.float32), "b": np.zeros(1, np.float32)}
    return Artifact((RewardRecord("s", schema(1)),), Graph((Input(), AffineMap(0, "w", "b")), 1), tensors, "exact")


def verdict(
    folder: Path,
    goal: Sequence[Json],
    clauses: Sequence[Sequence[Json]],
    trees: Sequence[Sequence[Json]],
    *,
    weight: float = 1.0,
    boxes: Sequence[Sequence[tuple[int, int]]] = (((-1, 1),),),
    discrete: Sequence[int] = (),
    witness: tuple[int, Sequence[str]] = (0, ("1",)),
) -> str:
    """What the kernel says of one claim about R(x) = weight · x; false and proved never goes together."""
    reward = slope(weight)
    made = claim({"R": reward.digest}, [("R", (0,))], [goal], boxes, clauses, discrete)
    proof = {
        "format": "rewarden-proof",
        "format_version": 1,
        "claim": "",
        "witness": {"box": witness[0], "point": list(witness[1])},
        "goals": [list(trees)],
    }
    case = Case(made, proof, {"R": reward}).rebind()
    report = check(folder / "certificate", case.write(folder / "certificate"))
    assert report.problem is None, report.problem
    said = report.claims[0].verdict
    assert said != "proved" or counterexample(case.claim, case.artifacts) is None
    return said


# ── which facts narrow ─────────────────────────────────────────────────────────────────────────
def test_a_clause_of_two_atoms_narrows_nothing_before_one_is_chosen(tmp_path: Path) -> None:
    either = [[atom(affine(-HALF, X)), atom(affine(-HALF, NOT_X))]]  # x ≥ ½ or x ≤ −½
    high = atom(affine(-HALF, {}, {0: 1}))  # R ≥ ½: false at −1
    far = [high, atom(affine(-HALF, {}, {0: -1}))]  # R ≥ ½ or R ≤ −½: true
    assert verdict(tmp_path / "a", [high], either, [[BARE]]) == "refused"
    assert verdict(tmp_path / "b", [high], either, [[["case", 0], BARE, BARE]]) == "refused"
    assert verdict(tmp_path / "c", [high], either, [[["case", 0], BARE, NOTHING]]) == "refused"
    again = [["case", 0], BARE, ["case", 0], NOTHING, BARE]  # both atoms of one clause: nothing is left; then one again
    assert verdict(tmp_path / "d", [high], either, [again]) == "refused"
    other = ["leaf", 1, [], [], []]
    assert verdict(tmp_path / "e", far, either, [[["case", 0], BARE, other]]) == "proved"
    assert verdict(tmp_path / "f", far, either, [[["case", 0], other, BARE]]) == "refused"
    assert verdict(tmp_path / "g", far, either, [[["case", 0], BARE, ["case", 0], NOTHING, other]]) == "proved"


@pytest.mark.parametrize("chosen", [False, True])
def test_an_atom_that_holds_a_call_narrows_nothing(chosen: bool, tmp_path: Path) -> None:
    """x + R(x) ≥ ½ with R = −2x is x ≤ −½; its variable's part alone reads x ≥ ½."""
    fact = atom(affine(-HALF, X, {0: 1}))
    clauses = [[fact, fact]] if chosen else [[fact]]
    tree = [["case", 0], BARE, BARE] if chosen else [BARE]
    goal = [atom(affine(-HALF, X)), atom(affine(Fraction(-3, 4), NOT_X))]  # x ≥ ½ or x ≤ −¾: false at −½
    assert verdict(tmp_path, goal, clauses, [tree], weight=-2.0, witness=(0, ("-1",))) == "refused"
    empty = [["case", 0], NOTHING, NOTHING] if chosen else [NOTHING]
    beyond = atom(affine(-2, X, {0: 1}))  # −x ≥ 2: no point; its variable's part alone reads x ≥ 2
    other = [[beyond, fact]] if chosen else [[fact], [beyond]]
    assert verdict(tmp_path / "e", goal, other, [empty], weight=-2.0, witness=(0, ("-1",))) == "refused"


def test_an_atom_of_two_variables_or_of_none_narrows_nothing(tmp_path: Path) -> None:
    square = [[(-1, 1), (-1, 1)]]
    goal = [atom(affine(-HALF, X))]
    both = [[atom(affine(-HALF, {0: 1, 1: 1}))]]
    point = (0, ("1", "1"))
    assert verdict(tmp_path / "a", goal, both, [[BARE]], boxes=square, witness=point) == "refused"
    assert verdict(tmp_path / "b", goal, [[atom(affine(1))]], [[BARE]]) == "refused"
    one = [[atom(affine(-HALF, {1: 1}))]]  # y ≥ ½ says nothing of x
    assert verdict(tmp_path / "c", goal, one, [[BARE]], boxes=square, witness=point) == "refused"
    about_y = [atom(affine(-HALF, {1: 1}))]
    assert verdict(tmp_path / "d", about_y, one, [[BARE]], boxes=square, witness=point) == "proved"


# ── where the edge is ──────────────────────────────────────────────────────────────────────────
def exact_edges(fact: tuple[int, int, bool], whole: bool) -> tuple[Fraction, Fraction] | None:
    """The least and the greatest point of −1 … 4 (their closure, for reals) at which c·x + d > 0 (≥ 0), by search."""
    c, d, strict = fact
    grid = [Fraction(k) if whole else Fraction(k, 6) for k in range(-1 if whole else -6, 5 if whole else 25)]
    true = [x for x in grid if c * x + d > 0 or (not strict and c * x + d == 0)]
    if not true:
        return None
    low, high = true[0], true[-1]
    if strict and not whole:  # the edge itself is the limit of what is left
        low, high = (low, min(Fraction(4), Fraction(-d, c))) if c < 0 else (max(Fraction(-1), Fraction(-d, c)), high)
    return low, high


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("c", [1, 2, 3, -1, -2, -3])
def test_the_edge_is_exact_on_both_sides(c: int, strict: bool, whole: bool, tmp_path: Path) -> None:
    """All slopes, strict or not, whole or not: what is proved reaches to the edge, and not one step beyond."""
    step = Fraction(1) if whole else Fraction(1, 10**20)
    for d in range(-7, 8):
        edges = exact_edges((c, d, strict), whole)
        if edges is None:
            continue
        low, high = edges
        inside = rational(low if c < 0 else high)
        for k, (goal, wanted) in enumerate(
            [
                (affine(-low, X), "proved"),
                (affine(-low - step, X), "refused"),
                (affine(high, NOT_X), "proved"),
                (affine(high - step, NOT_X), "refused"),
            ]
        ):
            said = verdict(
                tmp_path / f"{d}.{k}", [atom(goal)], [[atom(affine(d, {0: c}), strict)]], [[BARE]],
                boxes=[[(-1, 4)]], discrete=(0,) if whole else (), witness=(0, (inside,)),
            )  # fmt: skip
            assert said == wanted, (c, d, strict, goal)


def test_facts_narrow_together_and_their_multipliers_still_count(tmp_path: Path) -> None:
    facts = [[atom(affine(-HALF, X))], [atom(affine(HALF, NOT_X))]]  # x = ½
    at = (0, ("1/2",))
    assert verdict(tmp_path / "a", [atom(affine(-HALF, {}, {0: 1}))], facts, [[BARE]], witness=at) == "proved"
    above = [atom(affine(-HALF, {}, {0: 1}), strict=True)]
    assert verdict(tmp_path / "b", above, facts, [[BARE]], witness=at) == "refused"
    used = ["leaf", 0, [[0, 0, [1, 0]]], [], []]
    assert verdict(tmp_path / "c", above, facts, [[used]], witness=at) == "refused"
    lone = [[atom(affine(-HALF, X), strict=True)]]  # x > ½ leaves the closed cell; the strict fact, used, does the rest
    assert verdict(tmp_path / "d", above, lone, [[BARE]]) == "refused"
    assert verdict(tmp_path / "e", above, lone, [[used]]) == "proved"


# ── empty cells ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("whole", [False, True])
def test_a_cell_of_one_point_is_not_empty(whole: bool, tmp_path: Path) -> None:
    kind = (0,) if whole else ()
    last = [[atom(affine(-1, X))]]  # x ≥ 1 in −1 … 1
    false = [atom(affine(-2, X), False), atom(affine(HALF, NOT_X))]
    assert verdict(tmp_path / "a", false, last, [[NOTHING]], discrete=kind) == "refused"
    assert verdict(tmp_path / "b", false, last, [[BARE]], discrete=kind) == "refused"
    true = [atom(affine(-1, X))]
    assert verdict(tmp_path / "c", true, last, [[BARE]], discrete=kind) == "proved"


def test_an_empty_cell_of_one_box_says_nothing_of_another(tmp_path: Path) -> None:
    boxes = [[(-1, 0)], [(0, 1)]]
    fact = [[atom(affine(Fraction(-1, 4), X))]]
    true, false = [atom(affine(Fraction(-1, 4), {}, {0: 1}))], [atom(affine(-HALF, {}, {0: 1}))]
    at = (1, ("1",))
    assert verdict(tmp_path / "a", true, fact, [[NOTHING], [BARE]], boxes=boxes, witness=at) == "proved"
    assert verdict(tmp_path / "b", true, fact, [[BARE], [NOTHING]], boxes=boxes, witness=at) == "refused"
    assert verdict(tmp_path / "c", false, fact, [[NOTHING], [BARE]], boxes=boxes, witness=at) == "refused"
    assert verdict(tmp_path / "d", false, fact, [[NOTHING], [NOTHING]], boxes=boxes, witness=at) == "refused"
    assert verdict(tmp_path / "e", true, fact, [[], [BARE]], boxes=boxes, witness=at) == "refused"


def test_an_empty_case_says_nothing_of_its_siblings(tmp_path: Path) -> None:
    either = [[atom(affine(-3, X)), atom(affine(0, X))]]  # x ≥ 3: nowhere; x ≥ 0
    true, false = [atom(affine(0, {}, {0: 1}))], [atom(affine(-HALF, {}, {0: 1}))]
    assert verdict(tmp_path / "a", true, either, [[["case", 0], NOTHING, BARE]]) == "proved"
    assert verdict(tmp_path / "b", true, either, [[["case", 0], BARE, NOTHING]]) == "refused"
    assert verdict(tmp_path / "c", false, either, [[["case", 0], NOTHING, BARE]]) == "refused"
    assert verdict(tmp_path / "d", false, either, [[["case", 0], NOTHING]]) == "refused"


@pytest.mark.parametrize("cut", ["-1/2", "-1", "0", "1", "3/2", "-2"])
def test_a_cut_outside_the_narrowed_cell_is_refused(cut: str, tmp_path: Path) -> None:
    """x ≥ 0 narrows to 0 … 1: a cut at or outside its ends would leave an 'empty' side, or the whole again."""
    fact, goal = [[atom(affine(0, X))]], [atom(affine(0, {}, {0: 1}))]
    assert verdict(tmp_path / "a", goal, fact, [[["cut", 0, cut], NOTHING, BARE]]) == "refused"
    assert verdict(tmp_path / "b", goal, fact, [[["cut", 0, cut], BARE, BARE]]) == "refused"
    assert verdict(tmp_path / "c", goal, fact, [[["cut", 0, "1/2"], BARE, BARE]]) == "proved"


def test_a_vacuous_claim_is_not_proved_by_empty_cells(tmp_path: Path) -> None:
    facts = [[atom(affine(-1, X), strict=True)]]  # x > 1: the closed cell is {1}, and no point of it will do
    goal = [atom(affine(-5, {}, {0: 1}))]
    assert verdict(tmp_path / "a", goal, facts, [[NOTHING]]) == "refused"
    assert verdict(tmp_path / "b", goal, [[atom(affine(-2, X))]], [[NOTHING]]) == "refused"


# ── these tests can fail ───────────────────────────────────────────────────────────────────────
Edge = tuple[tuple[Fraction, ...], tuple[Fraction, ...]]
honest = kernel_proof.narrowed


def without_sign(low: Sequence[Fraction], high: Sequence[Fraction], fact: Atom, whole: object) -> Edge:
    """Takes every fact for a lower bound."""
    if len(fact.form.variables) != 1 or fact.form.calls:
        return tuple(low), tuple(high)
    ((k, c),) = fact.form.variables
    return (*low[:k], max(low[k], Fraction(-fact.form.constant, c)), *low[k + 1 :]), tuple(high)


def without_calls(low: tuple[Fraction, ...], high: tuple[Fraction, ...], fact: Atom, whole: Sequence[bool]) -> Edge:
    """Forgets the calls of an atom."""
    return honest(low, high, fact._replace(form=fact.form._replace(calls=())), whole)


def one_too_far(low: tuple[Fraction, ...], high: tuple[Fraction, ...], fact: Atom, whole: Sequence[bool]) -> Edge:
    """Takes every fact of a whole number for a strict one."""
    return honest(low, high, fact._replace(strict=True), whole)


@pytest.mark.parametrize("broken", [without_sign, without_calls, one_too_far])
def test_a_kernel_that_narrows_wrongly_is_caught(
    broken: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(kernel_proof, "narrowed", broken)
    monkeypatch.setattr(kernel_steps, "narrowed", broken)
    with pytest.raises(AssertionError):
        some_of_the_above(tmp_path)


def some_of_the_above(folder: Path) -> None:
    test_an_atom_that_holds_a_call_narrows_nothing(False, folder / "call")
    for c in (2, -2):
        for whole in (False, True):
            test_the_edge_is_exact_on_both_sides(c, False, whole, folder / f"{c}{whole}")
